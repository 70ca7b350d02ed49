"""The fibre of a link on a fake reflectometer that writes real .SOR files and errs within its data sheet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from drivers.capability import MeterSpec, Safe
from drivers.clock import WALL
from drivers.errors import SorError
from drivers.port import Identity
from drivers.quantity import C_M_PER_S, DBm, Metre, Second, Watt
from drivers.simulated.sor import Found, write
from harness.archive.ledger import RESUMED
from harness.archive.optical import done, finished, readings
from harness.errors import BenchError
from harness.figure import Derived, Figure
from harness.figures import path
from harness.journal import Entry
from harness.methods import path as method
from harness.reading import Instrument, Record
from harness.rig import Rig, StoppedError, Tap, spec_of
from harness.verdict import FigureClaim, Verdict, decide_figure

SPEC = MeterSpec(0.1, 0.02, 0.03, 0.02, 2e-13, -75.0, "a fake meter's data sheet")
COVERED = 0.94
REEL_PS = 4_897_389
SETTINGS = path.Settings(
    wavelengths_pm=(1_550_000,), reel="reel-1", far="router:rx", reel_ps=REEL_PS, reel_half_ps=500, cord_half_ps=0
)


class FakeJournal:
    """Lines in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, kind: str, /, **data: Any) -> None:
        self.entries.append(Entry(len(self.entries), kind, 0, 0, data, ""))


