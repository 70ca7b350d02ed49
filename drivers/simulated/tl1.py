"""An instrument that speaks TL1 (Telcordia GR-831)."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.instrument import ClearedError, SimulatedInstrument

_log: Final = logging.getLogger(__name__)
_VERB: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+)*", re.ASCII)
_CTAG: Final = re.compile(r"[A-Za-z0-9]{1,6}", re.ASCII)  # six characters: GR-831; not longer on any known gear
_BIRTH: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""The time by an instrument whose clock was never set."""
_LONGEST: Final = 200
_MOST_AIDS: Final = 65536


@dataclass(frozen=True, slots=True)
class Tl1Command:
    """A request ``VERB-MOD:[TID]:[AID]:CTAG:[GB]:[positional]:[KEY=VALUE,…];``."""

    verb: str
    """Verb and modifiers in capitals: "ENT-PATCH"."""
    tid: str
    aid: str
    ctag: str
    general: str
    positional: tuple[str, ...]
    named: Mapping[str, str]
    """Keywords in capitals."""

    def aids(self) -> list[list[str]]:
        """The parts of the access identifier between commas, each with its lists and ranges written out.

        "1&&3,9&12&15" is [["1", "2", "3"], ["9", "12", "15"]]. Raises Tl1Deny.
        """
        return [expanded(part) for part in self.aid.split(",")] if self.aid else []


class Tl1Deny(Exception):  # noqa: N818 - TL1's own word for it
    """What a handler raises instead of answering."""

    def __init__(self, code: str, text: str = "") -> None:
        self.code = code
        """Four letters of GR-831: IIAC invalid access identifier, SNVS not in valid state …"""
        self.text = text
        super().__init__(code, text)


class Tl1Partial(Exception):  # noqa: N818 - no error: TL1's PRTL
    """What a handler raises when it did a part of what was asked: the rows of that part."""

    def __init__(self, rows: Sequence[str], code: str = "", text: str = "") -> None:
        self.rows = list(rows)
        self.code = code
        self.text = text
        super().__init__(code, text)


Tl1Handler = Callable[[Tl1Command], list[str] | None]


@dataclass(slots=True)
class Tl1Session:
    """One client's connection: who is logged in there, and a way to tell it things unasked."""

    send: Callable[[str], None] | None = None
    """Tells the client at once; None: it hears with its next answer."""
    user: str = ""
    """Who is logged in; empty: nobody."""
    waiting: list[str] = field(default_factory=list)

    def push(self, said: str) -> None:
        """Tell the client something it did not ask for."""
        if self.send is None:
            self.waiting.append(said)
        else:
            self.send(said)


