"""A Qualification: whether a pair tells a fibre of known time of flight within U, at every rate."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from harness import provenance
from harness.archive.segments import zipped
from harness.artefact import Artefact, Load, Patch, Port, flat
from harness.bench import Bench, Qualify
from harness.budget import Budget, Component
from harness.calibration import centre
from harness.canonical import canonical, plain, sha256
from harness.disk import make_directory, write_file
from harness.errors import BenchError, EngineError
from harness.link import Direction, Link
from harness.measurement import Calibration, Measurement
from harness.patching import Memory, Person, Wish, calibrate_pair, dominant, plain_object, streams
from harness.plan import Step
from harness.policy import Policy
from harness.run import Options, Run
from harness.samples import COLUMNS, MISSING, NIC, NONE
from harness.simulation.plant import FibrePath
from harness.stream import Stream
from harness.uncertainty import PLANE_NAMES, ClockClaim, claim, clock_budget, pair_budget

SCHEMA: Final = "millicert-qualification/1"
DAYS: Final = 90
TRIES: Final = 5
"""Of one rate on a simulated reel: where the host released more than a tenth late, their median is not the reel's."""
SIMULATED_REEL: Final = Patch(10_000_000, 1_468_200, 500_000, "simulated: its fibre keeps a set delay to about 1 us")
SIMULATED: Final = Qualify(SIMULATED_REEL, Patch(0, 1_000_000, 0, "simulated: no fibre"), (1_000, 4_000), 256, 5, 1)
"""What a simulated bench is qualified with unless it says otherwise: 10 km at two rates, under a minute."""


@dataclass(frozen=True, slots=True)
class Rung:
    """The reel as one rate and frame size told it; ns, and ps where named."""

    rate_pps: int
    size: int
    planes: str
    error_ns: dict[Direction, int]
    """Calibrated median less the reel's time of flight."""
    expanded_ps: dict[Direction, int]
    """Expanded uncertainty, ps."""
    pair_error_ns: int
    """Round trip without turnaround, calibrated, less twice the time of flight: no clock's offset is in it."""
    pair_expanded_ps: int
    turnaround_ns: int
    """Largest T3 - T2 that was subtracted."""
    sha256: str
    """Of the raw samples' file beside the artefact."""

    @property
    def within(self) -> bool:
        """Whether every error is within its U."""
        one_way = all(abs(self.error_ns[d]) * 1000 <= self.expanded_ps[d] for d in Direction)
        return one_way and abs(self.pair_error_ns) * 1000 <= self.pair_expanded_ps

    @property
    def line(self) -> str:
        """For the person at the bench."""
        ways = ", ".join(f"{d} {self.error_ns[d]} ns (U {-(-self.expanded_ps[d] // 1000)} ns)" for d in Direction)
        pair = f"round trip {self.pair_error_ns} ns (U {-(-self.pair_expanded_ps // 1000)} ns)"
        return f"{'within' if self.within else 'NOT WITHIN'} U: {self.rate_pps} pps, {self.size} octets: {ways}, {pair}"


@dataclass(frozen=True, slots=True)
class Qualification:
    """What was proven of a pair: at these rates and sizes, from these planes, until then."""

    link: str
    near: Port
    far: Port
    from_ns: int
    """ns since 1970 UTC."""
    until_ns: int
    reel: Patch
    calibration: str
    """Id of the calibration artefact beneath it."""
    swapped: bool
    rungs: tuple[Rung, ...]
    passed: bool
    simulated: tuple[str, ...]
    software: dict[str, str]
    schema: str = SCHEMA

    @property
    def id(self) -> str:
        """SHA-256 of its canonical content."""
        return sha256(canonical(plain(self)))

    @property
    def file(self) -> bytes:
        """Octets of its file: canonical JSON of its content with its id."""
        return canonical({**plain_object(self), "id": self.id})

    @property
    def summary(self) -> str:
        """Why it did not pass."""
        return "; ".join(rung.line for rung in self.rungs if not rung.within) or "every rate within U"


