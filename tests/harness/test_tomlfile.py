"""Lines of keys in TOML texts, against tomllib's own idea of what is there."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tomlfile import Path, TomlFile, lines_of, nearest, shown

TEXT = '''# comment = 1
title = "a # not a comment [x]" # [sites.fake]
a.b.c = 1
"quoted key".'lit' = """
multi = 1
[not.a.table]
quote \\""" and two quotes"""""

[sites.a]
position = [
  "31.2",   # first
  "121.4",
]
clock = { sources = ["kernel", "chrony"], shared = "x" }

[sites."乙 site"]
t = 1979-05-27 07:32:00Z
raw = \'\'\'
x = ]}
\'\'\'
[[plants]]
p = 1
  [[plants.routes]]
  q = [[1, 2], [3, { r = 4 }]]
[[plants.routes]]
q = []
[[plants]]
[plants.deep]
k = inf
[sites.a.more]
z = {}
'''


def paths(value: Any, at: Path = ()) -> set[Path]:
    """Every path in parsed data."""
    found = {at} if at else set()
    if isinstance(value, dict):
        for key, inner in value.items():
            found |= paths(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found |= paths(inner, (*at, index))
    return found


def test_every_path_has_its_line() -> None:
    lines = lines_of(TEXT)
    assert set(lines) == paths(tomllib.loads(TEXT))
    rows = TEXT.split("\n")

    def row(path: Path) -> str:
        return rows[lines[path] - 1]

    assert row(("a", "b", "c")) == "a.b.c = 1"
    assert row(("quoted key", "lit")).startswith('"quoted key"')
    assert row(("sites",)) == row(("sites", "a")) == "[sites.a]"
    assert row(("sites", "a", "position", 1)).strip() == '"121.4",'
    assert row(("sites", "a", "clock", "shared")).startswith("clock")
    assert row(("sites", "乙 site", "t")).startswith("t =")
    assert row(("plants", 0, "routes", 1)) == "[[plants.routes]]"
    assert lines[("plants", 0, "routes", 0)] + 2 == lines[("plants", 0, "routes", 1)]
    assert row(("plants", 0, "routes", 0, "q", 1, 1, "r")).strip().startswith("q = [[1")
    assert row(("plants", 1, "deep", "k")) == "k = inf"
    assert row(("sites", "a", "more", "z")) == "z = {}"


KEYS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,5}", fullmatch=True),
    st.from_regex(r"'[^'\x00-\x1f\x7f\ud800-\udfff]{0,4}'", fullmatch=True),
)
SCALARS = st.sampled_from(
    ["1", "-2.5e3", "true", "nan", '"a=[]{}#\\""', "'b\\'", '"""\n[x]\ny = 1\n"""', "'''z'''''", "2026-11-22 07:00:00"]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda v: "[ # c\n" + " ,\n".join(v) + "\n]"),
        st.lists(st.tuples(KEYS, inner), max_size=3).map(lambda v: "{" + ", ".join(f"{k} = {x}" for k, x in v) + "}"),
    ),
    max_leaves=8,
)
HEADERS = st.tuples(st.lists(KEYS, min_size=1, max_size=3), st.booleans()).map(
    lambda h: f"[[{'.'.join(h[0])}]]" if h[1] else f"[ {' . '.join(h[0])} ]"
)
PAIRS = st.tuples(st.lists(KEYS, min_size=1, max_size=2), VALUES).map(lambda p: f"{'.'.join(p[0])} = {p[1]}  # end")


@given(st.lists(st.one_of(HEADERS, PAIRS), max_size=8), st.sampled_from(["\n", "\r\n", "\n\n \t"]))
def test_any_valid_text(statements: list[str], newline: str) -> None:
    text = newline.join(statements) + newline
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        assert len(TomlFile(text).problems) == 1
        return
    lines = lines_of(text)
    assert set(lines) == paths(data)
    for line in lines.values():
        assert 1 <= line <= text.count("\n") + 1


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\nb = \n", 2), ("a = 1\n\n[x\n", 3), ("a = 1\na = 2\n", 2), ('a = """\nopen', 2), ("\n\n[t]\nk 1", 4)],
)
def test_a_syntax_error_has_its_line(text: str, line: int) -> None:
    (problem,) = TomlFile(text).problems
    assert problem.line == line
    assert "broken TOML" in str(problem)


def test_nesting_without_end_is_a_problem_not_a_crash() -> None:
    assert len(TomlFile("a = " + "[" * 100_000).problems) == 1


def test_a_missing_key_has_the_line_of_its_table() -> None:
    file = TomlFile("x = 1\n\n[links.m]\nnear = 'a'\n")
    assert file.line(("links", "m", "far")) == 3
    assert file.line(("nothing",)) == 1


def test_values_are_shown_as_toml_on_one_line() -> None:
    assert shown(True) == "true"
    assert shown({"a": [1, "x"]}) == '{a = [1, "x"]}'
    assert shown("line\nbreak") == '"line\\nbreak"'
    assert shown("乙") == '"乙"'
    assert len(shown("x" * 1000)) <= 80
    assert nearest("sitea", ["site-a", "other"]) == "site-a"
    assert nearest("zzz", ["site-a"]) == ""
