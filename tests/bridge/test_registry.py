"""Enrolling, assigning and revoking: what counts from when, and what is refused to the operator."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.assignment import Assignment, patient_for
from bridge.database import Database
from bridge.registry import Registry, RegistryError
from tests.bridge.hub import ADDRESS, Hub
from wire.errors import KeyFileError

NOBODY = frozenset[int | None]()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Database.open(tmp_path / "bridge.db") as database:
        yield Registry(database)


def patient(registry: Registry, at_us: int, device: bytes = ADDRESS) -> object:
    found = patient_for(registry.assignments("hub-0001"), device, NOBODY, at_us)
    return found if isinstance(found, str) else None


def test_an_enrolled_hub_is_found_by_the_thumbprint_of_its_key(registry: Registry) -> None:
    hub = Hub()
    assert registry.add_hub(hub.name, hub.public_pem, patient="Patient/a", now_us=100)
    found = registry.key(hub.kid)
    assert found is not None
    assert found.hub == hub.name
    assert found.public_key.public_numbers() == hub.key.public_key().public_numbers()
    assert registry.key(bytes(32)) is None


def test_enrolling_the_same_hub_again_changes_nothing(registry: Registry) -> None:
    hub = Hub()
    assert registry.add_hub(hub.name, hub.public_pem, patient="Patient/a", now_us=100)
    assert not registry.add_hub(hub.name, hub.public_pem, patient="Patient/a", now_us=200)
    assert len(registry.hubs()) == len(registry.assignments(hub.name)) == 1


def test_the_first_person_of_a_hub_has_all_its_readings_and_the_next_one_those_from_then_on(registry: Registry) -> None:
    hub = Hub()
    registry.add_hub(hub.name, hub.public_pem, patient="Patient/a", now_us=100)
    assert patient(registry, 1) == "Patient/a"
    registry.add_hub(hub.name, hub.public_pem, patient="Patient/b", now_us=200)
    assert [patient(registry, at) for at in (1, 199, 200, 300)] == ["Patient/a", "Patient/a", "Patient/b", "Patient/b"]


def test_a_device_is_assigned_from_and_until_what_the_operator_says(registry: Registry) -> None:
    hub = Hub()
    registry.add_hub(hub.name, hub.public_pem, patient=None, now_us=100)
    loan = Assignment(device=ADDRESS, patient="Patient/a", from_us=50, until_us=80)
    assert registry.assign(hub.name, loan, now_us=100)
    assert [patient(registry, at) for at in (49, 50, 79, 80)] == [None, "Patient/a", "Patient/a", None]


def test_a_key_belongs_to_one_hub_and_a_hub_has_one_key_at_a_time(registry: Registry) -> None:
    hub, other = Hub(), Hub(name="hub-0002")
    registry.add_hub(hub.name, hub.public_pem, patient=None, now_us=1)
    with pytest.raises(RegistryError, match="key of hub-0001"):
        registry.add_hub(other.name, hub.public_pem, patient=None, now_us=2)
    with pytest.raises(RegistryError, match="hub revoke --id hub-0001"):
        registry.add_hub(hub.name, other.public_pem, patient=None, now_us=2)
    assert [record.name for record in registry.hubs()] == ["hub-0001"]
    with pytest.raises(KeyFileError):
        registry.add_hub(hub.name, b"no key", patient=None, now_us=3)


def test_a_revoked_hub_is_believed_no_more_its_assignments_end_and_its_key_never_returns(registry: Registry) -> None:
    hub, renewed = Hub(), Hub()
    registry.add_hub(hub.name, hub.public_pem, patient="Patient/a", now_us=100)
    assert registry.revoke(hub.name, now_us=200) == 1
    assert registry.revoke(hub.name, now_us=300) == 0
    assert registry.key(hub.kid) is None
    assert registry.key_of_evidence(hub.kid) is not None
    assert registry.hubs()[0].revoked
    with pytest.raises(RegistryError, match="was revoked"):
        registry.add_hub(hub.name, hub.public_pem, patient=None, now_us=400)
    registry.add_hub(hub.name, renewed.public_pem, patient="Patient/b", now_us=400)
    assert registry.key(renewed.kid) is not None
    assert [patient(registry, at) for at in (150, 250, 450)] == ["Patient/a", None, "Patient/b"]


def test_a_hub_that_is_not_there_cannot_be_revoked_or_assigned(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="hub list"):
        registry.revoke("hub-0009", now_us=1)
    with pytest.raises(RegistryError, match="hub list"):
        registry.assign("hub-0009", Assignment(patient="Patient/a"), now_us=1)
