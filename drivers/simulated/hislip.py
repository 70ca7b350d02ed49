"""A simulated instrument behind HiSLIP (IVI-6.1), on this host."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from drivers.simulated.conversation import MOST_OCTETS, Conversation
from drivers.simulated.faults import NONE, Faults
from drivers.simulated.listener import HOST, MOST_CLIENTS, Listener, hang_up
from drivers.simulated.scpi import ScpiDevice

_HEADER: Final = struct.Struct("!2sBBIQ")
_VERSION: Final = 0x0100
_VENDOR: Final = 0x5349  # "SI"


class Type(IntEnum):
    """Message types (IVI-6.1 table 4)."""

    INITIALIZE = 0
    INITIALIZE_RESPONSE = 1
    FATAL_ERROR = 2
    ERROR = 3
    ASYNC_LOCK = 4
    ASYNC_LOCK_RESPONSE = 5
    DATA = 6
    DATA_END = 7
    DEVICE_CLEAR_COMPLETE = 8
    DEVICE_CLEAR_ACKNOWLEDGE = 9
    ASYNC_REMOTE_LOCAL_CONTROL = 10
    ASYNC_REMOTE_LOCAL_RESPONSE = 11
    TRIGGER = 12
    ASYNC_MAX_MSG_SIZE = 15
    ASYNC_MAX_MSG_SIZE_RESPONSE = 16
    ASYNC_INITIALIZE = 17
    ASYNC_INITIALIZE_RESPONSE = 18
    ASYNC_DEVICE_CLEAR = 19
    ASYNC_STATUS_QUERY = 21
    ASYNC_STATUS_RESPONSE = 22
    ASYNC_DEVICE_CLEAR_ACKNOWLEDGE = 23
    ASYNC_LOCK_INFO = 24
    ASYNC_LOCK_INFO_RESPONSE = 25


@dataclass(slots=True, eq=False)
class _Session:
    number: int
    sync: socket.socket
    conversation: Conversation
    largest: int = MOST_OCTETS
    """Largest message the client takes, header included."""
    clearing: threading.Event = field(default_factory=threading.Event)
    """The client clears, and has not yet said that it is done."""
    unread: bool = False
    """An answer was sent that the client has not said it has read."""
    channel: socket.socket | None = None
    """The asynchronous one."""
    message: bytearray = field(default_factory=bytearray)


class _BadFrameError(Exception):
    def __init__(self, code: int, said: str) -> None:
        self.code = code
        self.said = said
        super().__init__(said)


def serve_hislip(device: ScpiDevice, faults: Faults = NONE, *, port: int = 0) -> HislipCarrier:
    """Serve an instrument on a port; 0: a free one. Raises OSError."""
    return HislipCarrier(device, faults, port)


class HislipCarrier:
    """A HiSLIP server in synchronised mode, protocol version 1.0.

    It never sends AsyncServiceRequest, nor Interrupted: clients in use fall out of step over them, and the message ids
    tell them all the same which answer is theirs.
    """

    def __init__(self, device: ScpiDevice, faults: Faults = NONE, port: int = 0) -> None:
        """Listen. Raises OSError."""
        self._device = device
        self._faults = faults
        self._lock = threading.Condition()
        self._sessions: dict[int, _Session] = {}
        self._owner: _Session | None = None
        self._last = 0
        self._listener = Listener("simulated hislip", self._meet, port, 2 * MOST_CLIENTS)
        self.port = self._listener.port
        self._closed = self._listener.closed
        self._listener.start()

    @property
    def resource(self) -> str:
        """VISA resource name."""
        return f"TCPIP0::{HOST}::hislip0,{self.port}::INSTR"

    def close(self) -> None:
        """Stop listening and hang up on everybody; safe to call twice."""
        self._listener.stop()
        with self._lock:
            self._lock.notify_all()
            for session in self._sessions.values():
                session.clearing.set()
        self._listener.join()

    # -- connections ---------------------------------------------------------------------------------------

    def _meet(self, client: socket.socket) -> None:
        try:
            kind, _, parameter, _ = _receive(client)
            if kind == Type.INITIALIZE:
                self._synchronous(client)
            else:
                session = self._joined(client, kind, parameter)
                _send(client, Type.ASYNC_INITIALIZE_RESPONSE, 0, _VENDOR)
                self._asynchronous(client, session)
        except _BadFrameError as why:
            with contextlib.suppress(OSError):
                _send(client, Type.FATAL_ERROR, why.code, 0, why.said.encode())

    def _joined(self, client: socket.socket, kind: int, parameter: int) -> _Session:
        """The session whose second channel this is. Raises _BadFrameError."""
        if kind != Type.ASYNC_INITIALIZE:
            raise _BadFrameError(3, "a message before initialising")
        with self._lock:
            session = self._sessions.get(parameter & 0xFFFF)
            if session is None or session.channel is not None:
                raise _BadFrameError(3, "no such session to initialise")
            session.channel = client
        return session

    def _synchronous(self, client: socket.socket) -> None:
        with self._lock:
            while not self._last or self._last in self._sessions:
                self._last = (self._last + 1) & 0xFFFF
            session = _Session(self._last, client, Conversation(self._device, self._faults, plain=True))
            self._sessions[session.number] = session
        try:
            _send(client, Type.INITIALIZE_RESPONSE, 0, _VERSION << 16 | session.number)
            while self._sync_message(session):
                pass
        finally:
            with self._lock:
                del self._sessions[session.number]
                if self._owner is session:
                    self._owner = None
                self._lock.notify_all()
            session.conversation.close()
            if session.channel is not None:
                hang_up(session.channel)

    # -- the synchronous channel ---------------------------------------------------------------------------

    def _sync_message(self, session: _Session) -> bool:
        """Do what one message says; False: hang up."""
        kind, control, parameter, payload = _receive(session.sync)
        if kind == Type.DEVICE_CLEAR_COMPLETE:
            session.message.clear()
            session.conversation.reset()
            session.clearing.clear()
            session.unread = False
            _send(session.sync, Type.DEVICE_CLEAR_ACKNOWLEDGE, 0, 0)
            return True
        if kind not in (Type.DATA, Type.DATA_END, Type.TRIGGER):
            _send(session.sync, Type.ERROR, 1, 0, b"Unrecognized Message Type")
            return True
        if session.clearing.is_set():
            return True  # what was on its way when the client cleared
        if session.channel is None:
            raise _BadFrameError(2, "only one of the two channels")
        if session.unread and not control & 1:
            self._device.error(-410)
        session.unread = False
        if kind == Type.TRIGGER:
            return self._answer(session, b"*TRG", parameter)
        session.message += payload
        if len(session.message) > MOST_OCTETS:
            session.message.clear()
            self._device.error(-363)
        if kind == Type.DATA:
            return True
        message = bytes(session.message)
        session.message.clear()
        return self._answer(session, message, parameter)

    def _answer(self, session: _Session, message: bytes, number: int) -> bool:
        with self._lock:
            while self._owner not in (None, session) and not self._closed.is_set():
                self._lock.wait()
        for delivery in session.conversation.feed(message, end=True):
            if delivery.after_s:
                session.clearing.wait(delivery.after_s)
            if delivery.hang_up or self._closed.is_set():
                return False
            if session.clearing.is_set():
                break
            most = max(1, session.largest - _HEADER.size)
            octets = delivery.octets
            session.unread = True
            while len(octets) > most:
                _send(session.sync, Type.DATA, 0, number, octets[:most])
                octets = octets[most:]
            _send(session.sync, Type.DATA_END if delivery.whole else Type.DATA, 0, number, octets)
        return True

    # -- the asynchronous channel --------------------------------------------------------------------------

    def _asynchronous(self, client: socket.socket, session: _Session) -> None:
        while True:
            kind, control, parameter, payload = _receive(client)
            if kind == Type.ASYNC_MAX_MSG_SIZE and len(payload) == 8:
                session.largest = max(_HEADER.size + 1, min(int.from_bytes(payload), MOST_OCTETS))
                _send(client, Type.ASYNC_MAX_MSG_SIZE_RESPONSE, 0, 0, MOST_OCTETS.to_bytes(8))
            elif kind == Type.ASYNC_STATUS_QUERY:
                session.unread = session.unread and not control & 1
                _send(client, Type.ASYNC_STATUS_RESPONSE, self._device.stb(available=session.unread), 0)
            elif kind == Type.ASYNC_DEVICE_CLEAR:
                session.clearing.set()
                self._device.clear()
                _send(client, Type.ASYNC_DEVICE_CLEAR_ACKNOWLEDGE, 0, 0)
            elif kind == Type.ASYNC_LOCK:
                _send(client, Type.ASYNC_LOCK_RESPONSE, self._locked(session, control, parameter, payload), 0)
            elif kind == Type.ASYNC_LOCK_INFO:
                owned = self._owner is not None
                _send(client, Type.ASYNC_LOCK_INFO_RESPONSE, int(owned), int(owned))
            elif kind == Type.ASYNC_REMOTE_LOCAL_CONTROL:
                _send(client, Type.ASYNC_REMOTE_LOCAL_RESPONSE, 0, 0)
            else:
                _send(client, Type.ERROR, 1, 0, b"Unrecognized Message Type")

    def _locked(self, session: _Session, control: int, within_ms: int, key: bytes) -> int:
        """0 failure, 1 success, 3 error; only exclusive locks are given."""
        with self._lock:
            if control == 0:
                if self._owner is not session:
                    return 3
                self._owner = None
                self._lock.notify_all()
                return 1
            if control != 1 or key or self._owner is session:
                return 3
            deadline = time.monotonic() + within_ms / 1000
            while self._owner is not None and not self._closed.is_set():
                left = deadline - time.monotonic()
                if left <= 0:
                    return 0
                self._lock.wait(left)
            self._owner = session
            return 1


def _send(client: socket.socket, kind: Type, control: int, parameter: int, payload: bytes = b"") -> None:
    client.sendall(_HEADER.pack(b"HS", kind, control, parameter, len(payload)) + payload)


def _receive(client: socket.socket) -> tuple[int, int, int, bytes]:
    """Type, control code, parameter, payload. Raises _BadFrameError, OSError at the end of the connection."""
    prologue, kind, control, parameter, length = _HEADER.unpack(_exactly(client, _HEADER.size))
    if prologue != b"HS":
        raise _BadFrameError(1, "Poorly formed message header")
    if length > MOST_OCTETS:
        raise _BadFrameError(1, f"a message of {length} octets")
    return kind, control, parameter, _exactly(client, length)


def _exactly(client: socket.socket, size: int) -> bytes:
    octets = bytearray()
    while len(octets) < size:
        got = client.recv(min(65536, size - len(octets)))
        if not got:
            raise ConnectionResetError
        octets += got
    return bytes(octets)
