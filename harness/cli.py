"""millicert: what an engineer or an auditor types outside of pytest."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from drivers.catalogue import drivers_table
from drivers.clock import WALL
from drivers.errors import InstrumentError
from drivers.simulated.lab import Lab
from harness import order as work
from harness import patching, starter
from harness import reflect as far_end
from harness import visit as visiting
from harness.archive import audit, bag, keys, log, outcome, proof, record, redacting, redaction, signature, witness
from harness.archive import verify as archive
from harness.archive.attach import attach as attach_journals
from harness.archive.note import Checkpoint, CosignerKey, Note
from harness.artefact import Patch
from harness.bench import Bench, check, load
from harness.canonical import canonical, plain
from harness.disk import read_file, write_file
from harness.errors import BROKEN, BenchError, HarnessError, unusable
from harness.evidence.catalogue import Source
from harness.evidence.gatherer import sources_of
from harness.exitcode import OF_VERDICT, ExitCode, worst
from harness.measurement import Measurement
from harness.opening import Opened
from harness.plan import steps_in
from harness.policy import parse as parse_policy
from harness.port import check_present, describe
from harness.report import logbook, longtable, pdf, phrases, plots, terminal
from harness.report import seal as pades
from harness.report.junit import junit as junit_xml
from harness.run import one_line, read_key, read_policy
from harness.tomlfile import read_text

PLANS = Path("testplans")


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """Tell what the operating system refuses like every other mistake: no traceback, and not the code of a FAIL.

    An output or disk that takes no more is exit 14, whatever the answer would have been: nobody has read it.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout:  # None where the caller closed it
                sys.stdout.flush()
    except OSError as why:
        broken = why.errno in BROKEN
        remedy = "send the output to a file on a disk with room, or read all of it; the exit code tells no verdict"
        wanted = f"to write {why.filename or 'the whole answer'}"
        told = HarnessError(wanted, why.strerror or str(why), remedy) if broken else unusable(why)
        with contextlib.suppress(OSError):  # it may be the error output itself
            typer.echo(f"millicert: {told}", err=True)
        for stream in filter(None, (sys.stdout, sys.stderr)):
            _let_go(stream)
        raise typer.Exit(int(ExitCode.INVALID if broken else ExitCode.USAGE)) from why


def _let_go(stream: TextIO) -> None:
    """Point a stream that takes no more at nothing, or the interpreter trips over what it holds on its way out."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())


class _Guarded(TyperGroup):
    """All commands, with `_refusals` round each."""

    def make_context(self, *words: Any, **more: Any) -> Any:
        """As its base has it: --help is written here."""
        with _refusals():
            return super().make_context(*words, **more)

    def invoke(self, ctx: Any) -> Any:
        """As its base has it."""
        with _refusals():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Guarded, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
bench_app = typer.Typer(no_args_is_help=True, help="Bench files: what stands where.")
app.add_typer(bench_app, name="bench")
order_app = typer.Typer(no_args_is_help=True, help="Work orders: what both ends of a measurement carry.")
app.add_typer(order_app, name="order")
log_app = typer.Typer(no_args_is_help=True, help="The log of a results folder: every attempt, append-only.")
app.add_typer(log_app, name="log")
key_app = typer.Typer(no_args_is_help=True, help="Keys that sign results.")
app.add_typer(key_app, name="key")


def _refuse(why: Exception) -> NoReturn:
    typer.echo(f"millicert: {why}", err=True)
    raise typer.Exit(int(ExitCode.USAGE))


@bench_app.command("new")
def bench_new(file: Path) -> None:
    """Write a commented starter bench with this host's interfaces, PHCs and clock daemons."""
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(starter.starter(file.stem))
    except FileExistsError:
        typer.echo(f"millicert: wanted a new file {file}; found one that is there; choose another name", err=True)
        raise typer.Exit(int(ExitCode.USAGE)) from None
    except OSError as why:
        _refuse(HarnessError(f"to write {file}", str(why.strerror), "choose a folder you may write to"))
    typer.echo(f"{file}: change the line marked CHANGE THIS and what is known, then `millicert bench check {file}`")


@bench_app.command("check")
def bench_check(file: str) -> None:
    """Tell every mistake of a bench file at once, each with its line, what was found, what is allowed."""
    lines, code = check(file)
    for line in lines:
        typer.echo(line, err=bool(code))
    raise typer.Exit(code)


@bench_app.command("drivers")
def bench_drivers() -> None:
    """The drivers an instrument of a bench may have, and what of each nothing confirms."""
    for row in drivers_table():
        marks = "".join(f"  ({mark})" for mark in ("experimental" * row.experimental, row.missing) if mark)
        typer.echo(f"{row.driver:<26} {row.title}{marks}")
        for text in row.unconfirmed:
            typer.echo(f"{'':<26}   unconfirmed: {text}")


