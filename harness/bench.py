"""The Bench: which sites, links and clocks stand where, read from a file that is right or told why not."""

from __future__ import annotations

import dataclasses
import ipaddress
import itertools
import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path
from typing import Any, Final, TypeVar, get_type_hints

from geographiclib.geodesic import Geodesic
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from drivers.catalogue import CATALOGUE as DRIVERS
from drivers.errors import InstrumentError
from drivers.simulated.lab import Lab as OpticalLab
from drivers.simulated.virtual import VirtualClock
from harness import tomlfile
from harness.artefact import SIMULATED_BENCH, Artefact, Patch, read_artefact
from harness.benchfile import (
    FIRST_FLOW_PORT,
    FLOWS,
    SECTIONS,
    TABLES,
    Carrier,
    ClockSection,
    FibreSection,
    LinkSection,
    PlantRouteSection,
    PlantSection,
    QualifySection,
    RouteSection,
    SimulatedClockSection,
    SimulationSection,
    SiteSection,
    StreamSection,
    StreamsSection,
)
from harness.clock import Clock
from harness.disk import read_file
from harness.errors import ArchiveError, BenchError
from harness.evidence.catalogue import CATALOGUE
from harness.link import Endpoint, Link, Route, Site
from harness.optics import (
    ROLES,
    Dut,
    DutSection,
    Fixture,
    FixtureSection,
    Instrument,
    InstrumentSection,
    channels,
)
from harness.section import Section, field_at, keys, settings_section
from harness.simulation.clocks import SiteClock
from harness.simulation.plant import Change, FibrePath, Jitter, LinkPlant, Loss
from harness.starter import starter
from harness.stream import ETHERNET_OVERHEAD
from harness.tomlfile import FileError, Problem, TomlFile, nearest, shown
from harness.units import flight_time

__all__ = [
    "Bench",
    "BenchFileError",
    "Lab",
    "SimulatedClock",
    "Simulation",
    "check",
    "find",
    "geodesic_m",
    "known",
    "load",
    "parse",
    "shipped_policies",
    "smallest_frame",
    "starter",
]

# UDP payload octets of our smallest test packet: base (RFC 8762 4.2), then Timestamp Information 4+4, Class of
# Service 4+4, Direct Measurement 4+12, Follow-Up Telemetry 4+16 (RFC 8972 4), Facts 4+12; HMAC TLV 4+16 with a key.
SMALLEST_PAYLOAD: Final = 44 + 8 + 8 + 16 + 20 + 16
SMALLEST_PAYLOAD_WITH_KEY: Final = 112 + 8 + 8 + 16 + 20 + 16 + 20

POLICIES: Final = Path(__file__).resolve().parent / "policies"
PROFILES: Final = Path(__file__).resolve().parent / "profiles"
SHIPPED: Final = Path(__file__).resolve().parent.parent / "testplans" / "benches"

HERE: Final = ("kernel", *(name for name, entry in CATALOGUE.items() if not entry.anywhere))
"""Sources that speak of clocks of this host only."""

METRES_PER_DEGREE: Final = 112_000
"""No degree of latitude or longitude is longer than this on the WGS 84 ellipsoid (111 694 m at most)."""


class BenchFileError(FileError):
    """Everything that is wrong with a bench file, at once."""

    def __init__(self, path: str, problems: Sequence[Problem]) -> None:
        remedy = "correct these lines; `millicert bench check FILE` reads it again"
        super().__init__(f"a usable bench file {path}", problems, remedy)


# -- what a bench is -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lab:
    """Who measures, for whom, what, under whose name (ISO/IEC 17025 7.8.2); empty where the file is silent."""

    name: str = ""
    address: str = ""
    location: str = ""
    customer: str = ""
    customer_address: str = ""
    item: str = ""
    item_id: str = ""
    item_condition: str = ""
    authoriser: str = ""
    authoriser_role: str = ""


@dataclass(frozen=True, slots=True)
class SimulatedClock:
    """A simulated site's clock: its true error, then what it claims of itself."""

    error: SiteClock
    claimed_bound_ns: int | None = None
    claimed_synchronised: bool | None = None
    claimed_skew_ppb: int | None = None


@dataclass(frozen=True, slots=True)
class Qualify:
    """What a pair is qualified with."""

    reel: Patch
    """The fibre of known time of flight."""
    patch: Patch
    rates: tuple[int, ...]
    """The staircase, packets a second."""
    size: int
    plugs: int
    seconds: int
    """Of each rate at each plug."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The truth of a simulated bench; plan and judge never see it, tests compare with it."""

    carrier: Carrier
    links: Mapping[str, LinkPlant]
    clocks: Mapping[str, SimulatedClock]
    """By site; only those whose clock the file alters or lets claim something."""
    lab: Mapping[str, Any] = field(default_factory=dict)
    """Table of the simulated optical lab, see `drivers.simulated.lab`; empty: none."""


