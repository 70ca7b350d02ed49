"""The drivers there are, by name; each is loaded only when it is opened."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, cast

from drivers.capability import Device
from drivers.clock import WALL, Clock
from drivers.errors import InstrumentError, SettingError
from drivers.opener import Opener
from drivers.port import Backend, Wire

By = Literal["scpi", "tl1", "person"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One driver."""

    opens: str
    """Where its class or maker stands: "drivers.keysight_n77xx_meter:KeysightN77xxMeter"."""
    capability: tuple[str, ...]
    """What it can be asked for: names of Protocols in `drivers.capability`; empty: none of them."""
    title: str
    """Makers and models."""
    by: By = "scpi"
    """How it is opened when it has no `opened` of its own: `cls(session, clock=…, **options)`, `cls(talk, clock=…,
    **options)`, or `maker(options, clock=…, log=…)` for what a person does."""
    experimental: bool = False
    """Its commands stand in no public text of the maker: confirm them on the instrument first."""

    def load(self) -> Callable[..., Any]:
        """Its class or maker. Raises SettingError where something it needs is not installed."""
        module, _, name = self.opens.partition(":")
        try:
            return cast(Callable[..., Any], getattr(importlib.import_module(module), name))
        except (ImportError, AttributeError) as why:
            raise SettingError(
                f"the driver {self.opens}", f"{type(why).__name__}: {why}", "install what it needs, or take another"
            ) from why

    @property
    def unconfirmed(self) -> tuple[str, ...]:
        """What of it nothing confirms. Raises SettingError as `load`."""
        made = self.load()
        said: object = getattr(made, "unconfirmed", None)
        if not isinstance(said, (tuple, list)):
            said = tuple(getattr(importlib.import_module(self.opens.partition(":")[0]), "UNCONFIRMED", ()))
        return tuple(map(str, said))


CATALOGUE: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "keysight-n77xx-meter": Entry(
            "drivers.keysight_n77xx_meter:KeysightN77xxMeter",
            ("PowerMeter", "PowerLogger"),
            "Keysight N7744A, N7745A, N7747A, N7748A multiport optical power meters",
        ),
        "keysight-n77xx-attenuator": Entry(
            "drivers.keysight_n77xx_attenuator:KeysightN77xxAttenuator",
            ("Attenuator",),
            "Keysight N7751A, N7752A, N7761A, N7762A, N7764A, N7766A, N7768A optical attenuators",
        ),
        "keysight-n77xx-source": Entry(
            "drivers.keysight_n77xx_source:KeysightN77xxSource",
            ("TunableSource",),
            "Keysight N7711A, N7714A tunable laser sources",
        ),
        "keysight-n77xx-switch": Entry(
            "drivers.keysight_n77xx_switch:KeysightN77xxSwitch",
            ("OpticalSwitch",),
            "Keysight N7731A, N7734A optical switches",
        ),
        "keysight-816x-laser": Entry(
            "drivers.keysight_816x:Keysight816x",
            ("TunableSource",),
            "Keysight (Agilent) 8163, 8164, 8166 with 816xxA modules, N7776C, N7777C tunable lasers",
        ),
        "santec-tsl": Entry("drivers.santec_tsl:SantecTsl", ("TunableSource",), "Santec TSL-550, TSL-570 lasers"),
        "yokogawa-aq637x": Entry(
            "drivers.yokogawa_aq637x:YokogawaAq637x", ("SpectrumAnalyzer",), "Yokogawa AQ6370 series spectrum analysers"
        ),
        "thorlabs-pm": Entry(
            "drivers.thorlabs_pm:ThorlabsPm", ("PowerMeter",), "Thorlabs PM100D, PM101, PM400 power meters"
        ),
        "polatis-scpi": Entry("drivers.polatis_scpi:PolatisScpi", ("CrossConnect",), "Polatis switches, SCPI"),
        "polatis-tl1": Entry("drivers.polatis_tl1:PolatisTl1", ("CrossConnect",), "Polatis switches, TL1", "tl1"),
        "calient-tl1": Entry("drivers.calient_tl1:CalientTl1", ("CrossConnect",), "Calient S-series, TL1", "tl1"),
        "keysight-53230a": Entry(
            "drivers.keysight_53230a:Keysight53230A",
            ("IntervalCounter",),
            "Keysight 53220A, 53230A counters (time interval)",
        ),
        "ublox-timing": Entry("drivers.ublox_timing:UbloxTiming", ("TimingReceiver",), "u-blox timing receivers"),
        "viavi-mts": Entry(
            "drivers.viavi_mts:ViaviMts", ("DisruptionTester",), "VIAVI MTS/T-BERD 5800 testers", experimental=True
        ),
        "exfo-ftb": Entry(
            "drivers.exfo_ftb:ExfoFtb", ("DisruptionTester",), "EXFO FTB testers with FTBx-88xxx", experimental=True
        ),
        "viavi-otu": Entry("drivers.viavi_otu:ViaviOtu", ("Otdr",), "VIAVI OTU-8000, MTS OTDR", experimental=True),
        "prompted-crossconnect": Entry(
            "drivers.prompted:crossconnect",
            ("CrossConnect", "ChannelConnect"),
            "a cross-connect behind its maker's management system, worked by a person",
            "person",
        ),
        "prompted-hand": Entry("drivers.prompted:hand", ("Hand",), "a person at the bench who plugs", "person"),
        "prompted-polarisation": Entry(
            "drivers.prompted:polarisation",
            ("PolarisationController",),
            "a polarisation controller turned by hand",
            "person",
        ),
        "simulated-hand": Entry(
            "drivers.simulated_hand:SimulatedHand",
            ("Hand", "ChannelConnect", "CrossConnect"),
            "the simulated lab's own hand",
        ),
        "simulated-polarisation": Entry(
            "drivers.simulated_polarisation:SimulatedPolarisation",
            ("PolarisationController",),
            "the simulated lab's own polarisation controller",
        ),
    }
)
"""Every driver by the name a bench file gives it."""


