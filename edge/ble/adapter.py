"""The adapter: which one, powered or not, and what to do when it is stuck.

USB adapters come back under another name (hci0 is hci1 after a reset), BlueZ is restarted by updates, something
switches the power off, and firmware hangs without a word. So:

1. The adapter is followed by its Bluetooth address once that is known; if it is not there, the one that is named;
   if that is not there either, the only one.
2. An adapter without power gets it: the hub's radio has no other master.
3. An adapter that is there and does not do its work is power-cycled, which makes kernel and firmware begin anew:
   `Health` says when. Never while a device is connected, be it a serial port's or another program's, and seldom if it
   does not help.
"""

import asyncio
import logging
from asyncio import Event
from collections.abc import Callable, Mapping
from typing import Any, Final

from edge.ble.radio import RadioError
from edge.bluez import ADAPTER, DEVICE, ROOT, Bluez, BluezError
from edge.log import address_hash, event

POWER_S: Final = 8.0
"""What BlueZ needs to power an adapter on or off: milliseconds, seconds with firmware to load."""

DEAF: Final = "deaf"
SCAN_REFUSED: Final = "scan-refused"
CONNECT_HANGS: Final = "connect-hangs"
LIMITS: Final[Mapping[str, int]] = {DEAF: 2, SCAN_REFUSED: 3, CONNECT_HANGS: 2}
"""So many times in a row. Two silent scans are 40 s, two hanging connections 51 s: a stuck adapter works again in 60."""
FIRST_PAUSE_S: Final = 60.0
LONGEST_PAUSE_S: Final = 1800.0
"""Between power-cycles that did not help: a quiet house, or a device that nobody can connect to, is no broken adapter."""


class Health:
    """Counts what goes wrong; a machine that is told the time."""

    def __init__(self) -> None:
        self._failures = dict.fromkeys(LIMITS, 0)
        self._pauses_s = dict.fromkeys(LIMITS, 0.0)
        self._not_before = dict.fromkeys(LIMITS, 0.0)

    def failed(self, what: str) -> None:
        """It did not do what it should, once more."""
        self._failures[what] += 1

    def worked(self, *whats: str) -> None:
        """It did, so what went wrong before is over."""
        for what in whats:
            self._failures[what] = 0
            self._pauses_s[what] = self._not_before[what] = 0.0

    def due(self, now: float) -> str | None:
        """Why it should be power-cycled now, if it should."""
        return next(
            (w for w, limit in LIMITS.items() if self._failures[w] >= limit and now >= self._not_before[w]), None
        )

    def cycled(self, now: float, why: str) -> None:
        """It was power-cycled: everything has a new chance."""
        self._failures = dict.fromkeys(LIMITS, 0)
        self._pauses_s[why] = min(max(FIRST_PAUSE_S, 2 * self._pauses_s[why]), LONGEST_PAUSE_S)
        self._not_before[why] = now + self._pauses_s[why]