@dataclass(frozen=True)
class Bench:
    """What stands where."""

    name: str
    title: str
    policy: str
    """Name of a shipped policy; empty where no link is certified."""
    operator: str
    """Who measures unless the command line says otherwise."""
    lab: Lab
    sites: tuple[Site, ...]
    links: tuple[Link, ...]
    streams: Mapping[str, Mapping[str, Any]]
    """Per stream name the fields of `Stream` that this bench overrides."""
    simulation: Simulation | None = None
    calibrations: Mapping[str, Artefact] = field(default_factory=dict)
    """By link: the zero-length calibration of its endpoint pair that the file names."""
    qualify: Qualify | None = None
    """With what a pair is to be qualified; None: the file does not say."""
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By site, then by source, what the bench declares of a source of clock evidence: its settings."""
    instruments: tuple[Instrument, ...] = ()
    dut: Dut | None = None
    """What is accepted; None: nothing is."""
    fixture: Fixture = field(default_factory=Fixture)
    notes: tuple[str, ...] = ()
    """What is allowed but deserves a look."""
    path: Path | None = None
    text: str = field(default="", repr=False)
    """The file as it was read."""

    @property
    def simulated(self) -> bool:
        """Whether packets go through the simulated metro, or light through the simulated lab."""
        return self.simulation is not None

    def site(self, name: str) -> Site:
        """The site of that name. Raises KeyError."""
        return {each.name: each for each in self.sites}[name]

    def link(self, name: str) -> Link:
        """The link of that name. Raises KeyError."""
        return {each.name: each for each in self.links}[name]

    def resolved(self) -> dict[str, Any]:
        """Everything but the simulation's truth, with all defaults filled in, as JSON-able data for the plan."""
        plain = {
            "name": self.name,
            "title": self.title,
            "policy": self.policy,
            "simulated": self.simulated,
            "operator": self.operator,
            "lab": dataclasses.asdict(self.lab),
            "sites": [dataclasses.asdict(each) for each in self.sites],
            "links": [dataclasses.asdict(each) | {"near": each.near.name, "far": each.far.name} for each in self.links],
            "streams": {name: dict(fields) for name, fields in self.streams.items()},
            "calibrations": {name: each.id for name, each in self.calibrations.items()},
            "evidence": {
                site: {source: dataclasses.asdict(settings) for source, settings in declared.items()}
                for site, declared in self.evidence.items()
            },
        }
        if self.instruments:
            plain |= {
                "instruments": [dataclasses.asdict(each) for each in self.instruments],
                "dut": None if self.dut is None else dataclasses.asdict(self.dut),
                "fixture": dataclasses.asdict(self.fixture),
            }
        return dict(json.loads(json.dumps(plain, default=str)))  # tuples become lists, as an archive gives them back


# -- reading ---------------------------------------------------------------------------------------------------

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")

Model = TypeVar("Model", bound=Section)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "none exist"


