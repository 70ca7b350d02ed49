"""STAMP packets: built, reflected and parsed in C, with every refusal named."""

from collections.abc import Collection
from typing import Final, Literal, TypedDict, final, type_check_only

from typing_extensions import Buffer

CAUSES: Final[tuple[str, ...]]
"""Why a received packet was not used, by number; 0 is "ok"."""
TLVS: Final[tuple[str, ...]]
"""TLVs that a Session can send, in wire order."""

@type_check_only
class ReplyDict(TypedDict):
    """What a reply says; times in ns TAI. None: absent, unrecognised or malformed there, or no time."""

    seq: int
    sender_seq: int
    t1: int | None
    t2: int | None
    t3: int | None
    error_estimate: int
    ssid: int
    ttl: int
    sync_in: int | None
    method_in: int | None
    sync_out: int | None
    method_out: int | None
    dscp1: int | None
    dscp2: int | None
    ecn: int | None
    reverse_refused: int | None
    s_txc: int | None
    r_rxc: int | None
    r_txc: int | None
    follow_up_seq: int | None
    follow_up_t3: int | None
    follow_up_method: int | None
    facts: int | None
    clock_id: int | None
    nonce: int | None
    unrecognised: int
    malformed: int

class WireError(ValueError):
    """A packet that was not used; ``cause`` is one of CAUSES."""

    cause: str
    def __init__(self, cause: str) -> None: ...

@final
class Session:
    """What both ends of one STAMP session agree on, and the packet that its sender patches."""

    def __new__(
        cls,
        size: int,
        *,
        ssid: int = 0,
        key: bytes | None = None,
        tai_utc: int,
        ntp_format: bool = False,
        tlvs: Collection[str] = ...,
        dscp: int = 0,
        padding: Literal["random", "zero"] = "random",
        seed: int | str = 0,
    ) -> Session: ...
    @property
    def packet(self) -> bytearray: ...
    @property
    def smallest(self) -> int: ...
    @property
    def size(self) -> int: ...
    def build(self, seq: int, t1: int, error_estimate: int, s_txc: int = 0) -> bytes: ...
    def parse(self, packet: Buffer, near: int) -> ReplyDict: ...
    def inspect(self, packet: Buffer) -> tuple[int, int, int | None, int]: ...
    def reflect(
        self,
        packet: Buffer,
        *,
        t2: int | None,
        t3: int | None,
        error_estimate: int,
        seq: int = 0,
        ttl: int = 255,
        dscp_in: int = 0,
        ecn_in: int = 0,
        dscp_refused: bool = False,
        sync_in: int = 0,
        method_in: int = 0,
        sync_out: int = 0,
        method_out: int = 0,
        r_rxc: int = 0,
        r_txc: int = 0,
        stateful: bool = True,
        follow_up_seq: int = 0,
        follow_up_t3: int | None = None,
        follow_up_method: int = 0,
        facts: int = 0,
        clock_id: int = 0,
        nonce: int = 0,
    ) -> bytes: ...

def hmac_sha256_128(key: bytes, data: bytes) -> bytes: ...
def to_ntp(tai_ns: int, tai_utc: int) -> int: ...
def from_ntp(stamp: int, near: int, tai_utc: int) -> int: ...
def to_ptp(tai_ns: int) -> int: ...
def from_ptp(stamp: int, near: int) -> int: ...
def encode_error_estimate(bound_ns: int | None, synchronised: bool, ptp: bool) -> int: ...
def decode_error_estimate(value: int) -> int | None: ...
