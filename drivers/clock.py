"""The time a driver waits by, so that a simulated bench may have its own."""

from __future__ import annotations

import time
from typing import Final, Protocol


class Clock(Protocol):
    """Something that tells how time goes, with a way to let some pass."""

    def now_ns(self) -> int:
        """Ns since an instant of its own; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Come back when so many seconds have passed."""


class WallClock:
    """The host's own time."""

    def now_ns(self) -> int:
        """Ns of CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def sleep(self, seconds: float) -> None:
        """Let the host do something else for so many seconds."""
        time.sleep(max(0.0, seconds))


WALL: Final = WallClock()
