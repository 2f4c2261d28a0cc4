"""The LE advertisement of a peripheral, as an object that BlueZ reads."""

from typing import Annotated

from dbus_fast import PropertyAccess, Variant
from dbus_fast.annotations import DBusBool, DBusDict, DBusSignature, DBusStr, DBusUInt16
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property

PATH = "/org/stafet/advertisement"

_READ = PropertyAccess.READ
_Strings = Annotated[list[str], DBusSignature("as")]


class Advertisement(ServiceInterface):
    """Connectable, with one service and the device's name."""

    def __init__(self, name: str, appearance: int) -> None:
        super().__init__("org.bluez.LEAdvertisement1")
        self._name = name
        self._appearance = appearance
        self.service = ""
        self._sighting: int | None = None

    @dbus_property(access=_READ, name="Type")
    def type_(self) -> DBusStr:
        return "peripheral"

    @dbus_property(access=_READ, name="ServiceUUIDs")
    def service_uuids(self) -> _Strings:
        return [self.service]

    @dbus_property(access=_READ, name="LocalName")
    def local_name(self) -> DBusStr:
        return self._name

    @dbus_property(access=_READ, name="Appearance")
    def appearance(self) -> DBusUInt16:
        return self._appearance

    @dbus_property(access=_READ, name="Discoverable")
    def discoverable(self) -> DBusBool:
        return True

    @dbus_property(access=_READ, name="ServiceData")
    def service_data(self) -> DBusDict:
        return {} if self._sighting is None else {self.service: Variant("ay", bytes([self._sighting]))}

    @dbus_method(name="Release")
    def release(self) -> None:
        """BlueZ dropped the advertisement; the next `advertise` registers it again."""

    def another_sighting(self) -> None:
        """Change a byte, so that BlueZoo reports us again."""
        self._sighting = ((self._sighting or 0) + 1) % 256
        self.emit_properties_changed({"ServiceData": self.service_data})
