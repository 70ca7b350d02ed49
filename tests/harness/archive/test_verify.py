"""Verification finds every change and names it, even where the manifests were forged with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import policies
from harness.archive import bag
from harness.archive.folder import CALIBRATIONS, RunFolder
from harness.archive.segments import decode, encode
from harness.archive.verify import Check, Level, judge_again, sound, verify
from harness.canonical import canonical
from harness.errors import ArchiveError
from harness.samples import COLUMNS

Checks = dict[str, Check]
Verify = Callable[[Path], Checks]


@pytest.fixture
def check(kit: Any) -> Verify:
    def run(path: Path) -> Checks:
        return {c.name: c for c in verify(path, kit.counting_judge, lambda: {"version": "1"})}

    return run


def forge(path: Path) -> None:
    """Write manifests that fit whatever is there."""
    date = dict(line.split(": ") for line in (path / "bag-info.txt").read_text().splitlines())["Bagging-Date"]
    bag.seal(path, path.name, date)


OUTSIDE = ("signature", "log", "time")
"""Checks that ask for others' word: a folder alone has none."""


def failed(checks: Checks) -> set[str]:
    return {c.name for c in checks.values() if c.state == "failed"}


def test_an_untouched_run_is_sound(sealed: Path, check: Verify) -> None:
    checks = check(sealed)
    assert {c.state for c in checks.values() if c.name not in OUTSIDE} == {"ok"}
    assert {checks[name].state for name in OUTSIDE} == {"note"}
    assert "other attempts cannot be ruled out" in checks["log"].detail
    assert "UNSIGNED" in checks["signature"].detail
    assert list(checks) == [
        "bag", "journal", "plan", "records", "signature", "log", "time", "calibration", "result", "software",
    ]  # fmt: skip
    assert sound(list(checks.values()))
    moved = sealed.parent.parent / sealed.name
    shutil.copytree(sealed, moved)
    assert sound(list(check(moved).values()))


def test_any_changed_octet_of_any_file_is_found_and_the_file_named(sealed: Path, check: Verify) -> None:
    draw = np.random.default_rng(20260921)
    files = sorted(p for p in sealed.rglob("*") if p.is_file())
    assert len(files) > 20
    for path in files:
        whole = path.read_bytes()
        for offset in {0, len(whole) - 1, *draw.integers(len(whole), size=4).tolist()}:
            damaged = bytearray(whole)
            damaged[offset] ^= int(draw.integers(1, 256))
            path.write_bytes(damaged)
            checks = check(sealed)
            details = " ".join(c.detail for c in checks.values() if c.state == "failed")
            assert path.relative_to(sealed).as_posix() in details, offset
            assert checks["bag"].state == "failed"
            assert not sound(list(checks.values()))
        path.write_bytes(whole)
    assert sound(list(check(sealed).values()))


def test_a_shorter_longer_or_missing_file_is_named(sealed: Path, check: Verify) -> None:
    path = sealed / "data/measurements/m1/samples-00001.npz"
    whole = path.read_bytes()
    for octets in (whole[:-1], whole + b"\0", b""):
        path.write_bytes(octets)
        assert "data/measurements/m1/samples-00001.npz" in check(sealed)["bag"].detail
    path.unlink()
    checks = check(sealed)
    assert failed(checks) == {"bag", "records", "result"}
    assert "samples-00001.npz missing" in checks["records"].detail


def test_a_forged_result_is_recomputed_and_its_first_difference_named(sealed: Path, check: Verify) -> None:
    path = sealed / "data/result.json"
    result = json.loads(path.read_bytes())
    result["measurements"][1]["rows"] = 299
    path.write_bytes(canonical(result))
    forge(sealed)
    checks = check(sealed)
    assert failed(checks) == {"records", "result"}
    assert "$.measurements[1].rows: 299 archived, 300 recomputed" in checks["result"].detail


def test_forged_samples_differ_from_the_journal(sealed: Path, check: Verify) -> None:
    path = sealed / "data/measurements/m1/samples-00000.npz"
    samples = decode(path.read_bytes())
    columns = {name: getattr(samples, name).copy() for name in COLUMNS}
    columns["t2"][7] -= 1
    path.write_bytes(encode(columns))
    forge(sealed)
    checks = check(sealed)
    assert failed(checks) == {"records", "result"}
    assert "data/measurements/m1/samples-00000.npz differs" in checks["records"].detail
    assert "$.measurements[0].digest" in checks["result"].detail


def test_samples_that_were_never_journaled_are_found(sealed: Path, check: Verify) -> None:
    shutil.copy(sealed / "data/measurements/m1/samples-00000.npz", sealed / "data/measurements/m1/samples-00003.npz")
    forge(sealed)
    assert "samples-00003.npz was never journaled" in check(sealed)["records"].detail


