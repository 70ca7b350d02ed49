"""chronyd's account of the clock it steers, in its own words."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from harness.clock import ClockState, Part
from harness.errors import BenchError

LOCAL: Final = "7F7F0101"
"""Reference id of `local`: a chronyd that follows nothing but says so with a root dispersion of zero."""
NOTHING: Final = "00000000"
LEAP: Final = {"Normal": False, "Insert second": True, "Delete second": True, "Not synchronised": None}
QUESTIONS: Final = ("tracking", "sources", "sourcestats", "ntpdata")
"""Asked in one process; ntpdata last, because chronyc stops at the first refusal."""
REFUSED: Final = "501 Not authorised"
"""To ntpdata from anybody but root or chronyd's own user through the Unix socket."""
STALE_POLLS: Final = 8
"""As many polls as the reachability register remembers: without an update for longer, replies come but are not used."""
AHEAD_NS: Final = 2_000_000_000
"""A reference time later than this after the question began is no answer that took its time, but a stepped clock."""

_NUMBER: Final = r"[+-]?[0-9]{1,12}\.[0-9]{1,9}"
_STAMPS: Final = ("Daemon", "Kernel", "Hardware", "Invalid")


@dataclass(frozen=True, slots=True)
class Settings:
    """What chronyd cannot know of its own clock and a bench declares.

    Without any of it the bound is chronyd's own: true whatever the path's asymmetry, if the stratum-1 server is right.
    Raises BenchError when a declaration is incomplete or impossible.
    """

    socket: str = ""
    """chronyd's command socket, or the host that answers for it; empty: the usual ones of this host."""
    server: str = ""
    """Whom the declarations below are about, as `chronyc -n sources` names it; following another voids the evidence."""
    floor_ns: int | None = None
    """Light's time to the server and back, which no packet can beat; only the delay beyond it can be asymmetric."""
    asymmetry_ns: int | None = None
    """Largest difference of the two directions within ``floor_ns``; declared together with it."""
    path_origin: str = ""
    reference_ns: int | None = None
    """Half-width of the stratum-1 server's own error against UTC, which root dispersion leaves out."""
    reference_origin: str = ""

    def __post_init__(self) -> None:
        declared = (self.floor_ns, self.asymmetry_ns, self.reference_ns)
        if (self.floor_ns is None) != (self.asymmetry_ns is None):
            raise BenchError(
                "floor_ns and asymmetry_ns of a chrony server together",
                "one of them",
                "declare both: a floor lessens the asymmetry that is possible only if its own asymmetry is known",
            )
        if any(each is not None and each < 0 for each in declared) or (self.asymmetry_ns or 0) > (self.floor_ns or 0):
            raise BenchError(
                "0 <= asymmetry_ns <= floor_ns and reference_ns >= 0",
                f"floor {self.floor_ns}, asymmetry {self.asymmetry_ns}, reference {self.reference_ns}",
                "declare half-widths and times in whole ns",
            )
        lacking = [
            name
            for name, needed, value in (
                ("server", any(each is not None for each in declared), self.server),
                ("path_origin", self.floor_ns is not None, self.path_origin),
                ("reference_origin", self.reference_ns is not None, self.reference_origin),
            )
            if needed and not value
        ]
        if lacking:
            raise BenchError(
                "where a declared figure is from, and of which server",
                f"no {', '.join(lacking)}",
                "name the record that says so (fibre register, calibration certificate), or declare nothing",
            )


