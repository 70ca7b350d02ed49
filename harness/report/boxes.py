"""Verdict boxes: what is said of one requirement in one direction, with its figures."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

from harness.report import phrases
from harness.report import quantity as q
from harness.report.cells import Cell, Result, absent, both, pair
from harness.report.phrases import Phrase


def statistic(requirement: Result) -> Phrase:
    """What of the delay is judged: "99.9 % quantile", "worst 1 min window median"."""
    kind = str(requirement.get("statistic", ""))
    template = phrases.STATISTICS.get(kind, Phrase(kind, kind))
    p = requirement.get("p") or [1, 2]
    window = requirement.get("window_s")
    return template.fill(
        p=q.percent(int(p[0]), int(p[1])),
        window=Phrase("一分钟", "one-minute") if window in (None, 60) else f"{window}{q.NBSP}s",
    )


def _alpha(requirement: Result) -> Fraction:
    """Statistical risk on each side."""
    given = requirement.get("alpha") or (25, 1000)
    return Fraction(int(given[0]), int(given[1]))


def risk(requirement: Result) -> str:
    """Bound on a false decision, in whole percent rounded up: statistical risk plus that of the uncertainty."""
    bound = _alpha(requirement) + Fraction(*phrases.COVERAGE_RISK)
    return q.percent(-(-100 * bound.numerator // bound.denominator), 100)


def _figures(statement: Result, requirement: Result, *, against: bool) -> list[Cell]:
    """One statement's column of a verdict box, in the order of `_LINES`; ``against``: the box is a FAIL."""
    limit_ns = q.integer(requirement.get("limit_ns")) or 0
    estimate, upper, lower = (q.integer(statement.get(key)) for key in ("estimate_ns", "upper_ns", "lower_ns"))
    expanded, infinite = q.integer(statement.get("U_ps")), bool(statement.get("infinite"))
    if estimate is None:
        # Losses beyond the quantile make it infinite; else nothing was measured.
        lost = bool(statement.get("estimate_infinite", infinite))
        shown = (q.INFINITE if lost else absent(statement, "estimate_ns"), q.expanded(expanded))
    elif expanded is None:
        shown = (q.delay(estimate), q.UNKNOWN)
    else:
        shown = q.measured(estimate * 1000, expanded)
    decided = statement.get("verdict") in ("PASS", "FAIL")
    if not decided:
        decisive: Cell = q.UNKNOWN
    elif against:
        at = None if lower is None or expanded is None else lower * 1000 - expanded
        decisive = q.delay(estimate_ps=at, rounding="down") if at is not None else absent(statement, "lower_ns")
    elif upper is None or expanded is None:
        decisive = q.INFINITE if infinite else absent(statement, "upper_ns")
    else:
        decisive = q.delay(estimate_ps=upper * 1000 + expanded, rounding="up")
    worst = q.integer(statement.get("worst_case_ps"))
    rule = str(statement.get("rule", q.UNKNOWN))
    mark = "*" if phrases.standing(requirement) else ""
    return [
        shown[0],
        absent(statement, "lower_ns") if lower is None else q.bound(lower),
        absent(statement, "upper_ns") if upper is None and not infinite else q.bound(upper, infinite=upper is None),
        q.expanded(q.integer(statement.get("u_c_ps"))),
        q.milli(q.integer(statement.get("k_milli"))),
        shown[1],
        decisive,
        (f"2 × {q.limit(limit_ns)}" if rule.startswith("owd-pair") else q.limit(limit_ns)) + mark,
        q.expanded(worst),
        q.count(q.integer(statement.get("n"))),
        f"{q.ratio(statement.get('n_eff'))} ({q.ratio(statement.get('vif'))})",
        q.count(q.integer(statement.get("exceedances"))),
        rule,
        f"≤ {risk(requirement)}" if decided else q.UNKNOWN,
    ]


_LINES: Final = (
    (Phrase("估计值", "Estimate"), "q"),
    (Phrase("联合置信下限 {c}", "Joint lower bound"), "LCB"),
    (Phrase("置信上限 {c}", "Upper bound"), "UCB"),
    (Phrase("合成标准不确定度", "Standard unc."), "u_c"),
    (Phrase("包含因子", "Coverage factor"), "k"),
    (Phrase("扩展不确定度", "Expanded unc."), "U"),
    (Phrase("判定量", "Decisive quantity"), "UCB + U"),
    (Phrase("限值", "Limit"), "L"),
    (Phrase("最坏情况误差界", "Worst-case error"), "Σ"),
    (Phrase("样本数", "Samples"), "n"),
    (Phrase("有效样本数", "Effective (VIF)"), "n_eff"),
    (Phrase("超限样本", "Samples over L"), "r"),
    (Phrase("判定规则", "Decision rule"), ""),
    (Phrase("误判概率", "Risk of false decision"), ""),
)


