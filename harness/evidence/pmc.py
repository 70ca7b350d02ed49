"""linuxptp's management client `pmc`, its answers read strictly."""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SOCKETS: Final = ("/var/run/ptp/ptp4lro", "/var/run/ptp4lro", "/var/run/ptp/ptp4l", "/var/run/ptp4l")
"""Where ptp4l listens: read-only ones first. 3.1.1 has only the last; 4.x adds ptp4lro; later both move to ptp/."""

CLOCK_SETS: Final = (
    "TIME_STATUS_NP",
    "CURRENT_DATA_SET",
    "PARENT_DATA_SET",
    "TIME_PROPERTIES_DATA_SET",
    "DEFAULT_DATA_SET",
)
PORT_SETS: Final = ("PORT_DATA_SET", "PORT_PROPERTIES_NP", "PORT_STATS_NP")
NEWER_PORT_SETS: Final = ("PORT_SERVICE_STATS_NP", "PORT_HWCLOCK_NP")
"""Since linuxptp 4.0; a pmc of 3.1.1 says "bad command" to them."""
GETS: Final = (*CLOCK_SETS, *PORT_SETS, *NEWER_PORT_SETS)
"""In the order to ask. A Unix datagram socket holds about ten messages, and each port answers by itself: with the
single answers of the clock first, neither side ever waits for the other with both queues full."""

_IDENTITY: Final = r"[0-9a-f]{6}\.[0-9a-f]{4}\.[0-9a-f]{6}"
_HEADER: Final = re.compile(rf"\t({_IDENTITY})-([0-9]{{1,5}}) seq [0-9]{{1,5}} ([A-Z]+)(?: (.*))?")
_FIELD: Final = re.compile(r"\t\t(\S+)(?:[ \t]+(.*))?")
_DIAGNOSTIC: Final = re.compile(r"(sending: .*|[\w.-]+\[[0-9]+\.[0-9]{3}\]: .*|)")
_INT64: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Answer:
    """One data set as one port of a clock told it; port 0 is the clock itself."""

    clock: str
    port: int
    data_set: str
    fields: Mapping[str, str]

    def word(self, key: str, pattern: str = r"\S.*") -> str:
        """A field as printed. Raises ValueError when it is missing or does not look as it should."""
        value = self.fields.get(key)
        if value is None:
            raise ValueError(f"{self.data_set} without {key}")
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{self.data_set}: {key} is {value[:60]!r}")
        return value

    def number(self, key: str, least: int = -_INT64, most: int = _INT64 - 1) -> int:
        """A decimal number from ``least`` to ``most``. Raises ValueError otherwise."""
        value = int(self.word(key, r"[+-]?[0-9]{1,19}"))
        if not least <= value <= most:
            raise ValueError(f"{self.data_set}: {key} {value} is beyond {least} to {most}")
        return value

    def code(self, key: str) -> int:
        """An octet printed in hexadecimal. Raises ValueError otherwise."""
        return int(self.word(key, r"0x[0-9a-f]{2}"), 16)

    def flag(self, key: str) -> bool:
        """0 or 1, false or true. Raises ValueError otherwise."""
        return self.word(key, "0|1|false|true") in {"1", "true"}

    def identity(self, key: str) -> str:
        """A clock identity. Raises ValueError otherwise."""
        return self.word(key, _IDENTITY)


@dataclass(frozen=True, slots=True)
class Answers:
    """What one clock answered: data sets of the clock by name, data sets of its ports by number and name."""

    clock: str
    of_clock: Mapping[str, Answer]
    of_ports: Mapping[int, Mapping[str, Answer]]

    def one(self, data_set: str) -> Answer:
        """A data set of the clock. Raises ValueError when it was not told."""
        if data_set not in self.of_clock:
            raise ValueError(f"no answer to GET {data_set}")
        return self.of_clock[data_set]


def parse(text: str) -> tuple[Answer, ...]:
    """The data sets in the output of pmc, whatever clocks they are of.

    Errors reported by ptp4l, and answers that are no data sets, are left out. Raises ValueError when a line is none
    that pmc prints, a field comes twice, or the end is cut off.
    """
    if text and not text.endswith("\n"):
        raise ValueError("the end of pmc's output is cut off")
    found: list[Answer] = []
    fields: dict[str, str] | None = None
    for line in text.split("\n"):
        if field := _FIELD.fullmatch(line):
            key, value = field.group(1), (field.group(2) or "").strip()
            if fields is None:
                raise ValueError(f"a field outside of any answer: {line.strip()[:60]!r}")
            if key in fields:
                raise ValueError(f"{key} twice in one answer")
            fields[key] = value
        elif header := _HEADER.fullmatch(line):
            clock, port, action, rest = header.groups()
            fields = {}
            kind, _, data_set = (rest or "").strip().partition(" ")
            if action == "RESPONSE" and kind == "MANAGEMENT" and re.fullmatch(r"[A-Z0-9_]+", data_set):
                found.append(Answer(clock, int(port), data_set, fields))
        elif not _DIAGNOSTIC.fullmatch(line):
            raise ValueError(f"not a line of pmc: {line[:60]!r}")
    return tuple(found)


