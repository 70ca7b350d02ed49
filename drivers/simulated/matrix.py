"""A cross-connect between fibres: mirrors or piezo collimators, N inputs to M outputs."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from drivers.quantity import C_M_PER_S
from drivers.simulated.chance import axis, chance
from drivers.simulated.history import KEEP_NS
from drivers.simulated.light import Array, Beam, Noise, dark, mixed, polarising, ratio
from drivers.simulated.plant import Element, Piece, View

WIDE: Final = 3.0
"""How far off the fibre a beam starts to swing in, in radii of its mode: 39 dB down."""
STILL: Final = 1e-5
"""A swing that small is none: 4e-10 dB."""
FALL_S: Final = 0.0005
"""Time constant in which a beam leaves its fibre."""
GONE: Final = 6.0
"""Time constants after which it is gone: exp(-36)."""
NUDGE_S: Final = 0.003
"""Time constant of the nudge that a moving mirror gives its neighbours."""
NUDGED: Final = 30.0
"""Time constants after which the nudge is over: 30·exp(1 - 30) of its depth."""
MANY: Final = 1024
GROUP_INDEX: Final = 1.4682
STUCK_DB: Final = 62.0
"""What is left of the light of a mirror that does not move."""


@dataclass(frozen=True, slots=True)
class MatrixSpec:
    """Means and spreads (standard deviations) that the true values are drawn from."""

    loss_db: float = 1.3
    """Insertion loss, one mated connector included, averaged over polarisation, at 1550 nm."""
    loss_spread_db: float = 0.12
    pdl_db: float = 0.05
    pdl_spread_db: float = 0.015
    slope_db_nm: float = 0.001
    """Of the loss over wavelength."""
    slope_spread_db_nm: float = 0.0004
    crosstalk_db: float = -70.0
    """Of one lit input in an output that it is not connected to, over what enters."""
    crosstalk_spread_db: float = 2.0
    return_loss_db: float = 52.0
    return_loss_spread_db: float = 1.0
    switch_ms: float = 15.0
    """About how long a switching takes; the true time of a path is `FibreMatrix.true_switch_s`."""
    switch_spread_ms: float = 1.0
    ring_hz: float = 250.0
    repeat_db: float = 0.01
    """Standard deviation of the loss between connections of the same two ports."""
    disturb_db: float = 0.02
    """Deepest dip that switching gives a neighbour."""
    length_m: float = 8.0
    """Of fibre inside."""
    length_spread_m: float = 0.3
    latching: bool = True
    """Connections stay without power."""
    restores: bool = True
    """Else they come back with it."""
    boot_s: float = 20.0


@dataclass(slots=True)
class Join:
    """One connection from its making to its end."""

    ingress: int
    egress: int
    made_ns: int
    offset_db: float
    """Its loss less the path's nominal one: drawn anew each time."""
    still_ns: int = 0
    """When it has come to rest."""
    broken_ns: int | None = None