class FakeFibre:
    """A fibre, a reflectometer on it, the hand that plugs, a laser and a meter: one heap of truth."""

    identity = Identity("fake", "OTDR", "SIM-FAKE-9", "0")
    unconfirmed: Sequence[str] = ("a fake",)
    channels = 4
    spec = SPEC
    range = (Metre(1200e-9), Metre(1700e-9))

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.km = float(rng.uniform(5, 90))
        self.index = 1.4682
        self.alpha = float(rng.uniform(0.18, 0.28))
        marks = np.sort(rng.uniform(0.05, 0.95, 4)) * self.km
        while np.min(np.diff(marks)) < 0.4:
            marks = np.sort(rng.uniform(0.05, 0.95, 4)) * self.km
        self.splices = [(float(marks[0]), float(rng.uniform(0, 0.2))), (float(marks[2]), float(rng.uniform(0, 0.2)))]
        self.connectors = [
            (float(marks[k]), float(rng.uniform(0.1, 0.5)), float(rng.uniform(-60, -40))) for k in (1, 3)
        ]
        self.mismatch = 0.05
        """What unequal backscatter adds seen from one side and takes seen from the other."""
        self.set_index = 1.4682
        self.timebase = float(rng.uniform(-50, 50)) * 1e-6
        self.zero_s = float(rng.uniform(-5, 5)) * 1e-9
        self.fit_db = 0.05
        self.on_end = "a"
        self.reel_in = False
        self.other_fibre = False
        self.broken = b""
        self.on = False
        self.cord = ""
        self.plug_db = 0.0
        self.launch_dbm = 2.0
        self.far = ""
        self.channel_db = {k: float(rng.uniform(-0.03, 0.03)) for k in range(1, 5)}
        self.said: list[tuple[str, str]] = []

    @property
    def flight_ps(self) -> float:
        return self.km * 1e3 * self.index / C_M_PER_S * 1e12

    @property
    def loss_db(self) -> float:
        return self.alpha * self.km + sum(each[1] for each in self.splices + self.connectors)

    def safe_state(self) -> Safe:
        self.on = False
        return Safe(True, "fake")

    def close(self) -> None:
        """Nothing."""

    # the hand
    def patch(self, source: str, target: str) -> None:
        self.said.append((source, target))
        if source == "otdr:out":
            self.on_end = target[-1]
        elif target == "reel-1:a":
            self.reel_in = True
        elif source == "line-1:b":
            self.reel_in = False
            self.far = target
        elif source == "launch-1":
            self.cord, self.plug_db = target, float(self.rng.normal(0, 0.02))

    def clean(self, place: str) -> str:
        return f"{place} clean"

    def power_cycle(self, what: str, off: Second) -> None:
        raise AssertionError(what, off)

    def swap_card(self, what: str, card: str) -> None:
        raise AssertionError(what, card)

    def cut(self, place: str, on: bool) -> None:
        raise AssertionError(place, on)

    # the reflectometer
    def trace(self, wavelength: Metre, span: Metre, pulse: Second, averaging: Second) -> bytes:
        if self.broken:
            return self.broken
        rng, flip = self.rng, self.on_end == "b"
        marks = [(km, loss, None) for km, loss in self.splices] + list(self.connectors)
        found = []
        ratio = self.set_index / self.index
        for km, loss, level in sorted((self.km - m[0], *m[1:]) if flip else m for m in marks):
            sided = loss + (-self.mismatch if flip else self.mismatch) + rng.uniform(-self.fit_db, self.fit_db)
            slope = self.alpha * ratio + rng.uniform(-0.01, 0.01)
            seen = None if level is None else level + rng.uniform(-2, 2)
            found.append(Found(self._time(km, pulse), slope, sided, seen))
        end = self._time(self.km, pulse)
        if self.reel_in and not self.other_fibre:
            end += REEL_PS * 1e-12 * (1 + self.timebase)
        found.append(Found(end, self.alpha * ratio + rng.uniform(-0.01, 0.01), 0.0, -14.8, end=True))
        return write(
            found,
            np.linspace(0, -20, 64),
            self.identity,
            wavelength_m=wavelength,
            spacing_s=1e-9,
            pulse_s=pulse,
            averaging_s=averaging,
            group_index=self.set_index,
            utc_s=1_800_000_000,
            total_db=self.loss_db * (1 + rng.uniform(-0.04, 0.04)),
        )

    def _time(self, km: float, pulse: Second) -> float:
        flight = km * 1e3 * self.index / C_M_PER_S
        return flight * (1 + self.timebase) + self.zero_s + float(self.rng.uniform(-1, 1)) * pulse / 4

    # laser and meter
    def set_wavelength(self, wavelength: Metre, channels: Collection[int] = ()) -> None:
        """Nothing."""

    def wavelength(self) -> Metre:
        return Metre(1550e-9)

    def set_power(self, power: DBm) -> None:
        """Nothing."""

    def set_output(self, on: bool) -> None:
        self.on = on

    def output(self) -> bool:
        return self.on

    def set_averaging(self, seconds: Second, channels: Collection[int] = ()) -> None:
        """Nothing."""

    def read(self, channel: int) -> Watt | None:
        there = self.cord == f"meter-1:{channel}"
        through = self.cord == "line-1:a" and self.far == f"meter-1:{channel}"
        if not self.on or not (there or through):
            return None
        level = self.launch_dbm - self.plug_db - (self.loss_db if through else 0.0) + self.channel_db[channel]
        seen = Watt(10 ** (level / 10) / 1000 + self.rng.normal(0, 1e-13))
        return seen if seen > 10 ** (SPEC.floor_dbm / 10) / 1000 else None

    def read_all(self) -> Mapping[int, Watt | None]:
        return {k: self.read(k) for k in range(1, 5)}


@dataclass
class Bench:
    """A rig of fakes."""

    fibre: FakeFibre
    rig: Rig
    journal: FakeJournal
    kept: dict[str, bytes] = field(default_factory=dict)

    @property
    def record(self) -> Record:
        batches, _ = readings(self.journal.entries)
        meters = {"meter-1": Instrument("meter-1", "fake", "fake", "SIM", spec=spec_of(SPEC), spec_origin=SPEC.origin)}
        return Record(tuple(batches), meters, self.kept, finished(self.journal.entries))


