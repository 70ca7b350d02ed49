"""The tables and keys that may stand in a bench file."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field

from harness.section import Number, Section, Text

STAMP_PORT: Final = 862
"""UDP port of STAMP and TWAMP reflectors (RFC 8762 4.1)."""
FIRST_FLOW_PORT: Final = 61_000
"""First source port unless stated: just above Linux' range for other programs' short-lived ports (32768-60999)."""
FLOWS: Final = 16


def _position(value: object) -> object:
    """Latitude and longitude, both as decimal text: their last digit says how well they are known."""
    if not (isinstance(value, list) and len(value) == 2):
        raise ValueError("not two coordinates")
    for text, limit in zip(value, (90, 180), strict=True):
        if not (isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,3}(\.[0-9]{1,12})?", text)):
            raise ValueError("not decimal text")
        if abs(Decimal(text)) > limit:
            raise ValueError("not on Earth")
    return value


Position = Annotated[list[str], BeforeValidator(_position)]
Port = Annotated[int, Field(ge=1, le=65535, description="UDP ports 1 to 65535")]
Carrier = Literal["auto", "namespaces", "loopback"]
Source = Literal["kernel", "chrony", "linuxptp", "phc", "gnss", "counter", "holdover", "in-band", "simulated"]
Kind = Literal["computing-centre", "access-point", "terminal"]
Law = Literal["uniform", "exponential"]


class BenchSection(Section):
    """[bench]."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$", description="up to 40 of A-Z a-z 0-9 . _ -")
    title: Text = ""
    policy: Text = ""
    operator: Text = ""


class LabSection(Section):
    """[lab]."""

    name: Text = ""
    address: Text = ""
    location: Text = ""


class CustomerSection(Section):
    """[customer]."""

    name: Text = ""
    address: Text = ""


class ItemSection(Section):
    """[item]: what is certified."""

    description: Text = ""
    id: Text = ""
    condition: Text = ""


class AuthoriserSection(Section):
    """[authoriser]: under whose name the report goes out."""

    name: Text = ""
    role: Text = ""


class ClockSection(Section):
    """clock = {…} of a site."""

    sources: list[Source] = Field(default=[], description="a list of clock evidence sources")
    shared: Text = ""
    time_from: Text = ""
    chrony: dict[str, Any] | None = Field(default=None, description="a table")
    linuxptp: dict[str, Any] | None = Field(default=None, description="a table")
    phc: dict[str, Any] | None = Field(default=None, description="a table")
    gnss: dict[str, Any] | None = Field(default=None, description="a table")
    counter: dict[str, Any] | None = Field(default=None, description="a table")
    holdover: dict[str, Any] | None = Field(default=None, description="a table")


class SiteSection(Section):
    """[sites.NAME]."""

    title: Text = ""
    kind: Kind = Field(default="computing-centre", description="a kind of site")
    size_class: Text = Field(default="unknown", alias="class")
    position: Position | None = Field(
        default=None, description='WGS 84 latitude and longitude as decimal text: ["31.2304", "121.4737"], or leave out'
    )
    position_origin: Text = ""
    clock: ClockSection = ClockSection()


class RouteSection(Section):
    """route = {…} of a link: what the fibre records say."""

    length_m: int = Field(ge=1, le=20_000_000, description="fibre length in whole metres")
    group_index: Number = Field(ge=1, le=2, decimal_places=6, description='group index 1 to 2: "1.4682"')
    u_ns: Number | None = Field(default=None, ge=0, le=10**9, description="standard uncertainty of the flight time, ns")
    u_percent: Number | None = Field(default=None, ge=0, le=100, description="standard uncertainty, % of flight time")
    origin: Text = Field(min_length=1, description="which record says so: route register, OTDR trace, with its date")


