"""Stamps: what the far end wrote into every reply, on disk in about 9 octets a reply.

A stamp file is one chunk after the other, each a zip of ``.npy`` arrays (deflate, all times 1980-01-01) whose place,
length and SHA-256 a line of the far end's journal names. Rows of a chunk stand in order of session, then of time:

``head``
    int64[2]: format version 1, rows n.
``<column>.base``
    int64[2]: the first row's value, the least number.
``<column>.planes``
    uint8[k, m]: the m numbers less the least of them as k octets each, least significant first, all least significant
    octets together. Not there when they are all the same.

A number is, modulo 2^64: for session, seq, far_seq and t2 (m = n - 1) the step from the row before; for t3, t3 - t2;
for told, far_seq - told_seq, 0 where the reply told nothing; for told_t3, t3 - told_t3 where it told, else 0; for
sources, 4 times the source of t2 plus that of told_t3, see `harness.samples`. The last four have m = n.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.archive.segments import unzipped, zipped
from harness.errors import ArchiveError
from harness.samples import MISSING, NONE, Column

RECORD: Final = np.dtype(
    [
        ("t2", "<i8"), ("t3", "<i8"), ("told_t3", "<i8"), ("session", "<u4"), ("seq", "<u4"), ("far_seq", "<u4"),
        ("told_seq", "<u4"), ("address", "V16"), ("port", "<u2"), ("ssid", "<u2"), ("listener", "u1"),
        ("t2_source", "u1"), ("told_source", "u1"), ("spare", "u1"),
    ]
)  # fmt: skip
"""One reply as `fastpath.reflector.Reflector.take` gives it."""

MOST: Final = 1 << 24
"""Rows a chunk can have, so that a damaged head asks for no absurd memory."""

_VERSION: Final = 1
_STEPS: Final = ("session", "seq", "far_seq", "t2")
_WHOLE: Final = ("t3", "told", "told_t3", "sources")

_Wrapping = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Replies:
    """One row per reply; every column int64 of the same length. Times are ns TAI by the far end's clock."""

    session: Column
    """Number that the journal gave the session."""
    seq: Column
    """The sender's sequence number."""
    far_seq: Column
    """The reflector's own."""
    t2: Column
    t3: Column
    """As the reply itself says, before it left."""
    told_seq: Column
    """Which earlier reply ``told_t3`` is the send time of; -1: none."""
    told_t3: Column
    t2_source: Column
    told_source: Column
    """Source of ``told_t3``, `harness.samples.NONE` … NIC."""

    def __len__(self) -> int:
        return int(self.t2.shape[0])

    def at(self, index: npt.NDArray[np.intp]) -> Replies:
        """The rows of ``index``, in its order."""
        return Replies(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @property
    def followed_up(self) -> Column:
        """The send time that a later reply of the session told of each row, ns TAI, or MISSING."""
        found = np.full(len(self), MISSING, np.int64)
        telling = np.flatnonzero(self.told_seq >= 0)
        if not telling.size:
            return found
        key = self.session << 32 | self.far_seq
        order = np.argsort(key, kind="stable")
        about = self.session[telling] << 32 | self.told_seq[telling]
        at = np.minimum(np.searchsorted(key[order], about), len(self) - 1)
        right = key[order][at] == about
        found[order[at[right]]] = self.told_t3[telling[right]]
        return found


def joined(parts: list[Replies]) -> Replies:
    """The rows of all ``parts``, in their order."""
    empty = np.empty(0, np.int64)
    return Replies(**{f.name: np.concatenate([empty, *(getattr(p, f.name) for p in parts)]) for f in fields(Replies)})


def replies(records: npt.NDArray[np.void], session: Column) -> Replies:
    """Records of the core as columns; ``session`` numbers each row's session."""
    told = records["told_t3"] != MISSING
    wide = {name: records[name].astype(np.int64) for name in ("seq", "far_seq", "t2", "t3", "told_t3", "t2_source")}
    return Replies(
        session=session.astype(np.int64),
        told_seq=np.where(told, records["told_seq"].astype(np.int64), -1),
        told_source=np.where(told, records["told_source"].astype(np.int64), NONE),
        **wide,
    )


def encode(rows: Replies) -> bytes:
    """One chunk with ``rows``, at least one, in order of session, then of time."""
    told = rows.told_seq >= 0
    with np.errstate(over="ignore"):
        columns = {
            "session": rows.session,
            "seq": rows.seq,
            "far_seq": rows.far_seq,
            "t2": rows.t2,
            "t3": rows.t3 - rows.t2,
            "told": np.where(told, rows.far_seq - rows.told_seq, 0),
            "told_t3": np.where(told, rows.t3 - rows.told_t3, 0),
            "sources": rows.t2_source << 2 | rows.told_source,
        }
    arrays: dict[str, npt.NDArray[np.generic]] = {"head": np.array([_VERSION, len(rows)], np.int64)}
    for name, column in columns.items():
        values: _Wrapping = column.view(np.uint64)
        numbers = np.diff(values) if name in _STEPS else values
        least = np.int64(numbers.view(np.int64).min()) if numbers.size else np.int64(0)
        arrays[f"{name}.base"] = np.array([column[0], least], np.int64)
        spread = numbers - least.astype(np.uint64)
        octets = (int(spread.max()).bit_length() + 7) // 8 if spread.size else 0
        if octets:
            little = np.ascontiguousarray(spread, "<u8")
            arrays[f"{name}.planes"] = little.view(np.uint8).reshape(-1, 8)[:, :octets].T
    return zipped(arrays)


def decode(data: bytes, name: str) -> Replies:
    """The rows of one chunk; ArchiveError when it is damaged. ``name`` is for the message."""
    try:
        arrays = unzipped(data, name)
        head = arrays["head"].tolist()
        if len(head) != 2 or head[0] != _VERSION or not 1 <= head[1] <= MOST:
            raise ArchiveError(f"stamps of format {_VERSION} in {name}", str(head)[:60], "get it anew from the far end")
        columns = {each: _column(arrays, each, head[1]) for each in (*_STEPS, *_WHOLE)}
    except (KeyError, ValueError, IndexError, TypeError, OverflowError, RuntimeError) as error:
        found = f"{type(error).__name__}: {error}"
        raise ArchiveError(f"whole stamps in {name}", found, "get it anew from the far end") from error
    told = columns["told"] != 0
    with np.errstate(over="ignore"):
        t3 = columns["t2"] + columns["t3"]
        return Replies(
            session=columns["session"],
            seq=columns["seq"],
            far_seq=columns["far_seq"],
            t2=columns["t2"],
            t3=t3,
            told_seq=np.where(told, columns["far_seq"] - columns["told"], -1),
            told_t3=np.where(told, t3 - columns["told_t3"], MISSING),
            t2_source=columns["sources"] >> 2,
            told_source=columns["sources"] & 3,
        )


def _column(arrays: Mapping[str, npt.NDArray[np.generic]], name: str, rows: int) -> Column:
    first, least = (np.int64(each).astype(np.uint64) for each in arrays[f"{name}.base"].tolist())
    count = rows - (name in _STEPS)
    numbers = np.zeros(count, np.uint64)
    if f"{name}.planes" in arrays:
        planes = arrays[f"{name}.planes"].astype(np.uint8, casting="safe")
        if planes.ndim != 2 or planes.shape[0] > 8 or planes.shape[1] != count:
            raise ValueError(f"{name} has shape {planes.shape}")
        for place, plane in enumerate(planes):
            numbers |= plane.astype(np.uint64) << np.uint64(8 * place)
    numbers += least
    if name in _STEPS:
        numbers = np.concatenate([np.array([first]), numbers]).cumsum(dtype=np.uint64)
    return numbers.view(np.int64)
