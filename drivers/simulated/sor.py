"""Writing what a reflectometer sees as a .SOR file (Telcordia SR-4731, version 2; layout: `write`)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.port import Identity
from drivers.quantity import C_M_PER_S
from drivers.simulated.chance import chance
from drivers.simulated.light import Array
from drivers.simulated.plant import Piece, Plant

UNIT_S: Final = 1e-10
"""Times in the file are one way, in 100 ps."""
MOST_POINTS: Final = 30_000
BACKSCATTER_DB: Final = -82.0
"""Of a pulse of 1 ns."""
DYNAMIC_DB: Final = 34.0
"""One way, with a pulse of 1 µs averaged for 10 s: the noise's standard deviation is so far down."""
SATURATED_DB: Final = -14.0
FOUND_DB: Final = 0.005
"""An event that loses less than that and reflects nothing is not found."""
LOWEST_DB: Final = 65.0
"""A point is an unsigned 16-bit number of thousandths of a dB."""


@dataclass(frozen=True, slots=True)
class Found:
    """One line of the event table."""

    time_s: float
    """One way from the reflectometer's port."""
    slope_db_km: float
    """Of the stretch before it."""
    loss_db: float
    reflectance_db: float | None
    end: bool = False
    beyond: bool = False
    """The way goes on past the range."""

    @property
    def code(self) -> str:
        """Six characters: kind, origin, landmark."""
        reflects = self.reflectance_db is not None and self.reflectance_db > -65.0
        saturated = reflects and (self.reflectance_db or -99.0) > SATURATED_DB
        origin = "O" if self.beyond else "E" if self.end else "F"
        return f"{2 if saturated else 1 if reflects else 0}{origin}9999"


def events(way: Sequence[Piece], pulse_s: float, span_s: float) -> list[Found]:
    """What a reflectometer finds on a way: events nearer to each other than its pulse are one; the last is the end."""
    found: list[Found] = []
    time_s, slope = 0.0, 0.0
    for number, piece in enumerate(way):
        if piece.flight_s:
            if time_s + piece.flight_s > span_s:
                return [*found, Found(span_s, piece.slope_db_km, 0.0, None, end=True, beyond=True)]
            time_s += piece.flight_s
            slope = piece.slope_db_km
            continue
        last = number == len(way) - 1
        quiet = piece.reflectance_db is None or piece.reflectance_db < -65.0
        if not last and quiet and piece.loss_db < FOUND_DB:
            continue
        if found and time_s - found[-1].time_s < pulse_s / 2:
            had = found[-1]
            levels = [each for each in (had.reflectance_db, piece.reflectance_db) if each is not None]
            found[-1] = Found(
                had.time_s, had.slope_db_km, had.loss_db + piece.loss_db, max(levels, default=None), end=last
            )
        else:
            found.append(Found(time_s, slope, piece.loss_db, piece.reflectance_db, end=last))
    if not found or not found[-1].end:
        found.append(Found(time_s, slope, 0.0, None, end=True))
    return found


def backscatter(
    way: Sequence[Piece], times_s: Array, pulse_s: float, averaging_s: float, noise: np.random.Generator
) -> Array:
    """(n,) level over that of the fibre at the port, one way, dB: 5·lg of what comes back; with its noise."""
    level = np.full(times_s.size, -np.inf)
    peaks = np.zeros(times_s.size)
    at_s = lost = 0.0
    end_s = 0.0
    for piece in way:
        if piece.flight_s:
            inside = (times_s >= at_s) & (times_s < at_s + piece.flight_s)
            slope = piece.slope_db_km * piece.length_m / 1000 / piece.flight_s
            level[inside] = -(lost + slope * (times_s[inside] - at_s))
            at_s += piece.flight_s
            lost += piece.slope_db_km * piece.length_m / 1000
            end_s = at_s
            continue
        if piece.reflectance_db is not None:
            within = (times_s >= at_s) & (times_s < at_s + pulse_s / 2)
            over = piece.reflectance_db - (BACKSCATTER_DB + 10 * np.log10(pulse_s / 1e-9))
            peaks[within] += 10 ** (over / 10) * 10 ** (-2 * lost / 10)
        lost += piece.loss_db
    level[times_s >= end_s] = -np.inf
    power = np.where(np.isfinite(level), 10 ** (level / 5), 0.0) + peaks
    # twice the pulse gives 1.5 dB of range one way, ten times the averaging 2.5 dB
    down = DYNAMIC_DB + 5 * np.log10(pulse_s / 1e-6) + 2.5 * np.log10(max(averaging_s, 1e-3) / 10)
    power = power + noise.normal(0.0, 10 ** (-down / 5), times_s.size)
    return np.asarray(5 * np.log10(np.maximum(np.abs(power), 1e-30)), dtype=np.float64)


