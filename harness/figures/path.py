"""The fibre of a link: its loss, its time of flight, its joints, and whether it is the fibre it is taken for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field, model_validator

from harness.budget import Budget, Component, root_up
from harness.figure import Derived, Doubt, Figure, Finding, Side
from harness.figures import meter as meters
from harness.figures import source
from harness.figures.row import rows
from harness.figures.setting import Count, MicroDB, Milliseconds, Picometres
from harness.figures.source import Watched
from harness.link import Route
from harness.reading import Delay, Record, Unit

ID: Final = "path"
TITLE_ZH: Final = "光缆链路"
TITLE_EN: Final = "the fibre of a link"
FIGURES: Final[Mapping[str, Unit]] = {
    "loss": "udB",
    "otdr-loss": "udB",
    "flight": "ps",
    "attenuation": "udB",
    "connector": "udB",
    "splice": "udB",
    "reflectance": "udB",
    "identity": "ps",
}
C_M_PER_S: Final = 299_792_458
PLANE: Final = "OTDR, fibre alone"

Place = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,59}$")]
Ps = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


class Settings(Watched):
    """What is looked at, and what is known of the reflectometer."""

    fibre: Place = "line-1"
    """Its ends are FIBRE:a here and FIBRE:b there."""
    far: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._:-]{0,59})?$")] = ""
    """Where its far end is plugged in service, and goes back to after a reel; empty: it is left open."""
    wavelengths_pm: tuple[Picometres, ...] = (1_310_000, 1_550_000)
    traffic_pm: Picometres = 1_550_000
    """Wavelength of the light that carries packets: the trace nearest to it gives the floor."""
    span_m: Count = 80_000
    """Range, one of those that the reflectometer has; longer than the fibre with its reel."""
    pulse_ns: Count = 100
    """Its pulse, one of those that it has: the shorter, the better an end is known, and the less far it sees."""
    averaging_ms: Milliseconds = 30_000
    both: bool = True
    """Traces from both ends."""
    group_index_ppm: Annotated[int, Field(ge=1_000_000, le=2_000_000)] = 1_468_200
    """Group index declared for the cable; only lengths depend on it, time of flight does not."""
    timebase_ppm: Annotated[int, Field(ge=0, le=10_000)] = 50
    """Half-width of the error of the reflectometer's time base."""
    offset_ps: Ps = 5_000
    """Half-width of its zero: 1 m."""
    cord_ps: Ps = 0
    """Time of flight of the cords between its zero and the fibre, taken off."""
    cord_half_ps: Ps = 1_000
    dispersion_ps_nm_km: Annotated[int, Field(ge=0, le=100)] = 20
    """Largest dispersion between the trace's wavelength and the traffic's."""
    near_ps: Ps = 50_000
    """Events nearer than that, 10 m, are the reflectometer's own connector."""
    match_ps: Ps = 200_000
    """Events of both directions within that of each other are one."""
    mismatch_udb: MicroDB = 100_000
    """What unequal backscatter may add to a joint's loss seen from one side only."""
    event_udb: MicroDB = 50_000
    """Half-width of an event's loss by the reflectometer's fit."""
    linearity_udb: MicroDB = 50_000
    """Half-width of its error for each dB of loss."""
    reflectance_udb: MicroDB = 2_000_000
    """Half-width of its reflectances."""
    slope_udb: MicroDB = 10_000
    """Half-width of its dB/km, in udB for each km."""
    section_ps: Ps = 5_000_000
    """Sections shorter than that, 1 km, have no slope worth the name."""
    reel: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,39})?$")] = ""
    """Reel that is put behind the far end to show which fibre it is; empty: none."""
    reel_ps: Ps = 0
    """Its time of flight."""
    reel_half_ps: Ps = 0
    """Half-width of what is not known of that."""
    plugs: Count = 3
    """How often the source's cord is plugged for the loss; the spread is the connectors' repeatability."""
    loss_pm: tuple[Picometres, ...] = (1_550_000,)
    """Wavelengths at which source and meter read the loss, where the bench has them."""
    loss_averaging_ms: Milliseconds = 200
    plug_udb: MicroDB = 300_000
    """Half-width of one plugging, where the cord was not plugged more than once."""

    @model_validator(mode="after")
    def _reel_is_known(self) -> Settings:
        if self.reel and not self.reel_ps:
            raise ValueError("a reel needs its time of flight, reel_ps")
        return self


