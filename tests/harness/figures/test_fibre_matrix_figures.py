"""Figures of a fibre-matrix cross-connect: whatever a journal holds, they are figures, reasons or typed errors."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.budget import Budget, Component
from harness.errors import ArchiveError
from harness.figures import (
    crosstalk,
    endurance,
    extreme,
    hitless,
    insertion_loss,
    latency,
    pdl,
    persistence,
    power,
    protection,
    reference,
    repeatability,
    return_loss,
    switching,
    wavelength,
)
from harness.figures import meter as meters
from harness.reading import Batch, Cell, Instrument, Record
from harness.trace import change_udb, femtowatts, octets, thinned, udbm

MODULES: tuple[Any, ...] = (
    reference,
    insertion_loss,
    repeatability,
    pdl,
    wavelength,
    crosstalk,
    return_loss,
    switching,
    hitless,
    latency,
    persistence,
    endurance,
    protection,
)
PATH = ("in", "out", "cord", "tap", "value", "below", "source")
KINDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "reference": {
        "taken": ("hours", "value"),
        "power": ("in", "plug", "pm", "tap", "value", "source"),
        "compare": ("in", "plug", "pm", "tap", "value", "source"),
    },
    "insertion-loss": {
        "power": (*PATH, "pm", "round"),
        "closing": (*PATH, "pm", "round"),
        "closing-cord": ("cord", "pm", "tap", "value", "source"),
    },
    "repeatability": {"power": (*PATH, "repeat")},
    "pdl": {"reference": ("cord", "state", "tap", "value", "source"), "power": (*PATH, "state")},
    "wavelength": {"reference": ("cord", "pm", "tap", "value", "source"), "power": (*PATH, "pm")},
    "crosstalk": {
        "signal": PATH,
        "dark": ("in", "out", "lit", "tap", "value", "below", "source"),
        "pulled": PATH,
    },
    "return-loss": {"back": ("in", "state", "tap", "value", "below", "source")},
    "switching": {
        "log": (
            *("in", "out", "repeat", "period_ns", "sent_ns", "exchange_ns", "begun_ns", "running_ns", "tap", "trace"),
            "value",
        )
    },
    "hitless": {
        "log": (
            *("in", "out", "neighbour_in", "neighbour_out", "period_ns", "lead", "acted_ns", "tap", "trace"),
            "value",
        )
    },
    "latency": {
        "trace": ("in", "out", "sampling_ps", "index_ppm", "serial", "value"),
        "event": ("in", "out", "number", "code", "loss", "reflectance", "slope", "value"),
    },
    "persistence": {
        "before": PATH,
        "after": PATH,
        "listed": ("in", "out", "value"),
        "log": ("in", "out", "period_ns", "lead", "tap", "trace", "value"),
    },
    "endurance": {"check": (*PATH, "cycles")},
    "protection": {
        "disruption": ("repeat", "value"),
        "log": ("repeat", "period_ns", "lead", "tap", "trace", "value"),
    },
}
"""Procedure → kind → columns, as the methods write them."""
SPEC = {
    "absolute_udb": 150_000,
    "linearity_udb": 20_000,
    "channel_udb": 30_000,
    "polarisation_udb": 10_000,
    "noise_fw": 200,
    "floor_udbm": -90_000_000,
}
METER = Instrument("m", "fake", "", "", "", (), SPEC, "a fake's data sheet")

ports = st.integers(1, 3)
powers = st.integers(-95_000_000, 10_000_000)
plausible: Mapping[str, st.SearchStrategy[Cell]] = {
    "in": ports,
    "out": ports,
    "neighbour_in": ports,
    "neighbour_out": ports,
    "cord": ports,
    "lit": st.integers(0, 3),
    "plug": st.integers(0, 3),
    "repeat": st.integers(1, 4),
    "cycles": st.integers(0, 40),
    "number": st.integers(1, 9),
    "state": st.integers(0, 9),
    "pm": st.sampled_from([1_530_000, 1_550_000]),
    "round": st.just("round 0"),
    "tap": st.sampled_from(["m:1", "m:2", "other:1"]),
    "value": st.none() | powers,
    "source": st.none() | powers,
    "below": st.just(-90_000_000),
    "hours": st.integers(-1, 20),
    "period_ns": st.sampled_from([100_000, 1_000_000]),
    "lead": st.integers(-3, 40),
    "acted_ns": st.integers(0, 10**8),
    "sent_ns": st.integers(0, 10**7),
    "exchange_ns": st.integers(-100, 10**6),
    "begun_ns": st.integers(0, 10**6),
    "running_ns": st.integers(0, 10**6),
    "trace": st.sampled_from(["a", "b"]),
    "code": st.sampled_from(["1E9999LS", "0F9999LS", "1", ""]),
    "sampling_ps": st.integers(-5, 5000),
    "serial": st.just(""),
}
hostile: st.SearchStrategy[Any] = st.none() | st.integers() | st.text(max_size=3)


def strategy(name: str, column: str) -> st.SearchStrategy[Any]:
    """A cell of a column; return loss has words where others have states' numbers."""
    if name == "return-loss" and column == "state":
        return st.sampled_from([*return_loss.STATES, "elsewhere"])
    return plausible.get(column, st.integers(-(10**6), 10**6))


