"""Which characters can be set: coverage of the shipped fonts, a font of the system for the rest, never an empty box."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from matplotlib.ft2font import FT2Font

from harness.errors import HarnessError

FONTS: Final = Path(__file__).parent / "fonts"

SYSTEM_FONTS: Final = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".local/share/fonts")
"""Where a font for characters outside our subset is looked for."""


class ReportError(HarnessError):
    """A report cannot be set: a character without a font, or a template that Typst refuses."""


@cache
def _cover(path: Path) -> frozenset[int]:
    """Code points that a font file (of a collection its first face) has a glyph for."""
    return frozenset(FT2Font(str(path)).get_charmap())


def uncovered(text: str) -> str:
    """The distinct characters of ``text``, sorted, that the shipped fonts have no glyph for; "" when all have one."""
    shipped = _cover(FONTS / "NotoSansCJKsc-Regular.otf") & _cover(FONTS / "NotoSansCJKsc-Bold.otf")
    return "".join(sorted({c for c in text if ord(c) not in shipped and c not in "\n\t"}))


def system_font(characters: str, places: Iterable[Path]) -> Path:
    """A system font file with a glyph for each of ``characters``, CJK fonts first.

    Raises ReportError, naming the characters, when no single font has them all.
    """
    wanted = {ord(c) for c in characters}
    found = (f for place in places if place.is_dir() for f in place.rglob("*"))
    fonts = (f for f in found if f.suffix.lower() in {".otf", ".ttf", ".ttc"})
    fitting = ("cjk", "sans", "regular")
    files = sorted(fonts, key=lambda f: (*(word not in f.name.lower() for word in fitting), str(f)))
    for file in files:
        try:
            if wanted <= _cover(file):
                return file
        except (OSError, RuntimeError):  # a broken font on this machine is none of our business
            continue
    named = ", ".join(f"{c} (U+{ord(c):04X})" for c in characters)
    raise ReportError(
        "a glyph for every character of the report",
        f"no font for {named}",
        "install a font that has them (Debian: fonts-noto-cjk, fonts-noto-cjk-extra), or write the name without them",
    )
