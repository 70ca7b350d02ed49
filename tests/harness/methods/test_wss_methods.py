"""Acceptance of a WSS-based cross-connect on fake hardware whose truth is known and drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.capability import Channel, MeterSpec, Safe, Spectrum
from drivers.errors import NoReadingError
from drivers.port import Identity
from drivers.quantity import C_M_PER_S, DBm, Metre, Second, Watt
from harness.archive.ledger import RESUMED
from harness.archive.optical import done, finished, readings
from harness.errors import BenchError
from harness.figure import Derived, Figure
from harness.figures import wss_card, wss_loss, wss_osnr, wss_passband, wss_restoration
from harness.figures.slot import Slot, Way, exchanged, kind_of
from harness.journal import Entry
from harness.methods import slot
from harness.methods import wss_card as card_method
from harness.methods import wss_loss as loss_method
from harness.methods import wss_osnr as osnr_method
from harness.methods import wss_passband as passband_method
from harness.methods import wss_restoration as restoration_method
from harness.reading import Batch, Instrument, Record
from harness.rig import Rig, StoppedError, Tap, spec_of
from harness.verdict import FigureClaim, Verdict, decide_figure

SPEC = MeterSpec(0.15, 0.02, 0.03, 0.02, 2e-13, -75.0, "a fake meter's data sheet")
SLOT = Slot(centre_mhz=193_100_000, width_mhz=75_000)
WAY = Way(ingress="deg-1", egress="deg-2")
COVERED = 0.94


class FakeClock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.ns = 0
        self.due: list[tuple[int, Callable[[], None]]] = []

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class FakeJournal:
    """Lines in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, kind: str, /, **data: Any) -> None:
        self.entries.append(Entry(len(self.entries), kind, 0, 0, data, ""))


@dataclass
class Passband:
    """A super-Gaussian: true -3 dB width and centre against the slot's."""

    width: float = 70_000.0
    offset: float = 0.0
    order: int = 4
    ripple: float = 0.0

    def loss(self, off: Any) -> Any:
        """dB at so many MHz off the slot's nominal centre."""
        at = np.abs(2 * (off - self.offset) / self.width)
        wave = self.ripple / 2 * (1 - np.cos(2 * np.pi * (off - self.offset) / 20_000))
        return 10 * np.log10(2) * np.minimum(at, 10) ** (2 * self.order) + wave


class FakeNode:
    """A cross-connect between slices, its laser, meters, analyser and hand: one heap of truth."""

    identity = Identity("fake", "NODE", "SIM-FAKE-1", "0")
    unconfirmed: Sequence[str] = ("a fake",)

    def __init__(self, rng: np.random.Generator, degrees: int = 2, adds: int = 0, drops: int = 0) -> None:
        self.rng = rng
        self.clock = FakeClock()
        self.ports = [
            f"{kind}-{k + 1}" for kind, n in (("deg", degrees), ("add", adds), ("drop", drops)) for k in range(n)
        ]
        self.loss_db: dict[tuple[str, str], float] = {}
        self.pdl_db = 0.6
        self.axis: dict[tuple[str, str], Any] = {}
        self.extinction_db = 42.0
        self.band = Passband()
        self.dead: set[str] = set()
        self.made: list[Channel] = []
        self.undone: set[Channel] = set()
        self.ignores = 0
        """So many commands are taken and not done."""
        self.state = np.array([1.0, 0, 0])
        self.launch_dbm = 3.0 + rng.uniform(-0.5, 0.5)
        self.drift_db = 0.0
        self.plug_sigma = 0.02
        self.plugged: dict[str, tuple[str, float]] = {}
        self.cords: dict[str, str] = {}
        self.channel_db = {k: float(rng.uniform(-0.03, 0.03)) for k in range(1, 12)}
        self.linear_db = float(rng.uniform(-0.02, 0.02))
        self.noise_w = 1e-13
        self.on = False
        self.pm = 1_550_000.0
        self.laser_mhz = 0.0
        self.jitter_mhz = 0.0
        self.node_noise = 0.0
        self.input_noise = 1e-5
        self.osa_linear_db = 0.0
        self.osa_band_db = 0.0
        self.scatter = 0.0
        self.osa_dark_mw = 1e-9
        self.swaps: dict[str, Callable[[], None]] = {}
        self.log_plan: Callable[[], list[float]] = list
        self.said: list[tuple[str, ...]] = []

    # a device
    def safe_state(self) -> Safe:
        return Safe(True, "fake")

    def close(self) -> None:
        """Nothing."""

    # the cross-connect
    def add(self, channel: Channel) -> None:
        if self.ignores > 0:
            self.ignores -= 1
            self.undone.add(channel)
        self.made.append(channel)

    def remove(self, channel: Channel) -> None:
        self.made.remove(channel)
        self.undone.discard(channel)

    def present(self) -> Collection[Channel]:
        return tuple(self.made)

    # the hand
    def patch(self, source: str, target: str) -> None:
        self.said.append(("patch", source, target))
        plug = float(self.rng.normal(0, self.plug_sigma))
        if source.startswith("launch-"):
            self.plugged[source] = (target, plug)
        elif not target.startswith("oxc:"):
            self.cords = {t: s for t, s in self.cords.items() if s != source} | {target: source}
        else:
            self.cords["joined"] = f"{source}={target}"
            # it takes the place of a launch cord
            self.plugged = {cord: at for cord, at in self.plugged.items() if at[0] != target}

    def clean(self, place: str) -> str:
        return f"{place} clean"

    def power_cycle(self, what: str, off: Second) -> None:
        raise AssertionError(what, off)

    def swap_card(self, what: str, card: str) -> None:
        self.said.append(("swap", what, card))
        self.swaps[card]()

    def cut(self, place: str, on: bool) -> None:
        self.said.append(("cut", place, str(on)))

    # the light
    def way_db(self, ingress: str, egress: str) -> float:
        """True loss, polarisations averaged, of one way."""
        return self.loss_db.setdefault((ingress, egress), float(self.rng.uniform(11, 14)))

    def turned_db(self, ingress: str, egress: str) -> float:
        axis = self.axis.setdefault((ingress, egress), _unit(self.rng))
        return self.pdl_db / 2 * float(axis @ self.state)

    def at_port(self, egress: str) -> float:
        """W that leave a port."""
        total = 0.0
        off = C_M_PER_S / self.pm * 1e6 + self.laser_mhz - SLOT.centre_mhz
        for place, plug in self.plugged.values():
            ingress = place.partition(":")[2]
            if place.partition(":")[0] != "oxc" or {ingress, egress} & self.dead:
                continue
            passes = [c for c in self.made if c.ingress == ingress and c.egress == egress]
            joined = self.cords.get("joined", "")
            through = 1
            if not passes and joined:
                first, second = (end.partition(":")[2] for end in joined.split("="))
                a = [c for c in self.made if (c.ingress, c.egress) == (ingress, first)]
                b = [c for c in self.made if (c.ingress, c.egress) == (second, egress)]
                passes, through = (a + b, 2) if a and b else ([], 1)
            shut = 0.0 if passes and not self.undone.intersection(passes) else self.extinction_db
            level = (
                self.launch_dbm + self.drift_db - plug - self.way_db(ingress, egress) - self.turned_db(ingress, egress)
            )
            level -= shut + through * float(self.band.loss(np.array(off)))
            total += 10 ** (level / 10) / 1000
        return total

    def at_tap(self, label: str) -> float:
        if not self.on:
            return 0.0
        if label == "meter-9:9":
            return 10 ** ((self.launch_dbm + self.drift_db - 20) / 10) / 1000
        for place, plug in self.plugged.values():
            if place == label:
                return 10 ** ((self.launch_dbm + self.drift_db - plug) / 10) / 1000
        source = self.cords.get(label, "")
        return self.at_port(source.partition(":")[2]) if source else 0.0


