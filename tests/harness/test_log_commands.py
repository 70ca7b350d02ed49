"""What an engineer types about the log, and what the exit code says."""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from harness.archive import keys, record
from harness.archive.history import item
from harness.archive.ledger import LOGGED
from harness.archive.log import KEY_VARIABLE, Log, told
from harness.archive.note import CosignerKey, Note
from harness.cli import app
from tests.harness.archive.cosigning import cosigned

HERE = Path(__file__).parent
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OUTSIDE = CosignerKey("witness.example/w1", SECRET.public_key().public_bytes_raw())
RUNS = ("aaaaaa", "bbbbbb")


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.fixture(scope="module")
def kit() -> ModuleType:
    """The archive's small run."""
    spec = importlib.util.spec_from_file_location("_archive_kit", HERE / "archive" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["_archive_kit"] = module
    spec.loader.exec_module(module)
    return module


def judge(measurements: Any, policy: str, provenance: Any) -> dict[str, Any]:
    return {"verdict": "FAIL", "complete": True, "provenance": dict(provenance)}


@pytest.fixture
def results(kit: Any, tmp_path: Path) -> Path:
    """Two attempts at one item on a simulated bench, the second one killed after sealing."""
    log = Log.of(tmp_path, True, kit.ticking(kit.NOON - 10**9))
    for suffix in RUNS:
        with kit.started(tmp_path, suffix=suffix) as folder:
            found = log.plan(folder.name, item("bench", ["a"], ["T1"]), plan_sha256=folder.ledger.plan_sha256)
            folder.journal.append(LOGGED, **told(found, 0))
            folder.store(kit.a_measurement(calibrated=False))
            folder.seal(judge)
        if suffix == RUNS[0]:
            record.sealed(log, folder.path)
    return tmp_path


def typed(*words: object) -> Result:
    return CliRunner().invoke(app, ["log", *map(str, words)])


def test_show_lists_every_attempt_and_says_nobody_has_witnessed_them(results: Path) -> None:
    done = typed("show", results)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert "SIMULATED" in lines[0]
    assert lines[1].split() == ["entry", "UTC", "kind", "run", "verdict", "attempt", "remark"]
    assert [line.split()[2] for line in lines[2:6]] == ["log", "plan", "sealed", "plan"]
    assert lines[3].split()[-1] == "1"
    assert lines[4].split()[-1] == "FAIL"
    assert lines[5].split()[-1] == "2"
    assert "no end recorded" in lines[6]
    assert "bbbbbb" in lines[6]
    assert "signed      UNSIGNED" in lines
    assert lines[-1].startswith("ATTEMPT HISTORY NOT WITNESSED")
    assert (
        "没有结束记录" in CliRunner().invoke(app, ["log", "show", str(results)], env={"LC_ALL": "zh_CN.UTF-8"}).output
    )


def test_check_is_exit_0_when_whole_and_1_with_the_file_when_not(results: Path) -> None:
    done = typed("check", results)
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "WHOLE")
    assert "no end recorded" in done.output
    path = results / "simulated/log"
    kept = results / "kept"
    shutil.copy(path / "checkpoints/2", kept)
    size, root = kept.read_text().split("\n")[1:3]
    printed = f"{size}:{base64.b64decode(root).hex()}"
    for text in (str(kept), printed):
        assert typed("check", results, "--simulated", "--against", text).exit_code == 0
    assert typed("check", results, "--simulated", "--against", f"2:{'00' * 32}").exit_code == 1
    assert typed("check", results, "--against", printed).exit_code == 4  # there is no log of real runs
    whole = (path / "entries.jsonl").read_bytes()
    (path / "entries.jsonl").write_bytes(whole.replace(b'"verdict":"FAIL"', b'"verdict":"PASS"'))
    done = typed("check", results)
    assert done.exit_code == 1
    assert "failed   entries.jsonl" in done.output


