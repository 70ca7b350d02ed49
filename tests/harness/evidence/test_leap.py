"""TAI - UTC by table, against the host's own list and known dates."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from harness.evidence import leap
from harness.evidence.leap import SHIPPED, LeapTable, conflicts, kernel_fault, newest, parse, system_tables, tai_utc_now

S = 1_000_000_000


def at(text: str) -> int:
    return int(dt.datetime.fromisoformat(text + "+00:00").timestamp()) * S


@pytest.mark.parametrize(
    ("when", "offset"),
    [
        ("1971-12-31T23:59:59", None),
        ("1972-01-01T00:00:00", 10),
        ("1985-06-30T23:59:59", 22),
        ("1985-07-01T00:00:00", 23),
        ("1998-12-31T23:59:59", 31),
        ("1999-01-01T00:00:00", 32),
        ("2016-12-31T23:59:59", 36),
        ("2017-01-01T00:00:00", 37),
        ("2026-11-22T12:00:00", 37),
        ("2027-06-27T23:59:59", 37),
        ("2027-06-28T00:00:00", None),
    ],
)
def test_known_dates(when: str, offset: int | None) -> None:
    assert SHIPPED.tai_utc(at(when)) == offset


def test_beyond_its_expiry_a_table_assumes_but_does_not_know() -> None:
    later = at("2030-01-01T00:00:00")
    assert SHIPPED.tai_utc(later) is None
    assert SHIPPED.assumed(later) == 37
    assert SHIPPED.assumed(0) == 10
    assert SHIPPED.pending(later, later + S) is None
    assert SHIPPED.pending(at("2016-12-31T23:30:00"), at("2017-01-01T00:30:00")) is True
    assert SHIPPED.pending(at("2026-11-22T00:00:00"), at("2026-11-23T00:00:00")) is False


def test_every_step_is_one_second_at_the_start_of_a_month() -> None:
    assert [offset for _, offset in SHIPPED.steps] == list(range(10, 38))
    for since, _ in SHIPPED.steps:
        date = dt.datetime.fromtimestamp(since, dt.UTC)
        assert (date.day, date.hour, date.minute, date.second) == (1, 0, 0, 0)
        assert date.month in {1, 7}


def test_the_hosts_own_list_agrees() -> None:
    if not leap.SYSTEM_LISTS[0].exists():
        pytest.skip("this host has no leap-seconds.list (Debian package tzdata)")
    (table, *_) = system_tables()
    assert conflicts(SHIPPED, table) == []
    assert table.steps[: len(SHIPPED.steps)] == SHIPPED.steps[: len(table.steps)]


LIST = """\
# comment
#$\t3960835200
#@\t3991593600
2272060800      10      # 1 Jan 1972
2287785600      11      # 1 Jul 1972
"""


def signed(text: str) -> str:
    with pytest.raises(ValueError, match="counted") as caught:
        parse(text, "x")
    digest = str(caught.value).split("counted ")[1].rstrip(")")
    return text + "#h " + " ".join(digest[i : i + 8].lstrip("0") or "0" for i in range(0, 40, 8)) + "\n"


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    good = signed(LIST)
    table = parse(good, "x")
    assert table.steps == ((63_072_000, 10), (78_796_800, 11))
    assert table.expires_s == 3_991_593_600 - 2_208_988_800
    for bad in (good.replace("11 ", "12 "), good.replace("3991593600", "3999999999"), LIST, ""):
        with pytest.raises(ValueError, match="not a whole"):
            parse(bad, "x")
    (tmp_path / "good").write_text(good)
    (tmp_path / "bad").write_text(LIST)
    assert [t.origin for t in system_tables([tmp_path / "bad", tmp_path / "none", tmp_path / "good"])] == [
        str(tmp_path / "good")
    ]


def test_the_table_that_holds_longer_is_used(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(signed(LIST))
    assert newest([tmp_path / "old"]) is SHIPPED
    (tmp_path / "new").write_text(signed(LIST.replace("3991593600", "5000000000")))
    assert newest([tmp_path / "new"]).origin == str(tmp_path / "new")
    assert tai_utc_now() >= 37


def test_tables_that_disagree_say_where() -> None:
    other = LeapTable("other", (*SHIPPED.steps[:-1], (SHIPPED.steps[-1][0], 38)), SHIPPED.expires_s + 1)
    (line,) = conflicts(SHIPPED, other)
    assert "37 s" in line
    assert "38 s" in line


def test_the_kernels_tai_offset() -> None:
    now = at("2026-11-22T12:00:00")
    assert kernel_fault(37, now) == ""
    assert "not set" in kernel_fault(0, now)
    assert "36 s" in kernel_fault(36, now)
    assert kernel_fault(38, at("2031-01-01T00:00:00")) == ""