@st.composite
def records(draw: st.DrawFn, name: str, *, odd: bool) -> Record:
    """A record of one procedure, with its reference; ``odd``: with cells and columns that no method writes."""
    batches = []
    for procedure in {name, "reference"}:
        for kind, columns in KINDS[procedure].items():
            kept = tuple(c for c in columns if not odd or draw(st.integers(0, 30)) > 0)
            cells = [strategy(procedure, c) for c in kept]
            if odd:
                cells = [cell | hostile if draw(st.integers(0, 8)) == 0 else cell for cell in cells]
            rows = draw(st.lists(st.tuples(*cells), max_size=12))
            at_ns = draw(st.integers(0, 1 << 62))
            batches.append(Batch(procedure, kind, "udBm", kept, tuple(rows), at_ns))
    values = draw(st.lists(st.floats(width=32), max_size=60))
    kept_octets = octets(values) + (b"x" if odd and draw(st.booleans()) else b"")
    instruments = {"m": METER} if draw(st.booleans()) else {"m": Instrument("m", "fake", "", "", "soon")}
    return Record(tuple(batches), instruments, {"a": kept_octets})


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.ID)
@pytest.mark.parametrize("odd", [False, True])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_record_gives_figures_reasons_or_a_typed_error(module: Any, odd: bool, data: st.DataObject) -> None:
    """A figure has a value or says why not; its budget can be written; what is unknown stays None."""
    record = data.draw(records(module.ID, odd=odd))
    try:
        found = module.derive(record, module.Settings())
    except ArchiveError:
        return
    assert set(found.figures) <= set(module.FIGURES)
    for name, figures in found.figures.items():
        for figure in figures:
            assert (figure.value is None) == bool(figure.why)
            assert figure.budget.expanded >= 0
            figure.budget.as_dict(module.FIGURES[name])
            assert set(figure.doubts) <= {each.name for each in found.doubts if each.red}
    for table in found.tables.values():
        width = len(table["columns"])
        assert all(len(row) == width for row in table["rows"])


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.ID)
def test_nothing_read_is_no_figure(module: Any) -> None:
    """An empty record passes nothing."""
    found = module.derive(Record((), {}), module.Settings())
    assert not any(found.figures.values())


@given(st.integers(1, 1 << 20))
def test_reach_is_no_less_than_the_root_of_two_ln_n(count: int) -> None:
    """In thousandths, rounded up."""
    assert extreme.reach(count) >= 1000 * (2 * np.log(count)) ** 0.5 - 1e-9


