"""The History that a log's entries tell: which runs were begun, how each ended, whose key signs."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from harness.archive import merkle
from harness.archive.keys import VerifierKey
from harness.canonical import JSON, canonical, integer, parse_object, sha256
from harness.errors import ArchiveError

BEGUN: Final = "log"
"""Entry 0: ``origin``, ``simulated``."""
PLAN: Final = "plan"
"""Before anything is measured: ``run``, ``plan_sha256``, ``bench_sha256``, ``policy_sha256``, ``item``, ``attempt``."""
RESUMED: Final = "resumed"
"""Another process goes on with ``run``."""
SEALED: Final = "sealed"
"""``run`` ended: ``manifest_sha256``, ``result_sha256``, ``verdict``, ``redacted_sha256`` where it can be redacted."""
CUT_OFF: Final = "cut-off"
"""``run`` was stopped and may be resumed: ``reason``."""
ABORTED: Final = "aborted"
"""``run`` ended and could not be sealed: ``reason``."""
JUDGED_AGAIN: Final = "judged-again"
"""A sealed ``run`` has another judgement in ``folder``: ``manifest_sha256``, ``result_sha256``, ``verdict``."""
KEY: Final = "key"
"""The verifier key ``key`` of this log comes into use, or is withdrawn: ``state``, ``reason``."""
TORN: Final = "torn"
"""A beginning of a line that a kill left was set aside: ``file``, ``octets``, ``sha256``."""

IN_USE: Final = "in use"
WITHDRAWN: Final = "withdrawn"

_RUN: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
_KEYS: Final = {"n", "kind", "utc_ns", "data"}


def item(bench: str, links: Sequence[str], requirements: Sequence[str]) -> str:
    """What is being certified, as a hash: runs of one item are attempts at the same certificate."""
    return sha256(canonical({"bench": bench, "links": sorted(links), "requirements": sorted(requirements)}))


@dataclass(frozen=True, slots=True)
class Entry:
    """One leaf."""

    n: int
    """Index from 0."""
    kind: str
    utc_ns: int
    """ns since 1970 UTC by the clock of who wrote it."""
    data: Mapping[str, JSON]
    line: bytes
    """The leaf's octets: the line without its newline."""

    @property
    def leaf(self) -> bytes:
        """Its hash in the tree."""
        return merkle.leaf_hash(self.line)

    @property
    def run(self) -> str:
        """Of which run it tells; empty when of none."""
        return self.text("run")

    def text(self, key: str) -> str:
        """A text of its data; empty when it has none."""
        value = self.data.get(key)
        return value if isinstance(value, str) else ""


def entry(line: bytes, n: int, where: str) -> Entry:
    """The entry in ``line``, which must be number ``n``; ArchiveError says ``where`` it is not."""
    try:
        members = parse_object(line, where)
    except (RecursionError, ValueError) as error:  # nesting, lone surrogates
        raise ArchiveError(
            f"plain JSON in {where}", f"{type(error).__name__}", "restore that file from a copy"
        ) from error
    kind, data = members.get("kind"), members.get("data")
    if members.keys() != _KEYS or not isinstance(kind, str) or not isinstance(data, dict) or members["n"] != n:
        raise ArchiveError(f"log entry {n} in {where}", "another object", "restore that file from a copy")
    return Entry(n, kind, integer(members["utc_ns"], f"{where}.utc_ns"), data, line)


@dataclass(frozen=True, slots=True)
class History:
    """A log's entries, added up."""

    entries: tuple[Entry, ...]

    @property
    def leaves(self) -> list[bytes]:
        """Leaf hashes."""
        return [each.leaf for each in self.entries]

    @property
    def origin(self) -> str:
        """The log's name; ArchiveError when entry 0 does not begin a log."""
        if not self.entries or self.entries[0].kind != BEGUN or not self.entries[0].text("origin"):
            raise ArchiveError("a log whose entry 0 names it", "none", "restore the log from a copy")
        return self.entries[0].text("origin")

    @property
    def simulated(self) -> bool:
        """Whether it is the log of simulated runs."""
        return bool(self.entries) and self.entries[0].data.get("simulated") is True

    def key(self, size: int | None = None) -> VerifierKey | None:
        """The key that signs the checkpoint of the first ``size`` entries (all when not given); None: unsigned.

        Raises KeyFileError when the entry that says so holds none.
        """
        said = next((each for each in reversed(self.entries[:size]) if each.kind == KEY), None)
        return None if said is None or said.text("state") != IN_USE else _parsed(said.text("key"))

    def keys(self) -> list[VerifierKey | None]:
        """`key` of every size from 0."""
        found: list[VerifierKey | None] = [None]
        for each in self.entries:
            found.append(self.key(each.n + 1) if each.kind == KEY else found[-1])
        return found

    def attempts(self, wanted: str) -> tuple[Entry, ...]:
        """The plans of one item, in order."""
        return tuple(each for each in self.entries if each.kind == PLAN and each.text("item") == wanted)

    def of(self, run: str) -> tuple[Entry, ...]:
        """Every entry that tells of a run, in order."""
        return tuple(each for each in self.entries if each.run == run)

    def plan(self, run: str) -> Entry | None:
        """The run's first plan entry; None when it was never begun here."""
        return next((each for each in self.of(run) if each.kind == PLAN), None)

    def sealed(self, run: str) -> Entry | None:
        """The run's first sealing; a second one would be a rewriting. None when it was never sealed."""
        return next((each for each in self.of(run) if each.kind == SEALED), None)

    def predates(self, run: str) -> bool:
        """Whether the run's name says that it was begun before the log was."""
        stamp = _RUN.match(run)
        begun = self.entries[0].utc_ns if self.entries else 0
        return stamp is not None and _second(stamp[0]) < begun // 1_000_000_000

    @property
    def unended(self) -> tuple[Entry, ...]:
        """Plans of runs that neither ended nor were stopped, as far as the log was told: running, or killed."""
        open_runs: dict[str, Entry] = {}
        first: dict[str, Entry] = {}
        for each in self.entries:
            if each.kind == PLAN:
                first.setdefault(each.run, each)
            if each.kind in (PLAN, RESUMED):
                open_runs[each.run] = first.get(each.run, each)
            elif each.kind in (SEALED, CUT_OFF, ABORTED):
                open_runs.pop(each.run, None)
        return tuple(open_runs.values())


@functools.lru_cache(maxsize=8)
def _parsed(text: str) -> VerifierKey:
    """The key of a `KEY` entry; asked for again with every checkpoint."""
    return VerifierKey.parse(text, "an entry of the log")


def _second(stamp: str) -> float:
    """Time in a run's name, s since 1970 UTC; never, when it holds none."""
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return float("inf")
