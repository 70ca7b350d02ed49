"""Real ptp4l daemons between network namespaces, each with a virtual clock: none can reach the host's."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import re
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

SHIM: Final = Path(__file__).with_name("virtual_clock.c")
SHARED: Final = struct.Struct("=11q")
"""`struct shared` of virtual_clock.c."""
_SEQUENCE, _SINCE, _ERROR, _FREQUENCY, _TICK, _STATUS, _TAI, _STEERED, _NATURAL, _RECEIVE, _JUMP = range(11)

PATH: Final = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
NEEDED: Final = ("ptp4l", "pmc", "ip", "setpriv", "cc")
PATIENCE_S: Final = 60.0

_numbers = itertools.count()
T = TypeVar("T")


def find(program: str) -> str | None:
    return shutil.which(program, path=PATH)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH})
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def obstacle() -> str:
    """Why no rehearsal is possible here; empty when one is."""
    missing = [name for name in NEEDED if find(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian packages linuxptp, iproute2, util-linux, gcc)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    trial = f"mcptp{os.getpid()}trial"
    environment = {**os.environ, "PATH": PATH}
    if subprocess.run(["ip", "netns", "add", trial], capture_output=True, check=False, env=environment).returncode:
        return "network namespaces cannot be made here"
    subprocess.run(["ip", "netns", "del", trial], capture_output=True, check=False, env=environment)
    return ""


def until(what: str, look: Callable[[], T | None], told: Callable[[], str] = str, patience_s: float = PATIENCE_S) -> T:
    """The first thing `look` finds; a machine under load gets a minute."""
    deadline = time.monotonic() + patience_s
    while True:
        found = look()
        if found is not None:
            return found
        assert time.monotonic() < deadline, f"{what} within {patience_s} s\n{told()}"
        time.sleep(0.1)


class VirtualClock:
    """The file that a process under virtual_clock.c steers, seen from outside: its true error is known."""

    def __init__(self, path: Path, *, error_ns: int = 0, natural_ppb: int = 0, receive_ns: int = 0) -> None:
        self.path = path
        path.write_bytes(SHARED.pack(0, time.time_ns(), error_ns, 0, 10_000, 0, 0, 0, natural_ppb, receive_ns, 0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SHARED.size)

    def _read(self) -> tuple[int, ...]:
        while True:
            fields: tuple[int, ...] = SHARED.unpack(self._map[: SHARED.size])
            again: tuple[int, ...] = SHARED.unpack(self._map[: SHARED.size])
            if fields == again and fields[_SEQUENCE] % 2 == 0:
                return fields

    def true_error_ns(self) -> int:
        """This clock less the host's, ns, now."""
        f = self._read()
        rate = f[_NATURAL] * 65536 // 1000 + f[_FREQUENCY] + (f[_TICK] - 10_000) * 100 * 65536
        return f[_ERROR] + (time.time_ns() - f[_SINCE]) * rate // (65536 * 10**6) + f[_JUMP]

    @property
    def steered(self) -> int:
        """How often somebody set its frequency or time."""
        return self._read()[_STEERED]

    def jump(self, ns: int) -> None:
        """Steps it behind everybody's back."""
        struct.pack_into("=q", self._map, 8 * _JUMP, self._read()[_JUMP] + ns)


@dataclass
class Daemon:
    """One ptp4l."""

    process: subprocess.Popen[bytes]
    socket: Path
    log: Path
    clock: VirtualClock

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait(30)

    def set_grandmaster(self, **changed: int | str) -> None:
        """SET GRANDMASTER_SETTINGS_NP: a grandmaster locked to a primary reference, but for what is ``changed``."""
        settings: dict[str, int | str] = {
            "clockClass": 6,
            "clockAccuracy": "0x21",
            "offsetScaledLogVariance": "0x4e5d",
            "currentUtcOffset": 37,
            "leap61": 0,
            "leap59": 0,
            "currentUtcOffsetValid": 1,
            "ptpTimescale": 1,
            "timeTraceable": 1,
            "frequencyTraceable": 1,
            "timeSource": "0x20",
        }
        words = " ".join(f"{key} {value}" for key, value in (settings | changed).items())
        wanted = f"SET GRANDMASTER_SETTINGS_NP {words}"
        client = str(self.socket.with_suffix(".set"))
        until(
            "the daemon takes its settings",
            lambda: "RESPONSE" in run("pmc", "-u", "-b", "0", "-s", str(self.socket), "-i", client, wanted) or None,
            self.log.read_text,
        )


