"""The simulated testers and the reflectometer: how long the service was gone, and what lies along the fibre."""

from __future__ import annotations

import re

import numpy as np
import pytest

from drivers import sor
from drivers.simulated.exfo import ExfoFtb
from drivers.simulated.fibre import Event, Fibre
from drivers.simulated.otdr import DIRECTORY, OtuOtdr
from drivers.simulated.plant import Sink
from drivers.simulated.viavi import ViaviMts
from tests.drivers.simulated.small_bench_model import SmallBench


def made(model: str) -> SmallBench:
    bench = SmallBench()
    bench.plant.add(Sink("tester", ("in",)))
    bench.devices["tester"] = bench.make("tester", model)
    bench.plant.patch("oxc:out-2", "tester:in")
    bench.light_up()
    bench.oxc.connect({1: 2})
    bench.settle()
    return bench


def away(bench: SmallBench, seconds: float) -> None:
    """The service goes by another egress for so long, and comes back."""
    bench.oxc.connect({1: 3})
    bench.settle(seconds)
    bench.oxc.connect({1: 2})
    bench.settle()


def truth_s(bench: SmallBench, seconds: float) -> float:
    return seconds + bench.oxc.true_switch_s(1, 2, 10.0)


# -- EXFO --------------------------------------------------------------------------------------------------


def test_a_disruption_is_as_long_as_the_light_was_gone() -> None:
    bench = made("FTB")
    bench.say("tester", "LINS1:SOUR:DATA:TEL:TEST ON")
    assert bench.say("tester", "LINS1:SOUR:DATA:TEL:TEST?") == "1"
    assert bench.say("tester", "LINS1:FETC:DATA:TEL:SDT:COUN?") == "0"
    assert float(bench.say("tester", "LINS1:FETC:DATA:TEL:SDT:LONG?")) == 9.91e37
    for seconds in (0.05, 0.2, 0.03):
        away(bench, seconds)
    assert bench.say("tester", "LINS1:FETC:DATA:TEL:SDT:COUN?") == "3"
    ask = "LINS1:FETC:DATA:TEL:SDT:"
    longest = float(bench.say("tester", f"{ask}LONG?"))
    assert longest == pytest.approx(truth_s(bench, 0.2) * 1000, abs=5)
    last = float(bench.say("tester", f"{ask}LAST?"))
    assert last == float(bench.say("tester", f"{ask}SHOR?"))
    assert last == pytest.approx(truth_s(bench, 0.03) * 1000, abs=5)
    total = float(bench.say("tester", f"{ask}TOT?"))
    assert total == pytest.approx(3 * float(bench.say("tester", f"{ask}AVER?")), abs=0.01)
    bench.say("tester", "LINS1:SOUR:DATA:TEL:TEST OFF")
    assert bench.say("tester", "LINS1:FETC:DATA:TEL:TEST:STAT?") == '"Completed"'
    assert bench.say("tester", f"{ask}COUN?") == "3"
    bench.say("tester", "LINS1:SOUR:DATA:TEL:TEST ON")
    assert bench.say("tester", f"{ask}COUN?") == "0"


def test_the_time_of_a_disruption_is_exact_to_microseconds() -> None:
    bench = made("FTB")
    device = bench["tester"]
    assert isinstance(device, ExfoFtb)
    bench.say("tester", "LINS1:SOUR:DATA:TEL:TEST ON")
    start = bench.clock.now_ns()
    away(bench, 0.1)
    fine = bench.plant.power_series("tester:in", start, 1000, 300_000) >= device.watch.threshold_w
    assert float(bench.say("tester", "LINS1:FETC:DATA:TEL:SDT:LONG?")) == pytest.approx((~fine).sum() / 1000, abs=0.003)


def test_a_service_that_is_still_gone_is_not_counted_yet() -> None:
    bench = made("FTB")
    bench.say("tester", "LINS1:SOUR:DATA:TEL:TEST ON")
    bench.oxc.clear()
    bench.settle()
    assert bench.say("tester", "LINS1:FETC:DATA:TEL:SDT:COUN?") == "0"
    assert bench.say("tester", "LINS1:FETC:DATA:TEL:TEST:STAT:VERD?") == '"FAIL"'
    bench.oxc.connect({1: 2})
    bench.settle()
    assert bench.say("tester", "LINS1:FETC:DATA:TEL:SDT:COUN?") == "1"


