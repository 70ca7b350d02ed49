"""The tree's hashes are those that others publish, and no proof shows what is not so."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.archive.merkle import (
    EMPTY,
    consistency_proof,
    consistent,
    included,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    roots,
)

# The test tree of the certificate-transparency project, repeated by every implementation since.
INPUTS = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(bytes.fromhex(text)) for text in INPUTS]
PATHS = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
GROWTHS = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def by_definition(data: Sequence[bytes]) -> bytes:
    """RFC 6962 2.1 word by word, on leaf data: another way to the same root."""
    if not data:
        return hashlib.sha256().digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = max(2**e for e in range(len(data).bit_length()) if 2**e < len(data))
    return hashlib.sha256(b"\x01" + by_definition(data[:k]) + by_definition(data[k:])).digest()


def test_published_roots() -> None:
    assert EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert [top.hex() for top in roots(LEAVES)] == [EMPTY.hex(), *ROOTS]
    assert [root(LEAVES[:n]).hex() for n in range(1, 9)] == ROOTS


def test_published_inclusion_proofs() -> None:
    for (index, size), path in PATHS.items():
        assert [step.hex() for step in inclusion_proof(LEAVES[:size], index)] == path
        assert included(LEAVES[index], index, size, [bytes.fromhex(s) for s in path], bytes.fromhex(ROOTS[size - 1]))


def test_published_consistency_proofs() -> None:
    for (first, size), path in GROWTHS.items():
        assert [step.hex() for step in consistency_proof(LEAVES[:size], first)] == path
        tops = (bytes.fromhex(ROOTS[first - 1]), bytes.fromhex(ROOTS[size - 1]))
        assert consistent(first, tops[0], size, tops[1], [bytes.fromhex(s) for s in path])


def test_every_proof_of_every_small_tree_holds_and_fits_nothing_else() -> None:
    data = [bytes([k]) for k in range(24)]
    leaves = [leaf_hash(d) for d in data]
    tops = roots(leaves)
    for size in range(1, 25):
        assert tops[size] == by_definition(data[:size])
        for index in range(size):
            path = inclusion_proof(leaves[:size], index)
            for other in range(-1, size + 2):
                assert included(leaves[index], other, size, path, tops[size]) is (other == index)
            assert not included(leaves[index], index, size, [*path, EMPTY], tops[size])
            assert not path or not included(leaves[index], index, size, path[:-1], tops[size])
        for first in range(size + 1):
            path = consistency_proof(leaves[:size], first)
            assert consistent(first, tops[first], size, tops[size], path)
            assert not consistent(first, tops[first], size, tops[size], [*path, EMPTY])
            if path:
                assert not consistent(first, tops[first], size, tops[size], path[:-1])
            if first:
                assert not consistent(first, tops[first - 1], size, tops[size], path)
            if first != size and first:
                assert not consistent(first, tops[first], size, tops[size - 1], path)


@given(st.integers(1, 300), st.data())
def test_proofs_hold_for_any_tree_and_no_flipped_bit_passes(size: int, data: st.DataObject) -> None:
    leaves = [leaf_hash(n.to_bytes(2, "big")) for n in range(size)]
    top = root(leaves)
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size))
    path, growth = inclusion_proof(leaves, index), consistency_proof(leaves, first)
    assert included(leaves[index], index, size, path, top)
    assert consistent(first, root(leaves[:first]), size, top, growth)
    old = root(leaves[:first])
    if path:
        assert not included(leaves[index], index, size, flipped(path, data), top)
    if growth:
        assert not consistent(first, old, size, top, flipped(growth, data))


def flipped(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """The proof with one bit of one step the other way."""
    at, bit = data.draw(st.integers(0, len(proof) - 1)), data.draw(st.integers(0, 255))
    step = bytearray(proof[at])
    step[bit // 8] ^= 1 << bit % 8
    return [*proof[:at], bytes(step), *proof[at + 1 :]]


@given(st.lists(st.binary(max_size=9), max_size=80))
def test_the_root_is_that_of_the_definition(data: list[bytes]) -> None:
    assert root([leaf_hash(d) for d in data]) == by_definition(data)


def test_a_leaf_never_passes_for_a_node() -> None:
    pair = LEAVES[0] + LEAVES[1]
    assert leaf_hash(pair) != node_hash(LEAVES[0], LEAVES[1])


def test_what_is_not_there_has_no_proof() -> None:
    for index in (-1, 8):
        with pytest.raises(IndexError):
            inclusion_proof(LEAVES, index)
    for first in (-1, 9):
        with pytest.raises(IndexError):
            consistency_proof(LEAVES, first)
    assert consistent(0, EMPTY, 8, root(LEAVES), [])
    assert not consistent(0, LEAVES[0], 8, root(LEAVES), [])
    assert not consistent(9, root(LEAVES), 8, root(LEAVES), [])
