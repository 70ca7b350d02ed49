"""What can go wrong between us and an instrument, each saying what was wanted, what was found, what to do."""

from __future__ import annotations

from typing import Final

DENIED: Final = {
    "ENEQ": "not equipped",
    "ICNV": "input, command not valid",
    "IDNV": "input, data not valid",
    "IIAC": "input, invalid access identifier",
    "IICT": "input, invalid correlation tag",
    "IITA": "input, invalid target identifier",
    "IPNV": "input, parameter not valid",
    "PIUI": "privilege, illegal user identity",
    "PLNA": "privilege, login not active",
    "SARB": "status, all resources busy",
    "SDLD": "status, duplicate log-in denied",
    "SNVS": "status, not in valid state",
}
"""What the commonest reasons of a TL1 denial mean (GR-831, as makers' examples show them)."""


class InstrumentError(Exception):
    """Wanted, found, remedy: the three things an engineer needs at 3 a.m."""

    def __init__(self, wanted: str, found: str, remedy: str) -> None:
        self.wanted = wanted
        self.found = found
        self.remedy = remedy
        super().__init__(f"wanted {wanted}; found {found}; {remedy}")


class PortOpenError(InstrumentError):
    """Nobody, or nobody who says who it is, at the other end."""


class PortTimeoutError(InstrumentError):
    """No whole answer in time; the session is re-synchronised before its next use."""


class PortReplyError(InstrumentError):
    """An answer that is none: not text, without end; the session is re-synchronised before its next use."""


class PortLostError(InstrumentError):
    """The connection broke, or could not be re-synchronised; the port is closed."""


class PortClosedError(InstrumentError):
    """The port was closed before."""


class WrongInstrumentError(InstrumentError):
    """Another instrument than the one that was asked for."""


class SettingError(InstrumentError):
    """A setting outside what the data sheet allows; nothing was sent."""


class NotTakenError(InstrumentError):
    """The instrument took a setting without a word, and says afterwards that it is otherwise."""


class TranscriptError(InstrumentError):
    """A recorded conversation that cannot be read, or another one than the driver has now."""


class NoReadingError(InstrumentError):
    """The instrument answered, but has nothing to tell: no signal, over range, a pulse missed."""


class InstrumentFaultError(InstrumentError):
    """What the instrument put into its error queue (SCPI-99 volume 2, 21.8)."""

    def __init__(self, code: int, text: str, after: str) -> None:
        self.code = code
        """Negative: from the standard's table; positive: the maker's own."""
        self.text = text
        super().__init__(f"no error after {after}", f'{code},"{text}"', "look the number up in the maker's guide")


class DeniedError(InstrumentFaultError):
    """A TL1 command that was denied, or done in part only; ``code`` is 0, as TL1 has letters instead of numbers."""

    def __init__(self, reason: str, text: str, after: str, done: tuple[str, ...] | None = None) -> None:
        """``done``: the rows of what was done before it stopped; None: nothing was."""
        meaning = f" ({DENIED[reason]})" if reason in DENIED else ""
        InstrumentError.__init__(
            self,
            f"{after} done",
            f"{'DENY' if done is None else 'PRTL'} {reason}{meaning} {text}".rstrip(),
            "correct what was asked, or the state of the device",
        )
        self.code = 0
        self.reason = reason
        """Four letters: IIAC, SNVS …; empty where none came."""
        self.text = text
        self.done = done


class SorError(InstrumentError):
    """A file that is no trace of a reflectometer (SR-4731), or a damaged one."""


class NobodyError(InstrumentError):
    """A person had to be asked, and none is there to answer: no terminal, end of input, no line in the answers file."""


class RefusedError(InstrumentError):
    """A person was asked to do something and said that it was not done."""
