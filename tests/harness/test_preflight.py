"""Preflight checks: what each finds wrong, and that none can break the others."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pytest

from harness import policy
from harness.bench import POLICIES, Bench, load, parse
from harness.clock import ClockState
from harness.errors import BenchError
from harness.evidence import leap
from harness.link import Link
from harness.preflight import CHECKS, Context, Optics, Row, Table, gather, run
from harness.stream import Stream

METRO = policy.parse((POLICIES / "metro-2027.toml").read_text(encoding="utf-8"))
REHEARSAL = policy.parse((POLICIES / "metro-2027-rehearsal.toml").read_text(encoding="utf-8"))
SECOND = 1_000_000_000

REAL = """\
[bench]
name = "b"
policy = "metro-2027"
[sites.a]
clock = { sources = ["kernel"] }
[sites.b]
clock = { sources = ["in-band"] }
[links.ab]
near = "a"
far = "b"
far_address = "127.0.0.1"
sync_over_link = false
near_address = "127.0.0.1"
flow_ports = [PORT]
"""


def free_port() -> int:
    """A port below the range from which the kernel gives ports to everybody else."""
    for port in range(20_000 + os.getpid() % 10_000, 31_000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free UDP port")


def real(**changes: str) -> Bench:
    text = REAL.replace("PORT", str(free_port()))
    if "sync_over_link" in changes:
        text = text.replace("sync_over_link = false\n", "")
    for key, value in changes.items():
        text += f"{key} = {value}\n" * bool(value)
    return parse(text)


def state(site: str, synchronised: bool | None = True, bound_ns: int | None = 100, leap: bool = False) -> ClockState:
    return ClockState(site, "kernel", 1, synchronised, bound_ns, None, 37, leap, "x", "raw words")


@dataclass(frozen=True)
class Answered:
    sent: int = 5
    received: int = 5
    round_trip_ns: int | None = 400_001
    causes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Stamped:
    rx: str = "kernel"
    tx: str = "nic"
    remark: str = ""


@dataclass(frozen=True)
class Driver:
    driver: str = "igc"
    mtu: int = 1500


def context(bench: Bench, tmp_path: Path, **changes: object) -> Context:
    made = Context(
        bench=bench,
        policy=REHEARSAL if bench.simulated else METRO,
        streams=[
            Stream("optical", 1000, 1800 * SECOND, 256, flows=1),
            Stream("service", 10_000, 1800 * SECOND, 512, flows=1),
        ],
        results=tmp_path / "results" / "new",
        probe=lambda link: Answered(),
        stamps=lambda link: Stamped(),
        facts=lambda name: Driver(),
        clocks=lambda bench, link: [state(link.near.name)],
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def rows(table: Table, check: str) -> list[Row]:
    return [row for row in table.rows if row.check == check]


def test_a_good_bench_has_no_failure(tmp_path: Path) -> None:
    table = run(context(real(), tmp_path))
    assert table.ready, table
    assert {row.check for row in table.rows} >= set(CHECKS) - {"key", "calibration", "instruments"}
    assert "failed" not in table.summary
    assert not (tmp_path / "results").exists()


def test_the_default_bench_is_ready_as_it_stands(tmp_path: Path) -> None:
    bench = load("simulated")
    streams = [Stream(name, **{"schedule": "periodic", **bench.streams[name]}) for name in ("optical", "service")]
    table = run(Context(bench, REHEARSAL, streams, tmp_path))
    assert table.ready, table
    assert not any("INCOMPLETE" in row.found for row in table.rows), table
    assert rows(table, "clocks")[0].found == "simulated: synchronised, bound 100 ns"


def test_a_check_that_breaks_is_its_own_failure(tmp_path: Path) -> None:
    def broken(link: Link) -> Answered:
        raise ZeroDivisionError("oops")

    table = run(context(real(), tmp_path, probe=broken))
    (row,) = rows(table, "far-end")
    assert row.state == "failed"
    assert "ZeroDivisionError: oops" in row.found
    assert not table.ready
    assert table.summary.endswith("1 failed: far-end")
    assert rows(table, "disk")[0].state == "ok"


TWO = """
[links.ba]
near = "a"
far = "b"
far_address = "127.0.0.1"
sync_over_link = false
near_address = "127.0.0.1"
flows = 1
"""


def test_an_engineers_mistake_on_one_link_is_its_row_and_the_next_links_follow(tmp_path: Path) -> None:
    def mistaken(link: Link) -> None:
        if link.name == "ab":
            raise BenchError("hex digits in lab.key", "no hex", "write it anew")

    def probe(link: Link) -> Answered:
        mistaken(link)
        return Answered()

    def stamps(link: Link) -> Stamped:
        mistaken(link)
        return Stamped()

    def clocks(bench: Bench, link: Link) -> Sequence[ClockState]:
        mistaken(link)
        return [state("a")]

    bench = parse(REAL.replace("PORT", str(free_port())) + TWO)
    table = run(context(bench, tmp_path, probe=probe, stamps=stamps, clocks=clocks))
    assert not table.ready
    for check in ("far-end", "timestamps", "clocks"):
        bad, good, *_ = rows(table, check)
        assert (bad.name, bad.state) == (f"{check} ab", "failed")
        assert bad.found == "wanted hex digits in lab.key; found no hex"
        assert "write it anew" in bad.remedy
        assert good.name != bad.name
        assert good.state == "ok"
    assert run(context(bench, tmp_path, probe=probe, waived=["far-end ab"])).ready


def test_a_key_file_that_is_gone_or_holds_no_key_is_a_row_of_its_link(tmp_path: Path) -> None:
    key = tmp_path / "lab.key"
    key.write_text("00" * 32, encoding="utf-8")
    key.chmod(0o600)
    bench = real(key_file=f'"{key}"')

    def none(link: Link) -> bytes:
        raise BenchError(f"hex digits in {link.key_file}", "no hex", "write it anew")

    (row,) = rows(run(context(bench, tmp_path, key=none)), "key")
    assert (row.name, row.state, row.remedy_en) == ("key ab", "failed", "write it anew")
    assert rows(run(context(bench, tmp_path, key=lambda link: b"")), "key")[0].state == "ok"
    key.unlink()
    (row,) = rows(run(context(bench, tmp_path)), "key")
    assert (row.name, row.state) == ("key ab", "failed")
    assert "No such file" in row.found
    assert "broke" not in row.found


def optical(tmp_path: Path, **until: str) -> Context:
    """The simulated cross-connect's bench, taken for a real one whose instruments all answer."""
    bench = load("simulated-oxc")
    made = tuple(
        replace(each, calibrated_until=until.get(each.name.replace("-", "_"), "")) for each in bench.instruments
    )
    found = Optics({each.name: "who it is" for each in made}, [], {"laser": ["its wavelength"]})
    return context(replace(bench, simulation=None, instruments=made), tmp_path, policy=None, optics=lambda: found)


