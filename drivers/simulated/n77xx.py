"""What the instruments of Keysight's N77xx and 816x families answer alike."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.scpi import TEXTS, ScpiDevice, ScpiError, StatusRegister, count, number

UNCONFIRMED: Final = (
    "N77xx: what is answered besides -231 or -261 where there is no valid value; here 9.91E37, SCPI-99's not-a-number",
    "N77xx: which commands are still obeyed while zeroing; here *OPC?, *STB?, *ESR?, *IDN?, SYST:ERR? and SLOTn:OPC?",
    "N77xx: meaning of the bits of STATn:OPER:COND; here SCPI-99's 0 calibrating, 1 settling, 3 sweeping, 4 measuring",
)

NOTHING: Final = 9.91e37
"""Not a number, as SCPI-99 (volume 1, 7.2.1.5) writes it."""
CALIBRATING: Final = 1
SETTLING: Final = 2
SWEEPING: Final = 8
MEASURING: Final = 16
_PATIENT: Final = re.compile(
    rb"(?i)\s*(?:\*(?:OPC|STB|ESR|IDN)\?|:?SYST(?:EM)?:ERR(?:OR)?(?::NEXT)?\?|:?SLOT\d*:OPC\?)\s*"
)
FAMILY_TEXTS: Final[Mapping[int, str]] = {
    **TEXTS,
    -200: "Execution error",
    -201: "Please wait until zeroing is finished",
    -205: "Power meter not running",
    -301: "Module doesn't support this command",
    -303: "Slot empty",
    -306: "Slave channel",
    -616: "Not allowed while zeroing",
}

Suffixes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a numeric setting may be, in its base unit."""

    unit: str
    """As the unit's suffix is written: M, S, DB, DBM, W, HZ, M/S."""
    low: float
    high: float
    default: float

    def read(self, args: list[str]) -> float:
        """The one parameter of a command. Raises ScpiError -108, -109, -131, -222."""
        count(args, 1)
        return number(args[0], self.unit, self.low, self.high, self.default)

    def said(self, args: list[str], now: float) -> str:
        """The answer to a query: what is set, or with MIN, MAX, DEF what could be. Raises ScpiError -108, -224."""
        if not args:
            return nr3(now)
        count(args, 1)
        known = {"MIN": self.low, "MINIMUM": self.low, "MAX": self.high, "MAXIMUM": self.high}
        known |= {"DEF": self.default, "DEFAULT": self.default}
        asked = args[0].upper()
        if asked not in known:
            raise ScpiError(-224, args[0][:40])
        return nr3(known[asked])


def nr3(value: float) -> str:
    """As the family writes a number: +1.55000000E-006."""
    mantissa, _, exponent = f"{value:+.8E}".partition("E")
    return f"{mantissa}E{exponent[0]}{int(exponent[1:]):03d}"


def nr1(value: int) -> str:
    """As the family writes a whole number: +1."""
    return f"{value:+d}"


def in_dbm(watts: float) -> float:
    """Level of a power in W. Raises ScpiError -261 for what has no logarithm."""
    if watts <= 0:
        raise ScpiError(-261)
    return 10 * math.log10(watts * 1000)


def in_watts(dbm: float) -> float:
    """W of a level in dBm."""
    return float(10 ** (dbm / 10) / 1000)


