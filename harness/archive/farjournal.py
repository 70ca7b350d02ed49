"""The far end's journal: its clock evidence with its own stamp of every reply, signed by whoever ran it.

Beside ``far.jsonl``, a journal of `harness.journal`, stand ``far.jsonl.stamps`` (`harness.archive.stamps`) and
``far.jsonl.dsse.json``, an envelope round the SHA-256 of both.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from harness.archive import bag, envelope
from harness.archive.keys import SigningKey, VerifierKey, small_file
from harness.archive.stamps import RECORD, Replies, decode, encode, joined, replies
from harness.canonical import JSON, canonical, integer, noun, parse_object, sha256
from harness.clock import ClockState
from harness.disk import refusal, sync_directory, write_all, write_file
from harness.errors import ArchiveError, HarnessError
from harness.journal import Entry, Journal, read

START: Final = "reflector.start"
"""Line 0: address, port, ``tai_utc_s``, ``order`` (id, nonce, signer) or None."""
STATE: Final = "reflector.state"
"""``counters``, ``evidence`` (list of ClockState), ``realtime_ns``, ``simulated`` (why it says so in-band)."""
STAMPS: Final = "reflector.stamps"
"""A chunk of the stamp file: ``offset``, ``octets``, ``sha256``, ``rows``, ``from_ns``, ``to_ns`` (T2, ns TAI),
``lost`` (replies that could not be kept), ``sessions`` that begin in it (number, address, port, ssid, listener)."""
END: Final = "reflector.end"

STAMPS_SUFFIX: Final = ".stamps"
SIGNATURE_SUFFIX: Final = ".dsse.json"

_SCHEMA: Final = "millicert-far-journal/1"
_LARGEST_SIGNATURE: Final = 64 * 1024
_PENDING: Final = 1 << 22
"""Replies kept in memory while the disk refuses them, 300 MB; what comes on top is counted as lost."""
_MARGIN_NS: Final = 60 * 10**9


def beside(journal: Path, suffix: str) -> Path:
    """The file that belongs to a journal under its name with ``suffix``."""
    return journal.with_name(journal.name + suffix)


@dataclass(frozen=True, slots=True)
class Session:
    """Whom a session answered."""

    number: int
    address: str
    """Where the requests came from; behind a translator not the sender's own."""
    port: int
    ssid: int
    listener: int
    """Which of the reflector's sockets."""


