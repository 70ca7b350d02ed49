"""OXC-40  Does the cross-connect keep its acceptance profile?"""

from harness.plan import Accept, procedure


@procedure("reference")
def test_reference(dut: str, accept: Accept) -> None:
    """What comes out of every launch cord before the device is put between.

    1. Clean and inspect each launch cord; plug it into the reference channel, several times: their spread is the
       repeatability of plugging.
    2. Read one cord on every receiving channel: one that differs is out of calibration.
    3. Plug every launch cord into its ingress port, every receiving cord into its egress port.
    """
    accept()


@procedure("insertion-loss")
def test_insertion_loss(dut: str, accept: Accept) -> None:
    """The loss of every path against the reference; the largest less the smallest.

    1. Connect all ingress ports to as many egress ports (a Latin square: every path once, nothing twice in a round).
    2. Wait until it has settled; read all egress ports together; next round.
    """
    accept()


@procedure("repeatability")
def test_repeatability(dut: str, accept: Accept) -> None:
    """How far a path's loss moves when it is taken apart and made again.

    1. Read the path; connect both of its ports elsewhere; connect it again; read it. As often as the profile says.
    """
    accept()


@procedure("pdl")
def test_polarisation_dependent_loss(dut: str, accept: Accept) -> None:
    """How a path's loss depends on the light's polarisation (IEC 61300-3-2, all-states method).

    1. Turn the polarisation through states spread over the sphere; read at each; largest less smallest.
    2. The same without the device: what the bench itself depends on it belongs to the uncertainty.
    """
    accept()


@procedure("wavelength")
def test_wavelength_dependence(dut: str, accept: Accept) -> None:
    """How a path's loss depends on the wavelength (IEC 61300-3-7).

    1. Step the laser over the band; read at each wavelength; largest less smallest.
    """
    accept()


@procedure("crosstalk")
def test_crosstalk(dut: str, accept: Accept) -> None:
    """How much light of other ingress ports reaches an egress port; which paths are looked at is planned.

    1. Connect the path; read it; then connect its ingress elsewhere, all other ports lit: what is left is crosstalk.
    2. Where the meter sees nothing, its floor is the bound.
    """
    accept()


@procedure("return-loss")
def test_return_loss(dut: str, accept: Accept) -> None:
    """How much light each ingress port sends back (IEC 61300-3-6).

    1. Read what comes back from a known reflection, then from nothing, then from each port.
    """
    accept()


@procedure("switching")
def test_switching_time(dut: str, accept: Accept) -> None:
    """From the command until the light stays within 1 dB of its final power, bouncing included (IEC 61300-3-21).

    1. Let the meter log by itself every 100 us; command the connection; note when the command left.
    2. The last sample outside 1 dB of the final power ends the switching.
    """
    accept()


@procedure("hitless")
def test_neighbours_are_left_alone(dut: str, accept: Accept) -> None:
    """What switching one path does to its neighbours.

    1. Log the neighbours' power while one path is switched back and forth; the deepest excursion counts.
    """
    accept()


@procedure("latency")
def test_latency(dut: str, accept: Accept) -> None:
    """How long light takes through the device, against a patch cord."""
    accept()


@procedure("persistence")
def test_connections_survive_a_power_cut(dut: str, accept: Accept) -> None:
    """Whether connections and their loss are the same after both feeds were cut.

    1. Connect; read every path; cut both feeds and log the light; restore; read the connections and every path again.
    """
    accept()


@procedure("endurance")
def test_endurance(dut: str, accept: Accept) -> None:
    """Whether the loss drifts over many cycles."""
    accept()


@procedure("protection")
def test_protection_switching(dut: str, accept: Accept) -> None:
    """How long the service is gone when its fibre is cut.

    1. Let a tester watch the service; cut the working fibre; read the longest disruption; make the fibre whole again.
    """
    accept()


@procedure("wss-loss")
def test_wss_losses(dut: str, accept: Accept) -> None:
    """Express, add and drop loss of a WSS-based cross-connect, and the loss of its backplane."""
    accept()


@procedure("wss-passband")
def test_wss_passband(dut: str, accept: Accept) -> None:
    """Width at -0.5, -1 and -3 dB, ripple and centre of each slice, alone and cascaded."""
    accept()


@procedure("wss-osnr")
def test_wss_osnr_penalty(dut: str, accept: Accept) -> None:
    """How much OSNR a pass through the node costs."""
    accept()


@procedure("wss-card")
def test_wss_card_swap(dut: str, accept: Accept) -> None:
    """Whether a spare card carries the same channels with the same loss."""
    accept()


@procedure("wss-restoration")
def test_wss_restoration(dut: str, accept: Accept) -> None:
    """How long a channel is gone until it is restored over another route; seconds, not the 50 ms of protection."""
    accept()
