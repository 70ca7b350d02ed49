"""What can be wrong with a plant on purpose, so that a plan can be seen to find it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.simulated.fibre import Event, Fibre
from drivers.simulated.laser import Drift, Laser
from drivers.simulated.light import Array
from drivers.simulated.matrix import FibreMatrix
from drivers.simulated.plant import Plant
from drivers.simulated.table import TableError
from drivers.simulated.wss import Wss

_PORT: Final = re.compile(r"(in|out)-(\d+)")
_PATH: Final = re.compile(r"in-(\d+)>out-(\d+)")
_WAY: Final = re.compile(r"([a-z]+-\d+)>([a-z]+-\d+)")
_DEGREE: Final = re.compile(r"(?:deg|card)-(\d+)")


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that is wrong."""

    kind: str
    """A key of `KINDS`."""
    where: str = ""
    size: float | None = None
    """In the unit that the kind says; None: its default."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a kind of defect means."""

    act: Callable[[Plant, str, Defect, float], None]
    default: float
    unit: str
    where: str
    """What ``where`` names, for complaints and documentation."""


def _selected(matrix: FibreMatrix, defect: Defect) -> tuple[slice | int, slice | int]:
    """Rows and columns of the matrix's arrays that a port, a path, or nothing (all) names."""
    path, port = _PATH.fullmatch(defect.where), _PORT.fullmatch(defect.where)
    if path:
        found: tuple[slice | int, slice | int] = (int(path[1]) - 1, int(path[2]) - 1)
    elif port:
        one = int(port[2]) - 1
        found = (one, slice(None)) if port[1] == "in" else (slice(None), one)
    elif not defect.where:
        found = (slice(None), slice(None))
    else:
        raise _nowhere(defect)
    for at, size in zip(found, (matrix.inputs, matrix.outputs), strict=True):
        if isinstance(at, int) and not 0 <= at < size:
            raise _nowhere(defect)
    return found


def _nowhere(defect: Defect) -> TableError:
    return TableError(f"{defect.kind} where: {KINDS[defect.kind].where}", repr(defect.where), "correct [[defects]]")


def _table(name: str) -> Callable[[Plant, str, Defect, float], None]:
    """A defect that sets values of one of the matrix's arrays."""

    def act(plant: Plant, dut: str, defect: Defect, size: float) -> None:
        matrix = plant.get(dut, FibreMatrix)
        array: Array = getattr(matrix, name)
        array[_selected(matrix, defect)] = size
        matrix.refresh()

    return act


def _ports(name: str) -> Callable[[Plant, str, Defect, float], None]:
    """A defect that sets a value of one port, or of all: arrays ``name_in_db`` and ``name_out_db``."""

    def act(plant: Plant, dut: str, defect: Defect, size: float) -> None:
        matrix = plant.get(dut, FibreMatrix)
        ins: Array = getattr(matrix, f"{name}_in_db")
        outs: Array = getattr(matrix, f"{name}_out_db")
        rows, columns = _selected(matrix, defect)
        if isinstance(rows, int):
            ins[rows] = size
        if isinstance(columns, int):
            outs[columns] = size
        if not defect.where:
            ins[:] = outs[:] = size

    return act


