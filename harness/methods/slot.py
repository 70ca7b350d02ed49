"""Light through a slot: cords where a way begins and ends, the channel made, and the light that confirms it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from drivers.capability import Channel
from drivers.errors import InstrumentError
from drivers.quantity import Hertz
from harness.errors import BenchError
from harness.figures.slot import KEYS, Confirmed, Slot, Way
from harness.reading import Cell
from harness.rig import Rig, Tap

CONFIRM: Final = (*KEYS, "before", "value", "below", "rise")
PLUG_S: Final = 0.5
"""Time that one plugging is reckoned with when nobody has measured it: a simulated hand's; a person takes a minute."""


def inlets(rig: Rig, named: Sequence[str]) -> list[str]:
    """Ports that launch cords 1, 2 … are plugged into."""
    return list(named) or [port for port in rig.channels.ports if not port.startswith("drop-")]


def outlets(rig: Rig, named: Sequence[str]) -> list[str]:
    """Ports that feed receiving channels 1, 2 … in their order."""
    return list(named) or [port for port in rig.channels.ports if not port.startswith("add-")]


def standard_ways(rig: Rig) -> tuple[Way, ...]:
    """Every degree to every other, every add port to every degree, every degree to every drop port."""
    ports = list(rig.channels.ports)
    degrees, adds, drops = ([p for p in ports if p.startswith(f"{kind}-")] for kind in ("deg", "add", "drop"))
    pairs = [(a, b) for a in degrees for b in degrees if a != b]
    pairs += [(a, b) for a in adds for b in degrees] + [(a, b) for a in degrees for b in drops]
    return tuple(Way(ingress=a, egress=b) for a, b in pairs)


def cells(way: Way, slot: Slot) -> tuple[Cell, ...]:
    """What the columns `KEYS` say."""
    return (way.ingress, way.egress, slot.centre_mhz, slot.width_mhz)


def named(way: Way, slot: Slot) -> str:
    """The part of the work that is one way in one slot."""
    return " ".join(str(each) for each in cells(way, slot))


class Cords:
    """Which cord sits where at a node's ports; one is moved by hand where a port has none."""

    def __init__(self, rig: Rig, ingress: Sequence[str], egress: Sequence[str]) -> None:
        """Raises BenchError when no cord is there to launch light, or no channel to receive it."""
        if not rig.launches:
            raise BenchError("launch cords", "none", "name the ingress ports that have one under [dut] ingress")
        if not rig.receive:
            raise BenchError("receiving channels", "none", "name them under [fixture] receive in the bench file")
        self.rig = rig
        self._inlets = dict(enumerate(inlets(rig, ingress), 1))
        self._outlets = dict(enumerate(outlets(rig, egress), 1))
        standing = rig.launches if rig.together else rig.launches[:1]
        self._in = {self._inlets[cord]: cord for cord in standing if cord in self._inlets}
        self._out = {self._outlets[at]: at for at in rig.receive if at in self._outlets}
        self._moved: set[str] = set()

    def launch(self, port: str) -> int:
        """The launch cord that lights an ingress port."""
        if port not in self._in:
            cord = self.rig.launches[0]
            self.rig.patch(f"launch-{cord}", f"{self.rig.dut}:{port}")
            self._in = {p: c for p, c in self._in.items() if c != cord} | {port: cord}
            self._moved.add("in")
        return self._in[port]

    def tap(self, port: str) -> Tap:
        """The receiving channel that an egress port feeds."""
        if port not in self._out:
            at = min(self.rig.receive)
            self.rig.patch(f"{self.rig.dut}:{port}", self.rig.receive[at].label)
            self._out = {p: a for p, a in self._out.items() if a != at} | {port: at}
            self._moved.add("out")
        return self.rig.receive[self._out[port]]

    def rejoin(self, egress: str, ingress: str) -> None:
        """A receiving and a launch cord back where a cord between two passes lay."""
        if ingress in self._in:
            self.rig.patch(f"launch-{self._in[ingress]}", f"{self.rig.dut}:{ingress}")
        if egress in self._out:
            self.rig.patch(f"{self.rig.dut}:{egress}", self.rig.receive[self._out[egress]].label)

    def home(self) -> None:
        """Whatever was moved back to where it stands."""
        if "in" in self._moved:
            cord = self.rig.launches[0]
            if cord in self._inlets:
                self.rig.patch(f"launch-{cord}", f"{self.rig.dut}:{self._inlets[cord]}")
        if "out" in self._moved:
            at = min(self.rig.receive)
            if at in self._outlets:
                self.rig.patch(f"{self.rig.dut}:{self._outlets[at]}", self.rig.receive[at].label)
        self._moved.clear()


