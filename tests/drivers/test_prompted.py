"""A person in the place of an instrument: asked clearly, recorded wholly, never waited for in vain."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers import prompted
from drivers.capability import Channel, ChannelConnect, CrossConnect, Hand, PolarisationController
from drivers.errors import NobodyError, RefusedError, SettingError
from drivers.person import ATTEMPTS, Answers, Person, Tty
from drivers.port import Identity, Wire
from drivers.prompted import PromptedCrossConnect, PromptedHand, PromptedPolarisation
from drivers.quantity import Hertz, Second

GEAR = Identity("prompted", "OSN 9800 OXC", "2102312", "")


class Script:
    """A terminal whose person says these lines; None ends the input, an exception is raised."""

    def __init__(self, *lines: str | Exception | None) -> None:
        self.lines = list(lines)
        self.said: list[str] = []
        self.closed = 0

    def say(self, text: str) -> None:
        self.said.append(text)

    def line(self, within_s: float) -> str | None:
        assert within_s > 0
        found = self.lines.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        self.closed += 1


class Ticks:
    """A clock that only counts what was slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now_ns(self) -> int:
        return round(sum(self.slept) * 1e9)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def answered(text: str, log: Callable[[Wire], None] | None = None) -> Person:
    return Person(answers=Answers.of(text), log=log)


def at(terminal: Script, log: Callable[[Wire], None] | None = None) -> Person:
    return Person(terminal=lambda: terminal, log=log)


def matrix(person: Person, size: tuple[int, int] = (8, 8)) -> PromptedCrossConnect:
    return PromptedCrossConnect(person, GEAR, size=size)


def nowhere() -> Script:
    raise OSError(6, "No such device or address")


def test_a_prompted_cross_connect_is_both_kinds_of_cross_connect() -> None:
    made = PromptedCrossConnect(answered(""), GEAR, size=(4, 4), ports=["deg-1", "drop-1"])
    assert isinstance(made, CrossConnect)
    assert isinstance(made, ChannelConnect)
    assert isinstance(PromptedHand(answered(""), GEAR), Hand)
    assert isinstance(PromptedPolarisation(answered(""), GEAR), PolarisationController)


def test_what_the_person_said_is_kept_and_what_was_connected_before_is_asked_once() -> None:
    terminal = Script("1-5 2-6", "y", "ok")
    oxc = matrix(at(terminal))
    oxc.connect({3: 7})
    assert dict(oxc.connections()) == {1: 5, 2: 6, 3: 7}
    oxc.disconnect([1, 8])
    assert dict(oxc.connections()) == {2: 6, 3: 7}
    assert terminal.closed == 3
    assert not terminal.lines


def test_connect_says_what_is_in_the_way() -> None:
    terminal = Script("1-5 2-6", "y")
    oxc = matrix(at(terminal))
    oxc.connect({1: 6})
    shown = "".join(terminal.said)
    assert "take apart 1 → 5, 2 → 6, then connect (ingress → egress) 1 → 6" in shown
    assert "[oxc.connect.1-6]" in shown
    assert dict(oxc.connections()) == {1: 6}


def test_only_and_clear_need_no_knowledge_of_what_was_there() -> None:
    oxc = matrix(answered("oxc.only.1-2+3-4 = y\noxc.clear = done"))
    oxc.only({3: 4, 1: 2})
    assert dict(oxc.connections()) == {1: 2, 3: 4}
    oxc.only({})
    assert dict(oxc.connections()) == {}


def test_after_a_no_nothing_is_known_any_more() -> None:
    terminal = Script("none", "n the port is reserved", "2-2")
    oxc = matrix(at(terminal))
    with pytest.raises(RefusedError, match="the port is reserved"):
        oxc.connect({1: 1})
    assert dict(oxc.connections()) == {2: 2}


@pytest.mark.parametrize("pairs", [{0: 1}, {1: 9}, {9: 1}, {1: 2, 2: 2}, {True: 1}])
def test_a_port_that_does_not_exist_is_refused_before_anybody_is_asked(pairs: dict[int, int]) -> None:
    heard: list[Wire] = []
    with pytest.raises(SettingError):
        matrix(answered("oxc.* = y", heard.append)).only(pairs)
    assert not heard


