"""A laboratory from a table: wired as documented, reachable, and every mistake in the table named."""

from __future__ import annotations

import copy
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
import pyvisa

from drivers.clock import WALL
from drivers.errors import InstrumentError
from drivers.simulated.attenuator import Attenuator
from drivers.simulated.lab import Lab
from drivers.simulated.laser import Laser
from drivers.simulated.matrix import FibreMatrix
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.table import TableError
from drivers.simulated.virtual import VirtualClock

BENCHES = Path(__file__).parents[3] / "testplans" / "benches"

SMALL: dict[str, Any] = {
    "seed": 3,
    "hand_s": 0.5,
    "parts": {
        "source": "laser",
        "polariser": "pol",
        "attenuator": "voa-1",
        "hand": "hand",
        "dut": "oxc",
    },
    "wiring": {
        "receive": ["meter-1:1-4"],
        "reference": "meter-1:5",
        "monitor": "meter-1:7",
        "source_monitor": "meter-1:8",
    },
    "oxc": {"kind": "fibre-matrix", "ports": 4, "protocol": "polatis-scpi"},
    "fibres": {"reel-1": {"km": 1.0}},
    "instruments": {
        "laser": {"model": "8164B"},
        "pol": {"model": "POLARISER"},
        "voa-1": {"model": "N7764A"},
        "meter-1": {"model": "N7745A", "serial": "SIM-METER"},
        "oxc": {"model": "POLATIS"},
        "hand": {"model": "HAND"},
    },
}


def table(**changes: Any) -> dict[str, Any]:
    """SMALL with dotted keys set; None takes one away."""
    found = copy.deepcopy(SMALL)
    for key, value in changes.items():
        at = found
        *way, last = key.split("__")
        for each in way:
            at = at.setdefault(each, {})
        if value is None:
            at.pop(last, None)
        else:
            at[last] = value
    return found


def shine(lab: Lab) -> None:
    lab.plant.get("laser", Laser).set_output(True)
    lab.plant.get("voa-1", Attenuator).set_shutter(1, True)


def dbm(lab: Lab, place: str) -> float:
    return 10 * math.log10(lab.plant.power(place) * 1000)


def test_the_standard_wiring_is_the_documented_one() -> None:
    lab = Lab.of(table())
    shine(lab)
    lab.plant.get("oxc", FibreMatrix).connect({2: 3})
    lab.clock.sleep(1)
    assert lab.plant.spoken(lab.plant.peer("oxc:in-2") or "") == "launch-2"
    assert lab.plant.spoken(lab.plant.peer("meter-1:3") or "") == "oxc:out-3"
    assert dbm(lab, "launch-2") - dbm(lab, "meter-1:3") == pytest.approx(
        lab.plant.get("oxc", FibreMatrix).true_loss_db(2, 3), abs=0.3
    )
    assert dbm(lab, "meter-1:8") < dbm(lab, "tap:in") - 19, "one per cent forward"
    assert lab.plant.power("monitor") == lab.plant.power("meter-1:7")
    assert lab.plant.peer("reel-1:a") is None
    lab.plant.patch("launch-2", "reflector")
    assert dbm(lab, "monitor") > -40


def test_a_source_in_the_hand_is_one_cord_by_every_name() -> None:
    lab = Lab.of(table(wiring__launch="hand"))
    shine(lab)
    hand = lab.devices["hand"]
    assert isinstance(hand, ScpiDevice)
    assert hand.handle(b'HAND:PATC "launch-3","oxc:in-3";PATC? "oxc:in-3"') == b'"launch-3"'
    assert lab.plant.peer("oxc:in-1") is None
    assert dbm(lab, "launch-4") > -4, "no coupler in between"


