"""The evidence behind the verdicts as tables: streams, clocks, gates, budgets, consistency, equipment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from harness.report import phrases
from harness.report import quantity as q
from harness.report.boxes import statistic
from harness.report.cells import Cell, Result, absent, both, columns, directions, pair, table, text
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
                pair(Phrase(both(r, "title").zh, f"{both(r, 'title').en} · {r.get('id', '')}")),
                f"≤ {q.limit(q.integer(r.get('limit_ns')) or 0)}",
                pair(statistic(r)),
                pair(both(r, "definition")),
                pair(Phrase(f"{r.get('source', '')} · {standing.zh}", seen)),
            ]
        )
    heads = columns("<要求|Requirement & >限值|Limit & <统计量|Statistic & <定义|Definition & <依据|Source")
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


def _lost_after(ns: int | None) -> str:
    """How long after its sending a packet counts as lost, exactly."""
    return q.UNKNOWN if ns is None else q.limit(ns)


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
            _lost_after(q.integer(s.get("t_max_ns"))),
            _planes(s.get("planes")),
        ]
        for s in result.get("streams") or []
    ]
    heads = columns(
        "<测量|Run & <链路|Link & <测试流|Stream & >速率|Rate & >帧长|Frame & >DSCP|DSCP & >流数|Flows & "
        "<发送间隔|Schedule & >计划时长|Duration & >丢包时限|Lost after & <T1–T4 时间戳平面|Stamp planes T1–T4"
    )
    return table(Phrase("被测路径与测试流", "Item and test streams"), heads, rows)


_SYNC: Final = {
    True: Phrase("已申明：有", "declared: yes"),
    False: Phrase("已申明：无", "declared: none"),
    None: Phrase("未申明", "not declared"),
}


def _far_clock(link: Result) -> Phrase:
    """What the far clock's own words count for."""
    if not link.get("far_clock_trusted"):
        return Phrase("仅供参考", "information only")
    if any(link.get(key) for key in ("authenticated", "key", "key_file")):
        return Phrase("采信，经鉴别", "trusted, authenticated")
    return Phrase("采信，未鉴别", "trusted, not authenticated")


def _given(link: Result, *names: str) -> str:
    """The first of several fields that says anything."""
    return next((text(link[name]) for name in names if link.get(name) not in (None, "", [], {})), q.UNKNOWN)


def links(result: Result) -> dict[str, Any]:
    """What the bench declares of each link, with who answers for it; no rows where the result does not say."""
    rows: list[list[Cell]] = []
    for link in result.get("links") or []:
        ends = " → ".join(_given(link, end) for end in ("near", "far"))
        route = link.get("route")
        fibre: Result = route if isinstance(route, Mapping) else {}
        length = q.integer(fibre.get("length_m", link.get("length_m")))
        rows.append(
            [
                _given(link, "name", "link", "id"),
                ends,
                f"{q.count(length)}{q.NBSP}m" if length is not None else absent(fibre, "length_m"),
                _given(fibre, "origin") if fibre else _given(link, "route_origin", "route"),
                _given(link, "positions_origin", "position_origin", "positions"),
                pair(_far_clock(link)),
                pair(_SYNC[link["sync_over_link"] if isinstance(link.get("sync_over_link"), bool) else None]),
            ]
        )
    heads = columns(
        "<链路|Link & <两端|Ends & >光缆长度|Fibre & <光缆来源|Fibre by & <坐标来源|Positions by & "
        "<远端时钟|Far clock & <同步经过本链路|Time over the link"
    )
    return table(Phrase("链路：台架申明", "Links as the bench declares them"), heads, rows)


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
    number, worst = q.integer(value.get("late", value.get("count"))), q.integer(value.get("worst_ns"))
    return q.count(number) + (f" (≤ {q.delay(worst)})" if number and worst else "")


_WORDS: Final = {
    "all": Phrase("全程", "throughout"),
    "some": Phrase("部分", "partly"),
    "any": Phrase("部分", "partly"),
    "none": Phrase("否", "no"),
    "unknown": Phrase("未知", "unknown"),
    "True": Phrase("是", "yes"),
    "False": Phrase("否", "no"),
    "None": Phrase("未知", "unknown"),
}


