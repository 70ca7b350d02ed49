"""A Profile: what a cross-connect must keep to be accepted, as versioned data with sources."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from harness.figures.catalogue import PROCEDURES
from harness.reading import Unit
from harness.versioned import Frozen, read

Kind = Literal["fibre-matrix", "wss", "link"]
"""What is accepted: a cross-connect between fibres, one between slices of spectrum, or the fibre of a link."""
Sense = Literal["max", "min"]


class Limit(Frozen):
    """One limit on one figure with the rule that decides it."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{1,39}$")
    procedure: str
    """Which procedure measures it."""
    figure: str
    """Which of the procedure's figures it speaks of."""
    title_zh: str
    title_en: str
    unit: Unit
    sense: Sense
    """"max": no figure may exceed the limit; "min": none may fall short of it."""
    limit: int
    rule: str = "oxc-g1/1"
    method: str
    """Standard that the method follows, with clause where it was seen."""
    year: int
    source: str
    """Where the limit comes from."""
    confirmed: bool
    """The source text itself was seen."""
    confirmation: str
    """What was seen and what was not: "vendor default, unconfirmed" …"""
    definition_zh: str
    definition_en: str


class Profile(Frozen):
    """Limits and settings for one kind of device; `parse` makes it from TOML text."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{1,39}$")
    version: str
    kind: Kind
    year: int
    title_zh: str
    title_en: str
    requirements: Annotated[tuple[Limit, ...], Field(min_length=1)]
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By procedure, what it does otherwise than by default; see its Settings in `harness.figures`."""
    sha256: str = ""
    """Of the text it was made from."""

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        ids = [each.id for each in self.requirements]
        if len(set(ids)) != len(ids):
            raise ValueError("requirement ids must differ")
        for each in self.requirements:
            entry = PROCEDURES.get(each.procedure)
            if entry is None:
                raise ValueError(f"{each.id}: no procedure {each.procedure}; there are {', '.join(PROCEDURES)}")
            if each.figure not in entry.figures:
                raise ValueError(f"{each.id}: {each.procedure} has no figure {each.figure}: {', '.join(entry.figures)}")
            if entry.figures[each.figure] != each.unit:
                raise ValueError(f"{each.id}: the unit of {each.figure} is {entry.figures[each.figure]}")
        for name in self.settings:
            if name not in PROCEDURES:
                raise ValueError(f"settings.{name}: no such procedure; there are {', '.join(PROCEDURES)}")
            self.settings_of(name)
        return self

    def settings_of(self, procedure: str) -> Any:
        """The procedure's settings with all defaults filled in. Raises pydantic's ValidationError."""
        kind = PROCEDURES[procedure].settings
        return kind.model_validate_json(json.dumps(self.settings.get(procedure, {})))

    @property
    def procedures(self) -> tuple[str, ...]:
        """Those that some requirement wants, in the order of the catalogue."""
        wanted = {each.procedure for each in self.requirements}
        return tuple(name for name in PROCEDURES if name in wanted)


def parse(text: str) -> Profile:
    """The profile in a TOML text; BenchError names every fault at once."""
    return read(Profile, text, "profile")
