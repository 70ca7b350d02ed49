"""How true the simulated fibre is: measured delay against its own log and against the set delay.

Run as `python -m benchmarks.fibre_truth`. Prints one line a rate and direction. The generator sends both ways from
one Python thread, kernel stamps at both ends (TX by error queue, RX by control message), so nothing of the measuring
engine takes part.
"""

from __future__ import annotations

import argparse
import socket
import struct
import time

import numpy as np
import numpy.typing as npt

from harness.simulation.metro import Carrier, Metro
from harness.simulation.plant import FibrePath, LinkPlant

SO_TIMESTAMPING = 37
# TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, OPT_TSONLY
FLAGS = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 11
SETTLE = 2000
CHUNK = 20_000
PORT = 50_000

Column = npt.NDArray[np.int64]


def stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The software stamp among control messages, ns since 1970."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPING):
            seconds, nanoseconds = struct.unpack_from("qq", data)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return 0


def sent(sock: socket.socket, into: Column, base: int) -> None:
    """Collect transmit stamps by their id."""
    while True:
        try:
            _, ancillary, _, _ = sock.recvmsg(1, 256, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        number = next(struct.unpack_from("IBBBBII", d)[6] for lv, _, d in ancillary if lv != socket.SOL_SOCKET)
        into[base + number] = stamp(ancillary)


def received(sock: socket.socket, into: Column) -> None:
    """Collect receive stamps by the sequence number in the packet."""
    while True:
        try:
            data, ancillary, _, _ = sock.recvmsg(64, 256, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        into[struct.unpack_from(">I", data)[0]] = stamp(ancillary)


def burst(ends: list[socket.socket], packets: range, rate: int, *, tx: list[Column], rx: list[Column]) -> None:
    """These packets each way at ``rate`` a second each way, paced by spinning, collected afterwards."""
    for sock in ends:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 0)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, FLAGS)
    spacing = 1_000_000_000 // (2 * rate)
    due = time.monotonic_ns()
    clock = time.monotonic_ns
    for i in packets:
        packet = struct.pack(">I", i) * 16
        for sock in ends:
            due += spacing
            while clock() < due:
                pass
            sock.send(packet)
    time.sleep(0.01)
    for way in (0, 1):
        sent(ends[way], tx[way], packets.start)
        received(ends[1 - way], rx[way])


def run(rate: int, seconds: float, delay_ns: int, carrier: Carrier, *, rescue: bool) -> list[str]:
    """One rate: a line of the table each direction."""
    count = max(int(rate * seconds), SETTLE + 1000)
    path = FibrePath(delay_ns=delay_ns)
    tx = [np.zeros(count, np.int64) for _ in range(2)]
    rx = [np.zeros(count, np.int64) for _ in range(2)]
    with Metro({"bench": LinkPlant((path,), (path,))}, carrier, rescue=rescue) as metro:
        near, far = metro.near_socket("bench", PORT), metro.far_socket("bench")
        near.send(b"hello")
        back = metro.fibre("bench")
        behind = metro.endpoint("bench").near_address, PORT
        if metro.carrier == "loopback":
            behind = behind[0].rsplit(".", 1)[0] + ".3", PORT
        far.connect(behind)
        back.start()
        for first in range(0, count, CHUNK):
            burst([near, far], range(first, min(first + CHUNK, count)), rate, tx=tx, rx=rx)
        back.stop()
        truth, health = back.truth(), back.health()
        near.close()
        far.close()
    lines = []
    for way, name in enumerate(("forward", "backward")):
        rows = truth[(truth["direction"] == way)]
        rows = rows[np.argsort(rows["seq"])][SETTLE:]
        measured = (rx[way] - tx[way])[rows["seq"]]
        residual = measured - rows["hold_ns"]
        within = np.mean(np.abs(measured - delay_ns) <= 1000)
        late = rows["late_ns"]
        lines.append(
            f"{rate:>7} {name:<8} {len(rows):>7}  "
            + " ".join(f"{q:>6.0f}" for q in np.percentile(residual, [0, 50, 99, 99.9]))
            + f"  {np.mean(np.abs(residual) <= 1000):7.2%}"
            + "  " + " ".join(f"{q:>6.0f}" for q in np.percentile(measured - delay_ns, [1, 50, 99]))
            + f"  {within:7.2%}"
            + "  " + " ".join(f"{np.mean(late > t):8.4%}" for t in (50_000, 200_000, 800_000))
            + f" {late.max() / 1000:8.0f}"
        )  # fmt: skip
    lines.append(f"        {health}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rates", default="1000,10000,100000")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--delay-ns", type=int, default=490_000)
    parser.add_argument("--carrier", default="auto", choices=("auto", "namespaces", "loopback"))
    parser.add_argument("--no-rescue", action="store_true")
    options = parser.parse_args()
    print("residual = measured - logged hold, ns; error = measured - set delay, ns")
    print(
        "    pps direction  packets     min    p50    p99  p99.9  in 1 us"
        "  err p1    p50    p99  in 1 us   late>50us    >200us    >800us worst us"
    )
    for rate in map(int, options.rates.split(",")):
        for line in run(rate, options.seconds, options.delay_ns, options.carrier, rescue=not options.no_rescue):
            print(line, flush=True)


if __name__ == "__main__":
    main()