class N77xx(ScpiDevice):
    """Slots with modules; none of the family's members waits in `*OPC?` or `*WAI`, or ever requests service."""

    def __init__(
        self, identity: Identity, clock: Clock, modules: Mapping[int, str], slots: range, busy_ns: int = 200_000
    ) -> None:
        """``modules``: part number by occupied slot; ``slots``: the numbers that slots may have."""
        super().__init__(identity, clock, depth=30, busy_ns=busy_ns)
        self.ends = b"\r\n"
        self.opc_blocks = False
        self.service_requests = False
        self.error_format = '{code:+d},"{text}"'
        self.texts = FAMILY_TEXTS
        self.modules = dict(modules)
        self.slots = slots
        self._zero_until_ns = 0
        self._slot_operation = {slot: StatusRegister(self._slot_condition(slot)) for slot in modules}
        self._slot_questionable = {slot: StatusRegister() for slot in modules}
        self.operation = StatusRegister(lambda: self._summary(self._slot_operation))
        self.status(
            "STATus#:OPERation", lambda suffixes: self._register(suffixes, self.operation, self._slot_operation), -1
        )
        self.status(
            "STATus#:QUEStionable",
            lambda suffixes: self._register(suffixes, self.questionable, self._slot_questionable),
            -1,
        )
        self.on("*OPT?", lambda suffixes, args: ",".join(self.modules.get(slot, "  ") for slot in self.slots))
        self.on("SLOT#:OPC?", lambda suffixes, args: nr1(int(not self.busy(self.slot(suffixes)))), 0)
        self.on("SLOT#:EMPTy?", lambda suffixes, args: nr1(int(self._in_range(suffixes[0]) not in self.modules)), 0)
        self.on("SLOT#:IDN?", self._module, 0)
        self.on("SYSTem:PRESet", self._plain(self.reset))

    # -- for models ----------------------------------------------------------------------------------------

    def slot(self, suffixes: Suffixes) -> int:
        """The slot that a header's suffixes mean; the channel is always 1. Raises ScpiError -114, -303."""
        slot = self._in_range(suffixes[0])
        if any(each != 1 for each in suffixes[1:]):
            raise ScpiError(-114)
        if slot not in self.modules:
            raise ScpiError(-303)
        return slot

    def begin(self, seconds: float, slot: int = 0, bits: int = SETTLING) -> None:
        """Start an overlapped operation of a slot."""
        super().begin(seconds, slot, bits)
        if slot in self._slot_operation:
            self._slot_operation[slot].observe()

    def condition(self, slot: int) -> int:
        """Bits of a slot's operation condition besides those of its overlapped operations."""
        return 0

    def setting(
        self, pattern: str, limits: Limits, get: Callable[[int], float], put: Callable[[int, float], None]
    ) -> None:
        """A number of each slot."""

        def write(suffixes: Suffixes, args: list[str]) -> None:
            slot = self.slot(suffixes)
            put(slot, limits.read(args))

        self.on(pattern, write)
        self.on(f"{pattern}?", lambda suffixes, args: limits.said(args, get(self.slot(suffixes))))

    def zero(self, seconds: float) -> None:
        """Measure the darkness: meanwhile nearly nothing is obeyed."""
        self._zero_until_ns = self.clock.now_ns() + round(seconds * 1e9)
        for slot in self.modules:
            self.begin(seconds, slot, CALIBRATING)

    def zeroing(self) -> bool:
        """Whether it is at that."""
        return self.clock.now_ns() < self._zero_until_ns

    # -- for carriers --------------------------------------------------------------------------------------

    def handle(self, message: bytes) -> bytes | None:
        """As any instrument; while it zeroes it refuses with -616."""
        if self.zeroing() and not all(_PATIENT.fullmatch(each) for each in message.split(b";")):
            with self.lock:
                self._exchange()
                self.error(-616)
            return None
        return super().handle(message)

    def preset_status(self) -> None:
        """STATus:PRESet: the slots' registers as well."""
        super().preset_status()
        for register in (*self._slot_operation.values(), *self._slot_questionable.values()):
            register.preset()

    def clear_status(self) -> None:
        """`*CLS`: the slots' events as well."""
        super().clear_status()
        for register in (*self._slot_operation.values(), *self._slot_questionable.values()):
            register.forget()

    # -- status --------------------------------------------------------------------------------------------

    def _in_range(self, slot: int) -> int:
        if slot not in self.slots:
            raise ScpiError(-114)
        return slot

    def _module(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        slot = self.slot(suffixes)
        return f"{self.identity.maker},{self.modules[slot]},{self.identity.serial},{self.identity.firmware}"

    def _slot_condition(self, slot: int) -> Callable[[], int]:
        def bits() -> int:
            found = self.condition(slot)
            for of, _, more in self._under_way():
                if of == slot:
                    found |= more
            return found

        return bits

    def _summary(self, registers: Mapping[int, StatusRegister]) -> int:
        return sum(1 << slot for slot, register in registers.items() if register.enable and register.summary())

    def _register(
        self, suffixes: Suffixes, whole: StatusRegister, registers: Mapping[int, StatusRegister]
    ) -> StatusRegister:
        if suffixes[0] == -1:
            return whole
        if self._in_range(suffixes[0]) not in registers:
            raise ScpiError(-303)
        return registers[suffixes[0]]
