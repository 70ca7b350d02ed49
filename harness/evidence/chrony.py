"""chronyd's account of the clock it steers, in its own words."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from harness.clock import ClockState

LOCAL: Final = "7F7F0101"
"""Reference id of `local`: a chronyd that follows nothing but says so with a root dispersion of zero."""
NOTHING: Final = "00000000"
LEAP: Final = {"Normal": False, "Insert second": True, "Delete second": True, "Not synchronised": None}

_NUMBER: Final = r"[+-]?[0-9]{1,12}\.[0-9]{1,9}"


@dataclass(frozen=True, slots=True)
class Tracking:
    """`chronyc -c tracking`: seconds and ppm as printed."""

    refid: str
    name: str
    stratum: int
    offset_s: Decimal
    """System time against NTP time; positive is slow."""
    residual_ppm: Decimal
    skew_ppm: Decimal
    root_delay_s: Decimal
    root_dispersion_s: Decimal
    leap: str

    @property
    def synchronised(self) -> bool:
        """Whether it follows a source outside this host."""
        return self.leap != "Not synchronised" and self.refid not in {LOCAL, NOTHING} and 0 < self.stratum < 16

    @property
    def bound_ns(self) -> int:
        """|offset| + root dispersion + root delay / 2, rounded up to ns (RFC 5905 11.2: the root distance)."""
        total = abs(self.offset_s) + self.root_dispersion_s + self.root_delay_s / 2
        return int((total * 10**9).to_integral_value(ROUND_CEILING))

    @property
    def skew_ppb(self) -> int:
        """Largest rate error it admits: residual frequency plus its bound, ppb rounded up."""
        return int(((abs(self.residual_ppm) + self.skew_ppm) * 1000).to_integral_value(ROUND_CEILING))


def parse(line: str) -> Tracking:
    """One line of `chronyc -c tracking`. Raises ValueError when it is anything else."""
    fields = line.strip().split(",")
    if len(fields) != 14:
        raise ValueError(f"{len(fields)} fields where chronyc -c tracking has 14")
    refid, name, stratum, *numbers, leap = fields
    if not re.fullmatch(r"[0-9A-F]{8}", refid) or not re.fullmatch(r"[0-9]{1,2}", stratum) or leap not in LEAP:
        raise ValueError(f"not a reference id, stratum and leap status: {refid}, {stratum}, {leap}")
    wrong = [each for each in numbers if not re.fullmatch(_NUMBER, each)]
    if wrong:
        raise ValueError(f"not a decimal number: {wrong[0]}")
    _, offset, _, _, _, residual, skew, delay, dispersion, _ = (Decimal(each) for each in numbers)
    if skew < 0 or dispersion < 0 or delay < 0:
        raise ValueError("a negative skew, root delay or root dispersion")
    return Tracking(refid, name, int(stratum), offset, residual, skew, delay, dispersion, leap)


def state_of(site: str, at_ns: int, line: str) -> ClockState:
    """What a line of `chronyc -c tracking` says; ``at_ns`` ns since 1970 UTC. Raises ValueError as `parse` does.

    A chronyd in `local` mode counts as not synchronised: it serves its own clock with a bound of zero.
    """
    found = parse(line)
    return ClockState(
        site=site,
        source="chrony",
        at_ns=at_ns,
        synchronised=found.synchronised,
        bound_ns=found.bound_ns if found.synchronised else None,
        skew_ppb=found.skew_ppb if found.synchronised else None,
        tai_utc_s=None,
        leap_pending=LEAP[found.leap],
        identity=f"{found.refid} {found.name} stratum {found.stratum}" if found.synchronised else "",
        raw=line.strip(),
    )


class Chrony:
    """`chronyc` asked on this host; ``socket`` is chronyd's command socket where it is not the usual one."""

    name = "chrony"

    def __init__(self, site: str, socket: str = "", program: str = "chronyc", timeout_s: float = 1.5) -> None:
        self.site = site
        self._command = [program, "-n", "-c", *(["-h", socket] if socket else []), "tracking"]
        self._timeout_s = timeout_s

    def poll(self, at_ns: int) -> ClockState:
        """The state now; ``at_ns`` ns since 1970 UTC is when that is. Silence or nonsense is "unknown", no error."""
        try:
            # English and decimal points whatever the operator's locale
            done = subprocess.run(
                self._command,
                capture_output=True,
                text=True,
                timeout=self._timeout_s,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            return self._unknown(at_ns, f"no program {self._command[0]}")
        except subprocess.TimeoutExpired:
            return self._unknown(at_ns, f"no answer of {self._command[0]} within {self._timeout_s} s")
        except (OSError, UnicodeDecodeError) as why:
            return self._unknown(at_ns, f"{type(why).__name__}: {why}")
        said = (done.stdout + done.stderr).strip()
        if done.returncode != 0:
            return self._unknown(at_ns, f"exit {done.returncode}: {said}")
        try:
            return state_of(self.site, at_ns, done.stdout)
        except ValueError as why:
            return self._unknown(at_ns, f"{why}: {said}")

    def _unknown(self, at_ns: int, why: str) -> ClockState:
        return ClockState(self.site, self.name, at_ns, None, None, None, None, None, "", why)
