"""The fixed wording of reports in Chinese and English, under one version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

VERSION: Final = "phrases/4"
"""Printed in every report; any change of wording below needs a new number."""

Language = Literal["zh", "en"]


class Phrase(NamedTuple):
    """One meaning in both languages."""

    zh: str
    en: str

    def fill(self, **fields: str | Phrase) -> Phrase:
        """Both wordings with ``{name}`` replaced; a Phrase as value gives each language its own."""
        return Phrase(
            *(
                text.format(**{k: v if isinstance(v, str) else v[side] for k, v in fields.items()})
                for side, text in enumerate(self)
            )
        )

    def to(self, lang: Language) -> str:
        """The wording in one language."""
        return self.zh if lang == "zh" else self.en


def language(env: Mapping[str, str]) -> Language:
    """Language of the terminal by POSIX precedence LC_ALL, LC_MESSAGES, LANG: "zh…" is Chinese, all else English."""
    chosen = next((env[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if env.get(name)), "")
    return "zh" if chosen.lower().startswith("zh") else "en"


VERDICTS: Final[dict[str, Phrase]] = {
    "PASS": Phrase("符合", "Conforms"),
    "FAIL": Phrase("不符合", "Does not conform"),
    "INDETERMINATE": Phrase("不能判定", "Indeterminate"),
    "INVALID": Phrase("测试无效", "Invalid"),
}
"""The word of each verdict; terminals print the token PASS, FAIL … beside it."""

STATEMENTS: Final[dict[str, Phrase]] = {
    "PASS": Phrase(
        "在所述测试窗口内，{label} 单向时延的{statistic}符合 ≤ {limit} 的要求。判定规则 {rule}，误接受概率 ≤ {risk}。",
        "The {statistic} of one-way delay {label} in the stated window conforms to ≤ {limit}. "
        "Decision rule {rule}; probability of false acceptance ≤ {risk}.",
    ),
    "FAIL": Phrase(
        "在所述测试窗口内，{label} 单向时延的{statistic}不符合 ≤ {limit} 的要求。"
        "判定规则 {rule}，误拒绝概率 ≤ {risk}。",
        "The {statistic} of one-way delay {label} in the stated window does not conform to ≤ {limit}. "
        "Decision rule {rule}; probability of false rejection ≤ {risk}.",
    ),
    "INDETERMINATE": Phrase(
        "对 {label} 单向时延的{statistic}（要求 ≤ {limit}），在约定风险下不能作出符合或不符合的判定。判定规则 {rule}。",
        "It is not possible to state conformity or non-conformity of the {statistic} of one-way delay {label} "
        "with ≤ {limit} at the agreed risk. Decision rule {rule}.",
    ),
    "INVALID": Phrase(
        "测试无效：对 {label} 单向时延的{statistic}（要求 ≤ {limit}）不出具结果。",
        "No result is stated for the {statistic} of one-way delay {label} (required ≤ {limit}).",
    ),
}
"""What a verdict says of one requirement in one direction (ILAC-G8, non-binary with guard band)."""

PAIR: Final = Phrase(
    "往返时延证明 {label} 两个方向中至少一个方向的单向时延{statistic}不符合 ≤ {limit} 的要求；是哪个方向不能确定。"
    "判定规则 {rule}，误拒绝概率 ≤ {risk}。",
    "The round trip proves that the {statistic} of one-way delay does not conform to ≤ {limit} in at least one "
    "direction of {label}; which one stays open. Decision rule {rule}; probability of false rejection ≤ {risk}.",
)
"""A nonconformity of a link that needs no clock (rule family owd-pair)."""

STATISTICS: Final[dict[str, Phrase]] = {
    "quantile": Phrase("{p} 分位值", "{p} quantile"),
    "worst-window-median": Phrase("最差窗口（{window}）中位数", "worst {window} window median"),
}

COVERAGE_RISK: Final = (2275, 100_000)
"""Chance that the error exceeds k u_c with k = t(97.725 %): added to the statistical risk by the union bound."""

OURS: Final = Phrase("本软件自定", "ours, not the authority's")
UNCONFIRMED: Final = Phrase("限值未经原文确认", "limit unconfirmed")


def standing(requirement: Mapping[str, object]) -> Phrase | None:
    """What stands against the limit of a requirement: ours, or its source text was not seen; None: nothing."""
    if requirement.get("origin") == "millicert":
        return OURS
    return None if requirement.get("confirmed") else UNCONFIRMED


BASES: Final[dict[str, Phrase]] = {
    "clock": Phrase("基于时钟", "Clock-based"),
    "clock-free": Phrase("不依赖时钟", "Clock-free"),
}

SETTLE: Final[dict[str, Phrase]] = {
    "more samples": Phrase("增加样本", "more samples"),
    "better clocks": Phrase("改进时钟", "better clocks"),
    "a slower-drifting near clock": Phrase("近端时钟漂移更小", "a slower-drifting near clock"),
    "more samples with better clocks": Phrase("增加样本并改进时钟", "more samples with better clocks"),
    "more samples with a slower-drifting near clock": Phrase(
        "增加样本且近端时钟漂移更小", "more samples with a slower-drifting near clock"
    ),
    "fewer losses": Phrase("减少丢包", "fewer losses"),
    "a clock-based statement, or evidence for a tighter bracket": Phrase(
        "取得基于时钟的判定，或收紧双向区间的证据", "a clock-based statement, or evidence for a tighter bracket"
    ),
}


def settle(said: str) -> Phrase:
    """What would settle an INDETERMINATE: the judge's words, several joined by " or "."""
    parts = [said] if said in SETTLE else said.split(" or ")
    known = [SETTLE.get(part, Phrase(part, part)) for part in parts]
    return Phrase("或".join(p.zh for p in known) + "可作出判定", " or ".join(p.en for p in known) + " would settle it")


