"""What a person does at the bench or in a maker's management system, as instruments of the bench.

Gear without a command interface that is open to us (optical cross-connects behind a management system) is worked by
somebody who is asked. What is connected is what that person said; light has to confirm it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from drivers.capability import Channel, Safe
from drivers.clock import WALL, Clock
from drivers.errors import SettingError
from drivers.person import PATIENCE_S, Answers, Person
from drivers.port import Identity, Wire
from drivers.quantity import Hertz, Second

MOST_PORTS: Final = 10_000
OFF_S: Final = (0.0, 86_400.0)
"""How long an instrument may be left without power."""

UNCONFIRMED: Final = ("what was done by hand is what a person said; only light confirms it",)

_NAME: Final = re.compile(r"[^\s=*?\"']{1,80}")
_PAIR: Final = re.compile(r"(\d{1,5})\s*[->→:]+\s*(\d{1,5})")
_SLICE: Final = re.compile(r"(\S+?)\s*[>→]\s*(\S+?)\s*@\s*([0-9.]{1,20})\s*/\s*([0-9.]{1,20})")
_NONE: Final = frozenset({"none", "nothing", "无", "空"})


class _Prompted:
    """A person in the place of an instrument."""

    unconfirmed: Sequence[str] = UNCONFIRMED

    def __init__(self, person: Person, identity: Identity) -> None:
        self._person = person
        self._identity = identity

    @property
    def identity(self) -> Identity:
        """Made of what the bench file says of the gear; nobody answers to `*IDN?`."""
        return self._identity

    def safe_state(self) -> Safe:
        """Nothing here emits light of its own that could be switched from here; nobody is asked on the way out."""
        return Safe(confirmed=True, said=f"{self._identity.model}: worked by hand, has no light of ours to switch off")

    def close(self) -> None:
        """Nobody has to be told."""


class PromptedCrossConnect(_Prompted):
    """A cross-connect worked by a person: fibre ports, slices of spectrum, or both.

    What is connected when it is opened nobody has said yet: the first call that has to know asks. After an answer that
    never came, or that said no, it is unknown again.
    """

    def __init__(
        self,
        person: Person,
        identity: Identity,
        *,
        size: tuple[int, int] = (0, 0),
        ports: Sequence[str] = (),
        amplified: bool = False,
    ) -> None:
        """``size`` counts fibre ports, ``ports`` names those of a WSS; ``amplified``: it emits light of its own.

        Raises SettingError when it has neither kind of port.
        """
        super().__init__(person, identity)
        if not all(0 <= each <= MOST_PORTS for each in size) or (not all(size) and not ports):
            raise SettingError(
                "the size of a cross-connect or the names of its ports",
                f"size {size}, ports {list(ports)}",
                'size = [16, 16], or ports = ["deg-1", "add-1", …] in the options of the instrument',
            )
        for port in ports:
            _name("a port", port)
        self._size = size
        self._ports = tuple(ports)
        self._amplified = amplified
        self._pairs: dict[int, int] | None = None
        self._slices: list[Channel] | None = None

    def safe_state(self) -> Safe:
        """A person is not asked on the way out, so amplifiers inside are not known to be off."""
        if self._amplified:
            said = f"{self._identity.model}: its own amplifiers are left as they are; nobody was asked to switch them"
            return Safe(confirmed=False, said=said)
        return Safe(confirmed=True, said=f"{self._identity.model}: worked by hand, left as it is")

    # -- fibre ports -----------------------------------------------------------------------------------------

    @property
    def size(self) -> tuple[int, int]:
        """(ingress ports, egress ports) as the bench file declares them; (0, 0): none but named ports."""
        return self._size

    def connect(self, pairs: Mapping[int, int]) -> None:
        """Have ingress joined to egress; what uses one of these ports is taken apart by the same person."""
        wanted = self._checked(pairs)
        before = self._known()
        kept = {i: e for i, e in before.items() if i not in wanted and e not in wanted.values()}
        broken = {i: e for i, e in before.items() if i not in kept and wanted.get(i) != e}
        first = f"先断开 {_listed(broken)}；" if broken else ""
        first_en = f"take apart {_listed(broken)}, then " if broken else ""
        self._have(
            f"oxc.connect.{_key(wanted)}",
            f"{first}建立连接（入→出）{_listed(wanted)}，其余不变",
            f"{first_en}connect (ingress → egress) {_listed(wanted)}; leave everything else as it is",
            kept | wanted,
        )

    def only(self, pairs: Mapping[int, int]) -> None:
        """Have these joined and nothing else."""
        wanted = self._checked(pairs)
        if not wanted:
            self.clear()
            return
        self._have(
            f"oxc.only.{_key(wanted)}",
            f"断开所有其他连接，只保留/建立（入→出）{_listed(wanted)}",
            f"take apart every other connection; connect (ingress → egress) only {_listed(wanted)}",
            wanted,
        )

    def disconnect(self, ingresses: Collection[int]) -> None:
        """Have these taken apart; asks nobody where none of them is connected."""
        for each in ingresses:
            _within("ingress port", each, self._size[0])
        before = self._known()
        gone = {i: before[i] for i in sorted(set(ingresses)) if i in before}
        if gone:
            self._have(
                f"oxc.disconnect.{_key(gone)}",
                f"断开（入→出）{_listed(gone)}，其余不变",
                f"take apart (ingress → egress) {_listed(gone)}; leave everything else as it is",
                {i: e for i, e in before.items() if i not in gone},
            )

    def clear(self) -> None:
        """Have everything taken apart, slices of spectrum too."""
        self._have("oxc.clear", "断开所有连接", "take every connection apart", {})
        self._slices = []

    def connections(self) -> Mapping[int, int]:
        """What the person said is joined, ingress to egress; light has to confirm it."""
        return dict(self._known())

    def _known(self) -> dict[int, int]:
        if self._pairs is None:
            self._pairs = self._person.ask(
                "oxc.state",
                "现在有哪些连接（入-出）？\nwhat is connected now (ingress-egress)?",
                self._read_pairs,
                "1-5 2-6 … | none",
            )
        return self._pairs

    def _read_pairs(self, answer: str) -> dict[int, int]:
        if answer.strip().lower() in _NONE:
            return {}
        words = [word for word in re.split(r"[\s,;，；]+", answer.strip()) if word]
        found = [_PAIR.fullmatch(word) for word in words]
        pairs = {int(each[1]): int(each[2]) for each in found if each is not None}
        if not words or len(pairs) != len(words):
            raise ValueError("pairs such as 1-5 2-6, or none · 形如 1-5 2-6，或 none")
        try:
            return self._checked(pairs)
        except SettingError as why:
            raise ValueError(f"{why.wanted}, found {why.found}") from why

    def _checked(self, pairs: Mapping[int, int]) -> dict[int, int]:
        for ingress, egress in pairs.items():
            _within("ingress port", ingress, self._size[0])
            _within("egress port", egress, self._size[1])
        if len(set(pairs.values())) != len(pairs):
            raise SettingError("each egress port once", _listed(pairs), "give every ingress an egress of its own")
        return dict(pairs)

    def _have(self, key: str, chinese: str, english: str, after: dict[int, int]) -> None:
        self._pairs = None
        self._person.done(key, f"{self._identity.model}: {chinese}\n{self._identity.model}: {english}")
        self._pairs = after

    # -- slices of spectrum ----------------------------------------------------------------------------------

    @property
    def ports(self) -> Sequence[str]:
        """Names of its ports as the bench file declares them."""
        return self._ports

    def add(self, channel: Channel) -> None:
        """Have a slice let through."""
        before = self._passing(channel)
        text = _described(channel)
        self._have_slices(
            f"oxc.add.{_slice_key(channel)}",
            f"建立波长通道 {text}，其余不变",
            f"add the channel {text}; leave everything else as it is",
            [*(each for each in before if each != channel), channel],
        )

    def remove(self, channel: Channel) -> None:
        """Have it blocked again."""
        before = self._passing(channel)
        text = _described(channel)
        self._have_slices(
            f"oxc.remove.{_slice_key(channel)}",
            f"删除波长通道 {text}，其余不变",
            f"remove the channel {text}; leave everything else as it is",
            [each for each in before if each != channel],
        )

    def present(self) -> Collection[Channel]:
        """What the person said passes; light has to confirm it."""
        if self._slices is None:
            self._slices = self._person.ask(
                "oxc.channels",
                "现在有哪些波长通道（端口>端口@中心 THz/宽度 GHz）？\n"
                "which channels pass now (port>port@centre in THz/width in GHz)?",
                self._read_slices,
                "deg-1>deg-2@193.1/50; … | none",
            )
        return tuple(self._slices)

    def _passing(self, channel: Channel) -> list[Channel]:
        for port in (channel.ingress, channel.egress):
            if port not in self._ports:
                raise SettingError(
                    f"a port among {', '.join(self._ports) or 'none'}", port, "name it as the bench file does"
                )
        for what, value in (("centre", channel.centre), ("width", channel.width)):
            if not math.isfinite(value) or value <= 0:
                raise SettingError(f"the {what} of a channel in Hz above 0", f"{value}", "see ITU-T G.694.1")
        return list(self.present())

    def _read_slices(self, answer: str) -> list[Channel]:
        if answer.strip().lower() in _NONE:
            return []
        made = []
        for word in re.split(r"[;；]", answer):
            found = _SLICE.fullmatch(word.strip())
            if found is None or found[1] not in self._ports or found[2] not in self._ports:
                raise ValueError("such as deg-1>deg-2@193.1/50; add-1>deg-1@193.2/50, or none")
            made.append(Channel(found[1], found[2], _hertz(found[3], 10**12), _hertz(found[4], 10**9)))
        return made

    def _have_slices(self, key: str, chinese: str, english: str, after: list[Channel]) -> None:
        self._slices = None
        self._person.done(key, f"{self._identity.model}: {chinese}\n{self._identity.model}: {english}")
        self._slices = after


class PromptedHand(_Prompted):
    """A person at the bench who plugs, cleans, switches feeds and changes cards."""

    def __init__(self, person: Person, identity: Identity, *, clock: Clock = WALL) -> None:
        super().__init__(person, identity)
        self._clock = clock

    def patch(self, source: str, target: str) -> None:
        """Have a cord plugged. Raises RefusedError, NobodyError, SettingError for what is no name of a place."""
        _name("a place", source)
        _name("a place", target)
        self._person.done(
            f"hand.patch.{source}>{target}",
            f"把 {source} 插到 {target}（插入前清洁并检查端面）\nplug {source} into {target} (clean and inspect first)",
        )

    def clean(self, place: str) -> str:
        """Have a connector cleaned and inspected; what was seen, in the person's words."""
        _name("a place", place)

        def seen(answer: str) -> str:
            if not answer.strip():
                raise ValueError("what was seen, in words: clean, scratch … · 请写明所见")
            return answer.strip()

        return self._person.ask(
            f"hand.clean.{place}",
            f"清洁并用显微镜检查 {place}，写明所见\nclean {place}, inspect it, and say what is seen",
            seen,
            "clean | scratch, …",
        )

    def power_cycle(self, what: str, off: Second) -> None:
        """Have both feeds taken from an instrument, wait, and have them given back until it is up."""
        _name("an instrument", what)
        if not OFF_S[0] <= off <= OFF_S[1]:
            raise SettingError(f"{OFF_S[0]:g} to {OFF_S[1]:g} s without power", f"{off:g} s", "see the procedure")
        self._person.done(
            f"hand.off.{what}",
            f"断开 {what} 的两路电源，断电后回答\ntake both feeds from {what}; answer when it is off",
        )
        self._clock.sleep(off)
        self._person.done(
            f"hand.on.{what}",
            f"恢复 {what} 的两路电源，启动完成后回答\ngive both feeds back to {what}; answer when it is up",
        )

    def swap_card(self, what: str, card: str) -> None:
        """Have a card pulled and its spare put in."""
        _name("an instrument", what)
        _name("a card", card)
        self._person.done(
            f"hand.swap.{what}/{card}",
            f"拔出 {what} 的 {card}，插入备件，就绪后回答\n"
            f"pull {card} of {what}, put its spare in; answer when it is up",
        )

    def cut(self, place: str, on: bool) -> None:
        """Have the fibre at a place interrupted, or made whole."""
        _name("a place", place)
        if on:
            self._person.done(f"hand.cut.{place}", f"断开 {place} 处的光纤\ninterrupt the fibre at {place}")
        else:
            self._person.done(f"hand.mend.{place}", f"恢复 {place} 处的光纤\nmake the fibre at {place} whole again")


