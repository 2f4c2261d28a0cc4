"""Errors of the contract, by who must act.

WireError
|- DecodeError       the device (or the caller of a decoder) sent bytes that do not follow the characteristic
|- EnvelopeError     a batch or receipt is not what its signer may send: refuse and quarantine
|- KeyFileError      a key file is not one of ours: the operator must act
`- MeasurementError  measurement JSON that does not follow docs/measurement.schema.json
"""

from enum import StrEnum


class WireError(ValueError):
    """Root of everything `wire` raises for bad input."""


class DecodeError(WireError):
    """Device bytes that do not follow their format; `offset` is the byte at which it showed."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(f"{message} at byte {offset}")
        self.message = message
        self.offset = offset


class MeasurementError(WireError):
    """Measurement JSON with a fault; `offset` is the byte in the input, `path` the place in the document."""

    def __init__(self, message: str, *, offset: int | None = None, path: str = "") -> None:
        where = f" at byte {offset}" if offset is not None else ""
        place = f"{path}: " if path else ""
        super().__init__(f"{place}{message}{where}")
        self.offset = offset
        self.path = path


class Refusal(StrEnum):
    """Why a message was refused; the words stand in quarantine and in receipts (docs/wire.md)."""

    MALFORMED = "malformed"
    """Not one deterministic CBOR COSE_Sign1 of the right type: truncated, trailing or duplicate parts, out of bounds."""
    UNKNOWN_KEY = "unknown-key"
    """The protected header names a key that the registry does not hold, or holds as revoked."""
    BAD_SIGNATURE = "bad-signature"
    """The bytes are not what the key's owner signed."""
    WRONG_HUB = "wrong-hub"
    """A valid batch of one hub on another hub's topic, or naming another hub than its key's."""
    REPLAYED = "replayed"
    """Every reading of this batch was accepted before. Nothing is written again."""
    GAP = "gap"
    """Readings before this batch are missing, and the hub says that it still holds them."""
    BROKEN_CHAIN = "broken-chain"
    """The readings before this batch are not those that the bridge accepted."""
    SEQUENCE_REUSED = "sequence-reused"
    """Other readings were accepted under these sequence numbers: the hub's store went back in time."""


class EnvelopeError(WireError):
    """A signed message that must be refused; `reason` is for machines, the text for people."""

    def __init__(self, reason: Refusal, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class KeyFileError(WireError):
    """A key in a form or on a curve that the contract does not use; the caller knows the file's name."""
