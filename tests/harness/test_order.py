"""A work order says the same to both ends, holds for its days, and is worth nothing once altered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness import order
from harness.archive import keys
from harness.archive.keys import SigningKey, Trust, TrustedKey
from harness.bench import Bench, parse
from harness.cli import app
from harness.errors import ArchiveError, HarnessError
from harness.order import OrderError
from harness.plan import Step
from harness.run import Options, Run, read_policy
from harness.stream import Stream

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_790_000_000_000_000_000
HOUR = 3_600_000_000_000
STEPS = (
    Step("T1-optical-owd", Stream("optical", 1_000, 60 * 10**9, 256)),
    Step("service-owd-p999", Stream("service", 10_000, 60 * 10**9, 512, unloaded=False)),
)
TEXT = """
[bench]
name = "ring"
policy = "metro-2027"
[sites.a]
title = "A"
kind = "computing-centre"
clock = { sources = ["kernel"] }
[sites.b]
title = "B"
kind = "computing-centre"
clock = { sources = ["in-band"] }
[sites.c]
title = "C"
kind = "computing-centre"
clock = { sources = ["in-band"] }
[links.ab]
near = "a"
far = "b"
far_address = "10.1.0.2"
flows = 2
[links.ac]
near = "a"
far = "c"
far_address = "10.1.0.3"
flows = 4
[streams.optical]
rate_pps = 500
"""


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    path = tmp_path_factory.mktemp("keys") / "head.key"
    keys.create(path, "head")
    return keys.load(path)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return parse(TEXT)


def drawn(bench: Bench, policy: str = "metro-2027") -> order.Order:
    return order.draw(bench, read_policy(policy), STEPS, not_before_ns=NOW, not_after_ns=NOW + HOUR)


def test_what_is_signed_is_what_is_read(bench: Bench, key: SigningKey, tmp_path: Path) -> None:
    made = drawn(bench)
    written = order.write(tmp_path / "o.json", made, key)
    found = order.read(tmp_path / "o.json")
    assert found == written
    assert found.order == made
    assert found.signer == key.verifier
    assert [stream.stream.rate_pps for stream in made.streams] == [500, 500, 10_000, 10_000]
    assert [stream.stream.flows for stream in made.streams] == [2, 4, 2, 4]
    with pytest.raises(OrderError, match="a new file"):
        order.write(tmp_path / "o.json", made, key)


def test_no_two_orders_share_a_nonce(bench: Bench) -> None:
    assert drawn(bench).nonce != drawn(bench).nonce
    assert len(bytes.fromhex(drawn(bench).nonce)) == 16


def test_every_changed_octet_is_refused(bench: Bench, key: SigningKey) -> None:
    whole = order.sign(drawn(bench), key)
    for offset in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        with pytest.raises(ArchiveError, match=r"o\.json"):
            order.unseal(bytes(damaged), "o.json")


def test_ssids_that_do_not_follow_from_the_nonce_are_refused(bench: Bench, key: SigningKey) -> None:
    made = drawn(bench)
    links = (replace(made.links[0], ssid=made.links[0].ssid % 65_535 + 1), *made.links[1:])
    with pytest.raises(ArchiveError, match="SSIDs that follow"):
        order.unseal(order.sign(replace(made, links=links), key), "o.json")
    with pytest.raises(ArchiveError, match="SSIDs that follow"):
        order.unseal(order.sign(replace(made, nonce=made.nonce.upper() + "g"), key), "o.json")


@settings(max_examples=50)
@given(st.binary(min_size=16, max_size=16), st.lists(st.text(min_size=1, max_size=8), unique=True, max_size=300))
def test_every_link_has_an_ssid_of_its_own(nonce: bytes, links: list[str]) -> None:
    found = order.ssids(nonce.hex(), links)
    assert list(found) == links
    assert len(set(found.values())) == len(links)
    assert all(0 < ssid < 65_536 for ssid in found.values())
    assert found == order.ssids(nonce.hex(), links)


def test_ssids_that_meet_are_drawn_again() -> None:
    links = [f"link-{number}" for number in range(3_000)]
    assert len(set(order.ssids("00" * 16, links).values())) == len(links)


def test_it_holds_for_its_days(bench: Bench, key: SigningKey) -> None:
    found = order.unseal(order.sign(drawn(bench), key), "o.json")
    found.check_window(NOW, NOW + HOUR)
    for first, last in ((NOW - 1, NOW), (NOW, NOW + HOUR + 1), (NOW + 2, NOW + 1)):
        with pytest.raises(OrderError, match="to work between 2026-09-21T14:13:20Z and 2026-09-21T15:13:20Z"):
            found.check_window(first, last)
    with pytest.raises(OrderError, match="ends after it begins"):
        order.draw(bench, read_policy("metro-2027"), STEPS, not_before_ns=NOW, not_after_ns=NOW)


def test_it_is_believed_by_whose_key_it_is(bench: Bench, key: SigningKey, tmp_path: Path) -> None:
    found = order.unseal(order.sign(drawn(bench), key), "o.json")
    found.check_trust(Trust("t", (TrustedKey(key.verifier),)), NOW)
    other = keys.create(tmp_path / "other.key", "head")
    with pytest.raises(OrderError, match=rf"by a key of t; found head\+{key.verifier.id}"):
        found.check_trust(Trust("t", (TrustedKey(other),)), NOW)


def test_the_bench_takes_its_ssids_and_must_be_the_one_ordered(bench: Bench, key: SigningKey) -> None:
    found = order.unseal(order.sign(drawn(bench), key), "o.json")
    tied = order.tie(found, bench, read_policy("metro-2027"))
    assert [link.ssid for link in tied.links] == [link.ssid for link in found.order.links]
    assert 0 not in [link.ssid for link in tied.links]
    with pytest.raises(OrderError, match="the bench file ring that order"):
        order.tie(found, parse(TEXT + "\n"), read_policy("metro-2027"))
    with pytest.raises(OrderError, match="the policy metro-2027 that order"):
        order.tie(found, bench, read_policy("metro-2027-rehearsal"))


def test_a_departure_from_what_was_ordered_is_named(bench: Bench, key: SigningKey) -> None:
    found = order.unseal(order.sign(drawn(bench), key), "o.json")
    planned = list(found.order.streams)
    assert order.departures(found, planned) == []
    short = replace(planned[0], stream=replace(planned[0].stream, duration_ns=10**9))
    (told,) = order.departures(found, [short, *planned[1:]])
    assert told.endswith("optical for T1-optical-owd on ab is not planned as ordered")


def test_a_run_carries_a_valid_order_and_no_other(bench: Bench, key: SigningKey, tmp_path: Path) -> None:
    path = tmp_path / "o.json"
    with pytest.raises(HarnessError, match="to read"):
        Run(bench, Options(tmp_path, order=path))
    order.write(path, drawn(bench), key)
    with pytest.raises(OrderError, match="to work between"):
        Run(bench, Options(tmp_path, order=path))  # that hour is over, or has yet to come
    path.unlink()
    made = replace(drawn(bench), not_before_ns=0, not_after_ns=1 << 62)
    order.write(path, made, key)
    run = Run(bench, Options(tmp_path, order=path))
    assert [link.ssid for link in run.bench.links] == [link.ssid for link in made.links]
    with pytest.raises(OrderError, match="the policy"):
        Run(bench, Options(tmp_path, order=path, policy=_edited(tmp_path)))


def _edited(folder: Path) -> str:
    path = folder / "metro.toml"
    path.write_text(read_policy("metro-2027") + "\n", encoding="utf-8")
    return str(path)


def test_the_command_writes_an_order_for_both_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ring.toml").write_text(TEXT, encoding="utf-8")
    keys.create(tmp_path / "head.key", "head")
    monkeypatch.chdir(tmp_path)
    words = ["order", "new", "ring.toml", "--out", "o.json", "--key", "head.key", "--plans", str(ROOT / "testplans")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    found = order.read(tmp_path / "o.json")
    assert f"nonce {found.order.nonce}" in done.output
    assert f"SSID {found.order.links[1].ssid}" in done.output
    assert found.order.not_after_ns - found.order.not_before_ns == order.HOURS * HOUR
    assert {each.requirement for each in found.order.streams} == {"T1-optical-owd", "service-owd-p999"}
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 4
    assert "choose another name" in again.output
