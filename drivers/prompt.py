"""A session over telnet with gear that ends its answers with a prompt (EXFO 5024, VIAVI ONT and MAP)."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Literal, Self

from drivers.codec import block_size
from drivers.errors import (
    InstrumentFaultError,
    PortLostError,
    PortOpenError,
    PortReplyError,
    PortTimeoutError,
)
from drivers.port import Identity, Wire, closed, identity
from drivers.stream import Stream
from drivers.turn import turn

QUIET_S: Final = 0.1
"""A session is drained when nothing has come for so long."""
MOST_OCTETS: Final = 16_000_000

_STRING: Final = re.compile(r"\"[^\"]*\"|'[^']*'")
_IAC, _SB, _SE, _WILL, _WONT, _DO, _DONT = 255, 250, 240, 251, 252, 253, 254
EXECUTED: Final = "Command executed successfully."
"""What EXFO's telnet port answers to each command."""
SLOW: Final = "This operation may take few minutes to complete."
"""What it says first where it takes long."""


class Negotiation:
    """Takes telnet's own octets out of a stream (RFC 854) and refuses every option."""

    def __init__(self) -> None:
        self._rest = b""

    def filter(self, octets: bytes) -> tuple[bytes, bytes]:
        """(text, what to answer); half a command waits for its other half."""
        octets, self._rest = self._rest + octets, b""
        text, answer, at = bytearray(), bytearray(), 0
        while at < len(octets):
            if octets[at] != _IAC:
                text.append(octets[at])
                at += 1
                continue
            verb = octets[at + 1] if at + 1 < len(octets) else None
            if verb == _IAC:
                text.append(_IAC)
                at += 2
            elif verb == _SB:
                end = octets.find(bytes((_IAC, _SE)), at + 2)
                if end < 0:
                    self._rest = octets[at : at + 1024]
                    break
                at = end + 2
            elif verb is None or (verb in {_WILL, _WONT, _DO, _DONT} and at + 2 >= len(octets)):
                self._rest = octets[at:]
                break
            elif verb in {_WILL, _DO}:
                answer += bytes((_IAC, _DONT if verb == _WILL else _WONT, octets[at + 2]))
                at += 3
            else:
                at += 3 if verb in {_WONT, _DONT} else 2
        return bytes(text), bytes(answer)


