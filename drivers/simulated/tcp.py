"""A simulated instrument on a TCP port of this host: raw SCPI, TL1, or a terminal with a prompt."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Final

from drivers.simulated.conversation import Conversation, Simulated
from drivers.simulated.faults import NONE, Faults
from drivers.simulated.tl1 import Tl1Device

HOST: Final = "127.0.0.1"
"""Never any other: whoever is not on this host would take it for an instrument."""
MOST_CLIENTS: Final = 32
JOIN_S: Final = 2.0


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
    """A listening port; each client has a thread of its own, so that one that waits keeps nobody else waiting."""

    def __init__(self, conversation: Callable[[Callable[[bytes], None]], Conversation], port: int = 0) -> None:
        """Listen. Raises OSError."""
        self._conversation = conversation
        self._closed = threading.Event()
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._listener = socket.create_server((HOST, port))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._listen, name=f"simulated tcp {self.port}", daemon=True)
        self._thread.start()

    @property
    def resource(self) -> str:
        """VISA resource name."""
        return f"TCPIP0::{HOST}::{self.port}::SOCKET"

    def close(self) -> None:
        """Stop listening and hang up on everybody; safe to call twice."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        with self._lock:
            clients = dict(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, *clients.values()):
            thread.join(JOIN_S)

    def drop(self) -> None:
        """Hang up on everybody, and go on listening: somebody pulled the cable."""
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._closed.is_set() or len(self._clients) >= MOST_CLIENTS:
                    client.close()
                    continue
                thread = threading.Thread(target=self._talk, args=(client,), daemon=True)
                self._clients[client] = thread
            thread.start()

    def _talk(self, client: socket.socket) -> None:
        turn = threading.Lock()

        def send(octets: bytes) -> None:
            with turn, contextlib.suppress(OSError):
                client.sendall(octets)

        conversation = self._conversation(send)
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if conversation.prompt:
                send(conversation.prompt)
            while octets := client.recv(65536):
                for delivery in conversation.feed(octets):
                    if delivery.after_s and self._closed.wait(delivery.after_s):
                        return
                    send(delivery.octets)
                    if delivery.hang_up:
                        return
        except OSError:
            return
        finally:
            conversation.close()
            with self._lock:
                self._clients.pop(client, None)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()
