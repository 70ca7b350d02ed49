"""The simulated lab's hand: plugs, cleans, cuts, takes power away, swaps cards, works a prompted cross-connect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drivers.capability import Channel
from drivers.clock import Clock
from drivers.errors import InstrumentError
from drivers.port import Identity
from drivers.quantity import Hertz
from drivers.simulated.matrix import FibreMatrix
from drivers.simulated.plant import Plant
from drivers.simulated.scpi import ScpiDevice, ScpiError, boolean, count, number, text
from drivers.simulated.wss import Wss

TERMINATOR: Final = "terminator"
"""A target that any number of cords may end in."""
OPEN: Final = "open"
"""A target of that name, or "line-1:open", leaves the end unplugged."""


class HandDevice(ScpiDevice):
    """What a person does at a bench, over SCPI. Every act takes ``hand_s`` before it is so.

    ====================================  ===============================================================
    HAND:PATCh "launch-3","meter-3:8"     plug the end of a cord; "open", or "line-1:open", leaves it loose;
                                          "terminator" takes any number of cords
    HAND:PATCh? "meter-3:8"               what is plugged in there, "" for nothing; "line-1:open": what was left so
    HAND:CLEan "oxc:in-3"                 unplug, clean, plug in again; HAND:CLEan? also says what was seen
    HAND:INSPect? "oxc:in-3"              what a microscope shows
    HAND:POWer "oxc",5                    both feeds away for 5 s, then back; ready when it is up
    HAND:SWAP "oxc","card-2"              pull a card, put its spare in
    HAND:CUT "line-1",1                   cut a fibre, or the cord plugged in at a place; 0 makes it whole
    HAND:CHANnel:ADD "deg-1","deg-2",<centre>,<width>    let a slice of spectrum through, Hz
    HAND:CHANnel:REMove "deg-1","deg-2",<centre>,<width>
    HAND:CHANnel:LIST?                    "deg-1","deg-2",<centre>,<width>, the next four …; "" for none
    HAND:CHANnel:PORTs?                   "deg-1","deg-2","add-1",…; "" when there is no such cross-connect
    HAND:CONNect 3,7                      join ingress 3 and egress 7 of a cross-connect between fibres by hand
    HAND:DISConnect 3
    HAND:CONNect?                         "3>7","4>1"; "" for none
    HAND:CONNect:SIZE?                    ingress ports, egress ports; 0,0 when there is no such cross-connect
    ====================================  ===============================================================

    A place or a port that there is none of is -224; what cannot be done there is -221.
    """

    def __init__(
        self,
        identity: Identity,
        clock: Clock,
        plant: Plant,
        *,
        dut: str = "",
        hand_s: float = 0.5,
        devices: Mapping[str, Any] | None = None,
    ) -> None:
        """``dut``: name of the cross-connect; ``devices``: told ``power_cycled()``, where they have it, after POWer."""
        super().__init__(identity, clock)
        self.plant = plant
        self.hand_s = hand_s
        self._devices = {} if devices is None else devices
        self._loose: dict[str, str] = {}
        element = plant.elements.get(dut)
        self.wss = element if isinstance(element, Wss) else None
        self.matrix = element if isinstance(element, FibreMatrix) else None
        self.on("HAND:PATCh", self._patch)
        self.on("HAND:PATCh?", self._patched)
        self.on("HAND:CLEan", lambda _, args: self._clean(args) and None)
        self.on("HAND:CLEan?", lambda _, args: _quoted(self._clean(args)))
        self.on("HAND:INSPect?", self._inspect)
        self.on("HAND:POWer", self._power)
        self.on("HAND:SWAP", self._swap)
        self.on("HAND:CUT", self._cut)
        self.on("HAND:CHANnel:ADD", self._add)
        self.on("HAND:CHANnel:REMove", self._remove)
        self.on("HAND:CHANnel:LIST?", self._list)
        self.on("HAND:CHANnel:PORTs?", self._ports)
        self.on("HAND:CONNect", self._connect)
        self.on("HAND:CONNect?", self._connected)
        self.on("HAND:CONNect:SIZE?", self._size)
        self.on("HAND:DISConnect", self._disconnect)

    # -- cords -----------------------------------------------------------------------------------------------

    def _patch(self, _: tuple[int, ...], args: list[str]) -> None:
        count(args, 2)
        source, target = text(args[0]), text(args[1])
        loose = target == OPEN or target.endswith(f":{OPEN}")
        try:
            self.plant.place(source, out=True)
            if not loose and target != TERMINATOR:
                self.plant.place(target, out=False)
            self.plant.unpatch(source)
            self.wait(self.hand_s)
            if loose:
                self._loose[target] = source
            elif target == TERMINATOR:
                self.plant.patch(source, self._terminator())
                self._loose[target] = source
            else:
                self.plant.patch(source, target)
        except InstrumentError as why:
            raise _refused(why) from why

    def _terminator(self) -> str:
        """One that is free."""
        ends = (f"{TERMINATOR}:{port}" for port in self.plant.elements[TERMINATOR].ins)
        return next(end for end in ends if self.plant.peer(end) is None)

    def _patched(self, _: tuple[int, ...], args: list[str]) -> str:
        count(args, 1)
        place = text(args[0])
        try:
            if place == OPEN or place.endswith(f":{OPEN}"):
                source = self._loose.get(place, "")
                return _quoted(source if source and self.plant.peer(source) is None else "")
            if place == TERMINATOR:
                source = self._loose.get(place, "")
                peer = self.plant.peer(source) if source else None
                return _quoted(source if peer is not None and peer.startswith(f"{TERMINATOR}:") else "")
            # a degree has two sides of one name; what is plugged in there enters
            peer = self.plant.peer(self.plant.place(place, out=False)) or self.plant.peer(place)
        except InstrumentError as why:
            raise _refused(why) from why
        return _quoted("" if peer is None else self.plant.spoken(peer))

    def _clean(self, args: list[str]) -> str:
        count(args, 1)
        place = text(args[0])
        try:
            self.plant.inspect(place)
            self.wait(self.hand_s)
            return self.plant.clean(place)
        except InstrumentError as why:
            raise _refused(why) from why

    def _inspect(self, _: tuple[int, ...], args: list[str]) -> str:
        count(args, 1)
        try:
            return _quoted(self.plant.inspect(text(args[0])))
        except InstrumentError as why:
            raise _refused(why) from why

    def _cut(self, _: tuple[int, ...], args: list[str]) -> None:
        count(args, 2)
        place, on = text(args[0]), boolean(args[1])
        self.wait(self.hand_s)
        try:
            self.plant.cut(place, on=on)
        except InstrumentError as why:
            raise _refused(why) from why

    # -- gear ------------------------------------------------------------------------------------------------

    def _power(self, _: tuple[int, ...], args: list[str]) -> None:
        count(args, 2)
        what, off_s = text(args[0]), number(args[1], "S", 0.0, 86_400.0)
        if what not in self.plant.elements:
            raise ScpiError(-224, what)
        self.wait(self.hand_s)
        self.plant.feeds(what, on=False)
        self.wait(off_s)
        self.wait(self.plant.feeds(what, on=True))
        told = getattr(self._devices.get(what), "power_cycled", None)
        if told is not None:
            told()

    def _swap(self, _: tuple[int, ...], args: list[str]) -> None:
        count(args, 2)
        if self.wss is None or text(args[0]) != self.wss.name:
            raise ScpiError(-221, f"{text(args[0])} has no cards")
        try:
            self.wss.pull(text(args[1]))
            self.wait(self.hand_s)
            self.wait(self.wss.insert(text(args[1])))
        except ValueError as why:
            raise ScpiError(-224, str(why)) from why

    def _slices(self) -> Wss:
        if self.wss is None:
            raise ScpiError(-221, "no cross-connect between slices of spectrum")
        return self.wss

    def _channel(self, args: list[str]) -> Channel:
        count(args, 4)
        centre, width = number(args[2], "HZ", 1e12, 1e15), number(args[3], "HZ", 1e9, 1e14)
        return Channel(text(args[0]), text(args[1]), Hertz(centre), Hertz(width))

    def _add(self, _: tuple[int, ...], args: list[str]) -> None:
        wss, channel = self._slices(), self._channel(args)
        self.wait(self.hand_s)
        try:
            wss.add(channel)
        except ValueError as why:
            raise ScpiError(-221, str(why)) from why
        self.wait(wss.spec.switch_s)

    def _remove(self, _: tuple[int, ...], args: list[str]) -> None:
        wss, wanted = self._slices(), self._channel(args)
        self.wait(self.hand_s)
        for channel in wss.present():
            if (channel.ingress, channel.egress) == (wanted.ingress, wanted.egress) and (
                abs(channel.centre - wanted.centre) < 1e6 and abs(channel.width - wanted.width) < 1e6
            ):
                self.wait(wss.remove(channel))
                return
        raise ScpiError(-221, "no such slice")

    def _list(self, _: tuple[int, ...], args: list[str]) -> str:
        count(args, 0)
        here = self._slices().present()
        said = [f"{_quoted(c.ingress)},{_quoted(c.egress)},{c.centre:.0f},{c.width:.0f}" for c in here]
        return ",".join(said) or _quoted("")

    def _ports(self, _: tuple[int, ...], args: list[str]) -> str:
        count(args, 0)
        names = () if self.wss is None else (*self.wss.degrees, *self.wss.adds, *self.wss.drops)
        return ",".join(map(_quoted, names)) or _quoted("")

    def _fibres(self) -> FibreMatrix:
        if self.matrix is None:
            raise ScpiError(-221, "no cross-connect between fibres")
        return self.matrix

    def _connect(self, _: tuple[int, ...], args: list[str]) -> None:
        count(args, 2)
        matrix = self._fibres()
        ingress, egress = int(number(args[0], "", 1, matrix.inputs)), int(number(args[1], "", 1, matrix.outputs))
        self.wait(self.hand_s)
        self.wait(matrix.connect({ingress: egress}))

    def _disconnect(self, _: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        matrix = self._fibres()
        ingress = int(number(args[0], "", 1, matrix.inputs))
        self.wait(self.hand_s)
        self.wait(matrix.disconnect([ingress]))

    def _connected(self, _: tuple[int, ...], args: list[str]) -> str:
        count(args, 0)
        return ",".join(_quoted(f"{i}>{o}") for i, o in self._fibres().connections().items()) or _quoted("")

    def _size(self, _: tuple[int, ...], args: list[str]) -> str:
        count(args, 0)
        return "0,0" if self.matrix is None else f"{self.matrix.inputs},{self.matrix.outputs}"


def _quoted(said: str) -> str:
    doubled = said.replace('"', '""')
    return f'"{doubled}"'


def _refused(why: InstrumentError) -> ScpiError:
    return ScpiError(-224, f"{why.found}; {why.remedy}")
