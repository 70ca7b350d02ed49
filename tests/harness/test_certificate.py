from collections.abc import Callable
from dataclasses import fields, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.certificate import REASONS, judge
from harness.link import Direction, Route
from harness.measurement import Calibration, Measurement
from harness.policy import Policy
from harness.samples import MISSING, SKIPPED, Samples

Result = dict[str, Any]
Tell = Callable[..., Measurement]
ROWS = 48_000
OPTICAL, SERVICE = 0, 1
FORWARD, BACKWARD = 0, 1


@pytest.fixture(scope="module")
def tell(synthetic: ModuleType) -> Tell:
    """A measurement of 12 s at 4 kpps on one flow: 4 800 effective samples."""

    def make(name: str = "m1", **story: Any) -> Measurement:
        told: Measurement = synthetic.tell(
            synthetic.Story(**{"seconds": 12, "step_at_s": 6, "rate_pps": 4_000, "flows": 1, **story}), name
        )
        return told

    return make


@pytest.fixture(scope="module")
def short(rehearsal: Policy) -> Policy:
    """The rehearsal policy with windows and minima of 10 s."""
    return rehearsal.model_copy(
        update={
            "requirements": tuple(
                r.model_copy(update={"min_seconds": 10, "window_s": 10}) for r in rehearsal.requirements
            )
        }
    )


def direction(result: Result, requirement: int, way: int) -> Result:
    found: Result = result["requirements"][requirement]["directions"][way]
    return found


def clock(result: Result, requirement: int = SERVICE, way: int = FORWARD) -> Result:
    found: Result = direction(result, requirement, way)["statements"][0]
    return found


def free(result: Result, requirement: int = SERVICE, way: int = FORWARD) -> Result:
    found: Result = direction(result, requirement, way)["statements"][1]
    return found


def test_a_sound_link_passes_and_the_result_is_canonical(tell: Tell, short: Policy) -> None:
    given_ = {"run": "r1", "nested": {"list": [1, "x", None, True]}}
    result = judge([tell()], short, given_)
    assert result["verdict"] == "PASS"
    assert result["complete"]
    assert result["schema"] == "millicert-result/1"
    assert result["provenance"] == given_
    assert rfc8785.dumps(result) == rfc8785.dumps(judge([tell()], short, given_))
    assert result["simulated"] == ["synthetic"]
    assert {b["direction"] for b in result["budgets"]} == {"forward", "backward"}


def test_floats_have_no_place(tell: Tell, short: Policy) -> None:
    with pytest.raises(TypeError, match="float"):
        judge([tell(seconds=1)], short, {"x": 0.5})


def test_large_integers_become_text(tell: Tell, short: Policy) -> None:
    result = judge([tell(seconds=2, offset=10**18)], short, {})
    rfc8785.dumps(result)
    assert isinstance(clock(result)["estimate_ns"], str)


def test_nothing_measured_is_nothing_passed(short: Policy) -> None:
    result = judge([], short, {})
    assert result["verdict"] == "INVALID"
    assert not result["complete"]


def test_every_packet_lost_is_no_pass(tell: Tell, short: Policy) -> None:
    result = judge([tell(lost_forward=np.arange(ROWS))], short, {})
    assert clock(result)["estimate_infinite"]
    assert clock(result)["upper_ns"] is None
    assert result["verdict"] == "INVALID"  # a dead reflector looks the same
    assert free(result)["gates_red"] == ["far-silent"]
    rfc8785.dumps(result)


def test_no_rows_at_all(tell: Tell, short: Policy) -> None:
    m = tell()
    nothing = m.samples.where(np.zeros(ROWS, bool))
    result = judge([replace(m, samples=nothing)], short, {})
    assert result["verdict"] == "INVALID"
    assert not result["complete"]
    rfc8785.dumps(result)


# --- the two requirements -----------------------------------------------------------------------------------------


def test_the_optical_floor_is_judged_on_unloaded_streams_only(tell: Tell, short: Policy) -> None:
    result = judge([tell("floor"), tell("load", unloaded=False)], short, {})
    optical, service = result["requirements"]
    assert {d["measurement"] for d in optical["directions"]} == {"floor"}
    assert {d["measurement"] for d in service["directions"]} == {"load"}
    alone = judge([tell("load", unloaded=False)], short, {})
    assert alone["requirements"][OPTICAL]["directions"] == []
    assert alone["verdict"] == "INDETERMINATE"
    assert alone["incomplete_reasons"] == ["T1-optical-owd was not measured on a-b"]


