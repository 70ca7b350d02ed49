"""A Batch: readings of one kind that instruments gave together, as the journal keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Cell = int | str | None
Unit = Literal["udBm", "udB", "ns", "ps", "MHz", "um", "count", "text"]
"""µdBm and µdB are millionths of a dBm and a dB: integers, so that no rounding decides."""

JOURNALED: Final = "optical.batch"
"""Kind of the journal's line that holds a batch."""
PART: Final = "optical.part"
"""A part of a procedure is done: ``procedure``, ``part``."""
DONE: Final = "optical.done"
"""A procedure ran to its end: ``procedure``."""
STEP: Final = "optical.step"
"""Somebody or something was made to do something: ``action``, ``subject``, ``said``."""
VALUE: Final = "value"
"""The column that was read; None: nothing to read, for the reason in the column `WHY`."""
BELOW: Final = "below"
"""Where a meter saw nothing: what the power is certainly below, µdBm."""
WHY: Final = "why"


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one procedure; the columns before "value" say of what the reading is (ports, wavelength, repeat)."""

    procedure: str
    kind: str
    """What was read: "reference", "power", "monitor", "state" …"""
    unit: Unit
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    at_ns: int
    """ns since 1970 UTC of this host, when the last of the rows was read."""
    by: tuple[str, ...] = ()
    """Names of the instruments that gave them, as the bench calls them."""
    trace: str = ""
    """File in data/traces that the rows speak of; empty: none."""
    part: str = ""
    """Part of the procedure's work that it belongs to; rows of a part that was cut off do not count."""

    def __post_init__(self) -> None:
        """Raises ValueError for a row that does not fit the columns."""
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"{self.procedure} {self.kind}: rows of other than {len(self.columns)} columns")

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Each row by column name."""
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))

    def as_entry(self) -> dict[str, Any]:
        """What the journal's line holds; the instant is decimal text, as RFC 8785 has no such integers."""
        return {
            "procedure": self.procedure,
            "read": self.kind,
            "unit": self.unit,
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
            "at_ns": str(self.at_ns),
            "by": list(self.by),
            "trace": self.trace,
            "part": self.part,
        }


def batch(entry: Mapping[str, Any]) -> Batch:
    """The batch that `Batch.as_entry` wrote. Raises ValueError, KeyError or TypeError when it is anything else."""
    for row in entry["rows"]:
        if any(not (cell is None or (isinstance(cell, int | str) and not isinstance(cell, bool))) for cell in row):
            raise ValueError(f"a cell that is no integer, text or null in {entry['procedure']}")
    return Batch(
        procedure=str(entry["procedure"]),
        kind=str(entry["read"]),
        unit=entry["unit"],
        columns=tuple(str(each) for each in entry["columns"]),
        rows=tuple(tuple(row) for row in entry["rows"]),
        at_ns=int(entry["at_ns"]),
        by=tuple(str(each) for each in entry["by"]),
        trace=str(entry["trace"]),
        part=str(entry["part"]),
    )


@dataclass(frozen=True, slots=True)
class Instrument:
    """An instrument of the bench as it stood when the plan was committed."""

    name: str
    driver: str
    identity: str
    """As it said when asked: maker,model,serial,firmware."""
    serial: str
    calibrated_until: str = ""
    """Day, ISO 8601; empty: the bench does not say."""
    unconfirmed: tuple[str, ...] = ()
    """What of its driver nothing confirms."""
    spec: dict[str, int] = field(default_factory=dict)
    """Half-widths of its data sheet's errors in µdB, noise in fW; see `harness.rig.spec_of`."""
    spec_origin: str = ""


@dataclass(frozen=True, slots=True)
class Delay:
    """A one-way delay of a link by one method, to be held against others of it; ps."""

    link: str
    direction: str
    """"forward", "backward", or "mean" of both where a method cannot tell them apart."""
    plane: str
    """Between which planes: "packets, kernel-software, calibrated back to back", "OTDR, fibre alone", "ODU4" …"""
    value_ps: int
    u_ps: int
    """Standard uncertainty."""
    side: Literal["", "at-least"] = ""
    """"at-least": it includes more than the fibre, so the fibre may be shorter but never longer."""
    origin: str = ""


@dataclass(frozen=True)
class Record:
    """All that was read of a device under test; what figures are made from."""

    batches: tuple[Batch, ...]
    instruments: Mapping[str, Instrument]
    traces: Mapping[str, bytes] = field(default_factory=dict)
    """By file name: a log of powers (`harness.trace`), a spectrum, a .SOR."""
    finished: tuple[str, ...] = ()
    """Procedures that ran to their end."""
    delays: tuple[Delay, ...] = ()
    """What packets said of links in the same run."""

    def of(self, procedure: str, kind: str) -> Iterator[dict[str, Any]]:
        """Every row of a kind, oldest first, with "at_ns", "by" (text) and "trace" of its batch beside its own keys."""
        for each in self.batches:
            if (each.procedure, each.kind) == (procedure, kind):
                for row in each.dicts():
                    yield {"at_ns": each.at_ns, "by": "+".join(each.by), "trace": each.trace, **row}

    def has(self, procedure: str, kinds: Sequence[str] = ()) -> bool:
        """Whether anything was read in a procedure, of one of the kinds when they are named."""
        return any(b.procedure == procedure and (not kinds or b.kind in kinds) for b in self.batches)