class PromptSession:
    """One instrument at a stream that prompts; a `drivers.session.Session`, safe to use from several threads.

    ``prompt`` ends every answer ("READY> "); empty: this model has none, and a line end does. ``executed`` is what a
    command is answered with; another answer is the instrument's objection. Empty: commands are answered with the prompt
    alone, or not at all. ``slow`` is a line that may come before. A session that timed out is dirty: what it still owes
    is thrown away and `*IDN?` must answer as it did when opened before anything else is said.
    """

    def __init__(
        self,
        stream: Stream,
        *,
        prompt: str = "READY> ",
        executed: str = EXECUTED,
        slow: str = SLOW,
        ends_out: str = "\n",
        timeout_s: float = 5.0,
        log: Callable[[Wire], None] | None = None,
    ) -> None:
        """Wait for the first prompt and identify. Raises PortOpenError; the stream is closed then."""
        self.resource = stream.resource
        self.timeout_s = timeout_s
        self._stream = stream
        self._prompt = prompt.rstrip().encode("ascii")
        self._executed, self._slow = executed, slow
        self._ends_out = ends_out
        self._log = log
        self._lock = threading.RLock()
        self._closed = False
        self._owed = ""
        self._patience_s = timeout_s
        self._got = bytearray()
        self._negotiation = Negotiation()
        self._introduced = ""
        try:
            if self._prompt:
                self._answer(self._deadline(timeout_s), "its first prompt")
            self._introduced = self._exchange("*IDN?", timeout_s)
            self.identity: Identity = identity(self._introduced)
        except (PortTimeoutError, PortReplyError, PortLostError, ValueError) as why:
            self.close()
            found = why.found if not isinstance(why, ValueError) else str(why)
            raise PortOpenError(
                f"an instrument at {self.resource} that answers *IDN? with {prompt!r} behind it",
                found,
                "check that it is on, its address and port, and that no other program holds its only connection",
            ) from why

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, message: str, timeout_s: float | None = None) -> None:
        """Send a command, and wait until it is said to be executed.

        Raises ValueError for a query; InstrumentFaultError when something else is answered than that; PortTimeoutError,
        PortReplyError, PortLostError, PortClosedError.
        """
        if "?" in _STRING.sub("", message):
            raise ValueError(f"{message!r} is a query: it would leave its answer behind")
        with self._in_step(message, timeout_s) as within:
            if not self._prompt and not self._executed:
                self._send(message, self._deadline(within))
                return
            said = self._exchange(message, within)
        if said != self._executed:
            raise InstrumentFaultError(0, said or "nothing but a prompt", message)

    def query(self, message: str, timeout_s: float | None = None) -> str:
        """Ask and return the answer, without its prompt. Raises as `write`, ValueError for a command."""
        if "?" not in _STRING.sub("", message):
            raise ValueError(f"{message!r} is no query: it would be waited for in vain")
        with self._in_step(message, timeout_s) as within:
            return self._exchange(message, within)

    def query_block(self, message: str, timeout_s: float | None = None) -> bytes:
        """Ask and return the payload of a definite block. Raises as `query`."""
        if "?" not in _STRING.sub("", message):
            raise ValueError(f"{message!r} is no query: it would be waited for in vain")
        with self._in_step(message, timeout_s) as within:
            deadline = self._deadline(within)
            self._send(message, deadline)
            return self._block(deadline, message)

    def turn(self, timeout_s: float | None = None) -> contextlib.AbstractContextManager[None]:
        """The session to oneself for several exchanges. Raises PortTimeoutError when others keep it too long."""
        return turn(self._lock, self.resource, self.timeout_s if timeout_s is None else timeout_s)

    def close(self) -> None:
        """End it. Safe to call twice, from any thread."""
        self._closed = True
        self._stream.close()

    # -- keeping in step -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _in_step(self, message: str, timeout_s: float | None) -> Iterator[float]:
        if not message.isascii() or not message.isprintable() or not message:
            raise ValueError(f"{message!r} is not one line of ASCII text")
        within = self.timeout_s if timeout_s is None else timeout_s
        with self.turn(timeout_s):
            if self._closed:
                raise closed(self.resource)
            self._take(self._stream.now_ns())
            if self._owed or self._got.strip():  # the blank of a prompt may come by itself
                self._bring_into_step()
            self._got.clear()
            self._owed = message
            self._patience_s = max(within, self.timeout_s)
            yield within
            self._owed = ""

    def _bring_into_step(self) -> None:
        owed = self._owed
        deadline = self._deadline(max(self._patience_s, self.timeout_s))
        while self._stream.now_ns() < deadline and self._take(
            min(deadline, self._stream.now_ns() + int(QUIET_S * 1e9)), "drained"
        ):
            self._got.clear()
        self._got.clear()
        if "*IDN?" in owed.upper():
            raise self._lost("an unanswered *IDN?, so its next answer could be the last one's")
        self._send("*IDN?", deadline)
        try:
            while True:
                try:
                    said = self._answer(deadline, "*IDN?", "*IDN?").rpartition("\n")[2]
                    # an answer that was owed may come together with ours, whose line then begins with its prompt
                    if said.removeprefix(self._prompt.decode("ascii")).strip() == self._introduced:
                        break
                except PortReplyError as why:
                    if self._stream.now_ns() >= deadline:
                        raise self._lost(f"{why.found} after {owed}") from why
        except PortTimeoutError as why:
            raise self._lost(f"no sign of it after {owed}: {why.found}") from why
        self._owed = ""
        self._patience_s = self.timeout_s

    def _lost(self, found: str) -> PortLostError:
        self.close()
        return PortLostError(
            f"*IDN? again from {self.resource}",
            found,
            "check cable and power; open it again and set it up anew, as it may have been switched off",
        )

    # -- octets --------------------------------------------------------------------------------------------

    def _deadline(self, within_s: float) -> int:
        return self._stream.now_ns() + int(within_s * 1e9)

    def _exchange(self, message: str, within: float) -> str:
        deadline = self._deadline(within)
        self._send(message, deadline)
        return self._answer(deadline, message, message)

    def _send(self, message: str, deadline: int) -> None:
        octets = (message + self._ends_out).encode("ascii")
        self._note("out", octets)
        if not self._stream.send(octets, deadline):
            raise self._late(message, "a peer that takes no octets")

    def _take(self, deadline: int, remark: str = "") -> bool:
        """Some octets more; False: the time is over."""
        chunk = self._stream.receive(deadline)
        if not chunk:
            return False
        self._note("in", chunk, remark)
        text, answer = self._negotiation.filter(chunk)
        if answer:
            self._stream.send(answer, deadline + int(QUIET_S * 1e9))
        self._got += text
        return True

    def _answer(self, deadline: int, message: str, echo: str = "") -> str:
        """One answer, without prompt, echo and what only says that it takes long."""
        while True:
            while (end := self._end()) is None:
                if len(self._got) > MOST_OCTETS:
                    raise PortReplyError(
                        f"an answer to {message}", f"{MOST_OCTETS} octets without an end", "check port"
                    )
                if not self._take(deadline):
                    raise self._late(message, f"no more than {bytes(self._got[-60:])!r}" if self._got else "silence")
            whole = bytes(self._got[: end[0]])
            del self._got[: end[1]]
            if not whole.isascii():
                raise PortReplyError(
                    f"text to {message} from {self.resource}", f"{whole[:60]!r}", "check port and prompt"
                )
            lines = [line.strip() for line in whole.decode("ascii").replace("\r", "\n").split("\n")]
            lines = [line for line in lines if line and line not in {echo, self._slow}]
            if self._prompt or lines:
                return "\n".join(lines)

    def _end(self) -> tuple[int, int] | None:
        """(end of the answer, begin of the next); None: there is no end yet."""
        if not self._prompt:
            at = self._got.find(b"\n")
            return None if at < 0 else (at, at + 1)
        # a prompt stands at the beginning of a line, and nothing follows it but spaces
        at = self._got.rfind(self._prompt)
        if at < 0 or self._got[at + len(self._prompt) :].strip() or (at and self._got[at - 1] not in b"\r\n"):
            return None
        return at, len(self._got)

    def _block(self, deadline: int, message: str) -> bytes:
        while True:
            start = self._got.find(b"#")
            ahead = bytes(self._got if start < 0 else self._got[:start]).replace(message.encode("ascii"), b"").strip()
            if ahead and start >= 0:
                raise PortReplyError(f"a block to {message}", f"{ahead[:60]!r}", "check model and firmware")
            try:
                size = None if start < 0 else block_size(bytes(self._got[start : start + 11]))
            except ValueError as why:
                raise PortReplyError(f"a block to {message}", str(why), "check model and firmware") from why
            if size is not None and len(self._got) >= start + sum(size):
                payload = bytes(self._got[start + size[0] : start + sum(size)])
                del self._got[: start + sum(size)]
                while self._end() is None:
                    if not self._take(deadline):
                        raise self._late(message, "a block without an end")
                self._got.clear()
                return payload
            if len(self._got) > MOST_OCTETS + 100:
                raise PortReplyError(f"a block to {message}", f"{len(self._got)} octets", "check model and firmware")
            if not self._take(deadline):
                raise self._late(message, f"no more than {bytes(self._got[:60])!r}" if self._got else "silence")

    def _note(self, direction: Literal["out", "in"], octets: bytes, remark: str = "") -> None:
        if self._log is not None:
            self._log(Wire(self._stream.now_ns(), time.time_ns(), direction, octets, remark))

    def _late(self, message: str, found: str) -> PortTimeoutError:
        return PortTimeoutError(
            f"a whole answer to {message} from {self.resource} in time",
            found,
            "check the instrument, or give it more time; the next use brings the session back into step",
        )
