"""The simulated lab's own hand, which plugs where a person would."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final

from drivers.capability import Channel, Safe
from drivers.clock import WALL, Clock
from drivers.codec import QUOTED, WHOLE, csv, parse_number, split
from drivers.crossing import Crossing
from drivers.errors import NotTakenError, PortReplyError, SettingError, WrongInstrumentError
from drivers.quantity import Hertz, Second
from drivers.scpi import ErrorPolicy, ScpiInstrument
from drivers.session import Session

PATIENCE_S: Final = 600.0
"""A hand may be as slow as a person."""
OFF_S: Final = (0.0, 86_400.0)
"""How long an instrument may be left without power."""

_PAIR: Final = re.compile(r"([0-9]{1,5})>([0-9]{1,5})")


class SimulatedHand(Crossing, ScpiInstrument):
    """What plugs in a simulated lab, and works its cross-connect as a person at a management system would.

    Whatever answers without a serial number that begins with SIM- is refused: no real instrument is worked so.
    """

    MAKERS = ("millicert",)
    MODELS = ("HAND",)
    ERRORS = ErrorPolicy.AFTER_GROUP
    unconfirmed: tuple[str, ...] = ()

    def __init__(self, session: Session, *, clock: Clock = WALL) -> None:
        """Raises WrongInstrumentError."""
        super().__init__(session, clock=clock)
        if not session.identity.simulated:
            session.close()
            raise WrongInstrumentError(
                "a simulated hand, with a serial number SIM-…", str(session.identity), "take prompted-hand on a bench"
            )
        self._size: tuple[int, int] | None = None
        self._ports: tuple[str, ...] | None = None

    @property
    def clock(self) -> Clock:
        """The time it is waited by."""
        return self._clock

    def safe_state(self) -> Safe:
        """A hand emits nothing."""
        return Safe(confirmed=True, said="a hand emits nothing")

    # -- plugging --------------------------------------------------------------------------------------------

    def patch(self, source: str, target: str) -> None:
        """Plug, and read back. Raises InstrumentFaultError, NotTakenError."""
        self._do(f"HAND:PATC {_place(source)},{_place(target)}")
        found = self.ask(f"HAND:PATC? {_place(target)}", QUOTED)
        if found != source:
            raise NotTakenError(f"{source} plugged into {target}", found or "nothing", "look at the lab's table")

    def clean(self, place: str) -> str:
        """Clean and inspect; what was seen."""
        said = self.ask(f"HAND:CLE? {_place(place)}", QUOTED, PATIENCE_S)
        self.check(f"the cleaning of {place}")
        return said

    def power_cycle(self, what: str, off: Second) -> None:
        """Take the feeds, wait, give them back; returns when it is up."""
        if not OFF_S[0] <= off <= OFF_S[1]:
            raise SettingError(f"{OFF_S[0]:g} to {OFF_S[1]:g} s without power", f"{off!r} s", "see the procedure")
        self._do(f"HAND:POW {_place(what)},{float(off)!r}", off)

    def swap_card(self, what: str, card: str) -> None:
        """Pull a card and put its spare in."""
        self._do(f"HAND:SWAP {_place(what)},{_place(card)}")

    def cut(self, place: str, on: bool) -> None:
        """Interrupt the fibre at a place, or make it whole."""
        self._do(f"HAND:CUT {_place(place)},{int(on)}")

    # -- slices of spectrum ----------------------------------------------------------------------------------

    @property
    def ports(self) -> Sequence[str]:
        """Names of a WSS's; empty when there is none. Raises PortReplyError."""
        if self._ports is None:
            self._ports = tuple(each for each in self.ask("HAND:CHAN:PORT?", csv(QUOTED)) if each)
        return self._ports

    def add(self, channel: Channel) -> None:
        """Let a slice through, and read back. Raises InstrumentFaultError, NotTakenError."""
        self._do(f"HAND:CHAN:ADD {_slice(channel)}")
        if channel not in self.present():
            raise NotTakenError(f"the channel {_slice(channel)}", "none such", "look at the lab's table")

    def remove(self, channel: Channel) -> None:
        """Block it again, and read back. Raises as `add`."""
        self._do(f"HAND:CHAN:REM {_slice(channel)}")
        if channel in self.present():
            raise NotTakenError(f"no channel {_slice(channel)}", "it is still there", "look at the lab's table")

    def present(self) -> Collection[Channel]:
        """What passes. Raises PortReplyError."""
        reply = self.query("HAND:CHAN:LIST?")
        try:
            return _slices(reply)
        except ValueError as why:
            raise PortReplyError("channels to HAND:CHAN:LIST?", str(why), "check the lab's version") from why

    # -- fibre ports -----------------------------------------------------------------------------------------

    @property
    def size(self) -> tuple[int, int]:
        """(ingress ports, egress ports) of a cross-connect worked by hand; (0, 0): none. Raises PortReplyError."""
        if self._size is None:
            found = self.ask("HAND:CONN:SIZE?", csv(WHOLE))
            if len(found) != 2 or min(found) < 0:
                raise PortReplyError("two numbers of ports", str(found), "check the lab's version")
            self._size = found[0], found[1]
        return self._size

    def _turn(self) -> AbstractContextManager[None]:
        return self.session.turn(PATIENCE_S)

    def _join(self, pairs: Mapping[int, int]) -> None:
        for ingress, egress in sorted(pairs.items()):
            self._do(f"HAND:CONN {ingress},{egress}")

    def _part(self, pairs: Mapping[int, int]) -> None:
        for ingress in sorted(pairs):
            self._do(f"HAND:DISC {ingress}")

    def _part_all(self) -> None:
        self._part(self._joined())

    def _joined(self) -> dict[int, int]:
        found = [_PAIR.fullmatch(each) for each in self.ask("HAND:CONN?", csv(QUOTED)) if each]
        pairs = {int(each[1]): int(each[2]) for each in found if each is not None}
        if len(pairs) != len(found):
            raise PortReplyError("pairs to HAND:CONN?", "something else", "check the lab's version")
        return pairs

    def _troubles(self, ingresses: Collection[int], egresses: Collection[int]) -> Iterable[str]:
        return ()

    def _do(self, message: str, longer_s: float = 0.0) -> None:
        with self.group(message, PATIENCE_S):
            self.write(message)
            self.wait(PATIENCE_S + longer_s)