class PromptedPolarisation(_Prompted):
    """A polarisation controller turned by hand."""

    def set_state(self, index: int, of: int) -> None:
        """Have one of ``of`` states taken, counted from 0."""
        if not (1 <= of <= MOST_PORTS and 0 <= index < of):
            raise SettingError("a state from 0 to below their number", f"{index} of {of}", "count from 0")
        self._person.done(
            f"polariser.state.{index + 1}-of-{of}",
            f"把偏振控制器调到第 {index + 1} 个状态（共 {of} 个，均匀分布于庞加莱球）\n"
            f"set the polarisation controller to state {index + 1} of {of} (spread evenly over the Poincaré sphere)",
        )


# -- out of a bench file -------------------------------------------------------------------------------------


def crossconnect(
    options: Mapping[str, Any], *, clock: Clock = WALL, log: Callable[[Wire], None] | None = None
) -> PromptedCrossConnect:
    """Of the options `what`, `serial`, `size` or `ports`, `amplified`, `picture`, `answers`, `patience_s`."""
    del clock
    size = options.get("size", (0, 0))
    if not isinstance(size, Sequence) or len(size) != 2 or not all(isinstance(each, int) for each in size):
        raise SettingError("two whole numbers for size", repr(size), "size = [16, 16]")
    ports = options.get("ports", ())
    if isinstance(ports, str) or not isinstance(ports, Sequence) or not all(isinstance(each, str) for each in ports):
        raise SettingError("a list of names for ports", repr(ports), 'ports = ["deg-1", "add-1", "drop-1"]')
    amplified = options.get("amplified", False)
    if not isinstance(amplified, bool):
        raise SettingError("true or false for amplified", repr(amplified), "amplified = true")
    named = _identity(options, "cross-connect")
    return PromptedCrossConnect(
        _person(options, log), named, size=(size[0], size[1]), ports=tuple(ports), amplified=amplified
    )