def _word(value: object) -> Cell:
    """Yes, no, unknown, throughout, partly."""
    return pair(_WORDS.get(str(value), Phrase(str(value), str(value))))


def evidence(result: Result) -> dict[str, Any]:
    """What each clock said of itself during each run."""
    rows: list[list[Cell]] = []
    for e in result.get("evidence") or []:
        skew, bound = q.integer(e.get("max_skew_ppb")), q.integer(e.get("max_bound_ns"))
        first, last = q.integer(e.get("first_ns")), q.integer(e.get("last_ns"))
        rows.append(
            [
                str(e.get("measurement", "")),
                str(e.get("site", "")),
                str(e.get("source", "")),
                _word(e.get("admissible")),
                text(e.get("polls")),
                q.period(first, last).removesuffix(f"{q.NBSP}UTC") if first and last else q.UNKNOWN,
                _word(e.get("synchronised")),
                _largest(bound, q.integer(e.get("bound_unknown"))),
                f"{q.count(skew)}{q.NBSP}ppb" if skew is not None else _word(None),
                text(e.get("identities")),
                _word(e.get("leap_pending")),
            ]
        )
    heads = columns(
        "<测量|Run & <站点|Site & <来源|Source & <可采信|Admissible & >读数|Polls & <时间（UTC）|Time, UTC & "
        "<已同步|Synchronised & >最大偏差界|Largest bound & >最大偏斜|Largest skew & <时间来源|Follows & "
        "<闰秒待定|Leap pending"
    )
    return table(Phrase("时钟证据", "Clock evidence"), heads, rows)


def _largest(bound_ns: int | None, unknown: int | None) -> Cell:
    """The largest bound that a source stated, with how many of its readings stated none."""
    if bound_ns is None:
        return _word(None)
    said = "±" + q.NBSP + q.delay(bound_ns)
    if not unknown:
        return said
    return pair(Phrase(f"{said}，{q.count(unknown)} 次未知", f"unknown at {q.count(unknown)} polls"))


def _some(values: Iterable[str]) -> str:
    """The first two of several distinct texts, and how many more result.json has."""
    distinct = list(dict.fromkeys(values))
    return "; ".join(distinct[:2]) + (f"; … (+{len(distinct) - 2})" if len(distinct) > 2 else "")


def gates(result: Result) -> dict[str, Any]:
    """Every red finding in a row of its own, green ones of one gate together, at last what did not apply."""
    by_id: dict[str, dict[str, list[Result]]] = {}
    for g in result.get("gates") or []:
        by_id.setdefault(str(g.get("id", "")), {}).setdefault(str(g.get("state", "")), []).append(g)
    red: list[list[Cell]] = []
    green: list[list[Cell]] = []
    idle: list[str] = []
    for name, states in by_id.items():
        title = phrases.GATES.get(name, Phrase(name, ""))
        findings: dict[tuple[str, str], list[str]] = {}
        for g in states.get("red", []):
            scope = f"{g.get('measurement') or ''} {_ARROWS.get(str(g.get('direction')), '')}".strip()
            findings.setdefault((text(g.get("found")), text(g.get("limit"))), []).append(scope)
        for (found, limit), scopes in findings.items():
            red.append([pair(title), _state("red", ""), f"{', '.join(dict.fromkeys(scopes))}: {found}", limit])
        passed = states.get("green", [])
        if passed:
            found, limit = (_some(text(g.get(key)) for g in passed) for key in ("found", "limit"))
            green.append([pair(title), _state("green", f" × {len(passed)}"), found, limit])
        elif not findings:
            idle.append(f"{title.zh} {title.en}")
    if idle:
        green.append([pair(Phrase("其余", "Others")), _state("not-applicable", ""), ", ".join(idle), ""])
    heads = columns("<检查|Gate & <结论|State & <所见|Found & <允许|Allowed")
    return table(Phrase("一致性检查（门）", "Gates"), heads, red + green)


_ARROWS: Final = {"forward": "→", "backward": "←", "pair": "↔"}


def _state(state: str, times: str) -> Cell:
    said = phrases.STATES.get(state, Phrase(state, state))
    return {"zh": said.zh, "en": said.en + times, "state": state}


