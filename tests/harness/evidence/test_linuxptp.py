"""linuxptp's words: parsed strictly from recordings, and true against real daemons whose clocks' errors are known."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.clock import ClockState
from harness.errors import BenchError
from harness.evidence import pmc as pmc_module
from harness.evidence.linuxptp import Follower, LinuxPtp, Seen, Settings, state_of
from harness.evidence.pmc import collect, listening, parse
from harness.evidence.ptp_log import AT_ONCE, LONGEST_LINE, Event, Figure, PtpLog, read_line
from harness.evidence.ptp_quality import ACCURACY_NS, CLASSES

HERE = Path(__file__).parent
SLAVE = (HERE / "pmc_3_1_1_slave.txt").read_text(encoding="utf-8")
"""A slave with software stamps as pmc 3.1.1 printed it: locked, offset -132 ns."""
ORPHAN = (HERE / "pmc_3_1_1_orphan.txt").read_text(encoding="utf-8")
"""The same five seconds after its grandmaster was killed."""
MASTER = (HERE / "pmc_3_1_1_master.txt").read_text(encoding="utf-8")
GRANDMASTER = "02000a.fffe.000005"

DECLARED = Settings(
    network_ns=1100,
    network_origin="G.8271.1 reference point C",
    asymmetry_ns=501,
    asymmetry_origin="fibre records 2026-07",
)


def said(state: ClockState, words: str) -> bool:
    """Whether one of the remarks before pmc's own text says so."""
    return any(words in line for line in state.raw.splitlines() if line.startswith("# "))


# --- what a locked clock is worth -----------------------------------------------------------------------------------


def test_a_declared_budget_is_the_sum_of_its_named_parts() -> None:
    state = state_of("a", 9, SLAVE, DECLARED)
    assert (state.site, state.source, state.at_ns) == ("a", "linuxptp", 9)
    assert state.synchronised is True
    assert [(part.name_en, part.half_width_ns) for part in state.parts] == [
        ("PTP servo residual", 132),
        ("grandmaster accuracy", 100),
        ("PTP network time error", 1100),
        ("PTP path asymmetry", 251),  # half, rounded up
    ]
    assert state.bound_ns == 132 + 100 + 1100 + 251
    assert state.offset_ns == -132
    assert state.tai_utc_s == 37
    assert state.leap_pending is False
    assert state.skew_ppb is None  # nothing measures it: printed as zero
    assert state.identity == f"{GRANDMASTER} steps 1 class 6"
    assert SLAVE in state.raw
    origins = " | ".join(part.origin for part in state.parts)
    assert "0x21" in origins
    assert "declared: G.8271.1 reference point C" in origins
    assert "declared: fibre records 2026-07; half of 501 ns" in origins
    assert all(part.name_zh for part in state.parts)


@pytest.mark.parametrize(
    ("given_settings", "reason"),
    [
        (Settings(), "network_ns is not declared"),
        (replace(DECLARED, asymmetry_ns=None), "no servo can see it"),
        (replace(DECLARED, network_ns=None), "network_ns is not declared"),
        (replace(DECLARED, hardware=True), "the port has SOFTWARE"),
        (replace(DECLARED, clock="phc"), "the port has SOFTWARE"),
    ],
)
def test_what_nobody_declared_leaves_the_bound_unknown(given_settings: Settings, reason: str) -> None:
    state = state_of("a", 9, SLAVE, given_settings)
    assert state.synchronised is True
    assert (state.bound_ns, state.parts) == (None, ())
    assert state.offset_ns == -132
    assert said(state, reason)


def test_zero_is_a_declaration_and_none_is_not() -> None:
    bare = replace(DECLARED, network_ns=0, asymmetry_ns=0)
    assert state_of("a", 9, SLAVE, bare).bound_ns == 232


def test_the_largest_logged_offset_counts() -> None:
    assert state_of("a", 9, SLAVE, DECLARED, Seen(most_ns=4000)).bound_ns == 4000 + 100 + 1100 + 251
    assert state_of("a", 9, SLAVE, DECLARED, Seen(most_ns=5)).bound_ns == 132 + 100 + 1100 + 251
    positive = SLAVE.replace("master_offset              -132", "master_offset              132")
    assert state_of("a", 9, positive, DECLARED).offset_ns == 132
    assert state_of("a", 9, positive, DECLARED).bound_ns == 132 + 100 + 1100 + 251


@pytest.mark.parametrize("code", [*ACCURACY_NS, 0x00, 0x1F, 0x31, 0x80, 0xFE, 0xFF])
def test_an_accuracy_bounds_only_where_its_code_names_a_limit(code: int) -> None:
    state = state_of(
        "a", 9, SLAVE.replace("gm.ClockAccuracy                      0x21", f"gm.ClockAccuracy 0x{code:02x}"), DECLARED
    )
    assert state.synchronised is True
    if code in ACCURACY_NS:
        assert state.bound_ns == 132 + ACCURACY_NS[code] + 1100 + 251
    else:
        assert state.bound_ns is None
        assert said(state, f"clockAccuracy 0x{code:02x}")


