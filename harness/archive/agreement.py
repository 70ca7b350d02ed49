"""Agreement between what the near end was told in replies and what the far end noted of them, second by second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from harness.archive.farjournal import Session
from harness.archive.stamps import Replies
from harness.gates import text
from harness.measurement import Measurement
from harness.samples import MISSING, RECEIVED, USER, Column, source

SECOND: Final = 10**9


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One second of one flow in which the two ends do not say the same."""

    port: int
    utc_s: int
    """The second in which the packets left, s since 1970 UTC by the near end's clock."""
    replies: int
    """That the near end has of that second."""
    differing: int
    """Of them, those with another T2 or T3 in the far end's journal."""
    missing: int
    """Of them, those that are not in it."""
    worst_ns: int
    """Largest difference of a stamp."""
    first_seq: int
    """Sequence number of the first that differs or is missing."""

    @property
    def told(self) -> str:
        """It in words."""
        at = f"{datetime.fromtimestamp(self.utc_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
        found = [
            *([f"{self.differing} differ by up to {text(self.worst_ns)}"] if self.differing else []),
            *([f"{self.missing} are not in the journal"] if self.missing else []),
        ]
        return f"port {self.port} at {at}: of {self.replies} replies {', '.join(found)}, first packet {self.first_seq}"


@dataclass(frozen=True, slots=True)
class Agreement:
    """What comparing one measurement with one far end's journal gave."""

    measurement: str
    compared: int
    """Replies of the near end that carry a T2."""
    agreed: int
    """Of them, those whose stamps are in the journal to the nanosecond."""
    differing: int
    missing: int
    offset_ns: tuple[int, int]
    """Where far less near clock lies, ns TAI, by causality alone: a reply leaves before it arrives."""
    disagreements: tuple[Disagreement, ...]


def compare(m: Measurement, rows: Replies, sessions: Sequence[Session], tai_utc_s: int) -> Agreement:
    """Compare each reply that the near end got with the journal's row of the same numbers.

    A T3 that a later reply told is compared with what the journal says that reply told, one that stood in the reply
    with what it said itself; all to the nanosecond. ``tai_utc_s`` is for naming seconds.
    """
    samples, link = m.samples, m.link
    got = np.flatnonzero(((samples.flags & RECEIVED) != 0) & (samples.t2 != MISSING))
    flow, seq, far_seq = samples.flow[got], samples.seq[got], samples.far_seq[got]
    t2, t3 = samples.t2[got], samples.t3[got]
    as_written = source(samples.flags[got], 3) == USER
    matched = np.zeros(got.size, np.bool_)
    worst = np.zeros(got.size, np.int64)
    followed = rows.followed_up
    for session in answering(m, sessions):
        far = np.flatnonzero(rows.session == session.number)
        near = np.flatnonzero(flow == link.flow_ports.index(session.port))
        if not far.size or not near.size:
            continue
        at = far[np.minimum(np.searchsorted(rows.far_seq[far], far_seq[near]), far.size - 1)]
        same = (rows.far_seq[at] == far_seq[near]) & (rows.seq[at] == seq[near])
        near, at = near[same], at[same]
        apart = np.maximum(
            _apart(t2[near], rows.t2[at]),
            _apart(t3[near], np.where(as_written[near], rows.t3[at], followed[at])),
        )
        # A session that gave way and came back begins its numbers again: the row that agrees is the one.
        better = ~matched[near] | (apart < worst[near])
        worst[near[better]] = apart[better]
        matched[near] = True
    differing = matched & (worst != 0)
    bad = np.flatnonzero(differing | ~matched)
    return Agreement(
        m.id,
        compared=int(got.size),
        agreed=int(np.count_nonzero(matched & (worst == 0))),
        differing=int(np.count_nonzero(differing)),
        missing=int(np.count_nonzero(~matched)),
        offset_ns=_offset(m),
        disagreements=_seconds(m, got, bad, differing, worst, tai_utc_s) if bad.size else (),
    )


def answering(m: Measurement, sessions: Sequence[Session]) -> list[Session]:
    """The sessions that answered to the ports and the SSID of a measurement's link."""
    return [each for each in sessions if each.ssid == m.link.ssid and each.port in m.link.flow_ports]


def _apart(near: Column, far: Column) -> Column:
    """How far two stamps are apart, ns; one that only one end has is as far off as can be said."""
    with np.errstate(over="ignore"):
        apart = np.abs(near - far)
    none = (near == MISSING) != (far == MISSING)
    return np.where(none | (apart < 0), np.iinfo(np.int64).max, np.where(near == far, 0, apart)).astype(np.int64)


def _offset(m: Measurement) -> tuple[int, int]:
    rows = m.samples.where(m.samples.answered)
    if not len(rows):
        return -(1 << 62), 1 << 62
    return int((rows.t3 - rows.t4).max()), int((rows.t2 - rows.t1).min())


def _seconds(
    m: Measurement, got: Column, bad: Column, differing: Column, worst: Column, tai_utc_s: int
) -> tuple[Disagreement, ...]:
    # The first reply has a T1 unless none was stamped; then its schedule places it.
    samples = m.samples
    t1 = samples.t1[got]
    stamped = np.flatnonzero(t1 != MISSING)
    origin = int(t1[stamped[0]] - samples.scheduled[got[stamped[0]]]) if stamped.size else 0
    second = (origin + samples.scheduled[got]) // SECOND - tai_utc_s
    flow = samples.flow[got]
    keys, groups = np.unique(np.stack([second[bad], flow[bad]]), axis=1, return_inverse=True)
    found = []
    for index, (at, of) in enumerate(keys.T.tolist()):
        rows = bad[np.ravel(groups) == index]
        off = rows[differing[rows]]
        found.append(
            Disagreement(
                port=m.link.flow_ports[of],
                utc_s=at,
                replies=int(np.count_nonzero((second == at) & (flow == of))),
                differing=int(off.size),
                missing=int(rows.size - off.size),
                worst_ns=int(worst[off].max()) if off.size else 0,
                first_seq=int(samples.seq[got[rows]].min()),
            )
        )
    return tuple(found)
