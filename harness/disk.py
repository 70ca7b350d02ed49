"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Final

from harness.errors import ArchiveError

PARTIAL: Final = ".partial"
"""Suffix of a file that was being written; a leftover one never counts as its file."""

_THEN: Final = "; a run that had begun then goes on with --resume: everything journaled so far is kept"
"""Not every file that is written belongs to a run."""

_REMEDIES: Final = {
    errno.ENOSPC: f"free space on that disk{_THEN}",
    errno.EDQUOT: f"raise the quota or free space{_THEN}",
    errno.EFBIG: f"raise the file size limit (ulimit -f){_THEN}",
    errno.EROFS: f"mount that file system writable (dmesg says why it is not){_THEN}",
    errno.EACCES: "do it as the owner of that folder, or choose another",
    errno.ENOENT: "make that folder first, or choose another",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EIO: "replace the failing disk; copy the folder away before anything else",
}


def refusal(path: Path, error: OSError) -> ArchiveError:
    """What to tell the engineer when the operating system refuses ``path``."""
    try:
        room = f" ({shutil.disk_usage(path.parent).free} octets free)"
    except OSError:
        room = ""
    remedy = _REMEDIES.get(error.errno or 0, f"look at that path with ls -l and dmesg{_THEN}")
    return ArchiveError(f"to write {path}", f"{error.strerror or error}{room}", remedy)


def sync_directory(path: Path) -> None:
    """Make the names in ``path`` survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_all(handle: int, data: bytes) -> None:
    """Write every octet of ``data`` or raise OSError; a full disk may take only some and raise on the rest."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def write_file(path: Path, data: bytes) -> None:
    """Put ``data`` at ``path`` so that a reader sees the old file or the new one, never a mixture.

    Raises ArchiveError with the remedy when the disk refuses; then nothing of the attempt is left
    unless the disk refuses to take it away, too.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        partial.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        _forget(partial)
        raise refusal(path, error) from error
    except BaseException:
        _forget(partial)
        raise


def _forget(partial: Path) -> None:
    """Take a partial file away; where the disk refuses that too, the first refusal is the one to tell."""
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)


def make_directory(path: Path, *, fresh: bool = False) -> None:
    """Make ``path`` with its parents; ``fresh`` raises FileExistsError when it is already there.

    Raises ArchiveError when the disk refuses.
    """
    try:
        if not path.parent.exists():
            make_directory(path.parent)
        path.mkdir(exist_ok=not fresh)
        sync_directory(path.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise refusal(path, error) from error


def read_file(path: Path) -> bytes:
    """The octets at ``path``; ArchiveError when they cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArchiveError(f"to read {path}", str(error.strerror or error), "restore that file from a copy") from error
