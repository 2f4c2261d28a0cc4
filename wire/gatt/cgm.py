"""Continuous glucose: Measurement (2AA7), Feature (2AA8), Status (2AA9), Session Start (2AAA), Run Time (2AAB), CGMS 1.0.2.

One notification holds one or more records, each with its own size in front, so a field that a later specification adds
is an error here and not a shift of all that follows. Whether a record ends with an E2E-CRC is a feature of the device;
the size byte shows it too, and a CRC that is there is checked. A wrong one is a `DecodeError`: the bytes are not what
the sensor said.

A record's time is minutes since the start of the session, which only Session Start Time tells; what is measured (most
often interstitial fluid) only the Feature tells. `decode_records` takes both where the caller has read them. Without
them the measurements have no device time and are glucose in general.

The status (CGMS 3.1) is IEEE 11073-10425's device status in another order. Three of its bits that 10425 lacks
(battery low, general fault, time synchronisation) are in the generic device status of IEEE 11073-20601, and are
reported as that. Quality (a percentage of the sensor's own) has no MDC code in any table at hand: it stays in the
`CgmRecord` and is no measurement.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from wire.errors import DecodeError
from wire.gatt.date_time import DST_MIN, ZONES, read_date_time, read_dst, read_zone
from wire.gatt.glucose import SAMPLE_LOCATIONS, SAMPLE_TYPES, sample
from wire.gatt.reader import Reader
from wire.measurement import DeviceTime, Measurement, Special, numeric
from wire.nomenclature import Mdc

_TREND: Final = 0x01
_QUALITY: Final = 0x02
_WARNING: Final = 0x20
_CALIBRATION: Final = 0x40
_STATUS: Final = 0x80

_SMALLEST: Final = 6
_CRC_BYTES: Final = 2
_NO_CRC: Final = 0xFFFF

STATUS: Final = {
    0: "session stopped",
    1: "device battery low",
    2: "sensor type incorrect",
    3: "sensor malfunction",
    4: "device specific alert",
    5: "general device fault",
    8: "time synchronisation required",
    9: "calibration not allowed",
    10: "calibration recommended",
    11: "calibration required",
    12: "sensor temperature too high",
    13: "sensor temperature too low",
    16: "result below the patient's low level",
    17: "result above the patient's high level",
    18: "result below the hypo level",
    19: "result above the hyper level",
    20: "rate of decrease exceeded",
    21: "rate of increase exceeded",
    22: "result lower than the device can process",
    23: "result higher than the device can process",
}
"""CGMS 3.1, by bit: status, calibration and temperature, warning octet; the other bits are reserved."""

# HL7 PHD ASN1ToHL7 8418060 (MDC_CGM_DEV_STAT) and 8408608 (MDC_PHD_DM_DEV_STAT), by BLE bit.
_CGM_BITS: Final = dict(
    zip((0, 2, 3, 4, 9, 10, 11, 12, 13, *range(16, 24)), (0, 2, 3, 4, *range(7, 20)), strict=True),
)
_DEVICE_BITS: Final = {1: 25, 5: 5, 8: 16}

FEATURES: Final = (
    "calibration",
    "patient high and low alerts",
    "hypo alerts",
    "hyper alerts",
    "rate of change alerts",
    "device specific alert",
    "sensor malfunction detection",
    "sensor temperature detection",
    "sensor result detection",
    "low battery detection",
    "sensor type error detection",
    "general device fault",
    "E2E-CRC",
    "multiple bonds",
    "multiple sessions",
    "trend",
    "quality",
)
"""CGMS 3.2, by bit; bits 17 to 23 are reserved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CgmRecord:
    """One CGM Measurement record; the concentration is mg/dL, the trend mg/dL/min, the quality per cent."""

    offset_min: int
    concentration: Decimal | Special
    trend: Decimal | Special | None = None
    quality: Decimal | Special | None = None
    status: int = 0
    crc_checked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStart:
    """CGM Session Start Time: the sensor's local time, with its offset from UTC where it tells one."""

    time: DeviceTime
    zone_quarters: int | None
    dst: int | None

    def at(self, offset_min: int) -> DeviceTime | None:
        """The time of a record; None where the start has no complete date."""
        return self.time.shifted(minutes=offset_min)


