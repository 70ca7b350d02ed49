"""The calibration artefact: what a zero-length calibration found, of which ports, until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from fractions import Fraction
from math import isqrt
from typing import Final, Literal

from harness.canonical import JSON, canonical, noun, parse_object, plain, sha256
from harness.errors import ArchiveError
from harness.link import Direction

SCHEMA: Final = "millicert-calibration/1"
UNKNOWN: Final = "unknown"
SIMULATED_BENCH: Final = "simulated bench"
"""Fact in `Artefact.simulated` of one that was made on a simulated bench."""

LEAST_PLUGS: Final = 5
"""Fewest plugs of an artefact: below, s of so few says too little (coverage 94 % needs four degrees of freedom)."""
LEAST_A_SIDE: Final = 2
"""Fewest plugs in each orientation: one has no spread."""

Orientation = Literal["straight", "swapped"]

_ROUNDING_PS2: Final = 500 * 500 // 3 + 1
"""Variance of whole ns, ps²: a rectangle of half a ns."""


@dataclass(frozen=True, slots=True)
class Port:
    """A network port as the kernel of its host describes it; "unknown" where it does not."""

    interface: str = UNKNOWN
    driver: str = UNKNOWN
    mac: str = UNKNOWN
    transceiver: str = UNKNOWN
    """Vendor, part and serial number."""
    speed: str = UNKNOWN
    """Mb/s."""
    fec: str = UNKNOWN
    firmware: str = UNKNOWN

    def differences(self, other: Port) -> list[str]:
        """What both know and is not the same: "mac 02:…:01, calibrated 02:…:02" with ``self`` the calibrated one."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        known = [each for each in pairs if UNKNOWN not in each[1:]]
        return [f"{name} {here}, calibrated {was}" for name, was, here in known if was != here]

    @property
    def known(self) -> bool:
        """Whether anything that tells one port from another was learnt: MAC or transceiver."""
        return (self.mac, self.transceiver) != (UNKNOWN, UNKNOWN)


@dataclass(frozen=True, slots=True)
class Patch:
    """The fibre that joins the two ends while they are calibrated."""

    length_mm: int
    group_index_ppm: int
    """n_g in millionths."""
    u_ps: int
    """Standard uncertainty of the time of flight, ps."""
    origin: str
    """Who measured the length, how."""

    @property
    def flight_ps(self) -> int:
        """One-way time of flight L n_g / c, ps, to the nearest."""
        return (2 * self.length_mm * self.group_index_ppm * 1000 + _C) // (2 * _C)


_C: Final = 299_792_458
"""Speed of light in vacuum, m/s."""


@dataclass(frozen=True, slots=True)
class Plug:
    """One plugging of the patch: medians of the raw delays, ns, and their spread after RFC 7679 3.7.3."""

    orientation: Orientation
    utc_ns: int
    median_ns: dict[Direction, int]
    spread_ns: dict[Direction, int]
    """Larger absolute value of the 2.5 % and 97.5 % deviations from the median."""
    samples: int
    sha256: str
    """Of the raw samples' file beside the artefact."""


@dataclass(frozen=True, slots=True)
class Found:
    """What the plugs of one load say together; ns and ps as named."""

    bias_ns: dict[Direction, int]
    """To be subtracted: mean of the plugs' medians, midway between the orientations, less the patch's flight."""
    spread_ns: dict[Direction, int]
    """Largest spread of all plugs."""
    plug_ps: dict[Direction, int]
    """s: standard deviation of one plugging."""
    residual_ps: dict[Direction, int]
    """s/√m with the rounding of the bias to whole ns."""
    nu: int
    """Degrees of freedom of s: plugs less orientations."""
    swap_ps: dict[Direction, int]
    """Half the difference between the orientations, 0 when nothing was swapped."""


@dataclass(frozen=True, slots=True)
class Load:
    """A stream's rate and frame size, with what was found under it."""

    stream: str
    rate_pps: int
    size: int
    planes: str
    """Stamp sources of T1..T4, most frequent first per stamp."""
    plugs: tuple[Plug, ...]
    found: Found


