"""pytest as a field engineer meets it: options, fixtures, progress, verdicts, exit code."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast

import pytest

from drivers.errors import InstrumentError
from harness import plan, provenance, qualification
from harness.bench import load as load_bench
from harness.engine import Progress
from harness.errors import BenchError, EngineError, HarnessError, PreflightError, unusable
from harness.exitcode import OF_VERDICT, ExitCode, worst
from harness.measurement import Measurement
from harness.patching import Person
from harness.preflight import Table
from harness.qualification import Qualification, Qualifying
from harness.report import terminal
from harness.report.phrases import Phrase
from harness.run import Options, Run
from harness.verdict import Verdict, severity

LINE_EVERY_S: Final = 60.0
"""Without a terminal: one progress line a minute."""


class NotCertifiedError(AssertionError):
    """A requirement whose verdict is not PASS; recording it is what fails the test."""

    def __init__(self, verdict: str, text: str) -> None:
        self.verdict = verdict
        super().__init__(text)


def _seconds(text: str) -> float:
    """A stream length in s, from a millisecond to a year."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.001 <= value <= 31_536_000:
        raise argparse.ArgumentTypeError(f"wanted seconds, more than none and at most a year; found {text!r}")
    return value


def _rate(text: str) -> int:
    """Packets a second, at least one."""
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 100_000_000:
        raise argparse.ArgumentTypeError(f"wanted whole packets a second, at least 1; found {text!r}")
    return int(text)


def _run(text: str) -> str:
    """A run id; a path that follows a bare --resume is not one."""
    if not re.fullmatch(r"newest|\d{8}T\d{6}Z-[0-9a-f]{6}", text):
        raise argparse.ArgumentTypeError(f"wanted a run id or nothing; found {text!r}; put --resume after the paths")
    return text


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of a certification; inert for everything that is not under testplans/."""
    group = parser.getgroup("millicert", "certification of one-way delay")
    group.addoption("--bench", metavar="NAME|PATH", help="bench file (default: env MILLICERT_BENCH, ini, simulated)")
    group.addoption("--results", metavar="DIR", help="where run folders go (default: ini, results/)")
    group.addoption("--operator", metavar="NAME", help="who stands at the bench; goes into the report")
    group.addoption("--duration", metavar="SECONDS", type=_seconds, help="other stream length; shorter is INCOMPLETE")
    group.addoption("--rate", metavar="PPS", type=_rate, help="other packet rate; less than planned is INCOMPLETE")
    group.addoption("--qualify", action="store_true", help="qualify each endpoint pair first: patch, swap, reel")
    group.addoption("--policy", metavar="NAME|FILE", help="judge by this policy instead of the bench's")
    group.addoption("--order", metavar="FILE", help="work order that both ends carry: `millicert order new`")
    group.addoption("--preflight-only", action="store_true", help="check the bench, measure nothing")
    group.addoption(
        "--resume",
        nargs="?",
        const="newest",
        type=_run,
        metavar="RUN",
        help="go on with an interrupted run of the same plan",
    )
    group.addoption(
        "--dut", metavar="SERIAL", default="", help="serial number of the device under test; another is refused"
    )
    group.addoption("--answers", metavar="FILE", help="what a person would answer to prompts, one line each")
    group.addoption("--waive", action="append", default=[], metavar="CHECK", help="waive a preflight check by name")
    parser.addini("bench", "bench file", default="simulated")
    parser.addini("results", "where run folders go", default="results")
    parser.addini("operator", "who stands at the bench", default="")


def _is_certification(config: pytest.Config) -> bool:
    """Whether this pytest was asked for a test plan, or for a bench by name."""
    if config.getoption("--bench"):
        return True
    here = config.invocation_params.dir
    return any(_among_plans((here / arg.split("::", 1)[0]).resolve(), config.rootpath) for arg in config.args)


def _among_plans(path: Path, root: Path) -> bool:
    """Whether a path is testplans/ or below it; the checkout itself may lie in a folder of that name."""
    return "testplans" in (path.relative_to(root) if path.is_relative_to(root) else path).parts


def pytest_configure(config: pytest.Config) -> None:
    """Load the bench at once: a mistake in it is told before anything else (exit code 4)."""
    if not _is_certification(config):
        return
    if config.pluginmanager.hasplugin("xdist") and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("wanted one process on one bench; found -n; leave -n out: a bench cannot be shared")
    name = config.getoption("--bench") or os.environ.get("MILLICERT_BENCH") or config.getini("bench")
    try:
        bench = load_bench(name, config.invocation_params.dir, config.rootpath)
        run = Run(
            bench,
            Options(
                results=Path(config.getoption("--results") or config.getini("results")),
                operator=config.getoption("--operator") or config.getini("operator") or "",
                duration_s=config.getoption("--duration"),
                rate_pps=config.getoption("--rate"),
                resume=config.getoption("--resume"),
                waived=tuple(config.getoption("--waive")),
                preflight_only=config.getoption("--preflight-only"),
                policy=config.getoption("--policy"),
                dut=config.getoption("--dut"),
                answers=None if config.getoption("--answers") is None else Path(config.getoption("--answers")),
                order=None if config.getoption("--order") is None else Path(config.getoption("--order")),
            ),
        )
    except (HarnessError, OSError) as why:
        raise pytest.UsageError(str(why if isinstance(why, HarnessError) else unusable(why))) from why
    certification = config.stash[CERTIFICATION] = Certification(config, run)
    config.pluginmanager.register(certification, "millicert-certification")


CERTIFICATION: Final = pytest.StashKey["Certification"]()


def _certification(request: pytest.FixtureRequest) -> Certification:
    found = request.config.stash.get(CERTIFICATION, None)
    if found is None:
        raise pytest.UsageError("wanted a certification run; found plain tests; name testplans/ or give --bench")
    return found


def _step(request: pytest.FixtureRequest) -> plan.Step:
    found = getattr(request.function, plan.STEP, None)
    if found is None:
        raise pytest.UsageError(f"wanted @step(requirement, stream) on {request.node.name}; found none; declare it")
    return cast("plan.Step", found)


@pytest.fixture(scope="session")
def preflight(request: pytest.FixtureRequest) -> Table:
    """The table of preflight checks."""
    return _certification(request).preflight()


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> plan.Measure:
    """Run this test's stream on a link: ``measure(link)``."""
    certification, step = _certification(request), _step(request)
    return lambda link: certification.measure(link, step)


