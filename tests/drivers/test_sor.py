"""Traces in .SOR files: what they say, and that a hostile file is an error and nothing worse."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np
import otdrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers import sor
from drivers.errors import SorError
from drivers.quantity import C_M_PER_S, Metre


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def event(
    number: int,
    time_100ps: int,
    *,
    loss: int = 0,
    reflectance: int = 0,
    slope: int = 190,
    code: str = "0F9999",
    technique: str = "LS",
    comment: str = "",
) -> bytes:
    return (
        struct.pack("<hihhi", number, time_100ps, slope, loss, reflectance)
        + code.encode()
        + technique.encode()
        + struct.pack("<5i", 0, 0, 0, 0, 0)
        + text(comment)
    )


def build(
    events: Sequence[bytes] | None = None,
    *,
    wavelength: int = 15501,
    nominal: int = 1550,
    index: int = 146_820,
    pulses: Sequence[int] = (100,),
    spacing: int = 50_000,
    points: Sequence[int] = tuple(range(1000, 3000)),
    scale: int = 1000,
    total: int = 4321,
    units: str = "mt",
    ranges: tuple[int, int] = (1_000_000, 204_190),
    serial: str = "SIM-OTDR-1",
    user_offset: int = 0,
    checksum: bool = True,
) -> bytes:
    if events is None:
        events = (
            event(1, 0, code="1F9999", reflectance=-45_000),
            event(2, 489_735, loss=57, code="0F9999"),
            event(3, 979_470, loss=0, code="1E9999", reflectance=-14_000),
        )
    count = len(pulses)
    blocks: list[tuple[str, bytes]] = [
        (
            "GenParams",
            b"EN"
            + text("cable-7")
            + text("fibre-3")
            + struct.pack("<hh", 652, nominal)
            + text("Alpha")
            + text("Beta")
            + text("")
            + b"BC"
            + struct.pack("<ii", user_offset, 0)
            + text("")
            + text("simulated"),
        ),
        ("SupParams", b"".join(text(each) for each in ("millicert", "OTDR", serial, "M-1", "SIM-M-1", "1.0", ""))),
        (
            "FxdParams",
            struct.pack("<I", 1_790_000_000)
            + units.encode()
            + struct.pack("<hii", wavelength, 0, 0)
            + struct.pack("<h", count)
            + struct.pack(f"<{count}h", *pulses)
            + struct.pack(f"<{count}i", *[spacing] * count)
            + struct.pack(f"<{count}i", *[len(points)] * count)
            + struct.pack("<ihiHiii", index, 800, 1000, 300, *ranges, 0)
            + struct.pack("<HhHHHH", 20_000, 1000, 0, 200, 55_000 & 0xFFFF, 3000)
            + b"ST"
            + struct.pack("<4i", 0, 0, 0, 0),
        ),
        (
            "KeyEvents",
            struct.pack("<h", len(events))
            + b"".join(events)
            + struct.pack("<iii", total, 0, 979_470)
            + struct.pack("<Hii", 31_000, 0, 979_470),
        ),
        (
            "DataPts",
            struct.pack("<ih", len(points), 1)
            + struct.pack("<ih", len(points), scale)
            + struct.pack(f"<{len(points)}H", *points),
        ),
    ]
    whole = [(name, text(name) + body) for name, body in blocks]
    if checksum:
        whole.append(("Cksum", text("Cksum") + b"\0\0"))
    size = 12 + sum(len(name) + 7 for name, _ in whole)
    made = text("Map") + struct.pack("<HiH", 200, size, len(whole) + 1)
    made += b"".join(text(name) + struct.pack("<Hi", 200, len(body)) for name, body in whole)
    made += b"".join(body for _, body in whole)
    if checksum:
        made = made[:-2] + struct.pack("<H", crc(made[:-8]))
    return made


def crc(octets: bytes) -> int:
    """CRC-16 of CCITT with 0xFFFF to begin; of all octets before the checksum's block."""
    found = 0xFFFF
    for octet in octets:
        found ^= octet << 8
        for _ in range(8):
            found = (found << 1 ^ 0x1021 if found & 0x8000 else found << 1) & 0xFFFF
    return found


