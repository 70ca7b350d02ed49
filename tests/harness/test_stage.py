"""What the real stage says of the near interface and of all that it stands on."""

from __future__ import annotations

import pytest

from fastpath.stack import ELSEWHERE
from tests.fastpath.namespaces import Namespaces

VETH = "veth interface v0 at the near end"


def facts(
    namespaces: Namespaces, where: str, far: str, interface: str | None = None, *, near: str = "", ask: str = "facts"
) -> object:
    return namespaces.run(
        where,
        f"""
import json
from types import SimpleNamespace
from harness import stage
end = SimpleNamespace(near_address={near!r}, far_address={far!r}, far_port=862, interface={interface!r})
print(json.dumps(stage.{ask}(SimpleNamespace(endpoint=end))))
""",
    )


@pytest.mark.parametrize(
    ("commands", "top", "said"),
    [
        ([], "v0", [VETH]),
        (["link add link v0 name top type macvlan"], "top", [VETH]),
        (
            [
                "link add link v0 name mv type macvlan",
                "link add name bridge0 type bridge",
                "link set mv master bridge0",
                "link add link bridge0 name top type macvlan",
            ],
            "top",
            [VETH],
        ),
        (
            ["link add name top type vxlan id 5 dev v0 dstport 4789"],
            "top",
            ["vxlan interface top at the near end: no physical device is shown beneath it"],
        ),
    ],
    ids=["veth", "macvlan", "macvlan on bridge on macvlan", "vxlan"],
)
def test_all_beneath_the_way_out_is_looked_at(
    namespaces: Namespaces, commands: list[str], top: str, said: list[str]
) -> None:
    for command in (*commands, "link set v0 up", "link set v1 up", f"link set {top} up"):
        namespaces.ip("a", command)
    namespaces.ip("a", f"address add 192.0.2.1/24 dev {top}")
    assert facts(namespaces, "a", "192.0.2.2") == said
    assert facts(namespaces, "a", "192.0.2.2", top) == said


def test_the_far_end_on_this_host_is_reached_through_lo(namespaces: Namespaces) -> None:
    namespaces.ip("a", "link set lo up")
    assert facts(namespaces, "a", "127.0.0.1") == ["lo interface lo at the near end"]


def test_a_way_out_whose_parent_is_elsewhere_says_which_and_what_to_do(namespaces: Namespaces) -> None:
    namespaces.ip("a", "link set v0 up")
    namespaces.ip("a", "link add link v0 name top type macvlan")
    namespaces.ip("a", f"link set top netns {namespaces.names['b']}")
    namespaces.ip("b", "link set top up")
    namespaces.ip("b", "address add 192.0.2.1/24 dev top")
    assert facts(namespaces, "b", "192.0.2.2") == [f"macvlan interface top at the near end: {ELSEWHERE}"]
    assert "run in the one that has it" in ELSEWHERE


def test_no_way_out_is_an_error_and_not_real(namespaces: Namespaces) -> None:
    with pytest.raises(AssertionError, match="EngineError"):
        facts(namespaces, "b", "192.0.2.2")


@pytest.mark.parametrize(
    ("family", "net", "elsewhere"), [("-4", "192.0.2", "203.0.113.9"), ("-6", "2001:db8::", "2001:db8:9::1")]
)
def test_the_way_out_is_that_of_the_address_which_the_flows_leave_from(
    namespaces: Namespaces, family: str, net: str, elsewhere: str
) -> None:
    """A second default route, for one of the host's addresses: nothing else leaves through v0."""
    near, gateway, bits = (f"{net}.1", f"{net}.2", 24) if family == "-4" else (f"{net}1", f"{net}2", 64)
    others = "198.51.100.1" if family == "-4" else "2001:db8:8::1"
    for command in (
        "link add name other type bridge",
        "link set other up",
        "link set v0 up",
        "link set v1 up",
        f"{family} address add {others}/{bits} dev other{' nodad' * (family == '-6')}",
        f"{family} address add {near}/{bits} dev v0{' nodad' * (family == '-6')}",
        f"{family} route add default dev other",
        f"{family} route add default via {gateway} dev v0 table 100",
        f"{family} rule add from {near} table 100",
    ):
        namespaces.ip("a", command)
    bridge = ["bridge interface other at the near end: it has no ports"]
    nowhere = "0.0.0.0" if family == "-4" else "::"  # noqa: S104
    for address, says, leaves in ((near, [VETH], "v0"), (others, bridge, "other"), (nowhere, bridge, "other")):
        assert facts(namespaces, "a", elsewhere, near=address) == says
        assert facts(namespaces, "a", elsewhere, near=address, ask="way_to") == leaves
