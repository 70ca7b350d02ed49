"""What the simulated metro is made of, as data: the truth that a plan must find out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.simulation.clocks import SiteClock
from harness.units import flight_time

MAX_DELAY_NS = 4_000_000_000
"""Longest delay of one packet with all its impairments, ns: the log keeps it in 32 bits."""


@dataclass(frozen=True, slots=True)
class Jitter:
    """Extra delay of each packet, drawn independently."""

    law: Literal["uniform", "exponential"]
    ns: int
    """Width of the uniform law (0 to ns), or mean of the exponential one (cut at 20 means), ns."""
    keep_order: bool = True
    """A queue: no packet overtakes an earlier one of its route. False lets jitter reorder."""


@dataclass(frozen=True, slots=True)
class Loss:
    """Packets that never arrive."""

    ppm: int
    """Mean share lost, millionths."""
    burst: int = 1
    """Mean run of consecutive losses, packets (Gilbert-Elliott, all lost in the bad state); 1 is independent loss."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to a route at a moment: another delay, or a cut."""

    at_ns: int
    """After the fibre's start, ns; packets that arrive from then on are concerned."""
    delay_ns: int | None
    """New delay, ns (also mends a cut route); None cuts the route."""


@dataclass(frozen=True, slots=True)
class FibrePath:
    """One way along one route; give ``delay_ns``, or ``length_m`` with the group index."""

    delay_ns: int | None = None
    length_m: int = 0
    group_index_ppm: int = 1_468_200
    """n_g in millionths."""
    jitter: Jitter | None = None
    loss: Loss = Loss(0)
    duplicate_ppm: int = 0
    """Share of packets delivered twice, millionths."""
    reorder_ppm: int = 0
    """Share of packets held back by ``reorder_ns`` so that later ones overtake, millionths."""
    reorder_ns: int = 0
    changes: tuple[Change, ...] = ()

    @property
    def delay(self) -> int:
        """Programmed delay without impairments, ns."""
        if self.delay_ns is not None:
            return self.delay_ns
        return flight_time(self.length_m, self.group_index_ppm) // 1000


@dataclass(frozen=True, slots=True)
class LinkPlant:
    """The path of one Link and the clocks at its ends."""

    forward: tuple[FibrePath, ...]
    """Routes near to far; 1 to 16."""
    backward: tuple[FibrePath, ...]
    """Routes far to near; 1 to 16."""
    route_of: Mapping[int, int] = field(default_factory=dict)
    """Route index of a near UDP port, both ways; a port not named takes route 0."""
    seed: int = 1
    """The same seed makes the same decisions for the same order of packets, whatever the timing."""
    near_clock: SiteClock = field(default_factory=SiteClock)
    far_clock: SiteClock = field(default_factory=SiteClock)
    ipv6: bool = False
    """Which address family `Metro.endpoint` names; the namespaces always have both."""
    near_address: str = ""
    """Pinned IPv4 addresses (one /24 for both ends); empty: chosen."""
    far_address: str = ""
    far_port: int = 862
    """The reflector's UDP port (RFC 8762 4); on the loopback carrier without privilege another is chosen."""
    mtu: int = 9000
    static_neighbours: bool = True
    """False leaves ARP and neighbour discovery to the kernel, over the fibre."""

    def __post_init__(self) -> None:
        """Raise ValueError with every fault at once."""
        faults: list[str] = []
        for way, routes in (("forward", self.forward), ("backward", self.backward)):
            if not 1 <= len(routes) <= 16:
                faults.append(f"{way}: {len(routes)} routes, 1 to 16 are possible")
            faults += [f"{way} route {i}: {fault}" for i, path in enumerate(routes) for fault in _faults(path)]
        shortest = min(len(self.forward), len(self.backward))
        faults += [
            f"route_of: port {port} takes route {route} of {shortest}"
            for port, route in self.route_of.items()
            if not (0 <= route < shortest and 0 < port < 65536)
        ]
        if bool(self.near_address) != bool(self.far_address):
            faults.append("near_address and far_address are pinned together or not at all")
        if not 576 <= self.mtu <= 9000:
            faults.append(f"mtu {self.mtu}: 576 to 9000")
        if not 0 <= self.seed < 2**64:
            faults.append(f"seed {self.seed}: 0 to 2^64 - 1")
        if faults:
            raise ValueError("; ".join(faults))


def _faults(path: FibrePath) -> list[str]:
    shares = {"loss": path.loss.ppm, "duplicate": path.duplicate_ppm, "reorder": path.reorder_ppm}
    faults = [f"{name} {ppm} ppm: 0 to 1000000" for name, ppm in shares.items() if not 0 <= ppm <= 1_000_000]
    jitter = 0
    if path.jitter is not None:
        jitter = path.jitter.ns * (20 if path.jitter.law == "exponential" else 1)
    longest = max([path.delay, *(c.delay_ns or 0 for c in path.changes)]) + jitter + path.reorder_ns
    shortest = min([path.delay, jitter, path.reorder_ns, *(c.delay_ns or 0 for c in path.changes)])
    if not (shortest >= 0 and longest <= MAX_DELAY_NS):
        faults.append(f"delays from {shortest} to {longest} ns: 0 to {MAX_DELAY_NS}")
    if path.loss.burst < 1:
        faults.append(f"loss burst {path.loss.burst}: at least 1 packet")
    if len(path.changes) > 16 or [c.at_ns for c in path.changes] != sorted(c.at_ns for c in path.changes):
        faults.append("changes: at most 16, in order of time")
    return faults