def _unit(rng: np.random.Generator) -> Any:
    found = rng.normal(size=3)
    return found / np.linalg.norm(found)


class FakeMeter:
    """Eight channels that err within their data sheet."""

    identity = Identity("fake", "METER", "SIM-FAKE-2", "0")
    unconfirmed: Sequence[str] = ()
    channels = 9
    spec = SPEC

    def __init__(self, name: str, node: FakeNode) -> None:
        self.name, self.node = name, node
        self.started = 0

    def safe_state(self) -> Safe:
        return Safe(True, "a meter")

    def close(self) -> None:
        """Nothing."""

    def set_wavelength(self, wavelength: Metre, channels: Collection[int] = ()) -> None:
        """Nothing."""

    def set_averaging(self, seconds: Second, channels: Collection[int] = ()) -> None:
        """Nothing."""

    def read(self, channel: int) -> Watt | None:
        node = self.node
        power = node.at_tap(f"{self.name}:{channel}")
        if power <= 0:
            return None
        level = 10 * np.log10(power * 1000) + 40
        error = node.channel_db[channel] + node.linear_db * np.clip(level / 50, -1, 1)
        seen = power * 10 ** (error / 10) + node.rng.normal(0, node.noise_w)
        return Watt(seen) if seen > 10 ** (SPEC.floor_dbm / 10) / 1000 else None

    def read_all(self) -> Mapping[int, Watt | None]:
        return {k: self.read(k) for k in range(1, self.channels + 1)}

    def start_log(self, channels: Collection[int], samples: int, period: Second) -> None:
        self.started = samples

    def log(self, channel: int) -> Sequence[float]:
        return self.node.log_plan()


class FakeLaser:
    """It says a frequency that is off by an error within its data sheet."""

    identity = Identity("fake", "LASER", "SIM-FAKE-3", "0")
    unconfirmed: Sequence[str] = ()
    range = (Metre(1500e-9), Metre(1600e-9))

    def __init__(self, node: FakeNode) -> None:
        self.node = node

    def safe_state(self) -> Safe:
        self.node.on = False
        return Safe(True, "off")

    def close(self) -> None:
        """Nothing."""

    def set_wavelength(self, wavelength: Metre) -> None:
        self.node.pm = wavelength * 1e12

    def wavelength(self) -> Metre:
        said = C_M_PER_S / self.node.pm * 1e6 + self.node.rng.uniform(-1, 1) * self.node.jitter_mhz
        return Metre(C_M_PER_S / (said * 1e6))

    def set_power(self, power: DBm) -> None:
        """Nothing."""

    def set_output(self, on: bool) -> None:
        self.node.on = on

    def output(self) -> bool:
        return self.node.on


class FakePolariser:
    """Turns to the six ends of three axes."""

    identity = Identity("fake", "POLARISER", "SIM-FAKE-4", "0")
    unconfirmed: Sequence[str] = ()

    def __init__(self, node: FakeNode) -> None:
        self.node = node

    def safe_state(self) -> Safe:
        return Safe(True, "passive")

    def close(self) -> None:
        """Nothing."""

    def set_state(self, index: int, of: int) -> None:
        self.node.state = np.eye(3)[index % 3] * (1 if index < 3 else -1)


