"""Gates: physics and consistency checks, each of which voids only the statements that rest on what it guards."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from harness.artefact import Artefact, check
from harness.budget import root_up
from harness.clock import ClockState
from harness.errors import ArchiveError
from harness.link import Link
from harness.measurement import Calibration, Health, Measurement
from harness.policy import Policy
from harness.samples import NIC, RECEIVED, SENT, Column, Samples
from harness.statistics import LOST
from harness.stream import Stream
from harness.uncertainty import ClockClaim, bracket_budget

State = Literal["green", "red", "not-applicable"]

CLOCK: Final = ("clock",)
"""Guards the clock-based statements."""
ALL: Final = ("clock", "clock-free")

TIME_SCALES: Final = ((37, "TAI/UTC"), (19, "TAI/GPS"), (18, "UTC/GPS"))
"""Whole seconds between time scales since 2017 (rules 6.5)."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One check with what it found; ``direction`` and ``requirement`` empty: all of the measurement."""

    id: str
    state: State
    guards: tuple[str, ...]
    found: str
    limit: str
    remedy_zh: str = ""
    remedy_en: str = ""
    direction: str = ""
    requirement: str = ""
    pass_only: bool = False
    """Only a PASS rests on it: what it doubts already counts against a FAIL."""

    def voids(self, basis: str, direction: str, requirement: str) -> bool:
        """Whether it is red and a statement rests on it."""
        return (
            self.state == "red"
            and basis in self.guards
            and self.direction in {"", direction}
            and self.requirement in {"", requirement}
        )

    def as_dict(self, measurement: str) -> dict[str, object]:
        """The gate for result.json."""
        return {
            "id": self.id,
            "state": self.state,
            "guards": list(self.guards),
            "pass_only": self.pass_only,
            "measurement": measurement,
            "direction": self.direction,
            "requirement": self.requirement,
            "found": self.found,
            "limit": self.limit,
            "remedy_zh": self.remedy_zh,
            "remedy_en": self.remedy_en,
        }


def text(ns: int) -> str:
    """A duration in ns as decimal text with its unit, exact."""
    sign, value = "-" if ns < 0 else "", abs(ns)
    for unit, size in (("s", 10**9), ("ms", 10**6), ("µs", 10**3)):
        if value >= size:
            whole, rest = divmod(value, size)
            digits = f"{rest:0{len(str(size)) - 1}d}".rstrip("0")
            return f"{sign}{whole}{'.' * bool(digits)}{digits} {unit}"
    return f"{sign}{value} ns"


def _state(red: bool) -> State:
    return "red" if red else "green"


# --- clock evidence -----------------------------------------------------------------------------------------------


def clock(end: Literal["near", "far"], claim: ClockClaim, shared: bool) -> Gate:
    """Synchronised with a known bound at every poll, by a source that may carry a verdict."""
    limit = "synchronised, bound known, from an admissible source, at every poll"
    if shared:
        return Gate(f"clock-{end}", "not-applicable", CLOCK, "one clock at both ends", limit)
    sources = "+".join(claim.sources)
    found = claim.refusal or f"{sources}: synchronised, |error| <= {text(claim.bound_ns or 0)}"
    return Gate(
        f"clock-{end}",
        _state(not claim.usable),
        CLOCK,
        f"{claim.site}: {found}",
        limit,
        f"使 {claim.site} 的时钟同步并提供可采信的证据，或只用无时钟区间判定",
        f"synchronise the clock of {claim.site} and provide evidence that may be believed, or rely on the bracket",
    )


def evidence_coverage(claim: ClockClaim, shared: bool, most_ns: int) -> Gate:
    """Polls before, during and after the run without long silences."""
    limit = f"polls before, after, and at most {text(most_ns)} apart"
    if shared or not claim.usable:
        return Gate("evidence-coverage", "not-applicable", CLOCK, f"{claim.site}: no clock to cover", limit)
    uncovered = claim.gap_ns >= 1 << 62
    found = "no poll before or after the run" if uncovered else f"longest silence {text(claim.gap_ns)}"
    return Gate(
        "evidence-coverage",
        _state(uncovered or claim.gap_ns > most_ns),
        CLOCK,
        f"{claim.site}: {found}",
        limit,
        "在测量前、中、后至少每秒查询一次时钟",
        "poll the clock at least once a second before, during and after the run",
    )


def identities(evidence: Sequence[ClockState], site: str) -> set[str]:
    """What a site's evidence says the clock itself is: tokens ``clock:…``. Whom it follows is another matter."""
    words = {s.identity for s in evidence if s.site == site and s.identity}
    return {token for word in words for token in word.replace(",", " ").split() if token.startswith("clock:")}


