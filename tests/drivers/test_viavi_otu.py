"""A VIAVI reflectometer: the one command, where its file comes from, and that an old file is no new one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from drivers import sor
from drivers.capability import Otdr
from drivers.errors import NoReadingError, PortReplyError, PortTimeoutError, SettingError, SorError
from drivers.quantity import Metre, Second
from drivers.session import Replay
from drivers.viavi_otu import Module, ViaviOtu, parse_modules

WHO = "VIAVI,OTU-8000,12345,10.1"
DETECT = ("*rem;otu:module:detect?", 'MOD2: 5027HD,"SM-OTDR" : L1625,L1650')
LISTS = (
    ('*rem;otu:module:calot:lpulse? MOD2,"SM-OTDR"', '"3 ns","30 ns","1 us","20 us"'),
    ('*rem;otu:module:calot:lrange? MOD2,"SM-OTDR","1 us"', '"Auto","40 km","80 km","260 km"'),
)
ASK = '*rem;otu:mealink:SI:webconfig? MOD2,1,#170001004,MAN,1000,80,15,1.465,1650,64,"SM-OTDR"'
FILE = 'MMEM:DATA? "/otu/result/link-7/measure.sor"'
WANTED = (Metre(1650e-9), Metre(80_000.0), Second(1e-6), Second(15.0))
Talk = Callable[..., Replay]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader of traces that takes b"1650.1" for one at that many nm."""

    def parse(octets: bytes) -> SimpleNamespace:
        try:
            return SimpleNamespace(wavelength_pm=round(float(octets) * 1000))
        except ValueError:
            raise SorError("a trace", repr(octets), "none") from None

    monkeypatch.setattr(sor, "parse", parse)


def test_the_command_is_that_of_the_example(talk: Talk, read: None) -> None:
    otu = ViaviOtu(
        talk(WHO, DETECT, *LISTS, (ASK, '"/otu/result/link-7","measure.sor"'), (FILE, b"1650.1")), group_index=1.465
    )
    assert isinstance(otu, Otdr)
    assert otu.trace(*WANTED) == b"1650.1"
    assert otu.unconfirmed


def test_it_is_dark_when_it_answers_and_has_told_the_end_of_its_measurement(talk: Talk) -> None:
    assert ViaviOtu(talk(WHO, DETECT, DETECT)).safe_state().confirmed
    late = PortTimeoutError("an answer", "silence", "wait")
    queue = (("SYST:ERR?", '0, "No error"'),)
    otu = ViaviOtu(talk(WHO, DETECT, *LISTS, (ASK, late), *queue, DETECT), group_index=1.465)
    with pytest.raises(PortTimeoutError):
        otu.trace(*WANTED)
    assert not otu.safe_state().confirmed


def test_a_range_that_covers_the_fibre_is_taken_and_a_pulse_it_has_not_is_refused(talk: Talk, read: None) -> None:
    ranges = (DETECT, *LISTS, (ASK.replace(",80,", ",260,"), '"/otu/result/link-7","measure.sor"'), (FILE, b"1650"))
    otu = ViaviOtu(talk(WHO, *ranges), group_index=1.465)
    assert otu.trace(WANTED[0], Metre(80_001.0), *WANTED[2:]) == b"1650"
    with pytest.raises(SettingError, match="3 ns, 30 ns, 1 us, 20 us"):
        ViaviOtu(talk(WHO, DETECT, LISTS[0])).trace(*WANTED[:2], Second(2e-6), WANTED[3])
    with pytest.raises(SettingError, match="260 km"):
        ViaviOtu(talk(WHO, DETECT, *LISTS)).trace(WANTED[0], Metre(300_000.0), *WANTED[2:])
    for reply in ("", '"Auto"', '"3 ns'):
        with pytest.raises(PortReplyError):
            ViaviOtu(talk(WHO, DETECT, (LISTS[0][0], reply))).trace(*WANTED)


def test_a_trace_at_another_wavelength_is_none(talk: Talk, read: None) -> None:
    lines = (DETECT, *LISTS, (ASK, '/otu/result/link-7;"measure.sor"'), (FILE, b"1550"))
    with pytest.raises(NoReadingError, match="1550"):
        ViaviOtu(talk(WHO, *lines), group_index=1.465).trace(*WANTED)


