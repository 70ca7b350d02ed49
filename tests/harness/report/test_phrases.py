"""The fixed wording: both languages everywhere, every verdict covered."""

from __future__ import annotations

import pytest

from harness.report import phrases
from harness.report.phrases import Phrase, language

TABLES = {
    name: table
    for name, table in vars(phrases).items()
    if isinstance(table, dict) and table and all(isinstance(p, Phrase) for p in table.values())
}


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_phrase_has_both_languages(name: str) -> None:
    assert all(p.zh and p.en for p in TABLES[name].values())


def test_every_verdict_has_word_and_sentence() -> None:
    verdicts = {"PASS", "FAIL", "INDETERMINATE", "INVALID"}
    assert set(phrases.VERDICTS) == set(phrases.STATEMENTS) == set(phrases.CERTIFIED) == verdicts


def test_only_pass_says_conforms() -> None:
    fields = {"label": "A→B", "statistic": "median", "limit": "1 ms", "rule": "owd-g1/1", "risk": "5 %"}
    said = {verdict: phrase.fill(**fields) for verdict, phrase in phrases.STATEMENTS.items()}
    assert [v for v, p in said.items() if " conforms to" in p.en] == ["PASS"]
    assert [v for v, p in said.items() if "符合 ≤" in p.zh and "不符合 ≤" not in p.zh] == ["PASS"]
    assert "≤ 5 %" in said["PASS"].en
    assert "≤ 5 %" in said["PASS"].zh


def test_a_phrase_fills_each_language_with_its_own() -> None:
    made = Phrase("{what}好", "good {what}").fill(what=Phrase("钟", "clock"))
    assert made == Phrase("钟好", "good clock")


@pytest.mark.parametrize(
    ("env", "lang"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN", "LC_ALL": ""}, "zh"),
        ({"LC_ALL": "C"}, "en"),
    ],
    ids=str,
)
def test_language_by_posix_precedence(env: dict[str, str], lang: str) -> None:
    assert language(env) == lang


@pytest.mark.parametrize(
    ("said", "en"),
    [
        ("more samples", "more samples would settle it"),
        ("more samples or better clocks", "more samples or better clocks would settle it"),
        ("prayer", "prayer would settle it"),
    ],
)
def test_settle_joins_what_the_judge_says(said: str, en: str) -> None:
    assert phrases.settle(said).en == en