class FibreMatrix(Element):
    """Ports "in-1" …, "out-1" …. Methods count ports from 1; arrays of true values are indexed from 0.

    Change an array only before light is asked for, or call `refresh` after it.
    """

    def __init__(
        self,
        name: str,
        inputs: int,
        outputs: int,
        seed: int = 0,
        spec: MatrixSpec | None = None,
        *,
        plug_db: float = 0.1,
    ) -> None:
        """``plug_db``: mean loss of a plugged connector, which `true_loss_db` includes once, as a data sheet does."""
        super().__init__(name)
        self.spec = spec = MatrixSpec() if spec is None else spec
        self.inputs, self.outputs = inputs, outputs
        self.plug_db = plug_db
        self.ins = tuple(f"in-{k + 1}" for k in range(inputs))
        self.outs = tuple(f"out-{k + 1}" for k in range(outputs))
        source = chance(seed, "matrix", name)
        shape = (inputs, outputs)

        def near(mean: float, spread: float, low: float, high: float = np.inf) -> Array:
            # three spreads at most: what no maker would ship is a defect, and defects are injected on purpose
            return np.clip(mean + spread * np.clip(source.normal(size=shape), -3, 3), low, high)

        self.loss_db = near(spec.loss_db, spec.loss_spread_db, plug_db + 0.2)
        self.pdl_db = near(spec.pdl_db, spec.pdl_spread_db, 0.0)
        self.slope_db_nm = near(spec.slope_db_nm, spec.slope_spread_db_nm, -0.01)
        self.crosstalk_db = near(spec.crosstalk_db, spec.crosstalk_spread_db, -200.0, -20.0)
        about = near(spec.switch_ms, spec.switch_spread_ms, 1.0) / 1000
        self.delay_s = about / 2
        """From the command until light begins to come; longer than `FALL_S`, so that no light is in two places."""
        self.tau_s = about / 6
        """Time constant in which its swing dies out."""
        self.ring_hz = near(spec.ring_hz, spec.ring_hz / 20, 10.0)
        self.length_m = near(spec.length_m, spec.length_spread_m, 0.1)
        self.repeat_db = np.full(shape, spec.repeat_db)
        self.bounce_s = np.zeros(shape)
        """How long after it came the light goes once more; 0: it does not."""
        draw = np.clip(source.normal(size=inputs), -3, 3), np.clip(source.normal(size=outputs), -3, 3)
        self.return_in_db = spec.return_loss_db + spec.return_loss_spread_db * draw[0]
        self.return_out_db = spec.return_loss_db + spec.return_loss_spread_db * draw[1]
        self.disturb_in_db = np.full(inputs, spec.disturb_db)
        """(inputs,) deepest dip that moving this input's mirror gives the inputs beside it."""
        self.disturb_out_db = np.full(outputs, spec.disturb_db)
        self.stuck_in: set[int] = set()
        self.stuck_out: set[int] = set()
        self.latching, self.restores, self.boot_s = spec.latching, spec.restores, spec.boot_s
        self.protection: dict[int, int] = {}
        """Working input → the one that takes over when its light is cut."""
        self.protect_s = 0.02
        """From the loss of light to the command that switches over."""
        self.axes = np.stack([np.stack([axis(source) for _ in range(outputs)]) for _ in range(inputs)])
        """(inputs, outputs, 3) Stokes axis that each path passes best."""
        self._draws = chance(seed, "matrix", name, "connections")
        self._by_out: list[deque[Join]] = [deque() for _ in range(outputs)]
        self._in: dict[int, Join] = {}
        self._out: dict[int, Join] = {}
        self._nudges: list[tuple[int, int, int, int]] = []
        """(ns of the command, ingress, egress, ns when all is still), in the order of time."""
        self._longest_ns = 0
        self._held: dict[int, int] = {}
        self._muellers: dict[tuple[int, int], Array] = {}
        self._leaks = 10 ** (self.crosstalk_db / 10)

    def refresh(self) -> None:
        """Take changed arrays into account."""
        with self.lock:
            self._muellers.clear()
            self._leaks = 10 ** (self.crosstalk_db / 10)
            self.now(None)

    # -- truth -----------------------------------------------------------------------------------------------

    def true_loss_db(self, ingress: int, egress: int, wavelength_m: float = 1550e-9) -> float:
        """Of a path, one mated connector included, averaged over polarisation and over many connections."""
        at = ingress - 1, egress - 1
        return float(self.loss_db[at] + self.slope_db_nm[at] * (wavelength_m * 1e9 - 1550))

    def true_pdl_db(self, ingress: int, egress: int) -> float:
        """10·lg of the largest over the smallest transmission."""
        return float(self.pdl_db[ingress - 1, egress - 1])

    def true_crosstalk_db(self, ingress: int, egress: int) -> float:
        """What of an input reaches an output that it is not connected to, over what enters; negative."""
        return float(self.crosstalk_db[ingress - 1, egress - 1])

    def true_return_loss_db(self, port: str) -> float:
        """Of a port by itself ("in-3", "out-2"), without the connector and what lies behind."""
        table = self.return_in_db if port.startswith("in-") else self.return_out_db
        return float(table[int(port.rpartition("-")[2]) - 1])

    def true_latency_s(self, ingress: int, egress: int) -> float:
        """Of the fibre inside."""
        return float(self.length_m[ingress - 1, egress - 1]) * GROUP_INDEX / C_M_PER_S

    def true_switch_s(self, ingress: int, egress: int, within_db: float = 1.0) -> float:
        """From the command until the light stays within so much of its final power, bouncing included."""
        after = np.linspace(0, self._span_s(ingress, egress), 200_001)
        level = self._rise(ingress, egress, after)
        outside = np.flatnonzero(level < 10 ** (-within_db / 10))
        return float(after[outside[-1] + 1]) if outside.size else 0.0

    def join(self, egress: int) -> Join | None:
        """The connection that an output has."""
        return self._out.get(egress)

    # -- switching -------------------------------------------------------------------------------------------

    def connect(self, pairs: Mapping[int, int], at_ns: int | None = None) -> float:
        """Join ingress to egress; what used these ports is taken apart. s until all of it is still.

        A pair that is joined already is left alone. Raises ValueError for a port that there is none of, and for an
        egress named twice.
        """
        with self.lock:
            self._check(pairs)
            now = self.now(at_ns)
            span = 0.0
            new = {i: o for i, o in pairs.items() if i not in self._in or self._in[i].egress != o}
            for i, o in new.items():
                for old in (self._in.get(i), self._out.get(o)):
                    if old is not None:
                        self._break(old, now)
            for i, o in new.items():
                offset = float(np.clip(self._draws.normal(), -3, 3)) * float(self.repeat_db[i - 1, o - 1])
                if i in self.stuck_in or o in self.stuck_out:
                    offset += STUCK_DB
                still_s = self._span_s(i, o)
                made = Join(i, o, now, offset, now + round(still_s * 1e9))
                self._in[i] = self._out[o] = made
                row = self._by_out[o - 1]
                row.append(made)
                while len(row) > 1 and (row[0].broken_ns or now) < now - KEEP_NS:
                    row.popleft()
                span = max(span, still_s)
                self._nudge(now, i, o, still_s)
            return span

    def disconnect(self, ingresses: Collection[int], at_ns: int | None = None) -> float:
        """Take these apart; one that is not joined is none to take apart. s until it is dark."""
        with self.lock:
            now = self.now(at_ns)
            for ingress in ingresses:
                join = self._in.get(ingress)
                if join is not None:
                    self._break(join, now)
                    self._nudge(now, join.ingress, join.egress, GONE * FALL_S)
        return GONE * FALL_S

    def only(self, pairs: Mapping[int, int], at_ns: int | None = None) -> float:
        """Join these and nothing else; s until all of it is still."""
        with self.lock:
            self._check(pairs)
            self.disconnect([i for i in self._in if i not in pairs], at_ns)
            return max(GONE * FALL_S, self.connect(pairs, at_ns))

    def clear(self, at_ns: int | None = None) -> float:
        """Take everything apart; s until it is dark."""
        return self.disconnect(list(self._in), at_ns)

    def connections(self) -> dict[int, int]:
        """Ingress → egress, as the cross-connect believes it: a stuck mirror tells nobody."""
        with self.lock:
            return {i: join.egress for i, join in sorted(self._in.items())}

    def _check(self, pairs: Mapping[int, int]) -> None:
        for i, o in pairs.items():
            if not 1 <= i <= self.inputs or not 1 <= o <= self.outputs:
                raise ValueError(f"{i} to {o} on {self.inputs} x {self.outputs}")
        if len(set(pairs.values())) < len(pairs):
            raise ValueError("one egress twice")

    def _break(self, join: Join, now: int) -> None:
        join.broken_ns = now
        if self._in.get(join.ingress) is join:
            del self._in[join.ingress]
        if self._out.get(join.egress) is join:
            del self._out[join.egress]

    def _nudge(self, now: int, ingress: int, egress: int, span_s: float) -> None:
        long = round(max(span_s, NUDGED * NUDGE_S) * 1e9)
        self._longest_ns = max(self._longest_ns, long)
        insort(self._nudges, (now, ingress, egress, now + long))
        if len(self._nudges) > MANY and self._nudges[len(self._nudges) // 2][0] < now - KEEP_NS:
            del self._nudges[: bisect_left(self._nudges, (now - KEEP_NS,))]

    def _nudged(self, start_ns: float, end_ns: int) -> list[tuple[int, int, int, int]]:
        """Commands after ``start_ns`` up to ``end_ns``."""
        after = bisect_left(self._nudges, (start_ns + 1,))
        return self._nudges[after : bisect_left(self._nudges, (end_ns + 1,))]

    # -- how it moves ----------------------------------------------------------------------------------------

    def _swing(self, ingress: int, egress: int) -> tuple[float, float, float, float]:
        at = ingress - 1, egress - 1
        return float(self.delay_s[at]), float(self.tau_s[at]), float(self.ring_hz[at]), float(self.bounce_s[at])

    def _span_s(self, ingress: int, egress: int) -> float:
        """From the command until it is still."""
        delay, tau, _, bounce = self._swing(ingress, egress)
        return delay + bounce + tau * float(np.log(2 * WIDE / STILL))

    def _rise(self, ingress: int, egress: int, after_s: Array) -> Array:
        """Coupling over its final value, s after the command: a beam that swings in over the fibre's mode."""
        delay, tau, ring, bounce = self._swing(ingress, egress)
        since = after_s - delay
        come = np.maximum(since, 0.0)
        off = WIDE * np.exp(-come / tau) * np.cos(2 * np.pi * ring * come)
        if bounce:
            again = np.maximum(since - bounce, 0.0)
            off = off + WIDE / 2 * np.exp(-again / tau) * np.sin(2 * np.pi * ring * again)
        return np.where(since >= 0, np.exp(-off * off), 0.0)

    def _level(self, join: Join, view: View) -> Array | float:
        """(T,) or a number: how much of its final light a connection passes."""
        level: Array | float = 1.0
        if view.first < join.still_ns:
            level = self._rise(join.ingress, join.egress, (view.times - join.made_ns) / 1e9)
        if join.broken_ns is not None and view.last >= join.broken_ns:
            gone = np.maximum(view.times - join.broken_ns, 0) / (FALL_S * 1e9)
            level = level * np.where(gone > GONE, 0.0, np.exp(-gone * gone))
        return level

    def _shaken_db(self, join: Join, view: View) -> Array | float:
        """Loss that neighbours' movements give a connection."""
        here = self._nudged(view.first - NUDGED * NUDGE_S * 1e9, view.last)
        if not here:
            return 0.0
        rows = np.array(here, dtype=np.int64)
        beside_in = np.abs(rows[:, 1] - join.ingress) == 1
        beside_out = np.abs(rows[:, 2] - join.egress) == 1
        rows, beside_in, beside_out = (each[beside_in | beside_out] for each in (rows, beside_in, beside_out))
        loss: Array | float = 0.0
        for (at, i, o, _), by_in, by_out in zip(rows.tolist(), beside_in, beside_out, strict=True):
            depth = self.true_disturb_db(i, o, by_in=bool(by_in), by_out=bool(by_out))
            after = np.maximum(view.times - at, 0) / (NUDGE_S * 1e9)
            loss = loss + depth * after * np.exp(1 - after)
        return loss

    def true_disturb_db(self, ingress: int, egress: int, *, by_in: bool, by_out: bool) -> float:
        """Deepest dip that switching this path gives a path beside its input, its output, or both."""
        found = [0.0]
        if by_in:
            found.append(float(self.disturb_in_db[ingress - 1]))
        if by_out:
            found.append(float(self.disturb_out_db[egress - 1]))
        return max(found)

    # -- light -----------------------------------------------------------------------------------------------

    def _mueller(self, i: int, o: int) -> Array:
        found = self._muellers.get((i, o))
        if found is None:
            found = self._muellers[i, o] = polarising(float(self.pdl_db[i - 1, o - 1]), self.axes[i - 1, o - 1])
        return found

    def _inside_db(self, i: int, o: int, frequency_hz: Array) -> Array:
        """Loss between the connectors, by frequency; never a gain."""
        at = i - 1, o - 1
        nm = C_M_PER_S * 1e9 / frequency_hz
        # the loss that PDL must go with, else light would be made
        low = self.pdl_db[at] / 2
        loss = self.loss_db[at] - self.plug_db + self.slope_db_nm[at] * (nm - 1550)
        return np.asarray(np.maximum(loss, low), dtype=np.float64)

    def _entering(self, view: View) -> Any:
        """What enters, stacked: [(inputs' indices, frequencies, Stokes (n, T, k, 4))], [(indices, levels, shape)]."""
        kept = view.kept.get(self)
        if kept is not None:
            return kept
        view.kept[self] = ([], [])  # a ring through the matrix is followed along its connections only
        outer, view.nested = view.nested, True
        beams = [view.arriving(self.place(port)) for port in self.ins]
        view.nested = outer
        groups: dict[int, list[int]] = {}
        for at, beam in enumerate(beams):
            if beam.stokes_w.shape[1]:
                groups.setdefault(id(beam.frequency_hz), []).append(at)
        lines = [
            (np.array(members), beams[members[0]].frequency_hz, np.stack([beams[at].stokes_w for at in members]))
            for members in groups.values()
        ]
        shapes: dict[int, list[tuple[int, Noise]]] = {}
        for at, beam in enumerate(beams):
            for each in beam.noise:
                shapes.setdefault(id(each.shape_w_hz), []).append((at, each))
        noise = [
            (np.array([at for at, _ in rows]), np.stack([each.level for _, each in rows]), rows[0][1].shape_w_hz)
            for rows in shapes.values()
        ]
        view.kept[self] = kept = (lines, noise)
        view.kept[self, "beams"] = beams
        return kept

    def _joins(self, egress: int, view: View) -> list[Join]:
        """Connections of an output that pass light at some of the instants."""
        found = []
        for join in reversed(self._by_out[egress - 1]):
            if join.broken_ns is not None and join.broken_ns + GONE * FALL_S * 1e9 < view.first:
                break
            if join.made_ns <= view.last:
                found.append(join)
        return found

    def emit(self, port: str, view: View) -> Beam:
        """The connected input's light, with a trace of every other's."""
        if port not in self.outs:
            return dark(view.count)
        egress = int(port[4:])
        lines, noise = self._entering(view)
        joins = self._joins(egress, view)
        beams = view.kept.get((self, "beams"))
        ways = []
        for join in joins:
            beam = view.arriving(self.place(f"in-{join.ingress}")) if beams is None else beams[join.ingress - 1]
            level = self._level(join, view) * 10 ** (-(join.offset_db + self._shaken_db(join, view)) / 10)

            def left(frequency: Array, join: Join = join) -> Array:
                return np.asarray(10 ** (-self._inside_db(join.ingress, join.egress, frequency) / 10))

            ways.append(beam.through(level, left, self._mueller(join.ingress, egress)))
        weights_of = self._leaks[:, egress - 1]
        current = [j.ingress - 1 for j in joins if j.broken_ns is None or j.broken_ns > view.first]
        if current:
            weights_of = weights_of.copy()
            weights_of[current] = 0.0
        for members, frequency, stokes in lines:
            leak = (weights_of[members] @ stokes.reshape(len(members), -1)).reshape(stokes.shape[1:])
            ways.append(Beam(frequency, leak))
        if noise:
            nothing = dark(view.count)
            leaks = tuple(Noise(weights_of[members] @ levels, shape) for members, levels, shape in noise)
            ways.append(Beam(nothing.frequency_hz, nothing.stokes_w, leaks))
        return mixed(ways, view.count)

    def reflect(self, port: str, view: View, frequency_hz: Array) -> Array:
        """The port's own, and what lies behind the connection that it has."""
        own = np.full(frequency_hz.shape, ratio(self.true_return_loss_db(port)))
        number = int(port.rpartition("-")[2])
        enters = port.startswith("in-")
        for egress in range(1, self.outputs + 1) if enters else (number,):
            for join in self._joins(egress, view):
                if enters and join.ingress != number:
                    continue
                other = f"out-{join.egress}" if enters else f"in-{join.ingress}"
                level = np.broadcast_to(self._level(join, view) * ratio(join.offset_db), (view.count,))[:, np.newaxis]
                once = level * 10 ** (-self._inside_db(join.ingress, join.egress, frequency_hz) / 10)
                own = own + once**2 * view.echo(self.place(other), frequency_hz)
        return own

    def onward(self, port: str, at_ns: int, wavelength_m: float = 1550e-9) -> tuple[str, tuple[Piece, ...]] | None:
        """Along the connection."""
        enters = port.startswith("in-")
        number = int(port.rpartition("-")[2])
        join = self._in.get(number) if enters else self._out.get(number)
        if join is None:
            return None
        inside = float(self._inside_db(join.ingress, join.egress, np.array([C_M_PER_S / wavelength_m]))[0])
        metres = float(self.length_m[join.ingress - 1, join.egress - 1])
        flight = self.true_latency_s(join.ingress, join.egress)
        other = f"out-{join.egress}" if enters else f"in-{join.ingress}"
        pieces = (
            Piece(f"{self.name} inside", flight, metres, 0.2, GROUP_INDEX),
            Piece(
                f"{self.name} mirrors",
                0.0,
                loss_db=inside + join.offset_db,
                reflectance_db=-self.true_return_loss_db(other),
            ),
        )
        return other, pieces

    def steps(self, start_ns: int, end_ns: int) -> list[int]:
        """Whenever a connection was made or broken."""
        return [row[0] for row in self._nudged(start_ns, end_ns)]

    def moving(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """While mirrors swing, with their neighbours."""
        here = self._nudged(start_ns - self._longest_ns - 1, end_ns)
        return list({(at, until) for at, _, _, until in here if until >= start_ns})

    # -- protection and power --------------------------------------------------------------------------------

    def lost(self, port: str, at_ns: int) -> None:
        """A protected input's light is gone: its spare takes over after `protect_s`."""
        spare = self.protection.get(int(port.rpartition("-")[2]))
        join = self._in.get(int(port.rpartition("-")[2])) if port.startswith("in-") else None
        if spare is not None and join is not None:
            self.connect({spare: join.egress}, at_ns + round(self.protect_s * 1e9))

    def power_off(self, at_ns: int) -> None:
        """Latching mirrors stay; others fall."""
        with self.lock:
            self._held = self.connections()
            if not self.latching:
                self.clear(at_ns)

    def power_on(self, at_ns: int) -> float:
        """What did not stay comes back if it was kept in memory; s until it is up."""
        with self.lock:
            if not self.latching and self.restores:
                self.connect(self._held, at_ns + round(self.boot_s * 1e9))
            return self.boot_s