@dataclass(frozen=True, slots=True, kw_only=True)
class CgmFeature:
    """CGM Feature: what the sensor supports, as bits of `FEATURES`, and what it measures and where."""

    supported: int
    kind: int
    location: int


def read_records(value: bytes) -> tuple[CgmRecord, ...]:
    """CGM Measurement (2AA7, CGMS 3.1): all records of one notification, in their order."""
    reader = Reader(value)
    records = [_read_record(reader, value)]
    while reader.remaining:
        records.append(_read_record(reader, value))
    return tuple(records)


def decode_records(
    value: bytes, *, start: SessionStart | None = None, feature: CgmFeature | None = None
) -> tuple[Measurement, ...]:
    """The measurements in a CGM Measurement (2AA7), with the time and kind that the session and the feature tell."""
    code = sample(feature.kind, feature.location) if feature else Mdc.CONC_GLU_GEN
    found: list[Measurement] = []
    for record in read_records(value):
        time = start.at(record.offset_min) if start else None
        found.append(numeric(code, record.concentration, "mg/dL", device_time=time))
        if record.trend is not None:
            found.append(numeric(Mdc.CONC_GLU_TREND, record.trend, "mg/dL/min", device_time=time))
        found.extend(_status(record.status, time))
    return tuple(found)


def decode_measurement(value: bytes) -> tuple[Measurement, ...]:
    """CGM Measurement (2AA7) by itself: no device time, glucose in general."""
    return decode_records(value)


def decode_session_start(value: bytes) -> SessionStart:
    """CGM Session Start Time (2AAA, CGMS 3.4): Date Time, zone in quarters of an hour, DST offset."""
    reader = Reader(value)
    time = read_date_time(reader)
    zone, dst = read_zone(reader), read_dst(reader)
    end(reader, value)
    offset_min = zone * 15 + DST_MIN[dst] if zone is not None and dst is not None else None
    if offset_min is not None and offset_min > ZONES[-1] * 15:
        raise DecodeError(f"no time zone is {offset_min} minutes from UTC", reader.offset)
    return SessionStart(
        time=replace(time, offset_min=offset_min),
        zone_quarters=zone,
        dst=dst,
    )


def decode_feature(value: bytes) -> CgmFeature:
    """CGM Feature (2AA8, CGMS 3.2): its CRC field is always there, 0xFFFF from a device without E2E-CRC."""
    reader = Reader(value)
    supported = reader.u24("feature")
    octet = reader.u8("type and sample location")
    stated = reader.u16("E2E-CRC")
    reader.end()
    if supported & 0x1000:
        _check(value[:4], stated, 4)
    elif stated != _NO_CRC:
        raise DecodeError(f"E2E-CRC 0x{stated:04X} of a device without E2E-CRC", 4)
    return CgmFeature(supported=supported, kind=octet & 0x0F, location=octet >> 4)


def decode_status(value: bytes) -> tuple[int, int]:
    """CGM Status (2AA9, CGMS 3.3): minutes since the start of the session, and the bits of `STATUS`."""
    reader = Reader(value)
    offset_min, status = reader.u16("time offset"), reader.u24("status")
    end(reader, value)
    return offset_min, status


def decode_run_time(value: bytes) -> int:
    """CGM Session Run Time (2AAB, CGMS 3.5): how many hours the session may last."""
    reader = Reader(value)
    hours = reader.u16("session run time")
    end(reader, value)
    return hours


