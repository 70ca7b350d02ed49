"""The simulated N773x sends the plant's light where it is told."""

from __future__ import annotations

import pytest

from drivers.simulated.switch1xn import Switch
from tests.drivers.simulated.small_bench_model import SmallBench


def bench(model: str = "N7734A", outputs: int = 13) -> SmallBench:
    made = SmallBench()
    made.plant.add(Switch("switch", outputs, 7))
    made.devices["switch"] = made.make("switch", model)
    made.plant.patch("voa:out-1", "switch:in")
    made.light_up()
    return made


def test_a_route_is_taken_and_told() -> None:
    made = bench()
    assert made.say("switch", "ROUT1:CHAN1?") == "A,1"
    made.say("switch", "ROUT1:CHAN1 A,7")
    assert made.say("switch", "*OPC?") == "0"
    made.settle()
    assert made.say("switch", "*OPC?;:ROUT1:CHAN1?") == "1;A,7"
    assert made.plant.power("switch:out-7") > 1e-4
    assert made.plant.power("switch:out-1") < 1e-8


@pytest.mark.parametrize("route", ["A,14", "A,0", "B,1", "1", "A"])
def test_a_bad_route_is_rejected_with_the_makers_words(route: str) -> None:
    made = bench()
    made.say("switch", f"ROUT1:CHAN1 {route}")
    said = made.say("switch", "SYST:ERR?")
    assert "StatParamError" in said or said.startswith("-109")
    assert made.say("switch", "ROUT1:CHAN1?") == "A,1"


def test_a_box_with_two_switches() -> None:
    made = bench("N7731A", 4)
    made.say("switch", "ROUT2:CHAN1 A,3")
    assert made.say("switch", "ROUT1:CHAN1?;:ROUT2:CHAN1?") == "A,1;A,3"
    assert made.rejected("switch", "ROUT3:CHAN1?") == -303
    assert made.say("switch", "ROUT1:CONF?") == "A,A;1,4"