WHOLE = build()


def test_times_of_flight_losses_and_settings_are_read_as_written() -> None:
    found = sor.parse(WHOLE)
    assert [each.time_ps for each in found.events] == [0, 48_973_500, 97_947_000]
    assert [each.loss_mdb for each in found.events] == [0, 57, 0]
    assert [each.reflectance for each in found.events] == [-45.0, None, -14.0]
    assert [each.code for each in found.events] == ["1F9999LS", "0F9999LS", "1E9999LS"]
    assert [each.end for each in found.events] == [False, False, True]
    assert found.events[1].slope_mdb_km == 190
    assert (found.wavelength_pm, found.nominal_pm, found.pulse_ns) == (1_550_100, 1_550_000, 100)
    assert (found.group_index_ppm, found.sampling_ps) == (1_468_200, 500)
    assert (found.total_loss_mdb, found.return_loss_mdb) == (4321, 31_000)
    assert (found.serial, found.maker, found.model) == ("SIM-OTDR-1", "millicert", "OTDR")
    assert found.simulated
    assert (found.cable, found.fibre, found.places) == ("cable-7", "fibre-3", ("Alpha", "Beta"))
    assert found.checksum is True
    assert found.range_agrees is True


def test_points_fall_along_the_fibre() -> None:
    found = sor.parse(WHOLE)
    assert found.points.shape == (2000,)
    assert found.points[0] == pytest.approx(-1.0)
    assert np.all(np.diff(found.points) < 0)


def test_a_distance_is_time_times_c_over_the_index_and_back() -> None:
    found = sor.parse(WHOLE)
    end = found.events[-1]
    assert found.distance(end.time_ps) == pytest.approx(97_947_000e-12 * C_M_PER_S / 1.4682)
    assert sor.time_ps(found.distance(end.time_ps), found.group_index_ppm) == end.time_ps


@given(st.integers(0, 5_000_000_000), st.integers(1_000_000, 2_000_000))
def test_time_and_distance_undo_each_other(time: int, index: int) -> None:
    assert sor.time_ps(sor.distance(time, index), index) == time


def test_the_index_does_not_touch_a_time_of_flight() -> None:
    other = sor.parse(build(index=150_000, ranges=(0, 0)))
    assert [each.time_ps for each in other.events] == [each.time_ps for each in sor.parse(WHOLE).events]
    assert other.range_agrees is None


def test_a_range_that_contradicts_its_index_is_said() -> None:
    assert sor.parse(build(ranges=(1_000_000, 408_380))).range_agrees is False
    assert sor.parse(build(ranges=(1_000_000, 207_300))).range_agrees is False
    assert sor.parse(build(ranges=(1_000_000, 205_200))).range_agrees is True


@pytest.mark.parametrize(("units", "tenths"), [("mt", 204_190), ("km", 204), ("ft", 669_916), ("mi", 127)])
def test_ranges_agree_in_every_unit_of_distance(units: str, tenths: int) -> None:
    assert sor.parse(build(units=units, ranges=(1_000_000, tenths))).range_agrees is True


def test_a_wavelength_in_whole_nanometres_is_known_as_such() -> None:
    assert sor.parse(build(wavelength=1550)).wavelength_pm == 1_550_000


def test_what_the_library_writes_is_read_the_same() -> None:
    first = sor.parse(WHOLE)
    again = sor.parse(otdrs.parse_bytes(WHOLE).to_bytes())
    assert again.events == first.events
    assert np.array_equal(again.points, first.points)
    assert (again.wavelength_pm, again.group_index_ppm, again.serial) == (1_550_100, 1_468_200, "SIM-OTDR-1")


def test_a_damaged_checksum_is_said_and_none_is_none() -> None:
    assert sor.parse(build()[:-2] + b"\x01\x02").checksum is False
    assert sor.parse(build(checksum=False)).checksum is None


