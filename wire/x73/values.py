"""What one observation's value attribute means: numbers, compounds, codes, bits, text, samples (20601 6.3).

`Metric` is an object as it is now: what the configuration declared, changed by what was reported since (an attribute
holds until it is reported again). Values, time stamps and measurement status are of one observation only.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Annotated, Any, Final

from wire.errors import DecodeError
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Samples, Special
from wire.numbers import decode_float, decode_sfloat
from wire.x73.codes import LASTING, Attr, MetricSpec, code32
from wire.x73.dim import CODES, TYPES, read_all, unit_code
from wire.x73.mder import FLOAT, U16, U32, ListOf, Reader, Struct, Tolerance, Unsigned8, Unsigned16
from wire.x73.reports import MapEntry, Type
from wire.x73.units import ucum

STATUS: Final[Mapping[int, MeasurementStatus]] = MappingProxyType(
    {
        0x8000: MeasurementStatus.INVALID,
        0x4000: MeasurementStatus.QUESTIONABLE,
        0x2000: MeasurementStatus.NOT_AVAILABLE,
        0x1000: MeasurementStatus.CALIBRATING,
        0x0800: MeasurementStatus.TEST_DATA,
        0x0400: MeasurementStatus.DEMO_DATA,
        0x0080: MeasurementStatus.VALIDATED,
        0x0040: MeasurementStatus.EARLY_ESTIMATE,
        0x0020: MeasurementStatus.ONGOING,
        0x0002: MeasurementStatus.THRESHOLD_ERROR,
        0x0001: MeasurementStatus.THRESHOLDING_DISABLED,
    }
)
"""MeasurementStatus (A.3.2); the last two as ISO/IEEE 11073-10201 uses bits 14 and 15."""


FRAMING: Final = frozenset(
    {
        Attr.MSMT_STAT,
        Attr.TIME_STAMP_ABS,
        Attr.TIME_STAMP_BO,
        Attr.TIME_STAMP_REL,
        Attr.TIME_STAMP_REL_HI_RES,
    }
)
"""What an observation says around its value."""

_CONTEXT: Final = Context(prec=28)
"""A scale whose ratio has no finite decimal is rounded at 28 digits; samples have at most 10."""
_SIGNED: Final = 255
_STATUS: Final = int(Attr.MSMT_STAT)
_UNIT_CODE: Final = int(Attr.UNIT_CODE)
_EXTENDED_RANGE: Final = 0x1000
_SIMPLE_LIST: Final = ListOf(FLOAT)
_TICKS_PER_MS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class NuObsValue(Struct):
    """NuObsValue (A.3.3)."""

    metric: Unsigned16
    status: Unsigned16
    unit: Unsigned16
    value: Annotated[Decimal | Special, FLOAT]


@dataclass(frozen=True, slots=True, kw_only=True)
class SaSpec(Struct):
    """SaSpec (A.3.4)."""

    array_size: Unsigned16
    sample_size: Unsigned8
    significant_bits: Unsigned8
    flags: Unsigned16


_OBSERVED_LIST: Final[ListOf[NuObsValue]] = ListOf(NuObsValue)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How an observation of one size lies in a fixed report, worked out once per object and size.

    If it is nothing but a value and an absolute time, which almost all are, `quick` says where these begin and end.
    """

    entries: tuple[tuple[int, int, int], ...]
    """Attribute, where it begins, where it ends."""
    quick: "tuple[Content, int, int, int | None] | None"
    """The value's maker, where the value begins and ends, and where the time begins."""
    warning: tuple[Tolerance, str] | None

    def slices(self, data: bytes) -> dict[int, bytes]:
        """The attributes in an observation's bytes."""
        return {attribute: data[start:end] for attribute, start, end in self.entries}

    @classmethod
    def of(cls, entries: Sequence[MapEntry], warning: tuple[Tolerance, str] | None) -> "Layout":
        """The layout of a value map."""
        placed: list[tuple[int, int, int]] = []
        at = 0
        for entry in entries:
            placed.append((entry.attribute, at, at + entry.size))
            at += entry.size
        quick: tuple[Content, int, int, int | None] | None = None
        content = CONTENTS.get(placed[0][0]) if placed else None
        if content is not None and (len(placed) == 1 or (len(placed) == 2 and placed[1][0] == Attr.TIME_STAMP_ABS)):
            quick = content, placed[0][1], placed[0][2], placed[1][1] if len(placed) == 2 else None
        return cls(entries=tuple(placed), quick=quick, warning=warning)


