"""Acceptance of simulated fibre cross-connects: what the plant hides against what is reported.

``python -m benchmarks.acceptance [--plants 30] [--ports 6]``: of plants drawn at random, how often value ± U covers the
truth, whether good plants pass; then one plant for each defect: whether it is found, named, and fails what it should.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from benchmarks.matrix import bench_text
from drivers.simulated.lab import Lab
from drivers.simulated.matrix import FibreMatrix
from harness.acceptance import judge
from harness.accepting import read_profile
from harness.archive import optical
from harness.bench import PROFILES, Bench, parse
from harness.canonical import plain
from harness.journal import Entry
from harness.methods.catalogue import METHODS
from harness.opening import Opened, identified
from harness.profile import Profile
from harness.profile import parse as parse_profile
from harness.reading import Record

LEAST: Final = 0.94
"""Share of truths that value ± U must cover."""


@dataclass
class Memory:
    """A journal and a folder of traces in memory."""

    entries: list[Entry] = field(default_factory=list)
    traces: dict[str, bytes] = field(default_factory=dict)

    def append(self, kind: str, **data: Any) -> object:
        """Keep a line as the archive would give it back."""
        made = Entry(len(self.entries), kind, 0, 0, dict(plain(data)), "")  # type: ignore[arg-type]  # JSON either way
        self.entries.append(made)
        return made

    def keep(self, name: str, data: bytes) -> None:
        """Keep a trace."""
        self.traces[name] = data


@dataclass(frozen=True)
class Outcome:
    """One acceptance, with the plant that it was of."""

    result: Mapping[str, Any]
    lab: Lab

    @property
    def matrix(self) -> FibreMatrix:
        """The truth."""
        return self.lab.plant.get("oxc", FibreMatrix)

    def row(self, requirement: str) -> Mapping[str, Any]:
        """One requirement."""
        found: Mapping[str, Any] = next(row for row in self.result["requirements"] if row["id"] == requirement)
        return found

    def figures(self, requirement: str) -> list[dict[str, Any]]:
        """Its figures by column name."""
        row = self.row(requirement)
        return [dict(zip(row["columns"], cells, strict=True)) for cells in row["rows"]]

    @property
    def named(self) -> set[tuple[str, str]]:
        """(id, place) of every finding and of every red doubt."""
        red = {(each["id"], each["subject"]) for each in self.result["doubts"] if each["state"] == "red"}
        return red | {(each["id"], each["where"]) for each in self.result["findings"]}


def bench_of(ports: int, seed: int, defects: Sequence[Mapping[str, Any]] = (), **oxc: Any) -> Bench:
    """A bench with a simulated matrix of ``ports``, its plant drawn from ``seed``, with what is wrong with it."""
    made = parse(bench_text(ports, seed=seed))
    if made.simulation is None:
        raise ValueError("a simulated bench")
    lab = {**made.simulation.lab, "defects": list(defects)}
    lab["oxc"] = {**lab["oxc"], **oxc}
    return replace(made, simulation=replace(made.simulation, lab=lab))


def shipped() -> Profile:
    """The shipped profile for fibre matrices."""
    return parse_profile(read_profile("oxc-fibre-matrix", PROFILES))


def accept(bench: Bench, profile: Profile, procedures: Sequence[str] = ()) -> Outcome:
    """Carry out the profile's procedures, or some of them, on the bench's plant; judge them."""
    memory = Memory()
    opened = Opened(bench)
    if opened.lab is None:
        raise ValueError("a simulated bench")
    try:
        rig = opened.rig(memory, memory.keep)
        instruments = {each.name: each for each in identified(bench, opened.devices)}
        for name in procedures or dict.fromkeys(("reference", *profile.procedures)):
            METHODS[name].run(rig, profile.settings_of(name))
            rig.done(name)
        batches, _ = optical.readings(memory.entries)
        record = Record(tuple(batches), instruments, memory.traces, optical.finished(memory.entries))
        return Outcome(judge(profile, record, {}), opened.lab)
    finally:
        opened.close()


Truth = Callable[[FibreMatrix, Mapping[str, Any]], float]

TRUTHS: Final[Mapping[str, Truth]] = {
    "insertion-loss": lambda m, f: m.true_loss_db(f["in"], f["out"], f["pm"] * 1e-12) * 1e6,
    "pdl": lambda m, f: m.true_pdl_db(f["in"], f["out"]) * 1e6,
    "switching-time": lambda m, f: m.true_switch_s(f["in"], f["out"]) * 1e9,
}
"""Requirement → the true value of one of its figures, in its unit."""


def _wrong(kind: str, where: str = "", size: float | None = None) -> dict[str, Any]:
    """One row of the lab's defects."""
    return {"kind": kind} | ({"where": where} if where else {}) | ({} if size is None else {"size": size})


