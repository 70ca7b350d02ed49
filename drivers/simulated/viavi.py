"""Simulated tester VIAVI T-BERD/MTS-5800: the walk to its port, applications, controls, results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.disruption import DisruptionWatch
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiDevice, ScpiError, boolean, count, integer

UNCONFIRMED: Final = (
    "VIAVI: all three ports of the walk are one here, whose number is told at each step",
    "VIAVI: how long an application takes to start (here 40 s) and to end (60 s)",
    "VIAVI: the result DISRUPTION:LONGEST, in ms, is ours: no public text names the maker's",
    "VIAVI: which light a service needs; here -30 dBm unless the lab table says otherwise",
    "VIAVI: error numbers; here -221 for what needs an application, or one that runs already",
    "VIAVI: frames are counted at a rate of 100 000 a second while there is light and traffic; no errors among them",
)

FUNCTION: Final = ("BOTH", "BASE", '"BERT"')
LAUNCH_S: Final = 40.0
EXIT_S: Final = 60.0
THRESHOLD_DBM: Final = -30.0
FRAMES_PER_S: Final = 100_000
INVALID: Final = "9.91e+37"

Suffixes = tuple[int, ...]


class ViaviMts(ScpiDevice):
    """Looks at the plant's "<name>:in". Its own transmitter is not in the plant: only what it receives counts."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        """``options``: port (8000), the number told in the walk; threshold_dbm (-30)."""
        super().__init__(identity, clock)
        self.error_format = '{code}, "{text}"'
        self.options = dict(options or {})
        self.port = int(self.options.get("port", 8000))
        self.plant = plant
        self.places = places
        threshold_dbm = float(self.options.get("threshold_dbm", THRESHOLD_DBM))
        self.watch = DisruptionWatch(plant, places.into, 10 ** (threshold_dbm / 10) / 1000)
        self.running: dict[str, int] = {}
        """Application with its suffix → when it is ready, ns."""
        self.launched = ""
        self.selected = ""
        self.session = ""
        """Empty, "created" or "started"."""
        self.laser = False
        self.traffic = False
        self.untimed = False
        self.payload = "BERT"
        self.inserted = 0
        self._began_ns = 0
        self._lasted_s = 0.0
        self._results: dict[str, Callable[[], str]] = {
            "CSTATUS:PHYSICAL:SIGNAL": lambda: str(int(self.watch.light())),
            "CSTATUS:PCS:PHY:LINK:ACTIVE": lambda: str(int(self.watch.light())),
            "COUNT:MAC:ETH:TX:FRAME": lambda: str(self._frames(self.laser and self.traffic)),
            "COUNT:MAC:ETH:FRAME": lambda: str(self._frames(self.watch.light())),
            "ECOUNT:PAYLOAD:BERT:TSE": lambda: str(self.inserted),
            "ERATE:PAYLOAD:BERT:TSE": lambda: f"{self.inserted / max(1, self._frames(sent=True)):.3e}",
            "SECOND:TEST:ELAPSED": lambda: f"{self._seconds():.0f}",
            "FLOAT:PHYSICAL:QSFP:RX:POWER:LEVEL:SUM": self._power,
            "STRING:TEST:EVENT:LOG": lambda: '""',
            "TEST:SUMMARY": lambda: '"OK"' if self.watch.light() and not self._gaps_ms() else '"ERRORS"',
            "DISRUPTION:LONGEST": lambda: f"{max(self._gaps_ms(), default=0.0):.3f}",
            "DISRUPTION:COUNT": lambda: str(len(self._gaps_ms())),
        }
        self._speak()

    def reset(self) -> None:
        """`*RST`: no test, laser off; applications stay."""
        self._abort()
        self.laser = self.traffic = False

    def power_cycled(self) -> None:
        """Its feeds were away."""
        self.reset()
        self.running.clear()
        self.launched = self.selected = self.session = ""

    # -- commands --------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        self.on("*REM", self._remote)
        self.on("MODule:FUNCtion:LIST?", self._list)
        self.on("MODule:FUNCtion:SELect", lambda suffixes, args: self._function(args[:3]))
        self.on("MODule:FUNCtion:SELect?", self._of_function(lambda: "ON"))
        self.on("MODule:FUNCtion:PORT?", self._of_function(lambda: str(self.port)))
        self.on("SYSTem:FUNCtion:READY?", self._of_function(lambda: "1"))
        self.on("SYSTem:FUNCtion:PORT?", self._of_function(lambda: str(self.port)))
        application = "SYSTem:APPLication"
        self.on(f"{application}:LAUNch", self._launch)
        self.on(f"{application}:LAUNch?", lambda suffixes, args: self._ready(self.launched))
        self.on(f"{application}:SELect", self._select)
        self.on(f"{application}:SELect?", lambda suffixes, args: self.selected)
        self.on(f"{application}:CAPPlications?", self._applications)
        self.on("SESSion:CREate", self._needs_application(lambda: setattr(self, "session", "created")))
        self.on("SESSion:STARt", self._needs_application(self._start_session))
        self.on("SESSion:END", self._needs_application(lambda: setattr(self, "session", "")))
        self.on("EXIT", self._needs_application(self._exit))
        self.on("INITiate", self._needs_application(self._start))
        self.on("ABORt", self._plain(self._abort))
        self._flag("OUTPut:OPTic", "laser")
        self._flag("SOURce:MAC:TRAFFIC", "traffic")
        self.on("SENSe:TEST:ENABle", self._set_timed)
        self.on("SOURce:MAC:ETH:PAYLOAD", self._set_payload)
        self.on("SOURce:PAYLOAD:BERT:INSERT:TSE", self._needs_application(self._insert))
        self.on("SENSe:DATA?", self._result)

    def _remote(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 0, 1)
        if args and args[0].upper() not in {"VISIBLE FULL", "HIDDEN", "VISIBLE"}:
            raise ScpiError(-224, args[0][:40])

    def _list(self, suffixes: Suffixes, args: list[str]) -> str:
        if tuple(each.upper() for each in args) != FUNCTION[:2]:
            raise ScpiError(-224)
        return FUNCTION[2]

    def _function(self, args: list[str]) -> None:
        if tuple(each.upper() for each in args) != FUNCTION:
            raise ScpiError(-224)

    def _of_function(self, say: Callable[[], str]) -> Callable[[Suffixes, list[str]], str]:
        def read(suffixes: Suffixes, args: list[str]) -> str:
            self._function(args)
            return say()

        return read

    # -- applications ----------------------------------------------------------------------------------------

    def _ready(self, name: str) -> str:
        ready_ns = self.running.get(name)
        return name if ready_ns is not None and self.clock.now_ns() >= ready_ns else ""

    def _launch(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        words = args[0].split()
        if len(words) != 2 or not words[1].isdecimal():
            raise ScpiError(-220, args[0][:40])
        name = f"{words[0]}_{100 + integer(words[1], 1, 99)}"
        if name in self.running:
            raise ScpiError(-221, "it runs already")
        self.running[name] = self.clock.now_ns() + round(LAUNCH_S * 1e9)
        self.launched = name

    def _select(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        if not self._ready(args[0]):
            raise ScpiError(-221, "no such application")
        self.selected = args[0]

    def _applications(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        return ",".join(name for name in self.running if self._ready(name))

    def _needs_application(self, act: Callable[[], object]) -> Callable[[Suffixes, list[str]], None]:
        def handler(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 0)
            if not self.selected:
                raise ScpiError(-221, "no application")
            act()

        return handler

    def _start_session(self) -> None:
        if not self.session:
            raise ScpiError(-221, "no session")
        self.session = "started"

    def _exit(self) -> None:
        self._abort()
        self.wait(EXIT_S)
        self.running.pop(self.selected, None)
        self.selected = self.session = ""
        self.laser = self.traffic = False

    # -- controls --------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if self.session != "started":
            raise ScpiError(-221, "no session")
        self._began_ns = self.clock.now_ns()
        self.inserted = 0
        self.watch.start()

    def _abort(self) -> None:
        if self.watch.watching:
            self._lasted_s = self._seconds()
            self.watch.stop()

    def _flag(self, pattern: str, name: str) -> None:
        def put(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            wanted = boolean(args[0])
            if wanted and not self.selected:
                raise ScpiError(-221, "no application")
            setattr(self, name, wanted)

        self.on(pattern, put)
        self.on(f"{pattern}?", lambda suffixes, args: "ON" if getattr(self, name) else "OFF")

    def _set_timed(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.untimed = not boolean(args[0])

    def _set_payload(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        if args[0].upper() not in {"BERT", "ACTERNA"}:
            raise ScpiError(-224, args[0][:40])
        self.payload = args[0].upper()

    def _insert(self) -> None:
        self.inserted += 1

    # -- results ---------------------------------------------------------------------------------------------

    def _seconds(self) -> float:
        return (self.clock.now_ns() - self._began_ns) / 1e9 if self.watch.watching else self._lasted_s

    def _frames(self, sent: bool) -> int:
        return round(self._seconds() * FRAMES_PER_S) if sent else 0

    def _gaps_ms(self) -> list[float]:
        self.watch.look()
        return [gap.seconds * 1e3 for gap in self.watch.gaps]

    def _power(self) -> str:
        watts = self.plant.power(self.places.into)
        return f"{10 * math.log10(watts * 1000):.2f}" if watts > 1e-10 else INVALID

    def _result(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 1)
        say = self._results.get(args[0].upper())
        if say is None:
            raise ScpiError(-224, args[0][:40])
        if self.session != "started" or not (self.watch.watching or self._lasted_s):
            return INVALID
        return say()
