"""A simulated metro: real sockets through the real kernel over fibres whose delay is programmed and logged."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import harness
from fastpath.fibre import Fibre, Span
from harness.errors import SimulationError
from harness.link import Endpoint
from harness.simulation import interface
from harness.simulation.clocks import SiteClock
from harness.simulation.plant import FibrePath, LinkPlant
from harness.simulation.processor import Processor

Carrier = Literal["auto", "namespaces", "loopback"]
Side = Literal["near", "far"]

_ETH_P_ALL = 3
_BUFFER_OCTETS = 32 << 20
_LOOPBACK_NOTES = (
    "loopback carrier: no namespaces, packets are relayed by UDP sockets instead of forwarded as frames",
    "loopback carrier: release stamps of the truth log are user clock readings, 1 to 2 us before the kernel's",
    "loopback carrier: TTL, DSCP and ECN are those of the relay, IPv6 and fragments do not cross",
)


class Metro:
    """Links with their plants, alive between enter and exit (a context manager).

    Open it on a thread that lives as long: the helper processes die with that thread.

    ``plants`` maps link names to what lies between their ends. ``carrier`` "auto" takes namespaces and falls
    back to loopback, saying why in ``notes``. ``rescue`` False leaves out the fibre's second thread. Raises
    SimulationError when the carrier cannot be built.
    """

    def __init__(self, plants: Mapping[str, LinkPlant], carrier: Carrier = "auto", *, rescue: bool = True) -> None:
        if not 1 <= len(plants) <= 200:
            raise SimulationError("1 to 200 links", f"{len(plants)}", "change the plan of the metro")
        self._plants = dict(plants)
        self._names = list(plants)
        self._wanted = carrier
        self._rescue = rescue
        self._stack = contextlib.ExitStack()
        self._built: _Namespaces | _Loopback
        self._spans: dict[str, Span] = {}
        self._reflectors: list[ReflectorProcess] = []
        self.carrier: Literal["namespaces", "loopback"] = "namespaces"
        """What was built."""
        self.notes: tuple[str, ...] = ()
        """What is less true than with namespaces and a CPU for the fibre; empty is best."""
        self.origin_ns = 0
        """Instant of opening, ns since 1970 UTC: where site clocks count from."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            processor = Processor()
            stack.callback(processor.release)
            try:
                stack.push(self._build(processor, "loopback" if self._wanted == "loopback" else "namespaces"))
            except SimulationError as error:
                if self._wanted != "auto":
                    raise
                self.notes += (f"namespaces refused ({error.found})",)
                stack.push(self._build(processor, "loopback"))
            stack.callback(self._end_reflectors)
            if processor.reserved is None:
                self.notes += ("one CPU only: the fibre shares it, releases will be late by whole time slices",)
            self.origin_ns = time.time_ns()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the fibre, the reflectors, the namespaces; sockets handed out stay the caller's to close."""
        self._stack.close()

    def _build(self, processor: Processor, carrier: Literal["namespaces", "loopback"]) -> contextlib.ExitStack:
        """A carrier with a fibre on every link; the stack takes it down again."""
        with contextlib.ExitStack() as stack:
            self._built = _Namespaces(self._plants) if carrier == "namespaces" else _Loopback(self._plants)
            stack.enter_context(self._built)
            fibre = Fibre(processor.reserved, processor.others, rescue=self._rescue)
            stack.callback(fibre.close)
            for name, plant in self._plants.items():
                span = self._built.span(name, fibre, stack)
                for direction, routes in enumerate((plant.forward, plant.backward)):
                    span.configure(direction, [_programme(path) for path in routes], dict(plant.route_of), plant.seed)
                self._spans[name] = span
            self.carrier = carrier
            if carrier == "loopback":
                self.notes += _LOOPBACK_NOTES
            return stack.pop_all()

    def _known(self, link: str) -> LinkPlant:
        if link not in self._plants:
            raise SimulationError("a link of this metro", repr(link), f"one of {', '.join(self._names)}")
        return self._plants[link]

    def endpoint(self, link: str, patch: bool = False) -> Endpoint:
        """Addresses of a link, or of the patch cable that joins its two ends with no fibre between."""
        plant = self._known(link)
        near, far = self._built.addresses(link, patch=patch)
        return Endpoint(near, far, self._built.far_port(plant), self._built.interface("near", patch=patch))

    def near_socket(self, link: str, port: int = 0, *, patch: bool = False) -> socket.socket:
        """A UDP socket at the near end, bound to ``port`` (0: any) and connected to the far end's port.

        Raises SimulationError when the port is taken.
        """
        self._known(link)
        return self._built.near_socket(link, port, patch=patch)

    def far_socket(self, link: str, port: int | None = None, *, patch: bool = False) -> socket.socket:
        """An unconnected UDP socket at the far end, bound to ``port`` (default: the endpoint's far port).

        The loopback carrier reaches the default port only.
        """
        plant = self._known(link)
        return self._built.far_socket(link, self._built.far_port(plant) if port is None else port, patch=patch)

    def facts(self, link: str, patch: bool = False) -> tuple[str, ...]:
        """What makes this link a simulation, read from the interfaces and clocks, not declared."""
        plant = self._known(link)
        found = []
        for side in ("near", "far"):
            name = self._built.interface(side, patch=patch)
            with self._built.probe(link, side) as sock:
                driver = interface.driver(sock, name)
            if interface.is_virtual(driver):
                found.append(f"{driver} interface {name} at the {side} end")
        for side, clock in (("near", plant.near_clock), ("far", plant.far_clock)):
            if clock.injected:
                found.append(f"injected clock at the {side} end")
        return tuple(found)

    def enter(self, link: str, side: Side) -> list[str]:
        """Command prefix that runs a program inside one end's namespace (`nsenter` of util-linux).

        Raises SimulationError on the loopback carrier, which has no namespaces.
        """
        self._known(link)
        return self._built.enter(link, side)

    def fibre(self, link: str) -> Span:
        """The delay line of a link: start(), stop(), truth(), take(), health() (see `fastpath.fibre.Span`)."""
        self._known(link)
        return self._spans[link]

    def near_clock(self, link: str, tai_utc: int = 37) -> dict[str, int] | None:
        """Keyword arguments of `fastpath.clock.ClockModel` for the near end; None is the host's own clock.

        ``tai_utc`` is TAI - UTC in s, as the Sender is given.
        """
        clock = self._known(link).near_clock
        return clock.model(self._origin(tai_utc)) if clock.injected else None

    def _origin(self, tai_utc: int) -> int:
        return self.origin_ns + tai_utc * 1_000_000_000

    def start_reflector(
        self,
        link: str,
        patch: bool = False,
        *,
        key: bytes | None = None,
        clock: SiteClock | None = None,
        lie_ns: int = 0,
        lie_quietly: bool = False,
        bound_ns: int | None = None,
        synchronised: bool = False,
        stateless: bool = False,
        tai_utc: int = 37,
    ) -> ReflectorProcess:
        """Start a reflector at the far end, in a process of its own, ready when this returns.

        ``clock`` overrides the plant's far clock. ``bound_ns`` (None: unknown) and ``synchronised`` are what it
        states in the Error Estimate. ``lie_ns`` misstates T3. ``tai_utc`` is TAI - UTC in s. Raises
        SimulationError when it does not start.
        """
        plant = self._known(link)
        model = plant.far_clock if clock is None else clock
        plan = {
            "key": None if key is None else key.hex(),
            "clock": model.model(self._origin(tai_utc)),
            "injected": model.injected,
            "interface": self._built.interface("far", patch=patch),
            "lie_ns": lie_ns,
            "lie_quietly": lie_quietly,
            "bound_ns": bound_ns,
            "synchronised": synchronised,
            "stateful": not stateless,
            "tai_utc": tai_utc,
        }
        with self.far_socket(link, patch=patch) as sock:
            process = ReflectorProcess(plan, sock)
        self._reflectors.append(process)
        return process

    def _end_reflectors(self) -> None:
        for process in self._reflectors:
            process.kill()


