"""What an interface stands on: whether every way down from it ends in a physical device."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

VIRTUAL: Final = frozenset({"lo", "veth", "tun", "dummy", "ifb", "netkit", "netdevsim", "nlmon"})
"""Drivers, kinds of rtnetlink and buses whose packets never reach a wire; "tun" is TUN and TAP."""

_ON_ONE: Final = frozenset({"vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"})
_ON_MANY: Final = frozenset({"bond", "team", "bridge"})
_SAME_ADDRESS: Final = frozenset({"ipvlan", "ipvtap"})
DEPTH: Final = 32
"""Interfaces on top of each other that are looked through; Linux itself allows 8 of a kind."""

ELSEWHERE: Final = "what it stands on lies in another network namespace; run in the one that has it"
NO_PORTS: Final = "it has no ports"
NOT_SHOWN: Final = "no physical device is shown beneath it"
ENDLESS: Final = f"what it stands on does not end within {DEPTH} interfaces"
GONE: Final = "the kernel shows no such interface"


@dataclass(frozen=True, slots=True)
class Link:
    """An interface as rtnetlink tells of it. ``kind``: "vlan", "bond" …; "lo" the loopback; "" a plain device.

    ``bus``: where its parent device hangs ("pci", "virtio" …), "" without one. ``lower``: index of what it stands on,
    0 none; ``elsewhere``: that is in another namespace. ``master``: index of the bond or bridge it is a port of.
    """

    index: int
    name: str
    kind: str = ""
    bus: str = ""
    lower: int = 0
    elsewhere: bool = False
    master: int = 0
    address: bytes = b""


class Doubt(NamedTuple):
    """An interface whose packets are not shown to be light; no ``why`` where they never leave the machine."""

    kind: str
    name: str
    why: str = ""

    def at(self, end: str) -> str:
        """As a fact of one end of a link."""
        said = f"{self.kind or 'unknown'} interface {self.name} at the {end} end"
        return f"{said}: {self.why}" if self.why else said


def doubts(index: int, links: Mapping[int, Link]) -> tuple[Doubt, ...]:
    """Where ways down from interface ``index`` do not end in a physical device; empty when all do."""
    found: dict[Doubt, None] = {}
    done: set[int] = set()

    def descend(at: int, above: tuple[int, ...]) -> None:
        link = links[at]
        if at in above or len(above) >= DEPTH:
            found[Doubt(link.kind, link.name, ENDLESS)] = None
        elif at not in done:
            beneath, doubt = _beneath(link, links)
            if doubt is not None:
                found[doubt] = None
            for each in beneath:
                descend(each, (*above, at))
            done.add(at)

    if index not in links:
        return (Doubt("", str(index), GONE),)
    descend(index, ())
    return tuple(found)


def _beneath(link: Link, links: Mapping[int, Link]) -> tuple[list[int], Doubt | None]:
    """What the interface stands on, or why nobody can tell; neither for a physical device."""
    why = None
    beneath: list[int] = []
    if link.kind in VIRTUAL or link.bus in VIRTUAL:
        why = ""  # netdevsim's devices have a bus and, since Linux 5.2, no kind
    elif link.bus:
        pass
    elif link.kind in _ON_MANY:
        beneath = sorted(each.index for each in links.values() if each.master == link.index)
        why = None if beneath else NO_PORTS
    elif link.kind not in _ON_ONE:
        why = NOT_SHOWN  # a tunnel or an overlay too: its packets go wherever a route says, not through one device
    elif link.elsewhere or (lower := links.get(link.lower)) is None:
        # a parent of the same index in another namespace: older kernels tell no parent at all
        why = ELSEWHERE
    elif link.kind in _SAME_ADDRESS and lower.address != link.address:
        # kernels before 5.17 do not say that the parent is elsewhere, and its index means another interface here
        why = ELSEWHERE
    else:
        beneath = [lower.index]
    return beneath, None if why is None else Doubt(link.kind or link.bus, link.name, why)


# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h
_RTM_NEWLINK: Final = 16
_RTM_GETLINK: Final = 18
_ERROR: Final = 2
_DONE: Final = 3
_REQUEST_DUMP: Final = 0x301
_INTERRUPTED: Final = 0x10
_LOOPBACK: Final = 0x8
_ADDRESS: Final = 1
_NAME: Final = 3
_LOWER: Final = 5
_MASTER: Final = 10
_INFO: Final = 18
_LOWER_NAMESPACE: Final = 37
_PARENT: Final = 56
_PARENT_BUS: Final = 57
_KIND: Final = 1
_TRIES: Final = 5


def links() -> dict[int, Link]:
    """All interfaces of this process's network namespace by index. Raises OSError when the kernel does not tell."""
    for _ in range(_TRIES):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as kernel:
            kernel.settimeout(5)
            kernel.bind((0, 0))
            kernel.send(struct.pack("=IHHIIBxHiII", 32, _RTM_GETLINK, _REQUEST_DUMP, 1, 0, 0, 0, 0, 0, 0))
            found = _dump(kernel)
        if found is not None:
            return found
    raise OSError(errno.EAGAIN, "the interfaces change faster than they can be listed")


def _dump(kernel: socket.socket) -> dict[int, Link] | None:
    """None: they changed meanwhile."""
    found: dict[int, Link] = {}
    whole = True
    while True:
        for kind, flags, body in _messages(kernel.recv(1 << 18)):
            whole = whole and not flags & _INTERRUPTED
            if kind == _DONE:
                return found if whole else None
            if kind == _ERROR:
                code = -struct.unpack_from("=i", body)[0]
                raise OSError(code, os.strerror(code))
            if kind == _RTM_NEWLINK:
                link = read_link(body)
                found[link.index] = link


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    while len(data) >= 16:
        length, kind, flags = struct.unpack_from("=IHH", data)
        if length < 16:
            return
        yield kind, flags, data[16:length]
        data = data[(length + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def read_link(body: bytes) -> Link:
    """The body of an RTM_NEWLINK message."""
    index, flags = struct.unpack_from("=iI", body, 4)
    said = _attributes(body[16:])
    name, address = _text(said.get(_NAME)), said.get(_ADDRESS, b"")
    kind = "lo" if flags & _LOOPBACK else _text(_attributes(said.get(_INFO, b"")).get(_KIND))
    bus = _text(said.get(_PARENT_BUS))
    if not kind and _PARENT not in said:
        bus = bus_in_sysfs(name, index, address)
    return Link(
        index, name, kind, bus, _number(said.get(_LOWER)), _LOWER_NAMESPACE in said, _number(said.get(_MASTER)), address
    )


def _text(data: bytes | None) -> str:
    return "" if data is None else data.split(b"\0")[0].decode("utf-8", "replace")


def _number(data: bytes | None) -> int:
    return 0 if data is None else int(struct.unpack("=I", data)[0])


def bus_in_sysfs(name: str, index: int, address: bytes, root: Path = Path("/sys/class/net")) -> str:
    """Where the parent device of a plain interface hangs, for kernels before 5.14, whose rtnetlink does not say.

    Empty without one, and where sysfs shows another network namespace than this process's.
    """
    here = root / name
    try:
        told = int((here / "ifindex").read_text(encoding="ascii"))
        bears = bytes.fromhex((here / "address").read_text(encoding="ascii").strip().replace(":", ""))
        subsystem = (here / "device" / "subsystem").resolve(strict=True)
    except (OSError, ValueError):
        return ""
    if (told, bears) != (index, address) or subsystem.parent.name != "bus":
        return ""
    return subsystem.name