def test_every_instrument_answers_in_the_process_and_says_that_it_is_simulated() -> None:
    lab = Lab.of(table())
    manager = pyvisa.ResourceManager(lab.visa)
    assert set(lab.resources()) == set(SMALL["instruments"])
    for name, resource in lab.resources().items():
        with manager.open_resource(resource) as session:
            said = session.query("*IDN?")  # type: ignore[attr-defined]  # a message-based resource
        assert said.split(",")[2].startswith("SIM-"), name


def test_served_over_tcp_the_same_instruments_answer() -> None:
    lab = Lab.of(table(clock="real"))
    with lab.serve() as served:
        manager = pyvisa.ResourceManager("@py")
        resource = served.resources()["meter-1"]
        with manager.open_resource(resource, read_termination="\n", write_termination="\n") as session:
            said = session.query("*IDN?")  # type: ignore[attr-defined]  # a message-based resource
        assert "SIM-METER" in said
    served.close()


def test_a_port_that_is_taken_takes_everything_down_again() -> None:
    lab = Lab.of(table())
    with lab.serve() as served:
        port = int(served.resources()["meter-1"].split("::")[2])
        other = Lab.of(table(instruments__oxc={"model": "POLATIS", "port": port}))
        with pytest.raises(OSError, match="ddress"):
            other.serve()


def test_the_clock_is_the_tables_or_the_callers() -> None:
    assert isinstance(Lab.of(table()).clock, VirtualClock)
    assert Lab.of(table(clock="real")).clock is WALL
    mine = VirtualClock(5)
    assert Lab.of(table(), mine).clock is mine


def test_a_seed_makes_the_same_lab_again() -> None:
    def truth(seed: int) -> tuple[Any, ...]:
        lab = Lab.of(table(seed=seed))
        return lab.gain_db, lab.plant.get("oxc", FibreMatrix).loss_db.tolist()

    assert truth(3) == truth(3)
    assert truth(3) != truth(4)


def test_meters_are_as_far_off_as_the_table_says() -> None:
    lab = Lab.of(
        table(bench={"meter_sigma_db": 0.05}, defects=[{"kind": "meter-out-of-calibration", "where": "meter-1:3"}])
    )
    plain = Lab.of(table(bench={"meter_sigma_db": 0.05}))
    gains = list(plain.gain_db.values())
    assert 0.01 < max(gains) - min(gains) <= 0.2
    for place, gain in lab.gain_db.items():
        assert gain - plain.gain_db[place] == pytest.approx(0.8 if place == "meter-1:3" else 0.0)