class Metric:
    """One object as it is now: declared, then changed by what was reported."""

    __slots__ = ("attributes", "category", "code", "components", "handle", "layouts", "supplemental", "unit")

    def __init__(self, handle: int, attributes: Mapping[int, bytes]) -> None:
        self.handle = handle
        self.attributes = dict(attributes)
        self.refresh()

    def refresh(self) -> None:
        """Work out again what every observation needs."""
        self.layouts: dict[int, Layout] = {}
        get = self.attributes.get
        raw = get(Attr.ID_TYPE)
        type_ = None if raw is None else Type.decode(raw)
        partition = get(Attr.METRIC_ID_PART)
        metric_partition = 0 if type_ is None else type_.partition
        if partition is not None:
            metric_partition = read_all(U16, partition, Attr.METRIC_ID_PART)
        physio = get(Attr.ID_PHYSIO)
        if physio is not None:
            self.code: int | None = code32(metric_partition, read_all(U16, physio, Attr.ID_PHYSIO))
        else:
            self.code = None if type_ is None else type_.code32
        listed = get(Attr.ID_PHYSIO_LIST)
        ids = () if listed is None else read_all(CODES, listed, Attr.ID_PHYSIO_LIST)
        self.components = tuple(code32(metric_partition, each) for each in ids)
        unit = get(Attr.UNIT_CODE)
        self.unit = None if unit is None else _unit(unit)
        types = get(Attr.SUPPLEMENTAL_TYPES)
        listed_types = () if types is None else read_all(TYPES, types, Attr.SUPPLEMENTAL_TYPES)
        self.supplemental = tuple(each.code32 for each in listed_types)
        spec = get(Attr.METRIC_SPEC_SMALL)
        self.category = () if spec is None else _category(read_all(U16, spec, Attr.METRIC_SPEC_SMALL))

    def change(self, reported: Mapping[int, bytes]) -> None:
        """Take over what a report says about the object itself."""
        if LASTING.isdisjoint(reported):
            return
        attributes = self.attributes
        changed = {id_: raw for id_, raw in reported.items() if id_ in LASTING and attributes.get(id_) != raw}
        if not changed:
            return
        self.attributes = attributes | changed
        try:
            self.refresh()
        except DecodeError:
            self.attributes = attributes
            self.refresh()
            raise

    def change_unit(self, raw: bytes) -> None:
        """Take over a unit alone: scales that switch between kg and lb say it with every reading."""
        if self.attributes.get(_UNIT_CODE) != raw:
            self.unit = _unit(raw)
            self.attributes[_UNIT_CODE] = raw

    def partition(self, attribute: int) -> int:
        """The partition that an attribute names, or that of the object's type."""
        raw = self.attributes.get(attribute)
        if raw is not None:
            return read_all(U16, raw, attribute)
        return 0 if self.code is None else self.code >> 16


_UNITS: Final[dict[bytes, str]] = {}


def _unit(raw: bytes) -> str:
    """The UCUM unit of a Unit-Code's bytes."""
    unit = _UNITS.get(raw)
    if unit is None:
        # At most one entry for each 16-bit code.
        unit = _UNITS[raw] = ucum(unit_code(read_all(U16, raw, Attr.UNIT_CODE)))
    return unit


Frame = tuple[DeviceTime | None, tuple[MeasurementStatus, ...], int | None]
"""What an observation says around its value: time, status, person."""


