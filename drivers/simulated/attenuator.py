"""Variable attenuators with shutters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from drivers.simulated.chance import chance
from drivers.simulated.history import History
from drivers.simulated.light import Array, Beam, dark, ratio
from drivers.simulated.plant import Element, View

SHUT_DB: Final = 100.0
"""Of a closed shutter."""
STILL: Final = 26
"""Time constants after which a change of 60 dB is over to 1e-9."""


@dataclass(frozen=True, slots=True)
class Held:
    """What a channel was told."""

    attenuation_db: float = 0.0
    open: bool = False


class Attenuator(Element):
    """Channels "in-1" → "out-1" and so on. Beyond what is set each has its insertion loss and its error."""

    def __init__(self, name: str, seed: int = 0, *, channels: int = 1, loss_db: float = 1.0) -> None:
        super().__init__(name)
        source = chance(seed, "attenuator", name)
        self.channels = channels
        self.ins = tuple(f"in-{k + 1}" for k in range(channels))
        self.outs = tuple(f"out-{k + 1}" for k in range(channels))
        self.loss_db = [float(max(0.3, loss_db + source.normal(0, 0.1))) for _ in range(channels)]
        """True loss of each when 0 dB is set."""
        self.gain = [float(1 + source.normal(0, 0.001)) for _ in range(channels)]
        """True attenuation over the set one."""
        self.settle_s = 0.02
        """Time constant of a change."""
        self._held = [History(Held()) for _ in range(channels)]

    def held(self, channel: int = 1, at_ns: int | None = None) -> Held:
        """What a channel was told, newest or at an instant."""
        history = self._held[channel - 1]
        return history.last if at_ns is None else history.at(at_ns)

    def set_attenuation(self, channel: int, attenuation_db: float, at_ns: int | None = None) -> float:
        """Attenuate beyond the insertion loss; s until it is there to 0.01 %."""
        with self.lock:
            told = replace(self.held(channel), attenuation_db=attenuation_db)
            self._held[channel - 1].set(self.now(at_ns), told)
        return self.settle_s * 10

    def set_shutter(self, channel: int, open: bool, at_ns: int | None = None) -> None:  # noqa: A002 - open or not
        """Let light through, or not."""
        with self.lock:
            self._held[channel - 1].set(self.now(at_ns), replace(self.held(channel), open=open))

    def true_loss_db(self, channel: int, attenuation_db: float) -> float:
        """From input to output with the shutter open."""
        return self.loss_db[channel - 1] + self.gain[channel - 1] * attenuation_db

    def _loss(self, channel: int, view: View) -> Array | float:
        since, old, new = self._held[channel - 1].since(view.first)
        loss = self.true_loss_db(channel, new.attenuation_db)
        if not new.open:
            return loss + SHUT_DB
        change = self.gain[channel - 1] * (old.attenuation_db - new.attenuation_db)
        after = (view.times - since) / 1e9 / self.settle_s
        if change == 0 or after[0] > STILL:
            return loss
        return np.asarray(loss + change * np.exp(-after), dtype=np.float64)

    def emit(self, port: str, view: View) -> Beam:
        """What comes in, less the loss."""
        if port not in self.outs:
            return dark(view.count)
        beam = view.arriving(self.place(f"in-{port[4:]}"))
        loss = self._loss(int(port[4:]), view)
        if isinstance(loss, float):
            return beam.scaled(ratio(loss))
        left = 10 ** (-loss / 10)
        return beam.through(left)

    def reflect(self, port: str, view: View, frequency_hz: Array) -> Array:
        """Its own 55 dB, and what lies behind it."""
        own = np.full(frequency_hz.shape, ratio(55.0))
        if port not in self.ins:
            return own
        loss = self._loss(int(port[3:]), view)
        once = 10 ** (-np.broadcast_to(loss, (view.count,)) / 10)
        return np.asarray(own + once[:, np.newaxis] ** 2 * view.echo(self.place(f"out-{port[3:]}"), frequency_hz))

    def steps(self, start_ns: int, end_ns: int) -> list[int]:
        """Whenever a channel was told something."""
        return [at for history in self._held for at in history.changes(start_ns, end_ns)]

    def moving(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """While a change settles."""
        long = round(STILL * self.settle_s * 1e9)
        return [(at, at + long) for history in self._held for at in history.changes(start_ns - long, end_ns)]

    def power_off(self, at_ns: int) -> None:
        """The shutters fall."""
        for channel in range(1, self.channels + 1):
            self.set_shutter(channel, False, at_ns)
