"""A far end's signed journal joins a sealed run: believed by its key, compared by the second, never hiding a FAIL."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.archive import bag, envelope, farjournal, keys, signature
from harness.archive.agreement import compare
from harness.archive.attach import attach
from harness.archive.farjournal import FarJournal, StampWriter, beside
from harness.archive.folder import RunFolder
from harness.archive.joining import AGREEMENT, FAR
from harness.archive.keys import SigningKey, Trust, TrustedKey
from harness.archive.stamps import RECORD, joined
from harness.archive.verify import Check, sound, verify
from harness.canonical import canonical, sha256
from harness.clock import ClockState
from harness.errors import ArchiveError, HarnessError
from harness.evidence import holdover
from harness.journal import Journal
from harness.measurement import Measurement
from harness.samples import KERNEL, MISSING, USER

TAI = 37
HERE = {"version": "1"}
Alter = Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    path = tmp_path_factory.mktemp("keys") / "far.key"
    keys.create(path, "far-site")
    return keys.load(path)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    path = tmp_path_factory.mktemp("keys") / "other.key"
    keys.create(path, "other-site")
    return keys.load(path)


@pytest.fixture(scope="module")
def trust(key: SigningKey) -> Trust:
    return Trust("trust.txt", (TrustedKey(key.verifier),))


def records(m: Measurement) -> np.ndarray[Any, Any]:
    """What the reflector noted of a measurement, in order of time; a last packet of each flow tells the last T3."""
    samples = m.samples
    parts = []
    for flow, port in enumerate(m.link.flow_ports):
        rows = np.flatnonzero((samples.flow == flow) & (samples.far_seq >= 0))
        n = rows.size
        part = np.zeros(n + 1, RECORD)
        part["session"], part["port"], part["ssid"] = flow, port, m.link.ssid
        part["address"] = np.frombuffer(b"\0" * 10 + b"\xff\xff" + bytes([10, 0, 0, 1]), "V16")[0]
        part["seq"][:n], part["far_seq"][:n] = samples.seq[rows], samples.far_seq[rows]
        part["t2"][:n], part["t3"][:n] = samples.t2[rows], samples.t3[rows] - 1_500
        part["seq"][n], part["far_seq"][n] = samples.seq.max() + 1, samples.far_seq[rows].max() + 1
        part["t2"][n] = samples.t2[rows].max() + 10**6
        part["t3"][n] = part["t2"][n] + 9_000
        part["told_t3"][0] = MISSING
        part["told_t3"][1:], part["told_seq"][1:] = samples.t3[rows], part["far_seq"][:n]
        part["told_source"][1:], part["t2_source"] = KERNEL, KERNEL
        parts.append(part)
    whole = np.concatenate(parts)
    return whole[np.argsort(whole["t2"], kind="stable")]


def keep(
    path: Path,
    found: Sequence[Measurement],
    key: SigningKey | None,
    *,
    states: Sequence[ClockState] = (),
    alter: Alter = lambda rows: rows,
    order: Mapping[str, str] | None = None,
    signed_ns: int | None = None,
) -> Path:
    """A far end's journal of measurements, as `millicert reflect --sign` writes it."""
    with Journal(path) as journal:
        journal.append(farjournal.START, address="10.0.0.2", port=862, tai_utc_s=TAI, order=order)
        stamps = StampWriter(journal)
        for m in found:
            rows = alter(records(m))
            for some in np.array_split(rows, 3):
                stamps.add(some.tobytes())
                stamps.write()
        stamps.close()
        journal.append(farjournal.STATE, counters={}, evidence=[asdict(s) for s in states], realtime_ns=0)
        journal.append(farjournal.END, reason="SIGINT")
    if key is not None:
        farjournal.seal(path, key, utc_ns=signed_ns)
    return path


