"""The Stage a stream runs on: the real network, or the simulated metro in its place."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from fastpath import clock as core_clock
from fastpath import timestamping
from harness import engine
from harness.artefact import SIMULATED_BENCH, Port
from harness.bench import Bench
from harness.errors import EngineError
from harness.link import Link
from harness.port import describe
from harness.samples import NO_STALLS, Column, Stalls
from harness.simulation.clocks import SiteClock
from harness.simulation.metro import Metro
from harness.stream import Stream

LATE_NS: Final = 50_000
"""A release of the simulated fibre later than this is a stall of the host, reported whatever it does."""


@dataclass(frozen=True)
class Scene:
    """What a stream needs while it runs on a stage."""

    sockets: list[socket.socket]
    near: engine.Near
    facts: tuple[str, ...]
    """What makes it a simulation; empty on a real link."""
    aftermath: Callable[[Stream], Aftermath]
    """Called once, after the stream."""
    near_port: Port = field(default_factory=Port)
    """The port the packets leave through, as its kernel describes it."""


@dataclass(frozen=True)
class Aftermath:
    """What a stage knows after the stream that no timestamp says."""

    stalls: Stalls
    counters: dict[str, int]


class Stage(Protocol):
    """Where streams run."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is less true here than it could be."""

    def link(self, link: Link) -> Link:
        """The link with the addresses it has on this stage."""

    def port(self, link: Link) -> Port:
        """The near port of the link, as its kernel describes it."""

    def scene(
        self, link: Link, stream: Stream, key: bytes | None, error_estimate: Callable[[], int], *, patch: bool = False
    ) -> contextlib.AbstractContextManager[Scene]:
        """Everything open and ready for one stream; closed again afterwards. ``patch``: back to back."""

    def close(self) -> None:
        """Leave nothing behind."""


class RealStage:
    """Interfaces of this host; the far end is somebody's reflector."""

    notes: tuple[str, ...] = ()

    def __init__(self, tai_utc_s: int) -> None:
        self._tai_utc_s = tai_utc_s

    def link(self, link: Link) -> Link:
        """As the bench says."""
        return link

    def port(self, link: Link) -> Port:
        """The interface of the route to the far end. Raises EngineError when the kernel knows no way there."""
        return describe(way_to(link))

    @contextlib.contextmanager
    def scene(
        self, link: Link, stream: Stream, key: bytes | None, error_estimate: Callable[[], int], *, patch: bool = False
    ) -> Iterator[Scene]:
        """Sockets bound to the flows' ports."""
        del key, patch
        with contextlib.ExitStack() as closing:
            sockets = engine.open_sockets(link, stream)
            for each in sockets:
                closing.enter_context(each)
            near = engine.Near(self._tai_utc_s, error_estimate=error_estimate)
            yield Scene(sockets, near, facts(link), lambda _: Aftermath(NO_STALLS, {}), self.port(link))

    def close(self) -> None:
        """Nothing is kept open between streams."""


def facts(link: Link) -> tuple[str, ...]:
    """Simulation facts of the interface that reaches the far end, and of all that it stands on.

    veth, lo and tap carry no real light; what is not shown to end in a physical device is not taken for real either,
    and its fact says why. Raises EngineError when the kernel knows no way to the far end.
    """
    named = _named(link)
    try:
        found = sorted(_ways(link, named))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
            told = [doubt for index in found for doubt in timestamping.doubts(here.fileno(), index)]
    except (OSError, NetlinkError) as why:
        raise EngineError(
            f"a way to {link.endpoint.far_address} through {named or 'any interface'}",
            str(why),
            "`ip route get` shows what the kernel knows; correct far_address or interface in the bench file",
        ) from why
    if not found:
        raise EngineError(f"a way to {link.endpoint.far_address}", "a route without an interface", "see `ip route get`")
    return tuple(sorted({doubt.at("near") for doubt in told}))


def way_to(link: Link) -> str:
    """The interface that packets to the far end leave through. Raises EngineError when the kernel knows none."""
    named = _named(link)
    if named:
        return named
    try:
        found = _ways(link)
    except (OSError, NetlinkError) as why:
        raise EngineError(
            f"a way to {link.endpoint.far_address}", str(why), "`ip route get` shows what the kernel knows"
        ) from why
    return _name(min(found, default=0))


def _named(link: Link) -> str:
    """The interface that the bench names; empty where the routes decide."""
    return link.endpoint.interface or link.endpoint.far_address.partition("%")[2]


