"""The simulated Polatis switch moves the plant's light, over SCPI and over TL1."""

from __future__ import annotations

import math
import re

import pytest

from tests.drivers.simulated.small_bench_model import SmallBench


@pytest.fixture
def bench() -> SmallBench:
    made = SmallBench()
    made.light_up()
    return made


@pytest.fixture
def tl1() -> SmallBench:
    made = SmallBench({"oxc": "POLATIS-TL1"})
    made.light_up()
    assert made.tl1("oxc", "ACT-USER::root:1::root;") == ("COMPLD", [])
    return made


def reached(bench: SmallBench, egress: int) -> bool:
    return bench.plant.power(f"meter:{egress}") > 1e-5


def test_size_and_nothing_connected(bench: SmallBench) -> None:
    assert bench.say("oxc", ":OXC:SWIT:SIZE?") == "8,8"
    assert bench.say("oxc", ":OXC:SWIT:CONN:STAT?") == "(@),(@)"
    assert re.fullmatch(r"Polatis,POLATIS,SIM-\d+,6\.5\.2\.18", bench.say("oxc", "*IDN?"))


def test_adding_is_silent_and_keeps_the_others(bench: SmallBench) -> None:
    assert bench.say("oxc", ":OXC:SWIT:CONN:ADD (@1,2),(@11,10)") == ""
    bench.say("oxc", ":oxc:swit:conn:add (@3),(@9)")
    assert bench.say("oxc", ":OXC:SWIT:CONN:STAT?") == "(@1,2,3),(@11,10,9)"
    bench.settle()
    assert reached(bench, 3)


def test_only_drops_the_others(bench: SmallBench) -> None:
    bench.say("oxc", ":OXC:SWIT:CONN:ADD (@1,2),(@11,10)", ":OXC:SWIT:CONN:ONLY (@2),(@9)")
    assert bench.say("oxc", ":OXC:SWIT:CONN:STAT?") == "(@2),(@9)"
    bench.settle()
    assert not reached(bench, 3)


def test_taking_apart_by_pair_by_ingress_and_all(bench: SmallBench) -> None:
    bench.say("oxc", ":OXC:SWIT:CONN:ADD (@1:4),(@9:12)")
    bench.say("oxc", ":OXC:SWIT:CONN:SUB (@1),(@9)")
    assert bench.say("oxc", ":OXC:SWIT:CONN:STAT?") == "(@2,3,4),(@10,11,12)"
    assert bench.rejected("oxc", ":OXC:SWIT:CONN:SUB (@2),(@12)") == -221
    bench.say("oxc", ":OXC:SWIT:CONN:SUB (@2,3),(@)")
    assert bench.say("oxc", ":OXC:SWIT:CONN:STAT?") == "(@4),(@12)"
    bench.say("oxc", ":OXC:SWIT:DISC:ALL")
    assert bench.say("oxc", ":OXC:SWIT:CONN:STAT?") == "(@),(@)"


def test_opc_waits_for_the_light(bench: SmallBench) -> None:
    before = bench.clock.now_ns()
    assert bench.say("oxc", ":OXC:SWIT:CONN:ADD (@1),(@10);*OPC?") == "1"
    assert (bench.clock.now_ns() - before) / 1e9 >= bench.oxc.true_switch_s(1, 2)
    power = bench.plant.power("meter:2")
    bench.settle()
    assert power == pytest.approx(bench.plant.power("meter:2"), rel=1e-4)


def test_who_a_port_is_joined_with(bench: SmallBench) -> None:
    bench.say("oxc", ":OXC:SWIT:CONN:ADD (@2),(@12)")
    assert bench.say("oxc", ":OXC:SWIT:CONN:PORT? 2") == '"12"'
    assert bench.say("oxc", ":OXC:SWIT:CONN:PORT? 12") == '"2"'
    assert bench.say("oxc", ":OXC:SWIT:CONN:PORT? 1") == '""'


