"""A result on a terminal: lines of the certification table, of the preflight table, of progress."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.report import acceptance, optical, phrases
from harness.report import quantity as q
from harness.report.cells import listed
from harness.report.phrases import Language, Phrase, language

__all__ = [
    "STYLES",
    "acceptance_lines",
    "certification_table",
    "coloured",
    "headed",
    "language",
    "preflight_lines",
    "progress_line",
    "requirement_lines",
    "show",
    "title",
    "verdict_line",
]

STYLES: Final = {"PASS": "bold green", "INDETERMINATE": "bold yellow", "INVALID": "bold magenta", "FAIL": "bold red"}
"""Colour of each verdict; the word always stands beside it."""

_HEADS: Final = (
    Phrase("要求", "requirement"),
    Phrase("方向", "direction"),
    Phrase("依据", "basis"),
    Phrase("估计值", "estimate"),
    Phrase("置信区间", "bounds"),
    Phrase("U", "U"),
    Phrase("不依赖时钟", "clock-free"),
    Phrase("判定", "verdict"),
)
_RIGHT: Final = frozenset({3, 4, 5, 6})


class Running(Protocol):
    """What a progress line needs of a running stream."""

    @property
    def name(self) -> str:
        """Of the stream."""

    @property
    def elapsed_ns(self) -> int:
        """Since its start, ns."""

    @property
    def duration_ns(self) -> int:
        """Planned, ns."""

    @property
    def sent(self) -> int:
        """Packets that left."""

    @property
    def received(self) -> int:
        """Packets that came back."""

    @property
    def lost(self) -> int:
        """Packets given up."""

    @property
    def p50_ns(self) -> int | None:
        """Running median, ns; None before the first reply."""

    @property
    def p99_ns(self) -> int | None:
        """Running 99th percentile, ns."""

    @property
    def max_ns(self) -> int | None:
        """Largest delay so far, ns."""


class Check(Protocol):
    """One row of the preflight table."""

    @property
    def name(self) -> str:
        """The check with its subject."""

    @property
    def state(self) -> str:
        """One of "ok", "warn", "waived", "failed"."""

    @property
    def found(self) -> str:
        """What was seen."""

    @property
    def remedy_zh(self) -> str:
        """What to do, in Chinese."""

    @property
    def remedy_en(self) -> str:
        """What to do, in English."""


def headed(zh: str, en: str, text: Phrase | str, lang: Language) -> str:
    """A line under a heading of ten cells; ``text`` in the same language where it has both."""
    return set_cell_size(Phrase(zh, en).to(lang), 10) + (text if isinstance(text, str) else text.to(lang))


def title(lang: Language) -> str:
    """Heading of the certification table."""
    return Phrase("认定", "certification").to(lang)


def _both(mapping: Mapping[str, Any], stem: str, lang: Language) -> str:
    """A bilingual field of the result in one language, the other where it is missing."""
    other = "en" if lang == "zh" else "zh"
    return str(mapping.get(f"{stem}_{lang}") or mapping.get(f"{stem}_{other}") or "")


def _requirements(judged: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The requirements of a result; a single requirement stands for itself."""
    return [judged] if "directions" in judged else list(judged.get("requirements") or [])


def _cells(requirement: Mapping[str, Any], direction: Mapping[str, Any], lang: Language) -> list[str]:
    """One direction as cells, in the order of `_HEADS`; the statement that decided gives the figures."""
    statements = list(direction.get("statements") or [])
    verdict = str(direction.get("verdict", "INVALID"))
    shown: Mapping[str, Any] = next(
        (s for s in statements if s.get("verdict") == verdict), statements[0] if statements else {}
    )
    estimate, expanded = q.integer(shown.get("estimate_ns")), q.integer(shown.get("U_ps"))
    infinite = bool(shown.get("infinite"))
    if estimate is not None and expanded is not None:
        value, uncertainty = q.measured(estimate * 1000, expanded)
    else:
        lost = bool(shown.get("estimate_infinite", infinite))
        value = q.INFINITE if estimate is None and lost else q.delay(estimate)
        uncertainty = q.expanded(expanded)
    lower, upper = q.integer(shown.get("lower_ns")), q.integer(shown.get("upper_ns"))
    bracket = direction.get("bracket") or {}
    floor, above = q.integer(bracket.get("lower_ps")), q.integer(bracket.get("upper_ns"))
    free: Mapping[str, Any] = next((s for s in statements if s.get("basis") == "clock-free"), {})
    below = q.delay(estimate_ps=floor, rounding="down") if floor is not None else q.UNKNOWN
    return [
        _limit(requirement),
        str(direction.get("label", "")),
        phrases.BASES.get(str(shown.get("basis")), Phrase(q.UNKNOWN, q.UNKNOWN)).to(lang).lower(),
        value,
        f"[{q.bound(lower)}, {q.bound(upper, infinite=infinite and upper is None)}]",
        uncertainty,
        f"[{below}, {q.bound(above, infinite=above is None and bool(free.get('infinite')))}]",
        verdict,
    ]