def test_an_instrument_whose_calibration_nobody_states_is_a_warning(tmp_path: Path) -> None:
    made = optical(tmp_path, meter_1="2999-12-31")
    table = run(made)
    found = {row.name: row for row in rows(table, "instruments")}
    assert found["instruments meter-1"].state == "ok"
    assert found["instruments meter-2"].state == "warn"
    assert "does not say until when meter-2 is calibrated" in found["instruments meter-2"].found
    assert "unconfirmed: its wavelength" in found["instruments laser"].found
    assert made.bench.dut is not None
    assert found[f"instruments {made.bench.dut.instrument}"].state == "ok"  # it is what is tested
    assert table.ready
    simulated = run(replace(made, bench=replace(made.bench, simulation=load("simulated-oxc").simulation)))
    assert {row.state for row in rows(simulated, "instruments")} == {"ok"}  # nothing there can be calibrated


@pytest.mark.parametrize("waiver", ["far-end", "far-end ab"])
def test_a_failure_is_waived_by_name_and_stays_visible(tmp_path: Path, waiver: str) -> None:
    silent = context(real(), tmp_path, probe=lambda link: Answered(received=0, round_trip_ns=None))
    assert not run(silent).ready
    table = run(replace(silent, waived=[waiver]))
    assert table.ready
    assert rows(table, "far-end")[0].state == "waived"
    assert "1 waived" in table.summary
    assert rows(run(context(real(), tmp_path, waived=[waiver])), "far-end")[0].state == "ok"


