"""Optical quantities as text: no digit that U does not carry, nothing rounded in the device's favour."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import optical

NBSP = "\u00a0"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1_234_567, "udB", "1.235 dB"),
        (-500, "udB", "-0.001 dB"),
        (-400, "udB", "0.000 dB"),
        (25_000_000, "ns", "25.000 ms"),
        (999, "ps", "999 ps"),
        (49_000, "ps", "49.000 ns"),
        (1_500, "MHz", "1.500 GHz"),
        (7, "count", "7"),
        (None, "udB", "—"),
    ],
)
def test_values_in_units_that_people_read(value: int | None, unit: str, text: str) -> None:
    assert optical.shown(value, unit).replace(NBSP, " ") == text


@pytest.mark.parametrize(
    ("value", "expanded", "side", "text"),
    [
        (1_234_567, 123_400, "", "1.23 ± 0.13 dB"),
        (1_234_567, 0, "", "1.235 dB"),
        (54_000_000, 1_234_567, "at-least", "≥ 54.0 ± 1.3 dB"),
        (-70_123_456, 20_001, "at-most", "≤ -70.123 ± 0.021 dB"),
    ],
)
def test_a_value_ends_where_its_uncertainty_ends(value: int, expanded: int, side: str, text: str) -> None:
    assert optical.with_expanded(value, expanded, "udB", side).replace(NBSP, " ") == text


def test_limits_lose_only_zeros() -> None:
    assert optical.limit(4_000_000, "udB", "max").replace(NBSP, " ") == "≤ 4 dB"
    assert optical.limit(150_000, "udB", "min").replace(NBSP, " ") == "≥ 0.15 dB"


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**9), st.sampled_from(["udB", "ns", "ps", "MHz", "um"]))
def test_the_uncertainty_shown_is_never_less_than_it_is(value: int, expanded: int, unit: str) -> None:
    text = optical.with_expanded(value, expanded, unit).replace(NBSP, " ")
    shown, _, tail = text.partition(" ± ")
    number, _, name = tail.partition(" ")
    scale = next(power for power, each in optical.SCALES[unit] if each == name)
    assert float(number) * 10**scale >= expanded * (1 - 1e-12)
    last = 10.0 ** (scale - (len(number.split(".")[1]) if "." in number else 0))
    assert abs(float(shown) * 10**scale - value) <= last / 2 * (1 + 1e-9)
