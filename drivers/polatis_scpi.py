"""Polatis (HUBER+SUHNER) fibre switches of the series 6000 and 7000 over SCPI, TCP 5025 or a serial line.

No public text of the maker holds these commands; five independent programs agree on them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from typing import Final

from drivers.clock import WALL, Clock
from drivers.codec import CHANNELS, WHOLE, Codec, csv
from drivers.crossing import Crossing, checked, port
from drivers.errors import PortReplyError
from drivers.scpi import ErrorPolicy, ScpiInstrument
from drivers.session import Session

MOST_PORTS: Final = 10_000
CHANGE_S: Final = 10.0
"""Time for a change of any number of connections."""

UNCONFIRMED: Final = (
    "no command of the Polatis SCPI driver has been tried on a real switch",
    "Polatis: whether *OPC? waits for the light is not known; every change is read back as well",
    "Polatis: numbers of egress ports of a switch with unequal sides are taken to follow those of ingress",
)

_PAIRS: Final = re.compile(r"(\(\s*@[0-9,:\s]*\))\s*,\s*(\(\s*@[0-9,:\s]*\))")
_STATES: Final = re.compile(r"\(\s*([DEF]?(?:\s*,\s*[DEF])*)\s*\)")


class PortState(Enum):
    """What a switch says of a port."""

    ENABLED = "E"
    DISABLED = "D"
    FAILED = "F"


def parse_pairs(reply: str) -> tuple[tuple[int, int], ...]:
    """`(@1,2),(@19,18)` as ((1, 19), (2, 18)); `(@),(@)` is empty. Raises ValueError."""
    found = _PAIRS.fullmatch(reply.strip())
    if found is None:
        raise ValueError(f"{reply[:60]!r} is not two channel lists")
    ingresses, egresses = CHANNELS.parse(found[1]), CHANNELS.parse(found[2])
    if len(ingresses) != len(egresses):
        raise ValueError(f"{reply[:60]!r} pairs {len(ingresses)} ports with {len(egresses)}")
    return tuple(zip(ingresses, egresses, strict=True))


def parse_size(reply: str) -> tuple[int, int]:
    """`16,16`. Raises ValueError."""
    found = csv(WHOLE).parse(reply)
    if len(found) != 2 or not all(1 <= each <= MOST_PORTS for each in found):
        raise ValueError(f"{reply[:60]!r} is not two numbers of ports")
    return found[0], found[1]


def parse_states(reply: str) -> tuple[PortState, ...]:
    """`(D,E,F)`. Raises ValueError."""
    found = _STATES.fullmatch(reply.strip())
    if found is None:
        raise ValueError(f"{reply[:60]!r} is no list of D, E and F")
    return tuple(PortState(each.strip()) for each in found[1].split(",")) if found[1].strip() else ()


def _never(value: object) -> str:
    raise ValueError(f"{value!r} is not for sending")


PAIRS: Final = Codec("two channel lists", parse_pairs, _never)
SIZE: Final = Codec("the size of the switch", parse_size, _never)
STATES: Final = Codec("the states of ports", parse_states, _never)


class PolatisScpi(Crossing, ScpiInstrument):
    """A fibre switch; ports on the wire are counted through, ingress 1 to N, egress N + 1 to N + M.

    Setting commands are silent: the error queue is asked after each group, and what is connected is read back.
    `CONN:ONLY` drops every other connection and is sent by `only` alone.
    """

    MAKERS = ("*Polatis*", "*HUBER*SUHNER*")
    ERRORS = ErrorPolicy.AFTER_GROUP
    ERROR_QUERY = ":SYST:ERR?"
    unconfirmed = UNCONFIRMED

    def __init__(self, session: Session, *, clock: Clock = WALL) -> None:
        """Raises WrongInstrumentError, PortReplyError for a size that no switch has."""
        super().__init__(session, clock=clock)
        try:
            self._size = self.ask(":OXC:SWIT:SIZE?", SIZE)
        except BaseException:
            session.close()
            raise

    @property
    def size(self) -> tuple[int, int]:
        """(ingress ports, egress ports), as it said when it was opened."""
        return self._size

    @property
    def clock(self) -> Clock:
        """The time it is waited by."""
        return self._clock

    def only(self, pairs: Mapping[int, int]) -> None:
        """Join these and nothing else, in one command, and read back. Raises as `connect`."""
        wanted = checked(pairs, self.size)
        if not wanted:
            self.clear()
            return
        with self._turn():
            self._tried(lambda: self._do(f":OXC:SWIT:CONN:ONLY {self._said(wanted)}"), wanted)
            self._confirm(wanted)

    def port_states(self) -> tuple[Sequence[PortState], Sequence[PortState]]:
        """(of each ingress port, of each egress port). Raises PortReplyError."""
        found = self._states(())
        return found[: self._size[0]], found[self._size[0] :]

    def enable(self, ingresses: Collection[int] = (), egresses: Collection[int] = ()) -> None:
        """Put ports to use again. Raises SettingError, InstrumentFaultError."""
        self._do(f":OXC:SWIT:PORT:ENAB {CHANNELS.form(self._numbers(ingresses, egresses))}")

    def disable(self, ingresses: Collection[int] = (), egresses: Collection[int] = ()) -> None:
        """Take ports out of use. Raises as `enable`."""
        self._do(f":OXC:SWIT:PORT:DIS {CHANNELS.form(self._numbers(ingresses, egresses))}")

    # -- the maker's commands --------------------------------------------------------------------------------

    def _turn(self) -> AbstractContextManager[None]:
        return self.session.turn(CHANGE_S)

    def _do(self, message: str) -> None:
        with self.group(message):
            self.write(message)
            self.wait(CHANGE_S)

    def _join(self, pairs: Mapping[int, int]) -> None:
        self._do(f":OXC:SWIT:CONN:ADD {self._said(pairs)}")

    def _part(self, pairs: Mapping[int, int]) -> None:
        self._do(f":OXC:SWIT:CONN:SUB {self._said(pairs)}")

    def _part_all(self) -> None:
        self._do(":OXC:SWIT:DISC:ALL")

    def _joined(self) -> dict[int, int]:
        found = self.ask(":OXC:SWIT:CONN:STAT?", PAIRS)
        ins, outs = self._size
        pairs = {ingress: egress - ins for ingress, egress in found}
        odd = [f"{i} with {e}" for i, e in found if not (1 <= i <= ins < e <= ins + outs)]
        if odd or len(set(pairs.values())) != len(found):
            raise PortReplyError(
                f"each ingress 1 to {ins} and egress {ins + 1} to {ins + outs} at most once",
                ", ".join(odd[:4]) or "a port twice",
                "check model and firmware against the driver",
            )
        return pairs

    def _troubles(self, ingresses: Collection[int], egresses: Collection[int]) -> Iterable[str]:
        numbers = self._numbers(ingresses, egresses)
        if not numbers:
            return
        names = [*(f"ingress {each}" for each in ingresses), *(f"egress {each}" for each in egresses)]
        for name, state in zip(names, self._states(numbers), strict=True):
            if state is not PortState.ENABLED:
                yield f"{name} is {state.name.lower()}"

    def _states(self, numbers: Sequence[int]) -> tuple[PortState, ...]:
        found = self.ask(":OXC:SWIT:PORT:STAT?" + (f" {CHANNELS.form(tuple(numbers))}" if numbers else ""), STATES)
        if len(found) != (len(numbers) or sum(self._size)):
            raise PortReplyError("a state for each port", f"{len(found)} of them", "check model and firmware")
        return found

    def _numbers(self, ingresses: Collection[int], egresses: Collection[int]) -> tuple[int, ...]:
        ins, outs = self._size
        return (
            *(port("ingress", each, ins) for each in ingresses),
            *(ins + port("egress", each, outs) for each in egresses),
        )

    def _said(self, pairs: Mapping[int, int]) -> str:
        ingresses = tuple(sorted(pairs))
        return f"{CHANNELS.form(ingresses)},{CHANNELS.form(tuple(self._size[0] + pairs[each] for each in ingresses))}"
