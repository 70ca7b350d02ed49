"""Cutting both feeds: paths read before and after, the light recorded meanwhile, the device asked what it holds."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.errors import InstrumentError
from drivers.quantity import Second
from harness.figures.persistence import ID, Settings
from harness.methods.launch import PATH, PLUG_S, Launch
from harness.methods.lot import lots, named
from harness.rig import Rig, Tap
from harness.trace import octets

LOG = ("in", "out", "period_ns", "lead", "tap", "trace", "value")
ANSWERS_S = 120.0
"""So long a device may take after it is up until it says what is connected."""
PAUSE_S = 2.0


def _plan(rig: Rig, settings: Settings) -> dict[str, dict[int, int]]:
    return {f"lot {number} {named(pairs)}": pairs for number, pairs in enumerate(lots(rig, 1, settings.seed))}


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s."""
    each = settings.samples * settings.period_us / 1e6 + (2 * settings.settle_ms + 2 * settings.averaging_ms) / 1000
    moved = 0.0 if rig.together else PLUG_S
    return len(_plan(rig, settings)) * (each + moved)


def run(rig: Rig, settings: Settings) -> None:
    """Connect, read, record, cut the feeds, give them back, fetch the record, ask, read. Nothing is restored by us.

    Raises BenchError without a hand, and what the instruments raise.
    """
    hand = rig.hand
    rig.average(settings.averaging_ms)
    launch = Launch(rig)
    plan = _plan(rig, settings)
    for part in rig.parts(ID, list(plan)):
        pairs = plan[part]
        for ingress in pairs:
            launch.to(ingress)
        launch.light(settings.wavelength_pm)
        rig.crossconnect.only(pairs)
        rig.clock.sleep(settings.settle_ms / 1000)
        taps = [rig.receive[egress] for egress in pairs.values()]
        rig.record(ID, "before", "udBm", PATH, launch.paths(pairs), taps)
        ingress = min(pairs)
        watched = rig.receive[pairs[ingress]]
        logger = rig.logger(watched)
        logger.start_log([watched.channel], settings.samples, Second(settings.period_us / 1e6))
        running = rig.clock.now_ns()
        rig.clock.sleep(settings.lead_ms / 1000)
        lead = (rig.clock.now_ns() - running) // (settings.period_us * 1000) - 1
        hand.power_cycle(rig.dut, Second(settings.off_ms / 1000))
        rig.step("power", rig.dut, f"both feeds cut for {settings.off_ms / 1000:g} s")
        _keep(rig, settings, watched, (ingress, pairs[ingress]), lead, octets(logger.log(watched.channel)))
        said = _said(rig)
        listed = [(i, o, 1 if said.get(i) == o else 0) for i, o in pairs.items()]
        rig.record(ID, "listed", "count", ("in", "out", "value"), listed, [rig.roles["dut"]])
        rig.clock.sleep(settings.settle_ms / 1000)
        rig.record(ID, "after", "udBm", PATH, launch.paths(pairs), taps)


def _keep(rig: Rig, settings: Settings, tap: Tap, path: tuple[int, int], lead: int, kept: bytes) -> None:
    name = f"{ID}-{path[0]}-{path[1]}-{rig.utc_ns()}.f32"
    rig.keep(name, kept)
    row = (*path, settings.period_us * 1000, lead, tap.label, name, settings.samples)
    rig.record(ID, "log", "count", LOG, [row], [tap], trace=name)


def _said(rig: Rig) -> Mapping[int, int]:
    """What the device says is connected, asked until it answers: its session broke with its feeds."""
    deadline = rig.clock.now_ns() + round(ANSWERS_S * 1e9)
    while True:
        try:
            return rig.crossconnect.connections()
        except InstrumentError:
            if rig.clock.now_ns() > deadline:
                raise
            rig.clock.sleep(PAUSE_S)