def hand(options: Mapping[str, Any], *, clock: Clock = WALL, log: Callable[[Wire], None] | None = None) -> PromptedHand:
    """Of the options `what`, `serial` (who it is), `picture`, `answers`, `patience_s`."""
    return PromptedHand(_person(options, log), _identity(options, "hand"), clock=clock)


def polarisation(
    options: Mapping[str, Any], *, clock: Clock = WALL, log: Callable[[Wire], None] | None = None
) -> PromptedPolarisation:
    """Of the options `what`, `serial`, `picture`, `answers`, `patience_s`."""
    del clock
    return PromptedPolarisation(_person(options, log), _identity(options, "polarisation controller"))


def _identity(options: Mapping[str, Any], what: str) -> Identity:
    named, number = options.get("what", what), options.get("serial", "")
    for key, value in (("what", named), ("serial", number)):
        if not isinstance(value, str) or "," in value or not value.isprintable() or len(value) > 80:
            raise SettingError(f"a short text without a comma for {key}", repr(value), f'{key} = "…"')
    if not named or not number:
        raise SettingError(
            f"what a person stands for ({what}) with its serial number",
            f"what = {named!r}, serial = {number!r}",
            "put both into the options of the instrument; the type plate says them",
        )
    return Identity("prompted", named, number, "")


