"""The calibration artefact: read back whole or refused, its arithmetic against known ports, its coverage."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from math import sqrt
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.artefact import (
    UNKNOWN,
    Artefact,
    ClockThen,
    Load,
    Orientation,
    Patch,
    Plug,
    Port,
    artefact_file,
    found,
    read_artefact,
)
from harness.bench import BenchFileError, parse
from harness.budget import Budget
from harness.calibration import plug
from harness.certificate import judge
from harness.errors import ArchiveError
from harness.gates import calibration_applies
from harness.link import Direction
from harness.measurement import Calibration, Measurement
from harness.policy import Policy
from harness.preflight import Context, Row, run
from harness.samples import COLUMNS, Samples
from harness.stream import Stream
from harness.uncertainty import ClockClaim, clock_budget

DAY = 86_400_000_000_000
START = 1_800_000_000_000_000_000 - 37 * 10**9
"""When the synthetic run starts, ns since 1970 UTC."""
PLANES = ["kernel"] * 4
NEAR = Port("eth0", "ice", "02:00:00:00:00:01", "ACME SFP 123", "10000", "RS", "1.2")
FAR = Port("eth7", "ice", "02:00:00:00:00:07", "ACME SFP 456", "10000", "RS", "1.2")
PATCH = Patch(2_000, 1_468_200, 30, "steel rule, 2026-11-20")


def plugs(straight: list[tuple[int, int]], swapped: list[tuple[int, int]] | None = None) -> tuple[Plug, ...]:
    sides: list[tuple[Orientation, tuple[int, int]]] = [("straight", pair) for pair in straight]
    sides += [("swapped", pair) for pair in swapped or []]
    return tuple(
        Plug(
            side,
            START - DAY + i,
            {Direction.FORWARD: forward, Direction.BACKWARD: backward},
            dict.fromkeys(Direction, 60),
            1000,
            f"{i:064x}",
        )
        for i, (side, (forward, backward)) in enumerate(sides)
    )


def artefact(**changes: Any) -> Artefact:
    """A real one, valid a month from a day before the run, for the synthetic stream of 1000 pps and 128 octets."""
    of = plugs([(4_000 + i, 5_000 - i) for i in range(5)], [(4_010 + i, 4_990 - i) for i in range(5)])
    load = Load("floor", 1_000, 128, "/".join(PLANES), of, found(of, PATCH))
    clocks = (ClockThen("a", "chrony", 100), ClockThen("b", "in-band", 200))
    return replace(
        Artefact(
            link="a-b",
            near=NEAR,
            far=FAR,
            from_ns=START - DAY,
            until_ns=START + 29 * DAY,
            patch=PATCH,
            loads=(load,),
            clocks=clocks,
            shared_clock="",
            replugged=True,
            operator="",
            software={"name": "millicert"},
        ),
        **changes,
    )


def calibration(of: Artefact) -> Calibration:
    return Calibration.of(of, of.loads[0])


@pytest.fixture
def measured(synthetic: ModuleType) -> Measurement:
    told: Measurement = synthetic.tell(synthetic.Story(seconds=2, simulated=()))
    return replace(told, calibration=calibration(artefact()), near_port=NEAR)


# -- the file ------------------------------------------------------------------------------------------------------


def test_what_was_written_is_read_back() -> None:
    for one in (artefact(), artefact(clocks=(), shared_clock="one host"), artefact(simulated=("veth",))):
        assert read_artefact(artefact_file(one), "pair.json") == one


@given(st.data())
def test_no_octet_can_be_altered(data: st.DataObject) -> None:
    written = artefact_file(artefact())
    at = data.draw(st.integers(0, len(written) - 1))
    octet = data.draw(st.integers(0, 255).filter(lambda value: value != written[at]))
    with pytest.raises(ArchiveError):
        read_artefact(written[:at] + bytes([octet]) + written[at + 1 :], "pair.json")


@given(st.data())
def test_no_octet_can_go_or_come(data: st.DataObject) -> None:
    written = artefact_file(artefact())
    at = data.draw(st.integers(0, len(written) - 1))
    for other in (written[:at] + written[at + 1 :], written[:at] + b" " + written[at:], written[:at]):
        with pytest.raises(ArchiveError):
            read_artefact(other, "pair.json")


def test_numbers_that_do_not_follow_from_the_plugs_are_refused_under_any_id() -> None:
    load = artefact().loads[0]
    better = replace(load.found, residual_ps=dict.fromkeys(Direction, 1))
    with pytest.raises(ArchiveError, match="not what its plugs give"):
        read_artefact(artefact_file(artefact(loads=(replace(load, found=better),))), "pair.json")


@pytest.mark.parametrize(
    "changes",
    [
        {"until_ns": START - 2 * DAY},
        {"loads": ()},
        {"clocks": ()},
        {"shared_clock": "one host"},
        {"clocks": (ClockThen("a", "chrony", -1),)},
    ],
)
def test_an_artefact_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ArchiveError, match="consistent"):
        read_artefact(artefact_file(artefact(**changes)), "pair.json")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b'{"schema":"millicert-calibration/1"}', b"\xff"])
def test_anything_else_is_refused(content: bytes) -> None:
    with pytest.raises(ArchiveError):
        read_artefact(content, "pair.json")


# -- the arithmetic ------------------------------------------------------------------------------------------------


def test_the_swap_takes_out_the_patch_and_shows_the_ports() -> None:
    """Strands of 9 800 and 10 200 ps, ports that add 3 000 and 7 000 ns: the midpoint knows only the ports."""
    patch = Patch(2_000, 1_499_000, 0, "known")
    assert patch.flight_ps == 10_000
    a, b = 98, 102  # a patch a hundred times as uneven as any
    straight = [(3_000 + a, 7_000 + b)] * 5
    swapped = [(3_000 + b, 7_000 + a)] * 5
    got = found(plugs(straight, swapped), patch)
    assert got.bias_ns == {Direction.FORWARD: 3_000 + 100 - 10, Direction.BACKWARD: 7_000 + 100 - 10}
    assert got.swap_ps == dict.fromkeys(Direction, 2_000)
    assert got.plug_ps == dict.fromkeys(Direction, 0)
    assert (got.nu, got.residual_ps) == (8, dict.fromkeys(Direction, 289))  # 0.5 ns / √3


def test_without_a_swap_there_is_none() -> None:
    got = found(plugs([(100, 200), (104, 200), (96, 200), (102, 200), (98, 200)]), Patch(0, 1_000_000, 0, ""))
    assert got.nu == 4
    assert got.bias_ns == {Direction.FORWARD: 100, Direction.BACKWARD: 200}
    assert got.swap_ps == dict.fromkeys(Direction, 0)
    s = sqrt(10.0)
    assert got.plug_ps[Direction.FORWARD] == pytest.approx(s * 1000, abs=1)
    assert got.residual_ps[Direction.FORWARD] == pytest.approx(sqrt(s * s / 5 + 1 / 12) * 1000, abs=1)


@given(
    st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6)), min_size=5, max_size=12),
    st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6)), min_size=2, max_size=12),
)
def test_pooled_spread_against_numpy(straight: list[tuple[int, int]], swapped: list[tuple[int, int]]) -> None:
    got = found(plugs(straight, swapped), Patch(0, 1_000_000, 0, ""))
    for i, direction in enumerate(Direction):
        one, two = np.array([p[i] for p in straight], float), np.array([p[i] for p in swapped], float)
        s2 = (((one - one.mean()) ** 2).sum() + ((two - two.mean()) ** 2).sum()) / (len(one) + len(two) - 2)
        assert got.plug_ps[direction] == pytest.approx(sqrt(s2) * 1000, rel=1e-9, abs=1)
        u2 = s2 * (1 / len(one) + 1 / len(two)) / 4 + 1 / 12
        assert got.residual_ps[direction] == pytest.approx(sqrt(u2) * 1000, rel=1e-9, abs=1)
        assert abs(got.bias_ns[direction] - (one.mean() + two.mean()) / 2) <= 0.5 + 1e-6
        assert got.swap_ps[direction] == pytest.approx(abs(one.mean() - two.mean()) * 500, abs=1)


@pytest.mark.parametrize(("straight", "swapped"), [(4, 0), (4, 1), (0, 0), (9, 1)])
def test_too_few_plugs_are_refused(straight: int, swapped: int) -> None:
    with pytest.raises(ArchiveError, match="plugs or more"):
        found(plugs([(1, 1)] * straight, [(1, 1)] * swapped), PATCH)


def test_the_flight_of_a_patch_is_to_the_nearest_picosecond() -> None:
    for mm, index in ((1, 1_468_200), (2_000, 1_468_200), (150_000, 1_467_700)):
        exact = Fraction(mm * index * 1000, 299_792_458)
        assert abs(Patch(mm, index, 0, "").flight_ps - exact) <= Fraction(1, 2)


# -- does the stated uncertainty cover the truth? ------------------------------------------------------------------


def _samples(forward: Any, backward: Any) -> Samples:
    n = len(forward)
    zero, t1 = np.zeros(n, np.int64), np.arange(n, dtype=np.int64) * 10_000
    columns = dict.fromkeys(COLUMNS, zero)
    t2 = t1 + forward
    return Samples(**{**columns, "t1": t1, "t2": t2, "t3": t2 + 5_000, "t4": t2 + 5_000 + backward})


@pytest.mark.parametrize(
    ("sigma", "clock", "uneven", "swap", "m"),
    [(400.0, 10, 0.0, True, 10), (50.0, 1_000, 0.0, False, 6), (100.0, 10, 200.0, True, 10), (400.0, 0, 0.0, False, 5)],
    ids=["plugging", "clocks", "uneven ports", "five plugs"],
)
def test_the_stated_uncertainty_covers_the_truth(
    sigma: float, clock: int, uneven: float, swap: bool, m: int, metro: Policy
) -> None:
    """1000 pairs of known ports: the bias of one more plugging in the field lies within U of the calibrated one.

    Plugging moves a delay by ``sigma`` ns, each clock is anywhere within ± ``clock`` ns, one orientation of the ports
    is ``uneven`` ns slower, the patch's flight is known to 20 ns. The field has one orientation or the other.
    """
    draw = np.random.default_rng(20261122)
    patch = Patch(10_000, 1_468_200, 20_000, "rule")
    hits, trials = 0, 1_000
    for _ in range(trials):
        ports = {d: int(draw.integers(1_000, 60_000)) for d in Direction}
        true_flight = patch.flight_ps / 1000 + draw.normal(0, patch.u_ps / 1000)
        theta = draw.uniform(-clock, clock) - draw.uniform(-clock, clock)
        taken = []
        for i in range(m):
            side: Orientation = "swapped" if swap and i >= m // 2 else "straight"
            tilt = uneven / 2 * (1 if side == "straight" else -1)
            noise = draw.exponential(40, (2, 400)).astype(np.int64)
            one = ports[Direction.FORWARD] + true_flight + tilt + theta + draw.normal(0, sigma)
            two = ports[Direction.BACKWARD] + true_flight - tilt - theta + draw.normal(0, sigma)
            taken.append(plug(side, 0, _samples(round(one) + noise[0], round(two) + noise[1]), ""))
        load = Load("floor", 1_000, 128, "/".join(PLANES), tuple(taken), found(taken, patch))
        clocks = (ClockThen("a", "chrony", clock), ClockThen("b", "chrony", clock))
        made = artefact(patch=patch, loads=(load,), clocks=clocks)
        field = draw.choice([-1, 1]) * uneven / 2 if swap else 0.0
        truth = ports[Direction.FORWARD] + 40 * np.log(2) + field + draw.normal(0, sigma)
        hits += abs(load.found.bias_ns[Direction.FORWARD] - truth) <= budget(made, metro).expanded / 1000
    assert 0.94 <= hits / trials < 0.9999


def budget(of: Artefact, policy: Policy) -> Budget:
    """The components of an artefact alone: clocks shared in the run, so that nothing of the run is in it."""
    nobody = ClockClaim("a", (), None, None, 0, "")
    whole = clock_budget(
        policy, Direction.FORWARD, planes=(2, 2), near=nobody, far=nobody, shared="x", calibration=calibration(of)
    )
    return Budget(tuple(c for c in whole.components if "calibration" in c.origin))


def test_the_budget_names_every_component_with_its_artefact_and_its_end(metro: Policy) -> None:
    made = artefact()
    parts = {c.name_en: c for c in budget(made, metro).components}
    load = made.loads[0].found
    assert parts["calibration residual (s/√m of the plugs)"].u == load.residual_ps[Direction.FORWARD]
    assert parts["calibration residual (s/√m of the plugs)"].nu == 8
    assert parts["one plugging in the field (s)"].u == load.plug_ps[Direction.FORWARD]
    assert parts["patch of the calibration"].u == 30
    assert parts["asymmetry of the ports (half the difference on swap)"].u == 5_000
    assert parts["clock during the calibration, b"].value == 200_000
    assert all(f"calibration {made.id[:16]}, valid until {made.until}" in c.origin for c in parts.values())
    shared = budget(artefact(clocks=(), shared_clock="one host"), metro).components
    assert [c.value for c in shared if "one clock" in c.name_en] == [0]


# -- who refuses it ------------------------------------------------------------------------------------------------


def test_a_calibration_that_fits_is_applied_and_says_until_when(measured: Measurement) -> None:
    applied, gate = calibration_applies(measured, PLANES)
    assert (applied, gate.state) == (True, "green")
    assert artefact().until in gate.found


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"until_ns": START + 10**9}, "expired"),
        ({"from_ns": START + 10**8}, "not valid before"),
        ({"near": replace(NEAR, mac="02:00:00:00:00:02")}, "near port: mac 02:00:00:00:00:01, calibrated 02:"),
        ({"near": replace(NEAR, transceiver="ACME SFP 124")}, "near port: transceiver"),
        ({"near": replace(NEAR, speed="25000")}, "near port: speed"),
        ({"near": replace(NEAR, fec="off")}, "near port: fec"),
        ({"near": replace(NEAR, firmware="1.3")}, "near port: firmware"),
        ({"near": Port("eth0", "ice")}, "it could be any"),
        ({"simulated": ("veth interface",)}, "it was simulated"),
    ],
)
def test_expired_foreign_and_simulated_artefacts_are_refused(
    measured: Measurement, changes: dict[str, Any], why: str, metro: Policy
) -> None:
    one = replace(measured, calibration=calibration(artefact(**changes)))
    applied, gate = calibration_applies(one, PLANES)
    assert (applied, gate.state) == (False, "not-applicable")
    assert "refused, planes enter in full" in gate.found
    assert why in gate.found
    result = judge([one], metro, {})
    assert [c["applied"] for c in result["calibrations"]] == [False]
    named = [c["name_en"] for b in result["budgets"] if b["basis"] == "clock" for c in b["components"]]
    assert "T1 timestamp plane (kernel, uncalibrated)" in named
    assert not any("calibration residual" in name for name in named)


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"size": 256}, "size"), ({"rate_pps": 3_000}, "rate"), ({"planes": "nic/nic/nic/nic"}, "planes")],
)
def test_another_load_or_plane_is_refused(measured: Measurement, changes: dict[str, Any], why: str) -> None:
    load = replace(artefact().loads[0], **changes)
    one = replace(measured, calibration=calibration(artefact(loads=(load,))))
    applied, gate = calibration_applies(one, PLANES)
    assert not applied
    assert f"refused, planes enter in full: {why}" in gate.found


def test_numbers_other_than_the_artefacts_are_refused(measured: Measurement) -> None:
    honest = calibration(artefact())
    for better in ({"bias_ns": dict.fromkeys(Direction, 9_999)}, {"id": "0" * 64}, {"samples": 1}):
        applied, gate = calibration_applies(replace(measured, calibration=replace(honest, **better)), PLANES)
        assert not applied
        assert "altered" in gate.found
    applied, _ = calibration_applies(replace(measured, near_port=None), PLANES)
    assert not applied


def test_a_calibration_of_the_runs_own_is_not_called_refused(measured: Measurement) -> None:
    own = replace(calibration(artefact()), artefact=None, size=256)
    applied, gate = calibration_applies(replace(measured, calibration=own), PLANES)
    assert not applied
    assert "not applied" in gate.found
    assert "refused" not in gate.found


def test_the_bias_is_subtracted(measured: Measurement, metro: Policy) -> None:
    with_, without = judge([measured], metro, {}), judge([replace(measured, calibration=None)], metro, {})
    bias = artefact().loads[0].found.bias_ns

    def least(result: dict[str, Any], way: str) -> int:
        rows = result["requirements"][0]["directions"]
        (got,) = [
            s["estimate_ns"] for r in rows if r["direction"] == way for s in r["statements"] if s["basis"] == "clock"
        ]
        return int(got)

    for direction in Direction:
        assert least(without, str(direction)) - least(with_, str(direction)) == bias[direction]
    assert with_["calibrations"][0]["expires"] == artefact().until


# -- the bench file ------------------------------------------------------------------------------------------------

BENCH = """
[bench]
name = "two"
policy = "metro-2027"
[sites.a]
[sites.b]
[links.a-b]
near = "a"
far = "b"
far_address = "10.0.0.2"
flows = 2
calibration = "cal/pair.json"
"""


def bench_with(folder: Path, octets: bytes | None, text: str = BENCH) -> Any:
    (folder / "cal").mkdir()
    if octets is not None:
        (folder / "cal" / "pair.json").write_bytes(octets)
    return parse(text, path=folder / "bench.toml")


def test_a_bench_reads_the_artefact_it_names(tmp_path: Path) -> None:
    bench = bench_with(tmp_path, artefact_file(artefact()))
    assert bench.calibrations == {"a-b": artefact()}
    assert bench.resolved()["calibrations"] == {"a-b": artefact().id}


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (None, "No such file"),
        (artefact_file(artefact()).replace(b'"size":128', b'"size":129'), "altered content"),
        (artefact_file(artefact(simulated=("simulated bench",))), "made on a simulated bench"),
        (b"{}", "None"),
    ],
    ids=["missing", "altered", "simulated", "something else"],
)
def test_a_bad_artefact_is_a_bad_bench_file_with_its_line(tmp_path: Path, octets: bytes | None, why: str) -> None:
    with pytest.raises(BenchFileError) as caught:
        bench_with(tmp_path, octets)
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (12, "links.a-b.calibration")
    assert why in problem.found


def rows(folder: Path, of: Artefact, port: Port, now: int = START) -> list[Row]:
    class Real:
        driver, mtu = "ice", 9000

    bench = bench_with(folder, artefact_file(of))
    policy = (Path(__file__).parents[2] / "harness" / "policies" / "metro-2027.toml").read_text(encoding="utf-8")
    from harness.policy import parse as parse_policy  # noqa: PLC0415 - one parse hides the other

    context = Context(
        bench,
        parse_policy(policy),
        (Stream("floor", 1_000, 10**9, 128),),
        folder,
        facts=lambda _: Real(),
        port=lambda _: port,
        clocks=lambda _, __: (),
        now=lambda: now,
    )
    return [row for row in run(context).rows if row.check == "calibration"]


def test_preflight_says_which_far_port_it_cannot_see(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, artefact(), NEAR)
    assert row.state == "ok"
    assert FAR.mac in row.found


@pytest.mark.parametrize(
    ("changes", "port", "now", "why"),
    [
        ({}, NEAR, START + 40 * DAY, "expired"),
        ({}, NEAR, START + 29 * DAY - 5 * 10**8, "expired"),
        ({}, replace(NEAR, mac="02:00:00:00:00:09"), START, "near port: mac"),
        ({}, replace(NEAR, mac=UNKNOWN, transceiver=UNKNOWN), START, "it could be any"),
        ({"simulated": ("veth interface",)}, NEAR, START, "simulated"),
    ],
    ids=["expired", "expires within the run", "foreign", "unknown", "simulated"],
)
def test_preflight_refuses_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], port: Port, now: int, why: str
) -> None:
    (row,) = rows(tmp_path, artefact(**changes), port, now)
    assert row.state == "failed"
    assert why in row.found


def test_a_port_is_told_from_another_by_what_both_know() -> None:
    assert NEAR.differences(Port()) == []
    assert NEAR.differences(replace(NEAR, fec=UNKNOWN, speed="25000")) == ["speed 25000, calibrated 10000"]


def test_the_file_is_plain_json_that_anyone_reads() -> None:
    body = json.loads(artefact_file(artefact()))
    assert body["id"] == artefact().id
    assert body["loads"][0]["found"]["bias_ns"] == {"forward": 3_997, "backward": 4_983}
