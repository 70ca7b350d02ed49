"""Signatures of a sealed folder: one DSSE envelope a signer, over its result and its manifest."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.archive import bag, redacted
from harness.archive.envelope import close, unseal
from harness.archive.folder import REDACTED, RESULT, file_name
from harness.archive.keys import SigningKey, VerifierKey, small_file
from harness.canonical import JSON, canonical, difference, parse_object, sha256
from harness.disk import PARTIAL, make_directory, read_file, write_file
from harness.errors import ArchiveError, HarnessError

FOLDER: Final = "sig"
SUFFIX: Final = ".dsse.json"

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:millicert:signed-result:1"
REDACTION_TYPE: Final = "urn:millicert:signed-redaction:1"
"""Signed beside a run's result, so that it can go with the redacted one: it holds no value, only hashes."""

LARGEST: Final = 64 * 1024 * 1024
"""Octets of an envelope; the result of a thousand links is a tenth of it."""

_NANOSECONDS: Final = re.compile(r"[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Signature:
    """A whole signature of a folder; who its key belongs to is for `harness.archive.keys.Trust` to say."""

    name: str
    """Its file, relative to the folder."""
    key: VerifierKey
    utc_ns: int
    """When it was made, ns since 1970 UTC, by the signer's own word."""
    of_redaction: bool = False
    """Whether it is over the redacted result alone."""

    @property
    def at(self) -> str:
        """`utc_ns` to the second."""
        return f"{datetime.fromtimestamp(self.utc_ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def statement(path: Path, signer: str, utc_ns: int) -> dict[str, JSON]:
    """The in-toto Statement v1 that ``signer`` makes of the folder at ``path``: its result, its manifest, its name.

    Raises ArchiveError when result.json or the manifest cannot be read.
    """
    result = read_file(path / RESULT)
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": RESULT, "digest": {"sha256": sha256(result)}},
            {"name": bag.MANIFEST, "digest": {"sha256": bag.file_sha256(path / bag.MANIFEST)}},
        ],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "run": path.name,
            "signer": signer,
            "signed_utc_ns": str(utc_ns),
            "result": parse_object(result, RESULT),
        },
    }


def redaction_statement(path: Path, signer: str, utc_ns: int) -> dict[str, JSON]:
    """The in-toto Statement v1 that ``signer`` makes of a run's redacted result and its manifest.

    ``path`` is the run or a redacted folder made of it: both give the same. Raises ArchiveError when one of the files
    cannot be read.
    """
    if redacted.is_redacted(path):
        found = redacted.load(path)
        run, digest, manifest = found.run, found.digest, found.manifest_sha256
    else:
        run, digest, manifest = path.name, bag.file_sha256(path / REDACTED), bag.file_sha256(path / bag.MANIFEST)
    return {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": REDACTED, "digest": {"sha256": digest}},
            {"name": bag.MANIFEST, "digest": {"sha256": manifest}},
        ],
        "predicateType": REDACTION_TYPE,
        "predicate": {"run": run, "signer": signer, "signed_utc_ns": str(utc_ns)},
    }


def redaction_file_of(key: VerifierKey) -> str:
    """As `file_of`, for the signature of the redacted result."""
    return f"{FOLDER}/{file_name(key.name)}.redacted-{key.id}{SUFFIX}"


def file_of(key: VerifierKey) -> str:
    """Where in a folder the signature of ``key`` stands. Raises ArchiveError when its name can be no file's."""
    return f"{FOLDER}/{file_name(key.name)}-{key.id}{SUFFIX}"


def names(path: Path) -> list[str]:
    """The signatures' files in the folder at ``path``, sorted; unread. Raises ArchiveError as `bag.payload` does."""
    return [name for name in bag.beside(path) if name.endswith(SUFFIX)]


