"""A person who is asked to act, at the terminal or out of a file of answers; all of it goes to the wire log."""

from __future__ import annotations

import fnmatch
import os
import select
import termios
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, Self, TypeVar

from drivers.errors import NobodyError, RefusedError, SettingError
from drivers.port import Wire

PATIENCE_S: Final = 3600.0
"""How long a question waits at a terminal."""
ATTEMPTS: Final = 5
"""How often a question is put again when the answer makes no sense."""
MOST_OCTETS: Final = 1_000_000
"""Longest file of answers."""
TERMINAL: Final = "/dev/tty"

_DONE: Final = frozenset({"y", "yes", "ok", "done", "是", "好", "完成", "已完成"})
_NOT_DONE: Final = frozenset({"n", "no", "not", "cannot", "否", "不", "没有", "未完成", "无法"})
_FLOOR: Final = threading.Lock()
"""One question at a time, whoever asks."""

Kind = TypeVar("Kind")


class Terminal(Protocol):
    """Where a person reads and writes."""

    def say(self, text: str) -> None:
        """Show it. Raises OSError."""

    def line(self, within_s: float) -> str | None:
        """One line that is written from now on, without its end; None: the input has ended.

        Raises TimeoutError, OSError, ValueError for octets that are no text.
        """

    def close(self) -> None:
        """Leave it."""


class Tty:
    """The controlling terminal itself, whatever standard input and output have been turned into."""

    def __init__(self, path: str = TERMINAL) -> None:
        """Raises OSError where there is none, or this program does not own it just now."""
        self._file = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        found = ""
        if not os.isatty(self._file):
            found = f"{path} is no terminal"
        elif path == TERMINAL and os.tcgetpgrp(self._file) != os.getpgrp():
            # a program in the background that touches its terminal is stopped by the system without a word
            found = "this program runs in the background of its terminal"
        if found:
            os.close(self._file)
            raise OSError(found)

    def say(self, text: str) -> None:
        """Show it. Raises OSError."""
        octets = text.encode()
        while octets:
            octets = octets[os.write(self._file, octets) :]

    def line(self, within_s: float) -> str | None:
        """One line that is written from now on: what was typed before the question is no answer to it."""
        termios.tcflush(self._file, termios.TCIFLUSH)
        if not select.select([self._file], [], [], max(0.0, within_s))[0]:
            raise TimeoutError
        octets = os.read(self._file, 4096)
        return octets.decode().rstrip("\r\n") if octets else None

    def close(self) -> None:
        """Leave it."""
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file of answers."""

    number: int
    key: str
    """Of a question, or a pattern of keys with * and ?."""
    answer: str

    @property
    def pattern(self) -> bool:
        """Whether it answers every question that looks like it, any number of times."""
        return "*" in self.key or "?" in self.key


class Answers:
    """Answers given beforehand, one `key = answer` a line; `#` begins a line of remarks.

    A line with a whole key is used once, in the order of the file; one with a pattern (`hand.patch.* = ok`) answers
    whatever is left, again and again. The first pattern that fits counts.
    """

    def __init__(self, lines: tuple[Line, ...], name: str) -> None:
        self.name = name
        self._patterns = [line for line in lines if line.pattern]
        self._once = [line for line in lines if not line.pattern]
        self._lock = threading.Lock()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Of a file. Raises SettingError when it cannot be read, is no text, or a line is none of ours."""
        try:
            with Path(path).open("rb") as file:
                octets = file.read(MOST_OCTETS + 1)
            text = octets.decode()
        except (OSError, UnicodeDecodeError) as why:
            raise SettingError(f"a file of answers at {path}", str(why), "check the path after --answers") from why
        if len(octets) > MOST_OCTETS:
            raise SettingError(f"at most {MOST_OCTETS} octets of answers", f"more in {path}", "name the right file")
        return cls.of(text, str(path))

    @classmethod
    def of(cls, text: str, name: str = "answers") -> Self:
        """Of text. Raises SettingError."""
        lines = []
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.strip()
            if not line or line.startswith("#"):
                continue
            key, equals, answer = (part.strip() for part in line.partition("="))
            if not key or not equals or not answer:
                raise SettingError(
                    f"`key = answer` in line {number} of {name}", repr(line[:80]), "correct that line of the file"
                )
            lines.append(Line(number, key, answer))
        return cls(tuple(lines), name)

    def take(self, key: str) -> Line | None:
        """The line that answers a question; None: there is none (left)."""
        with self._lock:
            for line in self._once:
                if line.key == key:
                    self._once.remove(line)
                    return line
        return next((line for line in self._patterns if fnmatch.fnmatchcase(key, line.key)), None)


