"""linuxptp's account of the clock it steers: what ptp4l answers with what its logs add."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from harness.clock import ClockState, Part
from harness.errors import BenchError
from harness.evidence.pmc import Answer, Answers, Pmc, collect
from harness.evidence.ptp_log import Event, Excerpt, Figure, PtpLog
from harness.evidence.ptp_quality import ACCURACY_NS, CLASSES, UNEXPLAINED

HARDWARE: Final = frozenset({"HARDWARE", "LEGACY_HW", "ONESTEP", "P2P1STEP"})
P2P: Final = 2
"""delayMechanism: only the peer delay mechanism measures the neighbour's rate."""

SILENT_NS: Final = 2 * 10**9
"""Without a Sync for longer than this, or than three Sync intervals if that is more, the servo runs blind."""
FIGURE_NS: Final = 10 * 10**9
"""A figure of phc2sys or ts2phc older than this says nothing of now."""
SERVO_WORDS: Final = {0: "servo not locked (s0)", 1: "clock stepped by its servo (s1)"}
WORDS_KEPT: Final = 200
"""Lines of the logs kept with a state; more are counted."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where ptp4l is asked with what a site must declare, since no protocol tells it.

    Without ``network_ns`` and ``asymmetry_ns`` (this one not on a grandmaster) no bound is given. Raises BenchError
    when a figure is negative or has no origin.
    """

    socket: str = ""
    """ptp4l's socket; empty: the first known name behind which somebody listens."""
    domain: int = 0
    transport_specific: int = 0
    """majorSdoId of the messages: 1 for gPTP."""
    log: tuple[str, ...] = ()
    """Files to which ptp4l, phc2sys or ts2phc write what they print."""
    clock: str = "system"
    """Which clock stamps the packets: "system" (CLOCK_REALTIME) or "phc" (the NIC's)."""
    hardware: bool = False
    """ptp4l must stamp in hardware; otherwise no bound."""
    grandmaster: bool = False
    """This clock is the grandmaster, steered by ts2phc from a reference."""
    network_ns: int | None = None
    """max|TE| of what brings time to the port (G.8271.1), or of the reference of a grandmaster."""
    network_origin: str = ""
    asymmetry_ns: int | None = None
    """Largest difference of the two directions' delays between grandmaster and port, stamping latencies included."""
    asymmetry_origin: str = ""
    read_ns: int | None = None
    """Half-width of reading the PHC, for a phc2sys that prints no window or 0 (which is "not measured")."""
    read_origin: str = ""
    skew_ppb: int | None = None
    """Largest rate error of the steered clock between two polls, ppb."""
    skew_origin: str = ""

    def __post_init__(self) -> None:
        if self.clock not in {"system", "phc"}:
            raise BenchError('linuxptp clock "system" or "phc"', repr(self.clock), "name the clock that stamps packets")
        for name, value, most in (("domain", self.domain, 255), ("transport_specific", self.transport_specific, 15)):
            if not 0 <= value <= most:
                raise BenchError(f"linuxptp {name} of 0 to {most}", str(value), "as in ptp4l's configuration")
        for name, figure, origin in (
            ("network_ns", self.network_ns, self.network_origin),
            ("asymmetry_ns", self.asymmetry_ns, self.asymmetry_origin),
            ("read_ns", self.read_ns, self.read_origin),
            ("skew_ppb", self.skew_ppb, self.skew_origin),
        ):
            if figure is not None and figure < 0:
                raise BenchError(f"linuxptp {name} of 0 or more", str(figure), "declare the largest magnitude")
            if figure is not None and not origin.strip():
                raise BenchError(
                    f"where linuxptp {name} = {figure} is from",
                    "nothing",
                    "name the measurement, data sheet or Recommendation it is from",
                )


