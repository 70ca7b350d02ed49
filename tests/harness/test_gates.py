from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import gates
from harness.certificate import judge
from harness.clock import ClockState
from harness.gates import Minima, jumps, slope_ppt, step_threshold, text
from harness.link import Route
from harness.policy import Policy, parse
from harness.samples import KERNEL, MISSING, NIC, SENT_LATE, SKIPPED, USER, Stalls

Result = dict[str, Any]
Judge = Callable[..., Result]
POLICIES = Path(__file__).parents[2] / "harness" / "policies"
ROWS = 48_000
"""Of a story: 12 s at 4 kpps on one flow, worth 4 800."""


@pytest.fixture
def told(synthetic: ModuleType, rehearsal: Policy) -> Judge:
    """The result of a story, 12 s long."""

    def tell(alter: Callable[[Any], Any] | None = None, policy: Policy = rehearsal, **story: Any) -> Result:
        m = synthetic.tell(synthetic.Story(**{"seconds": 12, "step_at_s": 6, "rate_pps": 4_000, "flows": 1, **story}))
        return judge([alter(m) if alter else m], policy, {})

    return tell


def red(result: Result) -> set[str]:
    return {g["id"] for g in result["gates"] if g["state"] == "red"}


def statements(result: Result, basis: str) -> list[Result]:
    return [s for r in result["requirements"] for d in r["directions"] for s in d["statements"] if s["basis"] == basis]


def verdicts(result: Result, basis: str) -> set[str]:
    return {s["verdict"] for s in statements(result, basis)}


def test_a_sound_run_has_no_red_gate(told: Judge) -> None:
    assert red(told()) == set()


def evidence(**changes: object) -> Callable[[Any], Any]:
    """All polls of the far site changed."""

    def alter(m: Any) -> Any:
        return replace(m, evidence=tuple(replace(s, **changes) if s.site == "b" else s for s in m.evidence))

    return alter


def halfway(source: str, identities: tuple[str, str]) -> Callable[[Any], Any]:
    """The far site's source follows another reference from the middle of the run on."""

    def alter(m: Any) -> Any:
        middle = (m.health.started_ns + m.health.ended_ns) // 2
        return replace(
            m,
            evidence=tuple(
                replace(s, source=source, identity=identities[s.at_ns > middle]) if s.site == "b" else s
                for s in m.evidence
            ),
        )

    return alter


def second_source(offset_ns: int, rest_ns: int) -> Callable[[Any], Any]:
    """Both say what they measured of the far clock: one 0 ± 900 ns, a second one offset ± rest."""

    def alter(m: Any) -> Any:
        far = [replace(s, offset_ns=0, bound_ns=900) for s in m.evidence if s.site == "b"]
        more = [replace(s, source="chrony", offset_ns=offset_ns, bound_ns=abs(offset_ns) + rest_ns) for s in far]
        return replace(m, evidence=(*(s for s in m.evidence if s.site != "b"), *far, *more))

    return alter


CLOCK_STORIES: list[tuple[str, dict[str, Any], Callable[[Any], Any] | None]] = [
    ("clock-far", {}, evidence(synchronised=False)),
    ("clock-far", {}, evidence(synchronised=None)),
    ("clock-far", {}, evidence(bound_ns=None)),
    ("clock-far", {}, evidence(source="in-band")),
    ("clock-near", {"evidence": ()}, None),
    ("evidence-coverage", {}, lambda m: replace(m, evidence=m.evidence[::4])),
    ("evidence-coverage", {}, lambda m: replace(m, health=replace(m.health, ended_ns=m.health.ended_ns + 10**10))),
    ("sync-topology", {"sync_over_link": True}, None),
    ("sync-topology", {}, evidence(source="chrony", identity="0A000001 10.0.0.1 stratum 2")),
    ("reference-change", {}, halfway("linuxptp", ("grandmaster 1", "grandmaster 2"))),
    ("clock-agreement", {}, second_source(1_401, 500)),
    ("clock-agreement", {}, second_source(-1_401, 500)),
    ("leap", {}, evidence(leap_pending=True)),
    ("kernel-steps", {"steps": (40_000,)}, None),
    ("time-scale", {"offset": 37 * 10**9}, None),
    ("time-scale", {"offset": -18 * 10**9}, None),
    ("time-scale", {}, evidence(tai_utc_s=36)),
    ("floor", {"offset": -60_000, "route": Route(60_000, 1_468_200, 100_000, "record")}, None),
    ("floor", {"offset": -60_000, "geodesic_m": 85_000}, None),
    ("negative-delay", {"offset": -400_000}, None),
    ("negative-delay", {"offset": 400_000}, None),
    ("step", {"step": 100_000}, None),
    ("step", {"step": -100_000}, None),
    ("step", {"step": 10_000}, None),
    ("skew", {"skew_ppb": 2_000}, None),
    ("skew", {"skew_ppb": -2_000}, None),
    ("skew", {"skew_ppb": 50, "seconds": 600, "rate_pps": 200, "step_at_s": 10**6}, None),
    ("uncertainty", {"bound": 80_000}, None),
    ("shared-clock", {"shared": "lab"}, None),
    ("shared-clock", {"shared": "lab", "identity": "clock:1"}, evidence(identity="clock:2")),
    ("shared-clock", {"shared": "lab", "identity": "grandmaster 1 steps 1"}, None),
]


