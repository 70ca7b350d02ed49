"""Who measured: software, machine and interpreter as facts that an auditor can compare."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def _git(*words: str) -> str:
    """Answer of git in our checkout, or "unknown" outside one."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()


def _version(distribution: str) -> str:
    """Installed version, or "unknown" in a checkout that was never installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file as hex, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def software() -> dict[str, Any]:
    """The code that measures and judges: version, commit, hashes of lock file and compiled core.

    ``sources`` is one hash over every Python and Cython source of ours, so that a wheel without git can be told apart.
    """
    sources = hashlib.sha256()
    for package in ("harness", "drivers", "fastpath"):
        for path in sorted((ROOT / package).rglob("*")):
            if path.suffix in {".py", ".pyx", ".pxd", ".typ", ".toml"}:
                sources.update(f"{path.relative_to(ROOT).as_posix()}\0{sha256_file(path)}\n".encode())
    lock = ROOT / "requirements.lock"
    return {
        "name": "millicert",
        "version": _version("millicert"),
        "commit": _git("rev-parse", "HEAD"),
        "modified": _git("status", "--porcelain", "--untracked-files=no", "--", "harness", "drivers", "fastpath") != "",
        "sources_sha256": sources.hexdigest(),
        "lock_sha256": sha256_file(lock) if lock.exists() else "unknown",
        "core_sha256": {path.name: sha256_file(path) for path in sorted((ROOT / "fastpath").glob("*.so"))},
        "python": platform.python_version(),
        "numpy": _version("numpy"),
    }


def stale_core() -> list[str]:
    """Names of core modules whose source is newer than what is loaded; they must be rebuilt."""
    stale = []
    for source in sorted((ROOT / "fastpath").glob("*.pyx")):
        built = list(source.parent.glob(f"{source.stem}.*.so"))
        if not built or max(b.stat().st_mtime_ns for b in built) < source.stat().st_mtime_ns:
            stale.append(source.stem)
    return stale


def machine() -> dict[str, Any]:
    """The host: kernel, processors, clock source, as the kernel states them."""

    def read(path: str) -> str:
        try:
            return Path(path).read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return "unknown"

    cpu = next(
        (line.split(":", 1)[1].strip() for line in read("/proc/cpuinfo").splitlines() if line.startswith("model name")),
        "unknown",
    )
    return {
        "host": platform.node(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu": cpu,
        "cpus": os.cpu_count() or 0,
        "clocksource": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "boot_id": read("/proc/sys/kernel/random/boot_id"),
        "interpreter": sys.implementation.name,
    }
