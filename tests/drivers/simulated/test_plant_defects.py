"""Every defect does what its name says, where it says, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.errors import InstrumentError
from drivers.simulated.defects import KINDS, Defect, inject, meters
from drivers.simulated.fibre import Fibre
from drivers.simulated.matrix import MatrixSpec
from drivers.simulated.plant import Plant, Plugs
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.wss import Wss, WssSpec
from tests.drivers.simulated.plant_model import Bench, bench

QUIET = MatrixSpec(repeat_db=0.0, disturb_db=0.0)


def lit(*defects: Defect) -> Bench:
    b = bench(4, 1, QUIET, Plugs(0.1, 0.0))
    for defect in defects:
        inject(b.plant, "oxc", defect)
    b.on()
    b.matrix.connect({1: 1, 2: 2, 3: 3, 4: 4})
    b.clock.sleep(2)
    return b


def losses(b: Bench) -> np.ndarray:
    return np.array([b.dbm(f"launch-{port}") - b.dbm(f"meter:{port}") for port in range(1, 5)])


GOOD = losses(lit())


@pytest.mark.parametrize(
    ("defect", "more"),
    [
        (Defect("dirty-port", "in-2", 1.2), [0, 1.2, 0, 0]),
        (Defect("dirty-port", "out-3", 0.7), [0, 0, 0.7, 0]),
        (Defect("dirty-port", "launch-4"), [0, 0, 0, 1.5]),
        (Defect("lossy-path", "in-2>out-2", 2.0), [0, 2.0, 0, 0]),
        (Defect("lossy-path", "in-2>out-1", 2.0), [0, 0, 0, 0]),
        (Defect("lossy-path", "out-4"), [0, 0, 0, 3.0]),
    ],
)
def test_losses_grow_where_the_defect_is(defect: Defect, more: list[float]) -> None:
    assert losses(lit(defect)) - GOOD == pytest.approx(more, abs=1e-4)


def test_a_stuck_mirror_is_dark() -> None:
    for where in ("in-2", "out-2"):
        more = losses(lit(Defect("stuck-mirror", where))) - GOOD
        assert more[1] > 45
        assert np.abs(more[[0, 2, 3]]).max() < 1e-4


def test_high_pdl_is_seen_by_turning_the_polarisation() -> None:
    b = lit(Defect("high-pdl", "in-3>out-3", 1.5))
    seen = []
    for index in range(200):
        b.polariser.set_state(index, 200)
        seen.append(losses(b))
    spread = np.ptp(np.array(seen), axis=0)
    assert spread[2] == pytest.approx(1.5, abs=0.12)
    assert max(spread[[0, 1, 3]]) < 0.3


def test_crosstalk_is_seen_in_a_dark_output() -> None:
    b = lit(Defect("crosstalk", "in-3>out-1", 30.0))
    b.matrix.only({3: 3, 2: 2})
    b.clock.sleep(1)
    assert b.dbm("oxc:out-1") == pytest.approx(b.dbm("oxc:in-3") - 30, abs=0.05)
    assert b.dbm("oxc:out-4") < b.dbm("oxc:in-3") - 55


def test_a_sloped_path_loses_more_at_longer_waves() -> None:
    b = lit(Defect("sloped-path", "in-1>out-1", 0.1))
    assert b.matrix.true_loss_db(1, 1, 1560e-9) - b.matrix.true_loss_db(1, 1) == pytest.approx(1.0, abs=0.05)


def test_low_return_loss_is_seen_in_the_echo() -> None:
    b = lit(Defect("low-return-loss", "in-1", 25.0))
    good = lit()
    assert -10 * math.log10(b.plant.echo("launch-1")) == pytest.approx(25.2, abs=0.1)
    assert b.plant.echo("launch-2") == pytest.approx(good.plant.echo("launch-2"))


def test_slow_and_bouncing_switches_take_their_time() -> None:
    b = lit(
        Defect("slow-switch", "in-1>out-2", 0.4),
        Defect("bouncing-switch", "in-2", 0.3),
        Defect("slow-settling", "in-4>out-1", 0.1),
    )
    good = lit()
    assert b.matrix.true_switch_s(1, 2) == pytest.approx(0.4, abs=0.01)
    assert 0.12 < b.matrix.true_switch_s(4, 1) < 0.25
    assert b.matrix.true_switch_s(2, 1) > 0.3
    assert b.matrix.true_switch_s(3, 3) == good.matrix.true_switch_s(3, 3)


def test_an_unrepeatable_path_is_never_the_same() -> None:
    b = lit(Defect("unrepeatable", "in-1>out-1", 0.4))
    seen = []
    for _ in range(30):
        b.matrix.disconnect([1])
        b.clock.sleep(1)
        b.matrix.connect({1: 1})
        b.clock.sleep(1)
        seen.append(losses(b)[0])
    assert np.std(seen) == pytest.approx(0.4, rel=0.5)


def test_neighbours_are_disturbed() -> None:
    b = lit(Defect("disturbs-neighbours", "in-3", 2.0))
    b.matrix.only({2: 2})
    b.clock.sleep(1)
    start = b.clock.now_ns()
    b.matrix.connect({3: 4})
    b.clock.sleep(1)
    series = b.plant.power_series("meter:2", start, 20_000, 10_000)
    assert 10 * math.log10(series.min() / series[-1]) == pytest.approx(-2.0, abs=0.01)


def test_a_forgetful_cross_connect_loses_its_connections() -> None:
    b = lit(Defect("non-persistent"))
    b.plant.feeds("oxc", on=False)
    b.clock.sleep(b.plant.feeds("oxc", on=True) + 1)
    assert b.matrix.connections() == {}


def test_a_drifting_laser_drifts() -> None:
    b = lit(Defect("drifting-laser", "laser", 6.0))
    before = b.dbm("laser:out")
    b.clock.sleep(600)
    assert b.dbm("laser:out") - before == pytest.approx(1.0, abs=1e-6)


def test_slow_protection_and_bad_splices() -> None:
    b = lit(Defect("slow-protection", size=0.3))
    assert b.matrix.protect_s == 0.3
    plant = Plant(VirtualClock(), 1)
    fibre = plant.add(Fibre("line-1", 40.0))
    inject(plant, "oxc", Defect("bad-splice", "line-1@12.5", 1.8))
    inject(plant, "oxc", Defect("bad-splice", "line-1"))
    assert [(event.km, event.loss_db) for event in fibre.events] == [(12.5, 1.8), (16.0, 2.0)]


def test_meters_out_of_calibration_are_told_to_the_lab() -> None:
    defects = [Defect("meter-out-of-calibration", "meter-1:3", 0.5), Defect("dirty-port", "in-1")]
    assert meters(defects) == {"meter-1:3": 0.5}


def test_defects_of_a_node_between_slices() -> None:
    def node(*defects: Defect, booster_db: float = 0.0) -> Wss:
        plant = Plant(VirtualClock(), 1)
        wss = plant.add(Wss("oxc", 3, 1, 1, spec=WssSpec(booster_gain_db=booster_db)))
        for defect in defects:
            inject(plant, "oxc", defect)
        return wss

    good = node()
    way = "deg-1", "deg-2"
    assert node(Defect("lossy-path", "deg-1>deg-2", 2.0)).true_loss_db(*way) == good.true_loss_db(*way) + 2.0
    assert node(Defect("high-pdl", "deg-1>deg-2", 2.0)).pdl_db[way] == 2.0
    assert node(Defect("crosstalk", "deg-1>deg-2", 25.0)).extinction_db[way] == 25.0
    assert node(Defect("low-return-loss", "deg-1", 20.0)).true_return_loss_db("deg-1") == 20.0
    assert node(Defect("narrow-passband", "deg-1", 12.0)).cards["card-1"].width_error_hz == -12e9
    assert node(Defect("shifted-passband", "deg-1", 6.0)).cards["card-1"].centre_error_hz == 6e9
    assert node(Defect("noisy-amplifier", "deg-2", 9.0), booster_db=10.0).cards["card-2"].noise_figure_db == 9.0
    with pytest.raises(InstrumentError, match="an amplifier"):
        node(Defect("noisy-amplifier", "deg-2", 9.0))
    assert node(Defect("bad-spare", "card-1", 4.0)).spares["card-1"].loss_db["deg-2"] == pytest.approx(
        good.spares["card-1"].loss_db["deg-2"] + 4.0
    )
    assert node(Defect("lossy-backplane", "deg-1>deg-2", 5.0)).true_loss_db(*way) > good.true_loss_db(*way) + 4
    assert not node(Defect("non-persistent")).restores
    assert node(Defect("slow-protection", size=60.0)).restore_s == 60.0


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("where", ["in-99", "in-1>out-99", "moon", "deg-9", "deg-1>deg-1", "line-1@99", "in-0"])
def test_a_place_that_there_is_none_of_is_refused(kind: str, where: str) -> None:
    if kind in ("non-persistent", "slow-protection", "meter-out-of-calibration"):
        return
    for plant in (bench(4).plant, _node()):
        with pytest.raises(InstrumentError):
            inject(plant, "oxc", Defect(kind, where))


def _node() -> Plant:
    plant = Plant(VirtualClock(), 1)
    plant.add(Wss("oxc", 3, 1, 1))
    return plant


def test_a_defect_of_no_size_is_refused() -> None:
    with pytest.raises(InstrumentError, match="dB added"):
        inject(bench(4).plant, "oxc", Defect("lossy-path", "in-1", math.nan))
    with pytest.raises(InstrumentError, match="a kind of defect"):
        inject(bench(4).plant, "oxc", Defect("gremlins"))
