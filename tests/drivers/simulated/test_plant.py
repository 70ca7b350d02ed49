"""The plant: known answers, energy, plugging, echoes, and series that equal single readings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.simulated.fibre import Event, Fibre
from drivers.simulated.laser import Drift, Laser
from drivers.simulated.light import ratio, sphere
from drivers.simulated.matrix import FibreMatrix, MatrixSpec
from drivers.simulated.plant import PlaceError, Plant, Plugs, Sink
from drivers.simulated.switch1xn import Switch
from drivers.simulated.virtual import VirtualClock
from tests.drivers.simulated.plant_model import SECOND, bench

EXACT = Plugs(loss_db=0.0, sigma_db=0.0)


def test_power_of_a_path_is_the_sum_of_its_decibels() -> None:
    b = bench(spec=MatrixSpec(repeat_db=0.0, pdl_db=0.0, pdl_spread_db=0.0), plugs=Plugs(0.1, 0.0))
    b.on()
    b.coupler.pdl_db[:] = 0
    b.attenuator.set_attenuation(1, 3.0)
    b.matrix.connect({1: 2})
    b.clock.sleep(5)
    states = []
    for index in range(6):
        b.polariser.set_state(index, 6)
        states.append(b.plant.power("meter:2"))
    nm = float(b.laser.true_wavelength_m(np.zeros(1), 1550e-9)[0])
    wanted = (
        10.0
        + b.laser.offset_db
        - b.polariser.loss_db
        - b.attenuator.true_loss_db(1, 3.0)
        + 10 * math.log10(b.tap.through)
        - b.coupler.loss_db[0]
        - b.matrix.true_loss_db(1, 2, nm)  # with the connector at its input
        - 0.1  # at the meter
    )
    assert 10 * math.log10(np.mean(states) * 1000) == pytest.approx(wanted, abs=1e-3)


def test_insertion_loss_against_the_launch_cord_is_the_true_loss() -> None:
    b = bench(spec=MatrixSpec(repeat_db=0.0), plugs=Plugs(0.1, 0.0))
    b.on()
    b.matrix.connect({3: 1})
    b.clock.sleep(1)
    through = []
    reference = []
    for index in range(6):
        b.polariser.set_state(index, 6)
        through.append(b.plant.power("meter:1"))
    b.plant.patch("launch-3", "reference:1")
    for index in range(6):
        b.polariser.set_state(index, 6)
        reference.append(b.plant.power("reference:1"))
    loss = 10 * math.log10(np.mean(reference) / np.mean(through))
    assert loss == pytest.approx(b.matrix.true_loss_db(3, 1), abs=0.002), "second order in the bench's own PDL"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1 << 30), st.permutations(range(1, 5)))
def test_no_energy_is_made(seed: int, order: list[int]) -> None:
    b = bench(seed=seed, spec=MatrixSpec(loss_db=0.4, pdl_db=0.5, crosstalk_db=-30.0), plugs=EXACT)
    b.on()
    b.matrix.connect(dict(zip(range(1, 5), order, strict=True)))
    for wait in (0.0, 0.004, 0.008, 0.009, 0.02, 1.0):
        b.clock.sleep(wait)
        launched = [b.plant.power(f"launch-{port}") for port in range(1, 5)]
        received = [b.plant.power(f"meter:{port}") for port in range(1, 5)]
        assert sum(received) <= sum(launched) * (1 + 1e-12)
        assert sum(launched) <= b.plant.power("laser:out")
        assert b.plant.power("reference:2") <= b.plant.power("laser:out")


def test_a_seed_says_everything_and_another_says_otherwise() -> None:
    def readings(seed: int) -> list[float]:
        b = bench(seed=seed)
        b.on()
        b.matrix.connect({1: 1, 2: 4})
        b.clock.sleep(0.01)
        b.plant.patch("launch-1", "oxc:in-1")
        return [b.plant.power(f"meter:{port}") for port in range(1, 5)]

    assert readings(5) == readings(5)
    assert readings(5) != readings(6)


def test_what_one_element_draws_does_not_depend_on_the_others() -> None:
    alone = FibreMatrix("oxc", 4, 4, 3)
    assert bench(seed=3).matrix.loss_db.tolist() == alone.loss_db.tolist()


def test_plugging_again_draws_the_connector_anew() -> None:
    b = bench(plugs=Plugs(0.2, 0.05))
    b.on()
    seen = []
    for _ in range(200):
        b.plant.patch("launch-1", "reference:1")
        seen.append(b.dbm("reference:1") - b.dbm("launch-1"))
    assert np.mean(seen) == pytest.approx(-0.2, abs=0.02)
    assert np.std(seen) == pytest.approx(0.05, rel=0.25)


def test_a_cord_is_in_one_place_and_a_port_holds_one_cord() -> None:
    b = bench()
    b.plant.patch("launch-1", "oxc:in-2")
    assert b.plant.peer("oxc:in-1") is None
    assert b.plant.peer("launch-2") is None
    assert b.plant.spoken(b.plant.peer("oxc:in-2") or "") == "launch-1"
    b.plant.unpatch("oxc:in-2")
    assert b.plant.peer("launch-1") is None


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("launch-9", "meter:1", "launch-9"),
        ("launch-1", "meter:9", "meter has 1, 2, 3, 4"),
        ("launch-1", "launch-2", "wrong way round"),
        ("meter:1", "meter:2", "wrong way round"),
        ("tap:out", "meter:1", "spliced"),
        ("nobody:out", "meter:1", "elements: laser"),
    ],
)
def test_what_cannot_be_plugged_says_why(source: str, target: str, says: str) -> None:
    b = bench()
    with pytest.raises(PlaceError, match=says):
        b.plant.patch(source, target)


def test_a_failed_patch_leaves_everything_as_it_was() -> None:
    b = bench()
    with pytest.raises(PlaceError):
        b.plant.patch("launch-1", "launch-2")
    assert b.plant.spoken(b.plant.peer("launch-1") or "") == "oxc:in-1"


def test_dirt_costs_light_and_reflects_until_it_is_cleaned() -> None:
    b = bench(plugs=Plugs(0.1, 0.0))
    b.on()
    b.matrix.connect({1: 1})
    b.clock.sleep(1)
    clean, echo = b.dbm("meter:1"), b.plant.echo("launch-1")
    b.plant.soil("oxc:in-1", 1.5, 30.0)
    assert b.dbm("meter:1") == pytest.approx(clean - 1.5, abs=1e-4)
    assert b.plant.echo("launch-1") > echo * 5
    assert "dirt" in b.plant.inspect("oxc:in-1")
    assert "took away: dirt" in b.plant.clean("oxc:in-1")
    assert b.dbm("meter:1") == pytest.approx(clean, abs=1e-9)
    b.plant.soil("oxc:out-1", 1.0)
    assert b.dbm("meter:1") == pytest.approx(clean - 1.0, abs=1e-4)


def test_echo_of_a_port_is_its_return_loss_with_its_connector() -> None:
    b = bench(plugs=Plugs(0.1, 0.0, 60.0, 0.0))
    wanted = ratio(60.0) + ratio(0.2) * ratio(b.matrix.true_return_loss_db("in-1"))
    assert b.plant.echo("launch-1") == pytest.approx(wanted, rel=1e-9)
    b.plant.unpatch("launch-1")
    assert b.plant.echo("launch-1") == pytest.approx(ratio(b.plant.plugs.open_return_db))


def test_the_tap_sees_what_comes_back_through_the_coupler() -> None:
    b = bench(plugs=Plugs(0.1, 0.0, 60.0, 0.0))
    b.on()
    b.plant.add(Sink("mirror", ("in",), 14.7))
    b.plant.patch("launch-2", "mirror:in")
    came = b.plant.power("reference:2")
    mine = b.coupler.reflect("in", b.plant._single(None), np.array([[193.4e12]]))[0, 0]
    assert came == pytest.approx(
        b.plant.power("tap:out") * (mine + ratio(75.0) + ratio(85.0)) * b.tap.back * ratio(0.1), rel=1e-3
    )
    twice = ratio(2 * float(b.coupler.loss_db[1])) * ratio(14.7) * ratio(0.2)
    assert mine == pytest.approx(twice, rel=0.05), "the straight end outshines all else"


def test_a_series_equals_single_readings_through_everything_that_moves() -> None:
    b = bench(drift=Drift(db_h=0.5, wander_db=0.02))
    b.on()
    b.matrix.connect({1: 1, 2: 2})
    b.clock.sleep(1)
    start = b.clock.now_ns()
    b.clock.sleep(0.05)
    b.matrix.connect({1: 2})
    b.clock.sleep(0.05)
    b.attenuator.set_attenuation(1, 6.0)
    b.clock.sleep(0.05)
    b.matrix.connect({3: 3, 4: 4})
    b.clock.sleep(0.02)
    b.plant.patch("launch-1", "oxc:in-1")
    b.clock.sleep(0.03)
    b.polariser.set_state(3, 6)
    b.laser.set_output(False)
    b.clock.sleep(0.01)
    b.laser.set_output(True)
    b.clock.sleep(3)
    for place in ("meter:2", "meter:1", "meter:3", "launch-1", "reference:2"):
        series = b.plant.power_series(place, start - 7, 173_000, 4000)
        assert series.shape == (4000,)
        for at in [*range(0, 4000, 37), 3999]:
            single = b.plant.power(place, start - 7 + 173_000 * at)
            assert series[at] == pytest.approx(single, rel=1e-7, abs=1e-30), (place, at)


def test_a_series_of_stokes_parameters_begins_with_the_power() -> None:
    b = bench()
    b.on()
    b.matrix.connect({1: 1})
    stokes = b.plant.light_series("meter:1", b.clock.now_ns(), 1_000_000, 100)
    power = b.plant.power_series("meter:1", b.clock.now_ns(), 1_000_000, 100)
    assert stokes[:, 0] == pytest.approx(power)
    single = b.plant.light("meter:1", b.clock.now_ns() + 99_000_000)
    assert stokes[99, 1:] == pytest.approx((single.stokes * single.power_w[:, np.newaxis]).sum(axis=0), rel=1e-6)
    assert np.all(np.linalg.norm(stokes[:, 1:], axis=1) <= stokes[:, 0] * (1 + 1e-9))


def test_noise_is_in_every_series_and_leaks_as_lines_do() -> None:
    b = bench(spec=MatrixSpec(crosstalk_spread_db=0.0))
    b.laser.sse_db_nm = 20.0
    b.on()
    b.matrix.connect({1: 1})
    b.clock.sleep(1)
    now = b.clock.now_ns()
    for place in ("meter:1", "meter:2"):
        light = b.plant.light(place)
        noise = light.total_w / light.power_w.sum()
        assert noise == pytest.approx(1 + 0.01 * 7.005e12 / 124.78e9, rel=1e-2), "1 % a nm over 7 THz"
        series = b.plant.light_series(place, now, 1_000_000, 5)
        assert series[:, 0] / light.total_w == pytest.approx(np.ones(5), rel=1e-6)
        polarised = (light.stokes * light.power_w[:, np.newaxis]).sum(axis=0) / light.total_w
        assert series[2, 1:] / light.total_w == pytest.approx(polarised, rel=1e-6)


def test_the_past_stays_what_it_was() -> None:
    b = bench()
    b.on()
    b.matrix.connect({1: 1})
    b.clock.sleep(1)
    then = b.clock.now_ns()
    before = b.plant.power("meter:1")
    b.clock.sleep(1)
    b.plant.patch("launch-1", "oxc:in-3")
    b.matrix.connect({3: 1})
    b.laser.set_output(False)
    assert b.plant.power("meter:1") == 0.0
    assert b.plant.power("meter:1", then) == before


def test_a_laser_drifts_by_the_clock() -> None:
    b = bench(drift=Drift(db_h=2.0, pm_h=10.0))
    b.on()
    before, wave = b.dbm("laser:out"), b.plant.light("laser:out").frequency_hz[0]
    b.clock.sleep(1800)
    assert b.dbm("laser:out") - before == pytest.approx(1.0, abs=1e-9)
    moved_pm = (299_792_458 / b.plant.light("laser:out").frequency_hz[0] - 299_792_458 / wave) * 1e12
    assert moved_pm == pytest.approx(5.0, abs=1e-3)


def test_a_polariser_turns_light_to_the_state_that_is_asked_for() -> None:
    b = bench()
    b.on()
    b.polariser.pdl_db = 0.0
    for of in (6, 20):
        for index in range(of):
            b.polariser.set_state(index, of)
            assert b.plant.light("polariser:out").stokes[0] == pytest.approx(sphere(of)[index], abs=1e-9)
    with pytest.raises(ValueError, match="state 6 of 6"):
        b.polariser.set_state(6, 6)


def test_an_attenuator_settles_and_its_shutter_shuts() -> None:
    b = bench()
    b.on()
    b.clock.sleep(1)
    b.attenuator.set_attenuation(1, 10.0)
    b.clock.sleep(b.attenuator.settle_s)
    loss = b.dbm("voa:in-1") - b.dbm("voa:out-1")
    assert loss == pytest.approx(b.attenuator.true_loss_db(1, 10 * (1 - math.exp(-1))), abs=1e-6)
    b.clock.sleep(1)
    assert b.dbm("voa:in-1") - b.dbm("voa:out-1") == pytest.approx(b.attenuator.true_loss_db(1, 10.0), abs=1e-9)
    b.attenuator.set_shutter(1, False)
    assert b.dbm("voa:in-1") - b.dbm("voa:out-1") > 100


def test_a_switch_passes_one_route() -> None:
    plant = Plant(VirtualClock(), 1)
    laser, switch = plant.add(Laser("laser", 1)), plant.add(Switch("switch", 4, 1))
    plant.splice("laser:out", "switch:in")
    laser.set_output(True)
    switch.select(3)
    lit = [plant.power(f"switch:out-{route}") for route in range(1, 5)]
    assert int(np.argmax(lit)) == 2
    assert lit[2] == pytest.approx(plant.power("laser:out") * ratio(switch.loss_db[2]))
    assert max(lit[:2]) < lit[2] * 1e-5
    with pytest.raises(ValueError, match="route 5 of 4"):
        switch.select(5)


def test_a_spectrum_shows_the_line_within_the_slit_and_the_noise_between() -> None:
    plant = Plant(VirtualClock(), 1)
    laser = plant.add(Laser("laser", 1))
    laser.sse_db_nm = 50.0
    laser.set_output(True)
    true = float(laser.true_wavelength_m(np.zeros(1), 1550e-9)[0])
    seen = plant.spectrum("laser:out", [true, true + 25e-12, true + 3e-9], 50e-12)
    assert seen[0] == pytest.approx(laser.offset_db, abs=0.01)
    assert seen[1] == pytest.approx(laser.offset_db - 3.0103, abs=0.05), "half the slit away: half the light"
    # 50 pm of 1 nm, through a Gaussian slit that is 1.064 of its width at half height
    assert seen[2] == pytest.approx(laser.offset_db - 50 + 10 * math.log10(0.05 * 1.0645), abs=0.05)
    laser.set_output(False)
    assert plant.spectrum("laser:out", [1550e-9], 50e-12)[0] == -math.inf


def test_a_fibre_passes_light_both_ways_and_a_cut_stops_it() -> None:
    plant = Plant(VirtualClock(), 1, EXACT)
    laser = plant.add(Laser("laser", 1))
    fibre = plant.add(Fibre("line-1", 40.0, events=[Event(10.0, 0.5)]))
    plant.add(Sink("meter", ("1", "2")))
    laser.set_output(True)
    for near, far in (("a", "b"), ("b", "a")):
        plant.patch("laser:out", f"line-1:{near}")
        plant.patch(f"line-1:{far}", "meter:1")
        loss = 10 * math.log10(plant.power("laser:out") / plant.power("meter:1"))
        assert loss == pytest.approx(8.5, abs=1e-3)
    plant.cut("line-1", on=True)
    assert plant.power("meter:1") == 0.0
    plant.cut("line-1", on=False)
    assert plant.power("meter:1") > 0.0
    assert fibre.true_flight_s == pytest.approx(40_000 * 1.4682 / 299_792_458)
    assert fibre.true_loss_db(1310e-9) > fibre.true_loss_db(1550e-9) + 5
    with pytest.raises(ValueError, match="an event at 41 km"):
        fibre.add_event(Event(41, 0.1))


def test_a_long_fibre_sends_back_its_backscatter() -> None:
    plant = Plant(VirtualClock(), 1, Plugs(0.0, 0.0, 90.0, 0.0, 90.0))
    plant.add(Laser("laser", 1))
    plant.add(Fibre("line-1", 80.0))
    plant.patch("laser:out", "line-1:a")
    assert 10 * math.log10(plant.echo("laser:out")) == pytest.approx(-31.7, abs=0.3), "known of standard fibre"


def test_an_event_echoes_by_how_far_it_is_from_the_end_that_is_asked() -> None:
    plant = Plant(VirtualClock(), 1, Plugs(0.0, 0.0, 120.0, 0.0, 120.0))
    plant.add(Laser("laser", 1))
    plant.add(Fibre("bare", 20.0))
    plant.add(Fibre("line-1", 20.0, events=[Event(5.0, 0.0, -20.0)]))
    plant.patch("laser:out", "bare:a")
    backscatter = plant.echo("laser:out")
    for end, km in (("a", 5.0), ("b", 15.0)):
        plant.patch("laser:out", f"line-1:{end}")
        assert plant.echo("laser:out") - backscatter == pytest.approx(0.01 * ratio(0.2 * km) ** 2, rel=1e-6)


def test_a_cord_can_be_cut_anywhere_and_made_whole() -> None:
    b = bench(plugs=Plugs(0.1, 0.0))
    b.on()
    b.matrix.connect({1: 1})
    b.clock.sleep(1)
    before = b.dbm("meter:1")
    b.plant.cut("oxc:in-1", on=True)
    assert b.dbm("meter:1") < before - 40
    assert b.plant.echo("launch-1") == pytest.approx(ratio(14.7))
    b.plant.cut("oxc:in-1", on=False)
    assert b.dbm("meter:1") == pytest.approx(before, abs=1e-12)
    b.plant.unpatch("oxc:in-1")
    with pytest.raises(PlaceError, match="nothing plugged in"):
        b.plant.cut("oxc:in-1", on=True)


def test_the_way_of_a_pulse_goes_through_cords_fibres_and_mirrors() -> None:
    b = bench()
    b.plant.add(Sink("otdr", ("out",), two_way=True))
    b.plant.add(Fibre("reel-1", 1.0))
    b.matrix.connect({2: 3})
    b.plant.patch("oxc:out-3", "reel-1:b")
    b.plant.patch("reel-1:a", "meter:1")
    b.plant.patch("otdr:out", "oxc:in-2")
    reel = b.plant.get("reel-1", Fibre)
    wanted = b.matrix.true_latency_s(2, 3) + reel.true_flight_s
    assert b.plant.flight_s("otdr:out") == pytest.approx(wanted, rel=1e-12)


def test_light_in_a_ring_is_followed_once() -> None:
    b = bench(plugs=Plugs(0.1, 0.0))
    b.on()
    b.plant.patch("oxc:out-1", "oxc:in-2")
    b.matrix.connect({1: 1, 2: 2})
    b.clock.sleep(1)
    loss = b.dbm("launch-1") - b.dbm("meter:2")
    cascade = b.matrix.true_loss_db(1, 1) + b.matrix.true_loss_db(2, 2) + 0.1
    assert loss == pytest.approx(cascade, abs=0.2), "two passes, as far as PDL lets one say"
    b.matrix.connect({2: 1})
    b.clock.sleep(1)
    assert b.plant.power("meter:2") < b.plant.power("launch-1") * 1e-4


def test_names_are_taken_once_and_kinds_are_told_apart() -> None:
    b = bench()
    with pytest.raises(PlaceError, match="laser twice"):
        b.plant.add(Laser("laser"))
    with pytest.raises(PlaceError, match="a Coupler"):
        b.plant.get("coupler", Laser)
    with pytest.raises(PlaceError, match="there are: laser"):
        b.plant.get("moon", Laser)


def test_ten_minutes_are_remembered_and_no_more_is_kept() -> None:
    b = bench(ports=2)
    b.on()
    for _ in range(3000):
        b.matrix.connect({1: 1})
        b.matrix.connect({1: 2})
        b.clock.sleep(1.0)
    assert sum(len(row) for row in b.matrix._by_out) < 3 * 1300
    then = b.clock.now_ns() - 300 * SECOND
    assert b.plant.power("meter:2", then - 500_000_000) > 1e-4
