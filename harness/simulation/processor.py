"""The one processor that the fibre spins on, kept free of everything else of the run."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from harness.errors import SimulationError


class Processor:
    """Reserves the last allowed CPU for the fibre and moves every thread of this process off it.

    Children inherit the restriction. With a single CPU nothing is reserved. One may be held at a time.
    """

    _taken = threading.Lock()

    def __init__(self) -> None:
        if not self._taken.acquire(blocking=False):
            raise SimulationError(
                "one simulated metro at a time", "another that is still open in this process", "close it first"
            )
        self._before = os.sched_getaffinity(0)
        self.reserved: int | None = None
        """The fibre's CPU, or None when there is only one."""
        self.others: frozenset[int] = frozenset(self._before)
        """Where everything else runs."""
        if len(self._before) >= 2:
            self.reserved = max(self._before)
            self.others = frozenset(self._before - {self.reserved})
            _confine(self.others)

    def release(self) -> None:
        """Give the CPU back: every thread of this process may run where it could before."""
        if self.reserved is not None:
            _confine(self._before)
            self.reserved = None
        self._taken.release()


def _confine(cpus: frozenset[int] | set[int]) -> None:
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), cpus)
        except ProcessLookupError:
            continue  # that thread has ended meanwhile
