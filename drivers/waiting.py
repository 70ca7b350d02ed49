"""When an instrument is done: the ways to find out, each with a deadline and a measured duration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from drivers.clock import Clock
from drivers.codec import TRUTH, WHOLE
from drivers.errors import PortReplyError, PortTimeoutError
from drivers.quantity import Second

SOONEST_S: Final = 0.001
"""First pause between two looks."""
LATE_SHARE: Final = 20
"""Pauses grow to a 20th of the time waited: what is done is seen at most 5 % late, in few looks."""
LONGEST_S: Final = 0.5


class Asked(Protocol):
    """Who is waited for: an instrument, or a channel of one."""

    @property
    def clock(self) -> Clock:
        """The time that passes."""

    def say(self, text: str) -> str:
        """A command with its suffixes filled in: "SLOT{slot}:OPC?" is "SLOT3:OPC?" for channel 3."""

    def query(self, message: str, timeout_s: float | None = None) -> str:
        """Ask."""


class WaitPolicy(Protocol):
    """One way to find out."""

    def wait(self, who: Asked, within_s: float) -> Second:
        """Come back when it is done; the time it took, s. Raises PortTimeoutError, and what asking raises."""


def since(clock: Clock, start_ns: int) -> Second:
    """Time that went by."""
    return Second((clock.now_ns() - start_ns) / 1e9)


def _truth(message: str, reply: str) -> bool:
    try:
        return TRUTH.parse(reply)
    except ValueError as why:
        raise PortReplyError(f"0 or 1 to {message}", repr(reply), "check the driver's wait policy") from why


@dataclass(frozen=True, slots=True)
class Blocking:
    """A query that is answered only when all is done."""

    message: str = "*OPC?"

    def wait(self, who: Asked, within_s: float) -> Second:
        """As `WaitPolicy`."""
        start, message = who.clock.now_ns(), who.say(self.message)
        if not _truth(message, who.query(message, within_s)):
            raise PortReplyError(f"1 to {message}", "0: it does not block here", "use a wait policy that polls")
        return since(who.clock, start)


@dataclass(frozen=True, slots=True)
class Poll:
    """A query that is answered at once, again and again until its answer says done."""

    message: str
    done: Callable[[str], bool]
    """Judges an answer; may raise ValueError for one that is none, or InstrumentError where it says "failed"."""

    def wait(self, who: Asked, within_s: float) -> Second:
        """As `WaitPolicy`. Looks once more when the time is over."""
        clock, message = who.clock, who.say(self.message)
        start = clock.now_ns()
        while True:
            over = since(clock, start) >= within_s
            reply = who.query(message)
            try:
                done = self.done(reply)
            except ValueError as why:
                raise PortReplyError(f"a state to {message}", repr(reply), "check the driver's wait policy") from why
            if done:
                return since(clock, start)
            if over:
                raise PortTimeoutError(
                    f"done within {within_s:g} s, as {message} would say",
                    f"{reply.strip()!r} after {since(clock, start):.3g} s",
                    "look at the instrument; give it more time if it is busy",
                )
            waited = since(clock, start)
            pause = min(max(SOONEST_S, waited / LATE_SHARE), LONGEST_S)
            clock.sleep(max(0.0, min(pause, within_s - waited)))


@dataclass(frozen=True, slots=True)
class Settle:
    """A fixed time, for what says nothing of itself."""

    seconds: float

    def wait(self, who: Asked, within_s: float) -> Second:
        """As `WaitPolicy`; ``within_s`` must leave room for it."""
        if self.seconds > within_s:
            raise PortTimeoutError(
                f"done within {within_s:g} s", f"a settling time of {self.seconds:g} s", "give it more time"
            )
        start = who.clock.now_ns()
        who.clock.sleep(self.seconds)
        return since(who.clock, start)


BLOCKING_OPC: Final = Blocking()
"""`*OPC?` is answered when all is done (IEEE 488.2 10.19)."""
POLL_OPC: Final = Poll("*OPC?", TRUTH.parse)
"""`*OPC?` answers 0 or 1 at once (Keysight N77xx)."""
POLL_SLOT_OPC: Final = Poll("SLOT{slot}:OPC?", TRUTH.parse)
"""One slot of a mainframe by itself (Keysight N77xx, 816x)."""


def poll_state(query: str, done: Callable[[str], bool]) -> Poll:
    """Ask for a state until ``done`` says of the answer that it is the wanted one."""
    return Poll(query, done)


def poll_oper_bit(bit: int, *, set_when_done: bool = False, query: str = "STAT:OPER:COND?") -> Poll:
    """Ask the operation condition register until a bit says so; usually it is set while something runs."""
    return Poll(query, lambda reply: bool(WHOLE.parse(reply) >> bit & 1) is set_when_done)


def fixed_settle(seconds: float) -> Settle:
    """Wait a fixed time, s."""
    return Settle(seconds)
