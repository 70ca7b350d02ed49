"""A simulated optical laboratory: one plant, the instruments around it, and how they are reached.

The standard wiring, from what the table names (``[parts]``, ``[wiring]``); what is not named is left out::

    laser → polariser → attenuator 1 → tap → coupler 1×N → launch-1 … launch-N
                                        ├ forward, 1 %    → [wiring] source_monitor
                                        └ what comes back → [wiring] monitor, also called "monitor"

    launch-k → oxc:in-k, oxc:out-k → k-th of [wiring] receive          fibre-matrix
    launch-k → k-th of [oxc] ingress, k-th of [oxc] egress → k-th of [wiring] receive    wss

Fibres lie there with loose ends; ``[wiring] patches`` plugs them, or anything else, in the beginning. Besides there are
"reflector", a straight end in air of 14.6 dB, and "terminator", which takes any number of cords and reflects nothing.

The table (a lab file, or [simulation.lab] of a bench file)::

    seed = 7                        # every true value is drawn from it
    clock = "virtual"               # or "real"
    hand_s = 0.5                    # what each act of the hand takes
    [parts]                         # part → instrument: source, attenuator, polariser, analyser, otdr, tester,
                                    # hand, dut
    [wiring]                        # receive = ["meter-1:1-8", …], reference, monitor, source_monitor, launch,
                                    # patches = {"line-1:b" = "meter-1:1"},
                                    # lines = {"line-1" = "deg-1"}: what HAND:CUT "line-1" cuts
    [bench]                         # truth of the fixture: keys of `Truth`
    [oxc]                           # kind = "fibre-matrix": ports | inputs, outputs, protection = {"1" = "2"},
                                    # protect_s; kind = "wss": degrees, adds, drops, ingress, egress,
                                    # restoration = {"deg-1" = "deg-3"}; both: protocol, and means and spreads of
                                    # what is true: keys of `MatrixSpec`, `WssSpec`
    [fibres.NAME]                   # km, alpha_db_km, group_index, cut_km, events = [{km, loss_db, reflectance_db}]
    [instruments.NAME]              # model, serial, port, carrier, options, faults
    [[defects]]                     # kind, where, size: `drivers.simulated.defects.KINDS`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np

from drivers.clock import WALL, Clock
from drivers.errors import InstrumentError
from drivers.port import Identity
from drivers.simulated.attenuator import Attenuator
from drivers.simulated.carrier import Carrier
from drivers.simulated.chance import axis, chance
from drivers.simulated.conversation import Simulated
from drivers.simulated.coupler import Coupler
from drivers.simulated.defects import KINDS, Defect, inject, meters
from drivers.simulated.faults import NONE, Faults
from drivers.simulated.fibre import Event, Fibre
from drivers.simulated.hand import HandDevice
from drivers.simulated.hislip import serve_hislip
from drivers.simulated.instrument import SimulatedInstrument
from drivers.simulated.laser import Drift, Laser
from drivers.simulated.matrix import FibreMatrix, MatrixSpec
from drivers.simulated.models import MODELS, Model, connect_triggers
from drivers.simulated.plant import Element, Places, Plant, Plugs, Sink
from drivers.simulated.polariser import Polariser
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.serial import serve_serial
from drivers.simulated.switch1xn import Switch
from drivers.simulated.table import Table, TableError
from drivers.simulated.tap import Tap
from drivers.simulated.tcp import serve_tcp, serve_telnet
from drivers.simulated.tl1 import Tl1Device
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.visa import SimulatedVisa
from drivers.simulated.wss import Wss, WssSpec

PARTS: Final = ("source", "attenuator", "polariser", "analyser", "otdr", "tester", "hand", "dut")
CARRIERS: Final = ("tcp", "hislip", "tl1", "serial", "telnet")
HAND: Final = "HAND"
REFLECTOR_DB: Final = 14.6
"""Return loss of a straight end of glass in air: ((n - 1)/(n + 1))² with n = 1.46."""
PROTOCOLS: Final[Mapping[str, str]] = {
    "polatis-scpi": "POLATIS",
    "polatis-tl1": "POLATIS-TL1",
    "calient-tl1": "CALIENT",
    "prompted": HAND,
}
"""What a cross-connect speaks → the model of its instrument; prompted: a hand of its own name works it."""

Spec = TypeVar("Spec", MatrixSpec, WssSpec, "Truth")


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of the bench around the device under test: keys of [bench]."""

    plug_loss_db: float = 0.10
    plug_sigma_db: float = 0.02
    plug_return_db: float = 60.0
    plug_return_sigma_db: float = 1.0
    open_return_db: float = 58.0
    """Of a loose angled end."""
    coupler_excess_db: float = 0.5
    coupler_spread_db: float = 0.2
    coupler_pdl_db: float = 0.05
    tap_share: float = 0.01
    laser_drift_db_h: float = 0.0
    laser_wander_db: float = 0.005
    laser_drift_pm_h: float = 0.0
    laser_wander_pm: float = 0.5
    laser_period_s: float = 1800.0
    laser_sse_db_nm: float = 0.0
    """Signal over spontaneous emission in 1 nm; 0: the laser has none."""
    meter_sigma_db: float = 0.01
    """Spread of the calibration of a meter's channels."""
    meter_polarisation_db: float = 0.005
    """Response of a channel to polarisation, peak to peak."""


