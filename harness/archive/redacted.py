"""A Redacted folder: a sealed run's result without its places, and what fixes it as that run's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from harness.archive import redaction
from harness.archive.folder import RESULT, file_name
from harness.archive.redaction import Opening
from harness.archive.superseding import ORIGINAL
from harness.canonical import JSON, canonical, integer, parse_object, sha256
from harness.disk import read_file
from harness.errors import ArchiveError

SCHEMA: Final = "millicert-redacted/1"
REVEALED: Final = "data/revealed.json"
"""Values that are shown all the same, each with the salt that opens its mark."""
PROOF: Final = "data/log-proof.json"
"""That the run's entries, which name this very redaction, stand in a log."""
REPORT: Final = "data/report.pdf"


@dataclass(frozen=True, slots=True)
class Redacted:
    """What a redacted folder says."""

    run: str
    """Name of the run that it was made of."""
    manifest_sha256: str
    """Of that run."""
    made_ns: int
    """When it was made, ns since 1970 UTC."""
    result: dict[str, Any]
    """Content of result.json, hidden values in their marks."""
    digest: str
    """SHA-256 of result.json: what signature, log and journal of the run name."""
    openings: tuple[Opening, ...]

    @property
    def problems(self) -> list[str]:
        """Revealed values that were not hidden here, or are others; empty when all are the ones."""
        return [f"{each.path} is not the value hidden there" for each in self.openings if not each.opens(self.result)]

    @property
    def readable(self) -> dict[str, Any]:
        """The result as reports read it."""
        return redaction.readable(self.result, self.openings)


def is_redacted(path: Path) -> bool:
    """Whether the folder at ``path`` says that it is a redacted one; never raises."""
    try:
        return parse_object(read_file(path / ORIGINAL), ORIGINAL).get("schema") == SCHEMA
    except ArchiveError:
        return False


def original(run: str, manifest_sha256: str, utc_ns: int) -> bytes:
    """Octets of original.json of a redaction that is made at ``utc_ns``, ns since 1970 UTC."""
    return canonical({"schema": SCHEMA, "run": run, "manifest_sha256": manifest_sha256, "redacted_utc_ns": str(utc_ns)})


def revealed(openings: Sequence[Opening]) -> bytes:
    """Octets of revealed.json."""
    return canonical({"schema": redaction.SCHEME, "values": [each.as_dict() for each in openings]})


def load(path: Path) -> Redacted:
    """What the redacted folder at ``path`` says. Raises ArchiveError naming the file that is of another form."""
    told = parse_object(read_file(path / ORIGINAL), ORIGINAL)
    name, manifest = told.get("run"), told.get("manifest_sha256")
    if told.get("schema") != SCHEMA or not isinstance(name, str) or not isinstance(manifest, str):
        raise ArchiveError(f"a redacted run in {ORIGINAL}", repr(told.get("schema")), "restore that file from a copy")
    octets = read_file(path / RESULT)
    result = parse_object(octets, RESULT)
    if result.get("redaction") != redaction.SCHEME:
        raise ArchiveError(f"a result redacted by {redaction.SCHEME}", repr(result.get("redaction")), "ask for it anew")
    return Redacted(
        file_name(name), manifest, integer(_digits(told.get("redacted_utc_ns")), "redacted_utc_ns"),
        dict(result), sha256(octets), _openings(path),
    )  # fmt: skip


def _digits(value: JSON) -> JSON:
    return value if isinstance(value, str) and value.isascii() and value.isdigit() else None


def _openings(path: Path) -> tuple[Opening, ...]:
    if not (path / REVEALED).exists():
        return ()
    told = parse_object(read_file(path / REVEALED), REVEALED)
    values = told.get("values")
    if told.get("schema") != redaction.SCHEME or not isinstance(values, list):
        raise ArchiveError(f"values in {REVEALED}", "another form", "restore that file from a copy")
    return tuple(redaction.opening(each) for each in values)