def describe_feature(value: bytes) -> dict[str, str | bool]:
    """CGM Feature for a technician."""
    feature = decode_feature(value)
    return {
        **{name: bool(feature.supported >> bit & 1) for bit, name in enumerate(FEATURES)},
        "sample": SAMPLE_TYPES[feature.kind][0] if feature.kind in SAMPLE_TYPES else "reserved",
        "location": SAMPLE_LOCATIONS[feature.location][0] if feature.location in SAMPLE_LOCATIONS else "reserved",
    }


def describe_status(value: bytes) -> dict[str, str | bool]:
    """CGM Status for a technician."""
    offset_min, status = decode_status(value)
    states = ", ".join(name for bit, name in STATUS.items() if status >> bit & 1)
    return {"minutes since the start": str(offset_min), "status": states or "none"}


def describe_session_start(value: bytes) -> dict[str, str | bool]:
    """CGM Session Start Time for a technician."""
    start = decode_session_start(value)
    return {"session start": start.time.isoformat()}


def describe_run_time(value: bytes) -> dict[str, str | bool]:
    """CGM Session Run Time for a technician."""
    return {"session run time": f"{decode_run_time(value)} h"}


def crc(data: bytes) -> int:
    """E2E-CRC (CGMS): the CCITT polynomial, seed 0xFFFF, least significant bit first ("MCRF4XX")."""
    register = 0xFFFF
    for octet in data:
        register = register >> 8 ^ _CRC_TABLE[(register ^ octet) & 0xFF]
    return register


def _crc_row(register: int) -> int:
    for _ in range(8):
        register = register >> 1 ^ (0x8408 if register & 1 else 0)
    return register


_CRC_TABLE: Final = tuple(_crc_row(octet) for octet in range(256))


def _read_record(reader: Reader, value: bytes) -> CgmRecord:
    begin = reader.offset
    size = reader.u8("record size")
    if size < _SMALLEST:
        raise DecodeError(f"a record of {size} bytes is shorter than its fixed fields", begin)
    if size > reader.remaining + 1:
        raise DecodeError(f"a record of {size} bytes, {reader.remaining + 1} left", begin)
    flags = reader.u8("flags")
    concentration = reader.sfloat("glucose concentration")
    offset_min = reader.u16("time offset")
    status = reader.u8("status octet") if flags & _STATUS else 0
    status |= reader.u8("calibration and temperature octet") << 8 if flags & _CALIBRATION else 0
    status |= reader.u8("warning octet") << 16 if flags & _WARNING else 0
    trend = reader.sfloat("trend") if flags & _TREND else None
    quality = reader.sfloat("quality") if flags & _QUALITY else None
    left = begin + size - reader.offset
    if left not in (0, _CRC_BYTES):
        raise DecodeError(f"a record of {size} bytes does not fit its flags 0x{flags:02X}", begin)
    if left:
        at = reader.offset
        _check(value[begin:at], reader.u16("E2E-CRC"), at)
    return CgmRecord(
        offset_min=offset_min,
        concentration=concentration,
        trend=trend,
        quality=quality,
        status=status,
        crc_checked=bool(left),
    )


def end(reader: Reader, value: bytes) -> None:
    """The end of a value that may carry an E2E-CRC."""
    if reader.remaining:
        at = reader.offset
        _check(value[:at], reader.u16("E2E-CRC"), at)
    reader.end()


def _check(data: bytes, stated: int, at: int) -> None:
    if crc(data) != stated:
        raise DecodeError(f"E2E-CRC 0x{stated:04X} is not 0x{crc(data):04X}", at)


def _status(word: int, time: DeviceTime | None) -> list[Measurement]:
    """All bits are events (HL7 PHD ASN1ToHL7), so only set ones are reported."""
    found: list[Measurement] = []
    for code, table in ((Mdc.CGM_DEV_STAT, _CGM_BITS), (Mdc.PHD_DM_DEV_STAT, _DEVICE_BITS)):
        bits = {theirs: True for ours, theirs in table.items() if word >> ours & 1} if word else {}
        if bits:
            found.append(Measurement(code=code, bits=bits, device_time=time))
    return found
