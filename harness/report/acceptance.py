"""The content of an acceptance as finished text: requirements, worst figures, findings, doubts, instruments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.report import optical, phrases
from harness.report import quantity as q
from harness.report.cells import Cell, Result, both, columns, listed, pair, table, text
from harness.report.phrases import Phrase

WORST: Final = 5
"""Figures of a requirement that are written out."""
STEPS: Final = 12
"""Steps of the hand that are written out before they are only counted."""

KEYS: Final[Mapping[str, Phrase]] = {
    "in": Phrase("入", "in"),
    "out": Phrase("出", "out"),
    "pm": Phrase("波长", "wavelength"),
    "port": Phrase("端口", "port"),
}
"""Names in a figure's key that have a word of their own."""


def key(named: Mapping[str, object]) -> str:
    """A figure's key for a cell: "in 3 → out 11 · 1550 nm"."""
    rest = dict(named)
    parts = []
    if "in" in rest and "out" in rest:
        parts.append(f"in {rest.pop('in')} → out {rest.pop('out')}")
    if isinstance(rest.get("pm"), int):
        parts.append(f"{optical.digits(int(str(rest.pop('pm'))), 3, 2)}{q.NBSP}nm")
    parts += [f"{name} {value}" for name, value in rest.items()]
    return " · ".join(parts)


def _counts(row: Result) -> str:
    counts: Mapping[str, int] = row.get("counts") or {}
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count) or q.UNKNOWN


def _confirmed(row: Result) -> Cell:
    if row.get("confirmed"):
        return pair(Phrase("已核对", "confirmed"))
    return pair(Phrase(f"未核对：{row.get('confirmation', '')}", f"unconfirmed: {row.get('confirmation', '')}"))


def _requirements(found: Result) -> dict[str, Any]:
    rows: list[Sequence[Cell]] = []
    for row in listed(found, "requirements"):
        worst = next(iter(listed(row, "worst")), None)
        value = q.UNKNOWN if worst is None else _value(worst, row)
        verdict: Cell = {"zh": row["verdict"], "en": "", "state": "green" if row["verdict"] == "PASS" else "red"}
        rows.append(
            [
                row["id"],
                pair(both(row, "title")),
                optical.limit(row["limit"], row["unit"], row["sense"]),
                value,
                q.UNKNOWN if worst is None else key(worst["key"]),
                _counts(row),
                verdict,
            ]
        )
    return table(
        Phrase("验收要求与结果", "Requirements and results"),
        columns(
            "<要求|Requirement & <名称|Title & >限值|Limit & >最差值 ± U|Worst ± U & <位置|Where & <计数|Count"
            " & ^判定|Verdict"
        ),
        rows,
    )


def _value(worst: Result, row: Result) -> str:
    expanded = worst["budget"].get(f"U_{row['unit']}", 0)
    return optical.with_expanded(worst["value"], int(expanded), row["unit"], worst["side"])


def _methods(found: Result) -> dict[str, Any]:
    return table(
        Phrase("方法与限值出处", "Methods, and where the limits come from"),
        columns("<要求|Requirement & <方法|Method & <定义|Definition & <出处|Source & <核对|Confirmed"),
        [
            [
                row["id"],
                row["method"],
                pair(both(row, "definition")),
                f"{row['source']} ({row['year']})",
                _confirmed(row),
            ]
            for row in listed(found, "requirements")
        ],
    )


def _worst(found: Result) -> dict[str, Any]:
    rows: list[Sequence[Cell]] = []
    for row in listed(found, "requirements"):
        for worst in listed(row, "worst")[: WORST if row["verdict"] != "PASS" else 1]:
            reason = pair(both(worst, "reason"))
            why = worst["why"] or ", ".join(worst["doubts"])
            rows.append([row["id"], key(worst["key"]), _value(worst, row), worst["verdict"], why or reason])
    return table(
        Phrase("最差路径", "Worst paths"),
        columns("<要求|Requirement & <位置|Where & >值 ± U|Value ± U & ^判定|Verdict & <理由|Reason"),
        rows,
    )


def _findings(found: Result) -> dict[str, Any]:
    return table(
        Phrase("发现的缺陷", "Defects found"),
        columns("<缺陷|Defect & <位置|Where & <说明|What it is"),
        [[each["id"], each["where"], pair(Phrase(each["zh"], each["en"]))] for each in listed(found, "findings")],
    )


