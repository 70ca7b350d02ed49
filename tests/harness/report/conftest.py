"""A realistic result, and measurements from which the judge makes real ones."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.clock import Clock, ClockState
from harness.link import Direction, Endpoint, Link, Route, Site
from harness.measurement import Calibration, Health, Measurement
from harness.samples import FAR_SYNCHRONISED, KERNEL, MISSING, RECEIVED, SENT, Samples
from harness.stream import Stream

EXAMPLE = json.loads((Path(__file__).parent / "result-example.json").read_text(encoding="utf-8"))
EPOCH = 1_795_345_514_000_000_000
PORTS = tuple(range(50_000, 50_004))

Make = Callable[..., Measurement]


@pytest.fixture
def example() -> dict[str, Any]:
    """The hand-written result of a PASS run; the test may change it."""
    return copy.deepcopy(EXAMPLE)


def link(clock: str = "kernel") -> Link:
    near = Site("张江", "张江算力中心", "computing-centre", "large", Clock((clock,)), None, "survey")
    far = Site("临港", "临港算力中心", "computing-centre", "large", Clock(("in-band",)), None, "survey")
    return Link(
        "zj-lg",
        near,
        far,
        Endpoint("192.0.2.1", "192.0.2.2", 862),
        Route(80_000, 1_468_200, 50_000, "register"),
        geodesic_m=60_000,
        far_clock_trusted=True,
        flow_ports=PORTS,
    )


def samples(n: int, rate: int, *, base_ns: int, offset_ns: int, lost: int) -> Samples:
    """``n`` packets over an 80 km link, the far clock ``offset_ns`` ahead, the first ``lost`` of each 1000 lost."""
    draw = np.random.default_rng(1)
    scheduled = np.arange(n, dtype=np.int64) * (10**9 // rate)
    t1 = EPOCH + scheduled
    forward, backward = (base_ns + draw.gamma(2, 4_000, n).astype(np.int64) for _ in range(2))
    t2 = t1 + forward + offset_ns
    t3 = t2 + 30_000
    t4 = t3 + backward - offset_ns
    gone = np.arange(n) % 1000 < lost
    stamps = KERNEL | KERNEL << 2 | KERNEL << 4 | KERNEL << 6
    flags = np.where(gone, KERNEL | SENT, stamps | SENT | RECEIVED | FAR_SYNCHRONISED).astype(np.int64)
    for stamp in (t2, t3, t4):
        stamp[gone] = MISSING
    index = np.arange(n, dtype=np.int64)
    seq = index // len(PORTS)

    def there(value: Any) -> Any:
        return np.where(gone, -1, value).astype(np.int64)

    return Samples(
        flow=index % len(PORTS),
        seq=seq,
        scheduled=scheduled,
        t1=t1,
        t2=t2,
        t3=t3,
        t4=t4,
        far_seq=there(seq),
        arrival=there(seq),
        copies=np.where(gone, 0, 1).astype(np.int64),
        ttl=there(64),
        error_estimate=there(0x8001),
        flags=flags,
    )


@pytest.fixture
def make() -> Make:
    """A measurement: ``make(name, n=…, rate=…)``."""

    def made(
        name: str,
        *,
        n: int = 61_000,
        rate: int = 1_000,
        base_ns: int = 412_000,
        offset_ns: int = 0,
        lost: int = 0,
        synchronised: bool | None = True,
        interrupted: str = "",
        simulated: tuple[str, ...] = ("veth interface",),
    ) -> Measurement:
        here = link()
        start = EPOCH - 37 * 10**9
        span = n * 10**9 // rate
        evidence = tuple(
            ClockState(
                site,
                source,
                start + second * 10**9,
                synchronised,
                5_000 if synchronised else None,
                20,
                37,
                False,
                "GNSS",
                "",
            )
            for site, source in (("张江", "kernel"), ("临港", "in-band"))
            for second in range(-1, span // 10**9 + 2)
        )
        return Measurement(
            f"zj-lg-{name}",
            here,
            Stream(name, rate, span, 256, flows=len(PORTS), unloaded=name == "optical"),
            samples(n, rate, base_ns=base_ns, offset_ns=offset_ns, lost=lost),
            evidence,
            Health({}, start, start + span),
            Calibration(
                "patch-1",
                {Direction.FORWARD: 1_200, Direction.BACKWARD: 1_180},
                {Direction.FORWARD: 300, Direction.BACKWARD: 310},
                6_000,
                rate,
                256,
                "kernel/kernel/kernel/kernel",
            ),
            interrupted=interrupted,
            simulated=simulated,
            near_planes="kernel/kernel/kernel/kernel",
        )

    return made
