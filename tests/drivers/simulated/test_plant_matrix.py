"""The cross-connect between fibres: losses, crosstalk, transients, neighbours, power, protection."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.simulated.light import ratio, sphere
from drivers.simulated.matrix import FibreMatrix, MatrixSpec
from drivers.simulated.plant import Plugs
from tests.drivers.simulated.plant_model import SECOND, Bench, bench

CALM = MatrixSpec(repeat_db=0.0, disturb_db=0.0)


def lit(ports: int = 4, spec: MatrixSpec = CALM, seed: int = 1) -> Bench:
    b = bench(ports, seed, spec, Plugs(0.1, 0.0))
    b.on()
    b.clock.sleep(1)
    return b


def level(b: Bench, place: str, start_ns: int, count: int = 1000, period_ns: int = 100_000) -> np.ndarray:
    """dB over the last value."""
    series = b.plant.power_series(place, start_ns, period_ns, count)
    return np.asarray(10 * np.log10(np.maximum(series, 1e-30) / series[-1]))


def test_truth_is_as_scattered_as_the_table_says_and_no_more() -> None:
    matrix = FibreMatrix("oxc", 32, 32, 7, MatrixSpec(loss_db=1.5, loss_spread_db=0.1))
    assert matrix.loss_db.mean() == pytest.approx(1.5, abs=0.02)
    assert matrix.loss_db.std() == pytest.approx(0.1, rel=0.1)
    assert np.abs(matrix.loss_db - 1.5).max() <= 0.3 + 1e-12


def test_pdl_is_found_between_the_best_and_worst_of_all_polarisations() -> None:
    b = lit()
    b.coupler._mueller[:, 0, 1:] = b.coupler._mueller[:, 1:, 0] = 0.0
    b.matrix.pdl_db[0, 2] = 1.0
    b.matrix.refresh()
    b.matrix.connect({1: 3})
    b.clock.sleep(1)
    seen = []
    for index in range(400):
        b.polariser.set_state(index, 400)
        seen.append(b.plant.power("meter:3") / b.plant.power("launch-1"))
    assert 10 * math.log10(max(seen) / min(seen)) == pytest.approx(b.matrix.true_pdl_db(1, 3), rel=0.03)


def test_loss_averaged_over_polarisation_is_the_true_loss_at_every_wavelength() -> None:
    b = lit()
    b.matrix.slope_db_nm[0, 0] = 0.02
    b.matrix.pdl_db[0, 0] = 1.0
    b.matrix.refresh()
    b.matrix.connect({1: 1})
    b.coupler._mueller[:, 0, 1:] = b.coupler._mueller[:, 1:, 0] = 0.0
    for nm in (1530e-9, 1550e-9, 1565e-9):
        b.laser.set_wavelength(nm)
        b.clock.sleep(1)
        through, launched = [], []
        for index in range(6):
            b.polariser.set_state(index, 6)
            through.append(b.plant.power("oxc:out-1"))
            launched.append(b.plant.power("launch-1"))
        loss = 10 * math.log10(np.mean(launched) / np.mean(through))
        true = float(b.laser.true_wavelength_m(np.zeros(1), nm)[0])
        assert loss == pytest.approx(b.matrix.true_loss_db(1, 1, true), abs=1e-3)


def test_crosstalk_of_all_lit_inputs_adds_up_in_a_dark_output() -> None:
    b = lit(8)
    b.matrix.connect({port: port + 1 for port in range(1, 8)})
    b.clock.sleep(1)
    wanted = sum(
        b.plant.power(f"launch-{port}") * ratio(0.1) * 10 ** (b.matrix.true_crosstalk_db(port, 1) / 10)
        for port in range(1, 9)
    )
    assert b.plant.power("oxc:out-1") == pytest.approx(wanted, rel=1e-9)


def test_a_connected_input_is_not_counted_as_its_own_crosstalk() -> None:
    b = lit()
    b.matrix.connect({1: 1})
    b.clock.sleep(1)
    before = b.plant.power("oxc:out-1")
    b.matrix.crosstalk_db[0, 0] = -20.0
    b.matrix.refresh()
    assert b.plant.power("oxc:out-1") == pytest.approx(before, rel=1e-12)


def test_switching_ends_where_the_truth_says() -> None:
    for seed in range(5):
        b = lit(seed=seed)
        start = b.clock.now_ns()
        settled = b.matrix.connect({1: 1})
        b.clock.sleep(1)
        series = level(b, "meter:1", start, 100_000, 1000)
        outside = np.flatnonzero(np.abs(series) > 1.0)
        end_s = (outside[-1] + 1) * 1e-6
        assert end_s == pytest.approx(b.matrix.true_switch_s(1, 1), abs=2e-6)
        after = series[round(settled * 1e6) :]
        assert np.abs(after).max() < 1e-6, "still when it says so"


def test_light_swings_in_with_rings_and_leaves_before_the_next_comes() -> None:
    b = lit()
    b.matrix.connect({1: 1})
    b.clock.sleep(1)
    start = b.clock.now_ns()
    b.matrix.connect({1: 2})
    b.clock.sleep(1)
    old = level(b, "meter:1", start, 5000, 10_000)
    new = level(b, "meter:2", start, 5000, 10_000)
    assert old[0] - old[-1] > 30, "at the command it still passes"
    turns = np.sign(np.diff(new[new > -20]))
    assert np.count_nonzero(np.diff(turns)) >= 2, "it swings over the fibre at least once"
    both = (old > old[0] - 10) & (new > -10)
    assert not both.any()


def test_a_bounce_counts_as_switching() -> None:
    b = lit()
    quick = b.matrix.true_switch_s(1, 1)
    b.matrix.bounce_s[0, 0] = 0.2
    assert b.matrix.true_switch_s(1, 1) > 0.2 + quick / 2
    start = b.clock.now_ns()
    b.matrix.connect({1: 1})
    b.clock.sleep(2)
    series = level(b, "meter:1", start, 5000)
    outside = np.flatnonzero(np.abs(series) > 1.0)
    assert (outside[-1] + 1) * 1e-4 == pytest.approx(b.matrix.true_switch_s(1, 1), abs=2e-4)


def test_a_neighbour_dips_as_deep_as_the_truth_says_and_a_stranger_not_at_all() -> None:
    b = lit(8, MatrixSpec(repeat_db=0.0, disturb_db=0.4, crosstalk_db=-150))
    b.matrix.connect({2: 2, 3: 3, 8: 8})
    b.clock.sleep(1)
    start = b.clock.now_ns()
    b.matrix.connect({1: 5})
    b.clock.sleep(1)
    assert level(b, "meter:2", start, 5000, 20_000).min() == pytest.approx(-0.4, abs=0.001), "beside its input"
    assert np.abs(level(b, "meter:3", start)).max() < 1e-6
    assert np.abs(level(b, "meter:8", start)).max() < 1e-6


def test_repeatability_is_drawn_at_each_connection() -> None:
    b = lit(spec=MatrixSpec(repeat_db=0.05, disturb_db=0.0))
    seen = []
    for _ in range(300):
        b.matrix.connect({1: 1})
        b.clock.sleep(0.2)
        seen.append(b.dbm("meter:1"))
        b.matrix.connect({1: 2})
        b.clock.sleep(0.2)
    assert np.std(seen) == pytest.approx(0.05, rel=0.2)
    before = b.dbm("meter:2")
    b.matrix.connect({1: 2})
    b.clock.sleep(1)
    assert b.dbm("meter:2") == before, "what is joined already is left alone"


def test_connections_take_ports_from_each_other_and_only_means_only() -> None:
    matrix = FibreMatrix("oxc", 4, 4)
    matrix.connect({1: 1, 2: 2})
    matrix.connect({3: 1})
    assert matrix.connections() == {2: 2, 3: 1}
    matrix.connect({2: 4})
    assert matrix.connections() == {2: 4, 3: 1}
    matrix.connect({1: 4, 2: 1})
    assert matrix.connections() == {1: 4, 2: 1}
    matrix.only({1: 4, 3: 3})
    assert matrix.connections() == {1: 4, 3: 3}
    matrix.disconnect([3, 4])
    matrix.clear()
    assert matrix.connections() == {}


@pytest.mark.parametrize("pairs", [{5: 1}, {1: 5}, {0: 1}, {1: 2, 3: 2}])
def test_ports_that_there_are_none_of_change_nothing(pairs: dict[int, int]) -> None:
    matrix = FibreMatrix("oxc", 4, 4)
    matrix.connect({1: 1})
    with pytest.raises(ValueError, match=r"on 4 x 4|twice"):
        matrix.connect(pairs)
    with pytest.raises(ValueError, match=r"on 4 x 4|twice"):
        matrix.only(pairs)
    assert matrix.connections() == {1: 1}


def test_a_stuck_mirror_tells_nobody_and_passes_nothing() -> None:
    b = lit()
    b.matrix.stuck_in.add(2)
    b.matrix.connect({2: 2, 3: 3})
    b.clock.sleep(1)
    assert b.matrix.connections() == {2: 2, 3: 3}
    assert b.dbm("meter:2") < b.dbm("meter:3") - 50


@pytest.mark.parametrize(("latching", "restores"), [(True, True), (False, True), (False, False)])
def test_power_cycles(latching: bool, restores: bool) -> None:
    b = lit(spec=MatrixSpec(repeat_db=0.0, latching=latching, restores=restores, boot_s=10.0))
    b.matrix.connect({1: 1})
    b.clock.sleep(1)
    before = b.dbm("meter:1")
    start = b.clock.now_ns()
    b.plant.feeds("oxc", on=False)
    b.clock.sleep(5)
    assert (b.dbm("meter:1") == pytest.approx(before, abs=1e-3)) is latching
    up_s = b.plant.feeds("oxc", on=True)
    assert up_s == 10.0
    b.clock.sleep(up_s + 1)
    back = latching or restores
    assert b.matrix.connections() == ({1: 1} if back else {})
    assert (b.dbm("meter:1") == pytest.approx(before, abs=1e-3)) is back
    series = b.plant.power_series("meter:1", start - SECOND, 10_000_000, 1700)
    dark_s = np.count_nonzero(series < series.max() / 2) * 0.01
    assert dark_s == pytest.approx(0.0 if latching else 15.0 if restores else 16.0, abs=0.1)


def test_a_protected_input_hands_over_to_its_spare() -> None:
    b = lit()
    b.matrix.protection[1] = 2
    b.matrix.protect_s = 0.02
    b.matrix.connect({1: 1})
    b.clock.sleep(1)
    start = b.clock.now_ns()
    b.plant.cut("oxc:in-1", on=True)
    b.clock.sleep(1)
    assert b.matrix.connections() == {2: 1}
    series = level(b, "meter:1", start, 10_000, 10_000)
    gone = np.flatnonzero(series < -1.0)
    outage_s = (gone[-1] + 1) * 1e-5
    assert outage_s == pytest.approx(0.02 + b.matrix.true_switch_s(2, 1), abs=5e-5)


def test_return_loss_shows_what_lies_behind_a_connection() -> None:
    b = bench(plugs=Plugs(0.1, 0.0, 60.0, 0.0))
    apart = b.plant.echo("launch-1")
    assert -10 * math.log10(apart) < b.matrix.true_return_loss_db("in-1")
    b.matrix.connect({1: 1})
    b.clock.sleep(1)
    assert b.plant.echo("launch-1") > apart
    b.plant.cut("meter:1", on=True)
    loss = b.matrix.true_loss_db(1, 1) + 0.0  # with one connector
    behind = ratio(2 * loss) * ratio(14.7)
    assert b.plant.echo("launch-1") == pytest.approx(apart + behind, rel=0.02)


def test_states_of_the_sphere_average_to_unpolarised_light() -> None:
    assert np.abs(sphere(6).mean(axis=0)).max() == 0.0
