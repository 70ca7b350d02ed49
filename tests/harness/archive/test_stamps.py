"""The far end's stamps survive the disk to the nanosecond, small, and damage is never read as stamps."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.archive.stamps import RECORD, Replies, decode, encode, joined, replies
from harness.errors import ArchiveError
from harness.samples import KERNEL, MISSING, NIC, NONE, USER

NOON = 1_790_000_037_000_000_000
TIME = st.integers(-(1 << 62), 1 << 62)
SEQ = st.integers(0, (1 << 32) - 1)

ROW = st.tuples(
    st.integers(0, 1 << 31), SEQ, SEQ, TIME, TIME, st.none() | st.tuples(st.integers(1, 1 << 31), TIME),
    st.sampled_from([USER, KERNEL, NIC]), st.sampled_from([KERNEL, NIC]),
)  # fmt: skip


def table(rows: list[tuple[Any, ...]]) -> Replies:
    """Columns of drawn rows."""
    session, seq, far_seq, t2, t3, drawn, t2_source, told_source = zip(*rows, strict=True)
    told = [t if f else None for t, f in zip(drawn, far_seq, strict=True)]  # the first tells of none before
    by_name = {
        "session": session,
        "seq": seq,
        "far_seq": far_seq,
        "t2": t2,
        "t3": t3,
        "told_seq": [-1 if t is None else max(0, f - t[0]) for t, f in zip(told, far_seq, strict=True)],
        "told_t3": [MISSING if t is None else t[1] for t in told],
        "t2_source": t2_source,
        "told_source": [NONE if t is None else s for t, s in zip(told, told_source, strict=True)],
    }
    return Replies(**{name: np.array(column, np.int64) for name, column in by_name.items()})


def equal(one: Replies, other: Replies) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Replies))


def busy(rows: int, sessions: int = 4) -> Replies:
    """What a reflector at 10 kpps notes."""
    draw = np.random.default_rng(3)
    session = np.repeat(np.arange(sessions), rows // sessions)
    seq = np.tile(np.arange(rows // sessions), sessions)
    t2 = NOON + seq * 400_000 + session * 100_000 + draw.lognormal(9, 0.7, len(seq)).astype(np.int64)
    t3 = t2 + 9_000 + draw.lognormal(7, 0.6, len(seq)).astype(np.int64)
    sent = t3 + 1_500 + draw.lognormal(5, 0.6, len(seq)).astype(np.int64)
    first = seq == 0
    return Replies(
        session, seq, seq, t2, t3, np.where(first, -1, seq - 1), np.where(first, MISSING, np.roll(sent, 1)),
        np.full(len(seq), KERNEL), np.where(first, NONE, KERNEL),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=40))
def test_every_row_survives(rows: list[tuple[Any, ...]]) -> None:
    given_rows = table(rows)
    assert equal(decode(encode(given_rows), "chunk"), given_rows)


def test_a_reply_takes_less_than_ten_octets() -> None:
    assert len(encode(busy(20_000))) < 10 * 20_000


def test_the_same_rows_are_the_same_octets() -> None:
    assert encode(busy(400)) == encode(busy(400))


def test_damage_is_an_error_or_changes_nothing() -> None:
    rows = busy(200)
    whole = encode(rows)
    draw = np.random.default_rng(20261122)
    for offset in draw.integers(len(whole), size=300):
        damaged = bytearray(whole)
        damaged[offset] ^= int(draw.integers(1, 256))
        try:
            found = decode(bytes(damaged), "far.stamps")
        except ArchiveError as error:
            assert "far.stamps" in str(error)  # noqa: PT017 - most damage is one, some octets of a zip mean nothing
        else:
            assert len(found) == len(rows) or not equal(found, rows)
    with pytest.raises(ArchiveError, match=r"far\.stamps"):
        decode(whole[:-3], "far.stamps")


def test_a_later_reply_tells_when_an_earlier_one_left() -> None:
    one, other = busy(8, 1), busy(8, 1)
    both = joined([one.at(np.arange(4)), one.at(np.arange(4, 8))])
    assert equal(both, one)
    told = both.followed_up
    assert told[:-1].tolist() == one.told_t3[1:].tolist()
    assert told[-1] == MISSING
    apart = joined([one, Replies(**{f.name: getattr(other, f.name) + (f.name == "session") for f in fields(Replies)})])
    assert np.array_equal(apart.followed_up, np.concatenate([told, told]))
    # a chunk after the other, as they lie on disk: the sessions take turns
    turns = joined([apart.at(np.array([0, 1, 8, 9])), apart.at(np.array([2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15]))])
    assert np.array_equal(turns.followed_up[[0, 1, *range(4, 10)]], told)
    assert np.array_equal(turns.followed_up[[2, 3, *range(10, 16)]], told)
    assert len(joined([])) == len(joined([]).followed_up) == 0


def test_what_the_core_notes_becomes_columns() -> None:
    records = np.zeros(2, RECORD)
    records["t2"], records["t3"], records["seq"], records["far_seq"] = [5, 6], [7, 8], [1, 1 << 31], [0, 1]
    records["told_t3"], records["told_seq"], records["told_source"] = [MISSING, 7], [0, 0], [0, KERNEL]
    found = replies(records, np.array([3, 4]))
    assert found.session.tolist() == [3, 4]
    assert found.seq.tolist() == [1, 1 << 31]
    assert found.told_seq.tolist() == [-1, 0]
    assert found.told_t3.tolist() == [MISSING, 7]
    assert found.told_source.tolist() == [NONE, KERNEL]
