"""What a log, or a proof from it, says of a folder under verification."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from harness.archive import bag, log, merkle, proof, witness
from harness.archive.audit import witness_line
from harness.archive.folder import RESULT
from harness.archive.history import JUDGED_AGAIN, Entry, History
from harness.archive.keys import Trust, VerifierKey
from harness.archive.ledger import Ledger
from harness.archive.note import Checkpoint, CosignerKey, Note
from harness.canonical import JSON
from harness.errors import HarnessError

State = Literal["ok", "failed", "not-checked", "note"]

_ASK: Final = "ask who sent it for the proof: millicert log prove DIR"


class Row(NamedTuple):
    """One check."""

    name: str
    state: State
    detail: str


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a run's entries were found."""

    history: History
    """All entries of the log, or those of the run that a proof shows."""
    checkpoint: Checkpoint
    note: Note
    previous: dict[str, JSON]
    """The tree that it is shown to have grown from: ``size``, ``root``."""
    whole: bool
    """Whether it is the log itself."""


def log_rows(folder: Path, run: str, book: Ledger | None, trust: Trust | None) -> Iterator[Row]:
    """Whether ``folder``, run ``run`` or a later judgement of it, stands in its log as its journal says.

    ``book`` is the run's journal, ``trust`` says whose signature under the log counts.
    """
    if book is None:
        yield Row("log", "not-checked", "the run's journal cannot be read")
        return
    told: dict[str, Any] = dict(book.logged or {})
    try:
        source = _source(folder, run, book, told)
    except HarnessError as error:
        yield Row("log", "failed", str(error))
        return
    if source is None:
        yield Row("log", "note", _absent(told))
        return
    if not told and source.history.plan(run) is None and source.history.predates(run):
        yield Row("log", "note", f"the run is older than the log {source.history.origin}")
        return
    problems = list(_problems(source, folder, run, book, told))
    plan = source.history.plan(run)
    if problems or plan is None:
        yield Row("log", "failed", "; ".join(problems) or "no plan entry")
        return
    yield Row("log", "ok", _place(source, run, plan))
    if folder.name != run:
        yield _judgement(source, folder, run)
    yield _signed(source, told, trust)
    covered = int(told.get("witnessed", 0))
    earlier = told.get("earlier") or []
    before = f"earlier ones are entries {', '.join(map(str, earlier))}" if earlier else "none before it in this log"
    said = witness_line(plan.n, covered)
    yield Row("attempts", "note", f"attempt {told.get('attempt')} of its item, {before}; before it measured: {said}")


def redacted_rows(
    folder: Path, run: str, fixed: Mapping[str, str], data: bytes | None, trust: Trust | None
) -> Iterator[Row]:
    """Whether a log fixes the redacted ``folder`` as that of ``run``: its sealing says ``fixed`` (name → hash).

    The log beside it is asked, else the proof in ``data``. Both may come from who sent the folder, so they fix it only
    where the row "checkpoint" is "ok" too: a trusted key signed it.
    """
    place = log.beside(folder)
    try:
        whole = place is not None and log.read(place).history.sealed(run) is not None
        if place is not None and whole:
            found = log.newest(place)
            history = log.read(place).history
            checkpoint, note = found or (Checkpoint(history.origin, 0, merkle.EMPTY), Note(""))
            if checkpoint.root != merkle.root(history.leaves[: checkpoint.size]):
                yield Row("log", "failed", "the checkpoint is not that of the log's entries: millicert log check")
                return
        elif data is not None:
            history, checkpoint, note, _ = proof.proven(data, run)
        else:
            yield Row("log", "note", f"no log beside it and no proof in it; {_ASK}")
            return
    except HarnessError as error:
        yield Row("log", "failed", str(error))
        return
    sealing = history.sealed(run)
    if sealing is None or sealing.n >= checkpoint.size:
        yield Row("log", "failed", f"no checkpoint covers an entry that {run} was sealed")
        return
    differing = [name for name, digest in fixed.items() if sealing.text(name) != digest]
    if differing:
        yield Row("log", "failed", f"{', '.join(differing)} of entry {sealing.n} are others")
        return
    signed = _signed(_Source(history, checkpoint, note, {}, whole), {}, trust)
    told = f"entry {sealing.n} of {checkpoint.origin} names this redaction, verdict {sealing.text('verdict')}"
    yield Row("log", "ok", told)
    yield signed


