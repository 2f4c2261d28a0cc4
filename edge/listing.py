"""The list of devices that may be read: those in hub.toml, which people write, and those that were paired.

`stafet-hub pair` and `forget` write theirs to a file beside the store; a running hub looks every few seconds whether it
has changed, so nothing needs to be restarted, and nothing needs to reach the hub. It is replaced as a whole (a new
file, fsync, rename, fsync of the directory): a power cut leaves the old list or the new one. A list that cannot be read
is not guessed at and not overwritten: the hub goes on with the one it has, which at its start is hub.toml alone.
"""

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from edge import files
from edge.config import MAX_DEVICES, Device
from edge.log import event

VERSION: Final = 1
LOOK_S: Final = 2.0
"""How often a running hub looks for a new list."""
MAX_BYTES: Final = 1 << 16
"""64 devices with the longest names and labels are 45 KB."""


class ListingError(Exception):
    """The list of paired devices cannot be used; the text says what and where. An OSError is its cause if there is one."""


class ListingFullError(ListingError):
    """There is no room for another device."""


class Paired(NamedTuple):
    """A device that `stafet-hub pair` has listed. `address` is its identity address where it has one."""

    address: bytes
    label: str
    random: bool = False
    name: str = ""
    """As it advertised."""
    kind: str = ""
    """What it measures, as in "pulse oximeter"."""
    bonded: bool = False
    """A bond was made; it lies in BlueZ, on the adapter that made it."""


def text_of(address: bytes) -> str:
    """An address as people write it."""
    return address.hex(":").upper()


def file_of(store: Path) -> Path:
    """Where the paired devices of the hub with this store are listed."""
    return store.with_name(f"{store.name}.devices")


def load(store: Path) -> tuple[Paired, ...]:
    """The paired devices, in the order of pairing; ListingError if the file is there and cannot be used."""
    path = file_of(store)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ListingError(f"{path} cannot be read ({error.strerror})") from error
    try:
        return tuple(_devices(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ListingError(f"{path} is damaged") from error


def change(store: Path, to: Callable[[tuple[Paired, ...]], Iterable[Paired]]) -> tuple[Paired, ...]:
    """Replace the list, durably, by what `to` makes of it; nobody else changes it meanwhile. ListingError, OSError."""
    with _alone(store.parent):
        devices = tuple(to(load(store)))
        if len(devices) > MAX_DEVICES:
            raise ListingFullError(f"there is room for {MAX_DEVICES} devices")
        _write(store, devices)
        return devices


def labels_of(paired: Iterable[Paired], written: Iterable[Device]) -> dict[bytes, str]:
    """Address to label; what hub.toml says of a device goes before."""
    return {device.address: device.label for device in paired} | {device.address: device.label for device in written}


class Listing:
    """What a running hub may read, kept up to date."""

    def __init__(self, store: Path, written: Iterable[Device]) -> None:
        """`written`: those of hub.toml."""
        self._store = store
        self._written = tuple(written)
        self._paired: tuple[Paired, ...] = ()
        self._stamp: object = None
        self.changed()

    @property
    def devices(self) -> tuple[tuple[bytes, str], ...]:
        """Address and label of each."""
        return tuple(labels_of(self._paired, self._written).items())

    def changed(self) -> bool:
        """Look at the file; whether there is another list than before."""
        try:
            found = file_of(self._store).stat()
            stamp: object = (found.st_mtime_ns, found.st_ino, found.st_size)
        except OSError as error:
            stamp = error.errno
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        before = self.devices
        try:
            self._paired = load(self._store)
        except ListingError as error:
            event("listing_unreadable", logging.ERROR, detail=str(error))
            return False
        return self.devices != before


def _devices(content: bytes) -> Iterator[Paired]:
    document = json.loads(content)
    if len(content) > MAX_BYTES or document["version"] != VERSION:
        raise ValueError
    for item in document["devices"]:
        fields: dict[str, Any] = {**item, "address": _address(item["address"])}
        device = Paired(**fields)
        if any(type(value) is not type(default) for value, default in zip(device, _SHAPE, strict=True)):
            raise TypeError
        yield device


_SHAPE: Final = Paired(address=b"", label="")


def _address(text: str) -> bytes:
    address = bytes.fromhex(text.replace(":", ""))
    if len(address) != 6 or text_of(address) != text:
        raise ValueError
    return address


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Hold the directory against a second `pair` or `forget`; the lock ends with the process at the latest."""
    import fcntl  # noqa: PLC0415  not for the hub, which only reads

    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(store: Path, devices: Iterable[Paired]) -> None:
    path = file_of(store)
    items = [{**device._asdict(), "address": text_of(device.address)} for device in devices]
    content = json.dumps({"version": VERSION, "devices": items}, indent=2, ensure_ascii=False).encode() + b"\n"
    files.replace(path, content, partial(_give_to_the_hub, store))


def _give_to_the_hub(store: Path, descriptor: int) -> None:
    """A technician pairs as root, and the hub that shall read the list is another user."""
    if os.geteuid() == 0:
        owner = (store if store.exists() else store.parent).stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
