"""Checks before anything is measured: what was found, and what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from math import isqrt
from pathlib import Path
from typing import Final, Literal, Protocol

from harness.artefact import Port
from harness.bench import Bench
from harness.clock import ClockState
from harness.errors import BenchError, HarnessError
from harness.evidence import leap
from harness.evidence.gatherer import EvidenceGatherer, sources_of
from harness.link import Link
from harness.policy import Policy, Requirement
from harness.starter import interfaces
from harness.stream import ETHERNET_OVERHEAD, Stream
from harness.tomlfile import nearest

State = Literal["ok", "warn", "failed", "waived"]

BYTES_ON_DISK: Final = 24
"""Octets that one sample may take in the archive; twice that is asked for, so that judging again fits too."""
BYTES_IN_MEMORY: Final = 400
"""One sample's 13 columns of 8 octets, and the copies that sorting and judging make of them."""
RESERVE_BYTES: Final = 64 << 20
LEAP_MARGIN_NS: Final = 3_600_000_000_000
"""No leap second within the run and an hour on each side (rules 6.5)."""
STREAM_OF: Final = {"optical-floor": "optical", "service": "service"}
"""Which stream serves a measurand."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; ``name`` is the check, with its subject when there are several."""

    name: str
    state: State
    found: str
    remedy_zh: str = ""
    remedy_en: str = ""

    @property
    def check(self) -> str:
        """The name by which it is waived."""
        return self.name.split()[0]

    @property
    def remedy(self) -> str:
        """Both languages."""
        return " / ".join(part for part in (self.remedy_zh, self.remedy_en) if part)


@dataclass(frozen=True, slots=True)
class Table:
    """All rows of one preflight."""

    rows: tuple[Row, ...]

    @property
    def ready(self) -> bool:
        """Nothing failed that was not waived."""
        return not any(row.state == "failed" for row in self.rows)

    @property
    def summary(self) -> str:
        """How many rows are in which state, failed ones by name."""
        counts = {state: sum(row.state == state for row in self.rows) for state in ("ok", "warn", "waived", "failed")}
        text = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        failed = [row.name for row in self.rows if row.state == "failed"]
        return f"{text}: {', '.join(failed)}" if failed else text


class Answer(Protocol):
    """What the far end said to a few test packets."""

    @property
    def sent(self) -> int:
        """Packets that left."""

    @property
    def received(self) -> int:
        """Packets that came back and were used."""

    @property
    def round_trip_ns(self) -> int | None:
        """Smallest round trip, ns: a sign of life, never a measurement."""

    @property
    def causes(self) -> Mapping[str, int]:
        """Why packets that came were not used."""


class Stamps(Protocol):
    """Which stamps really come on a socket of the link: "nic", "kernel", "user" or "none"."""

    @property
    def rx(self) -> str:
        """Source of stamps of arriving packets."""

    @property
    def tx(self) -> str:
        """Source of stamps of leaving packets."""

    @property
    def remark(self) -> str:
        """Why it is not better."""


class Facts(Protocol):
    """What the driver of an interface says."""

    @property
    def driver(self) -> str:
        """Its name."""

    @property
    def mtu(self) -> int:
        """Largest IP packet, octets."""


@dataclass(frozen=True, slots=True)
class Optics:
    """The instruments of an acceptance, opened."""

    identities: Mapping[str, str]
    """What each says it is, by name."""
    estimates: Sequence[tuple[str, float]]
    """(procedure, s)."""
    unconfirmed: Mapping[str, Sequence[str]]
    """What of each one's driver nothing confirms."""


def gather(bench: Bench, link: Link) -> tuple[ClockState, ...]:
    """One reading, or two, of every clock source of the link's ends; a source that hangs says unknown."""
    with EvidenceGatherer(sources_of(bench, link)) as gatherer:
        pass
    return gatherer.states


