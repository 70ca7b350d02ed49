"""The log of ptp4l, phc2sys or ts2phc as it grows."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

AT_ONCE: Final = 1 << 20
"""Octets read of one file a poll; the rest waits for the next."""
TAIL: Final = 1 << 14
"""Octets looked back when a log is first opened: enough for the last figures."""
RECENT_S: Final = 10.0
"""Figures printed longer before a log was opened say nothing of now."""
LONGEST_LINE: Final = 4096

_PREFIX: Final = re.compile(r".*?\[([0-9]{1,12}\.[0-9]{3})\]:? ?")
_PROGRAM: Final = re.compile(r"\b(ptp4l|phc2sys|ts2phc)\b")
_OFFSET: Final = re.compile(
    r"(?:(\S+) )?(\S+) offset +(-?[0-9]{1,18}) s([0-3]) freq +[+-][0-9]{1,18}"
    r"(?:( path)? delay +(-?[0-9]{1,18}))?( holdover)?\s*"
)
_RMS: Final = re.compile(
    r"(?:(\S+) )?rms +[0-9]{1,18} max +([0-9]{1,18}) freq +[+-][0-9]{1,18} \+/- +[0-9]{1,18}"
    r"(?: delay +(-?[0-9]{1,18}) \+/- +[0-9]{1,18})?\s*"
)
_JUMP: Final = re.compile(r"clockcheck: (clock jumped (?:forward|backward)|clock frequency changed unexpectedly).*")
_STATE: Final = re.compile(r"(port [0-9]{1,5})(?: \(\S+\))?: ([A-Z_]+) to ([A-Z_]+) on ([A-Z_]+).*")
_MASTER: Final = re.compile(r"selected (?:best master|local) clock ([0-9a-f]{6}\.[0-9a-f]{4}\.[0-9a-f]{6}).*")
_TROUBLE: Final = re.compile(
    r"(.*\blost holdover lock\b.*|timed out while polling for tx timestamp|clock update suspended due to leap second"
    r"|failed to (?:adjust|step) (?:the )?clock.*)"
)


@dataclass(frozen=True, slots=True)
class Figure:
    """What a servo printed of the clock it steers: one offset, or a summary of several."""

    program: str
    """ptp4l, phc2sys or ts2phc; by the shape of the line where that is not said."""
    clock: str
    """Which clock, empty where the line does not say (ptp4l's own)."""
    offset_ns: int | None
    """Clock less source; None in a summary."""
    most_ns: int
    """Largest |offset| covered by the line."""
    servo: int | None
    """0 unlocked, 1 stepping, 2 locked, 3 locked and stable; None in a summary."""
    delay_ns: int | None
    """Path delay (ptp4l) or window of the clock reading (phc2sys); None where not printed."""
    holdover: bool
    line: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a clock, in the daemon's words."""

    kind: str
    """"jump", "state", "master" or "trouble"."""
    before: str
    """State left, of a "state" event."""
    after: str
    """State entered, of a "state" event; clock selected, of a "master" event."""
    line: str


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What is new in a log."""

    figures: tuple[Figure, ...] = ()
    events: tuple[Event, ...] = ()
    remarks: tuple[str, ...] = ()
    """What went wrong in reading it."""


def read_line(line: str) -> Figure | Event | None:
    """What one line says; None when it says nothing of a clock. Wants no newline at its end."""
    prefix = _PREFIX.match(line)
    program = _PROGRAM.search(line[: prefix.end()] if prefix else line)
    named = program.group(1) if program else ""
    words = line[prefix.end() :] if prefix else line
    # a message tag is one word before the message
    for said in (words, words.partition(" ")[2]):
        if found := _figure(said, named, line):
            return found
        if jump := _JUMP.fullmatch(said):
            return Event("jump", "", jump.group(1), line)
        if state := _STATE.fullmatch(said):
            return Event("state", state.group(2), state.group(3), line)
        if master := _MASTER.fullmatch(said):
            return Event("master", "", master.group(1), line)
        if trouble := _TROUBLE.fullmatch(said):
            return Event("trouble", "", trouble.group(1), line)
    return None


def _figure(said: str, named: str, line: str) -> Figure | None:
    if offset := _OFFSET.fullmatch(said):
        device, source, ns, servo, path, delay, holdover = offset.groups()
        program = named or ("ptp4l" if path else "phc2sys" if device else "ts2phc")
        clock = "" if program == "ptp4l" else device or source
        value = int(ns)
        delay_ns = None if delay is None else int(delay)
        return Figure(program, clock, value, abs(value), int(servo), delay_ns, bool(holdover), line)
    if rms := _RMS.fullmatch(said):
        device, most, delay = rms.groups()
        program = named or ("phc2sys" if device else "ptp4l")
        clock = "" if program == "ptp4l" else device or ""
        return Figure(program, clock, None, int(most), None, None if delay is None else int(delay), False, line)
    return None


class PtpLog:
    """A log file followed from now on; rotation, truncation, absence and garbage are survived and told.

    ``monotonic`` is CLOCK_MONOTONIC in s, with which linuxptp marks its lines.
    """

    def __init__(self, path: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._monotonic = monotonic
        self._fd = -1
        self._offset = 0
        self._rest = b""
        self._opened = False

    def read(self) -> Excerpt:
        """What was written since the last call; the first gives the figures of the last seconds."""
        remarks: list[str] = []
        first = not self._opened
        lines = self._take(remarks)
        figures: list[Figure] = []
        events: list[Event] = []
        garbled = 0
        for line in lines:
            text = line.decode("utf-8", "replace")
            garbled += not text.isprintable() or "\ufffd" in text
            found = read_line(text)
            if isinstance(found, Figure) and (not first or self._recent(text)):
                figures.append(found)
            elif isinstance(found, Event) and not first:
                events.append(found)
        if garbled:
            remarks.append(f"{self.path}: {garbled} lines that are not text")
        return Excerpt(tuple(figures), tuple(events), tuple(remarks))

    def close(self) -> None:
        """Lets go of the file. Safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._rest, self._offset = -1, b"", 0

    def _recent(self, line: str) -> bool:
        prefix = _PREFIX.match(line)
        return prefix is not None and 0 <= self._monotonic() - float(prefix.group(1)) + 1 <= RECENT_S + 1

    def _take(self, remarks: list[str]) -> list[bytes]:
        if self._fd < 0 and not self._open(remarks):
            return []
        try:
            lines = self._lines(remarks)
            if self._replaced(remarks):
                self.close()
                if self._open(remarks):
                    lines += self._lines(remarks)
        except OSError as why:
            remarks.append(f"{self.path}: {why.strerror}")
            self.close()
            return []
        return lines

    def _open(self, remarks: list[str]) -> bool:
        try:
            # without blocking, should somebody put a FIFO there
            fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as why:
            remarks.append(f"{self.path}: {getattr(why, 'strerror', None) or why}")
            self._opened = True  # what comes later is new
            return False
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            os.close(fd)
            remarks.append(f"{self.path}: not a file")
            return False
        self._fd = fd
        self._offset = 0 if self._opened else max(0, about.st_size - TAIL)
        self._rest = b""
        self._opened = True
        return True

    def _lines(self, remarks: list[str]) -> list[bytes]:
        size = os.fstat(self._fd).st_size
        if size < self._offset:
            remarks.append(f"{self.path}: truncated, lines may be lost")
            self._offset, self._rest = 0, b""
        data = os.pread(self._fd, AT_ONCE, self._offset)
        self._offset += len(data)
        if self._offset < size:
            remarks.append(f"{self.path}: {size - self._offset} octets wait for the next poll")
        *lines, self._rest = (self._rest + data).split(b"\n")
        kept = [line for line in lines if len(line) <= LONGEST_LINE]
        if len(kept) < len(lines) or len(self._rest) > LONGEST_LINE:
            remarks.append(f"{self.path}: a line of more than {LONGEST_LINE} octets left out")
            self._rest = b"" if len(self._rest) > LONGEST_LINE else self._rest
        return kept

    def _replaced(self, remarks: list[str]) -> bool:
        here = os.fstat(self._fd)
        with contextlib.suppress(OSError):
            there = Path(self.path).stat()
            if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                return False
            remarks.append(f"{self.path}: rotated")
            return True
        remarks.append(f"{self.path}: gone")
        return True
