"""A run folder keeps everything, in order, and knows what is finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.archive import bag
from harness.archive.folder import CALIBRATIONS, NOTICE, SCHEMA, RunFolder, judgement, plan_hash, policy_id, unfinished
from harness.archive.ledger import COMMITTED, FINISHED, STARTED
from harness.archive.measurements import load_calibration, load_measurement
from harness.archive.verify import sound, verify
from harness.errors import ArchiveError
from harness.journal import read
from harness.measurement import Measurement
from harness.report import phrases
from harness.samples import NO_STALLS


def tree(path: Path) -> dict[str, str]:
    return {
        p.relative_to(path).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(path.rglob("*"))
        if p.is_file()
    }


def test_the_same_run_gives_the_same_octets(kit: Any, tmp_path: Path) -> None:
    one, other = kit.whole_run(tmp_path / "one"), kit.whole_run(tmp_path / "other")
    assert one.name == other.name == "20260921T141320Z-c0ffee"
    assert one.parent.name == "simulated"
    assert tree(one) == tree(other)


def test_a_real_run_lies_apart_from_simulated_ones(kit: Any, tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, False, {}, instants=kit.ticking()) as folder:
        assert folder.path.parent == tmp_path
        assert not folder.ledger.simulated


def test_the_plan_is_committed_before_anything_else(kit: Any, folder: RunFolder) -> None:
    folder.store(kit.a_measurement())
    first, second, *_ = folder.journal.entries
    assert (first.kind, second.kind) == (COMMITTED, STARTED)
    plan = (folder.path / "data/plan.json").read_bytes()
    assert json.loads(plan) == kit.PLAN == folder.plan
    assert folder.ledger.plan_sha256 == hashlib.sha256(plan).hexdigest() == plan_hash(kit.PLAN)
    assert first.data["files"] == {
        f"data/{name}": hashlib.sha256((folder.path / "data" / name).read_bytes()).hexdigest()
        for name in ("plan.json", "bench.toml", "policy.toml", "environment.json")
    }
    assert folder.policy == kit.POLICY_TEXT


def test_a_measurement_comes_back_in_every_field(kit: Any, folder: RunFolder) -> None:
    whole = kit.a_measurement("m1")
    bare = Measurement("m2", whole.link, whole.stream, whole.samples.where(np.zeros(300, np.bool_)), (), whole.health)
    assert bare.stalls is NO_STALLS
    folder.store(whole)
    folder.store(bare)
    back = folder.measurements
    assert folder.finished == ("m1", "m2")
    assert kit.same(folder.load("m1"), whole)
    assert kit.same(back[0], whole)
    assert kit.same(back[1], bare)
    assert not kit.same(back[0], bare)


def test_a_calibration_keeps_its_raw_samples_and_numbers(kit: Any, folder: RunFolder) -> None:
    raw = kit.a_measurement("cal1", 50, calibrated=False)
    folder.store(raw, CALIBRATIONS, kit.a_calibration())
    directory = folder.path / "data/calibration/cal1"
    assert kit.same(load_measurement(directory), raw)
    assert load_calibration(directory) == folder.calibration("cal1") == kit.a_calibration()
    assert kit.same(folder.load("cal1", CALIBRATIONS), raw)
    assert (folder.measurements, folder.finished) == ((), ())
    assert folder.calibration("m1") is None
    with pytest.raises(ArchiveError, match="measure it first"):
        folder.load("cal1")


def test_rows_written_while_measuring_must_be_all_rows(kit: Any, folder: RunFolder) -> None:
    writer = folder.begin("m1", rows=100)
    writer.append({n: c[:150] for n, c in kit.realistic(300).items()})
    with pytest.raises(ArchiveError, match=r"300 rows.*found 150"):
        folder.finish(kit.a_measurement("m1"))
    writer.append({n: c[150:] for n, c in kit.realistic(300).items()})
    folder.finish(kit.a_measurement("m1"))
    assert kit.same(folder.measurements[0], kit.a_measurement("m1"))
    assert folder.journal.entries[-1].kind == FINISHED


def test_each_measurement_has_its_own_name(kit: Any, folder: RunFolder) -> None:
    folder.store(kit.a_measurement("东湖-光谷.1"))
    with pytest.raises(ArchiveError, match="was begun"):
        folder.begin("东湖-光谷.1")
    folder.begin("m2")
    with pytest.raises(ArchiveError, match="was begun"):
        folder.begin("m2")
    for name in ("", "..", "a/b", "a→b", "-x", "x" * 201, "e\u0301", "a\n", ".hidden"):
        with pytest.raises(ArchiveError, match="letters"):
            folder.begin(name)
    with pytest.raises(ArchiveError, match="call begin first"):
        folder.finish(kit.a_measurement("m3"))


def test_what_was_committed_cannot_be_replaced(kit: Any, folder: RunFolder) -> None:
    for name in ("plan.json", "policy.toml", "bench.toml", "environment.json", "journal.jsonl"):
        with pytest.raises(ArchiveError, match="committed"):
            folder.add_file(name, b"other")
    with pytest.raises(ArchiveError, match="letters"):
        folder.add_file("../report.pdf", b"")


def test_the_judge_gets_what_is_on_disk_and_the_runs_provenance(kit: Any, folder: RunFolder) -> None:
    folder.store(kit.a_measurement())
    seen: list[Any] = []

    def judge(measurements: Sequence[Measurement], policy: str, provenance: Mapping[str, Any]) -> dict[str, Any]:
        seen.append((measurements, policy, provenance))
        return {"verdict": "PASS"}

    assert folder.judge(judge) == {"verdict": "PASS"}
    ((measurements, policy, provenance),) = seen
    assert kit.same(measurements[0], kit.a_measurement())
    assert policy == kit.POLICY_TEXT
    assert provenance == {
        "operator": "nobody",
        "lab": "bench 3",
        "deviations": [],
        "run": folder.name,
        "plan_sha256": plan_hash(kit.PLAN),
        "policy_sha256": hashlib.sha256(policy.encode()).hexdigest(),
        "bench_sha256": hashlib.sha256(b"# bench\n").hexdigest(),
    }
    folder.seal(judge)
    assert len(seen) == 1
    assert (folder.path / "data/result.json").read_bytes() == b'{"verdict":"PASS"}'


def test_sealing_judges_again_what_was_measured_since(kit: Any, folder: RunFolder) -> None:
    folder.judge(kit.counting_judge)
    folder.store(kit.a_measurement())
    manifest = folder.seal(kit.counting_judge)
    assert len(json.loads((folder.path / "data/result.json").read_bytes())["measurements"]) == 1
    assert manifest == hashlib.sha256((folder.path / bag.MANIFEST).read_bytes()).hexdigest()


def test_a_result_with_a_float_is_refused(folder: RunFolder) -> None:
    with pytest.raises(ArchiveError, match=r"\$\.delay"):
        folder.seal(lambda *_: {"delay": 0.5})
    assert not bag.sealed(folder.path)


def test_an_unfinished_measurement_is_not_sealed(folder: RunFolder, kit: Any) -> None:
    folder.begin("m1")
    with pytest.raises(ArchiveError, match="measurements/m1"):
        folder.seal(kit.counting_judge)


def test_a_sealed_folder_is_never_written_again(sealed: Path) -> None:
    before = tree(sealed)
    with pytest.raises(ArchiveError, match="sealed run"):
        RunFolder.open(sealed)
    assert tree(sealed) == before


def test_two_runs_cannot_write_one_folder(kit: Any, folder: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="process 1 on here"):
        RunFolder.open(folder.path)
    with pytest.raises(ArchiveError, match="one that is there"):
        kit.started(tmp_path)


def test_a_resumed_run_keeps_attempts_and_measures_the_rest(kit: Any, tmp_path: Path) -> None:
    with kit.started(tmp_path) as first:
        first.store(kit.a_measurement("m1"))
        first.store(kit.a_measurement("m2", interrupted="SIGHUP"))
        first.begin("m3", rows=100).append(kit.realistic(250))
        for name in ("data/report.pdf.partial", "manifest-sha256.txt.partial"):
            (first.path / name).write_text("half")
        (first.path / "data/measurements/m3/samples-00002.npz.partial").write_text("half")
    found = unfinished(tmp_path, plan_hash(kit.PLAN))
    assert found is not None
    assert (found.path, found.finished, found.interrupted) == (first.path, ("m1",), ("m3", "m2"))

    with RunFolder.open(first.path, instants=kit.ticking()) as second:
        assert list(second.ledger.finished) == ["measurements/m1"]
        second.begin("m3", rows=100).append(kit.realistic(50))
    with RunFolder.open(first.path, instants=kit.ticking()) as third:
        third.store(kit.a_measurement("m2"))
        third.store(kit.a_measurement("m3"))
        third.seal(kit.counting_judge)
    files = tree(first.path / "data/attempts")
    assert sorted(files) == [
        "1/measurements/m2/evidence.jsonl", "1/measurements/m2/measurement.json",
        "1/measurements/m2/samples-00000.npz", "1/measurements/m2/stalls.npz",
        "1/measurements/m3/samples-00000.npz", "1/measurements/m3/samples-00001.npz",
        "1/measurements/m3/samples-00002.npz.partial",
    ]  # fmt: skip
    manifest = (first.path / bag.MANIFEST).read_text()
    assert all(f"data/attempts/{name}\n" in manifest for name in files)
    assert [p for p in first.path.rglob("*.partial") if "attempts" not in p.parts] == []
    assert [m["id"] for m in json.loads((first.path / "data/result.json").read_bytes())["measurements"]] == [
        "m1", "m2", "m3",
    ]  # fmt: skip
    assert unfinished(tmp_path, plan_hash(kit.PLAN)) is None


def test_an_interrupted_run_can_be_closed_as_it_is(kit: Any, tmp_path: Path) -> None:
    with kit.started(tmp_path) as first:
        first.store(kit.a_measurement("m1", interrupted="SIGTERM"))
    with RunFolder.open(first.path, redo_interrupted=False) as second:
        assert second.ledger.finished == {"measurements/m1": "SIGTERM"}
        second.seal(kit.counting_judge)
    assert bag.sealed(first.path)


def test_a_kill_between_journaling_a_move_and_moving_is_mended(kit: Any, tmp_path: Path) -> None:
    with kit.started(tmp_path) as first:
        first.begin("m1", rows=100).append(kit.realistic(100))
    RunFolder.open(first.path).close()
    (first.path / "data/attempts/1/measurements/m1").rename(first.path / "data/measurements/m1")
    with RunFolder.open(first.path) as third:
        assert (third.path / "data/attempts/1/measurements/m1/samples-00000.npz").exists()
        assert not (third.path / "data/measurements/m1").exists()


def test_a_kill_between_writing_a_file_and_journaling_it_is_mended(kit: Any, tmp_path: Path) -> None:
    with kit.started(tmp_path) as first:
        first.add_file("report.pdf", b"first")
        first.judge(kit.counting_judge)
        (first.path / "data/report.pdf").write_bytes(b"second")
        (first.path / "data/junit.xml").write_bytes(b"<new/>")
        (first.path / "data/result.json").write_bytes(b"{}")
    with RunFolder.open(first.path) as second:
        adopted = [e.data["path"] for e in second.journal.entries if e.kind == "archive.adopted"]
        assert adopted == ["data/junit.xml", "data/report.pdf", "data/result.json"]
        second.seal(kit.counting_judge)
    assert sound(verify(first.path, kit.counting_judge, dict))


def test_the_newest_unsealed_run_of_the_same_plan_is_found(kit: Any, tmp_path: Path) -> None:
    day = 86_400 * 10**9
    for k, suffix in enumerate(("aaaaaa", "bbbbbb", "cccccc")):
        kit.started(tmp_path, instants=kit.ticking(kit.NOON + k * day), suffix=suffix).close()
    RunFolder.create(tmp_path, True, {"other": 1}, instants=kit.ticking(kit.NOON + 9 * day)).close()
    (tmp_path / "simulated/20990101T000000Z-dddddd/data").mkdir(parents=True)
    with RunFolder.open(tmp_path / "simulated/20260923T141320Z-cccccc") as folder:
        folder.seal(kit.counting_judge)
    found = unfinished(tmp_path, plan_hash(kit.PLAN))
    assert found is not None
    assert found.path.name == "20260922T141320Z-bbbbbb"
    assert unfinished(tmp_path, plan_hash({"never": 1})) is None
    assert unfinished(tmp_path / "nowhere", plan_hash(kit.PLAN)) is None


def test_a_kill_while_sealing_is_mended(kit: Any, tmp_path: Path) -> None:
    path = kit.whole_run(tmp_path)
    (path / bag.TAG_MANIFEST).unlink()
    with RunFolder.open(path) as folder:
        # m2 was interrupted, yet sealing had begun: the run had ended.
        assert list(folder.ledger.finished) == ["calibration/cal1", "measurements/m1", "measurements/m2"]
        folder.seal(lambda *_: pytest.fail("was judged already"))
    assert bag.problems(path) == []
    assert len([e for e in read(path / "data/journal.jsonl").entries if e.kind == "archive.sealed"]) == 2


def test_no_run_folder_is_said_clearly(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"journal\.jsonl"):
        RunFolder.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_policy_without_an_id_is_refused() -> None:
    assert policy_id('id = "metro-2027"') == "metro-2027"
    for text in ("", "id = 5", "id = ", 'id = "a/b"'):
        with pytest.raises(ArchiveError):
            policy_id(text)


@pytest.mark.parametrize("simulated", [[], ["simulated bench"]])
def test_a_simulated_result_says_so_in_words_since_the_second_schema(folder: RunFolder, simulated: list[str]) -> None:
    def judge(_measured: object, _policy: str, told: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"schema": "millicert-result/1", "simulated": simulated, "provenance": told}

    def judged(**told: str) -> dict[str, Any]:
        return judgement(folder.path, folder.ledger, judge, (), "", told)

    first, second = judged(), judged(result_schema=SCHEMA)
    assert (first["schema"], second["schema"]) == ("millicert-result/1", "millicert-result/2")
    assert "notice" not in first  # it was sealed without, and is judged again to the same octets
    assert second.get("notice") == (NOTICE if simulated else None)
    assert f"{phrases.SIMULATED.zh} / {phrases.SIMULATED.en}" == NOTICE
    with pytest.raises(ArchiveError, match="millicert-result/3"):
        judged(result_schema="millicert-result/3")
