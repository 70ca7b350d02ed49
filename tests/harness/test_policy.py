import re
from fractions import Fraction
from pathlib import Path

import pytest

from harness.errors import BenchError
from harness.policy import Policy, parse

POLICIES = Path(__file__).parents[2] / "harness" / "policies"
TEXT = (POLICIES / "metro-2027.toml").read_text()


def test_shipped_policies_hold_the_two_requirements_and_say_what_was_not_seen(metro: Policy, rehearsal: Policy) -> None:
    for policy in (metro, rehearsal):
        optical, service = policy.requirements
        assert (optical.measurand, optical.limit_ns, optical.origin) == ("optical-floor", 1_000_000, "MIIT")
        assert (service.measurand, service.quantile) == ("service", Fraction(999, 1000))
        assert service.origin == "millicert"
        assert not optical.confirmed
        assert "secondary" in optical.confirmation
        assert {i.id for i in policy.informative} == {f"T{i}" for i in range(2, 9)}
    assert not metro.rehearsal
    assert rehearsal.rehearsal


def test_rehearsal_differs_in_minima_only(metro: Policy, rehearsal: Policy) -> None:
    free = {"min_seconds", "min_windows", "vif_plan", "vif_origin"}
    for real, played in zip(metro.requirements, rehearsal.requirements, strict=True):
        assert real.model_dump(exclude=free) == played.model_dump(exclude=free)
    assert metro.gates == rehearsal.gates.model_copy(update={"max_late_ppm": 50_000})
    assert [r.min_seconds for r in metro.requirements] == [600, 600]
    assert [r.min_seconds for r in rehearsal.requirements] == [60, 60]
    assert {r.vif_plan for r in metro.requirements} == {(50, 1)}
    assert {r.vif_plan for r in rehearsal.requirements} == {(10, 1)}


def test_the_hash_is_of_the_text() -> None:
    assert parse(TEXT).sha256 != parse(TEXT + "\n").sha256


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("p = [999, 1000]", "p = [1000, 1000]"), "between 0 and 1"),
        (("p = [1, 2]", "p = [9, 10]"), "its statistic is a median"),
        (("vif_plan = [50, 1]", "vif_plan = [1, 2]"), "at least 1"),
        (("alpha = [25, 1000]", "alpha = [3, 4]"), "alpha"),
        (('measurand = "service"', 'measurand = "optical-floor"'), "goes with"),
        (("limit_ns = 1_000_000", "limit_ns = 1.0"), "limit_ns"),
        (("limit_ns = 1_000_000", "limt_ns = 1_000_000"), "limt_ns"),
        (('id = "service-owd-p999"', 'id = "T1-optical-owd"'), "differ"),
        (('id = "metro-2027"', "id = "), "Invalid value"),
    ],
)
def test_a_wrong_policy_is_named(change: tuple[str, str], found: str) -> None:
    assert change[0] in TEXT
    with pytest.raises(BenchError, match=re.escape(found)):
        parse(TEXT.replace(*change))


def test_every_fault_at_once() -> None:
    text = TEXT.replace("year = 2027", 'year = "x"', 1).replace("limit_ns = 1_000_000", "limit_ns = -1")
    with pytest.raises(BenchError) as caught:
        parse(text)
    assert "year" in caught.value.found
    assert "limit_ns" in caught.value.found


def test_each_fault_has_its_line_and_the_nearest_name() -> None:
    text = TEXT.replace("limit_ns = 1_000_000", "limt_ns = 1_000_000", 1).replace('"quantile"', '"quantil"', 1)
    key, value = (text.splitlines().index(each) + 1 for each in ("limt_ns = 1_000_000", 'statistic = "quantil"'))
    with pytest.raises(BenchError) as caught:
        parse(text, "mine.toml")
    wanted, *faults, _ = str(caught.value).splitlines()
    assert wanted == "a usable policy mine.toml: 3 errors"
    assert any(f.startswith(f"  line {key}: requirements.0.limt_ns: ") and f.endswith("mean limit_ns?") for f in faults)
    assert any("requirements.0.limit_ns: found nothing" in each for each in faults)
    assert any(f.startswith(f"  line {value}: requirements.1.stat") and f.endswith("mean quantile?") for f in faults)
