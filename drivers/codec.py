"""How a value looks on the wire of an SCPI instrument: text to value, value to text, nothing guessed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
N = TypeVar("N", bound=float)
E = TypeVar("E", bound=Enum)

NONE_FROM: Final = 9.9e37
"""From here up a number is none: 9.91E37 is not a number, 9.9E37 infinity (SCPI-99 volume 1, 7.2.1.4)."""
LONGEST: Final = 64
"""Characters of a number; longer ones are no number of any instrument."""

_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[Ee][+-]?[0-9]{1,3})?")
_NO_NUMBER: Final = frozenset({"NAN", "INF", "NINF", "INFINITY"})
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,19}")
_NON_DECIMAL: Final = re.compile(r"#(?:[Hh]([0-9A-Fa-f]{1,16})|[Qq]([0-7]{1,21})|[Bb]([01]{1,64}))")
_ERROR: Final = re.compile(r'([+-]?[0-9]{1,9})\s*,\s*(?:"(.*)"|([^"]*))', re.DOTALL)
_LIST: Final = re.compile(r"\(\s*@([0-9,:\s]*)\)")

Layout = Literal["float32-little", "float32-big", "float64-little", "float64-big", "int16-little", "int16-big"]
_TYPES: Final[dict[Layout, str]] = {
    "float32-little": "<f4",
    "float32-big": ">f4",
    "float64-little": "<f8",
    "float64-big": ">f8",
    "int16-little": "<i2",
    "int16-big": ">i2",
}


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """Reads a value from an answer and writes it as an argument."""

    what: str
    """In words, for errors: "a number"."""
    parse: Callable[[str], T]
    """Raises ValueError for an answer that is no such thing."""
    form: Callable[[T], str]
    """As an argument. Raises ValueError for a value that cannot be said."""


# -- numbers ---------------------------------------------------------------------------------------------------


def parse_number(text: str) -> float | None:
    """NR1, NR2 or NR3 (IEEE 488.2 8.7.2 to 8.7.4); None: the instrument says it has none. Raises ValueError."""
    bare = text.strip()
    if bare.lstrip("+-").upper() in _NO_NUMBER:
        return None
    if len(bare) > LONGEST or not _NUMBER.fullmatch(bare):
        raise ValueError(f"{text[:LONGEST]!r} is not one number")
    value = float(bare)
    return None if abs(value) >= NONE_FROM else value


def form_number(value: float) -> str:
    """The shortest decimal that reads back as the same double: nothing is rounded. Raises ValueError for NaN."""
    if isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return repr(float(value)).upper()


def number(unit: Callable[[float], N], suffix: str = "") -> Codec[N]:
    """A number in a unit of `drivers.quantity`; one that is none is refused.

    ``suffix`` is sent behind the number ("DBM"), for instruments whose default unit can be changed.
    """

    def parse(text: str) -> N:
        value = parse_number(text)
        if value is None:
            raise ValueError(f"{text.strip()!r} says that there is no value")
        return unit(value)

    return Codec("a number", parse, lambda value: form_number(value) + suffix)


def reading(unit: Callable[[float], N]) -> Codec[N | None]:
    """A measured number in a unit of `drivers.quantity`; None: the instrument has none to give. It is never sent."""

    def parse(text: str) -> N | None:
        value = parse_number(text)
        return None if value is None else unit(value)

    def form(value: N | None) -> str:
        raise ValueError(f"a reading ({value!r}) is not for sending")

    return Codec("a reading", parse, form)


def _whole(text: str) -> int:
    bare = text.strip()
    if _WHOLE.fullmatch(bare):
        return int(bare)
    other = _NON_DECIMAL.fullmatch(bare)
    if other:
        for base, digits in zip((16, 8, 2), other.groups(), strict=True):
            if digits is not None:
                return int(digits, base)
    value = parse_number(text)  # a whole number may come as +1.00000000E+000
    if value is None or value != int(value) or abs(value) > 2**53:
        raise ValueError(f"{text[:LONGEST]!r} is no whole number")
    return int(value)


def _form_whole(value: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{value!r} is no whole number")  # noqa: TRY004 - one error for all that cannot be said
    return str(value)


WHOLE: Final = Codec("a whole number", _whole, _form_whole)
"""A whole number: decimal, #H, #Q or #B."""


def _truth(text: str) -> bool:
    try:
        return {"0": False, "+0": False, "1": True, "+1": True, "OFF": False, "ON": True}[text.strip().upper()]
    except KeyError:
        raise ValueError(f"{text[:LONGEST]!r} is neither 0 nor 1") from None


def _form_truth(value: bool) -> str:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither True nor False")  # noqa: TRY004 - as above
    return "1" if value else "0"


TRUTH: Final = Codec("0 or 1", _truth, _form_truth)
"""A boolean; answers are 0 or 1, some say OFF or ON."""

# -- text ------------------------------------------------------------------------------------------------------


def _quoted(text: str) -> str:
    bare = text.strip()
    if len(bare) < 2 or bare[0] not in "\"'" or bare[-1] != bare[0]:
        raise ValueError(f"{text[:LONGEST]!r} is not in quotes")
    inner, quote = bare[1:-1], bare[0]
    if quote in inner.replace(quote * 2, ""):
        raise ValueError(f"{text[:LONGEST]!r} is more than one string")
    return inner.replace(quote * 2, quote)


def _form_quoted(text: str) -> str:
    if not text.isascii() or (text and not text.isprintable()):
        raise ValueError(f"{text!r} is not one line of ASCII text")
    return '"' + text.replace('"', '""') + '"'


QUOTED: Final = Codec("a string in quotes", _quoted, _form_quoted)


