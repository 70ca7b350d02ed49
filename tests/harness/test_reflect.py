"""What the far end says: of its clock on the wire, of itself to a person."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from fastpath.stack import Doubt
from fastpath.timestamping import RECEIVE_BUFFER
from harness import disk, reflect
from harness.archive import farjournal
from harness.journal import Entry, Journal, read
from harness.reflect import sync_source

FIRST_FREE_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


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


@pytest.mark.parametrize("port", [700, 862])
def test_without_the_privilege_a_low_port_wants_it_says_what_to_type(tmp_path: Path, port: int) -> None:
    if int(FIRST_FREE_PORT.read_text(encoding="ascii")) <= port:
        pytest.skip("here everybody may have that port")
    plain = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all"]
    done = subprocess.run(
        [
            *(plain if os.geteuid() == 0 else []),
            *(sys.executable, "-m", "harness.cli", "reflect", "--listen", "127.0.0.1", "--port", str(port)),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert f"wanted UDP 127.0.0.1 port {port}; found Permission denied" in done.stderr
    for remedy in ("sudo setcap cap_net_bind_service=+ep /", f"ip_unprivileged_port_start={port}`", "--port 8620"):
        assert remedy in done.stderr
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_full_disk_is_told_at_once_and_not_with_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append, warned = Journal.append, list[str]()
    noted = 0

    def full(journal: Journal, kind: str, **data: Any) -> Entry:
        nonlocal noted
        if kind == farjournal.STATE:
            noted += 1
            if noted in {1, 2, 4}:
                raise disk.refusal(journal.path, OSError(errno.ENOSPC, "No space left on device"))
        return append(journal, kind, **data)

    def say(_line: str) -> None:
        if noted == 5:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Journal, "append", full)
    monkeypatch.setattr(reflect, "STATUS_EVERY_S", 0.01)
    monkeypatch.setattr(reflect, "JOURNAL_EVERY_S", 0)
    path = tmp_path / "far.jsonl"
    reflect.serve("127.0.0.1", 0, allow=(), key=None, journal_path=path, stateless=False, say=say, warn=warned.append)
    # the first refusal, and the first after a line that was taken; the second in a row says nothing new
    told = [each for each in warned if "the journal cannot be written" in each]
    assert len(told) == 2
    assert all("No space left" in each for each in told)
    assert [entry.kind for entry in read(path).entries][-1] == farjournal.END


def test_what_this_host_loses_itself_stands_in_the_status_line() -> None:
    class Loser:
        dropped = 0

        def counters(self) -> dict[str, int]:
            none = dict.fromkeys(("received", "sent", "sessions", "table_full", "send_errors"), 0)
            return {**none, "receive_overflows": self.dropped}

        def look(self) -> tuple[Doubt, ...]:
            return ()

    loser = Loser()
    status = reflect.Status(cast(Any, loser))
    assert "LOST" not in status.line((None, False))
    loser.dropped = 754
    assert "LOST BY THIS HOST {'receive_overflows': 754}" in status.line((None, False))


def test_a_far_end_with_a_small_buffer_says_so_at_once(tmp_path: Path) -> None:
    if int(Path("/proc/sys/net/core/rmem_max").read_text(encoding="ascii")) >= RECEIVE_BUFFER:
        pytest.skip("here everybody may have the buffer that is wanted")
    plain = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all"]
    code = (
        "from harness import cli, reflect; free = reflect.listen; reflect.listen = lambda a, _: free(a, 0); "
        "cli.app(['reflect', '--listen', '127.0.0.1', '--journal', 'far.jsonl'])"
    )
    command = [*(plain if os.geteuid() == 0 else []), sys.executable, "-c", code]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("reflecting on ")
    process.send_signal(signal.SIGINT)
    warned, _ = process.communicate(timeout=60)
    assert "less than wanted: receive buffer" in warned
    assert "net.core.rmem_max" in warned


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_far_end_that_nobody_asked_stops_cleanly_and_says_so(tmp_path: Path, number: signal.Signals) -> None:
    code = (
        "from harness import cli, reflect; free = reflect.listen; reflect.listen = lambda a, _: free(a, 0); "
        "cli.app(['reflect', '--listen', '127.0.0.1', '--journal', 'far.jsonl'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    first = process.stdout.readline()  # it owns the signals by then
    process.send_signal(number)
    rest = process.communicate(timeout=60)[0]
    assert first.startswith("reflecting on 127.0.0.1"), first + rest
    assert (process.returncode, rest) == (0, "nothing came, nothing was answered\n")
    last = read(tmp_path / "far.jsonl").entries[-1]
    assert (last.kind, last.data["reason"]) == (farjournal.END, number.name)
