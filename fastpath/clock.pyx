# Kernel and PHC clocks, their steps, and the model of a clock with known error.
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""Kernel and PHC clocks, their steps, and the model of a clock with known error."""

import errno
import fcntl
import hashlib
import os
import struct
from pathlib import Path

from libc.stdint cimport INT64_MIN, int64_t
from libc.string cimport memset
cimport cython
from posix.time cimport clock_gettime, timespec

from fastpath import timestamping as _timestamping

cdef extern from "<time.h>" nogil:
    enum:
        CLOCK_MONOTONIC_RAW

cdef extern from "<sys/timex.h>" nogil:
    ctypedef struct timex_time "struct timeval":
        long tv_sec
        long tv_usec

    ctypedef struct timex "struct timex":
        int modes
        long offset
        long freq
        long maxerror
        long esterror
        int status
        long constant
        long precision
        long tolerance
        timex_time time
        long tick
        int tai

    int c_adjtimex "adjtimex" (timex *buf)
    enum:
        STA_NANO
        STA_UNSYNC
        STA_PLL

cdef extern from *:
    """
    static inline long long millicert_scale(long long elapsed, long long ppb) {
        /* floor(elapsed * ppb / 1e9): 128 bits, since elapsed may be decades */
        __int128 product = (__int128)elapsed * ppb;
        __int128 quotient = product / 1000000000;
        return (long long)(product % 1000000000 < 0 ? quotient - 1 : quotient);
    }
    """
    int64_t millicert_scale(int64_t elapsed, int64_t ppb) nogil


cdef inline int64_t raw_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(<int>CLOCK_MONOTONIC_RAW, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


def now_realtime():
    """CLOCK_REALTIME in ns since 1970 UTC."""
    return realtime_ns()


def now_monotonic():
    """CLOCK_MONOTONIC in ns: the clock that paces the sender."""
    return monotonic_ns()


def now_monotonic_raw():
    """CLOCK_MONOTONIC_RAW in ns: the oscillator without anyone's corrections."""
    return raw_ns()


def adjtimex():
    """What the kernel says of CLOCK_REALTIME (adjtimex(2), nothing is changed).

    Keys: ``offset_ns`` still to be slewed away, ``freq_ppb`` applied, ``maxerror_us``, ``esterror_us``,
    ``status`` (STA_* bits), ``tai`` (TAI - UTC in s, 0 when nobody told the kernel), ``state`` (TIME_*,
    5 = TIME_ERROR), ``tick_us`` (10 000 unless slewed by the tick), ``synchronised`` (1 unless STA_UNSYNC).

    Raises OSError when the kernel refuses.
    """
    cdef timex t
    memset(&t, 0, sizeof(t))
    cdef int state = c_adjtimex(&t)
    if state < 0:
        raise OSError(errno.EPERM, "adjtimex refused")
    return {
        "offset_ns": t.offset if t.status & STA_NANO else t.offset * 1000,
        # freq is ppm in units of 2^-16; rounded to the nearest ppb
        "freq_ppb": (t.freq * 1000 + 32768) >> 16,
        "maxerror_us": t.maxerror,
        "esterror_us": t.esterror,
        "status": t.status,
        "tai": t.tai,
        "state": state,
        "tick_us": t.tick,
        "synchronised": int(not t.status & STA_UNSYNC),
    }


@cython.final
cdef class ClockModel:
    """A clock with a known error: t' = t + offset + skew (t - origin) + step from ``step_at_ns`` on.

    All in ns, ``skew_ppb`` in ns per s, ``origin_ns`` and ``step_at_ns`` on the scale of the stamps (TAI);
    a ``step_at_ns`` of 0 means no step. Floors to a whole ns. Simulation only: whoever uses a model that
    changes anything says so in-band.
    """

    def __init__(self, int64_t offset_ns=0, int64_t skew_ppb=0, int64_t origin_ns=0, int64_t step_ns=0,
                 int64_t step_at_ns=0):
        self.offset_ns = offset_ns
        self.skew_ppb = skew_ppb
        self.origin_ns = origin_ns
        self.step_ns = step_ns
        self.step_at_ns = step_at_ns

    cdef int64_t shift(self, int64_t t) noexcept nogil:
        cdef int64_t shifted = t
        if t == INT64_MIN:  # a stamp that was not taken stays so
            return t
        shifted += self.offset_ns
        if self.skew_ppb:
            shifted += millicert_scale(t - self.origin_ns, self.skew_ppb)
        if self.step_at_ns and t >= self.step_at_ns:
            shifted += self.step_ns
        return shifted

    def apply(self, int64_t t):
        """The reading of this clock when the true clock reads ``t``, ns; MISSING stays MISSING."""
        return self.shift(t)

    @property
    def injected(self):
        """Whether any reading differs from the true one."""
        return bool(self.offset_ns or self.skew_ppb or (self.step_ns and self.step_at_ns))

    def __repr__(self):
        return (f"ClockModel(offset_ns={self.offset_ns}, skew_ppb={self.skew_ppb}, origin_ns={self.origin_ns}, "
                f"step_ns={self.step_ns}, step_at_ns={self.step_at_ns})")


