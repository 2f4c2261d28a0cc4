"""The bridge's own secrets: the key that signs receipts, and the key that hides what Observation identifiers are of.

Both are made once, with mode 0600, and never again: another receipt key and no hub believes the bridge; another
identifier key and every stored measurement that a device sends again becomes a second Observation.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from wire.cose import KeySigner, PrivateKey, load_private_key_pem, private_key_pem, public_key_pem, thumbprint
from wire.errors import KeyFileError

IDENTIFIER_KEY_BYTES: Final = 32


class IdentityError(Exception):
    """A key file that cannot be used; the text says what to do."""


class Identity:
    """Both keys, in memory."""

    def __init__(self, private_key: PrivateKey, identifier_key: bytes) -> None:
        self.signer = KeySigner(private_key)
        self.identifier_key = identifier_key
        self.public_pem = public_key_pem(private_key.public_key()).decode("ascii")
        self.kid = thumbprint(private_key.public_key())


def load(key: Path, identifier_key: Path) -> Identity:
    """Both keys as they are on disk; IdentityError if one is missing, not ours, or readable by others."""
    try:
        private = load_private_key_pem(_read(key))
    except KeyFileError as error:
        raise IdentityError(f"{key}: {error}") from error
    secret = _read(identifier_key)
    if len(secret) != IDENTIFIER_KEY_BYTES:
        raise IdentityError(f"{identifier_key}: {len(secret)} bytes, {IDENTIFIER_KEY_BYTES} must be")
    return Identity(private, secret)


def make(key: Path, identifier_key: Path) -> Identity:
    """Both keys; whichever is absent is made."""
    if not key.exists():
        _write(key, private_key_pem(ec.generate_private_key(ec.SECP256R1())))
    if not identifier_key.exists():
        _write(identifier_key, secrets.token_bytes(IDENTIFIER_KEY_BYTES))
    return load(key, identifier_key)


def _read(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise IdentityError(f"{path} is not there: `stafet-bridge identity` makes it") from error
    except OSError as error:
        raise IdentityError(f"{path}: {error.strerror}") from error
    if mode & 0o077:
        raise IdentityError(f"{path} can be read by others: chmod 600 {path}")
    return content


def _write(path: Path, content: bytes) -> None:
    """Make a file that is whole or not there, even over a power cut, and never anybody else's to read."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)  # unlike a rename it does not replace a key that somebody else made meanwhile
        except FileExistsError:
            pass
        finally:
            part.unlink()
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise IdentityError(f"{path} cannot be made: {error.strerror}") from error
