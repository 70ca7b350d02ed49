"""A work order: what shall be measured where and when, signed, under a nonce that both ends carry."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from harness.archive import envelope
from harness.archive.keys import SigningKey, Trust, VerifierKey, small_file
from harness.bench import Bench
from harness.canonical import JSON, canonical, noun, parse_object, plain, sha256
from harness.disk import write_file
from harness.errors import ArchiveError, HarnessError
from harness.link import Link
from harness.plan import Step, resolve
from harness.policy import parse as parse_policy
from harness.stream import Stream

PAYLOAD_TYPE: Final = envelope.ORDER
NONCE_OCTETS: Final = 16
HOURS: Final = 168
"""How long an order holds unless it says otherwise."""

_SCHEMA: Final = "millicert-order/1"
_NONCE: Final = re.compile(r"[0-9a-f]{32}")
_LARGEST: Final = 16 * 1024 * 1024


class OrderError(HarnessError):
    """A work order that does not fit what is asked, or may not be used."""


@dataclass(frozen=True, slots=True)
class OrderedLink:
    """A link to be measured."""

    name: str
    near: str
    far: str
    far_address: str
    far_port: int
    flow_ports: tuple[int, ...]
    ssid: int
    """The SSID that its test packets carry (RFC 8972 3): 16 bits that follow from nonce and name."""


@dataclass(frozen=True, slots=True)
class OrderedStream:
    """A stream to be sent, for a requirement on a link."""

    link: str
    requirement: str
    stream: Stream


@dataclass(frozen=True, slots=True)
class Order:
    """What is ordered."""

    bench: str
    bench_sha256: str
    """Of the bench file's octets."""
    policy: str
    policy_sha256: str
    links: tuple[OrderedLink, ...]
    streams: tuple[OrderedStream, ...]
    not_before_ns: int
    """ns since 1970 UTC."""
    not_after_ns: int
    nonce: str
    """32 hex digits, never used twice."""


@dataclass(frozen=True, slots=True)
class Signed:
    """An order under its signature."""

    order: Order
    id: str
    """SHA-256 of the order's octets."""
    signer: VerifierKey
    envelope: str
    """The envelope's text, canonical JSON."""

    @property
    def told(self) -> dict[str, JSON]:
        """What both ends write down of it."""
        return {"id": self.id, "nonce": self.order.nonce, "signer": self.signer.line}

    @property
    def lines(self) -> list[str]:
        """It in words, for a person."""
        order = self.order
        return [
            f"order     {self.id[:16]}  nonce {order.nonce}  signed by {self.signer.name}+{self.signer.id}",
            f"          bench {order.bench}, policy {order.policy}, {_day(order.not_before_ns)} to "
            f"{_day(order.not_after_ns)}",
            *(
                f"link      {link.name}: {link.near} → {link.far} at {link.far_address} port {link.far_port}, "
                f"{len(link.flow_ports)} ports, SSID {link.ssid}"
                for link in order.links
            ),
        ]

    def check_window(self, first_ns: int, last_ns: int) -> None:
        """Raise OrderError when the instants, ns since 1970 UTC, are not both within its validity."""
        order = self.order
        if not order.not_before_ns <= first_ns <= last_ns <= order.not_after_ns:
            wanted = (
                f"to work between {_day(order.not_before_ns)} and {_day(order.not_after_ns)}, as order {self.id[:8]}"
            )
            found = f"{_day(first_ns)} to {_day(last_ns)}" if last_ns != first_ns else _day(first_ns)
            raise OrderError(wanted, found, "ask for a new order, or set this host's clock")

    def check_trust(self, trust: Trust, now_ns: int) -> None:
        """Raise OrderError when ``trust`` does not vouch for who signed it, or not at ``now_ns``."""
        listed = trust.find(self.signer)
        name = f"{self.signer.name}+{self.signer.id}"
        if listed is None:
            raise OrderError(f"an order by a key of {trust.where}", name, "ask who sent it, add the key if you agree")
        if not listed.covers(now_ns):
            raise OrderError(f"a key that is valid now, {name}", listed.validity, "ask for an order under a newer key")