class StampWriter:
    """Puts what a reflector noted into the stamp file of ``journal``, a chunk at a time.

    Raises ArchiveError when the file is there already or the disk refuses; what was refused is tried again with the
    next chunk.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._path = beside(journal.path, STAMPS_SUFFIX)
        self._size = 0
        self._last: dict[int, tuple[bytes, int, int]] = {}
        """Index in the core → identity, number, last far_seq."""
        self._sessions = 0
        self._begun: list[Session] = []
        self._pending: list[Replies] = []
        self._rows = 0
        self._lost = 0
        try:
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            sync_directory(self._path.parent)
        except OSError as error:
            raise refusal(self._path, error) from error

    def add(self, taken: bytes) -> None:
        """Keep what `fastpath.reflector.Reflector.take` gave for the next chunk."""
        records = np.frombuffer(taken, RECORD)
        if not records.size:
            return
        if self._rows + records.size > _PENDING:
            self._lost += records.size
            return
        records = records[np.argsort(records["session"], kind="stable")]
        index, far_seq = records["session"], records["far_seq"].astype(np.int64)
        # an index that another session was given begins its numbers again
        edges = np.flatnonzero((np.diff(index.astype(np.int64)) != 0) | (np.diff(far_seq) <= 0)) + 1
        numbers = np.empty(records.size, np.int64)
        for rows in np.split(np.arange(records.size), edges):
            numbers[rows] = self._number(records[rows[0]], int(far_seq[rows[-1]]))
        self._pending.append(replies(records, numbers))
        self._rows += records.size

    def _number(self, first: np.void, last_seq: int) -> int:
        index = int(first["session"])
        port, ssid, listener = (int(first[name]) for name in ("port", "ssid", "listener"))
        octets = bytes(first["address"])
        identity = octets + bytes(f"{port}.{ssid}.{listener}", "ascii")
        before = self._last.get(index)
        if before is not None and before[0] == identity and int(first["far_seq"]) > before[2]:
            number = before[1]
        else:
            address = ipaddress.IPv6Address(octets)
            number, self._sessions = self._sessions, self._sessions + 1
            self._begun.append(Session(number, str(address.ipv4_mapped or address), port, ssid, listener))
        self._last[index] = (identity, number, last_seq)
        return number

    def write(self) -> None:
        """Put everything kept on disk as one chunk, then journal it; nothing to keep is nothing to do."""
        if not self._rows and not self._lost:
            return
        rows = joined(self._pending)
        rows = rows.at(np.argsort(rows.session, kind="stable"))
        data = encode(rows) if len(rows) else b""
        try:
            os.ftruncate(self._handle, self._size)  # what an earlier attempt left
            os.lseek(self._handle, self._size, os.SEEK_SET)
            write_all(self._handle, data)
            os.fsync(self._handle)
        except OSError as error:
            raise refusal(self._path, error) from error
        self._journal.append(
            STAMPS,
            offset=self._size,
            octets=len(data),
            sha256=sha256(data),
            rows=len(rows),
            from_ns=int(rows.t2.min()) if len(rows) else 0,
            to_ns=int(rows.t2.max()) if len(rows) else 0,
            lost=self._lost,
            sessions=self._begun,
        )
        self._size += len(data)
        self._begun, self._pending, self._rows, self._lost = [], [], 0, 0

    def close(self) -> None:
        """Give the file up without what the disk refused half of; a second call does nothing."""
        if self._handle >= 0:
            with contextlib.suppress(OSError):  # a longer file than journaled is refused by `load`, and told there
                os.ftruncate(self._handle, self._size)
            os.close(self._handle)
            self._handle = -1


def seal(path: Path, key: SigningKey, *, utc_ns: int | None = None) -> Path:
    """Sign the closed journal at ``path`` with its stamps; returns the envelope's path.

    ``utc_ns`` is the time of signing, now when not given. Raises ArchiveError when a file cannot be read or written.
    """
    stamps = beside(path, STAMPS_SUFFIX)
    body: dict[str, JSON] = {
        "schema": _SCHEMA,
        "journal_sha256": bag.file_sha256(path),
        "stamps_sha256": bag.file_sha256(stamps) if stamps.exists() else "",
        "signer": key.verifier.name,
        "signed_utc_ns": str(time.time_ns() if utc_ns is None else utc_ns),
    }
    made = beside(path, SIGNATURE_SUFFIX)
    write_file(made, envelope.close(envelope.FAR_JOURNAL, canonical(body), key))
    return made


@dataclass(frozen=True, slots=True)
class _Chunk:
    offset: int
    octets: int
    sha256: str
    rows: int
    from_ns: int
    to_ns: int


@dataclass(frozen=True)
class FarJournal:
    """A far end's journal as handed over, whole in itself; whom to believe is for the reader."""

    path: Path
    sha256: str
    stamps_sha256: str
    """Empty when it came without a stamp file."""
    start: Mapping[str, JSON]
    """What its line 0 says."""
    ended: bool
    """Its last line ends it: nothing was cut off."""
    states: tuple[ClockState, ...]
    sessions: tuple[Session, ...]
    lost: int
    """Replies that the far end could not keep, as its memory or its disk was full."""
    signer: VerifierKey | None
    """Whose signature holds it all; None: unsigned."""
    signed_ns: int
    """ns since 1970 UTC by the signer's own word; 0 when unsigned."""
    chunks: tuple[_Chunk, ...] = ()

    @property
    def order(self) -> Mapping[str, JSON]:
        """``id``, ``nonce`` and ``signer`` of the work order it carries; empty without one."""
        found = self.start.get("order")
        return found if isinstance(found, Mapping) else {}

    def rows(self, first_ns: int, last_ns: int) -> Replies:
        """Replies whose T2 (ns TAI) may lie within, a minute more on each side. Raises ArchiveError for damage."""
        parts = []
        name = beside(self.path, STAMPS_SUFFIX).name
        with beside(self.path, STAMPS_SUFFIX).open("rb") as stream:
            for chunk in self.chunks:
                if not chunk.rows or chunk.to_ns < first_ns - _MARGIN_NS or chunk.from_ns > last_ns + _MARGIN_NS:
                    continue
                stream.seek(chunk.offset)
                data = stream.read(chunk.octets)
                found = decode(data, name) if sha256(data) == chunk.sha256 else None
                if found is None or len(found) != chunk.rows:
                    wanted = f"the {chunk.rows} stamps journaled from octet {chunk.offset} of {name}"
                    raise ArchiveError(wanted, "other octets", "get both files anew from the far end")
                parts.append(found)
        return joined(parts)


