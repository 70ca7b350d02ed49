"""A conversation with one instrument, live, recorded, or played back."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from drivers import errors
from drivers.clock import WALL, Clock
from drivers.errors import InstrumentError, PortClosedError, PortLostError, TranscriptError
from drivers.port import Identity, closed, identity

T = TypeVar("T")

FORMAT: Final = "millicert transcript 1"
PARTICULARS: Final = ("code", "text", "reason")
"""What some errors have beside wanted, found and remedy."""


class Session(Protocol):
    """What a driver talks through; `drivers.port.Port` is one."""

    @property
    def resource(self) -> str:
        """Where: a VISA resource name."""

    @property
    def identity(self) -> Identity:
        """Who answered when it was opened."""

    @property
    def timeout_s(self) -> float:
        """How long an exchange may take where nothing else is said, s."""

    def write(self, message: str, timeout_s: float | None = None) -> None:
        """Send a command that nobody answers."""

    def query(self, message: str, timeout_s: float | None = None) -> str:
        """Ask, and return the answer without its end."""

    def query_block(self, message: str, timeout_s: float | None = None) -> bytes:
        """Ask, and return the payload of a definite block (IEEE 488.2 8.7.9), whatever octets it holds."""

    def turn(self, timeout_s: float | None = None) -> AbstractContextManager[None]:
        """The session to oneself for several exchanges."""

    def close(self) -> None:
        """End it; safe to call twice."""


class Transcript:
    """Exchanges as JSON lines: a head that says with whom, then one line each, with what came of it."""

    def __init__(self, head: dict[str, Any], exchanges: Iterable[dict[str, Any]]) -> None:
        self.head = head
        self.exchanges = tuple(exchanges)

    @classmethod
    def parse(cls, text: str) -> Transcript:
        """Raises TranscriptError for text that is none."""
        lines: list[dict[str, Any]] = []
        for at, line in enumerate(text.splitlines(), 1):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as why:
                raise _unreadable(at, str(why)) from why
            if not isinstance(found, dict):
                raise _unreadable(at, line[:60])
            lines.append(found)
        if not lines or lines[0].get("format") != FORMAT:
            raise _unreadable(1, repr(text[:60]))
        for at, found in enumerate(lines[1:], 2):
            if not isinstance(found.get("do"), str) or not isinstance(found.get("message"), str):
                raise _unreadable(at, str(found)[:60])
        return cls(lines[0], lines[1:])

    @classmethod
    def read(cls, path: Path) -> Transcript:
        """Raises TranscriptError."""
        try:
            return cls.parse(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as why:
            raise TranscriptError(f"a transcript in {path}", str(why), "record it again") from why


def _unreadable(line: int, found: str) -> TranscriptError:
    return TranscriptError(f"an exchange in line {line} of a transcript", found, "record it again")


class Recorder:
    """Writes what passes as JSON lines, each at once."""

    def __init__(self, write: Callable[[str], object], clock: Clock = WALL) -> None:
        """``write`` gets one line with its end."""
        self._write = write
        self._clock = clock

    def begin(self, **head: Any) -> None:
        """The first line: with whom."""
        self._line({"format": FORMAT, **head})

    def note(self, do: str, message: str, act: Callable[[], T], show: Callable[[T], dict[str, Any]]) -> T:
        """Carry an exchange out and write it down, also where it fails; on a closed session nothing passes."""
        start = self._clock.now_ns()
        line: dict[str, Any] = {"at_ns": start, "do": do, "message": message}
        try:
            result = act()
        except PortClosedError:
            raise
        except InstrumentError as why:
            line["error"] = {
                "kind": type(why).__name__,
                "wanted": why.wanted,
                "found": why.found,
                "remedy": why.remedy,
            }
            line["error"] |= {key: getattr(why, key) for key in PARTICULARS if hasattr(why, key)}
            self._line(line | {"took_ns": self._clock.now_ns() - start})
            raise
        self._line(line | show(result) | {"took_ns": self._clock.now_ns() - start})
        return result

    def _line(self, line: dict[str, Any]) -> None:
        self._write(json.dumps(line, ensure_ascii=True) + "\n")


class Player:
    """Gives back what was recorded, exchange after exchange, as long as the same is asked."""

    def __init__(self, transcript: Transcript) -> None:
        self.head = transcript.head
        self._exchanges = transcript.exchanges
        self._at = 0

    def play(self, do: str, message: str) -> dict[str, Any]:
        """The recorded outcome. Raises TranscriptError when something else was asked then, and what was raised then."""
        place = self._at + 2
        if self._at >= len(self._exchanges):
            raise TranscriptError("the end of the conversation, as it was recorded", f"{do} {message!r}", REMEDY)
        line = self._exchanges[self._at]
        if (line["do"], line["message"]) != (do, message):
            raise TranscriptError(
                f"{line['do']} {line['message']!r}, as it was recorded in line {place}", f"{do} {message!r}", REMEDY
            )
        self._at += 1
        if "error" in line:
            raise _error(line["error"], place)
        return line

    def finish(self) -> None:
        """Raises TranscriptError when more was recorded than was asked."""
        if self._at < len(self._exchanges):
            left = self._exchanges[self._at]
            raise TranscriptError(
                f"{left['do']} {left['message']!r}, as it was recorded in line {self._at + 2}",
                "the end of the conversation",
                REMEDY,
            )


REMEDY: Final = "if the driver is meant to talk otherwise now, record the conversation again on the instrument"


def _error(said: Any, place: int) -> InstrumentError:
    kind = getattr(errors, str(said.get("kind")), None) if isinstance(said, dict) else None
    if not (isinstance(kind, type) and issubclass(kind, InstrumentError)):
        raise _unreadable(place, str(said)[:60])
    error = kind.__new__(kind)  # each kind has a constructor of its own; what they have in common was recorded
    try:
        InstrumentError.__init__(error, str(said["wanted"]), str(said["found"]), str(said["remedy"]))
    except KeyError as why:
        raise _unreadable(place, str(said)[:60]) from why
    for key in PARTICULARS:
        if key in said:
            setattr(error, key, said[key])
    return error


class Recording:
    """A session that writes down every exchange of another; closing it closes that one."""

    def __init__(self, session: Session, write: Callable[[str], object], clock: Clock = WALL) -> None:
        """``write`` gets one JSON line with its end, at once: `open(path, "w", buffering=1).write`."""
        self._session = session
        self._recorder = Recorder(write, clock)
        self._recorder.begin(resource=session.resource, identity=str(session.identity), timeout_s=session.timeout_s)

    @property
    def resource(self) -> str:
        """As of the session."""
        return self._session.resource

    @property
    def identity(self) -> Identity:
        """As of the session."""
        return self._session.identity

    @property
    def timeout_s(self) -> float:
        """As of the session."""
        return self._session.timeout_s

    def write(self, message: str, timeout_s: float | None = None) -> None:
        """As of the session."""
        # the turn is taken first, so that lines stand in the order of the exchanges
        with self._session.turn(timeout_s):
            self._recorder.note("write", message, lambda: self._session.write(message, timeout_s), lambda _: {})

    def query(self, message: str, timeout_s: float | None = None) -> str:
        """As of the session."""
        with self._session.turn(timeout_s):
            return self._recorder.note(
                "query", message, lambda: self._session.query(message, timeout_s), lambda reply: {"reply": reply}
            )

    def query_block(self, message: str, timeout_s: float | None = None) -> bytes:
        """As of the session."""
        with self._session.turn(timeout_s):
            return self._recorder.note(
                "block",
                message,
                lambda: self._session.query_block(message, timeout_s),
                lambda octets: {"base64": base64.b64encode(octets).decode("ascii")},
            )

    def turn(self, timeout_s: float | None = None) -> AbstractContextManager[None]:
        """As of the session."""
        return self._session.turn(timeout_s)

    def close(self) -> None:
        """Close the session."""
        self._session.close()


class Replay:
    """A session that is none: it answers as one was recorded, and says what was asked instead when that differs."""

    def __init__(self, transcript: Transcript) -> None:
        """Raises TranscriptError when the head names no instrument."""
        self._player = Player(transcript)
        self._closed = False
        head = transcript.head
        try:
            self.identity: Identity = identity(str(head["identity"]))
            self.resource: str = str(head["resource"])
            self.timeout_s: float = float(head["timeout_s"])
        except (KeyError, ValueError, TypeError) as why:
            raise _unreadable(1, str(head)[:60]) from why

    @classmethod
    def of(cls, path: Path) -> Replay:
        """A recorded file. Raises TranscriptError."""
        return cls(Transcript.read(path))

    def write(self, message: str, timeout_s: float | None = None) -> None:
        """Expected as recorded. Raises TranscriptError, and what was raised then."""
        self._play("write", message)

    def query(self, message: str, timeout_s: float | None = None) -> str:
        """The recorded answer. Raises TranscriptError, and what was raised then."""
        reply = self._play("query", message).get("reply")
        if not isinstance(reply, str):
            raise TranscriptError(f"a recorded answer to {message}", repr(reply), "record it again")
        return reply

    def query_block(self, message: str, timeout_s: float | None = None) -> bytes:
        """The recorded octets. Raises TranscriptError, and what was raised then."""
        line = self._play("block", message)
        try:
            return base64.b64decode(line["base64"], validate=True)
        except (KeyError, TypeError, binascii.Error, ValueError) as why:
            raise TranscriptError(f"a recorded block to {message}", str(why), "record it again") from why

    @contextlib.contextmanager
    def turn(self, timeout_s: float | None = None) -> Iterator[None]:
        """Nobody else is there."""
        yield

    def close(self) -> None:
        """Safe to call twice. What was recorded beyond is no error: `finish` asks for that."""
        self._closed = True

    def finish(self) -> None:
        """Raises TranscriptError when more was recorded than was asked."""
        self._player.finish()

    def _play(self, do: str, message: str) -> dict[str, Any]:
        if self._closed:
            raise closed(self.resource)
        try:
            return self._player.play(do, message)
        except PortLostError:
            self._closed = True
            raise
