"""The Redaction of a result: places, routes and addresses give way to salted hashes that can be opened one by one."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.canonical import JSON, canonical, integer
from harness.errors import ArchiveError

SCHEME: Final = "millicert-redaction/1"
MARK: Final = "sha256"
"""Only key of what stands in a hidden value's place."""
HIDDEN: Final = "已遮盖 redacted"
"""What people read in its place."""
WITHHELD: Final = "withheld"
"""In what people read: the names of an object's hidden numbers, so that none of them passes for unknown."""
SECRET_OCTETS: Final = 32

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_STEP: Final = re.compile(r"\.[^.\[\]]+|\[\d+\]")
_NUMBER: Final = re.compile(r".*_(ns|ps|m|ppm)|n_needed|exceedances_guarded")
_ADDRESS: Final = (
    r"(?:\d{1,3}\.){3}\d{1,3}"  # IPv4
    r"|(?:\b[0-9a-f]{1,4}:){3}|\b[0-9a-f]{1,4}::|(?:\b[0-9a-f]{2}-){5}"  # IPv6, MAC
    r"|[0-9a-f]{6}\.?fffe\.?[0-9a-f]{6}"  # a clock identity that a MAC was made into
)
_BY_FLOOR: Final = "reverse-geodesic-floor"
"""In a bracket's ``subtracted``: the clock-free figures are less the flight time between the sites."""

SHOWN: Final = "shown"
FREE: Final = "free"
"""Text that someone wrote: shown unless it tells a hidden value."""


def _all(names: str) -> dict[str, Any]:
    return dict.fromkeys(names.split(), SHOWN)


_STATEMENT: Final = _all(
    "rule basis verdict sublabel reason reason_zh reason_en gates_red flow window_start_s estimate_ns lower_ns "
    "upper_ns infinite estimate_infinite u_c_ps k_milli U_ps nu_eff worst_case_ps n n_eff vif vif_plan exceedances "
    "exceedances_guarded would_settle n_needed u_needed_ps measurement"
)
_DIRECTION: Final = _all(
    "link direction label measurement verdict reason_zh reason_en basis interrupted worst_flow single_flow flows "
    "windows pair loss pdv ipdv reordering duplicates conditional"
) | {"short": FREE, "statements": _STATEMENT, "bracket": _all("tier subtracted upper_ns direction")}

_TREE: Final[Mapping[str, Any]] = {
    **_all("schema notice verdict complete policy"),
    "incomplete_reasons": FREE,
    "simulated": FREE,
    "provenance": {
        **_all(
            "result_schema run bench plan_sha256 policy_sha256 links log software plans started_ns ended_ns attempt"
        ),
        **dict.fromkeys(("operator", "incomplete", "waived", "deviations", "shortened", "external"), FREE),
        "lab": dict.fromkeys(("name", "address", "authoriser", "authoriser_role", "issued", "received"), FREE),
        "machine": _all("kernel architecture cpu cpus clocksource interpreter"),
        "instruments": {},
    },
    "requirements": _all(
        "id title_zh title_en verdict measurand layer limit_ns statistic p window_s alpha min_seconds min_windows "
        "min_n_eff vif_plan vif_origin year source origin confirmed confirmation definition_zh definition_en rule_ids"
    )
    | {"directions": _DIRECTION},
    "budgets": _all("measurement direction basis requirement u_c_ps nu_eff k_milli U_ps worst_case_ps")
    | {"components": _all("name_zh name_en value_ps distribution divisor u_ps nu type") | {"origin": FREE}},
    "gates": _all("id state guards pass_only measurement direction requirement remedy_zh remedy_en"),
    "streams": _all(
        "measurement link name rate_pps size dscp flows schedule duration_ns t_max_ns unloaded started_ns ended_ns "
        "interrupted counts counters planes planes_judged near_planes path_changes host_stalls"
    )
    | {"simulated": FREE},
    "links": _all("name near far ipv6 authenticated far_clock_trusted sync_over_link") | {"route": {}},
    "evidence": _all(
        "measurement site source admissible polls first_ns last_ns synchronised max_bound_ns bound_unknown "
        "max_skew_ppb tai_utc_s leap_pending"
    ),
    "acceptance": _all("schema verdict complete started_ns ended_ns")
    | {
        "profile": _all("id version kind year title_zh title_en sha256"),
        "incomplete_reasons": FREE,
        "requirements": _all(
            "id procedure figure title_zh title_en unit sense limit rule method year source confirmed confirmation "
            "definition_zh definition_en verdict reason_zh reason_en count counts"
        ),
    },
    "calibrations": _all("measurement expires applied bias_ns spread_ns samples rate_pps size planes"),
}
"""What is shown; everything else, whatever a later version adds, is hidden. Lists are looked through."""

