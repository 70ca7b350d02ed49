"""The simulated AQ6370 wants a login, sweeps the plant's spectrum, and takes its offset in between."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from drivers.simulated.aq637x import Aq637x
from drivers.simulated.plant import Sink
from tests.drivers.simulated.small_bench_model import SmallBench


def made(**options: Any) -> SmallBench:
    bench = SmallBench(options={"osa": options})
    bench.plant.add(Sink("osa", ("in",)))
    device = bench.devices["osa"] = bench.make("osa", "AQ6370D")
    assert isinstance(device, Aq637x)
    if options:
        bench.devices["osa"] = Aq637x(device.identity, bench.clock, bench.plant, device.places, options)
    bench.plant.patch("voa:out-1", "osa:in")
    bench.light_up()
    return bench


def swept(bench: SmallBench, *more: str) -> tuple[list[float], list[float]]:
    bench.say("osa", "SENS:WAV:CENT 1550NM;:SENS:WAV:SPAN 2NM;:SENS:BWID:RES 0.05NM", *more)
    bench.say("osa", "*CLS;:INIT")
    assert int(bench.say("osa", "STAT:OPER:EVEN?")) & 1 == 0
    bench.settle(200)
    assert int(bench.say("osa", "STAT:OPER:EVEN?")) & 1 == 1
    assert int(bench.say("osa", "STAT:OPER:EVEN?")) & 1 == 0
    x, y = bench.say("osa", "TRAC:X? TRA"), bench.say("osa", "TRAC:Y? TRA")
    return [float(each) for each in x.split(",")], [float(each) for each in y.split(",")]


def test_a_sweep_shows_the_laser_where_it_is_and_as_strong_as_it_is() -> None:
    bench = made()
    x, y = swept(bench)
    assert len(x) == len(y) == int(bench.say("osa", "TRAC:DATA:SNUM? TRA"))
    osa = bench["osa"]
    assert isinstance(osa, Aq637x)
    light = bench.plant.light("osa:in")
    peak = int(np.argmax(y))
    step = x[1] - x[0]
    assert x[peak] == pytest.approx(299_792_458 / light.frequency_hz[0] + osa.offset_m, abs=step)
    assert y[peak] == pytest.approx(10 * np.log10(light.total_w * 1000) + osa.gain_db, abs=0.3)
    assert x[0] == pytest.approx(1549e-9)
    assert x[-1] == pytest.approx(1551e-9)
    bench.say("osa", "CALC:MARK:MAX")
    assert float(bench.say("osa", "CALC:MARK:X?")) == pytest.approx(x[peak])


def test_a_higher_sensitivity_takes_longer_and_sees_less_noise() -> None:
    bench = made()
    floors = []
    for sensitivity in ("NHLD", "HIGH2"):
        _, y = swept(bench, f"SENS:SENS {sensitivity}")
        floors.append(float(np.median(y)))
    assert bench.say("osa", "SENS:SENS?") == "4"
    assert floors[1] < floors[0] - 15


def test_traces_come_in_text_or_little_endian() -> None:
    bench = made()
    x, _ = swept(bench)
    bench.say("osa", "FORM:DATA REAL,64")
    assert np.frombuffer(bench.block("osa", "TRAC:X? TRA"), "<f8").tolist() == pytest.approx(x, rel=1e-8)
    bench.say("osa", "FORM:DATA REAL,32")
    assert np.frombuffer(bench.block("osa", "TRAC:X? TRA"), "<f4").tolist() == pytest.approx(x, rel=1e-6)
    assert np.frombuffer(bench.block("osa", "TRAC:X? TRA,2,4"), "<f4").tolist() == pytest.approx(x[1:4], rel=1e-6)
    assert bench.say("osa", "FORM:DATA ASC;:FORM:DATA?") == "ASCII"


def test_only_the_latest_error_is_kept() -> None:
    bench = made()
    bench.say("osa", "SENS:WAV:CENT 3000NM", "BOGUS")
    assert bench.code("osa") == -113
    assert bench.code("osa") == 0


def test_every_ten_minutes_it_answers_nobody_for_half_a_minute() -> None:
    bench = made()
    bench.settle(605)
    before = bench.clock.now_ns()
    assert bench.say("osa", "*IDN?")
    assert 20 < (bench.clock.now_ns() - before) / 1e9 < 30
    before = bench.clock.now_ns()
    bench.say("osa", "*IDN?")
    assert (bench.clock.now_ns() - before) / 1e9 < 1
    bench.say("osa", "CAL:ZERO OFF")
    bench.settle(600)
    before = bench.clock.now_ns()
    bench.say("osa", "*IDN?")
    assert (bench.clock.now_ns() - before) / 1e9 < 1
    before = bench.clock.now_ns()
    bench.say("osa", "CAL:ZERO ONCE")
    assert (bench.clock.now_ns() - before) / 1e9 >= 30


def test_over_the_lan_nothing_is_obeyed_before_ready() -> None:
    bench = made(login=True)
    assert bench.say("osa", "*IDN?") == ""
    assert bench.say("osa", 'OPEN "anonymous"') == "AUTHENTICATE CRAM-MD5."
    assert bench.say("osa", "") == "READY"
    assert bench.say("osa", "*IDN?").startswith("YOKOGAWA,AQ6370D,SIM-")
    bench.say("osa", "CLOSE")
    assert bench.say("osa", "*IDN?") == ""


@pytest.mark.parametrize("said", ["secret", hashlib.md5(b"secret", usedforsecurity=False).hexdigest()])
def test_a_password_is_taken_plain_or_digested(said: str) -> None:
    bench = made(login=True, user="lab", password="secret")  # noqa: S106 - a password of nobody
    bench.say("osa", 'OPEN "lab"')
    assert bench.say("osa", "wrong") == "AUTHENTICATE CRAM-MD5."
    assert bench.say("osa", said) == "READY"


def test_a_repeated_sweep_shows_the_last_whole_one_until_it_is_aborted() -> None:
    bench = made()
    bench.say("osa", "SENS:WAV:CENT 1550NM;:SENS:WAV:SPAN 2NM;:INIT:SMOD 2;:INIT")
    bench.settle(5)
    lit = max(float(each) for each in bench.say("osa", "TRAC:Y? TRA").split(","))
    bench.say("laser", "SOUR0:POW:STAT 0")
    bench.settle(5)
    assert max(float(each) for each in bench.say("osa", "TRAC:Y? TRA").split(",")) < lit - 30
    bench.say("osa", "ABOR")
    assert int(bench.say("osa", "STAT:OPER:COND?")) == 1


def test_what_is_set_during_a_sweep_waits_for_its_end() -> None:
    bench = made()
    bench.say("osa", "SENS:SENS HIGH2;:INIT:SMOD 1;:INIT")
    before = bench.clock.now_ns()
    bench.say("osa", "SENS:WAV:CENT 1551NM")
    assert (bench.clock.now_ns() - before) / 1e9 > 5
    bench.say("osa", "INIT;:ABOR")
    before = bench.clock.now_ns()
    bench.say("osa", "SENS:WAV:CENT 1550NM")
    assert (bench.clock.now_ns() - before) / 1e9 < 1


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("SENS:BWID:RES 5NM", -222),
        ("SENS:SWE:POIN 100", -222),
        ("SENS:SENS 7", -224),
        ("SENS:SENS HIGH4", -141),
        ("TRAC:Y? TRH", -141),
        ("TRAC:Y? TRB", -230),
        ("FORM:DATA REAL,16", -224),
        ("INIT:SMOD 5", -222),
        ("CALC:DATA?", -113),
        ("SENS:WAV:STAR 1600NM", -221),
    ],
)
def test_what_is_wrong_is_rejected_with_its_number(message: str, code: int) -> None:
    assert made().rejected("osa", message) == code
