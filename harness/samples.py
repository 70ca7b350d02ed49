"""Samples: the timestamps of every scheduled packet as columns of integers."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.int64]

MISSING: Final = int(np.iinfo(np.int64).min)
"""The value of a stamp that was not taken. Never zero: zero is a time."""

# Source of each stamp, two bits each in `flags`: T1 bits 0-1, T2 2-3, T3 4-5, T4 6-7.
NONE, USER, KERNEL, NIC = 0, 1, 2, 3
SENT: Final = 1 << 8
"""The packet left (send returned success)."""
SENT_LATE: Final = 1 << 9
"""It left more than one mean spacing or 1 ms, whichever is larger, after its scheduled instant."""
RECEIVED: Final = 1 << 10
"""A valid reply came back within t_max."""
FAR_SYNCHRONISED: Final = 1 << 11
"""S bit of the reflector's Error Estimate."""
FAR_INJECTED: Final = 1 << 12
"""The reflector says in-band that its clock is altered on purpose."""
FAR_VIRTUAL: Final = 1 << 13
"""The reflector says in-band that its interface is not shown to end in a physical device: veth, lo, tap …"""
SKIPPED: Final = 1 << 14
"""Never handed to the socket: the sender could not keep its schedule, or no room was left."""


def source(flags: Column, stamp: int) -> Column:
    """Source code NONE..NIC of stamp 1, 2, 3 or 4 for each row."""
    return (flags >> (2 * (stamp - 1))) & 3


@dataclass(frozen=True)
class Samples:
    """One row per scheduled packet, in schedule order; every column int64 of the same length.

    Times are ns TAI read from the clock of the end that took them: T1, T4 near, T2, T3 far.
    """

    flow: Column
    """Index into the link's flow ports."""
    seq: Column
    """Sequence number within the flow, from 0."""
    scheduled: Column
    """Scheduled offset from the stream's start, ns."""
    t1: Column
    t2: Column
    t3: Column
    t4: Column
    """ns TAI or MISSING."""
    far_seq: Column
    """The stateful reflector's own counter, or -1 (nothing came back, or a stateless reflector)."""
    arrival: Column
    """Rank of the first copy among all replies as read from that flow's socket, from 0, or -1."""
    copies: Column
    """Valid replies with this sequence number; more than 1 is a duplicate."""
    ttl: Column
    """TTL or hop limit of the test packet as the reflector received it, or -1."""
    error_estimate: Column
    """The reflector's 16-bit Error Estimate (RFC 4656 4.1.2), or -1."""
    flags: Column

    def __len__(self) -> int:
        return int(self.t1.shape[0])

    def where(self, mask: npt.NDArray[np.bool_]) -> Samples:
        """The rows where ``mask`` is true."""
        return Samples(**{f.name: getattr(self, f.name)[mask] for f in fields(self)})

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Rows whose four stamps all exist."""
        stamps = (self.t1, self.t2, self.t3, self.t4)
        whole: npt.NDArray[np.bool_] = np.logical_and.reduce([stamp != MISSING for stamp in stamps])
        return whole


def one_clock_an_end(samples: Samples, *, near_nic: bool = False) -> Samples:
    """The samples with one clock at each end: where a NIC stamped at an end, what it did not stamp there is MISSING.

    A NIC's stamps are its PHC's, those of kernel and user space the system clock's; the two may be seconds apart, so a
    stamp that fell back to the other clock is no stamp of this one. ``near_nic``: the near end was asked for NIC
    stamps, so others never count there. Samples without any NIC stamp come back as they are.
    """
    changed: dict[str, Column] = {}
    flags = samples.flags
    for names, wanted in ((("t1", "t4"), near_nic), (("t2", "t3"), False)):
        sources = {name: source(samples.flags, int(name[1])) for name in names}
        if not wanted and not any(bool((each == NIC).any()) for each in sources.values()):
            continue
        for name, each in sources.items():
            strange = (each != NIC) & (getattr(samples, name) != MISSING)
            if bool(strange.any()):
                changed[name] = np.where(strange, MISSING, getattr(samples, name))
                flags = np.where(strange, flags & ~(3 << (2 * (int(name[1]) - 1))), flags)
    return replace(samples, flags=flags, **changed) if changed else samples


COLUMNS: Final = tuple(f.name for f in fields(Samples))


@dataclass(frozen=True)
class Stalls:
    """Packets that the simulated plant released late because the host stalled; empty on real links.

    ``row`` indexes Samples, ``direction`` is 0 forward, 1 backward, ``late_ns`` how late.
    """

    row: Column
    direction: Column
    late_ns: Column


NO_STALLS: Final = Stalls(*(np.empty(0, np.int64) for _ in range(3)))