def test_states_of_ports() -> None:
    bench = SmallBench(options={"oxc": {"failed_ports": [6]}})
    bench.say("oxc", ":OXC:SWIT:CONN:ADD (@2),(@10)", ":OXC:SWIT:PORT:DIS (@2,4)")
    assert bench.say("oxc", ":OXC:SWIT:PORT:STAT? (@2,3,6)") == "(D,E,F)"
    assert bench.say("oxc", ":OXC:SWIT:CONN:STAT?") == "(@),(@)"
    assert bench.rejected("oxc", ":OXC:SWIT:CONN:ADD (@2),(@10)") == -221
    assert bench.rejected("oxc", ":OXC:SWIT:CONN:ADD (@6),(@10)") == -221
    bench.say("oxc", ":OXC:SWIT:PORT:ENAB (@2,4)")
    assert bench.say("oxc", ":OXC:SWIT:PORT:STAT?") == "(" + ",".join("EEEEEFEEEEEEEEEE") + ")"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (":OXC:SWIT:CONN:ADD (@1,2),(@9)", -220),
        (":OXC:SWIT:CONN:ADD (@17),(@9)", -222),
        (":OXC:SWIT:CONN:ADD (@9),(@1)", -224),
        (":OXC:SWIT:CONN:ADD (@1,2),(@9,9)", -224),
        (":OXC:SWIT:CONN:ADD (@1)", -109),
        (":OXC:SWIT:CONN:ADD 1,9", -104),
        (":OXC:SWIT:CONN:MOVE (@1),(@9)", -113),
        (":OXC:SWIT:CONN:PORT? 17", -222),
    ],
)
def test_what_is_wrong_is_rejected_with_its_number(bench: SmallBench, message: str, code: int) -> None:
    assert bench.rejected("oxc", message) == code
    assert bench.say("oxc", ":OXC:SWIT:CONN:STAT?") == "(@),(@)"


def test_a_stuck_mirror_reads_back_as_if_it_had_moved(bench: SmallBench) -> None:
    bench.oxc.stuck_in.add(1)
    bench.say("oxc", ":OXC:SWIT:CONN:ADD (@1),(@10);*OPC?")
    assert bench.say("oxc", ":OXC:SWIT:CONN:STAT?") == "(@1),(@10)"
    assert not reached(bench, 2)


# -- TL1 ---------------------------------------------------------------------------------------------------


def test_nobody_is_obeyed_before_logging_in() -> None:
    bench = SmallBench({"oxc": "POLATIS-TL1"})
    assert bench.tl1("oxc", "RTRV-PATCH:::1:;")[0] == "PLNA"


def test_patches_over_tl1(tl1: SmallBench) -> None:
    assert tl1.tl1("oxc", "ENT-PATCH::1,9:1:;") == ("COMPLD", [])
    assert tl1.tl1("oxc", "ENT-PATCH::2&3,12&11:1:;") == ("COMPLD", [])
    assert tl1.tl1("oxc", "RTRV-PATCH:::1:;") == ("COMPLD", ["1,9", "2,12", "3,11"])
    assert reached(tl1, 1)
    assert tl1.tl1("oxc", "DLT-PATCH::1&11:1:;") == ("COMPLD", [])
    assert tl1.tl1("oxc", "RTRV-PATCH:::1:;") == ("COMPLD", ["2,12"])
    assert tl1.tl1("oxc", "DLT-PATCH::ALL:1:;") == ("COMPLD", [])
    assert tl1.tl1("oxc", "RTRV-PATCH:::1:;") == ("COMPLD", [])


def test_it_answers_when_the_light_is_there(tl1: SmallBench) -> None:
    before = tl1.clock.now_ns()
    tl1.tl1("oxc", "ENT-PATCH::1,9:1:;")
    assert (tl1.clock.now_ns() - before) / 1e9 >= tl1.oxc.true_switch_s(1, 1)


def test_both_tongues_are_of_one_switch(tl1: SmallBench) -> None:
    tl1.devices["other"] = tl1.make("oxc", "POLATIS")
    tl1.tl1("oxc", "ENT-PATCH::1,9:1:;")
    assert tl1.say("other", ":OXC:SWIT:CONN:STAT?") == "(@1),(@9)"


def test_a_closed_shutter_stops_the_light_and_keeps_the_patch(tl1: SmallBench) -> None:
    tl1.tl1("oxc", "ENT-PATCH::1,9:1:;")
    assert tl1.tl1("oxc", "OPR-PORT-SHUTTER::9:1:;") == ("COMPLD", [])
    tl1.settle()
    assert not reached(tl1, 1)
    assert tl1.tl1("oxc", "RTRV-PATCH:::1:;") == ("COMPLD", ["1,9"])
    assert tl1.tl1("oxc", "RTRV-PORT-SHUTTER::9:1:;") == ("COMPLD", ["9:CLOSED"])
    tl1.tl1("oxc", "RLS-PORT-SHUTTER::9:1:;")
    tl1.settle()
    assert reached(tl1, 1)


