"""Simulated fibre cross-connect of Calient, series S, over TL1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.panel import FLOOR_DBM, Panel
from drivers.simulated.plant import Places, Plant
from drivers.simulated.tl1 import Tl1Command, Tl1Deny, Tl1Device

UNCONFIRMED: Final = (
    "Calient: that ENT-CRS alone moves no mirror, and ACT-CRS does",
    "Calient: denial codes; here IIAC for a wrong port or connection, SROF for a port in use, SNVS for a bad one",
    "Calient: how ports are numbered; here 64 to a shelf and 8 to a card, the same number for ingress and egress",
    "Calient: rows of RTRV-CRS before ACT-CRS; here OS=UEQ, AS=UMA",
    "Calient: how long a long answer's blocks are; here 16 rows",
    "Calient: ENT-CRS-BULK and RTRV-SAVERECALL are not simulated: ICNV",
    "Calient: from which light on OC is FAIL; here -40 dBm at the egress",
)

GROUP: Final = "SYSTEM"
ROWS: Final = 16
LIT_DBM: Final = -40.0


@dataclass(slots=True)
class Connection:
    """One connection in the controller's list."""

    source: int
    target: int
    group: str
    name: str
    both_ways: bool
    active: bool = False

    def pairs(self) -> dict[int, int]:
        """Ingress → egress."""
        return {self.source: self.target, self.target: self.source} if self.both_ways else {self.source: self.target}


