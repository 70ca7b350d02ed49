"""Delay noise floor and highest stamped rate over a veth, with irtt and sockperf in the same run.

Makes two network namespaces joined by a veth (gro off, static neighbours), which vanish with this process. Delays are
ns, kernel TX stamp to kernel RX stamp for ours, user clocks for the others. "censored" keeps the packets whose own
send took at most 1.3 times the run's median: what is left when the host's stalls are taken out; it never stands alone.
Needs root; irtt, sockperf and a C compiler are used when they are there.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fastpath import wire
from fastpath.sender import Sender

NEAR, FAR, PORT, SINK = "10.77.1.1", "10.77.1.2", 8620, 8621
TAI_UTC, SECOND = 37, 1_000_000_000
SIZE = 112
"""UDP payload of ours: the STAMP base with all TLVs, and padding; a 158-octet frame."""
CLONE_NEWNET = 0x40000000
RECEIVED, SKIPPED = 1 << 10, 1 << 14
T = TypeVar("T")
Column = npt.NDArray[np.int64]

REFLECTOR = """
import os, sys
from fastpath import wire
from fastpath.reflector import Reflector
os.sched_setaffinity(0, {int(sys.argv[2])})
Reflector([int(sys.argv[1])], tai_utc=37, error_estimate=wire.encode_error_estimate(None, False, True),
          linger_ns=int(sys.argv[3])).run()
"""

C_LOOP = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <linux/net_tstamp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
/* argv: tx fd or -1, rx fd or -1, packets, size, packets a second (0: as fast as it can).
   Reads both stamps of every packet; paced, it prints RX minus TX of each instead of a summary. */
enum { B = 64 };
static int tx, rx, size; static long n, sent_stamps, got, got_stamps; static volatile int over;
static double tx_cpu, stamp_cpu, rate; static long long *times[2];
static double read_clock(clockid_t id) { struct timespec t; clock_gettime(id, &t); return t.tv_sec * 1e9 + t.tv_nsec; }
static double cpu(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }
static double now(void) { return read_clock(CLOCK_MONOTONIC) / 1e9; }
static void pin(int cpu) { cpu_set_t s; CPU_ZERO(&s); CPU_SET(cpu, &s); sched_setaffinity(0, sizeof s, &s); }
static void drain(int fd, int flags, long *count, long *stamped) {
    static __thread struct mmsghdr m[B]; static __thread struct iovec v[B];
    static __thread char data[B][2048], control[B][256];
    for (;;) {
        for (int i = 0; i < B; i++) {
            v[i].iov_base = data[i]; v[i].iov_len = sizeof data[i];
            m[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1, .msg_control = control[i],
                                            .msg_controllen = sizeof control[i] };
        }
        int k = recvmmsg(fd, m, B, flags | MSG_DONTWAIT, NULL);
        if (k <= 0) return;
        for (int i = 0; i < k; i++) {
            unsigned id = 0; long long at = 0;
            memcpy(&id, data[i], 4);
            for (struct cmsghdr *c = CMSG_FIRSTHDR(&m[i].msg_hdr); c; c = CMSG_NXTHDR(&m[i].msg_hdr, c)) {
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPING) {
                    struct timespec t;
                    memcpy(&t, CMSG_DATA(c), sizeof t);
                    at = t.tv_sec * 1000000000LL + t.tv_nsec;
                    ++*stamped;
                } else if (flags) memcpy(&id, CMSG_DATA(c) + 12, 4);   /* ee_data of sock_extended_err */
            }
            if (times[!!flags] && id < n) times[!!flags][id] = at;
        }
        *count += k;
        if (k < B) return;
    }
}
static void lazily(int fd, int flags, long *count, long *stamped) {
    struct timespec ms = { 0, 1000000 };
    while (!over) { drain(fd, flags, count, stamped); nanosleep(&ms, NULL); }
    drain(fd, flags, count, stamped);
}
static void *reader(void *x) { (void)x; pin(1); lazily(rx, 0, &got, &got_stamps); return NULL; }
static void *stamper(void *x) {
    long c = 0;
    (void)x; pin(1); lazily(tx, MSG_ERRQUEUE, &c, &sent_stamps); stamp_cpu = cpu();
    return NULL;
}
static void enable(int fd, int flags) {
    int room = 128 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags);
}
int main(int argc, char **argv) {
    pthread_t a, b; char c;
    tx = atoi(argv[1]); rx = atoi(argv[2]); n = atol(argv[3]); size = atoi(argv[4]);
    rate = argc > 5 ? atof(argv[5]) : 0;
    if (rate) { times[0] = calloc(n, 8); times[1] = calloc(n, 8); }
    if (rx >= 0) {
        enable(rx, SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE);
        pthread_create(&a, NULL, reader, NULL);
    }
    printf("ready\n"); fflush(stdout);
    double begun = now(), ended = begun;
    if (tx >= 0) {
        static struct mmsghdr m[32]; static struct iovec v[32]; static char data[32][2048];
        enable(tx, SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID
                   | SOF_TIMESTAMPING_OPT_TSONLY);
        pthread_create(&b, NULL, stamper, NULL);
        pin(0);
        for (int i = 0; i < 32; i++) {
            v[i].iov_base = data[i]; v[i].iov_len = size;
            m[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1 };
        }
        begun = now();
        for (long done = 0; done < n; ) {
            int want = rate ? 1 : n - done < 32 ? n - done : 32, k;
            for (int i = 0; i < want; i++) { unsigned id = done + i; memcpy(data[i], &id, 4); }
            while (rate && now() < begun + done / rate) ;
            k = sendmmsg(tx, m, want, 0);
            if (k > 0) done += k;
        }
        ended = now();
        tx_cpu = cpu();
        usleep(300000);
        over = 1; pthread_join(b, NULL);
    } else {
        while (read(0, &c, 1) > 0) ;
        over = 1;
    }
    if (rx >= 0) pthread_join(a, NULL);
    for (long i = 0; rate && i < n; i++) if (times[0][i] && times[1][i]) printf("%lld\n", times[0][i] - times[1][i]);
    if (!rate) printf("%f %ld %ld %ld %.0f %.0f\n", ended - begun, sent_stamps, got, got_stamps, tx_cpu, stamp_cpu);
    return argc < 5;
}
"""


