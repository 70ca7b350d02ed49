"""The one-file verifier knows runs that can be redacted: blind, redacted result, second signature."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.archive import bag, keys, signature
from harness.archive.folder import REDACTED, REDACTION, RunFolder
from harness.archive.ledger import SEALED
from harness.archive.redacting import redact
from harness.canonical import canonical
from harness.journal import read

ROOT = Path(__file__).parents[2]
POLICY = (ROOT / "harness" / "policies" / "metro-2027.toml").read_text(encoding="utf-8")


def check(path: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "standalone" / "millicert_verify.py", path, *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=120)


def states(done: subprocess.CompletedProcess[str], name: str) -> list[str]:
    rows = [line.split(None, 2) for line in done.stdout.splitlines()]
    return [row[2].split()[0] for row in rows if len(row) == 3 and row[1] == name]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    plan = {"provenance": {"operator": "nobody", "links": ["a-b"]}}
    with RunFolder.create(tmp_path, True, plan, policy=POLICY, secret=bytes(32)) as folder:
        folder.seal()
        return folder.path


def test_a_run_with_a_redaction_verifies_with_both_signatures(run: Path, tmp_path: Path) -> None:
    key = keys.create(tmp_path / "key", "lab.example.org")
    signature.sign(run, keys.load(tmp_path / "key"))
    (tmp_path / "trust").write_text(f"{key.line}\n")
    done = check(run, "--trust", tmp_path / "trust", "--write-signed", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    assert states(done, "signature") == ["ok", "ok"]
    assert states(done, "redaction") == states(done, "result") == ["ok"]
    assert len(list((tmp_path / "out").glob("*.sig"))) == 2


def changed(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def at(path: Path) -> None:
        whole = json.loads((path / name).read_bytes())
        change(whole)
        (path / name).write_bytes(canonical(whole))

    return at


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed(REDACTED, lambda r: r.update(verdict="PASS")), "$.verdict differs"),
        (changed(REDACTED, lambda r: r["provenance"]["bench_sha256"].update(sha256="00" * 32)), "hides another value"),
        (changed(REDACTED, lambda r: r.update(redaction="x")), "its scheme is another"),
        (changed(REDACTION, lambda r: r.update(secret="11" * 32)), "hides another value"),
    ],
    ids=["shown", "hidden", "scheme", "secret"],
)
def test_a_redaction_that_is_not_the_results_is_found(run: Path, change: Callable[[Path], None], words: str) -> None:
    change(run)
    done = check(run)
    assert done.returncode == 1
    assert states(done, "redaction") == ["FAILED"]
    assert words in done.stdout


def test_a_redacted_folder_is_left_to_millicert_by_name(run: Path) -> None:
    done = check(redact(run, lambda *_: b"%PDF-"))
    assert done.returncode == 1
    assert "a redacted folder, which millicert checks" in done.stdout
    assert read(run / "data/journal.jsonl").entries[-1].kind == SEALED
    assert bag.problems(run) == []
