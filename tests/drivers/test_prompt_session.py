"""A telnet session that prompts: what is executed, what is objected to, what comes late, and telnet's own octets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.clock import WALL
from drivers.errors import (
    InstrumentError,
    InstrumentFaultError,
    PortClosedError,
    PortLostError,
    PortOpenError,
    PortReplyError,
    PortTimeoutError,
)
from drivers.port import Identity, Wire
from drivers.prompt import EXECUTED, SLOW, Negotiation, PromptSession
from drivers.scpi import ErrorPolicy, ScpiInstrument, Setting, number
from drivers.simulated.faults import Fault, Faults, Kind
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.tcp import serve_telnet
from drivers.stream import SocketStream

SHORT_S = 0.15
IDN = b"EXFO,FTB-2,SIM-FTB-1,8.1"


class SimulatedTester(ScpiDevice):
    def __init__(self) -> None:
        super().__init__(Identity("EXFO", "FTB-2", "SIM-FTB-1", "8.1"), WALL)
        self.ends = b"\r\n"
        self.level = "0"
        self.on("LEVel", lambda suffixes, args: setattr(self, "level", args[0]))
        self.on("LEVel?", lambda suffixes, args: self.level)
        self.on("STATe?", lambda suffixes, args: '"Completed"')
        self.on("BLOCk?", lambda suffixes, args: b"READY> \r\nREADY> \n\n#0\x80")


@contextlib.contextmanager
def opened(faults: Faults | None = None, *, echoes: bool = False, timeout_s: float = 10) -> Iterator[PromptSession]:
    carrier = serve_telnet(SimulatedTester(), faults or Faults(), echoes=echoes)
    try:
        with PromptSession(SocketStream(carrier.resource), timeout_s=timeout_s) as session:
            yield session
    finally:
        carrier.close()


@contextlib.contextmanager
def scripted(serve: Callable[[socket.socket, bytes], None], first: bytes = b"READY> ") -> Iterator[SocketStream]:
    listener = socket.create_server(("127.0.0.1", 0))
    peers: list[socket.socket] = []

    def run() -> None:
        with contextlib.suppress(OSError, ValueError):
            peer, _ = listener.accept()
            peers.append(peer)
            peer.sendall(first)
            with peer.makefile("rb") as file:
                for line in file:
                    serve(peer, line.strip())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield SocketStream(f"TCPIP0::127.0.0.1::{listener.getsockname()[1]}::SOCKET")
    finally:
        for each in (listener, *peers):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        thread.join(5)


@pytest.mark.parametrize("echoes", [False, True])
def test_queries_commands_and_blocks(echoes: bool) -> None:
    with opened(echoes=echoes) as session:
        assert session.identity.model == "FTB-2"
        session.write("LEV 3.5")
        assert session.query("LEV?") == "3.5"
        assert session.query("STAT?") == '"Completed"'
        assert session.query_block("BLOC?") == b"READY> \r\nREADY> \n\n#0\x80"
        assert session.query("LEV?") == "3.5"


def test_a_driver_works_over_it_as_over_a_port() -> None:
    class Driver(ScpiInstrument):
        MODELS = ("FTB-*",)
        ERRORS = ErrorPolicy.AFTER_SET
        level = Setting("LEV", number(float), confirm=True)

    with opened() as session:
        driver = Driver(session)
        driver.level = 2.25
        assert driver.level == 2.25
        with pytest.raises(InstrumentFaultError, match="-113"):
            driver.write("NONSENSE")


def test_another_answer_to_a_command_is_an_objection() -> None:
    def serve(peer: socket.socket, line: bytes) -> None:
        said = {b"*IDN?": IDN, b"SLOW": SLOW.encode() + b"\r\n" + EXECUTED.encode(), b"MUTE": b""}
        peer.sendall(said.get(line, b'-113,"Undefined header"') + b"\r\nREADY> ")

    with scripted(serve) as stream, PromptSession(stream, timeout_s=10) as session:
        session.write("SLOW")
        with pytest.raises(InstrumentFaultError, match="Undefined header"):
            session.write("NONSENSE")
        with pytest.raises(InstrumentFaultError, match="nothing but a prompt"):
            session.write("MUTE")
        assert session.query("*IDN?") == IDN.decode()


def test_a_model_without_a_prompt() -> None:
    def serve(peer: socket.socket, line: bytes) -> None:
        if line.endswith(b"?"):
            peer.sendall({b"*IDN?": IDN, b"BLOC?": b"#13a\nb"}.get(line, b"7") + b"\r\n")

    with scripted(serve, b"") as stream, PromptSession(stream, prompt="", executed="", timeout_s=10) as session:
        session.write("ANYTHING")
        assert session.query("VAL?") == "7"
        assert session.query_block("BLOC?") == b"a\nb"
        assert session.query("VAL?") == "7"


def test_a_prompt_in_a_line_is_none() -> None:
    def serve(peer: socket.socket, line: bytes) -> None:
        peer.sendall({b"*IDN?": IDN}.get(line, b'"is READY> now"\r\n2') + b"\r\nREADY> ")

    with scripted(serve) as stream, PromptSession(stream, timeout_s=10) as session:
        assert session.query("TEXT?") == '"is READY> now"\n2'


def test_a_naive_reader_is_one_answer_behind_after_a_time_out_and_ours_is_not() -> None:
    late = Faults(Fault(Kind.LATE, at=frozenset({2}), seconds=0.4, match="?"))
    carrier = serve_telnet(SimulatedTester(), late)
    try:
        host, port = carrier.resource.split("::")[1:3]
        with socket.create_connection((host, int(port))) as naive:

            def ask(query: bytes, timeout_s: float) -> bytes:
                naive.settimeout(timeout_s)
                naive.sendall(query + b"\n")
                got = b""
                while not got.endswith(b"READY> "):
                    got += naive.recv(4096)
                return got

            naive.recv(100)
            ask(b"*IDN?", 10)
            with pytest.raises(TimeoutError):
                ask(b"STAT?", SHORT_S)
            assert b"Completed" in ask(b"LEV?", 10)
    finally:
        carrier.close()
    late = Faults(Fault(Kind.LATE, at=frozenset({2}), seconds=0.4, match="?"))
    with opened(late) as session:
        with pytest.raises(PortTimeoutError, match="STAT"):
            session.query("STAT?", SHORT_S)
        assert session.query("LEV?") == "0"


def test_a_late_success_is_never_taken_for_the_next_commands() -> None:
    def serve(peer: socket.socket, line: bytes) -> None:
        if line == b"LEV 1":
            go.wait(20)
        said = {b"*IDN?": IDN, b"NONSENSE": b'-113,"Undefined header"'}.get(line, EXECUTED.encode())
        peer.sendall(said + b"\r\nREADY> ")

    go = threading.Event()
    with scripted(serve) as stream, PromptSession(stream, timeout_s=10) as session:
        with pytest.raises(PortTimeoutError):
            session.write("LEV 1", SHORT_S)
        threading.Timer(0.2, go.set).start()  # while the marker is waited for
        with pytest.raises(InstrumentFaultError, match="Undefined header"):
            session.write("NONSENSE")


def test_half_an_answer_and_garbage() -> None:
    def serve(peer: socket.socket, line: bytes) -> None:
        peer.sendall(
            {b"*IDN?": IDN + b"\r\nREADY> ", b"HALF?": b"12", b"BAD?": b"\x80\x81\r\nREADY> "}.get(
                line, b"7\r\nREADY> "
            )
        )

    with scripted(serve) as stream, PromptSession(stream, timeout_s=10) as session:
        with pytest.raises(PortTimeoutError, match="12"):
            session.query("HALF?", SHORT_S)
        assert session.query("VAL?") == "7"
        with pytest.raises(PortReplyError):
            session.query("BAD?")
        assert session.query("VAL?") == "7"


def test_another_instrument_behind_the_same_connection_is_never_taken_for_the_first() -> None:
    who = [IDN]

    def serve(peer: socket.socket, line: bytes) -> None:
        if line == b"*IDN?":
            peer.sendall(who[0] + b"\r\nREADY> ")

    with scripted(serve) as stream:
        session = PromptSession(stream, timeout_s=10)
        session.timeout_s = 0.5
        with pytest.raises(PortTimeoutError):
            session.query("VAL?", SHORT_S)
        who[0] = IDN.replace(b"FTB-1", b"FTB-2")
        with pytest.raises(PortLostError):
            session.query("VAL?")
        with pytest.raises(PortClosedError):
            session.query("VAL?")


@pytest.mark.parametrize("said", [b"", b"READY> ", b"hello\r\nREADY> ", b"\xff\xfb\x01"])
def test_opening_proves_nothing_until_it_says_who_it_is(said: bytes) -> None:
    with scripted(lambda peer, line: peer.sendall(said)) as stream, pytest.raises(PortOpenError, match="IDN"):
        PromptSession(stream, timeout_s=SHORT_S)


def test_a_peer_that_hangs_up_is_lost() -> None:
    def serve(peer: socket.socket, line: bytes) -> None:
        if line == b"*IDN?":
            peer.sendall(IDN + b"\r\nREADY> ")
        else:
            peer.shutdown(socket.SHUT_RDWR)

    with scripted(serve) as stream, PromptSession(stream, timeout_s=60) as session, pytest.raises(PortLostError):
        session.query("VAL?")


def test_what_would_bring_it_out_of_step_is_not_sent() -> None:
    with opened() as session:
        for message in ("LEV?", "", "LEV 1\nLEV 2"):
            with pytest.raises(ValueError, match=r"query|ASCII"):
                session.write(message)
        for message in ("LEV 1", "LEV?\n"):
            with pytest.raises(ValueError, match=r"query|ASCII"):
                session.query(message)
        with pytest.raises(ValueError, match="query"):
            session.query_block("LEV 1")


def test_threads_get_their_own_answers() -> None:
    wrong: list[str] = []
    with opened() as session:

        def ask(query: str, answer: str) -> None:
            wrong.extend(got for _ in range(40) if (got := session.query(query)) != answer)

        threads = [
            threading.Thread(target=ask, args=each)
            for each in (("LEV?", "0"), ("STAT?", '"Completed"'), ("*OPC?", "1"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert wrong == []


def test_telnet_options_are_refused_and_are_no_text() -> None:
    heard: list[bytes] = []
    log: list[Wire] = []

    def serve(peer: socket.socket, line: bytes) -> None:
        heard.append(line)
        peer.sendall(
            b"\xff\xfd\x18" + IDN + b"\xff\xfa\x18\x01\xff\xf0\r\nREADY> " if b"IDN" in line else b"7\r\nREADY> "
        )

    with (
        scripted(serve, b"\xff\xfb\x01\xff\xfb\x03READY> ") as stream,
        PromptSession(stream, timeout_s=10, log=log.append) as session,
    ):
        assert session.query("VAL?") == "7"
    assert heard[0].startswith(b"\xff\xfe\x01\xff\xfe\x03")  # DONT echo, DONT suppress go-ahead
    assert b"\xff\xfc\x18" in b"".join(heard)  # WONT terminal type
    assert log[0].direction == "in"


@given(
    st.lists(
        st.binary(max_size=12) | st.sampled_from([b"\xff\xfb\x01", b"\xff\xff", b"\xff\xfa\x18\x00\xff\xf0"]),
        max_size=12,
    )
)
def test_no_octets_break_the_negotiation_and_pieces_are_as_the_whole(pieces: list[bytes]) -> None:
    whole, split = Negotiation(), Negotiation()
    text, answer = whole.filter(b"".join(pieces))
    parts = [split.filter(piece) for piece in pieces]
    if not whole._rest and not split._rest:
        assert b"".join(part[0] for part in parts) == text
        assert b"".join(part[1] for part in parts) == answer


class Script:
    """A stream that answers each message with the octets of its turn, piece by piece, on a clock of its own."""

    resource = "nowhere"

    def __init__(self, *answers: list[bytes]) -> None:
        self._answers = [[b"READY> "], [IDN + b"\r\nREADY> "], *answers]
        self._ready: list[bytes] = self._answers.pop(0)
        self._now = 0
        self.sent: list[bytes] = []

    def now_ns(self) -> int:
        return self._now

    def send(self, octets: bytes, deadline_ns: int) -> bool:
        self.sent.append(octets)
        self._ready += self._answers.pop(0) if self._answers else []
        return True

    def receive(self, deadline_ns: int) -> bytes:
        self._now += 1000
        if self._ready:
            return self._ready.pop(0)
        self._now = max(deadline_ns, self._now)
        return b""

    def close(self) -> None:
        self._ready = []


def test_a_prompt_in_a_line_that_has_not_come_whole_is_none() -> None:
    session = PromptSession(Script([b'"is READY>', b' now"\r\nREADY>', b" "]))
    assert session.query("TEXT?") == '"is READY> now"'


def test_the_blank_of_a_prompt_that_comes_by_itself_puts_nothing_out_of_step() -> None:
    stream = Script([b"7\r\nREADY>", b" "], [b"8\r\nREADY> "])
    session = PromptSession(stream)
    assert (session.query("A?"), session.query("B?")) == ("7", "8")
    assert stream.sent == [b"*IDN?\n", b"A?\n", b"B?\n"]


def test_octets_that_nobody_asked_for_are_not_the_next_answer() -> None:
    stream = Script([b"7\r\nREADY> ", b"9\r\nREADY> "], [IDN + b"\r\nREADY> "], [b"8\r\nREADY> "])
    session = PromptSession(stream)
    assert session.query("A?") == "7"
    assert session.query("B?") == "8"
    assert stream.sent[2] == b"*IDN?\n"


def test_an_identity_that_is_still_owed_cannot_prove_the_step() -> None:
    session = PromptSession(Script([], [IDN + b"\r\nREADY> "]))
    with pytest.raises(PortTimeoutError):
        session.query("*IDN?", 1)
    with pytest.raises(PortLostError, match="last one"):
        session.query("A?")


class Octets:
    """A stream that says what the test gives it, and then nothing, on a clock of its own."""

    resource = "nowhere"

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = [b"READY> ", IDN + b"\r\nREADY> ", *chunks]
        self._open = 1
        self._now = 0

    def now_ns(self) -> int:
        return self._now

    def send(self, octets: bytes, deadline_ns: int) -> bool:
        self._open += 1
        return True

    def receive(self, deadline_ns: int) -> bytes:
        if self._chunks and (self._open or len(self._chunks) % 3 == 0):
            self._now += 1000
            self._open = max(0, self._open - 1)
            return self._chunks.pop(0)
        self._now = max(deadline_ns, self._now + 1000)
        return b""

    def close(self) -> None:
        self._chunks = []


PIECE = st.sampled_from(
    [b"READY> ", b"\r\nREADY> ", IDN + b"\r\nREADY> ", b"#15hello\r\nREADY> ", b"#", b"\n", b"7\r\nREADY> ", b"\xff"]
)


@given(st.lists(PIECE | st.binary(max_size=20), max_size=20))
def test_whatever_comes_an_exchange_ends_with_an_answer_or_an_error_of_ours(chunks: list[bytes]) -> None:
    session = PromptSession(Octets(chunks), timeout_s=1)
    for act in (session.query, session.query_block, session.query):
        with contextlib.suppress(InstrumentError):
            act("VAL?")
    with contextlib.suppress(InstrumentError):
        session.write("LEV 1")
    session.close()