DEFECTS: Final[Mapping[str, tuple[Mapping[str, Any], tuple[str, str], str]]] = {
    "dirty port": (_wrong("dirty-port", "in-3", 3.5), ("dirty-port", "in 3"), "insertion-loss"),
    "stuck mirror": (_wrong("stuck-mirror", "in-2"), ("stuck-port", "in 2"), "insertion-loss"),
    "lossy path": (_wrong("lossy-path", "in-1>out-4", 4.0), ("lossy-path", "in 1 out 4"), "insertion-loss"),
    "high PDL": (_wrong("high-pdl", "in-4", 1.5), ("high-pdl", "in 4"), "pdl"),
    "steep path": (_wrong("sloped-path", "in-2", 0.05), ("high-wdl", "in 2"), "wdl"),
    "crosstalk": (_wrong("crosstalk", "out-2", 35.0), ("crosstalk", "out 2"), "crosstalk"),
    "low return loss": (_wrong("low-return-loss", "in-4", 25.0), ("low-return-loss", "in 4"), "return-loss"),
    "slow switch": (_wrong("slow-switch", "in-1", 0.3), ("slow-switch", "in 1"), "switching-time"),
    "bouncing switch": (_wrong("bouncing-switch", "in-3", 0.2), ("bouncing-switch", "in 3"), "switching-time"),
    "disturbed neighbours": (_wrong("disturbs-neighbours", "in-2", 2.0), ("disturbs-neighbours", "in"), "hitless"),
    "unrepeatable path": (_wrong("unrepeatable", "in-3", 0.6), ("unrepeatable-path", "in 3"), "repeatability"),
    "non-persistent latch": (_wrong("non-persistent"), ("lost-connections", ""), "connections-kept"),
    "slow protection": (_wrong("slow-protection", "", 0.2), ("slow-protection", ""), "protection"),
    "drifting laser": (_wrong("drifting-laser", "", 60.0), ("source-drift", ""), ""),
    "meter out of calibration": (
        _wrong("meter-out-of-calibration", "meter-1:3", 0.8),
        ("meter-disagrees", "meter-1:3"),
        "",
    ),
}
"""Name → (what is wrong, how it must be named, which requirement must fail; none for what is wrong with the bench)."""


def coverage(outcomes: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    """Requirement → (truths covered by value ± U, all)."""
    found: dict[str, list[bool]] = defaultdict(list)
    for outcome in outcomes:
        for requirement, truth in TRUTHS.items():
            for figure in outcome.figures(requirement):
                if figure["value"] is not None and not figure["side"]:
                    found[requirement].append(abs(figure["value"] - truth(outcome.matrix, figure)) <= figure["U"])
    return {name: (sum(hits), len(hits)) for name, hits in found.items()}


def is_named(outcome: Outcome, wanted: tuple[str, str]) -> bool:
    """Whether a finding or a red doubt names a defect at its place."""
    return any(wanted[0] in name and wanted[1] in where for name, where in outcome.named)


def main() -> int:
    """Print both tables; 1 when anything is missed."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--plants", type=int, default=30)
    asked.add_argument("--ports", type=int, default=6)
    given = asked.parse_args()
    profile = shipped()
    good = [accept(bench_of(given.ports, seed), profile) for seed in range(1, given.plants + 1)]
    passed = sum(outcome.result["verdict"] == "PASS" for outcome in good)
    wrong = passed < given.plants
    print(f"{passed} of {given.plants} good plants pass")
    for outcome in good:
        bad = {row["id"]: row["verdict"] for row in outcome.result["requirements"] if row["verdict"] != "PASS"}
        if bad or outcome.named:
            print(f"   {bad} {sorted(outcome.named)}")
    for name, (hits, count) in coverage(good).items():
        print(f"{name:<18} U covers {hits} of {count} truths: {hits / count:.1%}")
        wrong |= hits < LEAST * count
    for name, (defect, wanted, requirement) in DEFECTS.items():
        outcome = accept(bench_of(given.ports, 1000, [defect]), profile)
        verdict = outcome.row(requirement)["verdict"] if requirement else outcome.result["verdict"]
        named, as_it_should = is_named(outcome, wanted), verdict == ("FAIL" if requirement else "INVALID")
        print(f"{name:<26} {'named' if named else 'NOT NAMED':<10} {requirement or 'the whole':<18} {verdict}")
        if not (named and as_it_should):
            print(f"   {sorted(outcome.named)[:8]}")
            wrong = True
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
