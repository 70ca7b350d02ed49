"""Bench files: every mistake at once, each with its line, and a bench that says what the file says."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from geographiclib.geodesic import Geodesic
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.bench import BenchFileError, check, find, geodesic_m, known, load, parse, smallest_frame, starter
from harness.cli import app
from harness.errors import BenchError
from harness.evidence.gatherer import sources_of
from harness.link import Endpoint
from harness.starter import daemons, interfaces

REAL = """\
[bench]
name = "b"
policy = "metro-2027"
[sites.a]
clock = { sources = ["kernel"] }
[sites.b]
clock = { sources = ["in-band"] }
[links.ab]
near = "a"
far = "b"
far_address = "10.0.0.2"
"""
SIMULATED = """\
[bench]
name = "s"
policy = "metro-2027-rehearsal"
[sites.a]
[sites.b]
[links.ab]
near = "a"
far = "b"
flow_ports = [50000, 50001]
[simulation]
[simulation.links.ab]
forward = { km = 40 }
"""


def faults(text: str, path: Path | None = None) -> list[str]:
    """The messages of a broken bench, each checked to name the line it is about."""
    with pytest.raises(BenchFileError) as caught:
        parse(text, path=path)
    assert all(1 <= problem.line <= text.count("\n") + 1 for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def line(text: str, start: str) -> int:
    return next(number for number, row in enumerate(text.split("\n"), start=1) if row.startswith(start))


def test_the_default_bench_is_simulated_and_complete() -> None:
    made = load("simulated")
    assert made.simulated
    assert made.simulation is not None
    assert made.notes == ()
    (link,) = made.links
    assert link.geodesic_m is not None
    assert link.route is not None
    assert 29_000 < link.geodesic_m < 30_000 < link.route.length_m
    assert len(link.flow_ports) == 4
    plant = made.simulation.links[link.name]
    assert plant.forward[0].delay == plant.backward[0].delay == 195_896  # 40 km of glass, rounded up
    for clock in made.simulation.clocks.values():
        assert clock.claimed_bound_ns is not None
        assert abs(clock.error.offset_ns) <= clock.claimed_bound_ns
    assert all(site.clock.injected for site in made.sites)
    assert made.streams["optical"]["duration_ns"] == 60_000_000_000


def test_the_example_of_two_hosts_loads_with_a_note_about_its_placeholder() -> None:
    made = load("two-hosts-example")
    assert not made.simulated
    assert any("192.0.2.1" in note for note in made.notes)
    assert made.link("a-b").route is not None
    assert made.site("site-b").size_class == "medium"


def test_the_plan_sees_nothing_of_the_plants_truth() -> None:
    made = parse(SIMULATED.replace("{ km = 40 }", "{ ns = 123457 }") + "[simulation.clocks.a]\noffset_ns = 98765\n")
    text = json.dumps(made.resolved())
    assert made.resolved() == json.loads(text)
    assert not any(truth in text for truth in ("123457", "98765", "offset"))


def test_every_error_at_once() -> None:
    text = """\
