"""A small run that looks like a real one, and a judge that needs no policy engine."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.archive.folder import CALIBRATIONS, RunFolder
from harness.calibration import calibrate
from harness.canonical import JSON
from harness.clock import Clock, ClockState
from harness.journal import Instants
from harness.link import Endpoint, Link, Route, Site
from harness.measurement import Calibration, Health, Measurement
from harness.samples import COLUMNS, FAR_SYNCHRONISED, MISSING, RECEIVED, SENT, Column, Samples, Stalls
from harness.stream import Stream

NOON = 1_790_000_000_000_000_000
STREAM = Stream("floor", 10_000, 30_000_000, 128, seed="00" * 16)


def realistic(n: int, flows: int = 16, seed: int = 1, loss: float = 0.01) -> dict[str, Column]:
    """Columns as a sender would hand them over: 10 kpps exponential, lost, doubled and unstamped packets."""
    draw = np.random.default_rng(seed)
    index = np.arange(n)
    flow, seq = index % flows, index // flows
    scheduled = np.cumsum(draw.exponential(100_000, n)).astype(np.int64)
    t1 = NOON + scheduled + 300 + draw.lognormal(6, 0.6, n).astype(np.int64)
    t2 = t1 + 300_000 + draw.lognormal(8, 0.7, n).astype(np.int64)
    t3 = t2 + 8_000 + draw.lognormal(8.5, 0.6, n).astype(np.int64)
    t4 = t3 + 310_000 + draw.lognormal(8, 0.7, n).astype(np.int64)
    lost = draw.random(n) < loss
    for stamp in (t2, t3, t4):
        stamp[lost] = MISSING
    t1[draw.random(n) < loss / 10] = MISSING
    arrival = np.full(n, -1)
    for f in range(flows):
        back = np.flatnonzero((flow == f) & ~lost)
        arrival[back] = np.arange(len(back))
    copies = np.where(lost, 0, 1)
    copies[draw.random(n) < loss / 10] = 2
    flags = np.where(lost, 0b10 | SENT, 0b10101010 | SENT | RECEIVED | FAR_SYNCHRONISED)
    columns = (
        flow, seq, scheduled, t1, t2, t3, t4, np.where(lost, -1, seq), arrival, copies,
        np.where(lost, -1, 64), np.where(lost, -1, 0x8A01), flags,
    )  # fmt: skip
    return {name: column.astype(np.int64) for name, column in zip(COLUMNS, columns, strict=True)}


def a_measurement(name: str = "m1", rows: int = 300, interrupted: str = "", calibrated: bool = True) -> Measurement:
    """A measurement that uses every field."""
    near = Site("A", "东湖算力中心", "computing-centre", "large", Clock(("kernel", "chrony")), ("30.506", "114.399"))
    far = Site("B", "Yizhuang", "access-point", "unknown", Clock(("in-band",), shared="gm1", injected=True))
    link = Link(
        "a-b", near, far, Endpoint("10.0.0.1", "10.0.0.2", 862, "va"), Route(58_000, 1_468_200, 2_000_000, "register"),
        geodesic_m=51_000, oxcs=("oxc1",), far_clock_trusted=True, ssid=7, flow_ports=tuple(range(5000, 5016)),
    )  # fmt: skip
    states = tuple(
        ClockState(
            "A", "chrony", NOON + k, (True, False, None)[k % 3], 1_000 * k or None, None, 37, False, "", f"^* {k}"
        )
        for k in range(5)
    )
    return Measurement(
        name, link, STREAM, Samples(**realistic(rows)), states,
        Health({"sent": rows, "received": rows - 3}, NOON, NOON + 10**9, (-100_000, 2**60)),
        a_calibration() if calibrated else None,
        Stalls(np.array([3, 5]), np.array([0, 1]), np.array([60_000, 70_000])),
        interrupted, ("veth interface",), "kernel/kernel",
    )  # fmt: skip


def a_calibration() -> Calibration:
    """What `calibrate` derives from the measurement "cal1" of 500 rows."""
    return calibrate("cal1", Samples(**realistic(500)), STREAM, "kernel/kernel")


def counting_judge(measurements: Sequence[Measurement], policy: str, provenance: Mapping[str, JSON]) -> dict[str, Any]:
    """Stands in for `harness.certificate.judge`: depends on every octet of samples, evidence, policy, provenance."""
    rows = []
    for m in measurements:
        digest = hashlib.sha256(repr((m.evidence, m.health, m.calibration, m.link, m.stream)).encode())
        for name in COLUMNS:
            digest.update(getattr(m.samples, name).tobytes())
        rows.append({"id": m.id, "rows": len(m.samples), "digest": digest.hexdigest(), "interrupted": m.interrupted})
    return {"schema": "test-result/1", "policy": policy, "provenance": dict(provenance), "measurements": rows}


def same(one: Measurement, other: Measurement) -> bool:
    """Whether two measurements agree in every field and every sample."""
    apart = ("samples", "stalls")
    plain = all(getattr(one, n) == getattr(other, n) for n in one.__dataclass_fields__ if n not in apart)
    return plain and all(
        np.array_equal(getattr(getattr(one, part), n), getattr(getattr(other, part), n))
        for part in apart
        for n in getattr(one, part).__dataclass_fields__
    )


def ticking(start: int = NOON) -> Callable[[], tuple[int, int]]:
    """Clocks that tick 1 ms a reading."""

    readings = count(start + 1_000_000, 1_000_000)

    def instants() -> tuple[int, int]:
        now = next(readings)
        return now, now - start

    return instants


PLAN = {"title": "rehearsal", "provenance": {"operator": "nobody", "lab": "bench 3"}, "streams": ["floor"]}
POLICY_TEXT = 'id = "test-2027"\nlimit_ns = 1000000\n'


def started(root: Path, instants: Instants | None = None, suffix: str = "c0ffee") -> RunFolder:
    """A run folder whose octets are always the same."""
    return RunFolder.create(
        root, True, PLAN, bench="# bench\n", policy=POLICY_TEXT, environment={"software": {"version": "1"}},
        instants=instants or ticking(), token=suffix, by="process 1 on here",
    )  # fmt: skip


def whole_run(root: Path) -> Path:
    """A sealed run with a calibration and two measurements."""
    with started(root) as folder:
        folder.store(a_measurement("cal1", 500, calibrated=False), CALIBRATIONS, a_calibration())
        writer = folder.begin("m1", rows=128)
        for start in range(0, 300, 50):
            writer.append({n: c[start : start + 50] for n, c in realistic(300).items()})
        folder.finish(a_measurement("m1"))
        folder.store(a_measurement("m2", interrupted="SIGINT"))
        folder.judge(counting_judge)
        folder.add_file("report.pdf", b"%PDF-1.7 not really\n")
        folder.seal(counting_judge)
        return folder.path


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[RunFolder]:
    with started(tmp_path) as open_folder:
        yield open_folder


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    return whole_run(tmp_path)


@pytest.fixture(scope="session")
def kit() -> Any:
    """This module, for tests that want its functions."""
    return sys.modules[__name__]
