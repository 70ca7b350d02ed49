"""OWD-05  Does this endpoint pair tell a delay that is known, at every rate, before anything rests on it?"""

from harness.qualification import Qualifying


def test_pair_tells_a_known_delay(link: str, qualify: Qualifying) -> None:
    """Run with --qualify, or where the bench file has [qualify]; a person plugs (on a simulated bench nobody has to).

    1. Join both ends, side by side, with the patch cord; calibrate back to back at every rate of the staircase.
    2. Re-plug the patch; swap transmit and receive at both ends; re-plug again: the spread and the ports' asymmetry.
    3. Put the reel of known time of flight in the place of the patch.
    4. Climb the staircase: at each rate both directions, and the round trip without turnaround, must tell the reel's
       time of flight within U.
    5. Write the qualification, which names ports, planes, rates and sizes. With one rate outside U nothing is measured
       on the pair.
    """
    found = qualify(link)
    assert found.passed, found.summary
