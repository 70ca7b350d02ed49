"""The counter's words and figures."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import (
    InstrumentFaultError,
    NoReadingError,
    PortReplyError,
    PortTimeoutError,
    SettingError,
    WrongInstrumentError,
)
from drivers.keysight_53230a import SECOND_PS, Input, Keysight53230A, fold, picoseconds, pps
from drivers.port import Port


@pytest.fixture
def driver(counter: Any) -> Iterator[Keysight53230A]:
    made = Keysight53230A.at(counter.resource, timeout_s=10)
    yield made
    made.close()


def test_the_set_up_is_that_of_the_guide(counter: Any, driver: Keysight53230A) -> None:
    driver.time_interval(stop_input=Input(level_mv=-250, slope="NEG", impedance_ohm=1_000_000))
    assert counter.heard[1:] == [
        "*RST",
        "*CLS",
        "SENS:ROSC:SOUR EXT",
        "SENS:ROSC:EXT:CHEC ONCE",
        "SYST:TIM 5.000",
        "CONF:TINT (@1),(@2)",
        "INP1:COUP DC",
        "INP1:IMP 50",
        "INP1:RANG 5",
        "INP1:LEV:AUTO OFF",
        "INP1:LEV 1.000",
        "INP1:SLOP POS",
        "INP2:COUP DC",
        "INP2:IMP 1000000",
        "INP2:RANG 5",
        "INP2:LEV:AUTO OFF",
        "INP2:LEV -0.250",
        "INP2:SLOP NEG",
        "SYST:ERR?",
    ]


def test_a_missing_time_base_is_said(counter: Any, driver: Keysight53230A) -> None:
    counter.unlocked = True
    with pytest.raises(InstrumentFaultError, match="1001") as caught:
        driver.time_interval()
    assert caught.value.code == 1001
    driver.time_interval(timebase="internal")


def test_every_error_in_the_queue_is_told(counter: Any, driver: Keysight53230A) -> None:
    counter.queue += ['-222,"Data out of range"', '-350, "Queue overflow"', '-113,"Undefined header;X"']
    with pytest.raises(InstrumentFaultError, match="-222") as caught:
        driver.check("a test")
    assert caught.value.__notes__ == ['then -350,"Queue overflow"', 'then -113,"Undefined header;X"']
    assert driver.errors() == ()


def test_a_queue_that_never_ends_is_left(counter: Any, driver: Keysight53230A) -> None:
    counter.queue += ['-310,"System error"'] * 1000
    assert len(driver.errors()) == 100


def test_a_queue_that_is_none_is_refused(counter: Any, driver: Keysight53230A) -> None:
    counter.queue += ["hello"]
    with pytest.raises(PortReplyError, match="hello"):
        driver.errors()


@pytest.mark.parametrize(
    "wrong",
    [
        {"start": 1, "stop": 1},
        {"stop": 3},
        {"timeout_ms": 9},
        {"timeout_ms": 2_000_001},
        {"start_input": Input(level_mv=5001)},
        {"start_input": Input(impedance_ohm=75)},
        {"stop_input": Input(range_v=10)},
    ],
)
def test_nothing_outside_the_data_sheet_is_sent(counter: Any, driver: Keysight53230A, wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        driver.time_interval(**wrong)
    assert counter.heard == ["*IDN?"]


@pytest.mark.parametrize(
    ("said", "ps"),
    [
        ("+1.23000000000000E-007", 123_000),
        ("-4.5E-09", -4500),
        ("9.99999999999E-01", 999_999_999_999),
        ("+0.00000000000000E+000", 0),
        ("1.4E-12", 1),
        ("1", SECOND_PS),
        ("-5.00000000000001E-001", -500_000_000_000),
    ],
)
def test_readings_are_exact(counter: Any, driver: Keysight53230A, said: str, ps: int) -> None:
    counter.reading = said
    assert driver.read_ps() == ps


@pytest.mark.parametrize("said", ["9.91E37", "+9.91000000000000E+037", "9.9E+37", "-9.90000000000000E+037"])
def test_no_pulse_is_no_reading(counter: Any, driver: Keysight53230A, said: str) -> None:
    counter.reading = said
    with pytest.raises(NoReadingError, match="time ran out"):
        pps(driver.read_ps())


@pytest.mark.parametrize("said", ["", "nan", "1.0,2.0", "1_0", "1.0 s", "٣", "1e9999", "1E36"])
def test_nonsense_is_no_reading_either(counter: Any, driver: Keysight53230A, said: str) -> None:
    counter.faults_of["READ?"] = lambda peer, answer: peer.sendall(said.encode() + b"\n")
    with pytest.raises(PortReplyError):
        driver.read_ps()


@pytest.mark.parametrize(
    ("said", "ps"),
    [
        ("+9.99999999000000E-001", -1000),  # the stop came 1 ns before its start
        ("+1.00000000000000E+000", 0),
        ("+4.99999999999E-001", 499_999_999_999),
        ("+5.00000000000E-001", -500_000_000_000),
        ("-5.00000000001E-001", 499_999_999_999),
    ],
)
def test_swapped_pulses_are_folded(counter: Any, driver: Keysight53230A, said: str, ps: int) -> None:
    counter.reading = said
    assert pps(driver.read_ps()) == ps


def test_a_missed_pulse_is_not_folded_away(counter: Any, driver: Keysight53230A) -> None:
    counter.reading = "+2.00000010000000E+000"
    with pytest.raises(NoReadingError, match="at most 1 s"):
        pps(driver.read_ps())


@given(st.integers(-(10**15), 10**15))
def test_folding_changes_whole_seconds_only(interval: int) -> None:
    folded = fold(interval)
    assert -SECOND_PS // 2 <= folded < SECOND_PS // 2
    assert (interval - folded) % SECOND_PS == 0


@given(st.text(max_size=40))
def test_no_text_crashes_the_parser(text: str) -> None:
    try:
        found = picoseconds(text)
    except (ValueError, NoReadingError):
        return
    assert abs(found) < 10**24


def test_another_instrument_is_refused(counter: Any) -> None:
    counter.idn = "Keysight Technologies,34461A,SIM-1,1"
    with pytest.raises(WrongInstrumentError, match="34461A"):
        Keysight53230A.at(counter.resource)


def test_a_late_reading_is_not_the_next_one(counter: Any, driver: Keysight53230A, fake: ModuleType) -> None:
    late = fake.Late()
    counter.faults.append(late)
    with Port(counter.resource, timeout_s=5) as port:
        slow = Keysight53230A(port)
        with pytest.raises(PortTimeoutError):
            port.query("READ?", 0.1)
        counter.reading = "+7.00000000000000E-009"
        late.go.set()
        assert slow.read_ps() == 7000
