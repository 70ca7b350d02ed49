"""OPT-35  Do packets, reflectometer and ODUk frames tell one delay?  Runs after the packets of test_30_link_delay."""

from harness.plan import Accept, procedure


@procedure("reconcile")
def test_delays_reconcile(dut: str, accept: Accept) -> None:
    """Every pair of methods agrees within its uncertainties and the equipment declared between their planes.

    1. After the packets of test_30, take the file of ODUk delay readings from a tester or management system.
    2. Hold each method against each other one, direction by direction; the report names the plane of both.
    """
    accept()