[bench]
name = "two words"
polici = "metro-2027"
[sites.a]
kind = "computing-center"
position = ["31.23", 121.4]
[sites."b c"]
[links.ab]
near = "aa"
far = "b"
far_address = "far.example.net"
flow_ports = [1, 70000]
ssid = "1"
[stream.optical]
rate_pps = 5
"""
    messages = faults(text)
    expected = [
        (2, "bench.name", "40"),
        (3, "bench.polici", "did you mean policy"),
        (1, "bench.policy", "found nothing"),
        (5, "sites.a.kind", "did you mean computing-centre"),
        (6, "sites.a.position", "decimal text"),
        (7, "sites.b c", "a name"),
        (9, "links.ab.near", "did you mean a"),
        (11, "links.ab.far_address", "IP address"),
        (12, "links.ab.flow_ports[1]", "found 70000"),
        (13, "links.ab.ssid", 'found "1"'),
        (14, "stream", "did you mean streams"),
    ]
    for number, key, words in expected:
        assert any(m.startswith(f"line {number}: {key}: ") and words in m for m in messages), (key, messages)


# what is changed in a good bench, the key whose line must be named, what must be said
WRONG: list[tuple[str, str, str, str, str]] = [
    (REAL, 'near = "a"', 'near = "aa"', "near", "did you mean a?"),
    (REAL, 'far = "b"', 'far = "a"', "far =", "two different sites"),
    (REAL, 'far_address = "10.0.0.2"', "", "[links.ab]", "far_address: found nothing"),
    (REAL, '"10.0.0.2"', '"10.0.0.256"', "far_address", "an IP address"),
    (REAL, '"10.0.0.2"', '"0.0.0.0"', "far_address", "one host"),
    (REAL, '"10.0.0.2"', '"ff02::1"', "far_address", "one host"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\nnear_address = "fd00::1"', "near_address", "IPv6 to IPv4"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\nflow_ports = [5, 6, 5]', "flow_ports", "port 5 twice"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\nflow_ports = [5]\nflows = 1', "flows", "either flow_ports or flows"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\nflow_ports = []', "flow_ports", "1 to 1024 ports"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\nfirst_port = 65530', "first_port", "at most 65520 for 16 flows"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\nfar_port = 0', "far_port", "1 to 65535"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\nfar_clock_trusted = 1', "far_clock_trusted", "true or false"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\nfar_turnaround_qualified = "Q1"', "[links.ab]", "turnaround_cap_us"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\nroute = { length_m = 1, group_index = "1.5" }', "route", "origin: found nothing"),
    (
        REAL,
        '"10.0.0.2"',
        '"10.0.0.2"\nroute = { length_m = 1, group_index = "1.5", origin = "x" }',
        "route",
        "one of u_ns and u_percent",
    ),
    (
        REAL,
        '"10.0.0.2"',
        '"10.0.0.2"\nroute = { length_m = 1, group_index = "0.9", u_ns = 1, origin = "x" }',
        "route",
        "group index 1 to 2",
    ),
    (REAL, '"metro-2027"', '"metro-2072"', "policy", "did you mean metro-2027?"),
    (REAL, '"metro-2027"', '"metro-2027-rehearsal"', "policy", "on a real bench"),
    (REAL, '["in-band"]', '["kernel"]', 'clock = { sources = ["kernel"] }\n[links', "is at the far end"),
    (REAL, '["kernel"]', '["in-band"]', "clock", "only a far end speaks in-band"),
    (REAL, '["kernel"]', '["simulated"]', "clock", "[simulation.clocks.a]"),
    (REAL, '["kernel"]', '["crony"]', "clock", "did you mean chrony?"),
    (REAL, '["kernel"]', '["chrony"], chrony = { sockt = "/x" }', "clock", "did you mean socket?"),
    (REAL, '["kernel"]', '["chrony"], chrony = { floor_ns = "1" }', "clock", "a whole number"),
    (REAL, '["kernel"]', '["chrony"], chrony = { floor_ns = 1 }', "clock", "declare both"),
    (REAL, '["kernel"]', '["kernel"], chrony = { socket = "/x" }', "clock", '"chrony" among the sources too'),
    (REAL, '["kernel"]', '["kernel"], time_from = "link:nowhere"', "clock", "allowed: ab"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\n[streams.optical]\nsize = 157', "size", "at least 158"),
    (REAL, '"10.0.0.2"', '"fd00::2"\n[streams.service]\nsize = 177', "size", "at least 178"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\n[streams.service]\nflows = 17', "flows", "at most the 16"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\n[streams.servcie]', "[streams.servcie]", "did you mean service?"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\n[streams.service]\nduration_s = 0', "duration_s", "above 0"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\n[streams.service]\nduration_s = inf', "duration_s", "above 0"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\n[lab]\nname = "a\\nb"', 'name = "a\\n', "one line"),
    (REAL, '"10.0.0.2"', '"10.0.0.2"\nkey_file = "no-such.key"', "key_file", "No such file"),
    (SIMULATED, "flow_ports", 'far_address = "10.0.0.2"\nflow_ports', "far_address", "simulated metro gives it"),
    (SIMULATED, "[simulation.links.ab]", "[simulation.links.abc]", "[simulation.links.abc]", "did you mean ab?"),
    (SIMULATED, "{ km = 40 }", "{ km = 40, ns = 1 }", "forward", "one of km and ns"),
    (SIMULATED, "{ km = 40 }", "{ }", "forward", "neither km nor ns"),
    (SIMULATED, "{ km = 40 }", "{ km = 40 }\nloss = { p = 1.5 }", "loss", "probability"),
    (SIMULATED, "{ km = 40 }", '{ km = 40 }\nloss = { p = "0.0000001" }', "loss", "6 decimals"),
    (SIMULATED, "{ km = 40 }", '{ km = 40 }\njitter = { law = "uniforme", ns = 1 }', "jitter", "did you mean uniform?"),
    (
        SIMULATED,
        "{ km = 40 }",
        "{ km = 40 }\nroutes = [{ ports = [7], forward = { ns = 1 } }]",
        "routes",
        "50000-50001",
    ),
    (
        SIMULATED,
        "{ km = 40 }",
        "{ km = 40 }\nchanges = [\n{ at_s = 2, cut = true },\n{ at_s = 1, ns = 5 }]",
        "changes",
        "out of order",
    ),
    (
        SIMULATED,
        "{ km = 40 }",
        "{ km = 40 }\nchanges = [\n{ at_s = 2, cut = true, ns = 5 }]",
        "{ at_s = 2",
        "a cut with a delay",
    ),
    (SIMULATED, "{ km = 40 }", "{ km = 40 }\n[simulation.clocks.c]", "[simulation.clocks.c]", "allowed: a, b"),
    (SIMULATED, "[simulation]", '[simulation]\ncarrier = "namespace"', "carrier", "did you mean namespaces?"),
    (
        SIMULATED,
        "{ km = 40 }",
        '{ ns = 3000000000 }\nreorder = { p = 1, ns = 1000000000 }\njitter = { law = "uniform", ns = 1000000000 }',
        "[simulation.links.ab]",
        "delays from",
    ),
]


@pytest.mark.parametrize(("good", "was", "now", "start", "words"), WRONG, ids=[f"{w[2]}"[:60] for w in WRONG])
def test_one_mistake_is_told_with_its_line(good: str, was: str, now: str, start: str, words: str) -> None:
    parse(good)
    assert was in good
    text = good.replace(was, now, 1)
    messages = faults(text)
    number = text[: text.index("\n" + start) + 1].count("\n") + 1
    assert any(message.startswith(f"line {number}: ") and words in message for message in messages), messages


def test_what_a_source_is_told_reaches_it_and_the_plan() -> None:
    bench = parse(REAL.replace('["kernel"]', '["kernel", "chrony"], chrony = { socket = "/run/c.sock" }', 1))
    assert bench.evidence["a"]["chrony"].socket == "/run/c.sock"
    assert bench.resolved()["evidence"]["a"]["chrony"]["socket"] == "/run/c.sock"
    assert [source.name for source in sources_of(bench, bench.links[0])] == ["kernel", "chrony"]


def test_time_that_a_site_has_from_a_link_crosses_it() -> None:
    bench = parse(REAL.replace('["kernel"]', '["kernel"], time_from = "link:ab"', 1))
    assert bench.link("ab").sync_over_link
    assert bench.site("a").clock.time_from == "link:ab"
    denied = REAL.replace('["kernel"]', '["kernel"], time_from = "link:ab"', 1)
    denied = denied.replace('near = "a"', 'near = "a"\nsync_over_link = false', 1)
    assert any("has its time from this link" in message for message in faults(denied))


@pytest.mark.parametrize("value", ["3", '"text"', "[]", "[[1]]", "true"])
@pytest.mark.parametrize("key", ["bench", "sites", "links", "simulation", "streams", "lab"])
def test_a_value_where_a_table_belongs(key: str, value: str) -> None:
    rest = re.sub(rf"(?ms)^\[{key}(\.[^\]]*)?\]\n.*?(?=^\[|\Z)", "", REAL)
    assert any(m.startswith(f"line 1: {key}: ") and "a table" in m for m in faults(f"{key} = {value}\n{rest}"))


SAMPLE = SIMULATED + 'jitter = { law = "uniform", ns = 5 }\nroutes = [{ ports = [50001], forward = { ns = 1 } }]\n'


@given(st.data())
def test_no_text_crashes_the_reader(data: st.DataObject) -> None:
    rows = SAMPLE.split("\n")
    row = data.draw(st.integers(0, len(rows) - 1))
    value = st.sampled_from(
        ["{}", "[]", "-1", "1e400", '""', "nan", "{ ns = {} }", "[[{}]]", "1979-05-27", '"\\u0000"']
    )
    replaced = re.sub(r"= .*", lambda _: "= " + data.draw(value), rows[row]) if data.draw(st.booleans()) else ""
    text = "\n".join([*rows[:row], replaced, *rows[row + 1 :]])
    with contextlib.suppress(BenchFileError):
        assert parse(text).simulated == ("[simulation" in text)


def test_a_syntax_error_is_the_only_thing_told() -> None:
    (message,) = faults(REAL.replace('near = "a"', "near = a"))
    assert message.startswith(f"line {line(REAL, 'near')}: found broken TOML")


def test_an_empty_file_says_what_it_wants() -> None:
    messages = " ".join(faults(""))
    assert all(words in messages for words in ("[bench]", "[sites.NAME]", "[links.NAME]"))


@pytest.mark.parametrize(("mode", "allowed"), [(0o600, True), (0o400, True), (0o640, False), (0o604, False)])
def test_a_key_file_is_for_its_owner_only(tmp_path: Path, mode: int, allowed: bool) -> None:
    key = tmp_path / "link.key"
    key.write_text("00" * 32)
    key.chmod(mode)
    text = REAL + 'key_file = "link.key"\n'
    if allowed:
        assert parse(text, path=tmp_path / "b.toml").links[0].key_file == str(key)
    else:
        assert "chmod 600" in faults(text, tmp_path / "b.toml")[0]
    key.unlink()
    key.mkdir()
    assert "not a file" in faults(text, tmp_path / "b.toml")[0]


def test_a_link_says_all_that_the_file_says() -> None:
    text = REAL + (
        'near_address = "10.0.0.1"\ninterface = "eth9"\nfirst_port = 100\nflows = 3\nssid = 7\noxcs = ["o"]\n'
        'route = { length_m = 40000, group_index = "1.4682", u_percent = "0.5", origin = "register" }\n'
        'far_clock_trusted = true\nfar_turnaround_qualified = "Q1"\nturnaround_cap_us = 50\nsync_over_link = true\n'
        "[streams.service]\nduration_s = 0.25\nt_max_ms = 1.5\n"
    )
    made = parse(text)
    (link,) = made.links
    assert link.endpoint == Endpoint("10.0.0.1", "10.0.0.2", 862, "eth9")
    assert link.flow_ports == (100, 101, 102)
    assert (link.ssid, link.oxcs, link.sync_over_link, link.far_clock_trusted) == (7, ("o",), True, True)
    assert link.turnaround_cap_ns == 50_000
    assert link.route is not None
    assert link.route.group_index_ppm == 1_468_200
    assert link.route.u_ps == -(-link.route.flight * 5 // 1000)
    assert made.streams == {"service": {"duration_ns": 250_000_000, "t_max_ns": 1_500_000}}


def test_a_plant_is_what_the_file_says() -> None:
    text = SIMULATED.replace("{ km = 40 }", '{ ns = 250000, loss = { p = "0.01", burst = 3 } }') + (
        'backward = { km = "1.5", group_index = "1.5" }\njitter = { law = "exponential", ns = 700 }\n'
        "duplicate = { p = 0.001 }\nreorder = { p = 0.5, ns = 9 }\n"
        "changes = [{ at_s = 0.5, ns = 300000 }, { at_s = 1, cut = true }]\n"
        "routes = [{ ports = [50001], forward = { ns = 1, changes = [] } }]\nipv6 = true\n"
        "[simulation.clocks.b]\noffset_ns = -5\nskew_ppb = 7\nstep_ns = 100\nstep_at_s = 0.5\nclaimed_bound_ns = 9\n"
    )
    made = parse(text)
    assert made.simulation is not None
    plant = made.simulation.links["ab"]
    assert [path.delay for path in plant.forward] == [250_000, 1]
    assert plant.forward[0].loss.ppm == 10_000
    assert plant.forward[0].loss.burst == 3
    assert plant.backward[0].loss.ppm == 0
    assert plant.backward[0].delay == 7506  # 1500 m at n 1.5: 7505.2 ns, never less
    assert plant.backward[0].jitter is not None
    assert plant.backward[0].jitter.ns == 700
    assert (plant.forward[0].duplicate_ppm, plant.forward[0].reorder_ppm, plant.forward[0].reorder_ns) == (
        1000,
        500_000,
        9,
    )
    assert [(c.at_ns, c.delay_ns) for c in plant.backward[0].changes] == [(500_000_000, 300_000), (10**9, None)]
    assert plant.forward[1].changes == ()
    assert plant.route_of == {50_001: 1}
    assert plant.ipv6
    assert plant.far_clock.offset_ns == -5
    assert plant.far_clock.at_ns == 500_000_000
    assert plant.near_clock.offset_ns == 0
    assert (made.site("a").clock.injected, made.site("b").clock.injected) == (False, True)


def test_an_honest_simulated_clock_that_only_claims_is_not_altered() -> None:
    made = parse(SIMULATED + "[simulation.clocks.a]\nclaimed_bound_ns = 5\n")
    assert not made.site("a").clock.injected


def test_notes_are_no_errors() -> None:
    made = parse(REAL.replace("[sites.b]", '[sites.c]\n[sites.b]\nposition = ["1.0", "2.0"]'))
    assert any("site c is on no link" in note for note in made.notes)
    assert any("site a has no position" in note for note in made.notes)
    assert made.links[0].geodesic_m is None


def test_positions_say_who_surveyed_them() -> None:
    text = REAL.replace(
        "[sites.a]", '[sites.a]\nposition = ["31.0", "121.0"]\nposition_origin = "survey plan 7"'
    ).replace("[sites.b]", '[sites.b]\nposition = ["31.0", "121.5"]')
    made = parse(text)
    assert made.site("a").position_origin == "survey plan 7"
    assert made.links[0].positions_origin == ""
    assert any("site b" in note and "position_origin" in note for note in made.notes)
    both = parse(text.replace('"121.5"]', '"121.5"]\nposition_origin = "survey plan 7"'))
    assert both.links[0].positions_origin == "survey plan 7"
    assert not any("position" in note for note in both.notes)
    assert load("simulated").links[0].positions_origin


def test_an_origin_of_no_position_is_refused() -> None:
    (said,) = faults(REAL.replace("[sites.a]", '[sites.a]\nposition_origin = "survey plan 7"'))
    assert "sites.a.position: found nothing" in said


def test_whether_time_crosses_a_link_may_stay_undeclared() -> None:
    said = [parse(REAL + f"sync_over_link = {word}\n").links[0].sync_over_link for word in ("true", "false")]
    assert said == [True, False]
    assert parse(REAL).links[0].sync_over_link is None


def test_a_route_is_no_shorter_than_the_geodesic() -> None:
    text = REAL.replace("[sites.a]", '[sites.a]\nposition = ["31.0000", "121.0000"]').replace(
        "[sites.b]", '[sites.b]\nposition = ["31.0000", "121.5000"]'
    )
    text += 'route = { length_m = 40000, group_index = "1.4682", u_ns = 5, origin = "x" }\n'
    assert "at least the geodesic" in faults(text)[0]


@given(
    st.tuples(st.integers(-899_999, 899_999), st.integers(-1_799_999, 1_799_999)),
    st.tuples(st.integers(-899_999, 899_999), st.integers(-1_799_999, 1_799_999)),
    st.lists(st.floats(-0.5, 0.5), min_size=4, max_size=4),
)
def test_the_geodesic_is_a_floor_for_all_positions_the_digits_allow(
    here: tuple[int, int], there: tuple[int, int], within: list[float]
) -> None:
    def text(value: int) -> str:
        return f"{'-' if value < 0 else ''}{abs(value) // 10_000}.{abs(value) % 10_000:04d}"

    floor = geodesic_m((text(here[0]), text(here[1])), (text(there[0]), text(there[1])))
    exact = [(value + part) / 10_000 for value, part in zip((*here, *there), within, strict=True)]
    truth = Geodesic.WGS84.Inverse(*exact)["s12"]  # type: ignore[no-untyped-call]
    assert floor is not None
    assert floor <= truth
    assert floor >= truth - 50 or floor == 0


def test_a_known_distance() -> None:
    # one degree of latitude from the equator: 110 574.4 m (WGS 84)
    assert geodesic_m(("0.000000000", "0.000000000"), ("1.000000000", "0.000000000")) == 110_574
    assert geodesic_m(None, ("1.0", "1.0")) is None


def test_a_bench_is_found_by_name_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "plan" / "testplans" / "benches"
    folder.mkdir(parents=True)
    (folder / "prag.toml").write_text(REAL)
    (tmp_path / "benches").mkdir()
    (tmp_path / "benches" / "here.toml").write_text(REAL)
    assert find("prag", tmp_path / "plan") == folder / "prag.toml"
    assert find("here") == tmp_path / "benches" / "here.toml"
    assert find("plan/testplans/benches/prag.toml") == folder / "prag.toml"
    assert find(folder / "prag.toml") == folder / "prag.toml"
    assert {"prag", "here", "simulated"} <= set(known(tmp_path / "plan"))
    with pytest.raises(BenchError, match="did you mean simulated"):
        find("simulatd")
    with pytest.raises(BenchError, match=r"no file nowhere\.toml"):
        find("nowhere.toml")


def test_a_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BenchError, match="UTF-8"):
        load(tmp_path / "b.toml")


def test_check_says_what_there_is_or_what_is_wrong(tmp_path: Path) -> None:
    lines, code = check("simulated")
    assert code == 0
    assert "SIMULATED" in lines[0]
    assert any("route 40000 m" in row for row in lines)
    (tmp_path / "bad.toml").write_text(REAL.replace('"a"', '"x"'))
    lines, code = check(tmp_path / "bad.toml")
    assert code == 4
    assert any(f"line {line(REAL, 'near')}" in row for row in lines)
    assert check("unknown-bench")[1] == 4


def test_the_smallest_frame_is_the_wires() -> None:
    wire = pytest.importorskip("fastpath.wire")
    for key in (None, b"k" * 32):
        least = smallest_frame(ipv6=False, key=key is not None)
        assert wire.Session(least - 46, key=key, tai_utc=37, seed=1).smallest == least - 46
        with pytest.raises(ValueError, match=r"."):
            wire.Session(least - 47, key=key, tai_utc=37, seed=1)
        assert smallest_frame(ipv6=True, key=key is not None) == least + 20


def test_the_starter_of_this_host_loads() -> None:
    made = parse(starter("fresh"))
    assert made.name == "fresh"
    assert any("192.0.2.1" in note for note in made.notes)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my bench.toml", "my-bench"),
        ("甲乙.toml", "my-bench"),
        (".hidden.toml", "hidden"),
        ('a"b.toml', "a-b"),
        ("a\nb.toml", "a-b"),
        ("x" * 60 + ".toml", "x" * 40),
    ],
)
def test_a_new_bench_loads_whatever_its_file_is_called(tmp_path: Path, file: str, name: str) -> None:
    done = CliRunner().invoke(app, ["bench", "new", str(tmp_path / file)])
    assert done.exit_code == 0, done.output
    mark = "CHANGE THIS"
    assert mark in done.output
    assert mark in (tmp_path / file).read_text(encoding="utf-8")
    assert load(tmp_path / file).name == name


def test_an_instrument_without_an_address_is_in_the_simulated_lab_only_on_a_simulated_bench(tmp_path: Path) -> None:
    real = tmp_path / "b.toml"
    real.write_text(REAL + '[instruments.hand]\ndriver = "prompted-hand"\n', encoding="utf-8")
    for file, said, other in (
        (real, "no address", "(simulated lab)"),
        ("simulated-oxc", "(simulated lab)", "no address"),
    ):
        text = "\n".join(check(file)[0])
        assert said in text
        assert other not in text


@pytest.fixture
def host(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes one file of a made-up /sys or /proc."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_the_starter_names_what_the_host_has(tmp_path: Path, host: Callable[[str, str], Path]) -> None:
    host("sys/class/net/lo/operstate", "unknown\n")
    host("sys/class/net/mcbench0/operstate", "up\n")
    host("sys/class/net/mcbench0/device/ptp/ptp3/clock_name", "x")
    host("sys/class/net/mcbench1/operstate", "down\n")
    host("sys/class/ptp/ptp3/clock_name", "igc clock\n")
    host(
        "proc/net/if_inet6",
        "fd000000000000000000000000000001 02 40 00 80 mcbench0\n"
        "fe800000000000000000000000000001 02 40 20 80 mcbench0\n",
    )
    host("proc/77/comm", "chronyd\n")
    host("proc/78/comm", "bash\n")
    sys, proc = tmp_path / "sys", tmp_path / "proc"
    assert [each.name for each in interfaces(sys, proc)] == ["mcbench0", "mcbench1"]
    assert interfaces(sys, proc)[0].addresses == ("fd00::1",)
    assert daemons(proc) == ["chronyd"]
    text = starter("n", sys, proc)
    assert "ptp3 (igc clock)" in text
    assert "PHC ptp3" in text
    made = parse(text)
    assert made.site("site-a").clock.sources == ("chrony", "kernel")
    assert made.links[0].endpoint.interface == "mcbench0"
    assert parse(starter("n", tmp_path / "nothing", tmp_path / "nothing")).links[0].endpoint.interface is None
