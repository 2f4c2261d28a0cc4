"""Measurement JSON: exact to print, strict to read, each fault with its byte."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from tests.wire.measurements import measurements
from tests.wire.noise import INPUTS, source_of
from tests.wire.vectors import load
from wire.errors import MeasurementError
from wire.gatt import MEASUREMENTS, decode
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Samples, Special
from wire.measurement_json import ABSENT_REASONS, MAX_MEASUREMENTS, dumps, loads
from wire.positioned_json import MAX_BYTES, MAX_DEPTH

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "measurement.schema.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)

GOOD = [
    (vector.characteristic, vector.value)
    for vector in load("gatt.json")
    if vector.characteristic in MEASUREMENTS and "invalid" not in vector.expected
]


def one(**fields: Any) -> str:
    """A document of one measurement with these fields beside a code."""
    return json.dumps([{"code": 150456, **fields}])


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@given(st.lists(measurements, max_size=4))
def test_what_is_printed_reads_back_as_exactly_the_same_measurements(given_: list[Measurement]) -> None:
    printed = dumps(given_)
    back = loads(printed)
    assert tuple(given_) == back
    # Equal decimals may differ in precision; their texts do not.
    assert printed == dumps(back)
    assert tuple(given_) == loads(printed.encode())
    assert tuple(given_) == loads(dumps(given_, indent=2))


@given(st.lists(measurements, max_size=4))
def test_what_is_printed_follows_the_schema(given_: list[Measurement]) -> None:
    VALIDATOR.validate(json.loads(dumps(given_)))


@pytest.mark.parametrize(
    ("characteristic", "value"), GOOD, ids=lambda item: item.hex() if isinstance(item, bytes) else f"{item:04X}"
)
def test_every_vector_survives_print_and_read_and_follows_the_schema(characteristic: int, value: bytes) -> None:
    found = decode(characteristic, value)
    assert found == loads(dumps(found))
    VALIDATOR.validate(json.loads(dumps(found)))


def test_a_measurement_is_printed_in_the_order_in_which_people_read_it() -> None:
    (spo2, *_) = decode(0x2A5E, bytes.fromhex("1f5e005800d7070a01000000004220200 00cf0".replace(" ", "")))
    assert json.loads(dumps([spo2])) == [
        {
            "code": 150456,
            "refid": "MDC_PULS_OXIM_SAT_O2",
            "value": "94",
            "unit": "%",
            "device_time": "2007-10-01T00:00:00",
            "supplemental": [150588],
            "status": ["stored", "questionable"],
            "clock_set": False,
        }
    ]
    assert list(json.loads(dumps([spo2]))[0]) == [
        "code",
        "refid",
        "value",
        "unit",
        "device_time",
        "supplemental",
        "status",
        "clock_set",
    ]


@pytest.mark.parametrize("special", Special)
def test_a_special_value_is_printed_as_fhirs_reason_and_keeps_its_meaning(special: Special) -> None:
    measurement = Measurement(code=150456, value=special)
    printed = json.loads(dumps([measurement]))[0]
    assert special.absent == printed["absent"]
    assert "value" not in printed
    assert (measurement,) == loads(dumps([measurement]))


def test_an_absent_error_without_a_special_is_no_special() -> None:
    (measurement,) = loads(one(absent="error"))
    assert (measurement.value, measurement.absent) == (None, "error")


def test_the_precision_of_a_value_is_what_its_text_states() -> None:
    texts = ("36.50", "2E+2", "-0.1", "0.00", "1E-8")
    read = loads(json.dumps([{"code": 1, "value": text, "unit": "1"} for text in texts]))
    assert list(texts) == [str(measurement.value) for measurement in read]


def test_an_unknown_code_is_read_with_and_without_a_name() -> None:
    (named, bare) = loads('[{"code": 4242424242, "refid": "MDCX_OURS", "coded": 7}, {"code": 4242424242, "coded": 7}]')
    assert named == bare == Measurement(code=4242424242, coded=7)


def test_one_status_may_stand_without_its_array() -> None:
    (measurement,) = loads(one(coded=1, status="questionable"))
    assert measurement.status == (MeasurementStatus.QUESTIONABLE,)


def test_every_field_of_a_document_written_by_others_is_read() -> None:
    (measurement,) = loads(
        one(
            samples={"origin": "0", "unit": "mV", "period_ms": "3.90625", "data": ["1", "-2", "not-a-number"]},
            device_time="2026-02-17T08:00:00.25+01:00",
            received="2026-02-17T07:00:00Z",
            supplemental=[150588],
            status=["validated"],
            user=0,
            clock_set=True,
        )
    )
    assert measurement == Measurement(
        code=150456,
        samples=Samples(
            origin=Decimal(0),
            unit="mV",
            period_ms=Decimal("3.90625"),
            data=(Decimal(1), Decimal(-2), Special.NAN),
        ),
        device_time=DeviceTime(
            year=2026, month=2, day=17, hour=8, minute=0, second=0, microsecond=250_000, offset_min=60
        ),
        received=datetime(2026, 2, 17, 7, tzinfo=UTC),
        supplemental=(150588,),
        status=(MeasurementStatus.VALIDATED,),
        user=0,
    )


def test_an_empty_array_holds_no_measurements() -> None:
    assert loads(" [ ] ") == ()


# Text, the byte, what stands in the message.
MALFORMED = [
    ("", 0, "expected a value, found the end"),
    ("[", 1, "found the end"),
    ("[1,]", 3, "expected a value, found ']'"),
    ("[] []", 3, "text after the end"),
    ("[}", 1, "expected a value"),
    ('[{"code":1,}]', 11, "expected a name in quotes"),
    ('[{"code" 1}]', 9, "expected ':', found '1'"),
    ('[{"code":1 "coded":1}]', 11, "expected ',', found '\"'"),
    ("[{'code':1}]", 2, "expected a name in quotes"),
    ('[{"code":1,"code":2}]', 11, "'code' stands twice"),
    ('[{"c\\u006fde":1,"code":2}]', 16, "'code' stands twice"),
    ('[{"æ":1,"æ":2}]', 9, "'\\xe6' stands twice"),
    ('[{"bits":{"1.1":true,"1.1":true}}]', 21, "'1.1' stands twice"),
    ("[NaN]", 1, "'NaN' is no JSON value"),
    ("[-Infinity]", 1, "expected a value, found '-'"),
    ("[Infinity]", 1, "'Infinity' is no JSON value"),
    ("[tru]", 1, "'tru' is no JSON value"),
    ("[01]", 2, "expected ',', found '1'"),
    ("[1.]", 2, "expected ',', found '.'"),
    ('["a', 3, "no string goes on with the end"),
    ('["a\n"]', 3, "no string goes on with '\\n'"),
    ('["\\x41"]', 2, "no string goes on with '\\\\'"),
    ('["\\ud800"]', 1, "half of a surrogate pair"),
    ("\ufeff[]", 0, "expected a value, found '\\ufeff'"),
    ("[//\n]", 1, "expected a value, found '/'"),
    ("[" * (MAX_DEPTH + 1), MAX_DEPTH, "nested deeper than 16"),
    ('{"a":' * 100_000, 5 * MAX_DEPTH, "nested deeper than 16"),
    ("[" * MAX_BYTES + "[", MAX_BYTES, "longer than"),
]


@pytest.mark.parametrize(("text", "offset", "message"), MALFORMED, ids=range(len(MALFORMED)))
def test_text_that_is_no_strict_json_is_refused_at_its_byte(text: str, offset: int, message: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(MeasurementError) as refused:
            loads(form)
        assert offset == refused.value.offset
        assert message in str(refused.value)
        assert "\n" not in str(refused.value)


def test_bytes_that_are_no_utf8_are_refused_at_their_byte() -> None:
    with pytest.raises(MeasurementError) as refused:
        loads(b'[{"\xc3\xa6\xe6')
    assert refused.value.offset == 5


def test_what_an_emitter_writes_for_nothing_is_read_as_nothing() -> None:
    written = one(code=150456, absent="not-a-number", unit="%", supplemental=[], status=[])
    VALIDATOR.validate(json.loads(written))
    (found,) = loads(written)
    assert (found.value, found.unit, found.supplemental, found.status) == (Special.NAN, None, (), ())


# A document, the text whose place the error names, the path, what stands in the message; and whether a schema can say it.
FAULTY = [
    ('{"code":1,"coded":1}', "{", "", "expected an array", True),
    ("[1]", "1", "[0]", "expected an object", True),
    ('[{"coded":1}]', "{", "[0]", "code is missing", True),
    (one(), "{", "[0]", "found none", True),
    (one(coded=1, absent="error"), "{", "[0]", "found absent and coded", True),
    (one(value=98, unit="%"), "98", "[0].value", "expected a string", True),
    ('[{"code":150456,"value":98.0,"unit":"%"}]', "98.0", "[0].value", "expected a string", True),
    (
        one(value="98", unit="%", refid="MDC_PULS_OXIM_PULS_RATE"),
        '"MDC_',
        "[0].refid",
        "MDC_PULS_OXIM_PULS_RATE is 149530, not 150456",
        False,
    ),
    (one(value="98", unit="%", refid="SpO2"), '"SpO2"', "[0].refid", "no reference identifier", True),
    (one(value="98"), "{", "[0]", "unit is missing", True),
    (one(coded=1, unit="%"), '"%"', "[0].unit", "a unit beside coded", True),
    (one(value="98", unit="per cent"), '"per', "[0].unit", "no UCUM unit", True),
    (one(value="98", unit=""), '""', "[0].unit", "no UCUM unit", True),
    (one(value="", unit="%"), '""', "[0].value", "no decimal number", True),
    (one(value="NaN", unit="%"), '"NaN"', "[0].value", "no decimal number", True),
    (one(value="1_0", unit="%"), '"1_0"', "[0].value", "no decimal number", True),
    (one(value=" 98", unit="%"), '" 98"', "[0].value", "no decimal number", True),
    (one(value="+98", unit="%"), '"+98"', "[0].value", "no decimal number", True),
    (one(value="098", unit="%"), '"098"', "[0].value", "no decimal number", True),
    (one(value="98.", unit="%"), '"98."', "[0].value", "no decimal number", True),
    (one(value="1E1000", unit="%"), '"1E1000"', "[0].value", "no decimal number", True),
    (one(value="9" * 33, unit="%"), '"9', "[0].value", "no decimal number", True),
    ('[{"code":1,"value":"٩٨","unit":"%"}]', '"٩', "[0].value", "no decimal number", True),
    (one(absent="broken"), '"broken"', "[0].absent", "is none of", True),
    (one(absent="error", special="nan"), '"nan"', "[0].special", "is none of nres, reserved", True),
    (one(absent="not-a-number", special="nres"), '"nres"', "[0].special", "special belongs to", True),
    (one(coded=1, special="nres"), '"nres"', "[0].special", "special belongs to", True),
    (one(coded=0), "0}", "[0].coded", "expected an integer from 1 to 4294967295", True),
    (one(coded=1 << 32), "4294967296", "[0].coded", "expected an integer", True),
    (one(coded=True), "true", "[0].coded", "expected an integer", True),
    (one(coded="1"), '"1"', "[0].coded", "expected an integer", True),
    (one(coded=10**40), "1000", "[0].coded", "expected an integer", True),
    (one(coded=1, sensor="x"), '"x"', "[0]", "unknown field 'sensor'", True),
    (one(components=[]), "[]", "[0].components", "1 to 64 items", True),
    (one(components=[{"code": 1}]), '{"code": 1}', "[0].components[0]", "found none", True),
    (
        one(components=[{"code": 1, "components": [{"code": 2, "coded": 3}]}]),
        '[{"code": 2',
        "[0].components[0].components",
        "a component has no components",
        True,
    ),
    (one(bits={}), "{}", "[0].bits", "at least one bit", True),
    (one(bits={"150456": True}), "true", "[0].bits.150456", "no bit of 150456", True),
    (one(bits={"150456.01": True}), "true", "[0].bits.150456.01", "no bit of 150456", True),
    (one(bits={"150456.32": True}), "true", "[0].bits.150456.32", "no bit of 150456", True),
    (one(bits={"150604.1": True}), "true", "[0].bits.150604.1", "no bit of 150456", False),
    (one(bits={"1\n\u0661": True}), "true", "[0].bits.'1\\n\\u0661'", "no bit of 150456", True),
    (one(bits={"150456.1": 1}), "1}", "[0].bits.150456.1", "expected true or false", True),
    (one(bits=[]), "[]", "[0].bits", "expected an object", True),
    (one(samples={"origin": "0", "unit": "mV", "period_ms": "4"}), '{"origin"', "[0].samples", "data is missing", True),
    (
        one(samples={"origin": "0", "unit": "mV", "period_ms": "4", "data": ["1", 2]}),
        "2]",
        "[0].samples.data[1]",
        "expected a string",
        True,
    ),
    (
        one(samples={"origin": "0", "unit": "mV", "period_ms": "4", "data": ["E"]}),
        '"E"',
        "[0].samples.data[0]",
        "no decimal number",
        True,
    ),
    (one(coded=1, device_time="2026-02-17"), '"2026', "[0].device_time", "is no time", True),
    (one(coded=1, device_time="2026-13-17T00:00:00"), '"2026', "[0].device_time", "no month 13", True),
    (one(coded=1, device_time="2026-02-30T00:00:00"), '"2026', "[0].device_time", "no day 30", False),
    (one(coded=1, device_time="2026-02-17T24:00:00"), '"2026', "[0].device_time", "no hour 24", True),
    (one(coded=1, device_time="2026-02-17T00:60:00"), '"2026', "[0].device_time", "no minute 60", True),
    (one(coded=1, device_time="2026-02-17T00:00:60"), '"2026', "[0].device_time", "no second 60", True),
    (one(coded=1, device_time="1066-10-14T09:00:00"), '"1066', "[0].device_time", "no year 1066", False),
    (one(coded=1, device_time="2026-02-17T00:00:00+15:00"), '"2026', "[0].device_time", "no offset of 900", True),
    (one(coded=1, received="2026-02-17T07:00:00"), '"2026', "[0].received", "no time with an offset", True),
    (one(coded=1, received="2026-02-30T07:00:00Z"), '"2026', "[0].received", "on no calendar", False),
    (one(coded=1, received="2026-02-17T07:00:00+24:00"), '"2026', "[0].received", "on no calendar", True),
    (one(coded=1, supplemental=[1, -1]), "-1", "[0].supplemental[1]", "expected an integer", True),
    (one(coded=1, status="fine"), '"fine"', "[0].status", "is none of", True),
    (one(coded=1, status=["stored", "fine"]), '"fine"', "[0].status[1]", "is none of", True),
    (one(coded=1, user=255), "255", "[0].user", "expected an integer from 0 to 254", True),
    (one(coded=1, clock_set=None), "null", "[0].clock_set", "expected true or false", True),
    (json.dumps([{"code": 1, "coded": 1}] * (MAX_MEASUREMENTS + 1)), "[", "", "expected an array of 0 to 10000", True),
]


@pytest.mark.parametrize(("text", "place", "path", "message", "schema"), FAULTY, ids=range(len(FAULTY)))
def test_a_document_with_a_fault_is_refused_with_path_and_byte(
    text: str, place: str, path: str, message: str, schema: bool
) -> None:
    with pytest.raises(MeasurementError) as refused:
        loads(text)
    assert (
        text.encode().rindex(place.encode()) == refused.value.offset
        or text.encode().index(place.encode()) == refused.value.offset
    )
    assert path == refused.value.path
    assert message in str(refused.value)
    assert str(refused.value).isascii()
    assert str(refused.value).isprintable()
    assert schema is not VALIDATOR.is_valid(json.loads(text))


def test_noise_is_read_as_measurements_that_print_the_same_or_is_refused() -> None:
    source = source_of("measurement JSON")
    seeds = [text for text in (dumps(decode(*good)).encode() for good in GOOD) if len(text) < 200] + [
        text.encode() for text, *_ in FAULTY if len(text) < 200
    ]
    tokens = [
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"1",
        b"-",
        b"e9",
        b"\\u",
        b"\xc3",
        b"null",
        b'"absent"',
        b'"bits"',
        b" ",
    ]
    read = 0
    for _ in range(INPUTS):
        dice = source.getrandbits(32)
        kind, where, other = dice & 7, dice >> 3 & 0xFFF, dice >> 15
        text = bytearray(seeds[other % len(seeds)])
        if kind == 0:
            text = bytearray(b"".join(source.choices(tokens, k=where % 24)))
        elif kind < 4:
            text[where % len(text)] ^= 1 << (other & 7)
        elif kind < 6:
            at = where % len(text)
            text[at : at + (other & 3)] = tokens[other % len(tokens)]
        elif kind == 6:
            del text[where % len(text) :]
        try:
            found = loads(bytes(text))
        except MeasurementError as refused:
            if refused.offset is None or not refused.offset <= len(text):
                pytest.fail(f"{bytes(text)!r}: offset {refused.offset}")
            continue
        read += 1
        if read % 100 == 0:
            assert found == loads(dumps(found))
    assert INPUTS // 100 <= read < INPUTS


def test_the_largest_document_is_read_in_bounded_time_and_not_by_recursion() -> None:
    assert len(loads(json.dumps([{"code": 1, "coded": 1}] * MAX_MEASUREMENTS))) == MAX_MEASUREMENTS
    with pytest.raises(MeasurementError):
        loads("[" + "9" * (MAX_BYTES - 2) + "]")


def test_the_reasons_for_absence_are_those_of_the_schema() -> None:
    assert set(SCHEMA["$defs"]["fields"]["properties"]["absent"]["enum"]) == ABSENT_REASONS
    assert set(SCHEMA["$defs"]["status"]["enum"]) == set(MeasurementStatus)
