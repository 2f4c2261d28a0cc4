"""The devices: from what is true of a person to the bytes that a device of this kind sends.

The encoders here are written from the Bluetooth SIG's service definitions alone and share nothing with the decoders in
`wire`: a fault on one side must not be able to hide on the other.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from simulator.ble.devices.body import AANDD_SCALE, BODY_COMPOSITION, SCALE
from simulator.ble.devices.glucose import CGM, METER, MOLAR_METER, PLAIN_CGM
from simulator.ble.devices.health_sensor import HEALTH_SENSOR, STORING_HEALTH_SENSOR, WAVE_HEALTH_SENSOR
from simulator.ble.devices.kind import Delivery, Habit, Kind, device_information, system_id
from simulator.ble.devices.values import Measured, Moment, current_time, date_time
from simulator.ble.devices.vital_signs import CUFF, FURTHER, OXIMETER, STRAP, THERMOMETER

__all__ = [
    "KINDS",
    "PLAIN",
    "Delivery",
    "Habit",
    "Kind",
    "Measured",
    "Moment",
    "current_time",
    "date_time",
    "device_information",
    "system_id",
]

PLAIN: Final = ("oximeter", "cuff", "scale", "thermometer", "strap")
"""What a home of the pilot has: the demonstration and the bench play these."""

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            OXIMETER, CUFF, SCALE, THERMOMETER, STRAP, METER, MOLAR_METER, CGM, PLAIN_CGM, BODY_COMPOSITION, *FURTHER,
            AANDD_SCALE,
            HEALTH_SENSOR, WAVE_HEALTH_SENSOR, STORING_HEALTH_SENSOR,
        )
    }
)  # fmt: skip
