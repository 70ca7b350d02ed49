"""What is overdue after a stall leaves in turn: the sender's loop on a clock of our own, with stalls as told."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pytest

from fastpath import schedule
from fastpath.pacing import Pacer

US = 1_000
MS = 1_000_000
SECOND = 1_000 * MS
SEED = "00112233445566778899aabbccddeeff"
RATES = (50, 200, 4_000, 20_000, 100_000)

Offsets = npt.NDArray[np.int64]


@dataclass
class Host:
    """The sender's loop: sending takes time, giving up takes none, a wait ends late by ``sleep_ns``, stalls as told."""

    due: Offsets
    stalls: list[tuple[int, int]] = field(default_factory=list)
    """Instant and length of each, ns, in order."""
    t_max_ns: int = SECOND
    sleep_ns: int = 0
    call_ns: int = 500
    row_ns: int = 300
    sent: list[int] = field(default_factory=list)
    """When each packet left, -1 for one that was given up."""
    paced: list[bool] = field(default_factory=list)
    """Whether the pacer was behind then."""
    ended: int = 0
    """When the last stall ended."""

    def at(self, instant: int) -> int:
        """The clock, when it should show ``instant``: later by the stalls that begin before."""
        while self.stalls and instant >= self.stalls[0][0]:
            begun, length = self.stalls.pop(0)
            instant = self.ended = max(instant, begun + length)
        return instant

    def run(self) -> Host:
        spacing = int(self.due[-1] - self.due[0]) // (len(self.due) - 1)
        pacer = Pacer(spacing, self.t_max_ns)
        now = 0
        while len(self.sent) < len(self.due):
            left = self.due[len(self.sent) :][:64]
            count = pacer.release(left, now)
            if count == 0:
                assert pacer.earliest_ns > now
                now = self.at(pacer.earliest_ns + self.sleep_ns)
                continue
            assert left[count - 1] <= now
            given_up = now - int(left[0]) > self.t_max_ns
            self.sent += [-1 if now - int(each) > self.t_max_ns else now for each in left[:count]]
            self.paced += [pacer.behind and not given_up] * count
            now = self.at(now if given_up else now + self.call_ns + self.row_ns * count)
        return self

    @property
    def lateness(self) -> Offsets:
        return np.array(self.sent) - self.due

    def most(self, window_ns: int) -> int:
        """Most packets that left within a window while the pacer was behind."""
        instants = np.array(self.sent)[np.array(self.paced)]
        return int((np.searchsorted(instants, instants + window_ns, side="right") - np.arange(len(instants))).max())


def offsets(rate: int, kind: str) -> Offsets:
    n = max(100, rate * 2 // 5)
    return schedule.exponential(n, rate, SEED) if kind == "exponential" else schedule.periodic(n, rate)


@pytest.mark.parametrize("kind", ["periodic", "exponential"])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    "more",
    [
        [],
        [(140 * MS, MS)],
        [(135 * MS, 5 * MS), (150 * MS, 300 * US)],
        [(131 * MS + k * MS, MS // 2) for k in range(9)],
    ],
    ids=["one", "and-1-ms", "and-two", "and-many"],
)
def test_no_window_holds_more_than_twice_the_rate_until_the_backlog_is_gone(
    rate: int, kind: str, more: list[tuple[int, int]]
) -> None:
    # rows slower than 1 kpps are late after more than one spacing alone: a stall that makes them so
    first = (100 * MS, max(30 * MS, 5 * SECOND // rate))
    due = offsets(rate, kind)
    host = Host(due, [first, *more], sleep_ns=60 * US if rate < 10_000 else 0).run()
    assert sum(host.paced) > 4
    for window in (0, 1, 10 * US, 100 * US, 333 * US, MS, 7 * MS, 50 * MS):
        assert host.most(window) <= 2 * rate * (window + 100 * US) / SECOND + 2
    assert min(host.sent) >= 0
    # it stays behind until a packet is not overdue at all, so what follows the last paced one is on time
    last = max(np.flatnonzero(host.paced))
    assert np.all(host.lateness[last + 1 :] < MS)
    assert host.lateness[-1] < MS


@pytest.mark.parametrize("kind", ["periodic", "exponential"])
@pytest.mark.parametrize("rate", [200, 4_000, 20_000, 100_000])
@pytest.mark.parametrize("sleep_ns", [0, 60 * US, 150 * US, 300 * US, 900 * US])
def test_a_host_whose_sleep_is_coarse_catches_up_as_well(rate: int, kind: str, sleep_ns: int) -> None:
    due = offsets(rate, kind)
    stall = max(30 * MS, 5 * SECOND // rate)
    host = Host(due, [(100 * MS, stall)], sleep_ns=sleep_ns).run()
    late = np.flatnonzero(host.lateness > max(MS, SECOND // rate))
    # what fell due in the stall, and in as long again at twice the rate; another stall's length for the coarse sleep
    assert due[late[-1]] - due[late[0]] < 3 * stall


@pytest.mark.parametrize("rate", [20, 200, 4_000, 20_000])
@pytest.mark.parametrize("stall", [150 * MS, 190 * MS, 199 * MS, 300 * MS])
@pytest.mark.parametrize("sleep_ns", [0, 900 * US])
def test_pacing_gives_up_nothing_that_was_in_time_when_the_stall_ended(rate: int, stall: int, sleep_ns: int) -> None:
    due = offsets(rate, "exponential")
    begun = int(due[len(due) // 4])
    host = Host(due, [(begun, stall)], t_max_ns=200 * MS, sleep_ns=sleep_ns).run()
    given_up = due[np.array(host.sent) < 0]
    assert np.all(host.ended - given_up > 200 * MS)
    assert bool(given_up.size) is (stall > 200 * MS)


def test_a_host_that_keeps_time_is_not_paced() -> None:
    due = offsets(4_000, "exponential")
    host = Host(due, [(50 * MS, MS // 2)], sleep_ns=60 * US).run()
    assert not any(host.paced)
    assert host.lateness.max() < MS


def test_nothing_left_to_send_is_said() -> None:
    with pytest.raises(ValueError, match="no packet"):
        Pacer(MS, SECOND).release(np.empty(0, np.int64), 0)
