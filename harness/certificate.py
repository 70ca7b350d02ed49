"""The certificate: claim, rule, evidence and provenance become the content of result.json.

How doubt is counted. A statement's PASS takes every packet in doubt as an excess, its FAIL takes none of them: a lost
packet is plus infinity for the PASS of both directions, but for the FAIL only of the direction in which a stateful
reflector proves the loss; a received packet without a stamp is plus infinity for the PASS, of the whole time and of
its window, and minus infinity for the FAIL, so no sent packet is left out of either; a stray user-space stamp among
kernel or NIC stamps is kept at face value for the PASS (it can only make the delay longer) and minus infinity for the
FAIL. Where user-space stamps are more than the policy's minority, the whole direction takes the user-space plane's
component. A window in which a flow sent nothing has no effective sample: it is listed, and the direction cannot pass.
What the ends lost themselves counts as lost for the PASS alone; where the far end falls silent until the end, a FAIL
rests on the rows before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np

from harness import gates as gate
from harness.bracket import Bracket, bracket, clock_offset, upper
from harness.budget import Budget
from harness.clock import ClockState
from harness.link import Direction, Link
from harness.measurement import Measurement
from harness.policy import Policy, Requirement
from harness.samples import FAR_INJECTED, FAR_VIRTUAL, RECEIVED, SENT, SENT_LATE, SKIPPED, Column, one_clock_an_end
from harness.series import Series, flows, worst_planes
from harness.statistics import (
    LOST,
    UNKNOWN,
    Estimate,
    Loss,
    Order,
    Ordered,
    block_vif,
    clopper_pearson,
    estimate,
    groups,
    ipdv,
    loss,
    n_needed,
    order,
    restarts,
)
from harness.uncertainty import (
    PLANE_NAMES,
    ClockClaim,
    admissible,
    bracket_budget,
    claim,
    clock_budget,
    pair_budget,
)
from harness.verdict import Claim, Finding, Verdict, decide, roll_up, same_claim, severity

Json = Any
SCHEMA: Final = "millicert-result/1"
PAIR_RULE: Final = "owd-pair/1"
_HALF: Final = Fraction(1, 2)
_SAFE: Final = 1 << 53

REASONS: Final[dict[str, tuple[str, str]]] = {
    "below": (
        "估计值与置信上限加扩展不确定度均不超过限值",
        "estimate and upper confidence bound plus expanded uncertainty do not exceed the limit",
    ),
    "above": (
        "置信下限减扩展不确定度仍超过限值",
        "lower confidence bound less expanded uncertainty exceeds the limit",
    ),
    "route-floor": (
        "按光缆记录，光程时间本身已超过限值",
        "by the fibre record the time of flight alone exceeds the limit",
    ),
    "guard-band": (
        "在约定风险下不能判定：估计值距限值小于保护带",
        "not decided at the agreed risk: the estimate lies within the guard band of the limit",
    ),
    "bracket-below": (
        "不依赖时钟：往返时延给出的上界不超过限值",
        "clock-free: the upper bound from the round trip does not exceed the limit",
    ),
    "bracket-open": (
        "不依赖时钟的上界超过限值，不能据此判定",
        "the clock-free upper bound exceeds the limit, which decides nothing",
    ),
    "pair": (
        "往返时延证明至少一个方向不符合；是哪个方向不能确定",
        "the round trip proves that at least one direction does not conform; which one stays open",
    ),
    "pair-open": ("往返时延不能证明不符合", "the round trip proves no nonconformity"),
    "gate": ("检查未通过", "gates red"),
    "incomplete": ("测量未完成，不能判为符合", "the measurement is incomplete and cannot pass"),
    "no-samples": ("没有可判定的样本", "nothing to judge"),
}
"""Reason key → (zh, en)."""


def judge(measurements: Sequence[Measurement], policy: Policy, provenance: Mapping[str, Json]) -> dict[str, Json]:
    """The content of result.json: integers and strings only, the same for the same input, RFC 8785-able.

    ``provenance`` goes in as given; its list ``incomplete`` (texts) says what else of the plan is missing, its list
    ``links`` names those that must be measured. Raises TypeError for a float anywhere in it.
    """
    loaded = {m.link.name for m in measurements if not m.stream.unloaded}
    studies = [_study(m, policy, loaded) for m in measurements]
    links = list(dict.fromkeys([*provenance.get("links", ()), *(m.link.name for m in measurements)]))
    missing = [str(text) for text in provenance.get("incomplete", ())]
    missing += [text for study in studies for text in study.unfit]
    requirements = []
    for requirement in policy.requirements:
        rows: list[dict[str, Json]] = []
        for study in studies:
            if requirement.id in study.judged:
                rows += _rows(study, requirement)
        measured = {row["link"] for row in rows}
        missing += [f"{requirement.id} was not measured on {link}" for link in links if link not in measured]
        for row in rows:
            missing += [f"{row['measurement']} {requirement.id} {row['direction']}: {why}" for why in row["short"]]
        verdict = roll_up(Verdict(row["verdict"]) for row in rows) if rows else Verdict.INDETERMINATE
        requirements.append(_requirement(requirement, verdict, rows))
    if not measurements:
        missing.append("nothing was measured")
    verdict = roll_up(Verdict(r["verdict"]) for r in requirements) if measurements else Verdict.INVALID
    if missing and verdict is Verdict.PASS:
        verdict = Verdict.INDETERMINATE
    result: dict[str, Json] = _plain(
        {
            "schema": SCHEMA,
            "verdict": str(verdict),
            "complete": not missing,
            "incomplete_reasons": list(dict.fromkeys(missing)),
            "simulated": sorted({*provenance.get("simulated", ()), *(f for study in studies for f in study.simulated)}),
            "policy": policy.model_dump(mode="json", exclude={"requirements"}),
            "provenance": dict(provenance),
            "requirements": requirements,
            "budgets": [b for study in studies for b in study.budgets_as_dicts()],
            "gates": [g.as_dict(study.measurement.id) for study in studies for g in study.gates],
            "streams": [_stream(study) for study in studies],
            "links": _links([study.measurement.link for study in studies]),
            "evidence": [e for study in studies for e in _evidence(study.measurement)],
            "calibrations": [_calibration(study) for study in studies if study.measurement.calibration],
        }
    )
    return result


def without_links(provenance: Mapping[str, Json]) -> dict[str, Json]:
    """The content of result.json where no link was to be certified: nothing measured, nothing missing, no verdict yet.

    What else the run decided comes beside it and makes the verdict.
    """
    missing = [str(text) for text in provenance.get("incomplete", ())]
    result: dict[str, Json] = _plain(
        {
            "schema": SCHEMA,
            "verdict": str(Verdict.INVALID),
            "complete": not missing,
            "incomplete_reasons": missing,
            "simulated": sorted({*provenance.get("simulated", ())}),
            "policy": None,
            "provenance": dict(provenance),
            "requirements": [],
            "budgets": [],
            "gates": [],
            "streams": [],
            "links": [],
            "evidence": [],
            "calibrations": [],
        }
    )
    return result


def _plain(value: Json) -> Json:
    """JSON for RFC 8785: integers beyond 2^53 as decimal text, no floats."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return value if -_SAFE < value < _SAFE else str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, Sequence):
        return [_plain(v) for v in value]
    raise TypeError(f"{type(value).__name__} has no place in a result: {value!r}")


# --- the study of one measurement ---------------------------------------------------------------------------------


