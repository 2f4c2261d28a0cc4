"""What a program without a single check would do with the same bytes: one layout each, the same Measurements out.

The limit that the checked decoders of `wire.gatt` and `wire.serial` are held to. Each takes exactly the value beside it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from struct import Struct

from wire.advertisement import decode_mi_scale
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Samples
from wire.omron import decode_record14
from wire.quirks import AND_WEIGHT, NONIN_OXIMETRY
from wire.serial import SerialFormat

_SPOT = Struct("<BHHH5BHHBH").unpack
_CONTINUOUS = Struct("<B7HHBH").unpack
_PRESSURE = Struct("<B4H5BHBH").unpack
_WEIGHT = Struct("<BHH5BBHH").unpack
_HEART = Struct("<BBHH").unpack
_TEMPERATURE = Struct("<BIH5BB").unpack
_GLUCOSE = Struct("<BHH5BHBH").unpack
_CONTEXT = Struct("<BHBHBBHBBHH").unpack
_COMPOSITION = Struct("<HHH5BBHHHHH").unpack
_CGM = Struct("<BBHHHBHH").unpack
_SECOND = Struct(">4B").unpack
_SPOT_CHECK = Struct(">5x8BHHxB2x").unpack
_NONIN = Struct(">3BHHBH").unpack
_AND = Struct("<BHH5B").unpack
_GHS = Struct("<6xBIHHxIx5xIHI5xIHI").unpack
_ENHANCED = Struct("<B3HIHBHI").unpack
_OMRON = Struct("<4BHH6x").unpack
_STUDY = Struct(">3xB11x2Bx2Bx2B10xL").unpack_from
_SAMPLE = Struct("BBx").iter_unpack
_BLOW = Struct("14x3s3s3s3s15x2s2s2s2s2s2s1s3x2x").unpack


def _sfloat(raw: int) -> Decimal:
    exponent, mantissa = raw >> 12, raw & 0xFFF
    return Decimal(mantissa - 4096 if mantissa & 2048 else mantissa).scaleb(exponent - 16 if exponent & 8 else exponent)


def _float(raw: int) -> Decimal:
    exponent, mantissa = raw >> 24, raw & 0xFFFFFF
    mantissa = mantissa - 0x1000000 if mantissa & 0x800000 else mantissa
    return Decimal(mantissa).scaleb(exponent - 256 if exponent & 128 else exponent)


def _time(*stamp: int) -> DeviceTime:
    year, month, day, hour, minute, second = stamp
    return DeviceTime(year=year, month=month, day=day, hour=hour, minute=minute, second=second)


def _spot(value: bytes) -> tuple[Measurement, ...]:
    _, spo2, pulse, *stamp, status, low, _, index = _SPOT(value)
    time = _time(*stamp)
    pairs = ((9, MeasurementStatus.STORED), (14, MeasurementStatus.QUESTIONABLE))
    states = tuple(state for bit, state in pairs if status >> bit & 1)
    spot = (150588,)
    return (
        Measurement(code=150456, value=_sfloat(spo2), unit="%", device_time=time, supplemental=spot, status=states),
        Measurement(code=149530, value=_sfloat(pulse), unit="/min", device_time=time, supplemental=spot, status=states),
        Measurement(code=150320, value=_sfloat(index), unit="%", device_time=time, status=states),
        Measurement(
            code=150604,
            bits={15 - bit: True for bit in range(16) if low >> bit & 1},
            device_time=time,
            status=states[:1],
        ),
    )


def _continuous(value: bytes) -> tuple[Measurement, ...]:
    _, spo2, pulse, fast, fast_pulse, slow, slow_pulse, status, _, _, index = _CONTINUOUS(value)
    pairs = ((5, MeasurementStatus.ONGOING), (8, MeasurementStatus.FULLY_QUALIFIED))
    states = tuple(state for bit, state in pairs if status >> bit & 1)
    series = (((), spo2, pulse), ((150580,), fast, fast_pulse), ((150584,), slow, slow_pulse))
    found = []
    for modality, saturation, rate in series:
        found.append(
            Measurement(code=150456, value=_sfloat(saturation), unit="%", supplemental=modality, status=states)
        )
        found.append(Measurement(code=149530, value=_sfloat(rate), unit="/min", supplemental=modality, status=states))
    found.append(Measurement(code=150320, value=_sfloat(index), unit="%", status=states))
    return (*found, Measurement(code=150604, bits={15: True}))


def _pressure(value: bytes) -> tuple[Measurement, ...]:
    _, high, low, mean, *stamp, pulse, user, status = _PRESSURE(value)
    time = _time(*stamp)
    parts = tuple(
        Measurement(code=code, value=_sfloat(raw), unit="mm[Hg]")
        for code, raw in ((150021, high), (150022, low), (150023, mean))
    )
    bits = {bit: True for bit in range(6) if status >> bit & 1}
    return (
        Measurement(code=150020, components=parts, device_time=time, user=user),
        Measurement(code=149546, value=_sfloat(pulse), unit="/min", device_time=time, user=user),
        Measurement(code=8410608, bits=bits, device_time=time, user=user),
    )


def _weight(value: bytes) -> tuple[Measurement, ...]:
    _, weight, *stamp, user, bmi, height = _WEIGHT(value)
    time = _time(*stamp)
    return (
        Measurement(code=188736, value=Decimal(weight * 5).scaleb(-3), unit="kg", device_time=time, user=user),
        Measurement(code=188752, value=Decimal(bmi).scaleb(-1), unit="kg/m2", device_time=time, user=user),
        Measurement(code=188740, value=Decimal(height).scaleb(-3), unit="m", device_time=time, user=user),
    )


def _heart(value: bytes) -> tuple[Measurement, ...]:
    _, rate, energy, interval = _HEART(value)
    return (
        Measurement(code=147842, value=Decimal(rate), unit="/min"),
        Measurement(code=8454263, value=Decimal(energy), unit="kJ"),
        Measurement(code=147240, value=Decimal(interval * 1000) / 1024, unit="ms"),
    )


def _temperature(value: bytes) -> tuple[Measurement, ...]:
    _, raw, *stamp, _ = _TEMPERATURE(value)
    time = _time(*stamp)
    return (Measurement(code=150364, value=_float(raw), unit="Cel", device_time=time, supplemental=(188452,)),)


def _glucose(value: bytes) -> tuple[Measurement, ...]:
    _, _, *stamp, amount, octet, status = _GLUCOSE(value)
    time = _time(*stamp)
    bits = {bit: True for bit in range(11) if status >> bit & 1}
    code, site = {1: 160184, 2: 160188}[octet & 15], {1: 8417848, 2: 8417852}[octet >> 4]
    return (
        Measurement(code=code, value=_sfloat(amount).scaleb(5), unit="mg/dL", device_time=time),
        Measurement(code=8417844, coded=site, device_time=time),
        Measurement(code=8417752, bits=bits, device_time=time),
    )


def _context(value: bytes) -> tuple[Measurement, ...]:
    _, _, food, eaten, meal, people, _, effort, drug, taken, hba1c = _CONTEXT(value)
    return (
        Measurement(code=8417764 + 4 * food, value=_sfloat(eaten).scaleb(3), unit="g"),
        Measurement(code=8417864, coded=8417864 + 4 * meal),
        Measurement(code=8417884, coded=8417884 + 4 * (people & 15)),
        Measurement(code=8417820, coded=8417820 + 4 * (people >> 4)),
        Measurement(code=8417760, value=Decimal(effort), unit="%"),
        Measurement(code=8417796 + 4 * drug, value=_sfloat(taken).scaleb(6), unit="mg"),
        Measurement(code=160220, value=_sfloat(hba1c), unit="%"),
    )


def _composition(value: bytes) -> tuple[Measurement, ...]:
    _, fat, *stamp, user, fat_free, lean, water, weight, height = _COMPOSITION(value)
    time = _time(*stamp)
    masses = ((188756, fat_free), (188760, lean), (188764, water), (188736, weight))
    return (
        Measurement(code=188748, value=Decimal(fat).scaleb(-1), unit="%", device_time=time, user=user),
        *(
            Measurement(code=code, value=Decimal(raw * 5).scaleb(-3), unit="kg", device_time=time, user=user)
            for code, raw in masses
        ),
        Measurement(code=188740, value=Decimal(height).scaleb(-3), unit="m", device_time=time, user=user),
    )


def _cgm(value: bytes) -> tuple[Measurement, ...]:
    _, _, amount, _, low, warning, trend, _ = _CGM(value)
    bits = {bit: True for bit in (0, 2, 3, 4) if low >> bit & 1}
    bits |= {bit - 2: True for bit in range(9, 14) if low >> bit & 1}
    bits |= {12 + bit: True for bit in range(8) if warning >> bit & 1}
    return (
        Measurement(code=160020, value=_sfloat(amount), unit="mg/dL"),
        Measurement(code=8418008, value=_sfloat(trend), unit="mg/dL/min"),
        Measurement(code=8418060, bits=bits),
    )


def _second(frame: bytes) -> tuple[Measurement, ...]:
    high, low, spo2, last = _SECOND(frame)
    status = (MeasurementStatus.FULLY_QUALIFIED,) if last & 0x20 else ()
    return (
        Measurement(code=150456, value=Decimal(spo2), unit="%", status=status),
        Measurement(code=149530, value=Decimal((high & 3) << 7 | low), unit="/min", status=status),
    )


def _spot_check(frame: bytes) -> tuple[Measurement, ...]:
    *stamp, word, pulse, spo2 = _SPOT_CHECK(frame)
    century, year, month, day, hour, minute, second, _ = ((byte >> 4) * 10 + (byte & 15) for byte in stamp)
    time = _time(century * 100 + year, month, day, hour, minute, second)
    status = (MeasurementStatus.STORED,) if word & 0x10 else ()
    spot = (150588,)
    return (
        Measurement(code=150456, value=Decimal(spo2), unit="%", device_time=time, supplemental=spot, status=status),
        Measurement(code=149530, value=Decimal(pulse), unit="/min", device_time=time, supplemental=spot, status=status),
    )


def _blow(frame: bytes) -> tuple[Measurement, ...]:
    fev1, fev6, ratio, flow, year, *stamp, bad = map(int, _BLOW(frame))
    time = _time(2000 + year, *stamp)
    status = (MeasurementStatus.QUESTIONABLE,) if bad else ()
    values = ((152586, fev1, -2, "L"), (152587, fev6, -2, "L"), (188936, ratio, 0, "%"), (188960, flow, -2, "L/s"))
    return tuple(
        Measurement(code=code, value=Decimal(raw).scaleb(exponent), unit=unit, device_time=time, status=status)
        for code, raw, exponent, unit in values
    )


def _oximetry(value: bytes) -> tuple[Measurement, ...]:
    _, _, _, index, _, spo2, pulse = _NONIN(value)
    states = (MeasurementStatus.FULLY_QUALIFIED,)
    return (
        Measurement(code=150456, value=Decimal(spo2), unit="%", status=states),
        Measurement(code=149530, value=Decimal(pulse), unit="/min", status=states),
        Measurement(code=150320, value=Decimal(index).scaleb(-2), unit="%", status=states),
    )


def _own_weight(value: bytes) -> tuple[Measurement, ...]:
    _, weight, *stamp = _AND(value)
    return (Measurement(code=188736, value=Decimal(weight).scaleb(-1), unit="kg", device_time=_time(*stamp)),)


def _since_2000(seconds: int, offset_min: int) -> DeviceTime:
    moment = datetime(2000, 1, 1) + timedelta(seconds=seconds)  # noqa: DTZ001  (the offset stands beside it)
    return DeviceTime(
        year=moment.year,
        month=moment.month,
        day=moment.day,
        hour=moment.hour,
        minute=moment.minute,
        second=moment.second,
        offset_min=offset_min,
    )


def _bundle(value: bytes) -> tuple[Measurement, ...]:
    _, low, high, _, modality, first, _, spo2, second, _, pulse = _GHS(value)
    time = _since_2000(low | high << 32, 0)
    more = (modality,)
    return (
        Measurement(code=first, value=_float(spo2), unit="%", device_time=time, supplemental=more),
        Measurement(code=second, value=_float(pulse), unit="/min", device_time=time, supplemental=more),
    )


def _enhanced(value: bytes) -> tuple[Measurement, ...]:
    _, high, low, mean, stamp, pulse, user, status, facing = _ENHANCED(value)
    time = _since_2000(facing, (facing - stamp) // 60)
    parts = tuple(
        Measurement(code=code, value=_sfloat(raw), unit="mm[Hg]")
        for code, raw in ((150021, high), (150022, low), (150023, mean))
    )
    bits = {bit: True for bit in range(6) if status >> bit & 1}
    return (
        Measurement(code=150020, components=parts, device_time=time, user=user),
        Measurement(code=149546, value=_sfloat(pulse), unit="/min", device_time=time, user=user),
        Measurement(code=8410608, bits=bits, device_time=time, user=user),
    )


def _omron(value: bytes) -> tuple[Measurement, ...]:
    high, low, pulse, year, day, minute = _OMRON(value)
    time = _time(2000 + (year & 63), day >> 10 & 15, day >> 5 & 31, day & 31, minute >> 6 & 63, minute & 63)
    parts = (
        Measurement(code=150021, value=Decimal(high + 25), unit="mm[Hg]"),
        Measurement(code=150022, value=Decimal(low), unit="mm[Hg]"),
    )
    return (
        Measurement(code=150020, components=parts, device_time=time),
        Measurement(code=149546, value=Decimal(pulse), unit="/min", device_time=time),
    )


def _mi_scale(value: bytes) -> tuple[Measurement, ...]:
    _, weight, *stamp = _AND(value)
    return (Measurement(code=188736, value=Decimal(weight * 5).scaleb(-3), unit="kg", device_time=_time(*stamp)),)


def _piece(frame: bytes) -> tuple[Measurement, ...]:
    rate_s, month, day, year, minute, second, hour, place = _STUDY(frame)
    pairs = list(_SAMPLE(frame[37:]))[::-1]
    stop = datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001  the recorder knows no zone
    oldest = stop - timedelta(seconds=rate_s * (place + len(pairs) - 1))
    time = _time(oldest.year, oldest.month, oldest.day, oldest.hour, oldest.minute, oldest.second)
    period_ms, runs = Decimal(1000 * rate_s), ((150456, "%", 1), (149530, "/min", 0))
    return tuple(
        Measurement(
            code=code,
            samples=Samples(
                origin=Decimal(0), unit=unit, period_ms=period_ms, data=tuple([Decimal(pair[at]) for pair in pairs])
            ),
            device_time=time,
            status=(MeasurementStatus.STORED,),
        )
        for code, unit, at in runs
    )


UNCHECKED: dict[int | bytes, tuple[bytes, Callable[[bytes], tuple[Measurement, ...]]]] = {
    0x2A5E: (bytes.fromhex("0f5e005800d7070a0100000000422020000cf0"), _spot),
    0x2A5F: (bytes.fromhex("1fdef3caf3caf35af5d4f3b2f220010100007ae3"), _continuous),
    0x2A35: (bytes.fromhex("1e8a00580078000000041114293b3c00012700"), _pressure),
    0x2A9D: (bytes.fromhex("0eb036e7070c190e1e2d03f500d606"), _weight),
    0x2A37: (bytes.fromhex("1e5532002100"), _heart),
    0x2A1C: (bytes.fromhex("06710e00fee90705150a1e2d01"), _temperature),
    0x2A18: (bytes.fromhex("0a2a00ea07021108000069b0110500"), _glucose),
    0x2A34: (bytes.fromhex("5f2a00022dd00351080730010ca044f0"), _context),
    0x2A9C: (bytes.fromhex("c60dea00ea07021108000002e02ec42c1027b036d606"), _composition),
    0x2AA7: (bytes.fromhex("0de3d2e4050004083002f0e5f3"), _cgm),
    0x2B34: (bytes.fromhex("7e8a005800780070ce26313c0001270080dc2631"), _enhanced),
    0x2B8B: (
        bytes.fromhex(
            "03ff2f00420022729d2b2900000600013c4c020002010c000100b84b0200200262000000010c0001001a480200a00a62000000"
        ),
        _bundle,
    ),
    NONIN_OXIMETRY: (bytes.fromhex("0a151e0248000562003c"), _oximetry),
    AND_WEIGHT: (bytes.fromhex("02e802ea07021108000a"), _own_weight),
}

UNCHECKED_RECORDS: dict[
    str, tuple[Callable[[bytes], tuple[Measurement, ...]], bytes, Callable[[bytes], tuple[Measurement, ...]]]
] = {
    "omron-14": (decode_record14, bytes.fromhex("6457431a7316161c000046001900"), _omron),
    "advertisement-181d": (decode_mi_scale, bytes.fromhex("a24c63e20702010f2f1c"), _mi_scale),
}

UNCHECKED_SERIAL: dict[SerialFormat, tuple[bytes, Callable[[bytes], tuple[Measurement, ...]]]] = {
    SerialFormat.NONIN_DF8: (bytes.fromhex("80396220"), _second),
    SerialFormat.NONIN_DF13: (bytes.fromhex("02000d000e20071001184821000210003400636203"), _spot_check),
    SerialFormat.NONIN_MEMORY: (
        bytes.fromhex("fefdfb040206" + "0719201200120b0a15" * 2 + "071920120012070a11" + "00000000" + "584ca4" * 150),
        _piece,
    ),
    SerialFormat.VITALOGRAPH_LUNG_MONITOR: (
        b"\x02FTD0000129406363399091404000000095090000130528104418" + b"0923\x03\x6a",
        _blow,
    ),
}
