"""What other tools read: the long table and JUnit XML of any sealed folder."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from harness.archive import bag, outcome
from harness.archive.folder import RunFolder
from harness.archive.verify import judge_again
from harness.cli import app
from harness.errors import ArchiveError

POLICY = (Path(__file__).parents[3] / "harness" / "policies" / "metro-2027.toml").read_text(encoding="utf-8")


@pytest.fixture
def run(tmp_path: Path, kit: Any) -> Path:
    """A sealed run that the house's own judge judged."""
    made = RunFolder.create(
        tmp_path / "results", True, {"provenance": {"operator": "nobody"}}, policy=POLICY, instants=kit.ticking()
    )
    with made as folder:
        folder.store(kit.a_measurement("m1", calibrated=False))
        folder.seal()
        return folder.path


def table(octets: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(octets.decode(), newline="")))


def test_a_run_is_exported_with_the_hash_of_each_record(run: Path) -> None:
    made = CliRunner().invoke(app, ["export", str(run)])
    rows = table(made.stdout_bytes)
    assert made.exit_code == 0
    assert rows
    assert {row["sha256"] for row in rows} == {bag.file_sha256(run / "data/measurements/m1/measurement.json")}
    assert {row["run_id"] for row in rows} == {run.name}


def test_a_judgement_is_exported_with_the_records_of_its_run_or_without_any(run: Path) -> None:
    again, _ = judge_again(run, POLICY, reason="a trial")
    assert outcome.read(again).hashes == outcome.read(run).hashes != {}
    run.rename(run.with_name("elsewhere"))
    assert outcome.read(again).hashes == {}


def test_both_forms_go_to_files_at_once(run: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["export", str(run), "--csv", str(tmp_path / "a.csv"), "--junit", str(tmp_path / "a.xml")]
    )
    assert done.exit_code == 0
    assert table((tmp_path / "a.csv").read_bytes())
    assert ET.fromstring((tmp_path / "a.xml").read_bytes()).tag == "testsuite"  # noqa: S314 - our own file


def test_nothing_is_exported_from_what_was_altered(run: Path) -> None:
    (run / "data/result.json").write_bytes(b"{}")
    with pytest.raises(ArchiveError, match=r"result\.json altered"):
        outcome.read(run)
    done = CliRunner().invoke(app, ["export", str(run)])
    assert done.exit_code == 4
    assert not done.stdout_bytes


def test_a_sealed_folder_stays_as_it_is(run: Path) -> None:
    done = CliRunner().invoke(app, ["export", str(run), "--csv", str(run / "data" / "x.csv")])
    assert done.exit_code == 4
    assert bag.problems(run) == []
