"""Keysight N775x and N776x multichannel variable optical attenuators with shutters.

Commands are those of the maker's N77xx Programming Guide, edition 7. Attenuator k takes slots 2k-1 and 2k; the first is
spoken to. Attenuation here is the filter's alone: the box's own display offset is taken away when it is opened.
"""

from __future__ import annotations

from typing import Final

from drivers.capability import Safe
from drivers.clock import WALL, Clock
from drivers.codec import TRUTH, number
from drivers.errors import SettingError
from drivers.quantity import DB, DBm, Metre, Second
from drivers.scpi import POLL_SLOT_OPC, ErrorPolicy, Query, ScpiChannel, ScpiInstrument, Setting
from drivers.session import Session

CHANNELS: Final = {"N7751A": 1, "N7752A": 2, "N7761A": 1, "N7762A": 2, "N7764A": 4, "N7766A": 2, "N7768A": 4}
MOST_DB: Final = {
    "N7751A": DB(45),
    "N7752A": DB(45),
    "N7761A": DB(45),
    "N7762A": DB(45),
    "N7764A": DB(45),
    "N7766A": DB(35),
    "N7768A": DB(35),
}
"""Largest attenuation; N7764A as used by others, the rest unconfirmed. The box's own `INP:ATT? MAX` goes before it."""
WAVELENGTHS: Final = (Metre(1260e-9), Metre(1640e-9))
"""Of the single-mode models."""
MULTIMODE: Final = {"N7766A": (Metre(800e-9), Metre(1350e-9)), "N7768A": (Metre(800e-9), Metre(1350e-9))}
"""Unconfirmed."""
MOST_DBM: Final = DBm(23)
"""Power that an input bears; for whoever plugs."""
SETTLED_S: Final = 30.0
"""An attenuation is reached within so much, also at a slow transition speed; unconfirmed."""

UNCONFIRMED: Final = (
    "no command of the Keysight N775x/N776x driver has been tried on a real attenuator",
    "attenuation and wavelength ranges of Keysight N775x/N776x other than the N7764A",
)


class AttenuatorChannel(ScpiChannel):
    """One attenuator with its shutter."""

    def __init__(self, parent: KeysightN77xxAttenuator, channel: int) -> None:
        super().__init__(parent, slot=2 * channel - 1)
        self.model = parent.identity.model.upper()

    least = Query("INP{slot}:ATT? MIN", number(DB))
    most = Query("INP{slot}:ATT? MAX", number(DB))
    offset = Setting("INP{slot}:OFFS", number(DB, "DB"))
    closed_loop = Setting("OUTP{slot}:POW:CONTR", TRUTH)
    attenuation = Setting("INP{slot}:ATT", number(DB, "DB"), wait_s=SETTLED_S, wait=POLL_SLOT_OPC)
    wavelength = Setting("INP{slot}:WAV", number(Metre), wait_s=SETTLED_S, wait=POLL_SLOT_OPC)
    shutter = Setting("OUTP{slot}", TRUTH, wait_s=SETTLED_S, wait=POLL_SLOT_OPC, confirm=True)


class KeysightN77xxAttenuator(ScpiInstrument):
    """A box of attenuators; the shutters stay as they are when it is opened."""

    MODELS = tuple(CHANNELS)
    WAIT = POLL_SLOT_OPC
    ERRORS = ErrorPolicy.AFTER_GROUP
    unconfirmed = UNCONFIRMED

    def __init__(self, session: Session, *, clock: Clock = WALL) -> None:
        """Raises WrongInstrumentError, InstrumentFaultError, and what the session raises."""
        super().__init__(session, clock=clock)
        model = self.identity.model.upper()
        self._wavelengths = MULTIMODE.get(model, WAVELENGTHS)
        self._channels = {each: AttenuatorChannel(self, each) for each in range(1, CHANNELS[model] + 1)}
        try:
            self.errors()  # what others left behind is no answer to us
            with self.group("opening it: no display offset, no power control"):
                for channel in self._channels.values():
                    channel.closed_loop = False
                    channel.offset = DB(0.0)
            self._ranges = {
                each: (channel.least, min(channel.most, MOST_DB[model])) for each, channel in self._channels.items()
            }
        except BaseException:
            self.close()
            raise

    def _at(self, channel: int) -> AttenuatorChannel:
        if channel not in self._channels:
            raise SettingError(f"a channel of 1 to {len(self._channels)}", repr(channel), "see the box's front")
        return self._channels[channel]

    @property
    def channels(self) -> int:
        """How many attenuators."""
        return len(self._channels)

    def set_attenuation(self, channel: int, attenuation: DB) -> None:
        """Attenuate, dB beyond the insertion loss, and wait until the filter has settled.

        Raises SettingError before anything is sent, InstrumentFaultError, PortTimeoutError.
        """
        at = self._at(channel)
        low, high = self._ranges[channel]
        if not low <= attenuation <= high:
            raise SettingError(
                f"an attenuation within {low:g} … {high:g} dB", f"{attenuation!r} dB", "see the data sheet"
            )
        at.attenuation = attenuation

    def attenuation(self, channel: int) -> DB:
        """What it says, dB beyond the insertion loss."""
        return self._at(channel).attenuation

    def set_wavelength(self, wavelength: Metre) -> None:
        """What all channels take the light for, m in vacuum. Raises SettingError, InstrumentFaultError."""
        low, high = self._wavelengths
        if not low <= wavelength <= high:
            raise SettingError(
                f"a wavelength within {low * 1e9:g} … {high * 1e9:g} nm", f"{wavelength!r} m", "see the data sheet"
            )
        for channel in self._channels.values():
            channel.wavelength = wavelength

    def set_shutter(self, channel: int, open: bool) -> None:  # noqa: A002 - as the capability has it
        """Let light through, or not; it is asked whether it is so. Raises NotTakenError when it is not."""
        self._at(channel).shutter = open

    def shutter(self, channel: int) -> bool:
        """Whether light passes, as it says."""
        return self._at(channel).shutter

    def settling(self, channel: int) -> Second:
        """Wait until a channel has settled; the time it took, s. Raises PortTimeoutError."""
        return self._at(channel).wait(SETTLED_S, POLL_SLOT_OPC)

    def safe_state(self) -> Safe:
        """Every shutter closed, and each asked afterwards."""
        for channel in self._channels.values():
            self.session.write(channel.say("OUTP{slot} 0"))  # all of them first, whatever one may object
        states = {}
        for each, channel in self._channels.items():
            channel.wait(SETTLED_S, POLL_SLOT_OPC)
            states[each] = channel.shutter
        said = ", ".join(f"shutter {each} {'OPEN' if state else 'closed'}" for each, state in states.items())
        return Safe(confirmed=not any(states.values()), said=said)
