"""Safe states: what was opened last is made safe first, whatever else happens, and asked whether it is."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from drivers.capability import Device, Safe
from drivers.errors import InstrumentError

HELD: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that wait while lasers are being switched off: a second Ctrl-C must not stop that half-way."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one instrument."""

    name: str
    safe: Safe

    @property
    def line(self) -> str:
        """For terminal and journal."""
        state = "safe" if self.safe.confirmed else "NOT CONFIRMED SAFE"
        return f"{self.name}: {state}: {self.safe.said}"


@contextmanager
def undisturbed() -> Iterator[None]:
    """Signals that end a session wait until this is over, then arrive.

    By handlers, not by a mask: past a mask of this thread the kernel delivers to any other thread of the process.
    Outside of the main thread, where Python handles no signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {number: signal.signal(number, lambda n, _: came.append(n)) for number in HELD}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in dict.fromkeys(came):
            signal.raise_signal(each)


def make_safe(devices: Mapping[str, Device], again: Callable[[str], Device] | None = None) -> tuple[Outcome, ...]:
    """Bring every instrument into its safe state, the last opened first; never raises.

    One that cannot be reached is opened anew by ``again`` and tried once more: its session may be what broke.
    """
    with undisturbed():
        return tuple(Outcome(name, _safe(name, devices[name], again)) for name in reversed(list(devices)))


def _safe(name: str, device: Device, again: Callable[[str], Device] | None) -> Safe:
    try:
        return device.safe_state()
    except (InstrumentError, OSError) as why:
        if again is None:
            return Safe(confirmed=False, said=str(why))
        first = why
    try:
        device.close()
        anew = again(name)
        try:
            return anew.safe_state()
        finally:
            anew.close()
    except (InstrumentError, OSError) as why:
        return Safe(confirmed=False, said=f"{first}; opened anew: {why}")