class LinkSection(Section):
    """[links.NAME]."""

    near: str = Field(description="the name of a site")
    far: str = Field(description="the name of a site")
    far_address: str | None = Field(default=None, description="an IP address (a name could move between two runs)")
    far_port: Port = STAMP_PORT
    near_address: str | None = Field(default=None, description="an IP address of this host, or leave out")
    interface: str | None = Field(
        default=None, pattern=r"^[^\s/]{1,15}$", description="a network interface, up to 15 characters"
    )
    flow_ports: list[Port] | None = Field(default=None, min_length=1, max_length=1024, description="1 to 1024 ports")
    flows: int | None = Field(default=None, ge=1, le=1024, description="1 to 1024 flows")
    first_port: Port | None = Field(default=None, description="UDP ports 1 to 65535")
    ssid: int = Field(default=0, ge=0, le=65535, description="STAMP session id 0 to 65535")
    stamps: Literal["kernel", "nic"] = Field(default="kernel", description="who stamps at the near end")
    key_file: Text | None = None
    oxcs: list[Text] = Field(default=[], description="names of the cross-connects on the path")
    route: RouteSection | None = None
    far_clock_trusted: bool = Field(default=False, description="true or false")
    far_turnaround_qualified: Text = ""
    turnaround_cap_us: int = Field(default=0, ge=0, le=10**6, description="0 to 1000000 us")
    sync_over_link: bool | None = Field(default=None, description="true or false; left out is not declared")
    calibration: Text | None = None


class StreamSection(Section):
    """[streams.optical] or [streams.service]: what this bench does otherwise than the plan."""

    rate_pps: int | None = Field(default=None, ge=1, le=10_000_000, description="1 to 10000000 packets a second")
    duration_s: Number | None = Field(default=None, gt=0, le=31 * 86_400, description="above 0 to 2678400 seconds")
    size: int | None = Field(default=None, ge=64, le=9018, description="Ethernet frame octets with FCS, 64 to 9018")
    dscp: int | None = Field(default=None, ge=0, le=63, description="DSCP 0 to 63")
    schedule: Literal["periodic", "exponential"] | None = Field(default=None, description="a schedule")
    flows: int | None = Field(default=None, ge=1, le=1024, description="1 to 1024 flows")
    t_max_ms: Number | None = Field(default=None, gt=0, le=255_000, description="above 0 to 255000 ms")


class StreamsSection(Section):
    """[streams]."""

    optical: StreamSection = StreamSection()
    service: StreamSection = StreamSection()


class JitterSection(Section):
    """jitter = {…}."""

    law: Law = Field(description="a law of jitter")
    ns: int = Field(ge=0, le=10**9, description="width (uniform) or mean (exponential) in ns, 0 to 1000000000")
    keep_order: bool = Field(default=True, description="true or false")


class ChanceSection(Section):
    """duplicate = {…}: a share of packets."""

    p: Number = Field(ge=0, le=1, decimal_places=6, description="a probability 0 to 1 with at most 6 decimals")


class LossSection(ChanceSection):
    """loss = {…}."""

    burst: int = Field(default=1, ge=1, le=10_000, description="mean packets lost in a row, 1 to 10000")


class ReorderSection(ChanceSection):
    """reorder = {…}."""

    ns: int = Field(ge=1, le=10**9, description="how much later in ns, 1 to 1000000000")


class ChangeSection(Section):
    """One entry of changes."""

    at_s: Number = Field(ge=0, le=31 * 86_400, description="seconds from the plant's start")
    ns: int | None = Field(default=None, ge=0, le=4 * 10**9, description="new delay in ns")
    km: Number | None = Field(default=None, ge=0, le=20_000, description="new length in km")
    cut: bool = Field(default=False, description="true or false")


class Impairments(Section):
    """What happens to packets beside the delay; a fibre's own keys come before the link's."""

    jitter: JitterSection | None = None
    loss: LossSection | None = None
    duplicate: ChanceSection | None = None
    reorder: ReorderSection | None = None
    changes: list[ChangeSection] | None = Field(
        default=None, max_length=16, description="up to 16 of {at_s, ns | km | cut}"
    )


