"""A synthetic measurement: t1..t4 of a link whose truth is known, for the judging tests and the campaign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from harness.clock import Clock, ClockState
from harness.link import Direction, Endpoint, Link, Route, Site
from harness.measurement import Calibration, Health, Measurement
from harness.samples import KERNEL, MISSING, NO_STALLS, RECEIVED, SENT, Samples, Stalls
from harness.stream import Stream

START = 1_800_000_000_000_000_000
Array = npt.NDArray[np.int64]
SURVEY = "survey of 2026"


@dataclass(frozen=True)
class Story:
    """What happens: delays in ns, clock of the far end against the near one in ns."""

    seconds: int = 60
    rate_pps: int = 1_000
    flows: int = 4
    forward: int = 300_000
    backward: int = 300_000
    jitter: int = 2_000
    turnaround: int = 20_000
    offset: int = 0
    skew_ppb: int = 0
    step: int = 0
    step_at_s: int = 30
    bound: int | None = 1_000
    """Claimed by both clocks."""
    synchronised: bool | None = True
    source: str = "simulated"
    planes: int = KERNEL | KERNEL << 2 | KERNEL << 4 | KERNEL << 6
    unloaded: bool = True
    calibrated: bool = True
    simulated: tuple[str, ...] = ("synthetic",)
    seed: int = 1
    size: int = 128
    extra_forward: Array | None = None
    """Added delay per packet."""
    extra_backward: Array | None = None
    lost_forward: Array | None = None
    """Rows lost on the way there."""
    lost_backward: Array | None = None
    evidence: tuple[ClockState, ...] | None = None
    route: Route | None = None
    geodesic_m: int | None = None
    shared: str = ""
    identity: str = ""
    far_trusted: bool = False
    sync_over_link: bool = False
    key_file: str | None = None
    qualified: str = ""
    cap: int = 0
    steps: tuple[int, ...] = ()
    interrupted: str = ""
    stalls: Stalls = field(default=NO_STALLS)
    duration_s: int | None = None


def tell(story: Story, name: str = "m1") -> Measurement:
    """The measurement of a story."""
    n, flows = story.seconds * story.rate_pps, story.flows
    rng = np.random.default_rng(story.seed)
    row = np.arange(n, dtype=np.int64)
    scheduled = row * (1_000_000_000 // story.rate_pps)
    clock = story.offset + scheduled * story.skew_ppb // 1_000_000_000
    clock = clock + np.where(scheduled >= story.step_at_s * 10**9, story.step, 0)
    forward = story.forward + rng.integers(0, story.jitter + 1, n)
    backward = story.backward + rng.integers(0, story.jitter + 1, n)
    if story.extra_forward is not None:
        forward = forward + story.extra_forward
    if story.extra_backward is not None:
        backward = backward + story.extra_backward
    t1 = START + scheduled
    t2 = t1 + forward + clock
    t3 = t2 + story.turnaround
    t4 = t1 + forward + story.turnaround + backward
    flow, seq = row % flows, row // flows
    flags = np.full(n, SENT | RECEIVED | story.planes, np.int64)
    gone_there = np.zeros(n, bool)
    gone_back = np.zeros(n, bool)
    if story.lost_forward is not None:
        gone_there[story.lost_forward] = True
    if story.lost_backward is not None:
        gone_back[story.lost_backward] = True
    gone_back &= ~gone_there
    far_seq = np.zeros(n, np.int64)
    arrival = np.zeros(n, np.int64)
    for f in range(flows):
        far_seq[f::flows] = np.cumsum(~gone_there[f::flows]) - 1
        arrival[f::flows] = np.cumsum(~(gone_there | gone_back)[f::flows]) - 1
    gone = gone_there | gone_back
    for column in (t2, t3, t4):
        column[gone] = MISSING
    far_seq[gone] = -1
    arrival[gone] = -1
    flags[gone] = SENT | (story.planes & 3)
    copies = np.where(gone, 0, 1)
    samples = Samples(
        flow,
        seq,
        scheduled,
        t1,
        t2,
        t3,
        t4,
        far_seq,
        arrival,
        copies,
        np.where(gone, -1, 64),
        np.full(n, -1, np.int64),
        flags,
    )
    link = Link(
        "a-b",
        Site("a", "A", "computing-centre", "large", Clock((story.source,), story.shared), None, SURVEY),
        Site("b", "B", "computing-centre", "large", Clock((story.source,), story.shared), None, SURVEY),
        Endpoint("10.0.0.1", "10.0.0.2", 862),
        route=story.route,
        geodesic_m=story.geodesic_m,
        far_clock_trusted=story.far_trusted,
        far_turnaround_qualified=story.qualified,
        turnaround_cap_ns=story.cap,
        sync_over_link=story.sync_over_link,
        key_file=story.key_file,
        flow_ports=tuple(20_000 + f for f in range(flows)),
    )
    duration = story.duration_s or story.seconds
    stream = Stream(
        "floor", story.rate_pps, duration * 10**9, story.size, schedule="periodic", flows=flows, unloaded=story.unloaded
    )
    started = START - 37 * 10**9
    ended = started + story.seconds * 10**9
    evidence = story.evidence if story.evidence is not None else polls(story, started, ended)
    calibration = None
    if story.calibrated:
        both = dict.fromkeys(Direction, 0)
        spread = dict.fromkeys(Direction, 1000)
        calibration = Calibration(
            "cal", both, spread, 60_000, story.rate_pps, story.size, "kernel/kernel/kernel/kernel"
        )
    health = Health({}, started, ended, story.steps)
    return Measurement(
        name, link, stream, samples, evidence, health, calibration, story.stalls, story.interrupted, story.simulated
    )


def polls(story: Story, started: int, ended: int, sites: Sequence[str] = ("a", "b")) -> tuple[ClockState, ...]:
    """One poll a second of both clocks from before to after."""
    return tuple(
        ClockState(site, story.source, at, story.synchronised, story.bound, 10, 37, False, story.identity, "")
        for site in sites
        for at in range(started - 10**9, ended + 2 * 10**9, 10**9)
    )


def change(measurement: Measurement, **columns: Array) -> Measurement:
    """The measurement with some columns of its samples replaced."""
    return replace(measurement, samples=replace(measurement.samples, **columns))
