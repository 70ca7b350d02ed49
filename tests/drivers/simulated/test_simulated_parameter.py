"""Parameters, read as strictly as an instrument reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.simulated.parameter import block, boolean, channel_list, choice, count, integer, number, text
from drivers.simulated.scpi_error import ScpiError


def or_code(read: Callable[[], float], codes: Container[int]) -> float:
    """What was read; for an error its number, which is one of these."""
    try:
        return read()
    except ScpiError as why:
        code = why.code
    assert code in codes
    return code


@pytest.mark.parametrize(
    ("said", "unit", "value"),
    [
        ("1550NM", "M", 1.55e-6), ("1550 nm", "M", 1.55e-6), ("1.55E-006", "M", 1.55e-6), ("1.55um", "M", 1.55e-6),
        ("+1.55 E-06 M", "M", 1.55e-6), (".5", "", 0.5), ("5.", "", 5.0), ("100MS", "S", 0.1), ("100us", "S", 1e-4),
        ("-12.5DBM", "DBM", -12.5), ("-500MDBM", "DBM", -0.5), ("0.35DB", "DB", 0.35), ("193.1THZ", "HZ", 193.1e12),
        ("10MHZ", "HZ", 1e7), ("1MW", "W", 1e-3), ("2Watt", "W", 2.0), ("5NM/S", "M/S", 5e-9), ("0DBM", "W", 1e-3),
        ("1MW", "DBM", 0.0), ("#H1F", "", 31.0), ("#Q17", "", 15.0), ("#B101", "", 5.0), ("#hff", "", 255.0),
        ("INF", "", 9.9e37), ("NAN", "", 9.91e37), ("-INF", "", None), ("1e400", "", None),
    ],
)  # fmt: skip
def test_numbers_with_their_units(said: str, unit: str, value: float | None) -> None:
    if value is None:
        with pytest.raises(ScpiError):
            number(said, unit)
    else:
        assert number(said, unit) == value


def test_words_stand_for_limits() -> None:
    assert [number(word, "M", 1.0, 3.0, 2.0) for word in ("min", "MAXimum", "DEF")] == [1.0, 3.0, 2.0]
    with pytest.raises(ScpiError) as caught:
        number("MIN", "M")
    assert caught.value.code == -224


@given(
    st.floats(min_value=1e-12, max_value=1e12),
    st.sampled_from([("NM", -9), ("UM", -6), ("MM", -3), ("M", 0), ("KM", 3)]),
)
def test_a_suffix_is_the_same_as_its_power_of_ten(value: float, suffix: tuple[str, int]) -> None:
    digits = f"{value:.6e}"
    mantissa, exponent = digits.split("e")
    assert number(f"{digits}{suffix[0]}", "M") == float(f"{mantissa}e{int(exponent) + suffix[1]}")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_is_read_as_it_was_meant(value: float) -> None:
    assert number(repr(value)) == value


@given(st.text(max_size=30))
def test_whatever_is_said_a_number_is_finite_or_an_error(said: str) -> None:
    for unit in ("", "M", "DBM", "W"):
        assert math.isfinite(or_code(partial(number, said, unit), range(-299, -99)))


@given(st.text(alphabet="(@)0123456789:, ", max_size=30))
def test_whatever_is_said_a_channel_list_is_short_or_an_error(said: str) -> None:
    assert or_code(lambda: len(channel_list(said)), (-104, -171, -223)) <= 65536


@given(st.lists(st.integers(min_value=0, max_value=999_999_999), max_size=20))
def test_channel_lists_keep_their_order(channels: list[int]) -> None:
    assert channel_list(f"(@{','.join(map(str, channels))})") == channels


def test_channel_ranges_go_both_ways() -> None:
    assert channel_list("( @ 1 , 3:5 , 7:6 )") == [1, 3, 4, 5, 7, 6]
    assert channel_list("(@)") == []


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_strings_come_out_of_either_quotes(inner: str) -> None:
    assert text('"' + inner.replace('"', '""') + '"') == inner
    assert text("'" + inner.replace("'", "''") + "'") == inner


@given(st.binary(max_size=200))
def test_blocks_hold_what_was_put_into_them(payload: bytes) -> None:
    length = str(len(payload))
    assert block(f"#{len(length)}{length}" + payload.decode("latin-1")) == payload
    assert block("#0" + payload.decode("latin-1")) == payload


def test_choices_answer_with_the_short_form() -> None:
    assert choice("ignore", "IGNore", "SMEasure") == choice("IGN", "IGNore", "SMEasure") == "IGN"
    with pytest.raises(ScpiError):
        choice("IGNO", "IGNore", "SMEasure")


def test_booleans_are_four_words() -> None:
    assert [boolean(word) for word in ("1", "ON", "0", "off")] == [True, True, False, False]


def test_whole_numbers_are_never_rounded() -> None:
    assert integer("+64", 0, 100) == 64
    for said, code in (("1.5", -104), ("101", -222), ("ABC", -141)):
        with pytest.raises(ScpiError) as caught:
            integer(said, 0, 100)
        assert caught.value.code == code


def test_parameters_are_counted() -> None:
    count(["a"], 1)
    count([], 0, 2)
    for args, code in (([], -109), (["a", "b"], -108)):
        with pytest.raises(ScpiError) as caught:
            count(args, 1)
        assert caught.value.code == code
