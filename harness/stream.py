"""A Stream: what is sent when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Schedule = Literal["periodic", "exponential"]

ETHERNET_OVERHEAD = 18
"""Header and FCS octets of an untagged Ethernet frame."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What is sent and when, over every Flow of a Link alike.

    Packet i of the stream goes to flow ``i % flows`` with that flow's sequence number ``i // flows``.
    """

    name: str
    rate_pps: int
    """Packets a second over all flows together."""
    duration_ns: int
    size: int
    """Ethernet frame octets including FCS, untagged (RFC 2544 sense)."""
    schedule: Schedule = "exponential"
    dscp: int = 0
    flows: int = 16
    t_max_ns: int = 1_000_000_000
    """Loss threshold: a packet not back by then is lost (RFC 7680 2.4, RFC 6703 4.1.1)."""
    seed: str = ""
    """32 hex digits that key the exponential schedule (RFC 4656 section 5); empty for periodic."""
    unloaded: bool = True
    """Sent on an otherwise idle link; the optical floor is judged on nothing else."""

    @property
    def packets(self) -> int:
        """How many packets the plan schedules."""
        return self.rate_pps * self.duration_ns // 1_000_000_000

    def payload(self, ipv6: bool) -> int:
        """UDP payload octets of this frame size."""
        return self.size - ETHERNET_OVERHEAD - (40 if ipv6 else 20) - 8
