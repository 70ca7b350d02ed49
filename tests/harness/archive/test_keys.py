"""Keys are made for their owner alone, read back only when whole, and named as the signed-note form says."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from harness.archive import keys
from harness.archive.keys import KeyFileError, VerifierKey

PUBLISHED = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
"""The verifier key in the documentation of the form's first implementation: an id we did not compute."""


@pytest.fixture
def private(tmp_path: Path) -> Path:
    keys.create(tmp_path / "lab.key", "lab.example.org")
    return tmp_path / "lab.key"


def a_key(name: str = "lab.example.org", seed: int = 1) -> VerifierKey:
    return VerifierKey(name, Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)).public_key().public_bytes_raw())


def test_a_verifier_key_is_spelled_as_everyone_spells_it() -> None:
    key = VerifierKey.parse(PUBLISHED, "here")
    assert (key.name, key.id, len(key.public)) == ("PeterNeumann", "c74f20a3", 32)
    assert key.line == PUBLISHED


def test_a_new_key_is_its_owners_alone_and_signs(private: Path) -> None:
    assert private.stat().st_mode & 0o777 == 0o600
    public = private.with_name("lab.key.pub")
    key = keys.load(private)
    assert public.read_text() == f"{key.verifier.line}\n"
    assert VerifierKey.parse(key.verifier.line, "here") == key.verifier
    signature = key.sign(b"octets")
    assert key.verifier.verifies(signature, b"octets")
    assert not key.verifier.verifies(signature, b"octetz")
    assert not key.verifier.verifies(signature[:-1], b"octets")
    assert not a_key().verifies(signature, b"octets")


def test_openssl_reads_the_private_key(private: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    done = subprocess.run(
        ["openssl", "pkey", "-in", private, "-pubout", "-outform", "DER"], capture_output=True, check=True
    )
    assert done.stdout[-32:] == keys.load(private).verifier.public


def test_a_mask_that_takes_nothing_leaves_the_key_closed(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.create(tmp_path / "lab.key", "lab")
    finally:
        os.umask(before)
    assert (tmp_path / "lab.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "lab.key.pub").stat().st_mode & 0o777 == 0o644


def test_a_key_never_overwrites(private: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyFileError, match="one that is there"):
        keys.create(private, "other")
    (tmp_path / "b.pub").write_text("of someone else\n")
    with pytest.raises(KeyFileError, match="one that is there"):
        keys.create(tmp_path / "b", "other")
    assert not (tmp_path / "b").exists()
    (tmp_path / "c").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="one that is there"):
        keys.create(tmp_path / "c", "other")
    assert not (tmp_path / "elsewhere").exists()
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    "name",
    [
        "", "two words", "a+b", ".hidden", "-dash", "a\nb", "a\tb", "a\u2003b", "x" * 101, "e\u0301", "a\\b", "a#b",
        "a\0b", "\ud800",
    ],
)  # fmt: skip
def test_what_cannot_name_a_key_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="key name"):
        keys.create(tmp_path / "k", name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["lab", "实验室", "head@lab.example.org", "example.org/log", "x" * 100])
def test_what_can_name_a_key_comes_back(tmp_path: Path, name: str) -> None:
    assert keys.create(tmp_path / "k", name) == keys.load(tmp_path / "k").verifier
    assert keys.load(tmp_path / "k").verifier.name == name


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_key_that_others_may_touch_is_refused_with_the_remedy(private: Path, mode: int) -> None:
    private.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"{mode:04o}; chmod 600 {private}"):
        keys.load(private)
    private.chmod(0o400)
    assert keys.load(private)


def test_links_pipes_and_folders_are_not_keys(private: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(private)
    shutil.copy(f"{private}.pub", tmp_path / "link.pub")
    with pytest.raises(KeyFileError, match="a symbolic link"):
        keys.load(tmp_path / "link")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(KeyFileError, match="folder, pipe or device"):
            keys.load(path)
    for path in (tmp_path / "none", tmp_path / "a\0b"):
        with pytest.raises(KeyFileError, match="to read"):
            keys.load(path)
    public = Path(f"{private}.pub")
    line = public.read_text()
    for text in (line * 2, line.strip(), f"{line}\n", f"\n{line}", ""):
        public.write_text(text)
        with pytest.raises(KeyFileError, match=r"lab\.key\.pub"):
            keys.load(private)
    public.write_text(line)
    public.rename(tmp_path / "other")
    with pytest.raises(KeyFileError, match=r"to read .*lab\.key\.pub"):
        keys.load(private)
    public.symlink_to(tmp_path / "other")
    with pytest.raises(KeyFileError, match="a symbolic link"):
        keys.load(private)


def pem(key: object, password: bytes | None = None) -> bytes:
    sealed = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    octets: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)  # type: ignore[attr-defined]  # any kind of private key
    return octets


def test_other_kinds_of_key_are_refused(private: Path) -> None:
    whole = private.read_bytes()
    ssh = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    others = {
        "RSA": pem(rsa.generate_private_key(65537, 2048)),
        "PrivateKey": pem(ec.generate_private_key(ec.SECP256R1())),
        "Ed448": pem(ed448.Ed448PrivateKey.generate()),
        "ENCRYPTED": pem(Ed25519PrivateKey.generate(), b"secret"),
        "OPENSSH": ssh,
        "the public half of another": pem(Ed25519PrivateKey.generate()),
        "cannot read": whole[:60] + b"\n-----END PRIVATE KEY-----\n",
        "of at most|more": whole + b"\n" * 20_000,
        "unencrypted Ed25519": b"",
    }
    for why, octets in others.items():
        private.write_bytes(octets)
        with pytest.raises(KeyFileError, match=why):
            keys.load(private)


