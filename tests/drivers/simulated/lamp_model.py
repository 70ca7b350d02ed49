"""A small simulated instrument of both tongues, for the tests of engine and carriers."""

from __future__ import annotations

import struct

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.scpi import (
    ScpiDevice,
    ScpiError,
    block,
    boolean,
    channel_list,
    choice,
    count,
    integer,
    number,
    text,
)
from drivers.simulated.tl1 import Tl1Command, Tl1Deny, Tl1Device, Tl1Partial

LAMP = Identity("millicert", "LAMP", "SIM-1", "1.0")


class Lamp(ScpiDevice):
    """Two lamps, a switch, a memory, and operations of every kind."""

    def __init__(self, clock: Clock, *, depth: int = 30, newest_only: bool = False) -> None:
        super().__init__(LAMP, clock, depth=depth, newest_only=newest_only)
        self.ends = b"\r\n"
        self.power_w = [0.001, 0.001]
        self.lit = [False, False]
        self.mode = "IGN"
        self.label = ""
        self.ports: list[int] = []
        self.stored = b""
        self.resets = 0
        self.on("SOURce#:POWer[:LEVel][:IMMediate]", self._set_power)
        self.on("SOURce#:POWer[:LEVel][:IMMediate]?", lambda suffixes, args: f"{self.power_w[self._at(suffixes)]:.8E}")
        self.on("SOURce#:POWer:LIMit?", lambda suffixes, args: f"limit {suffixes}")
        self.on("SOURce#[:CHANnel#]:WAVelength?", lambda suffixes, args: f"{suffixes}")
        self.on("OUTPut#[:STATe]", self._light)
        self.on("OUTPut#[:STATe]?", lambda suffixes, args: str(int(self.lit[self._at(suffixes)])))
        self.on("TRIGger:MODE", self._set_mode)
        self.on("TRIGger:MODE?", lambda suffixes, args: self.mode)
        self.on("DISPlay:LABel", self._set_label)
        self.on("DISPlay:LABel?", lambda suffixes, args: f'"{self.label}"')
        self.on("ROUTe:CLOSe", self._close_routes)
        self.on("ROUTe:CLOSe?", lambda suffixes, args: ",".join(map(str, self.ports)))
        self.on("MEMory:DATA", self._store)
        self.on("MEMory:DATA?", lambda suffixes, args: self.stored)
        self.on("TRACe?", lambda suffixes, args: struct.pack("<4f", 1.0, 2.0, 3.0, 4.0) + b"\n\r\n;")
        self.on("MEASure?", self._measure)
        self.on("SWEep", self._sweep)
        self.on("SLOT#:OPC?", lambda suffixes, args: "0" if self.busy(suffixes[0]) else "1")
        self.on("TEST2:FIX?", lambda suffixes, args: "fixed")
        self.on("BROKen", lambda suffixes, args: args[0])
        self.on("MUTE?", lambda suffixes, args: None)

    def reset(self) -> None:
        self.resets += 1
        self.power_w = [0.001, 0.001]

    def _at(self, suffixes: tuple[int, ...]) -> int:
        if suffixes[0] not in (1, 2):
            raise ScpiError(-114)
        return suffixes[0] - 1

    def _set_power(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self.power_w[self._at(suffixes)] = number(args[0], "W", 0.0, 0.01, 0.001)

    def _light(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self.lit[self._at(suffixes)] = boolean(args[0])
        self.begin(0.5, slot=suffixes[0], bits=2)

    def _set_mode(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self.mode = choice(args[0], "IGNore", "SMEasure")

    def _set_label(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self.label = text(args[0])

    def _close_routes(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1, 2)
        self.ports = channel_list(args[0])

    def _store(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self.stored = block(args[0])

    def _measure(self, suffixes: tuple[int, ...], args: list[str]) -> str:
        self.wait(number(args[0], "S", 0.0, 100.0) if args else 0.1)
        return "+1.5E-006"

    def _sweep(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        self.begin(integer(args[0], 0, 1000) if args else 3.0)


class Crossbar(Tl1Device):
    """A cross-connect of eight ports that speaks TL1."""

    def __init__(self, clock: Clock, *, login: bool = True, rows_a_block: int = 0) -> None:
        super().__init__(
            Identity("millicert", "CROSSBAR", "SIM-2", "1.0"),
            clock,
            sid="OXC",
            users={"root": "root"} if login else None,
            rows_a_block=rows_a_block,
        )
        self.patches: dict[str, str] = {}
        self.on("ENT-PATCH", self._enter)
        self.on("DLT-PATCH", self._delete)
        self.on("RTRV-PATCH", lambda command: [f"{a},{b}" for a, b in self.patches.items()])
        self.on("RTRV-NETYPE", lambda command: ["millicert,CROSSBAR,OXC,1.0"])
        self.on("OPR-SLOW", self._slow)
        self.on("RTRV-BROKEN", lambda command: [command.positional[0]])
        self.on("SET-ECHO", lambda command: [f"{command.general}|{command.positional}|{dict(command.named)}"])

    def _enter(self, command: Tl1Command) -> None:
        sides = command.aids()
        if len(sides) != 2 or len(sides[0]) != len(sides[1]):
            raise Tl1Deny("IIAC", "two lists of one length")
        done: list[str] = []
        for ingress, egress in zip(*sides, strict=True):
            if ingress in self.patches:
                if done:
                    raise Tl1Partial(done, "SNVS", "in use")
                raise Tl1Deny("SNVS", "in use")
            self.patches[ingress] = egress
            done.append(f"{ingress},{egress}")
        self.wait(0.025)

    def _delete(self, command: Tl1Command) -> None:
        for ingress in command.aids()[0]:
            self.patches.pop(ingress, None)

    def _slow(self, command: Tl1Command) -> None:
        self.wait(float(command.named.get("SECONDS", "5")))
