"""Archives of every format version, kept as they were sealed, verify with the software of today."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from harness.archive import audit, keys
from harness.archive.verify import sound, verify

GOLDEN = Path(__file__).parents[2] / "golden"
VERSIONS = sorted(path for path in GOLDEN.iterdir() if (path / "trust").exists())
FOLDERS = [folder for version in VERSIONS for folder in sorted((version / "simulated").glob("2*"))]


def test_there_is_one() -> None:
    assert VERSIONS
    assert FOLDERS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parents[1].name}-{folder.name}")
def test_a_golden_folder_verifies_to_its_last_octet(folder: Path) -> None:
    trust = keys.read_trust(folder.parents[1] / "trust")
    checks = verify(folder, trust=trust, level=4)
    assert sound(checks), [check for check in checks if check.state not in ("ok", "note")]
    assert {check.level for check in checks} >= {0, 1, 2, 4}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_the_verdicts_are_those_that_were_given(version: Path) -> None:
    runs = {p.name: json.loads((p / "data" / "result.json").read_bytes()) for p in (version / "simulated").glob("2*")}
    verdicts = {result["verdict"] for name, result in runs.items() if "." not in name}
    assert verdicts == {"PASS"}
    assert {result["verdict"] for name, result in runs.items() if ".judged-stricter" in name} == {"FAIL"}


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_a_golden_log_is_whole(version: Path) -> None:
    findings = audit.audit(version / "simulated" / "log")
    assert all(finding.state in ("ok", "note") for finding in findings), findings


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parents[1].name}-{folder.name}")
def test_it_verifies_from_another_place_too(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another directory, another time zone, another locale; the log left behind."""
    monkeypatch.setenv("TZ", "Pacific/Chatham")
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    for each in folder.parent.glob("2*"):
        shutil.copytree(each, tmp_path / each.name)
    checks = verify(tmp_path / folder.name, level=4)
    assert sound(checks), checks
