"""OPT-20  What does the fibre of the link say by itself: its loss, how long light takes, that it is this fibre?"""

from harness.plan import Accept, procedure


@procedure("path")
def test_path(dut: str, accept: Accept) -> None:
    """Loss from end to end, time of flight, joints, and the identity of the fibre; the floor of every packet's delay.

    1. Take traces from both ends at every wavelength; they are kept as files and read at once.
    2. Put a known reel behind the far end: the end must move by the reel's time of flight, and come back without it.
    3. Read the source's cord, then what arrives at the far end, plugged several times.
    """
    accept()
