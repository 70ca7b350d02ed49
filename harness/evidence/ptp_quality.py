"""What a grandmaster says of its own time, by clockClass with clockAccuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ACCURACY_NS: Final = {
    0x20: 25,
    0x21: 100,
    0x22: 250,
    0x23: 1_000,
    0x24: 2_500,
    0x25: 10_000,
    0x26: 25_000,
    0x27: 100_000,
    0x28: 250_000,
    0x29: 1_000_000,
    0x2A: 2_500_000,
    0x2B: 10_000_000,
    0x2C: 25_000_000,
    0x2D: 100_000_000,
    0x2E: 250_000_000,
    0x2F: 1_000_000_000,
    0x30: 10_000_000_000,
}
"""clockAccuracy of IEEE 1588 ("accurate to within"), ns: as several implementations carry it, the standard's own text
not seen. Any other code, 0xFE ("unknown") first, bounds nothing."""

_1588: Final = "IEEE 1588 by secondary sources"
_8275: Final = "ITU-T G.8275.1, unconfirmed"


@dataclass(frozen=True, slots=True)
class ClassMeaning:
    """What a grandmaster says of its time by its clockClass."""

    standing: str
    """"traceable", "degraded" (out of its holdover specification), "arbitrary" (no TAI) or "unstated"."""
    words: str
    origin: str
    """Who says so, and whether the source itself was seen."""


CLASSES: Final = {
    6: ClassMeaning("traceable", "locked to a primary reference", _1588),
    7: ClassMeaning("traceable", "in holdover within its specification", _1588),
    13: ClassMeaning("arbitrary", "locked to an application's own time", _1588),
    14: ClassMeaning("arbitrary", "an application's own time in holdover", _1588),
    52: ClassMeaning("degraded", "was class 7, out of its holdover specification (A)", _1588),
    58: ClassMeaning("degraded", "was class 14, out of its holdover specification (A)", _1588),
    135: ClassMeaning("traceable", "boundary clock in holdover within its specification", _8275),
    140: ClassMeaning("degraded", "out of its holdover specification, category 1 frequency", _8275),
    150: ClassMeaning("degraded", "out of its holdover specification, category 2 frequency", _8275),
    160: ClassMeaning("degraded", "out of its holdover specification, category 3 frequency", _8275),
    165: ClassMeaning("degraded", "boundary clock out of its holdover specification", _8275),
    187: ClassMeaning("degraded", "was class 7, out of its holdover specification (B)", _1588),
    193: ClassMeaning("degraded", "was class 14, out of its holdover specification (B)", _1588),
    248: ClassMeaning("unstated", "default: names no source of its time", _1588),
    255: ClassMeaning("unstated", "a clock that is only ever a slave", _1588),
}
UNEXPLAINED: Final = ClassMeaning("unstated", "a class that nobody explained", "no source")