@dataclass(frozen=True)
class Context:
    """What the checks look at; what touches the core or the network is passed in."""

    bench: Bench
    policy: Policy | None
    """None: no link is certified."""
    streams: Sequence[Stream]
    """What will run on each link."""
    results: Path
    waived: Sequence[str] = ()
    """Names of checks, or of rows, whose failure is accepted."""
    probe: Callable[[Link], Answer] | None = None
    """Asks the far end for a sign of life; None: not asked."""
    stamps: Callable[[Link], Stamps] | None = None
    """Tries the stamps on a socket of the link; None: not tried."""
    facts: Callable[[str], Facts] | None = None
    """Facts of an interface by name. Raises OSError when it does not exist."""
    simulated: Callable[[Link], Sequence[str]] | None = None
    """Why a link's near interface is not shown to carry real light; None: not asked. Raises EngineError."""
    port: Callable[[Link], Port] | None = None
    """What the kernel says of the near port of a link; None: not asked."""
    key: Callable[[Link], object] | None = None
    """Reads the key of a link; None: not read. Raises BenchError for a file that holds none."""
    optics: Callable[[], Optics] | None = None
    """Opens the instruments of an acceptance; None: nothing is accepted. Raises PreflightError, BenchError."""
    clocks: Callable[[Bench, Link], Sequence[ClockState]] = gather
    now: Callable[[], int] = time.time_ns
    """ns since 1970 UTC."""


Check = Callable[[Context], Iterable[Row]]
CHECKS: Final[dict[str, Check]] = {}


def check(name: str) -> Callable[[Check], Check]:
    """Register a check under the name by which it is waived."""

    def register(function: Check) -> Check:
        CHECKS[name] = function
        return function

    return register


LinkCheck = Callable[[Context, Link], Iterable[Row]]


def link_check(name: str) -> Callable[[LinkCheck], LinkCheck]:
    """Register a check that is made of each link; what keeps it from one link is that link's row, the others follow."""

    def register(function: LinkCheck) -> LinkCheck:
        def each(context: Context) -> Iterable[Row]:
            for link in context.bench.links:
                yield from _rows(name, link, function(context, link))

        CHECKS[name] = each
        return function

    return register


def _rows(name: str, link: Link, found: Iterable[Row]) -> Iterator[Row]:
    """The rows of one link, and a failed one with its own remedy where the engineer's mistake ends them."""
    try:
        yield from found
    except (HarnessError, OSError) as why:
        said, zh = str(why), "检查台架文件中该链路的 interface、地址与 key_file"
        en = "check the link's interface, addresses and key_file in the bench file"
        if isinstance(why, HarnessError):
            said, zh, en = f"wanted {why.wanted}; found {why.found}", why.remedy, why.remedy
        yield Row(f"{name} {link.name}", "failed", said, zh, en)


def run(context: Context) -> Table:
    """Every check; one that breaks is its own failure, not ours. Raises BenchError when a waived name is unknown."""
    rows: list[Row] = []
    for name, function in CHECKS.items():
        try:
            rows += function(context)
        except Exception as why:
            rows.append(
                Row(
                    name,
                    "failed",
                    f"the check itself broke: {type(why).__name__}: {why}",
                    "修复该检查，或用 --waive 豁免",
                    "mend what it trips over, or waive it by name",
                )
            )
    names = [*CHECKS, *(row.name for row in rows)]
    for waiver in context.waived:
        if waiver not in names:
            hint = nearest(waiver, names)
            raise BenchError(
                "the name of a preflight check to waive",
                f'"{waiver}"' + (f", did you mean {hint}?" if hint else ""),
                "one of " + ", ".join(CHECKS),
            )
    waived = set(context.waived)
    return Table(
        tuple(
            replace(row, state="waived") if row.state == "failed" and waived & {row.name, row.check} else row
            for row in rows
        )
    )


# -- the checks ------------------------------------------------------------------------------------------------