def _person(options: Mapping[str, Any], log: Callable[[Wire], None] | None) -> Person:
    answers, pictures, patience = options.get("answers"), options.get("picture", {}), options.get("patience_s")
    if isinstance(pictures, str):
        pictures = {"*": pictures}
    if not isinstance(pictures, Mapping):
        raise SettingError("a path, or a table pattern → path, for picture", repr(pictures), 'picture = "rack.png"')
    for path in pictures.values():
        if not isinstance(path, str) or not Path(path).is_file():
            raise SettingError("a picture that exists", repr(path), "correct the path in the bench file")
    patience_s = PATIENCE_S if patience is None else patience
    if isinstance(patience_s, bool) or not isinstance(patience_s, (int, float)) or not 0 < patience_s <= 86_400:
        raise SettingError("patience_s above 0 and up to a day", repr(patience), "patience_s = 600")
    if answers is not None and not isinstance(answers, (str, Path)):
        raise SettingError("a path for answers", repr(answers), 'answers = "answers.txt"')
    return Person(
        answers=None if answers is None else Answers.read(answers),
        pictures=pictures,
        patience_s=float(patience_s),
        log=log,
    )


def _within(what: str, found: int, most: int) -> None:
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= most:
        raise SettingError(f"{what} 1 to {most}", str(found), "count from 1; see the size in the bench file")


def _name(what: str, found: str) -> None:
    if not _NAME.fullmatch(found):
        raise SettingError(f"the name of {what}, without blanks, quotes, =, * and ?", repr(found[:90]), "rename it")


def _listed(pairs: Mapping[int, int]) -> str:
    return ", ".join(f"{i} → {e}" for i, e in sorted(pairs.items()))


def _key(pairs: Mapping[int, int]) -> str:
    return "+".join(f"{i}-{e}" for i, e in sorted(pairs.items())) or "none"


def _mhz(value: Hertz) -> int:
    return round(value / 1e6)


def _slice_key(channel: Channel) -> str:
    return f"{channel.ingress}>{channel.egress}@{_mhz(channel.centre)}/{_mhz(channel.width)}"


def _described(channel: Channel) -> str:
    return f"{channel.ingress} → {channel.egress}, {channel.centre / 1e12:.6f} THz, {channel.width / 1e9:.3f} GHz"


def _hertz(text: str, scale: int) -> Hertz:
    try:
        value = Decimal(text) * scale
    except InvalidOperation as why:
        raise ValueError(f"{text!r} is no number") from why
    return Hertz(float(value))
