"""The terminal: columns that stand in line also in Chinese, the word beside every colour."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from harness.report import terminal
from harness.report.phrases import Language

LANGUAGES: list[Language] = ["zh", "en"]
Result = dict[str, Any]


def spoil(result: Result) -> None:
    """One direction of each kind of trouble."""
    one, two = result["requirements"][0]["directions"]
    three = result["requirements"][1]["directions"][0]
    result |= {"verdict": "FAIL", "complete": False, "incomplete_reasons": ["n_eff 750"], "simulated": ["veth"]}
    one |= {"verdict": "INDETERMINATE", "reason_en": "guard band", "reason_zh": "保护带"}
    for statement in one["statements"]:
        statement |= {"verdict": "INDETERMINATE", "reason_en": "guard band", "upper_ns": None, "infinite": True}
        statement |= {"would_settle": "more samples", "n_needed": 55_720}
    two |= {"verdict": "INVALID", "reason_en": "no samples", "statements": [], "bracket": None, "interrupted": "SIGINT"}
    three |= {"verdict": "FAIL", "reason_en": "above"}
    three["statements"][0] |= {"verdict": "FAIL", "gates_red": ["step"]}
    result["requirements"][1]["directions"] = [three]
    result["requirements"].append({"id": "T9", "limit_ns": 2_000_000, "directions": []})


@pytest.mark.parametrize("lang", LANGUAGES)
def test_columns_stand_in_line(example: Result, lang: Language) -> None:
    lines = terminal.requirement_lines(example, lang)[:-1]
    assert len(lines) == 5
    ends = {cell_len(line[: line.index("PASS")]) for line in lines[1:]}
    assert ends == {cell_len(lines[0]) - cell_len("判定" if lang == "zh" else "verdict")}


def test_a_line_says_estimate_bounds_uncertainty_bracket_verdict(example: Result) -> None:
    line = terminal.requirement_lines(example, "en")[1].replace("\u00a0", " ")
    for words in (
        "REQ-OWD-OPTICAL ≤ 1 ms*",
        "张江→临港",
        "412.63 µs",
        "[412.310 µs, 413.020 µs]",
        "0.49 µs",
        "[391.776 µs, 616.460 µs]",
    ):
        assert words in line
    assert line.endswith("PASS")


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_limit_that_nobody_confirmed_is_marked_with_one_footnote(example: Result, lang: Language) -> None:
    first, second = example["requirements"]
    first |= {"confirmed": False, "origin": "MIIT"}
    second |= {"confirmed": True, "origin": "millicert"}
    example["requirements"].append({"id": "T9", "limit_ns": 2_000_000, "confirmed": False, "directions": []})
    unconfirmed = {"zh": "限值未经原文确认", "en": "limit unconfirmed"}[lang]
    ours = {"zh": "本软件自定", "en": "ours, not the authority's"}[lang]
    note = f"* {unconfirmed}: {first['id']}, T9; {ours}: {second['id']}"
    lines = [line.replace("\u00a0", " ") for line in terminal.certification_table(example, lang)]
    assert [line for line in lines if line.startswith("*")] == [note]
    assert f"{first['id']} ≤ 1 ms*" in lines[1]
    assert any(line.startswith("T9 ≤ 2 ms*") for line in lines)
    out = io.StringIO()
    terminal.show(example, Console(file=out, force_terminal=True, width=200, color_system=None), lang)
    assert note in out.getvalue().replace("\u00a0", " ")
    first |= {"confirmed": True}
    del example["requirements"][2]
    lines = terminal.certification_table(example, lang)
    assert [line for line in lines if line.startswith("*")] == [f"* {ours}: {second['id']}"]
    second |= {"origin": "MIIT"}
    assert "*" not in "".join(terminal.certification_table(example, lang))


def test_a_single_requirement_can_be_shown(example: Result) -> None:
    assert len(terminal.requirement_lines(example["requirements"][1], "en")) == 3
    assert terminal.requirement_lines({"requirements": []}, "en") == []


@pytest.mark.parametrize("lang", LANGUAGES)
def test_trouble_comes_with_its_reason(example: Result, lang: Language) -> None:
    spoil(example)
    text = "\n".join(terminal.certification_table(example, lang)).replace("\u00a0", " ")
    for words in ("INDETERMINATE", "INVALID", "FAIL", "+∞", "n ≥ 55 720", "step", "SIGINT", "T9 ≤ 2 ms", "n_eff 750"):
        assert words in text
    assert ("模拟结果，不是证书" if lang == "zh" else "SIMULATED, NOT A CERTIFICATE") in text
    assert ("保护带" if lang == "zh" else "guard band") in text
    assert "None" not in text


def test_the_word_stands_beside_every_colour(example: Result) -> None:
    spoil(example)
    lines = terminal.coloured(example, "en", 160)
    codes = {"PASS": "32", "INDETERMINATE": "33", "INVALID": "35", "FAIL": "31"}
    for verdict in ("INDETERMINATE", "INVALID", "FAIL"):
        assert any(f"\x1b[1;{codes[verdict]}m{verdict}" in line for line in lines)
    assert not any("\x1b[1;32m" in line for line in lines)


def test_a_pipe_gets_plain_lines(example: Result) -> None:
    out = io.StringIO()
    terminal.show(example, Console(file=out, width=40), "en")
    assert out.getvalue().splitlines() == terminal.certification_table(example, "en")


def test_a_terminal_gets_the_same_words(example: Result) -> None:
    spoil(example)
    out = io.StringIO()
    terminal.show(example, Console(file=out, force_terminal=True, width=300, color_system=None), "en")
    rich, plain = out.getvalue(), terminal.certification_table(example, "en")
    for line in plain:
        for word in line.split():
            assert word in rich


def test_preflight_shows_the_remedy_of_what_is_not_ok() -> None:
    rows = [
        SimpleNamespace(name="clock 张江", state="ok", found="±120 ns", remedy_zh="不用", remedy_en="none"),
        SimpleNamespace(name="port", state="failed", found="busy", remedy_zh="释放端口", remedy_en="free the port"),
        SimpleNamespace(name="disk", state="waived", found="1 GB", remedy_zh="", remedy_en="make room"),
    ]
    assert terminal.preflight_lines(rows, "en") == [
        "ok      clock 张江  ±120 ns",
        "FAILED  port        busy",
        "    → free the port",
        "waived  disk        1 GB",
        "    → make room",
    ]
    zh = terminal.preflight_lines(rows, "zh")
    assert zh[1].startswith("失败")
    assert zh[2] == "    → 释放端口"
    assert zh[4] == "    → make room"
    assert terminal.preflight_lines([], "zh") == []


def test_progress_says_how_it_goes_against_the_limit() -> None:
    running = SimpleNamespace(
        name="service",
        elapsed_ns=850 * 10**9,
        duration_ns=7200 * 10**9,
        sent=8_500_000,
        received=8_499_990,
        lost=10,
        p50_ns=391_200,
        p99_ns=412_600,
        max_ns=498_300,
    )
    line = terminal.progress_line(running, 1_000_000, "en").replace("\u00a0", " ")
    assert line == (
        "service 00:14:10/02:00:00   p50 391.200 µs  p99 412.600 µs  max 498.300 µs   "
        "sent 8 500 000  received 8 499 990  lost 10   limit 1 ms   left 01:45:50"
    )
    running.p99_ns = 1_000_001
    assert "OVER" in terminal.progress_line(running, 1_000_000, "en")
    running.p50_ns = running.p99_ns = running.max_ns = None
    assert "剩余 01:45:50" in terminal.progress_line(running, None, "zh")
