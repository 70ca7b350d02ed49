"""A VISA library whose instruments are simulated and live in this process."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, cast

from pyvisa import constants, rname
from pyvisa.constants import ResourceAttribute, StatusCode
from pyvisa.highlevel import VisaLibraryBase
from pyvisa.typing import VISAEventContext, VISARMSession, VISASession
from pyvisa.util import LibraryPath

from drivers.simulated.conversation import Conversation, Simulated
from drivers.simulated.faults import NONE, Delivery, Faults
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.virtual import VirtualClock

_NUMBERS: Final = itertools.count(1)
_INFINITE_MS: Final = 0xFFFFFFFF
_JOIN_S: Final = 2.0

Result = tuple[bytes, StatusCode]


class SimulatedVisa(VisaLibraryBase):
    """Give it to `pyvisa.ResourceManager` or as ``backend`` to `drivers.port.Port`; each one is a laboratory by itself.

    SOCKET and ASRL resources are streams: what comes late is read by whoever reads next. Other INSTR resources keep
    messages apart (IEEE 488.2, 6.3): an unread answer is thrown away when more is asked (-410), reading what was never
    asked is an error (-420). Time-outs go by the instrument's clock. On a virtual clock an instrument answers within
    the caller's own thread; one that blocked for longer than the time-out is read as late as it would have been.
    """

    def __new__(cls) -> SimulatedVisa:
        """A library of its own: pyvisa would give every caller the same one."""
        return cast(SimulatedVisa, super().__new__(cls, f"simulated laboratory {next(_NUMBERS)}"))

    @staticmethod
    def get_library_paths() -> Iterable[LibraryPath]:
        """None: it is no file."""
        return ()

    def _init(self) -> None:
        self._served: dict[str, tuple[Simulated, Faults]] = {}
        self._lines: dict[int, _Line] = {}
        self._sessions = itertools.count(1)

    def serve(self, device: Simulated, resource: str = "", faults: Faults = NONE) -> VisaCarrier:
        """Put an instrument where ``resource`` says; empty: at a name made from its serial number.

        Raises ValueError when another is there already, or the name is none.
        """
        if not resource:
            end = "hislip0::INSTR" if isinstance(device, ScpiDevice) else "3082::SOCKET"
            resource = f"TCPIP0::{device.identity.serial.lower()}::{end}"
        try:
            name = str(rname.ResourceName.from_string(resource))
        except rname.InvalidResourceName as why:
            raise ValueError(str(why)) from why
        if name in self._served:
            raise ValueError(f"{name} is {self._served[name][0].identity} already")
        self._served[name] = (device, faults)
        return VisaCarrier(self, name)

    def withdraw(self, resource: str) -> None:
        """Take an instrument away, and end its sessions."""
        self._served.pop(resource, None)
        for line in list(self._lines.values()):
            if line.resource == resource:
                line.lose()

    # -- what pyvisa asks for ------------------------------------------------------------------------------

    def open_default_resource_manager(self) -> tuple[VISARMSession, StatusCode]:
        """A session of the manager."""
        return VISARMSession(next(self._sessions)), self.handle_return_value(None, StatusCode.success)

    def list_resources(self, session: VISARMSession, query: str = "?*::INSTR") -> tuple[str, ...]:
        """Names of the instruments that match."""
        return tuple(rname.filter(sorted(self._served), query))

    def open(
        self,
        session: VISARMSession,
        resource_name: str,
        access_mode: constants.AccessModes = constants.AccessModes.no_lock,
        open_timeout: int = constants.VI_TMO_IMMEDIATE,
    ) -> tuple[VISASession, StatusCode]:
        """A session to an instrument. Raises VisaIOError."""
        try:
            parsed = rname.ResourceName.from_string(resource_name)
        except rname.InvalidResourceName:
            return VISASession(0), self.handle_return_value(None, StatusCode.error_invalid_resource_name)
        found = self._served.get(str(parsed))
        if found is None:
            return VISASession(0), self.handle_return_value(None, StatusCode.error_resource_not_found)
        number = next(self._sessions)
        framed = parsed.resource_class == "INSTR" and parsed.interface_type_const != constants.InterfaceType.asrl
        self._lines[number] = _Line(str(parsed), *found, framed=framed)
        return VISASession(number), self.handle_return_value(None, StatusCode.success)

    def close(self, session: VISASession | VISAEventContext | VISARMSession) -> StatusCode:
        """End a session."""
        line = self._lines.pop(session, None)
        if line is not None:
            line.close()
        return self.handle_return_value(None, StatusCode.success)

    def write(self, session: VISASession, data: bytes) -> tuple[int, StatusCode]:
        """Say something. Raises VisaIOError."""
        line = self._lines.get(session)
        if line is None:
            return 0, self.handle_return_value(session, StatusCode.error_invalid_object)
        return len(data), self.handle_return_value(session, line.write(bytes(data)))

    def read(self, session: VISASession, count: int) -> Result:
        """Listen. Raises VisaIOError."""
        line = self._lines.get(session)
        if line is None:
            return b"", self.handle_return_value(session, StatusCode.error_invalid_object)
        octets, status = line.read(count)
        return octets, self.handle_return_value(session, status)

    def clear(self, session: VISASession) -> StatusCode:
        """Device clear; on a stream only what lies there is thrown away. Raises VisaIOError."""
        line = self._lines.get(session)
        status = StatusCode.error_invalid_object if line is None else line.clear()
        return self.handle_return_value(session, status)

    def flush(self, session: VISASession, mask: constants.BufferOperation) -> StatusCode:
        """Throw away what lies there. Raises VisaIOError."""
        line = self._lines.get(session)
        status = StatusCode.error_invalid_object if line is None else line.discard()
        return self.handle_return_value(session, status)

    def read_stb(self, session: VISASession) -> tuple[int, StatusCode]:
        """The status byte; streams have none. Raises VisaIOError."""
        line = self._lines.get(session)
        if line is None:
            return 0, self.handle_return_value(session, StatusCode.error_invalid_object)
        value = line.stb()
        if value is None:
            return 0, self.handle_return_value(session, StatusCode.error_nonsupported_operation)
        return value, self.handle_return_value(session, StatusCode.success)

    def assert_trigger(self, session: VISASession, protocol: constants.TriggerProtocol) -> StatusCode:
        """As `*TRG` does; streams have none. Raises VisaIOError."""
        line = self._lines.get(session)
        if line is None:
            return self.handle_return_value(session, StatusCode.error_invalid_object)
        return self.handle_return_value(
            session, line.write(b"*TRG") if line.framed else StatusCode.error_nonsupported_operation
        )

    def get_attribute(
        self,
        session: VISASession | VISAEventContext | VISARMSession,
        attribute: ResourceAttribute | constants.EventAttribute,
    ) -> tuple[Any, StatusCode]:
        """What an attribute is. Raises VisaIOError."""
        line = self._lines.get(session)
        if line is None:
            return None, self.handle_return_value(session, StatusCode.error_invalid_object)
        if attribute not in line.attributes:
            return None, self.handle_return_value(session, StatusCode.error_nonsupported_attribute)
        return line.attributes[attribute], self.handle_return_value(session, StatusCode.success)

    def set_attribute(self, session: VISASession, attribute: ResourceAttribute, attribute_state: Any) -> StatusCode:
        """What an attribute is from now on. Raises VisaIOError."""
        line = self._lines.get(session)
        if line is None:
            return self.handle_return_value(session, StatusCode.error_invalid_object)
        line.attributes[attribute] = attribute_state
        return self.handle_return_value(session, StatusCode.success)

    def disable_event(
        self,
        session: VISASession,
        event_type: constants.EventType,
        mechanism: constants.EventMechanism,
    ) -> StatusCode:
        """There are none."""
        return StatusCode.success

    def discard_events(
        self,
        session: VISASession,
        event_type: constants.EventType,
        mechanism: constants.EventMechanism,
    ) -> StatusCode:
        """There are none."""
        return StatusCode.success


class VisaCarrier:
    """An instrument's place in the library."""

    def __init__(self, library: SimulatedVisa, resource: str) -> None:
        self.library = library
        self._resource = resource

    @property
    def resource(self) -> str:
        """VISA resource name."""
        return self._resource

    def close(self) -> None:
        """Take it away; safe to call twice."""
        self.library.withdraw(self._resource)