@app.command()
def reflect(
    listen: Annotated[str, typer.Option(help="Address to answer on.")],
    port: Annotated[int, typer.Option(help="UDP port; 862 is STAMP's (RFC 8762).", min=1, max=65535)] = 862,
    allow: Annotated[
        list[str] | None, typer.Option(help="Answer this prefix only; may be given more than once.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="HMAC key file: authenticated mode.")] = None,
    journal: Annotated[Path | None, typer.Option(help="Where its clock evidence and counters go.")] = None,
    stateless: Annotated[bool, typer.Option(help="Echo sequence numbers: loss then has no direction.")] = False,
    sign: Annotated[
        Path | None, typer.Option(help="Private key: keep every reply's stamps, sign journal and stamps at the end.")
    ] = None,
    order: Annotated[Path | None, typer.Option(help="The work order under which it answers.")] = None,
    trust: Annotated[
        Path | None, typer.Option(help="File of verifier keys; one of them must have signed the order.")
    ] = None,
    bench: Annotated[
        str | None,
        typer.Option(
            help="Bench file of this host: its near site's clock sources and NIC stamps, not kernel and chrony."
        ),
    ] = None,
) -> None:
    """Be the far end of a link until a signal ends it."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    path = journal or Path("results") / "reflector" / f"{stamp}-{os.getpid()}.jsonl"
    live = sys.stdout.isatty()
    last = [0.0]

    def say(line: str) -> None:
        if live:
            typer.echo(f"\r\x1b[K{line}", nl=False)
        elif time.monotonic() - last[0] >= 60 or not last[0]:
            last[0] = time.monotonic()
            typer.echo(line)

    try:
        _outside_of_sealed(path)
        secret = None if key is None else read_key(key)
        carried = _carried(order, trust)
        counters = far_end.serve(
            listen,
            port,
            allow=allow or [],
            key=secret,
            journal_path=path,
            stateless=stateless,
            say=say,
            warn=lambda line: typer.echo(("\n" if live else "") + line, err=True),
            sign=None if sign is None else keys.load(sign),
            order=carried,
            clocks=() if bench is None else _clocks(bench),
            nic=None if bench is None else next((each for each in load(bench).links if each.stamps == "nic"), None),
        )
    except (HarnessError, ValueError) as why:
        _refuse(why)
    counted = "  ".join(f"{name} {count}" for name, count in counters.items() if count)
    typer.echo(("\n" if live else "") + (counted or "nothing came, nothing was answered"))
    if sign is not None:
        typer.echo(f"signed    {path}; hand it over with the two files beside it whose names begin with its own")


def _clocks(name: str) -> list[Source]:
    """The clock sources of this host by its own bench file. Raises HarnessError when it is none of this host."""
    found = load(name)
    if found.simulated:
        raise HarnessError("a bench of this host", f"{found.name}, simulated", "write one: `millicert bench new FILE`")
    site = found.links[0].near.name
    made = [each for each in sources_of(found, found.links[0]) if each.site == site]
    if not made:
        raise HarnessError(f"clock sources of {site} in {name}", "none", 'name some: clock = { sources = ["chrony"] }')
    return made


def _carried(order: Path | None, trust: Path | None) -> work.Signed | None:
    """The order that a far end is given, with who signed it told. Raises HarnessError when trust refuses it."""
    if order is None:
        if trust is not None:
            raise HarnessError("an --order for --trust to vouch for", "none", "leave --trust out, or give both")
        return None
    found = work.read(order)
    vouched = "nobody vouches for that key here: --trust FILE does"
    if trust is not None:
        listed = keys.read_trust(trust)
        found.check_trust(listed, time.time_ns())
        vouched = f"trusted by {listed.where}"
    for line in found.lines:
        typer.echo(line)
    typer.echo(f"          {vouched}")
    return found


@order_app.command("new")
def order_new(
    bench: Annotated[str, typer.Argument(help="A bench file, or the name of a known bench.")],
    out: Annotated[Path, typer.Option(help="A new file for the order; both ends get a copy.")],
    key: Annotated[Path, typer.Option(help="Private key of whoever orders, made by `millicert key new`.")],
    policy: Annotated[str | None, typer.Option(help="Name or file of a policy instead of the bench's.")] = None,
    plans: Annotated[Path, typer.Option(help="Folder of the test plans.")] = PLANS,
    hours: Annotated[int, typer.Option(help="How long it holds, from now.", min=1, max=24 * 365)] = work.HOURS,
) -> None:
    """Order a measurement: links, streams, policy and days under a nonce, signed."""
    try:
        _outside_of_sealed(out)
        found = load(bench)
        now = time.time_ns()
        drawn = work.draw(
            found,
            _policy_of(found, policy),
            steps_in(plans),
            not_before_ns=now,
            not_after_ns=now + hours * 3_600_000_000_000,
        )
        made = work.write(out, drawn, keys.load(key))
    except HarnessError as why:
        _refuse(why)
    for line in made.lines:
        typer.echo(line)
    typer.echo(f"far end   millicert reflect --listen ADDRESS --sign KEY --order {out.name}")
    typer.echo(f"near end  pytest testplans/ --bench {bench} --order {out.name}")


def _policy_of(found: Bench, named: str | None) -> str:
    """Text of the policy that a bench's links are certified by. Raises BenchError where it has no links, or none."""
    if not found.links or not (named or found.policy):
        lacking = "no links" if not found.links else "no policy"
        raise BenchError(
            "a bench with links and a policy", f"{found.name}, which has {lacking}", "name another bench, or --policy"
        )
    return read_policy(named or found.policy)


@app.command()
def verify(
    folder: Path,
    trust: Annotated[
        Path | None, typer.Option(help="File of verifier keys; one of them must have signed the folder.")
    ] = None,
    level: Annotated[
        int,
        typer.Option(
            help="How far: 0 hashes, 1 signatures, 2 log, 3 time, 4 verdict recomputed, 5 report drawn again.",
            min=int(archive.Level.HASHES),
            max=int(archive.Level.RENDERED),
        ),
    ] = int(archive.Level.RECOMPUTED),
) -> None:
    """Check a results folder and recompute its verdict from the raw timestamps, byte for byte."""
    if trust is not None and level < archive.Level.SIGNATURES:
        _refuse(HarnessError("--level 1 or more with --trust", f"--level {level}", "leave one of the two out"))
    try:
        trusted = None if trust is None else keys.read_trust(trust)
    except HarnessError as why:
        _refuse(why)
    checks = archive.verify(folder, trust=trusted, level=level, render=_render)
    for each in checks:
        typer.echo(f"{each.level:<2} {each.level.name.lower():<11} {each.name:<12} {each.state:<12} {each.detail}")
    standing = archive.standing(checks)
    typer.echo(_STANDINGS[standing])
    if left := sorted(set(archive.Level) - {each.level for each in checks}):
        typer.echo("not looked at: " + ", ".join(f"{each:d} {each.name.lower()}" for each in left))
    codes = {"verified": ExitCode.PASSED, "attested": ExitCode.INCOMPLETE, "not-verified": ExitCode.FAILED}
    raise typer.Exit(int(codes[standing]))


_STANDINGS: Final = {
    "verified": "VERIFIED",
    "attested": "ATTESTED, NOT RECOMPUTED: what is shown was signed or logged when the run was sealed; "
    "whether the verdict follows from samples, only the run can show",
    "not-verified": "NOT VERIFIED",
}


def _render(measurements: Sequence[Measurement], result: Mapping[str, Any], written: bytes) -> bytes:
    """The report as the run drew it, dated by its last measurement. Raises HarnessError when it has none.

    A redacted result's has no plots.
    """
    if "redaction" in result:
        return pdf.pdf(result, {}, written, timestamp=redaction.ended_ns(result) // 1_000_000_000)
    ended = pdf.issued_s(measurements, result)
    if ended is None:
        raise HarnessError("a measurement to date the report by", "none", "read the report in its folder")
    return pdf.pdf(result, plots.plots(measurements, result), written, timestamp=ended)


@key_app.command("new")
def key_new(
    file: Path,
    name: Annotated[str, typer.Option(help="Whose key it is, as auditors will read it, such as lab.example.org.")],
) -> None:
    """Make a signing key: FILE for its owner alone, FILE.pub for every auditor's trust file."""
    try:
        _outside_of_sealed(file)
        key = keys.create(file, name)
    except HarnessError as why:
        _refuse(why)
    typer.echo(f"private   {file}  (keep it off the measuring host; nobody can restore it)")
    typer.echo(f"public    {file}{keys.PUBLIC_SUFFIX}")
    typer.echo(key.line)


@app.command()
def sign(
    folder: Path,
    key: Annotated[Path, typer.Option(help="The private key, with its .pub file beside it.")],
) -> None:
    """Sign a sealed results folder; needs nothing else of the machine that measured."""
    try:
        made = signature.sign(folder, keys.load(key))
    except HarnessError as why:
        _refuse(why)
    typer.echo(f"signed    {folder / made.name}  {made.key.name}+{made.key.id}  {made.at}")


@app.command()
def port(interface: str) -> None:
    """Tell what the kernel says of a network port, as a line for `calibrate --far-port` at the other end."""
    try:
        check_present(interface)
    except HarnessError as why:
        _refuse(why)
    typer.echo(canonical(plain(describe(interface))).decode())


@app.command()
def calibrate(
    bench: Annotated[str, typer.Argument(help="A bench file, or the name of a known bench.")],
    link: Annotated[str, typer.Option(help="The link whose two ends stand side by side now.")],
    out: Annotated[Path, typer.Option(help="Where the artefact goes; its raw samples beside it.")],
    patch_mm: Annotated[int | None, typer.Option(help="Length of the patch, mm.", min=0, max=10**8)] = None,
    group_index: Annotated[str, typer.Option(help="Group index of the patch's fibre.")] = "1.4682",
    patch_u_ps: Annotated[int | None, typer.Option(help="Standard uncertainty of its time of flight.", min=0)] = None,
    patch_origin: Annotated[str, typer.Option(help="Who measured the patch, how, when.")] = "",
    plugs: Annotated[int, typer.Option(help="How often the patch is plugged, both orientations together.")] = 10,
    swap: Annotated[bool, typer.Option(help="Half of the plugs with the ports swapped.")] = True,
    seconds: Annotated[int, typer.Option(help="Of each stream at each plug.")] = 10,
    days: Annotated[int, typer.Option(help="How long the artefact holds.")] = 90,
    far_port: Annotated[Path | None, typer.Option(help="What `millicert port` told at the far end.")] = None,
    plans: Annotated[Path, typer.Option(help="Folder of the test plans: whose streams are the load.")] = PLANS,
    yes: Annotated[bool, typer.Option("--yes", help="There is nothing to touch: repeat, never ask.")] = False,
) -> None:
    """Calibrate an endpoint pair back to back into an artefact that a bench file may name."""
    try:
        _outside_of_sealed(out)
        found = load(bench)
        person = _person(untouched=found.simulated or yes)
        wish = patching.Wish(
            link,
            out,
            _patch(found.simulated, patch_mm, group_index, patch_u_ps, patch_origin),
            plugs=plugs,
            swap=swap,
            seconds=seconds,
            days=days,
            far_port=None if far_port is None else patching.read_port(far_port),
        )
        artefact = patching.calibrate_pair(found, wish, steps_in(plans), person)
    except HarnessError as why:
        _refuse(why)
    except (KeyboardInterrupt, EOFError):
        typer.echo(f"millicert: ended, {out} was not written", err=True)
        raise typer.Exit(int(ExitCode.SIGNAL)) from None
    for line in patching.lines(artefact):
        typer.echo(line)
    typer.echo(f'use it   calibration = "{out}" in [links.{link}], the path as seen from the bench file')


def _patch(simulated: bool, length_mm: int | None, group_index: str, u_ps: int | None, origin: str) -> Patch:
    """The patch as the command line has it. Raises HarnessError when a real one is not known."""
    if simulated and length_mm is None:
        return Patch(0, 1_000_000, 0, "simulated: no fibre between the ends")
    try:
        ppm = int(Decimal(group_index) * 1_000_000)
    except (ArithmeticError, ValueError):  # "nan" is a Decimal, and no int
        ppm = 0
    if length_mm is None or u_ps is None or not origin or not 1_000_000 <= ppm <= 2_000_000:
        raise HarnessError(
            "a patch of known length: --patch-mm, --patch-u-ps, --patch-origin, --group-index 1 to 2",
            f"length {length_mm} mm, u {u_ps} ps, origin {origin!r}, group index {group_index}",
            "measure the patch: 1 mm is 4.9 ps; an unknown length cannot be subtracted",
        )
    return Patch(length_mm, ppm, u_ps, origin)


def _person(*, untouched: bool) -> patching.Person:
    """Who plugs. Raises HarnessError where somebody must be asked and there is no terminal."""
    if untouched:
        return patching.Person(typer.echo, None)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise HarnessError(
            "a terminal: a person is asked to plug and swap the patch",
            "none",
            "run it at a terminal; or --yes where the pair has nothing that could be touched",
        )
    return patching.Person(typer.echo, _ask)


def _ask(request: str) -> None:
    """Wait for a person at the terminal. Raises EOFError when there is nobody any more."""
    typer.echo(f"{request}; then press Enter ", nl=False)
    if not sys.stdin.readline():
        raise EOFError


@app.command()
def visit(
    bench: Annotated[str, typer.Argument(help="A bench file, or the name of a known bench.")],
    plans: Annotated[Path, typer.Option(help="Folder of the test plans.")] = Path("testplans"),
    policy: Annotated[str | None, typer.Option(help="Name or file of a policy instead of the bench's.")] = None,
    equipment_us: Annotated[int, typer.Option(help="Assumed delay of equipment each way.", min=0)] = 10,
    turnaround_us: Annotated[int, typer.Option(help="Assumed turnaround of the reflector.", min=0)] = 100,
) -> None:
    """Say before the visit which evidence will decide each link, or which clock must come along, and how long."""
    try:
        found = load(bench)
        read = parse_policy(_policy_of(found, policy), policy or found.policy)
        assumed = visiting.Assumed(equipment_us * 1000, turnaround_us * 1000)
        told = visiting.lines(found, read, steps_in(plans), assumed)
    except HarnessError as why:
        _refuse(why)
    for line in told:
        typer.echo(line)


@app.command()
def safe(
    bench: Annotated[str, typer.Option(help="Name or path of the bench whose instruments are made safe.")],
    answers: Annotated[Path | None, typer.Option(help="What a person would answer to prompts, one line each.")] = None,
) -> None:
    """Lasers off, shutters closed, read back: after a run that was killed. Exit 12 unless every one is confirmed."""
    try:
        opened = Opened(load(bench), answers=answers, lenient=True)
    except HarnessError as why:
        _refuse(why)
    outcomes = opened.close()
    for line in (*opened.missing, *(each.line for each in outcomes)):
        typer.echo(line)
    if not outcomes and not opened.missing:
        typer.echo("no instruments on this bench")
    if opened.missing or not all(each.safe.confirmed for each in outcomes):
        raise typer.Exit(ExitCode.UNSAFE)


lab_app = typer.Typer(no_args_is_help=True, help="The simulated optical lab.")
app.add_typer(lab_app, name="lab")


@lab_app.command("serve")
def lab_serve(
    file: Annotated[Path, typer.Argument(help="A lab file, or a bench file with [simulation.lab].")],
) -> None:
    """Simulated instruments for anybody's VISA client, until Ctrl-C. Every serial number begins with SIM-."""
    try:
        table = tomllib.loads(read_text(file))
        simulation = table.get("simulation", {})
        declared = simulation.get("lab", table) if isinstance(simulation, dict) else table
        lab = Lab.of({**(declared if isinstance(declared, dict) else {}), "clock": "real"}, WALL)
        if not lab.devices:
            wanted = f"instruments in {file}, at its top or in [simulation.lab]"
            _refuse(BenchError(wanted, "none", "name a file that has them: simulated-oxc.toml does"))
        served = lab.serve()
    except BenchError as why:
        _refuse(why)
    except (OSError, UnicodeDecodeError, ValueError, InstrumentError) as why:  # a TOML error is a ValueError
        _refuse(BenchError(f"a lab file {file}", str(why), "correct it; `millicert bench check` reads a bench file"))
    with served:
        for name, resource in served.resources().items():
            typer.echo(f"{name:<14} {resource}")
        typer.echo("Ctrl-C ends it")
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


@app.command()
def judge(
    folder: Path,
    policy: Annotated[str, typer.Option(help="A policy .toml file, or the name of a shipped one.")],
    reason: Annotated[str, typer.Option(help="Why it is judged again; stands in the new result.")] = "",
) -> None:
    """Judge a sealed run by another policy: a new result beside the old, which stays as it is."""
    try:
        one_line(reason, "--reason")
        target, result = archive.judge_again(folder, read_policy(policy), reason=reason)
    except HarnessError as why:
        _refuse(why)
    for line in terminal.certification_table(result, terminal.language(os.environ)):
        typer.echo(line)
    typer.echo(f"result    {target}")
    _log_judgement(folder, target)
    incomplete = set() if result["complete"] else {ExitCode.INCOMPLETE}
    raise typer.Exit(int(worst({OF_VERDICT[str(result["verdict"])], *incomplete})))


def _log_judgement(folder: Path, target: Path) -> None:
    """Enter another judgement of a run in the log that the run stands in, if in any, and tell."""
    place = log.beside(folder)
    try:
        if place is not None:
            typer.echo(f"logged    entry {record.judged_again(log.Log(place), folder.resolve().name, target).n}")
    except HarnessError as why:
        typer.echo(f"NOT LOGGED: {why}", err=True)


@app.command()
def attach(
    folder: Annotated[Path, typer.Argument(help="A sealed run.")],
    journals: Annotated[list[Path] | None, typer.Argument(help="Journals that far ends signed, one for each.")] = None,
    closure: Annotated[
        list[Path] | None, typer.Option(help="Closure record that polls waited for; may be given more than once.")
    ] = None,
    trust: Annotated[Path | None, typer.Option(help="File of verifier keys whose evidence counts.")] = None,
    information_only: Annotated[
        bool, typer.Option("--information-only", help="Show what they say, count none of it: any key, or none.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why it is attached now; stands in the new result.")] = "",
) -> None:
    """Judge a sealed run again with late evidence: a new result beside the old, which stays as it is."""
    try:
        one_line(reason, "--reason")
        trusted = None if trust is None else keys.read_trust(trust)
        target, result, findings = attach_journals(
            folder,
            journals or [],
            closures=closure or [],
            trust=trusted,
            information_only=information_only,
            reason=reason,
        )
    except HarnessError as why:
        _refuse(why)
    for line in terminal.certification_table(result, terminal.language(os.environ)):
        typer.echo(line)
    for finding in findings:
        for line in finding.lines:
            typer.echo(line)
    before = str(result["provenance"]["judged_again"]["verdict_before"])
    typer.echo(f"before    {before}, which stays in {folder}")
    typer.echo(f"result    {target}")
    _log_judgement(folder, target)
    typer.echo(f"verify    millicert verify {target}")
    typer.echo(f"UNSIGNED  millicert sign {target} --key FILE")
    # What a far end hands over later must not make a FAIL disappear from a script's sight.
    codes = {OF_VERDICT[str(result["verdict"])], OF_VERDICT["FAIL"] if before == "FAIL" else ExitCode.PASSED}
    raise typer.Exit(int(worst(codes if result["complete"] else {*codes, ExitCode.INCOMPLETE})))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="A sealed folder: a run, or one judged again.")],
    csv: Annotated[
        Path | None, typer.Option(help='A long table, one row a statement or flow; "-": standard output.')
    ] = None,
    junit: Annotated[Path | None, typer.Option(help='For continuous integration; "-": standard output.')] = None,
) -> None:
    """Write a folder's result as other tools read it; without options the long table to standard output."""
    wanted = {"csv": csv, "junit": junit} if csv or junit else {"csv": Path("-"), "junit": None}
    if Path("-") in wanted.values() and not sys.stdout:
        _refuse(HarnessError("an open standard output", "a closed one", "give a file: --csv FILE, --junit FILE"))
    try:
        found = outcome.read(folder)
        made = {
            "csv": lambda: longtable.longtable(found.result, found.hashes),
            "junit": lambda: junit_xml(found.result),
        }
        for name, target in wanted.items():
            if target == Path("-"):
                sys.stdout.buffer.write(made[name]())
                sys.stdout.buffer.flush()
            elif target is not None:
                _new_file(folder, target)
                write_file(target, made[name]())
    except HarnessError as why:
        _refuse(why)


