"""A desk: a folder with a short bench and policy, from which pytest is started as a user starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.rehearsal import T_MAX_MS, bench_text, short_policy

ROOT = Path(__file__).resolve().parents[2]

STREAMS = """
[streams.optical]
rate_pps = 500
duration_s = {seconds}
size = 256
flows = 2
t_max_ms = {t_max}
[streams.service]
rate_pps = 2000
duration_s = {seconds}
size = 512
flows = 2
t_max_ms = {t_max}
"""


class Desk:
    """A folder with a short bench and policy, from which pytest is started as a user starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.policy = folder / "short.toml"
        self.policy.write_text(short_policy(), encoding="utf-8")

    def bench(self, text: str = "", seconds: int = 4) -> str:
        """Write a bench file; returns its path."""
        path = self.folder / "bench.toml"
        path.write_text((text or bench_text()) + STREAMS.format(seconds=seconds, t_max=T_MAX_MS), encoding="utf-8")
        return str(path)

    def command(self, *options: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "harness.plugin",
            "testplans/",
            "--results",
            str(self.results),
            *options,
        ]

    def run(self, *options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options),
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def certify(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run to a verdict; a run that only a loaded host made INVALID may be repeated four times."""
        for _ in range(5):
            done = self.run("--policy", str(self.policy), *options)
            if done.returncode != 14 or not self.stalled():
                break
        return done

    def result(self) -> dict[str, Any]:
        """Of the newest folder."""
        text = (self.folders()[-1] / "data" / "result.json").read_text(encoding="utf-8")
        return json.loads(text)  # type: ignore[no-any-return]

    def red(self) -> set[str]:
        """Gates that fired in the newest folder."""
        return {gate["id"] for gate in self.result()["gates"] if gate["state"] == "red"}

    def stalled(self) -> bool:
        """Whether nothing but the load of this host made gates of the newest folder fire."""
        return bool(self.red()) and self.red() <= {"host-stalls", "schedule"}

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command("--policy", str(self.policy), *options),
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def folders(self) -> list[Path]:
        return sorted((self.results / "simulated").glob("2*"))

    def wait_until_begun(self, measurement: str) -> Path:
        """The run folder, a second after the named measurement has begun."""
        for _ in range(1200):
            for folder in self.folders():
                journal = folder / "data" / "journal.jsonl"
                if journal.exists() and f'"measurements/{measurement}"' in journal.read_text(encoding="utf-8"):
                    time.sleep(1.0)
                    return folder
            time.sleep(0.05)
        raise AssertionError(f"{measurement} never began")
