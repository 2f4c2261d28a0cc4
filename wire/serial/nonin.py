"""Nonin oximeters over a serial line (Bluetooth SPP): data format 8, data format 13 with its memory, and replies.

*Data format 8* is a value each second while a finger is in: four bytes, of which only the first has bit 7. It has no
checksum, so a saturation above 100 % is refused: nothing else tells a damaged byte. *Data format 13* is one result
(spot-check) with the device's time and a checksum; it is framed by its length, because any byte may occur inside. What
is in the device's memory comes first, each frame marked as stored, then the live result. The null byte before a frame
belongs to none.

SpO2 127 and pulse 511 mean "no value". They are no special numbers of IEEE 11073 (the format has none) and the device
gives no cause, so the measurement is there without a value: `not-performed`. Where the device says that a result as a
whole is missing, a number that stands in it all the same is none. A number whose companion is missing is questionable.

SmartPoint is Nonin's own verdict that a value may be recorded. A spot-check without it is questionable; in the running
data format 8 its absence says nothing yet. The other bits are told as IEEE 11073-10404's device status; that mapping
is ours (`_DEVICE_STATUS`), Nonin publishes none. Battery, serial number and SmartPoint are in `describe`.

Sources: opentele-client-android (Apache-2.0; vectors), NHS MediPi N9560Measurement (Apache-2.0; hundredths of a
second, SmartPoint and battery bits, the longer frame with a serial number), mattjlewis/NoninPulseOx
("this data section is expandable"). The session is in `wire.serial.nonin_session`; the memory of WristOx recorders is
another format, in `wire.serial.nonin_memory`.
"""

from decimal import Decimal
from typing import Final

from wire.errors import DecodeError, WireError
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, calendar_fault
from wire.nomenclature import Mdc

STX: Final = 0x02
ETX: Final = 0x03
NO_SPO2: Final = 127
NO_PULSE: Final = 511

# Data format 8, first byte
_ARTIFACT: Final = 0x04
_MARGINAL_PERFUSION: Final = 0x08
_LOW_PERFUSION: Final = 0x10
_OUT_OF_TRACK: Final = 0x20
# and last byte
_LOW_BATTERY: Final = 0x01
_SENSOR_ALARM: Final = 0x08
SMART_POINT: Final = 0x20

# Data format 13, status word
_SPOT_LOW_BATTERY: Final = 0x0001
_SPOT_STORED: Final = 0x0010
_SPOT_NO_MEASUREMENT: Final = 0x0100
_SPOT_SMART_POINT: Final = 0x0200

_DEVICE_STATUS: Final = ((_ARTIFACT, 7), (_MARGINAL_PERFUSION, 11), (_LOW_PERFUSION, 10), (_OUT_OF_TRACK, 12))
"""Flags of the first byte as bits of MDC_PULS_OXIM_DEV_STATUS: pulse questionable, signal poor, low perfusion, signal
inadequate. The sensor alarm, "set when the finger is removed", is bit 4, sensor not on the user."""
_SENSOR_OFF: Final = 4
_TOLD: Final = _ARTIFACT | _MARGINAL_PERFUSION | _LOW_PERFUSION | _OUT_OF_TRACK
_DOUBTFUL: Final = _ARTIFACT | _LOW_PERFUSION | _OUT_OF_TRACK

HEADER: Final = bytes.fromhex("02000d00")
LEAST_DATA: Final = 14
MOST_DATA: Final = 64
"""14 bytes, 23 with the serial number; more may come. A length beyond is damage, not a frame to wait for."""
REPLY: Final = 0xF4
REPLY_DATA: Final = 11
CLOCK_REPLY: Final = 0xF2
CLOCK_DATA: Final = 6
_SERIAL_NUMBER_SIZE: Final = 9

_STORED: Final = (MeasurementStatus.STORED,)
_QUESTIONABLE: Final = (MeasurementStatus.QUESTIONABLE,)
_FULLY_QUALIFIED: Final = (MeasurementStatus.FULLY_QUALIFIED,)
_SPOT: Final[tuple[int, ...]] = (Mdc.MODALITY_SPOT,)
_TIME_FIELDS: Final = ("century", "year", "month", "day", "hour", "minute", "second", "hundredths")


