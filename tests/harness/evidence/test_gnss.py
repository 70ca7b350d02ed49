"""A timing receiver's words: cut from any stream, believed only where nothing speaks against it, over a real pty."""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st
from pyubx2 import GET, UBXMessage

from drivers.capability import Pulse
from drivers.sentences import GAP_S, Cutter, Sentence
from drivers.ubx import pulse, qerr_ps
from harness.clock import ClockState
from harness.errors import BenchError
from harness.evidence.gnss import RAW_OCTETS, Gnss, Settings, state_of

GOOD = Settings(
    "/dev/none",
    class_ns=100,
    class_origin="PRTC-A, ITU-T G.8272",
    cable_ns=150,
    cable_u_ns=10,
    cable_origin="measured 2026-10-01",
    cable_corrected=True,
    sawtooth_ns=4,
    sawtooth_origin="data sheet",
)
AT = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
AT_NS = int(AT.timestamp()) * 10**9
GPS_EPOCH = datetime(1980, 1, 6, tzinfo=UTC)


def nmea(text: str) -> bytes:
    total = 0
    for octet in text.encode():
        total ^= octet
    return f"${text}*{total:02X}\r\n".encode()


@dataclass
class Truth:
    """What a simulated receiver says, message by message; a message that is None is not sent."""

    utc: datetime | None = None
    """None: the host's own."""
    messages: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    qerr: Callable[[int], int] = lambda second: (second * 1_700) % 8_000 - 4_000
    ubx: bool = True

    def said(self) -> dict[str, dict[str, Any]]:
        utc = self.utc or datetime.now(UTC)
        gps = utc + timedelta(seconds=18) - GPS_EPOCH
        week, tow = gps.days // 7, gps.days % 7 * 86_400 + gps.seconds
        date = {"year": utc.year, "month": utc.month, "day": utc.day, "hour": utc.hour, "min": utc.minute}
        first: dict[str, dict[str, Any]] = {
            "MON-VER": {
                "swVersion": b"SIM 1.00".ljust(30, b"\0"),
                "hwVersion": b"00190000".ljust(10, b"\0"),
                "extension_01": b"FWVER=TIM 2.20".ljust(30, b"\0"),
                "extension_02": b"MOD=SIM-ZED-F9T".ljust(30, b"\0"),
                "extension_03": b"GPS;GLO;GAL;BDS".ljust(30, b"\0"),
                "payload": None,
            },
            "NAV-PVT": date
            | {"second": utc.second, "validDate": 1, "validTime": 1, "fullyResolved": 1}
            | {"tAcc": 20, "fixType": 5, "gnssFixOk": 1, "iTOW": tow * 1000},
            "NAV-STATUS": {"gpsFix": 5, "gpsFixOk": 1, "wknSet": 1, "towSet": 1, "spoofDetState": 1},
            "NAV-TIMEGPS": {"towValid": 1, "weekValid": 1, "leapSValid": 1, "leapS": 18, "week": week, "tAcc": 10},
            "NAV-TIMEUTC": date
            | {"sec": utc.second, "validTOW": 1, "validWKN": 1, "validUTC": 1, "utcStandard": 7, "tAcc": 12},
            "NAV-CLOCK": {"clkB": 5, "clkD": 40, "tAcc": 10, "fAcc": 300},
            "NAV-TIMELS": {"srcOfCurrLs": 2, "currLs": 18, "srcOfLsChange": 2, "lsChange": 0}
            | {"timeToLsEvent": -1000, "validCurrLs": 1, "validTimeToLsEvent": 1},
            "TIM-TP": {"towMS": (tow + 1) % 604_800 * 1000, "week": week + (tow + 1) // 604_800}
            | {"qErr": self.qerr(tow + 1), "timeBase": 1, "utc": 1, "utcStandard": 7},
            "TIM-SVIN": {"dur": 86_400, "valid": 1, "active": 0},
            "MON-RF": {"nBlocks": 2, "antStatus_01": 2, "antStatus_02": 2, "jammingState_01": 1, "jammingState_02": 1},
        }
        for kind, changes in self.messages.items():
            if changes is None:
                first.pop(kind, None)
            else:
                first[kind] = {**first.get(kind, {}), **changes}
        return first

    def epoch(self) -> list[bytes]:
        """The sentences of one second."""
        sent = [message(kind, values) for kind, values in self.said().items()] if self.ubx else []
        return sent + [nmea(line) for line in self.lines]


def message(kind: str, values: dict[str, Any]) -> bytes:
    if "payload" in values:  # MON-VER: pyubx2 counts its extensions in a payload
        octets = b"".join(value for key, value in values.items() if key != "payload")
        return bytes(UBXMessage(kind[:3], kind, GET, payload=octets).serialize())
    return bytes(UBXMessage(kind[:3], kind, GET, **values).serialize())


def raw_of(
    sentences: list[bytes], age_ms: int = 300, open_ms: int = 60_000, qerr: int = 3_900, pulses: int = 60
) -> str:
    lines = [f"gnss/1 open_ms={open_ms} octets=9999 used=9999 refused=0 qerr_ps={qerr} pulses={pulses}"]
    lines += [
        f"ubx {age_ms} {each.hex()}" if each[0] == 0xB5 else f"nmea {age_ms} {each.decode('ascii').rstrip()}"
        for each in sentences
    ]
    return "\n".join(lines)


def told(
    declared: Settings = GOOD, lines: tuple[str, ...] = (), ubx: bool = True, **messages: dict[str, Any] | None
) -> ClockState:
    """The state when a good receiver says something else in the messages given (TIM_TP={…})."""
    truth = Truth(AT, {kind.replace("_", "-"): values for kind, values in messages.items()}, lines, ubx=ubx)
    return state_of("a", AT_NS + 300_000_000, declared, raw_of(truth.epoch()))


# -- what a reading is worth -------------------------------------------------------------------------------


def test_a_good_receiver_is_synchronised_within_the_sum_of_its_named_parts() -> None:
    state = told()
    assert (state.site, state.source, state.synchronised) == ("a", "gnss", True)
    assert [(part.half_width_ns, part.origin) for part in state.parts] == [
        (100, "PRTC-A, ITU-T G.8272"),
        (10, "measured 2026-10-01"),
        (4, "data sheet"),
    ]
    assert state.bound_ns == 114
    assert (state.tai_utc_s, state.leap_pending, state.offset_ns, state.skew_ppb) == (37, False, None, None)
    assert (
        state.identity
        == "injected:SIM-ZED-F9T TIM 2.20 hardware 00190000 software SIM 1.00 GPS;GLO;GAL;BDS on UTC(NTSC)"
    )
    assert "tAcc 20 ns" in state.raw
    assert "unconfirmed" in state.raw


def test_a_state_is_rederived_from_its_own_raw_text() -> None:
    for state in (told(), told(NAV_PVT={"fixType": 0}), told(MON_RF={"antStatus_02": 4}), told(NAV_PVT={"tAcc": 101})):
        assert state_of("a", state.at_ns, GOOD, state.raw) == state


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ({"NAV_PVT": {"fixType": 0}}, "no fix"),
        ({"NAV_STATUS": {"gpsFix": 0}}, "no fix"),
        ({"NAV_PVT": {"fixType": 1}}, "dead reckoning"),
        ({"NAV_PVT": {"gnssFixOk": 0}}, "own limits"),
        ({"NAV_PVT": {"validTime": 0}}, "NAV-PVT"),
        ({"NAV_PVT": {"fullyResolved": 0}}, "NAV-PVT"),
        ({"NAV_TIMEUTC": {"validUTC": 0}}, "NAV-TIMEUTC"),
        ({"NAV_TIMEGPS": {"towValid": 0}}, "NAV-TIMEGPS"),
        ({"NAV_TIMEGPS": {"weekValid": 0}}, "NAV-TIMEGPS"),
        ({"MON_RF": {"antStatus_02": 4}}, "antenna 1 is open"),
        ({"MON_RF": {"antStatus_01": 3}}, "antenna 0 is short"),
        ({"MON_RF": None, "MON_HW": {"aStatus": 4}}, "antenna 0 is open"),
        ({"TIM_TP": {"TpNotLocked": 1}}, "not locked"),
    ],
)
def test_what_the_receiver_itself_denies_is_not_synchronised(messages: dict[str, Any], reason: str) -> None:
    state = told(**messages)
    assert state.synchronised is False
    assert (state.bound_ns, state.parts, state.identity) == (None, (), "")
    assert f"{reason}" in next(line for line in state.raw.split("\n") if line.startswith("# no: "))


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ({"NAV_PVT": {"fixType": 3}, "TIM_SVIN": {"active": 1, "dur": 77}}, "its survey has run 77 s"),
        ({"NAV_PVT": {"tAcc": 101}}, "more than the declared class of 100 ns"),
        ({"NAV_CLOCK": {"tAcc": 0xFFFFFFFF}}, "more than the declared class of 100 ns"),
        ({"MON_RF": {"jammingState_02": 3}}, "jamming"),
        ({"NAV_STATUS": {"spoofDetState": 2}}, "spoofing"),
        ({"NAV_PVT": None, "NAV_STATUS": None}, "whether there is a fix"),
        ({"NAV_PVT": None, "NAV_TIMEGPS": None, "NAV_TIMEUTC": None}, "whether its time is valid"),
    ],
)
def test_what_speaks_against_believing_makes_it_unknown(messages: dict[str, Any], reason: str) -> None:
    state = told(**messages)
    assert state.synchronised is None
    assert state.bound_ns is None
    assert reason in state.raw