def shared_clock(link: Link, evidence: Sequence[ClockState]) -> Gate:
    """Two sites declared to run on one clock must say so: same identity at both ends, and one only."""
    limit = "the same clock identity at both ends"
    declared = link.near.clock.shared and link.near.clock.shared == link.far.clock.shared
    if not declared:
        return Gate("shared-clock", "not-applicable", CLOCK, "two clocks", limit)
    near, far = identities(evidence, link.near.name), identities(evidence, link.far.name)
    same = len(near) == 1 and near == far
    found = f"near {', '.join(sorted(near)) or 'unstated'}; far {', '.join(sorted(far)) or 'unstated'}"
    return Gate(
        "shared-clock",
        _state(not same),
        CLOCK,
        found,
        limit,
        "确认两端确为同一时钟并在线给出标识，或去掉 shared 声明",
        "make both ends state the identity of the one clock in-band, or remove the shared declaration",
    )


def sync_topology(link: Link, evidence: Sequence[ClockState]) -> Gate:
    """Time that travels over the link under test hides the asymmetry one wants to see (rules 6.6).

    Red where the bench says so, and where a source that names its server names the link's other end.
    """
    limit = "synchronisation independent of the link under test"
    ends = {link.near.name: link.endpoint.far_address, link.far.name: link.endpoint.near_address}
    caught = sorted(
        {
            f"{s.site}: {s.source} follows {ends[s.site]}, the other end of the link"
            for s in evidence
            if ends.get(s.site) and s.source != "in-band" and ends[s.site] in s.identity.split()
        }
    )
    if link.sync_over_link is None and not caught:
        return Gate("sync-topology", "not-applicable", CLOCK, "not declared whether time crosses the link", limit)
    declared = ["time reaches a site over the link under test"] * bool(link.sync_over_link)
    return Gate(
        "sync-topology",
        _state(bool(declared or caught)),
        CLOCK,
        "; ".join(declared + caught) or "independent of the link",
        limit,
        "改用独立于被测链路的时间源，或只用无时钟区间判定",
        "use a time source that does not cross the link under test, or rely on the bracket",
    )


WATCHED: Final = frozenset({"linuxptp", "gnss", "phc", "counter", "in-band", "holdover"})
"""Sources whose reference must stay the same through a run. chronyd may change its server: each has its own bound."""


def reference_change(evidence: Sequence[ClockState]) -> Gate:
    """No clock changes what it follows during the run (rules 6.6: grandmaster identity, clock class)."""
    seen: dict[tuple[str, str], list[str]] = {}
    for state in sorted(evidence, key=lambda s: s.at_ns):
        words = seen.setdefault((state.site, state.source), [])
        if state.source in WATCHED and state.identity and state.identity not in words[-1:]:
            words.append(state.identity)
    changed = [f"{site} {source}: {' → '.join(words[:5])}" for (site, source), words in seen.items() if len(words) > 1]
    known = any(seen.values())
    return Gate(
        "reference-change",
        "red" if changed else "green" if known else "not-applicable",
        CLOCK,
        "; ".join(changed) or ("none" if known else "no source names what it follows"),
        "every clock follows one reference from before the run until after",
        "查明参考源（主时钟）切换的原因，稳定后重测",
        "find out why the reference (grandmaster) changed, measure again when it is stable",
    )


AT_ONCE_NS: Final = 2 * 10**9
"""Readings of two sources this near in time are about the same clock error: a clock drifts 100 ns in 2 s at 50 ppb."""