def decode_df8(frame: bytes) -> tuple[Measurement, ...]:
    """SpO2 and pulse of one second (data format 8), and the device status where one of its bits is set."""
    _check_df8(frame)
    first, low, spo2, last = frame
    pulse = (first & 3) << 7 | low
    status: tuple[MeasurementStatus, ...] = _FULLY_QUALIFIED if last & SMART_POINT else ()
    if first & _DOUBTFUL or last & _SENSOR_ALARM:
        status = _QUESTIONABLE
    measurements = _pair(spo2, pulse, 2, status=status)
    if not (first & _TOLD or last & _SENSOR_ALARM):
        return measurements
    bits = {bit: True for flag, bit in _DEVICE_STATUS if first & flag}
    if last & _SENSOR_ALARM:
        bits[_SENSOR_OFF] = True
    return (*measurements, Measurement(code=Mdc.PULS_OXIM_DEV_STATUS, bits=bits))


def describe_df8(frame: bytes) -> dict[str, str | bool]:
    """What data format 8 says beside the two numbers."""
    _check_df8(frame)
    return {
        "SmartPoint": bool(frame[3] & SMART_POINT),
        "artifact": bool(frame[0] & _ARTIFACT),
        "marginal perfusion": bool(frame[0] & _MARGINAL_PERFUSION),
        "low perfusion": bool(frame[0] & _LOW_PERFUSION),
        "out of track": bool(frame[0] & _OUT_OF_TRACK),
        "sensor alarm": bool(frame[3] & _SENSOR_ALARM),
        "low battery": bool(frame[3] & _LOW_BATTERY),
    }


def decode_df13(frame: bytes) -> tuple[Measurement, ...]:
    """SpO2 and pulse of a spot-check (data format 13); the null byte before the frame may be there or not."""
    data, at = _df13_data(frame)
    time = _time(data[:8], at)
    word = data[8] << 8 | data[9]
    stored = _STORED if word & _SPOT_STORED else ()
    return _pair(
        data[13],
        data[10] << 8 | data[11],
        at + 13,
        status=stored if word & _SPOT_SMART_POINT else (*stored, MeasurementStatus.QUESTIONABLE),
        time=time,
        modality=_SPOT,
        missing=bool(word & _SPOT_NO_MEASUREMENT),
    )


def describe_df13(frame: bytes) -> dict[str, str | bool]:
    """What data format 13 says beside time and numbers."""
    data, at = _df13_data(frame)
    word = data[8] << 8 | data[9]
    described: dict[str, str | bool] = {
        "SmartPoint": bool(word & _SPOT_SMART_POINT),
        "no measurement": bool(word & _SPOT_NO_MEASUREMENT),
        "from memory": bool(word & _SPOT_STORED),
        "low battery": bool(word & _SPOT_LOW_BATTERY),
    }
    if len(data) >= LEAST_DATA + _SERIAL_NUMBER_SIZE:
        described["serial number"] = _serial_number(data[LEAST_DATA:][:_SERIAL_NUMBER_SIZE], at + LEAST_DATA)
    return described


def describe_reply(frame: bytes) -> dict[str, str | bool]:
    """The serial number, or what the clock shows: that of an oximeter, or the 12 digits of a recorder's."""
    if frame[1:2] == bytes((CLOCK_REPLY,)) or frame[:1].isdigit():
        return {"clock": shown_clock(frame).isoformat()}
    _expect(frame, bytes((STX, REPLY, REPLY_DATA, 0x02)), 0)
    size = REPLY_DATA + 4
    _check_size(frame, size)
    if sum(frame[3:13]) & 0xFF != frame[13]:
        raise DecodeError(f"checksum {frame[13]}, expected {sum(frame[3:13]) & 0xFF}", 13)
    if frame[14] != ETX:
        raise DecodeError("no ETX", 14)
    return {"serial number": _serial_number(frame[4:13], 4)}


def shown_clock(reply: bytes) -> DeviceTime:
    """What a device's clock shows by its reply: `02 F2 06`, six bytes from year to second, `03`; or 12 digits."""
    if reply[:1].isdigit():
        _check_size(reply, 2 * CLOCK_DATA)
        if not reply.isdigit():
            raise DecodeError("a clock of 12 digits", next(at for at, byte in enumerate(reply) if not 48 <= byte <= 57))
        at, numbers = 0, [int(reply[place : place + 2]) for place in range(0, 2 * CLOCK_DATA, 2)]
    else:
        _expect(reply, bytes((STX, CLOCK_REPLY, CLOCK_DATA)), 0)
        _check_size(reply, CLOCK_DATA + 4)
        if reply[-1] != ETX:
            raise DecodeError("no ETX", CLOCK_DATA + 3)
        at, numbers = 3, list(reply[3 : 3 + CLOCK_DATA])
    year, month, day, hour, minute, second = numbers
    try:
        return DeviceTime(year=2000 + year, month=month, day=day, hour=hour, minute=minute, second=second)
    except WireError as error:
        raise DecodeError(str(error), at) from None


