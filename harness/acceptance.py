"""The acceptance of a device: its profile, its figures and their verdicts become the content of result.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.figure import Derived, Figure, Finding
from harness.figures.catalogue import PROCEDURES
from harness.profile import Limit, Profile
from harness.reading import Record
from harness.verdict import FigureClaim, Verdict, decide_figure, roll_up, severity

Json = Any
SCHEMA: Final = "millicert-acceptance/1"
WORST_SHOWN: Final = 12
"""How many figures of a requirement are written out with their budget."""

REASONS: Final[dict[str, tuple[str, str]]] = {
    "within": (
        "测得值加扩展不确定度在限值之内",
        "the value with its expanded uncertainty keeps the limit",
    ),
    "beyond": (
        "测得值减扩展不确定度仍超出限值",
        "the value misses the limit even with its expanded uncertainty taken off",
    ),
    "guard-band": (
        "在约定风险下不能判定：测得值距限值小于扩展不确定度",
        "not decided at the agreed risk: the value lies within its expanded uncertainty of the limit",
    ),
    "one-sided": ("只得到单侧界，不足以判定", "only a bound was found, on the side that decides nothing"),
    "no-value": ("没有可判定的读数", "there is no reading to judge"),
    "doubt": ("测量本身的检查未通过", "a check on the measuring itself is red"),
    "incomplete": ("测量未完成，不能判为符合", "the measurement is incomplete and cannot pass"),
    "not-measured": ("未测量", "it was not measured"),
}
"""Reason key → (zh, en)."""


def judge(profile: Profile, record: Record, told: Mapping[str, Json]) -> dict[str, Json]:
    """The acceptance as it stands in result.json: integers and text only, the same for the same input.

    ``told`` goes in as given (device under test, hand's steps …); its list ``incomplete`` says what of the plan is
    missing for other reasons.
    """
    derived = {
        name: PROCEDURES[name].derive(record, profile.settings_of(name))
        for name in PROCEDURES
        if record.has(name) or name in record.finished
    }
    missing = [str(text) for text in told.get("incomplete", ())]
    requirements = []
    without = set((told.get("dut") or {}).get("without", ()))
    for limit in profile.requirements:
        if limit.id in without:
            continue
        row = _requirement(limit, derived.get(limit.procedure), limit.procedure in record.finished)
        if limit.procedure not in record.finished:
            missing.append(f"{limit.id}: {limit.procedure} was not {'finished' if row['count'] else 'measured'}")
        requirements.append(row)
    verdict = roll_up(Verdict(row["verdict"]) for row in requirements)
    if missing and verdict is Verdict.PASS:
        verdict = Verdict.INDETERMINATE
    return {
        "schema": SCHEMA,
        "verdict": str(verdict),
        "complete": not missing,
        "incomplete_reasons": list(dict.fromkeys(missing)),
        "profile": {
            "id": profile.id,
            "version": profile.version,
            "kind": profile.kind,
            "year": profile.year,
            "title_zh": profile.title_zh,
            "title_en": profile.title_en,
            "sha256": profile.sha256,
        },
        **{key: value for key, value in told.items() if key != "incomplete"},
        "not_ordered": sorted(without),
        "instruments": [
            {
                "name": each.name,
                "driver": each.driver,
                "identity": each.identity,
                "serial": each.serial,
                "calibrated_until": each.calibrated_until,
                "unconfirmed": list(each.unconfirmed),
                "spec": dict(each.spec),
                "spec_origin": each.spec_origin,
            }
            for each in record.instruments.values()
        ],
        "requirements": requirements,
        "doubts": [
            {
                "procedure": name,
                "id": each.id,
                "subject": each.subject,
                "state": "red" if each.red else "green",
                "found": each.found,
                "limit": each.limit,
                "remedy_zh": each.remedy_zh,
                "remedy_en": each.remedy_en,
            }
            for name, got in derived.items()
            for each in got.doubts
        ],
        "findings": [{"procedure": name, **_finding(each)} for name, got in derived.items() for each in got.findings],
        "notes": [f"{name}: {note}" for name, got in derived.items() for note in got.notes],
        "tables": [
            {"procedure": name, "name": key, **table}
            for name, got in derived.items()
            for key, table in got.tables.items()
        ],
    }


def _finding(each: Finding) -> dict[str, Json]:
    return {"id": each.id, "where": each.where, "zh": each.zh, "en": each.en}


def _claim(limit: Limit, figure: Figure) -> FigureClaim:
    return FigureClaim(
        limit=limit.limit,
        sense=limit.sense,
        value=figure.value,
        expanded=figure.budget.expanded,
        side=figure.side,
        doubted=bool(figure.doubts),
    )


def _requirement(limit: Limit, derived: Derived | None, finished: bool) -> dict[str, Json]:
    figures: Sequence[Figure] = () if derived is None else derived.figures.get(limit.figure, ())
    found = [(figure, decide_figure(limit.rule, _claim(limit, figure))) for figure in figures]
    verdict = roll_up(said for _, (said, _) in found) if found else Verdict.INDETERMINATE
    reason = "not-measured" if not found else max((s for _, s in found), key=lambda s: severity(s[0]))[1]
    if verdict is Verdict.PASS and not finished:
        verdict, reason = Verdict.INDETERMINATE, "incomplete"
    zh, en = REASONS[reason]

    def badness(pair: tuple[Figure, tuple[Verdict, str]]) -> tuple[int, int]:
        figure, (said, _) = pair
        if figure.value is None:
            return severity(said), 1 << 60
        beyond = figure.value - limit.limit if limit.sense == "max" else limit.limit - figure.value
        return severity(said), beyond + figure.budget.expanded

    worst = sorted(found, key=badness, reverse=True)[:WORST_SHOWN]
    names = list(dict.fromkeys(name for figure in figures for name, _ in figure.key))
    counts = {str(each): sum(said is each for _, (said, _) in found) for each in Verdict}
    return {
        **limit.model_dump(mode="json"),
        "verdict": str(verdict),
        "reason_zh": zh,
        "reason_en": en,
        "count": len(found),
        "counts": counts,
        "worst": [_written_out(limit, figure, said, why) for figure, (said, why) in worst],
        "columns": [*names, "value", "U", "side", "verdict"],
        "rows": [
            [
                *(dict(figure.key).get(name) for name in names),
                figure.value,
                figure.budget.expanded,
                figure.side,
                str(said),
            ]
            for figure, (said, _) in found
        ],
    }


def _written_out(limit: Limit, figure: Figure, said: Verdict, why: str) -> dict[str, Json]:
    zh, en = REASONS[why]
    return {
        "key": dict(figure.key),
        "label": figure.label,
        "value": figure.value,
        "side": figure.side,
        "why": figure.why,
        "verdict": str(said),
        "reason_zh": zh,
        "reason_en": en,
        "doubts": list(figure.doubts),
        "budget": figure.budget.as_dict(limit.unit),
    }
