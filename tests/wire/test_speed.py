"""Checking costs at most as much as decoding: a checked decode is at least half as fast as an unchecked one.

Both sides build the same measurements; they take turns, and the best of many rounds counts, so that a busy machine
slows both or neither.
"""

import struct
from decimal import Decimal
from time import process_time

from wire.gatt import decode
from wire.measurement import DeviceTime, Measurement, MeasurementStatus

SPOT = bytes.fromhex("0f5e005800d7070a010000000042202000" + "0cf0")
PRESSURE = bytes.fromhex("1e8a00580078000000041114293b3c00012700")
ROUNDS, CALLS = 15, 300


def unchecked_sfloat(raw: int) -> Decimal:
    exponent, mantissa = raw >> 12, raw & 0xFFF
    return Decimal(mantissa - 4096 if mantissa & 2048 else mantissa).scaleb(exponent - 16 if exponent & 8 else exponent)


def unchecked_spot(value: bytes) -> tuple[Measurement, ...]:
    """Only this layout, nothing verified."""
    _, spo2, pulse, year, month, day, hour, minute, second, status, low, _, index = struct.unpack("<BHHH5BHHBH", value)
    time = DeviceTime(year=year, month=month, day=day, hour=hour, minute=minute, second=second)
    states = tuple(
        state
        for bit, state in ((9, MeasurementStatus.STORED), (14, MeasurementStatus.QUESTIONABLE))
        if status >> bit & 1
    )
    return (
        Measurement(
            code=150456, value=unchecked_sfloat(spo2), unit="%", device_time=time, supplemental=(150588,), status=states
        ),
        Measurement(
            code=149530,
            value=unchecked_sfloat(pulse),
            unit="/min",
            device_time=time,
            supplemental=(150588,),
            status=states,
        ),
        Measurement(code=150320, value=unchecked_sfloat(index), unit="%", device_time=time, status=states),
        Measurement(
            code=150604,
            bits={15 - bit: True for bit in range(16) if low >> bit & 1},
            device_time=time,
            status=states[:1],
        ),
    )


def unchecked_pressure(value: bytes) -> tuple[Measurement, ...]:
    """Only this layout, nothing verified."""
    _, high, low, mean, year, month, day, hour, minute, second, pulse, user, status = struct.unpack("<B4H5BHBH", value)
    time = DeviceTime(year=year, month=month, day=day, hour=hour, minute=minute, second=second)
    parts = tuple(
        Measurement(code=code, value=unchecked_sfloat(raw), unit="mm[Hg]")
        for code, raw in ((150021, high), (150022, low), (150023, mean))
    )
    return (
        Measurement(code=150020, components=parts, device_time=time, user=user),
        Measurement(code=149546, value=unchecked_sfloat(pulse), unit="/min", device_time=time, user=user),
        Measurement(code=8410608, bits={b: True for b in range(6) if status >> b & 1}, device_time=time, user=user),
    )


def test_a_checked_decode_is_at_least_half_as_fast_as_an_unchecked_one() -> None:
    for characteristic, value, unchecked in ((0x2A5E, SPOT, unchecked_spot), (0x2A35, PRESSURE, unchecked_pressure)):
        assert unchecked(value) == decode(characteristic, value)
        best = {True: 1.0, False: 1.0}
        for _ in range(ROUNDS):
            for checked in (True, False):
                start = process_time()
                for _ in range(CALLS):
                    if checked:
                        decode(characteristic, value)
                    else:
                        unchecked(value)
                best[checked] = min(best[checked], process_time() - start)
        assert best[False] / best[True] >= 0.5, f"{characteristic:04X}: {best[False] / best[True]:.2f} of unchecked"
