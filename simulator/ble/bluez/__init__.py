"""A BLE peripheral through BlueZ's own D-Bus API: a GATT application and an LE advertisement on one adapter.

The same code runs against bluetoothd with a real adapter and against BlueZoo on a private bus, because it uses what
BlueZ documents for peripherals: GattManager1 and LEAdvertisingManager1 of an adapter call objects that we export. Only
this package imports dbus_fast.

Three things are BlueZoo's alone, and are done only where it answers at /org/bluezoo:
- it shows a central the services that are registered at the first connection, and fails at the second one if they are
  still registered; so we withdraw the registration after the first (it goes on forwarding to our objects);
- it reports a known device to a scan only when its advertisement changed, where a radio reports every sighting; so we
  change a byte of the service data once a second while we advertise;
- a peripheral hangs up through the central's view of it, since its own view of the central leads nowhere.
"""

from simulator.ble.bluez.bus import BluezError, adapters
from simulator.ble.bluez.gatt import End, Subscription
from simulator.ble.bluez.peripheral import Peripheral
from simulator.ble.gatt import AttError, Characteristic, Service, Step, full_uuid

__all__ = [
    "AttError",
    "BluezError",
    "Characteristic",
    "End",
    "Peripheral",
    "Service",
    "Step",
    "Subscription",
    "adapters",
    "full_uuid",
]
