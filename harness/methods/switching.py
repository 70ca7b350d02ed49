"""Timing the switching: a meter records by itself while the cross-connect is told to connect."""

from __future__ import annotations

from drivers.quantity import Second
from harness.figures.switching import ID, Settings
from harness.methods.launch import PLUG_S, Launch
from harness.methods.lot import lots
from harness.rig import Rig
from harness.trace import octets

COLUMNS = (
    "in",
    "out",
    "repeat",
    "period_ns",
    "sent_ns",
    "exchange_ns",
    "begun_ns",
    "running_ns",
    "tap",
    "trace",
    "value",
)


def _paths(rig: Rig, settings: Settings) -> list[tuple[int, int]]:
    return [pair for pairs in lots(rig, settings.lots, settings.seed) for pair in pairs.items()]


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the record's transfer."""
    each = (2 * settings.settle_ms + settings.averaging_ms) / 1000 + settings.samples * settings.period_us / 1e6
    moved = 0.0 if rig.together else PLUG_S * len(rig.launches)
    return moved + len(_paths(rig, settings)) * settings.repeats * each


def run(rig: Rig, settings: Settings) -> None:
    """Take the path apart, begin the record, connect, fetch the record, read what the light came to.

    All times are of one clock, ns since the record was asked for. Raises BenchError for a meter that does not log,
    and what the instruments raise.
    """
    launch = Launch(rig)
    plan = {
        f"path {ingress}-{egress} repeat {repeat}": (ingress, egress, repeat)
        for ingress, egress in _paths(rig, settings)
        for repeat in range(1, settings.repeats + 1)
    }
    rig.average(settings.averaging_ms)
    for part in rig.parts(ID, list(plan)):
        ingress, egress, repeat = plan[part]
        tap = rig.receive[egress]
        logger = rig.logger(tap)
        launch.to(ingress)
        launch.light(settings.wavelength_pm)
        rig.crossconnect.clear()
        rig.clock.sleep(settings.settle_ms / 1000)
        started = rig.clock.now_ns()
        # how long the cross-connect takes to be asked and to be told; some ask what is connected before they change it
        for _ in range(2):
            rig.crossconnect.connections()
        exchange = rig.clock.now_ns() - started
        begun = rig.clock.now_ns()
        logger.start_log([tap.channel], settings.samples, Second(settings.period_us / 1e6))
        running = rig.clock.now_ns()
        rig.clock.sleep(settings.lead_ms / 1000)
        sent = rig.clock.now_ns()
        rig.crossconnect.connect({ingress: egress})
        name = f"{ID}-{ingress}-{egress}-{repeat}-{rig.utc_ns()}.f32"
        rig.keep(name, octets(logger.log(tap.channel)))
        rig.clock.sleep(settings.settle_ms / 1000)
        steady = rig.read([tap])[tap.label]
        row = (
            ingress,
            egress,
            repeat,
            settings.period_us * 1000,
            sent - begun,
            exchange,
            0,
            running - begun,
            tap.label,
            name,
            steady,
        )
        rig.record(ID, "log", "ns", COLUMNS, [row], [tap, rig.roles["dut"]], trace=name)
