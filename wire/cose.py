"""COSE_Sign1 with ES256 (RFC 9052, 9053) in exactly one form, and the only file with signatures (ADR 0002).

    18([ << {1: -7, 3: content type, 4: kid} >>, {}, payload, signature ])

Everything before the payload is the same bytes for every message of one content type, but for the 32 bytes of the
kid. So an envelope is not parsed, it is compared: no CBOR decoder sees a byte of it before the signature is verified.

For one message and one key there is one envelope: signing is deterministic (RFC 6979) and s is the lower of its two
values. (A stranger can turn s into n - s, and the signature still holds; a second valid envelope of the same batch
would look like a second batch.)

What the caller owes: a `keys` that knows only keys it trusts for this content type, and the meaning of the payload.
"""

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import Final, NamedTuple, NoReturn, Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from wire import cbor
from wire.errors import EnvelopeError, KeyFileError, Refusal

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey
PublicKey: TypeAlias = ec.EllipticCurvePublicKey

MAX_ENVELOPE_BYTES: Final = 64 * 1024
"""A batch of 64 ordinary readings is 12 KB; brokers and an ESP32 must be able to hold one whole."""
KID_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64

_ES256: Final = ec.ECDSA(hashes.SHA256())
_ES256_DETERMINISTIC: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n of P-256 (SP 800-186, 3.2.1.3)."""
_TAG_AND_ARRAY: Final = b"\xd2\x84"
_NO_UNPROTECTED: Final = b"\xa0"
_SIGNATURE_HEAD: Final = b"\x58\x40"


class Signer(Protocol):
    """Whatever holds a private key: a file today, a TPM or secure element later."""

    @property
    def kid(self) -> bytes: ...

    def sign(self, data: bytes) -> bytes:
        """ECDSA P-256 with SHA-256 over `data`, as r || s in 64 bytes."""
        ...


class KeySigner:
    """A private key in memory."""

    __slots__ = ("_key", "kid")

    def __init__(self, private_key: PrivateKey) -> None:
        self.kid = thumbprint(private_key.public_key())
        self._key = private_key

    def sign(self, data: bytes) -> bytes:
        r, s = decode_dss_signature(self._key.sign(data, _ES256_DETERMINISTIC))
        return r.to_bytes(32) + s.to_bytes(32)


class Opened(NamedTuple):
    """What the owner of `kid` signed."""

    payload: bytes
    kid: bytes


class Unverified(NamedTuple):
    """An envelope of the right form, which anybody could have made."""

    content_type: str
    kid: bytes
    payload: bytes
    signature: bytes


def seal(payload: bytes, content_type: str, signer: Signer) -> bytes:
    """Sign `payload`; the same arguments give the same bytes, if the signer is deterministic."""
    protected = _protected(content_type, signer.kid)
    signature = signer.sign(_to_be_signed(protected, payload))
    if len(signature) != SIGNATURE_BYTES:
        _malformed(f"the signer made a signature of {len(signature)} bytes, r || s has {SIGNATURE_BYTES}")
    signature = lower_s(signature)
    envelope = b"".join(
        (_TAG_AND_ARRAY, cbor.bstr(protected), _NO_UNPROTECTED, cbor.bstr(payload), _SIGNATURE_HEAD, signature)
    )
    if len(envelope) > MAX_ENVELOPE_BYTES:
        _malformed(f"an envelope of {len(envelope)} bytes, at most {MAX_ENVELOPE_BYTES} may be")
    return envelope


def open_(envelope: bytes, content_type: str, keys: Callable[[bytes], PublicKey | None]) -> Opened:
    """Verify an envelope; EnvelopeError says why not. The order of the checks is the order of docs/wire.md."""
    unverified = read(envelope, content_type)
    key = keys(unverified.kid)
    if key is None:
        raise EnvelopeError(Refusal.UNKNOWN_KEY, f"no key in the registry has the thumbprint {unverified.kid.hex()}")
    return verify(unverified, key)


def read(envelope: bytes, content_type: str) -> Unverified:
    """The parts of an envelope in the one form that it may have; EnvelopeError(MALFORMED) otherwise."""
    if len(envelope) > MAX_ENVELOPE_BYTES:
        _malformed(f"an envelope of {len(envelope)} bytes, at most {MAX_ENVELOPE_BYTES} may be")
    prefix = _prefix(content_type)
    start = len(prefix) + KID_BYTES
    if not envelope.startswith(prefix):
        _malformed(f"it does not begin as a COSE_Sign1 with ES256 and content type {content_type}")
    if envelope[start : start + 1] != _NO_UNPROTECTED:
        _malformed("the unprotected header is not empty, or the envelope ends in the protected one")
    body, tail = envelope[start + 1 : -SIGNATURE_BYTES - 2], envelope[-SIGNATURE_BYTES - 2 :]
    if not tail.startswith(_SIGNATURE_HEAD):
        _malformed(f"it does not end in a signature of {SIGNATURE_BYTES} bytes")
    head = 1 if len(body) <= 24 else 2 if len(body) <= 257 else 3
    payload = body[head:]
    if cbor.bstr(payload) != body:
        _malformed("the payload is not one byte string that ends where the signature begins")
    return Unverified(content_type=content_type, kid=envelope[len(prefix) : start], payload=payload, signature=tail[2:])


def verify(unverified: Unverified, key: PublicKey) -> Opened:
    """Check the signature; EnvelopeError(BAD_SIGNATURE) if it is not the one that the key's owner makes."""
    signed = _to_be_signed(_protected(unverified.content_type, unverified.kid), unverified.payload)
    if not is_signature(unverified.signature, signed, key):
        raise EnvelopeError(Refusal.BAD_SIGNATURE, f"the owner of key {unverified.kid.hex()} did not sign these bytes")
    return Opened(payload=unverified.payload, kid=unverified.kid)