@pytest.mark.parametrize(("seconds", "named"), [(18, "UTC and GPS time"), (-37, "UTC and TAI"), (1024 * 604_800, "")])
def test_a_receiver_whose_date_is_not_the_hosts_is_not_believed(seconds: int, named: str) -> None:
    truth = Truth(AT + timedelta(seconds=seconds))
    state = state_of("a", AT_NS, GOOD, raw_of(truth.epoch()))
    assert state.synchronised is None
    assert named in state.raw
    assert ("ahead of" if seconds > 0 else "behind") in state.raw


@pytest.mark.parametrize(("age_ms", "expected"), [(2500, True), (2501, None)])
def test_words_older_than_two_and_a_half_seconds_say_nothing_of_now(age_ms: int, expected: bool | None) -> None:
    epoch = Truth(AT).epoch()
    assert state_of("a", AT_NS + age_ms * 10**6, GOOD, raw_of(epoch, age_ms)).synchronised is expected
    # a receiver that denied and then fell silent is unknown too
    denying = Truth(AT, {"MON-RF": {"antStatus_01": 4}}).epoch()
    denied = state_of("a", AT_NS + age_ms * 10**6, GOOD, raw_of(denying, age_ms)).synchronised
    assert denied is (False if expected else None)


@pytest.mark.parametrize(
    ("kinds", "reason"),
    [
        (("b5620107", "b5620103"), "whether there is a fix"),
        (("b5620107", "b5620120", "b5620121"), "whether its time is valid"),
        (("b5620d01",), "whether the pulse is locked"),
    ],
)
def test_a_message_that_stopped_coming_while_others_go_on_counts_no_more(kinds: tuple[str, ...], reason: str) -> None:
    raw = raw_of(Truth(AT).epoch())
    for kind in kinds:
        raw = raw.replace(f"ubx 300 {kind}", f"ubx 2600 {kind}")
    state = state_of("a", AT_NS, GOOD, raw)
    assert state.synchronised is (True if "pulse" in reason else None)
    assert state.bound_ns is None
    assert reason in state.raw


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("open_ms=9000 octets=0 used=0", "silent 9.0 s after opening"),
        ("open_ms=9000 octets=812 used=0", "812 octets and no sentence in them"),
        ("open_ms=90000 octets=812 used=700", "no sentence for more than 65 s"),
    ],
)
def test_a_silence_is_told_by_its_kind(head: str, reason: str) -> None:
    state = state_of("a", AT_NS, GOOD, f"gnss/1 {head} refused=0 qerr_ps=0 pulses=0")
    assert state.synchronised is None
    assert reason in state.raw