def clock_agreement(site: str, evidence: Sequence[ClockState]) -> Gate:
    """Two sources of one site that both measured their clock's offset agree within what both leave open.

    A source with offset o and bound b (which includes |o|) puts the clock into o ± (b − |o|); intervals of readings
    taken at about the same time must meet.
    """
    limit = "the intervals offset ± rest of bound of all sources of a site meet"
    by_source: dict[str, list[tuple[int, int, int]]] = {}
    for s in sorted(evidence, key=lambda s: s.at_ns):
        if s.site == site and s.synchronised and s.offset_ns is not None and s.bound_ns is not None:
            by_source.setdefault(s.source, []).append((s.at_ns, s.offset_ns, s.bound_ns - abs(s.offset_ns)))
    worst: tuple[int, str] | None = None
    for one, other in itertools.combinations(sorted(by_source), 2):
        times = np.array([at for at, _, _ in by_source[other]], np.int64)
        for at, offset, rest in by_source[one]:
            after = int(np.searchsorted(times, at))
            near = min((i for i in (after - 1, after) if 0 <= i < len(times)), key=lambda i: abs(int(times[i]) - at))
            at_other, offset_other, rest_other = by_source[other][near]
            if abs(at_other - at) > AT_ONCE_NS:
                continue
            apart = abs(offset - offset_other)
            beyond = apart - rest - rest_other
            if worst is None or beyond > worst[0]:
                said = f"{one} {text(offset)}, {other} {text(offset_other)}: apart {text(apart)}"
                worst = (beyond, f"{said}, allowed {text(rest + rest_other)}")
    if worst is None:
        return Gate("clock-agreement", "not-applicable", CLOCK, f"{site}: no two sources measured an offset", limit)
    return Gate(
        "clock-agreement",
        _state(worst[0] > 0),
        CLOCK,
        f"{site}: {worst[1]}",
        limit,
        f"{site} 的两个时钟来源互相矛盾：查明哪一个有误后重测",
        f"two sources of time at {site} contradict each other: find out which is wrong, measure again",
    )


def leap(evidence: Sequence[ClockState]) -> Gate:
    """No source announces a leap second."""
    pending = sorted({f"{s.site} {s.source}" for s in evidence if s.leap_pending})
    known = any(s.leap_pending is not None for s in evidence)
    return Gate(
        "leap",
        "red" if pending else "green" if known else "not-applicable",
        CLOCK,
        f"announced by {', '.join(pending)}" if pending else "none announced" if known else "no source says",
        "no leap second announced",
        "闰秒之后再测",
        "measure after the leap second",
    )


def kernel_steps(health: Health) -> Gate:
    """The near CLOCK_REALTIME was not stepped during the run."""
    steps = health.clock_steps_ns
    return Gate(
        "kernel-steps",
        _state(bool(steps)),
        CLOCK,
        ", ".join(text(s) for s in steps[:5]) or "none",
        "no step of CLOCK_REALTIME against CLOCK_MONOTONIC_RAW",
        "停止会跳变时钟的程序后重测",
        "stop what steps the clock, measure again",
    )


def near_rate(health: Health, policy: Policy, planes: Sequence[int]) -> Gate | None:
    """The near clock, which times round trips, was not slewed faster than the budget allows; None where nobody looked.

    A clock that is far off may be slewed by more than a frequency correction: the tick allows 10 %.
    """
    if "near_rate_ppb" not in health.counters:
        return None
    found = health.counters["near_rate_ppb"]
    own = NIC in (planes[0], planes[3])  # a card's clock has a rate of its own
    return Gate(
        "near-rate",
        "not-applicable" if own else _state(found > policy.near_rate_ppb),
        ALL,
        f"rate corrected by at most {found} ppb",
        f"<= {policy.near_rate_ppb} ppb",
        "等近端时钟调整结束后重测",
        "let what slews the near clock finish, measure again",
    )


# --- what the stamps themselves say -------------------------------------------------------------------------------


def time_scale(forward: int | None, backward: int | None, evidence: Sequence[ClockState]) -> Gate:
    """Whole seconds between the clocks that are the distance of two time scales; raw minima in ns."""
    limit = "no offset near 18, 19 or 37 s; one TAI - UTC at all sources"
    offsets = sorted({s.tai_utc_s for s in evidence if s.tai_utc_s})
    found, red = "none", False
    if forward is not None and backward is not None:
        offset = (forward - backward) // 2
        for whole, name in TIME_SCALES:
            if abs(abs(offset) - whole * 10**9) < 4 * 10**8:
                found, red = f"offset {text(offset)}: {name} mixed", True
    if not red and len(offsets) > 1:
        found, red = f"TAI - UTC stated as {', '.join(map(str, offsets))} s", True
    return Gate(
        "time-scale",
        _state(red),
        CLOCK,
        found,
        limit,
        "使两端同用 TAI（检查内核 tai 偏移与 PTP 时标）",
        "use TAI at both ends (check the kernel's tai offset and the PTP time scale)",
    )