def remedies(result: Result) -> list[Cell]:
    """What to do about each red gate, once each."""
    seen: dict[str, Phrase] = {}
    for g in result.get("gates") or []:
        said = both(g, "remedy")
        if g.get("state") == "red" and said.en:
            title = phrases.GATES.get(str(g.get("id")), Phrase(str(g.get("id")), str(g.get("id"))))
            seen.setdefault(str(g.get("id")), Phrase(f"{title.zh}：{said.zh}", f"{title.en}: {said.en}"))
    return [pair(p) for p in seen.values()]


def _either(directions: Sequence[str]) -> str:
    """One text where both directions agree, else each behind its arrow."""
    if len(set(directions)) <= 1:
        return directions[0] if directions else q.UNKNOWN
    return " ".join(f"{arrow}{q.NBSP}{said}" for arrow, said in zip("→←", directions, strict=False))


def _names(names: Sequence[Phrase]) -> Phrase:
    """One name where both directions agree, else both."""
    return Phrase(" / ".join(dict.fromkeys(n.zh for n in names)), " / ".join(dict.fromkeys(n.en for n in names)))


def _budget_rows(budgets: Sequence[Result]) -> list[list[Cell]]:
    """Components of the budgets of both directions, side by side where they differ."""
    rows: list[list[Cell]] = []
    for parts in zip(*(b.get("components") or [] for b in budgets), strict=False):
        c = parts[0]
        distribution = str(c.get("distribution"))
        rows.append(
            [
                pair(_names([both(p, "name") for p in parts])),
                _either([q.expanded(q.integer(p.get("value_ps"))) for p in parts]),
                pair(phrases.DISTRIBUTIONS.get(distribution, Phrase(distribution, ""))),
                text(c.get("divisor")),
                _either([q.expanded(q.integer(p.get("u_ps"))) for p in parts]),
                _either([q.freedom(q.integer(p.get("nu"))) for p in parts]),
                text(c.get("type")),
                _either([text(p.get("origin")) for p in parts]),
            ]
        )
    return rows


_CLOCK_UNKNOWN: Final = Phrase("时钟误差未知：不能给出 U", "clock error unknown: no U can be stated")


def _withheld(result: Result, measurement: str) -> bool:
    """Whether the judge states no clock-based U for a measurement, because a clock's error is unknown."""
    told = [
        s.get("U_ps")
        for _, d in directions(result)
        if d.get("measurement") == measurement
        for s in d.get("statements") or []
        if s.get("basis") == "clock"
    ]
    return bool(told) and all(u is None for u in told)


_ALL: Final = Phrase("全部", "all")


