"""The SCPI engine against IEEE 488.2 and SCPI-99: grammar, errors, status, time."""

from __future__ import annotations

import threading
import time

import pytest

from drivers.clock import WALL
from drivers.port import Identity
from drivers.simulated.scpi import ScpiDevice, ScpiError, StatusRegister
from drivers.simulated.virtual import VirtualClock
from tests.drivers.simulated.lamp_model import Lamp


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def lamp(clock: VirtualClock) -> Lamp:
    made = Lamp(clock)
    made.handle(b"*ESR?")  # power on
    return made


def said(lamp: ScpiDevice, message: str | bytes) -> str | None:
    answer = lamp.handle(message.encode("latin-1") if isinstance(message, str) else message)
    return None if answer is None else answer.decode("latin-1")


def first_error(lamp: ScpiDevice) -> int:
    return int((said(lamp, "SYST:ERR?") or "").split(",")[0])


# -- headers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "SOUR:POW?", "source:power?", "SOURce:POWer?", ":SOUR:POW?", "sour1:pow:lev?", "SOUR1:POWER:LEVEL:IMM?",
        "SOUR:POW:IMMEDIATE?", "  sour:pow?  ", "\x01SOUR:POW?\t", "SOUR:POW1?",
    ],
)  # fmt: skip
def test_short_and_long_forms_in_any_case_with_and_without_optional_nodes_are_one_command(
    lamp: Lamp, header: str
) -> None:
    assert said(lamp, header) == "1.00000000E-03"
    assert first_error(lamp) == 0


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("SOURC:POW?", -113),  # nothing between the short and the long form
        ("SOU:POW?", -113),
        ("SOUR:POW:LEV:LEV?", -113),
        ("POW?", -113),
        ("*XYZ", -113),
        ("TRIG:MODE:", -102),
        ("SOUR::POW?", -102),
        ("1SOUR?", -102),
        ("?", -102),
        (":*STB?", -102),  # a common command has no colon
        ("SOUR:POW?MIN", -111),
        ("SOUR,POW 1", -103),
        ("S\xd6UR:POW?", -101),
        ("ABCDEFGHIJKLMN?", -112),
        ("SOUR3:POW?", -114),
        ("TRIG2:MODE?", -114),  # a node that takes no number
        ("SOUR99999999999:POW?", -114),
        ("SOUR:POW", -109),
        ("SOUR:POW 1,2", -108),
        ("*CLS 1", -108),
        ("*IDN? 1", -108),
        ("SYST:ERR? 1", -108),
        ("SOUR:POW 1.2.3", -121),
        ("SOUR:POW 1E99999", -123),
        ("SOUR:POW " + "1" * 256, -124),
        ("SOUR:POW 1 XM", -131),
        ("SOUR:POW 1 ABCDEFGHIJKLMNOP", -134),
        ("SWE 3 S", -138),
        ("SOUR:POW ABC", -141),
        ("SOUR:POW 'x'", -158),
        ("SOUR:POW (@1)", -178),
        ("SOUR:POW #14abcd", -168),
        ("SOUR:POW 1", -222),
        ("SOUR:POW -1", -222),
        ("SWE 1.5", -104),
        ("TRIG:MODE SME2", -141),
        ("TRIG:MODE 5", -128),
        ("OUTP MAYBE", -141),
        ("OUTP 7", -224),
        ("DISP:LAB abc", -104),
        ("DISP:LAB 'abc", -151),
        ("ROUT:CLOS 5", -104),
        ("ROUT:CLOS (@1,2", -171),
        ("ROUT:CLOS (1,2)", -171),
        ("ROUT:CLOS (@1,,2)", -171),
        ("ROUT:CLOS (@1:99999999)", -223),
        ("MEM:DATA #9", -161),
        ("MEM:DATA #15abc", -161),
        ("MEM:DATA 5", -104),
        ("*ESE 256", -222),
        ("BROK", -300),
    ],
)  # fmt: skip
def test_what_is_wrong_has_its_number_and_no_answer(lamp: Lamp, message: str, code: int) -> None:
    assert said(lamp, message) is None
    assert first_error(lamp) == code
    assert first_error(lamp) == 0


def test_numeric_suffixes_reach_the_handler_in_order_with_defaults_for_what_is_left_out(lamp: Lamp) -> None:
    assert said(lamp, "SOUR2:WAV?") == "(2, 1)"
    assert said(lamp, "SOUR:CHAN3:WAV?") == "(1, 3)"
    assert said(lamp, "SOUR0:CHAN12:WAV?") == "(0, 12)"


