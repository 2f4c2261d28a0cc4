"""The MDS attributes of an agent: what GET returns, written as the standard asks and read for people (20601 6.3.2)."""

from collections.abc import Mapping
from datetime import datetime

from wire.errors import DecodeError
from wire.x73.apdu import Attribute
from wire.x73.codes import Attr, MdsTime
from wire.x73.dim import attribute, encoded
from wire.x73.mder import OCTETS, U16
from wire.x73.services import (
    MdsTimeInfo,
    ProductionEntry,
    ProductionSpec,
    SystemModel,
    TypeVersion,
    TypeVersions,
)
from wire.x73.specializations import Specialization
from wire.x73.times import decode_absolute, encode_absolute

_NO_SYNC = 7936
"""MDC_TIME_SYNC_NONE."""
_CENTISECONDS = 1
_SERIAL, _FIRMWARE = 1, 5


def mds_attributes(
    specialization: Specialization,
    *,
    system_id: bytes,
    config_id: int,
    manufacturer: str = "Stafet",
    model: str = "Simulated",
    serial: str = "1",
    clock: datetime | None = None,
) -> tuple[Attribute, ...]:
    """The mandatory attributes and a clock; without `clock` the agent says that its clock wants to be set."""
    state = MdsTime.REAL_TIME_CLOCK | MdsTime.SET_CLOCK
    if clock is None:
        state |= MdsTime.MGR_SET_TIME
    info = MdsTimeInfo(
        state=int(state),
        sync_protocol=_NO_SYNC,
        sync_accuracy=0xFFFF_FFFF,
        resolution_abs=_CENTISECONDS,
        resolution_rel=0,
        resolution_high=0,
    )
    types = TypeVersions(versions=(TypeVersion(type=specialization.profile, version=specialization.version),))
    names = SystemModel(manufacturer=_even(manufacturer), model_number=_even(model))
    production = ProductionSpec(entries=(ProductionEntry(spec_type=_SERIAL, component=0, spec=_even(serial)),))
    time = bytes(8) if clock is None else encode_absolute(clock)
    return (
        attribute(Attr.SYS_TYPE_SPEC_LIST, types),
        attribute(Attr.ID_MODEL, names),
        attribute(Attr.SYS_ID, encoded(OCTETS, system_id)),
        attribute(Attr.DEV_CONFIG_ID, encoded(U16, config_id)),
        attribute(Attr.ID_PROD_SPECN, production),
        attribute(Attr.MDS_TIME_INFO, info),
        attribute(Attr.TIME_ABS, time),
    )


def identity(system_id: bytes, config_id: int) -> tuple[Attribute, ...]:
    """The attributes that every MDS has and a manager may not do without, of an agent that says no more of itself."""
    return (
        attribute(Attr.SYS_TYPE_SPEC_LIST, TypeVersions(versions=())),
        attribute(Attr.ID_MODEL, SystemModel(manufacturer=b"", model_number=b"")),
        attribute(Attr.SYS_ID, encoded(OCTETS, system_id)),
        attribute(Attr.DEV_CONFIG_ID, encoded(U16, config_id)),
    )


def _even(text: str) -> bytes:
    """Printable ASCII of an even size (A.3.1)."""
    raw = text.encode("ascii", "replace")
    return raw + b" " * (len(raw) % 2)


def describe_mds(attributes: Mapping[int, bytes]) -> dict[str, str]:
    """The MDS for a technician: what can be read, and nothing else; agents leave much of it empty."""
    described: dict[str, str] = {}
    try:
        model = SystemModel.decode(attributes.get(Attr.ID_MODEL, b""))
        described["manufacturer"] = _text(model.manufacturer)
        described["model"] = _text(model.model_number)
    except DecodeError:
        pass
    try:
        for entry in ProductionSpec.decode(attributes.get(Attr.ID_PROD_SPECN, b"")).entries:
            name = {_SERIAL: "serial number", _FIRMWARE: "firmware revision"}.get(entry.spec_type)
            if name is not None:
                described[name] = _text(entry.spec)
    except DecodeError:
        pass
    try:
        versions = TypeVersions.decode(attributes.get(Attr.SYS_TYPE_SPEC_LIST, b"")).versions
        described["specializations"] = ", ".join(str(each.type) for each in versions)
    except DecodeError:
        pass
    try:
        time = decode_absolute(attributes.get(Attr.TIME_ABS, b""))
        described["clock"] = time.isoformat() if time.known else "not set"
    except DecodeError:
        pass
    return {name: text for name, text in described.items() if text}


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace").rstrip("\0 ")
