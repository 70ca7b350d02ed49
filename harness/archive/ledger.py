"""The Ledger of a run folder: what its journal says must be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.archive.segments import SEGMENT
from harness.canonical import JSON, integer
from harness.errors import ArchiveError
from harness.journal import TORN, Entry

COMMITTED: Final = "archive.committed"
"""Line 0: ``run``, ``simulated``, ``by``, ``files`` (path in the bag → SHA-256) of plan, bench, policy, environment."""
RESUMED: Final = "archive.resumed"
"""Another process goes on with the run: ``by``."""
STARTED: Final = "archive.started"
"""Rows of ``measurement`` (its folder under data) may follow."""
FINISHED: Final = "archive.finished"
"""``measurement`` is whole: ``rows``, ``files`` (name → SHA-256), ``interrupted`` (why it ended early, or empty)."""
SET_ASIDE: Final = "archive.set-aside"
"""``measurement`` moves to ``attempts/<attempt>/<measurement>``: it was not finished and will be measured again."""
FILE: Final = "archive.file"
"""``path`` in the bag was written: ``sha256``."""
ADOPTED: Final = "archive.adopted"
"""As `FILE`, found whole by the next process: a kill came between writing it and journaling it."""
LOGGED: Final = "log.committed"
"""The plan stands in the log of the results folder: what `harness.archive.log.told` says of it."""
SEALED: Final = "archive.sealed"
"""Last line: ``result_sha256``, ``redacted_sha256`` where there is one; only manifests are written after it."""


@dataclass(slots=True)
class Ledger:
    """The journal's lines of ours, added up."""

    run: str = ""
    simulated: bool = False
    committed: dict[str, str] = field(default_factory=dict)
    """Path in the bag → SHA-256 of what was fixed before anything was measured."""
    hashes: dict[str, str] = field(default_factory=dict)
    """Path in the bag → SHA-256 as journaled last."""
    rows: dict[str, int] = field(default_factory=dict)
    """Measurement folder → rows in its journaled segments."""
    open: list[str] = field(default_factory=list)
    """Measurement folders started and not finished."""
    finished: dict[str, str] = field(default_factory=dict)
    """Measurement folder → why it was interrupted, empty when it ran to its end; in the order of finishing."""
    moves: list[tuple[str, str]] = field(default_factory=list)
    """Folders set aside, from → to, relative to data."""
    sealed: bool = False
    logged: Mapping[str, JSON] | None = None
    """Where the plan stands in the log, as told before anything was measured; None when it was not logged."""

    @property
    def plan_sha256(self) -> str:
        """SHA-256 of plan.json as committed."""
        return self.committed["data/plan.json"]

    @property
    def records(self) -> dict[str, str]:
        """Id of each finished measurement, calibrations apart → SHA-256 of its record, which names its samples'."""
        found = {}
        for folder in self.finished:
            section, _, name = folder.partition("/")
            if section == "measurements":
                found[name] = self.hashes[f"data/{folder}/measurement.json"]
        return found


def ledger(entries: Sequence[Entry]) -> Ledger:
    """Add up ``entries``; ArchiveError when one of ours is not of its form or line 0 commits no plan."""
    book = Ledger()
    if not entries or entries[0].kind != COMMITTED or "data/plan.json" not in _texts(entries[0], "files"):
        raise ArchiveError("a journal whose line 0 commits the plan", "another journal", "use a run folder of ours")
    for entry in entries:
        book.sealed = entry.kind == SEALED
        if entry.kind == COMMITTED:
            book.run, book.simulated = _text(entry, "run"), entry.data.get("simulated") is True
            book.committed = _texts(entry, "files")
            book.hashes |= book.committed
        elif entry.kind == LOGGED:
            book.logged = book.logged or entry.data
        elif entry.kind == STARTED:
            book.open.append(_text(entry, "measurement"))
            book.rows[_text(entry, "measurement")] = 0
        elif entry.kind == SEGMENT:
            folder = _text(entry, "measurement")
            book.hashes[f"data/{folder}/{_text(entry, 'file')}"] = _text(entry, "sha256")
            book.rows[folder] = book.rows.get(folder, 0) + integer(entry.data.get("rows"), "rows")
        elif entry.kind == FINISHED:
            folder = _text(entry, "measurement")
            book.hashes |= {f"data/{folder}/{name}": digest for name, digest in _texts(entry, "files").items()}
            book.finished[folder] = _text(entry, "interrupted")
            book.open = [name for name in book.open if name != folder]
        elif entry.kind == SET_ASIDE:
            _set_aside(book, _text(entry, "measurement"), integer(entry.data.get("attempt"), "attempt"))
        elif entry.kind in (FILE, ADOPTED):
            book.hashes[_text(entry, "path")] = _text(entry, "sha256")
        elif entry.kind == TORN:
            book.hashes[f"data/{_text(entry, 'file')}"] = _text(entry, "sha256")
    return book


def _set_aside(book: Ledger, folder: str, attempt: int) -> None:
    target = f"attempts/{attempt}/{folder}"
    book.moves.append((folder, target))
    book.hashes = {
        f"data/{target}/{path.removeprefix(f'data/{folder}/')}" if path.startswith(f"data/{folder}/") else path: digest
        for path, digest in book.hashes.items()
    }
    book.open = [name for name in book.open if name != folder]
    book.finished.pop(folder, None)
    book.rows.pop(folder, None)


def _text(entry: Entry, key: str) -> str:
    value = entry.data.get(key)
    if not isinstance(value, str):
        raise _unlike(entry, key, value)
    return value


def _texts(entry: Entry, key: str) -> dict[str, str]:
    value = entry.data.get(key)
    if not isinstance(value, Mapping):
        raise _unlike(entry, key, value)
    texts: dict[str, str] = {}
    for name, text in value.items():
        if not isinstance(text, str):
            raise _unlike(entry, f"{key}.{name}", text)
        texts[name] = text
    return texts


def _unlike(entry: Entry, key: str, value: JSON) -> ArchiveError:
    return ArchiveError(
        f"{key} in journal line {entry.n} ({entry.kind})", repr(value), "read it with the version that wrote it"
    )