def wished(bench: Bench) -> Qualify:
    """What the bench declares in [qualify]; a simulated one has its own. Raises BenchError on a real bench without."""
    if bench.qualify is not None:
        return bench.qualify
    if bench.simulated:
        return SIMULATED
    raise BenchError(
        f"a reel of known time of flight for bench {bench.name}",
        "no [qualify] table",
        "add [qualify] with reel_m, u_ns, origin, patch_mm, patch_u_ps, patch_origin to the bench file",
    )


def qualify(bench: Bench, link_name: str, person: Person, folder: Path) -> Qualification:
    """Calibrate over the patch, put the reel in its place, climb the rates; everything is kept in ``folder``.

    Writes ``calibration.json`` and ``qualification.json`` with their raw samples. Raises HarnessError when a
    clock has no bound or a stream cannot be run; a reel told wrong raises nothing: ``passed`` is False.
    """
    link, wants = bench.link(link_name), wished(bench)
    bare = replace(bench, streams={}, calibrations={})
    steps = [Step("", Stream(f"qualify-{rate}", rate, 1, wants.size)) for rate in wants.rates]
    wish = Wish(
        link_name, folder / "calibration.json", wants.patch, plugs=wants.plugs, seconds=wants.seconds, days=DAYS
    )
    artefact = calibrate_pair(bare, wish, steps, person)
    if person.ask is not None:
        person.ask("Put the reel in the place of the patch")
    run = Run(_reeled(bare, link_name, wants.reel), Options(results=folder))
    kept = folder / "reel.samples"
    make_directory(kept)
    rungs: list[Rung] = []
    facts: set[str] = set(artefact.simulated)
    try:
        for stream in streams(bare, link, steps, wants.seconds):
            for attempt in range(TRIES):
                drawn = replace(stream, seed=secrets.token_hex(16))
                got = run.back_to_back(stream.name, link_name, drawn, Memory(), reel=True)
                data = zipped({column: getattr(got.samples, column) for column in COLUMNS})
                write_file(kept / f"{stream.name}-{attempt + 1}.npz", data)
                late, packets = len(got.stalls.row), len(got.samples)
                if 10 * late <= 2 * packets:
                    break
                person.say(f"{stream.rate_pps} pps again: the host was late with {late} of {2 * packets} releases")
            else:
                raise EngineError(
                    f"a simulated reel of known delay in {TRIES} tries, at most a tenth of its releases late",
                    f"{late} of {2 * packets}",
                    "stop other programs on this host, or qualify on a quieter one",
                )
            facts |= set(got.simulated)
            rungs.append(rung(got, artefact, wants.reel, run.linked, sha256(data)))
            person.say(rungs[-1].line)
    finally:
        run.finish(cut_off=False)
    made = Qualification(
        link=link_name,
        near=artefact.near,
        far=artefact.far,
        from_ns=artefact.from_ns,
        until_ns=artefact.until_ns,
        reel=wants.reel,
        calibration=artefact.id,
        swapped=artefact.swapped,
        rungs=tuple(rungs),
        passed=bool(rungs) and all(each.within for each in rungs),
        simulated=tuple(sorted(facts)),
        software=flat(plain_object(provenance.software())),
    )
    write_file(folder / "qualification.json", made.file)
    return made


