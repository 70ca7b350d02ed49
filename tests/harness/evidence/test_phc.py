"""A mock of a PTP hardware clock at the edge of the system call: no machine of ours has a real one."""

from __future__ import annotations

import errno
import json
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import clock as core_clock
from harness.clock import ClockState
from harness.errors import BenchError
from harness.evidence import phc
from harness.evidence.phc import Phc, Reading, Settings, events_of, folded, rising_edges

SECOND = 10**9
TAI = 37 * SECOND
NOW = 1_795_346_430 * SECOND
PRECISE, EXTENDED, BASIC = (
    core_clock.PTP_SYS_OFFSET_PRECISE2,
    core_clock.PTP_SYS_OFFSET_EXTENDED2,
    core_clock.PTP_SYS_OFFSET2,
)


def octets_of(ns: int) -> bytes:
    return struct.pack("=qII", ns // SECOND, ns % SECOND, 0)


class MockOfAPhc:
    """Answers like the kernel's device for a PHC that reads ``phc`` while the system clock reads ``system``."""

    def __init__(self, methods: Sequence[int] = (EXTENDED,), system: int = NOW, phc: int = NOW + TAI) -> None:
        self.methods = methods
        self.system = system
        self.phc = phc
        self.windows: Sequence[int] = (900, 41, 100)
        self.events: list[bytes] = []
        """What each read gives."""
        self.asked: list[tuple[int, bytes]] = []
        self.opened: list[tuple[str, bool]] = []
        self.closed = 0
        self.refusal = errno.EOPNOTSUPP
        self.strict = False
        """EXTTS_REQUEST2 refused, as igb does when asked for one edge."""
        self.waited = 0.0

    def open(self, path: str, write: bool) -> int:
        if path == "/dev/ptp404":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        self.opened.append((path, write))
        return 7

    def close(self, fd: int) -> None:
        assert fd == 7
        self.closed += 1

    def read(self, fd: int, wait_s: float) -> bytes:
        assert fd == 7
        self.waited += wait_s
        return self.events.pop(0) if self.events else b""

    def ioctl(self, fd: int, request: int, buffer: bytearray) -> None:
        assert fd == 7
        assert len(buffer) == request >> 16 & 0x3FFF
        self.asked.append((request, bytes(buffer)))
        if request in (PRECISE, EXTENDED, BASIC) and request not in self.methods:
            raise OSError(self.refusal, "mock")
        if request == phc.PTP_EXTTS_REQUEST2 and self.strict:
            raise OSError(errno.EOPNOTSUPP, "mock")
        if request == PRECISE:
            buffer[:32] = octets_of(self.phc) + octets_of(self.system)
        elif request == EXTENDED:
            (count,) = struct.unpack_from("=I", buffer)
            for i, window in zip(range(count), self.cycle(count), strict=True):
                for k, ns in enumerate((self.system, self.phc, self.system + window)):
                    struct.pack_into("=qII", buffer, 16 + 48 * i + 16 * k, ns // SECOND, ns % SECOND, 0)
        elif request == BASIC:
            (count,) = struct.unpack_from("=I", buffer)
            for i in range(2 * count + 1):
                ns = self.phc + i * 50 if i % 2 else self.system + i * 50
                struct.pack_into("=qII", buffer, 16 + 16 * i, ns // SECOND, ns % SECOND, 0)

    def cycle(self, count: int) -> list[int]:
        return [self.windows[i % len(self.windows)] for i in range(count)]

    def pulse(self, *times: int, channel: int = 0) -> None:
        self.events.append(b"".join(octets_of(ns) + struct.pack("=IIII", channel, 0, 0, 0) for ns in times))


PLAIN = Settings("/dev/ptp0", ahead_s=37)
PULSED = Settings(
    "/dev/ptp0",
    ahead_s=37,
    pps_channel=0,
    receiver_ns=100,
    receiver_origin="PRTC-A",
    cable_delay_ns=150,
    cable_ns=5,
    cable_origin="TIC 2027-01-02",
    drift_ppb=50,
    drift_origin="data sheet",
)


def poll(device: MockOfAPhc, settings: Settings = PLAIN) -> ClockState:
    return Phc("a", settings, device=device).poll(NOW)


def why(state: ClockState) -> str:
    return str(json.loads(state.raw).get("why", ""))


# -- the kernel's words --------------------------------------------------------------------------------------------


def test_structures_and_numbers_are_those_of_the_kernel_header(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/linux/ptp_clock.h").exists():
        pytest.skip("a C compiler and linux/ptp_clock.h (Debian package linux-libc-dev) are needed")
    expressions = {
        "PTP_MAX_SAMPLES": phc.MAX_SAMPLES,
        "PTP_SYS_OFFSET_PRECISE2": PRECISE,
        "PTP_SYS_OFFSET_EXTENDED2": EXTENDED,
        "PTP_SYS_OFFSET2": BASIC,
        "PTP_EXTTS_REQUEST": phc.PTP_EXTTS_REQUEST,
        "PTP_EXTTS_REQUEST2": phc.PTP_EXTTS_REQUEST2,
        "PTP_PIN_SETFUNC2": phc.PTP_PIN_SETFUNC2,
        "PTP_PF_EXTTS": phc.PTP_PF_EXTTS,
        "PTP_ENABLE_FEATURE": phc.PTP_ENABLE_FEATURE,
        "PTP_RISING_EDGE": phc.PTP_RISING_EDGE,
        "sizeof(struct ptp_clock_time)": phc.CLOCK_TIME.size,
        "offsetof(struct ptp_clock_time, nsec)": 8,
        "sizeof(struct ptp_sys_offset_precise)": phc.PRECISE_SIZE,
        "offsetof(struct ptp_sys_offset_precise, device)": 0,
        "offsetof(struct ptp_sys_offset_precise, sys_realtime)": phc.CLOCK_TIME.size,
        "sizeof(struct ptp_sys_offset_extended)": phc.EXTENDED_SIZE,
        "offsetof(struct ptp_sys_offset_extended, ts)": phc.OFFSET_HEAD.size,
        "offsetof(struct ptp_sys_offset_extended, ts[1])": phc.OFFSET_HEAD.size + 3 * phc.CLOCK_TIME.size,
        "sizeof(struct ptp_sys_offset)": phc.BASIC_SIZE,
        "offsetof(struct ptp_sys_offset, ts)": phc.OFFSET_HEAD.size,
        "sizeof(struct ptp_extts_request)": phc.EXTTS_REQUEST.size,
        "offsetof(struct ptp_extts_request, flags)": 4,
        "sizeof(struct ptp_extts_event)": phc.EXTTS_EVENT.size,
        "offsetof(struct ptp_extts_event, index)": 16,
        "sizeof(struct ptp_pin_desc)": phc.PIN_DESC.size,
        "offsetof(struct ptp_pin_desc, index)": 64,
        "offsetof(struct ptp_pin_desc, func)": 68,
        "offsetof(struct ptp_pin_desc, chan)": 72,
    }
    lines = "".join(f'printf("%llu\\n", (unsigned long long)({each}));\n' for each in expressions)
    source, binary = tmp_path / "layout.c", tmp_path / "layout"
    headers = "#include <stddef.h>\n#include <stdio.h>\n#include <sys/ioctl.h>\n#include <linux/ptp_clock.h>\n"
    source.write_text(f"{headers}int main(void) {{\n{lines}return 0;\n}}\n")
    subprocess.run([compiler, "-o", str(binary), str(source)], check=True)
    said = subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout
    assert dict(zip(expressions, map(int, said.split()), strict=True)) == expressions


def test_the_device_of_this_kernel_is_asked_and_may_be_absent() -> None:
    state = Phc("a", replace(PLAIN, device="/dev/no-such-ptp")).poll(NOW)
    assert state.synchronised is None
    assert why(state).startswith("FileNotFoundError")
    assert "no PTP hardware clock" in why(Phc("a", replace(PLAIN, device="lo")).poll(NOW))
    # a character device that is no PHC
    assert why(Phc("a", replace(PLAIN, device="/dev/null")).poll(NOW)).startswith("OSError")


# -- the PHC beside the system clock -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("methods", "method"),
    [
        ((PRECISE, EXTENDED, BASIC), "precise"),
        ((EXTENDED, BASIC), "extended"),
        ((BASIC,), "basic"),
    ],
)
@pytest.mark.parametrize("refusal", [errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ETIMEDOUT])
def test_the_best_method_of_the_driver_is_used(methods: tuple[int, ...], method: str, refusal: int) -> None:
    device = MockOfAPhc(methods)
    device.refusal = refusal
    state = poll(device)
    raw = json.loads(state.raw)
    assert raw["method"] == method
    assert len(raw["triples"]) == (1 if method == "precise" else 10)
    assert [request for request, _ in device.asked] == [PRECISE, EXTENDED, BASIC][: len(device.asked)]
    assert device.opened == [("/dev/ptp0", False)]


def test_the_narrowest_window_counts_and_half_of_it_is_a_part() -> None:
    state = poll(MockOfAPhc(system=NOW + 1000))
    assert json.loads(state.raw)["window_ns"] == 41
    assert state.offset_ns == 1000 + 20
    assert {part.name_en: part.half_width_ns for part in state.parts} == {
        "system clock less PHC": 1020,
        "half the window of reading the PHC": 21,
    }
    assert state.parts[-1].origin == "extended, narrowest of 10"


def test_all_readings_are_kept() -> None:
    raw = json.loads(poll(MockOfAPhc()).raw)
    assert raw["triples"][:3] == [[NOW, NOW + TAI, NOW + width] for width in (900, 41, 100)]


def test_the_offset_is_the_system_clock_less_utc_by_the_phc() -> None:
    assert poll(MockOfAPhc((BASIC,), system=NOW - 250)).offset_ns == -250
    # 37 s declared where the PHC keeps UTC: no small error, and no small number
    assert poll(MockOfAPhc((PRECISE,), phc=NOW)).offset_ns == TAI


def test_a_cross_timestamp_has_no_window_which_is_not_a_window_of_zero() -> None:
    declared = replace(PLAIN, reference_ns=100, reference_origin="ts2phc, PRTC-A")
    state = poll(MockOfAPhc((PRECISE,)), declared)
    assert json.loads(state.raw)["window_ns"] == "not measured"
    assert state.bound_ns is None
    told = poll(MockOfAPhc((PRECISE,), system=NOW + 7), replace(declared, read_ns=80, read_origin="calibration 3"))
    assert told.bound_ns == 100 + 7 + 80
    assert [part.name_en for part in told.parts][-1] == "reading the PHC (window not measured)"
    assert told.parts[-1].origin == "calibration 3"


def test_nobody_says_that_an_unwatched_phc_follows_anything() -> None:
    state = poll(MockOfAPhc())
    assert (state.synchronised, state.bound_ns, state.leap_pending) == (None, None, None)
    assert why(state) == "nobody has seen the PHC follow anything"
    declared = poll(MockOfAPhc(), replace(PLAIN, reference_ns=100, reference_origin="ts2phc, PRTC-A"))
    assert declared.synchronised is None
    assert declared.bound_ns == 100 + 20 + 21


WATCHER = ClockState("a", "linuxptp", NOW - SECOND, True, 130, None, 37, False, "gm 00.11", "raw")


@pytest.mark.parametrize(
    ("watcher", "synchronised", "bound_ns", "leap"),
    [
        (WATCHER, True, 130 + 20 + 21, False),
        (replace(WATCHER, synchronised=False), False, None, False),
        (replace(WATCHER, synchronised=None), None, 130 + 20 + 21, False),
        (replace(WATCHER, bound_ns=None, leap_pending=True), True, None, True),
        (replace(WATCHER, at_ns=NOW - 6 * SECOND), None, None, None),  # too old
        (replace(WATCHER, at_ns=NOW + 1), None, None, None),
        (None, None, None, None),
    ],
)
def test_a_watched_phc_is_worth_what_its_watcher_says(
    watcher: ClockState | None, synchronised: bool | None, bound_ns: int | None, leap: bool | None
) -> None:
    state = Phc("a", PLAIN, follows=lambda: watcher, device=MockOfAPhc()).poll(NOW)
    assert (state.synchronised, state.bound_ns, state.leap_pending) == (synchronised, bound_ns, leap)
    heard = watcher is not None and 0 <= NOW - watcher.at_ns < 5 * SECOND
    assert state.identity == ("/dev/ptp0 gm 00.11" if heard else "")


def test_a_system_clock_that_goes_back_during_a_reading_gives_nothing() -> None:
    device = MockOfAPhc()
    device.windows = (900, -41, 100)
    state = poll(device)
    assert (state.synchronised, state.offset_ns, state.bound_ns) == (None, None, None)
    assert why(state) == "the system clock went back while the PHC was read"


@pytest.mark.parametrize("error", [errno.ENODEV, errno.EIO, errno.EBADF])
def test_a_device_that_vanishes_is_unknown_and_opened_again(error: int) -> None:
    device = MockOfAPhc()
    source = Phc("a", PLAIN, device=device)
    assert source.poll(NOW).offset_ns is not None
    device.methods, device.refusal = (), error
    assert why(source.poll(NOW)).startswith("OSError")
    assert device.closed == 1
    device.methods, device.refusal = (EXTENDED,), errno.EOPNOTSUPP
    assert source.poll(NOW).offset_ns is not None
    assert len(device.opened) == 2
    source.close()
    source.close()
    assert device.closed == 2


def test_what_cannot_be_opened_is_unknown() -> None:
    assert "No such file" in why(poll(MockOfAPhc(), replace(PLAIN, device="/dev/ptp404")))


# -- the PHC beside a pulse a second -------------------------------------------------------------------------------


def with_pulses(*phc_times: int, settings: Settings = PULSED, phc_now: int = NOW + TAI + SECOND // 2) -> ClockState:
    device = MockOfAPhc(system=phc_now - TAI, phc=phc_now)
    for ns in phc_times:
        device.pulse(ns)
    return poll(device, settings)


def test_the_phc_less_the_pulse_is_taken_at_the_receiver() -> None:
    # the pulse of second NOW left the receiver on time, arrived 150 ns later, and was stamped 30 ns late
    state = with_pulses(NOW + TAI + 150 + 30)
    assert state.synchronised is True
    assert state.identity == "/dev/ptp0 pps 0"
    assert state.offset_ns == 30 + 20  # the middle of the window: system clock less PHC
    assert {part.name_en: part.half_width_ns for part in state.parts} == {
        "PHC less pulse": 30,
        "receiver's pulse": 100,
        "pulse cable delay": 5,
        "drift since the pulse": 25,  # 50 ppb for 0.5 s, rounded up
        "system clock less PHC": 20,
        "half the window of reading the PHC": 21,
    }
    assert state.bound_ns == 30 + 100 + 5 + 25 + 20 + 21
    assert json.loads(state.raw)["phc_less_pulse_ns"] == 30


def test_the_phc_itself_needs_no_reading_of_the_system_clock() -> None:
    state = with_pulses(NOW + TAI + 150 - 30, settings=replace(PULSED, clock="phc"))
    assert state.offset_ns == -30
    assert state.bound_ns == 30 + 100 + 5 + 25
    assert state.skew_ppb == 50


@pytest.mark.parametrize(
    "missing",
    [
        {"receiver_ns": None, "receiver_origin": ""},
        {"cable_ns": None, "cable_origin": ""},
        {"drift_ppb": None, "drift_origin": ""},
    ],
)
def test_what_is_not_declared_of_a_pulse_leaves_no_bound(missing: dict[str, str | None]) -> None:
    state = with_pulses(NOW + TAI, settings=replace(PULSED, **missing))  # type: ignore[arg-type]  # keys by name
    assert state.bound_ns is None
    assert state.offset_ns is not None


@pytest.mark.parametrize(
    ("pulses", "reason"),
    [
        ((), "no pulse"),
        ((NOW + TAI - 3 * SECOND,), "the last pulse is 3500000000 ns old by the PHC"),
        ((NOW + TAI + SECOND,), "the last pulse is -500000000 ns old by the PHC"),  # the PHC was set back
    ],
)
def test_a_pulse_that_does_not_come_is_silence(pulses: tuple[int, ...], reason: str) -> None:
    state = with_pulses(*pulses)
    assert (state.synchronised, state.bound_ns, state.offset_ns) == (None, None, None)
    assert why(state) == reason


def test_pulses_of_another_channel_are_not_ours() -> None:
    device = MockOfAPhc()
    device.pulse(NOW + TAI, channel=1)
    assert why(poll(device, PULSED)) == "no pulse"


def test_a_pulse_has_no_number_so_the_second_must_be_agreed() -> None:
    device = MockOfAPhc(system=NOW, phc=NOW + TAI + SECOND)
    device.pulse(NOW + TAI + SECOND)
    state = poll(device, PULSED)
    assert state.synchronised is None
    assert "which second" in why(state)


def test_a_pulse_beside_a_watcher_that_denies_is_not_believed() -> None:
    device = MockOfAPhc()
    device.pulse(NOW + TAI)
    source = Phc("a", PULSED, follows=lambda: replace(WATCHER, synchronised=False), device=device)
    assert source.poll(NOW).synchronised is False


def test_a_first_pulse_is_waited_for_and_later_ones_are_found() -> None:
    device = MockOfAPhc()
    device.events = [b""]  # nothing waits yet
    device.pulse(NOW + TAI)
    source = Phc("a", PULSED, device=device)
    assert source.poll(NOW).synchronised is True
    assert 0 < device.waited <= phc.PULSE_WAIT_S
    before = device.waited
    device.pulse(NOW + TAI + SECOND)
    device.phc += SECOND
    device.system += SECOND
    assert source.poll(NOW + SECOND).synchronised is True
    assert device.waited == before


def test_only_the_last_seconds_are_remembered_and_a_phc_that_is_set_back_is_followed_anew() -> None:
    device = MockOfAPhc()
    source = Phc("a", PULSED, device=device)
    for second in range(10):
        device.system, device.phc = NOW + second * SECOND, NOW + TAI + second * SECOND
        device.pulse(device.phc)
        state = source.poll(device.system)
        assert state.synchronised is True
    assert len(json.loads(state.raw)["edges"]) == 5
    for synchronised in (None, True):  # at first the old pulses lie in the future
        device.system, device.phc = NOW - 100 * SECOND, NOW + TAI - 100 * SECOND
        device.pulse(device.phc)
        assert source.poll(device.system).synchronised is synchronised


def test_the_channel_is_enabled_and_its_pin_connected() -> None:
    device = MockOfAPhc()
    poll(device, replace(PULSED, pps_channel=1, pps_pin=3))
    assert device.opened == [("/dev/ptp0", True)]
    (pin_request, pin), (request, asked), *_ = device.asked
    assert (pin_request, struct.unpack_from("=III", pin, 64)) == (phc.PTP_PIN_SETFUNC2, (3, phc.PTP_PF_EXTTS, 1))
    assert (request, struct.unpack("=IIII", asked)) == (phc.PTP_EXTTS_REQUEST2, (1, 3, 0, 0))


def test_a_driver_that_cannot_choose_edges_is_asked_the_old_way() -> None:
    device = MockOfAPhc()
    device.strict = True
    poll(device, PULSED)
    assert [request for request, _ in device.asked][:2] == [phc.PTP_EXTTS_REQUEST2, phc.PTP_EXTTS_REQUEST]


def test_a_channel_that_is_refused_gives_the_device_back() -> None:
    device = MockOfAPhc()

    def refuse(fd: int, request: int, buffer: bytearray) -> None:
        raise OSError(errno.EBUSY, "mock")

    device.ioctl = refuse  # type: ignore[method-assign]  # the mock's own fault
    assert why(poll(device, PULSED)).startswith("OSError")
    assert device.closed == 1


PULSE = SECOND // 10


@pytest.mark.parametrize("first", [0, PULSE])
def test_of_both_edges_the_rising_one_begins_the_second(first: int) -> None:
    edges = [k * SECOND + phase for k in range(4) for phase in (0, PULSE)]
    seen = [each for each in edges if each >= first]
    assert rising_edges(seen, PULSE) == [each for each in seen if each % SECOND == 0 and each + PULSE in seen]


@pytest.mark.parametrize(
    ("edges", "pulse_ns"),
    [
        ([0, PULSE, SECOND], None),  # both edges, undeclared
        ([0, SECOND // 2, SECOND], None),
        ([0, 2 * PULSE, SECOND, SECOND + 2 * PULSE], PULSE),
        ([0, SECOND, 2 * SECOND], PULSE),  # only one edge comes
        ([0, PULSE, 2 * PULSE], PULSE),
    ],
)
def test_edges_that_are_not_those_declared_are_refused(edges: list[int], pulse_ns: int | None) -> None:
    with pytest.raises(ValueError, match=r"edges"):
        rising_edges(edges, pulse_ns)


def test_undeclared_second_edges_stay_refused_poll_after_poll() -> None:
    device = MockOfAPhc(phc=NOW + TAI + SECOND // 2, system=NOW + SECOND // 2)
    source = Phc("a", PULSED, device=device)
    device.pulse(NOW + TAI, NOW + TAI + PULSE)
    assert "both edges" in why(source.poll(NOW))
    assert "both edges" in why(source.poll(NOW))
    assert device.closed == 0


def test_the_rising_edge_is_waited_for_until_its_partner_comes() -> None:
    device = MockOfAPhc(phc=NOW + TAI + SECOND // 2, system=NOW + SECOND // 2)
    device.events = [b""]
    device.pulse(NOW + TAI + 150)
    device.pulse(NOW + TAI + 150 + PULSE)
    state = poll(device, replace(PULSED, pulse_ns=PULSE))
    assert state.synchronised is True
    assert json.loads(state.raw)["phc_less_pulse_ns"] == 0


def test_edges_faster_than_they_can_be_read_end_the_poll() -> None:
    device = MockOfAPhc()
    device.read = lambda fd, wait_s: (octets_of(NOW + TAI) + bytes(16)) * 30  # type: ignore[method-assign]  # a storm
    assert "edges since the last poll" in why(poll(device, PULSED))


# -- hostile octets ------------------------------------------------------------------------------------------------


@given(st.integers(-(2**70), 2**70))
def test_folding_keeps_the_phase(ns: int) -> None:
    assert -SECOND // 2 <= folded(ns) < SECOND // 2
    assert (folded(ns) - ns) % SECOND == 0


@pytest.mark.parametrize("octets", [struct.pack("=qII", 1, SECOND, 0), struct.pack("=qII", 1 << 40, 0, 0)])
def test_what_is_no_time_is_refused(octets: bytes) -> None:
    with pytest.raises(ValueError, match="no time"):
        phc.clock_time(octets, 0)


@given(st.binary(max_size=200))
def test_no_octets_crash_the_reader_of_events(octets: bytes) -> None:
    try:
        found = events_of(octets, 0)
    except ValueError:
        return
    assert len(found) <= len(octets) // 32


@given(st.binary(max_size=200), st.binary(min_size=1216, max_size=1216))
def test_a_device_that_answers_nonsense_is_unknown_or_bounded(events: bytes, answer: bytes) -> None:
    device = MockOfAPhc()
    device.events = [events]

    def nonsense(fd: int, request: int, buffer: bytearray) -> None:
        if request == PRECISE:
            raise OSError(errno.EOPNOTSUPP, "mock")
        buffer[:] = answer[: len(buffer)]

    device.ioctl = nonsense  # type: ignore[method-assign]  # the mock's own fault
    state = poll(device, PULSED)
    assert state.bound_ns is None or state.bound_ns == sum(part.half_width_ns for part in state.parts) >= 0
    assert state.synchronised is None or state.bound_ns is not None


@given(
    st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 10**6)), min_size=1, max_size=25),
    st.integers(-(10**9), 10**9),
)
def test_the_true_offset_lies_in_half_the_window_around_the_stated_one(
    readings: list[tuple[int, int]], offset: int
) -> None:
    # the PHC is read at any time within the window
    triples = tuple((at, at + width * (k % 3) // 2 - offset, at + width) for k, (at, width) in enumerate(readings))
    reading = Reading("extended", triples)
    assert reading.window_ns is not None
    assert abs(reading.system_less_phc_ns - offset) <= -(-reading.window_ns // 2)


# -- declarations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"device": ""},
        {"samples": 0},
        {"samples": 26},
        {"ahead_s": 10**6},
        {"read_ns": 5},
        {"read_origin": "x"},
        {"reference_ns": -1, "reference_origin": "x"},
        {"receiver_ns": 5, "receiver_origin": "x"},  # of which pulse?
        {"cable_delay_ns": 5},
        {"pps_pin": 0},
        {"pps_channel": -1},
        {"pps_channel": 0, "reference_ns": 1, "reference_origin": "x"},
        {"pps_channel": 0, "pulse_ns": SECOND // 2},
        {"pps_channel": 0, "pulse_ns": 0},
        {"pps_channel": 0, "cable_delay_ns": -1},
    ],
)
def test_a_declaration_is_whole_or_refused(wrong: dict[str, object]) -> None:
    make: Callable[..., Settings] = Settings
    with pytest.raises(BenchError):
        make(**{"device": "/dev/ptp0", "ahead_s": 37, **wrong})
