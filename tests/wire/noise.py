"""Noise for decoders: how much of it, from which seed, and the ways in which good bytes go wrong.

STAFET_FUZZ is the number of inputs for each decoder (default 100,000; `make soak` takes a million), STAFET_SEED the
seed (default 0). The same seed makes the same inputs, whatever else runs. STAFET_SOAK is set by `make soak`.
"""

import os
import random

CI_INPUTS = 100_000
INPUTS = int(os.environ.get("STAFET_FUZZ", str(CI_INPUTS)))
SEED = os.environ.get("STAFET_SEED", "0")


def inputs(share: int = 1) -> int:
    """How many inputs: INPUTS for a decoder; in CI a share of it where tests share one, or try several side by side."""
    return INPUTS if INPUTS > CI_INPUTS or "STAFET_SOAK" in os.environ else INPUTS // share


def source_of(decoder: str) -> random.Random:
    """The source of noise for a decoder."""
    return random.Random(f"{SEED} {decoder}")  # noqa: S311  (test data, not keys)


def noise(source: random.Random, seeds: list[bytes]) -> bytes:
    """Random bytes, or a good value with bits flipped, cut, doubled or lengthened."""
    dice = source.getrandbits(32)
    kind, size, where, seed = dice & 7, dice >> 3 & 31, dice >> 8 & 0xFFF, dice >> 20
    if kind < 3:
        return source.randbytes(size % 24)
    value = bytearray(seeds[seed % len(seeds)])
    if kind < 6:
        value[where % len(value)] ^= 1 << (size & 7)
    elif kind == 6:
        del value[where % len(value) :]
    else:
        value += source.randbytes(size & 7)
    return bytes(value)
