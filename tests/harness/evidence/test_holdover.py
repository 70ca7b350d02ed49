"""Clocks left to themselves: the bound covers known truth, and a record that cannot carry one says why."""

from __future__ import annotations

import dataclasses
import json
import math
import random
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import ClockState
from harness.evidence.holdover import (
    Behaviour,
    ClosureError,
    Comparison,
    Holdover,
    Record,
    RecordError,
    Settings,
    attach,
    parse,
    read,
    state_of,
    states,
    wander_ns,
)

S = 10**9
H = 3600 * S

OPEN = """\
[clock]
id = "Rb 7"
oscillator = "rubidium"
moved = true

[behaviour]
drift_per_day = 1e-12
allan = [
  {tau_s = 100, deviation = 3e-12},
  {tau_s = 10000, deviation = 4e-13},
  {tau_s = 100000, deviation = 1e-12},
]
environment_ns = 15
rate_ppb = 1
origin = "certificate 4712 of 2026-10-01"

[before]
at = 2026-11-22T01:00:00Z
offset_ns = -20
half_width_ns = 8
reference = "GNSS receiver 7"
reference_ns = 40
reference_origin = "ITU-T G.8272 PRTC-B"
instrument = "53230A"
serial = "MY50000001"
by = "first shift"
"""
AFTER = """
[after]
at = 2026-11-22T05:00:00Z
offset_ns = 60
half_width_ns = 5
reference = "GNSS receiver 7"
reference_ns = 44
reference_origin = "ITU-T G.8272 PRTC-B"
instrument = "53230A"
serial = "MY50000001"
by = "first shift"
untouched = "the front panel's seal is whole"
"""
CLOSED = OPEN + AFTER
T0 = int(datetime(2026, 11, 22, 1, tzinfo=UTC).timestamp()) * S
T1 = T0 + 4 * H


def record(text: str = CLOSED) -> Record:
    return parse(text, "rb7.toml")


def widths(state: ClockState) -> dict[str, int]:
    return {part.name_en: part.half_width_ns for part in state.parts}


# -- the bound -------------------------------------------------------------------------------------------------


def test_the_bound_between_is_the_sum_of_named_parts() -> None:
    state = state_of("b", T0 + H, record())
    assert (state.site, state.source, state.at_ns, state.synchronised) == ("b", "holdover", T0 + H, True)
    # tau from 7200 s up is 10000 s; sigma tau is 3e-10, 4e-9 s up to there
    assert widths(state) == {
        "offset, interpolated": 0,
        "comparison before": 6,
        "comparison after": 2,  # 5 / 4 up
        "reference before": 30,
        "reference after": 11,
        "drift of the rate": math.ceil(1e-12 / 86_400 * 3600 * 10_800 / 2 * 1e9),
        "wander of the rate": math.ceil(4 * 4e-9 / math.sqrt(2) * 1e9),
        "environment": 15,
    }
    assert state.bound_ns == sum(widths(state).values())
    assert state.offset_ns == 0
    assert state.skew_ppb == 1
    assert all(part.origin for part in state.parts)
    assert "GNSS receiver 7" in state.identity
    assert "injected" not in json.loads(state.raw)


def test_at_the_comparisons_the_line_meets_what_was_measured() -> None:
    first, last = states("b", record(), (T0, T1))
    assert (first.offset_ns, last.offset_ns) == (-20, 60)
    assert [widths(first)[name] for name in ("offset, interpolated", "comparison before", "comparison after")] == [
        20,
        8,
        0,
    ]
    assert [widths(last)[name] for name in ("offset, interpolated", "reference before", "reference after")] == [
        60,
        0,
        44,
    ]
    assert widths(first)["drift of the rate"] == widths(last)["drift of the rate"] == 0


@pytest.mark.parametrize(
    ("at_ns", "text", "words"),
    [
        (T0 - 1, CLOSED, "before the first comparison"),
        (T1 + 1, CLOSED, "after the closing comparison"),
        (T0 + H, OPEN, "closure after the run is missing"),
        (T0 - 1, OPEN, "before the first comparison"),
    ],
)
def test_outside_its_comparisons_nothing_is_known(at_ns: int, text: str, words: str) -> None:
    state = state_of("b", at_ns, record(text))
    assert (state.synchronised, state.bound_ns, state.offset_ns, state.skew_ppb, state.parts) == (None,) * 4 + ((),)
    assert words in state.raw


