"""What a test plan may ask an instrument for, whoever made it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from drivers.port import Identity
from drivers.quantity import DB, DBm, Hertz, Metre, Second, Watt


@dataclass(frozen=True, slots=True)
class Safe:
    """What an instrument was brought to, as it says itself when read back."""

    confirmed: bool
    """It was asked afterwards, and said so."""
    said: str
    """In words for the journal: "laser 1 off, shutter 3 closed"."""


@dataclass(frozen=True, slots=True)
class MeterSpec:
    """What the data sheet says of a power meter's errors; all half-widths of rectangles unless stated."""

    absolute_db: float
    """Of an absolute power at reference conditions."""
    linearity_db: float
    """Between two powers at one wavelength."""
    channel_db: float
    """Between two channels of one box, or two boxes of one calibration."""
    polarisation_db: float
    """Response to polarisation, peak to peak."""
    noise_w: float
    """Standard deviation at the averaging time of 100 ms, W."""
    floor_dbm: float
    """Below that a reading is not believed."""
    origin: str
    """Data sheet with edition, or "unconfirmed"."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """One sweep of an optical spectrum analyser."""

    wavelengths_m: tuple[float, ...]
    """Vacuum wavelength of each point, m, rising."""
    powers_dbm: tuple[float, ...]
    """Power within the resolution bandwidth, dBm."""
    resolution_m: float


@dataclass(frozen=True, slots=True)
class Channel:
    """A slice of spectrum through a WSS-based cross-connect (ITU-T G.694.1 flexible grid)."""

    ingress: str
    """Name of the port: a degree ("deg-1") or an add port ("add-3")."""
    egress: str
    """A degree ("deg-2") or a drop port ("drop-3")."""
    centre: Hertz
    width: Hertz


@runtime_checkable
class Device(Protocol):
    """Every instrument."""

    @property
    def unconfirmed(self) -> Sequence[str]:
        """What of its driver no public text and nobody's hardware has confirmed; goes into the report."""

    @property
    def identity(self) -> Identity:
        """Who answered when it was opened."""

    def safe_state(self) -> Safe:
        """Laser off, shutter closed, and asked whether it is so. What emits nothing says so, confirmed."""

    def close(self) -> None:
        """End the session; safe to call twice."""


@runtime_checkable
class PowerMeter(Device, Protocol):
    """One or several optical power meters in a box; channels count from 1."""

    @property
    def channels(self) -> int:
        """How many."""

    @property
    def spec(self) -> MeterSpec:
        """Its data sheet."""

    def set_wavelength(self, wavelength: Metre, channels: Collection[int] = ()) -> None:
        """What the channels (all when none is named) take the light for."""

    def set_averaging(self, seconds: Second, channels: Collection[int] = ()) -> None:
        """How long a reading takes."""

    def read(self, channel: int) -> Watt | None:
        """A fresh reading, W; None: below the meter's floor. Raises NoReadingError over its range: no darkness."""

    def read_all(self) -> Mapping[int, Watt | None]:
        """A fresh reading of every channel, taken together."""


@runtime_checkable
class TriggeredMeter(PowerMeter, Protocol):
    """A power meter whose readings can be begun and fetched apart, so that several boxes read at one time."""

    def start_read(self) -> None:
        """Begin a reading on every channel and come back at once."""

    def finish_read(self, channels: Collection[int] = ()) -> Mapping[int, Watt | None]:
        """Wait for what was begun and fetch it, W; all channels when none is named."""


@runtime_checkable
class PowerLogger(PowerMeter, Protocol):
    """A power meter that records by itself, in even steps."""

    def start_log(self, channels: Collection[int], samples: int, period: Second) -> None:
        """Begin recording on the channels; returns when they run."""

    def log(self, channel: int) -> Sequence[float]:
        """Wait for the end of the record and return it, W."""


@runtime_checkable
class TunableSource(Device, Protocol):
    """A laser."""

    @property
    def range(self) -> tuple[Metre, Metre]:
        """Shortest and longest wavelength."""

    def set_wavelength(self, wavelength: Metre) -> None:
        """Tune, and wait until it is there."""

    def wavelength(self) -> Metre:
        """What it says it emits."""

    def set_power(self, power: DBm) -> None:
        """Output power."""

    def set_output(self, on: bool) -> None:
        """Switch the light, and wait until it is so."""

    def output(self) -> bool:
        """Whether it emits, as it says."""


@runtime_checkable
class Attenuator(Device, Protocol):
    """One or several variable attenuators with shutters; channels count from 1."""

    @property
    def channels(self) -> int:
        """How many."""

    def set_attenuation(self, channel: int, attenuation: DB) -> None:
        """Attenuate, and wait until it has settled."""

    def attenuation(self, channel: int) -> DB:
        """What it says."""

    def set_shutter(self, channel: int, open: bool) -> None:  # noqa: A002 - a shutter is open or not
        """Let light through, or not."""

    def shutter(self, channel: int) -> bool:
        """Whether light passes, as it says."""


