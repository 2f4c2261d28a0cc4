"""What a hub looks for, how UUIDs are written, and what a reading's context tells of its device."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from wire.errors import DecodeError, WireError
from wire.evidence import Clock, ClockState, Context, Device, Reading
from wire.gatt import (
    CLOCK,
    DEVICE_INFORMATION,
    MEASUREMENTS,
    RACP,
    SERVICES,
    STORED,
    PnpId,
    characteristic_name,
    decode,
    decode_reading,
    describe,
    format_uuid,
    parse_uuid,
    service_of,
    short_uuid,
)
from wire.gatt import device_information as information
from wire.gatt.device_information import DeviceInformation, device_information
from wire.nomenclature import UCUM, Mdc, refid

NONIN = bytes.fromhex("46a970e00d5f11e28b5e0002a5d5c51b")


def reading(characteristic: int | bytes, value: str, wall_us: int = 1_771_311_600_000_000) -> Reading:
    clock = Clock(wall_us=wall_us, mono_us=7, boot=bytes(16), state=ClockState.SYNCHRONISED)
    device = Device(address=bytes.fromhex("AABBCCDDEE01"))
    return Reading(device=device, received=clock, characteristic=characteristic, value=bytes.fromhex(value))


def context(**values: bytes) -> list[Context]:
    return [Context(characteristic=int(name[1:], 16), mono_us=0, value=value) for name, value in values.items()]


@pytest.mark.parametrize(
    "text",
    ["2A5E", "2a5e", "0x2A5E", "00002a5e", "00002a5e-0000-1000-8000-00805f9b34fb", "00002A5E00001000800000805F9B34FB"],
)
def test_a_sig_characteristic_is_its_number_however_it_is_written(text: str) -> None:
    assert parse_uuid(text) == 0x2A5E


def test_a_makers_own_uuid_is_its_16_bytes() -> None:
    assert parse_uuid("46A970E0-0D5F-11E2-8B5E-0002A5D5C51B") == NONIN
    assert format_uuid(NONIN) == "46a970e0-0d5f-11e2-8b5e-0002a5d5c51b"
    assert short_uuid(NONIN) == format_uuid(NONIN)


def test_a_32_bit_sig_uuid_is_no_16_bit_one() -> None:
    uuid = parse_uuid("00012a5e")
    assert isinstance(uuid, bytes)
    assert format_uuid(uuid) == "00012a5e-0000-1000-8000-00805f9b34fb"


def test_a_sig_number_is_written_as_bluez_writes_it_and_short_for_people() -> None:
    assert format_uuid(0x2A5E) == "00002a5e-0000-1000-8000-00805f9b34fb"
    assert short_uuid(0x2A5E) == "2A5E"


@pytest.mark.parametrize("text", ["", "2A5", "2A5EZ", "2A5G", "0x", "--", "\u0662A5E", "2A5E 2A5E"])
def test_what_is_no_uuid_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(WireError, match="expected 4, 8 or 32 hexadecimal digits"):
        parse_uuid(text)


def test_the_nine_device_kinds_are_known_by_service_and_specialization() -> None:
    assert {uuid: (info.name, info.specialization) for uuid, info in SERVICES.items()} == {
        0x1822: ("pulse oximeter", 528388),
        0x1810: ("blood pressure monitor", 528391),
        0x181D: ("weight scale", 528399),
        0x180D: ("heart rate monitor", 528525),
        0x1809: ("thermometer", 528392),
        0x181B: ("body composition analyser", 528404),
        0x1808: ("glucose meter", 528401),
        0x181F: ("continuous glucose monitor", 528409),
        0x1840: ("generic health sensor", 528384),
    }


def test_a_hub_subscribes_to_results_and_not_to_an_inflating_cuff() -> None:
    assert {0x2A5E, 0x2A5F, 0x2A35, 0x2A9D, 0x2A37, 0x2A1C, 0x2A9C, 0x2B34, 0x2B8B} == MEASUREMENTS


def test_what_a_device_stores_is_not_waited_for_but_asked_for() -> None:
    assert {0x2A18, 0x2A34, 0x2AA7, 0x2B36, 0x2BDD} == STORED
    assert not STORED & MEASUREMENTS
    assert characteristic_name(RACP) == "Record Access Control Point"


def test_every_known_characteristic_has_a_name_and_a_decoder() -> None:
    known = {*MEASUREMENTS, *STORED, RACP, *DEVICE_INFORMATION, *CLOCK} | {
        c for s in SERVICES.values() for c in s.context
    }
    for characteristic in known:
        assert characteristic_name(characteristic)
        with pytest.raises(DecodeError, match=r"needs|no UTF-8"):
            decode(characteristic, b"" if characteristic not in DEVICE_INFORMATION[:6] else b"\xff")


def test_a_measurement_belongs_to_one_service() -> None:
    for service in SERVICES.values():
        for characteristic in service.measurements:
            assert service_of(characteristic) is service
    assert service_of(0x2A60) is None
    assert service_of(NONIN) is None


@pytest.mark.parametrize("uuid", [0x2A01, 0xFFFF, NONIN])
def test_a_characteristic_without_a_decoder_is_refused_by_name(uuid: int | bytes) -> None:
    with pytest.raises(DecodeError, match=f"no decoder for {short_uuid(uuid)}"):
        decode(uuid, b"\0")
    with pytest.raises(DecodeError, match="no decoder"):
        describe(uuid, b"\0")


def test_a_reading_decodes_with_the_hubs_time_of_reception() -> None:
    received = datetime(2026, 2, 17, 7, 0, 0, tzinfo=UTC)
    measurements = decode_reading(reading(0x2A5E, "0062004800"))
    assert [measurement.received for measurement in measurements] == [received, received]
    assert [str(measurement.value) for measurement in measurements] == ["98", "72"]


def test_a_reading_keeps_the_microseconds_of_its_reception() -> None:
    (weight,) = decode_reading(reading(0x2A9D, "00b036", wall_us=1))
    assert weight.received == datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("wall_us", [2**63, -(2**63), 10**30])
def test_a_reading_from_a_clock_out_of_any_calendar_is_refused(wall_us: int) -> None:
    with pytest.raises(DecodeError, match="clock"):
        decode_reading(reading(0x2A9D, "00b036", wall_us=wall_us))


def test_a_readings_context_tells_who_made_the_device_and_which_it_is() -> None:
    found = device_information(
        context(
            c2A29=b"A&D Medical\0",
            c2A24=b"UA-651BLE ",
            c2A25=b"5190700123",
            c2A26=b"BLP008_d016\0\0",
            c2A27=b"1.0",
            c2A28=b"2.0",
            c2A23=bytes.fromhex("debc9afeff563412"),
            c2A50=bytes.fromhex("010d0000001001"),
            c2A49=bytes.fromhex("2500"),
        )
    )
    assert found == DeviceInformation(
        manufacturer="A&D Medical",
        model="UA-651BLE",
        serial="5190700123",
        firmware="BLP008_d016",
        hardware="1.0",
        software="2.0",
        system_id=bytes.fromhex("123456FFFE9ABCDE"),
        pnp=PnpId(vendor_source=1, vendor=13, product=0, version=0x0110),
    )


def test_a_badly_written_label_is_absent_and_costs_nothing_else() -> None:
    found = device_information(
        context(c2A29=b"Mu\xe5r", c2A24=b"", c2A25=b"\x01\x02", c2A26=b" \0", c2A23=bytes(8), c2A50=b"\x01", c2A28=b"7")
    )
    assert found == DeviceInformation(software="7")


def test_a_makers_own_characteristic_in_the_context_is_left_alone() -> None:
    assert device_information([Context(characteristic=NONIN, mono_us=0, value=b"x")]) == DeviceInformation()


def test_a_code_has_its_reference_identifier_and_an_unknown_one_none() -> None:
    assert refid(150456) == "MDC_PULS_OXIM_SAT_O2"
    assert refid(1) is None


def test_units_are_those_of_ucum() -> None:
    assert UCUM[262688] == "%"
    assert UCUM[264864] == UCUM[264672] == "/min"


def test_each_service_names_its_specialization_by_the_code_of_the_nomenclature() -> None:
    named = {int(code): code.name for code in Mdc}
    assert all("SPEC_PROFILE" in named[info.specialization] for info in SERVICES.values())
    assert set(DEVICE_INFORMATION) == {
        *information.TEXTS,
        information.SYSTEM_ID,
        information.PNP_ID,
    }


def test_a_collecting_hub_loads_no_decoder() -> None:
    code = "import edge.ble.collect, edge.ble.bleak_radio, edge.hub, sys; print([m for m in sys.modules if m.startswith('wire.gatt')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
