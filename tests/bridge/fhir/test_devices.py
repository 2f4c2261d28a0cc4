"""The devices behind an Observation, from evidence alone."""

from typing import Any

import pytest

from bridge.fhir.codes import BLUETOOTH, EUI64, HUB_IDENTIFIER
from bridge.fhir.devices import Gateway, Phd, Specialization, phd_device, phg_device
from tests.bridge.fhir.corpus import INFORMATION, SYSTEM_ID
from wire.gatt.device_information import DeviceInformation, device_information

ADDRESS = bytes.fromhex("00E5DEAD77C3")
UNKNOWN = {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]}


def versions(resource: dict[str, Any]) -> dict[str, str]:
    return {one["type"]["coding"][0]["code"]: one["value"] for one in resource["version"]}


def test_a_device_is_known_by_its_system_id_as_the_guide_writes_it() -> None:
    phd = Phd(
        address=ADDRESS,
        information=device_information((*INFORMATION, SYSTEM_ID)),
        specializations=(Specialization(528388),),
    )
    resource = phd_device(phd)
    (identifier,) = resource["identifier"]
    assert (identifier["system"], identifier["value"]) == (EUI64, "FE-ED-AB-EE-DE-AD-77-C3")
    assert identifier["type"]["coding"][0]["code"] == "SYSID"
    assert "00-E5-DE-AD-77-C3" not in str(resource)


def test_a_device_without_system_id_is_known_by_its_bluetooth_address() -> None:
    (identifier,) = phd_device(Phd(address=ADDRESS))["identifier"]
    assert (identifier["system"], identifier["value"]) == (BLUETOOTH, "00-E5-DE-AD-77-C3")
    assert identifier["type"]["coding"][0]["code"] == "BTMAC"


def test_what_the_device_says_about_itself_is_there() -> None:
    resource = phd_device(Phd(address=ADDRESS, name="Nonin3230_501493200", information=device_information(INFORMATION)))
    assert resource["manufacturer"] == "Nonin Medical, Inc."
    assert resource["modelNumber"] == "Model 3230"
    assert resource["serialNumber"] == "501493200"
    assert resource["deviceName"] == [{"name": "Nonin3230_501493200", "type": "user-friendly-name"}]
    assert versions(resource) == {"531976": "1.2.3", "531974": "B", "531975": "7"}


def test_what_the_profile_demands_and_the_device_did_not_say_is_marked_unknown() -> None:
    resource = phd_device(Phd(address=ADDRESS))
    assert resource["_manufacturer"] == resource["_modelNumber"] == UNKNOWN
    assert resource["version"][0]["_value"] == UNKNOWN
    assert not {"manufacturer", "modelNumber", "serialNumber", "deviceName"} & set(resource)


@pytest.mark.parametrize("text", ["\x01\x02", "A\x00B\x1fC\x7f", "\ud800", " \t"])
def test_what_no_fhir_string_may_hold_is_taken_out_of_texts(text: str) -> None:
    resource = phd_device(Phd(address=ADDRESS, name=text, information=DeviceInformation(manufacturer=text)))
    printed = resource.get("manufacturer", "")
    assert printed in {"", "ABC"}
    assert ("manufacturer" in resource) == ("_manufacturer" not in resource)


def test_a_hub_is_known_by_its_name_in_the_registry() -> None:
    resource = phg_device(Gateway(hub="hub-0001"))
    assert resource["identifier"] == [{"system": HUB_IDENTIFIER, "value": "hub-0001"}]
    assert resource["type"]["coding"][0]["code"] == "531981"
    assert versions(resource) == {"531977": "1"}
