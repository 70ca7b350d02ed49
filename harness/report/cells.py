"""Cells and tables: finished text in both languages, for any layout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from harness.report import quantity as q
from harness.report.phrases import Phrase

Cell = str | dict[str, str]
"""Text, or the same in both languages as {"zh", "en"}; tables may add "verdict" or "mono" to a cell."""

Result = Mapping[str, Any]


def pair(phrase: Phrase) -> Cell:
    """A Phrase as a cell."""
    return {"zh": phrase.zh, "en": phrase.en}


def both(mapping: Result, stem: str, default: Phrase | None = None) -> Phrase:
    """``<stem>_zh`` and ``<stem>_en`` of a result object; one stands in for the other where it is missing."""
    zh, en = mapping.get(f"{stem}_zh") or "", mapping.get(f"{stem}_en") or ""
    if not zh and not en:
        return default or Phrase("", "")
    return Phrase(str(zh or en), str(en or zh))


def text(value: object) -> str:
    """Any JSON value as plain text for a cell; None and "" are "—"."""
    if value is None or value == "":
        return q.UNKNOWN
    if isinstance(value, bool):
        return "✓" if value else "×"
    if isinstance(value, int):
        return q.count(value)
    if isinstance(value, Mapping):
        return "; ".join(f"{k} {text(v)}" for k, v in value.items() if v not in (None, "")) or q.UNKNOWN
    if isinstance(value, (list, tuple)):
        return ", ".join(text(v) for v in value) or q.UNKNOWN
    return str(value)


def absent(mapping: Result, key: str) -> str:
    """What stands for the missing number ``key``: "—" where it is unknown, another mark where it is redacted."""
    return q.WITHHELD if key in (mapping.get("withheld") or ()) else q.UNKNOWN


_ALIGN: Final = {"<": "left", ">": "right", "^": "center"}


def columns(text: str) -> list[dict[str, Any]]:
    """Columns from "<时延|Delay & >数|Count": alignment mark, Chinese heading, English heading."""
    heads = [(column[0], column[1:].split("|")) for column in text.split(" & ")]
    return [{"head": {"zh": zh, "en": en}, "align": _ALIGN[mark]} for mark, (zh, en) in heads]


def table(title: Phrase, columns: list[dict[str, Any]], rows: Iterable[Sequence[Cell]]) -> dict[str, Any]:
    """A table: title, columns, rows of cells."""
    return {"title": pair(title), "columns": columns, "rows": [list(row) for row in rows]}


def listed(mapping: Result, key: str) -> Sequence[Any]:
    """The list under a key; empty where there is none, or where it is hidden (`harness.archive.redaction`)."""
    found = mapping.get(key)
    return found if isinstance(found, (list, tuple)) else ()


def directions(result: Result) -> list[tuple[Result, Result]]:
    """Every (requirement, direction) of a result, in order."""
    return [(r, d) for r in result.get("requirements") or [] for d in r.get("directions") or []]
