"""Plots of a measurement: how its delays are distributed, how they went over time; reduced by integers first."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from harness.link import Direction
from harness.measurement import Measurement
from harness.report.drawing import BLUE, GREEN, GREY, ORANGE, RED, style, svg
from harness.report.glyphs import SYSTEM_FONTS
from harness.report.quantity import count, delay, integer, limit
from harness.samples import MISSING, RECEIVED, SENT, Column

Json = Mapping[str, Any]

INFINITE: Final = int(np.iinfo(np.int64).max)
"""The delay of a lost packet."""

_COUNTED_FROM: Final = 1 << 20
"""From this many delays on, counting beats sorting: 36 million in well under a second instead of five."""
_BULK_NS: Final = 1 << 24
_WIDTHS_MS: Final = (
    100,
    200,
    500,
    *(1000 * s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)),
)


@dataclasses.dataclass(frozen=True)
class Ccdf:
    """Points of a complementary distribution: ``beyond[i]`` of ``n`` delays are longer than ``delay_ns[i]``."""

    delay_ns: Column
    beyond: Column
    n: int
    """All delays, the infinite ones of lost packets too."""
    lost: int


@dataclasses.dataclass(frozen=True)
class Strip:
    """Windows over time; all columns of equal length, windows without a packet left out.

    ``median_ns`` and ``p999_ns`` are inverse-ECDF quantiles, INFINITE where losses reach them.
    """

    width_ns: int
    start_ns: Column
    n: Column
    lost: Column
    min_ns: Column
    median_ns: Column
    p999_ns: Column


def _at_ranks(delays: Column, ranks: Column) -> Column:
    """Order statistics at ascending 1-based ``ranks``, exact; many equal values cost no full sort.

    Values up to _BULK_NS above the smallest are counted, only the rest is sorted.
    """
    if delays.shape[0] < _COUNTED_FROM:
        return np.sort(delays)[ranks - 1]
    low = int(delays.min())
    bulk = delays < low + _BULK_NS
    upto = np.cumsum(np.bincount(delays[bulk] - low))
    inside = int(upto[-1])
    counted = low + np.searchsorted(upto, ranks[ranks <= inside])
    return np.concatenate([counted, np.sort(delays[~bulk])[ranks[ranks > inside] - inside - 1]])


def ccdf_data(delays: Column, points: int = 400) -> Ccdf:
    """Reduce delays (ns, INFINITE for a lost packet, any order) to at most ``points`` exact order statistics.

    Ranks are spaced evenly in the logarithm of the share beyond, so the tail keeps every sample.
    """
    n, lost = int(delays.shape[0]), int(np.count_nonzero(delays == INFINITE))
    finite = n - lost
    if finite == 0:
        return Ccdf(np.empty(0, np.int64), np.empty(0, np.int64), n, n)
    rank = n + 1 - np.unique(np.geomspace(1, n, points).astype(np.int64))
    rank = np.unique(np.append(rank[rank <= finite], (1, finite)))
    return Ccdf(_at_ranks(delays, rank), n - rank, n, lost)


def strip_data(scheduled: Column, delays: Column, windows: int = 120) -> Strip:
    """Reduce delays (as for `ccdf_data`) at ``scheduled`` (ns from start, ascending) to at most ``windows`` windows."""
    if scheduled.shape[0] == 0:
        none = np.empty(0, np.int64)
        return Strip(1, none, none, none, none, none, none)
    length = int(scheduled[-1]) + 1
    width = next((w * 10**6 for w in _WIDTHS_MS if length <= w * 10**6 * windows), -(-length // windows))
    starts = np.arange(0, length, width, dtype=np.int64)
    edges = np.append(np.searchsorted(scheduled, starts), scheduled.shape[0])
    rows = []
    for start, first, last in zip(starts, edges[:-1], edges[1:], strict=True):
        if first == last:
            continue
        part = np.sort(delays[first:last])
        n = int(part.shape[0])
        rows.append(
            (
                int(start),
                n,
                n - int(np.searchsorted(part, INFINITE)),
                int(part[0]),
                int(part[-(-n // 2) - 1]),
                int(part[-(-999 * n // 1000) - 1]),
            )
        )
    return Strip(width, *np.array(rows, np.int64).T)


def delays_of(measurement: Measurement, direction: Direction, *, calibrated: bool) -> tuple[Column, Column]:
    """(scheduled, delay) of every packet sent whose fate is known, ns, lost INFINITE.

    ``calibrated``: the calibration bias is subtracted, as the judge did.
    """
    s = measurement.samples
    first, last = (s.t1, s.t2) if direction is Direction.FORWARD else (s.t3, s.t4)
    bias = measurement.calibration.bias_ns.get(direction, 0) if calibrated and measurement.calibration else 0
    stamped = (first != MISSING) & (last != MISSING) & ((s.flags & RECEIVED) != 0)
    lost = ((s.flags & SENT) != 0) & ((s.flags & RECEIVED) == 0)
    known = stamped | lost
    return s.scheduled[known], np.where(lost, INFINITE, last - first - bias)[known]


def round_trips(measurement: Measurement) -> Column:
    """T4 - T1 - (T3 - T2) of every packet, lost INFINITE, ns: needs no clock to agree with another."""
    s = measurement.samples
    lost = ((s.flags & SENT) != 0) & ((s.flags & RECEIVED) == 0)
    return np.asarray(np.where(lost, INFINITE, (s.t4 - s.t1) - (s.t3 - s.t2))[s.answered | lost], np.int64)


def _calibrated(result: Json, measurement: str) -> bool:
    """Whether the judge subtracted a calibration from a measurement."""
    return any(c.get("measurement") == measurement and c.get("applied") for c in result.get("calibrations") or [])


def _judged(result: Json, measurement: str, direction: Direction) -> tuple[Json, Json]:
    """The requirement and direction of the result that rest on a measurement; empty mappings where there is none."""
    for requirement in result.get("requirements") or []:
        for found in requirement.get("directions") or []:
            if found.get("measurement") == measurement and found.get("direction") == direction.value:
                return requirement, found
    return {}, {}


def _us(column: Column) -> npt.NDArray[np.float64]:
    """µs from ns, for drawing only."""
    return np.asarray(column / 1000.0, np.float64)


def _line(axes: Axes, ns: int | None, colour: str, name: str, style: str = "--") -> None:
    """A vertical line at a delay, with name and value in the legend."""
    if ns is not None:
        axes.axvline(ns / 1000, color=colour, linestyle=style, linewidth=0.9, label=name)


def _panels(height: float, below: float) -> tuple[Figure, tuple[Axes, Axes]]:
    """Two panels beside each other with ``below`` inches under them for labels and a legend that hides no data."""
    width = 7.1
    figure = Figure(figsize=(width, height), facecolor="none")  # what lies under it, SIMULATED, must stay visible
    size = (3.02 / width, (height - below - 0.22) / height)
    left, right = (figure.add_axes((x / width, below / height, *size)) for x in (0.45, 4.02))
    return figure, (left, right)


def _legend(axes: Axes, columns: int) -> None:
    """The legend under the label of the x axis, 0.32 inches below the axes."""
    if not axes.get_legend_handles_labels()[0]:
        return
    figure = axes.figure
    height = axes.get_position().height * figure.get_figheight()  # type: ignore[union-attr]
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.13, -0.32 / height),
        ncols=columns,
        handlelength=1.4,
        handletextpad=0.5,
        columnspacing=1.1,
        borderaxespad=0,
        borderpad=0,
        labelspacing=0.3,
    )


def _draw_ccdf(axes: Axes, measurement: Measurement, result: Mapping[str, Any], direction: Direction) -> None:
    requirement, judged = _judged(result, measurement.id, direction)
    delays = delays_of(measurement, direction, calibrated=_calibrated(result, measurement.id))[1]
    data, free = ccdf_data(delays), ccdf_data(round_trips(measurement))
    limit_ns = integer(requirement.get("limit_ns"))
    floor_ps = integer((judged.get("bracket") or {}).get("lower_ps"))
    clock: Json = next((s for s in judged.get("statements") or [] if s.get("basis") == "clock"), {})
    void = clock.get("verdict") == "INVALID"
    if data.delay_ns.size:
        axes.step(
            _us(data.delay_ns),
            np.maximum(data.beyond, 0.5) / data.n,
            where="post",
            color=GREY if void else BLUE,
            linestyle=":" if void else "-",
            label="基于时钟（无效） clock-based (INVALID)" if void else "基于时钟 clock-based",
        )
    if free.delay_ns.size:
        axes.step(
            _us(free.delay_ns),
            np.maximum(free.beyond, 0.5) / free.n,
            where="post",
            color=ORANGE,
            linewidth=0.7,
            label="往返减周转 RTT − turnaround",
        )
    upper = integer(clock.get("upper_ns"))
    if limit_ns is not None:
        _line(axes, limit_ns, RED, f"L = {limit(limit_ns)}", "-")
    if not void:
        _line(axes, upper, BLUE, f"UCB = {delay(upper)}")
    if floor_ps is not None:
        _line(axes, floor_ps // 1000, GREEN, f"下限 floor = {delay(estimate_ps=floor_ps, rounding='down')}", "-.")
    if requirement.get("statistic") == "quantile":
        numerator, denominator = (int(x) for x in requirement["p"])
        axes.axhline(1 - numerator / denominator, color=GREY, linewidth=0.5, linestyle=":")
    axes.set_yscale("log")
    axes.set_ylim(0.4 / max(data.n, 10), 1.6)
    # A few stray delays must not squeeze the rest: beyond twice the limit the curve leaves the frame, and says so.
    marks = [x for x in (limit_ns, upper, floor_ps // 1000 if floor_ps else None) if x is not None]
    marks += [int(x) for d in (data.delay_ns, free.delay_ns) if d.size for x in d[[0, -1]]]
    right = max(marks, default=1_000_000)
    if limit_ns is not None:
        right = min(right, max(2 * limit_ns, upper or 0))
    left = max(min(marks, default=0), right - 20 * (limit_ns or right))
    pad = max((right - left) // 20, 1)
    axes.set_xlim((left - pad) / 1000, (right + pad) / 1000)
    notes = [measurement.link.label(direction), f"n = {count(data.n)}"]
    if data.delay_ns.size and int(data.delay_ns[-1]) > right + pad:
        notes.append(f"最大 max {delay(int(data.delay_ns[-1]))} →")
    if data.lost:
        notes.append(f"丢包 lost {count(data.lost)}")
    axes.set_title("  ·  ".join(notes), fontsize=7)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("时延 delay / µs", labelpad=1)
    axes.set_ylabel("P(时延 delay > x)")
    _legend(axes, 3)


def _draw_strip(axes: Axes, measurement: Measurement, result: Mapping[str, Any], direction: Direction) -> None:
    requirement, _ = _judged(result, measurement.id, direction)
    data = strip_data(*delays_of(measurement, direction, calibrated=_calibrated(result, measurement.id)))
    minutes = data.start_ns / 60e9
    axes.set_title(measurement.link.label(direction), fontsize=7)
    if data.n.size:
        for column, colour, name in (
            (data.p999_ns, ORANGE, "P99.9"),
            (data.median_ns, BLUE, "中位 median"),
            (data.min_ns, GREEN, "最小 min"),
        ):
            finite = np.where(column == INFINITE, np.nan, _us(column))
            axes.plot(
                minutes, finite, color=colour, linewidth=0.9, label=name, marker="." if minutes.size < 3 else None
            )
        bad = data.p999_ns == INFINITE
        if bad.any():
            axes.plot(
                minutes[bad],
                np.full(int(bad.sum()), 0.97),
                transform=axes.get_xaxis_transform(),
                color=RED,
                linestyle="none",
                marker="v",
                markersize=3,
                label="P99.9 = ∞",
            )
        top = axes.get_ylim()[1]
        limit_ns = integer(requirement.get("limit_ns"))
        if limit_ns is not None and limit_ns / 1000 < top:
            axes.axhline(limit_ns / 1000, color=RED, linewidth=0.9, label=f"L = {limit(limit_ns)}")
        _legend(axes, 4)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.ticklabel_format(useOffset=False, style="plain")
    axes.set_xlabel(f"时间 time / min（窗 window {limit(data.width_ns)}）", labelpad=1)
    axes.set_ylabel("时延 delay / µs")


def plots(
    measurements: Sequence[Measurement], result: Mapping[str, Any], *, system_fonts: Iterable[Path] = SYSTEM_FONTS
) -> dict[str, bytes]:
    """Two SVG plots for each measurement, both directions beside each other: "<id>-ccdf" and "<id>-strip".

    Equal data gives equal bytes for one version of matplotlib. All flows are drawn together, lost packets included.
    Raises ReportError when a site's name has a character without a font.
    """
    labels = "".join(m.link.label(d) for m in measurements for d in Direction)
    drawn: dict[str, bytes] = {}
    with style(labels, system_fonts):
        for measurement in measurements:
            for kind, draw, height, below in (("ccdf", _draw_ccdf, 1.5, 0.6), ("strip", _draw_strip, 1.04, 0.48)):
                figure, panels = _panels(height, below)
                for axes, direction in zip(panels, Direction, strict=True):
                    draw(axes, measurement, result, direction)
                drawn[f"{measurement.id}-{kind}"] = svg(figure)
    return drawn
