"""A pair calibrated over its patch: plug by plug, at field load, into an artefact that expires."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from harness import provenance
from harness.archive.segments import zipped
from harness.artefact import (
    LEAST_A_SIDE,
    LEAST_PLUGS,
    SIMULATED_BENCH,
    Artefact,
    ClockThen,
    Load,
    Orientation,
    Patch,
    Plug,
    Port,
    artefact_file,
    flat,
    found,
    read_artefact,
)
from harness.bench import Bench
from harness.calibration import LEAST, plug
from harness.canonical import JSON, noun, parse_object, plain, sha256
from harness.disk import make_directory, read_file, write_file
from harness.errors import BenchError, EngineError
from harness.link import Direction, Link
from harness.measurement import Measurement
from harness.plan import Step, resolve
from harness.policy import Policy
from harness.run import Options, Run
from harness.samples import COLUMNS, Column, Samples
from harness.stream import Stream
from harness.uncertainty import PLANE_NAMES, claim, plane_bound

DAY_NS: Final = 86_400_000_000_000
MOST_DAYS: Final = 36_525
"""A century: nobody will recalibrate later, and every calendar still has the day."""


@dataclass(frozen=True)
class Wish:
    """What the person at the bench asks of a calibration."""

    link: str
    out: Path
    patch: Patch
    plugs: int = 10
    swap: bool = True
    seconds: int = 10
    """Of each stream at each plug; more when fewer packets than 400 would come."""
    days: int = 90
    far_port: Port | None = None
    """The far end's port as `millicert port` told it there; None: nobody said."""


@dataclass(frozen=True)
class Person:
    """Who stands at the pair: reads lines, re-plugs when asked."""

    say: Callable[[str], None]
    ask: Callable[[str], None] | None
    """Returns when what it asks was done; None: there is nothing to touch."""


class Memory:
    """The rows of one stream, in memory."""

    def __init__(self) -> None:
        self._parts: list[Mapping[str, Column]] = []

    def append(self, columns: Mapping[str, Column]) -> None:
        """Take a copy of the rows."""
        self._parts.append({name: columns[name].copy() for name in COLUMNS})

    def flush(self) -> None:
        """Nothing to do: memory has no disk."""

    def samples(self) -> Samples:
        """All rows taken."""
        empty = [np.empty(0, np.int64)]
        return Samples(**{name: np.concatenate([part[name] for part in self._parts] or empty) for name in COLUMNS})


