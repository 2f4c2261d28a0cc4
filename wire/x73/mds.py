"""The MDS attributes of an agent: what GET returns, written as the standard asks (20601 6.3.2)."""

from datetime import datetime

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
from wire.x73.times import encode_absolute

_NO_SYNC = 7936
"""MDC_TIME_SYNC_NONE."""
_CENTISECONDS = 1
_SERIAL = 1


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