def test_a_plan_changed_after_the_run_is_found(sealed: Path, check: Verify) -> None:
    (sealed / "data/plan.json").write_bytes(canonical({"title": "rehearsal", "streams": ["easier"]}))
    forge(sealed)
    checks = check(sealed)
    assert "data/plan.json" in checks["plan"].detail
    assert {"plan", "records", "result"} == failed(checks)


def test_a_deleted_journal_line_is_found(sealed: Path, check: Verify) -> None:
    path = sealed / "data/journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5] + lines[6:]))
    forge(sealed)
    checks = check(sealed)
    assert "line 5" in checks["journal"].detail
    assert checks["result"].state == "not-checked"
    path.write_bytes(b"".join(lines[:-1]))
    forge(sealed)
    assert "does not end with the line that seals it" in check(sealed)["journal"].detail
    path.write_bytes(b"".join(lines) + b'{"data"')
    forge(sealed)
    assert "7 octets of a torn line" in check(sealed)["journal"].detail


def test_a_journal_whose_time_runs_backwards_is_found(kit: Any, tmp_path: Path, check: Verify) -> None:
    # The folder's name, then the lines: committed, step, step, result.json, sealed.
    readings = iter([(kit.NOON, monotonic) for monotonic in (0, 1, 2, 9, 8, 10, 11)])
    with kit.started(tmp_path, lambda: next(readings)) as folder:
        for _ in range(3):
            folder.journal.append("step")
        folder.seal(kit.counting_judge)
    assert "line 3 is older than line 2" in check(folder.path)["journal"].detail


def test_a_renamed_run_is_found(sealed: Path, check: Verify) -> None:
    other = sealed.rename(sealed.with_name("20260101T000000Z-c0ffee"))
    assert failed(check(other)) == {"journal"}


@pytest.mark.parametrize("name", ["Bagging-Date: 2026-09-2", "Identifier: 2026", "Oxum: ", "Agent: mill"])
def test_a_label_of_the_bag_that_was_forged_with_its_manifest_is_found(
    kit: Any, sealed: Path, check: Verify, name: str
) -> None:
    path, _ = again(kit, sealed)
    for folder, row in ((path, "original"), (sealed, "journal")):
        whole = (folder / "bag-info.txt").read_text()
        at = whole.index(name) + len(name)
        label = f"{whole[:at]}{'3' if whole[at] != '3' else '4'}{whole[at + 1 :]}"
        (folder / "bag-info.txt").write_text(label)
        tags = ("bag-info.txt", "bagit.txt", bag.MANIFEST)
        lines = "".join(f"{bag.file_sha256(folder / tag)}  {tag}\n" for tag in tags)
        (folder / bag.TAG_MANIFEST).write_text(lines)
        assert bag.problems(folder) == []
        assert failed(check(folder)) == {row}
        assert "bag-info.txt does not say" in check(folder)[row].detail


def test_a_calibration_that_is_not_kept_is_found(kit: Any, tmp_path: Path, check: Verify) -> None:
    with kit.started(tmp_path) as folder:
        folder.store(kit.a_measurement("m1"))
        folder.seal(kit.counting_judge)
    assert failed(check(folder.path)) == {"calibration"}
    with kit.started(tmp_path / "other") as folder:
        folder.store(kit.a_measurement("cal1", 500, calibrated=False), CALIBRATIONS, kit.a_calibration())
        folder.store(kit.a_measurement("m1"))
        folder.seal(kit.counting_judge)
    assert failed(check(folder.path)) == set()


def test_a_calibration_with_kinder_numbers_is_found(kit: Any, tmp_path: Path, check: Verify) -> None:
    numbers = kit.a_calibration()
    kinder = replace(numbers, bias_ns={way: bias + 900 for way, bias in numbers.bias_ns.items()})
    with kit.started(tmp_path) as folder:
        folder.store(kit.a_measurement("cal1", 500, calibrated=False), CALIBRATIONS, kinder)
        folder.store(replace(kit.a_measurement("m1"), calibration=kinder))
        folder.seal(kit.counting_judge)
    checks = check(folder.path)
    assert failed(checks) == {"calibration"}
    assert "data/calibration/cal1/calibration.json is not what its samples give" in checks["calibration"].detail


def test_a_resumed_run_verifies_with_its_attempts(kit: Any, tmp_path: Path, check: Verify) -> None:
    with kit.started(tmp_path) as folder:
        folder.begin("m1", rows=100).append(kit.realistic(250))
    with (folder.path / "data/journal.jsonl").open("ab") as journal:
        journal.write(b'{"data":{"hal')
    # A later boot: its monotonic clock starts again.
    with RunFolder.open(folder.path, instants=kit.ticking(kit.NOON)) as again:
        again.store(kit.a_measurement("m1", calibrated=False))
        again.seal(kit.counting_judge)
    assert failed(check(folder.path)) == set()
    (folder.path / "data/attempts/1/measurements/m1/samples-00001.npz").write_bytes(b"")
    forge(folder.path)
    assert "data/attempts/1/measurements/m1/samples-00001.npz" in check(folder.path)["records"].detail


