"""A Series: the delays of one Flow in sending order, with what is lost or unknown marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from harness.link import Direction
from harness.samples import MISSING, NONE, RECEIVED, SENT, USER, Column, Samples, source
from harness.statistics import LOST, UNKNOWN

Mask = npt.NDArray[np.bool_]


def worst_planes(samples: Samples, minority_ppm: int) -> tuple[tuple[int, int, int, int], list[dict[int, int]]]:
    """Worst source of T1..T4 that counts, and how many received rows carry each source.

    A user-space stamp on at most ``minority_ppm`` of the received rows does not count: it is taken before sending or
    after receiving, so it can only make a delay look longer, and `Series.doubtful` marks its row. A stamp without a
    source is user space.
    """
    received = (samples.flags & RECEIVED) != 0
    combos = np.bincount((samples.flags[received] & 0xFF).astype(np.uint8), minlength=256)
    counts: list[dict[int, int]] = []
    worst = []
    for stamp in range(4):
        shares = dict.fromkeys(range(4), 0)
        for combo in np.flatnonzero(combos):
            shares[(int(combo) >> (2 * stamp)) & 3] += int(combos[combo])
        counts.append(shares)
        total = sum(shares.values())
        poor = shares[NONE] + shares[USER]
        better = [code for code in range(2, 4) if shares[code]]
        worst.append(min(better) if better and poor * 1_000_000 <= minority_ppm * total else USER)
    return (worst[0], worst[1], worst[2], worst[3]), counts


@dataclass(frozen=True)
class Series:
    """The sent packets of one flow in sending order; delays in ns, LOST when nothing came back, UNKNOWN unstamped."""

    flow: int
    samples: Samples
    """The rows of this flow that were sent."""
    planes: tuple[int, int, int, int]

    def __len__(self) -> int:
        return len(self.samples)

    @cached_property
    def received(self) -> Mask:
        """A valid reply came back in time."""
        mask: Mask = (self.samples.flags & RECEIVED) != 0
        return mask

    def _difference(self, later: Column, earlier: Column) -> Column:
        stamped = (later != MISSING) & (earlier != MISSING)
        delay = later - earlier
        return np.where(self.received, np.where(stamped, delay, UNKNOWN), LOST)

    def one_way(self, direction: Direction, bias_ns: int = 0) -> Column:
        """T2 - T1 or T4 - T3 less the calibration bias."""
        s = self.samples
        raw = self._difference(s.t2, s.t1) if direction is Direction.FORWARD else self._difference(s.t4, s.t3)
        if bias_ns:
            raw[(raw != LOST) & (raw != UNKNOWN)] -= bias_ns
        return raw

    @cached_property
    def round_trip(self) -> Column:
        """T4 - T1: one clock."""
        return self._difference(self.samples.t4, self.samples.t1)

    @cached_property
    def turnaround(self) -> Column:
        """T3 - T2 by the far clock."""
        return self._difference(self.samples.t3, self.samples.t2)

    def doubtful(self, direction: Direction) -> Mask | None:
        """Rows whose stamp is a stray user-space one: an upper bound of the delay, no proof of an excess."""
        stamps = (1, 2) if direction is Direction.FORWARD else (3, 4)
        mask: Mask | None = None
        for stamp in stamps:
            if self.planes[stamp - 1] != USER:
                stray: Mask = source(self.samples.flags, stamp) <= USER
                mask = stray if mask is None else mask | stray
        if mask is None or not bool((mask := mask & self.received).any()):
            return None
        return mask


def flows(samples: Samples, planes: tuple[int, int, int, int]) -> Iterator[Series]:
    """Every flow by itself, rows in order of their sequence number, only what was sent."""
    n = len(samples)
    if n == 0:
        return
    count = int(samples.flow.max()) + 1
    regular = bool((samples.flow == np.arange(n, dtype=np.int64) % count).all())
    for flow in range(count):
        if regular:  # the engine's own order: every count-th row, made contiguous because each column is read often
            part = Samples(
                **{
                    name: np.ascontiguousarray(getattr(samples, name)[flow::count])
                    for name in samples.__dataclass_fields__
                }
            )
        else:
            part = samples.where(samples.flow == flow)
        if len(part) == 0:
            continue
        if not bool((part.seq[1:] > part.seq[:-1]).all()):
            part = samples_in(part, np.argsort(part.seq, kind="stable"))
        sent: Mask = (part.flags & (SENT | RECEIVED)) != 0
        if not bool(sent.all()):
            part = part.where(sent)
        if len(part):
            yield Series(flow, part, planes)


def samples_in(samples: Samples, order: npt.NDArray[np.intp]) -> Samples:
    """The rows in another order."""
    return Samples(**{name: getattr(samples, name)[order] for name in samples.__dataclass_fields__})
