"""Simulated transport tester EXFO FTB or LTB with an FTBx-88xxx module: how long the service was gone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.disruption import DisruptionWatch, Gap
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import NAN, ScpiDevice, ScpiError, boolean, choice, count, integer

UNCONFIRMED: Final = (
    "EXFO: unit of the service-disruption times; here ms, not named in the answer",
    "EXFO: that a disruption counts when it is over, and that starting a test forgets those before",
    "EXFO: what is answered where there was none; here 9.91E37, and 0 for the count and the total",
    "EXFO: which light a service needs; here -30 dBm unless the lab table says otherwise",
    "EXFO: how long a test takes to start; here 3 s",
    "EXFO: of all its tests only BERT with service disruption is simulated; no RFC 2544 results: -113",
)

START_S: Final = 3.0
STOP_S: Final = 1.0
THRESHOLD_DBM: Final = -30.0

Suffixes = tuple[int, ...]


class ExfoFtb(ScpiDevice):
    """Looks at the plant's "<name>:in". Its own transmitter is not in the plant: only what it receives counts."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        """``options``: slot (1), threshold_dbm (-30)."""
        super().__init__(identity, clock)
        self.options = dict(options or {})
        self.slot = int(self.options.get("slot", 1))
        self.plant = plant
        self.places = places
        threshold_dbm = float(self.options.get("threshold_dbm", THRESHOLD_DBM))
        self.watch = DisruptionWatch(plant, places.into, 10 ** (threshold_dbm / 10) / 1000)
        self.laser = False
        self.test = "BERT"
        self._began_ns = 0
        self._ran_s = 0.0
        self._speak()

    def reset(self) -> None:
        """`*RST`: no test, laser off."""
        self._stop()
        self.laser = False

    def power_cycled(self) -> None:
        """Its feeds were away."""
        self.reset()

    def _stop(self) -> None:
        if self.watch.watching:
            self.watch.stop()
            self._ran_s = (self.clock.now_ns() - self._began_ns) / 1e9

    # -- commands --------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        data = "[LINS#]:SOURce:DATA:TELecom"
        self.on(f"{data}:TEST", self._set_test)
        self.on(f"{data}:TEST?", self._of(lambda: str(int(self.watch.watching))))
        self.on(f"{data}:TEST:TYPE", self._set_type)
        self.on(f"{data}:TEST:TYPE?", self._of(lambda: self.test))
        self.on(f"{data}:RESet", self._restart)
        result = "[LINS#]:FETCh:DATA:TELecom"
        self.on(f"{result}:TEST:STATus?", self._of(lambda: '"Inprogress"' if self.watch.watching else '"Completed"'))
        self.on(f"{result}:TEST:STATus:VERDict?", self._of(self._verdict))
        self.on(f"{result}:TEST:TIME?", self._of(lambda: f'"{self._seconds():.0f}"'))
        disruption = f"{result}:SDT"
        self._told(f"{disruption}:LONGest?", lambda gaps: max(gap.seconds for gap in gaps))
        self._told(f"{disruption}:SHORtest?", lambda gaps: min(gap.seconds for gap in gaps))
        self._told(f"{disruption}:AVERage?", lambda gaps: sum(gap.seconds for gap in gaps) / len(gaps))
        self._told(f"{disruption}:LAST?", lambda gaps: gaps[-1].seconds)
        self.on(f"{disruption}:TOTal?", self._of(lambda: f"{sum(gap.seconds for gap in self._gaps()) * 1e3:.3f}"))
        self.on(f"{disruption}:COUNt?", self._of(lambda: str(len(self._gaps()))))
        self.on("[LINS#]:OUTPut:TELecom:LASer", self._set_laser)
        self.on("[LINS#]:OUTPut:TELecom:LASer?", self._of(lambda: str(int(self.laser))))
        for pattern in ("PORT:RX:POWer?", "RX:POWer?"):
            self.on(f"[LINS#]:SENSe:DATA:TELecom:OPTical:{pattern}", self._power)

    def _in_slot(self, suffixes: Suffixes) -> None:
        """Raises ScpiError -114 for a slot without a module."""
        if suffixes[0] != self.slot:
            raise ScpiError(-114)

    def _of(self, say: Callable[[], str]) -> Callable[[Suffixes, list[str]], str]:
        def read(suffixes: Suffixes, args: list[str]) -> str:
            self._in_slot(suffixes)
            count(args, 0)
            return say()

        return read

    def _told(self, pattern: str, pick: Callable[[list[Gap]], float]) -> None:
        def say() -> str:
            gaps = self._gaps()
            return f"{pick(gaps) * 1e3:.3f}" if gaps else f"{NAN:.2E}"

        self.on(pattern, self._of(say))

    def _gaps(self) -> list[Gap]:
        self.watch.look()
        return self.watch.gaps

    def _seconds(self) -> float:
        return (self.clock.now_ns() - self._began_ns) / 1e9 if self.watch.watching else self._ran_s

    def _verdict(self) -> str:
        return '"PASS"' if self.watch.light() and not self._gaps() else '"FAIL"'

    def _set_test(self, suffixes: Suffixes, args: list[str]) -> None:
        self._in_slot(suffixes)
        count(args, 1)
        if boolean(args[0]):
            self._begin()
        elif self.watch.watching:
            self.wait(STOP_S)
            self._stop()

    def _begin(self) -> None:
        if self.watch.watching:
            raise ScpiError(-221, "a test runs")
        self.wait(START_S)
        self._began_ns = self.clock.now_ns()
        self.watch.start()

    def _restart(self, suffixes: Suffixes, args: list[str]) -> None:
        self._in_slot(suffixes)
        count(args, 0)
        if self.watch.watching:
            self._began_ns = self.clock.now_ns()
            self.watch.start()

    def _set_type(self, suffixes: Suffixes, args: list[str]) -> None:
        self._in_slot(suffixes)
        count(args, 1)
        if self.watch.watching:
            raise ScpiError(-221, "a test runs")
        self.test = choice(args[0], "BERT", "EBERT")

    def _set_laser(self, suffixes: Suffixes, args: list[str]) -> None:
        self._in_slot(suffixes)
        count(args, 1)
        self.laser = boolean(args[0])

    def _power(self, suffixes: Suffixes, args: list[str]) -> str:
        self._in_slot(suffixes)
        if args:
            count(args, 1)
            integer(args[0], 1, 1)
        watts = self.plant.power(self.places.into)
        return f"{10 * math.log10(watts * 1000):.2f}" if watts > 1e-10 else f"{NAN:.2E}"