def test_an_untraceable_grandmaster_bounds_nothing() -> None:
    state = state_of("a", 9, SLAVE.replace("timeTraceable         1", "timeTraceable         0"), DECLARED)
    assert (state.synchronised, state.bound_ns) == (True, None)
    assert said(state, "timeTraceable 0")


@pytest.mark.parametrize(
    ("number", "synchronised"),
    [
        *[(6, True), (7, True), (135, True)],
        *[(13, None), (14, None), (248, None), (255, None), (99, None)],
        *[(52, False), (58, False), (140, False), (150, False), (160, False), (165, False), (187, False), (193, False)],
    ],
)
def test_a_clock_is_as_good_as_its_grandmaster_says(number: int, synchronised: bool | None) -> None:
    state = state_of(
        "a", 9, SLAVE.replace("gm.ClockClass                         6", f"gm.ClockClass {number}"), DECLARED
    )
    assert state.synchronised is synchronised
    assert (state.bound_ns is not None) is (synchronised is True)
    assert said(state, f"clockClass {number}:")
    assert f"class {number}" in state.identity
    if number in {135, 140, 150, 160, 165}:
        assert said(state, "unconfirmed")


def test_every_class_has_an_origin() -> None:
    assert all(meaning.origin and meaning.words for meaning in CLASSES.values())


# --- time scale -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("was", "now", "synchronised", "bound_ns", "tai_utc_s", "leap"),
    [
        ("ptpTimescale          1", "ptpTimescale          0", None, None, None, False),
        ("currentUtcOffsetValid 1", "currentUtcOffsetValid 0", True, None, None, False),
        ("leap61                0", "leap61                1", True, 1583, 37, True),
        ("leap59                0", "leap59                1", True, 1583, 37, True),
        ("currentUtcOffset      37", "currentUtcOffset      38", True, 1583, 38, False),
    ],
)
def test_the_flags_of_the_time_scale(
    was: str, now: str, synchronised: bool | None, bound_ns: int | None, tai_utc_s: int | None, leap: bool
) -> None:
    assert was in SLAVE
    state = state_of("a", 9, SLAVE.replace(was, now), DECLARED)
    assert (state.synchronised, state.bound_ns) == (synchronised, bound_ns)
    assert (state.tai_utc_s, state.leap_pending) == (tai_utc_s, leap)


def test_a_phc_counts_tai_and_needs_no_utc_offset() -> None:
    text = SLAVE.replace("currentUtcOffsetValid 1", "currentUtcOffsetValid 0").replace("SOFTWARE", "HARDWARE")
    state = state_of("a", 9, text, replace(DECLARED, clock="phc"))
    assert (state.bound_ns, state.tai_utc_s) == (1583, None)


def test_an_arbitrary_time_scale_is_named() -> None:
    state = state_of("a", 9, SLAVE.replace("ptpTimescale          1", "ptpTimescale          0"), DECLARED)
    assert said(state, "arbitrary, not TAI")


# --- who is followed ------------------------------------------------------------------------------------------------


def test_a_lost_grandmaster_is_not_followed_although_ptp4l_still_names_it() -> None:
    assert "gmPresent                  true" in ORPHAN
    state = state_of("a", 9, ORPHAN, DECLARED)
    assert state.synchronised is False
    assert (state.bound_ns, state.offset_ns, state.identity, state.leap_pending) == (None, None, "", None)
    assert said(state, "1 LISTENING")


@pytest.mark.parametrize("port", ["UNCALIBRATED", "MASTER", "PASSIVE", "FAULTY", "DISABLED", "NONE"])
def test_only_a_slave_follows(port: str) -> None:
    state = state_of("a", 9, SLAVE.replace("SLAVE\n", f"{port}\n"), DECLARED)
    assert state.synchronised is False
    assert said(state, f"1 {port}")


def test_a_slave_of_nobody_is_not_synchronised() -> None:
    state = state_of("a", 9, SLAVE.replace("gmPresent                  true", "gmPresent false"), DECLARED)
    assert state.synchronised is False


def test_no_sync_yet_is_unknown() -> None:
    assert state_of("a", 9, re.sub("ingress_time .*", "ingress_time 0", SLAVE), DECLARED).synchronised is None


@pytest.mark.parametrize(("exponent", "limit_s"), [(-4, 2), (0, 3), (3, 24), (127, 3), (-128, 3)])
def test_a_servo_that_hears_no_sync_runs_blind(exponent: int, limit_s: int) -> None:
    text = SLAVE.replace("logSyncInterval         -4", f"logSyncInterval         {exponent}")
    just, late = (state_of("a", 9, text, DECLARED, Seen(age_ns=limit_s * 10**9 + over)) for over in (0, 1))
    assert (just.synchronised, late.synchronised) == (True, None)
    assert said(late, "no Sync for")
    assert late.bound_ns is None


def test_a_grandmaster_counts_only_where_it_is_declared_and_its_reference_is_logged() -> None:
    assert state_of("a", 9, MASTER, DECLARED).synchronised is False
    declared = replace(DECLARED, grandmaster=True, asymmetry_ns=None)
    silent = state_of("a", 9, MASTER, declared)
    assert silent.synchronised is None
    assert said(silent, "no figure of ts2phc")
    state = state_of("a", 9, MASTER, declared, Seen(reference=Follower(-12, 30, None)))
    assert state.synchronised is True
    assert state.bound_ns == 30 + 100 + 1100
    assert state.offset_ns == -12
    assert state.identity == f"{GRANDMASTER} steps 0 class 6"
    assert state_of("a", 9, SLAVE, declared, Seen(reference=Follower(-12, 30, None))).synchronised is False


