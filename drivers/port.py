"""One VISA session, tamed: every exchange whole, in step and in time, or an error that says why not."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

import pyvisa
from pyvisa.constants import InterfaceType, ResourceAttribute, SerialTermination, StatusCode
from pyvisa.highlevel import VisaLibraryBase
from pyvisa.resources import MessageBasedResource

from drivers.clock import WALL, Clock
from drivers.codec import block, block_size
from drivers.errors import (
    InstrumentError,
    PortClosedError,
    PortLostError,
    PortOpenError,
    PortReplyError,
    PortTimeoutError,
)
from drivers.turn import turn

QUIET_S: Final = 0.1
"""A session is drained when nothing has come for so long."""
MOST_OCTETS: Final = 1_000_000
"""Longest answer in text that is believed to be one."""
MOST_BLOCK: Final = 256_000_000
"""Largest block that is believed to be one: a million samples of eight channels are an eighth of it."""
CHUNK: Final = 4096
BLOCK_CHUNK: Final = 1 << 20
SLICE_MS: Final = 20
"""How long the library may look for more octets once some have come; the deadline is kept outside it."""

Backend = str | VisaLibraryBase
"""A VISA library: its name as pyvisa has it ("@py"), or one that lives in this process."""

_STRING: Final = re.compile(r"\"[^\"]*\"|'[^']*'")


@dataclass(frozen=True, slots=True)
class Wire:
    """Octets that passed, for a wire log."""

    monotonic_ns: int
    utc_ns: int
    """ns since 1970 UTC of this host."""
    direction: Literal["out", "in"]
    octets: bytes
    remark: str = ""
    """What they passed for where it was no exchange: drained, re-synchronising."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The four fields of `*IDN?` (IEEE 488.2 10.14)."""

    maker: str
    model: str
    serial: str
    firmware: str

    @property
    def simulated(self) -> bool:
        """The serial number says it is no instrument; nobody can set this in a bench file."""
        return self.serial.upper().startswith("SIM-")

    def __str__(self) -> str:
        """As the instrument said it."""
        return f"{self.maker},{self.model},{self.serial},{self.firmware}"


def identity(reply: str) -> Identity:
    """The fields of an answer to `*IDN?`. Raises ValueError when it is anything else."""
    fields = [field.strip() for field in reply.split(",", 3)]
    if len(fields) != 4 or not all(fields[:3]):
        raise ValueError(f"{reply!r} is not maker,model,serial,firmware")
    return Identity(*fields)


def open_resource(resource: str, backend: Backend, timeout_s: float) -> MessageBasedResource:
    """A VISA session that takes messages. Raises PortOpenError."""
    try:
        # one manager a library, shared: closing it would close the sessions of others, so nobody does
        manager = pyvisa.ResourceManager(backend)
        session = manager.open_resource(resource, open_timeout=max(1, int(timeout_s * 1000)))
    except Exception as why:  # the library raises bare Exception for a host that does not answer
        raise not_open(resource, f"{type(why).__name__}: {why}") from why
    if not isinstance(session, MessageBasedResource):
        session.close()
        raise not_open(resource, f"a {type(session).__name__}, which takes no messages")
    return session


def not_open(resource: str, found: str) -> PortOpenError:
    """Nobody there, or nobody who says who it is."""
    return PortOpenError(
        f"an instrument at {resource} that answers *IDN?",
        found,
        "check that it is on, its address, and that no other program holds its only connection",
    )


def closed(resource: str) -> PortClosedError:
    """Asked after it was closed."""
    return PortClosedError(f"an open session with {resource}", "a closed one", "open it, and set up again")


