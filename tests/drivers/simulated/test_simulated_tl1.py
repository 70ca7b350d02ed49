"""The TL1 engine against GR-831's grammar."""

from __future__ import annotations

import pytest

from drivers.port import Identity
from drivers.simulated.tl1 import Tl1Deny, Tl1Device, expanded
from drivers.simulated.virtual import VirtualClock
from tests.drivers.simulated.lamp_model import Crossbar

HEAD = "\r\n\n   OXC 00-01-01 00:00:00\r\n"


@pytest.fixture
def crossbar() -> Crossbar:
    made = Crossbar(VirtualClock())
    assert "COMPLD" in made.handle("ACT-USER::root:1::root;")
    return made


def test_an_answer_has_its_head_its_tag_and_its_rows(crossbar: Crossbar) -> None:
    assert crossbar.handle("RTRV-NETYPE:::abc1:;") == f'{HEAD}M  abc1 COMPLD\r\n   "millicert,CROSSBAR,OXC,1.0"\r\n;'


def test_what_is_patched_is_told(crossbar: Crossbar) -> None:
    assert crossbar.handle("ENT-PATCH::1,9:7:;") == f"{HEAD}M  7 COMPLD\r\n;"
    assert crossbar.handle("ent-patch::2&&4,10&&12:8") == f"{HEAD}M  8 COMPLD\r\n;"
    assert '"1,9"\r\n   "2,10"\r\n   "3,11"\r\n   "4,12"' in crossbar.handle("RTRV-PATCH:::9:;")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        ("ENT-PATCH::1,9;", "IISP"),
        ("ENT-PATCH::1,9:;", "IICT"),
        ("ENT-PATCH::1,9:1234567:;", "IICT"),
        ("ENT-PATCH::1,9:a b:;", "IICT"),
        ("NO-SUCH:::1:;", "ICNV"),
        ("4711:::1:;", "ICNV"),
        ("RTRV-PATCH:OTHER::1:;", "IITA"),
        ("ENT-PATCH::1&&x,9:1:;", "IIAC"),
        ("ENT-PATCH::1&,9:1:;", "IIAC"),
        ("ENT-PATCH::5&&1,9:1:;", "IIAC"),
        ("ENT-PATCH::1&&99999999,9:1:;", "IIAC"),
        (f"ENT-PATCH::1&&{'9' * 5000},9:1:;", "IIAC"),
        ('SET-ECHO:::1::"open;', "IISP"),
        ("RTRV-BROKEN:::1:;", "SROF"),
    ],
)
def test_what_is_wrong_is_denied_with_its_code(crossbar: Crossbar, request_: str, code: str) -> None:
    answer = crossbar.handle(request_)
    assert " DENY\r\n" in answer
    assert f"   {code}\r\n" in answer
    assert answer.endswith(";")


def test_a_target_identifier_may_be_named(crossbar: Crossbar) -> None:
    assert "COMPLD" in crossbar.handle("RTRV-PATCH:OXC::1:;")


def test_what_was_done_in_part_is_told_as_that(crossbar: Crossbar) -> None:
    crossbar.handle("ENT-PATCH::2,9:1:;")
    answer = crossbar.handle("ENT-PATCH::1&2,11&12:2:;")
    assert "M  2 PRTL\r\n   SNVS\r\n   /* in use */\r\n" in answer
    assert '   "1,11"\r\n;' in answer


def test_parameters_by_place_and_by_name(crossbar: Crossbar) -> None:
    answer = crossbar.handle('SET-ECHO:::1:gb:a,"x:y,z":WAVE=1310,label="p;q";')
    assert """gb|('a', '"x:y,z"')|{'WAVE': '1310', 'LABEL': '"p;q"'}""" in answer


