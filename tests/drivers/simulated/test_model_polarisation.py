"""The simulated lab's polarisation controller turns the plant's light."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.simulated.light import sphere
from tests.drivers.simulated.small_bench_model import SmallBench


@pytest.mark.parametrize("of", [6, 20])
def test_every_state_is_where_the_sphere_has_it(of: int) -> None:
    bench = SmallBench()
    bench.light_up()
    for index in range(of):
        assert bench.say("polariser", f"POL:STAT {index},{of};*OPC?;:POL:STAT?") == f"1;{index},{of}"
        found = bench.plant.light("polariser:out").stokes[0]
        assert np.asarray(found) == pytest.approx(sphere(of)[index], abs=0.01)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("POL:STAT 6,6", -222),
        ("POL:STAT -1,6", -222),
        ("POL:STAT 1", -109),
        ("POL:STAT 1.5,6", -104),
        ("POL:BOGUS", -113),
    ],
)
def test_what_is_no_state_is_rejected(message: str, code: int) -> None:
    bench = SmallBench()
    assert bench.rejected("polariser", message) == code
    assert bench.say("polariser", "POL:STAT?") == "0,6"
