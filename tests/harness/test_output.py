"""What a command says when its output or its input cannot be used: never a traceback, never the code of a FAIL."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app

ROOT = Path(__file__).resolve().parents[2]
LONG = "x" * 300


def shell(words: str, *, folder: Path) -> subprocess.CompletedProcess[str]:
    """A line of bash in which ``M`` is the command."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PY": sys.executable, "LC_ALL": "C.UTF-8"}
    line = f'M() {{ "$PY" -m harness.cli "$@"; }}; {words}'
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize(
    "words",
    [
        "M bench drivers > /dev/full",
        "M bench drivers | true; exit ${PIPESTATUS[0]}",
        "M bench check simulated > /dev/full",
        "M --help > /dev/full",
    ],
)
def test_an_output_that_takes_no_more_is_exit_14(tmp_path: Path, words: str) -> None:
    done = shell(words, folder=tmp_path)
    assert done.returncode == 14, done.stderr
    assert "wanted to write the whole answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_full_error_output_is_not_a_fail(tmp_path: Path) -> None:
    assert shell("M bench check none.toml 2> /dev/full", folder=tmp_path).returncode == 14


def test_a_closed_output_is_not_a_fail_and_no_place_to_export_to(tmp_path: Path) -> None:
    assert shell("M bench check simulated >&-", folder=tmp_path).returncode == 0
    done = shell("M export run >&-", folder=tmp_path)
    assert done.returncode == 4
    assert "wanted an open standard output; found a closed one" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["bench", "check", f"{LONG}.toml"],
        ["verify", LONG],
        ["sign", LONG, "--key", "k"],
        ["export", LONG],
        ["log", "show", LONG],
        ["log", "init", LONG],
        ["log", "prove", "run", "--out", LONG],
        ["key", "new", f"{LONG}/k", "--name", "a"],
        ["safe", "--bench", f"{LONG}.toml"],
        ["judge", LONG, "--policy", "metro-2027"],
        ["redact", LONG],
    ],
)
def test_a_path_that_cannot_be_looked_at_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 4, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert "wanted" in done.output


def test_a_folder_one_may_not_enter_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    def shut(path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "is_file", shut)
    done = CliRunner().invoke(app, ["bench", "check", "shut/b.toml"])
    assert done.exit_code == 4
    assert "wanted to use shut/b.toml; found Permission denied; give a path" in done.stderr
