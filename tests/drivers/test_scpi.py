"""Commands as attributes, waiting, and error queues, against a simulated instrument in this process."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from drivers.clock import Clock
from drivers.errors import (
    InstrumentError,
    InstrumentFaultError,
    NotTakenError,
    PortClosedError,
    PortReplyError,
    PortTimeoutError,
    SettingError,
    WrongInstrumentError,
)
from drivers.port import Identity, Port
from drivers.quantity import DB, DBm, Metre
from drivers.scpi import (
    BLOCKING_OPC,
    POLL_OPC,
    POLL_SLOT_OPC,
    TRUTH,
    WHOLE,
    Action,
    ErrorPolicy,
    Query,
    ScpiChannel,
    ScpiInstrument,
    Setting,
    WaitPolicy,
    fixed_settle,
    number,
    poll_oper_bit,
    poll_state,
    reading,
)
from drivers.simulated.faults import Fault, Faults, Kind
from drivers.simulated.scpi import ScpiDevice, ScpiError
from drivers.simulated.scpi import number as quantity
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.visa import SimulatedVisa


class Oven(ScpiDevice):
    """Heats, blocks, sticks and complains on demand, and remembers what it was told."""

    def __init__(self, clock: Clock, **more: Any) -> None:
        super().__init__(Identity("Acme", "OVEN-2", "SIM-OVEN-1", "1"), clock, **more)
        self.ends = b"\r\n"
        self.opc_blocks = False
        self.heard: list[str] = []
        self.stuck = False
        self.level = {0: 0.0, 1: 0.0, 2: 0.0}
        self.on("LEVel#", self.set_level, 0)
        self.on("LEVel#?", lambda suffixes, args: f"{self.level[suffixes[0]]!r}", 0)
        self.on("HEAT#", lambda suffixes, args: self.begin(4, slot=suffixes[0], bits=16))
        self.on("SLOT#:OPC?", lambda suffixes, args: str(int(not self.busy(suffixes[0]))))
        self.on("STATe?", lambda suffixes, args: "BUSY" if self.busy() else "READY")
        self.on("BLOCking?", self.block_so_long)
        self.on("SILLy?", lambda suffixes, args: "what?")
        self.on("BROKen", self.broken)
        self.on("REFUsed?", self.broken)

    def handle(self, message: bytes) -> bytes | None:
        self.heard.append(message.decode())
        return super().handle(message)

    def set_level(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        value = quantity(args[0], "DB")
        if not self.stuck:
            self.level[suffixes[0]] = value

    def block_so_long(self, suffixes: tuple[int, ...], args: list[str]) -> str:
        self.wait(4)
        return "1"

    def broken(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        raise ScpiError(-221, "not now")


class Chamber(ScpiChannel):
    level = Setting("LEV{slot}", number(DB), low=DB(-5), high=DB(5))
    heat = Action("HEAT{slot}", wait_s=10, wait=POLL_SLOT_OPC)


class OwnWay(Chamber):
    WAIT = fixed_settle(0.5)
    rest = Action("HEAT{slot}", wait_s=10)


class Driver(ScpiInstrument):
    MODELS = ("OVEN-[12]",)
    MAKERS = ("acme*",)
    WAIT = POLL_OPC
    level = Setting("LEV", number(DB), low=DB(-60), high=lambda it: it.top)
    confirmed = Setting("LEV", number(DB), confirm=True)
    nearly = Setting("LEV", number(DB), confirm=0.01)
    steps = Setting("LEV", WHOLE, among=(1, 2, 5))
    lit = Setting("LEV", TRUTH)
    heat = Action("HEAT", wait_s=10)
    broken = Action("BROK")
    odd = Query("SILL?", number(DB))
    top = DB(3.5)


CLOCKED = Iterator[tuple[Driver, Oven]]


def bench(cls: type[Driver] = Driver, faults: Faults | None = None, **more: Any) -> tuple[Driver, Oven]:
    clock = VirtualClock()
    oven, visa = Oven(clock, **more), SimulatedVisa()
    where = visa.serve(oven, faults=faults or Faults()).resource
    return cls(Port(where, backend=visa, clock=clock), clock=clock), oven


@pytest.fixture
def both() -> CLOCKED:
    driver, oven = bench()
    yield driver, oven
    driver.close()


# -- settings ----------------------------------------------------------------------------------------------------


def test_what_is_sent_reads_back_as_the_same_double(both: tuple[Driver, Oven]) -> None:
    driver, oven = both
    for value in (0.1 + 0.2, 1 / 3, -59.999999999999, 5e-324, 0.0):
        driver.level = DB(value)
        assert oven.level[0] == value
        assert driver.level == value


@pytest.mark.parametrize("value", [3.6, -60.1, math.nan, math.inf, -math.inf, True, "1", None])
def test_a_setting_out_of_range_or_no_number_is_refused_and_nothing_is_sent(
    both: tuple[Driver, Oven], value: Any
) -> None:
    driver, oven = both
    before = len(oven.heard)
    with pytest.raises(SettingError, match="LEV"):
        driver.level = value
    assert len(oven.heard) == before


def test_the_ends_of_a_range_are_in_it_and_may_be_the_instruments_own(both: tuple[Driver, Oven]) -> None:
    driver, _ = both
    driver.level = DB(3.5)
    driver.level = DB(-60)
    driver.top = DB(1)
    with pytest.raises(SettingError, match="within -60 … 1"):
        driver.level = DB(2)


def test_one_of_several_and_whole_numbers_and_truth_are_strict(both: tuple[Driver, Oven]) -> None:
    driver, oven = both
    driver.steps = 5
    for wrong in (3, 5.0, True):
        with pytest.raises(SettingError):
            driver.steps = wrong  # type: ignore[assignment]  # that is the point
    driver.lit = True
    assert oven.level[0] == 1.0
    with pytest.raises(SettingError):
        driver.lit = 1  # type: ignore[assignment]  # that is the point


def test_a_silent_instrument_is_asked_whether_it_took_the_setting(both: tuple[Driver, Oven]) -> None:
    driver, oven = both
    driver.confirmed = DB(1.5)
    oven.level[0], oven.stuck = 1.505, True
    driver.nearly = DB(1.5)
    with pytest.raises(NotTakenError, match=r"LEV at 1.5; found 1.505"):
        driver.confirmed = DB(1.5)
    with pytest.raises(NotTakenError):
        driver.nearly = DB(1.6)


def test_a_channel_fills_its_numbers_in(both: tuple[Driver, Oven]) -> None:
    driver, oven = both
    chambers = {slot: Chamber(driver, slot=slot) for slot in (1, 2)}
    chambers[2].level = DB(2)
    assert (chambers[1].level, chambers[2].level) == (DB(0), DB(2))
    assert "LEV2 2.0" in oven.heard
    assert Chamber(chambers[2], way=7).suffixes == {"slot": 2, "way": 7}


def test_what_can_only_be_asked_cannot_be_set(both: tuple[Driver, Oven]) -> None:
    driver, _ = both
    with pytest.raises(AttributeError, match="only be asked"):
        driver.odd = DB(1)
    with pytest.raises(PortReplyError, match=r"a number to SILL"):
        _ = driver.odd
    assert "SILL?" in str(Driver.odd.__doc__)


# -- waiting -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        POLL_OPC,
        poll_state("STAT?", lambda reply: reply == "READY"),
        poll_oper_bit(4),
        poll_oper_bit(4, query="STAT:OPER:COND?"),
    ],
)
def test_a_policy_comes_back_when_it_is_done_and_says_how_long_it_took(
    both: tuple[Driver, Oven], policy: WaitPolicy
) -> None:
    driver, oven = both
    driver.write("HEAT")
    before = len(oven.heard)
    took = driver.wait(10, policy)
    assert 4.0 <= took + 0.001 <= 4.2 + 0.001  # at most 5 % late
    assert not oven.busy()
    assert len(oven.heard) - before < 200  # looks grow apart


def test_the_wait_of_a_slot_is_its_own(both: tuple[Driver, Oven]) -> None:
    driver, oven = both
    driver.write("HEAT2")
    assert Chamber(driver, slot=1).wait(1, POLL_SLOT_OPC) < 0.01
    assert oven.busy(2)
    assert 3.9 < Chamber(driver, slot=2).heat() < 4.3


def test_a_channel_waits_as_its_instrument_unless_it_has_a_way_of_its_own(both: tuple[Driver, Oven]) -> None:
    driver, oven = both
    assert OwnWay(driver, slot=1).rest() == 0.5
    assert Chamber(driver, slot=1).wait(10) > 3  # POLL_OPC, of the whole box
    assert not oven.busy()


def test_a_blocking_query_takes_as_long_as_it_takes(both: tuple[Driver, Oven]) -> None:
    driver, oven = both
    oven.opc_blocks = True
    driver.write("HEAT")
    assert 3.9 < driver.wait(10, BLOCKING_OPC) < 4.1


def test_what_does_not_block_is_found_out(both: tuple[Driver, Oven]) -> None:
    driver, _ = both
    driver.write("HEAT")
    with pytest.raises(PortReplyError, match="does not block"):
        driver.wait(10, BLOCKING_OPC)


def test_a_fixed_time_is_waited_on_the_instruments_clock(both: tuple[Driver, Oven]) -> None:
    driver, _ = both
    start = driver.clock.now_ns()
    assert driver.wait(5, fixed_settle(2.5)) == 2.5
    assert driver.clock.now_ns() - start == 2_500_000_000
    with pytest.raises(PortTimeoutError, match=r"settling time of 2\.5 s"):
        driver.wait(2, fixed_settle(2.5))


@pytest.mark.parametrize("policy", [POLL_OPC, poll_state("STAT?", lambda reply: reply == "READY")])
def test_the_deadline_of_a_wait_holds(both: tuple[Driver, Oven], policy: WaitPolicy) -> None:
    driver, _ = both
    driver.write("HEAT")
    start = driver.clock.now_ns()
    with pytest.raises(PortTimeoutError, match="done within 1 s"):
        driver.wait(1, policy)
    assert 1e9 <= driver.clock.now_ns() - start < 1.1e9


def test_a_state_that_is_none_is_said(both: tuple[Driver, Oven]) -> None:
    driver, _ = both
    with pytest.raises(PortReplyError, match="a state to SILL"):
        driver.wait(1, poll_state("SILL?", lambda reply: WHOLE.parse(reply) == 1))
    with pytest.raises(PortReplyError, match="a state to SILL"):
        driver.wait(1, poll_oper_bit(1, query="SILL?"))


# -- errors ------------------------------------------------------------------------------------------------------


class AfterSet(Driver):
    ERRORS = ErrorPolicy.AFTER_SET


class Never(Driver):
    ERRORS = ErrorPolicy.NONE


def test_a_command_by_itself_is_a_group_of_its_own() -> None:
    for cls in (Driver, AfterSet):
        driver, _ = bench(cls)
        with pytest.raises(InstrumentFaultError, match="after BROK") as fault:
            driver.broken()
        assert (fault.value.code, fault.value.text) == (-221, "Settings conflict;not now")
        driver.level = DB(1)  # the queue is empty again
        driver.close()


def test_a_group_is_checked_once_at_its_end_and_says_all() -> None:
    driver, oven = bench()

    def set_up() -> None:
        with driver.group("the set-up"):
            driver.broken()
            with driver.group("inside"):
                driver.write("NONSENSE 1")
            driver.level = DB(1)

    with pytest.raises(InstrumentFaultError, match="after the set-up") as fault:
        set_up()
    assert fault.value.code == -221
    assert any("-113" in note for note in fault.value.__notes__)
    assert [heard for heard in oven.heard if heard.startswith("SYST:ERR")] == ["SYST:ERR?"] * 3
    driver.close()


def test_after_each_command_also_within_a_group() -> None:
    driver, oven = bench(AfterSet)
    with pytest.raises(InstrumentFaultError, match="after BROK"), driver.group("the set-up"):
        driver.broken()
    assert "LEV 1.0" not in oven.heard
    driver.close()


def test_an_error_within_a_group_is_not_hidden_by_its_end() -> None:
    driver, _ = bench()
    with pytest.raises(SettingError), driver.group("the set-up"):
        driver.level = DB(99)
    driver.close()


def test_never_is_never() -> None:
    driver, oven = bench(Never)
    driver.broken()
    assert not any(heard.startswith("SYST:ERR") for heard in oven.heard)
    assert driver.errors() == ((-221, "Settings conflict;not now"),)
    driver.close()


def test_a_query_that_is_refused_says_why_instead_of_only_being_late() -> None:
    driver, _ = bench()
    with pytest.raises(InstrumentFaultError, match="after REFU") as fault:
        driver.query("REFU?")
    assert isinstance(fault.value.__cause__, PortTimeoutError)
    assert driver.query("STAT?") == "READY"
    driver.close()


def test_a_query_that_is_late_for_no_reason_stays_late() -> None:
    driver, _ = bench(faults=Faults(Fault(Kind.LOST, at=frozenset({1}), match="STAT?")))
    with pytest.raises(PortTimeoutError, match="STAT"):
        driver.query("STAT?")
    assert driver.query("STAT?") == "READY"
    driver.close()


def test_an_overflowing_queue_is_drained_whole() -> None:
    driver, oven = bench()
    for _ in range(40):
        oven.error(-310)
    found = driver.errors()
    assert len(found) == 30
    assert found[-1][0] == -350
    assert driver.errors() == ()
    driver.close()


def test_a_queue_that_never_ends_is_not_read_for_ever() -> None:
    driver, oven = bench()
    oven.on("SYSTem:ERRor[:NEXT]?", lambda suffixes, args: '-310,"again"')
    assert len(driver.errors()) == 200
    oven.on("SYSTem:ERRor[:NEXT]?", lambda suffixes, args: "fine, thanks")
    with pytest.raises(PortReplyError, match="error queue"):
        driver.errors()
    driver.close()


# -- identity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["Acme,OVEN-3,SIM-1,1", "Ajax,OVEN-2,SIM-1,1", "Acme,XOVEN-2,SIM-1,1"])
def test_another_instrument_is_refused_and_its_session_closed(who: str) -> None:
    clock, visa = VirtualClock(), SimulatedVisa()
    oven = Oven(clock)
    oven.on("*IDN?", lambda suffixes, args: who)
    port = Port(visa.serve(oven).resource, backend=visa, clock=clock)
    with pytest.raises(WrongInstrumentError, match="OVEN-"):
        Driver(port, clock=clock)
    with pytest.raises(PortClosedError):
        port.query("STAT?")


def test_a_closed_driver_says_so(both: tuple[Driver, Oven]) -> None:
    driver, _ = both
    driver.close()
    driver.close()
    with pytest.raises(PortClosedError):
        _ = driver.level


def test_whatever_goes_wrong_on_the_way_is_an_error_of_ours() -> None:
    """Every fault there is, by chance, on every kind of exchange."""
    kinds = [Fault(kind, probability=0.08, seconds=0.5) for kind in Kind]
    heard: set[str] = set()
    for seed in range(40):
        try:
            driver, _ = bench(faults=Faults(*kinds, seed=seed))
        except InstrumentError as why:
            heard.add(type(why).__name__)
            continue
        for _ in range(20):
            for act in (driver.heat, lambda: driver.level, lambda: Driver.level.set(driver, DB(1)), driver.errors):  # noqa: B023 - called at once
                try:
                    act()
                except InstrumentError as why:
                    heard.add(type(why).__name__)
        driver.close()
    assert {"PortTimeoutError", "PortLostError", "PortClosedError", "InstrumentFaultError"} <= heard


def test_metres_of_a_wavelength_survive_the_wire() -> None:
    assert number(Metre).form(Metre(1550e-9)) == "1.55E-06"
    assert number(DBm, "DBM").form(DBm(-3)) == "-3.0DBM"
    with pytest.raises(ValueError, match="not for sending"):
        reading(DB).form(DB(1))