def _remarks(direction: Mapping[str, Any], lang: Language) -> list[str]:
    """Why a direction did not pass, what would settle it, which gates are red; empty for a plain PASS."""
    lines = []
    if direction.get("verdict") != "PASS":
        lines.append(_both(direction, "reason", lang))
        for statement in direction.get("statements") or []:
            basis = phrases.BASES.get(str(statement.get("basis")), Phrase("", "")).to(lang)
            said = _both(statement, "reason", lang)
            if statement.get("verdict") != "PASS" and said and said not in lines[0]:
                lines.append(f"{basis} {statement.get('verdict')}: {said}")
            settle = statement.get("would_settle")
            if settle and direction.get("verdict") == statement.get("verdict") == "INDETERMINATE":
                needed, u = q.integer(statement.get("n_needed")), q.integer(statement.get("u_needed_ps"))
                figures = ([f"n ≥ {q.count(needed)}"] if needed else []) + ([f"u_c ≤ {q.expanded(u)}"] if u else [])
                lines.append(
                    f"{basis}: {phrases.settle(str(settle)).to(lang)}" + (f" ({', '.join(figures)})" if figures else "")
                )
    red = sorted({g for s in direction.get("statements") or [] for g in s.get("gates_red") or []})
    red = [gate for gate in red if not any(gate in line for line in lines)]
    if red:
        lines.append(Phrase("未通过的检查: ", "red gates: ").to(lang) + ", ".join(red))
    if direction.get("interrupted"):
        lines.append(Phrase("测试中断: ", "interrupted: ").to(lang) + str(direction["interrupted"]))
    return [line for line in dict.fromkeys(lines) if line]