def collect(text: str) -> Answers:
    """The answers of the one clock asked.

    Raises ValueError as `parse` does, and when nobody answered, several clocks did, or one data set came twice: with
    no boundary hops pmc hears nobody but the ptp4l it asked.
    """
    found = parse(text)
    clocks = sorted({answer.clock for answer in found})
    if not clocks:
        raise ValueError("no answer")
    if len(clocks) > 1:
        raise ValueError(f"answers of {len(clocks)} clocks: {', '.join(clocks[:4])}")
    of_clock: dict[str, Answer] = {}
    of_ports: dict[int, dict[str, Answer]] = {}
    for answer in found:
        at_port = answer.data_set.startswith("PORT_")
        kept = of_ports.setdefault(answer.port, {}) if at_port else of_clock
        if answer.data_set in kept:
            raise ValueError(f"{answer.data_set} told twice")
        if "portIdentity" in answer.fields and answer.fields["portIdentity"] != f"{answer.clock}-{answer.port}":
            raise ValueError(
                f"{answer.data_set} of port {answer.port} speaks of {answer.fields['portIdentity'][:60]!r}"
            )
        kept[answer.data_set] = answer
    return Answers(clocks[0], of_clock, of_ports)


def listening(path: str) -> bool:
    """Whether somebody receives at a Unix datagram socket of this name."""
    try:
        if not stat.S_ISSOCK(Path(path).stat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as trial:
            trial.connect(path)
    except (OSError, ValueError):
        return False
    return True


class Pmc:
    """`pmc` run once a question; all it may ask is data."""

    def __init__(
        self,
        address: str = "",
        domain: int = 0,
        transport_specific: int = 0,
        program: str = "pmc",
        timeout_s: float = 1.5,
    ) -> None:
        where = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
        self._program = shutil.which(program, path=where) or program
        self._address = address
        self._domain = domain
        self._transport_specific = transport_specific
        self._timeout_s = timeout_s
        self._gets = list(GETS)

    def ask(self) -> tuple[str, str]:
        """(what pmc printed, whole; why that is no answer, empty when it is one).

        Data sets that this pmc does not know are not asked for again.
        """
        path = self._address or next((each for each in SOCKETS if listening(each)), "")
        if not path:
            return "", f"no ptp4l listens at {', '.join(SOCKETS)}"
        if not listening(path):
            return "", f"no ptp4l listens at {path}, or this user may not write there"
        try:
            # a folder of our own: pmc's own choice of a name could meet another pmc's, and stays behind after a kill
            with tempfile.TemporaryDirectory(prefix="millicert-pmc-", ignore_cleanup_errors=True) as folder:
                Path(folder).chmod(0o711)  # a ptp4l that runs as another user must find the way to answer
                return self._run(path, str(Path(folder) / "pmc"))
        except OSError as why:
            return "", f"{type(why).__name__}: {why}"

    def _run(self, path: str, client: str) -> tuple[str, str]:
        command = [self._program, "-u", "-b", "0", "-d", str(self._domain), "-t", f"{self._transport_specific:x}"]
        command += ["-s", path, "-i", client, *(f"GET {name}" for name in self._gets)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._timeout_s,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            return "", f"no program {self._program}"
        except subprocess.TimeoutExpired:
            return "", f"no answer of {self._program} within {self._timeout_s} s"
        text = done.stdout.decode("utf-8", "backslashreplace")
        complaints = done.stderr.decode("utf-8", "backslashreplace")
        refused = set(re.findall(r"^bad command: GET (\w+)$", complaints, re.MULTILINE))
        self._gets = [name for name in self._gets if name not in refused]
        said = complaints.strip()[:500]
        if done.returncode != 0:
            return text, f"exit {done.returncode}: {said}"
        if "RESPONSE" not in text:
            given = f"domain {self._domain}, transportSpecific {self._transport_specific}"
            return text, f"no answer from {path} ({given}): {said or 'silence'}"
        return text, ""