def _doubts(found: Result) -> dict[str, Any]:
    """Red checks one by one; green ones counted by kind."""
    rows: list[Sequence[Cell]] = []
    doubts = listed(found, "doubts")
    for each in doubts:
        if each["state"] == "red":
            state: Cell = {"zh": "红", "en": "red", "state": "red"}
            rows.append([each["id"], each["subject"], state, each["found"], each["limit"], pair(both(each, "remedy"))])
    green = Counter((each["id"], each["limit"]) for each in doubts if each["state"] != "red")
    for (name, limit), count in green.items():
        said = next(each for each in doubts if (each["id"], each["limit"]) == (name, limit) and each["state"] != "red")
        state = {"zh": "绿", "en": "green", "state": "green"}
        subject, seen = (said["subject"], said["found"]) if count == 1 else (f"× {count}", "")
        rows.append([name, subject, state, seen, limit, ""])
    return table(
        Phrase("对测量本身的检查", "Checks on the measuring"),
        columns("<检查|Check & <对象|Subject & ^状态|State & <发现|Found & <限值|Limit & <处理|Remedy"),
        rows,
    )


def _instruments(found: Result) -> dict[str, Any]:
    return table(
        Phrase("仪器", "Instruments"),
        columns("<名称|Name & <自报身份|Says it is & <校准有效期|Calibrated until & <未核对|Unconfirmed"),
        [
            [
                each["name"],
                each["identity"],
                each["calibrated_until"] or q.UNKNOWN,
                "; ".join(each["unconfirmed"]) or q.UNKNOWN,
            ]
            for each in listed(found, "instruments")
        ],
    )


def _steps(found: Result) -> list[Cell]:
    steps = listed(found, "steps")
    counted: dict[str, int] = {}
    for step in steps:
        counted[str(step.get("action"))] = counted.get(str(step.get("action")), 0) + 1
    lines: list[Cell] = [
        pair(Phrase(f"未订购、未测：{name}", f"not ordered, not measured: {name}"))
        for name in listed(found, "not_ordered")
    ]
    lines += [
        pair(Phrase(f"人工步骤 {name}：{count} 次", f"steps by hand, {name}: {count}"))
        for name, count in counted.items()
    ]
    lines += [
        pair(Phrase(f"中断后重做：{each}", f"cut off and done again: {each}")) for each in listed(found, "cut_off")
    ]
    return lines + [pair(Phrase(str(note), "")) for note in listed(found, "notes")][:STEPS]


def _budgets(found: Result) -> list[dict[str, Any]]:
    """The budget of the worst figure of each requirement."""
    made = []
    for row in listed(found, "requirements"):
        worst = next(iter(listed(row, "worst")), None)
        if worst is None or not worst["budget"]["components"]:
            continue
        unit = row["unit"]
        made.append(
            table(
                Phrase(f"{row['id']} 不确定度预算（{key(worst['key'])}）", "uncertainty budget of the worst figure"),
                columns("<分量|Component & >值|Value & <分布|Law & >u|u & >ν|ν & <来源|Origin"),
                [
                    [
                        pair(both(part, "name")),
                        optical.shown(part[f"value_{unit}"], unit, 4),
                        f"{part['distribution']}, {part['divisor']}",
                        optical.shown(part[f"u_{unit}"], unit, 4),
                        "∞" if part["nu"] is None else str(part["nu"]),
                        part["origin"],
                    ]
                    for part in worst["budget"]["components"]
                ]
                + [
                    [
                        "U = k u_c",
                        optical.shown(worst["budget"][f"U_{unit}"], unit, 4),
                        f"k = {q.milli(worst['budget']['k_milli'])}",
                        optical.shown(worst["budget"][f"u_c_{unit}"], unit, 4),
                        "∞" if worst["budget"]["nu_eff"] is None else str(worst["budget"]["nu_eff"]),
                        worst["budget"]["k_table"],
                    ]
                ],
            )
        )
    return made


def sheet(result: Result) -> dict[str, Any] | None:
    """All text of the acceptance in ``result``; None where there is none. Pure; nothing in it is a float."""
    found: Result | None = result.get("acceptance")
    if not found:
        return None
    profile, dut = found["profile"], found.get("dut") or {}
    verdict = str(found["verdict"])
    return {
        "title": pair(both(profile, "title")),
        "id": f"{profile['id']}/{profile['version']} {profile['year']}",
        "verdict": verdict,
        "word": pair(phrases.VERDICTS[verdict]),
        "dut": text({key: dut.get(key) for key in ("dut", "kind", "serial")}),
        "rule": pair(
            Phrase(
                "判定规则 oxc-g1/1：保护带 w = U（ILAC-G8:09/2019），每个数值误接受概率不超过 2.3 %",
                "Decision rule oxc-g1/1: guard band w = U (ILAC-G8:09/2019); "
                "at most 2.3 % risk of false acceptance a figure",
            )
        ),
        "requirements": _requirements(found),
        "methods": _methods(found),
        "worst": _worst(found),
        "findings": _findings(found),
        "doubts": _doubts(found),
        "instruments": _instruments(found),
        "steps": _steps(found),
        "budgets": _budgets(found),
    }
