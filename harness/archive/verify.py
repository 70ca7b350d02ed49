"""Verification: every check that a run folder is what was measured and judges to what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from harness.archive import attested, bag, joining, logged, redacted, redaction, signature, superseding
from harness.archive.folder import (
    CALIBRATIONS,
    ENVIRONMENT,
    JOURNAL,
    POLICY,
    REDACTED,
    REDACTION,
    RESULT,
    Judge,
    artefact_path,
    certify,
    file_name,
    judgement,
    measurements,
    policy_id,
    provenance,
    secret,
)
from harness.archive.keys import Trust, VerifierKey
from harness.archive.ledger import COMMITTED, RESUMED, Ledger, ledger
from harness.archive.measurements import CALIBRATION, MEASUREMENT, load_calibration, load_measurement
from harness.artefact import read_artefact
from harness.calibration import calibrate
from harness.canonical import JSON, canonical, difference, integer, noun, parse_object, plain
from harness.disk import read_file
from harness.errors import ArchiveError, HarnessError
from harness.journal import TORN, Reading, read
from harness.measurement import Calibration, Measurement
from harness.provenance import software

State = Literal["ok", "failed", "not-checked", "note"]

Render = Callable[[Sequence[Measurement], Mapping[str, JSON], bytes], bytes]
"""(measurements, result, octets of result.json) → octets of report.pdf."""


class Level(IntEnum):
    """What a check asks for, from what any tool can do to what only this software can."""

    HASHES = 0
    """Every file is the one that manifests and journal name."""
    SIGNATURES = 1
    """Who vouches for the manifest and the result."""
    LOG = 2
    """The run stands in the log of its results folder."""
    TIME = 3
    """Someone else's word that it existed at a time."""
    RECOMPUTED = 4
    """The verdict follows from raw samples and evidence, byte for byte."""
    RENDERED = 5
    """The report is what this software makes of the result; advisory, for it depends on typesetting software."""


REPORT: Final = "data/report.pdf"

_FIRST_OF_A_PROCESS: Final = (COMMITTED, RESUMED, TORN)
"""Kinds of line before which another boot's CLOCK_MONOTONIC may have been read."""

_SHOWN: Final = 20
"""Disagreements of two ends that get a row each; all stand in agreement.json."""


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the verification table."""

    level: Level
    name: str
    state: State
    """"failed" makes the folder unfit; "note" is for the reader to weigh."""
    detail: str


@dataclass(slots=True)
class Case:
    """A folder under verification: what its checks are told, and what the first level found for the others."""

    path: Path
    judge: Judge
    here: Callable[[], Mapping[str, object]]
    trust: Trust | None = None
    render: Render | None = None
    run: Path = field(init=False)
    """The run with the samples: ``path`` itself, or the one that a folder judged again names."""
    book: Ledger | None = None
    """The journal of ``run``; None when it cannot be read."""
    more: dict[str, JSON] = field(default_factory=dict)
    """What the judge was told on top of the run's provenance."""
    original: Mapping[str, JSON] = field(default_factory=dict)
    """What a folder judged again says of the run it refers to."""
    findings: tuple[joining.Finding, ...] | None = None
    """What joining the attached journals gave again; None before that."""
    whole: bool = False
    """Whether the folder is a bag without a problem."""
    anchored: bool = False
    """Whether a trusted key's signature, of the folder or of a log that names it, fixes a redacted folder."""
    same_software: bool = False
    """Whether the software that verifies is known to be the run's."""

    def __post_init__(self) -> None:
        self.run = self.path

    @property
    def again(self) -> bool:
        """Whether the folder holds another judgement of a run beside it."""
        return (self.path / superseding.ORIGINAL).exists()

    @property
    def attached(self) -> bool:
        """Whether far ends' journals were joined with the run."""
        return "attached" in self.original


def sound(checks: list[Check]) -> bool:
    """Whether every check is ok or a note: one that could not be made is not passed."""
    return all(check.state in ("ok", "note") for check in checks)


Standing = Literal["verified", "attested", "not-verified"]


def standing(checks: Sequence[Check]) -> Standing:
    """What the checks of a folder come to.

    "verified": every check that was asked for is fine, and of a redacted folder the verdict was recomputed from the
    run beside it. "attested", of a redacted folder alone: what it shows is what a trusted signature or a log fixed
    when the run was sealed, and nobody recomputed the verdict here.
    """
    names = {(check.name, check.state) for check in checks}
    left = [check for check in checks if check.state not in ("ok", "note")]
    if not any(check.name == "redacted" for check in checks):
        return "not-verified" if left else "verified"
    if not left and {("redaction", "ok"), ("result", "ok")} <= names:
        return "verified"
    fixed = ("anchor", "ok") in names
    only = all((check.level, check.state) == (Level.RECOMPUTED, "not-checked") for check in left)
    return "attested" if fixed and only else "not-verified"