def test_a_number_that_is_part_of_a_name_is_no_suffix(lamp: Lamp) -> None:
    assert said(lamp, "TEST2:FIX?") == "fixed"
    assert said(lamp, "TEST1:FIX?") is None


def test_a_default_other_than_one_can_be_declared(lamp: Lamp) -> None:
    lamp.on("LINS#:STAT?", lambda suffixes, args: str(suffixes), default=0)
    assert said(lamp, "LINS:STAT?;STAT?") == "(0,);(0,)"


def test_a_later_registration_replaces_the_earlier_one(lamp: Lamp) -> None:
    assert said(lamp, "TRIG:MODE?") == "IGN"
    lamp.on("TRIGger:MODE?", lambda suffixes, args: "other")
    assert said(lamp, "TRIG:MODE?") == "other"


@pytest.mark.parametrize("pattern", ["[SENSe]", "SENS[e", "SENSe]", "SENSe:[]", "SENS e", ""])
def test_a_pattern_that_is_none_is_refused(lamp: Lamp, pattern: str) -> None:
    with pytest.raises(ValueError):
        lamp.on(pattern, lambda suffixes, args: None)


# -- messages ----------------------------------------------------------------------------------------------


def test_a_semicolon_keeps_the_path_and_its_suffixes(lamp: Lamp) -> None:
    assert said(lamp, "SOUR2:POW 2MW;POW?;POW:LIM?") == "2.00000000E-03;limit (2,)"


def test_the_path_goes_down_with_each_unit(lamp: Lamp) -> None:
    assert said(lamp, "SOUR2:POW:LEV 2MW;LEV?;LIM?") == "2.00000000E-03;limit (2,)"


def test_a_colon_leads_back_to_the_root(lamp: Lamp) -> None:
    assert said(lamp, "SOUR2:POW 3MW;:TRIG:MODE SME;:SOUR2:POW?;:TRIG:MODE?") == "3.00000000E-03;SME"
    assert said(lamp, "SOUR2:POW 3MW;TRIG:MODE?") is None
    assert first_error(lamp) == -113


def test_common_commands_do_not_disturb_the_path(lamp: Lamp) -> None:
    assert said(lamp, "SOUR2:POW 4MW;*CLS;POW?;*IDN?;POW?") == "4.00000000E-03;millicert,LAMP,SIM-1,1.0;4.00000000E-03"


def test_the_path_ends_with_the_message(lamp: Lamp) -> None:
    said(lamp, "SOUR2:POW 4MW")
    assert said(lamp, "POW?") is None
    assert first_error(lamp) == -113


def test_a_command_error_ends_the_message_and_what_was_answered_before_is_sent(lamp: Lamp) -> None:
    assert said(lamp, "*OPC?;NONS;*IDN?") == "1"
    assert said(lamp, "SYST:ERR:COUN?") == "1"


def test_an_execution_error_ends_only_its_unit(lamp: Lamp) -> None:
    assert said(lamp, "SOUR:POW 5;:SOUR2:POW 1MW;*OPC?") == "1"
    assert first_error(lamp) == -222


def test_separators_inside_strings_blocks_and_expressions_separate_nothing(lamp: Lamp) -> None:
    assert said(lamp, 'DISP:LAB "a;b,""c""";LAB?') == '"a;b,"c""'
    assert said(lamp, b'MEM:DATA #15;,\n\x00";:MEM:DATA?') == '#15;,\n\x00"'
    assert said(lamp, "ROUT:CLOS (@1,2,5:7);CLOS?") == "1,2,5,6,7"
    assert first_error(lamp) == 0


def test_a_block_in_front_of_other_parameters_is_cut_where_its_length_says(lamp: Lamp) -> None:
    seen: list[list[str]] = []
    lamp.on("MEALink?", lambda suffixes, args: seen.append(args))
    said(lamp, 'MEAL? MOD2,1,#170001004,MAN,1000,"SM-OTDR"')
    assert seen == [["MOD2", "1", "#170001004", "MAN", "1000", '"SM-OTDR"']]


def test_empty_messages_and_units_mean_nothing(lamp: Lamp) -> None:
    assert said(lamp, "") is None
    assert said(lamp, " ; ;; *IDN?;") == "millicert,LAMP,SIM-1,1.0"
    assert first_error(lamp) == 0


