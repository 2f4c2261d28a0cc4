"""The hub's own Current Time Service (CTS 1.1), for devices that read the time of whoever collects from them.

It is there only while the hub's clock is synchronised: a device without the time says so in its readings, one with a
wrong time falsifies them. It is offered on the links that the hub makes; nothing is advertised for it.

The time is local, as CTS has it, with zone and daylight saving beside it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from edge.ble import device_clock
from edge.bluez import (
    ADAPTER,
    CHARACTERISTIC,
    GATT_SERVICE,
    OBJECTS,
    PROPERTIES,
    ROOT,
    Bluez,
    BluezError,
    Method,
    Properties,
    variants,
)
from edge.log import event
from wire.evidence import Clock
from wire.services import format_uuid

CURRENT_TIME_SERVICE: Final = 0x1805
LOCAL_TIME_INFORMATION: Final = 0x2A0F
GATT_MANAGER: Final = "org.bluez.GattManager1"

CHECK_S: Final = 10.0
"""How often clock and adapter are looked at."""
STEP_US: Final = 2_000_000
"""A clock that is moved by so much was set, and who subscribed is told (CTS 3.1.2)."""

_PATH: Final = "/org/stafet/time"
_SERVICE: Final = f"{_PATH}/service0"
_TIME: Final = f"{_SERVICE}/char0"
_ZONE: Final = f"{_SERVICE}/char1"


def local_time_information(now: Clock) -> bytes:
    """The value of 2A0F: standard time's offset from UTC and daylight saving's from that, both in quarters of an hour."""
    there = time.localtime(now.wall_us / 1_000_000)
    saving_s = 3600 if there.tm_isdst > 0 else 0
    return bytes(((there.tm_gmtoff - saving_s) // 900 & 0xFF, saving_s // 900))


class TimeService:
    """Offers the service on the hub's adapter, whenever it can."""

    def __init__(self, *, adapter: Callable[[], str], now: Callable[[], Clock]) -> None:
        """`adapter`: its name at the moment; empty: there is none yet."""
        self._adapter = adapter
        self._now = now
        self._notifying = False

    async def run(self) -> None:
        """Until cancelled. What goes wrong is logged once, and tried again."""
        fault = ""
        while True:
            try:
                if self._adapter() and device_clock.may_set(self._now()):
                    async with Bluez() as bluez:
                        await self._offer(bluez, self._adapter())
                    fault = ""
            except BluezError as error:
                if error.reason != fault:
                    event("time_service_failed", logging.WARNING, reason=error.reason, detail=error.detail)
                fault = error.reason
            await asyncio.sleep(CHECK_S)

    async def _offer(self, bluez: Bluez, adapter: str) -> None:
        """Register, and stay until BlueZ, the adapter or the right time has gone."""
        path, ended = f"{ROOT}/{adapter}", asyncio.Event()

        def changed(_: str, properties: Properties | None) -> None:
            if properties is None:
                ended.set()

        await bluez.watch(ADAPTER, changed, path=path)
        self._export(bluez)
        await bluez.call(path, GATT_MANAGER, "RegisterApplication", "oa{sv}", _PATH, {})
        event("time_service_offered", adapter=adapter)
        before = self._now()
        try:
            while not (ended.is_set() or bluez.gone.is_set()) and self._adapter() == adapter:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await bluez.gone.wait()
                now = self._now()
                if not device_clock.may_set(now):
                    break
                await self._tell_if_set(bluez, before, now)
                before = now
        finally:
            event("time_service_withdrawn", adapter=adapter)
        with contextlib.suppress(BluezError):  # it ends with our connection at the latest
            await bluez.call(path, GATT_MANAGER, "UnregisterApplication", "o", _PATH)

    async def _tell_if_set(self, bluez: Bluez, before: Clock, now: Clock) -> None:
        stepped_us = (now.wall_us - before.wall_us) - (now.mono_us - before.mono_us)
        if self._notifying and (
            abs(stepped_us) >= STEP_US or local_time_information(before) != local_time_information(now)
        ):
            await bluez.emit_changed(_TIME, CHARACTERISTIC, {"Value": ("ay", self._current_time())})

    def _current_time(self) -> bytes:
        now = self._now()
        if not device_clock.may_set(now):
            raise BluezError("Failed", "the time is not known")
        return device_clock.encoded(device_clock.CURRENT_TIME, now)

    # What BlueZ calls

    def _export(self, bluez: Bluez) -> None:
        objects: dict[str, tuple[str, dict[str, tuple[str, Any]]]] = {
            _SERVICE: (GATT_SERVICE, {"UUID": ("s", format_uuid(CURRENT_TIME_SERVICE)), "Primary": ("b", True)}),
            _TIME: (CHARACTERISTIC, _characteristic(device_clock.CURRENT_TIME, ["read", "notify"])),
            _ZONE: (CHARACTERISTIC, _characteristic(LOCAL_TIME_INFORMATION, ["read"])),
        }

        async def managed() -> list[Any]:
            return [{path: {interface: variants(values)} for path, (interface, values) in objects.items()}]

        bluez.export(_PATH, OBJECTS, {"GetManagedObjects": Method("a{oa{sa{sv}}}", managed)})
        for path, (_, values) in objects.items():
            bluez.export(path, PROPERTIES, {"GetAll": Method("a{sv}", _getter(values))})
        bluez.export(
            _TIME,
            CHARACTERISTIC,
            {
                "ReadValue": Method("ay", self._read(self._current_time)),
                "StartNotify": Method("", self._notify(True)),
                "StopNotify": Method("", self._notify(False)),
            },
        )
        zone = self._read(lambda: local_time_information(self._now()))
        bluez.export(_ZONE, CHARACTERISTIC, {"ReadValue": Method("ay", zone)})

    def _read(self, value: Callable[[], bytes]) -> Callable[..., Any]:
        async def read(options: Properties) -> list[Any]:
            return [value()[int(options.get("offset", 0)) :]]

        return read

    def _notify(self, on: bool) -> Callable[..., Any]:
        async def switch() -> list[Any]:
            self._notifying = on
            return []

        return switch


def _characteristic(uuid: int, flags: list[str]) -> dict[str, tuple[str, Any]]:
    return {"UUID": ("s", format_uuid(uuid)), "Service": ("o", _SERVICE), "Flags": ("as", flags)}


def _getter(values: dict[str, tuple[str, Any]]) -> Callable[..., Any]:
    async def get_all(_: str) -> list[Any]:
        return [variants(values)]

    return get_all
