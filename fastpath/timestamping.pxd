# Sockets with kernel or NIC stamps: control messages and batches, for use without the GIL.
from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    cdef struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags

    cdef struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len

    cdef struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type

    ctypedef struct sockaddr_storage "struct sockaddr_storage":
        unsigned short ss_family

    cmsghdr *CMSG_FIRSTHDR(msghdr *message)
    cmsghdr *CMSG_NXTHDR(msghdr *message, cmsghdr *header)
    unsigned char *CMSG_DATA(cmsghdr *header)
    size_t CMSG_LEN(size_t length)
    size_t CMSG_SPACE(size_t length)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)
    ssize_t sendmsg(int fd, const msghdr *message, int flags)
    enum:
        MSG_ERRQUEUE
        MSG_DONTWAIT
        MSG_TRUNC
        MSG_CTRUNC
        SOL_SOCKET
        AF_INET
        AF_INET6

# Where a stamp comes from: the codes of harness.samples.
cdef enum:
    SOURCE_NONE = 0
    SOURCE_USER = 1
    SOURCE_KERNEL = 2
    SOURCE_NIC = 3

# What the control messages of one received message say.
cdef struct Control:
    int64_t software           # kernel stamp, ns since 1970 UTC (CLOCK_REALTIME), or INT64_MIN
    int64_t hardware           # raw NIC stamp, ns on the PHC's own scale, or INT64_MIN
    int64_t stamp_id           # TX stamps: the id of the packet; -1 when this is no TX stamp
    int stamp_kind             # 0 left the driver (SCM_TSTAMP_SND), 1 entered the queue, 2 acknowledged
    int error                  # errno of an ICMP error in the error queue; 0 none, nor for errors of our own host
    int ttl                    # TTL or hop limit, -1 unknown
    int tos                    # TOS or traffic class octet, -1 unknown
    int interface              # index, 0 unknown
    int64_t drops              # packets this socket has dropped for want of room (SO_RXQ_OVFL), -1 unknown
    int local_family           # AF_INET, AF_INET6 or 0: the address the packet came to
    uint8_t local[16]
    int truncated              # control messages were cut off

cdef void parse_control(msghdr *message, Control *out) noexcept nogil

# Preallocated buffers for recvmmsg.
cdef struct Batch:
    int count
    size_t stride              # octets of payload room a message
    mmsghdr *messages
    iovec *vectors
    uint8_t *data
    uint8_t *control
    sockaddr_storage *names

cdef Batch *new_batch(int count, size_t stride) noexcept nogil
cdef void free_batch(Batch *batch) noexcept nogil
cdef int receive_batch(int fd, Batch *batch, int flags) noexcept nogil   # messages, 0 when empty, -errno

# Appends a control message of one 32-bit value; returns the new length.
cdef size_t put_control(uint8_t *buffer, size_t length, int level, int kind, const void *value,
                        size_t size) noexcept nogil

cdef enum:
    SCM_TS_OPT_ID = 81         # Linux 6.13: caller-chosen stamp id
    CONTROL_ROOM = 512
