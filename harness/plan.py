"""A Step of a test plan: which requirement is judged on which stream."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.errors import BenchError
from harness.measurement import Measurement
from harness.stream import Stream

Test = TypeVar("Test", bound=Callable[..., Any])

Measure = Callable[[str], Measurement]
"""Fixture ``measure``: run the step's stream on the named link."""

Certify = Callable[[Measurement], None]
"""Fixture ``certify``: judge by the step's requirement; anything but PASS fails the test."""

Accept = Callable[[], None]
"""Fixture ``accept``: run the test's procedure on the device under test; anything but PASS fails the test."""

STEP: Final = "_millicert_step"
PROCEDURE: Final = "_millicert_procedure"


@dataclass(frozen=True, slots=True)
class Step:
    """One test of a plan, run for every link of the bench."""

    requirement: str
    """Id of the policy's requirement."""
    stream: Stream
    """As the plan wants it; the bench may override, the command line may shorten."""


def step(requirement: str, stream: Stream) -> Callable[[Test], Test]:
    """Declare what a test of a plan certifies, so that the plan is known before anything is measured."""

    def mark(test: Test) -> Test:
        setattr(test, STEP, Step(requirement, stream))
        return test

    return mark


def procedure(name: str) -> Callable[[Test], Test]:
    """Declare which procedure of an acceptance a test of a plan carries out."""

    def mark(test: Test) -> Test:
        setattr(test, PROCEDURE, name)
        return test

    return mark


def resolve(
    planned: Stream,
    overrides: dict[str, Any],
    *,
    duration_ns: int | None = None,
    rate_pps: int | None = None,
) -> tuple[Stream, tuple[str, ...]]:
    """The stream that will run: plan, then bench, then command line; with a note for each command-line change.

    A command line that asks for less than plan and bench can only ever give an INCOMPLETE run: the notes say so.
    """
    stream = replace(planned, **overrides)
    notes = []
    if duration_ns is not None and duration_ns != stream.duration_ns:
        if duration_ns < stream.duration_ns:
            notes.append(f"duration {duration_ns / 1e9:g} s is less than the plan's {stream.duration_ns / 1e9:g} s")
        stream = replace(stream, duration_ns=duration_ns)
    if rate_pps is not None and rate_pps != stream.rate_pps:
        if rate_pps < stream.rate_pps:
            notes.append(f"rate {rate_pps} packets/s is less than the plan's {stream.rate_pps} packets/s")
        stream = replace(stream, rate_pps=rate_pps)
    return stream, tuple(notes)


def steps_in(folder: Path) -> list[Step]:
    """The steps that the plans in a folder declare, in the order of files and tests. Raises BenchError without any."""
    found: list[Step] = []
    for path in sorted(folder.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"_plan_{path.stem}", path)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found += [each for test in vars(module).values() if isinstance(each := getattr(test, STEP, None), Step)]
    if not found:
        raise BenchError(
            f"test plans in {folder}", "none with a @step", "run it where testplans/ is, or name the folder"
        )
    return found