@runtime_checkable
class OpticalSwitch(Device, Protocol):
    """A one-to-many switch of the bench itself."""

    @property
    def routes(self) -> int:
        """How many outputs."""

    def select(self, output: int) -> None:
        """Join the common port with an output, counted from 1, and wait until it is so."""

    def selected(self) -> int:
        """Which one it says."""


@runtime_checkable
class CrossConnect(Device, Protocol):
    """An optical cross-connect between fibre ports: ingress 1 to N, egress 1 to M, each counted by itself."""

    @property
    def size(self) -> tuple[int, int]:
        """(ingress ports, egress ports)."""

    def connect(self, pairs: Mapping[int, int]) -> None:
        """Join ingress to egress; what else is connected and shares no port stays. Read back."""

    def only(self, pairs: Mapping[int, int]) -> None:
        """Join these and nothing else. Read back."""

    def disconnect(self, ingresses: Collection[int]) -> None:
        """Take these apart. Read back."""

    def clear(self) -> None:
        """Take everything apart. Read back."""

    def connections(self) -> Mapping[int, int]:
        """What it says is joined, ingress to egress."""


@runtime_checkable
class ChannelConnect(Device, Protocol):
    """A WSS-based cross-connect: slices of spectrum between degrees, add and drop ports."""

    @property
    def ports(self) -> Sequence[str]:
        """Names of its ports: "deg-1", "add-1", "drop-1" and so on."""

    def add(self, channel: Channel) -> None:
        """Let a slice through; returns when it is so, as the gear or the person at it says."""

    def remove(self, channel: Channel) -> None:
        """Block it again."""

    def present(self) -> Collection[Channel]:
        """What it says, or the person at it said, passes."""


@runtime_checkable
class SpectrumAnalyzer(Device, Protocol):
    """An optical spectrum analyser."""

    def sweep(self, centre: Metre, span: Metre, resolution: Metre) -> Spectrum:
        """One sweep."""


@runtime_checkable
class Otdr(Device, Protocol):
    """An optical time-domain reflectometer."""

    def trace(self, wavelength: Metre, span: Metre, pulse: Second, averaging: Second) -> bytes:
        """One trace of the fibre at its port, as a .SOR file (SR-4731); ``span`` is the distance range, m."""


@runtime_checkable
class PolarisationController(Device, Protocol):
    """Something that turns the light's polarisation."""

    def set_state(self, index: int, of: int) -> None:
        """Take one of ``of`` states spread evenly over the Poincaré sphere."""


@runtime_checkable
class DisruptionTester(Device, Protocol):
    """An Ethernet or OTN tester that measures how long the service was gone."""

    def start_disruption(self) -> None:
        """Forget what was, and watch."""

    def longest_disruption(self) -> Second | None:
        """The longest since then; None: it has none to tell."""


@runtime_checkable
class Hand(Device, Protocol):
    """Somebody who plugs: a person who is asked, or the simulated lab's own hand."""

    def patch(self, source: str, target: str) -> None:
        """Plug the cord from ``source`` into ``target``; both are places of the bench: "launch-3", "meter-1:2"."""

    def clean(self, place: str) -> str:
        """Clean and inspect a connector; what was seen, in words."""

    def power_cycle(self, what: str, off: Second) -> None:
        """Take both feeds from an instrument for so long, then give them back and wait until it is up."""

    def swap_card(self, what: str, card: str) -> None:
        """Pull a card and put its spare in."""

    def cut(self, place: str, on: bool) -> None:
        """Interrupt the fibre at a place, or make it whole."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a timing receiver announces of its next pulse; it is said in the second before that pulse."""

    grid: str
    """Which time the pulse marks: "GPS", "BDS", "Galileo", "UTC(NTSC)" …; empty: the receiver does not say."""
    week: int
    tow_ms: int
    """Week and ms in it of the pulse, in the count of ``grid``."""
    qerr_ps: int | None
    """Quantisation error: add it to an interval counted from a reference to this pulse. None: invalid."""
    locked: bool
    """False where the receiver says that the pulse is not locked."""


@runtime_checkable
class IntervalCounter(Device, Protocol):
    """A counter of the time between two edges; channels count from 1."""

    def time_interval(self, start: int = 1, stop: int = 2) -> None:
        """Set up single readings from an edge at the start channel to the next at the stop channel."""

    def read_ps(self) -> int:
        """One interval, ps; waits for the edges. Raises NoReadingError when none came."""


@runtime_checkable
class TimingReceiver(Device, Protocol):
    """A GNSS receiver that gives one pulse a second."""

    def valid(self) -> bool | None:
        """Whether its time, fix and pulse are good now, as it says; None: it says nothing fresh of one of them."""

    def next_pulse(self) -> Pulse:
        """Wait for the next announcement of a pulse. Raises NoReadingError when none comes."""

    def pulses(self) -> Sequence[Pulse]:
        """Those announced last, oldest first."""
