"""Shared by all tests: Hypothesis repeats itself, what measures time is marked to run alone, two namespaces."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

from tests.fastpath.namespaces import Namespaces, two

ALONE: Final = (
    "fastpath",
    "simulation",
    "drivers/test_port",
    "harness/evidence/test_chrony_daemons",
    "harness/evidence/test_gatherer",
    "harness/evidence/test_gnss",
    "harness/evidence/test_linuxptp_daemons",
    "harness/test_patching",
    "harness/test_plugin",
    "harness/test_preflight",
    "harness/test_run_log",
    "harness/archive/test_signing_commands",
)
"""Where tests send packets, wait for daemons or poll against a clock: beside others they would see the others' load."""

settings.register_profile("millicert", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("millicert")


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    """`fastpath/namespaces.py`: two network namespaces; skips where they are refused."""
    with two() as made:
        yield made


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark ``alone`` what must not run beside other tests (`make test` runs the rest two at a time)."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.path.relative_to(here).as_posix().startswith(ALONE):
            item.add_marker("alone")
