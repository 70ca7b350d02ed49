"""Optical quantities as text: whole micro-decibels and picoseconds in, units that people read out."""

from __future__ import annotations

from typing import Final

from harness.report import quantity as q

SCALES: Final[dict[str, tuple[tuple[int, str], ...]]] = {
    "udB": ((6, "dB"),),
    "udBm": ((6, "dBm"),),
    "ns": ((0, "ns"), (3, "µs"), (6, "ms"), (9, "s")),
    "ps": ((0, "ps"), (3, "ns"), (6, "µs"), (9, "ms")),
    "MHz": ((3, "GHz"),),
    "um": ((6, "m"),),
    "count": ((0, ""),),
    "text": ((0, ""),),
}
"""By unit of a figure: (power of ten, unit of its text); the largest that leaves a digit before the point is used."""


def _scale(size: int, unit: str) -> tuple[int, str]:
    found = SCALES[unit][0]
    for power, name in SCALES[unit]:
        if size >= 10**power:
            found = (power, name)
    return found


def digits(value: int, power: int, decimals: int) -> str:
    """``value`` over 10**power with so many decimals, halves away from zero."""
    sign, size = ("-" if value < 0 else ""), abs(value)
    cut = 10 ** (power - decimals)
    whole = (2 * size + cut) // (2 * cut) if power > decimals else size
    decimals = min(power, decimals)
    text = str(whole).rjust(decimals + 1, "0")
    if not any(c != "0" for c in text):
        sign = ""
    return f"{sign}{text[:-decimals]}.{text[-decimals:]}" if decimals else f"{sign}{text}"


def shown(value: int | None, unit: str, decimals: int = 3) -> str:
    """A value with its unit; "—" for none."""
    if value is None:
        return q.UNKNOWN
    power, name = _scale(abs(value), unit)
    return f"{digits(value, power, min(decimals, power))}{q.NBSP if name else ''}{name}"


def with_expanded(value: int | None, expanded: int, unit: str, side: str = "") -> str:
    """Value ± U, U rounded up to two digits and the value to its last one; a one-sided value with its sign."""
    if value is None:
        return q.UNKNOWN
    power, name = _scale(abs(value), unit)
    places = max(0, min(power, power - len(str(expanded)) + 2)) if expanded else min(3, power)
    cut = 10 ** (power - places)
    up = -(-expanded // cut) * cut
    sign = {"at-least": "≥ ", "at-most": "≤ "}.get(side, "")
    tail = f" ± {digits(up, power, places)}" if expanded else ""
    return f"{sign}{digits(value, power, places)}{tail}{q.NBSP if name else ''}{name}"


def limit(value: int, unit: str, sense: str) -> str:
    """A limit with the sign of its sense."""
    power, name = _scale(abs(value), unit)
    text = digits(value, power, power)
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{'≤' if sense == 'max' else '≥'}{q.NBSP}{text}{q.NBSP if name else ''}{name}"
