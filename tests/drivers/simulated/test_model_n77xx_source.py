"""The simulated N771x lasers are set by frequency, and dark while they tune."""

from __future__ import annotations

import pytest

from drivers.simulated.n77xx_source import N77xxSource
from tests.drivers.simulated.small_bench_model import SmallBench


@pytest.fixture
def bench() -> SmallBench:
    return SmallBench({"laser": "N7714A"})


def test_a_frequency_is_emitted_and_read_back(bench: SmallBench) -> None:
    bench.say("laser", "SOUR2:FREQ 193.1THZ;:SOUR2:POW 8DBM;:SOUR2:POW:STAT 1")
    bench.settle(20)
    light = bench.plant.light("laser:out-2")
    assert light.frequency_hz[0] == pytest.approx(193.1e12, abs=1e9)
    assert light.total_w == pytest.approx(10**0.8 / 1000, rel=0.1)
    assert bench.plant.power("laser:out-1") == 0
    assert float(bench.say("laser", "SOUR2:FREQ?")) == 193.1e12
    assert float(bench.say("laser", "SOUR2:WAV?")) == pytest.approx(299_792_458 / 193.1e12)
    assert float(bench.say("laser", "SOUR2:POW:UNIT 1;:SOUR2:POW?")) == pytest.approx(10**0.8 / 1000)


def test_it_is_dark_until_it_is_there_and_says_so(bench: SmallBench) -> None:
    bench.say("laser", "SOUR1:POW:STAT 1")
    assert bench.say("laser", "SLOT1:OPC?") == "+0"
    assert bench.plant.power("laser:out-1") == 0
    bench.settle(9)
    assert bench.say("laser", "SLOT1:OPC?") == "+1"
    assert bench.plant.power("laser:out-1") > 0
    bench.say("laser", "SOUR1:FREQ 195THZ")
    assert bench.plant.power("laser:out-1") == 0
    bench.settle(9)
    assert bench.plant.power("laser:out-1") > 0


def test_off_is_off_at_once_also_while_it_tunes(bench: SmallBench) -> None:
    bench.say("laser", "SOUR1:POW:STAT 1")
    bench.settle(1)
    bench.say("laser", "SOUR1:POW:STAT 0")
    for _ in range(12):
        assert bench.plant.power("laser:out-1") == 0
        bench.settle()


def test_the_grid_counts_channels_from_its_reference(bench: SmallBench) -> None:
    bench.say("laser", "SOUR1:FREQ:AUTO 0;REF 193.1THZ;GRID 50GHZ;CHAN 4;OFFS 1GHZ")
    assert bench.code("laser") == 0
    assert float(bench.say("laser", "SOUR1:FREQ?")) == pytest.approx(193.301e12)
    bench.say("laser", "SOUR1:FREQ:TOGR")
    assert float(bench.say("laser", "SOUR1:FREQ?")) == pytest.approx(193.3e12)
    assert bench.say("laser", "SOUR1:FREQ:CHAN?") == "+4"


@pytest.mark.parametrize(
    ("before", "message", "code"),
    [
        ("", "SOUR1:FREQ:GRID 50GHZ", -221),  # auto mode on
        ("SOUR1:FREQ:AUTO 0", "SOUR1:FREQ 193THZ", -221),  # auto mode off
        ("SOUR1:POW:STAT 1", "SOUR1:FREQ:AUTO 0", -221),  # laser on
        ("SOUR1:FREQ:AUTO 0;:SOUR1:POW:STAT 1", "SOUR1:FREQ:CHAN 3", -221),
        ("", "SOUR1:FREQ 200THZ", -222),
        ("SOUR1:FREQ:AUTO 0", "SOUR1:FREQ:CHAN 500", -222),
        ("", "SOUR1:POW 20DBM", -222),
        ("", "SOUR5:FREQ?", -114),
        ("", "SOUR1:FREQ:BOGUS 1", -113),
    ],
)
def test_what_is_wrong_is_rejected_with_its_number(bench: SmallBench, before: str, message: str, code: int) -> None:
    if before:
        bench.say("laser", before)
        bench.settle(10)
    was = bench.say("laser", "SOUR1:FREQ?")
    assert bench.rejected("laser", message) == code
    assert bench.say("laser", "SOUR1:FREQ?") == was


def test_a_box_with_one_laser_has_empty_slots() -> None:
    bench = SmallBench({"laser": "N7711A"})
    assert bench.rejected("laser", "SOUR2:FREQ?") == -303
    laser = bench["laser"]
    assert isinstance(laser, N77xxSource)
    bench.say("laser", "SOUR1:POW:STAT 1")
    bench.settle(10)
    laser.power_cycled()
    assert bench.say("laser", "SOUR1:POW:STAT?") == "+0"
    assert bench.plant.power("laser:out") == 0
