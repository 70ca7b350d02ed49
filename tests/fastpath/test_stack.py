"""What an interface stands on, of made-up tables for what this kernel cannot make, and of real namespaces."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import stack
from fastpath.stack import DEPTH, ELSEWHERE, ENDLESS, NO_PORTS, NOT_SHOWN, Doubt, Link, doubts
from tests.fastpath.namespaces import Namespaces

MAC, OTHER = bytes(range(6)), bytes(range(1, 7))


def table(*links: Link) -> dict[int, Link]:
    return {each.index: each for each in links}


ETH0 = Link(2, "eth0", bus="pci", address=MAC)
VETH = Link(3, "v0", "veth", lower=9, elsewhere=True)
ON_VETH = Doubt("veth", "v0")


@pytest.mark.parametrize(
    "top",
    [
        ETH0,
        Link(2, "ens3", bus="virtio"),  # a hypervisor's: what is beneath it cannot be asked
        Link(2, "lan1", "dsa", bus="mdio_bus", lower=99),
    ],
    ids=["NIC", "hypervisor's NIC", "port of a switch chip"],
)
def test_a_device_on_a_bus_is_an_end(top: Link) -> None:
    assert doubts(2, table(top)) == ()


@pytest.mark.parametrize("kind", sorted(stack.VIRTUAL))
def test_what_never_leaves_the_machine_is_named_as_ever(kind: str) -> None:
    (found,) = doubts(1, table(Link(1, "x0", kind)))
    assert found.at("near") == f"{kind} interface x0 at the near end"


def test_a_simulated_device_on_a_bus_of_its_own_is_no_device() -> None:
    """A netdevsim has a parent on the bus of that name and no kind: rtnetlink does not make it."""
    found = doubts(1, table(Link(1, "vlan7", "vlan", lower=2), Link(2, "eth0", bus="netdevsim")))
    assert [each.at("near") for each in found] == ["netdevsim interface eth0 at the near end"]


@pytest.mark.parametrize(
    "kind", ["wireguard", "vxlan", "geneve", "gre", "ipip", "sit", "xfrm", "vrf", "openvswitch", ""]
)
def test_what_ends_in_no_one_device_is_not_silently_real(kind: str) -> None:
    found = doubts(1, table(Link(1, "x0", kind, lower=2), ETH0))
    assert found == (Doubt(kind, "x0", NOT_SHOWN),)


@pytest.mark.parametrize("kind", ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "macsec"])
def test_what_stands_on_one_is_what_that_is(kind: str) -> None:
    top = Link(5, "top", kind, lower=2, address=MAC)
    assert doubts(5, table(top, ETH0)) == ()
    assert doubts(5, table(replace(top, lower=3), replace(VETH, address=MAC))) == (ON_VETH,)
    for away in (replace(top, elsewhere=True), replace(top, lower=0), replace(top, lower=77)):
        assert doubts(5, table(away, ETH0)) == (Doubt(kind, "top", ELSEWHERE),)


@pytest.mark.parametrize("kind", ["ipvlan", "ipvtap"])
def test_an_ipvlan_bears_the_address_of_its_parent_or_that_is_elsewhere(kind: str) -> None:
    """Older kernels do not say that the parent is in another namespace: its index means another interface here."""
    found = doubts(5, table(Link(5, "eth0", kind, lower=2, address=OTHER), ETH0))
    assert found == (Doubt(kind, "eth0", ELSEWHERE),)


@pytest.mark.parametrize("kind", ["bond", "team", "bridge"])
def test_what_stands_on_many_is_real_where_all_are(kind: str) -> None:
    top, port, other = Link(5, "top", kind), replace(ETH0, master=5), Link(4, "eth1", bus="usb", master=5)
    assert doubts(5, table(top, port, other)) == ()
    assert doubts(5, table(top, port, replace(VETH, master=5))) == (ON_VETH,)
    assert doubts(5, table(top, ETH0, VETH)) == (Doubt(kind, "top", NO_PORTS),)


def test_every_floor_is_looked_through() -> None:
    """VLAN on bond on bridge on veth, and a macvlan on a VLAN beside them on the same bond."""
    floors = (
        Link(10, "bond0.7", "vlan", lower=11),
        Link(11, "bond0", "bond"),
        Link(12, "bridge0", "bridge", master=11),
        Link(13, "macvlan0", "macvlan", lower=10),
    )
    for lowest, found in ((VETH, (ON_VETH,)), (ETH0, ())):
        links = table(*floors, replace(lowest, master=12))
        for top in (10, 11, 12, 13):
            assert doubts(top, links) == found
    links = table(*floors, replace(ETH0, master=12), Link(20, "tap0", "tun", master=11))
    assert doubts(13, links) == (Doubt("tun", "tap0"),)


def test_a_table_that_does_not_end_is_no_real_light() -> None:
    round_and_round = table(Link(1, "a", "vlan", lower=2), Link(2, "b", "macvlan", lower=1))
    assert doubts(1, round_and_round) == (Doubt("vlan", "a", ENDLESS),)
    assert doubts(1, table(Link(1, "a", "vlan", lower=1)))[0].why == ENDLESS
    assert doubts(1, table(Link(1, "a", "bridge", master=1)))[0].why == ENDLESS
    deep = [Link(each, f"v{each}", "vlan", lower=each + 1) for each in range(1, 5000)]
    assert doubts(1, table(*deep, Link(5000, "eth0", bus="pci")))[0].why == ENDLESS
    near = deep[-DEPTH + 1 :]
    assert doubts(near[0].index, table(*near, Link(5000, "eth0", bus="pci"))) == ()


def test_many_ways_down_are_each_walked_once() -> None:
    """Bridges of four VLANs on the next bridge: a thousand million ways, and one end."""
    links: dict[int, Link] = {}
    for storey in range(15):
        at = 10 * storey + 1
        links |= table(Link(at, f"b{storey}", "bridge"))
        links |= table(
            *(Link(at + each, f"b{storey}.{each}", "vlan", lower=at + 10, master=at) for each in range(1, 5))
        )
    assert doubts(1, {**links, 151: Link(151, "v0", "veth")}) == (ON_VETH,)
    assert doubts(1, {**links, 151: Link(151, "eth0", bus="pci")}) == ()


kinds = st.sampled_from(["", *sorted(stack.VIRTUAL), "vlan", "ipvlan", "bond", "bridge", "wireguard"])
numbers = st.integers(0, 8)


@given(
    st.lists(
        st.builds(
            Link, st.integers(1, 8), st.just("x"), kinds, st.sampled_from(["", "pci"]), numbers, st.booleans(), numbers
        ),
        max_size=8,
    )
)
def test_no_table_without_a_device_looks_real(links: list[Link]) -> None:
    made = table(*links)
    for index in range(10):
        found = doubts(index, made)
        if not any(each.bus == "pci" and each.kind not in stack.VIRTUAL for each in links):
            assert found
        assert len(set(found)) == len(found)


def test_the_kernel_before_parent_devices_is_asked_through_sysfs(tmp_path: Path) -> None:
    nic = tmp_path / "class" / "net" / "eth0"
    bus = tmp_path / "bus" / "pci"
    device = tmp_path / "devices" / "0000:00:03.0"
    for each in (nic, bus, device):
        each.mkdir(parents=True)
    (device / "subsystem").symlink_to(bus)
    (nic / "device").symlink_to(device)
    (nic / "ifindex").write_text("2\n", encoding="ascii")
    (nic / "address").write_text(MAC.hex(":") + "\n", encoding="ascii")
    root = nic.parent
    assert stack.bus_in_sysfs("eth0", 2, MAC, root) == "pci"
    # sysfs of another namespace: the name is there too, of another interface
    assert stack.bus_in_sysfs("eth0", 3, MAC, root) == ""
    assert stack.bus_in_sysfs("eth0", 2, OTHER, root) == ""
    assert stack.bus_in_sysfs("eth1", 2, MAC, root) == ""
    (device / "subsystem").unlink()
    (device / "subsystem").symlink_to(device)  # hangs on no bus: a class of its own, as simulated radios have
    assert stack.bus_in_sysfs("eth0", 2, MAC, root) == ""


STACKS = {
    "veth": [],
    "bridge": ["link add name top type bridge", "link set v0 master top"],
    "macvlan on bridge": [
        "link add name bridge0 type bridge", "link set v0 master bridge0",
        "link add link bridge0 name top type macvlan",
    ],
    "bridge on macvlan on veth": [
        "link add link v0 name mv type macvlan", "link add name top type bridge", "link set mv master top",
    ],
    "bridge on VLAN on veth": [
        "link add link v0 name v0.5 type vlan id 5", "link add name top type bridge", "link set v0.5 master top",
    ],
    "bond": ["link add name top type bond", "link set v0 down", "link set v0 master top"],
    "VLAN on bond on veth": [
        "link add name bond0 type bond", "link set v0 down", "link set v0 master bond0",
        "link add link bond0 name top type vlan id 5",
    ],
    "macvlan on VLAN": ["link add link v0 name v0.5 type vlan id 5", "link add link v0.5 name top type macvlan"],
    "ipvlan": ["link add link v0 name top type ipvlan"],
}  # fmt: skip


@pytest.mark.parametrize("way", STACKS)
def test_real_stacks_end_in_their_veth(namespaces: Namespaces, way: str) -> None:
    for command in STACKS[way]:
        namespaces.ip("a", command)
    assert namespaces.doubts("a", "top" if STACKS[way] else "v0") == (ON_VETH,)


@pytest.mark.parametrize("kind", ["macvlan", "macvtap", "ipvlan", "ipvtap", "vlan"])
def test_a_parent_in_another_namespace_is_not_taken_for_real(namespaces: Namespaces, kind: str) -> None:
    """Its index there is one here too, of an interface that has nothing to do with it."""
    namespaces.ip("a", f"link add link v0 name top type {kind}{' id 5' if kind == 'vlan' else ''}")
    namespaces.ip("a", f"link set top netns {namespaces.names['b']}")
    for each in range(8):
        namespaces.ip("b", f"link add name decoy{each} type bridge")
    assert namespaces.doubts("b", "top") == (Doubt(kind, "top", ELSEWHERE),)
    if kind in {"macvlan", "vlan"}:  # none of the others can be a port of a bridge
        namespaces.ip("b", "link add name over type bridge")
        namespaces.ip("b", "link set top master over")
        assert namespaces.doubts("b", "over") == (Doubt(kind, "top", ELSEWHERE),)


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("link add name top type dummy", "dummy"),
        ("link add name top type ifb", "ifb"),
        ("link add name top type nlmon", "nlmon"),
        ("tuntap add name top mode tap", "tun"),
        ("tuntap add name top mode tun", "tun"),
        ("link add name top type netkit", "netkit"),
    ],
)
def test_real_interfaces_without_a_wire(namespaces: Namespaces, command: str, kind: str) -> None:
    namespaces.ip("a", command)
    assert namespaces.doubts("a", "top") == (Doubt(kind, "top"),)


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("vxlan", "id 5 dev v0 dstport 4789"),
        ("geneve", "id 5 remote 192.0.2.1"),
        ("wireguard", ""),
        ("gre", "remote 192.0.2.1 dev v0"),
        ("ipip", "remote 192.0.2.1 dev v0"),
        ("vrf", "table 10"),
    ],
)
def test_real_overlays_end_in_no_device(namespaces: Namespaces, kind: str, rest: str) -> None:
    namespaces.ip("a", f"link add name top type {kind} {rest}")
    assert namespaces.doubts("a", "top") == (Doubt(kind, "top", NOT_SHOWN),)


def test_a_name_that_is_no_utf_8_is_no_trouble(namespaces: Namespaces) -> None:
    namespaces.ip("a", "link set v0 name v\udce9")
    found = namespaces.run(
        "a",
        """
