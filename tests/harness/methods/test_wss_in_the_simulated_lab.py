"""The WSS acceptance through real drivers on the simulated lab: what the plant hides against what is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from drivers.capability import Channel
from drivers.quantity import Hertz
from drivers.simulated.wss import Wss
from harness.acceptance import judge
from harness.archive.optical import finished, readings
from harness.bench import parse as parse_bench
from harness.journal import Entry
from harness.methods.catalogue import METHODS
from harness.opening import Opened, identified
from harness.profile import parse
from harness.reading import DONE, Record

ROOT = Path(__file__).parents[3]
PROFILE = parse((ROOT / "harness" / "profiles" / "oxc-wss.toml").read_text())
BENCH = (ROOT / "testplans" / "benches" / "simulated-wss.toml").read_text()
NAMES = [f"deg-{k}" for k in range(1, 5)] + [f"add-{k}" for k in range(1, 5)]


class Memory:
    """A journal that is not kept."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, kind: str, /, **data: Any) -> None:
        self.entries.append(Entry(len(self.entries), kind, 0, 0, data, ""))


def accepted(seed: int, procedures: tuple[str, ...], defects: str = "") -> tuple[dict[str, Any], Wss]:
    """(what is judged, the node's truth)."""
    text = BENCH.replace("seed = 20270102", f"seed = {seed}") + defects
    bench = parse_bench(text, path=ROOT / "testplans" / "benches" / "simulated-wss.toml")
    opened = Opened(bench)
    try:
        memory, kept = Memory(), dict[str, bytes]()
        rig = opened.rig(cast(Any, memory), lambda name, octets: kept.update({name: octets}))
        patch = rig.patch

        def named(source: str, target: str) -> None:
            # cord k sits in the k-th port that light may enter, whatever it is called
            if target.startswith("oxc:in-"):
                target = f"oxc:{NAMES[int(target.removeprefix('oxc:in-')) - 1]}"
            patch(source, target)

        rig.patch = named  # type: ignore[method-assign]
        for name in procedures:
            METHODS[name].run(rig, PROFILE.settings_of(name))
            memory.append(DONE, procedure=name)
        instruments = {each.name: each for each in identified(bench, opened.devices)}
        batches, _ = readings(memory.entries)
        record = Record(tuple(batches), instruments, kept, finished(memory.entries))
        assert opened.lab is not None
        return judge(PROFILE, record, {}), cast(Wss, opened.lab.plant.elements["oxc"])
    finally:
        opened.close()


def rows(result: dict[str, Any], requirement: str) -> list[dict[str, Any]]:
    found = next(each for each in result["requirements"] if each["id"] == requirement)
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]


def verdicts(result: dict[str, Any], *procedures: str) -> dict[str, str]:
    return {each["id"]: each["verdict"] for each in result["requirements"] if each["procedure"] in procedures}


@pytest.mark.parametrize("seed", [11, 12])
def test_losses_cover_what_the_plant_hides_and_a_good_node_passes(seed: int) -> None:
    result, wss = accepted(seed, ("reference", "wss-loss"))
    for requirement in ("express-loss", "add-loss", "drop-loss"):
        for row in rows(result, requirement):
            truth = 1e6 * wss.true_loss_db(row["ingress"], row["egress"])
            assert abs(row["value"] - truth) <= row["U"]
    assert set(verdicts(result, "wss-loss").values()) == {"PASS"}
    assert result["findings"] == []


def test_a_lossy_backplane_is_named_and_fails() -> None:
    defect = '\n[[simulation.lab.defects]]\nkind = "lossy-backplane"\nwhere = "deg-1>deg-2"\nsize = 6.0\n'
    result, _ = accepted(13, ("reference", "wss-loss"), defect)
    assert [(f["id"], f["where"]) for f in result["findings"]] == [("lossy-way", "deg-1 to deg-2")]
    assert verdicts(result, "wss-loss")["express-loss"] == "FAIL"


@pytest.mark.parametrize(
    ("defect", "size", "named", "failed"),
    [
        ("", "", "", ""),
        ("narrow-passband", "30.0", "narrow-passband", "passband-3-db"),
        ("shifted-passband", "12.0", "shifted-passband", "passband-centre"),
    ],
)
def test_passbands_are_those_of_the_plant(defect: str, size: str, named: str, failed: str) -> None:
    text = f'\n[[simulation.lab.defects]]\nkind = "{defect}"\nwhere = "deg-1"\nsize = {size}\n' if defect else ""
    result, wss = accepted(14, ("wss-passband",), text)
    for row in rows(result, "passband-3-db"):
        channel = Channel(row["ingress"], row["egress"], Hertz(193.1e12), Hertz(75e9))
        centre, width = wss.true_passband(channel, 3.0)
        assert abs(row["value"] - width / 1e6) <= row["U"]
        (found,) = [each for each in rows(result, "passband-centre") if each["ingress"] == row["ingress"]]
        assert abs(found["value"] - abs(centre - 193.1e12) / 1e6) <= found["U"]
    said = verdicts(result, "wss-passband")
    if failed:
        assert said[failed] == "FAIL"
        assert named in [f["id"] for f in result["findings"]]
        assert {f["where"] for f in result["findings"]} == {"deg-1 to deg-2, 193100000 MHz"}
    else:
        assert set(said.values()) == {"PASS"}


def test_penalty_card_and_restoration_of_a_good_node_pass() -> None:
    result, wss = accepted(15, ("wss-osnr", "wss-card", "wss-restoration"))
    assert set(verdicts(result, "wss-osnr", "wss-card", "wss-restoration").values()) == {"PASS"}
    for row in rows(result, "restoration-time"):
        least = 1e9 * wss.restore_s
        assert least - row["U"] <= row["value"] <= least + 1e9 * 1.5


def test_a_bad_spare_fails() -> None:
    defect = '\n[[simulation.lab.defects]]\nkind = "bad-spare"\nwhere = "card-1"\nsize = 6.0\n'
    result, _ = accepted(16, ("wss-card",), defect)
    assert verdicts(result, "wss-card")["card-change"] == "FAIL"
    assert verdicts(result, "wss-card")["card-missing"] == "PASS"
