"""Order statistics with confidence bounds, effective sample size, loss and packet order, in integers only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from harness.samples import Column

LOST: Final = int(np.iinfo(np.int64).max)
"""The delay of a lost packet: plus infinity (RFC 7679 5.1)."""
UNKNOWN: Final = int(np.iinfo(np.int64).min)
"""Minus infinity: a packet whose delay may be anything, where only a proven excess may count."""

BLOCKS: Final = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
"""Block sizes for the variance of block sums (rules 3.3)."""
MIN_BLOCKS: Final = 32
"""Blocks that must fit: K blocks can show a VIF of at most K B / (K - 1), so n_eff >= K - 1, above the 30 effective
samples that a median asks of each window. With 30 blocks a window that only drifts would be short by one."""


# --- the binomial law, with its rounding under control ------------------------------------------------------------


def _power(num: int, den: int, n: int, bits: int) -> tuple[int, int]:
    """(m, e) with m 2^e <= (num/den)^n and relative error below 2^(4 - bits) n."""

    def cut(m: int, e: int) -> tuple[int, int]:
        drop = m.bit_length() - bits
        return (m >> drop, e + drop) if drop > 0 else (m, e)

    base = cut((num << (bits + den.bit_length())) // den, -bits - den.bit_length())
    result = (1, 0)
    while n:
        if n & 1:
            result = cut(result[0] * base[0], result[1] + base[1])
        base = cut(base[0] * base[0], 2 * base[1])
        n >>= 1
    return result


@lru_cache(maxsize=4096)
def acceptance(n: int, p: Fraction, alpha: Fraction, bits: int = 128) -> tuple[int, int]:
    """(a, b): PASS needs at most ``a`` exceedances of n, FAIL at least ``b``; a = -1 or b = n + 1: impossible.

    ``a`` is the largest r with P(Bin(n, 1-p) <= r) <= alpha, ``b`` the smallest r with P(Bin(n, 1-p) >= r) <= alpha
    (Hahn and Meeker; conservative, safe with ties). Terms are integers in units of 2^-bits of the first one, rounded
    down, with a bound on what rounding took; where that bound straddles alpha the work is repeated with more bits,
    so every returned rank satisfies its defining inequality exactly.
    """
    if n <= 0:
        return -1, n + 1
    q = 1 - p
    up, down = q.numerator * p.denominator, q.denominator * p.numerator  # q/(1-q) = up/down
    # P(<= r) <= x  <=>  sum of terms (the first being 1) <= x p^-n
    m, e = _power(p.denominator, p.numerator, n, bits + n.bit_length() + 8)

    def threshold(x: Fraction) -> tuple[int, int]:
        scaled = x.numerator * m
        shift = bits + e
        low = (scaled << shift) // x.denominator if shift >= 0 else (scaled // x.denominator) >> -shift
        return low, low + (low >> (bits - 8)) + 1

    low_a, high_a = threshold(alpha)
    low_b, high_b = threshold(1 - alpha)
    term = total = 1 << bits
    accept, refuse, r = -1, n + 1, 0
    while True:
        slack = (total * (r + 2) >> (bits - 2)) + r + 1
        for low, high in ((low_a, high_a), (low_b, high_b)):
            if total <= high and total + slack > low and not (total + slack <= low or total > high):
                return acceptance(n, p, alpha, 2 * bits) if bits < 1024 else _exact_acceptance(n, p, alpha)
        if total + slack <= low_a:
            accept = r
        if total > high_b:  # P(<= r) >= 1 - alpha, so P(>= r + 1) <= alpha
            refuse = r + 1
            return accept, refuse
        if r == n:
            return accept, refuse
        term = term * ((n - r) * up) // ((r + 1) * down)
        r += 1
        total += term


def _exact_acceptance(n: int, p: Fraction, alpha: Fraction) -> tuple[int, int]:
    """The same in exact integers: for a tail that equals alpha, which no number of bits can tell apart."""
    up, down = (1 - p).numerator * p.denominator, (1 - p).denominator * p.numerator
    whole = (up + down) ** n
    term = total = down**n
    accept = -1
    for r in range(n + 1):
        if total * alpha.denominator <= alpha.numerator * whole:
            accept = r
        if (whole - total) * alpha.denominator <= alpha.numerator * whole:
            return accept, r + 1
        term = term * (n - r) * up // ((r + 1) * down)
        total += term
    return accept, n + 1


def upper_rank(n: int, n_eff: int, p: Fraction, alpha: Fraction) -> int | None:
    """Rank of the upper confidence bound of n samples worth n_eff: ceil(n k / n_eff); None: too few."""
    allowed, _ = acceptance(n_eff, p, alpha)
    return None if allowed < 0 else -(-n * (n_eff - allowed) // n_eff)


def lower_rank(n: int, n_eff: int, p: Fraction, alpha: Fraction) -> int | None:
    """Rank of the lower confidence bound: floor(n (l - 1) / n_eff) + 1, l = n_eff - b + 1; None: too few.

    So that it exceeds a limit exactly when floor(r n_eff / n) >= b for r exceedances.
    """
    _, refuse = acceptance(n_eff, p, alpha)
    return None if refuse > n_eff else n + 1 - -(-n * refuse // n_eff)


def n_needed(exceedances: int, n: int, p: Fraction, alpha: Fraction, most: int = 4_000_000) -> int | None:
    """Smallest n_eff at which the observed share of exceedances would PASS; None when none up to ``most`` would."""

    def passes(m: int) -> bool:
        return -(-exceedances * m // n) <= acceptance(m, p, alpha)[0]

    if n <= 0 or Fraction(exceedances, n) >= 1 - p:
        return None
    high = 1
    while not passes(high):
        high *= 2
        if high > most:
            return None
    low = high // 2
    while high - low > max(1, high // 1000):
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high


_PPB: Final = 1_000_000_000
_CP_EXACT: Final = 100_000


def _binomial_at_most(n: int, r: int, ppb: int, coefficient: tuple[int, int], bits: int) -> tuple[int, int]:
    """(m, e) just below P(Bin(n, ppb 1e-9) <= r), summed from the largest term down; needs r <= n ppb 1e-9."""
    first = _power(ppb, _PPB, r, bits)
    rest = _power(_PPB - ppb, _PPB, n - r, bits)
    term = total = 1 << bits
    k = r
    while k and term:
        term = term * (k * (_PPB - ppb)) // ((n - k + 1) * ppb)
        total += term
        k -= 1
    m = coefficient[0] * first[0] * rest[0] * total
    return m, coefficient[1] + first[1] + rest[1] - bits


def _coefficient(n: int, r: int, bits: int) -> tuple[int, int]:
    m, e = 1, 0
    for i in range(1, min(r, n - r) + 1):
        m = m * (n + 1 - i)
        shift = max(0, bits + i.bit_length() + 1 - m.bit_length())
        m = (m << shift) // i
        e -= shift
        drop = m.bit_length() - bits
        if drop > 0:
            m, e = m >> drop, e + drop
    return m, e


@lru_cache(maxsize=1024)
def clopper_pearson(lost: int, n: int, alpha: Fraction) -> tuple[int, int]:
    """Exact lower and upper confidence bounds of a ratio in ppb, each side at risk ``alpha``, rounded outward.

    Above 100 000 events numerator and denominator are scaled down together, which only widens the interval.
    """
    if n <= 0:
        return 0, _PPB
    if not 0 <= lost <= n:
        raise ValueError("lost must lie between 0 and n")
    return _PPB - _cp_upper(n - lost, n, alpha), _cp_upper(lost, n, alpha)


def _cp_upper(r: int, n: int, alpha: Fraction) -> int:
    if r == n:
        return _PPB
    if n - r < r:  # many events: bisect on the few that did not happen
        return _PPB - _cp_search(n - r, n, alpha, upper=False)
    return _cp_search(r, n, alpha, upper=True)


def _cp_search(r: int, n: int, alpha: Fraction, *, upper: bool) -> int:
    """Upper: smallest grid ppb with P(<= r) <= alpha. Lower: largest grid ppb with P(>= r) <= alpha; r <= n/2."""
    bits = 128
    if r > _CP_EXACT:
        n = -(-n * _CP_EXACT // r) if not upper else n * _CP_EXACT // r
        r = _CP_EXACT
    if not upper and r == 0:
        return 0
    # P(>= r) = 1 - P(<= r - 1), and P(<= r - 1) >= 1 - alpha is what the lower bound needs
    k = r if upper else r - 1
    coefficient = _coefficient(n, k, bits)

    def holds(ppb: int) -> bool:
        if ppb in {0, _PPB}:
            return (ppb == _PPB) == upper
        if upper:
            if k * _PPB > n * ppb:
                return False
            m, e = _binomial_at_most(n, k, ppb, coefficient, bits)
            m += m >> (bits - 40)  # what rounding may have taken
            return _at_most(m, e, alpha)
        m, e = _tail_above(n, k + 1, ppb, bits)
        m += m >> (bits - 40)
        return _at_most(m, e, alpha)

    low, high = 0, _PPB
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle) == upper:
            high = middle
        else:
            low = middle
    return high if upper else low


def _tail_above(n: int, r: int, ppb: int, bits: int) -> tuple[int, int]:
    """(m, e) just below P(Bin(n, ppb 1e-9) >= r), summed from r up; more than 1/2 is answered as 1."""
    if r * _PPB <= n * ppb:
        return 1, 0
    coefficient = _coefficient_cached(n, r, bits)
    first = _power(ppb, _PPB, r, bits)
    rest = _power(_PPB - ppb, _PPB, n - r, bits)
    term = total = 1 << bits
    k = r
    while k < n and term:
        term = term * ((n - k) * ppb) // ((k + 1) * (_PPB - ppb))
        total += term
        k += 1
    return coefficient[0] * first[0] * rest[0] * total, coefficient[1] + first[1] + rest[1] - bits


_coefficient_cached = lru_cache(maxsize=64)(_coefficient)


def _at_most(m: int, e: int, limit: Fraction) -> bool:
    left, right = m * limit.denominator, limit.numerator
    return left << e <= right if e >= 0 else left <= right << -e


# --- samples in order ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ordered:
    """A sample in order: unknown ones first, then the finite values ascending (ns), then the lost ones."""

    values: Column
    lost: int = 0
    unknown: int = 0

    @property
    def n(self) -> int:
        """How many there are."""
        return self.unknown + int(self.values.shape[0]) + self.lost

    def at(self, rank: int) -> int:
        """X(rank), rank from 1; UNKNOWN or LOST outside the finite values."""
        if not 1 <= rank <= self.n:
            raise IndexError(f"rank {rank} of {self.n}")
        i = rank - 1 - self.unknown
        if i < 0:
            return UNKNOWN
        return int(self.values[i]) if i < self.values.shape[0] else LOST

    def quantile(self, p: Fraction) -> int:
        """X(ceil(n p)), the inverse of the empirical distribution (RFC 2330 11.3, RFC 7679 5.1)."""
        return self.at(max(1, -(-self.n * p.numerator // p.denominator)))

    def median(self) -> int:
        """RFC 2330 11.3: the mean of the two central values when n is even, rounded up to a ns."""
        low, high = self.at((self.n + 1) // 2), self.at(self.n // 2 + 1)
        if LOST in {low, high} or UNKNOWN in {low, high}:
            return high
        return -(-(low + high) // 2)

    def above(self, limit: int) -> int:
        """How many exceed ``limit`` ns; a lost one does, an unknown one does not."""
        return self.lost + int(self.values.shape[0]) - int(np.searchsorted(self.values, limit, side="right"))


def block_vif(exceedances: npt.NDArray[np.intp], n: int) -> Fraction:
    """The max over block sizes B of Var(block sum) / (B p(1-p)), never below 1.

    ``exceedances`` are the positions, in time order from 0, of the samples above the statistic; ``n`` all samples.
    Blocks of 100 to 20 000 of which at least 32 fit (rules 3.3); the last, incomplete block is left out.
    """
    worst = Fraction(1)
    for size in BLOCKS:
        blocks = n // size
        if blocks < MIN_BLOCKS:
            break
        inside = exceedances[: int(np.searchsorted(exceedances, blocks * size))]
        sums = np.bincount(inside // size, minlength=blocks).astype(np.int64)
        s, squares, count = int(sums.sum()), int((sums * sums).sum()), blocks * size
        if 0 < s < count:
            variance = Fraction(blocks * squares - s * s, blocks * (blocks - 1))
            worst = max(worst, variance * count * count / (size * s * (count - s)))
    return worst


@dataclass(frozen=True)
class Estimate:
    """A statistic with its confidence bounds; ns, LOST for plus infinity, UNKNOWN for minus infinity."""

    value: int
    upper: int
    lower: int
    n: int
    vif: Fraction
    p: Fraction
    alpha: Fraction

    @property
    def n_eff(self) -> Fraction:
        """Effective sample size n / VIF."""
        return self.n / self.vif


def estimate(
    high: Ordered, low: Ordered, vif: Fraction, *, p: Fraction, alpha: Fraction, alpha_low: Fraction | None = None
) -> Estimate:
    """Quantile p with its bounds.

    ``high`` is the sample with every doubt counted against a PASS, ``low`` the same with every doubt counted against
    a FAIL. ``alpha_low`` is the risk of the lower bound, smaller where the worst of several samples decides
    (Bonferroni). The value is the RFC 2330 median at p = 1/2, else X(ceil(n p)).
    """
    if high.n == 0:
        return Estimate(LOST, LOST, UNKNOWN, 0, vif, p, alpha)
    value = high.median() if p == Fraction(1, 2) else high.quantile(p)
    rank = upper_rank(high.n, int(high.n / vif), p, alpha)
    below = lower_rank(low.n, int(low.n / vif), p, alpha_low or alpha) if low.n else None
    return Estimate(
        value,
        LOST if rank is None else high.at(rank),
        UNKNOWN if below is None else low.at(below),
        high.n,
        vif,
        p,
        alpha,
    )


# --- loss, order, variation ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Loss:
    """Packets of one flow lost, by where (RFC 7680); ``events`` are runs of consecutive losses."""

    sent: int
    forward: int
    backward: int
    unknown: int
    events: int

    @property
    def total(self) -> int:
        """Lost anywhere."""
        return self.forward + self.backward + self.unknown


def loss(
    received: npt.NDArray[np.bool_], far_seq: Column, *, restarted: bool = False, doubled: bool = False, late: int = 0
) -> Loss:
    """Where the packets of one flow were lost, at least; rows in sending order.

    A stateful reflector numbers what it receives. Of the numbers between the least and the largest that came back,
    those that did not are replies lost on the way back; of the packets sent between the first and the last answered
    one, the other unanswered ones were lost on the way there. What lies outside is unknown; so is, where the order
    changed, what lies as near to either end as any answered packet was displaced. Numbers given to copies prove
    nothing of the way back (``doubled``), and none proves anything of a reflector that is stateless or began again
    (``restarted``). As many as ``late`` replies came after t_max: whichever way took so long, they were not lost there.
    """
    sent = int(received.shape[0])
    at = np.flatnonzero(received)
    total = sent - int(at.shape[0])
    if total == 0:
        return Loss(sent, 0, 0, 0, 0)
    events = int(np.count_nonzero(np.diff(np.concatenate(([-1], at, [sent]))) > 1))
    nothing = Loss(sent, 0, 0, total, events)
    if restarted or at.shape[0] == 0:
        return nothing
    by_number = np.argsort(far_seq[at], kind="stable")
    numbers = far_seq[at][by_number]
    steps = np.diff(numbers)
    if int(numbers[0]) < 0 or not bool((steps > 0).all()):
        return nothing
    inner = int(at[-1] - at[0]) + 1 - int(at.shape[0])
    unseen = int(numbers[-1] - numbers[0]) + 1 - int(at.shape[0])
    if unseen > inner:
        return nothing
    displaced = int(np.abs(at[by_number] - at).max())
    forward = inner - unseen - _near_ends(at, displaced)
    backward = 0 if doubled else unseen - _near_ends(numbers, displaced) - late
    forward, backward = max(0, forward), max(0, backward)
    return Loss(sent, forward, backward, total - forward - backward, events)


def _near_ends(present: Column, within: int) -> int:
    """How many whole numbers between the first and the last of ``present``, ascending, are missing near either."""
    first, last = int(present[0]), int(present[-1])
    if within <= 0 or last - first <= 2 * within:
        return last - first + 1 - int(present.shape[0]) if within > 0 else 0
    low = int(np.searchsorted(present, first + within, side="right"))
    high = int(present.shape[0]) - int(np.searchsorted(present, last - within, side="left"))
    return (within + 1 - low) + (within + 1 - high)


@dataclass(frozen=True)
class Order:
    """Reordering of one flow (RFC 4737): reordered packets of received ones, largest extent."""

    received: int
    reordered: int
    extent: int


def order(sequence: Column) -> Order:
    """RFC 4737 3.3, 4.2: ``sequence`` are sequence numbers in order of arrival, duplicates removed."""
    n = int(sequence.shape[0])
    if n < 2 or bool((sequence[1:] > sequence[:-1]).all()):
        return Order(n, 0, 0)
    highest = np.maximum.accumulate(sequence)
    late = np.flatnonzero(sequence[1:] < highest[:-1]) + 1
    if late.shape[0] == 0:
        return Order(n, 0, 0)
    first = np.searchsorted(highest, sequence[late], side="right")
    return Order(n, int(late.shape[0]), int((late - first).max()))


def restarts(far_seq: Column) -> int:
    """How often a stateful reflector's counter began again: it falls and stays below what it had reached.

    ``far_seq`` of answered packets in sending order. Reordering makes it fall too, but not for 16 packets on.
    """
    n = int(far_seq.shape[0])
    if n < 2 or int(far_seq.min()) < 0 or not bool((far_seq[1:] < far_seq[:-1]).any()):
        return 0
    count, reached, i = 0, 0, 0
    drops = np.flatnonzero(far_seq[1:] < far_seq[:-1]) + 1
    while True:
        drops = drops[drops > i]
        if drops.shape[0] == 0:
            return count
        drop = int(drops[0])
        reached = int(far_seq[i:drop].max())
        after = far_seq[drop : drop + 16]
        if int(after.max()) < reached:
            count += 1
        i = drop


def pdv(values: Ordered) -> tuple[int, int] | None:
    """(P99.9 - min, P99.9) in ns over received packets (RFC 5481 4.2); None when nothing was received."""
    received = Ordered(values.values)
    if received.n == 0:
        return None
    top = received.quantile(Fraction(999, 1000))
    return top - received.at(1), top


def ipdv(series: Column) -> dict[str, int] | None:
    """Inter-packet delay variation D(i) - D(i-1) of consecutive received packets (RFC 5481 4.1), ns.

    ``series`` in sending order with LOST and UNKNOWN. Mean is rounded down; quantiles are of the absolute value.
    """
    good = (series != LOST) & (series != UNKNOWN)
    pairs = good[1:] & good[:-1]
    if not bool(pairs.any()):
        return None
    difference = (series[1:] - series[:-1])[pairs]
    total, n = int(difference.sum()), int(difference.shape[0])
    np.abs(difference, out=difference)
    ranks = [max(1, -(-n * a // b)) - 1 for a, b in ((1, 2), (99, 100), (999, 1000))]
    difference.partition(ranks)
    return {
        "n": n,
        "mean_ns": total // n,
        "p50_abs_ns": int(difference[ranks[0]]),
        "p99_abs_ns": int(difference[ranks[1]]),
        "p999_abs_ns": int(difference[ranks[2]]),
    }


def groups(minima: Sequence[int], gap: int) -> list[int]:
    """Group number of each flow by its minimum: neighbours in order less than ``gap`` ns apart share one."""
    ranked = sorted(range(len(minima)), key=lambda i: minima[i])
    result = [0] * len(minima)
    number = 0
    for before, here in itertools.pairwise(ranked):
        number += minima[here] - minima[before] >= gap
        result[here] = number
    return result
