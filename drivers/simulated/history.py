"""What was true since when, so that a meter's log can be asked for the past."""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import Final, Generic, TypeVar

Value = TypeVar("Value")
KEEP_NS: Final = 600_000_000_000
"""How far back the past is kept, ns: ten minutes, longer than any log of 100 000 samples of 1 ms."""
MANY: Final = 64


class History(Generic[Value]):
    """A value that jumps at instants; before the first it was always so."""

    def __init__(self, first: Value) -> None:
        self._rows: list[tuple[int, Value]] = [(-(1 << 62), first)]

    @property
    def last(self) -> Value:
        """The newest value."""
        return self._rows[-1][1]

    def set(self, at_ns: int, value: Value) -> None:
        """From this instant on it is so. An instant before the newest change counts as that one: time goes forward."""
        rows = self._rows
        rows.append((max(at_ns, rows[-1][0]), value))
        if len(rows) > MANY and rows[1][0] < at_ns - KEEP_NS:
            keep = max(0, bisect_right(rows, at_ns - KEEP_NS, key=itemgetter(0)) - 1)
            self._rows = rows[keep:]

    def at(self, at_ns: int) -> Value:
        """What was true at an instant; a change at that very instant has happened."""
        rows = self._rows
        if at_ns >= rows[-1][0]:
            return rows[-1][1]
        return rows[max(0, bisect_right(rows, at_ns, key=itemgetter(0)) - 1)][1]

    def since(self, at_ns: int) -> tuple[int, Value, Value]:
        """(instant of the newest change up to ``at_ns``, value before it, value from it on)."""
        rows = self._rows
        here = max(0, bisect_right(rows, at_ns, key=itemgetter(0)) - 1)
        return rows[here][0], rows[max(0, here - 1)][1], rows[here][1]

    def changes(self, start_ns: int, end_ns: int) -> list[int]:
        """Instants of change after ``start_ns`` up to ``end_ns``."""
        found = []
        for at_ns, _ in reversed(self._rows):
            if at_ns <= start_ns:
                break
            if at_ns <= end_ns:
                found.append(at_ns)
        return found[::-1]
