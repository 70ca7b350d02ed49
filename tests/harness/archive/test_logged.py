"""Verification places a run in its log, says who answers for the log, and finds every lie about an attempt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.archive import bag, keys, record
from harness.archive.folder import RunFolder
from harness.archive.history import item
from harness.archive.keys import Trust, TrustedKey, VerifierKey, read_trust
from harness.archive.ledger import LOGGED
from harness.archive.log import KEY_VARIABLE, Log, told
from harness.archive.note import CosignerKey, Note
from harness.archive.verify import Check, Level, judge_again, sound, verify
from harness.archive.witness import add_cosignature, request
from tests.harness.archive.cosigning import cosigned

ITEM = item("bench", ["a"], ["T1"])
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OUTSIDE = CosignerKey("witness.example/w1", SECRET.public_key().public_bytes_raw())


@pytest.fixture(autouse=True)
def no_key_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def judge(measurements: Any, policy: str, provenance: Any) -> dict[str, Any]:
    return {"verdict": "PASS", "provenance": dict(provenance)}


def a_run(kit: Any, root: Path, suffix: str, *, lie: dict[str, object] | None = None, end: bool = True) -> Path:
    """A run as `harness.run` makes one; ``lie`` is put over what its journal says of the log."""
    log = Log.of(root, True, kit.ticking(kit.NOON - 10**9))
    with kit.started(root, suffix=suffix) as folder:
        assert isinstance(folder, RunFolder)
        found = log.plan(folder.name, ITEM, plan_sha256=folder.ledger.plan_sha256)
        folder.journal.append(LOGGED, **{**told(found, 0), **(lie or {})})
        folder.store(kit.a_measurement(calibrated=False))
        folder.seal(judge)
    if end:
        record.sealed(log, folder.path)
    return folder.path


@pytest.fixture
def second(kit: Any, tmp_path: Path) -> Path:
    """The second attempt of two."""
    a_run(kit, tmp_path, "aaaaaa")
    return a_run(kit, tmp_path, "bbbbbb")


def rows(path: Path, level: Level = Level.LOG, trust: Trust | None = None) -> dict[str, Check]:
    found = [c for c in verify(path, judge, lambda: {"version": "1"}, trust=trust) if c.level == level]
    return {c.name: c for c in found}


def failures(path: Path) -> str:
    return "; ".join(c.detail for c in rows(path).values() if c.state == "failed")


def test_a_run_beside_its_log_is_placed_and_its_attempt_told(second: Path) -> None:
    checks = rows(second)
    assert {name: c.state for name, c in checks.items()} == {"log": "ok", "checkpoint": "note", "attempts": "note"}
    assert "entry 3 of" in checks["log"].detail
    assert "sealed by entry 4" in checks["log"].detail
    assert "UNSIGNED" in checks["checkpoint"].detail
    assert "attempt 2 of its item, earlier ones are entries 1" in checks["attempts"].detail
    assert "ATTEMPT HISTORY NOT WITNESSED" in checks["attempts"].detail
    assert "NOT WITNESSED" in rows(second, Level.TIME)["time"].detail
    assert sound(verify(second, judge, lambda: {"version": "1"}))


def test_a_run_copied_away_alone_verifies_and_says_what_is_its_own_word(second: Path, tmp_path: Path) -> None:
    away = tmp_path / "away" / second.name
    shutil.copytree(second, away)
    checks = rows(away)
    assert {name: c.state for name, c in checks.items()} == {"log": "note"}
    assert "entry 3, attempt 2" in checks["log"].detail
    assert "millicert log prove" in checks["log"].detail
    assert sound(verify(away, judge, lambda: {"version": "1"}))
    # With the proof beside it, and with that of another run.
    proof = second.parent / f"log/proofs/{second.name}.json"
    shutil.copy(proof, away.parent / f"{second.name}.log.json")
    assert "by the proof beside it" in rows(away)["log"].detail
    assert sound(verify(away, judge, lambda: {"version": "1"}))
    other = next(p for p in proof.parent.iterdir() if p != proof)
    shutil.copy(other, away.parent / f"{second.name}.log.json")
    assert "a proof of run" in rows(away)["log"].detail
    assert rows(away)["log"].state == "failed"
    # In another laboratory's results folder its log is no judge of it.
    (away.parent / f"{second.name}.log.json").unlink()
    Log.create(away.parent / "log", True)
    assert rows(away)["log"].state == "note"


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        ({"attempt": 1}, "attempt 1 in its journal, 2 in the log"),
        ({"index": 1}, "index 1 in its journal"),
        ({"item": "0" * 64}, "item"),
        ({"earlier": []}, "earlier attempts [] in its journal, [1] in the log"),
        ({"previous": {"size": 3, "root": "00" * 32}}, "previous checkpoint"),
    ],
)
def test_a_run_that_lies_about_its_attempt_is_found(kit: Any, tmp_path: Path, lie: dict[str, Any], said: str) -> None:
    a_run(kit, tmp_path, "aaaaaa")
    path = a_run(kit, tmp_path, "bbbbbb", lie=lie)
    assert said in failures(path)


def test_a_run_resealed_after_it_was_logged_is_found(second: Path) -> None:
    (second / "data/result.json").write_bytes(b'{"verdict":"PASS"}')
    bag.seal(second, second.name, "2026-09-21")
    assert "manifest-sha256.txt has another hash than entry 4" in failures(second)


def test_a_run_whose_seal_or_plan_was_never_logged_is_found(kit: Any, tmp_path: Path) -> None:
    path = a_run(kit, tmp_path, "aaaaaa", end=False)
    assert "millicert log record" in failures(path)
    record.sealed(Log.of(tmp_path, True), path)
    assert failures(path) == ""
    with kit.started(tmp_path, suffix="cccccc") as secret:
        secret.store(kit.a_measurement(calibrated=False))
        secret.seal(judge)
    assert "never logged" in failures(secret.path)


def test_a_rewritten_log_is_found_from_the_run(second: Path) -> None:
    entries = second.parent / "log/entries.jsonl"
    whole = entries.read_bytes()
    entries.write_bytes(whole.replace(b'"kind":"sealed"', b'"kind":"torned"', 1))
    assert "millicert log check" in failures(second)
    entries.write_bytes(whole[:-9])
    assert failures(second)
    entries.write_bytes(whole)
    assert failures(second) == ""


def test_a_judgement_by_another_policy_has_its_own_entry(kit: Any, second: Path) -> None:
    path, _ = judge_again(second, 'id = "p"\n', judge=judge, here=dict)
    assert rows(path)["judgement"].state == "note"
    record.judged_again(Log(second.parent / "log"), second.name, path)
    assert rows(path)["judgement"].state == "ok"
    (path / "data/result.json").write_bytes(b"{}")
    assert rows(path)["judgement"].state == "failed"


@pytest.fixture
def signed(kit: Any, tmp_path: Path) -> tuple[Path, Trust]:
    """A run under a signed log, with the trust file that lists the key."""
    keys.create(tmp_path / "k.pem", "lab.example")
    Log.create(tmp_path / "simulated/log", True, key_file=tmp_path / "k.pem", instants=kit.ticking(kit.NOON - 10**9))
    return a_run(kit, tmp_path, "aaaaaa"), read_trust(tmp_path / "k.pem.pub")


def test_a_signed_log_is_worth_as_much_as_its_key(signed: tuple[Path, Trust], tmp_path: Path) -> None:
    path, trust = signed
    assert rows(path)["checkpoint"].state == "note"
    assert rows(path, trust=trust)["checkpoint"].state == "ok"
    stranger = Trust("x", (TrustedKey(VerifierKey("x", OUTSIDE.public)),))
    assert rows(path, trust=stranger)["checkpoint"].state == "note"
    away = tmp_path / "away" / path.name
    shutil.copytree(path, away)
    shutil.copy(path.parent / f"log/proofs/{path.name}.json", away.parent / f"{path.name}.log.json")
    assert rows(away, trust=trust)["checkpoint"].state == "ok"
    file = path.parent / "log/checkpoint"
    note = Note.parse(file.read_bytes())
    blob = note.signatures[0].blob
    forged = type(note.signatures[0])(note.signatures[0].name, note.signatures[0].key_id, blob[::-1])
    file.write_bytes(Note(note.text, (forged,)).octets)
    assert rows(path)["checkpoint"].state == "failed"


def test_a_trusted_witness_dates_the_run(second: Path) -> None:
    place = second.parent / "log"
    note = cosigned(Note.parse((request(place) / "checkpoint").read_bytes()), OUTSIDE, SECRET.sign, 1_790_000_600)
    add_cosignature(place, note.octets, OUTSIDE)
    assert rows(second, Level.TIME)["time"].state == "note"
    trust = Trust("x", (TrustedKey(VerifierKey(OUTSIDE.name, OUTSIDE.public)),))
    check = rows(second, Level.TIME, trust)["time"]
    assert (check.state, "2026-09-21T14:23:20Z" in check.detail) == ("ok", True)
    (place / "checkpoints/5").write_bytes((place / "checkpoints/4").read_bytes())
    found = [c.state for c in verify(second, judge, dict, trust=trust) if c.level == Level.TIME]
    assert found == ["failed", "note"]


def test_the_result_carries_what_the_journal_says(second: Path) -> None:
    result = json.loads((second / "data/result.json").read_bytes())
    assert result["provenance"]["log"]["attempt"] == 2