@dataclass
class Desk:
    """A sealed run with what its far end keeps."""

    root: Path
    synthetic: ModuleType
    policy: str
    key: SigningKey
    trust: Trust
    plan: dict[str, Any] = field(default_factory=dict)
    count: int = 0

    def tell(self, **story: Any) -> Measurement:
        """A minute of 200 packets/s whose far end has no evidence that anyone here gathered."""
        told = {"seconds": 60, "rate_pps": 200, "flows": 2, "forward": 600_000, "backward": 600_000, "seed": 5}
        first = self.synthetic.Story(**told | story)
        start = self.synthetic.START - TAI * 10**9
        evidence = self.synthetic.polls(first, start, start + first.seconds * 10**9, sites=("a",))
        made: Measurement = self.synthetic.tell(replace(first, evidence=evidence))
        return made

    def evidence(self, m: Measurement, **more: Any) -> tuple[ClockState, ...]:
        """What chronyd at the far end said each second; the site is the far end's own word for itself."""
        state: dict[str, Any] = {
            "synchronised": True,
            "bound_ns": 1_000,
            "skew_ppb": 10,
            "tai_utc_s": 37,
            "leap_pending": False,
        }
        state |= {"identity": "", "raw": ""}
        every = range(m.health.started_ns - 10**9, m.health.ended_ns + 2 * 10**9, 10**9)
        return tuple(ClockState("far", "chrony", at, **(state | more)) for at in every)

    def run(self, *found: Measurement) -> Path:
        self.count += 1
        with RunFolder.create(
            self.root, True, self.plan, bench="", policy=self.policy, environment={"software": HERE},
            token=f"{self.count:06x}",
        ) as folder:  # fmt: skip
            for m in found:
                folder.store(m)
            folder.seal()
            return folder.path

    def attach(self, run: Path, *journals: Path, **more: Any) -> tuple[Path, dict[str, Any]]:
        path, result, _ = attach(run, journals, **{"trust": self.trust, "here": lambda: HERE, **more})
        return path, result


@pytest.fixture
def desk(tmp_path: Path, synthetic: ModuleType, key: SigningKey, trust: Trust) -> Desk:
    policy = Path(__file__).parents[3] / "harness/policies/metro-2027-rehearsal.toml"
    return Desk(tmp_path / "results", synthetic, policy.read_text(), key, trust)


def verdicts(result: Mapping[str, Any], basis: str = "clock") -> set[str]:
    """Of the optical floor's statements on one basis; the story has too few packets for a 99.9th percentile."""
    return {
        statement["verdict"]
        for requirement in result["requirements"]
        if requirement["id"] == "T1-optical-owd"
        for row in requirement["directions"]
        for statement in row["statements"]
        if statement["basis"] == basis
    }


