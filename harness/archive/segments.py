"""Segments: the Samples of a measurement on disk, lossless in 10 to 24 octets a row.

A measurement's rows lie in ``samples-00000.npz``, ``samples-00001.npz`` …, in schedule order. Each is a zip of
``.npy`` arrays (deflate, all times 1980-01-01), complete in itself:

``head``
    int64[5]: format version 1, rows n, origin, first seq, first scheduled.
``base``
    int64[13]: one number per column, in the order flow, seq, scheduled, t1, t2, t3, t4, far_seq, arrival, copies,
    ttl, error_estimate, flags.
``<column>.absent``
    uint8, n bits, most significant first (``numpy.packbits``): rows without a value, that is -2^63 in t1..t4 and -1
    in far_seq, arrival, ttl, error_estimate. Not there when every row has a value.
``<column>.planes``
    uint8[k, m]: the m numbers of the column as k octets each, least significant first, all least significant octets
    together. Not there when the m numbers are all 0. The numbers belong to the rows with a value, except for seq
    and scheduled: m = n - 1, the steps from each row to the next.

A column's value is number + base + prediction, modulo 2^64, read as signed. Prediction is: for seq and scheduled, the
row before (the first row stands in ``head``); for t1, scheduled + origin; for t2, t3, t4, the last of scheduled +
origin, t1, t2, t3 that has a value in that row; for far_seq and arrival, seq; for the others, 0.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.canonical import integer, sha256
from harness.disk import read_file, write_file
from harness.errors import ArchiveError
from harness.journal import Journal
from harness.samples import COLUMNS, MISSING, Column, Samples

ROWS: Final = 1 << 18
"""Rows of a full segment: 27 MB while it is gathered, about 3 MB on disk."""

MOST: Final = 1 << 26
"""Rows a segment can have, so that a damaged head asks for no absurd memory."""

SEGMENT: Final = "archive.segment"
"""Journal kind of a segment that is on disk: ``measurement`` (folder under data), ``file``, ``rows``, ``sha256``."""

_VERSION: Final = 1
_STEPS: Final = ("seq", "scheduled")
_STAMPS: Final = ("t1", "t2", "t3", "t4")
_ABSENT: Final = dict.fromkeys(_STAMPS, MISSING) | dict.fromkeys(("far_seq", "arrival", "ttl", "error_estimate"), -1)

# All arithmetic is modulo 2^64, so that any int64 survives; numpy wraps unsigned integers without a warning.
_Wrapping = npt.NDArray[np.uint64]


def zipped(arrays: Mapping[str, npt.NDArray[np.generic]]) -> bytes:
    """An ``.npz`` of ``arrays`` with the same octets every time."""
    out = io.BytesIO()
    # Level 1: the low octets are noise that no level packs, the rest is runs that every level packs.
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in arrays.items():
            body = io.BytesIO()
            np.lib.format.write_array(body, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.create_system, entry.external_attr, entry.compress_type = 3, 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, body.getbuffer())
    return out.getvalue()


def unzipped(data: bytes, name: str, only: tuple[str, ...] | None = None) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of an ``.npz``, or ``only`` some; ArchiveError when it is damaged. ``name`` is for the message."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {key: arrays[key] for key in only or arrays.files}
    except (ValueError, KeyError, OSError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise _damaged(name, str(error)) from error


def _damaged(name: str, found: str) -> ArchiveError:
    return ArchiveError(f"whole samples in {name}", found, "restore that file from a copy")


def encode(columns: Mapping[str, Column]) -> bytes:
    """One segment with the rows of ``columns`` (all of `COLUMNS`, int64, one length of at least 1)."""
    seq, scheduled = _wrapping(columns["seq"]), _wrapping(columns["scheduled"])
    rows = len(seq)
    origin = np.uint64(0)
    for name in _STAMPS:
        present = np.flatnonzero(columns[name] != MISSING)
        if present.size:
            origin = (_wrapping(columns[name]) - scheduled)[present[0]]
            break
    head = [_VERSION, rows, int(origin.astype(np.int64)), int(columns["seq"][0]), int(columns["scheduled"][0])]
    base = np.zeros(len(COLUMNS), np.int64)
    arrays: dict[str, npt.NDArray[np.generic]] = {"head": np.array(head, np.int64), "base": base}
    prediction = scheduled + origin
    for index, name in enumerate(COLUMNS):
        values = _wrapping(columns[name])
        absent = columns[name] == _ABSENT[name] if name in _ABSENT else np.zeros(rows, np.bool_)
        if name in _STEPS:
            numbers = np.diff(values)
        elif name in _STAMPS:
            numbers = values - prediction
            prediction = np.where(absent, prediction, values)
        elif name in ("far_seq", "arrival"):
            numbers = values - seq
        else:
            numbers = values
        if absent.any():
            arrays[f"{name}.absent"] = np.packbits(absent)
            numbers = numbers[~absent]
        if numbers.size:
            base[index] = numbers.astype(np.int64).min()
            numbers = numbers - np.uint64(base[index].astype(np.uint64))
            octets = (int(numbers.max()).bit_length() + 7) // 8
            if octets:
                little = np.ascontiguousarray(numbers, "<u8")
                arrays[f"{name}.planes"] = little.view(np.uint8).reshape(-1, 8)[:, :octets].T
    return zipped(arrays)


def _wrapping(column: Column) -> _Wrapping:
    return column.astype(np.int64, copy=False).view(np.uint64)


def decode(data: bytes, name: str = "segment") -> Samples:
    """The rows of one segment; ArchiveError when it is damaged. ``name`` is for the message."""
    arrays = unzipped(data, name)
    rows, origin, *firsts = _head(arrays, name)
    try:
        columns = _columns(arrays, rows, np.int64(origin).astype(np.uint64), dict(zip(_STEPS, firsts, strict=True)))
    except (KeyError, ValueError, IndexError, TypeError, OverflowError) as error:
        raise _damaged(name, f"{type(error).__name__}: {error}") from error
    return Samples(**columns)


def _head(arrays: Mapping[str, npt.NDArray[np.generic]], name: str) -> list[int]:
    """Rows, origin, first seq, first scheduled."""
    head = arrays.get("head", np.empty(0))
    if head.shape != (5,) or head.dtype != np.int64:
        raise _damaged(name, "no head of five int64")
    version, rows, *more = (int(value) for value in head.astype(np.int64))
    if version != _VERSION:
        raise _damaged(name, f"format version {version}, this program reads {_VERSION}")
    if not 0 < rows <= MOST:
        raise _damaged(name, f"{rows} rows where 1 to {MOST} are possible")
    return [rows, *more]


def _columns(
    arrays: Mapping[str, npt.NDArray[np.generic]], rows: int, origin: np.uint64, first: Mapping[str, int]
) -> dict[str, Column]:
    base = arrays["base"].astype(np.int64).view(np.uint64)
    columns: dict[str, Column] = {}
    prediction: _Wrapping = np.zeros(0, np.uint64)
    for index, name in enumerate(COLUMNS):
        absent = _mask(arrays.get(f"{name}.absent"), rows)
        count = rows - 1 if name in _STEPS else rows if absent is None else rows - int(np.count_nonzero(absent))
        values = _numbers(arrays.get(f"{name}.planes"), count)
        values += base[index]
        if name in _STEPS:
            steps, values = values, np.empty(rows, np.uint64)
            values[0] = np.int64(first[name]).astype(np.uint64)
            np.cumsum(steps, out=values[1:])
            values[1:] += values[0]
        elif absent is not None:
            spread = np.zeros(rows, np.uint64)
            spread[~absent] = values
            values = spread
        if name == "scheduled":
            prediction = values + origin
        elif name in _STAMPS:
            values += prediction
            prediction = values if absent is None else np.where(absent, prediction, values)
        elif name in ("far_seq", "arrival"):
            values += columns["seq"].view(np.uint64)
        columns[name] = values.view(np.int64)
        if absent is not None:
            columns[name] = np.where(absent, _ABSENT[name], columns[name])
    return columns


def _mask(packed: npt.NDArray[np.generic] | None, rows: int) -> npt.NDArray[np.bool_] | None:
    if packed is None:
        return None
    return np.unpackbits(packed.astype(np.uint8, casting="safe"), count=rows).astype(np.bool_)


def _numbers(planes: npt.NDArray[np.generic] | None, count: int) -> _Wrapping:
    if planes is None:
        return np.zeros(count, np.uint64)
    octets = planes.astype(np.uint8, casting="safe", copy=False)
    if octets.ndim != 2 or octets.shape[1] != count or octets.shape[0] > 8:
        raise ValueError(f"planes of shape {octets.shape} for {count} numbers")
    numbers: _Wrapping = octets[0].astype(np.uint64)
    for k in range(1, octets.shape[0]):
        numbers |= octets[k].astype(np.uint64) << np.uint64(8 * k)
    return numbers


def paths(directory: Path) -> list[Path]:
    """The segments in ``directory`` in row order; ArchiveError when one of the series is missing."""
    found = sorted(directory.glob("samples-*.npz"))
    for index, path in enumerate(found):
        if path.name != segment_name(index):
            raise ArchiveError(
                f"{segment_name(index)} in {directory}", f"{path.name} in its place", "restore it from a copy"
            )
    return found


def segment_name(index: int) -> str:
    """File name of segment ``index`` from 0."""
    return f"samples-{index:05}.npz"


def load_samples(directory: Path) -> Samples:
    """All Samples of ``directory``, 104 octets of memory a row; no rows when it holds no segment."""
    series = paths(directory)
    if not series:
        return Samples(**{name: np.empty(0, np.int64) for name in COLUMNS})
    rows = [_head(unzipped(read_file(path), str(path), ("head",)), str(path))[0] for path in series]
    columns = {name: np.empty(sum(rows), np.int64) for name in COLUMNS}

    def fill(path: Path, start: int) -> None:
        part = decode(read_file(path), str(path))
        for name, column in columns.items():
            column[start : start + len(part)] = getattr(part, name)

    # Inflating and numpy leave the interpreter lock, so two at a time is nearly twice as fast.
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(fill, series, accumulate(rows, initial=0)):
            pass
    return Samples(**columns)


@dataclass(frozen=True, slots=True)
class _State:
    """What a SegmentWriter holds; replaced in one assignment, so an interrupt leaves the old or the new."""

    gathered: tuple[dict[str, Column], ...] = ()
    waiting: int = 0
    index: int = 0
    written: int = 0


class SegmentWriter:
    """Gathers rows and puts them on disk segment by segment, each journaled once it is there.

    ``measurement`` is the folder as the journal names it ("measurements/m1"). Holds at most ``rows`` rows plus one
    `append` in memory. When the disk refuses, `append` and `flush` raise ArchiveError and keep all rows; the next
    call of either tries again.
    """

    def __init__(self, directory: Path, journal: Journal, measurement: str, rows: int = ROWS) -> None:
        self.directory = directory
        self.measurement = measurement
        self._journal = journal
        self._rows = min(rows, MOST)
        self._state = _State()
        self._since = len(journal.entries)
        self._unsure = False

    @property
    def written(self) -> int:
        """Rows on disk."""
        return self._state.written

    @property
    def untouched(self) -> bool:
        """Whether no row was ever added."""
        return self._state == _State()

    def append(self, columns: Mapping[str, Column]) -> None:
        """Add rows: every column of `COLUMNS`, int64, one length; they are copied."""
        if set(columns) != set(COLUMNS):
            raise ArchiveError(
                f"the columns {', '.join(COLUMNS)}", ", ".join(columns), "pass what fastpath.sender.Sender.take returns"
            )
        shapes = {(columns[name].shape, columns[name].dtype.str) for name in COLUMNS}
        length = len(columns["seq"])
        if shapes != {((length,), np.dtype(np.int64).str)}:
            raise ArchiveError("int64 columns of one length", str(sorted(shapes)), "convert them before they are added")
        if length:
            state, part = self._state, {name: columns[name].copy() for name in COLUMNS}
            self._state = replace(state, gathered=(*state.gathered, part), waiting=state.waiting + length)
        while self._state.waiting >= self._rows:
            self._write(self._rows)

    def flush(self) -> None:
        """Put every row gathered so far on disk, the last as a segment of its own (some 5 kB overhead)."""
        while self._state.waiting:
            self._write(min(self._rows, self._state.waiting))

    def samples(self) -> Samples:
        """All rows so far as read back from disk, after a `flush`."""
        self.flush()
        return load_samples(self.directory)

    def _write(self, rows: int) -> None:
        state = self._state
        gathered = state.gathered
        whole = gathered[0] if len(gathered) == 1 else {n: np.concatenate([p[n] for p in gathered]) for n in COLUMNS}
        name = segment_name(state.index)
        journaled = self._journaled(name) if self._unsure else None
        if journaled is None:
            data = encode({n: whole[n][:rows] for n in COLUMNS})
            self._unsure = True
            write_file(self.directory / name, data)
            self._journal.append(SEGMENT, measurement=self.measurement, file=name, rows=rows, sha256=sha256(data))
        else:
            rows = journaled
        rest = {n: whole[n][rows:] for n in COLUMNS}
        left = state.waiting - rows
        self._state = _State((rest,) if left else (), left, state.index + 1, state.written + rows)
        self._unsure = False

    def _journaled(self, name: str) -> int | None:
        """Rows of segment ``name`` when it was journaled, though an interrupt kept this object from noticing."""
        for entry in self._journal.entries[self._since :]:
            if entry.kind == SEGMENT and (entry.data["measurement"], entry.data["file"]) == (self.measurement, name):
                return integer(entry.data["rows"], "rows")
        return None
