"""The judge's own results, good and bad, as report and table."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import harness.policies
from harness import policy
from harness.bench import load
from harness.certificate import judge
from harness.report import terminal
from harness.report.pdf import pdf
from harness.report.phrases import GATES
from harness.report.plots import plots
from harness.report.sheet import sheet

POLICY = policy.parse(
    (Path(next(iter(harness.policies.__path__))) / "metro-2027-rehearsal.toml").read_text(encoding="utf-8")
)
PROVENANCE = {"run": "20261122T110514Z-7f3a9c", "plan_sha256": "52" * 32, "operator": "王晓", "lab": {"name": ""}}

STORIES: dict[str, list[dict[str, Any]]] = {
    "good": [{"name": "optical"}, {"name": "service"}],
    "too far": [{"name": "optical", "base_ns": 1_200_000}],
    "clock ahead": [{"name": "optical", "offset_ns": 2_000_000}],
    "unsynchronised": [{"name": "optical", "synchronised": None}],
    "lossy": [{"name": "service", "lost": 40}],
    "interrupted": [{"name": "optical", "n": 5_000, "interrupted": "SIGINT"}],
    "real": [{"name": "optical", "simulated": ()}],
    "nothing": [],
}


@pytest.mark.parametrize("story", STORIES)
def test_what_the_judge_says_can_be_reported(make: Any, story: str) -> None:
    measurements = [make(**told) for told in STORIES[story]]
    result = judge(measurements, POLICY, PROVENANCE)
    encoded = json.dumps(result, ensure_ascii=False).encode()
    document = pdf(result, plots(measurements, result), encoded, timestamp=1_795_351_026)
    assert document.startswith(b"%PDF-")
    for lang in ("zh", "en"):
        lines = terminal.certification_table(result, lang)
        assert lines[-1].startswith(result["verdict"])
        assert "None" not in "\n".join(lines)


def test_every_figure_of_the_judge_finds_its_place(make: Any) -> None:
    result = judge([make("optical"), make("service")], POLICY, PROVENANCE)
    text = sheet(result, digest="00" * 32, issued_ns=1)
    box, said = text["boxes"][0], result["requirements"][0]["directions"][0]["statements"][0]
    assert [head["verdict"] for head in box["heads"]] == ["PASS", "PASS"]
    values = [value for line in box["lines"] for value in line["values"]]
    assert len(box["lines"]) == 14
    assert values.count("—") == 1, "only the clock-free statement has no lower bound"
    assert any(str(said["upper_ns"])[:3] in value for value in values)
    assert len(text["flows"]["rows"]) == len(text["boxes"])
    for row in text["flows"]["rows"]:
        assert "—" not in row
    for name in ("requirements", "streams", "counts", "evidence", "gates", "consistency", "flows", "equipment"):
        assert text[name]["rows"], name
    assert text["budgets"][0]["title"]["en"] == "Uncertainty budget, clock-based"


def test_every_gate_of_the_judge_has_a_title(make: Any) -> None:
    result = judge([make("optical"), make("service")], POLICY, PROVENANCE)
    assert {gate["id"] for gate in result["gates"]} <= set(GATES)


def test_a_budget_without_the_clocks_states_no_uncertainty(make: Any) -> None:
    result = judge([make("optical", synchronised=None)], POLICY, PROVENANCE)
    text = sheet(result, digest="00" * 32, issued_ns=1)
    totals = {b["title"]["en"]: dict(b["totals"][0][1])["U"] for b in text["budgets"]}
    assert totals["Uncertainty budget, clock-based"] == "—"
    assert totals["Uncertainty budget, clock-free"] != "—"


def test_a_simulated_pass_of_one_link_and_two_requirements_fits_four_pages(make: Any) -> None:
    facts = tuple(
        f"{fact} at {end}" for end in ("张江", "临港") for fact in ("injected clock", "veth", "virtual far end")
    )
    measurements = [
        make("optical", simulated=facts),
        make("service", n=400_000, rate=4_000, simulated=facts),
    ]
    plan = {"plans": ["testplans/test_30_link_delay.py"], "waived": ["cpu"], "deviations": ["cabinet open"]}
    machine = {
        "machine": {"kernel": "6.1", "cpu": "EPYC", "host": "vm", "clocksource": "tsc"},
        "software": {"name": "millicert"},
        "lab": asdict(load("simulated").lab),
        "log": {
            "origin": "millicert.invalid/log/1ce0a371845970aa", "index": 1, "attempt": 1, "earlier": [],
            "item": "ab" * 32, "previous": {"size": 1, "root": "cd" * 32}, "witnessed": 0, "key": "",
        },
    }  # fmt: skip
    result = judge(measurements, POLICY, PROVENANCE | plan | machine)
    rows = [row for requirement in result["requirements"] for row in requirement["directions"]]
    assert [row["verdict"] for row in rows] == ["PASS"] * 4
    document = pdf(result, plots(measurements, result), b"{}", timestamp=1)
    assert len(re.findall(rb"/Type\s*/Page\b", document)) <= 4
