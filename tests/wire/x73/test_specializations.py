"""The specializations as data: whole, in agreement with the tables of facts, and each with its sources."""

import pytest

from tests.wire.agents import mds, report
from tests.wire.x73.support import AGENT_ID, CLOCK
from wire.decoding import information_of, specializations_of
from wire.nomenclature import UCUM
from wire.x73.codes import Attr
from wire.x73.dim import Configuration
from wire.x73.evidence import mds_of
from wire.x73.mds import mds_attributes
from wire.x73.specializations import BY_NAME, SPECIALIZATIONS, STANDARD, Specialization
from wire.x73.units import EXTRA, ucum

NUMBERS = {
    10404, 10406, 10407, 10408, 10415, 10417, 10418, 10420, 10421, 10424, 10425, 10441, 10442, 10471, 10472,
}  # fmt: skip


def test_every_specialization_that_the_product_names_is_there() -> None:
    assert set(SPECIALIZATIONS) == NUMBERS
    assert len(BY_NAME) == len(NUMBERS)
    assert set(STANDARD) == {0x0190, 0x0191, 0x02BC, 0x0320, 0x05DC, 0x06A4}


@pytest.mark.parametrize("specialization", SPECIALIZATIONS.values(), ids=lambda each: each.name)
def test_a_specialization_has_sources_and_configurations_that_hold_together(specialization: Specialization) -> None:
    assert specialization.sources
    assert 4096 <= specialization.profile < 4200
    for configuration in (specialization.extended, *specialization.standard):
        configuration.check()
        assert configuration.objects == Configuration.decode(configuration.encode()).objects
        assert configuration.standard == (configuration in specialization.standard)
        for declared in configuration.by_handle.values():
            unit = declared.attributes.get(Attr.UNIT_CODE)
            if unit is not None:
                assert not ucum(262144 + int.from_bytes(unit, "big")).startswith("{mdc")
            assert declared.value_map is not None
            assert Attr.TIME_STAMP_ABS in [entry.attribute for entry in declared.value_map]


@pytest.mark.parametrize(("config_id", "length"), [(0x02BC, 108), (0x05DC, 44), (0x06A4, 44), (0x0320, 44)])
def test_a_standard_configuration_is_as_long_as_in_the_independent_tables(config_id: int, length: int) -> None:
    encoded = STANDARD[config_id].encode()
    assert int.from_bytes(encoded[4:6], "big") == length
    assert len(encoded) == 6 + length


def test_units_that_only_20601_reports_do_not_contradict_the_others() -> None:
    for code, unit in EXTRA.items():
        assert UCUM.get(code, unit) == unit


def test_the_mds_says_what_a_technician_reads() -> None:
    attributes = mds_attributes(
        SPECIALIZATIONS[10421],
        system_id=AGENT_ID,
        config_id=0x4000,
        manufacturer="Maker",
        model="Model 7",
        serial="0042",
        clock=CLOCK,
    )
    said = report(b"\0", 0x0190, mds(*attributes))
    information = information_of(said)
    assert (information.manufacturer, information.model, information.serial) == ("Maker", "Model 7", "0042")
    assert [code & 0xFFFF for code, _ in specializations_of(said)] == [4117]
    shown = mds_of(said).clock(base_offset=False)
    assert shown is not None
    assert shown[0].isoformat() == "2026-11-21T19:33:46.5"
    for each in attributes:
        if each.id in (Attr.ID_MODEL, Attr.ID_PROD_SPECN):
            assert len(each.value) % 2 == 0


def test_what_open_nomenclature_files_do_not_agree_on_is_not_claimed() -> None:
    """8410976 is a pressure of one name or another, and 8454267 says what a session was and not how long."""
    apnoea = {each.code: each for each in SPECIALIZATIONS[10424].extended.by_handle.values()}
    assert set(apnoea) == {8410792, 8410712}
    assert apnoea[8410792].attributes[Attr.UNIT_CODE] == (264704 - 262144).to_bytes(2, "big")
    assert ucum(264704) == "/h"
    cardio = {each.code: each for each in SPECIALIZATIONS[10441].extended.by_handle.values()}
    assert Attr.UNIT_CODE not in cardio[8454267].attributes
    assert cardio[8454269].attributes[Attr.UNIT_CODE] == (264320 - 262144).to_bytes(2, "big")


@pytest.mark.parametrize("configuration", STANDARD.values(), ids=lambda each: f"{each.config_id:04X}")
def test_the_layouts_of_a_standard_configuration_s_object_are_told_apart_by_their_size(
    configuration: Configuration,
) -> None:
    for handle, declared in configuration.by_handle.items():
        layouts = (declared.value_map or (), *configuration.variants[handle])
        assert len(layouts) in (2, 4)
        assert len({sum(entry.size for entry in layout) for layout in layouts}) == len(layouts)
