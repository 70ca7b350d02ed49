"""Timing a restoration: a meter records while somebody cuts the line; the record tells how long it was dark."""

from __future__ import annotations

from drivers.quantity import Second
from harness.figures.wss_restoration import ID, Settings
from harness.methods.slot import PLUG_S, Cords, passing
from harness.rig import Rig
from harness.trace import octets

COLUMNS = ("repeat", "period_ns", "lead", "below", "value")
"""``value``: how many samples the trace holds."""


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s."""
    return settings.repeats * (settings.samples * settings.period_us / 1e6 + settings.settle_ms / 1000 + 2 * PLUG_S)


def run(rig: Rig, settings: Settings) -> None:
    """Record, cut, wait for the record's end, make the line whole. Raises BenchError for a meter that does not log."""
    cords = Cords(rig, settings.ingress, settings.egress)
    cords.launch(settings.way.ingress)
    tap = cords.tap(settings.way.egress)
    logger = rig.logger(tap)
    lead = max(1, settings.lead_ms * 1000 // settings.period_us * 9 // 10)
    for name in rig.parts(ID, [f"cut {number}" for number in range(1, settings.repeats + 1)]):
        rig.light(settings.slot.pm)
        with passing(rig, ID, settings, [([(settings.way, settings.slot)], tap)]):
            logger.start_log([tap.channel], settings.samples, Second(settings.period_us / 1e6))
            rig.clock.sleep(settings.lead_ms / 1000)
            rig.hand.cut(settings.line, True)
            rig.step("cut", settings.line)
            try:
                record = logger.log(tap.channel)
            finally:
                rig.hand.cut(settings.line, False)
                rig.step("whole", settings.line)
        number = int(name.split()[1])
        kept = f"restoration-{number}-{rig.utc_ns()}.f32"
        rig.keep(kept, octets(record))
        row = (number, settings.period_us * 1000, lead, rig.below(tap), len(record))
        rig.record(ID, "log", "count", COLUMNS, [row], [tap], trace=kept)
    cords.home()