def _place(name: str) -> str:
    try:
        return QUOTED.form(name)
    except (ValueError, TypeError, AttributeError):
        raise SettingError("the name of a place", repr(name), 'such as "launch-3"') from None


def _slice(channel: Channel) -> str:
    numbers = []
    for value in (channel.centre, channel.width):
        if not 0 < value < 1e16 or not float(value).is_integer():
            raise SettingError("centre and width of a channel in whole Hz", f"{value!r}", "see ITU-T G.694.1")
        numbers.append(str(int(value)))
    return ",".join((_place(channel.ingress), _place(channel.egress), *numbers))


def _slices(reply: str) -> tuple[Channel, ...]:
    """Four fields a channel: ingress, egress, centre in Hz, width in Hz. Raises ValueError."""
    fields = split(reply)
    if fields in {(), ('""',)}:
        return ()
    if len(fields) % 4:
        raise ValueError(f"{reply[:60]!r} is no list of channels")
    found = []
    for at in range(0, len(fields), 4):
        centre, width = (parse_number(each) for each in fields[at + 2 : at + 4])
        if centre is None or width is None:
            raise ValueError(f"{reply[:60]!r} has a channel without a number")
        found.append(Channel(QUOTED.parse(fields[at]), QUOTED.parse(fields[at + 1]), Hertz(centre), Hertz(width)))
    return tuple(found)
