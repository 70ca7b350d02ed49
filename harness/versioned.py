"""Versioned data: a TOML text as a strict, frozen model that knows the hash of its text."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Sequence
from typing import TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from harness.tomlfile import FileError, Problem, TomlFile, nearest, shown


class Frozen(BaseModel):
    """No key but its own, no value of another type, nothing changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


Data = TypeVar("Data", bound=Frozen)


def _keys(model: object, path: Sequence[str | int]) -> list[str]:
    """The keys that may stand in the table at ``path``."""
    for key in (None, *path):
        fields = model.model_fields if isinstance(model, type) and issubclass(model, Frozen) else {}
        if key in fields:
            model = fields[str(key)].annotation
        while inside := get_args(model):  # of an optional table, of an array of tables
            model = inside[0]
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, Frozen) else []


def _problem(kind: type[Frozen], file: TomlFile, error: ErrorDetails) -> Problem:
    """One of pydantic's errors with its line and the nearest key."""
    path, value = error["loc"], error["input"]
    line, key = file.line(path), ".".join(map(str, path))
    if error["type"] == "extra_forbidden":
        names = _keys(kind, path[:-1])
        hint = nearest(str(path[-1]), names)
        return Problem(line, key, "a key that does not exist", ", ".join(names), hint)
    if error["type"] == "missing":
        return Problem(line, key, "nothing", "a value: it has no default")
    found = "what does not fit" if isinstance(value, dict) else shown(value)
    choices = re.findall(r"'([^']*)'", str(error.get("ctx", {}).get("expected", "")))
    allowed = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem(line, key, found, allowed, nearest(value, choices) if isinstance(value, str) else "")


def read(kind: type[Data], text: str, noun: str, name: str = "") -> Data:
    """The ``kind`` in a TOML text, whose field ``sha256`` it fills; FileError names every fault at once.

    ``name`` is the file's, where it has one.
    """
    remedy = f"correct the {noun} file"
    file = TomlFile(text)
    wanted = " ".join(filter(None, ("a usable", noun, name)))
    if file.problems:
        raise FileError(wanted, file.problems, remedy)
    table = tomllib.loads(text)
    table["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    try:  # by way of JSON: strict mode then still takes an array for a tuple
        return kind.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        faults = error.errors(include_url=False)
    deeper = {each["loc"][:depth] for each in faults for depth in range(len(each["loc"]))}
    # pydantic leaves rows with a fault out and then finds the array too short
    told = [each for each in faults if each["type"] != "too_short" or each["loc"] not in deeper]
    raise FileError(wanted, sorted(_problem(kind, file, each) for each in told), remedy)
