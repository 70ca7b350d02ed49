"""The optical plant: what is plugged into what, with the light, the echo and the time of flight that follow from it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, TypeVar

import numpy as np

from drivers.clock import Clock
from drivers.errors import InstrumentError
from drivers.quantity import C_M_PER_S
from drivers.simulated.chance import chance
from drivers.simulated.history import History
from drivers.simulated.light import Array, Beam, Flags, Light, Times, dark, ratio

KNOT_NS: Final = 1_000_000_000
"""Between two knots nothing but drift goes on; drift over a second is a straight line to 1e-8."""
CALM_NS: Final = 10_000_000
"""Readings that end within so long of each other, while nothing moves, are of the same light."""
CHUNK: Final = 4096
"""Instants that are reckoned with together, so that memory stays small."""
RESOLUTION: Final = 4 * np.log(2)
GAUSS: Final = np.linspace(-1.5, 1.5, 13)
"""Offsets over which an analyser's slit averages noise, in widths of the slit."""


class PlaceError(InstrumentError):
    """A place that the plant does not have, or that light cannot be plugged into."""


@dataclass(frozen=True, slots=True)
class Plugs:
    """What a plugged connector is like; all drawn anew at each plugging."""

    loss_db: float = 0.10
    """Mean."""
    sigma_db: float = 0.02
    """Standard deviation of the loss."""
    return_db: float = 60.0
    """Return loss of a mated pair."""
    return_sigma_db: float = 1.0
    open_return_db: float = 58.0
    """Return loss of an angled end that nothing is plugged into."""


@dataclass(frozen=True, slots=True)
class Joint:
    """Two ends that touch."""

    a: str
    b: str
    loss_db: float
    return_db: float
    dirt_db: float = 0.0
    dirt_return_db: float = 200.0
    fixed: bool = False
    """Spliced: nobody unplugs it."""
    cut: bool = False
    transmission: float = 1.0
    reflection: float = 0.0

    def other(self, place: str) -> str:
        """The end across."""
        return self.b if place == self.a else self.a

    def made(self) -> Joint:
        """The same with its ratios worked out."""
        through = 0.0 if self.cut else ratio(self.loss_db + self.dirt_db)
        back = ratio(14.7) if self.cut else ratio(self.return_db) + ratio(self.dirt_return_db)  # 14.7 dB: glass to air
        return replace(self, transmission=through, reflection=back)


@dataclass(frozen=True, slots=True)
class Dirt:
    """What is on the face of a connector."""

    loss_db: float
    return_db: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the way that a pulse takes, as a reflectometer sees it, in order."""

    label: str
    flight_s: float
    """One way."""
    length_m: float = 0.0
    """Of glass; 0: an event without length."""
    slope_db_km: float = 0.0
    group_index: float = 1.4682
    loss_db: float = 0.0
    """Of the event, at its end for a piece without length."""
    reflectance_db: float | None = None
    """Negative; None: reflects nothing."""


class Element:
    """Something light goes through. Its ports are the ends of its pigtails; a place is "element:port".

    State is set by methods that take ``at_ns`` (None: now) and kept as history, so that the past can be asked.
    """

    ins: tuple[str, ...] = ()
    """Ports that light enters by."""
    outs: tuple[str, ...] = ()
    """Ports that light leaves by."""
    ends: tuple[str, ...] = ()
    """Ports that it may do both by: the ends of a fibre."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lock = threading.RLock()
        self.plant: Plant | None = None

    def place(self, port: str) -> str:
        """Of one of its ports."""
        return f"{self.name}:{port}"

    def facing(self, port: str, *, out: bool) -> str:
        """The port that a name stands for when a cord is plugged there for light to leave (``out``) or enter."""
        return port

    def spoken(self, port: str) -> str:
        """What people call a port; the other way round than `facing`."""
        return port

    def now(self, at_ns: int | None) -> int:
        """The instant, or the present one; tells the plant that something changes."""
        if self.plant is None:
            return at_ns or 0
        self.plant.touch()
        return self.plant.clock.now_ns() if at_ns is None else at_ns

    def emit(self, port: str, view: View) -> Beam:
        """What leaves by a port. No light unless an element says otherwise."""
        return dark(view.count)

    def reflect(self, port: str, view: View, frequency_hz: Array) -> Array:
        """Share of the light entering by a port that comes back out of it, (T, k)."""
        return np.zeros(frequency_hz.shape)

    def onward(self, port: str, at_ns: int, wavelength_m: float = 1550e-9) -> tuple[str, tuple[Piece, ...]] | None:
        """Where most of what enters by a port leaves, with what lies between. None: it ends here; "": inside."""
        return None

    def steps(self, start_ns: int, end_ns: int) -> Iterable[int]:
        """Instants after start up to end at which something jumps."""
        return ()

    def moving(self, start_ns: int, end_ns: int) -> Iterable[tuple[int, int]]:
        """Stretches overlapping start to end in which something moves fast."""
        return ()

    def lost(self, port: str, at_ns: int) -> None:
        """The light that should enter by a port was cut off at an instant; who protects acts."""

    def found(self, port: str, at_ns: int) -> None:
        """It is whole again."""

    def power_off(self, at_ns: int) -> None:
        """Both feeds are cut."""

    def power_on(self, at_ns: int) -> float:
        """Both feeds are back; s until it is up."""
        return 0.0


