"""The base of every driver for an instrument that speaks SCPI.

A driver is a class with one line a command. What is read is a `float` of its unit to mypy, what is set is checked and
never rounded, and what the instrument objects to is an error of ours:

    class Laser(ScpiInstrument):
        \"\"\"A laser with an attenuator in each slot.\"\"\"

        MODELS = ("TLS-1", "TLS-2[AB]")
        WAIT = POLL_OPC
        ERRORS = ErrorPolicy.AFTER_GROUP

        wavelength = Setting("SOUR:WAV", number(Metre), low=Metre(1520e-9), high=Metre(1580e-9), wait_s=10.0)
        power = Setting("SOUR:POW", number(DBm, "DBM"), low=DBm(-10), high=DBm(13))
        output = Setting("OUTP", TRUTH, confirm=True)
        temperature = Query("SENS:TEMP?", reading(float))
        home = Action("SOUR:HOME", wait_s=60.0)

        def __init__(self, session: Session, *, clock: Clock = WALL) -> None:
            super().__init__(session, clock=clock)
            self.slots = {slot: Slot(self, slot=slot) for slot in (1, 2)}

        def safe_state(self) -> Safe:
            self.output = False
            return Safe(not self.output, "laser off")

    class Slot(ScpiChannel):
        attenuation = Setting("INP{slot}:ATT", number(DB), low=DB(0), high=DB(45), wait=POLL_SLOT_OPC, wait_s=2.0)

`docs/drivers.md` tells the rest.
"""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from enum import Enum
from types import TracebackType
from typing import Any, ClassVar, Final, Generic, Self, TypeAlias, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

from drivers.clock import WALL, Clock
from drivers.codec import (
    BARE,
    CHANNELS,
    QUOTED,
    TRUTH,
    WHOLE,
    Codec,
    Layout,
    choice,
    csv,
    number,
    parse_error,
    reading,
    values,
)
from drivers.errors import (
    InstrumentError,
    InstrumentFaultError,
    NotTakenError,
    PortReplyError,
    PortTimeoutError,
    SettingError,
    WrongInstrumentError,
)
from drivers.port import Identity
from drivers.quantity import Second
from drivers.session import Session
from drivers.waiting import (
    BLOCKING_OPC,
    POLL_OPC,
    POLL_SLOT_OPC,
    WaitPolicy,
    fixed_settle,
    poll_oper_bit,
    poll_state,
)

__all__ = [
    "BARE",
    "BLOCKING_OPC",
    "CHANNELS",
    "POLL_OPC",
    "POLL_SLOT_OPC",
    "QUOTED",
    "TRUTH",
    "WHOLE",
    "Action",
    "Codec",
    "ErrorPolicy",
    "Query",
    "ScpiChannel",
    "ScpiInstrument",
    "Setting",
    "WaitPolicy",
    "choice",
    "csv",
    "fixed_settle",
    "number",
    "poll_oper_bit",
    "poll_state",
    "reading",
]

T = TypeVar("T")

DRAINED: Final = 200
"""Entries read from an error queue before we stop asking; no maker's is deeper than 100."""


class ErrorPolicy(Enum):
    """When the error queue is asked."""

    NONE = "never: it has none"
    AFTER_SET = "after each command"
    AFTER_GROUP = "at the end of a group of commands; a command outside any group is a group of its own"


