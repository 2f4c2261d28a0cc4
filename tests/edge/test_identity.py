"""The hub's key."""

import subprocess
import sys
from pathlib import Path

import pytest

from edge.identity import establish, load_public_key, load_signer
from wire.cose import open_, seal, thumbprint
from wire.errors import KeyFileError


def test_a_key_is_made_for_its_user_alone_and_then_stays(tmp_path: Path) -> None:
    path = tmp_path / "hub-key.pem"
    first = establish(path)
    assert first.created
    assert path.stat().st_mode & 0o777 == 0o600
    again = establish(path)
    assert not again.created
    assert (again.kid, again.public_key_pem) == (first.kid, first.public_key_pem)
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_key_signs_its_public_half_verifies(tmp_path: Path) -> None:
    identity = establish(tmp_path / "hub-key.pem")
    (tmp_path / "hub-public.pem").write_bytes(identity.public_key_pem)
    signer, public_key = load_signer(tmp_path / "hub-key.pem"), load_public_key(tmp_path / "hub-public.pem")
    assert signer.kid == identity.kid == thumbprint(public_key)
    sealed = seal(b"a batch", "text/plain", signer)
    assert open_(sealed, "text/plain", {signer.kid: public_key}.get).payload == b"a batch"


def test_something_else_in_the_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "hub-key.pem"
    path.write_bytes(b"half a key")
    with pytest.raises(KeyFileError):
        establish(path)
    assert path.read_bytes() == b"half a key"


def test_a_hub_that_is_killed_while_its_key_is_made_has_a_whole_key_or_none(tmp_path: Path) -> None:
    """Killed before each system call that names a file, in turn."""
    program = """
import os, sys
from pathlib import Path
from edge import identity
countdown = int(sys.argv[2])
def dying(event, args):
    global countdown
    if event in {"open", "os.link", "os.remove", "os.chmod"} and sys.argv[1] in str(args):
        countdown -= 1
        if countdown < 0:
            os._exit(9)
sys.addaudithook(dying)
identity.establish(Path(sys.argv[1]) / "hub-key.pem")
"""
    outcomes = []
    for after in range(20):
        home = tmp_path / str(after)
        home.mkdir()
        killed = subprocess.run([sys.executable, "-c", program, str(home), str(after)], check=False).returncode
        outcomes.append((killed, (home / "hub-key.pem").exists()))
        assert (
            len(load_signer(home / "hub-key.pem").kid if outcomes[-1][1] else establish(home / "hub-key.pem").kid) == 32
        )
        if killed == 0:
            break
    assert outcomes[0] == (9, False)
    assert (9, True) in outcomes
    assert outcomes[-1] == (0, True)
