"""Generic health sensor: Live (2B8B) and Stored (2BDD) Health Observations, Features (2BF3), schedule (2BF1); GHSS 1.0.

An observation says by itself what it is, in which unit and when: class, length, flags, then what the flags name, then
the value. A bundle holds several, which take from it what they do not say themselves. Codes are whole MDC codes, units
are terms of partition 4; a unit without a UCUM one is kept as an annotation with its code.

Told are numbers, coded values, events, samples, and compounds of numbers and codes. The rest is read to its last byte:

- A string is reported `as-text`, like a 20601 agent's: a `Measurement` has no place for what it says.
- State and event masks are reported `unsupported`. HL7's PHD guide says what the three masks mean (a bit is reported if it
  is supported and is a state, or an event that is set), and no public source which end of them bit 0 is.
- TLVs are `unsupported`, and samples inside a compound: PHD wants limits of those, which GHS does not tell.

The evidence keeps them all. Of the header, what derives from what, object ids and the duration have no place in a
`Measurement` either.

A message longer than one notification comes in segments; `wire.ghs_segments` joins them before they are evidence.

Layout: GHSS 1.0 as in Realtek's ghss_gatt_svc.h and ST's STM32WBA-BLE-GenericHealthSensor ghs_app.c, which agree in all
but what a length counts (ST's counts what follows it, and so did Philips' client and server of the drafts) and the count
of samples. Samples are unsigned and little-endian, as ST's web client and Philips' client read them; a value is offset +
scale factor * sample, and the samples of one period are the dimensions of one moment (PHD 2.0, PhdRtsaObservation).
"""

from decimal import Decimal
from struct import Struct, unpack
from typing import Final, TypeAlias

from wire.errors import DecodeError
from wire.gatt.elapsed_time import read_elapsed_time
from wire.gatt.reader import Reader
from wire.ghs_segments import MAX_MESSAGE
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Samples, Special
from wire.nomenclature import UCUM, refid
from wire.numbers import decode_float, shifted

_NUMERIC: Final = 1
_DISCRETE: Final = 2
_STRING: Final = 3
_SAMPLES: Final = 4
_DISCRETE_EVENTS: Final = 5
_STATES: Final = 6
_COMPOUND: Final = 7
_TLV: Final = 8
_BUNDLE: Final = 255
CLASSES: Final = frozenset({*range(_NUMERIC, _TLV + 1), _BUNDLE})

_TYPE: Final = 0x0001
_TIME_STAMP: Final = 0x0002
_DURATION: Final = 0x0004
_STATUS: Final = 0x0008
_ID: Final = 0x0010
_PATIENT: Final = 0x0020
_SUPPLEMENTAL: Final = 0x0040
_DERIVED_FROM: Final = 0x0080
_MEMBER_OF: Final = 0x0100
_TLVS: Final = 0x0200

_CLASS_LENGTH_FLAGS: Final = Struct("<BHH").unpack
_PLAIN: Final = Struct("<BHH").pack(_NUMERIC, 12, _TYPE)
"""How an observation begins that is type, unit and number: what bundles are made of."""
_TYPE_UNIT_VALUE: Final = Struct("<IHI").unpack
_UNIT_AND_VALUE: Final = Struct("<HI").unpack
_SAMPLE: Final = {1: "B", 2: "H", 4: "I"}
"""Of so many bytes; what `struct` calls it."""

_WHOLE: Final = 0x03
_USER_UNKNOWN: Final = 0xFF
_UNITS: Final = 4 << 16
_MOST: Final = 64
"""Components of a value, or codes of supplemental information: measurement JSON takes no more."""

STATUS: Final = {
    0: MeasurementStatus.INVALID,
    1: MeasurementStatus.QUESTIONABLE,
    2: MeasurementStatus.NOT_AVAILABLE,
    3: MeasurementStatus.CALIBRATING,
    4: MeasurementStatus.TEST_DATA,
    5: MeasurementStatus.EARLY_ESTIMATE,
    6: MeasurementStatus.MANUALLY_ENTERED,
    7: MeasurementStatus.SETTING,
    14: MeasurementStatus.THRESHOLD_ERROR,
    15: MeasurementStatus.THRESHOLDING_DISABLED,
}
"""Measurement status, by bit; bits 8 to 13 are reserved."""


# What an observation, or the bundle around it, says of its value: type, time, whether the clock was set, status, user,
# supplemental information. A plain tuple: it is made for every observation.
_Header: TypeAlias = tuple[
    int | None, DeviceTime | None, bool, tuple[MeasurementStatus, ...], int | None, tuple[int, ...]
]
_NOTHING: Final[_Header] = (None, None, True, (), None, ())
_STORED: Final[_Header] = (None, None, True, (MeasurementStatus.STORED,), None, ())