def test_spreads_of_the_table_reach_the_truth() -> None:
    lab = Lab.of(table(oxc__loss_db=2.5, oxc__loss_spread_db=0.0, bench={"meter_sigma_db": 0.0, "plug_loss_db": 0.2}))
    matrix = lab.plant.get("oxc", FibreMatrix)
    assert set(matrix.loss_db.flat) == {2.5}
    assert matrix.plug_db == 0.2
    assert set(lab.gain_db.values()) == {0.0}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sede": 1}, "sede"),
        ({"seed": "one"}, "seed: a whole number"),
        ({"seed": True}, "seed: a whole number"),
        ({"clock": "sundial"}, "virtual | real"),
        ({"hand_s": -1.0}, "hand_s: a number 0"),
        ({"parts__laser": "laser"}, "laser"),
        ({"parts__source": "lasre"}, "parts.source: laser | pol"),
        ({"parts": 7}, "a table parts"),
        ({"wiring__receive": ["meter-1"]}, "meter-1:1-8"),
        ({"wiring__receive": "meter-1:1"}, "wiring.receive: a list"),
        ({"wiring__receive": ["meter-1:1-9"]}, "meter-1:9"),
        ({"wiring__reference": "meter-1:1-2"}, "one channel"),
        ({"wiring__reference": "meter-7:1"}, "meter-7:1"),
        ({"wiring__launch": "magic"}, "coupler | hand"),
        ({"wiring__patches": {"reel-1:a": "oxc:in-9"}}, "oxc:in-9"),
        ({"oxc__kind": "roadm"}, "fibre-matrix | wss"),
        ({"oxc__kind": None}, "oxc.kind"),
        ({"oxc__ports": 0}, "oxc.ports: a whole number 1 to 512"),
        ({"oxc__loss": 1.0}, "loss"),
        ({"oxc__loss_db": "low"}, "oxc.loss_db: a number"),
        ({"oxc__latching": 1}, "true | false"),
        ({"oxc__protocol": "telepathy"}, "polatis-scpi | polatis-tl1"),
        ({"oxc__protocol": "calient-tl1"}, "instruments.oxc.model: CALIENT"),
        ({"oxc__protection": {"1": "9"}}, "inputs 1 to 4"),
        ({"fibres__reel-1__km": 0}, "fibres.reel-1.km"),
        ({"fibres__reel-1__colour": "yellow"}, "colour"),
        ({"fibres__reel-1__events": [{"km": 0.5}]}, "loss_db"),
        ({"fibres__reel-1__events": [{"km": 0.5, "loss_db": 1.0, "size": 1}]}, "size"),
        ({"instruments__laser__model": "Sun"}, "8164B"),
        ({"instruments__laser__model": None}, "instruments.laser.model"),
        ({"instruments__laser__serial": "MY1234"}, "SIM-"),
        ({"instruments__laser__carrier": "pigeon"}, "tcp | hislip"),
        ({"instruments__laser__port": 99_999}, "0 to 65535"),
        ({"instruments__laser__colour": "red"}, "colour"),
        ({"instruments__laser__faults": [{"kind": "boredom"}]}, "faults"),
        ({"instruments__tap": {"model": "POLARISER"}}, "a name for an instrument"),
        ({"instruments__oxc": None}, "instruments.oxc.model: POLATIS"),
        ({"bench": {"plug_loss": 0.1}}, "plug_loss"),
        ({"defects": [{"kind": "gremlins"}]}, "dirty-port | stuck-mirror"),
        ({"defects": [{"kind": "dirty-port", "where": "in-9"}]}, "in-9"),
        ({"defects": [{"kind": "stuck-mirror", "where": "in-1>out-1"}]}, "in-3 or out-5"),
        ({"defects": [{"kind": "meter-out-of-calibration", "where": "laser:1"}]}, "a channel of a meter"),
        ({"defects": {"kind": "dirty-port"}}, "[[defects]]"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InstrumentError) as why:
        Lab.of(table(**changes))
    assert says in str(why.value)


@pytest.mark.parametrize(
    ("oxc", "says"),
    [
        ({"kind": "wss", "degrees": 1}, "oxc.degrees"),
        ({"kind": "wss", "ingress": ["drop-1"]}, "oxc.ingress: deg-1"),
        ({"kind": "wss", "restoration": {"deg-1": "deg-9"}}, "oxc.restoration"),
    ],
)
def test_a_mistake_in_a_node_is_named_too(oxc: dict[str, Any], says: str) -> None:
    with pytest.raises(TableError, match=says):
        Lab.of(table(oxc=oxc, instruments__oxc={"model": "HAND"}))


@pytest.mark.parametrize("name", ["simulated-oxc", "simulated-wss", "simulated-link-optics"])
def test_the_shipped_benches_are_labs_that_know_what_the_bench_file_says(name: str) -> None:
    data = tomllib.loads((BENCHES / f"{name}.toml").read_text(encoding="utf-8"))
    truth = data["simulation"]["lab"]
    lab = Lab.of(truth)
    assert set(lab.resources()) == set(data["instruments"])
    for part, instrument in truth["parts"].items():
        said = data["dut"]["instrument"] if part == "dut" else data["fixture"][part]
        assert said == instrument, part
    for key, place in truth["wiring"].items():
        if key in data["fixture"]:
            assert data["fixture"][key] == place, key
    for name_of, device in lab.devices.items():
        assert device.identity.serial == data["instruments"][name_of]["serial"]
