"""The clock of the simulated laboratory."""

from __future__ import annotations

import threading

from drivers.simulated.virtual import VirtualClock


def test_it_goes_only_when_somebody_waits() -> None:
    clock = VirtualClock(5)
    assert clock.now_ns() == 5
    clock.sleep(3600.0)
    assert clock.now_ns() == 5 + 3_600_000_000_000


def test_it_never_goes_back() -> None:
    clock = VirtualClock(5)
    clock.sleep(-1.0)
    clock.advance(-7)
    assert clock.now_ns() == 5


def test_no_wait_of_any_thread_is_lost() -> None:
    clock = VirtualClock()

    def walk() -> None:
        for _ in range(2000):
            clock.advance(1)

    threads = [threading.Thread(target=walk) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.now_ns() == 8000
