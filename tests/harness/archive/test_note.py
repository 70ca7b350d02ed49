"""Notes, checkpoints and cosignatures are those of C2SP, octet by octet, and a changed one does not verify."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from harness.archive.keys import VerifierKey
from harness.archive.note import Checkpoint, CosignerKey, Note, Signature, cosigned_at
from harness.errors import ArchiveError, HarnessError
from tests.harness.archive.cosigning import cosigned

# From the documentation of Go's package sumdb/note and from C2SP's signed-note.
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n"
    "\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()
# A witness of the public network and one of its lines, and the checkpoint with a cosignature in C2SP's documents.
WITNESS = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
COSIGNED = "ZGhGuQAAAABm/qTPeyKXD+R2rzyQsxPiP8mXum7qq/iF0u4vanlqJyocWODBt97w9uL+8qT7S5gxEHWWOworDcFiEBYJXORmnFBOBA=="
SOFA = (
    "example.com/behind-the-sofa\n"
    "20852163\n"
    "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    "\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()

SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = SECRET.public_key().public_bytes_raw()
LOG = VerifierKey("millicert.invalid/log/00", PUBLIC)
OUTSIDE = CosignerKey("witness.example/w1", PUBLIC)
TREE = Checkpoint(LOG.name, 7, bytes(range(32)))


@pytest.mark.parametrize(("data", "line"), [(PETER, PETER_KEY), (EXAMPLE, EXAMPLE_KEY)])
def test_published_notes_verify(data: bytes, line: str) -> None:
    key, note = VerifierKey.parse(line, "test"), Note.parse(data)
    assert note.by(key) == note.signatures[0]
    assert note.octets == data
    assert note.by(LOG) is None
    with pytest.raises(ArchiveError, match="does not verify"):
        Note(note.text.replace("i", "j", 1), note.signatures).by(key)


def test_published_checkpoint_and_cosignature_read() -> None:
    note = Note.parse(SOFA)
    found = Checkpoint.parse(note.text)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert found.text == note.text
    assert [each.name for each in note.signatures] == ["example.com/behind-the-sofa", "witness.example.com/w1"]
    assert cosigned_at(note.signatures[1]) == 1679315147
    assert cosigned_at(Signature.parse(f"— remora.n621.de {COSIGNED}")) == 1727964367
    with pytest.raises(ArchiveError, match="cosignature/v1"):
        cosigned_at(note.signatures[0])
    assert note.octets == SOFA


def test_published_witness_key_reads() -> None:
    key = CosignerKey.parse(WITNESS, "test")
    assert (key.name, key.id, key.line) == ("remora.n621.de", "da77ade7", WITNESS)
    with pytest.raises(HarnessError, match="key id"):
        CosignerKey.parse(WITNESS.replace("da77ade7", "da77ade8"), "test")
    for line in ("", "a+b", "a+00000000+????", WITNESS[:-4], "a b+da77ade7+" + WITNESS.split("+", 2)[2]):
        with pytest.raises(HarnessError):
            CosignerKey.parse(line, "test")
    plain = VerifierKey("w", PUBLIC)
    assert CosignerKey.parse(plain.line, "test") == CosignerKey("w", PUBLIC)


def test_a_signed_and_cosigned_checkpoint_comes_back() -> None:
    note = cosigned(Note(TREE.text).signed(LOG, SECRET.sign), OUTSIDE, SECRET.sign, 1_790_000_000)
    again = Note.parse(note.octets)
    assert again == note
    assert Checkpoint.parse(again.text) == TREE
    assert again.by(LOG) is not None
    cosignature = again.by(OUTSIDE)
    assert cosignature is not None
    assert cosigned_at(cosignature) == 1_790_000_000
    later = Signature(cosignature.name, cosignature.key_id, (1).to_bytes(8, "big") + cosignature.blob[8:])
    with pytest.raises(ArchiveError, match="does not verify"):
        Note(note.text, (later,)).by(OUTSIDE)
    # A plain signature of the same key is no cosignature, nor the other way round.
    assert Note(TREE.text).signed(LOG, SECRET.sign).by(CosignerKey(LOG.name, PUBLIC)) is None


def test_an_unsigned_note_is_text_and_an_empty_line() -> None:
    note = Note(TREE.text)
    assert note.octets == f"{TREE.text}\n".encode()
    assert Note.parse(note.octets) == note


def test_no_changed_octet_of_a_signed_checkpoint_verifies() -> None:
    whole = Note(TREE.text).signed(LOG, SECRET.sign).octets
    for offset in range(len(whole)):
        for value in (whole[offset] ^ 1, whole[offset] ^ 0x20, 0, 0x0A, 0xFF):
            damaged = bytearray(whole)
            damaged[offset] = value
            if damaged == whole:
                continue
            try:
                note = Note.parse(bytes(damaged))
                assert note.by(LOG) is None, offset
            except HarnessError:
                continue


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode) | st.sampled_from([SOFA, PETER]))
def test_hostile_octets_are_refused_in_our_words_or_come_back_the_same(data: bytes) -> None:
    try:
        note = Note.parse(data)
    except HarnessError:
        return
    assert note.octets == data


@pytest.mark.parametrize(
    "text",
    ["", "o\n1\n", "o\n01\nAAAA\n", "o\n1\nAAAA\n", "o\n-1\n{r}\n", "o\n1\n{r}", "a b\n1\n{r}\n", "o\n1e3\n{r}\n",
     "\n1\n{r}\n", "o\n9999999999999999999\n{r}\n"],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(HarnessError):
        Checkpoint.parse(text.format(r=base64.b64encode(bytes(32)).decode()))
