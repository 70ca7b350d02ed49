"""A status register of SCPI: what is, what has been since it was asked, and what of that matters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

ALL: Final = 0x7FFF
"""Bit 15 is never used (SCPI-99 volume 1, 5.4)."""


class StatusRegister:
    """Condition, transition filters, event and enable. ``live`` tells the condition when it depends on time.

    Safe to use from several threads.
    """

    def __init__(self, live: Callable[[], int] | None = None) -> None:
        self.live = live
        self.enable = 0
        self.positive = ALL
        """Which bits are noted when they rise (PTR)."""
        self.negative = 0
        """Which are when they fall (NTR)."""
        self._condition = 0
        self._event = 0
        self._lock = threading.RLock()

    @property
    def condition(self) -> int:
        """What is now; looking changes nothing."""
        with self._lock:
            self.observe()
            return self._condition

    def change(self, condition: int) -> None:
        """What is from now on; transitions that the filters let through are latched."""
        condition &= ALL
        with self._lock:
            rose, fell = condition & ~self._condition, self._condition & ~condition
            self._event |= rose & self.positive | fell & self.negative
            self._condition = condition

    def observe(self) -> None:
        """Take notice of a condition that depends on time."""
        if self.live is not None:
            with self._lock:
                self.change(self.live())

    def take(self) -> int:
        """The events since it was last asked, which forgets them."""
        with self._lock:
            self.observe()
            event, self._event = self._event, 0
            return event

    def summary(self) -> bool:
        """Whether an enabled event is latched."""
        with self._lock:
            self.observe()
            return bool(self._event & self.enable)

    def forget(self) -> None:
        """The part of `*CLS`: no event has been."""
        with self._lock:
            self.observe()
            self._event = 0

    def preset(self) -> None:
        """STATus:PRESet: nothing enabled, every rise noted, no fall (SCPI-99 volume 2, 20.7)."""
        self.enable, self.positive, self.negative = 0, ALL, 0
