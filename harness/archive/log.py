"""The Log of a results folder: every run's beginning and end, append-only under a Merkle tree."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from harness.archive import keys, merkle
from harness.archive.history import BEGUN, IN_USE, KEY, PLAN, TORN, WITHDRAWN, Entry, History, entry
from harness.archive.keys import SigningKey, VerifierKey, key_name
from harness.archive.note import Checkpoint, Note
from harness.canonical import JSON, canonical, plain, sha256
from harness.disk import PARTIAL, make_directory, read_file, refusal, write_all, write_file
from harness.errors import ArchiveError
from harness.journal import Instants, host_instants

FOLDER: Final = "log"
ENTRIES: Final = "entries.jsonl"
"""One canonical JSON line per leaf; the leaf is the line without its newline."""
CHECKPOINT: Final = "checkpoint"
"""The newest checkpoint."""
CHECKPOINTS: Final = "checkpoints"
"""Every checkpoint so far, each under its size."""
KEY_FILE: Final = "key-file"
"""Path of the private key that signs, where one was given; the key itself never lies here."""
KEY_VARIABLE: Final = "MILLICERT_LOG_KEY"
"""Environment variable that names the private key instead."""

UNSIGNED: Final = "UNSIGNED"
WAIT_S: Final = 10.0
"""How long to wait for another process that is writing an entry, which takes milliseconds."""

_RESTORE: Final = "restore the log from a copy; do not mend it by hand"


@dataclass(frozen=True, slots=True)
class Reading:
    """A log's entries as found on disk."""

    history: History
    size: int
    """Octets of the whole lines."""
    torn: bytes
    """What follows them: the beginning of a line that a kill or a power cut stopped; empty else."""


def read(path: Path, known: Reading | None = None) -> Reading:
    """The entries of the log folder at ``path``, those after ``known`` read anew.

    A line that ends without its newline, or holds NULs because a power cut left them, is torn when it is the last.
    Raises ArchiveError naming the line that is none of ours.
    """
    data = read_file(path / ENTRIES)
    entries = list(known.history.entries) if known else []
    start = known.size if known else 0
    while start < len(data):
        end = data.find(b"\n", start) + 1
        if end == 0 or (end == len(data) and b"\0" in data[start:end]):
            break
        entries.append(entry(data[start : end - 1], len(entries), f"{ENTRIES} line {len(entries)}"))
        start = end
    return Reading(History(tuple(entries)), start, data[start:])


def newest(path: Path) -> tuple[Checkpoint, Note] | None:
    """The newest checkpoint of the log folder at ``path`` with its note; None before the first."""
    if not (path / CHECKPOINT).exists():
        return None
    note = Note.parse(read_file(path / CHECKPOINT))
    return Checkpoint.parse(note.text), note


def beside(run: Path) -> Path | None:
    """The log folder of the results folder that holds the run at ``run``; None when there is none."""
    path = run.resolve().parent / FOLDER
    return path if (path / ENTRIES).is_file() else None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a run's plan stands in the log."""

    origin: str
    index: int
    """Of its plan entry."""
    attempt: int
    """1 + number of earlier plans of the same item."""
    item: str
    earlier: tuple[int, ...]
    """Indices of those plans."""
    previous: Mapping[str, JSON]
    """The checkpoint before the plan: ``size``, ``root`` (hex)."""
    key: str
    """Verifier key that signs the log; empty when it is unsigned."""


def standing(history: History, plan: Entry) -> Standing:
    """Where ``plan`` stands, told by the entries before it alone."""
    before = History(history.entries[: plan.n])
    earlier = tuple(each.n for each in before.attempts(plan.text("item")))
    previous: dict[str, JSON] = {"size": plan.n, "root": merkle.root(before.leaves).hex()}
    key = history.key(plan.n + 1)
    return Standing(
        history.origin, plan.n, len(earlier) + 1, plan.text("item"), earlier, previous, "" if key is None else key.line
    )


