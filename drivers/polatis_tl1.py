"""Polatis (HUBER+SUHNER) fibre switches over TL1, TCP 3082: connections, power at each port, shutters.

No public text of the maker holds these commands; they are those of a program that works such switches.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final

from drivers.clock import WALL, Clock
from drivers.codec import parse_number
from drivers.crossing import Crossing, port
from drivers.errors import NotTakenError, PortReplyError, SettingError, WrongInstrumentError
from drivers.port import Identity
from drivers.quantity import DBm
from drivers.tl1 import Answer, Talk, fields

MOST_PORTS: Final = 10_000
CHANGE_S: Final = 30.0
"""Time for a change of any number of connections."""

UNCONFIRMED: Final = (
    "no command of the Polatis TL1 driver has been tried on a real switch",
    "Polatis TL1: that ENT-PATCH takes lists of ports is not known; the option lists says that it does",
    "Polatis TL1: how the size is written in the answer to RTRV-EQPT is taken from a program, not from the maker",
    "Polatis TL1: that RTRV-PORT-SHUTTER answers port:OPEN or port:CLOSED is a guess",
    "Polatis TL1: numbers of egress ports of a switch with unequal sides are taken to follow those of ingress",
)

_SIZE: Final = re.compile(r"(?:.*SIZE\s*=\s*)?([0-9]{1,5})\s*[,xX]\s*([0-9]{1,5})")
_PATCH: Final = re.compile(r"([0-9]{1,5})\s*,\s*([0-9]{1,5})")
_ROW: Final = re.compile(r"([0-9]{1,5})\s*:\s*(.*)")
_NO_POWER: Final = frozenset({"", "NONE", "NA", "N/A", "--", "LOW"})


class PolatisTl1(Crossing):
    """A fibre switch; ports on the wire are counted through, ingress 1 to N, egress N + 1 to N + M."""

    unconfirmed: Sequence[str] = UNCONFIRMED

    def __init__(self, talk: Talk, *, clock: Clock = WALL, lists: bool = False) -> None:
        """Ask who it is and how large. ``lists``: join all pairs in one ENT-PATCH, which is quicker and unconfirmed.

        Raises WrongInstrumentError, PortReplyError and what the session raises.
        """
        if not isinstance(lists, bool):
            raise SettingError("true or false for lists", repr(lists), "lists = true")
        self._talk = talk
        self._lists = lists
        self._clock = clock
        kind = self._one("RTRV-NETYPE", self._talk.do("RTRV-NETYPE")).split(",")
        if len(kind) < 4 or "POLATIS" not in kind[0].upper():
            raise WrongInstrumentError(
                f"a Polatis switch at {talk.resource}", ",".join(kind)[:80], "check address and port"
            )
        inventory = [fields(row) for row in talk.do("RTRV-INV", "OCS").rows]
        serials = {row["SN"] for row in inventory if row.get("SN")}
        if len(serials) != 1:
            raise PortReplyError("one serial number, SN=…, to RTRV-INV", f"{len(serials)}", "check model and firmware")
        self._identity = Identity(kind[0].strip(), kind[1].strip(), serials.pop(), kind[3].strip())
        row = self._one("RTRV-EQPT", talk.do("RTRV-EQPT", "SYSTEM", "", "PARAMETER=SIZE"))
        size = _SIZE.fullmatch(row.strip())
        if size is None or not all(1 <= int(each) <= MOST_PORTS for each in size.groups()):
            raise PortReplyError("the size of the switch to RTRV-EQPT", repr(row[:60]), "check model and firmware")
        self._size = (int(size[1]), int(size[2]))

    @property
    def identity(self) -> Identity:
        """As it answered RTRV-NETYPE and RTRV-INV."""
        return self._identity

    @property
    def size(self) -> tuple[int, int]:
        """(ingress ports, egress ports)."""
        return self._size

    @property
    def clock(self) -> Clock:
        """The time it is waited by."""
        return self._clock

    def close(self) -> None:
        """Log out, and end the session."""
        self._talk.close()

    # -- light and shutters ----------------------------------------------------------------------------------

    def port_power(self) -> tuple[Mapping[int, DBm | None], Mapping[int, DBm | None]]:
        """(at each ingress port, at each egress port), dBm; None: no light, or no meter there.

        Raises PortReplyError. Ports that the switch does not list are left out.
        """
        ins, outs = self._size
        found: tuple[dict[int, DBm | None], dict[int, DBm | None]] = ({}, {})
        for number, text in self._by_port("RTRV-PORT-POWER", self._talk.do("RTRV-PORT-POWER", f"1&&{ins + outs}")):
            try:
                value = None if text.upper() in _NO_POWER else parse_number(text)
            except ValueError as why:
                raise PortReplyError("powers in dBm to RTRV-PORT-POWER", str(why), "check the firmware") from why
            side, own = (0, number) if number <= ins else (1, number - ins)
            found[side][own] = None if value is None else DBm(value)
        return found

    def set_shutters(self, *, closed: bool, ingresses: Collection[int] = (), egresses: Collection[int] = ()) -> None:
        """Close or open the shutters of ports, and read back. Raises SettingError, DeniedError, NotTakenError."""
        numbers = self._numbers(ingresses, egresses)
        if not numbers:
            return
        aid = "&".join(map(str, numbers))
        with self._turn():
            self._talk.do("OPR-PORT-SHUTTER" if closed else "RLS-PORT-SHUTTER", aid)
            answer = self._talk.do("RTRV-PORT-SHUTTER", aid)
        said = dict(self._by_port("RTRV-PORT-SHUTTER", answer))
        wanted = "CLOSED" if closed else "OPEN"
        odd = [f"port {each}: {said.get(each, 'nothing')}" for each in numbers if said.get(each, "").upper() != wanted]
        if odd:
            raise NotTakenError(f"shutters {wanted.lower()}", ", ".join(odd[:8]), "look at the ports named")

    # -- the maker's commands --------------------------------------------------------------------------------

    def _turn(self) -> AbstractContextManager[None]:
        return self._talk.turn(CHANGE_S)

    def _join(self, pairs: Mapping[int, int]) -> None:
        made = sorted((ingress, self._size[0] + egress) for ingress, egress in pairs.items())
        if self._lists:
            aid = ",".join("&".join(str(pair[side]) for pair in made) for side in (0, 1))
            self._talk.do("ENT-PATCH", aid, timeout_s=CHANGE_S)
            return
        for ingress, egress in made:
            self._talk.do("ENT-PATCH", f"{ingress},{egress}", timeout_s=CHANGE_S)

    def _part(self, pairs: Mapping[int, int]) -> None:
        self._talk.do("DLT-PATCH", "&".join(map(str, sorted(pairs))), timeout_s=CHANGE_S)

    def _part_all(self) -> None:
        self._talk.do("DLT-PATCH", "ALL", timeout_s=CHANGE_S)

    def _joined(self) -> dict[int, int]:
        ins, outs = self._size
        pairs: dict[int, int] = {}
        rows = self._talk.do("RTRV-PATCH").rows
        for row in rows:
            found = _PATCH.fullmatch(row.strip())
            ends = sorted(int(each) for each in found.groups()) if found else [0, 0]
            if not 1 <= ends[0] <= ins < ends[1] <= ins + outs:
                raise PortReplyError(
                    "an ingress and an egress port to RTRV-PATCH", repr(row[:60]), "check the firmware"
                )
            pairs[ends[0]] = ends[1] - ins
        if len(set(pairs.values())) != len(rows):
            raise PortReplyError("each port once to RTRV-PATCH", "a port twice", "check the firmware")
        return pairs

    def _troubles(self, ingresses: Collection[int], egresses: Collection[int]) -> Iterable[str]:
        """No command that tells the state of a port is known here; a refusal comes with the switch's own words."""
        return ()

    def _numbers(self, ingresses: Collection[int], egresses: Collection[int]) -> tuple[int, ...]:
        ins, outs = self._size
        return (
            *(port("ingress", each, ins) for each in ingresses),
            *(ins + port("egress", each, outs) for each in egresses),
        )

    def _by_port(self, verb: str, answer: Answer) -> Iterable[tuple[int, str]]:
        for row in answer.rows:
            found = _ROW.fullmatch(row.strip())
            if found is None or not 1 <= int(found[1]) <= sum(self._size):
                raise PortReplyError(f"port:value to {verb}", repr(row[:60]), "check model and firmware")
            yield int(found[1]), found[2].strip()

    @staticmethod
    def _one(verb: str, answer: Answer) -> str:
        if len(answer.rows) != 1:
            raise PortReplyError(f"one row to {verb}", f"{len(answer.rows)}", "check model and firmware")
        return answer.rows[0]
