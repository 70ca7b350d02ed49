"""Fixtures of the driver tests: a counter on a real TCP socket."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def fake_module() -> ModuleType:
    """`fake_53230a.py`, which is in no package, once."""
    name = "_loaded_fake_53230a"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / "fake_53230a.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """The module: Fake53230A and its faults."""
    return fake_module()


@pytest.fixture
def counter(fake: ModuleType) -> Iterator[Any]:
    """One counter, listening."""
    with fake.Fake53230A() as made:
        yield made
