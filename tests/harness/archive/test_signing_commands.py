"""What an auditor types: make a key, sign a folder, verify it as far as he asks, with a line for all that was not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner, Result

from harness import policies
from harness.archive import bag
from harness.archive.folder import CALIBRATIONS, RunFolder
from harness.archive.verify import Check, Level, judge_again, sound, verify
from harness.canonical import JSON, canonical
from harness.cli import app
from harness.measurement import Measurement
from harness.report import pdf, plots
from harness.run import Run


def typed(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def key(tmp_path: Path) -> Path:
    assert typed("key", "new", tmp_path / "lab.key", "--name", "lab.example.org").exit_code == 0
    return tmp_path / "lab.key"


def row(text: str, name: str) -> list[str]:
    """Level, its name, check, state and detail of the one row of a check."""
    found = [line.split(maxsplit=4) for line in text.splitlines() if line.split()[2:3] == [name]]
    assert len(found) == 1, text
    return found[0]


def test_a_key_is_made_once(tmp_path: Path, key: Path) -> None:
    line = Path(f"{key}.pub").read_text().strip()
    again = typed("key", "new", key, "--name", "lab.example.org")
    assert again.exit_code == 4
    assert "one that is there" in again.stderr
    made = typed("key", "new", tmp_path / "other", "--name", "lab.example.org")
    assert made.stdout.splitlines()[-1] == (tmp_path / "other.pub").read_text().strip() != line
    assert typed("key", "new", tmp_path / "third", "--name", "two words").exit_code == 4


@pytest.mark.parametrize("place", ["lab.key", "data/lab.key", "sig/lab.key"])
def test_no_key_is_written_into_a_sealed_folder(sealed: Path, place: str) -> None:
    (sealed / place).parent.mkdir(exist_ok=True)
    done = typed("key", "new", sealed / place, "--name", "lab.example.org")
    assert done.exit_code == 4
    assert "a sealed folder does not change" in done.stderr
    assert not list(sealed.rglob("lab.key*"))
    assert bag.problems(sealed) == []


def test_no_other_command_writes_into_a_sealed_folder(sealed: Path, tmp_path: Path, key: Path) -> None:
    inside = sealed / "data" / "new"
    for words in (
        ("order", "new", "simulated", "--out", inside, "--key", key),
        ("reflect", "--listen", "127.0.0.1", "--journal", inside),
        ("calibrate", "simulated", "--link", "ab", "--out", inside),
        ("redact", sealed, "--out", inside),
        ("export", sealed, "--csv", inside),
    ):
        done = typed(*words)
        assert done.exit_code == 4, words
        assert "wanted a file outside of" in done.stderr or "wanted a folder" in done.stderr, words
    assert bag.problems(sealed) == []


def test_sign_and_verify(sealed: Path, tmp_path: Path, key: Path) -> None:
    before = typed("verify", sealed, "--level", 1)
    assert row(before.stdout, "signature")[:4] == ["1", "signatures", "signature", "note"]
    assert "UNSIGNED" in before.stdout
    assert before.stdout.splitlines()[-2] == "VERIFIED"
    assert before.stdout.splitlines()[-1] == "not looked at: 2 log, 3 time, 4 recomputed, 5 rendered"
    done = typed("sign", sealed, "--key", key)
    assert done.exit_code == 0, done.stderr
    (name,) = (sealed / "sig").iterdir()
    assert str(name) in done.stdout
    again = typed("sign", sealed, "--key", key)
    assert (again.exit_code, "one signature a key" in again.stderr) == (4, True)
    unknown = typed("verify", sealed, "--level", 1)
    assert (unknown.exit_code, "unknown key lab.example.org+" in unknown.stdout) == (0, True)
    trust = tmp_path / "trust"
    trust.write_text(f"# by telephone\n{Path(f'{key}.pub').read_text()}")
    known = typed("verify", sealed, "--trust", trust, "--level", 1)
    assert known.exit_code == 0
    assert row(known.stdout, "signature")[3] == "ok"
    trust.write_text(f"{Path(f'{key}.pub').read_text().strip()} until=2020-01-01")
    expired = typed("verify", sealed, "--trust", trust, "--level", 1)
    assert expired.exit_code == 1
    assert "valid until 2020-01-01" in row(expired.stdout, "signature")[4]
    assert "NOT VERIFIED" in expired.stdout


def test_what_cannot_be_used_is_refused_with_the_remedy(sealed: Path, tmp_path: Path, key: Path) -> None:
    trust = tmp_path / "trust"
    trust.write_text("nobody\nnowhere\n")
    refused = typed("verify", sealed, "--trust", trust)
    assert refused.exit_code == 4
    assert "line 1: " in refused.stderr
    assert "line 2: " in refused.stderr
    assert typed("verify", sealed, "--trust", tmp_path / "none").exit_code == 4
    assert typed("verify", sealed, "--level", 6).exit_code == 2
    trust.write_text(Path(f"{key}.pub").read_text())
    unasked = typed("verify", sealed, "--trust", trust, "--level", 0)
    assert (unasked.exit_code, "--level 1 or more" in unasked.stderr) == (4, True)
    key.chmod(0o644)
    open_key = typed("sign", sealed, "--key", key)
    assert (open_key.exit_code, f"chmod 600 {key}" in open_key.stderr) == (4, True)
    key.chmod(0o600)
    assert typed("sign", tmp_path, "--key", key).exit_code == 4
    assert not (sealed / "sig").exists()


def test_the_end_of_a_run_says_that_nobody_signed_it() -> None:
    ended = SimpleNamespace(folder=SimpleNamespace(path=Path("results/r")), unprinted="", unsealed="")
    assert Run.closing_lines(cast(Run, ended), "en", cut_off=False)[-2:] == [
        "verify    millicert verify results/r",
        "UNSIGNED  millicert sign results/r --key FILE",
    ]


@pytest.fixture(scope="module")
def reported(kit: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run judged and drawn as the harness does it."""
    text = (Path(policies.__file__).parent / "metro-2027-rehearsal.toml").read_text()
    with RunFolder.create(tmp_path_factory.mktemp("reported"), True, kit.PLAN, policy=text) as folder:
        folder.store(kit.a_measurement("cal1", 500, calibrated=False), CALIBRATIONS, kit.a_calibration())
        folder.store(kit.a_measurement("m1", 2_000))
        result = folder.judged()
        written = canonical(result)
        folder.add_file("result.json", written)
        ended = max(each.health.ended_ns for each in folder.measurements) // 1_000_000_000
        drawn = pdf.pdf(result, plots.plots(folder.measurements, result), written, timestamp=ended)
        folder.add_file("report.pdf", drawn)
        folder.seal()
        return folder.path


