"""Safe states: last opened first, signals wait, a broken session is opened anew, nothing is taken for granted."""

import os
import signal

from drivers.capability import Safe
from drivers.errors import PortLostError
from drivers.port import Identity
from harness.safety import make_safe


class FakeLaser:
    """Fake of hardware that emits: remembers whether it was switched off, and may lose its session."""

    unconfirmed: tuple[str, ...] = ()

    def __init__(self, name: str, order: list[str], *, broken: bool = False, silent: bool = False) -> None:
        self.name, self.order, self.broken, self.silent = name, order, broken, silent
        self.on = True
        self.closed = False

    @property
    def identity(self) -> Identity:
        return Identity("millicert", "FAKE", f"SIM-{self.name}", "1")

    def safe_state(self) -> Safe:
        if self.broken:
            raise PortLostError("an answer", "silence", "check the cable")
        self.order.append(self.name)
        self.on = False
        return Safe(confirmed=not self.silent, said="off" if not self.silent else "does not say")

    def close(self) -> None:
        self.closed = True


def test_the_last_opened_is_made_safe_first() -> None:
    order: list[str] = []
    outcomes = make_safe({name: FakeLaser(name, order) for name in ("laser", "edfa", "oxc")})
    assert order == ["oxc", "edfa", "laser"]
    assert all(each.safe.confirmed for each in outcomes)


def test_a_broken_session_is_opened_anew_and_others_are_still_made_safe() -> None:
    order: list[str] = []
    devices = {"laser": FakeLaser("laser", order, broken=True), "voa": FakeLaser("voa", order)}
    outcomes = make_safe(devices, lambda name: FakeLaser(f"{name}-anew", order))
    assert order == ["voa", "laser-anew"]
    assert devices["laser"].closed
    assert all(each.safe.confirmed for each in outcomes)


def test_what_cannot_be_reached_or_does_not_say_is_not_confirmed() -> None:
    order: list[str] = []
    devices = {"laser": FakeLaser("laser", order, broken=True), "voa": FakeLaser("voa", order, silent=True)}
    found = {each.name: each for each in make_safe(devices)}
    assert not found["laser"].safe.confirmed
    assert not found["voa"].safe.confirmed
    assert "NOT CONFIRMED SAFE" in found["laser"].line
    assert "silence" in found["laser"].line


def test_signals_wait_until_everything_is_off() -> None:
    order: list[str] = []
    got: list[int] = []

    class Interrupted(FakeLaser):
        def safe_state(self) -> Safe:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                os.kill(os.getpid(), number)
            assert not got, "a signal came through while lasers were being switched off"
            return super().safe_state()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda n, _: got.append(n)) for number in numbers}
    try:
        make_safe({"laser": FakeLaser("laser", order), "edfa": Interrupted("edfa", order)})
        assert order == ["edfa", "laser"]
        assert sorted(got) == sorted(numbers)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
