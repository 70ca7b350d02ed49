"""The Joining of a run with late evidence: its far ends' journals, compared with its samples, and closure records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from harness.archive import envelope, farjournal
from harness.archive.agreement import Agreement, Disagreement, answering, compare
from harness.archive.farjournal import FarJournal
from harness.archive.folder import PLAN
from harness.canonical import JSON, canonical, integer, parse_object, plain, sha256
from harness.clock import ClockState
from harness.disk import read_file
from harness.errors import ArchiveError, HarnessError
from harness.evidence import holdover
from harness.gates import text
from harness.measurement import Measurement

FAR: Final = "data/far"
"""Folder of the attached journals: ``<k>/journal.jsonl`` with what lies beside each."""
NAME: Final = "journal.jsonl"
CLOSURES: Final = "data/closures"
"""Folder of the closure records (`harness.evidence.holdover`): ``<k>.toml``."""
AGREEMENT: Final = "data/agreement.json"
"""Every second in which the two ends do not agree, by journal and measurement."""

COMPARED: Final = "far_journal_compared"
DIFFERING: Final = "far_journal_differing"
MISSING: Final = "far_journal_missing"
"""Counters of a joined measurement's health, of replies; see `harness.gates.far_journal`."""

_SCHEMA: Final = "millicert-agreement/1"

INFORMATION: Final = "information: "
"""Prefix of the source of evidence that is shown and never counts."""

FARTHEST_NS: Final = 500_000_000
"""Most that the two hosts' clocks may be apart for the far one's instants to be compared with the near one's: half the
time between two polls."""


_SHOWN: Final = 20
"""Disagreements told to a person; all stand in agreement.json."""
_ROUND: Final = 10
"""States of each source kept from before and after a run."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What joining one journal with a run gave."""

    journal: FarJournal
    admitted: bool
    """Its evidence counts."""
    agreements: tuple[Agreement, ...]
    """One for each measurement that it speaks of."""

    @property
    def misplaced(self) -> str:
        """Why its instants cannot be placed in the run; empty when they can."""
        low = min(each.offset_ns[0] for each in self.agreements)
        high = max(each.offset_ns[1] for each in self.agreements)
        if max(abs(low), abs(high)) <= FARTHEST_NS:
            return ""
        return f"its clock is {text(low)} to {text(high)} off the near one's: its instants cannot be placed in the run"

    @property
    def told(self) -> dict[str, JSON]:
        """What original.json and so the result say of it."""
        far = self.journal
        return {
            "journal_sha256": far.sha256,
            "stamps_sha256": far.stamps_sha256,
            "signer": "" if far.signer is None else far.signer.line,
            "signed_utc_ns": str(far.signed_ns),
            "order": str(far.order.get("id", "")),
            "admitted": self.admitted,
            "evidence_refused": self.misplaced,
            "whole": far.ended,
            "lost": far.lost,
            "measurements": {
                each.measurement: {
                    "compared": each.compared, "agreed": each.agreed, "differing": each.differing,
                    "missing": each.missing, "far_less_near_ns": [plain(bound) for bound in each.offset_ns],
                }
                for each in self.agreements
            },
        }  # fmt: skip

    @property
    def lines(self) -> list[str]:
        """It in words, for a person."""
        far = self.journal
        by = "unsigned" if far.signer is None else f"signed by {far.signer.name}+{far.signer.id}"
        use = "its evidence counts" if self.admitted and not self.misplaced else "information only"
        named = self.disagreements
        return [
            f"far end   {far.path.name}, {by}: {use}",
            *([f"          {self.misplaced}"] if self.misplaced else []),
            *([] if far.ended else ["          it was cut off"]),
            *([f"          {far.lost} replies could not be kept there"] if far.lost else []),
            *(
                f"          {each.measurement}: {each.agreed} of {each.compared} replies with the same stamps"
                for each in self.agreements
            ),
            *(f"          {measurement}: {second.told}" for measurement, second in named[:_SHOWN]),
            *([f"          {len(named) - _SHOWN} more seconds in {AGREEMENT}"] if len(named) > _SHOWN else []),
        ]

    @property
    def disagreements(self) -> list[tuple[str, Disagreement]]:
        """Measurement with each second in which the ends disagree."""
        return [(each.measurement, second) for each in self.agreements for second in each.disagreements]


