"""What a u-blox timing receiver said, read from its sentences as facts: time, fix, pulse, leap second, antenna."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyubx2 import UBXReader

from drivers.capability import Pulse
from drivers.sentences import Sentence

FRESH_S: Final = 2.5
"""Time, fix and pulse are said once a second; older words than this say nothing of now."""
SLOW_S: Final = 65.0
"""Antenna, survey and leap second may be said once a minute."""

TAI_GPS_S: Final = 19
"""TAI - GPS time, and so TAI - Galileo system time, s (IS-GPS-200; OS SIS ICD)."""
TAI_BDT_S: Final = 33
"""TAI - BeiDou time, s: BDT runs with UTC of 2006-01-01 (BDS-SIS-ICD), 14 s behind GPS time."""

NO_FIX: Final = frozenset({0, 1})
"""NAV-PVT fixType: none, dead reckoning only."""
TIME_ONLY: Final = 5
"""NAV-PVT fixType of a receiver that holds its position fixed and solves for time alone."""
FIXES: Final = {
    0: "no fix",
    1: "dead reckoning only",
    2: "2D fix",
    3: "3D fix",
    4: "GNSS with dead reckoning",
    5: "time-only fix",
}
ANTENNA: Final = {0: "being tried", 1: "not known", 2: "good", 3: "short", 4: "open"}
JAMMED: Final = 3
"""MON-RF jammingState: interference is seen where no fix is."""
INTERFERENCE: Final = 2

_GRIDS: Final = {0: "GPS", 1: "GLONASS", 2: "BDS", 3: "Galileo", 4: "NavIC"}
_UTC: Final = {1: "CRL", 2: "NIST", 3: "USNO", 4: "BIPM", 5: "EU", 6: "SU", 7: "NTSC", 8: "NPLI"}
_SYSTEMS: Final = {"1": "GPS", "2": "GLONASS", "3": "Galileo", "4": "BDS", "5": "QZSS", "6": "NavIC"}
_TALKERS: Final = {"GP": "GPS", "GL": "GLONASS", "GA": "Galileo", "GB": "BDS", "BD": "BDS", "GQ": "QZSS", "GI": "NavIC"}
_SKY: Final = {1: "GPS and GLONASS", 2: "GPS", 3: "SBAS", 4: "BeiDou", 5: "Galileo", 8: "NavIC"}
"""NAV-TIMELS srcOfCurrLs that were received: not the firmware's default, what a person configured or a server aided."""

CONSTELLATIONS: Final = frozenset(_SYSTEMS.values())


@dataclass(frozen=True, slots=True)
class Facts:
    """What may be said now by sentences of known age; None and empty mean not heard lately."""

    time_valid: bool | None = None
    time_by: str = ""
    """The sentences behind ``time_valid``."""
    accuracy_ns: int | None = None
    """Largest tAcc of them: the receiver's own estimate, whose meaning is unconfirmed."""
    utc: datetime | None = None
    """The receiver's UTC, when `utc_age_s` ago its sentence had come."""
    utc_age_s: float = 0.0
    fix: int | None = None
    fix_ok: bool | None = None
    nmea_fix: bool | None = None
    survey_s: int | None = None
    """Seconds that a survey of the position has run so far; None: none runs."""
    antennas: tuple[int, ...] = ()
    jamming: int | None = None
    spoofing: int | None = None
    pulse: Pulse | None = None
    """The last one announced."""
    grid: str = ""
    """Of the last pulse announced within a minute."""
    tai_utc: tuple[tuple[int, str], ...] = ()
    """(TAI - UTC in s, who said so)."""
    leap_in_s: int | None = None
    """Time to the announced leap second, s; negative: it is past, None: nothing valid was said."""
    leap_change_s: int = 0
    used: frozenset[str] | None = None
    """Constellations of which satellites are used; None: the receiver does not say."""
    version: str = ""
    """The receiver's kind, hardware and firmware."""
    ubx: bool = False
    """Whether UBX was heard at all lately."""


def fields(sentence: Sentence) -> Any:
    """The named fields of a UBX sentence, as pyubx2 reads them. Raises ValueError when it cannot."""
    try:
        found = UBXReader.parse(sentence.octets)
    except Exception as why:  # pyubx2 raises its own kinds and, on odd octets, any other
        raise ValueError(f"{sentence.kind}: {type(why).__name__}: {why}") from why
    if found.identity != sentence.kind:
        raise ValueError(f"a {found.identity} where a {sentence.kind} was framed")
    return found


def pulse(sentence: Sentence) -> Pulse:
    """What a TIM-TP announces. Raises ValueError as `fields` does."""
    said = fields(sentence)
    if said.timeBase == 1:
        standard = _UTC.get(said.utcStandard, "")
        grid = f"UTC({standard})" if standard else "UTC"
    else:
        grid = _GRIDS.get(said.timeRefGnss, "")
    return Pulse(grid, said.week, said.towMS, None if said.qErrInvalid else said.qErr, not said.TpNotLocked)