def decode_live(value: bytes) -> tuple[Measurement, ...]:
    """Live Health Observations (2B8B): one whole message."""
    reader = _message(value)
    found = _observation(reader, _NOTHING, bundled=False)
    reader.end()
    return found


def decode_stored(value: bytes) -> tuple[Measurement, ...]:
    """Stored Health Observations (2BDD): one whole message, whose record number is for the RACP and not told."""
    reader = _message(value)
    reader.u32("record number")
    found = _observation(reader, _STORED, bundled=False)
    reader.end()
    return found


def describe_features(value: bytes) -> dict[str, str | bool]:
    """Health Sensor Features (2BF3): the types of observations, and the specializations where they are told."""
    reader = Reader(value)
    flags = reader.u8("flags")
    types = [reader.u32("observation type") for _ in range(reader.u8("count of types"))]
    described: dict[str, str | bool] = {"observations": ", ".join(refid(code) or str(code) for code in types)}
    if flags & 1:
        specializations = []
        for _ in range(reader.u8("count of specializations")):
            code = 8 << 16 | reader.u16("specialization")
            specializations.append(f"{refid(code) or code} version {reader.u8('version')}")
        described["specializations"] = ", ".join(specializations)
    reader.end()
    return described


def describe_schedule(value: bytes) -> dict[str, str | bool]:
    """Observation Schedule Changed (2BF1): how long a type of observation is measured, and how often it is told."""
    reader = Reader(value)
    code = _code(reader, "observation type")
    period, interval = reader.float32("measurement period"), reader.float32("update interval")
    reader.end()
    return {
        "observation": refid(code) or str(code),
        "measurement period": _seconds(period),
        "update interval": _seconds(interval),
    }


def _seconds(number: Decimal | Special) -> str:
    return number.absent if isinstance(number, Special) else f"{number} s"


def _message(value: bytes) -> Reader:
    reader = Reader(value, MAX_MESSAGE)
    header = reader.u8("segmentation header")
    if header & _WHOLE != _WHOLE:
        raise DecodeError("one segment of several: the message is not whole", 0)
    return reader


def _observation(reader: Reader, around: _Header, *, bundled: bool) -> tuple[Measurement, ...]:
    at = reader.offset
    raw = reader.take(5, "observation header")
    if raw == _PLAIN:
        code, unit, number = _TYPE_UNIT_VALUE(reader.take(10, "numeric observation"))
        if not code:
            raise DecodeError("observation type 0 is no MDC code", at + 5)
        return (_number(code, unit, number, around),)
    kind, length, flags = _CLASS_LENGTH_FLAGS(raw)
    if kind not in CLASSES or (bundled and kind == _BUNDLE):
        raise DecodeError(f"no observation class {kind} here", at)
    end = at + 3 + length
    header = _header(reader, flags, around) if flags else around
    if kind == _BUNDLE:
        found: tuple[Measurement, ...] = ()
        for _ in range(reader.u8("count of observations")):
            found += _observation(reader, header, bundled=True)
    else:
        found = (_value(reader, kind, header, end),)
    if reader.offset != end:
        raise DecodeError(f"an observation of {length} bytes does not fit its fields", at + 1)
    return found


def _header(reader: Reader, flags: int, around: _Header) -> _Header:
    code, time, clock_set, status, user, supplemental = around
    if flags & _TYPE:
        code = _code(reader, "observation type")
    if flags & _TIME_STAMP:
        time, clock_set, _, _ = read_elapsed_time(reader)
    if flags & _DURATION:
        reader.float32("duration")
    if flags & _STATUS:
        word = reader.u16("measurement status")
        status += tuple(state for bit, state in STATUS.items() if word >> bit & 1 and state not in status)
    if flags & _ID:
        reader.u32("observation id")
    if flags & _PATIENT:
        index = reader.u8("patient")
        user = None if index == _USER_UNKNOWN else index
    if flags & _SUPPLEMENTAL:
        supplemental = (*supplemental, *_codes(reader, "supplemental information"))
    if flags & _DERIVED_FROM:
        reader.take(4 * reader.u8("count of derived from"), "derived from")
    if flags & _MEMBER_OF:
        reader.take(4 * reader.u8("count of member of"), "member of")
    if flags & _TLVS:
        _skip_tlvs(reader)
    return code, time, clock_set, status, user, supplemental