def test_antenna_and_leap_second_may_be_said_once_a_minute_and_the_antenna_denies_until_it_is_good_again() -> None:
    slow = raw_of(Truth(AT, {"MON-RF": {"antStatus_01": 4}}).epoch(), age_ms=60_000)
    kept = [line for line in slow.split("\n")[1:] if "b5620a38" in line or "b5620126" in line]
    fresh = Truth(AT, {"MON-RF": None, "NAV-TIMELS": None}).epoch()
    state = state_of("a", AT_NS, GOOD, "\n".join([raw_of(fresh), *kept]))
    assert state.synchronised is False
    assert state.leap_pending is False


def test_nmea_alone_is_health_and_never_synchronised() -> None:
    rmc, none = "GNRMC,120000.00,A,,,,,,,221126,,,A,V", "GNRMC,120000.00,V,,,,,,,221126,,,N,V"
    assert told(ubx=False, lines=(rmc,)).synchronised is None
    assert "NMEA alone" in told(ubx=False, lines=(rmc,)).raw
    assert told(ubx=False, lines=(none,)).synchronised is False
    assert told(ubx=False, lines=("GNGGA,120000.00,,,,,0,00,99.99,,,,,,",)).synchronised is False
    contradicted = told(lines=(none,))
    assert contradicted.synchronised is True
    assert "NMEA says no fix where UBX has one" in contradicted.raw


GSA = "GNGSA,A,3,{},,,,,,,,,,,,1.0,0.5,0.8,{}"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ((GSA.format("05", 1), GSA.format("21", 4)), True),
        ((GSA.format("05", 1), GSA.format("", 4)), None),  # BeiDou seen by none of its satellites
        (("GPGSA,A,3,05,,,,,,,,,,,,1.0,0.5,0.8", "GBGSA,A,3,21,,,,,,,,,,,,1.0,0.5,0.8"), True),  # before NMEA 4.11
        ((), None),
    ],
)
def test_declared_constellations_must_be_in_use(lines: tuple[str, ...], expected: bool | None) -> None:
    assert told(replace(GOOD, constellations=("GPS", "BDS")), lines).synchronised is expected