def qerr_ps(pulses: Iterable[Pulse], grid: str, week: int, tow_ms: int) -> int | None:
    """Quantisation error in ps of the pulse at ``week`` and ``tow_ms`` of ``grid``.

    None where none was announced for it, or two that differ.
    """
    found = {each.qerr_ps for each in pulses if (each.grid, each.week, each.tow_ms) == (grid, week, tow_ms)}
    return found.pop() if len(found) == 1 else None


def facts(heard: Sequence[tuple[float, Sentence]]) -> Facts:
    """What sentences say, given with their ages in s; the youngest of a kind counts. Raises ValueError as `fields`."""
    latest: dict[str, tuple[float, Sentence]] = {}
    for age_s, each in sorted(heard, key=lambda one: one[0]):
        latest.setdefault(each.kind, (age_s, each))

    def lately(kind: str, within_s: float = FRESH_S) -> Any:
        age_s, sentence = latest.get(kind, (within_s + 1, None))
        return fields(sentence) if sentence is not None and age_s <= within_s else None

    pvt, status, utc, clock = (lately(kind) for kind in ("NAV-PVT", "NAV-STATUS", "NAV-TIMEUTC", "NAV-CLOCK"))
    systems = {kind: lately(kind) for kind in ("NAV-TIMEGPS", "NAV-TIMEBDS", "NAV-TIMEGAL")}
    verdicts: dict[str, bool] = {}
    # one constellation's time is enough: a BeiDou-only receiver may know no GPS time, and says so
    within = {kind: _whole(kind, said) for kind, said in systems.items() if said is not None}
    verdicts |= {kind: valid for kind, valid in within.items() if valid} or within
    if utc is not None:
        verdicts["NAV-TIMEUTC"] = bool(utc.validTOW and utc.validWKN and utc.validUTC)
    if pvt is not None:
        verdicts["NAV-PVT"] = bool(pvt.validDate and pvt.validTime and pvt.fullyResolved)
    against = [kind for kind, valid in verdicts.items() if not valid]
    estimates = [said.tAcc for said in (pvt, utc, clock) if said is not None]
    estimates += [said.tAcc for kind, said in systems.items() if said is not None and verdicts.get(kind)]

    fix = {"NAV-PVT": pvt.fixType} if pvt is not None else {}
    good = [bool(pvt.gnssFixOk)] if pvt is not None else []
    if status is not None:
        fix["NAV-STATUS"] = status.gpsFix
        good.append(bool(status.gpsFixOk))
    surveys = [said for said in (lately("TIM-SVIN", SLOW_S), lately("NAV-SVIN", SLOW_S)) if said is not None]
    antennas, jamming = _radio(lately("MON-RF", SLOW_S), lately("MON-HW", SLOW_S))
    last = latest["TIM-TP"] if "TIM-TP" in latest and latest["TIM-TP"][0] <= SLOW_S else None
    announced = pulse(last[1]) if last is not None else None
    stamp, stamp_age_s = _utc(pvt, utc, latest)
    leap = lately("NAV-TIMELS", SLOW_S)
    leap_in = None
    if leap is not None and leap.validTimeToLsEvent:
        leap_in = leap.timeToLsEvent - int(latest["NAV-TIMELS"][0])
    return Facts(
        time_valid=None if not verdicts else not against,
        time_by=", ".join(against or verdicts),
        accuracy_ns=max(estimates, default=None),
        utc=stamp,
        utc_age_s=stamp_age_s,
        fix=min(fix.values(), default=None) if set(fix.values()) & NO_FIX else next(iter(fix.values()), None),
        fix_ok=all(good) if good else None,
        nmea_fix=_nmea_fix([each for age_s, each in heard if age_s <= FRESH_S and not each.ubx]),
        survey_s=max((said.dur for said in surveys if said.active), default=None),
        antennas=antennas,
        jamming=jamming,
        spoofing=None if status is None else status.spoofDetState,
        pulse=announced if last is not None and last[0] <= FRESH_S else None,
        grid="" if announced is None else announced.grid,
        tai_utc=tuple(_leap_seconds(systems, leap)),
        leap_in_s=leap_in,
        leap_change_s=0 if leap is None else leap.lsChange,
        used=_used([each for age_s, each in heard if age_s <= FRESH_S and each.kind == "GSA"]),
        version=_version(lately("MON-VER", float("inf"))),
        ubx=any(each.ubx and age_s <= FRESH_S for age_s, each in heard),
    )


def _whole(kind: str, said: Any) -> bool:
    """Whether the time of one constellation is valid: second and week; its leap seconds matter to UTC only."""
    names = {
        "NAV-TIMEGPS": ("towValid", "weekValid"),
        "NAV-TIMEBDS": ("sowValid", "weekValid"),
        "NAV-TIMEGAL": ("galTowValid", "galWnoValid"),
    }[kind]
    return all(getattr(said, name) for name in names)


