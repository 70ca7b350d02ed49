"""A u-blox timing receiver: what it announces, when it is believed, what it is told and says back."""

from __future__ import annotations

import contextlib
import os
import pty
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyubx2 import GET, UBX_CONFIG_DATABASE, UBXMessage

from drivers.capability import IntervalCounter, TimingReceiver
from drivers.errors import (
    InstrumentError,
    InstrumentFaultError,
    NoReadingError,
    NotTakenError,
    PortLostError,
    PortOpenError,
    PortTimeoutError,
    SettingError,
)
from drivers.keysight_53230a import Keysight53230A
from drivers.opener import Opener
from drivers.port import Wire
from drivers.serial_port import SerialStream, device
from drivers.session import Replay
from drivers.ublox_timing import UbloxTiming

SECOND = 10**9


def message(kind: str, **values: Any) -> bytes:
    return bytes(UBXMessage(kind[:3], kind, GET, **values).serialize())


def version(model: str = "ZED-F9T") -> bytes:
    fields = [b"EXT CORE 1.00", b"00190000", b"FWVER=TIM 2.20", f"MOD={model}".encode()]
    octets = b"".join(each.ljust(size, b"\0") for each, size in zip(fields, (30, 10, 30, 30), strict=True))
    return message("MON-VER", payload=octets)


def unique(number: bytes = b"\x01\x02\x03\x04\x05") -> bytes:
    return message("SEC-UNIQID", payload=b"\x01\0\0\0" + number)


def tim_tp(second: int, **changes: Any) -> bytes:
    values = {"towMS": second * 1000, "week": 2400, "qErr": 1234, "timeBase": 1, "utc": 1, "utcStandard": 7}
    return message("TIM-TP", **(values | changes))


def pvt(**changes: Any) -> bytes:
    date = {"year": 2026, "month": 11, "day": 22, "hour": 12, "min": 0, "second": 0}
    good = {"validDate": 1, "validTime": 1, "fullyResolved": 1, "tAcc": 20, "fixType": 5, "gnssFixOk": 1}
    return message("NAV-PVT", **(date | good | changes))