@dataclass
class _Flow:
    """What is kept of one flow: figures, no columns."""

    index: int
    port: int
    sent: int
    received: int
    lost: Loss
    restarts: int
    summary: dict[Direction, dict[str, Json]] = field(default_factory=dict)
    unstamped: dict[tuple[Direction, str], int] = field(default_factory=dict)
    clock: dict[tuple[str, Direction], _Worst] = field(default_factory=dict)
    free: dict[str, _Worst] = field(default_factory=dict)
    pair: dict[str, Estimate] = field(default_factory=dict)
    order: dict[str, Order | None] = field(default_factory=dict)
    duplicates: tuple[int, int] = (0, 0)
    minimum_round_trip: int | None = None
    minimum_net: int | None = None
    """Less the turnaround that the far end states."""
    minimum_bounded: int | None = None
    """Less the turnaround that the bracket's tier believes."""


@dataclass(frozen=True)
class _Worst:
    """The estimate that decides for one flow: of the whole time, or of its worst window."""

    estimate: Estimate
    exceedances: int
    """Samples above L - k u_c."""
    above_limit: int
    windows: tuple[dict[str, Json], ...]
    least_n_eff: Fraction
    """Of the whole time, or of the window that has least."""
    window_s: int | None = None


@dataclass
class _Study:
    measurement: Measurement
    policy: Policy
    judged: dict[str, Requirement]
    near: ClockClaim
    far: ClockClaim
    shared: bool
    planes: tuple[int, int, int, int]
    plane_counts: list[dict[int, int]]
    calibrated: bool
    budgets: dict[Direction, Budget]
    bracket: Bracket
    flows: list[_Flow] = field(default_factory=list)
    gates: list[gate.Gate] = field(default_factory=list)
    simulated: tuple[str, ...] = ()
    below: dict[Direction, int] = field(default_factory=dict)
    """Delays below floor - 3 u."""
    negative: dict[Direction, int] = field(default_factory=dict)
    """Delays below -3 u."""
    paths: list[gate.Jump] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    stalls: dict[str, Json] = field(default_factory=dict)
    unsent: int = 0
    """Packets of the flow that lacks most which never left."""
    end_ns: int = 0
    """End of the schedule, ns from the stream's start."""
    unfit: list[str] = field(default_factory=list)
    """What the plan wants of the stream that it cannot say."""
    silent_since: int | None = None
    """From when on nothing was answered any more, see `harness.gates.silence`."""

    def bias(self, direction: Direction) -> int:
        found = self.measurement.calibration
        return found.bias_ns[direction] if found and self.calibrated else 0

    def minimum(self, direction: Direction) -> int | None:
        """Smallest calibrated delay of all flows."""
        return min(
            (f.summary[direction]["min_ns"] for f in self.flows if f.summary[direction]["received"]), default=None
        )

    def label(self, direction: Direction) -> str:
        return self.measurement.link.label(direction)

    def budgets_as_dicts(self) -> list[dict[str, Json]]:
        name = self.measurement.id
        found: list[dict[str, Json]] = [
            {
                "measurement": name,
                "direction": str(d),
                "basis": "clock",
                "requirement": "",
                **self.budgets[d].as_dict("ps"),
            }
            for d in Direction
        ]
        found += [
            {
                "measurement": name,
                "direction": str(d),
                "basis": "clock-free",
                "requirement": r.id,
                **bracket_budget(self.policy, r.limit_ns).as_dict("ps"),
            }
            for r in self.judged.values()
            for d in Direction
        ]
        return found


def _judged_here(m: Measurement, policy: Policy, loaded: Collection[str]) -> tuple[dict[str, Requirement], list[str]]:
    """What is judged on the stream, and what its plan names but it cannot say (texts).

    The plan names it; where the plan's names are none of this policy's (judged again under another), and without a
    plan, it is by the stream's kind: the optical floor on unloaded streams only; the service on loaded ones, or where
    a link has none, on what it has. The rate of the judged stream is the declared one.
    """
    named = [r for r in policy.requirements if r.id in m.serves]
    if named:
        fit = {r.id: r for r in named if m.stream.unloaded or r.measurand != "optical-floor"}
        why = "not judged, a loaded stream says nothing of the optical floor"
        return fit, [f"{m.id} {r.id}: {why}" for r in named if r.id not in fit]
    measurand = {"optical-floor"} if m.stream.unloaded else {"service"}
    if m.link.name not in loaded:
        measurand.add("service")
    return {r.id: r for r in policy.requirements if r.measurand in measurand}, []


def _study(m: Measurement, policy: Policy, loaded: Collection[str]) -> _Study:
    link = m.link
    m = replace(m, samples=one_clock_an_end(m.samples, near_nic=link.stamps == "nic"))
    shared = bool(link.near.clock.shared) and link.near.clock.shared == link.far.clock.shared
    near = claim(link.near, link, m.evidence, m.health.started_ns, m.health.ended_ns)
    far = claim(link.far, link, m.evidence, m.health.started_ns, m.health.ended_ns)
    planes, counts = worst_planes(m.samples, policy.gates.minority_user_ppm)
    calibrated, calibration_gate = gate.calibration_applies(m, [PLANE_NAMES[p] for p in planes])
    budgets = {
        d: clock_budget(
            policy,
            d,
            planes=planes[:2] if d is Direction.FORWARD else planes[2:],
            near=near,
            far=far,
            shared=link.near.clock.shared if shared else "",
            calibration=m.calibration if calibrated else None,
        )
        for d in Direction
    }
    judged, unfit = _judged_here(m, policy, loaded)
    study = _Study(
        m,
        policy,
        judged,
        near,
        far,
        shared,
        planes,
        counts,
        calibrated,
        budgets,
        bracket(link),
    )
    study.unfit = unfit
    study.simulated = _simulated(m)
    study.end_ns = int(m.samples.scheduled.max()) + 1 if len(m.samples) else 0
    study.silent_since = gate.silence(m.samples, m.health.counters.get("late_replies", 0))
    flags = m.samples.flags
    study.counts = {
        "scheduled": len(m.samples),
        "sent": int(np.count_nonzero(flags & SENT)),
        "late": int(np.count_nonzero(flags & SENT_LATE)),
        "skipped": int(np.count_nonzero(flags & SKIPPED)),
    }
    for name in ("lost_forward", "lost_backward", "lost_unknown", "unstamped", "duplicated", "reordered", "restarts"):
        study.counts[name] = 0
    never = np.bincount(m.samples.flow[(flags & (SENT | RECEIVED)) == 0])
    study.unsent = int(never.max()) if never.shape[0] else 0
    study.below = dict.fromkeys(Direction, 0)
    study.negative = dict.fromkeys(Direction, 0)
    width = gate.window_width(m.stream)
    windows = int(m.samples.scheduled.max()) // width + 1 if len(m.samples) else 0
    lows = [np.full(windows, LOST, np.int64) for _ in Direction]
    for series in flows(m.samples, planes):
        study.flows.append(_flow(study, series, lows, width))
    if study.silent_since is not None:
        _before_silence(study, study.silent_since)
    minima = gate.Minima(lows[0], lows[1], width)
    _gates(study, calibration_gate, minima)
    return study


def _simulated(m: Measurement) -> tuple[str, ...]:
    facts = set(m.simulated)
    if bool((m.samples.flags & FAR_INJECTED).any()):
        facts.add(f"far end {m.link.far.name} states an injected clock")
    if bool((m.samples.flags & FAR_VIRTUAL).any()):
        facts.add(f"far end {m.link.far.name} states a virtual interface")
    for site in (m.link.near, m.link.far):
        if site.clock.injected:
            facts.add(f"injected clock at {site.name}")
    for state in m.evidence:
        if state.source != "simulated" and state.identity.startswith("injected:"):
            facts.add(f"simulated {state.source} at {state.site}")
    return tuple(sorted(facts))


