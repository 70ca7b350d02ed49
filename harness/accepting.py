"""Accepting a device: its procedures one after the other, everything read journaled, everything left safe."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from drivers.port import Wire
from harness.acceptance import judge
from harness.archive import optical
from harness.archive.folder import RunFolder
from harness.bench import PROFILES, Bench
from harness.errors import BenchError, PreflightError
from harness.figures.path import route
from harness.figures.reconcile import ID as RECONCILE
from harness.figures.reconcile import delays_of
from harness.link import Route
from harness.methods.catalogue import METHODS
from harness.opening import Opened, identified
from harness.optics import Dut
from harness.profile import Profile, parse
from harness.rig import Rig
from harness.safety import Outcome
from harness.tomlfile import read_text

WIRE: Final = "wire.log"
"""Every octet to and from the instruments, beside data while the run is on; in the end `data/wire.log.gz`."""


def read_profile(name: str, folder: Path) -> str:
    """Text of a shipped profile by name, or of a file by path relative to ``folder``. Raises BenchError."""
    path = folder / name if name.endswith(".toml") else PROFILES / f"{name}.toml"
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as why:
        shipped = ", ".join(sorted(each.stem for each in PROFILES.glob("*.toml")))
        raise BenchError(f"an acceptance profile {name}", str(why), f"give a .toml file or one of {shipped}") from why


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a procedure will take, before it starts."""

    procedure: str
    seconds: float