def test_channels_pass_as_said() -> None:
    channel = Channel("deg-1", "deg-2", Hertz(193.1e12), Hertz(50e9))
    heard: list[Wire] = []
    oxc = PromptedCrossConnect(
        answered(
            "oxc.channels = add-1>deg-2@193.2/75\noxc.add.deg-1>deg-2@193100000/50000 = y\noxc.remove.* = y",
            heard.append,
        ),
        GEAR,
        ports=["deg-1", "deg-2", "add-1"],
    )
    oxc.add(channel)
    assert set(oxc.present()) == {channel, Channel("add-1", "deg-2", Hertz(193.2e12), Hertz(75e9))}
    oxc.remove(channel)
    assert len(oxc.present()) == 1
    with pytest.raises(SettingError):
        oxc.add(Channel("deg-9", "deg-2", Hertz(193.1e12), Hertz(50e9)))
    with pytest.raises(SettingError):
        oxc.add(Channel("deg-1", "deg-2", Hertz(float("nan")), Hertz(50e9)))
    assert "193.100000 THz, 50.000 GHz" in "".join(each.octets.decode() for each in heard)


def test_everything_asked_and_answered_is_in_the_wire_log() -> None:
    heard: list[Wire] = []
    matrix(answered("# remark\n\noxc.clear = 完成", heard.append)).clear()
    assert [each.direction for each in heard] == ["out", "in"]
    assert heard[0].remark == "oxc.clear"
    assert "take every connection apart" in heard[0].octets.decode()
    assert heard[1].octets.decode() == "完成"
    assert heard[1].remark == "answers line 3"


def test_without_a_terminal_it_says_so_and_what_to_write() -> None:
    oxc = matrix(Person(terminal=nowhere))
    with pytest.raises(NobodyError, match=r"--answers FILE.*`oxc\.clear = …`"):
        oxc.clear()


def test_the_end_of_input_is_an_error_at_once() -> None:
    with pytest.raises(NobodyError, match="end of input"):
        matrix(at(Script(None))).clear()


@pytest.mark.parametrize("fault", [TimeoutError(), OSError(5, "Input/output error")])
def test_a_terminal_that_dies_or_stays_silent_is_an_error(fault: Exception) -> None:
    terminal = Script(fault)
    with pytest.raises(NobodyError):
        matrix(at(terminal)).clear()
    assert terminal.closed == 1


def test_an_answer_that_makes_no_sense_is_asked_again_but_not_for_ever() -> None:
    terminal = Script("", "maybe", UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), "y")
    matrix(at(terminal)).clear()
    with pytest.raises(NobodyError, match="make no sense"):
        matrix(at(Script(*["what?"] * ATTEMPTS))).clear()


def test_an_answers_file_that_runs_out_names_the_missing_line() -> None:
    hand = PromptedHand(answered("hand.patch.launch-1>oxc:in-1 = y"), GEAR)
    hand.patch("launch-1", "oxc:in-1")
    with pytest.raises(NobodyError, match=r"hand\.patch\.launch-1>oxc:in-1 left in answers"):
        hand.patch("launch-1", "oxc:in-1")


def test_whole_keys_are_used_once_in_order_then_patterns_for_ever() -> None:
    hand = PromptedHand(
        answered("hand.clean.* = clean\nhand.clean.oxc:in-3 = scratch\nhand.clean.oxc:in-3 = oil"), GEAR
    )
    assert [hand.clean("oxc:in-3") for _ in range(4)] == ["scratch", "oil", "clean", "clean"]


def test_an_absurd_answer_in_the_file_is_named_with_its_line() -> None:
    with pytest.raises(NobodyError, match="line 2 of answers"):
        matrix(answered("\noxc.state = 1-5 1-6")).connections()


@pytest.mark.parametrize("text", ["no equals", "= y", "key =", "key"])
def test_a_line_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="line 1"):
        Answers.of(text)


def test_a_file_of_answers_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError):
        Answers.read(tmp_path / "none")
    (tmp_path / "raw").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingError):
        Answers.read(tmp_path / "raw")


def test_a_power_cycle_waits_by_the_clock_between_off_and_on() -> None:
    heard: list[Wire] = []
    clock = Ticks()
    PromptedHand(answered("hand.o*.oxc = y", heard.append), GEAR, clock=clock).power_cycle("oxc", Second(30.0))
    assert clock.slept == [30.0]
    assert [each.remark for each in heard if each.direction == "out"] == ["hand.off.oxc", "hand.on.oxc"]


def test_the_hand_and_the_polariser_ask_clearly() -> None:
    heard: list[Wire] = []
    person = answered("hand.* = y\npolariser.* = y", heard.append)
    hand = PromptedHand(person, GEAR)
    hand.patch("launch-3", "meter-1:2")
    hand.swap_card("oxc", "card-2")
    hand.cut("line-1", True)
    hand.cut("line-1", False)
    PromptedPolarisation(person, GEAR).set_state(1, 6)
    asked = [each for each in heard if each.direction == "out"]
    assert [each.remark for each in asked] == [
        "hand.patch.launch-3>meter-1:2",
        "hand.swap.oxc/card-2",
        "hand.cut.line-1",
        "hand.mend.line-1",
        "polariser.state.2-of-6",
    ]
    with pytest.raises(SettingError):
        PromptedPolarisation(person, GEAR).set_state(6, 6)
    with pytest.raises(SettingError):
        hand.patch("launch 3", "meter-1:2")


