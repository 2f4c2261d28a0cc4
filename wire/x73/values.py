"""What one observation's value attribute means: numbers, compounds, codes, bits, text, samples (20601 6.3).

`Metric` is an object as it is now: what the configuration declared, changed by what was reported since (an attribute
holds until it is reported again). Values, time stamps and measurement status are of one observation only.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from types import MappingProxyType
from typing import Annotated, Final

from wire.errors import DecodeError
from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Samples, Special
from wire.numbers import decode_float, decode_sfloat
from wire.x73.codes import Attr, MetricSpec, code32
from wire.x73.dim import CODES, TYPES, read_all, unit_code
from wire.x73.mder import FLOAT, U16, U32, ListOf, Reader, Struct, Unsigned8, Unsigned16
from wire.x73.reports import Type
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

_LASTING: Final = frozenset(
    {
        Attr.ID_TYPE,
        Attr.ID_PHYSIO,
        Attr.ID_PHYSIO_LIST,
        Attr.METRIC_ID_PART,
        Attr.ENUM_OBS_VAL_PART,
        Attr.UNIT_CODE,
        Attr.SUPPLEMENTAL_TYPES,
        Attr.METRIC_SPEC_SMALL,
        Attr.SA_SPECN,
        Attr.SCALE_SPECN_I8,
        Attr.SCALE_SPECN_I16,
        Attr.SCALE_SPECN_I32,
        Attr.TIME_PD_SAMP,
        Attr.ATTRIBUTE_VAL_MAP,
    }
)
"""What describes an object, as against one observation of it."""

_CONTEXT: Final = Context(prec=28)
"""A scale whose ratio has no finite decimal is rounded at 28 digits; samples have at most 10."""
_SIGNED: Final = 255
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
class Raw:
    """One reported attribute: its bytes and where they begin."""

    value: bytes
    at: int


class Metric:
    """One object as it is now: declared, then changed by what was reported."""

    __slots__ = ("attributes", "code", "components", "handle", "spec", "supplemental", "unit")

    def __init__(self, handle: int, attributes: Mapping[int, bytes]) -> None:
        self.handle = handle
        self.attributes = dict(attributes)
        self.refresh()

    def refresh(self) -> None:
        """Work out again what every observation needs."""
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
        self.unit = None if unit is None else ucum(unit_code(read_all(U16, unit, Attr.UNIT_CODE)))
        types = get(Attr.SUPPLEMENTAL_TYPES)
        listed_types = () if types is None else read_all(TYPES, types, Attr.SUPPLEMENTAL_TYPES)
        self.supplemental = tuple(each.code32 for each in listed_types)
        spec = get(Attr.METRIC_SPEC_SMALL)
        self.spec = 0 if spec is None else read_all(U16, spec, Attr.METRIC_SPEC_SMALL)

    def change(self, reported: Mapping[int, Raw]) -> None:
        """Take over what a report says about the object itself."""
        changed = {id_: raw.value for id_, raw in reported.items() if id_ in _LASTING}
        if changed and any(self.attributes.get(id_) != value for id_, value in changed.items()):
            before = self.attributes
            self.attributes = before | changed
            try:
                self.refresh()
            except DecodeError:
                self.attributes = before
                self.refresh()
                raise

    def partition(self, attribute: int) -> int:
        """The partition that an attribute names, or that of the object's type."""
        raw = self.attributes.get(attribute)
        if raw is not None:
            return read_all(U16, raw, attribute)
        return 0 if self.code is None else self.code >> 16