class ReflectorProcess:
    """A running reflector of the far end; its socket lives as long as it does."""

    def __init__(self, plan: dict[str, Any], sock: socket.socket) -> None:
        self._channel, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._counters: dict[str, int] = {}
        with child:
            self._process = _start("far", child, sock.fileno())
        self._channel.send(json.dumps({**plan, "fds": [sock.fileno()]}).encode())
        self._channel.settimeout(30)
        try:
            ready = self._channel.recv(64)
        except TimeoutError:
            ready = b""
        if ready != b"ready":
            self.kill()
            raise SimulationError("a reflector that starts", "none", "its own words are on the standard error stream")

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def counters(self) -> dict[str, int]:
        """Counters of the reflector, or the last known ones once it has ended (empty after a kill)."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                self._channel.send(b"counters")
                self._counters = json.loads(self._channel.recv(65536) or b"{}")
        return dict(self._counters)

    def stop(self) -> dict[str, int]:
        """End it in an orderly way; its final counters. Raises SimulationError when it does not end in 10 s."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError):
                self._channel.send(b"stop")
                self._counters = json.loads(self._channel.recv(65536) or b"{}")
            self._channel.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
                raise SimulationError("a reflector that stops", "none within 10 s", "it was killed") from None
        return dict(self._counters)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self._process.kill()
        self._process.wait()
        self._channel.close()


