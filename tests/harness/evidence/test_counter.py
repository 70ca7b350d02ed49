"""A clock against a reference by 1PPS: signs, bounds, and every way not to know."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.port import Identity
from harness.clock import ClockState
from harness.errors import BenchError
from harness.evidence.counter import FRESH_NS, Counter, Reading, Settings, offset_ps, state_of

AT_NS = 1_795_305_600 * 10**9  # 2026-11-22 00:00 UTC
REAL = Identity("Keysight Technologies", "53230A", "MY50000001", "02.05")
DECLARED = Settings(
    resource="TCPIP::192.0.2.7::5025::SOCKET",
    reference="GNSS receiver 7, PRTC-B",
    serial="MY50000001",
    cable_ns=25,
    cable_half_width_ns=2,
    cable_origin="measured 2026-10-01",
    accuracy_ns=1,
    accuracy_origin="calibration certificate 4711",
    timebase_ppb=1,
    timebase_origin="locked to the reference's 10 MHz",
    reference_ns=40,
    reference_origin="ITU-T G.8272 PRTC-B",
    rate_ppb=20,
    rate_origin="OCXO data sheet",
    calibration_due=date(2026, 11, 22),
)
FIGURES = (
    "cable_ns",
    "cable_half_width_ns",
    "accuracy_ns",
    "timebase_ppb",
    "reference_ns",
    "rate_ppb",
    "calibration_due",
)
WORDS = (
    "serial",
    "reference",
    "cable_origin",
    "accuracy_origin",
    "timebase_origin",
    "reference_origin",
    "rate_origin",
)
S = 10**12


def state(
    *intervals_ps: int,
    settings: Settings = DECLARED,
    found: Identity | None = REAL,
    at_ns: int = AT_NS,
    age_ns: int = 0,
) -> ClockState:
    readings = [Reading(10**9, each) for each in intervals_ps]
    return state_of("a", at_ns, settings, found, readings, 10**9 + age_ns)


def test_the_bound_is_the_sum_of_named_parts() -> None:
    found = state(-75_000, age_ns=10**9)  # our pulse 75 ns early by its own cable of 25 ns: 100 ns ahead
    assert (found.site, found.source, found.at_ns, found.synchronised) == ("a", "counter", AT_NS, True)
    assert found.offset_ns == 100
    assert {part.name_en: (part.half_width_ns, part.origin) for part in found.parts} == {
        "measured offset": (100, "largest of 1 reading(s) against the reference"),
        "error of the reference": (40, "ITU-T G.8272 PRTC-B"),
        "counter accuracy": (1, "calibration certificate 4711"),
        "time base of the counter": (1, "locked to the reference's 10 MHz"),
        "difference of cable delays": (2, "measured 2026-10-01"),
        "drift since the reading": (20, "OCXO data sheet"),
    }
    assert found.bound_ns == 164
    assert found.skew_ppb == 20
    assert (found.tai_utc_s, found.leap_pending) == (None, None)
    assert "GNSS receiver 7" in found.identity
    assert "MY50000001" in found.identity
    raw = json.loads(found.raw)
    assert raw["intervals_ps"] == [-75_000]
    assert "injected" not in raw
    assert raw["whole_seconds"] == "not seen by a 1PPS"


@given(st.integers(-S // 2 + 10**6, S // 2 - 10**6), st.integers(-1000, 1000), st.sampled_from(["reference", "clock"]))
def test_the_sign_follows_from_when_pulses_arrive(ahead_ps: int, cable_ns: int, start: Any) -> None:
    """True pulses: a clock that is ahead sends early, a cable delays, the counter waits for the next stop pulse."""
    settings = dataclasses.replace(DECLARED, start=start, cable_ns=cable_ns)
    clock, reference = -ahead_ps + cable_ns * 1000, 0
    first, second = (reference, clock) if start == "reference" else (clock, reference)
    interval = (second - first) % S  # what a counter can measure: stop after start
    assert offset_ps(settings, Reading(0, interval)) - ahead_ps in {-S, 0, S}
    if abs(ahead_ps) < S // 2 - 2_000_000:
        assert offset_ps(settings, Reading(0, interval)) == ahead_ps


@pytest.mark.parametrize(
    ("interval_ps", "ns"),
    [(S - 75_000, 100), (S, 25), (S // 2 - 1, 25 - 500_000_000), (S // 2, 500_000_025)],
)
def test_swapped_pulses_are_folded(interval_ps: int, ns: int) -> None:
    found = state(interval_ps)
    assert found.offset_ns == ns
    assert found.bound_ns is not None
    assert found.bound_ns >= abs(ns)


def test_the_time_base_counts_over_the_interval_as_it_was_measured() -> None:
    slow = dataclasses.replace(DECLARED, timebase_ppb=1000)
    parts = {part.name_en: part.half_width_ns for part in state(S - 75_000, settings=slow).parts}
    assert parts["time base of the counter"] == 1000


def test_no_reading_between_two_polls_is_forgotten() -> None:
    found = state(-1_000_000, 5000)
    assert found.offset_ns == 20
    assert found.parts[0].half_width_ns == 1025
    assert "2 reading(s)" in found.parts[0].origin


@pytest.mark.parametrize("name", FIGURES + WORDS)
def test_what_is_not_declared_leaves_no_bound(name: str) -> None:
    changed: dict[str, Any] = {name: None if name in FIGURES else " "}
    found = state(0, settings=dataclasses.replace(DECLARED, **changed))
    assert (found.bound_ns, found.parts, found.skew_ppb) == (None, (), None)
    assert name in json.loads(found.raw)["why"][-1]


@pytest.mark.parametrize("name", ["cable_half_width_ns", "accuracy_ns", "timebase_ppb", "reference_ns", "rate_ppb"])
def test_a_half_width_is_not_negative(name: str) -> None:
    changed: dict[str, Any] = {name: -1}
    with pytest.raises(BenchError, match=name):
        dataclasses.replace(DECLARED, **changed)


def test_a_calibration_holds_to_the_end_of_its_last_day() -> None:
    assert state(0, at_ns=AT_NS + 86_400 * 10**9 - 1).bound_ns is not None
    expired = state(0, at_ns=AT_NS + 86_400 * 10**9)
    assert (expired.synchronised, expired.bound_ns, expired.parts) == (True, None, ())
    assert "expired after 2026-11-22" in expired.raw


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (dataclasses.replace(REAL, serial="MY50000002"), "serial MY50000002"),
        (dataclasses.replace(REAL, model="53220A"), "53220A"),
    ],
)
def test_another_counter_than_declared_says_nothing(found: Identity, words: str) -> None:
    other = state(0, found=found)
    assert (other.synchronised, other.bound_ns, other.offset_ns) == (None, None, None)
    assert words in other.raw


def test_an_old_reading_says_nothing() -> None:
    assert state(0, age_ns=FRESH_NS).synchronised is True
    old = state(0, age_ns=FRESH_NS + 1)
    assert (old.synchronised, old.bound_ns, old.offset_ns) == (None, None, None)
    assert "no fresh reading" in old.raw


def test_a_simulated_counter_is_seen_to_be_one() -> None:
    found = state(0, found=dataclasses.replace(REAL, serial="SIM-1"))
    assert json.loads(found.raw)["injected"] is True
    assert found.identity.startswith("injected:")
    assert found.synchronised is None  # it is not the one that was declared either


# -- with a counter on a socket --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fake() -> ModuleType:
    name = "_loaded_fake_53230a"
    if name not in sys.modules:
        path = Path(__file__).parents[2] / "drivers" / "fake_53230a.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture
def served(fake: ModuleType) -> Iterator[Any]:
    with fake.Fake53230A("-7.50000000000000E-008") as made:
        yield made


@pytest.fixture
def source(served: Any) -> Iterator[Counter]:
    settings = dataclasses.replace(DECLARED, resource=served.resource, serial="SIM-53230A-1")
    made = Counter("a", settings, period_s=0.01, retry_s=0.01, first_s=20)
    yield made
    made.close()


def until(source: Counter, wanted: Callable[[ClockState], bool]) -> ClockState:
    """The first state that is as wanted."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = source.poll(AT_NS)
        if wanted(found):
            return found
        time.sleep(0.01)
    raise AssertionError(found)