def floor(direction: str, minimum: int | None, below: int, link: Link, u_ps: int) -> Gate:
    """No packet beats light: minimum >= floor - 3 u; ``u_ps`` combines clocks, planes and the fibre record."""
    floor_ps, origin = link_floor(link)
    limit = f"minimum >= {text(floor_ps // 1000)} ({origin}) - 3 u, u = {text(u_ps // 1000)}"
    if not floor_ps:
        limit = "minimum >= floor - 3 u"
        return Gate("floor", "not-applicable", CLOCK, "no fibre record, no coordinates", limit, direction=direction)
    if minimum is None:
        return Gate("floor", "not-applicable", CLOCK, "no delay measured", limit, direction=direction)
    return Gate(
        "floor",
        _state(minimum * 1000 < floor_ps - 3 * u_ps),
        CLOCK,
        f"{direction}: minimum {text(minimum)}, {below} packets below",
        limit,
        "检查时钟偏差与光缆长度记录",
        "check the clocks' offset and the fibre record",
    )


def link_floor(link: Link) -> tuple[int, str]:
    """The larger of fibre record and geodesic, ps, with its origin; 0 when neither is known."""
    route = (int(link.route.flight), link.route.origin) if link.route else (0, "")
    geodesic = (int(link.geodesic_floor or 0), "geodesic over c")
    return max(route, geodesic, key=lambda f: f[0])


