"""The kernel's own account of its clock: adjtimex, read with suspicion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from fastpath import clock as core_clock
from harness.clock import ClockState, Part

STA_PLL: Final = 0x0001
"""The kernel's own servo is at work: only then does the kernel know what is still being corrected."""
STA_INS: Final = 0x0010
STA_DEL: Final = 0x0020
STA_UNSYNC: Final = 0x0040
TIME_INS, TIME_DEL, TIME_OOP, TIME_WAIT, TIME_ERROR = 1, 2, 3, 4, 5

UNKNOWN_US: Final = 16_000_000
"""NTP_PHASE_LIMIT: where the kernel's maximum error stops growing; nobody has set it for hours, or ever."""
GROWTH_US: Final = 500
"""The kernel itself adds this to the maximum error each second (MAXFREQ, 500 ppm)."""
SILENT_US: Final = 4 * GROWTH_US
"""Growth after which a servo that updates at least once a second has fallen silent."""


def state_of(site: str, at_ns: int, reading: Mapping[str, int]) -> ClockState:
    """What an adjtimex reading is worth; ``at_ns`` ns since 1970 UTC.

    A bound only where somebody wrote one and the kernel knows all of it: not zero, below 16 s, STA_UNSYNC clear,
    STA_PLL set (ntpd). ptp4l and phc2sys clear STA_UNSYNC but write a maximum error of zero at each update, which the
    kernel then counts up by 500 us a second; so a whole multiple of 500 us is that count, not an uncertainty, and the
    bound stays unknown. chronyd writes its root distance, but without the offset that it is slewing away itself by
    the clock's rate, of which the kernel knows nothing (STA_PLL is clear): no bound either, chrony itself must say. It
    clears STA_UNSYNC only with rtcsync; without, synchronisation is unknown here.
    The bound is the maximum error, which is cut to whole us, plus what the kernel is still slewing away.
    """
    status, most_us = reading["status"], reading["maxerror_us"]
    grown = most_us % GROWTH_US == 0
    written = 0 < most_us < UNKNOWN_US and not grown
    synchronised: bool | None
    if most_us >= UNKNOWN_US:
        synchronised = False
    elif most_us < 0 or status & STA_UNSYNC or reading["state"] == TIME_ERROR or (grown and most_us > SILENT_US):
        synchronised = None
    else:
        synchronised = True
    parts: tuple[Part, ...] = ()
    if written and synchronised and status & STA_PLL:
        parts = (
            Part("内核最大误差", "kernel's maximum error", (most_us + 1) * 1000, "adjtimex maxerror, rounded up"),
            Part(
                "内核尚未校正的偏差", "offset the kernel is slewing away", abs(reading["offset_ns"]), "adjtimex offset"
            ),
        )
    return ClockState(
        site=site,
        source="kernel",
        at_ns=at_ns,
        synchronised=synchronised,
        bound_ns=sum(part.half_width_ns for part in parts) if parts else None,
        skew_ppb=None,  # the kernel knows the correction it applies, not how wrong that is
        tai_utc_s=reading["tai"] or None,  # zero is what an unset offset looks like
        leap_pending=bool(status & (STA_INS | STA_DEL)) and reading["state"] != TIME_WAIT,
        identity=f"clock:{core_clock.clock_id():08x}",
        raw="adjtimex " + " ".join(f"{key}={value}" for key, value in reading.items()),
        offset_ns=-reading["offset_ns"] if parts else None,  # what the kernel still has to add, the clock lacks
        parts=parts,
    )


class Kernel:
    """adjtimex(2) of this host."""

    name = "kernel"

    def __init__(self, site: str, read: Callable[[], Mapping[str, int]] = core_clock.adjtimex) -> None:
        self.site = site
        self._read = read

    def poll(self, at_ns: int) -> ClockState:
        """The state now; ``at_ns`` ns since 1970 UTC is when that is. A kernel that refuses is "unknown", no error."""
        try:
            reading = self._read()
        except OSError as why:
            said = f"{type(why).__name__}: {why}"
            return ClockState(self.site, self.name, at_ns, None, None, None, None, None, "", said)
        return state_of(self.site, at_ns, reading)


def describe(read: Callable[[], Mapping[str, int]] = core_clock.adjtimex) -> str:
    """This host's clock in a few words for a terminal."""
    state = state_of("", 0, read())
    words = {True: "synchronised", False: "not synchronised", None: "synchronisation unknown"}[state.synchronised]
    bound = "bound unknown" if state.bound_ns is None else f"bound ±{state.bound_ns} ns"
    tai = "TAI offset not set" if state.tai_utc_s is None else f"TAI − UTC {state.tai_utc_s} s"
    return f"kernel: {words}, {bound}, {tai}"