def trace(
    plant: Plant,
    place: str,
    identity: Identity,
    *,
    wavelength_m: float = 1550e-9,
    span_m: float = 80_000.0,
    pulse_s: float = 1e-6,
    averaging_s: float = 10.0,
    group_index: float = 1.4682,
    timebase_ppm: float = 0.0,
    loss_noise_db: float = 0.01,
    utc_s: int = 1_800_000_000,
    at_ns: int | None = None,
) -> bytes:
    """What a reflectometer plugged in at a place sees, as a .SOR file.

    ``span_m``: distance range at the group index that is set; it has no influence on times. ``timebase_ppm``: true
    error of its clock, by which it says all times too long; ``loss_noise_db``: standard deviation of its event losses.
    Raises PlaceError for a place that there is none of.
    """
    now = plant.clock.now_ns() if at_ns is None else at_ns
    way = plant.way(place, now, wavelength_m)
    stretch = 1 + timebase_ppm * 1e-6
    span_s = span_m * group_index / C_M_PER_S
    noise = chance(plant.seed, "otdr", identity.serial, place, now)
    found = [
        Found(
            each.time_s * stretch,
            each.slope_db_km,
            0.0 if each.end else each.loss_db + float(noise.normal(0.0, loss_noise_db)),
            each.reflectance_db,
            end=each.end,
            beyond=each.beyond,
        )
        for each in events(way, pulse_s, span_s)
    ]
    count = min(MOST_POINTS, max(100, int(span_s / 1e-9)))
    spacing_s = span_s / count
    points = backscatter(
        way, np.asarray(np.arange(count) * spacing_s / stretch, dtype=np.float64), pulse_s, averaging_s, noise
    )
    return write(
        found,
        points,
        identity,
        wavelength_m=wavelength_m,
        spacing_s=spacing_s,
        pulse_s=pulse_s,
        averaging_s=averaging_s,
        group_index=group_index,
        utc_s=utc_s,
        total_db=sum(piece.loss_db + piece.slope_db_km * piece.length_m / 1000 for piece in way),
    )


