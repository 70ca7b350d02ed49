"""The Proof that a run's entries stand in a log, to be handed out with its folder."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness.archive import merkle
from harness.archive.history import History, entry
from harness.archive.keys import strict_base64
from harness.archive.log import Log, newest, read
from harness.archive.note import Checkpoint, Note
from harness.canonical import JSON, canonical, integer, parse_object
from harness.disk import make_directory, read_file, write_file
from harness.errors import ArchiveError

FOLDER: Final = "proofs"
SUFFIX: Final = ".log.json"
"""Of a proof that lies beside its run folder."""

_SCHEMA: Final = "millicert-log-proof/1"


def prove(path: Path, run: str, previous: int | None = None) -> dict[str, JSON]:
    """What shows that the log folder at ``path`` holds every entry it has of ``run``, under its newest checkpoint.

    Also shows that it grew from its first ``previous`` entries: those that the run's certificate names, or, when not
    given, those before its first entry. Raises ArchiveError when the log does not know the run.
    """
    history = read(path).history
    found = newest(path)
    entries = history.of(run)
    if found is None or not entries:
        raise ArchiveError(f"run {run} in the log {path}", "no entry of it", "look with millicert log show")
    checkpoint, note = found
    leaves = history.leaves[: checkpoint.size]
    first = entries[0].n if previous is None else previous
    return {
        "schema": _SCHEMA,
        "origin": history.origin,
        "run": run,
        "checkpoint": note.octets.decode(),
        "entries": [
            {
                "index": each.n,
                "line": each.line.decode(),
                "path": [base64.b64encode(step).decode() for step in merkle.inclusion_proof(leaves, each.n)],
            }
            for each in entries
            if each.n < checkpoint.size
        ],
        "grown": {
            "size": first,
            "root": merkle.root(leaves[:first]).hex(),
            "path": [base64.b64encode(step).decode() for step in merkle.consistency_proof(leaves, first)],
        },
    }


def keep(log: Log, run: str) -> Path:
    """Put the proof of ``run`` beside the log; returns its file."""
    target = log.path / FOLDER / f"{run}.json"
    make_directory(target.parent)
    write_file(target, canonical(prove(log.path, run)))
    return target


def proven(data: bytes, run: str) -> tuple[History, Checkpoint, Note, dict[str, JSON]]:
    """The entries that the proof in ``data`` shows of ``run``, the checkpoint they stand under, and from where it grew.

    Raises ArchiveError when any of its hashes is not what it should be.
    """
    try:
        return _proven(parse_object(data, "the proof"), run)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise _unlike("a proof of our form", f"{type(error).__name__}: {error}") from error


def _proven(proof: Mapping[str, Any], run: str) -> tuple[History, Checkpoint, Note, dict[str, JSON]]:
    if proof["schema"] != _SCHEMA or proof["run"] != run:
        raise _unlike(f"a proof of run {run}", f"{proof['schema']} of {proof['run']}")
    note = Note.parse(proof["checkpoint"].encode())
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != proof["origin"]:
        raise _unlike(f"a checkpoint of log {proof['origin']}", checkpoint.origin)
    entries = []
    for each in proof["entries"]:
        index = integer(each["index"], "index")
        line = each["line"].encode()
        path = [strict_base64(step, "the proof") for step in each["path"]]
        if not merkle.included(merkle.leaf_hash(line), index, checkpoint.size, path, checkpoint.root):
            raise _unlike(f"entry {index} in the tree of {checkpoint.size}", "another leaf or path")
        made = entry(line, index, f"entry {index} of the proof")
        if made.run != run:
            raise _unlike(f"an entry of run {run}", f"one of {made.run or 'no run'}")
        entries.append(made)
    grown = proof["grown"]
    old, root = integer(grown["size"], "size"), bytes.fromhex(grown["root"])
    path = [strict_base64(step, "the proof") for step in grown["path"]]
    if not merkle.consistent(old, root, checkpoint.size, checkpoint.root, path):
        raise _unlike(f"a tree of {checkpoint.size} that grew from that of {old}", "another")
    return History(tuple(entries)), checkpoint, note, {"size": old, "root": grown["root"]}


def beside(run: Path) -> bytes | None:
    """The proof that lies beside the run folder at ``run``, with its log or alone; None when there is none."""
    for path in (run.parent / f"{run.name}{SUFFIX}", run.parent / "log" / FOLDER / f"{run.name}.json"):
        if path.is_file():
            return read_file(path)
    return None


def _unlike(wanted: str, found: str) -> ArchiveError:
    return ArchiveError(wanted, found, "ask for the proof anew: millicert log prove DIR")