def _hint(statement: Result) -> Phrase | None:
    """What would settle an INDETERMINATE statement, with the figure that is needed."""
    settle = statement.get("would_settle")
    if not settle or statement.get("verdict") != "INDETERMINATE":
        return None
    said = phrases.settle(str(settle))
    needed, u_needed = q.integer(statement.get("n_needed")), q.integer(statement.get("u_needed_ps"))
    figures = ([f"n ≥ {q.count(needed)}"] if needed else []) + ([f"u_c ≤ {q.expanded(u_needed)}"] if u_needed else [])
    tail = " (" + ", ".join(figures) + ")" if figures else ""
    return Phrase(said.zh + tail, said.en + tail)


def box(requirement: Result, direction: Result) -> dict[str, Any]:
    """The verdict box of one requirement in one direction."""
    limit_ns = q.integer(requirement.get("limit_ns")) or 0
    verdict = str(direction.get("verdict", "INVALID"))
    statements: list[Result] = list(direction.get("statements") or [])
    decided = next((s for s in statements if s.get("verdict") == verdict), None)
    rules = ", ".join(str(r) for r in requirement.get("rule_ids") or [])
    rule = str((decided or {}).get("rule") or rules or q.UNKNOWN)
    label = str(direction.get("label", ""))
    wording = phrases.PAIR if direction.get("direction") == "pair" else phrases.STATEMENTS[verdict]
    sentence = wording.fill(
        label=label, statistic=statistic(requirement), limit=q.limit(limit_ns), rule=rule, risk=risk(requirement)
    )
    remarks: list[Cell] = []
    for statement in statements:
        if statement.get("verdict") == "PASS":
            continue
        basis = phrases.BASES.get(str(statement.get("basis")), Phrase("", ""))
        told = [both(statement, "reason")]
        red = [str(gate) for gate in statement.get("gates_red") or [] if str(gate) not in told[0].en]
        told += [Phrase(f"未通过的检查 {', '.join(red)}", f"red gates {', '.join(red)}")] if red else []
        hint = _hint(statement) if verdict == "INDETERMINATE" else None
        told += [hint] if hint else []
        why = [part for part in told if part.en]
        if why:
            zh, en = "；".join(part.zh for part in why), "; ".join(part.en for part in why)
            remarks.append(pair(Phrase(f"{basis.zh}：{zh}", f"{basis.en}: {en}")))
    if not statements or (verdict != "PASS" and decided is None):
        remarks.insert(0, pair(both(direction, "reason")))
    if direction.get("interrupted"):
        cause = str(direction["interrupted"])
        remarks.append(pair(Phrase(f"测试中断：{cause}", f"Interrupted: {cause}")))
    alpha = _alpha(requirement)
    confidence = q.percent(alpha.denominator - alpha.numerator, alpha.denominator)
    standing = phrases.standing(requirement)
    columns = [_figures(s, requirement, against=verdict == "FAIL") for s in statements]
    return {
        "requirement": pair(both(requirement, "title", Phrase(str(requirement.get("id", "")), ""))),
        "id": str(requirement.get("id", "")),
        "label": label,
        "standing": pair(standing) if standing else "",
        "verdict": verdict,
        "word": pair(phrases.VERDICTS[verdict]),
        "sentence": pair(sentence),
        "heads": [
            {
                **dict(zip(("zh", "en"), phrases.BASES.get(str(s.get("basis")), Phrase("", "")), strict=True)),
                "verdict": str(s.get("verdict", "INVALID")),
            }
            for s in statements
        ],
        "lines": [
            {
                "name": pair(name.fill(c=confidence)),
                "symbol": "LCB − U" if symbol == "UCB + U" and verdict == "FAIL" else symbol,
                "values": [column[row] for column in columns],
            }
            for row, (name, symbol) in enumerate(_LINES)
        ]
        if columns
        else [],
        "remarks": remarks,
    }
