"""Witnesses outside: what to ask them of a log's checkpoint, and what they said."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from harness.archive.keys import KeyFileError
from harness.archive.log import CHECKPOINTS, newest
from harness.archive.note import Checkpoint, CosignerKey, Note, Signature, cosigned_at
from harness.canonical import sha256
from harness.disk import make_directory, read_file, write_file
from harness.errors import ArchiveError, HarnessError

FOLDER: Final = "witness"
REQUEST: Final = "checkpoint"
"""The note that a witness signs."""
QUERY: Final = "query.tsq"
"""The same as a time-stamp query (RFC 3161) over the note's octets."""

_LARGEST: Final = 1024 * 1024
"""Octets of an answer; tokens with a chain of certificates are a hundredth of it."""
_TIMEOUT_S: Final = 20.0

State = Literal["verified", "unverified", "failed"]


@dataclass(frozen=True, slots=True)
class Word:
    """What one witness said of one checkpoint."""

    size: int
    """Entries that the checkpoint covers."""
    kind: Literal["cosignature", "token"]
    who: str
    """The witness's key with its id; for a token the roots that it was verified under."""
    utc_s: int | None
    """When, by the witness's word, s since 1970 UTC; None when it cannot be read."""
    state: State
    file: str
    """Relative to the log folder."""
    detail: str = ""

    @property
    def at(self) -> str:
        """`utc_s` in words."""
        if self.utc_s is None:
            return "at an unread time"
        try:
            return f"{datetime.fromtimestamp(self.utc_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
        except (OverflowError, ValueError, OSError):
            return f"at {self.utc_s} s since 1970"


def request(path: Path) -> Path:
    """Queue what an outside witness signs of the newest checkpoint of the log at ``path``; returns its folder.

    Made once for a checkpoint: a query that is out already stays the one that is answered.
    """
    found = newest(path)
    if found is None:
        raise ArchiveError(f"a checkpoint in {path}", "none", "the log's first entry makes one")
    checkpoint, note = found
    folder = path / FOLDER / str(checkpoint.size)
    make_directory(folder)
    if not (folder / REQUEST).exists():
        write_file(folder / REQUEST, note.octets)
    if not (folder / QUERY).exists():
        asked = TimestampRequestBuilder().data(read_file(folder / REQUEST)).hash_algorithm(HashAlgorithm.SHA256)
        write_file(folder / QUERY, asked.build().as_bytes())
    return folder


def queued(path: Path) -> list[int]:
    """Sizes whose requests no witness has answered yet, ascending."""
    answered = {word.size for word in words(path)}
    return [size for size in _sizes(path) if size not in answered]


def _sizes(path: Path) -> list[int]:
    if not (path / FOLDER).is_dir():
        return []
    return sorted(int(each.name) for each in (path / FOLDER).iterdir() if each.name.isascii() and each.name.isdigit())


def _asked(path: Path, size: int) -> bytes:
    """The octets that a witness of ``size`` was given."""
    return read_file(path / FOLDER / str(size) / REQUEST)


def add_cosignature(path: Path, data: bytes, key: CosignerKey) -> Word:
    """Keep the cosignature of ``key``: ``data`` is its line, or a whole note that has it.

    Raises ArchiveError when there is none of this key over a checkpoint of this log that was queued.
    """
    try:
        lines = [line for line in data.decode().split("\n") if line.startswith("— ")]
        signatures = [
            found for found in map(Signature.parse, lines) if (found.name, found.key_id) == (key.name, key.id)
        ]
    except UnicodeDecodeError as error:
        raise ArchiveError("a cosignature line in UTF-8", str(error), "ask the witness for it again") from error
    for size in reversed(_sizes(path)):
        text = Note.parse(_asked(path, size)).text
        for each in signatures:
            if key.verifies(each.blob, text):
                folder = path / FOLDER / str(size)
                write_file(folder / f"cosignature-{key.id}.key", f"{key.line}\n".encode())
                write_file(folder / f"cosignature-{key.id}.note", f"{each}\n".encode())
                return _cosignature(path, size, folder / f"cosignature-{key.id}.note")
    raise ArchiveError(
        f"a cosignature/v1 of {key.name}+{key.id} over a checkpoint queued in {path / FOLDER}",
        f"{len(signatures)} lines of that key, none over such a checkpoint" if signatures else "no line of that key",
        "send the witness the checkpoint that `millicert log witness --request` queues",
    )


def roots_of(data: bytes) -> list[x509.Certificate]:
    """Certificates of a PEM file. Raises KeyFileError when there is none."""
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise KeyFileError(
            "root certificates in PEM", str(error), "ask the time-stamping authority for its root"
        ) from error


def add_token(path: Path, data: bytes, roots: bytes | None = None) -> Word:
    """Keep a time-stamp response (RFC 3161) over a queued checkpoint, as it came; ``roots`` (PEM) verify it.

    Without roots it is kept as unverified. Raises ArchiveError when it is over nothing of this log, was refused by the
    authority, or does not verify.
    """
    for size in reversed(_sizes(path)):
        # The imprint stands in the token as it is; what else the token says is read when it is verified.
        if hashlib.sha256(_asked(path, size)).digest() in data:
            break
    else:
        raise ArchiveError(
            f"a token over a checkpoint queued in {path / FOLDER}", "one over something else, or a refusal",
            "have the query.tsq of `millicert log witness --request` stamped",
        )  # fmt: skip
    folder, name = path / FOLDER / str(size), f"token-{sha256(data)[:8]}"
    word = _verified(_asked(path, size), data, roots, size, f"{FOLDER}/{size}/{name}.tsr")
    if word.state == "failed":
        raise ArchiveError(f"a token that verifies over the checkpoint of {size}", word.detail, "check token and roots")
    if roots is not None:
        write_file(folder / f"{name}.roots.pem", roots)
    write_file(folder / f"{name}.tsr", data)
    return word


