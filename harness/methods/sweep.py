"""A Sweep: paths read while one property of the light changes, with the same done for their launch cords alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.errors import BenchError
from harness.methods.launch import PATH, PLUG_S, Launch
from harness.methods.lot import named
from harness.reading import Cell
from harness.rig import Rig


def cords(launch: Launch, lots: Sequence[Mapping[int, int]]) -> list[int]:
    """Launch cords that light the paths of these lots."""
    return sorted({launch.cord(ingress) for pairs in lots for ingress in pairs})


def seconds(rig: Rig, lots: Sequence[Mapping[int, int]], points: int, averaging_ms: int, settle_ms: int) -> float:
    """Time it will take, s, without the cross-connect's own switching."""
    launch = Launch(rig)
    alone = len(cords(launch, lots)) * (2 * PLUG_S + points * averaging_ms / 1000)
    moved = 0.0 if rig.together else PLUG_S
    return alone + len(lots) * (moved + (settle_ms + points * averaging_ms) / 1000)


def run(
    rig: Rig,
    procedure: str,
    along: str,
    points: Sequence[int],
    turn: Callable[[Launch, int], None],
    lots: Sequence[Mapping[int, int]],
    averaging_ms: int,
    settle_ms: int,
) -> None:
    """Read every launch cord alone, then every lot, at each point; ``turn`` brings the light to one.

    Raises BenchError without a reference channel, and what the instruments raise.
    """
    if rig.reference is None:
        raise BenchError("a reference channel", "none", "name one under [fixture] reference in the bench file")
    place, launch = rig.reference, Launch(rig)
    rig.average(averaging_ms)
    alone = {f"cord {cord}": cord for cord in cords(launch, lots)}
    behind = {f"lot {number} {named(pairs)}": pairs for number, pairs in enumerate(lots)}
    for part in rig.parts(procedure, [*alone, *behind]):
        if part in alone:
            cord = alone[part]
            rig.patch(f"launch-{cord}", place.label)
            found: list[tuple[Cell, ...]] = []
            for point in points:
                turn(launch, point)
                read, source = launch.read([place])
                found.append((cord, point, place.label, read[place.label], source))
            rig.record(procedure, "reference", "udBm", ("cord", along, "tap", "value", "source"), found, [place])
            launch.home(cord)
            continue
        pairs = behind[part]
        for ingress in pairs:
            launch.to(ingress)
        rig.crossconnect.only(dict(pairs))
        rig.clock.sleep(settle_ms / 1000)
        found = []
        for point in points:
            turn(launch, point)
            found += [(*row, point) for row in launch.paths(pairs)]
        rig.record(procedure, "power", "udBm", (*PATH, along), found, [rig.receive[e] for e in pairs.values()])
