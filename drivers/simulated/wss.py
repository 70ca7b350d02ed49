"""A cross-connect between slices of spectrum: one wavelength-selective switch a degree, with add and drop ports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from drivers.capability import Channel
from drivers.quantity import C_M_PER_S, Hertz
from drivers.simulated.chance import axis, chance
from drivers.simulated.history import KEEP_NS
from drivers.simulated.light import GRID_HZ, LINE, Array, Beam, Noise, dark, mixed, polarising, ratio
from drivers.simulated.plant import Element, Piece, View

PLANCK: Final = 6.626_070_15e-34
RIPPLE_HZ: Final = 12.5e9
"""Period of the ripple over a passband."""
GROUP_INDEX: Final = 1.4682
STILL: Final = 1e-5
MOST_SHAPES: Final = 512


@dataclass(frozen=True, slots=True)
class WssSpec:
    """Means and spreads (standard deviations) that the true values are drawn from."""

    loss_db: float = 6.0
    """Of one wavelength-selective switch at the centre of a slice."""
    loss_spread_db: float = 0.15
    backplane_db: float = 0.4
    """Of the fibre shuffle between two cards, connectors included."""
    backplane_spread_db: float = 0.05
    add_drop_db: float = 0.4
    """Of an add or drop port's module."""
    express_target_db: float = 13.0
    """What power equalisation brings every express path to, where it does not lose more already; 0: it does not."""
    add_drop_target_db: float = 7.2
    equalise_error_db: float = 0.05
    """Standard deviation of what equalisation leaves."""
    pdl_db: float = 0.3
    """Of a whole path."""
    pdl_spread_db: float = 0.05
    edge_ghz: float = 4.0
    """The -3 dB width of a slice through one switch is so much less than the slot."""
    order: int = 5
    """Of the super-Gaussian passband."""
    centre_error_ghz: float = 0.2
    """Standard deviation."""
    width_error_ghz: float = 0.2
    ripple_db: float = 0.05
    """Of one switch, peak to peak."""
    extinction_db: float = 55.0
    """What a switch lets through of a slice that it blocks, less than its loss."""
    booster_gain_db: float = 0.0
    """Of the amplifier behind each degree's output; 0: there is none."""
    noise_figure_db: float = 5.5
    return_loss_db: float = 48.0
    return_loss_spread_db: float = 1.0
    switch_s: float = 0.3
    """From the command until light comes."""
    ramp_s: float = 0.05
    """Time constant of its coming."""
    equalise_s: float = 0.3
    """Time constant in which equalisation finds its level."""
    repeat_db: float = 0.02
    length_m: float = 12.0
    """Of fibre inside."""
    latching: bool = False
    """Slices pass without power."""
    restores: bool = True
    boot_s: float = 60.0
    restore_s: float = 2.0
    """From the loss of an ingress to the command that takes its spare."""


@dataclass(slots=True)
class Card:
    """One degree's switch; its true values."""

    loss_db: dict[str, float]
    """By the port across: "deg-2", "add-1", "drop-3"."""
    centre_error_hz: float
    width_error_hz: float
    noise_figure_db: float


@dataclass(slots=True)
class Slice:
    """One channel from its adding to its removal."""

    channel: Channel
    made_ns: int
    offset_db: float
    broken_ns: int | None = None
    extra: dict[str, float] = field(default_factory=dict)


