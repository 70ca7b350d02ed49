"""What a witness outside says is kept as it came, verified anew each time, and counted only when it verifies."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.archive.audit import audit
from harness.archive.log import KEY_VARIABLE, Log
from harness.archive.note import CosignerKey, Note
from harness.archive.witness import add_cosignature, add_token, covered, post, queued, request, words
from harness.canonical import sha256
from harness.errors import ArchiveError, HarnessError
from tests.harness.archive.cosigning import cosigned

SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OUTSIDE = CosignerKey("witness.example/w1", SECRET.public_key().public_bytes_raw())
AT = 1_790_000_000

CONFIG = """
[tsa]
default_tsa = here
[here]
serial = {0}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ess_cert_id_alg = sha256
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[tsa_cert]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[req]
distinguished_name = dn
prompt = no
[dn]
CN = nobody
"""


class Authority:
    """A time-stamping authority of openssl with a CA of its own, thrown away after the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "config").write_text(CONFIG.format(folder))
        (folder / "serial").write_text("01\n")
        new = ("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-config", "config")
        self.openssl(*new, "-x509", "-subj", "/CN=root", "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem")
        self.openssl(*new, "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr")
        self.openssl(
            "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", "2", "-extfile",
            "config", "-extensions", "tsa_cert", "-out", "tsa.pem",
        )  # fmt: skip
        self.roots = (folder / "ca.pem").read_bytes()

    def openssl(self, *arguments: str) -> None:
        done = subprocess.run(
            ["openssl", *arguments], cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr

    def stamp(self, query: bytes, *more: str) -> bytes:
        (self.folder / "query").write_bytes(query)
        self.openssl(
            "ts", "-reply", "-config", "config", "-queryfile", "query", "-signer", "tsa.pem", "-inkey", "tsa.key",
            "-out", "reply", *more,
        )  # fmt: skip
        return (self.folder / "reply").read_bytes()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("wants openssl, a real time-stamping authority")
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a log of three entries."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    log = Log.of(tmp_path, False)
    log.append("amendment", run="x")
    log.append("amendment", run="y")
    return log.path


def states(path: Path) -> list[str]:
    return [word.state for word in words(path)]


def said(path: Path) -> str:
    return next(each.detail for each in audit(path) if each.name == "witness")


def test_a_request_is_the_checkpoint_and_is_made_once(path: Path) -> None:
    folder = request(path)
    assert folder == path / "witness/3"
    assert (folder / "checkpoint").read_bytes() == (path / "checkpoint").read_bytes()
    query = (folder / "query.tsq").read_bytes()
    assert request(path) == folder
    assert (folder / "query.tsq").read_bytes() == query
    assert (queued(path), covered(path)) == ([3], 0)
    assert "NOT WITNESSED" in said(path)


@pytest.mark.parametrize("whole", [False, True])
def test_a_cosignature_is_kept_and_counts(path: Path, whole: bool) -> None:
    note = cosigned(Note.parse((request(path) / "checkpoint").read_bytes()), OUTSIDE, SECRET.sign, AT)
    word = add_cosignature(path, note.octets if whole else f"{note.signatures[-1]}\n".encode(), OUTSIDE)
    assert (word.size, word.utc_s, word.state, word.at) == (3, AT, "verified", "2026-09-21T14:13:20Z")
    assert word.who == f"{OUTSIDE.name}+{OUTSIDE.id}"
    assert words(path) == [word]
    assert (queued(path), covered(path)) == ([], 3)
    assert said(path) == "all 3 entries witnessed from outside"
    Log(path).append("amendment", run="z")
    assert "NOT WITNESSED since entry 2" in said(path)


def test_no_cosignature_of_anything_else_is_taken(path: Path) -> None:
    note = Note.parse((request(path) / "checkpoint").read_bytes())
    other = CosignerKey("witness.example/w2", OUTSIDE.public)
    older = cosigned(Note.parse((path / "checkpoints/2").read_bytes()), OUTSIDE, SECRET.sign, AT)
    twice = cosigned(note, OUTSIDE, SECRET.sign, AT).octets
    for data, key in (
        (twice, other), (older.octets, OUTSIDE), (b"", OUTSIDE), (b"\xff", OUTSIDE), (note.octets, OUTSIDE),
        (twice.replace(b"w1 ", b"w1  "), OUTSIDE),
    ):  # fmt: skip
        with pytest.raises(HarnessError):
            add_cosignature(path, data, key)
    assert words(path) == []


def test_every_changed_octet_of_what_is_kept_of_a_cosignature_is_found(path: Path) -> None:
    note = cosigned(Note.parse((request(path) / "checkpoint").read_bytes()), OUTSIDE, SECRET.sign, AT)
    add_cosignature(path, note.octets, OUTSIDE)
    for file in [*(path / "witness/3").glob("cosignature-*"), path / "witness/3/checkpoint"]:
        whole = file.read_bytes()
        for offset in range(len(whole) - 1):
            damaged = bytearray(whole)
            damaged[offset] ^= 0x01
            file.write_bytes(damaged)
            assert states(path) == ["failed"], (file.name, offset)
        file.write_bytes(whole)
    assert states(path) == ["verified"]


def test_a_token_of_a_real_authority_verifies(path: Path, authority: Authority) -> None:
    token = authority.stamp((request(path) / "query.tsq").read_bytes())
    word = add_token(path, token, authority.roots)
    assert (word.size, word.state) == (3, "verified")
    assert word.utc_s is not None
    assert abs(word.utc_s - (path / "checkpoint").stat().st_mtime) < 3600
    assert (path / word.file).read_bytes() == token
    assert covered(path) == 3
    # What the engineer can do without any of ours.
    (authority.folder / "data").write_bytes((path / "witness/3/checkpoint").read_bytes())
    (authority.folder / "token").write_bytes(token)
    authority.openssl("ts", "-verify", "-data", "data", "-in", "token", "-CAfile", "ca.pem")


def test_a_token_without_roots_is_kept_and_does_not_count(path: Path, authority: Authority) -> None:
    token = authority.stamp((request(path) / "query.tsq").read_bytes())
    assert add_token(path, token).state == "unverified"
    assert (covered(path), queued(path)) == (0, [])
    assert "NOT WITNESSED" in said(path)
    add_token(path, token, authority.roots)
    assert states(path) == ["verified"]


def test_a_token_with_a_longer_chain_is_left_to_openssl(path: Path, authority: Authority) -> None:
    """rfc3161-client refuses two certificates in the order that openssl writes them; openssl is the reference."""
    (authority.folder / "chain.pem").write_bytes(authority.roots)
    token = authority.stamp((request(path) / "query.tsq").read_bytes(), "-chain", "chain.pem")
    word = add_token(path, token, authority.roots)
    assert word.state == "verified"
    assert covered(path) == 3


def test_no_other_token_is_taken(path: Path, authority: Authority, tmp_path: Path) -> None:
    query = (request(path) / "query.tsq").read_bytes()
    token = authority.stamp(query)
    (tmp_path / "stranger").mkdir()
    stranger = Authority(tmp_path / "stranger")
    with pytest.raises(ArchiveError, match="verifies"):
        add_token(path, token, stranger.roots)
    with pytest.raises(HarnessError, match="PEM"):
        add_token(path, token, b"no certificate")
    with pytest.raises(ArchiveError, match="queued"):
        add_token(path, b"nonsense", authority.roots)
    log = Log(path)
    log.append("amendment", run="z")
    for file in (path / "witness/3").iterdir():
        file.unlink()
    (path / "witness/3").rmdir()
    request(path)
    with pytest.raises(ArchiveError, match="over something else"):
        add_token(path, token, authority.roots)
    assert words(path) == []


def test_a_changed_token_is_found(path: Path, authority: Authority) -> None:
    word = add_token(path, authority.stamp((request(path) / "query.tsq").read_bytes()), authority.roots)
    file = path / word.file
    whole = file.read_bytes()
    for offset in range(0, len(whole), 7):
        file.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
        assert states(path) == ["failed"]
    assert [each.name for each in audit(path) if each.state == "failed"] == [word.file]
    # Renamed to fit, an octet of the signature, the last thing in a token.
    damaged = whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:]
    file.unlink()
    forged = file.with_name(f"token-{sha256(damaged)[:8]}.tsr")
    file.with_suffix(".roots.pem").rename(forged.with_suffix(".roots.pem"))
    forged.write_bytes(damaged)
    assert states(path) == ["failed"]
    forged.with_suffix(".roots.pem").rename(file.with_suffix(".roots.pem"))
    forged.unlink()
    file.write_bytes(whole)
    (path / "checkpoints/3").write_bytes((path / "checkpoints/2").read_bytes())
    assert states(path) == ["failed"]


def test_a_token_laid_beside_another_checkpoint_is_found(path: Path, authority: Authority) -> None:
    word = add_token(path, authority.stamp((request(path) / "query.tsq").read_bytes()))
    Log(path).append("amendment", run="z")
    (path / word.file).rename(request(path) / Path(word.file).name)
    assert states(path) == ["failed"]
    assert words(path)[0].detail == "it is over other octets"


@pytest.fixture
def served(authority: Authority) -> Iterator[str]:
    """The authority on loopback."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Type"] == "application/timestamp-query"
            self.send_response(200 if self.path == "/tsa" else 500)
            self.end_headers()
            self.wfile.write(authority.stamp(query))

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_query_is_posted_and_its_answer_kept(path: Path, served: str, authority: Authority) -> None:
    for url in ("file:///etc/passwd", "ftp://x", "", f"{served}/broken", "http://127.0.0.1:1/"):
        with pytest.raises(ArchiveError):
            post(path, url, authority.roots)
    assert queued(path) == [3]
    assert post(path, f"{served}/tsa", authority.roots).state == "verified"
    assert queued(path) == []
