"""A Figure: one number that a limit speaks of, with its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.budget import Budget

Side = Literal["", "at-most", "at-least"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A value in the unit of its requirement, or why there is none.

    ``side`` "at-most": the truth is the value or less, as where a meter saw nothing; "at-least": or more.
    """

    key: tuple[tuple[str, int | str], ...]
    """Of what: (("in", 3), ("out", 11), ("nm", 1550))."""
    value: int | None
    budget: Budget
    side: Side = ""
    why: str = ""
    """Why there is no value; empty when there is one."""
    doubts: tuple[str, ...] = ()
    """Red doubts on which it rests, by id."""

    @property
    def label(self) -> str:
        """The key in words: "in 3 out 11 nm 1550"."""
        return " ".join(f"{name} {value}" for name, value in self.key)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A check on the measuring itself, like a gate: red, it voids the figures that name it, and no others."""

    id: str
    """"source-drift", "meter-disagrees", "reference-old" …"""
    subject: str
    """What it speaks of: "meter-2:3", "laser"; empty: all."""
    red: bool
    found: str
    limit: str
    remedy_zh: str = ""
    remedy_en: str = ""

    @property
    def name(self) -> str:
        """By which figures name it."""
        return f"{self.id}:{self.subject}" if self.subject else self.id


@dataclass(frozen=True, slots=True)
class Finding:
    """A defect of the device, named with its place: what to look at first."""

    id: str
    """"dirty-port", "stuck-port", "high-pdl", "crosstalk", "slow-switch", "lost-connections" …"""
    where: str
    """"in 3", "in 3 out 11"."""
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Derived:
    """What one procedure's readings come to."""

    figures: Mapping[str, tuple[Figure, ...]] = field(default_factory=dict)
    """By name of the figure, which requirements speak of."""
    doubts: tuple[Doubt, ...] = ()
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    """What the reader should know and nothing decides by."""
    tables: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    """For plots: name → {"columns": [...], "rows": [...], "unit": ...}; integers and text only."""