def command(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


class Pair:
    """Two namespaces joined by a veth; each lives as long as a child whose standard input is our pipe."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.holders = []
        for _ in range(2):
            holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            stack.callback(holder.wait)
            stack.callback(holder.stdin.close)  # type: ignore[union-attr]
            self.holders.append(holder.pid)
        own = Path("/proc/self/ns/net").readlink()
        limit = time.monotonic() + 10
        while any(Path(f"/proc/{pid}/ns/net").readlink() == own for pid in self.holders):
            if time.monotonic() > limit:
                sys.exit("unshare --net made no namespace")
            time.sleep(0.01)
        va, vb = (f"nf{os.getpid() % 100000}{side}" for side in "ab")
        command("ip", "link", "add", va, "type", "veth", "peer", "name", vb)
        macs = {}
        for side, (name, address) in enumerate(((va, NEAR), (vb, FAR))):
            command("ip", "link", "set", name, "netns", str(self.holders[side]))
            self.run(side, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
            if shutil.which("ethtool"):
                self.run(side, "ethtool", "-K", name, "gro", "off")
            self.run(side, "ip", "address", "add", f"{address}/24", "dev", name)
            self.run(side, "ip", "link", "set", "lo", "up")
            self.run(side, "ip", "link", "set", name, "up")
            shown = subprocess.run(
                [*self.enter(side), "cat", f"/sys/class/net/{name}/address"],
                capture_output=True,
                text=True,
                check=False,
            )
            told = subprocess.run(
                [*self.enter(side), "ip", "-o", "link", "show", name], capture_output=True, text=True, check=True
            )
            found = re.search(r"link/ether (\S+)", told.stdout + shown.stdout)
            assert found
            macs[side] = found[1]
        self.run(0, "ip", "neighbour", "replace", FAR, "lladdr", macs[1], "dev", va, "nud", "permanent")
        self.run(1, "ip", "neighbour", "replace", NEAR, "lladdr", macs[0], "dev", vb, "nud", "permanent")

    def enter(self, side: int) -> list[str]:
        return ["nsenter", f"--net=/proc/{self.holders[side]}/ns/net"]

    def run(self, side: int, *words: str) -> None:
        command(*self.enter(side), *words)

    def inside(self, side: int, make: Callable[[], T]) -> T:
        """What ``make`` returns when called in that namespace (a thread of its own enters it)."""
        out: list[T] = []

        def body() -> None:
            fd = os.open(f"/proc/{self.holders[side]}/ns/net", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
                out.append(make())
            finally:
                os.close(fd)

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        return out[0]

    def udp(self, side: int, port: int = 0, to: int = 0) -> socket.socket:
        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.bind(((NEAR, FAR)[side], port))
            if to:
                made.connect((FAR, to))
            return made

        return self.inside(side, make)


@contextlib.contextmanager
def reflector(pair: Pair, cpu: int, linger_ns: int) -> Iterator[None]:
    with pair.udp(1, PORT) as at:
        child = subprocess.Popen(
            [sys.executable, "-c", REFLECTOR, str(at.fileno()), str(cpu), str(linger_ns)], pass_fds=[at.fileno()]
        )
        time.sleep(0.5)
        try:
            yield
        finally:
            child.terminate()
            child.wait()


def ours(pair: Pair, offsets: Column, t_max_ns: int, capacity: int, to: int = PORT) -> tuple[Sender, dict[str, Column]]:
    with pair.udp(0, 0, to) as near:
        sender = Sender(
            [near.fileno()], [wire.Session(SIZE, tai_utc=TAI_UTC)], offsets, capacity=capacity, t_max_ns=t_max_ns,
            tai_utc=TAI_UTC, error_estimate=wire.encode_error_estimate(None, False, True),
            cpus=(0, (os.cpu_count() or 1) - 1), warm_up=2 if to == PORT else 0,
        )  # fmt: skip
        sender.start()
        parts = []
        while not sender.done:
            time.sleep(0.05)
            parts.append(sender.take(send_durations=True))
        sender.join()
        parts.append(sender.take(send_durations=True))
    return sender, {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def row(name: str, values: Column, note: str = "") -> None:
    if values.size == 0:
        print(f"{name:34} no samples  {note}")
        return
    found = np.percentile(values, [50, 99, 99.9], method="higher")
    print(
        f"{name:34}" + "".join(f"{int(v):>12,}" for v in (values.min(), *found, values.max())) + f"{values.size:>10,}"
        f"  {note}",
        flush=True,
    )


def floor(pair: Pair, rate: int, seconds: float) -> None:
    n = int(rate * seconds)
    sender, rows = ours(pair, np.arange(n, dtype=np.int64) * (SECOND // rate), SECOND // 5, 1 << 17)
    counts = sender.counters()
    came = rows["flags"] & RECEIVED != 0
    kernel = came & (rows["flags"] & 0xFF == 0xAA)
    note = (
        f"sent {counts['sent']}/{n} lost {counts['lost']} late {counts['sent_late']} skipped {counts['skipped']} "
        f"four kernel stamps {kernel.sum() / max(1, came.sum()):.4%} host stalls {counts['stalls']}"
    )
    there = rows["t2"] - rows["t1"]
    back = rows["t4"] - rows["t3"]
    calm = kernel & (rows["send_ns"] <= 1.3 * np.median(rows["send_ns"][kernel])) if kernel.any() else kernel
    label = f"millicert {rate / 1000:g} kpps"
    row(f"{label} forward, raw", there[kernel], note)
    row(f"{label} forward, censored", there[calm])
    row(f"{label} backward, raw", back[kernel])
    row(f"{label} backward, censored", back[calm])


def bare(pair: Pair, program: str, rate: int, seconds: float) -> None:
    """What the kernel itself gives on this machine: the smallest C program that takes both stamps."""
    n = int(rate * seconds)
    with pair.udp(1, SINK) as rx, pair.udp(0, 0, SINK) as tx:
        out = subprocess.run(
            [program, str(tx.fileno()), str(rx.fileno()), str(n), str(SIZE), str(rate)],
            pass_fds=[tx.fileno(), rx.fileno()], capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    row(f"bare C, {rate / 1000:g} kpps, one way", np.array(out.split()[1:], np.int64))


def highest(pair: Pair, seconds: float) -> None:
    best = 0
    for rate in range(25_000, 500_001, 25_000):
        n = int(rate * seconds)
        sender, rows = ours(pair, np.arange(n, dtype=np.int64) * SECOND // rate, SECOND // 5, 1 << 19)
        counts = sender.counters()
        whole = counts["received"] == counts["sent"] == n and not counts["unstamped_tx"]
        four = np.count_nonzero(rows["flags"] & 0xFF == 0xAA)
        behind = counts["worst_lateness_ns"] / 1e6
        print(
            f"  {rate / 1000:g} kpps asked: sent {counts['sent']}/{n} answered {counts['received']} four kernel stamps "
            f"{four} dropped by our sockets {counts['receive_overflows']} worst lateness {behind:.1f} ms",
            flush=True,
        )
        if not whole:
            break
        best = rate
    print(f"millicert round trip, four stamps each, nothing lost: {best / 1000:g} kpps")


def compiled(folder: str) -> str | None:
    cc = shutil.which("cc") or shutil.which("gcc")
    if cc is None:
        return None
    source = Path(folder, "loop.c")
    source.write_text(C_LOOP, encoding="utf-8")
    subprocess.run([cc, "-O2", "-pthread", "-o", f"{folder}/loop", str(source)], check=True)
    return f"{folder}/loop"


def flat_out(pair: Pair, program: str, n: int, name: str, caller_id: bool | None) -> tuple[float, float]:
    """Our sender as fast as it goes into a C sink: packets a second, CPU ns a packet of both threads."""
    with pair.udp(1, SINK) as rx, pair.udp(0, 0, SINK) as tx:
        sink = subprocess.Popen(
            [program, "-1", str(rx.fileno()), "0", "0"], pass_fds=[rx.fileno()], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert sink.stdout is not None
        sink.stdout.readline()
        sender = Sender(
            [tx.fileno()], [wire.Session(SIZE, tai_utc=TAI_UTC)], np.zeros(n, np.int64),
            capacity=1 << (n - 1).bit_length(), t_max_ns=60 * SECOND, tai_utc=TAI_UTC, error_estimate=1,
            cpus=(0, (os.cpu_count() or 1) - 1), warm_up=0, caller_id=caller_id,
        )  # fmt: skip
        begun = time.monotonic()
        sender.start()
        while sender.counters()["sent"] < n and time.monotonic() < begun + 60:
            time.sleep(0.002)
        took = time.monotonic() - begun
        while sender.planes()["t1"]["kernel"] < n and time.monotonic() < begun + took + 5:
            time.sleep(0.01)
        sender.stop(abandon=True)
        sender.join()
        rx_stamps = float(sink.communicate()[0].split()[3])
    counts = sender.counters()
    tx_cpu, stamp_cpu = counts["sending_cpu_ns"], counts["collecting_cpu_ns"]
    print(
        f"  {name:24}{counts['sent'] / took / 1e6:.3f} Mpps  stamps of {n}: TX {sender.planes()['t1']['kernel']} "
        f"RX {rx_stamps:.0f}  CPU {tx_cpu / n:.0f} + {stamp_cpu / n:.0f} ns a packet",
        flush=True,
    )
    return counts["sent"] / took, (tx_cpu + stamp_cpu) / n


def one_way(pair: Pair, program: str, n: int) -> None:
    """Packets with both stamps one way, as fast as it goes: the C loop and ours in turn, three times.

    CPU ns a packet (sending thread + thread that reads TX stamps) is the figure that a busy machine spoils least.
    The C loop takes the kernel's own stamp counter; ours names each packet (SCM_TS_OPT_ID), or has it looped back.
    """
    names = {"C loop": None, "millicert, own ids": None, "millicert, looped back": False}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(3):
        with pair.udp(1, SINK) as rx, pair.udp(0, 0, SINK) as tx:
            out = subprocess.run(
                [program, str(tx.fileno()), str(rx.fileno()), str(n), str(SIZE)],
                pass_fds=[tx.fileno(), rx.fileno()], capture_output=True, text=True, check=True,
            ).stdout  # fmt: skip
        took, tx_stamps, _got, rx_stamps, tx_cpu, stamp_cpu = (float(word) for word in out.split()[1:])
        found["C loop"].append((n / took, (tx_cpu + stamp_cpu) / n))
        print(
            f"  {'C loop':24}{n / took / 1e6:.3f} Mpps  stamps of {n}: TX {tx_stamps:.0f} RX {rx_stamps:.0f}  "
            f"CPU {tx_cpu / n:.0f} + {stamp_cpu / n:.0f} ns a packet"
        )
        for name, caller_id in list(names.items())[1:]:
            found[name].append(flat_out(pair, program, n, name, caller_id))
    for name, runs in found.items():
        rate, cost = max(rate for rate, _ in runs), min(cost for _, cost in runs)
        of_c = rate / max(rate for rate, _ in found["C loop"])
        print(
            f"one way, both stamps, best of 3: {name:22} {rate / 1e6:.3f} Mpps ({of_c:.2f}), CPU {cost:.0f} ns a packet"
        )


@contextlib.contextmanager
def server(pair: Pair, *words: str) -> Iterator[None]:
    child = subprocess.Popen(
        [*pair.enter(1), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    time.sleep(0.7)
    try:
        yield
    finally:
        child.terminate()
        child.wait()


def irtt(pair: Pair, rate: int, seconds: float, folder: str) -> None:
    with server(pair, "irtt", "server", "-i", "0", "-b", f"{FAR}:2112"):
        subprocess.run(
            [*pair.enter(0), "irtt", "client", "-Q", "-i", f"{SECOND // rate}ns", "-d", f"{seconds:g}s",
             "-o", f"{folder}/irtt.json", f"{FAR}:2112"],
            check=False, capture_output=True,
        )  # fmt: skip
    name = Path(folder, "irtt.json")
    if not name.exists():
        print("irtt gave no result")
        return
    trips = json.loads(name.read_text(encoding="utf-8"))["round_trips"]
    name.unlink()
    there = np.array([t["delay"]["send"] for t in trips if t["delay"].get("send") is not None], np.int64)
    back = np.array([t["delay"]["receive"] for t in trips if t["delay"].get("receive") is not None], np.int64)
    row(f"irtt {rate / 1000:g} kpps asked, forward", there, f"sent {len(trips)}/{int(rate * seconds)}")
    row(f"irtt {rate / 1000:g} kpps asked, backward", back)


def sockperf(pair: Pair, rate: int, seconds: float, folder: str) -> None:
    with server(pair, "sockperf", "server", "-i", FAR, "-p", "11111"):
        subprocess.run(
            [*pair.enter(0), "sockperf", "under-load", "-i", FAR, "-p", "11111", "--mps", str(rate),
             "-t", str(max(1, round(seconds))), "-m", str(SIZE), "--reply-every", "1",
             "--full-log", f"{folder}/sockperf.csv"],
            check=False, capture_output=True,
        )  # fmt: skip
    name = Path(folder, "sockperf.csv")
    if not name.exists():
        print("sockperf gave no result")
        return
    half = []
    for line in name.read_text(encoding="utf-8").splitlines():
        words = line.split(",")
        with contextlib.suppress(ValueError, IndexError):
            half.append(round(float(words[3]) * 1e3))  # packet, txTime, rxTime, latency in us
    name.unlink()
    row(f"sockperf {rate / 1000:g} kpps, round trip / 2", np.array(half, np.int64), "not one-way")


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    ask.add_argument("--seconds", type=float, default=4, help="duration of each floor (60: the long run)")
    ask.add_argument("--rates", type=int, nargs="*", default=[1_000, 10_000, 100_000], help="packets a second")
    ask.add_argument("--packets", type=int, default=1_000_000, help="packets of a one-way run")
    ask.add_argument("--linger-us", type=int, default=0, help="how long the reflector keeps looking after a packet")
    ask.add_argument("--only", choices=["floor", "peers", "highest", "one-way"], nargs="*", default=[])
    options = ask.parse_args()
    if os.geteuid():
        print("needs root to make network namespaces: not run")
        return
    wanted = options.only or ["floor", "peers", "highest", "one-way"]
    cpus = os.cpu_count() or 1
    print(f"{os.uname().sysname} {os.uname().release}, {cpus} processors, load {os.getloadavg()[0]:.2f}; ns")
    print(f"{'':34}" + "".join(f"{head:>12}" for head in ("min", "median", "p99", "p99.9", "max")) + f"{'n':>10}")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        pair = Pair(stack)
        program = compiled(folder)
        if "floor" in wanted:
            for rate in options.rates if program else ():
                bare(pair, program or "", rate, options.seconds)
            with reflector(pair, cpus - 1, options.linger_us * 1000):
                for rate in options.rates:
                    floor(pair, rate, options.seconds)
        if "peers" in wanted:
            for name, run in (("irtt", irtt), ("sockperf", sockperf)):
                if shutil.which(name) is None:
                    print(f"{name} is not installed: not compared")
                    continue
                for rate in (rate for rate in options.rates if rate <= (10_000 if name == "irtt" else 100_000)):
                    run(pair, rate, min(options.seconds, 10), folder)
        if "highest" in wanted:
            with reflector(pair, cpus - 1, options.linger_us * 1000):
                highest(pair, 2)
        if "one-way" in wanted:
            if program is None:
                print("no C compiler: the C loop is not compared")
            else:
                one_way(pair, program, options.packets)


if __name__ == "__main__":
    main()