def _ways(link: Link, named: str = "") -> set[int]:
    """Indices of the interfaces that the flows' packets leave through: a rule may choose by where they come from."""
    end = link.endpoint
    asked: dict[str, str | int] = {"dst": end.far_address.partition("%")[0]}
    near = end.near_address.partition("%")[0]
    if near not in {"", "0.0.0.0", "::"}:  # noqa: S104  # compared, not bound
        asked["src"] = near
    if named:
        asked["oif"] = socket.if_nametoindex(named)
    with IPRoute() as kernel:  # type: ignore[no-untyped-call]  # pyroute2 is only half typed
        return {index for route in kernel.route("get", **asked) if (index := route.get_attr("RTA_OIF"))}


def _name(index: int) -> str:
    """Name of an interface by index, empty when it is in another namespace."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""


class SimulatedStage:
    """The simulated metro, opened once for a run, its reflectors started for each stream."""

    def __init__(self, bench: Bench, tai_utc_s: int) -> None:
        simulation = bench.simulation
        if simulation is None:
            raise ValueError("a simulated stage wants a simulated bench")
        self._simulation = simulation
        self._tai_utc_s = tai_utc_s
        self._closing = contextlib.ExitStack()
        self.metro = self._closing.enter_context(Metro(simulation.links, simulation.carrier))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the carrier makes less true."""
        return (f"carrier {self.metro.carrier}", *self.metro.notes)

    def link(self, link: Link) -> Link:
        """With the metro's own addresses."""
        return replace(link, endpoint=self.metro.endpoint(link.name))

    def port(self, link: Link) -> Port:
        """One port for all: a simulated one is made anew each time, nothing tells it from another."""
        del link
        return Port(f"{self.metro.carrier} metro", "simulated", SIMULATED_BENCH)

    @contextlib.contextmanager
    def scene(
        self, link: Link, stream: Stream, key: bytes | None, error_estimate: Callable[[], int], *, patch: bool = False
    ) -> Iterator[Scene]:
        """A reflector at the far end, a fibre (none back to back) and sockets at the near end."""
        claims = self._simulation.clocks.get(link.far.name)
        with contextlib.ExitStack() as closing:
            reflector = self.metro.start_reflector(
                link.name,
                patch=patch,
                key=key,
                clock=SiteClock() if patch else None,
                bound_ns=claims.claimed_bound_ns if claims else None,
                synchronised=bool(claims and claims.claimed_synchronised),
                tai_utc=self._tai_utc_s,
            )
            closing.callback(reflector.stop)
            sockets = []
            for port in link.flow_ports[: stream.flows]:
                sockets.append(closing.enter_context(self.metro.near_socket(link.name, port, patch=patch)))
                engine.dress(sockets[-1], stream)
            near = engine.Near(
                self._tai_utc_s,
                # One spinning thread a run: on the fibre's carrier the fibre has it.
                pace="sleep",
                clock=None if patch else self._near_clock(link),
                error_estimate=error_estimate,
            )
            fibre = None if patch else self.metro.fibre(link.name)
            if fibre is not None:
                fibre.start()
                closing.callback(fibre.stop)

            def aftermath(ran: Stream) -> Aftermath:
                counters = {f"reflector_{name}": count for name, count in reflector.counters().items()}
                if fibre is None:
                    return Aftermath(NO_STALLS, counters)
                fibre.stop()
                health: Mapping[str, int] = fibre.health()
                counters |= {f"fibre_{name}": count for name, count in health.items()}
                return Aftermath(stalls(fibre.late(), link, ran), counters)

            yield Scene(sockets, near, self.metro.facts(link.name, patch), aftermath, self.port(link))

    def _near_clock(self, link: Link) -> core_clock.ClockModel | None:
        model = self.metro.near_clock(link.name, self._tai_utc_s)
        return None if model is None else core_clock.ClockModel(**model)

    def close(self) -> None:
        """End namespaces, fibres, reflectors."""
        self._closing.close()


def stalls(truth: Any, link: Link, stream: Stream) -> Stalls:
    """The fibre's late releases as rows of the stream's Samples; flush packets after the last row are left out."""
    late = truth[truth["late_ns"] > LATE_NS]
    flow_of = {port: flow for flow, port in enumerate(link.flow_ports[: stream.flows])}
    flow = np.array([flow_of.get(int(port), -1) for port in late["port"]], np.int64)
    row: Column = late["seq"].astype(np.int64) * stream.flows + flow
    ours = (flow >= 0) & (row < stream.packets)
    return Stalls(row[ours], late["direction"].astype(np.int64)[ours], late["late_ns"].astype(np.int64)[ours])
