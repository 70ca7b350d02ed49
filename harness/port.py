"""A network port as its kernel describes it: driver, MAC, transceiver, speed, FEC, firmware."""

from __future__ import annotations

import array
import contextlib
import fcntl
import socket
import struct
from collections.abc import Callable
from typing import Final

from harness.artefact import UNKNOWN, Port
from harness.errors import BenchError
from harness.tomlfile import nearest

SIOCETHTOOL: Final = 0x8946
SIOCGIFHWADDR: Final = 0x8927
SIOCGIFFLAGS: Final = 0x8913
IFF_LOOPBACK: Final = 0x8

# linux/ethtool.h
_GDRVINFO: Final = 0x03
_GSET: Final = 0x01
_GMODULEINFO: Final = 0x42
_GMODULEEEPROM: Final = 0x43
_GFECPARAM: Final = 0x50
_FEC: Final = ((4, "off"), (8, "RS"), (16, "BASER"), (32, "LLRS"))
_UNSET_SPEED: Final = (0, 0xFFFF, 0xFFFF_FFFF)

# Where vendor, part and serial number stand in a module's memory, by ETH_MODULE_* type. Unconfirmed on hardware:
# written after SFF-8472 (table 4-1), SFF-8636 (6.2.11, upper page 00h after 128 octets) and tested on made-up memories.
_SERIALS: Final = {
    1: ((20, 36), (40, 56), (68, 84)),  # SFF-8079
    2: ((20, 36), (40, 56), (68, 84)),  # SFF-8472
    3: ((148, 164), (168, 184), (196, 212)),  # SFF-8636
    4: ((148, 164), (168, 184), (196, 212)),  # SFF-8436
}

Ask = Callable[[int, bytes], bytes]
"""(ioctl number, ifreq data after the name, or an ethtool command) → the same, as the kernel left it; OSError."""


def check_present(interface: str) -> None:
    """Raises BenchError, with the nearest name, when this network namespace has no such interface."""
    names = sorted(name for _, name in socket.if_nameindex())
    if interface not in names:
        close = nearest(interface, names)
        raise BenchError(
            "a network interface of this host",
            interface,
            f"did you mean {close}?" if close else f"choose one of {', '.join(names)}",
        )


def describe(interface: str, sock: socket.socket | None = None) -> Port:
    """What the kernel says of ``interface``, in the network namespace of ``sock`` (None: this process's).

    Whatever it does not say, or the driver refuses, is "unknown".
    """
    if sock is None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            return describe(interface, made)
    own = sock

    def ask(number: int, data: bytes) -> bytes:
        name = interface.encode()[:15]
        if number != SIOCETHTOOL:
            return fcntl.ioctl(own.fileno(), number, struct.pack("16s24s", name, data))[16:]
        memory = array.array("B", data)
        fcntl.ioctl(own.fileno(), SIOCETHTOOL, struct.pack("16sP16x", name, memory.buffer_info()[0]))
        return memory.tobytes()

    return read(interface, ask)


def read(interface: str, ask: Ask) -> Port:
    """As `describe`, from whatever answers the kernel's questions."""
    said = {"driver": UNKNOWN, "mac": UNKNOWN, "transceiver": UNKNOWN}
    said |= {"speed": UNKNOWN, "fec": UNKNOWN, "firmware": UNKNOWN}
    for name, question in (
        ("driver", _driver),
        ("mac", _mac),
        ("transceiver", _transceiver),
        ("speed", _speed),
        ("fec", _fec),
        ("firmware", _firmware),
    ):
        with contextlib.suppress(OSError, UnicodeDecodeError, struct.error):
            said[name] = question(ask) or UNKNOWN
    return Port(interface, **said)


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("ascii").strip()


def _driver(ask: Ask) -> str:
    if struct.unpack_from("H", ask(SIOCGIFFLAGS, bytes(24)))[0] & IFF_LOOPBACK:
        return "lo"
    return _text(ask(SIOCETHTOOL, struct.pack("I192x", _GDRVINFO))[4:36])


def _firmware(ask: Ask) -> str:
    found = _text(ask(SIOCETHTOOL, struct.pack("I192x", _GDRVINFO))[68:100])
    return "" if found == "N/A" else found


def _mac(ask: Ask) -> str:
    octets = ask(SIOCGIFHWADDR, bytes(24))[2:8]
    return octets.hex(":") if any(octets) else ""


def _speed(ask: Ask) -> str:
    answer = ask(SIOCETHTOOL, struct.pack("I40x", _GSET))
    speed = struct.unpack_from("H", answer, 12)[0] | struct.unpack_from("H", answer, 28)[0] << 16
    return "" if speed in _UNSET_SPEED else str(speed)


def _fec(ask: Ask) -> str:
    active = struct.unpack_from("I", ask(SIOCETHTOOL, struct.pack("I12x", _GFECPARAM)), 4)[0]
    return "+".join(name for bit, name in _FEC if active & bit)


def _transceiver(ask: Ask) -> str:
    kind, length = struct.unpack_from("II", ask(SIOCETHTOOL, struct.pack("I40x", _GMODULEINFO)), 4)
    places = _SERIALS.get(kind)
    if places is None or not places[-1][1] <= length <= 1 << 16:
        return ""
    wanted = places[-1][1]
    memory = ask(SIOCETHTOOL, struct.pack("IIII", _GMODULEEEPROM, 0, 0, wanted) + bytes(wanted))[16:]
    return " ".join(part for start, end in places if (part := _text(memory[start:end])))
