"""What the kernel says of a port, from made-up answers and from the loopback interface of this host."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from harness.artefact import UNKNOWN, Port
from harness.port import SIOCETHTOOL, SIOCGIFFLAGS, SIOCGIFHWADDR, describe, read

MAC = bytes([0x02, 0, 0, 0, 0, 0x0A])


def padded(text: str, length: int) -> bytes:
    return text.encode().ljust(length)


def kernel(**memory: bytes) -> Callable[[int, bytes], bytes]:
    """A kernel that knows everything, with the memory of an SFP (kind 2) or a QSFP (kind 3)."""
    kind, module = (2, memory["sfp"]) if "sfp" in memory else (3, memory.get("qsfp", b""))

    def ask(number: int, data: bytes) -> bytes:
        if number == SIOCGIFFLAGS:
            return bytes(24)
        if number == SIOCGIFHWADDR:
            return struct.pack("H6s16x", 1, MAC)
        assert number == SIOCETHTOOL
        command = struct.unpack_from("I", data)[0]
        answers = {
            0x03: struct.pack("I32s32s32s96x", 3, b"ice", b"6.1", b"4.20 0x8001"),
            0x01: struct.pack("IIIH14xH14x", 1, 0, 0, 100_000 & 0xFFFF, 100_000 >> 16),
            0x50: struct.pack("IIII", 0x50, 8, 0, 0),
            0x42: struct.pack("III32x", 0x42, kind, len(module)),
        }
        if command == 0x43:
            offset, length = struct.unpack_from("II", data, 8)
            return data[:16] + module[offset : offset + length]
        return answers[command]

    return ask


def test_an_sfp_and_a_qsfp_tell_their_serial_numbers() -> None:
    sfp = bytearray(512)
    sfp[20:36], sfp[40:56], sfp[68:84] = padded("ACME", 16), padded("SFP-10G", 16), padded("A1B2", 16)
    qsfp = bytearray(640)
    qsfp[148:164], qsfp[168:184], qsfp[196:212] = padded("ACME", 16), padded("QSFP-100G", 16), padded("Q7", 16)
    known = Port("eth0", "ice", MAC.hex(":"), "ACME SFP-10G A1B2", "100000", "RS", "4.20 0x8001")
    assert read("eth0", kernel(sfp=bytes(sfp))) == known
    assert read("eth0", kernel(qsfp=bytes(qsfp))).transceiver == "ACME QSFP-100G Q7"


@pytest.mark.parametrize("length", [0, 83, 1 << 20])
def test_a_module_memory_of_another_length_is_not_read(length: int) -> None:
    def ask(number: int, data: bytes) -> bytes:
        if number == SIOCETHTOOL and struct.unpack_from("I", data)[0] == 0x42:
            return struct.pack("III32x", 0x42, 2, length)
        assert number != SIOCETHTOOL or struct.unpack_from("I", data)[0] != 0x43
        return kernel(sfp=bytes(84))(number, data)

    assert read("eth0", ask).transceiver == UNKNOWN


def test_a_module_of_text_that_is_none_is_unknown() -> None:
    assert read("eth0", kernel(sfp=b"\xff" * 512)).transceiver == UNKNOWN


def test_what_the_driver_refuses_is_unknown() -> None:
    def ask(number: int, data: bytes) -> bytes:
        raise OSError(95, f"not supported: {number} {len(data)}")

    assert read("eth0", ask) == Port("eth0")


def test_a_speed_that_is_not_set_is_unknown() -> None:
    def ask(number: int, data: bytes) -> bytes:
        if number == SIOCETHTOOL and struct.unpack_from("I", data)[0] == 0x01:
            return struct.pack("IIIH14xH14x", 1, 0, 0, 0xFFFF, 0xFFFF)
        return kernel(sfp=bytes(84))(number, data)

    assert read("eth0", ask).speed == UNKNOWN


def test_loopback_has_a_driver_and_no_address() -> None:
    got = describe("lo")
    assert (got.driver, got.mac, got.transceiver) == ("lo", UNKNOWN, UNKNOWN)
    assert not got.known


def test_an_interface_that_does_not_exist_is_unknown_throughout() -> None:
    assert describe("nothing-here-7") == Port("nothing-here-7")