def test_what_is_asked_in_between_changes_nothing() -> None:
    found = []
    for often in (1, 40):
        bench = made("FTB")
        bench.say("tester", "LINS1:SOUR:DATA:TEL:TEST ON")
        bench.oxc.connect({1: 3})
        for _ in range(often):
            bench.settle(0.2 / often)
            bench.say("tester", "LINS1:FETC:DATA:TEL:SDT:COUN?")
        bench.oxc.connect({1: 2})
        for _ in range(often):
            bench.settle(0.2 / often)
            bench.say("tester", "LINS1:FETC:DATA:TEL:SDT:COUN?")
        found.append(float(bench.say("tester", "LINS1:FETC:DATA:TEL:SDT:LONG?")) - 0.2 * often)
    assert found[0] == pytest.approx(found[1], abs=10)  # 0.2 ms an exchange


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("LINS2:SOUR:DATA:TEL:TEST?", -114),
        ("LINS1:SOUR:DATA:TEL:TEST MAYBE", -141),
        ("LINS1:SOUR:DATA:TEL:TEST:TYPE RFC2544", -141),
        ("LINS1:FETC:DATA:TEL:RTT?", -113),
    ],
)
def test_what_exfos_tester_cannot_is_rejected(message: str, code: int) -> None:
    assert made("FTB").rejected("tester", message) == code


def test_power_and_laser() -> None:
    bench = made("FTB")
    true = 10 * np.log10(bench.plant.power("tester:in") * 1000)
    assert float(bench.say("tester", "LINS1:SENS:DATA:TEL:OPT:PORT:RX:POW?")) == pytest.approx(true, abs=0.01)
    assert bench.say("tester", "LINS1:OUTP:TEL:LAS ON;:LINS1:OUTP:TEL:LAS?") == "1"


# -- VIAVI -------------------------------------------------------------------------------------------------


def walked(bench: SmallBench) -> str:
    assert '"BERT"' in bench.say("tester", "*REM", "MOD:FUNC:LIST? BOTH,BASE")
    assert bench.say("tester", 'MOD:FUNC:SEL? BOTH,BASE,"BERT"') == "ON"
    assert bench.say("tester", 'MOD:FUNC:PORT? BOTH,BASE,"BERT"') == "8000"
    assert bench.say("tester", ':SYST:FUNC:READY? BOTH,BASE,"BERT"') == "1"
    assert bench.say("tester", ':SYST:FUNC:PORT? BOTH,BASE,"BERT"') == "8000"
    bench.say("tester", "*REM VISIBLE FULL", ":SYST:APPL:LAUN TermEth100GL2Traffic 1")
    assert bench.say("tester", ":SYST:APPL:LAUN?") == ""
    bench.settle(60)
    name = bench.say("tester", ":SYST:APPL:LAUN?")
    bench.say("tester", f":SYST:APPL:SEL {name}", ":SESS:CRE", ":SESS:STAR")
    assert bench.say("tester", ":SYST:ERR?") == '0, "No error"'
    return name


def test_the_walk_to_a_session_and_its_results() -> None:
    bench = made("MTS-5800")
    assert walked(bench) == "TermEth100GL2Traffic_101"
    assert bench.say("tester", ":SENS:DATA? CSTATUS:PHYSICAL:SIGNAL") == "9.91e+37"
    bench.say("tester", ":SENS:TEST:ENAB OFF", ":OUTP:OPT ON", ":SOUR:MAC:TRAFFIC ON", ":INIT")
    bench.settle(10)
    assert bench.say("tester", ":OUTP:OPT?") == "ON"
    assert bench.say("tester", ":SENS:DATA? CSTATUS:PHYSICAL:SIGNAL") == "1"
    assert int(bench.say("tester", ":SENS:DATA? COUNT:MAC:ETH:FRAME")) > 900_000
    away(bench, 0.1)
    longest = float(bench.say("tester", ":SENS:DATA? DISRUPTION:LONGEST"))
    assert longest == pytest.approx(truth_s(bench, 0.1) * 1000, abs=5)
    bench.say("tester", ":ABOR", ":SESS:END", ":EXIT")
    assert bench.say("tester", ":SYST:APPL:CAPP?") == ""
    assert bench.say("tester", ":SENS:DATA? CSTATUS:PHYSICAL:SIGNAL") == "9.91e+37"


def test_a_dark_receiver_has_no_power_to_tell() -> None:
    bench = made("MTS-5800")
    walked(bench)
    bench.say("tester", ":INIT")
    bench.say("laser", "SOUR0:POW:STAT 0")
    bench.settle()
    assert bench.say("tester", ":SENS:DATA? FLOAT:PHYSICAL:QSFP:RX:POWER:LEVEL:SUM") == "9.91e+37"


def test_a_bad_query_is_answered_by_nothing() -> None:
    bench = made("MTS-5800")
    assert bench.rejected("tester", ":SENS:DATA? DELAY:ROUNDTRIP") == -224
    assert bench.rejected("tester", ":BOGUS?") == -113
    assert bench.rejected("tester", ":INIT") == -221
    assert bench.rejected("tester", 'MOD:FUNC:PORT? BOTH,BASE,"OTDR"') == -224
    device = bench["tester"]
    assert isinstance(device, ViaviMts)
    device.power_cycled()
    assert bench.say("tester", ":SYST:APPL:CAPP?") == ""


