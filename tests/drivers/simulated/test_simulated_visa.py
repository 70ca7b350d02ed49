"""The VISA library of the simulated laboratory, as pyvisa sees it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import pyvisa
from pyvisa.constants import VI_TMO_INFINITE, ResourceAttribute, StatusCode
from pyvisa.resources import MessageBasedResource

from drivers.clock import WALL
from drivers.simulated.faults import Fault, Faults, Kind
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.visa import SimulatedVisa
from tests.drivers.simulated.lamp_model import LAMP, Crossbar, Lamp

FRAMED = "TCPIP0::lamp::hislip0::INSTR"
STREAM = "TCPIP0::lamp::5025::SOCKET"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def lamp(clock: VirtualClock) -> Lamp:
    made = Lamp(clock)
    made.handle(b"*ESR?")
    return made


@pytest.fixture
def library(lamp: Lamp) -> Iterator[SimulatedVisa]:
    made = SimulatedVisa()
    made.serve(lamp, FRAMED)
    made.serve(lamp, STREAM)
    yield made
    pyvisa.ResourceManager(made).close()


def opened(library: SimulatedVisa, name: str = FRAMED) -> MessageBasedResource:
    instrument = pyvisa.ResourceManager(library).open_resource(name)
    assert isinstance(instrument, MessageBasedResource)
    instrument.read_termination = "\r\n" if name == STREAM else ""
    instrument.write_termination = "\n"
    return instrument


def test_each_library_is_a_laboratory_by_itself(library: SimulatedVisa) -> None:
    other = SimulatedVisa()
    assert pyvisa.ResourceManager(library).list_resources("?*") == (STREAM, FRAMED)
    assert pyvisa.ResourceManager(other).list_resources("?*") == ()
    with pytest.raises(pyvisa.VisaIOError) as caught:
        pyvisa.ResourceManager(other).open_resource(FRAMED)
    assert caught.value.error_code == StatusCode.error_resource_not_found


def test_names_are_what_visa_takes_them_for(library: SimulatedVisa) -> None:
    assert opened(library, "TCPIP::lamp::hislip0").query("*IDN?").strip() == str(LAMP)
    with pytest.raises(ValueError, match="already"):
        library.serve(Lamp(VirtualClock()), "TCPIP::lamp::hislip0::INSTR")
    with pytest.raises(ValueError):
        library.serve(Lamp(VirtualClock()), "nowhere")


def test_a_name_is_made_from_the_serial_number() -> None:
    library = SimulatedVisa()
    assert library.serve(Lamp(VirtualClock())).resource == "TCPIP0::sim-1::hislip0::INSTR"
    assert library.serve(Crossbar(VirtualClock())).resource == "TCPIP0::sim-2::3082::SOCKET"


def test_a_time_out_goes_by_the_instruments_clock(library: SimulatedVisa, clock: VirtualClock) -> None:
    for name in (FRAMED, STREAM):
        instrument = opened(library, name)
        instrument.timeout = 2000
        began = clock.now_ns()
        with pytest.raises(pyvisa.VisaIOError) as caught:
            instrument.read()
        assert caught.value.error_code == StatusCode.error_timeout
        assert clock.now_ns() - began == 2_000_000_000


def test_an_instrument_that_blocks_longer_than_the_time_out_is_late(library: SimulatedVisa) -> None:
    instrument = opened(library)
    instrument.timeout = 2000
    instrument.write("MEAS? 5S")
    for _ in range(2):
        with pytest.raises(pyvisa.VisaIOError):
            instrument.read()
    assert instrument.read() == "+1.5E-006\r\n"


def test_an_endless_time_out_on_a_virtual_clock_ends(library: SimulatedVisa) -> None:
    instrument = opened(library)
    instrument.set_visa_attribute(ResourceAttribute.timeout_value, VI_TMO_INFINITE)
    with pytest.raises(pyvisa.VisaIOError):
        instrument.read()


def test_what_was_never_asked_is_unterminated(library: SimulatedVisa) -> None:
    instrument = opened(library)
    with pytest.raises(pyvisa.VisaIOError):
        instrument.read()
    assert instrument.query("SYST:ERR?").startswith("-420")


def test_what_is_asked_before_the_answer_was_read_is_an_interruption(library: SimulatedVisa) -> None:
    instrument = opened(library)
    instrument.write("*IDN?")
    assert instrument.query("TRIG:MODE?") == "IGN\r\n"
    assert instrument.query("SYST:ERR?").startswith("-410")


def test_a_stream_gives_the_answer_before_first(library: SimulatedVisa) -> None:
    instrument = opened(library, STREAM)
    instrument.write("*IDN?")
    assert instrument.query("TRIG:MODE?") == str(LAMP)
    assert instrument.read() == "IGN"


def test_the_status_byte_knows_of_an_unread_answer(library: SimulatedVisa) -> None:
    instrument = opened(library)
    assert instrument.read_stb() == 0
    instrument.write("*IDN?")
    assert instrument.read_stb() == 16
    instrument.read()
    assert instrument.read_stb() == 0


def test_a_stream_has_no_status_byte(library: SimulatedVisa) -> None:
    with pytest.raises(pyvisa.VisaIOError) as caught:
        opened(library, STREAM).read_stb()
    assert caught.value.error_code == StatusCode.error_nonsupported_operation


def test_a_device_clear_forgets_the_answer(library: SimulatedVisa) -> None:
    instrument = opened(library)
    instrument.write("*IDN?")
    instrument.clear()
    assert instrument.query("TRIG:MODE?") == "IGN\r\n"
    assert instrument.query("SYST:ERR?").startswith("0")


def test_a_trigger_is_a_common_command(library: SimulatedVisa, lamp: Lamp) -> None:
    lamp.on("*TRG", lambda suffixes, args: setattr(lamp, "label", "triggered"))
    instrument = opened(library)
    instrument.assert_trigger()
    assert instrument.query("DISP:LAB?") == '"triggered"\r\n'


def test_answers_may_be_read_in_pieces(library: SimulatedVisa) -> None:
    instrument = opened(library)
    instrument.write("TRAC?;*OPC?")
    assert instrument.read_bytes(4) == b"#220"
    assert len(instrument.read_bytes(20)) == 20
    assert instrument.read_raw() == b";1\r\n"
    assert instrument.query_binary_values("TRAC?", container=bytes, datatype="B")[-1] == ord(";")


def test_attributes_are_kept_and_unknown_ones_refused(library: SimulatedVisa) -> None:
    instrument = opened(library)
    instrument.timeout = 1234
    assert instrument.timeout == 1234
    assert instrument.get_visa_attribute(ResourceAttribute.resource_class) == "INSTR"
    with pytest.raises(pyvisa.VisaIOError) as caught:
        library.get_attribute(instrument.session, ResourceAttribute.gpib_primary_address)
    assert caught.value.error_code == StatusCode.error_nonsupported_attribute


def test_a_dropped_connection_stays_dropped_and_a_new_one_is_good() -> None:
    library = SimulatedVisa()
    library.serve(Lamp(VirtualClock()), STREAM, Faults(Fault(Kind.DROPPED, frozenset({1}))))
    instrument = opened(library, STREAM)
    instrument.write("*IDN?")
    for _ in range(2):
        with pytest.raises(pyvisa.VisaIOError) as caught:
            instrument.read()
        assert caught.value.error_code == StatusCode.error_connection_lost
    with pytest.raises(pyvisa.VisaIOError):
        instrument.write("*IDN?")
    assert opened(library, STREAM).query("*IDN?") == str(LAMP)


def test_an_instrument_taken_away_is_lost_to_its_clients() -> None:
    library = SimulatedVisa()
    carrier = library.serve(Lamp(VirtualClock()), STREAM)
    instrument = opened(library, STREAM)
    carrier.close()
    with pytest.raises(pyvisa.VisaIOError):
        instrument.query("*IDN?")


def test_on_a_real_clock_writing_does_not_wait_and_clearing_ends_what_blocks() -> None:
    library = SimulatedVisa()
    library.serve(Lamp(WALL), FRAMED)
    instrument = opened(library)
    instrument.write("MEAS? 60")
    instrument.timeout = 50
    with pytest.raises(pyvisa.VisaIOError):
        instrument.read()
    instrument.clear()
    instrument.timeout = 10_000
    assert instrument.query("*IDN?") == f"{LAMP}\r\n"
    instrument.close()


def test_what_was_said_before_a_clear_is_never_heard_after_it() -> None:
    library = SimulatedVisa()
    lamp = Lamp(WALL)
    begun = threading.Event()
    ended = threading.Event()

    def nap(suffixes: tuple[int, ...], args: list[str]) -> str:
        begun.set()
        ended.wait(10)
        return "too late"

    lamp.on("NAP?", nap)
    library.serve(lamp, FRAMED)
    instrument = opened(library)
    instrument.write("NAP?")
    assert begun.wait(10)
    instrument.clear()
    ended.set()
    assert instrument.query("*IDN?") == f"{LAMP}\r\n"
    instrument.close()


def test_tl1_over_a_stream() -> None:
    library = SimulatedVisa()
    device = Crossbar(VirtualClock())
    instrument = opened(library, library.serve(device).resource)
    instrument.write_termination = ""
    instrument.read_termination = ";"
    assert "COMPLD" in instrument.query("ACT-USER::root:1::root;")
    device.autonomous("REPT-EVT-PORT", ["1:x"])
    assert "REPT EVT PORT" in instrument.read()
    assert "PLNA" not in instrument.query("RTRV-HDR:::2:;")


def test_twenty_thousand_exchanges_keep_nothing(library: SimulatedVisa) -> None:
    instrument = opened(library)
    for _ in range(20_000):
        instrument.write("SOUR:POW?")
        assert instrument.read_raw() == b"1.00000000E-03\r\n"
