"""A Run: one bench, one plan, one results folder, from preflight to the sealed verdict."""

from __future__ import annotations

import contextlib
import secrets
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

from fastpath import timestamping, wire
from fastpath.timestamping import Capability
from harness import engine, plan, preflight, provenance, stage
from harness.accepting import Accepting
from harness.archive import bag, history, log, record, redaction, witness
from harness.archive.folder import (
    BENCH,
    CALIBRATIONS,
    MEASUREMENTS,
    POLICY,
    SCHEMA,
    RunFolder,
    plan_hash,
    unfinished,
)
from harness.archive.ledger import LOGGED
from harness.archive.segments import SegmentWriter
from harness.artefact import artefact_file
from harness.bench import POLICIES, Bench
from harness.calibration import LEAST, calibrate
from harness.canonical import canonical
from harness.certificate import judge
from harness.clock import ClockState
from harness.errors import ArchiveError, BenchError, EngineError, HarnessError
from harness.evidence import in_band, leap
from harness.evidence.gatherer import EvidenceGatherer, sources_of
from harness.evidence.kernel import Kernel
from harness.figures.path import ID as PATH
from harness.link import Link, Route
from harness.measurement import Calibration, Health, Measurement
from harness.opening import check_answers
from harness.order import OrderedStream, Signed, departures, tie
from harness.order import read as read_order
from harness.policy import Policy, Requirement
from harness.policy import parse as parse_policy
from harness.preflight import Optics
from harness.report import junit, longtable, pdf, phrases, plots, terminal
from harness.safety import Outcome
from harness.samples import Column, Samples
from harness.stage import Scene
from harness.stream import Stream
from harness.tomlfile import nearest, read_text

CALIBRATION_S: Final = 2
"""Least length of a simulated back-to-back calibration at field rate and size."""

LEAST_KEY: Final = 16
"""Octets of a key: the strength of the 128-bit HMAC it makes (RFC 8762 4.4)."""

FLUSH_S: Final = 15.0
"""Rows older than this are on disk, whatever happens next."""


PROBE_SIZE: Final = 512
"""Frame octets of a test packet when no stream is planned: any STAMP packet of ours fits."""


class Rows(Protocol):
    """Where the rows of a running stream go: a segment writer of a run folder, or memory."""

    def append(self, columns: Mapping[str, Column]) -> None:
        """Take rows in schedule order."""

    def flush(self) -> None:
        """Put what was taken where it survives."""

    def samples(self) -> Samples:
        """All rows taken."""


def unknown() -> int:
    """Error Estimate of a clock nobody has asked yet."""
    return wire.encode_error_estimate(None, False, True)


@dataclass(frozen=True)
class Options:
    """What the command line may say about a run."""

    results: Path
    operator: str = ""
    duration_s: float | None = None
    rate_pps: int | None = None
    resume: str | None = None
    """Run id, or "newest", or None."""
    waived: tuple[str, ...] = ()
    preflight_only: bool = False
    """Nothing will be measured."""
    policy: str | None = None
    """Name or path of a policy that replaces the bench's."""
    order: Path | None = None
    """File of the work order that the run carries out."""
    dut: str = ""
    """Serial number that the device under test must say."""
    answers: Path | None = None
    """File with what a person would answer to prompts."""


def read_key(path: Path) -> bytes:
    """A link's HMAC key: at least 16 octets as hex digits. Raises BenchError when it is anything else, or public."""
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as why:
        raise BenchError(f"a key file {path}", str(why), "write the key as hex digits: `openssl rand -hex 32`") from why
    if mode & 0o077:
        raise BenchError(f"a key file that only its owner reads, {path}", f"mode {mode:04o}", f"chmod 600 {path}")
    try:
        key = bytes.fromhex(text)
    except ValueError as why:
        raise BenchError(f"hex digits in {path}", str(why), "write it anew: `openssl rand -hex 32`") from why
    if len(key) < LEAST_KEY:
        raise BenchError(
            f"a key of {LEAST_KEY} octets or more in {path}", f"{len(key)}", "write it anew: `openssl rand -hex 32`"
        )
    return key


