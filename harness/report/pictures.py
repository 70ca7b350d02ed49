"""Pictures of an acceptance: matrices as heat maps, trends over repeats, spectra, transients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from harness.report import optical
from harness.report.cells import listed
from harness.report.drawing import BLUE, GREY, RED, style, svg
from harness.report.glyphs import SYSTEM_FONTS

Json = Mapping[str, Any]

MOST: Final = 6
"""Curves of one table that are drawn; which, the caption says."""
VERDICTS: Final = ("PASS", "INDETERMINATE", "INVALID", "FAIL")
SHADES: Final = ("#e6f6ea", "#fff3c9", "#f5ebff", "#ffebe9")
WIDTH: Final = 7.1


Cells = Mapping[tuple[int, int], tuple[int | None, str, str]]
"""(in, out) → (worst value over all wavelengths, verdict, side: a bound is no value to be coloured)."""


def matrix(row: Json) -> dict[tuple[int, int], tuple[int | None, str, str]]:
    """The cells of a requirement; empty when it is of no paths."""
    names: Sequence[str] = listed(row, "columns")
    if not listed(row, "rows") or "in" not in names or "out" not in names:
        return {}
    at = {name: index for index, name in enumerate(names)}
    worse = max if row["sense"] == "max" else min
    found: dict[tuple[int, int], tuple[int | None, str, str]] = {}
    for cells in row["rows"]:
        key = (cells[at["in"]], cells[at["out"]])
        if not all(isinstance(part, int) for part in key):
            return {}
        value, verdict, side = cells[at["value"]], str(cells[at["verdict"]]), str(cells[at["side"]])
        before = found.get(key)
        if before is not None:
            values = [each for each in (before[0], value) if each is not None]
            value = worse(values) if values else None
            verdict, side = max(before[1], verdict, key=VERDICTS.index), before[2] or side
        found[key] = (value, verdict, side)
    return found


def _heat(row: Json, cells: Cells) -> Figure:
    """Values on the left, verdicts on the right; a path without a value stays white, one with a bound says so."""
    ingresses, egresses = (sorted({key[side] for key in cells}) for side in (0, 1))
    values = np.full((len(ingresses), len(egresses)), np.nan)
    verdicts = np.full(values.shape, np.nan)
    for (ingress, egress), (value, verdict, side) in cells.items():
        at = ingresses.index(ingress), egresses.index(egress)
        values[at] = np.nan if value is None or side else value
        verdicts[at] = VERDICTS.index(verdict)
    power, name = optical.SCALES[row["unit"]][-1 if row["unit"] in {"udB", "udBm", "MHz"} else 0]
    figure = Figure(figsize=(WIDTH, 2.6), facecolor="none")
    left = figure.add_axes((0.06, 0.15, 0.36, 0.72))
    shown = left.imshow(values / 10**power, aspect="auto", interpolation="nearest", cmap="viridis")
    bar = figure.colorbar(shown, cax=figure.add_axes((0.43, 0.15, 0.012, 0.72)))
    bar.set_label(name)
    right = figure.add_axes((0.57, 0.15, 0.36, 0.72))
    right.imshow(verdicts, aspect="auto", interpolation="nearest", cmap=ListedColormap(SHADES), vmin=-0.5, vmax=3.5)
    for axes, title in ((left, row["id"]), (right, "判定 verdict")):
        axes.set_title(title, fontsize=7)
        axes.set_xlabel("出端口 egress", labelpad=1)
        axes.set_ylabel("入端口 ingress", labelpad=1)
        axes.grid(visible=False)
        for axis, ports in ((axes.xaxis, egresses), (axes.yaxis, ingresses)):
            step = max(1, len(ports) // 16)
            axis.set_ticks(range(0, len(ports), step), labels=[str(port) for port in ports[::step]])
    for (ingress, egress), (_, verdict, side) in cells.items():
        place = (egresses.index(egress), ingresses.index(ingress))
        signs = {"at-least": "≥", "at-most": "≤"}
        if side:
            left.text(*place, signs[side], ha="center", va="center", fontsize=5, color=RED)
        if verdict != "PASS":
            word = verdict[:3] if len(egresses) <= 16 else "×"
            right.text(*place, word, ha="center", va="center", fontsize=4.5, color=RED)
    return figure


def _curve(tables: Sequence[Json]) -> Figure:
    """Tables of two columns or more as curves: the first column along, the others up."""
    figure = Figure(figsize=(WIDTH, 1.7), facecolor="none")
    axes = figure.add_axes((0.07, 0.24, 0.9, 0.64))
    for number, table in enumerate(tables[:MOST]):
        rows = [row for row in table["rows"] if all(isinstance(cell, int) for cell in row[:2])]
        xs, ys = [row[0] for row in rows], [row[1] for row in rows]
        power, _ = optical.SCALES.get(table["unit"], ((0, ""),))[-1 if table["unit"] in {"udB", "udBm"} else 0]
        colour = BLUE if number == 0 else GREY
        axes.plot(
            xs, [y / 10**power for y in ys], color=colour, label=table["name"], marker="." if len(xs) < 30 else None
        )
    first = tables[0]
    axes.set_xlabel(str(first["columns"][0]), labelpad=1)
    axes.set_ylabel(optical.SCALES.get(first["unit"], ((0, ""),))[-1 if first["unit"] in {"udB", "udBm"} else 0][1])
    axes.set_title(f"{first['procedure']}: {', '.join(str(t['name']) for t in tables[:MOST])}", fontsize=6.5)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return figure


def pictures(result: Json, *, system_fonts: Iterable[Path] = SYSTEM_FONTS) -> dict[str, tuple[bytes, str, str]]:
    """Name → (SVG, caption in Chinese, in English) of the acceptance in ``result``; none where there is none.

    Equal data gives equal bytes for one version of matplotlib. Raises ReportError for a character without a font.
    """
    found: Json = result.get("acceptance") or {}
    drawn: dict[str, tuple[bytes, str, str]] = {}
    words = "".join(str(table.get("name")) for table in listed(found, "tables"))
    with style(words, system_fonts):
        for row in listed(found, "requirements"):
            cells = matrix(row)
            sides = [len({key[side] for key in cells}) for side in (0, 1)]
            if min(sides) > 1 and 2 * len(cells) >= sides[0] * sides[1]:  # a sample of paths is no map
                drawn[f"heat-{row['id']}"] = (
                    svg(_heat(row, cells)),
                    f"{row['title_zh']}：全部路径，各波长中最差者",
                    f"{row['title_en']}: every path, the worst of all wavelengths",
                )
        groups: dict[tuple[str, str], list[Json]] = {}
        for table in listed(found, "tables"):
            if len(table["columns"]) >= 2 and table["rows"]:
                groups.setdefault((table["procedure"], str(table["name"]).split(" ", 1)[0]), []).append(table)
        for (procedure, kind), tables in groups.items():
            more = f"；另有 {len(tables) - MOST} 条未画" if len(tables) > MOST else ""
            drawn[f"curve-{procedure}-{kind}"] = (
                svg(_curve(tables)),
                f"{procedure} {kind}{more}",
                f"{procedure} {kind}" + (f"; {len(tables) - MOST} more not drawn" if len(tables) > MOST else ""),
            )
    return drawn
