"""A far end's journal: every reply under its session, whatever the disk and the session table do."""

from __future__ import annotations

import errno
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.archive import farjournal, keys
from harness.archive.farjournal import Session, StampWriter, beside
from harness.archive.stamps import RECORD
from harness.clock import ClockState
from harness.errors import ArchiveError
from harness.journal import Journal, read
from harness.samples import MISSING

NOON = 1_790_000_037_000_000_000
ADDRESS = b"\0" * 10 + b"\xff\xff" + bytes([192, 0, 2, 9])


def noted(index: int, far_seq: range, port: int = 5000, ssid: int = 7, at: int = NOON) -> np.ndarray[Any, Any]:
    rows = np.zeros(len(far_seq), RECORD)
    rows["session"], rows["port"], rows["ssid"] = index, port, ssid
    rows["address"] = np.frombuffer(ADDRESS, "V16")[0]
    rows["far_seq"] = rows["seq"] = list(far_seq)
    rows["t2"] = at + np.arange(len(far_seq)) * 1_000
    rows["t3"], rows["told_t3"] = rows["t2"] + 9_000, MISSING
    return rows


def begun(path: Path) -> Journal:
    journal = Journal(path)
    journal.append(farjournal.START, tai_utc_s=37)
    return journal


def test_sessions_keep_their_number_until_their_index_is_given_again(tmp_path: Path) -> None:
    path = tmp_path / "far.jsonl"
    with begun(path) as journal:
        writer = StampWriter(journal)
        writer.add(np.concatenate([noted(0, range(3)), noted(1, range(2), port=5001)]).tobytes())
        writer.write()
        writer.add(np.concatenate([noted(0, range(3, 5)), noted(0, range(4), port=6000)]).tobytes())
        writer.add(noted(1, range(2, 4), port=5001).tobytes())
        writer.write()
        writer.add(noted(1, range(2), port=5001).tobytes())  # the same one, idle so long that it gave way
        writer.write()
        writer.write()
        writer.close()
    far = farjournal.load(path)
    assert far.sessions == tuple(
        Session(number, "192.0.2.9", port, 7, 0) for number, port in enumerate([5000, 5001, 6000, 5001])
    )
    rows = far.rows(NOON, NOON)
    found = {n: rows.far_seq[rows.session == n].tolist() for n in range(4)}
    assert found == {0: [0, 1, 2, 3, 4], 1: [0, 1, 2, 3], 2: [0, 1, 2, 3], 3: [0, 1]}
    assert len(far.chunks) == 3
    assert (far.signer, far.signed_ns, far.ended, far.lost) == (None, 0, False, 0)


def test_only_the_chunks_of_a_run_are_read(tmp_path: Path) -> None:
    path = tmp_path / "far.jsonl"
    with begun(path) as journal:
        writer = StampWriter(journal)
        for hour in range(3):
            writer.add(noted(0, range(hour * 10, hour * 10 + 10), at=NOON + hour * 3600 * 10**9).tobytes())
            writer.write()
        writer.close()
    far = farjournal.load(path)
    assert far.rows(NOON + 3600 * 10**9, NOON + 3600 * 10**9 + 1).far_seq.tolist() == list(range(10, 20))
    assert len(far.rows(NOON - 10**15, NOON - 10**14)) == 0


def test_a_full_disk_loses_nothing_until_memory_is_full_and_then_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "far.jsonl"
    real = os.write
    monkeypatch.setattr(farjournal, "_PENDING", 25)
    with begun(path) as journal:
        writer = StampWriter(journal)

        def full(handle: int, data: bytes) -> int:
            real(handle, data[:9])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        writer.add(noted(0, range(10)).tobytes())
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(ArchiveError, match=r"far\.jsonl\.stamps"):
            writer.write()
        monkeypatch.setattr(os, "write", real)
        writer.add(noted(0, range(10, 20)).tobytes())
        writer.add(noted(0, range(20, 30)).tobytes())
        writer.write()
        writer.add(noted(0, range(30, 35)).tobytes())
        writer.write()
        writer.close()
    far = farjournal.load(path)
    assert far.lost == 10
    assert far.rows(NOON, NOON).far_seq.tolist() == [*range(20), *range(30, 35)]