Kind = TypeVar("Kind", bound=Element)


class Sink(Element):
    """Where light ends: the channels of a power meter, an analyser's input, a reflectometer's port, a terminator."""

    def __init__(self, name: str, ports: Sequence[str], return_db: float = 55.0, *, two_way: bool = False) -> None:
        """``two_way``: its port emits as well, as a reflectometer's does; so it may be the source of a patch."""
        super().__init__(name)
        self.ins = () if two_way else tuple(ports)
        self.ends = tuple(ports) if two_way else ()
        self.return_db = return_db

    def reflect(self, port: str, view: View, frequency_hz: Array) -> Array:
        """The same at every wavelength."""
        return np.full(frequency_hz.shape, ratio(self.return_db))


class View:
    """The plant over instants between which nothing jumps; what was reckoned once is kept."""

    def __init__(self, plant: Plant, times: Times) -> None:
        self.plant = plant
        self.times = times
        """(T,) ns of the plant's clock, rising."""
        self.first = int(times[0])
        self.last = int(times[-1])
        self.count = int(times.size)
        self.kept: dict[Any, Any] = {}
        """What elements keep for themselves."""
        self.nested = False
        """While an element gathers what enters it: what is asked meanwhile may be less than the whole, for a ring."""
        self._left: dict[str, Beam] = {}
        self._open: set[str] = set()

    def seconds(self) -> Array:
        """(T,) s since the plant was made."""
        return np.asarray((self.times - self.plant.start_ns) / 1e9, dtype=np.float64)

    def arriving(self, place: str) -> Beam:
        """What enters an element at a place."""
        joint = self.plant.joint(place, self.first)
        if joint is None or joint.cut:
            return dark(self.count)
        return self.leaving(joint.other(place)).scaled(joint.transmission)

    def leaving(self, place: str) -> Beam:
        """What an element sends out at a place. Light that goes round in a ring is not followed."""
        found = self._left.get(place)
        if found is not None:
            return found
        if place in self._open:
            return dark(self.count)
        self._open.add(place)
        try:
            element, port = self.plant.at(place)
            beam = element.emit(port, self)
        finally:
            self._open.discard(place)
        if not self.nested:
            self._left[place] = beam
        return beam

    def echo(self, place: str, frequency_hz: Array) -> Array:
        """Share of the light sent out at a place that comes back to it, (T, k)."""
        joint = self.plant.joint(place, self.first)
        if joint is None:
            return np.full(frequency_hz.shape, ratio(self.plant.plugs.open_return_db))
        if joint.cut:
            return np.full(frequency_hz.shape, joint.reflection)
        other = joint.other(place)
        mark = f"echo {other}"
        if mark in self._open:
            return np.zeros(frequency_hz.shape)
        self._open.add(mark)
        try:
            element, port = self.plant.at(other)
            beyond = element.reflect(port, self, frequency_hz)
        finally:
            self._open.discard(mark)
        return joint.reflection + joint.transmission**2 * beyond