class CalientTl1(Tl1Device):
    """Port k, named ``port_name(k)``: "1.1.1", is the pair of ingress k and egress k. User admin, password pxc***."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        self.options = dict(options or {})
        users = {str(self.options.get("user", "admin")): str(self.options.get("password", "pxc***"))}
        super().__init__(
            identity, clock, sid=str(self.options.get("sid", identity.serial)), users=users, rows_a_block=ROWS
        )
        self.panel = Panel(plant, places, self.options.get("failed_ports", ()))
        self.known: dict[str, Connection] = {}
        """By identifier: "1.1.1>1.1.2" one way, "1.1.1-1.1.2" both."""
        for ingress, egress in self.panel.connections().items():
            self._note(Connection(ingress, egress, GROUP, "", both_ways=False, active=True))
        self.on("ENT-CRS", self._enter)
        self.on("ACT-CRS", self._activate)
        self.on("DLT-CRS", self._delete)
        self.on("DLT-CRS-ALL", self._delete_all)
        self.on("RTRV-CRS", self._rows_of)
        self.on("RTRV-PORT-SUM", self._summary)
        self.on("RTRV-NETYPE", self._netype)

    @property
    def ports(self) -> int:
        """How many pairs of ports; a side that is shorter has none for the rest."""
        return max(self.panel.inputs, self.panel.outputs)

    @staticmethod
    def port_name(number: int) -> str:
        """Shelf, card and port of a port counted from 1."""
        shelf, rest = divmod(number - 1, 64)
        card, port = divmod(rest, 8)
        return f"{shelf + 1}.{card + 1}.{port + 1}"

    def power_cycled(self) -> None:
        """Its feeds were away: what the mirrors lost is not in the list any more."""
        self.panel.power_cycled()
        there = self.panel.connections()
        for identifier, connection in list(self.known.items()):
            if connection.active and any(there.get(i) != o for i, o in connection.pairs().items()):
                del self.known[identifier]

    # -- names -----------------------------------------------------------------------------------------------

    def _number(self, name: str) -> int:
        """Raises Tl1Deny IIAC."""
        parts = name.strip().split(".")
        if len(parts) == 3 and all(each.isascii() and each.isdecimal() and len(each) < 5 for each in parts):
            shelf, card, port = map(int, parts)
            if shelf >= 1 and 1 <= card <= 8 and 1 <= port <= 8:
                number = (shelf - 1) * 64 + (card - 1) * 8 + port
                if number <= self.ports:
                    return number
        raise Tl1Deny("IIAC", f"no port {name}"[:40])

    def identifier(self, connection: Connection) -> str:
        """Of a connection."""
        between = "-" if connection.both_ways else ">"
        return f"{self.port_name(connection.source)}{between}{self.port_name(connection.target)}"

    def _find(self, name: str) -> Connection:
        """By identifier or by name. Raises Tl1Deny IIAC."""
        found = self.known.get(name.strip())
        if found is None:
            found = next((each for each in self.known.values() if each.name and each.name == name.strip()), None)
        if found is None:
            raise Tl1Deny("IIAC", f"no connection {name}"[:40])
        return found

    def _note(self, connection: Connection) -> None:
        self.known[self.identifier(connection)] = connection

    # -- connections -----------------------------------------------------------------------------------------

    def _enter(self, command: Tl1Command) -> None:
        ports = command.aid.split(",")
        if len(ports) != 2:
            raise Tl1Deny("IIAC", "an ingress port, an egress port")
        source, target = (self._number(each) for each in ports)
        words = [each.strip() for each in command.positional]
        group = (words[0] if words else "") or GROUP
        way = (words[1] if len(words) > 1 else "").upper() or "1WAY"
        if way not in {"1WAY", "2WAY"}:
            raise Tl1Deny("IDNV", way[:40])
        new = Connection(source, target, group, words[2] if len(words) > 2 else "", way == "2WAY")
        for ingress, egress in new.pairs().items():
            if ingress > self.panel.inputs or egress > self.panel.outputs:
                raise Tl1Deny("IIAC", "no such pair")
            if not (self.panel.usable(ingress) and self.panel.usable(self.panel.inputs + egress)):
                raise Tl1Deny("SNVS", "port out of order")
            if any(ingress in each.pairs() or egress in each.pairs().values() for each in self.known.values()):
                raise Tl1Deny("SROF", "port in use")
        self._note(new)

    def _activate(self, command: Tl1Command) -> None:
        connection = self._find(command.positional[0] if command.positional else command.aid.split(",")[0])
        connection.active = True
        self.wait(self.panel.connect(connection.pairs()))

    def _delete(self, command: Tl1Command) -> None:
        name = command.aid or (command.positional[0] if command.positional else "")
        connection = self._find(name.split(",")[0])
        del self.known[self.identifier(connection)]
        if connection.active:
            self.wait(self.panel.disconnect(connection.pairs()))

    def _delete_all(self, command: Tl1Command) -> None:
        self.known.clear()
        self.wait(self.panel.disconnect(list(self.panel.connections())))

    # -- what it says ----------------------------------------------------------------------------------------

    def _rows_of(self, command: Tl1Command) -> list[str]:
        name = command.aid.split(",")[0].strip()
        found = list(self.known.values()) if name.upper() in {"", "ALL"} else [self._find(name)]
        return [self._row(each) for each in found]

    def _row(self, connection: Connection) -> str:
        source, target = self.port_name(connection.source), self.port_name(connection.target)
        identifier, way = self.identifier(connection), "2WAY" if connection.both_ways else "1WAY"
        lit = all(self.panel.power_dbm(self.panel.inputs + egress) > LIT_DBM for egress in connection.pairs().values())
        state = f"OS=RDY,OC={'OK' if lit else 'FAIL'}" if connection.active else "OS=UEQ,OC=NONE"
        return (
            f"{identifier}:SRCPORT={source},DSTPORT={target},GRPNAME={connection.group},"
            f"CONNNAME={connection.name or identifier},CONNTYPE={way},"
            f"AS=UMA,{state},PS=UPR,AL={'CL' if lit or not connection.active else 'MJ'}"
        )

    def _summary(self, command: Tl1Command) -> list[str]:
        asked = command.aid.split(",")[0].strip()
        ports = range(1, self.ports + 1) if asked in {"", "0", "ALL"} else [self._number(asked)]
        return [self._port_row(port) for port in ports]

    def _port_row(self, port: int) -> str:
        panel = self.panel
        into = panel.power_dbm(port) if port <= panel.inputs else FLOOR_DBM
        out = panel.power_dbm(panel.inputs + port) if port <= panel.outputs else FLOOR_DBM
        shown = [f"{level:.2f}" if level > FLOOR_DBM else "NONE" for level in (into, out)]
        mine = [each for each in self.known.values() if port in each.pairs() or port in each.pairs().values()]
        named = ",".join(
            f"CONNNAME{at + 1}={self.identifier(mine[at]) if at < len(mine) else 'NONE'},"
            f"CONNSTATE{at + 1}={'ACT' if at < len(mine) and mine[at].active else 'NONE'}"
            for at in range(2)
        )
        alias = panel.labels.get(port, "NONE")
        return f"{self.port_name(port)}:ALIAS={alias},INPWR={shown[0]},OUTPWR={shown[1]},{named}"

    def _netype(self, command: Tl1Command) -> list[str]:
        return [f"{self.identity.maker},{self.identity.model},OCS,{self.identity.firmware}"]