def _reeled(bench: Bench, link: str, reel: Patch) -> Bench:
    """A simulated bench whose link is the reel and nothing else; a real one as it is."""
    if bench.simulation is None:
        return bench
    fibre = FibrePath(delay_ns=(reel.flight_ps + 500) // 1000)
    plant = replace(bench.simulation.links[link], forward=(fibre,), backward=(fibre,), route_of={})
    return replace(bench, simulation=replace(bench.simulation, links={**bench.simulation.links, link: plant}))


def rung(got: Measurement, artefact: Artefact, reel: Patch, policy: Policy, digest: str) -> Rung:
    """The reel by one stream, with the uncertainty of each direction and of the pair.

    Raises EngineError when it was cut off, a clock has no bound, or the stamps are not those that were calibrated.
    """
    load = artefact.load(got.stream.rate_pps, got.stream.size)
    planes = dominant(got.near_planes)
    if got.interrupted or got.health.clock_steps_ns or planes != load.planes or got.near_port != artefact.near:
        found = got.interrupted or f"stamps {planes}, clock steps {got.health.clock_steps_ns}, port {got.near_port}"
        raise EngineError(f"a whole stream with stamps {load.planes} on the calibrated port", found, "qualify again")
    median, _ = centre(got.samples)
    flight = Fraction(reel.flight_ps, 1000)
    error = {d: round(median[d] - load.found.bias_ns[d] - flight) for d in Direction}
    whole = (got.samples.t2 != MISSING) & (got.samples.t3 != MISSING)
    return Rung(
        rate_pps=got.stream.rate_pps,
        size=got.stream.size,
        planes=planes,
        error_ns=error,
        expanded_ps={d: _budget(got, artefact, load, reel, policy, d).expanded for d in Direction},
        pair_error_ns=round(sum(median[d] - load.found.bias_ns[d] for d in Direction) - 2 * flight),
        pair_expanded_ps=_pair(artefact, load, reel, policy).expanded,
        turnaround_ns=int(np.max((got.samples.t3 - got.samples.t2)[whole], initial=0)),
        sha256=digest,
    )


def _reel(reel: Patch, times: int) -> Component:
    return Component("已知光程的光纤盘", "reel of known time of flight", times * reel.u_ps, "normal", reel.origin)


def _budget(
    got: Measurement, artefact: Artefact, load: Load, reel: Patch, policy: Policy, direction: Direction
) -> Budget:
    link: Link = got.link
    ends = [
        claim(site, link, got.evidence, got.health.started_ns, got.health.ended_ns) for site in (link.near, link.far)
    ]
    shared = link.near.clock.shared if link.near.clock.shared == link.far.clock.shared else ""
    for end in ends:
        if not shared and not end.usable:
            raise EngineError(
                f"a bound on the clock of {end.site} while the reel is measured", end.refusal, "synchronise it"
            )
    codes = {name: code for code, name in PLANE_NAMES.items()}
    one, two, three, four = (codes.get(each, NONE) for each in load.planes.split("/"))
    budget = clock_budget(
        policy,
        direction,
        planes=(one, two) if direction is Direction.FORWARD else (three, four),
        near=ends[0],
        far=ends[1],
        shared=shared,
        calibration=Calibration.of(artefact, load),
    )
    return Budget((*budget.components, _reel(reel, 1)))


def _pair(artefact: Artefact, load: Load, reel: Patch, policy: Policy) -> Budget:
    """Of both directions together: the clocks' offsets cancel, their calibration's too."""
    both = [
        component
        for direction in Direction
        for component in calibration_components(policy, direction, Calibration.of(artefact, load))
    ]
    rate = pair_budget(policy, 2 * reel.flight_ps // 1000, (NIC, NIC, NIC, NIC)).components[0]
    return Budget((rate, *both, _reel(reel, 2)))


def calibration_components(policy: Policy, direction: Direction, calibration: Calibration) -> Sequence[Component]:
    """What the artefact alone leaves open in one direction, without its clocks."""
    artefact = calibration.artefact
    if artefact is None:
        return ()
    clockless = replace(calibration, artefact=replace(artefact, clocks=(), shared_clock="cancels in the round trip"))
    nobody = ClockClaim("", (), None, None, 0, "")
    whole = clock_budget(
        policy, direction, planes=(NIC, NIC), near=nobody, far=nobody, shared="-", calibration=clockless
    )
    return whole.components


Qualifying = Callable[[str], Qualification]
"""Fixture ``qualify``: qualify the pair of the named link."""


def here(results: Path, link: str) -> Path:
    """A new folder for a qualification beneath the results."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return results / "qualification" / f"{stamp}-{link}-{secrets.token_hex(3)}"