def test_what_a_full_disk_refused_at_the_end_spoils_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "far.jsonl"
    real = os.write
    with begun(path) as journal:
        writer = StampWriter(journal)
        writer.add(noted(0, range(10)).tobytes())
        writer.write()
        writer.add(noted(0, range(10, 20)).tobytes())

        def full(handle: int, data: bytes) -> int:
            real(handle, data[:9])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(ArchiveError):
            writer.write()
        monkeypatch.setattr(os, "write", real)
        writer.close()
        writer.close()
    assert farjournal.load(path).rows(NOON, NOON).far_seq.tolist() == list(range(10))


def test_a_stamp_file_is_begun_once(tmp_path: Path) -> None:
    with begun(tmp_path / "far.jsonl") as journal:
        StampWriter(journal).close()
        with pytest.raises(ArchiveError, match=r"far\.jsonl\.stamps"):
            StampWriter(journal)


def test_evidence_comes_back_as_it_was_gathered(tmp_path: Path) -> None:
    path = tmp_path / "far.jsonl"
    states = [
        ClockState("far", "chrony", NOON + k, True, 1_000, None, 37, False, "10.0.0.9", f"^* {k}") for k in range(3)
    ]
    with begun(path) as journal:
        for state in states:
            counters = {"unrecorded": state.at_ns - NOON}
            journal.append(farjournal.STATE, counters=counters, evidence=[asdict(state)], realtime_ns=NOON)
        journal.append(farjournal.END, reason="SIGINT")
    far = farjournal.load(path)
    assert list(far.states) == states
    assert far.lost == 2
    assert far.ended
    assert not far.stamps_sha256


def test_what_is_no_reflectors_journal_is_named(tmp_path: Path) -> None:
    path = tmp_path / "far.jsonl"
    with Journal(path) as journal:
        journal.append("archive.committed")
    with pytest.raises(ArchiveError, match="a reflector's journal"):
        farjournal.load(path)
    path.unlink()
    with begun(path) as journal:
        journal.append(farjournal.START, tai_utc_s=37)
    with pytest.raises(ArchiveError, match="one start"):
        farjournal.load(path)
    path.unlink()
    with begun(path) as journal:
        journal.append(farjournal.STATE, counters={})
    with pytest.raises(ArchiveError, match="KeyError"):
        farjournal.load(path)
    path.write_bytes(path.read_bytes() + b'{"torn')
    with pytest.raises(ArchiveError, match="torn last line"):
        farjournal.load(path)


def test_a_chunk_that_is_not_the_journaled_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "far.jsonl"
    with begun(path) as journal:
        writer = StampWriter(journal)
        writer.add(noted(0, range(10)).tobytes())
        writer.write()
        writer.close()
    place = beside(path, farjournal.STAMPS_SUFFIX)
    whole = bytearray(place.read_bytes())
    whole[-40] ^= 1
    place.write_bytes(whole)
    with pytest.raises(ArchiveError, match="the 10 stamps journaled from octet 0"):
        farjournal.load(path).rows(NOON, NOON)
    place.write_bytes(whole[:-1])
    with pytest.raises(ArchiveError, match=r"that far\.jsonl tells of"):
        farjournal.load(path)


def test_the_signature_holds_journal_and_stamps_together(tmp_path: Path) -> None:
    path = tmp_path / "far.jsonl"
    key = tmp_path / "far.key"
    keys.create(key, "far-site")
    with begun(path) as journal:
        writer = StampWriter(journal)
        writer.add(noted(0, range(10)).tobytes())
        writer.write()
        writer.close()
    farjournal.seal(path, keys.load(key), utc_ns=NOON)
    far = farjournal.load(path)
    assert far.signer == keys.load(key).verifier
    assert far.signed_ns == NOON
    with Journal(path) as journal:
        journal.append(farjournal.END, reason="later")
    assert len(read(path).entries) == 3
    with pytest.raises(ArchiveError, match=r"the journal that far-site signed as far\.jsonl;"):
        farjournal.load(path)
