"""Acceptance of a fibre-matrix cross-connect on fake hardware whose truth is known and drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.capability import MeterSpec, Safe
from drivers.port import Identity
from drivers.quantity import DBm, Metre, Second, Watt
from harness.acceptance import judge
from harness.archive.ledger import RESUMED
from harness.archive.optical import done, finished, readings
from harness.errors import BenchError
from harness.figure import Derived, Figure
from harness.figures.catalogue import PROCEDURES
from harness.journal import Entry
from harness.methods.catalogue import METHODS
from harness.methods.lot import elsewhere, lots, rounds
from harness.profile import Profile, parse
from harness.reading import Instrument, Record
from harness.rig import Rig, StoppedError, Tap, spec_of
from harness.verdict import FigureClaim, Verdict, decide_figure

PROFILES = Path(__file__).parents[3] / "harness" / "profiles"
SPEC = MeterSpec(0.15, 0.02, 0.03, 0.01, 2e-13, -90.0, "a fake meter's data sheet")
DAY_NS = 86_400_000_000_000
START_NS = 20_000 * DAY_NS
COVERED = 0.94
REFLECTOR_DB = 14.6
BRIEF: dict[str, dict[str, Any]] = {
    "pdl": {"states": 24},
    "wavelength": {"step_pm": 5_000},
    "crosstalk": {"samples": 4},
    "return-loss": {"samples": 4},
    "switching": {"samples": 900},
    "hitless": {"samples": 1200, "hold_ms": 30},
    "persistence": {"samples": 300, "period_us": 1000, "lead_ms": 20, "off_ms": 100},
    "endurance": {"cycles": 32, "every": 2},
    "protection": {"samples": 900, "lead_ms": 10, "repeats": 2},
}
"""As in the profile, with fewer points where only their number costs time."""


class FakeClock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += max(0, round(seconds * 1e9))


class FakeJournal:
    """Lines in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, kind: str, **data: Any) -> None:
        self.entries.append(Entry(len(self.entries), kind, 0, 0, data, ""))


class FakePart:
    """What every fake instrument is."""

    unconfirmed: Sequence[str] = ("a fake",)

    def __init__(self, bench: FakeBench, name: str) -> None:
        self.bench = bench
        self.identity = Identity("fake", name, f"SIM-{name}", "0")

    def safe_state(self) -> Safe:
        return Safe(confirmed=True, said="fake")

    def close(self) -> None:
        """Nothing to end."""


class FakeMeter(FakePart):
    """Channels that see what the bench lets arrive."""

    def __init__(self, bench: FakeBench, name: str, channels: int) -> None:
        super().__init__(bench, name)
        self.name = name
        self.channels = channels
        self.spec = SPEC
        self.averaging_s = 0.1
        self.began: dict[int, tuple[int, int, float]] = {}

    def set_wavelength(self, wavelength: Metre, channels: Collection[int] = ()) -> None:
        """It is right at every one."""

    def set_averaging(self, seconds: Second, channels: Collection[int] = ()) -> None:
        self.averaging_s = seconds

    def read(self, channel: int) -> Watt | None:
        self.bench.passing(0.0002 + self.averaging_s)
        return self._seen(channel)

    def read_all(self) -> Mapping[int, Watt | None]:
        self.bench.passing(0.0002 + self.averaging_s)
        return {channel: self._seen(channel) for channel in range(1, self.channels + 1)}

    def _seen(self, channel: int) -> Watt | None:
        sigma = SPEC.noise_w * (0.1 / self.averaging_s) ** 0.5
        power = self.bench.shown(self.name, channel) + self.bench.rng.normal(0, sigma)
        return Watt(power) if power > 10 ** (SPEC.floor_dbm / 10 - 3) else None

    def start_log(self, channels: Collection[int], samples: int, period: Second) -> None:
        before = self.bench.clock.ns
        self.bench.passing(self.bench.rng.uniform(0.0, 0.001))
        at = self.bench.clock.ns
        self.bench.passing(self.bench.rng.uniform(0.0, 0.001))
        assert before <= at
        self.began = dict.fromkeys(channels, (at, samples, period))

    def log(self, channel: int) -> Sequence[float]:
        at, samples, period = self.began[channel]
        self.bench.clock.ns = max(self.bench.clock.ns, at + round(samples * period * 1e9))
        # the mean over a step, by ten instants in it
        times = at + (np.arange(samples * 10) + 0.5) * period * 1e8
        seen = self.bench.over(self.name, channel, times).reshape(samples, 10).mean(axis=1)
        noise: Any = self.bench.rng.normal(0, 1e-9, samples)
        return [float(each) for each in seen + noise]