@given(st.integers(0, 4 * H), st.integers(0, 4 * H))
def test_a_worse_comparison_never_gives_a_better_bound(since: int, more: int) -> None:
    good = record()
    assert good.after is not None
    worse = dataclasses.replace(
        good, after=dataclasses.replace(good.after, half_width_ns=good.after.half_width_ns + more % 1000)
    )
    one, other = state_of("b", T0 + since, good).bound_ns, state_of("b", T0 + since, worse).bound_ns
    assert one is not None
    assert other is not None
    assert other >= one >= 0


def test_wander_is_not_extrapolated_and_never_falls_with_time() -> None:
    behaviour = record().behaviour
    assert behaviour is not None
    found = [wander_ns(behaviour, hours * H) for hours in range(1, 56)]
    known = [each for each in found if each is not None]
    assert len(known) == 55  # 2 * 100000 s
    assert known == sorted(known)
    assert wander_ns(behaviour, 200_000 * S + 1) is None
    long = record(CLOSED.replace("2026-11-22T05", "2026-11-25T05"))
    state = state_of("b", T0 + H, long)
    assert state.synchronised is None
    assert "no Allan deviation declared for 136800 s" in state.raw
    # a table that claims less at longer times than any noise allows does not lower the bound
    sunken = dataclasses.replace(behaviour, allan=((100, Decimal("1e-9")), (10_000, Decimal("1e-13"))))
    assert wander_ns(sunken, 4 * H) == math.ceil(4 * 1e-7 / math.sqrt(2) * 1e9)


# -- truth -----------------------------------------------------------------------------------------------------


def story(
    rng: random.Random, *, white: float, walk: float, drift: float, between_s: int, steps: int
) -> tuple[Record, list[tuple[int, float]]]:
    """A clock with a known error: offset, rate, drift, white and random-walk frequency noise; with its record.

    ``white`` is the Allan deviation at 1 s, ``walk`` the step of the rate in one second, ``drift`` the rate's change in
    a day. Times in s, errors in ns.
    """
    step = between_s / steps
    error, rate = rng.uniform(-200e-9, 200e-9), rng.uniform(-1e-10, 1e-10)
    truth = [(T0, error)]
    for number in range(1, steps + 1):
        # exact over a step: integral of a Brownian rate has its own variance and covariance with the rate's end
        shock, second = rng.gauss(0, 1), rng.gauss(0, 1)
        turn = walk * math.sqrt(step) * shock
        swing = walk * step**1.5 * (shock / 2 + second / (2 * math.sqrt(3)))
        aged = drift / 86_400
        error += rate * step + swing + aged * step * step / 2 + white * math.sqrt(step) * rng.gauss(0, 1)
        rate += turn + aged * step
        truth.append((T0 + round(number * step * S), error))
    half = between_s / 2
    deviation = math.sqrt(white**2 / half + walk**2 * half / 3)  # IEEE 1139

    def compared(number: int) -> Comparison:
        at_ns, true = truth[number]
        wrong = rng.uniform(-5, 5) + rng.uniform(-40, 40)
        return Comparison(at_ns, round(true * 1e9 + wrong), 6, "ref", 40, "class", "53230A", "MY1", "us")

    behaviour = Behaviour(
        Decimal(repr(abs(drift))), ((math.ceil(half), Decimal(repr(deviation))),), 0, 10**6, "declared"
    )
    made = Record("c", "rubidium", True, compared(0), behaviour, compared(-1), "seal")
    return made, [(at_ns, true * 1e9) for at_ns, true in truth]


@pytest.mark.parametrize(
    ("white", "walk", "drift"),
    [
        (1e-10, 0.0, 0.0),
        (0.0, 3e-14, 0.0),
        (1e-12, 1e-15, 5e-10),
        (3e-11, 1e-14, -2e-10),
    ],
)
def test_the_bound_covers_the_truth_everywhere_between(white: float, walk: float, drift: float) -> None:
    rng = random.Random(20_261_122)
    trials, covered, used = 150, 0, 0.0
    for _ in range(trials):
        made, truth = story(rng, white=white, walk=walk, drift=drift, between_s=6 * 3600, steps=40)
        bounds = [state_of("b", at_ns, made) for at_ns, _ in truth]
        covered += all(
            state.bound_ns is not None and abs(true) <= state.bound_ns
            for state, (_, true) in zip(bounds, truth, strict=True)
        )
        # the residual off the line against what is left for it, so that the bound is not idle
        for state, (_, true) in zip(bounds, truth, strict=True):
            assert state.bound_ns is not None
            assert state.offset_ns is not None
            rest = state.bound_ns - abs(state.offset_ns)
            used = max(used, abs(true - state.offset_ns) / rest)
    assert covered >= 0.99 * trials
    assert used > 0.3


