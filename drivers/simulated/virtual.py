"""A clock that goes only when somebody waits."""

from __future__ import annotations

import threading


class VirtualClock:
    """Time of a simulated laboratory: an hour of settling costs nothing. Safe to use from several threads."""

    def __init__(self, start_ns: int = 0) -> None:
        self._now_ns = start_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Ns since an instant of its own; never goes back."""
        return self._now_ns

    def sleep(self, seconds: float) -> None:
        """Let so many seconds have passed, for everybody; none when negative."""
        self.advance(round(seconds * 1e9))

    def advance(self, ns: int) -> None:
        """Let so many ns have passed, for everybody; none when negative."""
        if ns > 0:
            with self._lock:
                self._now_ns += ns
