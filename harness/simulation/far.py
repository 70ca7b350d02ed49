"""The far end of a simulated link: a process that runs a reflector on sockets handed to it."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import zlib
from typing import Any

from fastpath import clock, reflector, wire
from harness.simulation import interface
from harness.simulation.holder import die_with_parent

# Bits of the Facts TLV (fastpath/wire.pxd).
_FACT_INJECTED_CLOCK, _FACT_VIRTUAL, _FACT_CLOCK_KNOWN = 1, 2, 64


def _facts(plan: dict[str, Any], sock: socket.socket) -> int:
    """What is true of this end: nobody sets it, it follows from the driver and from the clock given."""
    facts = 0
    if interface.is_virtual(interface.driver(sock, plan["interface"])):
        facts |= _FACT_VIRTUAL
    if plan["injected"]:
        facts |= _FACT_INJECTED_CLOCK
    if plan["bound_ns"] is not None:
        facts |= _FACT_CLOCK_KNOWN
    return facts


def _serve(channel: socket.socket, end: reflector.Reflector) -> None:
    """Answer the parent until it closes; then this process must not outlive it, whatever the reflector does."""
    while request := channel.recv(4096):
        if request == b"stop":
            end.stop()
        else:
            channel.send(json.dumps(end.counters()).encode())
    os._exit(0)


def _clock_id(plan: dict[str, Any]) -> int:
    """Equal ids say "one clock", so an altered clock needs its own."""
    own = clock.clock_id()
    return zlib.crc32(json.dumps([own, plan["clock"]]).encode()) if plan["injected"] else own


def main(descriptor: int) -> None:
    """Run until stopped or until the parent is gone; the first message is the plan as JSON."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    channel = socket.socket(fileno=descriptor)
    plan = json.loads(channel.recv(65536))
    sockets = [socket.socket(fileno=fd) for fd in plan["fds"]]
    end = reflector.Reflector(
        [sock.fileno() for sock in sockets],
        key=bytes.fromhex(plan["key"]) if plan["key"] is not None else None,
        stateful=plan["stateful"],
        tai_utc=plan["tai_utc"],
        clock=clock.ClockModel(**plan["clock"]) if plan["injected"] else None,
        error_estimate=wire.encode_error_estimate(plan["bound_ns"], plan["synchronised"], True),
        facts=_facts(plan, sockets[0]),
        clock_id=_clock_id(plan),
        lie_ns=plan["lie_ns"],
        lie_quietly=plan["lie_quietly"],
    )
    threading.Thread(target=_serve, args=(channel, end), daemon=True).start()
    channel.send(b"ready")
    end.run()
    channel.send(json.dumps(end.counters()).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]))
