"""The headers an instrument knows: short and long forms, optional nodes, numeric suffixes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from drivers.simulated.scpi_error import ScpiError

Handler = Callable[[tuple[int, ...], list[str]], str | bytes | None]
"""Numeric suffixes and parameters of a message unit → answer without its end, bytes for a definite block, or None."""

_PART: Final = re.compile(r"\[|\]|:|[A-Za-z][A-Za-z0-9_]*#?", re.ASCII)
_LONGEST_MNEMONIC: Final = 12  # IEEE 488.2, 7.6.1.4.1
_MOST_DIGITS: Final = 9

Item = tuple[str, int | None] | list["Item"]  # a node with its place among the suffixes; or an optional group


@dataclass(frozen=True, slots=True)
class _Leaf:
    handler: Handler
    places: tuple[int | None, ...]
    """For each node on the way, where among the suffixes its number goes; None: it takes no number."""
    suffixes: int
    default: int


@dataclass(slots=True)
class _Node:
    children: dict[str, _Node] = field(default_factory=dict)
    command: _Leaf | None = None
    query: _Leaf | None = None


class Headers:
    """A tree of headers. Patterns are written as in makers' guides: ``SENSe#[:CHANnel#]:POWer:WAVelength?``."""

    def __init__(self) -> None:
        self._root = _Node()
        self._common: dict[str, Handler] = {}

    def add(self, pattern: str, handler: Handler, default: int = 1) -> None:
        """Learn a header; one learnt before is forgotten for it. Raises ValueError for a pattern that is none."""
        name, query = (pattern[:-1], True) if pattern.endswith("?") else (pattern, False)
        if name.startswith("*"):
            self._common[pattern.upper()] = handler
            return
        items, suffixes = _parsed(name)
        for way in _ways(items):
            if not way:
                raise ValueError(f"{pattern!r} leaves nothing when its optional nodes are left out")
            node = self._root
            for mnemonic, _ in way:
                long = mnemonic.upper()
                short = "".join(each for each in mnemonic if not each.islower())
                child = node.children.get(long) or node.children.get(short) or _Node()
                node.children[long] = node.children[short] = child
                node = child
            leaf = _Leaf(handler, tuple(place for _, place in way), suffixes, default)
            if query:
                node.query = leaf
            else:
                node.command = leaf

    def find(self, header: str) -> tuple[Handler, tuple[int, ...]]:
        """Who answers a whole header in capitals, without its leading colon. Raises ScpiError -112, -113, -114."""
        if header.startswith("*"):
            handler = self._common.get(header)
            if handler is None:
                raise ScpiError(-113, header)
            return handler, ()
        name, query = (header[:-1], True) if header.endswith("?") else (header, False)
        node, numbers, mnemonics = self._root, list[int | None](), name.split(":")
        for mnemonic in mnemonics:
            child, number = node.children.get(mnemonic), None
            if child is None:
                stem = mnemonic.rstrip("0123456789")
                child, digits = node.children.get(stem), mnemonic[len(stem) :]
                if child is None:
                    raise ScpiError(-112 if any(len(each) > _LONGEST_MNEMONIC for each in mnemonics) else -113, header)
                if len(digits) > _MOST_DIGITS:
                    raise ScpiError(-114, header)
                number = int(digits)
            numbers.append(number)
            node = child
        leaf = node.query if query else node.command
        if leaf is None:
            raise ScpiError(-113, header)
        suffixes = [leaf.default] * leaf.suffixes
        for number, place in zip(numbers, leaf.places, strict=True):
            if number is None:
                continue
            if place is not None:
                suffixes[place] = number
            elif number != 1:
                raise ScpiError(-114, header)
        return leaf.handler, tuple(suffixes)


def _parsed(pattern: str) -> tuple[list[Item], int]:
    """The pattern's nodes and optional groups, and how many suffixes it has."""
    if "".join(_PART.findall(pattern)) != pattern:
        raise ValueError(f"{pattern!r} is no pattern of a header")
    groups: list[list[Item]] = [[]]
    suffixes = 0
    for part in _PART.findall(pattern):
        if part == "[":
            groups.append([])
        elif part == "]":
            inner = groups.pop()
            if not groups or not inner:
                raise ValueError(f"{pattern!r} has brackets that do not match")
            groups[-1].append(inner)
        elif part != ":":
            place = suffixes if part.endswith("#") else None
            suffixes += place is not None
            groups[-1].append((part.rstrip("#"), place))
    if len(groups) != 1:
        raise ValueError(f"{pattern!r} has brackets that do not match")
    return groups[0], suffixes


def _ways(items: list[Item]) -> list[list[tuple[str, int | None]]]:
    """Every way to write it, with and without each optional group."""
    ways: list[list[tuple[str, int | None]]] = [[]]
    for item in items:
        ends = [[], *_ways(item)] if isinstance(item, list) else [[item]]
        ways = [way + end for way in ways for end in ends]
    return ways
