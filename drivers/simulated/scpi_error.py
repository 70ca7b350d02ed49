"""SCPI's error numbers, in the standard's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TEXTS: Final[Mapping[int, str]] = {
    0: "No error",
    -100: "Command error",
    -101: "Invalid character",
    -102: "Syntax error",
    -103: "Invalid separator",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -111: "Header separator error",
    -112: "Program mnemonic too long",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -120: "Numeric data error",
    -121: "Invalid character in number",
    -123: "Exponent too large",
    -124: "Too many digits",
    -128: "Numeric data not allowed",
    -131: "Invalid suffix",
    -134: "Suffix too long",
    -138: "Suffix not allowed",
    -141: "Invalid character data",
    -144: "Character data too long",
    -148: "Character data not allowed",
    -150: "String data error",
    -151: "Invalid string data",
    -158: "String data not allowed",
    -161: "Invalid block data",
    -168: "Block data not allowed",
    -171: "Invalid expression",
    -178: "Expression data not allowed",
    -200: "Execution error",
    -201: "Invalid while in local",
    -203: "Command protected",
    -211: "Trigger ignored",
    -212: "Arm ignored",
    -213: "Init ignored",
    -220: "Parameter error",
    -221: "Settings conflict",
    -222: "Data out of range",
    -223: "Too much data",
    -224: "Illegal parameter value",
    -225: "Out of memory",
    -226: "Lists not same length",
    -230: "Data corrupt or stale",
    -231: "Data questionable",
    -240: "Hardware error",
    -241: "Hardware missing",
    -256: "File name not found",
    -261: "Math error in expression",
    -284: "Program currently running",
    -286: "Program runtime error",
    -300: "Device-specific error",
    -310: "System error",
    -311: "Memory error",
    -321: "Out of memory",
    -330: "Self-test failed",
    -350: "Queue overflow",
    -360: "Communication error",
    -363: "Input buffer overrun",
    -365: "Time out error",
    -400: "Query error",
    -410: "Query INTERRUPTED",
    -420: "Query UNTERMINATED",
    -430: "Query DEADLOCKED",
    -440: "Query UNTERMINATED after indefinite response",
}
"""SCPI-99 volume 2, 21.8. A maker who means something else by a number says so in his model's ``texts``."""

LONGEST: Final = 255
"""Characters of an error's text, SCPI-99 volume 2, 21.8.1."""


class ScpiError(Exception):
    """What a handler raises instead of answering: it goes into the error queue and the event status register."""

    def __init__(self, code: int, info: str = "") -> None:
        self.code = code
        """Negative: the standard's; positive: the maker's own."""
        self.info = info
        """What the maker adds; for a number that has no words yet, the words."""
        super().__init__(code, info)


def words(code: int, info: str, texts: Mapping[int, str] = TEXTS) -> str:
    """Text of an error in the queue: the number's words and, after ';', the maker's own."""
    known = texts.get(code, "")
    text = f"{known};{info}" if known and info else known or info or "Device-specific error"
    return "".join(each if each.isprintable() and each.isascii() else " " for each in text.replace('"', "'"))[:LONGEST]


def event_bit(code: int) -> int:
    """The bit of the standard event status register that the number's class sets (SCPI-99 volume 2, 21.8.2)."""
    for class_, bit in ((-100, 32), (-200, 16), (-400, 4)):
        if class_ - 100 < code <= class_:
            return bit
    return 0 if code == 0 else 8  # -3xx, all positive ones, and the maker's -6xx: N77xx never sets bit 6
