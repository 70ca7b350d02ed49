"""Sockets whose packets are stamped by the kernel or the NIC, not by the program."""

from collections.abc import Callable
from typing import Final, NamedTuple

from fastpath.stack import Doubt

SIOCSHWTSTAMP: Final[int]
SIOCGHWTSTAMP: Final[int]
TX_HARDWARE: Final[int]
TX_SOFTWARE: Final[int]
RX_HARDWARE: Final[int]
RX_SOFTWARE: Final[int]
SOFTWARE: Final[int]
RAW_HARDWARE: Final[int]
OPT_ID: Final[int]
OPT_CMSG: Final[int]
OPT_TSONLY: Final[int]
OPT_TX_SWHW: Final[int]
HWTSTAMP_TX_ON: Final[int]
HWTSTAMP_FILTER_ALL: Final[int]
RECEIVE_BUFFER: Final[int]

class Capability(NamedTuple):
    rx: str
    tx: str
    opt_id: bool
    caller_id: bool
    receive_buffer: int
    remark: str

class InterfaceFacts(NamedTuple):
    driver: str
    virtual: bool
    mtu: int
    phc: int
    software: bool
    hardware: bool

def parse(control: bytes, flags: int = 0) -> dict[str, int | str | bool | None]: ...
def doubts(fd: int, index: int) -> tuple[Doubt, ...]: ...
def interface_name(fd: int, index: int) -> str: ...
def interface_facts(name: str, fd: int | None = None) -> InterfaceFacts: ...
def device_ioctl(fd: int, request: int, name: str, payload: bytearray) -> None: ...
def enable_hardware(
    fd: int, interface: str, ioctl: Callable[[int, int, str, bytearray], None] | None = None
) -> str: ...
def enable(
    fd: int,
    hardware: bool = False,
    interface: str | None = None,
    ioctl: Callable[[int, int, str, bytearray], None] | None = None,
) -> Capability: ...
def caller_id_works() -> bool: ...
def loop_packets_back(fd: int) -> None: ...
def tell_drops(fd: int) -> None: ...
