"""Canonical JSON holds our nouns exactly or refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.canonical import JSON, canonical, difference, integer, noun, parse, plain
from harness.clock import ClockState
from harness.errors import ArchiveError
from harness.link import Link
from harness.measurement import Calibration, Health
from harness.stream import Stream

NOUNS = st.one_of(*(st.from_type(kind) for kind in (Link, Stream, ClockState, Health, Calibration)))


def test_octets_are_those_of_rfc_8785() -> None:
    # The order of RFC 8785 3.2.3 (UTF-16 code units: the emoji's surrogates sort before U+FB33).
    value: JSON = {"\ufb33": 1, "\U0001f600": 2, "€": 3, "\r": 4, "1": [None, True, '€$\u000f\n"/']}
    expected = '{"\\r":4,"1":[null,true,"€$\\u000f\\n\\"/"],"€":3,"\U0001f600":2,"\ufb33":1}'
    assert canonical(value) == expected.encode()


@pytest.mark.parametrize("value", [1.0, float("nan"), 2**53, -(2**53), b"x", {1: 2}, {1, 2}])
def test_what_is_not_exact_is_refused_with_its_path(value: Any) -> None:
    with pytest.raises(ArchiveError, match=r"\$\.a\[1\]"):
        canonical({"a": [0, value]})


SPELLINGS = ('{"a": 1}', '{"b":1,"a":1}', '{"a":1,"a":1}', "1.0", "NaN", "1e3", "{", "9007199254740992", "\xff")
HOSTILE = {"lone surrogate": r'"\ud800"', "unclosed depth": "[" * 100_000, "depth": "[" * 600 + "]" * 600 + " "}


@pytest.mark.parametrize("text", [*SPELLINGS, *(pytest.param(text, id=name) for name, text in HOSTILE.items())])
def test_only_the_canonical_spelling_is_read(text: str) -> None:
    with pytest.raises(ArchiveError, match="plan"):
        parse(text.encode("latin-1"), "plan.json")


@given(NOUNS)
def test_every_noun_comes_back_equal(value: Any) -> None:
    octets = canonical(plain(value))
    assert noun(type(value), parse(octets, "it")) == value


@given(st.integers())
def test_integers_come_back_from_one_spelling(number: int) -> None:
    assert integer(plain(number), "it") == number
    if abs(number) < 2**53:
        with pytest.raises(ArchiveError):
            integer(str(number), "it")


def test_numpy_integers_are_integers() -> None:
    assert plain({"n": np.int64(5), "t": np.int64(2**60)}) == {"n": 5, "t": str(2**60)}
    with pytest.raises(ArchiveError):
        plain(np.float64(5))


STREAM = Stream("floor", 100, 10**9, 128)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"rate_pps": "100"}, "rate_pps"),
        ({"rate_pps": True}, "rate_pps"),
        ({"rate_pps": None}, "rate_pps"),
        ({"schedule": "poisson"}, "schedule"),
        ({"unloaded": 1}, "unloaded"),
        ({"name": 5}, "name"),
        ({"surprise": 5}, "surprise"),
    ],
)
def test_a_field_of_another_type_is_named(change: dict[str, JSON], path: str) -> None:
    body = plain(STREAM)
    assert isinstance(body, dict)
    with pytest.raises(ArchiveError, match=path):
        noun(Stream, {**body, **change})


def test_a_missing_field_takes_its_default_or_is_named() -> None:
    body = plain(replace(STREAM, flows=3))
    assert isinstance(body, dict)
    assert noun(Stream, {k: v for k, v in body.items() if k != "flows"}) == STREAM
    with pytest.raises(ArchiveError, match="rate_pps"):
        noun(Stream, {k: v for k, v in body.items() if k != "rate_pps"})


@pytest.mark.parametrize(
    ("one", "other", "path"),
    [
        ({"a": 1, "b": [1, 2]}, {"a": 1, "b": [1, 3]}, "$.b[1]: 2 archived, 3 recomputed"),
        ({"a": 1}, {"a": 1, "b": 2}, "$.b: only in the recomputed result"),
        ([1], [1, 2], "$: 1 items archived, 2 recomputed"),
        ({"a": True}, {"a": 1}, "$.a: true archived, 1 recomputed"),
        ({"a": "x" * 99}, {"a": None}, '$.a: "' + "x" * 56 + "… archived, null recomputed"),
        ([1, {"a": "b"}], [1, {"a": "b"}], ""),
    ],
)
def test_the_first_difference_is_named(one: JSON, other: JSON, path: str) -> None:
    assert difference(one, other) == path
