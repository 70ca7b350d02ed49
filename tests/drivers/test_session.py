"""A conversation is recorded and played back word for word; a driver that talks otherwise is told what was asked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import (
    InstrumentError,
    InstrumentFaultError,
    PortClosedError,
    PortTimeoutError,
    TranscriptError,
)
from drivers.port import Identity, Port
from drivers.scpi import POLL_OPC, Action, Query, ScpiInstrument, Setting, number, reading
from drivers.session import FORMAT, Recording, Replay, Session, Transcript
from drivers.simulated.faults import Fault, Faults, Kind
from drivers.simulated.scpi import ScpiDevice, ScpiError
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.visa import SimulatedVisa

GOLDEN = Path(__file__).parent / "transcripts" / "probe.jsonl"
BLOCK = np.arange(500, dtype="<f4").tobytes()


class Device(ScpiDevice):
    def __init__(self, clock: VirtualClock) -> None:
        super().__init__(Identity("Acme", "PROBE", "SIM-PROBE-1", "1"), clock)
        self.opc_blocks = False
        self.on("LEVel", self.refuse)
        self.on("LEVel?", lambda suffixes, args: "+1.250000E+000")
        self.on("TEMPerature?", lambda suffixes, args: "9.91E37")
        self.on("TRACe?", lambda suffixes, args: BLOCK)
        self.on("RUN", lambda suffixes, args: self.begin(0.5))

    def refuse(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        if float(args[0]) > 5:
            raise ScpiError(-222)


class Probe(ScpiInstrument):
    MODELS = ("PROBE",)
    WAIT = POLL_OPC
    level = Setting("LEV", number(float))
    temperature = Query("TEMP?", reading(float))
    run = Action("RUN", wait_s=5)


def conversation(session: Session, clock: VirtualClock) -> list[object]:
    """All there is: settings, readings, a block, a wait, an objection, silence."""
    probe = Probe(session, clock=clock)
    heard: list[object] = []

    def do(act: Callable[[], object]) -> None:
        try:
            heard.append(act())
        except InstrumentError as why:
            heard.append((type(why).__name__, str(why), getattr(why, "code", None), getattr(why, "text", None)))

    do(lambda: Probe.level.set(probe, 1.25))
    do(lambda: probe.level)
    do(lambda: probe.temperature)
    do(lambda: probe.array("TRAC?", "float32-little").tolist())
    do(lambda: probe.run() > 0)
    do(lambda: Probe.level.set(probe, 9.0))
    do(lambda: probe.query("LEV?", 0.1))
    do(probe.errors)
    probe.close()
    do(lambda: probe.level)
    return heard


def recorded() -> tuple[list[str], list[object]]:
    clock = VirtualClock()
    visa = SimulatedVisa()
    lost = Faults(Fault(Kind.LOST, at=frozenset({2}), match="LEV?"))
    where = visa.serve(Device(clock), "TCPIP0::probe::5025::SOCKET", lost).resource
    lines: list[str] = []
    port = Port(where, backend=visa, clock=clock)
    return lines, conversation(Recording(port, lines.append, clock), clock)


def test_what_was_recorded_plays_back_the_same_readings_blocks_and_errors() -> None:
    lines, live = recorded()
    replay = Replay(Transcript.parse("".join(lines)))
    assert conversation(replay, VirtualClock()) == live
    replay.finish()
    kinds = [type(each) for each in live]
    assert kinds[3] is list
    assert live[2] is None
    assert live[5] == live[5]
    assert [each[0] for each in live if isinstance(each, tuple) and each] == [
        "InstrumentFaultError",
        "PortTimeoutError",
        "PortClosedError",
    ]


def test_a_line_says_when_and_how_long_with_whom() -> None:
    lines, _ = recorded()
    head, *rest = (json.loads(line) for line in lines)
    assert head == {
        "format": FORMAT,
        "identity": "Acme,PROBE,SIM-PROBE-1,1",
        "resource": "TCPIP0::probe::5025::SOCKET",
        "timeout_s": 2.0,
    }
    stamps = [line["at_ns"] for line in rest]
    assert stamps == sorted(stamps)
    assert all(line["took_ns"] >= 0 for line in rest)
    assert {line["do"] for line in rest} == {"write", "query", "block"}
    assert all(line.endswith("\n") and line.isascii() and line.count("\n") == 1 for line in lines)


def test_a_transcript_of_years_ago_still_plays() -> None:
    """The file was written once and is never written again."""
    replay = Replay.of(GOLDEN)
    heard = conversation(replay, VirtualClock())
    replay.finish()
    assert heard[1] == 1.25


def test_a_driver_that_asks_something_else_is_told_what_was_asked_then() -> None:
    lines, _ = recorded()
    text = "".join(lines)
    with pytest.raises(
        TranscriptError, match=r"write 'LEV 1\.25', as it was recorded in line 2; found write 'LEV 1\.5'"
    ):
        Replay(Transcript.parse(text)).write("LEV 1.5")
    with pytest.raises(TranscriptError, match=r"found query 'LEV 1\.25'"):
        Replay(Transcript.parse(text)).query("LEV 1.25")
    with pytest.raises(TranscriptError, match=r"write 'LEV 1\.25'.*found the end"):
        Replay(Transcript.parse(text)).finish()
    replay = Replay(Transcript.parse(lines[0]))
    with pytest.raises(TranscriptError, match="the end of the conversation"):
        replay.write("LEV 1.25")


def test_a_closed_replay_is_closed() -> None:
    lines, _ = recorded()
    replay = Replay(Transcript.parse("".join(lines)))
    replay.close()
    replay.close()
    with pytest.raises(PortClosedError):
        replay.write("LEV 1.25")


def test_a_recording_is_the_session_it_records() -> None:
    lines, _ = recorded()
    replay = Replay(Transcript.parse("".join(lines)))
    again: list[str] = []
    recording = Recording(replay, again.append, VirtualClock())
    assert (recording.resource, recording.identity, recording.timeout_s) == (
        replay.resource,
        replay.identity,
        replay.timeout_s,
    )
    assert conversation(recording, VirtualClock()) == recorded()[1]
    strip = [{k: v for k, v in json.loads(line).items() if not k.endswith("_ns")} for line in lines]
    assert [{k: v for k, v in json.loads(line).items() if not k.endswith("_ns")} for line in again] == strip


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "{}",
        "[]",
        "null",
        '{"format": "millicert transcript 2"}',
        f'{{"format": "{FORMAT}"}}\nnot json',
        f'{{"format": "{FORMAT}"}}\n[1]',
        f'{{"format": "{FORMAT}"}}\n{{"do": "query"}}',
        f'{{"format": "{FORMAT}"}}\n{{"do": 1, "message": "x"}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_transcript_is_said(text: str) -> None:
    with pytest.raises(TranscriptError):
        Transcript.parse(text)


HEAD = json.dumps({"format": FORMAT, "resource": "x", "identity": "a,b,c,d", "timeout_s": 2})


@pytest.mark.parametrize(
    "line",
    [
        {"do": "query", "message": "A?"},
        {"do": "query", "message": "A?", "reply": 1},
        {"do": "block", "message": "A?", "base64": "%%"},
        {"do": "block", "message": "A?", "base64": 7},
        {"do": "block", "message": "A?"},
        {"do": "query", "message": "A?", "error": None},
        {"do": "query", "message": "A?", "error": {"kind": "OSError"}},
        {"do": "query", "message": "A?", "error": {"kind": "PortTimeoutError"}},
        {"do": "query", "message": "A?", "error": {"kind": "DENIED", "wanted": "", "found": "", "remedy": ""}},
    ],
)
def test_a_line_that_says_too_little_is_said(line: dict[str, object]) -> None:
    replay = Replay(Transcript.parse(f"{HEAD}\n{json.dumps(line)}"))
    ask = replay.query if line["do"] == "query" else replay.query_block
    with pytest.raises(TranscriptError):
        ask("A?")


def test_a_head_without_an_instrument_is_said(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError):
        Replay(Transcript.parse(json.dumps({"format": FORMAT})))
    with pytest.raises(TranscriptError):
        Replay.of(tmp_path / "none.jsonl")


def test_an_error_comes_back_with_its_particulars() -> None:
    line = {
        "do": "write",
        "message": "A",
        "error": {
            "kind": "InstrumentFaultError",
            "wanted": "no error after A",
            "found": '-222,"x"',
            "remedy": "look",
            "code": -222,
            "text": "x",
        },
    }
    replay = Replay(Transcript.parse(f"{HEAD}\n{json.dumps(line)}"))
    with pytest.raises(InstrumentFaultError, match="no error after A") as fault:
        replay.write("A")
    assert (fault.value.code, fault.value.text) == (-222, "x")
    assert not isinstance(fault.value, PortTimeoutError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
LINE = st.fixed_dictionaries(
    {"do": st.sampled_from(["write", "query", "block", "tl1"]) | JSON, "message": st.just("A?") | JSON},
    optional={"reply": JSON, "base64": JSON, "error": JSON, "format": JSON},
)


@given(st.lists(LINE | JSON, max_size=4), st.text(max_size=60))
def test_no_transcript_breaks_anything_but_itself(lines: list[object], tail: str) -> None:
    text = "\n".join([HEAD, *(json.dumps(line) for line in lines)]) + tail
    try:
        replay = Replay(Transcript.parse(text))
    except TranscriptError:
        return
    for act in (replay.query, replay.query_block, replay.write):
        with contextlib.suppress(InstrumentError):
            act("A?")
