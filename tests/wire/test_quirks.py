"""The table of single devices: each is known by what it says of itself, asks for what its source found, and is tested."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.vectors import FOLDER, load
from wire.quirks import (
    AND_SERVICE,
    AND_WEIGHT,
    AND_WEIGHT_SERVICE,
    NONIN_OXIMETRY,
    NONIN_SERVICE,
    QUIRKS,
    Quirk,
    quirk_for,
)

ROWS = {row.name: row for row in QUIRKS}


def asked(quirk: Quirk) -> dict[str, object]:
    """The actions that differ from those with any other device."""
    known = {"name", "names", "models", "services", "manufacturer", "firmwares", "evidence"}
    return {key: value for key, value in quirk._asdict().items() if key not in known and value != getattr(Quirk(), key)}


def test_an_and_cuff_is_given_the_time_and_left_alone_after_its_session() -> None:
    expected = {
        "clock": "write-2a08",
        "settle_ms": 100,
        "quiet_s": 2,
        "ignore_after_s": 40,
        "measures": (AND_WEIGHT,),
    }
    for name in ("A&D_UA-651BLE_8F0B2A", "A&D_UA-656BLE_1234AB", "A&D_UT201BLE_2C1D0E", "A&D_UC-352BLE_AA26F0"):
        assert expected == asked(quirk_for(name=name)), name
    assert expected == asked(quirk_for(name="", manufacturer="A&D Medical ", model="UA-651BLE "))
    assert expected == asked(quirk_for(name="", services=(0x180A, AND_WEIGHT_SERVICE)))
    assert expected == asked(quirk_for(name="A&D_UA-1200BLE", services=(0x1810, AND_SERVICE)))


@pytest.mark.parametrize(
    "firmware", ["BLP008_d016", "BLP008_d017", "HTP008_134", "CWSP008_108", "CWSP008_110", "WSP001_201", "blp008_D017 "]
)
def test_an_and_firmware_that_is_quick_to_answer_is_waited_for_40_ms(firmware: str) -> None:
    quirk = quirk_for(name="A&D_UC-352BLE_AA26F0", firmware=firmware)
    assert asked(quirk_for(name="A&D_UC-352BLE_AA26F0")) | {"settle_ms": 40} == asked(quirk)
    assert quirk.name == "A&D with Bluetooth LE; A&D, firmware that is quick to answer"
    assert quirk_for(name="A&D_UC-352BLE_AA26F0", firmware="BLP008_d0").settle_ms == 100


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "BLESmart_00000480EF66214013B0",
            {"clock": "write-if-off-by:600", "bond": "drop"},
        ),
        (
            "BLEsmart_00000480EF66214013B0",
            {"clock": "write-if-off-by:600", "bond": "drop"},
        ),
        ("Nonin3230_502644853", {"measures": (NONIN_OXIMETRY,)}),
        ("TAIDOC TD1241", {"ignore_after_s": 40}),
        ("51-102", {"ignore_after_s": 23}),
        ("SCH740", {"ignore_after_s": 25}),
        (
            "Beurer BM85",
            {"big_endian": ("pulse", "status"), "unflagged": ("user",), "zero_is_absent": ("mean",)},
        ),
        ("Nonin_Medical_Inc._501493200", {"clock_since": 2010, "ignore_after_s": 15}),
        ("A&D BP UA-767PBT-C", {"note": ROWS["A&D UA-767PBT-C"].note}),
    ],
)
def test_a_device_is_known_by_its_name(name: str, expected: dict[str, object]) -> None:
    assert expected == asked(quirk_for(name=name))


def test_a_device_is_known_by_its_service_or_by_model_and_maker() -> None:
    assert asked(quirk_for(name="", services=[NONIN_SERVICE])) == {"measures": (NONIN_OXIMETRY,)}
    assert quirk_for(name="", manufacturer="Nonin Medical, Inc.", model="Model 9560").clock_since == 2010
    assert asked(quirk_for(name="", manufacturer="Somebody", model="9560")) == {}
    oximeter = quirk_for(name="e-Oximeter", manufacturer="ChoiceMMed", model="MD300C208S")
    assert asked(oximeter) == {"zero_is_absent": ("SpO2", "pulse"), "stale_without_sensor": True}


def test_a_device_without_a_row_asks_for_nothing() -> None:
    assert Quirk() == quirk_for(name="", manufacturer="", model="", firmware="", services=())
    assert Quirk() == quirk_for(
        name="Pulse 7", manufacturer="Maker", model="7", firmware="1.0", services=(0x1822, 0x180A)
    )


def test_each_row_knows_its_device_asks_for_something_and_says_where_that_is_from() -> None:
    assert len(ROWS) == len(QUIRKS)
    for row in QUIRKS:
        assert row.names or row.models or row.services or row.firmwares, row.name
        assert asked(row), row.name
        assert len(row.evidence) > 20, row.name


def test_each_row_has_a_vector_or_a_flow_test_of_its_device() -> None:
    files = ("gatt.json", "devices.json", "records.json", "serial.json", "x73.json")
    tested = {vector.device for file in files for vector in load(file)}
    here = Path(__file__)
    flows = [text.read_text("utf-8") for text in FOLDER.parent.rglob("test_*.py") if text != here]
    assert [name for name in ROWS if name not in tested and not any(name in text for text in flows)] == []


def test_the_table_is_read_without_anything_that_decodes() -> None:
    code = "import sys, wire.quirks; print([m for m in sys.modules if m in {'decimal', 'dataclasses', 'enum'} or m.startswith('wire.')])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "wire.quirks" in printed
    assert "wire.gatt" not in printed
    assert "decimal" not in printed