@app.command()
def redact(
    folder: Annotated[Path, typer.Argument(help="A sealed run.")],
    out: Annotated[Path | None, typer.Option(help="The new folder; <run>.redacted-<k> beside the run else.")] = None,
    reveal: Annotated[
        list[str] | None, typer.Option(help="Show this value all the same, as $.links[0].route; may be repeated.")
    ] = None,
) -> None:
    """Make a report for outsiders: places, routes and addresses hidden, still tied to what was signed and logged."""
    try:
        if out is not None:
            _outside_of_sealed(out)
        made = redacting.redact(folder, lambda shown, octets: _render((), shown, octets), out=out, reveal=reveal or [])
    except HarnessError as why:
        _refuse(why)
    typer.echo(f"redacted  {made}")
    typer.echo(f"verify    millicert verify {made} --trust FILE")
    if not signature.names(made):
        typer.echo(f"UNSIGNED  sign the run, then redact it: millicert sign {folder} --key FILE")


@app.command()
def seal(
    folder: Annotated[Path, typer.Argument(help="A sealed folder with a report: a run, or a redacted one.")],
    cert: Annotated[Path, typer.Option(help="Certificate in PEM, with its chain behind it.")],
    key: Annotated[Path, typer.Option(help="Its private key in PEM: ECDSA P-256, P-384 or P-521, or RSA.")],
    tsa: Annotated[str | None, typer.Option(help="Time-stamping authority to ask.", metavar="URL")] = None,
    out: Annotated[Path | None, typer.Option(help="A new file; <folder>.sealed.pdf beside the folder else.")] = None,
) -> None:
    """Put a PAdES seal on a copy of a report, for readers of PDF files; the folder keeps the report as it is."""
    target = out or folder.resolve().with_name(f"{folder.resolve().name}.sealed.pdf")
    try:
        _new_file(folder, target, fresh=True)
        report = outcome.report(folder)
        private = keys.small_file(key, _LARGEST_PEM, private=True)
        write_file(target, pades.seal(report, keys.small_file(cert, _LARGEST_PEM), private, tsa=tsa))
    except HarnessError as why:
        _refuse(why)
    typer.echo(f"sealed    {target}")
    typer.echo(f"check     pdfsig {target}, or any PDF reader that trusts the certificate's root")