def test_the_system_clock_after_a_phc_needs_phc2sys() -> None:
    text = SLAVE.replace("SOFTWARE", "HARDWARE")
    alone = state_of("a", 9, text, DECLARED)
    assert (alone.synchronised, alone.bound_ns) == (None, None)
    assert said(alone, "no figure of phc2sys")
    assert state_of("a", 9, text, replace(DECLARED, clock="phc", hardware=True)).bound_ns == 132 + 100 + 1100 + 251
    whole = state_of("a", 9, text, DECLARED, Seen(system=Follower(-40, 90, 1347)))
    assert whole.bound_ns == 132 + 100 + 1100 + 251 + 90 + 674
    assert whole.offset_ns == -172
    summary = state_of("a", 9, text, DECLARED, Seen(system=Follower(None, 90, 1347)))
    assert summary.bound_ns == whole.bound_ns
    assert summary.offset_ns is None
    unread = Seen(system=Follower(-40, 90, None))
    assert state_of("a", 9, text, DECLARED, unread).bound_ns is None
    declared = replace(DECLARED, read_ns=700, read_origin="phc_ctl cmp 2026-07")
    assert state_of("a", 9, text, declared, unread).bound_ns == 132 + 100 + 1100 + 251 + 90 + 700


def test_a_rate_error_is_declared_or_measured_by_peers() -> None:
    declared = replace(DECLARED, skew_ppb=50, skew_origin="data sheet of the oscillator")
    assert state_of("a", 9, SLAVE, declared).skew_ppb == 50
    rated = SLAVE.replace("+0.000000000", "-0.000000120")
    assert state_of("a", 9, rated, DECLARED).skew_ppb is None  # end to end: no neighbour measured
    peers = rated.replace("delayMechanism          1", "delayMechanism          2")
    assert state_of("a", 9, peers, DECLARED).skew_ppb == 121
    assert state_of("a", 9, peers, declared).skew_ppb == 121


@pytest.mark.parametrize(
    "wrong",
    [
        {"clock": "wall"},
        {"domain": 256},
        {"transport_specific": 16},
        {"network_ns": -1, "network_origin": "x"},
        {"network_ns": 5},
        {"asymmetry_ns": 5, "asymmetry_origin": " "},
        {"read_ns": 5},
        {"skew_ppb": 5},
    ],
)
def test_a_figure_without_origin_or_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BenchError):
        Settings(**wrong)


# --- the text of pmc ------------------------------------------------------------------------------------------------


def test_a_recording_is_read_whole() -> None:
    answers = collect(SLAVE)
    assert answers.clock == "02000a.fffe.000008"
    assert len(answers.of_clock) == 5
    assert set(answers.of_ports[1]) == {"PORT_DATA_SET", "PORT_PROPERTIES_NP", "PORT_STATS_NP"}
    assert answers.of_ports[1]["PORT_STATS_NP"].number("rx_Sync") == 109
    assert answers.one("TIME_STATUS_NP").word("lastGmPhaseChange") == "0x0000'0000000000000000.0000"


VERSION_4 = SLAVE + (
    "\t02000a.fffe.000008-1 seq 8 RESPONSE MANAGEMENT PORT_SERVICE_STATS_NP \n"
    "\t\tportIdentity              02000a.fffe.000008-1\n"
    "\t\tannounce_timeout          2\n\t\tsync_timeout              0\n\t\tdelay_timeout             91\n"
    "\t\tunicast_service_timeout   0\n\t\tunicast_request_timeout   0\n\t\tmaster_announce_timeout   0\n"
    "\t\tmaster_sync_timeout       0\n\t\tqualification_timeout     0\n"
    "\t\tsync_mismatch             0\n\t\tfollowup_mismatch         0\n"
    "\t02000a.fffe.000008-1 seq 9 RESPONSE MANAGEMENT PORT_HWCLOCK_NP \n"
    "\t\tportIdentity            02000a.fffe.000008-1\n\t\tphcIndex                -1\n\t\tflags                   0\n"
)
"""As 4.x prints its newer data sets, by its sources."""


