"""Simulated fibre switch of Polatis (HUBER+SUHNER), series 6000 and 7000, over SCPI or over TL1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.panel import Panel
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiDevice, ScpiError, channel_list, count, integer
from drivers.simulated.tl1 import Tl1Command, Tl1Deny, Tl1Device

UNCONFIRMED: Final = (
    "Polatis: whether *OPC? waits for the light; here it does",
    "Polatis: what ADD does with a port in use; here its old connection goes",
    "Polatis: error numbers; here -222 for a port that there is none of, -224 for one named twice or on the "
    "wrong side, -220 for lists of unlike length, -221 for a disabled or failed port",
    "Polatis TL1: denial codes; here IIAC for a wrong port, SNVS for a disabled or failed one",
    "Polatis TL1: that a closed shutter leaves the patch in the list",
    "Polatis TL1: rows of RTRV-EQPT, RTRV-INV, RTRV-PORT-ATTEN, RTRV-PORT-LABEL and RTRV-PORT-SHUTTER",
    "Polatis TL1: how exact the power monitors are; here 0.2 dB (standard deviation), down to -60 dBm",
)

FIRMWARE: Final = "6.5.2.18"
Suffixes = tuple[int, ...]


class PolatisScpi(ScpiDevice):
    """Ports are counted through: ingress 1 … N, egress N + 1 … N + M. Commands are silent."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(identity, clock)
        self.options = dict(options or {})
        self.panel = Panel(plant, places, self.options.get("failed_ports", ()))
        switch = "OXC:SWITch"
        self.on(f"{switch}:SIZE?", lambda suffixes, args: f"{self.panel.inputs},{self.panel.outputs}")
        self.on(f"{switch}:CONNect:ADD", self._add)
        self.on(f"{switch}:CONNect:ONLY", self._only)
        self.on(f"{switch}:CONNect:SUB", self._sub)
        self.on(f"{switch}:DISConnect:ALL", self._plain(self._clear))
        self.on(f"{switch}:CONNect:STATe?", self._state)
        self.on(f"{switch}:CONNect:PORT?", self._port)
        self.on(f"{switch}:PORT:STATe?", self._states)
        self.on(f"{switch}:PORT:DISable", self._disable)
        self.on(f"{switch}:PORT:ENABle", self._enable)
        self.on("SYSTem:COMMunicate:NETWork#:ADDRess?", self._address)

    def power_cycled(self) -> None:
        """Its feeds were away."""
        self.panel.power_cycled()

    # -- ports -----------------------------------------------------------------------------------------------

    def _real(self, port: int) -> int:
        """Raises ScpiError -222."""
        if not 1 <= port <= self.panel.ports:
            raise ScpiError(-222, str(port))
        return port

    def _pairs(self, args: list[str]) -> dict[int, int]:
        """Ingress → egress, each from 1. Raises ScpiError -108, -109, -220, -221, -222, -224."""
        count(args, 2)
        ingresses, egresses = channel_list(args[0]), channel_list(args[1])
        if len(ingresses) != len(egresses):
            raise ScpiError(-220, "lists of unlike length")
        self._sided(ingresses, egresses)
        for port in (*ingresses, *egresses):
            if not self.panel.usable(port):
                raise ScpiError(-221, f"port {port} is {'failed' if port in self.panel.failed else 'disabled'}")
        return {ingress: egress - self.panel.inputs for ingress, egress in zip(ingresses, egresses, strict=True)}

    def _sided(self, ingresses: list[int], egresses: list[int]) -> None:
        for port in (*ingresses, *egresses):
            self._real(port)
        if len(set(ingresses)) < len(ingresses) or len(set(egresses)) < len(egresses):
            raise ScpiError(-224, "a port twice")
        if any(port > self.panel.inputs for port in ingresses) or any(port <= self.panel.inputs for port in egresses):
            raise ScpiError(-224, "a port on the wrong side")

    # -- connections -----------------------------------------------------------------------------------------

    def _add(self, suffixes: Suffixes, args: list[str]) -> None:
        self.begin(self.panel.connect(self._pairs(args)))

    def _only(self, suffixes: Suffixes, args: list[str]) -> None:
        self.begin(self.panel.only(self._pairs(args)))

    def _sub(self, suffixes: Suffixes, args: list[str]) -> None:
        """With egresses given only those pairs go; without, whatever the ingresses are joined with."""
        count(args, 2)
        ingresses, egresses = channel_list(args[0]), channel_list(args[1])
        self._sided(ingresses, egresses)
        if egresses and len(ingresses) != len(egresses):
            raise ScpiError(-220, "lists of unlike length")
        known = self.panel.connections()
        wanted = dict(zip(ingresses, egresses, strict=True)) if egresses else {}
        for ingress, egress in wanted.items():
            if known.get(ingress) != egress - self.panel.inputs:
                raise ScpiError(-221, f"{ingress} and {egress} are not connected")
        self.begin(self.panel.disconnect(ingresses))

    def _clear(self) -> None:
        self.begin(self.panel.only({}))

    def _state(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        known = self.panel.connections()
        ingresses = ",".join(map(str, known))
        egresses = ",".join(str(self.panel.inputs + egress) for egress in known.values())
        return f"(@{ingresses}),(@{egresses})"

    def _port(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 1)
        port = self._real(integer(args[0]))
        both = {i: self.panel.inputs + o for i, o in self.panel.connections().items()}
        both |= {o: i for i, o in both.items()}
        return f'"{both.get(port, "")}"'

    # -- states ----------------------------------------------------------------------------------------------

    def _states(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0, 1)
        ports = [self._real(port) for port in channel_list(args[0])] if args else range(1, self.panel.ports + 1)
        return "(" + ",".join(self.panel.state(port) for port in ports) + ")"

    def _disable(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        ports = {self._real(port) for port in channel_list(args[0])}
        self.panel.disabled |= ports
        gone = [i for i, o in self.panel.connections().items() if {i, self.panel.inputs + o} & ports]
        self.begin(self.panel.disconnect(gone))

    def _enable(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.panel.disabled -= {self._real(port) for port in channel_list(args[0])}

    def _address(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        if suffixes[0] not in (1, 2):
            raise ScpiError(-114)
        return 'IP="127.0.0.1" Gateway="127.0.0.1" Mask="255.0.0.0"'


class PolatisTl1(Tl1Device):
    """The same switch on port 3082; ports are counted through as over SCPI. User root, password root."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        self.options = dict(options or {})
        users = {str(self.options.get("user", "root")): str(self.options.get("password", "root"))}
        super().__init__(identity, clock, sid=str(self.options.get("sid", identity.serial)), users=users)
        self.panel = Panel(plant, places, self.options.get("failed_ports", ()))
        self.timeout_s = 60
        self.on("RTRV-NETYPE", self._netype)
        self.on("RTRV-EQPT", self._equipment)
        self.on("ED-EQPT", self._edit)
        self.on("RTRV-INV", self._inventory)
        self.on("ENT-PATCH", self._enter)
        self.on("DLT-PATCH", self._delete)
        self.on("RTRV-PATCH", self._patches)
        self.on("OPR-PORT-SHUTTER", lambda command: self._shutter(command, closed=True))
        self.on("RLS-PORT-SHUTTER", lambda command: self._shutter(command, closed=False))
        self.on("RTRV-PORT-SHUTTER", self._shutters)
        self.on("RTRV-PORT-POWER", self._powers)
        self.on("RTRV-PORT-PMON", self._monitors)
        self.on("SET-PORT-PMON", self._set_monitors)
        self.on("RTRV-PORT-ATTEN", lambda command: [f"{port}:NONE,0.00" for port in self._ports(command)])
        self.on("RTRV-PORT-LABEL", self._labels)
        self.on("SET-PORT-LABEL", self._set_labels)
        self.on("OPR-PORT", lambda command: self._use(command, used=True))
        self.on("RLS-PORT", lambda command: self._use(command, used=False))

    def power_cycled(self) -> None:
        """Its feeds were away."""
        self.panel.power_cycled()

    # -- ports -----------------------------------------------------------------------------------------------

    def _number(self, name: str) -> int:
        """Raises Tl1Deny IIAC."""
        if not (name.isascii() and name.isdecimal() and len(name) < 9 and 1 <= int(name) <= self.panel.ports):
            raise Tl1Deny("IIAC", f"no port {name}"[:40])
        return int(name)

    def _ports(self, command: Tl1Command) -> list[int]:
        """The ports that are named; all when none is. Raises Tl1Deny."""
        if command.aid.upper() in {"", "ALL"}:
            return list(range(1, self.panel.ports + 1))
        return [self._number(name) for part in command.aids() for name in part]

    # -- what it is ------------------------------------------------------------------------------------------

    def _netype(self, command: Tl1Command) -> list[str]:
        return [f"{self.identity.maker},{self.identity.model},OCS,{self.identity.firmware}"]

    def _equipment(self, command: Tl1Command) -> list[str]:
        if command.aid.upper() != "SYSTEM":
            raise Tl1Deny("IIAC", command.aid[:40])
        known = {
            "SIZE": f"{self.panel.inputs}x{self.panel.outputs}",
            "TIMEOUT": str(self.timeout_s),
            "VERSION": self.identity.firmware,
        }
        asked = command.named.get("PARAMETER", "").upper()
        if asked and asked not in known:
            raise Tl1Deny("IDNV", asked[:40])
        return [f"SYSTEM:{name}={value}" for name, value in known.items() if asked in {"", name}]

    def _edit(self, command: Tl1Command) -> None:
        value = command.named.get("ADMIN", "")
        if command.aid.upper() != "TIMEOUT":
            raise Tl1Deny("IIAC", command.aid[:40])
        if not (value.isascii() and value.isdecimal() and int(value[:9]) <= 1_000_000):
            raise Tl1Deny("IDNV", value[:40])
        self.timeout_s = int(value)

    def _inventory(self, command: Tl1Command) -> list[str]:
        return [f"OCS:{self.identity.model},SN={self.identity.serial},REV={self.identity.firmware}"]

    # -- patches ---------------------------------------------------------------------------------------------

    def _enter(self, command: Tl1Command) -> None:
        parts = command.aids()
        if len(parts) != 2 or len(parts[0]) != len(parts[1]):
            raise Tl1Deny("IIAC", "ingress ports, egress ports")
        ingresses, egresses = ([self._number(name) for name in part] for part in parts)
        if len(set(ingresses)) < len(ingresses) or len(set(egresses)) < len(egresses):
            raise Tl1Deny("IIAC", "a port twice")
        if any(port > self.panel.inputs for port in ingresses) or any(port <= self.panel.inputs for port in egresses):
            raise Tl1Deny("IIAC", "a port on the wrong side")
        bad = [port for port in (*ingresses, *egresses) if not self.panel.usable(port)]
        if bad:
            raise Tl1Deny("SNVS", f"port {bad[0]} is {'failed' if bad[0] in self.panel.failed else 'disabled'}")
        pairs = {i: o - self.panel.inputs for i, o in zip(ingresses, egresses, strict=True)}
        self.wait(self.panel.connect(pairs))

    def _delete(self, command: Tl1Command) -> None:
        known = self.panel.connections()
        if command.aid.upper() == "ALL":
            self.wait(self.panel.disconnect(list(known)))
            return
        if not command.aid:
            raise Tl1Deny("IIAC", "which ports, or ALL")
        by_egress = {self.panel.inputs + egress: ingress for ingress, egress in known.items()}
        gone = [by_egress.get(port, port) for port in self._ports(command)]
        self.wait(self.panel.disconnect([port for port in gone if port in known]))

    def _patches(self, command: Tl1Command) -> list[str]:
        ports = set(self._ports(command))
        pairs = [(i, self.panel.inputs + o) for i, o in self.panel.connections().items()]
        return [f"{i},{o}" for i, o in pairs if i in ports or o in ports]

    # -- ports' states ---------------------------------------------------------------------------------------

    def _shutter(self, command: Tl1Command, *, closed: bool) -> None:
        if not command.aid:
            raise Tl1Deny("IIAC", "which ports")
        self.wait(max(self.panel.set_shutter(port, closed=closed) for port in self._ports(command)))

    def _shutters(self, command: Tl1Command) -> list[str]:
        return [f"{port}:{'CLOSED' if port in self.panel.shut else 'OPEN'}" for port in self._ports(command)]

    def _use(self, command: Tl1Command, *, used: bool) -> None:
        ports = set(self._ports(command))
        if used:
            self.panel.disabled -= ports
            return
        self.panel.disabled |= ports
        gone = [i for i, o in self.panel.connections().items() if {i, self.panel.inputs + o} & ports]
        self.wait(self.panel.disconnect(gone))

    def _powers(self, command: Tl1Command) -> list[str]:
        return [f"{port}:{self.panel.power_dbm(port):.2f}" for port in self._ports(command)]

    def _monitors(self, command: Tl1Command) -> list[str]:
        panel = self.panel
        return [
            f"{port}:{panel.wavelength_nm.get(port, 1550.0):.2f},{panel.offset_db.get(port, 0.0):.2f},"
            f"{panel.averaging_ms.get(port, 100)}"
            for port in self._ports(command)
        ]

    def _set_monitors(self, command: Tl1Command) -> None:
        limits = {"WAVE": (1200.0, 1700.0), "OFFSET": (-60.0, 60.0), "ATIME": (1.0, 10_000.0)}
        values = {}
        for name, said in command.named.items():
            low, high = limits.get(name, (1.0, 0.0))
            try:
                values[name] = float(said)
            except ValueError:
                raise Tl1Deny("IPNV", said[:40]) from None
            if not low <= values[name] <= high:
                raise Tl1Deny("IDNV", f"{name}={said}"[:40])
        for port in self._ports(command):
            if "WAVE" in values:
                self.panel.wavelength_nm[port] = values["WAVE"]
            if "OFFSET" in values:
                self.panel.offset_db[port] = values["OFFSET"]
            if "ATIME" in values:
                self.panel.averaging_ms[port] = int(values["ATIME"])

    def _labels(self, command: Tl1Command) -> list[str]:
        return [f"{port}:{self.panel.labels.get(port, '')}" for port in self._ports(command)]

    def _set_labels(self, command: Tl1Command) -> None:
        label = command.named.get("LABEL", ",".join(command.positional)).strip('"')
        for port in self._ports(command):
            self.panel.labels[port] = label[:32]