def _dirty(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    place = f"{dut}:{defect.where}" if _PORT.fullmatch(defect.where) or defect.where[:4] in _WSS_PORTS else defect.where
    plant.soil(place, size)


_WSS_PORTS: Final = ("deg-", "add-", "drop")


def _stuck(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    matrix = plant.get(dut, FibreMatrix)
    rows, columns = _selected(matrix, defect)
    if isinstance(rows, int) == isinstance(columns, int):
        raise _nowhere(defect)
    if isinstance(rows, int):
        matrix.stuck_in.add(rows + 1)
    if isinstance(columns, int):
        matrix.stuck_out.add(columns + 1)


def _lossy(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    element = plant.elements.get(dut)
    if isinstance(element, Wss):
        element.extra_db[_way(element, defect)] += size
        return
    matrix = plant.get(dut, FibreMatrix)
    matrix.loss_db[_selected(matrix, defect)] += size
    matrix.refresh()


def _sloped(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    matrix = plant.get(dut, FibreMatrix)
    matrix.slope_db_nm[_selected(matrix, defect)] += size
    matrix.refresh()


def _polarised(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    element = plant.elements.get(dut)
    if isinstance(element, Wss):
        element.pdl_db[_way(element, defect)] = size
    else:
        _table("pdl_db")(plant, dut, defect, size)


def _leaking(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    element = plant.elements.get(dut)
    if isinstance(element, Wss):
        element.extinction_db[_way(element, defect)] = abs(size)
    else:
        _table("crosstalk_db")(plant, dut, defect, -abs(size))


def _reflecting(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    element = plant.elements.get(dut)
    if isinstance(element, Wss):
        ports = [port for port in (*element.ins, *element.outs) if element.spoken(port) == defect.where]
        if not ports:
            raise _nowhere(defect)
        element.return_db.update(dict.fromkeys(ports, size))
    else:
        _ports("return")(plant, dut, defect, size)


def _forgetful(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    element = plant.elements.get(dut)
    if not isinstance(element, FibreMatrix | Wss):
        raise _nowhere(defect)
    element.latching = element.restores = False


def _drifting(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    lasers = [element for element in plant.elements.values() if isinstance(element, Laser)]
    mine = [laser for laser in lasers if defect.where in ("", laser.name)]
    if not mine:
        raise _nowhere(defect)
    for laser in mine:
        had = laser.drift
        laser.drift = Drift(size, had.wander_db, had.pm_h, had.wander_pm, had.period_s)


def _elsewhere(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    """The lab does it: it concerns an instrument's own truth, see `meters`."""
    if not re.fullmatch(r"[^:]+:\d+", defect.where):
        raise _nowhere(defect)


def _slow_protection(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    element = plant.elements.get(dut)
    if isinstance(element, Wss):
        element.restore_s = size
    else:
        plant.get(dut, FibreMatrix).protect_s = size


def _way(wss: Wss, defect: Defect) -> tuple[str, str]:
    way = _WAY.fullmatch(defect.where)
    if way is None or (way[1], way[2]) not in wss.backplane_db:
        raise TableError(f"{defect.kind} where: a way as deg-1>drop-2", repr(defect.where), "correct [[defects]]")
    return way[1], way[2]


def _card(attribute: str, *, spare: bool = False) -> Callable[[Plant, str, Defect, float], None]:
    def act(plant: Plant, dut: str, defect: Defect, size: float) -> None:
        wss = plant.get(dut, Wss)
        degree = _DEGREE.fullmatch(defect.where)
        cards = wss.spares if spare else wss.cards
        if degree is None or f"card-{degree[1]}" not in cards:
            raise _nowhere(defect)
        card = cards[f"card-{degree[1]}"]
        if attribute == "noise_figure_db" and not wss.spec.booster_gain_db:
            raise TableError("oxc.booster_gain_db above 0: an amplifier to be noisy", "none", "correct [oxc]")
        if attribute == "loss_db":
            card.loss_db.update({port: loss + size for port, loss in card.loss_db.items()})
        else:
            setattr(card, attribute, size * (1e9 if attribute.endswith("_hz") else 1))

    return act


def _narrow(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    _card("width_error_hz")(plant, dut, defect, -abs(size))


def _backplane(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    wss = plant.get(dut, Wss)
    wss.backplane_db[_way(wss, defect)] += size


def _bad_splice(plant: Plant, dut: str, defect: Defect, size: float) -> None:
    name, _, km = defect.where.partition("@")
    fibre = plant.elements.get(name)
    if not isinstance(fibre, Fibre):
        raise _nowhere(defect)
    try:
        fibre.add_event(Event(float(km) if km else fibre.km * 0.4, size))
    except ValueError as why:
        raise _nowhere(defect) from why


_MATRIX_PLACE: Final = "in-3, out-5, in-3>out-5, or nothing for all"
KINDS: Final[Mapping[str, _Kind]] = {
    "dirty-port": _Kind(_dirty, 1.5, "dB added until it is cleaned", "in-3, out-5, deg-1, or any place"),
    "stuck-mirror": _Kind(_stuck, 0.0, "none", "in-3 or out-5"),
    "lossy-path": _Kind(_lossy, 3.0, "dB added", f"{_MATRIX_PLACE}; deg-1>drop-2 on a wss"),
    "high-pdl": _Kind(_polarised, 1.5, "dB", f"{_MATRIX_PLACE}; deg-1>drop-2 on a wss"),
    "sloped-path": _Kind(_sloped, 0.05, "dB/nm added", _MATRIX_PLACE),
    "crosstalk": _Kind(_leaking, 30.0, "dB below what enters", f"{_MATRIX_PLACE}; deg-1>drop-2 on a wss"),
    "low-return-loss": _Kind(_reflecting, 25.0, "dB", "in-3, out-5, or nothing for all; deg-1 on a wss"),
    "slow-switch": _Kind(_table("delay_s"), 0.2, "s until light comes", _MATRIX_PLACE),
    "slow-settling": _Kind(_table("tau_s"), 0.05, "s, time constant of the swing", _MATRIX_PLACE),
    "bouncing-switch": _Kind(_table("bounce_s"), 0.2, "s after the light came", _MATRIX_PLACE),
    "unrepeatable": _Kind(_table("repeat_db"), 0.4, "dB, standard deviation", _MATRIX_PLACE),
    "disturbs-neighbours": _Kind(_ports("disturb"), 2.0, "dB", "in-3, out-5, or nothing for all"),
    "non-persistent": _Kind(_forgetful, 0.0, "none", "nothing: the cross-connect"),
    "slow-protection": _Kind(_slow_protection, 0.2, "s", "nothing: the cross-connect"),
    "drifting-laser": _Kind(_drifting, 6.0, "dB per hour", "a laser's name, or nothing for all"),
    "meter-out-of-calibration": _Kind(_elsewhere, 0.8, "dB", "meter-1:3"),
    "narrow-passband": _Kind(_narrow, 12.0, "GHz less", "deg-1"),
    "shifted-passband": _Kind(_card("centre_error_hz"), 6.0, "GHz", "deg-1"),
    "noisy-amplifier": _Kind(_card("noise_figure_db"), 15.0, "dB, noise figure", "deg-1"),
    "bad-spare": _Kind(_card("loss_db", spare=True), 4.0, "dB added", "card-1"),
    "lossy-backplane": _Kind(_backplane, 3.0, "dB added", "deg-1>deg-2"),
    "bad-splice": _Kind(_bad_splice, 2.0, "dB", "line-1, or line-1@12.5 (km)"),
}
"""Every defect by name."""


def inject(plant: Plant, dut: str, defect: Defect) -> None:
    """Make it so. Raises TableError for a kind or a place that there is none of, and PlaceError."""
    kind = KINDS.get(defect.kind)
    if kind is None:
        raise TableError(f"a kind of defect: {' | '.join(KINDS)}", repr(defect.kind), "correct [[defects]]")
    size = kind.default if defect.size is None else defect.size
    if not np.isfinite(size):
        raise TableError(f"the size of {defect.kind}: {kind.unit}", repr(defect.size), "correct [[defects]]")
    kind.act(plant, dut, defect, size)
    plant.touch()


def meters(defects: list[Defect]) -> dict[str, float]:
    """Channel ("meter-1:3") → error that out-of-calibration meters have, dB."""
    kind = "meter-out-of-calibration"
    return {d.where: KINDS[kind].default if d.size is None else d.size for d in defects if d.kind == kind}
