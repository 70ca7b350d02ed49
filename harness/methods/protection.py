"""Cutting a working fibre: a tester, or where there is none a meter, tells how long the service was gone."""

from __future__ import annotations

from drivers.quantity import Second
from harness.errors import BenchError
from harness.figures.protection import ID, Settings
from harness.methods.launch import Launch
from harness.rig import Rig
from harness.trace import octets

LOG = ("repeat", "period_ns", "lead", "tap", "trace", "value")


def _watching_s(rig: Rig, settings: Settings) -> float:
    if rig.has("tester"):
        return settings.wait_ms / 1000
    return settings.samples * settings.period_us / 1e6


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s."""
    return settings.repeats * (2 * settings.settle_ms / 1000 + _watching_s(rig, settings))


def run(rig: Rig, settings: Settings) -> None:
    """Connect the working path, watch, cut, wait, make the fibre whole again; as often as the settings say.

    Raises BenchError without a hand, or for ports that the bench does not have, and what the instruments raise.
    """
    hand = rig.hand
    if settings.working not in rig.launches or settings.egress not in rig.receive:
        raise BenchError(
            f"a launch cord at ingress {settings.working} and a receiving channel at egress {settings.egress}",
            f"launch cords {list(rig.launches)}, receiving channels of egress {sorted(rig.receive)}",
            "correct the profile's settings of protection, or wire the bench so",
        )
    place = settings.place or f"{rig.dut}:in-{settings.working}"
    launch = Launch(rig)
    for part in rig.parts(ID, [f"cut {repeat}" for repeat in range(1, settings.repeats + 1)]):
        repeat = int(part.split()[1])
        launch.to(settings.working)
        launch.light(settings.wavelength_pm)
        rig.crossconnect.only({settings.working: settings.egress})
        rig.clock.sleep(settings.settle_ms / 1000)
        try:
            if rig.has("tester"):
                rig.tester.start_disruption()
                hand.cut(place, True)
                rig.step("cut", place)
                rig.clock.sleep(settings.wait_ms / 1000)
                gone = rig.tester.longest_disruption()
                row = (repeat, None if gone is None else round(gone * 1e9))
                rig.record(ID, "disruption", "ns", ("repeat", "value"), [row], [rig.roles["tester"]])
            else:
                _by_light(rig, settings, place, repeat)
        finally:
            hand.cut(place, False)
            rig.step("whole", place)
        rig.clock.sleep(settings.settle_ms / 1000)


def _by_light(rig: Rig, settings: Settings, place: str, repeat: int) -> None:
    tap = rig.receive[settings.egress]
    logger = rig.logger(tap)
    logger.start_log([tap.channel], settings.samples, Second(settings.period_us / 1e6))
    running = rig.clock.now_ns()
    rig.clock.sleep(settings.lead_ms / 1000)
    lead = (rig.clock.now_ns() - running) // (settings.period_us * 1000) - 1
    rig.hand.cut(place, True)
    rig.step("cut", place)
    name = f"{ID}-{repeat}-{rig.utc_ns()}.f32"
    rig.keep(name, octets(logger.log(tap.channel)))
    row = (repeat, settings.period_us * 1000, lead, tap.label, name, settings.samples)
    rig.record(ID, "log", "count", LOG, [row], [tap], trace=name)