def measure(
    metric: Metric, reported: Mapping[int, Raw], time: DeviceTime | None, person: int | None
) -> Measurement | None:
    """The measurement in one observation; None if it has no value, or none that is known."""
    found = next((item for item in _CONTENTS.items() if item[0] in reported), None)
    if found is None:
        return None
    attribute, content = found
    raw = reported[attribute]
    if metric.code is None:
        raise DecodeError(f"object {metric.handle} has a value and no type", raw.at)
    status_raw = reported.get(Attr.MSMT_STAT)
    status = () if status_raw is None else decode_status(read_all(U16, status_raw.value, Attr.MSMT_STAT, raw.at))
    if metric.spec & (MetricSpec.CAT_MANUAL | MetricSpec.CAT_SETTING):
        status += _category(metric.spec)
    built = content(metric, raw, status)
    if built is None:
        return None
    return Measurement(
        code=built.code,
        value=built.value,
        unit=built.unit,
        absent=built.absent,
        components=built.components,
        coded=built.coded,
        bits=built.bits,
        samples=built.samples,
        device_time=time,
        supplemental=metric.supplemental,
        status=built.status,
        user=person,
        clock_set=time is None or time.known,
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


_Status = tuple[MeasurementStatus, ...]
_Content = Callable[[Metric, Raw, _Status], Measurement | None]


def _number(code: int, value: Decimal | Special, unit: str | None, status: _Status = ()) -> Measurement:
    return Measurement(
        code=code, value=value, unit=None if isinstance(value, Special) else unit or _DIMENSIONLESS, status=status
    )


_DIMENSIONLESS: Final = "1"


def _code(metric: Metric) -> int:
    return metric.code or 0


def _basic(metric: Metric, raw: Raw, status: _Status) -> Measurement:
    data = raw.value
    if len(data) != 2:
        raise DecodeError(f"an SFLOAT of {len(data)} bytes", raw.at)
    return _number(_code(metric), decode_sfloat(data[0] << 8 | data[1]), metric.unit, status)


def _simple(metric: Metric, raw: Raw, status: _Status) -> Measurement:
    data = raw.value
    if len(data) != 4:
        raise DecodeError(f"a FLOAT of {len(data)} bytes", raw.at)
    return _number(_code(metric), decode_float(int.from_bytes(data, "big")), metric.unit, status)


def _observed(metric: Metric, raw: Raw, status: _Status) -> Measurement:
    observed = NuObsValue.decode(raw.value, offset=raw.at)
    return _of_observed(metric, observed, status)


def _of_observed(metric: Metric, observed: NuObsValue, status: _Status) -> Measurement:
    code = code32(metric.partition(Attr.METRIC_ID_PART), observed.metric)
    stated = tuple(each for each in decode_status(observed.status) if each not in status)
    return _number(code, observed.value, ucum(unit_code(observed.unit)), status + stated)


def _compound_of(metric: Metric, values: tuple[Decimal | Special, ...], raw: Raw, status: _Status) -> Measurement:
    if not values:
        raise DecodeError("a compound value without components", raw.at)
    if len(values) != len(metric.components):
        raise DecodeError(f"{len(values)} components, {len(metric.components)} are declared", raw.at)
    parts = tuple(_number(code, value, metric.unit) for code, value in zip(metric.components, values, strict=True))
    return Measurement(code=_code(metric), components=parts, status=status)


def _compound_basic(metric: Metric, raw: Raw, status: _Status) -> Measurement:
    data = raw.value
    count = data[0] << 8 | data[1] if len(data) >= 4 else -1
    if count < 0 or data[2] << 8 | data[3] != 2 * count or len(data) != 4 + 2 * count:
        raise DecodeError(f"a compound of {len(data)} bytes whose lengths disagree", raw.at)
    values = tuple(decode_sfloat(data[at] << 8 | data[at + 1]) for at in range(4, len(data), 2))
    return _compound_of(metric, values, raw, status)


def _compound_simple(metric: Metric, raw: Raw, status: _Status) -> Measurement:
    values = read_all(_SIMPLE_LIST, raw.value, Attr.NU_CMPD_VAL_OBS_SIMP, raw.at)
    return _compound_of(metric, values, raw, status)


def _compound_observed(metric: Metric, raw: Raw, status: _Status) -> Measurement:
    values = read_all(_OBSERVED_LIST, raw.value, Attr.NU_CMPD_VAL_OBS, raw.at)
    if not values:
        raise DecodeError("a compound value without components", raw.at)
    return Measurement(
        code=_code(metric), components=tuple(_of_observed(metric, each, ()) for each in values), status=status
    )


def _enum_oid(metric: Metric, raw: Raw, status: _Status) -> Measurement:
    term = read_all(U16, raw.value, Attr.ENUM_OBS_VAL_SIMP_OID, raw.at)
    return Measurement(code=_code(metric), coded=code32(metric.partition(Attr.ENUM_OBS_VAL_PART), term), status=status)


def _enum_bits(metric: Metric, raw: Raw, status: _Status) -> Measurement | None:
    """BITS count from the most significant; only what is set is reported, as for the same words over BLE."""
    size = len(raw.value) * 8
    if size not in (16, 32):
        raise DecodeError(f"a bit string of {len(raw.value)} bytes", raw.at)
    word = int.from_bytes(raw.value, "big")
    bits = {bit: True for bit in range(size) if word >> (size - 1 - bit) & 1}
    return Measurement(code=_code(metric), bits=bits, status=status) if bits else None


def _enum_text(metric: Metric, raw: Raw, status: _Status) -> Measurement:
    """A measurement has no place for text: it says that the device's bytes hold one."""
    if len(raw.value) < 2 or int.from_bytes(raw.value[:2], "big") != len(raw.value) - 2:
        raise DecodeError(f"a text of {len(raw.value)} bytes whose length disagrees", raw.at)
    return Measurement(code=_code(metric), absent="as-text", status=status)


def _enum_observed(metric: Metric, raw: Raw, status: _Status) -> Measurement | None:
    reader = Reader(raw.value)
    try:
        code = code32(metric.partition(Attr.METRIC_ID_PART), reader.u16("metric id"))
        status += tuple(each for each in decode_status(reader.u16("status")) if each not in status)
        choice = reader.u16("choice of the value")
        value = reader.window(reader.u16("length of the value"), "the value")
        reader.finish("the enumeration")
    except DecodeError as error:
        raise DecodeError(error.message, error.offset + raw.at) from None
    inner = Metric(metric.handle, metric.attributes)
    inner.code = code
    content = {1: _enum_oid, 2: _enum_text, 16: _enum_bits}.get(choice)
    if content is None:
        raise DecodeError(f"no enumeration value has the choice {choice}", raw.at + 4)
    return content(inner, Raw(value=value.rest(), at=raw.at + 8), status)


def _samples(metric: Metric, raw: Raw, status: _Status) -> Measurement:
    """A Simple-Sa-Observed-Value: samples of one size, scaled to absolute values (6.3.5.3)."""
    spec_raw, period = metric.attributes.get(Attr.SA_SPECN), metric.attributes.get(Attr.TIME_PD_SAMP)
    if spec_raw is None or period is None:
        raise DecodeError(f"samples of object {metric.handle}, which has no specification or period", raw.at)
    spec = SaSpec.decode(spec_raw)
    width = spec.sample_size // 8
    if width not in (1, 2, 4) or spec.sample_size % 8:
        raise DecodeError(f"samples of {spec.sample_size} bits", raw.at)
    data = _unprefixed(raw, spec.array_size * width)
    if not data or len(data) % width:
        raise DecodeError(f"{len(data)} bytes of samples of {spec.sample_size} bits", raw.at)
    signed = spec.significant_bits == _SIGNED
    mask = (1 << spec.significant_bits) - 1 if spec.flags & _EXTENDED_RANGE and not signed else -1
    values = tuple(
        Decimal(int.from_bytes(data[at : at + width], "big", signed=signed) & mask) for at in range(0, len(data), width)
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
    return Measurement(code=_code(metric), samples=samples, status=status)


def _unprefixed(raw: Raw, size: int) -> bytes:
    """The samples without the length of their octet string, which agents leave out in fixed reports."""
    data = raw.value
    if len(data) >= 2 and int.from_bytes(data[:2], "big") == len(data) - 2:
        return data[2:]
    if len(data) == size:
        return data
    raise DecodeError(f"{len(data)} bytes of samples, {size} are specified", raw.at)


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


_CONTENTS: Final[Mapping[int, _Content]] = MappingProxyType(
    {
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
)
"""The attributes that are values. An observation has one of them."""
