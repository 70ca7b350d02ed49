"""What happens to the clocks while real packets cross a simulated link: each story ends in its gate, and no other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.rehearsal import Told, bench_text, short_policy, tell
from harness.certificate import judge
from harness.clock import ClockState, Part
from harness.link import Route
from harness.measurement import Measurement
from harness.policy import Policy, parse

Result = Mapping[str, Any]
SECOND = 10**9


@pytest.fixture(scope="module")
def near_40_km(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """4 s of packets over 40 km, measured once; every story brings its own evidence of the far clock."""
    return tell(tmp_path_factory.mktemp("evidence"), bench_text())


@pytest.fixture(scope="module")
def near_210_km(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """The same over 210 km: too long."""
    return tell(tmp_path_factory.mktemp("evidence"), bench_text(forward="{ km = 210 }", backward="{ km = 210 }"))


@pytest.fixture(scope="module")
def short() -> Policy:
    """The policy of the rehearsal."""
    return parse(short_policy())


PARTS = (
    Part("伺服", "servo offset", 40, "TIME_STATUS_NP master_offset"),
    Part("网络", "network time error", 60, "declared: G.8271.1"),
)


def locked(m: Measurement, source: str = "linuxptp") -> list[ClockState]:
    """A far clock that is well all the time: a state a second from before the run until after."""
    start, end = m.health.started_ns, m.health.ended_ns
    return [
        ClockState(m.link.far.name, source, at, True, 100, 10, None, False, "grandmaster 1", "told", 5, PARTS)
        for at in range(start - SECOND, end + 2 * SECOND, SECOND)
    ]


def judged(told: Told, short: Policy, far: list[ClockState], **link: Any) -> Result:
    """The story's packets under another evidence of the far clock."""
    (m,) = told.measurements
    kept = [s for s in m.evidence if s.site == m.link.near.name]
    m = replace(m, evidence=(*kept, *far), link=replace(m.link, **link))
    policy = short.model_copy(update={"requirements": (short.requirements[0],)})
    return judge([m], policy, {})


def red(result: Result) -> set[str]:
    return {gate["id"] for gate in result["gates"] if gate["state"] == "red"}


def verdicts(result: Result, basis: str) -> set[str]:
    rows = result["requirements"][0]["directions"]
    return {s["verdict"] for row in rows for s in row["statements"] if s["basis"] == basis}


def test_named_parts_of_the_evidence_stand_in_the_budget(near_40_km: Told, short: Policy) -> None:
    result = judged(near_40_km, short, locked(near_40_km.measurements[0]))
    assert red(result) == set()
    assert verdicts(result, "clock") == {"PASS"}
    for made in (b for b in result["budgets"] if b["basis"] == "clock"):
        names = {c["name_en"]: (c["value_ps"], c["origin"]) for c in made["components"]}
        assert names["servo offset, far end"] == (40_000, "TIME_STATUS_NP master_offset")
        assert names["network time error, far end"] == (60_000, "declared: G.8271.1")


def middle(states: list[ClockState]) -> int:
    return len(states) // 2


def grandmaster_change(states: list[ClockState]) -> list[ClockState]:
    half = middle(states)
    return [*states[:half], *(replace(s, identity="grandmaster 2") for s in states[half:])]


def receiver_unplugged(states: list[ClockState]) -> list[ClockState]:
    half = middle(states)
    receiver = [replace(s, source="gnss", identity="receiver", offset_ns=None, parts=()) for s in states]
    silent = [replace(s, synchronised=None, bound_ns=None, raw="the port is gone") for s in receiver[half:]]
    return [*states, *receiver[:half], *silent]


def antenna_pulled(states: list[ClockState]) -> list[ClockState]:
    half = middle(states)
    receiver = [replace(s, source="gnss", identity="receiver", offset_ns=None, parts=()) for s in states]
    return [*states, *receiver[:half], *(replace(s, synchronised=False, bound_ns=None) for s in receiver[half:])]


def source_dies(states: list[ClockState]) -> list[ClockState]:
    return states[: middle(states)]


def source_falls_silent(states: list[ClockState]) -> list[ClockState]:
    return [s if i < 2 or i > 5 else replace(s, synchronised=None, bound_ns=None) for i, s in enumerate(states)]


