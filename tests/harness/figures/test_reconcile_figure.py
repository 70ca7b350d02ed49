"""Packets, reflectometer and ODUk frames held against each other, with delays whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.clock import WALL
from harness.archive.optical import readings
from harness.certificate import judge
from harness.errors import ArchiveError, BenchError
from harness.figure import Derived
from harness.figures import path, reconcile
from harness.journal import Entry
from harness.measurement import Measurement
from harness.methods import path as path_method
from harness.methods import reconcile as method
from harness.odu import parse, period_ps
from harness.policy import Policy
from harness.reading import Batch, Delay, Record
from harness.rig import Rig

SETTINGS = reconcile.Settings(equipment_ps=20_000_000, odu_equipment_ps=30_000_000)
PACKETS = "packets, kernel to kernel, calibrated back to back"


def packets(direction: str, value: float, u: int = 100_000) -> Delay:
    return Delay("a-b", direction, PACKETS, round(value), u, "at-least")


def fibre(value: float, u: int = 60_000) -> Delay:
    return Delay("a-b", "mean", path.PLANE, round(value), u)


def frames(value: float, oduk: str = "ODU4") -> Delay:
    half = -(-period_ps(oduk) // 2)
    return Delay("a-b", "mean", oduk, round(value), round(half / 1.732), "at-least")


def derived(*delays: Delay, settings: reconcile.Settings = SETTINGS) -> Derived:
    return reconcile.derive(Record((), {}, delays=delays), settings)


def values(found: Derived) -> dict[tuple[str, str, str], int | None]:
    keys = [(dict(f.key), f.value) for f in found.figures["en"]]
    return {(str(k["direction"]), str(k["a"]), str(k["b"])): value for k, value in keys}


def test_consistent_delays_agree() -> None:
    """Every pair, over random fibres, equipment within what was declared, errors within what is stated."""
    rng = np.random.default_rng(95)
    agree: list[bool] = []
    odd = 0
    for _ in range(1_000):
        flight = float(rng.uniform(1e6, 1e9))
        gear, otn = float(rng.uniform(0, 20e6)), float(rng.uniform(0, 30e6))
        both = [flight + gear + rng.normal(0, 1e5) for _ in range(2)]
        period = float(period_ps("ODU4"))
        counted = (2 * (flight + otn) + rng.uniform(0, period)) // period
        found = derived(
            packets("forward", both[0]),
            packets("backward", both[1]),
            fibre(flight + rng.normal(0, 6e4)),
            frames(counted * period / 2),
        )
        agree += [f.value is not None and f.value <= reconcile.AGREE for f in found.figures["en"]]
        odd += bool(found.findings)
    assert len(agree) == 5_000
    assert np.mean(agree) >= 0.94
    assert odd <= 120


def test_beyond_what_equipment_explains_it_shows() -> None:
    flight = 300e6
    slower = derived(packets("forward", flight + 21e6), fibre(flight))
    assert values(slower)["forward", PACKETS, path.PLANE] > reconcile.AGREE  # type: ignore[operator]
    within = derived(packets("forward", flight + 19.9e6), fibre(flight))
    assert values(within)["forward", PACKETS, path.PLANE] == 0
    faster = derived(packets("forward", flight - 1e6), fibre(flight))
    assert values(faster)["forward", PACKETS, path.PLANE] > reconcile.AGREE  # type: ignore[operator]


@pytest.mark.parametrize("wrong", ["packets", "otdr", "odu"])
def test_the_odd_one_out_is_named_where_the_others_agree(wrong: str) -> None:
    rng = np.random.default_rng(96)
    for _ in range(100):
        flight = float(rng.uniform(100e6, 800e6))
        off = dict.fromkeys(("packets", "otdr", "odu"), 0.0)
        off[wrong] = -float(rng.uniform(40e6, 90e6)) if wrong != "otdr" else float(rng.uniform(60e6, 90e6))
        found = derived(
            packets("forward", flight + 5e6 + off["packets"]),
            packets("backward", flight + 5e6 + off["packets"]),
            fibre(flight + off["otdr"]),
            frames(flight + 5e6 + off["odu"]),
        )
        named = [f for f in found.findings if f.where == "a-b mean"]
        plane = {"packets": PACKETS, "otdr": path.PLANE, "odu": "ODU4"}[wrong]
        assert [f.id for f in named] == ["odd-one-out"]
        assert plane in named[0].en


def test_two_that_contradict_each_other_leave_open_which() -> None:
    found = derived(packets("forward", 200e6), fibre(300e6))
    assert [(f.id, f.where) for f in found.findings] == [("irreconcilable", "a-b forward")]
    assert PACKETS in found.findings[0].en
    assert path.PLANE in found.findings[0].en


def test_each_pair_names_both_planes_and_each_delay_is_listed() -> None:
    found = derived(packets("forward", 3e8), packets("backward", 3e8), fibre(3e8), frames(3e8))
    assert set(values(found)) == {
        ("forward", PACKETS, path.PLANE),
        ("backward", PACKETS, path.PLANE),
        ("mean", PACKETS, path.PLANE),
        ("mean", PACKETS, "ODU4"),
        ("mean", path.PLANE, "ODU4"),
    }
    listed = cast(list[list[Any]], found.tables["delays"]["rows"])
    assert len(listed) == 4


def test_a_clock_offset_cancels_in_the_mean_of_both_directions() -> None:
    flight = 300e6
    found = values(derived(packets("forward", flight - 50e6), packets("backward", flight + 60e6), fibre(flight)))
    assert found["forward", PACKETS, path.PLANE] > reconcile.AGREE  # type: ignore[operator]
    assert found["mean", PACKETS, path.PLANE] == 0


@given(st.integers(0, 10**12), st.integers(0, 10**9), st.integers(0, 10**9))
def test_en_is_the_quotient_rounded_up(difference: int, ua: int, ub: int) -> None:
    value = reconcile.en_milli(difference, ua, ub)
    if ua == ub == 0:
        assert value is None
        return
    assert value is not None
    square = Fraction((1000 * difference) ** 2, 4 * (ua * ua + ub * ub))
    assert value**2 >= square
    assert value == 0 or (value - 1) ** 2 < square


side = st.sampled_from(["", "at-least"])


@given(st.integers(0, 10**10), st.integers(0, 10**10), side, side)
def test_apart_does_not_depend_on_the_order(a: int, b: int, side_a: Any, side_b: Any) -> None:
    one = Delay("l", "mean", "packets", a, 1, side_a)
    two = Delay("l", "mean", "ODU4", b, 1, side_b)
    assert reconcile.apart(one, two, SETTINGS) == reconcile.apart(two, one, SETTINGS) >= 0
    assert reconcile.apart(one, two, SETTINGS) <= abs(a - b)


@given(
    st.lists(
        st.builds(
            Delay,
            st.sampled_from(["a-b", "b-c"]),
            st.sampled_from(["forward", "backward", "mean"]),
            st.sampled_from([PACKETS, path.PLANE, "ODU4", "ODU0"]),
            st.integers(-(10**9), 10**9),
            st.integers(0, 10**6),
            side,
        ),
        max_size=7,
    )
)
def test_any_delays_give_figures_or_reasons(delays: list[Delay]) -> None:
    for figure in derived(*delays).figures["en"]:
        assert (figure.value is None) == bool(figure.why)


# -- from a result of packets ----------------------------------------------------------------------------------------


@pytest.fixture
def result(synthetic: ModuleType, rehearsal: Policy) -> Callable[..., dict[str, Any]]:
    def make(**story: Any) -> dict[str, Any]:
        told: Measurement = synthetic.tell(
            synthetic.Story(**{"seconds": 12, "step_at_s": 6, "flows": 2, **story}), "m1"
        )
        return judge([told], rehearsal, {})

    return make


def test_packets_give_their_least_delay_with_its_u_and_plane(result: Callable[..., dict[str, Any]]) -> None:
    found = reconcile.delays_of(result(forward=300_000, backward=320_000, offset=500))
    assert [(d.link, d.direction, d.side) for d in found] == [
        ("a-b", "forward", "at-least"),
        ("a-b", "backward", "at-least"),
    ]
    for delay, truth in zip(found, (300_000_000, 320_000_000), strict=True):
        # the far clock is 500 ns ahead, within its claimed bound
        assert abs(delay.value_ps - truth) < 2 * delay.u_ps
        assert delay.plane == "packets, kernel to kernel, calibrated back to back"
        assert delay.u_ps > 0


def test_a_plane_without_calibration_says_so(result: Callable[..., dict[str, Any]]) -> None:
    assert all("not calibrated" in d.plane for d in reconcile.delays_of(result(calibrated=False)))


def test_without_a_bound_of_both_clocks_packets_say_nothing(result: Callable[..., dict[str, Any]]) -> None:
    assert reconcile.delays_of(result(bound=None)) == ()
    assert reconcile.delays_of({}) == ()


# -- from rows -------------------------------------------------------------------------------------------------------


class FakeJournal:
    """Lines in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, kind: str, /, **data: Any) -> None:
        self.entries.append(Entry(len(self.entries), kind, 0, 0, data, ""))


