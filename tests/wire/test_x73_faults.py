"""Noise in a 20601 report: from the APDU to the measurements, only the declared error comes out of it."""

import pytest

from tests.wire.noise import inputs, noise, source_of
from tests.wire.x73.support import SESSION, vector
from wire.errors import DecodeError
from wire.measurement import Measurement
from wire.measurement_json import dumps, loads
from wire.x73.apdu import EventReport, Prst, decode_apdu
from wire.x73.dim import Configuration
from wire.x73.measurements import ReportDecoder
from wire.x73.reports import REPORT_KINDS, decode_report
from wire.x73.specializations import OXIMETER_0190, PRESSURE_02BC, SCALE_05DC

REPORTS = {
    "oximeter": (OXIMETER_0190, [SESSION["report"]]),
    "cuff": (PRESSURE_02BC, [vector("opentele/and_ua767_pressure").value, vector("opentele/and_ua767_pulse").value]),
    "scale": (SCALE_05DC, [vector("opentele/and_uc321_kg").value, vector("opentele/and_uc321_lb").value]),
}


def read(configuration: Configuration, raw: bytes) -> tuple[Measurement, ...] | None:
    """What a report means; None for an APDU that is another message."""
    apdu = decode_apdu(raw)
    if not isinstance(apdu, Prst) or not isinstance(apdu.message, EventReport):
        return None
    message = apdu.message
    if message.event_type not in REPORT_KINDS:
        return None
    # As the bridge does it: each report by a decoder of its own.
    return ReportDecoder(configuration, tolerated=[]).decode(
        decode_report(message.event_type, message.handle, message.info)
    )


@pytest.mark.parametrize("device", REPORTS)
def test_noise_in_a_report_is_refused_with_the_declared_error_or_means_something(device: str) -> None:
    configuration, seeds = REPORTS[device]
    source = source_of(f"20601 {device}")
    good, count = 0, inputs(40)
    for number in range(count):
        raw = noise(source, seeds)
        try:
            measurements = read(configuration, raw)
        except DecodeError as refused:
            assert 0 <= refused.offset <= len(raw), raw.hex()  # noqa: PT017  the offset is the point
            continue
        good += measurements is not None
        if measurements and number % 100 == 0:
            assert measurements == loads(dumps(measurements)), raw.hex()
    assert count // 100 <= good < count