_LARGEST_PEM: Final = 256 * 1024


def _new_file(folder: Path, target: Path, *, fresh: bool = False) -> None:
    """Raises HarnessError when ``target`` lies inside a sealed folder, or must be ``fresh`` and is there already."""
    if fresh and target.exists():
        raise HarnessError("a new file", f"{target}, which is there", "choose another with --out")
    if target.resolve().is_relative_to(folder.resolve()):
        raise HarnessError(
            f"a file outside of {folder}", str(target), "a sealed folder does not change: choose another"
        )
    _outside_of_sealed(target)


def _outside_of_sealed(target: Path) -> None:
    """Raises HarnessError when a folder that ``target`` lies in, at any depth, has the manifest of a sealed one."""
    for folder in target.resolve().parents:
        if (folder / bag.MANIFEST).exists():
            raise HarnessError(
                f"a file outside of {folder}, which is sealed",
                str(target),
                "a sealed folder does not change: choose another",
            )


def _logs(results: Path, simulated: bool | None = None) -> list[Path]:
    """The log folders of a results folder that exist; of one kind, or real before simulated."""
    found = [(results / log.FOLDER, False), (results / "simulated" / log.FOLDER, True)]
    chosen = [path for path, kind in found if simulated in (None, kind) and (path / log.ENTRIES).is_file()]
    if not chosen:
        kind = "" if simulated is None else " of simulated runs" if simulated else " of real runs"
        remedy = "the first run makes one, or millicert log init RESULTS [--simulated]"
        _refuse(HarnessError(f"a log{kind} in {results}", "none", remedy))
    return chosen