def streams(bench: Bench, link: Link, steps: Sequence[Step], seconds: int) -> list[Stream]:
    """The field load of a link: rate and size of every stream that the plan runs on the bench, each once."""
    made: dict[tuple[int, int], Stream] = {}
    for step in steps:
        planned = replace(step.stream, flows=len(link.flow_ports))
        stream, _ = resolve(planned, dict(bench.streams.get(step.stream.name, {})))
        length = max(seconds, -(-2 * LEAST // stream.rate_pps))
        short = replace(stream, duration_ns=length * 1_000_000_000)
        made.setdefault((stream.rate_pps, stream.size), short)
    return list(made.values())


def calibrate_pair(bench: Bench, wish: Wish, steps: Sequence[Step], person: Person) -> Artefact:
    """Measure the pair back to back and write the artefact with its raw samples beside it.

    The samples of each plug and stream lie in ``<out>.samples/``; the artefact is written last. Raises HarnessError
    when the file is there already, a clock has no bound, a stamp comes from elsewhere than at the first plug, or what
    was measured cannot be a patch.
    """
    link = _link(bench, wish)
    loads = streams(bench, link, steps, wish.seconds)
    sides = _orientations(wish, touched=person.ask is not None)
    kept = wish.out.with_name(f"{wish.out.name}.samples")
    make_directory(kept)
    run = Run(replace(bench, calibrations={}), Options(results=wish.out.parent))
    taken: dict[Stream, list[Plug]] = {stream: [] for stream in loads}
    seen: list[Measurement] = []
    began = time.time_ns()
    try:
        for number, side in enumerate(sides):
            if person.ask is not None:
                person.ask(_request(number, sides))
            for stream in loads:
                name = f"{number + 1:02d}-{stream.name}-{side}"
                drawn = replace(stream, seed=secrets.token_hex(16))
                got = run.back_to_back(name, link.name, drawn, Memory())
                data = zipped({column: getattr(got.samples, column) for column in COLUMNS})
                write_file(kept / f"{name}.npz", data)
                made = plug(side, got.health.started_ns, got.samples, sha256(data))
                _is_a_patch(made, got, run.linked, wish.patch)
                taken[stream].append(made)
                seen.append(replace(got, samples=Memory().samples(), stream=stream))
                person.say(
                    f"plug {number + 1} of {len(sides)}, {side}, {stream.rate_pps} pps, {stream.size} octets: "
                    f"forward {made.median_ns[Direction.FORWARD]} ns, backward {made.median_ns[Direction.BACKWARD]} ns"
                )
    finally:
        run.finish(cut_off=False)
    near = _same("near port", [got.near_port or Port() for got in seen])
    simulated = {fact for got in seen for fact in got.simulated} | ({SIMULATED_BENCH} if bench.simulated else set())
    artefact = Artefact(
        link=link.name,
        near=near,
        far=near if bench.simulated else wish.far_port or Port(),
        from_ns=began,
        until_ns=began + wish.days * DAY_NS,
        patch=wish.patch,
        loads=tuple(
            Load(
                stream.name,
                stream.rate_pps,
                stream.size,
                _same("set of stamps", [dominant(got.near_planes) for got in seen if got.stream == stream]),
                tuple(plugs),
                found(plugs, wish.patch),
            )
            for stream, plugs in taken.items()
        ),
        clocks=() if _shared(link) else _clocks(link, seen, run.linked),
        shared_clock=_shared(link),
        replugged=person.ask is not None,
        operator=bench.operator,
        software=flat(plain_object(provenance.software())),
        simulated=tuple(sorted(simulated)),
    )
    data = artefact_file(artefact)
    read_artefact(data, str(wish.out))
    write_file(wish.out, data)
    return artefact


def lines(artefact: Artefact) -> list[str]:
    """What was found, for the person at the bench."""
    told = []
    for load in artefact.loads:
        for direction in Direction:
            of = load.found
            told.append(
                f"{load.rate_pps} pps, {load.size} octets, {direction}: bias {of.bias_ns[direction]} ns, "
                f"spread {of.spread_ns[direction]} ns, one plug s {of.plug_ps[direction]} ps, "
                f"residual {of.residual_ps[direction]} ps with {of.nu} degrees of freedom, "
                f"half the difference on swap {of.swap_ps[direction]} ps"
            )
    kind = f"SIMULATED ({', '.join(artefact.simulated)}): it serves no real bench; " if artefact.simulated else ""
    touched = "" if artefact.replugged else "repeats only, nothing re-plugged; "
    return [*told, f"artefact  {kind}{touched}{artefact.id} valid until {artefact.until}"]


def _link(bench: Bench, wish: Wish) -> Link:
    """The link to calibrate, after everything was refused that would come to light only at the end."""
    names = [each.name for each in bench.links]
    if wish.link not in names:
        raise BenchError(f"a link of bench {bench.name}", repr(wish.link), f"one of {', '.join(names)}")
    if wish.out.exists():
        raise BenchError(
            f"a new file {wish.out}", "one that is there", "an artefact is never written over: name another"
        )
    least = 2 * LEAST_A_SIDE if wish.swap else 0
    if wish.plugs < max(LEAST_PLUGS, least) or wish.seconds < 1 or not 1 <= wish.days <= MOST_DAYS:
        raise BenchError(
            f"{LEAST_PLUGS} plugs or more, of a second or more, valid for 1 to {MOST_DAYS} days",
            f"{wish.plugs} plugs of {wish.seconds} s for {wish.days} days",
            "10 plugs are recommended",
        )
    return bench.link(wish.link)


def _orientations(wish: Wish, *, touched: bool) -> list[Orientation]:
    if not (wish.swap and touched):
        return ["straight"] * wish.plugs
    half = -(-wish.plugs // 2)
    return [*["straight"] * half, *["swapped"] * (wish.plugs - half)]  # type: ignore[list-item]  # mypy widens literals


def _request(number: int, sides: Sequence[Orientation]) -> str:
    """What the person is asked before a plug."""
    if number == 0:
        return "Both ends side by side, joined by the patch alone, nothing else on it"
    if sides[number] != sides[number - 1]:
        return "Swap: exchange transmit and receive at both ends, so that each direction takes the other fibre and port"
    return "Take out both ends of the patch, put them in again as they were"


def dominant(planes: str) -> str:
    """The most frequent source of each stamp: "kernel/kernel/kernel/kernel"."""
    return "/".join(next((each for each in stamp.split("+") if each != "none"), "none") for stamp in planes.split("/"))


def _is_a_patch(made: Plug, got: Measurement, policy: Policy, patch: Patch) -> None:
    """Refuse what no patch can give: subtracting it would hide the delay of a link."""
    if got.interrupted or got.health.clock_steps_ns:
        why = got.interrupted or f"clock steps of {got.health.clock_steps_ns} ns"
        raise EngineError("a whole stream under a steady clock", why, "calibrate again")
    codes = {name: code for code, name in PLANE_NAMES.items()}
    stamps = [codes.get(each) for each in dominant(got.near_planes).split("/")]
    most = sum(plane_bound(policy, each) for each in stamps if each is not None) + 2 * patch.flight_ps // 1000
    both = sum(made.median_ns.values())
    if not 0 <= both <= most:
        raise EngineError(
            f"two directions of a patch: 0 to {most} ns together, by the policy's bounds of four stamps",
            f"{both} ns",
            "is the patch between the two ends, and nothing else? its length right? a fibre under test is no patch",
        )


T = TypeVar("T")


def _same(what: str, values: Sequence[T]) -> T:
    """The one value of all plugs. Raises EngineError when they are not one."""
    others = [each for each in values if each != values[0]]
    if others:
        raise EngineError(
            f"one {what} throughout", f"{values[0]}, then {others[0]}", "calibrate again and leave the hosts alone"
        )
    return values[0]


def _shared(link: Link) -> str:
    """The one clock of both ends by the bench, else empty."""
    return link.near.clock.shared if link.near.clock.shared == link.far.clock.shared else ""


def _clocks(link: Link, seen: Sequence[Measurement], policy: Policy) -> tuple[ClockThen, ...]:
    """What bounds both clocks while the bias was taken: it contains their difference. Raises EngineError without."""
    made = []
    for site in (link.near, link.far):
        halves: list[int] = []
        sources: set[str] = set()
        for got in seen:
            said = claim(site, link, got.evidence, got.health.started_ns, got.health.ended_ns)
            if not said.usable or said.bound_ns is None or not 0 <= said.gap_ns < 1 << 62:
                raise EngineError(
                    f"a bound on the clock of {site.name} throughout: the bias contains the difference of both clocks",
                    said.refusal or "no poll before and after",
                    "synchronise both ends, or calibrate them on one clock and declare it shared in the bench file",
                )
            skew = policy.unknown_skew_ppb if said.skew_ppb is None else said.skew_ppb
            halves.append(said.bound_ns + -(-skew * said.gap_ns // 1_000_000_000))
            sources.update(said.sources)
        made.append(ClockThen(site.name, "+".join(sorted(sources)), max(halves)))
    return tuple(made)


def plain_object(value: object) -> Mapping[str, JSON]:
    """A mapping or a noun as a JSON object."""
    made = plain(value)
    return made if isinstance(made, dict) else {}


def read_port(path: Path) -> Port:
    """A port as `millicert port` wrote it on its host. Raises ArchiveError when it is anything else."""
    return noun(Port, parse_object(read_file(path).strip(), str(path)), str(path))
