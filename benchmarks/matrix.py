"""The full matrix of a simulated cross-connect: over TCP in real time, and in process on the virtual clock.

``python -m benchmarks.matrix [--ports 64]``: wall time against the devices' own settling and averaging time (1.2 is the
most allowed); exchanges a second and resident memory on the virtual clock.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from drivers.port import Wire
from harness.bench import Bench, parse
from harness.figures.insertion_loss import Settings
from harness.methods import insertion_loss
from harness.opening import Opened

MOST: Final = 1.2
BUSY_S: Final = 0.0002
"""What a message costs a simulated instrument on the virtual clock, beside what it does."""
CHANNELS: Final = 8
"""Of one meter."""

Resources = Mapping[str, str]


def bench_text(ports: int, *, clock: str = "virtual", seed: int = 1, resources: Resources | None = None) -> str:
    """A bench with a fibre matrix of ``ports``; with ``resources`` a real one that points at a lab served elsewhere."""
    boxes = -(-ports // CHANNELS)
    meters = {f"meter-{k}": "N7745A" for k in range(1, boxes + 2)}
    receive = [f"meter-{k}:1-{min(CHANNELS, ports - CHANNELS * (k - 1))}" for k in range(1, boxes + 1)]
    last = f"meter-{boxes + 1}"
    models = {
        "laser": "8164B",
        "polariser": "POLARISER",
        "voa": "N7764A",
        "oxc": "POLATIS",
        "hand": "HAND",
        "otdr": "OTU-8000",
        **meters,
    }
    drivers = {
        "laser": "keysight-816x-laser",
        "polariser": "simulated-polarisation",
        "voa": "keysight-n77xx-attenuator",
        "oxc": "polatis-scpi",
        "hand": "simulated-hand",
        "otdr": "viavi-otu",
        **dict.fromkeys(meters, "keysight-n77xx-meter"),
    }
    parts = 'source = "laser"\npolariser = "polariser"\nattenuator = "voa"\nhand = "hand"\notdr = "otdr"\n'
    wiring = (
        f'receive = {receive}\nreference = "{last}:1"\nmonitor = "{last}:7"\nsource_monitor = "{last}:8"\n'.replace(
            "'", '"'
        )
    )
    lines = [
        '[bench]\nname = "matrix"',
        '[dut]\ninstrument = "oxc"\nkind = "fibre-matrix"\nprofile = "oxc-fibre-matrix"',
    ]
    lines.append(f'[fixture]\n{parts}{wiring}launch = "coupler"')
    for name, driver in drivers.items():
        where = "" if resources is None else f'resource = "{resources[name]}"\n'
        lines.append(f'[instruments.{name}]\ndriver = "{driver}"\n{where}')
    if resources is None:
        lines.append(f'[simulation.lab]\nseed = {seed}\nclock = "{clock}"\nhand_s = 0.0')
        lines.append(f'[simulation.lab.parts]\n{parts}dut = "oxc"')
        lines.append(f"[simulation.lab.wiring]\n{wiring}")
        lines.append(f'[simulation.lab.oxc]\nkind = "fibre-matrix"\nports = {ports}\nprotocol = "polatis-scpi"')
        lines.append('[simulation.lab.oxc.protection]\n1 = "2"')
        for number, (name, model) in enumerate(models.items()):
            lines.append(f'[simulation.lab.instruments.{name}]\nmodel = "{model}"\nserial = "SIM-{number}"')
    return "\n\n".join(lines) + "\n"


class Memory:
    """A journal that only counts."""

    def __init__(self) -> None:
        self.rows = 0

    def append(self, kind: str, **data: Any) -> object:
        """Count the rows of a line."""
        del kind
        self.rows += len(data.get("rows", ()))
        return None


def measure(bench: Bench, settings: Settings) -> tuple[float, float, int, int]:
    """(wall time s, time on the bench's clock s, messages, readings) of the whole matrix; not opening nor reference."""
    exchanges = 0

    def log(_: str, wire: Wire) -> None:
        nonlocal exchanges
        exchanges += wire.direction == "out"

    journal = Memory()
    opened = Opened(bench, log)
    try:
        rig = opened.rig(journal, lambda *_: None)
        rig.light(settings.wavelengths_pm[0])
        before = exchanges
        started, begun = opened.clock.now_ns(), time.perf_counter()
        insertion_loss.run(rig, settings)
        wall = time.perf_counter() - begun
        return wall, (opened.clock.now_ns() - started) / 1e9, exchanges - before, journal.rows
    finally:
        opened.close()


def served(ports: int) -> tuple[subprocess.Popen[str], dict[str, str], Path]:
    """A lab served by a process of its own, with the names its instruments are reached by."""
    folder = Path(tempfile.mkdtemp(prefix="millicert-matrix-"))
    file = folder / "lab.toml"
    file.write_text(bench_text(ports, clock="real"), encoding="utf-8")
    command = [sys.executable, "-m", "harness.cli", "lab", "serve", str(file)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    found: dict[str, str] = {}
    for line in process.stdout or ():
        if line.startswith("Ctrl-C"):
            break
        name, _, resource_name = line.partition(" ")
        found[name] = resource_name.strip()
    return process, found, file


def main() -> int:
    """Print both tables; 1 when the wall time is more than the devices allow."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--ports", type=int, default=64)
    ports = asked.parse_args().ports
    settings = Settings()
    fast, virtual, messages, readings = measure(parse(bench_text(ports)), settings)
    # each message costs the simulated instruments BUSY_S on the virtual clock; the rest is settling and averaging
    own = virtual - messages * BUSY_S
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{ports} x {ports} on the virtual clock    {fast:.2f} s for {virtual:.1f} s of the lab's, {readings} readings"
    )
    print(f"{'':<20} {messages / fast:.0f} messages a second, {peak:.0f} MiB at most")
    process, found, file = served(ports)
    try:
        wall, _, messages, readings = measure(parse(bench_text(ports, resources=found)), settings)
    finally:
        process.terminate()
        process.wait()
        file.unlink()
        file.parent.rmdir()
    print(f"{ports} x {ports} over TCP in real time   {wall:.2f} s, {readings} readings, {messages} messages")
    print(f"devices' own settling and averaging {own:.2f} s: ratio {wall / own:.3f} (at most {MOST})")
    return int(wall > MOST * own)


if __name__ == "__main__":
    sys.exit(main())
