"""What a program without a single check would do with a 20601 report: the limit that `wire.x73` is held to.

It goes through all the layers, knows the configuration only at run time, and builds the same measurements.
"""

import struct
from decimal import Decimal

from wire.measurement import DeviceTime, Measurement
from wire.x73.dim import Configuration

UNITS = {544: "%", 2720: "/min", 3872: "mm[Hg]", 1731: "kg", 1760: "[lb_av]"}


def unchecked_sfloat(raw: int) -> Decimal:
    exponent, mantissa = raw >> 12, raw & 0xFFF
    return Decimal(mantissa - 4096 if mantissa & 2048 else mantissa).scaleb(exponent - 16 if exponent & 8 else exponent)


def unchecked_float(raw: int) -> Decimal:
    exponent, mantissa = raw >> 24, raw & 0xFFFFFF
    return Decimal(mantissa - (1 << 24) if mantissa & (1 << 23) else mantissa).scaleb(
        exponent - 256 if exponent & 128 else exponent
    )


def unchecked_time(raw: bytes) -> DeviceTime:
    century, year, month, day, hour, minute, second, hundredth = [(each >> 4) * 10 + (each & 15) for each in raw]
    return DeviceTime(
        year=century * 100 + year,
        month=month,
        day=day,
        hour=hour,
        minute=minute,
        second=second,
        microsecond=hundredth * 10_000,
    )


Known = dict[int, tuple[int, str, tuple[int, ...], tuple[tuple[int, int], ...]]]


def unchecked_configuration(configuration: Configuration) -> Known:
    """By handle: code, unit, the parts' codes, the value map."""
    known: Known = {}
    for handle, each in configuration.by_handle.items():
        parts = each.attributes.get(2678, b"")
        unit = int.from_bytes(each.attributes[2454], "big")
        known[handle] = (
            each.code or 0,
            UNITS[unit],
            tuple(0x20000 | code for (code,) in struct.iter_unpack(">H", parts[4:])),
            tuple((entry.attribute, entry.size) for entry in each.value_map or ()),
        )
    return known


def unchecked(raw: bytes, known: Known) -> tuple[Measurement, ...]:
    """The same layers, with `struct`, and nothing verified."""
    _choice, _size, _inner, _invoke_id, _rose, _length = struct.unpack_from(">HHHHHH", raw, 0)
    _handle, _time, event_type, _info = struct.unpack_from(">HIHH", raw, 12)
    _request, _number, count, _bytes = struct.unpack_from(">HHHH", raw, 22)
    at = 30
    measurements: list[Measurement] = []
    for _ in range(count):
        values: dict[int, bytes] = {}
        if event_type == 3357:
            handle, size = struct.unpack_from(">HH", raw, at)
            at += 4
            code, unit, parts, entries = known[handle]
            start = at
            for attribute, length in entries:
                values[attribute] = raw[start : start + length]
                start += length
            at += size
        else:
            handle, items, _size = struct.unpack_from(">HHH", raw, at)
            at += 6
            code, unit, parts, entries = known[handle]
            for _ in range(items):
                attribute, length = struct.unpack_from(">HH", raw, at)
                values[attribute] = raw[at + 4 : at + 4 + length]
                at += 4 + length
        if 2454 in values:
            unit = UNITS[struct.unpack(">H", values[2454])[0]]
        time = unchecked_time(values[2448]) if 2448 in values else None
        if 2636 in values:
            value = unchecked_sfloat(struct.unpack(">H", values[2636])[0])
            measurements.append(Measurement(code=code, value=value, unit=unit, device_time=time))
        elif 2646 in values:
            value = unchecked_float(struct.unpack(">I", values[2646])[0])
            measurements.append(Measurement(code=code, value=value, unit=unit, device_time=time))
        else:
            components = tuple(
                Measurement(code=part, value=unchecked_sfloat(each), unit=unit)
                for part, (each,) in zip(parts, struct.iter_unpack(">H", values[2677][4:]), strict=True)
            )
            measurements.append(Measurement(code=code, components=components, device_time=time))
    return tuple(measurements)
