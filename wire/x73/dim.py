"""The domain information model as a manager knows it: a configuration and the objects it declares (20601 clause 6).

A `Configuration` is what a configuration report said, or what a specialization fixes; it can be kept as bytes. For
standard configurations it also says in which other layouts agents in the field are known to send an object, and
which objects they send undeclared: our own measured facts, never sent to anyone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

from wire.errors import DecodeError
from wire.x73.apdu import Attribute
from wire.x73.codes import Attr, ObjectClass, Partition, code32
from wire.x73.mder import U16, ListOf, Reader, Struct, Wire
from wire.x73.reports import ConfigObject, ConfigReport, HandleMap, MapEntry, Type

_T = TypeVar("_T")

METRICS: Final = frozenset({ObjectClass.METRIC_NU, ObjectClass.METRIC_ENUM, ObjectClass.METRIC_SA_RT})
SCANNERS: Final = frozenset({ObjectClass.SCAN_CFG_EPI, ObjectClass.SCAN_CFG_PERI})

FIRST_EXTENDED: Final = 0x4000
LAST_EXTENDED: Final = 0x7FFF

VALUE_MAP: Final[ListOf[MapEntry]] = ListOf(MapEntry)
HANDLE_MAPS: Final[ListOf[HandleMap]] = ListOf(HandleMap)
TYPES: Final[ListOf[Type]] = ListOf(Type)
CODES: Final = ListOf(U16)
ATTRIBUTES: Final[ListOf[Attribute]] = ListOf(Attribute)


@dataclass(frozen=True, slots=True, kw_only=True)
class DimObject:
    """One object of a configuration, its attributes by id."""

    object_class: int
    handle: int
    attributes: Mapping[int, bytes]

    @classmethod
    def of(cls, declared: ConfigObject) -> "DimObject":
        """The object that a configuration report declares; of a repeated attribute the last counts."""
        return cls(
            object_class=declared.object_class,
            handle=declared.handle,
            attributes={attribute.id: attribute.value for attribute in declared.attributes},
        )

    def value(self, attribute: int, wire: Wire[_T], default: _T) -> _T:
        """An attribute's decoded value, or the default where the object has none."""
        raw = self.attributes.get(attribute)
        return default if raw is None else read_all(wire, raw, attribute)

    @property
    def code(self) -> int | None:
        """The 32-bit code of the object's type."""
        raw = self.attributes.get(Attr.ID_TYPE)
        return None if raw is None else Type.decode(raw).code32

    @property
    def value_map(self) -> tuple[MapEntry, ...] | None:
        """How the object's observations are laid out in fixed reports; None if it is not reported that way."""
        return self.value(Attr.ATTRIBUTE_VAL_MAP, _OPTIONAL_MAP, None)


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What an agent can report, under its configuration id."""

    config_id: int
    objects: tuple[ConfigObject, ...]
    variants: Mapping[int, tuple[tuple[MapEntry, ...], ...]] = field(default_factory=dict)
    undeclared: tuple[ConfigObject, ...] = ()

    @classmethod
    def decode(cls, data: bytes) -> "Configuration":
        """The configuration in a configuration report's event-info, or as `encode` kept it."""
        return cls.of(ConfigReport.decode(data))

    @classmethod
    def of(cls, report: ConfigReport) -> "Configuration":
        """The configuration that a report declares; DecodeError if one of its own attributes is malformed."""
        configuration = cls(config_id=report.config_id, objects=report.objects)
        configuration.check()
        return configuration

    def report(self) -> ConfigReport:
        """As an agent reports it."""
        return ConfigReport(config_id=self.config_id, objects=self.objects)

    def encode(self) -> bytes:
        """As bytes, to be kept."""
        return self.report().encode()

    @property
    def standard(self) -> bool:
        """Whether a specialization defines it, and not this agent."""
        return 0 < self.config_id < FIRST_EXTENDED

    @cached_property
    def by_handle(self) -> Mapping[int, DimObject]:
        """The declared objects."""
        return {declared.handle: DimObject.of(declared) for declared in self.objects}

    @cached_property
    def undeclared_by_handle(self) -> Mapping[int, DimObject]:
        """What agents are known to send without declaring it."""
        return {declared.handle: DimObject.of(declared) for declared in self.undeclared}

    def of_class(self, *classes: int) -> tuple[DimObject, ...]:
        """The objects of these classes, in the order declared."""
        return tuple(each for each in self.by_handle.values() if each.object_class in classes)

    @property
    def scanners(self) -> tuple[DimObject, ...]:
        """Episodic and periodic scanners."""
        return self.of_class(*SCANNERS)

    @property
    def stores(self) -> tuple[DimObject, ...]:
        """PM-stores."""
        return self.of_class(ObjectClass.PMSTORE)

    def check(self) -> None:
        """Decode every attribute that reports are read by, so that a fault shows when the configuration comes."""
        if len(self.by_handle) != len(self.objects):
            raise DecodeError("two objects of the configuration have the same handle", 0)
        for each in self.by_handle.values():
            if each.handle == 0:
                raise DecodeError("handle 0 is the MDS's own", 0)
            if each.object_class in METRICS and each.code is None:
                raise DecodeError(f"object {each.handle} has no type", 0)
            _ = each.value_map
            each.value(Attr.SCAN_HANDLE_ATTR_VAL_MAP, HANDLE_MAPS, ())
            each.value(Attr.SUPPLEMENTAL_TYPES, TYPES, ())
            each.value(Attr.ID_PHYSIO_LIST, CODES, ())
            each.value(Attr.UNIT_CODE, U16, 0)
            each.value(Attr.ID_PHYSIO, U16, 0)


class _OptionalMap:
    """A value map, typed so that its absence can be the default."""

    def read(self, reader: Reader, what: str) -> tuple[MapEntry, ...] | None:
        return VALUE_MAP.read(reader, what)

    def write(self, value: tuple[MapEntry, ...] | None, out: bytearray) -> None:
        VALUE_MAP.write(value or (), out)


_OPTIONAL_MAP: Final = _OptionalMap()


def read_all(wire: Wire[_T], raw: bytes, attribute: int, offset: int = 0) -> _T:
    """One attribute's value, its bytes used up."""
    reader = Reader(raw)
    what = f"attribute {attribute}"
    try:
        value = wire.read(reader, what)
        reader.finish(what)
    except DecodeError as error:
        raise DecodeError(error.message, error.offset + offset) from None
    return value


def attribute(id_: int, value: bytes | Struct) -> Attribute:
    """An attribute with its value encoded."""
    return Attribute(id=int(id_), value=value if isinstance(value, bytes) else value.encode())


def encoded(wire: Wire[_T], value: _T) -> bytes:
    """A value's bytes."""
    out = bytearray()
    wire.write(value, out)
    return bytes(out)


def type_of(code: int) -> Type:
    """The TYPE of a 32-bit code."""
    return Type(partition=code >> 16, code=code & 0xFFFF)


def unit_code(raw: int) -> int:
    """The 32-bit code of a unit."""
    return code32(Partition.DIM, raw)
