"""A result as a long CSV table, one row a statement or flow with all its context: what a LIMS imports."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from harness.report.cells import listed

COLUMNS: Final = (
    "run_id", "utc_start", "utc_end", "simulated", "plan_id", "plan_rev", "step_id", "requirement_id", "dut_sn",
    "dut_pn", "dut_rev", "site", "station", "operator", "link", "direction", "port_in", "port_out", "scope", "basis",
    "quantity", "value", "unit", "lower", "upper", "comparator", "limit", "U_k2", "k", "decision_rule", "verdict",
    "attempt", "instrument_sn", "instrument_fw", "cal_due", "clock_offset_ns", "clock_bound_ns", "raw_file", "sha256",
)  # fmt: skip
"""The least that every importer can digest, with limit, k, basis and scope. Delays in ns, infinity as "inf"."""

_QUANTITY: Final = {"worst-window-median": "worst one-window median of one-way delay", "quantile": "one-way delay"}
_PER_FLOW: Final = (("min", "minimum"), ("p50", "median"), ("p99", "P99"), ("p999", "P99.9"), ("max", "maximum"))

Row = dict[str, str]


def _instant(ns: object) -> str:
    """UTC with ns; empty when unknown."""
    if not ns:
        return ""
    whole, rest = divmod(int(str(ns)), 10**9)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _delay(value: object, infinite: object = False) -> str:
    return "inf" if infinite else _text(value)


def rows(result: Mapping[str, Any], hashes: Mapping[str, str]) -> Iterator[Row]:
    """Every statement of every direction, then every flow's figures, which are information and have no limit."""
    provenance: Mapping[str, Any] = result.get("provenance") or {}
    streams = {stream["measurement"]: stream for stream in result["streams"]}
    lab = provenance.get("lab") or {}
    machine, software = provenance.get("machine") or {}, provenance.get("software") or {}
    common = {
        "run_id": _text(provenance.get("run")),
        "simulated": "; ".join(result["simulated"]),
        "plan_id": ", ".join(provenance.get("plans") or ()),
        "plan_rev": _text(provenance.get("plan_sha256")),
        "dut_sn": _text(lab.get("item_id")),
        "dut_pn": _text(lab.get("item")),
        "site": _text(lab.get("location")),
        "station": _text(provenance.get("bench")),
        "operator": _text(provenance.get("operator")),
        "attempt": _text((provenance.get("log") or {}).get("attempt")),
        "instrument_sn": _text(machine.get("host")),
        "instrument_fw": " ".join(["millicert", _text(software.get("version")), _text(software.get("sources_sha256"))]),
    }
    for requirement in result["requirements"]:
        for way in requirement["directions"]:
            stream = streams[way["measurement"]]
            context = common | {
                "utc_start": _instant(stream["started_ns"]),
                "utc_end": _instant(stream["ended_ns"]),
                "step_id": way["measurement"],
                "requirement_id": requirement["id"],
                "link": way["link"],
                "direction": way["direction"],
                "cal_due": _calibrated_until(result, way["measurement"]),
                "clock_offset_ns": ""
                if way["clock_offset_ns"] is None
                else "..".join(map(str, way["clock_offset_ns"])),
                "clock_bound_ns": _bounds(result, way["measurement"]),
                "raw_file": f"data/measurements/{way['measurement']}",
                "sha256": hashes.get(way["measurement"], ""),
            }
            for statement in way["statements"]:
                yield _row(context, _statement(requirement, statement))
            for flow in way["flows"]:
                for key, name in _PER_FLOW:
                    yield _row(context, _figure(flow, key, name))
    yield from _accepted(result.get("acceptance") or {}, common)