@dataclass(frozen=True, slots=True)
class Event:
    """Something on a trace."""

    at_ps: int
    """One-way time of flight."""
    code: str
    """As SR-4731 writes it: "1E9999LS"; the first says whether it reflects, the second where it comes from."""
    loss: int | None
    reflectance: int | None
    slope: int | None
    """µdB for each km by the trace's own index, of the fibre before it."""

    @property
    def reflects(self) -> bool:
        """A connector or an end."""
        return self.code[:1] in {"1", "2"}

    @property
    def end(self) -> bool:
        """The end of the fibre."""
        return self.code[1:2] in {"E", "D"}


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace as it was read when it was taken."""

    name: str
    direction: str
    stage: str
    """ "link", or "before", "reel", "after" of the reel."""
    asked_pm: int
    pm: int
    pulse_ns: int
    index_ppm: int
    sampling_ps: int
    total: int | None
    """Loss from end to end as the reflectometer sums it, µdB."""
    serial: str
    sha256: str
    sound: bool | None
    """The file's own checksum fits; None: it has none that can be told."""
    events: tuple[Event, ...]

    @property
    def end(self) -> tuple[int, bool] | None:
        """(one-way time to the end of the fibre, ps; whether it is an end and not only the last thing seen)."""
        ends = [each for each in self.events if each.end]
        if ends:
            return ends[-1].at_ps, True
        return (self.events[-1].at_ps, False) if self.events else None


_NUMBERS: Final = ("asked", "pm", "pulse_ns", "index_ppm", "sampling_ps", "value")
_TEXTS: Final = ("direction", "stage", "serial", "sha256")


def traces(record: Record) -> tuple[Trace, ...]:
    """All traces, oldest first."""
    events: dict[str, list[Event]] = defaultdict(list)
    whole, maybe = ("value",), ("loss", "reflectance", "slope")
    for row in rows(record, ID, "event", whole=whole, maybe=maybe, text=("code",)):
        events[row["trace"]].append(Event(row["value"], row["code"], row["loss"], row["reflectance"], row["slope"]))
    return tuple(
        Trace(
            row["trace"],
            row["direction"],
            row["stage"],
            row["asked"],
            row["pm"],
            row["pulse_ns"],
            row["index_ppm"],
            row["sampling_ps"],
            row["total"],
            row["serial"],
            row["sha256"],
            None if row["sound"] is None else bool(row["sound"]),
            tuple(sorted(events[row["trace"]], key=lambda e: e.at_ps)),
        )
        for row in rows(record, ID, "trace", whole=_NUMBERS, maybe=("total", "sound"), text=_TEXTS)
    )


