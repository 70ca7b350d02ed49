"""The evidence behind the verdicts as tables: streams, clocks, gates, budgets, consistency, equipment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.report import phrases
from harness.report import quantity as q
from harness.report.boxes import statistic
from harness.report.cells import Cell, Result, both, columns, directions, pair, table, text
from harness.report.phrases import Phrase

_SEEN: Final = Phrase("已核对原文", "source text seen")
_UNSEEN: Final = Phrase("原文未核对", "UNCONFIRMED")


def requirements(result: Result) -> dict[str, Any]:
    """What is required: limit, statistic, definition, and whether the source text was seen."""
    rows: list[list[Cell]] = []
    for r in result.get("requirements") or []:
        standing = _SEEN if r.get("confirmed") else _UNSEEN
        seen = f"{standing.en}: {r['confirmation']}" if r.get("confirmation") else standing.en
        rows.append(
            [
                str(r.get("id", "")),
                pair(both(r, "title")),
                f"≤ {q.limit(q.integer(r.get('limit_ns')) or 0)}",
                pair(statistic(r)),
                pair(both(r, "definition")),
                pair(Phrase(f"{r.get('source', '')} · {standing.zh}", seen)),
            ]
        )
    heads = columns("<编号|Id & <要求|Requirement & >限值|Limit & <统计量|Statistic & <定义|Definition & <依据|Source")
    return table(Phrase("要求与判定量", "Requirements"), heads, rows)


def _planes(planes: object) -> str:
    """Where T1..T4 were stamped, the most frequent source of each first."""
    if not isinstance(planes, Mapping):
        return text(planes)
    shown = []
    for stamp in ("t1", "t2", "t3", "t4"):
        counts = planes.get(stamp)
        if isinstance(counts, Mapping):
            seen = sorted(((int(n), str(k)) for k, n in counts.items() if n and k != "none"), reverse=True)
            shown.append("+".join(name for _, name in seen) or q.UNKNOWN)
        else:
            shown.append(text(counts))
    return " / ".join(shown)


def streams(result: Result) -> dict[str, Any]:
    """What was sent over which link, stamped where."""
    rows: list[list[Cell]] = [
        [
            str(s.get("measurement", "")),
            str(s.get("link", "")),
            str(s.get("name", "")),
            f"{text(s.get('rate_pps'))}{q.NBSP}/s",
            f"{text(s.get('size'))}{q.NBSP}B",
            text(s.get("dscp")),
            text(s.get("flows")),
            text(s.get("schedule")),
            q.span(q.integer(s.get("duration_ns"))),
            _planes(s.get("planes")),
        ]
        for s in result.get("streams") or []
    ]
    heads = columns(
        "<测量|Run & <链路|Link & <测试流|Stream & >速率|Rate & >帧长|Frame & >DSCP|DSCP & >流数|Flows & "
        "<发送间隔|Schedule & >计划时长|Duration & <T1–T4 时间戳平面|Stamp planes T1–T4"
    )
    return table(Phrase("被测路径与测试流", "Item and test streams"), heads, rows)


_COUNTS: Final = (
    *("scheduled", "sent", "late", "skipped", "unstamped"),
    *("lost_forward", "lost_backward", "lost_unknown", "duplicated", "reordered"),
)


def counts(result: Result) -> dict[str, Any]:
    """Packets of each stream by fate."""
    rows: list[list[Cell]] = []
    for s in result.get("streams") or []:
        counts = s.get("counts") or {}
        rows.append(
            [
                str(s.get("measurement", "")),
                *(q.count(q.integer(counts.get(k))) for k in _COUNTS),
                _stalls(s.get("host_stalls")),
            ]
        )
    heads = columns(
        "<测量|Run & >计划|Scheduled & >已发|Sent & >迟发|Late & >未发|Skipped & >缺时间戳|No stamp & "
        ">去程丢包|Lost fwd & >回程丢包|Lost back & >方向不明|Lost, way unknown & >重复|Doubled & >乱序|Reordered & "
        ">主机停顿|Host stalls"
    )
    return table(Phrase("数据包计数", "Packet counts"), heads, rows)


def _stalls(value: object) -> str:
    """Host stalls in one cell: how many releases were late, how late the worst was."""
    if not isinstance(value, Mapping):
        return text(value)
    number, worst = q.integer(value.get("count")), q.integer(value.get("worst_ns"))
    return q.count(number) + (f" (≤ {q.delay(worst)})" if number and worst else "")


def evidence(result: Result) -> dict[str, Any]:
    """What each clock said of itself during the run."""
    words = {
        "all": Phrase("全程", "throughout"),
        "any": Phrase("部分", "partly"),
        "none": Phrase("否", "no"),
        "unknown": Phrase("未知", "unknown"),
        "True": Phrase("是", "yes"),
        "False": Phrase("否", "no"),
        "None": Phrase("未知", "unknown"),
    }
    rows: list[list[Cell]] = []
    for e in result.get("evidence") or []:
        said = str(e.get("synchronised"))
        skew = q.integer(e.get("max_skew_ppb"))
        bound = q.integer(e.get("max_bound_ns"))
        leap = e.get("leap_pending")
        rows.append(
            [
                str(e.get("site", "")),
                str(e.get("source", "")),
                text(e.get("polls")),
                q.instant(q.integer(e.get("first_ns"))).removesuffix(f"{q.NBSP}UTC"),
                q.instant(q.integer(e.get("last_ns"))).removesuffix(f"{q.NBSP}UTC"),
                pair(words.get(said, Phrase(said, said))),
                "±" + q.NBSP + q.delay(bound) if bound is not None else pair(words["unknown"]),
                f"{skew}{q.NBSP}ppb" if skew is not None else q.UNKNOWN,
                text(e.get("identities")),
                pair(words.get(str(leap), Phrase(str(leap), str(leap)))),
            ]
        )
    heads = columns(
        "<站点|Site & <来源|Source & >读数|Polls & <首次 UTC|First, UTC & <末次 UTC|Last, UTC & "
        "<已同步|Synchronised & >最大偏差界|Largest bound & >最大偏斜|Largest skew & <时间来源|Follows & "
        "<闰秒待定|Leap pending"
    )
    return table(Phrase("时钟证据", "Clock evidence"), heads, rows)


_GATE_ROWS: Final = 40
"""More gates than this and only the red ones are listed one by one; the counts still cover all."""


def gates(result: Result) -> dict[str, Any]:
    """Gates with equal finding side by side in one row; with many links, green ones as a count."""
    merged: dict[tuple[str, str, str, str], list[str]] = {}
    for g in result.get("gates") or []:
        key = (str(g.get("id", "")), str(g.get("state", "")), text(g.get("found")), text(g.get("limit")))
        scope = str(g.get("measurement") or "")
        if g.get("direction"):
            scope += " →" if g["direction"] == "forward" else " ←"
        merged.setdefault(key, []).append(scope)
    if len(merged) > _GATE_ROWS:
        counted: dict[tuple[str, str, str, str], list[str]] = {}
        for (name, state, found, limit), scopes in merged.items():
            key = (name, state, found, limit) if state == "red" else (name, state, q.UNKNOWN, q.UNKNOWN)
            counted.setdefault(key, []).extend(scopes)
        merged = {k: v if k[1] == "red" else [f"{len(v)} ×"] for k, v in counted.items()}
    rows: list[list[Cell]] = []
    for (name, state, found, limit), scopes in sorted(merged.items(), key=lambda item: item[0][1] != "red"):
        title = phrases.GATES.get(name, Phrase(name, ""))
        said = phrases.STATES.get(state, Phrase(state, state))
        rows.append(
            [
                pair(title),
                {**dict(zip(("zh", "en"), said, strict=True)), "state": state},
                ", ".join(dict.fromkeys(s.strip() for s in scopes if s.strip())),
                found,
                limit,
            ]
        )
    heads = columns("<检查|Gate & <结论|State & <适用测量|Runs & <所见|Found & <允许|Allowed")
    return table(Phrase("一致性检查（门）", "Gates"), heads, rows)


def remedies(result: Result) -> list[Cell]:
    """What to do about each red gate, once each."""
    seen: dict[str, Phrase] = {}
    for g in result.get("gates") or []:
        said = both(g, "remedy")
        if g.get("state") == "red" and said.en:
            title = phrases.GATES.get(str(g.get("id")), Phrase(str(g.get("id")), str(g.get("id"))))
            seen.setdefault(str(g.get("id")), Phrase(f"{title.zh}：{said.zh}", f"{title.en}: {said.en}"))
    return [pair(p) for p in seen.values()]


def budgets(result: Result) -> list[dict[str, Any]]:
    """One table for each distinct budget; equal ones of several measurements and directions are printed once."""
    merged: dict[str, tuple[Result, list[str]]] = {}
    for b in result.get("budgets") or []:
        body = {k: v for k, v in b.items() if k not in {"measurement", "direction"}}
        scope = f"{b.get('measurement', '')} {'→' if b.get('direction') == 'forward' else '←'}"
        merged.setdefault(repr(sorted(body.items(), key=str)), (b, []))[1].append(scope)
    tables = []
    heads = columns(
        "<分量|Component & >值|Value & <分布|Distribution & >除数|Divisor & >标准不确定度|Std. uncertainty & "
        ">自由度|ν & ^类|Type & <来源|Origin"
    )
    for budget, scopes in merged.values():
        rows: list[list[Cell]] = [
            [
                pair(both(c, "name")),
                q.expanded(q.integer(c.get("value_ps"))),
                pair(phrases.DISTRIBUTIONS.get(str(c.get("distribution")), Phrase(text(c.get("distribution")), ""))),
                text(c.get("divisor")),
                q.expanded(q.integer(c.get("u_ps"))),
                "∞" if c.get("nu") is None else text(c.get("nu")),
                text(c.get("type")),
                text(c.get("origin")),
            ]
            for c in budget.get("components") or []
        ]
        nu = budget.get("nu_eff")
        made = table(Phrase("不确定度预算", "Uncertainty budget"), heads, rows)
        made["scope"] = ", ".join(scopes)
        made["total"] = [
            ["u_c", q.expanded(q.integer(budget.get("u_c_ps")))],
            ["ν_eff", "∞" if nu is None else text(nu)],
            ["k", q.milli(q.integer(budget.get("k_milli")))],
            ["U", q.expanded(q.integer(budget.get("U_ps")))],
            ["Σ", q.expanded(q.integer(budget.get("worst_case_ps")))],
        ]
        tables.append(made)
    return tables


def consistency(result: Result) -> dict[str, Any]:
    """Floor and clock-free bracket of each direction, with the largest clock error that no gate could have seen."""
    rows: list[list[Cell]] = []
    for r, d in directions(result):
        bracket = d.get("bracket") or {}
        lower = q.integer(bracket.get("lower_ps"))
        unseen = q.integer(d.get("largest_unseen_clock_error_ns"))
        rows.append(
            [
                str(r.get("id", "")),
                str(d.get("label", "")),
                q.delay(estimate_ps=lower, rounding="down") if lower is not None else q.UNKNOWN,
                q.delay(q.integer(bracket.get("upper_ns"))),
                text(bracket.get("tier")),
                "; ".join(
                    dict.fromkeys(
                        text(x)
                        for x in (bracket.get("tier_reason"), bracket.get("subtracted"))
                        if x not in (None, "", [])
                    )
                )
                or q.UNKNOWN,
                q.delay(unseen),
            ]
        )
    heads = columns(
        "<要求|Requirement & <方向|Direction & >物理下限|Floor & >不依赖时钟的上限|Clock-free upper & "
        "^层级|Tier & <层级依据与扣除量|Evidence of the tier; subtracted & "
        ">不可察觉的最大时钟误差|Largest unseen clock error"
    )
    return table(Phrase("一致性：下限与双向区间", "Consistency: floor and clock-free bracket"), heads, rows)


_FLOW_FIGURES: Final = ("min_ns", "p50_ns", "p99_ns", "p999_ns", "max_ns")


def _flow(flow: Result, key: str) -> str:
    """A flow's figure, by its name with or without unit suffix; losses can make it infinite."""
    value = flow.get(key, flow.get(key.removesuffix("_ns")))
    return q.INFINITE if value == "infinite" else q.delay(q.integer(value))