class _Reader:
    """Collects every problem of one file while turning it into nouns."""

    def __init__(self, file: TomlFile, folder: Path) -> None:
        self.file = file
        self.folder = folder
        self.problems: list[Problem] = list(file.problems)
        self.notes: list[str] = []
        self.evidence: dict[str, dict[str, Any]] = {}
        self.calibrations: dict[str, Artefact] = {}

    def add(self, path: tomlfile.Path, found: str, allowed: str, hint: str = "") -> None:
        key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        self.problems.append(Problem(self.file.line(path), key, found, allowed, hint))

    def missing(self, path: tomlfile.Path, allowed: str) -> None:
        """Note a key that is not there, unless it is and something was said of it already."""
        key = ".".join(str(part) for part in path)
        if not any(problem.key == key or problem.key.startswith(f"{key}[") for problem in self.problems):
            self.add(path, "nothing", allowed)

    def table(self, data: Mapping[str, Any], path: tomlfile.Path) -> Mapping[str, Any]:
        """The table at ``path``, empty when missing; anything else there is a problem."""
        value = data.get(str(path[-1]), {})
        if isinstance(value, dict):
            return value
        self.add(path, shown(value), "a table")
        return {}

    def names(self, table: Mapping[str, Any], path: tomlfile.Path) -> Mapping[str, Any]:
        """The entries of a table of named things; a bad name is a problem."""
        for name in table:
            if not NAME.fullmatch(name):
                self.add((*path, name), shown(name), "a name of up to 40 of A-Z a-z 0-9 . _ -")
        return {name: value for name, value in table.items() if NAME.fullmatch(name)}

    def section(self, model: type[Model], data: object, path: tomlfile.Path) -> Model | None:
        """One table as its model after noting all that is wrong in it.

        Keys that are wrong count as left out, so that the rest is looked at too; None when it cannot do without them.
        """
        if not isinstance(data, dict):
            self.add(path, shown(data), "a table")
            return None
        try:
            return model.model_validate(data)
        except ValidationError as error:
            faults = error.errors(include_url=False)
        for each in faults:
            self._explain(model, each, path)
        wrong = {each["loc"][0] for each in faults}
        try:
            return model.model_validate({key: value for key, value in data.items() if key not in wrong})
        except ValidationError:
            return None

    def _explain(self, model: type[Section], error: ErrorDetails, path: tomlfile.Path) -> None:
        """Note one of pydantic's errors in our words."""
        kind, loc, value = error["type"], error["loc"], error["input"]
        holder, info = field_at(model, loc)
        at = (*path, *loc)
        if kind == "extra_forbidden":
            names = keys(holder)
            self.add(at, "a key that does not exist", _listed(names), nearest(str(loc[-1]), names))
            return
        allowed = (info.description if info is not None else None) or ""
        expected = str(error.get("ctx", {}).get("expected", "")) if kind == "literal_error" else ""
        choices = re.findall(r"'([^']*)'", expected)
        if choices:
            allowed = _listed(choices)
        elif not allowed:
            allowed = {"model_type": "a table", "string_type": "text in quotes", "bool_type": "true or false"}.get(
                kind, "text on one line, up to 200 characters"
            )
        hint = nearest(value, choices) if isinstance(value, str) else ""
        self.add(at, "nothing" if kind == "missing" else shown(value), allowed, hint)

    # -- parts ---------------------------------------------------------------------------------------------

    def known(self, name: str, names: Sequence[str], path: tomlfile.Path) -> bool:
        """Whether ``name`` is one of ``names``; if not, that is a problem."""
        if name in names:
            return True
        self.add(path, shown(name), _listed(names), nearest(name, names))
        return False

    def address(self, value: str | None, path: tomlfile.Path) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        if value is None:
            return None
        try:
            found = ipaddress.ip_address(value)
        except ValueError:
            self.add(path, shown(value), "an IP address (a name could move between two runs)")
            return None
        if found.is_multicast or (found.is_unspecified and path[-1] == "far_address"):
            self.add(path, shown(value), "the address of one host")
            return None
        return found

    def ports(self, link: LinkSection, path: tomlfile.Path) -> tuple[int, ...]:
        if link.flow_ports is not None:
            for key in ("flows", "first_port"):
                if getattr(link, key) is not None:
                    self.add((*path, key), "flow_ports too", "either flow_ports or flows with first_port")
            seen: set[int] = set()
            for index, port in enumerate(link.flow_ports):
                if port in seen:
                    self.add((*path, "flow_ports", index), f"port {port} twice", "each source port once")
                seen.add(port)
            return tuple(link.flow_ports)
        flows = FLOWS if link.flows is None else link.flows
        first = FIRST_FLOW_PORT if link.first_port is None else link.first_port
        if first + flows - 1 > 65535:
            self.add(
                (*path, "first_port" if link.first_port is not None else "flows"),
                f"ports {first} to {first + flows - 1}",
                f"a first_port of at most {65536 - flows} for {flows} flows",
            )
            return ()
        return tuple(range(first, first + flows))

    def key_file(self, name: str | None, path: tomlfile.Path) -> str | None:
        if name is None:
            return None
        full = (self.folder / name).resolve()
        try:
            mode = full.stat().st_mode
        except OSError as why:
            self.add(path, f"{full}: {why.strerror}", "a readable key file; its path is relative to the bench file")
            return None
        if not full.is_file():
            self.add(path, f"{full}: not a file", "a key file")
        elif mode & 0o077:
            self.add(path, f"{full} with mode {mode & 0o777:04o}", f"a key no one else can read: chmod 600 {full}")
        return str(full)

    def calibration(self, link: str, name: str | None, path: tomlfile.Path, simulated: bool) -> None:
        """Read a link's calibration artefact; an altered one, or a simulated one on a real bench, is a problem."""
        if name is None:
            return
        full = (self.folder / name).resolve()
        try:
            artefact = read_artefact(read_file(full), str(full))
        except ArchiveError as why:
            self.add(path, f"{full}: wanted {why.wanted}, found {why.found}", "an artefact of `millicert calibrate`")
            return
        if SIMULATED_BENCH in artefact.simulated and not simulated:
            self.add(path, f"{full}: made on a simulated bench", "a calibration of real ports: it can never serve here")
        self.calibrations[link] = artefact

    def route(self, route: RouteSection | None, path: tomlfile.Path) -> Route | None:
        if route is None:
            return None
        if (route.u_ns is None) == (route.u_percent is None):
            found = "neither u_ns nor u_percent" if route.u_ns is None else "u_ns and u_percent"
            self.add(path, found, "one of u_ns and u_percent: a length without uncertainty is no evidence")
            return None
        index = int(route.group_index * 1_000_000)
        if route.u_ns is not None:
            u_ps = _ceil(route.u_ns * 1000)
        else:
            u_ps = _ceil((route.u_percent or Decimal(0)) * flight_time(route.length_m, index) / 100)
        return Route(route.length_m, index, u_ps, route.origin)

    def fibre(
        self, fibre: FibreSection, plant: PlantSection, path: tomlfile.Path, plant_path: tomlfile.Path
    ) -> FibrePath:
        """One direction of the plant; what it leaves out, the link's own keys state for both."""
        jitter, loss = fibre.jitter or plant.jitter, fibre.loss or plant.loss
        duplicate, reorder = fibre.duplicate or plant.duplicate, fibre.reorder or plant.reorder
        own = fibre.changes is not None
        where = (*(path if own else plant_path), "changes")
        changes = []
        for row, each in enumerate((fibre.changes if own else plant.changes) or []):
            delay: int | None = None
            if not each.cut:
                delay = self.delay(each.km, each.ns, fibre.group_index, (*where, row))
            elif each.ns is not None or each.km is not None:
                self.add((*where, row), "a cut with a delay", "one of ns, km and cut = true")
            changes.append(Change(_floor(each.at_s * 10**9), delay))
        if any(later.at_ns <= earlier.at_ns for earlier, later in itertools.pairwise(changes)):
            self.add(where, "changes out of order", "each later than the one before")
        return FibrePath(
            delay_ns=self.delay(fibre.km, fibre.ns, fibre.group_index, path),
            jitter=Jitter(jitter.law, jitter.ns, jitter.keep_order) if jitter else None,
            loss=Loss(int(loss.p * 10**6), loss.burst) if loss else Loss(0),
            duplicate_ppm=int(duplicate.p * 10**6) if duplicate else 0,
            reorder_ppm=int(reorder.p * 10**6) if reorder else 0,
            reorder_ns=reorder.ns if reorder else 0,
            changes=tuple(changes),
        )

    def delay(self, km: Decimal | None, ns: int | None, group_index: Decimal, path: tomlfile.Path) -> int:
        """Ns of the one of ``km`` and ``ns`` that is given."""
        if ns is not None and km is None:
            return ns
        if km is not None and ns is None:
            return -(-flight_time(_floor(km * 1000), int(group_index * 1_000_000)) // 1000)  # light is never early
        self.add(path, "neither km nor ns" if km is None else "km and ns", "one of km and ns")
        return 0

    def plant(
        self, plant: PlantSection, link: Link, clocks: Mapping[str, SimulatedClock], seed: int, path: tomlfile.Path
    ) -> LinkPlant | None:
        """The plant of one link, or None after noting why there is none."""
        before = len(self.problems)
        forward, backward, route_of = [], [], {}
        places: list[tuple[PlantSection | PlantRouteSection, tomlfile.Path]] = [(plant, path)]
        places += [(each, (*path, "routes", row)) for row, each in enumerate(plant.routes)]
        for number, (section, at) in enumerate(places):
            forward.append(self.fibre(section.forward, plant, (*at, "forward"), path))
            way = "forward" if section.backward is None else "backward"
            backward.append(self.fibre(section.backward or section.forward, plant, (*at, way), path))
            for index, port in enumerate(section.ports if isinstance(section, PlantRouteSection) else ()):
                entry = (*at, "ports", index)
                if port not in link.flow_ports:
                    self.add(entry, f"port {port}", f"flow ports of the link: {_spans(link.flow_ports)}")
                elif port in route_of:
                    self.add(entry, f"port {port} twice", "each port in one route")
                route_of[port] = number
        if len(self.problems) > before:
            return None
        near, far = (clocks[site.name].error if site.name in clocks else SiteClock() for site in (link.near, link.far))
        try:
            return LinkPlant(
                tuple(forward),
                tuple(backward),
                route_of,
                seed=seed,
                near_clock=near,
                far_clock=far,
                ipv6=plant.ipv6,
                far_port=link.endpoint.far_port,
            )
        except ValueError as why:
            self.add(path, str(why), "a plant that the simulated metro can build")
            return None

    # -- whole ---------------------------------------------------------------------------------------------

    def bench(self, path: Path | None) -> Bench | None:
        """The bench, or None when there is any problem."""
        data = self.file.data
        if self.problems:
            return None
        for key in data:
            self.known(key, TABLES, (key,))
        parts: dict[str, Any] = {}
        for key, model in SECTIONS.items():
            if key == "bench" and key not in data:
                self.add((), "no [bench] table", "[bench] with a name")
            else:
                parts[key] = self.section(model, data.get(key, {}), (key,))
        simulated = "simulation" in data
        sites_data, links_data = self.table(data, ("sites",)), self.table(data, ("links",))
        for kind, wanted in (
            ("sites", "[sites.NAME] for each end of a link"),
            ("links", "[links.NAME] with near and far"),
        ):
            if data.get(kind, {}) == {} and "dut" not in data:
                self.add((kind,), f"no {kind}", f"{wanted}, or a [dut] to accept")
        clocks = self._clocks(parts["simulation"], list(sites_data)) if parts["simulation"] else {}
        bench_data = data.get("bench")
        if isinstance(bench_data, dict) and isinstance(bench_data.get("policy"), str):
            self._policy(bench_data["policy"], simulated)
            if bench_data["policy"] and not links_data:
                self.add(("bench", "policy"), shown(bench_data["policy"]), "none: there is no link to certify by it")
        elif links_data:
            self.missing(("bench", "policy"), _listed(list(shipped_policies())))

        sites = self._sites(sites_data, clocks)
        links = self._links(links_data, sites, list(sites_data), simulated)
        self._time_from(sites, links)
        if not simulated or parts["simulation"]:
            self._clock_sources(sites, links, clocks, simulated)
        simulation = None
        if simulated and parts["simulation"]:
            plants = self._plants(parts["simulation"], clocks, links, list(links_data))
            simulation = Simulation(
                parts["simulation"].carrier, plants, clocks, self._lab(parts["simulation"].lab, data)
            )
        instruments = self._instruments(data, simulated)
        dut = self._dut(data["dut"], instruments, list(links)) if "dut" in data else None
        fixture = self._fixture(data.get("fixture", {}), instruments)
        qualify = self._qualify(data["qualify"], simulated) if "qualify" in data else None
        streams = self._streams(parts["streams"], links, simulation)
        if self.problems:
            return None
        for site in sites.values():
            if not any(site.name in (link.near.name, link.far.name) for link in links.values()):
                self.notes.append(f"site {site.name} is on no link")
        return Bench(
            name=parts["bench"].name,
            title=parts["bench"].title or parts["bench"].name,
            policy=parts["bench"].policy,
            operator=parts["bench"].operator,
            lab=Lab(
                parts["lab"].name,
                parts["lab"].address,
                parts["lab"].location,
                parts["customer"].name,
                parts["customer"].address,
                parts["item"].description,
                parts["item"].id,
                parts["item"].condition,
                parts["authoriser"].name,
                parts["authoriser"].role,
            ),
            sites=tuple(sites.values()),
            links=tuple(links.values()),
            streams=streams,
            evidence=self.evidence,
            simulation=simulation,
            calibrations=self.calibrations,
            qualify=qualify,
            instruments=tuple(instruments.values()),
            dut=dut,
            fixture=fixture,
            notes=tuple(self.notes),
            path=path,
            text=self.file.text,
        )

    def _qualify(self, data: object, simulated: bool) -> Qualify | None:
        section = self.section(QualifySection, data, ("qualify",))
        if section is None:
            return None
        if not simulated:
            for key in ("patch_mm", "patch_u_ps", "patch_origin"):
                if not getattr(section, key):
                    self.missing(("qualify", key), "the patch's length, its uncertainty and who measured it")
        index = int(section.group_index * 1_000_000)
        return Qualify(
            Patch(section.reel_m * 1000, index, _ceil(section.u_ns * 1000), section.origin),
            Patch(section.patch_mm, index, section.patch_u_ps, section.patch_origin),
            tuple(section.rates),
            section.size,
            section.plugs,
            section.seconds,
        )

    def _instruments(self, data: Mapping[str, Any], simulated: bool) -> dict[str, Instrument]:
        made = {}
        for name, value in self.names(self.table(data, ("instruments",)), ("instruments",)).items():
            at = ("instruments", name)
            section = self.section(InstrumentSection, value, at)
            if section is None:
                continue
            self.known(section.driver, list(DRIVERS), (*at, "driver"))
            if simulated and section.resource:
                self.add((*at, "resource"), "a resource on a simulated bench", "none: the simulated lab gives it")
            elif not simulated and not section.resource and not section.driver.startswith("prompted-"):
                self.missing((*at, "resource"), "a VISA resource name, as TCPIP0::192.0.2.7::5025::SOCKET")
            if section.calibrated_until:
                try:
                    date.fromisoformat(section.calibrated_until)
                except ValueError:
                    found = shown(section.calibrated_until)
                    self.add((*at, "calibrated_until"), found, 'the last day of its calibration, "2027-03-31"')
            made[name] = Instrument(
                name,
                section.driver,
                section.resource,
                section.serial,
                section.calibrated_until,
                section.timeout_s,
                section.options,
            )
        return made

    def _lab(self, table: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
        """The lab's table as plain numbers, once a lab could be made of it that has the bench's instruments."""
        at = ("simulation", "lab")
        if not table:
            if data.get("instruments"):
                self.missing(at, "the table of the lab whose instruments the bench names")
            return {}
        if odd := list(_not_numbers(table, at)):
            for where, value in odd:
                self.add(where, shown(value), "a number, text, true or false")
            return {}
        plain: dict[str, Any] = json.loads(json.dumps(dict(table), default=float))
        try:
            made = OpticalLab.of(plain, VirtualClock())
        except InstrumentError as why:
            self.add(at, why.found, why.wanted)
            return plain
        for name in self.table(data, ("instruments",)):
            self.known(name, list(made.devices), ("instruments", name))
        return plain

    def _dut(self, data: object, instruments: Mapping[str, Instrument], links: Sequence[str]) -> Dut | None:
        section = self.section(DutSection, data, ("dut",))
        if section is None:
            return None
        self.known(section.instrument, list(instruments), ("dut", "instrument"))
        if not section.profile.endswith(".toml"):
            self.known(section.profile, shipped_profiles(), ("dut", "profile"))
        ports = section.ingress or []
        if len(set(ports)) != len(ports) or any(port < 1 for port in ports):
            self.add(("dut", "ingress"), shown(ports), "ports from 1, each once")
        if section.kind == "link":
            self.known(section.link, links, ("dut", "link"))
        elif section.link:
            self.add(("dut", "link"), shown(section.link), f'none with kind = "{section.kind}"')
        return Dut(
            section.instrument, section.kind, section.profile, section.link, tuple(section.without), tuple(ports)
        )

    def _fixture(self, data: object, instruments: Mapping[str, Instrument]) -> Fixture:
        section = self.section(FixtureSection, data, ("fixture",))
        if section is None:
            return Fixture()
        roles = {role: found for role in ROLES if (found := getattr(section, role))}
        for role, name in roles.items():
            self.known(name, list(instruments), ("fixture", role))
        places: dict[str, list[tuple[str, int]]] = {}
        for key, texts in (
            ("receive", section.receive),
            ("reference", [section.reference] if section.reference else []),
            ("monitor", [section.monitor] if section.monitor else []),
            ("source_monitor", [section.source_monitor] if section.source_monitor else []),
        ):
            places[key] = []
            for row, text in enumerate(texts):
                at = ("fixture", key, row) if key == "receive" else ("fixture", key)
                try:
                    found = channels(text)
                except ValueError:
                    self.add(at, shown(text), 'channels of a meter: "meter-1:3" or "meter-1:1-8"')
                    continue
                if self.known(found[0][0], list(instruments), at):
                    places[key] += found
        twice = [at for at, count in Counter(places["receive"]).items() if count > 1]
        if twice:
            self.add(("fixture", "receive"), f"{twice[0][0]}:{twice[0][1]} twice", "each channel behind one egress")
        single = {key: (found[0] if len(found) == 1 else None) for key, found in places.items() if key != "receive"}
        for key, found in places.items():
            if key != "receive" and len(found) > 1:
                self.add(("fixture", key), f"{len(found)} channels", "one channel")
        return Fixture(
            roles,
            section.launch,
            tuple(places["receive"]),
            single["reference"],
            single["monitor"],
            single["source_monitor"],
            str((self.folder / section.odu_delays).resolve()) if section.odu_delays else "",
        )

    def _policy(self, name: str, simulated: bool) -> None:
        at = ("bench", "policy")
        policies = shipped_policies()
        if self.known(name, list(policies), at) and not simulated and policies[name]:
            real = [each for each, rehearsal in policies.items() if not rehearsal]
            self.add(at, f"{shown(name)} on a real bench", f"a rehearsal certifies nothing; {_listed(real)}")

    def _sites(self, table: Mapping[str, Any], clocks: Mapping[str, SimulatedClock]) -> dict[str, Site]:
        made = {}
        for name, value in self.names(table, ("sites",)).items():
            section = self.section(SiteSection, value, ("sites", name))
            if section is None:
                continue
            if section.position_origin and section.position is None:
                self.missing(("sites", name, "position"), "the position that position_origin speaks of")
            self.evidence[name] = self._settings(section.clock, ("sites", name, "clock"))
            made[name] = Site(
                name=name,
                title=section.title or name,
                kind=section.kind,
                size_class=section.size_class,
                clock=Clock(
                    tuple(dict.fromkeys(section.clock.sources)),
                    section.clock.shared,
                    injected=name in clocks and clocks[name].error.injected,
                    time_from=section.clock.time_from,
                ),
                position=(section.position[0], section.position[1]) if section.position else None,
                position_origin=section.position_origin,
            )
        return made

    def _settings(self, clock: ClockSection, path: tomlfile.Path) -> dict[str, Any]:
        """Settings of a site's clock sources by name; a source without a table has its defaults."""
        made: dict[str, Any] = {}
        for name, entry in CATALOGUE.items():
            table, at = getattr(clock, name), (*path, name)
            if name not in clock.sources:
                if table is not None:
                    self.add(at, f"settings of {name}", f'"{name}" among the sources too, or no such table')
                continue
            section = self.section(settings_section(entry.settings), {} if table is None else table, at)
            if section is None:
                continue
            given = section.model_dump()
            for key, value in given.items():
                if isinstance(value, list):
                    given[key] = tuple(value)
                elif get_type_hints(entry.settings)[key] is Path:
                    given[key] = (self.folder / value).resolve()
            try:
                made[name] = entry.settings(**given)
            except BenchError as why:
                self.add(at, why.found, f"{why.wanted}: {why.remedy}")
        return made

    def _time_from(self, sites: Mapping[str, Site], links: Mapping[str, Link]) -> None:
        """Where time comes from, where that is a link: one of the bench."""
        for site in sites.values():
            kind, _, name = site.clock.time_from.partition(":")
            if kind == "link":
                self.known(name, list(links), ("sites", site.name, "clock", "time_from"))

    def _links(
        self, table: Mapping[str, Any], sites: Mapping[str, Site], declared: Sequence[str], simulated: bool
    ) -> dict[str, Link]:
        made = {}
        for name, value in self.names(table, ("links",)).items():
            at = ("links", name)
            section = self.section(LinkSection, value, at)
            if section is None:
                continue
            ends_known = [self.known(getattr(section, end), declared, (*at, end)) for end in ("near", "far")]
            if section.near == section.far:
                self.add((*at, "far"), f"{shown(section.far)} at both ends", "two different sites")
            far = self.address(section.far_address, (*at, "far_address"))
            near = self.address(section.near_address, (*at, "near_address"))
            if simulated:
                for key in ("far_address", "near_address", "interface"):
                    if getattr(section, key) is not None:
                        self.add((*at, key), "an address on a simulated bench", "none: the simulated metro gives it")
            elif section.far_address is None:
                self.missing((*at, "far_address"), "the far end's IP address, or a [simulation] table")
            if far is not None and near is not None and far.version != near.version:
                self.add((*at, "near_address"), f"IPv{near.version} to IPv{far.version}", "both IPv4 or both IPv6")
            if far is not None and not simulated and _documentation(far):
                self.notes.append(f"link {name}: {far} is an address for documents; put the far end's")
            if section.far_turnaround_qualified and not section.turnaround_cap_us:
                self.missing((*at, "turnaround_cap_us"), "the largest turnaround that may be subtracted, us above 0")
            ports = self.ports(section, at)
            route = self.route(section.route, (*at, "route"))
            key_file = self.key_file(section.key_file, (*at, "key_file"))
            self.calibration(name, section.calibration, (*at, "calibration"), simulated)
            if not all(ends_known) or section.near not in sites or section.far not in sites:
                continue
            ends = sites[section.near], sites[section.far]
            geodesic = geodesic_m(ends[0].position, ends[1].position)
            if (ends[0].position is None) != (ends[1].position is None):
                silent = ends[0] if ends[0].position is None else ends[1]
                self.notes.append(f"link {name}: site {silent.name} has no position, so there is no geodesic floor")
            for end in ends:
                if geodesic is not None and not end.position_origin:
                    self.notes.append(
                        f"link {name}: site {end.name} has a position without position_origin, "
                        "so no floor is subtracted from the round trip"
                    )
            if route is not None and geodesic is not None and route.length_m < geodesic:
                self.add((*at, "route", "length_m"), f"{route.length_m} m", f"at least the geodesic of {geodesic} m")
            phc_ahead_s = self._nic(section, at, simulated)
            made[name] = Link(
                name=name,
                near=ends[0],
                far=ends[1],
                endpoint=Endpoint(
                    section.near_address or ("::" if far is not None and far.version == 6 else "0.0.0.0"),  # noqa: S104
                    section.far_address or "",
                    section.far_port,
                    section.interface,
                ),
                route=route,
                geodesic_m=geodesic,
                oxcs=tuple(section.oxcs),
                far_clock_trusted=section.far_clock_trusted,
                far_turnaround_qualified=section.far_turnaround_qualified,
                turnaround_cap_ns=section.turnaround_cap_us * 1000,
                sync_over_link=self._over_link(name, ends, section, at),
                key_file=key_file,
                ssid=section.ssid,
                stamps=section.stamps,
                phc_ahead_s=phc_ahead_s,
                flow_ports=ports,
            )
        return made

    def _nic(self, link: LinkSection, path: tomlfile.Path, simulated: bool) -> int:
        """Seconds by which the PHC that stamps is ahead of UTC; 0 without NIC stamps.

        All evidence of the near clock must then speak of the PHC.
        """
        if link.stamps != "nic":
            return 0
        at = (*path, "stamps")
        if simulated:
            self.add(at, '"nic" on a simulated bench', '"kernel": no simulated interface stamps in hardware')
            return 0
        if link.interface is None:
            self.missing((*path, "interface"), "the interface whose NIC stamps")
        declared = self.evidence.get(link.near, {})
        settings = declared.get("phc")
        if settings is None or settings.clock != "phc":
            self.add(
                at,
                f"NIC stamps without evidence of their clock at site {link.near}",
                f'[sites.{link.near}.clock.phc] with ahead_s and clock = "phc", and "phc" among its sources',
            )
            return 0
        for name, each in declared.items():
            if getattr(each, "clock", "phc") != "phc" or name == "chrony":
                self.add(
                    ("sites", link.near, "clock", name),
                    f"evidence of the system clock, while the NIC of link {path[-1]} stamps",
                    'clock = "phc", or leave that source out',
                )
        return int(settings.ahead_s)

    def _over_link(self, name: str, ends: Sequence[Site], section: LinkSection, path: tomlfile.Path) -> bool | None:
        """Whether time crosses the link: by its own key, or because a site says it has its time from there."""
        from_here = [site.name for site in ends if site.clock.time_from == f"link:{name}"]
        if from_here and section.sync_over_link is False:
            self.add((*path, "sync_over_link"), "false", f"true: site {from_here[0]} has its time from this link")
        return True if from_here else section.sync_over_link

    def _clock_sources(
        self,
        sites: Mapping[str, Site],
        links: Mapping[str, Link],
        clocks: Mapping[str, SimulatedClock],
        simulated: bool,
    ) -> None:
        """Evidence must come from the clock it is said to come from."""
        near = {link.near.name for link in links.values()}
        far = {link.far.name for link in links.values()}
        for site in sites.values():
            at = ("sites", site.name, "clock", "sources")
            for source in site.clock.sources:
                if source == "simulated" and site.name not in clocks:
                    self.add(at, shown(source), f"only with [simulation.clocks.{site.name}] that says what it claims")
                elif simulated:
                    continue
                elif source == "in-band" and site.name in near - far:
                    self.add(at, '"in-band"', f"one of this host's: {_listed(HERE)}; only a far end speaks in-band")
                elif source in HERE and site.name in far - near:
                    self.add(at, shown(source), '"in-band": that source is at the far end, not on this host')

    def _plants(
        self,
        section: SimulationSection,
        clocks: Mapping[str, SimulatedClock],
        links: Mapping[str, Link],
        declared: Sequence[str],
    ) -> dict[str, LinkPlant]:
        plants = {}
        for name, value in section.links.items():
            at = ("simulation", "links", name)
            plant = self.section(PlantSection, value, at) if self.known(name, declared, at) else None
            made = self.plant(plant, links[name], clocks, section.seed, at) if plant and name in links else None
            if made is not None:
                plants[name] = made
        for name in declared:
            if name not in section.links:
                self.add(("links", name), "no plant", f"[simulation.links.{name}] with forward on a simulated bench")
        return plants

    def _clocks(self, section: SimulationSection, declared: Sequence[str]) -> dict[str, SimulatedClock]:
        clocks = {}
        for name, value in section.clocks.items():
            at = ("simulation", "clocks", name)
            clock = self.section(SimulatedClockSection, value, at) if self.known(name, declared, at) else None
            if clock is not None:
                clocks[name] = SimulatedClock(
                    SiteClock(clock.offset_ns, clock.skew_ppb, clock.step_ns, _floor(clock.step_at_s * 10**9)),
                    clock.claimed_bound_ns,
                    clock.claimed_synchronised,
                    clock.claimed_skew_ppb,
                )
        return clocks

    def _streams(
        self, section: StreamsSection | None, links: Mapping[str, Link], simulation: Simulation | None
    ) -> dict[str, dict[str, Any]]:
        made: dict[str, dict[str, Any]] = {}
        if section is None:
            return made
        for name in ("optical", "service"):
            stream: StreamSection = getattr(section, name)
            fields: dict[str, Any] = {
                key: getattr(stream, key)
                for key in ("rate_pps", "size", "dscp", "schedule", "flows")
                if getattr(stream, key) is not None
            }
            if stream.duration_s is not None:
                fields["duration_ns"] = _floor(stream.duration_s * 10**9)
            if stream.t_max_ms is not None:
                fields["t_max_ns"] = _floor(stream.t_max_ms * 10**6)
            if fields:
                made[name] = fields
            for link in links.values():
                plant = simulation.links.get(link.name) if simulation is not None else None
                ipv6 = plant.ipv6 if plant is not None else ":" in link.endpoint.far_address
                self._fits(stream, link, ipv6, ("streams", name))
        return made

    def _fits(self, stream: StreamSection, link: Link, ipv6: bool, at: tomlfile.Path) -> None:
        ports = len(link.flow_ports)
        if stream.flows is not None and ports and stream.flows > ports:
            self.add((*at, "flows"), str(stream.flows), f"at most the {ports} flow ports of link {link.name}")
        least = smallest_frame(ipv6=ipv6, key=link.key_file is not None)
        if stream.size is not None and stream.size < least:
            self.add((*at, "size"), str(stream.size), f"at least {least} octets: a STAMP packet of link {link.name}")


def _not_numbers(value: object, at: tomlfile.Path) -> Iterator[tuple[tomlfile.Path, object]]:
    """The dates and times in a table, each with its place: TOML has them, a lab has no use for them."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _not_numbers(each, (*at, key))
    elif isinstance(value, list):
        for row, each in enumerate(value):
            yield from _not_numbers(each, (*at, row))
    elif isinstance(value, date | time):
        yield at, value


def _ceil(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_CEILING))


def _floor(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_FLOOR))


def _spans(ports: Sequence[int]) -> str:
    """Ports as ranges: ``61000-61003, 61010``."""
    spans: list[list[int]] = []
    for port in sorted(ports):
        if spans and port == spans[-1][1] + 1:
            spans[-1][1] = port
        else:
            spans.append([port, port])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _documentation(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address stands for no host at all (RFC 5737, RFC 3849)."""
    nets = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
    return any(address.version == net.version and address in net for net in map(ipaddress.ip_network, nets))


def smallest_frame(*, ipv6: bool, key: bool) -> int:
    """Octets with FCS of the smallest Ethernet frame that holds our test packet."""
    payload = SMALLEST_PAYLOAD_WITH_KEY if key else SMALLEST_PAYLOAD
    return payload + 8 + (40 if ipv6 else 20) + ETHERNET_OVERHEAD


def geodesic_m(here: tuple[str, str] | None, there: tuple[str, str] | None) -> int | None:
    """Shortest distance over the WGS 84 ellipsoid in m that the two positions leave possible, rounded down.

    Each coordinate is known to half a unit of its last written digit; what that leaves open is taken off, because the
    distance serves as a floor. None when either position is None.
    """
    if here is None or there is None:
        return None
    degrees = [float(each) for each in (*here, *there)]
    distance = Decimal(Geodesic.WGS84.Inverse(*degrees)["s12"])  # type: ignore[no-untyped-call]
    for each in (*here, *there):
        distance -= METRES_PER_DEGREE * Decimal(1).scaleb(int(Decimal(each).as_tuple().exponent)) / 2
    return max(0, _floor(distance))


def shipped_policies() -> dict[str, bool]:
    """Names of the shipped policies, each with whether it is a rehearsal."""
    return {
        path.stem: bool(tomllib.loads(path.read_text(encoding="utf-8")).get("rehearsal", False))
        for path in sorted(POLICIES.glob("*.toml"))
    }


def shipped_profiles() -> list[str]:
    """Names of the shipped acceptance profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.toml"))


def parse(text: str, *, path: Path | None = None) -> Bench:
    """The bench a TOML text describes. Raises BenchFileError with everything that is wrong."""
    file = TomlFile(text)
    reader = _Reader(file, path.parent if path is not None else Path())
    bench = reader.bench(path)
    if bench is None:
        raise BenchFileError(str(path or "text"), sorted(set(reader.problems)))
    return bench


def _folders(roots: Sequence[Path]) -> list[Path]:
    folders = [root / part for root in (*roots, Path()) for part in ("testplans/benches", "benches")]
    return list(dict.fromkeys([*(each.resolve() for each in folders), SHIPPED]))


def find(name: str | Path, *roots: Path) -> Path:
    """The file of a bench: a path, or a name in testplans/benches or benches of the roots, then of this folder.

    Raises BenchError with the known names and the nearest one.
    """
    text = str(name)
    if isinstance(name, Path) or text.endswith(".toml") or "/" in text:
        tried = [root / text for root in (*roots, Path())]
        for each in tried:
            if each.is_file():
                return each.resolve()
        raise BenchError("a bench file", f"no file {text}", "give its path, or a name: " + _listed(known(*roots)))
    for folder in _folders(roots):
        if (folder / f"{text}.toml").is_file():
            return folder / f"{text}.toml"
    names = known(*roots)
    hint = nearest(text, names)
    raise BenchError(
        "a known bench",
        f'no bench "{text}"' + (f", did you mean {hint}?" if hint else ""),
        f"known: {_listed(names)}; `millicert bench new FILE` starts one",
    )


def known(*roots: Path) -> list[str]:
    """Names of all benches that `find` would find."""
    return sorted({each.stem for folder in _folders(roots) for each in folder.glob("*.toml")})


def load(name: str | Path, *roots: Path) -> Bench:
    """The bench of a name or path. Raises BenchError, with every error at once."""
    path = find(name, *roots)
    try:
        text = tomlfile.read_text(path)
    except (OSError, UnicodeDecodeError) as why:
        raise BenchError("a readable bench file", f"{path}: {why}", "save it as UTF-8 text") from why
    return parse(text, path=path)


def check(name: str | Path, *roots: Path) -> tuple[list[str], int]:
    """What `millicert bench check` prints, and its exit code: 0, or 4 when the bench cannot be used."""
    try:
        bench = load(name, *roots)
    except BenchError as why:
        return str(why).split("\n"), 4
    mode = "SIMULATED, certifies nothing" if bench.simulated else "real"
    policy = f", policy {bench.policy}" if bench.policy else ""
    lines = [f"bench {bench.name}: {bench.title} ({mode}){policy}", f"  {bench.path}"]
    for site in bench.sites:
        evidence = ", ".join(site.clock.sources) or "no clock evidence: only clock-free verdicts"
        lines.append(f"  site {site.name}: {site.title}, {site.kind}, class {site.size_class}; {evidence}")
    for link in bench.links:
        far = f" to {link.endpoint.far_address} port {link.endpoint.far_port}" if link.endpoint.far_address else ""
        line = f"  link {link.name}: {link.near.name} → {link.far.name}{far}, ports {_spans(link.flow_ports)}"
        if link.geodesic_floor is not None:
            line += f"; geodesic {link.geodesic_m} m, floor {link.geodesic_floor // 1000} ns"
            line += f", positions: {link.positions_origin}" * bool(link.positions_origin)
        if link.route is not None:
            line += f"; route {link.route.length_m} m, floor {link.route.flight // 1000} ns"
        if link.name in bench.calibrations:
            artefact = bench.calibrations[link.name]
            line += f"; calibration {artefact.id[:16]} until {artefact.until}"
        lines.append(line)
    nowhere = "(simulated lab)" if bench.simulated else "no address"
    for each in bench.instruments:
        until = f", calibrated until {each.calibrated_until}" if each.calibrated_until else ""
        lines.append(f"  instrument {each.name}: {each.driver} {each.resource or nowhere}{until}")
    if bench.dut is not None:
        lines.append(f"  under test {bench.dut.instrument}: {bench.dut.kind}, profile {bench.dut.profile}")
    return [*lines, *(f"  note: {note}" for note in bench.notes)], 0