def test_octets_become_a_definite_block(lamp: Lamp) -> None:
    answer = lamp.handle(b"TRAC?")
    assert answer is not None
    assert answer[:4] == b"#220"
    assert len(answer) == 4 + 20


def test_a_query_that_the_model_leaves_unanswered_says_nothing(lamp: Lamp) -> None:
    assert said(lamp, "MUTE?") is None
    assert said(lamp, "MUTE?;*OPC?") == "1"


# -- errors and status -------------------------------------------------------------------------------------


def test_the_queue_is_first_in_first_out_and_its_last_place_says_overflow(clock: VirtualClock) -> None:
    lamp = Lamp(clock, depth=3)
    for message in ("A1", "SOUR:POW 5", "BROK", "OUTP 7", "OUTP 7"):
        lamp.handle(message.encode())
    assert said(lamp, "SYST:ERR:COUN?") == "3"
    assert [first_error(lamp) for _ in range(4)] == [-113, -222, -350, 0]


def test_an_instrument_may_keep_only_the_newest_error(clock: VirtualClock) -> None:
    lamp = Lamp(clock, newest_only=True)
    for message in ("A1", "SOUR:POW 5"):
        lamp.handle(message.encode())
    assert [first_error(lamp) for _ in range(2)] == [-222, 0]


def test_errors_are_written_as_the_maker_writes_them(lamp: Lamp) -> None:
    assert said(lamp, "SYST:ERR?") == '0,"No error"'
    lamp.error_format = '{code:+d},"{text}"'
    assert said(lamp, "SYST:ERR?") == '+0,"No error"'
    lamp.error_format = '{code}, "{text}"'
    assert said(lamp, "SYST:ERR?") == '0, "No error"'
    lamp.error(-222, "StatParmTooLarge")
    lamp.error(101, 'Laser "locked"')
    assert said(lamp, "SYST:ERR:ALL?") == '-222, "Data out of range;StatParmTooLarge",101, "Laser \'locked\'"'
    assert said(lamp, "SYST:ERR:ALL?") == '0, "No error"'


def test_a_maker_may_mean_something_else_by_a_number(lamp: Lamp) -> None:
    lamp.texts = {-284: "Function currently running"}
    lamp.error(-284)
    assert said(lamp, "SYST:ERR?") == '-284,"Function currently running"'


@pytest.mark.parametrize(
    ("code", "bit"),
    [(-113, 32), (-222, 16), (-350, 8), (101, 8), (-410, 4), (-616, 8), (-199, 32), (-299, 16), (-399, 8)],
)
def test_each_class_of_errors_has_its_bit(lamp: Lamp, code: int, bit: int) -> None:
    lamp.error(code)
    assert said(lamp, "*ESR?;*ESR?") == f"{bit};0"


def test_power_on_is_told_once(clock: VirtualClock) -> None:
    assert said(Lamp(clock), "*ESR?;*ESR?") == "128;0"


def test_the_status_byte_sums_up(lamp: Lamp) -> None:
    assert said(lamp, "*STB?") == "0"
    assert said(lamp, "*IDN?;*STB?") == "millicert,LAMP,SIM-1,1.0;16"
    said(lamp, "NONSENSE")
    assert said(lamp, "*STB?") == "4"
    said(lamp, "*ESE 32;*SRE 32")
    assert said(lamp, "*ESE?;*SRE?;*STB?;*STB?") == "32;32;116;116"
    assert lamp.stb() == 100
    assert lamp.stb(available=True) == 116
    lamp.service_requests = False
    assert lamp.stb() == 36
    said(lamp, "*CLS")
    assert said(lamp, "*STB?;*ESE?;*SRE?") == "0;32;32"


def test_bit_six_cannot_be_enabled(lamp: Lamp) -> None:
    assert said(lamp, "*SRE 255;*SRE?") == "191"


def test_operation_register_latches_what_the_filters_let_through(lamp: Lamp, clock: VirtualClock) -> None:
    assert said(lamp, "STAT:OPER:COND?;EVEN?;ENAB?;PTR?;NTR?") == "0;0;0;32767;0"
    said(lamp, "OUTP2 1")
    assert said(lamp, "STAT:OPER:COND?;COND?") == "2;2"
    clock.sleep(1.0)
    assert said(lamp, "STAT:OPER:COND?") == "0"
    said(lamp, "STAT:OPER:ENAB 2")
    assert lamp.stb() == 128
    assert said(lamp, "STAT:OPER?;:STAT:OPER?") == "2;0"
    assert lamp.stb() == 0
    said(lamp, "STAT:OPER:PTR 0;NTR 2;:OUTP2 0")
    assert said(lamp, "STAT:OPER?") == "0"
    clock.sleep(1.0)
    assert said(lamp, "STAT:OPER?") == "2"
    assert said(lamp, "STAT:PRES;:STAT:OPER:ENAB?;PTR?;NTR?") == "0;32767;0"


