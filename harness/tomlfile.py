"""A TOML file whose every key knows its line."""

from __future__ import annotations

import difflib
import pathlib
import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from harness.errors import BenchError

Path = tuple[str | int, ...]
"""Where a value stands: table names, keys, indices of arrays."""

_SPACE: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_KEY_PART: Final = re.compile(r"""[ \t]*("(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[A-Za-z0-9_-]+)[ \t]*""")
_SCALAR: Final = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""{1,3}|\'\'\'.*?\'\'\'{1,3}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s,\]}#]+(?: [0-9:.+Z-]+)?''',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a file: where, what was found, what is allowed."""

    line: int
    key: str
    found: str
    allowed: str
    nearest: str = ""
    """The allowed name that looks most like what was found; empty: none does."""

    def __str__(self) -> str:
        """One line for a terminal."""
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        key = f"{self.key}: " if self.key else ""
        return f"line {self.line}: {key}found {self.found}; allowed: {self.allowed}{hint}"


class FileError(BenchError):
    """Everything that is wrong with a file, at once."""

    def __init__(self, wanted: str, problems: Sequence[Problem], remedy: str) -> None:
        self.problems = tuple(problems)
        count = f"{len(problems)} error{'s' if len(problems) > 1 else ''}"
        super().__init__(wanted, count + "".join(f"\n  {problem}" for problem in problems), remedy)

    def __str__(self) -> str:
        """One line for each error."""
        return f"{self.wanted}: {self.found}\n{self.remedy}"


def nearest(found: str, names: Iterable[str]) -> str:
    """The name among ``names`` most like ``found``, or empty."""
    close = difflib.get_close_matches(found.lower(), list(names), n=1, cutoff=0.6)
    return close[0] if close else ""


def shown(value: object) -> str:
    """A value as it would stand in TOML, shortened to one line."""
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, str):
        text = '"' + value.encode("unicode_escape").decode("ascii") + '"' if not value.isprintable() else f'"{value}"'
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{k} = {shown(v)}" for k, v in value.items()) + "}"
    elif isinstance(value, list):
        text = "[" + ", ".join(shown(v) for v in value) + "]"
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "…"


class _Scanner:
    """Walks a text that tomllib has accepted, so it need not judge, only count."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self._breaks = [i for i, c in enumerate(text) if c == "\n"]
        self._rows: dict[Path, int] = {}

    def _mark(self, path: Path, at: int) -> None:
        line = bisect_right(self._breaks, at - 1) + 1
        for depth in range(1, len(path) + 1):
            self.lines.setdefault(path[:depth], line)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError(f"not TOML at offset {self.at}")
        self.at = found.end()
        return found.group()

    def _next(self) -> str:
        self._take(_SPACE)
        return self.text[self.at : self.at + 1]

    def _key(self) -> list[str]:
        parts: list[str] = []
        while True:
            raw = self._take(_KEY_PART).strip()
            parts.append(tomllib.loads(f"k = {raw}")["k"] if raw[0] in "\"'" else raw)
            if self.text[self.at : self.at + 1] != ".":
                return parts
            self.at += 1

    def _pair(self, table: Path) -> None:
        start = self.at
        path = (*table, *self._key())
        self._mark(path, start)
        self.at += 1  # the equals sign
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self._next()
        self._mark(path, self.at)
        if first == "[":
            self.at += 1
            index = 0
            while self._next() != "]":
                self._value((*path, index))
                index += 1
                if self._next() == ",":
                    self.at += 1
            self.at += 1
        elif first == "{":
            self.at += 1
            while self._next() != "}":
                self._pair(path)
                if self._next() == ",":
                    self.at += 1
            self.at += 1
        else:
            self._take(_SCALAR)

    def _header(self) -> Path:
        start = self.at
        array = self.text.startswith("[[", self.at)
        self.at += 2 if array else 1
        path: Path = ()
        parts = self._key()
        for depth, part in enumerate(parts, start=1):
            path = (*path, part)
            if array and depth == len(parts):
                self._rows[path] = self._rows.get(path, -1) + 1
            if path in self._rows:
                path = (*path, self._rows[path])
        self._mark(path, start)
        self.at += 2 if array else 1
        return path

    def run(self) -> dict[Path, int]:
        table: Path = ()
        while first := self._next():
            if first == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.lines


def lines_of(text: str) -> dict[Path, int]:
    """Line number, from 1, of every table, key and array element of a valid TOML text."""
    return _Scanner(text).run()


def read_text(path: pathlib.Path) -> str:
    """The text of a TOML file. Raises OSError, UnicodeDecodeError, and BenchError where a byte order mark begins it."""
    text = path.read_text(encoding="utf-8")
    if text.startswith("\ufeff"):
        raise BenchError(f"plain UTF-8 in {path}", "a byte order mark", "save as UTF-8 without BOM")
    return text


class TomlFile:
    """The data of a TOML text with the line of each value; decimal fractions come as `Decimal`, exactly as written."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data: dict[str, Any] = {}
        self.problems: list[Problem] = []
        """What is wrong with it as TOML: empty or one."""
        self._lines: dict[Path, int] = {}
        try:
            self.data = tomllib.loads(text, parse_float=Decimal)
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"\(at line (\d+), column \d+\)", str(error))
            # tomllib gives no line for an error at the end of the document
            line = int(at.group(1)) if at else len(text.rstrip("\n").split("\n"))
            self.problems.append(Problem(line, "", f"broken TOML: {error}", "TOML 1.0"))
        except RecursionError:
            self.problems.append(Problem(1, "", "arrays or tables nested too deeply", "TOML as people write it"))
        else:
            self._lines = lines_of(text)

    def line(self, path: Path) -> int:
        """Line of a value, or of the nearest table around it when the value is missing."""
        for depth in range(len(path), 0, -1):
            if path[:depth] in self._lines:
                return self._lines[path[:depth]]
        return 1