def floor_threshold(link: Link, u_c_ps: int) -> tuple[int, int]:
    """(lowest credible delay in ns, combined u in ps): floor - 3 u; without any floor it is 0 - 3 u."""
    floor_ps, _ = link_floor(link)
    route_u = link.route.u_ps if link.route and floor_ps == int(link.route.flight) else 0
    u = root_up(u_c_ps * u_c_ps + route_u * route_u)
    return -(-(floor_ps - 3 * u) // 1000), u


def round_trip_floor(minimum: int | None, link: Link, policy: Policy) -> Gate:
    """No round trip beats light: min (T4 - T1) >= 2 floor - 3 u, with one clock, so it needs no other.

    ``minimum`` in ns, net of the turnaround only where tier 0t may subtract it. u combines the fibre record, whose
    error is the same both ways, with the near clock's rate.
    """
    floor_ps, origin = link_floor(link)
    if not floor_ps:
        limit = "T4 - T1 >= 2 floor - 3 u"
        return Gate("round-trip-floor", "not-applicable", ALL, "no fibre record, no coordinates", limit, pass_only=True)
    route_u = 2 * link.route.u_ps if link.route and floor_ps == int(link.route.flight) else 0
    u_c = bracket_budget(policy, -(-2 * floor_ps // 1000)).u_c
    u = root_up(u_c * u_c + route_u * route_u)
    limit = f"T4 - T1 >= {text(2 * floor_ps // 1000)} (twice {origin}) - 3 u, u = {text(u // 1000)}"
    if minimum is None:
        return Gate("round-trip-floor", "not-applicable", ALL, "nothing came back", limit, pass_only=True)
    return Gate(
        "round-trip-floor",
        _state(minimum * 1000 < 2 * floor_ps - 3 * u),
        ALL,
        f"minimum {text(minimum)}",
        limit,
        "远端不在测试台所述位置，或光缆记录有误：核对对端地址与光缆长度",
        "the far end is not where the bench says, or the record is wrong: check the far address and the fibre's length",
        pass_only=True,
    )


def negative(direction: str, minimum: int | None, below: int, u_c_ps: int) -> Gate:
    """No packet arrives before it was sent, by more than 3 u: ``below`` of them do; negative values are kept."""
    limit = f"delay >= -3 u, u = {text(u_c_ps // 1000)}"
    if minimum is None:
        return Gate("negative-delay", "not-applicable", CLOCK, "no delay measured", limit, direction=direction)
    return Gate(
        "negative-delay",
        _state(minimum * 1000 < -3 * u_c_ps),
        CLOCK,
        f"{direction}: minimum {text(minimum)}, {below} packets below",
        limit,
        "两端时钟不一致：重新同步后重测",
        "the clocks disagree: synchronise, measure again",
    )


@dataclass(frozen=True, slots=True)
class Minima:
    """Minima of both directions in successive windows, flows aligned by their own minimum; ns, LOST where empty."""

    forward: Column
    backward: Column
    width_ns: int

    @property
    def offset(self) -> Column:
        """Twice the relative clock, f - r, of the windows that hold both."""
        return (self.forward - self.backward)[self.filled]

    @property
    def filled(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Windows that hold both directions."""
        mask: np.ndarray[tuple[int], np.dtype[np.bool_]] = (self.forward != LOST) & (self.backward != LOST)
        return mask


def window_width(stream: Stream) -> int:
    """Width of the windows for steps: 250 ms, or 500 ms below 80 packets a second."""
    return 250_000_000 if stream.rate_pps >= 80 else 500_000_000


@dataclass(frozen=True, slots=True)
class Jump:
    """A change of level: ``kind`` "clock" when one direction gains what the other loses, else that of the path."""

    at_ns: int
    forward_ns: int
    backward_ns: int
    kind: Literal["clock", "path"]

    @property
    def clock_ns(self) -> int:
        """Change of far minus near clock."""
        return (self.forward_ns - self.backward_ns) // 2


def noise(minima: Minima) -> int:
    """Typical change of the relative clock from window to window, ns (median, so that steps do not count)."""
    offset = minima.offset
    changes = np.sort(np.abs(np.diff(offset)))
    return int(changes[changes.shape[0] // 2]) // 2 if changes.shape[0] else 0


def step_threshold(minima: Minima, tolerance_ns: int, cap_ns: int) -> int:
    """Smallest step that is called one, ns: 1 µs, ``tolerance_ns`` or 8 times the noise, at most ``cap_ns``.

    The tolerance is what the clocks' own bounds allow, or the expanded uncertainty where that is larger: what lies
    inside it changes no statement.
    """
    return min(cap_ns, max(1_000, tolerance_ns, 8 * noise(minima)))


def jumps(minima: Minima, threshold_ns: int) -> list[Jump]:
    """Changes of level by the decomposition of rules 6.4, minima of up to 3 windows against each other.

    One window between the two sides is skipped: the change may lie inside it. A step is seen within 4 windows (1 s;
    3 windows of 500 ms below 80 packets a second, 1.5 s). Windows in which nothing came back are passed over, so that
    what changed in an outage shows after it.
    """
    reach = 3 if minima.width_ns <= 250_000_000 else 2
    filled = np.flatnonzero(minima.filled)
    f, b = minima.forward[filled], minima.backward[filled]
    n = int(f.shape[0])
    if n < 5:
        return []
    pad = np.full(reach, LOST, np.int64)

    def sides(x: Column) -> tuple[Column, Column]:
        lows = np.lib.stride_tricks.sliding_window_view(np.concatenate((pad, x, pad)), reach).min(axis=1)
        return lows[:n], lows[reach + 1 : reach + 1 + n]  # [t - reach, t) and (t, t + reach]

    (f0, f1), (b0, b1) = sides(f), sides(b)
    usable = (f0 != LOST) & (f1 != LOST) & (b0 != LOST) & (b1 != LOST)
    usable[:2] = usable[-2:] = False  # two windows at least on each side
    df, db = np.where(usable, f1 - f0, 0), np.where(usable, b1 - b0, 0)
    opposite = np.where(np.sign(df) * np.sign(db) < 0, np.minimum(np.abs(df), np.abs(db)), 0)
    is_clock = opposite > threshold_ns
    is_path = ~is_clock & (np.maximum(np.abs(df), np.abs(db)) > 2 * threshold_ns)
    found = []
    for mask, kind in ((is_clock, "clock"), (is_path, "path")):
        at = np.flatnonzero(mask)
        for run in np.split(at, np.flatnonzero(np.diff(at) > reach) + 1) if at.shape[0] else []:
            size = np.abs(df[run] - db[run]) if kind == "clock" else np.maximum(np.abs(df[run]), np.abs(db[run]))
            best = int(run[int(size.argmax())])
            jump = Jump(
                int(filled[best]) * minima.width_ns,
                int(df[best]),
                int(db[best]),
                "clock" if kind == "clock" else "path",
            )
            found.append(jump)
    clocks = [j.at_ns for j in found if j.kind == "clock"]
    near = 2 * (reach + 1) * minima.width_ns  # a window beside a clock step can look like a path change
    return sorted(
        (j for j in found if j.kind == "clock" or all(abs(j.at_ns - c) > near for c in clocks)), key=lambda j: j.at_ns
    )


def step(found: Sequence[Jump], threshold_ns: int, windows: int) -> Gate:
    """No step of the relative clock; changes of the path are named, not held against the clock."""
    clocks = [j for j in found if j.kind == "clock"]
    paths = [j for j in found if j.kind == "path"]
    said = [f"clock step {text(j.clock_ns)} at {text(j.at_ns)}" for j in clocks[:5]]
    said += [
        f"path change at {text(j.at_ns)}: forward {text(j.forward_ns)}, backward {text(j.backward_ns)}"
        for j in paths[:5]
    ]
    return Gate(
        "step",
        "not-applicable" if windows < 5 else _state(bool(clocks)),
        CLOCK,
        "; ".join(said) or ("too short to see one" if windows < 5 else "none"),
        f"no opposite change of both directions above {text(threshold_ns)}",
        "测量中时钟发生跳变：稳定后重测",
        "a clock stepped during the run: let it settle, measure again",
    )


_SKEW_POINTS: Final = 100


def slope_ppt(minima: Minima, breaks_ns: Sequence[int]) -> tuple[int, int]:
    """(slope of the relative clock in 1e-12, noise in ns): median of pairwise slopes (Theil-Sen) of window minima.

    Pairs across a change of level in ``breaks_ns`` are left out: a route change is not a skew.
    """
    n = int(minima.forward.shape[0])
    each = max(1, -(-n // _SKEW_POINTS))
    points: list[tuple[int, int, int]] = []
    for i in range(0, n, each):
        f, b = int(minima.forward[i : i + each].min()), int(minima.backward[i : i + each].min())
        if LOST not in {f, b}:
            at = (2 * i + each) * minima.width_ns // 2
            points.append((at, f - b, sum(at > x for x in breaks_ns)))
    slopes = sorted(
        (b[1] - a[1]) * 10**12 // (2 * (b[0] - a[0])) for a, b in itertools.combinations(points, 2) if a[2] == b[2]
    )
    steps = sorted(abs(b[1] - a[1]) // 2 for a, b in itertools.pairwise(points) if a[2] == b[2])
    if not slopes:
        return 0, 0
    return slopes[len(slopes) // 2], steps[len(steps) // 2] if steps else 0


def skew(
    minima: Minima, found: Sequence[Jump], near: ClockClaim, far: ClockClaim, *, shared: bool, expanded_ns: int
) -> Gate:
    """The clocks did not drift apart further than their own bounds allow.

    |s| span <= 2 (a_near + a_far) + the largest of 1 µs, 6 times the noise, and U (timestamp planes wander too).
    """
    ppt, spread = slope_ppt(minima, [j.at_ns for j in found])
    span = int(minima.forward.shape[0]) * minima.width_ns
    drift = abs(ppt) * span // 10**12
    bounds = 0 if shared else 2 * ((near.bound_ns or 0) + (far.bound_ns or 0))
    allowed = bounds + max(1_000, 6 * spread, expanded_ns)
    said = f"{'-' if ppt < 0 else ''}{abs(ppt) // 1000} ppb, {text(drift)} over {text(span)}"
    known = shared or (near.usable and far.usable)
    enough = int(np.count_nonzero(minima.filled)) >= 5
    return Gate(
        "skew",
        _state(drift > allowed) if known and enough else "not-applicable",
        CLOCK,
        said,
        f"relative drift over the run <= {text(allowed)}",
        "时钟相对漂移超过其声明的误差界：检查驯服状态",
        "the clocks drift apart beyond their stated bounds: check what disciplines them",
    )


# --- what the run says of itself ----------------------------------------------------------------------------------


def _ppm(part: int, whole: int) -> int:
    return part * 1_000_000 // whole if whole else 1_000_000


def schedule(scheduled: int, sent: int, late: int, policy: Policy) -> Gate:
    """The packets of the plan left, on time."""
    limits = policy.gates
    red = _ppm(sent, scheduled) < limits.min_sent_ppm or _ppm(late, max(sent, 1)) > limits.max_late_ppm
    return Gate(
        "schedule",
        _state(red),
        ALL,
        f"{sent} of {scheduled} sent, {late} late",
        f"sent >= {limits.min_sent_ppm} ppm, late <= {limits.max_late_ppm} ppm",
        "降低速率或减轻发送主机负载",
        "lower the rate or unburden the sending host",
        pass_only=True,
    )


def unstamped(requirement: str, direction: str, basis: str, worst: tuple[int, int], most_ppm: int) -> Gate:
    """Few received packets lack a stamp; ``worst`` flow's (unstamped, received)."""
    missing, received = worst
    return Gate(
        "unstamped",
        _state(missing > 0 and missing * 1_000_000 > most_ppm * received),
        (basis,),
        f"{direction}: worst flow {missing} of {received} without a stamp",
        f"<= {most_ppm} ppm of the received packets of each flow",
        "降低速率或检查网卡/内核时间戳队列",
        "lower the rate or check the time-stamp queue of NIC and kernel",
        direction,
        requirement,
        pass_only=True,
    )


def host_stalls(
    requirement: str, direction: str, *, late: int, worst_ns: int, carried: tuple[int, int], most: tuple[int, int]
) -> Gate:
    """Releases that the host delayed did not carry too many packets over the limit.

    ``carried``: (packets over the limit only by lateness, packets sent) of the worst flow; ``most``: largest share,
    a quarter of 1 - p.
    """
    over, sent = carried
    return Gate(
        "host-stalls",
        _state(over * most[1] > most[0] * sent) if late else "not-applicable",
        ALL,
        f"{direction}: {late} releases late, worst {text(worst_ns)}; {over} of {sent} of the worst flow over the limit",
        f"carried over the limit <= {most[0]}/{most[1]} of a flow",
        "主机停顿影响仿真光纤：在更空闲的主机上重跑",
        "stalls of the host disturbed the simulated fibre: run again on a quieter machine",
        direction,
        requirement,
    )


def reflector_restart(count: int) -> Gate:
    """The reflector's counter ran through; after a restart nobody can say in which direction packets were lost."""
    return Gate(
        "reflector-restart",
        _state(count > 0),
        ("loss-direction",),
        f"{count} restarts" if count else "none",
        "the reflector's counter never begins again",
        "查明反射端重启原因后重测",
        "find out why the reflector restarted, measure again",
    )


OWN_LOSSES: Final = (
    "receive_overflows",
    "refused",
    "reflector_receive_overflows",
    "reflector_table_full",
    "reflector_send_errors",
)
"""Counters of packets that an end of the measurement lost or refused itself, not the link. A full ring makes the
sender wait: that is the schedule's gate."""


def own_losses(health: Health) -> int:
    """Packets lost by the ends themselves, at most: of which flow and way is not known."""
    return sum(health.counters.get(name, 0) for name in OWN_LOSSES)


def own_loss(requirement: str, health: Health, unsent: int, fewest: int, most: tuple[int, int]) -> Gate:
    """The ends withheld few packets: at most the share ``most``, a quarter of 1 - p, of the smallest flow.

    They lost them, or never sent them: ``unsent`` of the flow that lacks most. What was not asked was not answered in
    time: a port that is held back while the link is slow leaves out just the slow packets. A FAIL counts no loss of
    the ends (`own_losses`), so that only what stands without it rests on this.
    """
    said = [f"{health.counters[name]} {name}" for name in OWN_LOSSES if health.counters.get(name, 0)]
    if unsent:
        said.append(f"{unsent} of one flow never sent")
    return Gate(
        "own-loss",
        _state((own_losses(health) + unsent) * most[1] > most[0] * fewest),
        ALL,
        ", ".join(said) or "none",
        f"<= {most[0]}/{most[1]} of a flow of {fewest} packets",
        "检查反射端是否在运行，并减轻两端主机负载：这些丢包不是链路造成的",
        "check that the reflector runs and unburden both hosts: these losses are not the link's",
        requirement=requirement,
        pass_only=True,
    )


_SILENT_NS: Final = 10 * 10**9
_SILENT_ROWS: Final = 20
"""Fewer unanswered packets at the end may be plain loss."""


def silence(samples: Samples, late_replies: int) -> int | None:
    """From when on nothing was answered on any flow until the end, ns from the start; -1: never anything. None: no.

    A silence is 10 s or a fifth of the stream; replies after t_max are no silence.
    """
    sent = (samples.flags & (SENT | RECEIVED)) != 0
    got = samples.scheduled[(samples.flags & RECEIVED) != 0]
    since = int(got.max()) if got.shape[0] else -1
    rest = samples.scheduled[sent & (samples.scheduled > since)]
    unanswered = int(rest.shape[0])
    if unanswered < _SILENT_ROWS or 2 * late_replies >= unanswered:
        return None
    end = int(rest.max())
    length = end - max(since, 0)
    return since if length >= _SILENT_NS or 5 * length >= end else None


def far_journal(link: Link, health: Health) -> Gate:
    """What the far end's signed journal says of its stamps is what the near end was told, where one is attached.

    Only a PASS rests on it: a far end cannot rid itself of a FAIL by contradicting itself.
    """
    compared = health.counters.get("far_journal_compared", 0)
    differing, missing = (health.counters.get(f"far_journal_{name}", 0) for name in ("differing", "missing"))
    return Gate(
        "far-journal",
        _state(differing > 0 or missing > 0 or not compared),
        # the round trip needs the far end's stamps only where a turnaround is subtracted
        ALL if link.far_turnaround_qualified else CLOCK,
        f"of {compared} replies {differing} with other stamps in the far end's journal, {missing} not in it",
        "every reply in the far end's signed journal with the same stamps",
        "远端签名日志与近端收到的时间戳不一致：见 agreement.json 所列的每一秒，查明后重测",
        "the far end's signed journal contradicts its replies: agreement.json names every second; find out why, "
        "measure again",
        pass_only=True,
    )


def far_silent(since: int | None) -> Gate:
    """The far end answered until the end: a reflector that dies looks like a link that is cut.

    A FAIL counts only the rows before the silence.
    """
    found = "answered until the end"
    if since is not None:
        found = f"the far end or the link fell silent at {text(since)}; loss before that is judged"
    if since == -1:
        found = "the far end or the link was silent from the start"
    return Gate(
        "far-silent",
        _state(since is not None),
        ALL,
        found,
        f"no silence until the end of {text(_SILENT_NS)} or a fifth of the stream",
        "检查反射端与链路是否仍在工作，然后重测",
        "check the reflector and whether the link is up, measure again",
        pass_only=True,
    )


def uncertainty(requirement: str, direction: str, expanded_ps: int, refuse_ns: int, warn_ns: int) -> Gate:
    """U is small enough for a clock-based statement at all."""
    warned = expanded_ps > warn_ns * 1000
    return Gate(
        "uncertainty",
        _state(expanded_ps > refuse_ns * 1000),
        CLOCK,
        f"{direction}: U = {text(-(-expanded_ps // 1000))}{' (above the warning level)' * warned}",
        f"U <= {text(refuse_ns)}, warning above {text(warn_ns)}",
        "改善时钟或做零长校准以减小不确定度",
        "better clocks or a zero-length calibration reduce the uncertainty",
        direction,
        requirement,
    )


def rehearsal(policy: Policy, simulated: Sequence[str]) -> Gate:
    """A rehearsal policy certifies nothing real."""
    return Gate(
        "rehearsal-policy",
        _state(policy.rehearsal and not simulated) if policy.rehearsal else "not-applicable",
        ALL,
        "rehearsal policy on a real link" if policy.rehearsal and not simulated else f"policy {policy.id}",
        "rehearsal policies for simulated runs only",
        "真实链路请用正式策略",
        "use a policy that is not a rehearsal on a real link",
        pass_only=True,
    )


def calibration_applies(measurement: Measurement, planes: Sequence[str]) -> tuple[bool, Gate]:
    """A calibration holds for the planes, frame size and about the rate (factor 2) it was taken at.

    One that was read from an artefact holds for its ports and until it expires, too; it is "refused" then, "not
    applied" is one of the run's own.
    """
    found, stream = measurement.calibration, measurement.stream
    limit = "same planes and frame size, rate within a factor of 2; an artefact: unaltered, of these ports, not expired"
    remedy = ("按本测试的平面、帧长和速率做零长校准", "calibrate back to back with these planes, this size and rate")
    if found is None:
        return False, Gate("calibration", "not-applicable", (), "none: planes enter in full", limit, *remedy)
    wrong = []
    # "kernel+user": the most frequent source first; the median took its bias from that one
    taken = [next((n for n in stamp.split("+") if n != "none"), "none") for stamp in found.planes.split("/")]
    if taken != list(planes):
        wrong.append(f"planes {found.planes}, here {'/'.join(planes)}")
    if found.size != stream.size:
        wrong.append(f"size {found.size}, here {stream.size}")
    if not found.rate_pps <= 2 * stream.rate_pps <= 4 * found.rate_pps:
        wrong.append(f"rate {found.rate_pps} pps, here {stream.rate_pps}")
    if found.artefact is not None:
        wrong += _refusals(measurement, found, found.artefact)
    if wrong:
        refused = "not applied" if found.artefact is None else "refused"
        said = f"{found.id} {refused}, planes enter in full: {'; '.join(wrong)}"
        return False, Gate("calibration", "not-applicable", (), said, limit, *remedy)
    until = "" if found.artefact is None else f", valid until {found.artefact.until}"
    return True, Gate("calibration", "green", (), f"{found.id} applied{until}", limit, *remedy)


def _refusals(measurement: Measurement, found: Calibration, artefact: Artefact) -> list[str]:
    """Why an artefact's calibration may not be subtracted here: altered, expired, simulated or of other ports."""
    wrong = []
    try:
        check(artefact, "the measurement")
        sound = found in [Calibration.of(artefact, load) for load in artefact.loads]
    except ArchiveError as why:
        wrong.append(f"altered: {why.found}")
    else:
        wrong += [] if sound else ["altered: its numbers are not those of its artefact"]
    expired = artefact.expired(measurement.health.started_ns, measurement.health.ended_ns)
    wrong += [expired] if expired else []
    if artefact.simulated and not measurement.simulated:
        wrong.append("it was simulated, the link is real")
    return wrong + artefact.foreign(measurement.near_port)
