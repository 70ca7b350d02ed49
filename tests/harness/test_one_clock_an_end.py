"""One clock at each end: a stamp that fell back from the NIC to the system clock is no stamp."""

import runpy
import socket
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import engine
from harness.bench import BenchFileError, parse
from harness.clock import Clock, ClockState
from harness.errors import EngineError
from harness.link import Endpoint, Link, Site
from harness.samples import COLUMNS, KERNEL, MISSING, NIC, RECEIVED, SENT, USER, Samples, one_clock_an_end, source
from harness.stream import Stream
from harness.uncertainty import admissible

LONE = runpy.run_path(str(Path(__file__).parents[2] / "standalone" / "millicert_verify.py"))
AHEAD = 37_000_000_000


def samples(sources: list[tuple[int, int, int, int]]) -> Samples:
    """Rows whose stamps differ by the clock that took them: a PHC is 37 s ahead of the system clock."""
    rows = len(sources)
    columns = {name: np.zeros(rows, np.int64) for name in COLUMNS}
    for row, codes in enumerate(sources):
        columns["flags"][row] = SENT | RECEIVED | sum(code << (2 * i) for i, code in enumerate(codes))
        for i, code in enumerate(codes):
            columns[f"t{i + 1}"][row] = 1_000 + 100 * i + (AHEAD if code == NIC else 0)
    return Samples(**columns)


def test_without_any_nic_stamp_nothing_changes() -> None:
    given_ = samples([(KERNEL, KERNEL, USER, KERNEL)] * 3)
    assert one_clock_an_end(given_) is given_


def test_a_stray_kernel_stamp_among_nic_stamps_counts_as_not_taken() -> None:
    got = one_clock_an_end(samples([(NIC, KERNEL, KERNEL, NIC), (KERNEL, KERNEL, KERNEL, NIC)]))
    assert list(got.t1) == [1_000 + AHEAD, MISSING]
    assert MISSING not in got.t4
    assert list(source(got.flags, 1)) == [NIC, 0]
    assert MISSING not in got.t2
    assert MISSING not in got.t3


def test_a_far_end_that_answers_from_user_space_has_no_t3_beside_its_nic_t2() -> None:
    got = one_clock_an_end(samples([(KERNEL, NIC, USER, KERNEL)]))
    assert list(got.t3) == [MISSING]
    assert list(got.t2) == [1_100 + AHEAD]


def test_where_nic_stamps_were_asked_for_no_other_ever_counts() -> None:
    got = one_clock_an_end(samples([(KERNEL, KERNEL, KERNEL, KERNEL)] * 2), near_nic=True)
    assert set(got.t1) == set(got.t4) == {MISSING}
    assert MISSING not in got.t2