RESULTS = Annotated[Path, typer.Argument(help="The results folder.")]
SIMULATED = Annotated[bool, typer.Option("--simulated", help="The log of simulated runs, which is apart.")]


@log_app.command("init")
def log_init(
    results: RESULTS,
    key: Annotated[Path | None, typer.Option(help="Private key that signs its checkpoints.")] = None,
    origin: Annotated[str | None, typer.Option(help="Its name, like a URL without a scheme; random else.")] = None,
    simulated: SIMULATED = False,
) -> None:
    """Make the log of a results folder; without it the first run makes one, unsigned."""
    path = (results / "simulated" if simulated else results) / log.FOLDER
    if (path / log.ENTRIES).exists():
        _refuse(HarnessError(f"no log yet at {path}", "one", "give it a key: millicert log key RESULTS --use FILE"))
    try:
        made = log.Log.create(path, simulated, origin=origin, key_file=key)
    except HarnessError as why:
        _refuse(why)
    signs = made.history.key()
    typer.echo(f"log       {made.origin}")
    typer.echo(f"key       {log.UNSIGNED if signs is None else signs.line}")


@log_app.command("show")
def log_show(results: RESULTS = Path("results")) -> None:
    """Every entry of a results folder's log, real runs first, then simulated ones."""
    lang = terminal.language(os.environ)
    for path in _logs(results):
        try:
            history = log.read(path).history
            found = log.newest(path)
            words, pending = witness.words(path), witness.queued(path)
        except HarnessError as why:
            _refuse(why)
        if history.simulated:
            typer.echo(phrases.SIMULATED.to(lang))
        for line in logbook.table(history, lang):
            typer.echo(line)
        if found is not None:
            for line in logbook.closing(*found, words, pending):
                typer.echo(line)
        covered = max((word.size for word in words if word.state == "verified"), default=0)
        typer.echo(audit.witness_line(len(history.entries), covered))


