"""Attaching: a sealed run is judged again with late evidence, what far ends signed and how clocks were closed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.archive import farjournal, joining, superseding
from harness.archive.farjournal import FarJournal, beside
from harness.archive.folder import (
    ENVIRONMENT,
    JOURNAL,
    PLAN,
    POLICY,
    RESULT,
    Judge,
    certify,
    judgement,
    measurements,
    provenance,
)
from harness.archive.keys import Trust, small_file
from harness.archive.ledger import ledger
from harness.canonical import canonical, parse_object, plain
from harness.disk import read_file
from harness.errors import ArchiveError
from harness.evidence import holdover
from harness.journal import read
from harness.provenance import software


def attach(
    path: Path,
    journals: Sequence[Path],
    *,
    closures: Sequence[Path] = (),
    trust: Trust | None = None,
    information_only: bool = False,
    reason: str = "",
    judge: Judge = certify,
    here: Callable[[], Mapping[str, object]] = software,
    utc_ns: int | None = None,
) -> tuple[Path, dict[str, Any], tuple[joining.Finding, ...]]:
    """Judge the sealed run at ``path`` again with late evidence, into ``<run>.attached-<k>`` beside it.

    A journal's clock evidence counts as the far site's own where its signature is by a key of ``trust`` in its days;
    else it is refused, or with ``information_only`` joined without counting. ``closures`` are closure records that
    polls of the run waited for (`harness.evidence.holdover`), whose first part it saw. The run is not touched;
    `harness.archive.verify.verify` checks the new folder together with it. ``utc_ns`` is the time of judging, now when
    not given. Returns the folder, its result, and what was found of each journal. Raises ArchiveError when the run is
    not sealed or was altered, or when a journal was altered, is of another run or order, or not by a trusted key.
    """
    if not journals and not closures:
        raise ArchiveError("a journal or a closure record to attach", "neither", "name the files")
    run = superseding.sound_run(path)
    at = time.time_ns() if utc_ns is None else utc_ns
    loaded = [farjournal.load(each) for each in journals]
    if not information_only:
        for far in loaded:
            check_signer(far, trust)
    policy = read_file(run / POLICY)
    book = ledger(read(run / JOURNAL).entries)
    plan = parse_object(read_file(run / PLAN), PLAN)
    records = [small_file(place.resolve(), holdover.MOST_OCTETS) for place in closures]
    closed, closing = joining.close(measurements(run, book), records)
    joined, findings = joining.join(closed, loaded, [not information_only] * len(loaded), plan)
    before = parse_object(read_file(run / RESULT), RESULT)
    reference = superseding.original(
        run,
        reason,
        at,
        verdict_before=before.get("verdict"),
        attached=[finding.told for finding in findings],
        closures=closing,
    )
    text = policy.decode()
    told = {**provenance(run, book), **superseding.told(reference, text)}
    result = judgement(run, book, judge, joined, text, told)
    contents = {
        POLICY: policy,
        ENVIRONMENT: canonical({"software": plain(dict(here()))}),
        joining.AGREEMENT: canonical(joining.listed(findings)),
        **{name: data for number, far in enumerate(loaded) for name, data in _files(far, number).items()},
        **{f"{joining.CLOSURES}/{number}.toml": octets for number, octets in enumerate(records)},
        RESULT: canonical(result),
    }
    return superseding.write(run, "attached", reference, contents, at), result, findings


def check_signer(far: FarJournal, trust: Trust | None) -> None:
    """Raise ArchiveError unless the journal is signed by a key that is trusted on the day of signing."""
    wanted = f"{far.path.name} signed by a trusted key"
    key = far.signer
    if key is None:
        remedy = "have it kept with `millicert reflect --sign KEY`, or give --information-only"
        raise ArchiveError(wanted, "no signature beside it", remedy)
    name = f"{key.name}+{key.id}"
    listed = None if trust is None else trust.find(key)
    if listed is None:
        found = f"one by {name}, " + ("and no --trust" if trust is None else f"which {trust.where} does not list")
        raise ArchiveError(
            wanted, found, "give --trust a file with that key if you know whose it is, or --information-only"
        )
    if not listed.covers(far.signed_ns):
        found = f"one by {name} outside its days, valid {listed.validity}"
        raise ArchiveError(wanted, found, "ask the far end to sign under a key in use, or give --information-only")


def _files(far: FarJournal, number: int) -> dict[str, bytes]:
    """A journal and what lies beside it, by name in the bag; ArchiveError when one of them changed meanwhile."""
    found = {}
    for suffix in ("", farjournal.STAMPS_SUFFIX, farjournal.SIGNATURE_SUFFIX):
        place = beside(far.path, suffix)
        if place.exists():
            found[f"{joining.FAR}/{number}/{joining.NAME}{suffix}"] = read_file(place)
    return found
