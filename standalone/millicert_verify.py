#!/usr/bin/env python3
"""Verify a millicert results folder on a machine that has nothing of millicert.

This is one file that needs Python 3.11 and its standard library, to be read before it is believed. It imports nothing
of the software that measured and shares no code with it: it was written from the formats and from the definitions
that its comments name. `cryptography`, where it is installed, checks the signatures. From Python 3.9 on, levels 0 to
2 work; level 4 wants the TOML reader that came with 3.11.

    python3 millicert_verify.py DIR [--trust KEYS] [--log LOGDIR|PROOF] [--level N] [--write-signed FOLDER]

DIR             the run: a folder with bagit.txt, manifest-sha256.txt and data/
--trust KEYS    verifier keys that you were given by a way you believe, one a line, ``from=``/``until=`` days after it;
                with it the folder must bear a signature by one of them
--log           the log's folder (with entries.jsonl) or a proof file; else what lies beside DIR is taken
--level N       go no further than level N (default 4)
--write-signed  write what each signature signs, with key and signature, for ``openssl pkeyutl`` (see below)

Levels

0   Files: every one is what the BagIt manifests (RFC 8493) and the hash-chained journal say; none is missing or extra.
    ``sha256sum -c manifest-sha256.txt`` does the first half without this file.
1   Signatures: DSSE v1 envelopes with Ed25519 over result.json and the manifest; whose they are is for KEYS to say.
2   Log: the plan stood in a Merkle log (RFC 9162) before anything was measured, and the sealing does after.
3   Time stamps by others are not checked here: ``openssl ts -verify`` does that.
4   Numbers: every number of result.json follows from raw time stamps, clock evidence, plan and policy. Exact integers
    decide throughout: order statistics, block variance, ranks of the confidence bounds by the binomial law, budget,
    bracket, gates, rules, roll-up. What was not recomputed is listed by name. A million packets take
    about half a minute; what a large run will take is said before it is begun.

The table has a row a check: level, check, state (``ok``, ``FAILED``, ``not checked``), detail. The last line is
VERIFIED or NOT VERIFIED, the exit status 0 or 1 (2: wrong usage). NOT VERIFIED also means that something asked for
could not be checked: with ``--level 1`` it is not asked for.

Signatures without `cryptography`: ``--write-signed OUT`` writes NAME.der, NAME.pae and NAME.sig; then

    openssl pkeyutl -verify -pubin -keyform DER -inkey NAME.der -rawin -in NAME.pae -sigfile NAME.sig

and compare NAME with the line of the signer's key that you were given.

Folders judged again (``RUN.judged-…``) are verified like runs; the run must lie beside them. Folders that join far
ends' journals (``RUN.attached-…``) are verified up to level 1 (``--level 1``); their numbers need millicert itself, the
numbers of the run they name do not.
"""

from __future__ import annotations

import argparse
import ast
import base64
import bisect
import collections
import decimal
import functools
import hashlib
import hmac
import itertools
import json
import math
import operator
import os
import re
import stat
import sys
import unicodedata
import zipfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

try:
    import tomllib
except ImportError:  # Python before 3.11: level 4 says so
    tomllib = None  # type: ignore[assignment]  # the name stays, to be asked for
try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:  # absent, or without its compiled part: signatures then stay unchecked, and their rows say so
    Ed25519PublicKey = None  # type: ignore[assignment,misc]  # the name stays, to be asked for

OK, FAILED, UNCHECKED = "ok", "FAILED", "not checked"
EXACT = 2**53
"""Integers of this size or more stand as decimal text in JSON (RFC 8785 numbers are IEEE 754 doubles)."""


class FormatError(Exception):
    """What was found is not what the format says."""


@dataclass
class Row:
    """One line of the table."""

    level: int
    check: str
    state: str
    detail: str
    decisive: bool = False
    """An unchecked row that was asked for: without it the folder is not verified."""


# --- files and JSON -----------------------------------------------------------------------------------------------


def octets(path: Path, most: int = 1 << 34) -> bytes:
    """A plain file's octets."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise FormatError(f"{path.name} is not a plain file")
        if path.stat().st_size > most:
            raise FormatError(f"{path.name} is larger than {most} octets")
        return path.read_bytes()
    except OSError as error:
        raise FormatError(f"{path.name} cannot be read: {error.strerror or error}") from error


def file_hash(path: Path) -> str:
    """SHA-256 of a file in lower-case hex, in pieces, for it may be large."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for piece in iter(lambda: stream.read(1 << 20), b""):
                digest.update(piece)
    except OSError as error:
        raise FormatError(f"{path.name} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def sha(data: bytes) -> str:
    """SHA-256 in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def no_float(text: str) -> NoReturn:
    """There are no floats in any of these files."""
    raise FormatError(f"the number {text} is not an integer")


def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are all different."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise FormatError("a key occurs twice")
    return found


def ordered(value: Any) -> Any:
    """Objects in the key order of RFC 8785 3.2.3: by UTF-16 code units."""
    if isinstance(value, dict):
        return {k: ordered(value[k]) for k in sorted(value, key=lambda k: str(k).encode("utf-16-be"))}
    return [ordered(each) for each in value] if isinstance(value, list) else value


def canonical(value: Any) -> bytes:
    """RFC 8785 octets of a value without floats."""
    return json.dumps(ordered(value), ensure_ascii=False, separators=(",", ":")).encode()


def parse(data: bytes, name: str) -> dict[str, Any]:
    """The object in ``data``, which must be canonical JSON to the octet."""
    try:
        value = json.loads(data.decode(), parse_float=no_float, parse_constant=no_float, object_pairs_hook=members)
        if canonical(value) != data:
            raise FormatError("it is not canonical JSON")
    except (ValueError, RecursionError, FormatError) as error:
        raise FormatError(f"{name}: {error}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{name} is not a JSON object")
    return value


def integer(value: Any) -> int:
    """An integer as it stands in JSON: a number, or decimal text from 2^53 on."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[1-9][0-9]{15,40}", value):
        return int(value)
    raise FormatError(f"{value!r} is not an integer")


def as_json(value: Any) -> Any:
    """Integers from 2^53 on as text."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if -EXACT < value < EXACT else str(value)
    if isinstance(value, dict):
        return {str(k): as_json(v) for k, v in value.items()}
    return [as_json(each) for each in value]


def strict64(text: str) -> bytes:
    """Octets of base64 in its one spelling (RFC 4648 4)."""
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise FormatError(f"no base64: {error}") from error
    if base64.b64encode(found).decode() != text:
        raise FormatError("another spelling of base64")
    return found


def when(ns: int) -> datetime:
    """UTC of an instant in ns since 1970."""
    try:
        return datetime.fromtimestamp(ns // 10**9, timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise FormatError(f"{ns} ns is no time") from error


# --- level 0: the bag (RFC 8493) ----------------------------------------------------------------------------------

MANIFEST, TAGS = "manifest-sha256.txt", "tagmanifest-sha256.txt"
SIGNATURE = re.compile(r"sig/\w[\w.@=,-]*-[0-9a-f]{8}\.dsse\.json")


def listing(folder: Path) -> list[str]:
    """Every file under the folder; links, devices and names that a manifest cannot hold are refused."""
    found = []
    for top, folders, files in os.walk(folder):
        for each in folders + files:
            path = Path(top, each)
            name = path.relative_to(folder).as_posix()
            mode = os.lstat(path).st_mode
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                raise FormatError(f"{name} is a link or device")
            if any(c in name for c in "\n\r%\\"):
                raise FormatError(f"{name!r} is no name for a manifest")
            if stat.S_ISREG(mode):
                found.append(name)
    return sorted(found)


def manifest(folder: Path, name: str, wrong: list[str]) -> dict[str, str]:
    """File name → SHA-256, as a manifest lists them; each file is compared."""
    if not (folder / name).is_file():
        wrong.append(f"{name} is missing")
        return {}
    data = octets(folder / name)
    listed: dict[str, str] = {}
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        match = re.fullmatch(r"([0-9a-f]{64})  (.+)", line.decode("utf-8", "replace"))
        if match is None or match[2] in listed:
            wrong.append(f"{name} line {number} is not a hash and a new name")
        else:
            listed[match[2]] = match[1]
    if "".join(f"{listed[each]}  {each}\n" for each in sorted(listed)).encode() != data:
        wrong.append(f"{name} is not one sorted line a file")
    for each, digest in listed.items():
        path = folder / each
        if ".." in each.split("/") or each.startswith("/") or not path.is_file():
            wrong.append(f"{each} is missing, though {name} lists it")
        elif file_hash(path) != digest:
            wrong.append(f"{each} was altered, or its line in {name}")
    return listed


def bag(folder: Path) -> tuple[list[str], str]:
    """What is wrong with the bag, and what to say when nothing is."""
    if not (folder / TAGS).is_file():
        return [f"{TAGS} is missing: the folder was never sealed"], ""
    wrong: list[str] = []
    names = listing(folder)
    tags = manifest(folder, TAGS, wrong)
    data = manifest(folder, MANIFEST, wrong)
    wrong += [f"{each} is not listed in {TAGS}" for each in ("bag-info.txt", "bagit.txt", MANIFEST) if each not in tags]
    for each in names:
        if each.startswith("data/"):
            if each not in data:
                wrong.append(f"{each} is extra: no manifest lists it")
        elif each not in tags and each != TAGS and not SIGNATURE.fullmatch(each):
            wrong.append(f"{each} is extra: no manifest lists it")
    wrong += [f"{each} in {MANIFEST} is not under data/" for each in data if not each.startswith("data/")]
    declared = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    if "bagit.txt" in names and octets(folder / "bagit.txt") != declared:
        wrong.append("bagit.txt does not declare BagIt 1.0 in UTF-8")
    return wrong, f"{len(data)} files as listed, none missing, none extra"


def information(folder: Path, name: str, sealed_ns: int) -> list[str]:
    """bag-info.txt, which no signature covers, against what journal and files say."""
    files = [each for each in listing(folder) if each.startswith("data/")]
    size = sum((folder / each).stat().st_size for each in files)
    told = (
        f"Bag-Software-Agent: millicert\nBagging-Date: {when(sealed_ns).date().isoformat()}\n"
        f"External-Identifier: {name}\nPayload-Oxum: {size}.{len(files)}\n"
    )
    if octets(folder / "bag-info.txt") == told.encode():
        return []
    return [f"bag-info.txt does not say that {name} was sealed on that day with these files"]


# --- level 0: the journal -----------------------------------------------------------------------------------------


@dataclass
class Book:
    """What the journal's lines add up to."""

    lines: list[dict[str, Any]]
    run: str = ""
    committed: dict[str, str] = field(default_factory=dict)
    """File → SHA-256 of what was fixed before anything was measured."""
    hashes: dict[str, str] = field(default_factory=dict)
    """File → SHA-256 as journaled last."""
    rows: dict[str, int] = field(default_factory=dict)
    """Measurement folder → rows in its segments."""
    open: list[str] = field(default_factory=list)
    finished: dict[str, str] = field(default_factory=dict)
    """Measurement folder → why it was interrupted, in the order of finishing."""
    moves: list[tuple[str, str]] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    """Where the plan stands in the log, as the run was told before it measured."""
    simulated: bool = False
    sealed_result: str = ""
    """SHA-256 of result.json in the line that seals the run; empty when that is not the last line."""


def journal(folder: Path) -> tuple[Book, list[str]]:
    """The journal of a run, its chain checked: each line repeats the SHA-256 of the line before it."""
    wrong: list[str] = []
    data = octets(folder / "data/journal.jsonl")
    before, clock = "0" * 64, 0
    lines = []
    pieces = data.split(b"\n")
    if pieces.pop():
        wrong.append("journal.jsonl ends in a torn line")
    for n, line in enumerate(pieces):
        entry = parse(line, f"journal.jsonl line {n}")
        if set(entry) != {"n", "kind", "utc_ns", "monotonic_ns", "previous", "data"} or not isinstance(
            entry["data"], dict
        ):
            raise FormatError(f"journal.jsonl line {n} is no journal line")
        if entry["n"] != n or entry["previous"] != before:
            raise FormatError(
                f"journal.jsonl line {n} does not follow line {n - 1}: one was changed, removed or put in"
            )
        at = integer(entry["monotonic_ns"])
        if at < clock and entry["kind"] not in ("archive.committed", "archive.resumed", "journal.torn"):
            wrong.append(f"journal.jsonl line {n} is older than line {n - 1}")
        before, clock = sha(line + b"\n"), at
        lines.append(entry)
    return added_up(lines), wrong


def added_up(lines: list[dict[str, Any]]) -> Book:
    """What the lines say must be there."""
    book = Book(lines)
    if not lines or lines[0]["kind"] != "archive.committed" or "data/plan.json" not in lines[0]["data"]["files"]:
        raise FormatError("journal.jsonl line 0 commits no plan")
    for line in lines:
        kind, data = line["kind"], line["data"]
        book.sealed_result = ""
        if kind == "archive.committed":
            book.run, book.committed = str(data["run"]), dict(data["files"])
            book.simulated = data.get("simulated") is True
            book.hashes.update(book.committed)
        elif kind == "log.committed":
            book.told = book.told or data
        elif kind == "archive.started":
            book.open.append(data["measurement"])
            book.rows[data["measurement"]] = 0
        elif kind == "archive.segment":
            name = data["measurement"]
            book.hashes[f"data/{name}/{data['file']}"] = data["sha256"]
            book.rows[name] = book.rows.get(name, 0) + integer(data["rows"])
        elif kind == "archive.finished":
            name = data["measurement"]
            book.hashes.update({f"data/{name}/{file}": digest for file, digest in data["files"].items()})
            book.finished[name] = str(data["interrupted"])
            book.open = [each for each in book.open if each != name]
        elif kind == "archive.set-aside":
            name, aside = data["measurement"], f"attempts/{integer(data['attempt'])}/{data['measurement']}"
            book.moves.append((name, aside))
            old = f"data/{name}/"
            book.hashes = {
                f"data/{aside}/{file[len(old) :]}" if file.startswith(old) else file: digest
                for file, digest in book.hashes.items()
            }
            book.open = [each for each in book.open if each != name]
            book.finished.pop(name, None)
            book.rows.pop(name, None)
        elif kind in ("archive.file", "archive.adopted"):
            book.hashes[data["path"]] = data["sha256"]
        elif kind == "journal.torn":
            book.hashes[f"data/{data['file']}"] = data["sha256"]
        elif kind == "archive.sealed":
            book.sealed_result = str(data["result_sha256"])
    return book


def compared(folder: Path, hashes: dict[str, str]) -> list[str]:
    """Files that are not as journaled."""
    wrong = []
    for name, digest in hashes.items():
        if not (folder / name).is_file():
            wrong.append(f"{name} is missing, though journaled")
        elif file_hash(folder / name) != digest:
            wrong.append(f"{name} is not as it was journaled")
    return wrong


def records(folder: Path, book: Book) -> list[str]:
    """Every file is journaled, every journaled file is there and the same."""
    wrong = compared(folder, book.hashes)
    wrong += [f"{name} was begun and never finished" for name in book.open]
    for name in listing(folder):
        free = name == "data/journal.jsonl" or name.startswith("data/attempts/")
        if name.startswith("data/") and not free and name not in book.hashes:
            wrong.append(f"{name} was never journaled")
    if book.hashes.get("data/result.json") != book.sealed_result:
        wrong.append("result.json is not the one that the last line seals")
    return wrong


# --- level 1: keys and signatures ---------------------------------------------------------------------------------

P25519 = 2**255 - 19
ORDER8 = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
SMALL_ORDER = (0, 1, P25519 - 1, ORDER8, P25519 - ORDER8)
"""y of the eight points of small order on edwards25519: under such a key anyone can sign."""
ED25519 = b"\1"
"""Type of such a key."""
KEY_NAME = re.compile(r"\w[\w.@=,/-]*")


@dataclass(frozen=True)
class Key:
    """A verifier key (C2SP signed-note): ``name+id+base64(01, 32 octets of Ed25519)``."""

    name: str
    public: bytes

    @property
    def id(self) -> str:
        """First four octets of SHA-256(name, line feed, 01, key)."""
        return sha(self.name.encode() + b"\n" + ED25519 + self.public)[:8]

    @property
    def line(self) -> str:
        """As a trust file lists it."""
        return f"{self.name}+{self.id}+{base64.b64encode(ED25519 + self.public).decode()}"

    def signed(self, signature: bytes, message: bytes) -> bool | None:
        """Whether it signed the message; None: nothing here can tell."""
        if Ed25519PublicKey is None:
            return None
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def key_of(line: str) -> Key:
    """The key in a line."""
    name, _, rest = line.partition("+")
    stated, _, encoded = rest.partition("+")
    if len(line) > 200 or not KEY_NAME.fullmatch(name) or unicodedata.normalize("NFC", name) != name:
        raise FormatError(f"{line[:60]!r} is no verifier key")
    data = strict64(encoded)
    if len(data) != 33 or data[:1] != b"\1":
        raise FormatError(f"the key {name} is not one of Ed25519")
    key = Key(name, data[1:])
    if key.id != stated:
        raise FormatError(f"the key {name} has the id {key.id}, not {stated}")
    if (int.from_bytes(key.public, "little") & (2**255 - 1)) % P25519 in SMALL_ORDER:
        raise FormatError(f"the key {name} is of small order: anyone can sign under it")
    return key


@dataclass(frozen=True)
class Trusted:
    """A key of the trust file with its days."""

    key: Key
    since: date | None
    until: date | None

    def covers(self, utc_ns: int) -> bool:
        """Whether an instant lies in its days (UTC)."""
        day = when(utc_ns).date()
        return (self.since is None or self.since <= day) and (self.until is None or day <= self.until)