class _Arrival:
    __slots__ = ("ended", "lost", "octets", "ready_ns", "spent_ns")

    def __init__(self, octets: bytes, ready_ns: int, spent_ns: int, *, ended: bool, lost: bool) -> None:
        self.octets = octets
        self.ready_ns = ready_ns
        self.spent_ns = spent_ns
        self.ended = ended
        self.lost = lost


class _Line:
    """One session with an instrument."""

    def __init__(self, resource: str, device: Simulated, faults: Faults, *, framed: bool) -> None:
        self.resource = resource
        self.framed = framed
        parsed = rname.parse_resource_name(resource)
        self.attributes: dict[int, Any] = {
            ResourceAttribute.timeout_value: 2000,
            ResourceAttribute.termchar: 10,
            ResourceAttribute.termchar_enabled: False,
            ResourceAttribute.send_end_enabled: True,
            ResourceAttribute.suppress_end_enabled: False,
            ResourceAttribute.resource_name: resource,
            ResourceAttribute.resource_class: parsed.resource_class,
            ResourceAttribute.interface_type: parsed.interface_type_const,
            ResourceAttribute.resource_manufacturer_name: "millicert, simulated",
        }
        self._device = device
        self._clock = device.clock
        self._virtual = isinstance(device.clock, VirtualClock)
        self._arrivals: deque[_Arrival] = deque()
        self._got = bytearray()
        self._ended = False
        self._lost = False
        self._generation = 0
        self._condition = threading.Condition()
        self._conversation = Conversation(device, faults, self._told, plain=framed)
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._asked = 0
        """Messages said and not yet dealt with by the instrument."""
        self._worker: threading.Thread | None = None
        if not self._virtual:
            self._worker = threading.Thread(target=self._work, name=f"simulated {resource}", daemon=True)
            self._worker.start()
        if self._conversation.prompt:
            self._told(self._conversation.prompt)

    def write(self, data: bytes) -> StatusCode:
        if self._lost:
            return StatusCode.error_connection_lost
        if self.framed:
            self._interrupt()
        if self._worker is not None:
            with self._condition:
                self._asked += 1
            self._outgoing.put(data)
            return StatusCode.success
        for delivery in self._conversation.feed(data, end=self.framed):
            self._arrive(delivery, self._generation)
        return StatusCode.success

    def read(self, count: int) -> Result:
        timeout_ms = self.attributes[ResourceAttribute.timeout_value]
        endless = timeout_ms == _INFINITE_MS
        timeout_ns = int(timeout_ms) * 1_000_000
        now_ns = self._clock.now_ns()
        deadline_ns = now_ns + timeout_ns
        with self._condition:
            if (
                self.framed
                and not (self._arrivals or self._got or self._asked)
                and isinstance(self._device, ScpiDevice)
            ):
                self._device.error(-420)
            while True:
                if not self._take(now_ns, timeout_ns):
                    return b"", StatusCode.error_timeout
                if found := self._cut(count):
                    return found
                if self._lost:
                    return b"", StatusCode.error_connection_lost
                next_ns = self._arrivals[0].ready_ns if self._arrivals else None
                if self._virtual:
                    until_ns = next_ns if next_ns is not None and (endless or next_ns <= deadline_ns) else None
                    if until_ns is None:
                        # nothing more will come by itself: another thread would have to bring it
                        if not endless:
                            self._clock.sleep((deadline_ns - now_ns) / 1e9)
                        return b"", StatusCode.error_timeout
                    self._clock.sleep((until_ns - now_ns) / 1e9)
                    now_ns = max(until_ns, self._clock.now_ns())
                    continue
                now_ns = self._clock.now_ns()
                if not endless and now_ns >= deadline_ns:
                    return b"", StatusCode.error_timeout
                ends = [] if endless else [deadline_ns]
                ends += [] if next_ns is None else [next_ns]
                self._condition.wait(max(0, min(ends) - now_ns) / 1e9 if ends else None)
                now_ns = self._clock.now_ns()

    def clear(self) -> StatusCode:
        if self._lost:
            return StatusCode.error_connection_lost
        if self.framed:
            self._device.clear()
            with self._condition:
                self._generation += 1
                self._conversation.reset()
                self._arrivals.clear()
        return self.discard()

    def discard(self) -> StatusCode:
        with self._condition:
            now_ns = self._clock.now_ns()
            while self._arrivals and self._arrivals[0].ready_ns <= now_ns:
                self._lost = self._arrivals.popleft().lost or self._lost
            self._got.clear()
            self._ended = False
        return StatusCode.success

    def stb(self) -> int | None:
        if not self.framed or not isinstance(self._device, ScpiDevice):
            return None
        with self._condition:
            now_ns = self._clock.now_ns()
            available = bool(self._got) or bool(self._arrivals and self._arrivals[0].ready_ns <= now_ns)
        return self._device.stb(available=available)

    def lose(self) -> None:
        """The instrument was taken away."""
        with self._condition:
            self._lost = True
            self._condition.notify_all()

    def close(self) -> None:
        self.lose()
        self._outgoing.put(None)
        if self._worker is not None and self._worker is not threading.current_thread():
            self._worker.join(_JOIN_S)
        self._conversation.close()

    # -- inside --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        """On a real clock the instrument has a thread of its own, so that writing never waits for it."""
        while (data := self._outgoing.get()) is not None:
            generation = self._generation
            try:
                for delivery in self._conversation.feed(data, end=self.framed):
                    self._arrive(delivery, generation)
            finally:
                with self._condition:
                    self._asked -= 1
                    self._condition.notify_all()

    def _arrive(self, delivery: Delivery, generation: int) -> None:
        with self._condition:
            if generation != self._generation:
                return
            ready_ns = self._clock.now_ns() + round(delivery.after_s * 1e9)
            if self._arrivals:
                ready_ns = max(ready_ns, self._arrivals[-1].ready_ns)  # an answer never overtakes another
            spent_ns = delivery.spent_ns if self._virtual else 0
            self._arrivals.append(
                _Arrival(delivery.octets, ready_ns, spent_ns, ended=delivery.whole, lost=delivery.hang_up)
            )
            self._condition.notify_all()

    def _told(self, octets: bytes) -> None:
        self._arrive(Delivery(octets), self._generation)

    def _interrupt(self) -> None:
        """More is asked while an answer is unread: a session with frames throws it away."""
        with self._condition:
            if self._got or self._arrivals:
                self._got.clear()
                self._ended = False
                self._arrivals.clear()
                if isinstance(self._device, ScpiDevice):
                    self._device.error(-410)

    def _take(self, now_ns: int, timeout_ns: int) -> bool:
        """Take in what has come; False: the instrument was silent for longer than the time-out."""
        while self._arrivals and self._arrivals[0].ready_ns <= now_ns:
            if self.framed and (self._got or self._ended):
                break
            first = self._arrivals[0]
            if first.spent_ns > timeout_ns and not self._got:
                first.spent_ns -= timeout_ns
                return False
            self._arrivals.popleft()
            self._got += first.octets
            self._ended = first.ended
            self._lost = self._lost or first.lost
        return True

    def _cut(self, count: int) -> Result | None:
        """What one read gives; None: not enough has come."""
        got = self._got
        if not got:
            return None
        if self.attributes[ResourceAttribute.termchar_enabled]:
            at = got.find(self.attributes[ResourceAttribute.termchar], 0, count)
            if at >= 0:
                return self._give(at + 1, StatusCode.success_termination_character_read)
            if len(got) >= count:
                return self._give(count, StatusCode.success_max_count_read)
            return self._give(len(got), StatusCode.success) if self.framed and self._ended else None
        if len(got) > count or (len(got) == count and not (self.framed and self._ended)):
            return self._give(count, StatusCode.success_max_count_read)
        if self.framed and not self._ended:
            return None
        return self._give(len(got), StatusCode.success)

    def _give(self, count: int, status: StatusCode) -> Result:
        octets = bytes(self._got[:count])
        del self._got[:count]
        if not self._got:
            self._ended = False
        return octets, status
