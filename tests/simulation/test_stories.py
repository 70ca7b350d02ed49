"""Stories with a known truth, each ending in the right verdict for the right reason."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rehearsal import bench_text, tell
from harness.archive.verify import sound, verify
from harness.run import Run
from harness.units import flight_time

KM_40 = flight_time(40_000, 1_468_200) // 1000
"""True one-way delay of 40 km of fibre, ns."""


def test_40_km_passes_with_uncertainty_bracket_and_an_archive_that_verifies(tmp_path: Path) -> None:
    told = tell(tmp_path, bench_text(), ["optical", "service"])
    assert (told.result["verdict"], told.result["complete"]) == ("PASS", True)
    for direction in ("forward", "backward"):
        clock = told.statement(direction, "clock")
        assert clock["verdict"] == "PASS"
        assert clock["U_ps"] > 0
        assert clock["estimate_ns"] + clock["U_ps"] // 1000 >= KM_40
        assert told.row(direction)["bracket"]["upper_ns"] > KM_40
        assert told.row(direction)["largest_unseen_clock_error_ns"] > 0
    assert told.result["simulated"]
    assert "SIMULATED, NOT A CERTIFICATE" in told.result["notice"]
    checks = verify(told.path)
    assert sound(checks), checks


def test_210_km_fails_in_both_directions(tmp_path: Path) -> None:
    told = tell(tmp_path, bench_text(forward="{ km = 210 }"))
    assert {told.row(d)["verdict"] for d in ("forward", "backward")} == {"FAIL"}
    assert told.result["verdict"] == "FAIL"


def test_one_long_direction_fails_alone(tmp_path: Path) -> None:
    told = tell(tmp_path, bench_text(backward="{ km = 215 }"))
    assert told.row("backward")["verdict"] == "FAIL"
    assert told.statement("forward", "clock")["verdict"] == "PASS"
    assert told.result["verdict"] == "FAIL"


@pytest.mark.parametrize(
    "silent", ["claimed_synchronised = false", "claimed_synchronised = true"], ids=["unsynchronised", "no bound"]
)
def test_202_km_with_clocks_nobody_vouches_for_does_not_pass_on_them(tmp_path: Path, silent: str) -> None:
    told = tell(tmp_path, bench_text(forward="{ km = 202 }", near=silent, far=silent))
    for direction in ("forward", "backward"):
        assert told.statement(direction, "clock")["verdict"] == "INVALID"
        assert told.row(direction)["verdict"] == "INDETERMINATE"
    assert told.result["verdict"] == "INDETERMINATE"


@pytest.mark.parametrize("offset", [5_000_000, -5_000_000])
def test_a_5_ms_clock_offset_neither_passes_nor_fails(tmp_path: Path, offset: int) -> None:
    claims = "claimed_bound_ns = 100\nclaimed_synchronised = true\nclaimed_skew_ppb = 10"
    told = tell(tmp_path, bench_text(far=f"offset_ns = {offset}\n{claims}"))
    for direction in ("forward", "backward"):
        assert told.statement(direction, "clock")["verdict"] == "INVALID"
        # the round trip knows better and stands
        assert told.statement(direction, "clock-free")["verdict"] == "PASS"
    assert told.red & {"floor", "negative-delay"}


def test_a_5_ms_clock_offset_on_a_long_link_decides_nothing(tmp_path: Path) -> None:
    claims = "claimed_bound_ns = 100\nclaimed_synchronised = true\nclaimed_skew_ppb = 10"
    told = tell(tmp_path, bench_text(forward="{ km = 195 }", far=f"offset_ns = 5000000\n{claims}"))
    assert {told.row(d)["verdict"] for d in ("forward", "backward")} == {"INDETERMINATE"}


def test_one_flow_on_a_230_km_detour_fails_the_link(tmp_path: Path) -> None:
    detour = """
