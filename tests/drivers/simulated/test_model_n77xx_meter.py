"""The simulated N774x answers as its guide says, and sees what is in the plant."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from drivers.simulated.n77xx_meter import N77xxMeter
from tests.drivers.simulated.small_bench_model import SmallBench


@pytest.fixture
def bench() -> SmallBench:
    made = SmallBench()
    made.light_up()
    made.oxc.connect({1: 2})
    made.settle()
    return made


def floats(octets: bytes, kind: str = "<f4") -> list[float]:
    return [float(each) for each in np.frombuffer(octets, dtype=kind)]


def test_the_guides_own_example_is_answered_by_a_number_with_an_exponent_of_three_digits(bench: SmallBench) -> None:
    said = bench.say("meter", ":sens2:pow:unit w;:sens2:pow:wav 1550nm;:sens2:pow:atim 20ms;:read2:pow?")
    assert re.fullmatch(r"[+-]\d\.\d{8}E[+-]\d{3}", said)
    assert float(said) == pytest.approx(bench.plant.power("meter:2"), rel=1e-4)
    assert bench.say("meter", "SENS2:POW:WAV?") == "+1.55000000E-006"


def test_answers_end_with_cr_lf() -> None:
    assert SmallBench()["meter"].ends == b"\r\n"


def test_a_reading_takes_its_averaging_time(bench: SmallBench) -> None:
    bench.say("meter", "SENS2:POW:ATIM 250MS")
    before = bench.clock.now_ns()
    bench.say("meter", "READ2:POW?")
    assert 0.25 <= (bench.clock.now_ns() - before) / 1e9 < 0.26


def test_a_channels_hidden_error_is_in_text_in_blocks_and_in_logs() -> None:
    bench = SmallBench(gain_db={2: 0.5})
    bench.light_up()
    bench.oxc.connect({1: 2})
    bench.settle()
    true = bench.plant.power("meter:2")
    expected = pytest.approx(true * 10**0.05, rel=1e-4)
    assert float(bench.say("meter", "SENS2:POW:UNIT 1;:READ2:POW?")) == expected
    assert floats(bench.block("meter", "READ:POW:ALL?"))[1] == expected
    bench.say("meter", "SENS2:POW:RANG 0DBM", "SENS2:FUNC:PAR:LOGG 100,100US", "SENS2:FUNC:STAT LOGG,STAR")
    bench.settle()
    assert np.mean(floats(bench.block("meter", "SENS2:FUNC:RES?"))) == expected
    assert floats(bench.block("meter", "SENS2:FUNC:RES?")) == floats(bench.block("meter", "SENS2:FUNC:RES?"))


def test_a_channel_that_favours_a_polarisation_shows_it() -> None:
    bench = SmallBench(polarisation={2: (0.4, (0.0, 0.0, 1.0))})
    bench.light_up()
    bench.oxc.connect({1: 2})
    shown = []
    for state in (4, 5):  # circular, either way
        bench.polariser.set_state(state, 6)
        bench.settle()
        read = 10 * math.log10(float(bench.say("meter", "SENS2:POW:UNIT 1;:READ2:POW?")))
        shown.append(read - 10 * math.log10(bench.plant.power("meter:2")))
    # a response of 0.4 dB peak to peak to light fully polarised; inside the plant nothing turns it
    assert abs(shown[0] - shown[1]) == pytest.approx(0.4, abs=0.01)


def test_blocks_are_little_endian_float32_in_watts_whatever_the_unit(bench: SmallBench) -> None:
    true = bench.plant.power("meter:2")
    bench.say("meter", "SENS2:POW:UNIT 0")
    found = floats(bench.block("meter", "READ:POW:ALL?"))
    assert len(found) == 8
    assert found[1] == pytest.approx(true, rel=1e-3)
    assert not math.isclose(floats(bench.block("meter", "FETC:POW:ALL?"), ">f4")[1], true, rel_tol=0.5)
    listed = bench.say("meter", "FETC:POW:ALL:CSV?")
    assert listed.startswith('"')
    assert listed.endswith('"')
    assert float(listed.strip('"').split(",")[1]) == pytest.approx(true, rel=1e-3)
    slots = np.frombuffer(bench.block("meter", "FETC:POW:ALL:CONF?"), dtype="<u2").reshape(-1, 2).tolist()
    assert slots == [[port, 1] for port in range(1, 9)]


def test_fetching_gives_the_same_reading_until_the_next_is_over(bench: SmallBench) -> None:
    bench.say("meter", "SENS2:POW:UNIT 1;:SENS2:POW:ATIM 100MS")
    bench.settle(0.15)
    first = bench.say("meter", "FETC2:POW?")
    assert bench.say("meter", "FETC2:POW?") == first
    bench.settle(0.1)
    assert bench.say("meter", "FETC2:POW?") != first


def test_fetching_before_the_first_reading_is_over_is_questionable(bench: SmallBench) -> None:
    assert bench.rejected("meter", "SENS2:POW:ATIM 1S;:FETC2:POW?") == -231
    bench.settle(1.1)
    assert bench.say("meter", "FETC2:POW?")


def test_without_continuous_readings_one_is_begun_by_init(bench: SmallBench) -> None:
    bench.say("meter", "INIT2:CONT 0;:SENS2:POW:UNIT 1;:SENS2:POW:ATIM 100MS")
    bench.settle()
    assert bench.rejected("meter", "FETC2:POW?") == -231
    bench.say("meter", "INIT2")
    assert bench.say("meter", "*OPC?") == "0"  # it does not wait
    bench.settle(0.11)
    assert bench.say("meter", "*OPC?") == "1"
    first = bench.say("meter", "FETC2:POW?")
    bench.oxc.clear()
    bench.settle()
    assert bench.say("meter", "FETC2:POW?") == first


def test_wai_is_no_wait_and_no_service_is_requested(bench: SmallBench) -> None:
    bench.say("meter", "INIT2:CONT 0", "SENS2:POW:ATIM 5S", "INIT2", "*WAI")
    assert bench.say("meter", "*OPC?") == "0"
    bench.say("meter", "*ESE 255;*SRE 255", "BOGUS")
    assert int(bench.say("meter", "*STB?")) & 64 == 0


def test_what_a_manual_range_cannot_show_is_questionable_and_no_number(bench: SmallBench) -> None:
    assert bench.plant.power("meter:2") > 1e-5
    assert float(bench.say("meter", "SENS2:POW:RANG -30DBM;:READ2:POW?")) == 9.91e37
    assert bench.code("meter") == -231
    assert floats(bench.block("meter", "READ:POW:ALL?"))[1] == pytest.approx(9.91e37, rel=1e-6)
    assert bench.say("meter", "SENS2:POW:RANG:AUTO?") == "+0"


def test_ranges_are_whole_tens(bench: SmallBench) -> None:
    assert float(bench.say("meter", "SENS2:POW:RANG -17DBM;RANG?")) == -20
    assert bench.rejected("meter", "SENS2:POW:RANG -40DBM") == -222
    assert bench.rejected("meter", "SENS2:POW:RANG 20DBM") == -222


def test_darkness_in_dbm_is_a_math_error() -> None:
    bench = SmallBench()
    codes = set()
    for _ in range(200):  # the noise is on both sides of zero
        bench.say("meter", "*CLS")
        if float(bench.say("meter", "SENS5:POW:ATIM 1MS;:READ5:POW?")) == 9.91e37:
            codes.add(bench.code("meter"))
    assert codes == {-261}


def test_darkness_in_watts_is_noise_about_an_offset_that_zeroing_takes_away() -> None:
    bench = SmallBench()
    bench.say("meter", "SENS5:POW:UNIT 1;:SENS5:POW:ATIM 100MS")
    for _ in range(3):
        bench.say("meter", "SENS5:CORR:COLL:ZERO")
        bench.settle(5)
    read = [float(bench.say("meter", "READ5:POW?")) for _ in range(100)]
    assert np.std(read) == pytest.approx(2e-12, rel=0.4)
    assert abs(np.mean(read)) < 1.5e-12


def test_shorter_averaging_is_noisier(bench: SmallBench) -> None:
    def spread(seconds: str) -> float:
        bench.say("meter", f"SENS5:POW:UNIT 1;:SENS5:POW:ATIM {seconds}")
        return float(np.std([float(bench.say("meter", "READ5:POW?")) for _ in range(60)]))

    assert 5 < spread("1MS") / spread("100MS") < 20


def test_zeroing_refuses_commands_until_it_is_over_and_fails_in_the_light(bench: SmallBench) -> None:
    bench.say("meter", "SENS1:CORR:COLL:ZERO:ALL")
    assert bench.say("meter", "SENS1:POW:WAV?") == ""
    assert bench.code("meter") == -616
    assert bench.say("meter", "*OPC?") == "0"
    bench.settle(5)
    assert bench.say("meter", "*OPC?") == "1"
    assert bench.say("meter", "SENS1:CORR:COLL:ZERO:ALL?") == "+16"  # 0x10: channel 2 has light
    assert bench.say("meter", "SENS2:CORR:COLL:ZERO?") == "+1"
    assert bench.say("meter", "SENS3:CORR:COLL:ZERO?") == "+0"


def test_offset_reference_and_ratio(bench: SmallBench) -> None:
    plain = float(bench.say("meter", "READ2:POW?"))
    assert float(bench.say("meter", "SENS2:CORR 3DB;:READ2:POW?")) == pytest.approx(plain + 3, abs=1e-3)
    bench.say("meter", "SENS2:CORR 0DB;:SENS2:POW:REF TOREF,-10DBM;:SENS2:POW:REF:STAT 1")
    assert float(bench.say("meter", "READ2:POW?")) == pytest.approx(plain + 10, abs=1e-3)
    bench.settle()
    bench.say("meter", "SENS2:POW:REF:DISP")
    assert float(bench.say("meter", "READ2:POW?")) == pytest.approx(0, abs=1e-3)
    bench.oxc.connect({2: 3})
    bench.say("meter", "SENS2:POW:REF:STAT:RAT 2,1")
    assert bench.say("meter", "SENS2:POW:REF:STAT:RAT?") == "+2,+1"
    assert float(bench.say("meter", "READ2:POW?")) == 0


def test_a_log_shows_how_the_light_goes_and_comes(bench: SmallBench) -> None:
    truth = bench.oxc.true_switch_s(1, 3)
    bench.say(
        "meter",
        "SENS3:POW:UNIT 1;:SENS3:POW:GAIN:AUTO 0;:SENS3:POW:RANG 0DBM",
        "SENS3:FUNC:PAR:LOGG 1000,100US",
        "SENS3:FUNC:STAT LOGG,STAR",
    )
    began = bench.clock.now_ns()
    assert bench.say("meter", "SENS3:FUNC:STAT?") == "LOGGING_STABILITY,PROGRESS"
    bench.settle(0.02)
    switched = bench.clock.now_ns()
    bench.oxc.connect({1: 3})
    bench.settle(0.2)
    assert bench.say("meter", "SENS3:FUNC:STAT?") == "LOGGING_STABILITY,COMPLETE"
    found = np.array(floats(bench.block("meter", "SENS3:FUNC:RES?")))
    assert found.size == 1000
    assert found[-1] == pytest.approx(bench.plant.power("meter:3"), rel=1e-3)
    assert found[:200].max() < found[-1] / 1000
    outside = np.flatnonzero(found < found[-1] * 10**-0.1)
    assert (outside[-1] + 1) * 1e-4 == pytest.approx((switched - began) / 1e9 + truth, abs=3e-4)


def test_the_rules_around_a_record(bench: SmallBench) -> None:
    assert bench.rejected("meter", "SENS2:FUNC:STAT LOGG,STAR") == -221  # nothing set up
    assert bench.rejected("meter", "SENS2:FUNC:RES?") == -286
    bench.say("meter", "SENS2:FUNC:PAR:LOGG 10000,100US", "SENS2:FUNC:STAT LOGG,STAR")
    for message in (
        "SENS2:FUNC:PAR:LOGG 10,1MS",
        "SENS2:POW:ATIM 1S",
        "READ2:POW?",
        "SENS2:FUNC:RES?",
        "FETC:POW:ALL?",
    ):
        assert bench.rejected("meter", message) == -284, message
    bench.settle(1.1)
    assert bench.rejected("meter", "SENS2:FUNC:PAR:LOGG 10,1MS") == -200
    assert bench.rejected("meter", "SENS2:FUNC:STAT LOGG,STAR") == -200
    bench.say("meter", "SENS2:FUNC:STAT LOGG,STOP", "SENS2:FUNC:PAR:LOGG 10,1MS")
    assert bench.code("meter") == 0
    assert bench.say("meter", "SENS2:FUNC:STAT?").startswith("NONE,")
    assert bench.say("meter", "SENS2:FUNC:PAR:LOGG?") == "+10,+1.00000000E-003"


def test_a_record_waits_for_its_trigger(bench: SmallBench) -> None:
    bench.say("meter", "TRIG2:INP CME", "SENS2:FUNC:PAR:LOGG 100,1MS", "SENS2:FUNC:STAT LOGG,STAR")
    bench.settle()
    assert bench.say("meter", "SENS2:FUNC:STAT?").endswith("PROGRESS")
    bench.say("meter", "*TRG")
    bench.settle(0.11)
    assert bench.say("meter", "SENS2:FUNC:STAT?").endswith("COMPLETE")


def test_one_sample_a_trigger(bench: SmallBench) -> None:
    meter = bench["meter"]
    assert isinstance(meter, N77xxMeter)
    bench.say("meter", "SENS2:POW:UNIT 1;:TRIG2:INP SME", "SENS2:FUNC:PAR:LOGG 3,1MS", "SENS2:FUNC:STAT LOGG,STAR")
    now = bench.clock.now_ns()
    meter.take_triggers([now, now + 10_000_000])
    bench.settle()
    assert bench.say("meter", "SENS2:FUNC:STAT?").endswith("PROGRESS")
    meter.take_triggers([bench.clock.now_ns()])
    bench.settle(0.1)
    assert len(floats(bench.block("meter", "SENS2:FUNC:RES?"))) == 3


def test_minima_maxima_and_stability(bench: SmallBench) -> None:
    bench.say("meter", "SENS2:POW:UNIT 1", "SENS2:FUNC:PAR:STAB 10S,1S,100MS", "SENS2:FUNC:STAT STAB,STAR")
    bench.settle(11)
    assert len(floats(bench.block("meter", "SENS2:FUNC:RES?"))) == 11
    bench.say("meter", "SENS2:FUNC:STAT STAB,STOP", "SENS2:FUNC:PAR:MINM WIND,10", "SENS2:FUNC:STAT MINM,STAR")
    bench.settle(2)
    assert bench.say("meter", "SENS2:FUNC:STAT?") == "MINMAX,COMPLETE"
    assert bench.block("meter", "SENS2:FUNC:RES?").startswith(b"Min: +")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("SENS9:POW:WAV 1550NM", -114),
        ("SENS1:CHAN2:POW:WAV 1550NM", -114),
        ("SENS1:POW:BOGUS 1", -113),
        ("SENSE_:POW?", -113),
        ("SENS1:POW:WAV 1700NM", -222),
        ("SENS1:POW:WAV 1550XM", -131),
        ("SENS1:POW:WAV", -109),
        ("SENS1:POW:WAV 1550NM,2", -108),
        ("SENS1:POW:ATIM 11S", -222),
        ("SENS1:POW:UNIT 2", -224),
        ("SENS1:FUNC:PAR:LOGG 1000001,100US", -222),
        ("SENS1:FUNC:PAR:LOGG 10.5,100US", -104),
        ("TRIG1:INP NOW", -141),
        ("INIT1", -213),
        ("SENS1:FUNC:PAR:STAB 1S,2S", -221),
    ],
)
def test_what_is_wrong_is_rejected_with_its_number(bench: SmallBench, message: str, code: int) -> None:
    assert bench.rejected("meter", message) == code


def test_an_empty_slot_says_so() -> None:
    bench = SmallBench({"meter": "N7744A"})
    assert bench.rejected("meter", "SENS5:POW:WAV?") == -303
    assert bench.say("meter", "SLOT5:EMPT?") == "+1"
    assert bench.say("meter", "*OPT?").split(",") == ["N7744A"] * 4 + ["  "] * 4
    assert bench.say("meter", "SLOT4:IDN?").startswith("Keysight Technologies,N7744A,SIM-")


def test_slots_have_status_of_their_own(bench: SmallBench) -> None:
    bench.say("meter", "STAT2:OPER:ENAB 16", "SENS2:FUNC:PAR:LOGG 100,1MS", "SENS2:FUNC:STAT LOGG,STAR")
    assert bench.say("meter", "STAT2:OPER:COND?") == "16"
    assert bench.say("meter", "STAT3:OPER:COND?") == "0"
    assert bench.say("meter", "STAT:OPER:COND?") == str(1 << 2)
    bench.settle()
    assert bench.say("meter", "STAT2:OPER:COND?") == "0"
    assert bench.say("meter", "STAT2:OPER?") == "16"
    assert bench.rejected("meter", "STAT9:OPER?") == -114


def test_limits_are_told() -> None:
    bench = SmallBench()
    assert float(bench.say("meter", "SENS1:POW:WAV? MIN")) == pytest.approx(1250e-9)
    assert float(bench.say("meter", "SENS1:POW:WAV? DEF")) == pytest.approx((1250e-9 + 1650e-9) / 2)
    assert bench.rejected("meter", "SENS1:POW:WAV? BEST") == -224


def test_a_feed_that_was_away_leaves_nothing_set(bench: SmallBench) -> None:
    meter = bench["meter"]
    assert isinstance(meter, N77xxMeter)
    bench.say("meter", "SENS2:POW:UNIT 1")
    meter.power_cycled()
    assert bench.say("meter", "SENS2:POW:UNIT?") == "+0"


def test_a_reading_that_spans_a_change_is_neither_the_light_before_nor_after(bench: SmallBench) -> None:
    lit = bench.plant.power("meter:2")
    bench.say("meter", "INIT2:CONT 0;:SENS2:POW:UNIT 1;:SENS2:POW:ATIM 100MS", "INIT2")
    bench.settle(0.05)
    bench.oxc.clear()
    bench.settle(0.1)
    assert 0.2 * lit < float(bench.say("meter", "FETC2:POW?")) < 0.8 * lit
