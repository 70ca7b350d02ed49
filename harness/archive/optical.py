"""The optical Record of a run folder: what its journal says was read, with the traces beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from harness.acceptance import judge
from harness.archive.ledger import RESUMED, Ledger
from harness.canonical import JSON, noun, parse_object
from harness.disk import read_file
from harness.errors import ArchiveError
from harness.figures.reconcile import delays_of
from harness.journal import Entry, read
from harness.profile import parse
from harness.reading import DONE, JOURNALED, PART, STEP, Batch, Instrument, Record, batch
from harness.verdict import Verdict, roll_up

PROFILE: Final = "data/profile.toml"
TRACES: Final = "traces"
INSTRUMENTS: Final = "optical.instruments"
"""Who answered when the bench was opened: ``instruments``."""
SAFE: Final = "optical.safe"
"""What became of the instruments in the end: ``outcomes``."""
ALTERED: Final = "use the folder as it was sealed"


def readings(entries: Sequence[Entry]) -> tuple[list[Batch], list[str]]:
    """(batches that count, in the order of reading; parts of the work that were cut off: "procedure, part").

    A part counts when it was done by the process that began it; what another one left half-way stays in the journal.
    Raises ArchiveError when a line is not of its form.
    """
    batches: list[Batch] = []
    waiting: dict[tuple[str, str], list[Batch]] = {}
    cut: list[str] = []
    for entry in entries:
        try:
            if entry.kind == JOURNALED:
                made = batch(entry.data)
                if made.part:
                    waiting.setdefault((made.procedure, made.part), []).append(made)
                else:
                    batches.append(made)
            elif entry.kind == PART:
                batches += waiting.pop((str(entry.data["procedure"]), str(entry.data["part"])), [])
            elif entry.kind == RESUMED:
                cut += [", ".join(key) for key in waiting]
                waiting.clear()
        except (KeyError, ValueError, TypeError) as error:
            raise ArchiveError(f"an optical reading in journal line {entry.n}", str(error), ALTERED) from error
    return batches, cut + [", ".join(key) for key in waiting]


def record(path: Path, entries: Sequence[Entry]) -> Record:
    """Everything that was read in the run at ``path`` and counts.

    Raises ArchiveError when a line is not of its form.
    """
    batches, _ = readings(entries)
    instruments: dict[str, Instrument] = {}
    for entry in entries:
        if entry.kind == INSTRUMENTS:
            listed: Any = entry.data.get("instruments")
            instruments |= {each["name"]: noun(Instrument, each, "instrument") for each in listed}
    names = {each.trace for each in batches if each.trace}
    return Record(
        batches=tuple(batches),
        instruments=instruments,
        traces={name: read_file(path / "data" / TRACES / name) for name in sorted(names)},
        finished=finished(entries),
    )


def finished(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Procedures that ran to their end."""
    return tuple(dict.fromkeys(str(e.data["procedure"]) for e in entries if e.kind == DONE))


def done(entries: Sequence[Entry]) -> set[tuple[str, str]]:
    """(procedure, part) of all that need not be done again."""
    return {(str(e.data["procedure"]), str(e.data["part"])) for e in entries if e.kind == PART}


def plugged(entries: Sequence[Entry]) -> dict[str, str]:
    """Where each cord was plugged last: "launch-3" → "oxc:in-3"."""
    found = {}
    for entry in entries:
        if entry.kind == STEP and entry.data.get("action") == "patch":
            cord, _, place = str(entry.data.get("subject")).partition(" → ")
            found[cord] = place
    return found


def told(path: Path, entries: Sequence[Entry]) -> dict[str, JSON]:
    """What the judge is told beside the readings: the device, what hands did, what was cut off."""
    plan = parse_object(read_file(path / "data" / "plan.json"), "plan.json").get("optical")
    if not isinstance(plan, dict):
        raise ArchiveError("an optical plan in data/plan.json", repr(plan), ALTERED)
    planned: Any = plan.get("procedures", ())
    ended = finished(entries)
    times = [each.at_ns for each in readings(entries)[0]]
    return {
        "dut": plan,
        "started_ns": str(min(times)) if times else None,
        "ended_ns": str(max(times)) if times else None,
        "steps": [
            {key: e.data.get(key) for key in ("action", "subject", "said", "at_ns")} for e in entries if e.kind == STEP
        ],
        "cut_off": list(readings(entries)[1]),
        "incomplete": [f"{each} was planned and not finished" for each in planned if each not in ended],
    }


def accepted(result: Mapping[str, JSON], path: Path) -> dict[str, JSON]:
    """The result of the links of a run with what its optical readings come to under the profile it committed.

    The worse of both is the verdict. Raises ArchiveError and what reading the profile raises.
    """
    entries = read(path / "data" / "journal.jsonl").entries
    profile = parse(read_file(path / PROFILE).decode())
    seen = replace(record(path, entries), delays=delays_of(result))
    found = judge(profile, seen, told(path, entries))
    verdicts = [Verdict(str(found["verdict"]))]
    links: Any = result.get("requirements")
    if links:
        verdicts.append(Verdict(str(result["verdict"])))
    reasons: Any = result.get("incomplete_reasons") or ()
    simulated: Any = result.get("simulated") or ()
    serials = [
        f"{i['name']}: simulator serial {i['serial']}" for i in found["instruments"] if i["serial"].startswith("SIM-")
    ]
    return {
        **result,
        "verdict": str(roll_up(verdicts)),
        "complete": bool(result.get("complete")) and found["complete"],
        "incomplete_reasons": [*reasons, *found["incomplete_reasons"]],
        "simulated": sorted({*simulated, *serials}),
        "acceptance": found,
    }


def is_optical(book: Ledger) -> bool:
    """Whether a run committed an acceptance profile."""
    return PROFILE in book.committed
