from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.certificate import judge
from harness.policy import parse
from harness.report.longtable import COLUMNS, longtable

POLICY = parse((Path(__file__).parents[3] / "harness" / "policies" / "metro-2027.toml").read_text())
Result = dict[str, Any]


def read(result: Result, **hashes: str) -> list[dict[str, str]]:
    text = longtable(result, hashes).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def judged(make: Callable[..., Any]) -> Result:
    """A result of the house's own judge, with losses."""
    return judge(
        [make("service", n=8_000, lost=2)],
        POLICY,
        {"run": "20261122T000000Z-abcdef", "plan_sha256": "ab" * 32, "operator": "=1+1"},
    )


def test_every_statement_stands_in_a_row_as_the_result_has_it(judged: Result) -> None:
    table = [row for row in read(judged) if row["comparator"] == "LE"]
    stated = [
        (r["id"], d["direction"], s["basis"], s["verdict"], s["rule"], s)
        for r in judged["requirements"]
        for d in r["directions"]
        for s in d["statements"]
    ]
    assert len(table) == len(stated) > 0
    for row, (requirement, direction, basis, verdict, rule, s) in zip(table, stated, strict=True):
        assert [row[c] for c in ("requirement_id", "direction", "basis", "verdict", "decision_rule")] == [
            requirement, direction, basis, verdict, rule,
        ]  # fmt: skip
        assert row["value"] == ("inf" if s["estimate_infinite"] else str(s["estimate_ns"]))
        assert row["upper"] == ("inf" if s["infinite"] else str(s["upper_ns"]))
        assert row["U_k2"] == ("" if s["U_ps"] is None else str(-(-s["U_ps"] // 1000)))
        assert (row["unit"], row["limit"], row["comparator"]) == ("ns", "1000000", "LE")


def test_the_raw_record_is_named_with_its_hash(judged: Result) -> None:
    name = judged["streams"][0]["measurement"]
    for row in read(judged, **{name: "cd" * 32}):
        assert (row["raw_file"], row["sha256"]) == (f"data/measurements/{name}", "cd" * 32)


def test_every_flow_has_its_figures_without_a_verdict(judged: Result) -> None:
    table = [row for row in read(judged) if row["comparator"] == "LOG"]
    flows = sum(len(d["flows"]) for r in judged["requirements"] for d in r["directions"])
    assert len(table) == 5 * flows
    assert {row["verdict"] for row in table} == {row["limit"] for row in table} == {""}


def test_the_header_is_fixed_and_the_bytes_repeat(judged: Result) -> None:
    made = longtable(judged, {})
    assert made == longtable(judged, {})
    assert made.split(b"\r\n")[0].decode() == ",".join(COLUMNS)


def test_a_simulated_row_says_so_and_no_cell_is_a_formula(judged: Result) -> None:
    judged["simulated"] = ["simulated bench", "veth"]
    judged["provenance"]["bench"] = 'name, with "quotes"\nand a line'
    for row in read(judged):
        assert row["simulated"] == "simulated bench; veth"
        assert row["operator"] == "'=1+1"
        assert row["station"] == 'name, with "quotes"\nand a line'


def test_what_is_not_known_is_empty_and_never_zero(judged: Result) -> None:
    for way in (d for r in judged["requirements"] for d in r["directions"]):
        way["clock_offset_ns"] = None
        for s in way["statements"]:
            s.update(U_ps=None, estimate_ns=None, upper_ns=None, infinite=True, estimate_infinite=True)
    for row in (row for row in read(judged) if row["comparator"] == "LE"):
        assert (row["U_k2"], row["value"], row["upper"], row["clock_offset_ns"]) == ("", "inf", "inf", "")
