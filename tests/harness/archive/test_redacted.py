"""A redacted report: hides what it should, keeps what decides, and still ties to what was signed and logged."""

from __future__ import annotations

import base64
import copy
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.archive import bag, history, keys, log, outcome, record, redacted, redaction, signature
from harness.archive.attach import attach
from harness.archive.folder import REDACTED, REDACTION, RESULT, RunFolder, secret
from harness.archive.keys import Trust
from harness.archive.ledger import LOGGED
from harness.archive.redacting import redact
from harness.archive.verify import Check, judge_again, standing, verify
from harness.bench import load
from harness.canonical import canonical
from harness.cli import _render, app
from harness.errors import ArchiveError
from harness.gates import text
from harness.link import Link
from harness.plan import Step
from harness.report import pdf
from harness.report.longtable import longtable
from harness.run import Options, Run
from harness.stream import Stream

ROOT = Path(__file__).parents[3]
POLICY = (ROOT / "harness" / "policies" / "metro-2027.toml").read_text(encoding="utf-8")
SECRET = bytes(range(32))
ORIGIN = "route register 东湖 2026-03"
PLACES = ("30.506", "114.399", "39.795", "116.506")


def a_link(link: Link, *, surveyed: bool = True) -> Link:
    """The kit's link with everything that can tell where it is."""
    near = replace(link.near, position_origin="cadastre 7" if surveyed else "")
    far = replace(link.far, position=("39.795", "116.506"), position_origin="cadastre 7" if surveyed else "")
    route = replace(link.route, length_m=58_321, origin=ORIGIN) if link.route else None
    endpoint = replace(link.endpoint, near_address="10.71.0.1", far_address="10.71.0.2", interface="enp7s0f1")
    return replace(
        link, near=near, far=far, endpoint=endpoint, route=route, geodesic_m=51_437, oxcs=("oxc-donghu-1",),
        far_turnaround_qualified="qual-7", key_file="k", turnaround_cap_ns=20_000,
    )  # fmt: skip


@dataclass(frozen=True)
class Desk:
    """A sealed, signed, logged run; tests change copies of it."""

    run: Path
    trust: Trust

    def copy(self, to: Path, *, log_too: bool = True) -> Desk:
        """The run under ``to``, with its log or without."""
        to.mkdir(parents=True)
        shutil.copytree(self.run, to / self.run.name)
        if log_too:
            shutil.copytree(self.run.parent / "log", to / "log")
        return Desk(to / self.run.name, self.trust)


def plan(**more: Any) -> dict[str, Any]:
    """A plan whose free texts give away what the bench declares."""
    return {
        "provenance": {
            "operator": "nobody",
            "machine": {"host": "probe-donghu-1", "kernel": "6.1", "cpu": "x"},
            "deviations": ["far end moved from 10.71.0.2 an hour before", "it rained"],
            "lab": {"name": "Lab", "location": "116.506 E"},
            "links": ["a-b"],
            **more,
        }
    }


def sealed(root: Path, kit: Any, *, secret: bytes | None = SECRET, surveyed: bool = True) -> Path:
    """A sealed and logged run under ``root``."""
    book = log.Log.of(root, True)
    made = RunFolder.create(root, True, plan(), bench="# 58321 m\n", policy=POLICY, secret=secret)
    with made as folder:
        committed = folder.ledger.committed
        hashes = {name: committed[f"data/{name}"] for name in ("plan.json", "policy.toml", "bench.toml")}
        found = book.plan(
            folder.name, history.item("b", ["a-b"], ["r"]), plan_sha256=hashes["plan.json"],
            policy_sha256=hashes["policy.toml"], bench_sha256=hashes["bench.toml"],
        )  # fmt: skip
        folder.journal.append(LOGGED, **log.told(found, 0))
        measured = kit.a_measurement("m1", calibrated=False)
        states = tuple(replace(s, identity="clock:0c42a1fffe7b6d55") for s in measured.evidence)
        folder.store(replace(measured, link=a_link(measured.link, surveyed=surveyed), evidence=states))
        folder.seal()
    record.sealed(book, folder.path)
    return folder.path


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, kit: Any) -> Desk:
    root = tmp_path_factory.mktemp("desk")
    key = keys.create(root / "key", "lab.example.org")
    run = sealed(root / "results", kit)
    signature.sign(run, keys.load(root / "key"))
    (root / "trust").write_text(f"{key.line}\n")
    return Desk(run, keys.read_trust(root / "trust"))


