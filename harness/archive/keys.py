"""Keys: Ed25519 signing keys, the lines that name their public halves, and whom an auditor trusts."""

from __future__ import annotations

import base64
import binascii
import contextlib
import errno
import hashlib
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from cryptography.exceptions import InternalError, InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from harness.disk import refusal, sync_directory, write_all
from harness.errors import HarnessError

ED25519: Final = b"\x01"
"""Signature type of a verifier key (C2SP signed-note)."""

PUBLIC_SUFFIX: Final = ".pub"

_LARGEST_KEY: Final = 16 * 1024
_LARGEST_TRUST: Final = 1024 * 1024
_LONGEST_LINE: Final = 200
"""Characters: a name, an id and 33 octets of key have 155 at most."""
_NAME: Final = re.compile(r"\w[\w.@=,/-]*")
_PEM: Final = b"-----BEGIN PRIVATE KEY-----"
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class KeyFileError(HarnessError):
    """A key or a trust file cannot be used."""


def key_name(text: str) -> str:
    """``text`` if it can name a key: letters, digits and ``._@=,-/``, no space, no plus (C2SP signed-note).

    Raises KeyFileError.
    """
    if not _NAME.fullmatch(text) or len(text.encode()) > 100 or unicodedata.normalize("NFC", text) != text:
        wanted = "a key name of at most 100 octets, letters, digits and ._@=,-/ that starts with a letter or digit"
        raise KeyFileError(wanted, repr(text), "choose another, such as lab-head.example.org")
    return text


def strict_base64(text: str, where: str) -> bytes:
    """The octets that ``text`` is the one base64 spelling of (RFC 4648 4, padded). Raises KeyFileError."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise KeyFileError(f"base64 in {where}", str(error), "restore it from a copy") from error
    if base64.b64encode(octets).decode() != text:
        raise KeyFileError(f"base64 in {where}", "another spelling of it", "restore it from a copy")
    return octets


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """The public half of a key with its name."""

    name: str
    public: bytes
    """32 octets (RFC 8032 5.1.5)."""

    @property
    def id(self) -> str:
        """8 hex digits: the first four octets of SHA-256(name, line feed, type, public key)."""
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).hexdigest()[:8]

    @property
    def line(self) -> str:
        """``name+id+base64(type, public key)``, as a trust file lists it."""
        return f"{self.name}+{self.id}+{base64.b64encode(ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str, where: str) -> VerifierKey:
        """The key whose `line` is ``text``. Raises KeyFileError; ``where`` is for the message."""
        if len(text) > _LONGEST_LINE:
            raise KeyFileError(f"a verifier key in {where}", f"{len(text)} characters", "copy the .pub file's line")
        name, _, rest = text.partition("+")
        stated, _, encoded = rest.partition("+")
        octets = strict_base64(encoded, f"the key of {where}")
        if len(octets) != 33 or octets[:1] != ED25519:
            found = f"{len(octets)} octets of type {octets[:1].hex() or 'none'}"
            raise KeyFileError(f"an Ed25519 key, 33 octets of type 01, in {where}", found, "copy the .pub file's line")
        key = cls(key_name(name), octets[1:])
        if key.id != stated:
            found = f"{stated!r}, where the name and the key give {key.id}"
            raise KeyFileError(f"the key id in {where}", found, "copy the .pub file's line whole")
        if _of_small_order(key.public):
            found = "one of small order, under which anyone can sign"
            raise KeyFileError(
                f"a public key in {where}", found, "make a new key: `millicert key new FILE --name NAME`"
            )
        return key

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` of ``message`` was made with this key's private half."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def _of_small_order(public: bytes) -> bool:
    """Whether eight times the point is the neutral element: doubled three times by its y alone (RFC 8032 5.1)."""
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p)
    y = int.from_bytes(public, "little") & (2**255 - 1)
    for _ in range(3):
        xx = (y * y - 1) * pow(d * y * y + 1, p - 2, p)
        y = (y * y + xx) * pow(2 + xx - y * y, p - 2, p) % p
    return y == 1


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its name."""

    verifier: VerifierKey
    sign: Callable[[bytes], bytes]
    """Message → its 64 octets of signature (RFC 8032 5.1.6)."""


def create(path: Path, name: str) -> VerifierKey:
    """Make a key: the private half at ``path`` (PKCS#8 PEM, mode 0600), its line in ``path`` + ".pub".

    Raises KeyFileError when the name cannot be one or either file is there already, ArchiveError when the disk refuses.
    """
    key_name(name)
    private = Ed25519PrivateKey.generate()
    key = VerifierKey(name, private.public_key().public_bytes_raw())
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = _public(path)
    _create(path, pem, 0o600)
    try:
        _create(public, f"{key.line}\n".encode(), 0o644)
    except BaseException:
        path.unlink()  # ours, made above, and nobody has seen its name yet
        raise
    return key


def _public(path: Path) -> Path:
    return path.with_name(path.name + PUBLIC_SUFFIX)


