"""The gatherer: polls every source of clock evidence beside the measurement, whatever the sources do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from harness.clock import ClockState
from harness.evidence.catalogue import CATALOGUE, Source
from harness.evidence.kernel import Kernel
from harness.evidence.simulated import Claims, Simulated
from harness.link import Link
from harness.uncertainty import counting

PERIOD_S: Final = 1.0
TIMEOUT_S: Final = 2.0
CAPACITY: Final = 200_000
"""States kept: two sources for a day at 1 Hz; with the 2 kB of raw text that chronyd or a receiver gives, 400 MB."""


class _Simulation(Protocol):
    @property
    def clocks(self) -> Mapping[str, Claims]: ...


class _Bench(Protocol):
    @property
    def simulation(self) -> _Simulation | None: ...

    @property
    def evidence(self) -> Mapping[str, Mapping[str, object]]: ...


class _Heard:
    """A source whose last state other sources of its site may ask for."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name
        self.site = source.site
        self.last: ClockState | None = None

    def poll(self, at_ns: int) -> ClockState:
        """The source's own."""
        self.last = self.source.poll(at_ns)
        return self.last

    def close(self) -> None:
        """The source's own, where it has one."""
        close = getattr(self.source, "close", None)
        if close is not None:
            close()


def _last_of(told: Mapping[str, _Heard]) -> Callable[[str], ClockState | None]:
    def last(name: str) -> ClockState | None:
        return told[name].last if name in told else None

    return last


def sources_of(bench: _Bench, link: Link, tai_utc_s: int | None = None) -> list[Source]:
    """The sources that the bench declares for the ends of a link and that can be polled here.

    In-band evidence comes with the samples instead. The daemons of this host speak for the near end; in a simulation
    both ends are on this host.
    """
    found: list[Source] = []
    for site in (link.near, link.far):
        told: dict[str, _Heard] = {}
        for name in site.clock.sources:
            if name == "simulated" and bench.simulation is not None and site.name in bench.simulation.clocks:
                found.append(Simulated(site.name, bench.simulation.clocks[site.name], tai_utc_s))
            elif name == "kernel" and (site is link.near or bench.simulation is not None):
                found.append(Kernel(site.name))
            elif name in CATALOGUE and (site is link.near or bench.simulation is not None or CATALOGUE[name].anywhere):
                entry = CATALOGUE[name]
                settings = bench.evidence.get(site.name, {}).get(name)
                heard = _Heard(
                    entry.make(site.name, entry.settings() if settings is None else settings, _last_of(told))
                )
                told[name] = heard
                found.append(heard)
    return found