def join(
    found: Sequence[Measurement], journals: Sequence[FarJournal], admitted: Sequence[bool], plan: Mapping[str, JSON]
) -> tuple[tuple[Measurement, ...], tuple[Finding, ...]]:
    """The measurements with what the journals say of their far ends, and what comparing found; nothing is written.

    A journal's evidence is added under the name of the link's far site; at_ns stays the far host's. Where it is not
    admitted its source is renamed so that it never counts. Raises ArchiveError when a journal is of another run, of
    another order, or when two speak of one measurement.
    """
    joined = list(found)
    findings = []
    taken: dict[str, Path] = {}
    for far, counts in zip(journals, admitted, strict=True):
        agreements = _agreements(found, far, plan)
        finding = Finding(far, counts, tuple(agreements.values()))
        findings.append(finding)
        for index, agreement in agreements.items():
            m = joined[index]
            if m.id in taken:
                raise ArchiveError(
                    f"one journal of the far end of {m.id}", f"{taken[m.id]} and {far.path}", "leave one out"
                )
            taken[m.id] = far.path
            joined[index] = _with(m, far, agreement, admitted=counts, placed=not finding.misplaced)
    return tuple(joined), tuple(findings)


def _with(m: Measurement, far: FarJournal, agreement: Agreement, *, admitted: bool, placed: bool) -> Measurement:
    states = [replace(state, site=m.link.far.name) for state in _about(far, m)]
    if not (admitted and placed):
        states = [_information(state) for state in states]
    counters = {COMPARED: agreement.compared, DIFFERING: agreement.differing, MISSING: agreement.missing}
    health = replace(m.health, counters={**m.health.counters, **counters}) if admitted else m.health
    return replace(m, evidence=(*m.evidence, *states), health=health)


def _information(state: ClockState) -> ClockState:
    """The state as words that no gate reads: unknown, of a source that never counts, with all it said as raw text."""
    return ClockState(
        site=state.site,
        source=INFORMATION + state.source,
        at_ns=state.at_ns,
        synchronised=None,
        bound_ns=None,
        skew_ppb=None,
        tai_utc_s=None,
        leap_pending=None,
        identity="",
        raw=canonical(plain(state)).decode(),
    )


def _about(far: FarJournal, m: Measurement) -> list[ClockState]:
    """The states that tell of a run: those within it and of each source the last before and the first after."""
    by_source: dict[str, list[ClockState]] = {}
    for state in sorted(far.states, key=lambda each: each.at_ns):
        by_source.setdefault(state.source, []).append(state)
    first, last = m.health.started_ns, m.health.ended_ns
    kept: list[ClockState] = []
    for states in by_source.values():
        before = [each for each in states if each.at_ns <= first][-_ROUND:]
        after = [each for each in states if each.at_ns >= last][:_ROUND]
        kept += [*before, *(each for each in states if first < each.at_ns < last), *after]
    return sorted(kept, key=lambda each: each.at_ns)


def _agreements(found: Sequence[Measurement], far: FarJournal, plan: Mapping[str, JSON]) -> dict[int, Agreement]:
    """Index of each measurement that the journal speaks of → what comparing them gave."""
    ordered = _check_order(far, plan, found)
    tai_utc_s = integer(far.start.get("tai_utc_s"), f"{far.path.name} tai_utc_s")
    agreements: dict[int, Agreement] = {}
    near = others = 0
    for index, m in enumerate(found):
        sessions = answering(m, far.sessions)
        stamps = m.samples.where(m.samples.answered).t2
        near += int(stamps.shape[0])
        if not sessions or not stamps.shape[0]:
            continue
        if not far.stamps_sha256:
            raise ArchiveError(
                f"the stamps beside {far.path.name}", "none",
                f"put {farjournal.beside(far.path, farjournal.STAMPS_SUFFIX).name} beside it, as the far end has it",
            )  # fmt: skip
        agreement = compare(m, far.rows(int(stamps.min()), int(stamps.max())), sessions, tai_utc_s)
        if agreement.agreed or ordered:
            agreements[index] = agreement
        others += agreement.differing
    if not agreements:
        found_here = f"none of the run's {near} replies" + (
            f", {others} with the same numbers and other stamps" if others else ""
        )
        raise ArchiveError(
            f"a far end's journal of this run in {far.path.name}",
            found_here,
            "give the journal that was kept during the run",
        )
    return agreements