class Wss(Element):
    """Places "deg-1" … (as source of a cord its output, as target its input), "add-1" …, "drop-1" …."""

    def __init__(
        self,
        name: str,
        degrees: int,
        adds: int,
        drops: int,
        seed: int = 0,
        spec: WssSpec | None = None,
        *,
        plug_db: float = 0.1,
    ) -> None:
        """``plug_db``: mean loss of a plugged connector, which `true_loss_db` includes once, as a data sheet does."""
        super().__init__(name)
        self.spec = spec = WssSpec() if spec is None else spec
        self.seed, self.plug_db = seed, plug_db
        self.degrees = tuple(f"deg-{k + 1}" for k in range(degrees))
        self.adds = tuple(f"add-{k + 1}" for k in range(adds))
        self.drops = tuple(f"drop-{k + 1}" for k in range(drops))
        self.ins = (*(f"rx-{k + 1}" for k in range(degrees)), *self.adds)
        self.outs = (*(f"tx-{k + 1}" for k in range(degrees)), *self.drops)
        source = chance(seed, "wss", name)
        self.ingress, self.egress = (*self.degrees, *self.adds), (*self.degrees, *self.drops)
        pairs = [(i, e) for i in self.ingress for e in self.egress if self.possible(i, e)]
        self.backplane_db = {
            p: max(0.1, self._near(source, spec.backplane_db, spec.backplane_spread_db)) for p in pairs
        }
        """(ingress, egress) → true loss of the backplane between the two cards."""
        self.pdl_db = {p: max(0.0, self._near(source, spec.pdl_db, spec.pdl_spread_db)) for p in pairs}
        self.extra_db = dict.fromkeys(pairs, 0.0)
        """What a defect adds."""
        self.extinction_db = dict.fromkeys(pairs, spec.extinction_db)
        self.axes = {p: axis(source) for p in pairs}
        self.equal_db = {p: self._near(source, 0.0, spec.equalise_error_db) for p in pairs}
        self.return_db = {
            p: self._near(source, spec.return_loss_db, spec.return_loss_spread_db) for p in (*self.ins, *self.outs)
        }
        self.cards: dict[str, Card] = {}
        self.spares: dict[str, Card] = {}
        for degree in self.degrees:
            card = f"card-{degree[4:]}"
            self.cards[card], self.spares[card] = self._card(card, 0), self._card(card, 1)
        self._pulled: dict[str, tuple[Channel, ...]] = {}
        self._away: list[tuple[Channel, Channel]] = []
        self.latching, self.restores, self.boot_s, self.restore_s = (
            spec.latching,
            spec.restores,
            spec.boot_s,
            spec.restore_s,
        )
        self.restoration: dict[str, str] = {}
        """Ingress → the one that takes over when its light is cut."""
        self._draws = chance(seed, "wss", name, "channels")
        self._slices: list[Slice] = []
        self._held: tuple[Channel, ...] = ()
        self._shapes: dict[tuple[object, ...], Array] = {}
        self.fed: tuple[str, ...] = self.ingress
        """Ports that launch cords 1, 2 … belong to, so that "in-3" is a name for the third."""
        self.seen: tuple[str, ...] = self.egress
        """Ports that receiving channels 1, 2 … belong to: "out-3"."""

    @staticmethod
    def _near(source: np.random.Generator, mean: float, spread: float) -> float:
        # three spreads at most: what no maker would ship is a defect, and defects are injected on purpose
        return float(mean + spread * np.clip(source.normal(), -3, 3))

    def _card(self, name: str, generation: int) -> Card:
        spec, source = self.spec, chance(self.seed, "wss", self.name, name, generation)
        loss = self._near(source, spec.loss_db, spec.loss_spread_db)
        return Card(
            {
                port: max(1.0, loss + self._near(source, 0, spec.loss_spread_db / 3))
                for port in (*self.degrees, *self.adds, *self.drops)
            },
            self._near(source, 0, spec.centre_error_ghz) * 1e9,
            self._near(source, 0, spec.width_error_ghz) * 1e9,
            spec.noise_figure_db,
        )

    def facing(self, port: str, *, out: bool) -> str:
        """A degree's output or input; "in-3" and "out-3" are whatever cord or channel 3 belongs to."""
        kind, _, number = port.partition("-")
        named = {"in": self.fed, "out": self.seen}.get(kind)
        if named is not None and number.isdecimal() and 1 <= int(number) <= len(named):
            port, out = named[int(number) - 1], kind == "out"
        return f"{'tx' if out else 'rx'}-{port[4:]}" if port.startswith("deg-") else port

    def spoken(self, port: str) -> str:
        """A degree has one name for both of its directions."""
        return f"deg-{port[3:]}" if port[:3] in ("rx-", "tx-") else port

    @staticmethod
    def possible(ingress: str, egress: str) -> bool:
        """Degree to another degree, add to degree, degree to drop."""
        add, drop = ingress.startswith("add-"), egress.startswith("drop-")
        return ingress != egress and not (add and drop)

    # -- truth -----------------------------------------------------------------------------------------------

    def passes(self, ingress: str, egress: str) -> tuple[tuple[str, str], ...]:
        """(card, port across) of each switch on the way: two for an express path, else one."""
        found = []
        if ingress.startswith("deg-"):
            found.append((f"card-{ingress[4:]}", egress))
        if egress.startswith("deg-"):
            found.append((f"card-{egress[4:]}", ingress))
        return tuple(found)

    def true_loss_db(self, ingress: str, egress: str) -> float:
        """At the centre of a slice, one mated connector included, the booster's gain taken off."""
        gain = self.spec.booster_gain_db if egress.startswith("deg-") else 0.0
        return self._passive_db(ingress, egress) + self.plug_db - gain

    def _passive_db(self, ingress: str, egress: str) -> float:
        pair = ingress, egress
        express = len(self.passes(*pair)) == 2
        natural = self.backplane_db[pair] + sum(self.cards[card].loss_db[across] for card, across in self.passes(*pair))
        natural += 0.0 if express else self.spec.add_drop_db
        target = self.spec.express_target_db if express else self.spec.add_drop_target_db
        equalised = max(natural, target - self.plug_db + self.equal_db[pair]) if target else natural
        return equalised + self.extra_db[pair]

    def true_passband(self, channel: Channel, down_db: float) -> tuple[Hertz, Hertz]:
        """(centre, width) between the two frequencies where a slice is so much below its best."""
        around = np.linspace(-channel.width, channel.width, 400_001)
        loss = self._shape_db(channel, channel.centre + around)
        inside = np.flatnonzero(loss <= loss.min() + down_db)
        low, high = around[inside[0]], around[inside[-1]]
        return Hertz(channel.centre + (low + high) / 2), Hertz(high - low)

    def true_switch_s(self, within_db: float = 1.0) -> float:
        """From the command to add a slice until its light stays within so much of its final power."""
        after = np.linspace(0, self._span_s(), 200_001)
        outside = np.flatnonzero(self._rise(after) < 10 ** (-within_db / 10))
        return float(after[outside[-1] + 1]) if outside.size else 0.0

    def true_latency_s(self) -> float:
        """Of the fibre inside."""
        return self.spec.length_m * GROUP_INDEX / C_M_PER_S

    def true_return_loss_db(self, port: str, *, out: bool = False) -> float:
        """Of a port by itself; ``out``: a degree's output."""
        return self.return_db[self.facing(port, out=out)]

    # -- switching -------------------------------------------------------------------------------------------

    def add(self, channel: Channel, at_ns: int | None = None) -> float:
        """Let a slice through; s until it is still. There already: nothing happens.

        Raises ValueError for ports that no way joins, a slice narrower than 12.5 GHz, and one that overlaps another
        at its ingress or egress.
        """
        with self.lock:
            now = self.now(at_ns)
            if channel.ingress not in self.ingress or channel.egress not in self.egress:
                raise ValueError(
                    f"{channel.ingress} to {channel.egress}: from {', '.join(self.ingress)} to {', '.join(self.egress)}"
                )
            if not self.possible(channel.ingress, channel.egress):
                raise ValueError(f"no way from {channel.ingress} to {channel.egress}")
            if channel.width < 12.5e9:
                raise ValueError(f"a slice {channel.width / 1e9:g} GHz wide: at least 12.5 GHz")
            for other in self.present():
                if other == channel:
                    return 0.0
                shares = other.ingress == channel.ingress or other.egress == channel.egress
                apart = abs(other.centre - channel.centre) >= (other.width + channel.width) / 2 - 1.0
                if shares and not apart:
                    raise ValueError(f"overlaps {other.ingress} to {other.egress} at {other.centre / 1e12:.5f} THz")
            offset = float(np.clip(self._draws.normal(), -3, 3)) * self.spec.repeat_db
            self._slices.append(Slice(channel, now, offset))
            self._slices = [s for s in self._slices if s.broken_ns is None or s.broken_ns > now - KEEP_NS]
            return self._span_s()

    def remove(self, channel: Channel, at_ns: int | None = None) -> float:
        """Block a slice; s until it is dark. Raises ValueError when it is not there."""
        with self.lock:
            now = self.now(at_ns)
            for held in self._slices:
                if held.channel == channel and held.broken_ns is None:
                    held.broken_ns = now
                    return 10 * self.spec.ramp_s
        raise ValueError(f"no slice {channel.ingress} to {channel.egress} at {channel.centre / 1e12:.5f} THz")

    def clear(self, at_ns: int | None = None) -> None:
        """Block everything."""
        for channel in self.present():
            self.remove(channel, at_ns)

    def present(self) -> tuple[Channel, ...]:
        """What passes, or is about to."""
        with self.lock:
            return tuple(held.channel for held in self._slices if held.broken_ns is None)

    def pull(self, card: str, at_ns: int | None = None) -> None:
        """Pull a card: its slices are dark. Raises ValueError for a card that there is none of."""
        with self.lock:
            if card not in self.cards:
                raise ValueError(f"{card}: {', '.join(self.cards)}")
            now = self.now(at_ns)
            mine = [c for c in self.present() if any(card == each for each, _ in self.passes(c.ingress, c.egress))]
            for channel in mine:
                self.remove(channel, now)
            self._pulled[card] = tuple(mine)

    def insert(self, card: str, at_ns: int | None = None) -> float:
        """Put the spare in; s until what the controller remembers passes again."""
        with self.lock:
            now = self.now(at_ns)
            self.cards[card], self.spares[card] = self.spares[card], self.cards[card]
            mine = self._pulled.pop(card, ())
            return max((self.add(channel, now) for channel in mine), default=0.0) if self.restores else 0.0

    # -- how it moves ----------------------------------------------------------------------------------------

    def _span_s(self) -> float:
        return self.spec.switch_s + max(self.spec.ramp_s, self.spec.equalise_s) * float(-np.log(STILL))

    def _rise(self, after_s: Array) -> Array:
        """Level over the final one, s after the command."""
        come = np.maximum(after_s - self.spec.switch_s, 0.0)
        found = 1 - np.exp(-come / self.spec.ramp_s)
        if self.spec.equalise_s > 0:
            found = found * 10 ** (-0.15 * np.exp(-come / self.spec.equalise_s))  # 1.5 dB low until equalised
        return np.asarray(found)

    def _level(self, held: Slice, view: View) -> Array:
        level = self._rise((view.times - held.made_ns) / 1e9)
        if held.broken_ns is not None:
            gone = np.maximum(view.times - held.broken_ns, 0) / (self.spec.ramp_s * 1e9)
            level = level * np.exp(-np.minimum(gone, 700.0))
        return level * ratio(held.offset_db)

    # -- light -----------------------------------------------------------------------------------------------

    def _shape_db(self, channel: Channel, frequency_hz: Array) -> Array:
        """Loss beyond that at the best frequency of ideal switches, by frequency."""
        found = np.zeros(frequency_hz.shape)
        spec = self.spec
        for name, _ in self.passes(channel.ingress, channel.egress):
            card = self.cards[name]
            off = frequency_hz - channel.centre - card.centre_error_hz
            wide = max(1e9, channel.width - spec.edge_ghz * 1e9 + card.width_error_hz)
            # exp(-ln 2 (2 off / wide)^(2 order)) in dB: 3.01 dB at half the width
            found += 10 * np.log10(2) * np.minimum(np.abs(2 * off / wide), 10.0) ** (2 * spec.order)
            found += spec.ripple_db * np.sin(np.pi * off / RIPPLE_HZ) ** 2
        return found

    def _shape(self, channel: Channel, frequency_hz: Array) -> Array:
        return np.asarray(10 ** (-self._shape_db(channel, frequency_hz) / 10), dtype=np.float64)

    def _noise_shape(self, channel: Channel) -> Array:
        """The same at the frequencies of noise, kept as long as the cards are the same."""
        cards = [self.cards[name] for name, _ in self.passes(channel.ingress, channel.egress)]
        key = (channel, *((card.centre_error_hz, card.width_error_hz) for card in cards))
        found = self._shapes.get(key)
        if found is None:
            if len(self._shapes) > MOST_SHAPES:
                self._shapes.clear()
            found = self._shapes[key] = self._shape(channel, LINE)
        return found

    def emit(self, port: str, view: View) -> Beam:
        """What is switched there from every ingress, with what leaks."""
        if port not in self.outs:
            return dark(view.count)
        egress = f"deg-{port[3:]}" if port.startswith("tx-") else port
        ways = []
        for ingress in self.ingress:
            if not self.possible(ingress, egress):
                continue
            beam = view.arriving(self.place(self.facing(ingress, out=False)))
            if beam.lit:
                ways.extend(self._through(ingress, egress, beam, view))
        found = mixed(ways, view.count)
        if port.startswith("tx-") and self.spec.booster_gain_db:
            found = self._boosted(found, f"card-{port[3:]}", view)
        return found

    def _through(self, ingress: str, egress: str, beam: Beam, view: View) -> list[Beam]:
        pair = ingress, egress
        entered = beam.through(ratio(self._passive_db(*pair)), mueller=polarising(self.pdl_db[pair], self.axes[pair]))
        leak = ratio(self.extinction_db[pair])
        ways = [entered.scaled(leak)]
        # what leaks anyway is taken off, so that nothing passes more than all
        ways.extend(
            entered.through((1 - leak) * self._level(held, view), self._shaped(held.channel))
            for held in self._slices
            if (held.channel.ingress, held.channel.egress) == pair and held.made_ns <= view.last
        )
        return ways

    def _shaped(self, channel: Channel) -> Callable[[Array], Array]:
        return lambda frequency: self._noise_shape(channel) if frequency is LINE else self._shape(channel, frequency)

    def _boosted(self, beam: Beam, card: str, view: View) -> Beam:
        gain, figure = 10 ** (self.spec.booster_gain_db / 10), 10 ** (self.cards[card].noise_figure_db / 10)
        made = Noise(np.ones(view.count), PLANCK * GRID_HZ * (gain * figure - 1))
        out = beam.scaled(gain)
        return Beam(out.frequency_hz, out.stokes_w, (*out.noise, made))

    def reflect(self, port: str, view: View, frequency_hz: Array) -> Array:
        """The port's own; isolators and switches let nothing else back."""
        return np.full(frequency_hz.shape, ratio(self.return_db[port]))

    def onward(self, port: str, at_ns: int, wavelength_m: float = 1550e-9) -> tuple[str, tuple[Piece, ...]] | None:
        """Along the slice nearest to the wavelength."""
        ingress = f"deg-{port[3:]}" if port.startswith("rx-") else port
        mine = [channel for channel in self.present() if channel.ingress == ingress]
        if not mine:
            return None
        taken = min(mine, key=lambda channel: abs(channel.centre - C_M_PER_S / wavelength_m))
        loss = self._passive_db(taken.ingress, taken.egress)
        pieces = (
            Piece(f"{self.name} inside", self.true_latency_s(), self.spec.length_m, 0.2, GROUP_INDEX),
            Piece(f"{self.name} switches", 0.0, loss_db=loss),
        )
        return self.facing(taken.egress, out=True), pieces

    def steps(self, start_ns: int, end_ns: int) -> list[int]:
        """Whenever a slice was added or removed."""
        marks = [at for held in self._slices for at in (held.made_ns, held.broken_ns) if at is not None]
        return [at for at in marks if start_ns < at <= end_ns]

    def moving(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """While slices come and go."""
        span, fall = round(self._span_s() * 1e9), round(self.spec.ramp_s * 36e9)
        found = [(held.made_ns, held.made_ns + span) for held in self._slices]
        found += [(held.broken_ns, held.broken_ns + fall) for held in self._slices if held.broken_ns is not None]
        return [(low, high) for low, high in found if low <= end_ns and high >= start_ns]

    # -- restoration and power -------------------------------------------------------------------------------

    def lost(self, port: str, at_ns: int) -> None:
        """An ingress with a spare is dark: its slices come from the spare after `restore_s`."""
        ingress = f"deg-{port[3:]}" if port.startswith("rx-") else port
        spare = self.restoration.get(ingress)
        if spare is None:
            return
        then = at_ns + round(self.restore_s * 1e9)
        for channel in self.present():
            if channel.ingress == ingress and self.possible(spare, channel.egress):
                instead = Channel(spare, channel.egress, channel.centre, channel.width)
                self.remove(channel, then)
                self.add(instead, then)
                self._away.append((channel, instead))

    def found(self, port: str, at_ns: int) -> None:
        """The ingress is lit again: what was moved to the spare comes back at once."""
        ingress = f"deg-{port[3:]}" if port.startswith("rx-") else port
        for home, instead in [pair for pair in self._away if pair[0].ingress == ingress]:
            self._away.remove((home, instead))
            if instead in self.present():
                self.remove(instead, at_ns)
                self.add(home, at_ns)

    def power_off(self, at_ns: int) -> None:
        """Without power the switches block, unless they latch."""
        with self.lock:
            self._held = self.present()
            if not self.latching:
                self.clear(at_ns)

    def power_on(self, at_ns: int) -> float:
        """What was kept in memory passes again; s until it is up."""
        with self.lock:
            if not self.latching and self.restores:
                for channel in self._held:
                    self.add(channel, at_ns + round(self.boot_s * 1e9))
            return self.boot_s
