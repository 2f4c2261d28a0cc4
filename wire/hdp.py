"""Bluetooth HDP 1.0: the service record of a sink, as BlueZ takes it (XML of `ProfileManager1.RegisterProfile`).

Attributes and numbers as in BlueZ's `profiles/health/hdp_util.c` and signove/hdpy's `hdp_record.py`, which agree.
"""

from collections.abc import Mapping
from typing import Final

SINK_UUID: Final = "00001402-0000-1000-8000-00805f9b34fb"
ECHO: Final = 0
"""The endpoint of the echo test: every device has it and none says so."""

_SPECIALIZATIONS: Final = (4100, 4102, 4103, 4104, 4111, 4113, 4114, 4116, 4117, 4120, 4121, 4137, 4138, 4167, 4168)
ENDPOINTS: Final[Mapping[int, int]] = dict(enumerate(_SPECIALIZATIONS, start=1))
"""MDEPs of the hub and the specialization that each is for (MDC terms of 11073-104xx: 4100 is an oximeter).

Which one a device asks for changes nothing: the association says what it is.
"""

_L2CAP, _MCAP_CONTROL, _MCAP_DATA = 0x0100, 0x001E, 0x001F
_HDP, _SINK_CLASS = 0x1400, 0x1402
_VERSION = 0x0100
_ENGLISH, _UTF8, _BASE = 0x656E, 0x006A, 0x0100
_SINK_ROLE = 1
_IEEE_11073_20601 = 1
_RECONNECT_ACCEPTANCE = 0x04


def service_record(control_psm: int, data_psm: int) -> str:
    """What the hub is and where its channels are."""
    features = _sequence(
        *(
            _sequence(_number(8, endpoint), _number(16, data_type), _number(8, _SINK_ROLE))
            for endpoint, data_type in ENDPOINTS.items()
        )
    )
    attributes = {
        0x0001: _sequence(_uuid(_SINK_CLASS)),
        0x0004: _sequence(
            _sequence(_uuid(_L2CAP), _number(16, control_psm)),
            _sequence(_uuid(_MCAP_CONTROL), _number(16, _VERSION)),
        ),
        0x0006: _sequence(_number(16, _ENGLISH), _number(16, _UTF8), _number(16, _BASE)),
        0x0009: _sequence(_sequence(_uuid(_HDP), _number(16, _VERSION))),
        0x000D: _sequence(
            _sequence(_sequence(_uuid(_L2CAP), _number(16, data_psm)), _sequence(_uuid(_MCAP_DATA))),
        ),
        0x0100: '<text value="Stafet" />',
        0x0200: features,
        0x0301: _number(8, _IEEE_11073_20601),
        0x0302: _number(8, _RECONNECT_ACCEPTANCE),
    }
    lines = (f'<attribute id="{id_:#06x}">{value}</attribute>' for id_, value in attributes.items())
    return f'<?xml version="1.0" encoding="UTF-8" ?><record>{"".join(lines)}</record>'


def _sequence(*parts: str) -> str:
    return f"<sequence>{''.join(parts)}</sequence>"


def _uuid(number: int) -> str:
    return f'<uuid value="{number:#06x}" />'


def _number(bits: int, number: int) -> str:
    return f'<uint{bits} value="{number:#0{bits // 4 + 2}x}" />'