@pytest.mark.parametrize("count", [2, 5, 48, 600])
@pytest.mark.parametrize("true", [0, 10_000])
def test_extremes_of_noise_are_covered(count: int, true: int) -> None:
    """Half the values 0, half ``true``, all with a noise of 1000: 95 % of the corrected spreads cover ``true``."""
    rng = np.random.default_rng(count)
    base = np.repeat([0, true], [count - count // 2, count // 2])
    covered = 0
    for _ in range(1000):
        values = [int(v) for v in np.rint(base + rng.normal(0, 1000, count))]
        value, part, high, low = extreme.spread(values, [1000] * count)
        assert values[high] == max(values)
        assert values[low] == min(values)
        budget = Budget((Component("", "", 1415, "normal", ""), part))
        covered += abs(value - true) <= budget.expanded
    assert covered >= 940


@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=30))
def test_without_noise_extremes_are_what_they_are(values: list[int]) -> None:
    """Nothing is taken off."""
    silent = [0] * len(values)
    assert extreme.spread(values, silent)[0] == max(values) - min(values)
    assert extreme.largest(values, silent)[0] == max(map(abs, values))


@given(st.lists(st.floats(-(2**-7), 2**-7, width=32), max_size=50))
def test_a_log_comes_back_in_whole_femtowatts(values: list[float]) -> None:
    """As float32 holds it, least significant octet first."""
    kept = octets(values)
    assert kept == struct.pack(f"<{len(values)}f", *values)
    assert femtowatts(kept) == [round(v * 1e15) for v in struct.unpack(f"<{len(values)}f", kept)]


def test_no_reading_stays_none_in_a_log() -> None:
    """NaN and powers that no meter sees; darkness has no dBm, and loses as much as 1 fW."""
    assert femtowatts(octets([float("nan"), float("inf"), 1e30, 0.0, -1e-12])) == [None, None, None, 0, -1000]
    assert udbm(0) is None
    assert udbm(10**12) == 0
    assert change_udb(0, 10**6) == 60_000_000
    with pytest.raises(ValueError, match="no light"):
        change_udb(5, 0)
    with pytest.raises(ArchiveError):
        femtowatts(b"12345")


@given(
    st.lists(st.none() | st.integers(-5, 5), max_size=60),
    st.integers(-5, 70),
    st.integers(-5, 70),
    st.integers(0, 40),
)
def test_a_thinned_log_keeps_its_extremes(values: list[int | None], first: int, last: int, most: int) -> None:
    """Of the stretch that is drawn."""
    kept = thinned(values, first, last, most)
    stretch = [v for v in values[max(0, first) : max(0, last)] if v is not None]
    assert [at for at, _ in kept] == sorted({at for at, _ in kept})
    assert all(values[at] == v for at, v in kept)
    if stretch and max(0, first) < min(len(values), last):
        assert max(v for _, v in kept) == max(stretch)
        assert min(v for _, v in kept) == min(stretch)


def test_noise_falls_with_the_root_of_the_averaging_time() -> None:
    """At 100 ms it is the data sheet's: 200 fW at 1 nW are 0.868 mdB."""
    assert 868 <= meters.noise_udb(METER, -60_000_000) <= 875
    assert 8_680 <= meters.noise_udb(METER, -60_000_000, 1_000) <= 8_750


def test_pluggings_rest_on_one_estimate_whose_degrees_of_freedom_count_once() -> None:
    """Two cords plugged three times: four degrees, however many pluggings stand in a loss."""
    rows = tuple((c, p, 1_550_000, "m:1", value, None) for c in (1, 2) for p, value in enumerate((0, 30_000, -30_000)))
    record = Record((Batch("reference", "power", "udBm", KINDS["reference"]["power"], rows, 0),), {"m": METER})
    assert reference.plugging(record) == (30_000, 4)
    part = reference.plugs(record, 1_000, 0)
    assert (part.u, part.nu) == (30_000, 4)
    assert Budget((part,)).k_milli == 2870


def test_one_plugging_only_falls_back_to_what_is_assumed() -> None:
    """And says so."""
    part = reference.plugs(Record((), {}), 1_000, 200_000)
    assert (part.value, part.distribution, part.nu) == (200_000, "rectangular", None)
    assert "unconfirmed" in part.origin


def test_what_was_not_seen_is_added_by_half_or_makes_a_bound() -> None:
    """A sum of one seen and one unseen leak."""
    seen, unseen = power.Level(1000, 10, 4, bounded=False), power.Level(100, 10, 4, bounded=True)
    both = power.added([seen, unseen])
    assert (both.fw, both.unseen_fw, both.bounded) == (1050, 50, False)
    assert power.added([unseen, unseen]).bounded


