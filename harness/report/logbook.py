"""A log as lines on a terminal: its entries, its checkpoint, who outside has seen it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich.cells import cell_len, set_cell_size

from harness.archive.history import ABORTED, CUT_OFF, JUDGED_AGAIN, KEY, TORN, Entry, History
from harness.archive.note import Checkpoint, Note
from harness.archive.witness import Word
from harness.report.phrases import Language, Phrase

_HEADS: Final = (
    Phrase("条", "entry"),
    Phrase("时间", "UTC"),
    Phrase("类别", "kind"),
    Phrase("测试", "run"),
    Phrase("判定", "verdict"),
    Phrase("第几次", "attempt"),
    Phrase("说明", "remark"),
)


def _instant(utc_ns: int) -> str:
    try:
        return f"{datetime.fromtimestamp(utc_ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{utc_ns} ns"


def _remark(entry: Entry) -> str:
    if entry.kind in (CUT_OFF, ABORTED):
        return entry.text("reason")
    if entry.kind == JUDGED_AGAIN:
        return entry.text("folder")
    if entry.kind == KEY:
        return f"{entry.text('state')}: {entry.text('key')} {entry.text('owner')} {entry.text('reason')}".rstrip()
    if entry.kind == TORN:
        return entry.text("file")
    return entry.text("text") or entry.text("origin")


def table(history: History, lang: Language) -> list[str]:
    """Every entry in a line, then the runs without an end."""
    rows: list[Sequence[str]] = [[head.to(lang) for head in _HEADS]]
    rows += [
        [
            str(each.n),
            _instant(each.utc_ns),
            each.kind,
            each.run,
            each.text("verdict"),
            str(each.data.get("attempt", "")),
            " ".join(_remark(each).split()),
        ]
        for each in history.entries
    ]
    widths = [max(cell_len(row[k]) for row in rows) for k in range(len(_HEADS))]
    lines = ["  ".join(set_cell_size(c, w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    said = Phrase("没有结束记录（进行中或被终止）", "no end recorded: running, or killed")
    return [*lines, *(f"{each.run}  {said.to(lang)}" for each in history.unended)]


def closing(checkpoint: Checkpoint, note: Note, words: Sequence[Word], pending: Sequence[int]) -> list[str]:
    """The newest checkpoint, whose it is, and what witnesses said; the same in every language, for it is compared."""
    signers = ", ".join(f"{each.name}+{each.key_id}" for each in note.signatures)
    lines = [
        f"log         {checkpoint.origin}",
        f"checkpoint  {checkpoint.size} {checkpoint.root.hex()}",
        f"signed      {signers or 'UNSIGNED'}",
    ]
    lines += [f"witness     {each.size}  {each.kind}  {each.at}  {each.who}  {each.state}".rstrip() for each in words]
    lines += [f"queued      {size}  millicert log witness --request says what to send" for size in pending]
    return lines
