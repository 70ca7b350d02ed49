"""What brings a client's octets to a simulated instrument."""

from __future__ import annotations

from typing import Protocol


class Carrier(Protocol):
    """An instrument within reach of clients, until it is closed."""

    @property
    def resource(self) -> str:
        """VISA resource name under which it answers."""

    def close(self) -> None:
        """End all conversations; safe to call twice."""
