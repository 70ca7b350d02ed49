"""The Merkle tree of RFC 6962, with its proofs by RFC 9162."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

EMPTY: Final = hashlib.sha256(b"").digest()
"""Root of a tree without leaves (RFC 9162 2.1.1)."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf's octets: the 0x00 keeps a leaf from passing for a node (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees (RFC 9162 2.1.1)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def _split(size: int) -> int:
    """The largest power of two below ``size`` (≥ 2): how many leaves hang left of the root."""
    return 1 << (size - 1).bit_length() - 1


def _grown(peaks: list[tuple[int, bytes]], leaf: bytes) -> None:
    """Add a leaf to the roots of full subtrees, joined as a binary counter carries: one hash a leaf on average."""
    size, node = 1, leaf
    while peaks and peaks[-1][0] == size:
        node = node_hash(peaks.pop()[1], node)
        size *= 2
    peaks.append((size, node))


def _top(peaks: Sequence[tuple[int, bytes]]) -> bytes:
    if not peaks:
        return EMPTY
    node = peaks[-1][1]
    for _, left in reversed(peaks[:-1]):
        node = node_hash(left, node)
    return node


def root(leaves: Sequence[bytes]) -> bytes:
    """Root over leaf hashes, 32 octets."""
    peaks: list[tuple[int, bytes]] = []
    for leaf in leaves:
        _grown(peaks, leaf)
    return _top(peaks)


def roots(leaves: Sequence[bytes]) -> list[bytes]:
    """The root after each leaf: item k is that of the first k leaves, so one more item than leaves."""
    found = [EMPTY]
    peaks: list[tuple[int, bytes]] = []
    for leaf in leaves:
        _grown(peaks, leaf)
        found.append(_top(peaks))
    return found


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The path from leaf ``index`` to the root over ``leaves``, lowest first (RFC 9162 2.1.3.1).

    Raises IndexError when there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    if len(leaves) == 1:
        return []
    k = _split(len(leaves))
    if index < k:
        return [*inclusion_proof(leaves[:k], index), root(leaves[k:])]
    return [*inclusion_proof(leaves[k:], index - k), root(leaves[:k])]


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], top: bytes) -> bool:
    """Whether ``proof`` shows ``leaf`` at ``index`` of the tree of ``size`` with root ``top`` (RFC 9162 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    at, last, node = index, size - 1, leaf
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            node = node_hash(step, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, step)
        at, last = at >> 1, last >> 1
    return last == 0 and node == top


def consistency_proof(leaves: Sequence[bytes], first: int) -> list[bytes]:
    """What shows that the tree of the ``first`` leaves grew into that of all ``leaves`` (RFC 9162 2.1.4.1).

    Empty for nothing grown and from the empty tree. Raises IndexError when ``first`` is more than there are.
    """
    if not 0 <= first <= len(leaves):
        raise IndexError(f"a tree of {first} in one of {len(leaves)}")
    return [] if first == 0 else _subproof(leaves, first, True)


def _subproof(leaves: Sequence[bytes], first: int, known: bool) -> list[bytes]:
    """``known``: the verifier holds the root of exactly these ``first`` leaves."""
    if first == len(leaves):
        return [] if known else [root(leaves)]
    k = _split(len(leaves))
    if first <= k:
        return [*_subproof(leaves[:k], first, known), root(leaves[k:])]
    return [*_subproof(leaves[k:], first - k, False), root(leaves[:k])]


def consistent(first: int, first_root: bytes, size: int, top: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree of ``first`` leaves grew into that of ``size``.

    RFC 9162 2.1.4.2; every tree continues the empty one.
    """
    if not 0 <= first <= size:
        return False
    if first == size:
        return not proof and first_root == top
    if first == 0:
        return not proof and first_root == EMPTY
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    if not path:
        return False
    at, last = first - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = path[0]
    for step in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(step, old), node_hash(step, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, step)
        at, last = at >> 1, last >> 1
    return last == 0 and old == first_root and new == top