def test_without_a_fixed_position_declared_a_fix_is_enough() -> None:
    moving = replace(GOOD, fixed_position=False)
    assert told(moving, NAV_PVT={"fixType": 3}, NAV_STATUS={"gpsFix": 3}).synchronised is True
    assert told(moving, NAV_PVT={"fixType": 2}, NAV_STATUS={"gpsFix": 2}).synchronised is None


# -- the bound ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"class_ns": None}, "class is not declared"),
        ({"cable_ns": None}, "cable delay not declared"),
        ({"cable_u_ns": None}, "cable delay not declared"),
    ],
)
def test_nothing_undeclared_is_bounded_though_synchronised(changes: dict[str, Any], reason: str) -> None:
    state = told(replace(GOOD, **changes))
    assert state.synchronised is True
    assert (state.bound_ns, state.parts) == (None, ())
    assert reason in state.raw


def test_a_cable_delay_the_receiver_does_not_take_off_is_in_the_bound() -> None:
    assert told(replace(GOOD, cable_corrected=False)).bound_ns == 114 + 150


def test_the_sawtooth_is_what_is_declared_or_seen_whichever_is_larger() -> None:
    undeclared = replace(GOOD, sawtooth_ns=None, sawtooth_origin="")
    epoch = Truth(AT).epoch()

    def bound(declared: Settings, qerr: int, pulses: int) -> int | None:
        return state_of("a", AT_NS, declared, raw_of(epoch, qerr=qerr, pulses=pulses)).bound_ns

    assert bound(GOOD, 4_000, 5) == 114
    assert bound(GOOD, 4_001, 5) == 115  # rounded up; the data sheet was wrong
    assert bound(undeclared, 3_001, 60) == 114
    assert bound(undeclared, 3_001, 59) is None
    assert told(TIM_TP=None).bound_ns is None  # whether the pulse is locked is unknown


@pytest.mark.parametrize(
    ("changes", "origin"),
    [
        ({"class_origin": " "}, "class_ns"),
        ({"cable_origin": ""}, "cable_ns"),
        ({"sawtooth_origin": ""}, "sawtooth_ns"),
        ({"class_ns": 0}, "class_ns"),
        ({"cable_u_ns": -1}, "cable_u_ns"),
        ({"baud": 0}, "rate"),
        ({"port": ""}, "serial port"),
        ({"constellations": ("Beidou",)}, "BDS"),
    ],
)
def test_a_figure_without_origin_or_sense_is_refused(changes: dict[str, Any], origin: str) -> None:
    with pytest.raises(BenchError, match=origin):
        replace(GOOD, **changes)


# -- leap seconds ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "pending"),
    [
        ({"lsChange": 1, "timeToLsEvent": 86_400}, True),
        ({"lsChange": -1, "timeToLsEvent": 0}, True),
        ({"lsChange": 1, "timeToLsEvent": 86_401}, False),
        ({"lsChange": 1, "timeToLsEvent": -1}, False),
        ({"lsChange": 0, "timeToLsEvent": 100}, False),  # GPS's week number comes round: no leap second
        ({"lsChange": 1, "timeToLsEvent": 100, "validTimeToLsEvent": 0}, None),
        (None, None),
    ],
)
def test_an_announced_leap_second(said: dict[str, Any] | None, pending: bool | None) -> None:
    assert told(NAV_TIMELS=said).leap_pending is pending


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ({"NAV_TIMELS": {"srcOfCurrLs": 4, "currLs": 18}}, 37),
        ({"NAV_TIMELS": {"srcOfCurrLs": 4, "currLs": 4}}, 37),  # BeiDou's own number: 14 less
        ({"NAV_TIMELS": {"srcOfCurrLs": 5, "currLs": 18}}, 37),
        ({"NAV_TIMELS": {"srcOfCurrLs": 0, "currLs": 18}}, None),  # the firmware's default is no evidence
        ({"NAV_TIMELS": {"srcOfCurrLs": 7, "currLs": 18}}, None),
        ({"NAV_TIMELS": {"validCurrLs": 0}}, None),
        ({"NAV_TIMELS": None, "NAV_TIMEBDS": {"leapS": 4, "leapSValid": 1, "sowValid": 1, "weekValid": 1}}, 37),
        ({"NAV_TIMELS": None, "NAV_TIMEGAL": {"leapS": 18, "leapSValid": 1, "galTowValid": 1, "galWnoValid": 1}}, 37),
        ({"NAV_TIMEBDS": {"leapS": 5, "leapSValid": 1, "sowValid": 1, "weekValid": 1}}, None),  # 38 against 37
    ],
)
def test_tai_utc_by_each_constellations_own_count(messages: dict[str, Any], expected: int | None) -> None:
    state = told(NAV_TIMEGPS={"leapSValid": 0}, **messages)
    assert state.tai_utc_s == expected
    assert told(NAV_TIMEGPS=None, **messages).tai_utc_s == expected