def test_every_level_of_a_real_run(reported: Path) -> None:
    done = typed("verify", reported, "--level", 5)
    assert done.exit_code == 0, done.stdout
    assert row(done.stdout, "result")[:4] == ["4", "recomputed", "result", "ok"]
    found = row(done.stdout, "report")
    assert found[:4] == ["5", "rendered", "report", "ok"]
    assert f"all {(reported / 'data/report.pdf').stat().st_size} octets the same" in found[4]
    assert "report " not in typed("verify", reported).stdout


def report(path: Path, kit: Any, version: str, render: Any) -> Check:
    checks = verify(path, kit.counting_judge, lambda: {"version": version}, level=5, render=render)
    assert [check.level for check in checks] == sorted(check.level for check in checks)
    assert checks[-1].level == Level.RENDERED
    return checks[-1]


def test_a_report_that_is_drawn_otherwise_is_a_note_unless_the_software_is_the_same(kit: Any, sealed: Path) -> None:
    given: list[object] = []

    def render(measurements: Sequence[Measurement], result: Mapping[str, JSON], written: bytes) -> bytes:
        given.extend([[each.id for each in measurements], result["schema"], written])
        return b"%PDF-1.7 not really\n"

    assert report(sealed, kit, "1", render).state == "ok"
    assert given == [["m1", "m2"], "test-result/1", (sealed / "data/result.json").read_bytes()]
    same, other = report(sealed, kit, "1", lambda *_: b"another"), report(sealed, kit, "2", lambda *_: b"another")
    assert (same.state, other.state) == ("failed", "note")
    assert all("typst" in each.detail and "matplotlib" in each.detail for each in (same, other))


def test_a_report_that_cannot_be_compared_is_not_passed(kit: Any, sealed: Path) -> None:
    def stumbles(*_: object) -> bytes:
        raise ZeroDivisionError("by design")

    for render, why in ((stumbles, "ZeroDivisionError: by design"), (None, "nothing is here to draw it with")):
        found = report(sealed, kit, "1", render)
        assert (found.state, why in found.detail) == ("not-checked", True)
        assert not sound([found])
    (sealed / "data/journal.jsonl").write_bytes(b"")
    assert report(sealed, kit, "1", lambda *_: b"").state == "not-checked"
    (sealed / "data/report.pdf").unlink()
    assert report(sealed, kit, "1", None).state == "note"


def test_a_folder_judged_again_has_no_report(kit: Any, sealed: Path) -> None:
    path, _ = judge_again(
        sealed, 'id = "p"\n', judge=kit.counting_judge, here=lambda: {"version": "1"}, utc_ns=kit.NOON
    )
    assert report(path, kit, "1", None).state == "note"