class _Lane:
    """One source with the thread that waits for it."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.rounds = 0
        """Polls that ended."""
        self.busy_since: float | None = None
        self.missed = 0
        """Timeouts noted for the poll under way."""
        self.dropped = 0
        self.last: ClockState | None = None

    def unknown(self, at_ns: int, why: str) -> ClockState:
        return ClockState(self.source.site, self.source.name, at_ns, None, None, None, None, None, "", why)


class EvidenceGatherer:
    """Polls ``sources`` every ``period_s`` from `start`, which waits for a first reading, to `stop`, after a last one.

    Each source has its own thread: one that raises, hangs or dies gives states that say so (synchronised unknown), once
    per ``timeout_s``, and holds up nothing. At most ``capacity`` states are kept; what does not fit is replaced by one
    unknown state per source, so that lost evidence never looks like good evidence.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        period_s: float = PERIOD_S,
        *,
        timeout_s: float = TIMEOUT_S,
        capacity: int = CAPACITY,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self._lanes = [_Lane(source) for source in sources]
        self._period_s = period_s
        self._timeout_s = timeout_s
        self._capacity = capacity
        self._now = now
        self._kept: list[ClockState] = []
        self._changed = threading.Condition()
        self._stopping = False
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin; returns when every source has been heard once, or has had its time."""
        for lane in self._lanes:
            self._threads.append(threading.Thread(target=self._work, args=(lane,), daemon=True, name=lane.source.name))
        self._threads.append(threading.Thread(target=self._watch, daemon=True, name="evidence watch"))
        for thread in self._threads:
            thread.start()
        self._wait_for(1)

    def stop(self) -> None:
        """Poll every source once more, then end. Safe to call twice."""
        with self._changed:
            if self._stopping or not self._threads:
                return
            self._stopping = True
            # the poll under way began before now, so it does not count as one after the run
            rounds = {id(lane): lane.rounds + (lane.busy_since is not None) + 1 for lane in self._lanes}
            self._changed.notify_all()
        deadline = time.monotonic() + self._timeout_s
        with self._changed:
            for lane in self._lanes:
                while lane.rounds < rounds[id(lane)] and time.monotonic() < deadline:
                    self._changed.wait(max(0.001, deadline - time.monotonic()))
                if lane.rounds < rounds[id(lane)]:
                    self._keep(lane, lane.unknown(self._now(), f"no answer within {self._timeout_s} s after the run"))
            self._capacity = len(self._kept)  # whoever answers now is too late
        for lane in self._lanes:
            close = getattr(lane.source, "close", None)
            if close is not None:
                close()

    @property
    def states(self) -> tuple[ClockState, ...]:
        """Everything gathered and not yet taken, in order of time."""
        with self._changed:
            lost = [
                lane.unknown(self._now(), f"{lane.dropped} readings did not fit")
                for lane in self._lanes
                if lane.dropped
            ]
            return tuple(sorted([*self._kept, *lost], key=lambda state: state.at_ns))

    def take(self) -> tuple[ClockState, ...]:
        """The same, and forget it: a long run takes evidence to its journal now and then."""
        with self._changed:
            taken = self.states
            self._kept.clear()
            for lane in self._lanes:
                lane.dropped = 0
            return taken

    def latest(self, site: str) -> tuple[ClockState, ...]:
        """The last reading of each source of a site."""
        with self._changed:
            return tuple(lane.last for lane in self._lanes if lane.source.site == site and lane.last is not None)

    def claim(self, site: str) -> tuple[int | None, bool]:
        """(bound in ns, synchronised) that may be said of a site's clock now: the worst of the sources that count.

        (None, False) when one denies synchronisation, none knows, or all are older than two timeouts.
        """
        old = self._now() - int((self._period_s + 2 * self._timeout_s) * 10**9)
        fresh = [state for state in self.latest(site) if state.at_ns >= old]
        good = {state.source: state.bound_ns for state in fresh if state.synchronised and state.bound_ns is not None}
        if not good or any(state.synchronised is False for state in fresh):
            return None, False
        return max(good[source] for source in counting(good)), True

    # -- threads -------------------------------------------------------------------------------------------

    def _wait_for(self, rounds: int) -> None:
        deadline = time.monotonic() + self._timeout_s
        with self._changed:
            while any(lane.rounds < rounds for lane in self._lanes) and time.monotonic() < deadline:
                self._changed.wait(max(0.001, deadline - time.monotonic()))

    def _keep(self, lane: _Lane, state: ClockState) -> None:
        """Wants the lock."""
        lane.last = state
        if len(self._kept) < self._capacity:
            self._kept.append(state)
        else:
            lane.dropped += not self._stopping

    def _work(self, lane: _Lane) -> None:
        due = time.monotonic()
        while True:
            with self._changed:
                last = self._stopping
                lane.busy_since, lane.missed = time.monotonic(), 0
            at_ns = self._now()
            try:
                state = lane.source.poll(at_ns)
            except Exception as why:
                state = lane.unknown(at_ns, f"{type(why).__name__}: {why}")
            with self._changed:
                lane.busy_since = None
                lane.rounds += 1
                self._keep(lane, state)
                self._changed.notify_all()
                if last:
                    return
                due = max(due + self._period_s, time.monotonic())
                while not self._stopping and time.monotonic() < due:
                    self._changed.wait(max(0.001, due - time.monotonic()))

    def _watch(self) -> None:
        """Note sources that do not answer; their threads may wait forever."""
        with self._changed:
            while not self._stopping:
                for lane in self._lanes:
                    if lane.busy_since is None:
                        continue
                    silent_s = time.monotonic() - lane.busy_since
                    if silent_s >= self._timeout_s * (lane.missed + 1):
                        lane.missed += 1
                        self._keep(
                            lane, lane.unknown(self._now(), f"no answer for {self._timeout_s * lane.missed:g} s")
                        )
                self._changed.wait(self._timeout_s / 4)
