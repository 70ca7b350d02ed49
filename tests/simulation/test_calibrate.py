"""A simulated pair is calibrated for real, and a run that names the artefact subtracts it and verifies."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from benchmarks.rehearsal import bench_text, tell
from harness.archive.verify import verify
from harness.artefact import read_artefact
from harness.cli import app
from harness.link import Direction

PLANS = Path(__file__).resolve().parents[2] / "testplans"
STREAMS = "".join(
    f"[streams.{name}]\nrate_pps = 1000\nsize = 256\nflows = 2\nt_max_ms = 100\n" for name in ("optical", "service")
)


def bench(calibration: str = "") -> str:
    return bench_text(link=f"{calibration}\n{STREAMS}")


def test_a_simulated_pair_is_calibrated_used_and_verified(tmp_path: Path) -> None:
    file, out = tmp_path / "bench.toml", tmp_path / "cal" / "pair.json"
    file.write_text(bench(), encoding="utf-8")
    words = ["--link", "ab", "--out", str(out), "--plugs", "5", "--seconds", "1", "--plans", str(PLANS)]
    done = CliRunner().invoke(app, ["calibrate", str(file), *words])
    assert done.exit_code == 0, done.output
    assert "SIMULATED" in done.output
    artefact = read_artefact(out.read_bytes(), str(out))
    (load,) = artefact.loads
    assert (load.rate_pps, load.size, load.planes) == (1000, 256, "/".join(["kernel"] * 4))
    assert len(list((tmp_path / "cal" / "pair.json.samples").iterdir())) == len(load.plugs) == 5
    assert "simulated bench" in artefact.simulated
    assert not artefact.replugged
    assert 0 < sum(load.found.bias_ns.values()) < 100_000

    told = tell(tmp_path / "results", bench(f'calibration = "{out}"'))
    (said,) = told.result["calibrations"]
    assert (said["id"], said["applied"], said["expires"]) == (artefact.id, True, artefact.until)
    assert {m.calibration.bias_ns[Direction.FORWARD] for m in told.measurements if m.calibration} == {
        load.found.bias_ns[Direction.FORWARD]
    }
    origins = [c["origin"] for b in told.result["budgets"] if b["basis"] == "clock" for c in b["components"]]
    assert any(artefact.id[:16] in origin and artefact.until in origin for origin in origins)
    kept = told.path / "data" / "calibration" / f"{artefact.id}.json"
    assert kept.read_bytes() == out.read_bytes()
    (row,) = [check for check in verify(told.path) if check.name == "calibration"]
    assert row.state == "ok", row.detail
    kept.write_bytes(kept.read_bytes().replace(b'"operator":""', b'"operator":"x"'))
    (row,) = [check for check in verify(told.path) if check.name == "calibration"]
    assert row.state == "failed", row.detail