import json, socket
from fastpath import timestamping
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
    print(json.dumps([timestamping.doubts(own.fileno(), index) for index, _ in socket.if_nameindex() if index > 1]))
""",
    )
    assert isinstance(found, list)
    assert sorted(Doubt(*each).at("far") for (each,) in found) == [
        "veth interface v1 at the far end",
        "veth interface v\ufffd at the far end",
    ]


def test_a_bridge_without_ports_ends_nowhere(namespaces: Namespaces) -> None:
    namespaces.ip("a", "link add name top type bridge")
    assert namespaces.doubts("a", "top") == (Doubt("bridge", "top", NO_PORTS),)


def test_a_device_of_this_machine_is_real_and_so_is_what_stands_on_it() -> None:
    """Moved nowhere and not touched: only looked at, and a made-up VLAN and bridge on it."""
    found = stack.links()
    assert found[1].kind == "lo"
    real = [each for each in found.values() if Path("/sys/class/net", each.name, "device", "subsystem").exists()]
    if not real or any(each.kind in stack.VIRTUAL for each in real):
        pytest.skip("no interface here has a device in sysfs")
    for each in real:
        assert each.bus == Path("/sys/class/net", each.name, "device", "subsystem").resolve().name
        assert doubts(each.index, found) == ()
        top = max(found) + 1
        assert doubts(top, {**found, top: Link(top, "top", "vlan", lower=each.index)}) == ()


def test_a_socket_of_another_namespace_is_known_by_its_driver_alone(namespaces: Namespaces) -> None:
    namespaces.ip("a", "link add name bridge0 type bridge")
    found = namespaces.run(
        "a",
        """