@given(st.lists(st.tuples(*[st.sampled_from([USER, KERNEL, NIC])] * 4), min_size=1, max_size=30), st.booleans())
def test_no_difference_within_an_end_ever_spans_two_clocks(
    codes: list[tuple[int, int, int, int]], wanted: bool
) -> None:
    got = one_clock_an_end(samples(codes), near_nic=wanted)
    for one, other in ((got.t1, got.t4), (got.t2, got.t3)):
        whole = (one != MISSING) & (other != MISSING)
        assert not bool((np.abs(other[whole] - one[whole]) > AHEAD // 2).any())


@given(st.lists(st.tuples(*[st.sampled_from([USER, KERNEL, NIC])] * 4), min_size=1, max_size=30), st.booleans())
def test_the_one_file_verifier_takes_the_same_stamps(codes: list[tuple[int, int, int, int]], wanted: bool) -> None:
    given_ = samples(codes)
    rows = {name: array("q", getattr(given_, name).tolist()) for name in COLUMNS}
    LONE["one_clock_an_end"](rows, wanted)
    got = one_clock_an_end(given_, near_nic=wanted)
    assert {name: list(rows[name]) for name in COLUMNS} == {name: getattr(got, name).tolist() for name in COLUMNS}


@pytest.mark.parametrize(
    ("stamps", "ahead_s", "asked"),
    [("kernel", 0, (False, 0)), ("nic", 37, (True, 0)), ("nic", 0, (True, 37_000_000_000))],
)
def test_the_core_is_asked_for_what_the_link_says(
    monkeypatch: pytest.MonkeyPatch, stamps: str, ahead_s: int, asked: tuple[bool, int]
) -> None:
    """A PHC that keeps TAI needs nothing added; one that keeps UTC, TAI - UTC."""
    seen: dict[str, object] = {}

    def sender(*_: object, **given_: object) -> None:
        seen.update(given_)
        raise ValueError("seen enough")

    monkeypatch.setattr(engine, "Sender", sender)
    end = Endpoint("192.0.2.2", "192.0.2.1", 862, "eth7")
    link = Link("x", SITE, FAR, end, stamps=stamps, phc_ahead_s=ahead_s, flow_ports=(61000,))  # type: ignore[arg-type]
    stream = Stream("optical", 1000, 1_000_000_000, 512, flows=1, schedule="periodic")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near, pytest.raises(EngineError):
        engine.run(
            link,
            stream,
            [near],
            engine.Near(37),
            key=None,
            sink=lambda _: None,
            observe=lambda _: None,
            stop=engine.Stop(),
        )
    assert (seen["hardware"], seen["nic_offset_ns"], seen["interface"]) == (*asked, "eth7")


SITE = Site(name="here", title="", kind="computing-centre", size_class="large", clock=Clock(("phc", "kernel")))
FAR = Site(name="there", title="", kind="computing-centre", size_class="large", clock=Clock(()))


@pytest.mark.parametrize(("stamps", "kernel_counts"), [("kernel", True), ("nic", False)])
def test_evidence_of_the_system_clock_says_nothing_of_a_phc(stamps: str, kernel_counts: bool) -> None:
    link = Link("x", SITE, FAR, Endpoint("192.0.2.2", "192.0.2.1", 862), stamps=stamps)  # type: ignore[arg-type]

    def poll(source_: str) -> ClockState:
        return ClockState("here", source_, 0, True, 100, 0, 37, False, "", "")

    assert admissible(SITE, link, poll("kernel")) is kernel_counts
    assert admissible(SITE, link, poll("chrony")) is kernel_counts
    assert admissible(SITE, link, poll("phc"))


BENCH = """
[bench]
name = "x"
policy = "metro-2027"
[sites.a]
clock = { sources = [SOURCES] }
PHC
[sites.b]
[links.ab]
near = "a"
far = "b"
far_address = "192.0.2.9"
stamps = "nic"
INTERFACE
"""


def bench(sources: str, phc: str, interface: str = 'interface = "eth0"') -> str:
    return BENCH.replace("SOURCES", sources).replace("PHC", phc).replace("INTERFACE", interface)


PHC = (
    "[sites.a.clock.phc]\ndevice = '/dev/ptp0'\nahead_s = 37\nclock = 'phc'\nreference_ns = 100\nreference_origin = 'x'"
)


def test_a_bench_names_the_phc_and_its_seconds() -> None:
    text = bench('"phc"', PHC).replace("clock = { sources", "[sites.a.clock]\nsources").replace("] }", "]")
    link = parse(text).links[0]
    assert (link.stamps, link.phc_ahead_s) == ("nic", 37)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (bench('"kernel"', ""), "NIC stamps without evidence of their clock"),
        (bench('"phc"', PHC.replace("'phc'", "'system'")), "NIC stamps without evidence of their clock"),
        (bench('"phc"', PHC, ""), "the interface whose NIC stamps"),
        (bench('"phc", "chrony"', PHC), "evidence of the system clock"),
    ],
)
def test_what_is_missing_for_nic_stamps_is_told(text: str, said: str) -> None:
    text = text.replace("clock = { sources", "[sites.a.clock]\nsources").replace("] }", "]")
    with pytest.raises(BenchFileError, match=said):
        parse(text)