def _flow(study: _Study, series: Series, lows: list[Column], width: int) -> _Flow:
    m = study.measurement
    rows = series.samples
    ports = m.link.flow_ports
    got = series.received
    far_seq = rows.far_seq[got]
    again = restarts(far_seq)
    late = m.health.counters.get("late_replies", 0)  # of which flow is not known
    # told in-band too: who restarts while nothing comes back may have counted past its old number by then
    told = m.health.counters.get("reflector_restarts", 0)
    lost = loss(got, rows.far_seq, restarted=again + told > 0, doubled=bool((rows.copies > 1).any()), late=late)
    flow = _Flow(
        series.flow,
        ports[series.flow] if series.flow < len(ports) else series.flow,
        len(series),
        int(np.count_nonzero(got)),
        lost,
        again,
    )
    scheduled = np.ascontiguousarray(rows.scheduled)
    edges = np.searchsorted(scheduled, np.arange(lows[0].shape[0] + 1, dtype=np.int64) * width)
    for i, direction in enumerate(Direction):
        delays = series.one_way(direction, study.bias(direction))
        finite = _finite(delays)
        flow.unstamped[direction, "clock"] = int(np.count_nonzero(delays == UNKNOWN))
        finite.sort()
        flow.summary[direction] = _summary(finite, delays)
        if finite.shape[0]:
            threshold, _ = gate.floor_threshold(m.link, study.budgets[direction].u_c)
            study.below[direction] += int(np.searchsorted(finite, threshold))
            study.negative[direction] += int(np.searchsorted(finite, -(3 * study.budgets[direction].u_c // 1000)))
            _lowest(lows[i], delays, edges, int(finite[0]))
        for requirement in study.judged.values():
            flow.clock[requirement.id, direction] = _clock_based(
                study, requirement, direction, series, delays=delays, finite=finite, lost=lost, scheduled=scheduled
            )
        del delays, finite
    _round_trip(study, series, flow, scheduled)
    flow.order = _orders(series)
    extra = rows.copies[got] - 1
    flow.duplicates = (int(np.count_nonzero(extra > 0)), int(extra.clip(0).sum()))
    total = study.counts
    total["lost_forward"] += lost.forward
    total["lost_backward"] += lost.backward
    total["lost_unknown"] += lost.unknown
    total["unstamped"] += int(np.count_nonzero(got & ~rows.answered))
    total["duplicated"] += flow.duplicates[0]
    total["reordered"] += flow.order["round-trip"].reordered if flow.order["round-trip"] else 0
    total["restarts"] += again
    return flow


def _before_silence(study: _Study, since: int) -> None:
    """Lower bounds and pairs anew from the rows scheduled up to ``since``: a FAIL neither needs nor fears the rest."""
    samples = study.measurement.samples
    head = replace(
        study,
        end_ns=since + 1,
        below=dict.fromkeys(Direction, 0),
        negative=dict.fromkeys(Direction, 0),
        counts=dict.fromkeys(study.counts, 0),
    )
    lows = [np.full(1, LOST, np.int64) for _ in Direction]
    kept = samples.where(samples.scheduled <= since)
    before = {s.flow: _flow(head, s, lows, since + 1) for s in flows(kept, study.planes)}
    for flow in study.flows:
        early = before.get(flow.index)
        flow.pair = early.pair if early else {}
        for key, worst in flow.clock.items():
            lower = early.clock[key].estimate.lower if early else UNKNOWN
            flow.clock[key] = replace(worst, estimate=replace(worst.estimate, lower=lower))


def _finite(delays: Column) -> Column:
    finite: Column = delays[(delays != LOST) & (delays != UNKNOWN)]
    return finite


_PERCENTILES: Final = (
    ("p50_ns", _HALF),
    ("p95_ns", Fraction(95, 100)),
    ("p99_ns", Fraction(99, 100)),
    ("p999_ns", Fraction(999, 1000)),
)


def _summary(finite: Column, delays: Column) -> dict[str, Json]:
    """Figures over the received packets only (RFC 8912 conditional convention)."""
    received = Ordered(finite)
    found: dict[str, Json] = {"received": received.n, "min_ns": None, "max_ns": None, "mean_ns": None}
    for name, p in _PERCENTILES:
        found[name] = received.quantile(p) if received.n else None
    if received.n:
        base = received.at(1)
        found |= {"min_ns": base, "max_ns": received.at(received.n)}
        found["mean_ns"] = base + int((finite - base).sum()) // received.n
        found["pdv_ns"] = found["p999_ns"] - base
    else:
        found["pdv_ns"] = None
    found["ipdv"] = ipdv(delays)
    return found


def _lowest(into: Column, delays: Column, edges: np.ndarray[Any, Any], base: int) -> None:
    """Lower ``into`` to this flow's minima per window, less its own minimum."""
    real = np.where(delays == UNKNOWN, LOST, delays)
    starts = edges[:-1]
    filled = starts < edges[1:]
    if not bool(filled.any()):
        return
    low = np.minimum.reduceat(real, starts[filled])
    low = np.where(low == LOST, LOST, low - base)
    into[filled] = np.minimum(into[filled], low)


# --- estimates ----------------------------------------------------------------------------------------------------


def _alphas(study: _Study, requirement: Requirement, windows: int) -> tuple[Fraction, Fraction]:
    """Risk of the upper bound, and of the lower one: the worst of many decides a FAIL (Bonferroni), all must PASS."""
    alpha = Fraction(*requirement.alpha)
    flow_count = int(study.measurement.samples.flow.max()) + 1
    return alpha, alpha / (flow_count * windows)


def _guarded(requirement: Requirement, budget: Budget) -> int:
    """L - k u_c in ns, rounded down."""
    return (requirement.limit_ns * 1000 - budget.expanded) // 1000


def _window_edges(scheduled: Column, window_ns: int, end: int) -> list[tuple[int, int, int]]:
    """(start s, first row, end row) of every window up to ``end``, empty ones too.

    ``end`` is that of the stream, ns from its start; a rest of less than half a window joins the last one.
    """
    count = max(1, (end + window_ns // 2) // window_ns)
    starts = [i * window_ns for i in range(count)]
    edges = [*(int(np.searchsorted(scheduled, s)) for s in starts), int(scheduled.shape[0])]
    return [(start // 10**9, a, b) for start, (a, b) in zip(starts, itertools.pairwise(edges), strict=True)]


def _clock_based(
    study: _Study,
    requirement: Requirement,
    direction: Direction,
    series: Series,
    *,
    delays: Column,
    finite: Column,
    lost: Loss,
    scheduled: Column,
) -> _Worst:
    doubtful = series.doubtful(direction)
    here, other = (lost.forward, lost.backward) if direction is Direction.FORWARD else (lost.backward, lost.forward)
    guard = _guarded(requirement, study.budgets[direction])
    windows = _window_edges(scheduled, requirement.window_s * 10**9, study.end_ns)
    if requirement.statistic == "quantile":
        unstamped = int(np.count_nonzero(delays == UNKNOWN))
        # a packet lost on the way there never was a packet of the way back
        gone = lost.total - (other if direction is Direction.BACKWARD else 0)
        high = Ordered(finite, lost=gone + unstamped)
        sure = finite
        if doubtful is not None:
            sure = _finite(delays[~doubtful])
            sure.sort()
        proven = max(0, here - gate.own_losses(study.measurement.health))
        low = Ordered(sure, lost=proven, unknown=gone - proven + len(series) - lost.total - int(sure.shape[0]))
        return _quantile(study, requirement, high, low, delays=delays, guard=guard, windows=windows)
    low_delays = delays if doubtful is None else np.where(doubtful, UNKNOWN, delays)
    return _worst_window(study, requirement, delays, low_delays=low_delays, guard=guard, windows=windows)


def _quantile(
    study: _Study,
    requirement: Requirement,
    high: Ordered,
    low: Ordered,
    *,
    delays: Column,
    guard: int,
    windows: list[tuple[int, int, int]],
) -> _Worst:
    p, planned = requirement.quantile, Fraction(*requirement.vif_plan)
    alpha, alpha_low = _alphas(study, requirement, 1)
    vif = max(planned, _vif(np.where(delays == UNKNOWN, LOST, delays), high.quantile(p))) if high.n else planned
    found = estimate(high, low, vif, p=p, alpha=alpha, alpha_low=alpha_low)
    strip = []
    for start, a, b in windows:
        strip.append(_strip(start, _against_pass(delays[a:b]), None))
    return _Worst(found, high.above(guard), high.above(requirement.limit_ns), tuple(strip), found.n_eff)


def _vif(delays: Column, threshold: int) -> Fraction:
    """Block variance of the exceedances of ``threshold``; where the quantile itself is lost, of the losses."""
    above = delays == LOST if threshold == LOST else delays > threshold
    return block_vif(np.flatnonzero(above), int(delays.shape[0]))


def _against_pass(delays: Column) -> Ordered:
    """The sample of a PASS: lost and unstamped packets are infinite."""
    finite = np.sort(_finite(delays))
    return Ordered(finite, lost=int(delays.shape[0] - finite.shape[0]))


def _strip(start: int, part: Ordered, upper_ns: int | None) -> dict[str, Json]:
    received = Ordered(part.values)
    if part.n == 0:
        return {"start_s": start, "n": 0, "min_ns": None, "median_ns": None, "p999_ns": None, "upper_ns": None}
    return {
        "start_s": start,
        "n": part.n,
        "min_ns": received.at(1) if received.n else None,
        "median_ns": _number(part.median()),
        "p999_ns": _number(part.quantile(Fraction(999, 1000))),
        "upper_ns": None if upper_ns is None else _number(upper_ns),
    }


def _worst_window(
    study: _Study,
    requirement: Requirement,
    delays: Column,
    *,
    low_delays: Column,
    guard: int,
    windows: list[tuple[int, int, int]],
) -> _Worst:
    planned = Fraction(*requirement.vif_plan)
    alpha, alpha_low = _alphas(study, requirement, max(1, len(windows)))
    found: list[tuple[Estimate, Ordered, int]] = []
    strip = []
    least: Fraction | None = None
    for start, a, b in windows:
        part = delays[a:b]
        high = _against_pass(part)
        sure = high.values if low_delays is delays else np.sort(_finite(low_delays[a:b]))
        low = Ordered(sure, lost=0, unknown=b - a - int(sure.shape[0]))
        if high.n == 0:
            least = Fraction(0)
            strip.append(_strip(start, high, None))
            continue
        vif = max(planned, _vif(np.where(part == UNKNOWN, LOST, part), high.quantile(_HALF)))
        got = estimate(high, low, vif, p=_HALF, alpha=alpha, alpha_low=alpha_low)
        found.append((got, high, start))
        strip.append(_strip(start, high, got.upper))
    if not found:
        empty = Ordered(np.empty(0, np.int64))
        return _Worst(estimate(empty, empty, planned, p=_HALF, alpha=alpha), 0, 0, tuple(strip), Fraction(0))
    # one that fails by itself is shown with its own figures
    failing = [f for f in found if f[0].lower > 2 * requirement.limit_ns - guard]
    worst, ordered, start = (
        max(failing, key=lambda f: f[0].lower) if failing else max(found, key=lambda f: (f[0].upper, f[0].value))
    )
    lower = max(f[0].lower for f in found)
    worst = Estimate(worst.value, worst.upper, lower, worst.n, worst.vif, worst.p, worst.alpha)
    if least is None:
        least = min(f[0].n_eff for f in found)
    return _Worst(worst, ordered.above(guard), ordered.above(requirement.limit_ns), tuple(strip), least, start)


def _round_trip(study: _Study, series: Series, flow: _Flow, scheduled: Column) -> None:
    """The clock-free side of a flow: bracket, pair rule, minima of the round trip."""
    round_trip, turnaround = series.round_trip, series.turnaround
    missing = int(np.count_nonzero(round_trip == UNKNOWN))
    for direction in Direction:
        flow.unstamped[direction, "clock-free"] = missing
    bound = upper(study.bracket, round_trip, turnaround)
    finite = np.sort(_finite(bound))
    raw = _finite(round_trip)
    flow.minimum_round_trip = int(raw.min()) if raw.shape[0] else None
    flow.minimum_bounded = int(finite[0]) + study.bracket.reverse_floor_ns if finite.shape[0] else None
    both = (round_trip != LOST) & (round_trip != UNKNOWN) & (turnaround != UNKNOWN)
    if bool(both.any()):
        flow.minimum_net = int((round_trip - turnaround.clip(0))[both].min())
    # a reflector that states no time between T2 and T3 does not say how long it took: nothing to subtract
    both &= turnaround > 0
    for direction in Direction:
        doubtful = series.doubtful(direction)
        if doubtful is not None:
            both &= ~doubtful
    net = (round_trip - turnaround)[both]
    net.sort()
    for requirement in study.judged.values():
        guard = _guarded(requirement, bracket_budget(study.policy, requirement.limit_ns))
        windows = _window_edges(scheduled, requirement.window_s * 10**9, study.end_ns)
        if requirement.statistic == "quantile":
            high = Ordered(finite, lost=flow.lost.total + missing)
            low = Ordered(np.empty(0, np.int64), unknown=len(series))
            flow.free[requirement.id] = _quantile(
                study, requirement, high, low, delays=bound, guard=guard, windows=windows
            )
            joint = 1 - 2 * (1 - requirement.quantile)
            if joint > 0:
                # a pair lost in either direction is infinite in one of them
                counters = study.measurement.health.counters
                late = counters.get("late_replies", 0)
                gone = max(0, flow.lost.total - gate.own_losses(study.measurement.health) - late)
                if flow.restarts or counters.get("reflector_restarts", 0):
                    gone = 0  # what a reflector did not answer while it was away is no loss of the link
                low = Ordered(net, lost=gone, unknown=len(series) - gone - int(net.shape[0]))
                pairs = np.where(both, round_trip - turnaround, np.where(round_trip == LOST, LOST, UNKNOWN))
                vif = max(Fraction(*requirement.vif_plan), _vif(pairs, low.quantile(joint)))
                alpha, alpha_low = _alphas(study, requirement, 1)
                flow.pair[requirement.id] = estimate(low, low, vif, p=joint, alpha=alpha, alpha_low=alpha_low)
        else:
            unproven = np.full(bound.shape, UNKNOWN, np.int64)
            flow.free[requirement.id] = _worst_window(
                study, requirement, bound, low_delays=unproven, guard=guard, windows=windows
            )


def _orders(series: Series) -> dict[str, Order | None]:
    """RFC 4737 per way: to the reflector by its counter, back by the order of arrival, and both together."""
    got = series.received
    rows = series.samples
    seq, far, arrival = rows.seq[got], rows.far_seq[got], rows.arrival[got]
    known_far = far.shape[0] > 0 and int(far.min()) >= 0
    known_near = arrival.shape[0] > 0 and int(arrival.min()) >= 0
    by_arrival = _argsort(arrival) if known_near else None
    return {
        "forward": order(seq[_argsort(far)]) if known_far else None,
        "backward": order(far[by_arrival]) if known_far and by_arrival is not None else None,
        "round-trip": order(seq[by_arrival]) if by_arrival is not None else None,
    }


def _argsort(column: Column) -> np.ndarray[Any, np.dtype[np.intp]]:
    if bool((column[1:] > column[:-1]).all()):
        return np.arange(column.shape[0])
    return np.argsort(column, kind="stable")


# --- gates --------------------------------------------------------------------------------------------------------


def _gates(study: _Study, calibration_gate: gate.Gate, minima: gate.Minima) -> None:
    m, policy = study.measurement, study.policy
    near, far, shared = study.near, study.far, study.shared
    found = study.gates
    found += [
        gate.clock("near", near, shared),
        gate.clock("far", far, shared),
        gate.evidence_coverage(near, shared, policy.gates.evidence_gap_ns),
        gate.evidence_coverage(far, shared, policy.gates.evidence_gap_ns),
        gate.shared_clock(m.link, m.evidence),
        gate.sync_topology(m.link, m.evidence),
        gate.reference_change(m.evidence),
        *(gate.clock_agreement(site.name, m.evidence) for site in (m.link.near, m.link.far)),
        gate.leap(m.evidence),
        gate.kernel_steps(m.health),
        *filter(None, [gate.near_rate(m.health, policy, study.planes)]),
        gate.time_scale(study.minimum(Direction.FORWARD), study.minimum(Direction.BACKWARD), m.evidence),
    ]
    for direction in Direction:
        u_c = study.budgets[direction].u_c
        _, u = gate.floor_threshold(m.link, u_c)
        low, below = study.minimum(direction), study.below[direction]
        found.append(gate.floor(direction, low, below, m.link, u))
        found.append(gate.negative(direction, low, study.negative[direction], u_c))
    nets = [f.minimum_bounded for f in study.flows if f.minimum_bounded is not None]
    found.append(gate.round_trip_floor(min(nets, default=None), m.link, policy))
    bounds = 0 if shared else (near.bound_ns or 0) + (far.bound_ns or 0)
    expanded_ns = max(-(-b.expanded // 1000) for b in study.budgets.values())
    threshold = gate.step_threshold(minima, max(bounds, expanded_ns), policy.gates.step_cap_ns)
    jumps = gate.jumps(minima, threshold)
    study.paths = [j for j in jumps if j.kind == "path"]
    found.append(gate.step(jumps, threshold, int(minima.forward.shape[0])))
    found.append(gate.skew(minima, jumps, near, far, shared=shared, expanded_ns=expanded_ns))
    counts = study.counts
    found.append(gate.schedule(counts["scheduled"], counts["sent"], counts["late"], policy))
    found.append(gate.reflector_restart(counts["restarts"] + m.health.counters.get("reflector_restarts", 0)))
    found.append(gate.far_silent(study.silent_since))
    if "far_journal_compared" in m.health.counters:
        found.append(gate.far_journal(m.link, m.health))
    found.append(calibration_gate)
    found.append(gate.rehearsal(policy, study.simulated))
    _stall_summary(study)
    fewest = min((f.sent for f in study.flows), default=0)
    for requirement in study.judged.values():
        share = (1 - requirement.quantile) / 4
        found.append(
            gate.own_loss(requirement.id, m.health, study.unsent, fewest, (share.numerator, share.denominator))
        )
        for direction in Direction:
            expanded = study.budgets[direction].expanded
            found.append(
                gate.uncertainty(
                    requirement.id, direction, expanded, requirement.u_gate_refuse_ns, requirement.u_gate_warn_ns
                )
            )
            for basis in gate.ALL:
                worst = max(
                    ((f.unstamped[direction, basis], f.received) for f in study.flows),
                    key=lambda x: Fraction(x[0], max(1, x[1])),
                    default=(0, 0),
                )
                found.append(gate.unstamped(requirement.id, direction, basis, worst, requirement.max_unstamped_ppm))
            found.append(_stall_gate(study, requirement, direction))


def _stall_summary(study: _Study) -> None:
    stalls = study.measurement.stalls
    late = int(stalls.row.shape[0])
    study.stalls = {
        "late": late,
        "share_ppm": late * 1_000_000 // max(1, 2 * study.counts["sent"]),
        "worst_ns": int(stalls.late_ns.max()) if late else 0,
    }


def _stall_gate(study: _Study, requirement: Requirement, direction: Direction) -> gate.Gate:
    m, stalls = study.measurement, study.measurement.stalls
    here = stalls.direction == (0 if direction is Direction.FORWARD else 1)
    row, late = stalls.row[here], stalls.late_ns[here]
    share = (1 - requirement.quantile) / 4
    most = (share.numerator, share.denominator)
    if row.shape[0] == 0:
        return gate.host_stalls(requirement.id, direction, late=0, worst_ns=0, carried=(0, 0), most=most)
    part = m.samples.where(row)  # an index array selects like a mask
    sent, received = (part.t1, part.t2) if direction is Direction.FORWARD else (part.t3, part.t4)
    known = part.answered
    delay = received - sent - study.bias(direction)
    over = known & (delay > requirement.limit_ns) & (delay - late <= requirement.limit_ns)
    per_flow = np.bincount(part.flow[over], minlength=1)
    sent_by = {f.index: f.sent for f in study.flows}
    worst = max(
        ((int(per_flow[i]), sent_by.get(int(i), 1)) for i in np.flatnonzero(per_flow)),
        key=lambda x: Fraction(x[0], max(1, x[1])),
        default=(0, max((f.sent for f in study.flows), default=0)),
    )
    return gate.host_stalls(
        requirement.id, direction, late=int(row.shape[0]), worst_ns=int(late.max()), carried=worst, most=most
    )


# --- statements and directions ------------------------------------------------------------------------------------


def _number(ns: int) -> int | None:
    return None if ns in {LOST, UNKNOWN} else ns


def _claim(
    study: _Study, requirement: Requirement, basis: str, direction: Direction, *, worst: _Worst, budget: Budget
) -> Claim:
    red = [g for g in study.gates if g.voids(basis, direction, requirement.id)]
    # A record that the round trip contradicts proves nothing, not even that light needs too long.
    contradicted = any(g.id == "round-trip-floor" and g.state == "red" for g in study.gates)
    route = None if contradicted else study.measurement.link.route
    return Claim(
        limit_ns=requirement.limit_ns,
        estimate_ns=worst.estimate.value,
        upper_ns=worst.estimate.upper,
        lower_ns=worst.estimate.lower,
        u_c_ps=budget.u_c,
        k_milli=budget.k_milli,
        route_floor_ps=int(route.flight) if route else None,
        route_u_ps=route.u_ps if route else 0,
        gates_red=tuple(dict.fromkeys(g.id for g in red if not g.pass_only)),
        coverage_red=tuple(dict.fromkeys(g.id for g in red if g.pass_only)),
    )


def _statement(
    study: _Study, requirement: Requirement, basis: str, direction: Direction
) -> tuple[dict[str, Json], dict[int, Verdict]]:
    """One statement with the verdict of every flow on it; the worst flow speaks."""
    clocked = basis == "clock"
    rule = requirement.rules.clock if clocked else requirement.rules.clock_free
    budget = study.budgets[direction] if clocked else bracket_budget(study.policy, requirement.limit_ns)
    decided: list[tuple[Finding, _Flow, _Worst, Claim]] = []
    for flow in study.flows:
        worst = flow.clock[requirement.id, direction] if clocked else flow.free[requirement.id]
        asked = _claim(study, requirement, basis, direction, worst=worst, budget=budget)
        finding = decide(rule, asked) if worst.estimate.n else Finding(Verdict.INVALID, "no-samples")
        decided.append((finding, flow, worst, asked))
    if not decided:
        empty = Ordered(np.empty(0, np.int64))
        nothing = _Worst(
            estimate(empty, empty, Fraction(1), p=requirement.quantile, alpha=Fraction(*requirement.alpha)),
            0,
            0,
            (),
            Fraction(0),
        )
        asked = _claim(study, requirement, basis, direction, worst=nothing, budget=budget)
        finding = Finding(Verdict.INVALID, "no-samples")
        return _statement_dict(
            study, requirement, finding, asked, basis=basis, rule=rule, flow=None, worst=nothing, budget=budget
        ), {}
    finding, flow, worst, asked = max(
        decided, key=lambda d: (severity(d[0].verdict), d[2].estimate.upper, d[2].estimate.value)
    )
    said = _statement_dict(
        study, requirement, finding, asked, basis=basis, rule=rule, flow=flow, worst=worst, budget=budget
    )
    return said, {f.index: d.verdict for d, f, _, _ in decided}


def _statement_dict(
    study: _Study,
    requirement: Requirement,
    finding: Finding,
    asked: Claim,
    *,
    basis: str,
    rule: str,
    flow: _Flow | None,
    worst: _Worst,
    budget: Budget,
) -> dict[str, Json]:
    got = worst.estimate
    zh, en = REASONS[finding.reason]
    red = [*asked.gates_red, *asked.coverage_red]
    if finding.reason == "gate":
        zh, en = f"{zh}：{'、'.join(red)}", f"{en}: {', '.join(red)}"
    settle = _would_settle(requirement, basis, finding, worst, asked)
    # without a bound of both clocks there is no uncertainty to state
    stated = basis != "clock" or study.shared or (study.near.bound_ns is not None and study.far.bound_ns is not None)
    return {
        "rule": rule,
        "basis": basis,
        "verdict": str(finding.verdict),
        "sublabel": finding.sublabel,
        "reason": finding.reason,
        "reason_zh": zh,
        "reason_en": en,
        "gates_red": red,
        "flow": flow.port if flow else None,
        "window_start_s": worst.window_s,
        "estimate_ns": _number(got.value),
        "lower_ns": _number(got.lower),
        "upper_ns": _number(got.upper),
        "infinite": got.upper == LOST,
        "estimate_infinite": got.value == LOST,
        "u_c_ps": budget.u_c if stated else None,
        "k_milli": budget.k_milli,
        "U_ps": budget.expanded if stated else None,
        "nu_eff": budget.nu_eff,
        "worst_case_ps": budget.worst_case if stated else None,
        "n": got.n,
        "n_eff": [got.n_eff.numerator, got.n_eff.denominator],
        "vif": [got.vif.numerator, got.vif.denominator],
        "vif_plan": list(requirement.vif_plan),
        "exceedances": worst.above_limit,
        "exceedances_guarded": worst.exceedances,
        "route_floor_ps": asked.route_floor_ps,
        **settle,
        "measurement": study.measurement.id,
    }


def _would_settle(
    requirement: Requirement, basis: str, finding: Finding, worst: _Worst, asked: Claim
) -> dict[str, Json]:
    """Whether more samples or better clocks would settle an INDETERMINATE; n per flow (and window), u in ps."""
    nothing: dict[str, Json] = {"would_settle": None, "n_needed": None, "u_needed_ps": None}
    if finding.verdict is not Verdict.INDETERMINATE:
        return nothing
    got = worst.estimate
    limit = asked.limit_ps
    if got.value == LOST:
        return nothing | {"would_settle": "fewer losses"}
    if got.value <= asked.limit_ns:
        more = n_needed(worst.exceedances, got.n, requirement.quantile, Fraction(*requirement.alpha))
        needed = None
        if more is not None and got.value * 1000 + asked.guard_ps <= limit:
            needed = -(-more * got.vif.numerator // got.vif.denominator)
        u = None
        if got.upper != LOST and got.upper <= asked.limit_ns:
            u = (limit - got.upper * 1000) * 1000 // asked.k_milli
        better = "better clocks" if basis == "clock" else "a slower-drifting near clock"
        said = [*(["more samples"] if needed is not None else []), *([better] if u is not None else [])]
        joined = " or ".join(said) or f"more samples with {better}"
        return {"would_settle": joined, "n_needed": needed, "u_needed_ps": u}
    if basis != "clock":
        return nothing | {"would_settle": "a clock-based statement, or evidence for a tighter bracket"}
    said = []
    if got.value * 1000 - asked.guard_ps > limit:
        said.append("more samples")
    u = None
    if got.lower > asked.limit_ns:
        said.append("better clocks")
        u = max(0, (got.lower * 1000 - limit - 1) * 1000 // asked.k_milli)
    return {
        "would_settle": " or ".join(said) or "more samples with better clocks",
        "n_needed": None,
        "u_needed_ps": u,
    }


def _short(study: _Study, requirement: Requirement, direction: Direction, basis: str) -> list[str]:
    """What is missing for a PASS: minimum time, windows, effective samples; an interruption."""
    m = study.measurement
    missing = [f"interrupted by {m.interrupted}"] if m.interrupted else []
    if not study.flows:
        return [*missing, "no packet was sent"]
    # by packets, not by the last instant: an exponential schedule ends early or late by chance
    measured = len(m.samples) * 10**9 // m.stream.rate_pps
    wanted = requirement.min_seconds * 10**9
    if measured * 100 < wanted * 98 or m.stream.duration_ns < wanted:
        seconds = min(measured, m.stream.duration_ns) // 10**9
        missing.append(f"{seconds} s measured, {requirement.min_seconds} s required")
    span = int(m.samples.scheduled.max())
    windows = (span + requirement.window_s * 10**9 // 2) // (requirement.window_s * 10**9)
    if windows < requirement.min_windows and not _ends_by_chance(m, requirement, span):
        missing.append(f"{windows} windows measured, {requirement.min_windows} required")
    got, port = min(
        ((f.clock[requirement.id, direction] if basis == "clock" else f.free[requirement.id]).least_n_eff, f.port)
        for f in study.flows
    )
    if got < requirement.min_n_eff:
        missing.append(f"n_eff {int(got)} on flow {port}, {requirement.min_n_eff} required")
    return missing


def _ends_by_chance(m: Measurement, requirement: Requirement, span: int) -> bool:
    """A whole exponential stream of N packets ends within 5 span / sqrt(N) of its duration, and within 2 %."""
    wanted = requirement.min_windows * requirement.window_s * 10**9
    lacking = max(0, wanted - span)
    close = lacking * 50 <= wanted or lacking * lacking * len(m.samples) <= 25 * wanted * wanted
    return m.stream.schedule == "exponential" and len(m.samples) >= m.stream.packets and close


def _rows(study: _Study, requirement: Requirement) -> list[dict[str, Json]]:
    rows = [_direction(study, requirement, direction) for direction in Direction]
    pair = _pair(study, requirement)
    if pair is not None:
        zh, en = REASONS["pair"]
        for row in rows:
            row["pair"] = {"verdict": "FAIL", "reason_zh": zh, "reason_en": en}
            row["reason_zh"] += f"；{zh}"
            row["reason_en"] += f"; {en}"
        rows.append(pair)
    return rows


def _direction(study: _Study, requirement: Requirement, direction: Direction) -> dict[str, Json]:
    m = study.measurement
    based, by_clock = _statement(study, requirement, "clock", direction)
    free, by_bracket = _statement(study, requirement, "clock-free", direction)
    statements = [based, free]
    verdict = same_claim(Verdict(s["verdict"]) for s in statements)
    speaks = next(s for s in statements if s["verdict"] == verdict)
    short = _short(study, requirement, direction, speaks["basis"])
    zh, en = speaks["reason_zh"], speaks["reason_en"]
    if short and verdict is Verdict.PASS:
        verdict = Verdict.INDETERMINATE
        zh, en = REASONS["incomplete"]
        en = f"{en}: {'; '.join(short)}"
        zh = f"{zh}：{'；'.join(short)}"
    per_flow = {i: same_claim([by_clock[i], by_bracket[i]]) for i in by_clock}
    index = next((f for f in study.flows if f.port == speaks["flow"]), None)
    shown = None
    if index is not None:
        basis = speaks["basis"] == "clock"
        shown = index.clock[requirement.id, direction] if basis else index.free[requirement.id]
    return {
        "link": m.link.name,
        "direction": str(direction),
        "label": study.label(direction),
        "measurement": m.id,
        "verdict": str(verdict),
        "reason_zh": zh,
        "reason_en": en,
        "basis": speaks["basis"],
        "interrupted": m.interrupted,
        "short": short,
        "statements": statements,
        "worst_flow": speaks["flow"],
        "single_flow": len(study.flows) == 1,
        "flows": _flow_rows(study, direction, per_flow),
        "windows": list(shown.windows) if shown else [],
        "bracket": _bracket_dict(study, free, direction),
        **_unseen(study),
        "clock_offset_ns": _offset(study),
        "pair": None,
        **_quality(study, direction, index),
    }


def _flow_rows(study: _Study, direction: Direction, verdicts: Mapping[int, Verdict]) -> list[dict[str, Json]]:
    seen = [f for f in study.flows if f.summary[direction]["received"]]
    numbers = groups([f.summary[direction]["min_ns"] for f in seen], study.policy.gates.flow_group_ns)
    group = {f.index: number for f, number in zip(seen, numbers, strict=True)}
    rows = []
    for f in study.flows:
        summary = f.summary[direction]
        rows.append(
            {
                "port": f.port,
                "n": f.sent,
                "received": f.received,
                "min": summary["min_ns"],
                "p50": summary["p50_ns"],
                "p99": summary["p99_ns"],
                "p999": summary["p999_ns"],
                "max": summary["max_ns"],
                "lost": f.lost.total,
                "lost_forward": f.lost.forward,
                "lost_backward": f.lost.backward,
                "lost_unknown": f.lost.unknown,
                "unstamped": f.unstamped[direction, "clock"],
                "floor_group": group.get(f.index),
                "verdict": str(verdicts.get(f.index, Verdict.INVALID)),
            }
        )
    return rows


def _bracket_dict(study: _Study, free: Mapping[str, Json], direction: Direction) -> dict[str, Json]:
    found = study.bracket
    floor_ps, origin = gate.link_floor(study.measurement.link)
    return {
        "tier": found.tier,
        "tier_reason": found.reason_en,
        "tier_reason_zh": found.reason_zh,
        "lower_ps": floor_ps,
        "lower_origin": origin if floor_ps else "",
        "upper_ns": free["upper_ns"],
        "subtracted": found.subtracted,
        "turnaround_cap_ns": found.cap_ns,
        "direction": str(direction),
    }


def _unseen(study: _Study) -> dict[str, Json]:
    """The largest clock error that no gate could have seen, ns, or null and why.

    Round trip without turnaround - both floors + 3 u of the worse direction, rounded up: up to 3 u below the floor
    a delay is still believed. Where that leaves nothing the fibre record is contradicted, which no clock explains.
    """
    link = study.measurement.link
    floor_ps, _ = gate.link_floor(link)
    net = [f.minimum_net for f in study.flows if f.minimum_net is not None]
    zh, en, value = "没有往返样本", "nothing came back with all stamps", None
    if net:
        u = max(gate.floor_threshold(link, b.u_c)[1] for b in study.budgets.values())
        value = -((2 * floor_ps - 3 * u - min(net) * 1000) // 1000)
        zh = en = ""
        if value <= 0 or any(g.id == "round-trip-floor" and g.state == "red" for g in study.gates):
            zh, en, value = "往返时延与光缆记录相矛盾", "the round trip contradicts the fibre record", None
    return {
        "largest_unseen_clock_error_ns": value,
        "largest_unseen_reason": en,
        "largest_unseen_reason_zh": zh,
    }


def _offset(study: _Study) -> list[int] | None:
    """Interval in which far minus near clock must lie, the intersection over all flows; ns."""
    pairs = []
    bias = study.bias(Direction.FORWARD)
    for f in study.flows:
        low = f.summary[Direction.FORWARD]["min_ns"]
        if low is not None and f.minimum_round_trip is not None:
            pairs.append(clock_offset(study.bracket, low + bias, f.minimum_round_trip))
    return [max(p[0] for p in pairs), min(p[1] for p in pairs)] if pairs else None


def _quality(study: _Study, direction: Direction, worst: _Flow | None) -> dict[str, Json]:
    """Loss, variation, order and duplicates: all flows for counts, the worst flow for delays. None of it decides."""
    forward = direction is Direction.FORWARD
    proven = sum(f.lost.forward if forward else f.lost.backward for f in study.flows)
    other = sum(f.lost.backward if forward else f.lost.forward for f in study.flows)
    unknown = sum(f.lost.unknown for f in study.flows)
    entered = sum(f.sent for f in study.flows) - (0 if forward else other)
    alpha = Fraction(25, 1000)
    summary = worst.summary[direction] if worst else None
    orders = [o for f in study.flows if (o := f.order[str(direction)]) is not None]
    received = sum(f.received for f in study.flows)
    doubled, copies = (sum(f.duplicates[i] for f in study.flows) for i in (0, 1))
    return {
        "loss": {
            "sent": entered,
            "lost": proven,
            "unknown_direction": unknown,
            "other_direction": other,
            "events": sum(f.lost.events for f in study.flows),
            "lower_ppb": clopper_pearson(proven, entered, alpha)[0],
            "upper_ppb": clopper_pearson(proven + unknown, entered, alpha)[1],
            "method": "Clopper-Pearson, 95 % two-sided, counts taken as independent",
        },
        "pdv": None if summary is None else {"p999_minus_min_ns": summary["pdv_ns"]},
        "ipdv": None if summary is None else summary["ipdv"],
        "reordering": None
        if not orders
        else {
            "received": sum(o.received for o in orders),
            "reordered": sum(o.reordered for o in orders),
            "extent": max(o.extent for o in orders),
        },
        "duplicates": {
            "received": received,
            "packets": doubled,
            "copies": copies,
            "scope": "round trip",
        },
        "conditional": None
        if summary is None
        else {k: v for k, v in summary.items() if k not in {"ipdv", "pdv_ns"}}
        | {"convention": "RFC 8912: lost excluded"},
    }


def _pair(study: _Study, requirement: Requirement) -> dict[str, Json] | None:
    """A row of its own when the round trip proves that one direction fails: neither direction can hide it."""
    budget = pair_budget(study.policy, requirement.limit_ns, study.planes)
    proven: list[tuple[_Flow, Claim, Estimate]] = []
    red = [g for g in study.gates if g.id == "host-stalls" and g.state == "red" and g.requirement == requirement.id]
    for flow in study.flows:
        got = flow.pair.get(requirement.id)
        if got is None or got.n == 0:
            continue
        asked = Claim(
            limit_ns=2 * requirement.limit_ns,
            estimate_ns=got.value,
            upper_ns=got.upper,
            lower_ns=got.lower,
            u_c_ps=budget.u_c,
            k_milli=budget.k_milli,
            gates_red=tuple(g.id for g in red),
        )
        if decide(PAIR_RULE, asked).verdict is Verdict.FAIL:
            proven.append((flow, asked, got))
    if not proven:
        return None
    flow, asked, got = max(proven, key=lambda p: p[2].lower)
    zh, en = REASONS["pair"]
    worst = _Worst(got, 0, 0, (), got.n_eff)
    said = _statement_dict(
        study,
        requirement,
        Finding(Verdict.FAIL, "pair"),
        asked,
        basis="clock-free",
        rule=PAIR_RULE,
        flow=flow,
        worst=worst,
        budget=budget,
    )
    m = study.measurement
    return {
        "link": m.link.name,
        "direction": "pair",
        "label": f"{m.link.near.name}↔{m.link.far.name}",
        "measurement": m.id,
        "verdict": "FAIL",
        "reason_zh": zh,
        "reason_en": en,
        "basis": "clock-free",
        "interrupted": m.interrupted,
        "short": [],
        "statements": [said],
        "worst_flow": flow.port,
        "single_flow": len(study.flows) == 1,
        "flows": [],
        "windows": [],
        "bracket": None,
        **_unseen(study),
        "clock_offset_ns": _offset(study),
        "pair": None,
        "loss": None,
        "pdv": None,
        "ipdv": None,
        "reordering": None,
        "duplicates": None,
        "conditional": None,
    }


# --- the rest of the record ---------------------------------------------------------------------------------------


def _requirement(r: Requirement, verdict: Verdict, rows: list[dict[str, Json]]) -> dict[str, Json]:
    return {
        "id": r.id,
        "title_zh": r.title_zh,
        "title_en": r.title_en,
        "verdict": str(verdict),
        "measurand": r.measurand,
        "layer": r.layer,
        "limit_ns": r.limit_ns,
        "statistic": r.statistic,
        "p": list(r.p),
        "window_s": r.window_s,
        "alpha": list(r.alpha),
        "min_seconds": r.min_seconds,
        "min_windows": r.min_windows,
        "min_n_eff": r.min_n_eff,
        "vif_plan": list(r.vif_plan),
        "vif_origin": r.vif_origin,
        "year": r.year,
        "source": r.source,
        "origin": r.origin,
        "confirmed": r.confirmed,
        "confirmation": r.confirmation,
        "definition_zh": r.definition_zh,
        "definition_en": r.definition_en,
        "rule_ids": [r.rules.clock, r.rules.clock_free],
        "directions": rows,
    }


_SOURCES: Final = ("none", "user", "kernel", "nic")


def _stream(study: _Study) -> dict[str, Json]:
    m = study.measurement
    s = m.stream
    return {
        "measurement": m.id,
        "link": m.link.name,
        "name": s.name,
        "rate_pps": s.rate_pps,
        "size": s.size,
        "dscp": s.dscp,
        "flows": s.flows,
        "schedule": s.schedule,
        "duration_ns": s.duration_ns,
        "t_max_ns": s.t_max_ns,
        "unloaded": s.unloaded,
        "started_ns": str(m.health.started_ns),
        "ended_ns": str(m.health.ended_ns),
        "interrupted": m.interrupted,
        "counts": dict(study.counts),
        "counters": dict(sorted(m.health.counters.items())),
        "planes": {
            f"t{i + 1}": {_SOURCES[code]: count for code, count in shares.items() if count}
            for i, shares in enumerate(study.plane_counts)
        },
        "planes_judged": [PLANE_NAMES[p] for p in study.planes],
        "near_planes": m.near_planes,
        "path_changes": [
            {"at_ns": j.at_ns, "forward_ns": j.forward_ns, "backward_ns": j.backward_ns} for j in study.paths[:20]
        ],
        "host_stalls": study.stalls,
        "simulated": list(study.simulated),
    }


def _links(links: Sequence[Link]) -> list[dict[str, Json]]:
    """What was declared of every link, each once; of its key only that there is one."""
    found: list[dict[str, Json]] = []
    for link in links:
        end, route = link.endpoint, link.route
        told: dict[str, Json] = {
            "name": link.name,
            "near": link.near.name,
            "far": link.far.name,
            "near_address": end.near_address,
            "far_address": end.far_address,
            "far_port": end.far_port,
            "interface": end.interface,
            "ipv6": ":" in end.far_address,
            "route": None
            if route is None
            else {
                "length_m": route.length_m,
                "group_index_ppm": route.group_index_ppm,
                "u_ps": route.u_ps,
                "origin": route.origin,
            },
            "geodesic_m": link.geodesic_m,
            "positions_origin": link.positions_origin,
            "oxcs": list(link.oxcs),
            "authenticated": link.key_file is not None,
            "ssid": link.ssid,
            "far_clock_trusted": link.far_clock_trusted,
            "far_turnaround_qualified": link.far_turnaround_qualified,
            "turnaround_cap_ns": link.turnaround_cap_ns,
            "sync_over_link": link.sync_over_link,
            "flow_ports": list(link.flow_ports),
        }
        if told not in found:
            found.append(told)
    return found


def _evidence(m: Measurement) -> list[dict[str, Json]]:
    polls: dict[tuple[str, str], list[ClockState]] = {}
    for state in m.evidence:
        polls.setdefault((state.site, state.source), []).append(state)
    return [_evidence_of(m.id, m.link, states) for _, states in sorted(polls.items())]


def _evidence_of(measurement: str, link: Link, states: Sequence[ClockState]) -> dict[str, Json]:
    said = {s.synchronised for s in states}
    words = {frozenset({True}): "all", frozenset({None}): "unknown", frozenset({False}): "none"}
    bounds = [s.bound_ns for s in states if s.bound_ns is not None]
    skews = [s.skew_ppb for s in states if s.skew_ppb is not None]
    leaps = {s.leap_pending for s in states}
    first = states[0]
    site = link.near if first.site == link.near.name else link.far
    return {
        "measurement": measurement,
        "site": first.site,
        "source": first.source,
        "admissible": admissible(site, link, first),
        "polls": len(states),
        "first_ns": str(min(s.at_ns for s in states)),
        "last_ns": str(max(s.at_ns for s in states)),
        "synchronised": words.get(frozenset(said), "some"),
        "max_bound_ns": max(bounds, default=None),
        "bound_unknown": len(states) - len(bounds),
        "max_skew_ppb": max(skews, default=None),
        "tai_utc_s": sorted({s.tai_utc_s for s in states if s.tai_utc_s is not None}),
        "identities": sorted({s.identity for s in states if s.identity}),
        "leap_pending": True if True in leaps else False if leaps == {False} else None,
    }


def _calibration(study: _Study) -> dict[str, Json]:
    found = study.measurement.calibration
    if found is None:
        return {}
    return {
        "measurement": study.measurement.id,
        "id": found.id,
        "expires": "" if found.artefact is None else found.artefact.until,
        "applied": study.calibrated,
        "bias_ns": {str(d): found.bias_ns[d] for d in Direction},
        "spread_ns": {str(d): found.spread_ns[d] for d in Direction},
        "samples": found.samples,
        "rate_pps": found.rate_pps,
        "size": found.size,
        "planes": found.planes,
    }
