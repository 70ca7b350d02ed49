"""The content of a report as finished text: result.json in, bilingual cells and tables out, no layout."""

from __future__ import annotations

from typing import Any

from harness.report import phrases, tables
from harness.report import quantity as q
from harness.report.boxes import box
from harness.report.cells import Cell, Result, both, directions, pair, text
from harness.report.particulars import attempt, deviations, lab, number, particulars
from harness.report.phrases import Phrase


def _limits(result: Result) -> list[Cell]:
    """Deviations, then what this report does not say."""
    provenance: Result = result.get("provenance") or {}
    notes: list[Phrase] = [Phrase(f"偏离 Deviation: {text(d)}", "") for d in deviations(result)]
    notes += [
        Phrase(f"未完成 Incomplete: {reason}", "") for reason in map(text, result.get("incomplete_reasons") or [])
    ]
    facts = "; ".join(map(text, result.get("simulated") or []))
    notes += [Phrase(f"模拟 Simulated: {facts}", "")] if facts else []
    outside = (result.get("policy") or {}).get("informative") or []
    if outside:
        names = [both(i, "title", Phrase(str(i.get("id", "")), str(i.get("id", "")))) for i in outside]
        notes.append(
            Phrase(
                "同一计划的下列指标不在本报告内：" + "、".join(n.zh for n in names) + "。",
                "Indicators of the same plan that this report does not cover: " + "; ".join(n.en for n in names) + ".",
            )
        )
    if "redaction" in result:
        notes.append(
            Phrase(
                f"本报告为遮盖版：坐标、光缆、地址与主机名以及可推得光缆长度的数值以加盐散列代替，标为“{q.WITHHELD}”。"
                "判定与不确定度未改动。时延本身仍给出光缆长度的上界。",
                f"Redacted: positions, fibre, addresses, host names and figures from which the fibre's length follows "
                f"stand as salted hashes, shown as “{q.WITHHELD}”. Verdicts and uncertainties are as they were. "
                "The delay itself still bounds the length of the fibre.",
            )
        )
    notes.append(attempt(provenance))
    notes += [
        Phrase(
            "结果仅与被测物品有关，仅适用于所述测试窗口与所列流（源端口）；不说明其他时间、其他路由。",
            "Results relate only to the items tested, in the window tested, for the flows (source ports) listed; "
            "they say nothing of other times or other routes.",
        ),
        Phrase(
            "丢失的数据包按时延无穷大计入分位值；未剔除任何样本。",
            "Lost packets count as infinite delay in quantiles; no sample was removed.",
        ),
        Phrase(
            "方差膨胀因子 VIF 的计划值是申明的假设；实际突发更长时，误接受概率可能超过所述界限。",
            "The planned variance inflation factor (VIF) is a declared assumption; with longer bursts than it "
            "covers the probability of false acceptance can exceed the stated bound.",
        ),
        Phrase(
            "未经实验室书面批准，不得部分复制本报告。本报告不带认可标识。",
            "Not to be reproduced except in full without written approval of the laboratory. No accreditation mark.",
        ),
    ]
    return [pair(n) for n in notes]


def _verify(result: Result, digest: str) -> list[dict[str, Any]]:
    """Commands by which a reader checks this report without trusting who made it."""
    run = number(result) or "RUN"
    if "redaction" in result:
        return _verify_redacted(run, digest)
    folder = f"results/simulated/{run}" if result.get("simulated") else f"results/{run}"
    return [
        {
            "command": f"cd {folder} && sha256sum -c manifest-sha256.txt",
            "says": pair(Phrase("归档文件未被改动", "no archived file has changed")),
        },
        {
            "command": "pdfdetach -saveall report.pdf && sha256sum result.json",
            "says": pair(
                Phrase(f"本 PDF 所附结果，应为 {digest[:16]}...", f"the result inside this PDF: {digest[:16]}...")
            ),
        },
        {
            "command": f"millicert verify {folder}",
            "says": pair(
                Phrase("由原始时间戳重算判定，逐字节一致", "verdict recomputed from the raw timestamps, byte for byte")
            ),
        },
    ]


def _verify_redacted(run: str, digest: str) -> list[dict[str, Any]]:
    """The same for a redacted report, which can show less."""
    return [
        {
            "command": "pdfdetach -saveall report.pdf && sha256sum result.json",
            "says": pair(
                Phrase(f"本 PDF 所附已遮盖结果，应为 {digest[:16]}...", f"the redacted result inside: {digest[:16]}...")
            ),
        },
        {
            "command": f"millicert verify {run}.redacted-1 --trust KEYS",
            "says": pair(
                Phrase(
                    "封存时的签名与记录确认所示内容；没有原始测试目录不能重算判定",
                    "what is shown was signed and logged when the run was sealed; "
                    "the verdict can be recomputed only with the run itself",
                )
            ),
        },
    ]


def sheet(result: Result, *, digest: str, issued_ns: int) -> dict[str, Any]:
    """All text of the report of ``result``; ``digest`` is the SHA-256 (hex) of the attached result.json.

    Pure; nothing in it is a float. Raises KeyError only for a verdict that is none of the four.
    """
    verdict = str(result.get("verdict", "INVALID"))
    policy: Result = result.get("policy") or {}
    complete = bool(result.get("complete"))
    titled = both(policy, "title")
    certified = phrases.CERTIFIED[verdict] if complete or verdict != "PASS" else phrases.CERTIFIED["FAIL"]
    year = f" {policy['year']}" if policy.get("year") else ""
    named = f"{policy.get('id', '')}/{policy.get('version', '')}{year}"
    return {
        "number": number(result) or q.UNKNOWN,
        "laboratory": lab(result.get("provenance") or {}, "name", "lab_name"),
        "digest": digest,
        "issued": q.instant(issued_ns),
        "simulated": [text(f) for f in result.get("simulated") or []],
        "banner": pair(phrases.SIMULATED),
        "redacted": pair(phrases.REDACTED) if "redaction" in result else "",
        "policy": pair(Phrase(titled.zh, titled.en)) | {"id": named},  # type: ignore[operator]
        "rehearsal": pair(Phrase("演练要求：最低时长与样本数缩短", "rehearsal policy: shortened minima"))
        if policy.get("rehearsal")
        else "",
        "verdict": verdict,
        "word": pair(phrases.VERDICTS[verdict]),
        "certified": pair(phrases.SIMULATED if result.get("simulated") else certified),
        "incomplete": "" if complete else pair(phrases.INCOMPLETE),
        "reasons": [text(r) for r in result.get("incomplete_reasons") or []],
        "particulars": particulars(result, issued_ns),
        "boxes": [box(r, d) for r, d in directions(result)],
        "unmeasured": [
            pair(both(r, "title", Phrase(str(r.get("id", "")), "")))
            for r in result.get("requirements") or []
            if not r.get("directions")
        ],
        "requirements": tables.requirements(result),
        "links": tables.links(result),
        "streams": tables.streams(result),
        "counts": tables.counts(result),
        "evidence": tables.evidence(result),
        "gates": tables.gates(result),
        "remedies": tables.remedies(result),
        "budgets": tables.budgets(result),
        "consistency": tables.consistency(result),
        "tiers": tables.tiers(result),
        "flows": tables.flows(result),
        "equipment": tables.equipment(result),
        "limits": _limits(result),
        "unsigned": pair(phrases.UNSIGNED),
        "verify": _verify(result, digest),
        "end": pair(phrases.END),
        "phrases": phrases.VERSION,
    }