def verify(
    path: Path,
    judge: Judge = certify,
    here: Callable[[], Mapping[str, object]] = software,
    *,
    trust: Trust | None = None,
    level: int = Level.RECOMPUTED,
    render: Render | None = None,
) -> list[Check]:
    """Check the sealed folder at ``path``, a run or one judged again; never raises for what it finds there.

    Makes the checks of every level up to ``level``. ``judge`` recomputes result.json; ``here`` states the software
    that verifies; ``trust`` says whose signatures count: with it, a folder without one of them fails; ``render``
    draws the report again.
    """
    if not path.is_dir():
        return [Check(Level.HASHES, "bag", "failed", f"{path} is not a folder")]
    case = Case(path.resolve(), judge, here, trust, render)  # "." has no name, and a link has another
    checks: list[Check] = []
    for at, step in _STEPS_OF_REDACTED if redacted.is_redacted(case.path) else _STEPS:
        if at > level:
            break
        try:
            for check in step(case):
                checks.append(check)  # noqa: PERF402 - rows before an error are kept
        except Exception as error:  # one check that stumbles must not hide the others
            checks.append(Check(at, at.name.lower(), "failed", f"{type(error).__name__}: {error}"))
    return checks


def _outcome(level: Level, name: str, problems: list[str], fine: str) -> Check:
    return Check(level, name, "failed" if problems else "ok", "; ".join(problems) or fine)


def _hashes(case: Case) -> Iterator[Check]:
    check = _bag(case.path)
    case.whole = check.state == "ok"
    yield check
    yield from _original(case) if case.again else _as_journaled(case)


def _bag(path: Path) -> Check:
    try:
        problems = bag.problems(path)
        fine = "" if problems else f"{len(bag.payload(path))} files, none altered or extra"
        return _outcome(Level.HASHES, "bag", problems, fine)
    except ArchiveError as error:
        return Check(Level.HASHES, "bag", "failed", str(error))


def _as_journaled(case: Case) -> Iterator[Check]:
    path = case.path
    try:
        reading = read(path / JOURNAL)
        book = ledger(reading.entries)
    except ArchiveError as error:
        yield Check(Level.HASHES, "journal", "failed", str(error))
        for name in ("plan", "records"):
            yield Check(Level.HASHES, name, "not-checked", "the journal cannot be read")
        return
    case.book = book
    fine = f"{len(reading.entries)} lines, chain whole"
    problems = _journal(reading, book, path) + _information(case, book.run, reading.entries[-1].utc_ns)
    yield _outcome(Level.HASHES, "journal", problems, fine)
    fine = "as committed before the first measurement"
    yield _outcome(Level.HASHES, "plan", _altered(path, book.committed), fine)
    fine = f"{sum(book.rows.values())} rows in {len(book.hashes)} files"
    yield _outcome(Level.HASHES, "records", _records(path, book), fine)


def _original(case: Case) -> Iterator[Check]:
    """The run that a folder judged again names, beside it and unaltered."""
    try:
        original, name = _reference(case.path)
        case.run = case.path.with_name(name)
        if not case.run.is_dir():
            detail = f"{case.run} is not there: put the run beside this folder"
            yield Check(Level.HASHES, "original", "not-checked", detail)
            return
        problems = [f"{name}: {problem}" for problem in bag.problems(case.run)]
        if not problems and bag.file_sha256(case.run / bag.MANIFEST) != original.get("manifest_sha256"):
            problems = [f"{name} is not the run this folder refers to: its {bag.MANIFEST} has another hash"]
        if not problems:
            problems = _information(case, case.path.name, integer(original.get("judged_utc_ns"), "judged_utc_ns"))
        case.original = original
        case.more = superseding.told(original, read_file(case.path / POLICY).decode())
        yield _outcome(Level.HASHES, "original", problems, f"{name} is unaltered")
        case.book = ledger(read(case.run / JOURNAL).entries)
    except (ArchiveError, UnicodeDecodeError) as error:
        yield Check(Level.HASHES, "original", "failed", str(error))


