"""A signature vouches for one folder as it is, and not one octet of it can be another."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from harness.archive import bag, keys, signature
from harness.archive.envelope import pae
from harness.archive.keys import SigningKey, Trust, TrustedKey, VerifierKey
from harness.archive.verify import Check, Level, judge_again, sound, verify
from harness.canonical import canonical
from harness.errors import ArchiveError


def signer(name: str = "lab", seed: int = 1) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
    return SigningKey(VerifierKey(name, private.public_key().public_bytes_raw()), private.sign)


LAB, HEAD = signer(), signer("head@lab.example.org", 2)


@pytest.fixture(scope="module")
def made_once(kit: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = kit.whole_run(tmp_path_factory.mktemp("made-once"))
    return path


@pytest.fixture
def sealed(made_once: Path, tmp_path: Path) -> Path:
    """A copy: the disk is waited for only once."""
    return shutil.copytree(made_once, tmp_path / "simulated" / made_once.name)


@pytest.fixture
def signed(kit: Any, sealed: Path) -> Path:
    """A run signed by LAB one minute after noon."""
    signature.sign(sealed, LAB, utc_ns=kit.NOON + 60 * 10**9)
    return sealed


def file_of(path: Path, key: SigningKey = LAB) -> Path:
    return path / f"sig/{key.verifier.name}-{key.verifier.id}.dsse.json"


def rows(path: Path, trust: Trust | None = None) -> list[Check]:
    return verify(path, trust=trust, level=1)


def only(path: Path, trust: Trust | None = None) -> Check:
    """The one row of level 1."""
    found = [check for check in rows(path, trust) if check.level == Level.SIGNATURES]
    assert len(found) == 1, found
    return found[0]


def envelope(path: Path) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(file_of(path).read_bytes())
    return whole


def resigned(path: Path, change: Callable[[dict[str, Any]], object], key: SigningKey = LAB) -> None:
    """Put another statement into the envelope, rightly signed."""
    whole = envelope(path)
    statement = json.loads(base64.b64decode(whole["payload"]))
    change(statement)
    body = canonical(statement)
    whole["payload"] = base64.b64encode(body).decode()
    whole["signatures"][0]["sig"] = base64.b64encode(key.sign(pae(whole["payloadType"], body))).decode()
    file_of(path).write_bytes(canonical(whole))


def test_what_is_signed_has_the_form_that_dsse_prescribes() -> None:
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_a_signature_says_what_it_vouches_for(kit: Any, signed: Path) -> None:
    whole = envelope(signed)
    assert file_of(signed).read_bytes() == canonical(whole)
    assert whole.keys() == {"payload", "payloadType", "signatures"}
    assert whole["payloadType"] == "application/vnd.in-toto+json"
    assert whole["signatures"][0]["keyid"] == LAB.verifier.id
    assert whole["signatures"][0]["verifier"] == LAB.verifier.line
    statement = json.loads(base64.b64decode(whole["payload"]))
    assert canonical(statement) == base64.b64decode(whole["payload"])
    assert statement == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": name, "digest": {"sha256": bag.file_sha256(signed / name)}}
            for name in ("data/result.json", "manifest-sha256.txt")
        ],
        "predicateType": "urn:millicert:signed-result:1",
        "predicate": {
            "run": signed.name,
            "signer": "lab",
            "signed_utc_ns": str(kit.NOON + 60 * 10**9),
            "result": json.loads((signed / "data/result.json").read_bytes()),
        },
    }


def test_openssl_alone_checks_it(signed: Path, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    whole = envelope(signed)
    body = base64.b64decode(whole["payload"])
    (tmp_path / "signed").write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d " % len(body) + body)
    (tmp_path / "sig").write_bytes(base64.b64decode(whole["signatures"][0]["sig"]))
    public = base64.b64decode(whole["signatures"][0]["verifier"].split("+", 2)[2])[1:]
    (tmp_path / "key").write_bytes(
        Ed25519PublicKey.from_public_bytes(public).public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key", "-rawin", "-in", "signed", "-sigfile", "sig"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "signed").write_bytes((tmp_path / "signed").read_bytes() + b" ")
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode != 0


def test_an_unsigned_folder_says_so_in_capitals(sealed: Path) -> None:
    assert (only(sealed).state, only(sealed).detail[:8]) == ("note", "UNSIGNED")
    assert sound(rows(sealed))
    trusting = only(sealed, Trust("keys", (TrustedKey(LAB.verifier),)))
    assert (trusting.state, trusting.detail[:8]) == ("failed", "UNSIGNED")


def test_trust_decides_who_it_is(signed: Path) -> None:
    unknown = only(signed)
    assert unknown.state == "note"
    assert "unknown key" in unknown.detail
    assert "the signature is whole, but nobody vouches for the key" in unknown.detail
    known = only(signed, Trust("keys", (TrustedKey(HEAD.verifier), TrustedKey(LAB.verifier))))
    assert known.state == "ok"
    assert "signed 2026-09-21T14:14:20Z by its own word, trusted key lab+" in known.detail
    for other in (HEAD.verifier, VerifierKey("lab", HEAD.verifier.public), VerifierKey("head", LAB.verifier.public)):
        states = {check.name: check.state for check in rows(signed, Trust("keys", (TrustedKey(other),)))}
        assert (states["signature"], states["trust"]) == ("note", "failed")


@pytest.mark.parametrize(
    ("since", "until", "state"),
    [
        (None, date(2026, 9, 20), "failed"),
        (None, date(2026, 9, 21), "ok"),
        (date(2026, 9, 21), None, "ok"),
        (date(2026, 9, 22), None, "failed"),
        (date(2026, 9, 22), date(2026, 9, 30), "failed"),
    ],
)
def test_a_key_outside_its_days_fails_with_the_dates(
    signed: Path, since: date | None, until: date | None, state: str
) -> None:
    checks = rows(signed, Trust("keys", (TrustedKey(LAB.verifier, since, until),)))
    found = next(check for check in checks if check.name == "signature")
    assert found.state == state
    assert all(str(day) in found.detail for day in (since, until) if day)
    assert sound(checks) == (state == "ok")


def test_several_sign_each_once(kit: Any, signed: Path) -> None:
    with pytest.raises(ArchiveError, match="one signature a key"):
        signature.sign(signed, LAB, utc_ns=kit.NOON)
    signature.sign(signed, HEAD, utc_ns=kit.NOON)
    assert signature.names(signed) == [f"sig/{key.verifier.name}-{key.verifier.id}.dsse.json" for key in (HEAD, LAB)]
    checks = rows(signed, Trust("keys", (TrustedKey(HEAD.verifier),)))
    assert [check.state for check in checks if check.level == Level.SIGNATURES] == ["ok", "note"]
    assert sound(checks)
    # One good signature does not make up for a bad one.
    file_of(signed, LAB).write_bytes(b"{}")
    assert not sound(rows(signed, Trust("keys", (TrustedKey(HEAD.verifier),))))


def test_signatures_cannot_take_each_others_place(kit: Any, signed: Path) -> None:
    signature.sign(signed, HEAD, utc_ns=kit.NOON)
    one, other = file_of(signed, LAB), file_of(signed, HEAD)
    octets = one.read_bytes(), other.read_bytes()
    one.write_bytes(octets[1])
    other.write_bytes(octets[0])
    failed = [check.detail for check in rows(signed) if check.state == "failed"]
    assert [one.name in detail or other.name in detail for detail in failed] == [True, True]
    one.write_bytes(octets[0])
    other.rename(other.with_name("head-00000000.dsse.json"))
    assert not sound(rows(signed))


def test_a_folder_is_signed_where_nothing_else_of_the_run_is(kit: Any, sealed: Path, tmp_path: Path) -> None:
    path, _ = judge_again(
        sealed, 'id = "metro-2028"\n', judge=kit.counting_judge, here=lambda: {"version": "1"}, utc_ns=kit.NOON
    )
    elsewhere = tmp_path / "elsewhere" / path.name
    shutil.copytree(path, elsewhere)
    made = signature.sign(elsewhere, LAB, utc_ns=kit.NOON)
    assert only(elsewhere).state == "note"
    shutil.copytree(elsewhere / "sig", path / "sig")
    assert "the signature is whole" in only(path).detail
    assert sound(verify(path, kit.counting_judge, lambda: {"version": "1"}))
    assert made == signature.Signature(f"sig/lab-{LAB.verifier.id}.dsse.json", LAB.verifier, kit.NOON)


def test_an_unsound_renamed_or_future_folder_is_not_signed(kit: Any, sealed: Path) -> None:
    report = sealed / "data/report.pdf"
    whole = report.read_bytes()
    report.write_bytes(b"another")
    with pytest.raises(ArchiveError, match=r"data/report\.pdf altered"):
        signature.sign(sealed, LAB)
    report.write_bytes(whole)
    with pytest.raises(ArchiveError, match="found 2026-09-20, and the folder was sealed on 2026-09-21; set this"):
        signature.sign(sealed, LAB, utc_ns=kit.NOON - 86_400 * 10**9)
    other = sealed.rename(sealed.with_name("20260101T000000Z-c0ffee"))
    with pytest.raises(ArchiveError, match="a folder under its own name"):
        signature.sign(other, LAB)
    other.rename(sealed)
    (sealed / bag.TAG_MANIFEST).unlink()
    with pytest.raises(ArchiveError, match="never sealed"):
        signature.sign(sealed, LAB)
    with pytest.raises(ArchiveError, match="letters, digits"):
        signature.sign(sealed, signer("example.org/log"))
    assert not (sealed / "sig").exists()


def test_a_signing_that_was_cut_off_can_be_made_again(sealed: Path) -> None:
    (sealed / "sig").mkdir()
    file_of(sealed).with_name(file_of(sealed).name + ".partial").write_bytes(b'{"payl')
    assert not sound(rows(sealed))
    signature.sign(sealed, LAB)
    assert sound(rows(sealed))


def test_every_octet_of_a_signature_counts(signed: Path) -> None:
    draw = np.random.default_rng(20260921)
    path = file_of(signed)
    whole = path.read_bytes()
    name = path.relative_to(signed).as_posix()
    for offset in range(len(whole)):
        damaged = bytearray(whole)
        damaged[offset] ^= int(draw.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(ArchiveError) as told:
            signature.load(signed, name)
        assert name in str(told.value), offset
    for octets in (whole[:-1], whole[1:], whole + b"\n", b" " + whole, whole + whole, b""):
        path.write_bytes(octets)
        found = only(signed)
        assert found.state == "failed"
        assert name in found.detail
    path.write_bytes(whole)
    assert sound(rows(signed))


def test_base64_has_one_spelling(signed: Path) -> None:
    """The last character of 64 octets holds four bits that mean nothing."""
    path = file_of(signed)
    whole = path.read_bytes()
    at = whole.index(b'"sig":"') + 7 + 85
    assert whole[at + 1 : at + 4] == b'=="'
    name = path.relative_to(signed).as_posix()
    for xor in range(1, 256):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ xor]) + whole[at + 1 :])
        with pytest.raises(ArchiveError, match=name):
            signature.load(signed, name)


def test_every_octet_of_what_is_signed_counts(signed: Path) -> None:
    """The result and the manifest, each forged with manifests that fit."""
    for name in ("data/result.json", "data/plan.json", "data/report.pdf", "bag-info.txt"):
        shutil.copytree(signed, signed.with_name("copy"))
        target = signed / name
        octets = target.read_bytes()
        target.write_bytes(octets.replace(b'"', b'"x', 1) if name.endswith("json") else octets + b"x")
        if name != "bag-info.txt":
            bag.seal(signed, signed.name, "2026-09-21")
        assert not sound(rows(signed)), name
        shutil.rmtree(signed)
        signed.with_name("copy").rename(signed)
    assert sound(rows(signed))


OTHER_STATEMENTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "run": (lambda s: s["predicate"].update(run="another"), "$.predicate.run"),
    "signer": (lambda s: s["predicate"].update(signer="head"), "$.predicate.signer"),
    "time-0": (lambda s: s["predicate"].update(signed_utc_ns="0"), "a time of signing"),
    "time-number": (lambda s: s["predicate"].update(signed_utc_ns=5), "a time of signing"),
    "time-negative": (lambda s: s["predicate"].update(signed_utc_ns="-5"), "a time of signing"),
    "time-padded": (lambda s: s["predicate"].update(signed_utc_ns="05"), "a time of signing"),
    "time-arabic": (lambda s: s["predicate"].update(signed_utc_ns="٣"), "a time of signing"),
    "time-far": (lambda s: s["predicate"].update(signed_utc_ns="9" * 20), "a time of signing"),
    "more": (lambda s: s["predicate"].update(more=1), "$.predicate.more"),
    "no-result": (lambda s: s["predicate"].pop("result"), "$.predicate.result"),
    "result": (lambda s: s["predicate"]["result"].update(policy="kinder"), "$.predicate.result.policy"),
    "list": (lambda s: s.update(predicate=[]), "a time of signing"),
    "no-predicate": (lambda s: s.pop("predicate"), "a time of signing"),
    "predicate-type": (lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"), "$.predicateType"),
    "type": (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "$._type"),
    "no-subject": (lambda s: s.update(subject=[]), "$.subject"),
    "order": (lambda s: s["subject"].reverse(), "$.subject[0]"),
    "three-subjects": (lambda s: s["subject"].append(s["subject"][0]), "$.subject"),
    "path": (lambda s: s["subject"][0].update(name="../result.json"), "$.subject[0].name"),
    "digest": (lambda s: s["subject"][1]["digest"].update(sha256="0" * 64), "$.subject[1].digest.sha256"),
}


@pytest.mark.parametrize("kind", OTHER_STATEMENTS)
def test_a_whole_signature_of_something_else_is_none(signed: Path, kind: str) -> None:
    change, why = OTHER_STATEMENTS[kind]
    resigned(signed, lambda statement: None)
    assert only(signed).state == "note"
    resigned(signed, change)
    found = only(signed)
    assert found.state == "failed"
    assert why in found.detail


def test_the_payload_type_is_part_of_what_is_signed(signed: Path) -> None:
    whole = envelope(signed)
    for kind in ("application/json", "application/vnd.in-toto+json ", 5, None, "x" * 10_000_000):
        file_of(signed).write_bytes(canonical({**whole, "payloadType": kind}))
        assert "payloadType" in only(signed).detail
        assert only(signed).state == "failed"
        assert len(only(signed).detail) < 1000


def test_an_envelope_of_another_form_is_refused(signed: Path) -> None:
    whole = envelope(signed)
    entry = whole["signatures"][0]
    sig = base64.b64decode(entry["sig"])
    body = base64.b64decode(whole["payload"])
    twice = canonical(whole).replace(b'"payload":', b'"payload":"","payload":', 1)
    hostile: list[Any] = [
        {**whole, "signatures": []},
        {**whole, "signatures": [entry, entry]},
        {**whole, "signatures": [entry, {**entry, "keyid": "00000000"}]},
        {**whole, "signatures": entry},
        {**whole, "signatures": [[]]},
        {**whole, "signatures": [None]},
        {**whole, "signatures": [{**entry, "cert": "x"}]},
        {**whole, "signatures": [{k: v for k, v in entry.items() if k != "keyid"}]},
        {**whole, "signatures": [{**entry, "keyid": entry["keyid"].upper()}]},
        {**whole, "signatures": [{**entry, "keyid": None}]},
        {**whole, "signatures": [{**entry, "verifier": HEAD.verifier.line}]},
        {**whole, "signatures": [{**entry, "verifier": "x" * 10_000_000}]},
        {**whole, "signatures": [{**entry, "verifier": {}}]},
        {**whole, "signatures": [{**entry, "sig": base64.b64encode(sig[:63]).decode()}]},
        {**whole, "signatures": [{**entry, "sig": base64.b64encode(sig + b"\0").decode()}]},
        {**whole, "signatures": [{**entry, "sig": ""}]},
        {**whole, "signatures": [{**entry, "sig": base64.urlsafe_b64encode(sig).decode().rstrip("=")}]},
        {**whole, "signatures": [{**entry, "sig": entry["sig"] + "\n"}]},
        {**whole, "payload": whole["payload"] + "===="},
        {**whole, "payload": "é"},
        {**whole, "payload": [whole["payload"]]},
        {**whole, "payload": base64.b64encode(b" " + body).decode()},
        {**whole, "more": 1},
        {**whole, "x" * 10_000_000: 1},
        {k: v for k, v in whole.items() if k != "payloadType"},
        {},
        [whole],
        "text",
        twice,
        json.dumps(whole).encode(),
        json.dumps(whole, indent=1).encode(),
        canonical(whole).decode().encode("utf-16"),
        b"\xef\xbb\xbf" + canonical(whole),
        canonical(whole)[:-1] + b"\xff}",
        b"[" * 100_000 + b"]" * 100_000,
        b'{"payload":' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"payload":' + b"[" * 700 + b"]" * 700 + b"}",
        b'{"payload":"\\ud800"}',
        b'{"payload":1e400}',
        b'{"payload":' + b"9" * 10_000 + b"}",
        b"\0" * 100,
        b"",
    ]
    for each in hostile:
        file_of(signed).write_bytes(each if isinstance(each, bytes) else canonical(each))
        found = only(signed)
        assert found.state == "failed", str(each)[:100]
        assert file_of(signed).name in found.detail
        assert len(found.detail) < 1000


def test_a_key_under_which_anyone_can_sign_signs_nothing(signed: Path) -> None:
    evil = VerifierKey("evil", (1).to_bytes(32, "little"))
    whole = envelope(signed)
    entry = {
        "keyid": evil.id,
        "sig": base64.b64encode((1).to_bytes(32, "little") + bytes(32)).decode(),
        "verifier": evil.line,
    }
    file_of(signed).unlink()
    path = signed / f"sig/evil-{evil.id}.dsse.json"
    path.write_bytes(canonical({**whole, "signatures": [entry]}))
    assert only(signed).state == "failed"
    assert "small order" in only(signed).detail


def test_a_huge_file_costs_nothing(signed: Path) -> None:
    with file_of(signed).open("wb") as file:
        file.truncate(1 << 40)
    found = only(signed)
    assert found.state == "failed"
    assert "at most 67108864 octets" in found.detail


@pytest.mark.parametrize(
    "name",
    [
        "sig/x", "sig/result.dsse.json", "sig/lab-0123456.dsse.json", "sig/lab-0123456G.dsse.json",
        "sig/lab-01234567.dsse.json.bak", "sig/lab-01234567.DSSE.json", "sig/.lab-01234567.dsse.json",
        "sig/a+b-01234567.dsse.json", "sig/deeper/lab-01234567.dsse.json", "SIG/lab-01234567.dsse.json",
        "lab-01234567.dsse.json", "sig/two words-01234567.dsse.json", "sig/-01234567.dsse.json",
        "sig/a:b-01234567.dsse.json",
    ],
)  # fmt: skip
def test_only_signatures_may_stand_beside_the_manifests(signed: Path, name: str) -> None:
    target = signed / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(file_of(signed).read_bytes())
    assert bag.problems(signed) == [f"{name} extra: no manifest lists it"]
    assert signature.names(signed) == [file_of(signed).relative_to(signed).as_posix()]


def test_links_and_folders_in_place_of_a_signature_are_named(signed: Path, tmp_path: Path) -> None:
    path = file_of(signed)
    (tmp_path / "elsewhere").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    failed = [check for check in rows(signed) if check.state == "failed"]
    assert {check.name for check in failed} >= {"bag", "signatures"}
    assert all(path.name in check.detail for check in failed)
    path.unlink()
    os.mkfifo(path)
    assert all(path.name in check.detail for check in rows(signed) if check.state == "failed")
    assert not sound(rows(signed))
    path.unlink()
    path.mkdir()
    assert "UNSIGNED" in only(signed).detail
    shutil.rmtree(signed / "sig")
    (tmp_path / "sigs").mkdir()
    (signed / "sig").symlink_to(tmp_path / "sigs")
    assert "sig, a link" in rows(signed)[0].detail


def test_a_damaged_folder_fails_its_signature_too(signed: Path) -> None:
    (signed / "data/result.json").unlink()
    assert only(signed).state == "failed"
    (signed / "manifest-sha256.txt").unlink()
    assert only(signed).state == "failed"


def test_a_signature_of_another_run_is_none(kit: Any, signed: Path, tmp_path: Path) -> None:
    with kit.started(tmp_path / "other", suffix="0dd0dd") as folder:
        folder.store(kit.a_measurement("m1", calibrated=False))
        folder.seal(kit.counting_judge)
    shutil.copytree(signed / "sig", folder.path / "sig")
    assert only(folder.path).state == "failed"
    assert "$.predicate" in only(folder.path).detail


def test_a_key_made_on_disk_signs(sealed: Path, tmp_path: Path) -> None:
    keys.create(tmp_path / "k", "实验室")
    made = signature.sign(sealed, keys.load(tmp_path / "k"))
    (tmp_path / "trust").write_text((tmp_path / "k.pub").read_text())
    trust = keys.read_trust(tmp_path / "trust")
    assert only(sealed, trust).state == "ok"
    assert made.name.startswith("sig/实验室-")
    expired = replace(trust, keys=(replace(trust.keys[0], until=date(2026, 1, 1)),))
    assert not sound(rows(sealed, expired))