# -- what a record cannot carry --------------------------------------------------------------------------------


def without_behaviour(text: str) -> str:
    return text[: text.index("[behaviour]")] + text[text.index("[before]") :]


def test_the_class_of_a_resting_clock_bounds_one_day() -> None:
    text = without_behaviour(CLOSED).replace("moved = true", "moved = false")
    state = state_of("b", T0 + H, record(text))
    assert widths(state)["class of the oscillator"] == 6250
    assert "unconfirmed" in state.parts[-1].origin
    assert state.skew_ppb is None
    for was, now, words in (
        ("moved = false", "moved = true", "moved"),
        ('"rubidium"', '"caesium"', "no class figure"),
        ("2026-11-22T05:00:00Z", "2026-11-23T01:00:01Z", "one day"),
    ):
        refused = state_of("b", T0 + H, record(text.replace(was, now)))
        assert (refused.synchronised, refused.bound_ns) == (None, None)
        assert words in refused.raw


@pytest.mark.parametrize(
    ("text", "far", "near"),
    [
        (CLOSED, 14_400 + 15 + 97 - 20 + 1, -1),  # 1 ppb over 4 h
        (without_behaviour(CLOSED).replace("moved = true", "moved = false"), 5000 + 97 - 20 + 1, -1),
    ],
)
def test_a_clock_that_moved_more_than_declared_is_refused(text: str, far: int, near: int) -> None:
    refused = state_of("b", T0 + H, record(text.replace("offset_ns = 60", f"offset_ns = {far}")))
    assert (refused.synchronised, refused.bound_ns) == (None, None)
    assert "moved" in json.loads(refused.raw)["why"]
    assert (
        state_of("b", T0 + H, record(text.replace("offset_ns = 60", f"offset_ns = {far + near}"))).synchronised is True
    )


def test_a_simulated_instrument_is_seen_to_be_one() -> None:
    for number in (0, 1):
        head, middle, tail = CLOSED.split("MY50000001")
        serials = ["MY50000001", "MY50000001"]
        serials[number] = "SIM-1"
        state = state_of("b", T0 + H, record(head + serials[0] + middle + serials[1] + tail))
        assert json.loads(state.raw)["injected"] is True
        assert state.identity.startswith("injected:")


# -- late evidence ---------------------------------------------------------------------------------------------


def test_a_closed_record_is_attached_to_the_polls_that_waited_for_it(tmp_path: Path) -> None:
    path = tmp_path / "rb7.toml"
    path.write_text(OPEN)
    source = Holdover("b", Settings(path))
    polls = [source.poll(T0 + H + number * S) for number in range(3)]
    assert all(state.synchronised is None and "closure after the run is missing" in state.raw for state in polls)
    other = dataclasses.replace(polls[0], site="a"), dataclasses.replace(polls[0], source="chrony")
    path.write_text(CLOSED)
    late = attach("b", read(path), [*polls, *other])
    assert [state.at_ns for state in late] == [state.at_ns for state in polls]
    assert all(state.synchronised is True and state.bound_ns is not None for state in late)
    assert late == states("b", record(), [state.at_ns for state in polls])
    assert source.poll(T0 + H) == late[0]


@pytest.mark.parametrize(
    ("was", "now"),
    [
        ("offset_ns = -20", "offset_ns = -21"),
        ("environment_ns = 15", "environment_ns = 14"),
        ("deviation = 4e-13", "deviation = 4e-14"),
        ("2026-11-22T01:00:00Z", "2026-11-22T01:00:01Z"),
        ('"Rb 7"', '"Rb 8"'),
        ("moved = true", "moved = false"),
        ('by = "first shift"\n\n[after]', 'by = "second shift"\n\n[after]'),
    ],
)
def test_a_record_that_was_changed_since_the_run_is_refused(was: str, now: str) -> None:
    polls = [state_of("b", T0 + H, record(OPEN))]
    assert was in CLOSED
    with pytest.raises(ClosureError, match="SHA-256"):
        attach("b", record(CLOSED.replace(was, now, 1)), polls)


def test_nothing_is_attached_without_a_closure_or_without_polls() -> None:
    polls = [state_of("b", T0 + H, record(OPEN))]
    with pytest.raises(ClosureError, match="no \\[after\\]"):
        attach("b", record(OPEN), polls)
    with pytest.raises(ClosureError, match="none in the run"):
        attach("c", record(), polls)
    for raw in ("", "nonsense", "[]", '{"commitment": 7}'):
        with pytest.raises(ClosureError, match="no such sum"):
            attach("b", record(), [dataclasses.replace(polls[0], raw=raw)])


