"""A Section: one table of a TOML file as a model that takes no key but its own."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo


def _number(value: object) -> Decimal:
    """An exact decimal from a TOML number or decimal text."""
    if isinstance(value, str) and not re.fullmatch(r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?", value):
        raise ValueError("not a decimal number")
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError("not a number")  # noqa: TRY004  pydantic collects ValueErrors only
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError("not a decimal number") from None
    if not number.is_finite() or abs(number) > Decimal(10) ** 20:
        raise ValueError("not a finite number")
    return number


Number = Annotated[Decimal, BeforeValidator(_number)]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="text on one line")]


class Section(BaseModel):
    """A table: no key but its own, no value of another type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


_SETTING: Final[dict[object, tuple[Any, str]]] = {
    str: (Text, "text on one line"),
    Path: (Text, "the path of a file"),
    int: (int, "a whole number"),
    bool: (bool, "true or false"),
    int | None: (int | None, "a whole number"),
    date | None: (date | None, "a date, as 2026-11-22 without quotes"),
    Decimal: (Number, "a decimal number"),
    Decimal | None: (Number | None, "a decimal number"),
    tuple[str, ...]: (list[Text], "a list of texts"),
}
"""Type of a setting → (its type in the file, what is allowed)."""


def settings_section(kind: type[Any]) -> type[Section]:
    """The table that describes a source's settings: one key a field of the dataclass ``kind``."""
    hints = get_type_hints(kind)
    fields: dict[str, Any] = {}
    for each in dataclasses.fields(kind):
        hint = hints[each.name]
        typed, allowed = _SETTING.get(hint) or (hint, "one of the choices")
        default = ... if each.default is dataclasses.MISSING else each.default
        default = list(default) if isinstance(default, tuple) else default
        fields[each.name] = (typed, Field(default=default, description=allowed))
    made: type[Section] = create_model(f"{kind.__module__}.{kind.__name__}", __base__=Section, **fields)
    return made


def _members(annotation: object) -> Iterator[object]:
    """The types an annotation allows, without Optional, Annotated and Union."""
    if get_origin(annotation) is Annotated:
        yield from _members(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, UnionType}:
        for each in get_args(annotation):
            yield from _members(each)
    elif annotation is not NoneType:
        yield annotation


def field_at(model: type[Section], path: Sequence[str | int]) -> tuple[type[Section], FieldInfo | None]:
    """The model that holds the last key of ``path``, and that key's field if it has one."""
    here: object = model
    holder, info = model, None
    for key in path:
        if isinstance(key, int):
            here = next((get_args(each)[0] for each in _members(here) if get_origin(each) is list), here)
            here = next(_members(here))
            continue
        found = next((each for each in _members(here) if isinstance(each, type) and issubclass(each, Section)), None)
        if found is None:
            break
        holder = found
        info = {f.alias or name: f for name, f in found.model_fields.items()}.get(key)
        if info is None:
            break
        here = info.annotation
    return holder, info


def keys(model: type[Section]) -> list[str]:
    """The keys that may stand in a section."""
    return [info.alias or name for name, info in model.model_fields.items()]