def test_a_receiver_of_beidou_alone_needs_no_gps_time() -> None:
    bds = {"leapS": 4, "leapSValid": 1, "sowValid": 1, "weekValid": 1, "tAcc": 15}
    state = told(
        NAV_TIMEGPS={"towValid": 0, "weekValid": 0, "leapSValid": 0, "tAcc": 0xFFFFFFFF},
        NAV_TIMEBDS=bds,
        TIM_TP={"timeBase": 0, "timeRefGnss": 2},
    )
    assert state.synchronised is True
    assert state.tai_utc_s == 37
    assert state.identity.endswith(" on BDS")


# -- the pulse ---------------------------------------------------------------------------------------------


def test_qerr_belongs_to_the_pulse_after_the_one_it_follows() -> None:
    gnss = Gnss("a", GOOD)
    heard_after = {}
    for second in range(100):  # the TIM-TP sent in second s names the pulse of second s + 1
        truth = Truth(AT + timedelta(seconds=second), qerr=lambda tow: tow % 7 * 1_000 - 3_500)
        values = truth.said()["TIM-TP"]
        heard_after[second] = (values["week"], values["towMS"])
        gnss._hear(message("TIM-TP", values))
    gps = AT + timedelta(seconds=18 + 90) - GPS_EPOCH
    week, tow = gps.days // 7, gps.days % 7 * 86_400 + gps.seconds
    assert heard_after[89] == (week, tow * 1000)
    assert qerr_ps(gnss.pulses, "UTC(NTSC)", week, tow * 1000) == tow % 7 * 1_000 - 3_500
    assert qerr_ps(gnss.pulses, "GPS", week, tow * 1000) is None
    assert qerr_ps(gnss.pulses, "UTC(NTSC)", week, (tow + 30) * 1000) is None  # not announced yet
    assert len(gnss.pulses) == 60  # and no more are kept
    assert "qerr_ps=3500 pulses=100" in gnss._raw()


def test_a_pulse_announced_twice_or_invalid_has_no_qerr() -> None:
    one = Pulse("GPS", 2446, 43_000, 1200, True)
    assert qerr_ps([one, one], "GPS", 2446, 43_000) == 1200
    assert qerr_ps([one, replace(one, qerr_ps=-900)], "GPS", 2446, 43_000) is None
    assert qerr_ps([replace(one, qerr_ps=None)], "GPS", 2446, 43_000) is None
    sentence = Sentence("TIM-TP", message("TIM-TP", {"qErr": 5, "qErrInvalid": 1, "timeRefGnss": 3, "week": 7}), 0.0)
    assert pulse(sentence) == Pulse("Galileo", 7, 0, None, True)


def test_an_invalid_qerr_does_not_count_towards_the_sawtooth() -> None:
    gnss = Gnss("a", GOOD)
    gnss._hear(message("TIM-TP", {"qErr": 2_000_000_000, "qErrInvalid": 1}))
    assert "qerr_ps=0 pulses=0" in gnss._raw()


# -- the stream --------------------------------------------------------------------------------------------

STREAM = Truth(AT, lines=("GNRMC,120000.00,A,,,,,,,221126,,,A,V", "GNZDA,120000.00,22,11,2026,00,00")).epoch()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1), st.lists(st.binary(max_size=12), max_size=len(STREAM)))
def test_how_a_stream_is_chopped_and_what_lies_between_does_not_matter(sizes: list[int], noise: list[bytes]) -> None:
    between = [each.replace(b"\xb5", b"").replace(b"$", b"") for each in noise] + [b""] * len(STREAM)
    stream = b"".join(junk + sentence for junk, sentence in zip(between, STREAM, strict=False))
    cutter, found, at, turn = Cutter(), list[Sentence](), 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        found += cutter.feed(stream[at : at + size], turn * 0.01)
        at, turn = at + size, turn + 1
    assert [each.octets for each in found] == [each.rstrip(b"\r\n") if each[0] == 0x24 else each for each in STREAM]
    assert cutter.octets == len(stream)
    assert cutter.used == sum(map(len, STREAM))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, sum(map(len, STREAM)) - 1), st.integers(1, 255))
