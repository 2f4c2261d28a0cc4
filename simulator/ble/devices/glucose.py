"""Glucose meters and continuous glucose sensors (GLS 1.0.1, CGMS 1.0.2)."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Final

from simulator.ble.devices.kind import CGM_CONTROL_POINT, RACP, Delivery, Kind
from simulator.ble.devices.values import Measured, Moment, crc, date_time
from simulator.values import Other, Value, rounded, sfloat

_MG_DL_PER_MMOL_L: Final = 18.016
"""The molar mass of glucose is 180.16 g/mol."""
_FINGER_CAPILLARY: Final = 0x11
"""Capillary whole blood (low nibble), from a finger (high nibble): GLS 3.1."""
_TIME_FAULT: Final = 1 << 11
_SUBCUTANEOUS_FLUID: Final = 0x59
"""Interstitial fluid (low nibble), in subcutaneous tissue (high nibble): CGMS 3.2."""
_LOW_BATTERY, _E2E_CRC, _TREND = 1 << 9, 1 << 12, 1 << 15
RUN_TIME_H: Final = 240

SESSION_START: Final = 0x2AAA
STATUS: Final = 0x2AA9
FEATURE: Final = 0x2AA8
RUN_TIME: Final = 0x2AAB


def _meal(moment: Moment) -> Measured:
    """Glucose Measurement Context, 2A34 (GLS 3.2): breakfast of so many grams, after it, by the person, well, insulin."""
    carbohydrate = Decimal(30 + moment.number % 7 * 5)
    insulin = Decimal(60 + moment.number % 5 * 10)
    return Measured(
        characteristic=0x2A34,
        data=struct.pack("<BH", 0x01 | 0x02 | 0x04 | 0x10 | 0x20, moment.number)
        + b"\x01" + sfloat(carbohydrate.scaleb(-3)) + b"\x02" + b"\x51" + b"\x01" + sfloat(insulin.scaleb(-6)),
        values=(
            Value(code=8417768, refid="MDC_CTXT_GLU_CARB_BREAKFAST", value=carbohydrate, unit="g"),
            Value(code=8417800, refid="MDC_CTXT_MEDICATION_RAPIDACTING", value=insulin.scaleb(-3), unit="mL"),
        ),
        others=(
            Other(code=8417864, refid="MDC_CTXT_GLU_MEAL", coded=8417872),
            Other(code=8417884, refid="MDC_CTXT_GLU_TESTER", coded=8417888),
            Other(code=8417820, refid="MDC_CTXT_GLU_HEALTH", coded=8417840),
        ),
    )  # fmt: skip


def glucose(moment: Moment, *, molar: bool) -> Sequence[Measured]:
    """Glucose Measurement, 2A18 (GLS 3.1); every other one with its context after it.

    In mol/L, shown as mmol/L, or in kg/L, shown as mg/dL.
    """
    context = moment.number % 2 == 0
    status = b"" if moment.clock_set else struct.pack("<H", _TIME_FAULT)
    if molar:
        shown, unit = rounded(moment.further.glucose_mg_dl / _MG_DL_PER_MMOL_L, "0.1"), "mmol/L"
        encoded = sfloat(shown.scaleb(-3))
    else:
        shown, unit = rounded(moment.further.glucose_mg_dl, "1"), "mg/dL"
        encoded = sfloat(shown.scaleb(-5))
    flags = 0x02 | (0x04 if molar else 0) | (0x08 if status else 0) | (0x10 if context else 0)
    measurement = Measured(
        characteristic=0x2A18,
        data=struct.pack("<BH", flags, moment.number)
        + date_time(moment.at)
        + encoded
        + bytes([_FINGER_CAPILLARY])
        + status,
        values=(Value(code=160184, refid="MDC_CONC_GLU_CAPILLARY_WHOLEBLOOD", value=shown, unit=unit),),
        device_time=moment.at,
        others=(Other(code=8417844, refid="MDC_CTXT_GLU_SAMPLELOCATION", coded=8417848),),
    )
    return (measurement, _meal(moment)) if context else (measurement,)


def tissue_glucose(moment: Moment, *, check: bool) -> Sequence[Measured]:
    """CGM Measurement, 2AA7 (CGMS 3.1): one record with its trend, and its E2E-CRC where the sensor has that."""
    shown = rounded(moment.further.tissue_glucose_mg_dl, "1")
    trend = rounded((moment.further.tissue_glucose_mg_dl - 108) / 20, "0.1")
    body = struct.pack("<B", 0x01) + sfloat(shown) + struct.pack("<H", moment.minutes) + sfloat(trend)
    record = bytes([len(body) + (3 if check else 1)]) + body
    return (
        Measured(
            characteristic=0x2AA7,
            data=record + crc(record) if check else record,
            values=(
                Value(code=160212, refid="MDC_CONC_GLU_ISF", value=shown, unit="mg/dL"),
                Value(code=8418008, refid="MDC_CONC_GLU_TREND", value=trend, unit="mg/dL/min"),
            ),
            # All that the value says is the minute.
            device_time=(moment.session or moment.at) + timedelta(minutes=moment.minutes),
        ),
    )


def _feature(*, check: bool) -> bytes:
    """CGM Feature, 2AA8 (CGMS 3.2); without E2E-CRC its check sum field is 0xFFFF."""
    supported = _LOW_BATTERY | _TREND | (_E2E_CRC if check else 0)
    body = struct.pack("<I", supported)[:3] + bytes([_SUBCUTANEOUS_FLUID])
    return body + (crc(body) if check else b"\xff\xff")


METER = Kind(
    name="glucose-meter",
    says="glucose meter (kg/L) with stored records (2A52)",
    service=0x1808,
    characteristic=0x2A18,
    flag="notify",
    appearance=0x0400,
    model="SimGlu 1",
    # Glucose Feature: low battery and time fault detection.
    reads={0x2A51: bytes.fromhex("0102")},
    beside={0x2A34: "notify", RACP: "indicate"},
    delivery=Delivery.ASKED,
    battery=True,
    measure=partial(glucose, molar=False),
)
MOLAR_METER = replace(
    METER,
    name="glucose-meter-molar",
    says="the same in mol/L",
    model="SimGlu 2",
    measure=partial(glucose, molar=True),
)
CGM = Kind(
    name="cgm",
    says="continuous glucose sensor, with E2E-CRC",
    service=0x181F,
    characteristic=0x2AA7,
    flag="notify",
    appearance=0x0D00,
    model="SimCgm 1",
    reads={FEATURE: _feature(check=True)},
    beside={RACP: "indicate", CGM_CONTROL_POINT: "indicate"},
    delivery=Delivery.ASKED,
    clock_at=SESSION_START,
    live=True,
    interval=timedelta(minutes=5),
    least_every_s=60.0,
    battery=True,
    crc=True,
    measure=partial(tissue_glucose, check=True),
)
PLAIN_CGM = replace(
    CGM,
    name="cgm-plain",
    says="continuous glucose sensor, without E2E-CRC",
    model="SimCgm 2",
    reads={FEATURE: _feature(check=False)},
    crc=False,
    measure=partial(tissue_glucose, check=False),
)