class Tl1Device(SimulatedInstrument):
    r"""A simulated instrument, to which a model adds its commands.

    Like this::

        class Switch(Tl1Device):
            def __init__(self, identity: Identity, clock: Clock) -> None:
                super().__init__(identity, clock, sid="OXC", users={"root": "root"})
                self.patches: dict[str, str] = {}
                self.on("ENT-PATCH", self.enter)
                self.on("RTRV-PATCH", lambda command: [f"{a},{b}" for a, b in self.patches.items()])

            def enter(self, command: Tl1Command) -> None:
                ingress, egress = command.aids()
                if ingress[0] in self.patches:
                    raise Tl1Deny("SNVS", "in use")
                self.patches[ingress[0]] = egress[0]
                self.wait(0.025)

        switch = Switch(Identity("millicert", "SWITCH", "SIM-2", "1"), VirtualClock())
        switch.handle("ACT-USER::root:1::root;")   # → '\r\n\n   OXC 00-01-01 00:00:00\r\nM  1 COMPLD\r\n;'

    ``users`` with their passwords: nothing but ACT-USER is obeyed before it; None: nobody needs to log in.
    ``rows_a_block``: longer answers come in several blocks, each with its own COMPLD, all but the last ended by '>'; 0:
    always one. What takes ``acknowledge_s`` or longer is acknowledged first (IP).
    """

    indent: str = "   "
    """What stands before a row."""

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        *,
        sid: str = "SIM",
        users: Mapping[str, str] | None = None,
        rows_a_block: int = 0,
        acknowledge_s: float = 2.0,
        busy_ns: int = 200_000,
    ) -> None:
        """Raises ValueError for a serial number that does not begin with SIM-."""
        super().__init__(identity, clock, busy_ns=busy_ns)
        self.ends = b""
        self.sid = sid
        self.users = users
        self.rows_a_block = rows_a_block
        self.acknowledge_s = acknowledge_s
        self._handlers: dict[str, Tl1Handler] = {}
        self._own = Tl1Session()
        self._sessions: list[Tl1Session] = []
        self._serving: tuple[Tl1Session, str] = (self._own, "0")
        self._acknowledged = False
        self._atag = 0
        self._denials: list[Tl1Deny] = []
        self.on("RTRV-HDR", lambda command: None)

    # -- for models ----------------------------------------------------------------------------------------

    def on(self, verb: str, handler: Tl1Handler) -> None:
        """Answer a verb with its modifiers ("ENT-PATCH").

        The handler returns rows without quotes, or None; it raises Tl1Deny or Tl1Partial.
        """
        self._handlers[verb.upper()] = handler

    def autonomous(self, verb: str, rows: Sequence[str] = (), severity: str = "A") -> None:
        """Tell everybody who is logged in: "REPT-ALM-EQPT"; severity "*C", "**", "*" or "A"; from any thread."""
        self._atag += 1
        said = f"{self._head()}{severity:<2} {self._atag} {verb.upper().replace('-', ' ')}\r\n{self._rows(rows)};"
        for session in [self._own, *self._sessions]:
            if self.users is None or session.user:
                session.push(said)

    def wait(self, seconds: float) -> None:
        """Block for so many seconds; the client is told first when that is long."""
        session, ctag = self._serving
        if seconds >= self.acknowledge_s and not self._acknowledged:
            self._acknowledged = True
            session.push(f"\r\nIP {ctag}\r\n<")
        super().wait(seconds)

    def deny_next(self, code: str = "SARB", text: str = "") -> None:
        """Deny the next request, whatever it is."""
        self._denials.append(Tl1Deny(code, text))

    # -- for carriers --------------------------------------------------------------------------------------

    def attach(self, send: Callable[[str], None]) -> Tl1Session:
        """A new client, told unasked things through ``send``."""
        session = Tl1Session(send)
        self._sessions.append(session)
        return session

    def detach(self, session: Tl1Session) -> None:
        """The client is gone, and with it its login."""
        with contextlib.suppress(ValueError):
            self._sessions.remove(session)
        session.user = ""

    def handle(self, message: str, session: Tl1Session | None = None) -> str:
        """Do what one whole request says, with or without its ';'; the answer, whole. It raises nothing.

        ``session``: the client's; None: one that belongs to the device, whose autonomous messages come before the
        next answer. An empty request has no answer.
        """
        session = session or self._own
        with self.lock:
            self._exchange()
            try:
                said = self._answer(message.strip().removesuffix(";").strip(), session)
            except ClearedError:
                said = ""
            finally:
                self._serving, self._acknowledged = (self._own, "0"), False
            before, session.waiting = session.waiting, []
            return "".join(before) + said

    # -- the request ---------------------------------------------------------------------------------------

    def _answer(self, request: str, session: Tl1Session) -> str:
        if not request:
            return ""
        ctag = "0"
        try:
            fields = _fields(request, ":")
            ctag = _ctag(fields)
            self._serving = (session, ctag)
            return self._done(ctag, "COMPLD", self._obey(_command(fields, ctag), session))
        except Tl1Deny as why:
            return f"{self._head()}M  {ctag} DENY\r\n{self._reason(why.code, why.text)};"
        except Tl1Partial as why:
            return self._done(ctag, "PRTL", why.rows, self._reason(why.code, why.text))
        except ClearedError:
            raise
        except Exception as why:
            # a model's mistake: the laboratory goes on, and its log says where
            _log.exception("%s stumbled over %r", self.identity, request[:_LONGEST])
            return f"{self._head()}M  {ctag} DENY\r\n{self._reason('SROF', type(why).__name__)};"

    def _obey(self, command: Tl1Command, session: Tl1Session) -> list[str]:
        if self._denials:
            raise self._denials.pop(0)
        if command.tid and command.tid != self.sid:
            raise Tl1Deny("IITA", "no such target")
        if command.verb == "ACT-USER":
            password = command.positional[0] if command.positional else ""
            if self.users is not None and (command.aid not in self.users or self.users[command.aid] != password):
                raise Tl1Deny("PIUI", "no such user")
            session.user = command.aid or "anybody"
            return []
        if command.verb == "CANC-USER":
            if not session.user or (command.aid and command.aid != session.user):
                raise Tl1Deny("PLNA", "not logged in")
            session.user = ""
            return []
        if self.users is not None and not session.user:
            raise Tl1Deny("PLNA", "not logged in")
        handler = self._handlers.get(command.verb)
        if handler is None:
            raise Tl1Deny("ICNV", "no such command")
        return handler(command) or []

    def _done(self, ctag: str, code: str, rows: list[str], reason: str = "") -> str:
        most = self.rows_a_block or max(1, len(rows))
        blocks = [rows[at : at + most] for at in range(0, len(rows), most)] or [[]]
        return "".join(
            f"{self._head()}M  {ctag} {code}\r\n{reason if last else ''}{self._rows(block)}{';' if last else '>'}"
            for at, block in enumerate(blocks)
            for last in (at == len(blocks) - 1,)
        )

    def _head(self) -> str:
        now = _BIRTH + timedelta(microseconds=self.clock.now_ns() // 1000)
        return f"\r\n\n   {self.sid} {now:%y-%m-%d %H:%M:%S}\r\n"

    def _rows(self, rows: Sequence[str]) -> str:
        return "".join(f'{self.indent}"{row}"\r\n' for row in rows)

    def _reason(self, code: str, said: str) -> str:
        comment = "".join(each if each.isascii() and each.isprintable() else " " for each in said)[:_LONGEST]
        comment = comment.replace("*/", " ").replace(";", " ").replace(">", " ").replace("<", " ")
        lines = [code] if code else []
        return "".join(f"{self.indent}{line}\r\n" for line in [*lines, *([f"/* {comment} */"] if comment else [])])


def expanded(part: str) -> list[str]:
    """A list ('&') with ranges ('&&') written out: "1&&3&7" is 1, 2, 3, 7; the last number of "2.3.1&&2.3.4" counts.

    Raises Tl1Deny IIAC.
    """
    found: list[str] = []
    ends = part.split("&&")
    for at, chunk in enumerate(ends):
        names = chunk.split("&")
        if not all(names):
            raise Tl1Deny("IIAC", part[:40])
        if at:
            found += _between(found[-1], names[0])
            names = names[1:]
        found += names
        if len(found) > _MOST_AIDS:
            raise Tl1Deny("IIAC", "too many")
    return found


def _between(first: str, last: str) -> list[str]:
    """What follows ``first`` up to ``last``. Raises Tl1Deny IIAC."""
    stem, _, low = first.rpartition(".")
    other, _, high = last.rpartition(".")
    good = low.isascii() and low.isdecimal() and high.isascii() and high.isdecimal() and len(low + high) < 18
    if not good or (other and other != stem) or not 0 <= int(high) - int(low) < _MOST_AIDS:
        raise Tl1Deny("IIAC", f"{first}&&{last}"[:40])
    return [f"{stem}.{number}" if stem else str(number) for number in range(int(low) + 1, int(high) + 1)]


def _fields(request: str, separator: str) -> list[str]:
    """Parts between separators outside strings. Raises Tl1Deny IISP."""
    if '"' not in request:
        return request.split(separator)
    parts: list[str] = [""]
    for at, chunk in enumerate(request.split('"')):
        if at % 2:
            parts[-1] += f'"{chunk}"'
        else:
            first, *rest = chunk.split(separator)
            parts[-1] += first
            parts += rest
    if request.count('"') % 2:
        raise Tl1Deny("IISP", "a string without an end")
    return parts


def _ctag(fields: list[str]) -> str:
    """The correlation tag. Raises Tl1Deny IISP, IICT."""
    if len(fields) < 4:
        raise Tl1Deny("IISP", "fewer than four fields")
    if not _CTAG.fullmatch(fields[3].strip()):
        raise Tl1Deny("IICT", "no correlation tag")
    return fields[3].strip()


def _command(fields: list[str], ctag: str) -> Tl1Command:
    """The request's parts. Raises Tl1Deny IISP, ICNV."""
    verb = fields[0].strip().upper()
    if not _VERB.fullmatch(verb):
        raise Tl1Deny("ICNV", "no command")
    positional: list[str] = []
    named: dict[str, str] = {}
    for block in fields[5:]:
        if not block.strip():
            continue
        for each in _fields(block, ","):
            key, equals, value = each.partition("=")
            if equals and '"' not in key:
                named[key.strip().upper()] = value.strip()
            else:
                positional.append(each.strip())
    general = fields[4].strip() if len(fields) > 4 else ""
    return Tl1Command(verb, fields[1].strip(), fields[2].strip(), ctag, general, tuple(positional), named)
