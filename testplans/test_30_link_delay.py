"""OWD-30  Does one-way delay stay within 1 ms on every link, in each direction?"""

from harness.plan import Certify, Measure, step
from harness.stream import Stream
from harness.units import minutes

OPTICAL = Stream(name="optical", rate_pps=1_000, duration_ns=minutes(10), size=256)
SERVICE = Stream(name="service", rate_pps=10_000, duration_ns=minutes(15), size=512, unloaded=False)


@step("T1-optical-owd", OPTICAL)
def test_optical_floor(link: str, measure: Measure, certify: Certify) -> None:
    """The worst one-minute median of an unloaded stream, each direction, every flow.

    1. Take the pair's calibration artefact, or calibrate it back to back (simulated bench); without either its stamps
       enter the budget in full.
    2. Leave the link otherwise idle; send the optical stream over every flow; clocks are polled throughout.
    3. Subtract the calibration; judge each flow in each direction; the worst flow decides.
    """
    certify(measure(link))


@step("service-owd-p999", SERVICE)
def test_service_delay(link: str, measure: Measure, certify: Certify) -> None:
    """The 99.9th percentile at the declared rate and frame size, each direction, every flow.

    1. Send the service stream over every flow at its declared rate; clocks are polled throughout.
    2. A lost packet counts as infinitely late; a duplicate as its first copy; nothing is dropped.
    3. Judge each flow in each direction; the worst flow decides.
    """
    certify(measure(link))
