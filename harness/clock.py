"""The Clock of a Site: where its time comes from with what it claims."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """What the bench declares of a site's clock; whether it is true is for the Evidence to show."""

    sources: tuple[str, ...]
    """Evidence sources to gather, by their names in `harness.evidence.catalogue`, "in-band" among them."""
    shared: str = ""
    """Name of a clock that several sites share; two sites with the same name run on one clock (checked in-band)."""
    injected: bool = False
    """Its readings are altered on purpose: a simulation."""
    time_from: str = ""
    """Where its time comes from: "gnss", "ptp over the metro", "link:a-b" …; empty: not declared."""


@dataclass(frozen=True, slots=True)
class Part:
    """One named share of a clock's bound: a half-width, taken as a rectangle (GUM 4.3.7)."""

    name_zh: str
    name_en: str
    half_width_ns: int
    origin: str
    """Where the figure is from: a data set as read, a class of a Recommendation, a declaration in the bench file."""


@dataclass(frozen=True, slots=True)
class ClockState:
    """One reading of one evidence source about one clock.

    ``bound_ns`` is the half-width within which |clock - UTC/TAI| lies according to the source,
    None when the source cannot say; ``synchronised`` None means unknown, which is not "no" and never "yes".
    """

    site: str
    source: str
    at_ns: int
    """When, on CLOCK_REALTIME of the observing host, ns since 1970 UTC."""
    synchronised: bool | None
    bound_ns: int | None
    skew_ppb: int | None
    """Largest rate error the source admits, ppb; None unknown."""
    tai_utc_s: int | None
    leap_pending: bool | None
    identity: str
    """What time it follows: refid, grandmaster identity; empty unknown."""
    raw: str
    """The source's own words, unparsed."""
    offset_ns: int | None = None
    """This clock less the time it follows, ns, as the source measured it; already inside ``bound_ns``. None unknown."""
    parts: tuple[Part, ...] = ()
    """What ``bound_ns`` is the sum of, where the source can tell; empty: one undivided bound."""
