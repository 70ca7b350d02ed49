"""Parameters of a SCPI message, read as strictly as an instrument reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Final

from drivers.simulated.scpi_error import ScpiError

NAN: Final = 9.91e37
"""What SCPI says for "not a number" (SCPI-99 volume 1, 7.2.1.5)."""
INFINITE: Final = 9.9e37

_NUMBER: Final = re.compile(r"([+-]?)(\d+(?:\.\d*)?|\.\d+)(?:\s*[eE]\s*([+-]?\d+))?\s*([A-Za-z][A-Za-z/]*)?", re.ASCII)
_NON_DECIMAL: Final[Mapping[str, tuple[int, str]]] = {"H": (16, "[0-9A-F]+"), "Q": (8, "[0-7]+"), "B": (2, "[01]+")}
_WORD: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_MOST_DIGITS: Final = 255  # IEEE 488.2, 7.7.2.4.1
_LARGEST_EXPONENT: Final = 32000  # the same
_LONGEST_SUFFIX: Final = 12
_MOST_CHANNELS: Final = 65536
_PREFIXES: Final[Mapping[str, int]] = {
    "": 0, "EX": 18, "PE": 15, "T": 12, "G": 9, "MA": 6, "K": 3,
    "M": -3, "U": -6, "N": -9, "P": -12, "F": -15, "A": -18,
}  # fmt: skip


def number(
    text: str, unit: str = "", low: float | None = None, high: float | None = None, default: float | None = None
) -> float:
    """The number in its base unit: ``number("1550NM", "M")`` is 1.55e-6.

    ``unit`` "DBM" takes W too and "W" takes dBm, each turned into what was asked for. MINimum, MAXimum and DEFault
    stand for the limits and the default where there are any. Raises ScpiError -12x, -13x, -141, -158, -168, -178, -222.
    """
    stripped = text.strip()
    if found := _NUMBER.fullmatch(stripped):
        value = _decimal(*found.groups(default=""), unit=unit)
    elif stripped[:1] == "#" and stripped[1:2].upper() in _NON_DECIMAL:
        base, digits = _NON_DECIMAL[stripped[1].upper()]
        if len(stripped) > 18 or not re.fullmatch(digits, stripped[2:].upper()):
            raise ScpiError(-121, stripped[:40])
        value = float(int(stripped[2:], base))
    elif _WORD.fullmatch(stripped):
        return _special(stripped, low, high, default)
    else:
        raise _no_number(stripped)
    if not -math.inf < value < math.inf or (low is not None and value < low) or (high is not None and value > high):
        raise ScpiError(-222, stripped[:40])
    return value


def integer(text: str, low: int | None = None, high: int | None = None, default: int | None = None) -> int:
    """A whole number. Raises ScpiError as ``number`` does, and -104 for a broken one."""
    value = number(text, "", low, high, default)
    if value != math.floor(value):
        raise ScpiError(-104, text.strip()[:40])
    return int(value)


def boolean(text: str) -> bool:
    """ON, OFF, 1, 0. Raises ScpiError -141, -158 …, -224 for other numbers."""
    stripped = text.strip().upper()
    if stripped in ("1", "ON"):
        return True
    if stripped in ("0", "OFF"):
        return False
    if _WORD.fullmatch(stripped):
        raise ScpiError(-141, stripped[:40])
    if _NUMBER.fullmatch(stripped):
        raise ScpiError(-224, stripped[:40])
    raise _no_number(stripped)


def choice(text: str, *options: str) -> str:
    """Which of the options ("IGNore", "SMEasure") it is, as its short form in capitals, which is how SCPI answers.

    Raises ScpiError -141 for none of them, -128 for a number, -158 for a string, -168, -178.
    """
    stripped = text.strip()
    wanted = stripped.upper()
    for option in options:
        short = "".join(each for each in option if not each.islower())
        if wanted in (short, option.upper()):
            return short
    if _WORD.fullmatch(stripped):
        raise ScpiError(-141, stripped[:40])
    if _NUMBER.fullmatch(stripped):
        raise ScpiError(-128, stripped[:40])
    raise _no_number(stripped)


def text(quoted: str) -> str:
    """What stands between the quotes; doubled quotes stand for one. Raises ScpiError -104, -151."""
    stripped = quoted.strip()
    mark = stripped[:1]
    if mark not in ('"', "'") or not mark:
        raise ScpiError(-104, stripped[:40])
    inner = stripped[1:-1].replace(mark * 2, "\0")
    if len(stripped) < 2 or stripped[-1] != mark or mark in inner:
        raise ScpiError(-151, stripped[:40])
    return inner.replace("\0", mark)


def block(sent: str) -> bytes:
    """What a block holds, `#<digits><length>…` or `#0…` to the end. Raises ScpiError -104, -161."""
    stripped = sent.lstrip()
    if not stripped.startswith("#"):
        raise ScpiError(-104, stripped[:40])
    digits = stripped[1:2]
    if digits == "0":
        return stripped[2:].encode("latin-1")
    if not digits.isdecimal() or not digits.isascii():
        raise ScpiError(-161, stripped[:40])
    start = 2 + int(digits)
    length = stripped[2:start]
    if (
        len(length) != int(digits)
        or not (length.isascii() and length.isdecimal())
        or len(stripped) < start + int(length)
    ):
        raise ScpiError(-161, stripped[:40])
    return stripped[start : start + int(length)].encode("latin-1")


def channel_list(expression: str) -> list[int]:
    """The channels of "(@1,2,5:7)" in their order; "(@)" has none. Raises ScpiError -104, -171, -223."""
    stripped = expression.strip()
    if not stripped.startswith("("):
        raise ScpiError(-104, stripped[:40])
    inner = re.fullmatch(r"\(\s*@([0-9:,\s]*)\)", stripped, re.ASCII)
    if inner is None:
        raise ScpiError(-171, stripped[:40])
    channels: list[int] = []
    if not inner[1].strip():
        return channels
    for each in inner[1].split(","):
        ends = re.fullmatch(r"\s*(\d{1,9})\s*(?::\s*(\d{1,9})\s*)?", each, re.ASCII)
        if ends is None:
            raise ScpiError(-171, stripped[:40])
        first = int(ends[1])
        last = first if ends[2] is None else int(ends[2])
        if abs(last - first) + len(channels) >= _MOST_CHANNELS:
            raise ScpiError(-223, stripped[:40])
        channels += range(first, last + 1) if last >= first else range(first, last - 1, -1)
    return channels


def count(args: Sequence[str], least: int, most: int | None = None) -> None:
    """Check how many parameters came: ``least``, or up to ``most``. Raises ScpiError -108, -109."""
    if len(args) < least:
        raise ScpiError(-109)
    if len(args) > (least if most is None else most):
        raise ScpiError(-108)


@cache
def _suffixes(unit: str) -> Mapping[str, int]:
    """Suffixes of a base unit, with their powers of ten."""
    if not unit:
        return {}
    if unit in ("DB", "DBM"):
        return {unit: 0, f"M{unit}": -3}
    table = {f"{prefix}{unit}": power for prefix, power in _PREFIXES.items()}
    if unit in ("HZ", "OHM"):
        table[f"M{unit}"] = 6  # the two units whose M is mega (IEEE 488.2, table 7-2)
    if unit == "W":
        table["WATT"] = 0
    return table


def _decimal(sign: str, digits: str, exponent: str, suffix: str, *, unit: str) -> float:
    if len(digits.lstrip("0").replace(".", "")) > _MOST_DIGITS:
        raise ScpiError(-124)
    if len(exponent) > 7 or abs(int(exponent or "0")) > _LARGEST_EXPONENT:
        raise ScpiError(-123)
    mantissa = f"{sign}{digits}e{exponent or '0'}"
    if not suffix:
        return float(mantissa)
    if len(suffix) > _LONGEST_SUFFIX:
        raise ScpiError(-134, suffix[:40])
    if not unit:
        raise ScpiError(-138, suffix)
    suffix = suffix.upper()
    power = _suffixes(unit).get(suffix)
    if power is not None:
        return float(Decimal(mantissa).scaleb(power))
    other = {"DBM": "W", "W": "DBM"}.get(unit)
    power = None if other is None else _suffixes(other).get(suffix)
    if power is None:
        raise ScpiError(-131, suffix)
    value = float(Decimal(mantissa).scaleb(power))
    if unit == "W":
        return 10 ** (min(value, 1e3) / 10 - 3)
    if not value > 0:
        raise ScpiError(-222, f"{mantissa}{suffix}"[:40])
    return 10 * math.log10(value * 1000)


def _special(word: str, low: float | None, high: float | None, default: float | None) -> float:
    named = {"MIN": low, "MINIMUM": low, "MAX": high, "MAXIMUM": high, "DEF": default, "DEFAULT": default}
    wanted = word.upper()
    if wanted in named:
        value = named[wanted]
        if value is None:
            raise ScpiError(-224, word)
        return value
    numbers = {"INF": INFINITE, "INFINITY": INFINITE, "NINF": -INFINITE, "NINFINITY": -INFINITE, "NAN": NAN}
    if wanted not in numbers:
        raise ScpiError(-141, word[:40])
    value = numbers[wanted]
    if (low is not None and value < low) or (high is not None and value > high):
        raise ScpiError(-222, word)
    return value


def _no_number(stripped: str) -> ScpiError:
    """What to say of a parameter of another kind, or of none."""
    first = stripped[:1]
    if not first:
        return ScpiError(-109)
    kinds = {'"': -158, "'": -158, "#": -168, "(": -178}
    if first in kinds:
        return ScpiError(kinds[first], stripped[:40])
    return ScpiError(-121 if first in "+-.0123456789" else -102, stripped[:40])