@pytest.fixture
def certify(request: pytest.FixtureRequest) -> plan.Certify:
    """Judge a measurement by this test's requirement: ``certify(measurement)``; anything but PASS fails the test."""
    certification, step = _certification(request), _step(request)
    return lambda measurement: certification.certify(measurement, step)


@pytest.fixture
def accept(request: pytest.FixtureRequest) -> plan.Accept:
    """Carry out this test's procedure on the device under test: ``accept()``; anything but PASS fails the test."""
    certification = _certification(request)
    name = getattr(request.function, plan.PROCEDURE, None)
    if name is None:
        raise pytest.UsageError(f"wanted @procedure(name) on {request.node.name}; found none; declare it")
    return lambda: certification.accept(str(name))


@pytest.fixture
def qualify(request: pytest.FixtureRequest) -> Qualifying:
    """Qualify a link's endpoint pair: ``qualify(link)``; skips the test unless that is asked for."""
    return _certification(request).qualify


class Certification:
    """One certification run inside one pytest session."""

    def __init__(self, config: pytest.Config, run: Run) -> None:
        self.config = config
        self.run = run
        self.lang = terminal.language(os.environ)
        self.codes: set[ExitCode] = set()
        self.result: Mapping[str, Any] | None = None
        self.table: Table | None = None
        self._last_line = 0.0
        self._elapsed_ns = sys.maxsize
        self._line_open = False
        self._signals: dict[signal.Signals, Any] = {}
        self._finishing = False
        self._unqualified: set[str] = set()
        self._cut_off = False
        run.observe_part = self._observe_part

    @property
    def writer(self) -> Any:
        """Pytest's terminal, which progress lines share."""
        return self.config.pluginmanager.getplugin("terminalreporter")

    # -- before anything runs ------------------------------------------------------------------------------

    def pytest_report_header(self) -> list[str]:
        """Say what stands on the bench, how its clocks are, where results go."""
        stale = provenance.stale_core()
        lines = [f"core is stale ({', '.join(stale)}): run `make core`"] if stale else []
        return self.run.header(self.lang) + lines

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each link of the bench."""
        if "link" in metafunc.fixturenames:
            metafunc.parametrize("link", [link.name for link in self.run.bench.links])
        if "dut" in metafunc.fixturenames:
            metafunc.parametrize("dut", self._duts(getattr(metafunc.function, plan.PROCEDURE, "")))

    def _duts(self, procedure: str) -> list[str]:
        """The device under test, where its profile wants the procedure."""
        accepting = self.run.accepting
        return [accepting.dut.instrument] if accepting is not None and procedure in accepting.wanted else []

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what this bench has nothing for: no link, no device under test, no such requirement."""
        left = [item for item in items if not self._applies(item)]
        if left:
            config.hook.pytest_deselected(items=left)
            items[:] = [item for item in items if item not in left]

    @staticmethod
    def _applies(item: pytest.Item) -> bool:
        """Whether the bench has what the test is run for; pytest gives one without anything a parameter of its own."""
        params = getattr(getattr(item, "callspec", None), "params", {})
        return not any(name in params and not isinstance(params[name], str) for name in ("link", "dut"))

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """The plan is what was collected; whatever the policy wants beyond it stays unmeasured, so not passed."""
        steps, procedures = [], []
        for item in session.items:
            name = getattr(getattr(item, "obj", None), plan.PROCEDURE, None)
            if name is not None:
                procedures.append((item.nodeid, str(name)))
            found = getattr(getattr(item, "obj", None), plan.STEP, None)
            if found is not None:
                steps.append((item.nodeid, item.callspec.params["link"], found))  # type: ignore[attr-defined]
        if not session.items and not self.config.option.collectonly:
            self.codes.add(ExitCode.USAGE)
            raise pytest.UsageError("wanted tests to run; found none; change -k, -m or the path")
        try:
            self.run.commit(steps, procedures, collect_only=bool(self.config.option.collectonly))
        except (HarnessError, OSError) as why:
            self.codes.add(ExitCode.USAGE)
            self.run.make_safe()
            raise pytest.UsageError(str(why if isinstance(why, HarnessError) else unusable(why))) from why
        if self.config.option.collectonly:
            return
        for line in self.run.plan_lines(self.lang):
            self.writer.write_line(line)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Own the signals while measuring; leave the bench safe on every way out."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._signals[number] = signal.signal(number, self._on_signal)
        try:
            return (yield)
        finally:
            self._finish()
            for number, handler in self._signals.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """First SIGINT ends the stream and keeps its statistics; a second, TERM or HUP end the session."""
        name = signal.Signals(number).name
        again = bool(self.run.stop.reason)
        self.run.stop.ask(name)
        self.codes.add(ExitCode.SIGNAL)
        if self._finishing or self._cut_off:
            return  # the folder is being sealed: that takes seconds and must not be torn
        if number != signal.SIGINT or again or not self.run.measuring:
            self._cut_off = True
            raise KeyboardInterrupt(name)

    # -- what the fixtures do ---------------------------------------------------------------------------------

    def preflight(self) -> Table:
        """The table of checks, made once and shown once."""
        first = self.table is None
        table = self.table = self.table or self.run.preflight()
        if first:
            self.say(terminal.preflight_lines(table.rows, self.lang))
        if not table.ready:
            self.codes.add(ExitCode.PREFLIGHT)
        return table

    def qualify(self, link: str) -> Qualification:
        """Qualify a link's pair; nothing is measured any more on one that does not pass. Skips unless asked for."""
        if not (self.config.getoption("--qualify") or self.run.bench.qualify is not None):
            text = Phrase(
                f"{link}：未要求；--qualify 执行：跳线、换位、已知时延的光纤盘",
                f"{link}: not asked for; --qualify does it: patch, swap, a reel of known delay",
            )
            self.say([terminal.headed("确认", "qualify", text, self.lang)])
            pytest.skip("not asked for: --qualify, or [qualify] in the bench file")
        if self.config.getoption("--preflight-only"):
            self.codes.add(ExitCode.INCOMPLETE)
            pytest.skip("--preflight-only: nothing measured, nothing qualified")
        self._unqualified.add(link)
        folder = qualification.here(self.run.opened.path.parent, link)
        person = Person(lambda line: self.say([line]), None if self.run.bench.simulated else self._ask)
        found = qualification.qualify(self.run.bench, link, person, folder)
        self.run.opened.add_file(f"qualification-{link}.json", found.file)
        passed = Phrase("通过", "passed") if found.passed else Phrase("未通过", "NOT PASSED")
        text = Phrase(f"{link}：{passed.zh}，{found.id}", f"{link}: {passed.en}, {found.id}")
        self.say([terminal.headed("确认", "qualify", text, self.lang), f"          {folder}"])
        if found.passed:
            self._unqualified.discard(link)
        return found

    def _ask(self, request: str) -> None:
        """Wait for a person at the terminal. Raises EngineError where there is none."""
        if not (sys.__stdin__ and sys.__stdin__.isatty()):
            raise EngineError(
                f"a person at a terminal, to be asked: {request}", "no terminal", "run it at a terminal, with -s"
            )
        with self.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            self.writer.ensure_newline()
            self.writer.write(f"{request}; then press Enter ", flush=True)
            if not sys.__stdin__.readline():
                raise EngineError(f"a person, to be asked: {request}", "end of input", "run it at a terminal, with -s")

    def measure(self, link: str, step: plan.Step) -> Measurement:
        """Run a step's stream on a link, once preflight is green and a qualification that was begun has passed."""
        if link in self._unqualified:
            raise EngineError(
                f"a qualified pair on {link}", "its qualification did not pass", "see the reel's lines above"
            )
        if self.config.getoption("--preflight-only"):
            self.codes.add(ExitCode.INCOMPLETE)
            pytest.skip("--preflight-only: nothing measured, nothing certified")
        table = self.preflight()
        if not table.ready:
            raise PreflightError("every preflight check green or waived", table.summary, "mend it, or --waive CHECK")
        return self.run.measure(link, step, self._observe)

    def accept(self, procedure: str) -> None:
        """Carry out a procedure once preflight is green; anything but PASS of its requirements fails the test."""
        if self.config.getoption("--preflight-only"):
            self.codes.add(ExitCode.INCOMPLETE)
            pytest.skip("--preflight-only: nothing measured, nothing certified")
        table = self.preflight()
        if not table.ready:
            raise PreflightError("every preflight check green or waived", table.summary, "mend it, or --waive CHECK")
        try:
            rows = self.run.accept(procedure)
        except InstrumentError as why:
            raise EngineError(why.wanted, why.found, why.remedy) from why
        self._close_line()
        self.say(terminal.acceptance_lines(rows, self.lang))
        worst = max((row["verdict"] for row in rows), key=lambda v: severity(Verdict(v)), default="PASS")
        if worst != "PASS":
            failed = ", ".join(f"{row['id']} {row['verdict']}" for row in rows if row["verdict"] != "PASS")
            raise NotCertifiedError(worst, f"{procedure}: {failed}")

    def _observe_part(self, procedure: str, done: int, of: int) -> None:
        """Progress of an acceptance: one updating line on a terminal, a line a minute without one."""
        live = bool(self.writer.isatty)
        now = time.monotonic()
        if now - self._last_line < (0.2 if live else LINE_EVERY_S) and done < of:
            return
        if not live and done == of and now - self._last_line < LINE_EVERY_S:
            return
        self._last_line = now
        text = f"   {procedure}  {done} of {of}"
        with self.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            if live:
                if not self._line_open:
                    self.writer.ensure_newline()
                self._line_open = True
                self.writer.rewrite(text, erase=True)
            else:
                self.writer.ensure_newline()
                self.writer.write_line(text)

    def certify(self, measurement: Measurement, step: plan.Step) -> None:
        """Judge by the step's requirement; anything but PASS fails the test."""
        self._close_line()
        judged, verdict = self.run.certify(step.requirement, measurement)
        self.say(terminal.requirement_lines(judged, self.lang))
        if verdict != "PASS":
            raise NotCertifiedError(verdict, f"{step.requirement} on {measurement.link.name}: {verdict}")

    # -- while it runs --------------------------------------------------------------------------------------

    def say(self, lines: list[str]) -> None:
        """Print lines past pytest's capture."""
        with self.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            self.writer.ensure_newline()
            for line in lines:
                self.writer.write_line(line)

    def _observe(self, progress: Progress) -> None:
        live = bool(self.writer.isatty)
        now = time.monotonic()
        if progress.elapsed_ns < self._elapsed_ns and not live:
            self._last_line = now  # another stream: its first line comes after a minute
        self._elapsed_ns = progress.elapsed_ns
        if not live and now - self._last_line < LINE_EVERY_S:
            return
        if live and now - self._last_line < 0.5:
            return
        self._last_line = now
        text = terminal.progress_line(progress, self.run.limit_of(progress.name), self.lang)
        with self.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            if live:
                if not self._line_open:
                    self.writer.ensure_newline()
                self._line_open = True
                self.writer.rewrite(text, erase=True)
            else:
                self.writer.ensure_newline()
                self.writer.write_line(text)

    def _close_line(self) -> None:
        if self._line_open:
            with self.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
                self.writer.write_line("")
        self._line_open = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Carry the verdict on the report; stop the session where going on makes no sense."""
        report = yield
        if call.excinfo is not None:
            error = call.excinfo.value
            if isinstance(error, NotCertifiedError):
                report.user_properties.append(("verdict", error.verdict))
                report.longrepr = str(error)
            elif isinstance(error, PreflightError):
                report.longrepr = str(error)
            elif isinstance(error, BenchError):
                report.longrepr = str(error)
                self.codes.add(ExitCode.USAGE)
            elif isinstance(error, HarnessError):
                report.longrepr = f"{type(error).__name__}: {error}"
                self.codes.add(ExitCode.INVALID)
            elif report.failed and not self.codes & {ExitCode.PREFLIGHT}:
                self.run.note_error(f"{type(error).__name__}: {error}")
                self.codes.add(ExitCode.FAILED)
            if self.codes & {ExitCode.USAGE}:
                item.session.shouldstop = "the bench or the command line cannot be used"
            if self.codes & {ExitCode.PREFLIGHT}:
                item.session.shouldstop = "preflight failed: nothing was measured"
            elif self.run.stop.reason:
                item.session.shouldstop = f"ended by {self.run.stop.reason}"
        return report

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """INDETERMINATE and INVALID are categories of their own, never green."""
        verdict = str(dict(report.user_properties).get("verdict", ""))
        if report.when == "call" and verdict in {"INDETERMINATE", "INVALID"}:
            return verdict.lower(), verdict[0], verdict
        return None

    # -- at the end -----------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Judge everything once more from the archive, write the report, seal the folder."""
        self._finishing = True
        with contextlib.suppress(OSError):  # the terminal may be gone: that is what SIGHUP says
            self._close_line()
        try:
            self.result = self.run.finish(cut_off=self._cut_off)
        except HarnessError as why:
            self.codes.add(ExitCode.INVALID)
            with contextlib.suppress(OSError):
                self.say([f"{type(why).__name__}: {why}"])
        if not all(each.safe.confirmed for each in self.run.outcomes):
            self.codes.add(ExitCode.UNSAFE)
        if self.result is None:
            return
        if self.run.unsealed:
            self.codes.add(ExitCode.INVALID)
        accepted = self.result.get("acceptance", {}).get("requirements", ())
        if any(r["directions"] for r in self.result["requirements"]) or any(r["count"] for r in accepted):
            self.codes.add(OF_VERDICT[self.result["verdict"]])
        if not self.result["complete"]:
            self.codes.add(ExitCode.INCOMPLETE)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Tell the shell what happened by the codes of `harness.exitcode`, after all other hooks had theirs."""
        if session.exitstatus == pytest.ExitCode.INTERRUPTED and self.result is None and not self.codes:
            self.codes.add(ExitCode.SIGNAL)
        if self.result is None and not self.config.option.collectonly and not self.codes:
            self.codes.add(ExitCode.INCOMPLETE)
        yield
        if not self.config.option.collectonly and session.exitstatus not in {
            pytest.ExitCode.INTERNAL_ERROR,
            pytest.ExitCode.USAGE_ERROR,
        }:
            session.exitstatus = int(worst(self.codes))

    def pytest_terminal_summary(self) -> None:
        """The certification table, in every case."""
        if self.config.option.collectonly:
            return
        self.writer.section(terminal.title(self.lang))
        if self.result is not None:
            colour = self.writer.hasmarkup
            lines = (
                terminal.coloured(self.result, self.lang, self.writer._tw.fullwidth)  # noqa: SLF001 - no other way to its width
                if colour
                else terminal.certification_table(self.result, self.lang)
            )
            for line in lines:
                self.writer.write_line(line)
        for outcome in self.run.outcomes:
            self.writer.write_line(terminal.headed("安全", "safe", outcome.line, self.lang))
        for line in self.run.closing_lines(self.lang, cut_off=self._cut_off):
            self.writer.write_line(line)
        code = worst(self.codes)
        self.writer.write_line(terminal.headed("退出码", "exit", f"{int(code)} {code.name}", self.lang))