def open_driver(
    driver: str,
    resource: str,
    *,
    backend: Backend = "@py",
    clock: Clock = WALL,
    timeout_s: float = 5.0,
    log: Callable[[Wire], None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Device:
    """An instrument by the name of its driver, identified.

    ``resource`` is a VISA resource name ("TCPIP0::192.0.2.7::3082::SOCKET" for TL1 and telnet too); ``timeout_s`` of an
    exchange where the driver knows no better; ``options`` are keyword arguments of the driver's class, and those of
    `drivers.opener.OWN`. Raises SettingError for a driver or an option there is not, and what opening raises.
    """
    entry = CATALOGUE.get(driver)
    if entry is None:
        raise SettingError(f"a driver among {', '.join(CATALOGUE)}", driver, "correct the name")
    made = entry.load()
    how = Opener(resource, backend, clock, timeout_s, log, dict(options or {}))
    if entry.by == "person":
        return cast(Device, made(dict(how.options), clock=clock, log=log))
    own = getattr(made, "opened", None)
    if own is not None:
        return cast(Device, own(how))
    arguments = _arguments(driver, made, how)
    if entry.by == "tl1":
        talk = how.talk()
        try:
            return cast(Device, made(talk, **arguments))
        except BaseException:
            talk.close()
            raise
    session = how.session(ends_out=getattr(made, "ENDS_OUT", "\n"), ends_in=getattr(made, "ENDS_IN", "\n"))
    try:
        return cast(Device, made(session, **arguments))
    except BaseException:
        session.close()
        raise


def _arguments(driver: str, made: Callable[..., Any], how: Opener) -> dict[str, Any]:
    """What its class is called with. Raises SettingError for an option that it has not."""
    allowed = {
        name for name, each in inspect.signature(made).parameters.items() if each.kind is inspect.Parameter.KEYWORD_ONLY
    }
    clock = {"clock": how.clock} if "clock" in allowed else {}
    allowed -= {"clock"}
    for name in how.own:
        if name not in allowed:
            raise SettingError(
                f"options of {driver} among {', '.join(sorted(allowed)) or 'none'}",
                name,
                "correct [instruments] in the bench file",
            )
    return {**how.own, **clock}


@dataclass(frozen=True, slots=True)
class Row:
    """One driver, for people."""

    driver: str
    title: str
    capability: tuple[str, ...]
    experimental: bool
    unconfirmed: tuple[str, ...]
    missing: str
    """Why it cannot be loaded here; empty: it can."""


def drivers_table() -> tuple[Row, ...]:
    """Every driver in the order of the catalogue; one that cannot be loaded says why."""
    rows = []
    for driver, entry in CATALOGUE.items():
        unconfirmed: tuple[str, ...] = ()
        missing = ""
        try:
            unconfirmed = entry.unconfirmed
        except InstrumentError as why:
            missing = why.found
        rows.append(Row(driver, entry.title, entry.capability, entry.experimental, unconfirmed, missing))
    return tuple(rows)
