"""The Audit of a log: every hash recomputed, every kept checkpoint and sealed run compared, each wrong file named."""

from __future__ import annotations

import contextlib
import fcntl
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from harness.archive import bag, log, merkle, witness
from harness.archive.folder import JOURNAL, RESULT
from harness.archive.history import JUDGED_AGAIN, PLAN, SEALED, TORN, Entry, History
from harness.archive.keys import VerifierKey
from harness.archive.log import CHECKPOINT, CHECKPOINTS, ENTRIES
from harness.archive.note import Checkpoint, Note
from harness.disk import read_file
from harness.errors import ArchiveError, HarnessError

_RUN: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}", re.ASCII)

State = Literal["ok", "failed", "note"]
Keys = list[VerifierKey | None]
"""Who signs at each size."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the audit."""

    state: State
    """"failed" says that something was changed or lost; "note" is for the reader to weigh."""
    name: str
    """A file relative to the log folder, or what the row is about."""
    detail: str


def audit(path: Path, against: bytes | None = None) -> list[Finding]:
    """Everything that can be found out about the log folder at ``path``; never raises for what it finds there.

    ``against`` is a checkpoint of this log that someone kept: a note, or a report's previous one.
    """
    found: list[Finding] = []
    with _still(path):
        try:
            found.extend(_audit(path, against))
        except Exception as error:  # a hostile entry that stumbles one check must not hide the others
            found.append(Finding("failed", ENTRIES, f"cannot be checked further: {type(error).__name__}: {error}"))
    return found