def test_a_waiver_for_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="did you mean far-end"):
        run(context(real(), tmp_path, waived=["far-ned"]))


def test_every_row_that_is_not_ok_says_what_to_do_in_both_languages(tmp_path: Path) -> None:
    bad = context(
        real(sync_over_link="true", far_turnaround_qualified='"Q"', turnaround_cap_us="5"),
        tmp_path,
        policy=REHEARSAL,
        streams=[Stream("optical", 10, SECOND, 9000)],
        probe=lambda link: Answered(received=0, causes={"hmac": 5}),
        stamps=lambda link: Stamped(rx="user"),
        clocks=lambda bench, link: [state("a", None, None)],
    )
    table = run(bad)
    troubled = [row for row in table.rows if row.state != "ok"]
    assert {"policy", "far-end", "timestamps", "clocks", "key", "interface"} <= {row.check for row in troubled}
    for row in troubled:
        assert row.remedy_zh
        assert row.remedy_en
        assert row.remedy == f"{row.remedy_zh} / {row.remedy_en}"
    assert set(asdict(troubled[0])) == {"name", "state", "found", "remedy_zh", "remedy_en"}


def test_a_rehearsal_on_a_real_bench_fails(tmp_path: Path) -> None:
    table = run(context(real(), tmp_path, policy=REHEARSAL))
    assert rows(table, "policy")[0].state == "failed"


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (Stream("service", 10_000, SECOND, 512, flows=1), "1 s of at least"),
        (Stream("service", 1, 1800 * SECOND, 512, flows=1), "effective samples"),
        (Stream("other", 1000, 1800 * SECOND, 512), "no stream for it"),
        (Stream("optical", 1000, 59 * SECOND, 512, flows=1), "0 windows of at least"),
        (Stream("optical", 1, 1800 * SECOND, 512, flows=16), "effective samples"),
    ],
)
def test_a_plan_that_cannot_be_complete_says_so(tmp_path: Path, stream: Stream, words: str) -> None:
    found = rows(run(context(real(), tmp_path, streams=[stream])), "policy")
    assert any(row.state == "warn" and "INCOMPLETE" in row.found and words in row.found for row in found)


@pytest.mark.parametrize(
    ("states", "expected", "words"),
    [
        ([state("a")], "ok", "synchronised, bound 100 ns"),
        ([state("a", False, None)], "warn", "not synchronised (raw words)"),
        ([state("a", None, None)], "warn", "unknown"),
        ([state("a", True, None)], "warn", "synchronised (raw words)"),
        ([], "warn", "no source"),
        ([state("a", leap=True)], "failed", "leap second announced"),
        ([state("a", False, 5)], "warn", "not synchronised"),
    ],
)
def test_clocks(tmp_path: Path, states: Sequence[ClockState], expected: str, words: str) -> None:
    near, far = rows(run(context(real(), tmp_path, clocks=lambda bench, link: states)), "clocks")
    assert (near.name, near.state) == ("clocks a", expected)
    assert words in near.found
    assert (far.name, far.state) == ("clocks b", "ok")
    assert "information only" in far.found


