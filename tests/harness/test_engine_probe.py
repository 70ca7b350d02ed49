"""The probe of the far end: a sign of life is the answer to the very packet that was sent."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from fastpath import clock, wire
from harness import engine
from harness.clock import Clock
from harness.link import Endpoint, Link, Site
from harness.stream import Stream

TAI_UTC = 37
NEAR = engine.Near(TAI_UTC)
UNKNOWN = wire.encode_error_estimate(None, False, True)
STREAM = Stream("probe", 1000, 1_000_000_000, 256, flows=1)
SITES = [Site(name=n, title="", kind="computing-centre", size_class="large", clock=Clock(())) for n in ("a", "b")]
LINK = Link("x", SITES[0], SITES[1], Endpoint("127.0.0.1", "127.0.0.1", 862), flow_ports=(61000,))
SESSION = engine.sessions(LINK, STREAM, None, TAI_UTC)[0]

Answers = Callable[[list[bytes]], list[bytes]]


def reply(request: bytes, seq: int = 0) -> bytes:
    now = clock.now_realtime() + TAI_UTC * 1_000_000_000
    return SESSION.reflect(request, t2=now, t3=now, error_estimate=UNKNOWN, seq=seq)


@contextlib.contextmanager
def peer(answers: Answers) -> Iterator[socket.socket]:
    """Our socket, connected to a far end that answers each request, the newest last, as told."""
    ending = threading.Event()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as near,
    ):
        for each in (far, near):
            each.bind(("127.0.0.1", 0))
        near.connect(far.getsockname())
        far.settimeout(0.01)

        def serve() -> None:
            requests: list[bytes] = []
            while not ending.is_set():
                with contextlib.suppress(TimeoutError):
                    requests.append(far.recv(9000))
                    for each in answers(requests):
                        far.sendto(each, near.getsockname())

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield near
        finally:
            ending.set()
            thread.join()


def test_a_far_end_slower_than_the_probe_awaits_has_not_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer comes when the next packet is under way already: it is no short round trip of that one."""
    monkeypatch.setattr(engine, "PROBE_S", 0.05)
    with peer(lambda requests: [reply(each) for each in requests[-2:-1]]) as near:
        answer = engine.probe(LINK, STREAM, [near], NEAR, None)
    assert (answer.sent, answer.received, answer.round_trip_ns, answer.estimates) == (5, 0, None, ())
    assert set(answer.causes) == {"late"}


def test_only_the_reply_to_the_packet_itself_answers_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PROBE_S", 10.0)

    def answers(requests: list[bytes]) -> list[bytes]:
        newest = requests[-1]
        seq = int(struct.unpack_from("!I", newest)[0])
        t1 = clock.now_realtime() + TAI_UTC * 1_000_000_000
        forged = [reply(SESSION.build(each, t1, UNKNOWN), 77) for each in (seq, seq + 9)]
        return [newest[:20], *forged, *([reply(requests[-2], 77)] if len(requests) > 1 else []), reply(newest, seq + 3)]

    with peer(answers) as near:
        answer = engine.probe(LINK, STREAM, [near], NEAR, None)
    assert (answer.sent, answer.received, answer.stateful) == (5, 5, True)
    assert answer.causes == {"short": 5, "not_sent": 10, "replay": 4}