def test_newer_data_sets_and_refusals_do_no_harm() -> None:
    assert state_of("a", 9, VERSION_4, DECLARED).bound_ns == 1583
    refused = SLAVE + "\t02000a.fffe.000008-1 seq 8 RESPONSE MANAGEMENT_ERROR_STATUS \n"
    assert state_of("a", 9, refused, DECLARED).bound_ns == 1583
    warned = "pmc[13.037]: uds: removed existing /run/x\n" + SLAVE
    assert state_of("a", 9, warned, DECLARED).bound_ns == 1583


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (SLAVE, ""),
        (SLAVE, "sending: GET TIME_STATUS_NP\n"),
        ("\t\tmaster_offset              -132\n", ""),
        ("master_offset              -132", "master_offset              -132 ns"),
        ("master_offset              -132", "master_offset              -13.2"),
        ("master_offset              -132", "master_offset              99999999999999999999999999"),
        ("master_offset              -132", "master_offset              9223372036854775808"),
        ("master_offset              -132", "master_offset              ٣"),
        ("master_offset              -132\n", "master_offset              -132\n\t\tmaster_offset              -132\n"),
        ("gmPresent                  true", "gmPresent                  yes"),
        ("gmIdentity                 02000a.fffe.000005", "gmIdentity                 02000a.fffe.000006"),
        ("stepsRemoved     1", "stepsRemoved     -1"),
        ("gm.ClockClass                         6", "gm.ClockClass                         256"),
        ("gm.ClockAccuracy                      0x21", "gm.ClockAccuracy                      33"),
        ("ptpTimescale          1", "ptpTimescale          2"),
        ("currentUtcOffset      37", "currentUtcOffset      70000"),
        ("domainNumber            0", "domainNumber            1"),
        ("clockIdentity           02000a.fffe.000008", "clockIdentity           02000a.fffe.000009"),
        ("portIdentity            02000a.fffe.000008-1", "portIdentity            02000a.fffe.000008-2"),
        ("02000a.fffe.000008-0 seq 2", "02000a.fffe.000009-0 seq 2"),
        ("RESPONSE MANAGEMENT DEFAULT_DATA_SET", "RESPONSE MANAGEMENT CURRENT_DATA_SET"),
        ("RESPONSE MANAGEMENT PORT_DATA_SET", "RESPONSE MANAGEMENT PORT_STATE"),
        ("RESPONSE MANAGEMENT TIME_STATUS_NP", "COMMAND MANAGEMENT TIME_STATUS_NP"),
        ("RESPONSE MANAGEMENT TIME_STATUS_NP", "RESPONSE MANAGEMENT_ERROR_STATUS"),
        ("portState               SLAVE", "portState               "),
        ("sending: GET PARENT_DATA_SET\n", "sending: GET PARENT_DATA_SET\nhello\n"),
        ("sending: GET TIME_STATUS_NP\n", "\t\tmaster_offset              -132\n"),
        ("tx_Management             0\n", "tx_Management             0"),
    ],
)
def test_anything_else_is_refused(was: str, now: str) -> None:
    assert was in SLAVE
    with pytest.raises(ValueError, match=r".+"):
        state_of("a", 9, SLAVE.replace(was, now), DECLARED)


def test_a_data_set_told_twice_is_refused() -> None:
    again = SLAVE[SLAVE.index("\t02000a.fffe.000008-1 seq 7") :]
    with pytest.raises(ValueError, match="PORT_STATS_NP told twice"):
        state_of("a", 9, SLAVE + again, DECLARED)


@given(
    st.sampled_from([SLAVE, ORPHAN, MASTER, VERSION_4]),
    st.lists(
        st.tuples(
            st.integers(0, 4000),
            st.integers(0, 300),
            st.one_of(
                st.text(max_size=40),
                st.sampled_from(["\n", "\t\t", "\t", "9" * 30, "-", "SLAVE", "0x", SLAVE[:700], "\x00", "\udcff"]),
            ),
        ),
        min_size=1,
        max_size=6,
    ),
)
@settings(max_examples=300, deadline=None)
def test_no_damage_crashes_the_reader_or_makes_a_bound_out_of_nothing(
    text: str, edits: list[tuple[int, int, str]]
) -> None:
    for at, gone, put in edits:
        text = text[:at] + put + text[at + gone :]
    try:
        state = state_of("a", 9, text, DECLARED)
    except ValueError:
        return
    assert text in state.raw
    assert (state.bound_ns is None) is (not state.parts)
    if state.bound_ns is not None:
        assert state.synchronised is True
        assert state.bound_ns == sum(part.half_width_ns for part in state.parts)
        assert state.offset_ns is not None
        assert abs(state.offset_ns) <= state.bound_ns


@given(st.integers(0, len(SLAVE) - 1))
@settings(deadline=None)
def test_a_cut_off_output_is_no_evidence(length: int) -> None:
    """Unless what is cut off is nothing that counts: the statistics come last."""
    cut = SLAVE[:length]
    if "timestamping            SOFTWARE\n" in cut and cut.endswith("\n"):
        assert state_of("a", 9, cut, DECLARED).bound_ns == 1583
        return
    with contextlib.suppress(ValueError):
        assert state_of("a", 9, cut, DECLARED).bound_ns is None


# --- the logs -------------------------------------------------------------------------------------------------------