def post(path: Path, url: str, roots: bytes | None = None) -> Word:
    """Send the newest checkpoint's query to the time-stamping authority at ``url`` and keep its answer."""
    query = read_file(request(path) / QUERY)
    if not url.startswith(("http://", "https://")):
        raise ArchiveError("an http or https URL of an authority", url, "give it whole")
    asked = urllib.request.Request(  # noqa: S310 - http and https only, as checked above
        url, data=query, headers={"Content-Type": "application/timestamp-query"}, method="POST"
    )
    try:
        with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - as above
            data = answer.read(_LARGEST)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise ArchiveError(
            f"an answer of {url}", str(error), "the query stays queued: try again when the network is there"
        ) from error
    return add_token(path, data, roots)


def words(path: Path) -> list[Word]:
    """Everything that witnesses said of the log at ``path``, verified anew with the keys and roots kept beside."""
    return list(_words(path))


def _words(path: Path) -> Iterator[Word]:
    for size in _sizes(path):
        folder = path / FOLDER / str(size)
        for file in sorted(folder.glob("cosignature-*.note")):
            yield _cosignature(path, size, file)
        for file in sorted(folder.glob("token-*.tsr")):
            roots = file.with_name(f"{file.stem}.roots.pem")
            name = file.relative_to(path).as_posix()
            try:
                asked, data = _ours(path, size), read_file(file)
                if file.stem != f"token-{sha256(data)[:8]}":  # parts of a token are under no signature
                    raise ArchiveError(f"the token that was kept in {name}", "other octets", "someone changed it")
                yield _verified(asked, data, read_file(roots) if roots.exists() else None, size, name)
            except HarnessError as error:
                yield Word(size, "token", "", None, "failed", name, str(error))


def _ours(path: Path, size: int) -> bytes:
    """What the witness was given, which must be the checkpoint that the log keeps."""
    asked = _asked(path, size)
    if asked != read_file(path / CHECKPOINTS / str(size)):
        raise ArchiveError(
            f"in {FOLDER}/{size}/{REQUEST} the checkpoint of {CHECKPOINTS}/{size}", "another", "one of them was changed"
        )
    return asked


def _cosignature(path: Path, size: int, file: Path) -> Word:
    name = file.relative_to(path).as_posix()
    try:
        key = CosignerKey.parse(read_file(file.with_suffix(".key")).decode().rstrip("\n"), name)
        signature = Signature.parse(read_file(file).decode().rstrip("\n"))
        note = Note.parse(_ours(path, size))
        if Checkpoint.parse(note.text).size != size or Note(note.text, (signature,)).by(key) is None:
            raise ArchiveError(f"a cosignature of {key.name}+{key.id} in {name}", "another", "someone changed it")
    except (HarnessError, UnicodeDecodeError) as error:
        return Word(size, "cosignature", "", None, "failed", name, str(error))
    return Word(size, "cosignature", f"{key.name}+{key.id}", cosigned_at(signature), "verified", name, key.line)


def _verified(asked: bytes, data: bytes, roots: bytes | None, size: int, name: str) -> Word:
    """What the token ``data`` over the octets ``asked`` is worth under ``roots``."""

    def word(state: State, at: int | None, detail: str = "") -> Word:
        who = "" if roots is None else f"roots {sha256(roots)[:16]}"
        return Word(size, "token", who, at, state, name, detail)

    try:
        answer = decode_timestamp_response(data)
        if answer.status != PKIStatus.GRANTED:
            return word("failed", None, f"refused by the authority: {'; '.join(answer.status_string) or answer.status}")
        at = int(answer.tst_info.gen_time.timestamp())
        imprint = answer.tst_info.message_imprint.message
    except ValueError as error:
        # The client is stricter about DER than OpenSSL, which is the reference; the time then stays unread.
        unread = f"not read by rfc3161-client: {error}"
        if roots is None:
            return word("unverified", None, unread)
        refused = _by_openssl(asked, data, roots)
        return word("failed" if refused else "verified", None, f"{unread}; {refused or 'verified by openssl'}")
    if imprint != hashlib.sha256(asked).digest():
        return word("failed", at, "it is over other octets")
    if roots is None:
        return word("unverified", at, "no roots were given")
    builder = VerifierBuilder()
    for root in roots_of(roots):
        builder = builder.add_root_certificate(root)
    try:
        builder.build().verify_message(answer, asked)
    except (VerificationError, ValueError) as error:
        return word("failed", at, str(error))
    return word("verified", at)


def _by_openssl(asked: bytes, data: bytes, roots: bytes) -> str:
    """Why OpenSSL does not verify the token; empty when it does."""
    with tempfile.TemporaryDirectory(prefix="millicert-token-") as folder:
        at = Path(folder)
        for file, octets in (("asked", asked), ("token", data), ("roots", roots)):
            (at / file).write_bytes(octets)
        command = ["openssl", "ts", "-verify", "-data", f"{at}/asked", "-in", f"{at}/token", "-CAfile", f"{at}/roots"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            return f"openssl did not run: {error}"
    return "" if done.returncode == 0 else f"openssl ts -verify: {done.stderr.strip()[-200:]}"


def covered(path: Path) -> int:
    """How many entries of the log at ``path`` an outside witness has verifiably vouched for; 0: none."""
    return max((word.size for word in words(path) if word.state == "verified"), default=0)