def test_a_damaged_octet_costs_its_own_sentence_and_no_other(position: int, change: int) -> None:
    stream = bytearray(b"".join(STREAM))
    stream[position] ^= change
    cutter = Cutter()
    found = [each.octets for each in cutter.feed(bytes(stream), 0.0)]
    found += [each.octets for each in cutter.feed(b"", 10.0)]
    whole = [each.rstrip(b"\r\n") if each[0] == 0x24 else each for each in STREAM]
    assert len(found) >= len(whole) - 1
    assert set(found) <= set(whole)


def test_a_huge_length_swallows_nothing_and_half_a_frame_is_let_go() -> None:
    good = message("NAV-CLOCK", {"tAcc": 9})
    cutter = Cutter()
    assert len(cutter.feed(b"\xb5\x62\x01\x07\xff\xff" + good, 0.0)) == 1
    cutter = Cutter()
    assert cutter.feed(b"\xb5\x62\x0a\x04\xac\x03" + good, 0.0) == []  # a length that MON-VER may have is awaited
    assert cutter.feed(bytes(20), 0.4) == []
    found = cutter.feed(b"", 0.4 + GAP_S + 0.1)
    assert [each.octets for each in found] == [good]
    assert found[0].at_s == 0.0  # dated by when it came, not by when it was found
    assert cutter.feed(b"$" + b"A" * 5_000, 3.0) == []
    assert len(cutter._held) == 0  # no line is that long
    assert cutter.feed(good[:10], 5.0) == []
    assert [each.at_s for each in cutter.feed(good[10:], 5.2)] == [5.2]
    assert cutter.feed(good[:10], 6.0) == []
    assert cutter.feed(good[10:], 9.0) == []  # no UART pauses so long within a frame


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=300),
            st.sampled_from(STREAM).map(lambda each: each[: len(each) // 2]),
            st.sampled_from(STREAM).map(lambda each: each[:-2] + b"\0\0"),
            st.just(b"\xb5\x62" * 50),
            st.just(b"\xb5\x62\x0a\x04\xac\x03" * 20),
            st.just(b"$" * 200),
            st.just(nmea("GNRMC")),
            st.just(nmea("GNGSA,,,")),
        ),
        max_size=20,
    )
)
def test_garbage_never_raises_never_looks_synchronised_and_is_not_kept(chunks: list[bytes]) -> None:
    gnss = Gnss("a", GOOD)
    for chunk in chunks:
        gnss._hear(chunk)
        assert len(gnss._cutter._held) <= 1200 + len(chunk)
    state = gnss._read(AT_NS)
    assert state.synchronised is not True
    assert state.bound_ns is None
    assert len(state.raw.encode()) <= RAW_OCTETS


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(["NAV-PVT", "NAV-TIMEUTC", "MON-RF", "MON-VER", "TIM-TP", "NAV-TIMELS"]), st.data())
def test_absurd_contents_with_a_right_checksum_never_raise(kind: str, data: st.DataObject) -> None:
    size = len(message(kind, Truth(AT).said()[kind])) - 8
    payload = data.draw(st.binary(min_size=size, max_size=size))
    gnss = Gnss("a", GOOD)
    for each in Truth(AT, {kind: None}).epoch():
        gnss._hear(each)
    gnss._hear(bytes(UBXMessage(kind[:3], kind, GET, payload=payload).serialize()))
    state = gnss._read(AT_NS)
    assert len(state.raw.encode()) <= RAW_OCTETS
    assert state_of("a", AT_NS, GOOD, state.raw) == state
    assert state.bound_ns == (sum(part.half_width_ns for part in state.parts) if state.parts else None)
    assert state.synchronised is not False or kind != "MON-VER"


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=200), st.integers(0, 3000))
def test_raw_text_that_is_no_reading_is_refused_by_name(text: str, cut: int) -> None:
    raw = told().raw
    for each in (text, raw[:cut] + text + raw[cut:], raw[:cut]):
        with contextlib.suppress(ValueError):
            state_of("a", AT_NS, GOOD, each)


def test_impossible_contents_are_counted() -> None:
    gnss = Gnss("a", GOOD)
    for each in Truth(AT, {"NAV-TIMEUTC": {"month": 13}}).epoch():
        gnss._hear(each)
    assert "refused=1" in gnss._raw()
    assert "1 sentences with impossible contents" in gnss._read(AT_NS).raw


def test_a_receiver_that_says_more_than_fits_is_cut_and_judged_by_what_was_kept() -> None:
    version = message("MON-VER", {"a": bytes(40), "b": b"X" * 30 * 30, "payload": None})
    gnss = Gnss("a", GOOD)
    lines = tuple(GSA.format("05", 1) for _ in range(3)) + tuple(
        f"GNGSA,A,3,{n},{'07,' * 11}1.0,0.5,0.8,{n}" for n in "123456789ABCDEF"
    )
    for each in [version, *Truth(AT, {"MON-VER": None}, lines).epoch()]:
        gnss._hear(each)
    state = gnss._read(AT_NS)
    assert "ubx" in gnss._raw()
    assert len(gnss._raw()) <= RAW_OCTETS - 1_200  # room for what is found
    assert len(state.raw.encode()) <= RAW_OCTETS
    assert state.synchronised is True
    assert state_of("a", AT_NS, GOOD, state.raw) == state


