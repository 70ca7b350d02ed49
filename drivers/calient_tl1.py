"""Calient fibre switches of the S series over TL1, TCP 3083.

No public text of the maker holds these commands; they are those of two programs that work such switches.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from drivers.clock import WALL, Clock
from drivers.codec import parse_number
from drivers.crossing import Crossing
from drivers.errors import PortReplyError, SettingError
from drivers.port import Identity
from drivers.quantity import DBm
from drivers.tl1 import Talk, fields

CHANGE_S: Final = 60.0
"""Time for a change; deleting everything may take so long."""

UNCONFIRMED: Final = (
    "no command of the Calient TL1 driver has been tried on a real switch",
    "Calient: no command that tells the serial number is known; the name of the device (SID) stands in its place",
    "Calient: a connection that is listed counts as made; what AS, OS and PS say of it is not known",
)

_PORT: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}[a-z]?){1,4}")
_GROUP: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")


@dataclass(frozen=True, slots=True)
class Circuit:
    """One connection as the switch lists it."""

    name: str
    """As it is deleted by: "2.3.6>3.2.5" one way, "2.3.6-3.2.5" both ways."""
    pairs: tuple[tuple[int, int], ...]
    """(ingress, egress), one or two."""
    dark: bool
    """It says that it carries no light (OC=FAIL)."""


class CalientTl1(Crossing):
    """A fibre switch. Each of its ports has an ingress and an egress; port k is the k-th by name ("1.1.1", "1.1.2" …).

    A connection without light is listed with OC=FAIL: it is there all the same; `dark` names those.
    """

    unconfirmed: Sequence[str] = UNCONFIRMED

    def __init__(self, talk: Talk, *, clock: Clock = WALL, ports: Sequence[str] = (), group: str = "SYSTEM") -> None:
        """``ports`` names the ports in the order they are counted; none: as the switch lists them, by number.

        Raises SettingError, PortReplyError and what the session raises.
        """
        self._talk = talk
        self._clock = clock
        self._group = group
        if not _GROUP.fullmatch(group):
            raise SettingError("the name of a group of connections", repr(group), 'group = "SYSTEM"')
        answer = talk.do("RTRV-PORT-SUM", "0")
        listed = [row.partition(":")[0].strip() for row in answer.rows]
        if not listed or not all(_PORT.fullmatch(name) for name in listed) or len(set(listed)) != len(listed):
            raise PortReplyError("ports such as 1.1.1 to RTRV-PORT-SUM", repr(listed[:4]), "check port and protocol")
        missing = [name for name in ports if name not in listed]
        if missing or len(set(ports)) != len(ports):
            raise SettingError(
                "ports of the switch, each once", ", ".join(missing[:8]) or "a port twice", "correct the option ports"
            )
        self._names = tuple(ports) or tuple(sorted(listed, key=_by_number))
        self._numbers = {name: number for number, name in enumerate(self._names, 1)}
        self._identity = Identity("Calient", "S-Series", answer.sid, "")

    @property
    def identity(self) -> Identity:
        """Its name stands in the place of its serial number."""
        return self._identity

    @property
    def names(self) -> Sequence[str]:
        """Its ports in the order they are counted."""
        return self._names

    @property
    def size(self) -> tuple[int, int]:
        """(ingress ports, egress ports)."""
        return len(self._names), len(self._names)

    @property
    def clock(self) -> Clock:
        """The time it is waited by."""
        return self._clock

    def close(self) -> None:
        """Log out, and end the session."""
        self._talk.close()

    def dark(self) -> Mapping[int, int]:
        """Connections that say they carry no light. Raises PortReplyError."""
        return dict(pair for circuit in self._circuits() if circuit.dark for pair in circuit.pairs)

    def port_power(self) -> tuple[Mapping[int, DBm | None], Mapping[int, DBm | None]]:
        """(into each port, out of each port), dBm; None: no light. Raises PortReplyError."""
        found: tuple[dict[int, DBm | None], dict[int, DBm | None]] = ({}, {})
        for row in self._talk.do("RTRV-PORT-SUM", "0").rows:
            name, _, rest = row.partition(":")
            number = self._numbers.get(name.strip())
            if number is None:
                continue
            said = fields(rest)
            for side, key in enumerate(("INPWR", "OUTPWR")):
                text = said.get(key, "")
                try:
                    value = None if text in {"NONE", ""} else parse_number(text)
                except ValueError as why:
                    raise PortReplyError(f"{key} in dBm to RTRV-PORT-SUM", str(why), "check the firmware") from why
                found[side][number] = None if value is None else DBm(value)
        return found

    # -- the maker's commands --------------------------------------------------------------------------------

    def _turn(self) -> AbstractContextManager[None]:
        return self._talk.turn(CHANGE_S)

    def _join(self, pairs: Mapping[int, int]) -> None:
        for ingress, egress in sorted(pairs.items()):
            a, b = self._names[ingress - 1], self._names[egress - 1]
            self._talk.do("ENT-CRS", f"{a},{b}", f"{self._group},1WAY", timeout_s=CHANGE_S)
            self._talk.do("ACT-CRS", f"{a},{b}", f"{a}>{b},{self._group}", timeout_s=CHANGE_S)

    def _part(self, pairs: Mapping[int, int]) -> None:
        """A connection that goes both ways can only be deleted whole; the other way is made again by itself."""
        gone = set(pairs.items())
        for circuit in self._circuits():
            if gone & set(circuit.pairs):
                self._talk.do("DLT-CRS", "", circuit.name, timeout_s=CHANGE_S)
                self._join({ingress: egress for ingress, egress in circuit.pairs if (ingress, egress) not in gone})

    def _part_all(self) -> None:
        self._talk.do("DLT-CRS-ALL", timeout_s=CHANGE_S)

    def _joined(self) -> dict[int, int]:
        found = [pair for circuit in self._circuits() for pair in circuit.pairs]
        pairs = dict(found)
        if len(set(pairs.values())) != len(found):
            raise PortReplyError("each port in one connection to RTRV-CRS", "a port in two", "look at the switch")
        return pairs

    def _circuits(self) -> tuple[Circuit, ...]:
        made = []
        for row in self._talk.do("RTRV-CRS", timeout_s=CHANGE_S).rows:
            name, _, rest = row.partition(":")
            said = fields(rest)
            ends = [self._numbers.get(said.get(key, "")) for key in ("SRCPORT", "DSTPORT")]
            kind = said.get("CONNTYPE", "")
            if ends[0] is None or ends[1] is None or kind not in {"1WAY", "2WAY"} or not name.strip():
                raise PortReplyError(
                    "connections with SRCPORT, DSTPORT and CONNTYPE to RTRV-CRS",
                    repr(row[:80]),
                    "check the firmware, or the ports named in the bench file",
                )
            pairs = [(ends[0], ends[1])]
            if kind == "2WAY":
                pairs.append((ends[1], ends[0]))
            made.append(Circuit(name.strip(), tuple(pairs), said.get("OC", "") == "FAIL"))
        return tuple(made)

    def _troubles(self, ingresses: Collection[int], egresses: Collection[int]) -> Iterable[str]:
        """No command that tells the state of a port is known here; what carries no light is told."""
        for circuit in self._circuits():
            for ingress, egress in circuit.pairs:
                if circuit.dark and (ingress in ingresses or egress in egresses):
                    yield f"{ingress} → {egress} carries no light (OC=FAIL)"


def _by_number(name: str) -> tuple[tuple[int, str], ...]:
    """Shelf, card and port as numbers: 1.2.10 comes after 1.2.9."""
    parts = (re.fullmatch(r"([0-9]+)(.*)", part) for part in name.split("."))
    return tuple((int(each[1]), each[2]) for each in parts if each is not None)