def test_a_picture_is_shown_with_its_question(tmp_path: Path) -> None:
    picture = tmp_path / "rack.png"
    picture.write_bytes(b"")
    (tmp_path / "answers.txt").write_text("oxc.* = y\n", encoding="utf-8")
    heard: list[Wire] = []
    options = {
        "what": "OXC",
        "serial": "7",
        "size": [4, 4],
        "picture": {"oxc.clear": str(picture)},
        "answers": str(tmp_path / "answers.txt"),
    }
    made = prompted.crossconnect(options, log=heard.append)
    made.clear()
    made.only({1: 1})
    assert str(picture) in heard[0].octets.decode()
    assert str(picture) not in heard[2].octets.decode()
    assert str(made.identity) == "prompted,OXC,7,"
    assert made.size == (4, 4)


@pytest.mark.parametrize(
    "options",
    [
        {"size": [4, 4]},
        {"serial": "7"},
        {"serial": "7", "size": [4]},
        {"serial": "7", "size": [0, 4]},
        {"serial": "7", "size": ["4", "4"]},
        {"serial": "7", "ports": "deg-1"},
        {"serial": "7", "ports": ["deg 1"]},
        {"serial": "7", "size": [4, 4], "picture": "/nowhere.png"},
        {"serial": "7", "size": [4, 4], "patience_s": 0},
        {"serial": "7", "size": [4, 4], "answers": 3},
        {"serial": "7,8", "size": [4, 4]},
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        prompted.crossconnect(options)


def test_what_has_amplifiers_is_not_said_to_be_dark() -> None:
    assert matrix(answered("")).safe_state().confirmed
    wss = PromptedCrossConnect(answered(""), GEAR, ports=["deg-1"], amplified=True)
    assert not wss.safe_state().confirmed
    assert PromptedHand(answered(""), GEAR).safe_state().confirmed


def test_a_real_terminal_is_asked_and_what_was_typed_before_is_no_answer() -> None:
    leader, follower = pty.openpty()
    path = os.ttyname(follower)
    seen = bytearray()

    over = threading.Event()

    def person() -> None:
        while not seen.endswith(b"> "):
            seen.extend(os.read(leader, 1000))
        while not over.wait(0.05):  # what comes before the flush, which follows the prompt, is lost
            os.write(leader, b"n reserved\n")

    try:
        os.write(leader, b"y\n")
        thread = threading.Thread(target=person)
        thread.start()
        with pytest.raises(RefusedError, match="reserved"):
            matrix(Person(terminal=lambda: Tty(path), patience_s=60)).clear()
        over.set()
        thread.join()
        assert "断开所有连接" in seen.decode()
    finally:
        os.close(follower)
        os.close(leader)


def test_a_terminal_that_nobody_answers_ends_the_wait() -> None:
    leader, follower = pty.openpty()
    try:
        with pytest.raises(NobodyError, match=r"within 0\.1 s"):
            matrix(Person(terminal=lambda: Tty(os.ttyname(follower)), patience_s=0.1)).clear()
    finally:
        os.close(follower)
        os.close(leader)


def test_a_file_is_no_terminal(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"y\n")
    with pytest.raises(NobodyError, match="no terminal"):
        matrix(Person(terminal=lambda: Tty(str(tmp_path / "file")))).clear()


BACKGROUND = """
import os, pty, sys
reading, writing = os.pipe()
child, leader = pty.fork()
if child == 0:
    grandchild = os.fork()
    if grandchild == 0:
        os.setpgid(0, 0)  # a group of its own: not the one that the terminal belongs to
        from drivers.person import Person
        from drivers.errors import NobodyError
        try:
            Person(patience_s=5).done("key", "do it")
        except NobodyError as why:
            os.write(writing, str(why).encode())
        os._exit(0)
    os.waitpid(grandchild, os.WUNTRACED)
    os._exit(0)
os.close(writing)
print(os.read(reading, 4096).decode())
os.waitpid(child, 0)
"""


def test_in_the_background_of_its_terminal_it_is_an_error_and_not_a_stop() -> None:
    found = subprocess.run([sys.executable, "-c", BACKGROUND], capture_output=True, text=True, timeout=60, check=False)
    assert "runs in the background" in found.stdout, found.stderr
