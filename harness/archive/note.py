"""Signed notes of C2SP and the checkpoints of a transparency log written in them."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Self

from harness.archive.keys import KeyFileError, VerifierKey, strict_base64
from harness.errors import ArchiveError

COSIGNATURE: Final = b"\x04"
"""Type of a time-stamped Ed25519 cosignature (C2SP tlog-cosignature, cosignature/v1)."""

_DASH: Final = "— "
_NUMBER: Final = re.compile(r"0|[1-9][0-9]*")
_DIGEST: Final = 32
_ED25519: Final = 64
_TIME: Final = 8


def _name(text: str, where: str) -> str:
    if not text or "+" in text or any(c.isspace() or unicodedata.category(c).startswith("C") for c in text):
        raise ArchiveError(f"a key name without spaces or + in {where}", repr(text), "choose a name like a URL")
    return text


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """The public key of a witness: it signs checkpoints of others, with the time."""

    name: str
    public: bytes
    """32 octets of Ed25519."""

    @property
    def id(self) -> str:
        """8 hex digits."""
        return hashlib.sha256(self.name.encode() + b"\n" + COSIGNATURE + self.public).hexdigest()[:8]

    @property
    def line(self) -> str:
        """``name+id+base64(0x04 || public)``."""
        return f"{self.name}+{self.id}+{base64.b64encode(COSIGNATURE + self.public).decode()}"

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """The key whose `line` is ``text``, or whose plain Ed25519 `VerifierKey` has that line.

        Raises KeyFileError; ``where`` is for the message.
        """
        name, _, rest = text.partition("+")
        stated, _, encoded = rest.partition("+")
        octets = strict_base64(encoded, f"the key of {where}")
        if octets[:1] != COSIGNATURE:
            plain = VerifierKey.parse(text, where)
            return cls(plain.name, plain.public)
        # The checks of a plain key: a name, 32 octets, no small order.
        VerifierKey.parse(VerifierKey(name, octets[1:]).line, where)
        key = cls(name, octets[1:])
        if key.id != stated:
            raise KeyFileError(f"the key id {key.id} in {where}", repr(stated), "copy the witness's line whole")
        return key

    def verifies(self, blob: bytes, text: str) -> bool:
        """Whether ``blob`` is this witness's cosignature/v1 of a note's ``text``."""
        if len(blob) != _TIME + _ED25519:
            return False
        at = int.from_bytes(blob[:_TIME], "big")
        return VerifierKey(self.name, self.public).verifies(blob[_TIME:], _cosigned(at, text))


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line."""

    name: str
    key_id: str
    """8 hex digits."""
    blob: bytes
    """What follows the key id: for Ed25519 the signature, for a cosignature the time before it."""

    @classmethod
    def parse(cls, line: str) -> Self:
        """The signature in ``— name base64``; ArchiveError when the line is of another form."""
        name, gap, text = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not gap:
            raise ArchiveError("a line `— name base64`", repr(line[:80]), "restore that note from a copy")
        octets = strict_base64(text, f"the signature of {name}")
        if len(octets) < 5:
            raise ArchiveError(f"a signature of {name}", f"{len(octets)} octets", "restore that note from a copy")
        return cls(_name(name, "a signature line"), octets[:4].hex(), octets[4:])

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(bytes.fromhex(self.key_id) + self.blob).decode()}"


@dataclass(frozen=True, slots=True)
class Note:
    """A text with the signatures under it; one without any is unsigned, and says nothing of who wrote it."""

    text: str
    """Ends with a newline."""
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The note in ``data``: text, empty line, signature lines; ArchiveError when it is of another form."""
        remedy = "restore that note from a copy"
        try:
            whole = data.decode()
        except UnicodeDecodeError as error:
            raise ArchiveError("a note in UTF-8", str(error), remedy) from error
        if any(ord(c) < 0x20 and c != "\n" for c in whole):
            raise ArchiveError("a note without control characters", "one", remedy)
        text, gap, lines = whole.rpartition("\n\n")
        if not gap or not text or (lines and not lines.endswith("\n")):
            raise ArchiveError("text, an empty line, signature lines", "another form", remedy)
        return cls(text + "\n", tuple(Signature.parse(line) for line in lines.split("\n")[:-1]))

    @property
    def octets(self) -> bytes:
        """As it is kept and sent."""
        return "\n".join((self.text, *map(str, self.signatures), "")).encode()

    def signed(self, key: VerifierKey, sign: Callable[[bytes], bytes]) -> Note:
        """The note with one more signature, by ``sign``, whose public half is ``key``."""
        return replace(self, signatures=(*self.signatures, Signature(key.name, key.id, sign(self.text.encode()))))

    def by(self, key: VerifierKey | CosignerKey) -> Signature | None:
        """The signature of ``key``, checked; None when there is none.

        Raises ArchiveError when a line bears the key's name and id and does not verify.
        """
        found = None
        for each in self.signatures:
            if (each.name, each.key_id) != (key.name, key.id):
                continue
            if isinstance(key, CosignerKey):
                good = key.verifies(each.blob, self.text)
            else:
                good = key.verifies(each.blob, self.text.encode())
            if not good:
                raise ArchiveError(
                    f"a signature of {key.name} over this very text", "one that does not verify", "someone changed it"
                )
            found = each
        return found


def cosigned_at(signature: Signature) -> int:
    """When a cosignature says it was made, s since 1970 UTC."""
    if len(signature.blob) != _TIME + _ED25519:
        raise ArchiveError(f"a cosignature/v1 of {signature.name}", f"{len(signature.blob)} octets", "ask for one")
    return int.from_bytes(signature.blob[:_TIME], "big")


def _cosigned(utc_s: int, text: str) -> bytes:
    """What a cosignature/v1 signs (C2SP tlog-cosignature)."""
    return f"cosignature/v1\ntime {utc_s}\n{text}".encode()


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log was at one size (C2SP tlog-checkpoint)."""

    origin: str
    """Which log: a name without a scheme, like a URL."""
    size: int
    """Leaves."""
    root: bytes
    """32 octets."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The checkpoint in a note's text; extension lines after the third are covered by its signatures only."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] or not _NUMBER.fullmatch(lines[1]) or len(lines[1]) > 18:
            raise ArchiveError("a checkpoint: origin, size, root", repr(text[:120]), "restore it from a copy")
        top = strict_base64(lines[2], "a checkpoint's root")
        if len(top) != _DIGEST:
            raise ArchiveError("a root of 32 octets", f"{len(top)}", "restore the checkpoint from a copy")
        return cls(_name(lines[0], "a checkpoint's origin"), int(lines[1]), top)

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"