def test_the_first_poll_already_knows(source: Counter) -> None:
    found = source.poll(AT_NS)
    assert (found.synchronised, found.offset_ns, found.at_ns) == (True, 100, AT_NS)
    assert found.bound_ns is not None
    assert json.loads(found.raw)["injected"] is True
    assert found.identity == "injected:GNSS receiver 7, PRTC-B by Keysight Technologies 53230A SIM-53230A-1"


def test_pulses_that_stop_and_come_back(served: Any, source: Counter) -> None:
    source.poll(AT_NS)
    served.reading = "+9.91000000000000E+037"
    gone = until(source, lambda found: found.synchronised is None)
    assert (gone.bound_ns, gone.offset_ns) == (None, None)
    assert "time ran out" in gone.raw
    served.reading = "+2.00000000000000E+000"
    assert "at most 1 s" in until(source, lambda found: "at most 1 s" in found.raw).raw
    served.reading = "+9.99999950000000E-001"
    back = until(source, lambda found: found.synchronised is True)
    assert back.offset_ns == 75


def test_a_counter_that_hangs_up_is_opened_and_set_up_again(served: Any, source: Counter) -> None:
    source.poll(AT_NS)
    served.hang_up()
    until(source, lambda found: found.synchronised is None or served.heard.count("*RST") == 2)
    assert until(source, lambda found: found.synchronised is True and served.heard.count("*RST") == 2).offset_ns == 100


def test_garbage_from_the_counter_is_told_and_survived(served: Any, source: Counter, fake: ModuleType) -> None:
    source.poll(AT_NS)
    served.faults_of["READ?"] = fake.garbage
    assert "no text" in until(source, lambda found: found.synchronised is None).raw
    served.faults_of.clear()
    until(source, lambda found: found.synchronised is True)


def test_a_missing_time_base_is_told(served: Any, source: Counter) -> None:
    served.unlocked = True
    assert "External reference not valid" in until(source, lambda found: bool(json.loads(found.raw)["why"])).raw


def test_a_poll_never_waits_for_a_silent_counter(served: Any, fake: ModuleType) -> None:
    served.faults_of["READ?"] = fake.silent
    settings = dataclasses.replace(DECLARED, resource=served.resource)
    source = Counter("a", settings, first_s=0.05)
    try:
        found = source.poll(AT_NS)
        assert (found.synchronised, found.bound_ns) == (None, None)
        assert "no fresh reading" in found.raw
        source.poll(AT_NS)
    finally:
        source.close()  # also while READ? is under way: its own time-out is 7 s


def test_a_counter_that_is_not_there_says_unknown() -> None:
    source = Counter("a", dataclasses.replace(DECLARED, resource="TCPIP::127.0.0.1::1::SOCKET"), first_s=20)
    try:
        found = source.poll(AT_NS)
        assert (found.synchronised, found.bound_ns, found.identity) == (None, None, "")
        assert "refused" in found.raw
    finally:
        source.close()


def test_a_closed_counter_says_so(served: Any, source: Counter) -> None:
    source.poll(AT_NS)
    source.close()
    source.close()
    assert "closed" in source.poll(AT_NS).raw
    assert source.poll(AT_NS).synchronised is None
