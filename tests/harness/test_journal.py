"""The journal loses nothing that it acknowledged, whatever stops it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from harness.errors import ArchiveError
from harness.journal import FIRST, TORN, Journal, read


def ticking() -> Callable[[], tuple[int, int]]:
    numbers = count(1)

    def instants() -> tuple[int, int]:
        now = next(numbers)
        return 1_790_000_000_000_000_000 + now, now

    return instants


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def three_lines(path: Path) -> bytes:
    with Journal(path, ticking()) as journal:
        for n in range(3):
            journal.append("step", number=n, title="东湖→光谷")
    return path.read_bytes()


def test_lines_are_numbered_timed_and_chained(path: Path) -> None:
    three_lines(path)
    entries = read(path).entries
    assert [e.n for e in entries] == [0, 1, 2]
    assert [e.utc_ns for e in entries] == [1_790_000_000_000_000_000 + k for k in (1, 2, 3)]
    assert [e.monotonic_ns for e in entries] == [1, 2, 3]
    lines = path.read_bytes().splitlines()
    assert f'"previous":"{FIRST}"'.encode() in lines[0]
    assert all(f'"previous":"{e.sha256}"'.encode() in line for e, line in zip(entries, lines[1:], strict=False))
    assert entries[2].data == {"number": 2, "title": "东湖→光谷"}


def test_big_integers_are_texts_and_floats_are_refused(path: Path) -> None:
    with Journal(path, ticking()) as journal:
        journal.append("step", small=2**53 - 1, big=2**53)
        with pytest.raises(ArchiveError, match="float"):
            journal.append("step", number=0.5)
        assert journal.append("step").n == 1
    assert read(path).entries[0].data == {"small": 2**53 - 1, "big": str(2**53)}


def test_a_line_cut_at_any_octet_is_kept_aside_and_reported(path: Path) -> None:
    whole = three_lines(path)
    second = whole.index(b"\n", whole.index(b"\n") + 1) + 1
    for cut in range(second, len(whole)):
        for left in path.parent.iterdir():
            left.unlink()
        path.write_bytes(whole[:cut])
        with Journal(path, ticking()) as journal:
            assert len(journal.entries) == 2 + (cut > second)
            journal.append("on")
        *_, report, last = read(path).entries
        assert last.kind == "on"
        if cut > second:
            assert (report.kind, report.data["octets"]) == (TORN, cut - second)
            assert (path.parent / str(report.data["file"])).read_bytes() == whole[second:cut]
        else:
            assert last.n == 2


def test_a_line_torn_twice_keeps_both_beginnings(path: Path) -> None:
    whole = three_lines(path)
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[: first + 9])
    Journal(path, ticking()).close()
    path.write_bytes(whole[:first] + b'{"data":{"fi')
    with Journal(path, ticking()) as journal:
        assert {str(e.data["octets"]) for e in journal.entries[1:]} == {"9", "12"}


def test_a_torn_line_set_aside_but_not_reported_is_reported_by_the_next_writer(path: Path) -> None:
    whole = three_lines(path)
    path.with_name(path.name + ".torn-3-0badcafe").write_bytes(b'{"da')
    with Journal(path, ticking()) as journal:
        assert journal.entries[3].data["file"] == "journal.jsonl.torn-3-0badcafe"
    with Journal(path, ticking()) as journal:
        assert len(journal.entries) == 4
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("tail", [b"\0" * 40, b"\0" * 39 + b"\n", b'{"data":{}}'])
def test_what_a_power_cut_leaves_at_the_end_is_torn(path: Path, tail: bytes) -> None:
    whole = three_lines(path)
    path.write_bytes(whole + tail)
    reading = read(path)
    assert (len(reading.entries), reading.size, reading.torn) == (3, len(whole), tail)


def test_a_changed_removed_or_swapped_line_is_named(path: Path) -> None:
    lines = three_lines(path).splitlines(keepends=True)
    for damaged, n in (
        ([lines[0].replace(b'"number":0', b'"number":7'), *lines[1:]], 1),
        ([lines[0], lines[2]], 1),
        ([lines[1], lines[2]], 0),
        ([lines[0], lines[2], lines[1]], 1),
        ([lines[0], lines[1][:-9] + b"\n", lines[2]], 1),
    ):
        path.write_bytes(b"".join(damaged))
        with pytest.raises(ArchiveError, match=f"line {n}"):
            read(path)
        with pytest.raises(ArchiveError, match=f"line {n}"):
            Journal(path, ticking())
        assert path.read_bytes() == b"".join(damaged)


def test_a_line_chained_under_another_number_is_named(path: Path) -> None:
    lines = three_lines(path).splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + lines[2].replace(b'"n":2', b'"n":3'))
    with pytest.raises(ArchiveError, match="line 2"):
        read(path)


def test_two_writers_cannot_have_one_journal(path: Path) -> None:
    with Journal(path, ticking()) as journal:
        journal.append("opened", by="process 7 on lab-pc")
        with pytest.raises(ArchiveError, match=r"process 7 on lab-pc.*stop it"):
            Journal(path, ticking())
    Journal(path, ticking()).close()


def test_a_full_disk_takes_half_a_line_and_nothing_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    calls = count()

    def half(handle: int, data: memoryview) -> int:
        if next(calls) == 0:
            return write(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Journal(path, ticking()) as journal:
        journal.append("step", number=0)
        before = path.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", half)
            with pytest.raises(ArchiveError, match=r"No space left.*octets free.*free space.*resume"):
                journal.append("step", number=1)
        assert path.read_bytes() == before
        assert journal.append("step", number=1).n == 1
    assert [e.data["number"] for e in read(path).entries] == [0, 1]


def test_an_interrupt_while_a_line_is_written_leaves_no_half_of_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(handle: int) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with Journal(path, ticking()) as journal:
        journal.append("step", number=0)
        monkeypatch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            journal.append("step", number=1)
        journal.append("step", number=2)
    assert [e.data["number"] for e in read(path).entries] == [0, 2]


def test_threads_share_a_journal(path: Path) -> None:
    with Journal(path, ticking()) as journal:
        threads = [threading.Thread(target=lambda: [journal.append("step") for _ in range(25)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(journal.entries) == 100
    assert len(read(path).entries) == 100


def test_a_folder_that_is_not_there_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="No such file"):
        Journal(tmp_path / "gone" / "journal.jsonl")
