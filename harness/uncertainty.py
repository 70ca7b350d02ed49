"""The budgets of delays: what clocks, stamps and calibrations leave open, in integer picoseconds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Final

from harness.artefact import Artefact
from harness.budget import Budget, Component
from harness.clock import ClockState, Part
from harness.link import Direction, Link, Site
from harness.measurement import Calibration
from harness.policy import Policy
from harness.samples import KERNEL, NIC, USER

PLANE_NAMES: Final = {USER: "user", KERNEL: "kernel", NIC: "nic"}
BETTER_INFORMED: Final = frozenset({"simulated", "chrony", "linuxptp", "phc", "counter", "holdover"})
"""Sources that know the clock's error themselves; the kernel only repeats what it was told, plus 500 us a second."""
REFERENCES: Final = frozenset({"gnss"})
"""Sources that speak of the reference a clock follows, not of the clock: never enough alone, always added."""
SYSTEM_CLOCK: Final = frozenset({"kernel", "chrony"})
"""Sources that speak of the system clock and of no PHC."""
_ADMISSIBLE: Final = BETTER_INFORMED | REFERENCES | {"kernel"}


# --- what the evidence says of one clock --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClockClaim:
    """What all admissible evidence of one site's clock says together.

    ``bound_ns`` is the largest bound over all polls, None when no admissible source ever gave one;
    ``refusal`` says why no clock-based statement may rest on it, empty when one may.
    """

    site: str
    sources: tuple[str, ...]
    """Those whose bounds count; all that were polled when none does."""
    bound_ns: int | None
    skew_ppb: int | None
    gap_ns: int
    """Longest time between polls that knew, of the best covered source, run's ends included; -1 without one."""
    refusal: str
    parts: tuple[Part, ...] = ()
    """What ``bound_ns`` is the sum of, each at its largest over all polls; empty: undivided."""

    @property
    def usable(self) -> bool:
        """A clock-based statement may rest on it."""
        return not self.refusal and self.bound_ns is not None


def admissible(site: Site, link: Link, state: ClockState) -> bool:
    """Whether a poll may carry a clock-based verdict; in-band words only of a far end the bench trusts."""
    if state.site != site.name:
        return False
    if state.source in SYSTEM_CLOCK and link.stamps == "nic" and site.name == link.near.name:
        return False  # its packets carry the PHC's time
    if state.source in _ADMISSIBLE:
        return True
    return state.source == "in-band" and site.name == link.far.name and link.far_clock_trusted


def counting(sources: Iterable[str]) -> frozenset[str]:
    """Of the sources that gave a bound for one clock, those whose bounds count: the kernel's only without a better."""
    names = frozenset(sources) - REFERENCES
    return names - {"kernel"} if names & BETTER_INFORMED else names


def claim(site: Site, link: Link, evidence: Sequence[ClockState], started_ns: int, ended_ns: int) -> ClockClaim:
    """The clock of ``site`` by its evidence before, during and after a run; times ns UTC of the observing host.

    None of several sources may deny synchronisation; of those whose bounds count (`counting`) the largest does, and
    the bound of a reference that is watched (`REFERENCES`) is added to it. A poll that does not know whether the
    clock is synchronised, or how well, is a silence: unknown is never yes, and whether the silence is too long is for
    the coverage of the evidence to say.
    """
    polls: dict[str, list[ClockState]] = {}
    denied = ""
    in_band = False
    for state in evidence:
        if admissible(site, link, state):
            polls.setdefault(state.source, []).append(state)
            if state.synchronised is False:
                denied = state.source
        elif state.site == site.name == link.far.name and state.source == "in-band":
            in_band = True
    known = {
        name: [s for s in states if s.synchronised is True and s.bound_ns is not None] for name, states in polls.items()
    }
    good = {name: known[name] for name in sorted(counting(name for name, states in known.items() if states))}
    references = {name: known[name] for name in sorted(REFERENCES & polls.keys())}
    silent = sorted(name for name, states in references.items() if not states)
    if not polls:
        refusal = "only in-band words of a far end that is not trusted" if in_band else "no admissible clock evidence"
    elif denied:
        refusal = f"{denied} says: not synchronised"
    elif not good and references:
        refusal = f"only {'+'.join(sorted(references))}: nothing says how well the clock follows it"
    elif not good:
        refusal = "synchronisation or bound unknown"
    elif silent:
        refusal = f"{'+'.join(silent)}: synchronisation or bound unknown"
    else:
        refusal = ""
    skews = [s.skew_ppb for states in good.values() for s in states if s.skew_ppb is not None]
    gap = min((_gap(states, started_ns, ended_ns) for states in good.values()), default=-1)
    if good and references:
        gap = max(gap, *(_gap(states, started_ns, ended_ns) for states in references.values()))
    bound, parts = _bound(good, references)
    return ClockClaim(
        site.name,
        tuple(sorted(good or polls)) + (tuple(sorted(references)) if good else ()),
        bound,
        max(skews, default=None),
        gap,
        refusal,
        parts,
    )