def trust_file(path: Path) -> list[Trusted]:
    """A key a line, ``from=`` and ``until=`` days after it, ``#`` comments."""
    found: list[Trusted] = []
    for number, line in enumerate(octets(path.resolve(), 1 << 20).decode().split("\n"), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        days: dict[str, date] = {}
        try:
            key = key_of(words[0])
            for word in words[1:]:
                match = re.fullmatch(r"(from|until)=([0-9]{4}-[0-9]{2}-[0-9]{2})", word)
                if match is None or match[1] in days:
                    raise FormatError(f"{word!r}, where from=YYYY-MM-DD or until=YYYY-MM-DD may stand once")
                days[match[1]] = date.fromisoformat(match[2])
        except ValueError as error:
            raise FormatError(f"{path.name} line {number}: {error}") from error
        except FormatError as error:
            raise FormatError(f"{path.name} line {number}: {error}") from error
        if any(each.key.public == key.public for each in found):
            raise FormatError(f"{path.name} line {number}: a key listed twice")
        if "from" in days and "until" in days and days["until"] < days["from"]:
            raise FormatError(f"{path.name} line {number}: the key expires before it begins")
        found.append(Trusted(key, days.get("from"), days.get("until")))
    if not found:
        raise FormatError(f"{path.name} lists no key")
    return found


PAYLOAD = "application/vnd.in-toto+json"


def pae(body: bytes) -> bytes:
    """What DSSE v1 signs: the pre-authentication encoding."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD), PAYLOAD.encode(), len(body), body)


def envelope(folder: Path, name: str) -> tuple[Key, bytes, bytes, int]:
    """(key, octets signed, signature, time of signing in ns UTC) of an envelope whose statement fits the folder."""
    whole = parse(octets(folder / name, 1 << 26), name)
    if set(whole) != {"payload", "payloadType", "signatures"} or len(whole["signatures"]) != 1:
        raise FormatError("it is not payload, payloadType and one signature")
    entry = whole["signatures"][0]
    if set(entry) != {"keyid", "sig", "verifier"} or whole["payloadType"] != PAYLOAD:
        raise FormatError("it is of another form")
    key = key_of(entry["verifier"])
    body = strict64(whole["payload"])
    said = parse(body, "its payload")
    redacted = said.get("predicateType") == "urn:millicert:signed-redaction:1"
    if entry["keyid"] != key.id or name != f"sig/{key.name}{'.redacted' * redacted}-{key.id}.dsse.json":
        raise FormatError(f"it is not the file of {key.name}+{key.id}")
    at = said.get("predicate", {}).get("signed_utc_ns")
    if not isinstance(at, str) or not re.fullmatch(r"[1-9][0-9]{0,18}", at):
        raise FormatError("it states no time of signing")
    signed = "data/redacted.json" if redacted else "data/result.json"
    result = octets(folder / signed)
    subject = [
        {"name": signed, "digest": {"sha256": sha(result)}},
        {"name": MANIFEST, "digest": {"sha256": file_hash(folder / MANIFEST)}},
    ]
    if said.get("subject") != subject:
        raise FormatError(f"it signs another {signed[5:]} or another manifest")
    predicate: dict[str, Any] = {"run": folder.name, "signer": key.name, "signed_utc_ns": at}
    if not redacted:
        predicate["result"] = parse(result, "result.json")
    wanted = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": "urn:millicert:signed-redaction:1" if redacted else "urn:millicert:signed-result:1",
        "predicate": predicate,
    }
    if said != wanted:
        raise FormatError("its statement is not about this folder")
    return key, pae(body), strict64(entry["sig"]), int(at)


def write_signed(out: Path, file: str, key: Key, message: bytes, signature: bytes) -> None:
    """Three files for ``openssl pkeyutl``; the prefix is the DER of an Ed25519 public key (RFC 8410 4)."""
    out.mkdir(parents=True, exist_ok=True)
    redacted = file.startswith(f"sig/{key.name}.redacted-")
    name = f"{key.name.replace('/', '_')}{'.redacted' * redacted}+{key.id}"
    for suffix, data in (
        ("der", bytes.fromhex("302a300506032b6570032100") + key.public),
        ("pae", message),
        ("sig", signature),
    ):
        (out / f"{name}.{suffix}").write_bytes(data)


def signatures(folder: Path, trust: list[Trusted] | None, out: Path | None) -> Iterator[Row]:
    """Each signature by itself, then whether one of them counts."""
    names = [name for name in listing(folder) if SIGNATURE.fullmatch(name)]
    counted = unknown = 0
    for name in names:
        try:
            key, message, signature, at = envelope(folder, name)
            if out is not None:
                write_signed(out, name, key, message, signature)
            good = key.signed(signature, message)
            if good is False:
                raise FormatError(f"{key.name}+{key.id} did not sign these octets")
        except (FormatError, KeyError, TypeError, AttributeError, IndexError) as error:
            yield Row(1, "signature", FAILED, f"{name}: {error}")
            continue
        said = f"{name}: signed {when(at):%Y-%m-%dT%H:%M:%SZ} by its own word"
        if good is None:
            unknown += 1
            hint = (
                "cryptography is not installed: --write-signed FOLDER, then openssl pkeyutl -verify -pubin -keyform DER"
            )
            yield Row(1, "signature", UNCHECKED, f"{said}; {hint} -inkey K.der -rawin -in K.pae -sigfile K.sig")
            continue
        found = next((each for each in trust or () if each.key == key), None)
        if found is None:
            yield Row(1, "signature", UNCHECKED, f"{said}, whole; nobody vouches for the key {key.line} (--trust)")
        elif not found.covers(at):
            yield Row(1, "signature", FAILED, f"{said}; outside the days of {key.name}+{key.id} in the trust file")
        else:
            counted += 1
            yield Row(1, "signature", OK, f"{said}, by trusted key {key.name}+{key.id}")
    if not names:
        yield Row(1, "signature", UNCHECKED, "UNSIGNED: nobody says who made it")
    if trust is not None and not counted:
        if unknown:
            yield Row(1, "trust", UNCHECKED, "no signature could be checked, and --trust asks for one", True)
        else:
            yield Row(1, "trust", FAILED, "no signature by a trusted key in its days")


# --- level 2: the log (RFC 9162, C2SP signed-note and tlog-checkpoint) --------------------------------------------


def leaf(data: bytes) -> bytes:
    """RFC 9162 2.1.1."""
    return hashlib.sha256(b"\0" + data).digest()


def node(left: bytes, right: bytes) -> bytes:
    """RFC 9162 2.1.1."""
    return hashlib.sha256(b"\1" + left + right).digest()


def tree(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf hashes: pairs are joined level by level, an odd one goes up as it is: RFC 9162's tree."""
    level = list(leaves)
    if not level:
        return hashlib.sha256(b"").digest()
    while len(level) > 1:
        pairs = [node(a, b) for a, b in zip(level[::2], level[1::2])]
        level = pairs + level[len(level) & ~1 :]
    return level[0]


def included(at: int, size: int, hashed: bytes, path: list[bytes]) -> bytes:
    """The root to which an inclusion proof leads, walked from the leaf up."""
    if not 0 <= at < size:
        raise FormatError(f"entry {at} lies outside a tree of {size}")
    steps, width = list(path), size
    while width > 1:
        if at % 2 or at + 1 < width:
            if not steps:
                raise FormatError("an inclusion proof is too short")
            other = steps.pop(0)
            hashed = node(other, hashed) if at % 2 else node(hashed, other)
        at, width = at // 2, (width + 1) // 2
    if steps:
        raise FormatError("an inclusion proof is too long")
    return hashed


def grown(old: int, old_root: bytes, size: int, root: bytes, path: list[bytes]) -> bool:
    """Whether a consistency proof shows that a tree of ``old`` leaves grew into one of ``size`` (RFC 9162 2.1.4.2)."""
    if old == 0:
        return not path and old_root == tree(())
    if old >= size:
        return old == size and not path and old_root == root
    steps = list(path)
    at, last = old - 1, size - 1
    while at % 2:
        at, last = at // 2, last // 2
    # A whole power of two is its own subtree: the proof leaves it out.
    first = steps.pop(0) if at and steps else old_root
    mine = theirs = first
    for step in steps:
        if last == 0:
            return False
        if at % 2 or at == last:
            mine, theirs = node(step, mine), node(step, theirs)
            while at and not at % 2:
                at, last = at // 2, last // 2
        else:
            theirs = node(theirs, step)
        at, last = at // 2, last // 2
    return last == 0 and (mine, theirs) == (old_root, root)


@dataclass
class Checkpoint:
    """A signed note: origin, size, root, and the lines that sign them."""

    origin: str
    size: int
    root: bytes
    text: str
    signers: list[tuple[str, str, bytes]]
    """(name, key id, octets)."""


def checkpoint_of(data: bytes) -> Checkpoint:
    """The checkpoint in a note."""
    text, gap, below = data.decode().rpartition("\n\n")
    lines = text.split("\n")
    if not gap or len(lines) < 3 or not re.fullmatch(r"0|[1-9][0-9]{0,17}", lines[1]):
        raise FormatError("the checkpoint is not origin, size, root")
    root = strict64(lines[2])
    if len(root) != 32:
        raise FormatError("the checkpoint's root is not 32 octets")
    signers = []
    for line in below.split("\n")[:-1]:
        match = re.fullmatch(r"— (\S+) (\S+)", line)
        blob = strict64(match[2]) if match else b""
        if match is None or len(blob) < 5:
            raise FormatError("a signature line of the checkpoint is of another form")
        signers.append((match[1], blob[:4].hex(), blob[4:]))
    return Checkpoint(lines[0], int(lines[1]), root, text + "\n", signers)


@dataclass
class Place:
    """Where a run's entries were found."""

    whole: bool
    checkpoint: Checkpoint
    entries: dict[int, dict[str, Any]]
    previous: dict[str, Any]
    """The tree that this one is shown to continue: ``size``, ``root``."""


def log_entry(line: bytes, n: int) -> dict[str, Any]:
    """The entry in a leaf."""
    found = parse(line, f"log entry {n}")
    if set(found) != {"n", "kind", "utc_ns", "data"} or found["n"] != n or not isinstance(found["data"], dict):
        raise FormatError(f"log entry {n} is of another form")
    return found


def from_log(folder: Path, told: dict[str, Any]) -> Place:
    """The log itself: every leaf is hashed again."""
    lines = octets(folder / "entries.jsonl").split(b"\n")
    lines.pop()
    point = checkpoint_of(octets(folder / "checkpoint"))
    entries = {n: log_entry(line, n) for n, line in enumerate(lines)}
    hashes = [leaf(line) for line in lines]
    if point.size > len(hashes) or tree(hashes[: point.size]) != point.root:
        raise FormatError(f"the checkpoint of {point.size} entries is not that of the {len(hashes)} there are")
    if not entries or entries[0]["data"].get("origin") != point.origin:
        raise FormatError("entry 0 does not name the log of the checkpoint")
    size = integer((told.get("previous") or {}).get("size", 0))
    return Place(True, point, entries, {"size": size, "root": tree(hashes[:size]).hex()})


def from_proof(data: bytes, run: str) -> Place:
    """A proof: each entry's path leads to the checkpoint's root."""
    proof = parse(data, "the proof")
    if proof["schema"] != "millicert-log-proof/1" or proof["run"] != run:
        raise FormatError(f"the proof is of run {proof['run']}")
    point = checkpoint_of(proof["checkpoint"].encode())
    if point.origin != proof["origin"]:
        raise FormatError("the proof's checkpoint is of another log")
    entries = {}
    for each in proof["entries"]:
        n, line = integer(each["index"]), each["line"].encode()
        if included(n, point.size, leaf(line), [strict64(step) for step in each["path"]]) != point.root:
            raise FormatError(f"entry {n} does not stand in the tree of {point.size}")
        entries[n] = log_entry(line, n)
        if entries[n]["data"].get("run") != run:
            raise FormatError(f"entry {n} is not of this run")
    was = proof["grown"]
    size, root = integer(was["size"]), bytes.fromhex(was["root"])
    if not grown(size, root, point.size, point.root, [strict64(step) for step in was["path"]]):
        raise FormatError(f"the tree of {point.size} is not shown to continue that of {size}")
    return Place(False, point, entries, {"size": size, "root": was["root"]})


def place(folder: Path, run: str, book: Book, given: Path | None) -> Place | None:
    """The log or the proof that was named, else what lies beside the run."""
    if given is not None:
        return from_log(given, book.told) if given.is_dir() else from_proof(octets(given), run)
    beside = folder.parent / "log"
    if (beside / "entries.jsonl").is_file():
        found = from_log(beside, book.told)
        if found.checkpoint.origin == book.told.get("origin", found.checkpoint.origin):
            return found
    for path in (folder.parent / f"{run}.log.json", beside / "proofs" / f"{run}.json"):
        if path.is_file():
            return from_proof(octets(path), run)
    return None


def log_rows(folder: Path, run: str, book: Book, given: Path | None, trust: list[Trusted] | None) -> Iterator[Row]:
    """The run's plan and sealing in the log."""
    found = place(folder, run, book, given)
    told = book.told
    if found is None:
        said = "its journal tells of none: other attempts cannot be ruled out"
        if told:
            said = f"entry {told.get('index')}, attempt {told.get('attempt')} of {told.get('origin')} is its own word"
        yield Row(2, "log", UNCHECKED, f"no log and no proof beside it; {said}")
        return
    mine = {n: each for n, each in found.entries.items() if each["data"].get("run") == run}
    plan = next((each for each in mine.values() if each["kind"] == "plan"), None)
    seal = next((each for each in mine.values() if each["kind"] == "sealed"), None)
    if plan is None or not told:
        why = "its plan stands there, its journal says nothing of it" if plan else "its plan is not in this log"
        if plan is None and not told and given is None:
            yield Row(2, "log", UNCHECKED, f"{why}, and its journal claims none")
        else:
            yield Row(2, "log", FAILED, why)
        return
    wrong = []
    for name, ours, theirs in (
        ("origin", told.get("origin"), found.checkpoint.origin),
        ("index", told.get("index"), plan["n"]),
        ("attempt", told.get("attempt"), plan["data"].get("attempt")),
        ("item", told.get("item"), plan["data"].get("item")),
        ("plan hash", book.committed["data/plan.json"], plan["data"].get("plan_sha256")),
        ("checkpoint before it", told.get("previous"), found.previous),
    ):
        if ours != theirs:
            wrong.append(f"{name} {ours} in its journal, {theirs} in the log")
    if found.whole:
        before = [
            n
            for n, each in found.entries.items()
            if n < plan["n"] and each["kind"] == "plan" and each["data"].get("item") == plan["data"].get("item")
        ]
        if list(told.get("earlier") or []) != before:
            wrong.append(f"earlier attempts {told.get('earlier')} in its journal, {before} in the log")
    fixing = seal
    if folder.name != run:
        fixing = next((e for e in mine.values() if e["data"].get("folder") == folder.name), None)
    if seal is None:
        wrong.append("its sealing was never logged")
    if fixing is not None:
        for file, key in ((MANIFEST, "manifest_sha256"), ("data/result.json", "result_sha256")):
            if file_hash(folder / file) != fixing["data"].get(key):
                wrong.append(f"{file} has another hash than entry {fixing['n']} logged")
    if max(plan["n"], seal["n"] if seal else 0) >= found.checkpoint.size:
        wrong.append(f"the checkpoint of {found.checkpoint.size} does not cover all of its entries")
    where = "the log" if found.whole else "the proof"
    fine = (
        f"entry {plan['n']} of {found.checkpoint.origin} by {where}, attempt {told.get('attempt')}, before it measured"
    )
    if seal:
        fine += f"; sealed by entry {seal['n']}; checkpoint of {found.checkpoint.size}"
    yield Row(2, "log", FAILED if wrong else OK, "; ".join(wrong) or fine)
    if folder.name != run and fixing is None:
        yield Row(2, "judgement", UNCHECKED, f"{folder.name} is not in the log: others may exist that nobody shows")
    yield signed_checkpoint(found, told, trust)


def signed_checkpoint(found: Place, told: dict[str, Any], trust: list[Trusted] | None) -> Row:
    """Who answers for the log: a trusted key, or the one that the run was told."""
    point = found.checkpoint
    if not point.signers:
        return Row(2, "checkpoint", UNCHECKED, "UNSIGNED: nobody answers for the log")
    keys = [(Key(point.origin, each.key.public), each.key.name) for each in trust or ()]
    if told.get("key"):
        keys.append((key_of(str(told["key"])), ""))
    for key, who in keys:
        for name, identity, signature in point.signers:
            if (name, identity) == (key.name, key.id):
                good = key.signed(signature, point.text.encode())
                if good is None:
                    return Row(2, "checkpoint", UNCHECKED, f"signed by {key.line}; cryptography is not installed")
                if not good:
                    return Row(2, "checkpoint", FAILED, f"{key.name}+{key.id} did not sign this checkpoint")
                if who:
                    return Row(2, "checkpoint", OK, f"signed by trusted key {who} as {key.line}")
                return Row(2, "checkpoint", UNCHECKED, f"signed by {key.line}; nobody vouches for that key (--trust)")
    return Row(2, "checkpoint", UNCHECKED, "signed by keys that are not known here")


# --- level 4: the samples on disk ---------------------------------------------------------------------------------

NEVER = -(2**63)
"""A stamp that was not taken; in a list of delays, one that may be anything (minus infinity)."""
INFINITE = 2**63 - 1
"""The delay of a lost packet (RFC 7679 5.1)."""
MOST_ROWS = 1 << 26
COLUMNS = (
    "flow", "seq", "scheduled", "t1", "t2", "t3", "t4", "far_seq", "arrival", "copies", "ttl", "error_estimate",
    "flags",
)  # fmt: skip
STAMPS = ("t1", "t2", "t3", "t4")
ABSENT = {**dict.fromkeys(STAMPS, NEVER), **dict.fromkeys(("far_seq", "arrival", "ttl", "error_estimate"), -1)}
# Bits of the flags column; bits 0 to 7 hold the source of T1 to T4, two bits each: none, user, kernel, nic.
SENT, LATE, RECEIVED, SKIPPED = 1 << 8, 1 << 9, 1 << 10, 1 << 14
FAR_INJECTED, FAR_VIRTUAL = 1 << 12, 1 << 13
USER, KERNEL, NIC = 1, 2, 3
SOURCES = ("none", "user", "kernel", "nic")
BITS = [bytes((octet >> shift) & 1 for shift in range(7, -1, -1)) for octet in range(256)]

Ints = Any
"""array('q') of signed 64-bit integers."""
Columns = dict[str, Ints]


def wrapped(values: Iterable[int]) -> Ints:
    """Integers modulo 2^64, read as signed."""
    found = list(values)
    try:
        return array("q", found)
    except OverflowError:
        return array("q", [((x + 2**63) & (2**64 - 1)) - 2**63 for x in found])


def npz(path: Path, only: Sequence[str] | None = None) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Name → (type, shape, octets) of the .npy arrays (version 1.0, C order) in a zip."""
    found = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                name = entry.filename[: -len(".npy")]
                if only is not None and name not in only:
                    continue
                if not entry.filename.endswith(".npy") or name in found or entry.file_size > 8 * MOST_ROWS + 4096:
                    raise FormatError(f"{path.name}: {entry.filename} is no array of ours")
                data = archive.read(entry)
                size = int.from_bytes(data[8:10], "little")
                head = ast.literal_eval(data[10 : 10 + size].decode("latin-1").strip())
                if data[:8] != b"\x93NUMPY\1\0" or head["fortran_order"] is not False:
                    raise FormatError(f"{path.name}: {entry.filename} is no .npy 1.0 in C order")
                kind, shape, body = str(head["descr"]), tuple(int(x) for x in head["shape"]), data[10 + size :]
                width = {"|u1": 1, "<i8": 8}.get(kind, 0)
                if len(body) != width * math.prod(shape) or not width or any(x < 0 for x in shape):
                    raise FormatError(f"{path.name}: {entry.filename} has not the octets of its shape")
                found[name] = (kind, shape, body)
    except FormatError:
        raise
    except Exception as error:  # a damaged zip stumbles in a dozen ways
        raise FormatError(f"{path.name} is damaged: {type(error).__name__}: {error}") from error
    return found


def int64(found: dict[str, tuple[str, tuple[int, ...], bytes]], name: str, where: str) -> Ints:
    """A one-dimensional int64 array."""
    kind, shape, body = found.get(name, ("", (), b""))
    if kind != "<i8" or len(shape) != 1:
        raise FormatError(f"{where} has no int64 column {name}")
    values = array("q")
    values.frombytes(body)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def segment(path: Path) -> Columns:
    """The rows of one segment.

    A column's value is number + base + prediction modulo 2^64. Numbers stand as planes of octets, least significant
    first. Predictions: the row before for seq and scheduled (as steps from the head's first values); scheduled +
    origin for t1; the last stamp that the row has for t2, t3, t4; seq for far_seq and arrival; 0 for the rest.
    """
    found = npz(path)
    head, base = int64(found, "head", path.name), int64(found, "base", path.name)
    if len(head) != 5 or len(base) != len(COLUMNS) or head[0] != 1 or not 0 < head[1] <= MOST_ROWS:
        raise FormatError(f"{path.name} has no head of version 1")
    rows, origin = head[1], head[2]
    first = {"seq": head[3], "scheduled": head[4]}
    columns: Columns = {}
    prediction: Ints = array("q")
    for index, name in enumerate(COLUMNS):
        mask = None
        if f"{name}.absent" in found:
            if name not in ABSENT:
                raise FormatError(f"{path.name}: {name} is never absent")
            kind, _, packed = found[f"{name}.absent"]
            if kind != "|u1" or len(packed) != (rows + 7) // 8:
                raise FormatError(f"{path.name}: {name}.absent has not a bit a row")
            mask = b"".join(BITS[octet] for octet in packed)[:rows]
        count = rows - 1 if name in first else rows - (mask.count(1) if mask is not None else 0)
        numbers = planes(found.get(f"{name}.planes"), count, f"{path.name}: {name}")
        step = base[index]
        if name in first:
            columns[name] = wrapped(itertools.accumulate((x + step for x in numbers), initial=first[name]))
            if name == "scheduled":
                prediction = wrapped(x + origin for x in columns[name])
            continue
        spread: Iterable[int] = numbers
        if mask is not None:
            present = iter(numbers)
            spread = [0 if gone else next(present) for gone in mask]
        if name in STAMPS:
            values = wrapped(map(operator.add, (x + step for x in spread), prediction) if step else
                             map(operator.add, spread, prediction))  # fmt: skip
            if mask is not None:
                values = array("q", [p if gone else v for v, p, gone in zip(values, prediction, mask)])
            prediction = values
        elif name in ("far_seq", "arrival"):
            values = wrapped(x + step + s for x, s in zip(spread, columns["seq"]))
        else:
            values = wrapped(x + step for x in spread)
        if mask is not None:
            absent = ABSENT[name]
            values = array("q", [absent if gone else v for v, gone in zip(values, mask)])
        columns[name] = values
    return columns


def planes(found: tuple[str, tuple[int, ...], bytes] | None, count: int, where: str) -> Ints:
    """``count`` unsigned numbers from their planes; none there: all 0."""
    if found is None:
        return array("Q", bytes(8 * count))
    kind, shape, body = found
    if kind != "|u1" or len(shape) != 2 or shape[1] != count or not 1 <= shape[0] <= 8:
        raise FormatError(f"{where} has planes of shape {shape} for {count} numbers")
    spread = bytearray(8 * count)
    for k in range(shape[0]):
        spread[k::8] = body[k * count : (k + 1) * count]
    numbers = array("Q")
    numbers.frombytes(spread)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def segments(folder: Path) -> list[Path]:
    """The segments of a measurement in row order."""
    found = sorted(folder.glob("samples-*.npz"))
    if [path.name for path in found] != [f"samples-{k:05}.npz" for k in range(len(found))]:
        raise FormatError(f"{folder.name}: the series of segments has a gap")
    return found


@dataclass
class Measured:
    """One measurement as it lies on disk."""

    facts: dict[str, Any]
    """measurement.json."""
    rows: Columns
    evidence: list[dict[str, Any]]
    stalls: Columns

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.facts["id"])

    def __len__(self) -> int:
        return len(self.rows["t1"])


def one_clock_an_end(rows: Columns, near_nic: bool) -> None:
    """Where a NIC stamped at an end, what it did not stamp there is of another clock, and counts as not taken."""
    flags = rows["flags"]
    for stamps, wanted in (((0, 3), near_nic), ((1, 2), False)):
        shifts = [2 * stamp for stamp in stamps]
        if not wanted and not any((flag >> shift) & 3 == NIC for flag in set(flags) for shift in shifts):
            continue
        for stamp, shift in zip(stamps, shifts):
            column = rows[STAMPS[stamp]]
            for at, flag in enumerate(flags):
                if (flag >> shift) & 3 != NIC and column[at] != NEVER:
                    column[at] = NEVER
                    flags[at] &= ~(3 << shift)


def measured(folder: Path) -> Measured:
    """Reads a measurement's folder."""
    rows: Columns = {name: array("q") for name in COLUMNS}
    for path in segments(folder):
        for name, column in segment(path).items():
            rows[name].extend(column)
    facts = parse(octets(folder / "measurement.json"), f"{folder.name}/measurement.json")
    if facts.get("schema") != "millicert-measurement/1":
        raise FormatError(f"{folder.name}/measurement.json is of another schema")
    one_clock_an_end(rows, facts["link"].get("stamps") == "nic")
    lines = octets(folder / "evidence.jsonl").split(b"\n")
    if lines.pop():
        raise FormatError(f"{folder.name}/evidence.jsonl ends in a torn line")
    evidence = [parse(line, f"{folder.name}/evidence.jsonl line {n}") for n, line in enumerate(lines)]
    for state in evidence:
        for key in ("at_ns", "bound_ns", "skew_ppb", "tai_utc_s", "offset_ns"):
            if state.get(key) is not None:
                state[key] = integer(state[key])
    late = npz(folder / "stalls.npz")
    stalls = {name: int64(late, name, "stalls.npz") for name in ("row", "direction", "late_ns")}
    if len({len(each) for each in stalls.values()}) != 1 or any(not 0 <= r < len(rows["t1"]) for r in stalls["row"]):
        raise FormatError(f"{folder.name}/stalls.npz names rows that are not there")
    return Measured(facts, rows, evidence, stalls)


# --- level 4: the binomial law, Student's t -----------------------------------------------------------------------

PRECISE = decimal.Context(prec=60, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, rounding=decimal.ROUND_HALF_EVEN)
"""60 digits and exponents without an end, so that p^n neither vanishes nor rounds a rank away."""
DOUBT = decimal.Decimal("1e-40")
"""Sums of up to 10^9 terms of 60 digits are good to 1e-50; nearer to a risk than this, exact integers decide."""


def dec(value: Fraction) -> decimal.Decimal:
    """A fraction in 60 digits."""
    return PRECISE.divide(decimal.Decimal(value.numerator), decimal.Decimal(value.denominator))


def at_most_terms(n: int, p: Fraction) -> Iterator[decimal.Decimal]:
    """P(Bin(n, 1-p) <= r), r from 0 on."""
    term = total = PRECISE.power(dec(p), n)
    odds = dec((1 - p) / p)
    for r in range(n + 1):
        yield total
        term = PRECISE.divide(PRECISE.multiply(PRECISE.multiply(term, n - r), odds), r + 1)
        total = PRECISE.add(total, term)


def exactly(n: int, p: Fraction, r: int) -> Fraction:
    """P(Bin(n, 1-p) <= r) without any rounding."""
    a, b = (1 - p).numerator, (1 - p).denominator
    return Fraction(sum(math.comb(n, i) * a**i * (b - a) ** (n - i) for i in range(r + 1)), b**n)


@functools.cache
def ranks(n: int, p: Fraction, alpha: Fraction) -> tuple[int | None, int | None]:
    """Ranks (k, l) of the distribution-free bounds of the p-quantile of n independent samples; None: too few.

    Upper: k is the smallest with P(Bin(n, p) <= k - 1) >= 1 - alpha. Lower: l is the largest with
    P(Bin(n, p) <= l - 1) <= alpha (rules 3.2; Hahn and Meeker). Counted by exceedances r = n - k: with
    F(r) = P(Bin(n, 1-p) <= r) these are F(n - k) <= alpha and F(n - l) >= 1 - alpha.
    """
    if n <= 0:
        return None, None
    low, high = dec(alpha), dec(1 - alpha)
    upper = None
    for r, total in enumerate(at_most_terms(n, p)):
        small, large = total <= low, total >= high
        if min(abs(PRECISE.subtract(total, risk)) for risk in (low, high)) < DOUBT:
            true = exactly(n, p, r)
            small, large = true <= alpha, true >= 1 - alpha
        if small:
            upper = n - r
        if large:
            return upper, (n - r if r < n else None)
    return upper, None


@functools.cache
def choose(n: int, k: int) -> decimal.Decimal:
    """Binomial coefficient n over k, to 55 digits."""
    k = min(k, n - k)
    found = decimal.Decimal(1)
    for i in range(1, k + 1):
        found = PRECISE.divide(PRECISE.multiply(found, n - k + i), i)
    return found


def tail(n: int, r: int, ppb: int, step: int) -> decimal.Decimal:
    """P(Bin(n, ppb 1e-9) <= r) for step -1, P(>= r) for step +1, summed from r outward until nothing is added."""
    x, y = decimal.Decimal(ppb).scaleb(-9), decimal.Decimal(10**9 - ppb).scaleb(-9)
    term = PRECISE.multiply(choose(n, r), PRECISE.multiply(PRECISE.power(x, r), PRECISE.power(y, n - r)))
    odds = PRECISE.divide(x, y)
    total = term
    while 0 <= r + step <= n:
        if step > 0:
            term = PRECISE.divide(PRECISE.multiply(PRECISE.multiply(term, n - r), odds), r + 1)
        else:
            term = PRECISE.divide(PRECISE.divide(PRECISE.multiply(term, r), n - r + 1), odds)
        r += step
        more = PRECISE.add(total, term)
        if more == total:
            break
        total = more
    return total


PPB = 10**9


def proportion(lost: int, n: int, alpha: Fraction) -> tuple[int, int]:
    """Exact (Clopper-Pearson) bounds of a ratio in ppb, rounded outward; each side at risk ``alpha``."""
    if n <= 0:
        return 0, PPB
    return PPB - highest(n - lost, n, alpha), highest(lost, n, alpha)


@functools.cache
def highest(r: int, n: int, alpha: Fraction) -> int:
    """Smallest ppb with P(Bin(n, ppb) <= r) <= alpha; of many events, PPB less the largest lower bound of the few."""
    if r == n:
        return PPB
    mirrored = n - r < r
    few = n - r if mirrored else r
    if few > 100_000:  # numerator and denominator scaled down together, which widens the interval
        n, few = (n * 100_000 // few if mirrored else -(-n * 100_000 // few)), 100_000
    if mirrored:
        return PPB - (ends(n, few, alpha, upper=False) if few else 0)
    return ends(n, few, alpha, upper=True)


def ends(n: int, r: int, alpha: Fraction, upper: bool) -> int:
    """Upper: smallest ppb with P(<= r) <= alpha. Lower: largest ppb with P(>= r) <= alpha."""
    risk, low, high = dec(alpha), 0, PPB
    while high - low > 1:
        middle = (low + high) // 2
        if upper:
            good = r * PPB <= n * middle and tail(n, r, middle, -1) <= risk
            low, high = (low, middle) if good else (middle, high)
        else:
            good = r * PPB > n * middle and tail(n, r, middle, 1) <= risk
            low, high = (middle, high) if good else (low, middle)
    return high if upper else low


T_ROWS = (*range(1, 51), 55, 60, 70, 80, 90, 100, 120, 150, 200, 300, 500, 1000, 2000, 5000, 10000)
"""Degrees of freedom for which k is tabulated (table k97.725/1); between two, the lower one's larger k holds."""


def beta_ratio(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22, modified Lentz)."""
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_ratio(b, a, 1.0 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1))
    h = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for factor in (even, odd):
            d = 1.0 / (1.0 + factor * d)
            c = 1.0 + factor / c
            h *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return front * h


@functools.cache
def coverage(nu: int | None) -> int:
    """Coverage factor in thousandths, rounded up: Student's t of nu at the probability Phi(2) (rules 2.2)."""
    if nu is None:
        return 2000
    row = T_ROWS[bisect.bisect_right(T_ROWS, max(1, nu)) - 1]
    wanted = 0.5 * math.erfc(-2 / math.sqrt(2))
    low, high = 2000, 20_000
    while high - low > 1:
        k = (low + high) // 2
        t = k / 1000
        reached = 1.0 - beta_ratio(row / 2, 0.5, row / (row + t * t)) / 2 >= wanted
        low, high = (low, k) if reached else (k, high)
    return high


# --- level 4: order statistics ------------------------------------------------------------------------------------

HALF = Fraction(1, 2)
BLOCKS = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
LEAST_BLOCKS = 32


def up(part: int, whole: int) -> int:
    """A quotient, rounded up."""
    return -(-part // whole)


def root_up(value: int) -> int:
    """Square root of an integer, rounded up."""
    root = math.isqrt(value)
    return root + (root * root < value)


@dataclass
class Sorted:
    """A sample in order: ``unknown`` ones at minus infinity, finite values (ns), ``lost`` ones at plus infinity."""

    values: Sequence[int]
    lost: int = 0
    unknown: int = 0

    @property
    def n(self) -> int:
        """How many."""
        return self.unknown + len(self.values) + self.lost

    def at(self, rank: int) -> int:
        """X(rank), from 1."""
        i = rank - 1 - self.unknown
        return NEVER if i < 0 else self.values[i] if i < len(self.values) else INFINITE

    def quantile(self, p: Fraction) -> int:
        """X(ceil(n p)): the inverse of the empirical distribution."""
        return self.at(max(1, up(self.n * p.numerator, p.denominator)))

    def median(self) -> int:
        """RFC 2330 11.3: the mean of the two in the middle, rounded up to a ns; infinite if one of them is."""
        a, b = self.at((self.n + 1) // 2), self.at(self.n // 2 + 1)
        return b if {a, b} & {NEVER, INFINITE} else up(a + b, 2)

    def above(self, limit: int) -> int:
        """How many exceed a limit; lost ones do, unknown ones do not."""
        return self.lost + len(self.values) - bisect.bisect_right(self.values, limit)


def finite(delays: Iterable[int]) -> list[int]:
    """The known delays, ascending."""
    found = sorted(delays)
    return found[bisect.bisect_right(found, NEVER) : bisect.bisect_left(found, INFINITE)]


def against_pass(delays: Sequence[int]) -> Sorted:
    """What a PASS must survive: lost and unstamped packets are infinite."""
    known = finite(delays)
    return Sorted(known, lost=len(delays) - len(known))


def inflation(delays: Sequence[int], threshold: int, doubt: bool) -> Fraction:
    """VIF: max over block sizes B of Var(block sum) / (B p (1-p)) of the exceedances (rules 3.3), at least 1.

    Exceedances of ``threshold``, or the losses where the threshold itself is lost; with ``doubt`` unstamped packets
    count as lost. Blocks of 100 to 20 000 of which 32 fit; the incomplete last one is left out. Var is the unbiased
    one over the block sums, p the share inside the blocks.
    """
    last = INFINITE if threshold == INFINITE else threshold + 1
    if doubt:
        positions = [i for i, x in enumerate(delays) if x >= last or x == NEVER]
    else:
        positions = [i for i, x in enumerate(delays) if x >= last]
    worst = Fraction(1)
    for size in BLOCKS:
        blocks = len(delays) // size
        if blocks < LEAST_BLOCKS:
            break
        inside = positions[: bisect.bisect_left(positions, blocks * size)]
        sums = collections.Counter(i // size for i in inside)
        total, squares, count = len(inside), sum(s * s for s in sums.values()), blocks * size
        if 0 < total < count:
            variance = (squares - Fraction(total * total, blocks)) / (blocks - 1)
            share = Fraction(total, count)
            worst = max(worst, variance / (size * share * (1 - share)))
    return worst


@dataclass
class Estimate:
    """A statistic with its confidence bounds, ns."""

    value: int
    upper: int
    lower: int
    n: int
    vif: Fraction

    @property
    def n_eff(self) -> Fraction:
        """Samples by what they are worth: n / VIF."""
        return self.n / self.vif


def estimate(high: Sorted, low: Sorted, vif: Fraction, p: Fraction, alpha: Fraction, alpha_low: Fraction) -> Estimate:
    """The quantile with bounds at ranks ceil(n k / n_eff) and floor(n (l - 1) / n_eff) + 1 (rules 3.2).

    ``high`` counts every doubt against a PASS, ``low`` every doubt against a FAIL.
    """
    if high.n == 0:
        return Estimate(INFINITE, INFINITE, NEVER, 0, vif)
    worth, worth_low = int(high.n / vif), int(low.n / vif)
    k, _ = ranks(worth, p, alpha)
    _, lowest = ranks(worth_low, p, alpha_low)
    return Estimate(
        high.median() if p == HALF else high.quantile(p),
        INFINITE if k is None else high.at(up(high.n * k, worth)),
        NEVER if lowest is None else low.at(low.n * (lowest - 1) // worth_low + 1),
        high.n,
        vif,
    )


def needed(exceedances: int, n: int, p: Fraction, alpha: Fraction) -> int | None:
    """About the smallest n_eff at which this share of exceedances passes: doubled, then halved to one in a thousand."""

    def passes(m: int) -> bool:
        k, _ = ranks(m, p, alpha)
        return k is not None and up(exceedances * m, n) <= m - k

    if n <= 0 or Fraction(exceedances, n) >= 1 - p:
        return None
    high = 1
    while not passes(high):
        high *= 2
        if high > 4_000_000:
            return None
    low = high // 2
    while high - low > max(1, high // 1000):
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


# --- level 4: loss, order, variation ------------------------------------------------------------------------------


@dataclass
class Loss:
    """Packets lost by where; ``events`` are runs of consecutive losses (RFC 7680)."""

    forward: int = 0
    backward: int = 0
    unknown: int = 0
    events: int = 0

    @property
    def total(self) -> int:
        """Lost anywhere."""
        return self.forward + self.backward + self.unknown


def losses(got: Sequence[bool], far: Sequence[int], restarted: bool, doubled: bool, late: int) -> Loss:
    """By the numbers that the reflector gave: those that did not come back were lost on the way back."""
    found = Loss()
    at = [i for i, ok in enumerate(got) if ok]
    count = len(got) - len(at)
    found.events = sum(b - a > 1 for a, b in zip([-1, *at], [*at, len(got)]))
    found.unknown = count
    numbers = sorted(far[i] for i in at)
    if not count or not at or restarted or numbers[0] < 0 or len(set(numbers)) < len(numbers):
        return found
    rows = at[-1] - at[0] + 1 - len(at)
    unseen = numbers[-1] - numbers[0] + 1 - len(numbers)
    if unseen > rows:
        return found
    moved = max(abs(i - j) for i, j in zip(at, sorted(at, key=lambda i: far[i])))
    found.forward = max(0, rows - unseen - edges(at, moved))
    found.backward = 0 if doubled else max(0, unseen - edges(numbers, moved) - late)
    found.unknown -= found.forward + found.backward
    return found


def edges(present: Sequence[int], width: int) -> int:
    """Numbers missing so near to the first or the last."""
    first, last = present[0], present[-1]
    near = [i for i in present if i - first <= width or last - i <= width]
    return min(last - first + 1, 2 * (width + 1)) - len(near) if width else 0


def begun_again(far: Sequence[int]) -> int:
    """How often the reflector's counter began anew: it falls, and 16 packets on is still below where it was."""
    if len(far) < 2 or min(far) < 0:
        return 0
    count, start = 0, 0
    for i in range(1, len(far)):
        if far[i] < far[i - 1]:
            count += max(far[i : i + 16]) < max(far[start:i])
            start = i
    return count


@dataclass
class Order:
    """RFC 4737: how many arrived after a later one, and how far behind the worst."""

    received: int
    reordered: int
    extent: int


def order(sequence: Sequence[int]) -> Order:
    """``sequence``: sequence numbers in order of arrival."""
    top = list(itertools.accumulate(sequence, max))
    late = [i for i in range(1, len(sequence)) if sequence[i] < top[i - 1]]
    extents = [i - bisect.bisect_right(top, sequence[i]) for i in late]
    return Order(len(sequence), len(late), max(extents, default=0))


def variation(delays: Sequence[int]) -> dict[str, int] | None:
    """Inter-packet delay variation of consecutive received packets (RFC 5481 4.1)."""
    steps = [
        b - a
        for a, b in zip(delays, itertools.islice(delays, 1, None))
        if NEVER < a < INFINITE and NEVER < b < INFINITE
    ]
    if not steps:
        return None
    n, total = len(steps), sum(steps)
    sizes = Sorted(sorted(map(abs, steps)))
    return {
        "n": n,
        "mean_ns": total // n,
        "p50_abs_ns": sizes.quantile(HALF),
        "p99_abs_ns": sizes.quantile(Fraction(99, 100)),
        "p999_abs_ns": sizes.quantile(Fraction(999, 1000)),
    }


def families(minima: Sequence[int], gap: int) -> list[int]:
    """Group of each flow: neighbours by minimum less than ``gap`` apart share one."""
    by = sorted(range(len(minima)), key=lambda i: minima[i])
    found, number = [0] * len(minima), 0
    for before, here in zip(by, by[1:]):
        number += minima[here] - minima[before] >= gap
        found[here] = number
    return found


# --- level 4: clocks and budgets (rules 2) ------------------------------------------------------------------------

WAYS = ("forward", "backward")
KNOWING = {"simulated", "chrony", "linuxptp", "phc", "counter", "holdover"}
"""Sources that know the clock's own error; the kernel's word counts only without one of them."""
REFERENCE = {"gnss"}
"""Sources that speak of what a clock follows: added to a bound, never enough alone."""
FAR_OFF = 1 << 62


@dataclass
class Claim:
    """What the evidence says of one site's clock."""

    bound: int | None
    parts: list[int]
    """Half-widths that make up the bound, where every poll named them; empty: undivided."""
    skew: int | None
    gap: int
    """Longest silence from just before the run to just after, ns; FAR_OFF or more: an end is not covered; -1: none."""
    usable: bool


def believable(site: str, link: dict[str, Any], state: dict[str, Any]) -> bool:
    """Whether a poll may carry a verdict; in-band words only of a far end that the bench trusts."""
    if state["site"] != site:
        return False
    if state["source"] == "in-band":
        return site == link["far"]["name"] and link.get("far_clock_trusted") is True
    if state["source"] in {"kernel", "chrony"} and link.get("stamps") == "nic" and site == link["near"]["name"]:
        return False  # the packets carry the time of the NIC's own clock
    return state["source"] in KNOWING | REFERENCE | {"kernel"}


def silence_between(states: list[dict[str, Any]], start: int, end: int) -> int:
    """Longest time between polls, from the last before ``start`` to the first after ``end``."""
    at = sorted(state["at_ns"] for state in states)
    first, last = bisect.bisect_right(at, start), bisect.bisect_left(at, end)
    if first == 0 or last == len(at):
        return max(end - start, FAR_OFF)
    around = [at[first - 1], *(t for t in at if start < t < end), at[last]]
    return max((b - a for a, b in zip(around, around[1:])), default=0)


def parted(states: list[dict[str, Any]]) -> tuple[int, list[int]]:
    """(largest bound of one source, its parts): where every poll names parts, each counts at its own largest."""
    bound = max((s["bound_ns"] for s in states), default=0)
    if not states or not all(s.get("parts") for s in states):
        return bound, []
    peaks: dict[str, int] = {}
    for part in itertools.chain.from_iterable(s["parts"] for s in states):
        name, width = part["name_en"], integer(part["half_width_ns"])
        peaks[name] = max(peaks.get(name, width), width)
    total = sum(peaks.values())
    return (bound, []) if total < bound else (total, list(peaks.values()))


def claim(site: str, m: Measured) -> Claim:
    """The largest bound of the sources that count, plus that of a watched reference; a single denial refuses it."""
    link, health = m.facts["link"], m.facts["health"]
    start, end = integer(health.get("started_ns", 0)), integer(health.get("ended_ns", 0))
    polls: dict[str, list[dict[str, Any]]] = {}
    denied = False
    for state in m.evidence:
        if believable(site, link, state):
            polls.setdefault(state["source"], []).append(state)
            denied = denied or state["synchronised"] is False
    known = {
        name: [s for s in states if s["synchronised"] is True and s["bound_ns"] is not None]
        for name, states in polls.items()
    }
    counting = {name for name, states in known.items() if states} - REFERENCE
    if counting & KNOWING:
        counting -= {"kernel"}
    watched = sorted(REFERENCE & set(polls))
    usable = bool(counting) and not denied and all(known[name] for name in watched)
    skews = [s["skew_ppb"] for name in counting for s in known[name] if s["skew_ppb"] is not None]
    gap = min((silence_between(known[name], start, end) for name in counting), default=-1)
    if not counting:
        return Claim(None, [], None, gap, False)
    # among equals the first by name, whose parts are what a budget lists
    widest = max((parted(known[name]) for name in sorted(counting)), key=lambda found: found[0])
    bound, parts = widest[0], list(widest[1])
    for name in watched:
        gap = max(gap, silence_between(known[name], start, end))
        more, named = parted(known[name])
        bound += more
        parts += (named or [more]) if widest[1] else []
    return Claim(bound, parts, max(skews, default=None), gap, usable)


@dataclass
class Component:
    """One input of a budget: the half-width of a rectangle, or a value and its divisor in thousandths; ps."""

    value: int
    normal: bool = False
    divisor: int = 1000
    nu: int | None = None

    @property
    def u(self) -> int:
        """Standard uncertainty, ps, rounded up: a / sqrt 3 (GUM 4.3.7), or value over divisor."""
        return up(self.value * 1000, self.divisor) if self.normal else root_up(up(self.value * self.value, 3))


@dataclass
class Budget:
    """Components added in squares; correlation is given no credit (rules 2.3)."""

    components: list[Component]

    @property
    def u_c(self) -> int:
        """Combined standard uncertainty, ps, rounded up."""
        return root_up(sum(c.u**2 for c in self.components))

    @property
    def nu(self) -> int | None:
        """Welch-Satterthwaite (GUM G.2b), rounded down; None: infinite."""
        spread = sum((Fraction(c.u**4, c.nu) for c in self.components if c.nu is not None), Fraction(0))
        return int(sum(c.u**2 for c in self.components) ** 2 / spread) if spread else None

    @property
    def expanded(self) -> int:
        """U = k u_c, ps, rounded up."""
        return up(coverage(self.nu) * self.u_c, 1000)

    @property
    def worst(self) -> int:
        """Half-widths added up, two u of a normal law."""
        return sum(2 * c.u if c.normal else c.value for c in self.components)

    def told(self) -> dict[str, Any]:
        """As result.json states it."""
        return {
            "components": [
                {
                    "value_ps": c.value,
                    "distribution": "normal" if c.normal else "rectangular",
                    "divisor": f"{c.divisor // 1000}.{c.divisor % 1000:03d}" if c.normal else "√3",
                    "u_ps": c.u,
                    "nu": c.nu,
                    "type": "B" if c.nu is None else "A",
                }
                for c in self.components
            ],
            "u_c_ps": self.u_c,
            "nu_eff": self.nu,
            "k_milli": coverage(self.nu),
            "k_table": "k97.725/1",
            "U_ps": self.expanded,
            "worst_case_ps": self.worst,
        }


def plane(policy: dict[str, Any], source: int) -> Component:
    """One uncalibrated time stamp."""
    name = {NIC: "nic", KERNEL: "kernel"}.get(source, "user")
    return Component(policy[f"uncalibrated_{name}_plane_ns"] * 1000)


def clock_budget(policy: dict[str, Any], way: str, st: Study) -> Budget:
    """Budget of a clock-based delay: clocks, drift between polls, resolution, planes or their calibration."""
    found: list[Component] = []
    clocks = [] if st.shared else [c for c in (st.near, st.far) if c.bound is not None]
    if st.shared:
        found.append(Component(0))
    for clock in clocks:
        found += [Component(width * 1000) for width in clock.parts or [clock.bound or 0]]
    for clock in clocks:
        if 0 <= clock.gap < FAR_OFF:
            skew = policy["unknown_skew_ppb"] if clock.skew is None else clock.skew
            found.append(Component(up(skew * clock.gap, 10**9) * 1000))
    found += [Component(policy["resolution_ps"])] * 2
    if not st.calibrated:
        planes_here = st.planes[:2] if way == "forward" else st.planes[2:]
        return Budget(found + [plane(policy, source) for source in planes_here])
    calibration = st.m.facts["calibration"]
    if calibration.get("artefact") is not None:
        return Budget(found + by_artefact(way, calibration))
    # RFC 7679 3.7.3: the 95 % spread, and what it leaves of the median of so many packets worth a fiftieth
    spread = integer(calibration["spread_ns"][way]) * 1000
    worth = max(2, integer(calibration["samples"]) // 50)
    found.append(Component(spread, True, 1960, worth - 1))
    found.append(Component(up(spread * 1254, 1000 * math.isqrt(worth)), True, 1960, worth - 1))
    return Budget(found + [Component((clock.bound or 0) * 1000) for clock in clocks])


def by_artefact(way: str, calibration: dict[str, Any]) -> list[Component]:
    """What an expiring calibration leaves open (rules 2.6), by its own figures."""
    artefact = calibration["artefact"]
    size, rate = integer(calibration["size"]), integer(calibration["rate_pps"])
    load = min(
        artefact["loads"],
        key=lambda each: (each["size"] != size, abs(each["size"] - size), abs(each["rate_pps"] - rate)),
    )
    figures, nu = load["found"], integer(load["found"]["nu"])
    worth = max(2, min(integer(each["samples"]) for each in load["plugs"]) // 50)
    found = [
        Component(integer(figures["spread_ns"][way]) * 1000, True, 1960, worth - 1),
        Component(integer(figures["residual_ps"][way]), True, nu=nu),
        Component(integer(figures["plug_ps"][way]), True, nu=nu),
        Component(integer(artefact["patch"]["u_ps"]), True),
    ]
    if len({each["orientation"] for one in artefact["loads"] for each in one["plugs"]}) > 1:
        found.append(Component(integer(figures["swap_ps"][way]), True))
    if artefact["shared_clock"]:
        found.append(Component(0))
    return found + [Component(integer(clock["half_ns"]) * 1000) for clock in artefact["clocks"]]


def free_budget(policy: dict[str, Any], limit: int) -> Budget:
    """Budget of T4 - T1 near the limit: the rate of one clock and the resolution of two stamps."""
    rate = Component(up(limit * policy["near_rate_ppb"], 10**9) * 1000)
    return Budget([rate, Component(policy["resolution_ps"]), Component(policy["resolution_ps"])])


def pair_budget(policy: dict[str, Any], limit: int, sources: Sequence[int]) -> Budget:
    """Budget of the round trip without turnaround against twice the limit."""
    rate = Component(up(2 * limit * policy["near_rate_ppb"], 10**9) * 1000)
    return Budget([rate] + [Component(policy["resolution_ps"])] * 4 + [plane(policy, each) for each in sources])


# --- level 4: what one measurement gives --------------------------------------------------------------------------


@dataclass
class Deciding:
    """The estimate that decides for one flow: of the whole time or of its worst window."""

    found: Estimate
    guarded: int
    """Samples above L - k u_c."""
    over: int
    """Samples above L."""
    windows: list[dict[str, Any]]
    least: Fraction
    """n_eff of the whole time, or of the window that has least."""
    start: int | None = None


@dataclass
class Flow:
    """Figures of one flow."""

    index: int
    port: int
    sent: int
    received: int
    lost: Loss
    restarts: int
    unanswered: int
    summary: dict[str, dict[str, Any]] = field(default_factory=dict)
    unstamped: dict[tuple[str, str], int] = field(default_factory=dict)
    clock: dict[tuple[str, str], Deciding] = field(default_factory=dict)
    free: dict[str, Deciding] = field(default_factory=dict)
    pair: dict[str, Estimate] = field(default_factory=dict)
    orders: dict[str, Order | None] = field(default_factory=dict)
    duplicates: tuple[int, int] = (0, 0)
    round_trip: int | None = None
    net: int | None = None
    bounded: int | None = None


@dataclass
class Gate:
    """A check's outcome: "green", "red", "not-applicable", or None where it is taken from result.json."""

    id: str
    state: str | None
    guards: tuple[str, ...]
    way: str = ""
    requirement: str = ""
    pass_only: bool = False

    def told(self, measurement: str) -> dict[str, Any]:
        """As result.json states it, without its words."""
        said = {
            "id": self.id,
            "guards": list(self.guards),
            "pass_only": self.pass_only,
            "measurement": measurement,
            "direction": self.way,
            "requirement": self.requirement,
        }
        return said if self.state is None else {**said, "state": self.state}


@dataclass
class Study:
    """One measurement with everything that judging it takes."""

    m: Measured
    policy: dict[str, Any]
    judged: list[dict[str, Any]]
    unfit: list[str]
    near: Claim
    far: Claim
    shared: bool
    planes: list[int]
    plane_counts: list[list[int]]
    calibrated: bool = False
    taken: list[str] = field(default_factory=list)
    """What is taken from result.json, in words."""
    budgets: dict[str, Budget] = field(default_factory=dict)
    flows: list[Flow] = field(default_factory=list)
    gates: list[Gate] = field(default_factory=list)
    simulated: list[str] = field(default_factory=list)
    silent: int | None = None
    width: int = 0
    flow_count: int = 0
    lows: list[list[int]] = field(default_factory=list)
    paths: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def link(self) -> dict[str, Any]:
        """What the bench declares of the link."""
        return dict(self.m.facts["link"])

    @property
    def counters(self) -> dict[str, int]:
        """Counters of the run."""
        return {name: integer(value) for name, value in self.m.facts["health"].get("counters", {}).items()}

    def bias(self, way: str) -> int:
        """What the calibration subtracts, ns."""
        return integer(self.m.facts["calibration"]["bias_ns"][way]) if self.calibrated else 0

    def minimum(self, way: str) -> int | None:
        """Smallest calibrated delay of all flows."""
        lows = (f.summary[way]["min_ns"] for f in self.flows)
        return min((low for low in lows if low is not None), default=None)

    @property
    def own_losses(self) -> int:
        """Packets that the ends of the measurement lost themselves."""
        names = (
            "receive_overflows",
            "refused",
            "reflector_receive_overflows",
            "reflector_table_full",
            "reflector_send_errors",
        )
        return sum(self.counters.get(name, 0) for name in names)


C = 299_792_458
"""Speed of light, m/s."""


def flight(length_m: int, index_ppm: int = 1_000_000) -> int:
    """Time of flight L n / c in ps, rounded down."""
    return length_m * index_ppm * 1_000_000 // C


def link_floor(link: dict[str, Any]) -> tuple[int, str, int]:
    """(floor in ps, its origin, its u in ps): the larger of the fibre record and the geodesic; 0 when neither."""
    route, geodesic = link.get("route"), link.get("geodesic_m")
    record = flight(route["length_m"], route["group_index_ppm"]) if route else 0
    straight = flight(geodesic) if geodesic is not None else 0
    origin = route["origin"] if route else ""
    floor, said = (record, origin) if record >= straight else (straight, "geodesic over c")
    return floor, said, route["u_ps"] if route and floor == record else 0


@dataclass
class Bracket:
    """What may be subtracted from T4 - T1 (rules 5.2): the tier with its evidence."""

    tier: str
    turnaround: bool
    cap: int
    floor: int
    """ns, for the other direction."""

    @property
    def subtracted(self) -> list[str]:
        """By name."""
        return ["turnaround"] * self.turnaround + ["reverse-geodesic-floor"] * (self.floor > 0)


def bracket(link: dict[str, Any]) -> Bracket:
    """Tier 0: nothing. 0t: the turnaround of an authenticated, qualified reflector, capped. 1: the geodesic too."""
    cap = link.get("turnaround_cap_ns", 0)
    qualified = bool(link.get("far_turnaround_qualified")) and link.get("key_file") is not None and cap > 0
    surveyed = link["near"].get("position_origin") and link["far"].get("position_origin")
    geodesic = link.get("geodesic_m")
    floor = flight(geodesic) // 1000 if surveyed and geodesic is not None else 0
    return Bracket("1" if floor else "0t" if qualified else "0", qualified, cap if qualified else 0, floor)


def worst_planes(rows: Columns, minority: int) -> tuple[list[int], list[list[int]]]:
    """Worst source of T1 to T4 that counts, and how many received rows carry each.

    User-space stamps on at most ``minority`` ppm of the received rows do not count: they can only lengthen a delay.
    """
    seen = collections.Counter(flag & 0xFF for flag in rows["flags"] if flag & RECEIVED)
    worst, counts = [], []
    for stamp in range(4):
        shares = [0, 0, 0, 0]
        for combination, count in seen.items():
            shares[(combination >> (2 * stamp)) & 3] += count
        counts.append(shares)
        better = [source for source in (KERNEL, NIC) if shares[source]]
        rare = (shares[0] + shares[1]) * 1_000_000 <= minority * sum(shares)
        worst.append(better[0] if better and rare else USER)
    return worst, counts


def silent_since(rows: Columns, late_replies: int) -> int | None:
    """From when on nothing was answered any more, ns; -1: never anything. None: no silence.

    A silence is 20 packets or more over 10 s or a fifth of the stream; replies that came too late are none.
    """
    since = max((at for at, flag in zip(rows["scheduled"], rows["flags"]) if flag & RECEIVED), default=-1)
    rest = [at for at, flag in zip(rows["scheduled"], rows["flags"]) if at > since and flag & (SENT | RECEIVED)]
    if len(rest) < 20 or 2 * late_replies >= len(rest):
        return None
    end = max(rest)
    length = end - max(since, 0)
    return since if length >= 10 * 10**9 or 5 * length >= end else None


def split(rows: Columns, keep: Any = None) -> Iterator[tuple[int, Columns]]:
    """Every flow by itself, in order of its sequence numbers, what was never sent left out."""
    flow = rows["flow"]
    if not len(flow):
        return
    if min(flow) < 0:
        raise FormatError("a row of flow -1")
    by: dict[int, list[int]] = collections.defaultdict(list)
    flags = rows["flags"]
    for i, each in enumerate(flow):
        if flags[i] & (SENT | RECEIVED) and (keep is None or keep(i)):
            by[each].append(i)
    for each in sorted(by):
        at = by[each]
        seq = [rows["seq"][i] for i in at]
        if any(b <= a for a, b in zip(seq, seq[1:])):
            at = [i for _, i in sorted(zip(seq, at), key=lambda pair: pair[0])]
        yield each, {name: array("q", [column[i] for i in at]) for name, column in rows.items()}


def delays_of(later: Ints, earlier: Ints, got: Sequence[bool], bias: int) -> Ints:
    """Delays later - earlier - bias; INFINITE where nothing came back, NEVER where a stamp is missing."""
    return array(
        "q",
        [INFINITE if not ok else NEVER if NEVER in (a, b) else b - a - bias for b, a, ok in zip(later, earlier, got)],
    )


def edges_of(scheduled: Ints, window_ns: int, end: int) -> list[tuple[int, int, int]]:
    """(start s, first row, end row) of each window; a rest of less than half a window joins the last one."""
    count = max(1, (end + window_ns // 2) // window_ns)
    at = [bisect.bisect_left(scheduled, i * window_ns) for i in range(count)] + [len(scheduled)]
    return [(i * window_ns // 10**9, at[i], at[i + 1]) for i in range(count)]


def number(ns: int) -> int | None:
    """A delay, None when it is infinite."""
    return None if ns in (INFINITE, NEVER) else ns


def strip(start: int, part: Sorted, upper: int | None) -> dict[str, Any]:
    """What is stated of a window."""
    said: dict[str, Any] = {"start_s": start, "n": part.n}
    if part.n == 0:
        return {**said, "min_ns": None, "median_ns": None, "p999_ns": None, "upper_ns": None}
    return {
        **said,
        "min_ns": part.values[0] if part.values else None,
        "median_ns": number(part.median()),
        "p999_ns": number(part.quantile(Fraction(999, 1000))),
        "upper_ns": None if upper is None else number(upper),
    }


@dataclass
class Asked:
    """A requirement's numbers as fractions, with the direction's guard."""

    r: dict[str, Any]
    flows: int

    @property
    def p(self) -> Fraction:
        """Quantile."""
        return Fraction(*self.r["p"])

    @property
    def vif(self) -> Fraction:
        """Declared variance inflation."""
        return Fraction(*self.r["vif_plan"])

    def alphas(self, windows: int) -> tuple[Fraction, Fraction]:
        """Risk of the upper bound and of the lower: all must pass, the worst of many may fail (Bonferroni)."""
        alpha = Fraction(*self.r["alpha"])
        return alpha, alpha / (self.flows * windows)

    def guard(self, budget: Budget) -> int:
        """L - k u_c in ns, rounded down."""
        return int((self.r["limit_ns"] * 1000 - budget.expanded) // 1000)


def whole_time(
    asked: Asked, delays: Ints, high: Sorted, low: Sorted, guard: int, windows: list[tuple[int, int, int]]
) -> Deciding:
    """A quantile over the whole time; the windows are for the reader."""
    vif = asked.vif
    if high.n:
        vif = max(vif, inflation(delays, high.quantile(asked.p), True))
    alpha, alpha_low = asked.alphas(1)
    found = estimate(high, low, vif, asked.p, alpha, alpha_low)
    strips = [strip(start, against_pass(delays[a:b]), None) for start, a, b in windows]
    return Deciding(found, high.above(guard), high.above(asked.r["limit_ns"]), strips, found.n_eff)


def worst_window(
    asked: Asked, delays: Ints, sure: Ints | None, guard: int, windows: list[tuple[int, int, int]]
) -> Deciding:
    """The window whose median is worst; ``sure``: delays that a FAIL may count, None: no delay proves one."""
    alpha, alpha_low = asked.alphas(len(windows))
    best: tuple[tuple[int, ...], Estimate, Sorted, int] | None = None
    strips, worth, lowers = [], [], []
    for start, a, b in windows:
        part = delays[a:b]
        high = against_pass(part)
        if high.n == 0:
            worth.append(Fraction(0))
            strips.append(strip(start, high, None))
            continue
        known = [] if sure is None else high.values if sure is delays else finite(sure[a:b])
        low = Sorted(known, 0, b - a - len(known))
        vif = max(asked.vif, inflation(part, high.quantile(HALF), True))
        got = estimate(high, low, vif, HALF, alpha, alpha_low)
        worth.append(got.n_eff)
        lowers.append(got.lower)
        strips.append(strip(start, high, got.upper))
        # a window that fails by itself comes before one that only cannot pass
        fails = got.lower > 2 * asked.r["limit_ns"] - guard
        weight = (True, got.lower) if fails else (False, got.upper, got.value)
        if best is None or weight > best[0]:
            best = weight, got, high, start
    if best is None:
        return Deciding(Estimate(INFINITE, INFINITE, NEVER, 0, asked.vif), 0, 0, strips, Fraction(0))
    _, got, high, start = best
    worst = Estimate(got.value, got.upper, max(lowers), got.n, got.vif)
    return Deciding(worst, high.above(guard), high.above(asked.r["limit_ns"]), strips, min(worth), start)


def flow_of(st: Study, index: int, rows: Columns, end: int, lows: list[list[int]] | None) -> Flow:
    """Everything about one flow, its rows in sending order; ``end`` is that of the schedule, ns."""
    ports, flags = st.link.get("flow_ports", []), rows["flags"]
    got = [bool(flag & RECEIVED) for flag in flags]
    far = [x for x, ok in zip(rows["far_seq"], got) if ok]
    again = begun_again(far)
    doubled, late = any(copies > 1 for copies in rows["copies"]), st.counters.get("late_replies", 0)
    told = st.counters.get("reflector_restarts", 0)
    lost = losses(got, rows["far_seq"], again + told > 0, doubled, late)
    unanswered = sum(ok and NEVER in stamps for ok, *stamps in zip(got, rows["t1"], rows["t2"], rows["t3"], rows["t4"]))
    port = ports[index] if index < len(ports) else index
    flow = Flow(index, port, len(got), sum(got), lost, again, unanswered)
    scheduled = rows["scheduled"]
    for way in WAYS:
        t, r = ("t1", "t2") if way == "forward" else ("t3", "t4")
        delays = delays_of(rows[r], rows[t], got, st.bias(way))
        known = finite(delays)
        unstamped = flow.received - len(known)
        flow.unstamped[way, "clock"] = unstamped
        flow.summary[way] = summary(known, delays)
        if lows is not None and known:
            lower_minima(lows[WAYS.index(way)], delays, scheduled, st.width, known[0])
        # A stray user-space stamp among better ones only lengthens a delay: no proof of an excess.
        stamps = [k for k in ((0, 1) if way == "forward" else (2, 3)) if st.planes[k] != USER]
        stray = [ok and any((flag >> (2 * k)) & 3 <= USER for k in stamps) for flag, ok in zip(flags, got)]
        sure = delays
        if any(stray):
            sure = array("q", [NEVER if doubt else x for x, doubt in zip(delays, stray)])
        here, there = (lost.forward, lost.backward) if way == "forward" else (lost.backward, lost.forward)
        for requirement in st.judged:
            asked = Asked(requirement, st.flow_count)
            guard = asked.guard(st.budgets[way])
            windows = edges_of(scheduled, requirement["window_s"] * 10**9, end)
            if requirement["statistic"] == "quantile":
                # a packet lost on the way there never was one of the way back
                gone = lost.total - (there if way == "backward" else 0)
                proven = max(0, here - st.own_losses)
                plain = known if sure is delays else finite(sure)
                high = Sorted(known, gone + unstamped)
                low = Sorted(plain, proven, gone - proven + flow.received - len(plain))
                decided = whole_time(asked, delays, high, low, guard, windows)
            else:
                decided = worst_window(asked, delays, sure, guard, windows)
            flow.clock[requirement["id"], way] = decided
    without_clocks(st, flow, rows, got, end)
    sequence_of(flow, rows, got)
    extra = [copies - 1 for copies, ok in zip(rows["copies"], got) if ok and copies > 1]
    flow.duplicates = (len(extra), sum(extra))
    return flow


def summary(known: list[int], delays: Ints) -> dict[str, Any]:
    """Figures of the received packets alone (RFC 8912)."""
    names = {"p50_ns": HALF, "p95_ns": Fraction(95, 100), "p99_ns": Fraction(99, 100), "p999_ns": Fraction(999, 1000)}
    part = Sorted(known)
    said: dict[str, Any] = {name: part.quantile(p) if known else None for name, p in names.items()}
    said["received"] = len(known)
    said["min_ns"], said["max_ns"] = (known[0], known[-1]) if known else (None, None)
    said["mean_ns"] = known[0] + (sum(known) - known[0] * len(known)) // len(known) if known else None
    said["pdv_ns"] = said["p999_ns"] - known[0] if known else None
    said["ipdv"] = variation(delays)
    return said


def lower_minima(into: list[int], delays: Ints, scheduled: Ints, width: int, base: int) -> None:
    """Minima of short windows, less the flow's own minimum, so that flows of other routes can be laid over it."""
    for at, x in zip(scheduled, delays):
        if NEVER < x < INFINITE:
            k = at // width
            into[k] = min(into[k], x - base)


def without_clocks(st: Study, flow: Flow, rows: Columns, got: list[bool], end: int) -> None:
    """The round trip: the bracket's upper bound, the pair rule's sample, minima."""
    trip = delays_of(rows["t4"], rows["t1"], got, 0)
    turn = delays_of(rows["t3"], rows["t2"], got, 0)
    tier, limits = bracket(st.link), st.judged
    missing = sum(x == NEVER for x in trip)
    for way in WAYS:
        flow.unstamped[way, "clock-free"] = missing
    bound = array(
        "q",
        [
            x if x in (NEVER, INFINITE) else x - tier.floor - (min(max(t, 0), tier.cap) if tier.turnaround else 0)
            for x, t in zip(trip, turn)
        ],
    )
    known = finite(bound)
    flow.bounded = known[0] + tier.floor if known else None
    flow.round_trip = min((x for x in trip if NEVER < x < INFINITE), default=None)
    both = [(x, t) for x, t in zip(trip, turn) if NEVER < x < INFINITE and t != NEVER]
    flow.net = min((x - max(t, 0) for x, t in both), default=None)
    stray = [
        any(plane != USER and (flag >> (2 * k)) & 3 <= USER for k, plane in enumerate(st.planes))
        for flag in rows["flags"]
    ]
    turn = array("q", [0 if doubt else t for t, doubt in zip(turn, stray)])  # as one that states no time: no proof
    net = sorted(x - t for x, t in zip(trip, turn) if NEVER < x < INFINITE and t > 0)
    for requirement in limits:
        asked = Asked(requirement, st.flow_count)
        guard = asked.guard(free_budget(st.policy, requirement["limit_ns"]))
        windows = edges_of(rows["scheduled"], requirement["window_s"] * 10**9, end)
        if requirement["statistic"] != "quantile":
            flow.free[requirement["id"]] = worst_window(asked, bound, None, guard, windows)
            continue
        high, low = Sorted(known, flow.lost.total + missing), Sorted([], 0, flow.sent)
        flow.free[requirement["id"]] = whole_time(asked, bound, high, low, guard, windows)
        joint = 1 - 2 * (1 - asked.p)
        if joint > 0:
            # a pair lost in either direction is infinite in one of them
            gone = max(0, flow.lost.total - st.own_losses - st.counters.get("late_replies", 0))
            if flow.restarts or st.counters.get("reflector_restarts", 0):
                gone = 0  # what a reflector did not answer while it was away is no loss of the link
            sample = Sorted(net, gone, flow.sent - gone - len(net))
            pairs = [
                x - t if NEVER < x < INFINITE and t != NEVER and t > 0 else INFINITE if x == INFINITE else NEVER
                for x, t in zip(trip, turn)
            ]
            vif = max(asked.vif, inflation(pairs, sample.quantile(joint), False))
            flow.pair[requirement["id"]] = estimate(sample, sample, vif, joint, *asked.alphas(1))


def sequence_of(flow: Flow, rows: Columns, got: list[bool]) -> None:
    """Order by way: there by the reflector's counter, back by arrival, and both (RFC 4737)."""
    seq, far, arrival = ([x for x, ok in zip(rows[name], got) if ok] for name in ("seq", "far_seq", "arrival"))
    counted, ranked = bool(far) and min(far) >= 0, bool(arrival) and min(arrival) >= 0

    def along(keys: list[int], values: list[int]) -> Order:
        return order([v for _, v in sorted(zip(keys, values), key=lambda pair: pair[0])])

    flow.orders = {
        "forward": along(far, seq) if counted else None,
        "backward": along(arrival, far) if counted and ranked else None,
        "round-trip": along(arrival, seq) if ranked else None,
    }


# --- level 4: gates (rules 6) -------------------------------------------------------------------------------------

CLOCK, ALL = ("clock",), ("clock", "clock-free")


def colour(red: bool) -> str:
    """A gate's state."""
    return "red" if red else "green"


def evidence_gates(st: Study) -> Iterator[Gate]:
    """What the clock evidence says of itself."""
    link, evidence = st.link, st.m.evidence
    near, far = link["near"]["name"], link["far"]["name"]
    for end, found in (("near", st.near), ("far", st.far)):
        yield Gate(f"clock-{end}", "not-applicable" if st.shared else colour(not found.usable), CLOCK)
    for found in (st.near, st.far):
        state = colour(found.gap > st.policy["gates"]["evidence_gap_ns"])
        yield Gate("evidence-coverage", "not-applicable" if st.shared or not found.usable else state, CLOCK)
    tokens = []
    for site in (near, far):
        said = {s["identity"] for s in evidence if s["site"] == site and s["identity"]}
        named = {w for each in said for w in each.replace(",", " ").split() if w.startswith("clock:")}
        tokens.append(named or said)
    same = len(tokens[0]) == 1 and tokens[0] == tokens[1]
    yield Gate("shared-clock", colour(not same) if st.shared else "not-applicable", CLOCK)
    across = {near: link["endpoint"]["far_address"], far: link["endpoint"]["near_address"]}
    caught = any(
        across.get(s["site"]) and s["source"] != "in-band" and across[s["site"]] in s["identity"].split()
        for s in evidence
    )
    declared = link.get("sync_over_link")
    state = "not-applicable" if declared is None and not caught else colour(bool(declared) or caught)
    yield Gate("sync-topology", state, CLOCK)
    yield Gate("reference-change", reference_change(evidence), CLOCK)
    for site in (near, far):
        yield Gate("clock-agreement", agreement(site, evidence), CLOCK)
    leaps = [s["leap_pending"] for s in evidence]
    known = any(each is not None for each in leaps)
    yield Gate("leap", "red" if any(leaps) else "green" if known else "not-applicable", CLOCK)
    yield Gate("kernel-steps", colour(bool(st.m.facts["health"].get("clock_steps_ns"))), CLOCK)
    if "near_rate_ppb" in st.counters:
        fast = colour(st.counters["near_rate_ppb"] > st.policy["near_rate_ppb"])
        yield Gate("near-rate", "not-applicable" if NIC in (st.planes[0], st.planes[3]) else fast, ALL)
    yield Gate("time-scale", colour(scales_mixed(st)), CLOCK)


def reference_change(evidence: list[dict[str, Any]]) -> str:
    """A source whose reference is watched names one and the same through the run."""
    watched = {"linuxptp", "gnss", "phc", "counter", "in-band", "holdover"}
    named: dict[tuple[str, str], set[str]] = collections.defaultdict(set)
    for state in evidence:
        if state["source"] in watched and state["identity"]:
            named[state["site"], state["source"]].add(state["identity"])
    if any(len(each) > 1 for each in named.values()):
        return "red"
    return "green" if named else "not-applicable"


def agreement(site: str, evidence: list[dict[str, Any]]) -> str:
    """Offset ± (bound - |offset|) of any two sources of a site, within 2 s of each other, must meet."""
    by: dict[str, list[tuple[int, int, int]]] = collections.defaultdict(list)
    for s in sorted(evidence, key=lambda s: int(s["at_ns"])):
        if s["site"] == site and s["synchronised"] and s.get("offset_ns") is not None and s["bound_ns"] is not None:
            by[s["source"]].append((s["at_ns"], s["offset_ns"], s["bound_ns"] - abs(s["offset_ns"])))
    beyond = []
    for one, other in itertools.combinations(sorted(by), 2):
        for at, offset, rest in by[one]:
            at_other, offset_other, rest_other = min(by[other], key=lambda each: abs(each[0] - at))
            if abs(at_other - at) <= 2 * 10**9:
                beyond.append(abs(offset - offset_other) - rest - rest_other)
    return colour(max(beyond) > 0) if beyond else "not-applicable"


def scales_mixed(st: Study) -> bool:
    """Clocks 37, 19 or 18 s apart are of two time scales (rules 6.5); so are sources with two TAI - UTC."""
    there, back = st.minimum("forward"), st.minimum("backward")
    if there is not None and back is not None:
        offset = abs((there - back) // 2)
        if any(abs(offset - whole * 10**9) < 4 * 10**8 for whole in (37, 19, 18)):
            return True
    return len({s["tai_utc_s"] for s in st.m.evidence if s["tai_utc_s"]}) > 1


def light_gates(st: Study) -> Iterator[Gate]:
    """No packet beats light, none arrives before it was sent; by one clock the round trip neither."""
    floor, _, route_u = link_floor(st.link)
    for way in WAYS:
        low, u_c = st.minimum(way), st.budgets[way].u_c
        u = root_up(u_c**2 + route_u**2)
        beaten = low is not None and low * 1000 < floor - 3 * u
        state = "not-applicable" if low is None or not floor else colour(beaten)
        # One clock too early is the other too late: either breach voids the clock-based statements of both directions.
        yield Gate("floor", state, CLOCK, way if state == "not-applicable" else "")
        early = low is not None and low * 1000 < -3 * u_c
        yield Gate(
            "negative-delay", "not-applicable" if low is None else colour(early), CLOCK, way if low is None else ""
        )
    lows = [f.bounded for f in st.flows if f.bounded is not None]
    u_c = free_budget(st.policy, up(2 * floor, 1000)).u_c
    u = root_up(u_c**2 + (2 * route_u) ** 2)
    state = colour(min(lows) * 1000 < 2 * floor - 3 * u) if floor and lows else "not-applicable"
    yield Gate("round-trip-floor", state, ALL, pass_only=True)


def step_gates(st: Study) -> Iterator[Gate]:
    """Steps and drift of the relative clock in the minima of short windows (rules 6.4)."""
    f, b = st.lows
    n = len(f)
    filled = [k for k in range(n) if INFINITE not in (f[k], b[k])]
    changes = sorted(abs(f[j] - b[j] - f[i] + b[i]) for i, j in zip(filled, filled[1:]))
    noise = changes[len(changes) // 2] // 2 if changes else 0
    bounds = 0 if st.shared else (st.near.bound or 0) + (st.far.bound or 0)
    expanded = max(up(budget.expanded, 1000) for budget in st.budgets.values())
    threshold = min(st.policy["gates"]["step_cap_ns"], max(1_000, bounds, expanded, 8 * noise))
    clocks, paths = jumps(f, b, st.width, threshold)
    st.paths = paths
    yield Gate("step", "not-applicable" if n < 5 else colour(bool(clocks)), CLOCK)
    breaks = [at for at, _, _ in clocks + paths]
    slope, spread = drift(f, b, st.width, breaks)
    span = n * st.width
    allowed = 2 * bounds + max(1_000, 6 * spread, expanded)
    known = st.shared or (st.near.usable and st.far.usable)
    state = colour(abs(slope) * span // 10**12 > allowed) if known and len(filled) >= 5 else "not-applicable"
    yield Gate("skew", state, CLOCK)


def jumps(f: list[int], b: list[int], width: int, threshold: int) -> tuple[list[Any], list[Any]]:
    """(clock steps, path changes) as (at ns, change forward, change backward).

    The minima of up to 3 windows (2 of the wide ones) before a window against those after it: opposite changes of
    both directions are the clock's, others the path's.
    """
    reach = 3 if width <= 250_000_000 else 2
    filled = [
        k for k, (x, y) in enumerate(zip(f, b)) if INFINITE not in (x, y)
    ]  # what changed in an outage shows after it
    f, b, n = [f[k] for k in filled], [b[k] for k in filled], len(filled)
    changes = {}
    for k in range(2, n - 2):
        sides = [min(x[max(0, k - reach) : k]) for x in (f, b)], [min(x[k + 1 : k + 1 + reach]) for x in (f, b)]
        changes[k] = (sides[1][0] - sides[0][0], sides[1][1] - sides[0][1])
    clock = {k: c for k, c in changes.items() if c[0] * c[1] < 0 and min(abs(c[0]), abs(c[1])) > threshold}
    path = {k: c for k, c in changes.items() if k not in clock and max(abs(c[0]), abs(c[1])) > 2 * threshold}

    def peaks(of: dict[int, tuple[int, int]], size: Any) -> list[tuple[int, int, int]]:
        runs: list[list[int]] = []
        for k in sorted(of):
            if runs and k - runs[-1][-1] <= reach:
                runs[-1].append(k)
            else:
                runs.append([k])
        best = [max(run, key=lambda k: int(size(of[k]))) for run in runs]
        return [(filled[k] * width, *of[k]) for k in best]

    clocks = peaks(clock, lambda c: abs(c[0] - c[1]))
    near = 2 * (reach + 1) * width  # a window beside a step of the clock can look like a change of the path
    found = peaks(path, lambda c: max(abs(c[0]), abs(c[1])))
    return clocks, [each for each in found if all(abs(each[0] - at) > near for at, _, _ in clocks)]


def drift(f: list[int], b: list[int], width: int, breaks: list[int]) -> tuple[int, int]:
    """(slope of the relative clock in 1e-12, its noise in ns): median of pairwise slopes on one level (Theil-Sen)."""
    each = max(1, up(len(f), 100))
    points = []
    for i in range(0, len(f), each):
        low, back = min(f[i : i + each]), min(b[i : i + each])
        if INFINITE not in (low, back):
            at = (2 * i + each) * width // 2
            points.append((at, low - back, sum(at > x for x in breaks)))
    slopes = sorted(
        (q[1] - p[1]) * 10**12 // (2 * (q[0] - p[0])) for p, q in itertools.combinations(points, 2) if p[2] == q[2]
    )
    steps = sorted(abs(q[1] - p[1]) // 2 for p, q in zip(points, points[1:]) if p[2] == q[2])
    if not slopes:
        return 0, 0
    return slopes[len(slopes) // 2], steps[len(steps) // 2] if steps else 0


def run_gates(st: Study) -> Iterator[Gate]:
    """What the run says of itself: schedule, restarts, silence, calibration, rehearsal."""
    limits, rows = st.policy["gates"], len(st.m)
    sent, late = (sum(bool(flag & bit) for flag in st.m.rows["flags"]) for bit in (SENT, LATE))
    few = sent * 1_000_000 // rows < limits["min_sent_ppm"] if rows else limits["min_sent_ppm"] > 1_000_000
    tardy = late * 1_000_000 // max(sent, 1) > limits["max_late_ppm"]
    yield Gate("schedule", colour(few or tardy), ALL, pass_only=True)
    again = sum(f.restarts for f in st.flows) + st.counters.get("reflector_restarts", 0)
    yield Gate("reflector-restart", colour(again > 0), ("loss-direction",))
    yield Gate("far-silent", colour(st.silent is not None), ALL, pass_only=True)
    if "far_journal_compared" in st.counters:
        told = [st.counters.get(f"far_journal_{name}", 0) for name in ("differing", "missing")]
        rests = ALL if st.link.get("far_turnaround_qualified") else CLOCK
        yield Gate("far-journal", colour(any(told) or not st.counters["far_journal_compared"]), rests, pass_only=True)
    yield Gate("calibration", "green" if st.calibrated else "not-applicable", ())
    real = st.policy["rehearsal"] and not st.simulated
    yield Gate("rehearsal-policy", colour(real) if st.policy["rehearsal"] else "not-applicable", ALL, pass_only=True)


def requirement_gates(st: Study, requirement: dict[str, Any]) -> Iterator[Gate]:
    """What one requirement asks of the run: own losses, U, stamps, stalls of the host."""
    name, share = requirement["id"], (1 - Fraction(*requirement["p"])) / 4
    fewest = min((f.sent for f in st.flows), default=0)
    flow, flags = st.m.rows["flow"], st.m.rows["flags"]
    never = collections.Counter(each for each, flag in zip(flow, flags) if not flag & (SENT | RECEIVED))
    withheld = st.own_losses + max(never.values(), default=0)
    yield Gate("own-loss", colour(withheld > share * fewest), ALL, "", name, True)
    for way in WAYS:
        wide = st.budgets[way].expanded > requirement["u_gate_refuse_ns"] * 1000
        yield Gate("uncertainty", colour(wide), CLOCK, way, name)
        for basis in ALL:
            worst = max(
                ((f.unstamped[way, basis], f.received) for f in st.flows),
                key=lambda each: Fraction(each[0], max(1, each[1])),
                default=(0, 0),
            )
            many = worst[0] > 0 and worst[0] * 1_000_000 > requirement["max_unstamped_ppm"] * worst[1]
            yield Gate("unstamped", colour(many), (basis,), way, name, True)
        yield Gate("host-stalls", stalled(st, requirement, way, share), ALL, way, name)


def stalled(st: Study, requirement: dict[str, Any], way: str, share: Fraction) -> str:
    """Packets of the worst flow that only the host's lateness carried over the limit: at most a quarter of 1 - p."""
    rows, limit = st.m.rows, requirement["limit_ns"]
    t, r = ("t1", "t2") if way == "forward" else ("t3", "t4")
    mine = [(i, late) for i, way_, late in zip(*(st.m.stalls[k] for k in ("row", "direction", "late_ns")))
            if way_ == WAYS.index(way)]  # fmt: skip
    if not mine:
        return "not-applicable"
    carried: collections.Counter[int] = collections.Counter()
    for i, late in mine:
        if NEVER not in (rows[k][i] for k in STAMPS):
            delay = rows[r][i] - rows[t][i] - st.bias(way)
            carried[rows["flow"][i]] += delay > limit and delay - late <= limit
    sent = {f.index: f.sent for f in st.flows}
    shares = [Fraction(count, max(1, sent.get(flow, 1))) for flow, count in carried.items()]
    return colour(max(shares, default=Fraction(0)) > share)


def calibration_applies(st: Study, stated: Any) -> bool:
    """Whether the calibration holds here: planes, frame size, rate within a factor of 2, an artefact unexpired."""
    found, stream = st.m.facts.get("calibration"), st.m.facts["stream"]
    if found is None:
        return False
    taken = [next((n for n in stamp.split("+") if n != "none"), "none") for stamp in found["planes"].split("/")]
    fits = taken == [SOURCES[source] for source in st.planes] and found["size"] == stream["size"]
    fits = fits and found["rate_pps"] <= 2 * stream["rate_pps"] <= 4 * found["rate_pps"]
    artefact = found.get("artefact")
    if artefact is None or not fits:
        return bool(fits)
    health = st.m.facts["health"]
    early = integer(health.get("started_ns", 0)) < integer(artefact["from_ns"])
    if early or integer(health.get("ended_ns", 0)) > integer(artefact["until_ns"]):
        return False
    st.taken.append(f"{st.m.id}: whether the calibration artefact is of these ports and follows from its plugs")
    return bool(stated)


# --- level 4: rules and roll-up (rules 4) -------------------------------------------------------------------------

SEVERITY = ("PASS", "INDETERMINATE", "INVALID", "FAIL")


def worst_of(verdicts: Iterable[str]) -> str:
    """Statements about different things: the worst; INVALID when there are none."""
    return max(verdicts, key=SEVERITY.index, default="INVALID")


def one_claim(verdicts: Iterable[str]) -> str:
    """Statements about one thing: a FAIL stands, else a PASS, else INDETERMINATE, else INVALID."""
    found = set(verdicts)
    return next((v for v in ("FAIL", "PASS", "INDETERMINATE") if v in found), "INVALID")


def decide(rule: str, limit: int, got: Estimate, budget: Budget, route: tuple[int, int] | None,
           red: list[str], red_for_pass: list[str]) -> tuple[str, str, str]:  # fmt: skip
    """(verdict, reason, side) by OWD-G1, the clock-free OWD-G0, or the pair rule; limit in ns."""
    ps, guard = limit * 1000, up(coverage(budget.nu) * budget.u_c, 1000)
    conforms = got.upper * 1000 + guard <= ps and got.value * 1000 + guard <= ps
    exceeds = got.lower * 1000 - guard > ps
    side = "conditional-pass" if got.value <= limit else "conditional-fail"
    if rule == "owd-pair/1":
        return ("FAIL", "pair", "") if exceeds and not red else ("INDETERMINATE", "pair-open", "")
    if rule not in ("owd-g1/1", "owd-g0/1"):
        raise FormatError(f"the rule {rule} is not known here")
    if route is not None and route[0] - 2 * route[1] > ps:
        return "FAIL", "route-floor", ""
    if red:
        return "INVALID", "gate", ""
    if rule == "owd-g1/1" and exceeds:
        return "FAIL", "above", ""
    if red_for_pass:
        return "INVALID", "gate", ""
    if conforms:
        return "PASS", "below" if rule == "owd-g1/1" else "bracket-below", ""
    return "INDETERMINATE", "guard-band" if rule == "owd-g1/1" else "bracket-open", side


def settles(
    requirement: dict[str, Any], basis: str, verdict: str, decided: Deciding, limit: int, budget: Budget
) -> dict[str, Any]:
    """What would settle an INDETERMINATE: more samples (a flow, or window), a smaller u_c."""
    none: dict[str, Any] = {"would_settle": None, "n_needed": None, "u_needed_ps": None}
    if verdict != "INDETERMINATE":
        return none
    got, ps, k = decided.found, limit * 1000, coverage(budget.nu)
    guard = up(k * budget.u_c, 1000)
    if got.value == INFINITE:
        return {**none, "would_settle": "fewer losses"}
    if got.value <= limit:
        count, u = None, None
        more = needed(decided.guarded, got.n, Fraction(*requirement["p"]), Fraction(*requirement["alpha"]))
        if more is not None and got.value * 1000 + guard <= ps:
            count = up(more * got.vif.numerator, got.vif.denominator)
        if got.upper != INFINITE and got.upper <= limit:
            u = (ps - got.upper * 1000) * 1000 // k
        better = "better clocks" if basis == "clock" else "a slower-drifting near clock"
        said = ["more samples"] * (count is not None) + [better] * (u is not None)
        return {
            "would_settle": " or ".join(said) or f"more samples with {better}", "n_needed": count, "u_needed_ps": u,
        }  # fmt: skip
    if basis != "clock":
        return {**none, "would_settle": "a clock-based statement, or evidence for a tighter bracket"}
    said = ["more samples"] * (got.value * 1000 - guard > ps) + ["better clocks"] * (got.lower > limit)
    return {
        **none,
        "would_settle": " or ".join(said) or "more samples with better clocks",
        "u_needed_ps": max(0, (got.lower * 1000 - ps - 1) * 1000 // k) if got.lower > limit else None,
    }


def statement_dict(
    st: Study, requirement: dict[str, Any], basis: str, rule: str, flow: Flow | None, decided: Deciding,
    budget: Budget, finding: tuple[str, str, str], red: list[str], route: int | None, limit: int,
) -> dict[str, Any]:  # fmt: skip
    """One statement as result.json has it."""
    got = decided.found
    # without a bound of both clocks there is no uncertainty to state
    stated = basis != "clock" or st.shared or None not in (st.near.bound, st.far.bound)
    return {
        "rule": rule,
        "basis": basis,
        "verdict": finding[0],
        "sublabel": finding[2],
        "reason": finding[1],
        "gates_red": red,
        "flow": flow.port if flow else None,
        "window_start_s": decided.start,
        "estimate_ns": number(got.value),
        "lower_ns": number(got.lower),
        "upper_ns": number(got.upper),
        "infinite": got.upper == INFINITE,
        "estimate_infinite": got.value == INFINITE,
        "u_c_ps": budget.u_c if stated else None,
        "k_milli": coverage(budget.nu),
        "U_ps": budget.expanded if stated else None,
        "nu_eff": budget.nu,
        "worst_case_ps": budget.worst if stated else None,
        "n": got.n,
        "n_eff": [got.n_eff.numerator, got.n_eff.denominator],
        "vif": [got.vif.numerator, got.vif.denominator],
        "vif_plan": requirement["vif_plan"],
        "exceedances": decided.over,
        "exceedances_guarded": decided.guarded,
        "route_floor_ps": route,
        **settles(requirement, basis, finding[0], decided, limit, budget),
        "measurement": st.m.id,
    }


def statement(st: Study, requirement: dict[str, Any], basis: str, way: str) -> tuple[dict[str, Any], dict[int, str]]:
    """The statement of the worst flow, with every flow's verdict on it."""
    limit, name = requirement["limit_ns"], requirement["id"]
    rule = requirement["rules"]["clock" if basis == "clock" else "clock_free"]
    budget = st.budgets[way] if basis == "clock" else free_budget(st.policy, limit)
    resting = [
        g for g in st.gates
        if g.state == "red" and basis in g.guards and g.way in ("", way) and g.requirement in ("", name)
    ]  # fmt: skip
    red = list(dict.fromkeys(g.id for g in resting if not g.pass_only))
    red_for_pass = list(dict.fromkeys(g.id for g in resting if g.pass_only))
    # a fibre record that the round trip contradicts proves nothing
    contradicted = any(g.id == "round-trip-floor" and g.state == "red" for g in st.gates)
    record = None if contradicted else st.link.get("route")
    route = (flight(record["length_m"], record["group_index_ppm"]), record["u_ps"]) if record else None
    rows = []
    for flow in st.flows:
        decided = flow.clock[name, way] if basis == "clock" else flow.free[name]
        finding = ("INVALID", "no-samples", "")
        if decided.found.n:
            finding = decide(rule, limit, decided.found, budget, route, red, red_for_pass)
        rows.append((finding, flow, decided))
    said_route = route[0] if route else None
    if not rows:
        nothing = Deciding(Estimate(INFINITE, INFINITE, NEVER, 0, Fraction(1)), 0, 0, [], Fraction(0))
        finding = ("INVALID", "no-samples", "")
        return (
            statement_dict(
                st, requirement, basis, rule, None, nothing, budget, finding, red + red_for_pass, said_route, limit
            ),
            {},
        )
    finding, flow, decided = max(
        rows, key=lambda each: (SEVERITY.index(each[0][0]), each[2].found.upper, each[2].found.value)
    )
    said = statement_dict(
        st, requirement, basis, rule, flow, decided, budget, finding, red + red_for_pass, said_route, limit
    )
    return said, {each.index: found[0] for found, each, _ in rows}


def lacking(st: Study, requirement: dict[str, Any], way: str, basis: str) -> list[str]:
    """What a PASS still wants: time, windows, effective samples; an interruption."""
    interrupted, stream, rows = st.m.facts.get("interrupted", ""), st.m.facts["stream"], len(st.m)
    missing = [f"interrupted by {interrupted}"] if interrupted else []
    if not st.flows:
        return [*missing, "no packet was sent"]
    rate, duration = integer(stream["rate_pps"]), integer(stream["duration_ns"])
    lasted, wanted = rows * 10**9 // rate, requirement["min_seconds"] * 10**9
    if lasted * 100 < wanted * 98 or duration < wanted:
        missing.append(f"{min(lasted, duration) // 10**9} s measured, {requirement['min_seconds']} s required")
    width, least = requirement["window_s"] * 10**9, requirement["min_windows"]
    span = max(st.m.rows["scheduled"])
    windows = (span + width // 2) // width
    if windows < least:
        # an exponential schedule of N packets ends within 5 spans / sqrt N of its duration by chance
        short = max(0, least * width - span)
        close = short * 50 <= least * width or short * short * rows <= 25 * (least * width) ** 2
        whole = rows >= rate * duration // 10**9
        if not (stream.get("schedule", "exponential") == "exponential" and whole and close):
            missing.append(f"{windows} windows measured, {least} required")
    name = requirement["id"]
    worth, port = min(((f.clock[name, way] if basis == "clock" else f.free[name]).least, f.port) for f in st.flows)
    if worth < requirement["min_n_eff"]:
        missing.append(f"n_eff {int(worth)} on flow {port}, {requirement['min_n_eff']} required")
    return missing


def direction_row(st: Study, requirement: dict[str, Any], way: str) -> dict[str, Any]:
    """Both statements about one direction, rolled up, with what is told beside them."""
    name, link = requirement["id"], st.link
    based, by_clock = statement(st, requirement, "clock", way)
    free, by_bracket = statement(st, requirement, "clock-free", way)
    verdict = one_claim([based["verdict"], free["verdict"]])
    speaks = based if based["verdict"] == verdict else free
    short = lacking(st, requirement, way, speaks["basis"])
    if short and verdict == "PASS":
        verdict = "INDETERMINATE"
    flow = next((f for f in st.flows if f.port == speaks["flow"]), None)
    shown = None
    if flow is not None:
        shown = flow.clock[name, way] if speaks["basis"] == "clock" else flow.free[name]
    near, far, tier = link["near"]["name"], link["far"]["name"], bracket(link)
    floor, origin, _ = link_floor(link)
    return {
        "link": link["name"],
        "direction": way,
        "label": f"{near}→{far}" if way == "forward" else f"{far}→{near}",
        "measurement": st.m.id,
        "verdict": verdict,
        "basis": speaks["basis"],
        "interrupted": st.m.facts.get("interrupted", ""),
        "short": short,
        "statements": [based, free],
        "worst_flow": speaks["flow"],
        "single_flow": len(st.flows) == 1,
        "flows": flow_rows(st, way, {i: one_claim([by_clock[i], by_bracket[i]]) for i in by_clock}),
        "windows": shown.windows if shown else [],
        "bracket": {
            "tier": tier.tier,
            "lower_ps": floor,
            "lower_origin": origin if floor else "",
            "upper_ns": free["upper_ns"],
            "subtracted": tier.subtracted,
            "turnaround_cap_ns": tier.cap,
            "direction": way,
        },
        "largest_unseen_clock_error_ns": unseen(st),
        "clock_offset_ns": offset(st),
        "pair": None,
        **quality(st, way, flow),
    }


def flow_rows(st: Study, way: str, verdicts: dict[int, str]) -> list[dict[str, Any]]:
    """A row a flow."""
    seen = [f for f in st.flows if f.summary[way]["received"]]
    numbers = families([f.summary[way]["min_ns"] for f in seen], st.policy["gates"]["flow_group_ns"])
    group = {f.index: k for f, k in zip(seen, numbers)}
    return [
        {
            "port": f.port,
            "n": f.sent,
            "received": f.received,
            **{k: f.summary[way][f"{k}_ns"] for k in ("min", "p50", "p99", "p999", "max")},
            "lost": f.lost.total,
            "lost_forward": f.lost.forward,
            "lost_backward": f.lost.backward,
            "lost_unknown": f.lost.unknown,
            "unstamped": f.unstamped[way, "clock"],
            "floor_group": group.get(f.index),
            "verdict": verdicts.get(f.index, "INVALID"),
        }
        for f in st.flows
    ]


def unseen(st: Study) -> int | None:
    """Largest clock error that no gate could see: RTT - turnaround - both floors + 3 u, ns (rules 5.3)."""
    lows = [f.net for f in st.flows if f.net is not None]
    if not lows or any(g.id == "round-trip-floor" and g.state == "red" for g in st.gates):
        return None
    floor, _, route_u = link_floor(st.link)
    u = max(root_up(budget.u_c**2 + route_u**2) for budget in st.budgets.values())
    value = up(min(lows) * 1000 - 2 * floor + 3 * u, 1000)
    return value if value > 0 else None


def offset(st: Study) -> list[int] | None:
    """Interval of far minus near clock, [min_f - (RTT_min - floor), min_f - floor] of all flows (rules 5.4)."""
    floor, bias = bracket(st.link).floor, st.bias("forward")
    pairs = [
        (f.summary["forward"]["min_ns"] + bias, f.round_trip)
        for f in st.flows
        if f.summary["forward"]["min_ns"] is not None and f.round_trip is not None
    ]
    return [max(low - (trip - floor) for low, trip in pairs), min(low - floor for low, _ in pairs)] if pairs else None


def quality(st: Study, way: str, worst: Flow | None) -> dict[str, Any]:
    """Loss, variation, order, duplicates: none of it decides."""
    there = sum(f.lost.forward for f in st.flows)
    back = sum(f.lost.backward for f in st.flows)
    proven, other = (there, back) if way == "forward" else (back, there)
    unknown = sum(f.lost.unknown for f in st.flows)
    entered = sum(f.sent for f in st.flows) - (other if way == "backward" else 0)
    risk = Fraction(25, 1000)
    orders = [o for f in st.flows if (o := f.orders[way]) is not None]
    figures = worst.summary[way] if worst else None
    plain = ("received", "min_ns", "max_ns", "mean_ns", "p50_ns", "p95_ns", "p99_ns", "p999_ns")
    return {
        "loss": {
            "sent": entered,
            "lost": proven,
            "unknown_direction": unknown,
            "other_direction": other,
            "events": sum(f.lost.events for f in st.flows),
            "lower_ppb": proportion(proven, entered, risk)[0],
            "upper_ppb": proportion(proven + unknown, entered, risk)[1],
        },
        "pdv": None if figures is None else {"p999_minus_min_ns": figures["pdv_ns"]},
        "ipdv": None if figures is None else figures["ipdv"],
        "reordering": {
            "received": sum(o.received for o in orders),
            "reordered": sum(o.reordered for o in orders),
            "extent": max(o.extent for o in orders),
        } if orders else None,
        "duplicates": {
            "received": sum(f.received for f in st.flows),
            "packets": sum(f.duplicates[0] for f in st.flows),
            "copies": sum(f.duplicates[1] for f in st.flows),
        },
        "conditional": None if figures is None else {name: figures[name] for name in plain},
    }  # fmt: skip


def pair_row(st: Study, requirement: dict[str, Any]) -> dict[str, Any] | None:
    """A row of its own where the round trip proves that one of the two directions fails."""
    limit, name, link = 2 * requirement["limit_ns"], requirement["id"], st.link
    budget = pair_budget(st.policy, requirement["limit_ns"], st.planes)
    red = [g.id for g in st.gates if g.id == "host-stalls" and g.state == "red" and g.requirement == name]
    proven = []
    for flow in st.flows:
        got = flow.pair.get(name)
        if got and got.n and decide("owd-pair/1", limit, got, budget, None, red, [])[0] == "FAIL":
            proven.append((flow, got))
    if not proven:
        return None
    flow, got = max(proven, key=lambda each: each[1].lower)
    decided = Deciding(got, 0, 0, [], got.n_eff)
    said = statement_dict(
        st, requirement, "clock-free", "owd-pair/1", flow, decided, budget, ("FAIL", "pair", ""), red, None, limit
    )
    nothing = dict.fromkeys(("bracket", "pair", "loss", "pdv", "ipdv", "reordering", "duplicates", "conditional"), None)
    return {
        **nothing,
        "link": link["name"],
        "direction": "pair",
        "label": f"{link['near']['name']}↔{link['far']['name']}",
        "measurement": st.m.id,
        "verdict": "FAIL",
        "basis": "clock-free",
        "interrupted": st.m.facts.get("interrupted", ""),
        "short": [],
        "statements": [said],
        "worst_flow": flow.port,
        "single_flow": len(st.flows) == 1,
        "flows": [],
        "windows": [],
        "largest_unseen_clock_error_ns": unseen(st),
        "clock_offset_ns": offset(st),
    }


# --- level 4: the whole result ------------------------------------------------------------------------------------

POLICY_DEFAULTS = {
    "resolution_ps": 1_000,
    "unknown_skew_ppb": 15_000,
    "unknown_skew_origin": "RFC 5905 PHI, 15 ppm",
    "near_rate_ppb": 500_000,
    "near_rate_origin": "largest frequency correction of the Linux kernel, 500 ppm",
}
GATE_DEFAULTS = {
    "evidence_gap_ns": 2_000_000_000,
    "step_cap_ns": 50_000,
    "min_sent_ppm": 990_000,
    "max_late_ppm": 50_000,
    "flow_group_ns": 5_000,
    "minority_user_ppm": 10_000,
}
REQUIREMENT_DEFAULTS = {"direction": "each", "min_windows": 1, "alpha": [25, 1000]}
RULE_DEFAULTS = {"clock": "owd-g1/1", "clock_free": "owd-g0/1"}


def policy_of(text: bytes) -> dict[str, Any]:
    """policy.toml with what it leaves open."""
    if tomllib is None:
        raise FormatError("reading policy.toml needs Python 3.11 or later")
    table = tomllib.loads(text.decode())
    found = {**POLICY_DEFAULTS, **table, "gates": {**GATE_DEFAULTS, **table.get("gates", {})}, "sha256": sha(text)}
    found["informative"] = [{"note": "", **each} for each in table.get("informative", [])]
    found["requirements"] = [
        {**REQUIREMENT_DEFAULTS, **each, "rules": {**RULE_DEFAULTS, **each.get("rules", {})}}
        for each in table["requirements"]
    ]
    return found


def judged_here(m: Measured, policy: dict[str, Any], loaded: set[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Requirements judged on a measurement: those its plan names, else those its stream's kind fits."""
    unloaded = m.facts["stream"].get("unloaded", True)
    named = [r for r in policy["requirements"] if r["id"] in m.facts.get("serves", [])]
    if named:
        why = "not judged, a loaded stream says nothing of the optical floor"
        unfit = [r["id"] for r in named if not unloaded and r["measurand"] == "optical-floor"]
        return [r for r in named if r["id"] not in unfit], [f"{m.id} {each}: {why}" for each in unfit]
    kinds = {"optical-floor" if unloaded else "service"}
    if m.facts["link"]["name"] not in loaded:
        kinds.add("service")
    return [r for r in policy["requirements"] if r["measurand"] in kinds], []


def study(m: Measured, policy: dict[str, Any], loaded: set[str], applied: Any) -> Study:
    """Everything of one measurement; ``applied``: whether result.json says that its calibration was."""
    link, rows = m.facts["link"], m.rows
    judged, unfit = judged_here(m, policy, loaded)
    names = [link[end]["clock"].get("shared", "") for end in ("near", "far")]
    sources, counts = worst_planes(rows, policy["gates"]["minority_user_ppm"])
    near, far = claim(link["near"]["name"], m), claim(link["far"]["name"], m)
    st = Study(m, policy, judged, unfit, near, far, bool(names[0]) and names[0] == names[1], sources, counts)
    st.calibrated = calibration_applies(st, applied)
    st.budgets = {way: clock_budget(policy, way, st) for way in WAYS}
    st.simulated = simulated(m)
    st.silent = silent_since(rows, st.counters.get("late_replies", 0))
    end = max(rows["scheduled"]) + 1 if len(m) else 0
    st.width = 250_000_000 if integer(m.facts["stream"]["rate_pps"]) >= 80 else 500_000_000
    st.flow_count = max(rows["flow"], default=-1) + 1
    windows = max(rows["scheduled"]) // st.width + 1 if len(m) else 0
    if windows > 100_000_000:
        raise FormatError(f"{m.id}: a schedule of {end} ns")
    st.lows = [[INFINITE] * windows for _ in WAYS]
    st.flows = [flow_of(st, index, part, end, st.lows) for index, part in split(rows)]
    if st.silent is not None:
        before_silence(st, st.silent)
    st.gates = [*evidence_gates(st), *light_gates(st), *step_gates(st), *run_gates(st)]
    for requirement in judged:
        st.gates += requirement_gates(st, requirement)
    return st


def before_silence(st: Study, since: int) -> None:
    """Where the far end fell silent, a FAIL rests on the rows before that alone."""
    scheduled = st.m.rows["scheduled"]
    early = {
        index: flow_of(st, index, part, since + 1, None)
        for index, part in split(st.m.rows, lambda i: scheduled[i] <= since)
    }
    for flow in st.flows:
        head = early.get(flow.index)
        flow.pair = head.pair if head else {}
        for key, decided in flow.clock.items():
            decided.found.lower = head.clock[key].found.lower if head else NEVER


def simulated(m: Measured) -> list[str]:
    """Facts that make a measurement a simulation."""
    link, facts = m.facts["link"], set(m.facts.get("simulated", []))
    flags = functools.reduce(operator.or_, set(m.rows["flags"]), 0)
    if flags & FAR_INJECTED:
        facts.add(f"far end {link['far']['name']} states an injected clock")
    if flags & FAR_VIRTUAL:
        facts.add(f"far end {link['far']['name']} states a virtual interface")
    for end in ("near", "far"):
        if link[end]["clock"].get("injected"):
            facts.add(f"injected clock at {link[end]['name']}")
    for state in m.evidence:
        if state["source"] != "simulated" and state["identity"].startswith("injected:"):
            facts.add(f"simulated {state['source']} at {state['site']}")
    return sorted(facts)


def stream_dict(st: Study) -> dict[str, Any]:
    """What was sent and what came of it."""
    m, s, health = st.m, st.m.facts["stream"], st.m.facts["health"]
    flags, late = m.rows["flags"], st.m.stalls["late_ns"]
    sent = sum(bool(flag & SENT) for flag in flags)
    trips = [f.orders["round-trip"] for f in st.flows]
    return {
        "measurement": m.id,
        "link": st.link["name"],
        **{name: s[name] for name in ("name", "rate_pps", "size", "duration_ns")},
        "dscp": s.get("dscp", 0),
        "flows": s.get("flows", 16),
        "schedule": s.get("schedule", "exponential"),
        "t_max_ns": s.get("t_max_ns", 10**9),
        "unloaded": s.get("unloaded", True),
        "started_ns": str(integer(health.get("started_ns", 0))),
        "ended_ns": str(integer(health.get("ended_ns", 0))),
        "interrupted": m.facts.get("interrupted", ""),
        "counts": {
            "scheduled": len(m),
            "sent": sent,
            "late": sum(bool(flag & LATE) for flag in flags),
            "skipped": sum(bool(flag & SKIPPED) for flag in flags),
            "lost_forward": sum(f.lost.forward for f in st.flows),
            "lost_backward": sum(f.lost.backward for f in st.flows),
            "lost_unknown": sum(f.lost.unknown for f in st.flows),
            "unstamped": sum(f.unanswered for f in st.flows),
            "duplicated": sum(f.duplicates[0] for f in st.flows),
            "reordered": sum(each.reordered for each in trips if each),
            "restarts": sum(f.restarts for f in st.flows),
        },
        "counters": st.counters,
        "planes": {
            f"t{k + 1}": {SOURCES[i]: count for i, count in enumerate(shares) if count}
            for k, shares in enumerate(st.plane_counts)
        },
        "planes_judged": [SOURCES[source] for source in st.planes],
        "near_planes": m.facts.get("near_planes", ""),
        "path_changes": [{"at_ns": at, "forward_ns": f, "backward_ns": b} for at, f, b in sorted(st.paths)[:20]],
        "host_stalls": {
            "late": len(late),
            "share_ppm": len(late) * 1_000_000 // max(1, 2 * sent),
            "worst_ns": max(late, default=0),
        },
        "simulated": st.simulated,
    }


def link_dict(link: dict[str, Any]) -> dict[str, Any]:
    """What was declared of a link; of its key only that there is one."""
    end, route = link["endpoint"], link.get("route")
    origins = [link[each].get("position_origin", "") for each in ("near", "far")]
    return {
        "name": link["name"],
        "near": link["near"]["name"],
        "far": link["far"]["name"],
        **{name: end[name] for name in ("near_address", "far_address", "far_port")},
        "interface": end.get("interface"),
        "ipv6": ":" in end["far_address"],
        "route": route and {name: route[name] for name in ("length_m", "group_index_ppm", "u_ps", "origin")},
        "geodesic_m": link.get("geodesic_m"),
        "positions_origin": "; ".join(dict.fromkeys(origins)) if all(origins) else "",
        "oxcs": link.get("oxcs", []),
        "authenticated": link.get("key_file") is not None,
        "ssid": link.get("ssid", 0),
        "far_clock_trusted": link.get("far_clock_trusted", False),
        "far_turnaround_qualified": link.get("far_turnaround_qualified", ""),
        "turnaround_cap_ns": link.get("turnaround_cap_ns", 0),
        "sync_over_link": link.get("sync_over_link"),
        "flow_ports": link.get("flow_ports", []),
    }


def evidence_dicts(m: Measured) -> list[dict[str, Any]]:
    """A row for each source of each site."""
    by: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for state in m.evidence:
        by.setdefault((state["site"], state["source"]), []).append(state)
    found = []
    for (site, source), states in sorted(by.items()):
        said = {s["synchronised"] for s in states}
        bounds = [s["bound_ns"] for s in states if s["bound_ns"] is not None]
        leaps = {s["leap_pending"] for s in states}
        link = m.facts["link"]
        name = link["near"]["name"] if site == link["near"]["name"] else link["far"]["name"]
        words = {True: "all", False: "none", None: "unknown"}
        found.append(
            {
                "measurement": m.id,
                "site": site,
                "source": source,
                "admissible": believable(name, link, states[0]),
                "polls": len(states),
                "first_ns": str(min(s["at_ns"] for s in states)),
                "last_ns": str(max(s["at_ns"] for s in states)),
                "synchronised": words[next(iter(said))] if len(said) == 1 else "some",
                "max_bound_ns": max(bounds, default=None),
                "bound_unknown": len(states) - len(bounds),
                "max_skew_ppb": max((s["skew_ppb"] for s in states if s["skew_ppb"] is not None), default=None),
                "tai_utc_s": sorted({s["tai_utc_s"] for s in states if s["tai_utc_s"] is not None}),
                "identities": sorted({s["identity"] for s in states if s["identity"]}),
                "leap_pending": True if True in leaps else False if leaps == {False} else None,
            }
        )
    return found


def calibration_dict(st: Study) -> dict[str, Any]:
    """The calibration that a measurement states."""
    found = st.m.facts["calibration"]
    artefact = found.get("artefact")
    until = "" if artefact is None else f"{when(integer(artefact['until_ns'])):%Y-%m-%dT%H:%M:%SZ}"
    return {
        "measurement": st.m.id,
        "expires": until,
        "applied": st.calibrated,
        **{name: found[name] for name in ("id", "bias_ns", "spread_ns", "samples", "rate_pps", "size", "planes")},
    }


def requirement_dict(r: dict[str, Any], verdict: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A requirement with its directions."""
    names = (
        "id", "title_zh", "title_en", "measurand", "layer", "limit_ns", "statistic", "p", "window_s", "alpha",
        "min_seconds", "min_windows", "min_n_eff", "vif_plan", "vif_origin", "year", "source", "origin", "confirmed",
        "confirmation", "definition_zh", "definition_en",
    )  # fmt: skip
    return {
        **{name: r[name] for name in names},
        "verdict": verdict,
        "rule_ids": [r["rules"]["clock"], r["rules"]["clock_free"]],
        "directions": rows,
    }


SCHEMA = "millicert-result/2"
NOTICE = "模拟结果，不是证书 / SIMULATED, NOT A CERTIFICATE"


def whole_result(
    measurements: Iterable[Measured], policy: dict[str, Any], provenance: dict[str, Any], stated: dict[str, Any],
    loaded: set[str],
) -> tuple[dict[str, Any], list[str]]:  # fmt: skip
    """What result.json must say, without its words; and what of it is taken as it stands."""
    applied = {each["measurement"]: each.get("applied") for each in stated.get("calibrations", [])}
    by_requirement: dict[str, list[dict[str, Any]]] = {r["id"]: [] for r in policy["requirements"]}
    budgets, gates, streams, links, evidence, calibrations, taken, facts = [], [], [], [], [], [], [], set()
    missing = [str(text) for text in provenance.get("incomplete", [])]
    names = list(provenance.get("links", []))
    for m in measurements:
        st = study(m, policy, loaded, applied.get(m.id))
        missing += st.unfit
        names.append(st.link["name"])
        for requirement in st.judged:
            rows = [direction_row(st, requirement, way) for way in WAYS]
            pair = pair_row(st, requirement)
            if pair is not None:
                for row in rows:
                    row["pair"] = {"verdict": "FAIL"}
                rows.append(pair)
            by_requirement[requirement["id"]] += rows
        about = {"measurement": m.id}
        for way in WAYS:
            head = {**about, "direction": way, "basis": "clock", "requirement": ""}
            budgets.append({**head, **st.budgets[way].told()})
        for requirement in st.judged:
            for way in WAYS:
                head = {**about, "direction": way, "basis": "clock-free", "requirement": requirement["id"]}
                budgets.append({**head, **free_budget(policy, requirement["limit_ns"]).told()})
        gates += [gate.told(m.id) for gate in st.gates]
        streams.append(stream_dict(st))
        told = link_dict(st.link)
        links += [told] if told not in links else []
        evidence += evidence_dicts(m)
        calibrations += [calibration_dict(st)] if m.facts.get("calibration") else []
        taken += st.taken
        facts |= set(st.simulated)
    requirements = []
    for r in policy["requirements"]:
        rows = by_requirement[r["id"]]
        seen = {row["link"] for row in rows}
        missing += [f"{r['id']} was not measured on {link}" for link in dict.fromkeys(names) if link not in seen]
        for row in rows:
            missing += [f"{row['measurement']} {r['id']} {row['direction']}: {why}" for why in row["short"]]
        verdict = worst_of(row["verdict"] for row in rows) if rows else "INDETERMINATE"
        requirements.append(requirement_dict(r, verdict, rows))
    if not streams:
        missing.append("nothing was measured")
    verdict = worst_of(r["verdict"] for r in requirements) if streams else "INVALID"
    if missing and verdict == "PASS":
        verdict = "INDETERMINATE"
    result = {
        "schema": "millicert-result/1",
        "verdict": verdict,
        "complete": not missing,
        "incomplete_reasons": list(dict.fromkeys(missing)),
        "simulated": sorted(facts | set(provenance.get("simulated", []))),
        "policy": {name: value for name, value in policy.items() if name != "requirements"},
        "provenance": provenance,
        "requirements": requirements,
        "budgets": budgets,
        "gates": gates,
        "streams": streams,
        "links": links,
        "evidence": evidence,
        "calibrations": calibrations,
    }
    if "result_schema" in provenance:  # of runs of the first schema there is none
        if provenance["result_schema"] != SCHEMA:
            raise FormatError(f"data/plan.json asks for a result of another schema, {provenance['result_schema']!r}")
        result["schema"] = SCHEMA
        if result["simulated"]:
            result["notice"] = NOTICE
    return as_json(result), taken


WORDS = {
    "reason_zh", "reason_en", "found", "limit", "remedy_zh", "remedy_en", "name_zh", "name_en", "origin",
    "tier_reason", "tier_reason_zh", "largest_unseen_reason", "largest_unseen_reason_zh", "method", "scope",
    "convention",
}  # fmt: skip
"""Members of result.json that hold sentences. They are not recomputed, so they must be texts."""


class Comparison:
    """result.json against what was recomputed: the first difference, and what was left alone."""

    def __init__(self) -> None:
        self.compared = 0
        self.first = ""
        self.words: collections.Counter[str] = collections.Counter()

    def differ(self, where: str, stated: Any, wanted: Any) -> None:
        """Remember the first difference."""
        if not self.first:
            texts = [json.dumps(each, ensure_ascii=False) for each in (stated, wanted)]
            short = [text if len(text) < 80 else text[:77] + "…" for text in texts]
            self.first = f"{where}: {short[0]} stated, {short[1]} recomputed"

    def walk(self, stated: Any, wanted: Any, where: str = "$") -> None:
        """Compare a value and what it holds."""
        if isinstance(wanted, dict) and isinstance(stated, dict):
            for name in sorted(set(wanted) | set(stated)):
                here = f"{where}.{name}"
                if name not in stated:
                    self.first = self.first or f"{here}: not stated, {json.dumps(wanted[name])[:80]} recomputed"
                elif name in wanted:
                    self.walk(stated[name], wanted[name], here)
                elif name in WORDS and isinstance(stated[name], str):
                    self.words[name] += 1
                elif name == "state" and where.startswith("$.gates"):
                    self.words["state"] += 1
                elif not self.first:
                    self.first = f"{here}: {stated[name]!r} stated, which nothing gives"
        elif isinstance(wanted, list) and isinstance(stated, list):
            for k, (one, other) in enumerate(zip(stated, wanted)):
                self.walk(one, other, f"{where}[{k}]")
            if len(stated) != len(wanted):
                self.differ(where, f"{len(stated)} items", f"{len(wanted)} items")
        elif type(stated) is not type(wanted) or stated != wanted:
            self.differ(where, stated, wanted)
        else:
            self.compared += 1


def provenance_of(folder: Path, book: Book) -> dict[str, Any]:
    """What result.json must say of the run: the plan's own words, the run, the committed hashes, the log."""
    given = parse(octets(folder / "data/plan.json"), "plan.json").get("provenance", {})
    again = [f"{source} was begun again; the earlier attempt is kept in data/{target}" for source, target in book.moves]
    found = {
        **given,
        "deviations": [*given.get("deviations", []), *again],
        "run": book.run,
        "plan_sha256": book.committed["data/plan.json"],
        "policy_sha256": book.committed.get("data/policy.toml", ""),
        "bench_sha256": book.committed.get("data/bench.toml", ""),
    }
    if "data/redaction.json" in book.committed:
        found["blind"] = hmac.new(redaction_secret(folder), b"blind", "sha256").hexdigest()
    return {**found, "log": book.told} if book.told else found


def redaction_secret(folder: Path) -> bytes:
    """Under what the run hides values when it is handed out redacted."""
    said = parse(octets(folder / "data/redaction.json"), "redaction.json")
    if said.get("schema") != "millicert-redaction/1" or not re.fullmatch(r"[0-9a-f]{64}", str(said.get("secret"))):
        raise FormatError("redaction.json holds no secret of a form known here")
    return bytes.fromhex(said["secret"])


def redaction(folder: Path) -> Row:
    """redacted.json is result.json, but for {"sha256": h} in the place of some values.

    h = SHA-256(HMAC-SHA256(secret, "value " + path), canonical [path, value]).
    """
    secret = redaction_secret(folder)
    hidden = parse(octets(folder / "data/redacted.json"), "redacted.json")
    wrong = [] if hidden.pop("redaction", None) == "millicert-redaction/1" else ["its scheme is another"]
    marks = 0
    open_pairs = [("$", parse(octets(folder / "data/result.json"), "result.json"), hidden)]
    while open_pairs:
        path, whole, shown = open_pairs.pop()
        if isinstance(shown, dict) and list(shown) == ["sha256"]:
            own = hmac.new(secret, f"value {path}".encode(), "sha256").digest()
            marks += 1
            if shown["sha256"] != sha(own + canonical([path, whole])):
                wrong.append(f"{path} hides another value")
        elif isinstance(shown, dict) and isinstance(whole, dict) and set(shown) == set(whole):
            open_pairs += [(f"{path}.{key}", whole[key], shown[key]) for key in shown]
        elif isinstance(shown, list) and isinstance(whole, list) and len(shown) == len(whole):
            open_pairs += [(f"{path}[{i}]", a, b) for i, (a, b) in enumerate(zip(whole, shown))]
        elif type(shown) is not type(whole) or shown != whole:
            wrong.append(f"{path} differs")
    fine = f"redacted.json is result.json with {marks} values hidden"
    return Row(4, "redaction", FAILED if wrong else OK, "; ".join(wrong[:3]) or fine, True)


def calibrations(folder: Path, book: Book) -> Row:
    """Each calibration that is subtracted stands in the folder; its numbers follow from its own samples."""
    wrong, kept, used = [], [], 0
    for name in book.finished:
        path = folder / "data" / name
        if not name.startswith("calibration/") or not (path / "calibration.json").is_file():
            continue
        stated = parse(octets(path / "calibration.json"), f"{name}/calibration.json")
        kept.append({key: value for key, value in stated.items() if key != "artefact" or value is not None})
        m = measured(path)
        for way, t, r in (("forward", "t1", "t2"), ("backward", "t3", "t4")):
            delays = Sorted(finite(b - a for a, b in zip(m.rows[t], m.rows[r]) if NEVER not in (a, b)))
            if delays.n < 400:
                wrong.append(f"{name} has {delays.n} samples {way}, 400 are the least")
                continue
            middle = delays.quantile(HALF)
            ends = [abs(delays.quantile(Fraction(k, 1000)) - middle) for k in (25, 975)]
            if (integer(stated["bias_ns"][way]), integer(stated["spread_ns"][way])) != (middle, max(ends)):
                wrong.append(f"{name}: bias {middle} ns and spread {max(ends)} ns {way} by its samples")
        stream = m.facts["stream"]
        if (stated["samples"], stated["rate_pps"], stated["size"]) != (len(m), stream["rate_pps"], stream["size"]):
            wrong.append(f"{name} states other samples, rate or size than it has")
    for name in book.finished:
        if not name.startswith("measurements/"):
            continue
        facts = parse(octets(folder / "data" / name / "measurement.json"), name).get("calibration")
        if facts is None:
            continue
        used += 1
        if facts.get("artefact") is None:
            facts = {key: value for key, value in facts.items() if key != "artefact"}
            if facts not in kept:
                wrong.append(f"{name} subtracts a calibration that is not under data/calibration")
            continue
        file = folder / f"data/calibration/{facts['id']}.json"
        if parse(octets(file), file.name) != {**facts["artefact"], "id": facts["id"]}:
            wrong.append(f"{name} subtracts another artefact than {file.name}")
        elif sha(canonical(facts["artefact"])) != facts["id"]:
            wrong.append(f"{file.name}: its id is not that of its content")
    fine = f"{used} measurements are calibrated, by {len(kept)} that lie here with their samples"
    return Row(4, "calibration", FAILED if wrong else OK, "; ".join(wrong) or fine, True)


def numbers(folder: Path, run: Path, book: Book, more: dict[str, Any]) -> Iterator[Row]:
    """result.json from the raw samples; ``more``: what a later judgement was told."""
    stated = parse(octets(folder / "data/result.json"), "result.json")
    policy = policy_of(octets(folder / "data/policy.toml"))
    names = [name for name in book.finished if name.startswith("measurements/")]
    facts = [parse(octets(run / "data" / name / "measurement.json"), name) for name in names]
    loaded = {each["link"]["name"] for each in facts if not each["stream"].get("unloaded", True)}
    rows = sum(book.rows.get(name, 0) for name in names)
    if rows > 200_000:
        print(f"{rows} rows: about {up(rows * SECONDS_PER_MILLION, 1_000_000)} s", file=sys.stderr, flush=True)
    wrong = []

    def each() -> Iterator[Measured]:
        for name in names:
            m = measured(run / "data" / name)
            if m.id != name.partition("/")[2] or len(m) != book.rows.get(name):
                wrong.append(f"{name} has {len(m)} rows of {m.id}, {book.rows.get(name)} were journaled")
            yield m

    result, taken = whole_result(each(), policy, {**provenance_of(run, book), **more}, stated, loaded)
    yield Row(
        4, "samples", FAILED if wrong else OK, "; ".join(wrong) or f"{rows} rows in {len(names)} measurements", True
    )
    found = Comparison()
    found.walk(stated, result)
    fine = f"all {found.compared} numbers and facts follow from samples, evidence, plan and policy"
    yield Row(4, "result", FAILED if found.first else OK, found.first or fine, True)
    if not found.first:
        said = ", ".join(f"{name} ({count})" for name, count in sorted(found.words.items()) if name != "state")
        yield Row(4, "wording", UNCHECKED, f"sentences, and the numbers inside them, are as result.json says: {said}")
        for text in taken:
            yield Row(4, "taken", UNCHECKED, f"taken from result.json: {text}")


SECONDS_PER_MILLION = 40
"""What level 4 takes for a million rows on a machine of 2020, s; a guide."""


# --- the whole ----------------------------------------------------------------------------------------------------


def guarded(level: int, check: str, rows: Iterator[Row]) -> Iterator[Row]:
    """A check that stumbles over what it reads is a failed one; the others are still made."""
    try:
        yield from rows
    except FormatError as error:
        yield Row(level, check, FAILED, str(error), True)
    except (Exception, RecursionError) as error:
        yield Row(level, check, FAILED, f"damaged or of an unknown form: {type(error).__name__}: {error}", True)


class Folder:
    """A folder under verification, with what the first level found for the others."""

    def __init__(self, path: Path, trust: list[Trusted] | None, log: Path | None, out: Path | None) -> None:
        self.path, self.trust, self.log, self.out = path, trust, log, out
        self.run, self.book = path, None  # type: Path, Book | None
        self.original: dict[str, Any] | None = None

    def files(self) -> Iterator[Row]:
        """Level 0: the bag, then the journal of the run that it is or refers to."""
        wrong, fine = bag(self.path)
        yield Row(0, "bag", FAILED if wrong else OK, "; ".join(wrong) or fine)
        if (self.path / "data/original.json").is_file():
            yield from self.reference(bool(wrong))
            return
        book, wrong_lines = journal(self.path)
        self.book = book
        if not book.sealed_result:
            wrong_lines.append("journal.jsonl does not end with the line that seals it")
        if book.run != self.path.name:
            wrong_lines.append(f"journal.jsonl is of run {book.run}, the folder's name is {self.path.name}")
        if not wrong:
            wrong_lines += information(self.path, book.run, integer(book.lines[-1]["utc_ns"]))
        fine = f"{len(book.lines)} lines, each holds the hash of the one before"
        yield Row(0, "journal", FAILED if wrong_lines else OK, "; ".join(wrong_lines) or fine)
        wrong = compared(self.path, book.committed)
        fine = f"{', '.join(name[5:] for name in book.committed)} as committed before anything was measured"
        yield Row(0, "plan", FAILED if wrong else OK, "; ".join(wrong) or fine)
        wrong = records(self.path, book)
        yield Row(0, "records", FAILED if wrong else OK, "; ".join(wrong) or f"{len(book.hashes)} files as journaled")

    def reference(self, broken: bool) -> Iterator[Row]:
        """The run that a later judgement names."""
        original = parse(octets(self.path / "data/original.json"), "original.json")
        name = original.get("run")
        if original.get("schema") == "millicert-redacted/1":
            raise FormatError(f"a redacted folder, which millicert checks; here it takes the run {name} itself")
        if original.get("schema") != "millicert-judged-again/1" or not isinstance(name, str) or "/" in name:
            raise FormatError("original.json names no run")
        self.original, self.run = original, self.path.with_name(name)
        if not self.run.is_dir():
            yield Row(0, "original", UNCHECKED, f"the run {name} is not there: put it beside this folder", True)
            return
        wrong, _ = bag(self.run)
        if not wrong and file_hash(self.run / MANIFEST) != original.get("manifest_sha256"):
            wrong = [f"{name} is not the run that original.json names: its manifest has another hash"]
        book, lines = journal(self.run)
        wrong += lines + records(self.run, book)
        if not broken:
            wrong += information(self.path, self.path.name, integer(original.get("judged_utc_ns")))
        if not wrong:
            self.book = book
        fine = f"judged again: the run {name} beside it is unaltered"
        yield Row(0, "original", FAILED if wrong else OK, "; ".join(wrong) or fine)

    def logged(self) -> Iterator[Row]:
        """Level 2."""
        if self.book is None:
            yield Row(2, "log", UNCHECKED, "the run's journal cannot be read", True)
        else:
            yield from log_rows(self.path, self.run.name, self.book, self.log, self.trust)

    def recomputed(self) -> Iterator[Row]:
        """Level 4."""
        more: dict[str, Any] = {}
        if self.book is None:
            yield Row(4, "result", UNCHECKED, "the run's journal cannot be read", True)
            return
        if "data/profile.toml" in self.book.committed:
            said = "it accepts a device by optical readings, which needs millicert; here it is verified up to --level 1"
            yield Row(4, "result", UNCHECKED, said, True)
            return
        if self.original is not None:
            if set(self.original) - {"schema", "run", "manifest_sha256", "reason", "judged_utc_ns"}:
                said = "it joins evidence that came later, which needs millicert; here it is verified up to --level 1"
                yield Row(4, "result", UNCHECKED, f"{said}, and the whole of the run {self.run.name} beside it", True)
                return
            text = octets(self.path / "data/policy.toml")
            more = {"policy_sha256": sha(text), "judged_again": self.original}
        else:
            yield from guarded(4, "calibration", iter_row(lambda: calibrations(self.path, self.book)))
            if "data/redaction.json" in self.book.committed:
                yield from guarded(4, "redaction", iter_row(lambda: redaction(self.path)))
        yield from guarded(4, "result", numbers(self.path, self.run, self.book, more))

    def rows(self, level: int) -> Iterator[Row]:
        """Every check up to a level."""
        yield from guarded(0, "files", self.files())
        if level >= 1:
            yield from guarded(1, "signature", signatures(self.path, self.trust, self.out))
        if level >= 2:
            yield from guarded(2, "log", self.logged())
        if level >= 3:
            yield Row(3, "time", UNCHECKED, "time stamps and witnesses of the log: openssl ts -verify, or millicert")
        if level >= 4:
            yield from guarded(4, "result", self.recomputed())


def iter_row(make: Any) -> Iterator[Row]:
    """A check of one row."""
    yield make()


def main(arguments: Sequence[str]) -> int:
    """The table and the verdict; 0 verified, 1 not, 2 wrong usage."""
    parser = argparse.ArgumentParser(description="Verify a millicert results folder without millicert.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trust", type=Path, metavar="KEYS")
    parser.add_argument("--log", type=Path, metavar="LOGDIR|PROOF")
    parser.add_argument("--level", type=int, default=4, choices=range(6))
    parser.add_argument("--write-signed", type=Path, metavar="FOLDER")
    given = parser.parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    path = given.folder.resolve()
    if not path.is_dir():
        parser.error(f"{given.folder} is not a folder")
    try:
        trust = trust_file(given.trust) if given.trust else None
    except (FormatError, ValueError) as error:
        parser.error(f"the trust file: {error}")
    print(f"{'level':5}  {'check':11}  {'state':11}  detail")
    bad = 0
    for row in Folder(path, trust, given.log, given.write_signed).rows(given.level):
        bad += row.state == FAILED or (row.decisive and row.state == UNCHECKED)
        print(f"{row.level:5}  {row.check:11}  {row.state:11}  {row.detail}", flush=True)
    print(f"{'NOT VERIFIED' if bad else 'VERIFIED'} up to level {min(given.level, 4)}: {path.name}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
