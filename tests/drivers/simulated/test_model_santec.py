"""The simulated TSL speaks nm or m, whichever it is set to."""

from __future__ import annotations

import pytest

from tests.drivers.simulated.small_bench_model import SmallBench


def bench(model: str = "TSL-570", **options: str) -> SmallBench:
    return SmallBench({"laser": model}, options={"laser": options})


def test_one_light_two_units() -> None:
    made = bench()
    assert made.say("laser", ":SYST:COMM:COD?") == "1"
    made.say("laser", ":WAV 1.5500000E-06")
    assert float(made.say("laser", ":WAV?")) == pytest.approx(1550e-9)
    assert float(made.say("laser", ":FREQ?")) == pytest.approx(299_792_458 / 1550e-9)
    made.say("laser", ":SYST:COMM:COD 0")
    assert made.say("laser", ":WAV?") == "+1550.0000"
    assert float(made.say("laser", ":FREQ?")) == pytest.approx(193.414, abs=1e-3)
    assert made.rejected("laser", ":WAV 1.55E-6") == -222  # metres in a mode of nm
    made.say("laser", ":WAV 1551.5")
    assert float(made.say("laser", ":SYST:COMM:COD 1;:WAV?")) == pytest.approx(1551.5e-9)


def test_the_older_model_begins_in_nm() -> None:
    assert bench("TSL-550").say("laser", ":SYST:COMM:COD?") == "0"
    assert bench("TSL-550", units="scpi").say("laser", ":SYST:COMM:COD?") == "1"
    with pytest.raises(ValueError, match="legacy"):
        bench(units="furlong")


def test_it_emits_and_watches_itself() -> None:
    made = bench()
    made.say("laser", ":POW:UNIT 0;:POW 7", ":POW:STAT 1")
    assert made.say("laser", "*OPC?") == "0"
    made.settle()
    assert made.say("laser", "*OPC?") == "1"
    assert float(made.say("laser", ":POW:ACT?")) == pytest.approx(7, abs=0.5)
    assert made.plant.power("laser:out") == pytest.approx(10**0.7 / 1000, rel=0.1)
    made.say("laser", ":POW:UNIT 1")
    assert float(made.say("laser", ":POW?")) == pytest.approx(10**0.7, rel=1e-4)
    made.say("laser", ":POW:STAT 0")
    assert made.plant.power("laser:out") == 0


def test_a_sweep_moves_the_light_and_tells_its_state() -> None:
    made = bench()
    made.say("laser", ":POW:STAT 1", ":WAV:SWE:MOD 1", ":WAV:SWE:STAR 1.54E-6;STOP 1.56E-6;SPE 20;CYCL 1", ":WAV:SWE 1")
    assert made.say("laser", ":WAV:SWE?") == "+4"
    made.settle(0.6)
    assert made.say("laser", ":WAV:SWE?") == "+1"
    first = made.plant.light("laser:out").frequency_hz[0]
    made.settle(0.5)
    assert made.plant.light("laser:out").frequency_hz[0] < first
    assert made.rejected("laser", ":WAV 1.55E-6") == -221
    made.settle(1)
    assert made.say("laser", ":WAV:SWE?") == "+0"
    assert made.say("laser", ":WAV:SWE:COUN?") == "+1"
    assert float(made.say("laser", ":WAV?")) == pytest.approx(1560e-9)


def test_the_range_depends_on_the_speed() -> None:
    made = bench()
    slow = float(made.say("laser", ":WAV:SWE:SPE 10;RANG:MIN?"))
    fast = float(made.say("laser", ":WAV:SWE:SPE 200;:WAV:SWE:RANG:MIN?"))
    assert fast > slow


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (":WAV 1.7E-6", -222),
        (":POW 20", -222),
        (":WAV:SWE:MOD 4", -222),
        (":WAV:SWE:SPE 500", -222),
        (":WAV:SWE 1", -221),  # dark
        (":TRIG:OUTP 1", -113),
    ],
)
def test_what_is_wrong_is_rejected_with_its_number(message: str, code: int) -> None:
    assert bench().rejected("laser", message) == code
