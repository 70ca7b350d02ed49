"""The two Sites of a Link with the path between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from harness.clock import Clock
from harness.units import Picoseconds, flight_time


class Direction(StrEnum):
    """One way over a Link."""

    FORWARD = "forward"
    """Near site to far site: T2 - T1."""
    BACKWARD = "backward"
    """Far site to near site: T4 - T3."""


@dataclass(frozen=True, slots=True)
class Site:
    """A computing centre, access point or terminal."""

    name: str
    title: str
    """How a person calls it, in any script."""
    kind: str
    """"computing-centre", "access-point" or "terminal"."""
    size_class: str
    """Declared class with its evidence ("large", "medium" …); "unknown" is a value."""
    clock: Clock
    position: tuple[str, str] | None = None
    """WGS 84 latitude and longitude in degrees as decimal text, or None when not surveyed."""
    position_origin: str = ""
    """Who answers for the position: which survey or register, with its date; empty: it was only typed."""


@dataclass(frozen=True, slots=True)
class Route:
    """What the fibre records say of the path, per direction the same cable unless stated."""

    length_m: int
    group_index_ppm: int
    """n_g in millionths, 1 468 200 for 1.4682."""
    u_ps: int
    """Standard uncertainty of the time of flight, ps."""
    origin: str
    """Which record: "route register 2026-03", "OTDR trace …"."""

    @property
    def flight(self) -> Picoseconds:
        """One-way time of flight in ps, rounded down."""
        return flight_time(self.length_m, self.group_index_ppm)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where packets leave and come back: the addresses of both ends of a Link."""

    near_address: str
    far_address: str
    far_port: int
    interface: str | None = None
    """Near interface to bind to, or None for the routing table's choice."""


@dataclass(frozen=True, slots=True)
class Link:
    """Two Sites and the path between; has two Directions."""

    name: str
    near: Site
    far: Site
    endpoint: Endpoint
    route: Route | None = None
    geodesic_m: int | None = None
    """Shortest distance over the ellipsoid between surveyed positions, m, rounded down; None when not surveyed."""
    oxcs: tuple[str, ...] = ()
    far_clock_trusted: bool = False
    """The bench vouches for the far end's in-band clock statements; else they are information."""
    far_turnaround_qualified: str = ""
    """Id of the qualification that lets T2, T3 be subtracted from the round trip (tier 0t); empty: not qualified."""
    turnaround_cap_ns: int = 0
    """Largest turnaround that tier 0t may subtract per packet, ns."""
    sync_over_link: bool | None = None
    """Time reaches one site over the link under test: no clock-based verdict (rules 6.6); None: not declared."""
    key_file: str | None = None
    ssid: int = 0
    stamps: Literal["kernel", "nic"] = "kernel"
    """Who stamps at the near end: "nic" asks its hardware, whose PHC is then the near clock."""
    phc_ahead_s: int = 0
    """With NIC stamps: seconds by which that PHC is ahead of UTC."""
    flow_ports: tuple[int, ...] = field(default=())
    """UDP source ports, one Flow each."""

    def label(self, direction: Direction) -> str:
        """``near→far`` or ``far→near``."""
        if direction is Direction.FORWARD:
            return f"{self.near.name}→{self.far.name}"
        return f"{self.far.name}→{self.near.name}"

    @property
    def positions_origin(self) -> str:
        """Who answers for the positions of both sites; empty unless both say."""
        origins = (self.near.position_origin, self.far.position_origin)
        return "; ".join(dict.fromkeys(origins)) if all(origins) else ""

    @property
    def geodesic_floor(self) -> Picoseconds | None:
        """Geodesic over c in ps: the only floor that also holds for hollow core or radio."""
        return None if self.geodesic_m is None else flight_time(self.geodesic_m)