def _create(path: Path, data: bytes, mode: int) -> None:
    """A new file, closed to others from its first octet on; nothing of it is left when the disk refuses."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError as error:
        raise KeyFileError(f"a new file {path}", "one that is there", "choose another name; keys are kept") from error
    except OSError as error:
        raise refusal(path, error) from error
    try:
        try:
            write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        sync_directory(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise refusal(path, error) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def load(path: Path) -> SigningKey:
    """The private key at ``path``, named by ``path`` + ".pub" beside it.

    Raises KeyFileError when group or others may touch it, when either file is a link or damaged, when it is not an
    unencrypted Ed25519 key, or when the two are not halves of one key.
    """
    data = small_file(path, _LARGEST_KEY, private=True)
    if not data.startswith(_PEM):
        kind = data[:40].split(b"\n")[0].decode(errors="replace")
        raise KeyFileError(f"an unencrypted Ed25519 key (PKCS#8 PEM) in {path}", repr(kind), _other_key(path))
    try:
        private = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError) as error:
        found = f"octets that OpenSSL cannot read ({type(error).__name__})"
        raise KeyFileError(f"an Ed25519 key (PKCS#8 PEM) in {path}", found, _other_key(path)) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise KeyFileError(f"an Ed25519 key in {path}", type(private).__name__.lstrip("_"), _other_key(path))
    public = _public(path)
    text = _text(small_file(public, _LARGEST_KEY), str(public))
    line, end, rest = text.partition("\n")
    if not end or rest:
        raise KeyFileError(f"one line in {public}", f"{len(text)} characters of another form", "restore it from a copy")
    key = VerifierKey.parse(line, str(public))
    if key.public != private.public_key().public_bytes_raw():
        found = f"a damaged one, or the public half of another in {public}"
        raise KeyFileError(f"the private half of {key.name}+{key.id} in {path}", found, "restore both from a copy")
    return SigningKey(key, private.sign)


def _other_key(path: Path) -> str:
    return f"use the file that `millicert key new` wrote, or restore {path.name} from a copy"


def small_file(path: Path, largest: int, *, private: bool = False) -> bytes:
    """The octets of the plain file at ``path``, at most ``largest``; never waits, never follows a link there.

    ``private`` also refuses one that group or others may touch. Raises KeyFileError.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            raise KeyFileError(f"a plain file {path}", "a symbolic link", "name the file that it points to") from error
        why = str(error.strerror or error) if isinstance(error, OSError) else str(error)
        raise KeyFileError(f"to read {path}", why, "give a file that is there and that you may read") from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"a plain file {path}", "a folder, pipe or device", "name the file itself")
        mode = stat.S_IMODE(status.st_mode)
        if private and mode & 0o077:
            found = f"mode {mode:04o}"
            raise KeyFileError(f"a private key that only its owner reads, {path}", found, f"chmod 600 {path}")
        pieces = list(_pieces(handle, largest + 1))
    except OSError as error:
        raise KeyFileError(f"to read {path}", str(error.strerror or error), "restore it from a copy") from error
    finally:
        os.close(handle)
    data = b"".join(pieces)
    if len(data) > largest:
        raise KeyFileError(f"at most {largest} octets in {path}", "more", "restore it from a copy")
    return data


def _pieces(handle: int, most: int) -> Iterator[bytes]:
    while most and (piece := os.read(handle, most)):
        most -= len(piece)
        yield piece


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise KeyFileError(f"UTF-8 in {where}", f"another octet in line {line}", "restore it from a copy") from error


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that the auditor vouches for, and when."""

    key: VerifierKey
    since: date | None = None
    """First day (UTC) of its validity."""
    until: date | None = None
    """Last day (UTC) of its validity."""

    def covers(self, utc_ns: int) -> bool:
        """Whether the instant, ns since 1970 UTC, lies in its validity."""
        day = datetime.fromtimestamp(utc_ns // 1_000_000_000, UTC).date()
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)

    @property
    def validity(self) -> str:
        """The days in words."""
        words = [f"{word} {day}" for word, day in (("from", self.since), ("until", self.until)) if day is not None]
        return " ".join(words) or "at any time"


@dataclass(frozen=True, slots=True)
class Trust:
    """The keys that an auditor was given by a way he believes."""

    where: str
    keys: tuple[TrustedKey, ...]

    def find(self, key: VerifierKey) -> TrustedKey | None:
        """What is said of ``key``, name and public half alike; None when it is not listed."""
        return next((each for each in self.keys if each.key == key), None)


def read_trust(path: Path) -> Trust:
    """The trust file at ``path``: a verifier key a line, ``from=`` and ``until=`` days after it, ``#`` comments.

    Raises KeyFileError that tells every mistake at once, each with its line.
    """
    text = _text(small_file(path.resolve(), _LARGEST_TRUST), str(path))
    keys: list[TrustedKey] = []
    lines: dict[bytes, int] = {}
    mistakes: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        where = f"line {number}"
        try:
            key = VerifierKey.parse(words[0], "that line")
            if key.public in lines:
                mistakes.append(f"{where}: the key of line {lines[key.public]} again; list each once")
            lines.setdefault(key.public, number)
        except KeyFileError as error:
            mistakes.append(f"{where}: {error.found}, wanted {error.wanted}")
            key = None
        days = _days(words[1:], where, mistakes)
        if key is not None:
            keys.append(TrustedKey(key, days.get("from"), days.get("until")))
    if not keys and not mistakes:
        mistakes = ["no key at all"]
    if mistakes:
        remedy = "mend these lines; a key's line stands in its .pub file"
        raise KeyFileError(f"a trust file {path}", "; ".join(mistakes), remedy)
    return Trust(str(path), tuple(keys))


def _days(words: list[str], where: str, mistakes: list[str]) -> dict[str, date]:
    """The days after a key; what cannot be read is appended to ``mistakes``."""
    days: dict[str, date] = {}
    for word in words:
        name, _, text = word.partition("=")
        day = None
        with contextlib.suppress(ValueError):
            day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
        if name not in ("from", "until"):
            mistakes.append(f"{where}: {word!r}, where from=YYYY-MM-DD or until=YYYY-MM-DD may stand")
        elif day is None:
            mistakes.append(f"{where}: {word!r} holds no day YYYY-MM-DD")
        elif name in days:
            mistakes.append(f"{where}: {name}= twice")
        else:
            days[name] = day
    if "from" in days and "until" in days and days["until"] < days["from"]:
        mistakes.append(f"{where}: valid until {days['until']}, before it begins on {days['from']}")
    return days
