"""What sources cite stands in docs/rules.md, and what that page names stands in the sources."""

from __future__ import annotations

import re
from pathlib import Path

from harness.budget import K_TABLE
from harness.policy import GateLimits, Policy, Requirement
from harness.statistics import BLOCKS, MIN_BLOCKS
from harness.verdict import FIGURE_RULES, RULES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^##+ (\d+(?:\.\d+)?) \S", PAGE, re.MULTILINE)
CITED = re.compile(r"\brules[\s#]+(\d+(?:\.\d+)?(?:(?:,| and| to)[\s#]+\d+(?:\.\d+)?)*)")
ELSEWHERE = re.compile(r"\b[Mm]etrology(?:\.md)?[\s#]+\d|\bDE[S]IGN\b")
"""Citations of documents that are not in the project."""
TREES = ("harness", "drivers", "fastpath", "standalone", "tests", "testplans", "benchmarks", "docs")
KINDS = {".py", ".pyx", ".pxd", ".pyi", ".toml", ".typ", ".md"}


def sources() -> dict[str, str]:
    """Text of every source by its path; golden archives are what they were."""
    paths = [path for tree in TREES for path in sorted((ROOT / tree).rglob("*")) if path.suffix in KINDS]
    kept = [ROOT / "README.md", *(path for path in paths if ROOT / "tests" / "golden" not in path.parents)]
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in kept}


def numbers(text: str) -> list[str]:
    """Every section that a text cites."""
    return [number for found in CITED.findall(text) for number in re.findall(r"\d+(?:\.\d+)?", found)]


def test_what_a_citation_looks_like() -> None:
    assert numbers("(rules 4.2, 5.2)\n # as rules\n# 3.1 and 6 say; two rules, 5 of them") == ["4.2", "5.2", "3.1", "6"]


def test_every_citation_has_its_section() -> None:
    assert len(set(HEADINGS)) == len(HEADINGS)
    own = str(Path(__file__).relative_to(ROOT))
    cited = {(name, number) for name, text in sources().items() if name != own for number in numbers(text)}
    assert len({number for name, number in cited if name.startswith(("harness", "standalone"))}) > 10
    assert [(name, number) for name, number in sorted(cited) if number not in HEADINGS] == []


def test_no_source_cites_what_is_not_in_the_project() -> None:
    assert [name for name, text in sources().items() if ELSEWHERE.search(text)] == []


def test_decisions_it_names_are_headings_there() -> None:
    decisions = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    for quoted in re.findall(r'\("([A-Z][^"]+)"\)', PAGE):
        assert re.search(rf"^## {re.escape(quoted.removesuffix(' …'))}", decisions, re.MULTILINE), quoted


def test_it_names_every_rule_and_every_gate() -> None:
    for rule in (*RULES, *FIGURE_RULES):
        assert f"`{rule}`" in PAGE
    gates = (ROOT / "harness" / "gates.py").read_text(encoding="utf-8")
    ids = set(re.findall(r'\bGate\(\s*"([a-z-]+)"', gates)) | {"clock-near", "clock-far"}
    assert len(ids) > 20
    rows = set(re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| `.*$", PAGE, re.MULTILINE))))
    assert rows == ids


def test_the_fields_and_numbers_it_names_are_those_of_the_code() -> None:
    fields = {*Policy.model_fields, *Requirement.model_fields, *GateLimits.model_fields, "turnaround_cap_ns"}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
    assert named <= fields
    assert {"vif_plan", "min_n_eff", "evidence_gap_ns", "near_rate_ppb"} <= named
    plain = " ".join(PAGE.split())
    tail = ", ".join(str(nu) for nu, _ in K_TABLE if nu > 50)
    assert f"nu = 1 to 50, {tail};" in plain
    sizes = ", ".join(f"{size:,}".replace(",", " ") if size >= 10_000 else str(size) for size in BLOCKS)
    assert f"For B = {sizes}, while K = floor(n / B) is at least {MIN_BLOCKS}" in plain
