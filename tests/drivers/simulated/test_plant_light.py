"""Light itself: polarisation, mixtures, and how lossy things act on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.simulated.light import (
    GRID_HZ,
    STEP_HZ,
    Beam,
    Noise,
    contrast,
    dark,
    mixed,
    polarising,
    ratio,
    sphere,
    turn,
    turning,
)

unit = st.tuples(*[st.floats(-1, 1) for _ in range(3)]).filter(lambda v: np.linalg.norm(v) > 0.1)


def line(watt: float, stokes: tuple[float, float, float] = (1.0, 0.0, 0.0)) -> Beam:
    return Beam(np.array([[193.4e12]]), watt * np.array([[[1.0, *stokes]]]))


@given(st.floats(0, 20), unit)
def test_loss_averaged_over_polarisations_is_the_loss_that_was_asked_for(
    pdl_db: float, along: tuple[float, ...]
) -> None:
    axis = np.array(along) / np.linalg.norm(along)
    seen = [(polarising(pdl_db, axis) @ [1.0, *state])[0] for state in sphere(6)]
    assert np.mean(seen) == pytest.approx(1.0, abs=1e-12)


@given(st.floats(0.001, 20), unit)
def test_best_over_worst_transmission_is_the_pdl(pdl_db: float, along: tuple[float, ...]) -> None:
    axis = np.array(along) / np.linalg.norm(along)
    best, worst = ((polarising(pdl_db, axis) @ [1.0, *state])[0] for state in (axis, -axis))
    assert 10 * np.log10(best / worst) == pytest.approx(pdl_db, rel=1e-6)


@given(st.floats(0, 20), unit, unit)
def test_what_passes_a_partial_polariser_stays_fully_polarised(
    pdl_db: float, along: tuple[float, ...], entering: tuple[float, ...]
) -> None:
    axis, state = (np.array(each) / np.linalg.norm(each) for each in (along, entering))
    out = polarising(pdl_db, axis) @ [1.0, *state]
    assert np.linalg.norm(out[1:]) == pytest.approx(out[0], rel=1e-9)
    assert out[0] <= 1 + contrast(pdl_db) + 1e-12


@given(unit, unit)
def test_a_turn_takes_one_state_to_the_other_and_keeps_lengths(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    source, target = (np.array(each) / np.linalg.norm(each) for each in (a, b))
    rotation = turn(source, target)
    assert rotation @ source == pytest.approx(target, abs=1e-6)
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("axis", [(1.0, 0, 0), (0, 1.0, 0), (0.6, 0, 0.8)])
def test_half_a_turn_is_a_rotation_too(axis: tuple[float, float, float]) -> None:
    rotation = turn(np.array(axis), -np.array(axis))
    assert rotation @ np.array(axis) == pytest.approx(-np.array(axis))
    assert np.linalg.det(rotation) == pytest.approx(1.0)


@pytest.mark.parametrize("of", [1, 2, 6, 17, 100])
def test_states_lie_on_the_sphere_and_cancel(of: int) -> None:
    states = sphere(of)
    assert states.shape == (of, 3)
    assert np.linalg.norm(states, axis=1) == pytest.approx(np.ones(of))
    if of >= 17:
        assert np.linalg.norm(states.mean(axis=0)) < 0.1


def test_powers_of_one_source_add_whatever_their_polarisation() -> None:
    frequency = np.array([[193.4e12]])
    a = Beam(frequency, np.array([[[1.0, 1.0, 0, 0]]]))
    b = Beam(frequency, np.array([[[0.5, -0.5, 0, 0]]]))
    both = mixed([a, b, dark(1)], 1)
    assert both.frequency_hz.shape == (1, 1), "one line, as one laser has"
    assert both.power_w[0] == pytest.approx(1.5)
    assert both.at(0).stokes[0] == pytest.approx([1 / 3, 0, 0]), "opposite states leave light partly polarised"


def test_lines_of_two_sources_stay_apart() -> None:
    both = mixed([line(1.0), line(2.0)], 1)
    assert both.at(0).power_w == pytest.approx([1.0, 2.0])


def test_noise_counts_as_power_and_feels_only_the_mean_of_a_polariser() -> None:
    beam = Beam(np.zeros((1, 0)), np.zeros((1, 0, 4)), (Noise(np.array([1e-18]), np.ones(GRID_HZ.size)),))
    assert beam.power_w[0] == pytest.approx(1e-18 * GRID_HZ.size * STEP_HZ)
    through = beam.through(0.5, lambda f: np.full(f.shape, 0.5), polarising(3.0, np.array([1.0, 0, 0])))
    assert through.power_w[0] == pytest.approx(beam.power_w[0] / 4)


def test_noise_of_one_shape_is_one_noise_and_loses_what_a_matrix_loses() -> None:
    shape = np.linspace(1e-18, 2e-18, GRID_HZ.size)
    parts = [Beam(np.zeros((1, 0)), np.zeros((1, 0, 4)), (Noise(np.array([level]), shape),)) for level in (1.0, 0.5)]
    both = mixed(parts, 1)
    assert len(both.noise) == 1
    assert both.power_w[0] / parts[0].power_w[0] == pytest.approx(1.5)
    halved = both.through(mueller=0.5 * np.eye(4))
    assert halved.power_w[0] / both.power_w[0] == pytest.approx(0.5)


def test_nothing_is_dark_and_stays_so() -> None:
    assert mixed([], 3).power_w.tolist() == [0.0, 0.0, 0.0]
    assert dark(1).through(mueller=turning(np.eye(3))).power_w[0] == 0.0
    assert dark(2).at(1).total_w == 0.0
    assert ratio(3.0102999566) == pytest.approx(0.5)