class Adapter:
    """One adapter, wherever BlueZ has it at the moment."""

    def __init__(self, wanted: str, *, lost: Callable[[], None]) -> None:
        """`wanted`: a name or a Bluetooth address. `lost` is called when it, BlueZ or the bus has gone, or it has no power."""
        self.name = wanted if wanted.startswith("hci") else "hci0"
        self.renewed = 0
        """Rises when what BlueZ said before does not hold any more."""
        self._named = wanted if wanted.startswith("hci") else ""
        self._address = "" if self._named else wanted.upper()
        self._last = ("", "")
        self._lost = lost
        self._bluez: Bluez | None = None
        self._watching: asyncio.Task[None] | None = None
        self._powered = True
        self._cycling = False
        self._news = Event()

    async def ready(self) -> str:
        """Its name, now that it is there and powered. RadioError if it is not."""
        try:
            bluez = await self._connected()
            adapters = {
                path: interfaces[ADAPTER]
                for path, interfaces in (await bluez.objects()).items()
                if ADAPTER in interfaces
            }
            path = self._chosen(adapters)
            name, address = path.rpartition("/")[2], adapters[path]["Address"]
            if name == self._named:
                self._address = address
            if (name, address) != self._last:
                event("adapter_chosen", adapter=name, device=address_hash(bytes.fromhex(address.replace(":", ""))))
            self.name, self._last = name, (name, address)
            self._powered = bool(adapters[path]["Powered"])
            if not self._powered:
                await self._power(True)
                event("adapter_powered_on", logging.WARNING, adapter=self.name)
        except BluezError as error:
            raise RadioError(error.reason, error.detail) from error
        return self.name

    async def connected(self) -> frozenset[str]:
        """The addresses of all that are connected through it, whoever uses them; after `ready`."""
        assert self._bluez is not None  # noqa: S101  `ready` went before
        try:
            found = await self._bluez.objects()
        except BluezError as error:
            raise RadioError(error.reason, error.detail) from error
        under = f"{ROOT}/{self.name}/"
        devices = [
            interfaces[DEVICE] for path, interfaces in found.items() if DEVICE in interfaces and path.startswith(under)
        ]
        return frozenset(str(device["Address"]) for device in devices if device["Connected"])

    async def power_cycle(self, why: str) -> None:
        """Off and on again, after `ready`."""
        event("adapter_power_cycled", logging.WARNING, adapter=self.name, reason=why)
        self._cycling = True
        try:
            await self._power(False)
            await self._power(True)
        except BluezError as error:
            raise RadioError(error.reason, error.detail) from error
        finally:
            self._cycling = False

    async def close(self) -> None:
        """Let go of the bus; `ready` takes it up again."""
        if self._watching is not None:
            self._watching.cancel()
        if self._bluez is not None:
            await self._bluez.close()
        self._bluez = self._watching = None

    async def _connected(self) -> Bluez:
        if self._bluez is None or self._bluez.gone.is_set():
            await self.close()
            self.renewed += 1
            bluez = Bluez()
            await bluez.open()
            await bluez.watch(ADAPTER, self._changed)
            self._bluez = bluez
            self._watching = asyncio.create_task(self._watch(bluez), name="bluez")
        return self._bluez

    async def _watch(self, bluez: Bluez) -> None:
        await bluez.gone.wait()
        self._lost()

    def _chosen(self, adapters: Mapping[str, Mapping[str, Any]]) -> str:
        for path, properties in adapters.items():
            if properties["Address"] == self._address:
                return path
        if f"{ROOT}/{self._named}" in adapters:
            return f"{ROOT}/{self._named}"
        if len(adapters) == 1:
            return next(iter(adapters))
        raise RadioError("no-adapter", f"{self._named or 'it'} is not there; {len(adapters)} others are")

    async def _power(self, on: bool) -> None:
        """Set it, and wait until BlueZ says that it is so: until then the adapter does neither."""
        assert self._bluez is not None  # noqa: S101  `ready` went before
        await self._bluez.set(f"{ROOT}/{self.name}", ADAPTER, "Powered", "b", on)
        try:
            async with asyncio.timeout(POWER_S):
                while self._powered is not on:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise RadioError("powered-off" if on else "timeout", f"no power {'on' if on else 'off'}") from None

    def _is_better(self, path: str, properties: Mapping[str, Any]) -> bool:
        """Whether this is the adapter that we want, come back while we use another."""
        if self._address:
            return bool(properties.get("Address") == self._address != self._last[1])
        return "Address" in properties and path == f"{ROOT}/{self._named}"

    def _changed(self, path: str, properties: Mapping[str, Any] | None) -> None:
        if path != f"{ROOT}/{self.name}":
            if properties is not None and self._is_better(path, properties):
                self._lost()
            return
        if properties is None:
            self.renewed += 1
            self._lost()
        elif "Powered" in properties:
            self._powered = properties["Powered"]
            self._news.set()
            if not self._powered and not self._cycling:
                self._lost()