import ctypes, json, socket
from fastpath import timestamping
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
    indices = [socket.if_nametoindex(name) for name in ("v0", "bridge0")]
    assert ctypes.CDLL(None).unshare(0x40000000) == 0  # CLONE_NEWNET
    print(json.dumps([timestamping.doubts(own.fileno(), each) for each in (*indices, 1 << 20)]))
""",
    )
    assert found == [[["veth", "v0", ""]], [["bridge", "bridge0", ELSEWHERE]], [["", str(1 << 20), stack.GONE]]]


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)


def new_link(said: bytes, flags: int = 0x1003) -> Link:
    return stack.read_link(struct.pack("=BxHiII", 0, 1, 12, flags, 0) + attribute(3, b"m0\0") + said)


def test_what_the_kernel_says_is_read_whatever_its_order_and_length() -> None:
    info = attribute(18, attribute(1, b"macvlan\0") + attribute(2, b"\xff" * 7))
    said = info + attribute(37, struct.pack("=i", -1)) + attribute(5, struct.pack("=I", 7))
    said += attribute(9999, b"unheard of") + attribute(1, MAC) + b"\0\0\0\0cut off"
    assert new_link(said) == Link(12, "m0", "macvlan", lower=7, elsewhere=True, address=MAC)
    nested = attribute(18 | 0x8000, attribute(1, b"bond\0"))  # NLA_F_NESTED
    assert new_link(nested + attribute(10, struct.pack("=I", 3))) == Link(12, "m0", "bond", master=3)
    assert new_link(b"", flags=0x1008) == Link(12, "m0", "lo")


def test_sysfs_is_asked_only_of_a_plain_interface_of_which_the_kernel_says_no_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An ipvlan in a container may have its host interface's very name, index and address: sysfs would call it real."""
    monkeypatch.setattr(stack, "bus_in_sysfs", lambda name, index, address: f"{name} {index} {address.hex()}")
    assert new_link(attribute(1, MAC)).bus == f"m0 12 {MAC.hex()}"
    assert new_link(attribute(18, attribute(1, b"ipvlan\0"))).bus == ""
    assert new_link(attribute(56, b"0000:00:03.0\0") + attribute(57, b"pci\0")).bus == "pci"
    assert new_link(attribute(56, b"hwsim0\0")).bus == ""  # a class device: a simulated radio, of no bus