def _start(module: str, channel: socket.socket, *fds: int) -> subprocess.Popen[bytes]:
    """A process of this package that finds it the way this one did."""
    root = str(Path(harness.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
    return subprocess.Popen(
        [sys.executable, "-m", f"harness.simulation.{module}", str(channel.fileno())],
        pass_fds=(channel.fileno(), *fds),
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path},
    )


def _programme(path: FibrePath) -> dict[str, Any]:
    """A path as `fastpath.fibre.Span.configure` wants it."""
    jitter = path.jitter
    return {
        "delay_ns": path.delay,
        "jitter_law": 0 if jitter is None else {"uniform": 1, "exponential": 2}[jitter.law],
        "jitter_ns": 0 if jitter is None else jitter.ns,
        "keep_order": jitter is None or jitter.keep_order,
        "loss_ppm": path.loss.ppm,
        "burst": path.loss.burst,
        "duplicate_ppm": path.duplicate_ppm,
        "reorder_ppm": path.reorder_ppm,
        "reorder_ns": path.reorder_ns,
        "changes": [(c.at_ns, -1 if c.delay_ns is None else c.delay_ns) for c in path.changes],
    }


def _deepen(sock: socket.socket) -> None:
    """Room for a burst: beyond the system's limit where allowed, else up to it."""
    for force, plain in ((33, socket.SO_RCVBUF), (32, socket.SO_SNDBUF)):  # SO_RCVBUFFORCE, SO_SNDBUFFORCE
        try:
            sock.setsockopt(socket.SOL_SOCKET, force, _BUFFER_OCTETS)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, plain, _BUFFER_OCTETS)


