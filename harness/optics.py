"""What stands on an optical bench: instruments, the device under test, and how light gets from one to the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from pydantic import Field

from harness.section import Section, Text

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$"
CHANNELS: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}:[0-9]{1,3}(-[0-9]{1,3})?$"
"""meter-1:3 or meter-1:1-8."""


DutKind = Literal["fibre-matrix", "wss", "link"]
"""A cross-connect between fibres, one between slices of spectrum, or the fibre of a link."""


class InstrumentSection(Section):
    """[instruments.NAME]."""

    driver: Text = Field(description="the id of a driver: `millicert bench drivers` lists them")
    resource: Text = Field(default="", description="a VISA resource name; left out on a simulated bench")
    serial: Text = Field(default="", description="the serial number that *IDN? must say")
    calibrated_until: Text = ""
    timeout_s: int = Field(default=5, ge=1, le=600, description="whole seconds an answer may take, 1 to 600")
    options: dict[str, Any] = Field(default={}, description="a table of what the driver wants to know")


class DutSection(Section):
    """[dut]: what is accepted."""

    instrument: Text = Field(description="the name of an instrument")
    kind: DutKind = Field(description="fibre-matrix, wss or link")
    link: Text = Field(default="", description="the name of a link, where its fibre is what is accepted")
    profile: Text = Field(description="the name of an acceptance profile, or the path of one")
    without: list[Text] = Field(default=[], description="ids of requirements that were not ordered; the report says so")
    ingress: list[int] | None = Field(default=None, min_length=1, description="ingress ports that have a launch cord")


class FixtureSection(Section):
    """[fixture]: which instrument plays which part, and which meter channel sits where."""

    source: Text = ""
    attenuator: Text = ""
    polariser: Text = ""
    analyser: Text = ""
    otdr: Text = ""
    tester: Text = ""
    hand: Text = ""
    launch: Literal["coupler", "hand"] = Field(default="coupler", description="coupler or hand")
    receive: list[Text] = Field(default=[], description='channels of egress 1, 2 …: ["meter-1:1-8", "meter-2:1-8"]')
    reference: Text = Field(default="", description='the channel a launch cord is read on: "meter-3:1"')
    monitor: Text = Field(default="", description="the channel that sees what comes back from the launch side")
    source_monitor: Text = Field(default="", description="the channel that sees a tap of the source")
    odu_delays: Text = Field(default="", description="a CSV file of ODUk delay readings, relative to the bench file")


ROLES: Final = ("source", "attenuator", "polariser", "analyser", "otdr", "tester", "hand")


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument as the bench file declares it."""

    name: str
    driver: str
    resource: str
    serial: str = ""
    calibrated_until: str = ""
    timeout_s: int = 5
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dut:
    """The device under test."""

    instrument: str
    kind: DutKind
    profile: str
    """Name of a shipped acceptance profile, or path of one."""
    link: str = ""
    """The link whose fibre is accepted; empty for a cross-connect."""
    without: tuple[str, ...] = ()
    """Ids of the profile's requirements that were not ordered."""
    ingress: tuple[int, ...] = ()
    """Ingress ports with a launch cord; empty: all."""


@dataclass(frozen=True, slots=True)
class Fixture:
    """Parts and places."""

    roles: Mapping[str, str] = field(default_factory=dict)
    """Part → instrument."""
    launch: Literal["coupler", "hand"] = "coupler"
    receive: tuple[tuple[str, int], ...] = ()
    """(meter, channel) of egress 1, 2 …"""
    reference: tuple[str, int] | None = None
    monitor: tuple[str, int] | None = None
    source_monitor: tuple[str, int] | None = None
    odu_delays: str = ""
    """Path of a CSV file of ODUk delay readings, from a tester or a management system."""


def channels(text: str) -> tuple[tuple[str, int], ...]:
    """The channels of meter-1:1-8, or of meter-1:3. Raises ValueError when it is of another form."""
    name, colon, span = text.rpartition(":")
    first, dash, last = span.partition("-")
    if not (name and colon and first.isdecimal() and (last.isdecimal() if dash else not last)):
        raise ValueError(f"{text!r} is not instrument:channel or instrument:first-last")
    low, high = int(first), int(last or first)
    if not 1 <= low <= high <= 999:
        raise ValueError(f"{text!r} does not count up from 1 or more")
    return tuple((name, channel) for channel in range(low, high + 1))