def test_a_bound_that_no_verdict_can_rest_on(tmp_path: Path) -> None:
    gate = min(each.u_gate_refuse_ns for each in METRO.requirements)
    good, bad = (
        rows(run(context(real(), tmp_path, clocks=lambda bench, link, b=bound: [state("a", True, b)])), "clocks")
        for bound in (gate // 8, 60_000)
    )
    assert [row.state for row in good] == ["ok", "ok"]
    assert bad[-1].name == "clocks ab"
    # two planes of 50 us and a clock of 60 us, all rectangles, k = 2; the clock alone would leave 69.3 us
    assert "U of clocks and uncalibrated stamps 107083 ns or more" in bad[-1].found
    assert "above the" in bad[-1].found


def test_time_over_the_link_is_declared_or_warned_of(tmp_path: Path) -> None:
    for word, said in (("", "not declared whether time crosses"), ("true", "over this very link")):
        row = rows(run(context(real(sync_over_link=word), tmp_path)), "clocks")[-1]
        assert (row.name, row.state) == ("clocks ab", "warn")
        assert said in row.found
    assert [row.state for row in rows(run(context(real(), tmp_path)), "clocks")] == ["ok", "ok"]
    simulated = load("simulated")
    undeclared = replace(simulated, links=(replace(simulated.links[0], sync_over_link=None),))
    assert not any("declared" in row.found for row in run(context(undeclared, tmp_path)).rows)


def test_a_trusted_far_clock_without_a_key_is_warned_of(tmp_path: Path) -> None:
    (row,) = rows(run(context(real(far_clock_trusted="true"), tmp_path)), "key")
    assert row.state == "warn"
    assert "trusted, not authenticated" in row.found
    key = tmp_path / "k.key"
    key.write_text("00" * 32)
    key.chmod(0o600)
    (row,) = rows(run(context(real(far_clock_trusted="true", key_file=f'"{key}"'), tmp_path)), "key")
    assert row.state == "ok"


def test_a_kernel_that_is_wrong_about_tai(tmp_path: Path) -> None:
    wrong = replace(state("a"), tai_utc_s=36)
    now = leap.SHIPPED.steps[-1][0] * SECOND
    table = run(context(real(), tmp_path, clocks=lambda bench, link: [wrong], now=lambda: now))
    assert any(row.state == "failed" and "TAI - UTC = 36 s" in row.found for row in rows(table, "clocks"))


def test_leap_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leap, "newest", lambda: leap.SHIPPED)
    step = leap.SHIPPED.steps[-1][0] * SECOND
    for now, expected in [
        (step - 3601 * SECOND - 2 * 1800 * SECOND, "ok"),
        (step - 3599 * SECOND - 2 * 1800 * SECOND, "failed"),
        (step + 3599 * SECOND, "failed"),
        (step + 3601 * SECOND, "ok"),
        (leap.SHIPPED.expires_s * SECOND, "warn"),
    ]:
        assert rows(run(context(real(), tmp_path, now=lambda at=now: at)), "leap")[0].state == expected


def test_ports_that_are_taken(tmp_path: Path) -> None:
    bench = real()
    assert rows(run(context(bench, tmp_path)), "ports")[0].state == "ok"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.bind(("127.0.0.1", bench.links[0].flow_ports[0]))
        (row,) = rows(run(context(bench, tmp_path)), "ports")
    assert row.state == "failed"
    assert str(bench.links[0].flow_ports[0]) in row.found


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    bench = parse(REAL.replace("PORT", "50000").replace('near_address = "127.0.0.1"', 'near_address = "192.0.2.77"'))
    (row,) = rows(run(context(bench, tmp_path)), "ports")
    assert row.state == "failed"
    assert "192.0.2.77" in row.found


@pytest.mark.parametrize(
    ("driver", "expected", "words"),
    [
        (Driver(), "ok", "lo: driver igc"),
        (Driver(mtu=493), "failed", "do not fit"),
        (Driver(mtu=494), "ok", "MTU 494"),
    ],
)
def test_interfaces(tmp_path: Path, driver: Driver, expected: str, words: str) -> None:
    (row,) = rows(run(context(real(), tmp_path, facts=lambda name: driver)), "interface")
    assert row.state == expected
    assert words in row.found


def test_an_interface_that_carries_no_real_light_says_why(tmp_path: Path) -> None:
    why = "macvlan interface m at the near end: nobody knows where it ends"
    (row,) = rows(run(context(real(), tmp_path, simulated=lambda link: [why])), "interface")
    assert row.state == "warn"
    assert row.found == f"lo: driver igc, MTU 1500; {why}; the run is SIMULATED"
    (row,) = rows(run(context(real(), tmp_path, simulated=lambda link: [])), "interface")
    assert row.state == "ok"