class _Namespaces:
    """Three anonymous namespaces a link, held by a helper process."""

    def __init__(self, plants: Mapping[str, LinkPlant]) -> None:
        self._plants = plants
        self._index = {name: i for i, name in enumerate(plants)}
        self._made: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._channel, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with child:
            self._process = _start("holder", child)
        try:
            links = [
                {
                    "name": name,
                    "index": self._index[name],
                    "mtu": plant.mtu,
                    "static_neighbours": plant.static_neighbours,
                    "addresses": [self._pair(name, plant, ipv6=False), self._pair(name, plant, ipv6=True)],
                    "patch": [self._patch(name, ipv6=False), self._patch(name, ipv6=True)],
                }
                for name, plant in self._plants.items()
            ]
            self._made, _ = self._ask({"do": "build", "links": links})
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
        try:
            self._channel.send(json.dumps(request).encode())
            message, fds, _, _ = socket.recv_fds(self._channel, 1 << 20, 1)
        except OSError as error:
            message, fds = json.dumps({"error": str(error)}).encode(), []
        if not message:
            raise SimulationError("a namespace holder", "it ended", "its own words are on the standard error stream")
        answer: dict[str, Any] = json.loads(message)
        if "error" in answer:
            remedy = "run as root, or allow user namespaces (sysctl user.max_user_namespaces), or use carrier loopback"
            raise SimulationError("a socket in a namespace", answer["error"], remedy)
        return answer, fds

    def _pair(self, link: str, plant: LinkPlant, *, ipv6: bool) -> tuple[str, str]:
        index = self._index[link]
        if ipv6:
            return f"fd00:77:{index:x}::1", f"fd00:77:{index:x}::2"
        return plant.near_address or f"10.77.{index}.1", plant.far_address or f"10.77.{index}.2"

    def _patch(self, link: str, *, ipv6: bool) -> tuple[str, str]:
        index = self._index[link]
        return (f"fd00:78:{index:x}::1", f"fd00:78:{index:x}::2") if ipv6 else (f"10.78.{index}.1", f"10.78.{index}.2")

    def addresses(self, link: str, *, patch: bool) -> tuple[str, str]:
        plant = self._plants[link]
        return self._patch(link, ipv6=plant.ipv6) if patch else self._pair(link, plant, ipv6=plant.ipv6)

    def far_port(self, plant: LinkPlant) -> int:
        return plant.far_port

    def interface(self, side: str, *, patch: bool) -> str:
        return ("p" if patch else "v") + ("a" if side == "near" else "b")

    def _socket(
        self, namespace: str, family: int, kind: int,
        bind: tuple[str, int] | None = None, connect: tuple[str, int] | None = None,
    ) -> socket.socket:  # fmt: skip
        request = {
            "do": "socket", "namespace": namespace, "family": family, "type": kind, "bind": bind, "connect": connect,
        }  # fmt: skip
        _, fds = self._ask(request)
        sock = socket.socket(fileno=fds[0])
        _deepen(sock)
        return sock

    def near_socket(self, link: str, port: int, *, patch: bool) -> socket.socket:
        plant = self._plants[link]
        near, far = self.addresses(link, patch=patch)
        family = socket.AF_INET6 if plant.ipv6 else socket.AF_INET
        return self._socket(f"{link}/near", family, socket.SOCK_DGRAM, (near, port), (far, plant.far_port))

    def far_socket(self, link: str, port: int, *, patch: bool) -> socket.socket:
        _, far = self.addresses(link, patch=patch)
        family = socket.AF_INET6 if self._plants[link].ipv6 else socket.AF_INET
        return self._socket(f"{link}/far", family, socket.SOCK_DGRAM, (far, port))

    def probe(self, link: str, side: str) -> socket.socket:
        return self._socket(f"{link}/{side}", socket.AF_INET, socket.SOCK_DGRAM)

    def span(self, link: str, fibre: Fibre, stack: contextlib.ExitStack) -> Span:
        sockets = []
        for name, protocol in (("fa", _ETH_P_ALL), ("fa", 0), ("fb", _ETH_P_ALL), ("fb", 0)):
            # Unbound and without protocol it hears nothing: the ring is there before the first frame.
            sock = self._socket(f"{link}/fibre", socket.AF_PACKET, socket.SOCK_RAW)
            stack.callback(sock.close)
            sockets.append((sock, name, protocol))
        try:
            span = fibre.packet_span([sock.fileno() for sock, _, _ in sockets], self._plants[link].mtu)
            for sock, name, protocol in sockets:
                sock.bind((name, protocol))
        except OSError as error:
            raise SimulationError("a packet ring", str(error), "use the loopback carrier") from error
        return span

    def enter(self, link: str, side: str) -> list[str]:
        pid = self._made["pid"]
        user = [] if os.geteuid() == 0 else ["--preserve-credentials", f"--user=/proc/{pid}/ns/user"]
        return ["nsenter", *user, f"--net=/proc/{pid}/fd/{self._made['fds'][f'{link}/{side}']}"]


