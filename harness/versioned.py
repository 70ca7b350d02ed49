"""Versioned data: a TOML text as a strict, frozen model that knows the hash of its text."""

from __future__ import annotations

import hashlib
import json
import tomllib
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import BenchError


class Frozen(BaseModel):
    """No key but its own, no value of another type, nothing changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Data = TypeVar("Data", bound=Frozen)


def read(kind: type[Data], text: str, noun: str) -> Data:
    """The ``kind`` in a TOML text, whose field ``sha256`` it fills; BenchError names every fault at once."""
    remedy = f"correct the {noun} file"
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BenchError(f"a {noun} in TOML", str(error), remedy) from error
    table["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    try:  # by way of JSON: strict mode then still takes an array for a tuple
        return kind.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(map(str, e['loc'])) or noun}: {e['msg']}" for e in error.errors())
        raise BenchError(f"a {noun} with known, complete fields", found, remedy) from error
