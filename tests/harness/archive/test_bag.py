"""A sealed folder is a bag that standard tools check, and every change of it is named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.archive import bag
from harness.errors import ArchiveError


def test_sha256sum_checks_it(sealed: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("needs sha256sum (coreutils)")
    for manifest in (bag.MANIFEST, bag.TAG_MANIFEST):
        subprocess.run(["sha256sum", "--strict", "-c", manifest], cwd=sealed, check=True, capture_output=True)
    (sealed / "data/report.pdf").write_bytes(b"another")
    done = subprocess.run(["sha256sum", "-c", bag.MANIFEST], cwd=sealed, check=False, capture_output=True, text=True)
    assert "data/report.pdf: FAILED" in done.stdout


def test_it_has_the_form_of_rfc_8493(sealed: Path) -> None:
    assert (sealed / "bagit.txt").read_bytes() == b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    files = [p for p in sealed.rglob("*") if p.is_file()]
    payload = [p for p in files if p.is_relative_to(sealed / "data")]
    assert {p.name for p in files if p not in payload} == {
        "bagit.txt", "bag-info.txt", "manifest-sha256.txt", "tagmanifest-sha256.txt",
    }  # fmt: skip
    listed = [line.split("  ", 1)[1] for line in (sealed / bag.MANIFEST).read_text().splitlines()]
    assert listed == sorted(p.relative_to(sealed).as_posix() for p in payload)
    information = dict(line.split(": ", 1) for line in (sealed / "bag-info.txt").read_text().splitlines())
    assert information == {
        "Bag-Software-Agent": "millicert",
        "Bagging-Date": "2026-09-21",
        "External-Identifier": sealed.name,
        "Payload-Oxum": f"{sum(p.stat().st_size for p in payload)}.{len(payload)}",
    }


def test_a_sound_bag_has_no_problems(sealed: Path) -> None:
    assert bag.problems(sealed) == []


@pytest.mark.parametrize("name", ["data/result.json", "bag-info.txt", "bagit.txt", "manifest-sha256.txt"])
def test_a_missing_file_is_named(sealed: Path, name: str) -> None:
    (sealed / name).unlink()
    assert any(problem.startswith(f"{name} missing") for problem in bag.problems(sealed))


@pytest.mark.parametrize("name", ["data/more.txt", "data/measurements/m1/samples-00003.npz", "notes.txt", "sig/x"])
def test_an_extra_file_is_named(sealed: Path, name: str) -> None:
    (sealed / name).parent.mkdir(exist_ok=True)
    (sealed / name).write_text("more")
    assert any(problem.startswith(f"{name} ") for problem in bag.problems(sealed))


def test_a_link_cannot_stand_for_a_file(sealed: Path, tmp_path: Path) -> None:
    (sealed / "data/report.pdf").rename(tmp_path / "report.pdf")
    (sealed / "data/report.pdf").symlink_to(tmp_path / "report.pdf")
    assert "data/report.pdf, a link" in bag.problems(sealed)[0]
    with pytest.raises(ArchiveError, match=r"report\.pdf, a link"):
        bag.payload(sealed)


def test_a_name_that_a_manifest_cannot_hold_is_refused(sealed: Path) -> None:
    (sealed / "data/two\nlines").write_text("")
    with pytest.raises(ArchiveError, match="rename it"):
        bag.payload(sealed)


def test_a_manifest_in_another_spelling_is_named(sealed: Path) -> None:
    manifest = sealed / bag.MANIFEST
    good = manifest.read_text()
    lines = good.splitlines(keepends=True)
    for text in (good.upper(), "".join(reversed(lines)), good + lines[0], good.replace("  ", " *"), good + "more", ""):
        manifest.write_text(text)
        tags = ("bag-info.txt", "bagit.txt", bag.MANIFEST)
        forged = "".join(f"{bag.file_sha256(sealed / name)}  {name}\n" for name in tags)
        (sealed / bag.TAG_MANIFEST).write_text(forged)
        assert any(bag.MANIFEST in problem for problem in bag.problems(sealed))
    for text in (forged.replace(forged[:67], ""), forged + "more"):
        (sealed / bag.TAG_MANIFEST).write_text(text)
        assert any(bag.TAG_MANIFEST in problem for problem in bag.problems(sealed))


def test_an_unsealed_folder_says_so(sealed: Path) -> None:
    (sealed / bag.TAG_MANIFEST).unlink()
    assert bag.problems(sealed) == ["tagmanifest-sha256.txt missing: the run was never sealed"]
