"""Claims of simulated clocks."""

from __future__ import annotations

import json

from harness.bench import SimulatedClock
from harness.evidence.simulated import Simulated
from harness.simulation.clocks import SiteClock


def test_the_claim_is_told_and_the_truth_is_not() -> None:
    clock = SimulatedClock(SiteClock(offset_ns=123_456_789), 100, True, 10)
    state = Simulated("b", clock, 37).poll(11)
    assert (state.site, state.source, state.at_ns) == ("b", "simulated", 11)
    assert (state.bound_ns, state.synchronised, state.skew_ppb, state.tai_utc_s) == (100, True, 10, 37)
    assert json.loads(state.raw)["injected"] is True
    assert "123456789" not in repr(state)


def test_a_clock_without_claims_is_unknown() -> None:
    state = Simulated("b", SimulatedClock(SiteClock())).poll(11)
    assert (state.bound_ns, state.synchronised, state.skew_ppb, state.tai_utc_s) == (None, None, None, None)