def test_another_policy_judges_a_stream_by_its_kind(tell: Tell, short: Policy) -> None:
    renamed = short.model_copy(
        update={"requirements": tuple(r.model_copy(update={"id": f"x-{r.id}"}) for r in short.requirements)}
    )
    planned = replace(tell(), serves=tuple(r.id for r in short.requirements))
    assert judge([planned], short, {})["verdict"] == "PASS"
    result = judge([planned], renamed, {})
    assert [len(r["directions"]) for r in result["requirements"]] == [2, 2]
    assert result["verdict"] == "PASS"
    half = judge([replace(planned, serves=(short.requirements[SERVICE].id,))], short, {})
    assert [len(r["directions"]) for r in half["requirements"]] == [0, 2]


def test_a_loaded_stream_says_nothing_of_the_optical_floor_whatever_the_plan(tell: Tell, short: Policy) -> None:
    every = tuple(r.id for r in short.requirements)
    floor = tell("floor")
    load = replace(tell("load", unloaded=False, forward=1_500_000), serves=every)
    alone = judge([load], short, {})
    assert alone["requirements"][OPTICAL]["directions"] == []
    why = "load T1-optical-owd: not judged, a loaded stream says nothing of the optical floor"
    assert why in alone["incomplete_reasons"]
    both = judge([floor, replace(load, samples=floor.samples)], short, {})
    assert why in both["incomplete_reasons"]
    assert both["verdict"] == "INDETERMINATE"
    assert {d["measurement"] for d in both["requirements"][OPTICAL]["directions"]} == {"floor"}


def test_the_links_are_told_without_their_keys(tell: Tell, short: Policy) -> None:
    route = Route(50_000, 1_468_200, 100_000, "record")
    plain, keyed = tell("m1"), tell("m2", route=route, geodesic_m=30_000, key_file="/secret/k", qualified="Q", cap=50)
    result = judge([plain, plain], short, {})
    assert result["links"] == [
        {
            "name": "a-b",
            "near": "a",
            "far": "b",
            "near_address": "10.0.0.1",
            "far_address": "10.0.0.2",
            "far_port": 862,
            "interface": None,
            "ipv6": False,
            "route": None,
            "geodesic_m": None,
            "positions_origin": "survey of 2026",
            "oxcs": [],
            "authenticated": False,
            "ssid": 0,
            "far_clock_trusted": False,
            "far_turnaround_qualified": "",
            "turnaround_cap_ns": 0,
            "sync_over_link": False,
            "flow_ports": [20_000],
        }
    ]
    endpoint = replace(keyed.link.endpoint, near_address="fd00::1", far_address="fd00::2")
    keyed = replace(keyed, link=replace(keyed.link, name="c-d", endpoint=endpoint))
    told = judge([plain, keyed], short, {})
    assert [link["name"] for link in told["links"]] == ["a-b", "c-d"]
    second = told["links"][1]
    assert second["route"] == {"length_m": 50_000, "group_index_ppm": 1_468_200, "u_ps": 100_000, "origin": "record"}
    assert (second["ipv6"], second["authenticated"], second["geodesic_m"]) == (True, True, 30_000)
    assert "/secret" not in str(told)


def test_a_median_may_be_low_while_the_tail_is_not(tell: Tell, short: Policy) -> None:
    extra = np.where(np.arange(ROWS) % 100 == 0, 2_000_000, 0)
    result = judge([tell(extra_forward=extra)], short, {})
    assert direction(result, OPTICAL, FORWARD)["verdict"] == "PASS"
    assert direction(result, SERVICE, FORWARD)["verdict"] == "FAIL"
    assert direction(result, SERVICE, BACKWARD)["verdict"] == "PASS"
    assert result["verdict"] == "FAIL"


