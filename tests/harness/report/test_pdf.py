"""The PDF: archivable, with result.json inside, the same bytes anywhere, SIMULATED on every page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from harness.report import pdf as module
from harness.report.glyphs import ReportError
from harness.report.pdf import pdf

STAMP = 1_795_351_026
PLOT = b'<svg xmlns="http://www.w3.org/2000/svg" width="400" height="100"><rect width="90" height="40"/></svg>'
Result = dict[str, Any]


def render(result: Result, plots: dict[str, bytes] | None = None, **more: Any) -> bytes:
    return pdf(result, plots or {}, json.dumps(result).encode(), timestamp=STAMP, **more)


def streams(document: bytes) -> list[bytes]:
    found = []
    for raw in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", document, re.DOTALL):
        try:
            found.append(zlib.decompress(raw))
        except zlib.error:
            found.append(raw)
    return found


def pages(document: bytes) -> int:
    return len(re.findall(rb"/Type\s*/Page\b", document))


def page_texts(document: bytes, folder: Path) -> list[str]:
    """Text of each page as poppler reads it."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is missing (Debian: poppler-utils)")
    file = folder / "report.pdf"
    file.write_bytes(document)
    done = subprocess.run(["pdftotext", "-layout", str(file), "-"], capture_output=True, check=True, timeout=60)
    return done.stdout.decode().split("\f")[:-1]


def test_it_is_pdf_a_3a_and_pdf_ua(example: Result) -> None:
    document = render(example, {"m1-ccdf": PLOT, "m1-strip": PLOT})
    marks = b"".join([document, *streams(document)])
    assert b"<pdfaid:part>3<" in marks
    assert b"<pdfaid:conformance>A<" in marks
    assert b"<pdfuaid:part>1<" in marks


def test_result_json_is_inside_byte_for_byte(example: Result) -> None:
    document = render(example)
    assert json.dumps(example).encode() in streams(document)
    assert b"result.json" in document


def test_one_link_two_requirements_take_two_to_four_pages(example: Result) -> None:
    document = render(example, dict.fromkeys(("m1-ccdf", "m1-strip", "m2-ccdf", "m2-strip"), PLOT))
    assert 2 <= pages(document) <= 4


def test_many_links_take_more_pages(example: Result) -> None:
    for requirement in example["requirements"]:
        requirement["directions"] *= 6
    assert pages(render(example)) > 4


def test_bytes_depend_on_neither_directory_nor_time_zone(
    example: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = render(example, {"m1-ccdf": PLOT})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    assert render(example, {"m1-ccdf": PLOT}) == here


def test_number_and_page_are_on_every_page(example: Result, tmp_path: Path) -> None:
    texts = page_texts(render(example), tmp_path)
    for number, text in enumerate(texts, 1):
        assert example["provenance"]["run"] in text
        assert f"page {number} of {len(texts)}" in text
        assert "SIMULATED" not in text
    assert "报告结束" in texts[-1]


def test_simulated_is_on_every_page(example: Result, tmp_path: Path) -> None:
    example["simulated"] = ["veth interface"]
    texts = page_texts(render(example), tmp_path)
    assert texts
    assert all("SIMULATED, NOT A CERTIFICATE" in text and "模拟结果" in text for text in texts)


def test_title_and_verdict_stand_in_both_languages(example: Result, tmp_path: Path) -> None:
    front = page_texts(render(example), tmp_path)[0]
    for words in ("检测报告", "Test report", "PASS", "符合", "Conforms", "412.63", "413.501", "owd-g1/1", "≤"):
        assert words in front.replace("⩽", "≤")


@pytest.mark.parametrize("verdict", ["PASS", "INDETERMINATE", "INVALID", "FAIL"])
def test_every_verdict_can_be_set(example: Result, verdict: str) -> None:
    example["verdict"] = verdict
    for requirement in example["requirements"]:
        for direction in requirement["directions"]:
            direction["verdict"] = verdict
            for statement in direction["statements"]:
                statement["verdict"] = verdict
    assert render(example).startswith(b"%PDF-")


def test_a_run_that_measured_nothing_can_be_set() -> None:
    assert pdf({"verdict": "INVALID"}, {}, b"{}", timestamp=0).startswith(b"%PDF-")


def test_indeterminate_is_never_green() -> None:
    colours = (Path(module.__file__).parent / "certificate.typ").read_text(encoding="utf-8")
    rgb = {
        name: [int(code[i : i + 2], 16) for i in (0, 2, 4)]
        for name, code in re.findall(r'^  (\w+): \(rgb\("#(\w{6})"\)', colours, re.MULTILINE)
    }
    assert set(rgb) == {"PASS", "INDETERMINATE", "INVALID", "FAIL"}
    assert [name for name, (r, g, b) in rgb.items() if g > r and g > b] == ["PASS"]


def test_a_plot_that_is_no_svg_is_refused_with_the_reason(example: Result) -> None:
    with pytest.raises(ReportError):
        render(example, {"m1-ccdf": b"<svg"})