def bench(rng: np.random.Generator, *, otdr: bool = True, meter: bool = False) -> Bench:
    fibre = FakeFibre(rng)
    journal = FakeJournal()
    kept: dict[str, bytes] = {}
    tap = Tap("meter-1", cast(Any, fibre), 1)
    rig = Rig(
        dut="otdr",
        kind="link",
        clock=WALL,
        journal=cast(Any, journal),
        keep=lambda name, octets: kept.update({name: octets}),
        devices=cast(Any, {"otdr": fibre, "hand": fibre, "laser": fibre, "meter-1": fibre}),
        receive={1: Tap("meter-1", cast(Any, fibre), 2)} if meter else {},
        launches=(1,) if meter else (),
        together=True,
        reference=tap if meter else None,
        roles={"hand": "hand"} | ({"otdr": "otdr"} if otdr else {}) | ({"source": "laser"} if meter else {}),
        link="a-b",
    )
    return Bench(fibre, rig, journal, kept)


def measured(made: Bench, settings: path.Settings = SETTINGS) -> Derived:
    method.run(made.rig, settings)
    return path.derive(made.record, settings)


def covered(found: Figure, truth: float) -> bool:
    assert found.value is not None
    assert found.side == ""
    return abs(found.value - truth) <= found.budget.expanded


def verdict(figure: Figure, limit: int) -> Verdict:
    claim = FigureClaim(limit, "max", figure.value, figure.budget.expanded, figure.side, bool(figure.doubts))
    return decide_figure("oxc-g1/1", claim)[0]


def test_figures_cover_the_truth() -> None:
    """Over random fibres and reflectometers that err within their data sheets."""
    rng = np.random.default_rng(71)
    names = ("flight", "connector", "splice", "attenuation", "reflectance", "otdr-loss", "identity")
    hits: dict[str, list[bool]] = {name: [] for name in names}
    for _ in range(1_000):
        made = bench(rng)
        fibre = made.fibre
        found = measured(made)
        assert found.findings == ()
        assert not [doubt for doubt in found.doubts if doubt.red]
        hits["flight"].append(covered(found.figures["flight"][0], fibre.flight_ps))
        hits["identity"].append(covered(found.figures["identity"][0], 0))
        hits["otdr-loss"].append(covered(found.figures["otdr-loss"][0], 1e6 * fibre.loss_db))
        for name, marks in (
            ("connector", fibre.connectors),
            ("splice", fibre.splices),
            ("reflectance", fibre.connectors),
        ):
            assert len(found.figures[name]) == len(marks)
            for figure in found.figures[name]:
                at_km = int(dict(figure.key)["at_ns"]) / 4897.389
                near: tuple[float, ...] = min(cast(Any, marks), key=lambda m: abs(m[0] - at_km))
                hits[name].append(covered(figure, 1e6 * near[2 if name == "reflectance" else 1]))
        hits["attenuation"] += [covered(f, 1e6 * fibre.alpha) for f in found.figures["attenuation"]]
    # a reflectance is the worse of two readings, each within its half-width
    assert {name: round(float(np.mean(each)), 3) for name, each in hits.items() if np.mean(each) < COVERED} == {}


def test_the_floor_never_lies_above_the_light() -> None:
    rng = np.random.default_rng(72)
    above = 0
    for _ in range(300):
        made = bench(rng)
        settings = SETTINGS.model_copy(update={"reel": "", "both": bool(rng.integers(2))})
        method.run(made.rig, settings)
        found = path.route(made.record, settings)
        assert found is not None
        assert -5_000 < found.flight - (path.flight(made.record, settings) or _nothing())[0].value <= 0  # type: ignore[operator]
        above += found.flight - 2 * found.u_ps > made.fibre.flight_ps
        for told in ("OTDR time base", "end-point resolution by pulse width", "SIM-FAKE-9", "SHA-256"):
            assert told in found.origin
    assert above <= 300 * 0.0228 + 10