def sign(path: Path, key: SigningKey, *, utc_ns: int | None = None) -> Signature:
    """Put the signature of ``key`` into the sealed folder at ``path``, a run or one judged again.

    Needs that folder alone; a run that can be redacted gets a second one, of its redacted result. ``utc_ns`` is the
    time of signing, now when not given. Raises ArchiveError when the folder is not sound, bears another name than it
    was sealed under, or has a signature of this key.
    """
    path = path.resolve()
    at = time.time_ns() if utc_ns is None else utc_ns
    name = file_of(key.verifier)
    if (path / name).exists():
        raise ArchiveError(f"a folder that {key.verifier.name} did not sign", name, "one signature a key is enough")
    for each in (name, redaction_file_of(key.verifier)):
        (path / f"{each}{PARTIAL}").unlink(missing_ok=True)  # of a signing that was cut off
    if problems := bag.problems(path):
        raise ArchiveError(f"a sound sealed folder at {path}", "; ".join(problems), "restore it from a copy")
    _sealed_here(path, at)
    body = canonical(statement(path, key.verifier.name, at))
    octets = close(PAYLOAD_TYPE, body, key)
    if len(octets) > LARGEST:
        raise ArchiveError(f"a signature of at most {LARGEST} octets", f"{len(octets)}", "judge fewer links a run")
    make_directory(path / FOLDER)
    if (path / REDACTED).exists():  # first, for a signing that is cut off here is done again
        body = canonical(redaction_statement(path, key.verifier.name, at))
        write_file(path / redaction_file_of(key.verifier), close(PAYLOAD_TYPE, body, key))
    write_file(path / name, octets)
    return load(path, name)


def _sealed_here(path: Path, at: int) -> None:
    """The folder bears the name it was sealed under, and was sealed no later than the day of signing."""
    lines = read_file(path / bag.INFORMATION).decode(errors="replace").split("\n")
    told = {key: value for key, _, value in (line.partition(": ") for line in lines)}
    if told.get("External-Identifier") != path.name:
        found = f"{path.name}, sealed as {told.get('External-Identifier')}"
        raise ArchiveError("a folder under its own name", found, "name it as it was")
    today = f"{datetime.fromtimestamp(at // 1_000_000_000, UTC):%Y-%m-%d}"
    if today < told.get("Bagging-Date", ""):
        found = f"{today}, and the folder was sealed on {told['Bagging-Date']}"
        raise ArchiveError("a clock that is right to sign by", found, "set this machine's clock")


def load(path: Path, name: str) -> Signature:
    """The signature ``name`` of the folder at ``path``: whole, and of this folder as it is now.

    Raises ArchiveError that names the file when one octet of it is another, or when it signs anything else.
    """
    try:
        return _load(path, name)
    except HarnessError as error:
        # The message of a part, such as base64, need not name the file.
        raise ArchiveError(f"a signature {name}: {error.wanted}", error.found[:300], error.remedy) from error


def _load(path: Path, name: str) -> Signature:
    body, key = unseal(small_file(path / name, LARGEST), PAYLOAD_TYPE, name)
    signed = parse_object(body, "payload")
    of_redaction = signed.get("predicateType") == REDACTION_TYPE
    own = redaction_file_of(key) if of_redaction else file_of(key)
    if own != name:
        raise _unlike(f"the file of {key.name}+{key.id}, {own}", name)
    predicate = signed.get("predicate")
    at = predicate.get("signed_utc_ns") if isinstance(predicate, Mapping) else None
    if not isinstance(at, str) or not _NANOSECONDS.fullmatch(at):
        raise _unlike("a time of signing, ns since 1970 UTC as text", repr(at))
    here = (redaction_statement if of_redaction else statement)(path, key.name, int(at))
    if where := difference(signed, here):
        told = where.replace("archived", "signed").replace("recomputed", "here")
        raise _unlike("what the folder holds", f"another result, manifest or run, first at {told}")
    return Signature(name, key, int(at), of_redaction)


def _unlike(wanted: str, found: str) -> ArchiveError:
    return ArchiveError(wanted, found, "restore that file from a copy, or have the folder signed again")
