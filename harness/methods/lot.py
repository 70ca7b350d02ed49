"""A Lot: connections that are measured together; which ones is planned from a seed, never chosen on the spot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from harness.errors import BenchError
from harness.rig import Rig


def rounds(ingresses: Sequence[int], egresses: Sequence[int]) -> list[dict[int, int]]:
    """Connections of each round: every ingress meets every egress once, and no port stands in a round twice.

    A cyclic Latin square, n rounds for the longer of the two sides n.
    """
    size = max(len(ingresses), len(egresses))
    return [
        {
            ingress: egresses[(at + shift) % size]
            for at, ingress in enumerate(ingresses)
            if (at + shift) % size < len(egresses)
        }
        for shift in range(size)
    ]


def shuffled(count: int, seed: int) -> list[int]:
    """Numbers from 0 in an order that the seed gives: the same on every machine and in every year."""
    return sorted(range(count), key=lambda number: hashlib.sha256(f"{seed}/{number}".encode()).digest())


def _square(rig: Rig) -> list[dict[int, int]]:
    if not rig.launches or not rig.receive:
        raise BenchError(
            "launch cords and receiving channels",
            f"{len(rig.launches)} and {len(rig.receive)}",
            "name ingress ports under [dut], receiving channels under [fixture] receive",
        )
    return [pairs for pairs in rounds(rig.launches, sorted(rig.receive)) if pairs]


def lots(rig: Rig, count: int, seed: int) -> list[dict[int, int]]:
    """So many rounds of the Latin square, chosen by the seed; a round of a square bench has every port in it.

    Where launch cords are lit one at a time, each path of them is a lot by itself. Raises BenchError.
    """
    square = _square(rig)
    chosen = [square[number] for number in shuffled(len(square), seed)[:count]]
    # with more ports on one side than on the other a round leaves some out; the next ones bring them in
    for number in shuffled(len(square), seed)[count:]:
        missing = set(rig.launches) - {i for pairs in chosen for i in pairs}
        missing_out = set(rig.receive) - {o for pairs in chosen for o in pairs.values()}
        if not missing and not missing_out:
            break
        chosen.append(square[number])
    return apart(rig, chosen)


def apart(rig: Rig, chosen: Sequence[Mapping[int, int]]) -> list[dict[int, int]]:
    """The same connections as they can be measured together on this bench."""
    if rig.together:
        return [dict(pairs) for pairs in chosen]
    # by ingress, so that the one cord is plugged as seldom as can be
    return [{i: o} for i, o in sorted((i, o) for pairs in chosen for i, o in pairs.items())]


def everything(rig: Rig) -> list[dict[int, int]]:
    """Every path of the bench once. Raises BenchError."""
    return apart(rig, _square(rig))


def elsewhere(rig: Rig, pairs: Mapping[int, int]) -> dict[int, int]:
    """Connections of the same ports in which none of the pairs stands; empty when there is nowhere else to go."""
    ingresses, egresses = list(pairs), list(pairs.values())
    if len(ingresses) > 1:
        return dict(zip(ingresses, egresses[1:] + egresses[:1], strict=True))
    others = [egress for egress in sorted(rig.receive) if egress not in egresses]
    return {ingresses[0]: others[0]} if ingresses and others else {}


def named(pairs: Mapping[int, int]) -> str:
    """A lot in words, for a part of the work: its first path, and how many more."""
    (first, *more) = sorted(pairs.items())
    return f"{first[0]}-{first[1]}" + (f" and {len(more)} more" if more else "")
