"""What a kind of device is: its services, how it hands over what it measured, and how it insists on its ways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Final

from simulator.ble.devices.values import Measured, Moment

DEVICE_INFORMATION: Final = 0x180A
CURRENT_TIME_SERVICE: Final = 0x1805
BATTERY_SERVICE: Final = 0x180F
CURRENT_TIME: Final = 0x2A2B
DATE_TIME: Final = 0x2A08
BATTERY_LEVEL: Final = 0x2A19
RACP: Final = 0x2A52
CGM_CONTROL_POINT: Final = 0x2AAC
GHS_CONTROL_POINT: Final = 0x2BF4


class Delivery(Enum):
    """When a device sends what it measured."""

    SUBSCRIBED = "to whoever subscribes"
    LISTENED = "while it is listened to"
    """It measures only then, and keeps nothing."""
    ASKED = "when its Record Access Control Point is asked"
    STARTED = "once its control point is told to start"


class Habit(Enum):
    """How some devices insist on their ways (docs/simulator.md, with who does so)."""

    ORDINARY = "none"
    CLOCK_FIRST = "sends nothing in a session in which its clock was not set first; the first such session only pairs"
    CLOCK_LATE = "refuses its clock before the first value of a session, and when it is right to ten minutes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of device: its service, its measurement, and what can be read from it."""

    name: str
    says: str
    """One line for whoever writes a scenario."""
    service: int
    characteristic: int
    """The one with the measurement; `beside` has the others that notify, each with its flag."""
    flag: str
    """`indicate` or `notify`, as the service definition demands for the measurement."""
    appearance: int
    model: str
    measure: Callable[[Moment], Sequence[Measured]]
    """What one measurement sends, in this order."""
    reads: Mapping[int, bytes] = field(default_factory=lambda: MappingProxyType({}))
    """Characteristics of the service that a hub may read, such as its features."""
    beside: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))
    delivery: Delivery = Delivery.SUBSCRIBED
    habit: Habit = Habit.ORDINARY
    clock: bool = True
    """It has a clock, and its measurements a time stamp."""
    clock_at: int | None = CURRENT_TIME
    """Where the clock is read and set: Current Time (1805), Date Time in its own service, or nowhere."""
    stale: datetime | None = None
    """A clock that nobody can set starts here."""
    users: bool = False
    """Its measurements can say which user of the device they are of."""
    battery: bool = False
    crc: bool = False
    """E2E-CRC (CGMS 3.11)."""
    segment_bytes: int = 0
    """Its values begin with a segmentation header, and leave in pieces of this size (GHSS 3.1.1); 0: they are whole."""
    wide: bool = False
    """Its Record Access Control Point is the Generic Health Sensor's: 32 bits, and busy while live values run."""
    live: bool = False
    """It sends what it stores at once, too, to whoever listens."""
    interval: timedelta = timedelta(hours=1)
    """How far apart its stored measurements are."""
    least_every_s: float = 1.0
    """Its time stamps are no finer: measurements closer together would share one."""
    manufacturer: str = "Stafet Simulator"
    firmware: str = "1.0.0"
    advertised: str = ""
    """The name it advertises; the model if it is none."""

    @property
    def stores(self) -> bool:
        """It has a Record Access Control Point."""
        return RACP in self.beside


def system_id(address: str) -> bytes:
    """System ID, 2A23: the EUI-64 of a Bluetooth address, with FFFE in the middle, as the characteristic orders it.

    The characteristic is two little-endian numbers: 40 bits of manufacturer identifier, then 24 bits of company.
    """
    octets = bytes.fromhex(address.replace(":", ""))
    eui64 = octets[:3] + b"\xff\xfe" + octets[3:]
    return eui64[3:][::-1] + eui64[:3][::-1]


def device_information(kind: Kind, address: str) -> Sequence[tuple[int, bytes]]:
    """Device Information Service, 180A: what each characteristic of this device reads."""
    return (
        (0x2A29, kind.manufacturer.encode()),
        (0x2A24, kind.model.encode()),
        (0x2A25, b"SIM-" + address.replace(":", "")[-6:].encode()),
        (0x2A26, kind.firmware.encode()),
        (0x2A23, system_id(address)),
    )
