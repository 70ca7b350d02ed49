"""A Setting: one key of a procedure's settings, with its range."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """What a procedure is set by; a profile may say otherwise for each key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Count = Annotated[int, Field(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Field(ge=0, le=600_000)]
Picometres = Annotated[int, Field(ge=1_200_000, le=1_700_000)]
"""A vacuum wavelength, pm."""
MicroDB = Annotated[int, Field(ge=0, le=100_000_000)]