@log_app.command("check")
def log_check(
    results: RESULTS = Path("results"),
    against: Annotated[
        str | None, typer.Option(help="A checkpoint kept elsewhere: its file, or SIZE:ROOT as a report prints it.")
    ] = None,
    simulated: SIMULATED = False,
) -> None:
    """Recompute every hash of a results folder's logs, compare kept checkpoints and sealed runs; exit 1 when wrong."""
    wrong = False
    for path in _logs(results, simulated if simulated or against is not None else None):
        try:
            kept = None if against is None else _kept(against, log.read(path).history.origin)
        except HarnessError as why:
            _refuse(why)
        typer.echo(f"{path}")
        for each in audit.audit(path, kept):
            wrong |= each.state == "failed"
            typer.echo(f"{each.state:<8} {each.name:<24} {each.detail}")
    typer.echo("WRONG" if wrong else "WHOLE")
    raise typer.Exit(int(ExitCode.FAILED if wrong else ExitCode.PASSED))


def _kept(text: str, origin: str) -> bytes:
    """The checkpoint in a file, or the one whose size and root a report prints."""
    size, colon, root = text.partition(":")
    digits = "".join(root.split())
    if colon and size.isascii() and size.isdigit() and len(digits) == 64 and not set(digits) - set("0123456789abcdef"):
        return Note(Checkpoint(origin, int(size), bytes.fromhex(digits)).text).octets
    return keys.small_file(Path(text).resolve(), 1024 * 1024)