def test_no_loss_from_end_to_end_is_none() -> None:
    quiet = build(total=0)
    at = quiet.rindex(struct.pack("<Hii", 31_000, 0, 979_470)) - 8
    assert sor.parse(quiet[:at] + bytes(8) + quiet[at + 8 :]).total_loss_mdb is None


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"Map\0",
        b"MZ" + WHOLE,
        WHOLE.replace(b"GenParams", b"GenParamz", 1),
        build(index=0),
        build(index=99_999),
        build(index=200_001),
        build(pulses=(0,)),
        build(spacing=0),
        build(wavelength=12),
        build(wavelength=31_000),
        build([event(1, 500), event(2, 400, code="1E9999")]),
        build([event(1, -5), event(2, 400, code="1E9999")]),
        build([event(1, 0), event(2, 50_000_001, code="1E9999")]),
        build([event(1, 0, code="9Z9999"), event(2, 400, code="1E9999")]),
        build([event(1, 0, loss=0, reflectance=2_000_000), event(2, 400, code="1E9999")]),
        build(total=300_000),
    ],
)
def test_a_file_that_is_absurd_is_an_error_of_ours(octets: bytes) -> None:
    with pytest.raises(SorError):
        sor.parse(octets)


def test_events_before_the_users_offset_are_allowed_where_there_is_one() -> None:
    found = sor.parse(build([event(1, -500), event(2, 400, code="1E9999")], user_offset=500))
    assert found.events[0].time_ps == -50_000


def test_counts_that_do_not_fit_fetch_no_memory() -> None:
    points = WHOLE.rindex(b"DataPts\0") + 8
    events = WHOLE.rindex(b"KeyEvents\0") + 10
    for at, value in ((points, 0x7FFFFFFF), (points + 6, 0x7FFFFFFF), (points, -1)):
        with pytest.raises(SorError):
            sor.parse(WHOLE[:at] + struct.pack("<i", value) + WHOLE[at + 4 :])
    with pytest.raises(SorError):
        sor.parse(WHOLE[:events] + struct.pack("<h", 32767) + WHOLE[events + 2 :])


def test_a_block_that_ends_beyond_the_file_is_refused() -> None:
    at = WHOLE.index(b"Cksum\0") + 8
    assert struct.unpack_from("<i", WHOLE, at) == (8,)
    with pytest.raises(SorError, match="Cksum within the file"):
        sor.parse(WHOLE[:at] + struct.pack("<i", 9) + WHOLE[at + 4 :])


def test_no_beginning_of_a_file_is_taken_for_a_file() -> None:
    for size in range(0, len(WHOLE) - 1, 7):
        with pytest.raises(SorError):
            sor.parse(WHOLE[:size])


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_mutated_file_is_a_trace_or_an_error_of_ours(changes: list[tuple[int, int]]) -> None:
    octets = bytearray(WHOLE)
    for at, value in changes:
        octets[at if at % 3 else at % 600] = value  # the head of the file is where it hurts
    try:
        found = sor.parse(bytes(octets))
    except SorError:
        return
    assert len(found.events) <= 3
    assert all(math.isfinite(each) for each in found.points)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_noise_is_an_error_of_ours(octets: bytes) -> None:
    for each in (octets, b"Map\0" + octets):
        with pytest.raises(SorError):
            sor.parse(each)


@given(
    st.lists(st.integers(0, 50_000_000), min_size=1, max_size=40).map(sorted),
    st.integers(100_000, 200_000),
    st.integers(-32_768, 32_767),
)
@settings(max_examples=100, deadline=None)
def test_whatever_is_written_is_read_back(times: list[int], index: int, loss: int) -> None:
    events = [event(k, at, loss=loss, code="1F9999", comment="splice") for k, at in enumerate(times)]
    found = sor.parse(build(events, index=index, points=(1, 2, 3)))
    assert [each.time_ps for each in found.events] == [at * 100 for at in times]
    assert {each.loss_mdb for each in found.events} == {loss}
    assert found.group_index_ppm == index * 10
    assert found.distance(10**6) == Metre(1e-6 * C_M_PER_S * 1e6 / (index * 10))