def rig(file: Path | None) -> tuple[Rig, FakeJournal, dict[str, bytes]]:
    journal, kept = FakeJournal(), dict[str, bytes]()
    made = Rig(
        dut="otdr",
        kind="link",
        clock=WALL,
        journal=cast(Any, journal),
        keep=lambda name, octets: kept.update({name: octets}),
        devices={},
        receive={},
        launches=(),
        together=True,
        link="a-b",
        odu_delays=file,
    )
    return made, journal, kept


def test_the_file_of_odu_delays_is_kept_and_read(tmp_path: Path) -> None:
    file = tmp_path / "odu.csv"
    text = "link,oduk,frames,time\n" + "".join(f"a-b,ODU4,{n},2027-03-01T08:00:00\n" for n in (671, 672, 671))
    file.write_text(text)
    made, journal, kept = rig(file)
    method.run(made, SETTINGS)
    batches, _ = readings(journal.entries)
    (delay,) = reconcile.odu(Record(tuple(batches), {}, kept))
    assert delay.value_ps == round(671 * period_ps("ODU4") / 2)
    assert (delay.plane, delay.direction, delay.side) == ("ODU4", "mean", "at-least")
    assert list(kept.values()) == [text.encode()]
    assert batches[0].trace in kept
    assert [r.value_ps for r in parse(text)] == [row[-1] for row in batches[0].rows]