@log_app.command("prove")
def log_prove(
    folder: Annotated[Path, typer.Argument(help="A run folder beside its log.")],
    out: Annotated[Path | None, typer.Option(help="Write it here; RUN.log.json beside a copied run is found.")] = None,
) -> None:
    """Write the proof that a run stands in its log, to be handed out with the run folder."""
    path = _log_of(folder)
    try:
        if out is not None:
            _new_file(folder, out, fresh=True)
        kept = proof.keep(log.Log(path), folder.resolve().name)
        data = read_file(kept)
        if out is not None:
            write_file(out, data)
    except HarnessError as why:
        _refuse(why)
    typer.echo(f"proof     {out or kept}")
    typer.echo(data.decode())


def _log_of(folder: Path) -> Path:
    found = log.beside(folder)
    if found is None:
        _refuse(HarnessError(f"a log beside {folder}", "none", "name a run folder inside its results folder"))
    return found


@log_app.command("record")
def log_record(folder: Annotated[Path, typer.Argument(help="A sealed run whose seal is not in the log.")]) -> None:
    """Log the seal of a run whose process was killed after sealing and before it could log that."""
    try:
        made = record.sealed(log.Log(_log_of(folder)), folder)
    except HarnessError as why:
        _refuse(why)
    typer.echo(f"entry     {made.n}  {made.text('verdict')}")


