"""The text of a new bench file, filled in with what this host has."""

from __future__ import annotations

import fcntl
import ipaddress
import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SIOCGIFADDR: Final = 0x8915
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+")
DAEMONS: Final = ("chronyd", "ptp4l", "phc2sys", "ts2phc", "ntpd", "ntpsec", "systemd-timesyn")
"""Names of clock daemons as /proc shows them, cut to 15 characters."""


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of this host."""

    name: str
    state: str
    """Its operstate: "up", "down", "unknown"."""
    addresses: tuple[str, ...]
    phc: str
    """Its PTP hardware clock, "ptp0"; empty: none."""


def _ipv4(name: str) -> list[str]:
    """The interface's first IPv4 address, from the kernel."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        try:
            answer = fcntl.ioctl(asker, SIOCGIFADDR, struct.pack("16s24x", name.encode()[:15]))
        except OSError:
            return []
    return [socket.inet_ntoa(answer[20:24])]


def _ipv6(name: str, proc: Path) -> list[str]:
    """The interface's IPv6 addresses that reach beyond its segment."""
    try:
        rows = [line.split() for line in (proc / "net/if_inet6").read_text(encoding="ascii").splitlines()]
    except OSError:
        return []
    found = [ipaddress.IPv6Address(int(row[0], 16)) for row in rows if len(row) == 6 and row[5] == name]
    return [str(each) for each in found if not each.is_link_local]


def interfaces(sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> list[Interface]:
    """Interfaces of this host but loopback, those that are up first."""
    found = []
    for folder in sorted((sys / "class/net").glob("*")):
        if folder.name == "lo" or not (folder / "operstate").is_file():
            continue
        state = (folder / "operstate").read_text(encoding="ascii").strip()
        phc = next((each.name for each in sorted((folder / "device/ptp").glob("ptp*"))), "")
        found.append(Interface(folder.name, state, tuple(_ipv4(folder.name) + _ipv6(folder.name, proc)), phc))
    return sorted(found, key=lambda each: (each.state != "up", not each.addresses, each.name))


def clocks(sys: Path = Path("/sys")) -> list[str]:
    """PTP hardware clocks of this host: "ptp0 (igc)"."""
    found = []
    for folder in sorted((sys / "class/ptp").glob("ptp*")):
        try:
            found.append(f"{folder.name} ({(folder / 'clock_name').read_text(encoding='utf-8').strip()})")
        except OSError:
            found.append(folder.name)
    return found


def daemons(proc: Path = Path("/proc")) -> list[str]:
    """Clock daemons that run on this host, by process name."""
    found = set()
    for path in proc.glob("[0-9]*/comm"):
        try:
            found.add(path.read_text(encoding="utf-8").strip())
        except OSError:
            continue  # it ended while we looked
    return [each for each in DAEMONS if each in found]


def _or_none(items: Sequence[str]) -> str:
    return ", ".join(items) or "none found"


def starter(name: str = "my-bench", sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> str:
    """TOML text of a bench that starts at this host; it loads as it is, but its far end is only a placeholder.

    The bench is called ``name`` as far as a bench may be called so.
    """
    called = _UNFIT.sub("-", name).strip("._-")[:40] or "my-bench"
    here = interfaces(sys, proc)
    running = daemons(proc)
    seen = [
        f"#   {each.name} ({each.state}) {' '.join(each.addresses) or 'no address'}"
        + f" PHC {each.phc}" * bool(each.phc)
        for each in here
    ]
    sources = '["chrony", "kernel"]' if "chronyd" in running else '["kernel"]'
    chosen = next((each for each in here if each.state == "up" and each.addresses), None)
    interface = f'interface = "{chosen.name}"' if chosen else '# interface = "eth0"'
    near = next((each for each in chosen.addresses if "." in each), "") if chosen else ""
    near_line = f'near_address = "{near}"' if near else '# near_address = "198.51.100.1"'
    return f"""\
# A bench: what stands where. Check it with `millicert bench check FILE`; then `pytest testplans/ --bench FILE`.
# This host has the interfaces
{chr(10).join(seen) or "#   none found"}
# PTP hardware clocks: {_or_none(clocks(sys))}
# clock daemons: {_or_none(running)}

[bench]
name = "{called}"
title = ""                       # what people call it, in any script
policy = "metro-2027"            # which requirements are judged
operator = ""                    # who measures, unless the command line says

# For the report; leave empty what is not known.
[lab]
name = ""
address = ""
location = ""                    # where the measurement was done

[customer]
name = ""
address = ""

[item]
description = ""                 # what is certified
id = ""
condition = ""

[authoriser]
name = ""
role = ""

[sites.site-a]                   # this host stands here
title = ""
kind = "computing-centre"        # or "access-point", "terminal"
class = "unknown"                # declared size class, "large", "medium" …
# position = ["31.2304", "121.4737"]   # WGS 84 latitude, longitude; both sites: a floor that no clock can fake …
# position_origin = ""           # … when it says who surveyed the position, and when
clock = {{ sources = {sources} }}

[sites.site-b]                   # `millicert reflect` runs here, or a router answers STAMP
title = ""
kind = "computing-centre"
class = "unknown"
# position = ["31.2304", "121.7884"]
# position_origin = ""
clock = {{ sources = ["in-band"] }}

[links.a-b]
near = "site-a"
far = "site-b"
far_address = "192.0.2.1"        # CHANGE THIS: the far end's address
# far_port = 862
{near_line}
{interface}
flows = 16                       # UDP source ports, each one path through the network …
# first_port = 61000             # … counted from here; or flow_ports = [61000, 61002]
# key_file = "a-b.key"           # authenticated mode; chmod 600
# ssid = 1
# oxcs = ["oxc-1"]
# route = {{ length_m = 40000, group_index = "1.4682", u_percent = "0.5", origin = "route register, date" }}
far_clock_trusted = false        # true: you vouch for what the far end says of its clock
# sync_over_link = false         # declare it. true: time reaches a site over this very link; no clock-based verdict
# calibration = "cal/pair.json"  # the pair's stamps, measured back to back: `millicert calibrate` makes it
# far_turnaround_qualified = ""  # id of the qualification that lets its turnaround be subtracted …
# turnaround_cap_us = 0          # … up to this much

# What this bench does otherwise than the plan:
# [streams.optical]
# rate_pps = 1000
# duration_s = 900
# [streams.service]
# rate_pps = 10000
# size = 512
"""
