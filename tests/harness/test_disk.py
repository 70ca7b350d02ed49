"""What an engineer is told when the disk refuses a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from harness import disk
from harness.errors import ArchiveError


def test_the_first_refusal_is_told_although_the_partial_file_cannot_be_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def gone(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(disk, "write_all", full)
    monkeypatch.setattr(Path, "unlink", gone)
    with pytest.raises(ArchiveError) as why:
        disk.write_file(tmp_path / "x", b"data")
    assert "No space left" in why.value.found


def test_a_name_that_no_disk_takes_is_a_refusal_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as why:
        disk.write_file(tmp_path / ("x" * 300), b"data")
    assert why.value.found.startswith("File name too long")
    assert why.value.remedy == "choose a shorter name"


def test_a_file_of_no_run_is_not_said_to_belong_to_one(tmp_path: Path) -> None:
    told = disk.refusal(tmp_path / "lab.key", OSError(errno.ENOSPC, "No space left on device"))
    assert "free space on that disk; a run that had begun then goes on with --resume" in told.remedy
    assert "results" not in disk.refusal(tmp_path / "lab.key", OSError(errno.EACCES, "Permission denied")).remedy
