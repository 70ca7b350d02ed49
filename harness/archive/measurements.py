"""Measurements on disk: everything but the samples as canonical JSON, and back without loss."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

import numpy as np

from harness.archive.segments import load_samples, unzipped, zipped
from harness.canonical import JSON, canonical, noun, parse_object, plain
from harness.clock import ClockState
from harness.disk import read_file
from harness.errors import ArchiveError
from harness.measurement import Calibration, Measurement
from harness.samples import Stalls

MEASUREMENT: Final = "measurement.json"
EVIDENCE: Final = "evidence.jsonl"
STALLS: Final = "stalls.npz"
CALIBRATION: Final = "calibration.json"

_SCHEMA: Final = "millicert-measurement/1"
_APART: Final = ("samples", "evidence", "stalls")


def files(measurement: Measurement) -> dict[str, bytes]:
    """File name → octets of all of ``measurement`` but its samples.

    ``measurement.json``: its fields and a ``schema``; ``evidence.jsonl``: one ClockState a line;
    ``stalls.npz``: int64 arrays row, direction, late_ns. Integers of 2^53 or more are decimal strings.
    """
    fields = (f.name for f in dataclasses.fields(measurement) if f.name not in _APART)
    body: dict[str, JSON] = {name: plain(getattr(measurement, name)) for name in fields}
    return {
        EVIDENCE: b"".join(canonical(plain(state)) + b"\n" for state in measurement.evidence),
        STALLS: zipped({f.name: getattr(measurement.stalls, f.name) for f in dataclasses.fields(Stalls)}),
        MEASUREMENT: canonical({"schema": _SCHEMA, **body}),
    }


def load_measurement(directory: Path) -> Measurement:
    """The Measurement in ``directory``; ArchiveError naming the file when something is damaged or missing."""
    path = directory / MEASUREMENT
    body = parse_object(read_file(path), str(path))
    if body.pop("schema", None) != _SCHEMA:
        raise ArchiveError(f"schema {_SCHEMA} in {path}", "another", "read it with the version that wrote it")
    if set(body) & set(_APART):
        raise ArchiveError(f"a measurement in {path}", "samples inside it", "restore that file from a copy")
    return noun(
        Measurement,
        body,
        str(path),
        samples=load_samples(directory),
        evidence=load_evidence(directory / EVIDENCE),
        stalls=_stalls(directory / STALLS),
    )


def load_evidence(path: Path) -> tuple[ClockState, ...]:
    """The clock states in an ``evidence.jsonl``."""
    lines = read_file(path).split(b"\n")
    if lines.pop():
        raise ArchiveError(f"whole lines in {path}", "a torn last line", "restore that file from a copy")
    return tuple(
        noun(ClockState, parse_object(line, f"{path} line {number}"), f"{path} line {number}")
        for number, line in enumerate(lines)
    )


def _stalls(path: Path) -> Stalls:
    arrays = unzipped(read_file(path), str(path))
    names = {f.name for f in dataclasses.fields(Stalls)}
    shapes = {(a.ndim, a.dtype.str, a.shape) for a in arrays.values()}
    if set(arrays) != names or len(shapes) != 1 or next(iter(shapes))[:2] != (1, np.dtype(np.int64).str):
        raise ArchiveError(f"columns {sorted(names)} in {path}", str(sorted(arrays)), "restore that file from a copy")
    return Stalls(**{name: array.astype(np.int64) for name, array in arrays.items()})


def calibration_file(calibration: Calibration) -> bytes:
    """Octets of ``calibration.json``: the numbers derived from the back-to-back measurement beside it."""
    return canonical(plain(calibration))


def load_calibration(directory: Path) -> Calibration:
    """The derived numbers of the calibration in ``directory``."""
    path = directory / CALIBRATION
    return noun(Calibration, parse_object(read_file(path), str(path)), str(path))
