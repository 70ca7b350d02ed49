"""A TL1 session over real sockets: tags, blocks, announcements, denials, silence, garbage."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.clock import WALL
from drivers.errors import (
    DeniedError,
    InstrumentError,
    PortClosedError,
    PortLostError,
    PortOpenError,
    PortReplyError,
    PortTimeoutError,
    TranscriptError,
)
from drivers.port import Identity, VisaStream, Wire
from drivers.session import Transcript
from drivers.simulated.tcp import serve_tcp
from drivers.simulated.tl1 import Tl1Command, Tl1Deny, Tl1Device, Tl1Partial
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.visa import SimulatedVisa
from drivers.stream import SocketStream
from drivers.tl1 import Answer, Message, Talk, Tl1Recording, Tl1Replay, Tl1Session, fields, parse_message

SHORT_S = 0.15
HEAD = "\r\n\n   OXC 26-11-22 19:00:00\r\n"


class Switch(Tl1Device):
    """A patch panel with every kind of answer."""

    def __init__(self, clock: object = WALL, **more: object) -> None:
        super().__init__(
            Identity("Acme", "OXC", "SIM-OXC-1", "1"),
            clock,  # type: ignore[arg-type]  # object keeps the fixture short
            sid="OXC",
            **{"users": {"root": "s3cret"}, **more},  # type: ignore[arg-type]  # as above
        )
        self.patches: dict[str, str] = {}
        self.on("ENT-PATCH", self.enter)
        self.on("RTRV-PATCH", lambda command: [f"{a},{b}" for a, b in self.patches.items()])
        self.on("RTRV-LONG", lambda command: [f"{n}:-13.45" for n in range(640)])
        self.on("RTRV-NOTHING", lambda command: [])
        self.on("OPR-SOME", self.some)
        self.on("OPR-SLOW", lambda command: self.wait(0.3))
        self.on("OPR-ALARM", self.alarm)

    def enter(self, command: Tl1Command) -> None:
        ingress, egress = command.aids()
        if ingress[0] in self.patches:
            raise Tl1Deny("SNVS", "in use")
        self.patches[ingress[0]] = egress[0]

    def some(self, command: Tl1Command) -> list[str]:
        raise Tl1Partial(["1 done"], "SARB", "the rest not")

    def alarm(self, command: Tl1Command) -> list[str]:
        self.autonomous("REPT-ALM-EQPT", ["SHELF-1:CR,FAN,SA"], "*C")
        return ["after the alarm"]


@contextlib.contextmanager
def opened(device: Tl1Device | None = None, log: list[Wire] | None = None) -> Iterator[Tl1Session]:
    carrier = serve_tcp(device or Switch())
    try:
        with Tl1Session.at(
            carrier.resource,
            user="root",
            password="s3cret",  # noqa: S106 - a simulated one's
            timeout_s=10,
            log=None if log is None else log.append,
        ) as session:
            yield session
    finally:
        carrier.close()


@contextlib.contextmanager
def scripted(serve: Callable[[socket.socket, str], None]) -> Iterator[str]:
    """A peer that does with each request, tag first, what the test says."""
    listener = socket.create_server(("127.0.0.1", 0))
    peers: list[socket.socket] = []

    def run() -> None:
        with contextlib.suppress(OSError):
            peer, _ = listener.accept()
            peers.append(peer)
            heard = b""
            while octets := peer.recv(4096):
                heard += octets
                while b";" in heard:
                    request, heard = heard.split(b";", 1)
                    serve(peer, request.decode().strip().split(":")[3])

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"TCPIP0::127.0.0.1::{listener.getsockname()[1]}::SOCKET"
    finally:
        for each in (listener, *peers):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        thread.join(5)


def completed(tag: str, *rows: str, code: str = "COMPLD", end: str = ";") -> bytes:
    return (HEAD + f"M  {tag} {code}\r\n" + "".join(f'   "{row}"\r\n' for row in rows) + end).encode()


# -- what works --------------------------------------------------------------------------------------------------


def test_rows_come_without_quotes_and_the_device_says_its_name() -> None:
    with opened() as session:
        assert session.do("ENT-PATCH", "1,9").rows == ()
        assert session.do("RTRV-PATCH") == Answer(("1,9",), (), "OXC")
        assert session.sid == "OXC"


@pytest.mark.parametrize("rows_a_block", [0, 1, 7, 640])
def test_an_answer_in_several_blocks_is_whole(rows_a_block: int) -> None:
    with opened(Switch(rows_a_block=rows_a_block)) as session:
        rows = session.do("RTRV-LONG").rows
        assert rows == tuple(f"{n}:-13.45" for n in range(640))
        assert session.do("RTRV-NOTHING").rows == ()


def test_a_denial_is_typed_with_its_reason_and_the_session_goes_on() -> None:
    with opened() as session:
        session.do("ENT-PATCH", "1,9")
        with pytest.raises(DeniedError, match=r"DENY SNVS \(status, not in valid state\) in use") as denied:
            session.do("ENT-PATCH", "1,10")
        assert (denied.value.reason, denied.value.text, denied.value.done) == ("SNVS", "in use", None)
        assert session.do("RTRV-PATCH").rows == ("1,9",)


def test_what_was_done_in_part_is_an_error_that_says_which_part() -> None:
    with opened() as session, pytest.raises(DeniedError, match="PRTL SARB") as denied:
        session.do("OPR-SOME")
    assert denied.value.done == ("1 done",)


def test_announcements_between_are_kept_apart() -> None:
    device = Switch()
    with opened(device) as session:
        assert session.do("OPR-ALARM").rows == ("after the alarm",)
        device.autonomous("REPT-DBCHG", ["x"], "A")
        first, second = heard = session.announcements(5.0) if len(session._announced) > 1 else _two(session)
        assert [each.kind for each in heard] == ["*C", "A"]
        assert first.code == "REPT ALM EQPT"
        assert first.rows == ("SHELF-1:CR,FAN,SA",)
        assert second.rows == ("x",)
        assert session.announcements() == ()


def _two(session: Tl1Session) -> tuple[Message, ...]:
    heard: tuple[Message, ...] = ()
    while len(heard) < 2:
        heard += session.announcements(5.0)
    return heard


def test_a_slow_command_is_acknowledged_first_and_that_is_no_answer() -> None:
    with opened(Switch(acknowledge_s=0.1)) as session:
        assert session.do("OPR-SLOW").rows == ()


def test_who_is_not_let_in_gets_no_session() -> None:
    carrier = serve_tcp(Switch())
    try:
        with pytest.raises(DeniedError, match="PIUI"):
            Tl1Session.at(carrier.resource, user="root", password="wrong", timeout_s=10)  # noqa: S106 - that is the point
    finally:
        carrier.close()


def test_a_password_is_in_no_log_no_error_and_no_recording() -> None:
    log: list[Wire] = []
    lines: list[str] = []
    with opened(log=log) as session:
        recording = Tl1Recording(session, lines.append)
        recording.do("ACT-USER", "root", "s3cret")
        with pytest.raises(DeniedError) as denied:
            recording.do("ACT-USER", "root", "s3cret2")
    assert b"s3cret" not in b"".join(wire.octets for wire in log)
    assert b"***" in b"".join(wire.octets for wire in log)
    assert "s3cret" not in "".join(lines) + str(denied.value)


def test_threads_get_their_own_answers() -> None:
    device = Switch()
    device.on("RTRV-ECHO", lambda command: [command.aid])
    wrong: list[object] = []
    with opened(device) as session:

        def ask(who: int) -> None:
            wrong.extend(
                got for n in range(50) if (got := session.do("RTRV-ECHO", f"{who}-{n}").rows) != (f"{who}-{n}",)
            )

        threads = [threading.Thread(target=ask, args=(who,)) for who in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert wrong == []


def test_the_same_over_the_library_in_this_process() -> None:
    clock = VirtualClock()
    visa = SimulatedVisa()
    device = Switch(clock, rows_a_block=100)
    where = visa.serve(device).resource
    with Tl1Session(VisaStream(where, backend=visa, clock=clock), user="root", password="s3cret") as session:  # noqa: S106 - simulated
        assert len(session.do("RTRV-LONG").rows) == 640
        session.do("OPR-ALARM")
        assert [each.kind for each in session.announcements()] == ["*C"]
        device.on("OPR-LONG", lambda command: device.wait(60))
        start = clock.now_ns()
        with pytest.raises(PortTimeoutError):
            session.do("OPR-LONG")
        assert clock.now_ns() - start >= 5e9
        assert session.do("RTRV-PATCH").rows == ()


# -- what does not ----------------------------------------------------------------------------------------------


def test_an_answer_that_comes_late_is_known_by_its_tag() -> None:
    go = threading.Event()

    def serve(peer: socket.socket, tag: str) -> None:
        if tag == "1":
            go.wait(20)
        peer.sendall(completed(tag, f"answer {tag}"))

    with scripted(serve) as where, Tl1Session.at(where, timeout_s=10) as session:
        with pytest.raises(PortTimeoutError, match=r"RTRV-PATCH.*silence"):
            session.do("RTRV-PATCH", timeout_s=SHORT_S)
        go.set()
        assert session.do("RTRV-PATCH").rows == ("answer 2",)


def test_a_naive_reader_takes_the_late_answer_for_the_next() -> None:
    go = threading.Event()

    def serve(peer: socket.socket, tag: str) -> None:
        if tag == "1":
            go.wait(20)
        peer.sendall(completed(tag, f"answer {tag}"))

    with scripted(serve) as where:
        host, port = where.split("::")[1:3]
        with socket.create_connection((host, int(port)), timeout=SHORT_S) as naive:
            naive.sendall(b"RTRV-PATCH:::1:;")
            with pytest.raises(TimeoutError):
                naive.recv(4096)
            go.set()
            naive.settimeout(10)
            naive.sendall(b"RTRV-PATCH:::2:;")
            got = b""
            while b";" not in got:
                got += naive.recv(4096)
            assert b"answer 1" in got.split(b";")[0]


def test_blocks_of_an_old_answer_and_halves_of_one_do_not_mix_with_the_next() -> None:
    go = threading.Event()

    def serve(peer: socket.socket, tag: str) -> None:
        if tag == "1":
            peer.sendall(completed(tag, "old 1", end=">") + completed(tag, "old 2")[:-20])
            go.wait(20)
            peer.sendall(completed(tag, "old 2")[-20:] + completed(tag, "old 3", end=">"))
        elif tag == "2":
            peer.sendall(completed("1", "old 4"))
            peer.sendall(completed(tag, "new 1", end=">") + completed(tag, "new 2"))

    with scripted(serve) as where, Tl1Session.at(where, timeout_s=10) as session:
        with pytest.raises(PortTimeoutError, match="1 rows"):
            session.do("RTRV-PATCH", timeout_s=SHORT_S)
        go.set()
        assert session.do("RTRV-PATCH").rows == ("new 1", "new 2")


def test_half_an_answer_whose_other_half_never_comes_is_not_part_of_the_next() -> None:
    def serve(peer: socket.socket, tag: str) -> None:
        whole = completed(tag, f"answer {tag}")
        peer.sendall(whole[:-10] if tag == "1" else whole)

    with scripted(serve) as where, Tl1Session.at(where, timeout_s=10) as session:
        with pytest.raises(PortTimeoutError):
            session.do("RTRV-PATCH", timeout_s=SHORT_S)
        assert session.do("RTRV-PATCH").rows == ("answer 2",)


def test_garbage_that_was_owed_is_thrown_away() -> None:
    go = threading.Event()

    def serve(peer: socket.socket, tag: str) -> None:
        if tag == "1":
            go.wait(20)
            peer.sendall(b"half a line\r\n;")
        else:
            peer.sendall(b"\xff\xff\r\n;" + completed(tag, "fine"))

    with scripted(serve) as where, Tl1Session.at(where, timeout_s=10) as session:
        with pytest.raises(PortTimeoutError):
            session.do("RTRV-PATCH", timeout_s=SHORT_S)
        go.set()
        assert session.do("RTRV-PATCH").rows == ("fine",)


def test_a_delay_is_no_end() -> None:
    def serve(peer: socket.socket, tag: str) -> None:
        peer.sendall(completed(tag, code="DELAY") + completed(tag, "done at last"))

    with scripted(serve) as where, Tl1Session.at(where, timeout_s=10) as session:
        assert session.do("RTRV-PATCH").rows == ("done at last",)


def test_another_tags_answer_is_nobodys() -> None:
    def serve(peer: socket.socket, tag: str) -> None:
        peer.sendall(completed("99", "wrong"))

    with (
        scripted(serve) as where,
        Tl1Session.at(where, timeout_s=10) as session,
        pytest.raises(PortTimeoutError, match="silence"),
    ):
        session.do("RTRV-PATCH", timeout_s=SHORT_S)


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n;", b"\xff\xfe\r\n;", b"+1.0\r\n>", b"\r\nIP\r\n<"])
def test_what_is_no_tl1_is_said_and_survived(garbage: bytes) -> None:
    def serve(peer: socket.socket, tag: str) -> None:
        peer.sendall(garbage if tag == "1" else completed(tag, "fine"))

    with scripted(serve) as where, Tl1Session.at(where, timeout_s=10) as session:
        with pytest.raises(PortReplyError, match="TL1"):
            session.do("RTRV-PATCH")
        assert session.do("RTRV-PATCH").rows == ("fine",)


def test_echo_prompt_banner_and_octet_by_octet() -> None:
    def serve(peer: socket.socket, tag: str) -> None:
        said = (
            b"Welcome;\r\nto OXC > here\r\n"
            + f"RTRV-PATCH:::{tag}::;\r\n".encode()
            + completed(tag, "a;b>c")
            + b"\r\n> "
        )
        for octet in said:
            peer.sendall(bytes([octet]))

    with scripted(serve) as where, Tl1Session.at(where, timeout_s=10) as session:
        assert session.do("RTRV-PATCH").rows == ("a;b>c",)
        assert session.do("RTRV-PATCH").rows == ("a;b>c",)


def test_a_flood_of_announcements_does_not_hold_a_command_for_ever() -> None:
    stop = threading.Event()

    def serve(peer: socket.socket, tag: str) -> None:
        n = 0
        while not stop.is_set():
            n += 1
            peer.sendall(f'{HEAD}A  {n} REPT ALM EQPT\r\n   "x"\r\n;'.encode())

    with scripted(serve) as where, Tl1Session.at(where, timeout_s=10) as session:
        with pytest.raises(PortTimeoutError):
            session.do("RTRV-PATCH", timeout_s=SHORT_S)
        stop.set()
        assert len(session.announcements()) <= 1000


def test_a_peer_that_hangs_up_is_lost_at_once_and_stays_lost() -> None:
    def serve(peer: socket.socket, tag: str) -> None:
        peer.shutdown(socket.SHUT_RDWR)

    with scripted(serve) as where:
        session = Tl1Session.at(where, timeout_s=60)
        with pytest.raises(PortLostError, match=r"closed by the instrument|reset"):
            session.do("RTRV-PATCH")
        with pytest.raises(PortClosedError):
            session.do("RTRV-PATCH")
        session.close()


def test_closing_ends_a_command_under_way() -> None:
    found: list[InstrumentError] = []
    heard = threading.Event()

    def serve(peer: socket.socket, tag: str) -> None:
        heard.set()

    with scripted(serve) as where:
        session = Tl1Session.at(where, timeout_s=60)

        def ask() -> None:
            try:
                session.do("RTRV-PATCH")
            except InstrumentError as why:
                found.append(why)

        thread = threading.Thread(target=ask)
        thread.start()
        assert heard.wait(20)
        session.close()
        session.close()
        thread.join(20)
    assert [type(why) for why in found] == [PortLostError]


def test_a_turn_is_not_waited_for_longer_than_allowed() -> None:
    with opened() as session:
        refused: list[BaseException] = []

        def ask() -> None:
            try:
                session.do("RTRV-PATCH", timeout_s=0.05)
            except PortTimeoutError as why:
                refused.append(why)

        with session.turn():
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join(10)
        assert len(refused) == 1
        assert session.do("RTRV-PATCH").rows == ()


@pytest.mark.parametrize("where", ["", "nonsense", "TCPIP0::127.0.0.1::99999::SOCKET", "TCPIP0::127.0.0.1::1::SOCKET"])
def test_nobody_there_is_not_open(where: str) -> None:
    with pytest.raises(PortOpenError):
        SocketStream(where, timeout_s=SHORT_S)


@pytest.mark.parametrize(
    "command",
    [("rtrv",), ("RTRV-PATCH;DLT-PATCH",), ("RTRV", "a;b"), ("RTRV", "a:b"), ("RTRV", "", "x\ny"), ("RTRV", "µ")],
)
def test_what_would_be_more_than_one_command_is_not_sent(command: tuple[str, ...]) -> None:
    with opened() as session, pytest.raises(ValueError, match="TL1"):
        session.do(*command)


def test_tags_begin_again_and_are_never_longer_than_six_characters() -> None:
    with opened() as session:
        session._tag = 999_999
        session.do("RTRV-PATCH")
        assert session._tag == 1


# -- recorded ------------------------------------------------------------------------------------------------------


def talk(session: Talk) -> list[object]:
    heard: list[object] = [session.do("ENT-PATCH", "1,9"), session.do("RTRV-PATCH", timeout_s=5)]
    for verb in ("ENT-PATCH", "NO-SUCH"):
        try:
            session.do(verb, "1,9")
        except DeniedError as why:
            heard.append((str(why), why.reason, why.text))
    return heard


def test_a_conversation_plays_back(tmp_path: Path) -> None:
    lines: list[str] = []
    with opened() as session:
        live = talk(Tl1Recording(session, lines.append))
    (tmp_path / "oxc.jsonl").write_text("".join(lines))
    replay = Tl1Replay(Transcript.read(tmp_path / "oxc.jsonl"))
    assert talk(replay) == live
    replay.finish()
    with pytest.raises(TranscriptError, match="ENT-PATCH::1,9::"):
        Tl1Replay(Transcript.parse("".join(lines))).do("DLT-PATCH", "1")


# -- parsers -------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.sampled_from([b";", b">", b"<", b""]))
def test_no_octets_break_the_parser(octets: bytes, end: bytes) -> None:
    for said in (octets + end, octets + b"\r\n" + end, HEAD.encode() + octets + b"\r\n" + end):
        try:
            found = parse_message(said)
        except ValueError:
            continue
        assert isinstance(found, Message)


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=30)


@given(st.lists(TEXT, max_size=5), st.integers(1, 999_999), st.sampled_from(["COMPLD", "DENY", "PRTL", "DELAY"]))
def test_what_is_said_is_what_is_read(rows: list[str], tag: int, code: str) -> None:
    found = parse_message(completed(str(tag), *rows, code=code))
    assert (found.kind, found.tag, found.code, found.rows, found.more) == ("M", str(tag), code, tuple(rows), False)


def test_where_two_heads_stand_the_first_broke_off() -> None:
    found = parse_message(completed("5", "x")[:-8] + completed("6", "y"))
    assert (found.tag, found.rows) == ("6", ("y",))


@given(st.text(max_size=80))
def test_fields_never_break(row: str) -> None:
    assert fields(row)


def test_fields_of_the_makers_examples() -> None:
    assert fields('2.3.6-3.2.5:SRCPORT=2.3.6,DSTPORT=3.2.5,CONNNAME="a,b:c",OC=OK') == {
        "0": "2.3.6-3.2.5",
        "SRCPORT": "2.3.6",
        "DSTPORT": "3.2.5",
        "CONNNAME": "a,b:c",
        "OC": "OK",
    }
    assert fields("12:-13.45") == {"0": "12", "1": "-13.45"}


class Octets:
    """A stream that says what the test gives it, and then nothing, on a clock of its own."""

    resource = "nowhere"

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = list(chunks)
        self._now = 0

    def now_ns(self) -> int:
        return self._now

    def send(self, octets: bytes, deadline_ns: int) -> bool:
        found = re.match(rb"[A-Z-]+:[^:]*:[^:]*:(\d+):", octets)
        assert found
        self._chunks = [chunk.replace(b"TAG", found[1]) for chunk in self._chunks]
        return True

    def receive(self, deadline_ns: int) -> bytes:
        if self._now and self._chunks:  # nothing lies there before anything was asked
            self._now += 1000
            return self._chunks.pop(0)
        self._now = max(deadline_ns, self._now + 1000)
        return b""

    def close(self) -> None:
        self._chunks = []


def test_an_answer_octet_by_octet_is_whole() -> None:
    said = b"\r\n;" + completed("TAG", "a;b", end=">") + completed("TAG", "c")
    session = Tl1Session(Octets([said]), timeout_s=1)
    stream = session._stream
    assert isinstance(stream, Octets)
    stream._chunks = [bytes([octet]) for octet in said.replace(b"TAG", b"1")]
    assert session.do("RTRV-PATCH").rows == ("a;b", "c")


PIECE = st.sampled_from(
    [
        HEAD.encode(),
        b"M  TAG COMPLD\r\n",
        b"M  TAG DENY\r\n",
        b"M  1 COMPLD\r\n",
        b"A  7 REPT ALM\r\n",
        b'   "row"\r\n',
        b"   IIAC\r\n   /* why */\r\n",
        b"\r\n;",
        b"\r\n>",
        b"\r\nIP TAG\r\n<",
        b'"',
        b"\xff",
    ]
)


@given(st.lists(PIECE | st.binary(max_size=20), max_size=30))
def test_whatever_comes_a_command_ends_with_an_answer_or_an_error_of_ours(chunks: list[bytes]) -> None:
    session = Tl1Session(Octets(chunks), timeout_s=1)
    for _ in range(3):
        with contextlib.suppress(InstrumentError):
            assert isinstance(session.do("RTRV-PATCH"), Answer)
    with contextlib.suppress(InstrumentError):
        session.announcements(1)
    session.close()