@pytest.mark.parametrize(("name", "story", "alter"), CLOCK_STORIES)
def test_a_clock_gate_voids_the_clock_based_statements_alone(
    told: Judge, name: str, story: dict[str, Any], alter: Callable[[Any], Any] | None
) -> None:
    result = told(alter, **story)
    assert name in red(result)
    found = statements(result, "clock")
    voided = [s for s in found if name in s["gates_red"]]
    assert voided
    assert {s["verdict"] for s in voided} == {"INVALID"}
    assert verdicts(result, "clock-free") == {"PASS"}
    assert all(name in s["reason_en"] for s in voided)
    remedies = [g for g in result["gates"] if g["id"] == name and g["state"] == "red"]
    assert all(g["remedy_zh"] and g["remedy_en"] and g["found"] and g["limit"] for g in remedies)


@pytest.mark.parametrize(
    "alter",
    [
        halfway("chrony", ("C0A80001 192.168.0.1 stratum 2", "C0A80002 192.168.0.2 stratum 2")),
        halfway("linuxptp", ("", "grandmaster 1")),
        second_source(1_400, 500),
        second_source(-1_400, 500),
    ],
    ids=["chronyd changes its server", "first word late", "touching above", "touching below"],
)
def test_what_is_no_contradiction_voids_nothing(told: Judge, alter: Callable[[Any], Any]) -> None:
    assert red(told(alter)) == set()


def test_the_diagnosis_of_a_time_scale_is_by_name(told: Judge) -> None:
    for offset, name in ((37, "TAI/UTC"), (19, "TAI/GPS"), (-18, "UTC/GPS")):
        result = told(offset=offset * 10**9)
        assert name in next(g for g in result["gates"] if g["id"] == "time-scale")["found"]


def test_one_clock_that_says_so_at_both_ends_needs_no_bound(told: Judge) -> None:
    result = told(shared="lab", identity="clock:1", bound=None, synchronised=None)
    assert red(result) == set()
    assert verdicts(result, "clock") == {"PASS"}
    assert all(s["U_ps"] < 2_000_000 for s in statements(result, "clock"))


def test_tokens_of_a_clock_are_compared_not_what_it_follows(told: Judge) -> None:
    def alter(m: Any) -> Any:
        near = ClockState("a", "kernel", 0, True, 1, 1, 37, False, "clock:1", "")
        chrony = replace(near, source="chrony", identity="C0A80001 gps stratum 1")
        far = replace(near, site="b", source="in-band")
        return replace(m, evidence=(near, chrony, far))

    assert "shared-clock" not in red(told(alter, shared="lab"))


@pytest.mark.parametrize("at", [2, 6, 10])
@pytest.mark.parametrize("rate", [40, 1_000])
def test_a_step_of_100_us_is_seen_within_two_seconds_of_samples(told: Judge, at: int, rate: int) -> None:
    result = told(step=100_000, step_at_s=at, seconds=at + 2, rate_pps=rate, flows=2)
    found = next(g for g in result["gates"] if g["id"] == "step")
    assert found["state"] == "red"
    assert "clock step 1" in found["found"] or "clock step 9" in found["found"]


