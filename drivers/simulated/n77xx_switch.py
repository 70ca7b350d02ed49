"""Simulated optical switches Keysight N7731A and N7734A."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated import n77xx
from drivers.simulated.n77xx import N77xx, Suffixes
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiError, count
from drivers.simulated.switch1xn import Switch

UNCONFIRMED: Final = (
    *n77xx.UNCONFIRMED,
    "N773x: switches in a box and outputs of each; here N7731A two of 4, N7734A one of 13",
    "N773x: how long it moves; here 20 ms",
    "N773x: answers to ROUT:CONF? and ROUT:CONF:ROUT?; here inputs and outputs, and the routes there are",
    "N773x: of a box with two switches only the first is in the plant",
)

ROUTES: Final[Mapping[str, tuple[int, int]]] = {"N7731A": (2, 4), "N7734A": (1, 13)}
"""Model → (switches, outputs of each)."""
MOVE_S: Final = 0.02
_ROUTE: Final = re.compile(r"([A-Z])\s*,\s*(\d{1,3})", re.ASCII)


class N77xxSwitch(N77xx):
    """Switch 1 is the plant's Switch of its name."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        self.options = dict(options or {})
        switches, self.outputs = ROUTES[identity.model.upper()]
        super().__init__(identity, clock, dict.fromkeys(range(1, switches + 1), identity.model), range(1, 5))
        self.element = plant.get(places.name, Switch)
        self.routes: dict[int, int] = {}
        self.reset()
        self.on("ROUTe#[:CHANnel#]", self._select)
        self.on("ROUTe#[:CHANnel#]?", lambda suffixes, args: f"A,{self.routes[self.slot(suffixes)]}")
        self.on("ROUTe#[:CHANnel#]:CONFig?", self._config)
        self.on("ROUTe#[:CHANnel#]:CONFig:ROUTe?", self._config_routes)

    def reset(self) -> None:
        """`*RST`: output 1."""
        self.routes = dict.fromkeys(self.modules, 1)
        self.element.select(1)

    def power_cycled(self) -> None:
        """Its feeds were away; it stays where it was."""

    def _select(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 2)
        switch = self.slot(suffixes)
        found = _ROUTE.fullmatch(",".join(args).upper())
        if found is None or found[1] != "A" or not 1 <= int(found[2]) <= self.outputs:
            raise ScpiError(-220, "StatParamError")
        self.routes[switch] = int(found[2])
        if switch == 1:
            self.element.select(int(found[2]))
        self.begin(MOVE_S, switch)

    def _config(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        self.slot(suffixes)
        return f"A,A;1,{self.outputs}"

    def _config_routes(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        self.slot(suffixes)
        return f"A,1,A,{self.outputs}"
