"""Watching the neighbours: their meters record while one path is taken apart and made again."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.quantity import Second
from harness.figures.hitless import ID, Settings
from harness.methods.launch import PLUG_S, Launch
from harness.methods.lot import lots, rounds
from harness.rig import Rig
from harness.trace import octets

COLUMNS = ("in", "out", "neighbour_in", "neighbour_out", "period_ns", "lead", "acted_ns", "tap", "trace", "value")


def neighbours(pairs: Mapping[int, int], ingress: int) -> list[tuple[int, int]]:
    """Paths of a set whose ingress or egress lies beside the ones of a path."""
    egress = pairs[ingress]
    return [
        (i, o) for i, o in sorted(pairs.items()) if i != ingress and (abs(i - ingress) == 1 or abs(o - egress) == 1)
    ]


def _plan(rig: Rig, settings: Settings) -> dict[str, tuple[dict[int, int], int, int]]:
    """Part → (connections, the ingress whose path is switched, the ingress to be lit; 0: all are)."""
    found: dict[str, tuple[dict[int, int], int, int]] = {}
    if rig.together:
        for number, pairs in enumerate(lots(rig, settings.lots, settings.seed)):
            for ingress in pairs:
                if neighbours(pairs, ingress):
                    found[f"set {number} {ingress}-{pairs[ingress]}"] = (pairs, ingress, 0)
        return found
    for pairs in rounds(rig.launches, sorted(rig.receive))[: settings.lots]:
        # one neighbour is lit at a time; the others of it are switched
        for lit in pairs:
            for ingress in pairs:
                if lit in dict(neighbours(pairs, ingress)):
                    found[f"lit {lit} {ingress}-{pairs[ingress]}"] = (pairs, ingress, lit)
    return found


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the records' transfer."""
    each = settings.settle_ms / 1000 + settings.samples * settings.period_us / 1e6
    moved = 0.0 if rig.together else PLUG_S * len(rig.launches)
    return moved + len(_plan(rig, settings)) * each


def run(rig: Rig, settings: Settings) -> None:
    """Connect a set, begin the records, take one path apart, make it again, fetch the records.

    Raises BenchError for a meter that does not log, and what the instruments raise.
    """
    launch = Launch(rig)
    plan = _plan(rig, settings)
    for part in rig.parts(ID, list(plan)):
        pairs, ingress, lit = plan[part]
        if lit:
            launch.to(lit)
        beside = [(i, o) for i, o in neighbours(pairs, ingress) if lit in {0, i}]
        launch.light(settings.wavelength_pm)
        rig.crossconnect.only(pairs)
        rig.clock.sleep(settings.settle_ms / 1000)
        # channels of one meter begin together
        meters: dict[str, list[int]] = {}
        for _, egress in beside:
            meters.setdefault(rig.receive[egress].name, []).append(rig.receive[egress].channel)
        for name, channels in meters.items():
            tap = next(rig.receive[o] for _, o in beside if rig.receive[o].name == name)
            rig.logger(tap).start_log(channels, settings.samples, Second(settings.period_us / 1e6))
        running = rig.clock.now_ns()
        rig.clock.sleep(settings.lead_ms / 1000)
        # so many samples were certainly taken before the first command left, whenever the record began
        lead = (rig.clock.now_ns() - running) // (settings.period_us * 1000) - 1
        rig.crossconnect.disconnect([ingress])
        rig.clock.sleep(settings.hold_ms / 1000)
        rig.crossconnect.connect({ingress: pairs[ingress]})
        acted = rig.clock.now_ns() - running
        for i, o in beside:
            tap = rig.receive[o]
            name = f"{ID}-{ingress}-{pairs[ingress]}-{i}-{o}-{rig.utc_ns()}.f32"
            rig.keep(name, octets(rig.logger(tap).log(tap.channel)))
            row = (
                ingress,
                pairs[ingress],
                i,
                o,
                settings.period_us * 1000,
                lead,
                acted,
                tap.label,
                name,
                settings.samples,
            )
            rig.record(ID, "log", "count", COLUMNS, [row], [tap, rig.roles["dut"]], trace=name)