def test_a_bench_without_such_a_file_says_so_in_the_journal() -> None:
    made, journal, _ = rig(None)
    method.run(made, SETTINGS)
    assert [e.data["action"] for e in journal.entries if "action" in e.data] == ["odu-delays"]


def test_a_file_that_is_none_or_not_there_stops_it(tmp_path: Path) -> None:
    for name, octets in (("gone.csv", None), ("bad.csv", b"\xff\xfe"), ("empty.csv", b"")):
        file = tmp_path / name
        if octets is not None:
            file.write_bytes(octets)
        with pytest.raises(BenchError, match="ODUk"):
            method.run(rig(file)[0], SETTINGS)


def optical(flight_ps: int) -> tuple[Batch, ...]:
    """What the procedure "path" would have journaled of one trace."""
    told = path.Settings(both=False)
    setup = Batch("path", "setup", "text", ("link", "value"), (("a-b", told.model_dump_json()),), 0)
    head = ("forward", "link", 1_550_000, 1_550_000, 100, 1_468_200, 500, None, "SIM-9", "00", None, 1)
    trace = Batch("path", "trace", "count", path_method.TRACE, (head,), 0, trace="t.sor")
    event = ("forward", "link", 1_550_000, 1, "1E9999LS", 0, -14_000_000, 200_000, flight_ps)
    return (setup, trace, Batch("path", "event", "ps", path_method.EVENT, (event,), 0, trace="t.sor"))


def test_the_reflectometers_delay_comes_from_its_rows() -> None:
    record = Record(optical(300_000_000), {}, delays=(packets("forward", 305e6), packets("backward", 305e6)))
    found = reconcile.derive(record, SETTINGS)
    assert values(found) == dict.fromkeys(
        [("forward", PACKETS, path.PLANE), ("backward", PACKETS, path.PLANE), ("mean", PACKETS, path.PLANE)], 0
    )
    wrong = reconcile.derive(replace(record, batches=optical(390_000_000)), SETTINGS)
    assert all(value > reconcile.AGREE for value in values(wrong).values() if value is not None)


def test_altered_rows_are_an_archive_error() -> None:
    setup, trace, event = optical(300_000_000)
    broken = replace(event, rows=((*event.rows[0][:-1], "soon"),))
    with pytest.raises(ArchiveError, match="whole number"):
        reconcile.derive(Record((setup, trace, broken), {}), SETTINGS)
    no_settings = replace(setup, rows=(("a-b", "{}x"),))
    with pytest.raises(ArchiveError, match="settings"):
        reconcile.derive(Record((no_settings, trace, event), {}), SETTINGS)
