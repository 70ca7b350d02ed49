"""millicert: what an engineer or an auditor types outside of pytest."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from harness import order as work
from harness import patching, starter
from harness import reflect as far_end
from harness import visit as visiting
from harness.archive import keys, signature
from harness.archive import verify as archive
from harness.archive.attach import attach as attach_journals
from harness.artefact import Patch
from harness.bench import check, load
from harness.canonical import canonical, plain
from harness.errors import HarnessError
from harness.exitcode import OF_VERDICT, ExitCode, worst
from harness.measurement import Measurement
from harness.plan import steps_in
from harness.policy import parse as parse_policy
from harness.port import describe
from harness.report import pdf, plots, terminal
from harness.run import read_key, read_policy

PLANS = Path("testplans")

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
bench_app = typer.Typer(no_args_is_help=True, help="Bench files: what stands where.")
app.add_typer(bench_app, name="bench")
order_app = typer.Typer(no_args_is_help=True, help="Work orders: what both ends of a measurement carry.")
app.add_typer(order_app, name="order")
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
    typer.echo(f"{file}: fill in the lines marked <…>, then `millicert bench check {file}`")


@bench_app.command("check")
def bench_check(file: str) -> None:
    """Tell every mistake of a bench file at once, each with its line, what was found, what is allowed."""
    lines, code = check(file)
    for line in lines:
        typer.echo(line, err=bool(code))
    raise typer.Exit(code)


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
            sign=None if sign is None else keys.load(sign),
            order=carried,
        )
    except (HarnessError, ValueError) as why:
        _refuse(why)
    typer.echo(("\n" if live else "") + "  ".join(f"{name} {count}" for name, count in counters.items() if count))
    if sign is not None:
        typer.echo(f"signed    {path}; hand it over with the two files beside it whose names begin with its own")


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
        found = load(bench)
        now = time.time_ns()
        drawn = work.draw(
            found,
            read_policy(policy or found.policy),
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
    sound = archive.sound(checks)
    typer.echo("VERIFIED" if sound else "NOT VERIFIED")
    if left := sorted(set(archive.Level) - {each.level for each in checks}):
        typer.echo("not looked at: " + ", ".join(f"{each:d} {each.name.lower()}" for each in left))
    raise typer.Exit(int(ExitCode.PASSED if sound else ExitCode.FAILED))


def _render(measurements: Sequence[Measurement], result: Mapping[str, Any], written: bytes) -> bytes:
    """The report as the run drew it, dated by its last measurement. Raises HarnessError when it has none."""
    if not measurements:
        raise HarnessError("a measurement to date the report by", "none", "read the report in its folder")
    ended = max(each.health.ended_ns for each in measurements) // 1_000_000_000
    return pdf.pdf(result, plots.plots(measurements, result), written, timestamp=ended)


@key_app.command("new")
def key_new(
    file: Path,
    name: Annotated[str, typer.Option(help="Whose key it is, as auditors will read it, such as lab.example.org.")],
) -> None:
    """Make a signing key: FILE for its owner alone, FILE.pub for every auditor's trust file."""
    try:
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
    except ArithmeticError:
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
        read = parse_policy(read_policy(policy or found.policy))
        assumed = visiting.Assumed(equipment_us * 1000, turnaround_us * 1000)
        told = visiting.lines(found, read, steps_in(plans), assumed)
    except HarnessError as why:
        _refuse(why)
    for line in told:
        typer.echo(line)


@app.command()
def judge(
    folder: Path,
    policy: Annotated[str, typer.Option(help="A policy .toml file, or the name of a shipped one.")],
    reason: Annotated[str, typer.Option(help="Why it is judged again; stands in the new result.")] = "",
) -> None:
    """Judge a sealed run by another policy: a new result beside the old, which stays as it is."""
    try:
        target, result = archive.judge_again(folder, read_policy(policy), reason=reason)
    except HarnessError as why:
        _refuse(why)
    for line in terminal.certification_table(result, terminal.language(os.environ)):
        typer.echo(line)
    typer.echo(f"result    {target}")
    incomplete = set() if result["complete"] else {ExitCode.INCOMPLETE}
    raise typer.Exit(int(worst({OF_VERDICT[str(result["verdict"])], *incomplete})))


@app.command()
def attach(
    folder: Annotated[Path, typer.Argument(help="A sealed run.")],
    journals: Annotated[list[Path], typer.Argument(help="Journals that far ends signed, one for each.")],
    trust: Annotated[Path | None, typer.Option(help="File of verifier keys whose evidence counts.")] = None,
    information_only: Annotated[
        bool, typer.Option("--information-only", help="Show what they say, count none of it: any key, or none.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why it is attached now; stands in the new result.")] = "",
) -> None:
    """Judge a sealed run again with far ends' signed journals: a new result beside the old, which stays as it is."""
    try:
        trusted = None if trust is None else keys.read_trust(trust)
        target, result, findings = attach_journals(
            folder, journals, trust=trusted, information_only=information_only, reason=reason
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
    typer.echo(f"verify    millicert verify {target}")
    typer.echo(f"UNSIGNED  millicert sign {target} --key FILE")
    # What a far end hands over later must not make a FAIL disappear from a script's sight.
    codes = {OF_VERDICT[str(result["verdict"])], OF_VERDICT["FAIL"] if before == "FAIL" else ExitCode.PASSED}
    raise typer.Exit(int(worst(codes if result["complete"] else {*codes, ExitCode.INCOMPLETE})))


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except HarnessError as why:
        typer.echo(f"millicert: {why}", err=True)
        sys.exit(int(ExitCode.USAGE))


if __name__ == "__main__":
    main()