class FakeAnalyser:
    """A carrier of one point on noise that scatters."""

    identity = Identity("fake", "OSA", "SIM-FAKE-5", "0")
    unconfirmed: Sequence[str] = ()

    def __init__(self, node: FakeNode) -> None:
        self.node = node

    def safe_state(self) -> Safe:
        return Safe(True, "an analyser")

    def close(self) -> None:
        """Nothing."""

    def sweep(self, centre: Metre, span: Metre, resolution: Metre) -> Spectrum:
        node = self.node
        points = np.linspace(centre - span / 2, centre + span / 2, 101)
        off = C_M_PER_S / points / 1e6 - SLOT.centre_mhz
        behind = node.cords.get("osa:in", "")
        there = bool(behind) or any(place == "osa:in" for place, _ in node.plugged.values())
        noise = np.full(101, node.osa_dark_mw)
        power = noise.copy()
        if node.on and there:
            ratio = node.input_noise + (node.node_noise if behind else 0.0)
            # per 0.1 nm, seen in the resolution
            noise = noise + ratio * (resolution / 1e-10) * 10 ** (-node.band.loss(off) / 10)
            power = noise.copy()
        power = power * np.exp(node.rng.normal(0, node.scatter, 101))
        if node.on and there:
            power[50] += 1.0
        seen = 10 * np.log10(power) + np.where(np.arange(101) == 50, 0, node.osa_linear_db + node.osa_band_db)
        return Spectrum(tuple(points), tuple(seen), resolution)


@dataclass
class Bench:
    """A rig of fakes."""

    node: FakeNode
    rig: Rig
    journal: FakeJournal
    kept: dict[str, bytes] = field(default_factory=dict)

    @property
    def record(self) -> Record:
        batches, _ = readings(self.journal.entries)
        meters = {
            name: Instrument(name, "fake", "fake", "SIM", spec=spec_of(SPEC), spec_origin=SPEC.origin)
            for name in ("meter-1", "meter-9")
        }
        return Record(tuple(batches), meters, self.kept, finished=finished(self.journal.entries))


def bench(
    rng: np.random.Generator, *, cords: int = 2, polariser: bool = False, watched: bool = True, **ports: int
) -> Bench:
    node = FakeNode(rng, **ports)
    meters = {name: FakeMeter(name, node) for name in ("meter-1", "meter-9")}
    devices: dict[str, Any] = {"oxc": node, "laser": FakeLaser(node), "hand": node, "osa": FakeAnalyser(node), **meters}
    roles = {"dut": "oxc", "source": "laser", "hand": "hand", "analyser": "osa"}
    if polariser:
        devices["polariser"] = FakePolariser(node)
        roles["polariser"] = "polariser"
    node.state = _unit(rng)
    journal = FakeJournal()
    kept: dict[str, bytes] = {}
    taps = [p for p in node.ports if not p.startswith("add-")]
    rig = Rig(
        dut="oxc",
        kind="wss",
        clock=node.clock,
        journal=cast(Any, journal),
        keep=lambda name, octets: kept.update({name: octets}),
        devices=devices,
        receive={k: Tap("meter-1", meters["meter-1"], k) for k in range(1, len(taps) + 1)},
        launches=tuple(range(1, cords + 1)),
        together=True,
        reference=Tap("meter-9", meters["meter-9"], 1),
        source_monitor=Tap("meter-9", meters["meter-9"], 9) if watched else None,
        roles=roles,
    )
    for k, port in enumerate([p for p in node.ports if not p.startswith("drop-")][:cords], 1):
        node.patch(f"launch-{k}", f"oxc:{port}")
    for k, port in enumerate(taps, 1):
        node.patch(f"oxc:{port}", f"meter-1:{k}")
    return Bench(node, rig, journal, kept)


def take_reference(made: Bench) -> None:
    """Three plugs of every cord at the reference channel, as the procedure "reference" records them, then home."""
    rig, node = made.rig, made.node
    assert rig.reference is not None
    rows = []
    for cord in rig.launches:
        home = node.plugged[f"launch-{cord}"][0]
        for plug in range(3):
            node.patch(f"launch-{cord}", rig.reference.label)
            rig.light(SLOT.pm)
            value, source = slot.read(rig, rig.reference)
            rows.append((cord, plug, SLOT.pm, rig.reference.label, value, source))
        node.patch(f"launch-{cord}", home)
    rig.record("reference", "power", "udBm", ("in", "plug", "pm", "tap", "value", "source"), rows, [rig.reference])


def covered(found: Figure, truth: float) -> bool:
    """Whether the truth lies within U of the value."""
    assert found.value is not None
    assert found.side == ""
    return abs(found.value - truth) <= found.budget.expanded


def verdict(figure: Figure, limit: int, sense: Any = "max") -> Verdict:
    claim = FigureClaim(limit, sense, figure.value, figure.budget.expanded, figure.side, bool(figure.doubts))
    return decide_figure("oxc-g1/1", claim)[0]


