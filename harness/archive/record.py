"""The Record of a finished folder in the log of its results folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from harness.archive import bag, proof
from harness.archive.folder import REDACTED, RESULT
from harness.archive.history import JUDGED_AGAIN, SEALED, Entry
from harness.archive.log import Log
from harness.canonical import parse_object
from harness.disk import read_file
from harness.errors import ArchiveError

_REMEDY: Final = "seal the run first: the same command with --resume goes on with it"


def _facts(path: Path) -> dict[str, str]:
    """Manifest hash, result hash and verdict of the sealed folder at ``path``, and of the redacted result its hash."""
    if not bag.sealed(path):
        raise ArchiveError(f"a sealed folder at {path}", "one without its last manifest", _REMEDY)
    return {
        "manifest_sha256": bag.file_sha256(path / bag.MANIFEST),
        "result_sha256": bag.file_sha256(path / RESULT),
        "verdict": str(parse_object(read_file(path / RESULT), RESULT).get("verdict", "")),
        **({"redacted_sha256": bag.file_sha256(path / REDACTED)} if (path / REDACTED).exists() else {}),
    }


def sealed(log: Log, path: Path) -> Entry:
    """Log that the run at ``path`` was sealed, once, and keep the proof beside the log.

    Raises ArchiveError when its plan is not in this log, or when it was logged with another manifest.
    """
    run = path.resolve().name
    facts = _facts(path)
    if log.history.plan(run) is None:
        raise ArchiveError(
            f"the plan of {run} in {log.path}", "none", "a log takes only runs that it was told of before they measured"
        )
    found = log.history.sealed(run)
    if found is None:
        found = log.append(SEALED, run=run, **facts)
    elif found.text("manifest_sha256") != facts["manifest_sha256"]:
        raise ArchiveError(
            f"the manifest {found.text('manifest_sha256')[:16]}… of {run}, as logged in entry {found.n}",
            f"{facts['manifest_sha256'][:16]}…", "the folder was changed after it was sealed: restore it from a copy",
        )  # fmt: skip
    proof.keep(log, run)
    return found


def judged_again(log: Log, run: str, folder: Path) -> Entry:
    """Log that the sealed ``run`` has another judgement in ``folder``."""
    return log.append(JUDGED_AGAIN, run=run, folder=folder.name, **_facts(folder))
