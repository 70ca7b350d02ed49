"""A superseding result: another judgement of a sealed run, in a folder of its own beside it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.archive import bag
from harness.canonical import JSON, canonical, plain, sha256
from harness.disk import make_directory, write_file
from harness.errors import ArchiveError

ORIGINAL: Final = "data/original.json"
"""Which run, the SHA-256 of its manifest, why and when, and what was joined with it."""
SCHEMA: Final = "millicert-judged-again/1"


def sound_run(path: Path) -> Path:
    """``path`` in full. Raises ArchiveError when it is no sealed run, was altered, or is itself a judgement of one."""
    if problems := bag.problems(path):
        raise ArchiveError(f"a sound sealed run at {path}", "; ".join(problems), "restore it from a copy")
    if (path / ORIGINAL).exists():
        raise ArchiveError(f"a run at {path}", "a folder judged again", "judge the run it names")
    return path.resolve()


def original(run: Path, reason: str, utc_ns: int, **more: JSON) -> dict[str, JSON]:
    """Content of original.json for the run at ``run``; ``utc_ns`` is the time of judging."""
    return {
        "schema": SCHEMA,
        "run": run.name,
        "manifest_sha256": bag.file_sha256(run / bag.MANIFEST),
        "reason": reason,
        "judged_utc_ns": plain(utc_ns),
        **more,
    }


def told(reference: Mapping[str, JSON], policy_text: str) -> dict[str, JSON]:
    """What the judge is told on top of the run's provenance, so that the new result cannot pass for the first."""
    return {"policy_sha256": sha256(policy_text.encode()), "judged_again": dict(reference)}


def write(run: Path, kind: str, reference: Mapping[str, JSON], contents: Mapping[str, bytes], utc_ns: int) -> Path:
    """A new bag ``<run>.<kind>-<k>`` with original.json and ``contents`` (name in the bag → octets), sealed.

    Raises ArchiveError when the disk refuses.
    """
    k = 1
    while True:
        target = run.with_name(f"{run.name}.{kind}-{k}")
        try:
            make_directory(target, fresh=True)
            break
        except FileExistsError:
            k += 1
    for name, data in {ORIGINAL: canonical(dict(reference)), **contents}.items():
        make_directory((target / name).parent)
        write_file(target / name, data)
    bag.seal(target, target.name, datetime.fromtimestamp(utc_ns // 1_000_000_000, UTC).date().isoformat())
    return target