def flows(result: Result) -> dict[str, Any]:
    """The worst flow of every direction, with how many flows and distinct routes (floor groups) there were."""
    rows: list[list[Cell]] = []
    for r, d in directions(result):
        flows: list[Result] = list(d.get("flows") or [])
        worst = next((f for f in flows if f.get("port") == d.get("worst_flow")), None)
        groups = len({str(f.get("floor_group", f.get("floor group"))) for f in flows}) if flows else 0
        figures = [_flow(worst, key) for key in _FLOW_FIGURES] if worst else [q.UNKNOWN] * 5
        lost = worst.get("lost") if worst else None
        rows.append(
            [
                str(r.get("id", "")),
                str(d.get("label", "")),
                text(len(flows) or None),
                text(groups or None),
                str(d["worst_flow"]) if d.get("worst_flow") is not None else q.UNKNOWN,
                *figures,
                text(lost),
            ]
        )
    heads = columns(
        "<要求|Requirement & <方向|Direction & >流数|Flows & >路由组|Route groups & >最差流端口|Worst port & "
        ">最小|Min & >中位|Median & >P99|P99 & >P99.9|P99.9 & >最大|Max & >丢包|Lost"
    )
    return table(Phrase("最差流（原样数据，未剔除）", "Worst flow (raw, nothing censored)"), heads, rows)


