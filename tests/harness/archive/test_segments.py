"""Segments bring every sample back, in few octets, also for other people's programs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.archive import segments
from harness.archive.segments import SegmentWriter, decode, encode, load_samples, paths
from harness.errors import ArchiveError
from harness.journal import Journal
from harness.samples import COLUMNS, MISSING, Column, Samples

READER = """
import sys
import numpy as np

def read(path):
    z, names = np.load(path), ("flow seq scheduled t1 t2 t3 t4 far_seq arrival copies ttl error_estimate flags").split()
    version, rows, origin, first_seq, first_scheduled = z["head"]
    out = {}
    for name, base in zip(names, z["base"]):
        gone = np.zeros(rows, bool)
        if name + ".absent" in z:
            gone = np.unpackbits(z[name + ".absent"])[:rows].astype(bool)
        numbers = np.zeros(rows - 1 if name in ("seq", "scheduled") else (~gone).sum(), np.int64)
        if name + ".planes" in z:
            for k, octet in enumerate(z[name + ".planes"]):
                numbers += octet.astype(np.int64) << (8 * k)
        numbers += base
        if name in ("seq", "scheduled"):
            first = first_seq if name == "seq" else first_scheduled
            out[name] = np.concatenate(([first], first + np.cumsum(numbers)))
            last = out[name] + origin
            continue
        value = np.full(rows, -2**63 if name[0] == "t" and name != "ttl" else -1)
        if name in ("t1", "t2", "t3", "t4"):
            value[~gone] = numbers + last[~gone]
            last = np.where(gone, last, value)
        else:
            value[~gone] = numbers + (out["seq"][~gone] if name in ("far_seq", "arrival") else 0)
        out[name] = value
    return out

