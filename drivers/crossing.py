"""What every cross-connect between fibre ports does: check, take apart what is in the way, read back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import ClassVar, Final, NoReturn

from drivers.capability import Safe
from drivers.clock import Clock
from drivers.errors import InstrumentError, InstrumentFaultError, NotTakenError, SettingError

LOOKS_S: Final = 0.01
"""Pause between two looks at what is connected."""
MOST_NAMED: Final = 8
"""Ports and connections listed in an error."""


def listed(pairs: Mapping[int, int]) -> str:
    """For people: "1 → 5, 2 → 6"."""
    named = [f"{ingress} → {egress}" for ingress, egress in sorted(pairs.items())]
    more = len(named) - MOST_NAMED
    return ", ".join(named[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "") or "nothing"


def checked(pairs: Mapping[int, int], size: tuple[int, int]) -> dict[int, int]:
    """The pairs, every port one that exists and used once. Raises SettingError."""
    for ingress, egress in pairs.items():
        port("ingress", ingress, size[0])
        port("egress", egress, size[1])
    if len(set(pairs.values())) != len(pairs):
        raise SettingError("each egress port once", listed(pairs), "give every ingress an egress of its own")
    return dict(pairs)


def port(side: str, number: int, most: int) -> int:
    """A port that exists. Raises SettingError."""
    if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
        raise SettingError(f"an {side} port from 1 to {most}", repr(number), "count ingress and egress each from 1")
    return number


def in_the_way(before: Mapping[int, int], wanted: Mapping[int, int]) -> dict[int, int]:
    """The connections that use a port of a wanted one and are none of them."""
    taken = set(wanted.values())
    return {i: e for i, e in before.items() if (i in wanted or e in taken) and wanted.get(i) != e}


class Crossing(ABC):
    """A cross-connect whose maker's commands are three: join, part, what is joined.

    Every change is read back until it is so. What does not come to be so is an error that names the ports which the
    gear calls failed or disabled.
    """

    SETTLE_S: ClassVar[float] = 5.0
    """How long a change may take until it is read back."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int]:
        """(ingress ports, egress ports)."""

    @property
    @abstractmethod
    def clock(self) -> Clock:
        """The time it is waited by."""

    @abstractmethod
    def _turn(self) -> AbstractContextManager[None]:
        """The gear to oneself."""

    @abstractmethod
    def _join(self, pairs: Mapping[int, int]) -> None:
        """Join these, all of whose ports are free."""

    @abstractmethod
    def _part(self, pairs: Mapping[int, int]) -> None:
        """Take these apart."""

    @abstractmethod
    def _part_all(self) -> None:
        """Take everything apart."""

    @abstractmethod
    def _joined(self) -> dict[int, int]:
        """What is joined, as it says."""

    @abstractmethod
    def _troubles(self, ingresses: Collection[int], egresses: Collection[int]) -> Iterable[str]:
        """Which of these ports are failed or disabled, in words: "egress 7 is failed"."""

    def connect(self, pairs: Mapping[int, int]) -> None:
        """Join ingress to egress, and read back.

        What uses one of these ports is taken apart first, everything else stays. Raises SettingError before anything is
        sent, NotTakenError, and what the session raises.
        """
        wanted = checked(pairs, self.size)
        with self._turn():
            before = self._joined()
            blocking = in_the_way(before, wanted)
            self._change(before, blocking, wanted, {i: e for i, e in before.items() if i not in blocking} | wanted)

    def only(self, pairs: Mapping[int, int]) -> None:
        """Join these and nothing else, and read back. Raises as `connect`."""
        wanted = checked(pairs, self.size)
        with self._turn():
            before = self._joined()
            self._change(before, {i: e for i, e in before.items() if wanted.get(i) != e}, wanted, wanted)

    def disconnect(self, ingresses: Collection[int]) -> None:
        """Take these apart, and read back; one that is not connected stays so. Raises as `connect`."""
        gone = {port("ingress", each, self.size[0]) for each in ingresses}
        with self._turn():
            before = self._joined()
            kept = {i: e for i, e in before.items() if i not in gone}
            self._change(before, {i: e for i, e in before.items() if i in gone}, {}, kept)

    def clear(self) -> None:
        """Take everything apart, and read back. Raises as `connect`."""
        with self._turn():
            self._tried(self._part_all, {})
            self._confirm({})

    def connections(self) -> Mapping[int, int]:
        """What it says is joined, ingress to egress."""
        return self._joined()

    def safe_state(self) -> Safe:
        """It passes light and emits none; what is joined stays joined."""
        return Safe(confirmed=True, said="passes light, emits none")

    def _change(
        self, before: Mapping[int, int], gone: Mapping[int, int], wanted: Mapping[int, int], after: Mapping[int, int]
    ) -> None:
        new = {i: e for i, e in wanted.items() if before.get(i) != e}
        if gone:
            self._tried(lambda: self._part(gone), gone)
        if new:
            self._tried(lambda: self._join(new), new)
        if gone or new:
            self._confirm(after)

    def _tried(self, act: Callable[[], None], pairs: Mapping[int, int]) -> None:
        try:
            act()
        except InstrumentFaultError as why:
            self._refused(why, pairs)

    def _refused(self, why: InstrumentFaultError, pairs: Mapping[int, int]) -> NoReturn:
        """A refusal that has to do with bad ports says which."""
        troubles = self._named(pairs.keys(), pairs.values())
        if not troubles:
            raise why
        raise NotTakenError(
            f"{listed(pairs)} as asked", f"{why.found}; {troubles}", "repair or enable the port, or leave it out"
        ) from why

    def _confirm(self, after: Mapping[int, int]) -> None:
        deadline = self.clock.now_ns() + round(self.SETTLE_S * 1e9)
        while (found := self._joined()) != after:
            if self.clock.now_ns() >= deadline:
                missing = {i: e for i, e in after.items() if found.get(i) != e}
                besides = {i: e for i, e in found.items() if after.get(i) != e}
                troubles = self._named(missing.keys() | besides.keys(), {*missing.values(), *besides.values()})
                said = [f"not connected: {listed(missing)}"] if missing else []
                said += [f"connected besides: {listed(besides)}"] if besides else []
                raise NotTakenError(
                    f"the connections as asked, {self.SETTLE_S:g} s after",
                    "; ".join([*said, *([troubles] if troubles else [])]),
                    "look at the ports named, and whether somebody else sets this cross-connect too",
                )
            self.clock.sleep(LOOKS_S)

    def _named(self, ingresses: Iterable[int], egresses: Iterable[int]) -> str:
        """The troubles of these ports; empty when there are none, or it cannot say."""
        try:
            troubles = list(self._troubles(sorted(ingresses), sorted(egresses)))
        except InstrumentError as why:
            return f"the state of the ports is not known ({why.found})"
        more = len(troubles) - MOST_NAMED
        return ", ".join(troubles[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