_TELLING: Final = _all(
    "clock-near clock-far evidence-coverage clock-agreement leap kernel-steps time-scale negative-delay step skew "
    "schedule unstamped host-stalls reflector-restart own-loss far-journal far-silent uncertainty "
    "rehearsal-policy"
)
"""Gates whose findings and limits tell of no place; `harness.gates` writes the floor into those of others."""

_BY_FLIGHT: Final = ("estimate_ns", "lower_ns", "upper_ns", "n_needed", "u_needed_ps", "exceedances_guarded")
"""Figures of a clock-free statement that give the flight time away where the reverse floor was subtracted."""


def is_mark(value: object) -> bool:
    """Whether ``value`` stands in a hidden value's place."""
    return isinstance(value, Mapping) and value.keys() == {MARK} and _digest(value[MARK])


def _digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def blind(secret: bytes) -> str:
    """What stands hidden in a result so that nobody can find its values by trying them against its hash; hex."""
    return hmac.new(secret, b"blind", hashlib.sha256).hexdigest()


def salt(secret: bytes, path: str) -> bytes:
    """The 32 octets that hide the value at ``path``; they tell nothing of those of another path."""
    return hmac.new(secret, b"value " + path.encode(), hashlib.sha256).digest()


def mark(own: bytes, path: str, value: JSON) -> dict[str, JSON]:
    """What stands in the place of ``value``: SHA-256 of its salt ``own`` and the canonical [path, value]."""
    return {MARK: hashlib.sha256(own + canonical([path, value])).hexdigest()}


def redacted(result: Mapping[str, Any], secret: bytes) -> dict[str, JSON]:
    """``result`` with every value that tells a place in its mark, and "redaction": the scheme.

    Raises ArchiveError when ``result`` is redacted already or holds what could pass for a mark.
    """
    if "redaction" in result:
        raise ArchiveError("a result to redact", "one that is redacted", "redact the run that it was made of")
    found: dict[str, JSON] = _Hiding(secret, result).of(result, _TREE, "$")
    return {**found, "redaction": SCHEME}