@pytest.mark.parametrize(("forward", "backward"), [(200_000, 0), (0, 200_000), (-100_000, 0), (150_000, 150_000)])
def test_a_route_change_is_no_clock_step(told: Judge, forward: int, backward: int) -> None:
    after = np.arange(ROWS) >= ROWS // 2
    result = told(extra_forward=after * forward, extra_backward=after * backward)
    assert red(result) == set()
    changes = result["streams"][0]["path_changes"]
    assert len(changes) == 1
    assert abs(changes[0]["at_ns"] - 6 * 10**9) <= 10**9
    assert abs(changes[0]["forward_ns"] - forward) < 2_000
    assert "path change" in next(g for g in result["gates"] if g["id"] == "step")["found"]


def test_load_on_one_way_is_no_clock_step(told: Judge) -> None:
    rng = np.random.default_rng(3)
    queue = (rng.exponential(40_000, ROWS)).astype(np.int64)
    result = told(extra_forward=queue, unloaded=False)
    assert red(result) == set()


@given(st.integers(2, 30), st.sampled_from([1, -1]), st.integers(0, 40))
def test_jumps_by_size_and_sign(size: int, sign: int, at: int) -> None:
    rng = np.random.default_rng(size * 100 + at)
    level = np.where(np.arange(60) >= 10 + at, sign * size * 5_000, 0)
    f, b = rng.integers(0, 300, 60) + level, rng.integers(0, 300, 60) - level
    minima = Minima(f, b, 250_000_000)
    found = jumps(minima, step_threshold(minima, 0, 50_000))
    assert [j.kind for j in found] == ["clock"]
    assert abs(found[0].clock_ns - sign * size * 5_000) < 600
    assert abs(found[0].at_ns // minima.width_ns - (10 + at)) <= 1


def test_slope_of_the_clock_survives_a_route_change() -> None:
    t = np.arange(240)
    skew = t * 250_000_000 * 50 // 10**9  # 50 ppb
    route = np.where(t > 100, 500_000, 0)
    minima = Minima(skew + route, -skew, 250_000_000)
    found = jumps(minima, 5_000)
    assert [j.kind for j in found] == ["path"]
    ppt, _ = slope_ppt(minima, [j.at_ns for j in found])
    assert abs(ppt - 50_000) < 1_000


def test_a_wander_of_the_planes_within_u_is_no_skew(told: Judge) -> None:
    assert "skew" not in red(told(skew_ppb=100, calibrated=False))
    assert "skew" in red(told(skew_ppb=9_000, calibrated=False))


def test_few_windows_see_nothing(told: Judge) -> None:
    result = told(seconds=1, rate_pps=1_000)
    assert next(g for g in result["gates"] if g["id"] == "step")["state"] == "not-applicable"


# --- the round trip against light ---------------------------------------------------------------------------------


def test_a_round_trip_that_beats_light_voids_every_pass(told: Judge) -> None:
    route = Route(70_000, 1_468_200, 1_000_000, "record")  # 343 us each way, 310 with the turnaround
    for story in ({"route": route}, {"geodesic_m": 100_000}):
        result = told(**story, evidence=())
        assert "round-trip-floor" in red(result)
        assert verdicts(result, "clock") == verdicts(result, "clock-free") == {"INVALID"}
        assert result["verdict"] == "INVALID"
        found = next(g for g in result["gates"] if g["id"] == "round-trip-floor")
        assert found["remedy_en"].startswith("the far end is not where the bench says, or the record is wrong")
        assert (found["guards"], found["pass_only"], found["direction"]) == (["clock", "clock-free"], True, "")
    # 0.1 % of the pairs take far too long: a FAIL stays
    slow = np.where(np.arange(ROWS) % 100 == 0, 3_000_000, 0)
    assert told(route=route, evidence=(), extra_forward=slow)["verdict"] == "FAIL"


def test_a_fibre_record_that_the_round_trip_contradicts_makes_no_fail(told: Judge) -> None:
    """A trace of another, far too long fibre: 1.13 ms of light by the record, 0.62 ms there and back."""
    result = told(route=Route(230_000, 1_468_200, 1_000_000, "record of another fibre"))
    assert "round-trip-floor" in red(result)
    assert {s["verdict"] for s in statements(result, "clock") + statements(result, "clock-free")} == {"INVALID"}
    assert result["verdict"] == "INVALID"


def test_only_a_qualified_turnaround_counts_against_light(told: Judge) -> None:
    # 2 x 306 us by the record; 600 measured, 620 with the turnaround
    route = Route(62_500, 1_468_200, 100_000, "record")
    assert "round-trip-floor" not in red(told(route=route))
    assert "round-trip-floor" in red(told(route=route, key_file="k", qualified="Q", cap=50_000))
    assert "round-trip-floor" not in red(told(route=route, key_file="k", qualified="Q", cap=5_000))
    gates_ = told()["gates"]
    assert next(g for g in gates_ if g["id"] == "round-trip-floor")["state"] == "not-applicable"


def test_the_delays_below_minus_three_u_are_counted(told: Judge) -> None:
    early = np.zeros(ROWS, np.int64)
    early[:7] = -400_000  # arrives before it was sent
    result = told(extra_forward=early, route=Route(55_000, 1_468_200, 100_000, "record"))
    found = {g["id"]: g for g in result["gates"] if g["found"].startswith("forward: minimum")}
    assert found["floor"]["found"].endswith("7 packets below")
    assert found["negative-delay"]["found"].endswith("7 packets below")
    short_by = np.zeros(ROWS, np.int64)
    short_by[:9] = -302_000  # negative, but within 3 u
    result = told(extra_forward=short_by, route=Route(55_000, 1_468_200, 100_000, "record"), bound=30_000)
    found = {g["id"]: g for g in result["gates"] if g["found"].startswith("forward: minimum")}
    assert found["floor"]["found"].endswith("9 packets below")
    assert found["negative-delay"]["state"] == "green"
    assert found["negative-delay"]["found"].endswith("0 packets below")


# --- gates on the samples: they void a PASS on either basis, never a FAIL -----------------------------------------


def unsent(m: Any) -> Any:
    """5 % never sent."""
    s = m.samples
    gone = np.arange(len(s)) % 20 == 0
    columns = {n: np.where(gone, MISSING, getattr(s, n)) for n in ("t1", "t2", "t3", "t4")}
    flags = np.where(gone, SKIPPED, s.flags)
    return replace(m, samples=replace(s, **columns, flags=flags))


def late(m: Any) -> Any:
    s = m.samples
    return replace(m, samples=replace(s, flags=np.where(np.arange(len(s)) % 3 == 0, s.flags | SENT_LATE, s.flags)))


@pytest.mark.parametrize(("alter", "why"), [(unsent, {"schedule", "own-loss"}), (late, {"schedule"})])
def test_a_schedule_not_kept_voids_every_pass_but_no_fail(
    told: Judge, alter: Callable[[Any], Any], why: set[str]
) -> None:
    result = told(alter)
    assert red(result) == why
    assert verdicts(result, "clock") == verdicts(result, "clock-free") == {"INVALID"}
    assert result["verdict"] == "INVALID"
    slow = told(alter, forward=1_500_000)
    assert slow["verdict"] == "FAIL"
    forward = slow["requirements"][0]["directions"][0]
    assert forward["verdict"] == "FAIL"
    assert "schedule" in forward["statements"][0]["gates_red"]


def never_sent(gone: Any) -> Callable[[Any], Any]:
    """The rows were scheduled, and did not leave."""

    def alter(m: Any) -> Any:
        s = m.samples
        stamps = {n: np.where(gone, MISSING, getattr(s, n)) for n in ("t1", "t2", "t3", "t4")}
        return replace(m, samples=replace(s, **stamps, flags=np.where(gone, SKIPPED, s.flags)))

    return alter


def test_packets_that_would_have_been_slow_may_not_be_left_out(told: Judge) -> None:
    slow = (np.arange(ROWS) >= 20_000) & (np.arange(ROWS) < 20_440)  # 0.9 %
    late = {"extra_forward": np.where(slow, 5_000_000, 0)}
    assert service_row(told(**late), 0)["verdict"] == "FAIL"
    result = told(never_sent(slow), **late)
    assert red(result) == {"own-loss"}
    assert result["verdict"] == "INVALID"
    found = next(g for g in result["gates"] if g["id"] == "own-loss" and g["state"] == "red")
    assert "440 of one flow never sent" in found["found"]
    few = np.arange(ROWS) < 11
    assert red(told(never_sent(few))) == set()


def test_a_flow_of_which_nothing_left_is_no_pass(told: Judge) -> None:
    result = told(never_sent(np.arange(ROWS) % 128 == 7), flows=128)  # 0.8 % of the packets
    assert red(result) == {"own-loss"}
    assert result["verdict"] == "INVALID"


def parse_policy(**changes: object) -> Policy:
    """The rehearsal policy with every requirement changed."""
    policy = parse((POLICIES / "metro-2027-rehearsal.toml").read_text())
    return policy.model_copy(update={"requirements": tuple(r.model_copy(update=changes) for r in policy.requirements)})


def without_stamp(name: str, every: int) -> Callable[[Any], Any]:
    def alter(m: Any) -> Any:
        column = getattr(m.samples, name).copy()
        column[::every] = MISSING
        return replace(m, samples=replace(m.samples, **{name: column}))

    return alter


def test_missing_stamps_void_what_needs_them(told: Judge) -> None:
    result = told(without_stamp("t2", 50))
    assert red(result) == {"unstamped"}
    directions = {d["direction"]: d for d in result["requirements"][0]["directions"]}
    assert directions["forward"]["statements"][0]["verdict"] == "INVALID"
    assert directions["backward"]["statements"][0]["verdict"] == "PASS"
    assert verdicts(result, "clock-free") == {"PASS"}  # T1 and T4 are there
    everywhere = told(without_stamp("t4", 50))
    assert verdicts(everywhere, "clock-free") == {"INVALID"}


def test_a_packet_without_a_stamp_is_an_excess_for_the_pass_alone(told: Judge) -> None:
    result = told(without_stamp("t2", 20_000), seconds=25)
    assert red(result) == set()
    service = result["requirements"][1]["directions"][0]["statements"][0]
    assert (service["n"], service["exceedances"]) == (100_000, 5)
    assert service["verdict"] == "PASS"
    assert result["streams"][0]["counts"]["unstamped"] == 5
    # 0.2 % of them, which the policy here lets pass the gate: neither PASS nor FAIL
    rehearsal = parse_policy(max_unstamped_ppm=500_000)
    for stamp, way, basis in (("t2", 0, 0), ("t3", 1, 0), ("t4", 0, 1), ("t1", 1, 1)):
        many = told(without_stamp(stamp, 500), policy=rehearsal)
        assert red(many) == set()
        found = many["requirements"][1]["directions"][way]["statements"][basis]
        assert (found["n"], found["exceedances"], found["estimate_infinite"]) == (ROWS, 96, True)
        assert found["verdict"] == "INDETERMINATE"
        assert len(many["requirements"][1]["directions"]) == 2


def test_host_stalls_void_only_when_they_carry_packets_over_the_limit(told: Judge) -> None:
    rows = np.arange(0, ROWS, 1_600)
    lateness = np.zeros(ROWS, np.int64)
    lateness[rows] = 800_000
    stalls = Stalls(rows, np.zeros(30, np.int64), np.full(30, 800_000))
    result = told(extra_forward=lateness, stalls=stalls)
    found = {(g["requirement"], g["direction"]): g["state"] for g in result["gates"] if g["id"] == "host-stalls"}
    assert found["service-owd-p999", "forward"] == "red"
    assert found["T1-optical-owd", "forward"] == "green"
    assert found["service-owd-p999", "backward"] == "not-applicable"
    forward = result["requirements"][1]["directions"][0]
    assert {s["verdict"] for s in forward["statements"]} == {"INVALID"}
    assert result["streams"][0]["host_stalls"] == {"late": 30, "share_ppm": 312, "worst_ns": 800_000}
    late = next(
        g for g in result["gates"] if g["id"] == "host-stalls" and g["requirement"].startswith("T1") and g["found"]
    )
    assert f"of {ROWS} of the" in late["found"]
    four = told(flows=4, stalls=Stalls(rows, np.zeros(30, np.int64), np.full(30, 60_000)))
    said = [g["found"] for g in four["gates"] if g["id"] == "host-stalls" and g["state"] == "green"]
    assert said
    assert all(f"; 0 of {ROWS // 4} of the worst flow" in text_ for text_ in said)
    harmless = told(stalls=Stalls(rows, np.zeros(30, np.int64), np.full(30, 60_000)))
    assert red(harmless) == set()


def test_a_restarted_reflector_cannot_say_where_packets_were_lost(told: Judge) -> None:
    def alter(m: Any) -> Any:
        s = m.samples
        far = np.where(s.far_seq >= ROWS // 2, s.far_seq - ROWS // 2, s.far_seq)
        return replace(m, samples=replace(s, far_seq=far))

    result = told(alter, lost_forward=np.arange(0, ROWS, ROWS // 12))
    assert "reflector-restart" in red(result)
    counts = result["streams"][0]["counts"]
    assert (counts["lost_forward"], counts["lost_unknown"]) == (0, 12)
    assert verdicts(result, "clock") <= {"PASS", "INDETERMINATE"}


@pytest.mark.parametrize("outage_s", [1.0, 1.25, 1.5, 2.0, 4.0])
def test_a_clock_that_steps_while_nothing_comes_back_is_found(told: Judge, outage_s: float) -> None:
    lost = np.flatnonzero(np.abs(np.arange(ROWS) / 4_000 - 6) < outage_s / 2)
    result = told(step=-500_000, lost_forward=lost)
    assert "step" in red(result)
    assert "step" not in red(told(lost_forward=lost))


def test_a_stray_stamp_proves_nothing_against_the_pair(told: Judge) -> None:
    def stray(m: Any) -> Any:
        late = np.arange(ROWS) % 125 == 0  # 0.8 %
        flags = np.where(late, (m.samples.flags & ~(3 << 6)) | (USER << 6), m.samples.flags)
        return replace(m, samples=replace(m.samples, t4=m.samples.t4 + np.where(late, 2_000_000, 0), flags=flags))

    assert told(stray)["verdict"] != "FAIL"
    assert told(stray, evidence=())["verdict"] != "FAIL"


def test_replies_after_t_max_are_no_losses_of_the_way_back(told: Judge) -> None:
    gone = {"lost_backward": np.arange(5, ROWS - 5, 50)}
    late = counted(late_replies=960)
    assert service_row(told(**gone), 1)["verdict"] == "FAIL"
    assert service_row(told(late, **gone), 1)["verdict"] == "INDETERMINATE"
    assert told(late, **gone, evidence=())["verdict"] != "FAIL"


def test_what_a_reflector_did_not_answer_while_it_was_away_fails_no_pair(told: Judge) -> None:
    gone = {"lost_forward": np.arange(5, ROWS - 5, 50), "evidence": ()}
    assert told(**gone)["verdict"] == "FAIL"
    assert told(counted(reflector_restarts=1), **gone)["verdict"] != "FAIL"


def test_a_window_that_fails_is_shown_with_its_own_figures(told: Judge, rehearsal: Policy) -> None:
    optical = rehearsal.requirements[0].model_copy(update={"window_s": 2})
    policy = rehearsal.model_copy(update={"requirements": (optical, *rehearsal.requirements[1:])})
    row = np.arange(ROWS)
    slow = np.where(row // 8_000 == 1, 1_200_000, 0)
    thin = np.flatnonzero((row // 8_000 == 3) & (row % 8_000 > 1_500))  # most lost: no upper bound
    result = told(policy=policy, extra_forward=slow, lost_forward=thin)
    said = result["requirements"][0]["directions"][0]["statements"][0]
    assert (said["verdict"], said["window_start_s"]) == ("FAIL", 2)
    assert said["lower_ns"] <= said["estimate_ns"] <= said["upper_ns"]


# --- losses that are not the link's -------------------------------------------------------------------------------


def counted(**counters: int) -> Callable[[Any], Any]:
    return lambda m: replace(m, health=replace(m.health, counters=counters))


def service_row(result: Result, way: int) -> Result:
    found: Result = result["requirements"][1]["directions"][way]
    return found


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("receive_overflows", "lost_backward"),
        ("reflector_receive_overflows", "lost_forward"),
        ("refused", "lost_forward"),
        ("reflector_table_full", "lost_forward"),
        ("reflector_send_errors", "lost_backward"),
    ],
)
def test_our_own_losses_are_not_the_links(told: Judge, name: str, lost: str) -> None:
    gone = {lost: np.arange(5, ROWS - 5, 50)}  # 2 %, 960
    way = 0 if lost == "lost_forward" else 1
    assert service_row(told(**gone), way)["verdict"] == "FAIL"
    assert len(told(**gone, evidence=())["requirements"][1]["directions"]) == 3  # the pair
    result = told(counted(**{name: 960}), **gone)
    assert "own-loss" in red(result)
    assert result["verdict"] == "INVALID"
    assert all("own-loss" in s["gates_red"] for s in statements(result, "clock") if s["verdict"] == "INVALID")
    found = next(g for g in result["gates"] if g["id"] == "own-loss" and g["state"] == "red")
    assert f"960 {name}" in found["found"]
    assert told(counted(**{name: 960}), **gone, evidence=())["verdict"] == "INVALID"
    # what remains without them still fails
    assert told(counted(**{name: 100}), **gone)["verdict"] == "FAIL"
    assert told(counted(**{name: 960}), forward=1_500_000)["verdict"] == "FAIL"


def test_a_near_clock_that_is_slewed_fast_times_no_round_trip(told: Judge) -> None:
    fast = counted(near_rate_ppb=83_333_000)  # chrony far off, by the tick
    for truth in (300_000, 1_500_000):
        result = told(fast, forward=truth, evidence=())
        assert "near-rate" in red(result)
        assert result["verdict"] == "INVALID"
    assert red(told(counted(near_rate_ppb=500_000))) == set()
    card = NIC | NIC << 2 | NIC << 4 | NIC << 6
    assert "near-rate" not in red(told(fast, planes=card, calibrated=False))


def test_a_few_own_losses_are_reported_only(told: Judge) -> None:
    result = told(counted(receive_overflows=12, ring_full=10**6))  # a quarter of 0.1 % of 48 000
    assert red(result) == set()
    assert red(told(counted(receive_overflows=13))) == {"own-loss"}
    assert red(told(counted(receive_overflows=13), flows=4)) == {"own-loss"}
    assert red(told(counted(receive_overflows=4), flows=4)) == {"own-loss"}


def test_a_far_end_that_falls_silent_is_not_the_link(told: Judge) -> None:
    for flows, from_row in ((1, ROWS * 3 // 4), (4, ROWS * 3 // 4), (1, 0)):
        result = told(lost_forward=np.arange(from_row, ROWS), flows=flows)
        # without any stamp there is no plane to believe either
        assert red(result) == ({"far-silent"} if from_row else {"far-silent", "uncertainty"})
        assert result["verdict"] == "INVALID"
        for basis in ("clock", "clock-free"):
            assert verdicts(result, basis) == {"INVALID"}
        found = next(g for g in result["gates"] if g["id"] == "far-silent")
        assert ("fell silent at 8.99975 s; loss before that is judged" in found["found"]) == (from_row > 0)
        assert "check the reflector" in found["remedy_en"]
    # one flow that falls silent alone is the link's own
    alone = told(lost_forward=np.arange(ROWS * 3 // 4, ROWS, 4), flows=4)
    assert "far-silent" not in red(alone)
    assert alone["verdict"] == "FAIL"
    short = told(lost_forward=np.arange(ROWS - ROWS // 6, ROWS))
    assert "far-silent" not in red(short)
    assert short["verdict"] == "FAIL"
    long = told(seconds=60, rate_pps=1_000, lost_forward=np.arange(50_000, 60_000))
    assert "far-silent" in red(long)
    # replies that came too late are replies
    assert "far-silent" not in red(told(counted(late_replies=ROWS), lost_forward=np.arange(ROWS)))


def test_a_silent_end_hides_no_fail_that_stands_before_it(told: Judge) -> None:
    silent = np.arange(ROWS // 4, ROWS)
    for story in (
        {"forward": 1_500_000},
        {"forward": 1_300_000, "backward": 1_300_000, "evidence": ()},
        {"backward": 1_500_000, "flows": 2},
    ):
        result = told(lost_forward=silent, **story)
        assert "far-silent" in red(result)
        assert result["verdict"] == "FAIL"
    before = np.concatenate((np.arange(5, ROWS // 4, 50), silent))  # 2 % before
    assert service_row(told(lost_forward=before), 0)["verdict"] == "FAIL"
    assert told(lost_forward=before, evidence=())["verdict"] == "FAIL"
    slow = np.where(np.arange(ROWS) % 50 == 0, 2_000_000, 0)
    assert service_row(told(lost_forward=silent, extra_forward=slow), 0)["verdict"] == "FAIL"


def test_time_over_the_link_left_undeclared_is_said(told: Judge) -> None:
    result = told(lambda m: replace(m, link=replace(m.link, sync_over_link=None)))
    found = next(g for g in result["gates"] if g["id"] == "sync-topology")
    assert (found["state"], found["found"]) == ("not-applicable", "not declared whether time crosses the link")


def test_a_rehearsal_policy_passes_nothing_real(told: Judge) -> None:
    result = told(simulated=())
    assert red(result) == {"rehearsal-policy"}
    assert result["verdict"] == "INVALID"
    assert told(simulated=(), forward=1_500_000)["verdict"] == "FAIL"


def test_a_calibration_of_other_planes_size_or_rate_is_not_applied(told: Judge) -> None:
    def other(**changes: object) -> Callable[[Any], Any]:
        return lambda m: replace(m, calibration=replace(m.calibration, **changes))

    assert told()["calibrations"][0]["applied"]
    for changes in ({"planes": "nic/nic/nic/nic"}, {"size": 1_500}, {"rate_pps": 1_900}, {"rate_pps": 8_100}):
        result = told(other(**changes))
        assert not result["calibrations"][0]["applied"]
        assert red(result) == set()
        assert any("kernel, uncalibrated" in c["name_en"] for b in result["budgets"] for c in b["components"])
    assert told(other(rate_pps=8_000))["calibrations"][0]["applied"]
    assert told(other(planes="kernel/kernel/kernel+user/none+kernel"))["calibrations"][0]["applied"]
    assert not told(other(planes="kernel/kernel/user+kernel/kernel"))["calibrations"][0]["applied"]
    assert told(calibrated=False)["calibrations"] == []


def test_stray_user_stamps_are_one_sided_and_many_take_the_plane(told: Judge) -> None:
    def stray(every: int) -> Callable[[Any], Any]:
        def alter(m: Any) -> Any:
            s = m.samples
            flags = s.flags.copy()
            flags[::every] = (flags[::every] & ~(3 << 4)) | (USER << 4)  # T3
            return replace(m, samples=replace(s, flags=flags))

        return alter

    few = told(stray(1_600))
    assert few["streams"][0]["planes_judged"] == ["kernel"] * 4
    assert few["streams"][0]["planes"]["t3"] == {"user": 30, "kernel": 47_970}
    assert red(few) == set()
    many = told(stray(20))
    assert many["streams"][0]["planes_judged"] == ["kernel", "kernel", "user", "kernel"]
    backward = [b for b in many["budgets"] if b["basis"] == "clock" and b["direction"] == "backward"]
    assert any("T3 timestamp plane (user" in c["name_en"] for c in backward[0]["components"])
    assert "uncertainty" in red(many)


def test_stray_user_stamps_prove_no_excess(told: Judge) -> None:
    def alter(m: Any) -> Any:
        s = m.samples
        flags, t3 = s.flags.copy(), s.t3.copy()
        flags[::150] = (flags[::150] & ~(3 << 4)) | (USER << 4)
        t3[::150] -= 5_000_000  # 0.67 % look far too long
        return replace(m, samples=replace(s, flags=flags, t3=t3))

    result = told(alter, calibrated=False)
    backward = result["requirements"][1]["directions"][1]["statements"][0]
    assert backward["verdict"] == "INDETERMINATE"
    assert backward["estimate_ns"] > 5_000_000
    assert backward["lower_ns"] is None or backward["lower_ns"] < 310_000


def test_durations_as_text() -> None:
    assert [text(n) for n in (0, 999, 1_000, -1_500, 2_000_000, 1_050_000_000, -37 * 10**9)] == [
        "0 ns",
        "999 ns",
        "1 µs",
        "-1.5 µs",
        "2 ms",
        "1.05 s",
        "-37 s",
    ]


def test_every_gate_of_the_house_is_reported(told: Judge) -> None:
    names = {g["id"] for g in told()["gates"]}
    assert names == {
        "clock-near", "clock-far", "evidence-coverage", "shared-clock", "sync-topology", "reference-change",
            "clock-agreement", "leap", "kernel-steps",
        "time-scale", "floor", "round-trip-floor", "negative-delay", "step", "skew", "schedule", "reflector-restart",
        "own-loss", "far-silent", "calibration", "rehearsal-policy", "uncertainty", "unstamped", "host-stalls",
    }  # fmt: skip
    assert gates.CLOCK == ("clock",)
    assert KERNEL == 2
