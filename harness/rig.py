"""The Rig: the instruments of an optical bench by the part they play, with what they read going to the journal."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

from drivers.capability import (
    Attenuator,
    ChannelConnect,
    CrossConnect,
    Device,
    DisruptionTester,
    Hand,
    MeterSpec,
    Otdr,
    PolarisationController,
    PowerLogger,
    PowerMeter,
    SpectrumAnalyzer,
    TriggeredMeter,
    TunableSource,
)
from drivers.clock import Clock
from drivers.quantity import DBm, Metre, Second, Watt, dbm
from harness.errors import BenchError, EngineError
from harness.reading import DONE, JOURNALED, PART, STEP, Batch, Cell, Unit

Kind = TypeVar("Kind")


class Journal(Protocol):
    """Where lines go that survive."""

    def append(self, kind: str, **data: Any) -> object:
        """One line, on disk when this returns."""


@dataclass(frozen=True, slots=True)
class Tap:
    """A place where light is read: one channel of a power meter."""

    name: str
    """The meter as the bench calls it."""
    meter: PowerMeter
    channel: int

    @property
    def label(self) -> str:
        """Meter and channel: meter-1:3."""
        return f"{self.name}:{self.channel}"


class StoppedError(EngineError):
    """The engineer asked to stop; what was read is kept."""


@dataclass
class Rig:
    """What a method measures with. A part that the bench does not have is None; asking for it by its method raises."""

    dut: str
    """Name of the device under test as the bench calls it."""
    kind: str
    """Kind of the profile: "fibre-matrix", "wss", "link"."""
    clock: Clock
    journal: Journal
    keep: Callable[[str, bytes], None]
    """Puts a trace into data/traces under a name, hashed in the journal."""
    devices: Mapping[str, Device]
    """Every opened instrument by name."""
    receive: Mapping[int, Tap]
    """Egress port → where its light is read."""
    launches: Sequence[int]
    """Ingress ports that have a launch cord."""
    together: bool
    """All launch cords are lit at once (a coupler), or one at a time by hand."""
    reference: Tap | None = None
    """Where a launch cord is read by itself."""
    monitor: Tap | None = None
    """Where light that comes back from the launch side is read."""
    source_monitor: Tap | None = None
    """Where a tap of the source is read, to see it drift."""
    link: str = ""
    """The link whose fibre is accepted; empty for a cross-connect."""
    odu_delays: Path | None = None
    """CSV file of ODUk delay readings."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Part → name of the instrument: source, attenuator, polariser, analyser, otdr, tester, hand."""
    observe: Callable[[str, int, int], None] = lambda *_: None
    """(what, done, of how many): progress, when a part is done."""
    stopped: Callable[[], str] = lambda: ""
    """Why to stop; empty: go on."""
    parts_done: set[tuple[str, str]] = field(default_factory=set)
    """(procedure, part) that an interrupted run has behind it."""
    utc_ns: Callable[[], int] = time.time_ns
    _part: str = ""
    _fits: set[tuple[str, str]] = field(default_factory=set)
    """(part, Protocol) that was looked at."""
    _triggered: dict[str, TriggeredMeter | None] = field(default_factory=dict)
    """By name, a meter whose readings can be begun and fetched apart."""

    # -- instruments -----------------------------------------------------------------------------------------

    def _role(self, role: str, kind: type[Kind]) -> Kind:
        name = self.roles.get(role, "")
        found = self.devices.get(name)
        # asked once: before Python 3.12 isinstance with a Protocol reads every property, and some ask the instrument
        if found is not None and (role, kind.__name__) in self._fits:
            return cast(Kind, found)
        if found is None or not isinstance(found, kind):
            raise BenchError(
                f"a {role} on the bench ({kind.__name__})",
                "none" if found is None else f"{name}, a {type(found).__name__}",
                f"name one under [fixture] {role} in the bench file",
            )
        self._fits.add((role, kind.__name__))
        return found

    def has(self, role: str) -> bool:
        """Whether the bench has an instrument for a part."""
        return self.roles.get(role, "") in self.devices

    @property
    def source(self) -> TunableSource:
        """The laser."""
        return self._role("source", TunableSource)

    @property
    def attenuator(self) -> Attenuator:
        """The attenuator behind the laser; its channel 1 is used."""
        return self._role("attenuator", Attenuator)

    @property
    def polariser(self) -> PolarisationController:
        """What turns the polarisation."""
        return self._role("polariser", PolarisationController)

    @property
    def analyser(self) -> SpectrumAnalyzer:
        """The optical spectrum analyser."""
        return self._role("analyser", SpectrumAnalyzer)

    @property
    def otdr(self) -> Otdr:
        """The reflectometer."""
        return self._role("otdr", Otdr)

    @property
    def tester(self) -> DisruptionTester:
        """Who tells how long a service was gone."""
        return self._role("tester", DisruptionTester)

    @property
    def hand(self) -> Hand:
        """Who plugs."""
        return self._role("hand", Hand)

    @property
    def crossconnect(self) -> CrossConnect:
        """The device under test between fibres."""
        return self._role("dut", CrossConnect)

    @property
    def channels(self) -> ChannelConnect:
        """The device under test between slices of spectrum."""
        return self._role("dut", ChannelConnect)

    def logger(self, tap: Tap) -> PowerLogger:
        """The tap's meter where it records by itself. Raises BenchError."""
        if not isinstance(tap.meter, PowerLogger):
            raise BenchError(f"a meter that logs at {tap.label}", type(tap.meter).__name__, "wire one that logs there")
        return tap.meter

    # -- light -----------------------------------------------------------------------------------------------

    def light(self, wavelength_pm: int, power: DBm | None = None) -> None:
        """Laser on at a vacuum wavelength, shutter open, every meter set for it."""
        self.source.set_wavelength(Metre(wavelength_pm * 1e-12))
        if power is not None:
            self.source.set_power(power)
        self.source.set_output(True)
        if self.has("attenuator"):
            self.attenuator.set_shutter(1, True)
        for meter in {id(tap.meter): tap.meter for tap in self.taps}.values():
            meter.set_wavelength(Metre(wavelength_pm * 1e-12))

    def dark(self) -> None:
        """Laser off."""
        self.source.set_output(False)

    def average(self, milliseconds: int) -> None:
        """How long every meter's readings take."""
        for meter in {id(tap.meter): tap.meter for tap in self.taps}.values():
            meter.set_averaging(Second(milliseconds / 1000))

    @property
    def taps(self) -> tuple[Tap, ...]:
        """Every place where light is read."""
        more = (self.reference, self.monitor, self.source_monitor)
        return (*self.receive.values(), *(tap for tap in more if tap is not None))

    def read(self, taps: Iterable[Tap]) -> dict[str, int | None]:
        """A fresh reading at each tap by its label, µdBm; None: its meter had none. Meters read at one time."""
        boxes: dict[str, list[Tap]] = {}
        for tap in taps:
            boxes.setdefault(tap.name, []).append(tap)
        triggered = {}
        for name, here in boxes.items():
            if name not in self._triggered:
                meter = here[0].meter
                self._triggered[name] = meter if isinstance(meter, TriggeredMeter) else None
            able = self._triggered[name]
            if able is not None and (len(boxes) > 1 or len(here) > 1):
                triggered[name] = able
        for able in triggered.values():
            able.start_read()
        found: dict[str, int | None] = {}
        for name, here in boxes.items():
            if name in triggered:
                every = triggered[name].finish_read([tap.channel for tap in here])
            elif len(here) > 1:
                every = here[0].meter.read_all()
            else:
                every = {here[0].channel: here[0].meter.read(here[0].channel)}
            found |= {tap.label: udbm(every.get(tap.channel)) for tap in here}
        return found

    def below(self, tap: Tap) -> int:
        """What a meter that sees nothing would have seen, µdBm."""
        return round(tap.meter.spec.floor_dbm * 1e6)

    # -- the journal -----------------------------------------------------------------------------------------

    def parts(self, procedure: str, names: Sequence[str]) -> Iterator[str]:
        """The parts of a procedure that are still to be done, one after the other; each is journaled when it is done.

        Raises EngineError between two of them when the engineer asked to stop.
        """
        for done, name in enumerate(names):
            if (procedure, name) not in self.parts_done:
                reason = self.stopped()
                if reason:
                    raise StoppedError(f"{procedure} to its end", reason, "--resume goes on from here")
                self._part = name
                yield name
                self.journal.append(PART, procedure=procedure, part=name)
                self.parts_done.add((procedure, name))
                self._part = ""
            self.observe(procedure, done + 1, len(names))

    def record(
        self,
        procedure: str,
        kind: str,
        unit: Unit,
        columns: Sequence[str],
        rows: Sequence[Sequence[Cell]],
        by: Iterable[Tap | str] = (),
        trace: str = "",
    ) -> None:
        """Journal readings before anything is made of them."""
        made = Batch(
            procedure=procedure,
            kind=kind,
            unit=unit,
            columns=tuple(columns),
            rows=tuple(tuple(row) for row in rows),
            at_ns=self.utc_ns(),
            by=tuple(dict.fromkeys(each.name if isinstance(each, Tap) else each for each in by)),
            trace=trace,
            part=self._part,
        )
        self.journal.append(JOURNALED, **made.as_entry())

    def step(self, action: str, subject: str, said: str = "") -> None:
        """Journal something that was done to the bench: a plug, a cleaning, a power cycle."""
        self.journal.append(STEP, action=action, subject=subject, said=said, at_ns=str(self.utc_ns()))

    def done(self, procedure: str) -> None:
        """Journal that a procedure ran to its end."""
        self.journal.append(DONE, procedure=procedure)

    # -- what the hand does, journaled -----------------------------------------------------------------------

    def patch(self, source: str, target: str) -> None:
        """A cord is plugged: places are "launch-3", "meter-1:2", "oxc:in-3", "oxc:out-7"."""
        self.hand.patch(source, target)
        self.step("patch", f"{source} → {target}")

    def clean(self, place: str) -> str:
        """A connector is cleaned and inspected; what was seen."""
        said = self.hand.clean(place)
        self.step("clean", place, said)
        return said

    def home(self) -> None:
        """Every launch cord back at its ingress port."""
        for port in self.launches:
            self.patch(f"launch-{port}", f"{self.dut}:in-{port}")


def udbm(power: Watt | None) -> int | None:
    """W as µdBm, to the nearest; None for no reading and for none that a dBm could say."""
    if power is None or not power > 0 or not math.isfinite(power):
        return None
    return round(dbm(power) * 1_000_000)


SPEC_FIELDS: Final = ("absolute_db", "linearity_db", "channel_db", "polarisation_db")


def spec_of(spec: MeterSpec) -> dict[str, int]:
    """A meter's data sheet as it is archived: µdB, the noise in fW, the floor in µdBm; uncertainties rounded up."""
    found = {f"{name.removesuffix('_db')}_udb": math.ceil(getattr(spec, name) * 1e6) for name in SPEC_FIELDS}
    return found | {"noise_fw": math.ceil(spec.noise_w * 1e15), "floor_udbm": round(spec.floor_dbm * 1e6)}