class FakeLaser(FakePart):
    """On, at a wavelength; its power drifts."""

    range = (Metre(1480e-9), Metre(1640e-9))

    def set_wavelength(self, wavelength: Metre) -> None:
        self.bench.passing(0.001)
        self.bench.pm = wavelength * 1e12

    def wavelength(self) -> Metre:
        return Metre(self.bench.pm * 1e-12)

    def set_power(self, power: DBm) -> None:
        """It has one."""

    def set_output(self, on: bool) -> None:
        self.bench.on = on

    def output(self) -> bool:
        return self.bench.on


class FakePolariser(FakePart):
    """States of a spiral."""

    def set_state(self, index: int, of: int) -> None:
        assert 0 <= index < of
        z = 1 - 2 * (index + 0.5) / of
        angle = np.pi * (1 + 5**0.5) * (index + 0.5)
        flat = (1 - z * z) ** 0.5
        self.bench.state = np.array([flat * np.cos(angle), flat * np.sin(angle), z])


class FakeCrossConnect(FakePart):
    """Each exchange takes 0.2 ms, each change is over when the bench says so."""

    @property
    def size(self) -> tuple[int, int]:
        return (self.bench.ports, self.bench.ports)

    def connections(self) -> Mapping[int, int]:
        self.bench.passing(0.0002)
        return dict(sorted(self.bench.listed.items()))

    def connect(self, pairs: Mapping[int, int]) -> None:
        self.bench.passing(self.bench.rng.uniform(0.0, 0.0004))
        self.bench.join(pairs)
        self.bench.passing(0.02)

    def disconnect(self, ingresses: Collection[int]) -> None:
        self.bench.passing(0.0002)
        self.bench.part(ingresses)
        self.bench.passing(0.01)

    def only(self, pairs: Mapping[int, int]) -> None:
        self.disconnect([i for i in self.bench.made if pairs.get(i) != self.bench.made[i].egress])
        self.connect(pairs)
        self.bench.passing(0.1)

    def clear(self) -> None:
        self.disconnect(list(self.bench.made))


class FakeHand(FakePart):
    """Plugs; every plugging has a loss of its own."""

    def patch(self, source: str, target: str) -> None:
        self.bench.passing(0.5)
        self.bench.plug(source, target)

    def clean(self, place: str) -> str:
        return f"{place}: clean"

    def power_cycle(self, what: str, off: Second) -> None:
        assert what == "oxc"
        bench = self.bench
        if bench.forgets:
            bench.part(list(bench.made))
        bench.passing(off)

    def swap_card(self, what: str, card: str) -> None:
        raise AssertionError(what + card)

    def cut(self, place: str, on: bool) -> None:
        bench = self.bench
        if on:
            i = int(place.rpartition("-")[2])
            bench.protected = (bench.made[i].egress, bench.clock.ns, bench.protect_s)
        else:
            bench.protected = None


class FakeTester(FakePart):
    """Tells how long a protected service was gone."""

    def start_disruption(self) -> None:
        """It watches all the time."""

    def longest_disruption(self) -> Second | None:
        return Second(self.bench.protect_s)


@dataclass
class Join:
    """One connection."""

    egress: int
    at_ns: int
    offset_db: float


