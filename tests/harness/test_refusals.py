"""What is refused before anything is opened, written or measured, in words that say what to type instead."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from harness.archive import keys
from harness.bench import POLICIES, find, load
from harness.cli import app
from harness.errors import BenchError, HarnessError
from harness.opening import Opened, check_answers
from harness.run import Options, Run, one_line, read_policy

ROOT = Path(__file__).resolve().parents[2]
PLANS = ("--plans", str(ROOT / "testplans"))
OPTICAL = "simulated-oxc"
MARK = b"\xef\xbb\xbf"


def typed(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


# -- options that nothing would heed ------------------------------------------------------------------------------


@pytest.mark.parametrize("option", [{"dut": "SIM-1"}, {"answers": Path("none.txt")}])
def test_an_option_for_a_device_under_test_wants_one(tmp_path: Path, option: dict[str, object]) -> None:
    with pytest.raises(BenchError, match="a device under test on bench simulated for --"):
        Run(load("simulated"), Options(results=tmp_path, **option))  # type: ignore[arg-type]  # one of two


def test_answers_want_somebody_who_asks_and_a_file(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="asks a person"):
        Run(load(OPTICAL), Options(results=tmp_path, answers=tmp_path))
    text = find(OPTICAL).read_text(encoding="utf-8")
    start = text.index("[instruments.polariser]")
    asked = text[:start] + text[start:].replace("simulated-polarisation", "prompted-polarisation", 1)
    file = tmp_path / "asked.toml"
    file.write_text(asked, encoding="utf-8")
    bench = load(file)
    with pytest.raises(BenchError, match="a file of answers"):
        check_answers(bench, tmp_path / "none.txt")
    with pytest.raises(BenchError, match="a folder"):
        Opened(bench, answers=tmp_path, lenient=True)
    (tmp_path / "answers.txt").write_text("yes\n", encoding="utf-8")
    check_answers(bench, tmp_path / "answers.txt")


def test_safe_does_not_pass_over_answers(tmp_path: Path) -> None:
    done = typed("safe", "--bench", OPTICAL, "--answers", tmp_path / "none.txt")
    assert done.exit_code == 4
    assert "--answers" in done.stderr


# -- texts that a report must print -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a\x00b", "a\nb", "\x1b[31mred", "a\u202eb", "a\u2028b", "a\udcffb"])
def test_what_a_report_cannot_print_is_refused_at_the_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(HarnessError, match=f"for --operator; found .*U\\+{ord(min(text, key=str.isprintable)):04X}"):
        Run(load("simulated"), Options(results=tmp_path, operator=text))
    for words in (("judge", tmp_path, "--policy", "metro-2027"), ("attach", tmp_path, tmp_path / "x")):
        done = typed(*words, "--reason", text)
        assert done.exit_code == 4
        assert "for --reason" in done.stderr


def test_names_of_every_script_are_taken() -> None:
    for text in ("", "José Ñandú", "张\u3000三", "N\u00a0N", "Ольга (ночь)"):
        assert one_line(text, "--operator") == text


# -- benches that have nothing for a command ----------------------------------------------------------------------


def test_a_visit_and_an_order_want_links_and_a_policy(tmp_path: Path) -> None:
    keys.create(tmp_path / "k", "head")
    order = ("order", "new", OPTICAL, "--out", tmp_path / "o.json", "--key", tmp_path / "k", *PLANS)
    for words in (("visit", OPTICAL, *PLANS), ("visit", OPTICAL, "--policy", "metro-2027", *PLANS), order):
        done = typed(*words)
        assert done.exit_code == 4
        assert "wanted a bench with links and a policy; found simulated-oxc, which has no links" in done.stderr
    assert not (tmp_path / "o.json").exists()


@pytest.mark.parametrize("text", ["", '[bench]\nname = "b"\n', "simulation = 3\n", "[simulation]\nlab = 3\n"])
def test_a_lab_without_instruments_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("signal.pause", lambda: None)
    (tmp_path / "lab.toml").write_text(text, encoding="utf-8")
    done = typed("lab", "serve", tmp_path / "lab.toml")
    assert done.exit_code == 4
    assert "wanted instruments in" in done.stderr or "wanted a lab file" in done.stderr
    assert "lab.toml" in done.stderr


# -- files that look right ----------------------------------------------------------------------------------------


def test_a_byte_order_mark_is_named_with_the_file(tmp_path: Path) -> None:
    bench, policy = tmp_path / "b.toml", tmp_path / "p.toml"
    bench.write_bytes(MARK + find("simulated").read_bytes())
    policy.write_bytes(MARK + (POLICIES / "metro-2027.toml").read_bytes())
    for words in (("bench", "check", bench), ("judge", tmp_path, "--policy", policy), ("lab", "serve", bench)):
        done = typed(*words)
        assert done.exit_code == 4
        assert "a byte order mark; save as UTF-8 without BOM" in done.stderr
        assert str(tmp_path) in done.stderr
    with pytest.raises(BenchError, match="byte order mark"):
        read_policy(str(policy))


@pytest.mark.parametrize("value", ["2026-11-22", "07:32:00", "2026-11-22T07:32:00Z", "[1, 2026-11-22]"])
def test_a_date_where_the_lab_wants_a_number_is_a_mistake_with_its_line(tmp_path: Path, value: str) -> None:
    lines = find(OPTICAL).read_text(encoding="utf-8").split("\n")
    at = lines.index("[simulation.lab]") + 1
    lines.insert(at, f"odd = {value}")
    (tmp_path / "b.toml").write_text("\n".join(lines), encoding="utf-8")
    done = typed("bench", "check", tmp_path / "b.toml")
    assert done.exit_code == 4
    assert f"line {at + 1}: simulation.lab.odd" in done.stderr


# -- calibrating --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["nan", "inf", "sNaN", "-1", "x"])
def test_a_group_index_that_is_no_number_is_refused(tmp_path: Path, index: str) -> None:
    patch = ("--patch-mm", "2000", "--patch-u-ps", "30", "--patch-origin", "rule", "--group-index", index)
    done = typed("calibrate", "simulated", "--link", "ab", "--out", tmp_path / "pair.json", *patch, *PLANS)
    assert done.exit_code == 4
    assert f"group index {index}" in done.stderr
