"""A small bench for the tests of simulated instruments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from drivers.clock import Clock
from drivers.simulated.attenuator import Attenuator
from drivers.simulated.instrument import SimulatedInstrument
from drivers.simulated.laser import Laser
from drivers.simulated.matrix import FibreMatrix
from drivers.simulated.models import MODELS, connect_triggers
from drivers.simulated.plant import Places, Plant, Sink
from drivers.simulated.polariser import Polariser
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.tl1 import Tl1Device
from drivers.simulated.virtual import VirtualClock

NAMES = {"laser": "8164B", "polariser": "POLARISER", "voa": "N7764A", "oxc": "POLATIS", "meter": "N7745A"}


class SmallBench:
    """laser → polariser → voa:1 → oxc:in-1; oxc:out-k → meter:k. ``models`` names others for these."""

    def __init__(
        self,
        models: Mapping[str, str] | None = None,
        *,
        ports: int = 8,
        clock: Clock | None = None,
        gain_db: Mapping[int, float] | None = None,
        polarisation: Mapping[int, tuple[float, tuple[float, float, float]]] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.clock = VirtualClock() if clock is None else clock
        self.plant = Plant(self.clock, 7)
        self.names = {**NAMES, **(models or {})}
        self.laser = self.plant.add(Laser("laser", 7, channels=MODELS[self.names["laser"]].channels))
        self.polariser = self.plant.add(Polariser("polariser"))
        self.voa = self.plant.add(Attenuator("voa", 7, channels=MODELS[self.names["voa"]].channels))
        self.oxc = self.plant.add(FibreMatrix("oxc", ports, ports, 7))
        self.plant.add(Sink("meter", MODELS[self.names["meter"]].ports or ("1",)))
        self.plant.patch("laser:out", "polariser:in")
        self.plant.patch("polariser:out", "voa:in-1")
        self.plant.patch("voa:out-1", "oxc:in-1")
        for port in range(1, min(ports, len(MODELS[self.names["meter"]].ports)) + 1):
            self.plant.patch(f"oxc:out-{port}", f"meter:{port}")
        self.gain_db, self.polarisation, self.options = gain_db or {}, polarisation or {}, options or {}
        self.devices = {name: self.make(name, model, number) for number, (name, model) in enumerate(self.names.items())}
        connect_triggers(self.devices.values())

    def make(self, name: str, model: str, number: int = 99) -> SimulatedInstrument:
        """An instrument of the bench."""
        places = Places(
            name,
            seed=7,
            gain_db=self.gain_db if name == "meter" else {},
            polarisation=self.polarisation if name == "meter" else {},
        )
        made = MODELS[model]
        identity = made.identity(model, f"SIM-{number:04d}")
        return made.factory(identity, self.clock, self.plant, places, self.options.get(name, {}))

    def __getitem__(self, name: str) -> SimulatedInstrument:
        return self.devices[name]

    def say(self, name: str, *messages: str) -> str:
        """Tell an instrument; its last answer, empty for none."""
        device = self.devices[name]
        assert isinstance(device, ScpiDevice)
        answer: bytes | None = None
        for message in messages:
            answer = device.handle(message.encode("latin-1"))
        return "" if answer is None else answer.decode("latin-1")

    def block(self, name: str, message: str) -> bytes:
        """What a definite block holds."""
        device = self.devices[name]
        assert isinstance(device, ScpiDevice)
        answer = device.handle(message.encode())
        assert answer is not None, device.handle(b"SYST:ERR?")
        digits = int(answer[1:2])
        length = int(answer[2 : 2 + digits])
        assert answer[:1] == b"#"
        assert len(answer) == 2 + digits + length
        return answer[2 + digits :]

    def code(self, name: str) -> int:
        """Number of the oldest error."""
        return int(self.say(name, "SYST:ERR?").partition(",")[0])

    def rejected(self, name: str, message: str) -> int:
        """Number of the error that a message makes; it is not answered."""
        self.say(name, "*CLS")
        assert self.say(name, message) == "", message
        return self.code(name)

    def tl1(self, name: str, request: str) -> tuple[str, list[str]]:
        """COMPLD or the code of a denial, and the rows."""
        device = self.devices[name]
        assert isinstance(device, Tl1Device)
        said = device.handle(request)
        codes = re.findall(r"^M  \S+ (COMPLD|DENY|PRTL)", said, re.MULTILINE)
        assert codes, said
        if codes[0] == "DENY":
            return re.findall(r"^ {3}([A-Z]{4})\r?$", said, re.MULTILINE)[0], []
        return codes[0], re.findall(r'^\s+"(.*)"\r?$', said, re.MULTILINE)

    def settle(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        self.clock.sleep(seconds)

    def light_up(self, dbm: float = 5.0, attenuation_db: float = 0.0) -> None:
        """Laser on, shutter open."""
        self.say("laser", f"SOUR0:POW {dbm}DBM;:SOUR0:POW:STAT 1")
        self.say("voa", f"INP1:ATT {attenuation_db};:OUTP1 1")
        self.settle()
