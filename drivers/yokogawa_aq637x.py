"""Yokogawa AQ637x optical spectrum analysers: one sweep at a time, on trace A, in dBm against vacuum wavelength."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final, Literal, Self

from drivers.capability import Safe, Spectrum
from drivers.clock import WALL, Clock
from drivers.codec import WHOLE, Layout, csv, number
from drivers.errors import PortReplyError, SettingError
from drivers.opener import Opener
from drivers.port import Backend, Port, Wire
from drivers.quantity import Metre
from drivers.scpi import ErrorPolicy, Query, ScpiInstrument, fixed_settle, poll_oper_bit
from drivers.session import Session

PATIENCE_S: Final = 35.0
"""An exchange may take so long: every ten minutes the analyser takes its offset, and answers nobody for 30 s."""
SWEEP_S: Final = 600.0
"""A sweep is over within so much, also at the highest sensitivity."""
DARK_DBM: Final = -250.0
"""No level is lower; a point without light reads -210 dBm."""
MOST_DBM: Final = 50.0

WAVELENGTHS: Final = {
    "AQ6370": (Metre(600e-9), Metre(1700e-9)),
    "AQ6373": (Metre(350e-9), Metre(1200e-9)),
    "AQ6375": (Metre(1200e-9), Metre(2400e-9)),
}
"""Of a sweep, by the first six letters of the model."""
RESOLUTIONS: Final = {
    "AQ6370": tuple(Metre(nm * 1e-9) for nm in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)),
    "AQ6373": tuple(Metre(nm * 1e-9) for nm in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)),
    "AQ6375": tuple(Metre(nm * 1e-9) for nm in (0.05, 0.1, 0.2, 0.5, 1, 2)),
}

UNCONFIRMED: Final = (
    "no command of the Yokogawa AQ637x driver has been tried on a real analyser",
    "that a Yokogawa AQ637x takes its password in plain text after OPEN",
)


class Sensitivity(Enum):
    """How long the analyser looks at each point; higher is slower."""

    HOLD = "NHLD"
    AUTO = "NAUT"
    MID = "MID"
    HIGH_1 = "HIGH1"
    HIGH_2 = "HIGH2"
    HIGH_3 = "HIGH3"
    NORMAL = "NORM"


class AqPort(Port):
    """A port to an analyser on the LAN, which wants to be logged in to before it says who it is."""

    def __init__(
        self,
        resource: str,
        *,
        user: str = "anonymous",
        password: str = "",
        timeout_s: float = PATIENCE_S,
        ends_out: str = "\r\n",
        ends_in: str = "\n",
        backend: Backend = "@py",
        log: Callable[[Wire], None] | None = None,
        clock: Clock = WALL,
    ) -> None:
        """Log in and identify; ``timeout_s`` below 35 s is not believed. Raises PortOpenError."""
        self._user, self._password = user, password
        self._logged_in = False
        super().__init__(
            resource,
            timeout_s=max(timeout_s, PATIENCE_S),
            ends_out=ends_out,
            ends_in=ends_in,
            backend=backend,
            log=log,
            clock=clock,
        )

    def _tame(self) -> None:
        super()._tame()
        if self._framed:
            return  # over GPIB or VXI-11 nobody has to log in
        asked = self._exchange(f'OPEN "{self._user}"', self.timeout_s)
        if not asked.strip().upper().startswith("AUTHENTICATE"):
            raise _refused("AUTHENTICATE", asked)
        log, self._log = self._log, None  # a password is nothing for a wire log
        try:
            said = self._exchange(self._password, self.timeout_s)
        finally:
            self._log = log
        if not said.strip().upper().startswith("READY"):
            raise _refused("READY", said)
        self._logged_in = True

    def close(self) -> None:
        """Log out, and end the session. Safe to call twice, from any thread."""
        if self._logged_in and not self._closed and not self._owed:
            self._logged_in = False
            # whoever does not take the farewell is left without it
            with contextlib.suppress(Exception):
                self.write("CLOSE", 1.0)
        super().close()


def _refused(wanted: str, said: str) -> PortReplyError:
    return PortReplyError(f"{wanted} when logging in", repr(said), "check user and password in the analyser's menu")


class YokogawaAq637x(ScpiInstrument):
    """An analyser; trace A is ours."""

    MODELS = tuple(f"{model}*" for model in WAVELENGTHS)
    WAIT = fixed_settle(0.0)
    ERRORS = ErrorPolicy.AFTER_GROUP
    ENDS_OUT = "\r\n"
    unconfirmed = UNCONFIRMED

    resolution = Query("SENS:BWID:RES?", number(Metre))
    samples = Query("TRAC:DATA:SNUM? TRA", WHOLE)

    def __init__(
        self,
        session: Session,
        *,
        clock: Clock = WALL,
        traces: Literal["ascii", "real"] = "ascii",
        sensitivity: Sensitivity = Sensitivity.MID,
    ) -> None:
        """``traces``: how they are sent; "real" is quicker for tens of thousands of points.

        Raises SettingError, WrongInstrumentError, InstrumentFaultError, and what the session raises.
        """
        super().__init__(session, clock=clock)
        model = self.identity.model.upper()[:6]
        self._wavelengths, self._resolutions = WAVELENGTHS[model], RESOLUTIONS[model]
        self._real = traces == "real"
        try:
            self.errors()  # what others left behind is no answer to us
            with self.group("opening it: single sweeps on trace A"):
                for words in (
                    "ABOR",
                    f"FORM:DATA {'REAL,64' if self._real else 'ASC'}",
                    "INIT:SMOD 1",
                    "TRAC:ACT TRA",
                    "TRAC:ATTR:TRA 0",
                    f"SENS:SENS {sensitivity.value}",
                    "SENS:SWE:POIN:AUTO 1",
                ):
                    self.write(words)
        except BaseException:
            self.close()
            raise

    @classmethod
    def opened(cls, how: Opener) -> Self:
        """The analyser at a VISA resource name, logged in; options ``user``, ``password``, ``traces``, ``sensitivity``.

        Raises SettingError, PortOpenError, and what the class raises.
        """
        unknown = [name for name in how.own if name not in {"traces", "sensitivity"}]
        levels = [each.value for each in Sensitivity]
        sensitivity, traces = how.own.get("sensitivity", "MID"), how.own.get("traces", "ascii")
        if unknown or sensitivity not in levels or traces not in {"ascii", "real"}:
            raise SettingError(
                f'options traces = "ascii" or "real", sensitivity among {", ".join(levels)}',
                str(how.own),
                "correct [instruments] in the bench file",
            )
        user = str(how.options.get("user", "anonymous"))
        port = functools.partial(AqPort, user=user, password=how.password())
        session = how.session(ends_out=cls.ENDS_OUT, timeout_s=max(how.timeout_s, PATIENCE_S), port=port)
        return cls(session, clock=how.clock, traces=traces, sensitivity=Sensitivity(sensitivity))

    # -- patience --------------------------------------------------------------------------------------------

    def _patience(self, timeout_s: float | None) -> float:
        return max(timeout_s or 0.0, self.session.timeout_s, PATIENCE_S)

    def command(self, message: str, timeout_s: float | None = None) -> None:
        """As every instrument's, with patience for its offset."""
        super().command(message, self._patience(timeout_s))

    def question(self, message: str, timeout_s: float | None = None) -> str:
        """As every instrument's, with patience for its offset."""
        return super().question(message, self._patience(timeout_s))

    def octets(self, message: str, timeout_s: float | None = None) -> bytes:
        """As every instrument's, with patience for its offset."""
        return super().octets(message, self._patience(timeout_s))

    # -- sweeps ----------------------------------------------------------------------------------------------

    def sweep(self, centre: Metre, span: Metre, resolution: Metre) -> Spectrum:
        """One sweep, m in vacuum; the resolution must be one that the analyser has.

        Raises SettingError before anything is sent, InstrumentFaultError, PortReplyError, PortTimeoutError.
        """
        low, high = self._wavelengths
        if not (span > 0 and low <= centre - span / 2 and centre + span / 2 <= high):
            raise SettingError(
                f"a sweep within {low * 1e9:g} … {high * 1e9:g} nm",
                f"{centre * 1e9:.6g} nm ± {span * 1e9 / 2:.6g} nm",
                "see the data sheet",
            )
        if not any(abs(resolution - each) <= 1e-6 * each for each in self._resolutions):
            raise SettingError(
                f"a resolution of {', '.join(f'{each * 1e9:g}' for each in self._resolutions)} nm",
                f"{resolution!r} m",
                "take the next one",
            )
        self.write(
            f"SENS:WAV:CENT {centre * 1e9:.4f}NM;:SENS:WAV:SPAN {span * 1e9:.4f}NM;"
            f":SENS:BWID:RES {resolution * 1e9:g}NM"
        )
        self.write("*CLS;:INIT")
        self.wait(SWEEP_S, poll_oper_bit(0, set_when_done=True, query="STAT:OPER:EVEN?"))
        wavelengths, powers = self._trace("X"), self._trace("Y")
        _plausible(wavelengths, powers, centre, span)
        return Spectrum(tuple(wavelengths), tuple(powers), float(self.resolution))

    def _trace(self, axis: Literal["X", "Y"]) -> Sequence[float]:
        message = f"TRAC:{axis}? TRA"
        if not self._real:
            return self.ask(message, csv(number(float)))
        layout: Layout = "float64-little"
        return [float(each) for each in self.array(message, layout)]

    def abort(self) -> None:
        """End a sweep under way."""
        self.write("ABOR")

    def safe_state(self) -> Safe:
        """It emits nothing; a sweep under way is ended."""
        self.abort()
        return Safe(confirmed=True, said=f"{self.identity.model}: a spectrum analyser, emits nothing")


