"""An instrument that speaks SCPI, with the status and the error queue that IEEE 488.2 and SCPI-99 ask for."""

from __future__ import annotations

import logging
import re
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.header import Handler, Headers
from drivers.simulated.instrument import ClearedError, SimulatedInstrument
from drivers.simulated.parameter import (
    INFINITE,
    NAN,
    block,
    boolean,
    channel_list,
    choice,
    count,
    integer,
    number,
    text,
)
from drivers.simulated.scpi_error import TEXTS, ScpiError, event_bit, words
from drivers.simulated.status import ALL, StatusRegister

__all__ = [
    "INFINITE",
    "NAN",
    "TEXTS",
    "Handler",
    "ScpiDevice",
    "ScpiError",
    "StatusRegister",
    "block",
    "boolean",
    "channel_list",
    "choice",
    "count",
    "integer",
    "number",
    "text",
]

_log: Final = logging.getLogger(__name__)
_HEADER: Final = re.compile(
    r"\*[A-Za-z][A-Za-z0-9_]*\??|:?[A-Za-z][A-Za-z0-9_]*(?::[A-Za-z][A-Za-z0-9_]*)*\??", re.ASCII
)
_UNIT: Final = re.compile(r"([^\x00-\x20]+)[\x00-\x20]*(.*)", re.DOTALL)
_SPACE: Final = "".join(map(chr, range(33)))  # IEEE 488.2, 7.4.1.2
_NESTING: Final = re.compile(r"[\"'#(]")
_MOST_KNOWN: Final = 4096

Found = tuple[Handler, tuple[int, ...], str]


