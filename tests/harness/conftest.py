"""Fixtures of the harness's tests: the synthetic generator, the shipped policies, a desk to start pytest from."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from harness.policy import Policy, parse
from tests.harness.desk import Desk

HERE = Path(__file__).parent
POLICIES = HERE.parents[1] / "harness" / "policies"


def load(path: Path) -> ModuleType:
    """A module from a file that is in no package, once."""
    name = f"_loaded_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def synthetic() -> ModuleType:
    """`synthetic.py`: Story and tell."""
    return load(HERE / "synthetic.py")


@pytest.fixture(scope="session")
def campaign() -> ModuleType:
    """`benchmarks/campaign.py`."""
    return load(HERE.parents[1] / "benchmarks" / "campaign.py")


@pytest.fixture(scope="session")
def rehearsal() -> Policy:
    """The policy for simulated runs."""
    return parse((POLICIES / "metro-2027-rehearsal.toml").read_text())


@pytest.fixture(scope="session")
def metro() -> Policy:
    """The default policy."""
    return parse((POLICIES / "metro-2027.toml").read_text())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """`desk.py`: options as typed, a short bench and policy, results of its own."""
    return Desk(tmp_path)
