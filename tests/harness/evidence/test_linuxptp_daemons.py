"""Real ptp4l daemons of Debian's linuxptp, each on a clock whose true error is known: what is said of them is true."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from harness.clock import ClockState
from harness.evidence import pmc as pmc_module
from harness.evidence.linuxptp import LinuxPtp, Settings

if TYPE_CHECKING:
    from tests.harness.evidence.ptp_rehearsal import Daemon, Rehearsal

TAI_UTC_NS = 37 * 10**9
NOISE_NS = 200_000
"""What software stamps on a loaded machine may add; a settled servo is far better."""
DECLARED = Settings(
    network_ns=NOISE_NS,
    network_origin="software stamps on veth, assumed",
    asymmetry_ns=0,
    asymmetry_origin="one veth",
)


@pytest.fixture(scope="module")
def ptp() -> ModuleType:
    """`ptp_rehearsal.py`; skips where no rehearsal is possible."""
    path = Path(__file__).with_name("ptp_rehearsal.py")
    name = f"_loaded_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    module = sys.modules[name]
    if reason := module.obstacle():
        pytest.skip(reason)
    return module


@pytest.fixture
def city(ptp: ModuleType) -> Iterator[Rehearsal]:
    """Namespaces and daemons, gone afterwards."""
    with ptp.Rehearsal() as made:
        yield made


def said(state: ClockState, words: str) -> bool:
    return any(words in line for line in state.raw.splitlines() if line.startswith("# "))


def grandmaster(city: Rehearsal, space: str, interface: str, priority: int) -> Daemon:
    """One whose clock is TAI, as a telecom grandmaster's."""
    made = city.start(
        space,
        (interface,),
        city.clock(error_ns=TAI_UTC_NS),
        priority1=priority,
        clockClass=6,
        clockAccuracy="0x21",
    )
    made.set_grandmaster()
    return made


def pair(city: Rehearsal, receive_ns: int = 0, **options: int) -> tuple[Daemon, Daemon]:
    """A grandmaster, with a slave that starts 5 ms and 25 ppm off and hears it ``receive_ns`` late."""
    one, other = city.namespace(), city.namespace()
    near, far = city.join(one, other)
    master = grandmaster(city, one, near, 10)
    clock = city.clock(error_ns=5_000_000, natural_ppb=25_000, receive_ns=receive_ns)
    return master, city.start(other, (far,), clock, slaveOnly=1, priority1=200, **options)


def follow(daemon: Daemon, declared: Settings = DECLARED) -> LinuxPtp:
    return LinuxPtp("b", replace(declared, socket=str(daemon.socket), log=(str(daemon.log),)))


class Settled:
    """Polls until a state is as wanted; told with every state when it never is."""

    def __init__(self, ptp: ModuleType, source: LinuxPtp, daemon: Daemon) -> None:
        self._ptp = ptp
        self._source = source
        self._daemon = daemon
        self.states: list[ClockState] = []
        self.error_ns = 0
        """True error of the clock at the last poll."""

    def poll(self) -> ClockState:
        state = self._source.poll(time.time_ns())
        self.error_ns = self._daemon.clock.true_error_ns()
        self.states.append(state)
        return state

    def until(self, what: str, wanted: Callable[[ClockState], bool]) -> ClockState:
        def look() -> ClockState | None:
            state = self.poll()
            return state if wanted(state) else None

        found: ClockState = self._ptp.until(what, look, lambda: "\n".join(each.raw[:300] for each in self.states[-5:]))
        return found

    def locked(self, error_ns: int = 0) -> ClockState:
        """Synchronised, with a servo at rest while the true error is as given."""

        def rest(state: ClockState) -> bool:
            return (
                state.synchronised is True
                and state.offset_ns is not None
                and abs(state.offset_ns) < NOISE_NS // 2
                and all(part.half_width_ns < NOISE_NS for part in state.parts if part.name_en == "PTP servo residual")
                and abs(self.error_ns - error_ns) < NOISE_NS // 2
            )

        return self.until("the servo settles", rest)