def _aligned(rows: Sequence[Sequence[str]], right: frozenset[int]) -> list[str]:
    """Rows in columns by the width that characters take on a terminal, East-Asian ones two cells."""
    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    lines = []
    for row in rows:
        cells = [
            " " * (width - cell_len(cell)) + cell if i in right else set_cell_size(cell, width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _limit(requirement: Mapping[str, Any]) -> str:
    """The id with its limit, starred where something stands against the limit."""
    mark = "*" if phrases.standing(requirement) else ""
    return f"{requirement.get('id', '')} ≤ {q.limit(q.integer(requirement.get('limit_ns')) or 0)}{mark}"


def _footnote(judged: Mapping[str, Any], lang: Language) -> list[str]:
    """One line that explains the stars, none without a star."""
    said: dict[Phrase, list[str]] = {}
    for requirement in _requirements(judged):
        standing = phrases.standing(requirement)
        if standing is not None:
            said.setdefault(standing, []).append(str(requirement.get("id", "")))
    parts = [f"{standing.to(lang)}: {', '.join(ids)}" for standing, ids in said.items()]
    return [f"* {'; '.join(parts)}"] if parts else []


def requirement_lines(judged: Mapping[str, Any], lang: Language) -> list[str]:
    """A judged requirement (or all of a result) as aligned plain lines, reasons below what did not pass.

    A last line explains the star at limits that the source text does not confirm.
    """
    lines = _direction_lines(judged, lang)
    return [*lines, *_footnote(judged, lang)] if lines else []


def _direction_lines(judged: Mapping[str, Any], lang: Language) -> list[str]:
    """Heads, then each direction with its remarks."""
    pairs = [(r, d) for r in _requirements(judged) for d in r.get("directions") or []]
    if not pairs:
        return []
    rows = [[h.to(lang) for h in _HEADS]] + [_cells(r, d, lang) for r, d in pairs]
    aligned = _aligned(rows, _RIGHT)
    lines = [aligned[0]]
    for line, (_, direction) in zip(aligned[1:], pairs, strict=True):
        lines += [line, *(f"    {remark}" for remark in _remarks(direction, lang))]
    return lines


def verdict_line(result: Mapping[str, Any], lang: Language) -> str:
    """The verdict of the whole run: the token, its word, whether complete, whether simulated."""
    verdict = str(result.get("verdict", "INVALID"))
    words = [verdict, phrases.VERDICTS[verdict].to(lang)]
    if not result.get("complete"):
        words.append(Phrase("未完成", "INCOMPLETE").to(lang))
    if result.get("simulated"):
        words.append(phrases.SIMULATED.to(lang))
    return "  ".join(words)


def missing_lines(result: Mapping[str, Any]) -> list[str]:
    """What the plan or the policy wants and the run does not have, a line each."""
    return [f"    - {reason}" for reason in result.get("incomplete_reasons") or []]


def log_lines(result: Mapping[str, Any], lang: Language) -> list[str]:
    """Which attempt the run is, where it stands in the log, whether anyone outside knew that log; none if unlogged."""
    log: Mapping[str, Any] = (result.get("provenance") or {}).get("log") or {}
    if not log:
        return []
    previous: Mapping[str, Any] = log.get("previous") or {}
    earlier = ", ".join(str(n) for n in log.get("earlier") or [])
    before = Phrase(f"（此前：第 {earlier} 条）", f" (before: entries {earlier})").to(lang) if earlier else ""
    attempt, index, size = (str(n) for n in (log.get("attempt"), log.get("index"), previous.get("size")))
    place = Phrase(f"第 {attempt} 次{before}，记录第 {index} 条", f"attempt {attempt}{before}, log entry {index}")
    unsigned = "" if log.get("key") else f"  {phrases.UNSIGNED_LOG.to(lang)}"
    return [
        f"{place.to(lang)}  {phrases.witnessed(log).to(lang)}{unsigned}",
        f"{Phrase('此前记录', 'log before it').to(lang)}  {size} {previous.get('root')}",
    ]


_ACCEPTED: Final = (
    Phrase("要求", "requirement"),
    Phrase("最差值", "worst"),
    Phrase("位置", "where"),
    Phrase("计数", "count"),
    Phrase("判定", "verdict"),
)


def _accepted(row: Mapping[str, Any]) -> list[str]:
    """One requirement of an acceptance as cells: its worst figure speaks for it."""
    worst = next(iter(listed(row, "worst")), None)
    value, where = q.UNKNOWN, q.UNKNOWN
    if worst is not None:
        expanded = int(worst["budget"].get(f"U_{row['unit']}", 0))
        value = optical.with_expanded(worst["value"], expanded, row["unit"], worst["side"])
        where = acceptance.key(worst["key"])
    counts = ", ".join(f"{count} {verdict}" for verdict, count in row["counts"].items() if count) or q.UNKNOWN
    mark = "" if row["confirmed"] else "*"
    limit = optical.limit(row["limit"], row["unit"], row["sense"])
    return [f"{row['id']} {limit}{mark}", value, where, counts, row["verdict"]]


def acceptance_lines(rows: Sequence[Mapping[str, Any]], lang: Language) -> list[str]:
    """Judged requirements of an acceptance as aligned plain lines, the reason below what did not pass."""
    if not rows:
        return []
    aligned = _aligned([[h.to(lang) for h in _ACCEPTED], *map(_accepted, rows)], frozenset({1}))
    lines = [aligned[0]]
    for line, row in zip(aligned[1:], rows, strict=True):
        lines.append(line)
        if row["verdict"] != "PASS":
            worst: Mapping[str, Any] = next(iter(listed(row, "worst")), {})
            why = worst.get("why") or ", ".join(worst.get("doubts") or ())
            lines.append(f"    {_both(row, 'reason', lang)}" + (f": {why}" if why else ""))
    return lines


def _acceptance(result: Mapping[str, Any], lang: Language) -> list[str]:
    """The acceptance in a result: its requirements, what is red, what was found; nothing where there is none."""
    found = result.get("acceptance")
    if not found:
        return []
    lines = acceptance_lines(listed(found, "requirements"), lang)
    for name in listed(found, "not_ordered"):
        lines.append(Phrase(f"未订购、未测：{name}", f"not ordered, not measured: {name}").to(lang))
    if any(not row["confirmed"] for row in listed(found, "requirements")):
        lines.append(Phrase("* 限值未经原文核对", "* limit not confirmed by its source text").to(lang))
    for each in listed(found, "doubts"):
        if each["state"] == "red":
            lines.append(f"    {each['id']} {each['subject']}: {each['found']} → {_both(each, 'remedy', lang)}")
    for each in listed(found, "findings"):
        lines.append(f"    {each['id']} {each['where']}: {each.get(lang) or each['en']}")
    return lines


def certification_table(result: Mapping[str, Any], lang: Language) -> list[str]:
    """The certification table of a result as plain aligned lines, the verdict last."""
    unmeasured = [
        f"{_limit(r)}  " + Phrase("未测量", "not measured").to(lang)
        for r in _requirements(result)
        if not r.get("directions")
    ]
    return [
        *_direction_lines(result, lang),
        *unmeasured,
        *_acceptance(result, lang),
        *_footnote(result, lang),
        *missing_lines(result),
        *log_lines(result, lang),
        verdict_line(result, lang),
    ]


def _certification(result: Mapping[str, Any], lang: Language) -> Table:
    """The certification table in colour; it says nothing that the plain lines do not."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, head in enumerate(_HEADS):
        table.add_column(head.to(lang), justify="right" if i in _RIGHT else "left", overflow="fold", no_wrap=i == 7)
    for requirement in _requirements(result):
        for direction in requirement.get("directions") or []:
            cells = _cells(requirement, direction, lang)
            style = STYLES.get(cells[-1], "")
            table.add_row(*cells[:-1], Text(cells[-1], style=style))
    return table


def show(result: Mapping[str, Any], console: Console, lang: Language) -> None:
    """Print the certification table: coloured on a terminal, plain aligned lines into a file or pipe."""
    if not console.is_terminal:
        for line in certification_table(result, lang):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        return
    if _requirements(result):
        console.print(_certification(result, lang))
    for line in _acceptance(result, lang):
        verdict = next((word for word in STYLES if line.endswith(word)), "")
        console.print(Text(line, style=STYLES.get(verdict, "")))
    for requirement in _requirements(result):
        for direction in requirement.get("directions") or []:
            for remark in _remarks(direction, lang):
                said = f"  {requirement.get('id', '')} {direction.get('label', '')}: {remark}"
                console.print(Text(said, style="dim"))
        if not requirement.get("directions"):
            said = Phrase("未测量", "not measured").to(lang)
            console.print(Text(f"{_limit(requirement)}  {said}", style="yellow"))
    for line in _footnote(result, lang):
        console.print(Text(line, style="dim"))
    for line in missing_lines(result):
        console.print(Text(line))
    for line in log_lines(result, lang):
        console.print(Text(line, style="" if phrases.UNWITNESSED.to(lang) not in line else "yellow"))
    console.print(Text(verdict_line(result, lang), style=STYLES.get(str(result.get("verdict")), "")))


def coloured(result: Mapping[str, Any], lang: Language, width: int) -> list[str]:
    """The coloured table as lines with ANSI codes, for a writer that takes only lines (pytest's on a terminal)."""
    out = io.StringIO()
    show(result, Console(file=out, force_terminal=True, width=width, color_system="standard"), lang)
    return out.getvalue().rstrip("\n").split("\n")


def preflight_lines(rows: Sequence[Check], lang: Language) -> list[str]:
    """The preflight table as plain aligned lines, the remedy below each check that is not ok."""
    words = {
        "ok": Phrase("通过", "ok"),
        "warn": Phrase("注意", "warning"),
        "waived": Phrase("豁免", "waived"),
        "failed": Phrase("失败", "FAILED"),
    }
    cells = [[words.get(row.state, Phrase(row.state, row.state)).to(lang), row.name, row.found] for row in rows]
    lines = []
    for line, row in zip(_aligned(cells, frozenset()), rows, strict=True):
        lines.append(line)
        remedy = Phrase(row.remedy_zh or row.remedy_en, row.remedy_en or row.remedy_zh).to(lang)
        if row.state != "ok" and remedy:
            lines.append(f"    → {remedy}")
    return lines


def progress_line(running: Running, limit_ns: int | None, lang: Language) -> str:
    """A running stream in one line: time, running P50, P99, largest delay against the limit, packets, time left."""
    left = q.clock_time(running.duration_ns - running.elapsed_ns)
    delays = "  ".join(
        f"{name} {q.delay(value)}"
        for name, value in (
            ("p50", running.p50_ns),
            ("p99", running.p99_ns),
            (Phrase("最大", "max").to(lang), running.max_ns),
        )
    )
    words = [
        f"{running.name} {q.clock_time(running.elapsed_ns)}/{q.clock_time(running.duration_ns)}",
        delays,
        f"{Phrase('已发', 'sent').to(lang)} {q.count(running.sent)}  "
        f"{Phrase('已收', 'received').to(lang)} {q.count(running.received)}  "
        f"{Phrase('丢包', 'lost').to(lang)} {q.count(running.lost)}",
    ]
    if limit_ns is not None:
        over = running.p99_ns is not None and running.p99_ns > limit_ns
        mark = Phrase(" 超限", " OVER").to(lang) if over else ""
        words.append(f"{Phrase('限值', 'limit').to(lang)} {q.limit(limit_ns)}{mark}")
    words.append(f"{Phrase('剩余', 'left').to(lang)} {left}")
    return "   ".join(words)