class _Node:
    """Something with commands: an instrument, or a channel of it."""

    WAIT: ClassVar[WaitPolicy | None] = None
    """How it is found out that a command has been carried out; None: as of the whole instrument."""

    def __init__(self, suffixes: Mapping[str, int]) -> None:
        self.suffixes: dict[str, int] = dict(suffixes)
        """Values of the {names} in commands."""

    @property
    def instrument(self) -> ScpiInstrument:
        """The whole one."""
        raise NotImplementedError

    @property
    def clock(self) -> Clock:
        """The time it is waited by."""
        return self.instrument.clock

    def say(self, text: str) -> str:
        """A command with its suffixes filled in."""
        return text.format_map(self.suffixes) if "{" in text else text

    def write(self, message: str, timeout_s: float | None = None) -> None:
        """Send a command; whether it was taken is asked as `ErrorPolicy` says.

        Raises InstrumentFaultError when the instrument objects, and what `Session.write` raises.
        """
        self.instrument.command(self.say(message), timeout_s)

    def query(self, message: str, timeout_s: float | None = None) -> str:
        """Ask. A query that stays unanswered because the instrument objects to it is an InstrumentFaultError."""
        return self.instrument.question(self.say(message), timeout_s)

    def ask(self, message: str, codec: Codec[T], timeout_s: float | None = None) -> T:
        """Ask and understand. Raises PortReplyError when the answer is no such thing."""
        reply = self.query(message, timeout_s)
        try:
            return codec.parse(reply)
        except ValueError as why:
            raise PortReplyError(
                f"{codec.what} to {self.say(message)}", str(why), "check model and firmware against the driver"
            ) from why

    def block(self, message: str, timeout_s: float | None = None) -> bytes:
        """Ask for a definite block; its payload."""
        return self.instrument.octets(self.say(message), timeout_s)

    def array(self, message: str, layout: Layout, timeout_s: float | None = None) -> npt.NDArray[np.float64]:
        """Ask for a definite block of numbers, shape (n,); NaN where there is none. Raises PortReplyError."""
        payload = self.block(message, timeout_s)
        try:
            return values(payload, layout)
        except ValueError as why:
            raise PortReplyError(f"a block to {self.say(message)}", str(why), "check the driver's layout") from why

    def wait(self, within_s: float, policy: WaitPolicy | None = None) -> Second:
        """Wait until what was begun is done; the time it took. Raises PortTimeoutError."""
        return (policy or self.WAIT or self.instrument.WAIT or BLOCKING_OPC).wait(self, within_s)


