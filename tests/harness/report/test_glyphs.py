"""Never an empty box: every character has a font, or is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]

from harness.errors import HarnessError
from harness.report import pdf as module
from harness.report.glyphs import FONTS, ReportError, uncovered
from harness.report.pdf import pdf
from harness.report.plots import plots

Result = dict[str, Any]


def render(result: Result, system: Path) -> bytes:
    return pdf(result, {}, b"{}", timestamp=1_795_351_026, system_fonts=[system])


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A machine with a broken font, and one with a single glyph, a square, for U+20BB7."""
    (tmp_path / "broken.otf").write_bytes(b"no font")
    pen = TTGlyphPen(None)
    for step, at in enumerate([(0, 0), (0, 800), (800, 800), (800, 0)]):
        (pen.lineTo if step else pen.moveTo)(at)
    pen.closePath()
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", "rare"])
    font.setupCharacterMap({0x20BB7: "rare"})
    font.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "rare": pen.glyph()})
    font.setupHorizontalMetrics({".notdef": (1000, 0), "rare": (1000, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": "Rare", "styleName": "Regular", "psName": "Rare-Regular"})
    font.setupOS2(sTypoAscender=800, sTypoDescender=-200, usWinAscent=800, usWinDescent=200)
    font.setupPost()
    font.save(tmp_path / "Rare-Regular.ttf")
    return tmp_path


def test_shipped_fonts_cover_the_template_and_gb_2312() -> None:
    template = (Path(module.__file__).parent / "certificate.typ").read_text(encoding="utf-8")
    pairs = (bytes((row, cell)).decode("gb2312", "ignore") for row in range(0xA1, 0xF8) for cell in range(0xA1, 0xFF))
    assert uncovered(template + "".join(pairs)) == ""
    assert (FONTS / "OFL.txt").read_text(encoding="utf-8").startswith("Copyright 2014-2021 Adobe")


def test_a_character_without_a_font_is_named_not_boxed(example: Result, tmp_path: Path) -> None:
    example["provenance"]["operator"] = "王\U0002a6a5"
    with pytest.raises(ReportError) as caught:
        render(example, tmp_path)
    assert isinstance(caught.value, HarnessError)
    assert "U+2A6A5" in caught.value.found
    assert "fonts-noto-cjk" in caught.value.remedy


def test_a_rare_character_is_set_in_a_font_of_the_system(example: Result, system: Path) -> None:
    assert uncovered("𠮷野") == "𠮷"
    plain = render(example, system)
    example["provenance"]["operator"] = "𠮷野"
    assert render(example, system).count(b"/FontDescriptor") > plain.count(b"/FontDescriptor")


def test_a_plot_borrows_too_or_refuses(make: Any, example: Result, system: Path, tmp_path_factory: Any) -> None:
    measurement = make("optical", n=100)
    link = measurement.link
    rare = replace(measurement, link=replace(link, near=replace(link.near, name="𠮷野")))
    assert plots([rare], example, system_fonts=[system]) != plots([measurement], example)
    with pytest.raises(ReportError):
        plots([rare], example, system_fonts=[tmp_path_factory.mktemp("none")])