# -- loss ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("polariser", [False, True])
def test_loss_covers_the_truth(polariser: bool) -> None:
    """Over random nodes with random errors of meter, plugs and polarisation."""
    rng = np.random.default_rng(11)
    hits: list[bool] = []
    dark: list[bool] = []
    even: list[bool] = []
    while len(hits) < 1_000:
        made = bench(rng, cords=6, polariser=polariser, degrees=3, adds=3, drops=2)
        take_reference(made)
        made.node.drift_db = float(rng.uniform(-0.04, 0.04))
        settings = wss_loss.Settings(slots=(SLOT,), pdl_udb=600_000)
        loss_method.run(made.rig, settings)
        found = wss_loss.derive(made.record, settings)
        figures = [f for kind in ("express", "add", "drop") for f in found.figures[kind]]
        assert len(figures) == 6 + 9 + 6
        for figure in figures:
            key = dict(figure.key)
            hits.append(covered(figure, 1e6 * made.node.way_db(str(key["ingress"]), str(key["egress"]))))
        for figure in found.figures["uniformity"]:
            kind = dict(figure.key)["kind"]
            ways = [(str(dict(f.key)["ingress"]), str(dict(f.key)["egress"])) for f in figures]
            true = [1e6 * made.node.way_db(*way) for way in ways if kind_of(*way) == kind]
            even.append(covered(figure, max(true) - min(true)))
        truth = 1e6 * made.node.extinction_db
        dark += [
            f.side == "at-least" and (f.value or 0) - f.budget.expanded <= truth for f in found.figures["extinction"]
        ]
    assert np.mean(hits) >= COVERED
    assert np.mean(even) >= COVERED
    assert np.mean(dark) >= COVERED


def test_good_ways_pass_and_lossy_ones_fail_at_two_u() -> None:
    rng = np.random.default_rng(12)
    settings = wss_loss.Settings(slots=(SLOT,), ways=(WAY, Way(ingress="deg-2", egress="deg-1")), pdl_udb=600_000)
    for _ in range(40):
        made = bench(rng)
        take_reference(made)
        made.node.loss_db = {("deg-1", "deg-2"): 13.0, ("deg-2", "deg-1"): 19.0}
        loss_method.run(made.rig, settings)
        found = wss_loss.derive(made.record, settings)
        good, bad = found.figures["express"]
        assert 13_000_000 + 2 * good.budget.expanded < 16_000_000
        assert verdict(good, 16_000_000) is Verdict.PASS
        assert verdict(bad, 16_000_000) is Verdict.FAIL


def test_plugging_that_spreads_is_counted() -> None:
    """Connectors that nobody cleaned: their spread, and not what the data sheets say, makes the uncertainty."""
    rng = np.random.default_rng(9)
    settings = wss_loss.Settings(slots=(SLOT,), ways=(WAY,), pdl_udb=0)
    hits: list[bool] = []
    for _ in range(150):
        made = bench(rng)
        made.node.plug_sigma, made.node.pdl_db = 0.3, 0.0
        take_reference(made)
        loss_method.run(made.rig, settings)
        hits.append(
            covered(
                wss_loss.derive(made.record, settings).figures["express"][0], 1e6 * made.node.way_db("deg-1", "deg-2")
            )
        )
    assert np.mean(hits) >= COVERED


def test_extinction_of_one_lit_port_covers_the_truth() -> None:
    rng = np.random.default_rng(10)
    hits: list[bool] = []
    while len(hits) < 1_000:
        made = bench(rng, cords=1, degrees=3, drops=3)
        made.node.extinction_db = float(rng.uniform(30, 50))
        settings = wss_loss.Settings(slots=(SLOT,), pdl_udb=600_000, polarisations=4)
        loss_method.run(made.rig, settings)
        found = wss_loss.derive(made.record, settings)
        hits += [covered(f, 1e6 * made.node.extinction_db) for f in found.figures["extinction"]]
        assert all(
            verdict(f, 35_000_000, "min") is (Verdict.PASS if made.node.extinction_db > 35 else Verdict.FAIL)
            for f in found.figures["extinction"]
            if abs(made.node.extinction_db - 35) * 1e6 > 2 * f.budget.expanded
        )
    assert np.mean(hits) >= COVERED


def test_a_dead_card_is_named_and_a_lossy_one_too() -> None:
    rng = np.random.default_rng(13)
    made = bench(rng, cords=6, degrees=4, adds=2, drops=2)
    take_reference(made)
    made.node.dead = {"deg-3"}
    for a in made.node.ports:
        for b in made.node.ports:
            made.node.loss_db[a, b] = 12.0 + (3.0 if "drop-2" in {a, b} else 0.0)
    settings = wss_loss.Settings(slots=(SLOT,), tries=2)
    loss_method.run(made.rig, settings)
    found = wss_loss.derive(made.record, settings)
    named = {(f.id, f.where) for f in found.findings}
    assert {("dead-card", "ingress deg-3"), ("dead-card", "egress deg-3"), ("lossy-port", "egress drop-2")} == named
    steps = [e.data for e in made.journal.entries if e.data.get("action") == "not-confirmed"]
    assert len(steps) == settings.tries * 10
    dark = [f for f in found.figures["express"] if "deg-3" in f.label]
    assert len(dark) == 6
    assert all(verdict(f, 16_000_000) is Verdict.FAIL for f in dark)


def test_a_person_who_forgot_is_asked_again() -> None:
    """Light is what confirms: the first try stays dark, the second counts."""
    rng = np.random.default_rng(14)
    made = bench(rng)
    take_reference(made)
    settings = wss_loss.Settings(slots=(SLOT,), ways=(WAY,))
    made.node.ignores = 1
    loss_method.run(made.rig, settings)
    (figure,) = wss_loss.derive(made.record, settings).figures["express"]
    assert figure.side == ""
    assert abs((figure.value or 0) - 1e6 * made.node.way_db("deg-1", "deg-2")) < figure.budget.expanded
    assert [e.data["action"] for e in made.journal.entries if "action" in e.data].count("not-confirmed") == 1


