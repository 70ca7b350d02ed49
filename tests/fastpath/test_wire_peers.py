"""Our packets as other programs read them, and theirs as we do."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from fastpath import wire

NOW = 1_691_011_237_250_000_000  # 2023-08-02 21:20:37.25 TAI
EE = 0x88AC
PORT = 50_000
DIALECTS = pytest.mark.parametrize(
    ("size", "options"),
    [
        (44, {"tlvs": (), "ntp_format": True}),
        (44, {"tlvs": ()}),
        (142, {"ntp_format": True, "ssid": 0x1234}),
        (142, {"ssid": 0x1234}),
    ],
)


def exchange(size: int, options: dict[str, Any]) -> tuple[wire.Session, bytes, bytes]:
    end = wire.Session(size, tai_utc=37, **options)
    request = end.build(7, NOW, EE, 5)
    reply = end.reflect(
        request, t2=NOW + 490_000, t3=NOW + 502_000, error_estimate=EE, seq=9, ttl=254, facts=3, clock_id=4, nonce=5
    )
    return end, request, reply


# Scapy


@DIALECTS
def test_scapy_reads_ours(size: int, options: dict[str, Any]) -> None:
    stamp = pytest.importorskip("scapy.contrib.stamp", reason="Scapy is not installed")
    end, request, reply = exchange(size, options)
    sent = stamp.STAMPSessionSenderTestUnauthenticated(request)
    back = stamp.STAMPSessionReflectorTestUnauthenticated(reply)
    assert (sent.seq, sent.ssid, sent.mbz) == (7, options.get("ssid", 0), 0)
    assert (back.seq, back.ssid, back.seq_sender, back.ttl_sender) == (9, options.get("ssid", 0), 7, 254)
    assert (back.mbz1, back.mbz2) == (0, 0)
    ptp = not options.get("ntp_format", False)
    for estimate in (sent.err_estimate, back.err_estimate, back.err_estimate_sender):
        assert (estimate.S, estimate.Z, estimate.scale, estimate.multiplier) == (1, int(ptp), 8, 172)
    for field, layer, at in (("ts", sent, NOW), ("ts", back, NOW + 502_000), ("ts_rx", back, NOW + 490_000)):
        raw = wire.to_ptp(at) if ptp else wire.to_ntp(at, 37)
        assert (
            layer.getfieldval(field) if ptp else layer.get_field(field).fld.i2m(layer, layer.getfieldval(field))
        ) == (raw if ptp else pytest.approx(raw))
    wanted = [3, 4, 5, 7, 240, 1] if end.smallest < size else []
    assert [tlv.type for tlv in sent.tlv_objects] == [tlv.type for tlv in back.tlv_objects] == wanted
    # numbers: Scapy 2.8 names the flag bits from the wrong end (its U is 0x01)
    assert [int(tlv.flags) for tlv in sent.tlv_objects] == [0x80] * len(wanted)
    assert [int(tlv.flags) for tlv in back.tlv_objects] == [0] * len(wanted)
    assert bytes(sent) == request
    assert bytes(back) == reply


def test_we_read_scapys() -> None:
    stamp = pytest.importorskip("scapy.contrib.stamp", reason="Scapy is not installed")
    fields = pytest.importorskip("scapy.fields")
    t1, t2, t3 = (wire.to_ptp(NOW + later) for later in (0, 490_000, 502_000))

    def raw(value: int) -> Any:  # Scapy 2.8 cannot build its own PTP timestamps
        return fields.RawVal(value.to_bytes(8, "big"))

    ptp = stamp.ErrorEstimate(S=1, Z=1, scale=8, multiplier=172)
    request = bytes(
        stamp.STAMPSessionSenderTestUnauthenticated(
            seq=7,
            ts=raw(t1),
            err_estimate=ptp,
            ssid=0x1234,
            tlv_objects=[
                stamp.STAMPTestTLV(flags=0x80, type=4, len=4, value=bytes((46 << 2, 0, 0, 0))),
                stamp.STAMPTestTLV(flags=0x80, type=5, len=12, value=struct.pack(">III", 5, 0, 0)),
                stamp.STAMPTestTLV(flags=0x80, type=9, len=4, value=b"\x0a\x00\x00\x01"),
            ],
        )
    )
    far = wire.Session(44, tai_utc=37, tlvs=())
    assert far.inspect(request) == (7, 0x1234, 46, 5)
    back = stamp.STAMPSessionReflectorTestUnauthenticated(
        far.reflect(request, t2=NOW + 490_000, t3=NOW + 502_000, error_estimate=EE, dscp_in=46)
    )
    assert [(int(tlv.flags), tlv.type) for tlv in back.tlv_objects] == [(0, 4), (0, 5), (0x80, 9)]
    assert (back.ts_rx, back.ts, back.ts_sender) == (t2, t3, t1)

    reply = bytes(
        stamp.STAMPSessionReflectorTestUnauthenticated(
            seq=9, ts=raw(t3), err_estimate=ptp, ssid=0x1234, ts_rx=raw(t2), seq_sender=7, ts_sender=raw(t1),
            err_estimate_sender=ptp, ttl_sender=61,
            tlv_objects=[stamp.STAMPTestTLV(flags=0, type=5, len=12, value=struct.pack(">III", 5, 6, 7))],
        )
    )  # fmt: skip
    said = wire.Session(60, tai_utc=37, ssid=0x1234, tlvs=("direct",)).parse(reply, NOW)
    assert (said["t1"], said["t2"], said["t3"]) == (NOW, NOW + 490_000, NOW + 502_000)
    assert (said["seq"], said["sender_seq"], said["ttl"]) == (9, 7, 61)
    assert (said["s_txc"], said["r_rxc"], said["r_txc"]) == (5, 6, 7)


# Wireshark


def udp4(payload: bytes, source: int, destination: int) -> bytes:
    """An IPv4 packet without checksums (0 is "none" for UDP; tshark does not verify IPv4's by default)."""
    total = 28 + len(payload)
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, total, 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
    return ip + struct.pack(">HHHH", source, destination, 8 + len(payload), 0) + payload


def dissect(path: Path, *packets: bytes) -> list[dict[str, list[str]]]:
    """Fields that tshark finds in each packet, under the port's registered use as TWAMP-Test (RFC 8545)."""
    tshark = shutil.which("tshark")
    if tshark is None:
        pytest.skip("tshark is not installed")
    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)  # LINKTYPE_RAW
    for packet in packets:
        capture += struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet
    path.write_bytes(capture)
    names = ["_ws.malformed", "_ws.expert"] + [
        f"twamp.test.{name}"
        for name in (
            "seq_number", "timestamp", "error_estimate", "error_estimate.z", "error_estimate.s", "error_estimate.scale",
            "error_estimate.multiplier", "receive_timestamp", "sender_seq_number", "sender_timestamp",
            "sender_error_estimate", "sender_ttl", "padding",
        )
    ]  # fmt: skip
    command = [tshark, "-n", "-r", str(path), "-d", "udp.port==862,twamp.test", "-T", "fields", "-E", "separator=/t"]
    command += ["-E", "aggregator=|"] + [part for name in names for part in ("-e", name)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    )
    lines = [line for line in run.stdout.split("\n") if line]
    return [
        {name: value.split("|") for name, value in zip(names, line.split("\t"), strict=True) if value} for line in lines
    ]


