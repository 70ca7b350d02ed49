"""The simulated lab's own polarisation controller."""

from __future__ import annotations

from typing import Final

from drivers.capability import Safe
from drivers.clock import WALL, Clock
from drivers.codec import WHOLE, csv
from drivers.errors import NotTakenError, SettingError, WrongInstrumentError
from drivers.scpi import ErrorPolicy, ScpiInstrument
from drivers.session import Session

SETTLE_S: Final = 60.0
MOST_STATES: Final = 10_000


class SimulatedPolarisation(ScpiInstrument):
    """What turns the polarisation in a simulated lab; anything without a serial number SIM-… is refused."""

    MAKERS = ("millicert",)
    MODELS = ("POLARISER",)
    ERRORS = ErrorPolicy.AFTER_GROUP
    unconfirmed: tuple[str, ...] = ()

    def __init__(self, session: Session, *, clock: Clock = WALL) -> None:
        """Raises WrongInstrumentError."""
        super().__init__(session, clock=clock)
        if not session.identity.simulated:
            session.close()
            raise WrongInstrumentError(
                "a simulated controller, with a serial number SIM-…",
                str(session.identity),
                "take prompted-polarisation on a bench",
            )

    def set_state(self, index: int, of: int) -> None:
        """Take one of ``of`` states, counted from 0, and read back. Raises SettingError, NotTakenError."""
        if not (1 <= of <= MOST_STATES and 0 <= index < of):
            raise SettingError("a state from 0 to below their number", f"{index} of {of}", "count from 0")
        with self.group("the polarisation", SETTLE_S):
            self.write(f"POL:STAT {index},{of}")
            self.wait(SETTLE_S)
        found = self.ask("POL:STAT?", csv(WHOLE))
        if found != (index, of):
            raise NotTakenError(f"state {index} of {of}", str(found), "look at the lab's table")

    def safe_state(self) -> Safe:
        """It emits nothing."""
        return Safe(confirmed=True, said="turns light, emits none")