@dataclass
class Rehearsal:
    """Namespaces, veth pairs and daemons that vanish with the context, whatever happened in it."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="mcptp-", dir="/tmp")))
    _namespaces: list[str] = field(default_factory=list)
    _running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _shim: Path | None = None

    def __enter__(self) -> Self:
        self.folder.chmod(0o700)
        for path in Path("/run/netns").glob("mcptp*"):  # of a run that was killed
            owner = re.match(r"mcptp([0-9]+)[a-z]", path.name)
            if owner is not None and not Path("/proc", owner.group(1)).exists():
                run("ip", "netns", "del", path.name)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._running:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                process.kill()
                process.wait(30)
        environment = {**os.environ, "PATH": PATH}
        for name in self._namespaces:  # its veths go with it
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, env=environment)
        shutil.rmtree(self.folder, ignore_errors=True)

    def namespace(self) -> str:
        """A new network namespace."""
        name = f"mcptp{os.getpid()}x{next(_numbers)}"
        self._namespaces.append(name)
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
        return name

    def join(self, one: str, other: str) -> tuple[str, str]:
        """The interfaces of a new veth pair between two namespaces, up and with addresses."""
        number = next(_numbers)
        names = (f"v{number}a", f"v{number}b")
        run("ip", "link", "add", names[0], "netns", one, "type", "veth", "peer", "name", names[1], "netns", other)
        for end, (space, interface) in enumerate(zip((one, other), names, strict=True), start=1):
            run("ip", "-n", space, "addr", "add", f"10.93.{number % 250}.{end}/24", "dev", interface)
            run("ip", "-n", space, "link", "set", interface, "up")
        return names

    def shim(self) -> Path:
        """virtual_clock.c, compiled once."""
        if self._shim is None:
            self._shim = self.folder / "virtual_clock.so"
            run("cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(self._shim), str(SHIM))
        return self._shim

    def start(self, space: str, interfaces: tuple[str, ...], clock: VirtualClock, **options: int | str) -> Daemon:
        """A ptp4l with software stamps that reads and steers ``clock``.

        Without CAP_SYS_TIME it could not touch the host's clock even if the preloading failed.
        """
        name = f"ptp{next(_numbers)}"
        socket, log = self.folder / f"{name}.sock", self.folder / f"{name}.log"
        settings: dict[str, int | str] = {
            "time_stamping": "software",
            "network_transport": "L2",
            "logSyncInterval": -4,
            "logMinDelayReqInterval": -4,
            "logAnnounceInterval": -2,
            "announceReceiptTimeout": 8,
            "tx_timestamp_timeout": 2000,
            "fault_reset_interval": -4,
            "summary_interval": -4,
            "pi_proportional_const": "0.3",
            "pi_integral_const": "0.05",
            "first_step_threshold": "0.00002",
            "clockIdentity": f"02000a.fffe.{next(_numbers):06x}",
            "use_syslog": 0,
            "verbose": 1,
            "uds_address": str(socket),
        }
        (self.folder / f"{name}.cfg").write_text(
            "[global]\n" + "".join(f"{key} {value}\n" for key, value in (settings | options).items())
        )
        ports = [word for interface in interfaces for word in ("-i", interface)]
        command = [
            *("ip", "netns", "exec", space, "setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time"),
            *("--pdeathsig", "KILL"),
            *("env", f"LD_PRELOAD={self.shim()}", f"VIRTUAL_CLOCK={clock.path}"),
            *("ptp4l", "-f", str(self.folder / f"{name}.cfg"), *ports),
        ]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "PATH": PATH})
        self._running.append(process)

        def listening() -> bool | None:
            assert process.poll() is None, log.read_text()
            return socket.exists() or None

        until("ptp4l listens", listening, log.read_text)
        return Daemon(process, socket, log, clock)

    def clock(self, *, error_ns: int = 0, natural_ppb: int = 0, receive_ns: int = 0) -> VirtualClock:
        """A clock that is wrong by what is given."""
        path = self.folder / f"clock{next(_numbers)}"
        return VirtualClock(path, error_ns=error_ns, natural_ppb=natural_ppb, receive_ns=receive_ns)
