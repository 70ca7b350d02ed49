"""The Journal of a run: what happened, line by line, each on disk before the next step."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from harness.canonical import JSON, canonical, integer, parse_object, plain, sha256
from harness.disk import read_file, refusal, sync_directory, write_all, write_file
from harness.errors import ArchiveError

FIRST: Final = "0" * 64
"""What the first line states as the hash of the line before it."""

TORN: Final = "journal.torn"
"""Kind of the line that reports a torn one."""

Instants = Callable[[], tuple[int, int]]
"""Reads (ns since 1970 UTC by CLOCK_REALTIME, ns by CLOCK_MONOTONIC)."""

_KEYS: Final = {"n", "kind", "utc_ns", "monotonic_ns", "previous", "data"}


def host_instants() -> tuple[int, int]:
    """The host's own clocks."""
    return time.time_ns(), time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line."""

    n: int
    """Line number from 0."""
    kind: str
    utc_ns: int
    """ns since 1970 UTC."""
    monotonic_ns: int
    """ns of CLOCK_MONOTONIC; comparable between lines written by one process only."""
    data: Mapping[str, JSON]
    sha256: str
    """Of the line's octets with its newline; the next line repeats it as ``previous``."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A journal as found on disk."""

    entries: tuple[Entry, ...]
    size: int
    """Octets of the whole lines."""
    torn: bytes
    """What follows them: the beginning of a line that a kill or a power cut stopped; empty else."""


def read(path: Path) -> Reading:
    """Every line of the journal at ``path``, its chain checked.

    A line that ends without its newline, or holds no JSON because a power cut left zeros, is torn when it is the
    last one. Raises ArchiveError naming the line when the chain is broken anywhere else: a line was changed,
    removed or put in.
    """
    data = read_file(path)
    entries: list[Entry] = []
    previous, start = FIRST, 0
    while start < len(data):
        end = data.find(b"\n", start) + 1
        if end == 0:
            break
        line = data[start:end]
        if end == len(data) and b"\0" in line:
            break
        entry = _entry(line, path, len(entries), previous)
        entries.append(entry)
        previous, start = entry.sha256, end
    return Reading(tuple(entries), start, data[start:])


def _entry(line: bytes, path: Path, n: int, previous: str) -> Entry:
    where = f"{path.name} line {n}"
    members = parse_object(line[:-1], where)
    kind, data = members.get("kind"), members.get("data")
    if members.keys() != _KEYS or not isinstance(kind, str) or not isinstance(data, dict):
        raise ArchiveError(f"a journal line at {where}", "another object", "restore the journal from a copy")
    if members["n"] != n or members["previous"] != previous:
        raise ArchiveError(
            f"the line after line {n - 1} at {where}",
            f"line {members['n']} that follows another line",
            "a line was changed, removed or put in: restore the journal from a copy",
        )
    utc, monotonic = (integer(members[key], f"{where}.{key}") for key in ("utc_ns", "monotonic_ns"))
    return Entry(n, kind, utc, monotonic, data, sha256(line))


@dataclass(frozen=True, slots=True)
class _End:
    """Where the next line goes; replaced in one assignment, so an interrupt leaves the old or the new."""

    size: int
    n: int
    previous: str


class Journal:
    """The one writer of a journal file.

    Holds an exclusive flock on the file. A torn last line is moved to ``<name>.torn-<line>-<hash>`` beside the
    journal and reported by a line of kind `TORN`; nothing is thrown away. Raises ArchiveError when another
    process writes it, when its chain is broken or when the disk refuses. Threads may share it; a signal
    handler must not call it.
    """

    def __init__(self, path: Path, instants: Instants = host_instants) -> None:
        self.path = path
        self._instants = instants
        self._lock = threading.Lock()
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise refusal(path, error) from error
        try:
            self._claim()
            reading = read(path)
            self._entries = list(reading.entries)
            self._end = _End(reading.size, len(self._entries), self._entries[-1].sha256 if self._entries else FIRST)
            if not self._entries:
                sync_directory(path.parent)
            self._recover(reading.torn)
        except BaseException:
            os.close(self._handle)
            raise

    def _claim(self) -> None:
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            openings = [e.data["by"] for e in read(self.path).entries if "by" in e.data]
            raise ArchiveError(
                f"to be the only writer of {self.path}",
                f"another process writes it (last opened by {openings[-1] if openings else 'someone'})",
                "wait for that run to end or stop it, then try again",
            ) from error

    def _recover(self, torn: bytes) -> None:
        if torn:
            aside = self.path.with_name(f"{self.path.name}.torn-{self._end.n}-{sha256(torn)[:8]}")
            write_file(aside, torn)
        # Looked up on disk: a second kill may have come between setting one aside and reporting it. The line that
        # reports it takes its place in the journal.
        reported = {e.data["file"] for e in self._entries if e.kind == TORN}
        for aside in sorted(self.path.parent.glob(f"{self.path.name}.torn-*[0-9a-f]")):
            if aside.name not in reported:
                octets = aside.read_bytes()
                self.append(TORN, file=aside.name, octets=len(octets), sha256=sha256(octets))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every line so far."""
        return tuple(self._entries[: self._end.n])

    def append(self, kind: str, **data: object) -> Entry:
        """Write one line and return when it is on disk.

        ``data`` may hold what `harness.canonical.plain` takes. Raises ArchiveError when the disk refuses:
        then the journal ends with the line before, and the same call may be tried again.
        """
        fields = plain(data)
        with self._lock:
            end = self._end
            utc, monotonic = self._instants()
            line: dict[str, JSON] = {
                "n": end.n, "kind": kind, "utc_ns": plain(utc), "monotonic_ns": plain(monotonic),
                "previous": end.previous, "data": fields,
            }  # fmt: skip
            octets = canonical(line) + b"\n"
            entry = _entry(octets, self.path, end.n, end.previous)
            try:
                self._drop_unacknowledged()
                write_all(self._handle, octets)
                os.fsync(self._handle)
                self._entries[end.n :] = [entry]
                self._end = _End(end.size + len(octets), end.n + 1, entry.sha256)
            except OSError as error:
                self._drop_unacknowledged()
                raise refusal(self.path, error) from error
            return entry

    def _drop_unacknowledged(self) -> None:
        """Cut what a torn, refused or interrupted line left behind the last one that `append` returned."""
        if os.fstat(self._handle).st_size != self._end.size:
            os.ftruncate(self._handle, self._end.size)
            os.fsync(self._handle)

    def close(self) -> None:
        """Give the file up; a second call does nothing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()