@dataclass
class FakeBench:
    """The cross-connect and the bench around it: one heap of truth."""

    rng: np.random.Generator
    ports: int = 4
    together: bool = True
    watched: bool = True
    plug_sigma: float = 0.02
    clock: FakeClock = field(default_factory=FakeClock)
    journal: FakeJournal = field(default_factory=FakeJournal)
    traces: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rng, n = self.rng, self.ports
        shape = (n, n)
        self.pm, self.on, self.state = 1_550_000.0, False, np.array([1.0, 0.0, 0.0])
        self.cord_dbm = 0.0 + rng.normal(0, 0.2, n) if self.together else np.zeros(n)
        self.cord_axis = unit(rng, (n,)) * rng.uniform(0, 0.02, (n, 1))
        self.loss_db = rng.normal(1.1, 0.12, shape)
        """Between the connectors; one mated connector of 0.1 dB belongs to the loss besides."""
        self.pdl_db = rng.uniform(0.02, 0.2, shape)
        self.axis = unit(rng, shape)
        self.slope_db_nm = rng.normal(0, 0.002, shape)
        self.leak_db = rng.normal(-65, 2, shape)
        self.repeat_db = np.full(shape, 0.01)
        self.switch_s = rng.uniform(0.008, 0.02, shape)
        self.again_s = np.zeros(shape)
        self.disturb_db = rng.uniform(0.01, 0.1, n)
        self.return_db = rng.uniform(45, 55, n)
        self.dirt_db = {"in": np.zeros(n), "out": np.zeros(n)}
        self.drift_db_s = 0.0
        self.fade_db_cycle = np.zeros(n)
        self.forgets = False
        self.protect_s = 0.02
        self.protected: tuple[int, int, float] | None = None
        self.response = {c: rng.uniform(0, 0.005) * unit(rng, ()) for c in range(1, n + 20)}
        self.gain_db = {f"meter:{c}": rng.uniform(-0.01, 0.01) for c in range(1, n + 1)}
        self.gain_db |= {f"aux:{c}": rng.uniform(-0.01, 0.01) for c in range(1, 4)}
        self.made: dict[int, Join] = {}
        self.listed: dict[int, int] = {}
        self.moved: list[tuple[int, int, int]] = []
        self.history: list[tuple[int, int, int, bool, float]] = []
        self.cycles = 0
        self.plugged: dict[str, tuple[str, float]] = {}
        for k in range(1, n + 1):
            if self.together or k == 1:
                self.plug(f"launch-{k}", f"oxc:in-{k}")
            self.plug(f"oxc:out-{k}", f"meter:{k}")
        self.meter, self.aux = FakeMeter(self, "meter", n), FakeMeter(self, "aux", 3)
        parts: dict[str, Any] = {
            "meter": self.meter,
            "aux": self.aux,
            "laser": FakeLaser(self, "laser"),
            "polariser": FakePolariser(self, "polariser"),
            "oxc": FakeCrossConnect(self, "oxc"),
            "hand": FakeHand(self, "hand"),
        }
        self.devices = parts
        self.calibrated_until = ""

    # -- time and plugs

    def passing(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def plug(self, source: str, target: str) -> None:
        source = source if self.together or not source.startswith("launch") else "launch-1"
        for at in [place for place, (cord, _) in self.plugged.items() if cord == source]:
            del self.plugged[at]
        self.plugged[target] = (source, 0.1 + float(self.rng.normal(0, self.plug_sigma)))

    # -- the cross-connect

    def join(self, pairs: Mapping[int, int]) -> None:
        for i, o in pairs.items():
            if i in self.made and self.made[i].egress == o:
                continue
            self.part([i, *(k for k, join in self.made.items() if join.egress == o)])
            self.cycles += 1
            offset = float(self.rng.normal(0, self.repeat_db[i - 1, o - 1]))
            self.made[i] = Join(o, self.clock.ns, offset)
            self.listed[i] = o
            self.moved.append((self.clock.ns, i, o))

    def part(self, ingresses: Collection[int]) -> None:
        for i in ingresses:
            join = self.made.pop(i, None)
            self.listed.pop(i, None)
            if join is not None:
                self.history.append((join.at_ns, self.clock.ns, i, True, join.offset_db))
                self.moved.append((self.clock.ns, i, join.egress))

    # -- light

    def source_db(self, ns: Any) -> Any:
        return self.drift_db_s * np.asarray(ns) / 1e9

    def cord_w(self, cord: int) -> float:
        """What leaves a launch cord, W."""
        if not self.on:
            return 0.0
        power = self.cord_dbm[cord - 1] + float(self.source_db(self.clock.ns))
        return float(10 ** (power / 10 - 3) * (1 + self.cord_axis[cord - 1] @ self.state))

    def into(self, ingress: int) -> float:
        """What enters an ingress port, W."""
        source, plug = self.plugged.get(f"oxc:in-{ingress}", ("", 0.0))
        if not source.startswith("launch-"):
            return 0.0
        return self.cord_w(int(source[7:])) * float(10 ** (-(plug + self.dirt_db["in"][ingress - 1]) / 10))

    def through(self, i: int, o: int) -> float:
        """Transmission between the connectors."""
        at = i - 1, o - 1
        gamma = np.tanh(self.pdl_db[at] * np.log(10) / 20)
        loss = (
            self.loss_db[at] + self.slope_db_nm[at] * (self.pm / 1000 - 1550) + self.fade_db_cycle[i - 1] * self.cycles
        )
        return float(10 ** (-loss / 10) * (1 + gamma * float(self.axis[at] @ self.state)))

    def out(self, o: int) -> float:
        """What leaves an egress port, W, when everything is still."""
        joined = next((i for i, join in self.made.items() if join.egress == o), 0)
        found = 0.0
        if joined:
            offset = 10 ** (-self.made[joined].offset_db / 10)
            found += self.into(joined) * self.through(joined, o) * offset
        found += sum(
            self.into(i) * 10 ** (self.leak_db[i - 1, o - 1] / 10) for i in range(1, self.ports + 1) if i != joined
        )
        return float(found)

    def shown(self, meter: str, channel: int) -> float:
        """What a channel shows, W."""
        place = f"{meter}:{channel}"
        if meter == "aux" and channel == 3:
            light = 0.01 * 10 ** (float(self.source_db(self.clock.ns)) / 10 - 3) if self.on else 0.0
        elif meter == "aux" and channel == 2:
            light = self.back()
        else:
            source, plug = self.plugged.get(place, ("", 0.0))
            light = 0.0
            if source.startswith("launch-"):
                light = self.cord_w(int(source[7:]))
            elif source.startswith("oxc:out-"):
                o = int(source[8:])
                light = self.out(o) * 10 ** (-self.dirt_db["out"][o - 1] / 10)
            light *= float(10 ** (-plug / 10))
        number = channel + (self.ports if meter == "aux" else 0)
        gain = 10 ** (self.gain_db[place] / 10) * (1 + float(self.response[number] @ self.state) / 8.686)
        return float(light * gain)

    def back(self) -> float:
        """Light that comes back to the launch tap, W."""
        found = 1e-9
        for place, (source, plug) in self.plugged.items():
            if not source.startswith("launch-"):
                continue
            twice = 10 ** (-2 * plug / 10) * 10 ** (-1.2 if self.together else 0)
            level = self.cord_w(int(source[7:])) * twice
            if place == "reflector":
                found += level * 10 ** (-REFLECTOR_DB / 10)
            elif place.startswith("oxc:in-"):
                found += level * 10 ** (-self.return_db[int(place[7:]) - 1] / 10)
        return found

    def over(self, meter: str, channel: int, times: Any) -> Any:
        """What a channel shows at instants, W."""
        o = int(self.plugged[f"{meter}:{channel}"][0][8:])
        still = self.shown(meter, channel)
        i = next((i for i, join in self.made.items() if join.egress == o), 0)
        found: Any = np.full(times.shape, still)
        if not i:
            return self._before(meter, channel, times, o, found)
        made, span = self.made[i].at_ns, self.switch_s[i - 1, o - 1] * 1e9
        found = np.where(times < made + span, still * 1e-4, found)
        again = self.again_s[i - 1, o - 1] * 1e9
        if again:
            found = np.where((times > made + span + again / 2) & (times < made + span + again), still * 1e-2, found)
        for at, a, b in self.moved:
            if a != i and (abs(a - i) == 1 or abs(b - o) == 1):
                since = np.maximum(times - at, 0) / 2e6
                found = found * 10 ** (-self.disturb_db[a - 1] * since * np.exp(1 - since) / 10)
        if self.protected is not None and self.protected[0] == o:
            _, cut, gone = self.protected
            found = np.where((times >= cut) & (times < cut + gone * 1e9), still * 1e-6, found)
        return found

    def _before(self, meter: str, channel: int, times: Any, o: int, found: Any) -> Any:
        """An egress that had a connection at the record's beginning and has none now."""
        for made, broken, i, _, _ in self.history:
            join = Join(o, made, 0.0)
            self.made[i] = join
            lit = self.shown(meter, channel)
            del self.made[i]
            found = np.where((times >= made) & (times < broken), lit, found)
        return found

    # -- the rig

    def rig(self, **more: Any) -> Rig:
        n = self.ports
        return Rig(
            dut="oxc",
            kind="fibre-matrix",
            clock=self.clock,
            journal=self.journal,
            keep=self.traces.__setitem__,
            devices=self.devices,
            receive={k: Tap("meter", self.meter, k) for k in range(1, n + 1)},
            launches=tuple(range(1, n + 1)),
            together=self.together,
            reference=Tap("aux", self.aux, 1),
            monitor=Tap("aux", self.aux, 2),
            source_monitor=Tap("aux", self.aux, 3) if self.watched else None,
            roles={name: name for name in ("polariser", "hand")}
            | {"source": "laser", "dut": "oxc", "tester": "tester"},
            parts_done=done(self.journal.entries),
            utc_ns=lambda: START_NS + self.clock.ns,
            **more,
        )

    def record(self) -> Record:
        meters = {
            name: Instrument(
                name, "fake", "", "", self.calibrated_until, (), spec_of(SPEC), "a fake meter's data sheet"
            )
            for name in ("meter", "aux")
        }
        entries = self.journal.entries
        return Record(tuple(readings(entries)[0]), meters, dict(self.traces), finished(entries))


def unit(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Directions, every one as likely."""
    drawn = rng.normal(size=(*shape, 3))
    return drawn / np.linalg.norm(drawn, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def profile() -> Profile:
    """The shipped one."""
    return parse((PROFILES / "oxc-fibre-matrix.toml").read_text())


def settings(profile: Profile, name: str, **more: Any) -> Any:
    """The profile's, with fewer points."""
    return profile.settings_of(name).model_copy(update=BRIEF.get(name, {}) | more)


def measured(bench: FakeBench, profile: Profile, *names: str, **more: Any) -> dict[str, Derived]:
    """Procedures carried out one after the other, and what they come to."""
    rig = bench.rig()
    for name in names:
        METHODS[name].run(rig, settings(profile, name, **more))
        rig.done(name)
    return derived(bench, profile, *names, **more)


def derived(bench: FakeBench, profile: Profile, *names: str, **more: Any) -> dict[str, Derived]:
    """What the readings come to."""
    record = bench.record()
    return {name: PROCEDURES[name].derive(record, settings(profile, name, **more)) for name in names}


Truth = Callable[[FakeBench, dict[str, Any]], float]


def loss(bench: FakeBench, at: dict[str, Any]) -> float:
    """Mean over polarisation, one mated connector included."""
    i, o = at["in"] - 1, at["out"] - 1
    return 1e6 * float(bench.loss_db[i, o] + 0.1)


def span(bench: FakeBench, at: dict[str, Any]) -> float:
    return 1e6 * float(bench.loss_db.max() - bench.loss_db.min())


def crosstalk(bench: FakeBench, at: dict[str, Any]) -> float:
    i, o = at["in"] - 1, at["out"] - 1
    shares = 10 ** (bench.cord_dbm / 10)
    leaks = float(np.sum(shares * 10 ** (bench.leak_db[:, o] / 10)))
    return 1e7 * float(np.log10(leaks / (shares[i] * 10 ** (-bench.loss_db[i, o] / 10))))


def disturbed(bench: FakeBench, at: dict[str, Any]) -> float:
    return 1e6 * float(bench.disturb_db[at["in"] - 1])


TRUTHS: dict[tuple[str, str], tuple[Truth, int]] = {
    ("insertion-loss", "loss"): (loss, 64),
    ("insertion-loss", "uniformity"): (span, 1000),
    ("repeatability", "pooled"): (lambda b, _: 2e6 * b.repeat_db[0, 0], 1000),
    ("pdl", "pdl"): (lambda b, at: 1e6 * float(b.pdl_db[at["in"] - 1, at["out"] - 1]), 250),
    ("wavelength", "wdl"): (lambda b, at: 35e6 * abs(float(b.slope_db_nm[at["in"] - 1, at["out"] - 1])), 250),
    ("crosstalk", "crosstalk"): (crosstalk, 250),
    ("return-loss", "return-loss"): (lambda b, at: 1e6 * float(b.return_db[at["in"] - 1]), 250),
    ("switching", "time"): (lambda b, at: 1e9 * float(b.switch_s[at["in"] - 1, at["out"] - 1]), 250),
    ("hitless", "excursion"): (disturbed, 200),
    ("persistence", "change"): (lambda _b, _at: 0.0, 250),
    ("endurance", "drift"): (lambda _b, _at: 0.0, 250),
    ("protection", "outage"): (lambda b, _: 1e9 * b.protect_s, 500),
}
"""Figure → its truth; how many benches give a thousand of it."""


def claim(figure: Figure, limit: float, sense: Any) -> Verdict:
    """What the rule says of it."""
    found = FigureClaim(round(limit), sense, figure.value, figure.budget.expanded, figure.side, bool(figure.doubts))
    return decide_figure("oxc-g1/1", found)[0]


@pytest.mark.parametrize(("procedure", "name"), list(TRUTHS))
def test_figures_cover_the_truth_and_two_u_decide(profile: Profile, procedure: str, name: str) -> None:
    """Over a thousand figures of random benches value ± U covers the truth; 2 U inside passes, 2 U outside fails."""
    truth, benches = TRUTHS[procedure, name]
    rng = np.random.default_rng(sum(map(ord, procedure + name)))
    count = covered = passed = failed = 0
    for _ in range(benches):
        # where a bench gives one figure only, a small one does
        bench = FakeBench(rng, ports=2 if benches == 1000 else 4)
        bench.drift_db_s = float(rng.uniform(-2e-4, 2e-4))
        before = ("reference",) if procedure in {"insertion-loss", "return-loss"} else ()
        found = measured(bench, profile, *before, procedure)[procedure]
        assert not found.findings
        for figure in found.figures[name]:
            assert figure.value is not None, figure.why
            assert not figure.doubts
            true, u = truth(bench, dict(figure.key)), figure.budget.expanded
            count += 1
            covered += abs(figure.value - true) <= u
            passed += claim(figure, true + 2 * u + 1, "max") is Verdict.PASS
            failed += claim(figure, true - 2 * u - 1, "max") is Verdict.FAIL
    assert count >= 1000
    for got in (covered, passed, failed):
        assert got >= COVERED * count


def test_largest_deviation_is_that_of_the_connections_made(profile: Profile) -> None:
    """The figure of repeatability is the largest deviation from the mean over the re-connections of this very run."""
    rng = np.random.default_rng(77)
    count = covered = 0
    for _ in range(250):
        bench = FakeBench(rng)
        found = measured(bench, profile, "repeatability")["repeatability"]
        made: dict[int, list[float]] = {}
        # every other connection is the lot's own: the ones between are elsewhere
        pairs = {dict(f.key)["in"]: dict(f.key)["out"] for f in found.figures["repeatability"]}
        for figure in found.figures["repeatability"]:
            at = dict(figure.key)
            assert pairs[at["in"]] == at["out"]
            offsets = [b for _, _, i, _, b in bench.history if i == at["in"]] + [bench.made[int(at["in"])].offset_db]
            made[int(at["in"])] = offsets[1::2]
            own = np.array(offsets[1::2])
            assert own.size == 10
            true = 1e6 * float(np.abs(own - own.mean()).max())
            count += 1
            covered += abs((figure.value or 0) - true) <= figure.budget.expanded
    assert count >= 1000
    assert covered >= COVERED * count


@pytest.mark.parametrize("together", [True, False])
def test_a_good_device_passes_every_requirement(profile: Profile, together: bool) -> None:
    """With a coupler, or with one cord plugged by hand."""
    bench = FakeBench(np.random.default_rng(5), together=together)
    # no reflectometer stands on this bench
    measured(bench, profile, "reference", *(name for name in profile.procedures if name != "latency"))
    found = judge(profile, bench.record(), {})
    wanted = {each.id: "INDETERMINATE" if each.procedure == "latency" else "PASS" for each in profile.requirements}
    assert {row["id"]: row["verdict"] for row in found["requirements"]} == wanted
    assert not found["findings"]
    assert not [each for each in found["doubts"] if each["state"] == "red"]


def dirty(bench: FakeBench) -> None:
    bench.dirt_db["out"][1] = 4.0


def stuck(bench: FakeBench) -> None:
    bench.loss_db[2, :] += 62.0


def lossy(bench: FakeBench) -> None:
    bench.loss_db[1, 2] += 5.0


def polarised(bench: FakeBench) -> None:
    bench.pdl_db[1, :] = 1.2


def sloped(bench: FakeBench) -> None:
    bench.slope_db_nm[1, :] = 0.04


def leaking(bench: FakeBench) -> None:
    bench.leak_db[2, :] = -35.0


def reflecting(bench: FakeBench) -> None:
    bench.return_db[3] = 25.0


def slow(bench: FakeBench) -> None:
    bench.switch_s[1, :] = 0.0565


def bouncing(bench: FakeBench) -> None:
    bench.again_s[1, :] = 0.035


def loose(bench: FakeBench) -> None:
    bench.repeat_db[1, :] = 0.4


def disturbing(bench: FakeBench) -> None:
    bench.disturb_db[1] = 2.0


def forgetful(bench: FakeBench) -> None:
    bench.forgets = True


def fading(bench: FakeBench) -> None:
    bench.fade_db_cycle[1] = 0.003 if bench.together else 0.02


def unprotected(bench: FakeBench) -> None:
    bench.protect_s = 0.055


DEFECTS: list[tuple[Callable[[FakeBench], None], str, str, str, str]] = [
    (dirty, "insertion-loss", "insertion-loss", "dirty-port", "out 2"),
    (stuck, "insertion-loss", "insertion-loss", "stuck-port", "in 3"),
    (lossy, "insertion-loss", "insertion-loss", "lossy-path", "in 2 out 3"),
    (polarised, "pdl", "pdl", "high-pdl", "in 2 "),
    (sloped, "wavelength", "wdl", "high-wdl", "in 2 "),
    (leaking, "crosstalk", "crosstalk", "crosstalk", "in 3 out "),
    (reflecting, "return-loss", "return-loss", "low-return-loss", "in 4"),
    (slow, "switching", "switching-time", "slow-switch", "in 2 "),
    (bouncing, "switching", "switching-time", "bouncing-switch", "in 2 "),
    (loose, "repeatability", "repeatability", "unrepeatable-path", "in 2 "),
    (disturbing, "hitless", "hitless", "disturbs-neighbours", "in 2 "),
    (forgetful, "persistence", "connections-kept", "lost-connections", "in 1 "),
    (fading, "endurance", "endurance-drift", "drifting-path", "in 2 "),
    (unprotected, "protection", "protection", "slow-protection", "out 1 "),
]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(("spoil", "procedure", "requirement", "finding", "where"), DEFECTS)
def test_a_defect_fails_and_is_named(
    profile: Profile,
    spoil: Callable[[FakeBench], None],
    procedure: str,
    requirement: str,
    finding: str,
    where: str,
    together: bool,
) -> None:
    """With its place, and nothing else is named with it."""
    bench = FakeBench(np.random.default_rng(8), together=together)
    spoil(bench)
    measured(bench, profile, "reference", procedure)
    found = judge(profile, bench.record(), {})
    # a bouncing path is late as well
    other = {"slow-switch"} if finding == "bouncing-switch" else set()
    told = [(each["id"], each["where"]) for each in found["findings"] if each["id"] not in other]
    assert told
    places = {"lost-connections": "in "}
    assert all(name == finding and at.startswith(places.get(name, where)) for name, at in told), told
    rows = {row["id"]: row["verdict"] for row in found["requirements"]}
    if finding != "bouncing-switch":
        assert rows[requirement] == "FAIL"


def test_a_leaking_path_is_found_by_pulling_cords(profile: Profile) -> None:
    """One ingress leaks into one egress; all are lit, and its cord is the one whose pulling takes the light away."""
    bench = FakeBench(np.random.default_rng(3), ports=6)
    bench.leak_db[4, 1] = -30.0
    found = measured(bench, profile, "crosstalk")["crosstalk"]
    assert [(each.id, each.where) for each in found.findings] == [("crosstalk", "in 5 out 2")]
    assert bench.plugged["oxc:in-5"][0] == "launch-5"


def red(found: Derived) -> set[str]:
    """Names of red doubts."""
    return {each.name for each in found.doubts if each.red}


def test_a_channel_out_of_calibration_is_a_doubt_on_its_paths_alone(profile: Profile) -> None:
    """Egress 3's meter reads 0.4 dB too much."""
    bench = FakeBench(np.random.default_rng(9))
    bench.gain_db["meter:3"] += 0.4
    found = measured(bench, profile, "reference", "insertion-loss")["insertion-loss"]
    assert red(found) == {"meter-disagrees:meter:3"}
    for figure in found.figures["loss"]:
        assert bool(figure.doubts) == (dict(figure.key)["out"] == 3)


def test_a_reference_channel_out_of_calibration_voids_every_loss(profile: Profile) -> None:
    """It stands in each of them."""
    bench = FakeBench(np.random.default_rng(9))
    bench.gain_db["aux:1"] -= 0.4
    found = measured(bench, profile, "reference", "insertion-loss")["insertion-loss"]
    assert red(found) == {"meter-disagrees:aux:1"}
    assert all(figure.doubts for figure in found.figures["loss"])


@pytest.mark.parametrize("watched", [True, False])
def test_a_drifting_laser_is_a_red_doubt(profile: Profile, watched: bool) -> None:
    """By its tap; without one, by a cord read at the reference again."""
    bench = FakeBench(np.random.default_rng(10), watched=watched)
    bench.drift_db_s = 0.02
    found = measured(bench, profile, "reference", "insertion-loss")["insertion-loss"]
    assert red(found) == {"source-drift"}
    assert all(figure.doubts == ("source-drift",) for figure in found.figures["loss"])


def test_a_slow_drift_is_taken_off(profile: Profile) -> None:
    """0.02 dB between reference and reading: less than the doubt's limit, and not in the loss."""
    lost = []
    for drift in (0.0, 5e-4):
        bench = FakeBench(np.random.default_rng(11), plug_sigma=0.0)
        bench.drift_db_s = drift
        found = measured(bench, profile, "reference", "insertion-loss")["insertion-loss"]
        assert not red(found)
        lost.append([figure.value or 0 for figure in found.figures["loss"]])
    assert max(abs(a - b) for a, b in zip(*lost, strict=True)) < 1500


def test_an_old_reference_is_a_red_doubt(profile: Profile) -> None:
    """Twelve hours, as the profile says."""
    bench = FakeBench(np.random.default_rng(12))
    measured(bench, profile, "reference")
    bench.clock.ns += 13 * 3_600_000_000_000
    found = measured(bench, profile, "insertion-loss")["insertion-loss"]
    assert red(found) == {f"reference-old:launch-{k}" for k in range(1, 5)}


def test_an_expired_calibration_is_a_red_doubt(profile: Profile) -> None:
    """The day after the last one; on that day it is not."""
    for until, expired in (("2024-10-03", False), ("2024-10-02", True)):  # day 20 000 since 1970 is 2024-10-04
        bench = FakeBench(np.random.default_rng(13))
        bench.clock.ns = -DAY_NS
        bench.calibrated_until = until
        found = measured(bench, profile, "pdl")["pdl"]
        assert (red(found) == {"calibration-expired:meter", "calibration-expired:aux"}) == expired
        assert all(bool(figure.doubts) == expired for figure in found.figures["pdl"])


def test_a_meter_without_a_data_sheet_is_no_meter(profile: Profile) -> None:
    """Nothing known is not no error."""
    bench = FakeBench(np.random.default_rng(14))
    measured(bench, profile, "pdl")
    record = bench.record()
    bare = Record(record.batches, {}, record.traces, record.finished)
    found = PROCEDURES["pdl"].derive(bare, settings(profile, "pdl"))
    assert red(found) == {"no-data-sheet:meter", "no-data-sheet:aux"}
    assert all(figure.doubts for figure in found.figures["pdl"])


def cuts(procedure: str, count: int) -> Iterator[int]:
    """At every part of a short procedure, at some of a long one."""
    yield from range(count) if count <= 12 else (0, 1, count // 2, count - 1)


def test_every_procedure_has_its_method_and_no_other() -> None:
    assert list(METHODS) == list(PROCEDURES)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("procedure", ["reference", *(each for each in PROCEDURES if each in BRIEF), "insertion-loss"])
def test_a_run_cut_off_at_any_part_goes_on_there(profile: Profile, procedure: str, together: bool) -> None:
    """What an interrupted run gives in the end has the rows of a whole one, each once."""
    rng = np.random.default_rng(15)
    whole = FakeBench(rng, together=together)
    parts: list[str] = []
    METHODS[procedure].run(whole.rig(observe=lambda *_: parts.append("")), settings(profile, procedure))
    rows = shape(whole)
    for cut in cuts(procedure, len(parts)):
        bench = FakeBench(rng, together=together)
        calls = iter(range(len(parts) + 1))
        with pytest.raises(StoppedError):
            METHODS[procedure].run(
                bench.rig(stopped=lambda calls=calls, cut=cut: "enough" if next(calls) == cut else ""),
                settings(profile, procedure),
            )
        bench.journal.append(RESUMED)
        METHODS[procedure].run(bench.rig(), settings(profile, procedure))
        assert shape(bench) == rows


def shape(bench: FakeBench) -> list[tuple[Any, ...]]:
    """Kind and columns that say of what, of every row that counts."""
    free = {"value", "below", "source", "sent_ns", "exchange_ns", "running_ns", "begun_ns", "lead", "acted_ns", "trace"}
    return sorted(
        (each.kind, *(str(cell) for name, cell in row.items() if name not in free))
        for each in readings(bench.journal.entries)[0]
        for row in each.dicts()
    )


def test_a_part_that_broke_half_way_is_done_again(profile: Profile) -> None:
    """Its first rows stay in the journal and do not count."""
    bench = FakeBench(np.random.default_rng(16))
    whole, calls = bench.meter.read_all, iter(range(1000))

    def breaks() -> Mapping[int, Watt | None]:
        if next(calls) == 14:
            raise OSError("the cable")
        return whole()

    bench.meter.read_all = breaks  # type: ignore[method-assign] # a meter that breaks once
    with pytest.raises(OSError, match="the cable"):
        METHODS["repeatability"].run(bench.rig(), settings(profile, "repeatability", lots=2))
    bench.journal.append(RESUMED)
    METHODS["repeatability"].run(bench.rig(), settings(profile, "repeatability", lots=2))
    found = derived(bench, profile, "repeatability", lots=2)["repeatability"]
    assert len(found.figures["repeatability"]) == 8
    assert all(len(table["rows"]) == 10 for table in found.tables.values())  # type: ignore[arg-type]


def test_times_are_told_before_anything_starts(profile: Profile) -> None:
    """Every procedure says how long it takes, and a bench without a coupler takes no less."""
    for name in ("reference", *profile.procedures):
        coupler, hand = (
            METHODS[name].seconds(FakeBench(np.random.default_rng(1), together=t).rig(), settings(profile, name))
            for t in (True, False)
        )
        assert coupler > 0
        assert hand > 0


@pytest.mark.parametrize(
    ("procedure", "part", "remedy"),
    [
        ("reference", "reference", "reference"),
        ("return-loss", "monitor", "monitor"),
        ("pdl", "polariser", "polariser"),
        ("persistence", "hand", "hand"),
        ("latency", "otdr", "otdr"),
    ],
)
def test_a_bench_that_lacks_a_part_says_so(profile: Profile, procedure: str, part: str, remedy: str) -> None:
    """With the key of the bench file that names it."""
    bench = FakeBench(np.random.default_rng(2))
    rig = bench.rig()
    bench.devices.pop(part, None)
    rig.monitor = None
    rig.reference = None if part == "reference" else rig.reference
    with pytest.raises(BenchError, match=remedy):
        METHODS[procedure].run(rig, settings(profile, procedure))


def test_a_laser_that_cannot_reach_the_band_is_refused_before_anything_moves(profile: Profile) -> None:
    """Both ends are said."""
    bench = FakeBench(np.random.default_rng(2))
    with pytest.raises(BenchError, match="1640"):
        METHODS["wavelength"].run(bench.rig(), settings(profile, "wavelength", last_pm=1_650_000))
    assert not bench.journal.entries


@pytest.mark.parametrize(("ins", "outs"), [(1, 1), (4, 4), (3, 5), (6, 2)])
def test_rounds_have_every_path_once_and_no_port_twice(ins: int, outs: int) -> None:
    """A Latin square, cut where one side is shorter."""
    plan = rounds(range(1, ins + 1), range(1, outs + 1))
    pairs = [pair for each in plan for pair in each.items()]
    assert sorted(pairs) == sorted({(i, o) for i in range(1, ins + 1) for o in range(1, outs + 1)})
    assert all(len(set(each.values())) == len(each) for each in plan)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("seed", range(1, 9))
def test_a_sample_has_every_port_in_it_and_is_the_same_every_time(seed: int, together: bool) -> None:
    """One lot of it; with a bench of fewer receiving channels as well."""
    bench = FakeBench(np.random.default_rng(1), ports=5, together=together)
    rig = bench.rig()
    for fewer in (5, 3):
        rig.receive = dict(list(bench.rig().receive.items())[:fewer])
        plan = lots(rig, 1, seed)
        assert plan == lots(rig, 1, seed)
        assert {i for pairs in plan for i in pairs} == set(rig.launches)
        assert {o for pairs in plan for o in pairs.values()} == set(rig.receive)
        for pairs in plan:
            assert not set(elsewhere(rig, pairs).items()) & set(pairs.items())