def _signatures(case: Case) -> Iterator[Check]:
    """Each signature by itself, then whether one of them is by a key that the auditor trusts."""
    names = signature.names(case.path)
    trusted = 0
    for name in names:
        try:
            found = signature.load(case.path, name)
        except HarnessError as error:
            yield Check(Level.SIGNATURES, "signature", "failed", str(error))
            continue
        state, detail = _vouched(found.key, found.utc_ns, case.trust)
        trusted += state == "ok"
        case.anchored |= state == "ok"
        yield Check(Level.SIGNATURES, "signature", state, f"{name}: signed {found.at} by its own word, {detail}")
    if case.trust is not None and not trusted:
        count = f"{len(names)} signatures, none" if names else "UNSIGNED: no signature at all, so none"
        # What fixes a redacted folder may be the key of the log alone: its row "anchor" says.
        wanting: State = "note" if redacted.is_redacted(case.path) else "failed"
        yield Check(Level.SIGNATURES, "trust", wanting, f"{count} by a trusted key of {case.trust.where} in its days")
    elif not names:
        detail = "UNSIGNED: nobody says who made it; `millicert sign DIR --key FILE` does"
        yield Check(Level.SIGNATURES, "signature", "note", detail)
    if case.attached:
        yield from _journal_signatures(case)


def _journal_signatures(case: Case) -> Iterator[Check]:
    """Whose word each attached journal is; evidence that counts wants a key that the auditor trusts."""
    counts = [each.get("admitted") is True for each in joining.stated(case.original)]
    for far, admitted in zip(joining.read(case.path), counts, strict=True):
        use = "its evidence counts" if admitted else "information only"
        state: State = "failed" if admitted else "note"
        detail = "UNSIGNED"
        if far.signer is not None:
            state, detail = _vouched(far.signer, far.signed_ns, case.trust)
        if state == "note" and admitted and case.trust is not None:
            state = "failed"
        yield Check(Level.SIGNATURES, "far journal", state, f"{far.path.relative_to(case.path)}: {detail}; {use}")


def _vouched(signer: VerifierKey, utc_ns: int, trust: Trust | None) -> tuple[State, str]:
    key = f"{signer.name}+{signer.id}"
    listed = None if trust is None else trust.find(signer)
    if listed is None:
        return "note", f"unknown key {key}: the signature is whole, but nobody vouches for the key"
    if not listed.covers(utc_ns):
        return "failed", f"outside the days of {key}, valid {listed.validity}"
    return "ok", f"trusted key {key}, valid {listed.validity}"


def _log(case: Case) -> Iterator[Check]:
    """The run's entries in the log of its results folder, or in a proof from it."""
    for row in logged.log_rows(case.path, case.run.name, case.book, case.trust):
        yield Check(Level.LOG, *row)


def _time(case: Case) -> Iterator[Check]:
    """Witnesses outside of the log since the folder was sealed."""
    for row in logged.time_rows(case.path, case.run.name, case.trust):
        yield Check(Level.TIME, *row)


def _recomputed(case: Case) -> Iterator[Check]:
    names = ("result", "software") if case.again else ("calibration", "result", "software")
    if case.book is None:
        for name in names[:-1]:
            yield Check(Level.RECOMPUTED, name, "not-checked", "the run's journal cannot be read")
    else:
        if not case.again:
            yield _calibrations(case.path, case.book)
        yield _result(case, case.book)
        if not case.again and REDACTION in case.book.committed:
            yield _redaction(case.path, case.book)
        if case.attached:
            yield from _far_ends(case)
    software_check = _software(case)
    case.same_software = software_check.state == "ok"
    yield software_check


def _far_ends(case: Case) -> Iterator[Check]:
    """Every second in which a far end's journal and the near end's samples do not say the same, by name."""
    if case.findings is None:
        yield Check(Level.RECOMPUTED, "far end", "not-checked", "its journal could not be joined with the run")
        return
    for finding in case.findings:
        for each in finding.agreements:
            state: State = "note" if each.differing or each.missing else "ok"
            detail = f"{each.measurement}: {each.agreed} of {each.compared} replies with the same stamps at both ends"
            yield Check(Level.RECOMPUTED, "far end", state, detail)
        named = finding.disagreements
        for measurement, second in named[:_SHOWN]:
            yield Check(Level.RECOMPUTED, "far end", "note", f"{measurement}: {second.told}")
        if len(named) > _SHOWN:
            detail = f"{len(named) - _SHOWN} more seconds of disagreement in {joining.AGREEMENT}"
            yield Check(Level.RECOMPUTED, "far end", "note", detail)
        if finding.misplaced:
            yield Check(Level.RECOMPUTED, "far end", "note", finding.misplaced)