def is_signature(signature: bytes, signed: bytes, key: PublicKey) -> bool:
    """Whether r || s is the ES256 signature of `signed` with the lower s. (RFC 9053, 2.1; the rule for s is ours.)"""
    if len(signature) != SIGNATURE_BYTES:
        return False
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
    if not (0 < r < _ORDER and 0 < s <= _ORDER // 2):
        return False
    try:
        key.verify(encode_dss_signature(r, s), signed, _ES256)
    except InvalidSignature:
        return False
    return True


def lower_s(signature: bytes) -> bytes:
    """The same signature with the lower of the two values of s."""
    s = int.from_bytes(signature[32:])
    return signature[:32] + (_ORDER - s).to_bytes(32) if _ORDER // 2 < s < _ORDER else signature


def thumbprint(public_key: PublicKey) -> bytes:
    """The COSE Key Thumbprint (RFC 9679) with SHA-256: our kid, so that an id cannot name another key."""
    numbers = _p256(public_key).public_numbers()
    return sha256(cbor.dumps({1: 2, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)})).digest()


def load_private_key_pem(pem: bytes) -> PrivateKey:
    """An unencrypted PKCS #8 key on P-256; KeyFileError otherwise."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError("not an unencrypted private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError("not an elliptic curve key")
    _p256(key.public_key())
    return key


def load_public_key_pem(pem: bytes) -> PublicKey:
    """A SubjectPublicKeyInfo key on P-256; KeyFileError otherwise."""
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError("not a public key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise KeyFileError("not an elliptic curve key")
    return _p256(key)


def private_key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_key_pem(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _protected(content_type: str, kid: bytes) -> bytes:
    if len(kid) != KID_BYTES:
        _malformed(f"a kid of {len(kid)} bytes, {KID_BYTES} must be")
    return _protected_prefix(content_type) + kid


@cache
def _protected_prefix(content_type: str) -> bytes:
    return cbor.dumps({1: -7, 3: content_type, 4: bytes(KID_BYTES)})[:-KID_BYTES]


@cache
def _prefix(content_type: str) -> bytes:
    protected = _protected_prefix(content_type) + bytes(KID_BYTES)
    return _TAG_AND_ARRAY + cbor.bstr(protected)[:-KID_BYTES]


def _to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """Sig_structure (RFC 9052, 4.4), with no external data."""
    return b"".join((b"\x84\x6aSignature1", cbor.bstr(protected), b"\x40", cbor.bstr(payload)))


def _p256(key: PublicKey) -> PublicKey:
    if not isinstance(key.curve, ec.SECP256R1):
        raise KeyFileError(f"a key on {key.curve.name}, P-256 (secp256r1) must be")
    return key


def _malformed(message: str) -> NoReturn:
    raise EnvelopeError(Refusal.MALFORMED, message)