def _day(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def ssids(nonce: str, links: Sequence[str]) -> dict[str, int]:
    """Link → SSID, 1 to 65535, no two alike: the first octets of SHA-256(nonce, link, attempt) that are free."""
    found: dict[str, int] = {}
    for link in links:
        attempt, ssid = 0, 0
        while ssid == 0 or ssid in found.values():
            digest = hashlib.sha256(f"{nonce}\n{link}\n{attempt}".encode()).digest()
            attempt, ssid = attempt + 1, int.from_bytes(digest[:2], "big")
        found[link] = ssid
    return found


def streams_of(bench: Bench, steps: Sequence[tuple[str, Step]]) -> tuple[OrderedStream, ...]:
    """The streams that steps, each with its link's name, ask for on a bench, nothing shortened."""
    made = []
    for name, step in steps:
        planned = replace(step.stream, flows=len(bench.link(name).flow_ports))
        stream, _ = resolve(planned, dict(bench.streams.get(planned.name, {})))
        made.append(OrderedStream(name, step.requirement, stream))
    return tuple(made)


def draw(
    bench: Bench,
    policy_text: str,
    steps: Sequence[Step],
    *,
    not_before_ns: int,
    not_after_ns: int,
    nonce: str | None = None,
) -> Order:
    """The order to measure every link of a bench by ``steps``; the nonce is drawn unless it is given.

    Raises OrderError when it would never hold.
    """
    if not_after_ns <= not_before_ns:
        raise OrderError("an order that ends after it begins", _day(not_after_ns), "give a later end")
    drawn = nonce or secrets.token_hex(NONCE_OCTETS)
    numbers = ssids(drawn, [link.name for link in bench.links])
    return Order(
        bench=bench.name,
        bench_sha256=sha256(bench.text.encode()),
        policy=parse_policy(policy_text).id,
        policy_sha256=sha256(policy_text.encode()),
        links=tuple(_ordered(link, numbers[link.name]) for link in bench.links),
        streams=streams_of(bench, [(link.name, step) for step in steps for link in bench.links]),
        not_before_ns=not_before_ns,
        not_after_ns=not_after_ns,
        nonce=drawn,
    )


def _ordered(link: Link, ssid: int) -> OrderedLink:
    end = link.endpoint
    return OrderedLink(link.name, link.near.name, link.far.name, end.far_address, end.far_port, link.flow_ports, ssid)


def sign(order: Order, key: SigningKey) -> bytes:
    """The order in an envelope under ``key``."""
    body = plain(order)
    if not isinstance(body, dict):
        raise TypeError("an order is an object")
    return envelope.close(PAYLOAD_TYPE, canonical({"schema": _SCHEMA, **body}), key)


def write(path: Path, order: Order, key: SigningKey) -> Signed:
    """Sign the order into a new file. Raises OrderError when there is one, ArchiveError when the disk refuses."""
    if path.exists():
        raise OrderError(f"a new file {path}", "one that is there", "choose another name; orders are kept")
    octets = sign(order, key)
    write_file(path, octets)
    return unseal(octets, path.name)


def read(path: Path) -> Signed:
    """The order in a file, its signature checked; whose key it is remains to be asked. Raises HarnessError."""
    return unseal(small_file(path.resolve(), _LARGEST), path.name)


def unseal(octets: bytes, name: str) -> Signed:
    """The order in an envelope. Raises ArchiveError, with ``name``, when one octet is another than was signed."""
    body, key = envelope.unseal(octets, PAYLOAD_TYPE, name)
    members = parse_object(body, name)
    if members.pop("schema", None) != _SCHEMA:
        raise ArchiveError(
            f"an order of format {_SCHEMA} in {name}", "another", "read it with the version that wrote it"
        )
    order = noun(Order, members, name)
    stated = {link.name: link.ssid for link in order.links}
    if not _NONCE.fullmatch(order.nonce) or ssids(order.nonce, [link.name for link in order.links]) != stated:
        raise ArchiveError(f"SSIDs that follow from the nonce in {name}", "others", "ask for a new order")
    return Signed(order, sha256(body), key, octets.decode())


def tie(signed: Signed, bench: Bench, policy_text: str) -> Bench:
    """The bench with the SSIDs of the order. Raises OrderError when bench file or policy is not the one ordered."""
    order = signed.order
    for what, wanted, found in (
        (f"bench file {order.bench}", order.bench_sha256, sha256(bench.text.encode())),
        (f"policy {order.policy}", order.policy_sha256, sha256(policy_text.encode())),
    ):
        if wanted != found:
            raise OrderError(
                f"the {what} that order {signed.id[:8]} names, SHA-256 {wanted[:8]}…",
                f"another, {found[:8]}…",
                "use the very file that was ordered, or ask for a new order",
            )
    numbers = {link.name: link.ssid for link in order.links}
    return replace(bench, links=tuple(replace(link, ssid=numbers[link.name]) for link in bench.links))


def departures(signed: Signed, planned: Sequence[OrderedStream]) -> list[str]:
    """What of the order's streams is not planned as ordered, in words; a run that departs is incomplete."""
    return [
        f"order {signed.id[:8]}: {each.stream.name} for {each.requirement} on {each.link} is not planned as ordered"
        for each in signed.order.streams
        if each not in planned
    ]
