"""A clock left to itself between two comparisons with a reference: what bounds its error in between.

For machine rooms without sky. A clock is compared with a reference, carried to the site or cut off from its
reference, and compared again afterwards. Only both comparisons together bound its error in between, so a run has no
bound from it until the record is closed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError

from harness.canonical import JSON, canonical, sha256
from harness.clock import ClockState, Part
from harness.errors import HarnessError
from harness.section import Number, Section, field_at, keys
from harness.tomlfile import Problem, TomlFile, nearest, shown

MOST_OCTETS: Final = 100_000
SECOND_NS: Final = 10**9
DAY_NS: Final = 86_400 * SECOND_NS
CLASS_DAY_NS: Final = {"tcxo": 10_000_000, "ocxo": 80_000, "rubidium": 5_000}
"""Largest time error within a day of losing its reference, ns, by class of oscillator: makers' typical figures."""
CLASS_ORIGIN: Final = "makers' typical figure for a day, unconfirmed for this clock"
WANDER_K: Final = 4
"""Standard deviations of wander that a bound holds. White frequency noise makes a Brownian bridge: one whose greatest
standard deviation is s leaves ±4 s anywhere with a probability of 2 exp(-8) = 0.07 % (Kolmogorov). Redder noise is
smoother and stays further inside."""

_UP: Final = Context(prec=50, rounding=ROUND_CEILING)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ClosureError(HarnessError):
    """A closure record that cannot be used, or not for this run."""


