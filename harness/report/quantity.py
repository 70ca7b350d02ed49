"""Quantities as text: integers in, digits with their unit out, no float on the way."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Final, Literal

UNKNOWN: Final = "—"
INFINITE: Final = "+∞"
WITHHELD: Final = "已遮盖 redacted"
"""A number that a redacted result does not tell."""
NBSP: Final = "\u00a0"

_UNITS: Final = (("ps", 0), ("ns", 3), ("µs", 6), ("ms", 9), ("s", 12))

Rounding = Literal["half", "up", "down"]


def integer(value: object) -> int | None:
    """The integer behind a result.json value: an int, or its decimal string beyond 2^53; None stays None.

    Raises ValueError for anything else, so that a float can never slip in.
    """
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, str):
        return int(value)
    raise ValueError(f"not an integer: {value!r}")


def _divide(value: int, step: int, rounding: Rounding) -> int:
    """``value / step`` to an integer; "half" rounds halves away from zero, "up" towards +infinity."""
    if rounding == "up":
        return -(-value // step)
    if rounding == "down":
        return value // step
    half = (2 * abs(value) + step) // (2 * step)
    return half if value >= 0 else -half


def _fixed(value: int, places: int) -> str:
    """``value * 10**-places`` with exactly that many decimals."""
    sign, digits = ("-" if value < 0 else ""), str(abs(value)).rjust(places + 1, "0")
    return f"{sign}{digits}" if places == 0 else f"{sign}{digits[:-places]}.{digits[-places:]}"


def _unit(magnitude_ps: int) -> tuple[str, int]:
    """Unit in which a delay of this size reads best: µs from 1 µs up to 10 ms."""
    for limit, unit in ((10**3, 0), (10**6, 1), (10**10, 2), (10**13, 3)):
        if magnitude_ps < limit:
            return _UNITS[unit]
    return _UNITS[4]


def _step(uncertainty_ps: int) -> int:
    """Power of ten (exponent, ps) at which ``uncertainty_ps`` rounded up keeps two significant digits."""
    exponent = max(0, len(str(uncertainty_ps)) - 2)
    return exponent + 1 if _divide(uncertainty_ps, 10**exponent, "up") >= 100 else exponent


def _at(value_ps: int, exponent: int, unit: tuple[str, int], rounding: Rounding) -> str:
    """``value_ps`` rounded to 10**exponent ps, in ``unit``, with the decimals that this leaves."""
    rounded = _divide(value_ps, 10**exponent, rounding) * 10**exponent
    places = max(0, unit[1] - exponent)
    return f"{_fixed(rounded // 10 ** (unit[1] - places), places)}{NBSP}{unit[0]}"


def measured(estimate_ps: int, uncertainty_ps: int) -> tuple[str, str]:
    """An estimate with its expanded uncertainty: U rounded up to two significant digits, the estimate to that place.

    Both in ps, both in one unit: ``measured(412_634_000, 566_001) == ("412.63 µs", "0.57 µs")``. Neither is printed
    finer than a whole ns, in which estimates are counted.
    """
    if uncertainty_ps <= 0:
        text = delay(estimate_ps=estimate_ps)
        return text, f"0{NBSP}{text.rsplit(NBSP, 1)[-1]}"
    unit, exponent = _unit(max(abs(estimate_ps), uncertainty_ps, 1000)), max(3, _step(uncertainty_ps))
    return _at(estimate_ps, exponent, unit, "half"), _at(uncertainty_ps, exponent, unit, "up")


def expanded(uncertainty_ps: int | None) -> str:
    """An uncertainty alone (ps): rounded up to two significant digits, in the unit that suits it."""
    if uncertainty_ps is None:
        return UNKNOWN
    if uncertainty_ps == 0:
        return f"0{NBSP}ns"
    exponent = _step(uncertainty_ps)
    return _at(uncertainty_ps, exponent, _unit(uncertainty_ps), "up")


def delay(ns: int | None = None, *, estimate_ps: int | None = None, rounding: Rounding = "half") -> str:
    """A delay to the nanosecond: ``delay(412_634) == "412.634 µs"``; None is "—".

    ``estimate_ps`` instead of ``ns`` is rounded to a ns by ``rounding``.
    """
    value = ns if estimate_ps is None else _divide(estimate_ps, 1000, rounding)
    if value is None:
        return UNKNOWN
    return _at(value * 1000, 3, _unit(max(abs(value) * 1000, 1000)), "half")


def bound(ns: int | None, *, infinite: bool = False) -> str:
    """An order-statistic bound: like `delay`, "+∞" where losses push it beyond every sample."""
    return INFINITE if infinite else delay(ns)


def limit(ns: int) -> str:
    """A limit without needless zeros: ``limit(1_000_000) == "1 ms"``, ``limit(1_500) == "1.5 µs"``."""
    name, exponent = next((u for u in reversed(_UNITS[1:]) if abs(ns) * 1000 >= 10 ** u[1]), _UNITS[1])
    digits = _fixed(ns, exponent - 3)
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}{NBSP}{name}"


def count(value: int | None) -> str:
    """A count in groups of three (ISO 80000-1 7.3.1), no-break spaces between; None is "—"."""
    return UNKNOWN if value is None else f"{value:,}".replace(",", NBSP)


def percent(numerator: int, denominator: int) -> str:
    """An exact share: ``percent(999, 1000) == "99.9 %"``; repeating decimals are cut after six places."""
    value = Fraction(100 * numerator, denominator)
    digits = _fixed(int(value * 10**6), 6).rstrip("0").rstrip(".")
    return f"{digits}{NBSP}%"


def milli(value: int | None) -> str:
    """Thousandths as a decimal, exact: 2 037 is "2.037"."""
    return UNKNOWN if value is None else _fixed(value, 3)


def freedom(value: int | None) -> str:
    """Degrees of freedom: None is infinity, above 9999 only that much is said."""
    return "∞" if value is None else count(value) if value < 10_000 else "> 9999"


def ratio(pair: object) -> str:
    """A fraction given as [numerator, denominator]: whole where it is whole, else two decimals, rounded down."""
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        whole = integer(pair)
        return UNKNOWN if whole is None else count(whole)
    numerator, denominator = integer(pair[0]), integer(pair[1])
    if numerator is None or not denominator:
        return UNKNOWN
    if numerator % denominator == 0 or numerator >= 1000 * denominator:
        return count(numerator // denominator)
    return _fixed(100 * numerator // denominator, 2)


def instant(ns: int | None) -> str:
    """An instant (ns since 1970 UTC) as "2026-11-22 11:05:14 UTC", whole seconds."""
    if ns is None or not 0 < ns < 253_402_300_800 * 10**9:
        return UNKNOWN
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S") + f"{NBSP}UTC"


def period(start_ns: int, end_ns: int) -> str:
    """Start to end in UTC, the date once where it is the same."""
    first, last = instant(start_ns), instant(end_ns)
    return f"{first.removesuffix(f'{NBSP}UTC')} – {last[11:] if first[:10] == last[:10] else last}"


def span(ns: int | None) -> str:
    """A duration for people: "2 h 00 min 00 s", "1 min 30 s", "2.5 s"."""
    if ns is None:
        return UNKNOWN
    if ns < 60 * 10**9:
        tenths = _divide(max(ns, 0), 10**8, "half")
        return f"{_fixed(tenths, 1).removesuffix('.0')}{NBSP}s"
    minutes, seconds = divmod(_divide(ns, 10**9, "half"), 60)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}{NBSP}h {minutes:02}" if hours else f"{minutes}"
    return f"{head}{NBSP}min {seconds:02}{NBSP}s"


def clock_time(ns: int) -> str:
    """A duration as HH:MM:SS for a progress line."""
    minutes, seconds = divmod(max(ns, 0) // 10**9, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}"