def channel(way: Way, slot: Slot) -> Channel:
    """The channel as the gear is told it."""
    return Channel(way.ingress, way.egress, Hertz(slot.centre_mhz * 1e6), Hertz(slot.width_mhz * 1e6))


def listed(rig: Rig, wanted: Channel) -> bool:
    """Whether the gear, or the person at it, says that a channel is there; to the nearest MHz."""
    return any(
        (each.ingress, each.egress) == (wanted.ingress, wanted.egress)
        and abs(each.centre - wanted.centre) < 1e6
        and abs(each.width - wanted.width) < 1e6
        for each in rig.channels.present()
    )


def make(rig: Rig, way: Way, slot: Slot) -> None:
    """Make a channel unless it is there."""
    wanted = channel(way, slot)
    if not listed(rig, wanted):
        rig.channels.add(wanted)
        rig.step("channel", f"{way.ingress} to {way.egress} {slot.centre_mhz}/{slot.width_mhz} MHz", "made")


def unmake(rig: Rig, way: Way, slot: Slot) -> None:
    """Block a channel unless it is blocked."""
    wanted = channel(way, slot)
    if listed(rig, wanted):
        rig.channels.remove(wanted)
        rig.step("channel", f"{way.ingress} to {way.egress} {slot.centre_mhz}/{slot.width_mhz} MHz", "blocked")


Chain = tuple[Sequence[tuple[Way, Slot]], Tap]
"""Channels that light passes one after the other, and where it is read behind them."""


@contextmanager
def passing(rig: Rig, procedure: str, settings: Confirmed, chains: Sequence[Chain]) -> Iterator[None]:
    """Channels made, their light looked for, and blocked again on every way out: what is left stands in others' way."""
    channels = [each for chain, _ in chains for each in chain]
    try:
        for chain, tap in chains:
            _confirm(rig, procedure, settings, chain, tap)
        yield
    except BaseException:
        for way, slot in channels:
            # what went wrong first is what has to be told
            with suppress(InstrumentError):
                unmake(rig, way, slot)
        raise
    for way, slot in channels:
        unmake(rig, way, slot)


def _confirm(rig: Rig, procedure: str, settings: Confirmed, chain: Sequence[tuple[Way, Slot]], tap: Tap) -> None:
    """Block, read, make, read: light must rise. Asked once more where it does not: a person may have forgotten."""
    (first, slot), (last, _) = chain[0], chain[-1]
    rig.light(slot.pm)
    for again in (True, False):
        for way, each in chain:
            unmake(rig, way, each)
        rig.clock.sleep(settings.settle_ms / 1000)
        before, _ = read(rig, tap)
        for way, each in chain:
            make(rig, way, each)
        rig.clock.sleep(settings.settle_ms / 1000)
        after, _ = read(rig, tap)
        if rose(before, rig.below(tap), after, settings.rise_udb):
            break
        rig.step("not-confirmed", f"{first.ingress} to {last.egress}", "the light did not rise" if again else "again")
    row = (
        first.ingress,
        last.egress,
        slot.centre_mhz,
        slot.width_mhz,
        before,
        after,
        rig.below(tap),
        settings.rise_udb,
    )
    rig.record(procedure, "confirm", "udBm", CONFIRM, [row], [tap])


def rose(before: int | None, floor: int, after: int | None, rise_udb: int) -> bool:
    """Whether light tells that something was let through."""
    return after is not None and after - (floor if before is None else before) >= rise_udb


def read(rig: Rig, tap: Tap) -> tuple[int | None, int | None]:
    """(power at a tap, what the source's own tap saw at the same time), µdBm; None: no reading, or no such tap."""
    watch = rig.source_monitor
    found = rig.read([tap] if watch is None else [tap, watch])
    return found[tap.label], None if watch is None else found[watch.label]


def witnesses(rig: Rig, tap: Tap) -> list[Tap | str]:
    """Who gave such a reading."""
    return [tap] if rig.source_monitor is None else [tap, rig.source_monitor]
