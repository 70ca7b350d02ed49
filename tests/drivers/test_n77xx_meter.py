"""What a Keysight N774x is told, and what is made of its answers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.capability import PowerLogger, PowerMeter, TriggeredMeter
from drivers.errors import (
    InstrumentFaultError,
    NoReadingError,
    PortReplyError,
    PortTimeoutError,
    SettingError,
    WrongInstrumentError,
)
from drivers.keysight_n77xx_meter import KeysightN77xxMeter, duration
from drivers.quantity import DBm, Metre, Second
from drivers.session import Replay
from drivers.simulated.virtual import VirtualClock

Talk = Callable[..., Replay]

WHO = "Keysight Technologies,N7747A,DE00000001,1.16"
FINE = ("SYST:ERR?", '+0,"No error"')
OPENED = (
    FINE,
    ("SENS1:FUNC:STAT?", "NONE,PROGRESS"),
    ("SENS2:FUNC:STAT?", "NONE,PROGRESS"),
    *(
        line
        for words in (
            "SENS1:POW:UNIT 1;:SENS2:POW:UNIT 1",
            "SENS1:POW:REF:STAT 0;:SENS2:POW:REF:STAT 0",
            "SENS1:CORR 0DB;:SENS2:CORR 0DB",
            "SENS1:POW:GAIN:AUTO 1;:SENS2:POW:GAIN:AUTO 1",
            "SENS1:POW:RANG:AUTO 1;:SENS2:POW:RANG:AUTO 1",
            "TRIG1:INP IGN;:TRIG2:INP IGN",
            "INIT1:CONT 0;:INIT2:CONT 0",
        )
        for line in (words, FINE)
    ),
    ("SENS1:POW:ATIM?", "+1.00000000E-001"),
    ("SENS2:POW:ATIM?", "+1.00000000E-001"),
)
BEGUN = ("INIT1;:INIT2", ("*OPC?", "1"))


def opened(talk: Talk, *lines: Any, clock: VirtualClock | None = None) -> KeysightN77xxMeter:
    return KeysightN77xxMeter(talk(WHO, *OPENED, *lines), clock=clock or VirtualClock())


def watts(*powers: float) -> bytes:
    return struct.pack(f"<{len(powers)}f", *powers)


def test_it_is_what_a_plan_may_ask_for(talk: Talk) -> None:
    meter = opened(talk)
    assert isinstance(meter, PowerMeter)
    assert isinstance(meter, PowerLogger)
    assert isinstance(meter, TriggeredMeter)
    assert meter.channels == 2
    assert meter.spec.origin.startswith("unconfirmed")
    assert meter.safe_state().confirmed


def test_a_record_that_others_left_running_is_ended(talk: Talk) -> None:
    lines: tuple[Any, ...] = (
        OPENED[0],
        ("SENS1:FUNC:STAT?", "LOGGING_STABILITY,PROGRESS"),
        "SENS1:FUNC:STAT LOGG,STOP",
        FINE,
    )
    lines += (("SENS2:FUNC:STAT?", "MINMAX,PROGRESS"), "SENS2:FUNC:STAT MINM,STOP", FINE, *OPENED[3:])
    KeysightN77xxMeter(talk(WHO, *lines), clock=VirtualClock())


def test_another_instrument_is_refused(talk: Talk) -> None:
    with pytest.raises(WrongInstrumentError, match="N7714A"):
        KeysightN77xxMeter(talk("Keysight Technologies,N7714A,DE1,1"))


def test_settings_go_to_all_ports_in_one_message(talk: Talk) -> None:
    meter = opened(
        talk,
        "SENS1:POW:WAV 1550.000000NM;:SENS2:POW:WAV 1550.000000NM",
        FINE,
        "SENS2:POW:WAV 1310.125000NM",
        FINE,
        "SENS1:POW:ATIM 20MS;:SENS2:POW:ATIM 20MS",
        FINE,
    )
    meter.set_wavelength(Metre(1550e-9))
    meter.set_wavelength(Metre(1310.125e-9), [2])
    meter.set_averaging(Second(0.02))


def test_what_the_meter_objects_to_is_an_error(talk: Talk) -> None:
    meter = opened(
        talk, "SENS1:POW:WAV 1550.000000NM", ("SYST:ERR?", '-222,"Data out of range;StatParmTooLarge"'), FINE
    )
    with pytest.raises(InstrumentFaultError, match="StatParmTooLarge"):
        meter.set_wavelength(Metre(1550e-9), [1])


@pytest.mark.parametrize("nm", [799.9, 1700.1, float("nan"), float("inf"), -1550.0])
def test_a_wavelength_beyond_the_data_sheet_is_not_sent(talk: Talk, nm: float) -> None:
    with pytest.raises(SettingError):
        opened(talk).set_wavelength(Metre(nm * 1e-9))


@pytest.mark.parametrize("seconds", [0.0, 99e-6, 10.1, -1.0, float("nan"), 0.1 + 3e-10])
def test_an_averaging_time_beyond_the_data_sheet_is_not_sent(talk: Talk, seconds: float) -> None:
    with pytest.raises(SettingError):
        opened(talk).set_averaging(Second(seconds))


def test_ports_that_are_none_are_refused(talk: Talk) -> None:
    meter = opened(talk)
    asks: list[Callable[[], object]] = [
        lambda: meter.read(3),
        lambda: meter.read(0),
        lambda: meter.set_wavelength(Metre(1550e-9), [1, 3]),
        lambda: meter.start_log([0], 10, Second(1e-3)),
    ]
    for ask in asks:
        with pytest.raises(SettingError, match="channels of 1 to 2"):
            ask()


@given(nanoseconds=st.integers(1, 10_000_000_000))
def test_a_time_is_sent_whole(nanoseconds: int) -> None:
    text = duration(Second(nanoseconds / 1e9))
    size = {"M": 1_000_000, "U": 1_000, "N": 1}[text[-2]]
    assert int(text[:-2]) * size == nanoseconds


def test_one_reading(talk: Talk) -> None:
    assert opened(talk, ("READ2:POW?", "+6.73370400E-04\r\n")).read(2) == 6.733704e-4


@pytest.mark.parametrize("answer", ["-1.00000000E-012", "+1.00000000E-015", "+0.00000000E+000", "-3.2E-009"])
def test_no_light_is_no_number(talk: Talk, answer: str) -> None:
    assert opened(talk, ("READ1:POW?", answer)).read(1) is None


def test_a_questionable_reading_is_no_darkness(talk: Talk) -> None:
    silent = PortTimeoutError("a whole answer", "silence", "look")
    queue = (("SYST:ERR?", '-231,"Data questionable"'), FINE)
    meter = opened(talk, ("READ1:POW?", silent), *queue, FINE, ("READ1:POW?", "+9.91000000E+037"), *queue)
    for _ in range(2):
        with pytest.raises(NoReadingError, match="questionable"):
            meter.read(1)


def test_another_error_behind_a_questionable_reading_is_not_lost(talk: Talk) -> None:
    meter = opened(talk, ("READ1:POW?", "+9.91000000E+037"), ("SYST:ERR?", '-310,"System error"'), FINE)
    with pytest.raises(InstrumentFaultError, match="System error"):
        meter.read(1)


def test_silence_for_another_reason_is_an_error(talk: Talk) -> None:
    silent = PortTimeoutError("a whole answer", "silence", "look")
    meter = opened(talk, ("READ1:POW?", silent), ("SYST:ERR?", '-303,"Slot empty"'), FINE, ("READ1:POW?", silent), FINE)
    with pytest.raises(InstrumentFaultError, match="Slot empty"):
        meter.read(1)
    with pytest.raises(PortTimeoutError):
        meter.read(1)


def test_more_light_than_it_can_measure_is_no_darkness(talk: Talk) -> None:
    with pytest.raises(NoReadingError, match="10 dBm"):
        opened(talk, ("READ1:POW?", "+2.1E-002")).read(1)


@pytest.mark.parametrize(
    "answer", ["", "+1.0E-003;+1.0E-003", "1.0E-003 W", "+1.0E-003,+2.0E-003", "dark", '+0,"No error"']
)
def test_garbage_is_no_reading(talk: Talk, answer: str) -> None:
    with pytest.raises(PortReplyError):
        opened(talk, ("READ1:POW?", answer)).read(1)


def test_all_ports_are_begun_together_and_come_in_one_block(talk: Talk) -> None:
    clock = VirtualClock()
    meter = opened(
        talk,
        *BEGUN,
        ("FETC:POW:ALL?", watts(1e-3, 0.0)),
        ("FETC1:POW?", "+1.00000005E-003"),
        *BEGUN,
        ("FETC:POW:ALL?", watts(-1e-12, 2e-6)),
        clock=clock,
    )
    assert meter.read_all() == {1: pytest.approx(1e-3), 2: None}
    before = clock.now_ns()
    assert meter.read_all() == {1: None, 2: pytest.approx(2e-6)}
    assert clock.now_ns() - before == 100_000_000


def test_the_wait_ends_when_the_box_says_so(talk: Talk) -> None:
    meter = opened(
        talk,
        "INIT1;:INIT2",
        ("*OPC?", "0"),
        ("*OPC?", "0"),
        ("*OPC?", "1"),
        ("FETC:POW:ALL?", watts(0.0, 0.0)),
    )
    assert meter.read_all() == {1: None, 2: None}


@pytest.mark.parametrize("value", [9.91e37, float("nan"), float("inf"), -1.0, 0.03])
def test_a_port_that_is_driven_too_hard_matters_to_those_who_want_it(talk: Talk, value: float) -> None:
    begun = (*BEGUN, ("FETC:POW:ALL?", watts(0.0, 0.0)), *BEGUN, ("FETC:POW:ALL?", watts(value, 0.0)))
    meter = opened(talk, *begun, ("FETC1:POW?", "+9.91E+037"), FINE)
    meter.read_all()
    meter.start_read()
    assert meter.finish_read([2]) == {2: None}
    other = opened(talk, *begun, ("FETC1:POW?", "+9.91E+037"), FINE)
    other.read_all()
    with pytest.raises(NoReadingError, match="port 1"):
        other.read_all()


def test_a_block_that_came_too_early_is_fetched_again(talk: Talk) -> None:
    fault = InstrumentFaultError(-231, "Data questionable", "FETC:POW:ALL?")
    session = talk(WHO, *OPENED, *BEGUN, ("FETC:POW:ALL?", fault), ("FETC:POW:ALL?", watts(0.0, 0.0)))
    assert KeysightN77xxMeter(session, clock=VirtualClock()).read_all() == {1: None, 2: None}


def test_several_boxes_average_at_one_time(talk: Talk) -> None:
    clock = VirtualClock()
    block = ("FETC:POW:ALL?", watts(0.0, 0.0))
    boxes = [opened(talk, *BEGUN, block, clock=clock) for _ in range(8)]
    before = clock.now_ns()
    for box in boxes:
        box.start_read()
    for box in boxes:
        box.finish_read()
    assert clock.now_ns() - before == 100_000_000
    with pytest.raises(NoReadingError, match="were begun"):
        boxes[0].finish_read()


def test_a_firmware_with_the_other_byte_order_is_understood(talk: Talk) -> None:
    meter = opened(
        talk,
        *BEGUN,
        ("FETC:POW:ALL?", struct.pack(">2f", 0.0, 1e-5)),
        ("FETC2:POW?", "+1.00000000E-005"),
        *BEGUN,
        ("FETC:POW:ALL?", struct.pack(">2f", 2e-5, 3e-5)),
    )
    assert meter.read_all() == {1: None, 2: pytest.approx(1e-5)}
    assert meter.read_all() == {1: pytest.approx(2e-5), 2: pytest.approx(3e-5)}


def test_a_block_that_is_no_reading_of_the_port_is_refused(talk: Talk) -> None:
    meter = opened(talk, *BEGUN, ("FETC:POW:ALL?", watts(1e-5, 1e-5)), ("FETC1:POW?", "-2.00000000E+001"))
    with pytest.raises(PortReplyError, match="FETC1"):
        meter.read_all()


@pytest.mark.parametrize("octets", [b"", b"\x00" * 4, b"\x00" * 12, b"\x00" * 9])
def test_a_block_of_another_length_is_refused(talk: Talk, octets: bytes) -> None:
    with pytest.raises(PortReplyError, match="2 values"):
        opened(talk, *BEGUN, ("FETC:POW:ALL?", octets)).read_all()


FIRST = (*BEGUN, ("FETC:POW:ALL?", watts(1e-3, 0.0)), ("FETC1:POW?", "+1.00000005E-003"))
STARTED = (
    "SENS1:POW:GAIN:AUTO 0;:SENS2:POW:GAIN:AUTO 0",
    "SENS1:POW:RANG:AUTO 0",
    "SENS1:POW:RANG 10DBM",
    "TRIG1:INP IGN",
    "SENS1:FUNC:PAR:LOGG 4,100US",
    FINE,
    "SENS1:FUNC:STAT LOGG,STAR",
    FINE,
)
ENDED = (
    "SENS1:FUNC:STAT LOGG,STOP",
    FINE,
    "TRIG1:INP IGN;:TRIG2:INP IGN",
    "SENS1:POW:GAIN:AUTO 1;:SENS2:POW:GAIN:AUTO 1",
    "SENS1:POW:RANG:AUTO 1;:SENS2:POW:RANG:AUTO 1",
    FINE,
)


def test_a_record(talk: Talk) -> None:
    clock = VirtualClock()
    meter = opened(
        talk,
        *FIRST,
        *STARTED,
        ("SENS1:FUNC:STAT?", "LOGGING_STABILITY,PROGRESS"),
        ("SENS1:FUNC:STAT?", "LOGGING_STABILITY,COMPLETE"),
        ("SENS1:FUNC:RES?", watts(1e-3, -1e-9, 0.0, 1e-4)),
        *ENDED,
        clock=clock,
    )
    meter.start_log([1], 4, Second(100e-6))
    assert list(meter.log(1)) == pytest.approx([1e-3, -1e-9, 0.0, 1e-4])
    with pytest.raises(NoReadingError, match="none was begun"):
        meter.log(1)


def test_a_sample_that_is_none_is_not_passed_over(talk: Talk) -> None:
    meter = opened(
        talk,
        *FIRST,
        *STARTED,
        ("SENS1:FUNC:STAT?", "LOGGING_STABILITY,COMPLETE"),
        ("SENS1:FUNC:RES?", watts(1e-3, 9.91e37, float("nan"), 1e-4)),
        *ENDED,
    )
    meter.start_log([1], 4, Second(100e-6))
    with pytest.raises(NoReadingError, match="2 that are none"):
        meter.log(1)


@pytest.mark.parametrize(
    "state", ["NONE,PROGRESS", "MINMAX,PROGRESS", "", "LOGGING_STABILITY", "LOGGING_STABILITY,HALF"]
)
def test_a_record_that_somebody_ended_is_an_error(talk: Talk, state: str) -> None:
    meter = opened(talk, *FIRST, *STARTED, ("SENS1:FUNC:STAT?", state))
    meter.start_log([1], 4, Second(100e-6))
    with pytest.raises(PortReplyError):
        meter.log(1)


def test_a_record_that_does_not_end_is_an_error(talk: Talk) -> None:
    asked = [("SENS1:FUNC:STAT?", "LOGGING_STABILITY,PROGRESS")] * 200
    session = talk(WHO, *OPENED, *FIRST, *STARTED, *asked)
    meter = KeysightN77xxMeter(session, clock=VirtualClock())
    meter.start_log([1], 4, Second(100e-6))
    with pytest.raises(PortTimeoutError, match="PROGRESS"):
        meter.log(1, within_s=0.1)
    session.finish = lambda: None  # type: ignore[method-assign]  # how often it looked is its own affair


def test_records_are_ended_on_the_way_to_the_safe_state(talk: Talk) -> None:
    meter = opened(talk, *FIRST, *STARTED, *ENDED)
    meter.start_log([1], 4, Second(100e-6))
    assert meter.safe_state().confirmed


@pytest.mark.parametrize(
    ("samples", "period"), [(0, 1e-3), (1_000_001, 1e-3), (-1, 1e-3), (True, 1e-3), (10, 10e-6), (10, 11.0), (10, 0.0)]
)
def test_a_record_beyond_the_data_sheet_is_not_begun(talk: Talk, samples: int, period: float) -> None:
    with pytest.raises(SettingError):
        opened(talk).start_log([1], samples, Second(period))


def test_a_triggered_record_takes_one_sample_a_trigger(talk: Talk) -> None:
    triggered = tuple(line.replace("IGN", "SME") if isinstance(line, str) else line for line in STARTED)
    opened(talk, *FIRST, *triggered).start_log([1], 4, Second(100e-6), triggered=True)


@pytest.mark.parametrize(
    ("read", "chosen"),
    [(0.0, 10), (1e-3, 10), (9e-5, 0), (2e-5, 0), (9e-6, -10), (1e-9, -50), (1e-12, -70), (2e-13, 10), (1e-2, 10)],
)
def test_the_range_of_a_record_reaches_above_all_that_was_read(talk: Talk, read: float, chosen: int) -> None:
    lines = (*BEGUN, ("FETC:POW:ALL?", watts(0.0, read)), *([("FETC2:POW?", f"{read:E}")] if read else []))
    ranged = tuple(
        line.replace("RANG 10DBM", f"RANG {chosen}DBM") if isinstance(line, str) else line for line in STARTED
    )
    meter = opened(talk, ("READ2:POW?", f"{read:E}"), *lines, *ranged)
    meter.read(2)
    meter.start_log([1], 4, Second(100e-6))


def test_a_range_that_it_does_not_have_is_refused(talk: Talk) -> None:
    for wrong in (DBm(5), DBm(20), DBm(-80)):
        with pytest.raises(SettingError, match="-70 or -60"):
            KeysightN77xxMeter(talk(WHO), log_range=wrong)


def test_ports_that_were_not_dark_are_named_after_zeroing(talk: Talk) -> None:
    meter = opened(
        talk,
        "SENS1:CORR:COLL:ZERO:ALL",
        ("SENS1:CORR:COLL:ZERO:ALL?", "+16"),
        "SENS1:CORR:COLL:ZERO:ALL",
        ("SENS1:CORR:COLL:ZERO:ALL?", "+0"),
    )
    with pytest.raises(NoReadingError, match=r"ports \[2\]"):
        meter.zero()
    meter.zero()


def test_it_waits_while_the_box_zeroes(talk: Talk) -> None:
    silent = PortTimeoutError("a whole answer", "silence", "look")
    refused = ("SYST:ERR?", '-616,"Not allowed while zeroing"')
    meter = opened(
        talk,
        "SENS1:CORR:COLL:ZERO:ALL",
        ("SENS1:CORR:COLL:ZERO:ALL?", silent),
        refused,
        FINE,
        ("SENS1:CORR:COLL:ZERO:ALL?", "+0"),
    )
    meter.zero()
