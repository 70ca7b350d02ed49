"""Envelope: any octets under one Ed25519 signature, in DSSE v1."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from harness.archive.keys import SigningKey, VerifierKey, strict_base64
from harness.canonical import JSON, canonical, parse_object
from harness.errors import ArchiveError, HarnessError

ORDER: Final = "application/vnd.millicert.order+json"
"""Payload type of a work order."""
FAR_JOURNAL: Final = "application/vnd.millicert.far-journal+json"
"""Payload type of what a far end signs of its journal."""


def pae(payload_type: str, body: bytes) -> bytes:
    """What is signed: DSSE v1's pre-authentication encoding of ``body``."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def close(payload_type: str, body: bytes, key: SigningKey) -> bytes:
    """Canonical JSON with ``body``, its type, and the signature of ``key`` beside the key's own line."""
    signed: dict[str, JSON] = {
        "keyid": key.verifier.id,
        "sig": base64.b64encode(key.sign(pae(payload_type, body))).decode(),
        "verifier": key.verifier.line,
    }
    return canonical({"payload": base64.b64encode(body).decode(), "payloadType": payload_type, "signatures": [signed]})


def unseal(data: bytes, payload_type: str, name: str) -> tuple[bytes, VerifierKey]:
    """The octets in an envelope that `close` made, with the key that signed them.

    Whose key it is remains to be asked of `harness.archive.keys.Trust`. Raises ArchiveError, with ``name``, when one
    octet is another than was signed.
    """
    try:
        return _unseal(data, payload_type, name)
    except HarnessError as error:
        # The message of a part, such as base64, need not name the file.
        found = error.found[:300]
        raise ArchiveError(f"a signed {name}: {error.wanted}", found, "get it anew from who signed it") from error


def _unseal(data: bytes, payload_type: str, name: str) -> tuple[bytes, VerifierKey]:
    members = parse_object(data, name)
    entries = members.get("signatures")
    if members.keys() != {"payload", "payloadType", "signatures"} or not isinstance(entries, list) or len(entries) != 1:
        raise _unlike("payload, payloadType and one signature", ", ".join(sorted(members)) or "nothing")
    entry = entries[0]
    if not isinstance(entry, Mapping) or entry.keys() != {"keyid", "sig", "verifier"}:
        raise _unlike("keyid, sig and verifier of the signature", "another form")
    if members["payloadType"] != payload_type:
        raise _unlike(f"payloadType {payload_type}", repr(members["payloadType"]))
    key = VerifierKey.parse(_text(entry["verifier"], "verifier"), "verifier")
    if entry["keyid"] != key.id:
        raise _unlike(f"keyid {key.id}", repr(entry["keyid"]))
    body = strict_base64(_text(members["payload"], "payload"), "payload")
    if not key.verifies(strict_base64(_text(entry["sig"], "sig"), "sig"), pae(payload_type, body)):
        raise _unlike(f"octets that {key.name}+{key.id} signed", "others")
    return body, key


def _text(value: JSON, where: str) -> str:
    if not isinstance(value, str):
        raise _unlike(f"text in {where}", repr(value)[:60])
    return value


def _unlike(wanted: str, found: str) -> ArchiveError:
    return ArchiveError(wanted, found, "get it anew from who signed it")
