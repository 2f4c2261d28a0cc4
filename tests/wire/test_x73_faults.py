"""Noise in the evidence of a 20601 agent: from the APDU to the measurements, only the declared error comes out of it."""

from dataclasses import replace

import pytest

from tests.wire.agents import COUNTED, MDS_READ
from tests.wire.envelopes import AGENT_REPORT
from tests.wire.noise import inputs, noise, source_of
from tests.wire.x73.support import SESSION, vector
from wire.decoding import information_of, meaning_of
from wire.errors import DecodeError
from wire.evidence import AgentContext, AgentContextKind
from wire.measurement_json import dumps, loads

REPORTS = {
    "oximeter": (0x0190, [SESSION["report"]]),
    "cuff": (0x02BC, [vector("opentele/and_ua767_pressure").value, vector("opentele/and_ua767_pulse").value]),
    "scale": (0x05DC, [vector("opentele/and_uc321_kg").value, vector("opentele/and_uc321_lb").value]),
}


@pytest.mark.parametrize("device", REPORTS)
def test_noise_in_a_report_is_refused_with_the_declared_error_or_means_something(device: str) -> None:
    configuration, seeds = REPORTS[device]
    source = source_of(f"20601 {device}")
    good, count = 0, inputs(len(REPORTS))  # one decoder, whatever the device
    for number in range(count):
        raw = noise(source, seeds)
        report = replace(AGENT_REPORT, configuration=configuration, apdu=raw, context=())
        try:
            measurements = meaning_of(report).everything
        except DecodeError as refused:
            assert refused.offset >= 0, raw.hex()  # noqa: PT017  the offset is the point
            continue
        good += 1
        if measurements and number % 100 == 0:
            assert measurements == loads(dumps(measurements)), raw.hex()
    assert count // 100 <= good < count


def test_noise_in_what_an_agent_said_of_itself_costs_what_it_would_have_told_or_is_refused() -> None:
    source = source_of("20601 MDS")
    for number in range(inputs()):
        said = AgentContext(kind=AgentContextKind.MDS, mono_us=0, value=noise(source, [MDS_READ]))
        report = replace(AGENT_REPORT, apdu=SESSION["report"], context=(said,))
        information = information_of(report)
        assert information.model is None or information.model.isprintable()
        if number % 10:
            continue
        try:
            measurements = meaning_of(report).everything
        except DecodeError:
            continue
        assert len(measurements) == 2


def test_noise_in_a_configuration_is_refused_or_the_report_is_understood_by_it() -> None:
    source = source_of("20601 configuration")
    known = COUNTED.encode()
    for _ in range(inputs()):
        configuration = noise(source, [known])
        report = replace(AGENT_REPORT, configuration=configuration, apdu=SESSION["report"], context=())
        try:
            meaning_of(report)
        except DecodeError as refused:
            assert refused.offset >= 0, configuration.hex()  # noqa: PT017  the offset is the point