def leap_announced(states: list[ClockState]) -> list[ClockState]:
    return [replace(s, leap_pending=True) for s in states]


def tai_mixed(states: list[ClockState]) -> list[ClockState]:
    return [replace(s, tai_utc_s=37 if i % 2 else 36) for i, s in enumerate(states)]


def holdover(states: list[ClockState]) -> list[ClockState]:
    """The master is gone: the servo says so at once."""
    half = middle(states)
    return [*states[:half], *(replace(s, synchronised=False, bound_ns=None, identity="") for s in states[half:])]


def two_clocks_disagree(states: list[ClockState]) -> list[ClockState]:
    other = [replace(s, source="chrony", offset_ns=900, bound_ns=1_000, parts=()) for s in states]
    return [*states, *other]


STORIES: dict[str, tuple[Callable[[list[ClockState]], list[ClockState]], set[str]]] = {
    "grandmaster change": (grandmaster_change, {"reference-change"}),
    "receiver unplugged": (receiver_unplugged, {"evidence-coverage"}),
    "antenna pulled": (antenna_pulled, {"clock-far"}),
    "evidence source dies": (source_dies, {"evidence-coverage"}),
    "evidence source is silent for seconds": (source_falls_silent, {"evidence-coverage"}),
    "leap second announced": (leap_announced, {"leap"}),
    "TAI offset changes": (tai_mixed, {"time-scale"}),
    "master lost": (holdover, {"clock-far"}),
    "two clocks of one site disagree": (two_clocks_disagree, {"clock-agreement"}),
}


@pytest.mark.parametrize("name", STORIES)
def test_doubts_about_a_clock_void_the_clock_and_leave_the_round_trip(
    near_40_km: Told, short: Policy, name: str
) -> None:
    alter, gates = STORIES[name]
    result = judged(near_40_km, short, alter(locked(near_40_km.measurements[0])))
    assert red(result) == gates
    assert verdicts(result, "clock") == {"INVALID"}
    assert verdicts(result, "clock-free") == {"PASS"}
    assert result["requirements"][0]["verdict"] == "PASS"
    said = [g for g in result["gates"] if g["state"] == "red"]
    assert all(g["remedy_zh"] and g["remedy_en"] for g in said)


@pytest.mark.parametrize("name", STORIES)
def test_no_doubt_about_a_clock_hides_a_fail(near_210_km: Told, short: Policy, name: str) -> None:
    """The antenna is pulled over a fibre that is too long: by its record it fails all the same."""
    alter, gates = STORIES[name]
    far = alter(locked(near_210_km.measurements[0]))
    unaided = judged(near_210_km, short, far, route=None)
    assert red(unaided) == gates
    assert verdicts(unaided, "clock") == {"INVALID"}
    assert "PASS" not in verdicts(unaided, "clock-free")
    by_record = judged(near_210_km, short, far, route=Route(210_000, 1_468_200, 500_000, "record"))
    assert by_record["verdict"] == "FAIL"


def test_time_over_the_link_under_test_decides_nothing(near_40_km: Told, short: Policy) -> None:
    """The servo settles at half the asymmetry, and says it is locked: only the topology tells."""
    result = judged(near_40_km, short, locked(near_40_km.measurements[0]), sync_over_link=True)
    assert red(result) == {"sync-topology"}
    assert verdicts(result, "clock") == {"INVALID"}
    assert verdicts(result, "clock-free") == {"PASS"}


def test_evidence_of_a_simulated_instrument_marks_the_result(near_40_km: Told, short: Policy) -> None:
    told = locked(near_40_km.measurements[0], "counter")
    spoken = [replace(state, identity="injected:SIM-53230A") for state in told]
    assert "simulated counter at b" in judged(near_40_km, short, spoken)["simulated"]
    assert "simulated counter at b" not in judged(near_40_km, short, told)["simulated"]


def test_a_trace_of_another_far_too_long_fibre_is_found_out(near_40_km: Told, short: Policy) -> None:
    wrong = Route(230_000, 1_468_200, 500_000, "trace of another fibre")
    result = judged(near_40_km, short, locked(near_40_km.measurements[0]), route=wrong)
    assert {"floor", "round-trip-floor"} <= red(result)
    assert result["verdict"] == "INVALID"