def read_policy(name: str) -> str:
    """Text of a shipped policy by name, or of a file by path. Raises BenchError naming the shipped ones."""
    path = Path(name) if name.endswith(".toml") else POLICIES / f"{name}.toml"
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as why:
        shipped = sorted(each.stem for each in POLICIES.glob("*.toml"))
        hint = nearest(name, shipped)
        found = (
            str(why) if name.endswith(".toml") else f'no policy "{name}"' + (f", did you mean {hint}?" if hint else "")
        )
        raise BenchError(f"a policy {name}", found, f"give a .toml file or one of {', '.join(shipped)}") from why


def one_line(text: str, option: str) -> str:
    """``text`` where a report can print it: letters, digits, signs and spaces of any script on one line.

    Raises HarnessError for a control character, a line break, a sign that turns the direction of writing, or octets
    that are no UTF-8; ``option`` names it.
    """
    odd = [each for each in text if not each.isprintable() and unicodedata.category(each) != "Zs"]
    if odd:
        found = ", ".join(dict.fromkeys(f"U+{ord(each):04X}" for each in odd))
        raise HarnessError(f"text on one line for {option}", f"{text!a} with {found}", "leave these characters out")
    return text


class Run:
    """Opened by `commit`, ended by `finish`; between the two it measures and certifies."""

    def __init__(self, bench: Bench, options: Options) -> None:
        self.bench = bench
        self.options = options
        one_line(options.operator, "--operator")
        one_line(bench.operator, "operator in [bench]")
        if bench.dut is None and (options.dut or options.answers is not None):
            raise BenchError(
                f"a device under test on bench {bench.name} for {'--dut' if options.dut else '--answers'}",
                "no [dut]",
                "leave that option out, or name a bench that has one",
            )
        check_answers(bench, options.answers)
        named = options.policy or bench.policy
        self.policy_text = read_policy(named) if named else ""
        self.policy: Policy | None = parse_policy(self.policy_text, named) if named else None
        self.accepting = None if bench.dut is None else Accepting(bench, bench.dut, options.dut, options.answers)
        if self.policy is not None and self.policy.rehearsal and not bench.simulated:
            raise BenchError(
                f"a policy for real links on bench {bench.name}", f"{self.policy.id}, a rehearsal", "choose metro-2027"
            )
        self.order: Signed | None = None
        if options.order is not None:
            self.order = read_order(options.order)
            self.order.check_window(time.time_ns(), time.time_ns())
            self.bench = tie(self.order, bench, self.policy_text)
        self.stop = engine.Stop()
        self.measuring = False
        self.unprinted = ""
        """Why there is no PDF; empty when there is one."""
        self.unsealed = ""
        """Why the folder could not be sealed, or its seal not logged; empty when nothing went wrong."""
        self.log: log.Log | None = None
        self.folder: RunFolder | None = None
        self.steps: list[tuple[str, str, plan.Step]] = []
        self.procedures: list[tuple[str, str]] = []
        """(test, procedure) of what is accepted."""
        self.shortened: list[str] = []
        self._stage: stage.Stage | None = None
        self._calibrations: dict[tuple[str, int, int], Calibration] = {}
        self._keys: dict[str, bytes | None] = {}
        self._routes: dict[str, Route] = {}
        """What the run itself found of a link's fibre, in place of what the bench file says."""
        self.outcomes: tuple[Outcome, ...] = ()
        """What became of each instrument in the end."""
        self.observe_part: Callable[[str, int, int], None] = lambda *_: None
        """(procedure, parts done, of how many): told when a part of an acceptance is done."""
        self.tai_utc_s = leap.tai_utc_now()

    # -- the plan --------------------------------------------------------------------------------------------

    def stream_of(self, step: plan.Step, link_name: str) -> Stream:
        """The stream that will run for a step on a link: plan, bench, command line; its seed is drawn when it runs.

        Every flow that the link declares is probed unless the bench file says otherwise for the stream.
        """
        duration = self.options.duration_s
        stream, notes = plan.resolve(
            replace(step.stream, flows=len(self.bench.link(link_name).flow_ports)),
            dict(self.bench.streams.get(step.stream.name, {})),
            duration_ns=None if duration is None else round(duration * 1e9),
            rate_pps=self.options.rate_pps,
        )
        self.shortened += [f"{stream.name}: {note}" for note in notes if f"{stream.name}: {note}" not in self.shortened]
        return stream

    @property
    def linked(self) -> Policy:
        """The policy that links are certified by. Raises BenchError when the bench has none."""
        if self.policy is None:
            raise BenchError(f"a policy on bench {self.bench.name}", "none", "name one under [bench] policy")
        return self.policy

    def requirement(self, requirement_id: str) -> Requirement:
        """The policy's requirement. Raises BenchError when the policy does not have it."""
        for each in self.linked.requirements:
            if each.id == requirement_id:
                return each
        raise BenchError(
            f"requirement {requirement_id} in policy {self.linked.id}",
            ", ".join(each.id for each in self.linked.requirements),
            "choose a policy that has it, or correct the plan's @step",
        )

    def commit(
        self,
        steps: Sequence[tuple[str, str, plan.Step]],
        procedures: Sequence[tuple[str, str]] = (),
        *,
        collect_only: bool,
    ) -> None:
        """Fix what will be measured, put it on disk and journal its hash, before anything is measured.

        ``procedures``: (test, procedure) of the device under test, in their order.
        """
        self.steps = list(steps)
        self.procedures = list(procedures)
        planned, tested = [], [test for test, _, _ in steps]
        for test, link, step in steps:
            self.requirement(step.requirement)
            planned.append(
                {
                    "test": test,
                    "link": link,
                    "requirement": step.requirement,
                    "stream": asdict(self.stream_of(step, link)),
                }
            )
        if collect_only:
            return
        if self.accepting is not None and procedures:
            self.accepting.connect()
        simulated = ["simulated bench"] if self.bench.simulated else self._virtual()
        if self.accepting is not None and self.accepting.opened is not None:
            simulated += self.accepting.opened.simulated
        body: dict[str, object] = {
            "schema": "millicert-plan/1",
            "steps": planned,
            "bench": self.bench.resolved(),
            "provenance": {
                "result_schema": SCHEMA,
                "software": provenance.software(),
                "bench": self.bench.name,
                "operator": self.options.operator or self.bench.operator,
                "lab": asdict(self.bench.lab),
                "machine": {name: told for name, told in provenance.machine().items() if name != "boot_id"},
                "plans": sorted({test.split("::")[0] for test in (*tested, *(test for test, _ in procedures))}),
                "simulated": simulated,
                "links": [link.name for link in self.bench.links],
                "incomplete": self._unplanned() + self.shortened + self._departures(),
                "waived": list(self.options.waived),
                **({} if self.order is None else {"order": self.order.told}),
            },
            **({} if self.order is None else {"order": {**self.order.told, "envelope": self.order.envelope}}),
        }
        if self.accepting is not None:
            body["optical"] = self.accepting.plan([name for _, name in procedures])
        if self.options.resume:
            self._resume(body)
            return
        self.log = log.Log.of(self.options.results, bool(simulated))
        self.folder = RunFolder.create(
            self.options.results,
            bool(simulated),
            body,
            bench=self.bench.text,
            policy=self.policy_text,
            profile="" if self.accepting is None else self.accepting.text,
            environment={"software": provenance.software(), "machine": provenance.machine()},
            secret=secrets.token_bytes(redaction.SECRET_OCTETS),
        )
        self._enter()

    def _enter(self) -> None:
        """The plan stands in the log, and its place there in the journal, before anything is measured."""
        folder, book = self.opened, self.opened.ledger
        try:
            if self.log is None:
                self.log = log.Log.of(self.options.results, book.simulated)
            if book.logged is None:
                # Where nothing is measured nothing can be certified: no attempt at what the policy asks.
                idle = self.options.preflight_only or not (self.steps or self.procedures)
                wanted = [] if idle else self._asked()
                found = self.log.plan(
                    folder.name,
                    history.item(self.bench.name, [link.name for link in self.bench.links], wanted),
                    plan_sha256=book.plan_sha256,
                    bench_sha256=book.committed[BENCH],
                    policy_sha256=book.committed[POLICY],
                )
                folder.journal.append(LOGGED, **log.told(found, witness.covered(self.log.path)))
            if self.options.resume:
                self.log.append(history.RESUMED, run=folder.name)
        except BaseException:
            folder.close()
            raise

    def _asked(self) -> list[str]:
        """Ids of all requirements, of the links and of the device under test."""
        links = [] if self.policy is None else [each.id for each in self.policy.requirements]
        return links + ([] if self.accepting is None else [each.id for each in self.accepting.profile.requirements])

    def _virtual(self) -> list[str]:
        """Why links of a real bench are not shown to leave as real light: then it is a simulation all the same."""
        found: set[str] = set()
        for link in self.bench.links:
            with contextlib.suppress(EngineError):  # preflight says which and why
                found.update(stage.facts(link))
        return sorted(found)

    def _unplanned(self) -> list[str]:
        """What the policy wants and this run's selection of tests leaves out."""
        planned = {(link, step.requirement) for _, link, step in self.steps}
        if self.policy is None:
            return []
        return [
            f"{each.id} on {link.name} is not among the tests selected"
            for each in self.policy.requirements
            for link in self.bench.links
            if (link.name, each.id) not in planned
        ]

    def _departures(self) -> list[str]:
        """What the work order wants and this run does not plan just so."""
        if self.order is None:
            return []
        steps = self.steps
        planned = [OrderedStream(link, step.requirement, self.stream_of(step, link)) for _, link, step in steps]
        return departures(self.order, planned)

    def _resume(self, body: Mapping[str, object]) -> None:
        wanted = self.options.resume or "newest"
        found = unfinished(self.options.results, plan_hash(body), "" if wanted == "newest" else wanted)
        if found is None:
            raise ArchiveError(
                "an interrupted run of this very plan, bench, command line and software"
                + ("" if wanted == "newest" else f" named {wanted}"),
                "none",
                "start a new run without --resume",
            )
        self.folder = RunFolder.open(found.path)
        self._enter()

    @property
    def opened(self) -> RunFolder:
        """The run's folder. Raises ArchiveError before `commit`."""
        if self.folder is None:
            raise ArchiveError("a committed plan", "none", "commit the plan first")
        return self.folder

    # -- before measuring ------------------------------------------------------------------------------------

    @property
    def stage(self) -> stage.Stage:
        """Where the streams run; opened at first use."""
        if self._stage is None:
            if self.bench.simulated:
                self._stage = stage.SimulatedStage(self.bench, self.tai_utc_s)
            else:
                self._stage = stage.RealStage(self.tai_utc_s)
        return self._stage

    def key(self, link: Link) -> bytes | None:
        """The link's HMAC key, read once."""
        if link.name not in self._keys:
            self._keys[link.name] = None if link.key_file is None else read_key(Path(link.key_file))
        return self._keys[link.name]

    def preflight(self) -> preflight.Table:
        """Every check, journaled. Raises BenchError when a waived check does not exist."""
        streams = {step.stream.name: self.stream_of(step, link) for _, link, step in self.steps}
        asked: dict[str, tuple[engine.Answer, Capability]] = {}

        def ask(link: Link) -> tuple[engine.Answer, Capability]:
            """Both answers about a link from one scene."""
            if link.name not in asked:
                here = self.stage.link(link)
                stream = replace(next(iter(streams.values()), Stream("probe", 1, 0, PROBE_SIZE)), flows=1)
                with self.stage.scene(here, stream, self.key(link), unknown) as scene:
                    nic = here.stamps == "nic"
                    able = timestamping.enable(scene.sockets[0].fileno(), nic, here.endpoint.interface)
                    asked[link.name] = engine.probe(here, stream, scene.sockets, scene.near, self.key(link)), able
            return asked[link.name]

        table = preflight.run(
            preflight.Context(
                self.bench,
                self.policy,
                tuple(streams.values()),
                self.options.results,
                self.options.waived,
                probe=lambda link: ask(link)[0],
                stamps=lambda link: ask(link)[1],
                facts=timestamping.interface_facts,
                simulated=lambda link: stage.facts(self.stage.link(link)),
                port=lambda link: self.stage.port(self.stage.link(link)),
                key=self.key,
                optics=None if self.accepting is None or not self.procedures else self._open_optics,
            )
        )
        self.opened.journal.append("run.preflight", rows=[asdict(row) for row in table.rows])
        return table

    def _open_optics(self) -> Optics:
        """The instruments, opened, with what they are and how long the procedures will take."""
        accepting = self.accepting
        if accepting is None:
            raise BenchError("a device under test", "none", "name one under [dut] in the bench file")
        estimates = accepting.begin(self.opened, self.observe_part, lambda: self.stop.reason)
        opened = accepting.opened
        devices = {} if opened is None else opened.devices
        return Optics(
            {name: str(device.identity) for name, device in devices.items()},
            [(each.procedure, each.seconds) for each in estimates],
            {name: tuple(device.unconfirmed) for name, device in devices.items()},
        )

    # -- measuring -------------------------------------------------------------------------------------------

    def accept(self, procedure: str) -> list[Mapping[str, Any]]:
        """Carry out a procedure on the device under test; its requirements, judged and journaled."""
        if self.accepting is None:
            raise BenchError("a device under test", "none", "name one under [dut] in the bench file")
        self.measuring = True
        try:
            self.accepting.run(procedure)
        except Exception as why:
            self.note_error(f"{procedure}: {type(why).__name__}: {why}")
            raise
        finally:
            self.measuring = False
        rows = self.accepting.judged(procedure)
        if procedure == PATH:
            self._routes |= self.accepting.routes()
        for row in rows:
            self.opened.journal.append(
                "run.verdict", requirement=row["id"], measurement=procedure, verdict=row["verdict"]
            )
        return rows

    def measure(self, link_name: str, step: plan.Step, observe: Callable[[engine.Progress], None]) -> Measurement:
        """Run a step's stream on a link, with evidence before, during and after; on disk when this returns.

        A measurement that an interrupted run had finished is carried, not repeated.
        """
        declared = self.bench.link(link_name)
        link = self.stage.link(replace(declared, route=self._routes.get(link_name, declared.route)))
        stream = replace(self.stream_of(step, link_name), seed=secrets.token_hex(16))
        name = f"{link.name}-{stream.name}"
        if name in self.opened.finished:
            return self.opened.load(name)
        calibration = self._calibration(link, stream)
        with self._begun(name, MEASUREMENTS) as writer:
            measurement = self._play(name, link, stream, observe, writer, calibration)
            self.opened.finish(measurement)
        return measurement

    @contextlib.contextmanager
    def _begun(self, name: str, section: str) -> Iterator[SegmentWriter]:
        """A measurement that is set aside, with its rows, when something keeps it from its end."""
        writer = self.opened.begin(name, section)
        try:
            yield writer
        except Exception as why:
            self.note_error(f"{section}/{name}: {type(why).__name__}: {why}")
            self.opened.abandon(name, section)
            raise

    def back_to_back(self, name: str, link_name: str, stream: Stream, rows: Rows, *, reel: bool = False) -> Measurement:
        """The stream over the patch, or the reel, that joins the two ends of a link; the rows stay with ``rows``.

        On a real link that is whatever lies between the two ends now.
        """
        link = self.stage.link(self.bench.link(link_name))
        return self._play(name, link, stream, lambda _: None, rows, None, patch=not reel)

    def _calibration(self, link: Link, stream: Stream) -> Calibration | None:
        """The bench's artefact, else back to back at field rate and size before each simulated stream, else none.

        Whether it applies is the judge's to say: it is handed on, and kept in the folder, as the bench has it.
        """
        artefact = self.bench.calibrations.get(link.name)
        if artefact is not None:
            self.opened.keep_artefact(artefact.id, artefact_file(artefact))
            return Calibration.of(artefact, artefact.load(stream.rate_pps, stream.size))
        if not self.bench.simulated:
            return None
        at = (link.name, stream.rate_pps, stream.size)
        if at not in self._calibrations:
            name = f"{link.name}-{stream.name}-patch"
            carried = self.opened.calibration(name)
            if carried is not None:
                self._calibrations[at] = carried
                return carried
            seconds = max(CALIBRATION_S, -(-2 * LEAST // stream.rate_pps))
            short = replace(stream, name="patch", duration_ns=seconds * 1_000_000_000)
            with self._begun(name, CALIBRATIONS) as writer:
                patched = self._play(name, link, short, lambda _: None, writer, None, patch=True)
                made = calibrate(name, patched.samples, short, patched.near_planes)
                self.opened.finish(patched, CALIBRATIONS, made)
            self._calibrations[at] = made
        return self._calibrations[at]

    def _play(
        self,
        name: str,
        link: Link,
        stream: Stream,
        observe: Callable[[engine.Progress], None],
        writer: Rows,
        calibration: Calibration | None,
        *,
        patch: bool = False,
    ) -> Measurement:
        gatherer = EvidenceGatherer(sources_of(self.bench, link, self.tai_utc_s))
        key = self.key(link)

        flushed = time.monotonic()

        def sink(rows: engine.Columns) -> None:
            nonlocal flushed
            writer.append(rows)
            if time.monotonic() - flushed >= FLUSH_S:
                writer.flush()
                flushed = time.monotonic()

        def estimate() -> int:
            return self._error_estimate(gatherer, link)

        with self.stage.scene(link, stream, key, estimate, patch=patch) as scene, gatherer:
            said = self._ask(link, stream, scene)
            self.measuring = True
            try:
                outcome = engine.run(
                    link,
                    stream,
                    scene.sockets,
                    scene.near,
                    key=key,
                    sink=sink,
                    observe=observe,
                    stop=self.stop,
                )
            finally:
                self.measuring = False
            said += self._ask(link, stream, scene)
            aftermath = scene.aftermath(stream)
        samples = writer.samples()
        far = tuple(
            in_band.states(samples, site=link.far.name, tai_utc_s=self.tai_utc_s, clock_id=outcome.far_clock_id)
            if "in-band" in link.far.clock.sources
            else ()
        )
        return Measurement(
            id=name,
            link=link,
            stream=stream,
            samples=samples,
            evidence=(*gatherer.states, *said, *far),
            health=Health(
                counters=outcome.counters | aftermath.counters,
                started_ns=outcome.started_ns,
                ended_ns=outcome.ended_ns,
                clock_steps_ns=outcome.clock_steps_ns,
            ),
            calibration=calibration,
            stalls=aftermath.stalls,
            interrupted=outcome.interrupted,
            simulated=scene.facts,
            near_planes=outcome.planes,
            serves=tuple(
                dict.fromkeys(
                    step.requirement
                    for _, on, step in self.steps
                    if on == link.name and step.stream.name == stream.name
                )
            ),
            near_port=scene.near_port,
        )

    def _ask(self, link: Link, stream: Stream, scene: Scene) -> tuple[ClockState, ...]:
        """What the far end says of its clock beside the stream, where the bench wants its word: before and after."""
        if "in-band" not in link.far.clock.sources:
            return ()
        answer = engine.probe(link, stream, scene.sockets, scene.near, self.key(link))
        reading = in_band.reading(
            link.far.name,
            time.time_ns(),
            answer.estimates,
            replies=answer.received,
            synchronised=sum(bool(each & in_band.S_BIT) for each in answer.estimates),
            clock_id=answer.clock_id,
        )
        return (reading,)

    def _error_estimate(self, gatherer: EvidenceGatherer, link: Link) -> int:
        """The near clock's Error Estimate from its newest evidence; unknown stays unknown."""
        bound, synchronised = gatherer.claim(link.near.name)
        return wire.encode_error_estimate(bound, synchronised, True)

    # -- judging ---------------------------------------------------------------------------------------------

    def certify(self, requirement_id: str, measurement: Measurement) -> tuple[Mapping[str, Any], str]:
        """One requirement on one measurement, judged and journaled; the whole result is judged again at the end."""
        policy = self.linked.model_copy(update={"requirements": (self.requirement(requirement_id),)})
        result = judge([measurement], policy, {})
        self.opened.journal.append(
            "run.verdict", requirement=requirement_id, measurement=measurement.id, verdict=result["verdict"]
        )
        judged: Mapping[str, Any] = result["requirements"][0]
        return judged, str(result["verdict"])

    def note_error(self, text: str) -> None:
        """Keep an error in the journal, so that the folder says why something is missing."""
        if self.folder is not None:
            self.folder.journal.append("run.error", text=text)

    def limit_of(self, stream_name: str) -> int | None:
        """The limit that a running stream is judged against, ns; None when it serves no requirement."""
        for _, _, step in self.steps:
            if step.stream.name == stream_name:
                return self.requirement(step.requirement).limit_ns
        return None

    def finish(self, *, cut_off: bool) -> Mapping[str, Any] | None:
        """Judge everything from disk, write report and JUnit, seal; the stage is closed whatever happens.

        ``cut_off`` (a second SIGINT, TERM, HUP) leaves the folder unsealed, so that --resume can go on with it. A
        result that cannot be written is still returned: a full disk must not hide a FAIL; ``unsealed`` says why.
        """
        try:
            self.make_safe()
            if self.folder is None:
                return None
            if cut_off:
                self.folder.keep()
            result = self.folder.judged()
            try:
                self._write(result, seal=not cut_off)
            except HarnessError as why:
                self.unsealed = str(why)
                self.folder.close()
            self._leave(cut_off=cut_off)
            return result
        finally:
            if self._stage is not None:
                self._stage.close()
                self._stage = None

    def make_safe(self) -> None:
        """Lasers off, shutters closed, read back; what came of it is in ``outcomes``."""
        if self.accepting is not None and self.accepting.opened is not None:
            self.outcomes = self.accepting.close()

    def _write(self, result: Mapping[str, Any], *, seal: bool) -> None:
        folder = self.opened
        written = canonical(dict(result))
        folder.add_file("result.json", written)
        folder.add_file("junit.xml", junit.junit(result))
        folder.add_file("measurements.csv", longtable.longtable(result, folder.ledger.records))
        measurements = folder.measurements
        stamp = pdf.issued_s(measurements, result) or time.time_ns() // 1_000_000_000
        try:
            made = pdf.pdf(result, plots.plots(measurements, result), written, timestamp=stamp)
        except Exception as why:  # a report that cannot be drawn must not cost the verdict
            self.unprinted = f"none: {type(why).__name__}: {why}"
            self.note_error(self.unprinted)
        else:
            folder.add_file("report.pdf", made)
        if seal:
            folder.seal()
        else:
            folder.close()

    def _leave(self, *, cut_off: bool) -> None:
        """Log how the run ended."""
        if self.log is None:
            return
        run = self.opened
        try:
            if self.unsealed:
                self.log.append(history.ABORTED, run=run.name, reason=self.unsealed)
            elif cut_off:
                self.log.append(history.CUT_OFF, run=run.name, reason=self.stop.reason or "a signal")
            else:
                record.sealed(self.log, run.path)
        except HarnessError as why:
            if not self.unsealed and not cut_off:
                self.unsealed = f"{why}; then type millicert log record {run.path}"

    # -- what the terminal shows -----------------------------------------------------------------------------

    def header(self, lang: phrases.Language) -> list[str]:
        """Bench, clock, policy, results: what the engineer checks first."""
        kind = phrases.SIMULATED.to(lang) if self.bench.simulated else ""
        state = Kernel("here").poll(time.time_ns())
        judged = []
        if self.policy is not None:
            limits = ", ".join(f"{each.id} <= {each.limit_ns} ns" for each in self.policy.requirements)
            text = f"{self.policy.id} version {self.policy.version}: {limits}"
            judged.append(terminal.headed("规则", "policy", text, lang))
        if self.accepting is not None:
            profile, dut = self.accepting.profile, self.accepting.dut
            text = (
                f"{dut.instrument} ({dut.kind}) by profile {profile.id} version {profile.version}: "
                f"{len(profile.requirements)} requirements"
            )
            judged.append(terminal.headed("验收", "accepts", text, lang))
        return [
            terminal.headed("台架", "bench", f"{self.bench.name}  {self.bench.title}  {kind}".rstrip(), lang),
            terminal.headed("时钟", "clock", state.raw, lang),
            *judged,
            terminal.headed("结果目录", "results", str(self.options.results.resolve()), lang),
        ]

    def plan_lines(self, lang: phrases.Language) -> list[str]:
        """How many steps, how long, where they will be kept."""
        total = sum(self.stream_of(step, link).duration_ns for _, link, step in self.steps) // 1_000_000_000
        if self.bench.simulated and not self.bench.calibrations:
            total += CALIBRATION_S * len(self.steps)
        lines = []
        if self.steps or not self.procedures:
            count, minutes = len(self.steps), -(-total // 60)
            text = phrases.Phrase(f"{count} 个测试流，约 {minutes} 分钟", f"{count} streams, about {minutes} min")
            lines.append(terminal.headed("计划", "plan", text, lang))
        if self.procedures:
            names = ", ".join(name for _, name in self.procedures)
            count = len(self.procedures)
            text = phrases.Phrase(f"{count} 项规程：{names}", f"{count} procedures: {names}")
            lines.append(terminal.headed("计划", "plan", text, lang))
        if self.folder is not None:
            lines.append(terminal.headed("本次", "run", str(self.folder.path), lang))
        return lines + [f"          {note}" for note in self.shortened]

    def closing_lines(self, lang: phrases.Language, *, cut_off: bool) -> list[str]:
        """Where everything is, with what to type next."""
        if self.folder is None:
            return []
        path = self.folder.path
        if self.unsealed:
            zh, en = ("未入日志", "not logged") if bag.sealed(path) else ("未封存", "not sealed")
            return [f"{phrases.Phrase(zh, en).to(lang)}  {path}: {self.unsealed}"]
        report = terminal.headed("报告", "report", self.unprinted or str(path / "data" / "report.pdf"), lang)
        if cut_off:
            text = phrases.Phrase(
                f"{path} 未封存：同一命令加 --resume 继续",
                f"{path} is not sealed: the same command with --resume goes on with it",
            )
            return [report, terminal.headed("中断", "cut off", text, lang)]
        return [
            report,
            terminal.headed("核验", "verify", f"millicert verify {path}", lang),
            terminal.headed("未签名", "UNSIGNED", f"millicert sign {path} --key FILE", lang),
        ]
