"""The answering end: turns STAMP packets round promptly, tells their exact send time in the next reply."""

from collections.abc import Iterable
from typing import Self, final

from fastpath.clock import ClockModel
from fastpath.stack import Doubt
from fastpath.timestamping import Capability

@final
class Reflector:
    def __new__(
        cls,
        fds: Iterable[int],
        *,
        key: bytes | None = None,
        stateful: bool = True,
        allow: Iterable[tuple[str, int]] = (),
        tai_utc: int,
        clock: ClockModel | None = None,
        error_estimate: int,
        facts: int = 0,
        clock_id: int | None = None,
        session_limit: int = 4096,
        sync_source: int = 5,
        lie_ns: int = 0,
        lie_quietly: bool = False,
        honour_dscp: bool = True,
        idle_ns: int = 60_000_000_000,
        linger_ns: int = 0,
        hardware: bool = False,
        interface: str | None = None,
        nic_offset_ns: int = 0,
        caller_id: bool | None = None,
        record: int = 0,
    ) -> Self: ...
    error_estimate: int
    facts: int
    sync_source: int
    nic_offset_ns: int
    @property
    def nonce(self) -> int: ...
    @property
    def clock_id(self) -> int: ...
    @property
    def capability(self) -> tuple[Capability, ...]: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...
    def look(self) -> tuple[Doubt, ...]: ...
    def take(self) -> bytes: ...
    def counters(self) -> dict[str, int]: ...
