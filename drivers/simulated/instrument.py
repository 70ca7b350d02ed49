"""What every simulated instrument has, whatever it speaks: an identity that says it is simulated, and its own time."""

from __future__ import annotations

import threading
from typing import Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.virtual import VirtualClock

SLICE_S: Final = 0.05
"""How soon a device clear ends a blocking operation on a real clock."""


class ClearedError(Exception):
    """A device clear ended what the instrument was doing; nothing is answered."""


class SimulatedInstrument:
    """Identity, clock and operations that take time. Handlers run one at a time, under ``lock``.

    ``begin`` starts an overlapped operation, which goes on while the instrument answers; ``wait`` blocks: the answer
    comes when it is over, and nobody else's instrument is kept waiting by it.

    On a VirtualClock each message costs ``busy_ns``, so that polling always comes to an end.
    """

    def __init__(self, identity: Identity, clock: Clock, *, busy_ns: int) -> None:
        """Raises ValueError for a serial number that could pass for a real one's."""
        if not identity.simulated:
            raise ValueError(
                f"serial number {identity.serial!r} does not begin with SIM-: it could pass for a real one's"
            )
        self.identity = identity
        self.clock = clock
        self.busy_ns = busy_ns
        self.spent_ns = 0
        """How long it has blocked so far, ns of its clock: the part of the time that its client had to wait for it."""
        self.ends = b"\n"
        """What ends an answer."""
        self.echoes = False
        """Whether it repeats what it is told, as a terminal does."""
        self.prompt = b""
        """What it says when it is ready for more."""
        self.done = b""
        """What it says instead of silence to a command without an answer."""
        self.lock = threading.RLock()
        self._virtual = clock if isinstance(clock, VirtualClock) else None
        self._generation = 0
        self._operations = threading.Lock()
        self._pending: list[tuple[int, int, int]] = []
        """(slot, end ns, bits of the operation register) of the overlapped operations."""

    def begin(self, seconds: float, slot: int = 0, bits: int = 0) -> None:
        """Start an overlapped operation of a slot; meanwhile ``bits`` stand in the operation condition register."""
        with self._operations:
            self._pending.append((slot, self.clock.now_ns() + round(seconds * 1e9), bits))

    def busy(self, slot: int | None = None) -> bool:
        """Whether an overlapped operation is under way: of this slot, or (None) of any."""
        return any(slot is None or of == slot for of, _, _ in self._under_way())

    def remaining_s(self, slot: int | None = None) -> float:
        """How long the last overlapped operation of this slot, or (None) of any, still takes."""
        now_ns = self.clock.now_ns()
        ends = (end_ns for of, end_ns, _ in self._under_way() if slot is None or of == slot)
        return max(0, max(ends, default=now_ns) - now_ns) / 1e9

    def finish(self, slot: int | None = None) -> None:
        """End the overlapped operations of this slot, or (None) of all, at once: an abort."""
        with self._operations:
            self._pending = [] if slot is None else [each for each in self._pending if each[0] != slot]

    def wait(self, seconds: float) -> None:
        """Block for so many seconds. Raises ClearedError, which a handler lets through, at a device clear."""
        asked_ns = round(seconds * 1e9)
        if asked_ns <= 0:
            return
        if self._virtual is not None:
            self._virtual.advance(asked_ns)
            self.spent_ns += asked_ns
            return
        generation, began_ns = self._generation, self.clock.now_ns()
        while (left_ns := began_ns + asked_ns - self.clock.now_ns()) > 0:
            if self._generation != generation:
                raise ClearedError
            self.clock.sleep(min(left_ns / 1e9, SLICE_S))
        self.spent_ns += asked_ns

    def clear(self) -> None:
        """Device clear: forget the message under way and what it waits for; from any thread, at any time."""
        self._generation += 1

    def _under_way(self) -> list[tuple[int, int, int]]:
        if not self._pending:
            return []
        with self._operations:  # a status byte is asked for by other threads while a handler begins something
            now_ns = self.clock.now_ns()
            self._pending = [each for each in self._pending if each[1] > now_ns]
            return list(self._pending)

    def _exchange(self) -> None:
        """What a message costs by itself on a virtual clock; a real one goes on its own."""
        if self._virtual is not None:
            self._virtual.advance(self.busy_ns)
            self.spent_ns += self.busy_ns
