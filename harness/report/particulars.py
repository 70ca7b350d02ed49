"""Particulars of a test report: ISO/IEC 17025:2017 7.8.2.1, 7.8.3.1, 7.8.6.2 with 7.8.8 item by item."""

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
    """ISO/IEC 17025:2017 7.8: each item with its text, or with the reason why there is none.

    7.8.2.1 a to p by their letters, then what 7.8.3.1, 7.8.6.2 and 7.8.8.3 add for tests, by clause with letter.

    Entries: {"letter", "name", "value", "missing"}; exactly one of value and missing is not empty.
    """
    provenance: Result = result.get("provenance") or {}
    accepted: Result = result.get("acceptance") or {}
    times = [
        (q.integer(s.get("started_ns")), q.integer(s.get("ended_ns")))
        for s in (provenance, *result.get("streams", []), accepted)
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
            "; ".join([*_methods(policy, accepted), phrases.VERSION]),
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
            Phrase("见文末", "see the end"),
            absent,
        ),
        "m": (Phrase("结果", "Results"), Phrase("见判定框", "see the boxes"), absent),
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
    entries = [_entry(letter, *values[letter]) for letter in _MARKS]
    entries += _of_a_test(result, provenance)
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


def _methods(policy: Result, accepted: Result) -> list[str]:
    """By what links were measured and a device accepted."""
    found = []
    if policy:
        found.append(f"{policy.get('id', '')} {policy.get('version', '')}; RFC 8762/8972, RFC 7679")
    if accepted:
        profile: Result = accepted.get("profile") or {}
        found.append(f"{profile.get('id', '')} {profile.get('version', '')}, 方法见表 methods in the table")
    return found


def _entry(letter: str, name: Phrase, value: str | Phrase, missing: Phrase) -> dict[str, Any]:
    has = value if isinstance(value, Phrase) else value.strip()
    return {
        "letter": letter,
        "name": pair(name),
        "value": (pair(has) if isinstance(has, Phrase) else has) if has else "",
        "missing": "" if has else pair(missing),
    }


def _of_a_test(result: Result, provenance: Result) -> list[dict[str, Any]]:
    """What a report of a test states beyond 7.8.2.1."""
    machine: Result = provenance.get("machine") or {}
    accepted: Result = result.get("acceptance") or {}
    judged = [*result.get("requirements", []), *accepted.get("requirements", [])]
    rules = sorted({rule for r in judged for rule in r.get("rule_ids") or [r.get("rule")]})
    again: Result = provenance.get("judged_again") or {}
    named = _joined(*(str(r.get("id")) for r in judged), *rules)
    conditions = _joined(*(_words(machine.get(key)) for key in ("cpu", "kernel", "clocksource")))
    items: dict[str, tuple[Phrase, str | Phrase, Phrase]] = {
        "7.8.3.1 a": (
            Phrase("检测条件", "Conditions"),
            f"{conditions}; 见流表 see the streams" if conditions else "",
            Phrase("主机未知，见流表", "the host is unknown; see the streams"),
        ),
        "7.8.3.1 b c, 7.8.6.2": (
            Phrase("符合性", "Conformity"),
            f"{named}: 见判定框、预算 see boxes, budget" if named else "",
            Phrase("没有可声明的结果", "no result to state it of"),
        ),
        "7.8.3.1 d e": (
            Phrase("意见", "Opinions"),
            "",
            Phrase("未给出；亦无其他要求的信息", "none given, nothing further required"),
        ),
        "7.8.8.3": (
            Phrase("更改", "Amendment"),
            _joined(f"supersedes {again.get('run')}", _words(again.get("reason"))) if again else "",
            Phrase("首次签发", "first issue"),
        ),
    }
    return [_entry(clause, *items[clause]) for clause in items]


def attempt(provenance: Result) -> Phrase:
    """Which attempt it is, where it stands in the laboratory's log, and what that log was before it measured.

    A reader who keeps the report keeps that checkpoint: a log rewritten later contradicts it.
    """
    log: Result = provenance.get("log") or {}
    if not log:
        return Phrase("未记录，不能排除其他测试。", "Not logged: other attempts cannot be ruled out.")
    previous: Result = log.get("previous") or {}
    root = str(previous.get("root") or "")
    grouped = " ".join(root[k : k + 16] for k in range(0, len(root), 16))
    earlier = ", ".join(str(n) for n in log.get("earlier") or [])
    number, index, size = text(log.get("attempt")), text(log.get("index")), text(previous.get("size"))
    before = Phrase(f"（此前：第 {earlier} 条）", f" (before: entries {earlier})") if earlier else Phrase("", "")
    seen = phrases.witnessed(log)
    return Phrase(
        f"第 {number} 次测试{before.zh}，记录第 {index} 条。{seen.zh}。",
        f"Attempt {number}{before.en}, entry {index} of log {text(log.get('origin'))}. {seen.en}. "
        f"Log before it: {size} entries, root {grouped}.",
    )


def deviations(result: Result) -> list[str]:
    """What differed from plan and policy: declared, left out or shortened for this run, checks waived by name."""
    provenance: Result = result.get("provenance") or {}
    return [
        *(text(d) for d in provenance.get("deviations") or []),
        *(text(d) for d in provenance.get("incomplete") or []),
        *(f"preflight check waived: {text(d)}" for d in provenance.get("waived") or []),
    ]


def number(result: Result) -> str:
    """The report number: the run id."""
    provenance: Result = result.get("provenance") or {}
    for name in ("run", "run_id", "id"):
        if provenance.get(name):
            return str(provenance[name])
    return ""