def test_a_judge_that_stumbles_hides_no_other_check(sealed: Path) -> None:
    def stumbles(*_: Any) -> dict[str, Any]:
        raise ZeroDivisionError("by design")

    checks = {c.name: c for c in verify(sealed, stumbles, lambda: {"version": "1"})}
    assert failed(checks) == {"result"}
    assert "ZeroDivisionError: by design" in checks["result"].detail


def test_other_software_is_a_note(kit: Any, sealed: Path) -> None:
    checks = verify(sealed, kit.counting_judge, lambda: {"version": "2"})
    assert checks[-1] == Check(
        Level.RECOMPUTED, "software", "note", 'another than the run\'s, first at $.version: "1" archived, "2" here'
    )
    assert sound(checks)


def test_what_is_no_folder_fails(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        assert not sound(verify(path))


NEW_POLICY = 'id = "metro-2028"\nlimit_ns = 900000\n'


def again(kit: Any, path: Path, **more: Any) -> tuple[Path, dict[str, Any]]:
    return judge_again(
        path, NEW_POLICY, judge=kit.counting_judge, here=lambda: {"version": "1"}, utc_ns=kit.NOON, **more
    )


def test_judging_again_leaves_the_run_alone_and_verifies_itself(kit: Any, sealed: Path, check: Verify) -> None:
    before = {p: p.read_bytes() for p in sealed.rglob("*") if p.is_file()}
    first, result = again(kit, sealed, reason="policy of 2028")
    second, _ = again(kit, sealed)
    assert {p: p.read_bytes() for p in sealed.rglob("*") if p.is_file()} == before
    assert [first.name, second.name] == [f"{sealed.name}.judged-metro-2028-{k}" for k in (1, 2)]
    assert result["policy"] == NEW_POLICY
    assert json.loads((first / "data/result.json").read_bytes()) == result
    assert result["provenance"]["judged_again"] == {
        "schema": "millicert-judged-again/1",
        "run": sealed.name,
        "manifest_sha256": bag.file_sha256(sealed / bag.MANIFEST),
        "reason": "policy of 2028",
        "judged_utc_ns": str(kit.NOON),
    }
    checks = check(first)
    assert list(checks) == ["bag", "original", "signature", "log", "time", "result", "software"]
    assert {c.state for c in checks.values() if c.name not in OUTSIDE} == {"ok"}


def test_a_folder_judged_again_hangs_on_its_run(kit: Any, sealed: Path, check: Verify) -> None:
    path, result = again(kit, sealed)
    (path / "data/result.json").write_bytes(canonical({**result, "policy": "kinder"}))
    assert failed(check(path)) == {"bag", "result"}
    forge(path)
    assert failed(check(path)) == {"result"}
    path, _ = again(kit, sealed)
    (path / "data/policy.toml").write_text(NEW_POLICY.replace("900000", "999999"))
    forge(path)
    assert failed(check(path)) == {"result"}
    path, _ = again(kit, sealed)
    (sealed / "data/report.pdf").write_bytes(b"another")
    assert "data/report.pdf altered" in check(path)["original"].detail
    forge(sealed)
    assert "is not the run this folder refers to" in check(path)["original"].detail
    shutil.rmtree(sealed)
    checks = check(path)
    assert checks["result"].state == checks["original"].state == "not-checked"
    assert not sound(list(checks.values()))


def test_an_altered_or_unsealed_run_is_not_judged_again(kit: Any, sealed: Path) -> None:
    path, _ = again(kit, sealed)
    with pytest.raises(ArchiveError, match="judge the run it names"):
        again(kit, path)
    (sealed / "data/report.pdf").write_bytes(b"another")
    with pytest.raises(ArchiveError, match=r"data/report\.pdf altered"):
        again(kit, sealed)
    (sealed / bag.TAG_MANIFEST).unlink()
    with pytest.raises(ArchiveError, match="never sealed"):
        again(kit, sealed)
    assert len(list(sealed.parent.iterdir())) == 2


def test_the_harnesss_own_judge_gives_the_same_octets_years_later(kit: Any, tmp_path: Path) -> None:
    text = (Path(policies.__file__).parent / "metro-2027.toml").read_text()
    with RunFolder.create(tmp_path, True, kit.PLAN, policy=text) as folder:
        folder.store(kit.a_measurement("cal1", 500, calibrated=False), CALIBRATIONS, kit.a_calibration())
        folder.store(kit.a_measurement("m1", 2_000))
        folder.seal()
    checks = verify(folder.path, here=dict)
    assert {c.state for c in checks if c.name not in (*OUTSIDE, "software")} == {"ok"}
    path, _ = judge_again(folder.path, text, reason="to see", here=dict)
    assert sound(verify(path, here=dict))