def test_a_level_that_cannot_be_told_from_another_is_a_bound() -> None:
    """A difference within two standard uncertainties."""
    high, low = power.Level(1000, 100, 4, bounded=False), power.Level(900, 100, 4, bounded=False)
    assert power.less(high, low).bounded
    assert not power.less(power.Level(5000, 100, 4, bounded=False), low).bounded


def bounce(values: list[int], after: int = 0) -> switching.Swing | None:
    """With 1 dB around a final power of 1000."""
    return switching.swing(values, after, 1000, 1_000_000)


def test_switching_ends_when_the_light_stays() -> None:
    """Bouncing included; what was before the command does not count."""
    assert bounce([0, 0, 1000, 1000]) == switching.Swing(2, 2, 0)
    assert bounce([0, 1000, 0, 0, 1000]) == switching.Swing(1, 4, 2)
    assert bounce([0, 1000, 0, 1000], after=3) == switching.Swing(3, 3, 0)
    assert bounce([0, 0, 0]) is None


@given(st.lists(st.none() | st.integers(-100, 2000), min_size=1, max_size=40), st.integers(-3, 45))
def test_any_log_has_a_swing_or_none(values: list[int | None], after: int) -> None:
    """Settled is never before first, and all that follows is within the limit."""
    found = switching.swing(values, after, 1000, 1_000_000)
    if found is None:
        return
    assert max(0, after) <= found.first <= found.settled
    tail = values[found.settled :]
    assert all(v is not None and abs(change_udb(v, 1000)) <= 1_000_000 for v in tail)


def test_dark_stretches_are_found() -> None:
    """The longest of them, a sample without a reading counting as dark."""
    assert persistence.longest([100, 0, 100, None, 0, 0, 100], 100, 3_000_000) == (3, 3)
    assert persistence.longest([100, 100], 100, 3_000_000) == (0, 0)


def log_record(module: Any, values: list[float], row: dict[str, Cell]) -> Record:
    """A record of one log."""
    columns = KINDS[module.ID]["log"]
    cells = tuple(row.get(c, 1) for c in columns)
    return Record(
        (Batch(module.ID, "log", "ns", columns, (cells,), 0, trace="a"),), {"m": METER}, {"a": octets(values)}
    )


def test_a_path_that_never_lights_up_has_no_time() -> None:
    """And is named."""
    row: dict[str, Cell] = {"period_ns": 100_000, "sent_ns": 10**6, "trace": "a", "tap": "m:1", "value": None}
    found = switching.derive(log_record(switching, [0.0] * 200, row), switching.Settings())
    assert found.figures["time"][0].value is None
    assert [each.id for each in found.findings] == ["no-light"]


def test_light_that_still_changes_at_the_end_gives_a_least_time() -> None:
    """Not a time."""
    values = [1e-9] * 150 + [1e-4] * 50
    row: dict[str, Cell] = {"period_ns": 100_000, "sent_ns": 10**6, "trace": "a", "tap": "m:1", "value": -5_000_000}
    found = switching.derive(log_record(switching, values, row), switching.Settings())
    assert found.figures["time"][0].side == "at-least"


def test_light_that_came_after_the_record_gives_a_least_time() -> None:
    """Dark to its end, and lit when it was looked at later: slow, not broken."""
    row: dict[str, Cell] = {"period_ns": 100_000, "sent_ns": 10**6, "trace": "a", "tap": "m:1", "value": -5_000_000}
    found = switching.derive(log_record(switching, [1e-12] * 2000, row), switching.Settings())
    assert found.figures["time"][0].side == "at-least"
    assert [each.id for each in found.findings] == ["slow-switch"]


def test_stray_light_is_no_light_that_came() -> None:
    """As weak afterwards as before."""
    row: dict[str, Cell] = {"period_ns": 100_000, "sent_ns": 10**6, "trace": "a", "tap": "m:1", "value": -60_000_000}
    found = switching.derive(log_record(switching, [1e-9] * 200, row), switching.Settings())
    assert found.figures["time"][0].value is None
    assert [each.id for each in found.findings] == ["no-light"]


