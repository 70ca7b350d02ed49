"""What a plant hides against what an acceptance reports: defects are found, named and fail; good plants pass.

The whole, over many plants, is `python -m benchmarks.acceptance`.
"""

import pytest

from benchmarks.acceptance import DEFECTS, LEAST, accept, bench_of, coverage, is_named, shipped

PORTS = 4
PROFILE = shipped()
PROCEDURE = {each.id: each.procedure for each in PROFILE.requirements}


@pytest.mark.parametrize("seed", [11, 12])
def test_a_good_plant_passes_and_its_truth_is_covered(seed: int) -> None:
    outcome = accept(bench_of(PORTS, seed), PROFILE)
    assert {row["id"]: row["verdict"] for row in outcome.result["requirements"]} == dict.fromkeys(PROCEDURE, "PASS")
    assert outcome.named == set()
    assert outcome.result["complete"]
    for name, (hits, count) in coverage([outcome]).items():
        assert hits >= LEAST * count, name


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_named_and_fails_what_it_should(name: str) -> None:
    defect, wanted, requirement = DEFECTS[name]
    procedures = ("reference", "insertion-loss", *([PROCEDURE[requirement]] if requirement else []))
    outcome = accept(bench_of(PORTS, 1000, [defect]), PROFILE, tuple(dict.fromkeys(procedures)))
    assert is_named(outcome, wanted), outcome.named
    if requirement:
        assert outcome.row(requirement)["verdict"] == "FAIL"
    else:
        assert outcome.row("insertion-loss")["verdict"] == "INVALID"
