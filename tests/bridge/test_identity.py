"""The bridge's keys: made once, whole, for nobody else to read."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.identity import Identity, IdentityError, load, make
from wire.cose import load_public_key_pem, thumbprint


def paths(directory: Path) -> tuple[Path, Path]:
    return directory / "bridge-key.pem", directory / "identifier.key"


def test_keys_are_made_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    made = make(*paths(tmp_path))
    again = make(*paths(tmp_path))
    assert (made.kid, made.identifier_key, made.public_pem) == (again.kid, again.identifier_key, again.public_pem)
    assert len(made.identifier_key) == 32
    assert made.kid == thumbprint(load_public_key_pem(made.public_pem.encode())) == made.signer.kid
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bridge-key.pem", "identifier.key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_two_bridges_have_different_keys(tmp_path: Path) -> None:
    found: list[Identity] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found.append(make(*paths(tmp_path / name)))
    assert found[0].kid != found[1].kid
    assert found[0].identifier_key != found[1].identifier_key


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_key_is_an_error_that_says_how_to_make_it(tmp_path: Path, which: int) -> None:
    make(*paths(tmp_path))
    paths(tmp_path)[which].unlink()
    with pytest.raises(IdentityError, match="stafet-bridge identity"):
        load(*paths(tmp_path))


@pytest.mark.parametrize("which", [0, 1])
def test_a_key_that_others_can_read_is_not_used(tmp_path: Path, which: int) -> None:
    make(*paths(tmp_path))
    paths(tmp_path)[which].chmod(0o640)
    with pytest.raises(IdentityError, match="chmod 600"):
        load(*paths(tmp_path))


def pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    kind, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(kind, form, serialization.NoEncryption())


@pytest.mark.parametrize("content", [b"", b"noise", pem(ec.generate_private_key(ec.SECP384R1()))])
def test_a_file_that_holds_no_key_of_ours_is_named(tmp_path: Path, content: bytes) -> None:
    make(*paths(tmp_path))
    paths(tmp_path)[0].write_bytes(content)
    with pytest.raises(IdentityError, match=r"bridge-key\.pem"):
        load(*paths(tmp_path))


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33)])
def test_an_identifier_key_of_another_length_is_not_used(tmp_path: Path, content: bytes) -> None:
    make(*paths(tmp_path))
    paths(tmp_path)[1].write_bytes(content)
    with pytest.raises(IdentityError, match=f"{len(content)} bytes, 32 must be"):
        load(*paths(tmp_path))


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="cannot be made"):
        make(*paths(tmp_path / "nowhere"))