P = "ptp4l[12903.468]: "


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (P + "master offset        359 s2 freq  +23759 path delay       734", ("ptp4l", "", 359, 359, 2, 734)),
        (P + "master offset    -359000 s3 freq  -23759 path delay       -34", ("ptp4l", "", -359000, 359000, 3, -34)),
        (P + "rms  102 max  240 freq  +1250 +/-  61 delay   734 +/-  12", ("ptp4l", "", None, 240, None, 734)),
        (P + "rms  102 max  240 freq  +1250 +/-  61", ("ptp4l", "", None, 240, None, None)),
        (
            "phc2sys[99.001]: CLOCK_REALTIME phc offset       -12 s2 freq   +100 delay    541",
            ("phc2sys", "CLOCK_REALTIME", -12, 12, 2, 541),
        ),
        (
            "phc2sys[99.001]: CLOCK_REALTIME rms   12 max   34 freq   +100 +/-   5 delay   541 +/-   3",
            ("phc2sys", "CLOCK_REALTIME", None, 34, None, 541),
        ),
        ("phc2sys[99.001]: eth0 sys offset 8 s0 freq +0", ("phc2sys", "eth0", 8, 8, 0, None)),
        ("ts2phc[99.001]: /dev/ptp0 offset          3 s2 freq      +1", ("ts2phc", "/dev/ptp0", 3, 3, 2, None)),
        ("ts2phc[99.001]: /dev/ptp0 master offset   3 s2 freq      +1", ("ts2phc", "/dev/ptp0", 3, 3, 2, None)),
        ("ts2phc[99.001]: ens1 offset 3 s3 freq +1 holdover", ("ts2phc", "ens1", 3, 3, 3, None)),
        (
            "Nov 22 10:00:00 host ptp4l: [12903.468] master offset 1 s2 freq +2 path delay 3",
            ("ptp4l", "", 1, 1, 2, 3),
        ),
        ("ptp4l[1.000]: [ptp4l.0] master offset 1 s2 freq +2 path delay 3", ("ptp4l", "", 1, 1, 2, 3)),
        ("ptp4l[1.000]: [p] rms 1 max 7 freq +2 +/- 3 delay 4 +/- 5", ("ptp4l", "", None, 7, None, 4)),
        ("master offset 1 s2 freq +2 path delay 3", ("ptp4l", "", 1, 1, 2, 3)),
        ("CLOCK_REALTIME phc offset 1 s2 freq +2 delay 3", ("phc2sys", "CLOCK_REALTIME", 1, 1, 2, 3)),
    ],
)
def test_figures_of_every_daemon(line: str, expected: tuple[Any, ...]) -> None:
    found = read_line(line)
    assert isinstance(found, Figure)
    assert (found.program, found.clock, found.offset_ns, found.most_ns, found.servo, found.delay_ns) == expected
    assert found.holdover is line.endswith("holdover")
    assert found.line == line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (P + "clockcheck: clock jumped forward or running faster than expected!", ("jump", "", "clock jumped forward")),
        (
            P + "clockcheck: clock jumped backward or running slower than expected!",
            ("jump", "", "clock jumped backward"),
        ),
        (P + "clockcheck: clock frequency changed unexpectedly!", ("jump", "", "clock frequency changed unexpectedly")),
        (P + "port 1: SLAVE to LISTENING on ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES", ("state", "SLAVE", "LISTENING")),
        (P + "port 1 (eth0): UNCALIBRATED to SLAVE on MASTER_CLOCK_SELECTED", ("state", "UNCALIBRATED", "SLAVE")),
        (P + "port 1: SLAVE to FAULTY on FAULT_DETECTED (FT_UNSPECIFIED)", ("state", "SLAVE", "FAULTY")),
        (P + "[tag] port 1: SLAVE to UNCALIBRATED on RS_SLAVE", ("state", "SLAVE", "UNCALIBRATED")),
        (P + "selected best master clock 02000a.fffe.000005", ("master", "", GRANDMASTER)),
        (P + "selected local clock 02000a.fffe.000005 as best master", ("master", "", GRANDMASTER)),
        (
            P + "timed out while polling for tx timestamp",
            ("trouble", "", "timed out while polling for tx timestamp"),
        ),
        (
            "ts2phc[1.000]: ens1 lost holdover lock (offset       1234)",
            ("trouble", "", "ens1 lost holdover lock (offset       1234)"),
        ),
    ],
)
def test_events_of_every_daemon(line: str, expected: tuple[str, str, str]) -> None:
    found = read_line(line)
    assert isinstance(found, Event)
    assert (found.kind, found.before, found.after) == expected


@given(st.text(max_size=300))
def test_no_line_crashes_the_log_reader(line: str) -> None:
    read_line(line)
    read_line(P + line)


GOOD = P + "master offset        359 s2 freq  +23759 path delay       734\n"


def test_a_log_is_followed_from_now_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text(
        "ptp4l[50.000]: master offset 9 s2 freq +1 path delay 1\n" + GOOD + P + "clockcheck: clock jumped forward\n"
    )
    log = PtpLog(str(path), monotonic=lambda: 12_905.0)
    first = log.read()
    # what happened before is not ours; the last figures are, unless old
    assert [figure.most_ns for figure in first.figures] == [359]
    assert first.events == ()
    assert log.read().figures == ()
    with path.open("a") as out:
        out.write(GOOD + GOOD[:30])
    assert len(log.read().figures) == 1
    with path.open("a") as out:
        out.write(GOOD[30:])
    assert len(log.read().figures) == 1
    log.close()
    log.close()