@log_app.command("key")
def log_key(
    results: RESULTS = Path("results"),
    use: Annotated[Path | None, typer.Option(help="Private key that signs checkpoints from now on.")] = None,
    withdraw: Annotated[str | None, typer.Option(help="Why the key in use signs no more.", metavar="REASON")] = None,
    simulated: SIMULATED = False,
) -> None:
    """Put a log's key into use or withdraw it; both are entries of the log."""
    if (use is None) is (withdraw is None):
        _refuse(HarnessError("one of --use FILE and --withdraw REASON", "both or none", "give one"))
    (path,) = _logs(results, simulated)
    try:
        opened = log.Log(path)
        if withdraw is not None:
            opened.withdraw_key(withdraw)
        elif use is not None:
            opened.use_key(use)
    except HarnessError as why:
        _refuse(why)
    signs = opened.history.key()
    typer.echo(f"key       {log.UNSIGNED if signs is None else signs.line}")


@log_app.command("witness")
def log_witness(
    results: RESULTS = Path("results"),
    request: Annotated[bool, typer.Option("--request", help="Queue what an outside witness signs.")] = False,
    cosignature: Annotated[Path | None, typer.Option(help="A cosignature/v1 line, or a note that has it.")] = None,
    key: Annotated[str | None, typer.Option(help="The witness's verifier key, or a file with it.")] = None,
    token: Annotated[Path | None, typer.Option(help="A time-stamp response (.tsr, RFC 3161).")] = None,
    tsa: Annotated[str | None, typer.Option(help="Send the query to this authority.", metavar="URL")] = None,
    roots: Annotated[Path | None, typer.Option(help="Root certificates (PEM) that verify the token.")] = None,
    simulated: SIMULATED = False,
) -> None:
    """Ask outside witnesses to vouch for the log, and keep what they say; without options, show what is queued."""
    (path,) = _logs(results, simulated)
    if (cosignature is None) is not (key is None):
        _refuse(
            HarnessError("--key VKEY with --cosignature FILE", "one of them", "ask the witness for its verifier key")
        )
    try:
        if cosignature is not None and key is not None:
            line = read_file(Path(key)).decode(errors="replace").strip() if Path(key).is_file() else key
            witness.add_cosignature(path, read_file(cosignature), CosignerKey.parse(line, "--key"))
        anchors = None if roots is None else read_file(roots)
        if token is not None:
            witness.add_token(path, read_file(token), anchors)
        if tsa is not None:
            witness.post(path, tsa, anchors)
        if request:
            witness.request(path)
        words, pending = witness.words(path), witness.queued(path)
        entries = len(log.read(path).history.entries)
    except HarnessError as why:
        _refuse(why)
    for word in words:
        typer.echo(f"witness   {word.size}  {word.kind}  {word.at}  {word.who}  {word.state}  {word.detail}".rstrip())
    for size in pending:
        asked = path / witness.FOLDER / str(size)
        typer.echo(f"queued    {asked / witness.REQUEST}  for a witness; then --cosignature FILE --key VKEY")
        typer.echo(f"queued    {asked / witness.QUERY}  for a time-stamping authority; then --token FILE, or --tsa URL")
    typer.echo(audit.witness_line(entries, max((w.size for w in words if w.state == "verified"), default=0)))


_PARSER_USAGE: Final = 2
"""With what the command-line parser ends on a wrong usage; no command of ours ends so."""


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except HarnessError as why:
        typer.echo(f"millicert: {why}", err=True)
        sys.exit(int(ExitCode.USAGE))
    except SystemExit as end:
        if end.code != _PARSER_USAGE:
            raise
        sys.exit(int(ExitCode.USAGE))


if __name__ == "__main__":
    main()
