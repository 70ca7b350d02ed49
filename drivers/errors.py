"""What can go wrong between us and an instrument, each saying what was wanted, what was found, what to do."""

from __future__ import annotations


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


class NoReadingError(InstrumentError):
    """The instrument answered, but has nothing to tell: no signal, over range, a pulse missed."""


class InstrumentFaultError(InstrumentError):
    """What the instrument put into its error queue (SCPI-99 volume 2, 21.8)."""

    def __init__(self, code: int, text: str, after: str) -> None:
        self.code = code
        """Negative: from the standard's table; positive: the maker's own."""
        self.text = text
        super().__init__(f"no error after {after}", f'{code},"{text}"', "look the number up in the maker's guide")
