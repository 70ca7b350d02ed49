"""Whatever an instrument answers, a driver gives a value that can be or an error of ours, and comes to an end."""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.capability import Safe, Spectrum
from drivers.errors import InstrumentError
from drivers.keysight_816x import Keysight816x
from drivers.keysight_n77xx_attenuator import KeysightN77xxAttenuator
from drivers.keysight_n77xx_meter import KeysightN77xxMeter
from drivers.keysight_n77xx_source import KeysightN77xxSource
from drivers.keysight_n77xx_switch import KeysightN77xxSwitch
from drivers.port import Identity, identity
from drivers.quantity import DB, DBm, Metre, Second
from drivers.santec_tsl import SantecTsl
from drivers.simulated.virtual import VirtualClock
from drivers.thorlabs_pm import ThorlabsPm
from drivers.yokogawa_aq637x import YokogawaAq637x

FINE = '+0,"No error"'
ANSWERS = {"SYST:ERR?": FINE, ":SYST:ERR?": FINE, "*OPC?": "1", "LOCK?": "0"}

words = st.sampled_from(
    [
        *("", " ", "1", "0", "+1", "2", "-1", "1e5", "9.91E37", "-9.9E+37", "NAN", "INF", "1,1", "1;1", "A,1", '"A,1"'),
        *("0,OK", "LOGGING_STABILITY,COMPLETE", "NONE,PROGRESS", "#H1F", "1E400", "1" * 65, '-113,"Undefined', "\x00"),
        *("+0", '-231,"Data questionable"', "(@1)", "1.55E-006", "1550.0", ",", '"', "#14abcd", "S,1,1,1,1,33"),
    ]
)
texts = st.one_of(words, st.text(max_size=40), st.floats().map(repr), st.integers().map(str))
blocks = st.one_of(
    st.binary(max_size=64),
    st.lists(st.floats(width=32), max_size=9).map(lambda found: struct.pack(f"<{len(found)}f", *found)),
    st.lists(st.floats(), max_size=9).map(lambda found: struct.pack(f"<{len(found)}d", *found)),
)


class Babbling:
    """A session with an instrument that talks sense, but for some of its answers."""

    resource = "TCPIP0::192.0.2.7::5025::SOCKET"
    timeout_s = 2.0

    def __init__(
        self, who: str, sense: Mapping[str, str], texts: Sequence[str | None], octets: Sequence[bytes]
    ) -> None:
        self.identity: Identity = identity(who)
        self._sense = sense
        self._texts = iter(texts)
        self._octets = iter(octets)
        self.babbling = False

    def write(self, message: str, timeout_s: float | None = None) -> None:
        assert "?" not in message

    def query(self, message: str, timeout_s: float | None = None) -> str:
        assert "?" in message
        said = next(self._texts, None) if self.babbling else None
        if said is not None:
            return said
        return {**ANSWERS, **self._sense}.get(message, "1")

    def query_block(self, message: str, timeout_s: float | None = None) -> bytes:
        return next(self._octets, b"")

    @contextlib.contextmanager
    def turn(self, timeout_s: float | None = None) -> Iterator[None]:
        yield

    def close(self) -> None:
        pass


def meter(session: Babbling) -> Iterator[Callable[[], object]]:
    it = KeysightN77xxMeter(session, clock=VirtualClock())
    yield lambda: it.read(1)
    yield it.read_all
    yield lambda: it.start_log([1], 4, Second(1e-3))
    yield lambda: it.log(1, 0.05)
    yield lambda: it.set_wavelength(Metre(1550e-9))
    yield it.zero
    yield it.safe_state


def attenuator(session: Babbling) -> Iterator[Callable[[], object]]:
    it = KeysightN77xxAttenuator(session, clock=VirtualClock())
    yield lambda: it.set_attenuation(1, DB(0.5))
    yield lambda: it.attenuation(1)
    yield lambda: it.set_shutter(1, True)
    yield lambda: it.shutter(1)
    yield it.safe_state


def laser(session: Babbling) -> Iterator[Callable[[], object]]:
    it = Keysight816x(session, clock=VirtualClock())
    yield lambda: it.set_wavelength(Metre(1550e-9))
    yield it.wavelength
    yield lambda: it.set_power(DBm(1))
    yield lambda: it.set_output(True)
    yield it.output
    yield lambda: it.scan(Metre(1550e-9), Metre(1550.4e-9), Metre(0.1e-9))
    yield it.safe_state