@dataclass(frozen=True, slots=True)
class Tracking:
    """`chronyc -c tracking`: seconds and ppm as printed."""

    refid: str
    name: str
    stratum: int
    reference_s: Decimal
    """When the last measurement was taken over, s since 1970 UTC by chronyd's corrected time."""
    offset_s: Decimal
    """System time against NTP time; positive is slow."""
    residual_ppm: Decimal
    skew_ppm: Decimal
    root_delay_s: Decimal
    root_dispersion_s: Decimal
    interval_s: Decimal
    """Between the last two updates."""
    leap: str

    @property
    def synchronised(self) -> bool:
        """Whether it follows a source outside this host."""
        return self.leap != "Not synchronised" and self.refid not in {LOCAL, NOTHING} and 0 < self.stratum < 16

    @property
    def offset_ns(self) -> int:
        """The clock less the time it follows."""
        return -int(self.offset_s * 10**9)

    @property
    def skew_ppb(self) -> int:
        """Largest rate error it admits: residual frequency plus its bound, ppb rounded up."""
        return int(((abs(self.residual_ppm) + self.skew_ppm) * 1000).to_integral_value(ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class Source:
    """One line of `chronyc -c sources`."""

    mode: str
    """"^" a server, "=" a peer, "#" a reference clock of this host."""
    state: str
    """"*" selected, "+" combined with it, "-" left out, "x" falseticker, "~" jittery, "?" unreachable."""
    name: str
    stratum: int
    poll: int
    """Binary logarithm of the interval in s."""
    reach: int
    """The last eight polls as bits; 0: nobody has answered for that long."""


@dataclass(frozen=True, slots=True)
class Server:
    """One line of `chronyc -c ntpdata`: by whom packets with a server are stamped on this host."""

    name: str
    interleaved: bool
    transmit: str
    """"Hardware", "Kernel" or "Daemon"; "Invalid" before the first reply."""
    receive: str


@dataclass(frozen=True, slots=True)
class Report:
    """What chronyd answered to all `QUESTIONS`."""

    tracking: Tracking
    sources: tuple[Source, ...]
    servers: tuple[Server, ...] | None
    """None: ntpdata was refused."""

    @property
    def selected(self) -> Source | None:
        """The source that the clock follows now."""
        found = [each for each in self.sources if each.state == "*"]
        return found[0] if len(found) == 1 else None


def _ns_up(seconds: Decimal) -> int:
    return int((seconds * 10**9).to_integral_value(ROUND_CEILING))


def _decimals(fields: Sequence[str]) -> list[Decimal]:
    wrong = [each for each in fields if not re.fullmatch(_NUMBER, each)]
    if wrong:
        raise ValueError(f"not a decimal number: {wrong[0]}")
    return [Decimal(each) for each in fields]


def parse(line: str) -> Tracking:
    """One line of `chronyc -c tracking`. Raises ValueError when it is anything else."""
    fields = line.strip().split(",")
    if len(fields) != 14:
        raise ValueError(f"{len(fields)} fields where chronyc -c tracking has 14")
    refid, name, stratum, *numbers, leap = fields
    if not re.fullmatch(r"[0-9A-F]{8}", refid) or not re.fullmatch(r"[0-9]{1,2}", stratum) or leap not in LEAP:
        raise ValueError(f"not a reference id, stratum and leap status: {refid}, {stratum}, {leap}")
    reference, offset, _, _, _, residual, skew, delay, dispersion, interval = _decimals(numbers)
    if skew < 0 or dispersion < 0 or delay < 0:
        raise ValueError("a negative skew, root delay or root dispersion")
    return Tracking(
        refid, name, int(stratum), reference, offset, residual, skew, delay, dispersion, max(Decimal(0), interval), leap
    )


def _source(fields: Sequence[str]) -> Source:
    mode, state, name, stratum, poll, reach, last, *numbers = fields
    if mode not in "^=#" or state not in "*+-x~?" or len(mode + state) != 2:
        raise ValueError(f"not the mode and state of a source: {mode}, {state}")
    if not re.fullmatch(r"[0-9]{1,2},-?[0-9]{1,2},[0-3]?[0-7]{1,2},[0-9]{1,10}", f"{stratum},{poll},{reach},{last}"):
        raise ValueError(
            f"not the stratum, poll, reach and last answer of a source: {stratum}, {poll}, {reach}, {last}"
        )
    _decimals(numbers)
    return Source(mode, state, name, int(stratum), int(poll), int(reach, 8))


def _server(fields: Sequence[str]) -> Server:
    interleaved, transmit, receive = fields[26], fields[28], fields[29]
    if interleaved not in {"Yes", "No"} or transmit not in _STAMPS or receive not in _STAMPS:
        raise ValueError(f"not what ntpdata says of stamps: {interleaved}, {transmit}, {receive}")
    return Server(fields[0], interleaved == "Yes", transmit, receive)


def parse_report(text: str) -> Report:
    """The lines of `chronyc -c -m` with `QUESTIONS`, told apart by how many fields they have.

    Raises ValueError when one of them is anything else, or out of order.
    """
    first, *rest = text.strip().split("\n")
    tracking = parse(first)
    sources: list[Source] = []
    servers: list[Server] | None = []
    part = 1
    for line in rest:
        fields = line.split(",")
        # 33 since 3.0; newer ones add counters at the end
        belongs = {10: 1, 8: 2}.get(len(fields), 3 if len(fields) >= 33 or line == REFUSED else 0)
        if belongs < part or servers is None:
            raise ValueError(f"{len(fields)} fields where {QUESTIONS[part]} was asked for: {line[:60]}")
        part = belongs
        if line == REFUSED:
            servers = None
        elif part == 1:
            sources.append(_source(fields))
        elif part == 2:
            _decimals(fields[4:])
        elif servers is not None:
            servers.append(_server(fields))
    return Report(tracking, tuple(sources), None if servers is None else tuple(servers))


def _stamps(report: Report) -> str:
    """Who stamps the packets exchanged with the selected server, in a few words."""
    selected = report.selected
    if selected is None:
        return ""
    if selected.mode == "#":
        return " reference clock"
    found = [each for each in report.servers or () if each.name == selected.name]
    if not found:
        return " stamps unknown"
    one = found[0]
    return f" stamps {one.transmit.lower()}/{one.receive.lower()}{' interleaved' if one.interleaved else ''}"


def _doubt(report: Report, at_ns: int) -> str:
    """Why nobody may say that this clock is synchronised now, though chronyd has not given up; empty: no reason."""
    tracking, selected = report.tracking, report.selected
    if selected is None:
        states = ", ".join(f"{each.name} {each.state} reach {each.reach:o}" for each in report.sources) or "none"
        return f"holdover: no source is selected ({states})"
    if selected.name != tracking.name:
        return f"the source changed between two answers: {tracking.name}, {selected.name}"
    if selected.reach == 0:
        return f"{selected.name} has not answered the last 8 polls"
    # the reference time is on chronyd's corrected scale: this clock less its offset
    age_ns = at_ns - tracking.offset_ns - int(tracking.reference_s * 10**9)
    if age_ns < -AHEAD_NS:
        return f"the last update is {-age_ns} ns in the future"
    poll_s = Decimal(2) ** max(0, selected.poll)
    most_ns = _ns_up(STALE_POLLS * max(tracking.interval_s, poll_s))
    if age_ns > most_ns:
        return f"no update for {age_ns} ns, more than {STALE_POLLS} polls"
    return ""


def _contradiction(report: Report, settings: Settings) -> str:
    """Where chronyd contradicts what the bench declares; empty: nowhere."""
    tracking = report.tracking
    if settings.server and tracking.name != settings.server:
        return f"follows {tracking.name}, the bench declares {settings.server}"
    if settings.floor_ns is not None:
        combined = [each.name for each in report.sources if each.state == "+"]
        if combined:
            return f"combined with {', '.join(combined)}, of whose path nothing is declared"
        if _ns_up(tracking.root_delay_s) < settings.floor_ns:
            return f"a root delay of {tracking.root_delay_s} s, below the declared floor of {settings.floor_ns} ns"
    return ""


def parts_of(tracking: Tracking, settings: Settings) -> tuple[Part, ...]:
    """What the bound is the sum of, each rounded up to ns: |offset| and the root distance (RFC 5905 11.2).

    A declared floor takes its share out of the root delay; the reference's own error comes on top.
    """
    said = "chronyc tracking"
    beyond_s = tracking.root_delay_s - Decimal(settings.floor_ns or 0) / 10**9
    parts = [
        Part("系统时间偏差", "system time offset", abs(tracking.offset_ns), said),
        Part("根离散", "root dispersion", _ns_up(tracking.root_dispersion_s), said),
    ]
    if settings.floor_ns is None or settings.asymmetry_ns is None:
        parts.append(Part("根时延的一半", "half the root delay", _ns_up(beyond_s / 2), said))
    else:
        origin = f"{said}; floor {settings.floor_ns} ns: {settings.path_origin}"
        parts += [
            Part(
                "超出下限的根时延的一半", "half the root delay beyond its floor", max(0, _ns_up(beyond_s / 2)), origin
            ),
            Part("路径不对称的一半", "half the path asymmetry", -(-settings.asymmetry_ns // 2), settings.path_origin),
        ]
    if settings.reference_ns is not None:
        parts.append(
            Part("一级时间服务器误差", "stratum-1 reference", settings.reference_ns, settings.reference_origin)
        )
    return tuple(parts)


def state_of(site: str, at_ns: int, text: str, settings: Settings = Settings()) -> ClockState:
    """What chronyd's answers are worth; ``at_ns`` ns since 1970 UTC. Raises ValueError as `parse_report` does.

    Not synchronised: chronyd says so, or follows nothing but itself (`local`). Unknown: chronyd still keeps the time
    of a source that it no longer selects, hears or uses; its bound, which grows, is given all the same. Unknown without
    a bound: it follows another server than the declarations are about.
    """
    report = parse_report(text)
    tracking = report.tracking
    synchronised: bool | None = tracking.synchronised
    parts = parts_of(tracking, settings) if synchronised else ()
    why = ""
    if synchronised:
        why = _contradiction(report, settings)
        parts = () if why else parts
        why = why or _doubt(report, at_ns)
        synchronised = None if why else True
    known = synchronised is not False
    return ClockState(
        site=site,
        source="chrony",
        at_ns=at_ns,
        synchronised=synchronised,
        bound_ns=sum(each.half_width_ns for each in parts) if parts else None,
        skew_ppb=tracking.skew_ppb if parts else None,
        tai_utc_s=None,
        leap_pending=LEAP[tracking.leap],
        identity=f"{tracking.refid} {tracking.name} stratum {tracking.stratum}{_stamps(report)}" if known else "",
        raw=f"{why}: {text.strip()}" if why else text.strip(),
        offset_ns=tracking.offset_ns if parts else None,
        parts=parts,
    )


class Chrony:
    """`chronyc` asked on this host; ``socket`` is chronyd's command socket where it is not the usual one."""

    name = "chrony"

    def __init__(
        self,
        site: str,
        socket: str = "",
        program: str = "chronyc",
        timeout_s: float = 1.5,
        settings: Settings = Settings(),
    ) -> None:
        self.site = site
        whom = socket or settings.socket
        self._command = [program, "-n", "-c", *(["-h", whom] if whom else []), "-m", *QUESTIONS]
        self._timeout_s = timeout_s
        self._settings = settings

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
        if done.returncode != 0 and not done.stdout.rstrip().endswith(f"\n{REFUSED}"):
            return self._unknown(at_ns, f"exit {done.returncode}: {said}")
        try:
            return state_of(self.site, at_ns, done.stdout, self._settings)
        except ValueError as why:
            return self._unknown(at_ns, f"{why}: {said}")

    def _unknown(self, at_ns: int, why: str) -> ClockState:
        return ClockState(self.site, self.name, at_ns, None, None, None, None, None, "", why)
