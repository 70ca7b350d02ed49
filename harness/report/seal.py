"""The Seal of a report: a PAdES signature in the PDF, for readers who know no other."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from harness.errors import HarnessError

FIELD: Final = "Seal"
"""Name of the signature's field in the PDF."""
LEAST_RSA_BITS: Final = 3072
"""As strong as P-256 (NIST SP 800-57 part 1, table 2)."""

_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_INSTALL: Final = "pip install pyhanko into this environment, or make .venv anew with make core"


class SealError(HarnessError):
    """A report cannot be sealed."""


def seal(document: bytes, certificates: bytes, key: bytes, *, tsa: str | None = None) -> bytes:
    """``document`` with a PAdES baseline signature (ETSI EN 319 142-1, level B-B; with ``tsa`` B-T) after its octets.

    ``certificates`` are PEM, the signer's first, then its chain; ``key`` is the signer's private key, PEM, ECDSA on a
    NIST curve or RSA, without password. ``tsa`` is the URL of a time-stamping authority (RFC 3161). The document stays
    the beginning of what is returned. Raises SealError when pyHanko is not installed, certificate and key do not fit,
    or the authority does not answer.
    """
    hanko = _hanko()
    chain = _chain(certificates)
    private = _private(key, chain[0])
    signer = hanko["signers"].SimpleSigner(
        signing_cert=hanko["x509"].Certificate.load(chain[0].public_bytes(Encoding.DER)),
        signing_key=hanko["keys"].PrivateKeyInfo.load(private),
        cert_registry=hanko["registry"].SimpleCertificateStore.from_certs(
            [hanko["x509"].Certificate.load(each.public_bytes(Encoding.DER)) for each in chain[1:]]
        ),
    )
    wanted = hanko["signers"].PdfSignatureMetadata(
        field_name=FIELD, md_algorithm="sha256", subfilter=hanko["fields"].SigSeedSubFilter.PADES
    )
    stamper = None if tsa is None else hanko["timestamps"].HTTPTimeStamper(_url(tsa))
    try:
        writer = hanko["writer"].IncrementalPdfFileWriter(io.BytesIO(document))
        made = hanko["signers"].sign_pdf(writer, wanted, signer=signer, timestamper=stamper)
        octets = bytes(made.getbuffer())
    except Exception as why:  # its own, its network library's and its parser's errors have no common parent
        asked = "" if tsa is None else f" with a time stamp of {tsa}"
        remedy = "see that the report is whole" + ("" if tsa is None else ", or seal it without --tsa")
        raise SealError(f"a sealed report{asked}", f"{type(why).__name__}: {why}", remedy) from why
    if not octets.startswith(document):
        raise SealError("the report's own octets before the seal", "others", "report this with the version of pyhanko")
    return octets


def _hanko() -> dict[str, Any]:
    """The parts of pyHanko, which only sealing needs. Raises SealError when it is missing."""
    try:
        from asn1crypto import keys  # noqa: PLC0415 - optional, as all here
        from asn1crypto import x509 as asn1  # noqa: PLC0415
        from pyhanko.pdf_utils import incremental_writer  # noqa: PLC0415
        from pyhanko.sign import fields, signers, timestamps  # noqa: PLC0415
        from pyhanko_certvalidator import registry  # noqa: PLC0415
    except ImportError as why:
        raise SealError("pyHanko, which seals PDF files", f"none: {why}", _INSTALL) from why
    return {
        "keys": keys, "x509": asn1, "writer": incremental_writer, "fields": fields, "signers": signers,
        "timestamps": timestamps, "registry": registry,
    }  # fmt: skip


def _chain(certificates: bytes) -> list[x509.Certificate]:
    """The certificates, the signer's first, which must be valid today."""
    try:
        chain = x509.load_pem_x509_certificates(certificates)
    except ValueError as why:
        raise SealError(
            "certificates in PEM, the signer's first", str(why), "ask who issued it for a PEM file"
        ) from why
    now, first = datetime.now(UTC), chain[0]
    if not first.not_valid_before_utc <= now <= first.not_valid_after_utc:
        days = f"{first.not_valid_before_utc:%Y-%m-%d} to {first.not_valid_after_utc:%Y-%m-%d}"
        raise SealError(
            "a certificate that is valid today", f"one valid {days}", "renew it, or set this machine's clock"
        )
    return chain


def _private(key: bytes, certificate: x509.Certificate) -> bytes:
    """The private key as PKCS #8, DER; it must be the certificate's and of a kind that PDF readers know."""
    try:
        found = load_pem_private_key(key, None)
    except (TypeError, ValueError) as why:
        raise SealError(
            "a private key in PEM without a password", str(why)[:200], "`openssl pkey` removes one"
        ) from why
    if found.public_key() != certificate.public_key():
        raise SealError("the private key of the certificate", "another", "give the two that belong together")
    if isinstance(found, rsa.RSAPrivateKey):
        if found.key_size < LEAST_RSA_BITS:
            raise SealError(f"an RSA key of {LEAST_RSA_BITS} bits", f"{found.key_size}", "have a longer one certified")
    elif not (isinstance(found, ec.EllipticCurvePrivateKey) and isinstance(found.curve, _CURVES)):
        # Ed25519 seals were refused by the PDF readers that were tried.
        raise SealError(
            "a key of ECDSA P-256, P-384 or P-521, or RSA",
            type(found).__name__,
            "have one of those certified: PDF readers know no other",
        )
    return found.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise SealError("an http or https URL of an authority", text, "give it whole")
    return text
