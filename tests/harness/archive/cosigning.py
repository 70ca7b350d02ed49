"""A witness's part: cosignatures as C2SP tlog-cosignature has them, made apart from what verifies them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from harness.archive.note import CosignerKey, Note, Signature


def cosigned(note: Note, key: CosignerKey, sign: Callable[[bytes], bytes], utc_s: int) -> Note:
    """The note with one more cosignature/v1, of the time ``utc_s`` (s since 1970 UTC)."""
    signed = f"cosignature/v1\ntime {utc_s}\n".encode() + note.text.encode()
    line = Signature(key.name, key.id, utc_s.to_bytes(8, "big") + sign(signed))
    return replace(note, signatures=(*note.signatures, line))