def test_rotation_truncation_and_absence_lose_nothing_that_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = PtpLog(str(path), monotonic=lambda: 0.0)
    assert "No such file" in log.read().remarks[0]
    path.write_text(GOOD)  # it appears: all of it is new
    assert len(log.read().figures) == 1
    with path.open("a") as out:
        out.write(GOOD)
    path.rename(tmp_path / "log.1")
    path.write_text(GOOD * 2)
    rotated = log.read()
    assert len(rotated.figures) == 3
    assert any("rotated" in remark for remark in rotated.remarks)
    path.write_text(GOOD)  # in place, shorter
    truncated = log.read()
    assert len(truncated.figures) == 1
    assert any("truncated" in remark for remark in truncated.remarks)
    path.unlink()
    assert any("gone" in remark for remark in log.read().remarks)
    path.write_text(GOOD)
    assert len(log.read().figures) == 1
    log.close()


def test_garbage_is_told_and_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"")
    log = PtpLog(str(path))
    log.read()
    with path.open("ab") as out:
        out.write(
            b"\x00\xff\xfe binary\n"
            + GOOD.encode()
            + b"x" * (LONGEST_LINE + 1)
            + b"\n"
            + GOOD.encode()
            + b"\x80" * 9000
        )
    found = log.read()
    assert len(found.figures) == 2
    assert any("not text" in remark for remark in found.remarks)
    assert any("left out" in remark for remark in found.remarks)
    path.unlink()
    path.mkdir()
    assert log.read().figures == ()
    assert log.read().remarks
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert "not a file" in PtpLog(str(fifo)).read().remarks[0]
    assert PtpLog("a\x00b").read().remarks


def test_an_endless_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("")
    log = PtpLog(str(path))
    log.read()
    path.write_text("x" * LONGEST_LINE + GOOD)
    found = log.read()
    assert found.figures == ()
    assert "left out" in found.remarks[0]


