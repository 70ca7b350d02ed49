"""VIAVI OTU-8000 and MTS-8000 reflectometers: one trace, as the .SOR file that the unit writes.

The one measuring command is that of a working program; what its fields mean and how the file is fetched is unconfirmed.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from drivers import sor
from drivers.capability import Safe
from drivers.clock import WALL, Clock
from drivers.codec import QUOTED, split
from drivers.errors import InstrumentFaultError, NoReadingError, PortReplyError, SettingError
from drivers.quantity import Metre, Second
from drivers.scpi import ErrorPolicy, ScpiInstrument
from drivers.session import Session

BEFORE_S: Final = 60.0
"""Time for a measurement beyond its averaging."""
WAVELENGTH_NM: Final = (800, 1700)
SPAN_M: Final = (100.0, 400_000.0)
PULSE_NS: Final = (3, 20_000)
AVERAGING_S: Final = (1.0, 3600.0)
INDEX: Final = (1.3, 1.7)
APART_PM: Final = 15_000
"""A laser may differ from its nominal wavelength by so much and still be the one that was asked for."""

UNCONFIRMED: Final = (
    "no command of the VIAVI OTU driver has been tried on a real reflectometer",
    "VIAVI OTU: the fields of otu:mealink:SI:webconfig? are taken from one example: module, port, route, MAN, pulse in "
    "ns, range in km, averaging in s, index, wavelength in nm, 64, function",
    "VIAVI OTU: how the .SOR file is fetched is not known; by MMEM:DATA? (SCPI-99) where the bench names no directory",
    "VIAVI OTU: which fields otu:module:calot:lpulse? and :lrange? want is not known",
    "VIAVI OTU: no command is known that switches its laser off; it is taken to be dark when it measures nothing",
)

_MODULE: Final = re.compile(r"(MOD[0-9]{1,2})\s*:\s*([^,\"]{1,40}?)\s*,\s*\"([^\"]{1,40})\"\s*:\s*([A-Z0-9,\s]*)")
_FILE: Final = re.compile(r"\"?([^\",;]*)\"?\s*[,;]\s*\"?([A-Za-z0-9_.-]{1,80}\.sor)\"?", re.IGNORECASE)
_LISTED: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)\s*(ns|us|m|km)", re.IGNORECASE)
_SCALES: Final = {"ns": 1.0, "us": 1000.0, "m": 0.001, "km": 1.0}
_ROUTE: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Module:
    """One reflectometer in the unit."""

    place: str
    """ "MOD2"."""
    model: str
    function: str
    """ "SM-OTDR"."""
    wavelengths_nm: tuple[int, ...]


def parse_modules(reply: str) -> tuple[Module, ...]:
    """`MOD2: 5027HD,"SM-OTDR" : L1625,L1650`, several behind each other. Raises ValueError."""
    found = []
    for part in re.split(r"(?=MOD[0-9])", reply)[1:]:
        each = _MODULE.fullmatch(part.strip(" ,;\r\n\t"))
        if each is None:
            raise ValueError(f"{part[:80]!r} is no module")
        lasers = [laser.strip() for laser in each[4].split(",") if laser.strip()]
        if not all(re.fullmatch(r"L[0-9]{3,4}", laser) for laser in lasers):
            raise ValueError(f"{reply[:80]!r} has a laser that is none")
        found.append(Module(each[1], each[2], each[3], tuple(int(laser[1:]) for laser in lasers)))
    if not found:
        raise ValueError(f"{reply[:80]!r} names no module")
    return tuple(found)


class ViaviOtu(ScpiInstrument):
    """A reflectometer at its unit's control port, 8000."""

    # it is asked only where a query stays unanswered: then its queue may tell why
    ERRORS = ErrorPolicy.AFTER_GROUP
    unconfirmed: tuple[str, ...] = UNCONFIRMED

    def __init__(
        self,
        session: Session,
        *,
        clock: Clock = WALL,
        module: str = "",
        port: int = 1,
        route: str = "0001004",
        group_index: float = 1.4682,
        directory: str = "",
    ) -> None:
        """``module`` ("MOD2"): the first there is when none is named. ``route``: how the unit is to reach the fibre.

        ``directory``: where the unit's files are seen on this host (a mounted share); without it they are asked for.
        Raises SettingError, NoReadingError, PortReplyError.
        """
        super().__init__(session, clock=clock)
        if not _ROUTE.fullmatch(route):
            raise SettingError("a route in digits", repr(route), 'route = "0001004"')
        if isinstance(port, bool) or not isinstance(port, int) or not 1 <= port <= 64:
            raise SettingError("an OTDR port from 1", repr(port), "see the unit's front")
        if not INDEX[0] <= group_index <= INDEX[1]:
            raise SettingError(f"a group index {INDEX[0]} to {INDEX[1]}", repr(group_index), "see the cable's sheet")
        if directory and not Path(directory).is_dir():
            raise SettingError("a directory with the unit's files", repr(directory), "mount the unit's share there")
        self._port, self._route, self._index = port, route, group_index
        self._directory = Path(directory) if directory else None
        self._measuring = False
        """A measurement was begun and its end was not told."""
        there = self.modules()
        named = [each for each in there if each.place == module.upper()] if module else list(there)
        if not named:
            raise NoReadingError(
                f"a reflectometer {module}", ", ".join(each.place for each in there), "name one that is there"
            )
        self._module = named[0]

    @property
    def module(self) -> Module:
        """The reflectometer that is used."""
        return self._module

    def modules(self) -> tuple[Module, ...]:
        """Those in the unit. Raises PortReplyError."""
        reply = self.query("*rem;otu:module:detect?", BEFORE_S)
        try:
            return parse_modules(reply)
        except ValueError as why:
            raise PortReplyError("modules to otu:module:detect?", str(why), "check model and firmware") from why

    def trace(self, wavelength: Metre, span: Metre, pulse: Second, averaging: Second) -> bytes:
        """One trace, as the file that the unit wrote; read once to see that it is the one that was asked for.

        ``pulse`` must be one of the module's; of its ranges the shortest is taken that covers ``span``. Raises
        SettingError before it is measured, SorError for what is no trace, NoReadingError for an old one.
        """
        nm, ns = round(wavelength * 1e9), round(pulse * 1e9) if math.isfinite(pulse) else 0
        lasers = self._module.wavelengths_nm
        if not WAVELENGTH_NM[0] <= nm <= WAVELENGTH_NM[1] or (lasers and nm not in lasers):
            raise SettingError(
                f"a wavelength of {', '.join(map(str, lasers)) or 'a laser'} nm", f"{nm}", "see the module"
            )
        for what, value, (low, high) in (
            ("m of range", float(span), SPAN_M),
            ("ns of pulse", float(ns), PULSE_NS),
            ("s of averaging", float(averaging), AVERAGING_S),
        ):
            if not low <= value <= high:
                raise SettingError(f"{low:g} to {high:g} {what}", f"{value:g}", "see the module's data sheet")
        module = f'{self._module.place},"{self._module.function}"'
        pulses = self._listed(f"*rem;otu:module:calot:lpulse? {module}")
        if ns not in pulses:
            raise SettingError(f"a pulse of {', '.join(pulses.values())}", f"{ns} ns", "take one of the module's")
        ranges = self._listed(f'*rem;otu:module:calot:lrange? {module},"{pulses[ns]}"')
        covering = [km for km in ranges if km * 1000 >= span]
        if not covering:
            raise SettingError(f"a range of {', '.join(ranges.values())}", f"{span / 1000:g} km", "measure in parts")
        route = f"#{len(str(len(self._route)))}{len(self._route)}{self._route}"
        before = self._seen()
        self._measuring = True
        try:
            reply = self.query(
                f"*rem;otu:mealink:SI:webconfig? {self._module.place},{self._port},{route},MAN,{ns},"
                f'{min(covering):g},{averaging:g},{self._index:g},{nm},64,"{self._module.function}"',
                averaging + BEFORE_S,
            )
        except InstrumentFaultError:
            self._measuring = False  # it refused
            raise
        self._measuring = False
        found = _FILE.fullmatch(reply.strip())
        if found is None or ".." in found[1]:
            raise PortReplyError("a directory and a file .sor", repr(reply[:80]), "check model and firmware")
        octets = self._fetched(found[1], found[2], before)
        made = sor.parse(octets)
        if abs(made.wavelength_pm - nm * 1000) > APART_PM:
            raise NoReadingError(
                f"a trace at {nm} nm", f"one at {made.wavelength_pm / 1000:g} nm", "look at what the unit measured"
            )
        return octets

    def safe_state(self) -> Safe:
        """It is dark when it does not measure: it must answer, and have told the end of what we had it measure."""
        self.modules()
        if self._measuring:
            return Safe(confirmed=False, said="a measurement was begun whose end it did not tell")
        return Safe(confirmed=True, said="it answers, and measures nothing for us")

    def _listed(self, message: str) -> dict[float, str]:
        """What it has, by ns or km, as it writes it. Raises PortReplyError."""
        reply = self.query(message)
        found: dict[float, str] = {}
        try:
            for each in split(reply):
                said = _LISTED.fullmatch(QUOTED.parse(each))
                if said is not None:  # there may be "Auto" among them
                    found[float(said[1]) * _SCALES[said[2].lower()]] = said[0]
        except ValueError as why:
            raise PortReplyError(f"a list to {message}", str(why), "check model and firmware") from why
        if not found:
            raise PortReplyError(f"a list to {message}", repr(reply[:80]), "check model and firmware")
        return found

    def _fetched(self, directory: str, name: str, before: dict[str, tuple[int, int]]) -> bytes:
        if self._directory is None:
            return self.block(f'MMEM:DATA? "{directory}/{name}"', BEFORE_S)
        path = self._directory / name
        try:
            if before.get(name) == _stamp(path):
                raise NoReadingError(f"a new file {path}", "the one from before", "mount the directory that it named")
            with path.open("rb") as file:
                return file.read(sor.MOST_OCTETS + 1)
        except OSError as why:
            raise NoReadingError(
                f"the file {name} that the unit wrote to {directory}",
                str(why),
                f"mount that directory at {path.parent}",
            ) from why

    def _seen(self) -> dict[str, tuple[int, int]]:
        """Files there, so that an old one is not taken for a new one."""
        if self._directory is None:
            return {}
        try:
            return {each.name: _stamp(each) for each in self._directory.glob("*.sor")}
        except OSError as why:
            raise NoReadingError(f"the directory {self._directory}", str(why), "mount the unit's share again") from why


def _stamp(path: Path) -> tuple[int, int]:
    known = path.stat()
    return known.st_mtime_ns, known.st_ino