class ScpiDevice(SimulatedInstrument):
    r"""A simulated instrument, to which a model adds its commands.

    Like this::

        class Lamp(ScpiDevice):
            def __init__(self, identity: Identity, clock: Clock) -> None:
                super().__init__(identity, clock)
                self.ends = b"\r\n"
                self.power_w = [0.001, 0.001]
                self.on("SOURce#:POWer[:LEVel]", self.set_power)
                self.on("SOURce#:POWer[:LEVel]?", lambda suffixes, args: f"{self.at(suffixes):.8E}")

            def at(self, suffixes: tuple[int, ...]) -> float:
                if suffixes[0] not in (1, 2):
                    raise ScpiError(-114)
                return self.power_w[suffixes[0] - 1]

            def set_power(self, suffixes: tuple[int, ...], args: list[str]) -> None:
                count(args, 1)
                self.at(suffixes)
                self.power_w[suffixes[0] - 1] = number(args[0], "W", 0.0, 0.01)
                self.begin(0.2, slot=suffixes[0])

        lamp = Lamp(Identity("millicert", "LAMP", "SIM-1", "1"), VirtualClock())
        lamp.handle(b"sour2:pow 2mw;pow?;*opc?")      # → b"2.00000000E-03;1", 0.2 s later

    ``depth`` errors fit into the queue, whose last place then says -350; ``newest_only``: an instrument that keeps
    just the last error. A command error (-1xx) ends its message, any other only its unit.
    """

    def __init__(
        self, identity: Identity, clock: Clock, *, depth: int = 30, newest_only: bool = False, busy_ns: int = 200_000
    ) -> None:
        """Raises ValueError for a serial number that does not begin with SIM-."""
        super().__init__(identity, clock, busy_ns=busy_ns)
        self.depth = depth
        self.newest_only = newest_only
        self.opc_blocks = True
        """Whether `*OPC?` and `*WAI` wait for overlapped operations; N77xx answers 0 or 1 at once instead."""
        self.service_requests = True
        """Whether bit 6 of the status byte is ever set."""
        self.error_format = '{code},"{text}"'
        """How an entry of the error queue is written: N77xx ``{code:+d},"{text}"``, VIAVI ``{code}, "{text}"``."""
        self.texts: Mapping[int, str] = TEXTS
        self.operation = StatusRegister(self._operating)
        self.operation_bits = 0
        """Bits of the operation condition register that are no matter of ``begin``."""
        self.questionable = StatusRegister()
        self._headers = Headers()
        self._known: dict[tuple[str, str], Found] = {}
        self._errors: deque[tuple[int, str]] = deque()
        self._queue = threading.Lock()
        self._answers: list[bytes] = []
        self._esr = 128  # power on
        self._ese = 0
        self._sre = 0
        self._opc = False
        self._common()

    # -- for models ----------------------------------------------------------------------------------------

    def on(self, pattern: str, handler: Handler, default: int = 1) -> None:
        """Answer a header: ``SENSe#[:CHANnel#]:POWer:WAVelength?`` or ``*OPC?``; one known before is replaced.

        '#' takes a numeric suffix, ``default`` when none is sent; nodes in brackets may be left out. The handler gets
        all suffixes in order, with those of nodes left out, and checks their ranges. It returns the answer without
        its end, bytes for a definite block, None for no answer; it raises ScpiError. Raises ValueError for a pattern
        that is none.
        """
        self._headers.add(pattern, handler, default)
        self._known.clear()

    def status(self, pattern: str, registers: Callable[[tuple[int, ...]], StatusRegister], default: int = 1) -> None:
        """Answer EVENt, CONDition, ENABle, PTRansition and NTRansition below a pattern: ``STATus#:OPERation``.

        ``registers`` tells which register the suffixes mean; it raises ScpiError -114 for none.
        """

        def field_of(name: str) -> None:
            def put(suffixes: tuple[int, ...], args: list[str]) -> None:
                count(args, 1)
                setattr(registers(suffixes), name, integer(args[0], 0, 65535) & ALL)

            node = {"enable": "ENABle", "positive": "PTRansition", "negative": "NTRansition"}[name]
            self.on(f"{pattern}:{node}", put, default)
            self.on(f"{pattern}:{node}?", lambda suffixes, args: str(getattr(registers(suffixes), name)), default)

        self.on(f"{pattern}[:EVENt]?", lambda suffixes, args: str(registers(suffixes).take()), default)
        self.on(f"{pattern}:CONDition?", lambda suffixes, args: str(registers(suffixes).condition), default)
        for name in ("enable", "positive", "negative"):
            field_of(name)

    def reset(self) -> None:
        """What `*RST` does to the model; here nothing."""

    def preset_status(self) -> None:
        """STATus:PRESet."""
        self.operation.preset()
        self.questionable.preset()

    def clear_status(self) -> None:
        """`*CLS`: queue and events empty, no pending `*OPC`; what is enabled stays so (IEEE 488.2, 10.3)."""
        with self._queue:
            self._errors.clear()
            self._esr = 0
            self._opc = False
        self.operation.forget()
        self.questionable.forget()

    def error(self, code: int, info: str = "") -> None:
        """Put an error into the queue and into the event status register; from any thread."""
        with self._queue:
            self._esr |= event_bit(code)
            if self.newest_only:
                self._errors.clear()
            if len(self._errors) < self.depth:
                self._errors.append((code, words(code, info, self.texts)))
            else:
                self._errors[-1] = (-350, words(-350, "", self.texts))

    def begin(self, seconds: float, slot: int = 0, bits: int = 0) -> None:
        """Start an overlapped operation of a slot; `*OPC?`, `*OPC`, `*WAI` and the operation register see it."""
        super().begin(seconds, slot, bits)
        self.operation.observe()

    # -- for carriers --------------------------------------------------------------------------------------

    def handle(self, message: bytes) -> bytes | None:
        """Do what one whole program message says; answers of all its queries, joined by ';', without an end.

        None: nothing to answer. Whatever the message holds, it raises nothing.
        """
        with self.lock:
            self._exchange()
            self._answers = []
            try:
                self._obey(message.decode("latin-1"))
            except ClearedError:
                return None
            finally:
                answers, self._answers = self._answers, []
            return b";".join(answers) if answers else None

    def stb(self, *, available: bool = False) -> int:
        """The status byte; ``available``: the carrier holds an answer that nobody has read (MAV)."""
        self._settle()
        value = 4 if self._errors else 0
        value |= 8 if self.questionable.summary() else 0
        value |= 16 if available or self._answers else 0
        value |= 32 if self._esr & self._ese else 0
        value |= 128 if self.operation.summary() else 0
        return value | 64 if self.service_requests and value & self._sre else value

    def clear(self) -> None:
        """Device clear: ends a blocking operation and forgets a pending `*OPC`; status and queue stay."""
        super().clear()
        self._opc = False

    # -- the message ---------------------------------------------------------------------------------------

    def _obey(self, message: str) -> None:
        units = _split(message, ";") if _NESTING.search(message) else iter(message.split(";"))
        path = ""
        while True:
            try:
                unit = next(units, None)
                if unit is None:
                    return
                path = self._execute(unit, path)
            except ScpiError as why:
                self.error(why.code, why.info)
                if -200 < why.code <= -100:
                    return
            except ClearedError:
                raise
            except Exception as why:
                # a model's mistake: the laboratory goes on, and its log says where
                _log.exception("%s stumbled over %r", self.identity, message[:200])
                self.error(-300, type(why).__name__)

    def _execute(self, unit: str, path: str) -> str:
        """Do one message unit; the path for the next."""
        parts = _UNIT.match(unit.lstrip(_SPACE))
        if parts is None:
            return path
        header, rest = parts.groups()
        found = self._known.get((path, header))
        if found is None:
            found = self._look_up(path, header)
        handler, suffixes, after = found
        rest = rest if "#" in rest else rest.rstrip(_SPACE)
        if not rest:
            args = []
        elif _NESTING.search(rest):
            args = [each.strip(_SPACE) if "#" not in each else each.lstrip(_SPACE) for each in _split(rest, ",")]
        else:
            args = [each.strip(_SPACE) for each in rest.split(",")]
        answer = handler(suffixes, args)
        if isinstance(answer, bytes):
            length = str(len(answer)).encode()
            self._answers.append(b"#%d%s%s" % (len(length), length, answer))
        elif answer is not None:
            self._answers.append(answer.encode("latin-1", "replace"))
        return after

    def _look_up(self, path: str, header: str) -> Found:
        if not _HEADER.fullmatch(header):
            raise _ill_formed(header)
        name = header.upper()
        if name.startswith("*"):
            found = (*self._headers.find(name), path)
        else:
            whole = name[1:] if name.startswith(":") else f"{path}:{name}" if path else name
            found = (*self._headers.find(whole), whole.rpartition(":")[0])
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[path, header] = found
        return found

    # -- what every instrument answers ---------------------------------------------------------------------

    def _common(self) -> None:
        self.on("*IDN?", self._asked(lambda: str(self.identity)))
        self.on("*CLS", self._plain(self.clear_status))
        self.on("*RST", self._plain(self._reset))
        self.on("*TST?", self._asked(lambda: "0"))
        self.on("*OPC", self._plain(self._arm))
        self.on("*OPC?", self._asked(self._complete))
        self.on("*WAI", self._plain(self._complete))
        self.on("*ESE", self._set_ese)
        self.on("*ESE?", self._asked(lambda: str(self._ese)))
        self.on("*ESR?", self._asked(lambda: str(self._take_esr())))
        self.on("*SRE", self._set_sre)
        self.on("*SRE?", self._asked(lambda: str(self._sre)))
        self.on("*STB?", self._asked(lambda: str(self.stb())))
        self.on("SYSTem:VERSion?", self._asked(lambda: "1999.0"))
        self.on("SYSTem:ERRor[:NEXT]?", self._asked(lambda: self._written(self._next())))
        self.on("SYSTem:ERRor:ALL?", self._asked(lambda: ",".join(map(self._written, self._all()))))
        self.on("SYSTem:ERRor:COUNt?", self._asked(lambda: str(len(self._errors))))
        self.on("SYSTem:ERRor:CODE[:NEXT]?", self._asked(lambda: str(self._next()[0])))
        self.on("SYSTem:ERRor:CODE:ALL?", self._asked(lambda: ",".join(str(code) for code, _ in self._all())))
        self.on("STATus:PRESet", self._plain(self.preset_status))
        self.status("STATus:OPERation", lambda suffixes: self.operation)
        self.status("STATus:QUEStionable", lambda suffixes: self.questionable)

    @staticmethod
    def _plain(act: Callable[[], object]) -> Handler:
        """A handler of a command that takes no parameter."""

        def handler(suffixes: tuple[int, ...], args: list[str]) -> None:
            count(args, 0)
            act()

        return handler

    @staticmethod
    def _asked(tell: Callable[[], str]) -> Handler:
        """A handler of a query that takes no parameter."""

        def handler(suffixes: tuple[int, ...], args: list[str]) -> str:
            count(args, 0)
            return tell()

        return handler

    def _reset(self) -> None:
        self._opc = False
        self.finish()
        self.reset()

    def _arm(self) -> None:
        self._opc = True

    def _complete(self) -> str:
        if self.opc_blocks:
            self.wait(self.remaining_s())
            return "1"
        return "0" if self.busy() else "1"

    def _set_ese(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self._ese = integer(args[0], 0, 255)

    def _set_sre(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self._sre = integer(args[0], 0, 255) & ~64  # bit 6 is not there to be enabled (IEEE 488.2, 11.3.2.3)

    def _take_esr(self) -> int:
        self._settle()
        with self._queue:
            esr, self._esr = self._esr, 0
        return esr

    def _settle(self) -> None:
        if self._opc and not self.busy():
            with self._queue:
                self._opc = False
                self._esr |= 1

    def _operating(self) -> int:
        bits = self.operation_bits
        for _, _, more in self._under_way():
            bits |= more
        return bits

    def _next(self) -> tuple[int, str]:
        with self._queue:
            return self._errors.popleft() if self._errors else (0, words(0, "", self.texts))

    def _all(self) -> list[tuple[int, str]]:
        with self._queue:
            found = list(self._errors)
            self._errors.clear()
        return found or [(0, words(0, "", self.texts))]

    def _written(self, entry: tuple[int, str]) -> str:
        return self.error_format.format(code=entry[0], text=entry[1])


def _split(message: str, separator: str) -> Iterator[str]:
    """Parts between separators outside strings, blocks and expressions. Raises ScpiError -151, -161, -171."""
    start = at = depth = 0
    while at < len(message):
        each = message[at]
        if each in "\"'":
            end = message.find(each, at + 1)
            if end < 0:
                raise ScpiError(-151)
            at = end
        elif each == "#" and (at == 0 or message[at - 1] in ", " or message[at - 1] < " "):
            at = _after_block(message, at) - 1
        elif each == "(":
            depth += 1
        elif each == ")":
            depth -= 1
            if depth < 0:
                raise ScpiError(-171)
        elif each == separator and not depth:
            yield message[start:at]
            start = at + 1
        at += 1
    if depth:
        raise ScpiError(-171)
    yield message[start:]


def _after_block(message: str, at: int) -> int:
    """Where a block that begins at ``at`` ends; a number in another base is no block. Raises ScpiError -161."""
    digits = message[at + 1 : at + 2]
    if digits == "0":
        return len(message)
    if not (digits.isascii() and digits.isdecimal()):
        return at + 1
    start = at + 2 + int(digits)
    length = message[at + 2 : start]
    if len(length) != int(digits) or not (length.isascii() and length.isdecimal()):
        raise ScpiError(-161)
    if start + int(length) > len(message):
        raise ScpiError(-161)
    return start + int(length)


def _ill_formed(header: str) -> ScpiError:
    if not header.isascii() or not header.isprintable():
        return ScpiError(-101)
    if "," in header:
        return ScpiError(-103, header[:40])
    if "?" in header[:-1]:
        return ScpiError(-111, header[:40])
    return ScpiError(-102, header[:40])
