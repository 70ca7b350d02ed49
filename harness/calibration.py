"""A zero-length calibration from back-to-back samples of an endpoint pair."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import numpy as np

from harness.artefact import Orientation, Plug
from harness.errors import EngineError
from harness.link import Direction
from harness.measurement import Calibration
from harness.samples import MISSING, Column, Samples, one_clock_an_end
from harness.stream import Stream

LEAST: Final = 400
"""Samples below which a 2.5 % deviation is a matter of ten packets."""


def calibrate(calibration_id: str, samples: Samples, stream: Stream, planes: str) -> Calibration:
    """Bias with spread per direction after RFC 7679 3.7.3, ns; the patch's own time of flight counts as zero.

    The systematic error is the median (here an order statistic, so an integer that occurred); e is the larger
    absolute value of the 2.5 % and 97.5 % deviations from it. Raises EngineError below 400 samples a direction.
    """
    bias, spread = centre(samples)
    return Calibration(
        id=calibration_id,
        bias_ns=bias,
        spread_ns=spread,
        samples=len(samples),
        rate_pps=stream.rate_pps,
        size=stream.size,
        planes=planes,
    )


def plug(orientation: Orientation, utc_ns: int, samples: Samples, sha256: str) -> Plug:
    """One plugging of the patch as the artefact keeps it; raises as `centre`. ``sha256``: of the samples' file."""
    median, spread = centre(samples)
    return Plug(orientation, utc_ns, median, spread, len(samples), sha256)


def centre(samples: Samples) -> tuple[dict[Direction, int], dict[Direction, int]]:
    """Median and spread of the raw delays of each direction, ns. Raises EngineError below 400 samples a direction."""
    bias, spread = {}, {}
    samples = one_clock_an_end(samples)
    for direction, sent, received in (
        (Direction.FORWARD, samples.t1, samples.t2),
        (Direction.BACKWARD, samples.t3, samples.t4),
    ):
        whole = (sent != MISSING) & (received != MISSING)
        delays = np.sort(received[whole] - sent[whole])
        if len(delays) < LEAST:
            raise EngineError(
                f"{LEAST} back-to-back samples {direction} for a calibration",
                str(len(delays)),
                "see the stream's counters in the journal: is the far end of the patch answering?",
            )
        median = _order(delays, Fraction(1, 2))
        bias[direction] = median
        spread[direction] = max(
            abs(_order(delays, Fraction(25, 1000)) - median), abs(_order(delays, Fraction(975, 1000)) - median)
        )
    return bias, spread


def _order(ascending: Column, p: Fraction) -> int:
    """X(ceil(n p)), RFC 2330 11.3."""
    return int(ascending[max(0, -(-len(ascending) * p.numerator // p.denominator) - 1)])