def source(session: Babbling) -> Iterator[Callable[[], object]]:
    it = KeysightN77xxSource(session, clock=VirtualClock())
    yield lambda: it.set_wavelength(Metre(1550e-9))
    yield it.wavelength
    yield lambda: it.set_power(DBm(1))
    yield it.output
    yield it.safe_state


def switch(session: Babbling) -> Iterator[Callable[[], object]]:
    it = KeysightN77xxSwitch(session, clock=VirtualClock())
    yield lambda: it.select(2)
    yield it.selected
    yield it.safe_state


def santec(session: Babbling) -> Iterator[Callable[[], object]]:
    it = SantecTsl(session, clock=VirtualClock())
    yield lambda: it.set_wavelength(Metre(1550e-9))
    yield it.wavelength
    yield lambda: it.set_output(False)
    yield lambda: it.sweep(Metre(1550e-9), Metre(1551e-9), 10e-9)
    yield it.safe_state


def analyser(session: Babbling) -> Iterator[Callable[[], object]]:
    it = YokogawaAq637x(session, clock=VirtualClock())
    yield lambda: it.sweep(Metre(1550e-9), Metre(2e-9), Metre(0.02e-9))
    yield it.safe_state


def thorlabs(session: Babbling) -> Iterator[Callable[[], object]]:
    it = ThorlabsPm(session, clock=VirtualClock())
    yield lambda: it.set_wavelength(Metre(1550e-9))
    yield lambda: it.read(1)
    yield it.read_all
    yield lambda: it.set_averaging(Second(0.1))


NONE = {f"SENS{port}:FUNC:STAT?": "NONE,PROGRESS" for port in (1, 2)}
FAMILIES: dict[str, tuple[Callable[[Babbling], Iterator[Callable[[], object]]], str, dict[str, str]]] = {
    "meter": (meter, "Keysight Technologies,N7747A,DE1,1", NONE),
    "attenuator": (
        attenuator,
        "Keysight Technologies,N7761A,DE1,1",
        {"INP1:ATT? MIN": "0", "INP1:ATT? MAX": "45", "OUTP1?": "0"},
    ),
    "laser": (
        laser,
        "Agilent Technologies,8164B,DE1,1",
        {
            "SOUR0:POW:UNIT?": "0",
            "SOUR0:WAV? MIN": "1.46E-6",
            "SOUR0:WAV? MAX": "1.64E-6",
            "SOUR0:WAV:SWE:CHEC?": "0,OK",
        },
    ),
    "source": (
        source,
        "Agilent Technologies,N7711A,DE1,1",
        {"SOUR1:POW:UNIT?": "0", "SOUR1:FREQ? MAX": "1.966E14", "SOUR1:FREQ? MIN": "1.915E14"},
    ),
    "switch": (switch, "Agilent Technologies,N7734A,DE1,1", {"ROUT1:CHAN1?": "A,2"}),
    "santec": (
        santec,
        "SANTEC,TSL-570,1,1",
        {":SYST:COMM:COD?": "0", ":POW:UNIT?": "0", ":WAV:SWE:RANG:MIN?": "1480", ":WAV:SWE:RANG:MAX?": "1640"},
    ),
    "analyser": (analyser, "YOKOGAWA,AQ6370D,1,1", {}),
    "thorlabs": (
        thorlabs,
        "Thorlabs,PM101,1,1",
        {"SYST:SENS:IDN?": "S154C,1,1,1,18,289", "SENS:CORR:WAV? MIN": "800", "SENS:CORR:WAV? MAX": "1700"},
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_it_answers(family: str, data: st.DataObject) -> None:
    use, who, sense = FAMILIES[family]
    said = data.draw(st.lists(st.one_of(st.none(), texts), max_size=40))
    session = Babbling(who, sense, said, data.draw(st.lists(blocks, max_size=3)))
    session.babbling = data.draw(st.booleans())
    try:
        acts = use(session)
        first = next(acts)
    except InstrumentError:
        return
    session.babbling = True
    for act in (first, *acts):
        with contextlib.suppress(InstrumentError):
            believable(act())


def believable(found: Any) -> None:
    """No driver ever hands out NaN, infinity, or what is no value of its kind."""
    if isinstance(found, Mapping):
        found = list(found.values())
    if isinstance(found, Spectrum):
        found = [*found.wavelengths_m, *found.powers_dbm]
    for each in found if isinstance(found, Sequence) else [found]:
        assert each is None or isinstance(each, bool | int | float | Safe)
        assert not isinstance(each, float) or math.isfinite(each)
