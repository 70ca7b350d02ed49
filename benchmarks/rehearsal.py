"""A rehearsal: one short simulated certification with a plant bent to a story's will, for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.bench import parse
from harness.measurement import Measurement
from harness.plan import Step
from harness.run import Options, Run, read_policy
from harness.stream import Stream
from harness.units import seconds

SHORT = {
    "window_s = 60": "window_s = 2",
    "min_seconds = 60": "min_seconds = 4",
    "min_n_eff = 3_688": "min_n_eff = 100",
    "p = [999, 1000]": "p = [9, 10]",
    "max_unstamped_ppm = 250": "max_unstamped_ppm = 2500",
    'id = "metro-2027-rehearsal"': 'id = "short"',
}
"""The rehearsal policy with minima of seconds, so that a story takes seconds; P90 for P99.9, so that a millisecond
that the host loses does not decide it."""

T_MAX_MS = 250
"""Waited for after every stream and every calibration; a quarter of the usual second, and far above any delay here."""
OPTICAL = Stream("optical", 500, seconds(4), 256, flows=2, t_max_ns=T_MAX_MS * 10**6)
SERVICE = Stream("service", 2000, seconds(4), 512, flows=2, t_max_ns=T_MAX_MS * 10**6, unloaded=False)
STEPS = {"optical": Step("T1-optical-owd", OPTICAL), "service": Step("service-owd-p999", SERVICE)}


def short_policy() -> str:
    """Text of the short policy; fails when the rehearsal policy changes under it."""
    text = read_policy("metro-2027-rehearsal")
    for long, short in SHORT.items():
        assert long in text
        text = text.replace(long, short)
    return text


def bench_text(
    *,
    forward: str = "{ km = 40 }",
    backward: str | None = None,
    plant: str = "",
    link: str = "",
    near: str = "claimed_bound_ns = 100\nclaimed_synchronised = true\nclaimed_skew_ppb = 10",
    far: str = "claimed_bound_ns = 100\nclaimed_synchronised = true\nclaimed_skew_ppb = 10",
    carrier: str = "auto",
) -> str:
    """A simulated bench of one link; each argument is TOML of its own part."""
    return f"""
[bench]
name = "story"
policy = "metro-2027-rehearsal"
[sites.a]
title = "A"
kind = "computing-centre"
clock = {{ sources = ["simulated"] }}
[sites.b]
title = "B"
kind = "computing-centre"
clock = {{ sources = ["simulated", "in-band"] }}
[links.ab]
near = "a"
far = "b"
flows = 2
far_clock_trusted = true
{link}
[simulation]
carrier = "{carrier}"
seed = 7
[simulation.clocks.a]
{near}
[simulation.clocks.b]
{far}
[simulation.links.ab]
forward = {forward}
{"backward = " + backward if backward else ""}
{plant}
"""


@dataclass(frozen=True)
class Told:
    """A finished story."""

    result: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    path: Path

    def row(self, direction: str, requirement: int = 0) -> Mapping[str, Any]:
        """One direction of one requirement."""
        rows = self.result["requirements"][requirement]["directions"]
        return next(row for row in rows if row["direction"] == direction)

    def statement(self, direction: str, basis: str, requirement: int = 0) -> Mapping[str, Any]:
        """One statement of a direction."""
        rows = self.row(direction, requirement)["statements"]
        return next(row for row in rows if row["basis"] == basis)

    @property
    def red(self) -> set[str]:
        """Gates that fired."""
        return {gate["id"] for gate in self.result["gates"] if gate["state"] == "red"}


def tell(
    results: Path,
    text: str,
    names: Iterable[str] = ("optical",),
    before: Callable[[Run], None] | None = None,
    tries: int = 5,
) -> Told:
    """Run the named steps on a bench text; a run that only the host's stalls made INVALID is told again.

    ``before`` gets the committed run before its first stream.
    """
    results.mkdir(parents=True, exist_ok=True)
    policy = results / "short.toml"
    policy.write_text(short_policy(), encoding="utf-8")
    told = None
    for _ in range(tries):
        told = _once(text, list(names), results, str(policy), before)
        if told.red != {"host-stalls"}:
            break
    assert told is not None
    return told


def _once(text: str, names: list[str], results: Path, policy: str, before: Callable[[Run], None] | None) -> Told:
    run = Run(parse(text), Options(results=results, policy=policy))
    steps = [(name, "ab", STEPS[name]) for name in names]
    run.commit(steps, collect_only=False)
    try:
        if before is not None:
            before(run)
        for _, link, step in steps:
            run.certify(step.requirement, run.measure(link, step, lambda _: None))
    except BaseException:
        run.finish(cut_off=True)
        raise
    measurements, path = run.opened.measurements, run.opened.path
    result = run.finish(cut_off=False)
    assert result is not None
    return Told(result, measurements, path)
