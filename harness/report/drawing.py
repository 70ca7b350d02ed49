"""Drawing for the report: our font and colours, the same bytes for the same data."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from harness.report.glyphs import FONTS, system_font, uncovered

FAMILY: Final = "millicert report"
INK, GREY, BLUE, RED, GREEN, ORANGE = "#1f2328", "#818b98", "#0b57a4", "#c1121f", "#116329", "#b35c00"


def _family(file: Path, name: str) -> str:
    """Make a font file known to matplotlib under a name that no font of this machine has."""
    manager = font_manager.fontManager
    if not any(entry.name == name for entry in manager.ttflist):
        entry = font_manager.ttfFontProperty(font_manager.get_font(str(file)))
        manager.ttflist.append(dataclasses.replace(entry, name=name))
    return name


@contextmanager
def style(text: str, system_fonts: Iterable[Path]) -> Iterator[None]:
    """Settings under which equal data gives equal bytes: our font, outlines for text, a fixed salt for ids."""
    families = [_family(FONTS / "NotoSansCJKsc-Regular.otf", FAMILY)]
    missing = uncovered(text)
    if missing:
        borrowed = system_font(missing, system_fonts)
        families.append(_family(borrowed, f"{FAMILY}, borrowed {borrowed}"))
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(
            {
                "font.family": families,
                "font.size": 6.5,
                "svg.hashsalt": "millicert",
                "svg.fonttype": "path",
                "axes.linewidth": 0.5,
                "axes.facecolor": "none",
                "axes.edgecolor": GREY,
                "axes.labelcolor": INK,
                "text.color": INK,
                "xtick.color": INK,
                "ytick.color": INK,
                "xtick.major.width": 0.5,
                "ytick.major.width": 0.5,
                "xtick.minor.visible": False,
                "lines.linewidth": 1.1,
                "legend.fontsize": 6.0,
                "legend.frameon": False,
                "axes.grid": True,
                "grid.color": "#e4e8ec",
                "grid.linewidth": 0.4,
                "axes.axisbelow": True,
            }
        )
        yield


def svg(figure: Figure) -> bytes:
    """A figure as SVG without a date."""
    out = io.BytesIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return out.getvalue()
