"""A helper process that holds the namespaces of a simulated metro and hands out sockets in them."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.simulation.interface import plain

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_NUD_PERMANENT = 0x80
_IFA_F_NODAD = 0x02
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that started it ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def _become_root() -> None:
    """Enter an own user namespace, in which this user is root."""
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", _CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")


def _new_namespace() -> int:
    _call("unshare", _CLONE_NEWNET)
    return os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _sysctl(path: str, value: str) -> None:
    """Silence the kernel's own packets; where /proc/sys is read-only (containers) they merely cross the fibre too."""
    try:
        Path("/proc/sys/net", path).write_text(value)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT):
            raise


def _netlink() -> Any:
    """A netlink socket of the present namespace."""
    from pyroute2.iproute.linux import IPRoute  # noqa: PLC0415 - a user namespace is entered before any thread starts

    return IPRoute()  # type: ignore[no-untyped-call]


class _Holder:
    """Namespaces by name "<link>/near", "<link>/fibre", "<link>/far"."""

    def __init__(self) -> None:
        self.namespaces: dict[str, int] = {}

    def enter(self, name: str) -> None:
        _call("setns", self.namespaces[name], _CLONE_NEWNET)

    def build(self, links: list[dict[str, Any]]) -> dict[str, Any]:
        """Make the namespaces, the cables, the addresses; answer with what makes them findable from outside."""
        for link in links:
            for side in ("near", "fibre", "far"):
                self.namespaces[f"{link['name']}/{side}"] = _new_namespace()
            self._cable(link, ("near", "va"), ("fibre", "fa"))
            self._cable(link, ("far", "vb"), ("fibre", "fb"))
            self._cable(link, ("near", "pa"), ("far", "pb"))
            for name, peer_name, patch in (("va", "vb", False), ("pa", "pb", True)):
                self._ends(link, name, peer_name, patch=patch)
            for name in ("fa", "fb"):
                self._up(f"{link['name']}/fibre", name, ())
        for namespace in self.namespaces:
            self._settle(namespace)
        inodes = {name: os.fstat(fd).st_ino for name, fd in self.namespaces.items()}
        return {"pid": os.getpid(), "fds": self.namespaces, "inodes": inodes}

    def _cable(self, link: dict[str, Any], one: tuple[str, str], other: tuple[str, str]) -> None:
        self.enter(f"{link['name']}/{one[0]}")
        with _netlink() as route:
            route.link(
                "add", ifname=one[1], kind="veth", mtu=link["mtu"], address=_mac(link, one[1]),
                peer={
                    "ifname": other[1], "mtu": link["mtu"], "address": _mac(link, other[1]),
                    "net_ns_fd": self.namespaces[f"{link['name']}/{other[0]}"],
                },
            )  # fmt: skip

    def _ends(self, link: dict[str, Any], near: str, far: str, *, patch: bool) -> None:
        addresses = link["patch" if patch else "addresses"]
        for side, own, other, mine, theirs in (("near", near, far, 0, 1), ("far", far, near, 1, 0)):
            neighbours = [pair[theirs] for pair in addresses] if patch or link["static_neighbours"] else []
            owned = tuple(pair[mine] for pair in addresses)
            self._up(f"{link['name']}/{side}", own, owned, _mac(link, other), neighbours)

    def _up(
        self, namespace: str, name: str, addresses: tuple[str, ...], peer_mac: str = "", neighbours: Sequence[str] = ()
    ) -> None:
        self.enter(namespace)
        if addresses:
            _sysctl(f"ipv6/conf/{name}/disable_ipv6", "0")
            _sysctl(f"ipv6/conf/{name}/addr_gen_mode", "1")
            _sysctl(f"ipv6/conf/{name}/accept_ra", "0")
            _sysctl(f"ipv6/conf/{name}/router_solicitations", "0")
        else:
            _sysctl(f"ipv6/conf/{name}/disable_ipv6", "1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            plain(sock, name)
        with _netlink() as route:
            index = route.link_lookup(ifname=name)[0]
            route.link("set", index=route.link_lookup(ifname="lo")[0], state="up")
            route.link("set", index=index, state="up")
            for address in addresses:
                if ":" in address:
                    route.addr("add", index=index, address=address, prefixlen=64, flags=_IFA_F_NODAD)
                else:
                    route.addr("add", index=index, address=address, prefixlen=24)
            for address in neighbours:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                route.neigh(
                    "add", family=family, dst=address, lladdr=peer_mac, ifindex=index, state=_NUD_PERMANENT
                )  # fmt: skip

    def _settle(self, namespace: str) -> None:
        """Wait until the kernel has noticed the carrier: until its linkwatch worker has run, frames are dropped."""
        self.enter(namespace)
        deadline = time.monotonic() + 20
        with _netlink() as route:
            while not all(link.get_attr("IFLA_OPERSTATE") == "UP" for link in route.link("dump", kind="veth")):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no carrier in {namespace} after 20 s")
                time.sleep(0.001)
            for link in list(route.link("dump", kind="veth")):
                # The worker holds the RTNL lock from stating UP until it passes frames; a change waits for that lock.
                route.link("set", index=link["index"], state="up")

    def socket(self, request: dict[str, Any]) -> socket.socket:
        """A bound socket in one namespace; binding here allows ports below 1024 without privilege outside."""
        self.enter(request["namespace"])
        sock = socket.socket(request["family"], request["type"], 0)
        try:
            if request["bind"] is not None:
                sock.bind(tuple(request["bind"]))
            if request["connect"] is not None:
                sock.connect(tuple(request["connect"]))
        except OSError:
            sock.close()
            raise
        return sock


def _mac(link: dict[str, Any], name: str) -> str:
    ends = ("va", "fa", "fb", "vb", "pa", "pb")
    return f"02:00:00:00:{link['index']:02x}:{ends.index(name) + 1:02x}"


def main(descriptor: int) -> None:
    """Serve requests (JSON, one a message) until the other end closes, then leave: the kernel clears up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose clean-up still needs us
    channel = socket.socket(fileno=descriptor)
    holder = _Holder()
    try:
        if os.geteuid() != 0:
            _become_root()
    except OSError as error:
        channel.send(json.dumps({"error": f"user namespace refused: {error}", "errno": error.errno}).encode())
        return
    die_with_parent()  # after the user namespace: new credentials clear it
    while message := channel.recv(1 << 20):
        request = json.loads(message)
        try:
            if request["do"] == "build":
                channel.send(json.dumps(holder.build(request["links"])).encode())
            else:
                with holder.socket(request) as sock:
                    socket.send_fds(channel, [b"{}"], [sock.fileno()])
        except Exception as error:  # every failure belongs to the asker, with its words
            code = getattr(error, "errno", None) or getattr(error, "code", None)
            text = f"{request['do']}: {type(error).__name__}: {error}"
            channel.send(json.dumps({"error": text, "errno": code}).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]))
