"""What goes wrong with an answer on its way, on demand: at counted messages, or by chance from a seed."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What may happen."""

    LATE = "late"
    """The answer is whole, but comes ``seconds`` later; so does what follows it."""
    PARTIAL = "partial"
    """Half of the answer, and never the rest."""
    GARBLED = "garbled"
    """Some of its octets are others."""
    DUPLICATED = "duplicated"
    """The answer comes twice."""
    STALE = "stale"
    """The answer before it comes instead."""
    LOST = "lost"
    """No answer, though the message was obeyed."""
    DROPPED = "dropped"
    """The message was obeyed, but the connection ends instead of the answer."""
    OVERFLOW = "overflow"
    """The instrument's error queue is full before it reads the message."""
    REFUSED = "refused"
    """The message is not obeyed: an execution error, or DENY."""


_BEFORE: Final = frozenset({Kind.OVERFLOW, Kind.REFUSED})
_ANY: Final = _BEFORE | {Kind.DROPPED}
"""What strikes messages without an answer too."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind, and when: at the n-th messages (from 1) that contain ``match``, and at any of them by ``probability``.

    Counted are messages that have an answer to spoil; for dropped, overflow and refused, all.
    """

    kind: Kind
    at: frozenset[int] = frozenset()
    probability: float = 0.0
    seconds: float = 1.0
    """How late."""
    match: str = ""
    """Whatever its case; empty: every message."""

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1 or not 0 <= self.seconds < 3600 or any(n < 1 for n in self.at):
            raise ValueError(f"{self} is no fault: probability 0 to 1, seconds 0 to 3600, messages count from 1")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is to be sent to the client."""

    octets: bytes
    after_s: float = 0.0
    """How long it is held back, after the instrument has said it."""
    whole: bool = True
    """False: its end is missing, and never comes."""
    hang_up: bool = False
    """The connection ends after it."""
    spent_ns: int = 0
    """How long the instrument blocked before it answered, ns of its clock."""


class Faults:
    """A plan of faults for a carrier. Counts over all its conversations; safe to use from several threads."""

    def __init__(self, *faults: Fault, seed: int = 0) -> None:
        self._faults = faults
        self._counts = [0] * len(faults)
        self._chance = random.Random(seed)  # noqa: S311 - a rehearsal that can be repeated, no secret
        self._lock = threading.Lock()

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, object]], seed: int = 0) -> Faults:
        """The plan of a lab table: ``[{kind = "late", at = [3], seconds = 2.0}, {kind = "lost", probability = 0.01}]``.

        Raises ValueError for keys, kinds and values that are none.
        """
        known = {field.name for field in fields(Fault)}
        found = []
        for row in rows:
            if unknown := set(row) - known:
                raise ValueError(f"a fault has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
            values = dict(row)
            try:
                kind = Kind(str(values.pop("kind", "")))
                at = values.pop("at", ())
                each = at if isinstance(at, list | tuple | set | frozenset) else (at,)
                counts = frozenset(int(str(n)) for n in each)
                found.append(
                    Fault(
                        kind,
                        counts,
                        float(str(values.pop("probability", 0.0))),
                        float(str(values.pop("seconds", 1.0))),
                        str(values.pop("match", "")),
                    )
                )
            except ValueError as why:
                raise ValueError(f"{dict(row)!r} is no fault: {why}") from why
        return cls(*found, seed=seed)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def before(self, message: bytes) -> frozenset[Kind]:
        """What strikes the message before the instrument reads it."""
        return frozenset(fault.kind for fault in self._struck(message, _BEFORE))

    def after(self, message: bytes, answer: bytes, previous: bytes, end: int) -> list[Delivery]:
        """What comes of an answer (empty: none), whose last ``end`` octets end it; ``previous``: the one before it."""
        struck = self._struck(message, frozenset(Kind) - _BEFORE if answer else _ANY - _BEFORE)
        kinds = {fault.kind for fault in struck}
        if Kind.DROPPED in kinds:
            return [Delivery(b"", hang_up=True)]
        if not answer or Kind.LOST in kinds:
            return []
        found = Delivery(previous if Kind.STALE in kinds else answer)
        if Kind.GARBLED in kinds:
            found = replace(found, octets=self._garbled(found.octets, end))
        if Kind.PARTIAL in kinds:
            found = replace(found, octets=found.octets[: max(1, (len(found.octets) - end) // 2)], whole=False)
        late = [fault.seconds for fault in struck if fault.kind == Kind.LATE]
        if late:
            found = replace(found, after_s=max(late))
        if not found.octets:
            return []
        return [found, replace(found, after_s=0.0)] if Kind.DUPLICATED in kinds else [found]

    def _struck(self, message: bytes, kinds: frozenset[Kind]) -> list[Fault]:
        said = message.upper()
        struck = []
        with self._lock:
            for at, fault in enumerate(self._faults):
                if fault.kind not in kinds or fault.match.upper().encode("latin-1", "replace") not in said:
                    continue
                self._counts[at] += 1
                if self._counts[at] in fault.at or (fault.probability and self._chance.random() < fault.probability):
                    struck.append(fault)
        return struck

    def _garbled(self, octets: bytes, end: int) -> bytes:
        body = bytearray(octets[: len(octets) - end])
        if body:
            with self._lock:
                for _ in range(1 + len(body) // 8):
                    body[self._chance.randrange(len(body))] = self._chance.randrange(128, 256)
        return bytes(body) + octets[len(octets) - end :]


NONE: Final = Faults()
"""Nothing goes wrong."""
