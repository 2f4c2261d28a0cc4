"""The reading that the benchmarks use: a spot check with time stamp, status and the context of a real session."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from wire.evidence import Clock, ClockState, Context, Device, Reading

RECEIVED_US = 1_795_000_000_000_000


def clock(offset_us: int = 0) -> Clock:
    """The hub's clock at reception, or `offset_us` later."""
    return Clock(
        wall_us=RECEIVED_US + offset_us,
        mono_us=5_000_000 + offset_us,
        boot=bytes(range(16)),
        state=ClockState.SYNCHRONISED,
        uncertainty_ms=20,
    )


def spot_check() -> Reading:
    """An oximeter's reading of just now."""
    return Reading(
        device=Device(address=bytes.fromhex("001c05ff0001"), name="Oximeter"),
        received=clock(),
        characteristic=0x2A5E,
        value=bytes.fromhex("03") + bytes.fromhex("5b004800") + bytes.fromhex("ea070b120c0628") + bytes.fromhex("8001"),
        context=(
            Context(characteristic=0x2A29, mono_us=4_000_000, value=b"Stafet"),
            Context(characteristic=0x2A24, mono_us=4_000_000, value=b"Spot 1"),
            Context(characteristic=0x2A26, mono_us=4_000_000, value=b"1.0"),
            Context(characteristic=0x2A23, mono_us=4_000_000, value=bytes.fromhex("0100fffeff051c00")),
            Context(characteristic=0x2A60, mono_us=4_000_000, value=bytes.fromhex("09008000")),
        ),
    )


def observation_of(reading: Reading) -> Callable[[], dict[str, Any]]:
    """A function that builds the first measurement's Observation."""
    from bridge.fhir.observations import Frame, observation
    from wire.gatt import decode_reading

    measurement = decode_reading(reading)[0]
    frame = Frame(patient="Patient/17", phd="urn:uuid:phd", phg="urn:uuid:phg")

    def build() -> dict[str, Any]:
        built = observation(
            measurement,
            frame,
            identifier="0" * 32,
            effective="2026-11-21T10:30:15.250+01:00",
            coincident=None,
            vital_signs_first=True,
        )
        if built is None:
            raise AssertionError("nothing to report of a spot check")
        return built

    return build


def translation_of(reading: Reading) -> Callable[[], object]:
    """A function that translates the whole reading."""
    from bridge.fhir.translate import translate_reading

    zone = ZoneInfo("Europe/Copenhagen")
    sealed = clock(1)

    def translate() -> object:
        return translate_reading(
            reading, sealed=sealed, hub="bench", patient="Patient/1", timezone=zone, identifier_key=bytes(32)
        )

    return translate