class Accepting:
    """Made with the bench, opened after the plan is committed, closed safe on every way out."""

    def __init__(self, bench: Bench, dut: Dut, serial: str = "", answers: Path | None = None) -> None:
        """``serial``: what the device under test must say of itself; empty: whatever the bench file says."""
        self.bench = bench
        self.dut = dut
        self.serial = serial
        self.answers = answers
        self.text = read_profile(dut.profile, bench.path.parent if bench.path else Path())
        self.profile: Profile = parse(self.text)
        if self.profile.kind != dut.kind:
            raise BenchError(
                f"a profile for a {dut.kind} cross-connect",
                f"{self.profile.id}, for {self.profile.kind}",
                "choose another",
            )
        ids = [each.id for each in self.profile.requirements]
        unknown = [name for name in dut.without if name not in ids]
        if unknown or len(set(dut.without)) == len(ids):
            raise BenchError(
                f"[dut] without some of {', '.join(ids)}", ", ".join(unknown) or "all of them", "correct the bench file"
            )
        self.planned: tuple[str, ...] = ()
        self.opened: Opened | None = None
        self.rig: Rig | None = None
        self.outcomes: tuple[Outcome, ...] | None = None
        self._folder: RunFolder | None = None
        self._wire: Any = None
        self._early: list[bytes] = []
        """What passed before there was a folder to keep it."""
        self.trouble: PreflightError | None = None

    # -- the plan --------------------------------------------------------------------------------------------

    def plan(self, procedures: Sequence[str]) -> dict[str, Any]:
        """What plan.json holds of it, for the procedures that were selected."""
        self.planned = tuple(procedures)
        devices = {} if self.opened is None else self.opened.devices
        return {
            "dut": self.dut.instrument,
            "kind": self.dut.kind,
            "serial": self.serial,
            "profile": self.profile.id,
            "without": list(self.dut.without),
            "procedures": list(procedures),
            "instruments": {name: str(each.identity) for name, each in devices.items()},
        }

    @property
    def wanted(self) -> tuple[str, ...]:
        """Procedures that the profile asks for; of a cross-connect the reference before them."""
        before = () if self.dut.kind == "link" else ("reference",)
        wanted = {each.procedure for each in self.profile.requirements if each.id not in self.dut.without}
        return tuple(dict.fromkeys((*before, *(name for name in self.profile.procedures if name in wanted))))

    # -- instruments -----------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Open and identify every instrument; what keeps one from it is kept for preflight to tell.

        Raises BenchError for another device under test than was asked for.
        """
        try:
            self.opened = opened = Opened(self.bench, self._log, self.answers)
        except PreflightError as why:
            self.trouble = why
            return
        found = opened.devices[self.dut.instrument].identity
        if self.serial and found.serial != self.serial:
            opened.close()
            raise BenchError(
                f"--dut {self.serial}", f"a device under test that says {found}", "check which one is connected"
            )

    def begin(
        self, folder: RunFolder, observe: Callable[[str, int, int], None], stopped: Callable[[], str]
    ) -> tuple[Estimate, ...]:
        """The instruments into the journal; how long each planned procedure will take.

        Raises PreflightError, BenchError.
        """
        if self.opened is None:
            raise self.trouble or BenchError("an opened bench", "none", "connect it first")
        self._folder = folder
        self._wire = (folder.path / WIRE).open("ab")
        self._wire.writelines(self._early)
        self._early.clear()
        listed = [asdict(each) for each in identified(self.bench, self.opened.devices)]
        folder.journal.append(optical.INSTRUMENTS, instruments=listed)
        self.rig = self.opened.rig(
            folder.journal,
            folder.keep_trace,
            observe=observe,
            stopped=stopped,
            parts_done=optical.done(folder.journal.entries),
        )
        self._put_back(self.rig, optical.plugged(folder.journal.entries))
        return tuple(
            Estimate(name, METHODS[name].seconds(self.rig, self.profile.settings_of(name))) for name in self.planned
        )

    @staticmethod
    def _put_back(rig: Rig, plugged: Mapping[str, str]) -> None:
        """Cords that an interrupted run left elsewhere go back to their ports."""
        for port in rig.launches:
            cord, home = f"launch-{port}", f"{rig.dut}:in-{port}"
            if plugged.get(cord, home) != home:
                rig.patch(cord, home)

    def _log(self, name: str, wire: Wire) -> None:
        """Every octet that went to or came from an instrument, with both times of this host."""
        octets = wire.octets.decode("ascii", "backslashreplace").replace("\r", "\\r").replace("\n", "\\n")
        sign = ">" if wire.direction == "out" else "<"
        remark = f" ({wire.remark})" if wire.remark else ""
        line = f"{wire.utc_ns} {wire.monotonic_ns} {name} {sign} {octets}{remark}\n".encode()
        if self._wire is None:
            self._early.append(line)
        else:
            self._wire.write(line)

    # -- measuring -------------------------------------------------------------------------------------------

    def run(self, procedure: str) -> None:
        """Carry a procedure out; one that an interrupted run had finished is carried, not repeated."""
        if self.rig is None or self._folder is None:
            raise BenchError("an opened bench", "none", "preflight comes first")
        if procedure in optical.finished(self._folder.journal.entries):
            return
        METHODS[procedure].run(self.rig, self.profile.settings_of(procedure))
        self.rig.done(procedure)

    def judged(self, procedure: str) -> list[Mapping[str, Any]]:
        """The requirements that a procedure serves, judged from what is on disk."""
        if self._folder is None:
            return []
        seen = optical.record(self._folder.path, self._folder.journal.entries)
        if procedure == RECONCILE:
            seen = replace(seen, delays=delays_of(self._folder.judged()))
        found = judge(self.profile, seen, {"dut": {"without": list(self.dut.without)}})
        return [row for row in found["requirements"] if row["procedure"] == procedure]

    def routes(self) -> dict[str, Route]:
        """By link, the fibre as its reflectometer saw it: a floor for its packets. Empty when it told nothing."""
        if self._folder is None or not self.dut.link:
            return {}
        found = route(optical.record(self._folder.path, self._folder.journal.entries), self.profile.settings_of("path"))
        return {} if found is None else {self.dut.link: found}

    # -- at the end ------------------------------------------------------------------------------------------

    def close(self) -> tuple[Outcome, ...]:
        """Lasers off, shutters closed, read back and journaled; then every session ends. Safe to call twice."""
        if self.opened is not None:
            self.outcomes = self.opened.close()
            if self._folder is not None:
                self._folder.journal.append(
                    optical.SAFE,
                    outcomes=[
                        {"name": each.name, "confirmed": each.safe.confirmed, "said": each.safe.said}
                        for each in self.outcomes
                    ],
                    at_ns=str(time.time_ns()),
                )
            self.opened = None
        self._early.clear()
        if self._wire is not None:
            self._wire.close()
            self._wire = None
            if self._folder is not None:
                log, kept = self._folder.path / WIRE, self._folder.path / "data" / f"{WIRE}.gz"
                before = kept.read_bytes() if kept.exists() else b""  # of a run that was cut off and goes on
                self._folder.add_file(kept.name, before + gzip.compress(log.read_bytes(), mtime=0))
                log.unlink()
        return self.outcomes or ()
