"""A simulated instrument on a TCP port of this host: raw SCPI, TL1, or a terminal with a prompt."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from drivers.simulated.conversation import Conversation, Simulated
from drivers.simulated.faults import NONE, Faults
from drivers.simulated.listener import HOST, Listener
from drivers.simulated.tl1 import Tl1Device


def serve_tcp(device: Simulated, faults: Faults = NONE, *, port: int = 0) -> TcpCarrier:
    """Serve SCPI lines or TL1 requests on a port; 0: a free one. Raises OSError."""
    return TcpCarrier(lambda send: Conversation(device, faults, send, telnet=isinstance(device, Tl1Device)), port)


def serve_telnet(
    device: Simulated,
    faults: Faults = NONE,
    *,
    port: int = 0,
    prompt: bytes = b"READY> ",
    done: bytes = b"Command executed successfully.",
    echoes: bool = False,
) -> TcpCarrier:
    """Serve a terminal on a port: a prompt after everything, ``done`` after what has no answer. Raises OSError."""

    def conversation(send: Callable[[bytes], None]) -> Conversation:
        made = Conversation(device, faults, send, telnet=True)
        made.prompt, made.done, made.echoes = prompt, done, echoes
        return made

    return TcpCarrier(conversation, port)


class TcpCarrier:
    """A listening port with a conversation for each client."""

    def __init__(self, conversation: Callable[[Callable[[bytes], None]], Conversation], port: int = 0) -> None:
        """Listen. Raises OSError."""
        self._conversation = conversation
        self._listener = Listener("simulated tcp", self._talk, port)
        self.port = self._listener.port
        self._listener.start()

    @property
    def resource(self) -> str:
        """VISA resource name."""
        return f"TCPIP0::{HOST}::{self.port}::SOCKET"

    def close(self) -> None:
        """Stop listening and hang up on everybody; safe to call twice."""
        self._listener.stop()
        self._listener.join()

    def drop(self) -> None:
        """Hang up on everybody, and go on listening: somebody pulled the cable."""
        self._listener.hang_up()

    def _talk(self, client: socket.socket) -> None:
        turn = threading.Lock()

        def send(octets: bytes) -> None:
            with turn, contextlib.suppress(OSError):
                client.sendall(octets)

        conversation = self._conversation(send)
        try:
            if conversation.prompt:
                send(conversation.prompt)
            while octets := client.recv(65536):
                for delivery in conversation.feed(octets):
                    if delivery.after_s and self._listener.closed.wait(delivery.after_s):
                        return
                    send(delivery.octets)
                    if delivery.hang_up:
                        return
        finally:
            conversation.close()
