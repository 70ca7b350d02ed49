"""chronyd's words: parsed strictly, believed with care."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import Part
from harness.errors import BenchError
from harness.evidence.chrony import LEAP, REFUSED, Chrony, Settings, parse, parse_report, state_of

LINE = (
    "0A4D0101,10.77.1.1,2,1795346425.453507950,-0.000001037,-0.000000231,0.000000315,0.020,-0.160,0.998,"
    "0.000002935,0.000001466,0.3,Normal\n"
)


SOURCES = """^,*,10.77.1.1,1,6,377,12,0.000000151,0.000000960,0.000000570
^,-,10.77.1.2,1,6,377,12,0.000010151,0.000010960,0.000000570
"""
STATS = """10.77.1.1,4,3,0,-0.000,150.869,-0.000000000,0.000000444
10.77.1.2,0,0,0,0.000,2000.000,0.000000000,4.000000000
"""
DATA = (
    "10.77.1.1,0A4D0101,123,10.77.1.9,0A4D0109,Normal,4,Server,1,-2,0,-26,0.000000015,0.000000,0.000000,7F7F0101,,"
    "1795346401.884280375,-0.000000960,0.000000886,0.000000127,0.000045283,0.00,111,111,1111,Yes,No,Hardware,Kernel,"
    "5,5,5,4\n"
)
WHOLE = LINE + SOURCES + STATS + DATA
NOW = 1_795_346_430 * 10**9
"""Less than five seconds after the reference time."""


def test_the_bound_is_the_root_distance_in_named_parts() -> None:
    state = state_of("a", NOW, WHOLE)
    assert (state.site, state.source, state.at_ns) == ("a", "chrony", NOW)
    assert state.synchronised is True
    assert [part.half_width_ns for part in state.parts] == [1037, 1466, 1468]  # 2935 / 2 rounded up
    assert state.bound_ns == 1037 + 1466 + 1468
    assert state.skew_ppb == 160 + 998
    assert state.identity == "0A4D0101 10.77.1.1 stratum 2 stamps hardware/kernel interleaved"
    assert state.leap_pending is False
    assert state.raw == WHOLE.strip()


@pytest.mark.parametrize(("said", "offset_ns"), [("-0.000001037", 1037), ("+0.000001037", -1037), ("0.000000000", 0)])
def test_a_positive_system_offset_is_a_clock_that_is_slow(said: str, offset_ns: int) -> None:
    state = state_of("a", NOW, WHOLE.replace("-0.000001037", said))
    assert state.offset_ns == offset_ns
    assert state.parts[0].half_width_ns == abs(offset_ns)


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (",Normal\n", ",Not synchronised\n"),
        ("0A4D0101,10.77.1.1,2", "7F7F0101,,1"),  # `local`: follows itself
        ("0A4D0101,10.77.1.1,2", "00000000,,0"),
        ("0A4D0101,", "00000000,"),
        ("10.77.1.1,2", "10.77.1.1,16"),
    ],
)
def test_following_nothing_is_not_synchronised_and_bounds_nothing(was: str, now: str) -> None:
    state = state_of("a", NOW, LINE.replace(was, now) + SOURCES + STATS + DATA)
    assert state.synchronised is False
    assert (state.bound_ns, state.skew_ppb, state.offset_ns, state.parts, state.identity) == (None, None, None, (), "")


def test_an_answer_without_sources_is_no_news_of_them() -> None:
    state = state_of("a", NOW, LINE)
    assert state.synchronised is None
    assert state.raw.startswith("holdover: no source is selected (none): 0A4D0101,")


@pytest.mark.parametrize(
    ("was", "now", "why"),
    [
        ("^,*,10.77.1.1,1,6,377", "^,?,10.77.1.1,1,6,0", "holdover: no source is selected (10.77.1.1 ? reach 0, "),
        ("^,*", "^,x", "holdover: no source is selected (10.77.1.1 x reach 377, 10.77.1.2 - reach 377)"),
        ("^,*", "^,~", "holdover: no source is selected (10.77.1.1 ~ reach 377, "),
        ("^,-", "^,*", "holdover: no source is selected"),  # two cannot be
        ("1,6,377", "1,6,0", "10.77.1.1 has not answered the last 8 polls"),
        ("^,*,10.77.1.1", "^,*,10.77.1.3", "the source changed between two answers: 10.77.1.1, 10.77.1.3"),
    ],
)
def test_a_source_that_is_not_selected_or_heard_is_not_followed_though_the_bound_still_holds(
    was: str, now: str, why: str
) -> None:
    state = state_of("a", NOW, LINE + SOURCES.replace(was, now) + STATS + DATA)
    assert state.synchronised is None
    assert state.raw.startswith(why)
    assert state.raw.endswith(DATA.strip())
    assert state.bound_ns == 1037 + 1466 + 1468
    assert state.offset_ns == 1037


@pytest.mark.parametrize(
    ("late_s", "poll", "interval", "synchronised"),
    [
        (8 * 64 - 1, 6, "0.3", True),
        (8 * 64 + 1, 6, "0.3", None),  # replies come, but no measurement is taken over
        (8 * 100 - 1, 6, "100.0", True),
        (8 * 100 + 1, 6, "100.0", None),
        (7, -2, "0.3", True),  # a second is the least that counts
        (9, -2, "0.3", None),
        (-1, 6, "0.3", True),
        (-3, 6, "0.3", None),  # the future: this clock was set back
    ],
)
def test_a_reference_time_that_is_too_old_or_in_the_future(
    late_s: int, poll: int, interval: str, synchronised: bool | None
) -> None:
    text = WHOLE.replace("1,6,377", f"1,{poll},377").replace(",0.3,", f",{interval},")
    state = state_of("a", 1795346425453507950 + late_s * 10**9, text)
    assert state.synchronised is synchronised
    assert ("no update for" in state.raw) is (late_s > 0 and not synchronised)
    assert ("in the future" in state.raw) is (late_s < 0 and not synchronised)


def test_the_age_of_an_update_is_counted_by_the_corrected_clock() -> None:
    fast = WHOLE.replace("-0.000001037", "-3600.000000000")
    assert state_of("a", NOW + 3600 * 10**9, fast).synchronised is True
    assert state_of("a", NOW, fast).synchronised is None


def test_who_stamps_is_in_the_identity() -> None:
    known = {state_of("a", NOW, text).identity.split("stratum 2 ")[1] for text in (WHOLE, LINE + SOURCES + STATS)}
    assert known == {"stamps hardware/kernel interleaved", "stamps unknown"}
    plain = WHOLE.replace("Yes,No,Hardware,Kernel", "No,No,Daemon,Daemon")
    assert state_of("a", NOW, plain).identity.endswith(" stamps daemon/daemon")
    refclock = (LINE + SOURCES).replace("10.77.1.1,2", "PPS,1").replace("^,*,10.77.1.1", "#,*,PPS")
    assert state_of("a", NOW, refclock).identity == "0A4D0101 PPS stratum 1 reference clock"


def test_ntpdata_refused_is_said_and_costs_nothing_else() -> None:
    state = state_of("a", NOW, LINE + SOURCES + STATS + REFUSED + "\n")
    assert state.synchronised is True
    assert state.identity.endswith(" stamps unknown")
    assert state.raw.endswith(REFUSED)


REFERENCE = Settings(server="10.77.1.1", reference_ns=100, reference_origin="PRTC-A")
PATH = Settings(server="10.77.1.1", floor_ns=2001, asymmetry_ns=31, path_origin="fibre register 7")


def test_what_is_declared_of_the_server_is_a_part_with_its_origin() -> None:
    state = state_of("a", NOW, WHOLE, REFERENCE)
    assert state.parts[-1] == Part("一级时间服务器误差", "stratum-1 reference", 100, "PRTC-A")
    assert state.bound_ns == 1037 + 1466 + 1468 + 100


def test_only_what_is_slower_than_light_can_be_asymmetric_if_the_path_is_declared() -> None:
    state = state_of("a", NOW, WHOLE, PATH)
    assert [part.half_width_ns for part in state.parts] == [1037, 1466, 467, 16]
    assert all("fibre register 7" in part.origin for part in state.parts[2:])
    assert state.bound_ns == 1037 + 1466 + 467 + 16


@pytest.mark.parametrize(
    ("settings", "was", "now", "why"),
    [
        (replace(REFERENCE, server="10.77.1.2"), "", "", "follows 10.77.1.1, the bench declares 10.77.1.2"),
        (PATH, "^,-", "^,+", "combined with 10.77.1.2, of whose path nothing is declared"),
        (PATH, "0.000002935", "0.000001999", "a root delay of 0.000001999 s, below the declared floor of 2001 ns"),
    ],
)
def test_what_contradicts_a_declaration_bounds_nothing(settings: Settings, was: str, now: str, why: str) -> None:
    state = state_of("a", NOW, WHOLE.replace(was, now), settings)
    assert state.raw.startswith(why)
    assert (state.synchronised, state.bound_ns, state.offset_ns, state.parts) == (None, None, None, ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"server": "a", "floor_ns": 1, "path_origin": "x"},
        {"server": "a", "asymmetry_ns": 1, "path_origin": "x"},
        {"server": "a", "floor_ns": 1, "asymmetry_ns": 2, "path_origin": "x"},
        {"server": "a", "floor_ns": 1, "asymmetry_ns": 0},
        {"floor_ns": 1, "asymmetry_ns": 0, "path_origin": "x"},
        {"server": "a", "reference_ns": 1},
        {"server": "a", "reference_ns": -1, "reference_origin": "x"},
        {"reference_ns": 1, "reference_origin": "x"},
    ],
)
def test_a_declaration_is_whole_or_refused(wrong: dict[str, str | int]) -> None:
    with pytest.raises(BenchError, match="declare"):
        Settings(**wrong)  # type: ignore[arg-type]  # keys and types are what is tested


@pytest.mark.parametrize(("status", "pending"), [("Insert second", True), ("Delete second", True), ("Normal", False)])
def test_an_announced_leap_second(status: str, pending: bool) -> None:
    assert state_of("a", NOW, WHOLE.replace(",Normal\n", f",{status}\n")).leap_pending is pending


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (",Normal", ""),
        (",Normal", ",Normal,x"),
        ("Normal", "normal"),
        ("0A4D0101", "0a4d0101"),
        ("0.000001466", "-0.000001466"),
        ("0.000002935", "-0.000002935"),
        ("0.998", "-0.998"),
        ("0.000001466", "nan"),
        ("0.000001466", "1e-6"),
        ("0.000001466", "0,000001466"),
        (",2,", ",two,"),
        (LINE, "506 Cannot talk to daemon"),
        (LINE, ""),
    ],
)
def test_anything_else_is_refused(was: str, now: str) -> None:
    with pytest.raises(ValueError, match=r"field|number|negative|reference"):
        parse(LINE.replace(was, now))


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("^,*", "^,**"),
        ("^,*", ",*"),
        ("^,*", "%,*"),
        ("1,6,377", "1,6,378"),
        ("1,6,377", "1,6,477"),
        ("1,6,377", "1,6.0,377"),
        ("0.000000570", "570n"),
        ("-0.000,150.869", "-0.000,nan"),
        ("Hardware", "hardware"),
        ("Yes", "yes"),
        (STATS, "506 Cannot talk to daemon\n"),
        (SOURCES, ""),
        (DATA, REFUSED + "\n" + DATA),
        (DATA, REFUSED + "\n" + REFUSED),
        (STATS, STATS + SOURCES),
        (STATS, STATS + LINE),
        (STATS, "\n" + STATS),
    ],
)
def test_any_other_line_is_refused(was: str, now: str) -> None:
    text = WHOLE.replace(was, now)
    if was == SOURCES:  # all of them may be missing: `local` has none
        assert parse_report(text).sources == ()
        return
    with pytest.raises(ValueError, match=r"field|number|source|stamps"):
        parse_report(text)


CELLS = st.sampled_from([*WHOLE.replace("\n", ",").split(","), "", "-1", "nan", "9" * 40, "0.0", *LEAP, REFUSED])


@given(st.lists(st.lists(CELLS, max_size=35).map(",".join), max_size=8).map("\n".join), st.integers(0, 2**62))
def test_no_answer_crashes_or_is_half_believed(text: str, at_ns: int) -> None:
    try:
        state = state_of("a", at_ns, text, PATH)
    except ValueError:
        return
    assert state.bound_ns is None or state.bound_ns == sum(part.half_width_ns for part in state.parts) >= 0
    assert state.synchronised is not False or state.bound_ns is None


@given(st.integers(0, len(WHOLE) - 1), st.sampled_from("0123456789.,-*^x ?\nANk"))
def test_one_wrong_character_never_crashes(at: int, wrong: str) -> None:
    text = WHOLE[:at] + wrong + WHOLE[at + 1 :]
    try:
        state = state_of("a", NOW, text)
    except ValueError:
        return
    assert state.raw.endswith(text.strip())


@given(st.text(st.sampled_from("0123456789.,-ABCF Normal\n"), max_size=200))
def test_no_text_crashes_the_parser(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        return
    assert text.count(",") == 13


def program(folder: Path, body: str) -> str:
    path = folder / "chronyc"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


def test_a_program_that_is_missing_silent_or_broken_says_unknown(tmp_path: Path) -> None:
    cases = {
        "no program": Chrony("a", program=str(tmp_path / "nothing")),
        "no answer": Chrony("a", program=program(tmp_path, "exec sleep 60"), timeout_s=0.2),
    }
    for words, source in cases.items():
        state = source.poll(3)
        assert words in state.raw
        assert state.at_ns == 3
        assert (state.synchronised, state.bound_ns, state.leap_pending) == (None, None, None)
    broken = Chrony("a", program=program(tmp_path, "echo 506 Cannot talk to daemon; exit 1")).poll(3)
    assert broken.raw == "exit 1: 506 Cannot talk to daemon"
    nonsense = Chrony("a", program=program(tmp_path, "echo hello")).poll(3)
    assert "fields" in nonsense.raw
    assert nonsense.synchronised is None


def test_the_question_is_asked_of_the_given_socket(tmp_path: Path) -> None:
    said = Chrony("a", socket="/run/x.sock", program=program(tmp_path, 'echo "$LC_ALL $@"; exit 3')).poll(3).raw
    assert said == "exit 3: C -n -c -h /run/x.sock -m tracking sources sourcestats ntpdata"


def test_the_socket_may_be_a_setting(tmp_path: Path) -> None:
    told = Settings(socket="/run/y.sock")
    said = Chrony("a", program=program(tmp_path, 'echo "$4"; exit 3'), settings=told).poll(3).raw
    assert said == "exit 3: /run/y.sock"


def test_a_refusal_of_ntpdata_alone_is_no_silence(tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    answers.write_text(LINE + SOURCES + STATS + REFUSED + "\n")
    source = Chrony("a", program=program(tmp_path, f"cat {answers}; exit 1"))
    assert source.poll(NOW).synchronised is True
    answers.write_text(REFUSED + "\n")
    assert source.poll(NOW).raw == f"exit 1: {REFUSED}"
    answers.write_text(LINE + SOURCES)
    assert source.poll(NOW).raw.startswith("exit 1: ")
