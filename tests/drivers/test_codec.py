"""Nothing an instrument says breaks a parser otherwise than by ValueError, and what is sent reads back the same."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from enum import Enum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codec import (
    BARE,
    CHANNELS,
    QUOTED,
    TRUTH,
    WHOLE,
    Codec,
    Layout,
    block,
    block_size,
    choice,
    csv,
    form_number,
    number,
    parse_error,
    parse_number,
    reading,
    split,
    values,
)
from drivers.port import identity
from drivers.quantity import Metre
from drivers.stream import host_and_port


class Trigger(Enum):
    IGNORE = "IGNore"
    SINGLE = "SMEasure"


CODECS: list[Codec[Any]] = [
    number(float),
    number(Metre, "NM"),
    reading(float),
    WHOLE,
    TRUTH,
    QUOTED,
    BARE,
    CHANNELS,
    choice(Trigger),
    csv(WHOLE),
    csv(QUOTED),
]
PARSERS: list[Callable[[str], object]] = [codec.parse for codec in CODECS]
PARSERS += [parse_number, parse_error, identity, split, host_and_port]
SAID = st.one_of(
    st.text(max_size=80),
    st.text("0123456789+-.eE #HQBhqb", max_size=40),
    st.text("\"',;@():1 ", max_size=40),
    st.from_regex(r"[+-]?[0-9]{1,400}(\.[0-9]*)?([eE][+-]?[0-9]{1,9})?", fullmatch=True),
    st.from_regex(r"\(@[0-9,: ]{0,30}\)", fullmatch=True),
    st.from_regex(r"TCPIP[0-9]*::.{0,20}::[0-9]{0,9}::SOCKET", fullmatch=True),
)


@pytest.mark.parametrize("parse", PARSERS, ids=range(len(PARSERS)))
@given(said=SAID)
def test_whatever_is_said_is_read_or_refused(parse: Callable[[str], object], said: str) -> None:
    with contextlib.suppress(ValueError):
        parse(said)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_as_the_same_double(value: float) -> None:
    text = form_number(value)
    assert float(text) == value
    assert parse_number(text) == (None if abs(value) >= 9.9e37 else value)


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("+64", 64.0),
        ("12.5", 12.5),
        ("+1.55000000E-006", 1.55e-6),
        ("-1.55E-06", -1.55e-6),
        (" 1.0\r", 1.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e5", 1e5),
        ("9.91E37", None),
        ("9.91e+37", None),
        ("+9.90000000E+037", None),
        ("-9.9E37", None),
        ("NAN", None),
        ("-INF", None),
        ("1E400", None),  # infinity is none either
        ("9.8E37", 9.8e37),
    ],
)
def test_numbers_as_makers_write_them(said: str, value: float | None) -> None:
    assert parse_number(said) == value


@pytest.mark.parametrize(
    "said", ["", " ", "-", ".", "1,2", "1 2", "0x10", "1.2.3", "1e", "١٢", "1_000", "1" * 65, "1550NM", "--", "+-1"]
)
def test_what_is_no_number(said: str) -> None:
    for parse in (parse_number, number(float).parse, WHOLE.parse):
        with pytest.raises(ValueError, match="no"):
            parse(said)


def test_a_reading_may_be_none_and_a_setting_may_not() -> None:
    assert reading(float).parse("9.91E37") is None
    with pytest.raises(ValueError, match="no value"):
        number(float).parse("9.91E37")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, False])
def test_what_no_number_can_say(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        form_number(value)


@pytest.mark.parametrize(
    ("said", "value"), [("7", 7), ("+7", 7), ("#H1F", 31), ("#q17", 15), ("#B101", 5), ("+1.00000000E+000", 1)]
)
def test_whole_numbers(said: str, value: int) -> None:
    assert WHOLE.parse(said) == value


@pytest.mark.parametrize("said", ["1.5", "#H", "#Q8", "#B2", "9.91E37", "1E300"])
def test_what_is_no_whole_number(said: str) -> None:
    with pytest.raises(ValueError, match="no"):
        WHOLE.parse(said)


@given(st.integers(-(10**18), 10**18))
def test_whole_numbers_read_back(value: int) -> None:
    assert WHOLE.parse(WHOLE.form(value)) == value


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_strings_read_back_whatever_quotes_they_hold(text: str) -> None:
    assert QUOTED.parse(QUOTED.form(text)) == text
    assert csv(QUOTED).parse(csv(QUOTED).form((text, "b"))) == (text, "b")


@pytest.mark.parametrize("said", ["", "a", '"', "\"a'", '"a"b"', '"a","b"', "'it''s' no"])
def test_what_is_no_string(said: str) -> None:
    with pytest.raises(ValueError, match=r"quotes|more than one"):
        QUOTED.parse(said)


@given(st.lists(st.integers(0, 99_999), max_size=20))
def test_channel_lists_read_back(channels: list[int]) -> None:
    assert CHANNELS.parse(CHANNELS.form(tuple(channels))) == tuple(channels)


def test_channel_lists_as_makers_write_them() -> None:
    assert CHANNELS.parse("(@1,2,5:7)") == (1, 2, 5, 6, 7)
    assert CHANNELS.parse("(@)") == CHANNELS.parse("( @ )") == ()
    assert CHANNELS.parse("(@3:1)") == (3, 2, 1)
    for wrong in ("(@1,)", "(@:2)", "(@1:2:3)", "(1)", "(@0:99999,0:99999)"):
        with pytest.raises(ValueError):
            CHANNELS.parse(wrong)


def test_words_in_their_short_and_long_form_and_nothing_between() -> None:
    codec = choice(Trigger)
    assert codec.form(Trigger.SINGLE) == "SME"
    assert [codec.parse(text) for text in ("IGN", "ignore", "SMEASURE")] == [
        Trigger.IGNORE,
        Trigger.IGNORE,
        Trigger.SINGLE,
    ]
    for wrong in ("IGNO", "IG", "", "IGNORES"):
        with pytest.raises(ValueError):
            codec.parse(wrong)
    with pytest.raises(ValueError):
        codec.form("IGN")  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("text", ["", "a;b", "a\nb", "µ", 'a"b'])
def test_a_bare_word_is_one(text: str) -> None:
    with pytest.raises(ValueError):
        BARE.form(text)


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ('0,"No error"', (0, "No error")),
        ('+0,"No error"', (0, "No error")),
        ('0, "No error"', (0, "No error")),
        ('-113,"Undefined header;WHAT"', (-113, "Undefined header;WHAT")),
        ('-222,"Data ""x"" out"', (-222, 'Data ""x"" out')),
        ("-350,Queue overflow", (-350, "Queue overflow")),
    ],
)
def test_entries_of_error_queues(said: str, found: tuple[int, str]) -> None:
    assert parse_error(said) == found


# -- blocks --------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=400), st.sampled_from([b"", b"\n", b"\r\n"]), st.integers(0, 4))
def test_a_block_reads_back(payload: bytes, end: bytes, zeros: int) -> None:
    size = str(len(payload)).zfill(len(str(len(payload))) + zeros).encode()
    whole = b"#%d%s%s%s" % (len(size), size, payload, end)
    assert block(whole) == payload
    for cut in range(min(12, len(whole) - len(end))):
        with pytest.raises(ValueError):
            block(whole[:cut])
    for cut in range(min(11, 2 + len(size))):
        assert block_size(whole[:cut]) is None
    assert block_size(whole[:11]) == (2 + len(size), len(payload))


def test_what_stands_behind_a_block_is_no_part_of_it() -> None:
    with pytest.raises(ValueError, match="behind"):
        block(b"#13abcd")


@given(st.binary(max_size=60))
def test_no_octets_break_a_block(octets: bytes) -> None:
    for said in (octets, b"#" + octets, b"#1" + octets, b"#9" + octets):
        try:
            size = block_size(said[:11])
            assert size is None or sum(size) >= 2
            assert len(block(said)) <= len(said)
        except ValueError:
            continue


LAYOUTS: list[tuple[Layout, str]] = [
    ("float32-little", "<f4"),
    ("float32-big", ">f4"),
    ("float64-little", "<f8"),
    ("float64-big", ">f8"),
    ("int16-little", "<i2"),
    ("int16-big", ">i2"),
]


@pytest.mark.parametrize(("layout", "kind"), LAYOUTS)
def test_arrays_of_every_layout_read_back(layout: Layout, kind: str) -> None:
    wanted = np.array([0, 1, -5, 300], kind)
    found = values(wanted.tobytes(), layout)
    assert found.dtype == np.float64
    assert found.tolist() == [0, 1, -5, 300]
    with pytest.raises(ValueError, match="whole number"):
        values(b"x" * 9, layout)


@pytest.mark.parametrize(("layout", "kind"), LAYOUTS[:4])
def test_in_an_array_none_is_nan(layout: Layout, kind: str) -> None:
    said = np.array([9.91e37, 9.9e37, -9.9e37, np.nan, np.inf, 9.8e37, 1.0], kind)
    found = values(said.tobytes(), layout)
    assert np.isnan(found).tolist() == [True] * 5 + [False] * 2


@given(st.binary(max_size=200), st.sampled_from(LAYOUTS))
def test_no_octets_break_an_array(octets: bytes, layout: tuple[Layout, str]) -> None:
    try:
        assert values(octets, layout[0]).ndim == 1
    except ValueError:
        return


def test_where_a_stream_goes() -> None:
    assert host_and_port("TCPIP0::192.0.2.7::3082::SOCKET") == ("192.0.2.7", 3082)
    assert host_and_port("tcpip::oxc.lab::3082::socket") == ("oxc.lab", 3082)
    assert host_and_port("oxc.lab:3083") == ("oxc.lab", 3083)
    assert host_and_port("TCPIP0::[2001:db8::7]::3082::SOCKET") == ("2001:db8::7", 3082)
    for wrong in ("", "x", "x:0", "x:65536", "TCPIP0::h::inst0::INSTR", "a:b:1"):
        with pytest.raises(ValueError):
            host_and_port(wrong)