def _nothing() -> Any:
    raise AssertionError("no flight")


def test_a_time_base_at_the_edge_of_its_data_sheet_is_covered_with_short_pulses() -> None:
    rng = np.random.default_rng(70)
    settings = SETTINGS.model_copy(update={"reel": "", "pulse_ns": 10})
    for sign in (-1, 1):
        made = bench(rng)
        made.fibre.km, made.fibre.timebase = 100.0, sign * 50e-6
        made.fibre.splices, made.fibre.connectors, made.fibre.zero_s = [], [], 0.0
        (figure,) = measured(made, settings).figures["flight"]
        assert covered(figure, made.fibre.flight_ps)
        assert figure.budget.expanded < 40_000


def test_another_fibre_is_named_and_gives_no_floor() -> None:
    made = bench(np.random.default_rng(73))
    made.fibre.other_fibre = True
    found = measured(made)
    assert [f.id for f in found.findings] == ["another-fibre"]
    assert verdict(found.figures["identity"][0], 100_000) is Verdict.FAIL
    assert path.route(made.record, SETTINGS) is None
    assert path.delay(made.record, SETTINGS, "a-b") is None


def test_this_fibre_passes_and_the_reel_comes_out_again() -> None:
    made = bench(np.random.default_rng(74))
    found = measured(made)
    assert verdict(found.figures["identity"][0], 300_000) is Verdict.PASS
    assert [said for said in made.fibre.said if said[0] == "line-1:b"] == [
        ("line-1:b", "reel-1:a"),
        ("line-1:b", "router:rx"),
    ]


def test_a_wrong_index_is_named_and_moves_no_time() -> None:
    made = bench(np.random.default_rng(75))
    made.fibre.set_index = 1.5
    found = measured(made)
    assert [f.id for f in found.findings] == ["wrong-index"]
    assert covered(found.figures["flight"][0], made.fibre.flight_ps)
    assert all(covered(f, 1e6 * made.fibre.alpha) for f in found.figures["attenuation"])
    route = path.route(made.record, SETTINGS)
    assert route is not None
    assert abs(route.flight - made.fibre.flight_ps) < 3 * route.u_ps + 5_000


def test_both_ends_of_two_fibres_are_a_red_doubt() -> None:
    made = bench(np.random.default_rng(76))
    settings = SETTINGS.model_copy(update={"reel": ""})
    patch = made.fibre.patch

    def wrong(source: str, target: str) -> None:
        patch(source, target)
        if target == "line-1:b":
            made.fibre.km += 1.0

    made.rig.hand.patch = wrong  # type: ignore[method-assign]
    found = measured(made, settings)
    assert [d.id for d in found.doubts if d.red] == ["directions-differ"]
    assert verdict(found.figures["flight"][0], 10**12) is Verdict.INVALID
    assert path.route(made.record, settings) is None


def test_good_joints_pass_bad_ones_fail_by_name() -> None:
    rng = np.random.default_rng(77)
    for _ in range(50):
        made = bench(rng)
        km = made.fibre.connectors[0][0]
        made.fibre.connectors = [(km, 1.5, -45.0), (made.fibre.connectors[1][0], 0.2, -45.0)]
        found = measured(made)
        bad, good = found.figures["connector"]
        assert verdict(bad, 500_000) is Verdict.FAIL
        assert verdict(good, 500_000) is Verdict.PASS
        assert [f.id for f in found.findings] == ["bad-connector"]
        assert all(verdict(f, -35_000_000) is Verdict.PASS for f in found.figures["reflectance"])


def test_one_side_alone_states_what_it_cannot_see() -> None:
    made = bench(np.random.default_rng(78))
    found = measured(made, SETTINGS.model_copy(update={"both": False, "reel": ""}))
    for name in ("connector", "splice"):
        for figure in found.figures[name]:
            assert "backscatter seen from one side" in [c.name_en for c in figure.budget.components]


