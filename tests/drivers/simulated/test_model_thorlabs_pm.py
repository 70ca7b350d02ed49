"""The simulated Thorlabs meter sees the plant's light in W."""

from __future__ import annotations

import math

import pytest

from tests.drivers.simulated.small_bench_model import SmallBench


@pytest.fixture
def bench() -> SmallBench:
    made = SmallBench({"meter": "PM101"}, gain_db={1: 0.2})
    made.light_up()
    made.oxc.connect({1: 1})
    made.settle()
    return made


def test_a_reading_follows_the_plant_with_the_hidden_error(bench: SmallBench) -> None:
    true = bench.plant.power("meter:1")
    assert float(bench.say("meter", "MEAS:POW?")) == pytest.approx(true * 10**0.02, rel=1e-3)
    bench.say("meter", "SENS:POW:UNIT DBM")
    assert bench.say("meter", "SENS:POW:UNIT?") == "DBM"
    assert float(bench.say("meter", "READ?")) == pytest.approx(10 * math.log10(true * 1000) + 0.2, abs=0.01)


def test_averaging_takes_its_time(bench: SmallBench) -> None:
    bench.say("meter", "SENS:AVER:COUN 1000")
    before = bench.clock.now_ns()
    bench.say("meter", "MEAS:POW?")
    assert (bench.clock.now_ns() - before) / 1e9 == pytest.approx(0.3, abs=0.01)


def test_its_sensor_says_what_it_is(bench: SmallBench) -> None:
    fields = bench.say("meter", "SYST:SENS:IDN?").split(",")
    assert len(fields) == 6
    assert fields[1].startswith("SIM-")
    assert int(fields[5]) & 1


def test_wavelengths_are_in_nm(bench: SmallBench) -> None:
    bench.say("meter", "SENS:CORR:WAV 1310")
    assert float(bench.say("meter", "SENS:CORR:WAV?")) == 1310
    assert float(bench.say("meter", "SENS:CORR:WAV? MAX")) == 1700


def test_over_range_is_infinite(bench: SmallBench) -> None:
    bench.say("meter", "SENS:POW:RANG 1E-6")
    assert float(bench.say("meter", "MEAS:POW?")) == 9.9e37
    assert bench.code("meter") == -231


def test_zeroing_takes_what_is_there_for_darkness(bench: SmallBench) -> None:
    bench.oxc.clear()
    bench.settle()
    bench.say("meter", "SENS:CORR:COLL:ZERO")
    assert bench.say("meter", "SENS:CORR:COLL:ZERO:STAT?") == "1"
    bench.settle(2)
    assert abs(float(bench.say("meter", "MEAS:POW?"))) < 1e-9


@pytest.mark.parametrize(
    ("message", "code"),
    [("SENS:CORR:WAV 2000", -222), ("SENS:AVER:COUN 0", -222), ("MEAS:ENER?", -113), ("SENS:POW:UNIT V", -141)],
)
def test_what_is_wrong_is_rejected_with_its_number(bench: SmallBench, message: str, code: int) -> None:
    assert bench.rejected("meter", message) == code
