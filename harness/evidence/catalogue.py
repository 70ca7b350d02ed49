"""The Catalogue of evidence sources that a bench file may name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from harness.clock import ClockState
from harness.evidence import chrony, counter, gnss, holdover, linuxptp, phc


class Source(Protocol):
    """One source of evidence about the clock of one site; one that holds something open has ``close`` as well."""

    @property
    def name(self) -> str:
        """As in `ClockState.source`."""

    @property
    def site(self) -> str:
        """Whose clock."""

    def poll(self, at_ns: int) -> ClockState:
        """The clock's state now, which is ``at_ns`` ns since 1970 UTC."""


Heard = Callable[[str], ClockState | None]
"""Name of another source of the same site → its last state, None when it has none or is not declared."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A kind of source."""

    settings: type[Any]
    """A frozen dataclass; its fields are the keys of the source's table in a bench file. Raises BenchError itself."""
    make: Callable[[str, Any, Heard], Source]
    """(site, settings, what the site's sources said last) → the source."""
    anywhere: bool = False
    """It may speak of a site that this host does not stand at."""


def _phc(site: str, settings: phc.Settings, heard: Heard) -> Source:
    # what disciplines a PHC is watched by ptp4l's account of it, or by the receiver whose pulse ts2phc takes
    return phc.Phc(site, settings, follows=lambda: heard("linuxptp") or heard("gnss"))


CATALOGUE: Final[dict[str, Entry]] = {
    "chrony": Entry(chrony.Settings, lambda site, settings, _: chrony.Chrony(site, settings=settings)),
    "linuxptp": Entry(linuxptp.Settings, lambda site, settings, _: linuxptp.LinuxPtp(site, settings)),
    "phc": Entry(phc.Settings, _phc),
    "gnss": Entry(gnss.Settings, lambda site, settings, _: gnss.Gnss(site, settings)),
    "counter": Entry(counter.Settings, lambda site, settings, _: counter.Counter(site, settings), anywhere=True),
    "holdover": Entry(holdover.Settings, lambda site, settings, _: holdover.Holdover(site, settings), anywhere=True),
}
"""By name; "kernel", "in-band" and "simulated" have no settings and are known to the gatherer."""
