"""The simulated Calient switch moves the plant's light over TL1."""

from __future__ import annotations

import re

import pytest

from drivers.simulated.calient import CalientTl1
from drivers.simulated.tl1 import Tl1Device
from tests.drivers.simulated.small_bench_model import SmallBench


@pytest.fixture
def bench() -> SmallBench:
    made = SmallBench({"oxc": "CALIENT"}, ports=24)
    made.light_up()
    assert made.tl1("oxc", "ACT-USER::admin:1::pxc***;") == ("COMPLD", [])
    return made


def joined(bench: SmallBench, *pairs: tuple[str, str], way: str = "1WAY") -> None:
    mark = "-" if way == "2WAY" else ">"
    for source, target in pairs:
        assert bench.tl1("oxc", f"ENT-CRS::{source},{target}:1::SYSTEM,{way};") == ("COMPLD", [])
        request = f"ACT-CRS::{source},{target}:1::{source}{mark}{target},SYSTEM;"
        assert bench.tl1("oxc", request) == ("COMPLD", [])


def test_a_connection_one_way(bench: SmallBench) -> None:
    joined(bench, ("1.1.1", "1.1.3"))
    assert bench.plant.power("meter:3") > 1e-5
    code, rows = bench.tl1("oxc", "RTRV-CRS:::1:;")
    assert code == "COMPLD"
    assert rows == [
        "1.1.1>1.1.3:SRCPORT=1.1.1,DSTPORT=1.1.3,GRPNAME=SYSTEM,CONNNAME=1.1.1>1.1.3,CONNTYPE=1WAY,"
        "AS=UMA,OS=RDY,OC=OK,PS=UPR,AL=CL"
    ]


def test_entering_alone_moves_nothing(bench: SmallBench) -> None:
    bench.tl1("oxc", "ENT-CRS::1.1.1,1.1.3:1::SYSTEM,1WAY,mine;")
    assert bench.oxc.connections() == {}
    assert "OC=NONE" in bench.tl1("oxc", "RTRV-CRS:::1:;")[1][0]
    assert bench.tl1("oxc", "ACT-CRS::1.1.1,1.1.3:1::mine,SYSTEM;")[0] == "COMPLD"
    assert bench.oxc.connections() == {1: 3}


def test_both_ways(bench: SmallBench) -> None:
    joined(bench, ("1.1.1", "1.2.3"), way="2WAY")
    assert bench.oxc.connections() == {1: 11, 11: 1}
    assert bench.tl1("oxc", "DLT-CRS:::1::1.1.1-1.2.3;") == ("COMPLD", [])
    assert bench.oxc.connections() == {}


def test_a_connection_without_light_says_fail(bench: SmallBench) -> None:
    joined(bench, ("1.1.2", "1.1.4"))
    assert "OC=FAIL" in bench.tl1("oxc", "RTRV-CRS:::1:;")[1][0]


def test_a_long_answer_comes_in_blocks(bench: SmallBench) -> None:
    joined(bench, *((bench_name(k), bench_name(25 - k)) for k in range(1, 25)))
    device = bench["oxc"]
    assert isinstance(device, Tl1Device)
    said = device.handle("RTRV-CRS:::1:;")
    assert said.count("COMPLD") == 2
    assert re.search(r"\n>", said)
    assert len(bench.tl1("oxc", "RTRV-CRS:::1:;")[1]) == 24
    assert bench.tl1("oxc", "DLT-CRS-ALL:::1:;") == ("COMPLD", [])
    assert bench.oxc.connections() == {}


def bench_name(port: int) -> str:
    return CalientTl1.port_name(port)


def test_ports_tell_power_and_connection(bench: SmallBench) -> None:
    joined(bench, ("1.1.1", "1.1.3"))
    rows = bench.tl1("oxc", "RTRV-PORT-SUM::0:1:;")[1]
    assert len(rows) == 24
    assert re.match(r"1\.1\.1:ALIAS=NONE,INPWR=-?[\d.]+,OUTPWR=NONE,CONNNAME1=1\.1\.1>1\.1\.3,CONNSTATE1=ACT,", rows[0])
    assert re.match(r"1\.1\.3:ALIAS=NONE,INPWR=NONE,OUTPWR=-?[\d.]+,", rows[2])
    assert "CONNSTATE1=NONE" in rows[5]


def test_it_is_called_by_its_serial_number(bench: SmallBench) -> None:
    device = bench["oxc"]
    assert isinstance(device, Tl1Device)
    assert device.sid.startswith("SIM-")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("ENT-CRS::1.1.1,1.9.1:1::SYSTEM,1WAY;", "IIAC"),
        ("ENT-CRS::1.1.1:1::SYSTEM,1WAY;", "IIAC"),
        ("ENT-CRS::1.1.1,1.1.2:1::SYSTEM,3WAY;", "IDNV"),
        ("ENT-CRS::1.1.1,1.1.4:1::SYSTEM,1WAY;", "SROF"),
        ("ACT-CRS::1.1.5,1.1.6:1::1.1.5>1.1.6,SYSTEM;", "IIAC"),
        ("DLT-CRS:::1::1.1.5>1.1.6;", "IIAC"),
        ("ENT-CRS-BULK:::1:;", "ICNV"),
    ],
)
def test_what_is_wrong_is_denied(bench: SmallBench, request_: str, code: str) -> None:
    joined(bench, ("1.1.1", "1.1.3"))
    assert bench.tl1("oxc", request_)[0] == code


def test_what_a_power_cut_took_is_no_longer_listed() -> None:
    bench = SmallBench({"oxc": "CALIENT"})
    bench.oxc.latching = bench.oxc.restores = False
    bench.tl1("oxc", "ACT-USER::admin:1::pxc***;")
    joined(bench, ("1.1.1", "1.1.3"))
    bench.plant.feeds("oxc", on=False)
    device = bench["oxc"]
    assert isinstance(device, CalientTl1)
    device.power_cycled()
    assert bench.tl1("oxc", "RTRV-CRS:::1:;") == ("COMPLD", [])