def _plausible(wavelengths: Sequence[float], powers: Sequence[float], centre: Metre, span: Metre) -> None:
    """Raises PortReplyError for a trace that is not of the sweep that was asked for, or not in dBm."""
    problem = ""
    if len(wavelengths) != len(powers) or len(wavelengths) < 2:
        problem = f"{len(wavelengths)} wavelengths with {len(powers)} levels"
    elif not all(math.isfinite(each) for each in (*wavelengths, *powers)):
        problem = "points that are no numbers"
    elif any(later <= earlier for earlier, later in itertools.pairwise(wavelengths)):
        problem = "wavelengths that do not rise"
    elif abs(wavelengths[0] - (centre - span / 2)) > 0.01 * span or abs(wavelengths[-1] - (centre + span / 2)) > (
        0.01 * span
    ):
        problem = f"a trace from {wavelengths[0] * 1e9:.4f} to {wavelengths[-1] * 1e9:.4f} nm"
    elif not all(DARK_DBM <= each <= MOST_DBM for each in powers):
        problem = f"levels from {min(powers):g} to {max(powers):g}"
    elif all(0 <= each < 1 for each in powers):
        problem = "levels between 0 and 1: the analyser's level axis is linear, in W"
    if problem:
        raise PortReplyError(
            f"a trace in dBm of {span * 1e9:.6g} nm around {centre * 1e9:.6g} nm",
            problem,
            "look at the analyser: level axis in dBm, wavelengths in vacuum; sweep again",
        )