def test_any_changed_octet_of_a_key_pair_is_refused_or_changes_nothing(private: Path) -> None:
    """Some octets of PEM, such as a line feed, may differ and still spell the same key."""
    good = keys.load(private).verifier
    refused = 0
    for path in (private, Path(f"{private}.pub")):
        whole = path.read_bytes()
        for offset in range(len(whole)):
            path.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
            try:
                assert keys.load(private).verifier == good
            except KeyFileError:
                refused += 1
            else:
                assert path == private, offset
        path.write_bytes(whole)
    assert refused > len(good.line) + 64


def test_a_public_key_under_which_anyone_can_sign_is_refused() -> None:
    p = 2**255 - 19
    root = pow(2, (p - 1) // 4, p)  # of −1
    d = -121665 * pow(121666, -1, p) % p
    # Points of order 8 have y² with d·y⁴ + 2·y² − 1 = 0 (doubled, their y is 0).
    squares = [(-1 + sign * root_of(1 + d, p, root)) * pow(d, -1, p) % p for sign in (1, -1)]
    eighth = [root_of(square, p, root) for square in squares if is_square(square, p)]
    assert len(eighth) == 1
    ys = [1, p - 1, 0, p, p + 1, *(eighth[0], p - eighth[0])]
    for y in ys:
        for sign in (0, 2**255):
            line = VerifierKey("evil", (y | sign).to_bytes(32, "little")).line
            with pytest.raises(KeyFileError, match="small order"):
                VerifierKey.parse(line, "line 1")
    one = VerifierKey("evil", (1).to_bytes(32, "little"))
    assert one.verifies((1).to_bytes(32, "little") + bytes(32), b"anything at all")


def is_square(value: int, p: int) -> bool:
    return pow(value, (p - 1) // 2, p) == 1


def root_of(value: int, p: int, root_of_minus_one: int) -> int:
    """Square root modulo p = 5 (mod 8)."""
    root = pow(value, (p + 3) // 8, p)
    return root if (root * root - value) % p == 0 else root * root_of_minus_one % p


def noon(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp()) * 1_000_000_000


def test_a_trust_file_says_whom_and_when(tmp_path: Path) -> None:
    one, two, three = (a_key(f"signer-{seed}", seed) for seed in (1, 2, 3))
    path = tmp_path / "trust"
    path.write_text(
        f"# whom we asked by telephone\r\n{one.line}\r\n\r\n\t{two.line}  until=2027-01-31 from=2026-03-01  # head\n"
        f"{three.line} from=2026-03-01"
    )
    trust = keys.read_trust(path)
    assert [each.key for each in trust.keys] == [one, two, three]
    assert [each.validity for each in trust.keys] == [
        "at any time", "from 2026-03-01 until 2027-01-31", "from 2026-03-01",
    ]  # fmt: skip
    found = trust.find(two)
    assert found == trust.keys[1]
    days = [date(2026, 2, 28), date(2026, 3, 1), date(2027, 1, 31), date(2027, 2, 1)]
    assert [found.covers(noon(day)) for day in days] == [False, True, True, False]
    first, last = noon(days[1]) - 43_200 * 10**9, noon(days[2]) + 43_200 * 10**9
    assert [found.covers(at) for at in (first - 1, first, last - 1, last)] == [False, True, True, False]
    assert trust.find(VerifierKey("another name", two.public)) is None


def test_every_mistake_of_a_trust_file_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    one, two, three, four = (a_key(f"signer-{seed}", seed).line for seed in (1, 2, 3, 4))
    lines = [
        one,
        "",
        "not a key",
        one.replace("+", "+0", 1),
        f"{two} until=2026-13-01",
        one,
        f"{three} until=2026-01-01 from=2026-01-02",
        f"{four} from=2026-01-01 from=2026-01-02 for=ever",
        "lab+033de0ae+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
        a_key("signer-1-again", 1).line,
    ]
    path = tmp_path / "trust"
    path.write_text("\n".join(lines))
    with pytest.raises(KeyFileError) as told:
        keys.read_trust(path)
    for number, word in [
        (3, "0 octets"), (4, "the name and the key give"), (5, "2026-13-01"), (6, "line 1 again"),
        (7, "before it begins"), (8, "from= twice"), (8, "for=ever"), (9, "type 02"), (10, "line 1 again"),
    ]:  # fmt: skip
        parts = [part for part in told.value.found.split("; ") if part.startswith(f"line {number}:")]
        assert parts, number
        assert any(word in part for part in parts), word
    assert "line 2:" not in str(told.value)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "no key at all"),
        (b"# nobody\n", "no key at all"),
        (b"\n\n\xff\xfe", "another octet in line 3"),
        (b"#" * (1024 * 1024 + 1), "more"),
        (b"x+" + b"1" * 500, "502 characters"),
        (b"\0", "line 1"),
        ("\ufeff".encode(), "line 1"),
    ],
)
def test_a_trust_file_that_trusts_nobody_is_refused(tmp_path: Path, octets: bytes, why: str) -> None:
    (tmp_path / "trust").write_bytes(octets)
    with pytest.raises(KeyFileError, match=why):
        keys.read_trust(tmp_path / "trust")


@given(st.text(max_size=220))
def test_no_text_is_a_key_by_accident(text: str) -> None:
    with pytest.raises(KeyFileError):
        VerifierKey.parse(text, "here")


@given(st.integers(0, len(PUBLISHED) - 1), st.characters(codec="utf-8"))
def test_a_changed_character_of_a_key_is_found(at: int, character: str) -> None:
    text = PUBLISHED[:at] + character + PUBLISHED[at + 1 :]
    if text != PUBLISHED:
        with pytest.raises(KeyFileError):
            VerifierKey.parse(text, "here")