class FibreSection(Impairments):
    """forward = {…}, backward = {…}: one way through the plant."""

    km: Number | None = Field(default=None, ge=0, le=20_000, description="fibre length in km, 0 to 20000")
    ns: int | None = Field(default=None, ge=0, le=4 * 10**9, description="delay in ns, 0 to 4000000000")
    group_index: Number = Field(
        default=Decimal("1.4682"), ge=1, le=2, decimal_places=6, description='group index 1 to 2: "1.4682"'
    )


class PlantRouteSection(Section):
    """One entry of routes."""

    ports: list[Port] = Field(min_length=1, description="flow ports of the link")
    forward: FibreSection
    backward: FibreSection | None = None


class PlantSection(Impairments):
    """[simulation.links.NAME]."""

    forward: FibreSection
    backward: FibreSection | None = None
    routes: list[PlantRouteSection] = Field(
        default=[], max_length=15, description="up to 15 of {ports, forward, backward}"
    )
    ipv6: bool = Field(default=False, description="true or false")


class SimulatedClockSection(Section):
    """[simulation.clocks.SITE]: the true error, then the claims."""

    offset_ns: int = Field(default=0, ge=-(10**18), le=10**18, description="whole ns")
    skew_ppb: int = Field(default=0, ge=-(10**8), le=10**8, description="whole ppb")
    step_ns: int = Field(default=0, ge=-(10**18), le=10**18, description="whole ns")
    step_at_s: Number = Field(default=Decimal(0), ge=0, le=31 * 86_400, description="seconds from the plant's start")
    claimed_bound_ns: int | None = Field(default=None, ge=0, le=10**18, description="whole ns")
    claimed_synchronised: bool | None = Field(default=None, description="true, false, or leave out for unknown")
    claimed_skew_ppb: int | None = Field(default=None, ge=0, le=10**8, description="whole ppb")


class SimulationSection(Section):
    """[simulation]."""

    carrier: Carrier = Field(default="auto", description="a carrier")
    seed: int = Field(default=1, ge=0, le=2**63 - 1, description="a whole number from 0")
    links: dict[str, Any] = Field(default={}, description="tables [simulation.links.NAME]")
    clocks: dict[str, Any] = Field(default={}, description="tables [simulation.clocks.NAME]")
    lab: dict[str, Any] = Field(default={}, description="the table of a simulated optical lab")


class QualifySection(Section):
    """[qualify]: what a pair of this bench is qualified with, see testplans/test_05_qualify.py."""

    reel_m: int = Field(ge=1, le=1_000_000, description="length of the reel in whole metres")
    group_index: Number = Field(default=Decimal("1.4682"), ge=1, le=2, decimal_places=6, description="1 to 2")
    u_ns: Number = Field(ge=0, le=10**6, description="standard uncertainty of the reel's time of flight, ns")
    origin: Text = Field(min_length=1, description="who measured the reel, how, when")
    patch_mm: int = Field(default=0, ge=0, le=10**8, description="length of the patch, mm")
    patch_u_ps: int = Field(default=0, ge=0, le=10**9, description="standard uncertainty of its time of flight, ps")
    patch_origin: Text = ""
    rates: list[Annotated[int, Field(ge=1, le=10_000_000)]] = Field(
        default=[1_000, 10_000], min_length=1, max_length=16, description="1 to 16 rates, packets a second"
    )
    size: int = Field(default=512, ge=64, le=9018, description="Ethernet frame octets with FCS, 64 to 9018")
    plugs: int = Field(default=10, ge=5, le=1000, description="5 to 1000 plugs")
    seconds: int = Field(default=10, ge=1, le=86_400, description="whole seconds of each rate")


SECTIONS: Final[dict[str, type[Section]]] = {
    "bench": BenchSection,
    "lab": LabSection,
    "customer": CustomerSection,
    "item": ItemSection,
    "authoriser": AuthoriserSection,
    "streams": StreamsSection,
    "simulation": SimulationSection,
}
TABLES: Final = (*SECTIONS, "sites", "links", "qualify", "instruments", "dut", "fixture")
