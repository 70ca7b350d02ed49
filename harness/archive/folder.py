"""The RunFolder: one run on disk, from its plan to its seal."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import tomllib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from harness.archive import bag, optical, redaction
from harness.archive.ledger import (
    ADOPTED,
    COMMITTED,
    FILE,
    FINISHED,
    RESUMED,
    SEALED,
    SET_ASIDE,
    STARTED,
    Ledger,
    ledger,
)
from harness.archive.measurements import CALIBRATION, calibration_file, files, load_calibration, load_measurement
from harness.archive.segments import ROWS, SegmentWriter
from harness.canonical import JSON, canonical, parse_object, plain, sha256
from harness.disk import PARTIAL, make_directory, read_file, refusal, write_file
from harness.errors import ArchiveError
from harness.journal import Instants, Journal, host_instants, read
from harness.measurement import Calibration, Measurement
from harness.reading import DONE, PART
from harness.samples import COLUMNS

Judge = Callable[[Sequence[Measurement], str, Mapping[str, JSON]], Mapping[str, Any]]
"""(measurements, policy text, provenance) → the content of result.json; pure."""

PLAN: Final = "data/plan.json"
BENCH: Final = "data/bench.toml"
POLICY: Final = "data/policy.toml"
ENVIRONMENT: Final = "data/environment.json"
JOURNAL: Final = "data/journal.jsonl"
RESULT: Final = "data/result.json"
REDACTION: Final = "data/redaction.json"
"""Under what values are hidden when the result is handed out redacted; never handed out with that."""
REDACTED: Final = "data/redacted.json"
"""The result with places, routes and addresses hidden."""
MEASUREMENTS: Final = "measurements"
CALIBRATIONS: Final = "calibration"

SCHEMA: Final = "millicert-result/2"
"""Of the result of runs begun now. Plans of the first schema do not name theirs."""
NOTICE: Final = "模拟结果，不是证书 / SIMULATED, NOT A CERTIFICATE"
"""``notice`` of a simulated result since the second schema, for who reads result.json and no report."""

_ID: Final = re.compile(r"\w[\w.@+=,-]*")
_RUN: Final = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


def certify(measurements: Sequence[Measurement], policy_text: str, provenance: Mapping[str, JSON]) -> Mapping[str, Any]:
    """The harness's own judge, `harness.certificate.judge`, under the policy in ``policy_text`` (TOML)."""
    from harness.certificate import judge, without_links  # noqa: PLC0415 - only who judges needs that half of the house
    from harness.policy import parse  # noqa: PLC0415

    if not policy_text and not measurements:
        return without_links(provenance)
    return judge(measurements, parse(policy_text), provenance)


def judgement(
    run: Path,
    book: Ledger,
    judge: Judge,
    measured: Sequence[Measurement],
    policy_text: str,
    told: Mapping[str, JSON],
) -> dict[str, Any]:
    """The content of result.json for the run at ``run``: its links by ``judge``, its optical readings beside them.

    Raises ArchiveError when the plan asks for a schema that this version does not know.
    """
    result = dict(judge(measured, policy_text, told))
    if optical.is_optical(book):
        result = optical.accepted(result, run)
    schema = told.get("result_schema")
    if schema is None:
        return result
    if schema != SCHEMA:
        raise ArchiveError(f"a result of {SCHEMA} or older in {PLAN}", repr(schema), "use the version that wrote it")
    return {**result, "schema": schema, **({"notice": NOTICE} if result["simulated"] else {})}


def file_name(text: str) -> str:
    """``text`` if it can be a folder's name everywhere: letters, digits and ``._@+=,-``; ArchiveError else."""
    if not _ID.fullmatch(text) or len(text.encode()) > 200 or unicodedata.normalize("NFC", text) != text:
        raise ArchiveError(
            "a name of letters, digits and ._@+=,- that starts with a letter or digit", repr(text), "rename it"
        )
    return text