def test_a_flood_waits_for_the_next_poll(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("")
    log = PtpLog(str(path))
    log.read()
    count = AT_ONCE // len(GOOD) + 100
    path.write_text(GOOD * count)
    first, second = log.read(), log.read()
    assert any("wait for the next poll" in remark for remark in first.remarks)
    assert len(first.figures) + len(second.figures) == count


# --- a program in pmc's place ---------------------------------------------------------------------------------------


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a Unix socket's name holds 107 octets."""
    made = Path(tempfile.mkdtemp(prefix="mc-ptp-", dir="/tmp"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """A socket at which somebody listens, as pmc wants it."""
    path = folder / "ptp4l"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        yield str(path)


def program(folder: Path, body: str) -> str:
    path = folder / "pmc"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


@pytest.fixture
def source(folder: Path, address: str) -> Iterator[tuple[LinuxPtp, Callable[[str | bytes], None], Path]]:
    """A LinuxPtp, what makes its pmc print a text, its log."""
    log = folder / "log"
    log.write_text("")
    out = folder / "out"
    made = LinuxPtp("a", replace(DECLARED, socket=address, log=(str(log),)), program(folder, f"cat {out}"), 20.0)

    def tell(text: str | bytes) -> None:
        out.write_bytes(text if isinstance(text, bytes) else text.encode())

    tell(SLAVE)
    yield made, tell, log
    made.close()


def at(second: float) -> int:
    return int(second * 10**9)


Telling = tuple[LinuxPtp, Callable[[str | bytes], None], Path]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("clockcheck: clock jumped forward or running faster than expected!", "clock jumped forward"),
        ("clockcheck: clock frequency changed unexpectedly!", "clock frequency changed unexpectedly"),
        ("port 1: SLAVE to UNCALIBRATED on SYNCHRONIZATION_FAULT", "SLAVE to UNCALIBRATED"),
        ("port 2: LISTENING to FAULTY on FAULT_DETECTED (FT_UNSPECIFIED)", "LISTENING to FAULTY"),
        ("selected best master clock 0123ab.fffe.000001", "0123ab.fffe.000001 instead of " + GRANDMASTER),
        ("master offset 500 s0 freq +1 path delay 1", "servo not locked (s0)"),
        ("master offset 500 s1 freq +1 path delay 1", "stepped by its servo (s1)"),
        ("timed out while polling for tx timestamp", "timed out"),
    ],
)
def test_what_happened_between_two_polls_is_not_forgotten(source: Telling, line: str, reason: str) -> None:
    linuxptp, _, log = source
    assert linuxptp.poll(at(1)).bound_ns == 1583
    with log.open("a") as out:
        out.write(P + line + "\n")
    state = linuxptp.poll(at(2))
    assert (state.synchronised, state.bound_ns) == (False, None)
    assert said(state, reason)
    assert f"log: {P}{line}\n" in state.raw
    assert linuxptp.poll(at(3)).synchronised is True


def test_what_is_no_harm_leaves_the_clock_synchronised(source: Telling) -> None:
    linuxptp, _, log = source
    linuxptp.poll(at(1))
    with log.open("a") as out:
        out.write(P + f"selected best master clock {GRANDMASTER}\n")
        out.write(P + "port 2: LISTENING to MASTER on ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES\n" + P + "whatever\n")
        out.write("phc2sys[1.000]: eth0 sys offset 8 s0 freq +0\n")  # another clock than ours
        out.write(P + "rms  102 max 2400 freq  +1250 +/-  61 delay   734 +/-  12\n")
    state = linuxptp.poll(at(2))
    assert state.synchronised is True
    assert state.bound_ns == 2400 + 100 + 1100 + 251
    assert "whatever" not in state.raw
    assert linuxptp.poll(at(3)).bound_ns == 1583


def test_an_unanswered_question_does_not_undo_what_the_log_saw(source: Telling) -> None:
    linuxptp, tell, log = source
    linuxptp.poll(at(1))
    tell("")
    assert linuxptp.poll(at(2)).synchronised is None
    with log.open("a") as out:
        out.write(P + "clockcheck: clock jumped backward or running slower than expected!\n")
    state = linuxptp.poll(at(3))
    assert state.synchronised is False
    assert said(state, "clock jumped backward")
    assert said(state, "no answer")


def test_the_age_of_the_last_sync_grows_until_there_is_another(source: Telling) -> None:
    linuxptp, tell, _ = source
    assert linuxptp.poll(at(1)).synchronised is True
    assert linuxptp.age_ns is None  # one poll cannot tell
    assert linuxptp.poll(at(2)).synchronised is True
    assert linuxptp.age_ns == at(1)
    state = linuxptp.poll(at(3.5))
    assert (state.synchronised, state.bound_ns) == (None, None)
    assert linuxptp.age_ns == at(2.5)
    tell(ORPHAN)  # whose ingress_time is 0
    assert linuxptp.poll(at(5)).synchronised is False
    assert linuxptp.age_ns == at(4)
    tell("")
    linuxptp.poll(at(6))
    assert linuxptp.age_ns == at(5)
    tell(SLAVE.replace("ingress_time               179", "ingress_time               180"))
    assert linuxptp.poll(at(7)).synchronised is True
    assert linuxptp.age_ns == 0


def test_a_lost_announce_is_counted_where_ptp4l_counts_it(source: Telling) -> None:
    linuxptp, tell, _ = source
    tell(VERSION_4)
    assert linuxptp.poll(at(1)).synchronised is True
    tell(VERSION_4.replace("announce_timeout          2", "announce_timeout          3"))
    state = linuxptp.poll(at(2))
    assert state.synchronised is False
    assert said(state, "announce_timeout went from 2 to 3")
    assert linuxptp.poll(at(3)).synchronised is True


def test_figures_of_phc2sys_count_while_they_are_fresh(source: Telling) -> None:
    linuxptp, tell, log = source
    tell(SLAVE.replace("SOFTWARE", "HARDWARE"))
    assert linuxptp.poll(at(1)).synchronised is None
    with log.open("a") as out:
        out.write("phc2sys[1.000]: CLOCK_REALTIME phc offset  -120 s2 freq +1 delay  500\n")
        out.write("phc2sys[2.000]: CLOCK_REALTIME phc offset    20 s2 freq +1 delay  601\n")
    state = linuxptp.poll(at(2))
    assert state.bound_ns == 1583 + 120 + 301
    assert state.offset_ns == -132 + 20
    tell(
        SLAVE.replace("SOFTWARE", "HARDWARE").replace(
            "ingress_time               179", "ingress_time               180"
        )
    )
    assert linuxptp.poll(at(12)).synchronised is True
    tell(
        SLAVE.replace("SOFTWARE", "HARDWARE").replace(
            "ingress_time               179", "ingress_time               181"
        )
    )
    late = linuxptp.poll(at(12.1))
    assert late.synchronised is None
    assert said(late, "no figure of phc2sys")


@pytest.mark.parametrize("second", ["", " delay 0"])
def test_a_reading_window_that_was_not_measured_is_unknown(source: Telling, second: str) -> None:
    linuxptp, tell, log = source
    tell(SLAVE.replace("SOFTWARE", "HARDWARE"))
    linuxptp.poll(at(1))
    with log.open("a") as out:
        out.write("phc2sys[1.000]: CLOCK_REALTIME phc offset 1 s2 freq +1 delay 500\n")
        out.write(f"phc2sys[2.000]: CLOCK_REALTIME phc offset 2 s2 freq +1{second}\n")
    state = linuxptp.poll(at(2))
    assert (state.synchronised, state.bound_ns) == (True, None)
    assert said(state, "no reading window")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (P + "port 1: MASTER to PASSIVE on RS_PASSIVE", "MASTER to PASSIVE"),
        ("ts2phc[2.000]: ens1 offset 3 s0 freq +1", "ts2phc: servo not locked"),
        ("ts2phc[2.000]: ens1 offset 3 s3 freq +1 holdover", "ts2phc: in holdover"),
        ("ts2phc[2.000]: ens1 lost holdover lock (offset 1234)", "lost holdover lock"),
        (P + "port 1: MASTER to GRAND_MASTER on RS_GRAND_MASTER", ""),
        (P + "port 1: SLAVE to MASTER on RS_MASTER", ""),
        (P + "master offset 500 s0 freq +1 path delay 1", ""),
    ],
)
def test_a_grandmaster_is_judged_by_its_reference(folder: Path, address: str, line: str, reason: str) -> None:
    (folder / "out").write_text(MASTER)
    log = folder / "log"
    log.write_text("")
    given_settings = replace(DECLARED, grandmaster=True, socket=address, log=(str(log),))
    made = LinuxPtp("a", given_settings, program(folder, f"cat {folder}/out"), 20.0)
    assert made.poll(at(1)).synchronised is None
    log.write_text("ts2phc[1.000]: ens1 offset -7 s2 freq +1\n")
    good = made.poll(at(2))
    assert (good.synchronised, good.bound_ns, good.offset_ns) == (True, 7 + 100 + 1100, -7)
    with log.open("a") as out:
        out.write(line + "\n")
    state = made.poll(at(3))
    assert state.synchronised is not bool(reason)
    assert said(state, reason)


