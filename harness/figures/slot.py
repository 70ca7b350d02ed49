"""A Slot: a slice of spectrum through a WSS-based cross-connect, and the Way that light takes in it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field

from harness.figure import Doubt
from harness.figures.row import rows
from harness.figures.setting import MicroDB, Milliseconds
from harness.figures.setting import Settings as _Settings
from harness.figures.source import Watched
from harness.reading import Record

C_PM_MHZ: Final = 299_792_458_000_000
"""Vacuum wavelength in pm times frequency in MHz (c, exact by definition of the metre)."""
KEYS: Final = ("ingress", "egress", "centre", "width")
"""Columns that say of which way and slot a row is: `NAMES` are text, `PLACES` MHz."""
NAMES: Final = ("ingress", "egress")
PLACES: Final = ("centre", "width")

Port = Annotated[str, Field(pattern=r"^[a-z]{1,12}-[0-9]{1,4}$")]
"""deg-1, add-3, drop-2, slot-5."""
Megahertz = Annotated[int, Field(ge=0, le=1_000_000)]
Optical = Annotated[int, Field(ge=180_000_000, le=240_000_000)]
"""An optical frequency, MHz."""


def exchanged(value: int) -> int:
    """A vacuum wavelength in pm as a frequency in MHz, or the other way round, to the nearest."""
    return (2 * C_PM_MHZ + value) // (2 * value)


class Slot(_Settings):
    """A slice of spectrum (ITU-T G.694.1, flexible grid)."""

    centre_mhz: Optical
    width_mhz: Annotated[int, Field(ge=6_250, le=1_000_000)]

    @property
    def pm(self) -> int:
        """Vacuum wavelength of its centre, pm, to the nearest."""
        return exchanged(self.centre_mhz)


class Way(_Settings):
    """From which port to which."""

    ingress: Port
    egress: Port

    @property
    def kind(self) -> str:
        """What it is called: "express" between degrees, "add", "drop", and "backplane" for anything else."""
        return kind_of(self.ingress, self.egress)


CONVENTIONAL: Final = Slot(centre_mhz=193_100_000, width_mhz=75_000)
"""193.1 THz, the anchor of the grid, 75 GHz wide."""


def kind_of(ingress: str, egress: str) -> str:
    """What a way between two ports is called."""
    pair = (ingress.partition("-")[0], egress.partition("-")[0])
    return {("deg", "deg"): "express", ("add", "deg"): "add", ("deg", "drop"): "drop"}.get(pair, "backplane")


def key_of(row: dict[str, Any]) -> tuple[tuple[str, int | str], ...]:
    """The key of a figure made from a row that has the columns `KEYS`."""
    return (
        ("ingress", row["ingress"]),
        ("egress", row["egress"]),
        ("centre_mhz", row["centre"]),
        ("width_mhz", row["width"]),
    )


class Confirmed(Watched):
    """How it is told that a channel is there: by its light, not by what the gear or a person says."""

    settle_ms: Milliseconds = 2_000
    """After the gear's word that a channel is there: power equalisation takes seconds."""
    rise_udb: MicroDB = 3_000_000
    """By how much the light must rise when a channel is made, to count as confirmed."""


def confirmed(record: Record, procedure: str) -> dict[str, Doubt]:
    """By way and slot, whether light rose at its end when it was made: if it did not, what is read there is stray."""
    found: dict[str, Doubt] = {}
    whole = (*PLACES, "below", "rise")
    for row in rows(record, procedure, "confirm", whole=whole, maybe=("before", "value"), text=NAMES):
        before = row["below"] if row["before"] is None else row["before"]
        red = row["value"] is None or row["value"] - before < row["rise"]
        seen = "none" if row["value"] is None else f"{(row['value'] - before) / 1e6:.2f} dB more"
        found[label(row)] = Doubt(
            "not-confirmed",
            label(row),
            red,
            f"light when it was made: {seen}",
            f"at least {row['rise'] / 1e6:.2f} dB more than when it was blocked",
            "核对该波道、尾纤和单板，重新建立后再测",
            "look at the channel, its cords and its card, make it again, then measure",
        )
    return found


def unmade(record: Record, procedure: str) -> list[Doubt]:
    """A red doubt for every channel that the gear, or the person at it, did not say is there."""
    return [
        Doubt(
            "not-connected",
            label(row),
            True,
            "the cross-connect does not list the channel",
            "listed when it is read",
            "在网管上核对该波道，重新建立后再测",
            "look the channel up in the management system, make it again, then measure",
        )
        for row in rows(record, procedure, "present", whole=(*PLACES, "value"), text=NAMES)
        if row["value"] == 0
    ]


def label(row: dict[str, Any]) -> str:
    """Way and slot in words: "deg-1 to deg-2, 193100000 MHz wide 75000"."""
    return f"{row['ingress']} to {row['egress']}, {row['centre']} MHz wide {row['width']}"
