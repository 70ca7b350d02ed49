"""Gathering what other gear says of the link's delay: the file of ODUk readings, as it is, and row by row."""

from __future__ import annotations

import hashlib

from harness import odu
from harness.errors import BenchError
from harness.figures.reconcile import ID, Settings
from harness.rig import Rig

COLUMNS = ("link", "oduk", "time", "line", "frames", "half", "value")


def seconds(rig: Rig, settings: Settings) -> float:
    """It takes no time worth telling."""
    return 0.0


def run(rig: Rig, settings: Settings) -> None:
    """Journal the readings that the bench's file holds; without one there is nothing to gather.

    Raises BenchError when the file cannot be read, or names every fault in it.
    """
    for _ in rig.parts(ID, ["odu"]):
        path = rig.odu_delays
        if path is None:
            rig.step("odu-delays", "none", "the bench names no file of ODUk delays")
            continue
        try:
            octets = path.read_bytes()
            text = octets.decode("utf-8")
        except (OSError, UnicodeDecodeError) as why:
            raise BenchError(f"ODUk delay readings in {path}", str(why), "export them as CSV in UTF-8") from why
        found = odu.parse(text)
        name = f"odu-delays-{hashlib.sha256(octets).hexdigest()[:12]}-{rig.utc_ns()}.csv"
        rig.keep(name, octets)
        rows = [(r.link, r.oduk, r.time, r.line, r.frames, r.half_ps, r.value_ps) for r in found]
        rig.record(ID, "odu", "ps", COLUMNS, rows, trace=name)