def test_a_log_that_cannot_be_read_is_told(folder: Path, address: str) -> None:
    out = folder / "out"
    out.write_text(SLAVE)
    made = LinuxPtp(
        "a", replace(DECLARED, socket=address, log=(str(folder / "none"),)), program(folder, f"cat {out}"), 20.0
    )
    state = made.poll(at(1))
    assert state.synchronised is True
    assert said(state, "No such file")
    assert not any("log of ptp4l" in part.origin for part in state.parts)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo 506; exit 3", "exit 3"),
        ("exec sleep 60", "no answer of"),
        ("echo 'sending: GET TIME_STATUS_NP'", "no answer from"),
        ("echo hello", "no answer from"),
        ("printf '\\377\\376\\000 RESPONSE\\n'", "not a line of pmc"),
        ("printf '\\t02000a.fffe.000008-0 seq 0 RESPONSE MANAGEMENT TIME_STATUS_NP '", "cut off"),
    ],
)
def test_a_program_that_is_silent_or_broken_says_unknown(folder: Path, address: str, body: str, words: str) -> None:
    timeout_s = 0.2 if "sleep" in body else 20.0
    state = LinuxPtp("a", Settings(socket=address), program(folder, body), timeout_s).poll(3)
    assert (state.synchronised, state.bound_ns, state.leap_pending, state.identity) == (None, None, None, "")
    assert state.at_ns == 3
    assert said(state, words)


def test_no_program_no_socket_nobody_behind_it(folder: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert said(LinuxPtp("a", Settings(socket=address), str(folder / "none")).poll(3), "no program")
    assert said(LinuxPtp("a", Settings(socket=str(folder / "none"))).poll(3), "no ptp4l listens at")
    assert not listening(str(folder))
    assert not listening("/\x00")
    stale = folder / "stale"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(stale))
    assert not listening(str(stale))
    said_so = program(folder, 'echo "$LC_ALL $@" >&2; exit 3')
    monkeypatch.setattr(pmc_module, "SOCKETS", (str(stale), address))
    state = LinuxPtp("a", Settings(domain=24, transport_specific=1), said_so).poll(3)
    assert said(state, f"exit 3: C -u -b 0 -d 24 -t 1 -s {address} -i /")
    monkeypatch.setattr(pmc_module, "SOCKETS", (str(stale),))
    assert said(LinuxPtp("a").poll(3), f"no ptp4l listens at {stale}")


def test_a_pmc_that_does_not_know_a_data_set_is_not_asked_again(folder: Path, address: str) -> None:
    (folder / "out").write_text(SLAVE)
    body = f'echo "$@" >> {folder}/asked; echo "bad command: GET PORT_HWCLOCK_NP" >&2; cat {folder}/out'
    made = LinuxPtp("a", replace(DECLARED, socket=address), program(folder, body), 20.0)
    assert made.poll(at(1)).bound_ns == 1583
    made.poll(at(2))
    first, second = (folder / "asked").read_text().splitlines()
    assert "GET PORT_HWCLOCK_NP" in first
    assert "GET PORT_HWCLOCK_NP" not in second
    assert "GET PORT_SERVICE_STATS_NP" in second


def test_nothing_stays_behind_even_when_pmc_is_killed(
    folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = folder / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    # the ninth word is the client's socket
    body = 'while [ "$1" != -i ]; do shift; done; : > "$2"; exec sleep 60'
    assert said(LinuxPtp("a", Settings(socket=address), program(folder, body), 1.0).poll(3), "no answer of")
    assert list(temporary.iterdir()) == []


@given(
    text=st.one_of(st.binary(max_size=400), st.text(max_size=300).map(lambda t: (SLAVE + t).encode("utf-8", "replace")))
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_that_pmc_prints_escapes_from_a_poll(source: Telling, text: bytes) -> None:
    linuxptp, tell, _ = source
    tell(text)
    state = linuxptp.poll(at(1))
    assert (state.bound_ns is None) is (not state.parts)


def test_the_parser_takes_answers_of_many_ports_in_any_order() -> None:
    ports = [SLAVE[SLAVE.index("\t02000a.fffe.000008-1 seq 5") :].replace("000008-1", f"000008-{n}") for n in (3, 1, 2)]
    clock = SLAVE[: SLAVE.index("\t02000a.fffe.000008-1 seq 5")]
    two = clock + "".join(text.replace("SLAVE", "MASTER") if n else text for n, text in enumerate(ports))
    assert len(parse(two)) == 5 + 9
    assert state_of("a", 9, two, DECLARED).bound_ns == 1583
    boundary = replace(DECLARED, grandmaster=True)
    assert state_of("a", 9, two, boundary, Seen(reference=Follower(1, 1, None))).synchronised is False
    three = clock + "".join(ports)
    assert state_of("a", 9, three, DECLARED).synchronised is False  # three SLAVE ports: nonsense