def test_a_channel_that_is_not_listed_is_a_red_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(15)
    made = bench(rng)
    take_reference(made)
    settings = wss_loss.Settings(slots=(SLOT,), ways=(WAY,))
    monkeypatch.setattr(made.node, "present", tuple)
    loss_method.run(made.rig, settings)
    found = wss_loss.derive(made.record, settings)
    (figure,) = found.figures["express"]
    assert [d.id for d in found.doubts if d.red] == ["not-connected"]
    assert verdict(figure, 16_000_000) is Verdict.INVALID


def test_without_a_reference_at_that_wavelength_there_is_no_loss() -> None:
    made = bench(np.random.default_rng(16))
    settings = wss_loss.Settings(slots=(SLOT,), ways=(WAY,))
    loss_method.run(made.rig, settings)
    (figure,) = wss_loss.derive(made.record, settings).figures["express"]
    assert figure.value is None
    assert str(SLOT.pm) in figure.why


def test_the_backplane_alone_is_read_between_test_cards() -> None:
    rng = np.random.default_rng(17)
    made = bench(rng)
    take_reference(made)
    made.node.loss_db["slot-1", "slot-4"] = 1.4
    made.node.extinction_db = 0.0
    settings = wss_loss.Settings(
        slots=(SLOT,),
        ways=(WAY,),
        backplane=(Way(ingress="slot-1", egress="slot-4"),),
        test_cards_udb=600_000,
        test_cards_half_udb=50_000,
    )
    loss_method.run(made.rig, settings)
    (figure,) = wss_loss.derive(made.record, settings).figures["backplane"]
    assert abs((figure.value or 0) - 800_000) < 350_000 + figure.budget.expanded  # one state of polarisation, PDL 0.6
    assert made.node.plugged["launch-1"][0] == "oxc:deg-1"


def test_a_run_cut_short_goes_on_where_it_was() -> None:
    rng = np.random.default_rng(18)
    made = bench(rng, cords=3, degrees=3)
    take_reference(made)
    settings = wss_loss.Settings(slots=(SLOT,))
    asked = iter(["", "", "", "enough"])
    made.rig.stopped = lambda: next(asked, "enough")
    with pytest.raises(StoppedError):
        loss_method.run(made.rig, settings)
    made.journal.append(RESUMED)
    made.rig.parts_done = done(made.journal.entries)
    made.rig.stopped = lambda: ""
    loss_method.run(made.rig, settings)
    figures = wss_loss.derive(made.record, settings).figures["express"]
    assert len({f.label for f in figures}) == len(figures) == 6


def test_readings_of_a_part_that_was_cut_off_do_not_count() -> None:
    made = bench(np.random.default_rng(19))
    take_reference(made)
    settings = wss_loss.Settings(slots=(SLOT,), ways=(WAY,))
    loss_method.run(made.rig, settings)
    whole = made.journal.entries
    last = max(i for i, e in enumerate(whole) if e.kind == "optical.part")
    made.journal.entries = [e for i, e in enumerate(whole) if i != last]
    made.journal.append(RESUMED)
    assert wss_loss.derive(made.record, settings).figures["express"] == ()


def test_without_launch_cords_it_says_so() -> None:
    made = bench(np.random.default_rng(20))
    made.rig.launches = ()
    with pytest.raises(BenchError, match="launch cords"):
        loss_method.run(made.rig, wss_loss.Settings())


def test_a_port_without_a_cord_gets_one_by_hand() -> None:
    made = bench(np.random.default_rng(21), cords=1, degrees=3)
    cords = slot.Cords(made.rig, (), ())
    assert cords.launch("deg-1") == 1
    assert cords.launch("deg-3") == 1
    assert made.node.plugged["launch-1"][0] == "oxc:deg-3"
    cords.home()
    assert made.node.plugged["launch-1"][0] == "oxc:deg-1"


# -- passband ------------------------------------------------------------------------------------------------------


def true_band(node: FakeNode, down: float, passes: int = 1) -> tuple[float, float]:
    """(lower edge, upper edge) where a passband without ripple is so much below its best, MHz off the slot's centre."""
    band = node.band
    assert band.ripple == 0
    half = band.width / 2 * (down / passes / (10 * np.log10(2))) ** (1 / (2 * band.order))
    return band.offset - half, band.offset + half


def test_passbands_cover_the_truth() -> None:
    rng = np.random.default_rng(31)
    settings = wss_passband.Settings(slots=(SLOT,), ways=(WAY,), step_pm=24, beyond_ppm=200_000)
    hits: dict[str, list[bool]] = {name: [] for name in ("width-half-db", "width-1-db", "width-3-db", "centre-error")}
    for _ in range(1_000):
        made = bench(rng)
        node = made.node
        node.pdl_db = 0.0
        node.band = Passband(rng.uniform(62_000, 73_000), rng.uniform(-3_000, 3_000), int(rng.integers(2, 6)))
        node.laser_mhz, node.jitter_mhz = float(rng.uniform(-190, 190)), 60.0
        passband_method.run(made.rig, settings)
        found = wss_passband.derive(made.record, settings)
        for name, down in (("half-db", 0.5), ("1-db", 1.0), ("3-db", 3.0)):
            low, high = true_band(node, down)
            hits[f"width-{name}"].append(covered(found.figures[f"width-{name}"][0], high - low))
        hits["centre-error"].append(covered(found.figures["centre-error"][0], abs(low + high) / 2))
    assert {name: np.mean(each) >= COVERED for name, each in hits.items()} == dict.fromkeys(hits, True)


