"""The bench snippets of docs/clocks.md are read by the bench reader."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.bench import HERE, parse
from harness.evidence.catalogue import CATALOGUE
from harness.evidence.gatherer import sources_of

PAGE = (Path(__file__).parents[2] / "docs" / "clocks.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
REST = """
[bench]
name = "page"
policy = "metro-2027"
[sites.there]
clock = { sources = ["in-band"] }
[links.a-b]
near = "here"
far = "there"
far_address = "10.1.2.3"
"""


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_is_a_bench(number: int) -> None:
    bench = parse(REST + SNIPPETS[number])
    names = bench.site("here").clock.sources
    assert [source.name for source in sources_of(bench, bench.links[0])] == list(names)


def test_every_source_has_a_row_and_those_with_settings_a_snippet() -> None:
    for name in {*HERE, *CATALOGUE, "in-band"}:
        assert f"| `{name}` |" in PAGE
    shown = {name for text in SNIPPETS for name in parse(REST + text).site("here").clock.sources}
    assert shown >= set(CATALOGUE)