class _Hiding:
    """One walk through a result."""

    def __init__(self, secret: bytes, result: Mapping[str, Any]) -> None:
        self._secret = secret
        self._telling = _pattern(_told(result))

    def of(self, value: Any, tree: Any, path: str) -> Any:
        if is_mark(value):
            raise ArchiveError(f"a value that is no mark of a redaction at {path}", str(value), "redact the run itself")
        if isinstance(value, list):
            return [self.of(item, tree, f"{path}[{index}]") for index, item in enumerate(value)]
        if tree == SHOWN or (tree == FREE and isinstance(value, str) and not self._telling(value)):
            if isinstance(value, Mapping):
                return {key: self.of(item, tree, f"{path}.{key}") for key, item in value.items()}
            return value
        if isinstance(tree, Mapping) and isinstance(value, Mapping):
            here = self._here(tree, value, path)
            return {
                key: self.of(item, here[key], f"{path}.{key}") if key in here else self._mark(item, f"{path}.{key}")
                for key, item in value.items()
            }
        return self._mark(value, path)

    def _mark(self, value: JSON, path: str) -> dict[str, JSON]:
        return mark(salt(self._secret, path), path, value)

    def _here(self, tree: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Mapping[str, Any]:
        """What is shown of this one object, by what stands in it."""
        if path.startswith("$.gates[") and value.get("id") in _TELLING:
            return {**tree, "found": FREE, "limit": FREE}
        if tree is _DIRECTION and _BY_FLOOR in ((value.get("bracket") or {}).get("subtracted") or ()):
            by_flight = value.get("basis") == "clock-free"
            return {
                key: {**_STATEMENT, "by_flight": True} if key == "statements"
                else {k: v for k, v in shown.items() if k != "upper_ns"} if key == "bracket"
                else shown
                for key, shown in tree.items()
                if not (by_flight and key == "windows")
            }  # fmt: skip
        if tree.get("by_flight"):
            free = value.get("basis") == "clock-free"
            return {k: v for k, v in tree.items() if k != "by_flight" and not (free and k in _BY_FLIGHT)}
        return tree


def _told(result: Mapping[str, Any]) -> Iterator[str]:
    """Texts that no shown text may hold: addresses, interfaces, origins, lengths, host names, clock identities."""
    for link in _objects(result.get("links")):
        route = link.get("route") if isinstance(link.get("route"), Mapping) else {}
        for key in ("near_address", "far_address", "interface", "positions_origin"):
            yield str(link.get(key) or "")
        for key in ("length_m", "origin"):
            yield str((route or {}).get(key) or "")
        yield str(link.get("geodesic_m") or "")
        yield from (str(each) for each in link.get("oxcs") or ())
    for each in _objects(result.get("evidence")):
        for words in each.get("identities") or ():
            yield from (word for word in re.split(r"[\s,]+", str(words)) if re.search(r"[.:\d]", word))
    provenance = result.get("provenance")
    machine = provenance.get("machine") if isinstance(provenance, Mapping) else None
    if isinstance(machine, Mapping):
        yield str(machine.get("host") or "")


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _pattern(words: Iterable[str]) -> Callable[[str], object]:
    """Whether a text holds one of ``words`` as a word of its own, or any network address."""
    known = sorted({word for word in words if len(word) > 1}, key=len, reverse=True)
    own = rf"(?<![^\W_])(?:{'|'.join(map(re.escape, known))})(?![^\W_])"
    return re.compile("|".join([*([own] if known else []), _ADDRESS]), re.IGNORECASE).search


# -- opening and checking --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Opening:
    """One hidden value with what shows that it is the one."""

    path: str
    salt: bytes
    value: JSON

    def opens(self, result: Mapping[str, Any]) -> bool:
        """Whether the redacted ``result`` has this very value hidden at this path."""
        return bool(at(result, self.path) == mark(self.salt, self.path, self.value))

    def as_dict(self) -> dict[str, JSON]:
        """It for revealed.json; the salt in hex."""
        return {"path": self.path, "salt": self.salt.hex(), "value": self.value}


def opening(value: JSON) -> Opening:
    """The opening that `Opening.as_dict` wrote. Raises ArchiveError when it is of another form."""
    if isinstance(value, Mapping) and value.keys() == {"path", "salt", "value"}:
        path, own = value["path"], value["salt"]
        if isinstance(path, str) and _digest(own):
            return Opening(path, bytes.fromhex(str(own)), value["value"])
    raise ArchiveError("path, salt and value of a revealed value", repr(value)[:80], "ask for that folder anew")


def steps(path: str) -> list[str | int]:
    """Keys and indices of a path such as ``$.links[0].route.length_m``. Raises ArchiveError for another form."""
    given = path if path.startswith("$") else f"$.{path}"
    found = _STEP.findall(given[1:])
    if "".join(found) != given[1:]:
        raise ArchiveError("a path such as $.links[0].route.length_m", repr(path), "see result.json for the names")
    return [step[1:] if step[0] == "." else int(step[1:-1]) for step in found]


def at(value: Any, path: str) -> Any:
    """What stands at ``path``; None when there is nothing."""
    for step in steps(path):
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def marks(value: Any, path: str = "$") -> Iterator[str]:
    """Paths of every hidden value, in order."""
    if is_mark(value):
        yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from marks(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from marks(item, f"{path}[{index}]")


def openings(result: Mapping[str, Any], hidden: Mapping[str, Any], secret: bytes, wanted: str) -> list[Opening]:
    """What opens every value hidden at or below ``wanted``; ArchiveError when nothing is.

    ``hidden`` is the redaction of ``result`` under ``secret``.
    """
    base = steps(wanted)
    found = [Opening(p, salt(secret, p), at(result, p)) for p in marks(hidden) if steps(p)[: len(base)] == base]
    if not found:
        raise ArchiveError(f"a hidden value at {wanted}", "none", "see data/redacted.json for what is hidden")
    return found


def unfaithful(result: Any, hidden: Any, secret: bytes, path: str = "$") -> Iterator[str]:
    """Every place where ``hidden`` is not ``result`` with values hidden under ``secret``; nothing when it is.

    Asks nothing of what had to be hidden, so it holds for redactions by other versions.
    """
    if path == "$":
        if not isinstance(hidden, Mapping) or hidden.get("redaction") != SCHEME:
            yield f"$.redaction is not {SCHEME}"
            return
        hidden = {key: item for key, item in hidden.items() if key != "redaction"}
    if is_mark(hidden):
        if hidden != mark(salt(secret, path), path, result):
            yield f"{path} hides another value"
    elif isinstance(hidden, Mapping) and isinstance(result, Mapping) and hidden.keys() == result.keys():
        for key, item in hidden.items():
            yield from unfaithful(result[key], item, secret, f"{path}.{key}")
    elif isinstance(hidden, list) and isinstance(result, list) and len(hidden) == len(result):
        for index, item in enumerate(hidden):
            yield from unfaithful(result[index], item, secret, f"{path}[{index}]")
    elif type(hidden) is not type(result) or hidden != result:
        yield f"{path} differs"


# -- for readers -----------------------------------------------------------------------------------------------------


def readable(hidden: Mapping[str, Any], opened: Sequence[Opening] = ()) -> dict[str, Any]:
    """A redacted result as reports and tables read it: what was opened in its place, `HIDDEN` for hidden texts.

    Hidden numbers are None, and named under `WITHHELD` beside them. A result without redaction stays as it is.
    """
    known = {each.path: each.value for each in opened}
    found: dict[str, Any] = _read(hidden, known, "$")
    return found


def _read(value: Any, known: Mapping[str, JSON], path: str) -> Any:
    if isinstance(value, list):
        return [_read(item, known, f"{path}[{index}]") for index, item in enumerate(value)]
    if is_mark(value):
        return known.get(path, HIDDEN)
    if not isinstance(value, Mapping):
        return value
    found: dict[str, Any] = {}
    without = []
    for key, item in value.items():
        below = f"{path}.{key}"
        if is_mark(item) and below not in known and (_NUMBER.fullmatch(key) or key == "windows"):
            found[key] = [] if key == "windows" else None
            without.append(key)
        else:
            found[key] = _read(item, known, below)
    return {**found, WITHHELD: without} if without else found


def secret_file(secret: bytes) -> bytes:
    """Octets of the file that keeps a run's secret."""
    if len(secret) != SECRET_OCTETS:
        raise ArchiveError(f"a secret of {SECRET_OCTETS} octets", f"{len(secret)}", "draw one")
    return canonical({"schema": SCHEME, "secret": secret.hex()})


def secret_of(members: Mapping[str, JSON]) -> bytes:
    """The secret in what `secret_file` wrote. Raises ArchiveError when it is of another form."""
    if members.get("schema") != SCHEME or not _digest(members.get("secret")):
        raise ArchiveError(f"a secret of {SCHEME}", "another form", "restore that file from a copy")
    return bytes.fromhex(str(members["secret"]))


def ended_ns(hidden: Mapping[str, Any]) -> int:
    """End of the last stream, ns since 1970 UTC, by which the report is dated; 0 when nothing was measured."""
    streams = _objects(hidden.get("streams"))
    return max((integer(each["ended_ns"], "ended_ns") for each in streams), default=0)
