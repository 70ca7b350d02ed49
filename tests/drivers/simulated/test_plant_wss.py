"""The cross-connect between slices of spectrum: losses, passbands, noise, cards, restoration."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.capability import Channel
from drivers.quantity import C_M_PER_S, Hertz
from drivers.simulated.coupler import Coupler
from drivers.simulated.laser import Laser
from drivers.simulated.plant import Plant, Plugs, Sink
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.wss import Wss, WssSpec

CENTRE = Hertz(193.1e12)
SLOT = Hertz(75e9)


def channel(ingress: str = "deg-1", egress: str = "deg-2", centre: float = CENTRE, width: float = SLOT) -> Channel:
    return Channel(ingress, egress, Hertz(centre), Hertz(width))


class Node:
    """A laser over every ingress of a node, a meter at every egress."""

    def __init__(self, spec: WssSpec | None = None, seed: int = 1) -> None:
        self.clock = VirtualClock()
        self.plant = Plant(self.clock, seed, Plugs(0.1, 0.0))
        self.laser = self.plant.add(Laser("laser", seed))
        self.laser.offset_pm = 0.0
        self.wss = self.plant.add(Wss("oxc", 4, 2, 2, seed, spec or WssSpec(repeat_db=0.0), plug_db=0.1))
        self.plant.add(Coupler("coupler", 6, seed, pdl_db=0.0))
        self.plant.add(Sink("meter", [str(k + 1) for k in range(6)]))
        self.plant.splice("laser:out", "coupler:in")
        for number, port in enumerate(self.wss.ingress, 1):
            self.plant.alias(f"launch-{number}", f"coupler:out-{number}")
            self.plant.patch(f"launch-{number}", f"oxc:{port}")
        for number, port in enumerate(self.wss.egress, 1):
            self.plant.patch(f"oxc:{port}", f"meter:{number}")
        self.laser.set_output(True)
        self.tune(CENTRE)

    def tune(self, hertz: float) -> None:
        self.laser.set_wavelength(C_M_PER_S / hertz)

    def loss(self, ingress: str, egress: str) -> float:
        """Averaged over polarisation, one connector included."""
        launched = self.plant.power(f"launch-{self.wss.ingress.index(ingress) + 1}")
        received = self.plant.power(f"oxc:{egress}")
        return 10 * math.log10(launched / received)


def test_losses_are_those_of_the_truth_but_for_the_light_of_one_polarisation() -> None:
    n = Node()
    for ingress, egress in (("deg-1", "deg-2"), ("add-1", "deg-3"), ("deg-4", "drop-2")):
        n.wss.pdl_db[ingress, egress] = 0.0
        n.wss.add(channel(ingress, egress))
        n.clock.sleep(10)
        low, _ = n.wss.true_passband(channel(ingress, egress), 0.01)
        n.tune(low)
        assert n.loss(ingress, egress) == pytest.approx(n.wss.true_loss_db(ingress, egress), abs=0.02)
    express, add = n.wss.true_loss_db("deg-1", "deg-2"), n.wss.true_loss_db("add-1", "deg-3")
    assert express > add + 4, "two switches against one"


def test_equalisation_brings_express_paths_together() -> None:
    wss = Wss("oxc", 4, 0, 0, 3, WssSpec(express_target_db=14.0, equalise_error_db=0.05))
    losses = [wss.true_loss_db(a, b) for a in wss.degrees for b in wss.degrees if a != b]
    assert max(losses) - min(losses) < 0.4
    assert np.mean(losses) == pytest.approx(14.0, abs=0.1)


def test_a_swept_passband_is_the_true_one() -> None:
    n = Node(WssSpec(ripple_db=0.0, repeat_db=0.0))
    n.wss.cards["card-1"].centre_error_hz = 1.5e9
    n.wss.add(channel())
    n.clock.sleep(10)
    offsets = np.linspace(-45e9, 45e9, 361)
    seen = []
    for offset in offsets:
        n.tune(CENTRE + offset)
        seen.append(n.loss("deg-1", "deg-2"))
    inside = offsets[np.array(seen) <= min(seen) + 3.0]
    centre, width = n.wss.true_passband(channel(), 3.0)
    assert inside[-1] - inside[0] == pytest.approx(width, abs=0.6e9)
    assert (inside[-1] + inside[0]) / 2 + CENTRE == pytest.approx(centre, abs=0.4e9)
    half = n.wss.true_passband(channel(), 0.5)[1]
    assert 39e9 < half < width < 75e9


def test_one_switch_has_the_passband_of_its_order() -> None:
    spec = WssSpec(ripple_db=0.0, edge_ghz=5.0, order=4, centre_error_ghz=0.0, width_error_ghz=0.0)
    wss = Wss("oxc", 4, 1, 1, 2, spec)
    add = channel("add-1", "deg-2")
    assert wss.true_passband(add, 3.0103)[1] == pytest.approx(70e9, abs=1e6)
    # exp(-ln 2 x^8) is 0.5 dB down where x^8 = 0.05 ln 10 / ln 2
    narrow = 70e9 * (0.05 * math.log(10) / math.log(2)) ** (1 / 8)
    assert wss.true_passband(add, 0.5)[1] == pytest.approx(narrow, abs=1e6)


def test_two_passes_are_narrower_than_one() -> None:
    wss = Wss("oxc", 4, 1, 1, 2)
    assert wss.true_passband(channel(), 3.0)[1] < wss.true_passband(channel("add-1", "deg-2"), 3.0)[1]


def test_a_blocked_slot_is_dark_and_other_slices_do_not_pass() -> None:
    n = Node(WssSpec(repeat_db=0.0, extinction_db=60.0))
    blocked = n.loss("deg-1", "deg-2")
    n.wss.add(channel())
    n.clock.sleep(10)
    assert blocked - n.loss("deg-1", "deg-2") > 45
    n.tune(CENTRE + 150e9)
    assert n.loss("deg-1", "deg-2") > 50


def test_a_slice_comes_when_the_truth_says() -> None:
    n = Node()
    start = n.clock.now_ns()
    n.wss.add(channel())
    n.clock.sleep(10)
    series = n.plant.power_series("oxc:deg-2", start, 1_000_000, 9000)
    outside = np.flatnonzero(np.abs(10 * np.log10(series / series[-1])) > 1.0)
    assert (outside[-1] + 1) * 1e-3 == pytest.approx(n.wss.true_switch_s(), abs=2e-3)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (channel("deg-1", "deg-1"), "no way"),
        (channel("add-1", "drop-1"), "no way"),
        (channel("deg-9", "deg-1"), "from deg-1"),
        (channel("drop-1", "deg-1"), "from deg-1"),
        (channel(width=5e9), "at least 12.5 GHz"),
        (channel("deg-3", "deg-2"), "overlaps deg-1 to deg-2"),
        (channel("deg-1", "deg-3", CENTRE + 50e9), "overlaps deg-1 to deg-2"),
    ],
)
def test_slices_that_cannot_be_are_refused(wanted: Channel, says: str) -> None:
    wss = Wss("oxc", 4, 2, 2)
    wss.add(channel())
    with pytest.raises(ValueError, match=says):
        wss.add(wanted)
    assert wss.present() == (channel(),)


def test_slices_side_by_side_live_together_and_go_alone() -> None:
    wss = Wss("oxc", 4, 2, 2)
    wss.add(channel())
    wss.add(channel(centre=CENTRE + SLOT))
    assert wss.add(channel()) == 0.0
    wss.remove(channel())
    assert wss.present() == (channel(centre=CENTRE + SLOT),)
    with pytest.raises(ValueError, match="no slice"):
        wss.remove(channel())


def test_a_booster_gives_gain_and_noise_of_its_figure() -> None:
    small = Node(WssSpec(booster_gain_db=1.0, noise_figure_db=0.0)).plant.light("oxc:deg-2")
    assert small.ase_w_hz[0] / (6.62607015e-34 * small.ase_hz[0] * (10**0.1 - 1)) == pytest.approx(1, rel=1e-6)
    n = Node(WssSpec(repeat_db=0.0, booster_gain_db=15.0, noise_figure_db=5.0))
    n.wss.pdl_db["deg-1", "deg-2"] = 0.0
    n.wss.add(channel())
    n.clock.sleep(10)
    light = n.plant.light("oxc:deg-2")
    signal = float(light.power_w.sum())
    density = float(np.interp(CENTRE, light.ase_hz, light.ase_w_hz))
    gain, noise = 10**1.5, 10**0.5
    assert density / (6.62607015e-34 * CENTRE * (gain * noise - 1)) == pytest.approx(1, rel=1e-3)
    loss = 10 * math.log10(n.plant.power("launch-1") / signal)
    assert loss == pytest.approx(n.wss.true_loss_db("deg-1", "deg-2"), abs=0.2)


def test_a_degree_has_one_name_for_both_directions() -> None:
    n = Node()
    assert n.plant.spoken(n.plant.peer("launch-1") or "") == "oxc:deg-1"
    assert n.plant.spoken(n.plant.peer("meter:1") or "") == "oxc:deg-1"
    n.plant.patch("oxc:deg-2", "oxc:deg-3")
    assert n.plant.spoken(n.plant.peer("oxc:deg-3") or "") in ("oxc:deg-2", "meter:3")


def test_ports_have_the_numbers_of_their_cords_too() -> None:
    n = Node()
    n.wss.fed, n.wss.seen = ("add-1", "deg-2"), ("drop-1", "deg-3")
    n.plant.patch("launch-1", "oxc:in-2")
    assert n.plant.peer("launch-1") == "oxc:rx-2"
    assert n.plant.place("oxc:in-2") == "oxc:rx-2"
    assert n.plant.place("oxc:out-2") == "oxc:tx-3"
    n.plant.patch("oxc:out-2", "meter:1")
    assert n.plant.peer("meter:1") == "oxc:tx-3"


def test_a_cascade_through_the_node_loses_twice() -> None:
    n = Node()
    n.wss.add(channel("deg-1", "deg-2"))
    n.wss.add(channel("deg-3", "deg-4"))
    n.clock.sleep(10)
    n.plant.patch("oxc:deg-2", "oxc:deg-3")
    twice = n.wss.true_loss_db("deg-1", "deg-2") + n.wss.true_loss_db("deg-3", "deg-4") + 0.0
    assert n.loss("deg-1", "deg-4") == pytest.approx(twice, abs=0.6)


def test_a_spare_card_has_losses_of_its_own_and_gets_back_what_it_carried() -> None:
    n = Node()
    n.wss.spares["card-1"].loss_db.update({port: loss + 3.0 for port, loss in n.wss.spares["card-1"].loss_db.items()})
    n.wss.add(channel())
    n.wss.add(channel("deg-3", "deg-4"))
    n.clock.sleep(10)
    before, other = n.loss("deg-1", "deg-2"), n.loss("deg-3", "deg-4")
    n.wss.pull("card-1")
    n.clock.sleep(2)
    assert n.wss.present() == (channel("deg-3", "deg-4"),)
    assert n.loss("deg-1", "deg-2") > before + 20
    n.wss.insert("card-1")
    n.clock.sleep(10)
    assert n.loss("deg-1", "deg-2") > before + 2
    assert n.loss("deg-3", "deg-4") == pytest.approx(other, abs=0.05)
    with pytest.raises(ValueError, match="card-1, card-2"):
        n.wss.pull("card-9")


def test_a_cut_line_is_restored_by_its_spare_and_comes_home_when_it_is_whole() -> None:
    n = Node()
    n.wss.restoration["deg-1"] = "deg-3"
    n.wss.restore_s = 2.0
    n.wss.add(channel())
    n.clock.sleep(10)
    start = n.clock.now_ns()
    n.plant.cut("oxc:deg-1", on=True)
    n.clock.sleep(20)
    assert n.wss.present() == (channel("deg-3", "deg-2"),)
    series = n.plant.power_series("oxc:deg-2", start, 1_000_000, 20_000)
    gone = np.flatnonzero(10 * np.log10(series / series[-1]) < -1.0)
    assert (gone[-1] + 1) * 1e-3 == pytest.approx(2.0 + n.wss.true_switch_s(), abs=5e-3)
    n.plant.cut("oxc:deg-1", on=False)
    assert n.wss.present() == (channel(),)


@pytest.mark.parametrize(("latching", "restores"), [(True, True), (False, True), (False, False)])
def test_power_cycles_of_a_node(latching: bool, restores: bool) -> None:
    n = Node(WssSpec(latching=latching, restores=restores, boot_s=60.0))
    n.wss.add(channel())
    n.clock.sleep(10)
    before = n.loss("deg-1", "deg-2")
    n.plant.feeds("oxc", on=False)
    n.clock.sleep(5)
    assert (n.loss("deg-1", "deg-2") < before + 1) is latching
    n.clock.sleep(n.plant.feeds("oxc", on=True) + 10)
    assert (n.loss("deg-1", "deg-2") < before + 1) is (latching or restores)
    assert bool(n.wss.present()) is (latching or restores)