@dataclass(frozen=True, slots=True)
class Places:
    """What an instrument's model is told: who it is in the plant, with the truth that only the lab knows.

    The element of an instrument bears the instrument's name: ``plant.get(places.name, Laser)``.
    """

    name: str
    """The instrument's name in the lab table: "meter-1"."""
    seed: int = 0
    """For the model's own noise."""
    gain_db: Mapping[int, float] = field(default_factory=dict)
    """True calibration error by channel: what a meter shows less what is there, dB."""
    polarisation: Mapping[int, tuple[float, tuple[float, float, float]]] = field(default_factory=dict)
    """By channel: (response to polarisation peak to peak, dB; Stokes axis that it sees best)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What else the lab table says of the instrument (model, options, boards)."""

    def channel(self, number: int) -> str:
        """Place of a meter's channel, counted from 1: "meter-1:3"."""
        return f"{self.name}:{number}"

    @property
    def out(self) -> str:
        """Place of a laser's or a reflectometer's output."""
        return f"{self.name}:out"

    @property
    def into(self) -> str:
        """Place of an analyser's, a tester's or a polariser's input."""
        return f"{self.name}:in"

    def inlet(self, number: int) -> str:
        """Input of an attenuator's channel or a cross-connect's port: "voa-1:in-1"."""
        return f"{self.name}:in-{number}"

    def outlet(self, number: int) -> str:
        """Output of an attenuator's channel or a cross-connect's port: "voa-1:out-1"."""
        return f"{self.name}:out-{number}"


