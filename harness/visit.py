"""The Visit: before anyone drives out, which evidence will decide each link of a bench, by its length alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.bench import Bench
from harness.bracket import bracket
from harness.gates import link_floor, text
from harness.link import Direction, Link
from harness.measurement import Calibration
from harness.plan import Step
from harness.policy import Policy, Requirement
from harness.samples import KERNEL
from harness.stream import Stream
from harness.uncertainty import ClockClaim, bracket_budget, clock_budget
from harness.units import C_M_PER_S

GROUP_INDEX_PPM: Final = 1_468_200
"""n_g of G.652 fibre at 1550 nm in millionths, where the bench has no record (rules 5.1)."""
POLL_NS: Final = 1_000_000_000
CALIBRATED_NS: Final = 1_000
"""Spread of a back-to-back calibration of two quiet hosts with kernel stamps; assumed, a calibration will tell."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """A way to bring time to both ends."""

    name: str
    half_width_ns: int
    """Of one clock against UTC."""
    skew_ppb: int
    origin: str


EQUIPMENT: Final = (
    Equipment("chronyd over the city's network", 500_000, 15_000, "root distance 500 µs, rules 2.8 c1"),
    Equipment("chronyd with a stratum 1 at each site", 25_000, 1_000, "root distance 25 µs, rules 2.8 c2"),
    Equipment("a travelling rubidium clock, closed within a day", 5_000, 1, "vendors' day-1 figure, unconfirmed"),
    Equipment("PTP by a G.8275.1 network", 1_100, 50, "G.8271.1 reference point C"),
    Equipment("a GNSS receiver (PRTC-A) at each site", 110, 50, "G.8272 ±100 ns, cable known to 10 ns"),
)
"""From the least to the most trouble."""


@dataclass(frozen=True, slots=True)
class Assumed:
    """What nobody can know before the visit; ns. Printed with the advice."""

    equipment_ns: int = 10_000
    """Delay of switches and cross-connects in one direction, beside the fibre."""
    turnaround_ns: int = 100_000
    """Between a packet's arrival at the reflector and its reply's departure."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What will decide one requirement on one link."""

    requirement: str
    expected_ns: int | None
    """Expected one-way delay, ns; None when the bench knows neither fibre nor positions."""
    hopeless: bool
    """By the fibre record alone the delay exceeds the limit."""
    round_trip_ns: int | None
    """Expected clock-free upper bound with its expanded uncertainty, ns."""
    round_trip_decides: bool
    reach_m: int
    """Longest fibre at which the round trip alone still decides, m."""
    room_ns: int
    """Largest U that leaves a PASS possible."""
    suffices: tuple[tuple[Equipment, int, int], ...]
    """Equipment that gives a PASS, with U without and with a calibration of the endpoints, ns."""
    falls_short: tuple[tuple[Equipment, int], ...]
    """Equipment that does not even with a calibration, with its U, ns."""
    seconds: int
    """How long the stream must run."""
    stream: Stream


def advise(
    bench: Bench, policy: Policy, link: Link, steps: Sequence[Step], assumed: Assumed = Assumed()
) -> list[Advice]:
    """Advice for every requirement that a step serves on a link, in the order of the steps."""
    wanted = {r.id: r for r in policy.requirements}
    return [
        _advise(policy, link, wanted[each.requirement], _stream(bench, link, each), assumed)
        for each in steps
        if each.requirement in wanted
    ]


def _stream(bench: Bench, link: Link, step: Step) -> Stream:
    """The step's stream as the bench alters it, one flow a declared port."""
    planned = replace(step.stream, flows=len(link.flow_ports))
    return replace(planned, **dict(bench.streams.get(step.stream.name, {})))


