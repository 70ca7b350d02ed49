"""The simulated 816x emits, tunes, sweeps and logs as its guide says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.simulated.laser_816x import Laser816x
from tests.drivers.simulated.small_bench_model import SmallBench


@pytest.fixture
def bench() -> SmallBench:
    return SmallBench()


def swept(bench: SmallBench, *more: str) -> None:
    bench.say(
        "laser",
        "SOUR0:POW:STAT 1",
        "SOUR0:WAV:SWE:MODE CONT",
        "SOUR0:WAV:SWE:STAR 1540NM",
        "SOUR0:WAV:SWE:STOP 1550NM",
        "SOUR0:WAV:SWE:STEP 10PM",
        "SOUR0:WAV:SWE:SPE 40NM/S",
        "TRIG0:OUTP STF",
        "SOUR0:WAV:SWE:LLOG 1",
        *more,
    )


def test_it_emits_what_is_set(bench: SmallBench) -> None:
    bench.say("laser", "SOUR0:POW:UNIT 0;:SOUR0:POW 3DBM;:SOUR0:WAV 1551.000000NM")
    assert bench.plant.power("laser:out") == 0
    bench.say("laser", "SOUR0:POW:STAT 1")
    bench.settle()
    light = bench.plant.light("laser:out")
    assert 10 * math.log10(light.total_w * 1000) == pytest.approx(3, abs=0.3)
    assert 299_792_458 / light.frequency_hz[0] == pytest.approx(1551e-9, abs=1e-11)
    assert bench.say("laser", "SOUR0:WAV?") == "+1.55100000E-006"
    assert float(bench.say("laser", "SOUR0:POW:UNIT 1;:SOUR0:POW?")) == pytest.approx(10**0.3 / 1000)
    bench.say("laser", "OUTP0 0")
    assert bench.plant.power("laser:out") == 0


def test_it_is_busy_while_it_tunes_and_comes_on(bench: SmallBench) -> None:
    bench.say("laser", "SOUR0:POW:STAT 1")
    assert bench.say("laser", "*OPC?") == "0"
    bench.settle()
    assert bench.say("laser", "*OPC?") == "1"
    bench.say("laser", "SOUR0:WAV 1450NM")
    bench.settle(0.5)
    assert bench.say("laser", "*OPC?") == "0"
    bench.settle()
    assert bench.say("laser", "*OPC?") == "1"


def test_locked_it_stays_dark_until_its_pin_is_told(bench: SmallBench) -> None:
    bench.say("laser", "SOUR0:POW:STAT 1", "LOCK 1,1234")
    assert bench.say("laser", "LOCK?;:SOUR0:POW:STAT?") == "+1;+0"
    assert bench.plant.power("laser:out") == 0
    assert bench.rejected("laser", "SOUR0:POW:STAT 1") == -221
    assert bench.rejected("laser", "LOCK 0,0000") == -220
    bench.say("laser", "LOCK 0,1234;:SOUR0:POW:STAT 1")
    assert bench.plant.power("laser:out") > 0


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("SOUR0:WAV:SWE:STOP 1540NM", 368),
        ("SOUR0:WAV:SWE:MODE STEP", 376),
        ("TRIG0:OUTP SWST", 375),
        ("SOUR0:AM:STAT 1", 374),
        ("SOUR0:AM:STAT 1;:SOUR0:WAV:SWE:LLOG 0", 379),
        ("SOUR0:WAV:SWE:STEP 0.05PM", 372),
        ("SOUR0:WAV:SWE:STEP 10.05PM", 377),
        ("SOUR0:WAV:SWE:STEP 0.1PM", 373),
        ("SOUR0:WAV:SWE:STOP 1540.01NM", 369),
    ],
)
def test_a_sweep_that_cannot_be_is_told_why(bench: SmallBench, more: str, code: int) -> None:
    swept(bench)
    assert bench.say("laser", "SOUR0:WAV:SWE:CHEC?") == "0,OK"
    if code == 373:
        bench.say("laser", "SOUR0:WAV:SWE:STOP 1560NM")
    bench.say("laser", more)
    assert bench.say("laser", "SOUR0:WAV:SWE:CHEC?").startswith(f"{code},")
    assert bench.rejected("laser", "SOUR0:WAV:SWE 1") == -221


def test_a_lambda_scan_with_the_meter_triggered_by_the_laser(bench: SmallBench) -> None:
    bench.light_up()
    bench.oxc.slope_db_nm[0, 1] = 0.05
    bench.oxc.connect({1: 2})
    bench.settle()
    swept(bench)
    points = int(bench.say("laser", "SOUR0:WAV:SWE:EXP?"))
    assert points == 1001
    bench.say(
        "meter",
        "SENS2:POW:UNIT 1;:SENS2:POW:RANG:AUTO 0;:SENS2:POW:RANG 10DBM;:TRIG2:INP SME",
        f"SENS2:FUNC:PAR:LOGG {points},100US",
        "SENS2:FUNC:STAT LOGG,STAR",
    )
    bench.say("laser", "SOUR0:WAV:SWE 1")
    assert bench.say("laser", "SOUR0:WAV:SWE?") == "+1"
    assert bench.say("laser", "SOUR0:READ:POIN? LLOG") == "+0"
    bench.settle(1)
    assert bench.say("laser", "SOUR0:WAV:SWE?") == "+0"
    assert bench.say("meter", "SENS2:FUNC:STAT?").endswith("COMPLETE")
    assert bench.say("laser", "SOUR0:READ:POIN? LLOG") == "+1001"
    wavelengths = np.frombuffer(bench.block("laser", "SOUR0:READ:DATA? LLOG"), dtype="<f8")
    assert wavelengths[0] == pytest.approx(1540e-9, abs=1e-12)
    assert wavelengths[-1] == pytest.approx(1550e-9, abs=1e-12)
    assert (np.diff(wavelengths) > 0).all()
    powers = np.frombuffer(bench.block("meter", "SENS2:FUNC:RES?"), dtype="<f4")
    slope = np.polyfit(wavelengths * 1e9, 10 * np.log10(powers), 1)[0]
    assert slope == pytest.approx(-0.05, abs=0.002)


def test_during_a_sweep_nothing_else_is_set_and_off_means_off(bench: SmallBench) -> None:
    swept(bench, "SOUR0:WAV:SWE 1")
    assert bench.rejected("laser", "SOUR0:WAV 1550NM") == -221
    assert bench.rejected("laser", "SOUR0:WAV:SWE:STEP 1NM") == -221
    assert bench.rejected("laser", "SOUR0:READ:DATA? LLOG") == -284
    bench.say("laser", "SOUR0:POW:STAT 0")
    assert bench.plant.power("laser:out") == 0


def test_a_dark_laser_does_not_sweep(bench: SmallBench) -> None:
    swept(bench, "SOUR0:POW:STAT 0")
    assert bench.rejected("laser", "SOUR0:WAV:SWE 1") == -221


def test_a_manual_sweep_goes_step_by_step(bench: SmallBench) -> None:
    bench.say("laser", "SOUR0:WAV:SWE:MODE MAN;STAR 1540NM;STOP 1541NM;STEP 1NM", "SOUR0:WAV 1540NM")
    bench.say("laser", "SOUR0:WAV:SWE:STEP:NEXT")
    assert float(bench.say("laser", "SOUR0:WAV?")) == pytest.approx(1541e-9)
    assert bench.rejected("laser", "SOUR0:WAV:SWE:STEP:NEXT") == -222


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("SOUR0:WAV 1700NM", -222),
        ("SOUR0:POW 30DBM", -222),
        ("SOUR1:WAV?", -303),
        ("SOUR7:WAV?", -114),
        ("SOUR0:WAV:SWE 2", -224),
        ("SOUR0:READ:DATA? LLOG", -286),
        ("SOUR0:WAV:SWE:CYCL 0", -222),
        ("OUTP0:PATH BOTH", -141),
        ("SOUR0:BOGUS 1", -113),
    ],
)
def test_what_is_wrong_is_rejected_with_its_number(bench: SmallBench, message: str, code: int) -> None:
    assert bench.rejected("laser", message) == code


def test_a_speed_must_be_one_that_it_has(bench: SmallBench) -> None:
    swept(bench)
    assert bench.rejected("laser", "SOUR0:WAV:SWE:SPE 41NM/S") == -224


def test_a_box_and_other_mainframes(bench: SmallBench) -> None:
    box = SmallBench({"laser": "N7776C"})
    assert float(box.say("laser", "SOUR0:WAV? MIN")) == pytest.approx(1480e-9)
    frame = SmallBench({"laser": "8163B"}, options={"laser": {"modules": {"1": "81940A", "2": "81635A"}}})
    assert float(frame.say("laser", "SOUR1:WAV? MAX")) == pytest.approx(1630e-9)
    assert frame.rejected("laser", "SOUR2:WAV?") == -301
    assert frame.say("laser", "*OPT?") == "81940A,81635A"


def test_power_cut_it_is_dark(bench: SmallBench) -> None:
    bench.light_up()
    laser = bench["laser"]
    assert isinstance(laser, Laser816x)
    bench.plant.feeds("laser", on=False)
    laser.power_cycled()
    assert bench.say("laser", "SOUR0:POW:STAT?") == "+0"
    assert bench.plant.power("laser:out") == 0