class _Loopback:
    """UDP relays between loopback addresses: near .1, relay's face to it .2, relay's face to far .3, far .4."""

    def __init__(self, plants: Mapping[str, LinkPlant]) -> None:
        self._index = {name: i for i, name in enumerate(plants)}
        # Another metro on this host takes another /16; the port check in `span` finds the rest.
        self._net = 64 + os.getpid() % 128
        self._plants = plants
        self._fronts: dict[str, socket.socket] = {}
        self._spans: dict[str, Span] = {}
        self._behind: dict[tuple[str, int], socket.socket] = {}
        self._port = 0

    def __enter__(self) -> Self:
        refused = [name for name, plant in self._plants.items() if plant.ipv6]
        if refused:
            raise SimulationError("IPv4 links", f"IPv6 at {', '.join(refused)}", "use the namespaces carrier")
        try:
            for name in self._plants:
                front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                self._fronts[name] = front
                front.bind((self._address(name, 2), self._port))
                self._port = front.getsockname()[1]
                _deepen(front)
        except OSError as error:
            self.__exit__()
            raise SimulationError("a free loopback port", str(error), "try again") from error
        return self

    def __exit__(self, *_: object) -> None:
        for sock in (*self._fronts.values(), *self._behind.values()):
            sock.close()

    def _address(self, link: str, host: int) -> str:
        return f"127.{self._net}.{self._index[link]}.{host}"

    def addresses(self, link: str, *, patch: bool) -> tuple[str, str]:
        return (self._address(link, 5), self._address(link, 6)) if patch else (
            self._address(link, 1), self._address(link, 2))  # fmt: skip

    def far_port(self, plant: LinkPlant) -> int:
        del plant
        return self._port

    def interface(self, side: str, *, patch: bool) -> str:
        del side, patch
        return "lo"

    def _bound(self, address: str, port: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.bind((address, port))
        except OSError as error:
            sock.close()
            raise SimulationError(f"UDP port {port} at {address}", str(error), "choose another port") from error
        _deepen(sock)
        return sock

    def near_socket(self, link: str, port: int, *, patch: bool) -> socket.socket:
        near, far = self.addresses(link, patch=patch)
        sock = self._bound(near, port)
        sock.connect((far, self._port))
        port = sock.getsockname()[1]
        if not patch and (link, port) not in self._behind:
            # The flow keeps its source port behind the relay, so that the far end sees one session a flow.
            behind = self._bound(self._address(link, 3), port)
            behind.connect((self._address(link, 4), self._port))
            self._behind[link, port] = behind
            self._spans[link].add_flow(port, behind.fileno())
        return sock

    def far_socket(self, link: str, port: int, *, patch: bool) -> socket.socket:
        return self._bound(self._address(link, 6 if patch else 4), port)

    def probe(self, link: str, side: str) -> socket.socket:
        del link, side
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def span(self, link: str, fibre: Fibre, stack: contextlib.ExitStack) -> Span:
        del stack
        near = int.from_bytes(socket.inet_aton(self._address(link, 1)), "big")
        self._spans[link] = fibre.relay_span(self._fronts[link].fileno(), near)
        return self._spans[link]

    def enter(self, link: str, side: str) -> list[str]:
        raise SimulationError(f"a namespace at {link}/{side}", "loopback carrier", "use the namespaces carrier")