def _bare(text: str) -> str:
    return text.strip()


def _form_bare(text: str) -> str:
    if not text.isascii() or not text.isprintable() or not text or set(text) & set(";\"'"):
        raise ValueError(f"{text!r} is no bare word")
    return text


BARE: Final = Codec("text", _bare, _form_bare)
"""Text as it comes, without the white space round it."""


def short_form(mnemonic: str) -> str:
    """What stands in capitals: IMM of "IMMediate"."""
    return "".join(letter for letter in mnemonic if not letter.islower())


def matches(mnemonic: str, text: str) -> bool:
    """Whether a text is a mnemonic in its short or its long form, in whatever case, and nothing in between."""
    return text.upper() in {short_form(mnemonic), mnemonic.upper()}


def choice(kind: type[E]) -> Codec[E]:
    """One of an Enum whose values are mnemonics ("IMMediate"); the short form is sent, both are understood."""

    def parse(text: str) -> E:
        for member in kind:
            if matches(str(member.value), text.strip()):
                return member
        raise ValueError(f"{text[:LONGEST]!r} is none of {', '.join(str(member.value) for member in kind)}")

    def form(value: E) -> str:
        if not isinstance(value, kind):
            raise ValueError(f"{value!r} is no {kind.__name__}")  # noqa: TRY004 - as above
        return short_form(str(value.value))

    return Codec(f"one of {', '.join(str(member.value) for member in kind)}", parse, form)


def split(text: str) -> tuple[str, ...]:
    """The fields between commas that are in no quotes, without white space; an empty answer has none."""
    fields, field, quote = [], "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        if letter == "," and not quote:
            fields.append(field.strip())
            field = ""
        else:
            field += letter
    if quote:
        raise ValueError(f"{text[:LONGEST]!r} has a quote that does not end")
    return (*fields, field.strip()) if fields or field.strip() else ()


def csv(item: Codec[T]) -> Codec[tuple[T, ...]]:
    """Several values with commas between them."""
    return Codec(
        f"{item.what}, several",
        lambda text: tuple(item.parse(field) for field in split(text)),
        lambda values: ",".join(item.form(value) for value in values),
    )


def _channels(text: str) -> tuple[int, ...]:
    inside = _LIST.fullmatch(text.strip())
    if inside is None:
        raise ValueError(f"{text[:LONGEST]!r} is no channel list (@…)")
    found: list[int] = []
    for part in inside[1].split(",") if inside[1].strip() else ():
        ends = [end.strip() for end in part.split(":")]
        if len(ends) > 2 or not all(end.isascii() and end.isdigit() and len(end) <= 5 for end in ends):
            raise ValueError(f"{part!r} is no channel")
        first, last = int(ends[0]), int(ends[-1])
        found.extend(range(first, last + 1) if last >= first else range(first, last - 1, -1))
        if len(found) > 100_000:
            raise ValueError(f"{text[:LONGEST]!r} is longer than any instrument")
    return tuple(found)


def _form_channels(channels: Collection[int]) -> str:
    if any(isinstance(each, bool) or not isinstance(each, int) or each < 0 for each in channels):
        raise ValueError(f"{channels!r} are no channels")
    return f"(@{','.join(map(str, channels))})"


CHANNELS: Final[Codec[tuple[int, ...]]] = Codec("a channel list", _channels, _form_channels)
"""`(@1,2,5:7)` (SCPI-99 volume 1, 8.3.2); `(@)` is empty."""


def parse_error(text: str) -> tuple[int, str]:
    """Number and text of an entry of the error queue, however its maker writes it. Raises ValueError."""
    found = _ERROR.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:LONGEST]!r} is no entry of an error queue")
    return int(found[1]), (found[2] if found[2] is not None else found[3]).strip()


# -- blocks ----------------------------------------------------------------------------------------------------


def block_size(head: bytes) -> tuple[int, int] | None:
    """(octets of the head, octets of the payload) of a definite block (IEEE 488.2 8.7.9) that begins with ``head``.

    None: more of it must come before it can be told. Raises ValueError for what begins no definite block.
    """
    if not head:
        return None
    if head[:1] != b"#":
        raise ValueError(f"{head[:20]!r} is no block")
    if len(head) < 2:
        return None
    if not b"1" <= head[1:2] <= b"9":
        raise ValueError(f"{head[:20]!r} begins no definite block")
    digits = head[1] - ord("0")
    size = head[2 : 2 + digits]
    if size and not size.isdigit():
        raise ValueError(f"{head[:20]!r} begins no definite block")
    return (2 + digits, int(size)) if len(size) == digits else None


def block(octets: bytes) -> bytes:
    """The payload of a whole definite block; a line end may follow it. Raises ValueError."""
    found = block_size(octets[:11])
    if found is None or len(octets) < sum(found):
        raise ValueError(f"{octets[:20]!r}… is no whole block")
    head, size = found
    if octets[head + size :].strip(b"\r\n"):
        raise ValueError(f"{octets[head + size :][:20]!r} stands behind it")
    return octets[head : head + size]


def values(payload: bytes, layout: Layout) -> npt.NDArray[np.float64]:
    """The numbers of a block's payload, shape (n,); NaN where the instrument had none (9.9E37 and above).

    Raises ValueError for octets that are no whole number of numbers.
    """
    kind = np.dtype(_TYPES[layout])
    if len(payload) % kind.itemsize:
        raise ValueError(f"{len(payload)} octets are no whole number of {layout} values")
    found = np.frombuffer(payload, dtype=kind).astype(np.float64)
    found[np.abs(found) >= NONE_FROM] = np.nan  # the float32 next to 9.9E37 lies above it
    return found
