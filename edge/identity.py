"""The hub's key: made here, never leaves, readable for its user alone.

The key file appears whole or not at all: a hub that lost power while it was made begins again, and is never left with
half a key, nor with a second one.
"""

import os
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from edge.files import sync_directory
from wire.cose import (
    KeySigner,
    PublicKey,
    load_private_key_pem,
    load_public_key_pem,
    private_key_pem,
    public_key_pem,
    thumbprint,
)


class Identity(NamedTuple):
    """What others need to know of the hub: its public key, and how messages name it."""

    kid: bytes
    public_key_pem: bytes
    created: bool


def establish(path: Path) -> Identity:
    """Make the key if there is none. KeyFileError if there is something else, OSError if it cannot be made."""
    created = not path.exists()
    if created:
        _create(path)
    public_key = load_private_key_pem(path.read_bytes()).public_key()
    return Identity(kid=thumbprint(public_key), public_key_pem=public_key_pem(public_key), created=created)


def load_signer(path: Path) -> KeySigner:
    """The hub's key, to sign with."""
    return KeySigner(load_private_key_pem(path.read_bytes()))


def load_public_key(path: Path) -> PublicKey:
    """Another's public key."""
    return load_public_key_pem(path.read_bytes())


def _create(path: Path) -> None:
    import tempfile  # noqa: PLC0415  and with it shutil, bz2, lzma: once in the life of a hub

    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(private_key_pem(ec.generate_private_key(ec.SECP256R1())))
            file.flush()
            os.fsync(file.fileno())
        os.link(name, path)  # fails where a key came to be meanwhile
    finally:
        Path(name).unlink()
    sync_directory(path.parent)