def _rendered(case: Case) -> Iterator[Check]:
    """Advisory: another typesetter draws another file, which says nothing of the verdict."""
    if not (case.path / REPORT).exists():
        yield Check(Level.RENDERED, "report", "note", f"there is no {REPORT} to compare")
        return
    if case.render is None or case.book is None:
        why = "the run's journal cannot be read" if case.book is None else "nothing is here to draw it with"
        yield Check(Level.RENDERED, "report", "not-checked", why)
        return
    try:
        stated, result = read_file(case.path / REPORT), read_file(case.path / RESULT)
        drawn = case.render(measurements(case.run, case.book), parse_object(result, RESULT), result)
    except Exception as error:  # a typesetter has its own ways to stumble
        yield Check(Level.RENDERED, "report", "not-checked", f"cannot be drawn: {type(error).__name__}: {error}")
        return
    if drawn == stated:
        yield Check(Level.RENDERED, "report", "ok", f"drawn again, all {len(stated)} octets the same")
    elif case.same_software:
        detail = f"{REPORT} is not what the same software draws of the result; is its typst or matplotlib another?"
        yield Check(Level.RENDERED, "report", "failed", detail)
    else:
        detail = f"{REPORT} is drawn otherwise here; another version of typst, matplotlib or this software does that"
        yield Check(Level.RENDERED, "report", "note", detail)


def _journal(reading: Reading, book: Ledger, path: Path) -> list[str]:
    problems = []
    if reading.torn:
        problems.append(f"{JOURNAL} ends in {len(reading.torn)} octets of a torn line")
    if not book.sealed:
        problems.append(f"{JOURNAL} does not end with the line that seals it")
    if book.run != path.name:
        problems.append(f"{JOURNAL} is of run {book.run}, the folder's name is {path.name}")
    for before, after in zip(reading.entries, reading.entries[1:], strict=False):
        if after.kind not in _FIRST_OF_A_PROCESS and after.monotonic_ns < before.monotonic_ns:
            problems.append(f"{JOURNAL} line {after.n} is older than line {before.n}")
    return problems


