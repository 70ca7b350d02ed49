"""OWD-10  Is the bench fit to measure? Identity, clocks, ports, far ends, disk."""

from harness.preflight import Table


def test_bench_is_ready(preflight: Table) -> None:
    """Nothing is measured before every check is green or waived by name.

    1. Read the bench file: sites, links, laboratory and customer, policy.
    2. Ask each site's clock for its state and bound it against the policy's largest U.
    3. Open every flow's port on its interface and see which timestamps it really gives.
    4. Send five test packets to every far end and wait for its answers.
    5. Check room on the disk for all samples of the plan.
    """
    assert preflight.ready, preflight.summary
