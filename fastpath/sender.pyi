"""The sending end: paces STAMP packets, joins their stamps with the replies into rows."""

from collections.abc import Iterable
from typing import Self, final

import numpy as np
import numpy.typing as npt

from fastpath.clock import ClockModel
from fastpath.timestamping import Capability
from fastpath.wire import Session

@final
class Sender:
    def __new__(
        cls,
        fds: Iterable[int],
        sessions: Iterable[Session],
        offsets: npt.ArrayLike,
        *,
        capacity: int,
        t_max_ns: int,
        pace: str = "spin",
        tai_utc: int,
        error_estimate: int,
        clock: ClockModel | None = None,
        collect_ns: int = 1_000_000,
        warm_up: int = 2,
        hardware: bool = False,
        interface: str | None = None,
        nic_offset_ns: int = 0,
        cpus: tuple[int, int] | None = None,
        caller_id: bool | None = None,
    ) -> Self: ...
    error_estimate: int
    nic_offset_ns: int
    @property
    def done(self) -> bool: ...
    @property
    def started_ns(self) -> int: ...
    @property
    def capability(self) -> tuple[Capability, ...]: ...
    def start(self) -> None: ...
    def stop(self, abandon: bool = False) -> None: ...
    def join(self, timeout: float | None = None) -> bool: ...
    def counters(self) -> dict[str, int]: ...
    def planes(self) -> dict[str, dict[str, int]]: ...
    def far(self) -> tuple[dict[str, int | None] | None, ...]: ...
    def live(self) -> tuple[int, int, int, int | None, int | None, int | None]: ...
    def take(self, limit: int | None = None, send_durations: bool = False) -> dict[str, npt.NDArray[np.int64]]: ...