def time_parts(settings: Settings, trace: Trace, at_ps: int) -> list[Component]:
    """What is open about an instant on a trace, ps: instrument specifications give metres and parts of the distance."""
    return [
        Component(
            "OTDR 时基",
            "OTDR time base",
            -(-at_ps * settings.timebase_ppm // 1_000_000),
            "rectangular",
            "profile, unconfirmed",
        ),
        Component("OTDR 零点", "OTDR zero", settings.offset_ps, "rectangular", "profile, unconfirmed"),
        _resolution(trace),
        Component("采样间隔", "sampling of the trace", -(-trace.sampling_ps // 2), "rectangular", trace.name),
        Component("跳纤", "cords before the fibre", settings.cord_half_ps, "rectangular", "profile"),
    ]


def _resolution(trace: Trace) -> Component:
    """A pulse covers half its duration of one-way time; the end lies within half of that."""
    name = "end-point resolution by pulse width"
    return Component("脉宽决定的端点分辨率", name, -(-trace.pulse_ns * 1000 // 4), "rectangular", trace.name)


def flights(record: Record, settings: Settings) -> tuple[list[Figure], list[Doubt]]:
    """Time of flight at each wavelength, the mean of both directions, and doubts where these differ."""
    groups: dict[int, list[Trace]] = defaultdict(list)
    for trace in traces(record):
        if trace.stage == "link":
            groups[trace.asked_pm].append(trace)
    found: list[Figure] = []
    doubts: list[Doubt] = []
    for pm, here in groups.items():
        key = (("pm", pm),)
        # one that was taken anew replaces the one before
        latest = {trace.direction: trace for trace in here}
        ends = {name: trace.end for name, trace in latest.items()}
        seen = {name: end for name, end in ends.items() if end is not None}
        if not seen:
            found.append(Figure(key, None, Budget(()), why="no event on any trace"))
            continue
        sure = {name: end for name, end in seen.items() if end[1]}
        side: Side = "" if sure else "at-least"
        times = [at for at, _ in (sure or seen).values()]
        value = (sum(times) // len(times) if sure else max(times)) - settings.cord_ps
        widest = max((latest[name] for name in sure or seen), key=lambda t: (t.pulse_ns, t.sampling_ps))
        parts = time_parts(settings, widest, max(0, value))
        on: tuple[str, ...] = ()
        if len(times) == 2 and sure:
            apart = abs(times[0] - times[1])
            parts.append(
                Component(
                    "两向之差", "difference of both directions", -(-apart // 2), "rectangular", "this measurement"
                )
            )
            most = root_up(2 * sum(c.u**2 for c in time_parts(settings, widest, max(0, value)))) * 3
            doubt = Doubt(
                "directions-differ",
                f"{pm} pm",
                apart > most,
                f"{apart} ps between both directions",
                f"within {most} ps",
                "确认两端接的是同一根光纤，检查脉宽与折射率设置后重测",
                "make sure that both ends are of one fibre, look at pulse and index, then take both again",
            )
            doubts.append(doubt)
            on = (doubt.name,) if doubt.red else ()
        found.append(Figure(key, value, Budget(tuple(parts)), side, doubts=on))
    return found, doubts


def identity(record: Record, settings: Settings) -> tuple[Figure | None, Doubt | None]:
    """By how much the end moved otherwise than by the reel's time of flight; and whether it came back."""
    if not settings.reel:
        return None, None
    stages = {trace.stage: trace for trace in traces(record) if trace.stage in {"before", "reel", "after"}}
    key = (("reel", settings.reel),)
    if len(stages) < 3:
        return None, None
    ends = {name: trace.end for name, trace in stages.items()}
    before, reel, after = (ends[name] for name in ("before", "reel", "after"))
    if before is None or reel is None or after is None or not (before[1] and reel[1] and after[1]):
        return Figure(key, None, Budget(()), why="a trace without an end"), None
    trace = max(stages.values(), key=lambda t: (t.pulse_ns, t.sampling_ps))
    resolution = _resolution(trace)
    most = 3 * root_up(2 * resolution.u**2 + 2 * trace.sampling_ps**2)
    moved = abs(after[0] - before[0])
    doubt = Doubt(
        "end-moved",
        settings.reel,
        moved > most,
        f"the end lies {moved} ps elsewhere after the reel was taken out",
        f"within {most} ps",
        "取下盘纤后远端未复原：检查远端连接后重做",
        "the far end is not as it was: look at how it is plugged, then do it again",
    )
    shift = reel[0] - (before[0] + after[0]) // 2
    sampling = Component("采样间隔", "sampling of two traces", trace.sampling_ps, "rectangular", trace.name)
    parts = (
        Component(
            "OTDR 时基",
            "OTDR time base",
            -(-settings.reel_ps * settings.timebase_ppm // 1_000_000),
            "rectangular",
            "profile",
        ),
        resolution,
        resolution,
        sampling,
        Component("盘纤", "the reel itself", settings.reel_half_ps, "rectangular", "profile"),
    )
    on = (doubt.name,) if doubt.red else ()
    return Figure(key, abs(shift - settings.reel_ps), Budget(parts), doubts=on), doubt


def derive(record: Record, settings: Settings) -> Derived:
    """Loss, time of flight, joints and identity; joints that stand out, another fibre, another index by name."""
    found = traces(record)
    times, doubts = flights(record, settings)
    known, doubt = identity(record, settings)
    doubts += [] if doubt is None else [doubt]
    findings: list[Finding] = []
    if known is not None and known.value is not None and not known.doubts and known.value > 3 * known.budget.u_c:
        zh = f"接入盘纤后末端移动量与盘纤不符，相差 {known.value} ps：测的是另一根光纤"
        en = (
            f"with the reel in, the end moves by {known.value} ps otherwise than by the reel: another fibre is measured"
        )
        findings.append(Finding("another-fibre", settings.fibre, zh, en))
    for index in sorted({t.index_ppm for t in found if t.index_ppm != settings.group_index_ppm}):
        zh = f"OTDR 折射率设为 {index} ppm，光缆为 {settings.group_index_ppm} ppm：其显示的长度不可用，传输时间不受影响"
        en = (
            f"the reflectometer was set to a group index of {index} ppm, the cable has {settings.group_index_ppm}: "
            "the lengths it shows are wrong by their ratio, times of flight are not touched"
        )
        findings.append(Finding("wrong-index", settings.fibre, zh, en))
    joints = _joints(found, settings)
    bench = meters.Meters(record)
    losses = _losses(record, settings, bench)
    doubts += [*bench.doubts, *_damaged(found)]
    return Derived(
        figures={
            "loss": tuple(losses),
            "otdr-loss": tuple(_totals(found, settings)),
            "flight": tuple(times),
            "attenuation": tuple(_slopes(found, settings)),
            "identity": () if known is None else (known,),
            **joints,
        },
        doubts=tuple(doubts),
        findings=(*findings, *_standing_out(joints)),
        notes=bench.notes,
        tables={
            "losses": {
                "columns": ["pm", "value", "U", "side"],
                "rows": [[dict(f.key)["pm"], f.value, f.budget.expanded, f.side] for f in losses],
                "unit": "udB",
            }
        }
        | {
            f"events {t.stage} {t.direction} {t.asked_pm}": {
                "columns": ["at_ps", "code", "loss", "reflectance", "slope"],
                "rows": [[e.at_ps, e.code, e.loss, e.reflectance, e.slope] for e in t.events],
                "unit": "udB",
            }
            for t in found
        },
    )


def _losses(record: Record, settings: Settings, bench: meters.Meters) -> list[Figure]:
    """Loss from end to end by source and meter: the cord's own power less what arrives (IEC 61280-4-2, one cord)."""
    cords, behind = (_by_wavelength(record, kind) for kind in ("reference", "power"))
    squares, nu = 0, 0
    for own in cords.values():
        known = [each for row in own if (each := source.level(row)) is not None]
        n, total = len(known), sum(known)
        if n > 1:
            squares += -(-(n * sum(v * v for v in known) - total * total) // n)
            nu += n - 1
    plug = root_up(-(-squares // nu)) if nu else 0
    found = []
    for pm, read in behind.items():
        key = (("pm", pm),)
        own = [row for row in cords.get(pm, ()) if row["value"] is not None]
        if not own:
            found.append(Figure(key, None, Budget(()), why="no reading of the source's cord"))
            continue
        watched = source.watched((*own, *read))
        lit = [row for row in read if row["value"] is not None]
        level = _mean([row["value"] - (row["source"] if watched else 0) for row in own])
        seen = (
            _mean([row["value"] - (row["source"] if watched else 0) for row in lit])
            if lit
            else max(row["below"] - (row["source"] if watched else 0) for row in read)
        )
        at_reference, red = bench.of(own[-1])
        meter, more = bench.of(read[-1])
        weakest = min((row["value"] for row in lit), default=read[-1]["below"])
        noise = meters.noise_udb(meter, weakest, settings.loss_averaging_ms * 1000)
        # the cord at the reference and at the fibre, each plugged and averaged over as often
        weight = root_up(1_000_000 // len(own) + 1_000_000 // max(1, len(lit)))
        zh, en = "连接器插拔", "plugging of the cord"
        parts = (
            meters.linearity(at_reference),
            meters.linearity(meter),
            meters.polarisation(at_reference),
            meters.polarisation(meter),
            meters.channel(at_reference, meter),
            Component(zh, en, -(-plug * weight // 1000), "normal", "spread of the cord plugged again", nu=nu)
            if nu
            else Component(zh, en, settings.plug_udb, "rectangular", "profile, unconfirmed: it was plugged once"),
            meters.noise(noise, 1415, meter),
            source.component(settings, watched=watched),
        )
        side: Side = "" if lit else "at-least"
        found.append(Figure(key, level - seen, Budget(parts), side, doubts=tuple(sorted({*red, *more}))))
    return found


def _by_wavelength(record: Record, kind: str) -> dict[int, list[dict[str, Any]]]:
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows(record, ID, kind, whole=("pm", "plug", "below"), maybe=("value", "source"), text=("tap",)):
        found[row["pm"]].append(row)
    return found


def _mean(values: Sequence[int]) -> int:
    """To the nearest."""
    return (2 * sum(values) + len(values)) // (2 * len(values))


def _damaged(found: Sequence[Trace]) -> list[Doubt]:
    """A doubt for each file whose own checksum tells whether it is as it was written."""
    return [
        Doubt(
            "trace-damaged",
            t.name,
            not t.sound,
            "its checksum fits" if t.sound else "its checksum does not fit",
            "a file as the reflectometer wrote it",
            "重新测取或重新导出该曲线",
            "take the trace again, or export it anew",
        )
        for t in found
        if t.sound is not None
    ]


def _latest(found: Sequence[Trace]) -> dict[int, dict[str, Trace]]:
    """Wavelength → direction → the latest trace of the link."""
    groups: dict[int, dict[str, Trace]] = defaultdict(dict)
    for trace in found:
        if trace.stage == "link":
            groups[trace.asked_pm][trace.direction] = trace
    return groups


def _totals(found: Sequence[Trace], settings: Settings) -> list[Figure]:
    """Loss from end to end as the reflectometer sums it, the mean of both directions."""
    figures = []
    for pm, ways in _latest(found).items():
        totals = [t.total for t in ways.values() if t.total is not None]
        if not totals:
            continue
        value = sum(totals) // len(totals)
        parts = [
            Component(
                "OTDR 线性",
                "OTDR linearity",
                -(-abs(value) * settings.linearity_udb // 1_000_000),
                "rectangular",
                "profile, unconfirmed",
            ),
            Component("OTDR 拟合", "OTDR fit", settings.event_udb, "rectangular", "profile, unconfirmed"),
        ]
        if len(totals) < 2:
            parts.append(
                Component(
                    "单向后向散射差异",
                    "backscatter seen from one side",
                    settings.mismatch_udb,
                    "rectangular",
                    "profile",
                )
            )
        figures.append(Figure((("pm", pm),), value, Budget(tuple(parts))))
    return figures


def _slopes(found: Sequence[Trace], settings: Settings) -> list[Figure]:
    """Attenuation of every section long enough, µdB for each km of the cable's own index."""
    figures = []
    for pm, ways in _latest(found).items():
        for direction, trace in ways.items():
            start = 0
            for event in trace.events:
                long = event.at_ps - start >= settings.section_ps
                if event.slope is not None and long and event.at_ps > settings.near_ps:
                    value = -(-event.slope * settings.group_index_ppm // max(1, trace.index_ppm))
                    km_ppm = (event.at_ps - start) * C_M_PER_S // settings.group_index_ppm  # mm of fibre
                    fit = -(-settings.event_udb * 1_000_000 // max(1, km_ppm))
                    parts = (
                        Component("OTDR 斜率", "OTDR slope", settings.slope_udb, "rectangular", "profile, unconfirmed"),
                        Component("OTDR 拟合", "OTDR fit over the section", fit, "rectangular", "profile, unconfirmed"),
                    )
                    key = (("pm", pm), ("direction", direction), ("to_ns", event.at_ps // 1000))
                    figures.append(Figure(key, value, Budget(parts)))
                start = event.at_ps
    return figures


def _joints(found: Sequence[Trace], settings: Settings) -> dict[str, tuple[Figure, ...]]:
    """Losses of connectors and splices, of both directions where both saw them; reflectances."""
    figures: dict[str, list[Figure]] = {"connector": [], "splice": [], "reflectance": []}
    for pm, ways in _latest(found).items():
        first = ways.get("forward") or next(iter(ways.values()))
        other = ways.get("backward") if first.direction == "forward" else None
        ends = (first.end, None if other is None else other.end)
        for event in first.events:
            if event.at_ps <= settings.near_ps or event.end or event.code[1:2] == "O":
                continue
            twin = None
            if other is not None and ends[0] is not None and ends[1] is not None:
                whole = (ends[0][0] + ends[1][0]) // 2
                near = [
                    e for e in other.events if abs(whole - e.at_ps - event.at_ps) <= settings.match_ps and not e.end
                ]
                twin = min(near, key=lambda e: abs(whole - e.at_ps - event.at_ps), default=None)
            key = (("pm", pm), ("at_ns", event.at_ps // 1000))
            if event.loss is not None:
                figures["connector" if event.reflects else "splice"].append(_joint(key, event, twin, settings))
            if event.reflectance is not None and event.reflects:
                part = Component(
                    "OTDR 反射", "OTDR reflectance", settings.reflectance_udb, "rectangular", "profile, unconfirmed"
                )
                seen = [e.reflectance for e in (event, twin) if e is not None and e.reflectance is not None]
                side: Side = "at-least" if event.code[:1] == "2" else ""
                figures["reflectance"].append(Figure(key, max(seen), Budget((part,)), side))
    return {name: tuple(each) for name, each in figures.items()}


def _joint(key: tuple[tuple[str, int | str], ...], event: Event, twin: Event | None, settings: Settings) -> Figure:
    parts = [Component("OTDR 拟合", "OTDR fit", settings.event_udb, "rectangular", "profile, unconfirmed")]
    value = event.loss or 0
    if twin is not None and twin.loss is not None:
        value = -(-(value + twin.loss) // 2)
    else:
        parts.append(
            Component(
                "单向后向散射差异", "backscatter seen from one side", settings.mismatch_udb, "rectangular", "profile"
            )
        )
    return Figure(key, value, Budget(tuple(parts)))


def _standing_out(joints: Mapping[str, Sequence[Figure]]) -> list[Finding]:
    """Joints that lose far more than the others of their kind."""
    found = []
    for kind, least in (("connector", 1_000_000), ("splice", 300_000)):
        for each in joints[kind]:
            if each.value is not None and each.value - each.budget.expanded > least:
                at = dict(each.key)
                where = f"{at['at_ns']} ns at {at['pm']} pm"
                zh, en = f"损耗 {each.value} udB", f"it loses {each.value} udB"
                found.append(Finding(f"bad-{kind}", where, zh, en))
    return found


def flight(record: Record, settings: Settings) -> tuple[Figure, tuple[Trace, ...]] | None:
    """The time of flight nearest to the traffic's wavelength, with its traces; None when none can be relied on."""
    times, _ = flights(record, settings)
    known, _ = identity(record, settings)
    if known is not None and (known.value is None or known.doubts or known.value > 3 * known.budget.u_c):
        return None
    usable = [each for each in times if each.value is not None and each.value > 0 and not each.side and not each.doubts]
    if not usable:
        return None
    best = min(usable, key=lambda f: abs(int(dict(f.key)["pm"]) - settings.traffic_pm))
    pm = dict(best.key)["pm"]
    used = tuple(_latest(traces(record))[int(pm)].values())
    value = best.value or 0
    kilometres = -(-value * C_M_PER_S // (settings.group_index_ppm * 10**9))
    apart = -(-max(abs(t.pm - settings.traffic_pm) for t in used) // 1000)
    colour = Component(
        "波长间色散",
        "dispersion between the trace's wavelength and the traffic's",
        settings.dispersion_ps_nm_km * apart * kilometres,
        "rectangular",
        "profile, unconfirmed",
    )
    return Figure(best.key, value, Budget((*best.budget.components, colour))), used


def _origin(used: Sequence[Trace], figure: Figure) -> str:
    named = ", ".join(f"{c.name_en} {c.u} ps" for c in figure.budget.components)
    files = "; ".join(f"{t.name}, {t.direction}, {t.pm} pm, SHA-256 {t.sha256}" for t in used)
    serial = ", ".join(dict.fromkeys(t.serial or "without a serial number" for t in used))
    return f"OTDR {serial}; traces {files}; standard uncertainties: {named}"


def route(record: Record, settings: Settings) -> Route | None:
    """The fibre as a floor for packets; None: no trace, no end on it, both ends differ, or another fibre.

    The length is rounded down, so the floor lies below the time of flight by less than 5 ns and never above it.
    """
    found = flight(record, settings)
    if found is None:
        return None
    figure, used = found
    length = (figure.value or 0) * C_M_PER_S // (settings.group_index_ppm * 1_000_000)
    return Route(length, settings.group_index_ppm, figure.budget.u_c, _origin(used, figure))


def delay(record: Record, settings: Settings, link: str) -> Delay | None:
    """The time of flight as a delay of a link, to be held against packets."""
    found = flight(record, settings)
    if found is None:
        return None
    figure, used = found
    return Delay(link, "mean", PLANE, figure.value or 0, figure.budget.u_c, origin=_origin(used, figure))
