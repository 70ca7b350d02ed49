"""Two hosts of one city: namespaces joined by 40 km of fibre."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import SimulationError
from harness.simulation.metro import Metro
from harness.simulation.plant import FibrePath, LinkPlant


@pytest.fixture(scope="module")
def metro() -> Iterator[Metro]:
    """Link "wire", running. Skips where namespaces are refused."""
    fibre = (FibrePath(length_m=40_000),)
    try:
        with Metro({"wire": LinkPlant(fibre, fibre)}, carrier="namespaces") as made:
            made.fibre("wire").start()
            yield made
            made.fibre("wire").stop()
    except SimulationError as why:
        if os.geteuid() == 0 and Path("/proc/self/ns/net").exists():
            raise
        pytest.skip(f"wants network namespaces: {why.found}")