class Log:
    """A writer of a log; several processes may have one each, for every entry is written under a lock.

    An entry is acknowledged when `append` returns: its line and a checkpoint over it are on disk then. What a kill
    leaves is mended by the next opening or entry: a whole line gets its checkpoint, a torn one is moved to
    ``entries.jsonl.torn-<line>-<hash>`` and reported by an entry of kind `TORN`. All methods raise ArchiveError, with
    what to do, when the disk refuses, the log was altered, or its key is missing.
    """

    def __init__(
        self,
        path: Path,
        *,
        begin: tuple[str, bool] | None = None,
        instants: Instants = host_instants,
        wait_s: float | None = None,
    ) -> None:
        """Open the log folder at ``path``; an empty one is begun with ``begin``: its origin, whether simulated."""
        self.path = path
        self._instants = instants
        self._wait_s = WAIT_S if wait_s is None else wait_s
        self._threads = threading.Lock()
        self._known: Reading | None = None
        with self._locked():
            self._mend()
            if not self.history.entries:
                if begin is None:
                    raise ArchiveError(f"a log at {path}", "none", "make one: millicert log init RESULTS")
                self._write(BEGUN, {"origin": begin[0], "simulated": begin[1]})
            self._ready()

    @classmethod
    def create(
        cls,
        path: Path,
        simulated: bool,
        *,
        origin: str | None = None,
        key_file: Path | None = None,
        instants: Instants = host_instants,
    ) -> Self:
        """A new log folder, or the one that is there when another process was faster.

        ``origin`` names the log, random when not given; ``key_file`` is the private key that signs its checkpoints.
        """
        name = key_name(_random_name() if origin is None else origin)
        make_directory(path / CHECKPOINTS)
        if key_file is not None:
            keys.load(key_file)
            write_file(path / KEY_FILE, f"{key_file.resolve()}\n".encode())
        return cls(path, begin=(name, simulated), instants=instants)

    @classmethod
    def of(cls, results: Path, simulated: bool, instants: Instants = host_instants) -> Self:
        """The log of a results folder, made when there is none; simulated runs have theirs apart."""
        path = (results / "simulated" if simulated else results) / FOLDER
        if not (path / CHECKPOINTS).exists():
            make_directory(path / CHECKPOINTS)
        log = cls(path, begin=(_random_name(), simulated), instants=instants)
        if log.history.simulated is not simulated:
            raise ArchiveError(
                f"a log of {'simulated' if simulated else 'real'} runs at {path}", "one of the other kind", _RESTORE
            )
        return log

    @property
    def history(self) -> History:
        """Every entry as read last; another process may have added some since."""
        return self._known.history if self._known else History(())

    @property
    def origin(self) -> str:
        """The log's name."""
        return self.history.origin

    def append(self, kind: str, **data: object) -> Entry:
        """Add one entry and return when it and a checkpoint over it are on disk.

        ``data`` may hold what `harness.canonical.plain` takes.
        """
        return self._add(kind, lambda _: data)

    def plan(self, run: str, item: str, **data: object) -> Standing:
        """Log that ``run`` is about to measure ``item``; a run that is logged already keeps its entry."""
        with self._locked():
            self._ready()
            found = self.history.plan(run)
            if found is None:
                attempt = 1 + len(self.history.attempts(item))
                found = self._write(PLAN, {"run": run, "item": item, "attempt": attempt, **data})
            return standing(self.history, found)

    def withdraw_key(self, reason: str) -> Entry:
        """Take the key out of use: checkpoints from here on are unsigned until another comes into use."""
        with self._locked():
            self._mend()
            key = self.history.key()
            if key is None:
                raise ArchiveError("a log key in use", "none", "nothing to withdraw")
            (self.path / KEY_FILE).unlink(missing_ok=True)
            return self._write(KEY, {"key": key.line, "state": WITHDRAWN, "reason": reason})

    def use_key(self, key_file: Path) -> VerifierKey:
        """Sign with the private key at ``key_file`` from now on."""
        keys.load(key_file)
        with self._locked():
            self._mend()
            write_file(self.path / KEY_FILE, f"{key_file.resolve()}\n".encode())
            self._take_key()
            key = self.history.key()
        if key is None:
            raise ArchiveError("a key in use", "none", f"unset {KEY_VARIABLE}, then try again")
        return key

    # -- under the lock --------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with the log; waits for who is writing an entry."""
        with self._threads:
            try:
                self._handle = os.open(self.path / ENTRIES, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise refusal(self.path / ENTRIES, error) from error
            try:
                self._claim()
                yield
            finally:
                os.close(self._handle)

    def _claim(self) -> None:
        end = time.monotonic() + self._wait_s
        while True:
            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= end:
                    raise ArchiveError(
                        f"to write in {self.path / ENTRIES}",
                        f"another process held it for {self._wait_s:g} s",
                        f"fuser {self.path / ENTRIES} says which; end it, then try again",
                    ) from error
                time.sleep(0.01)
            except OSError as error:
                raise refusal(self.path / ENTRIES, error) from error
            else:
                return

    def _add(self, kind: str, tell: Callable[[History], Mapping[str, object]]) -> Entry:
        with self._locked():
            self._ready()
            return self._write(kind, tell(self.history))

    def _ready(self) -> None:
        self._mend()
        self._take_key()

    def _mend(self) -> None:
        """Read what is new, refuse what was altered, finish what a kill left unfinished."""
        reading = self._known = read(self.path, self._known if self._continues() else None)
        history = reading.history
        found = newest(self.path)
        size = 0 if found is None else found[0].size
        if size > len(history.entries) or (found is None and len(history.entries) > 1):
            raise ArchiveError(
                f"the {size} entries of the checkpoint in {self.path / ENTRIES}"
                if found
                else f"a checkpoint in {self.path}",
                f"{len(history.entries)}" if found else "none",
                _RESTORE,
            )
        if found is not None:
            expected = Checkpoint(history.origin, size, merkle.root(history.leaves[:size]))
            if found[0] != expected:
                raise ArchiveError(
                    f"in {self.path} the entries that its checkpoint of {size} covers", "other ones",
                    f"millicert log check {self.path.parent} says where; {_RESTORE}",
                )  # fmt: skip
        if len(history.entries) > size + 1:
            raise ArchiveError(
                f"at most one entry after the checkpoint of {size} in {self.path / ENTRIES}",
                f"{len(history.entries) - size}", _RESTORE,
            )  # fmt: skip
        for partial in (*self.path.glob(f"*{PARTIAL}"), *(self.path / CHECKPOINTS).glob(f"*{PARTIAL}")):
            partial.unlink(missing_ok=True)
        if len(history.entries) == size + 1:
            self._checkpoint()
        self._set_aside(reading.torn)

    def _continues(self) -> bool:
        """Whether the file still holds what was read last, as far as its length tells; the root tells the rest."""
        return self._known is not None and os.fstat(self._handle).st_size >= self._known.size

    def _set_aside(self, torn: bytes) -> None:
        reading = self._reading
        if torn:
            aside = self.path / f"{ENTRIES}.torn-{len(reading.history.entries)}-{sha256(torn)[:8]}"
            write_file(aside, torn)
            self._cut(reading.size)
            self._known = Reading(reading.history, reading.size, b"")
        # Looked up on disk: a second kill may have come between setting one aside and reporting it.
        asides = sorted(self.path.glob(f"{ENTRIES}.torn-*[0-9a-f]"))
        if not asides or not self.history.entries:  # entry 0 begins the log; the next reading reports
            return
        reported = {each.text("file") for each in self.history.entries if each.kind == TORN}
        for aside in asides:
            if aside.name not in reported:
                octets = read_file(aside)
                self._write(TORN, {"file": aside.name, "octets": len(octets), "sha256": sha256(octets)})

    @property
    def _reading(self) -> Reading:
        if self._known is None:
            raise ArchiveError(f"the entries of {self.path}", "none read", "open the log first")
        return self._known

    def _cut(self, size: int) -> None:
        try:
            os.ftruncate(self._handle, size)
            os.fsync(self._handle)
        except OSError as error:
            raise refusal(self.path / ENTRIES, error) from error

    def _write(self, kind: str, data: Mapping[str, object]) -> Entry:
        """One line, then the checkpoint over it. A line without its checkpoint stays: it was begun, so it shows."""
        reading = self._reading
        n = len(reading.history.entries)
        utc, _ = self._instants()
        line: dict[str, JSON] = {"n": n, "kind": kind, "utc_ns": plain(utc), "data": plain(data)}
        octets = canonical(line)
        made = entry(octets, n, ENTRIES)
        if kind != KEY:
            self._signer(reading.history)  # a key that cannot be had is told before anything is written
        try:
            write_all(self._handle, octets + b"\n")
            os.fsync(self._handle)
        except OSError as error:
            with contextlib.suppress(ArchiveError):
                self._cut(reading.size)
            raise refusal(self.path / ENTRIES, error) from error
        self._known = Reading(History((*reading.history.entries, made)), reading.size + len(octets) + 1, b"")
        self._checkpoint()
        return made

    def _checkpoint(self) -> None:
        history = self.history
        size = len(history.entries)
        note = Note(Checkpoint(history.origin, size, merkle.root(history.leaves)).text)
        key, signer = history.key(), self._signer(history)
        if key is not None and signer is not None:
            note = note.signed(key, signer.sign)
        make_directory(self.path / CHECKPOINTS)
        write_file(self.path / CHECKPOINTS / str(size), note.octets)
        write_file(self.path / CHECKPOINT, note.octets)

    # -- its key ---------------------------------------------------------------------------------------------

    def _private(self) -> SigningKey | None:
        """The private key that environment or log folder names; None when neither does."""
        told = os.environ.get(KEY_VARIABLE, "")
        if not told and (self.path / KEY_FILE).exists():
            told = read_file(self.path / KEY_FILE).decode().rstrip("\n")
        return keys.load(Path(told)) if told else None

    def _signer(self, history: History) -> SigningKey | None:
        """Who signs the checkpoint over these entries; None: nobody. ArchiveError when the key is not to be had."""
        wanted = history.key()
        if wanted is None:
            return None
        found = self._private()
        if found is None or found.verifier.public != wanted.public:
            raise ArchiveError(
                f"the private key of {wanted.line}, which signs {self.path}",
                "none" if found is None else "another key",
                f"name its file in {KEY_VARIABLE}, or take it out of use: millicert log key --withdraw REASON",
            )
        return found

    def _take_key(self) -> None:
        """Put the key that was given into use, if it is not yet; in the log it bears the log's name."""
        private = self._private()
        if private is None:
            return
        key = VerifierKey(self.origin, private.verifier.public)
        if self.history.key() != key:
            self._write(KEY, {"key": key.line, "state": IN_USE, "owner": private.verifier.name})


def _random_name() -> str:
    return f"millicert.invalid/log/{secrets.token_hex(8)}"


def told(found: Standing, witnessed: int) -> dict[str, Any]:
    """What the run's journal keeps of its standing; ``witnessed`` entries had an outside witness then."""
    return {
        "origin": found.origin, "index": found.index, "attempt": found.attempt, "item": found.item,
        "earlier": list(found.earlier), "previous": dict(found.previous), "key": found.key, "witnessed": witnessed,
    }  # fmt: skip