def _leap_seconds(systems: dict[str, Any], leap: Any) -> Iterable[tuple[int, str]]:
    """TAI - UTC by everyone who knows."""
    for kind, said in systems.items():
        if said is not None and said.leapSValid:
            yield said.leapS + (TAI_BDT_S if kind == "NAV-TIMEBDS" else TAI_GPS_S), kind
    if leap is not None and leap.validCurrLs and leap.srcOfCurrLs in _SKY:
        # The interface description counts from GPS time whatever the source, and adds that BeiDou's number is 14 less;
        # whether that number is ever given is unconfirmed. Fewer than 14 cannot be counted from GPS time (14 s ahead
        # of UTC since 2006), 14 or more not from BDT.
        own = leap.srcOfCurrLs == 4 and leap.currLs < 14
        yield leap.currLs + (TAI_BDT_S if own else TAI_GPS_S), f"NAV-TIMELS from {_SKY[leap.srcOfCurrLs]}"


def _radio(rf: Any, hw: Any) -> tuple[tuple[int, ...], int | None]:
    """(antenna states, worst jamming state); MON-RF has one of each for a band, MON-HW of older receivers one."""
    if rf is not None:
        blocks = range(1, rf.nBlocks + 1)
        try:
            states = tuple(getattr(rf, f"antStatus_{block:02d}") for block in blocks)
            jams = [getattr(rf, f"jammingState_{block:02d}") for block in blocks]
        except AttributeError as why:
            raise ValueError(f"MON-RF: {why}") from why
    else:
        states = () if hw is None else (hw.aStatus,)
        jams = [] if hw is None else [hw.jammingState]
    return states, max(jams, default=None)


def _utc(pvt: Any, utc: Any, latest: dict[str, tuple[float, Sentence]]) -> tuple[datetime | None, float]:
    """(UTC by the receiver, age in s of that sentence); a second 60 counts as the one after 59."""
    for kind, said, valid, second in (
        ("NAV-TIMEUTC", utc, utc is not None and utc.validUTC, getattr(utc, "sec", 0)),
        ("NAV-PVT", pvt, pvt is not None and pvt.validDate and pvt.validTime, getattr(pvt, "second", 0)),
    ):
        if valid:
            if not 1999 <= said.year <= 2099:  # what the interface description allows
                raise ValueError(f"{kind}: year {said.year}")
            minute = datetime(said.year, said.month, said.day, said.hour, said.min, tzinfo=UTC)
            return minute + timedelta(seconds=second, microseconds=said.nano // 1000), latest[kind][0]
    return None, 0.0


def _nmea_fix(lines: Sequence[Sentence]) -> bool | None:
    """Whether NMEA speaks of a fix: RMC status A, GGA quality not 0, GSA fix type 2 or 3. Health only."""
    said = []
    for line in lines:
        words = _words(line)
        if line.kind == "RMC" and len(words) > 2:
            said.append(words[2] == "A")
        elif line.kind == "GGA" and len(words) > 6:
            said.append(words[6] not in {"", "0"})
        elif line.kind == "GSA" and len(words) > 2:
            said.append(words[2] in {"2", "3"})
    return all(said) if said else None


def _used(lines: Sequence[Sentence]) -> frozenset[str] | None:
    """Constellations with satellites in use; GSA of NMEA 4.11 names its system, older ones by the talker."""
    found = set()
    for line in lines:
        words = _words(line)
        if len(words) >= 18 and any(words[3:15]):
            system = _SYSTEMS.get(words[18]) if len(words) > 18 else None
            found.add(system or _TALKERS.get(words[0][:2], "unnamed"))
    return frozenset(found) if lines else None


def _words(line: Sentence) -> list[str]:
    return line.octets.decode("ascii")[1:].split("*")[0].split(",")


def _version(said: Any) -> str:
    """Kind, hardware, firmware and constellations of MON-VER, printable ASCII without doubled blanks."""
    if said is None:
        return ""
    extensions = [value for name, value in sorted(vars(said).items()) if name.startswith("extension_")]
    texts = [_text(each) for each in (said.swVersion, said.hwVersion, *extensions)]
    kept = [text.removeprefix(key) for key in ("MOD=", "FWVER=") for text in texts[2:] if text.startswith(key)]
    systems = [text for text in texts[2:] if text.split(";")[0] in {"GPS", "GLO", "GAL", "BDS"}]
    return " ".join([*kept, f"hardware {texts[1]}", f"software {texts[0]}", *systems])[:200]


def _text(octets: bytes) -> str:
    return "".join(chr(each) if 0x21 <= each < 0x7F else " " for each in octets.split(b"\0")[0]).strip()
