"""A report and a terminal say which attempt a run is, and whether anyone outside knew of the others."""

from __future__ import annotations

from typing import Any

import pytest

from harness.report.particulars import attempt
from harness.report.terminal import certification_table

ROOT = "0123456789abcdef" * 4


def logged(**more: Any) -> dict[str, Any]:
    return {
        "log": {
            "origin": "millicert.invalid/log/00ff", "index": 12, "attempt": 3, "earlier": [1, 4],
            "previous": {"size": 12, "root": ROOT}, "witnessed": 0, "key": "", **more,
        }
    }  # fmt: skip


def lines(provenance: dict[str, Any], lang: Any = "en") -> str:
    return "\n".join(certification_table({"verdict": "PASS", "complete": True, "provenance": provenance}, lang))


def test_attempt_index_and_previous_checkpoint_are_printed() -> None:
    said = attempt(logged())
    assert "Attempt 3 (before: entries 1, 4), entry 12 of log millicert.invalid/log/00ff." in said.en
    assert ROOT in said.en.replace(" ", "")
    assert "ATTEMPT HISTORY NOT WITNESSED" in said.en
    assert "第 3 次测试（此前：第 1, 4 条），记录第 12 条" in said.zh
    table = lines(logged())
    assert "attempt 3 (before: entries 1, 4), log entry 12  ATTEMPT HISTORY NOT WITNESSED  LOG UNSIGNED" in table
    assert f"log before it  12 {ROOT}" in table
    assert "无外部证明" in lines(logged(), "zh")
    assert "before:" not in lines(logged(earlier=[], attempt=1))
    assert "UNSIGNED" not in lines(logged(key="a+b+c"))


@pytest.mark.parametrize(
    ("witnessed", "size", "said"),
    [
        (0, 12, "ATTEMPT HISTORY NOT WITNESSED"),
        (12, 12, "all entries before it witnessed from outside"),
        (8, 12, "ATTEMPT HISTORY NOT WITNESSED since entry 7"),
        (0, 0, "ATTEMPT HISTORY NOT WITNESSED"),
    ],
)
def test_only_a_history_witnessed_whole_is_said_to_be(witnessed: int, size: int, said: str) -> None:
    provenance = logged(witnessed=witnessed, previous={"size": size, "root": ROOT})
    assert f"{said}." in attempt(provenance).en
    assert said in lines(provenance)
    assert ("NOT WITNESSED" in lines(provenance)) is (witnessed < size or not size)


def test_a_run_that_no_log_knows_says_so() -> None:
    assert "cannot be ruled out" in attempt({}).en
    assert "attempt" not in lines({})
