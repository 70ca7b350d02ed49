"""A PAdES seal: whole by independent readers, broken by one octet, refused in words where it cannot be made."""

from __future__ import annotations

import builtins
import io
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from typer.testing import CliRunner

from harness.archive import bag
from harness.archive.folder import RunFolder
from harness.cli import app
from harness.report.pdf import pdf
from harness.report.seal import SealError, seal

Key = Any
NOW = datetime.now(UTC)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def pem(key: Key, password: bytes | None = None) -> bytes:
    lock = NoEncryption() if password is None else BestAvailableEncryption(password)
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))


class Issuer:
    """A certification authority that is thrown away after the tests."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._sign(name("a root"), self.key.public_key(), authority=True)

    def _sign(self, subject: x509.Name, public: Key, *, authority: bool = False, **more: Any) -> x509.Certificate:
        usage = x509.KeyUsage(
            digital_signature=not authority, content_commitment=not authority, key_encipherment=False,
            data_encipherment=False, key_agreement=False, key_cert_sign=authority, crl_sign=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name("a root"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(more.get("since", NOW - timedelta(days=2)))
            .not_valid_after(more.get("until", NOW + timedelta(days=30)))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        if more.get("stamping"):
            builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        return builder.sign(self.key, hashes.SHA256())

    def certify(self, key: Key, subject: str = "a laboratory", **more: Any) -> bytes:
        """The key's certificate in PEM, with the root behind it."""
        found = self._sign(name(subject), key.public_key(), **more)
        return found.public_bytes(Encoding.PEM) + self.root.public_bytes(Encoding.PEM)


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def report() -> bytes:
    return pdf({"verdict": "INVALID"}, {}, b"{}", timestamp=0)


@pytest.fixture(scope="module")
def hanko() -> None:
    pytest.importorskip("pyhanko", reason="pyhanko is not installed: pip install pyhanko")


@dataclass(frozen=True)
class Status:
    whole: bool
    trusted: bool
    dated: bool


def status(document: bytes, issuer: Issuer) -> Status:
    """What pyHanko's own validation says of a document under the test's root."""
    from asn1crypto.x509 import Certificate  # noqa: PLC0415 - optional
    from pyhanko.pdf_utils.reader import PdfFileReader  # noqa: PLC0415 - optional
    from pyhanko.sign.validation import validate_pdf_signature  # noqa: PLC0415 - optional
    from pyhanko_certvalidator import ValidationContext  # noqa: PLC0415 - optional

    root = Certificate.load(issuer.root.public_bytes(Encoding.DER))
    try:
        (embedded,) = PdfFileReader(io.BytesIO(document)).embedded_signatures
        found = validate_pdf_signature(
            embedded, ValidationContext(trust_roots=[root]), ValidationContext(trust_roots=[root])
        )
    except Exception:
        return Status(False, False, False)
    stamp = found.timestamp_validity
    return Status(found.intact and found.valid, bool(found.bottom_line), bool(stamp and stamp.valid and stamp.trusted))


@pytest.fixture(scope="module", params=["ecdsa", "rsa"])
def sealed(request: pytest.FixtureRequest, hanko: None, issuer: Issuer, report: bytes) -> bytes:
    ours = (
        ec.generate_private_key(ec.SECP256R1()) if request.param == "ecdsa" else rsa.generate_private_key(65537, 3072)
    )
    return seal(report, issuer.certify(ours), pem(ours))


def test_the_seal_is_whole_and_the_report_is_its_beginning(sealed: bytes, report: bytes, issuer: Issuer) -> None:
    assert sealed.startswith(report)
    assert b"/ETSI.CAdES.detached" in sealed[len(report) :]
    assert status(sealed, issuer) == Status(True, True, False)
    assert not status(sealed, Issuer()).trusted