class Served:
    """Every instrument of a lab on its carrier, until `close`."""

    def __init__(self, carriers: Mapping[str, Carrier]) -> None:
        self.carriers = dict(carriers)

    def resources(self) -> dict[str, str]:
        """Instrument → VISA resource name."""
        return {name: carrier.resource for name, carrier in self.carriers.items()}

    def close(self) -> None:
        """End all of it; safe to call twice."""
        for carrier in self.carriers.values():
            carrier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


class Lab:
    """A laboratory. Everything true of it is public: ``plant.elements``, ``gain_db``; who measures does not look."""

    def __init__(self, clock: Clock, seed: int, plugs: Plugs) -> None:
        self.clock = clock
        self.plant = Plant(clock, seed, plugs)
        self.devices: dict[str, Simulated] = {}
        self.visa = SimulatedVisa()
        self.dut = "oxc"
        """Name of the device under test."""
        self.gain_db: dict[str, float] = {}
        """Channel of a meter ("meter-1:3") → what it shows less what is there."""
        self.defects: tuple[Defect, ...] = ()
        self._reached: dict[str, str] = {}
        self._carriers: dict[str, tuple[str, int, Faults]] = {}

    @classmethod
    def of(cls, table: Mapping[str, Any], clock: Clock | None = None) -> Lab:
        """The lab of a table. ``clock`` None: the one that the table names.

        Raises TableError that names the key and what it may be, and PlaceError for a place that there is none of.
        """
        return _Builder(Table(table, ""), clock).lab

    def put(self, name: str, device: Simulated, carrier: str = "tcp", port: int = 0, faults: Faults = NONE) -> None:
        """One more instrument, in the in-process library at once, on its carrier when the lab is served.

        Raises ValueError for a serial number that another has.
        """
        self.devices[name] = device
        self._carriers[name] = (carrier, port, faults)
        self._reached[name] = self.visa.serve(device, faults=faults).resource

    def resources(self) -> dict[str, str]:
        """Instrument → resource name in the in-process library ``visa``."""
        return dict(self._reached)

    def serve(self) -> Served:
        """Every instrument on the carrier and port that the table gives it (0: a free one), on this host only.

        Raises OSError for a port that is taken; nothing is served then.
        """
        made: dict[str, Carrier] = {}
        try:
            for name, device in self.devices.items():
                made[name] = self._carried(name, device)
        except BaseException:
            Served(made).close()
            raise
        return Served(made)

    def _carried(self, name: str, device: Simulated) -> Carrier:
        kind, port, faults = self._carriers[name]
        if kind == "serial":
            return serve_serial(device, faults)
        if kind == "telnet":
            return serve_telnet(device, faults, port=port)
        if kind == "hislip" and isinstance(device, ScpiDevice):
            return serve_hislip(device, faults, port=port)
        return serve_tcp(device, faults, port=port)


