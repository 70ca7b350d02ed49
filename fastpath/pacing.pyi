"""When overdue packets may leave, so that a stalled host is not followed by a burst."""

from typing import Self, final

import numpy as np
import numpy.typing as npt

@final
class Pacer:
    def __new__(cls, spacing_ns: int, t_max_ns: int) -> Self: ...
    @property
    def late_after_ns(self) -> int: ...
    @property
    def earliest_ns(self) -> int: ...
    @property
    def behind(self) -> bool: ...
    def release(self, due_ns: npt.NDArray[np.int64], now_ns: int) -> int: ...
