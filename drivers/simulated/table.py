"""Reading a lab table: every key is known, of its kind and within its limits, or the complaint says what would be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drivers.errors import InstrumentError


class TableError(InstrumentError):
    """A lab table that says something that no lab can be."""


class Table:
    """One table of a lab file. `done` complains of keys that nobody took."""

    def __init__(self, data: object, where: str) -> None:
        """Raises TableError when it is no table."""
        if not isinstance(data, Mapping):
            raise TableError(f"a table {where}", _shown(data), f"write [{where}] with its keys")
        self._data = data
        self.where = where
        self._taken: set[str] = set()

    def _at(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key

    def has(self, key: str) -> bool:
        """Whether it says anything of it."""
        return key in self._data

    def text(self, key: str, default: str | None = None, allowed: Sequence[str] = ()) -> str:
        """A text, among those allowed. Raises TableError."""
        value = self._value(key, default)
        if not isinstance(value, str) or (allowed and value not in allowed and value != default):
            raise TableError(
                f"{self._at(key)}: {' | '.join(allowed) if allowed else 'a text'}",
                _shown(value),
                "correct the lab table",
            )
        return value

    def whole(self, key: str, default: int | None = None, low: int = 0, high: int = 1 << 62) -> int:
        """A whole number within limits. Raises TableError."""
        value = self._value(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise TableError(f"{self._at(key)}: a whole number {low} to {high}", _shown(value), "correct the lab table")
        return value

    def number(
        self, key: str, default: float | None = None, low: float = float("-inf"), high: float = float("inf")
    ) -> float:
        """A number within limits. Raises TableError."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise TableError(f"{self._at(key)}: a number {low:g} to {high:g}", _shown(value), "correct the lab table")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false. Raises TableError."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise TableError(f"{self._at(key)}: true | false", _shown(value), "correct the lab table")
        return value

    def texts(self, key: str) -> list[str]:
        """A list of texts; empty when it is left out. Raises TableError."""
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise TableError(f"{self._at(key)}: a list of texts", _shown(value), "correct the lab table")
        return list(value)

    def names(self, key: str) -> dict[str, str]:
        """A table of texts; empty when it is left out. Raises TableError."""
        value = self._value(key, {})
        if not isinstance(value, Mapping) or not all(isinstance(each, str) for each in value.values()):
            raise TableError(f"{self._at(key)}: a table of texts", _shown(value), "correct the lab table")
        return {str(name): each for name, each in value.items()}

    def table(self, key: str) -> Table:
        """A table inside; empty when it is left out. Raises TableError."""
        return Table(self._value(key, {}), self._at(key))

    def tables(self, key: str) -> list[Table]:
        """A list of tables. Raises TableError."""
        value = self._value(key, [])
        if not isinstance(value, list):
            raise TableError(f"[[{self._at(key)}]]", _shown(value), "correct the lab table")
        return [Table(each, f"{self._at(key)}[{row}]") for row, each in enumerate(value)]

    def listed(self) -> list[str]:
        """Its keys in their order."""
        return [str(key) for key in self._data]

    def rest(self) -> dict[str, Any]:
        """All that nobody took, taken."""
        found = {str(key): value for key, value in self._data.items() if key not in self._taken}
        self._taken.update(found)
        return found

    def done(self) -> None:
        """Raises TableError for a key that nobody took: a misspelt one would silently mean nothing."""
        unknown = [str(key) for key in self._data if key not in self._taken]
        if unknown:
            known = ", ".join(sorted(self._taken)) or "none"
            raise TableError(f"keys of {self.where or 'the lab table'}: {known}", unknown[0], "correct the lab table")

    def _value(self, key: str, default: Any) -> Any:
        self._taken.add(key)
        value = self._data.get(key, default)
        if value is None:
            raise TableError(self._at(key), "nothing", "write it into the lab table")
        return value


def _shown(value: object) -> str:
    return repr(value)[:80]
