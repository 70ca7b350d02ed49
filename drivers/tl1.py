"""A TL1 session (Telcordia GR-831): one command at a time, its answer known by its tag, announcements kept apart.

Telcordia's text is not public; the grammar is what the makers' own examples show.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Protocol, Self

from drivers.clock import WALL, Clock
from drivers.errors import (
    DeniedError,
    PortLostError,
    PortReplyError,
    PortTimeoutError,
    TranscriptError,
)
from drivers.port import Wire, closed
from drivers.session import Player, Recorder, Transcript
from drivers.stream import SocketStream, Stream
from drivers.turn import turn

MOST_OCTETS: Final = 16_000_000
"""Longest answer that is believed to be one: ten thousand rows of a port's power are a hundredth of it."""
ANNOUNCEMENTS: Final = 1000
"""Autonomous messages kept; the oldest go first."""
LAST_TAG: Final = 999_999
"""Tags have six characters at most; then they begin again with 1."""

_END: Final = re.compile(rb"(?:^|[\r\n])[ \t]*[;><]")
"""A line of its own; a ";" in a row or in an echo stands behind something."""
_HEAD: Final = re.compile(r"^\s{0,8}(\S.{0,60}?)\s+(\d{2,4}-\d\d-\d\d)\s+(\d\d:\d\d:\d\d)\s*$")
_REPLY: Final = re.compile(r"^M\s+(\S{1,20})\s+(COMPLD|DENY|PRTL|DELAY|RTRV)\s*$")
_AUTONOMOUS: Final = re.compile(r"^(A|\*C|\*\*|\*\^|\*)\s+(\S{1,20})\s+(\S.*?)\s*$")
_ACKNOWLEDGEMENT: Final = re.compile(r"^\s*(IP|PF|OK|NA|NG|RL)\s+(\S{1,20})\s*$")
_PLAIN: Final = re.compile(r"[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Message:
    """One message from the device, or one block of an answer."""

    kind: str
    """"M" an answer, "A", "*C", "**", "*^" an announcement, "ack" an acknowledgement."""
    tag: str
    code: str
    """COMPLD, DENY …; of an announcement its verb."""
    rows: tuple[str, ...]
    """Quoted rows without their quotes, in order."""
    comments: tuple[str, ...]
    """What else stood there: the reason of a denial."""
    more: bool
    """Another block follows (the message ended in ">")."""
    sid: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command brought, all blocks together."""

    rows: tuple[str, ...]
    comments: tuple[str, ...]
    sid: str
    """Name of the device, as it heads its answers."""


class Talk(Protocol):
    """What a TL1 driver talks through: `Tl1Session`, `Tl1Recording` or `Tl1Replay`."""

    @property
    def resource(self) -> str:
        """Where."""

    @property
    def timeout_s(self) -> float:
        """How long a command may take where nothing else is said, s."""

    def do(
        self, verb: str, aid: str = "", *blocks: str, tid: str = "", general: str = "", timeout_s: float | None = None
    ) -> Answer:
        """Send `VERB:TID:AID:CTAG:GENERAL:BLOCK:…;` and wait for its answer, whole."""

    def turn(self, timeout_s: float | None = None) -> contextlib.AbstractContextManager[None]:
        """The session to oneself for several commands."""

    def close(self) -> None:
        """End it; safe to call twice."""


# -- reading ----------------------------------------------------------------------------------------------------


def parse_message(octets: bytes) -> Message:
    """One message, from its head to its end (";", ">" or "<"), whatever stood before it. Raises ValueError.

    Where two heads stand in it the first message broke off, and only the last one is read.
    """
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{octets[:60]!r} is no text") from None
    lines = [line.strip("\r") for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    end = lines.pop().strip() if lines else ""
    if end == "<":
        for line in reversed(lines):
            found = _ACKNOWLEDGEMENT.match(line)
            if found:
                return Message("ack", found[2], found[1], (), (), more=False)
        raise ValueError(f"{octets[:60]!r} acknowledges nothing")
    if end not in {";", ">"}:
        raise ValueError(f"{octets[-60:]!r} has no end")
    for at in range(len(lines) - 1, -1, -1):
        head = _HEAD.match(lines[at])
        rest = lines[at + 1 :]
        while head and rest and not rest[0].strip():
            rest = rest[1:]
        if not head or not rest:
            continue
        reply, autonomous = _REPLY.match(rest[0].strip()), _AUTONOMOUS.match(rest[0].strip())
        rows, comments = _body(rest[1:])
        if reply:
            return Message("M", reply[1], reply[2], rows, comments, more=end == ">", sid=head[1])
        if autonomous:
            return Message(autonomous[1], autonomous[2], autonomous[3], rows, comments, more=end == ">", sid=head[1])
    raise ValueError(f"{octets[:60]!r} has no head")


def _body(lines: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    rows, comments = [], []
    for line in lines:
        bare = line.strip()
        if len(bare) >= 2 and bare.startswith('"') and bare.rstrip(",").endswith('"'):
            rows.append(bare.rstrip(",")[1:-1].replace('\\"', '"'))
        elif bare:
            comments.append(bare.removeprefix("/*").removesuffix("*/").strip())
    return tuple(rows), tuple(comments)


def fields(row: str) -> dict[str, str]:
    """`KEY=VALUE,KEY="a,b"` as a table; what has no "=" stands under its place, "0" the first. Never raises."""
    found: dict[str, str] = {}
    part, quoted, parts = "", False, []
    for letter in row:
        quoted ^= letter == '"'
        if letter in ",:" and not quoted:
            parts.append(part)
            part = ""
        else:
            part += letter
    for at, each in enumerate([*parts, part]):
        key, equals, value = each.partition("=")
        found[key.strip() if equals else str(at)] = (value if equals else key).strip().strip('"')
    return found


# -- the session ------------------------------------------------------------------------------------------------


class Tl1Session:
    """One TL1 connection, logged in; safe to use from several threads.

    Each command waits at most ``timeout_s`` for its turn and as long for its answer. Answers are known by their tag,
    which no two commands share: one that comes after its time is thrown away, and never taken for another's. A session
    that timed out is drained before its next use. It never opens again by itself and never sends anything twice.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        user: str = "",
        password: str = "",
        timeout_s: float = 5.0,
        log: Callable[[Wire], None] | None = None,
    ) -> None:
        """Log in if a user is named (`ACT-USER::user:tag::password;`). Raises DeniedError and what `do` raises."""
        self.resource = stream.resource
        self.timeout_s = timeout_s
        self.sid = ""
        """Name of the device as it headed its last answer."""
        self._stream = stream
        self._log = log
        self._lock = threading.RLock()
        self._closed = False
        self._dirty = False
        """The last command did not end as it should."""
        self._owed = False
        """What is owed from before may come yet, whole or in pieces."""
        self._tag = 0
        self._got = bytearray()
        self._scanned = 0
        """So many octets of it hold no end."""
        self._secret = b""
        self._announced: deque[Message] = deque(maxlen=ANNOUNCEMENTS)
        self._user = user
        if user:
            try:
                self.do("ACT-USER", user, password)
            except BaseException:
                self._user = ""
                self.close()
                raise

    @classmethod
    def at(
        cls,
        resource: str,
        *,
        user: str = "",
        password: str = "",
        timeout_s: float = 5.0,
        log: Callable[[Wire], None] | None = None,
    ) -> Self:
        """A connection to "TCPIP0::host::port::SOCKET". Raises PortOpenError, DeniedError and what `do` raises."""
        stream = SocketStream(resource, timeout_s=timeout_s)
        return cls(stream, user=user, password=password, timeout_s=timeout_s, log=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def do(
        self, verb: str, aid: str = "", *blocks: str, tid: str = "", general: str = "", timeout_s: float | None = None
    ) -> Answer:
        """Send `VERB:TID:AID:CTAG:GENERAL:BLOCK:…;` and wait for its answer, all blocks of it.

        Raises ValueError for what would be no single command, DeniedError, PortTimeoutError, PortReplyError (no TL1, or
        an answer that no device gives), PortLostError, PortClosedError.
        """
        shown = _shown(verb, aid, blocks, tid, general)
        within = self.timeout_s if timeout_s is None else timeout_s
        with self.turn(timeout_s):
            self._open()
            deadline = self._stream.now_ns() + int(within * 1e9)
            self._secret = f":{blocks[0]};".encode() if verb == "ACT-USER" and blocks else b""
            self._owed = self._dirty
            try:
                self._settle(deadline)
                self._tag = self._tag % LAST_TAG + 1
                tag = str(self._tag)
                message = f"{verb}:{tid}:{aid}:{tag}:{':'.join((general, *blocks))};".encode("ascii")
                self._dirty = True
                self._note("out", message)
                if not self._stream.send(message + b"\r\n", deadline):
                    raise self._late(shown, "a peer that takes no octets")
                answer = self._answer(shown, tag, deadline)
            except PortLostError:
                self._closed = True
                raise
            except DeniedError:
                self._dirty = False
                raise
            finally:
                self._secret = b""
            self._dirty = False
            return answer

    def turn(self, timeout_s: float | None = None) -> contextlib.AbstractContextManager[None]:
        """The session to oneself for several commands. Raises PortTimeoutError when others keep it too long."""
        return turn(self._lock, self.resource, self.timeout_s if timeout_s is None else timeout_s)

    def announcements(self, timeout_s: float = 0.0) -> tuple[Message, ...]:
        """Autonomous messages since the last call, oldest first; waits so long for a first one.

        Raises PortReplyError, PortLostError, PortClosedError.
        """
        with self.turn():
            self._open()
            deadline = self._stream.now_ns() + int(timeout_s * 1e9)
            self._owed = self._dirty
            while (found := self._next(self._stream.now_ns() if self._announced else deadline, "nothing")) is not None:
                self._sort(found)
            heard = tuple(self._announced)
            self._announced.clear()
            return heard

    def close(self) -> None:
        """Log out where we logged in, and end the connection. Safe to call twice, from any thread."""
        if not self._closed and self._user and not self._dirty and self._lock.acquire(timeout=0.0):
            try:
                with contextlib.suppress(Exception):  # whatever a dying session says of its own end is of no use
                    self.do("CANC-USER", self._user, timeout_s=min(1.0, self.timeout_s))
            finally:
                self._lock.release()
        self._closed = True
        self._stream.close()

    # -- octets ----------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._closed:
            raise closed(self.resource)

    def _settle(self, deadline_ns: int) -> None:
        """Read what lies there: announcements, and what was owed. Also sees that the peer has hung up."""
        while (now := self._stream.now_ns()) < deadline_ns and (found := self._next(now, "nothing")) is not None:
            self._sort(found)

    def _answer(self, shown: str, tag: str, deadline_ns: int) -> Answer:
        rows: list[str] = []
        comments: list[str] = []
        while True:
            found = self._next(deadline_ns, shown)
            if found is not None and found.kind == "M" and found.tag == tag:
                self.sid = found.sid
                rows += found.rows
                comments += found.comments
                if found.code in {"DENY", "PRTL"} and not found.more:
                    raise _denied(shown, comments, None if found.code == "DENY" else tuple(rows))
                if found.code != "DELAY" and not found.more:
                    return Answer(tuple(rows), tuple(comments), found.sid)
                continue
            if found is not None:
                self._sort(found)
            if found is None or self._stream.now_ns() >= deadline_ns:
                so_far = f"{len(rows)} rows, then {bytes(self._got[-60:])!r}" if rows or self._got else "silence"
                raise self._late(shown, so_far)

    def _next(self, deadline_ns: int, shown: str) -> Message | None:
        """The next message; None when the time is over. Raises PortReplyError for what is no TL1, unless it is owed."""
        over = False
        while True:
            end = _END.search(self._got, max(0, self._scanned - 20))
            if end is not None:
                whole = bytes(self._got[: end.end()])
                del self._got[: end.end()]
                self._scanned = 0
                if not whole.strip(b" \t\r\n;><"):
                    continue  # a prompt
                try:
                    return parse_message(whole)
                except ValueError as why:
                    if self._owed:
                        continue
                    raise PortReplyError(
                        f"an answer to {shown} from {self.resource} in TL1", str(why), "check port and protocol"
                    ) from why
            self._scanned = len(self._got)
            if self._scanned > MOST_OCTETS:
                self._got.clear()
                self._scanned = 0
                raise PortReplyError(f"an answer to {shown}", f"{MOST_OCTETS} octets without an end", "check the port")
            if over:
                return None
            over = self._stream.now_ns() >= deadline_ns
            chunk = self._stream.receive(deadline_ns)
            if not chunk:
                return None
            self._note("in", chunk)
            self._got += chunk

    def _sort(self, found: Message) -> None:
        if found.kind not in {"M", "ack"}:
            self._announced.append(found)

    def _note(self, direction: Literal["out", "in"], octets: bytes) -> None:
        if self._log is not None:
            shown = octets.replace(self._secret, b":***;") if self._secret else octets
            self._log(Wire(self._stream.now_ns(), time.time_ns(), direction, shown))

    def _late(self, shown: str, found: str) -> PortTimeoutError:
        return PortTimeoutError(
            f"a whole answer to {shown} from {self.resource} in time",
            found,
            "check the device, or give it more time; a late answer is known by its tag and thrown away",
        )


def _denied(shown: str, comments: list[str], done: tuple[str, ...] | None) -> DeniedError:
    """The first four letters that stand there by themselves are the reason, what follows is in words."""
    reason = comments[0] if comments else ""
    code = reason[:4] if re.fullmatch(r"[A-Z]{4}(?:[ ,:].*)?", reason) else ""
    return DeniedError(code, " ".join((reason[len(code) :].strip(" ,:"), *comments[1:])).strip(), shown, done)


def _shown(verb: str, aid: str, blocks: tuple[str, ...], tid: str, general: str) -> str:
    """The command without tag and password, for errors and recordings. Raises ValueError."""
    if not _PLAIN.fullmatch(verb):
        raise ValueError(f"{verb!r} is no TL1 verb")
    for each in (aid, tid, general, *blocks):
        outside = re.sub(r'"[^"]*"', "", each)
        if not each.isascii() or (each and not each.isprintable()) or set(outside) & set(';:"'):
            raise ValueError(f"{each!r} is no field of a TL1 command")
    return ":".join((verb, tid, aid, "", general, *(("***",) if verb == "ACT-USER" and blocks else blocks)))


# -- recorded ---------------------------------------------------------------------------------------------------


class Tl1Recording:
    """A TL1 session that writes down every command of another, without passwords; closing it closes that one."""

    def __init__(self, session: Talk, write: Callable[[str], object], clock: Clock = WALL) -> None:
        """``write`` gets one JSON line with its end, at once."""
        self._session = session
        self._recorder = Recorder(write, clock)
        self._recorder.begin(resource=session.resource, timeout_s=session.timeout_s)

    @property
    def resource(self) -> str:
        """As of the session."""
        return self._session.resource

    @property
    def timeout_s(self) -> float:
        """As of the session."""
        return self._session.timeout_s

    def do(
        self, verb: str, aid: str = "", *blocks: str, tid: str = "", general: str = "", timeout_s: float | None = None
    ) -> Answer:
        """As of the session."""
        with self._session.turn(timeout_s):
            return self._recorder.note(
                "tl1",
                _shown(verb, aid, blocks, tid, general),
                lambda: self._session.do(verb, aid, *blocks, tid=tid, general=general, timeout_s=timeout_s),
                lambda answer: {"rows": list(answer.rows), "comments": list(answer.comments), "sid": answer.sid},
            )

    def turn(self, timeout_s: float | None = None) -> contextlib.AbstractContextManager[None]:
        """As of the session."""
        return self._session.turn(timeout_s)

    def close(self) -> None:
        """Close the session."""
        self._session.close()


class Tl1Replay:
    """A TL1 session that is none: it answers as one was recorded."""

    def __init__(self, transcript: Transcript) -> None:
        """Raises TranscriptError."""
        self._player = Player(transcript)
        self.resource = str(transcript.head.get("resource", ""))
        self.timeout_s = 5.0

    def do(
        self,
        verb: str,
        aid: str = "",
        *blocks: str,
        tid: str = "",
        general: str = "",
        timeout_s: float | None = None,
    ) -> Answer:
        """The recorded answer. Raises TranscriptError, and what was raised then."""
        shown = _shown(verb, aid, blocks, tid, general)
        line = self._player.play("tl1", shown)
        rows, comments = line.get("rows"), line.get("comments")
        if not isinstance(rows, list) or not isinstance(comments, list):
            raise TranscriptError(f"a recorded answer to {shown}", json.dumps(line)[:60], "record it again")
        return Answer(tuple(map(str, rows)), tuple(map(str, comments)), str(line.get("sid", "")))

    @contextlib.contextmanager
    def turn(self, timeout_s: float | None = None) -> Iterator[None]:
        """Nobody else is there."""
        yield

    def close(self) -> None:
        """Nothing to close."""

    def finish(self) -> None:
        """Raises TranscriptError when more was recorded than was asked."""
        self._player.finish()


__all__ = ["Answer", "DeniedError", "Message", "PortLostError", "Talk", "Tl1Recording", "Tl1Replay", "Tl1Session"]
