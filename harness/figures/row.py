"""A Row: one reading as a figure asks for it, with every cell of the kind that it must be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from harness.errors import ArchiveError
from harness.reading import Record

ALTERED: Final = "use the folder as it was sealed"
GREATEST: Final = 1 << 53
"""Whole numbers beyond that are no reading: JSON would not carry them (RFC 8785)."""


def _whole(cell: object) -> bool:
    return isinstance(cell, int) and not isinstance(cell, bool) and abs(cell) <= GREATEST


def rows(
    record: Record,
    procedure: str,
    kind: str,
    *,
    whole: Iterable[str] = (),
    maybe: Iterable[str] = (),
    text: Iterable[str] = (),
) -> Iterator[dict[str, Any]]:
    """Every row of a kind, oldest first: ``whole`` numbers, ``maybe`` numbers or None, ``text``.

    Raises ArchiveError for a column that is not there or a cell of another kind.
    """
    kinds = dict.fromkeys(whole, ("a whole number", _whole))
    kinds |= {name: ("a whole number or null", lambda cell: cell is None or _whole(cell)) for name in maybe}
    kinds |= {name: ("text", lambda cell: isinstance(cell, str)) for name in text}
    for row in record.of(procedure, kind):
        for name, (wanted, fits) in kinds.items():
            if name not in row or not fits(row[name]):
                found = repr(row[name]) if name in row else "no such column"
                raise ArchiveError(f"{wanted} as {name} of {procedure} {kind}", found, ALTERED)
        yield row