def gates(result: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    return [each for each in result["gates"] if each["id"] == name]


def checked(path: Path, trust: Trust | None = None) -> list[Check]:
    return verify(path, here=lambda: HERE, trust=trust)


def details(checks: Sequence[Check], name: str, state: str) -> str:
    return "\n".join(each.detail for each in checks if each.name == name and each.state == state)


def octets(path: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in path.rglob("*") if p.is_file()}


def in_second(rows: np.ndarray[Any, Any], port: int, second: int) -> np.ndarray[Any, Any]:
    """Rows of a port whose T2 lies in a second of the run."""
    return np.flatnonzero((rows["port"] == port) & ((rows["t2"] - rows["t2"].min()) // 10**9 == second))


# --- believed ----------------------------------------------------------------------------------------------------


def test_a_trusted_journal_lets_the_clocks_decide_and_touches_nothing(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell()
    run = desk.run(m)
    before = octets(run)
    assert verdicts(json.loads((run / "data/result.json").read_text())) == {"INVALID"}
    journal = keep(tmp_path / "far.jsonl", [m], desk.key, states=desk.evidence(m))
    path, result = desk.attach(run, journal, reason="the far end's journal came by courier")
    assert path.name == f"{run.name}.attached-1"
    assert verdicts(result) == {"PASS"}
    assert [gate["state"] for gate in gates(result, "far-journal")] == ["green"]
    told = result["provenance"]["judged_again"]
    assert told["verdict_before"] == "INVALID" or told["verdict_before"] == "INDETERMINATE"
    assert told["attached"][0]["signer"] == desk.key.verifier.line
    assert {each["site"] for each in result["evidence"]} == {"a", "b"}
    assert octets(run) == before
    checks = checked(path)
    assert sound(checks), checks
    assert "12000 of 12000 replies" in details(checks, "far end", "ok")
    assert desk.attach(run, journal)[0].name == f"{run.name}.attached-2"


def test_lost_packets_and_late_stamps_are_no_disagreement(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell(lost_forward=np.arange(100, 200), lost_backward=np.arange(400, 520))
    samples = m.samples
    got = np.flatnonzero(samples.t2 != MISSING)[::7]
    # their Follow-Up never came: the near end has what stood in the reply itself
    t3, flags = samples.t3.copy(), samples.flags.copy()
    t3[got] -= 1_500
    flags[got] = flags[got] & ~np.int64(3 << 4) | USER << 4
    run = desk.run(replace(m, samples=replace(samples, t3=t3, flags=flags)))
    _, result = desk.attach(run, keep(tmp_path / "far.jsonl", [m], desk.key, states=desk.evidence(m)))
    told = result["provenance"]["judged_again"]["attached"][0]["measurements"]["m1"]
    assert (told["compared"], told["agreed"], told["differing"], told["missing"]) == (11_780, 11_780, 0, 0)


def test_trust_is_the_auditors(desk: Desk, tmp_path: Path, stranger: SigningKey) -> None:
    m = desk.tell(seconds=5)
    run = desk.run(m)
    path, _ = desk.attach(run, keep(tmp_path / "far.jsonl", [m], desk.key))
    signature.sign(path, stranger)
    both = Trust("both.txt", (*desk.trust.keys, TrustedKey(stranger.verifier)))
    assert sound(checked(path, both))
    only = Trust("one.txt", (TrustedKey(stranger.verifier),))
    assert "unknown key far-site" in details(checked(path, only), "far journal", "failed")
    assert "unknown key far-site" in details(checked(path), "far journal", "note")


# --- refused -----------------------------------------------------------------------------------------------------


def test_a_journal_nobody_vouches_for_is_information_only(desk: Desk, tmp_path: Path, stranger: SigningKey) -> None:
    m = desk.tell(seconds=5)
    run = desk.run(m)
    states = desk.evidence(m, leap_pending=True, identity="clock:12345678", synchronised=False)
    unsigned = keep(tmp_path / "unsigned.jsonl", [m], None, states=states)
    with pytest.raises(ArchiveError, match="no signature beside it"):
        desk.attach(run, unsigned)
    foreign = keep(tmp_path / "foreign.jsonl", [m], stranger, states=states)
    with pytest.raises(ArchiveError, match=r"other-site\+\w+, which trust\.txt does not list"):
        desk.attach(run, foreign)
    with pytest.raises(ArchiveError, match="no --trust"):
        desk.attach(run, keep(tmp_path / "own.jsonl", [m], desk.key, states=states), trust=None)
    day = datetime(2020, 1, 1, tzinfo=UTC).date()
    past = Trust("old.txt", (TrustedKey(desk.key.verifier, day, day + timedelta(days=1)),))
    with pytest.raises(ArchiveError, match="outside its days, valid from 2020-01-01 until 2020-01-02"):
        desk.attach(run, tmp_path / "own.jsonl", trust=past)
    for journal in (unsigned, foreign):
        path, result = desk.attach(run, journal, information_only=True, trust=None)
        first = json.loads((run / "data/result.json").read_text())
        assert (result["gates"], result["requirements"]) == (first["gates"], first["requirements"])
        assert {e["source"] for e in result["evidence"] if e["site"] == "b"} == {"information: chrony"}
        assert sound(checked(path))


def test_any_changed_octet_of_what_was_signed_is_refused(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell(seconds=2)
    run = desk.run(m)
    journal = keep(tmp_path / "far.jsonl", [m], desk.key, states=desk.evidence(m))
    draw = np.random.default_rng(20261122)
    for suffix in ("", farjournal.STAMPS_SUFFIX, farjournal.SIGNATURE_SUFFIX):
        place = beside(journal, suffix)
        whole = place.read_bytes()
        for offset in {0, len(whole) - 1, *draw.integers(len(whole), size=25).tolist()}:
            damaged = bytearray(whole)
            damaged[offset] ^= int(draw.integers(1, 256))
            place.write_bytes(damaged)
            with pytest.raises(ArchiveError, match=r"far\.jsonl"):
                desk.attach(run, journal)
        place.write_bytes(whole[:-1])
        with pytest.raises(ArchiveError, match=r"far\.jsonl"):
            desk.attach(run, journal)
        place.write_bytes(whole)
    beside(journal, farjournal.STAMPS_SUFFIX).unlink()
    with pytest.raises(ArchiveError, match=r"the stamps that far-site signed as far\.jsonl\.stamps; found none"):
        desk.attach(run, journal)
    beside(journal, farjournal.SIGNATURE_SUFFIX).unlink()
    with pytest.raises(ArchiveError, match=r"far\.jsonl\.stamps beside it"):
        desk.attach(run, journal, information_only=True)
    assert not list(run.parent.glob("*.attached-*"))


def test_a_journal_of_another_run_is_refused(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell(seconds=2)
    run = desk.run(m)
    ports = replace(m, link=replace(m.link, flow_ports=(30_000, 30_001)))
    with pytest.raises(ArchiveError, match="none of the run's 400 replies;"):
        desk.attach(run, keep(tmp_path / "ports.jsonl", [ports], desk.key, states=desk.evidence(m)))
    replayed = desk.tell(seconds=2, seed=6)  # same ports, same numbers, the same minute, other stamps
    with pytest.raises(ArchiveError, match="400 with the same numbers and other stamps"):
        desk.attach(run, keep(tmp_path / "old.jsonl", [replayed], desk.key, states=desk.evidence(m)))
    with pytest.raises(ArchiveError, match="a reflector's journal"):
        desk.attach(run, run / "data/journal.jsonl")
    assert not list(run.parent.glob("*.attached-*"))


def test_two_journals_of_one_far_end_are_refused_and_two_of_two_are_joined(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell(seconds=2)
    far = replace(m.link.far, name="c")
    link = replace(m.link, name="a-c", far=far, flow_ports=(31_000, 31_001))
    other = replace(desk.tell(seconds=2, seed=7), id="m2", link=link)
    run = desk.run(m, other)
    one = keep(tmp_path / "b.jsonl", [m], desk.key, states=desk.evidence(m))
    two = keep(tmp_path / "c.jsonl", [other], desk.key, states=desk.evidence(other))
    shutil.copytree(tmp_path, tmp_path / "copy", ignore=shutil.ignore_patterns("results", "copy"))
    with pytest.raises(ArchiveError, match="one journal of the far end of m1"):
        desk.attach(run, one, tmp_path / "copy" / "b.jsonl")
    path, result = desk.attach(run, one, two)
    assert {e["site"] for e in result["evidence"]} == {"a", "b", "c"}
    assert sound(checked(path))


def test_what_is_no_sealed_run_is_refused(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell(seconds=2)
    run = desk.run(m)
    journal = keep(tmp_path / "far.jsonl", [m], desk.key)
    path, _ = desk.attach(run, journal)
    with pytest.raises(ArchiveError, match="judge the run it names"):
        desk.attach(path, journal)
    (run / "data/result.json").write_bytes(b"{}")
    with pytest.raises(ArchiveError, match=r"data/result\.json altered"):
        desk.attach(run, journal)


# --- contradicted ------------------------------------------------------------------------------------------------


def lie(port: int, second: int, by: int) -> Alter:
    """A journal that has other T2 than the replies of one second had."""

    def alter(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        rows["t2"][in_second(rows, port, second)] += by
        return rows

    return alter


def test_a_second_of_other_stamps_is_named_and_voids_the_pass(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell()
    run = desk.run(m)
    journal = keep(
        tmp_path / "far.jsonl", [m], desk.key, states=desk.evidence(m), alter=lie(m.link.flow_ports[1], 17, 4_000)
    )
    path, result = desk.attach(run, journal)
    assert verdicts(result) == {"INVALID"}
    (gate,) = gates(result, "far-journal")
    assert gate["state"] == "red"
    assert gate["guards"] == ["clock"]
    assert "of 12000 replies 100 with other stamps" in gate["found"]
    checks = checked(path)
    assert sound(checks)  # the folder is what it says it is: it says that the ends disagree
    named = details(checks, "far end", "note")
    assert "m1: port 20001 at 2027-01-15T07:59:" in named
    assert "differ by up to 4 µs, first packet 17" in named
    listed = json.loads((path / AGREEMENT).read_text())["journals"][0]
    assert {each["port"] for each in listed} == {20_001}
    assert sum(each["differing"] for each in listed) == 100


def test_missing_seconds_are_named_and_void_the_pass(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell()
    run = desk.run(m)

    def forget(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        gone = [*in_second(rows, 20_000, 9), *in_second(rows, 20_001, 9)]
        return np.delete(rows, gone)

    path, result = desk.attach(run, keep(tmp_path / "far.jsonl", [m], desk.key, states=desk.evidence(m), alter=forget))
    assert verdicts(result) == {"INVALID"}
    assert "200 not in it" in gates(result, "far-journal")[0]["found"]
    assert "are not in the journal, first packet" in details(checked(path), "far end", "note")


def test_a_reply_to_another_packet_is_not_this_one(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell(seconds=5)

    def renumber(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        rows["seq"][np.flatnonzero(rows["port"] == 20_000)[100:200]] += 1
        return rows

    _, result = desk.attach(desk.run(m), keep(tmp_path / "far.jsonl", [m], desk.key, alter=renumber))
    assert gates(result, "far-journal")[0]["found"] == (
        "of 1000 replies 0 with other stamps in the far end's journal, 100 not in it"
    )


def test_a_contradicted_journal_hides_no_fail(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell(forward=1_500_000, backward=1_500_000)
    run = desk.run(m)
    states = desk.evidence(m)
    _, honest = desk.attach(run, keep(tmp_path / "far.jsonl", [m], desk.key, states=states))
    assert verdicts(honest) == {"FAIL"}
    lying = keep(tmp_path / "lie.jsonl", [m], desk.key, states=states, alter=lie(20_000, 3, -50_000))
    _, result = desk.attach(run, lying)
    assert gates(result, "far-journal")[0]["state"] == "red"
    assert result["verdict"] == "FAIL"
    assert verdicts(result) == {"FAIL"}


def test_where_a_turnaround_is_subtracted_the_round_trip_rests_on_the_stamps_too(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell(forward=300_000, backward=300_000, qualified="Q-7", cap=100_000, key_file="link.key")
    run = desk.run(m)
    assert verdicts(json.loads((run / "data/result.json").read_text()), "clock-free") == {"PASS"}
    _, result = desk.attach(run, keep(tmp_path / "far.jsonl", [m], desk.key, alter=lie(20_000, 3, 1)))
    assert gates(result, "far-journal")[0]["guards"] == ["clock", "clock-free"]
    assert verdicts(result, "clock-free") == {"INVALID"}


def test_a_far_clock_that_denies_synchronisation_is_no_clock(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell()
    run = desk.run(m)
    states = list(desk.evidence(m))
    states[30] = replace(states[30], synchronised=False)
    path, result = desk.attach(run, keep(tmp_path / "far.jsonl", [m], desk.key, states=states))
    assert verdicts(result) == {"INVALID"}
    assert any("chrony says: not synchronised" in gate["found"] for gate in result["gates"])
    assert sound(checked(path))


def test_a_far_clock_half_a_second_off_cannot_say_when(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell(offset=900_000_000)
    run = desk.run(m)
    path, result = desk.attach(run, keep(tmp_path / "far.jsonl", [m], desk.key, states=desk.evidence(m)))
    told = result["provenance"]["judged_again"]["attached"][0]
    assert "cannot be placed in the run" in told["evidence_refused"]
    assert {e["source"] for e in result["evidence"] if e["site"] == "b"} == {"information: chrony"}
    assert "cannot be placed in the run" in details(checked(path), "far end", "note")


# --- verified ----------------------------------------------------------------------------------------------------


def forge(path: Path) -> None:
    """Write manifests that fit whatever is there."""
    date = dict(line.split(": ") for line in (path / "bag-info.txt").read_text().splitlines())["Bagging-Date"]
    bag.seal(path, path.name, date)


def test_a_forged_folder_is_found_out(desk: Desk, tmp_path: Path, stranger: SigningKey) -> None:
    m = desk.tell(seconds=5)
    run = desk.run(m)
    journal = keep(
        tmp_path / "far.jsonl", [m], stranger, states=desk.evidence(m), alter=lie(m.link.flow_ports[0], 1, 9)
    )
    path, _ = desk.attach(run, journal, information_only=True)

    def forged(name: str, change: Callable[[Any], None]) -> list[Check]:
        whole = (path / name).read_bytes()
        said = json.loads(whole)
        change(said)
        (path / name).write_bytes(canonical(said))
        forge(path)
        checks = checked(path, desk.trust)
        (path / name).write_bytes(whole)
        forge(path)
        return checks

    original = "data/original.json"
    admitted = forged(original, lambda said: said["attached"][0].update(admitted=True))
    assert "unknown key other-site" in details(admitted, "far journal", "failed")
    assert details(admitted, "result", "failed")
    fewer = forged(original, lambda said: said["attached"][0]["measurements"]["m1"].update(differing=0))
    assert "what the journals say" in details(fewer, "result", "failed")
    silent = forged(AGREEMENT, lambda said: said.update(journals=[[]]))
    assert "disagreements" in details(silent, "result", "failed")
    dropped = forged(original, lambda said: said.update(attached=[]))
    assert not sound(dropped)
    place = path / FAR / "0" / "journal.jsonl.stamps"
    damaged = bytearray(place.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    place.write_bytes(damaged)
    forge(path)
    assert not sound(checked(path))
    assert "the stamps that other-site signed" in details(checked(path), "result", "failed")


# --- closed later ----------------------------------------------------------------------------------------------

OPEN = """
[clock]
id = "Rb 7"
oscillator = "rubidium"
moved = false
[behaviour]
drift_per_day = 1e-12
allan = [{tau_s = 100, deviation = 3e-12}, {tau_s = 10000, deviation = 4e-13}, {tau_s = 100000, deviation = 1e-12}]
environment_ns = 15
rate_ppb = 1
origin = "certificate 4712"
[before]
at = 2027-01-15T07:00:00Z
offset_ns = -20
half_width_ns = 8
reference = "GNSS receiver 7"
reference_ns = 40
reference_origin = "ITU-T G.8272 PRTC-B"
instrument = "53230A"
serial = "MY50000001"
by = "first shift"
"""
AFTER = """
[after]
at = 2027-01-15T09:00:00Z
offset_ns = 60
half_width_ns = 5
reference = "GNSS receiver 7"
reference_ns = 44
reference_origin = "ITU-T G.8272 PRTC-B"
instrument = "53230A"
serial = "MY50000001"
by = "first shift"
untouched = "the front panel's seal is whole"
"""


def test_a_clock_that_was_closed_after_the_run_lets_the_clocks_decide(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell()
    instants = [state.at_ns for state in desk.evidence(m)]
    waiting = holdover.states("b", holdover.parse(OPEN, "rb7.toml"), instants)
    m = replace(m, evidence=(*m.evidence, *waiting))
    run = desk.run(m)
    before = octets(run)
    record = tmp_path / "rb7.toml"
    record.write_text(OPEN, encoding="utf-8")
    with pytest.raises(HarnessError, match="a closed record"):
        desk.attach(run, closures=[record])
    record.write_text(OPEN.replace("offset_ns = -20", "offset_ns = -21") + AFTER, encoding="utf-8")
    with pytest.raises(HarnessError, match="the record whose first part has"):
        desk.attach(run, closures=[record])
    record.write_text(OPEN + AFTER, encoding="utf-8")
    with pytest.raises(HarnessError, match="none in the run's evidence"):
        desk.attach(desk.run(desk.tell(seconds=2)), closures=[record])
    with pytest.raises(ArchiveError, match="neither"):
        desk.attach(run)
    path, result = desk.attach(run, closures=[record])
    assert verdicts(result) == {"PASS"}
    assert result["provenance"]["judged_again"]["closures"][0]["polls"] == {"m1 b": len(instants)}
    assert octets(run) == before
    assert sound(checked(path)), checked(path)
    place = path / "data/closures/0.toml"
    place.write_text(place.read_text().replace("half_width_ns = 5", "half_width_ns = 4"))
    forge(path)
    assert "what the closure records say" in details(checked(path), "result", "failed")


# --- tied by an order --------------------------------------------------------------------------------------------


def ordered(m: Measurement, key: SigningKey, nonce: str, *, hours: int = 1) -> dict[str, str]:
    """An order as plan.json holds it."""
    window = {
        "not_before_ns": str(m.health.started_ns - 10**9),
        "not_after_ns": str(m.health.started_ns + hours * 3600 * 10**9),
    }
    body = canonical({"nonce": nonce, **window})
    text = envelope.close(envelope.ORDER, body, key).decode()
    return {"id": sha256(body), "nonce": nonce, "signer": key.verifier.line, "envelope": text}


def told(order: Mapping[str, str]) -> dict[str, str]:
    return {name: order[name] for name in ("id", "nonce", "signer")}


def test_an_order_ties_journal_and_run(desk: Desk, tmp_path: Path, stranger: SigningKey) -> None:
    m = desk.tell(seconds=2)
    order, other = (ordered(m, desk.key, nonce * 16) for nonce in ("a1", "b2"))
    desk.plan = {"order": order}
    run = desk.run(m)
    path, result = desk.attach(run, keep(tmp_path / "far.jsonl", [m], desk.key, order=told(order)))
    assert result["provenance"]["judged_again"]["attached"][0]["order"] == order["id"]
    assert sound(checked(path))
    with pytest.raises(ArchiveError, match="found order"):
        desk.attach(run, keep(tmp_path / "other.jsonl", [m], desk.key, order=told(other)))
    with pytest.raises(ArchiveError, match="found no order"):
        desk.attach(run, keep(tmp_path / "none.jsonl", [m], desk.key))
    desk.plan = {}
    with pytest.raises(ArchiveError, match=r"run's own order, no order; found order"):
        desk.attach(desk.run(m), tmp_path / "far.jsonl")
    # under an order the sessions are the run's, so a far end that contradicts every reply is no stranger
    wholly = keep(tmp_path / "lie.jsonl", [m], desk.key, order=told(order), alter=lambda rows: _shifted(rows, 70))
    _, result = desk.attach(run, wholly)
    assert "400 with other stamps" in gates(result, "far-journal")[0]["found"]


def _shifted(rows: np.ndarray[Any, Any], by: int) -> np.ndarray[Any, Any]:
    rows["t2"] += by
    return rows


def test_an_order_that_did_not_hold_or_was_altered_ties_nothing(desk: Desk, tmp_path: Path) -> None:
    m = desk.tell(seconds=2)
    late = ordered(m, desk.key, "c3" * 16, hours=0)
    desk.plan = {"order": late}
    with pytest.raises(ArchiveError, match="while their order held; found m1 outside it"):
        desk.attach(desk.run(m), keep(tmp_path / "late.jsonl", [m], desk.key, order=told(late)))
    order = ordered(m, desk.key, "d4" * 16)
    desk.plan = {"order": {**order, "envelope": order["envelope"].replace('"sig":"', '"sig":"A', 1)}}
    journal = keep(tmp_path / "far.jsonl", [m], desk.key, order=told(order))
    with pytest.raises(ArchiveError, match=r"the order in data/plan\.json"):
        desk.attach(desk.run(m), journal)
    desk.plan = {"order": {**late, **told(order)}}
    with pytest.raises(ArchiveError, match="another in its envelope"):
        desk.attach(desk.run(m), journal)


# --- pure --------------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(
    differing=st.sets(st.integers(0, 799), max_size=20),
    gone=st.sets(st.integers(0, 799), max_size=20),
    by=st.integers(-(10**9), 10**9).filter(bool),
    third=st.booleans(),
)
def test_exactly_the_replies_that_differ_are_named(
    differing: set[int],
    gone: set[int],
    by: int,
    third: bool,
    synthetic: ModuleType,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    m: Measurement = synthetic.tell(synthetic.Story(seconds=4, rate_pps=200, flows=2))
    rows = records(m)
    order = {(int(r["port"]), int(r["seq"])): i for i, r in enumerate(rows)}
    at = [order[20_000 + n % 2, n // 2] for n in range(800)]
    differing -= gone
    for n in differing:
        if third:  # what the next reply of the flow told of it
            rows["told_t3"][order[20_000 + n % 2, n // 2 + 1]] += by
        else:
            rows["t2"][at[n]] += by
    # a reply that is gone cannot tell of the one before it either
    silenced = {n - 2 for n in gone if n >= 2} - gone
    kept = np.delete(rows, [at[n] for n in gone])
    path = tmp_path_factory.mktemp("far") / "far.jsonl"
    with Journal(path) as journal:
        journal.append(farjournal.START, tai_utc_s=TAI)
        stamps = StampWriter(journal)
        stamps.add(kept.tobytes())
        stamps.write()
        stamps.close()
    far: FarJournal = farjournal.load(path)
    found = compare(m, far.rows(int(m.samples.t2.min()), int(m.samples.t2.max())), far.sessions, TAI)
    assert found.compared == 800
    assert found.missing == len(gone)
    assert found.differing == len(differing | silenced)
    assert sum(each.missing for each in found.disagreements) == found.missing
    assert sum(each.differing for each in found.disagreements) == found.differing
    first = int(m.samples.t1[0]) // 10**9 - TAI
    seconds = {(20_000 + n % 2, first + (n * 5_000_000) // 10**9) for n in differing | silenced | gone}
    assert {(each.port, each.utc_s) for each in found.disagreements} == seconds
    low, high = found.offset_ns
    assert low <= 0 <= high  # the story's clocks agree


def test_offsets_are_bounded_by_causality(synthetic: ModuleType) -> None:
    for offset in (-(10**10), -5, 0, 123_456):
        m: Measurement = synthetic.tell(synthetic.Story(seconds=1, rate_pps=200, flows=2, offset=offset))
        low, high = compare(m, joined([]), (), TAI).offset_ns
        assert low <= offset <= high
        assert high - low < 700_000