def test_a_laser_at_the_edge_of_its_data_sheet_is_covered_at_fine_steps() -> None:
    rng = np.random.default_rng(30)
    settings = wss_passband.Settings(slots=(SLOT,), ways=(WAY,), step_pm=2, beyond_ppm=100_000)
    for sign in (-1, 1):
        made = bench(rng)
        made.node.band, made.node.laser_mhz = Passband(66_000, -sign * 1_000.0, 5), sign * 190.0
        passband_method.run(made.rig, settings)
        (figure,) = wss_passband.derive(made.record, settings).figures["centre-error"]
        assert covered(figure, 1_000)
        assert figure.budget.expanded < 400


def passband(node_band: Passband, seed: int, *, watched: bool = True) -> Derived:
    made = bench(np.random.default_rng(seed), watched=watched)
    made.node.band = node_band
    settings = wss_passband.Settings(slots=(SLOT,), ways=(WAY,))
    passband_method.run(made.rig, settings)
    return wss_passband.derive(made.record, settings)


def test_a_good_passband_passes_and_narrow_or_shifted_ones_fail_by_name() -> None:
    for seed in range(20):
        good = passband(Passband(70_000, 200, 5), seed)
        assert verdict(good.figures["width-3-db"][0], 60_000, "min") is Verdict.PASS
        assert verdict(good.figures["centre-error"][0], 1_500) is Verdict.PASS
        assert verdict(good.figures["ripple"][0], 1_000_000) is Verdict.PASS
        assert good.findings == ()
        narrow = passband(Passband(45_000, 0, 4), seed)
        assert verdict(narrow.figures["width-3-db"][0], 60_000, "min") is Verdict.FAIL
        assert [f.id for f in narrow.findings] == ["narrow-passband"]
        shifted = passband(Passband(70_000, -5_000, 5), seed)
        assert verdict(shifted.figures["centre-error"][0], 1_500) is Verdict.FAIL
        assert [f.id for f in shifted.findings] == ["shifted-passband"]
        wavy = passband(Passband(70_000, 0, 5, ripple=2.5), seed)
        assert verdict(wavy.figures["ripple"][0], 1_000_000) is Verdict.FAIL


def test_ripple_covers_the_truth() -> None:
    rng = np.random.default_rng(32)
    off = np.linspace(-18_750, 18_750, 7_501)
    hits = []
    for seed in range(120):
        band = Passband(70_000, rng.uniform(-500, 500), 5, ripple=float(rng.uniform(0.05, 0.8)))
        (figure,) = passband(band, seed).figures["ripple"]
        truth = band.loss(off)
        hits.append(covered(figure, 1e6 * (truth.max() - truth.min())))
    assert np.mean(hits) >= COVERED


def test_two_passes_are_narrower_and_joined_by_hand() -> None:
    made = bench(np.random.default_rng(33), cords=4, degrees=4)
    made.node.band = Passband(70_000, 0, 4)
    second = Way(ingress="deg-3", egress="deg-4")
    cascade = wss_passband.Cascade(first=WAY, second=second)
    settings = wss_passband.Settings(slots=(SLOT,), ways=(WAY,), cascades=(cascade,))
    passband_method.run(made.rig, settings)
    found = wss_passband.derive(made.record, settings)
    low, high = true_band(made.node, 3.0, passes=2)
    (twice,) = found.figures["cascade-3-db"]
    assert covered(twice, high - low)
    assert ("patch", "oxc:deg-2", "oxc:deg-3") in made.node.said
    assert made.node.said[-2:] == [("patch", "launch-3", "oxc:deg-3"), ("patch", "oxc:deg-2", "meter-1:2")]


def test_a_dark_slot_is_named() -> None:
    made = bench(np.random.default_rng(34))
    made.node.dead = {"deg-2"}
    settings = wss_passband.Settings(slots=(SLOT,), ways=(WAY,))
    passband_method.run(made.rig, settings)
    found = wss_passband.derive(made.record, settings)
    assert [f.id for f in found.findings] == ["dark-slot"]
    assert all(f.value is None for name in ("width-3-db", "centre-error", "ripple") for f in found.figures[name])


def test_an_analyser_sees_the_same_passband() -> None:
    made = bench(np.random.default_rng(35))
    made.node.band = Passband(68_000, 800, 4)
    made.node.input_noise = 1.0
    made.node.scatter = 0.002

    def broad(centre: Metre, span: Metre, resolution: Metre) -> Spectrum:
        points = np.linspace(centre - span / 2, centre + span / 2, 301)
        off = C_M_PER_S / points / 1e6 - SLOT.centre_mhz
        behind = bool(made.node.cords.get("osa:in", ""))
        level = -20 - (12 + made.node.band.loss(off) if behind else 0 * off)
        return Spectrum(tuple(points), tuple(level), resolution)

    made.rig.analyser.sweep = broad  # type: ignore[method-assign]
    settings = wss_passband.Settings(slots=(SLOT,), ways=(WAY,), by="analyser")
    passband_method.run(made.rig, settings)
    found = wss_passband.derive(made.record, settings)
    low, high = true_band(made.node, 3.0)
    assert covered(found.figures["width-3-db"][0], high - low)
    assert covered(found.figures["centre-error"][0], abs(low + high) / 2)


def test_wavelength_and_frequency_turn_into_each_other() -> None:
    assert exchanged(193_100_000) == 1_552_524
    assert abs(exchanged(exchanged(193_100_000)) - 193_100_000) <= 63


# -- OSNR ----------------------------------------------------------------------------------------------------------


def osnr(rng: np.random.Generator, node_udb: float | None, input_udb: float = 50e6) -> Derived:
    made = bench(rng)
    node = made.node
    node.pdl_db, node.scatter = 0.0, 0.05
    node.input_noise = 10 ** (-input_udb / 1e7)
    node.node_noise = 0.0 if node_udb is None else 10 ** (-node_udb / 1e7)
    node.osa_linear_db, node.osa_band_db = float(rng.uniform(-0.1, 0.1)), float(rng.uniform(-0.2, 0.2))
    settings = wss_osnr.Settings(slots=(SLOT,), ways=(WAY,))
    osnr_method.run(made.rig, settings)
    return wss_osnr.derive(made.record, settings)


