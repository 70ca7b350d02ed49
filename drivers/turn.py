"""A turn: a session to oneself for several exchanges."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from drivers.errors import PortTimeoutError


@contextlib.contextmanager
def turn(lock: threading.RLock, resource: str, within_s: float) -> Iterator[None]:
    """Hold ``lock``, which guards the session with ``resource``.

    Raises PortTimeoutError when others hold it longer than ``within_s`` seconds.
    """
    if not lock.acquire(timeout=within_s):
        raise PortTimeoutError(
            f"a turn at {resource} within {within_s:g} s",
            "another exchange that takes longer",
            "ask less often, or give each reader its own session",
        )
    try:
        yield
    finally:
        lock.release()
