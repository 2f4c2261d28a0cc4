"""The devices: from what is true of a person to the bytes that a device of this kind sends.

The encoders here are written from the Bluetooth SIG's service definitions alone and share nothing with the decoders in
`wire`: a fault on one side must not be able to hide on the other. A device rounds as its display does (whole percent,
whole mmHg, 5 g, 0.01 degree), and the value strings carry exactly that precision.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from types import MappingProxyType

from simulator.people import Vitals

DEVICE_INFORMATION = 0x180A
CURRENT_TIME_SERVICE = 0x1805
CURRENT_TIME = 0x2A2B


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One value as the device shows it: MDC code, number with its precision, UCUM unit."""

    code: int
    refid: str
    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One measurement: the characteristic, its bytes, and what they say."""

    characteristic: int
    data: bytes
    values: tuple[Value, ...]
    device_time: datetime | None
    """Local time on the device's own clock, whole seconds; None where this kind of device has no clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of device: its service, its measurement, and what can be read from it."""

    name: str
    service: int
    characteristic: int
    flag: str
    """`indicate` or `notify`, as the service definition demands for the measurement."""
    appearance: int
    model: str
    reads: Mapping[int, bytes]
    """Characteristics of the service that a hub may read, such as its features."""
    clock: bool
    measure: Callable[[Vitals, datetime], Measured]


def sfloat(value: Decimal) -> bytes:
    """IEEE 11073 SFLOAT, little-endian: four bits of exponent, twelve of mantissa, both two's complement."""
    return struct.pack("<H", _float_bits(value, mantissa_bits=12, exponent_bits=4))


def float32(value: Decimal) -> bytes:
    """IEEE 11073 FLOAT, little-endian: eight bits of exponent, twenty-four of mantissa."""
    return struct.pack("<I", _float_bits(value, mantissa_bits=24, exponent_bits=8))


def _float_bits(value: Decimal, *, mantissa_bits: int, exponent_bits: int) -> int:
    exponent = int(value.as_tuple().exponent)
    mantissa = int(value.scaleb(-exponent))
    # The five highest magnitudes are kept for NaN, infinities, NRes and reserved.
    if abs(mantissa) > (1 << (mantissa_bits - 1)) - 3 or abs(exponent) >= 1 << (exponent_bits - 1):
        raise ValueError(f"{value} fits no {mantissa_bits}-bit mantissa")
    return (exponent % (1 << exponent_bits)) << mantissa_bits | mantissa % (1 << mantissa_bits)


def date_time(at: datetime) -> bytes:
    """GATT Date Time, 2A08: year, month, day, hours, minutes, seconds."""
    return struct.pack("<HBBBBB", at.year, at.month, at.day, at.hour, at.minute, at.second)


