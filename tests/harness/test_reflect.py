"""What the far end says of its clock on the wire."""

from __future__ import annotations

import pytest

from harness.reflect import sync_source


@pytest.mark.parametrize(
    ("synchronised", "names", "said"),
    [
        (True, {"kernel", "chrony"}, 1),
        (True, {"chrony", "linuxptp"}, 2),
        (True, {"phc", "gnss"}, 4),
        (True, {"kernel"}, 0),
        (False, {"chrony"}, 5),
        (None, {"gnss"}, 5),
    ],
)
def test_the_sync_source_is_what_the_evidence_names(synchronised: bool | None, names: set[str], said: int) -> None:
    assert sync_source(synchronised, names) == said