def measure(
    metric: Metric, reported: Mapping[int, bytes], at: int, time: DeviceTime | None, person: int | None
) -> Measurement | None:
    """The measurement in one observation; None if it has no value, or none that is known."""
    for attribute in reported:
        content = CONTENTS.get(attribute)
        if content is not None:
            break
    else:
        return None
    word = reported.get(_STATUS)
    status = () if word is None else decode_status(read_all(U16, word, Attr.MSMT_STAT, at))
    return content(metric, reported[attribute], at, (time, status, person))


def _built(
    metric: Metric,
    at: int,
    frame: Frame,
    *,
    code: int | None = None,
    stated: tuple[MeasurementStatus, ...] = (),
    **content: Any,
) -> Measurement:
    """A measurement with its frame; `stated` is a status that the value itself carries."""
    code = metric.code if code is None else code
    if code is None:
        raise DecodeError(f"object {metric.handle} has a value and no type", at)
    time, status, person = frame
    if stated:
        status += tuple(each for each in stated if each not in status)
    return Measurement(
        code=code,
        device_time=time,
        supplemental=metric.supplemental,
        status=status + metric.category if metric.category else status,
        user=person,
        clock_set=time is None or time.known,
        **content,
    )


def decode_status(word: int) -> tuple[MeasurementStatus, ...]:
    """The words of a MeasurementStatus; its other bits are reserved."""
    return tuple(status for bit, status in STATUS.items() if word & bit) if word else ()


def _category(spec: int) -> tuple[MeasurementStatus, ...]:
    words = (
        (MetricSpec.CAT_MANUAL, MeasurementStatus.MANUALLY_ENTERED),
        (MetricSpec.CAT_SETTING, MeasurementStatus.SETTING),
    )
    return tuple(status for bit, status in words if spec & bit)


Content = Callable[[Metric, bytes, int, Frame], Measurement | None]
"""Makes the measurement of an object's value attribute: its bytes, where they lie, and the frame."""

_DIMENSIONLESS: Final = "1"


def _unit_of(value: Decimal | Special, unit: str | None) -> str | None:
    """A special value is no number and has no unit."""
    return None if isinstance(value, Special) else unit or _DIMENSIONLESS


def _part(code: int, value: Decimal | Special, unit: str | None, status: tuple[MeasurementStatus, ...]) -> Measurement:
    return Measurement(code=code, value=value, unit=_unit_of(value, unit), status=status)