def test_questionable_register_is_the_models(lamp: Lamp) -> None:
    said(lamp, "STAT:QUES:ENAB 8")
    lamp.questionable.change(8)
    assert said(lamp, "STAT:QUES:COND?;*STB?") == "8;24"
    assert lamp.stb() == 8
    said(lamp, "*CLS")
    assert said(lamp, "STAT:QUES:COND?;EVEN?") == "8;0"
    assert lamp.stb() == 0


def test_registers_of_slots_can_be_added(lamp: Lamp) -> None:
    slots = {1: StatusRegister(), 2: StatusRegister()}

    def slot(suffixes: tuple[int, ...]) -> StatusRegister:
        if suffixes[0] not in slots:
            raise ScpiError(-114)
        return slots[suffixes[0]]

    lamp.status("STATus#:OPERation", slot)
    slots[2].change(5)
    assert said(lamp, "STAT2:OPER:COND?;:STAT1:OPER:COND?") == "5;0"
    assert said(lamp, "STAT3:OPER:COND?") is None
    assert first_error(lamp) == -114


def test_reset_is_the_models(lamp: Lamp) -> None:
    assert said(lamp, "SOUR:POW 5MW;*RST;POW?") == "1.00000000E-03"
    assert lamp.resets == 1


# -- time --------------------------------------------------------------------------------------------------


def test_opc_query_waits_for_what_is_under_way(lamp: Lamp, clock: VirtualClock) -> None:
    said(lamp, "SWE 30")
    began = clock.now_ns()
    assert said(lamp, "*OPC?") == "1"
    assert clock.now_ns() - began >= 29.99e9


def test_opc_query_of_some_instruments_does_not_wait(lamp: Lamp, clock: VirtualClock) -> None:
    lamp.opc_blocks = False
    said(lamp, "OUTP2 1")
    assert said(lamp, "*WAI;*OPC?;:SLOT1:OPC?;:SLOT2:OPC?") == "0;1;0"
    polls = 0
    while said(lamp, "*OPC?") == "0":
        polls += 1
    assert 100 < polls < 5000  # polling ends by itself, as each exchange costs time
    assert said(lamp, "SLOT2:OPC?") == "1"


def test_opc_sets_its_bit_when_all_is_over(lamp: Lamp, clock: VirtualClock) -> None:
    said(lamp, "SWE 3;*OPC")
    assert said(lamp, "*ESR?") == "0"
    clock.sleep(3.0)
    assert said(lamp, "*ESR?;*ESR?") == "1;0"


def test_clear_status_cancels_a_pending_opc(lamp: Lamp, clock: VirtualClock) -> None:
    said(lamp, "SWE 3;*OPC;*CLS")
    clock.sleep(3.0)
    assert said(lamp, "*ESR?") == "0"


def test_a_blocking_measurement_takes_its_time(lamp: Lamp, clock: VirtualClock) -> None:
    began, spent = clock.now_ns(), lamp.spent_ns
    assert said(lamp, "MEAS? 2S") == "+1.5E-006"
    assert clock.now_ns() - began == lamp.spent_ns - spent == 2_000_000_000 + lamp.busy_ns


def test_on_a_real_clock_a_device_clear_ends_a_blocking_operation_unanswered() -> None:
    lamp = Lamp(WALL)
    answers: list[bytes | None] = []
    began = time.monotonic()
    thread = threading.Thread(target=lambda: answers.append(lamp.handle(b"MEAS? 60")))
    thread.start()
    time.sleep(0.2)  # before it or during it: the clear is repeated until it has met the measurement
    while thread.is_alive():
        lamp.clear()
        thread.join(0.05)
    assert answers == [None]
    assert time.monotonic() - began < 30


def test_only_serial_numbers_that_say_so_are_simulated(clock: VirtualClock) -> None:
    for serial in ("DE12345678", "", "XSIM-1"):
        with pytest.raises(ValueError, match="SIM-"):
            ScpiDevice(Identity("Keysight Technologies", "N7744A", serial, "1"), clock)
