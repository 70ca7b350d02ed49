"""Where the simulated lab's true values come from: one seed, and a name for each thing that is drawn."""

from __future__ import annotations

import hashlib

import numpy as np


def chance(seed: int, *names: object) -> np.random.Generator:
    """A generator of its own for each name: what one element draws does not depend on who drew before it."""
    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def axis(source: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """A direction on the Poincaré sphere, every one as likely; unit vector (3,)."""
    drawn = source.normal(size=3)
    return np.asarray(drawn / np.linalg.norm(drawn), dtype=np.float64)
