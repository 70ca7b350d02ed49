"""A port of this host where a simulated instrument listens, with a thread of its own for each client."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Final

HOST: Final = "127.0.0.1"
"""Never any other: whoever is not on this host would take it for an instrument."""
MOST_CLIENTS: Final = 32
JOIN_S: Final = 2.0


class Listener:
    """One client that waits keeps nobody else waiting; clients beyond ``most`` are hung up on."""

    def __init__(
        self, kind: str, meet: Callable[[socket.socket], None], port: int = 0, most: int = MOST_CLIENTS
    ) -> None:
        """Listen on ``port``, 0: a free one. Raises OSError.

        ``meet`` has each client's socket in that client's thread, from `start` on; its OSErrors end that client only.
        """
        self._meet = meet
        self._most = most
        self.closed = threading.Event()
        """Set by `stop`."""
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._socket = socket.create_server((HOST, port))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._listen, name=f"{kind} {self.port}", daemon=True)

    def start(self) -> None:
        """Take clients from now on."""
        self._thread.start()

    def hang_up(self) -> None:
        """Hang up on everybody, and go on listening."""
        with self._lock:
            clients = list(self._clients)
        for client in clients:
            hang_up(client)

    def stop(self) -> None:
        """Stop listening and hang up on everybody; safe to call twice."""
        self.closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._socket.close()
        self.hang_up()

    def join(self) -> None:
        """After `stop`: wait for every thread to end."""
        with self._lock:
            threads = list(self._clients.values())
        for thread in (self._thread, *threads):
            thread.join(JOIN_S)

    def _listen(self) -> None:
        while not self.closed.is_set():
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with self._lock:
                if self.closed.is_set() or len(self._clients) >= self._most:
                    client.close()
                    continue
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._clients[client] = thread
                thread.start()  # before anybody can ask to join it

    def _serve(self, client: socket.socket) -> None:
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._meet(client)
        except OSError:
            pass
        finally:
            with self._lock:
                self._clients.pop(client, None)
            hang_up(client)
            client.close()


def hang_up(client: socket.socket) -> None:
    """End a connection; the thread that reads from it sees its end."""
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
