"""Hypothesis strategies for measurements, as any decoder of ours could make them."""

from datetime import timedelta, timezone
from decimal import Decimal

from hypothesis import strategies as st

from wire.measurement import DeviceTime, Measurement, MeasurementStatus, Samples, Special
from wire.measurement_json import ABSENT_REASONS
from wire.nomenclature import UCUM, Mdc
from wire.numbers import scaled

decimals = st.builds(scaled, st.integers(-(2**23), 2**23), st.integers(-128, 127))
specials = st.sampled_from(Special)
numbers = decimals | specials
codes = st.sampled_from([int(code) for code in Mdc]) | st.integers(1, 0xFFFFFFFF)
units = st.sampled_from(sorted(set(UCUM.values())))
# The reasons that a special value stands for come back as that value.
reasons = st.sampled_from(sorted(ABSENT_REASONS - {special.value for special in Special}))

device_times = st.builds(
    DeviceTime,
    year=st.just(0) | st.integers(1582, 9999),
    month=st.integers(0, 12),
    day=st.integers(0, 28),
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    second=st.integers(0, 59),
    microsecond=st.just(0) | st.integers(0, 999_999),
    offset_min=st.none() | st.integers(-840, 840),
)
received_times = st.datetimes(
    timezones=st.integers(-840, 840).map(lambda minutes: timezone(timedelta(minutes=minutes)))
)
samples = st.builds(
    Samples,
    origin=decimals,
    unit=units,
    period_ms=decimals,
    data=st.lists(numbers, min_size=1, max_size=5).map(tuple),
    factor=decimals,
    lower=st.none() | decimals,
    upper=st.none() | decimals,
    dimensions=st.just(1) | st.integers(2, 255),
)
common = {
    "device_time": st.none() | device_times,
    "received": st.none() | received_times,
    "supplemental": st.lists(codes, max_size=3).map(tuple),
    "status": st.lists(st.sampled_from(MeasurementStatus), max_size=3).map(tuple),
    "user": st.none() | st.integers(0, 254),
    "clock_set": st.booleans(),
}


def _numeric(value: Decimal | Special, unit: str, code: int) -> Measurement:
    return Measurement(code=code, value=value, unit=None if isinstance(value, Special) else unit)


parts = st.builds(_numeric, numbers, units, codes) | st.builds(Measurement, code=codes, absent=reasons)
contents = st.one_of(
    st.fixed_dictionaries({"value": decimals, "unit": units}),
    st.fixed_dictionaries({"value": specials}),
    st.fixed_dictionaries({"absent": reasons}),
    st.fixed_dictionaries({"components": st.lists(parts, min_size=1, max_size=3).map(tuple)}),
    st.fixed_dictionaries({"coded": codes}),
    st.fixed_dictionaries({"bits": st.dictionaries(st.integers(0, 31), st.booleans(), min_size=1, max_size=4)}),
    st.fixed_dictionaries({"samples": samples}),
)
measurements = st.builds(
    lambda code, content, rest: Measurement(code=code, **content, **rest),
    codes,
    contents,
    st.fixed_dictionaries(common),
)
