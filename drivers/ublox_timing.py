"""u-blox timing receivers (ZED-F9T, LEA-M8T and their kin) at a serial port: the pulse they give, what they say of it.

Messages are those of the maker's interface descriptions, as pyubx2 has them.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Self

from pyubx2 import POLL, UBXMessage

from drivers.capability import Pulse, Safe
from drivers.errors import (
    InstrumentFaultError,
    NoReadingError,
    NotTakenError,
    PortOpenError,
    PortReplyError,
    PortTimeoutError,
    SettingError,
)
from drivers.opener import Opener
from drivers.port import Identity, Wire
from drivers.sentences import ANSWERS, KINDS, Cutter, Sentence
from drivers.serial_port import SerialStream, device
from drivers.stream import Stream
from drivers.ubx import ANTENNA, FRESH_S, NO_FIX, SLOW_S, Facts, facts, fields, pulse

KEPT: Final = 60
"""Announced pulses that are kept: one minute."""
WAIT_S: Final = 3.0
"""Time for an answer, and for a pulse to be announced: they come once a second."""
LISTEN_S: Final = 1.3
"""A whole second of sentences with room."""
GRIDS: Final[Mapping[str, int]] = {"UTC": 0, "GPS": 1, "GLONASS": 2, "BDS": 3, "Galileo": 4}
"""CFG-TP-TIMEGRID_TP1."""
CABLE_NS: Final = (-32_767, 32_767)
SURVEY_S: Final = (60, 7 * 86_400)
SURVEY_MM: Final = (1, 100_000)
RAM: Final = 1
SPOKEN: Final = ("NAV_PVT", "NAV_STATUS", "NAV_TIMEGPS", "NAV_TIMEUTC", "NAV_TIMELS", "TIM_TP", "MON_RF")
"""What `speak` has said once a second."""

UNCONFIRMED: Final = (
    "no command of the u-blox driver has been tried on a real receiver",
    "u-blox: receivers before generation 9 have no CFG-VALSET; they are set with the maker's own program",
)

_REFUSED: Final = 0x0500
_ALL: Final = {**KINDS, **ANSWERS}
Where = Literal["USB", "UART1", "UART2"]


class UbloxTiming:
    """A receiver that is listened to while it is asked; nothing in it is set unless a method says so.

    Nobody listens between two calls: what came meanwhile is thrown away, as its age cannot be told.
    """

    unconfirmed: Sequence[str] = UNCONFIRMED

    def __init__(self, stream: Stream, *, log: Callable[[Wire], None] | None = None) -> None:
        """Ask what it is. Raises PortOpenError when it does not say; the stream is closed then."""
        self._stream = stream
        self._log = log
        self._lock = threading.RLock()
        self._cutter = Cutter(_ALL)
        self._latest: dict[str, Sentence] = {}
        self._answers: list[Sentence] = []
        self._pulses: deque[Pulse] = deque(maxlen=KEPT)
        try:
            self._identity = self._introduced()
        except BaseException:
            stream.close()
            raise

    @classmethod
    def opened(cls, how: Opener) -> Self:
        """At a serial port ("/dev/serial/by-id/…", "ASRL/dev/ttyACM0::INSTR") or a TCP port that passes one on.

        The option `baud` (38400) is that of a UART. Raises PortOpenError, SettingError.
        """
        own = how.own
        baud = own.pop("baud", 38_400)
        if own or isinstance(baud, bool) or not isinstance(baud, int) or not 300 <= baud <= 4_000_000:
            found = ", ".join(own) or f"baud = {baud!r}"
            raise SettingError("the option baud of ublox-timing, 300 to 4000000", found, "correct [instruments]")
        try:
            device(how.resource)
        except ValueError:
            return cls(how.stream(), log=how.log)
        return cls(how.stream() if how.in_process else SerialStream(how.resource, baud=baud), log=how.log)

    @property
    def identity(self) -> Identity:
        """As MON-VER and SEC-UNIQID say; a receiver that does not tell its number has none here."""
        return self._identity

    def close(self) -> None:
        """Give the port back; safe to call twice."""
        self._stream.close()

    def safe_state(self) -> Safe:
        """It emits no light; its pulse goes on."""
        return Safe(confirmed=True, said="a timing receiver emits no light")

    # -- what it says ------------------------------------------------------------------------------------------

    def facts(self) -> Facts:
        """What it says now, after listening for a second. Raises PortReplyError, PortLostError."""
        with self._lock:
            self._afresh()
            self._listen(LISTEN_S, lambda: False)
            return self._facts()

    def valid(self) -> bool | None:
        """Whether time, fix and pulse are good now; None: it says nothing fresh of one of them. Raises as `facts`."""
        said = self.facts()
        locked = None if said.pulse is None else said.pulse.locked
        fix = None if said.fix is None else said.fix not in NO_FIX and said.fix_ok is not False
        broken = any(ANTENNA.get(each) in {"open", "short"} for each in said.antennas)
        verdicts = (said.time_valid, fix, locked, not broken)
        return False if False in verdicts else None if None in verdicts else True

    def next_pulse(self) -> Pulse:
        """Wait for the next announcement of a pulse; the pulse follows within the second.

        Raises NoReadingError when none comes in 3 s, PortLostError.
        """
        with self._lock:
            self._afresh()
            before = self._latest.get("TIM-TP")
            if not self._listen(WAIT_S, lambda: self._latest.get("TIM-TP") is not before):
                raise NoReadingError(
                    f"a pulse announced (UBX-TIM-TP) within {WAIT_S:g} s",
                    f"none from {self._stream.resource}",
                    "enable UBX-TIM-TP once a second on this port (`speak`), look at the antenna",
                )
            return self._pulses[-1]

    def pulses(self) -> Sequence[Pulse]:
        """Those announced last while it was listened to, oldest first."""
        with self._lock:
            return tuple(self._pulses)

    # -- what is set, in its volatile memory -------------------------------------------------------------------

    def speak(self, where: Where) -> None:
        """Have it say once a second, on one of its ports, all that this driver understands, and read that back.

        Raises InstrumentFaultError when it refuses, NotTakenError, PortTimeoutError.
        """
        self._set({f"CFG_MSGOUT_UBX_{each}_{where}": 1 for each in SPOKEN})

    def set_grid(self, grid: str) -> None:
        """Which time the pulse marks: UTC, GPS, GLONASS, BDS or Galileo. Raises SettingError and as `speak`.

        Both sites of a link want the same: different UTCs are up to hundreds of ns apart.
        """
        if grid not in GRIDS:
            raise SettingError(f"a grid among {', '.join(GRIDS)}", repr(grid), "take one that both sites receive")
        self._set({"CFG_TP_TIMEGRID_TP1": GRIDS[grid]})

    def set_cable_delay(self, nanoseconds: int) -> None:
        """Delay of antenna and cable that it takes off, ns. Raises SettingError and as `speak`."""
        self._set({"CFG_TP_ANT_CABLEDELAY": _whole("ns of cable delay", nanoseconds, CABLE_NS)})

    def survey(self, seconds: int = 86_400, millimetres: int = 2000) -> None:
        """Begin to survey its position: at least so long, and until it knows it so well; then it holds it fixed.

        Raises SettingError and as `speak`. `facts` tells how long the survey has run.
        """
        self._set(
            {
                "CFG_TMODE_SVIN_MIN_DUR": _whole("seconds of a survey", seconds, SURVEY_S),
                "CFG_TMODE_SVIN_ACC_LIMIT": _whole("mm of a survey", millimetres, SURVEY_MM) * 10,
                "CFG_TMODE_MODE": 1,
            }
        )

    def _set(self, values: Mapping[str, int]) -> None:
        with self._lock:
            self._afresh()
            self._say(UBXMessage.config_set(RAM, 0, list(values.items())))
            if not self._acknowledged(b"\x06\x8a"):
                raise InstrumentFaultError(_REFUSED, "ACK-NAK", f"CFG-VALSET {', '.join(values)}")
            self._say(UBXMessage.config_poll(0, 0, list(values)))
            found = self._answer("CFG-VALGET")
            said = {key: getattr(found, key, None) for key in values}
            if said != values:
                odd = ", ".join(f"{key} = {said[key]}" for key in values if said[key] != values[key])
                raise NotTakenError(f"{', '.join(f'{k} = {v}' for k, v in values.items())}", odd, "check the firmware")

    def _acknowledged(self, what: bytes) -> bool:
        """Whether a message of a class and id was taken. Raises PortTimeoutError."""
        verdicts: list[bool] = []

        def decided() -> bool:
            verdicts.extend(
                each.kind == "ACK-ACK"
                for each in self._answers
                if each.kind in {"ACK-ACK", "ACK-NAK"} and each.octets[6:8] == what
            )
            return bool(verdicts)

        if not self._listen(WAIT_S, decided):
            raise self._late("an acknowledgement")
        return verdicts[0]

    def _answer(self, kind: str) -> Any:
        """The named fields of the answer of a kind. Raises PortTimeoutError, PortReplyError."""
        if not self._listen(WAIT_S, lambda: any(each.kind == kind for each in self._answers)):
            raise self._late(kind)
        return self._read(next(each for each in self._answers if each.kind == kind))

    # -- octets ------------------------------------------------------------------------------------------------

    def _introduced(self) -> Identity:
        self._afresh()
        self._say(UBXMessage("SEC", "SEC-UNIQID", POLL))
        self._say(UBXMessage("MON", "MON-VER", POLL))
        if not self._listen(WAIT_S, lambda: "MON-VER" in self._latest):
            raise PortOpenError(
                f"a u-blox receiver at {self._stream.resource} that answers MON-VER",
                f"{self._cutter.octets} octets, {self._cutter.used} of them in sentences",
                "check its power, the baud rate, and that UBX is enabled both ways on this port",
            )
        # the number was asked for first: a receiver that knows it has said it by now
        unique = next((each for each in self._answers if each.kind == "SEC-UNIQID"), None)
        number = "" if unique is None else unique.octets[10:-2].hex().upper()
        said = self._read(self._latest["MON-VER"])
        texts = [_text(said.swVersion), _text(said.hwVersion)]
        extensions = [_text(value) for name, value in sorted(vars(said).items()) if name.startswith("extension_")]
        kept = {key: rest for key, equals, rest in (each.partition("=") for each in extensions) if equals}
        model = kept.get("MOD", f"hardware {texts[1]}")
        if model.upper().startswith("SIM-") and not number.startswith("SIM-"):
            number = f"SIM-{number or '0'}"
        return Identity("u-blox", model, number, kept.get("FWVER", texts[0]))

    def _afresh(self) -> None:
        """Throw away what lay there: it is as old as the last call."""
        while chunk := self._stream.receive(self._stream.now_ns()):
            self._note("in", chunk, "drained")
        self._cutter = Cutter(_ALL)
        self._answers = []

    def _listen(self, within_s: float, done: Callable[[], bool]) -> bool:
        """Hear sentences until something is so; False: the time is over."""
        deadline = self._stream.now_ns() + round(within_s * 1e9)
        while not done():
            if self._stream.now_ns() >= deadline:
                return False
            chunk = self._stream.receive(deadline)
            if chunk:
                self._note("in", chunk)
            for sentence in self._cutter.feed(chunk, self._now()):
                self._take(sentence)
        return True

    def _take(self, sentence: Sentence) -> None:
        if sentence.kind in {name for name, _ in ANSWERS.values()}:
            self._answers.append(sentence)
            return
        try:
            if sentence.kind == "TIM-TP":
                self._pulses.append(pulse(sentence))
            else:
                facts([(0.0, sentence)])
        except ValueError:  # framed and summed right, and still no such message
            return
        self._latest[sentence.kind] = sentence

    def _facts(self) -> Facts:
        now_s = self._now()
        heard = [(now_s - each.at_s, each) for each in self._latest.values()]
        kept = [(age_s, each) for age_s, each in heard if age_s <= (FRESH_S if each.kind == "TIM-TP" else SLOW_S)]
        try:
            return facts(kept)
        except ValueError as why:
            raise PortReplyError("what a receiver can say", str(why), "ask again; check the firmware") from why

    def _read(self, sentence: Sentence) -> Any:
        try:
            return fields(sentence)
        except ValueError as why:
            raise PortReplyError(f"a {sentence.kind}", str(why), "check the firmware") from why

    def _say(self, message: UBXMessage) -> None:
        octets = bytes(message.serialize())
        self._note("out", octets)
        if not self._stream.send(octets, self._stream.now_ns() + round(WAIT_S * 1e9)):
            raise self._late("a receiver that takes octets")

    def _late(self, wanted: str) -> PortTimeoutError:
        return PortTimeoutError(
            f"{wanted} from {self._stream.resource} within {WAIT_S:g} s",
            "none",
            "check that UBX is enabled both ways on this port",
        )

    def _note(self, direction: Literal["out", "in"], octets: bytes, remark: str = "") -> None:
        if self._log is not None:
            self._log(Wire(self._stream.now_ns(), time.time_ns(), direction, octets, remark))

    def _now(self) -> float:
        return self._stream.now_ns() / 1e9


def _whole(what: str, value: int, within: tuple[int, int]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not within[0] <= value <= within[1]:
        raise SettingError(f"{within[0]} to {within[1]} {what}", repr(value), "see the interface description")
    return value


def _text(octets: bytes) -> str:
    return "".join(chr(each) if 0x21 <= each < 0x7F else " " for each in octets.split(b"\0")[0]).strip()