def test_an_interface_that_does_not_exist(tmp_path: Path) -> None:
    def facts(name: str) -> Driver:
        raise OSError(19, "No such device")

    (row,) = rows(run(context(real(interface='"mcnone0"'), tmp_path, facts=facts)), "interface")
    assert row.state == "failed"
    assert "mcnone0: No such device" in row.found


@pytest.mark.parametrize(
    ("answer", "expected", "words", "remedy"),
    [
        (Answered(), "ok", "about 401 µs", ""),
        (Answered(received=3), "warn", "3 of 5", "loses packets"),
        (Answered(received=0, round_trip_ns=None), "failed", "0 of 5", "firewalls"),
        (
            Answered(received=0, round_trip_ns=None, causes={"replay": 1, "hmac": 5}),
            "failed",
            "5 hmac",
            "same key file",
        ),
        (Answered(received=0, round_trip_ns=None, causes={"size": 5}), "failed", "5 size", "symmetrical size"),
        (Answered(received=0, round_trip_ns=None, causes={"short": 5}), "failed", "5 short", "firewalls"),
    ],
)
def test_the_far_end(tmp_path: Path, answer: Answered, expected: str, words: str, remedy: str) -> None:
    (row,) = rows(run(context(real(), tmp_path, probe=lambda link: answer)), "far-end")
    assert row.state == expected
    assert words in row.found
    assert remedy in row.remedy_en


def test_stamps_from_user_space_fail(tmp_path: Path) -> None:
    (row,) = rows(run(context(real(), tmp_path, stamps=lambda link: Stamped(tx="user", remark="why"))), "timestamps")
    assert row.state == "failed"
    assert "transmit user, receive kernel (why)" in row.found


def test_what_does_not_fit_on_disk_or_in_memory(tmp_path: Path) -> None:
    huge = [Stream("service", 10_000_000, 31 * 86_400 * SECOND, 512)]
    table = run(context(real(), tmp_path, streams=huge))
    assert rows(table, "disk")[0].state == "failed"
    assert rows(table, "memory")[0].state == "failed"


def test_results_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (row,) = rows(run(context(real(), tmp_path, results=tmp_path / "file" / "results")), "disk")
    assert row.state == "failed"


@pytest.mark.parametrize(
    ("count", "load_average", "expected"), [(1, 0.0, "warn"), (2, 1.5, "warn"), (2, 0.5, "ok"), (64, 20.0, "ok")]
)
def test_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, load_average: float, expected: str
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    monkeypatch.setattr(os, "getloadavg", lambda: (load_average, 0.0, 0.0))
    assert rows(run(context(real(), tmp_path)), "cpu")[0].state == expected


def test_a_key_that_others_can_read_or_that_vanished(tmp_path: Path) -> None:
    key = tmp_path / "k.key"
    key.write_text("00" * 32)
    key.chmod(0o600)
    bench = real(key_file=f'"{key}"')
    assert rows(run(context(bench, tmp_path)), "key")[0].state == "ok"
    key.chmod(0o644)
    assert rows(run(context(bench, tmp_path)), "key")[0].state == "failed"
    key.unlink()
    assert rows(run(context(bench, tmp_path)), "key")[0].state == "failed"


def test_gathering_asks_every_source_of_a_link() -> None:
    bench = load("simulated")
    assert {found.site for found in gather(bench, bench.links[0])} == {"site-a", "site-b"}


def test_notes_and_empty_fields_of_the_bench_are_warnings(tmp_path: Path) -> None:
    bench = parse(REAL.replace("PORT", "50000").replace("[sites.a]", "[sites.c]\n[sites.a]"))
    found = rows(run(context(bench, tmp_path)), "bench")
    assert [row.state for row in found] == ["ok", "warn", "warn"]
    assert "site c is on no link" in found[1].found
    assert "[lab] name" in found[2].found
