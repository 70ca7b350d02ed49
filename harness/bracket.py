"""The clock-free bracket of a one-way delay: what one clock and the speed of light prove."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.link import Link
from harness.samples import Column
from harness.statistics import LOST, UNKNOWN


@dataclass(frozen=True, slots=True)
class Bracket:
    """Floor <= delay <= T4 - T1 - what the evidence lets be subtracted (rules 5.2)."""

    tier: str
    """"0" nothing subtracted; "0t" turnaround; "1" reverse geodesic floor as well. Tier 2 (an OTDR time of flight
    of the return fibre) needs evidence that the reverse path uses that fibre, which a Link cannot carry."""
    reason_zh: str
    reason_en: str
    turnaround: bool
    """T3 - T2 is subtracted, per packet at most ``cap_ns``."""
    cap_ns: int
    floor_ps: int
    """Geodesic over c between positions of stated origin, else 0: the lower bound of either direction."""

    @property
    def reverse_floor_ns(self) -> int:
        """What is subtracted for the other direction, ns, rounded down so that never too much is."""
        return self.floor_ps // 1000

    @property
    def subtracted(self) -> list[str]:
        """Names of what is subtracted."""
        return ["turnaround"] * self.turnaround + ["reverse-geodesic-floor"] * (self.reverse_floor_ns > 0)


def bracket(link: Link) -> Bracket:
    """The tightest tier a link's evidence allows, with the reason."""
    qualified = bool(link.far_turnaround_qualified) and link.key_file is not None and link.turnaround_cap_ns > 0
    floor = int(link.geodesic_floor or 0) if link.positions_origin else 0
    tier = "1" if floor >= 1000 else "0t" if qualified else "0"
    zh, en = [], []
    if qualified:
        zh.append(f"反射端经鉴别（{link.far_turnaround_qualified}），每包最多扣除 {link.turnaround_cap_ns} ns 转发时间")
        en.append(
            f"reflector authenticated and qualified ({link.far_turnaround_qualified}): "
            f"turnaround subtracted, at most {link.turnaround_cap_ns} ns a packet"
        )
    else:
        zh.append("反射端未鉴别或未设上限，不扣除转发时间")
        en.append("reflector not authenticated and qualified: turnaround not subtracted")
    if floor >= 1000:
        zh.append(f"坐标来源：{link.positions_origin}；扣除反向测地线光程 {floor // 1000} ns")
        en.append(f"positions: {link.positions_origin}; reverse geodesic over c, {floor // 1000} ns, subtracted")
    elif link.geodesic_m is not None and not link.positions_origin:
        zh.append("坐标无来源，不扣除反向下限")
        en.append("nobody answers for the positions: no reverse floor subtracted")
    else:
        zh.append("站点坐标未测，不扣除反向下限")
        en.append("sites not surveyed: no reverse floor subtracted")
    zh.append("无反向光纤的 OTDR 证据，不用第 2 级")
    en.append("no OTDR evidence of the return fibre: tier 2 not used")
    cap = link.turnaround_cap_ns if qualified else 0
    return Bracket(tier, "；".join(zh), "; ".join(en), qualified, cap, floor)


def upper(found: Bracket, round_trip: Column, turnaround: Column) -> Column:
    """Per packet upper bound of either direction, ns; LOST and UNKNOWN stay.

    ``round_trip`` is T4 - T1, ``turnaround`` T3 - T2 or UNKNOWN; a negative turnaround subtracts nothing.
    """
    real = (round_trip != LOST) & (round_trip != UNKNOWN)
    bound = round_trip - found.reverse_floor_ns
    if found.turnaround:
        bound -= np.clip(turnaround, 0, found.cap_ns)
    return np.where(real, bound, round_trip)


def clock_offset(found: Bracket, minimum_forward: int, minimum_round_trip: int) -> tuple[int, int]:
    """Interval of far minus near clock, ns: [min_f - (RTT_min - floor), min_f - floor] (rules 5.4).

    ``minimum_forward`` is the raw minimum of T2 - T1, ``minimum_round_trip`` that of T4 - T1.
    """
    floor = found.reverse_floor_ns
    return minimum_forward - (minimum_round_trip - floor), minimum_forward - floor