class Person:
    """Somebody who is asked.

    With ``answers`` nobody is disturbed: a question that the file does not answer is an error, not a wait. Without,
    the terminal is opened for each question, so that none is needed until then. ``pictures`` names a picture that
    shows where to act, by patterns of keys. ``log`` gets every question and every answer.
    """

    def __init__(
        self,
        *,
        answers: Answers | None = None,
        terminal: Callable[[], Terminal] = Tty,
        pictures: Mapping[str, str] | None = None,
        patience_s: float = PATIENCE_S,
        log: Callable[[Wire], None] | None = None,
    ) -> None:
        self._answers = answers
        self._terminal = terminal
        self._pictures = dict(pictures or {})
        self._patience_s = patience_s
        self._log = log

    def done(self, key: str, text: str) -> None:
        """Ask for something to be done. Raises RefusedError when it was not, NobodyError when nobody answers."""

        def said(answer: str) -> str:
            first, _, rest = answer.strip().partition(" ")
            word = first.lower().rstrip(".,:;!。，：；！")
            if word in _NOT_DONE:
                return rest.strip() or word
            if word in _DONE:
                return ""
            raise ValueError("y = done, n and why = not done · y 完成，n 加原因 未完成")

        reason = self.ask(key, text, said, "y | n …")
        if reason:
            raise RefusedError(
                text.splitlines()[-1], f"not done: {reason}", "remove what is in the way, then run the plan again"
            )

    def ask(self, key: str, text: str, accept: Callable[[str], Kind], hint: str = "") -> Kind:
        """Ask, and return what ``accept`` makes of the answer; its ValueError says what was expected.

        Raises NobodyError when there is no terminal, no answer in time, or none that is accepted.
        """
        picture = next((path for pattern, path in self._pictures.items() if fnmatch.fnmatchcase(key, pattern)), "")
        shown = text + (f"\npicture · 图示: {picture}" if picture else "")
        self._note("out", shown, key)
        if self._answers is not None:
            return self._replayed(self._answers, key, text, accept)
        with _FLOOR:
            return self._at_terminal(key, text, shown, accept, hint)

    # -- two ways of an answer -------------------------------------------------------------------------------

    def _replayed(self, answers: Answers, key: str, text: str, accept: Callable[[str], Kind]) -> Kind:
        line = answers.take(key)
        if line is None:
            raise NobodyError(
                f"an answer to {text.splitlines()[-1]}",
                f"no line for {key} left in {answers.name}",
                f"add `{key} = …` to the file, or run at a terminal without --answers",
            )
        self._note("in", line.answer, f"{answers.name} line {line.number}")
        try:
            return accept(line.answer)
        except ValueError as why:
            raise NobodyError(
                f"an answer to {key} ({why})",
                f"{line.answer!r} in line {line.number} of {answers.name}",
                "correct that line of the file",
            ) from why

    def _at_terminal(self, key: str, text: str, shown: str, accept: Callable[[str], Kind], hint: str) -> Kind:
        wanted = f"somebody who does: {text.splitlines()[-1]}"
        try:
            terminal = self._terminal()
        except OSError as why:
            raise NobodyError(
                wanted,
                f"no terminal to ask at ({why})",
                f"run it at a terminal in the foreground, or with --answers FILE that holds a line `{key} = …`",
            ) from why
        try:
            return self._until_accepted(terminal, wanted, key, shown, accept, hint)
        except TimeoutError as why:
            found = f"no answer within {self._patience_s:g} s"
            raise NobodyError(wanted, found, "run it again when somebody is at the bench") from why
        except OSError as why:
            raise NobodyError(wanted, f"the terminal is gone ({why})", "run it again at a terminal") from why
        finally:
            terminal.close()

    def _until_accepted(
        self, terminal: Terminal, wanted: str, key: str, shown: str, accept: Callable[[str], Kind], hint: str
    ) -> Kind:
        deadline = time.monotonic() + self._patience_s
        terminal.say(f"\n[{key}]\n{shown}\n")
        for _ in range(ATTEMPTS):
            terminal.say(f"{hint}> " if hint else "> ")
            try:
                answer = terminal.line(deadline - time.monotonic())
            except UnicodeDecodeError:
                self._note("in", "octets that are no text", "terminal")
                continue
            if answer is None:
                raise NobodyError(wanted, "the end of input", f"answer, or use --answers FILE with `{key} = …`")
            self._note("in", answer, "terminal")
            try:
                return accept(answer)
            except ValueError as why:
                terminal.say(f"{why}\n")
        raise NobodyError(wanted, f"{ATTEMPTS} answers that make no sense", "run it again, and answer as it asks")

    def _note(self, direction: Literal["out", "in"], text: str, remark: str) -> None:
        if self._log is not None:
            self._log(Wire(time.monotonic_ns(), time.time_ns(), direction, text.encode(), remark))
