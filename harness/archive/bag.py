"""The Bag round a run: BagIt 1.0 (RFC 8493) manifests that ``sha256sum -c`` reads."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

from harness.canonical import sha256
from harness.disk import read_file, refusal, write_file
from harness.errors import ArchiveError

MANIFEST: Final = "manifest-sha256.txt"
TAG_MANIFEST: Final = "tagmanifest-sha256.txt"
"""Written last: a folder that has it is sealed."""
DECLARATION: Final = "bagit.txt"
INFORMATION: Final = "bag-info.txt"

_DECLARATION: Final = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_TAGS: Final = (INFORMATION, DECLARATION, MANIFEST)

_BESIDE: Final = (re.compile(r"sig/\w[\w.@=,-]*-[0-9a-f]{8}\.dsse\.json"),)
"""Names that may stand in a sealed folder although no manifest lists them: they attest to it and prove themselves."""


def sealed(path: Path) -> bool:
    """Whether the folder at ``path`` has its last manifest."""
    return (path / TAG_MANIFEST).exists()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file of any size in 64 lower-case hex digits."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ArchiveError(f"to read {path}", str(error.strerror or error), "restore that file from a copy") from error


def beside(path: Path) -> list[str]:
    """Names of what was put to the sealed folder at ``path`` later and attests to it, relative to it, sorted.

    Raises ArchiveError as `payload` does.
    """
    return [name for name in _files(path) if _attests(name)]


def _attests(name: str) -> bool:
    return any(form.fullmatch(name) for form in _BESIDE)


def payload(path: Path) -> list[str]:
    """Names of all files under ``data``, relative to ``path``, sorted.

    Raises ArchiveError for what a manifest cannot name or seal: links, devices, names with line feeds, % or
    backslashes.
    """
    return [name for name in _files(path) if name.startswith("data/")]


def _files(path: Path) -> list[str]:
    names = []
    for item in path.rglob("*"):
        name = item.relative_to(path).as_posix()
        if item.is_symlink() or not (item.is_dir() or item.is_file()):
            raise ArchiveError(f"files and folders only in {path}", f"{name}, a link or device", "put the file itself")
        if any(c in name for c in "\n\r%\\"):
            raise ArchiveError(f"plain file names in {path}", repr(name), "rename it before sealing")
        if item.is_file():
            names.append(name)
    return sorted(names)


def _lines(path: Path, names: list[str]) -> bytes:
    return "".join(f"{file_sha256(path / name)}  {name}\n" for name in names).encode()


def seal(path: Path, name: str, date: str) -> str:
    """Write declaration, information and both manifests; returns the SHA-256 of the payload manifest.

    ``name`` identifies the bag, ``date`` is YYYY-MM-DD.
    """
    names = payload(path)
    manifest = _lines(path, names)
    write_file(path / DECLARATION, _DECLARATION)
    write_file(path / INFORMATION, information(path, name, date))
    write_file(path / MANIFEST, manifest)
    write_file(path / TAG_MANIFEST, _lines(path, sorted(_TAGS)))
    return sha256(manifest)


def information(path: Path, name: str, date: str) -> bytes:
    """Octets of bag-info.txt for the payload there is. Raises ArchiveError as `payload` does."""
    names = payload(path)
    try:
        octets = sum((path / n).stat().st_size for n in names)
    except OSError as error:
        raise refusal(path, error) from error
    lines = (
        "Bag-Software-Agent: millicert",
        f"Bagging-Date: {date}",
        f"External-Identifier: {name}",
        f"Payload-Oxum: {octets}.{len(names)}",
    )
    return "".join(f"{line}\n" for line in lines).encode()


def problems(path: Path) -> list[str]:
    """What is wrong with the bag, each naming the file: altered, missing, extra, not readable; empty when sound."""
    if not sealed(path):
        return [f"{TAG_MANIFEST} missing: the run was never sealed"]
    try:
        names = _files(path)
    except ArchiveError as error:
        return [str(error)]
    found: list[str] = []
    listed = [*_check(path, TAG_MANIFEST, list(_TAGS), names, found), TAG_MANIFEST]
    listed += _check(path, MANIFEST, [n for n in names if n.startswith("data/")], names, found)
    found += [f"{name} extra: no manifest lists it" for name in names if name not in listed and not _attests(name)]
    if DECLARATION in names and read_file(path / DECLARATION) != _DECLARATION:
        found.append(f"{DECLARATION} altered: it does not declare BagIt 1.0 in UTF-8")
    return found


def _check(path: Path, manifest: str, wanted: list[str], names: list[str], found: list[str]) -> list[str]:
    """Compare ``manifest`` with the files; appends to ``found``, returns the names it lists."""
    if manifest not in names:
        found.append(f"{manifest} missing")
        return []
    listed: dict[str, str] = {}
    for number, line in enumerate(read_file(path / manifest).split(b"\n")[:-1], 1):
        digest, gap, name = line.decode(errors="replace").partition("  ")
        if not gap or len(digest) != 64 or set(digest) - set("0123456789abcdef") or name in listed:
            found.append(f"{manifest} altered: line {number} is not a hash and a new name")
        listed[name] = digest
    canonical = "".join(f"{listed[name]}  {name}\n" for name in sorted(listed)).encode()
    if canonical != read_file(path / manifest):
        found.append(f"{manifest} altered: not one sorted line a file")
    for name, digest in listed.items():
        if name not in names:
            found.append(f"{name} missing, though {manifest} lists it")
        elif file_sha256(path / name) != digest:
            found.append(f"{name} altered, or its line in {manifest}")
    found += [f"{name} not listed in {manifest}" for name in wanted if name in names and name not in listed]
    return list(listed)
