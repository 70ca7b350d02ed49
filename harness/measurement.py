"""A Measurement: one Stream run on one Link as data that can be judged again."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.artefact import Artefact, Load, Port
from harness.clock import ClockState
from harness.link import Direction, Link
from harness.samples import NO_STALLS, Samples, Stalls
from harness.stream import Stream


@dataclass(frozen=True)
class Calibration:
    """A back-to-back (zero-length) measurement of an endpoint pair (RFC 7679 3.7.3).

    ``bias_ns``: median of the raw delay per direction minus the patch's time of flight, to be subtracted;
    ``spread_ns``: larger absolute value of the 2.5 % and 97.5 % deviations from it. Both ns.
    """

    id: str
    bias_ns: dict[Direction, int]
    spread_ns: dict[Direction, int]
    samples: int
    rate_pps: int
    size: int
    planes: str
    """Stamp sources it was taken with, e.g. "kernel/kernel/kernel/kernel" for T1..T4."""
    artefact: Artefact | None = None
    """The expiring artefact it was read from; None: taken back to back within the run."""

    @classmethod
    def of(cls, artefact: Artefact, load: Load) -> Calibration:
        """What an artefact says of one of its loads."""
        return cls(
            id=artefact.id,
            bias_ns=load.found.bias_ns,
            spread_ns=load.found.spread_ns,
            samples=sum(plug.samples for plug in load.plugs),
            rate_pps=load.rate_pps,
            size=load.size,
            planes=load.planes,
            artefact=artefact,
        )


@dataclass(frozen=True)
class Health:
    """What the run says of itself; counts of packets unless stated."""

    counters: dict[str, int] = field(default_factory=dict)
    """Named counters of sender, collector, reflector, host; see `fastpath.sender.Sender.counters`."""
    started_ns: int = 0
    """ns since 1970 UTC by the near host's CLOCK_REALTIME."""
    ended_ns: int = 0
    clock_steps_ns: tuple[int, ...] = ()
    """Steps of the near host's CLOCK_REALTIME against CLOCK_MONOTONIC_RAW seen during the run, ns."""


@dataclass(frozen=True)
class Measurement:
    """One Stream run on one Link: all that judging needs, nothing else."""

    id: str
    link: Link
    stream: Stream
    samples: Samples
    evidence: tuple[ClockState, ...]
    health: Health
    calibration: Calibration | None = None
    stalls: Stalls = NO_STALLS
    interrupted: str = ""
    """Why it ended before its plan ("SIGINT" …); empty when it ran to the end."""
    simulated: tuple[str, ...] = ()
    """Facts that make it a simulation ("veth interface", "injected clock at B"); empty on a real link."""
    near_planes: str = ""
    """Stamp sources seen for T1..T4, most frequent first per stamp."""
    serves: tuple[str, ...] = ()
    """Ids of the requirements that the plan judges on it; empty: those that its stream's kind fits."""
    near_port: Port | None = None
    """The near port it went through, as its kernel describes it; None: nobody looked."""