# -- the file --------------------------------------------------------------------------------------------------


def test_what_is_written_is_what_is_read() -> None:
    found = record()
    assert (found.clock, found.oscillator, found.moved, found.untouched) == (
        "Rb 7",
        "rubidium",
        True,
        "the front panel's seal is whole",
    )
    assert found.before.at_ns == T0
    assert found.after is not None
    assert found.after.at_ns == T1
    assert found.behaviour is not None
    assert found.behaviour.allan[1] == (10_000, Decimal("4e-13"))
    assert found.commitment == record(OPEN).commitment
    fraction = record(CLOSED.replace("01:00:00Z", "01:00:00.000001Z"))
    assert fraction.before.at_ns == T0 + 1000


@pytest.mark.parametrize(
    ("was", "now", "line", "words"),
    [
        ("moved = true", "moved = 1", 4, "clock.moved"),
        ("moved = true\n", "", 1, "clock.moved: found nothing"),
        ('"rubidium"', '"rubidum"', 3, "did you mean rubidium"),
        ('id = "Rb 7"', 'id = " "', 2, "clock.id"),
        ("drift_per_day = 1e-12", "drift_per_day = -1e-12", 7, "drift_per_day"),
        ("drift_per_day = 1e-12", "drift_per_day = nan", 7, "drift_per_day"),
        ("deviation = 4e-13", "deviation = 0", 10, "deviation"),
        ("tau_s = 10000,", "tau_s = 1e4,", 10, "whole seconds"),
        ("tau_s = 10000,", "tau_s = 100,", 10, "each averaging time once"),
        ("environment_ns = 15\n", "", 6, "environment_ns: found nothing"),
        ("environment_ns = 15", "enviroment_ns = 15", 13, "did you mean environment_ns"),
        ("2026-11-22T01:00:00Z", "2026-11-22T01:00:00", 18, "an instant of UTC"),
        ("2026-11-22T01:00:00Z", "2026-11-22T09:00:00+08:00", 18, "an instant of UTC"),
        ("2026-11-22T01:00:00Z", '"2026-11-22T01:00:00Z"', 18, "an instant of UTC"),
        ("2026-11-22T05:00:00Z", "2026-11-22T01:00:00Z", 29, "later than before.at"),
        ("half_width_ns = 8", "half_width_ns = 0", 20, "from 1"),
        ("half_width_ns = 8", "half_width_ns = 8.5", 20, "whole ns"),
        ("offset_ns = -20", "offset_ns = true", 19, "whole ns"),
        ("[after]", "[afterwards]", 28, "did you mean after"),
        ("untouched =", "# untouched =", 28, "untouched: found nothing"),
        ("[before]", "[before", 17, "broken TOML"),
        ("[clock]", "[[clock]]", 1, "a table [clock]"),
    ],
)
def test_each_mistake_is_found_with_its_line(was: str, now: str, line: int, words: str) -> None:
    assert was in CLOSED
    with pytest.raises(RecordError) as caught:
        record(CLOSED.replace(was, now, 1))
    found = [problem for problem in caught.value.problems if words in str(problem)]
    assert [problem.line for problem in found] == [line], str(caught.value)


def test_all_mistakes_are_told_at_once() -> None:
    text = CLOSED.replace("moved = true", "moved = 1").replace("half_width_ns = 8", "half_width_ns = 0")
    with pytest.raises(RecordError, match="2 errors"):
        record(text)
    with pytest.raises(RecordError) as caught:
        record("")
    assert {problem.key for problem in caught.value.problems} == {"clock", "before"}


@given(st.lists(st.sampled_from(CLOSED.splitlines()), max_size=40))
def test_no_mixture_of_its_lines_crashes_the_reader(lines: list[str]) -> None:
    try:
        found = parse("\n".join(lines), "mixed")
    except RecordError:
        return
    state_of("b", T0 + H, found)


def test_a_file_that_cannot_be_read_is_unknown_not_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rb7.toml"
    source = Holdover("b", Settings(path))
    cases = [("No such file", None), ("UTF-8", b"\n\xff"), ("octets", b"#" * 100_001), ("found nothing", b"")]
    for words, octets in cases:
        if octets is not None:
            path.write_bytes(octets)
        state = source.poll(T0 + H)
        assert (state.synchronised, state.bound_ns, state.source, state.at_ns) == (None, None, "holdover", T0 + H)
        assert words in state.raw
