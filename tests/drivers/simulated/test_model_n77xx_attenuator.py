"""The simulated N776x attenuates the plant's light as its guide says."""

from __future__ import annotations

import math

import pytest

from drivers.simulated.n77xx_attenuator import N77xxAttenuator
from tests.drivers.simulated.small_bench_model import SmallBench


@pytest.fixture
def bench() -> SmallBench:
    made = SmallBench()
    made.light_up()
    return made


def out_dbm(bench: SmallBench) -> float:
    return 10 * math.log10(bench.plant.power("voa:out-1") * 1000)


def test_the_light_goes_down_by_what_is_set(bench: SmallBench) -> None:
    before = out_dbm(bench)
    bench.say("voa", "INP1:ATT 14DB")
    bench.settle()
    assert before - out_dbm(bench) == pytest.approx(14 * bench.voa.gain[0], abs=1e-6)
    assert float(bench.say("voa", "INP1:ATT?")) == 14


def test_either_slot_of_an_attenuator_is_it(bench: SmallBench) -> None:
    bench.say("voa", "INP2:ATT 7")
    assert float(bench.say("voa", "INP1:ATT?")) == 7
    assert float(bench.say("voa", "INP3:ATT?")) == 0


def test_slot_opc_tells_when_it_has_settled(bench: SmallBench) -> None:
    assert bench.say("voa", "SLOT1:OPC?") == "+1"
    bench.say("voa", "INP1:ATT:SPE 10;:INP1:ATT 20")
    assert bench.say("voa", "SLOT1:OPC?;:SLOT2:OPC?;:SLOT3:OPC?;*OPC?") == "+0;+0;+1;0"
    before = out_dbm(bench)
    bench.settle(1)
    assert bench.say("voa", "SLOT1:OPC?") == "+0"
    assert abs(out_dbm(bench) - before) > 1
    bench.settle(5)
    assert bench.say("voa", "SLOT1:OPC?") == "+1"
    settled = out_dbm(bench)
    bench.settle(10)
    assert out_dbm(bench) == pytest.approx(settled, abs=0.002)


def test_an_offset_moves_the_display_alone(bench: SmallBench) -> None:
    bench.say("voa", "INP1:ATT 10")
    bench.settle()
    before = out_dbm(bench)
    bench.say("voa", "INP1:OFFS 3")
    assert float(bench.say("voa", "INP1:ATT?")) == 13
    assert out_dbm(bench) == before
    assert float(bench.say("voa", "INP1:ATT? MAX")) == 48
    bench.say("voa", "INP1:OFFS:DISP")
    assert float(bench.say("voa", "INP1:ATT?")) == 0


def test_a_shutter_stops_the_light_and_is_closed_after_rst(bench: SmallBench) -> None:
    lit = out_dbm(bench)
    assert bench.say("voa", "OUTP1?") == "+1"
    bench.say("voa", "OUTP1 OFF")
    assert lit - out_dbm(bench) > 60
    assert bench.say("voa", "OUTP1:STAT?") == "+0"
    bench.say("voa", "OUTP1 ON", "*RST")
    assert bench.say("voa", "OUTP1?") == "+0"
    assert lit - out_dbm(bench) > 60


def test_opening_takes_as_long_as_the_filter_needs(bench: SmallBench) -> None:
    bench.say("voa", "OUTP1 0")
    bench.settle()
    bench.say("voa", "INP1:ATT:SPE 10;:OUTP1 1")
    bench.settle(1)
    assert bench.say("voa", "SLOT1:OPC?") == "+0"
    bench.say("voa", "*RST")
    bench.say("voa", "INP1:ATT:SPE 10;:OUTP1 1")
    bench.settle(10)
    bench.say("voa", "OUTP1 0")
    bench.settle(0.05)
    assert bench.say("voa", "SLOT1:OPC?") == "+1"  # it closes at full speed


def test_zeroing_closes_every_shutter_of_the_box(bench: SmallBench) -> None:
    bench.say("voa", "OUTP3 1")
    bench.settle()
    bench.say("voa", "OUTP1:CORR:COLL:ZERO")
    assert bench.plant.power("voa:out-1") < 1e-9
    assert bench.say("voa", "OUTP3?") == ""
    assert bench.code("voa") == -616
    bench.settle(5)
    assert bench.say("voa", "OUTP1?;:OUTP3?") == "+0;+0"


def test_an_output_power_is_reached_by_calculation(bench: SmallBench) -> None:
    bench.say("voa", "OUTP1:POW -12.5DBM")
    bench.settle()
    voa = bench["voa"]
    assert isinstance(voa, N77xxAttenuator)
    assert out_dbm(bench) + voa.monitor_db[1] == pytest.approx(-12.5, abs=0.1)
    assert float(bench.say("voa", "READ1:POW?")) == pytest.approx(-12.5, abs=0.1)
    assert float(bench.say("voa", "OUTP1:POW:UN 1;:READ1:POW?")) == pytest.approx(10**-1.25 / 1000, rel=0.03)


def test_a_power_out_of_reach_is_rejected_or_under_control_shown_in_the_status(bench: SmallBench) -> None:
    assert bench.rejected("voa", "OUTP1:POW 15DBM") == -222
    bench.say("voa", "OUTP1:POW:CONTR 1;:OUTP1:POW 15DBM")
    assert int(bench.say("voa", "STAT1:OPER:COND?")) & 512
    bench.say("voa", "OUTP1:POW -10DBM")
    bench.settle()
    assert bench.say("voa", "STAT1:OPER:COND?") == "0"


def test_darkness_has_no_level_in_dbm() -> None:
    assert SmallBench().rejected("voa", "READ1:POW?") == -261


def test_group_commands_set_all_or_tell(bench: SmallBench) -> None:
    bench.say("voa", "INP:ATT:ALL 5;:INP:WAV:ALL 1310NM;:OUTP:STAT:ALL 1")
    assert bench.say("voa", "INP7:ATT?;:OUTP5?") == "+5.00000000E+000;+1"
    assert float(bench.say("voa", "INP3:WAV?")) == pytest.approx(1310e-9)
    bench.say("voa", "INP3:OFFS -10")
    assert bench.rejected("voa", "INP:ATT:ALL 40") == -224


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("INP1:ATT 46", -222),
        ("INP1:ATT -1", -222),
        ("INP9:ATT 1", -114),
        ("INP1:WAV 1200NM", -222),
        ("INP1:ATT:SPE 0.01", -222),
        ("OUTP1 2", -224),
        ("INP1:ATT 3DBM", -131),
        ("INP1:ATTE 3", -113),
    ],
)
def test_what_is_wrong_is_rejected_with_its_number(bench: SmallBench, message: str, code: int) -> None:
    assert bench.rejected("voa", message) == code


def test_a_box_with_one_attenuator_has_empty_slots() -> None:
    bench = SmallBench({"voa": "N7761A"})
    assert bench.rejected("voa", "INP3:ATT?") == -303


def test_power_meters_beside_attenuators_are_not_simulated() -> None:
    bench = SmallBench({"voa": "N7752A"})
    assert bench.rejected("voa", "READ5:POW?") == -301


def test_after_a_power_cut_a_shutter_is_as_it_was_told_to_be_then(bench: SmallBench) -> None:
    voa = bench["voa"]
    assert isinstance(voa, N77xxAttenuator)
    bench.say("voa", "OUTP3:APOW 1")
    bench.plant.feeds("voa", on=False)
    voa.power_cycled()
    assert bench.say("voa", "OUTP1?;:OUTP3?") == "+0;+1"
