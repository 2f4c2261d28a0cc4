"""Evidence of 20601 agents for tests: reports that others recorded, and some put together here byte by byte."""

from collections.abc import Iterable
from datetime import datetime

from tests.wire.envelopes import CLOCK
from tests.wire.x73.support import AGENT_ID, SESSION, vector
from wire.evidence import AgentContext, AgentContextKind, AgentReport, Clock, Device
from wire.x73.apdu import Attribute
from wire.x73.codes import Attr
from wire.x73.dim import Configuration
from wire.x73.mds import mds_attributes
from wire.x73.reports import MapEntry
from wire.x73.specializations import SPECIALIZATIONS, numeric

MDS_READ = SESSION["mds"][20:]
"""The almost empty attribute list of the measured session: count, length, 17 attributes."""
COUNTED = Configuration(
    config_id=0x4001,
    objects=(
        numeric(1, 150456, 544, stamp=MapEntry(attribute=Attr.TIME_STAMP_REL, size=4)),
        numeric(2, 149530, 2720, stamp=MapEntry(attribute=Attr.TIME_STAMP_REL_HI_RES, size=8)),
        numeric(3, 150448, 544, stamp=MapEntry(attribute=Attr.TIME_STAMP_BO, size=8)),
        numeric(4, 188736, 1731, stamp=None),
    ),
)
"""An agent with every kind of clock but the absolute one."""


def octets(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def attribute_list(*attributes: Attribute | tuple[int, bytes]) -> bytes:
    """AttributeList: count, length, items."""
    pairs = [(each.id, each.value) if isinstance(each, Attribute) else each for each in attributes]
    body = b"".join(int(id_).to_bytes(2, "big") + octets(value) for id_, value in pairs)
    return len(pairs).to_bytes(2, "big") + octets(body)


def context(kind: AgentContextKind, value: bytes, *, before_us: int = 1_000_000, clock: Clock = CLOCK) -> AgentContext:
    return AgentContext(kind=kind, mono_us=clock.mono_us - before_us, value=value)


def mds(*attributes: Attribute | tuple[int, bytes], before_us: int = 1_000_000, clock: Clock = CLOCK) -> AgentContext:
    """The MDS as the hub read it, some time before the report."""
    return context(AgentContextKind.MDS, attribute_list(*attributes), before_us=before_us, clock=clock)


def full_mds(number: int, config_id: int, shown: datetime, *, clock: Clock = CLOCK) -> AgentContext:
    """The mandatory attributes of a specialization and a clock that is set."""
    return mds(
        *mds_attributes(
            SPECIALIZATIONS[number],
            system_id=AGENT_ID,
            config_id=config_id,
            manufacturer="A&D Medical",
            model="UC-321PBT-C",
            serial="5061250042",
            clock=shown,
        ),
        clock=clock,
    )


def event_report(event_type: int, info: bytes, *, handle: int = 0, invoke_id: int = 1, confirmed: bool = True) -> bytes:
    """A whole APDU with an event report."""
    event = handle.to_bytes(2, "big") + b"\xff\xff\xff\xff" + event_type.to_bytes(2, "big") + octets(info)
    rose = b"\x01\x01" if confirmed else b"\x01\x00"
    return b"\xe7\x00" + octets(octets(invoke_id.to_bytes(2, "big") + rose + octets(event)))


def fixed(*observations: tuple[int, bytes], invoke_id: int = 1, number: int = 0) -> bytes:
    """A confirmed fixed scan report of the MDS."""
    body = b"".join(handle.to_bytes(2, "big") + octets(data) for handle, data in observations)
    info = b"\xf0\x00" + number.to_bytes(2, "big") + len(observations).to_bytes(2, "big") + octets(body)
    return event_report(0x0D1D, info, invoke_id=invoke_id)


def variable(*observations: tuple[int, bytes], invoke_id: int = 1) -> bytes:
    """A confirmed variable scan report; each observation has its attribute list."""
    body = b"".join(handle.to_bytes(2, "big") + attributes for handle, attributes in observations)
    info = b"\xf0\x00\x00\x00" + len(observations).to_bytes(2, "big") + octets(body)
    return event_report(0x0D1E, info, invoke_id=invoke_id)


SEGMENT_STORE = 32


def segment_info(instance: int = 7, *, absolute: bool = True) -> bytes:
    """A PM-segment whose entries are a weight (FLOAT, object 1) each, with an absolute time before it or without."""
    element = b"\x00\x06" + b"\x00\x02\xe1\x40" + b"\x00\x01" + b"\x00\x01\x00\x04\x0a\x56\x00\x04"
    entry_map = (b"\x80\x00" if absolute else b"\x00\x00") + b"\x00\x01" + octets(element)
    return instance.to_bytes(2, "big") + attribute_list((Attr.PM_SEG_MAP, entry_map))


def segment_data(*entries: bytes, instance: int = 7, first: int = 0, invoke_id: int = 1) -> bytes:
    """A confirmed event report with entries of a segment."""
    descr = instance.to_bytes(2, "big") + first.to_bytes(4, "big") + len(entries).to_bytes(4, "big") + b"\xc0\x00"
    return event_report(0x0D21, descr + octets(b"".join(entries)), handle=SEGMENT_STORE, invoke_id=invoke_id)


def report(
    apdu: bytes,
    configuration: int | bytes = 0x0190,
    *items: AgentContext,
    received: Clock = CLOCK,
    system_id: bytes = AGENT_ID,
) -> AgentReport:
    return AgentReport(
        device=Device(address=system_id),
        received=received,
        configuration=configuration,
        apdu=apdu,
        context=tuple(items),
    )


def recorded(id_: str, *items: AgentContext, received: Clock = CLOCK) -> AgentReport:
    """A report of tests/vectors/x73.json, under the standard configuration that it was sent with."""
    case = vector(id_)
    return report(case.value, int(case.kind.rpartition(":")[2], 16), *items, received=received)


def with_invoke_id(apdu: bytes, invoke_id: int) -> bytes:
    """The same APDU, sent again."""
    return apdu[:6] + invoke_id.to_bytes(2, "big") + apdu[8:]


def cut_anywhere(data: bytes) -> Iterable[bytes]:
    return (data[:length] for length in range(len(data)))