def test_satellite_sentences_of_invented_constellations_crowd_out_nothing() -> None:
    gnss = Gnss("a", GOOD)
    for number in range(100):
        gnss._hear(nmea(GSA.format("05", f"{number:02d}")))
    for each in Truth(AT).epoch():
        gnss._hear(each)
    assert gnss._read(AT_NS).synchronised is True
    assert len(gnss._latest) < 30
    assert gnss._read(10**30).synchronised is None  # an absurd time of the asker is no reason to raise


def test_without_an_answer_to_what_are_you_there_is_no_identity_at_first() -> None:
    epoch = Truth(AT, {"MON-VER": None}).epoch()
    assert state_of("a", AT_NS, GOOD, raw_of(epoch, open_ms=2_999)).identity == ""
    assert state_of("a", AT_NS, GOOD, raw_of(epoch, open_ms=3_000)).identity == "receiver unnamed on UTC(NTSC)"


# -- over a real pty ---------------------------------------------------------------------------------------


class Receiver:
    """A simulated receiver on a pty, found under a name that stays when it is unplugged and plugged in again."""

    def __init__(self, name: Path) -> None:
        self.name = name
        self.truth = Truth(messages={"MON-VER": None})
        self.noise = b""
        self.speaks = True
        self.answers = True
        self.asked = 0
        self._stop = threading.Event()
        self._fds: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def plug(self) -> None:
        self._stop.clear()
        self._fds = os.openpty()
        os.set_blocking(self._fds[0], False)
        self.name.unlink(missing_ok=True)
        self.name.symlink_to(os.ttyname(self._fds[1]))
        self._thread = threading.Thread(target=self._work, args=(self._fds[0],), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        self._stop.set()
        if self._thread is not None and self._fds is not None:
            self._thread.join(5)
            for each in self._fds:
                os.close(each)
        self._fds = None
        self.name.unlink(missing_ok=True)

    def _work(self, master: int) -> None:
        question = bytes.fromhex("b5620a0400000e34")
        while not self._stop.wait(0.05):
            with contextlib.suppress(OSError):  # nobody has opened the other side, or nobody reads it
                if question in os.read(master, 4096) and self.answers:
                    self.asked += 1
                    self._write(master, message("MON-VER", Truth().said()["MON-VER"]))
            if self.speaks:
                for each in self.truth.epoch():
                    self._write(master, self.noise + each)

    @staticmethod
    def _write(master: int, octets: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(master, octets)


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path / "gnss")
    try:
        made.plug()
    except OSError as why:
        pytest.skip(f"no pty to be had: {why}")
    yield made
    made.unplug()


@pytest.fixture
def listening(receiver: Receiver) -> Iterator[Gnss]:
    gnss = Gnss("a", replace(GOOD, port=str(receiver.name)))
    yield gnss
    gnss.close()


def until(gnss: Gnss, wanted: Callable[[ClockState], bool]) -> ClockState:
    """The first state that is as wanted; a test that never sees it fails here."""
    due = time.monotonic() + 20
    while time.monotonic() < due:
        state = gnss.poll(time.time_ns())
        if wanted(state):
            return state
        time.sleep(0.02)
    raise AssertionError(f"last said: {state}")


def test_over_a_pty_the_first_poll_already_knows_and_an_auditor_judges_it_again(
    listening: Gnss, receiver: Receiver
) -> None:
    at_ns = time.time_ns()
    state = listening.poll(at_ns)
    if state.synchronised is None or not state.identity:  # a machine so busy that a second was not enough
        state = until(listening, lambda each: each.synchronised is True and bool(each.identity))
    assert (state.synchronised, state.bound_ns, state.tai_utc_s) == (True, 114, 37)
    assert state.identity.startswith("injected:SIM-ZED-F9T")
    assert receiver.asked >= 1
    assert len(state.raw.encode()) <= RAW_OCTETS
    assert state_of("a", state.at_ns, replace(GOOD, port=str(receiver.name)), state.raw) == state
    assert listening.pulses


def test_over_a_pty_what_the_receiver_comes_to_deny_shows_and_goes_again(listening: Gnss, receiver: Receiver) -> None:
    until(listening, lambda state: state.synchronised is True)
    receiver.truth = Truth(messages={"MON-VER": None, "NAV-PVT": {"fixType": 0, "gnssFixOk": 0}})
    assert "no fix" in until(listening, lambda state: state.synchronised is False).raw
    receiver.truth = Truth(messages={"MON-VER": None, "MON-RF": {"antStatus_01": 4}})
    until(listening, lambda state: state.synchronised is False and "antenna 0 is open" in state.raw)
    receiver.truth = Truth(messages={"MON-VER": None, "NAV-TIMELS": {"lsChange": 1, "timeToLsEvent": 3_600}})
    until(listening, lambda state: state.synchronised is True and state.leap_pending is True)


def test_over_a_pty_unplugged_is_unknown_and_plugged_in_again_is_taken_up(listening: Gnss, receiver: Receiver) -> None:
    until(listening, lambda state: state.synchronised is True)
    receiver.unplug()
    state = until(listening, lambda each: each.raw.startswith("fault "))
    assert state.synchronised is None
    assert "no device" in until(listening, lambda each: "no device" in each.raw).raw
    assert listening.pulses == ()
    receiver.plug()
    again = until(listening, lambda each: each.synchronised is True and bool(each.identity))
    assert again.bound_ns == 114


def test_over_a_pty_noise_between_the_sentences_is_passed_over(listening: Gnss, receiver: Receiver) -> None:
    receiver.noise = b"\xb5\x62\x01\x07\xff\xff\xd3\x00\x13$GPRMC,12\x00$$\xb5"
    receiver.truth = Truth(messages={"MON-VER": None}, lines=("GNRMC,120000.00,A,,,,,,,221126,,,A,V",))
    assert until(listening, lambda state: state.synchronised is True).bound_ns == 114


def test_a_receiver_that_falls_silent_is_unknown(receiver: Receiver) -> None:
    ahead_s = 0.0
    gnss = Gnss("a", replace(GOOD, port=str(receiver.name)), now=lambda: time.monotonic() + ahead_s)
    try:
        until(gnss, lambda state: state.synchronised is True)
        receiver.speaks = False
        ahead_s = 30.0
        state = until(gnss, lambda each: each.synchronised is None)
        assert "nothing heard for" in state.raw
    finally:
        gnss.close()


def test_octets_without_a_sentence_name_the_baud_rate(receiver: Receiver) -> None:
    receiver.answers = False
    receiver.truth, receiver.noise = Truth(ubx=False, lines=("X",)), b"\xf8\x00\x1c" * 30
    gnss = Gnss("a", replace(GOOD, port=str(receiver.name)), first_s=0.2)
    try:
        state = until(gnss, lambda each: "no sentence in them" in each.raw)
        assert state.synchronised is None
        assert "at 38400 baud; set the receiver's own baud rate" in state.raw
    finally:
        gnss.close()


def test_a_silent_port_says_so(receiver: Receiver) -> None:
    receiver.speaks = receiver.answers = False
    gnss = Gnss("a", replace(GOOD, port=str(receiver.name)), first_s=0.2)
    try:
        assert "silent" in gnss.poll(AT_NS).raw
    finally:
        gnss.close()


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        (serial.SerialException(errno.EACCES, "could not open port"), "dialout"),
        (serial.SerialException(errno.EAGAIN, "Could not exclusively lock port"), "gpsd"),
        (OSError(errno.EBUSY, "busy"), "gpsd"),
        (OSError(errno.EIO, "Input/output error"), "unplugged"),
        (ValueError("Invalid baud rate: 12345678"), "is a rate it has"),
        (RuntimeError("a driver\nof its own kind"), "of its own kind"),
    ],
)
def test_a_port_that_does_not_open_says_what_to_do(why: Exception, remedy: str) -> None:
    def refuse(_: Settings) -> Any:
        raise why

    gnss = Gnss("a", GOOD, refuse)
    try:
        state = gnss.poll(AT_NS)
        assert state.synchronised is None
        assert remedy in state.raw
        assert state_of("a", AT_NS, GOOD, state.raw) == state
    finally:
        gnss.close()


def test_no_such_device_and_no_serial_port_over_the_real_library(tmp_path: Path) -> None:
    for path, remedy in ((tmp_path / "none", "no device"), (Path("/dev/null"), "check that it is a serial port")):
        gnss = Gnss("a", replace(GOOD, port=str(path)))
        try:
            assert remedy in gnss.poll(AT_NS).raw
        finally:
            gnss.close()


def test_once_closed_it_knows_nothing_and_opens_nothing() -> None:
    def refuse(_: Settings) -> Any:
        pytest.fail("opened")

    gnss = Gnss("a", GOOD, refuse)
    gnss.close()
    gnss.close()
    assert (gnss.poll(AT_NS).synchronised, gnss.poll(AT_NS).raw) == (None, "fault closed")
    assert gnss._thread is None
