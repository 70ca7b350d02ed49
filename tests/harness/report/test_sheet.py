"""What a report says: 17025 letters, verdict boxes, nothing lost on null, empty, infinite."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from harness.report import phrases
from harness.report.particulars import particulars
from harness.report.sheet import sheet

ISSUED = 1_795_351_026 * 10**9
Result = dict[str, Any]


def made(result: Result) -> dict[str, Any]:
    return sheet(result, digest="ab" * 32, issued_ns=ISSUED)


def strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [s for inner in value.values() for s in strings(inner)]
    if isinstance(value, list):
        return [s for inner in value for s in strings(inner)]
    assert not isinstance(value, float), "a float got into the report"
    return []


def plain(value: object) -> str:
    return "\n".join(strings(value)).replace("\u00a0", " ")


def first(result: Result) -> Result:
    found: Result = result["requirements"][0]["directions"][0]
    return found


def failed(result: Result) -> None:
    first(result)["verdict"] = result["verdict"] = "FAIL"
    for statement in first(result)["statements"]:
        statement["verdict"] = "FAIL"


def infinite(result: Result) -> None:
    first(result)["verdict"] = result["verdict"] = "INDETERMINATE"
    for statement in first(result)["statements"]:
        statement |= {
            "verdict": "INDETERMINATE",
            "upper_ns": None,
            "infinite": True,
            "would_settle": "more samples or better clocks",
            "n_needed": 55_720,
            "u_needed_ps": 1_200_000,
        }


def invalid(result: Result) -> None:
    first(result)["verdict"] = result["verdict"] = "INVALID"
    for statement in first(result)["statements"]:
        for key in ("estimate_ns", "lower_ns", "upper_ns", "u_c_ps", "k_milli", "U_ps", "nu_eff", "worst_case_ps", "n"):
            statement[key] = None
        statement |= {"verdict": "INVALID", "gates_red": ["clock-near"], "n_eff": None, "vif": None}
    result["gates"].append(
        {
            "id": "clock-near",
            "state": "red",
            "measurement": "m1",
            "found": "no clock source",
            "limit": "synchronised",
            "remedy_zh": "同步时钟",
            "remedy_en": "synchronise the clock",
        }
    )


def incomplete(result: Result) -> None:
    result |= {"complete": False, "verdict": "INDETERMINATE", "incomplete_reasons": ["60 s measured, 600 s required"]}
    first(result)["interrupted"] = "SIGINT"
    result["requirements"][1]["directions"] = []


def unsynchronised(result: Result) -> None:
    for state in result["evidence"]:
        state |= {"synchronised": "unknown", "max_bound_ns": None, "max_skew_ppb": None, "identities": []}
    for _, direction in ((r, d) for r in result["requirements"] for d in r["directions"]):
        direction["statements"][0] |= {"verdict": "INVALID", "U_ps": None, "u_c_ps": None, "estimate_ns": -1_582_314}
        direction["largest_unseen_clock_error_ns"] = None


def nothing(result: Result) -> None:
    for key in ("requirements", "budgets", "gates", "streams", "evidence", "calibrations"):
        result[key] = []
    result |= {
        "verdict": "INVALID",
        "complete": False,
        "provenance": {},
        "incomplete_reasons": ["nothing was measured"],
    }


def simulated(result: Result) -> None:
    result["simulated"] = ["veth interface"]


VARIANTS: dict[str, Callable[[Result], None]] = {
    f.__name__: f for f in (failed, infinite, invalid, incomplete, unsynchronised, nothing, simulated)
}


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_no_variant_of_a_result_breaks_the_report(example: Result, variant: str) -> None:
    VARIANTS[variant](example)
    said = plain(made(example))
    assert "None" not in said
    assert "nan" not in said.lower().split()


def test_every_17025_letter_has_text_or_a_reason(example: Result) -> None:
    for result in (example, {"verdict": "INVALID", "provenance": {}}):
        entries = [e for e in particulars(result, ISSUED) if e["letter"]]
        assert "".join(e["letter"] for e in entries if len(e["letter"]) == 1) == "abcdefghijklmnop"
        clauses = [e["letter"] for e in entries if len(e["letter"]) > 1]
        assert clauses == ["7.8.3.1 a", "7.8.3.1 b c, 7.8.6.2", "7.8.3.1 d e", "7.8.8.3"]
        assert all(bool(e["value"]) != bool(e["missing"]) for e in entries)


def test_a_report_judged_again_names_what_it_supersedes_and_why(example: Result) -> None:
    def amendment() -> Any:
        return next(e for e in particulars(example, ISSUED) if e["letter"] == "7.8.8.3")

    assert amendment()["value"] == ""
    assert "first issue" in amendment()["missing"].values()
    example["provenance"]["judged_again"] = {"run": "20261122T110514Z-abcdef", "reason": "the authority's own rule"}
    assert amendment()["value"] == "supersedes 20261122T110514Z-abcdef, the authority's own rule"


def test_lab_fields_arrive(example: Result) -> None:
    said = plain(made(example))
    lab = example["provenance"]["lab"]
    for key in ("name", "address", "location", "customer", "item_id", "authoriser", "received"):
        assert lab[key] in said
    assert example["provenance"]["operator"] in said
    assert "2026-11-22 11:05:14 – 12:37:06 UTC" in said


def test_times_of_the_streams_stand_in_for_those_of_the_run(example: Result) -> None:
    del example["provenance"]["started_ns"], example["provenance"]["ended_ns"]
    example["streams"][0] |= {"started_ns": "1795345514000000000", "ended_ns": "1795347314000000000"}
    example["streams"][1] |= {"started_ns": "1795347426000000000", "ended_ns": "1795351026000000000"}
    assert "2026-11-22 11:05:14 – 12:37:06 UTC" in plain(particulars(example, ISSUED))


def test_box_prints_the_figures_of_both_statements(example: Result) -> None:
    box = made(example)["boxes"][0]
    lines = {line["symbol"]: [v.replace("\u00a0", " ") for v in line["values"]] for line in box["lines"]}
    assert lines["q"] == ["412.63 µs", "613.964 µs"]
    assert lines["U"] == ["0.49 µs", "0.006 µs"]
    assert lines["UCB"] == ["413.020 µs", "616.460 µs"]
    assert lines["UCB + U"] == ["413.501 µs", "616.466 µs"]
    assert lines["L"] == ["1 ms*", "1 ms*"]
    assert lines["n_eff"] == ["3 600 (50)", "3 600 (50)"]
    assert "≤ 5 %" in plain(box["sentence"])


@pytest.mark.parametrize(
    ("origin", "confirmed", "zh", "en"),
    [
        ("MIIT", False, "限值未经原文确认", "limit unconfirmed"),
        ("millicert", False, "本软件自定", "ours, not the authority's"),
        ("millicert", True, "本软件自定", "ours, not the authority's"),
        ("MIIT", True, "", ""),
    ],
)
def test_a_box_marks_a_limit_by_who_stands_behind_it(
    example: Result, origin: str, confirmed: bool, zh: str, en: str
) -> None:
    example["requirements"][0] |= {"origin": origin, "confirmed": confirmed}
    box = made(example)["boxes"][0]
    assert box["standing"] == ({"zh": zh, "en": en} if en else "")
    limit = next(line for line in box["lines"] if line["symbol"] == "L")
    assert all(value.endswith("*") == bool(en) for value in limit["values"])
    del example["requirements"][0]["origin"], example["requirements"][0]["confirmed"]
    assert made(example)["boxes"][0]["standing"] == {"zh": "限值未经原文确认", "en": "limit unconfirmed"}


def test_the_lower_bound_is_said_to_be_joint(example: Result) -> None:
    name = next(line["name"] for line in made(example)["boxes"][0]["lines"] if line["symbol"] == "LCB")
    assert [name[lang].replace("\u00a0", " ") for lang in ("zh", "en")] == [
        "联合置信下限 97.5 %",
        "Joint lower bound",
    ]


def test_the_end_of_the_run_is_no_date_of_issue(example: Result) -> None:
    def named(issued_ns: int) -> object:
        return next(e["name"] for e in particulars(example, issued_ns) if e["letter"] == "j")

    ended = example["provenance"]["ended_ns"]
    assert named(int(ended) // 10**9 * 10**9) == {"zh": "签发所据数据截止", "en": "Issued on data of"}
    assert named(int(ended) + 60 * 10**9) == {"zh": "签发日期", "en": "Date of issue"}


def test_flows_are_called_calibrated_where_they_are(example: Result) -> None:
    assert "calibrated, nothing censored" in made(example)["flows"]["title"]["en"]
    assert "已扣除校准" in made(example)["flows"]["title"]["zh"]
    for calibration in example["calibrations"]:
        calibration["applied"] = False
    assert "raw, nothing censored" in made(example)["flows"]["title"]["en"]


def test_what_is_only_declared_of_a_link_is_said_to_be(example: Result) -> None:
    assert made(example)["links"]["rows"] == []
    example["links"] = [{"name": "zj-lg", "sync_over_link": None, "far_clock_trusted": True, "authenticated": False}]
    said = plain(made(example)["links"])
    assert "not declared" in said
    assert "trusted, not authenticated" in said
    example["links"][0] |= {"sync_over_link": False, "authenticated": True}
    said = plain(made(example)["links"])
    assert "declared: none" in said
    assert "not authenticated" not in said
    example["links"] = [{"odd": 1}, {"name": "x", "sync_over_link": True}]
    assert "declared: yes" in plain(made(example)["links"])


def test_infinite_bound_is_printed_as_such(example: Result) -> None:
    infinite(example)
    box = made(example)["boxes"][0]
    lines = {line["symbol"]: line["values"] for line in box["lines"]}
    assert lines["UCB"] == ["+∞", "+∞"]
    assert lines["UCB + U"] == ["—", "—"]  # nothing was decided
    assert "n ≥ 55 720" in plain(box["remarks"])
    assert "u_c ≤ 1.2 µs" in plain(box["remarks"])


def test_fail_is_decided_by_the_lower_bound(example: Result) -> None:
    failed(example)
    lines = {line["symbol"]: line["values"] for line in made(example)["boxes"][0]["lines"]}
    assert lines["LCB − U"][0].replace("\u00a0", " ") == "411.829 µs"
    assert lines["LCB − U"][1] == "—"


def test_risk_follows_the_requirement(example: Result) -> None:
    example["requirements"][0]["alpha"] = [5, 100]
    assert "≤ 8 %" in plain(made(example)["boxes"][0]["sentence"])


def test_simulated_certifies_nothing(example: Result) -> None:
    simulated(example)
    assert made(example)["certified"]["en"] == phrases.SIMULATED.en
    assert "results/simulated/" in plain(made(example)["verify"])


def test_incomplete_pass_is_not_certified(example: Result) -> None:
    example["complete"] = False
    assert made(example)["certified"]["en"] == "NOT CERTIFIED"


def test_red_gates_come_first_with_their_remedy(example: Result) -> None:
    invalid(example)
    text = made(example)
    assert text["gates"]["rows"][0][1]["state"] == "red"
    assert "synchronise the clock" in plain(text["remedies"])


def test_components_of_several_measurements_are_printed_once_where_equal(example: Result) -> None:
    del example["budgets"][2:]
    example["budgets"] += [copy.deepcopy(b) | {"measurement": "m2"} for b in example["budgets"]]
    for budget in example["budgets"][2:]:
        budget["components"][2]["value_ps"] = budget["U_ps"] = 77_000
    (budget,) = made(example)["budgets"]
    scopes = [plain(row[0]) for row in budget["rows"]]
    assert scopes == ["全部\nall"] * 6 + ["m1", "m2"]
    assert [(scope, dict(total)["U"].replace("\u00a0", " ")) for scope, total in budget["totals"]] == [
        ("m1", "490 ns"),
        ("m2", "77 ns"),
    ]


def test_equal_budgets_are_printed_once(example: Result) -> None:
    same = copy.deepcopy(example)
    for budget in same["budgets"]:
        budget["components"] = example["budgets"][0]["components"]
    (budget,) = made(same)["budgets"]
    assert {plain(row[0]) for row in budget["rows"]} == {"全部\nall"}


def test_unconfirmed_source_says_so(example: Result) -> None:
    assert "UNCONFIRMED" in plain(made(example)["requirements"])


def clause(result: Result, letter: str) -> Any:
    return next(e for e in particulars(result, ISSUED) if e["letter"] == letter)


def test_clause_n_names_shortened_streams_what_was_left_out_and_waived_checks(example: Result) -> None:
    assert "none declared" in clause(example, "n")["missing"].values()
    left_out = "service-owd-p999 on zj-lg is not among the tests selected"
    short = "optical: duration 60 s is less than the plan's 600 s"
    example["provenance"] |= {"incomplete": [left_out, short], "waived": ["disk"]}
    said = clause(example, "n")["value"]
    assert said == f"{left_out}, {short}, preflight check waived: disk"
    assert "60 s is less than the plan's 600 s" in plain(made(example)["limits"])


def test_streams_state_after_how_long_a_packet_counts_as_lost(example: Result) -> None:
    example["streams"][0]["t_max_ns"] = 1_500_000_000
    streams = made(example)["streams"]
    at = [column["head"]["en"] for column in streams["columns"]].index("Lost after")
    assert streams["rows"][0][at] == "1.5\u00a0s"


@pytest.mark.parametrize("verdict", ["INDETERMINATE", "INVALID"])
def test_a_statement_that_decides_nothing_has_no_decisive_quantity_and_no_risk(example: Result, verdict: str) -> None:
    def column(number: int) -> dict[str, str]:
        return {line["name"]["en"]: line["values"][number] for line in made(example)["boxes"][0]["lines"]}

    decisive = ("Decisive quantity", "Risk of false decision")
    assert all(column(0)[name] != "—" for name in decisive)
    first(example)["statements"][0]["verdict"] = verdict
    assert [column(0)[name] for name in decisive] == ["—", "—"]
    assert all(column(1)[name] != "—" for name in decisive), "the other statement still decides"


def test_polls_that_did_not_know_the_bound_are_counted_beside_the_largest_one(example: Result) -> None:
    def bound() -> Any:
        table = made(example)["evidence"]
        at = [column["head"]["en"] for column in table["columns"]].index("Largest bound")
        return table["rows"][0][at]

    example["evidence"][0] |= {"max_bound_ns": 5_000, "bound_unknown": 0, "polls": 100}
    assert bound() == "±\u00a05.000\u00a0µs"
    example["evidence"][0]["bound_unknown"] = 3
    assert plain(bound()) == "± 5.000 µs，3 次未知\nunknown at 3 polls"
    example["evidence"][0] |= {"max_bound_ns": None, "bound_unknown": 100}
    assert bound()["en"] == "unknown"


def test_what_it_says_of_validity(example: Result) -> None:
    said = plain(made(example))
    for words in (
        "relate only to the items tested",
        "except in full",
        "UNSIGNED",
        "报告结束",
        "sha256sum -c manifest-sha256.txt",
        "millicert verify",
        phrases.VERSION,
    ):
        assert words in said


def test_pair_row_of_a_link_needs_no_bracket(example: Result) -> None:
    row = copy.deepcopy(first(example)) | {
        "direction": "pair",
        "label": "张江↔临港",
        "verdict": "FAIL",
        "bracket": None,
        "flows": [],
    }
    row["statements"] = [row["statements"][1] | {"rule": "owd-pair/1", "verdict": "FAIL"}]
    example["requirements"][0]["directions"].append(row)
    box = made(example)["boxes"][2]
    assert "at least one direction of 张江↔临港" in plain(box["sentence"])
    assert "2 × 1 ms" in plain(box["lines"])
