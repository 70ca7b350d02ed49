"""What can go wrong in the house, each saying what was wanted, what was found, what to do."""

from __future__ import annotations

import errno
from typing import Final

BROKEN: Final = frozenset({errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What ends writing, of an output or a file, however right the command line was."""


class HarnessError(Exception):
    """Wanted, found, remedy: the three things an engineer needs at 3 a.m."""

    def __init__(self, wanted: str, found: str, remedy: str) -> None:
        self.wanted = wanted
        self.found = found
        self.remedy = remedy
        super().__init__(f"wanted {wanted}; found {found}; {remedy}")


def unusable(why: OSError) -> HarnessError:
    """What to tell the engineer when the operating system refuses a path that was named."""
    found = why.strerror or str(why)
    if why.filename is None:
        return HarnessError("what the command line names", found, "look at each path, address and interface in it")
    remedy = "give a path that is there, is not too long and that you may use: ls -l shows it"
    return HarnessError(f"to use {why.filename}", found, remedy)


class BenchError(HarnessError):
    """The bench or policy file cannot be used (exit code 4)."""


class PreflightError(HarnessError):
    """A check before the measurement failed; nothing was measured (exit code 10)."""


class EngineError(HarnessError):
    """A stream could not be run or had to stop."""


class ArchiveError(HarnessError):
    """A results folder is incomplete, altered, or cannot be written."""


class SimulationError(HarnessError):
    """The simulated metro could not be built."""