def read_pair():
    """CLOCK_MONOTONIC_RAW and CLOCK_REALTIME at one instant: (raw, real, width), ns.

    The narrowest of nine brackets raw-real-raw; ``raw`` is its middle, the pair is good to width / 2.
    """
    cdef int64_t before, real, after, width, best = -1, best_raw = 0, best_real = 0
    for _ in range(9):
        before = raw_ns()
        real = realtime_ns()
        after = raw_ns()
        width = after - before
        if best < 0 or width < best:
            best = width
            best_raw = before + width // 2
            best_real = real
    return best_raw, best_real, best


class StepDetector:
    """Steps of CLOCK_REALTIME against CLOCK_MONOTONIC_RAW.

    Between two polls REALTIME may run away from RAW by the rate the kernel is told to apply (adjtimex freq
    and tick, plus up to 500 ppm while an offset is slewed); what exceeds that by more than ``threshold_ns``
    plus ``tolerance_ppb`` of the elapsed time plus both bracket widths is a step. With polls of 1 s or less
    and the defaults a step of 100 us is seen. A slew is not a step: it shows in the frequency.

    ``read`` gives (raw, real, width) in ns, ``kernel`` the dict of `adjtimex`; both replaceable for tests.
    """

    def __init__(self, threshold_ns=20_000, tolerance_ppb=5_000, read=None, kernel=None):
        self.threshold_ns = threshold_ns
        self.tolerance_ppb = tolerance_ppb
        self.steps = ()
        """Every step seen, in ns, in order."""
        self.rate_ppb = 0
        """Largest correction of the rate (adjtimex freq and tick) that the kernel was told, either sign, ppb."""
        self._read = read_pair if read is None else read
        self._kernel = adjtimex if kernel is None else kernel
        self._last = self._read()
        self._rates = self._rate_range()

    def _rate_range(self):
        kernel = self._kernel()
        rate = kernel["freq_ppb"] + (kernel["tick_us"] - 10_000) * 100_000
        self.rate_ppb = max(self.rate_ppb, abs(rate))
        slew = 500_000 if kernel["offset_ns"] else 0  # the PLL's largest slew rate, MAXFREQ
        return rate - slew, rate + slew

    def poll(self):
        """Steps since the last poll in ns, positive when REALTIME jumped ahead; empty when none."""
        raw, real, width = self._read()
        rates = self._rate_range()
        last_raw, last_real, last_width = self._last
        elapsed = raw - last_raw
        moved = (real - last_real) - elapsed
        # the rate may have changed anywhere between the polls
        low = elapsed * min(rates[0], self._rates[0]) // 1_000_000_000
        high = -(-elapsed * max(rates[1], self._rates[1]) // 1_000_000_000)
        slack = self.threshold_ns + elapsed * self.tolerance_ppb // 1_000_000_000 + width + last_width
        self._last = (raw, real, width)
        self._rates = rates
        if low - slack <= moved <= high + slack:
            return []
        step = moved - (low + high) // 2
        self.steps = (*self.steps, step)
        return [step]


def clock_id(name="CLOCK_REALTIME", boot_id=None):
    """32-bit identity of a clock of this boot: the first 4 octets of SHA-256 of boot id and name.

    Two ends that state the same id run on one clock. An injected clock is another clock: name it otherwise.

    Raises OSError when /proc does not give the boot id.
    """
    if boot_id is None:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    digest = hashlib.sha256(f"{boot_id} {name}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def phc_index(interface):
    """Number N of the interface's PTP hardware clock /dev/ptpN, -1 when it has none.

    Raises OSError when there is no such interface.
    """
    return _timestamping.interface_facts(interface).phc


# <linux/ptp_clock.h>: _IOC(direction, '=', number, size) of the "2" ioctls, which refuse unknown reserved bits.
# Packed here because their structures exist in every kernel, the newer ioctl numbers not in every header.
_CLOCK_TIME = struct.Struct("=qII")          # struct ptp_clock_time: s, ns, reserved
_PRECISE_SIZE = 3 * 16 + 4 * 4               # device, sys_realtime, sys_monoraw, rsv[4]
_EXTENDED_SIZE = 4 * 4 + 25 * 3 * 16         # n_samples, rsv[3], ts[25][3]
_BASIC_SIZE = 4 * 4 + 51 * 16                # n_samples, rsv[3], ts[51]
_READ_WRITE, _WRITE = 3, 1


def _ptp_ioctl(direction, number, size):
    return direction << 30 | size << 16 | ord("=") << 8 | number


PTP_SYS_OFFSET_PRECISE2 = _ptp_ioctl(_READ_WRITE, 17, _PRECISE_SIZE)
PTP_SYS_OFFSET_EXTENDED2 = _ptp_ioctl(_READ_WRITE, 18, _EXTENDED_SIZE)
PTP_SYS_OFFSET2 = _ptp_ioctl(_WRITE, 14, _BASIC_SIZE)
_UNSUPPORTED = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)


def _clock_time(buffer, offset):
    seconds, nanoseconds, _reserved = _CLOCK_TIME.unpack_from(buffer, offset)
    return seconds * 1_000_000_000 + nanoseconds


def sys_offset(phc_fd, samples=10, ioctl=None):
    """A PTP hardware clock against CLOCK_REALTIME: (phc, sys, width, method), ns.

    The narrowest bracket of ``samples`` (1..25) readings: ``sys`` is its middle, so phc - sys is good to
    width / 2 plus the path to the device. Methods in order of trust: "precise" (cross-stamped by hardware,
    width 0), "extended" (system stamps next to the device read), "basic". ``phc`` is on the PHC's own scale,
    usually TAI; ``sys`` is UTC. ``ioctl`` replaces fcntl.ioctl in tests: no PHC can exist without a NIC.

    Raises ValueError when ``samples`` is out of range, OSError when no method works.
    """
    if not 1 <= samples <= 25:
        raise ValueError(f"samples {samples} is outside 1..25 (PTP_MAX_SAMPLES)")
    call = fcntl.ioctl if ioctl is None else ioctl
    buffer = bytearray(_PRECISE_SIZE)
    if _try_ioctl(call, phc_fd, PTP_SYS_OFFSET_PRECISE2, buffer):
        return _clock_time(buffer, 0), _clock_time(buffer, 16), 0, "precise"
    buffer = bytearray(_EXTENDED_SIZE)
    struct.pack_into("=I", buffer, 0, samples)
    if _try_ioctl(call, phc_fd, PTP_SYS_OFFSET_EXTENDED2, buffer):
        readings = [tuple(_clock_time(buffer, 16 + 48 * i + 16 * k) for k in range(3)) for i in range(samples)]
        return (*_narrowest(readings), "extended")
    buffer = bytearray(_BASIC_SIZE)
    struct.pack_into("=I", buffer, 0, samples)
    call(phc_fd, PTP_SYS_OFFSET2, buffer, True)
    times = [_clock_time(buffer, 16 + 16 * i) for i in range(2 * samples + 1)]  # sys, phc, sys, phc … sys
    return (*_narrowest([tuple(times[2 * i:2 * i + 3]) for i in range(samples)]), "basic")


def _try_ioctl(call, fd, request, buffer):
    try:
        call(fd, request, buffer, True)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def _narrowest(readings):
    before, phc, after = min(readings, key=lambda r: r[2] - r[0])
    return phc, before + (after - before) // 2, after - before


def open_phc(index):
    """File descriptor of /dev/ptpN, read-only; the caller closes it. Raises OSError when it cannot be opened."""
    return os.open(f"/dev/ptp{index}", os.O_RDONLY | os.O_CLOEXEC)