def test_loss_by_source_and_meter_covers_the_truth() -> None:
    rng = np.random.default_rng(79)
    settings = SETTINGS.model_copy(update={"reel": ""})
    hits = []
    for _ in range(1_000):
        made = bench(rng, otdr=False, meter=True)
        (figure,) = measured(made, settings).figures["loss"]
        hits.append(covered(figure, 1e6 * made.fibre.loss_db))
        assert not made.fibre.on
    assert np.mean(hits) >= COVERED


def test_a_fibre_without_light_gives_a_bound() -> None:
    made = bench(np.random.default_rng(80), otdr=False, meter=True)
    made.fibre.alpha = 3.0
    made.fibre.km = 60.0
    (figure,) = measured(made, SETTINGS.model_copy(update={"reel": ""})).figures["loss"]
    assert figure.side == "at-least"
    assert verdict(figure, 28_000_000) is Verdict.FAIL


def test_a_trace_without_an_end_is_a_bound_and_no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    made = bench(np.random.default_rng(81))
    monkeypatch.setattr(Found, "code", property(lambda self: "0O9999" if self.end else "1F9999"))
    settings = SETTINGS.model_copy(update={"reel": ""})
    found = measured(made, settings)
    assert found.figures["flight"][0].side == "at-least"
    assert path.route(made.record, settings) is None


def test_a_damaged_file_is_kept_and_stops_the_measurement() -> None:
    made = bench(np.random.default_rng(82))
    made.fibre.broken = b"Map\0 nothing"
    with pytest.raises(SorError):
        method.run(made.rig, SETTINGS)
    assert list(made.kept.values()) == [b"Map\0 nothing"]
    assert path.derive(made.record, SETTINGS).figures["flight"] == ()


def test_rows_say_what_the_file_says_and_the_file_is_kept() -> None:
    made = bench(np.random.default_rng(83))
    method.run(made.rig, SETTINGS)
    for trace in path.traces(made.record):
        head, events = method.parsed(made.kept[trace.name])
        assert (trace.pm, trace.pulse_ns, trace.index_ppm) == head[:3]
        assert [e[-1] for e in events] == [e.at_ps for e in trace.events]
        assert trace.sound in {True, None}


def test_a_run_cut_short_goes_on_where_it_was() -> None:
    made = bench(np.random.default_rng(84))
    asked = iter(["", "", "enough"])
    made.rig.stopped = lambda: next(asked, "enough")
    with pytest.raises(StoppedError):
        method.run(made.rig, SETTINGS)
    made.journal.append(RESUMED)
    made.rig.parts_done = done(made.journal.entries)
    made.rig.stopped = lambda: ""
    method.run(made.rig, SETTINGS)
    taken = [(t.stage, t.direction) for t in path.traces(made.record)]
    assert taken == [
        ("link", "forward"),
        ("link", "backward"),
        ("before", "forward"),
        ("reel", "forward"),
        ("after", "forward"),
    ]


def test_a_bench_that_can_do_nothing_says_so() -> None:
    made = bench(np.random.default_rng(85), otdr=False)
    with pytest.raises(BenchError, match="reflectometer"):
        method.run(made.rig, SETTINGS)


def test_a_reel_needs_its_time_of_flight() -> None:
    with pytest.raises(ValueError, match="reel_ps"):
        path.Settings(reel="reel-1")


def test_a_far_end_of_no_name_is_left_open_again() -> None:
    made = bench(np.random.default_rng(87))
    method.run(made.rig, SETTINGS.model_copy(update={"far": ""}))
    assert made.fibre.said[-2] == ("line-1:b", "line-1:open")


def test_time_reckoned_grows_with_what_is_done() -> None:
    made = bench(np.random.default_rng(86))
    alone = method.seconds(made.rig, SETTINGS.model_copy(update={"both": False, "reel": ""}))
    assert 0 < alone < method.seconds(made.rig, SETTINGS)
