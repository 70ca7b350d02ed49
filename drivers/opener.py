"""What a driver is opened with: where its instrument is, by which library, by whose clock, who listens."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from drivers.clock import WALL, Clock
from drivers.errors import SettingError, TranscriptError
from drivers.port import Backend, Port, VisaStream, Wire
from drivers.prompt import PromptSession
from drivers.session import Recording, Replay, Session, Transcript
from drivers.stream import SocketStream, Stream, host_and_port
from drivers.tl1 import Talk, Tl1Recording, Tl1Replay, Tl1Session

OWN: Final = ("record", "replay", "user", "password", "password_env")
"""Options that are the session's, not the driver's."""


@dataclass(frozen=True, slots=True)
class Opener:
    """Opens sessions for one driver.

    A driver class that needs more than the usual one (two ports, a port it must first ask for, a telnet prompt) has a
    classmethod `opened(how: Opener)` and opens them here, so that recording, replaying and the simulated lab work there
    too.
    """

    resource: str
    backend: Backend = "@py"
    clock: Clock = WALL
    timeout_s: float = 5.0
    log: Callable[[Wire], None] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """The driver's own; those in `OWN` besides: `record` and `replay` name a transcript, `user`, `password` or
    `password_env` (name of an environment variable) log in."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False, compare=False)
    """Of the sessions that were opened."""

    @property
    def own(self) -> dict[str, Any]:
        """The options that are meant for the driver."""
        return {key: value for key, value in self.options.items() if key not in OWN}

    @property
    def in_process(self) -> bool:
        """The backend lives in this process (a simulated lab), and time may be its own."""
        return not isinstance(self.backend, str)

    def session(
        self,
        resource: str = "",
        *,
        ends_out: str = "\n",
        ends_in: str = "\n",
        timeout_s: float | None = None,
        port: Callable[..., Port] = Port,
    ) -> Session:
        """A VISA session; with the driver's resource when none is named. Raises PortOpenError, TranscriptError.

        ``port`` makes it where the instrument wants more than the usual one, a log-in before it says who it is.
        """
        number = self._next()
        if path := self._path("replay", number):
            return Replay.of(path)
        made = port(
            resource or self.resource,
            timeout_s=self.timeout_s if timeout_s is None else timeout_s,
            ends_out=ends_out,
            ends_in=ends_in,
            backend=self.backend,
            log=self.log,
            clock=self.clock if self.in_process else WALL,
        )
        return self._recorded(made, number)

    def prompt(
        self,
        resource: str = "",
        *,
        prompt: str,
        executed: str = "",
        slow: str = "",
        ends_out: str = "\n",
        timeout_s: float | None = None,
    ) -> Session:
        """A session over telnet, as `PromptSession`. Raises PortOpenError, TranscriptError."""
        number = self._next()
        if path := self._path("replay", number):
            return Replay.of(path)
        within = self.timeout_s if timeout_s is None else timeout_s
        return self._recorded(
            PromptSession(
                self.stream(resource),
                prompt=prompt,
                executed=executed,
                slow=slow,
                ends_out=ends_out,
                timeout_s=within,
                log=self.log,
            ),
            number,
        )

    def talk(self, resource: str = "", *, timeout_s: float | None = None) -> Talk:
        """A TL1 session, logged in as the options say. Raises PortOpenError, DeniedError, TranscriptError."""
        number = self._next()
        if path := self._path("replay", number):
            return Tl1Replay(Transcript.read(path))
        talk = Tl1Session(
            self.stream(resource),
            user=self._text("user"),
            password=self.password(),
            timeout_s=self.timeout_s if timeout_s is None else timeout_s,
            log=self.log,
        )
        write = self._writer(talk, number)
        return talk if write is None else Tl1Recording(talk, write, self.clock)

    def stream(self, resource: str = "") -> Stream:
        """Octets: a socket of our own for TCP/IP, else the VISA library's. Raises PortOpenError."""
        where = resource or self.resource
        try:
            host_and_port(where)
        except ValueError:
            plain = False
        else:
            plain = not self.in_process
        if plain:
            return SocketStream(where, timeout_s=self.timeout_s)
        clock = self.clock if self.in_process else WALL
        return VisaStream(where, backend=self.backend, timeout_s=self.timeout_s, clock=clock)

    def password(self) -> str:
        """The option, or what the environment variable holds that `password_env` names. Raises SettingError."""
        name = self._text("password_env")
        if not name:
            return self._text("password")
        if name not in os.environ:
            raise SettingError(f"a password in the environment variable {name}", "none", f"export {name}=…")
        return os.environ[name]

    def _recorded(self, session: Session, number: int) -> Session:
        write = self._writer(session, number)
        return session if write is None else Recording(session, write, self.clock)

    def _next(self) -> int:
        """The number of the session that is opened now. Raises SettingError for options that name no file."""
        self._text("record")
        return next(self._numbers)

    def _writer(self, session: Session | Talk, number: int) -> Callable[[str], object] | None:
        """Where the session is recorded, if it is; it is closed when that cannot be. Raises TranscriptError."""
        path = self._path("record", number)
        try:
            return None if path is None else _writer(path)
        except TranscriptError:
            session.close()
            raise

    def _path(self, key: str, number: int) -> Path | None:
        """The transcript of the first session has the name that was given, that of the second "-2" in it."""
        text = self._text(key)
        if not text:
            return None
        path = Path(text)
        return path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")

    def _text(self, key: str) -> str:
        value = self.options.get(key, "")
        if not isinstance(value, str):
            raise SettingError(f"text for the option {key}", repr(value), f'{key} = "…"')
        return value


def _writer(path: Path) -> Callable[[str], object]:
    """Adds lines to a new file, each for good. Raises TranscriptError."""
    try:
        path.open("x", encoding="ascii").close()
    except OSError as why:
        raise TranscriptError(f"a new file {path} to record into", str(why), "name another one") from why

    def write(line: str) -> None:
        with path.open("a", encoding="ascii") as file:
            file.write(line)

    return write
