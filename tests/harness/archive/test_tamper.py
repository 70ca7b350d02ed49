"""Hashes and signatures alone find every change of a sealed folder and name the file, nothing recomputed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness.archive import bag, signature
from harness.archive.keys import SigningKey, Trust, TrustedKey, VerifierKey
from harness.archive.verify import Check, sound, verify

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
KEY = SigningKey(VerifierKey("lab", PRIVATE.public_key().public_bytes_raw()), PRIVATE.sign)
TRUST = Trust("keys", (TrustedKey(KEY.verifier),))

some = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def run(kit: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed run with one signature; every test leaves it as it was."""
    path: Path = kit.whole_run(tmp_path_factory.mktemp("tamper"))
    signature.sign(path, KEY, utc_ns=kit.NOON)
    return path


def names(path: Path) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def failures(path: Path) -> str:
    checks = made(path)
    assert not sound(checks)
    return " ".join(check.detail for check in checks if check.state == "failed")


def made(path: Path) -> list[Check]:
    return verify(path, trust=TRUST, level=1)


@contextmanager
def changed(*paths: Path) -> Iterator[list[bytes]]:
    """The octets of files that are put back in the end, whatever became of them."""
    before = [path.read_bytes() for path in paths]
    try:
        yield before
    finally:
        for path, octets in zip(paths, before, strict=True):
            path.write_bytes(octets)


def test_untouched_it_is_sound(run: Path) -> None:
    assert len(names(run)) > 20
    assert {check.state for check in made(run)} <= {"ok", "note"}


@settings(some, max_examples=250)
@given(data=st.data())
def test_one_changed_octet(run: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names(run)))
    with changed(run / name) as (whole,):
        assume(whole)
        at = data.draw(st.integers(0, len(whole) - 1))
        other = whole[at] ^ data.draw(st.integers(1, 255))
        (run / name).write_bytes(whole[:at] + bytes([other]) + whole[at + 1 :])
        assert name in failures(run)


@some
@given(data=st.data())
def test_a_truncated_or_longer_file(run: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names(run)))
    with changed(run / name) as (whole,):
        more = data.draw(st.binary(min_size=1, max_size=20))
        shorter = whole[: data.draw(st.integers(0, max(0, len(whole) - 1)))]
        (run / name).write_bytes(data.draw(st.sampled_from([shorter, whole + more, more + whole])))
        assume((run / name).read_bytes() != whole)
        assert name in failures(run)


def test_each_removed_file(run: Path) -> None:
    for name in names(run):
        with changed(run / name):
            (run / name).unlink()
            told = failures(run)
            # Nothing lists who signed, so that others may sign later: an auditor misses whom he trusts.
            assert ("UNSIGNED: no signature at all" if name.startswith("sig/") else name) in told


@some
@given(data=st.data())
def test_an_added_file(run: Path, data: st.DataObject) -> None:
    folders = sorted({(run / name).parent for name in names(run)} | {run / "new", run / "data/attempts/1"})
    folder = data.draw(st.sampled_from(folders))
    near = [Path(name).name for name in names(run)]
    invented = st.text("abcdefghijklmnopqrstuvwxyz0123456789.-_", min_size=1, max_size=20)
    name = data.draw(st.sampled_from(near) | invented)
    assume(name not in (".", "..") and not (folder / name).exists() and folder.name != "sig")
    fresh = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / name).write_bytes(data.draw(st.binary(max_size=20)))
        assert (folder / name).relative_to(run).as_posix() in failures(run)
    finally:
        (folder / name).unlink()
        if fresh:
            shutil.rmtree(folder if folder.name == "new" else folder.parent)


@some
@given(data=st.data())
def test_two_swapped_files(run: Path, data: st.DataObject) -> None:
    one, other = data.draw(st.lists(st.sampled_from(names(run)), min_size=2, max_size=2, unique=True))
    with changed(run / one, run / other) as (first, second):
        assume(first != second)
        (run / one).write_bytes(second)
        (run / other).write_bytes(first)
        told = failures(run)
        # A manifest that is no manifest any more cannot name what it listed.
        assert one in told
        assert other in told


@some
@given(data=st.data())
def test_a_renamed_file(run: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(names(run)))
    other = (run / name).with_name("0" + Path(name).name)
    with changed(run / name):
        (run / name).rename(other)
        try:
            told = failures(run)
            # Without its last manifest a folder was never sealed, and a signature that is gone is missed by nobody.
            assert name == bag.TAG_MANIFEST or other.relative_to(run).as_posix() in told
            assert name.startswith("sig/") or name in told
        finally:
            other.unlink()