def _scopes(budgets: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """Budgets by (basis, what they are for): a measurement, with the requirement where it serves several."""
    keys: dict[tuple[str, str, str], list[Result]] = {}
    for b in budgets:
        key = (str(b.get("basis", "")), str(b.get("measurement", "")), str(b.get("requirement", "")))
        keys.setdefault(key, []).append(b)
    served = Counter((basis, measurement) for basis, measurement, _ in keys)
    return {
        (basis, f"{measurement} {requirement}" if served[basis, measurement] > 1 else measurement): found
        for (basis, measurement, requirement), found in keys.items()
    }


def budgets(result: Result) -> list[dict[str, Any]]:
    """One table for each basis, both directions of all measurements in it; equal components and totals once.

    Tables have "totals" beside the rows: [what for, [[symbol, value], …]].
    """
    heads = columns(
        "<测量|Run & <分量|Component & >值|Value & <分布|Distribution & >除数|Divisor & >标准不确定度|Std. unc. & "
        ">自由度|ν & ^类|Type & <来源|Origin"
    )
    by_basis: dict[str, dict[str, list[Result]]] = {}
    for (basis, scope), found in _scopes(result.get("budgets") or []).items():
        by_basis.setdefault(basis, {})[scope] = found
    made = []
    for basis, scoped in by_basis.items():
        rows: dict[str, tuple[list[Cell], list[str]]] = {}
        totals: dict[str, tuple[list[list[str]], list[str]]] = {}
        for scope, found in scoped.items():
            withheld = basis == "clock" and _withheld(result, str(found[0].get("measurement", "")))
            own = _budget_rows(found)
            if withheld:
                own.append([pair(_CLOCK_UNKNOWN), "", "", "", q.UNKNOWN, "", "", ""])
            total = [
                [name, q.UNKNOWN if withheld else _either([show(q.integer(b.get(key))) for b in found])]
                for name, key, show in (
                    ("u_c", "u_c_ps", q.expanded),
                    ("ν_eff", "nu_eff", q.freedom),
                    ("k", "k_milli", q.milli),
                    ("U", "U_ps", q.expanded),
                    ("Σ", "worst_case_ps", q.expanded),
                )
            ]
            for row in own:
                rows.setdefault(repr(row), (row, []))[1].append(scope)
            totals.setdefault(repr(total), (total, []))[1].append(scope)
        title = phrases.BASES.get(basis, Phrase("", ""))
        shared = sorted(rows.values(), key=lambda row: len(row[1]) < len(scoped))
        made.append(
            table(
                Phrase(f"不确定度预算 {title.zh}".strip(), f"Uncertainty budget, {title.en.lower()}".rstrip(", ")),
                heads,
                [[_scope(scopes, scoped), *row] for row, scopes in shared],
            )
            | {"totals": [[_scope(scopes, scoped), total] for total, scopes in totals.values()]}
        )
    return made


def _scope(scopes: Sequence[str], every: Collection[str]) -> Cell:
    """What a row is for; "all" where it is for each of several."""
    return pair(_ALL) if len(every) > 1 and len(set(scopes)) == len(every) else ", ".join(dict.fromkeys(scopes))


def consistency(result: Result) -> dict[str, Any]:
    """Floor and clock-free bracket of each direction, with the largest clock error that no gate could have seen."""
    rows: list[list[Cell]] = []
    for r, d in directions(result):
        bracket = d.get("bracket") or {}
        lower, upper = q.integer(bracket.get("lower_ps")), q.integer(bracket.get("upper_ns"))
        free: Result = next((s for s in d.get("statements") or [] if s.get("basis") == "clock-free"), {})
        offset = d.get("clock_offset_ns")
        rows.append(
            [
                str(r.get("id", "")),
                str(d.get("label", "")),
                q.delay(estimate_ps=lower, rounding="down") if lower is not None else absent(bracket, "lower_ps"),
                absent(bracket, "upper_ns")
                if upper is None and not free.get("infinite")
                else q.bound(upper, infinite=upper is None),
                text(bracket.get("tier")),
                " … ".join(q.delay(q.integer(x)) for x in offset) if offset else absent(d, "clock_offset_ns"),
                absent(d, "largest_unseen_clock_error_ns")
                if d.get("largest_unseen_clock_error_ns") is None
                else q.delay(q.integer(d.get("largest_unseen_clock_error_ns"))),
            ]
        )
    heads = columns(
        "<要求|Requirement & <方向|Direction & >物理下限|Floor & >不依赖时钟的上限|Clock-free upper & ^层级|Tier & "
        ">时钟差区间|Clock offset within & >不可察觉的时钟误差|Unseen clock error"
    )
    return table(Phrase("一致性：下限与双向区间", "Consistency: floor and clock-free bracket"), heads, rows)


def tiers(result: Result) -> list[Cell]:
    """Why each link's bracket has the tier it has, once for each wording."""
    said: dict[Phrase, list[str]] = {}
    for _, d in directions(result):
        bracket = d.get("bracket") or {}
        en = str(bracket.get("tier_reason") or "")
        if en:
            zh = str(bracket.get("tier_reason_zh") or en)
            tier = text(bracket.get("tier"))
            names = said.setdefault(Phrase(f"第 {tier} 级：{zh}", f"tier {tier}: {en}"), [])
            if d.get("link") not in names:
                names.append(str(d.get("link")))
    return [pair(Phrase(f"{', '.join(links)} {p.zh}", p.en)) for p, links in said.items()]


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
        if d.get("direction") == "pair":
            continue
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
    applied = [bool(c.get("applied")) for c in result.get("calibrations") or []]
    if any(applied):
        zh, en = "最差流（已扣除校准，未剔除任何样本）", "Worst flow (calibrated, nothing censored)"
    else:
        zh, en = "最差流（原样数据，未剔除）", "Worst flow (raw, nothing censored)"
    if any(applied) and not all(applied):
        zh, en = (
            "最差流（有校准者已扣除，未剔除任何样本）",
            "Worst flow (calibrated where a calibration applied, nothing censored)",
        )
    return table(Phrase(zh, en), heads, rows)


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