def _accepted(found: Mapping[str, Any], common: Row) -> Iterator[Row]:
    """Every figure of an acceptance, in the unit of its requirement."""
    dut: Mapping[str, Any] = found.get("dut") or {}
    for row in listed(found, "requirements"):
        names = listed(row, "columns")
        context = common | {
            "dut_sn": _text(dut.get("serial")) or common["dut_sn"],
            "step_id": row["procedure"],
            "requirement_id": row["id"],
            "raw_file": "data/journal.jsonl",
        }
        for cells in listed(row, "rows"):
            named = dict(zip(names, cells, strict=True))
            rest = {k: v for k, v in named.items() if k not in {"in", "out", "value", "U", "side", "verdict"}}
            yield _row(
                context,
                {
                    "scope": "; ".join(f"{k} {v}" for k, v in rest.items()),
                    "port_in": _text(named.get("in")),
                    "port_out": _text(named.get("out")),
                    "basis": _text(named["side"]) or "read",
                    "quantity": row["figure"],
                    "value": _text(named["value"]),
                    "unit": row["unit"],
                    "comparator": "LE" if row["sense"] == "max" else "GE",
                    "limit": _text(row["limit"]),
                    "U_k2": _text(named["U"]),
                    "decision_rule": row["rule"],
                    "verdict": named["verdict"],
                },
            )


def _calibrated_until(result: Mapping[str, Any], measurement: str) -> str:
    dates = {_text(c.get("expires")) for c in result["calibrations"] if c["measurement"] == measurement}
    return ", ".join(sorted(dates - {""}))


def _bounds(result: Mapping[str, Any], measurement: str) -> str:
    """site=bound of the clocks' evidence, the largest of each site; "unknown" where a source gave none."""
    found: dict[str, list[int | None]] = {}
    for each in result["evidence"]:
        if each["measurement"] == measurement:
            found.setdefault(each["site"], []).append(each["max_bound_ns"])
    worst = {site: max((b for b in bounds if b is not None), default=None) for site, bounds in found.items()}
    return "; ".join(f"{site}={'unknown' if b is None else b}" for site, b in sorted(worst.items()))


def _statement(requirement: Mapping[str, Any], statement: Mapping[str, Any]) -> Row:
    numerator, denominator = requirement["p"]
    kind = _QUANTITY.get(requirement["statistic"], requirement["statistic"])
    expanded = statement["U_ps"]
    return {
        "scope": "worst flow" if statement["flow"] is None else f"worst flow, port {statement['flow']}",
        "port_in": _text(statement["flow"]),
        "basis": statement["basis"],
        "quantity": f"{kind}, p = {numerator}/{denominator}",
        "value": _delay(statement["estimate_ns"], statement["estimate_infinite"]),
        "lower": _text(statement["lower_ns"]),
        "upper": _delay(statement["upper_ns"], statement["infinite"]),
        "comparator": "LE",
        "limit": _text(requirement["limit_ns"]),
        "U_k2": "" if expanded is None else str(-(-expanded // 1000)),
        "k": f"{statement['k_milli'] // 1000}.{statement['k_milli'] % 1000:03d}",
        "decision_rule": statement["rule"],
        "verdict": statement["verdict"],
    }


def _figure(flow: Mapping[str, Any], key: str, name: str) -> Row:
    return {
        "scope": f"flow, port {flow['port']}",
        "port_in": _text(flow["port"]),
        "basis": "received packets",
        "quantity": f"{name} of one-way delay",
        "value": _text(flow[key]),
        "comparator": "LOG",
    }


def _row(context: Row, own: Row) -> Row:
    unknown = own.keys() - set(COLUMNS)
    if unknown:
        raise KeyError(f"no columns {sorted(unknown)}")
    return dict.fromkeys(COLUMNS, "") | context | {"unit": "ns"} | own


def _plain(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in tuple("=+@\t\r") or (text[:1] == "-" and not text[1:].isdigit()) else text


def longtable(result: Mapping[str, Any], hashes: Mapping[str, str]) -> bytes:
    """The table as UTF-8 CSV with a header (RFC 4180); the same for the same result.

    ``hashes``: measurement → SHA-256 of its record in ``raw_file``, which names its segments' hashes in turn.
    """
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    writer.writerows({key: _plain(value) for key, value in row.items()} for row in rows(result, hashes))
    return out.getvalue().encode("utf-8")