@contextlib.contextmanager
def _still(path: Path) -> Iterator[None]:
    """Nobody is amid an entry, where the file system can tell."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            fcntl.flock(stack.enter_context((path / ENTRIES).open("rb")), fcntl.LOCK_SH)
        yield


def _audit(path: Path, against: bytes | None) -> Iterator[Finding]:
    try:
        reading = log.read(path)
        history = reading.history
        origin = history.origin
        keys = history.keys()
    except HarnessError as error:
        yield Finding("failed", ENTRIES, str(error))
        return
    tops = merkle.roots(history.leaves)
    problems = [*_checkpoints(path, history, tops, keys), *_newest(path, history, tops, keys)]
    yield from problems
    problems = list(_entries(history))
    yield from problems
    if not problems:
        yield Finding("ok", ENTRIES, f"{len(history.entries)} entries of {origin}, root {tops[-1].hex()}")
    if reading.torn:
        yield Finding("note", ENTRIES, f"{len(reading.torn)} octets of a torn line: the next entry sets them aside")
    yield from _torn(path, history)
    yield from _runs(path, history)
    yield from _signed(history)
    yield from _witnessed(path, history)
    if against is not None:
        yield _against(against, history, tops)


# -- the log itself ------------------------------------------------------------------------------------------


def _checkpoints(path: Path, history: History, tops: list[bytes], keys: Keys) -> Iterator[Finding]:
    """Every kept checkpoint, whole and as the entries give it."""
    n = len(history.entries)
    names = sorted(each.name for each in (path / CHECKPOINTS).iterdir()) if (path / CHECKPOINTS).is_dir() else []
    sizes = sorted(int(name) for name in names if re.fullmatch(r"[1-9]\d*", name, re.ASCII))
    for name in names:
        if not name.isdigit() or int(name) not in sizes or str(int(name)) != name:
            yield Finding("note", f"{CHECKPOINTS}/{name}", "not a checkpoint of ours")
    # The last one may be missing when a kill came between an entry and its checkpoint.
    for size in sorted(set(range(1, n)) - set(sizes)):
        yield Finding("failed", f"{CHECKPOINTS}/{size}", "missing")
    agreeing: list[int] = []
    differing: list[int] = []
    for size in sizes:
        try:
            note, found = _own(read_file(path / CHECKPOINTS / str(size)), history, size)
            if size > n:
                gone = f"{n} entries, though {CHECKPOINTS}/{size} covers {size}: some are gone"
                yield Finding("failed", ENTRIES, gone)
            elif found.root != tops[size]:
                differing.append(size)  # so its signature, by a key that entries name, tells nothing
            else:
                _check_signature(note, keys[size])
                agreeing.append(size)
        except HarnessError as error:
            yield Finding("failed", f"{CHECKPOINTS}/{size}", str(error))
    last = max(agreeing, default=0)
    for size in differing:
        if size < last:  # the entries beyond it agree with a later checkpoint
            yield Finding("failed", f"{CHECKPOINTS}/{size}", "its root is not that of the entries")
    beyond = [size for size in differing if size > last]
    if beyond and beyond != [n]:
        yield Finding("failed", ENTRIES, f"changed between entry {last} and entry {beyond[0] - 1}: {_roots(beyond)}")
    elif beyond:
        # Only the last one differs: the newest checkpoint, kept twice, says which of the two was changed.
        with contextlib.suppress(HarnessError):
            newest = log.newest(path)
            if newest is not None and newest[0].size == n and newest[0].root == tops[n]:
                yield Finding("failed", f"{CHECKPOINTS}/{n}", "its root is not that of the entries")
                return
        yield Finding("failed", ENTRIES, f"entry {n - 1} was changed: {_roots(beyond)}")


def _roots(sizes: list[int]) -> str:
    return f"the root differs from {', '.join(f'{CHECKPOINTS}/{size}' for size in sizes[:5])}"


def _own(data: bytes, history: History, size: int) -> tuple[Note, Checkpoint]:
    """A checkpoint of this log at ``size``; its root and its signature are for the caller to check."""
    note = Note.parse(data)
    found = Checkpoint.parse(note.text)
    if found.text != note.text or found.origin != history.origin or found.size != size:
        raise ArchiveError(f"the checkpoint of {history.origin} at {size}", f"{note.text[:120]!r}", "it was changed")
    return note, found


def _check_signature(note: Note, key: VerifierKey | None) -> None:
    """The checkpoint bears the signature of the key that was in use then, and no other."""
    wanted = 0 if key is None else 1
    if len(note.signatures) != wanted or (key is not None and note.by(key) is None):
        raise ArchiveError(
            f"a checkpoint that {'nobody' if key is None else key.line} signed", "another signature", "it was changed"
        )


def _newest(path: Path, history: History, tops: list[bytes], keys: Keys) -> Iterator[Finding]:
    """The newest checkpoint stands for all entries, or for all but the one that a kill left."""
    n = len(history.entries)
    if not (path / CHECKPOINT).exists():
        if n > 1:
            yield Finding("failed", CHECKPOINT, "missing")
        return
    try:
        data = read_file(path / CHECKPOINT)
        size = Checkpoint.parse(Note.parse(data).text).size
        note, found = _own(data, history, size)
        if size not in (n, n - 1):
            yield Finding("failed", CHECKPOINT if size < n else ENTRIES, f"{CHECKPOINT} covers {size} entries of {n}")
            return
        kept = path / CHECKPOINTS / str(size)
        if kept.exists() and kept.read_bytes() == data:
            pass  # what is wrong with one was told of the other
        elif found.root != tops[size]:
            yield Finding("failed", CHECKPOINT, "its root is not that of the entries")
        else:
            _check_signature(note, keys[size])
            other = f"another than {CHECKPOINT}, which agrees with the entries"
            yield Finding("failed", f"{CHECKPOINTS}/{size}", other)
    except HarnessError as error:
        yield Finding("failed", CHECKPOINT, str(error))
        return
    if size < n:
        yield Finding("note", ENTRIES, f"entry {n - 1} has no checkpoint yet: a kill left it; the next entry makes it")


def _entries(history: History) -> Iterator[Finding]:
    """What entries say of each other."""
    items: dict[str, int] = {}
    sealed: dict[str, Entry] = {}
    for each in history.entries:
        where = f"entry {each.n} ({each.kind} {each.run})"
        if each.kind == PLAN:
            items[each.text("item")] = items.get(each.text("item"), 0) + 1
            if each.data.get("attempt") != items[each.text("item")]:
                yield Finding("failed", ENTRIES, f"{where} is attempt {items[each.text('item')]} of its item")
        elif each.kind == SEALED and each.run in sealed:
            yield Finding("failed", ENTRIES, f"{where} seals a run that entry {sealed[each.run].n} sealed")
        elif each.kind == SEALED:
            sealed[each.run] = each


def _torn(path: Path, history: History) -> Iterator[Finding]:
    for each in history.entries:
        if each.kind == TORN:
            name = each.text("file")
            aside = path / name
            if not re.fullmatch(re.escape(ENTRIES) + r"\.torn-[0-9]+-[0-9a-f]{8}", name) or not aside.is_file():
                yield Finding("failed", name, f"missing, though entry {each.n} reports that it was set aside")
            elif bag.file_sha256(aside) != each.text("sha256"):
                yield Finding("failed", name, f"differs from what entry {each.n} reports")
            else:
                yield Finding("note", name, f"a torn line of {each.data.get('octets')} octets, set aside after a kill")


def _signed(history: History) -> Iterator[Finding]:
    key = history.key()
    if key is None:
        yield Finding("note", "key", f"{log.UNSIGNED}: nobody signs the checkpoints; millicert log key --use FILE")
    else:
        yield Finding("ok", "key", f"the newest checkpoints are signed by {key.line}")


# -- what it tells of ----------------------------------------------------------------------------------------


def _runs(path: Path, history: History) -> Iterator[Finding]:
    """Sealed folders that are here are those that were logged; what ran and was not logged; what never ended."""
    results = path.resolve().parent
    for each in history.entries:
        name = {SEALED: each.run, JUDGED_AGAIN: each.text("folder")}.get(each.kind, "")
        if not name:
            continue
        if "/" in name or not (results / name).is_dir():
            yield Finding("note", name, f"sealed by entry {each.n}, its folder is not here")
            continue
        problems = _differs(results / name, each)
        state: State = "failed" if problems else "ok"
        yield Finding(state, name, "; ".join(problems) or f"as logged in entry {each.n}: {each.text('verdict')}")
    for folder in sorted(results.iterdir()):
        if not _RUN.fullmatch(folder.name) or not folder.is_dir() or history.plan(folder.name) is not None:
            continue
        if history.predates(folder.name):
            yield Finding("note", folder.name, "older than the log")
        elif bag.sealed(folder):
            yield Finding("failed", folder.name, "sealed, and the log never heard of it")
        else:
            yield Finding("note", folder.name, "begun, and the log never heard of it: nothing was measured yet")
    for each in history.unended:
        running = _running(results / each.run)
        yield Finding("note", each.run, "still running" if running else f"no end recorded (planned by entry {each.n})")


def _differs(folder: Path, told: Entry) -> list[str]:
    problems = []
    for file, key in ((bag.MANIFEST, "manifest_sha256"), (RESULT, "result_sha256")):
        if not (folder / file).is_file():
            problems.append(f"{file} is missing")
        elif bag.file_sha256(folder / file) != told.text(key):
            problems.append(f"{file} has another hash than entry {told.n} logged")
    return problems


def _running(folder: Path) -> bool:
    """Whether a process holds the run's journal."""
    try:
        with (folder / JOURNAL).open("rb") as journal:
            fcntl.flock(journal, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _witnessed(path: Path, history: History) -> Iterator[Finding]:
    best = 0
    for word in witness.words(path):
        what = f"{word.kind} over {word.size} entries {word.at} {word.who}".rstrip()
        if word.state == "failed":
            yield Finding("failed", word.file, word.detail)
        elif word.state == "unverified":
            yield Finding("note", word.file, f"{what}, unverified: {word.detail}")
        else:
            best = max(best, word.size)
            yield Finding("ok", word.file, what)
    yield Finding("note" if best < len(history.entries) else "ok", "witness", witness_line(len(history.entries), best))


def witness_line(entries: int, covered: int) -> str:
    """Whether anyone outside has seen the history, in words that cannot be overlooked."""
    if covered >= entries > 0:
        return f"all {entries} entries witnessed from outside"
    if covered:
        return f"ATTEMPT HISTORY NOT WITNESSED since entry {covered - 1} (of {entries} entries)"
    return "ATTEMPT HISTORY NOT WITNESSED: nobody outside has vouched for any entry"


def _against(data: bytes, history: History, tops: list[bytes]) -> Finding:
    """A checkpoint that someone kept is one that this log had."""
    name = "against"
    try:
        note = Note.parse(data)
        old = Checkpoint.parse(note.text)
        if old.origin != history.origin:
            return Finding("failed", name, f"a checkpoint of another log, {old.origin}")
        if old.size >= len(tops):
            return Finding("failed", name, f"{ENTRIES} had {old.size} entries then and has {len(tops) - 1} now")
        if old.root != tops[old.size]:
            return Finding(
                "failed", name, f"{ENTRIES} was rewritten: its first {old.size} entries had another root then"
            )
        key = history.key(old.size)
        by = "UNSIGNED" if key is None or note.by(key) is None else f"signed by {key.line}"
    except HarnessError as error:
        return Finding("failed", name, str(error))
    return Finding("ok", name, f"this log at {old.size} entries had that root; that checkpoint is {by}")