def test_a_patch_made_behind_a_closed_shutter_is_lit_when_it_opens(tl1: SmallBench) -> None:
    tl1.tl1("oxc", "OPR-PORT-SHUTTER::1:1:;")
    tl1.tl1("oxc", "ENT-PATCH::1,9:1:;")
    assert not reached(tl1, 1)
    tl1.tl1("oxc", "ENT-PATCH::1,10:1:;")
    assert tl1.tl1("oxc", "RTRV-PATCH:::1:;") == ("COMPLD", ["1,10"])
    tl1.tl1("oxc", "RLS-PORT-SHUTTER::1:1:;")
    tl1.settle()
    assert reached(tl1, 2)
    assert not reached(tl1, 1)


def test_port_power_follows_the_plant(tl1: SmallBench) -> None:
    tl1.tl1("oxc", "ENT-PATCH::1,9:1:;")
    code, rows = tl1.tl1("oxc", "RTRV-PORT-POWER::1&&16:1:;")
    shown = dict(row.split(":") for row in rows)
    assert (code, len(rows)) == ("COMPLD", 16)
    assert float(shown["1"]) == pytest.approx(10 * math.log10(tl1.plant.power("oxc:in-1") * 1000), abs=1)
    assert float(shown["9"]) == pytest.approx(10 * math.log10(tl1.plant.power("oxc:out-1") * 1000), abs=1)
    assert float(shown["2"]) == -60


def test_monitors_labels_and_what_it_is(tl1: SmallBench) -> None:
    assert tl1.tl1("oxc", "SET-PORT-PMON::1&&3:1:::WAVE=1310;") == ("COMPLD", [])
    assert tl1.tl1("oxc", "RTRV-PORT-PMON::3&4:1:;")[1] == ["3:1310.00,0.00,100", "4:1550.00,0.00,100"]
    assert tl1.tl1("oxc", "SET-PORT-PMON::1:1:::WAVE=900;")[0] == "IDNV"
    assert tl1.tl1("oxc", "RTRV-EQPT::SYSTEM:1:::PARAMETER=SIZE;") == ("COMPLD", ["SYSTEM:SIZE=8x8"])
    assert "SN=SIM-" in tl1.tl1("oxc", "RTRV-INV::OCS:1:;")[1][0]
    assert tl1.tl1("oxc", "RTRV-NETYPE:::1:;")[1][0].startswith("Polatis,")
    assert tl1.tl1("oxc", "ED-EQPT::TIMEOUT:1:::ADMIN=60;") == ("COMPLD", [])


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("ENT-PATCH::1,17:1:;", "IIAC"),
        ("ENT-PATCH::9,1:1:;", "IIAC"),
        ("ENT-PATCH::1&2,9:1:;", "IIAC"),
        ("ENT-PATCH::1:1:;", "IIAC"),
        ("DLT-PATCH:::1:;", "IIAC"),
        ("OPR-PORT-SHUTTER::0:1:;", "IIAC"),
        ("MOVE-PATCH::1:1:;", "ICNV"),
    ],
)
def test_what_is_wrong_is_denied(tl1: SmallBench, request_: str, code: str) -> None:
    assert tl1.tl1("oxc", request_)[0] == code


def test_a_port_out_of_use_is_denied(tl1: SmallBench) -> None:
    tl1.tl1("oxc", "RLS-PORT::1:1:;")
    assert tl1.tl1("oxc", "ENT-PATCH::1,9:1:;")[0] == "SNVS"
    tl1.tl1("oxc", "OPR-PORT::1:1:;")
    assert tl1.tl1("oxc", "ENT-PATCH::1,9:1:;")[0] == "COMPLD"


def test_opc_waits_for_only_and_for_taking_apart_as_well(bench: SmallBench) -> None:
    for message in (":OXC:SWIT:CONN:ONLY (@1),(@10)", ":OXC:SWIT:CONN:SUB (@1),(@10)"):
        before = bench.clock.now_ns()
        bench.say("oxc", f"{message};*OPC?")
        assert (bench.clock.now_ns() - before) / 1e9 > 0.002, message


def test_what_lies_behind_a_closed_shutter_is_taken_over_by_the_next(tl1: SmallBench) -> None:
    tl1.tl1("oxc", "OPR-PORT-SHUTTER::2:1:;")
    tl1.tl1("oxc", "ENT-PATCH::2,9:1:;")
    tl1.tl1("oxc", "ENT-PATCH::1,9:1:;")
    assert tl1.tl1("oxc", "RTRV-PATCH:::1:;") == ("COMPLD", ["1,9"])
    tl1.tl1("oxc", "RLS-PORT-SHUTTER::2:1:;")
    assert tl1.tl1("oxc", "RTRV-PATCH:::1:;") == ("COMPLD", ["1,9"])
    assert reached(tl1, 1)