def _bound(
    good: Mapping[str, Sequence[ClockState]], references: Mapping[str, Sequence[ClockState]]
) -> tuple[int | None, tuple[Part, ...]]:
    """(largest bound of the sources that count plus those of the references, ns; its parts where all are named)."""
    if not good:
        return None, ()
    worst = {name: _parted(states) for name, states in good.items()}
    total, parts = max(worst.values(), key=lambda found: found[0])
    whole = bool(parts)
    for name, states in sorted(references.items()):
        more, named = _parted(states)
        if not named:
            named = (Part(f"参考源（{name}）", f"reference, {name}", more, f"{name}: largest bound over all polls"),)
        total, parts = total + more, (*parts, *named)
    return total, parts if whole else ()


def _parted(states: Sequence[ClockState]) -> tuple[int, tuple[Part, ...]]:
    """(largest bound of one source, ns; its parts, each at its largest, where every poll named them).

    Where parts peak at different polls the bound is their sum, which covers every poll.
    """
    bound = max((s.bound_ns for s in states if s.bound_ns is not None), default=0)
    if not all(s.parts for s in states):
        return bound, ()
    peaks: dict[str, Part] = {}
    for part in itertools.chain.from_iterable(s.parts for s in states):
        if part.name_en not in peaks or part.half_width_ns > peaks[part.name_en].half_width_ns:
            peaks[part.name_en] = part
    total = sum(part.half_width_ns for part in peaks.values())
    if total < bound:  # the source's own sum does not hold: believe the larger, undivided
        return bound, ()
    return total, tuple(peaks.values())


def _gap(states: Sequence[ClockState], started_ns: int, ended_ns: int) -> int:
    """Longest silence of one source from just before the run to just after; an end without a poll counts as far off."""
    at = sorted(s.at_ns for s in states)
    before = [t for t in at if t <= started_ns]
    after = [t for t in at if t >= ended_ns]
    if not before or not after:
        return max(ended_ns - started_ns, 1 << 62)
    inside = [before[-1], *(t for t in at if started_ns < t < ended_ns), after[0]]
    return max((b - a for a, b in itertools.pairwise(inside)), default=0)


# --- budgets ------------------------------------------------------------------------------------------------------


def _rectangle(name_zh: str, name_en: str, ns: int, origin: str) -> Component:
    return Component(name_zh, name_en, ns * 1000, "rectangular", origin)


def _resolution(policy: Policy, end_zh: str, end_en: str) -> Component:
    return Component(
        f"{end_zh}时间戳分辨率",
        f"timestamp resolution, {end_en}",
        policy.resolution_ps,
        "rectangular",
        "whole ns in stamp and wire format",
    )