def test_a_seal_that_a_kill_kept_from_the_log_is_recorded_and_proven(results: Path) -> None:
    first, second = sorted((results / "simulated").glob("2*"))
    assert typed("record", second).exit_code == 0
    assert "no end recorded" not in typed("check", results).output
    assert typed("record", second).exit_code == 0  # a second time says the same entry
    done = typed("prove", first, "--out", results / "proof.json")
    assert done.exit_code == 0
    assert json.loads((results / "proof.json").read_bytes()) == json.loads(done.output.split("\n", 1)[1])
    away = results / "away" / first.name
    shutil.copytree(first, away)
    shutil.copy(results / "proof.json", away.parent / f"{first.name}.log.json")
    said = CliRunner().invoke(app, ["verify", str(away), "--level", "3"])
    assert "by the proof beside it" in said.output
    assert typed("prove", away).exit_code == 4
    assert typed("record", away).exit_code == 4


def test_a_log_is_made_with_a_key_and_the_key_comes_and_goes(tmp_path: Path) -> None:
    keys.create(tmp_path / "k.pem", "lab.example")
    done = typed("init", tmp_path, "--key", tmp_path / "k.pem", "--origin", "lab.example/log")
    assert done.exit_code == 0, done.output
    assert "key       lab.example/log+" in done.output
    assert typed("init", tmp_path).exit_code == 4
    assert "UNSIGNED" in typed("key", tmp_path, "--withdraw", "lost").output
    assert "lab.example/log+" in typed("key", tmp_path, "--use", tmp_path / "k.pem").output
    assert typed("key", tmp_path).exit_code == 4
    assert typed("key", tmp_path, "--withdraw", "x", "--simulated").exit_code == 4
    shown = typed("show", tmp_path).output
    assert "withdrawn: lab.example/log+" in shown
    assert "lost" in shown
    assert "signed      lab.example/log+" in shown
    assert typed("check", tmp_path).exit_code == 0
    assert typed("init", tmp_path, "--key", tmp_path / "none.pem", "--simulated").exit_code == 4
    assert typed("show", tmp_path / "nowhere").exit_code == 4


def test_a_witness_is_asked_and_answers(results: Path) -> None:
    done = typed("witness", results, "--simulated", "--request")
    assert done.exit_code == 0, done.output
    asked = results / "simulated/log/witness/4"
    assert f"queued    {asked / 'query.tsq'}" in done.output
    assert "ATTEMPT HISTORY NOT WITNESSED" in done.output
    note = cosigned(Note.parse((asked / "checkpoint").read_bytes()), OUTSIDE, SECRET.sign, 1_790_000_000)
    (results / "answer").write_bytes(note.octets)
    (results / "w1.pub").write_text(f"{OUTSIDE.line}\n")
    assert typed("witness", results, "--simulated", "--cosignature", results / "answer").exit_code == 4
    for key in (OUTSIDE.line, results / "w1.pub"):
        done = typed("witness", results, "--simulated", "--cosignature", results / "answer", "--key", key)
        assert done.exit_code == 0, done.output
        assert done.output.splitlines()[-1] == "all 4 entries witnessed from outside"
    assert "cosignature  2026-09-21T14:13:20Z" in typed("show", results).output
    assert typed("witness", results, "--simulated", "--token", results / "answer").exit_code == 4
    assert typed("witness", results, "--simulated", "--tsa", "nowhere").exit_code == 4


@pytest.mark.parametrize("place", ["data/result.json", "data/journal.jsonl", "proof.json", "data/proof.json"])
def test_a_proof_is_never_written_into_a_sealed_folder_nor_over_a_file(results: Path, place: str) -> None:
    first, second = sorted((results / "simulated").glob("2*"))
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    done = typed("prove", first, "--out", first / place)
    assert done.exit_code == 4, done.output
    assert "wanted a" in done.stderr
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before
    assert typed("prove", first, "--out", second / "proof.json").exit_code == 4
    (results / "mine").write_text("precious", encoding="utf-8")
    assert typed("prove", first, "--out", results / "mine").exit_code == 4
    assert (results / "mine").read_text(encoding="utf-8") == "precious"
