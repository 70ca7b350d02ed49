"""ODUk delay readings from CSV: n T/2 ± T/2, and every fault at once by its line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.errors import BenchError
from harness.odu import RATES, Reading, parse, period_ps

HEAD = "link,oduk,frames,time\n"
AT = "2027-03-01T08:00:00+08:00"


@pytest.mark.parametrize(
    ("oduk", "nanoseconds"),
    [
        ("ODU0", 98_354),
        ("ODU1", 48_971),
        ("ODU2", 12_191),
        ("ODU2e", 11_767),
        ("ODU3", 3_035),
        ("ODU4", 1_168),
        ("ODUCn", 1_163),
    ],
)
def test_frame_periods_are_those_of_g_709(oduk: str, nanoseconds: int) -> None:
    assert round(period_ps(oduk) / 1000) == nanoseconds


def test_frames_of_a_round_trip_are_half_of_them_one_way() -> None:
    (reading,) = parse(f"{HEAD}a-b,ODU4,671,{AT}\n")
    period = period_ps("ODU4")
    assert reading.value_ps == round(671 * period / 2)
    assert 0 <= reading.half_ps - period / 2 < 1
    assert (reading.link, reading.oduk, reading.frames, reading.line, reading.time) == ("a-b", "ODU4", 671, 2, AT)


def test_a_delay_is_told_in_the_unit_that_it_names() -> None:
    texts = [
        f"link,oduk,delay,time\na-b,ODU2,783.6 us,{AT}\n",
        f"link,oduk,delay,time\na-b,odu2,0.7836ms,{AT}\n",
        f"link,oduk,delay_us,time\na-b,ODU2,783.6,{AT}\n",
        f"Time, Link ,ODUk,delay_ns,way\n{AT},a-b,ODU2,783600,round-trip\n",
        f"\ufefflink,oduk,delay,time,way\n\na-b,ODU2,391.8 us,{AT},one-way\n",
    ]
    assert {parse(text)[0].value_ps for text in texts} == {391_800_000}
    assert {parse(text)[0].frames for text in texts} == {None}


def test_every_fault_is_named_at_once_by_its_line() -> None:
    text = (
        "link,oduk,frames,time\n"
        f",ODU4,12,{AT}\n"
        f"a-b,ODU9,12,{AT}\n"
        "\n"
        "a-b,ODU4,12.5,yesterday\n"
        f"a-b,ODU4,12\n"
        f"a-b,ODU4,99999999999,{AT}\n"
    )
    with pytest.raises(BenchError) as caught:
        parse(text)
    found = caught.value.found
    for fault in (
        "line 2: no link",
        "line 3: oduk 'ODU9'",
        "line 5: time 'yesterday'",
        "line 5: frames '12.5'",
        "line 6: 3 cells under 4 columns",
        "line 7: more than a second",
    ):
        assert fault in found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        (HEAD, "no reading"),
        ("link,oduk,time\n", "found 0"),
        ("link,oduk,frames,delay,time\n", "found 2"),
        ("link,link,oduk,frames,time\n", "'link' twice"),
        ("oduk,frames,time\n", "no column link"),
        (f"link,oduk,delay,time\na-b,ODU4,97.3,{AT}\n", "number with its unit"),
        (f"link,oduk,delay_us,time\na-b,ODU4,97.3 us,{AT}\n", "a number of us"),
        (f"link,oduk,delay,time\na-b,ODU4,-3 us,{AT}\n", "number with its unit"),
        (f"link,oduk,delay,time\na-b,ODU4,3 parsec,{AT}\n", "number with its unit"),
        (f"link,oduk,frames,time,way\na-b,ODU4,3,{AT},sideways\n", "neither round-trip nor one-way"),
        (f"link,oduk,frames,time,way\na-b,ODU4,3,{AT},one-way\n", "counted over the round trip"),
        (f'{HEAD}a-b,ODU4,"3,{AT}\n', "line"),
    ],
)
def test_a_file_that_is_none_says_why(text: str, told: str) -> None:
    with pytest.raises(BenchError, match="ODUk delay readings") as caught:
        parse(text)
    assert told in caught.value.found


def test_the_true_delay_lies_within_half_a_frame() -> None:
    """Whole frames counted between a transition and its return, which begins anywhere within a frame."""
    rng = np.random.default_rng(91)
    for oduk in RATES:
        period = float(period_ps(oduk))
        for _ in range(200):
            one_way = float(rng.uniform(1e6, 1e9))
            frames = int((2 * one_way + rng.uniform(0, period)) // period)
            (reading,) = parse(f"{HEAD}a-b,{oduk},{frames},{AT}\n")
            assert abs(reading.value_ps - one_way) <= reading.half_ps + 1


@given(st.text(max_size=400))
@example("link,oduk,frames,time\na,ODU4,٣,2027-01-01\n")
@example('"\n')
@example("link,oduk,frames,time\r\na,ODU4,3\x00,2027-01-01\r\n")
def test_any_text_gives_readings_or_one_error(text: str) -> None:
    try:
        found = parse(text)
    except BenchError:
        return
    assert found


@given(
    st.lists(
        st.tuples(
            st.text(
                st.characters(codec="utf-8", exclude_characters=',"\r\n'),
                max_size=8,
            ),
            st.sampled_from([*RATES, "ODU5", ""]),
            st.one_of(st.integers(-5, 10**14).map(str), st.text("0123456789.eE+-٣", max_size=6)),
            st.sampled_from([AT, "2027-03-01", "01/03/2027", ""]),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_rows_are_all_read_or_every_bad_one_is_named(rows: list[tuple[str, str, str, str]]) -> None:
    text = HEAD + "".join(",".join(row) + "\n" for row in rows)
    told, found = "", tuple[Reading, ...]()
    try:
        found = parse(text)
    except BenchError as why:
        told = why.found
    for line, (link, oduk, frames, at) in enumerate(rows, 2):
        good = bool(link.strip()) and oduk in RATES and at in {AT, "2027-03-01"}
        good = good and frames.isascii() and frames.isdecimal() and len(frames) <= 12
        blank = not any(cell.strip() for cell in (link, oduk, frames, at))
        assert good or blank or f"line {line}:" in told
    assert all(each.value_ps >= 0 and each.half_ps > 0 for each in found)
