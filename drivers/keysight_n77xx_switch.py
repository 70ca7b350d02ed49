"""Keysight N773x optical switches: one of the switches of a box, from its common port A to one of several outputs.

Commands are those of the maker's N77xx Programming Guide, edition 7.
"""

from __future__ import annotations

import re
from typing import Final

from drivers.capability import Safe
from drivers.clock import WALL, Clock
from drivers.codec import BARE
from drivers.errors import NotTakenError, PortReplyError, SettingError
from drivers.scpi import POLL_OPC, ErrorPolicy, ScpiInstrument
from drivers.session import Session

ROUTES: Final = {"N7731A": (2, 4), "N7734A": (1, 13)}
"""Model → (switches in the box, outputs of each); from the names under which they are sold, unconfirmed."""
SWITCHED_S: Final = 5.0
"""A switch has moved within so much; unconfirmed."""

UNCONFIRMED: Final = (
    "no command of the Keysight N773x driver has been tried on a real switch",
    "how many switches with how many outputs a Keysight N773x has",
)

_ROUTE: Final = re.compile(r"([A-Z])\s*,\s*(\d{1,3})")


class KeysightN77xxSwitch(ScpiInstrument):
    """One switch of the box; it stays where it is when it is opened."""

    MODELS = tuple(ROUTES)
    WAIT = POLL_OPC
    ERRORS = ErrorPolicy.AFTER_GROUP
    unconfirmed = UNCONFIRMED

    def __init__(self, session: Session, *, clock: Clock = WALL, switch: int = 1) -> None:
        """Raises SettingError, WrongInstrumentError, and what the session raises."""
        super().__init__(session, clock=clock)
        switches, self._routes = ROUTES[self.identity.model.upper()]
        try:
            self.suffixes["switch"] = _among(switch, switches, "a switch")
            self.errors()  # what others left behind is no answer to us
        except BaseException:
            self.close()
            raise

    @property
    def routes(self) -> int:
        """How many outputs."""
        return self._routes

    def select(self, output: int) -> None:
        """Join port A with an output, counted from 1, and wait until it says so.

        Raises SettingError before anything is sent, InstrumentFaultError, NotTakenError, PortTimeoutError.
        """
        _among(output, self._routes, "an output")
        self.write(f"ROUT{{switch}}:CHAN1 A,{output}")
        self.wait(SWITCHED_S)
        found = self.selected()
        if found != output:
            raise NotTakenError(
                f"port A joined with output {output}", f"output {found}, as it says itself", "look at the switch"
            )

    def selected(self) -> int:
        """Which output it says is joined with port A. Raises PortReplyError."""
        message = "ROUT{switch}:CHAN1?"
        reply = self.ask(message, BARE)
        routes = [_ROUTE.fullmatch(part.strip().upper()) for part in reply.strip('"').split(";")]
        joined = [int(route[2]) for route in routes if route is not None and route[1] == "A"]
        if None in routes or len(joined) != 1 or not 1 <= joined[0] <= self._routes:
            raise PortReplyError(
                f"A,1 to A,{self._routes} to {self.say(message)}", repr(reply), "check model and firmware"
            )
        return joined[0]

    def safe_state(self) -> Safe:
        """It emits nothing and stays where it is."""
        return Safe(confirmed=True, said=f"{self.identity.model}: a switch, emits nothing")


def _among(number: int, most: int, what: str) -> int:
    if isinstance(number, bool) or number not in range(1, most + 1):
        raise SettingError(f"{what} of 1 to {most}", repr(number), "see the box's front")
    return number
