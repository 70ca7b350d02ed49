"""Traces of optical reflectometers in files after SR-4731 (.SOR), read strictly.

Telcordia's text is not public; the layout is that of real files and of the library that reads them here. Times in a
file are one-way and need no group index: distance = time * c / index, and back.
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import otdrs

from drivers.errors import SorError
from drivers.quantity import C_M_PER_S, DB, Metre

MOST_OCTETS: Final = 64_000_000
"""Largest file that is believed to be one trace."""
MOST_BLOCKS: Final = 64
MOST_EVENTS: Final = 2048
UNIT_PS: Final = 100
"""Times are stored in units of 100 ps."""
MOST_TIME: Final = 50_000_000
"""Largest time of an event in that unit: 5 ms one-way, a thousand kilometres of fibre."""
INDEX: Final = (1.0, 2.0)
"""A group index outside is none of any fibre."""
WAVELENGTH_NM: Final = (600, 2000)
MOST_DB: Final = 200_000
"""Largest loss or reflectance, dB * 1000."""

UNCONFIRMED: Final = (
    "Telcordia SR-4731 is not public: the meaning of the fields of a .SOR file is taken from files of four makers",
)

_UNITS_M: Final = {"mt": 1.0, "km": 1000.0, "ft": 0.3048, "kf": 304.8, "mi": 1609.344}
_EVENT_OCTETS: Final = 43
"""Fixed part of an event: number, time, slope, loss, reflectance, code, technique, five markers, a comment's end."""
_TRAILER_OCTETS: Final = 22


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a reflectometer found on a fibre."""

    number: int
    time_ps: int
    """One-way time of flight from the front panel or the user's offset."""
    loss_mdb: int
    """dB * 1000; negative for an apparent gain."""
    reflectance_mdb: int
    """dB * 1000, negative; 0: none was measured."""
    slope_mdb_km: int
    """Loss of the fibre before it, dB * 1000 for each km by the file's own index."""
    code: str
    """Six characters and the technique: "1F9999LS": 0, 1, 2 not, reflecting, saturated; A M E F O D its origin."""
    comment: str

    @property
    def end(self) -> bool:
        """Whether it is called the end of the fibre."""
        return self.code[1:2] in {"E", "D"}

    @property
    def loss(self) -> DB:
        """DB."""
        return DB(self.loss_mdb / 1000)

    @property
    def reflectance(self) -> DB | None:
        """dB, negative; None: none was measured."""
        return DB(self.reflectance_mdb / 1000) if self.reflectance_mdb else None


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace with its events."""

    wavelength_pm: int
    """As measured by the maker where the file has it in 0.1 nm."""
    nominal_pm: int | None
    pulse_ns: int
    group_index_ppm: int
    """Group index * 10⁶ that the reflectometer was set to."""
    sampling_ps: int
    """One-way time between two points, rounded up."""
    first_ps: int
    """One-way time of the first point."""
    points: npt.NDArray[np.float64]
    """Backscatter over some level, dB, falling along the fibre; shape (n,), empty where the file has none."""
    events: tuple[Event, ...]
    total_loss_mdb: int | None
    """From end to end as the reflectometer sums it; None: it did not."""
    return_loss_mdb: int | None
    serial: str
    """Of the mainframe, or of its module; empty: the file names neither."""
    maker: str
    model: str
    taken_s: int
    """Seconds since 1970 by the reflectometer's clock."""
    cable: str
    fibre: str
    places: tuple[str, str]
    """Where the fibre begins and ends."""
    units: str
    """ "mt", "km", "ft", "kf", "mi": what its distances are in."""
    range_agrees: bool | None
    """Whether the range it states as a time and as a distance agree by its index within 1 %; None: it states one."""
    checksum: bool | None
    """Whether the file is as it was written; None: it has no checksum, or one of a kind that is not known."""

    @property
    def simulated(self) -> bool:
        """Written by a simulated reflectometer."""
        return self.serial.upper().startswith("SIM-")

    @property
    def wavelength(self) -> Metre:
        """M."""
        return Metre(self.wavelength_pm * 1e-12)

    def distance(self, time_ps: int) -> Metre:
        """Length of fibre that light passes in a one-way time, m, by the file's own index."""
        return distance(time_ps, self.group_index_ppm)


def distance(time_ps: int, group_index_ppm: int) -> Metre:
    """Length of fibre of a group index * 10⁶ that light passes in a one-way time, m."""
    return Metre(time_ps * 1e-12 * C_M_PER_S * 1e6 / group_index_ppm)


def time_ps(length: Metre, group_index_ppm: int) -> int:
    """One-way time of flight, ps, of a length of fibre of a group index * 10⁶."""
    return round(length * group_index_ppm * 1e6 / C_M_PER_S)