def provenance(path: Path, book: Ledger) -> dict[str, JSON]:
    """What the judge is told of the run: plan.json's own "provenance" object, run id, committed hashes, log entry."""
    given: Any = parse_object(read_file(path / PLAN), PLAN).get("provenance", {})
    if not isinstance(given, dict):
        raise ArchiveError(f"an object as provenance in {PLAN}", repr(given), "restore that file from a copy")
    again = [f"{source} was begun again; the earlier attempt is kept in data/{target}" for source, target in book.moves]
    return {
        **given,
        "deviations": [*given.get("deviations", ()), *again],
        "run": book.run,
        "plan_sha256": book.plan_sha256,
        "policy_sha256": book.committed.get(POLICY, ""),
        "bench_sha256": book.committed.get(BENCH, ""),
        **({} if book.logged is None else {"log": dict(book.logged)}),
        **({"blind": redaction.blind(secret(path))} if REDACTION in book.committed else {}),
    }


def secret(path: Path) -> bytes:
    """Under what the run at ``path`` hides values. Raises ArchiveError when it drew none, as before there were any."""
    if not (path / REDACTION).exists():
        raise ArchiveError(
            f"{REDACTION} in {path}", "none: the run is older than redaction", "hand out the run itself, or a new one"
        )
    return redaction.secret_of(parse_object(read_file(path / REDACTION), REDACTION))