def test_a_record_too_short_for_the_switching_gives_a_least_excursion() -> None:
    """What came after it was not seen."""
    row: dict[str, Cell] = {"period_ns": 100_000, "lead": 20, "acted_ns": 10**9, "trace": "a", "tap": "m:1"}
    found = hitless.derive(log_record(hitless, [1e-4] * 100, row), hitless.Settings())
    assert found.figures["excursion"][0].side == "at-least"


def events(*at: tuple[int, str]) -> Record:
    """A trace with events of time and code."""
    rows = tuple((1, 2, n, code, 0, 0, 0, ps) for n, (ps, code) in enumerate(at, 1))
    trace = Batch("latency", "trace", "count", KINDS["latency"]["trace"], ((1, 2, 500, 1_468_200, "", len(at)),), 0)
    return Record((trace, Batch("latency", "event", "ps", KINDS["latency"]["event"], rows, 0)), {})


def test_latency_lies_between_the_reels_end_and_the_traces_end() -> None:
    """8 m of fibre, 39.2 ns, behind a reel of 1 km."""
    with_reel = latency.Settings(reel="reel-1", reel_ps=4_897_000)
    record = events((0, "1F9999LS"), (4_897_300, "1F9999LS"), (4_936_500, "1E9999LS"))
    (figure,) = latency.derive(record, with_reel).figures["latency"]
    assert figure.value == 39_200
    assert figure.budget.expanded < 10_000
    (alone,) = latency.derive(events((0, "1F9999LS"), (39_200, "1E9999LS")), latency.Settings()).figures["latency"]
    assert alone.value == 39_200
    for lost in (events((0, "1F9999LS")), events((0, "1E9999LS")), events((39_200, "1E9999LS"))):
        (none,) = latency.derive(lost, with_reel).figures["latency"]
        assert none.value is None
        assert none.why


def losses(values: Mapping[tuple[int, int], int | None], pdl_udb: int = 0) -> Record:
    """A matrix read against a reference of 0 dBm."""
    cords = tuple((i, plug, 1_550_000, "m:1", 0, None) for i in {i for i, _ in values} for plug in range(3))
    rows = tuple(
        (i, o, i, "m:1", None if loss is None else -loss, -90_000_000, None, 1_550_000, "round 0")
        for (i, o), loss in values.items()
    )
    return Record(
        (
            Batch("reference", "power", "udBm", KINDS["reference"]["power"], cords, 0),
            Batch("insertion-loss", "power", "udBm", KINDS["insertion-loss"]["power"], rows, 0),
        ),
        {"m": METER},
    )


def test_one_dark_path_is_named_by_itself_and_its_loss_is_a_bound() -> None:
    """Its ports have light elsewhere."""
    values: dict[tuple[int, int], int | None] = {(i, o): 1_300_000 for i in range(1, 5) for o in range(1, 5)}
    values[2, 3] = None
    found = insertion_loss.derive(losses(values), insertion_loss.Settings())
    assert [(each.id, each.where) for each in found.findings] == [("dark-path", "in 2 out 3")]
    dark = next(f for f in found.figures["loss"] if dict(f.key)["in"] == 2 and dict(f.key)["out"] == 3)
    assert (dark.value, dark.side) == (90_000_000, "at-least")
    assert found.figures["uniformity"][0].side == "at-least"


def test_a_cord_without_a_reference_has_no_loss() -> None:
    """It is not taken for 0 dBm."""
    record = losses({(1, 1): 1_000_000})
    found = insertion_loss.derive(Record(record.batches[1:], record.instruments), insertion_loss.Settings())
    assert found.figures["loss"][0].value is None
    assert "reference" in found.figures["loss"][0].why


def test_two_bad_ports_are_both_named() -> None:
    """The dirt of one does not hide that of the other."""
    values: dict[tuple[int, int], int | None] = {
        (i, o): 1_300_000 + (2_000_000 if i == 2 else 0) + (3_000_000 if o == 5 else 0)
        for i in range(1, 7)
        for o in range(1, 7)
    }
    found = insertion_loss.derive(losses(values), insertion_loss.Settings())
    assert [(each.id, each.where) for each in found.findings] == [("dirty-port", "in 2"), ("dirty-port", "out 5")]
