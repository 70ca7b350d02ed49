"""A wavelength of light in vacuum on the wire, or its optical frequency: no other number is taken for one."""

from __future__ import annotations

from typing import Final

from drivers.codec import Codec, number
from drivers.quantity import Hertz, Metre, wavelength

SHORTEST: Final = Metre(100e-9)
LONGEST: Final = Metre(20e-6)
"""What lies outside is no light of any instrument here: a wrong unit, a wrong quantity."""


def light(found: Metre) -> Metre:
    """The wavelength. Raises ValueError for what is none, NaN too."""
    if not SHORTEST <= found <= LONGEST:
        raise ValueError(f"{found!r} m is no wavelength of light")
    return found


def nanometres(found: Metre) -> str:
    """As it is sent, to 1 fm: "1550.000000NM"."""
    return f"{found * 1e9:.6f}NM"


def terahertz(frequency: Hertz) -> str:
    """As it is sent, to 1 MHz: "193.100000THZ"."""
    return f"{frequency / 1e12:.6f}THZ"


def _metres(text: str) -> Metre:
    return light(number(Metre).parse(text))


def _hertz(text: str) -> Hertz:
    found = number(Hertz).parse(text)
    if not found > 0:
        raise ValueError(f"{text.strip()!r} is no optical frequency")
    light(wavelength(found))
    return found


WAVELENGTH: Final[Codec[Metre]] = Codec("a wavelength in m", _metres, nanometres)
FREQUENCY: Final[Codec[Hertz]] = Codec("an optical frequency in Hz", _hertz, terahertz)