def test_nothing_is_obeyed_before_login_and_after_logout() -> None:
    crossbar = Crossbar(VirtualClock())
    assert "PLNA" in crossbar.handle("RTRV-PATCH:::1:;")
    assert "PIUI" in crossbar.handle("ACT-USER::root:1::wrong;")
    assert "PIUI" in crossbar.handle("ACT-USER::nobody:1::root;")
    assert "PLNA" in crossbar.handle("CANC-USER::root:1:;")
    assert "COMPLD" in crossbar.handle("ACT-USER::root:1::root;")
    assert "COMPLD" in crossbar.handle("RTRV-PATCH:::1:;")
    assert "COMPLD" in crossbar.handle("CANC-USER::root:1:;")
    assert "PLNA" in crossbar.handle("RTRV-PATCH:::1:;")


def test_each_client_logs_in_for_itself() -> None:
    crossbar = Crossbar(VirtualClock())
    one, other = crossbar.attach(lambda said: None), crossbar.attach(lambda said: None)
    crossbar.handle("ACT-USER::root:1::root;", one)
    assert "COMPLD" in crossbar.handle("RTRV-HDR:::1:;", one)
    assert "PLNA" in crossbar.handle("RTRV-HDR:::1:;", other)
    crossbar.detach(one)
    assert "PLNA" in crossbar.handle("RTRV-HDR:::1:;", one)


def test_without_users_nobody_needs_to_log_in() -> None:
    assert "COMPLD" in Crossbar(VirtualClock(), login=False).handle("RTRV-PATCH:::1:;")


def test_long_answers_come_in_blocks_each_complete() -> None:
    crossbar = Crossbar(VirtualClock(), login=False, rows_a_block=2)
    crossbar.handle("ENT-PATCH::1&&5,11&&15:1:;")
    answer = crossbar.handle("RTRV-PATCH:::2:;")
    assert answer.count("M  2 COMPLD") == 3
    assert answer.count(">") == 2
    assert answer.endswith('"5,15"\r\n;')


def test_autonomous_messages_reach_who_is_logged_in(crossbar: Crossbar) -> None:
    heard: list[str] = []
    watcher = crossbar.attach(heard.append)
    crossbar.autonomous("REPT-ALM-EQPT", ["FAN-1:MJ,FAIL"], "**")
    assert heard == []
    crossbar.handle("ACT-USER::root:1::root;", watcher)
    crossbar.autonomous("REPT-ALM-EQPT", ["FAN-1:CL,FAIL"], "A")
    assert heard == [f'{HEAD}A  2 REPT ALM EQPT\r\n   "FAN-1:CL,FAIL"\r\n;']
    answer = crossbar.handle("RTRV-HDR:::1:;")
    assert answer.startswith(f"{HEAD}** 1 REPT ALM EQPT")
    assert answer.endswith("M  1 COMPLD\r\n;")


def test_what_takes_long_is_acknowledged_first(crossbar: Crossbar) -> None:
    answer = crossbar.handle("OPR-SLOW:::5:::SECONDS=30;")
    assert answer.startswith("\r\nIP 5\r\n<\r\n\n   OXC 00-01-01 00:00:30\r\n")
    assert "IP" not in crossbar.handle("OPR-SLOW:::5:::SECONDS=1;")


def test_a_denial_can_be_ordered(crossbar: Crossbar) -> None:
    crossbar.deny_next("SARB")
    assert "SARB" in crossbar.handle("RTRV-HDR:::1:;")
    assert "COMPLD" in crossbar.handle("RTRV-HDR:::1:;")


def test_lists_and_ranges_are_written_out() -> None:
    assert expanded("1&&3&7&9&&10") == ["1", "2", "3", "7", "9", "10"]
    assert expanded("2.3.1&&2.3.3") == ["2.3.1", "2.3.2", "2.3.3"]
    assert expanded("2.3.1&&3") == ["2.3.1", "2.3.2", "2.3.3"]
    assert expanded("ALL") == ["ALL"]
    with pytest.raises(Tl1Deny):
        expanded("1.1&&2.3")


def test_an_empty_request_has_no_answer(crossbar: Crossbar) -> None:
    assert crossbar.handle("") == crossbar.handle(" ; ") == ""


def test_only_serial_numbers_that_say_so_are_simulated() -> None:
    with pytest.raises(ValueError, match="SIM-"):
        Tl1Device(Identity("Polatis", "7000", "002414", "1"), VirtualClock())
