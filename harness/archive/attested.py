"""What can be said of a redacted folder: by itself, and with the run beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.archive import bag, logged, redacted, redaction
from harness.archive.folder import JOURNAL, RESULT, secret
from harness.archive.keys import Trust
from harness.archive.ledger import Ledger, ledger
from harness.archive.logged import Row
from harness.archive.redacted import Redacted
from harness.canonical import parse_object
from harness.disk import read_file
from harness.errors import ArchiveError, HarnessError
from harness.journal import read


def run_of(path: Path) -> Path | None:
    """The run that the redacted folder at ``path`` names, when it lies beside it. Raises ArchiveError as `load`."""
    run = path.with_name(redacted.load(path).run)
    return run if run.is_dir() else None


def book_of(run: Path) -> Ledger:
    """The run's journal. Raises ArchiveError when it cannot be read."""
    return ledger(read(run / JOURNAL).entries)


def content_rows(path: Path) -> Iterator[Row]:
    """Whether the folder is of its form, every revealed value the one hidden, and the run beside it the one named."""
    try:
        found = redacted.load(path)
    except HarnessError as error:
        yield Row("redacted", "failed", str(error))
        return
    hidden = sum(1 for _ in redaction.marks(found.result))
    told = f"REDACTED result of {found.run}: {hidden} values hidden, {len(found.openings)} of them revealed"
    yield Row("redacted", "failed" if found.problems else "ok", "; ".join(found.problems) or told)
    run = path.with_name(found.run)
    if run.is_dir():
        yield _original(run, found)


def _original(run: Path, found: Redacted) -> Row:
    problems = [f"{run.name}: {problem}" for problem in bag.problems(run)]
    if not problems and bag.file_sha256(run / bag.MANIFEST) != found.manifest_sha256:
        problems = [f"{run.name} is not the run that was redacted: its {bag.MANIFEST} has another hash"]
    return Row("original", "failed" if problems else "ok", "; ".join(problems) or f"{run.name} is unaltered")


def log_rows(path: Path, trust: Trust | None) -> Iterator[Row]:
    """Whether the run's log, or the proof in the folder, names this redaction."""
    found = redacted.load(path)
    data = read_file(path / redacted.PROOF) if (path / redacted.PROOF).exists() else None
    fixed = {"manifest_sha256": found.manifest_sha256, "redacted_sha256": found.digest}
    yield from logged.redacted_rows(path, found.run, fixed, data, trust)


def anchor_row(anchored: bool) -> Row:
    """Whether something that the sender cannot make up fixes the redaction."""
    if anchored:
        return Row("anchor", "ok", "fixed when the run was sealed: what is shown is what was signed or logged then")
    detail = "nothing but the sender's word: wanted a --trust key that signed it or its log, or the run"
    return Row("anchor", "not-checked", detail)


def result_row(path: Path) -> Row:
    """Whether the redaction is the result of the run beside it, value by value; not checked without the run."""
    run = run_of(path)
    if run is None:
        return Row("result", "not-checked", "the verdict cannot be recomputed from a redacted folder: it takes the run")
    found = redacted.load(path)
    try:
        problems = list(redaction.unfaithful(parse_object(read_file(run / RESULT), RESULT), found.result, secret(run)))
    except ArchiveError as error:
        problems = [str(error)]
    if len(problems) > 5:
        problems = [*problems[:5], f"{len(problems) - 5} more"]
    return Row("redaction", "failed" if problems else "ok", "; ".join(problems) or "value by value that of the run")
