"""The gatherer against sources that work, raise, hang and die."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.bench import load, parse
from harness.clock import ClockState
from harness.evidence import catalogue, phc
from harness.evidence.gatherer import EvidenceGatherer, sources_of


class Fake:
    """A source with a behaviour of its own."""

    def __init__(self, act: Callable[[ClockState], ClockState], name: str = "fake") -> None:
        self.site = "a"
        self.name = name
        self.polls = 0
        self._act = act

    def poll(self, at_ns: int) -> ClockState:
        self.polls += 1
        return self._act(ClockState(self.site, self.name, at_ns, True, 50, 5, 37, False, "id", f"poll {self.polls}"))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited 30 s in vain"
        time.sleep(0.005)


def test_readings_before_during_and_after() -> None:
    source = Fake(lambda state: state)
    with EvidenceGatherer([source], 0.02, timeout_s=30) as gatherer:
        begun = time.time_ns()
        assert len(gatherer.states) >= 1
        assert gatherer.states[0].at_ns <= begun
        until(lambda: source.polls > 3)
        ended = time.time_ns()
    states = gatherer.states
    assert states[-1].at_ns >= ended
    assert [s.at_ns for s in states] == sorted(s.at_ns for s in states)
    assert len(states) == source.polls
    assert all(s.synchronised for s in states)
    gatherer.stop()


def test_starting_waits_for_a_slow_first_reading() -> None:
    def act(state: ClockState) -> ClockState:
        time.sleep(0.2)
        return state

    with EvidenceGatherer([Fake(act)], 3600, timeout_s=30) as gatherer:
        assert len(gatherer.states) == 1


def test_a_source_that_raises_is_unknown_and_polled_again() -> None:
    def act(state: ClockState) -> ClockState:
        if state.raw == "poll 1":
            raise RuntimeError("no such device")
        return state

    source = Fake(act)
    with EvidenceGatherer([source], 0.01, timeout_s=30) as gatherer:
        until(lambda: source.polls > 2)
    first, second, *_ = gatherer.states
    assert (first.synchronised, first.bound_ns) == (None, None)
    assert first.raw == "RuntimeError: no such device"
    assert second.synchronised is True


def test_a_source_that_hangs_is_noticed_and_holds_up_nothing() -> None:
    release = threading.Event()

    def act(state: ClockState) -> ClockState:
        if state.raw == "poll 2":
            release.wait(60)
        return state

    stuck, fine = Fake(act, "stuck"), Fake(lambda state: state, "fine")
    gatherer = EvidenceGatherer([stuck, fine], 0.02, timeout_s=0.2)
    gatherer.start()
    until(lambda: any("no answer for 0.4 s" in s.raw for s in gatherer.states) and fine.polls > 2)
    gatherer.stop()
    release.set()
    of = {name: [s for s in gatherer.states if s.source == name] for name in ("stuck", "fine")}
    assert of["stuck"][-1].synchronised is None
    assert "after the run" in of["stuck"][-1].raw
    assert len([s for s in of["fine"] if s.synchronised]) > 2


def test_what_a_source_says_after_the_end_is_not_heard() -> None:
    release = threading.Event()
    heard = threading.Event()

    def act(state: ClockState) -> ClockState:
        release.wait(60)
        heard.set()
        return state

    gatherer = EvidenceGatherer([Fake(act)], 0.02, timeout_s=0.1)
    gatherer.start()
    gatherer.stop()
    before = gatherer.states
    release.set()
    heard.wait(30)
    until(lambda: not any(t.name == "fake" and t.is_alive() for t in threading.enumerate()))
    assert gatherer.states == before
    assert all(s.synchronised is None for s in before)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_source_that_kills_its_thread_is_noticed() -> None:
    def act(state: ClockState) -> ClockState:
        raise SystemExit

    gatherer = EvidenceGatherer([Fake(act)], 0.02, timeout_s=0.05)
    gatherer.start()
    until(lambda: len(gatherer.states) >= 2)
    gatherer.stop()
    assert all(s.synchronised is None for s in gatherer.states)


def test_memory_is_bounded_and_lost_readings_show() -> None:
    source = Fake(lambda state: state)
    with EvidenceGatherer([source], 0.0, timeout_s=30, capacity=5) as gatherer:
        until(lambda: source.polls > 20)
    states = gatherer.states
    assert len(states) == 6
    (note,) = (s for s in states if s.synchronised is None)
    assert "readings did not fit" in note.raw


def test_taking_makes_room() -> None:
    source = Fake(lambda state: state)
    with EvidenceGatherer([source], 0.001, timeout_s=30) as gatherer:
        until(lambda: source.polls > 2)
        first = gatherer.take()
        until(lambda: source.polls > len(first) + 2)
    rest = gatherer.states
    assert len(first) + len(rest) == source.polls
    assert not set(first) & set(rest)


def test_the_claim_of_now_is_the_worst_of_all_sources() -> None:
    now = [10**18]
    good = Fake(lambda s: replace(s, source="chrony"), "good")
    wide = Fake(lambda s: replace(s, source="simulated", bound_ns=900), "wide")
    unknown = Fake(lambda s: replace(s, synchronised=None, bound_ns=None), "unknown")
    denied = Fake(lambda s: replace(s, synchronised=False), "denied")
    kernel = Fake(lambda s: replace(s, source="kernel", bound_ns=7_500_000), "kernel")
    no_kernel = Fake(lambda s: replace(s, source="kernel", synchronised=False, bound_ns=None), "kernel")
    for sources, claim in [
        ([good], (50, True)),
        ([good, wide], (900, True)),
        ([good, unknown], (50, True)),
        ([unknown], (None, False)),
        ([good, denied], (None, False)),
        ([good, wide, kernel], (900, True)),
        ([unknown, kernel], (7_500_000, True)),
        ([good, no_kernel], (None, False)),
        ([], (None, False)),
    ]:
        with EvidenceGatherer(sources, 3600, timeout_s=30, now=lambda: now[0]) as gatherer:
            assert gatherer.claim("a") == claim
            assert gatherer.claim("b") == (None, False)
            assert len(gatherer.latest("a")) == len(sources)
    with EvidenceGatherer([good], 1, timeout_s=30, now=lambda: now[0]) as gatherer:
        now[0] += 120 * 10**9
        with gatherer._changed:  # no poll may come between
            gatherer._lanes[0].last = replace(gatherer.latest("a")[0], at_ns=10**18)
            assert gatherer.claim("a") == (None, False)


def test_the_sources_of_a_bench() -> None:
    bench = load("simulated")
    found = sources_of(bench, bench.links[0], 37)
    assert [(s.site, s.name) for s in found] == [("site-a", "simulated"), ("site-b", "simulated")]
    assert all(s.poll(1).tai_utc_s == 37 for s in found)


def test_daemons_of_this_host_never_speak_for_the_far_end() -> None:
    bench = parse(
        '[bench]\nname = "b"\npolicy = "metro-2027"\n'
        + "".join(f'[sites.{n}]\nclock = {{ sources = ["kernel", "chrony"] }}\n' for n in "ab")
        + '[links.ab]\nnear = "a"\nfar = "b"\nfar_address = "10.0.0.2"\n'
        + '[links.ba]\nnear = "b"\nfar = "a"\nfar_address = "10.0.0.1"\n'
    )
    assert {(s.site, s.name) for s in sources_of(bench, bench.link("ab"))} == {("a", "kernel"), ("a", "chrony")}


def test_a_source_that_holds_something_open_is_closed_at_the_end() -> None:
    source = Fake(lambda state: state)
    closed: list[int] = []
    source.close = lambda: closed.append(source.polls)  # type: ignore[attr-defined]
    with EvidenceGatherer([source], 0.02, timeout_s=30):
        assert closed == []
    assert closed == [source.polls]


def test_a_phc_is_told_what_ptp4l_said_last_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mock: no PHC and no ptp4l here. Whoever disciplines the PHC is asked for its last word."""
    asked: list[ClockState | None] = []

    class MockPhc(Fake):
        def __init__(self, site: str, settings: object, follows: Callable[[], ClockState | None]) -> None:
            super().__init__(lambda state: state, "phc")
            self.follows = follows

        def poll(self, at_ns: int) -> ClockState:
            asked.append(self.follows())
            return super().poll(at_ns)

    monkeypatch.setattr(phc, "Phc", MockPhc)
    entry = catalogue.CATALOGUE["linuxptp"]
    mock = replace(entry, make=lambda site, settings, heard: Fake(lambda state: state, "linuxptp"))
    monkeypatch.setitem(catalogue.CATALOGUE, "linuxptp", mock)
    text = """
[bench]
name = "b"
policy = "metro-2027"
[sites.a.clock]
sources = ["linuxptp", "phc"]
phc = { device = "/dev/ptp0", ahead_s = 37 }
[sites.b]
[links.ab]
near = "a"
far = "b"
far_address = "10.0.0.2"
"""
    bench = parse(text)
    ptp4l, hardware = sources_of(bench, bench.links[0])
    hardware.poll(1)
    said = ptp4l.poll(2)
    hardware.poll(3)
    assert asked == [None, said]