def current_time(at: datetime) -> bytes:
    """GATT Current Time, 2A2B: date time, day of week (Monday is 1), 1/256 s, adjust reason (none)."""
    return date_time(at) + bytes([at.isoweekday(), at.microsecond * 256 // 1_000_000, 0])


def rounded(number: float, step: str) -> Decimal:
    """A number as a display with this step shows it: `rounded(72.31, "0.005")` is 72.310."""
    size = Decimal(step)
    return (Decimal(repr(number)) / size).quantize(Decimal(1), rounding=ROUND_HALF_EVEN) * size


def measure_oximeter(vitals: Vitals, at: datetime) -> Measured:
    """PLX Spot-Check Measurement, 2A5E (Pulse Oximeter Service 3.1): flags, SpO2, pulse rate, time stamp."""
    spo2, pulse = rounded(vitals.spo2, "1"), rounded(vitals.pulse, "1")
    return Measured(
        characteristic=0x2A5E,
        data=bytes([0x01]) + sfloat(spo2) + sfloat(pulse) + date_time(at),
        values=(
            Value(code=150456, refid="MDC_PULS_OXIM_SAT_O2", value=spo2, unit="%"),
            Value(code=149530, refid="MDC_PULS_OXIM_PULS_RATE", value=pulse, unit="/min"),
        ),
        device_time=at,
    )


def measure_cuff(vitals: Vitals, at: datetime) -> Measured:
    """Blood Pressure Measurement, 2A35 (Blood Pressure Service 3.1): mmHg, with time stamp, pulse rate and status."""
    systolic, diastolic = rounded(vitals.systolic, "1"), rounded(vitals.diastolic, "1")
    mean, pulse = rounded(vitals.mean_pressure, "1"), rounded(vitals.pulse, "1")
    pressures = sfloat(systolic) + sfloat(diastolic) + sfloat(mean)
    return Measured(
        characteristic=0x2A35,
        data=bytes([0x02 | 0x04 | 0x10]) + pressures + date_time(at) + sfloat(pulse) + bytes(2),
        values=(
            Value(code=150021, refid="MDC_PRESS_BLD_NONINV_SYS", value=systolic, unit="mm[Hg]"),
            Value(code=150022, refid="MDC_PRESS_BLD_NONINV_DIA", value=diastolic, unit="mm[Hg]"),
            Value(code=150023, refid="MDC_PRESS_BLD_NONINV_MEAN", value=mean, unit="mm[Hg]"),
            Value(code=149546, refid="MDC_PULS_RATE_NON_INV", value=pulse, unit="/min"),
        ),
        device_time=at,
    )


def measure_scale(vitals: Vitals, at: datetime) -> Measured:
    """Weight Measurement, 2A9D (Weight Scale Service 3.2): units of 5 g, with time stamp."""
    weight = rounded(vitals.weight_kg, "0.005")
    return Measured(
        characteristic=0x2A9D,
        data=bytes([0x02]) + struct.pack("<H", int(weight / Decimal("0.005"))) + date_time(at),
        values=(Value(code=188736, refid="MDC_MASS_BODY_ACTUAL", value=weight, unit="kg"),),
        device_time=at,
    )


def measure_thermometer(vitals: Vitals, at: datetime) -> Measured:
    """Temperature Measurement, 2A1C (Health Thermometer Service 3.1): Celsius, with time stamp; the type is in 2A1D."""
    temperature = rounded(vitals.temperature_cel, "0.01")
    return Measured(
        characteristic=0x2A1C,
        data=bytes([0x02]) + float32(temperature) + date_time(at),
        values=(Value(code=150364, refid="MDC_TEMP_BODY", value=temperature, unit="Cel"),),
        device_time=at,
    )


def measure_strap(vitals: Vitals, at: datetime) -> Measured:
    """Heart Rate Measurement, 2A37 (Heart Rate Service 3.1): one byte of beats a minute; worn. It knows no time."""
    del at
    rate = rounded(vitals.pulse, "1")
    return Measured(
        characteristic=0x2A37,
        data=bytes([0x02 | 0x04, int(rate)]),
        values=(Value(code=147842, refid="MDC_ECG_HEART_RATE", value=rate, unit="/min"),),
        device_time=None,
    )


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind(
                name="oximeter",
                service=0x1822,
                characteristic=0x2A5E,
                flag="indicate",
                appearance=0x0C41,  # fingertip pulse oximeter
                model="SimOx 1",
                # PLX Features: measurement storage and time stamp for spot-check are supported.
                reads={0x2A60: bytes.fromhex("0c00")},
                clock=True,
                measure=measure_oximeter,
            ),
            Kind(
                name="cuff",
                service=0x1810,
                characteristic=0x2A35,
                flag="indicate",
                appearance=0x0381,  # arm blood pressure monitor
                model="SimCuff 1",
                # Blood Pressure Feature: irregular pulse detection is supported.
                reads={0x2A49: bytes.fromhex("0400")},
                clock=True,
                measure=measure_cuff,
            ),
            Kind(
                name="scale",
                service=0x181D,
                characteristic=0x2A9D,
                flag="indicate",
                appearance=0x0C80,  # weight scale
                model="SimScale 1",
                # Weight Scale Feature: time stamps, resolution 5 g.
                reads={0x2A9E: struct.pack("<I", 0x01 | 7 << 3)},
                clock=True,
                measure=measure_scale,
            ),
            Kind(
                name="thermometer",
                service=0x1809,
                characteristic=0x2A1C,
                flag="indicate",
                appearance=0x0300,  # thermometer
                model="SimTemp 1",
                # Temperature Type: body, general.
                reads={0x2A1D: bytes([2])},
                clock=True,
                measure=measure_thermometer,
            ),
            Kind(
                name="strap",
                service=0x180D,
                characteristic=0x2A37,
                flag="notify",
                appearance=0x0341,  # heart rate belt
                model="SimBeat 1",
                # Body Sensor Location: chest.
                reads={0x2A38: bytes([1])},
                clock=False,
                measure=measure_strap,
            ),
        )
    }
)


def system_id(address: str) -> bytes:
    """System ID, 2A23: the EUI-64 of a Bluetooth address, with FFFE in the middle, as the characteristic orders it.

    The characteristic is two little-endian numbers: 40 bits of manufacturer identifier, then 24 bits of company.
    """
    octets = bytes.fromhex(address.replace(":", ""))
    eui64 = octets[:3] + b"\xff\xfe" + octets[3:]
    return eui64[3:][::-1] + eui64[:3][::-1]


def device_information(kind: Kind, address: str) -> Sequence[tuple[int, bytes]]:
    """Device Information Service, 180A: what each characteristic of this device reads."""
    return (
        (0x2A29, b"Stafet Simulator"),
        (0x2A24, kind.model.encode()),
        (0x2A25, b"SIM-" + address.replace(":", "")[-6:].encode()),
        (0x2A26, b"1.0.0"),
        (0x2A23, system_id(address)),
    )
