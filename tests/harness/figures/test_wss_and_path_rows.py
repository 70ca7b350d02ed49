"""Figures of a WSS-based cross-connect and of a fibre, from any rows: figures, reasons, or an error of the archive."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ArchiveError
from harness.figures import path, reconcile, wss_card, wss_loss, wss_osnr, wss_passband, wss_restoration
from harness.methods import path as path_method
from harness.methods import reconcile as reconcile_method
from harness.methods import slot as slot_method
from harness.methods import wss_card as card_method
from harness.methods import wss_loss as loss_method
from harness.methods import wss_osnr as osnr_method
from harness.methods import wss_passband as passband_method
from harness.methods import wss_restoration as restoration_method
from harness.profile import parse
from harness.reading import Batch, Record
from harness.trace import octets

PROFILES = Path(__file__).parents[3] / "harness" / "profiles"
KINDS: dict[ModuleType, dict[str, tuple[str, ...]]] = {
    wss_loss: {"power": loss_method.POWER, "present": ("ingress", "egress", "centre", "width", "value")},
    wss_passband: {"sweep": passband_method.SWEEP, "confirm": slot_method.CONFIRM},
    wss_osnr: {"spectrum": osnr_method.COLUMNS, "confirm": slot_method.CONFIRM},
    wss_card: {"power": card_method.POWER, "confirm": slot_method.CONFIRM},
    wss_restoration: {"log": restoration_method.COLUMNS, "confirm": slot_method.CONFIRM},
    path: {
        "trace": path_method.TRACE,
        "event": path_method.EVENT,
        "power": path_method.POWER,
        "reference": path_method.POWER,
    },
    reconcile: {"odu": reconcile_method.COLUMNS},
}
TEXTS = {
    "ingress": ["deg-1", "add-1", "slot-3"],
    "egress": ["deg-2", "drop-1", "slot-5"],
    "via": ["", "deg-2=deg-3"],
    "tap": ["meter-1:1", "osa", ""],
    "state": ["open", "blocked"],
    "place": ["in", "out", "dark"],
    "stage": ["before", "itself", "after", "link", "reel"],
    "card": ["card-1"],
    "direction": ["forward", "backward"],
    "code": ["1F9999LS", "0F9999LS", "1E9999LS", "2O9999", ""],
    "serial": ["SIM-1", ""],
    "sha256": ["00"],
    "link": ["a-b"],
    "oduk": ["ODU4", "ODU0"],
    "time": ["2027-01-01"],
}
MAYBE = {"value", "source", "before", "loss", "reflectance", "slope", "total", "sound", "frames"}
SMALL = {"turn", "try", "launch", "lit", "repeat", "plug", "number", "line", "lead"}


def cell(name: str) -> st.SearchStrategy[Any]:
    if name in TEXTS:
        return st.sampled_from(TEXTS[name])
    if name in SMALL:
        return st.integers(0, 3)
    if name in {"centre", "mhz"}:
        return st.integers(193_000_000, 193_200_000)
    if name in {"pm", "asked"}:
        return st.sampled_from([1_310_000, 1_550_000, 1_552_524])
    number = st.integers(-(10**8), 10**8) | st.sampled_from([0, 1, -1, 1 << 53, -(1 << 53)])
    return st.none() | number if name in MAYBE else number


@st.composite
def records(draw: st.DrawFn, module: ModuleType) -> Record:
    batches = []
    for kind, columns in KINDS[module].items():
        rows = draw(st.lists(st.tuples(*(cell(name) for name in columns)), max_size=8))
        name = draw(st.sampled_from(["t.sor", "u.sor"]))
        batches.append(Batch(module.ID, kind, "udBm", columns, tuple(rows), 0, trace=name))
    logs = {name: octets(draw(st.lists(st.floats(width=32), max_size=12))) for name in ("t.sor", "u.sor")}
    return Record(tuple(batches), {}, logs)


@pytest.mark.parametrize("module", list(KINDS), ids=lambda module: module.ID)
def test_any_rows_give_figures_reasons_or_an_error_of_the_archive(module: ModuleType) -> None:
    @settings(max_examples=60, deadline=None)
    @given(records(module))
    def check(record: Record) -> None:
        try:
            found = module.derive(record, module.Settings())
        except ArchiveError:
            return
        assert set(found.figures) <= set(module.FIGURES)
        for figures in found.figures.values():
            for figure in figures:
                assert (figure.value is None) == bool(figure.why)
                assert figure.budget.expanded >= 0
                assert set(figure.doubts) <= {doubt.name for doubt in found.doubts}

    check()


@settings(max_examples=60, deadline=None)
@given(records(path))
def test_a_floor_is_a_length_or_none(record: Record) -> None:
    try:
        found = path.route(record, path.Settings())
    except ArchiveError:
        return
    assert found is None or (found.length_m >= 0 and found.u_ps > 0)


@pytest.mark.parametrize("module", list(KINDS), ids=lambda module: module.ID)
def test_the_same_rows_give_the_same_figures(module: ModuleType) -> None:
    @settings(max_examples=10, deadline=None)
    @given(records(module))
    def check(record: Record) -> None:
        try:
            first = module.derive(record, module.Settings())
        except ArchiveError:
            return
        assert module.derive(record, module.Settings()) == first

    check()


@pytest.mark.parametrize("name", ["oxc-wss", "link-optical"])
def test_shipped_profiles_are_whole_and_confirm_nothing_that_was_not_seen(name: str) -> None:
    found = parse((PROFILES / f"{name}.toml").read_text())
    assert found.id == name
    for each in found.requirements:
        assert each.source
        assert each.confirmed or "unconfirmed" in each.confirmation or "not seen" in each.confirmation
    for procedure in found.procedures:
        found.settings_of(procedure)