@DIALECTS
def test_wireshark_reads_ours(tmp_path: Path, size: int, options: dict[str, Any]) -> None:
    _, request, reply = exchange(size, options)
    sent, back = dissect(tmp_path / "stamp.pcap", udp4(request, PORT, 862), udp4(reply, 862, PORT))
    for packet in (sent, back):
        assert "_ws.malformed" not in packet
        assert "_ws.expert" not in packet
    ntp = options.get("ntp_format", False)
    clock = "21:20:00" if ntp else "21:20:37"
    assert sent["twamp.test.seq_number"] == ["7"]
    assert f"{clock}.250000000" in sent["twamp.test.timestamp"][0]
    assert int(sent["twamp.test.error_estimate"][0], 0) == (EE if ntp else EE | 0x4000)
    assert back["twamp.test.seq_number"] == ["9"]
    assert f"{clock}.250502000" in back["twamp.test.timestamp"][0]
    assert f"{clock}.250490000" in back["twamp.test.receive_timestamp"][0]
    assert back["twamp.test.sender_seq_number"] == ["7"]
    assert int(back["twamp.test.sender_error_estimate"][0], 0) == (EE if ntp else EE | 0x4000)
    assert back["twamp.test.sender_ttl"] == ["254"]
    if ntp:  # Wireshark 4.0 reads a PTP sender timestamp as if it were NTP
        assert f"{clock}.250000000" in back["twamp.test.sender_timestamp"][0]
    # TWAMP's reflector header ends after the TTL; STAMP's 3 octets and the TLVs are padding to Wireshark
    assert "".join(back["twamp.test.padding"][0].split(":")) == reply[41:].hex()


def test_wireshark_would_notice_a_malformed_packet(tmp_path: Path) -> None:
    _, request, _ = exchange(44, {"tlvs": ()})
    (packet,) = dissect(tmp_path / "stamp.pcap", udp4(request[:13], PORT, 862))
    assert "_ws.malformed" in packet