def _information(case: Case, name: str, sealed_ns: int) -> list[str]:
    """bag-info.txt, which no signature covers, says what journal and payload say: name, day, sizes."""
    if not case.whole:
        return []  # the bag's own check says which file is to blame
    path = case.path
    try:
        day = datetime.fromtimestamp(sealed_ns // 1_000_000_000, UTC).date().isoformat()
        if read_file(path / bag.INFORMATION) == bag.information(path, name, day):
            return []
    except (ArchiveError, ValueError, OverflowError, OSError) as error:
        return [f"{bag.INFORMATION} cannot be compared: {error}"]
    return [f"{bag.INFORMATION} does not say that {name} was sealed on {day} with the files there are"]


def _altered(path: Path, hashes: Mapping[str, str]) -> list[str]:
    problems = []
    for name, digest in hashes.items():
        if not (path / name).is_file():
            problems.append(f"{name} missing, though journaled")
        elif bag.file_sha256(path / name) != digest:
            problems.append(f"{name} differs from what was journaled")
    return problems


def _records(path: Path, book: Ledger) -> list[str]:
    try:
        names = bag.payload(path)
    except ArchiveError as error:
        return [str(error)]
    problems = _altered(path, book.hashes)
    problems += [f"{name} was begun and not finished" for name in book.open]
    problems += [
        f"{name} was never journaled"
        for name in names
        if name not in book.hashes and name != JOURNAL and not name.startswith("data/attempts/")
    ]
    return problems


def _calibrations(path: Path, book: Ledger) -> Check:
    """Each calibration that a measurement subtracts stands in the bag, its numbers derived again from its samples."""
    problems, used = [], 0
    prefix = f"{CALIBRATIONS}/"
    try:
        stored = {
            name: load_calibration(path / "data" / name)
            for name in book.finished
            if name.startswith(prefix) and (path / "data" / name / CALIBRATION).exists()
        }
        for name in book.finished:
            if name.startswith(prefix):
                continue
            stated = parse_object(read_file(path / "data" / name / MEASUREMENT), f"{name}/{MEASUREMENT}")["calibration"]
            if stated is None:
                continue
            used += 1
            subtracted = noun(Calibration, stated, f"{name}/{MEASUREMENT}")
            if subtracted.artefact is not None:
                problems += [f"{name}: {problem}" for problem in _artefact(path, subtracted)]
            elif subtracted not in stored.values():
                problems.append(f"{name} subtracts a calibration that is not under data/{CALIBRATIONS}")
        for name, calibration in stored.items():
            raw = load_measurement(path / "data" / name)
            if calibrate(calibration.id, raw.samples, raw.stream, calibration.planes) != calibration:
                problems.append(f"data/{name}/{CALIBRATION} is not what its samples give")
    except (HarnessError, KeyError) as error:
        return Check(Level.RECOMPUTED, "calibration", "failed", str(error))
    fine = f"{used} measurements are calibrated, by {len(stored)} kept here"
    return _outcome(Level.RECOMPUTED, "calibration", problems, fine)


def _artefact(path: Path, subtracted: Calibration) -> list[str]:
    """What is wrong with the artefact that a measurement's calibration says it was read from."""
    name = artefact_path(subtracted.id)
    if not (path / name).is_file():
        return [f"subtracts the calibration of an artefact that is not at {name}"]
    kept = read_artefact(read_file(path / name), name)
    if subtracted not in [Calibration.of(kept, load) for load in kept.loads]:
        return [f"subtracts another calibration than that of {name}"]
    return []


def _result(case: Case, book: Ledger) -> Check:
    """result.json against what the records of the run give under the policy beside it."""
    try:
        policy = read_file(case.path / POLICY).decode()
        told = {**provenance(case.run, book), **case.more}
        found = judgement(case.run, book, case.judge, _measured(case, book), policy, told)
        recomputed = canonical(found)
        stated = read_file(case.path / RESULT)
        if stated == recomputed:
            fine = f"recomputed from the raw samples, all {len(stated)} octets the same"
            return Check(Level.RECOMPUTED, "result", "ok", fine)
        where = difference(parse_object(stated, RESULT), parse_object(recomputed, "the recomputed result"))
    except Exception as error:  # whatever the judge stumbles over, the other checks must be seen
        detail = f"{RESULT} cannot be recomputed: {type(error).__name__}: {error}"
        return Check(Level.RECOMPUTED, "result", "failed", detail)
    return Check(
        Level.RECOMPUTED, "result", "failed", f"{RESULT} differs from what the raw samples give, first at {where}"
    )


def _measured(case: Case, book: Ledger) -> Sequence[Measurement]:
    """The run's measurements, with what was attached to them."""
    found = measurements(case.run, book)
    if not case.attached:
        return found
    joined, case.findings = joining.rejoin(case.path, case.original, case.run, found)
    return joined


def _redaction(path: Path, book: Ledger) -> Check:
    """The redacted result that was fixed with the seal is the result with values hidden."""
    try:
        result, hidden = (parse_object(read_file(path / name), name) for name in (RESULT, REDACTED))
        problems = list(redaction.unfaithful(result, hidden, secret(path)))[:5]
    except HarnessError as error:
        problems = [str(error)]
    return _outcome(Level.RECOMPUTED, "redaction", problems, f"{REDACTED} is the result, {_hidden(path, book)}")


def _hidden(path: Path, book: Ledger) -> str:
    count = sum(1 for _ in redaction.marks(parse_object(read_file(path / REDACTED), REDACTED)))
    return f"{count} values hidden, as journaled: {book.hashes.get(REDACTED, '-')[:16]}"


def _redacted_hashes(case: Case) -> Iterator[Check]:
    check = _bag(case.path)
    case.whole = check.state == "ok"
    yield check
    for row in attested.content_rows(case.path):
        yield Check(Level.HASHES, *row)
    found = redacted.load(case.path)
    if problems := _information(case, case.path.name, found.made_ns):
        yield Check(Level.HASHES, "information", "failed", "; ".join(problems))


def _redacted_log(case: Case) -> Iterator[Check]:
    found = list(attested.log_rows(case.path, case.trust))
    case.anchored |= {("log", "ok"), ("checkpoint", "ok")} <= {(row.name, row.state) for row in found}
    for row in found:
        yield Check(Level.LOG, *row)
    if attested.run_of(case.path) is None:
        yield Check(Level.LOG, *attested.anchor_row(case.anchored))


def _redacted_time(case: Case) -> Iterator[Check]:
    run = redacted.load(case.path).run
    for row in logged.time_rows(case.path.with_name(run), run, case.trust):
        yield Check(Level.TIME, *row)


def _redacted_recomputed(case: Case) -> Iterator[Check]:
    """With the run beside it the redaction is compared with its result, and that result recomputed."""
    yield Check(Level.RECOMPUTED, *attested.result_row(case.path))
    run = attested.run_of(case.path)
    if run is not None:
        of_run = Case(run, case.judge, case.here, case.trust)
        of_run.book = attested.book_of(run)
        yield _calibrations(run, of_run.book)
        yield _result(of_run, of_run.book)
        software_check = _software(of_run)
        case.same_software = software_check.state == "ok"
        yield software_check


def _redacted_rendered(case: Case) -> Iterator[Check]:
    found = redacted.load(case.path)
    stated, result = read_file(case.path / REPORT), read_file(case.path / RESULT)
    if case.render is None:
        yield Check(Level.RENDERED, "report", "not-checked", "nothing is here to draw it with")
    elif case.render((), found.readable, result) == stated:
        yield Check(Level.RENDERED, "report", "ok", f"drawn again, all {len(stated)} octets the same")
    else:
        detail = f"{REPORT} is drawn otherwise here; another version of typst or this software does that"
        yield Check(Level.RENDERED, "report", "note", detail)


def _software(case: Case) -> Check:
    """Another version may verify; the reader is told, for a differing result may come from it."""
    at = Level.RECOMPUTED
    try:
        archived = parse_object(read_file(case.path / ENVIRONMENT), ENVIRONMENT).get("software")
        if archived is None:
            return Check(at, "software", "note", "the run does not say which software made it")
        where = difference(archived, plain(dict(case.here())))
    except (ArchiveError, metadata.PackageNotFoundError) as error:
        return Check(at, "software", "note", f"cannot be compared: {error}")
    if where:
        told = where.replace("recomputed", "here")
        return Check(at, "software", "note", f"another than the run's, first at {told}")
    return Check(at, "software", "ok", "the same as the run's")


_STEPS: Final[tuple[tuple[Level, Callable[[Case], Iterator[Check]]], ...]] = (
    (Level.HASHES, _hashes),
    (Level.SIGNATURES, _signatures),
    (Level.LOG, _log),
    (Level.TIME, _time),
    (Level.RECOMPUTED, _recomputed),
    (Level.RENDERED, _rendered),
)
"""In the order in which they are made and shown; the first tells the others what there is."""

_STEPS_OF_REDACTED: Final[tuple[tuple[Level, Callable[[Case], Iterator[Check]]], ...]] = (
    (Level.HASHES, _redacted_hashes),
    (Level.SIGNATURES, _signatures),
    (Level.LOG, _redacted_log),
    (Level.TIME, _redacted_time),
    (Level.RECOMPUTED, _redacted_recomputed),
    (Level.RENDERED, _redacted_rendered),
)


def judge_again(
    path: Path,
    policy_text: str,
    *,
    reason: str = "",
    judge: Judge = certify,
    here: Callable[[], Mapping[str, object]] = software,
    utc_ns: int | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Judge the sealed run at ``path`` by another policy, into a folder of its own beside it.

    That folder, ``<run>.judged-<policy id>-<k>``, is a bag with policy.toml, result.json, environment.json and
    original.json, which names the run and its manifest's hash; `verify` checks it together with the run. The run
    is not touched. Raises ArchiveError when the run is not sealed or was altered. ``utc_ns`` is the time of judging,
    now when not given. Returns the new folder and the result.
    """
    path = superseding.sound_run(path)
    at = time.time_ns() if utc_ns is None else utc_ns
    original = superseding.original(path, reason, at)
    environment = canonical({"software": plain(dict(here()))})
    book = ledger(read(path / JOURNAL).entries)
    told = {**provenance(path, book), **superseding.told(original, policy_text)}
    result = judgement(path, book, judge, measurements(path, book), policy_text, told)
    contents = {POLICY: policy_text.encode(), ENVIRONMENT: environment, RESULT: canonical(result)}
    return superseding.write(path, f"judged-{policy_id(policy_text)}", original, contents, at), result


def _reference(path: Path) -> tuple[dict[str, JSON], str]:
    """original.json and the name of the run in it."""
    original = parse_object(read_file(path / superseding.ORIGINAL), superseding.ORIGINAL)
    name = original.get("run")
    if original.get("schema") != superseding.SCHEMA or not isinstance(name, str):
        raise ArchiveError("a reference to a run in original.json", repr(name), "restore that file from a copy")
    return original, file_name(name)