UNWITNESSED: Final = Phrase("历次测试记录无外部证明", "ATTEMPT HISTORY NOT WITNESSED")
"""Nobody outside the laboratory can say that no earlier attempt was left out."""


def witnessed(log: Mapping[str, Any]) -> Phrase:
    """Whether the entries before a run were known outside when it began; ``log`` is provenance's."""
    covered, before = int(log.get("witnessed") or 0), int((log.get("previous") or {}).get("size") or 0)
    if covered >= before > 0:
        return Phrase("此前记录均有外部证明", "all entries before it witnessed from outside")
    if covered:
        since = str(covered - 1)
        return Phrase(f"{UNWITNESSED.zh}：第 {since} 条之后", f"{UNWITNESSED.en} since entry {since}")
    return UNWITNESSED


SIMULATED: Final = Phrase("模拟结果，不是证书", "SIMULATED, NOT A CERTIFICATE")
INCOMPLETE: Final = Phrase("未完成：低于测试计划规定的最低要求", "INCOMPLETE: less was measured than the plan requires")
REDACTED: Final = Phrase("已遮盖", "REDACTED")
UNSIGNED: Final = Phrase("未签署", "UNSIGNED")
UNSIGNED_LOG: Final = Phrase("记录未签署", "LOG UNSIGNED")
END: Final = Phrase("报告结束", "End of report")

STATES: Final[dict[str, Phrase]] = {
    "green": Phrase("通过", "green"),
    "red": Phrase("未通过", "RED"),
    "not-applicable": Phrase("不适用", "n/a"),
}

DISTRIBUTIONS: Final[dict[str, Phrase]] = {
    "normal": Phrase("正态", "normal"),
    "rectangular": Phrase("矩形", "rectangular"),
    "triangular": Phrase("三角", "triangular"),
    "arcsine": Phrase("反正弦", "arcsine"),
    "u-shaped": Phrase("U 形", "U-shaped"),
}

GATES: Final[dict[str, Phrase]] = {
    "clock-near": Phrase("近端时钟", "Near clock"),
    "clock-far": Phrase("远端时钟", "Far clock"),
    "evidence-coverage": Phrase("证据覆盖", "Evidence coverage"),
    "shared-clock": Phrase("共用时钟", "Shared clock"),
    "sync-topology": Phrase("同步路径独立", "Sync topology"),
    "reference-change": Phrase("参考源切换", "Change of reference"),
    "clock-agreement": Phrase("时钟来源一致", "Agreement of sources"),
    "leap": Phrase("闰秒", "Leap second"),
    "kernel-steps": Phrase("系统时钟阶跃", "Kernel clock steps"),
    "near-rate": Phrase("近端时钟速率", "Rate of the near clock"),
    "time-scale": Phrase("时间尺度", "Time scale"),
    "floor": Phrase("物理下限", "Physical floor"),
    "round-trip-floor": Phrase("往返物理下限", "Round-trip floor"),
    "own-loss": Phrase("本机丢包", "Loss of our own"),
    "far-silent": Phrase("远端无应答", "Far end silent"),
    "negative-delay": Phrase("负时延", "Negative delay"),
    "step": Phrase("时钟阶跃", "Clock step"),
    "skew": Phrase("频率偏斜", "Clock skew"),
    "schedule": Phrase("发送计划", "Schedule"),
    "unstamped": Phrase("缺时间戳", "Missing stamps"),
    "host-stalls": Phrase("主机停顿", "Host stalls"),
    "reflector-restart": Phrase("反射端重启", "Reflector restart"),
    "uncertainty": Phrase("不确定度", "Uncertainty"),
    "rehearsal-policy": Phrase("演练要求", "Rehearsal policy"),
    "calibration": Phrase("零长度校准", "Zero-length calibration"),
}
"""Titles of gates by id; an id not listed prints as it is."""

CERTIFIED: Final[dict[str, Phrase]] = {
    "PASS": Phrase("全部符合", "ALL CONFORM"),
    "FAIL": Phrase("不予认定", "NOT CERTIFIED"),
    "INDETERMINATE": Phrase("不予认定", "NOT CERTIFIED"),
    "INVALID": Phrase("不予认定", "NOT CERTIFIED"),
}
