"""What the far end said of its clock in its own replies, second by second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import numpy as np

from fastpath import wire
from harness.clock import ClockState
from harness.samples import FAR_INJECTED, FAR_SYNCHRONISED, FAR_VIRTUAL, MISSING, Samples

PERIOD_NS: Final = 1_000_000_000

UNKNOWN: Final = wire.encode_error_estimate(None, False, False) & 0x3FFF
"""Scale and Multiplier of an end that does not know its error: the largest there are."""


S_BIT: Final = 0x8000
"""Synchronised to UTC by an external source (RFC 4656 4.1.2)."""


def bound_ns(estimates: Sequence[int]) -> int | None:
    """Largest error in ns among 16-bit Error Estimates, rounded up; None when one of them is unknown or corrupt."""
    found = [None if each & 0x3FFF == UNKNOWN else wire.decode_error_estimate(each) for each in estimates]
    known = [each for each in found if each is not None]
    return max(known) if known and len(known) == len(found) else None


def reading(
    site: str,
    at_ns: int,
    estimates: Sequence[int],
    *,
    replies: int,
    synchronised: int,
    injected: bool = False,
    virtual: bool = False,
    clock_id: int | None = None,
) -> ClockState:
    """One state from the replies of a moment; ``at_ns`` ns since 1970 UTC, ``synchronised`` how many had the S bit.

    The worst word counts. No reply says nothing; an S bit that is off denies synchronisation unless the error is
    unknown too, as with an end that knows nothing of its clock.
    """
    bound = bound_ns(estimates)
    if not replies:
        state = None
    elif synchronised == replies:
        state = True
    else:
        state = None if bound is None and not synchronised else False
    raw = {
        "replies": replies,
        "synchronised": synchronised,
        "error_estimates": [f"{each:04x}" for each in estimates],
        "injected": injected,
        "virtual": virtual,
    }
    return ClockState(
        site=site,
        source="in-band",
        at_ns=at_ns,
        synchronised=state,
        bound_ns=bound,
        skew_ppb=None,
        tai_utc_s=None,
        leap_pending=None,
        identity="" if clock_id is None else f"clock:{clock_id:08x}",
        raw=json.dumps(raw),
    )


def states(
    samples: Samples, *, site: str, tai_utc_s: int, clock_id: int | None = None, period_ns: int = PERIOD_NS
) -> tuple[ClockState, ...]:
    """The far clock's states by its replies, one for each period of sending time in which one came back.

    ``tai_utc_s`` turns the samples' TAI into UTC; ``clock_id`` is what the replies' Facts said, if they did.
    A state is dated by the last reply of its period. A period without a reply has none: the silence shows as a gap.
    """
    answered = (samples.t1 != MISSING) & (samples.t4 != MISSING) & (samples.error_estimate >= 0)
    if not answered.any():
        return ()
    t1, t4 = samples.t1[answered], samples.t4[answered]
    estimates, flags = samples.error_estimate[answered], samples.flags[answered]
    period = (t1 - t1.min()) // period_ns
    order = np.argsort(period, kind="stable")
    starts = np.flatnonzero(np.diff(period[order], prepend=-1))
    return tuple(
        reading(
            site,
            int(t4[rows].max()) - tai_utc_s * 1_000_000_000,
            [int(each) for each in np.unique(estimates[rows])],
            replies=int(rows.size),
            synchronised=int(np.count_nonzero(flags[rows] & FAR_SYNCHRONISED)),
            injected=bool((flags[rows] & FAR_INJECTED).any()),
            virtual=bool((flags[rows] & FAR_VIRTUAL).any()),
            clock_id=clock_id,
        )
        for rows in np.split(order, starts[1:])
    )
