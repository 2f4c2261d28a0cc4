"""`stafet-hub decode record`: what devices keep or advertise in a form of their own, as a table or as JSON."""

from collections.abc import Callable
from typing import Final

from edge.table import measurement_table
from wire import advertisement, measurement_json, omron
from wire.measurement import Measurement

_FORMATS: Final[dict[str, tuple[str, Callable[[bytes], tuple[Measurement, ...]]]]] = {
    "omron-14": ("Omron record of 14 bytes", omron.decode_record14),
    "advertisement-181d": ("Service data of the Weight Scale Service", advertisement.decode_mi_scale),
}


def show(format_: str, value: bytes, *, as_json: bool) -> None:
    """Print the measurements; DecodeError where the bytes are no such record."""
    name, decode = _FORMATS[format_]
    measurements = decode(value)
    if as_json:
        print(measurement_json.dumps(measurements, indent=2))
    else:
        print(f"{name}, {len(value)} bytes")
        print(measurement_table(measurements))
