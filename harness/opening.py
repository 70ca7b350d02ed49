"""Opening an optical bench: each instrument by its driver, identified, in the part that it plays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from drivers.capability import CrossConnect, Device, PowerMeter
from drivers.catalogue import open_driver
from drivers.clock import WALL, Clock
from drivers.errors import InstrumentError
from drivers.port import Backend, Wire
from drivers.simulated.lab import Lab
from drivers.simulated.virtual import VirtualClock
from harness.bench import Bench
from harness.errors import BenchError, PreflightError
from harness.optics import Instrument
from harness.reading import Instrument as Archived
from harness.rig import Journal, Rig, Tap, spec_of
from harness.safety import Outcome, make_safe

PROMPTED: Final = "prompted-"
"""Begins the name of a driver that asks a person."""


def check_answers(bench: Bench, answers: Path | None) -> None:
    """Raises BenchError for answers that nobody will ask for, or that are no file: before anything is opened."""
    if answers is None:
        return
    if not any(each.driver.startswith(PROMPTED) for each in bench.instruments):
        raise BenchError(
            f"an instrument that asks a person ({PROMPTED}…) on bench {bench.name} for --answers",
            "none",
            "leave it out",
        )
    if not answers.exists() or answers.is_dir():
        found = "a folder" if answers.is_dir() else "none"
        raise BenchError(f"a file of answers {answers}", found, "name a text file with one answer a line")


class Opened:
    """The instruments of a bench, opened one after the other; `close` makes them safe first."""

    def __init__(
        self,
        bench: Bench,
        log: Callable[[str, Wire], None] | None = None,
        answers: Path | None = None,
        *,
        lenient: bool = False,
    ) -> None:
        """Raises PreflightError for an instrument that does not answer or is another one; what was opened is closed.

        Raises BenchError for answers that nobody asks for, or that are no file, before anything is opened.
        ``lenient``: such a one is passed over and stands in ``missing``; the others must be made safe all the same.
        """
        check_answers(bench, answers)
        self.missing: list[str] = []
        self.bench = bench
        self.lab: Lab | None = None
        self.clock: Clock = WALL
        self._log = log
        self._answers = answers
        if bench.simulation is not None and bench.simulation.lab:
            table = bench.simulation.lab
            self.clock = VirtualClock() if table.get("clock", "virtual") == "virtual" else WALL
            self.lab = Lab.of(table, self.clock)
        self.devices: dict[str, Device] = {}
        try:
            for each in bench.instruments:
                try:
                    self.devices[each.name] = self.open(each.name)
                except PreflightError as why:
                    if not lenient:
                        raise
                    self.missing.append(f"{each.name}: NOT CONFIRMED SAFE: {why}")
        except BaseException:
            self.close()
            raise

    def open(self, name: str) -> Device:
        """The instrument of that name, identified. Raises PreflightError."""
        each = next(found for found in self.bench.instruments if found.name == name)
        resource = each.resource
        backend: Backend = "@py"
        options: dict[str, Any] = dict(each.options)
        if self.lab is not None:
            resource, backend = self.lab.resources().get(name, ""), self.lab.visa
        if self._answers is not None and each.driver.startswith(PROMPTED):
            options["answers"] = str(self._answers)
        log = self._log
        try:
            device = open_driver(
                each.driver,
                resource,
                backend=backend,
                clock=self.clock,
                timeout_s=float(each.timeout_s),
                log=None if log is None else lambda wire: log(name, wire),
                options=options,
            )
        except InstrumentError as why:
            raise PreflightError(f"instrument {name}: {why.wanted}", why.found, why.remedy) from why
        if each.serial and device.identity.serial != each.serial:
            device.close()
            raise PreflightError(
                f"instrument {name} with serial number {each.serial}",
                str(device.identity),
                "correct the bench file, or put the right instrument there",
            )
        return device

    @property
    def simulated(self) -> tuple[str, ...]:
        """Facts that make it a simulation: serial numbers that begin with SIM-."""
        return tuple(
            f"{name}: simulator serial {device.identity.serial}"
            for name, device in self.devices.items()
            if device.identity.simulated
        )

    def rig(self, journal: Journal, keep: Callable[[str, bytes], None], **more: Any) -> Rig:
        """The parts that the bench's fixture gives them. Raises BenchError for one that cannot play its part."""
        bench = self.bench
        if bench.dut is None:
            raise BenchError("a device under test", "no [dut]", "name one in the bench file")
        fixture = bench.fixture
        dut = self.devices[bench.dut.instrument]
        size = dut.size[0] if isinstance(dut, CrossConnect) else 0
        return Rig(
            dut=bench.dut.instrument,
            kind=bench.dut.kind,
            clock=self.clock,
            journal=journal,
            keep=keep,
            devices=self.devices,
            receive={egress: self._tap(at) for egress, at in enumerate(fixture.receive, 1)},
            launches=bench.dut.ingress or tuple(range(1, size + 1)),
            together=fixture.launch == "coupler",
            reference=None if fixture.reference is None else self._tap(fixture.reference),
            monitor=None if fixture.monitor is None else self._tap(fixture.monitor),
            source_monitor=None if fixture.source_monitor is None else self._tap(fixture.source_monitor),
            roles={**fixture.roles, "dut": bench.dut.instrument},
            link=bench.dut.link,
            odu_delays=Path(fixture.odu_delays) if fixture.odu_delays else None,
            **more,
        )

    def _tap(self, at: tuple[str, int]) -> Tap:
        name, channel = at
        meter = self.devices[name]
        if not isinstance(meter, PowerMeter):
            raise BenchError(f"a power meter {name}", str(meter.identity), "correct [fixture] in the bench file")
        if channel > meter.channels:
            raise BenchError(
                f"channel {channel} of {name}", f"a meter with {meter.channels}", "correct [fixture] in the bench file"
            )
        return Tap(name, meter, channel)

    def safe(self) -> tuple[Outcome, ...]:
        """Lasers off, shutters closed, read back; the last opened first."""
        return make_safe(self.devices, self.open)

    def close(self) -> tuple[Outcome, ...]:
        """Make everything safe, then end every session; what came of it."""
        outcomes = self.safe()
        for device in reversed(self.devices.values()):
            device.close()
        self.devices.clear()
        return outcomes


def archived(declared: Instrument, device: Device) -> Archived:
    """The instrument as the run keeps it."""
    meter = device.spec if isinstance(device, PowerMeter) else None
    return Archived(
        name=declared.name,
        driver=declared.driver,
        identity=str(device.identity),
        serial=device.identity.serial,
        calibrated_until=declared.calibrated_until,
        unconfirmed=tuple(device.unconfirmed),
        spec={} if meter is None else spec_of(meter),
        spec_origin="" if meter is None else meter.origin,
    )


def identified(bench: Bench, devices: Mapping[str, Device]) -> tuple[Archived, ...]:
    """All instruments of the bench as the run keeps them."""
    return tuple(archived(each, devices[each.name]) for each in bench.instruments)
