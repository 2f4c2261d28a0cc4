"""COSE_Sign1 with ES256: outside vectors, one canonical form, and keys."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.envelopes import BRIDGE_KEY, BRIDGE_SIGNER, HUB_KEY, HUB_SIGNER, hub_keys, opened_batch, outside
from wire import cbor, cose
from wire.cose import KeySigner, PublicKey, is_signature, lower_s
from wire.errors import EnvelopeError, KeyFileError, Refusal

ES256 = outside("es256.json")
EXAMPLES = outside("cose_sign1.json")
CWT = outside("envelope_cwt.json")
VERIFICATION = [case for group in ES256["verification"] for case in group["cases"]]
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
TYPE = "application/vnd.stafet.test+cbor"
PAYLOAD = b"payload"
ENVELOPE = cose.seal(PAYLOAD, TYPE, HUB_SIGNER)
KID = HUB_SIGNER.kid


def public(x: str, y: str) -> PublicKey:
    return ec.EllipticCurvePublicNumbers(int(x, 16), int(y, 16), ec.SECP256R1()).public_key()


def higher_s(signature: bytes) -> bytes:
    s = int.from_bytes(signature[32:])
    return signature[:32] + max(s, ORDER - s).to_bytes(32)


def key_of(kid: bytes) -> PublicKey | None:
    return HUB_KEY.public_key() if kid == KID else None


def refusal(envelope: bytes, content_type: str = TYPE, keys: Callable[[bytes], PublicKey | None] = key_of) -> Refusal:
    with pytest.raises(EnvelopeError) as refused:
        cose.open_(envelope, content_type, keys)
    return refused.value.reason


def envelope_of(protected: bytes, unprotected: bytes, payload: bytes, signature: bytes) -> bytes:
    """An envelope put together by hand, with whatever parts."""
    return b"\xd2\x84" + cbor.bstr(protected) + unprotected + cbor.bstr(payload) + cbor.bstr(signature)


def resigned(protected: bytes, payload: bytes = PAYLOAD) -> bytes:
    """A sound signature over another protected header."""
    signed = b"\x84\x6aSignature1" + cbor.bstr(protected) + b"\x40" + cbor.bstr(payload)
    return envelope_of(protected, b"\xa0", payload, lower_s(HUB_SIGNER.sign(signed)))


# Outside vectors.


@pytest.mark.parametrize("case", ES256["deterministic"]["cases"], ids=lambda case: case["message"])
def test_signing_is_deterministic_as_rfc_6979_says(case: dict[str, Any]) -> None:
    key = ec.derive_private_key(int(ES256["deterministic"]["private_key"], 16), ec.SECP256R1())
    assert bytes.fromhex(case["signature"]) == KeySigner(key).sign(bytes.fromhex(case["message"]))


@pytest.mark.parametrize("case", VERIFICATION, ids=lambda case: f"{case.get('tcId', 'CAVP')} {case['comment']}")
def test_signatures_hold_exactly_where_nist_and_wycheproof_say_and_only_with_the_lower_s(case: dict[str, Any]) -> None:
    key, signed = public(case["x"], case["y"]), bytes.fromhex(case["message"])
    signature = bytes.fromhex(case["signature"])
    is_lower = len(signature) == 64 and lower_s(signature) == signature
    assert (case["valid"] and is_lower) == is_signature(signature, signed, key)
    if len(signature) == 64:
        assert case["valid"] == is_signature(lower_s(signature), signed, key)


@pytest.mark.parametrize("case", EXAMPLES["cases"], ids=lambda case: case["name"])
def test_what_is_signed_and_the_signature_are_those_of_the_cose_working_groups_examples(case: dict[str, Any]) -> None:
    envelope = bytes.fromhex(case["envelope"]).removeprefix(b"\xd2")
    parts: Any = cbor.decode(envelope)
    protected, _, payload, signature = parts
    # The working group signs a zero-length map as the empty string (RFC 9052, 3); ours is never empty.
    signed = cose._to_be_signed(b"" if protected == b"\xa0" else protected, payload)
    if case["valid"]:
        assert bytes.fromhex(case["to_be_signed"]) == signed
    assert case["valid"] == is_signature(lower_s(signature), signed, public(EXAMPLES["x"], EXAMPLES["y"]))


@pytest.mark.parametrize("case", EXAMPLES["cases"], ids=lambda case: case["name"])
def test_a_sound_cose_sign1_in_another_form_than_ours_is_refused(case: dict[str, Any]) -> None:
    assert refusal(bytes.fromhex(case["envelope"])) is Refusal.MALFORMED


def test_the_kid_is_the_thumbprint_of_rfc_9679() -> None:
    vector = outside("cose_key_thumbprint.json")
    assert vector["thumbprint"] == cose.thumbprint(public(vector["x"], vector["y"])).hex()


def test_an_envelope_made_by_python_cwt_opens_here() -> None:
    batch = opened_batch(bytes.fromhex(CWT["lower_s"]))
    assert (batch.hub, batch.first, batch.last, batch.kid) == ("hub-0001", 1, 2, KID)


def test_an_envelope_made_by_python_cwt_with_the_higher_s_is_refused() -> None:
    envelope = bytes.fromhex(CWT["higher_s"])
    with pytest.raises(EnvelopeError) as refused:
        opened_batch(envelope)
    assert refused.value.reason is Refusal.BAD_SIGNATURE
    assert opened_batch(envelope[:-64] + lower_s(envelope[-64:])).kid == KID


# One form.


@given(st.binary(max_size=300))
def test_what_was_sealed_opens(payload: Any) -> None:
    opened = cose.open_(cose.seal(payload, TYPE, HUB_SIGNER), TYPE, key_of)
    assert (payload, KID) == (opened.payload, opened.kid)


@pytest.mark.parametrize("size", [0, 1, 22, 23, 24, 25, 254, 255, 256, 257, 258, 65_000])
def test_payloads_of_every_head_length_open(size: int) -> None:
    assert bytes(size) == cose.open_(cose.seal(bytes(size), TYPE, HUB_SIGNER), TYPE, key_of).payload


def test_sealing_the_same_again_gives_the_same_bytes() -> None:
    assert cose.seal(PAYLOAD, TYPE, HUB_SIGNER) == ENVELOPE


def test_a_random_signer_is_brought_to_the_lower_s() -> None:
    class HigherS:
        kid = KID

        def sign(self, data: bytes) -> bytes:
            return higher_s(HUB_SIGNER.sign(data))

    assert cose.seal(PAYLOAD, TYPE, HigherS()) == ENVELOPE


def test_a_stranger_cannot_make_a_second_envelope_by_turning_s() -> None:
    assert refusal(ENVELOPE[:-64] + higher_s(ENVELOPE[-64:])) is Refusal.BAD_SIGNATURE


@pytest.mark.parametrize("r", [0, 1, ORDER - 1, ORDER, (1 << 256) - 1])
@pytest.mark.parametrize("s", [0, 1, ORDER // 2, ORDER // 2 + 1, ORDER, (1 << 256) - 1])
def test_signatures_at_the_edges_of_their_range_do_not_hold(r: int, s: int) -> None:
    assert refusal(ENVELOPE[:-64] + r.to_bytes(32) + s.to_bytes(32)) is Refusal.BAD_SIGNATURE


def test_no_bit_of_an_envelope_can_be_flipped() -> None:
    for at in range(len(ENVELOPE) * 8):
        changed = bytearray(ENVELOPE)
        changed[at // 8] ^= 1 << at % 8
        assert refusal(bytes(changed)) in (Refusal.MALFORMED, Refusal.UNKNOWN_KEY, Refusal.BAD_SIGNATURE)


def test_no_end_of_an_envelope_can_be_cut_off() -> None:
    for length in range(len(ENVELOPE)):
        assert refusal(ENVELOPE[:length]) is Refusal.MALFORMED


def test_nothing_can_be_added_before_or_after_an_envelope() -> None:
    for byte in range(256):
        assert refusal(ENVELOPE + bytes([byte])) is Refusal.MALFORMED
        assert refusal(bytes([byte]) + ENVELOPE) is Refusal.MALFORMED


@pytest.mark.parametrize(
    "protected",
    [
        pytest.param({1: -7, 3: TYPE}, id="no kid"),
        pytest.param({1: -7, 4: KID}, id="no content type"),
        pytest.param({3: TYPE, 4: KID}, id="no alg"),
        pytest.param({1: -35, 3: TYPE, 4: KID}, id="ES384"),
        pytest.param({1: -8, 3: TYPE, 4: KID}, id="EdDSA"),
        pytest.param({1: 5, 3: TYPE, 4: KID}, id="HMAC"),
        pytest.param({1: -7, 2: [99], 3: TYPE, 4: KID}, id="a critical header"),
        pytest.param({1: -7, 3: TYPE, 4: KID, 99: 0}, id="one header more"),
        pytest.param({1: -7, 3: "application/vnd.stafet.other+cbor", 4: KID}, id="another content type"),
        pytest.param({1: -7, 3: 60, 4: KID}, id="a numeric content type"),
        pytest.param({1: -7, 3: TYPE, 4: KID[:8]}, id="a short kid"),
        pytest.param({1: -7, 3: TYPE, 4: KID + b"\0"}, id="a long kid"),
    ],
)
def test_a_soundly_signed_envelope_with_another_protected_header_is_malformed(protected: dict[int, Any]) -> None:
    assert refusal(resigned(cbor.dumps(protected))) is Refusal.MALFORMED


@pytest.mark.parametrize(
    "unprotected",
    [b"\xa1\x04\x41\x00", b"\xa1\x18\x63\x00", b"\xbf\xff", b"\xb8\x00", b"\x80", b"\xf6", b"\x40", b""],
    ids=bytes.hex,
)
def test_an_unprotected_header_that_is_not_the_empty_map_is_malformed(unprotected: bytes) -> None:
    protected = cbor.dumps({1: -7, 3: TYPE, 4: KID})
    assert envelope_of(protected, b"\xa0", PAYLOAD, ENVELOPE[-64:]) == ENVELOPE
    assert refusal(envelope_of(protected, unprotected, PAYLOAD, ENVELOPE[-64:])) is Refusal.MALFORMED


@pytest.mark.parametrize("length", [0, 1, 63, 65, 72, 96, 128])
def test_a_signature_of_another_length_is_malformed(length: int) -> None:
    envelope = ENVELOPE[:-66] + cbor.bstr((ENVELOPE[-64:] * 2)[:length])
    assert refusal(envelope) is Refusal.MALFORMED


def test_a_detached_payload_is_malformed() -> None:
    assert refusal(ENVELOPE[: -66 - len(cbor.bstr(PAYLOAD))] + b"\xf6" + ENVELOPE[-66:]) is Refusal.MALFORMED


def test_an_untagged_or_otherwise_tagged_envelope_is_malformed() -> None:
    assert refusal(ENVELOPE[1:]) is Refusal.MALFORMED
    assert refusal(b"\xd1" + ENVELOPE[1:]) is Refusal.MALFORMED
    assert refusal(b"\xd8\x12" + ENVELOPE[1:]) is Refusal.MALFORMED


def test_one_content_type_never_opens_as_another() -> None:
    assert refusal(ENVELOPE, "application/vnd.stafet.batch+cbor") is Refusal.MALFORMED


def test_a_key_that_the_registry_does_not_hold_is_unknown_before_the_signature_is_looked_at() -> None:
    assert refusal(ENVELOPE[:-64] + bytes(64), keys=lambda kid: None) is Refusal.UNKNOWN_KEY


def test_another_key_under_the_same_kid_does_not_verify() -> None:
    assert refusal(ENVELOPE, keys=lambda kid: BRIDGE_KEY.public_key()) is Refusal.BAD_SIGNATURE


def test_a_key_on_another_curve_in_the_registry_does_not_verify() -> None:
    other = ec.derive_private_key(1, ec.SECP384R1()).public_key()
    assert refusal(ENVELOPE, keys=lambda kid: other) is Refusal.BAD_SIGNATURE


def test_the_largest_envelope_is_64_kib() -> None:
    room = cose.MAX_ENVELOPE_BYTES - len(cose.seal(bytes(60_000), TYPE, HUB_SIGNER)) + 60_000
    assert len(cose.seal(bytes(room), TYPE, HUB_SIGNER)) == cose.MAX_ENVELOPE_BYTES
    with pytest.raises(EnvelopeError):
        cose.seal(bytes(room + 1), TYPE, HUB_SIGNER)
    assert refusal(bytes(cose.MAX_ENVELOPE_BYTES + 1)) is Refusal.MALFORMED


@pytest.mark.parametrize(("kid", "length"), [(KID, 63), (KID, 65), (KID[:31], 64)])
def test_a_signer_that_breaks_its_promise_seals_nothing(kid: bytes, length: int) -> None:
    class Broken:
        def __init__(self) -> None:
            self.kid = kid

        def sign(self, data: bytes) -> bytes:
            return bytes(length)

    with pytest.raises(EnvelopeError):
        cose.seal(PAYLOAD, TYPE, Broken())


def test_the_claimed_key_can_be_read_without_verifying() -> None:
    assert cose.read(ENVELOPE[:-1] + b"\0", TYPE).kid == KID


# Keys.


def test_keys_survive_their_pem() -> None:
    private = cose.load_private_key_pem(cose.private_key_pem(HUB_KEY))
    public_key = cose.load_public_key_pem(cose.public_key_pem(HUB_KEY.public_key()))
    assert KID == KeySigner(private).kid == cose.thumbprint(public_key)


def test_two_keys_have_two_thumbprints() -> None:
    assert BRIDGE_SIGNER.kid != KID


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"no key",
        cose.public_key_pem(HUB_KEY.public_key()),
        cose.private_key_pem(HUB_KEY)[:-60],
        ec.derive_private_key(1, ec.SECP384R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        HUB_KEY.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        ),
    ],
    ids=["empty", "text", "public", "truncated", "P-384", "Ed25519", "encrypted"],
)
def test_a_private_key_file_of_another_kind_is_refused_by_name(pem: bytes) -> None:
    with pytest.raises(KeyFileError):
        cose.load_private_key_pem(pem)


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"no key",
        cose.private_key_pem(HUB_KEY),
        ec.derive_private_key(1, ec.SECP384R1())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    ],
    ids=["empty", "text", "private", "P-384", "Ed25519"],
)
def test_a_public_key_file_of_another_kind_is_refused_by_name(pem: bytes) -> None:
    with pytest.raises(KeyFileError):
        cose.load_public_key_pem(pem)


def test_the_registry_is_asked_for_exactly_the_claimed_kid() -> None:
    asked: list[bytes] = []

    def keys(kid: bytes) -> PublicKey:
        asked.append(kid)
        return HUB_KEY.public_key()

    cose.open_(ENVELOPE, TYPE, keys)
    assert asked == [KID]
    assert hub_keys(KID) is not None