@check("bench")
def bench_fields(context: Context) -> Iterable[Row]:
    """What the bench file leaves open."""
    bench = context.bench
    minutes = -(-sum(each.duration_ns for each in context.streams) * len(bench.links) // 60_000_000_000)
    if bench.links:
        yield Row("bench", "ok", f"{bench.name}: {len(bench.links)} link(s), about {minutes} min of streams")
    if bench.dut is not None:
        yield Row(
            "bench", "ok", f"{bench.name}: {bench.dut.instrument} under test, {len(bench.instruments)} instruments"
        )
    for note in bench.notes:
        yield Row("bench", "warn", note, "修改台架文件", "correct the bench file")
    lab = bench.lab
    wanted = {
        "[lab] name": lab.name,
        "[lab] location": lab.location,
        "[customer] name": lab.customer,
        "[item] description": lab.item,
        "[item] id": lab.item_id,
        "[authoriser] name": lab.authoriser,
    }
    empty = [key for key, value in wanted.items() if not value]
    if empty and not bench.simulated:
        yield Row(
            "bench",
            "warn",
            f"empty: {', '.join(empty)}",
            "在台架文件中补全，否则报告相应栏目为空",
            "fill them in, or the report leaves them blank (ISO/IEC 17025 7.8.2)",
        )


def _shortcomings(requirement: Requirement, stream: Stream) -> list[str]:
    """Why a stream cannot satisfy a requirement's minima, whatever it measures."""
    found = []
    seconds = stream.duration_ns // 1_000_000_000
    if seconds < requirement.min_seconds:
        found.append(f"{seconds} s of at least {requirement.min_seconds} s")
    windowed = requirement.statistic == "worst-window-median"
    windows = seconds // requirement.window_s
    if windowed and windows < requirement.min_windows:
        found.append(f"{windows} windows of at least {requirement.min_windows}")
    packets = stream.rate_pps * requirement.window_s if windowed else stream.packets
    effective = packets * requirement.vif_plan[1] // (requirement.vif_plan[0] * stream.flows)
    if effective < requirement.min_n_eff:
        found.append(f"{effective} effective samples a flow of at least {requirement.min_n_eff}")
    return found


@check("policy")
def policy_fits(context: Context) -> Iterable[Row]:
    """Whether bench, streams and policy can lead to a complete run."""
    policy = context.policy
    if policy is None:
        return
    if policy.rehearsal and not context.bench.simulated:
        yield Row(
            "policy",
            "failed",
            f"{policy.id} is a rehearsal, the bench is real",
            "在台架文件中选用正式政策",
            "choose a policy that is not a rehearsal",
        )
    else:
        yield Row("policy", "ok", f"{policy.id} version {policy.version}, {len(policy.requirements)} requirements")
    streams = {each.name: each for each in context.streams}
    for requirement in policy.requirements:
        stream = streams.get(STREAM_OF[requirement.measurand])
        lacking = ["no stream for it"] if stream is None else _shortcomings(requirement, stream)
        if lacking:
            yield Row(
                f"policy {requirement.id}",
                "warn",
                "INCOMPLETE: " + "; ".join(lacking),
                "延长测量、提高速率或补上该项，否则结果不完整",
                "measure longer, faster or that too; the run can only be INCOMPLETE",
            )


def _clock_row(context: Context, site: str, states: Sequence[ClockState]) -> tuple[Row, int | None]:
    """A site's row, and its bound in ns where one is good enough to speak of."""
    name = f"clocks {site}"
    said = "; ".join(
        f"{state.source}: "
        + {True: "synchronised", False: "not synchronised", None: "unknown"}[state.synchronised]
        + (f", bound {state.bound_ns} ns" if state.bound_ns is not None else f" ({state.raw[:120]})")
        for state in {state.source: state for state in states}.values()
    )
    if any(state.leap_pending for state in states):
        row = Row(name, "failed", f"leap second announced; {said}", "闰秒之后再测", "measure after the leap second")
        return row, None
    bounds = [state.bound_ns for state in states if state.synchronised and state.bound_ns is not None]
    if bounds and not any(state.synchronised is False for state in states):
        return Row(name, "ok", said), max(bounds)
    row = Row(
        name,
        "warn",
        said or "no source that can be asked here",
        "同步时钟（chrony 或 PTP），否则只能得到无时钟判定",
        "synchronise it (chrony or PTP), or only clock-free verdicts are possible",
    )
    return row, None


@check("clocks")
def clock_states(context: Context) -> Iterable[Row]:
    """How the clocks are, and whether a clock-based verdict is within reach."""
    policy = context.policy
    if policy is None:
        return
    seen: set[str] = set()
    for link in context.bench.links:
        yield from _rows("clocks", link, _link_clocks(context, policy, link, seen))


def _link_clocks(context: Context, policy: Policy, link: Link, seen: set[str]) -> Iterable[Row]:
    """The clocks of one link's ends; those of sites in ``seen`` were told with another link."""
    gate = min(each.u_gate_refuse_ns for each in policy.requirements)
    states = context.clocks(context.bench, link)
    bounds = []
    for site in (link.near, link.far):
        own = [state for state in states if state.site == site.name]
        if not own and "in-band" in site.clock.sources:
            if site.name not in seen:
                trust = "trusted" if link.far_clock_trusted else "information only"
                yield Row(f"clocks {site.name}", "ok", f"speaks in-band during the run ({trust})")
        else:
            row, bound = _clock_row(context, site.name, own)
            bounds += [bound] if bound is not None else []
            if site.name not in seen:
                yield row
        seen.add(site.name)
    faults = {leap.kernel_fault(s.tai_utc_s, context.now(), leap.newest()) for s in states if s.tai_utc_s}
    for fault in sorted(faults - {""}):
        yield Row(
            f"clocks {link.name}",
            "failed",
            fault,
            "纠正内核 TAI 偏移或更新闰秒表",
            "correct the kernel's TAI offset (adjtimex), or update tzdata",
        )
    # Expanded uncertainty (k = 2) of rectangles, rounded up; the other components come on top. The simulated
    # bench is calibrated back to back; elsewhere both stamps enter in full unless an artefact speaks for them.
    calibrated = context.bench.simulated or link.name in context.bench.calibrations
    planes = [] if calibrated else [policy.uncalibrated_kernel_plane_ns] * 2
    squares = 4 * sum(half * half for half in (*bounds, *planes))
    expanded = isqrt(-(-squares // 3))
    expanded += expanded * expanded * 3 < squares
    if expanded > gate:
        yield Row(
            f"clocks {link.name}",
            "warn",
            f"U of clocks{' and uncalibrated stamps' * bool(planes)} {expanded} ns or more, "
            f"above the {gate} ns a clock-based verdict allows",
            "改善时钟" + "或校准时间戳" * bool(planes) + "，否则只能得到无时钟判定",
            "better clocks" + " or calibrated stamps" * bool(planes) + ", or only clock-free verdicts",
        )
    if link.sync_over_link is None and not context.bench.simulated:
        yield Row(
            f"clocks {link.name}",
            "warn",
            "not declared whether time crosses this link",
            "在台架文件中写明 sync_over_link = false 或 true",
            "declare sync_over_link = false or true in the bench file",
        )
    if link.sync_over_link:
        yield Row(
            f"clocks {link.name}",
            "warn",
            "time reaches a site over this very link",
            "改用独立于被测链路的时间源",
            "use a time source that does not cross the link, or only clock-free verdicts",
        )


@link_check("calibration")
def calibrations(context: Context, link: Link) -> Iterable[Row]:
    """Whether each link's calibration is of its ports and holds until the run's end."""
    now = context.now()
    end = now + sum(each.duration_ns for each in context.streams) * len(context.bench.links)
    name = f"calibration {link.name}"
    artefact = context.bench.calibrations.get(link.name)
    if artefact is None:
        return
    wrong = [expired] if (expired := artefact.expired(now, end)) else []
    port = None if context.port is None else context.port(link)
    if artefact.simulated and not (context.bench.simulated or (context.simulated and context.simulated(link))):
        wrong.append(f"simulated: {', '.join(artefact.simulated)}")
    if context.port is not None:
        wrong += artefact.foreign(port)
    for stream in context.streams:
        load = artefact.load(stream.rate_pps, stream.size)
        if load.size != stream.size or not load.rate_pps <= 2 * stream.rate_pps <= 4 * load.rate_pps:
            wrong.append(f"no load like stream {stream.name}: {stream.rate_pps} pps, {stream.size} octets")
    said = f"{artefact.id[:16]} until {artefact.until}"
    if wrong:
        yield Row(
            name,
            "failed",
            f"{said}: {'; '.join(wrong)}",
            "重新校准，或删去 calibration 后平面按全值计入",
            "calibrate the pair anew (`millicert calibrate`), or waive it: stamps then enter in full",
        )
    else:
        far = artefact.far
        whose = f"{far.interface}, MAC {far.mac}, transceiver {far.transceiver}"
        yield Row(name, "ok", f"{said}; the far port cannot be seen from here, it must be {whose}")


@check("leap")
def leap_seconds(context: Context) -> Iterable[Row]:
    """Whether TAI - UTC is known and stays what it is during the run."""
    if not context.bench.links:
        return
    table, now = leap.newest(), context.now()
    length = sum(each.duration_ns for each in context.streams) * len(context.bench.links)
    pending = table.pending(now - LEAP_MARGIN_NS, now + length + LEAP_MARGIN_NS)
    found = f"TAI − UTC {table.assumed(now)} s by {table.origin}"
    if pending:
        yield Row("leap", "failed", f"{found}; a leap second within the run", "闰秒之后再测", "measure after it")
    elif pending is None:
        yield Row(
            "leap",
            "warn",
            f"{found}, which has expired",
            "更新 tzdata 或 millicert",
            "update tzdata or millicert: a newer leap second would go unseen",
        )
    else:
        yield Row("leap", "ok", found)
    for other in leap.system_tables():
        for conflict in leap.conflicts(leap.SHIPPED, other):
            yield Row("leap", "failed", conflict, "核对闰秒表", "find out which table is wrong")


@link_check("ports")
def ports_free(context: Context, link: Link) -> Iterable[Row]:
    """Whether the flows' source ports can be bound."""
    name = f"ports {link.name}"
    if context.bench.simulated:
        yield Row(name, "ok", f"{len(link.flow_ports)} ports inside the simulated metro")
        return
    family = socket.AF_INET6 if ":" in link.endpoint.near_address else socket.AF_INET
    taken: dict[str, list[int]] = {}
    for port in link.flow_ports:
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            try:
                trial.bind((link.endpoint.near_address, port))
            except OSError as why:
                taken.setdefault(why.strerror or str(why), []).append(port)
    if taken:
        said = "; ".join(f"{why}: {', '.join(map(str, ports))}" for why, ports in taken.items())
        yield Row(
            name,
            "failed",
            f"{link.endpoint.near_address}: {said}",
            "`ss -ulpn` 可查占用者；或改用别的 flow_ports、near_address",
            "`ss -ulpn` names who holds them; or choose other flow_ports or near_address",
        )
    else:
        yield Row(name, "ok", f"{len(link.flow_ports)} source ports free")


def _interface(link: Link) -> str:
    """The interface the link's packets will leave through; empty when it cannot be told."""
    if link.endpoint.interface:
        return link.endpoint.interface
    family = socket.AF_INET6 if ":" in link.endpoint.far_address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asker:
        asker.connect((link.endpoint.far_address, link.endpoint.far_port))  # sends nothing: only a route is chosen
        address = str(asker.getsockname()[0])
    if address in {"127.0.0.1", "::1"}:
        return "lo"
    return next((each.name for each in interfaces() if address in each.addresses), "")


@link_check("interface")
def interface_facts(context: Context, link: Link) -> Iterable[Row]:
    """Whether the near interface exists, is real, and takes the streams' frames."""
    if context.facts is None or context.bench.simulated:
        return
    largest = max((each.size for each in context.streams), default=0)
    name = f"interface {link.name}"
    try:
        found = _interface(link)
    except OSError as why:
        yield Row(
            name,
            "failed",
            f"no route to {link.endpoint.far_address}: {why.strerror}",
            "检查路由与 far_address",
            "`ip route get` shows what the kernel knows; check far_address",
        )
        return
    if not found:
        yield Row(name, "warn", "not to be told which interface", "写明 interface", "name it in the bench file")
        return
    try:
        facts = context.facts(found)
    except OSError as why:
        yield Row(name, "failed", f"{found}: {why.strerror}", "检查 interface", "`ip link` lists what exists")
        return
    said = f"{found}: driver {facts.driver or 'unknown'}, MTU {facts.mtu}"
    if largest - ETHERNET_OVERHEAD > facts.mtu:
        yield Row(
            name,
            "failed",
            f"{said}; frames of {largest} octets do not fit",
            "减小 size 或增大 MTU",
            "smaller size, or a larger MTU on the whole path",
        )
    elif context.simulated is not None and (simulated := context.simulated(link)):
        yield Row(
            name,
            "warn",
            f"{said}; {', '.join(simulated)}; the run is SIMULATED",
            "使用真实网卡，并在其所在的网络命名空间内运行",
            "for a certificate use a real interface, in the network namespace that has it",
        )
    else:
        yield Row(name, "ok", said)


SILENT: Final = (
    "在远端运行 `millicert reflect`，检查地址、端口、防火墙与密钥",
    "run `millicert reflect` there; check far_address, far_port, firewalls and the key file",
)
REFUSED: Final = {
    "size": (
        "远端应答的长度与请求不同：设其为等长应答（RFC 6038），或在远端运行 `millicert reflect`",
        "it answers with another size than it is asked: set it to symmetrical size (RFC 6038), "
        "or run `millicert reflect` there",
    ),
    "hmac": (
        "远端的密钥不同或未使用密钥：两端使用同一 key_file",
        "it has another key, or none: give both ends the same key file",
    ),
}
"""What helps where somebody answers and his answers are refused, by cause."""


@link_check("far-end")
def far_end_answers(context: Context, link: Link) -> Iterable[Row]:
    """Whether somebody answers test packets at the far end."""
    if context.probe is None:
        return
    name = f"far-end {link.name}"
    answer = context.probe(link)
    refused = ", ".join(f"{count} {cause}" for cause, count in answer.causes.items())
    said = f"{answer.received} of {answer.sent} answered" + (f"; refused: {refused}" if refused else "")
    if answer.round_trip_ns is not None:
        said += f"; about {-(-answer.round_trip_ns // 1000)} µs there and back"
    if not answer.received:
        most = max(answer.causes, key=answer.causes.__getitem__, default="")
        yield Row(name, "failed", said, *REFUSED.get(most, SILENT))
    elif answer.received < answer.sent:
        yield Row(name, "warn", said, "检查链路丢包", "the link or the far end loses packets")
    else:
        yield Row(name, "ok", said)


@link_check("timestamps")
def stamps_come(context: Context, link: Link) -> Iterable[Row]:
    """Whether the kernel or the NIC stamps what leaves and what arrives."""
    if context.stamps is None:
        return
    found = context.stamps(link)
    said = f"transmit {found.tx}, receive {found.rx}" + (f" ({found.remark})" if found.remark else "")
    if link.stamps == "nic" and {found.tx, found.rx} != {"nic"}:
        yield Row(
            f"timestamps {link.name}",
            "failed",
            f"the NIC was asked for, and does not stamp: {said}",
            '换用带硬件时间戳的网卡，或在台架文件中写 stamps = "kernel"',
            'use a NIC that stamps every packet (`ethtool -T`), or stamps = "kernel" in the bench file',
        )
    elif {found.tx, found.rx} <= {"kernel", "nic"}:
        yield Row(f"timestamps {link.name}", "ok", said)
    else:
        yield Row(
            f"timestamps {link.name}",
            "failed",
            said,
            "换用支持内核时间戳的网卡驱动",
            "use an interface whose driver stamps (`ethtool -T`); user-space stamps cannot certify 1 ms",
        )


@check("disk")
def disk_space(context: Context) -> Iterable[Row]:
    """Whether the planned samples fit where results go."""
    packets = sum(each.packets for each in context.streams) * len(context.bench.links)
    needed = 2 * BYTES_ON_DISK * packets + RESERVE_BYTES
    place = context.results.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    said = f"{needed >> 20} MiB wanted for {packets} samples, {free >> 20} MiB free at {place}"
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        yield Row("disk", "failed", f"{place} cannot be written", "检查权限或换 --results", "choose another --results")
    elif free < needed:
        yield Row("disk", "failed", said, "清理磁盘或换 --results", "make room, or choose another --results")
    else:
        yield Row("disk", "ok", said)


@check("memory")
def memory(context: Context) -> Iterable[Row]:
    """Whether the largest stream can be judged in memory."""
    largest = max((each.packets for each in context.streams), default=0)
    needed = BYTES_IN_MEMORY * largest + RESERVE_BYTES
    rows = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = next(int(row.split()[1]) << 10 for row in rows if row.startswith("MemAvailable:"))
    said = f"{needed >> 20} MiB wanted, {free >> 20} MiB available"
    if free < needed:
        yield Row("memory", "failed", said, "缩短测量或降低速率", "a shorter or slower stream, or more memory")
    else:
        yield Row("memory", "ok", said)


@check("cpu")
def processors(context: Context) -> Iterable[Row]:
    """Whether the host is quiet enough to send on time."""
    count = os.cpu_count() or 1  # not our affinity: the simulated metro narrows that on purpose
    load = os.getloadavg()[0]
    said = f"{count} processor(s), load {load:.2f}"
    if count < 2:
        yield Row("cpu", "warn", said, "使用至少两个处理器", "two processors or more, or sending stalls others' work")
    elif load > count / 2:
        yield Row("cpu", "warn", said, "停止其它程序", "stop other programs: they delay packets")
    else:
        yield Row("cpu", "ok", said)


CALIBRATION_SOON_DAYS: Final = 30
"""Of a calibration that ends within so many days somebody should know."""


@check("instruments")
def instruments(context: Context) -> Iterable[Row]:
    """Whether every instrument answers, is the one the bench names, and is within its calibration."""
    if context.optics is None:
        return
    try:
        found = context.optics()
    except HarnessError as why:
        yield Row("instruments", "failed", f"wanted {why.wanted}; found {why.found}", why.remedy, why.remedy)
        return
    today = datetime.fromtimestamp(context.now() // 1_000_000_000, UTC).date()
    for each in context.bench.instruments:
        name, said = f"instruments {each.name}", found.identities[each.name]
        if each.calibrated_until:
            left = (date.fromisoformat(each.calibrated_until) - today).days
            said += f"; calibrated until {each.calibrated_until}"
            if left < 0:
                yield Row(
                    name,
                    "failed",
                    f"{said}: {-left} days ago",
                    "送校准，或用 --waive 豁免（将写入报告）",
                    "have it calibrated, or waive it by name: the report says so",
                )
                continue
            if left < CALIBRATION_SOON_DAYS:
                yield Row(name, "warn", f"{said}: {left} days", "尽快安排校准", "have it calibrated soon")
                continue
        unconfirmed = found.unconfirmed.get(each.name, ())
        tested = context.bench.dut is not None and each.name == context.bench.dut.instrument
        if not each.calibrated_until and not context.bench.simulated and not tested:
            yield Row(
                name,
                "warn",
                f"{said}; the bench does not say until when {each.name} is calibrated"
                + (f"; unconfirmed: {'; '.join(unconfirmed)}" if unconfirmed else ""),
                "在台架文件中写明 calibrated_until",
                'write calibrated_until = "YYYY-MM-DD" in the bench file, from its calibration certificate',
            )
        elif unconfirmed and not context.bench.simulated:
            yield Row(
                name,
                "warn",
                f"{said}; unconfirmed: {'; '.join(unconfirmed)}",
                "核对读数",
                "compare it with a known reading",
            )
        else:
            yield Row(name, "ok", said)
    seconds = sum(each for _, each in found.estimates)
    parts = ", ".join(f"{name} {each:.0f} s" for name, each in found.estimates)
    yield Row("instruments", "ok", f"about {-(-round(seconds) // 60)} min by settings: {parts}")


@link_check("key")
def key_files(context: Context, link: Link) -> Iterable[Row]:
    """Whether the keys are still there and private."""
    name = f"key {link.name}"
    if link.key_file is None:
        if link.far_clock_trusted and not context.bench.simulated:
            yield Row(
                name,
                "warn",
                "far clock trusted, not authenticated: its statements could be anybody's",
                "配置 key_file，否则任何人都能冒充远端时钟",
                "set key_file: without it anyone could speak for the far clock",
            )
        if link.far_turnaround_qualified:
            yield Row(
                name,
                "warn",
                f"turnaround qualified ({link.far_turnaround_qualified}) but replies are not authenticated",
                "配置 key_file，否则任何人都能冒充该反射器",
                "set key_file: without it anyone could speak for the qualified reflector",
            )
        return
    path = Path(link.key_file)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        yield Row(name, "failed", f"{path} with mode {mode:04o}", f"chmod 600 {path}", f"chmod 600 {path}")
    elif not os.access(path, os.R_OK):
        yield Row(name, "failed", f"{path} cannot be read", "检查权限", "check its owner")
    else:
        if context.key is not None:
            context.key(link)
        yield Row(name, "ok", f"authenticated with {path.name}")
