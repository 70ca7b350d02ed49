"""The Outcome of a sealed folder: its result, with the hashes of the records that it rests on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.archive import bag, redacted, superseding
from harness.archive.folder import JOURNAL, RESULT, file_name
from harness.archive.ledger import ledger
from harness.canonical import parse_object
from harness.disk import read_file
from harness.errors import ArchiveError
from harness.journal import read as read_journal

REPORT: Final = "data/report.pdf"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a sealed folder, a run or a later judgement of one, came to."""

    result: dict[str, Any]
    """Content of result.json; of a redacted one what its readers see."""
    hashes: dict[str, str]
    """Measurement id → SHA-256 of its record; empty when the run with the records is not at hand."""


def read(path: Path) -> Outcome:
    """The outcome of the sealed folder at ``path``; a later judgement's hashes are those of the run beside it.

    Raises ArchiveError when the folder, or the run beside it, was altered or never sealed.
    """
    path = path.resolve()
    _sound(path)
    if redacted.is_redacted(path):
        return Outcome(redacted.load(path).readable, {})
    result: dict[str, Any] = dict(parse_object(read_file(path / RESULT), RESULT))
    run = _run(path)
    return Outcome(result, {} if run is None else ledger(read_journal(run / JOURNAL).entries).records)


def report(path: Path) -> bytes:
    """The report of the sealed folder at ``path``. Raises ArchiveError when it was altered or has none."""
    path = path.resolve()
    _sound(path)
    if not (path / REPORT).exists():
        raise ArchiveError(f"{REPORT} in {path}", "none", "name the run: a later judgement has no report of its own")
    return read_file(path / REPORT)


def _sound(path: Path) -> None:
    if problems := bag.problems(path):
        raise ArchiveError(f"a sound sealed folder at {path}", "; ".join(problems), "restore it from a copy")


def _run(path: Path) -> Path | None:
    """The run with the records: the folder itself, or the one that it refers to; None when that is not beside it."""
    if not (path / superseding.ORIGINAL).exists():
        return path
    original = parse_object(read_file(path / superseding.ORIGINAL), superseding.ORIGINAL)
    run = path.with_name(file_name(str(original.get("run", ""))))
    if not run.is_dir():
        return None
    _sound(run)
    if bag.file_sha256(run / bag.MANIFEST) != original.get("manifest_sha256"):
        raise ArchiveError(f"beside {path.name} the run it refers to", "another", "restore that run from a copy")
    return run