class Plant:
    """Elements, and cords between them. Safe to use from several threads.

    Every instant is ns of the plant's clock; None means now. The past is known for ten minutes.
    """

    def __init__(self, clock: Clock, seed: int, plugs: Plugs | None = None) -> None:
        self.clock = clock
        self.seed = seed
        self.plugs = Plugs() if plugs is None else plugs
        self.start_ns = clock.now_ns()
        self.lock = threading.RLock()
        self.elements: dict[str, Element] = {}
        self._names: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._ends: dict[str, tuple[Element, str]] = {}
        self._cleaned: dict[str, str] = {}
        self._joints: dict[str, History[Joint | None]] = {}
        self._wired: History[int] = History(0)
        self._dirt: dict[str, Dirt] = {}
        self._draws = chance(seed, "plugs")
        self._revision = 0
        self._view: tuple[int, int, View] | None = None

    # -- building --------------------------------------------------------------------------------------------

    def add(self, element: Kind) -> Kind:
        """Put an element there. Raises PlaceError for a name that is taken."""
        with self.lock:
            if element.name in self.elements:
                raise PlaceError("each name once", f"{element.name} twice", "name one of them otherwise")
            self.elements[element.name] = element
            element.plant, element.lock = self, self.lock
            self.touch()
        return element

    def get(self, name: str, kind: type[Kind]) -> Kind:
        """The element of a name, of a kind. Raises PlaceError."""
        found = self.elements.get(name)
        if not isinstance(found, kind):
            has = "nothing" if found is None else f"a {type(found).__name__}"
            known = ", ".join(each for each, element in self.elements.items() if isinstance(element, kind)) or "none"
            raise PlaceError(f"a {kind.__name__} named {name}", has, f"there are: {known}")
        return found

    def alias(self, name: str, place: str) -> None:
        """Let a name stand for a place: "launch-3" for "coupler:out-3"."""
        with self.lock:
            self._names[name] = place

    def place(self, name: str, *, out: bool | None = None) -> str:
        """The element:port that a name stands for; ``out``: as a source of light, or as a target. Raises PlaceError."""
        known = self._names.get(name, name)
        owner, _, port = known.partition(":")
        element = self.elements.get(owner)
        if element is not None and out is not None:
            port = element.facing(port, out=out)
        ports = () if element is None else (*element.ins, *element.outs, *element.ends)
        if element is not None and out is None and port not in ports:
            port = element.facing(port, out=True)
        if element is None or port not in ports:
            raise PlaceError(
                "a place of the bench",
                name,
                f"elements: {', '.join(self.elements)}; names: {', '.join(self._names) or 'none'}"
                if element is None
                else f"{owner} has {', '.join(ports)}",
            )
        return f"{owner}:{port}"

    def spoken(self, full: str) -> str:
        """What people call a place given in its full form: "launch-3"."""
        if full in self._said:
            return self._said[full]
        for name, place in self._names.items():
            if place == full:
                return name
        element, port = self.at(full)
        return element.place(element.spoken(port))

    def at(self, place: str) -> tuple[Element, str]:
        """Element and port of a place in its full form."""
        found = self._ends.get(place)
        if found is None:
            owner, _, port = place.partition(":")
            found = self._ends[place] = (self.elements[owner], port)
        return found

    def touch(self) -> None:
        """What was reckoned for the present instant no longer holds."""
        self._revision += 1

    def _now(self, at_ns: int | None) -> int:
        return self.clock.now_ns() if at_ns is None else at_ns

    # -- plugging --------------------------------------------------------------------------------------------

    def joint(self, place: str, at_ns: int) -> Joint | None:
        """What is plugged in at a place (full form) at an instant."""
        history = self._joints.get(place)
        return None if history is None else history.at(at_ns)

    def peer(self, place: str, at_ns: int | None = None) -> str | None:
        """The place on the other side of what is plugged in there; None: nothing is."""
        with self.lock:
            full = self.place(place)
            for side in (full, self.place(place, out=False)):
                joint = self.joint(side, self._now(at_ns))
                if joint is not None:
                    return joint.other(side)
        return None

    def patch(self, source: str, target: str, at_ns: int | None = None) -> None:
        """Plug the end ``source`` (light leaves there) into ``target``; what was in either is unplugged first.

        Loss and return loss of the pair are drawn anew. Raises PlaceError for a place that is none, for two outputs,
        two inputs, and for a splice.
        """
        with self.lock:
            a, b = self.place(source, out=True), self.place(target, out=False)
            if a == b:
                raise PlaceError("two places", f"{source} into itself", "name another target")
            for side, name, wrong in ((a, source, "ins"), (b, target, "outs")):
                element, port = self.at(side)
                if port in getattr(element, wrong):
                    raise PlaceError(
                        "light from an output into an input", f"{source} → {target}", f"{name} is the wrong way round"
                    )
            now = self._now(at_ns)
            for side in (a, b):
                joint = self.joint(side, now)
                if joint is not None:
                    self._unplug(joint, now)
            self._said |= {a: source, b: target}
            loss, back = self._draws.normal(size=2)
            plugs = self.plugs
            self._plug(
                Joint(
                    a,
                    b,
                    max(0.0, plugs.loss_db + plugs.sigma_db * loss),
                    plugs.return_db + plugs.return_sigma_db * back,
                ),
                now,
            )

    def splice(self, source: str, target: str, loss_db: float = 0.0, return_db: float = 75.0) -> None:
        """Join two places for good."""
        with self.lock:
            a, b = self.place(source, out=True), self.place(target, out=False)
            self._plug(Joint(a, b, loss_db, return_db, fixed=True), -(1 << 61))

    def unpatch(self, place: str, at_ns: int | None = None) -> None:
        """Pull what is plugged in there, on whichever side the place is; nothing there: nothing happens."""
        with self.lock:
            now = self._now(at_ns)
            for side in {self.place(place, out=True), self.place(place, out=False)}:
                joint = self.joint(side, now)
                if joint is not None:
                    self._unplug(joint, now)

    def _plug(self, joint: Joint, at_ns: int) -> None:
        faces = [self._dirt[side] for side in (joint.a, joint.b) if side in self._dirt]
        if faces:
            joint = replace(
                joint,
                dirt_db=sum(face.loss_db for face in faces),
                dirt_return_db=min(face.return_db for face in faces),
            )
        joint = joint.made()
        for side in (joint.a, joint.b):
            self._joints.setdefault(side, History(None)).set(at_ns, joint)
        self._wired.set(at_ns, self._revision)
        self.touch()

    def _unplug(self, joint: Joint, at_ns: int) -> None:
        if joint.fixed:
            raise PlaceError("a connector", f"{joint.a} is spliced to {joint.b}", "plug at the end of a cord")
        for side in (joint.a, joint.b):
            self._joints[side].set(at_ns, None)
        self._wired.set(at_ns, self._revision)
        self.touch()

    def soil(self, place: str, loss_db: float, return_db: float = 35.0, at_ns: int | None = None) -> None:
        """Dirt on the face of a place: it adds loss, and reflects, until it is cleaned."""
        with self.lock:
            face = self._face(place)
            self._cleaned.pop(face, None)
            self._dirt[face] = Dirt(loss_db, return_db)
            joint = self.joint(face, self._now(at_ns))
            if joint is not None:
                self._plug(joint, self._now(at_ns))

    def clean(self, place: str, at_ns: int | None = None) -> str:
        """Unplug, clean, inspect and plug in again; what was seen."""
        with self.lock:
            face = self._face(place)
            self._cleaned[face] = "dirt on the core" if self._dirt.pop(face, None) else "nothing"
            joint = self.joint(face, self._now(at_ns))
            if joint is not None and not joint.fixed:
                self.patch(self.spoken(joint.a), self.spoken(joint.b), at_ns)
            return self.inspect(place)

    def inspect(self, place: str) -> str:
        """What a microscope shows of the face."""
        with self.lock:
            face = self._face(place)
            if face in self._dirt:
                return f"{place}: dirt on the core"
            cleaned = self._cleaned.get(face)
        return f"{place}: clean" if cleaned is None else f"{place}: clean; cleaning took away: {cleaned}"

    def _face(self, place: str) -> str:
        full = self.place(place)
        as_target = self.place(place, out=False)
        element, port = self.at(as_target)
        return as_target if port in element.ins else full

    def cut(self, place: str, *, on: bool, at_ns: int | None = None) -> None:
        """Interrupt the cord plugged in at a place, or a whole fibre by its name; or make it whole. Who protects, acts.

        Raises PlaceError where nothing is plugged in.
        """
        with self.lock:
            now = self._now(at_ns)
            element = self.elements.get(place)
            breaks = getattr(element, "set_cut", None)
            if element is not None and breaks is not None:
                breaks(on, now)
                for port in element.ends:
                    self._tell(element.place(port), on, now)
                return
            for side in (self.place(place, out=False), self.place(place, out=True)):
                joint = self.joint(side, now)
                if joint is not None:
                    self._plug(replace(joint, cut=on), now)
                    self._tell(joint.a, on, now)
                    return
            raise PlaceError("a cord to cut", f"nothing plugged in at {place}", "name a place with a cord, or a fibre")

    def _tell(self, source: str, on: bool, now: int) -> None:
        """Whoever is downstream of a source place learns that its light went or came."""
        for _ in range(len(self.elements)):
            joint = self.joint(source, now)
            if joint is None:
                return
            element, port = self.at(joint.other(source))
            (element.lost if on else element.found)(port, now)
            if port not in element.ends:
                return
            onward = element.onward(port, now)
            if onward is None or not onward[0]:
                return
            source = element.place(onward[0])

    # -- light -----------------------------------------------------------------------------------------------

    def _single(self, at_ns: int | None) -> View:
        now = self._now(at_ns)
        if self._view is None or self._view[:2] != (now, self._revision):
            self._view = (now, self._revision, View(self, np.array([now], dtype=np.int64)))
        return self._view[2]

    def _beam(self, full: str, view: View) -> Beam:
        element, port = self.at(full)
        return view.arriving(full) if port in element.ins else view.leaving(full)

    def light(self, place: str, at_ns: int | None = None) -> Light:
        """What enters at an input ("meter-1:2"), or leaves at an output or a fibre's end ("launch-3"). PlaceError."""
        with self.lock:
            return self._beam(self.place(place), self._single(at_ns)).at(0)

    def power(self, place: str, at_ns: int | None = None) -> float:
        """All of that light, W; 0.0 in the dark."""
        with self.lock:
            return float(self._beam(self.place(place), self._single(at_ns)).power_w[0])

    def calm(self, start_ns: int, end_ns: int) -> int | None:
        """An instant whose light is that of the whole stretch, as only drift goes on then; None: something moves.

        It is the same one for stretches that end within the same `CALM_NS`, so that what was reckoned for it is kept.
        """
        at = end_ns // CALM_NS * CALM_NS
        low = min(start_ns, at)
        with self.lock:
            if self._wired.changes(low, end_ns):
                return None
            for element in self.elements.values():
                if any(True for _ in element.steps(low, end_ns)) or any(True for _ in element.moving(low, end_ns)):
                    return None
        return at

    def power_series(self, place: str, start_ns: int, period_ns: int, count: int) -> Array:
        """(count,) W at ``start_ns`` and every ``period_ns`` after it.

        Exact wherever something moves; where only drift goes on it is reckoned once a second with a straight line
        between.
        """
        with self.lock:
            full = self.place(place)
            times: Times = start_ns + period_ns * np.arange(count, dtype=np.int64)
            return self._series(times, lambda view: self._beam(full, view).power_w)

    def light_series(self, place: str, start_ns: int, period_ns: int, count: int) -> Array:
        """(count, 4) Stokes parameters of all light there, W: for a meter that responds to polarisation."""
        with self.lock:
            full = self.place(place)
            times: Times = start_ns + period_ns * np.arange(count, dtype=np.int64)

            return self._series(times, lambda view: self._beam(full, view).whole_w)

    def _series(self, times: Times, reckon: Callable[[View], Array]) -> Array:
        """(n,) or (n, 4): ``reckon`` at every instant that needs it."""
        if not times.size:
            return reckon(View(self, np.array([self.start_ns], dtype=np.int64)))[:0]
        start, end = int(times[0]), int(times[-1])
        jumps = set(self._wired.changes(start, end))
        stretches: list[tuple[int, int]] = []
        for element in self.elements.values():
            jumps.update(element.steps(start, end))
            stretches.extend(element.moving(start, end))
        exact = np.zeros(times.size, dtype=bool)
        for first, last in stretches:
            exact[np.searchsorted(times, first, "left") : np.searchsorted(times, last, "right")] = True
        edges = [0, *(int(np.searchsorted(times, jump, "left")) for jump in sorted(jumps)), times.size]
        return np.concatenate(
            [self._stretch(times[low:high], exact[low:high], reckon) for low, high in pairwise(edges) if high > low]
        )

    def _stretch(self, times: Times, exact: Flags, reckon: Callable[[View], Array]) -> Array:
        """Values over a stretch in which nothing jumps."""
        needed = exact.copy()
        needed[[0, -1]] = True
        inside = np.flatnonzero(exact[1:] != exact[:-1])
        needed[inside] = needed[inside + 1] = True
        span = int(times[-1] - times[0])
        if span > KNOT_NS:
            needed[np.linspace(0, times.size - 1, span // KNOT_NS + 2).astype(int)] = True
        asked = times[needed]
        values = np.concatenate([reckon(View(self, asked[at : at + CHUNK])) for at in range(0, asked.size, CHUNK)])
        if asked.size == times.size:
            return values
        wanted, known = (times - times[0]).astype(float), (asked - times[0]).astype(float)
        if values.ndim == 1:
            return np.asarray(np.interp(wanted, known, values), dtype=np.float64)
        return np.column_stack([np.interp(wanted, known, column) for column in values.T])

    def spectrum(
        self, place: str, wavelengths_m: Sequence[float] | Array, resolution_m: float, at_ns: int | None = None
    ) -> Array:
        """(n,) dBm within a Gaussian slit of full width ``resolution_m`` at half height; -inf: nothing at all."""
        with self.lock:
            light = self._beam(self.place(place), self._single(at_ns)).at(0)
        at = np.asarray(wavelengths_m, dtype=np.float64)
        power = np.zeros(at.size)
        for frequency, line in zip(light.frequency_hz, light.power_w, strict=True):
            power += line * np.exp(-RESOLUTION * ((at - C_M_PER_S / frequency) / resolution_m) ** 2)
        if light.ase_w_hz.size:
            weights = np.exp(-RESOLUTION * GAUSS**2)
            hertz_wide = C_M_PER_S / at**2 * resolution_m * (GAUSS[1] - GAUSS[0])
            for offset, weight in zip(GAUSS, weights, strict=True):
                where = C_M_PER_S / (at + offset * resolution_m)
                power += np.interp(where, light.ase_hz, light.ase_w_hz, 0.0, 0.0) * hertz_wide * weight
        with np.errstate(divide="ignore"):
            return np.asarray(10 * np.log10(power * 1000), dtype=np.float64)

    def echo(self, place: str, at_ns: int | None = None, wavelength_m: float = 1550e-9) -> float:
        """Share of the light that leaves at a place which comes back to it (1e-5: return loss 50 dB)."""
        with self.lock:
            view = self._single(at_ns)
            asked = np.array([[C_M_PER_S / wavelength_m]])
            return float(view.echo(self.place(place, out=True), asked)[0, 0])

    def way(self, place: str, at_ns: int | None = None, wavelength_m: float = 1550e-9) -> list[Piece]:
        """What a pulse sent out at a place meets, in order, until the way ends."""
        with self.lock:
            now = self._now(at_ns)
            source = self.place(place, out=True)
            pieces: list[Piece] = []
            seen: set[str] = set()
            while source not in seen:
                seen.add(source)
                joint = self.joint(source, now)
                if joint is None or joint.cut:
                    level = -self.plugs.open_return_db if joint is None else -14.7
                    pieces.append(Piece(f"end at {source}", 0.0, reflectance_db=level))
                    break
                other = joint.other(source)
                level = 10 * float(np.log10(joint.reflection))
                loss = joint.loss_db + joint.dirt_db
                pieces.append(Piece(f"{source} → {other}", 0.0, loss_db=loss, reflectance_db=level))
                element, port = self.at(other)
                onward = element.onward(port, now, wavelength_m)
                if onward is None:
                    if isinstance(element, Sink):
                        pieces.append(Piece(f"end in {other}", 0.0, reflectance_db=-element.return_db))
                    break
                pieces.extend(onward[1])
                if not onward[0]:
                    break
                source = element.place(onward[0])
            return pieces

    def flight_s(self, place: str, at_ns: int | None = None) -> float:
        """Time of flight of a pulse from a place to the end of its way, s."""
        return sum(piece.flight_s for piece in self.way(place, at_ns))

    # -- power ----------------------------------------------------------------------------------------------

    def feeds(self, name: str, *, on: bool, at_ns: int | None = None) -> float:
        """Cut or restore the feeds of an element; s until it is up again. Raises PlaceError."""
        with self.lock:
            element = self.get(name, Element)
            now = self._now(at_ns)
            self.touch()
            if on:
                return element.power_on(now)
            element.power_off(now)
            return 0.0