def test_a_servo_cannot_see_half_the_asymmetry_and_only_its_declaration_covers_the_truth(
    ptp: ModuleType, city: Rehearsal
) -> None:
    """8 ms more towards the slave than back: the clock settles 4 ms slow while ptp4l reports next to nothing."""
    asymmetry_ns = 8_000_000
    _, slave = pair(city, receive_ns=asymmetry_ns)
    declared = replace(DECLARED, asymmetry_ns=asymmetry_ns, asymmetry_origin="the shim's own setting")
    watch = Settled(ptp, follow(slave, declared), slave)
    state = watch.locked(-asymmetry_ns // 2)
    assert slave.clock.steered > 0
    assert state.bound_ns is not None
    assert abs(watch.error_ns) <= state.bound_ns
    widths = {part.name_en: part.half_width_ns for part in state.parts}
    assert widths["PTP path asymmetry"] == asymmetry_ns // 2
    assert abs(watch.error_ns) > state.bound_ns - widths["PTP path asymmetry"]
    undeclared = Settled(ptp, follow(slave, replace(declared, asymmetry_ns=None)), slave)
    naive = undeclared.locked(-asymmetry_ns // 2)
    assert (naive.bound_ns, naive.parts) == (None, ())
    assert said(naive, "asymmetry_ns is not declared")
    # a step behind the servo's back
    slave.clock.jump(10**9)
    jumped = watch.until("the log tells of the jump", lambda state: said(state, "clock jumped forward"))
    assert (jumped.synchronised, jumped.bound_ns) == (False, None)


def test_a_locked_clock_its_time_scale_and_the_loss_of_its_grandmaster(
    ptp: ModuleType, city: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    master, slave = pair(city)
    watch = Settled(ptp, follow(slave), slave)
    state = watch.locked()
    assert state.bound_ns is not None
    assert abs(watch.error_ns) <= state.bound_ns
    assert (state.tai_utc_s, state.leap_pending, state.skew_ppb) == (37, False, None)
    assert state.identity.endswith("steps 1 class 6")
    assert "portState               SLAVE" in state.raw
    assert "log: ptp4l[" in "".join(each.raw for each in watch.states)

    monkeypatch.setattr(pmc_module, "SOCKETS", ("/nonexistent/ptp4l", str(slave.socket)))
    probed = Settled(ptp, LinuxPtp("b"), slave).until("found by probing", lambda s: s.synchronised is True)
    assert probed.bound_ns is None
    foreign = LinuxPtp("b", Settings(socket=str(slave.socket), domain=5)).poll(time.time_ns())
    assert (foreign.synchronised, foreign.identity) == (None, "")

    master.set_grandmaster(leap61=1)
    watch.until("a leap second is announced", lambda s: s.leap_pending is True)
    master.set_grandmaster(currentUtcOffsetValid=0)
    watch.until("it is withdrawn, so is the UTC offset", lambda s: s.leap_pending is False and s.tai_utc_s is None)
    master.set_grandmaster(clockClass=7)
    watch.until("holdover shows in the identity", lambda s: s.synchronised is True and s.identity.endswith("class 7"))
    master.set_grandmaster(clockClass=165)
    watch.until("out of holdover is out", lambda s: s.synchronised is False and said(s, "clockClass 165"))
    master.set_grandmaster(ptpTimescale=0)
    watch.until("arbitrary time is unknown", lambda s: s.synchronised is None and said(s, "arbitrary, not TAI"))

    source = follow(slave)
    lost = Settled(ptp, source, slave)
    lost.until("a Sync is seen", lambda s: source.age_ns is not None)
    master.kill()
    lost.poll()  # may still see the last one
    ages = [source.age_ns or 0]

    def silent(state: ClockState) -> bool:
        ages.append(source.age_ns or 0)
        return state.synchronised is False

    lost.until("silence shows", silent)
    assert ages == sorted(ages)
    final = lost.until("nobody is followed", lambda s: said(s, "LISTENING"))
    assert (final.synchronised, final.bound_ns, final.identity) == (False, None, "")
    lost.poll()
    assert (source.age_ns or 0) > max(ages)


def test_a_change_of_grandmaster_changes_the_identity_and_spoils_the_poll(ptp: ModuleType, city: Rehearsal) -> None:
    """A clock with two ports; a better grandmaster appears behind the second."""
    middle, one, other = city.namespace(), city.namespace(), city.namespace()
    to_one, at_one = city.join(middle, one)
    to_other, at_other = city.join(middle, other)
    grandmaster(city, one, at_one, 100)
    slave = city.start(middle, (to_one, to_other), city.clock(error_ns=-3_000_000, natural_ppb=-10_000), priority1=250)
    watch = Settled(ptp, follow(slave), slave)
    before = watch.locked()
    assert before.raw.count("RESPONSE MANAGEMENT PORT_DATA_SET") == 2
    grandmaster(city, other, at_other, 50)
    after = watch.until(
        "the better one is followed", lambda s: s.synchronised is True and s.identity != before.identity
    )
    old, new = before.identity.split()[0], after.identity.split()[0]
    assert old != new
    spoilt = [state for state in watch.states if said(state, f"selected clock {new} instead of {old}")]
    assert spoilt
    assert all(state.synchronised is False for state in spoilt)
    again = watch.locked()
    assert again.bound_ns is not None
    assert abs(watch.error_ns) <= again.bound_ns


def test_a_free_running_clock_follows_nobody(ptp: ModuleType, city: Rehearsal) -> None:
    """It measures its offset and lets it be: no evidence of synchronisation."""
    _, slave = pair(city, free_running=1)
    watch = Settled(ptp, follow(slave), slave)
    watch.until("it hears a grandmaster", lambda s: printed_offset(s) != 0)
    state = watch.poll()
    assert state.synchronised is False
    assert said(state, "UNCALIBRATED")
    assert slave.clock.steered == 0


def printed_offset(state: ClockState) -> int:
    """master_offset as printed, ns; 0 before there is one."""
    lines = [line.split() for line in state.raw.splitlines() if line.startswith("\t\tmaster_offset")]
    return int(lines[0][1]) if lines else 0