def time_rows(folder: Path, run: str, trust: Trust | None) -> Iterator[Row]:
    """Who outside has seen the log since ``folder`` was sealed, and when."""
    place = log.beside(folder)
    if place is None:
        yield Row("time", "note", f"no log beside {folder.name}: whether anyone outside has dated it is unknown")
        return
    try:
        history = log.read(place).history
        found = _sealing(history, folder, run)
        words = witness.words(place)
    except HarnessError as error:
        yield Row("time", "failed", str(error))
        return
    if found is None:
        yield Row("time", "note", "its sealing is not in the log beside it, so no witness covers it")
        return
    covering = [word for word in words if word.size > found.n]
    for word in covering:
        what = f"{word.kind} over {word.size} entries, {word.at}"
        if word.state == "failed":
            yield Row("time", "failed", f"{word.file}: {word.detail}")
        elif word.state == "unverified":
            yield Row("time", "note", f"{what}, unverified: {word.detail}")
        elif word.kind == "token":
            yield Row("time", "note", f"{what}, under {word.who} kept beside the log: whether they are an authority's "
                      "is for the reader to say")  # fmt: skip
        elif trust is not None and any(
            each.key.public == CosignerKey.parse(word.detail, word.file).public and each.covers(word.utc_s * 10**9)
            for each in trust.keys
            if word.utc_s is not None
        ):
            yield Row("time", "ok", f"{what}, by trusted {word.who}")
        else:
            yield Row("time", "note", f"{what}, by {word.who}, whom nobody here vouches for")
    if not any(word.state == "verified" for word in covering):
        yield Row(
            "time", "note", "ATTEMPT HISTORY NOT WITNESSED: nobody outside has dated the log since this was sealed"
        )


def _absent(told: dict[str, Any]) -> str:
    if not told:
        return "no log beside it, and its journal tells of none: other attempts cannot be ruled out"
    return (
        f"no log and no proof beside it: that it is entry {told.get('index')}, attempt {told.get('attempt')}, of "
        f"{told.get('origin')} is its own word; {_ASK}"
    )


def _source(folder: Path, run: str, book: Ledger, told: dict[str, Any]) -> _Source | None:
    """The log beside the folder if it is the run's own, else the proof beside it; None when there is neither."""
    place = log.beside(folder)
    if place is not None:
        history = log.read(place).history
        if history.origin == told.get("origin", history.origin):
            found = log.newest(place)
            checkpoint, note = found or (Checkpoint(history.origin, 0, merkle.EMPTY), Note(""))
            leaves = history.leaves
            size = int((told.get("previous") or {}).get("size", 0))
            previous: dict[str, JSON] = {"size": size, "root": merkle.root(leaves[:size]).hex()}
            source = _Source(history, checkpoint, note, previous, True)
            return source if history.simulated is book.simulated else None
    data = proof.beside(folder.with_name(run))
    if data is None:
        return None
    return _Source(*proof.proven(data, run), False)


