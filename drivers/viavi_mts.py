"""VIAVI T-BERD/MTS-5800, ONA-800/1000 and MTS-8000 testers: the walk to their port, applications, controls, results.

Commands are those of the maker's own sample and of working programs; names of results beyond theirs stand in the
remote-control manual that comes with the unit.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal, Self

from drivers.capability import Safe
from drivers.clock import WALL, Clock
from drivers.codec import TRUTH, WHOLE, parse_number, split
from drivers.errors import InstrumentError, NoReadingError, PortReplyError, PortTimeoutError, SettingError
from drivers.opener import Opener
from drivers.port import Identity
from drivers.quantity import Second
from drivers.scpi import ErrorPolicy, ScpiInstrument
from drivers.session import Session
from drivers.stream import host_and_port
from drivers.waiting import since

FIRST_PORT: Final = 8000
LAUNCH_S: Final = 120.0
"""An application takes 30 to 90 s to start."""
EXIT_S: Final = 90.0
LOOKS_S: Final = 1.0

Unit = Literal["s", "ms", "us"]
SCALES: Final[dict[str, float]] = {"s": 1.0, "ms": 1e-3, "us": 1e-6}

UNCONFIRMED: Final = (
    "no command of the VIAVI MTS driver has been tried on a real tester",
    "VIAVI: that each of the three ports answers *IDN? is taken for granted",
    "VIAVI: the name and the unit of the result for service disruption are not public; the bench file states them",
)

_APPLICATION: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{1,60}")
_RESULT: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?::[A-Za-z0-9]+){1,12}")
_SIDES: Final = re.compile(r"[A-Z0-9]{1,10},[A-Z0-9]{1,10}")


def walk(first: Session, host: str, opens: Callable[[str], Session], sides: str = "BOTH,BASE") -> Session:
    """From port 8000 to the port of remote control, by way of a port in between; the first two are closed.

    ``opens`` opens a session with a VISA resource name. Raises NoReadingError where the tester has no such function or
    is not ready, PortReplyError, and what the sessions raise.
    """
    if not _SIDES.fullmatch(sides):
        raise SettingError("a place for modules, such as BOTH,BASE", repr(sides), "see the tester's manual")
    second = None
    try:
        first.write("*REM")
        listed = first.query(f"MOD:FUNC:LIST? {sides}")
        if '"BERT"' not in listed:
            raise NoReadingError('a tester with "BERT"', repr(listed[:80]), "put in the module, or name its place")
        function = f'{sides},"BERT"'
        if not TRUTH.parse(first.query(f"MOD:FUNC:SEL? {function}")):
            first.write(f"MOD:FUNC:SEL {function},ON")
        middle = _port(first.query(f"MOD:FUNC:PORT? {function}"))
        second = opens(f"TCPIP0::{host}::{middle}::SOCKET")
        second.write("*REM")
        if not TRUTH.parse(second.query(f":SYST:FUNC:READY? {function}")):
            raise NoReadingError("BERT ready", "not yet", "wait until the tester has started")
        last = _port(second.query(f":SYST:FUNC:PORT? {function}"))
        return opens(f"TCPIP0::{host}::{last}::SOCKET")
    except ValueError as why:
        raise PortReplyError("the answers of a VIAVI tester", str(why), "check model, firmware and port 8000") from why
    finally:
        first.close()
        if second is not None:
            second.close()


def _port(reply: str) -> int:
    found = WHOLE.parse(reply)
    if not 0 < found < 65536:
        raise NoReadingError("a TCP port for remote control", f"{found}", "start BERT at the tester's screen")
    return found


class ViaviMts(ScpiInstrument):
    """A tester at its port of remote control. A bad query is answered with nothing, a bad command with an error."""

    ERRORS = ErrorPolicy.AFTER_SET
    ERROR_QUERY = ":SYST:ERR?"
    unconfirmed: tuple[str, ...] = UNCONFIRMED

    def __init__(
        self,
        session: Session,
        *,
        clock: Clock = WALL,
        application: str = "",
        port: int = 1,
        hidden: bool = False,
        disruption: str = "",
        unit: Unit = "ms",
    ) -> None:
        """Take it under remote control, and start an application where one is named (or take it if it runs).

        ``hidden``: its screen is dark meanwhile. ``disruption`` names the result that tells the longest service
        disruption, in ``unit``. Raises SettingError, and what starting an application raises.
        """
        super().__init__(session, clock=clock)
        if application and not _APPLICATION.fullmatch(application):
            raise SettingError("the name of an application", repr(application), "see :SYST:APPL:CAPP?")
        if disruption and not _RESULT.fullmatch(disruption):
            raise SettingError("the name of a result", repr(disruption), "see the tester's remote-control manual")
        if unit not in SCALES:
            raise SettingError("a unit among s, ms, us", repr(unit), 'unit = "ms"')
        if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 99:
            raise SettingError("a test port from 1", repr(port), "see the tester's front")
        self._disruption, self._unit = disruption, unit
        self.write("*REM HIDDEN" if hidden else "*REM VISIBLE FULL")
        if application:
            self.select(application, port)

    @classmethod
    def opened(cls, how: Opener) -> Self:
        """By the walk from port 8000; a resource with another port is taken for the port of remote control itself.

        Besides those of the class the options `walk`, which says so itself, and `sides` ("BOTH,BASE"), where the module
        is. Raises SettingError for one that it has not.
        """
        own = how.own
        walks = own.pop("walk", None)
        sides = str(own.pop("sides", "BOTH,BASE"))
        strange = sorted(set(own) - {"application", "port", "hidden", "disruption", "unit"})
        if strange or walks not in {None, True, False}:
            found = strange[0] if strange else f"walk = {walks!r}"
            raise SettingError("an option of viavi-mts", found, "correct [instruments]")
        try:
            host, port = host_and_port(how.resource)
        except ValueError:
            host, port = "", 0
        session = how.session()
        if host and (port == FIRST_PORT if walks is None else walks):
            session = walk(session, host, how.session, sides)
        try:
            return cls(session, clock=how.clock, **own)
        except BaseException:
            session.close()
            raise

    @property
    def identity(self) -> Identity:
        """Who answered at the port of remote control."""
        return self.session.identity

    # -- applications ----------------------------------------------------------------------------------------

    def applications(self) -> tuple[str, ...]:
        """Those that run, with their suffixes. Raises PortReplyError."""
        reply = self.query(":SYST:APPL:CAPP?")
        try:
            return tuple(name for each in split(reply) if (name := each.strip("\"'")))
        except ValueError as why:
            raise PortReplyError("names to :SYST:APPL:CAPP?", str(why), "check the firmware") from why

    def select(self, application: str, port: int = 1) -> str:
        """Take an application under control, starting it if it does not run; its name with the port's suffix.

        Raises PortTimeoutError when it does not start in 120 s.
        """
        wanted = f"{application}_{100 + port}"
        if wanted not in self.applications():
            self.write(f":SYST:APPL:LAUN {application} {port}")
            start = self.clock.now_ns()
            while (found := self.query(":SYST:APPL:LAUN?", LAUNCH_S).strip().strip('"')) != wanted:
                if since(self.clock, start) > LAUNCH_S:
                    raise PortTimeoutError(
                        f"{wanted} started within {LAUNCH_S:g} s", repr(found[:80]), "look at the tester's screen"
                    )
                self.clock.sleep(LOOKS_S)
        self.write(f":SYST:APPL:SEL {wanted}")
        self.write(":SESS:CRE")
        self.write(":SESS:STAR")
        return wanted

    def leave(self) -> None:
        """End the session and the application, which takes about a minute."""
        self.write(":SESS:END")
        self.write(":EXIT", EXIT_S)

    # -- controls --------------------------------------------------------------------------------------------

    def set_laser(self, on: bool) -> None:
        """Its laser. Raises InstrumentFaultError."""
        self.write(f":OUTP:OPT {'ON' if on else 'OFF'}")

    def laser(self) -> bool:
        """Whether it emits, as it says. Raises PortReplyError."""
        return self.ask(":OUTP:OPT?", TRUTH)

    def set_traffic(self, on: bool) -> None:
        """Whether it sends frames."""
        self.write(f":SOUR:MAC:TRAFFIC {'ON' if on else 'OFF'}")

    def start(self, *, untimed: bool = True) -> None:
        """Begin a test anew; results count from here."""
        if untimed:
            self.write(":SENS:TEST:ENAB OFF")
        self.write(":INIT")

    def stop(self) -> None:
        """End the test."""
        self.write(":ABOR")

    # -- results ---------------------------------------------------------------------------------------------

    def result(self, name: str) -> float | None:
        """A number by the name of its result ("COUNT:MAC:ETH:FRAME"); None: it has none (9.91e+37).

        Raises SettingError for what is no such name, PortReplyError, PortTimeoutError for one it does not know.
        """
        text = self.text_result(name)
        try:
            return parse_number(text)
        except ValueError as why:
            raise PortReplyError(f"a number for {name}", str(why), "take `text_result` for a text") from why

    def text_result(self, name: str) -> str:
        """A result as it is said. Raises as `result`."""
        if not _RESULT.fullmatch(name):
            raise SettingError("the name of a result", repr(name), "see the tester's remote-control manual")
        return self.query(f":SENS:DATA? {name}").strip()

    def start_disruption(self) -> None:
        """Start the test anew, which forgets what was."""
        self._named()
        self.stop()
        self.start()

    def longest_disruption(self) -> Second | None:
        """By the result that the bench names, s; None: it has none to tell. Raises NoReadingError without a name."""
        value = self.result(self._named())
        if value is not None and value < 0:
            raise PortReplyError(f"a duration for {self._disruption}", f"{value}", "check the name of the result")
        return None if value is None else Second(value * SCALES[self._unit])

    def _named(self) -> str:
        if not self._disruption:
            raise NoReadingError(
                "the result that tells a service disruption",
                "none named: no public text tells it",
                'take it from the remote-control manual of the unit: options = { disruption = "…", unit = "ms" }',
            )
        return self._disruption

    def safe_state(self) -> Safe:
        """Traffic and laser off, and asked whether the laser is."""
        try:
            self.set_traffic(False)
            said = "traffic and laser off"
        except InstrumentError:  # not every application has traffic, and the laser matters more
            said = "laser off"
        self.set_laser(False)
        off = not self.laser()
        return Safe(confirmed=off, said=said if off else "laser on all the same")
