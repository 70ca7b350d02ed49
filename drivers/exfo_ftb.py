"""EXFO FTB-1, FTB-2, FTB-4 and LTB-8 with FTBx-88xxx modules: how long a service was gone.

Commands are those of working programs; what they do not show is marked unconfirmed.
"""

from __future__ import annotations

import re
from typing import Final, Literal, Self

from drivers.capability import Safe
from drivers.clock import WALL, Clock
from drivers.codec import TRUTH, WHOLE, parse_number
from drivers.errors import PortReplyError, SettingError
from drivers.opener import Opener
from drivers.prompt import EXECUTED, SLOW
from drivers.quantity import Second
from drivers.scpi import ErrorPolicy, ScpiInstrument, poll_state
from drivers.session import Session
from drivers.stream import host_and_port

TELNET_PORT: Final = 5024
PROMPT: Final = "READY> "
START_S: Final = 300.0
"""Time for a test to start ("may take few minutes to complete")."""
SLOTS: Final = (0, 31)

Unit = Literal["s", "ms", "us"]
SCALES: Final[dict[str, float]] = {"s": 1.0, "ms": 1e-3, "us": 1e-6}

UNCONFIRMED: Final = (
    "no command of the EXFO FTB driver has been tried on a real tester",
    "EXFO: the unit of FETC:DATA:TEL:SDT:… is not known; it is taken to be ms where the answer names none",
    "EXFO: that starting a test anew forgets its service disruptions is taken for granted",
    "EXFO: whether OUTP:TEL:LAS? answers as it is set is not known",
)

_DURATION: Final = re.compile(r"\"?\s*([^\s\"]+?)\s*(s|ms|us)?\s*\"?", re.IGNORECASE)


def parse_duration(reply: str, unit: Unit) -> Second | None:
    """`"50.3 ms"` or 50.3 in ``unit``; None: 9.91E37. Raises ValueError."""
    found = _DURATION.fullmatch(reply.strip())
    if found is None:
        raise ValueError(f"{reply[:60]!r} is no duration")
    value = parse_number(found[1])
    if value is None:
        return None
    if value < 0:
        raise ValueError(f"{reply[:60]!r} is below zero")
    return Second(value * SCALES[(found[2] or unit).lower()])


class ExfoFtb(ScpiInstrument):
    """A transport tester in a slot, whose test is set up at its own screen; here it is started and read.

    Over telnet (port 5024) each command is answered with a line that says so, over the raw port (5025) with nothing.
    """

    ERRORS = ErrorPolicy.AFTER_GROUP
    unconfirmed: tuple[str, ...] = UNCONFIRMED

    def __init__(self, session: Session, *, clock: Clock = WALL, slot: int = 1, unit: Unit = "ms") -> None:
        """``slot``: number of its module, as LINS counts it; ``unit`` of durations where an answer names none.

        Raises SettingError.
        """
        super().__init__(session, clock=clock)
        if isinstance(slot, bool) or not isinstance(slot, int) or not SLOTS[0] <= slot <= SLOTS[1]:
            raise SettingError(f"a slot from {SLOTS[0]} to {SLOTS[1]}", repr(slot), "see LINS in the tester's guide")
        if unit not in SCALES:
            raise SettingError("a unit among s, ms, us", repr(unit), 'unit = "ms"')
        self.suffixes["slot"] = slot
        self._unit: Unit = unit

    @classmethod
    def opened(cls, how: Opener) -> Self:
        """Over telnet where the resource names port 5024, or the option `telnet` says so.

        Raises SettingError for an option that it has not.
        """
        own = how.own
        try:
            usual = host_and_port(how.resource)[1] == TELNET_PORT
        except ValueError:
            usual = False
        telnet = own.pop("telnet", usual)
        strange = sorted(set(own) - {"slot", "unit"})
        if strange or not isinstance(telnet, bool):
            found = strange[0] if strange else f"telnet = {telnet!r}"
            raise SettingError("options of exfo-ftb among slot, unit, telnet", found, "correct [instruments]")
        session = how.prompt(prompt=PROMPT, executed=EXECUTED, slow=SLOW) if telnet else how.session()
        try:
            return cls(session, clock=how.clock, **own)
        except BaseException:
            session.close()
            raise

    def start_disruption(self) -> None:
        """Start the test anew, which forgets what was, and wait until it runs.

        Raises InstrumentFaultError, PortTimeoutError.
        """
        with self.group("the start of a test", START_S):
            if self.running():
                self.write("LINS{slot}:SOUR:DATA:TEL:TEST OFF", START_S)
                self.wait(START_S, poll_state("LINS{slot}:SOUR:DATA:TEL:TEST?", lambda reply: not TRUTH.parse(reply)))
            self.write("LINS{slot}:SOUR:DATA:TEL:TEST ON", START_S)
            self.wait(START_S, poll_state("LINS{slot}:SOUR:DATA:TEL:TEST?", TRUTH.parse))

    def running(self) -> bool:
        """Whether its test runs. Raises PortReplyError."""
        return self.ask("LINS{slot}:SOUR:DATA:TEL:TEST?", TRUTH)

    def disruptions(self) -> int:
        """How many times the service was gone since the test was started. Raises PortReplyError."""
        return self.ask("LINS{slot}:FETC:DATA:TEL:SDT:COUN?", WHOLE)

    def longest_disruption(self) -> Second | None:
        """The longest, s; 0: the test runs and saw none. None: no test runs, or it has none to tell.

        Raises PortReplyError.
        """
        if not self.running():
            return None
        if self.disruptions() == 0:
            return Second(0.0)
        return self._duration("LONG")

    def last_disruption(self) -> Second | None:
        """The last one, s; None: it has none to tell. Raises PortReplyError."""
        return self._duration("LAST")

    def total_disruption(self) -> Second | None:
        """All of them together, s; None: it has none to tell. Raises PortReplyError."""
        return self._duration("TOT")

    def set_laser(self, on: bool) -> None:
        """Its laser. Raises InstrumentFaultError."""
        self.write(f"LINS{{slot}}:OUTP:TEL:LAS {'ON' if on else 'OFF'}")

    def safe_state(self) -> Safe:
        """Laser off, and asked whether it is so."""
        self.set_laser(False)
        off = not self.ask("LINS{slot}:OUTP:TEL:LAS?", TRUTH)
        return Safe(confirmed=off, said=f"laser of slot {self.suffixes['slot']} {'off' if off else 'on all the same'}")

    def _duration(self, which: str) -> Second | None:
        message = f"LINS{{slot}}:FETC:DATA:TEL:SDT:{which}?"
        reply = self.query(message)
        try:
            return parse_duration(reply, self._unit)
        except ValueError as why:
            raise PortReplyError(f"a duration to {self.say(message)}", str(why), "check model and firmware") from why
