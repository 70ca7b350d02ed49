"""Particulars of a test report: ISO/IEC 17025:2017 7.8.2.1 letter by letter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.report import phrases
from harness.report import quantity as q
from harness.report.cells import Result, pair, text
from harness.report.phrases import Phrase

_NONE: Final = Phrase("无", "none")
_MARKS: Final = "abcdefghijklmnop"


def lab(provenance: Result, *names: str) -> str:
    """A laboratory field under any of its names, at the top of the provenance or under "lab"."""
    lab = provenance.get("lab")
    inside: Result = lab if isinstance(lab, Mapping) else {}
    for name in names:
        for place in (inside, provenance):
            value = place.get(name)
            if value and not isinstance(value, Mapping):
                return text(value)
    return ""


def _words(value: object) -> str:
    """A value as text, "" where there is none."""
    return text(value).replace(q.UNKNOWN, "")


def _joined(*parts: str) -> str:
    """What is there of several texts."""
    return ", ".join(part for part in parts if part)


def particulars(result: Result, issued_ns: int) -> list[dict[str, Any]]:
    """ISO/IEC 17025:2017 7.8.2.1 a to p: each letter with its text, or with the reason why there is none.

    Entries: {"letter", "name", "value", "missing"}; exactly one of value and missing is not empty.
    """
    provenance: Result = result.get("provenance") or {}
    times = [
        (q.integer(s.get("started_ns")), q.integer(s.get("ended_ns"))) for s in (provenance, *result.get("streams", []))
    ]
    started = min((first for first, _ in times if first), default=None)
    ended = max((last for _, last in times if last), default=None)
    dated = Phrase("签发日期", "Date of issue")
    if ended and issued_ns // 10**9 == ended // 10**9:  # a rendering that equal data makes equal knows no other date
        dated = Phrase("签发所据数据截止", "Issued on data of")
    absent = Phrase("台架文件未填写", "not given in the bench file")
    policy = result.get("policy") or {}
    plan = str(provenance.get("plan_sha256") or "")
    values: dict[str, tuple[Phrase, str | Phrase, Phrase]] = {
        "a": (Phrase("名称", "Title"), Phrase("检测报告", "Test report"), absent),
        "b": (
            Phrase("实验室", "Laboratory"),
            _joined(lab(provenance, "name", "lab_name"), lab(provenance, "address", "lab_address")),
            absent,
        ),
        "c": (Phrase("检测地点", "Location"), lab(provenance, "location"), absent),
        "d": (Phrase("报告编号", "Report number"), number(result), Phrase("没有运行编号", "no run id was given")),
        "e": (
            Phrase("客户", "Customer"),
            _joined(lab(provenance, "customer"), lab(provenance, "customer_address")),
            absent,
        ),
        "f": (
            Phrase("方法", "Method"),
            f"{policy.get('id', '')} {policy.get('version', '')}; RFC 8762/8972, RFC 7679; {phrases.VERSION}",
            absent,
        ),
        "g": (
            Phrase("被测物品", "Item"),
            _joined(
                lab(provenance, "item_description", "item"),
                lab(provenance, "item_id"),
                lab(provenance, "item_condition"),
            ),
            absent,
        ),
        "h": (
            Phrase("收样日期", "Date of receipt"),
            lab(provenance, "received"),
            Phrase("在网检测，无收样", "tested in place: nothing was received or sampled"),
        ),
        "i": (
            Phrase("检测日期", "Date of test"),
            q.period(started, ended) if started and ended else "",
            Phrase("没有测量", "nothing was measured"),
        ),
        "j": (dated, q.instant(issued_ns), absent),
        "k": (
            Phrase("抽样计划", "Sampling plan"),
            _joined(_words(provenance.get("plans")), f"SHA-256 {plan[:24]}..." if plan else ""),
            Phrase("没有计划", "no plan was committed"),
        ),
        "l": (
            Phrase("效力范围", "Validity"),
            Phrase("见“偏离与效力范围”", "see “Deviations and limits of validity”"),
            absent,
        ),
        "m": (Phrase("结果", "Results"), Phrase("见判定框与各表", "see the verdict boxes and the tables"), absent),
        "n": (
            Phrase("偏离", "Deviations"),
            _words(deviations(result)),
            Phrase("未申明偏离", "none declared"),
        ),
        "o": (
            Phrase("批准人", "Authorised by"),
            _joined(lab(provenance, "authoriser"), lab(provenance, "authoriser_role")),
            absent,
        ),
        "p": (Phrase("外部提供的结果", "External providers"), _words(provenance.get("external")), _NONE),
    }
    entries = []
    for letter in _MARKS:
        name, value, missing = values[letter]
        has = value if isinstance(value, Phrase) else value.strip()
        entries.append(
            {
                "letter": letter,
                "name": pair(name),
                "value": (pair(has) if isinstance(has, Phrase) else has) if has else "",
                "missing": "" if has else pair(missing),
            }
        )
    operator = lab(provenance, "operator")
    entries.append(
        {
            "letter": "",
            "name": pair(Phrase("操作员", "Operator")),
            "value": operator,
            "missing": "" if operator else pair(absent),
        }
    )
    return entries


def deviations(result: Result) -> list[str]:
    """What differed from the plan: declared deviations, shortened streams, checks waived by name."""
    provenance: Result = result.get("provenance") or {}
    return [
        *(text(d) for d in provenance.get("deviations") or []),
        *(text(d) for d in provenance.get("shortened") or []),
        *(f"preflight check waived: {text(d)}" for d in provenance.get("waived") or []),
    ]


def number(result: Result) -> str:
    """The report number: the run id."""
    provenance: Result = result.get("provenance") or {}
    for name in ("run", "run_id", "id"):
        if provenance.get(name):
            return str(provenance[name])
    return ""
