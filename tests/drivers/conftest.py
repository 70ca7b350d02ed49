"""Fixtures of the driver tests: a counter on a real TCP socket, and sessions that play a conversation."""

from __future__ import annotations

import base64
import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from drivers.errors import InstrumentError, InstrumentFaultError
from drivers.session import Replay, Transcript


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


Talk = Callable[..., Replay]


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Makes a session out of an identity and lines of a conversation, and asks at the end that all of it was had.

    A line is "command", ("query?", "answer"), ("query?", b"octets of a block") or ("anything", an InstrumentError).
    """
    made: list[Replay] = []

    def session(who: str, *lines: str | tuple[str, str | bytes | InstrumentError]) -> Replay:
        head = {"identity": who, "resource": "TCPIP0::192.0.2.7::5025::SOCKET", "timeout_s": 2.0}
        made.append(Replay(Transcript(head, [exchange(line) for line in lines])))
        return made[-1]

    yield session
    for each in made:
        each.finish()


def exchange(line: str | tuple[str, str | bytes | InstrumentError]) -> dict[str, Any]:
    """A line of a transcript."""
    if isinstance(line, str):
        return {"do": "write", "message": line}
    message, outcome = line
    if isinstance(outcome, bytes):
        return {"do": "block", "message": message, "base64": base64.b64encode(outcome).decode()}
    if isinstance(outcome, str):
        return {"do": "query", "message": message, "reply": outcome}
    error: dict[str, Any] = {
        "kind": type(outcome).__name__,
        "wanted": outcome.wanted,
        "found": outcome.found,
        "remedy": "look",
    }
    if isinstance(outcome, InstrumentFaultError):
        error |= {"code": outcome.code, "text": outcome.text}
    do = "block" if "POW:ALL?" in message else "query" if "?" in message else "write"
    return {"do": do, "message": message, "error": error}