def parse(octets: bytes) -> Trace:
    """The trace in a file. Raises SorError for a file that is damaged, no .SOR of version 2, or absurd."""
    blocks = _map(octets)
    _bounded(octets, blocks)
    try:
        found = otdrs.parse_bytes(octets)
    except BaseException as why:  # a panic of the library is no Exception
        if isinstance(why, (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)):
            raise
        raise _no("a .SOR file that can be read", f"{type(why).__name__}: {why}") from None
    fixed = found.fixed_parameters
    if fixed is None:
        raise _no("a block FxdParams", ", ".join(blocks))
    index = fixed.group_index / 100_000
    if not INDEX[0] <= index <= INDEX[1]:
        raise _no(f"a group index from {INDEX[0]} to {INDEX[1]}", f"{index}")
    if not fixed.pulse_widths_used or fixed.pulse_widths_used[0] <= 0:
        raise _no("the width of its pulse", f"{list(fixed.pulse_widths_used)[:4]} ns")
    if not fixed.data_spacing or fixed.data_spacing[0] <= 0:
        raise _no("the time between its points", f"{list(fixed.data_spacing)[:4]}")
    events, total, back = _events(found.key_events, found.general_parameters)
    general, supplier = found.general_parameters, found.supplier_parameters
    return Trace(
        wavelength_pm=_wavelength_pm(fixed.actual_wavelength),
        nominal_pm=None if general is None or not general.nominal_wavelength else general.nominal_wavelength * 1000,
        pulse_ns=fixed.pulse_widths_used[0],
        group_index_ppm=fixed.group_index * 10,
        sampling_ps=-(-fixed.data_spacing[0] * UNIT_PS // 10_000),
        first_ps=fixed.acquisition_offset * UNIT_PS,
        points=_points(found.data_points),
        events=events,
        total_loss_mdb=total,
        return_loss_mdb=back,
        serial=_first(supplier, "otdr_mainframe_sn", "optical_module_sn"),
        maker=_first(supplier, "supplier_name"),
        model=_first(supplier, "otdr_mainframe_id", "optical_module_id"),
        taken_s=fixed.date_time_stamp,
        cable=_first(general, "cable_id"),
        fibre=_first(general, "fiber_id"),
        places=(_first(general, "originating_location"), _first(general, "terminating_location")),
        units=_text(fixed.units_of_distance),
        range_agrees=_agrees(fixed),
        checksum=_checksum(found, octets),
    )


# -- before the library is let at it -----------------------------------------------------------------------------


def _map(octets: bytes) -> dict[str, tuple[int, int]]:
    """(begin, size) of each block by its name, each within the file and headed by its own name. Raises SorError."""
    if len(octets) > MOST_OCTETS:
        raise _no(f"at most {MOST_OCTETS} octets", f"{len(octets)}")
    if octets[:4] != b"Map\0":
        raise _no("a .SOR file of version 2, which begins with Map", repr(octets[:12]))
    at, end = 4, len(octets)
    try:
        _, size, count = struct.unpack_from("<HiH", octets, at)
    except struct.error:
        raise _no("a whole map of blocks", f"{end} octets") from None
    at += 8
    if not (12 <= size <= end and 2 <= count <= MOST_BLOCKS):
        raise _no("a map of blocks", f"{count} blocks in {size} octets")
    begin, blocks = size, dict[str, tuple[int, int]]()
    for _ in range(count - 1):
        stop = octets.find(b"\0", at, min(size, at + 80))
        if stop <= at or stop + 7 > size:
            raise _no("the name of a block in the map", repr(octets[at : at + 20]))
        name = octets[at:stop].decode("ascii", errors="replace")
        _, length = struct.unpack_from("<Hi", octets, stop + 1)
        at = stop + 7
        if length < 0 or begin + length > end:
            raise _no(f"a block {name} within the file", f"{length} octets at {begin} of {end}")
        if name in blocks:
            raise _no(f"one block {name}", "two")
        if octets[begin : begin + len(name) + 1] != name.encode("ascii", errors="replace") + b"\0":
            raise _no(f"the block {name} where the map has it", repr(octets[begin : begin + 12]))
        blocks[name] = (begin, length)
        begin += length
    return blocks


def _bounded(octets: bytes, blocks: dict[str, tuple[int, int]]) -> None:
    """Counts that fit into their blocks: nobody is made to fetch memory for what is not there. Raises SorError."""
    try:
        if "KeyEvents" in blocks:
            begin, length = blocks["KeyEvents"]
            (count,) = struct.unpack_from("<h", octets, begin + 10)
            room = (length - 12 - _TRAILER_OCTETS) // _EVENT_OCTETS
            if not 0 <= count <= min(MOST_EVENTS, max(0, room)):
                raise _no("as many events as its block holds", f"{count} in {length} octets")
        if "FxdParams" in blocks:
            begin, length = blocks["FxdParams"]
            (count,) = struct.unpack_from("<h", octets, begin + 10 + 16)
            if not 1 <= count <= 100 or 28 + count * 10 > length:
                raise _no("one pulse or some", f"{count} in {length} octets")
        if "DataPts" in blocks:
            begin, length = blocks["DataPts"]
            points, factors = struct.unpack_from("<ih", octets, begin + 8)
            at, stop = begin + 14, begin + length
            if not (0 <= factors <= 100 and 0 <= points * 2 <= length):
                raise _no("points that fit their block", f"{points} in {length} octets")
            for _ in range(factors):
                (count,) = struct.unpack_from("<i", octets, at)
                at += 6 + 2 * count
                if count < 0 or at > stop:
                    raise _no("points that fit their block", f"{count} in {length} octets")
    except struct.error:
        raise _no("whole blocks", f"{len(octets)} octets") from None


# -- what the library read ---------------------------------------------------------------------------------------


def _events(found: Any, general: Any) -> tuple[tuple[Event, ...], int | None, int | None]:
    """(the events, loss from end to end, return loss). Raises SorError where they do not follow each other."""
    if found is None:
        return (), None, None
    last = found.last_key_event
    raw = [*found.key_events, last] if found.number_of_key_events else []
    earliest = -abs(general.user_offset) if general is not None else 0
    events = []
    for each in raw:
        code = _text(each.event_code)
        if not earliest <= each.event_propogation_time <= MOST_TIME:
            raise _no(f"event {each.event_number} on the fibre", f"{each.event_propogation_time} * 100 ps")
        if max(abs(each.event_loss), abs(each.event_reflectance)) > MOST_DB:
            raise _no(
                f"loss and reflectance of event {each.event_number}",
                f"{each.event_loss / 1000} dB, {each.event_reflectance / 1000} dB",
            )
        if len(code) < 2 or code[0] not in "012" or code[1] not in "AMEFOD":
            raise _no(f"the code of event {each.event_number}, such as 1F9999", repr(code))
        events.append(
            Event(
                each.event_number,
                each.event_propogation_time * UNIT_PS,
                each.event_loss,
                each.event_reflectance,
                each.attenuation_coefficient_lead_in_fiber,
                code + _text(each.loss_measurement_technique),
                _text(each.comment),
            )
        )
    for before, after in itertools.pairwise(events):
        if after.time_ps < before.time_ps:
            raise _no("events in the order of the fibre", f"event {after.number} lies before event {before.number}")
    total, back = last.end_to_end_loss, last.optical_return_loss
    if abs(total) > MOST_DB:
        raise _no("a loss from end to end", f"{total / 1000} dB")
    measured = last.end_to_end_marker_position_2 > last.end_to_end_marker_position_1 or bool(total)
    return tuple(events), total if measured and events else None, back or None


def _points(found: Any) -> npt.NDArray[np.float64]:
    """dB: stored is the level below the first, in 0.001 dB, times a factor in thousandths."""
    if found is None:
        return np.empty(0)
    parts = [
        -np.asarray(each.data, dtype=np.float64) * (each.scale_factor / 1e6)
        for each in found.scale_factors
        if len(each.data)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _wavelength_pm(stored: int) -> int:
    """Most makers store 0.1 nm, some 1 nm; no wavelength can be both. Raises SorError."""
    low, high = WAVELENGTH_NM
    if low * 10 <= stored <= high * 10:
        return stored * 100
    if low <= stored <= high:
        return stored * 1000
    raise _no(f"a wavelength from {low} to {high} nm", f"{stored} * 0.1 nm")


def _agrees(fixed: Any) -> bool | None:
    """Ranges are stored in tenths of the unit of distance and in 100 ps."""
    unit = _UNITS_M.get(_text(fixed.units_of_distance).lower())
    if unit is None or fixed.acquisition_range <= 0 or fixed.acquisition_range_distance <= 0:
        return None
    told = fixed.acquisition_range_distance * unit / 10
    meant = distance(fixed.acquisition_range * UNIT_PS, fixed.group_index * 10)
    return bool(abs(told - meant) <= max(0.01 * meant, unit / 10))


def _checksum(found: Any, octets: bytes) -> bool | None:
    if found.checksum is None:
        return None
    try:
        said = str(found.validate_checksum(octets).status)
    except BaseException as why:  # as in parse
        if isinstance(why, (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)):
            raise
        return None
    return _CHECKSUMS.get(said.rpartition(".")[2])


_CHECKSUMS: Final = {"Valid": True, "Mismatch": False}


def _first(block: Any, *names: str) -> str:
    return next((text for name in names if (text := _text(getattr(block, name, "")))), "")


def _text(found: Any) -> str:
    """Printable text of a field, without blanks round it."""
    return "".join(letter if letter.isprintable() else " " for letter in str(found)).strip()


def _no(wanted: str, found: str) -> SorError:
    return SorError(wanted, found, "take the trace again, or export it anew; a file that is copied as text is damaged")
