from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from harness.bench import parse
from harness.certificate import judge
from harness.errors import BenchError
from harness.link import Route
from harness.plan import Step, steps_in
from harness.policy import Policy
from harness.stream import Stream
from harness.units import flight_time, seconds
from harness.visit import EQUIPMENT, Advice, Assumed, advise, lines

PLANS = Path(__file__).parents[2] / "testplans"
BENCH = """
[bench]
name = "v"
policy = "metro-2027"
[sites.a]
clock = { sources = ["chrony"] }
[sites.b]
clock = { sources = ["in-band"] }
[links.ab]
near = "a"
far = "b"
far_address = "192.168.7.7"
flows = 1
route = { length_m = LENGTH, group_index = "1.4682", u_ns = 500, origin = "record" }
"""
OPTICAL = Step("T1-optical-owd", Stream("optical", 4_000, seconds(12), 128))


def advice(policy: Policy, metres: int) -> Advice:
    bench = parse(BENCH.replace("LENGTH", str(metres)))
    return advise(bench, policy, bench.links[0], [OPTICAL])[0]


@pytest.mark.parametrize("km", [5, 42, 80, 89, 90, 100, 150, 190])
def test_what_the_round_trip_is_foretold_to_decide_it_decides(
    synthetic: ModuleType, rehearsal: Policy, km: int
) -> None:
    """The judge, given packets that take as long as the visit assumes, agrees with the forecast on both sides."""
    told = advice(rehearsal, km * 1000)
    one_way = flight_time(km * 1000, 1_468_200) // 1000 + Assumed().equipment_ns
    story = synthetic.Story(
        seconds=12, rate_pps=4_000, flows=1, forward=one_way, backward=one_way, jitter=0,
        turnaround=Assumed().turnaround_ns, route=Route(km * 1000, 1_468_200, 500_000, "record"), evidence=(),
    )  # fmt: skip
    rows = judge([synthetic.tell(story)], rehearsal, {})["requirements"][0]["directions"]
    free = {s["verdict"] for row in rows for s in row["statements"] if s["basis"] == "clock-free"}
    assert told.round_trip_decides == (free == {"PASS"})
    assert told.round_trip_decides == (km * 1000 <= told.reach_m)


def test_the_reach_is_where_the_forecast_turns(metro: Policy) -> None:
    reach = advice(metro, 1_000).reach_m
    assert advice(metro, reach).round_trip_decides
    assert not advice(metro, reach + 2).round_trip_decides


def test_a_fibre_that_is_too_long_needs_no_clock(metro: Policy) -> None:
    assert advice(metro, 230_000).hopeless
    assert not advice(metro, 204_000).hopeless
    bench = parse(BENCH.replace("LENGTH", "230000"))
    assert any("FAIL is certain" in line for line in lines(bench, metro, [OPTICAL]))


def test_nearer_the_limit_fewer_clocks_suffice(metro: Policy) -> None:
    counts = [len(advice(metro, km * 1000).suffices) for km in (150, 180, 190, 195, 198, 200, 202)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1]
    for km in (150, 198):
        told = advice(metro, km * 1000)
        assert len(told.suffices) + len(told.falls_short) == len(EQUIPMENT)
        assert all(calibrated <= told.room_ns for _, _, calibrated in told.suffices)
        assert all(calibrated > told.room_ns for _, calibrated in told.falls_short)


def test_a_stream_that_is_too_short_is_told(metro: Policy) -> None:
    bench = parse(BENCH.replace("LENGTH", "42000"))
    assert any("but 12 s are planned" in line for line in lines(bench, metro, [OPTICAL]))
    long = replace(OPTICAL, stream=replace(OPTICAL.stream, duration_ns=seconds(600)))
    assert any("as planned" in line for line in lines(bench, metro, [long]))


def test_without_record_and_positions_nothing_is_foretold(metro: Policy) -> None:
    bench = parse("\n".join(line for line in BENCH.splitlines() if not line.startswith("route")))
    told = advise(bench, metro, bench.links[0], [OPTICAL])[0]
    assert told.expected_ns is told.round_trip_ns is None
    assert not told.round_trip_decides
    assert any("nothing can be foretold" in line for line in lines(bench, metro, [OPTICAL]))


def test_the_shipped_plans_declare_their_steps(tmp_path: Path) -> None:
    assert {"T1-optical-owd", "service-owd-p999"} <= {each.requirement for each in steps_in(PLANS)}
    with pytest.raises(BenchError, match="@step"):
        steps_in(tmp_path)