def measurements(path: Path, book: Ledger) -> tuple[Measurement, ...]:
    """The finished measurements of the run at ``path``, calibrations apart, in the order of finishing."""
    return tuple(
        load_measurement(path / "data" / folder)
        for folder in book.finished
        if folder.startswith(f"{MEASUREMENTS}/")
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run that was neither sealed nor given up."""

    path: Path
    finished: tuple[str, ...]
    """Ids of the measurements that ran to their end."""
    interrupted: tuple[str, ...]
    """Ids of those that began and did not; `RunFolder.open` sets them aside."""


def unfinished(root: Path, plan_sha256: str, name: str = "") -> Unfinished | None:
    """The newest run under ``root`` or ``root/simulated`` that has this plan and no seal; None when there is none.

    Reads only. ``plan_sha256`` is `plan_hash` of the plan; ``name`` asks for one run by its id.
    """
    found = [
        p
        for p in (*root.glob("*"), *root.glob("simulated/*"))
        if _RUN.fullmatch(p.name) and name in {"", p.name} and not bag.sealed(p)
    ]
    for path in sorted(found, key=lambda p: p.name, reverse=True):
        try:
            book = ledger(read(path / JOURNAL).entries)
        except ArchiveError:
            continue  # killed before its plan was committed, or damaged: nothing there to go on with
        if book.plan_sha256 == plan_sha256:
            prefix = f"{MEASUREMENTS}/"
            ended = {f.removeprefix(prefix): why for f, why in book.finished.items() if f.startswith(prefix)}
            opened = tuple(f.removeprefix(prefix) for f in book.open if f.startswith(prefix))
            return Unfinished(
                path,
                tuple(name for name, why in ended.items() if not why),
                opened + tuple(name for name, why in ended.items() if why),
            )
    return None


def plan_hash(plan: Mapping[str, object]) -> str:
    """SHA-256 of plan.json as `RunFolder.create` would write ``plan``."""
    return sha256(canonical(plain(plan)))


class RunFolder:
    """The one writer of a run's folder, a bag (RFC 8493) once sealed.

    Made by `create` or `open`; both hold a lock until `close`. Every file is on disk, whole, before the journal
    names it. All methods raise ArchiveError, with what to do, when the disk refuses or something is damaged.
    """

    def __init__(self, path: Path, journal: Journal) -> None:
        self.path = path
        self.journal = journal
        self._writers: dict[str, SegmentWriter] = {}

    @classmethod
    def create(
        cls,
        root: Path,
        simulated: bool,
        plan: Mapping[str, object],
        *,
        bench: str = "",
        policy: str = "",
        profile: str = "",
        environment: Mapping[str, object] | None = None,
        instants: Instants = host_instants,
        token: str | None = None,
        by: str | None = None,
        secret: bytes | None = None,
    ) -> Self:
        """A new folder ``<UTC yyyymmddThhmmssZ>-<token>`` with plan, bench, policy and environment committed.

        ``plan`` holds what is fixed before measuring; its "provenance" object is handed to the judge. The same plan
        must give the same hash when it is resumed, so no times or run names in it. ``token`` is 6 hex digits, random
        when not given; ``by`` names this process to whoever finds the folder locked. With a ``secret`` of 32 random
        octets the result can be handed out redacted.
        """
        parent = root / "simulated" if simulated else root
        make_directory(parent)
        at = datetime.fromtimestamp(instants()[0] // 1_000_000_000, UTC)
        name = f"{at:%Y%m%dT%H%M%SZ}-{token or secrets.token_hex(3)}"
        path = parent / name
        try:
            make_directory(path, fresh=True)
        except FileExistsError as error:
            raise ArchiveError(f"a new folder {path}", "one that is there", "start the run again") from error
        make_directory(path / "data")
        journal = Journal(path / JOURNAL, instants)
        try:
            contents = {
                PLAN: canonical(plain(plan)),
                BENCH: bench.encode(),
                POLICY: policy.encode(),
                **({optical.PROFILE: profile.encode()} if profile else {}),
                ENVIRONMENT: canonical(plain(environment or {})),
                **({} if secret is None else {REDACTION: redaction.secret_file(secret)}),
            }
            for file, data in contents.items():
                write_file(path / file, data)
            hashes = {file: sha256(data) for file, data in contents.items()}
            journal.append(COMMITTED, run=name, simulated=simulated, by=by or _this_process(), files=hashes)
        except BaseException:
            journal.close()
            raise
        return cls(path, journal)

    @classmethod
    def open(
        cls, path: Path, *, redo_interrupted: bool = True, instants: Instants = host_instants, by: str | None = None
    ) -> Self:
        """Go on with an unsealed folder, after a kill or an interrupt; refuses a sealed one.

        What a measurement that did not finish left behind is moved to ``data/attempts/<n>/`` and stays in the bag;
        so is one that finished as interrupted, unless ``redo_interrupted`` is false or sealing had begun.
        """
        if bag.sealed(path):
            raise ArchiveError(f"to write in {path}", "a sealed run", "judge it again beside it, or start a new run")
        if not (path / JOURNAL).exists():
            raise ArchiveError(f"a run folder at {path}", f"no {JOURNAL}", "start a new run")
        journal = Journal(path / JOURNAL, instants)
        try:
            folder = cls(path, journal)
            folder._resume(redo_interrupted, by or _this_process())
        except BaseException:
            journal.close()
            raise
        return folder

    def _resume(self, redo_interrupted: bool, by: str) -> None:
        book = self.ledger
        leftovers = (*self.path.glob(f"*{PARTIAL}"), *(self.path / "data").glob(f"*{PARTIAL}"))
        for partial in leftovers:
            partial.unlink()
        # Journaled first, moved second: a kill between the two is mended here by the next open.
        for source, target in book.moves:
            self._move(source, target)
        again = [name for name, why in book.finished.items() if why and redo_interrupted and not book.sealed]
        self.journal.append(RESUMED, by=by)
        attempt = 1 + max((int(target.split("/")[1]) for _, target in book.moves), default=0)
        for name in (*book.open, *again):
            self.journal.append(SET_ASIDE, measurement=name, attempt=attempt)
            self._move(name, f"attempts/{attempt}/{name}")
        for path in sorted((self.path / "data").iterdir()):
            name = f"data/{path.name}"
            if path.is_file() and name != JOURNAL and name not in book.committed:
                digest = bag.file_sha256(path)
                if digest != book.hashes.get(name):
                    self.journal.append(ADOPTED, path=name, sha256=digest)

    def _move(self, source: str, target: str) -> None:
        origin, destination = self.path / "data" / source, self.path / "data" / target
        # Only an unfinished move: a later attempt may stand at the source already.
        if origin.exists() and not destination.exists():
            make_directory(destination.parent)
            try:
                origin.rename(destination)
            except OSError as error:
                raise refusal(destination, error) from error

    @property
    def name(self) -> str:
        """The run's id, its folder's name."""
        return self.path.name

    @property
    def ledger(self) -> Ledger:
        """What the journal says is there."""
        return ledger(self.journal.entries)

    @property
    def plan(self) -> dict[str, JSON]:
        """plan.json as committed."""
        return parse_object(read_file(self.path / PLAN), PLAN)

    @property
    def policy(self) -> str:
        """Text of policy.toml as committed."""
        return read_file(self.path / POLICY).decode()

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        """The finished measurements as read back from disk, in the order of finishing."""
        return measurements(self.path, self.ledger)

    @property
    def finished(self) -> tuple[str, ...]:
        """Ids of the finished measurements, calibrations apart, in the order of finishing; reads no samples."""
        prefix = f"{MEASUREMENTS}/"
        return tuple(name.removeprefix(prefix) for name in self.ledger.finished if name.startswith(prefix))

    def load(self, measurement_id: str, section: str = MEASUREMENTS) -> Measurement:
        """One finished measurement as read back from disk."""
        if f"{section}/{measurement_id}" not in self.ledger.finished:
            raise ArchiveError(f"a finished measurement {section}/{measurement_id}", "none", "measure it first")
        return load_measurement(self.path / "data" / section / measurement_id)

    def calibration(self, measurement_id: str) -> Calibration | None:
        """The numbers derived from a finished calibration measurement; None when this run has none of that id."""
        if f"{CALIBRATIONS}/{measurement_id}" not in self.ledger.finished:
            return None
        return load_calibration(self.path / "data" / CALIBRATIONS / measurement_id)

    def begin(self, measurement_id: str, section: str = MEASUREMENTS, rows: int = ROWS) -> SegmentWriter:
        """Start a measurement; its rows go to the writer as they come, ``rows`` to a segment.

        ``section`` is `MEASUREMENTS` or `CALIBRATIONS`.
        """
        name = f"{section}/{file_name(measurement_id)}"
        book = self.ledger
        if name in book.finished or name in self._writers:
            raise ArchiveError(f"a new measurement {name}", "one that was begun", "give each measurement its own id")
        if name not in book.open:
            self.journal.append(STARTED, measurement=name)
        make_directory(self.path / "data" / name)
        self._writers[name] = SegmentWriter(self.path / "data" / name, self.journal, name, rows)
        return self._writers[name]

    def finish(
        self, measurement: Measurement, section: str = MEASUREMENTS, calibration: Calibration | None = None
    ) -> None:
        """Put the rest of a begun measurement on disk and journal it as finished.

        Its samples are written here if none went to the writer; else their numbers must agree. ``calibration`` are the
        numbers derived from it, for section `CALIBRATIONS`. After an ArchiveError the same call may be tried again.
        """
        name = f"{section}/{measurement.id}"
        writer = self._writers.get(name)
        if writer is None:
            raise ArchiveError(f"a begun measurement {name}", "none", "call begin first")
        if writer.untouched:
            writer.append({column: getattr(measurement.samples, column) for column in COLUMNS})
        writer.flush()
        if writer.written != len(measurement.samples):
            raise ArchiveError(
                f"{len(measurement.samples)} rows of {name} on disk", f"{writer.written}", "give the writer every row"
            )
        contents = files(measurement)
        if calibration is not None:
            contents[CALIBRATION] = calibration_file(calibration)
        for file, data in contents.items():
            write_file(self.path / "data" / name / file, data)
        hashes = {file: sha256(data) for file, data in contents.items()}
        self.journal.append(
            FINISHED, measurement=name, rows=writer.written, files=hashes, interrupted=measurement.interrupted
        )
        del self._writers[name]

    def abandon(self, measurement_id: str, section: str = MEASUREMENTS) -> None:
        """Set a begun measurement aside under attempts, with the rows it has: something kept it from its end."""
        name = f"{section}/{measurement_id}"
        writer = self._writers.pop(name, None)
        if writer is None:
            return
        with contextlib.suppress(ArchiveError):  # a full disk keeps what is on it
            writer.flush()
        attempt = 1 + max((int(target.split("/")[1]) for _, target in self.ledger.moves), default=0)
        self.journal.append(SET_ASIDE, measurement=name, attempt=attempt)
        self._move(name, f"attempts/{attempt}/{name}")

    def keep(self) -> None:
        """Put the rows of every begun measurement on disk, as far as it takes them: the run is being cut off."""
        for writer in self._writers.values():
            with contextlib.suppress(ArchiveError):
                writer.flush()

    def store(
        self, measurement: Measurement, section: str = MEASUREMENTS, calibration: Calibration | None = None
    ) -> None:
        """Begin and finish a measurement that is whole in memory."""
        if f"{section}/{measurement.id}" not in self._writers:
            self.begin(measurement.id, section)
        self.finish(measurement, section, calibration)

    def add_file(self, name: str, data: bytes) -> None:
        """Put ``report.pdf``, ``junit.xml`` and the like into data, journaled with its hash; replaces an older one."""
        path = f"data/{file_name(name)}"
        if path in (*self.ledger.committed, JOURNAL):
            raise ArchiveError(f"a new file {path}", "one that was committed before measuring", "give it another name")
        write_file(self.path / path, data)
        self.journal.append(FILE, path=path, sha256=sha256(data))

    def keep_trace(self, name: str, data: bytes) -> None:
        """Put a recorded trace into data/traces, journaled with its hash; one of that name is replaced."""
        path = f"data/{optical.TRACES}/{file_name(name)}"
        make_directory((self.path / path).parent)
        write_file(self.path / path, data)
        self.journal.append(FILE, path=path, sha256=sha256(data))

    def keep_artefact(self, artefact_id: str, data: bytes) -> None:
        """Put the calibration artefact that the bench names into data/calibration, journaled with its hash; once."""
        path = artefact_path(artefact_id)
        if path in self.ledger.hashes:
            return
        make_directory((self.path / path).parent)
        write_file(self.path / path, data)
        self.journal.append(FILE, path=path, sha256=sha256(data))

    def judged(self, judge: Judge = certify) -> dict[str, Any]:
        """The result of what is on disk; the measurements are read back, so it is what an auditor will find."""
        book = self.ledger
        told = provenance(self.path, book)
        return judgement(self.path, book, judge, measurements(self.path, book), self.policy, told)

    def judge(self, judge: Judge = certify) -> dict[str, Any]:
        """Judge what is on disk, write result.json (canonical) and return its content."""
        result = self.judged(judge)
        self.add_file(RESULT.removeprefix("data/"), canonical(result))
        return result

    def seal(self, judge: Judge = certify) -> str:
        """Judge unless that was done since the last measurement, write the manifests and close.

        Returns the SHA-256 of manifest-sha256.txt, the run's fingerprint. Then the folder is never written again.
        """
        if self._writers:
            raise ArchiveError("every measurement finished", ", ".join(self._writers), "finish them before sealing")
        kinds = [
            e.kind for e in self.journal.entries
            if e.kind in (FINISHED, SET_ASIDE, PART, DONE)
            or (e.kind in (FILE, ADOPTED) and e.data.get("path") == RESULT)
        ]  # fmt: skip
        if kinds[-1:] != [FILE]:
            self.judge(judge)
        if REDACTION in self.ledger.committed:
            hidden = redaction.redacted(parse_object(read_file(self.path / RESULT), RESULT), secret(self.path))
            self.add_file(REDACTED.removeprefix("data/"), canonical(hidden))
        hashes = self.ledger.hashes
        fixed = {"redacted_sha256": hashes[REDACTED]} if REDACTED in hashes else {}
        entry = self.journal.append(SEALED, result_sha256=hashes[RESULT], **fixed)
        date = datetime.fromtimestamp(entry.utc_ns // 1_000_000_000, UTC).date().isoformat()
        manifest = bag.seal(self.path, self.name, date)
        self.close()
        return manifest

    def close(self) -> None:
        """Give the folder up, sealed or not; a second call does nothing."""
        self.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def artefact_path(artefact_id: str) -> str:
    """Where a run folder keeps the calibration artefact of that id."""
    return f"data/{CALIBRATIONS}/{file_name(artefact_id)}.json"


def policy_id(text: str) -> str:
    """``id`` in a policy's TOML ``text`` as a file name; ArchiveError when it has none."""
    try:
        found = tomllib.loads(text).get("id")
    except tomllib.TOMLDecodeError as error:
        raise ArchiveError("a policy in TOML", str(error), "mend the policy file") from error
    if not isinstance(found, str):
        raise ArchiveError("a policy with an id", repr(found), "add id = \"…\" to the policy file")  # fmt: skip
    return file_name(found)


def _this_process() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