@dataclass(frozen=True, slots=True)
class ClockThen:
    """What was known of one end's clock while the pair was calibrated."""

    site: str
    sources: str
    half_ns: int
    """Largest bound with its drift between polls, ns."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """A zero-length calibration of an endpoint pair (RFC 7679 3.7.3), valid for what it names and no longer."""

    link: str
    near: Port
    far: Port
    from_ns: int
    """ns since 1970 UTC."""
    until_ns: int
    patch: Patch
    loads: tuple[Load, ...]
    clocks: tuple[ClockThen, ...]
    """Of both ends; empty when ``shared_clock`` names the one clock of both."""
    shared_clock: str
    replugged: bool
    """False: nobody touched the pair, its plugs are repeats."""
    operator: str
    software: dict[str, str]
    simulated: tuple[str, ...] = ()
    """Facts that make it a simulation; empty on real ports."""
    schema: str = field(default=SCHEMA)

    @property
    def id(self) -> str:
        """SHA-256 of its canonical content."""
        return sha256(canonical(plain(self)))

    @property
    def swapped(self) -> bool:
        """Whether both orientations were measured."""
        return len({plug.orientation for load in self.loads for plug in load.plugs}) > 1

    @property
    def until(self) -> str:
        """When it expires: 2027-02-20T15:00:00Z."""
        return utc(self.until_ns)

    def load(self, rate_pps: int, size: int) -> Load:
        """The load nearest to a stream: the same size before another, then the nearest rate."""
        return min(
            self.loads,
            key=lambda each: (each.size != size, abs(each.size - size), abs(each.rate_pps - rate_pps)),
        )

    def expired(self, started_ns: int, ended_ns: int) -> str:
        """Why it does not hold for a run between two instants (ns since 1970 UTC); empty when it does."""
        if started_ns < self.from_ns:
            return f"not valid before {utc(self.from_ns)}"
        return f"expired {self.until}" if ended_ns > self.until_ns else ""

    def foreign(self, near: Port | None, far: Port | None = None) -> list[str]:
        """Why it is not of these ports; an end that nobody can see from here (None at the far end) says nothing."""
        if near is None:
            return ["which near port the run used is not known"]
        said = [f"near port: {each}" for each in self.near.differences(near)]
        if not said and not (self.near.known and near.known):
            said = ["near port: neither MAC nor transceiver is known, it could be any"]
        return said + [f"far port: {each}" for each in self.far.differences(far or Port())]


def utc(ns: int) -> str:
    """An instant, ns since 1970 UTC, as text to the second."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def found(plugs: Sequence[Plug], patch: Patch) -> Found:
    """What plugs say together; rules 2.6. Raises ArchiveError when they are too few.

    The mean of each orientation is taken, the bias is midway between them. s is pooled over the orientations, so its
    degrees of freedom are plugs less orientations. All arithmetic is exact; roots are rounded up.
    """
    sides: dict[str, list[Plug]] = {}
    for plug in plugs:
        sides.setdefault(plug.orientation, []).append(plug)
    fewest = min((len(side) for side in sides.values()), default=0)
    if len(plugs) < LEAST_PLUGS or fewest < LEAST_A_SIDE:
        raise ArchiveError(
            f"{LEAST_PLUGS} plugs or more, {LEAST_A_SIDE} in each orientation",
            f"{len(plugs)}, {fewest} in the orientation that has fewest",
            "calibrate with more plugs: 10 are recommended",
        )
    nu = len(plugs) - len(sides)
    bias: dict[Direction, int] = {}
    plug_ps: dict[Direction, int] = {}
    residual: dict[Direction, int] = {}
    swap: dict[Direction, int] = {}
    for direction in Direction:
        means, squares, weight = [], Fraction(0), Fraction(0)
        for side in sides.values():
            values = [plug.median_ns[direction] for plug in side]
            mean = Fraction(sum(values), len(values))
            means.append(mean)
            squares += sum((value - mean) ** 2 for value in values)
            weight += Fraction(1, len(values) * len(sides) ** 2)
        middle = sum(means, Fraction(0)) / len(means)
        variance = squares / nu * 1_000_000
        bias[direction] = _nearest(middle - Fraction(patch.flight_ps, 1000))
        plug_ps[direction] = _root_up(variance)
        residual[direction] = _root_up(variance * weight + _ROUNDING_PS2)
        swap[direction] = _up((max(means) - min(means)) * 500)
    return Found(
        bias_ns=bias,
        spread_ns={d: max(plug.spread_ns[d] for plug in plugs) for d in Direction},
        plug_ps=plug_ps,
        residual_ps=residual,
        nu=nu,
        swap_ps=swap,
    )


def _up(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


def _nearest(value: Fraction) -> int:
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def _root_up(value: Fraction) -> int:
    whole = _up(value)
    root = isqrt(whole)
    return root + (root * root < whole)


def artefact_file(artefact: Artefact) -> bytes:
    """Octets of the artefact's file: canonical JSON of its content with its ``id``."""
    body = plain(artefact)
    return canonical({**(body if isinstance(body, dict) else {}), "id": artefact.id})


def read_artefact(data: bytes, name: str) -> Artefact:
    """The artefact in ``data``. Raises ArchiveError when one octet is not as it was written; ``name`` is its file's.

    The id must be that of the content, and the numbers must follow from the plugs.
    """
    body = parse_object(data, name)
    stated = body.pop("id", None)
    if body.get("schema") != SCHEMA:
        raise ArchiveError(f"a calibration artefact ({SCHEMA}) in {name}", repr(body.get("schema")), _ANOTHER)
    artefact = noun(Artefact, body, name)
    if stated != artefact.id:
        raise ArchiveError(f"the content of calibration {stated} in {name}", "altered content", _ANOTHER)
    check(artefact, name)
    return artefact


_ANOTHER: Final = "restore that file from a copy, or calibrate anew: `millicert calibrate`"


def check(artefact: Artefact, name: str) -> None:
    """Raise ArchiveError when an artefact contradicts itself."""
    faults = []
    if artefact.until_ns <= artefact.from_ns:
        faults.append("it expires before it begins")
    if not artefact.loads:
        faults.append("no load was calibrated")
    if bool(artefact.shared_clock) == bool(artefact.clocks):
        faults.append("the clocks of both ends, or the one clock they share, are not stated")
    if artefact.patch.length_mm < 0 or artefact.patch.u_ps < 0 or any(c.half_ns < 0 for c in artefact.clocks):
        faults.append("a negative length or uncertainty")
    for load in artefact.loads:
        whole = all(set(part) == set(Direction) for plug in load.plugs for part in (plug.median_ns, plug.spread_ns))
        if not whole or any(plug.samples < 1 or min(plug.spread_ns.values()) < 0 for plug in load.plugs):
            faults.append(f"{load.stream}: a plug without both directions")
        elif found(load.plugs, artefact.patch) != load.found:
            faults.append(f"{load.stream}: its numbers are not what its plugs give")
    if faults:
        raise ArchiveError(f"a calibration in {name} that is in itself consistent", "; ".join(faults), _ANOTHER)


def flat(software: Mapping[str, JSON]) -> dict[str, str]:
    """The identity of the software as texts: nested parts as one hash."""
    return {
        name: value if isinstance(value, str) else sha256(canonical(value)) if isinstance(value, dict) else str(value)
        for name, value in software.items()
    }