np.save(sys.argv[2], np.stack(list(read(sys.argv[1]).values())))
"""
"""What an auditor without any of our code would write from the docstring."""


def equal(one: Samples, columns: dict[str, Column]) -> bool:
    return all(getattr(one, n).dtype == np.int64 and np.array_equal(getattr(one, n), columns[n]) for n in COLUMNS)


ANY = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([MISSING, MISSING + 1, -1, 0, 2**63 - 1]),
    st.integers(1_790_000_000_000_000_000, 1_790_000_000_000_999_999),
    st.integers(-3, 300),
)


@given(st.integers(1, 12).flatmap(lambda n: st.lists(st.lists(ANY, min_size=n, max_size=n), min_size=13, max_size=13)))
def test_any_integers_come_back(table: list[list[int]]) -> None:
    columns = {name: np.array(values, np.int64) for name, values in zip(COLUMNS, table, strict=True)}
    assert equal(decode(encode(columns)), columns)


@pytest.mark.parametrize("loss", [0.0, 0.01, 0.5, 1.0])
def test_realistic_samples_come_back_in_few_octets(kit: Any, loss: float) -> None:
    columns = kit.realistic(20_000, loss=loss)
    data = encode(columns)
    assert equal(decode(data), columns)
    assert len(data) / 20_000 <= 12
    assert encode(columns) == data


def test_without_kernel_send_stamps_it_still_fits(kit: Any) -> None:
    columns = kit.realistic(20_000)
    columns["t1"][:] = MISSING
    data = encode(columns)
    assert equal(decode(data), columns)
    assert len(data) / 20_000 <= 12


def test_a_clock_step_and_a_wild_far_clock_cost_little(kit: Any) -> None:
    columns = kit.realistic(20_000)
    for stamp in ("t1", "t4"):
        columns[stamp][9_000:][columns[stamp][9_000:] != MISSING] += 100_000
    for stamp in ("t2", "t3"):
        columns[stamp][columns[stamp] != MISSING] -= 10**18
    data = encode(columns)
    assert equal(decode(data), columns)
    assert len(data) / 20_000 <= 14


def test_constant_columns_cost_nothing(kit: Any) -> None:
    columns = {name: np.full(1000, 5, np.int64) for name in COLUMNS}
    names = zipfile.ZipFile(BytesIO(encode(columns))).namelist()
    assert names == ["head.npy", "base.npy"]


def test_an_auditors_thirty_lines_read_it(kit: Any, tmp_path: Path) -> None:
    assert len([line for line in READER.splitlines() if line.strip()]) <= 30
    columns = kit.realistic(3_000, loss=0.1)
    (tmp_path / "segment.npz").write_bytes(encode(columns))
    command = [sys.executable, "-I", "-c", READER, str(tmp_path / "segment.npz"), str(tmp_path / "out.npy")]
    subprocess.run(command, check=True, timeout=60)
    assert np.array_equal(np.load(tmp_path / "out.npy"), np.stack([columns[n] for n in COLUMNS]))


def test_a_damaged_segment_is_an_archive_error_or_reads_otherwise(kit: Any) -> None:
    data = encode(kit.realistic(50))
    draw = np.random.default_rng(3)
    errors = 0
    for _ in range(400):
        damaged = bytearray(data)
        damaged[draw.integers(len(data))] ^= 1 << draw.integers(8)
        try:
            decode(bytes(damaged), "samples-00007.npz")
        except ArchiveError as error:
            errors += "samples-00007.npz" in str(error)
    assert errors > 200
    for cut in range(0, len(data), 97):
        with pytest.raises(ArchiveError):
            decode(data[:cut])


@pytest.mark.parametrize("head", [[2, 5, 0, 0, 0], [1, 0, 0, 0, 0], [1, 2**62, 0, 0, 0], [1, 5, 0, 0], [1, 6, 0, 0, 0]])
def test_another_version_or_an_absurd_head_is_refused(kit: Any, head: list[int]) -> None:
    arrays = segments.unzipped(encode(kit.realistic(5)), "it")
    with pytest.raises(ArchiveError, match=r"samples-00000\.npz"):
        decode(segments.zipped({**arrays, "head": np.array(head)}), "samples-00000.npz")


@pytest.fixture
def writer(tmp_path: Path) -> Callable[..., SegmentWriter]:
    def make(rows: int) -> SegmentWriter:
        return SegmentWriter(tmp_path, Journal(tmp_path / "journal.jsonl"), "measurements/m", rows)

    return make


def part(columns: dict[str, Column], start: int, end: int) -> dict[str, Column]:
    return {name: column[start:end] for name, column in columns.items()}


def test_the_writer_cuts_segments_and_the_readers_join_them(kit: Any, tmp_path: Path, writer: Any) -> None:
    columns = kit.realistic(1_000)
    out = writer(300)
    for start in range(0, 1_000, 70):
        out.append(part(columns, start, start + 70))
        assert out.written == (start + 70) // 300 * 300 or start == 980
    out.append(part(columns, 0, 0))
    assert equal(out.samples(), columns)
    out.flush()
    assert [len(decode(path.read_bytes(), path.name)) for path in paths(tmp_path)] == [300, 300, 300, 100]
    assert equal(load_samples(tmp_path), columns)
    assert len(load_samples(tmp_path / "empty")) == 0


def test_the_writer_copies_what_it_is_given(kit: Any, tmp_path: Path, writer: Any) -> None:
    columns = kit.realistic(100)
    given_away = {name: column.copy() for name, column in columns.items()}
    out = writer(1_000)
    out.append(given_away)
    for column in given_away.values():
        column[:] = 0
    out.flush()
    assert equal(load_samples(tmp_path), columns)


def test_the_writer_refuses_other_columns(kit: Any, writer: Any) -> None:
    columns = kit.realistic(10)
    out = writer(100)
    for wrong in (
        {n: c for n, c in columns.items() if n != "ttl"},
        {**columns, "ttl": columns["ttl"][:5]},
        {**columns, "ttl": columns["ttl"].astype(np.int32)},
        {**columns, "more": columns["ttl"]},
    ):
        with pytest.raises(ArchiveError):
            out.append(wrong)
    assert out.untouched


@pytest.mark.parametrize("call", ["fsync", "write", "replace"])
def test_an_interrupt_or_refusal_at_any_call_neither_loses_nor_doubles_rows(
    kit: Any, tmp_path: Path, writer: Any, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    columns = kit.realistic(100)
    out = writer(40)
    owner: Any = Path if call == "replace" else os
    true = getattr(owner, call)
    faults = 0

    def faulty(*arguments: Any) -> Any:
        nonlocal faults
        faults += 1
        if faults % 2 == 0:
            raise OSError(28, "No space left on device")
        result = true(*arguments)
        if faults % 3 == 0:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, call, faulty)
    for start in range(0, 100, 20):
        try:
            out.append(part(columns, start, start + 20))
        except (ArchiveError, KeyboardInterrupt):
            continue
    for _ in range(100):
        try:
            out.flush()
            break
        except (ArchiveError, KeyboardInterrupt):
            continue
    monkeypatch.undo()
    assert faults >= 4
    out.flush()
    assert out.written == 100
    assert equal(load_samples(tmp_path), columns)
    assert not list(tmp_path.glob("*.partial"))


def test_an_interrupt_after_the_journal_line_does_not_write_the_rows_again(
    kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = kit.realistic(100)
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append(segments.SEGMENT, measurement="measurements/m", file="samples-00000.npz", rows=7, sha256="old")
    out = SegmentWriter(tmp_path, journal, "measurements/m", 40)
    true = Journal.append

    def interrupted(self: Journal, kind: str, **data: Any) -> Any:
        true(self, kind, **data)
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        out.append(columns)
    monkeypatch.undo()
    out.flush()
    assert [e.data["rows"] for e in journal.entries[1:]] == [40, 40, 20]
    assert equal(load_samples(tmp_path), columns)


def test_a_missing_segment_of_the_series_is_named(kit: Any, tmp_path: Path, writer: Any) -> None:
    out = writer(10)
    out.append(kit.realistic(30))
    (tmp_path / "samples-00001.npz").unlink()
    with pytest.raises(ArchiveError, match=r"samples-00001\.npz"):
        paths(tmp_path)