@dataclass(frozen=True, slots=True)
class Follower:
    """A clock after another one, by the log of phc2sys or ts2phc."""

    offset_ns: int | None
    most_ns: int
    """Largest |offset| since the last poll, or in the last line before it."""
    window_ns: int | None
    """Widest reading of the PHC; None where one was not printed or 0."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known beside the answers of one poll."""

    age_ns: int | None = None
    """Since the time of the last Sync changed, by the polls; None: one poll cannot tell."""
    most_ns: int = 0
    """Largest |offset| that ptp4l logged since the last poll."""
    system: Follower | None = None
    """CLOCK_REALTIME after the PHC."""
    reference: Follower | None = None
    """A grandmaster's PHC after its reference."""
    denials: tuple[str, ...] = ()
    """Why this clock was not synchronised all the time since the last poll."""
    remarks: tuple[str, ...] = ()


def state_of(
    site: str, at_ns: int, text: str, settings: Settings | None = None, seen: Seen | None = None
) -> ClockState:
    """What an output of pmc says; ``at_ns`` ns since 1970 UTC. Raises ValueError when it is not pmc's, or not whole."""
    return _judge(site, at_ns, _View(collect(text), settings or Settings()), text, seen or Seen())


def _judge(site: str, at_ns: int, view: _View, text: str, seen: Seen) -> ClockState:
    denied = [*seen.denials, *view.denials()]
    unknown = view.doubts(seen)
    synchronised = False if denied else None if unknown else True
    parts, lacking = view.parts(seen)
    bounded = synchronised is True and not lacking
    tai_utc_s, leap = view.time_scale()
    remarks = [f"not synchronised: {'; '.join(denied)}"] if denied else []
    remarks += [f"unknown: {'; '.join(unknown)}"] if unknown else []
    remarks += ["synchronised"] if synchronised else []
    remarks += [f"bound unknown: {'; '.join(lacking)}"] if lacking and synchronised else []
    remarks += [view.class_words]
    remarks += [f"the time of the last Sync has stood still for {seen.age_ns / 1e9:.3f} s"] if seen.age_ns else []
    return ClockState(
        site=site,
        source="linuxptp",
        at_ns=at_ns,
        synchronised=synchronised,
        bound_ns=sum(part.half_width_ns for part in parts) if bounded else None,
        skew_ppb=view.skew_ppb() if synchronised else None,
        tai_utc_s=tai_utc_s,
        leap_pending=True if leap else False if view.identity else None,
        identity=view.identity,
        raw=_raw([*remarks, *seen.remarks], text),
        offset_ns=view.offset_ns(seen) if synchronised else None,
        parts=tuple(parts) if bounded else (),
    )


