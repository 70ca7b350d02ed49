# Sockets whose packets are stamped by the kernel or the NIC, not by the program.
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""Sockets whose packets are stamped by the kernel or the NIC, not by the program."""

import errno
import os
import socket
import struct
import time
from typing import NamedTuple

from libc.errno cimport EAGAIN, errno as c_errno
from libc.stdint cimport INT64_MIN, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastpath import stack

cdef extern from *:
    """
    #include <errno.h>
    #include <linux/errqueue.h>
    #include <linux/ethtool.h>
    #include <linux/if_vlan.h>
    #include <linux/net_tstamp.h>
    #include <linux/sockios.h>
    #include <net/if.h>
    #include <netinet/in.h>
    #include <string.h>
    #include <sys/ioctl.h>
    #include <sys/socket.h>

    static int millicert_ethtool(int fd, const char *name, void *command) {
        struct ifreq request;
        memset(&request, 0, sizeof request);
        strncpy(request.ifr_name, name, IFNAMSIZ - 1);
        request.ifr_data = command;
        return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
    }

    /* The driver's name; "lo" for the loopback, which has none. Follows a VLAN to the device below it. */
    static int millicert_driver(int fd, const char *interface, char driver[32]) {
        struct ifreq request;
        struct ethtool_drvinfo info;
        struct vlan_ioctl_args vlan;
        char name[IFNAMSIZ] = {0};
        int depth, result;
        strncpy(name, interface, IFNAMSIZ - 1);
        for (depth = 0; depth < 4; depth++) {
            memset(&request, 0, sizeof request);
            memcpy(request.ifr_name, name, IFNAMSIZ);
            if (ioctl(fd, SIOCGIFFLAGS, &request) < 0) return -errno;
            if (request.ifr_flags & IFF_LOOPBACK) { strcpy(driver, "lo"); return 0; }
            memset(&info, 0, sizeof info);
            info.cmd = ETHTOOL_GDRVINFO;
            result = millicert_ethtool(fd, name, &info);
            memset(driver, 0, 32);
            if (result < 0) return result == -EOPNOTSUPP ? 0 : result;
            memcpy(driver, info.driver, 31);
            if (strncmp(driver, "802.1Q", 6) != 0) return 0;
            memset(&vlan, 0, sizeof vlan);
            vlan.cmd = GET_VLAN_REALDEV_NAME_CMD;
            memcpy(vlan.device1, name, IFNAMSIZ);
            if (ioctl(fd, SIOCGIFVLAN, &vlan) < 0) return 0;
            memcpy(name, vlan.u.device2, IFNAMSIZ - 1);
        }
        return 0;
    }

    static int millicert_name_index(int fd, const char *name) {
        struct ifreq request;
        memset(&request, 0, sizeof request);
        strncpy(request.ifr_name, name, IFNAMSIZ - 1);
        return ioctl(fd, SIOCGIFINDEX, &request) < 0 ? 0 : request.ifr_ifindex;
    }

    static int millicert_index_name(int fd, int index, char name[IFNAMSIZ]) {
        struct ifreq request;
        memset(&request, 0, sizeof request);
        request.ifr_ifindex = index;
        if (ioctl(fd, SIOCGIFNAME, &request) < 0) return -errno;
        memcpy(name, request.ifr_name, IFNAMSIZ);
        name[IFNAMSIZ - 1] = 0;
        return 0;
    }

    /* Tells network namespaces apart; 0 where the kernel (before 5.14) does not. */
    static unsigned long long millicert_namespace(int fd) {
        unsigned long long cookie = 0;
        socklen_t length = sizeof cookie;
        return getsockopt(fd, SOL_SOCKET, 71 /* SO_NETNS_COOKIE */, &cookie, &length) < 0 ? 0 : cookie;
    }

    static int millicert_device_ioctl(int fd, unsigned long number, const char *name, void *payload) {
        struct ifreq request;
        memset(&request, 0, sizeof request);
        strncpy(request.ifr_name, name, IFNAMSIZ - 1);
        request.ifr_data = payload;
        return ioctl(fd, number, &request) < 0 ? -errno : 0;
    }

    static int millicert_mtu(int fd, const char *name) {
        struct ifreq request;
        memset(&request, 0, sizeof request);
        strncpy(request.ifr_name, name, IFNAMSIZ - 1);
        return ioctl(fd, SIOCGIFMTU, &request) < 0 ? -errno : request.ifr_mtu;
    }

    static int millicert_recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags) {
        return recvmmsg(fd, messages, count, flags, NULL);
    }
    """
    int millicert_ethtool(int fd, const char *name, void *command) nogil
    int millicert_driver(int fd, const char *name, char *driver) nogil
    int millicert_name_index(int fd, const char *name) nogil
    int millicert_index_name(int fd, int index, char *name) nogil
    unsigned long long millicert_namespace(int fd) nogil
    int millicert_device_ioctl(int fd, unsigned long number, const char *name, void *payload) nogil
    int millicert_mtu(int fd, const char *name) nogil
    int millicert_recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags) nogil

    enum:
        IPPROTO_IP
        IPPROTO_IPV6
        IP_TTL
        IP_TOS
        IP_RECVERR
        IPV6_RECVERR
        IP_PKTINFO
        IPV6_PKTINFO
        IPV6_HOPLIMIT
        IPV6_TCLASS
        SO_RXQ_OVFL
        SO_EE_ORIGIN_TIMESTAMPING
        SO_EE_ORIGIN_ICMP
        SO_EE_ORIGIN_ICMP6
        C_SO_TIMESTAMPING "SO_TIMESTAMPING"
        C_SIOCSHWTSTAMP "SIOCSHWTSTAMP"
        C_SIOCGHWTSTAMP "SIOCGHWTSTAMP"

    ctypedef struct extended_err "struct sock_extended_err":
        unsigned int ee_errno
        unsigned char ee_origin
        unsigned int ee_info
        unsigned int ee_data

    ctypedef struct in_pktinfo "struct in_pktinfo":
        int ipi_ifindex

    ctypedef struct in6_pktinfo "struct in6_pktinfo":
        unsigned int ipi6_ifindex

cdef enum:
    IFNAMSIZ_ = 16
    NS = 1000000000

SIOCSHWTSTAMP = C_SIOCSHWTSTAMP
SIOCGHWTSTAMP = C_SIOCGHWTSTAMP
# <linux/net_tstamp.h>
TX_HARDWARE, TX_SOFTWARE, RX_HARDWARE, RX_SOFTWARE, SOFTWARE = 1, 2, 4, 8, 16
RAW_HARDWARE, OPT_ID, OPT_CMSG, OPT_TSONLY, OPT_TX_SWHW = 64, 128, 1 << 10, 1 << 11, 1 << 14
HWTSTAMP_TX_ON, HWTSTAMP_FILTER_ALL = 1, 1
_HWTSTAMP_CONFIG = struct.Struct("=iii")  # flags, tx_type, rx_filter
RECEIVE_BUFFER = 32 << 20
"""Octets asked of SO_RCVBUFFORCE: TX stamps and unread replies of a second at 30 kpps both fit."""


class Capability(NamedTuple):
    """What a socket was granted. Whether stamps really come is told by the first packets: `Sender.planes`.

    ``rx``, ``tx``: "nic", "kernel" or "user", the best source that may be expected. ``opt_id``: TX stamps carry an
    id. ``caller_id``: the id is the sender's own choice (SCM_TS_OPT_ID). ``receive_buffer``: SO_RCVBUF in force,
    octets of kernel accounting. ``remark``: why it is less than was asked, empty when it is not.
    """

    rx: str
    tx: str
    opt_id: bool
    caller_id: bool
    receive_buffer: int
    remark: str


class InterfaceFacts(NamedTuple):
    """What the kernel says of an interface.

    ``driver``: "veth", "lo", "ixgbe" …, empty when the kernel does not say. ``virtual``: it is not
    shown to end in a physical device (`doubts`). ``phc``: N of /dev/ptpN, -1 none. ``software``, ``hardware``: it
    stamps TX and RX of every packet in the kernel, in the NIC, by its own account.
    """

    driver: str
    virtual: bool
    mtu: int
    phc: int
    software: bool
    hardware: bool


cdef void parse_control(msghdr *message, Control *out) noexcept nogil:
    cdef cmsghdr *header = CMSG_FIRSTHDR(message)
    cdef uint8_t *end = <uint8_t *>message.msg_control + message.msg_controllen
    cdef unsigned char *data
    cdef int level, kind
    cdef int64_t times[6]
    cdef extended_err error
    cdef int32_t number
    cdef uint32_t unsigned_number
    cdef size_t room
    out.software = INT64_MIN
    out.hardware = INT64_MIN
    out.stamp_id = -1
    out.stamp_kind = -1
    out.error = 0
    out.ttl = -1
    out.tos = -1
    out.interface = 0
    out.drops = -1
    out.local_family = 0
    out.truncated = (message.msg_flags & MSG_CTRUNC) != 0
    while header != NULL:
        if header.cmsg_len < CMSG_LEN(0) or header.cmsg_len > <size_t>(end - <uint8_t *>header):
            break
        level = header.cmsg_level
        kind = header.cmsg_type
        data = CMSG_DATA(header)
        room = header.cmsg_len - CMSG_LEN(0)
        if level == SOL_SOCKET:
            if kind == C_SO_TIMESTAMPING and room >= sizeof(times):
                # struct scm_timestamping: ts[0] kernel, ts[1] unused, ts[2] NIC; zero is "not taken"
                memcpy(times, data, sizeof(times))
                if times[0] != 0 or times[1] != 0:
                    out.software = times[0] * NS + times[1]
                if times[4] != 0 or times[5] != 0:
                    out.hardware = times[4] * NS + times[5]
            elif kind == SO_RXQ_OVFL and room >= 4:
                memcpy(&unsigned_number, data, 4)
                out.drops = unsigned_number
        elif (level == IPPROTO_IP and kind == IP_RECVERR) or (level == IPPROTO_IPV6 and kind == IPV6_RECVERR):
            if room >= sizeof(error):
                memcpy(&error, data, sizeof(error))
                if error.ee_origin == SO_EE_ORIGIN_TIMESTAMPING:
                    out.stamp_id = error.ee_data
                    out.stamp_kind = error.ee_info
                elif error.ee_origin == SO_EE_ORIGIN_ICMP or error.ee_origin == SO_EE_ORIGIN_ICMP6:
                    out.error = error.ee_errno
        elif level == IPPROTO_IP:
            if kind == IP_TTL and room >= 4:
                memcpy(&number, data, 4)
                out.ttl = number
            elif kind == IP_TOS and room >= 1:
                out.tos = data[0]
            elif kind == IP_PKTINFO and room >= 12:
                # struct in_pktinfo: index, spec_dst (the local address), addr (the header's destination)
                memcpy(&number, data, 4)
                out.interface = number
                out.local_family = AF_INET
                memset(out.local, 0, 16)
                memcpy(out.local, data + 4, 4)
        elif level == IPPROTO_IPV6:
            if kind == IPV6_HOPLIMIT and room >= 4:
                memcpy(&number, data, 4)
                out.ttl = number
            elif kind == IPV6_TCLASS and room >= 4:
                memcpy(&number, data, 4)
                out.tos = number
            elif kind == IPV6_PKTINFO and room >= 20:
                memcpy(out.local, data, 16)
                memcpy(&number, data + 16, 4)
                out.interface = number
                out.local_family = AF_INET6
        header = CMSG_NXTHDR(message, header)


def parse(bytes control, int flags=0):
    """The control messages of one received message (the octets recvmsg(2) fills in) as a dict.

    Keys as in the C struct Control: ``software``, ``hardware`` ns or None, ``stamp_id``, ``stamp_kind``,
    ``error``, ``ttl``, ``tos``, ``interface``, ``drops``, ``local`` (address text or ""), ``truncated``.
    """
    cdef msghdr message
    cdef Control out
    cdef uint8_t *copy = <uint8_t *>calloc(len(control) + 16, 1)  # aligned, as the kernel's buffers are
    if copy == NULL:
        raise MemoryError
    try:
        memcpy(copy, <const uint8_t *>control, len(control))
        memset(&message, 0, sizeof(message))
        message.msg_control = copy
        message.msg_controllen = len(control)
        message.msg_flags = flags
        parse_control(&message, &out)
    finally:
        free(copy)
    local = ""
    if out.local_family:
        length = 4 if out.local_family == AF_INET else 16
        local = socket.inet_ntop(out.local_family, bytes(out.local[:length]))
    return {
        "software": None if out.software == INT64_MIN else out.software,
        "hardware": None if out.hardware == INT64_MIN else out.hardware,
        "stamp_id": out.stamp_id,
        "stamp_kind": out.stamp_kind,
        "error": out.error,
        "ttl": out.ttl,
        "tos": out.tos,
        "interface": out.interface,
        "drops": out.drops,
        "local": local,
        "truncated": bool(out.truncated),
    }


cdef Batch *new_batch(int count, size_t stride) noexcept nogil:
    cdef Batch *batch = <Batch *>calloc(1, sizeof(Batch))
    cdef int i
    if batch == NULL:
        return NULL
    batch.count = count
    batch.stride = stride
    batch.messages = <mmsghdr *>calloc(count, sizeof(mmsghdr))
    batch.vectors = <iovec *>calloc(count, sizeof(iovec))
    batch.data = <uint8_t *>calloc(count, stride)
    batch.control = <uint8_t *>calloc(count, CONTROL_ROOM)
    batch.names = <sockaddr_storage *>calloc(count, sizeof(sockaddr_storage))
    if not batch.messages or not batch.vectors or not batch.data or not batch.control or not batch.names:
        free_batch(batch)
        return NULL
    for i in range(count):
        batch.vectors[i].iov_base = batch.data + i * stride
        batch.vectors[i].iov_len = stride
        batch.messages[i].msg_hdr.msg_iov = &batch.vectors[i]
        batch.messages[i].msg_hdr.msg_iovlen = 1
        batch.messages[i].msg_hdr.msg_control = batch.control + i * CONTROL_ROOM
        batch.messages[i].msg_hdr.msg_name = &batch.names[i]
    return batch


cdef void free_batch(Batch *batch) noexcept nogil:
    if batch != NULL:
        free(batch.messages)
        free(batch.vectors)
        free(batch.data)
        free(batch.control)
        free(batch.names)
        free(batch)


cdef int receive_batch(int fd, Batch *batch, int flags) noexcept nogil:
    cdef int i, got
    for i in range(batch.count):
        batch.messages[i].msg_hdr.msg_controllen = CONTROL_ROOM
        batch.messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        batch.messages[i].msg_hdr.msg_flags = 0
    got = millicert_recvmmsg(fd, batch.messages, batch.count, flags)
    if got >= 0:
        return got
    return 0 if c_errno == EAGAIN else -c_errno


cdef size_t put_control(uint8_t *buffer, size_t length, int level, int kind, const void *value,
                        size_t size) noexcept nogil:
    cdef cmsghdr *header = <cmsghdr *>(buffer + length)
    memset(header, 0, CMSG_SPACE(size))
    header.cmsg_level = level
    header.cmsg_type = kind
    header.cmsg_len = CMSG_LEN(size)
    memcpy(CMSG_DATA(header), value, size)
    return length + CMSG_SPACE(size)


def doubts(int fd, int index):
    """Why packets of interface ``index``, in the network namespace of socket ``fd``, are not shown to be real light.

    `stack.Doubt`s; none where everything that the interface stands on ends in a physical device.
    """
    cdef char driver[32]
    name = interface_name(fd, index)
    if not name:
        return (stack.Doubt("", str(index), stack.GONE),)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            if millicert_namespace(fd) == millicert_namespace(own.fileno()):
                return stack.doubts(index, stack.links())
    except OSError as why:
        return (stack.Doubt("", name, f"the kernel does not tell what it stands on ({why.strerror or why})"),)
    # another namespace than this program's: its driver can be asked for, what it stands on cannot
    text = ""
    if millicert_driver(fd, name.encode(), driver) == 0:
        text = bytes(driver).decode("ascii", "replace")
    return (stack.Doubt(text, name, "" if text in stack.VIRTUAL else stack.ELSEWHERE),)


def interface_name(int fd, int index):
    """Name of interface ``index`` in the network namespace of socket ``fd``; empty when there is none.

    The kernel takes any octets for a name; those that are no UTF-8 are told as U+FFFD.
    """
    cdef char name[IFNAMSIZ_]
    return bytes(name).decode("utf-8", "replace") if millicert_index_name(fd, index, name) == 0 else ""


def interface_facts(name, fd=None):
    """What the kernel says of an interface, asked through socket ``fd``, in whose network namespace it lies.

    Without ``fd`` the calling process's namespace is asked. Raises OSError when there is no such interface.
    """
    cdef char driver[32]
    cdef uint32_t info[11]
    cdef int asked, mtu, result
    if fd is None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            return interface_facts(name, probe.fileno())
    asked = fd
    encoded = name.encode()
    result = millicert_driver(asked, encoded, driver)
    if result < 0:
        raise OSError(-result, f"interface {name}: {os.strerror(-result)}")
    mtu = millicert_mtu(asked, encoded)
    memset(info, 0, sizeof(info))
    info[0] = 0x41  # ETHTOOL_GET_TS_INFO: cmd, so_timestamping, phc_index, tx_types, 3 reserved, rx_filters, 3 reserved
    known = millicert_ethtool(asked, encoded, info) == 0
    flags = info[1] if known else 0
    text = bytes(driver).decode("ascii", "replace")
    return InterfaceFacts(
        driver=text,
        virtual=bool(doubts(asked, millicert_name_index(asked, encoded))),
        mtu=mtu,
        phc=<int32_t>info[2] if known else -1,
        software=flags & (TX_SOFTWARE | RX_SOFTWARE) == TX_SOFTWARE | RX_SOFTWARE,
        hardware=flags & (TX_HARDWARE | RX_HARDWARE) == TX_HARDWARE | RX_HARDWARE
        and bool(info[7] >> HWTSTAMP_FILTER_ALL & 1),
    )


def device_ioctl(int fd, unsigned long request, str name, bytearray payload):
    """One SIOC* ioctl whose ifreq points at ``payload``, which the kernel may change. Raises OSError."""
    cdef int result = millicert_device_ioctl(fd, request, name.encode(), <char *>payload)
    if result < 0:
        raise OSError(-result, f"ioctl 0x{request:x} on {name}: {os.strerror(-result)}")


def enable_hardware(fd, interface, ioctl=None):
    """Switches the NIC's stamping of every packet on (SIOCSHWTSTAMP: TX on, RX filter ALL).

    Left alone when it is already on, so that a running ptp4l is not disturbed. ``ioctl`` has the form of
    `device_ioctl` and replaces it in tests. Returns "" when the NIC stamps now, else why not.
    """
    call = device_ioctl if ioctl is None else ioctl
    config = bytearray(_HWTSTAMP_CONFIG.size)
    try:
        call(fd, SIOCGHWTSTAMP, interface, config)
        _flags, tx, rx = _HWTSTAMP_CONFIG.unpack(config)
    except OSError:
        tx = rx = 0
    if tx == HWTSTAMP_TX_ON and rx == HWTSTAMP_FILTER_ALL:
        return ""
    _HWTSTAMP_CONFIG.pack_into(config, 0, 0, HWTSTAMP_TX_ON, HWTSTAMP_FILTER_ALL)
    try:
        call(fd, SIOCSHWTSTAMP, interface, config)
    except OSError as error:
        return f"{interface}: the NIC does not stamp ({error.strerror or error})"
    _flags, tx, rx = _HWTSTAMP_CONFIG.unpack(config)  # the driver may grant less than was asked
    if tx != HWTSTAMP_TX_ON or rx != HWTSTAMP_FILTER_ALL:
        return f"{interface}: the NIC grants only tx_type {tx}, rx_filter {rx}, not every packet"
    return ""


def enable(fd, hardware=False, interface=None, ioctl=None):
    """Prepares a bound UDP socket for measuring: stamps, buffers, TTL 255, and the facts of each packet.

    The stamps are what the kernel grants; a test packet of our own on a link under test would be a
    disturbance, so whether they come is learnt from the first STAMP packets (`Sender.planes`). DSCP stays
    as the caller set it. ``hardware`` asks the NIC on ``interface`` too; without one the remark says so.

    Returns a `Capability`; raises OSError when ``fd`` is no UDP socket, ValueError for ``hardware`` without
    ``interface``.
    """
    if hardware and interface is None:
        raise ValueError("hardware stamps need the interface's name")
    sock = socket.socket(fileno=os.dup(fd))
    try:
        if sock.type != socket.SOCK_DGRAM:
            raise OSError(errno.EPROTOTYPE, "not a UDP socket")
        return _enable(sock, hardware, interface, ioctl)
    finally:
        sock.close()


def _enable(sock, hardware, interface, ioctl):
    remarks = []
    _try(sock, socket.SOL_SOCKET, 33, RECEIVE_BUFFER)          # SO_RCVBUFFORCE
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < RECEIVE_BUFFER:
        _try(sock, socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        if room < RECEIVE_BUFFER:
            remarks.append(f"receive buffer {room} octets (net.core.rmem_max), wanted {RECEIVE_BUFFER}")
    _try(sock, socket.SOL_SOCKET, 32, 4 << 20)                 # SO_SNDBUFFORCE: a queue on the way must not block us
    _try(sock, socket.SOL_SOCKET, 40, 1)                       # SO_RXQ_OVFL
    for option, value in ((8, 1), (12, 1), (13, 1), (2, 255)):  # IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_TTL
        _try(sock, socket.IPPROTO_IP, option, value)
    if sock.family == socket.AF_INET6:
        for option, value in (
            (socket.IPV6_RECVPKTINFO, 1), (socket.IPV6_RECVHOPLIMIT, 1), (socket.IPV6_RECVTCLASS, 1),
            (socket.IPV6_UNICAST_HOPS, 255),
        ):
            _try(sock, socket.IPPROTO_IPV6, option, value)
    best = "kernel"
    wanted = SOFTWARE | RX_SOFTWARE | TX_SOFTWARE
    if hardware:
        reason = enable_hardware(sock.fileno(), interface, ioctl)
        if reason:
            remarks.append(reason)
        else:
            best = "nic"
            wanted |= RAW_HARDWARE | RX_HARDWARE | TX_HARDWARE
    caller_id = caller_id_works()
    # Without ids of our own the looped-back packet itself says which one it is: no counter that could slip.
    options = OPT_ID | OPT_TSONLY if caller_id else OPT_ID
    attempts = [wanted | options, wanted | OPT_ID, wanted]
    if hardware and best == "nic":
        attempts.insert(0, wanted | options | OPT_TX_SWHW)
    for flags in attempts:
        if _try(sock, socket.SOL_SOCKET, C_SO_TIMESTAMPING, flags):
            break
    else:
        return Capability("user", "user", False, False, sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
                          "; ".join([*remarks, "the kernel refuses SO_TIMESTAMPING"]))
    return Capability(best, best, bool(flags & OPT_ID), caller_id and bool(flags & OPT_TSONLY),
                      sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF), "; ".join(remarks))


def _try(sock, level, option, value):
    try:
        sock.setsockopt(level, option, value)
    except OSError:
        return False
    return True


_caller_id = None


def caller_id_works():
    """Whether this kernel lets the sender choose the id of a TX stamp (SCM_TS_OPT_ID, Linux 6.13).

    Tried once, with one packet of a loopback socket to itself.
    """
    global _caller_id
    if _caller_id is None:
        _caller_id = _probe_caller_id()
    return _caller_id


def _probe_caller_id():
    chosen = 0x5EED1D
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", 0))
            probe.setsockopt(socket.SOL_SOCKET, C_SO_TIMESTAMPING, SOFTWARE | TX_SOFTWARE | OPT_ID | OPT_TSONLY)
            probe.sendmsg([b"\0"], [(socket.SOL_SOCKET, SCM_TS_OPT_ID, struct.pack("=I", chosen))], 0,
                          probe.getsockname())
        except OSError as error:
            # no loopback here: the control message was accepted if only the route was missing
            return error.errno in (errno.ENETUNREACH, errno.ENETDOWN)
        for _ in range(100):
            try:
                _data, control, _flags, _address = probe.recvmsg(1, CONTROL_ROOM, socket.MSG_ERRQUEUE
                                                                 | socket.MSG_DONTWAIT)
            except BlockingIOError:
                time.sleep(0.001)
                continue
            return any(
                (level, kind) == (socket.IPPROTO_IP, IP_RECVERR) and struct.unpack_from("=I", data, 12)[0] == chosen
                for level, kind, data in control
            )
    return False


def loop_packets_back(fd):
    """TX stamps of ``fd`` from now on carry the whole packet, for kernels that take no id from the caller.

    Raises OSError when the kernel refuses (net.core.tstamp_allow_data 0 without CAP_NET_RAW).
    """
    with socket.socket(fileno=os.dup(fd)) as sock:
        flags = sock.getsockopt(socket.SOL_SOCKET, C_SO_TIMESTAMPING)
        sock.setsockopt(socket.SOL_SOCKET, C_SO_TIMESTAMPING, flags & ~OPT_TSONLY)


def tell_drops(fd):
    """From now on the kernel says ENOBUFS when a queue of our own host drops a packet of ``fd`` (IP_RECVERR).

    Without it UDP says success, and the packet passes for lost on the link. ICMP errors then come twice: each one
    whole in the error queue, and the newest as the result of any system call on ``fd``, sent or read. Raises OSError.
    """
    with socket.socket(fileno=os.dup(fd)) as sock:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
