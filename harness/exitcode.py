"""Exit codes: what happened, for the shell."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """One number a run; the numbers are part of our interface and never change meaning."""

    PASSED = 0
    FAILED = 1
    USAGE = 4
    PREFLIGHT = 10
    INCOMPLETE = 11
    UNSAFE = 12
    INDETERMINATE = 13
    INVALID = 14
    SIGNAL = 130


PRECEDENCE: Final = (
    ExitCode.UNSAFE,
    ExitCode.SIGNAL,
    ExitCode.USAGE,
    ExitCode.PREFLIGHT,
    ExitCode.FAILED,
    ExitCode.INVALID,
    ExitCode.INCOMPLETE,
    ExitCode.INDETERMINATE,
    ExitCode.PASSED,
)


OF_VERDICT: Final = {
    "PASS": ExitCode.PASSED,
    "INDETERMINATE": ExitCode.INDETERMINATE,
    "INVALID": ExitCode.INVALID,
    "FAIL": ExitCode.FAILED,
}


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The code that tells most when several apply: 12 > 130 > 4, 10 > 1 > 14 > 11 > 13 > 0."""
    return min(codes, key=PRECEDENCE.index, default=ExitCode.PASSED)