def write(
    found: Sequence[Found],
    points_db: Array,
    identity: Identity,
    *,
    wavelength_m: float,
    spacing_s: float,
    pulse_s: float,
    averaging_s: float,
    group_index: float,
    utc_s: int,
    total_db: float,
) -> bytes:
    """The file: a map, then GenParams, SupParams, FxdParams, KeyEvents, DataPts, each with its name, and a checksum.

    Little-endian, texts end in NUL. Losses in thousandths of a dB, points (levels in dB) as thousandths below 0.
    """
    nm = round(wavelength_m * 1e9)
    end = round(found[-1].time_s / UNIT_S)
    range_100ps = round(points_db.size * spacing_s / UNIT_S)
    blocks = [
        ("GenParams", _general(nm)),
        ("SupParams", _supplier(identity)),
        (
            "FxdParams",
            struct.pack("<I2shii", utc_s, b"mt", round(wavelength_m * 1e10), 0, 0)
            + struct.pack("<hh", 1, round(pulse_s * 1e9))
            # time of 10 000 points in 100 ps
            + struct.pack("<ii", round(spacing_s * 10_000 / UNIT_S), points_db.size)
            + struct.pack("<ihi", round(group_index * 1e5), round(-BACKSCATTER_DB * 10), round(averaging_s * 1000))
            + struct.pack("<Hiii", round(averaging_s * 10), range_100ps, 0, 0)
            + struct.pack("<HhHHHH", 40_000, 1000, 0, 20, 55_000, 3000)
            + b"ST"
            + struct.pack("<4i", 0, 0, 0, 0),
        ),
        ("KeyEvents", _events(found, total_db, end)),
        ("DataPts", _points(points_db)),
    ]
    blocks = [(name, name.encode() + b"\0" + body) for name, body in blocks]
    entries = [(name, len(body)) for name, body in blocks] + [("Cksum", len(b"Cksum\0") + 2)]
    table = b"".join(name.encode() + b"\0" + struct.pack("<Hi", 200, size) for name, size in entries)
    size = len(b"Map\0") + 2 + 4 + 2 + len(table)
    head = b"Map\0" + struct.pack("<Hih", 200, size, len(entries) + 1) + table
    whole = head + b"".join(body for _, body in blocks)
    # makers differ on what it covers; here all that precedes its own block
    return whole + b"Cksum\0" + struct.pack("<H", crc16(whole))


def _text(*texts: str) -> bytes:
    return b"".join(each.encode("ascii", "replace") + b"\0" for each in texts)


def _general(nm: int) -> bytes:
    fibre = b"EN" + _text("SIMULATED", "SIMULATED") + struct.pack("<hh", 652, nm)
    return fibre + _text("A", "B", "") + b"BC" + struct.pack("<ii", 0, 0) + _text("", "simulated plant")


def _supplier(identity: Identity) -> bytes:
    me = (identity.maker, identity.model, identity.serial, "simulated", identity.serial, identity.firmware)
    return _text(*me, "simulated: no fibre was measured")


def _events(found: Sequence[Found], total_db: float, end: int) -> bytes:
    rows = struct.pack("<h", len(found))
    for number, event in enumerate(found, 1):
        at = round(event.time_s / UNIT_S)
        level = 0 if event.reflectance_db is None else round(event.reflectance_db * 1000)
        rows += struct.pack("<hihhi", number, at, _short(event.slope_db_km), _short(event.loss_db), level)
        rows += event.code.encode() + b"LS" + struct.pack("<5i", at, at, at, at, at) + b"\0"
    back = 10 * np.log10(
        sum(10 ** (e.reflectance_db / 10) for e in found if e.reflectance_db is not None) + 10 ** (-32.0 / 10)
    )
    return rows + struct.pack("<iiiHii", round(total_db * 1000), 0, end, round(-float(back) * 1000), 0, end)


def _short(decibel: float) -> int:
    """Thousandths in 16 bits. Raises ValueError for what does not fit: a number that would wrap would be a lie."""
    value = round(decibel * 1000)
    if not -32_768 <= value <= 32_767:
        raise ValueError(f"{decibel} dB in a .SOR file's event")
    return value


def _points(points_db: Array) -> bytes:
    # the file knows nothing above its zero: the highest point is put there, as instruments do
    down = np.minimum(points_db.max() - points_db, LOWEST_DB)
    values = np.round(down * 1000).astype("<u2")
    return struct.pack("<ihih", values.size, 1, values.size, 1000) + bytes(values.tobytes())


def crc16(octets: bytes) -> int:
    """CRC-16 with the polynomial 0x1021, started with 0xFFFF."""
    crc = 0xFFFF
    for octet in octets:
        crc = (crc << 8 & 0xFFFF) ^ _CRC[crc >> 8 ^ octet]
    return crc


def _crc(octet: int) -> int:
    crc = octet << 8
    for _ in range(8):
        crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


_CRC: Final = tuple(_crc(octet) for octet in range(256))