def equipment(result: Result) -> dict[str, Any]:
    """Instruments, host, software and calibrations by identity and date."""
    rows: list[list[Cell]] = []
    provenance = result.get("provenance") or {}
    for i in provenance.get("instruments") or []:
        if not isinstance(i, Mapping):
            rows.append([text(i), q.UNKNOWN, q.UNKNOWN, q.UNKNOWN, q.UNKNOWN])
            continue
        rows.append(
            [
                text(i.get("role") or i.get("name")),
                text(i.get("model") or i.get("identity")),
                text(i.get("serial")),
                text(i.get("certificate")),
                text(i.get("due") or i.get("calibration_due")),
            ]
        )
    machine = provenance.get("machine") or {}
    if machine:
        rows.append(
            [
                pair(Phrase("测试主机", "Test host")),
                ", ".join(str(machine[k]) for k in ("kernel", "cpu", "clocksource") if machine.get(k)) or q.UNKNOWN,
                text(machine.get("host")),
                q.UNKNOWN,
                q.UNKNOWN,
            ]
        )
    software = provenance.get("software") or {}
    if software:
        changed = Phrase("有未提交改动", "modified") if software.get("modified") else Phrase("", "")
        commit = str(software.get("commit", ""))[:12]
        rows.append(
            [
                pair(Phrase("软件", "Software")),
                f"{software.get('name', '')} {software.get('version', '')}",
                f"{commit} {changed.zh} {changed.en}".strip() or q.UNKNOWN,
                q.UNKNOWN,
                q.UNKNOWN,
            ]
        )
    for c in result.get("calibrations") or []:
        bias, spread = c.get("bias_ns") or {}, c.get("spread_ns") or {}
        said = ", ".join(
            f"{arrow} {q.delay(q.integer(bias.get(way)))} ± {q.delay(q.integer(spread.get(way)))}"
            for way, arrow in (("forward", "→"), ("backward", "←"))
            if bias.get(way) is not None
        )
        rows.append(
            [
                pair(Phrase("零长度校准", "Zero-length calibration")),
                said or q.UNKNOWN,
                text(c.get("measurement")),
                text(c.get("id")),
                text(c.get("expires")),
            ]
        )
    heads = columns(
        "<用途|Role & <型号或数值|Model or value & <编号|Serial, commit, run & <证书|Certificate & <有效期至|Due"
    )
    return table(Phrase("设备、软件与校准", "Equipment, software and calibration"), heads, rows)