def channels(text: str, where: str) -> list[str]:
    """As places: "meter-1:1-8". Raises TableError."""
    name, _, span = text.rpartition(":")
    first, dash, last = span.partition("-")
    if not (name and first.isdecimal() and (last.isdecimal() if dash else not last)):
        raise TableError(f'{where}: channels as "meter-1:3" or "meter-1:1-8"', repr(text), "correct the lab table")
    return [f"{name}:{channel}" for channel in range(int(first), int(last or first) + 1)]


class _Builder:
    """Makes a lab out of a table, piece by piece."""

    def __init__(self, table: Table, clock: Clock | None) -> None:
        self.table = table
        self.seed = table.whole("seed", 1)
        named = table.text("clock", "virtual", ("virtual", "real"))
        self.hand_s = table.number("hand_s", 0.5, 0.0, 3600.0)
        bench = table.table("bench")
        self.truth = _spec(bench, Truth())
        bench.done()
        truth = self.truth
        self.lab = Lab(
            (VirtualClock() if named == "virtual" else WALL) if clock is None else clock,
            self.seed,
            Plugs(
                truth.plug_loss_db,
                truth.plug_sigma_db,
                truth.plug_return_db,
                truth.plug_return_sigma_db,
                truth.open_return_db,
            ),
        )
        self.plant = self.lab.plant
        parts = table.table("parts")
        self.parts = {part: parts.text(part) for part in PARTS if parts.has(part)}
        parts.done()
        self.lab.dut = self.parts.get("dut", "oxc")
        every = table.table("instruments")
        self.instruments = {name: every.table(name) for name in every.listed()}
        self.models = {name: self._model(name, each) for name, each in self.instruments.items()}
        for part, name in self.parts.items():
            if part != "dut" and name not in self.instruments:
                raise TableError(
                    f"parts.{part}: {' | '.join(self.instruments) or 'an instrument'}", repr(name), "add [instruments]"
                )
        self._elements()
        self._fibres()
        self._crossconnect()
        self._wire()
        self._break()
        self._devices()
        table.done()

    def _model(self, name: str, each: Table) -> str:
        # an instrument's name is the name of its element in the plant: a place is "name:port"
        if not name or ":" in name or name in ("tap", "coupler", "reflector", "terminator", "open"):
            raise TableError("a name for an instrument", repr(name), "none with a colon, nor tap, coupler, open …")
        return each.text("model", None, (*sorted(MODELS), HAND))

    # -- the plant -------------------------------------------------------------------------------------------

    def _elements(self) -> None:
        for name, model in self.models.items():
            element = self._element(name, model)
            if element is not None:
                self.plant.add(element)
        # with the mean loss of its connector, there and back, what a straight end of glass in air sends back
        self.plant.add(Sink("reflector", ("in",), REFLECTOR_DB - 2 * self.truth.plug_loss_db))
        self.plant.add(Sink("terminator", tuple(str(k + 1) for k in range(512)), 80.0))
        self.plant.alias("reflector", "reflector:in")

    def _element(self, name: str, model: str) -> Element | None:
        """What stands in the plant for an instrument; the device under test is made by `_crossconnect`."""
        truth, known = self.truth, MODELS.get(model)
        kind = "" if known is None else known.element
        if known is None or kind in ("", "FibreMatrix", "Wss"):
            return None
        if kind == "Laser":
            drift = Drift(
                truth.laser_drift_db_h,
                truth.laser_wander_db,
                truth.laser_drift_pm_h,
                truth.laser_wander_pm,
                truth.laser_period_s,
            )
            laser = Laser(name, self.seed, channels=known.channels, drift=drift)
            laser.sse_db_nm = truth.laser_sse_db_nm or None
            return laser
        if kind == "Attenuator":
            return Attenuator(name, self.seed, channels=known.channels)
        if kind == "Switch":
            return Switch(name, known.channels, self.seed)
        if kind == "Polariser":
            return Polariser(name)
        if kind != "Sink":
            raise TableError(f"instruments.{name}.model with an element of the plant", kind, "none such can be wired")
        return Tester(name, known.ports) if "out" in known.ports else Sink(name, known.ports, 55.0)

    def _fibres(self) -> None:
        every = self.table.table("fibres")
        for name in every.listed():
            each = every.table(name)
            km = each.number("km", None, 1e-3, 1000.0)
            events = []
            for row in each.tables("events"):
                level = row.number("reflectance_db", None, -90.0, 0.0) if row.has("reflectance_db") else None
                events.append(Event(row.number("km", None, 0.0, km), row.number("loss_db", None, -5.0, 60.0), level))
                row.done()
            try:
                fibre = Fibre(
                    name,
                    km,
                    alpha_db_km=each.number("alpha_db_km", 0.2, 0.01, 10.0),
                    group_index=each.number("group_index", 1.4682, 1.0, 2.0),
                    events=events,
                    cut_km=each.number("cut_km", None, 0.0, km) if each.has("cut_km") else None,
                )
            except ValueError as why:
                raise TableError(f"fibres.{name}.events within its length", str(why), "correct the lab table") from why
            each.done()
            self.plant.add(fibre)

    def _crossconnect(self) -> None:
        self.ins: list[str] = []
        self.outs: list[str] = []
        if not self.table.has("oxc"):
            return
        oxc, name = self.table.table("oxc"), self.lab.dut
        kind = oxc.text("kind", None, ("fibre-matrix", "wss"))
        protocol = oxc.text("protocol", "", tuple(PROTOCOLS))
        model = self.models.get(name, "")
        if protocol and model != PROTOCOLS[protocol]:
            raise TableError(
                f"instruments.{name}.model: {PROTOCOLS[protocol]}",
                repr(model),
                f"a cross-connect that speaks {protocol}",
            )
        plug_db = self.truth.plug_loss_db
        if kind == "fibre-matrix":
            ports = oxc.whole("ports", 16, 1, 512)
            inputs, outputs = oxc.whole("inputs", ports, 1, 512), oxc.whole("outputs", ports, 1, 512)
            protection = oxc.names("protection")
            protect_s = oxc.number("protect_s", 0.02, 0.0, 60.0)
            spec = _spec(oxc, MatrixSpec())
            matrix = self.plant.add(FibreMatrix(name, inputs, outputs, self.seed, spec, plug_db=plug_db))
            matrix.protect_s = protect_s
            for working, spare in protection.items():
                if not all(port.isdecimal() and 1 <= int(port) <= inputs for port in (working, spare)):
                    raise TableError(
                        f"oxc.protection: inputs 1 to {inputs}", f"{working} = {spare!r}", "correct the lab table"
                    )
                matrix.protection[int(working)] = int(spare)
            self.ins, self.outs = [f"{name}:{port}" for port in matrix.ins], [f"{name}:{port}" for port in matrix.outs]
        else:
            degrees, adds, drops = (
                oxc.whole(key, 4, low, 64) for key, low in (("degrees", 2), ("adds", 0), ("drops", 0))
            )
            ingress, egress, restoration = oxc.texts("ingress"), oxc.texts("egress"), oxc.names("restoration")
            spec_wss = _spec(oxc, WssSpec())
            wss = self.plant.add(Wss(name, degrees, adds, drops, self.seed, spec_wss, plug_db=plug_db))
            for key, given, allowed in (("ingress", ingress, wss.ingress), ("egress", egress, wss.egress)):
                for port in given:
                    if port not in allowed:
                        raise TableError(f"oxc.{key}: {' | '.join(allowed)}", repr(port), "correct the lab table")
            for port in (*restoration, *restoration.values()):
                if port not in wss.ingress:
                    raise TableError(f"oxc.restoration: {' | '.join(wss.ingress)}", repr(port), "correct the lab table")
            wss.restoration.update(restoration)
            wss.fed, wss.seen = tuple(ingress) or wss.ingress, tuple(egress) or wss.egress
            self.ins = [f"{name}:{port}" for port in wss.fed]
            self.outs = [f"{name}:{port}" for port in wss.seen]
        oxc.done()

    def _wire(self) -> None:
        wiring, plant = self.table.table("wiring"), self.plant
        launch = wiring.text("launch", "coupler", ("coupler", "hand"))
        receive = [place for text in wiring.texts("receive") for place in channels(text, "wiring.receive")]
        single = {key: wiring.text(key, "") for key in ("reference", "monitor", "source_monitor")}
        patches, lines = wiring.names("patches"), wiring.names("lines")
        wiring.done()
        for key, text in single.items():
            if text and len(channels(text, f"wiring.{key}")) != 1:
                raise TableError(f"wiring.{key}: one channel", repr(text), "correct the lab table")
        if "source" in self.parts:
            self._launch(launch, single)
        for place in (*receive, *filter(None, single.values())):
            plant.place(place, out=False)
        launches = len(self.ins) if launch == "coupler" else min(1, len(self.ins))
        if "source" in self.parts:
            for number in range(launches):
                plant.patch(f"launch-{number + 1}", self.ins[number])
        for source, target in zip(self.outs, receive, strict=False):
            plant.patch(source, target)
        for source, target in patches.items():
            plant.patch(source, target)
        for name, port in lines.items():
            plant.alias(name, plant.place(f"{self.lab.dut}:{port}", out=False))

    def _launch(self, launch: str, single: Mapping[str, str]) -> None:
        plant, truth, parts = self.plant, self.truth, self.parts
        at = plant.place(f"{parts['source']}:out", out=True)
        for part, ins, out in (("polariser", "in", "out"), ("attenuator", "in-1", "out-1")):
            if part in parts:
                plant.splice(at, f"{parts[part]}:{ins}")
                at = f"{parts[part]}:{out}"
        plant.add(Tap("tap", share=truth.tap_share))
        plant.splice(at, "tap:in")
        count = max(1, len(self.ins))
        if launch == "coupler":
            plant.add(
                Coupler(
                    "coupler",
                    count,
                    self.seed,
                    excess_db=truth.coupler_excess_db,
                    spread_db=truth.coupler_spread_db,
                    pdl_db=truth.coupler_pdl_db,
                )
            )
            plant.splice("tap:out", "coupler:in")
        for number in range(1, count + 1):
            plant.alias(f"launch-{number}", f"coupler:out-{number}" if launch == "coupler" else "tap:out")
        for key, port in (("monitor", "back"), ("source_monitor", "forward")):
            if single[key]:
                plant.patch(f"tap:{port}", single[key])
        if single["monitor"]:
            plant.alias("monitor", plant.place(single["monitor"]))

    def _break(self) -> None:
        found = []
        for row in self.table.tables("defects"):
            kind = row.text("kind", None, tuple(KINDS))
            size = row.number("size") if row.has("size") else None
            found.append(Defect(kind, row.text("where", ""), size))
            row.done()
        for defect in found:
            inject(self.plant, self.lab.dut, defect)
        self.lab.defects = tuple(found)

    # -- instruments -----------------------------------------------------------------------------------------

    def _devices(self) -> None:
        lab = self.lab
        off = meters(list(lab.defects))
        for place in off:
            if not _channels(MODELS.get(self.models.get(place.rpartition(":")[0], ""))):
                raise TableError(
                    "meter-out-of-calibration where: a channel of a meter", repr(place), "correct [[defects]]"
                )
            self.plant.place(place)
        for number, (name, each) in enumerate(self.instruments.items(), 1):
            model = self.models[name]
            serial = each.text("serial", f"SIM-{number:04d}")
            if not serial.startswith("SIM-"):
                raise TableError(
                    f'instruments.{name}.serial: a text that begins with "SIM-"',
                    repr(serial),
                    "nothing simulated may pass for real",
                )
            carrier = each.text("carrier", "tl1" if model.startswith(("CALIENT", "POLATIS-TL1")) else "tcp", CARRIERS)
            faults = NONE
            rows = each.tables("faults")
            if rows:
                try:
                    faults = Faults.of([row.rest() for row in rows], seed=self.seed)
                except ValueError as why:
                    raise TableError(f"[[instruments.{name}.faults]]", str(why), "correct the lab table") from why
            port = each.whole("port", 0, 0, 65_535)
            options = each.table("options").rest()
            each.done()
            device: Simulated
            if model == HAND:
                identity = Identity("millicert", HAND, serial, "1")
                device = HandDevice(
                    identity, lab.clock, self.plant, dut=lab.dut, hand_s=self.hand_s, devices=lab.devices
                )
            else:
                device = self._device(name, serial, options, off)
            lab.put(name, device, carrier, port, faults)
        connect_triggers(device for device in lab.devices.values() if isinstance(device, SimulatedInstrument))

    def _device(self, name: str, serial: str, options: dict[str, Any], off: Mapping[str, float]) -> Simulated:
        model = self.models[name]
        known = MODELS[model]
        places = self._places(name, known, options, off)
        try:
            made = known.factory(known.identity(model, serial), self.lab.clock, self.plant, places, options)
        except (InstrumentError, ValueError, KeyError) as why:
            raise TableError(f"instruments.{name}: a {model} that works", str(why), "correct the lab table") from why
        if not isinstance(made, ScpiDevice | Tl1Device):
            raise TableError(f"instruments.{name}: a model with a carrier", type(made).__name__, "take another model")
        return made

    def _places(self, name: str, known: Model, options: dict[str, Any], off: Mapping[str, float]) -> Places:
        gains, responses = {}, {}
        for channel in _channels(known):
            source = chance(self.seed, "meter", name, channel)
            gain = float(np.clip(source.normal(), -2.0, 2.0)) * self.truth.meter_sigma_db
            gains[channel] = gain + off.get(f"{name}:{channel}", 0.0)
            x, y, z = axis(source)
            responses[channel] = (self.truth.meter_polarisation_db, (float(x), float(y), float(z)))
            self.lab.gain_db[f"{name}:{channel}"] = gains[channel]
        return Places(name, self.seed, gains, responses, options)


class Tester(Sink):
    """A reflectometer's port "out", and the inputs of a tester in the same frame."""

    def __init__(self, name: str, ports: Sequence[str]) -> None:
        super().__init__(name, ("out",), 45.0, two_way=True)
        self.ins = tuple(port for port in ports if port != "out")


def _channels(known: Model | None) -> range:
    """Channels of a power meter, from 1; of anything else none."""
    meter = known is not None and known.element == "Sink" and all(port.isdecimal() for port in known.ports)
    return range(1, len(known.ports) + 1 if known is not None and meter else 1)


def _spec(table: Table, default: Spec) -> Spec:
    """Its fields from the keys of the same names."""
    found: dict[str, Any] = {}
    for field in fields(default):
        value = getattr(default, field.name)
        if isinstance(value, bool):
            found[field.name] = table.flag(field.name, value)
        elif isinstance(value, int):
            found[field.name] = table.whole(field.name, value, 1, 20)
        else:
            found[field.name] = table.number(field.name, value, -1e4, 1e4)
    return type(default)(**found)