def _check_order(far: FarJournal, plan: Mapping[str, JSON], found: Sequence[Measurement]) -> bool:
    """Whether a work order ties journal and run; ArchiveError when they carry different ones, or it did not hold."""
    near = plan.get("order")
    wanted = near if isinstance(near, Mapping) else {}
    here, there = (str(each.get("nonce", "")) for each in (wanted, far.order))
    if here != there or wanted.get("id", "") != far.order.get("id", ""):
        told = [f"order {each.get('id', '')}"[:14] + "…" if each else "no order" for each in (wanted, far.order)]
        raise ArchiveError(f"a journal under the run's own order, {told[0]}", told[1], "give the journal of that order")
    if not wanted:
        return False
    body, signer = envelope.unseal(str(wanted.get("envelope", "")).encode(), envelope.ORDER, f"the order in {PLAN}")
    order = parse_object(body, "the order")
    if sha256(body) != wanted.get("id") or order.get("nonce") != here or signer.line != wanted.get("signer"):
        raise ArchiveError(f"the order that {PLAN} names", "another in its envelope", "restore the run from a copy")
    first, last = (integer(order.get(key), f"order.{key}") for key in ("not_before_ns", "not_after_ns"))
    late = [m.id for m in found if not first <= m.health.started_ns <= m.health.ended_ns <= last]
    if late:
        raise ArchiveError(
            "measurements while their order held", f"{', '.join(late)} outside it", "measure under a new order"
        )
    return True


def close(
    found: Sequence[Measurement], records: Sequence[bytes]
) -> tuple[tuple[Measurement, ...], list[Mapping[str, JSON]]]:
    """The measurements with what closure records say at the polls that waited for them, and what original.json says.

    A record speaks for the site whose polls named its first part before the run. Raises HarnessError when it is not
    closed, when its first part is no longer what the run saw, or when no poll waited for it.
    """
    joined = list(found)
    told: list[Mapping[str, JSON]] = []
    for number, octets in enumerate(records):
        name = f"{CLOSURES}/{number}.toml"
        try:
            record = holdover.parse(octets.decode(), name)
        except UnicodeDecodeError as why:
            raise ArchiveError(f"UTF-8 in {name}", str(why), "give the record as it was written") from why
        closed: dict[str, JSON] = {}
        refused: HarnessError | None = None
        for index, m in enumerate(joined):
            for site in (m.link.near.name, m.link.far.name):
                try:
                    states = holdover.attach(site, record, found[index].evidence)
                except holdover.ClosureError as why:
                    refused = _weightier(refused, why)
                    continue
                joined[index] = replace(joined[index], evidence=(*joined[index].evidence, *states))
                closed[f"{m.id} {site}"] = len(states)
        if not closed:
            raise refused or ArchiveError(
                "a measurement that waits for a closure record", "none", "attach it to its run"
            )
        told.append({"sha256": sha256(octets), "commitment": record.commitment, "polls": closed})
    return tuple(joined), told


def _weightier(before: HarnessError | None, now: HarnessError) -> HarnessError:
    """Of two refusals the one that says more than that a site never waited."""
    return now if before is None or before.found == "none in the run's evidence" else before


def listed(findings: Sequence[Finding]) -> dict[str, JSON]:
    """Content of agreement.json: for each journal every second in which the ends disagree."""
    return {
        "schema": _SCHEMA,
        "journals": [
            [{"measurement": name, **_fields(second)} for name, second in finding.disagreements] for finding in findings
        ],
    }


def _fields(second: Disagreement) -> dict[str, JSON]:
    found = plain(second)
    return found if isinstance(found, dict) else {}


def read(path: Path) -> list[FarJournal]:
    """The journals in the folder at ``path`` that they were attached in, in order. Raises ArchiveError for damage."""
    return [farjournal.load(each / NAME) for each in _numbered(path / FAR)]


def _numbered(folder: Path) -> list[Path]:
    """What stands in a folder, by number; nothing where there is no folder."""
    return sorted(folder.iterdir(), key=lambda each: int(each.stem)) if folder.is_dir() else []


def stated(original: Mapping[str, JSON]) -> list[Mapping[str, JSON]]:
    """What original.json says of each attached journal, `Finding.told`."""
    said = original.get("attached")
    return [each for each in said if isinstance(each, Mapping)] if isinstance(said, list) else []


def rejoin(
    path: Path, original: Mapping[str, JSON], run: Path, found: Sequence[Measurement]
) -> tuple[tuple[Measurement, ...], tuple[Finding, ...]]:
    """As `join`, for the folder at ``path`` that refers to ``run``; ``original`` is its original.json.

    Raises ArchiveError also when comparing does not give what the folder says of it.
    """
    said = stated(original)
    plan = parse_object(read_file(run / PLAN), PLAN)
    closed, told = close(found, [read_file(place) for place in _numbered(path / CLOSURES)])
    if told != original.get("closures"):
        raise ArchiveError("what the closure records say in original.json", "another", "restore that file from a copy")
    joined, findings = join(closed, read(path), [each.get("admitted") is True for each in said], plan)
    if [finding.told for finding in findings] != said:
        raise ArchiveError("what the journals say in original.json", "another", "restore that file from a copy")
    if canonical(listed(findings)) != read_file(path / AGREEMENT):
        raise ArchiveError(f"the disagreements in {AGREEMENT}", "others", "restore that file from a copy")
    return joined, findings