def plane_bound(policy: Policy, plane: int) -> int:
    """The policy's bound for one uncalibrated timestamp of a plane, ns."""
    return {
        NIC: policy.uncalibrated_nic_plane_ns,
        KERNEL: policy.uncalibrated_kernel_plane_ns,
    }.get(plane, policy.uncalibrated_user_plane_ns)


def _planes(policy: Policy, stamps: Sequence[tuple[int, int]]) -> list[Component]:
    return [
        _rectangle(
            f"T{stamp} 时间戳平面（{PLANE_NAMES[plane]}，未校准）",
            f"T{stamp} timestamp plane ({PLANE_NAMES[plane]}, uncalibrated)",
            plane_bound(policy, plane),
            policy.plane_origin,
        )
        for stamp, plane in stamps
    ]


def clock_budget(
    policy: Policy,
    direction: Direction,
    *,
    planes: tuple[int, int],
    near: ClockClaim,
    far: ClockClaim,
    shared: str,
    calibration: Calibration | None,
) -> Budget:
    """Budget of a clock-based one-way delay (RFC 7679 3.7).

    ``planes``: worst source of the sending and of the receiving stamp. ``shared`` names the one clock of both ends
    and makes the clock terms vanish, else empty. A clock without a usable bound contributes nothing here; its gate
    refuses the statement. With a calibration the clocks count twice: its bias was taken between the same clocks at
    another time.
    """
    parts: list[Component] = []
    ends = (("近端", "near end", near), ("远端", "far end", far))
    if shared:
        parts.append(_rectangle("两端共用时钟", "both ends on one clock", 0, f"bench: shared clock {shared}"))
    else:
        for zh, en, clock in ends:
            if clock.bound_ns is None:
                continue
            origin = f"{'+'.join(clock.sources)}: largest bound over all polls"
            if clock.parts:
                parts += [
                    _rectangle(f"{zh}{p.name_zh}", f"{p.name_en}, {en}", p.half_width_ns, p.origin) for p in clock.parts
                ]
            else:
                parts.append(_rectangle(f"{zh}时钟", f"clock, {en}", clock.bound_ns, origin))
        for zh, en, clock in ends:
            if clock.bound_ns is None or not 0 <= clock.gap_ns < 1 << 62:
                continue
            skew = policy.unknown_skew_ppb if clock.skew_ppb is None else clock.skew_ppb
            origin = policy.unknown_skew_origin if clock.skew_ppb is None else "evidence: largest rate error"
            drift = -(-skew * clock.gap_ns // 1_000_000_000)
            parts.append(_rectangle(f"{zh}两次查询间漂移", f"drift between polls, {en}", drift, origin))
    for zh, en, _ in ends:
        parts.append(_resolution(policy, zh, en))
    if calibration is None:
        numbers = (1, 2) if direction is Direction.FORWARD else (3, 4)
        parts += _planes(policy, list(zip(numbers, planes, strict=True)))
    else:
        parts += _calibrated(direction, calibration, () if shared else (near, far))
    return Budget(tuple(parts))


def _calibrated(direction: Direction, calibration: Calibration, clocks: Sequence[ClockClaim]) -> list[Component]:
    if calibration.artefact is not None:
        return _by_artefact(direction, calibration, calibration.artefact)
    spread = calibration.spread_ns[direction]
    effective = max(2, calibration.samples // 50)
    parts = [
        Component(
            "时间戳平面（零长校准离散）",
            "timestamp planes (spread of the zero-length calibration)",
            spread * 1000,
            "normal",
            f"calibration {calibration.id}: 95 % spread, RFC 7679 3.7.3",
            1960,
            max(1, effective - 1),
        ),
        Component(
            "校准残差",
            "calibration residual",
            -(-spread * 1000 * 1254 // (1000 * max(1, isqrt(effective)))),
            "normal",
            f"calibration {calibration.id}: median of {calibration.samples} packets worth {effective}",
            1960,
            max(1, effective - 1),
        ),
    ]
    parts += [
        _rectangle(
            f"校准时的时钟（{clock.site}）",
            f"clock during the calibration, {clock.site}",
            clock.bound_ns,
            "taken as during the run",
        )
        for clock in clocks
        if clock.bound_ns is not None
    ]
    return parts


def _by_artefact(direction: Direction, calibration: Calibration, artefact: Artefact) -> list[Component]:
    """What an artefact leaves open (RFC 7679 3.7.3, rules 2.6); its clocks are those of its own day.

    The bias in the field is that of one more plugging, which nobody saw: beside the residual of the mean, s itself.
    """
    load = artefact.load(calibration.rate_pps, calibration.size)
    found, plugs = load.found, len(load.plugs)
    named = f"calibration {artefact.id[:16]}, valid until {artefact.until}"
    touched = "re-plugs" if artefact.replugged else "repeats, nothing re-plugged"
    effective = max(2, min(plug.samples for plug in load.plugs) // 50)
    parts = [
        Component(
            "时间戳平面（零长校准离散）",
            "timestamp planes (spread of the zero-length calibration)",
            found.spread_ns[direction] * 1000,
            "normal",
            f"{named}: largest 95 % spread, RFC 7679 3.7.3",
            1960,
            effective - 1,
        ),
        Component(
            "校准残差（重插拔，s/√m）",
            "calibration residual (s/√m of the plugs)",
            found.residual_ps[direction],
            "normal",
            f"{named}: {plugs} {touched}",
            nu=found.nu,
        ),
        Component(
            "现场一次插拔（s）",
            "one plugging in the field (s)",
            found.plug_ps[direction],
            "normal",
            f"{named}: {plugs} {touched}",
            nu=found.nu,
        ),
        Component(
            "校准跳纤", "patch of the calibration", artefact.patch.u_ps, "normal", f"{named}: {artefact.patch.origin}"
        ),
    ]
    if artefact.swapped:
        parts.append(
            Component(
                "端口不对称（互换差之半）",
                "asymmetry of the ports (half the difference on swap)",
                found.swap_ps[direction],
                "normal",
                f"{named}: the field has one orientation or the other, two values: all of it is u",
            )
        )
    if artefact.shared_clock:
        origin = f"{named}: shared clock {artefact.shared_clock}"
        parts.append(_rectangle("校准时两端共用时钟", "both ends on one clock during the calibration", 0, origin))
    return parts + [
        _rectangle(
            f"校准时的时钟（{clock.site}）",
            f"clock during the calibration, {clock.site}",
            clock.half_ns,
            f"{named}: {clock.sources}: largest bound with its drift between polls",
        )
        for clock in artefact.clocks
    ]


def bracket_budget(policy: Policy, limit_ns: int) -> Budget:
    """Budget of the clock-free upper bound T4 - T1 near the limit: one clock's rate and resolution.

    Software planes need no term: a stamp before sending and one after receiving only make T4 - T1 larger.
    """
    return Budget(
        (
            _rectangle(
                "近端时钟速率",
                "rate of the near clock",
                -(-limit_ns * policy.near_rate_ppb // 1_000_000_000),
                policy.near_rate_origin,
            ),
            _resolution(policy, "近端发送", "near end, T1"),
            _resolution(policy, "近端接收", "near end, T4"),
        )
    )


def pair_budget(policy: Policy, limit_ns: int, planes: tuple[int, int, int, int]) -> Budget:
    """Budget of the round trip without turnaround against twice the limit: planes count, clock offsets do not."""
    return Budget(
        (
            _rectangle(
                "两端时钟速率",
                "rate of the clocks",
                -(-2 * limit_ns * policy.near_rate_ppb // 1_000_000_000),
                policy.near_rate_origin,
            ),
            *(_resolution(policy, f"T{i} ", f"T{i}") for i in (1, 2, 3, 4)),
            *_planes(policy, list(zip((1, 2, 3, 4), planes, strict=True))),
        )
    )