[[simulation.links.ab.routes]]
ports = [61001]
forward = { km = 230 }
"""
    told = tell(tmp_path, bench_text(link="first_port = 61000", plant=detour))
    assert told.row("forward")["verdict"] == "FAIL"
    assert told.row("forward")["worst_flow"] == 61001
    assert told.result["verdict"] == "FAIL"


def test_a_clock_step_in_mid_run_voids_the_clock_and_leaves_the_round_trip(tmp_path: Path) -> None:
    claims = "claimed_bound_ns = 100\nclaimed_synchronised = true\nclaimed_skew_ppb = 10"
    # the step's instant counts from the metro's opening, calibration (2 s) and start-up come first
    told = tell(tmp_path, bench_text(far=f"step_ns = 150000\nstep_at_s = 5.5\n{claims}"))
    assert "step" in told.red
    for direction in ("forward", "backward"):
        assert told.statement(direction, "clock")["verdict"] == "INVALID"
        assert told.row(direction)["verdict"] == "PASS"


def test_a_route_change_is_no_clock_step(tmp_path: Path) -> None:
    told = tell(tmp_path, bench_text(forward="{ km = 40, changes = [{ at_s = 2, km = 80 }] }", backward="{ km = 40 }"))
    assert "step" not in told.red
    assert told.row("forward")["verdict"] == "PASS"


def test_a_cut_link_cannot_pass(tmp_path: Path) -> None:
    told = tell(tmp_path, bench_text(plant="changes = [{ at_s = 2, cut = true }]"), ["service"])
    assert told.result["verdict"] != "PASS"
    lost = told.result["streams"][0]["counts"]
    assert lost["lost_forward"] + lost["lost_backward"] + lost["lost_unknown"] > 1000


def test_losses_are_counted_as_the_fibre_made_them(tmp_path: Path) -> None:
    told = tell(
        tmp_path,
        bench_text(forward="{ km = 40, loss = { p = 0.3 } }", backward="{ km = 40, loss = { p = 0.1 } }"),
        ["service"],
    )
    counters = told.measurements[0].health.counters
    counts = told.result["streams"][0]["counts"]
    lost = counts["lost_forward"] + counts["lost_backward"] + counts["lost_unknown"]
    planned = counters["fibre_lost_by_plan"]  # with warm-up and flush packets, which are no rows
    assert 0.98 * planned <= lost <= planned
    assert told.result["verdict"] == "FAIL"  # far more than 10 % never arrive


def _kill_reflector(run: Run, after_s: float) -> None:
    """Kill the far end after a while, as a power cut would."""
    metro = run.stage.metro  # type: ignore[attr-defined]

    def wait_then_kill() -> None:
        for _ in range(600):
            time.sleep(0.05)
            if run.measuring and not any(name.startswith("calib") for name in run.opened.ledger.open):
                break
        time.sleep(after_s)
        metro._reflectors[-1].kill()

    threading.Thread(target=wait_then_kill, daemon=True).start()


def test_a_reflector_that_dies_is_not_a_pass(tmp_path: Path) -> None:
    told = tell(tmp_path, bench_text(), before=partial(_kill_reflector, after_s=1.5), tries=1)
    assert {told.row(d)["verdict"] for d in ("forward", "backward")} == {"INVALID"}
    assert "far-silent" in told.red
    samples = told.measurements[0].samples
    assert int(samples.answered.sum()) < len(samples)
    assert len(samples) == told.measurements[0].stream.packets  # nothing is dropped


def _lie(run: Run, ns: int) -> None:
    """Make every reflector of the run overstate its turnaround without a word."""
    metro = run.stage.metro  # type: ignore[attr-defined]
    metro.start_reflector = partial(metro.start_reflector, lie_ns=ns, lie_quietly=True)


def test_a_reflector_that_overstates_its_turnaround_makes_no_pass(tmp_path: Path) -> None:
    silent = "claimed_synchronised = false"
    key = tmp_path / "link.key"
    key.write_text("00" * 32, encoding="utf-8")
    key.chmod(0o600)
    link = f'far_turnaround_qualified = "QUAL-1"\nturnaround_cap_us = 50\nkey_file = "{key}"'
    text = bench_text(forward="{ km = 110 }", backward="{ km = 110 }", link=link, near=silent, far=silent)
    told = tell(tmp_path, text, before=partial(_lie, ns=700_000))
    # 1077 us there and back: believing 700 us of turnaround would make it 377
    assert told.row("forward")["bracket"]["tier"] == "0t"
    assert told.result["verdict"] == "INDETERMINATE"


def test_loopback_says_what_is_less_true_and_still_decides(tmp_path: Path) -> None:
    told = tell(tmp_path, bench_text(carrier="loopback"))
    assert {told.row(d)["verdict"] for d in ("forward", "backward")} == {"PASS"}
    assert any("lo " in fact or "loopback" in fact for fact in told.result["simulated"])


def test_no_sample_carries_a_time_that_was_not_taken(tmp_path: Path) -> None:
    told = tell(tmp_path, bench_text(forward="{ km = 40, loss = { p = 0.1 } }", backward="{ km = 40 }"))
    samples = told.measurements[0].samples
    for stamp in (samples.t1, samples.t2, samples.t3, samples.t4):
        taken = stamp[stamp != np.iinfo(np.int64).min]
        assert taken.min() > 1_700_000_000 * 10**9