# -- OTDR --------------------------------------------------------------------------------------------------

MEASURE = 'otu:mealink:SI:webconfig? MOD2,1,#170001004,MAN,1000,80,15,1.465,1550,64,"SM-OTDR"'


def fibre(**options: object) -> SmallBench:
    bench = SmallBench()
    bench.plant.add(Sink("otdr", ("out",), two_way=True))
    bench.plant.add(Fibre("line", 20.0, alpha_db_km=0.2, group_index=1.468, events=[Event(8.0, 0.3, -45.0)]))
    made = bench.make("otdr", "MTS-8000")
    assert isinstance(made, OtuOtdr)
    exact = {"timebase_ppm": 0.0, **options}
    bench.devices["otdr"] = OtuOtdr(made.identity, bench.clock, bench.plant, made.places, exact)
    bench.plant.patch("otdr:out", "line:a")
    return bench


def test_a_measurement_takes_its_time_and_names_a_file() -> None:
    bench = fibre()
    before = bench.clock.now_ns()
    assert bench.say("otdr", MEASURE) == f'"{DIRECTORY}";"measure.sor"'
    assert (bench.clock.now_ns() - before) / 1e9 >= 15


def test_the_file_holds_the_time_of_flight() -> None:
    bench = fibre()
    assert bench.say("otdr", "*rem;otu:module:detect?") == 'MOD2: 5027HD,"SM-OTDR" : L1310,L1550,L1625'
    bench.say("otdr", MEASURE)
    octets = bench.block("otdr", f'MMEM:DATA? "{DIRECTORY}/measure.sor"')
    trace = sor.parse(octets)
    flight_s = bench.plant.flight_s("otdr:out")
    assert flight_s == pytest.approx(20e3 * 1.468 / 299_792_458, rel=1e-3)
    assert trace.events[-1].time_ps * 1e-12 == pytest.approx(flight_s, abs=2e-10)
    assert trace.checksum
    assert trace.serial.startswith("SIM-")
    assert trace.pulse_ns == 1000


def test_curve_and_event_table() -> None:
    bench = fibre()
    bench.say("otdr", MEASURE)
    said = bench.say("otdr", "CURV:BUF?")
    length = int(said[2:9])
    assert said.startswith("#7")
    assert len(said) == 9 + length
    samples = np.frombuffer(bytes.fromhex(said[9:]), ">i2") * float(bench.say("otdr", "CURV:YSC?"))
    at = np.arange(samples.size) * float(bench.say("otdr", "CURV:XSC?"))
    level = [float(np.median(samples[(at > km) & (at < km + 1)])) for km in (2, 6)]
    assert level[0] - level[1] == pytest.approx(0.8, abs=0.1)
    rows = [bench.say("otdr", f"TAB:LIN? {row}") for row in range(1, int(bench.say("otdr", "TAB:SIZ?")) + 1)]
    assert any(re.match(r"\d+,Reflection, 8\.", row) for row in rows)
    assert rows[-1].split(",")[1] == "End"


def test_what_the_module_can_is_listed() -> None:
    bench = fibre(wavelengths_nm=[1550, 1625])
    assert bench.say("otdr", 'OTU:MODUle:CALLaser:LIST? MOD2,"SM-OTDR"') == '"1550 nm","1625 nm"'
    assert '"1 us"' in bench.say("otdr", 'otu:module:calot:lpulse? mod2,"SM-OTDR"')
    assert '"80 km"' in bench.say("otdr", 'otu:module:calot:lrange? mod2,"SM-OTDR","1 us"')
    assert '"Auto"' in bench.say("otdr", 'otu:module:calot:lres? mod2,"SM-OTDR","1 us","80 km"')
    words = 'otu:mealink:webconfig? MOD2,1,#170001004,MAN,"1 us","80 km",15,1.465,"1625 nm","Auto","SM- OTDR"'
    assert bench.say("otdr", words).endswith('"measure.sor"')


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (MEASURE.replace("1000,80", "30000,80"), -222),
        (MEASURE.replace("MOD2", "MOD1"), -224),
        (MEASURE.replace(",15,", ",0.5,"), -222),
        (MEASURE.replace("1550", "1490"), -222),
        (MEASURE.replace("MAN", "AUTO"), -221),
        (MEASURE.replace(",64,", ","), -109),
        ("CURV:BUF?", -230),
        ('MMEM:DATA? "other.sor"', -256),
    ],
)
def test_what_the_reflectometer_cannot_is_rejected(message: str, code: int) -> None:
    assert fibre().rejected("otdr", message) == code
