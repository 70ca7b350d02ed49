"""Canonical JSON (RFC 8785) of plain values and of our nouns, integers only."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import operator
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, NoReturn, TypeAlias, TypeVar, Union, cast, get_args, get_origin, get_type_hints

import rfc8785

from harness.errors import ArchiveError

JSON: TypeAlias = "bool | int | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""What our files hold: no floats, so that no reader rounds."""

EXACT: Final = 2**53
"""Integers of this magnitude or more are decimal strings: RFC 8785 numbers are IEEE 754 doubles."""

_REMEDY: Final = "use integers below 2^53 in magnitude, decimal strings above, and no floats"

T = TypeVar("T")


def sha256(data: bytes) -> str:
    """SHA-256 in 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def canonical(value: JSON, where: str = "$") -> bytes:
    """RFC 8785 octets of ``value``; ArchiveError names the JSON path of what cannot be written exactly."""
    _check(value, where)
    return rfc8785.dumps(cast(Any, value))


def _check(value: object, where: str) -> None:
    if value is None or isinstance(value, bool | str):
        return
    if isinstance(value, int):
        if abs(value) >= EXACT:
            raise ArchiveError(f"an exact number at {where}", str(value), _REMEDY)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ArchiveError(f"a text key at {where}", repr(key), _REMEDY)
            _check(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{where}[{index}]")
    else:
        raise ArchiveError(f"canonical JSON at {where}", f"{type(value).__name__} {value!r}", _REMEDY)


def _refuse_float(text: str) -> NoReturn:
    raise ValueError(f"number {text} is not an integer")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key occurs twice")
    return members


def parse(data: bytes, name: str) -> JSON:
    """The value in ``data``; ArchiveError when it is not exactly canonical JSON. ``name`` is for the message."""
    try:
        value = json.loads(
            data.decode(), parse_float=_refuse_float, parse_constant=_refuse_float, object_pairs_hook=_unique
        )
        again = canonical(value, name)
    except (ValueError, RecursionError) as error:  # lone surrogates and deep nesting among them
        raise ArchiveError(f"JSON in {name}", str(error)[:200], "restore that file from a copy") from error
    if again != data:
        raise ArchiveError(f"canonical JSON in {name}", "another spelling of it", "restore that file from a copy")
    return cast(JSON, value)


def parse_object(data: bytes, name: str) -> dict[str, JSON]:
    """As `parse`, for a file that holds one object."""
    value = parse(data, name)
    if not isinstance(value, dict):
        raise ArchiveError(f"an object in {name}", type(value).__name__, "restore that file from a copy")
    return value


def plain(value: object) -> JSON:
    """``value`` (dataclasses, enums, mappings, sequences, integers, texts) as JSON, big integers as decimal strings.

    Raises ArchiveError for anything else, floats included.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    try:
        number = operator.index(cast(Any, value))
    except TypeError as error:
        raise ArchiveError("a value that JSON holds exactly", f"{type(value).__name__} {value!r}", _REMEDY) from error
    return number if abs(number) < EXACT else str(number)


def integer(value: JSON, where: str) -> int:
    """The integer that `plain` wrote as ``value``, in that one spelling; ArchiveError else."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < EXACT:
        return value
    if isinstance(value, str):
        try:
            number = int(value)
        except ValueError:
            number = 0
        if abs(number) >= EXACT and str(number) == value:
            return number
    raise _unlike(where, "an integer", value)


def noun(kind: type[T], value: JSON, where: str = "$", **apart: object) -> T:
    """The ``kind`` (a dataclass of ours) that `plain` wrote as ``value``, strictly.

    A field that is missing takes its default, so older files stay readable; one that is unknown, or of
    another type than declared, is an ArchiveError that names its path. ``apart`` are fields kept elsewhere.
    """
    return cast(T, _dataclass(kind, value, where, apart))


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _unlike(where: str, wanted: str, value: object) -> ArchiveError:
    return ArchiveError(f"{wanted} at {where}", repr(value), "read it with the version that wrote it")


def _typed(kind: Any, value: JSON, where: str) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _dataclass(cast(type, kind), value, where, {})
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (a for a in arguments if a is not type(None))
        return _typed(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _unlike(where, "a list", value)
        if len(arguments) == 2 and arguments[1] is ...:
            arguments = (arguments[0],) * len(value)
        if len(arguments) != len(value):
            raise _unlike(where, f"{len(arguments)} items", value)
        return tuple(_typed(a, item, f"{where}[{i}]") for i, (a, item) in enumerate(zip(arguments, value, strict=True)))
    if origin is dict:
        if not isinstance(value, dict):
            raise _unlike(where, "an object", value)
        return {_typed(arguments[0], k, where): _typed(arguments[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise _unlike(where, f"one of {arguments}", value)
        return value
    if kind is int:
        return integer(value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError as error:
            raise _unlike(where, f"a {kind.__name__}", value) from error
    if kind in (str, bool) and isinstance(value, kind):
        return value
    raise _unlike(where, getattr(kind, "__name__", str(kind)), value)


def _dataclass(kind: Any, value: JSON, where: str, apart: Mapping[str, object]) -> object:
    if not isinstance(value, dict):
        raise _unlike(where, f"a {kind.__name__}", value)
    hints = _hints(kind)
    for name in value:
        if name not in hints:
            raise _unlike(f"{where}.{name}", f"a field of {kind.__name__}", value[name])
    for field in dataclasses.fields(kind):
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and field.name not in value and field.name not in apart:
            raise _unlike(f"{where}.{field.name}", f"the field of {kind.__name__}", None)
    return kind(**{name: _typed(hints[name], item, f"{where}.{name}") for name, item in value.items()}, **apart)


def difference(one: JSON, other: JSON, where: str = "$") -> str:
    """JSON path of the first difference with both values, objects in key order; empty when equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            if key not in one or key not in other:
                return f"{where}.{key}: only in the {'archived' if key in one else 'recomputed'} result"
            if found := difference(one[key], other[key], f"{where}.{key}"):
                return found
        return ""
    if isinstance(one, list) and isinstance(other, list):
        for index, (a, b) in enumerate(zip(one, other, strict=False)):
            if found := difference(a, b, f"{where}[{index}]"):
                return found
        return "" if len(one) == len(other) else f"{where}: {len(one)} items archived, {len(other)} recomputed"
    if type(one) is type(other) and one == other:
        return ""
    return f"{where}: {_short(one)} archived, {_short(other)} recomputed"


def _short(value: JSON) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