def _basic(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement:
    if len(data) != 2:
        raise DecodeError(f"an SFLOAT of {len(data)} bytes", at)
    return _number(metric, decode_sfloat(data[0] << 8 | data[1]), at, frame)


def _simple(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement:
    if len(data) != 4:
        raise DecodeError(f"a FLOAT of {len(data)} bytes", at)
    return _number(metric, decode_float(int.from_bytes(data, "big")), at, frame)


def _number(metric: Metric, value: Decimal | Special, at: int, frame: Frame) -> Measurement:
    """One number. Almost every observation is one, so it is built without a detour."""
    code = metric.code
    if code is None or metric.category:
        return _built(metric, at, frame, value=value, unit=_unit_of(value, metric.unit))
    time, status, person = frame
    return Measurement(
        code=code,
        value=value,
        unit=None if isinstance(value, Special) else metric.unit or _DIMENSIONLESS,
        device_time=time,
        supplemental=metric.supplemental,
        status=status,
        user=person,
        clock_set=time is None or time.known,
    )


def _observed(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement:
    observed = NuObsValue.decode(data, offset=at)
    value = observed.value
    return _built(
        metric,
        at,
        frame,
        code=code32(metric.partition(Attr.METRIC_ID_PART), observed.metric),
        stated=decode_status(observed.status),
        value=value,
        unit=_unit_of(value, ucum(unit_code(observed.unit))),
    )


def _compound_of(metric: Metric, values: tuple[Decimal | Special, ...], at: int, frame: Frame) -> Measurement:
    if not values:
        raise DecodeError("a compound value without components", at)
    if len(values) != len(metric.components):
        raise DecodeError(f"{len(values)} components, {len(metric.components)} are declared", at)
    parts = tuple(_part(code, value, metric.unit, ()) for code, value in zip(metric.components, values, strict=True))
    return _built(metric, at, frame, components=parts)


def _compound_basic(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement:
    count = data[0] << 8 | data[1] if len(data) >= 4 else -1
    if count < 0 or data[2] << 8 | data[3] != 2 * count or len(data) != 4 + 2 * count:
        raise DecodeError(f"a compound of {len(data)} bytes whose lengths disagree", at)
    values = tuple(decode_sfloat(data[each] << 8 | data[each + 1]) for each in range(4, len(data), 2))
    return _compound_of(metric, values, at, frame)


def _compound_simple(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement:
    values = read_all(_SIMPLE_LIST, data, Attr.NU_CMPD_VAL_OBS_SIMP, at)
    return _compound_of(metric, values, at, frame)


def _compound_observed(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement:
    values = read_all(_OBSERVED_LIST, data, Attr.NU_CMPD_VAL_OBS, at)
    if not values:
        raise DecodeError("a compound value without components", at)
    partition = metric.partition(Attr.METRIC_ID_PART)
    parts = tuple(
        _part(code32(partition, each.metric), each.value, ucum(unit_code(each.unit)), decode_status(each.status))
        for each in values
    )
    return _built(metric, at, frame, components=parts)


def _enum_oid(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement:
    term = read_all(U16, data, Attr.ENUM_OBS_VAL_SIMP_OID, at)
    return _built(metric, at, frame, coded=code32(metric.partition(Attr.ENUM_OBS_VAL_PART), term))


def _enum_bits(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement | None:
    """BITS count from the most significant; only what is set is reported, as for the same words over BLE."""
    size = len(data) * 8
    if size not in (16, 32):
        raise DecodeError(f"a bit string of {len(data)} bytes", at)
    word = int.from_bytes(data, "big")
    bits = {bit: True for bit in range(size) if word >> (size - 1 - bit) & 1}
    return _built(metric, at, frame, bits=bits) if bits else None


def _enum_text(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement:
    """A measurement has no place for text: it says that the device's bytes hold one."""
    if len(data) < 2 or int.from_bytes(data[:2], "big") != len(data) - 2:
        raise DecodeError(f"a text of {len(data)} bytes whose length disagrees", at)
    return _built(metric, at, frame, absent="as-text")


def _enum_observed(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement | None:
    reader = Reader(data)
    try:
        code = code32(metric.partition(Attr.METRIC_ID_PART), reader.u16("metric id"))
        stated = decode_status(reader.u16("status"))
        choice = reader.u16("choice of the value")
        value = reader.window(reader.u16("length of the value"), "the value")
        reader.finish("the enumeration")
    except DecodeError as error:
        raise DecodeError(error.message, error.offset + at) from None
    inner = Metric(metric.handle, metric.attributes)
    inner.code = code
    content = {1: _enum_oid, 2: _enum_text, 16: _enum_bits}.get(choice)
    if content is None:
        raise DecodeError("no enumeration value has this choice", at + 4)
    time, status, person = frame
    status += tuple(each for each in stated if each not in status)
    return content(inner, value.rest(), at + 8, (time, status, person))


def _samples(metric: Metric, data: bytes, at: int, frame: Frame) -> Measurement:
    """A Simple-Sa-Observed-Value: samples of one size, scaled to absolute values (6.3.5.3)."""
    spec_raw, period = metric.attributes.get(Attr.SA_SPECN), metric.attributes.get(Attr.TIME_PD_SAMP)
    if spec_raw is None or period is None:
        raise DecodeError(f"samples of object {metric.handle}, which has no specification or period", at)
    spec = SaSpec.decode(spec_raw)
    width = spec.sample_size // 8
    if width not in (1, 2, 4) or spec.sample_size % 8:
        raise DecodeError(f"samples of {spec.sample_size} bits", at)
    data = _unprefixed(data, at, spec.array_size * width)
    if not data or len(data) % width:
        raise DecodeError(f"{len(data)} bytes of samples of {spec.sample_size} bits", at)
    signed = spec.significant_bits == _SIGNED
    mask = (1 << spec.significant_bits) - 1 if spec.flags & _EXTENDED_RANGE and not signed else -1
    values = tuple(
        Decimal(int.from_bytes(data[each : each + width], "big", signed=signed) & mask)
        for each in range(0, len(data), width)
    )
    origin, factor, lower, upper = _scale(metric, signed=signed)
    ticks = Decimal(read_all(U32, period, Attr.TIME_PD_SAMP))
    samples = Samples(
        origin=origin,
        factor=factor,
        unit=metric.unit or _DIMENSIONLESS,
        period_ms=_CONTEXT.divide(ticks, Decimal(_TICKS_PER_MS)),
        data=values,
        lower=lower,
        upper=upper,
    )
    return _built(metric, at, frame, samples=samples)


def _unprefixed(data: bytes, at: int, size: int) -> bytes:
    """The samples without the length of their octet string, which agents leave out in fixed reports."""
    if len(data) >= 2 and int.from_bytes(data[:2], "big") == len(data) - 2:
        return data[2:]
    if len(data) == size:
        return data
    raise DecodeError(f"{len(data)} bytes of samples, {size} are specified", at)


def _scale(metric: Metric, *, signed: bool) -> tuple[Decimal, Decimal, Decimal | None, Decimal | None]:
    """Origin, factor, lowest and highest absolute value."""
    for attribute, width in ((Attr.SCALE_SPECN_I8, 1), (Attr.SCALE_SPECN_I16, 2), (Attr.SCALE_SPECN_I32, 4)):
        raw = metric.attributes.get(attribute)
        if raw is None:
            continue
        if len(raw) != 8 + 2 * width:
            raise DecodeError(f"a scale of {len(raw)} bytes", 0)
        low, high = (decode_float(int.from_bytes(raw[at : at + 4], "big")) for at in (0, 4))
        scaled_low = int.from_bytes(raw[8 : 8 + width], "big", signed=signed)
        scaled_high = int.from_bytes(raw[8 + width :], "big", signed=signed)
        if isinstance(low, Special) or isinstance(high, Special) or scaled_low == scaled_high:
            raise DecodeError("a scale without a range", 0)
        factor = _CONTEXT.divide(_CONTEXT.subtract(high, low), Decimal(scaled_high - scaled_low))
        origin = _CONTEXT.subtract(low, _CONTEXT.multiply(factor, Decimal(scaled_low)))
        return origin, factor, low, high
    return Decimal(0), Decimal(1), None, None


CONTENTS: Final[dict[int, Content]] = {
    Attr.NU_VAL_OBS_BASIC: _basic,
    Attr.NU_VAL_OBS_SIMP: _simple,
    Attr.NU_CMPD_VAL_OBS_BASIC: _compound_basic,
    Attr.NU_CMPD_VAL_OBS_SIMP: _compound_simple,
    Attr.NU_VAL_OBS: _observed,
    Attr.NU_CMPD_VAL_OBS: _compound_observed,
    Attr.ENUM_OBS_VAL_SIMP_OID: _enum_oid,
    Attr.ENUM_OBS_VAL_SIMP_BIT_STR: _enum_bits,
    Attr.ENUM_OBS_VAL_BASIC_BIT_STR: _enum_bits,
    Attr.ENUM_OBS_VAL_SIMP_STR: _enum_text,
    Attr.VAL_ENUM_OBS: _enum_observed,
    Attr.SIMP_SA_OBS_VAL: _samples,
}
"""The attributes that are values. An observation has one of them."""