def _advise(policy: Policy, link: Link, requirement: Requirement, stream: Stream, assumed: Assumed) -> Advice:
    limit = requirement.limit_ns
    flight_ps, _ = link_floor(link)
    if link.route is None:  # the cable is at least as long as the way over ground, and glass is slower than vacuum
        flight_ps = flight_ps * GROUP_INDEX_PPM // 1_000_000
    expected = flight_ps // 1000 + assumed.equipment_ns if flight_ps else None
    hopeless = link.route is not None and int(link.route.flight) - 2 * link.route.u_ps > limit * 1000
    found = bracket(link)
    free = -(-bracket_budget(policy, limit).expanded // 1000)
    turnaround = 0 if found.turnaround and found.cap_ns >= assumed.turnaround_ns else assumed.turnaround_ns
    rest = limit - free - turnaround + found.reverse_floor_ns - 2 * assumed.equipment_ns
    reach_ns = max(0, rest) // 2
    reach_m = reach_ns * C_M_PER_S * 1_000_000 // (GROUP_INDEX_PPM * 1_000_000_000)
    upper = None if expected is None else 2 * expected + turnaround - found.reverse_floor_ns + free
    suffices, short = [], []
    room = requirement.u_gate_refuse_ns if expected is None else min(requirement.u_gate_refuse_ns, limit - expected)
    for each in EQUIPMENT:
        plain, calibrated = (_expanded(policy, each, made) for made in (None, _calibration(stream)))
        if calibrated <= room:
            suffices.append((each, plain, calibrated))
        else:
            short.append((each, calibrated))
    return Advice(
        requirement.id,
        expected,
        hopeless,
        upper,
        upper is not None and upper <= limit,
        reach_m,
        room,
        tuple(suffices),
        tuple(short),
        _seconds(requirement, stream),
        stream,
    )


def _expanded(policy: Policy, equipment: Equipment, calibration: Calibration | None) -> int:
    """U in ns, rounded up, of a clock-based delay with the equipment at both ends and kernel stamps."""
    claim = ClockClaim("", (equipment.name,), equipment.half_width_ns, equipment.skew_ppb, POLL_NS, "")
    made = clock_budget(
        policy,
        Direction.FORWARD,
        planes=(KERNEL, KERNEL),
        near=claim,
        far=claim,
        shared="",
        calibration=calibration,
    )
    return -(-made.expanded // 1000)


def _calibration(stream: Stream) -> Calibration:
    spread = dict.fromkeys(Direction, CALIBRATED_NS)
    bias = dict.fromkeys(Direction, 0)
    return Calibration("expected", bias, spread, 60_000, stream.rate_pps, stream.size, "kernel/kernel/kernel/kernel")


def _seconds(requirement: Requirement, stream: Stream) -> int:
    """Least time that satisfies the policy's minima of seconds, windows and effective samples a flow."""
    packets = -(-requirement.min_n_eff * requirement.vif_plan[0] * stream.flows // requirement.vif_plan[1])
    if requirement.statistic == "worst-window-median":
        # each window must hold them: where one of window_s does not, no length helps
        return max(requirement.min_seconds, requirement.min_windows * requirement.window_s)
    return max(requirement.min_seconds, -(-packets // stream.rate_pps))


def lines(bench: Bench, policy: Policy, steps: Sequence[Step], assumed: Assumed = Assumed()) -> list[str]:
    """The advice for a whole bench, to be read the evening before."""
    told = [
        f"visit     {bench.name}  {bench.title}  policy {policy.id}",
        f"assumed   {text(assumed.equipment_ns)} of equipment each way, {text(assumed.turnaround_ns)} of turnaround: "
        "not measured, the visit will show",
    ]
    total = 0
    for link in bench.links:
        floor_ps, origin = link_floor(link)
        length = f"{link.route.length_m / 1000:g} km of fibre" if link.route else "no fibre record"
        told.append("")
        told.append(f"link      {link.name}  {link.near.title} → {link.far.title}: {length}")
        if floor_ps:
            told.append(f"          light needs {_about(floor_ps // 1000)} one way ({origin})")
        else:
            told.append("          neither fibre record nor positions: nothing can be foretold; give route = {…}")
        for advice in advise(bench, policy, link, steps, assumed):
            told += [f"  {line}" for line in _told(advice, link)]
            total += advice.stream.duration_ns
        told += [f"  clocks  {line}" for line in _clocks(link)]
    minutes = -(-total // 60_000_000_000)
    return [*told, "", f"streams   about {minutes} min in all, and preflight; links are measured one after the other"]


def _about(ns: int) -> str:
    """To a tenth of a microsecond, upwards: more would claim to know."""
    return text(-(-ns // 100) * 100)


def _told(advice: Advice, link: Link) -> list[str]:
    head = f"{advice.requirement}"
    if advice.hopeless:
        return [f"{head}: FAIL is certain by the fibre record alone; measure to document it, no clock is needed"]
    reach = f"{advice.reach_m // 1000} km"
    told = []
    if advice.round_trip_decides:
        told.append(
            f"{head}: the round trip alone decides (upper bound about {_about(advice.round_trip_ns or 0)}; "
            f"it does up to {reach} of fibre); no GNSS needed"
        )
    else:
        if advice.round_trip_ns is None:
            told.append(f"{head}: the round trip alone decides up to {reach} of fibre; beyond that, clocks must")
        else:
            said = f"upper bound about {_about(advice.round_trip_ns)}; it does up to {reach} of fibre"
            told.append(f"{head}: the round trip alone will not decide ({said})")
        told += [f"  {line}" for line in _equipment(advice)]
    for why in _widen(link) if not advice.round_trip_decides else ():
        told.append(f"  {why}")
    planned = advice.stream.duration_ns // 1_000_000_000
    enough = "as planned" if planned >= advice.seconds else f"but {planned} s are planned: prolong it"
    told.append(
        f"  stream {advice.stream.name}: at least {advice.seconds} s at {advice.stream.rate_pps} packets/s "
        f"over {advice.stream.flows} flows, {enough}"
    )
    return told


def _equipment(advice: Advice) -> list[str]:
    told = []
    if not advice.suffices:
        told.append("no clock known to us leaves room below the limit: expect INDETERMINATE, or a FAIL")
    for each, plain, calibrated in advice.suffices:
        if plain <= advice.room_ns:
            told.append(f"suffices: {each.name}, U {_about(plain)} ({each.origin})")
        else:
            told.append(f"suffices with calibrated ends: {each.name}, U {_about(calibrated)} ({each.origin})")
    for each, calibrated in advice.falls_short:
        told.append(f"too poor: {each.name}, U {_about(calibrated)} even with calibrated ends")
    return told


def _widen(link: Link) -> list[str]:
    """What would let the round trip decide farther out."""
    told = []
    if not link.positions_origin:
        told.append("or survey both positions (position, position_origin): the way back then has a floor to subtract")
    if not link.far_turnaround_qualified:
        told.append("or a key and a qualified reflector: its turnaround may then be subtracted")
    return told


def _clocks(link: Link) -> list[str]:
    told = []
    for site in (link.near, link.far):
        declared = ", ".join(site.clock.sources) or "none"
        told.append(f"{site.name} declares {declared}")
    if link.sync_over_link is None:
        told.append("declare sync_over_link: time that crosses the link under test cannot judge it")
    elif link.sync_over_link:
        told.append("time crosses this link: only the round trip can decide, whatever clocks are brought")
    return told
