"""Drivers and simulated instruments on one plant: what is set is there, what is read is so, on either clock."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from drivers.capability import Device
from drivers.catalogue import open_driver
from drivers.clock import WALL, Clock
from drivers.errors import InstrumentError, NoReadingError, PortClosedError, PortLostError
from drivers.keysight_816x import Keysight816x
from drivers.keysight_n77xx_attenuator import KeysightN77xxAttenuator
from drivers.keysight_n77xx_meter import KeysightN77xxMeter
from drivers.port import Backend, Identity
from drivers.quantity import DB, DBm, Metre, Second, Watt, dbm
from drivers.simulated.attenuator import Attenuator
from drivers.simulated.carrier import Carrier
from drivers.simulated.coupler import Coupler
from drivers.simulated.faults import Fault, Faults, Kind
from drivers.simulated.hislip import serve_hislip
from drivers.simulated.laser import Laser
from drivers.simulated.laser_816x import Laser816x
from drivers.simulated.n77xx_attenuator import N77xxAttenuator
from drivers.simulated.n77xx_meter import N77xxMeter
from drivers.simulated.plant import Places, Plant, Sink
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.tcp import serve_tcp
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.visa import SimulatedVisa


@dataclass
class Bench:
    """laser → attenuator → coupler 1×8 → all channels of two meters of four."""

    clock: Clock
    resources: dict[str, str] = field(default_factory=dict)
    backend: Backend = "@py"

    def __post_init__(self) -> None:
        clock, maker = self.clock, "Keysight Technologies"
        self.plant = plant = Plant(clock, 7)
        plant.add(Laser("laser", 7))
        plant.add(Attenuator("voa-1", 7, channels=4))
        plant.add(Coupler("coupler", 8, 7))
        for meter in ("meter-1", "meter-2"):
            plant.add(Sink(meter, [str(channel) for channel in range(1, 5)]))
        plant.patch("laser:out", "voa-1:in-1")
        plant.patch("voa-1:out-1", "coupler:in")
        for channel in range(1, 9):
            plant.patch(f"coupler:out-{channel}", f"meter-{(channel + 3) // 4}:{(channel - 1) % 4 + 1}")
        self.laser = Laser816x(Identity(maker, "8164B", "SIM-1", "1"), clock, plant, Places("laser"), {"locked": True})
        self.voa = N77xxAttenuator(Identity(maker, "N7764A", "SIM-2", "1"), clock, plant, Places("voa-1"))
        self.meters = [
            N77xxMeter(Identity(maker, "N7744A", f"SIM-{3 + k}", "1"), clock, plant, Places(f"meter-{k + 1}"))
            for k in range(2)
        ]
        self.laser.trigger_sinks.append(self.meters[0].take_triggers)

    @property
    def instruments(self) -> dict[str, Laser816x | N77xxAttenuator | N77xxMeter]:
        return {"laser": self.laser, "voa-1": self.voa, "meter-1": self.meters[0], "meter-2": self.meters[1]}


@pytest.fixture
def bench() -> Bench:
    made = Bench(VirtualClock())
    library = SimulatedVisa()
    made.backend = library
    made.resources = {name: library.serve(device).resource for name, device in made.instruments.items()}
    return made


@contextlib.contextmanager
def in_real_time(serve: Callable[[ScpiDevice], Carrier]) -> Iterator[Bench]:
    made = Bench(WALL)
    carriers = {name: serve(device) for name, device in made.instruments.items()}
    made.resources = {name: carrier.resource for name, carrier in carriers.items()}
    try:
        yield made
    finally:
        for carrier in carriers.values():
            carrier.close()


DRIVERS = {"laser": "keysight-816x-laser", "voa-1": "keysight-n77xx-attenuator"}


def opened(bench: Bench, name: str) -> Device:
    driver = DRIVERS.get(name, "keysight-n77xx-meter")
    return open_driver(driver, bench.resources[name], backend=bench.backend, clock=bench.clock)


def laser(bench: Bench) -> Keysight816x:
    found = opened(bench, "laser")
    assert isinstance(found, Keysight816x)
    return found


def voa(bench: Bench) -> KeysightN77xxAttenuator:
    found = opened(bench, "voa-1")
    assert isinstance(found, KeysightN77xxAttenuator)
    return found


def meter(bench: Bench, number: int = 1) -> KeysightN77xxMeter:
    found = opened(bench, f"meter-{number}")
    assert isinstance(found, KeysightN77xxMeter)
    return found


def lit(bench: Bench, db: float = 10.0) -> None:
    source, attenuator = laser(bench), voa(bench)
    source.set_power(DBm(6))
    source.set_wavelength(Metre(1550e-9))
    source.set_output(True)
    attenuator.set_attenuation(1, DB(db))
    attenuator.set_shutter(1, True)


def test_what_is_read_is_what_is_there(bench: Bench) -> None:
    lit(bench)
    here = meter(bench)
    here.set_wavelength(Metre(1550e-9))
    here.set_averaging(Second(0.1))
    single = here.read(3)
    assert single is not None
    every = here.read_all()
    for channel, power in every.items():
        assert power is not None
        assert dbm(power) == pytest.approx(dbm(Watt(bench.plant.power(f"meter-1:{channel}"))), abs=0.01)
    assert dbm(single) == pytest.approx(dbm(every[3] or single), abs=0.01)


def test_an_attenuation_is_there_when_it_is_said_to_be(bench: Bench) -> None:
    lit(bench, 0)
    attenuator = voa(bench)
    before = bench.plant.power("meter-1:1")
    for db in (20.0, 3.0, 45.0, 0.0):
        attenuator.set_attenuation(1, DB(db))
        assert attenuator.attenuation(1) == pytest.approx(db)
        fell = 10 * np.log10(before / bench.plant.power("meter-1:1"))
        assert fell == pytest.approx(db * bench.voa.element.gain[0], abs=0.01)


def test_a_reading_is_of_the_light_after_it_was_asked_for(bench: Bench) -> None:
    lit(bench)
    here, attenuator = meter(bench), voa(bench)
    here.set_averaging(Second(1))
    bright = here.read_all()[1]
    attenuator.set_shutter(1, False)
    assert bright is not None
    assert here.read_all() == dict.fromkeys(range(1, 5))
    assert here.read(1) is None
    attenuator.set_shutter(1, True)
    assert here.read_all()[1] == pytest.approx(bright, rel=0.01)


def test_two_boxes_average_at_one_time(bench: Bench) -> None:
    lit(bench)
    boxes = [meter(bench, 1), meter(bench, 2)]
    for box in boxes:
        box.set_averaging(Second(0.5))
        box.read_all()
    before = bench.clock.now_ns()
    for box in boxes:
        box.start_read()
    read = [box.finish_read() for box in boxes]
    assert bench.clock.now_ns() - before < 550_000_000
    assert all(power is not None for box in read for power in box.values())


def test_a_shutter_is_recorded_every_100_us(bench: Bench) -> None:
    lit(bench)
    here, attenuator = meter(bench), voa(bench)
    here.set_averaging(Second(0.1))
    steady = here.read_all()
    here.start_log([1, 2], 2000, Second(100e-6))
    bench.clock.sleep(0.05)
    attenuator.set_shutter(1, False)
    for channel in (1, 2):
        record = np.asarray(here.log(channel))
        assert record.shape == (2000,)
        assert record[:400] == pytest.approx(steady[channel], rel=0.02)
        assert abs(record[-200:]).max() < 1e-3 * (steady[channel] or 0)
    attenuator.set_shutter(1, True)
    assert here.read_all()[1] == pytest.approx(steady[1], rel=0.01)


def test_a_sweep_of_wavelength_is_recorded_by_the_meter(bench: Bench) -> None:
    lit(bench)
    here, source = meter(bench), laser(bench)
    sweep = source.prepare_scan(Metre(1549e-9), Metre(1551e-9), Metre(10e-12))
    assert sweep.triggers == 201
    here.start_log([1], sweep.triggers, Second(100e-6), triggered=True)
    wavelengths = source.run_scan(sweep)
    powers = here.log(1)
    assert len(wavelengths) == len(powers) == 201
    assert np.asarray(wavelengths) == pytest.approx(1549e-9 + 10e-12 * np.arange(201), abs=1e-12)
    assert min(powers) > 0.5 * max(powers) > 0


def test_more_light_than_a_port_can_measure_is_no_darkness(bench: Bench) -> None:
    lit(bench, 0)
    here = meter(bench)
    bench.meters[0].truth[2].gain = 1e4
    here.start_read()
    assert here.finish_read([1])[1] is not None
    with pytest.raises(NoReadingError, match="port 2"):
        here.read_all()
    with pytest.raises(NoReadingError, match="port 2"):
        here.read(2)
    here.set_wavelength(Metre(1550e-9))  # its own objection to the reading was taken out of the queue


def test_zeroing_names_the_ports_that_see_light(bench: Bench) -> None:
    lit(bench, 0)
    here, attenuator = meter(bench), voa(bench)
    with pytest.raises(NoReadingError, match=r"\[1, 2, 3, 4\]"):
        here.zero()
    attenuator.set_shutter(1, False)
    here.zero()
    assert here.read_all() == dict.fromkeys(range(1, 5))


def test_the_safe_state_is_dark(bench: Bench) -> None:
    lit(bench, 0)
    assert bench.plant.power("meter-1:1") > 1e-5
    for name in ("meter-1", "voa-1", "laser"):
        safe = opened(bench, name).safe_state()
        assert safe.confirmed, safe.said
    assert not bench.laser.settings.on
    assert not bench.voa.element.held(1).open
    assert bench.plant.power("meter-1:1") < 1e-12


def test_a_laser_in_a_sweep_is_switched_off_too(bench: Bench) -> None:
    lit(bench)
    source = laser(bench)
    source.prepare_scan(Metre(1500e-9), Metre(1600e-9), Metre(10e-12))
    bench.laser.handle(b"SOUR0:WAV:SWE 1")
    assert source.safe_state().confirmed
    assert not bench.laser.settings.on


def test_a_record_left_running_is_ended_by_whoever_opens_the_meter_next(bench: Bench) -> None:
    here = meter(bench)
    here.start_log([2], 1_000_000, Second(1e-3))
    here.close()
    again = meter(bench)
    assert again.read(2) is None


# -- in real time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("serve", [serve_tcp, serve_hislip])
def test_it_is_the_same_in_real_time(serve: Callable[[ScpiDevice], Carrier]) -> None:
    with in_real_time(serve) as bench:
        lit(bench)
        boxes = [meter(bench, 1), meter(bench, 2)]
        for box in boxes:
            box.set_averaging(Second(0.02))
            box.read_all()
        for box in boxes:
            box.start_read()
        read = [box.finish_read() for box in boxes]
        assert all(power is not None for box in read for power in box.values())
        here = boxes[0]
        here.start_log([1], 500, Second(100e-6))
        assert len(here.log(1)) == 500
        assert all(opened(bench, name).safe_state().confirmed for name in ("voa-1", "laser"))
        assert boxes[1].read(2) is None


# -- trouble on the way ----------------------------------------------------------------------------------------

HARMLESS = (Kind.LATE, Kind.PARTIAL, Kind.DUPLICATED, Kind.STALE, Kind.LOST, Kind.DROPPED, Kind.OVERFLOW, Kind.REFUSED)


@pytest.mark.parametrize("kind", HARMLESS)
@pytest.mark.parametrize("seed", range(5))
def test_trouble_is_an_error_and_never_a_wrong_reading(kind: Kind, seed: int) -> None:
    made = Bench(VirtualClock())
    library = SimulatedVisa()
    faults = Faults(Fault(kind, probability=0.05, seconds=3.0), seed=seed)
    made.backend = library
    made.resources = {name: library.serve(device).resource for name, device in made.instruments.items()}
    lit(made)
    truth = {channel: made.plant.power(f"meter-1:{channel}") for channel in range(1, 5)}
    library.withdraw(made.resources["meter-1"])
    made.resources["meter-1"] = library.serve(made.meters[0], faults=faults).resource
    right = wrong = 0
    here: KeysightN77xxMeter | None = None
    for _ in range(60):
        try:
            here = here or meter(made)
            here.set_averaging(Second(0.01))
            found = {1: here.read(1), **here.read_all()}
        except InstrumentError as why:
            wrong += 1
            if isinstance(why, PortLostError | PortClosedError):
                here = None
            continue
        right += 1
        for channel, power in found.items():
            assert power == pytest.approx(truth[channel], rel=0.02), channel
    assert right
    assert wrong or kind in {Kind.LATE, Kind.DUPLICATED}