def test_one_octet_anywhere_breaks_it(sealed: bytes, report: bytes, issuer: Issuer) -> None:
    gap = sealed.index(b"/Contents <", len(report))
    for at in (len(report) // 3, len(report) // 2, len(report) - 40, gap + 40):
        changed = bytearray(sealed)
        changed[at] ^= 1
        assert not status(bytes(changed), issuer).whole, at


def test_poppler_agrees(sealed: bytes, report: bytes, tmp_path: Path) -> None:
    if shutil.which("pdfsig") is None:
        pytest.skip("pdfsig is missing (Debian: poppler-utils)")
    changed = bytearray(sealed)
    changed[len(report) // 2] ^= 1
    words = []
    for file, data in (("whole", sealed), ("changed", bytes(changed))):
        (tmp_path / file).write_bytes(data)
        done = subprocess.run(["pdfsig", "-nocert", tmp_path / file], capture_output=True, text=True, check=False)
        words.append(done.stdout)
    assert "Signature is Valid" in words[0]
    assert "Signature is Valid" not in words[1]


# -- a time stamp ----------------------------------------------------------------------------------------------------

CONFIG = """
[tsa]
default_tsa = here
[here]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""


@pytest.fixture
def authority(tmp_path: Path, issuer: Issuer) -> Iterator[str]:
    """URL of a time-stamping authority of openssl on loopback."""
    if shutil.which("openssl") is None:
        pytest.skip("wants openssl, a real time-stamping authority")
    ours = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "serial").write_text("01\n")
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "tsa.key").write_bytes(pem(ours))
    (tmp_path / "tsa.pem").write_bytes(issuer.certify(ours, "a stamper", stamping=True))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            (tmp_path / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            subprocess.run(
                ["openssl", "ts", "-reply", "-config", "config", "-queryfile", "query", "-signer", "tsa.pem",
                 "-inkey", "tsa.key", "-out", "reply"], cwd=tmp_path, check=True, capture_output=True, timeout=30,
            )  # fmt: skip
            self.send_response(200 if self.path == "/tsa" else 500)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write((tmp_path / "reply").read_bytes())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("hanko")
def test_a_time_stamp_goes_in_and_a_failing_authority_is_named(authority: str, issuer: Issuer, report: bytes) -> None:
    ours = ec.generate_private_key(ec.SECP256R1())
    cert = issuer.certify(ours)
    assert status(seal(report, cert, pem(ours), tsa=f"{authority}/tsa"), issuer) == Status(True, True, True)
    with pytest.raises(SealError, match="time stamp of http"):
        seal(report, cert, pem(ours), tsa=f"{authority}/broken")
    with pytest.raises(SealError, match="http or https URL"):
        seal(report, cert, pem(ours), tsa="ftp://x")


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("hanko")
def test_what_does_not_fit_is_refused(issuer: Issuer, report: bytes) -> None:
    ours, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    cert = issuer.certify(ours)
    short, edwards = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    old = issuer.certify(ours, since=NOW - timedelta(days=9), until=NOW - timedelta(days=1))
    for certificate, key, words in (
        (cert, pem(other), "the private key of the certificate"),
        (cert, pem(ours, b"pw"), "without a password"),
        (cert, b"nothing", "a private key in PEM"),
        (b"nothing", pem(ours), "certificates in PEM"),
        (old, pem(ours), "valid today"),
        (issuer.certify(short), pem(short), "RSA key of 3072"),
        (issuer.certify(edwards), pem(edwards), "ECDSA P-256, P-384 or P-521, or RSA"),
    ):
        with pytest.raises(SealError, match=words):
            seal(report, certificate, key)
    with pytest.raises(SealError, match="a sealed report"):
        seal(b"no PDF", cert, pem(ours))


def test_without_the_extra_it_says_what_to_install(
    issuer: Issuer, report: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(module: str, *rest: Any) -> Any:
        if module.startswith(("pyhanko", "asn1crypto")):
            raise ImportError(f"no {module}")
        return real(module, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    ours = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(SealError, match="pip install pyhanko into this environment"):
        seal(report, issuer.certify(ours), pem(ours))


@pytest.mark.usefixtures("hanko")
def test_the_command_seals_a_copy_and_leaves_the_folder(issuer: Issuer, report: bytes, tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, False, {}, policy='id = "p"\n') as folder:
        folder.add_file("report.pdf", report)
        folder.seal(lambda *_: {"verdict": "INVALID"})
        run = folder.path
    ours = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "cert").write_bytes(issuer.certify(ours))
    (tmp_path / "key").write_bytes(pem(ours))
    command = ["seal", str(run), "--cert", str(tmp_path / "cert"), "--key", str(tmp_path / "key")]
    (tmp_path / "key").chmod(0o644)
    assert "only its owner" in CliRunner().invoke(app, command).stderr
    (tmp_path / "key").chmod(0o600)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.stderr
    assert status((tmp_path / f"{run.name}.sealed.pdf").read_bytes(), issuer).trusted
    assert bag.problems(run) == []
    assert "which is there" in CliRunner().invoke(app, command).stderr
    assert CliRunner().invoke(app, [*command, "--out", str(run / "data" / "x.pdf")]).exit_code == 4
    (run / "data" / "report.pdf").write_bytes(b"%PDF-")
    assert CliRunner().invoke(app, [*command, "--out", str(tmp_path / "y.pdf")]).exit_code == 4
    assert not (tmp_path / "y.pdf").exists()