class _View:
    """The answers of one clock, understood. Raises ValueError when one is missing or absurd."""

    def __init__(self, answers: Answers, settings: Settings) -> None:
        self._settings = settings
        self._status = answers.one("TIME_STATUS_NP")
        self._parent = answers.one("PARENT_DATA_SET")
        self._properties = answers.one("TIME_PROPERTIES_DATA_SET")
        default = answers.one("DEFAULT_DATA_SET")
        if default.identity("clockIdentity") != answers.clock:
            raise ValueError(f"clock {default.identity('clockIdentity')} answers as {answers.clock}")
        if default.number("domainNumber", 0, 255) != settings.domain:
            raise ValueError(f"an answer of domain {default.number('domainNumber')}, asked for {settings.domain}")
        self.own = answers.clock
        self.master_offset_ns = self._status.number("master_offset")
        self.ingress_ns = self._status.number("ingress_time")
        self.steps = answers.one("CURRENT_DATA_SET").number("stepsRemoved", 0, 65_535)
        self.grandmaster = self._parent.identity("grandmasterIdentity")
        if self._status.identity("gmIdentity") != self.grandmaster:
            raise ValueError("TIME_STATUS_NP and PARENT_DATA_SET name two grandmasters: it just changed")
        self.clock_class = self._parent.number("gm.ClockClass", 0, 255)
        self.accuracy = self._parent.code("gm.ClockAccuracy")
        self.meaning = CLASSES.get(self.clock_class, UNEXPLAINED)
        self.states: dict[int, str] = {}
        for number, sets in sorted(answers.of_ports.items()):
            if "PORT_DATA_SET" in sets:
                self.states[number] = sets["PORT_DATA_SET"].word("portState", "[A-Z_]+")
        if not self.states:
            raise ValueError("no answer to GET PORT_DATA_SET")
        slaves = [number for number, state in self.states.items() if state == "SLAVE"]
        self.following = len(slaves) == 1
        self.slave: dict[str, Answer] = dict(answers.of_ports[slaves[0]]) if self.following else {}
        masters = any(state in {"MASTER", "GRAND_MASTER"} for state in self.states.values())
        self.is_grandmaster = settings.grandmaster and masters and self.grandmaster == self.own
        stamping = {
            sets["PORT_PROPERTIES_NP"].word("timestamping")
            for number, sets in answers.of_ports.items()
            if "PORT_PROPERTIES_NP" in sets and (number in slaves or self.is_grandmaster)
        }
        self.stamping = stamping.pop() if len(stamping) == 1 else ""
        """How the port that matters stamps; empty: not told, or not the same everywhere."""

    @property
    def class_words(self) -> str:
        """The grandmaster's class in words, with who says so."""
        return f"clockClass {self.clock_class}: {self.meaning.words} ({self.meaning.origin})"

    @property
    def identity(self) -> str:
        """What is followed; empty while nothing is: ptp4l goes on naming the grandmaster that it lost."""
        if not self.following and not self.is_grandmaster:
            return ""
        return f"{self.grandmaster} steps {self.steps} class {self.clock_class}"

    @property
    def from_phc(self) -> bool:
        """The clock that counts is CLOCK_REALTIME while ptp4l steers a PHC."""
        return self._settings.clock == "system" and self.stamping in HARDWARE

    def denials(self) -> list[str]:
        """Why the clock follows nothing that counts."""
        states = ", ".join(f"{number} {state}" for number, state in self.states.items())
        found = []
        if self._settings.grandmaster:
            if not self.is_grandmaster:
                found.append(f"declared the grandmaster, but {self.grandmaster} is (ports: {states})")
        elif not self.following:
            found.append(f"no port, or more than one, is SLAVE (ports: {states})")
        elif not self._status.flag("gmPresent"):
            found.append("no grandmaster present")
        if (self.following or self.is_grandmaster) and self.meaning.standing == "degraded":
            found.append(f"the grandmaster says so: {self.class_words}")
        return found

    def doubts(self, seen: Seen) -> list[str]:
        """Why it cannot be said whether the clock has TAI."""
        found = []
        if not self._properties.flag("ptpTimescale"):
            found.append("ptpTimescale 0: the time scale is arbitrary, not TAI")
        if self.meaning.standing in {"arbitrary", "unstated"}:
            found.append(f"the grandmaster's time: {self.class_words}")
        if self.following and self.ingress_ns == 0:
            found.append("no Sync since the grandmaster was chosen or the clock was stepped")
        if self.following and seen.age_ns is not None and seen.age_ns > self._patience_ns():
            found.append(f"no Sync for {seen.age_ns / 1e9:.1f} s")
        if self.is_grandmaster and seen.reference is None:
            found.append("no figure of ts2phc: nothing says how the clock follows its reference")
        if (self.following or self.is_grandmaster) and self.from_phc and seen.system is None:
            found.append("no figure of phc2sys: nothing says how CLOCK_REALTIME follows the PHC")
        return found

    def _patience_ns(self) -> int:
        exponent = self.slave["PORT_DATA_SET"].number("logSyncInterval", -128, 127)
        if not -16 <= exponent <= 16:
            exponent = 0  # not negotiated (IEEE 1588: 0x7F)
        interval_ns = 10**9 << exponent if exponent >= 0 else 10**9 >> -exponent
        return max(SILENT_NS, 3 * interval_ns)

    def parts(self, seen: Seen) -> tuple[list[Part], list[str]]:
        """(the bound in named parts, what is lacking for one)."""
        made: list[Part] = []
        lacking: list[str] = []
        given = self._settings
        if self.is_grandmaster:
            if seen.reference is not None:
                most = seen.reference.most_ns
                made.append(Part("PHC 对参考源残差", "PHC against its reference", most, "ts2phc: largest |offset|"))
        else:
            most = max(abs(self.master_offset_ns), seen.most_ns)
            logged = ", log of ptp4l: largest since the last poll" if seen.most_ns else ""
            origin = f"TIME_STATUS_NP master_offset{logged}"
            made.append(Part("PTP 伺服残差", "PTP servo residual", most, origin))
        accuracy = ACCURACY_NS.get(self.accuracy)
        if accuracy is None:
            lacking.append(f"the grandmaster's clockAccuracy 0x{self.accuracy:02x} names no limit")
        else:
            origin = f"PARENT_DATA_SET gm.ClockAccuracy 0x{self.accuracy:02x}, clockClass {self.clock_class}"
            made.append(Part("主时钟准确度", "grandmaster accuracy", accuracy, origin))
        if not self._properties.flag("timeTraceable"):
            lacking.append("timeTraceable 0: the grandmaster's accuracy is against no primary reference")
        if given.clock == "system" and not self._properties.flag("currentUtcOffsetValid"):
            lacking.append("currentUtcOffsetValid 0: the whole seconds of CLOCK_REALTIME rest on ptp4l's configuration")
        if given.network_ns is None:
            lacking.append("network_ns is not declared")
        else:
            made.append(
                Part("PTP 网络时间误差", "PTP network time error", given.network_ns, _declared(given.network_origin))
            )
        if not self.is_grandmaster:
            if given.asymmetry_ns is None:
                lacking.append("asymmetry_ns is not declared, and no servo can see it")
            else:
                half = -(-given.asymmetry_ns // 2)
                origin = f"{_declared(given.asymmetry_origin)}; half of {given.asymmetry_ns} ns"
                made.append(Part("PTP 路径不对称", "PTP path asymmetry", half, origin))
        if not self.stamping:
            lacking.append("how the ports stamp was not told")
        elif (given.hardware or given.clock == "phc") and self.stamping not in HARDWARE:
            lacking.append(f"hardware stamps were declared, the port has {self.stamping}")
        if self.from_phc and seen.system is not None:
            made.append(
                Part(
                    "系统时钟对 PHC 残差",
                    "system clock against the PHC",
                    seen.system.most_ns,
                    "phc2sys: largest |offset|",
                )
            )
            if seen.system.window_ns is not None:
                half = -(-seen.system.window_ns // 2)
                made.append(Part("PHC 读数窗口", "reading the PHC", half, "phc2sys: half of the widest delay"))
            elif given.read_ns is not None:
                made.append(Part("PHC 读数窗口", "reading the PHC", given.read_ns, _declared(given.read_origin)))
            else:
                lacking.append("phc2sys printed no reading window, and read_ns is not declared")
        return made, lacking

    def offset_ns(self, seen: Seen) -> int | None:
        """The clock that counts less its source, as last measured; None where one of the steps is unknown."""
        chain: list[int | None] = [self.master_offset_ns]
        if self.is_grandmaster:
            chain = [seen.reference.offset_ns if seen.reference else None]
        if self.from_phc:
            chain.append(seen.system.offset_ns if seen.system else None)
        known = [step for step in chain if step is not None]
        return sum(known) if len(known) == len(chain) else None

    def skew_ppb(self) -> int | None:
        """What the site declared, or the grandmaster's rate where the peer delay mechanism measured it: the larger.

        A cumulativeScaledRateOffset of exactly zero is what linuxptp prints where nothing measures it.
        """
        printed = self._status.word("cumulativeScaledRateOffset", r"[+-][0-9]{1,4}\.[0-9]{9}")
        measured = int(re.sub(r"[+.-]", "", printed))
        mechanism = self.slave["PORT_DATA_SET"].number("delayMechanism", 0, 255) if self.following else 0
        # one more for what the print rounds off
        known = [measured + 1] if measured and mechanism == P2P else []
        if self._settings.skew_ppb is not None:
            known.append(self._settings.skew_ppb)
        return max(known, default=None)

    def time_scale(self) -> tuple[int | None, bool]:
        """(TAI - UTC in s where it is valid, whether a leap second is announced)."""
        offset = self._properties.number("currentUtcOffset", -32_768, 32_767)
        valid = self._properties.flag("currentUtcOffsetValid") and self._properties.flag("ptpTimescale")
        return offset if valid else None, self._properties.flag("leap61") or self._properties.flag("leap59")


def _declared(origin: str) -> str:
    return f"declared: {origin}"


class LinuxPtp:
    """ptp4l of this host, asked by ``program`` (`pmc`), with what the logs of its daemons say between two polls."""

    name = "linuxptp"

    def __init__(
        self, site: str, settings: Settings | None = None, program: str = "pmc", timeout_s: float = 1.5
    ) -> None:
        self.site = site
        self.settings = settings or Settings()
        self.age_ns: int | None = None
        """Since the time of the last Sync was seen to change, ns; None before a second poll, or without a Sync."""
        self._pmc = Pmc(
            self.settings.socket, self.settings.domain, self.settings.transport_specific, program, timeout_s
        )
        self._logs = [PtpLog(path) for path in self.settings.log]
        self._sync: tuple[int, int] | None = None
        """(ingress_time, when a poll first saw it)."""
        self._master = ""
        self._timeouts: dict[tuple[int, str], int] = {}
        self._followers: dict[str, tuple[int, Follower]] = {}

    def poll(self, at_ns: int) -> ClockState:
        """The state now; ``at_ns`` ns since 1970 UTC is when that is. Silence or nonsense is "unknown", no error.

        What a log reports of the time since the last poll makes this state say so: a clock that jumped, lost its
        grandmaster or changed it was not synchronised, however good it is by now.
        """
        excerpts = [log.read() for log in self._logs]
        figures = [figure for excerpt in excerpts for figure in excerpt.figures]
        seen = Seen(
            most_ns=max((figure.most_ns for figure in figures if figure.program == "ptp4l"), default=0),
            system=self._follower("phc2sys", [f for f in figures if f.clock.startswith("CLOCK_REALTIME")], at_ns),
            reference=self._follower("ts2phc", figures, at_ns),
            remarks=tuple(remark for excerpt in excerpts for remark in excerpt.remarks),
        )
        text, why = self._pmc.ask()
        try:
            state = self._answered(at_ns, text, why, excerpts, seen)
        except ValueError as error:
            self._aged(0, at_ns)
            # an unanswered question does not undo what the logs saw
            denied = _gates(excerpts, self.settings, self._master)
            verdict = [f"not synchronised: {'; '.join(denied)}"] if denied else []
            raw = _raw([*verdict, f"unknown: {error}", *seen.remarks], text)
            synchronised = False if denied else None
            state = ClockState(self.site, self.name, at_ns, synchronised, None, None, None, None, "", raw)
        return replace(state, raw=state.raw + _words(excerpts))

    def close(self) -> None:
        """Lets go of the logs."""
        for log in self._logs:
            log.close()

    def _answered(self, at_ns: int, text: str, why: str, excerpts: Sequence[Excerpt], seen: Seen) -> ClockState:
        """The state by the answers. Raises ValueError, with ``why`` where there are none."""
        if why:
            raise ValueError(why)
        answers = collect(text)
        view = _View(answers, self.settings)
        denied = [*_gates(excerpts, self.settings, self._master, view.from_phc), *self._lost(answers, view)]
        now = replace(seen, age_ns=self._aged(view.ingress_ns, at_ns), denials=tuple(denied))
        state = _judge(self.site, at_ns, view, text, now)
        self._master = view.grandmaster if view.identity else self._master
        return state

    def _aged(self, ingress_ns: int, at_ns: int) -> int | None:
        """Since the time of the last Sync changed; ``ingress_ns`` 0 where there was none."""
        if ingress_ns and (self._sync is None or ingress_ns != self._sync[0]):
            self.age_ns = None if self._sync is None else 0
            self._sync = (ingress_ns, at_ns)
        elif self._sync is not None:
            self.age_ns = max(0, at_ns - self._sync[1])
        return self.age_ns

    def _lost(self, answers: Answers, view: _View) -> list[str]:
        """Announce or Sync messages that failed to come since the last poll, where ptp4l counts that (4.0 on)."""
        found = []
        for number, sets in answers.of_ports.items():
            counters = sets.get("PORT_SERVICE_STATS_NP")
            for key in ("announce_timeout", "sync_timeout"):
                if counters is None or key not in counters.fields:
                    continue
                count = counters.number(key, 0)
                before = self._timeouts.get((number, key), count)
                if count != before and view.states.get(number) == "SLAVE":
                    found.append(f"port {number}: {key} went from {before} to {count}")
                self._timeouts[number, key] = count
        return found

    def _follower(self, program: str, figures: Iterable[Figure], at_ns: int) -> Follower | None:
        new = [figure for figure in figures if figure.program == program]
        if new:
            windows = [figure.delay_ns for figure in new]
            measured = [window for window in windows if window is not None and window > 0]
            follower = Follower(
                new[-1].offset_ns,
                max(figure.most_ns for figure in new),
                max(measured) if len(measured) == len(windows) else None,
            )
            self._followers[program] = (at_ns, follower)
        since, last = self._followers.get(program, (0, None))
        return last if last is not None and 0 <= at_ns - since <= FIGURE_NS else None


def _gates(excerpts: Sequence[Excerpt], settings: Settings, master: str, from_phc: bool = True) -> list[str]:
    """Why the clock was not synchronised all the time, by the logs.

    ``master`` was followed at the last poll; ``from_phc``: phc2sys counts, as long as nobody knows better.
    """
    steering = "ts2phc" if settings.grandmaster else "ptp4l"
    found: list[str] = []
    for excerpt in excerpts:
        for event in excerpt.events:
            found += _gate(event, settings, master)
        for figure in excerpt.figures:
            system = figure.program == "phc2sys" and figure.clock.startswith("CLOCK_REALTIME") and from_phc
            if figure.program != steering and not system:
                continue
            if figure.servo in SERVO_WORDS:
                found.append(f"{figure.program}: {SERVO_WORDS[figure.servo]}")
            if figure.holdover:
                found.append(f"{figure.program}: in holdover")
    return list(dict.fromkeys(found))


def _gate(event: Event, settings: Settings, master: str) -> list[str]:
    if event.kind in {"jump", "trouble"}:
        return [event.after]
    if event.kind == "state":
        held = {"MASTER", "GRAND_MASTER"} if settings.grandmaster else {"SLAVE"}
        if (event.before in held and event.after not in held) or event.after == "FAULTY":
            return [f"port went from {event.before} to {event.after}"]
    elif event.kind == "master" and master and event.after != master:
        return [f"selected clock {event.after} instead of {master}"]
    return []


def _raw(remarks: Iterable[str], text: str) -> str:
    return "".join(f"# {remark}\n" for remark in remarks) + text


def _words(excerpts: Sequence[Excerpt]) -> str:
    """The lines of the logs that were understood, as written."""
    lines = [event.line for excerpt in excerpts for event in excerpt.events]
    lines += [figure.line for excerpt in excerpts for figure in excerpt.figures]
    more = [f"# {len(lines) - WORDS_KEPT} more lines\n"] if len(lines) > WORDS_KEPT else []
    return "".join([*(f"log: {line}\n" for line in lines[:WORDS_KEPT]), *more])