def _check_df8(frame: bytes) -> None:
    _check_size(frame, 4)
    if not frame[0] & 0x80:
        raise DecodeError("the first byte has bit 7 clear", 0)
    for place in (1, 2, 3):
        if frame[place] & 0x80:
            raise DecodeError("bit 7 set after the first byte", place)


def _df13_data(frame: bytes) -> tuple[bytes, int]:
    """The data bytes of a spot-check frame whose length and checksum are right, and where they begin."""
    start = 1 if frame[:1] == b"\0" else 0
    _expect(frame, HEADER, start)
    at = start + 5
    if len(frame) < at:
        raise DecodeError("length needs 1 byte, 0 left", len(frame))
    size = frame[at - 1]
    if not LEAST_DATA <= size <= MOST_DATA:
        raise DecodeError(f"{size} data bytes, expected {LEAST_DATA} to {MOST_DATA}", at - 1)
    end = at + size
    _check_size(frame, end + 2)
    data = frame[at:end]
    if sum(data) & 0xFF != frame[end]:
        raise DecodeError(f"checksum {frame[end]}, expected {sum(data) & 0xFF}", end)
    if frame[end + 1] != ETX:
        raise DecodeError("no ETX", end + 1)
    return data, at


def _expect(frame: bytes, expected: bytes, start: int) -> None:
    for place, byte in enumerate(expected, start):
        if place >= len(frame):
            raise DecodeError("the frame ends in its header", len(frame))
        if frame[place] != byte:
            raise DecodeError(f"{frame[place]:02X} in the header, expected {byte:02X}", place)


def _check_size(frame: bytes, size: int) -> None:
    if len(frame) < size:
        raise DecodeError(f"{len(frame)} bytes, expected {size}", len(frame))
    if len(frame) > size:
        raise DecodeError(f"{len(frame) - size} bytes after the frame", size)


def _time(data: bytes, at: int) -> DeviceTime:
    """Eight bytes of binary coded decimal: century, year, month, day, hour, minute, second, hundredths."""
    numbers = []
    for place, byte in enumerate(data):
        if byte >> 4 > 9 or byte & 15 > 9:
            raise DecodeError(f"{_TIME_FIELDS[place]} {byte:02X} is not decimal", at + place)
        numbers.append((byte >> 4) * 10 + (byte & 15))
    century, of_century, month, day, hour, minute, second, hundredths = numbers
    year = century * 100 + of_century
    try:
        return DeviceTime(
            year=year,
            month=month,
            day=day,
            hour=hour,
            minute=minute,
            second=second,
            microsecond=hundredths * 10_000,
        )
    except WireError as error:
        fault = calendar_fault(year=year, month=month, day=day, hour=hour, minute=minute, second=second)
        raise DecodeError(str(error), at + _TIME_FIELDS.index(fault or "century")) from None


def _serial_number(data: bytes, at: int) -> str:
    for place, byte in enumerate(data):
        if not 0x20 <= byte <= 0x7E:
            raise DecodeError(f"{byte:02X} in the serial number", at + place)
    return data.decode("ascii").strip()


def _pair(
    spo2: int,
    pulse: int,
    spo2_at: int,
    *,
    status: tuple[MeasurementStatus, ...],
    time: DeviceTime | None = None,
    modality: tuple[int, ...] = (),
    missing: bool = False,
) -> tuple[Measurement, Measurement]:
    """SpO2 and pulse rate, each with a value or without."""
    if spo2 > 100 and spo2 != NO_SPO2:
        raise DecodeError(f"no saturation is {spo2} %", spo2_at)
    no_spo2, no_pulse = missing or spo2 == NO_SPO2, missing or pulse == NO_PULSE
    companion = status
    if no_spo2 or no_pulse:
        # What the device says of the quality of a value is said of none; that it is stored holds.
        status = tuple(state for state in status if state is MeasurementStatus.STORED)
        companion = (*status, MeasurementStatus.QUESTIONABLE)
    return (
        Measurement(
            code=Mdc.PULS_OXIM_SAT_O2,
            value=None if no_spo2 else Decimal(spo2),
            unit=None if no_spo2 else "%",
            absent="not-performed" if no_spo2 else None,
            device_time=time,
            supplemental=modality,
            status=status if no_spo2 else companion,
        ),
        Measurement(
            code=Mdc.PULS_OXIM_PULS_RATE,
            value=None if no_pulse else Decimal(pulse),
            unit=None if no_pulse else "/min",
            absent="not-performed" if no_pulse else None,
            device_time=time,
            supplemental=modality,
            status=status if no_pulse else companion,
        ),
    )