class ScpiInstrument(_Node):
    """An instrument at an open session, which it closes when it is closed itself.

    Raises WrongInstrumentError when another model answers; the session is closed then.
    """

    WAIT: ClassVar[WaitPolicy | None] = BLOCKING_OPC

    MODELS: ClassVar[tuple[str, ...]] = ()
    """Second fields of `*IDN?` it is for, as shell patterns ("N774[45]A"); empty: whatever answers."""
    MAKERS: ClassVar[tuple[str, ...]] = ()
    """First fields, as shell patterns ("Keysight*"); empty: whatever answers."""
    ERRORS: ClassVar[ErrorPolicy] = ErrorPolicy.AFTER_GROUP
    ERROR_QUERY: ClassVar[str] = "SYST:ERR?"
    ENDS_OUT: ClassVar[str] = "\n"
    """What ends a message."""
    ENDS_IN: ClassVar[str] = "\n"
    """What ends an answer; a carriage return before it is taken away too."""
    unconfirmed: tuple[str, ...] = ()
    """What no public text and nobody's hardware has confirmed."""

    def __init__(self, session: Session, *, clock: Clock = WALL) -> None:
        super().__init__({})
        self.session = session
        self._clock = clock
        self._grouped = 0
        who = session.identity
        if not (_among(who.model, self.MODELS) and _among(who.maker, self.MAKERS)):
            session.close()
            raise WrongInstrumentError(
                f"{' or '.join(self.MAKERS) or 'a maker'}, {' or '.join(self.MODELS) or 'any model'} at"
                f" {session.resource}",
                str(who),
                "check the address, and the driver's name in the bench file",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def instrument(self) -> ScpiInstrument:
        """Itself."""
        return self

    @property
    def clock(self) -> Clock:
        """The time it is waited by."""
        return self._clock

    @property
    def identity(self) -> Identity:
        """Who answered when the session was opened."""
        return self.session.identity

    def close(self) -> None:
        """End the session; safe to call twice."""
        self.session.close()

    # -- exchanges -----------------------------------------------------------------------------------------

    def command(self, message: str, timeout_s: float | None = None) -> None:
        """Send a whole command and look into the error queue if that is the policy."""
        with self.session.turn(timeout_s):
            self.session.write(message, timeout_s)
            if self.ERRORS is ErrorPolicy.AFTER_SET or (self.ERRORS is ErrorPolicy.AFTER_GROUP and not self._grouped):
                self.check(message)

    def question(self, message: str, timeout_s: float | None = None) -> str:
        """Ask a whole query."""
        with self.session.turn(timeout_s), self._explained(message):
            return self.session.query(message, timeout_s)

    def octets(self, message: str, timeout_s: float | None = None) -> bytes:
        """Ask a whole query that a block answers."""
        with self.session.turn(timeout_s), self._explained(message):
            return self.session.query_block(message, timeout_s)

    @contextlib.contextmanager
    def group(self, what: str, timeout_s: float | None = None) -> Iterator[None]:
        """Several commands that belong together, the instrument to oneself; objections come at the end, as one error.

        ``what`` names them in that error: "the set-up of a sweep".
        """
        with self.session.turn(timeout_s):
            self._grouped += 1
            try:
                yield
            finally:
                self._grouped -= 1
            if not self._grouped and self.ERRORS is ErrorPolicy.AFTER_GROUP:
                self.check(what)

    @contextlib.contextmanager
    def _explained(self, message: str) -> Iterator[None]:
        """A query that is refused is not answered: then the error queue tells why."""
        try:
            yield
        except PortTimeoutError as why:
            if self.ERRORS is ErrorPolicy.NONE:
                raise
            try:
                found = self.errors()
            except InstrumentError as worse:
                why.add_note(f"asked for the reason: {worse}")
                raise why from why.__cause__
            # -4xx is what the instrument makes of our waiting in vain (IEEE 488.2 6.3.2): no reason
            reasons = [entry for entry in found if not -499 <= entry[0] <= -400]
            if not reasons:
                raise
            raise _fault(reasons, message) from why

    # -- errors --------------------------------------------------------------------------------------------

    def errors(self) -> tuple[tuple[int, str], ...]:
        """What the error queue holds, oldest first; reading empties it. Raises PortReplyError."""
        found: list[tuple[int, str]] = []
        with self.session.turn():
            while len(found) < DRAINED:
                reply = self.session.query(self.ERROR_QUERY)
                try:
                    code, text = parse_error(reply)
                except ValueError as why:
                    raise PortReplyError(
                        f'an entry of the error queue to {self.ERROR_QUERY}, number,"text"',
                        str(why),
                        "check model and firmware against the driver",
                    ) from why
                if code == 0:
                    break
                found.append((code, text))
        return tuple(found)

    def check(self, after: str) -> None:
        """Empty the error queue. Raises InstrumentFaultError with the first entry, the others as its notes."""
        found = self.errors()
        if found:
            raise _fault(found, after)


def _fault(found: Sequence[tuple[int, str]], after: str) -> InstrumentFaultError:
    """The first entry, with the others as its notes."""
    fault = InstrumentFaultError(*found[0], after)
    for code, text in found[1:]:
        fault.add_note(f'then {code},"{text}"')
    return fault


def _among(name: str, patterns: Collection[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name.upper(), pattern.upper()) for pattern in patterns)


class ScpiChannel(_Node):
    """A channel, slot or port of an instrument: its commands have its numbers filled in.

    `ScpiChannel(parent, slot=3)`; a channel of a channel has the numbers of both.
    """

    def __init__(self, parent: ScpiInstrument | ScpiChannel, **suffixes: int) -> None:
        super().__init__({**parent.suffixes, **suffixes})
        self._instrument = parent.instrument

    @property
    def instrument(self) -> ScpiInstrument:
        """The whole one."""
        return self._instrument


# -- commands as attributes --------------------------------------------------------------------------------------


class Query(Generic[T]):
    """Something that can be asked: `temperature = Query("SENS{slot}:TEMP?", reading(float))`."""

    def __init__(self, message: str, codec: Codec[T], *, timeout_s: float | None = None, doc: str = "") -> None:
        self.message = message
        self.codec = codec
        self.timeout_s = timeout_s
        self.__doc__ = doc or f"{message}: {codec.what}"

    @overload
    def __get__(self, node: None, owner: type) -> Self: ...
    @overload
    def __get__(self, node: _Node, owner: type) -> T: ...
    def __get__(self, node: _Node | None, owner: type) -> Self | T:
        """Ask. Raises PortReplyError, and what `ScpiInstrument.query` raises."""
        return self if node is None else node.ask(self.message, self.codec, self.timeout_s)

    def __set__(self, node: _Node, value: object) -> None:
        raise AttributeError(f"{self.message} can only be asked")


Limit: TypeAlias = T | Callable[[Any], T] | None
"""An end of a range: a value, or what tells it of the instrument or channel (as a model's data sheet does)."""


class Setting(Generic[T]):
    """Something that can be set and asked: `power = Setting("SOUR{slot}:POW", number(DBm), low=DBm(-10))`.

    ``low``, ``high`` and ``among`` are what the data sheet allows, in the setting's own unit; each may be a function of
    the instrument or channel. ``wait_s``: after it is set, ``wait`` (the instrument's policy when None) within so many
    seconds. ``confirm``: it is asked afterwards and must be equal, or for numbers within so much. ``query`` where
    asking is other than the header with a question mark.
    """

    def __init__(
        self,
        header: str,
        codec: Codec[T],
        *,
        low: Limit[T] = None,
        high: Limit[T] = None,
        among: Collection[T] | Callable[[Any], Collection[T]] = (),
        wait_s: float | None = None,
        wait: WaitPolicy | None = None,
        confirm: bool | float = False,
        query: str = "",
        timeout_s: float | None = None,
        doc: str = "",
    ) -> None:
        self.header = header
        self.codec = codec
        self.message = query or f"{header}?"
        self.timeout_s = timeout_s
        self._low, self._high, self._among = low, high, among
        self._wait_s, self._wait = wait_s, wait
        self._confirm = confirm
        self.__doc__ = doc or f"{header}: {codec.what}"

    @overload
    def __get__(self, node: None, owner: type) -> Self: ...
    @overload
    def __get__(self, node: _Node, owner: type) -> T: ...
    def __get__(self, node: _Node | None, owner: type) -> Self | T:
        """Ask. Raises PortReplyError, and what `ScpiInstrument.query` raises."""
        return self if node is None else node.ask(self.message, self.codec, self.timeout_s)

    def __set__(self, node: _Node, value: T) -> None:
        """Set. Raises SettingError before anything is sent, InstrumentFaultError, NotTakenError, PortTimeoutError."""
        self.set(node, value)

    def set(self, node: _Node, value: T) -> Second:
        """Set and wait; the time the waiting took, s. Raises as setting the attribute does."""
        argument = self._argument(node, value)
        node.write(f"{self.header} {argument}", self.timeout_s)
        took = Second(0.0) if self._wait_s is None else node.wait(self._wait_s, self._wait)
        if self._confirm is not False:
            self._confirmed(node, value)
        return took

    def _argument(self, node: _Node, value: T) -> str:
        name = node.say(self.header)
        try:
            argument = self.codec.form(value)
        except (ValueError, TypeError) as why:
            raise SettingError(f"{self.codec.what} for {name}", str(why), "see the data sheet") from None
        among = self._among(node) if callable(self._among) else self._among
        low, high = _of(self._low, node), _of(self._high, node)
        if among and value not in among:
            raise SettingError(f"{name} of {' or '.join(map(str, among))}", str(value), "see the data sheet")
        # Any: what has limits can be compared, which a type variable cannot say
        within: Any = value
        if (low is not None and within < low) or (high is not None and within > high):
            ends = f"{'' if low is None else low} … {'' if high is None else high}"
            raise SettingError(f"{name} within {ends}", str(value), "see the data sheet")
        return argument

    def _confirmed(self, node: _Node, value: T) -> None:
        found = node.ask(self.message, self.codec, self.timeout_s)
        if self._confirm is True:
            same = found == value
        else:
            apart: Any = found
            same = abs(apart - value) <= self._confirm
        if not same:
            raise NotTakenError(
                f"{node.say(self.header)} at {value}",
                f"{found}, as it says itself",
                "look at the instrument: locked, interlocked, or another program sets it too",
            )


def _of(limit: Limit[T], node: _Node) -> T | None:
    # Any: a value may be callable to mypy, which no number is
    found: Any = limit
    return cast("T | None", found(node) if callable(found) else found)


class Action:
    """Something that can be done: `zero = Action("SENS{slot}:CORR:COLL:ZERO", wait_s=60.0)`, then `meter.zero()`."""

    def __init__(
        self,
        message: str,
        *,
        wait_s: float | None = None,
        wait: WaitPolicy | None = None,
        timeout_s: float | None = None,
        doc: str = "",
    ) -> None:
        self.message = message
        self._wait_s, self._wait = wait_s, wait
        self._timeout_s = timeout_s
        self.__doc__ = doc or message

    @overload
    def __get__(self, node: None, owner: type) -> Self: ...
    @overload
    def __get__(self, node: _Node, owner: type) -> Callable[[], Second]: ...
    def __get__(self, node: _Node | None, owner: type) -> Self | Callable[[], Second]:
        """What does it: call it; it returns the time the waiting took, s."""
        if node is None:
            return self

        def act() -> Second:
            node.write(self.message, self._timeout_s)
            return Second(0.0) if self._wait_s is None else node.wait(self._wait_s, self._wait)

        return act
