"""Measuring the fibre of a link: its loss by source and meter, traces from both ends, and a reel put behind it."""

from __future__ import annotations

import hashlib

from drivers import sor
from drivers.quantity import Metre, Second
from harness.errors import BenchError
from harness.figures.path import ID, Settings
from harness.methods.slot import PLUG_S, read, witnesses
from harness.reading import Cell
from harness.rig import Rig

TRACE = (
    "direction",
    "stage",
    "asked",
    "pm",
    "pulse_ns",
    "index_ppm",
    "sampling_ps",
    "total",
    "serial",
    "sha256",
    "sound",
    "value",
)
EVENT = ("direction", "stage", "asked", "number", "code", "loss", "reflectance", "slope", "value")
POWER = ("pm", "plug", "tap", "value", "below", "source")


def _by_meter(rig: Rig) -> bool:
    """Whether the bench has a source here and a meter at both places."""
    return rig.has("source") and rig.reference is not None and bool(rig.receive) and bool(rig.launches)


def _parts(rig: Rig, settings: Settings) -> list[str]:
    ends = ("forward", "backward") if settings.both else ("forward",)
    found = ["setup"]
    if rig.has("otdr"):
        found += [f"trace link {end} {pm}" for end in ends for pm in settings.wavelengths_pm]
        if settings.reel:
            found.append("reel")
    if _by_meter(rig):
        found += [f"loss {pm}" for pm in settings.loss_pm]
    return found


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the instruments' own preparations."""
    total = 0.0
    for part in _parts(rig, settings):
        if part.startswith("trace"):
            total += settings.averaging_ms / 1000 + PLUG_S
        elif part == "reel":
            total += 3 * (settings.averaging_ms / 1000 + PLUG_S)
        elif part.startswith("loss"):
            total += 2 * settings.plugs * (settings.loss_averaging_ms / 1000 + PLUG_S)
    return total


def run(rig: Rig, settings: Settings) -> None:
    """Do what the bench can: traces with a reflectometer, loss with source and meter.

    Raises BenchError when it can do neither, and what the instruments raise.
    """
    parts = _parts(rig, settings)
    if len(parts) == 1:
        raise BenchError(
            "a reflectometer, or a source with a meter at both ends",
            "neither",
            "name otdr, or source, reference and receive under [fixture] in the bench file",
        )
    for name in rig.parts(ID, parts):
        words = name.split()
        if name == "setup":
            said = settings.model_dump_json()
            rig.record(ID, "setup", "text", ("link", "value"), [(rig.link, said)])
        elif words[0] == "trace":
            _trace(rig, settings, words[2], words[1], int(words[3]))
        elif words[0] == "reel":
            _reel(rig, settings)
        else:
            _loss(rig, settings, int(words[1]))


def _trace(rig: Rig, settings: Settings, direction: str, stage: str, pm: int) -> None:
    """One trace, kept as it came and read at once, so that no reader of files stands between it and a verdict."""
    end = "a" if direction == "forward" else "b"
    rig.patch(f"{rig.roles['otdr']}:out", f"{settings.fibre}:{end}")
    octets = rig.otdr.trace(
        Metre(pm * 1e-12),
        Metre(float(settings.span_m)),
        Second(settings.pulse_ns * 1e-9),
        Second(settings.averaging_ms / 1000),
    )
    name = f"otdr-{stage}-{direction}-{pm}-{rig.utc_ns()}.sor"
    rig.keep(name, octets)
    head, events = parsed(octets)
    by = [rig.roles["otdr"]]
    row = (direction, stage, pm, *head[:-1], hashlib.sha256(octets).hexdigest(), head[-1], len(events))
    rig.record(ID, "trace", "count", TRACE, [row], by, trace=name)
    rig.record(ID, "event", "ps", EVENT, [(direction, stage, pm, *each) for each in events], by, trace=name)


def parsed(octets: bytes) -> tuple[tuple[Cell, ...], list[tuple[Cell, ...]]]:
    """What rows hold of a .SOR file: (wavelength, pulse, index, sampling, total loss, serial, sound), events.

    Raises SorError.
    """
    found = sor.parse(octets)
    head = (
        found.wavelength_pm,
        found.pulse_ns,
        found.group_index_ppm,
        found.sampling_ps,
        None if found.total_loss_mdb is None else found.total_loss_mdb * 1000,
        found.serial,
        None if found.checksum is None else int(found.checksum),
    )
    events: list[tuple[Cell, ...]] = [
        (
            each.number,
            each.code,
            each.loss_mdb * 1000,
            each.reflectance_mdb * 1000 if each.reflectance_mdb else None,
            each.slope_mdb_km * 1000,
            each.time_ps,
        )
        for each in found.events
    ]
    return head, events


def _reel(rig: Rig, settings: Settings) -> None:
    """A trace before, with the reel behind the far end, and after: the end must move by the reel, and come back."""
    pm = min(settings.wavelengths_pm, key=lambda each: abs(each - settings.traffic_pm))
    far = f"{settings.fibre}:b"
    _trace(rig, settings, "forward", "before", pm)
    rig.patch(far, f"{settings.reel}:a")
    _trace(rig, settings, "forward", "reel", pm)
    rig.patch(far, settings.far or f"{settings.fibre}:open")
    _trace(rig, settings, "forward", "after", pm)


def _loss(rig: Rig, settings: Settings, pm: int) -> None:
    """The cord's own power, then what arrives at the far end; both as often as the cord is plugged."""
    reference, far = rig.reference, rig.receive[min(rig.receive)]
    if reference is None:
        return
    cord = f"launch-{rig.launches[0]}"
    rig.average(settings.loss_averaging_ms)
    rig.light(pm)
    for plug in range(settings.plugs):
        rig.clean(cord)
        rig.patch(cord, reference.label)
        value, source = read(rig, reference)
        row = (pm, plug, reference.label, value, rig.below(reference), source)
        rig.record(ID, "reference", "udBm", POWER, [row], witnesses(rig, reference))
    rig.patch(f"{settings.fibre}:b", far.label)
    for plug in range(settings.plugs):
        rig.patch(cord, f"{settings.fibre}:a")
        value, source = read(rig, far)
        rig.record(
            ID, "power", "udBm", POWER, [(pm, plug, far.label, value, rig.below(far), source)], witnesses(rig, far)
        )
    rig.dark()