class Receiver:
    """A stream with a receiver at its other end that speaks once a second, on a time of its own."""

    resource = "/dev/ttyACM0"

    def __init__(self, **changes: Any) -> None:
        self.ns = 5 * SECOND
        self.due_ns = 6 * SECOND
        self.ready = b""
        self.model = "ZED-F9T"
        self.number: bytes | None = unique()
        self.epoch: Callable[[int], list[bytes]] = lambda second: [pvt(**changes), tim_tp(second + 1)]
        self.config: dict[int, int] = {}
        self.refuses = self.forgets = self.deaf = False
        self.closed = 0

    def now_ns(self) -> int:
        return self.ns

    def send(self, octets: bytes, deadline_ns: int) -> bool:
        if self.deaf:
            return True
        said = octets[2:4]
        if said == b"\x0a\x04":
            self.ready += version(self.model)
        elif said == b"\x27\x03":
            self.ready += self.number or b""
        elif said == b"\x06\x8a":
            keys = {key: (name, kind) for name, (key, kind) in UBX_CONFIG_DATABASE.items()}
            at = 10
            while at < len(octets) - 2:
                key = int.from_bytes(octets[at : at + 4], "little")
                size = int(keys[key][1][-1])
                value = octets[at + 4 : at + 4 + size]
                if not self.forgets:
                    self.config[key] = int.from_bytes(value, "little", signed=keys[key][1][0] == "I")
                at += 4 + size
            self.ready += message("ACK-NAK" if self.refuses else "ACK-ACK", payload=b"\x06\x8a")
        elif said == b"\x06\x8b":
            keys = dict(UBX_CONFIG_DATABASE.values())
            payload = b"\x01\0\0\0"
            for at in range(10, len(octets) - 2, 4):
                key = int.from_bytes(octets[at : at + 4], "little")
                size, signed = int(keys[key][-1]), keys[key][0] == "I"
                payload += octets[at : at + 4] + self.config.get(key, 0).to_bytes(size, "little", signed=signed)
            self.ready += message("CFG-VALGET", payload=payload)
        return True

    def receive(self, deadline_ns: int) -> bytes:
        while not self.ready and self.due_ns <= deadline_ns:
            self.ns = max(self.ns, self.due_ns)
            self.ready = b"".join(self.epoch(self.due_ns // SECOND))
            self.due_ns += SECOND
        if not self.ready:
            self.ns = max(self.ns, deadline_ns)
        found, self.ready = self.ready[:50], self.ready[50:]
        return found

    def close(self) -> None:
        self.closed += 1


def test_it_says_who_it_is() -> None:
    made = UbloxTiming(Receiver())
    assert str(made.identity) == "u-blox,ZED-F9T,0102030405,TIM 2.20"
    assert isinstance(made, TimingReceiver)
    assert made.safe_state().confirmed
    assert made.unconfirmed


def test_a_counter_is_an_interval_counter(talk: Callable[..., Replay]) -> None:
    assert isinstance(Keysight53230A(talk("Keysight Technologies,53230A,MY1,1.0")), IntervalCounter)


def test_a_simulated_receiver_never_looks_real() -> None:
    receiver = Receiver()
    receiver.model = "SIM-ZED-F9T"
    assert UbloxTiming(receiver).identity.simulated
    receiver = Receiver()
    receiver.number = None
    assert UbloxTiming(receiver).identity.serial == ""


def test_a_receiver_that_says_nothing_is_not_opened() -> None:
    receiver = Receiver()
    receiver.deaf = True
    with pytest.raises(PortOpenError):
        UbloxTiming(receiver)
    assert receiver.closed


def test_the_next_pulse_is_one_announced_from_now_on() -> None:
    receiver = Receiver()
    made = UbloxTiming(receiver)
    first = made.next_pulse()
    receiver.ns += 100 * SECOND  # nobody listened: what lies there is stale
    receiver.ready = tim_tp(3)
    receiver.due_ns = (receiver.ns // SECOND + 1) * SECOND
    second = made.next_pulse()
    assert second.tow_ms - first.tow_ms > 100_000
    assert second.grid == "UTC(NTSC)"
    assert (second.qerr_ps, second.locked) == (1234, True)
    assert [each.tow_ms for each in made.pulses()] == [first.tow_ms, second.tow_ms]


def test_no_announcement_is_no_reading() -> None:
    receiver = Receiver()
    made = UbloxTiming(receiver)
    receiver.epoch = lambda second: [pvt()]
    with pytest.raises(NoReadingError):
        made.next_pulse()


@pytest.mark.parametrize(
    ("changes", "pulse", "expected"),
    [
        ({}, {}, True),
        ({"validTime": 0}, {}, False),
        ({"fixType": 0}, {}, False),
        ({"gnssFixOk": 0}, {}, False),
        ({}, {"TpNotLocked": 1}, False),
        ({}, None, None),
    ],
)
def test_it_is_valid_when_time_fix_and_pulse_are(
    changes: dict[str, int], pulse: dict[str, int] | None, expected: bool | None
) -> None:
    receiver = Receiver()
    receiver.epoch = lambda second: [pvt(**changes), *([] if pulse is None else [tim_tp(second + 1, **pulse)])]
    assert UbloxTiming(receiver).valid() is expected


def test_a_broken_antenna_speaks_against_it() -> None:
    receiver = Receiver()
    radio = message("MON-RF", nBlocks=1, antStatus_01=4, jammingState_01=1)
    receiver.epoch = lambda second: [pvt(), tim_tp(second + 1), radio]
    assert UbloxTiming(receiver).valid() is False


def test_silence_is_not_known() -> None:
    receiver = Receiver()
    made = UbloxTiming(receiver)
    assert made.valid() is True
    receiver.epoch = lambda second: []
    receiver.ns += 10 * SECOND
    assert made.valid() is None


def test_settings_are_acknowledged_and_read_back() -> None:
    receiver = Receiver()
    made = UbloxTiming(receiver)
    made.set_cable_delay(-57)
    made.set_grid("BDS")
    made.survey(3600, 500)
    made.speak("USB")
    said = {name: receiver.config.get(key) for name, (key, _) in UBX_CONFIG_DATABASE.items()}
    assert said["CFG_TP_ANT_CABLEDELAY"] == -57
    assert said["CFG_TP_TIMEGRID_TP1"] == 3
    assert (said["CFG_TMODE_MODE"], said["CFG_TMODE_SVIN_MIN_DUR"], said["CFG_TMODE_SVIN_ACC_LIMIT"]) == (1, 3600, 5000)
    assert said["CFG_MSGOUT_UBX_TIM_TP_USB"] == 1
    assert said["CFG_MSGOUT_UBX_TIM_TP_UART1"] is None


def test_a_setting_is_sent_in_the_octets_of_the_interface_description() -> None:
    receiver = Receiver()
    heard: list[Wire] = []
    UbloxTiming(receiver, log=heard.append).set_cable_delay(50)
    out = [each.octets.hex() for each in heard if each.direction == "out"]
    assert out[2] == "b562068a0a000001000001000530320003e5"
    assert out[3] == "b562068b08000000000001000530cfcf"


def test_a_setting_that_is_refused_or_does_not_stay_is_an_error() -> None:
    receiver = Receiver()
    made = UbloxTiming(receiver)
    receiver.refuses = True
    with pytest.raises(InstrumentFaultError, match="ACK-NAK"):
        made.set_cable_delay(10)
    receiver.refuses, receiver.forgets = False, True
    receiver.config.clear()
    with pytest.raises(NotTakenError, match="CFG_TP_ANT_CABLEDELAY = 0"):
        made.set_cable_delay(10)
    receiver.deaf = True
    with pytest.raises(PortTimeoutError):
        made.set_cable_delay(10)


def test_settings_that_make_no_sense_are_refused() -> None:
    made = UbloxTiming(Receiver())
    acts: list[Callable[[], None]] = [
        lambda: made.set_cable_delay(40_000),
        lambda: made.set_cable_delay(1.5),  # type: ignore[arg-type]  # what a plan may pass
        lambda: made.set_grid("utc"),
        lambda: made.survey(seconds=1),
        lambda: made.survey(millimetres=0),
    ]
    for act in acts:
        with pytest.raises(SettingError):
            act()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([pvt(), tim_tp(7), version(), unique()]), max_size=12))
def test_noise_between_sentences_is_passed_over(chunks: list[bytes]) -> None:
    receiver = Receiver()
    made = UbloxTiming(receiver)
    receiver.epoch = lambda second: [*chunks, b"\0" * 8]
    try:
        made.valid()
        made.next_pulse()
    except InstrumentError:
        return
    assert made.pulses()


def test_it_is_heard_over_a_real_serial_line() -> None:
    leader, follower = pty.openpty()
    os.set_blocking(leader, False)
    path = os.ttyname(follower)
    over = threading.Event()

    def speak() -> None:
        second = 0
        while not over.wait(0.02):
            second += 1
            with contextlib.suppress(BlockingIOError):  # nobody reads just now
                os.write(leader, unique() + version() + pvt() + tim_tp(second))

    thread = threading.Thread(target=speak)
    try:
        with pytest.raises(PortOpenError):  # nobody speaks yet
            UbloxTiming.opened(Opener(path, options={"baud": 115_200}))
        thread.start()
        made = UbloxTiming.opened(Opener(f"ASRL{path}::INSTR"))
        assert made.identity.model == "ZED-F9T"
        assert made.next_pulse().locked
        with pytest.raises(PortOpenError):  # two readers would take each other's octets
            SerialStream(path)
        made.close()
        made.close()
        with pytest.raises(PortLostError):
            made.next_pulse()
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
        os.close(leader)
        os.close(follower)


def test_a_port_that_there_is_not_is_an_error() -> None:
    with pytest.raises(PortOpenError):
        SerialStream("/dev/none")
    assert device("ASRL/dev/ttyACM0::INSTR") == "/dev/ttyACM0"
    with pytest.raises(ValueError, match="no serial port"):
        device("TCPIP0::h::1::SOCKET")


@pytest.mark.parametrize("options", [{"baud": "fast"}, {"baud": 1}, {"colour": "red"}, {"baud": True}])
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        UbloxTiming.opened(Opener("/dev/none", options=options))