def test_osnr_and_penalty_cover_the_truth() -> None:
    rng = np.random.default_rng(41)
    hits: dict[str, list[bool]] = {"osnr": [], "node-osnr": [], "penalty": []}
    for _ in range(1_000):
        node, before = float(rng.uniform(25e6, 38e6)), float(rng.uniform(45e6, 55e6))
        found = osnr(rng, node, before)
        inverse = 10 ** (-node / 1e7)
        truth = {
            "osnr": -1e7 * np.log10(inverse + 10 ** (-before / 1e7)),
            "node-osnr": node,
            "penalty": 1e7 * np.log10(1 + 100 * inverse),
        }
        for name, each in hits.items():
            each.append(covered(found.figures[name][0], truth[name]))
    assert {name: np.mean(each) >= COVERED for name, each in hits.items()} == dict.fromkeys(hits, True)


def test_a_node_without_noise_gives_a_bound_that_passes() -> None:
    rng = np.random.default_rng(42)
    for _ in range(20):
        (figure,) = osnr(rng, None).figures["penalty"]
        assert figure.side == "at-most"
        assert verdict(figure, 1_000_000) is Verdict.PASS


def test_a_noisy_node_fails() -> None:
    rng = np.random.default_rng(43)
    for _ in range(20):
        assert verdict(osnr(rng, 20e6).figures["penalty"][0], 1_000_000) is Verdict.FAIL
        assert verdict(osnr(rng, 32e6).figures["penalty"][0], 1_000_000) is Verdict.PASS


def test_the_analysers_own_floor_is_no_noise_of_the_node() -> None:
    made = bench(np.random.default_rng(44))
    made.node.input_noise, made.node.osa_dark_mw = 1e-12, 1e-6
    settings = wss_osnr.Settings(slots=(SLOT,), ways=(WAY,))
    osnr_method.run(made.rig, settings)
    found = wss_osnr.derive(made.record, settings)
    assert found.figures["osnr"][0].side == "at-least"
    assert found.figures["penalty"][0].side == "at-most"
    assert "not confirmed" in found.notes[0]


# -- cards ---------------------------------------------------------------------------------------------------------

CARD = wss_card.Settings(cards=("card-1",), slots=(SLOT,), ways=(WAY, Way(ingress="deg-2", egress="deg-1")))


def swapped(rng: np.random.Generator, spare: Callable[[FakeNode], None], *, watched: bool = True) -> Bench:
    made = bench(rng, watched=watched)
    for a, b in (("deg-1", "deg-2"), ("deg-2", "deg-1")):
        made.node.way_db(a, b)
    made.node.swaps["card-1"] = lambda: spare(made.node)
    card_method.run(made.rig, CARD)
    return made


@pytest.mark.parametrize("watched", [True, False])
def test_the_change_of_a_swap_covers_the_truth(watched: bool) -> None:
    rng = np.random.default_rng(51)
    hits = []
    for _ in range(500):
        moved = float(rng.uniform(-1, 1))

        def spare(node: FakeNode, moved: float = moved) -> None:
            for at in node.loss_db:
                node.loss_db[at] += moved
            if watched:
                node.drift_db += 0.3
            else:
                node.drift_db += float(rng.uniform(-0.03, 0.03))

        made = swapped(rng, spare, watched=watched)
        hits += [covered(f, abs(moved) * 1e6) for f in wss_card.derive(made.record, CARD).figures["change"]]
    assert np.mean(hits) >= COVERED
    assert len(hits) == 1_000


def test_a_dead_spare_is_named_and_fails() -> None:
    made = swapped(np.random.default_rng(52), lambda node: node.dead.add("deg-1"))
    found = wss_card.derive(made.record, CARD)
    assert [(f.id, f.where) for f in found.findings] == [("dead-card", "card-1")]
    assert found.figures["missing"][0].value == 2
    assert verdict(found.figures["missing"][0], 0) is Verdict.FAIL
    assert all(verdict(f, 1_000_000) is Verdict.FAIL for f in found.figures["change"])


def test_a_spare_that_forgets_its_channels_gets_them_again() -> None:
    made = swapped(np.random.default_rng(53), lambda node: node.made.clear())
    found = wss_card.derive(made.record, CARD)
    assert found.figures["missing"][0].value == 0
    assert found.findings == ()
    assert verdict(found.figures["missing"][0], 0) is Verdict.PASS


# -- restoration ---------------------------------------------------------------------------------------------------


def cut(rng: np.random.Generator, gone_s: float, settings: wss_restoration.Settings, *, back: bool = True) -> Derived:
    made = bench(rng)
    period = settings.period_us / 1e6
    start = settings.lead_ms / 1000 + float(rng.uniform(0, 0.2))
    clock = 1 + float(rng.uniform(-1e-4, 1e-4))

    def plan() -> list[float]:
        at = (np.arange(settings.samples) + rng.uniform()) * period * clock
        power = np.full(settings.samples, 1e-5)
        power[(at >= start) & (at < start + gone_s)] = 0.0
        if not back:
            power[at >= start] = 0.0
        after = at >= start + gone_s
        if back:
            power[after] = 2e-5
        return [float(p) for p in power]

    made.node.log_plan = plan
    restoration_method.run(made.rig, settings)
    assert made.node.said.count(("cut", "line-1", "True")) == made.node.said.count(("cut", "line-1", "False"))
    return wss_restoration.derive(made.record, settings)


