"""Redacting: a sealed run's redacted result is put into a folder of its own, to be handed out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from harness.archive import bag, log, proof, redacted, redaction, signature
from harness.archive.folder import REDACTED, RESULT, secret
from harness.archive.keys import small_file
from harness.archive.superseding import ORIGINAL
from harness.canonical import canonical, parse_object
from harness.disk import make_directory, read_file, write_file
from harness.errors import ArchiveError

Draw = Callable[[Mapping[str, Any], bytes], bytes]
"""(readable result, octets of the redacted result.json) → octets of report.pdf."""

_LARGEST_PROOF: Final = 16 * 1024 * 1024


def redact(
    path: Path, draw: Draw, *, out: Path | None = None, reveal: Sequence[str] = (), utc_ns: int | None = None
) -> Path:
    """Make a redacted folder of the sealed run at ``path``; returns it.

    It is ``out``, a new folder, or ``<run>.redacted-<k>`` beside the run. ``reveal`` names values that are shown all
    the same, as ``$.links[0].route.length_m``, or whole objects of them. Its signatures and proof are those of the
    run that name its redaction. ``utc_ns`` is the time of making, now when not given. Raises ArchiveError when the run
    was altered, never sealed, is none, or is older than redaction.
    """
    run = _run(path)
    own = secret(run)
    if not (run / REDACTED).exists():
        raise ArchiveError(f"{REDACTED} in {run}", "none", "restore it from a copy")
    octets = read_file(run / REDACTED)
    hidden = parse_object(octets, REDACTED)
    result = parse_object(read_file(run / RESULT), RESULT)
    if problem := next(redaction.unfaithful(result, hidden, own), None):
        raise ArchiveError(f"in {REDACTED} the run's result", problem, "restore the run from a copy")
    opened = {each.path: each for wanted in reveal for each in redaction.openings(result, hidden, own, wanted)}
    openings = [opened[name] for name in sorted(opened)]
    at = time.time_ns() if utc_ns is None else utc_ns
    contents = {
        ORIGINAL: redacted.original(run.name, bag.file_sha256(run / bag.MANIFEST), at),
        RESULT: octets,
        redacted.REPORT: draw(redaction.readable(hidden, openings), octets),
    }
    if openings:
        contents[redacted.REVEALED] = redacted.revealed(openings)
    if (proven := _proof(run)) is not None:
        contents[redacted.PROOF] = proven
    signatures = {
        name: small_file(run / name, signature.LARGEST)
        for name in signature.names(run)
        if signature.load(run, name).of_redaction
    }
    target = _fresh(run, out)
    for name, data in contents.items():
        make_directory((target / name).parent)
        write_file(target / name, data)
    bag.seal(target, target.name, datetime.fromtimestamp(at // 1_000_000_000, UTC).date().isoformat())
    for name, data in signatures.items():
        make_directory((target / name).parent)
        write_file(target / name, data)
    return target


def _run(path: Path) -> Path:
    """``path`` in full. Raises ArchiveError when it is no sound sealed run."""
    run = path.resolve()
    if problems := bag.problems(run):
        raise ArchiveError(f"a sound sealed run at {path}", "; ".join(problems), "restore it from a copy")
    if redacted.is_redacted(run):
        raise ArchiveError(f"a run at {path}", "one that is redacted already", "redact the run that it names")
    if (run / ORIGINAL).exists():
        raise ArchiveError(
            f"a run at {path}",
            "a later judgement of one",
            "redact the run it names: that is what was fixed by the seal",
        )
    return run


def _fresh(run: Path, out: Path | None) -> Path:
    k = 1
    while True:
        target = run.with_name(f"{run.name}.redacted-{k}") if out is None else out.resolve()
        if target.is_relative_to(run):
            raise ArchiveError(
                f"a folder outside of {run}", f"{target}", "a sealed run does not change: choose another"
            )
        try:
            make_directory(target, fresh=True)
        except FileExistsError as error:
            if out is not None:
                raise ArchiveError("a new folder", f"{out}, which is there", "choose another name") from error
            k += 1
        else:
            return target


def _proof(run: Path) -> bytes | None:
    """The proof that the log beside the run, or who sent it, gives of its sealing; None when there is none."""
    place = log.beside(run)
    if place is not None and log.read(place).history.sealed(run.name) is not None:
        return canonical(proof.prove(place, run.name))
    data = proof.beside(run)
    if data is None or len(data) > _LARGEST_PROOF or proof.proven(data, run.name)[0].sealed(run.name) is None:
        return None
    return data
