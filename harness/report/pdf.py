"""The test report as PDF/A-3a with result.json inside, by the Typst compiler that its Python package carries."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import typst

from harness.measurement import Measurement
from harness.report import acceptance
from harness.report.glyphs import FONTS, SYSTEM_FONTS, ReportError, system_font, uncovered
from harness.report.pictures import pictures
from harness.report.quantity import delay, integer, limit
from harness.report.sheet import sheet

STANDARDS: Final = ("a-3a", "ua-1")
"""Archivable with an attachment (ISO 19005-3, GB/T 23286.3), readable by those who cannot see (ISO 14289-1)."""


def _words(value: object) -> Iterable[str]:
    """Every string inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _words(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _words(inner)


def _pictures(result: Mapping[str, Any], plots: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """File name, text for those who cannot see it, and caption of each plot, in the order given."""
    captions = {
        "ccdf": (
            "互补累积分布；竖线为限值 L、置信上限 UCB 与物理下限",
            "complementary distribution, all flows; vertical: limit L, upper bound UCB, floor",
        ),
        "strip": ("每个时间窗的最小、中位与 P99.9 时延", "minimum, median and P99.9 delay in each time window"),
    }
    figures: dict[str, list[str]] = {}
    for requirement in result.get("requirements") or []:
        for direction in requirement.get("directions") or []:
            for statement in (direction.get("statements") or [])[:1]:
                estimate, upper = (integer(statement.get(k)) for k in ("estimate_ns", "upper_ns"))
                figures.setdefault(str(direction.get("measurement")), []).append(
                    f"{direction.get('label')}: {delay(estimate)}, UCB {delay(upper)}, "
                    f"L {limit(integer(requirement.get('limit_ns')) or 0)}, {direction.get('verdict')}"
                )
    pictures = []
    for key in plots:
        measurement, _, kind = key.rpartition("-")
        zh, en = captions.get(kind, (kind, kind))
        head = f"{measurement} · " if measurement else ""
        numbers = "; ".join(figures.get(measurement, []))
        pictures.append(
            {
                "file": f"plot-{key}.svg",
                "alt": f"{head}{zh} / {en}. {numbers}".strip(),
                "caption": {"zh": head + zh, "en": en},
            }
        )
    return pictures


def issued_s(measurements: Iterable[Measurement], result: Mapping[str, Any]) -> int | None:
    """The date that a report bears, s since 1970 UTC: when the last of what it rests on was read; None for nothing."""
    accepted = integer((result.get("acceptance") or {}).get("ended_ns"))
    ends = [*(each.health.ended_ns for each in measurements), *([] if accepted is None else [accepted])]
    return max(ends) // 1_000_000_000 if ends else None


def pdf(
    result: Mapping[str, Any],
    plots: Mapping[str, bytes],
    result_json: bytes,
    *,
    timestamp: int,
    system_fonts: Iterable[Path] = SYSTEM_FONTS,
) -> bytes:
    """The report of ``result`` as PDF/A-3a, with ``result_json`` attached as result.json.

    ``plots`` maps "<measurement>-ccdf" and "<measurement>-strip" to SVG bytes (`harness.report.plots.plots`);
    ``timestamp`` is the date of issue in s since 1970 UTC: the end of the run, so that equal input gives equal bytes.
    Raises ReportError when a character has no font or the compiler refuses.
    """
    data = sheet(result, digest=hashlib.sha256(result_json).hexdigest(), issued_ns=timestamp * 1_000_000_000)
    data["pictures"] = _pictures(result, plots)
    data["acceptance"] = acceptance.sheet(result)
    drawn = pictures(result, system_fonts=system_fonts)
    data["acceptance_pictures"] = [
        {"file": f"plot-{key}.svg", "alt": f"{zh} / {en}", "caption": {"zh": zh, "en": en}}
        for key, (_, zh, en) in drawn.items()
    ]
    template = (Path(__file__).parent / "certificate.typ").read_bytes()
    missing = uncovered("".join(_words(data)))
    files = {
        "main.typ": template,
        "data.json": json.dumps(data, ensure_ascii=False).encode(),
        "result.json": result_json,
        **{f"plot-{key}.svg": svg for key, svg in plots.items()},
        **{f"plot-{key}.svg": svg for key, (svg, _, _) in drawn.items()},
    }
    with tempfile.TemporaryDirectory(prefix="millicert-font-") as borrowed:  # Typst takes directories of fonts only
        if missing:
            font = system_font(missing, system_fonts)
            (Path(borrowed) / font.name).symlink_to(font)
        try:
            made = typst.compile(  # type: ignore[call-overload]  # files in memory work, its stubs do not know them
                files,
                format="pdf",
                font_paths=[str(FONTS), borrowed] if missing else [str(FONTS)],
                ignore_system_fonts=True,
                pdf_standards=list(STANDARDS),
                timestamp=timestamp,
            )
        except typst.TypstError as why:
            raise ReportError("a report that Typst can set", str(why), "report this with its result.json") from why
    if not isinstance(made, bytes):
        raise ReportError("one PDF", type(made).__name__, "check the installed version of typst")
    return made