class Port:
    """One instrument at a VISA resource name, identified; safe to use from several threads.

    Each exchange waits at most ``timeout_s`` seconds for its turn and as long for itself; where the last one failed,
    also as long as that was given, for the session to be brought back into step. A session that timed out is dirty:
    what it still owes is thrown away and `*IDN?` must answer as it did when opened before anything else is said, else
    the port is lost and closed. It never opens again by itself, as an instrument that comes back may have lost its
    settings, and never sends anything twice.

    ``ends_out`` and ``ends_in`` end a message and an answer. ``log`` gets every octet. ``clock`` is the time
    deadlines are counted in: another than the host's only where the backend lives in this process. Only for instruments
    that answer in the order they were asked.
    """

    def __init__(
        self,
        resource: str,
        *,
        timeout_s: float = 2.0,
        ends_out: str = "\n",
        ends_in: str = "\n",
        backend: Backend = "@py",
        log: Callable[[Wire], None] | None = None,
        clock: Clock = WALL,
    ) -> None:
        """Open and identify. Raises PortOpenError."""
        self.resource = resource
        self.timeout_s = timeout_s
        self._ends_out = ends_out
        self._ends_in = ends_in.encode("ascii")
        self._log = log
        self._clock = clock
        self._lock = threading.RLock()
        self._closed = False
        self._owed = ""
        """What was asked and not answered whole; empty: in step."""
        self._patience_s = timeout_s
        self._session = open_resource(resource, backend, timeout_s)
        self._timeout_ms = 0
        self._library = self._session.visalib
        self._framed = self._session.resource_class == "INSTR" and self._session.interface_type != InterfaceType.asrl
        try:
            inner = getattr(self._library, "sessions", {}).get(self._session.session)
            found = getattr(inner, "interface", None)
            self._inner = inner
            self._socket = found if isinstance(found, socket.socket) and not self._framed else None
            self._tame()
            self._owed = "*IDN?"
            said = self._exchange("*IDN?", timeout_s)
            self.identity = identity(said)
        except InstrumentError as why:
            self.close()
            raise self._not_open(why.found) from why
        except (ValueError, OSError, pyvisa.Error) as why:
            self.close()
            raise self._not_open(str(why)) from why
        self._introduced = said
        self._owed = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def undelayed(self) -> bool | None:
        """Whether small messages go out at once (TCP_NODELAY); None: this is no socket of ours."""
        if self._socket is None:
            return None
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def write(self, message: str, timeout_s: float | None = None) -> None:
        """Send a command that is not answered.

        Raises ValueError for a query, which would leave an answer behind; PortTimeoutError, PortLostError,
        PortClosedError.
        """
        if "?" in _STRING.sub("", message):
            raise ValueError(f"{message!r} is a query: it would leave its answer behind")
        self._check(message)
        with self.turn(timeout_s):
            self._bring_into_step()
            self._owed = message
            self._send(message, self._now() + self._within(timeout_s))
            self._owed = ""

    def query(self, message: str, timeout_s: float | None = None) -> str:
        """Ask and return the answer, without its end.

        Raises ValueError for a command that nobody answers; PortTimeoutError, PortReplyError, PortLostError,
        PortClosedError.
        """
        if "?" not in _STRING.sub("", message):
            raise ValueError(f"{message!r} is no query: it would be waited for in vain")
        self._check(message)
        with self.turn(timeout_s):
            self._bring_into_step()
            self._owed = message
            reply = self._exchange(message, self._within(timeout_s))
            self._owed = ""
            return reply

    def query_block(self, message: str, timeout_s: float | None = None) -> bytes:
        """Ask and return the payload of a definite block (IEEE 488.2 8.7.9), whole, whatever octets it holds.

        Raises as `query` does; an answer that is no such block is a PortReplyError.
        """
        if "?" not in _STRING.sub("", message):
            raise ValueError(f"{message!r} is no query: it would be waited for in vain")
        self._check(message)
        with self.turn(timeout_s):
            self._bring_into_step()
            self._owed = message
            within = self._within(timeout_s)
            self._patience_s = max(within, self.timeout_s)
            deadline = self._now() + within
            self._send(message, deadline)
            with self._by_length():
                octets = self._receive_block(deadline, message)
            self._owed = ""
            return octets

    def turn(self, timeout_s: float | None = None) -> contextlib.AbstractContextManager[None]:
        """The port to oneself for several exchanges. Raises PortTimeoutError when others keep it too long."""
        return turn(self._lock, self.resource, self._within(timeout_s))

    def close(self) -> None:
        """End the session, and an exchange under way on a socket. Safe to call twice, from any thread."""
        self._closed = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        held = self._lock.acquire(timeout=self.timeout_s)
        try:
            # whatever a dying session says of its own end is of no use to anyone
            with contextlib.suppress(Exception):
                self._session.close()
        finally:
            if held:
                self._lock.release()

    # -- opening -------------------------------------------------------------------------------------------

    def _tame(self) -> None:
        """Set what the library leaves as it likes. Raises OSError when the peer refused the connection."""
        if self._framed:
            return
        if self._socket is not None:
            # the library never looks whether connecting succeeded
            refused = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if refused:
                raise OSError(refused, os.strerror(refused))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # so that half an answer is handed out, not thrown away when its time is over
            self._session.set_visa_attribute(ResourceAttribute.suppress_end_enabled, False)
        elif self._session.resource_class == "SOCKET":
            self._session.set_visa_attribute(ResourceAttribute.tcpip_nodelay, True)
        self._session.set_visa_attribute(ResourceAttribute.termchar, self._ends_in[-1])
        self._session.set_visa_attribute(ResourceAttribute.termchar_enabled, True)

    def _not_open(self, found: str) -> PortOpenError:
        return not_open(self.resource, found)

    # -- keeping in step -----------------------------------------------------------------------------------

    def _bring_into_step(self) -> None:
        if self._closed:
            raise closed(self.resource)
        if not self._owed:
            if not self._waiting():
                return
            self._owed = "nothing"  # octets that nobody asked for: an answer doubled, or one that came late
        owed, deadline = self._owed, self._now() + max(self._patience_s, self.timeout_s)
        try:
            if self._socket is None:
                self._session.clear()
            else:
                self._drain(deadline)
            if "*IDN?" in owed.upper():
                raise self._lost("an unanswered *IDN?, so its next answer could be the last one's", "")
            self._send("*IDN?", deadline)
            # in order, so that what was owed comes before our marker, and nothing after it
            while (line := self._late_line(deadline)) != self._introduced:
                owed = f"{owed} ({line[:60]!r} came late)"[:1000]
        except PortTimeoutError as why:
            raise self._lost(f"no sign of it after {owed}: {why.found}", "*IDN? again") from why
        except pyvisa.Error as why:
            raise self._lost(f"{why} after {owed}", "a device clear") from why
        self._owed = ""
        self._patience_s = self.timeout_s

    def _late_line(self, deadline: float) -> str:
        """A line that came while bringing into step; what is no text (the end of a block) is none of ours either."""
        try:
            return self._receive(deadline, "*IDN?", "re-synchronising")
        except PortReplyError as why:
            if self._now() >= deadline:
                raise self._late("*IDN?", why.found) from why
            return why.found

    def _drain(self, deadline: float) -> None:
        """Throw away what comes until nothing does."""
        while self._now() < deadline:
            until = min(deadline, self._now() + QUIET_S)
            if not self._readable(until):
                return
            self._note("in", self._take(until), "drained")

    def _waiting(self) -> bool:
        """Whether octets lie there unasked. A session that keeps messages apart has its own way to be sure."""
        if self._framed:
            return False
        if self._socket is not None:
            return self._readable(0.0)
        if self._timeout_ms != 0:
            self._session.timeout = self._timeout_ms = 0
        try:
            with self._library.ignore_warning(self._session.session, StatusCode.success_max_count_read):
                chunk, _ = self._library.read(self._session.session, 1)
        except Exception as why:  # as in _send
            if isinstance(why, pyvisa.VisaIOError) and why.error_code == StatusCode.error_timeout:
                return False
            raise self._failed("", why) from why
        self._note("in", bytes(chunk), "drained")
        return bool(chunk)

    def _lost(self, found: str, wanted: str) -> PortLostError:
        meanwhile = self._closed
        self.close()
        return PortLostError(
            f"{wanted or 'an answer'} from {self.resource}",
            "the port closed meanwhile" if meanwhile else found,
            "check cable and power; open it again and set it up anew, as it may have been switched off",
        )

    # -- octets --------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return self._clock.now_ns() / 1e9

    def _exchange(self, message: str, within: float) -> str:
        self._patience_s = max(within, self.timeout_s)
        deadline = self._now() + within
        self._send(message, deadline)
        return self._receive(deadline, message)

    def _send(self, message: str, deadline: float) -> None:
        octets = (message + self._ends_out).encode("ascii")
        self._note("out", octets)
        size = len(octets) if self._socket is None else CHUNK
        for at in range(0, len(octets), size):
            self._wait_for_room(message, deadline)
            try:
                self._set_timeout(deadline)
                self._library.write(self._session.session, octets[at : at + size])
            except Exception as why:  # besides its own errors the library lets bare OSErrors through
                raise self._failed(message, why) from why

    def _wait_for_room(self, message: str, deadline: float) -> None:
        """The library would wait forever for a peer that does not read."""
        if self._socket is not None:
            left = max(0.0, deadline - self._now())
            try:
                room = select.select([], [self._socket], [], left)[1]
            except (OSError, ValueError) as why:  # ValueError: closed by another thread
                raise self._failed(message, why) from why
            if not room:
                raise self._late(message, "a peer that takes no octets")

    def _receive(self, deadline: float, message: str, remark: str = "") -> str:
        """One answer. Raises PortTimeoutError with what had come, PortReplyError, PortLostError."""
        got = bytearray()
        while True:
            if self._socket is not None and not self._readable(deadline):
                raise self._late(message, self._so_far(got))
            try:
                chunk, ended = self._read(deadline)
            except Exception as why:  # as in _send
                if isinstance(why, pyvisa.VisaIOError) and why.error_code == StatusCode.error_timeout:
                    raise self._late(message, self._so_far(got)) from why
                raise self._failed(message, why, bytes(got)) from why
            self._note("in", chunk, remark)
            got += chunk
            if got.endswith(self._ends_in) or (self._framed and ended):
                break
            if len(got) > MOST_OCTETS:
                raise self._garbled(message, f"{len(got)} octets without an end")
            if self._now() >= deadline:
                raise self._late(message, self._so_far(got))
        try:
            return got.decode("ascii").rstrip("\r\n")
        except UnicodeDecodeError:
            raise self._garbled(message, f"octets that are no text: {bytes(got[:60])!r}") from None

    @contextlib.contextmanager
    def _by_length(self) -> Iterator[None]:
        """Reads end with their count, not at a terminator: 0x0A is an octet of a block like any other."""
        if self._framed:
            yield
            return
        try:
            self._session.set_visa_attribute(ResourceAttribute.termchar_enabled, False)
            yield
        finally:
            with contextlib.suppress(pyvisa.Error):  # of a session that was lost meanwhile
                self._session.set_visa_attribute(ResourceAttribute.termchar_enabled, True)

    def _receive_block(self, deadline: float, message: str) -> bytes:
        """One definite block with what ends it. Raises PortTimeoutError, PortReplyError, PortLostError."""
        got = bytearray()
        wanted, ended, told = 2, False, False  # "#" and the number of digits
        while len(got) < wanted or (self._framed and not ended):
            if ended:
                raise self._garbled(message, f"{len(got)} octets of {wanted}", "a definite block")
            octets, ended = self._some(deadline, message, got, max(1, wanted - len(got)))
            got += octets
            if not told:
                try:
                    size = block_size(bytes(got[:11]))
                except ValueError as why:
                    raise self._garbled(message, str(why), "a definite block") from why
                told = size is not None
                wanted = sum(size) if size is not None else 2 + (got[1] - ord("0") if len(got) > 1 else 0)
                if wanted > MOST_BLOCK:
                    raise self._garbled(message, f"one of {wanted} octets", "a definite block")
        # on a stream a line end follows; where none does, whatever comes later is thrown away before the next exchange
        until = min(deadline, self._now() + QUIET_S)
        while not self._framed and not got.endswith(self._ends_in, wanted):
            try:
                got += self._some(until, message, got, 1)[0]
            except PortTimeoutError:
                break
            if len(got) > wanted + len(self._ends_in) + 1:
                raise self._garbled(message, f"{bytes(got[wanted:])!r} behind it", "a definite block")
        try:
            return block(bytes(got))
        except ValueError as why:
            raise self._garbled(message, str(why), "a definite block") from why

    def _some(self, deadline: float, message: str, got: bytearray, most: int) -> tuple[bytes, bool]:
        """At most so many octets, with whether the message ended there. Raises PortTimeoutError, PortLostError."""
        if self._socket is not None and not self._readable(deadline):
            raise self._late(message, self._so_far(got))
        try:
            chunk, ended = self._read(deadline, min(most, BLOCK_CHUNK) if not self._framed else BLOCK_CHUNK)
        except Exception as why:  # as in _send
            if isinstance(why, pyvisa.VisaIOError) and why.error_code == StatusCode.error_timeout:
                raise self._late(message, self._so_far(got)) from why
            raise self._failed(message, why, bytes(got[:60])) from why
        self._note("in", chunk)
        if self._now() >= deadline and len(chunk) < most and not ended:
            raise self._late(message, self._so_far(got + chunk))
        return chunk, ended and self._framed

    def _readable(self, deadline: float) -> bool:
        """Whether octets are there before the deadline. Raises PortLostError when the peer has hung up.

        The library itself would spin on a closed connection until its time is over.
        """
        if self._socket is None or bool(getattr(self._inner, "_pending_buffer", None)):
            return True
        try:
            if not select.select([self._socket], [], [], max(0.0, deadline - self._now()))[0]:
                return False
            if self._socket.recv(1, socket.MSG_PEEK):
                return True
        except (OSError, ValueError) as why:  # ValueError: closed by another thread
            raise self._lost(f"{type(why).__name__}: {why}", "") from why
        raise self._lost("the connection closed by the instrument", "")

    def _take(self, deadline: float) -> bytes:
        """What is there, at once."""
        try:
            return self._read(deadline)[0]
        except Exception as why:  # as in _send
            raise self._failed("", why) from why

    def _read(self, deadline: float, most: int = CHUNK) -> tuple[bytes, bool]:
        """Some octets, with whether the library saw the end of the message; none when only its slice is over."""
        self._set_timeout(deadline, SLICE_MS if self._socket is not None else None)
        with self._library.ignore_warning(
            self._session.session, StatusCode.success_device_not_present, StatusCode.success_max_count_read
        ):
            try:
                chunk, status = self._library.read(self._session.session, most)
            except pyvisa.VisaIOError as why:
                if self._socket is None or why.error_code != StatusCode.error_timeout:
                    raise
                return b"", False
        return chunk, status != StatusCode.success_max_count_read

    def _set_timeout(self, deadline: float, most_ms: int | None = None) -> None:
        left = max(1, int((deadline - self._now()) * 1000))
        wanted = left if most_ms is None else min(left, most_ms)
        if wanted != self._timeout_ms:  # setting it is dear
            self._session.timeout = self._timeout_ms = wanted

    def _note(self, direction: Literal["out", "in"], octets: bytes, remark: str = "") -> None:
        if self._log is not None and octets:
            self._log(Wire(self._clock.now_ns(), time.time_ns(), direction, octets, remark))

    # -- errors --------------------------------------------------------------------------------------------

    def _check(self, message: str) -> None:
        if not message.isascii() or not message.isprintable() or not message:
            raise ValueError(f"{message!r} is not one line of ASCII text")

    def _within(self, timeout_s: float | None) -> float:
        return self.timeout_s if timeout_s is None else timeout_s

    @staticmethod
    def _so_far(got: bytearray) -> str:
        return f"no more than {bytes(got[:60])!r}" if got else "silence"

    def _late(self, message: str, found: str) -> PortTimeoutError:
        return PortTimeoutError(
            f"a whole answer to {message} from {self.resource} in time",
            found,
            "check the instrument, or give it more time; the next use brings the session back into step",
        )

    def _garbled(self, message: str, found: str, wanted: str = "an answer in text") -> PortReplyError:
        return PortReplyError(
            f"{wanted} to {message} from {self.resource}",
            found,
            "check cable, terminator and baud rate; the next use brings the session back into step",
        )

    def _failed(self, message: str, why: Exception, got: bytes = b"") -> PortLostError:
        return self._lost(f"{type(why).__name__}: {why}" + (f" after {got[:60]!r}" if got else ""), message)