def test_restoration_covers_the_truth() -> None:
    rng = np.random.default_rng(61)
    settings = wss_restoration.Settings(slot=SLOT, way=WAY, samples=1_200, period_us=4_000, lead_ms=200, repeats=1)
    hits = []
    for _ in range(1_000):
        gone = float(rng.uniform(0.1, 4))
        (figure,) = cut(rng, gone, settings).figures["restoration"]
        hits.append(covered(figure, gone * 1e9))
    assert np.mean(hits) >= COVERED


def test_what_does_not_come_back_fails_and_is_named() -> None:
    rng = np.random.default_rng(62)
    settings = wss_restoration.Settings(slot=SLOT, way=WAY, samples=15_000, repeats=2)
    found = cut(rng, 1, settings, back=False)
    assert [f.id for f in found.findings] == ["not-restored", "not-restored"]
    assert all(verdict(f, 10_000_000_000) is Verdict.FAIL for f in found.figures["restoration"])
    good = cut(rng, 2, settings)
    assert all(verdict(f, 10_000_000_000) is Verdict.PASS for f in good.figures["restoration"])


def test_a_cut_elsewhere_is_no_restoration_of_zero_seconds() -> None:
    settings = wss_restoration.Settings(slot=SLOT, way=WAY, samples=3_000, repeats=1)
    (figure,) = cut(np.random.default_rng(63), 0.0, settings).figures["restoration"]
    assert figure.value is None
    assert "never gone" in figure.why


def test_bouncing_light_is_back_only_when_it_stays() -> None:
    level = [0] * 10 + [None] * 5 + [-500_000] * 2 + [None] * 3 + [-2_000_000] * 10
    settings = wss_restoration.Settings()
    assert wss_restoration.outage(level, 8, settings) == (10, "", "")


@given(st.lists(st.none() | st.integers(-60_000_000, 10_000_000), min_size=1, max_size=60), st.integers(1, 60))
def test_any_record_has_an_outage_or_a_reason(values: list[int | None], lead: int) -> None:
    count, side, why = wss_restoration.outage(values, lead, wss_restoration.Settings())
    assert (count is None) == bool(why)
    assert count is None or 0 < count <= len(values)
    assert side in {"", "at-least"}


# -- stray light ---------------------------------------------------------------------------------------------------


def test_stray_light_of_other_ports_never_passes_for_the_channel() -> None:
    """A dead ingress: what the other ports leak is flat over the sweep, and does not change over a swap."""
    rng = np.random.default_rng(71)
    made = bench(rng)
    made.node.dead = {"deg-1"}
    band = wss_passband.Settings(slots=(SLOT,), ways=(WAY,))
    passband_method.run(made.rig, band)
    found = wss_passband.derive(made.record, band)
    assert [d.id for d in found.doubts if d.red] == ["not-confirmed"]
    for name in ("width-half-db", "width-1-db", "width-3-db", "centre-error", "ripple"):
        assert [verdict(f, 0, "min") for f in found.figures[name]] == [Verdict.INVALID]
    card = CARD.model_copy(update={"ways": (WAY,)})
    made.node.swaps["card-1"] = lambda: None
    card_method.run(made.rig, card)
    assert [verdict(f, 10**9) for f in wss_card.derive(made.record, card).figures["change"]] == [Verdict.INVALID]
    noise = wss_osnr.Settings(slots=(SLOT,), ways=(WAY,))
    osnr_method.run(made.rig, noise)
    assert [verdict(f, 10**9) for f in wss_osnr.derive(made.record, noise).figures["penalty"]] == [Verdict.INVALID]
    made.node.log_plan = lambda: [1e-9] * 100 + [0.0] * 100 + [1e-9] * 100
    cut = wss_restoration.Settings(slot=SLOT, way=WAY, samples=300, lead_ms=90, repeats=1)
    restoration_method.run(made.rig, cut)
    timed = wss_restoration.derive(made.record, cut).figures["restoration"]
    assert [verdict(f, 10**12) for f in timed] == [Verdict.INVALID]
    assert made.node.made == []


def test_channels_are_blocked_again_when_something_breaks() -> None:
    made = bench(np.random.default_rng(72))

    def broken(wavelength: Metre) -> None:
        if wavelength < 1552.3e-9:
            raise NoReadingError("a laser that tunes", "none", "look at it")

    made.rig.source.set_wavelength = broken  # type: ignore[method-assign]
    with pytest.raises(NoReadingError):
        passband_method.run(made.rig, wss_passband.Settings(slots=(SLOT,), ways=(WAY,)))
    assert made.node.made == []


# -- everything ----------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(193_000_000, 193_200_000), st.none() | st.integers(-70_000_000, 0)),
        min_size=1,
        max_size=40,
    )
)
def test_any_sweep_gives_widths_or_reasons(points: list[tuple[int, int | None]]) -> None:
    rows = tuple(
        ("deg-1", "deg-2", "", 193_100_000, 75_000, mhz, "osa", value, -75_000_000, None) for mhz, value in points
    )
    batch = Batch("wss-passband", "sweep", "udBm", passband_method.SWEEP, rows, 0)
    settings = wss_passband.Settings()
    found = wss_passband.derive(Record((batch,), {}), settings)
    for name in ("width-half-db", "width-1-db", "width-3-db", "centre-error", "ripple"):
        (figure,) = found.figures[name]
        assert (figure.value is None) == bool(figure.why)
        assert figure.value is None or figure.value >= 0
