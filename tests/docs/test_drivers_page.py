"""The code of docs/drivers.md is run as it stands there, and its sessions answer as they do there."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

from drivers.catalogue import CATALOGUE

PAGE = (Path(__file__).parents[2] / "docs" / "drivers.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```(python|pycon)\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_does_what_it_says() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    runner = doctest.DocTestRunner()
    tried = 0
    for number, (kind, code) in enumerate(SNIPPETS):
        if kind == "python":
            exec(compile(code, f"docs/drivers.md, snippet {number}", "exec"), names)  # noqa: S102 - our own page
            continue
        test = doctest.DocTestParser().get_doctest(code, names, f"snippet {number}", "docs/drivers.md", 0)
        runner.run(test, clear_globs=False)
        names.update(test.globs)
        tried += len(test.examples)
    assert tried >= 10
    assert runner.summarize(verbose=False).failed == 0


def test_the_page_names_what_there_is() -> None:
    assert "`drivers/catalogue.py`" in PAGE
    assert "acme" not in " ".join(CATALOGUE).lower()