def octets(result: Any, octets: bytes) -> bytes:
    """In place of a report, where a test does not look at it."""
    return json.dumps(result, ensure_ascii=False).encode() + octets


@pytest.fixture(scope="module")
def handed_out(desk: Desk, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The redacted folder alone, with its real report."""
    return redact(desk.run, lambda shown, data: _render((), shown, data), out=tmp_path_factory.mktemp("out") / "given")


def rows(path: Path, trust: Trust | None = None, **more: Any) -> dict[str, Check]:
    return {check.name: check for check in verify(path, trust=trust, **more)}


def result_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / RESULT).read_bytes())
    return found


# -- what is hidden ----------------------------------------------------------------------------------------------


def everything(path: Path) -> Iterator[tuple[str, str]]:
    """Every octet that is handed out, as text; the report as poppler reads it, envelopes opened."""
    for file in sorted(path.rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            yield file.name, data.decode("utf-8", "replace")
            if file.name.endswith(".dsse.json"):
                yield f"{file.name} payload", base64.b64decode(json.loads(data)["payload"]).decode()
    if shutil.which("pdftotext"):
        done = subprocess.run(["pdftotext", "-layout", path / redacted.REPORT, "-"], capture_output=True, check=True)
        yield "report text", done.stdout.decode()


def telling(run: Path, link: Link, *, surveyed: bool = True) -> set[str]:
    """Texts that tell where the link is or how long: declared ones, and every figure made of them.

    Where nobody answers for the positions, no floor is in what the round trip gives.
    """
    route, geodesic = int(link.route.flight) if link.route else 0, int(link.geodesic_floor or 0)
    words = {*PLACES, ORIGIN, "cadastre", "10.71.0.1", "10.71.0.2", "enp7s0f1", "oxc-donghu-1", "probe-donghu-1"}
    words |= {"58321", "58 321", "51437", "51 437", "0c42a1fffe7b6d55", "qual-7", SECRET.hex()}
    for floor_ps in (route, geodesic):
        for ps in (floor_ps, 2 * floor_ps):
            words |= {str(ps), str(ps // 1000), text(ps // 1000).removesuffix(" µs"), f"{ps // 1000 / 1000:.3f}"}
    for requirement in result_of(run)["requirements"]:
        for way in requirement["directions"]:
            words |= {str(way["largest_unseen_clock_error_ns"])} - {"None"}
            if surveyed:
                words |= {str(number) for number in way["clock_offset_ns"]}
                words |= {str(s[k]) for s in way["statements"][1:] for k in ("estimate_ns", "upper_ns") if s[k]}
    return words


def test_no_octet_tells_where_the_link_is_or_how_long(desk: Desk, handed_out: Path, kit: Any) -> None:
    secrets = telling(desk.run, a_link(kit.a_measurement().link))
    assert len(secrets) > 25
    assert all(any(word in told for _, told in everything(desk.run)) for word in ("58321", "10.71.0.2", ORIGIN))
    found = [(name, word) for name, told in everything(handed_out) for word in secrets if word in told]
    assert found == []


def test_a_length_that_nobody_surveyed_is_hidden_too(tmp_path: Path, kit: Any) -> None:
    run = sealed(tmp_path, kit, surveyed=False)
    made = redact(run, octets)
    link = a_link(kit.a_measurement().link, surveyed=False)
    secrets = telling(run, link, surveyed=False)
    assert [(name, word) for name, told in everything_but_pdf(made) for word in secrets if word in told] == []
    # without a reverse floor the clock-free figures are round trips and stay
    assert _figures(run) == _figures(made) != set()


def everything_but_pdf(path: Path) -> Iterator[tuple[str, str]]:
    return ((f.name, f.read_bytes().decode()) for f in sorted(path.rglob("*")) if f.is_file())


def _figures(path: Path) -> set[str]:
    ways = [way for r in result_of(path)["requirements"] for way in r["directions"]]
    return {str(s[k]) for way in ways for s in way["statements"][1:] for k in ("estimate_ns", "upper_ns") if s[k]}


def test_verdicts_uncertainties_and_gates_stay(desk: Desk, handed_out: Path) -> None:
    whole, shown = result_of(desk.run), result_of(handed_out)
    assert shown["verdict"] == whole["verdict"]
    assert [b["U_ps"] for b in shown["budgets"]] == [b["U_ps"] for b in whole["budgets"]]
    assert [(g["id"], g["state"]) for g in shown["gates"]] == [(g["id"], g["state"]) for g in whole["gates"]]
    floors = [g for g in shown["gates"] if g["id"] in {"floor", "round-trip-floor"}]
    assert len(floors) == 3
    assert all(redaction.is_mark(g[key]) for g in floors for key in ("found", "limit"))
    for r, s in zip(whole["requirements"], shown["requirements"], strict=True):
        for a, b in zip(r["directions"], s["directions"], strict=True):
            assert (a["verdict"], a["flows"], a["loss"]) == (b["verdict"], b["flows"], b["loss"])
            assert [x["U_ps"] for x in a["statements"]] == [x["U_ps"] for x in b["statements"]]
            assert a["statements"][0]["upper_ns"] == b["statements"][0]["upper_ns"]


def test_a_free_text_is_hidden_where_it_tells_and_shown_where_not(handed_out: Path) -> None:
    told = result_of(handed_out)["provenance"]["deviations"]
    assert redaction.is_mark(told[0])
    assert told[1] == "it rained"


@pytest.mark.parametrize(
    "address", ["192.0.2.7", "2001:db8:0:1::9", "fe80::1", "00:1b:21:aa:bb:cc", "001b21.fffe.aabbcc"]
)
def test_an_address_that_no_link_declares_is_hidden_in_free_text(address: str) -> None:
    texts = [f"asked {address}, no answer", "at 14:13:20Z, 412.634 µs", "testplans/test_30.py::test_link"]
    found: Any = redaction.redacted({"incomplete_reasons": texts}, SECRET)["incomplete_reasons"]
    assert [redaction.is_mark(each) for each in found] == [True, False, False]


def test_what_a_later_version_adds_is_hidden_until_it_is_listed(desk: Desk) -> None:
    whole = result_of(desk.run) | {"coordinates": ["30.506"]}
    whole["links"][0]["trench"] = {"depth": 3}
    found: Any = redaction.redacted(whole, SECRET)
    assert redaction.is_mark(found["coordinates"])
    assert redaction.is_mark(found["links"][0]["trench"])


def test_every_page_says_that_it_is_redacted_and_what_is_simulated_still_says_so(handed_out: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is missing (Debian: poppler-utils)")
    done = subprocess.run(["pdftotext", "-layout", handed_out / redacted.REPORT, "-"], capture_output=True, check=True)
    pages = done.stdout.decode().split("\f")[:-1]
    assert len(pages) >= 2
    assert all("REDACTED" in page and "已遮盖" in page for page in pages)
    assert all("SIMULATED, NOT A CERTIFICATE" in page for page in pages)


def test_two_equal_values_have_marks_that_nobody_can_match(handed_out: Path, desk: Desk) -> None:
    shown = result_of(handed_out)
    marks = [redaction.at(shown, path)["sha256"] for path in redaction.marks(shown)]
    assert len(marks) == len(set(marks)) > 20
    # Whoever knows all but one number cannot try them all: the whole result is blinded, too.
    assert len(result_of(desk.run)["provenance"]["blind"]) == 64


# -- what can be checked -------------------------------------------------------------------------------------------


def test_alone_it_is_attested_and_does_not_read_as_verified(handed_out: Path, desk: Desk) -> None:
    checks = verify(handed_out, trust=desk.trust)
    found = {check.name: check.state for check in checks}
    assert standing(checks) == "attested"
    assert found["signature"] == found["anchor"] == "ok"
    assert (found["log"], found["checkpoint"]) == ("ok", "note")
    assert found["result"] == "not-checked"
    done = CliRunner().invoke(app, ["verify", str(handed_out), "--trust", str(desk.trust.where)])
    assert done.exit_code == 11
    assert "ATTESTED, NOT RECOMPUTED" in done.stdout
    assert "\nVERIFIED" not in done.stdout


@pytest.mark.parametrize("level", [0, 1])
def test_who_did_not_look_for_what_fixes_it_has_nothing_attested(handed_out: Path, desk: Desk, level: int) -> None:
    assert standing(verify(handed_out, trust=desk.trust, level=level)) == "not-verified"


def test_without_a_key_or_a_log_that_one_trusts_it_is_not_even_attested(handed_out: Path) -> None:
    checks = verify(handed_out)
    assert standing(checks) == "not-verified"
    assert {c.name for c in checks if c.state == "not-checked"} == {"anchor", "result"}


def test_a_log_that_nobody_signed_is_not_enough_for_its_sender_may_have_written_it(desk: Desk, tmp_path: Path) -> None:
    here = desk.copy(tmp_path / "r")
    made = redact(here.run, octets)
    shutil.rmtree(here.run)
    assert rows(made)["log"].state == "ok"
    assert rows(made)["anchor"].state == "not-checked"
    assert standing(verify(made)) == "not-verified"


def test_a_proof_under_a_trusted_key_is_enough(tmp_path: Path, kit: Any) -> None:
    key = keys.create(tmp_path / "key", "lab.example.org")
    log.Log.create(tmp_path / "results" / "simulated" / "log", True, key_file=tmp_path / "key")
    made = redact(sealed(tmp_path / "results", kit), octets, out=tmp_path / "given")
    (tmp_path / "trust").write_text(f"{key.line}\n")
    found = rows(made, keys.read_trust(tmp_path / "trust"))
    assert {found[name].state for name in ("log", "checkpoint", "anchor")} == {"ok"}
    assert standing(list(found.values())) == "attested"
    # another's key answers for nothing
    keys.create(tmp_path / "other", "x.example.org")
    found = rows(made, keys.read_trust(tmp_path / "other.pub"))
    assert standing(list(found.values())) == "not-verified"


def test_beside_the_run_it_is_verified_value_by_value_and_recomputed(desk: Desk, tmp_path: Path) -> None:
    made = redact(desk.copy(tmp_path / "r").run, lambda shown, data: _render((), shown, data))
    checks = verify(made, trust=desk.trust, level=5, render=_render)
    found = {check.name: check for check in checks}
    assert standing(checks) == "verified", [c for c in checks if c.state not in {"ok", "note"}]
    assert {found[name].state for name in ("original", "redaction", "result", "report")} == {"ok"}


def test_the_run_itself_says_that_its_redaction_is_sound(desk: Desk) -> None:
    found = rows(desk.run, desk.trust)
    assert found["redaction"].state == "ok"
    assert standing(list(found.values())) == "verified"


def test_a_single_value_can_be_shown_later_and_checked(desk: Desk, tmp_path: Path) -> None:
    made = redact(desk.run, octets, out=tmp_path / "a", reveal=["$.links[0].route.length_m", "links[0].near_address"])
    found = redacted.load(made)
    assert {each.path: each.value for each in found.openings} == {
        "$.links[0].route.length_m": 58_321,
        "$.links[0].near_address": "10.71.0.1",
    }
    assert found.readable["links"][0]["route"] == {
        "length_m": 58_321, "group_index_ppm": None, "u_ps": None, "origin": redaction.HIDDEN,
        "withheld": ["group_index_ppm", "u_ps"],
    }  # fmt: skip
    assert rows(made, desk.trust)["redacted"].state == "ok"
    assert (made / RESULT).read_bytes() == (desk.run / REDACTED).read_bytes()
    # the salts of what is shown open nothing else
    own = next(each.salt for each in found.openings if each.path.endswith("length_m"))
    assert not redaction.Opening("$.links[0].geodesic_m", own, 51_437).opens(found.result)


def test_a_revealed_value_that_is_another_is_found(desk: Desk, tmp_path: Path) -> None:
    made = redact(desk.run, octets, out=tmp_path / "a", reveal=["links[0].route.length_m"])
    told = json.loads((made / redacted.REVEALED).read_bytes())
    told["values"][0]["value"] = 1_000
    reseal(made, redacted.REVEALED, canonical(told))
    assert "not the value hidden there" in rows(made, desk.trust)["redacted"].detail
    assert standing(verify(made, trust=desk.trust)) == "not-verified"


def reseal(path: Path, name: str, data: bytes) -> None:
    """Change a file and make the bag whole again, as a forger would."""
    (path / name).write_bytes(data)
    lines = (path / bag.INFORMATION).read_text().splitlines()
    date = next(line.partition(": ")[2] for line in lines if line.startswith("Bagging-Date"))
    for tag in (bag.MANIFEST, bag.TAG_MANIFEST):
        (path / tag).unlink()
    bag.seal(path, path.name, date)


def test_a_forged_verdict_is_found_by_signature_and_log_without_the_run(desk: Desk, tmp_path: Path) -> None:
    made = redact(desk.copy(tmp_path / "r").run, octets, out=tmp_path / "r" / "given")
    shutil.rmtree(tmp_path / "r" / desk.run.name)
    shown = result_of(made)
    assert shown["verdict"] != "PASS"
    reseal(made, RESULT, canonical(shown | {"verdict": "PASS"}))
    found = rows(made, desk.trust)
    assert found["bag"].state == "ok"
    assert found["signature"].state == found["log"].state == "failed"
    assert standing(verify(made, trust=desk.trust)) == "not-verified"


def test_a_redaction_of_another_run_is_found_beside_it(desk: Desk, tmp_path: Path, kit: Any) -> None:
    here = desk.copy(tmp_path / "r")
    made = redact(here.run, octets)
    shown = result_of(made)
    shown["links"][0]["far_address"]["sha256"] = "ab" * 32
    reseal(made, RESULT, canonical(shown))
    assert "far_address hides another value" in rows(made)["redaction"].detail
    assert standing(verify(made)) == "not-verified"


# -- refusals --------------------------------------------------------------------------------------------------------


def refused(path: Path, words: str, **more: Any) -> None:
    before = sorted(path.parent.iterdir())
    with pytest.raises(ArchiveError, match=words):
        redact(path, octets, **more)
    assert sorted(path.parent.iterdir()) == before


def test_what_cannot_be_redacted_is_refused_and_leaves_nothing(desk: Desk, tmp_path: Path, kit: Any) -> None:
    here = desk.copy(tmp_path / "r").run
    made = redact(here, octets)
    refused(made, "redacted already")
    again, _ = judge_again(here, POLICY)
    refused(again, "later judgement")
    refused(sealed(tmp_path / "older", kit, secret=None), "older than redaction")
    refused(here, "a hidden value at verdict", reveal=["verdict"])
    refused(here, "a path such as", reveal=["links[0"])
    refused(here, "outside of", out=here / "data" / "x")
    refused(here, "which is there", out=made)
    (here / "data" / "plan.json").write_bytes(b"{}")
    refused(here, r"plan\.json altered")


def test_a_redaction_that_is_not_the_runs_is_refused(desk: Desk, tmp_path: Path) -> None:
    here = desk.copy(tmp_path / "r").run
    shown = json.loads((here / REDACTED).read_bytes())
    shown["links"][0]["name"] = "other"
    reseal(here, REDACTED, canonical(shown))
    with pytest.raises(ArchiveError, match=r"links\[0\]\.name differs"):
        redact(here, octets)
    assert rows(here)["redaction"].state == "failed"


def test_a_redacted_folder_is_neither_judged_nor_attached_to(handed_out: Path) -> None:
    with pytest.raises(ArchiveError):
        judge_again(handed_out, POLICY)
    with pytest.raises(ArchiveError):
        attach(handed_out, [handed_out / RESULT])


def test_the_command_says_what_to_type_next(desk: Desk, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["redact", str(desk.run), "--out", str(tmp_path / "given")])
    assert done.exit_code == 0, done.stdout
    assert "millicert verify" in done.stdout
    assert "UNSIGNED" not in done.stdout
    assert not (tmp_path / "given" / REDACTION).exists()
    assert CliRunner().invoke(app, ["redact", str(tmp_path / "given")]).exit_code == 4


def test_a_redacted_folder_is_exported_as_its_readers_see_it(handed_out: Path) -> None:
    table = longtable(outcome.read(handed_out).result, {}).decode()
    assert redaction.HIDDEN in table
    assert "probe-donghu-1" not in table


def test_a_redacted_folder_can_be_signed_itself(desk: Desk, tmp_path: Path) -> None:
    made = redact(desk.run, octets, out=tmp_path / "given")
    keys.create(tmp_path / "key", "second.example.org")
    assert not signature.sign(made, keys.load(tmp_path / "key")).of_redaction
    assert [c.state for c in verify(made) if c.name == "signature"] == ["note", "note"]


# -- a real run ------------------------------------------------------------------------------------------------------


def begun(results: Path, **options: Any) -> Run:
    run = Run(load("simulated", ROOT, ROOT), Options(results=results, **options))
    step = Step("T1-optical-owd", Stream("optical", 1000, 60_000_000_000, 128))
    run.commit([("test", link.name, step) for link in run.bench.links], collect_only=False)
    return run


def test_every_run_draws_a_secret_before_it_measures_and_fixes_its_redaction_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "pdf", lambda *_, **__: b"%PDF-")
    first, second = begun(tmp_path), begun(tmp_path)
    secrets = [secret(run.opened.path) for run in (first, second)]
    assert secrets[0] != secrets[1]
    first.finish(cut_off=True)
    again = begun(tmp_path, resume=first.opened.name)
    assert secret(again.opened.path) == secrets[0]
    again.finish(cut_off=False)
    second.finish(cut_off=False)
    run = again.opened.path
    assert run == first.opened.path
    sealing = log.read(tmp_path / "simulated/log").history.sealed(run.name)
    assert sealing is not None
    fixed = bag.file_sha256(run / REDACTED)
    assert sealing.text("redacted_sha256") == again.opened.journal.entries[-1].data["redacted_sha256"] == fixed
    assert rows(run)["redaction"].state == "ok"
    assert (run / "data/measurements.csv").read_bytes().startswith(b"run_id,")
    made = redact(run, octets)
    assert rows(made)["log"].state == "ok"
    assert redaction.is_mark(result_of(made)["provenance"]["machine"]["host"])


# -- the scheme ------------------------------------------------------------------------------------------------------

LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=5)
NAMES = st.sampled_from(["links", "verdict", "gates", "id", "provenance", "found", "route", "z"])
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(NAMES, v, max_size=3), max_leaves=8)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.binary(min_size=32, max_size=32))
@settings(max_examples=30, deadline=None)
def test_any_result_is_redacted_faithfully_and_every_value_opens(result: dict[str, Any], secret: bytes) -> None:
    hidden: Any = redaction.redacted(result, secret)
    assert list(redaction.unfaithful(result, hidden, secret)) == []
    for path in redaction.marks(hidden):
        opened = redaction.Opening(path, redaction.salt(secret, path), redaction.at(result, path))
        assert opened.opens(hidden)
        assert redaction.opening(opened.as_dict()) == opened


CHANGES: list[Callable[[dict[str, Any]], Any]] = [
    lambda r: r.update(verdict="PASS"),
    lambda r: r.pop("budgets"),
    lambda r: r.update(more=1),
    lambda r: r["gates"].pop(),
    lambda r: r["links"][0].update(far_clock_trusted=1),
    lambda r: r["links"][0].update(route=None),
    lambda r: r.update(redaction="other"),
    lambda r: r["links"][0].update(near={"sha256": "00" * 32}),
]


@pytest.mark.parametrize("change", CHANGES, ids=map(str, range(len(CHANGES))))
def test_any_change_is_unfaithful(desk: Desk, change: Callable[[dict[str, Any]], Any]) -> None:
    whole = result_of(desk.run)
    hidden: Any = copy.deepcopy(redaction.redacted(whole, SECRET))
    change(hidden)
    assert list(redaction.unfaithful(whole, hidden, SECRET))


def test_what_could_pass_for_a_mark_is_refused() -> None:
    with pytest.raises(ArchiveError, match="no mark"):
        redaction.redacted({"links": [{"name": {"sha256": "00" * 32}}]}, SECRET)