def test_the_worst_window_decides_the_optical_floor(tell: Tell, short: Policy) -> None:
    requirement = short.requirements[OPTICAL].model_copy(update={"window_s": 2})
    policy = short.model_copy(update={"requirements": (requirement, short.requirements[SERVICE])})
    bad = (np.arange(ROWS) // 8_000) == 3
    result = judge([tell(extra_forward=bad * 1_000_000)], policy, {})
    got = clock(result, OPTICAL)
    assert (got["verdict"], got["window_start_s"], got["n"]) == ("FAIL", 6, 8_000)
    windows = direction(result, OPTICAL, FORWARD)["windows"]
    assert [w["start_s"] for w in windows] == [0, 2, 4, 6, 8, 10]
    assert [w["median_ns"] > 1_000_000 for w in windows] == [False, False, False, True, False, False]
    assert clock(result, OPTICAL, BACKWARD)["verdict"] == "PASS"


@pytest.mark.parametrize("stamp", ["t2", "t4"])
def test_a_window_without_stamps_counts_against_the_pass(tell: Tell, short: Policy, stamp: str) -> None:
    generous = {"window_s": 2, "max_unstamped_ppm": 500_000}
    policy = short.model_copy(update={"requirements": tuple(r.model_copy(update=generous) for r in short.requirements)})
    m = tell()
    column = np.where(m.samples.scheduled // (2 * 10**9) == 3, MISSING, getattr(m.samples, stamp))
    result = judge([replace(m, samples=replace(m.samples, **{stamp: column}))], policy, {})
    way, basis = (FORWARD, clock) if stamp == "t2" else (BACKWARD, free)
    got = basis(result, OPTICAL, way)
    assert (got["verdict"], got["window_start_s"], got["estimate_infinite"]) == ("INDETERMINATE", 6, True)
    if stamp == "t4":
        assert result["verdict"] == "INDETERMINATE"
        windows = direction(result, OPTICAL, BACKWARD)["windows"]
        assert [w["n"] for w in windows] == [8_000] * 6
        assert [w["median_ns"] is None for w in windows] == [False, False, False, True, False, False]


@pytest.mark.parametrize("empty", [0, 3, 5])
def test_a_window_in_which_nothing_was_sent_cannot_pass_and_is_listed(tell: Tell, short: Policy, empty: int) -> None:
    requirement = short.requirements[OPTICAL].model_copy(update={"window_s": 2})
    gates = short.gates.model_copy(update={"min_sent_ppm": 0})
    policy = short.model_copy(update={"requirements": (requirement, short.requirements[SERVICE]), "gates": gates})

    def hole(m: Measurement) -> Measurement:
        s = m.samples
        gone = s.scheduled // (2 * 10**9) == empty
        stamps = {n: np.where(gone, MISSING, getattr(s, n)) for n in ("t1", "t2", "t3", "t4")}
        return replace(m, samples=replace(s, **stamps, flags=np.where(gone, SKIPPED, s.flags)))

    result = judge([hole(tell())], policy, {})
    for way in (FORWARD, BACKWARD):
        row = direction(result, OPTICAL, way)
        assert row["verdict"] == "INVALID"  # a sixth of the packets was never sent
        assert row["short"] == ["n_eff 0 on flow 20000, 30 required"]
        assert [w["n"] for w in row["windows"]] == [0 if i == empty else 8_000 for i in range(6)]
        assert row["windows"][empty]["upper_ns"] is None
    assert direction(judge([hole(tell(forward=1_500_000))], policy, {}), OPTICAL, FORWARD)["verdict"] == "FAIL"


def test_worst_flow_decides_and_speaks(tell: Tell, short: Policy) -> None:
    extra = np.where(np.arange(4 * ROWS) % 4 == 2, 1_200_000, 0)
    result = judge([tell(rate_pps=16_000, flows=4, extra_forward=extra)], short, {})
    row = direction(result, SERVICE, FORWARD)
    assert (row["verdict"], row["worst_flow"]) == ("FAIL", 20_002)
    assert clock(result)["estimate_ns"] > 1_400_000
    assert [f["verdict"] for f in row["flows"]] == ["PASS", "PASS", "FAIL", "PASS"]
    assert [f["floor_group"] for f in row["flows"]] == [0, 0, 1, 0]
    assert not row["single_flow"]


def test_the_worst_of_many_flows_fails_at_the_same_risk_as_one(tell: Tell, short: Policy) -> None:
    # r_eff = 12 against 11 needed at 2.5 % and 13 at a sixteenth of it
    extra = np.zeros(ROWS, np.int64)
    extra[: 12 * 10 * 300 : 300] = 2_000_000
    alone = clock(judge([tell(extra_forward=extra)], short, {}))
    assert alone["verdict"] == "FAIL"
    many = np.zeros(16 * ROWS, np.int64)
    many[::16] = extra
    among = clock(judge([tell(rate_pps=64_000, flows=16, extra_forward=many)], short, {}))
    assert (among["verdict"], among["flow"]) == ("INDETERMINATE", 20_000)


def test_a_flow_with_too_few_samples_cannot_pass(tell: Tell, short: Policy) -> None:
    m = tell(rate_pps=8_000, flows=2)
    thin = m.samples.where((m.samples.flow == 0) | (m.samples.seq % 10 == 0))
    result = judge([replace(m, samples=thin)], short, {})
    row = direction(result, SERVICE, FORWARD)
    assert (row["verdict"], row["worst_flow"]) == ("INDETERMINATE", 20_001)
    assert [f["verdict"] for f in row["flows"]] == ["PASS", "INDETERMINATE"]
    assert row["short"]
    assert not result["complete"]


# --- loss ---------------------------------------------------------------------------------------------------------


def test_a_lost_packet_is_infinite(tell: Tell, short: Policy) -> None:
    lost = np.arange(5, ROWS - 5, 500)  # 0.2 %
    there = judge([tell(lost_forward=lost)], short, {})
    assert clock(there)["estimate_infinite"]
    assert clock(there)["would_settle"] in {None, "fewer losses"}
    assert free(there)["verdict"] == "INDETERMINATE"
    # 0.2 % proven lost on the way there: n_eff 4 800, 9.6 expected against 4.8
    assert there["streams"][0]["counts"]["lost_forward"] == 96
    # the way back never saw them
    assert clock(there, way=BACKWARD)["verdict"] == "PASS"
    conditional = direction(there, SERVICE, FORWARD)["conditional"]
    assert conditional["p999_ns"] < 303_000
    assert conditional["received"] == ROWS - 96


def test_only_a_loss_proven_in_a_direction_can_fail_it(tell: Tell, short: Policy) -> None:
    lost = np.arange(5, ROWS - 5, 50)  # 2 %
    there = judge([tell(lost_forward=lost)], short, {})
    assert clock(there, SERVICE, FORWARD)["verdict"] == "FAIL"
    assert clock(there, SERVICE, BACKWARD)["verdict"] == "PASS"
    back = judge([tell(lost_backward=lost)], short, {})
    assert clock(back, SERVICE, BACKWARD)["verdict"] == "FAIL"
    assert clock(back, SERVICE, FORWARD)["verdict"] == "INDETERMINATE"
    m = tell(lost_forward=lost)
    stateless = replace(m, samples=replace(m.samples, far_seq=np.full(ROWS, -1, np.int64)))
    unsure = judge([stateless], short, {})
    assert {clock(unsure, SERVICE, w)["verdict"] for w in (FORWARD, BACKWARD)} == {"INDETERMINATE"}
    # yet the pair cannot hide: 2 % of the pairs are lost, more than twice 0.1 %
    assert unsure["requirements"][SERVICE]["verdict"] == "FAIL"
    assert unsure["verdict"] == "FAIL"


def test_a_restart_while_nothing_comes_back_leaves_no_loss_a_direction(tell: Tell, short: Policy) -> None:
    """The counter begins anew and has passed its old number when replies come again: only the reflector knows."""
    m = tell(flows=1, lost_backward=np.arange(500, 1_200))
    far = m.samples.far_seq.copy()
    far[1_200:] -= 500
    m = replace(m, samples=replace(m.samples, far_seq=far))
    told = replace(m, health=replace(m.health, counters={"reflector_restarts": 1}))
    result = judge([told], short, {})
    for way in (FORWARD, BACKWARD):
        got = direction(result, SERVICE, way)["loss"]
        assert (got["lost"], got["unknown_direction"], got["other_direction"]) == (0, 700, 0)
        assert clock(result, SERVICE, way)["verdict"] not in {"PASS", "FAIL"}


def test_loss_figures_have_exact_bounds(tell: Tell, short: Policy) -> None:
    result = judge([tell(lost_forward=np.array([100, 101, 5_000]))], short, {})
    got = direction(result, SERVICE, FORWARD)["loss"]
    assert (got["sent"], got["lost"], got["events"], got["unknown_direction"]) == (ROWS, 3, 2, 0)
    assert got["lower_ppb"] < 3 * 10**9 // ROWS < got["upper_ppb"]
    back = direction(result, SERVICE, BACKWARD)["loss"]
    assert (back["sent"], back["lost"], back["other_direction"]) == (ROWS - 3, 0, 3)


# --- the bracket --------------------------------------------------------------------------------------------------


def test_the_bracket_decides_where_no_clock_can(tell: Tell, short: Policy) -> None:
    result = judge([tell(evidence=())], short, {})
    assert clock(result)["verdict"] == "INVALID"
    assert clock(result)["U_ps"] is None
    assert result["verdict"] == "PASS"
    row = direction(result, SERVICE, FORWARD)
    assert row["basis"] == "clock-free"
    assert row["bracket"]["tier"] == "0"
    assert row["bracket"]["upper_ns"] < 1_000_000


def test_a_lying_reflector_does_not_pass(tell: Tell, short: Policy) -> None:
    m = tell(forward=700_000, backward=700_000, evidence=())
    lie = replace(m, samples=replace(m.samples, t2=m.samples.t2 - 400_000, t3=m.samples.t3 + 400_000))
    for changes in (
        {},
        {"turnaround_cap_ns": 10**9},
        {"key_file": "k", "turnaround_cap_ns": 10**9},
        {"key_file": "k", "far_turnaround_qualified": "Q", "turnaround_cap_ns": 50_000},
    ):
        told = replace(lie, link=replace(m.link, **changes))
        assert judge([told], short, {})["verdict"] == "INDETERMINATE"


def test_turnaround_and_geodesic_tighten_the_bracket(tell: Tell, short: Policy) -> None:
    plain = judge([tell()], short, {})
    tight = judge([tell(key_file="k", qualified="Q", cap=50_000, geodesic_m=30_000)], short, {})
    assert free(plain)["upper_ns"] - free(tight)["upper_ns"] == 20_000 + 100_069
    assert direction(tight, SERVICE, FORWARD)["bracket"]["subtracted"] == ["turnaround", "reverse-geodesic-floor"]


def test_a_fibre_record_beyond_the_limit_fails_whatever_the_gates_say(tell: Tell, short: Policy) -> None:
    route = Route(210_000, 1_468_200, 100_000, "record")  # 1.028 ms
    far = {"forward": 1_029_000, "backward": 1_029_000}
    result = judge([tell(route=route, evidence=(), interrupted="SIGINT", **far)], short, {})
    assert result["verdict"] == "FAIL"
    assert free(result)["reason"] == "route-floor"


def test_the_pair_rule_shows_as_a_row_of_its_own(tell: Tell, short: Policy) -> None:
    result = judge([tell(forward=1_100_000, backward=1_100_000, evidence=())], short, {})
    assert result["verdict"] == "FAIL"
    ways = result["requirements"][SERVICE]["directions"]
    assert [d["direction"] for d in ways] == ["forward", "backward", "pair"]
    assert [d["verdict"] for d in ways] == ["INDETERMINATE", "INDETERMINATE", "FAIL"]
    assert all("at least one direction" in d["reason_en"] for d in ways)
    assert ways[2]["label"] == "a↔b"
    assert set(ways[2]) == set(ways[0])
    below = judge([tell(forward=990_000, backward=990_000, evidence=())], short, {})
    assert len(below["requirements"][SERVICE]["directions"]) == 2


def test_a_foreign_reflector_without_a_turnaround_proves_nothing_of_the_pair(tell: Tell, short: Policy) -> None:
    # 450 us each way; 2.5 ms of processing that T3 does not own up to
    m = tell(forward=450_000, backward=450_000, turnaround=2_500_000, evidence=())
    for t3 in (m.samples.t2, m.samples.t2 - 5_000):
        told = replace(m, samples=replace(m.samples, t3=t3))
        result = judge([told], short, {})
        assert result["verdict"] == "INDETERMINATE"
        assert len(result["requirements"][SERVICE]["directions"]) == 2
        assert clock(result)["verdict"] == "INVALID"
    slow = tell(forward=1_100_000, backward=1_100_000, evidence=())
    assert judge([slow], short, {})["verdict"] == "FAIL"


def test_the_largest_unseen_clock_error(tell: Tell, short: Policy) -> None:
    route = Route(50_000, 1_468_200, 100_000, "record")
    result = judge([tell(route=route)], short, {})
    floor = int(route.flight) * 2 // 1000
    row = direction(result, OPTICAL, FORWARD)
    u_ps = max(int((clock(result, OPTICAL, way)["u_c_ps"] ** 2 + route.u_ps**2) ** 0.5) for way in (FORWARD, BACKWARD))
    assert u_ps > 500_000
    unseen = row["largest_unseen_clock_error_ns"] - 3 * u_ps // 1000
    assert 600_000 - floor <= unseen <= 600_102 - floor
    assert row["largest_unseen_reason"] == row["largest_unseen_reason_zh"] == ""
    low, high = row["clock_offset_ns"]
    assert low <= 0 <= high


def test_a_clock_error_as_large_as_said_is_not_seen_and_a_larger_one_is(tell: Tell, short: Policy) -> None:
    route = Route(61_000, 1_468_200, 100_000, "record")
    unseen = direction(judge([tell(route=route)], short, {}), OPTICAL, FORWARD)["largest_unseen_clock_error_ns"]
    for sign in (1, -1):
        beyond = judge([tell(route=route, offset=sign * (unseen + 1_000))], short, {})
        assert "floor" in {g["id"] for g in beyond["gates"] if g["state"] == "red"}


def test_a_contradicted_record_leaves_no_largest_unseen_error(tell: Tell, short: Policy) -> None:
    route = Route(70_000, 1_468_200, 100_000, "record")  # 343 us each way, 300 measured
    row = direction(judge([tell(route=route)], short, {}), OPTICAL, FORWARD)
    assert row["largest_unseen_clock_error_ns"] is None
    assert "record" in row["largest_unseen_reason"]
    assert row["largest_unseen_reason_zh"]
    nothing = direction(judge([tell(lost_forward=np.arange(ROWS))], short, {}), OPTICAL, FORWARD)
    assert nothing["largest_unseen_clock_error_ns"] is None
    assert nothing["largest_unseen_reason"]


# --- incomplete ---------------------------------------------------------------------------------------------------


def test_below_the_minimum_cannot_pass(tell: Tell, rehearsal: Policy) -> None:
    result = judge([tell()], rehearsal, {})
    assert result["verdict"] == "INDETERMINATE"
    assert not result["complete"]
    assert clock(result)["verdict"] == "PASS"
    row = direction(result, SERVICE, FORWARD)
    assert row["verdict"] == "INDETERMINATE"
    assert "12 s measured, 60 s required" in row["reason_en"]


def test_an_exponential_schedule_that_ends_early_is_complete(tell: Tell, short: Policy) -> None:
    m = tell(seconds=10)
    hurried = replace(m, samples=replace(m.samples, scheduled=m.samples.scheduled * 95 // 100))
    assert judge([hurried], short, {})["verdict"] == "PASS"
    cut = replace(m, samples=m.samples.where(m.samples.seq < 39_000))
    assert direction(judge([cut], short, {}), SERVICE, FORWARD)["short"] == ["9 s measured, 10 s required"]


def test_an_exponential_schedule_has_its_windows_whenever_chance_lets_it_end(tell: Tell, rehearsal: Policy) -> None:
    # 600 packets of 1 pps over 600 s end within 5 x 24 s of it
    wanted = {"min_seconds": 600, "min_windows": 10, "min_n_eff": 1, "window_s": 60}
    policy = rehearsal.model_copy(
        update={"requirements": tuple(r.model_copy(update=wanted) for r in rehearsal.requirements)}
    )
    m = tell(seconds=600, rate_pps=1)
    drawn = replace(m, stream=replace(m.stream, schedule="exponential"))

    def short_of(measurement: Measurement, percent: int) -> list[str]:
        s = measurement.samples
        hurried = replace(measurement, samples=replace(s, scheduled=s.scheduled * percent // 100))
        found: list[str] = direction(judge([hurried], policy, {}), OPTICAL, FORWARD)["short"]
        return found

    assert short_of(drawn, 94) == []
    assert short_of(drawn, 81) == []
    assert short_of(drawn, 79) == ["8 windows measured, 10 required"]
    assert short_of(m, 94) == ["9 windows measured, 10 required"]
    cut = replace(drawn, samples=drawn.samples.where(drawn.samples.seq < 500))
    assert "500 s measured, 600 s required" in short_of(cut, 100)
    planned = replace(drawn, stream=replace(drawn.stream, duration_ns=599 * 10**9))
    assert "599 s measured, 600 s required" in short_of(planned, 100)


def test_interrupted_cannot_pass_but_fails(tell: Tell, short: Policy) -> None:
    cut = judge([tell(interrupted="SIGINT")], short, {})
    assert cut["verdict"] == "INDETERMINATE"
    assert direction(cut, SERVICE, FORWARD)["interrupted"] == "SIGINT"
    assert judge([tell(interrupted="SIGINT", forward=1_500_000)], short, {})["verdict"] == "FAIL"


def test_what_the_run_knows_to_be_missing_counts(tell: Tell, short: Policy) -> None:
    result = judge([tell()], short, {"incomplete": ["link c-d was filtered out"]})
    assert result["verdict"] == "INDETERMINATE"
    assert result["incomplete_reasons"] == ["link c-d was filtered out"]
    failing = judge([tell(forward=1_500_000)], short, {"incomplete": ["x"]})
    assert failing["verdict"] == "FAIL"


# --- what would settle it -----------------------------------------------------------------------------------------


def test_more_samples_or_better_clocks(tell: Tell, short: Policy) -> None:
    clocks = clock(judge([tell(forward=985_000, bound=20_000)], short, {}))
    assert (clocks["verdict"], clocks["sublabel"]) == ("INDETERMINATE", "conditional-pass")
    assert clocks["would_settle"] == "better clocks"
    need = clocks["u_needed_ps"]
    assert (
        clocks["upper_ns"] * 1000 + clocks["k_milli"] * need // 1000
        <= 10**9
        < clocks["U_ps"] + clocks["upper_ns"] * 1000
    )
    rng = np.random.default_rng(1)
    tail = np.where(rng.random(ROWS) < 0.0007, 900_000, 0)
    samples = clock(judge([tell(extra_forward=tail)], short, {}))
    assert (samples["verdict"], samples["would_settle"]) == ("INDETERMINATE", "more samples")
    assert ROWS < samples["n_needed"] < 100 * ROWS
    high = clock(judge([tell(forward=1_010_000, bound=20_000)], short, {}))
    assert (high["sublabel"], high["would_settle"]) == ("conditional-fail", "better clocks")


# --- properties ---------------------------------------------------------------------------------------------------


@settings(max_examples=15)
@given(st.integers(-(10**7), 10**7))
def test_a_shift_of_the_far_clock_moves_each_way_and_not_the_bracket(tell: Tell, short: Policy, shift: int) -> None:
    m = tell(seconds=3)
    moved = replace(m, samples=replace(m.samples, t2=m.samples.t2 + shift, t3=m.samples.t3 + shift))
    before, after = judge([m], short, {}), judge([moved], short, {})
    for r in (OPTICAL, SERVICE):
        for way, sign in ((FORWARD, 1), (BACKWARD, -1)):
            for key in ("estimate_ns", "upper_ns", "lower_ns"):
                a, b = clock(before, r, way)[key], clock(after, r, way)[key]
                assert (a is None) == (b is None)
                assert a is None or b == a + sign * shift
            assert free(before, r, way) == free(after, r, way)
    # what the red gates then leave standing is the same clock-free verdict
    assert after["verdict"] in {before["verdict"], "PASS", "INDETERMINATE", "FAIL"}


def test_the_order_of_rows_does_not_matter(tell: Tell, short: Policy) -> None:
    m = tell(seconds=3, flows=4)
    mixed = np.random.default_rng(2).permutation(len(m.samples))
    columns = {f.name: getattr(m.samples, f.name)[mixed] for f in fields(Samples)}
    assert judge([m], short, {}) == judge([replace(m, samples=Samples(**columns))], short, {})


@settings(max_examples=12)
@given(st.integers(0, 400), st.integers(0, 200))
def test_more_exceedances_never_fare_better(tell: Tell, short: Policy, r: int, more: int) -> None:
    ladder = ["PASS", "INDETERMINATE", "FAIL"]

    def verdict(count: int) -> int:
        extra = np.zeros(ROWS, np.int64)
        extra[(np.arange(count) * 79) % ROWS] = 2_000_000
        return ladder.index(clock(judge([tell(extra_forward=extra)], short, {}))["verdict"])

    assert verdict(r) <= verdict(r + more)


@settings(max_examples=12)
@given(st.integers(0, 60_000), st.integers(0, 60_000), st.sampled_from([300_000, 960_000, 1_000_000, 1_040_000]))
def test_worse_clocks_never_decide_more(tell: Tell, short: Policy, bound: int, more: int, forward: int) -> None:
    sharp = clock(judge([tell(bound=bound, forward=forward)], short, {}))["verdict"]
    dull = clock(judge([tell(bound=bound + more, forward=forward)], short, {}))["verdict"]
    assert dull in {sharp, "INDETERMINATE", "INVALID"}


@pytest.mark.parametrize(
    "story",
    [
        {"evidence": ()},
        {"sync_over_link": True},
        {"steps": (5,)},
        {"step": 300_000},
        {"interrupted": "SIGTERM"},
        {"simulated": ()},
        {"shared": "lab"},
        {"lost_backward": np.arange(0, ROWS, 20)},
    ],
)
def test_no_red_gate_hides_a_fail_that_stands_without_it(tell: Tell, short: Policy, story: dict[str, Any]) -> None:
    result = judge([tell(forward=1_300_000, backward=1_300_000, **story)], short, {})
    assert result["verdict"] == "FAIL"  # by the round trip alone


# --- calibration and stamps ---------------------------------------------------------------------------------------


def test_the_bias_of_a_calibration_is_subtracted_per_direction(tell: Tell, short: Policy) -> None:
    m = tell()
    assert m.calibration is not None
    bias = {Direction.FORWARD: 7_000, Direction.BACKWARD: 3_000}
    moved = replace(m, calibration=replace(m.calibration, bias_ns=bias))
    before, after = judge([m], short, {}), judge([moved], short, {})
    for way, by in ((FORWARD, 7_000), (BACKWARD, 3_000)):
        assert clock(before, way=way)["estimate_ns"] - clock(after, way=way)["estimate_ns"] == by
        assert free(before, way=way)["upper_ns"] == free(after, way=way)["upper_ns"]
    assert isinstance(m.calibration, Calibration)


def test_duplicates_and_reordering_are_counted(tell: Tell, short: Policy) -> None:
    m = tell(seconds=2)
    copies = m.samples.copies.copy()
    copies[[10, 20]] = (2, 3)
    arrival = m.samples.arrival.copy()
    arrival[[100, 101]] = arrival[[101, 100]]
    result = judge([replace(m, samples=replace(m.samples, copies=copies, arrival=arrival))], short, {})
    row = direction(result, SERVICE, BACKWARD)
    assert row["duplicates"] == {"received": 8_000, "packets": 2, "copies": 3, "scope": "round trip"}
    assert row["reordering"] == {"received": 8_000, "reordered": 1, "extent": 1}
    assert direction(result, SERVICE, FORWARD)["reordering"]["reordered"] == 0


def test_stamps_of_a_lost_packet_never_count(tell: Tell, short: Policy) -> None:
    m = tell(lost_forward=np.array([7]))
    assert int(m.samples.t2[7]) == MISSING
    result = judge([m], short, {})
    assert direction(result, SERVICE, FORWARD)["flows"][0]["min"] >= 300_000


def test_the_schema_is_whole(tell: Tell, short: Policy) -> None:
    result = judge([tell(seconds=3)], short, {})
    assert set(result) >= {
        "schema", "verdict", "complete", "incomplete_reasons", "simulated", "policy", "provenance", "requirements",
        "budgets", "gates", "streams", "links", "evidence", "calibrations",
    }  # fmt: skip
    row = direction(result, OPTICAL, FORWARD)
    assert set(row) >= {
        "link", "direction", "label", "measurement", "verdict", "reason_zh", "reason_en", "interrupted", "statements",
        "worst_flow", "flows", "windows", "bracket", "largest_unseen_clock_error_ns", "loss", "pdv", "ipdv",
        "reordering", "duplicates", "conditional",
    }  # fmt: skip
    assert set(row["statements"][0]) >= {
        "rule", "basis", "verdict", "sublabel", "reason_zh", "reason_en", "gates_red", "estimate_ns", "lower_ns",
        "upper_ns", "infinite", "u_c_ps", "k_milli", "U_ps", "nu_eff", "worst_case_ps", "n", "n_eff", "vif",
        "vif_plan", "exceedances", "would_settle", "n_needed", "u_needed_ps",
    }  # fmt: skip
    assert all(zh and en for zh, en in REASONS.values())
    summary = result["evidence"][0]
    assert (summary["site"], summary["synchronised"], summary["admissible"]) == ("a", "all", True)
    assert isinstance(summary["first_ns"], str)