def _problems(source: _Source, folder: Path, run: str, book: Ledger, told: dict[str, Any]) -> Iterator[str]:
    history, checkpoint = source.history, source.checkpoint
    plan, sealed = history.plan(run), history.sealed(run)
    if source.whole and checkpoint != Checkpoint(
        history.origin, checkpoint.size, merkle.root(history.leaves[: checkpoint.size])
    ):
        yield f"the checkpoint of {checkpoint.size} is not that of the log's entries: millicert log check says where"
    if checkpoint.origin != told.get("origin", checkpoint.origin):
        yield f"it was logged in {told['origin']}, this is {checkpoint.origin}"
    if plan is None:
        yield "its plan was never logged"
        return
    if not told:
        yield f"entry {plan.n} logs its plan, and its journal does not say so"
        return
    for name, ours, theirs in (
        ("index", told.get("index"), plan.n),
        ("attempt", told.get("attempt"), plan.data.get("attempt")),
        ("item", told.get("item"), plan.text("item")),
        ("plan", book.plan_sha256, plan.text("plan_sha256")),
        ("previous checkpoint", told.get("previous"), source.previous),
    ):
        if ours != theirs:
            yield f"{name} {ours} in its journal, {theirs} in the log"
    if source.whole:
        expected = tuple(each.n for each in History(history.entries[: plan.n]).attempts(plan.text("item")))
        if tuple(told.get("earlier") or ()) != expected:
            yield f"earlier attempts {told.get('earlier')} in its journal, {list(expected)} in the log"
    if sealed is None:
        yield f"its sealing was never logged; if its process was killed then: millicert log record {run}"
    elif folder.name == run:
        yield from _differs(folder, sealed)
    if max(plan.n, sealed.n if sealed else 0) >= checkpoint.size:
        yield f"the checkpoint covers {checkpoint.size} entries, not all of its own"


def _differs(folder: Path, told: Entry) -> Iterator[str]:
    for file, key in ((bag.MANIFEST, "manifest_sha256"), (RESULT, "result_sha256")):
        if not (folder / file).is_file() or bag.file_sha256(folder / file) != told.text(key):
            yield f"{file} has another hash than entry {told.n} logged"


def _place(source: _Source, run: str, plan: Entry) -> str:
    sealed = source.history.sealed(run)
    where = "the log beside it" if source.whole else "the proof beside it"
    return (
        f"entry {plan.n} of {source.checkpoint.origin} by {where}, sealed by entry {sealed.n if sealed else '-'}, "
        f"under a checkpoint of {source.checkpoint.size} that continues the report's of {source.previous['size']}"
    )


def _sealing(history: History, folder: Path, run: str) -> Entry | None:
    """The entry that fixed the folder's content."""
    if folder.name == run:
        return history.sealed(run)
    found = (e for e in history.of(run) if e.kind == JUDGED_AGAIN and e.text("folder") == folder.name)
    return next(found, None)


def _judgement(source: _Source, folder: Path, run: str) -> Row:
    found = _sealing(source.history, folder, run)
    if found is None:
        return Row("judgement", "note", f"{folder.name} is not in the log: others may exist that nobody shows")
    problems = list(_differs(folder, found))
    return Row("judgement", "failed" if problems else "ok", "; ".join(problems) or f"as logged in entry {found.n}")


def _signed(source: _Source, told: dict[str, Any], trust: Trust | None) -> Row:
    """Who signed the checkpoint, as far as that can be told."""
    origin, note = source.checkpoint.origin, source.note
    if not note.signatures:
        return Row("checkpoint", "note", f"{log.UNSIGNED}: nobody answers for the log")
    try:
        for each in () if trust is None else trust.keys:
            key = VerifierKey(origin, each.key.public)
            if note.by(key) is not None:
                return Row("checkpoint", "ok", f"signed by trusted key {each.key.name}+{each.key.id} as {key.line}")
        stated = source.history.key(source.checkpoint.size) if source.whole else None
        if stated is None and told.get("key"):
            stated = VerifierKey.parse(str(told["key"]), "the run's journal")
        if stated is not None and note.by(stated) is not None:
            return Row("checkpoint", "note", f"signed by {stated.line}, which nobody here vouches for (--trust FILE)")
    except HarnessError as error:
        return Row("checkpoint", "failed", str(error))
    names = ", ".join(f"{each.name}+{each.key_id}" for each in note.signatures)
    return Row("checkpoint", "failed" if source.whole else "note", f"signed by {names}, of which no key is known here")