class RecordError(ClosureError):
    """Everything that is wrong with a closure record, at once."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(problems)} error{'s' if len(problems) > 1 else ''}"
        super().__init__(
            f"a closure record {name}",
            count + "".join(f"\n  {problem}" for problem in problems),
            "correct these lines",
        )


# -- the file --------------------------------------------------------------------------------------------------


def _instant(value: object) -> object:
    if not isinstance(value, datetime) or value.utcoffset() != timedelta(0):
        raise ValueError("not an instant of UTC")
    return value


Instant = Annotated[datetime, BeforeValidator(_instant)]
Words = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$", description="text")
]
_LARGEST_NS: Final = 10**15


class ClockSection(Section):
    """[clock]: which clock it is."""

    id: Words = Field(description="the clock's name or number")
    oscillator: Literal["tcxo", "ocxo", "rubidium", "caesium", "maser"] = Field(description="a class of oscillator")
    moved: bool = Field(description="true when it was carried between the comparisons, else false")


class AllanSection(Section):
    """One entry of allan."""

    tau_s: int = Field(ge=1, le=10**8, description="averaging time in whole seconds")
    deviation: Number = Field(gt=0, le=Decimal("0.001"), description="Allan deviation, as 3e-12")


class BehaviourSection(Section):
    """[behaviour]: what the oscillator does at most."""

    drift_per_day: Number = Field(ge=0, le=Decimal("0.001"), description="largest change of rate in a day, as 1e-10")
    allan: list[AllanSection] = Field(min_length=1, max_length=100, description="one or more {tau_s, deviation}")
    environment_ns: int = Field(ge=0, le=_LARGEST_NS, description="what motion, temperature, supply can add, whole ns")
    rate_ppb: int = Field(ge=0, le=10**8, description="largest rate error, whole ppb")
    origin: Words = Field(description="where these figures are from: data sheet, measurement with its date")


class ComparisonSection(Section):
    """[before]: a comparison with a reference."""

    at: Instant = Field(description="an instant of UTC, as 2026-11-22T01:30:00Z")
    offset_ns: int = Field(ge=-_LARGEST_NS, le=_LARGEST_NS, description="clock less reference, whole ns")
    half_width_ns: int = Field(ge=1, le=_LARGEST_NS, description="half-width of the comparison, whole ns from 1")
    reference: Words = Field(description="what it was compared with")
    reference_ns: int = Field(ge=1, le=_LARGEST_NS, description="half-width of the reference against UTC, ns from 1")
    reference_origin: Words = Field(description="where the reference's figure is from")
    instrument: Words = Field(description="what compared them")
    serial: Words = Field(description="the instrument's serial number")
    by: Words = Field(description="who compared them")


class AfterSection(ComparisonSection):
    """[after]: the comparison that closes the record."""

    untouched: Words = Field(description="how it is known that nobody set or steered the clock in between")


_SECTIONS: Final[dict[str, type[Section]]] = {
    "clock": ClockSection,
    "behaviour": BehaviourSection,
    "before": ComparisonSection,
    "after": AfterSection,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The clock beside a reference at an instant."""

    at_ns: int
    """ns since 1970 UTC."""
    offset_ns: int
    """Clock less reference."""
    half_width_ns: int
    reference: str
    reference_ns: int
    reference_origin: str
    instrument: str
    serial: str
    by: str

    @property
    def origin(self) -> str:
        """Who says so."""
        return f"{self.instrument} {self.serial} against {self.reference}, by {self.by}"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the oscillator is declared to do at most."""

    drift_per_day: Decimal
    allan: tuple[tuple[int, Decimal], ...]
    """(averaging time in s, Allan deviation), ascending."""
    environment_ns: int
    rate_ppb: int
    origin: str


@dataclass(frozen=True, slots=True)
class Record:
    """A closure record; ``after`` None: not closed yet."""

    clock: str
    oscillator: str
    moved: bool
    before: Comparison
    behaviour: Behaviour | None
    after: Comparison | None
    untouched: str

    @property
    def commitment(self) -> str:
        """SHA-256 of all that must be known before the run: everything but the closing comparison."""
        behaviour = self.behaviour
        known: JSON = {
            "clock": self.clock,
            "oscillator": self.oscillator,
            "moved": self.moved,
            "before": _plain(self.before),
            "behaviour": None
            if behaviour is None
            else {
                "drift_per_day": str(behaviour.drift_per_day),
                "allan": [[tau_s, str(deviation)] for tau_s, deviation in behaviour.allan],
                "environment_ns": behaviour.environment_ns,
                "rate_ppb": behaviour.rate_ppb,
                "origin": behaviour.origin,
            },
        }
        return sha256(canonical(known))


def _plain(found: Comparison | None) -> JSON:
    """A comparison in JSON; the instant as text, as it exceeds 2^53."""
    if found is None:
        return None
    return {
        "at_ns": str(found.at_ns),
        "offset_ns": found.offset_ns,
        "half_width_ns": found.half_width_ns,
        "reference": found.reference,
        "reference_ns": found.reference_ns,
        "reference_origin": found.reference_origin,
        "instrument": found.instrument,
        "serial": found.serial,
        "by": found.by,
    }


class _Reader:
    """Collects everything that is wrong."""

    def __init__(self, text: str) -> None:
        self.file = TomlFile(text)
        self.problems = list(self.file.problems)

    def add(self, path: tuple[str | int, ...], found: str, allowed: str, hint: str = "") -> None:
        key = ".".join(str(part) for part in path)
        self.problems.append(Problem(self.file.line(path), key, found, allowed, hint))

    def sections(self) -> dict[str, Section]:
        for key in self.file.data:
            if key not in _SECTIONS:
                self.add((key,), "a key that does not exist", ", ".join(_SECTIONS), nearest(key, _SECTIONS))
        read: dict[str, Section] = {}
        for key, model in _SECTIONS.items():
            if key not in self.file.data:
                if key in {"clock", "before"}:
                    self.add((key,), "nothing", f"a table [{key}]")
                continue
            data = self.file.data[key]
            if not isinstance(data, dict):
                self.add((key,), shown(data), f"a table [{key}]")
                continue
            try:
                read[key] = model.model_validate(data)
            except ValidationError as error:
                for each in error.errors(include_url=False):
                    holder, info = field_at(model, each["loc"])
                    names = keys(holder)
                    last = str(each["loc"][-1])
                    at = (key, *each["loc"])
                    if each["type"] == "extra_forbidden":
                        self.add(at, "a key that does not exist", ", ".join(names), nearest(last, names))
                        continue
                    found = "nothing" if each["type"] == "missing" else shown(each["input"])
                    choices = re.findall(r"'([^']*)'", str(each.get("ctx", {}).get("expected", "")))
                    allowed = ", ".join(choices) or (info.description if info is not None else None) or "a table"
                    hint = nearest(each["input"], choices) if isinstance(each["input"], str) else ""
                    self.add(at, found, allowed, hint)
        return read


def _comparison(found: ComparisonSection) -> Comparison:
    return Comparison(
        (found.at - _EPOCH) // timedelta(microseconds=1) * 1000,
        found.offset_ns,
        found.half_width_ns,
        found.reference,
        found.reference_ns,
        found.reference_origin,
        found.instrument,
        found.serial,
        found.by,
    )


def parse(text: str, name: str) -> Record:
    """The record in a TOML text; ``name`` is for errors. Raises RecordError with everything that is wrong."""
    reader = _Reader(text)
    read = reader.sections() if not reader.problems else {}
    before, after, behaviour = read.get("before"), read.get("after"), read.get("behaviour")
    if isinstance(before, ComparisonSection) and isinstance(after, AfterSection) and after.at <= before.at:
        reader.add(("after", "at"), after.at.isoformat(), "an instant later than before.at")
    if isinstance(behaviour, BehaviourSection):
        seen: set[int] = set()
        for index, each in enumerate(behaviour.allan):
            if each.tau_s in seen:
                reader.add(("behaviour", "allan", index, "tau_s"), str(each.tau_s), "each averaging time once")
            seen.add(each.tau_s)
    clock = read.get("clock")
    if reader.problems or not isinstance(clock, ClockSection) or not isinstance(before, ComparisonSection):
        raise RecordError(name, sorted(reader.problems))
    return Record(
        clock.id,
        clock.oscillator,
        clock.moved,
        _comparison(before),
        Behaviour(
            behaviour.drift_per_day,
            tuple(sorted((each.tau_s, each.deviation) for each in behaviour.allan)),
            behaviour.environment_ns,
            behaviour.rate_ppb,
            behaviour.origin,
        )
        if isinstance(behaviour, BehaviourSection)
        else None,
        _comparison(after) if isinstance(after, AfterSection) else None,
        after.untouched if isinstance(after, AfterSection) else "",
    )


def read(path: Path) -> Record:
    """The record in a file. Raises RecordError."""
    try:
        with path.open("rb") as file:
            octets = file.read(MOST_OCTETS + 1)
        if len(octets) > MOST_OCTETS:
            raise RecordError(path.name, [Problem(1, "", f"more than {MOST_OCTETS} octets", "a record by hand")])
        text = octets.decode("utf-8")
    except OSError as why:
        raise RecordError(path.name, [Problem(1, "", why.strerror or str(why), "a file that can be read")]) from why
    except UnicodeDecodeError as why:
        line = octets[: why.start].count(b"\n") + 1
        raise RecordError(path.name, [Problem(line, "", "octets that are not UTF-8", "TOML 1.0")]) from why
    return parse(text, path.name)


# -- the bound -------------------------------------------------------------------------------------------------


def wander_ns(behaviour: Behaviour, between_ns: int) -> int | None:
    """Largest wander off the straight line between two comparisons ``between_ns`` apart, ns rounded up.

    The middle's deviation d from that line is half a second difference of phase, and the Allan variance is the mean
    square second difference over 2 tau^2 (IEEE 1139): d = sigma_y(T/2) (T/2) / sqrt 2, whatever the noise. Of the
    averaging times declared, the shortest from T/2 up counts, with the largest sigma_y tau up to it: sigma_y tau never
    falls with tau for any power-law noise. None where none is long enough.
    """
    long_enough = [tau_s for tau_s, _ in behaviour.allan if 2 * tau_s * SECOND_NS >= between_ns]
    if not long_enough:
        return None
    worst = max(tau_s * deviation for tau_s, deviation in behaviour.allan if tau_s <= min(long_enough))
    root_half = _UP.sqrt(Decimal("0.5"))
    scaled = _UP.multiply(_UP.multiply(Decimal(WANDER_K) * worst, root_half), Decimal(SECOND_NS))
    return int(scaled.to_integral_value(ROUND_CEILING))


def contradiction(record: Record) -> str:
    """What the two comparisons show that the declared behaviour excludes; empty: nothing, or not closed."""
    before, after, behaviour = record.before, record.after, record.behaviour
    if after is None:
        return ""
    between_ns = after.at_ns - before.at_ns
    slack = before.half_width_ns + before.reference_ns + after.half_width_ns + after.reference_ns
    moved = abs(after.offset_ns - before.offset_ns)
    if behaviour is not None:
        most = ceil(Fraction(behaviour.rate_ppb * between_ns, 10**9)) + behaviour.environment_ns
    elif record.oscillator in CLASS_DAY_NS:
        most = CLASS_DAY_NS[record.oscillator]
    else:
        return ""
    if moved > most + slack:
        return f"the clock moved {moved} ns where {most} ns with {slack} ns of the comparisons was declared possible"
    return ""


def obstacle(record: Record, at_ns: int) -> str:
    """Why the record bounds nothing at an instant, ns since 1970 UTC; empty when it does."""
    before, after, behaviour = record.before, record.after, record.behaviour
    if at_ns < before.at_ns:
        return "before the first comparison"
    if after is None:
        return "closure after the run is missing"
    if at_ns > after.at_ns:
        return "after the closing comparison"
    between_ns = after.at_ns - before.at_ns
    if behaviour is not None:
        if wander_ns(behaviour, between_ns) is None:
            return f"no Allan deviation declared for {-(-between_ns // (2 * SECOND_NS))} s or longer"
    elif record.moved:
        return "a clock that was moved, without [behaviour]"
    elif record.oscillator not in CLASS_DAY_NS:
        return f"no class figure for {record.oscillator}, and no [behaviour]"
    elif between_ns > DAY_NS:
        return "class figures hold for one day, and no [behaviour]"
    return contradiction(record)


def _parts(record: Record, after: Comparison, at_ns: int) -> tuple[Part, ...]:
    """Half-widths at an instant within the record; `obstacle` found nothing.

    x(t) lies within the straight line between the comparisons, plus both comparisons' own errors weighed as the line
    weighs them, plus D (t - t0)(t1 - t) / 2 for a drift D, plus wander and environment.
    """
    before, behaviour = record.before, record.behaviour
    between_ns, since_ns = after.at_ns - before.at_ns, at_ns - before.at_ns
    share = Fraction(since_ns, between_ns)
    line = before.offset_ns + (after.offset_ns - before.offset_ns) * share
    if behaviour is None:
        figure = CLASS_DAY_NS[record.oscillator]
        rest: tuple[Part, ...] = (
            # |x(t) - x(t0)| and |x(t1) - x(t0)| are both within the figure
            Part("振荡器等级", "class of the oscillator", ceil(figure * (1 + share)), CLASS_ORIGIN),
        )
    else:
        curve = Fraction(behaviour.drift_per_day) * since_ns * (after.at_ns - at_ns) / (2 * DAY_NS)
        wander = wander_ns(behaviour, between_ns)
        rest = (
            Part("频率漂移", "drift of the rate", ceil(curve), behaviour.origin),
            Part("频率噪声", "wander of the rate", wander or 0, behaviour.origin),
            Part("环境影响", "environment", behaviour.environment_ns, behaviour.origin),
        )
    return (
        Part("两次比对间内插偏差", "offset, interpolated", ceil(abs(line)), "straight line between the comparisons"),
        Part("运行前比对", "comparison before", ceil(before.half_width_ns * (1 - share)), before.origin),
        Part("运行后比对", "comparison after", ceil(after.half_width_ns * share), after.origin),
        Part("运行前参考", "reference before", ceil(before.reference_ns * (1 - share)), before.reference_origin),
        Part("运行后参考", "reference after", ceil(after.reference_ns * share), after.reference_origin),
        *rest,
    )


def state_of(site: str, at_ns: int, record: Record) -> ClockState:
    """What a record says of the clock at an instant, ns since 1970 UTC; unknown outside its comparisons.

    A leap second between the comparisons moves the line by no more than the clock's rate times one second.
    """
    why = obstacle(record, at_ns)
    after = record.after
    known = not why and after is not None
    parts = _parts(record, after, at_ns) if after is not None and known else ()
    compared = [each for each in (record.before, after) if each is not None]
    simulated = any(each.serial.upper().startswith("SIM-") for each in compared)
    offset = None
    if known and after is not None:
        share = Fraction(at_ns - record.before.at_ns, after.at_ns - record.before.at_ns)
        offset = round(record.before.offset_ns + (after.offset_ns - record.before.offset_ns) * share)
    raw = {
        **({"injected": True} if simulated else {}),
        "clock": record.clock,
        "oscillator": record.oscillator,
        "moved": record.moved,
        "before": _plain(record.before),
        "after": _plain(after),
        "untouched": record.untouched,
        "commitment": record.commitment,
        "why": why,
    }
    named = f"{record.before.reference} by {record.oscillator} {record.clock}"
    return ClockState(
        site=site,
        source="holdover",
        at_ns=at_ns,
        synchronised=True if known else None,
        bound_ns=sum(part.half_width_ns for part in parts) if known else None,
        skew_ppb=record.behaviour.rate_ppb if known and record.behaviour is not None else None,
        tai_utc_s=None,
        leap_pending=None,
        identity=f"injected:{named}" if simulated else named,
        raw=json.dumps(raw, ensure_ascii=False),
        offset_ns=offset,
        parts=parts,
    )


def states(site: str, record: Record, instants_ns: Sequence[int]) -> tuple[ClockState, ...]:
    """`state_of` at each instant."""
    return tuple(state_of(site, each, record) for each in instants_ns)


def attach(site: str, record: Record, evidence: Sequence[ClockState]) -> tuple[ClockState, ...]:
    """Late evidence: what the closed record says at each of a run's polls that waited for it.

    ``evidence`` is the run's; its polls named the record by its commitment. Raises ClosureError when the record is not
    closed, when no poll of the site waited for one, or when its first part is no longer what the run saw.
    """
    waiting = [state for state in evidence if state.site == site and state.source == "holdover"]
    if record.after is None:
        raise ClosureError("a closed record", "no [after]", "compare the clock again, and write the result into it")
    if not waiting:
        raise ClosureError(
            f"polls of a closure record at {site}", "none in the run's evidence", "declare the record before the run"
        )
    for state in waiting:
        if _committed(state.raw) != record.commitment:
            raise ClosureError(
                f"the record whose first part has the SHA-256 {record.commitment}",
                f"{_committed(state.raw) or 'no such sum'} at {state.at_ns} ns UTC",
                "add [after] to the record that the run saw, and change nothing else",
            )
    return states(site, record, [state.at_ns for state in waiting])


def _committed(raw: str) -> str:
    try:
        found: Any = json.loads(raw)
    except ValueError:
        return ""
    value = found.get("commitment", "") if isinstance(found, dict) else ""
    return value if isinstance(value, str) else ""


# -- the source ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the closure record is."""

    record: Path


class Holdover:
    """A closure record, read at each poll; while it is open the clock's error is unknown."""

    name = "holdover"

    def __init__(self, site: str, settings: Settings) -> None:
        self.site = site
        self._path = settings.record

    def poll(self, at_ns: int) -> ClockState:
        """What the record says at ``at_ns`` ns since 1970 UTC. A record that cannot be used is "unknown", no error."""
        try:
            return state_of(self.site, at_ns, read(self._path))
        except RecordError as why:
            return ClockState(self.site, self.name, at_ns, None, None, None, None, None, "", str(why))