def test_what_is_no_trace_is_an_error(talk: Talk) -> None:
    lines = (DETECT, *LISTS, (ASK, '"/otu/result/link-7","measure.sor"'), (FILE, b"GIF89a"))
    with pytest.raises(SorError):
        ViaviOtu(talk(WHO, *lines), group_index=1.465).trace(*WANTED)


def test_files_are_read_where_the_share_is_mounted_and_an_old_one_is_refused(
    talk: Talk, read: None, tmp_path: Path
) -> None:
    answer = (ASK, '"/otu/result","measure.sor"')
    otu = ViaviOtu(talk(WHO, DETECT, *LISTS, answer, *LISTS, answer), group_index=1.465, directory=str(tmp_path))
    path = tmp_path / "measure.sor"
    with pytest.raises(NoReadingError, match="mount"):
        otu.trace(*WANTED)
    path.write_bytes(b"1650")
    with pytest.raises(NoReadingError, match="from before"):
        otu.trace(*WANTED)


def test_a_file_that_came_meanwhile_is_the_trace(talk: Talk, read: None, tmp_path: Path) -> None:
    path = tmp_path / "measure.sor"
    path.write_bytes(b"1650")
    os.utime(path, ns=(1, 1))

    class Writing:
        """A session whose unit writes its file while it measures."""

        def __init__(self, inner: Replay) -> None:
            self.inner = inner

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def query(self, message: str, timeout_s: float | None = None) -> str:
            if "mealink" in message:
                path.write_bytes(b"1650.2")
            return self.inner.query(message, timeout_s)

    session = Writing(talk(WHO, DETECT, *LISTS, (ASK, '"/otu/result","measure.sor"')))
    otu = ViaviOtu(session, group_index=1.465, directory=str(tmp_path))  # type: ignore[arg-type]  # passes all on
    assert otu.trace(*WANTED) == b"1650.2"


@pytest.mark.parametrize(
    "wanted",
    [
        (Metre(1550e-9), *WANTED[1:]),
        (WANTED[0], Metre(0.0), *WANTED[2:]),
        (WANTED[0], Metre(float("nan")), *WANTED[2:]),
        (*WANTED[:2], Second(1e-3), WANTED[3]),
        (*WANTED[:2], Second(float("inf")), WANTED[3]),
        (*WANTED[:3], Second(0.1)),
    ],
)
def test_what_the_module_cannot_do_is_refused_before_anything_is_sent(
    talk: Talk, wanted: tuple[Metre, Metre, Second, Second]
) -> None:
    with pytest.raises(SettingError):
        ViaviOtu(talk(WHO, DETECT)).trace(*wanted)


@pytest.mark.parametrize(
    "reply", ["", "measure.sor", '"../../etc","measure.sor"', '"/a","measure.exe"', '"/a","../x.sor"']
)
def test_an_absurd_file_name_is_an_error(talk: Talk, reply: str) -> None:
    with pytest.raises(PortReplyError):
        ViaviOtu(talk(WHO, DETECT, *LISTS, (ASK, reply)), group_index=1.465).trace(*WANTED)


def test_modules_are_listed() -> None:
    two = 'MOD1: 8126,"SM-OTDR" : L1310,L1550 MOD2: 5027HD,"SM-OTDR" : L1650'
    assert parse_modules(two) == (
        Module("MOD1", "8126", "SM-OTDR", (1310, 1550)),
        Module("MOD2", "5027HD", "SM-OTDR", (1650,)),
    )
    for each in ("", "none", 'MOD1: 8126,"SM-OTDR" : X12'):
        with pytest.raises(ValueError, match=r"module|laser"):
            parse_modules(each)


def test_a_module_is_taken_by_its_place(talk: Talk) -> None:
    assert ViaviOtu(talk(WHO, DETECT), module="mod2").module.place == "MOD2"
    with pytest.raises(NoReadingError):
        ViaviOtu(talk(WHO, DETECT), module="MOD3")
    with pytest.raises(PortReplyError):
        ViaviOtu(talk(WHO, (DETECT[0], "nothing here")))


@pytest.mark.parametrize(
    "options", [{"route": "a"}, {"port": 0}, {"group_index": 2.0}, {"directory": "/nowhere/at/all"}]
)
def test_options_that_make_no_sense_are_refused(talk: Talk, options: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        ViaviOtu(talk(WHO), **options)  # type: ignore[arg-type]  # what a bench file may hold