def _value(reader: Reader, kind: int, header: _Header, end: int | None) -> Measurement:
    """The value, which goes on to `end`: unknown inside a compound."""
    code, time, clock_set, status, user, supplemental = header
    if code is None:
        raise DecodeError("an observation without a type", reader.offset)
    if kind == _NUMERIC:
        unit, raw = _UNIT_AND_VALUE(reader.take(6, "unit and value"))
        return _number(code, unit, raw, header)
    absent = coded = samples = None
    parts: tuple[Measurement, ...] = ()
    if kind == _DISCRETE:
        coded = _code(reader, "coded value")
    elif kind == _DISCRETE_EVENTS:
        parts = tuple(Measurement(code=code, coded=event) for event in _codes(reader, "event"))
        absent = None if parts else "unknown"
    elif kind == _COMPOUND:
        at = reader.offset
        parts = tuple(_component(reader) for _ in range(reader.u8("count of components")))
        if not parts:
            raise DecodeError("a compound without components", at)
    elif kind == _SAMPLES:
        samples = _samples(reader, end)
    elif kind == _STRING:
        reader.take(reader.u16("length of the string"), "string")
        absent = "as-text"
    else:
        absent = "unsupported"
        if kind == _STATES:
            reader.take(3 * reader.u8("size of the masks"), "masks")
        else:
            _skip_tlvs(reader)
    return Measurement(
        code=code,
        absent=absent,
        coded=coded,
        components=parts,
        samples=samples,
        device_time=time,
        clock_set=clock_set,
        status=status,
        user=user,
        supplemental=supplemental,
    )


def _number(code: int, unit: int, raw: int, header: _Header) -> Measurement:
    _, time, clock_set, status, user, supplemental = header
    number = decode_float(raw)
    return Measurement(
        code=code,
        value=number,
        unit=None if isinstance(number, Special) else UCUM.get(_UNITS | unit) or _ucum(unit),
        device_time=time,
        clock_set=clock_set,
        status=status,
        user=user,
        supplemental=supplemental,
    )


def _ucum(term: int) -> str:
    # Rare units stand beside the 20601 codec, which no decoding of GATT loads otherwise.
    from wire.x73.units import ucum  # noqa: PLC0415

    return ucum(_UNITS | term)


def _samples(reader: Reader, end: int | None) -> Samples:
    at = reader.offset
    unit = reader.u16("unit")
    factor, origin, period_s = (reader.float32(what) for what in ("scale factor", "offset", "sample period"))
    if isinstance(factor, Special) or isinstance(origin, Special) or isinstance(period_s, Special) or period_s <= 0:
        raise DecodeError("samples without a scale or a period", at)
    at = reader.offset
    dimensions = reader.u8("samples per period")
    size = reader.u8("bytes per sample")
    # Realtek's and Philips' have four bytes, ST's ECG has one: never do both fit what the observation holds.
    count = reader.u8("count of samples")
    if end is None or size * count != end - reader.offset:
        count |= reader.u24("count of samples") << 8
    if size not in _SAMPLE or not dimensions or not count or count % dimensions:
        raise DecodeError(f"{count} samples of {size} bytes, {dimensions} in a period", at)
    raw = reader.take(size * count, "samples")
    return Samples(
        origin=origin,
        factor=factor,
        unit=_ucum(unit),
        period_ms=shifted(period_s, 3),
        dimensions=dimensions,
        data=tuple(map(Decimal, unpack(f"<{count}{_SAMPLE[size]}", raw))),
    )


def _component(reader: Reader) -> Measurement:
    code = _code(reader, "component type")
    at = reader.offset
    kind = reader.u8("component class")
    if kind not in CLASSES or kind >= _COMPOUND:
        raise DecodeError(f"no component class {kind}", at)
    part = _value(reader, kind, (code, *_NOTHING[1:]), None)
    # A component has no components of its own: several events at once are one coded value only if there is one.
    if len(part.components) == 1:
        return part.components[0]
    return Measurement(code=code, absent="unsupported") if part.components or part.samples else part


def _skip_tlvs(reader: Reader) -> None:
    for _ in range(reader.u8("count of TLVs")):
        reader.u32("TLV type")
        length = reader.u16("TLV length")
        reader.u8("TLV format")
        reader.take(length, "TLV value")


def _codes(reader: Reader, what: str) -> tuple[int, ...]:
    at = reader.offset
    count = reader.u8(what)
    if count > _MOST:
        raise DecodeError(f"{count} codes of {what}", at)
    codes = unpack(f"<{count}I", reader.take(4 * count, what))
    if 0 in codes:
        raise DecodeError(f"{what} 0 is no MDC code", at + 1)
    return codes


def _code(reader: Reader, what: str) -> int:
    code = int.from_bytes(reader.take(4, what), "little")
    if not code:
        raise DecodeError(f"{what} 0 is no MDC code", reader.offset - 4)
    return code