def load(path: Path) -> FarJournal:
    """The far end's journal at ``path`` with what lies beside it, its chain and its signature checked.

    Raises ArchiveError when a line, a stamp or the signature was altered; one that was never signed has no signer.
    """
    reading = read(path)
    if reading.torn:
        raise ArchiveError(f"whole lines in {path.name}", "a torn last line", "get it anew from the far end")
    entries = reading.entries
    if not entries or entries[0].kind != START:
        raise ArchiveError(
            f"a reflector's journal at {path}", "another journal", "name the file of `millicert reflect`"
        )
    if [entry.n for entry in entries if entry.kind == START] != [0]:
        raise ArchiveError(f"one start in {path.name}", "several", "use a journal for each start of the reflector")
    stamps = beside(path, STAMPS_SUFFIX)
    digest = bag.file_sha256(path)
    stamps_digest = bag.file_sha256(stamps) if stamps.exists() else ""
    signer, signed_ns = _signature(path, digest, stamps_digest)
    try:
        states = [state for entry in entries if entry.kind == STATE for state in _states(entry, path.name)]
        chunks, sessions, lost = _stamps(entries, path.name)
    except (KeyError, TypeError) as error:
        raise _not_ours(path.name, f"{type(error).__name__}: {error}") from error
    if stamps_digest and stamps.stat().st_size != sum(chunk.octets for chunk in chunks):
        found = f"{stamps.stat().st_size} octets"
        raise ArchiveError(f"the stamps that {path.name} tells of in {stamps.name}", found, "get both anew")
    return FarJournal(
        path=path,
        sha256=digest,
        stamps_sha256=stamps_digest,
        start=entries[0].data,
        ended=entries[-1].kind == END,
        states=tuple(states),
        sessions=sessions,
        lost=lost + _unrecorded(entries, path.name),
        signer=signer,
        signed_ns=signed_ns,
        chunks=chunks if stamps_digest else (),
    )


def _signature(path: Path, digest: str, stamps_digest: str) -> tuple[VerifierKey | None, int]:
    place = beside(path, SIGNATURE_SUFFIX)
    if not place.exists():
        return None, 0
    body, key = envelope.unseal(small_file(place, _LARGEST_SIGNATURE), envelope.FAR_JOURNAL, place.name)
    signed = parse_object(body, place.name)
    if signed.get("schema") != _SCHEMA or signed.get("signer") != key.name:
        raise ArchiveError(f"a signature of format {_SCHEMA} in {place.name}", "another", "get it anew")
    for name, here in (("journal", digest), ("stamps", stamps_digest)):
        if signed.get(f"{name}_sha256") != here:
            found = "a file that was altered, or is another one" if here else "none"
            file = path.name if name == "journal" else path.name + STAMPS_SUFFIX
            raise ArchiveError(f"the {name} that {key.name} signed as {file}", found, "get it anew from the far end")
    told = signed.get("signed_utc_ns")
    if not isinstance(told, str) or not told.isascii() or not told.isdecimal() or len(told) > 19:
        raise ArchiveError(f"a time of signing in {place.name}", repr(told), "get it anew from the far end")
    return key, int(told)


def _states(entry: Entry, name: str) -> list[ClockState]:
    told = entry.data["evidence"]
    if not isinstance(told, list):
        raise _not_ours(name, f"line {entry.n} without a list of evidence")
    return [noun(ClockState, each, f"{name} line {entry.n}") for each in told]


def _unrecorded(entries: tuple[Entry, ...], name: str) -> int:
    """Replies for which the reflector's memory had no room, by its last counters."""
    found = 0
    for entry in entries:
        counters = entry.data.get("counters") if entry.kind == STATE else None
        if isinstance(counters, Mapping):
            found = integer(counters.get("unrecorded", 0), f"{name} line {entry.n}.counters.unrecorded")
    return found


def _stamps(entries: tuple[Entry, ...], name: str) -> tuple[tuple[_Chunk, ...], tuple[Session, ...], int]:
    chunks: list[_Chunk] = []
    sessions: list[Session] = []
    lost = 0
    for entry in entries:
        if entry.kind != STAMPS:
            continue
        said: dict[str, Any] = dict(entry.data)
        begun, more = said.pop("sessions"), said.pop("lost")
        chunk = noun(_Chunk, said, f"{name} line {entry.n}")
        if chunk.offset != sum(each.octets for each in chunks):
            raise _not_ours(name, f"line {entry.n}: a chunk that does not follow the one before")
        chunks.append(chunk)
        lost += integer(more, f"{name} line {entry.n}.lost")
        for each in begun:
            session = noun(Session, each, f"{name} line {entry.n}")
            if session.number != len(sessions):
                raise _not_ours(name, f"line {entry.n}: session {session.number} after {len(sessions)}")
            sessions.append(session)
    return tuple(chunks), tuple(sessions), lost


def _not_ours(name: str, found: str) -> HarnessError:
    return ArchiveError(f"a reflector's journal in {name}", found, "read it with the version that wrote it")