class VisaStream:
    """Octets of a VISA session that is spoken to otherwise than with SCPI: TL1, a prompt; a `drivers.stream.Stream`."""

    def __init__(self, resource: str, *, backend: Backend = "@py", timeout_s: float = 2.0, clock: Clock = WALL) -> None:
        """Raises PortOpenError."""
        self.resource = resource
        self._clock = clock
        self._session = open_resource(resource, backend, timeout_s)
        self._library = self._session.visalib
        self._closed = False
        serial = self._session.interface_type == InterfaceType.asrl
        self._most = 1 if serial else CHUNK  # a serial session throws away what came when its time is over
        try:
            self._session.set_visa_attribute(ResourceAttribute.termchar_enabled, False)
            if serial:
                self._session.set_visa_attribute(ResourceAttribute.asrl_end_in, SerialTermination.none)
        except pyvisa.Error as why:
            self.close()
            raise not_open(resource, str(why)) from why

    def now_ns(self) -> int:
        """Ns of its clock."""
        return self._clock.now_ns()

    def send(self, octets: bytes, deadline_ns: int) -> bool:
        """As `drivers.stream.Stream`."""
        try:
            self._session.timeout = self._left(deadline_ns)
            self._library.write(self._session.session, octets)
        except Exception as why:
            if isinstance(why, pyvisa.VisaIOError) and why.error_code == StatusCode.error_timeout:
                return False
            raise self._lost(why) from why
        return True

    def receive(self, deadline_ns: int) -> bytes:
        """As `drivers.stream.Stream`."""
        try:
            self._session.timeout = self._left(deadline_ns)
            with self._library.ignore_warning(
                self._session.session, StatusCode.success_device_not_present, StatusCode.success_max_count_read
            ):
                return bytes(self._library.read(self._session.session, self._most)[0])
        except Exception as why:
            if isinstance(why, pyvisa.VisaIOError) and why.error_code == StatusCode.error_timeout:
                return b""
            raise self._lost(why) from why

    def close(self) -> None:
        """Safe to call twice."""
        self._closed = True
        with contextlib.suppress(Exception):
            self._session.close()

    def _left(self, deadline_ns: int) -> int:
        return max(0, (deadline_ns - self._clock.now_ns()) // 1_000_000)

    def _lost(self, why: Exception) -> PortLostError:
        found = "the connection closed meanwhile" if self._closed else f"{type(why).__name__}: {why}"
        self.close()
        return PortLostError(
            f"a connection to {self.resource}", found, "check cable and power; open it again and set it up anew"
        )
