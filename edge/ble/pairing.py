"""Finding a device, pairing with it, and forgetting it, through BlueZ; who is asked stands behind `Questions`.

    scan -> somebody picks one -> Pair, with an agent of our own -> Trusted -> is it bonded? -> what is it? -> its clock
    -> disconnect

The agent serves the one device that is being paired, and only while that lasts. Whatever else asks is rejected: a
neighbour's telephone must not become the citizen's device because a technician was at work.

A device with a private address shows a new one every few minutes. Its bond has the key that resolves them, and BlueZ
then gives its identity address: that is what is listed, so such a device cannot be listed without a bond.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple, Protocol

from edge.bluez import ADAPTER, CHARACTERISTIC, DEVICE, ROOT, Bluez, BluezError, Method, Properties, variants
from wire.errors import WireError
from wire.quirks import quirk_for
from wire.services import DEVICE_INFORMATION, MEASUREMENTS, SERVICES, STORED, characteristic_name, parse_uuid

PAIR_S: Final = 90.0
"""A person reads a number on a small display and types it; the Security Manager itself allows 30 s for each step."""
CONNECT_S: Final = 30.0
RESOLVED_S: Final = 20.0
AGENT_PATH: Final = "/org/stafet/agent"
AGENT: Final = "org.bluez.Agent1"
AGENT_MANAGER: Final = "org.bluez.AgentManager1"
CAPABILITY: Final = "KeyboardDisplay"
"""A technician has both, so every method of pairing that the device can do is possible."""
TAIL_DIGITS: Final = 4
"""The least of an address that names a device: the two last bytes, as they are printed on many."""

_MANUFACTURER, _MODEL, _FIRMWARE = 0x2A29, 0x2A24, 0x2A26
_CLOCKS: Final = {"write-2a08": 0x2A08, "write-2a2b": 0x2A2B}


class PairingError(Exception):
    """It did not come about. `reason` is a key of `edge.ble.pair_texts`; `detail` fills its sentence."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Candidate(NamedTuple):
    """A device that is in the air now."""

    path: str
    address: bytes
    random: bool
    name: str
    kinds: tuple[str, ...]
    """What it says that it measures."""
    rssi: int | None
    """Signal strength in dBm: -40 beside the hub, -90 at the end of the garden."""
    paired: bool

    @property
    def private(self) -> bool:
        """Its address changes (Core 5.4 Vol 6 Part B 1.3.2): the two highest bits of a static random address are set."""
        return self.random and self.address[0] >> 6 != 0b11


class Found(NamedTuple):
    """What a device is, once it was connected to."""

    address: bytes
    random: bool
    name: str
    kind: str
    bonded: bool
    information: Mapping[str, str]


class Questions(Protocol):
    """Whoever stands beside hub and device. Each may be cancelled, when the device has given up."""

    async def passkey(self) -> int | None:
        """The number that the device shows; None to end it."""
        ...

    async def same(self, passkey: int) -> bool:
        """Whether the device shows this number too."""
        ...

    async def show(self, passkey: int, entered: int) -> None:
        """Show the number to type on the device, of which so many digits are typed."""
        ...


def choose(candidates: Sequence[Candidate], wish: str) -> Candidate:
    """The one that is meant by an address, its tail or a name; PairingError if that is none or several."""
    digits = "".join(character for character in wish.lower() if character not in ":- ")
    is_tail = len(digits) >= TAIL_DIGITS and all(character in "0123456789abcdef" for character in digits)
    meant = [c for c in candidates if is_tail and c.address.hex().endswith(digits)]
    meant = meant or [c for c in candidates if c.name.casefold() == wish.strip().casefold()]
    meant = meant or [c for c in candidates if wish.strip() and wish.strip().casefold() in c.name.casefold()]
    if not meant:
        raise PairingError("not-seen", wish)
    if len(meant) > 1:
        raise PairingError("ambiguous", ", ".join(f"{c.address.hex(':').upper()} ({c.rssi} dBm)" for c in meant))
    return meant[0]


class Air:
    """What is heard on one adapter."""

    def __init__(self, adapter: str) -> None:
        self._under = f"{adapter}/"
        self._devices: dict[str, dict[str, Any]] = {}

    def candidates(self) -> list[Candidate]:
        """What may be a health device, the nearest first; those that say so before those that only have a name."""
        found = [
            _candidate(path, properties)
            for path, properties in self._devices.items()
            if {"RSSI", "Address"} <= properties.keys()
        ]
        meant = [candidate for candidate in found if candidate.kinds or candidate.name]
        return sorted(meant, key=lambda c: (not c.kinds, -(c.rssi or -999), c.address))

    def changed(self, path: str, properties: Properties | None) -> None:
        if not path.startswith(self._under):
            return
        if properties is None:
            self._devices.pop(path, None)
        else:
            self._devices.setdefault(path, {}).update(properties)


@asynccontextmanager
async def listening(bluez: Bluez, adapter: str) -> AsyncIterator[Air]:
    """Scan with the adapter at this path while entered."""
    air = Air(adapter)
    await bluez.watch(DEVICE, air.changed)
    for path, interfaces in (await bluez.objects()).items():
        if DEVICE in interfaces:
            air.changed(path, interfaces[DEVICE])
    wish = variants({"Transport": ("s", "le"), "DuplicateData": ("b", True)})
    await bluez.call(adapter, ADAPTER, "SetDiscoveryFilter", "a{sv}", wish)
    await bluez.call(adapter, ADAPTER, "StartDiscovery")
    try:
        yield air
    finally:
        with contextlib.suppress(BluezError):  # it ends with our connection at the latest
            await bluez.call(adapter, ADAPTER, "StopDiscovery")


async def pair(
    bluez: Bluez,
    candidate: Candidate,
    questions: Questions,
    *,
    bond: bool,
    clock: Callable[[int], bytes] | None = None,
) -> Found:
    """Pair (with `bond`), see what the device is, and disconnect. What did not come about leaves no bond behind.

    `clock` encodes the time for 2A08 or 2A2B, if it is known; some devices end their pairing mode only with that.
    Nothing is subscribed to: a measurement that came here would be lost. PairingError says why it did not come about;
    BluezError if BlueZ itself fails.
    """
    if candidate.private and not bond:
        raise PairingError("needs-bond")
    path = candidate.path
    new = bond and not is_bonded(await bluez.properties(path, DEVICE))
    try:
        if new:
            await _bond(bluez, path, questions)
        found = await _identify(bluez, path, clock)
    except (PairingError, BluezError, asyncio.CancelledError):
        if new:
            with contextlib.suppress(BluezError):
                if is_bonded(await bluez.properties(path, DEVICE)):
                    await forget(bluez, path)
        raise
    with contextlib.suppress(BluezError):  # it may have left by itself
        await bluez.call(path, DEVICE, "Disconnect")
    return found


async def forget(bluez: Bluez, path: str) -> None:
    """Drop the bond, and all that BlueZ knows of the device."""
    await bluez.call(path.rpartition("/")[0], ADAPTER, "RemoveDevice", "o", path)


def is_bonded(properties: Properties) -> bool:
    """`Bonded` came with BlueZ 5.65; before that a pairing always was a bond."""
    return bool(properties.get("Bonded", properties.get("Paired", False)))


async def known(bluez: Bluez, address: bytes | None = None) -> list[tuple[str, bytes, Properties]]:
    """The devices that BlueZ knows, or this one, on each adapter: path, address, properties."""
    found = [
        (path, _address(interfaces[DEVICE]), interfaces[DEVICE])
        for path, interfaces in (await bluez.objects()).items()
        if DEVICE in interfaces
    ]
    return [each for each in found if address in (None, each[1])]


def kind_of(properties: Properties) -> str:
    """What a device says that it measures; empty if nothing that we know."""
    return next(iter(_kinds(_numbers(properties.get("UUIDs", ())))), "")


# Pairing


async def _bond(bluez: Bluez, path: str, questions: Questions) -> None:
    """Pair and trust."""
    agent = _Agent(path, questions)
    bluez.export(AGENT_PATH, AGENT, agent.methods())
    await bluez.call(ROOT, AGENT_MANAGER, "RegisterAgent", "os", AGENT_PATH, CAPABILITY)
    try:
        await bluez.call(path, DEVICE, "Pair", within_s=PAIR_S)
    except BluezError as error:
        with contextlib.suppress(BluezError):
            await bluez.call(path, DEVICE, "CancelPairing")
        if error.reason != "AlreadyExists":
            raise PairingError("refused" if agent.refused else "pairing-failed", error.reason) from error
    finally:
        agent.end()
        with contextlib.suppress(BluezError):
            await bluez.call(ROOT, AGENT_MANAGER, "UnregisterAgent", "o", AGENT_PATH)
    if not is_bonded(await bluez.properties(path, DEVICE)):
        raise PairingError("not-bonded")
    await bluez.set(path, DEVICE, "Trusted", "b", True)


class _Agent:
    """org.bluez.Agent1 for one device. Passkeys are those of LE; PIN codes are of older Bluetooth, and of no use here."""

    def __init__(self, device: str, questions: Questions) -> None:
        self._device = device
        self._questions = questions
        self._asking: asyncio.Task[Any] | None = None
        self.refused = False
        """The person said no."""

    def methods(self) -> Mapping[str, Method]:
        return {
            "Release": Method("", self._nothing),
            "Cancel": Method("", self._cancel),
            "RequestPasskey": Method("u", self._passkey),
            "DisplayPasskey": Method("", self._show),
            "RequestConfirmation": Method("", self._same),
            "RequestAuthorization": Method("", self._authorize),
            "RequestPinCode": Method("s", self._reject),
            "DisplayPinCode": Method("", self._reject),
            "AuthorizeService": Method("", self._reject),
        }

    def end(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _passkey(self, device: str) -> list[Any]:
        passkey = await self._ask(device, self._questions.passkey())
        if passkey is None:
            self.refused = True
            raise BluezError("Canceled")
        return [passkey]

    async def _same(self, device: str, passkey: int) -> list[Any]:
        if not await self._ask(device, self._questions.same(passkey)):
            self.refused = True
            raise BluezError("Rejected")
        return []

    async def _show(self, device: str, passkey: int, entered: int) -> list[Any]:
        await self._ask(device, self._questions.show(passkey, entered))
        return []

    async def _authorize(self, device: str) -> list[Any]:
        """Pairing without numbers. The person has picked the device already."""
        if device != self._device:
            raise BluezError("Rejected")
        return []

    async def _ask(self, device: str, question: Any) -> Any:
        if device != self._device:
            question.close()
            raise BluezError("Rejected")
        self._asking = asyncio.ensure_future(question)
        try:
            return await self._asking
        except asyncio.CancelledError:
            raise BluezError("Canceled") from None

    async def _cancel(self) -> list[Any]:
        self.end()
        return []

    async def _nothing(self) -> list[Any]:
        return []

    async def _reject(self, *_: object) -> list[Any]:
        raise BluezError("Rejected")


# What it is


async def _identify(bluez: Bluez, path: str, clock: Callable[[int], bytes] | None) -> Found:
    properties = await _connect(bluez, path)
    has = await _characteristics(bluez, path)
    information: dict[int | bytes, str] = {
        number: await _text(bluez, has[number].path) for number in DEVICE_INFORMATION if number in has
    }
    services = _numbers(properties.get("UUIDs", ()))
    quirk = quirk_for(
        name=_name(properties),
        manufacturer=information.get(_MANUFACTURER, ""),
        model=information.get(_MODEL, ""),
        firmware=information.get(_FIRMWARE, ""),
        services=services,
    )
    kinds = _kinds(services)
    notifies = {number for number, (_, flags) in has.items() if not {"notify", "indicate"}.isdisjoint(flags)}
    if not kinds and notifies.isdisjoint(MEASUREMENTS | STORED | frozenset(quirk.measures)):
        raise PairingError("measures-nothing")
    if clock is not None and quirk.clock in _CLOCKS and (number := _CLOCKS[quirk.clock]) in has:
        await asyncio.sleep(quirk.settle_ms / 1000)
        with contextlib.suppress(BluezError):  # the hub does it again when it reads the device
            body = [clock(number), variants({"type": ("s", "request")})]
            await bluez.call(has[number].path, CHARACTERISTIC, "WriteValue", "aya{sv}", *body)
    return Found(
        address=_address(properties),
        random=properties.get("AddressType") == "random",
        name=_name(properties),
        kind=kinds[0] if kinds else quirk.name,
        bonded=is_bonded(properties),
        information={characteristic_name(number) or "": text for number, text in information.items() if text},
    )


async def _connect(bluez: Bluez, path: str) -> Properties:
    """Connected, with services known: its properties."""
    try:
        if not (await bluez.properties(path, DEVICE))["Connected"]:
            await bluez.call(path, DEVICE, "Connect", within_s=CONNECT_S)
        async with asyncio.timeout(RESOLVED_S):
            while not (properties := await bluez.properties(path, DEVICE))["ServicesResolved"]:
                if not properties["Connected"]:
                    raise PairingError("left")
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise PairingError("left") from None
    except BluezError as error:
        raise PairingError("not-reached", str(error)) from error
    return properties


class _Has(NamedTuple):
    path: str
    flags: tuple[str, ...]


async def _characteristics(bluez: Bluez, path: str) -> dict[int | bytes, _Has]:
    return {
        number: _Has(place, tuple(interfaces[CHARACTERISTIC].get("Flags", ())))
        for place, interfaces in (await bluez.objects()).items()
        if CHARACTERISTIC in interfaces and place.startswith(f"{path}/")
        for number in _numbers([interfaces[CHARACTERISTIC]["UUID"]])
    }


async def _text(bluez: Bluez, path: str) -> str:
    """A value as text, or in hexadecimal; empty if the device refuses it, which it may do with one and not the others."""
    try:
        value = bytes(await bluez.call(path, CHARACTERISTIC, "ReadValue", "a{sv}", {}))
    except BluezError:
        return ""
    text = value.rstrip(b"\0").decode(errors="replace")
    return text if text.isprintable() and "\ufffd" not in text else value.hex()


def _candidate(path: str, properties: Properties) -> Candidate:
    return Candidate(
        path=path,
        address=_address(properties),
        random=properties.get("AddressType") == "random",
        name=_name(properties),
        kinds=_kinds(_numbers(properties.get("UUIDs", ()))),
        rssi=properties.get("RSSI"),
        paired=bool(properties.get("Paired", False)),
    )


def _address(properties: Properties) -> bytes:
    return bytes.fromhex(properties["Address"].replace(":", ""))


def _name(properties: Properties) -> str:
    """BlueZ makes an alias of the address where there is no name."""
    name = str(properties.get("Name", ""))
    return "".join(character for character in name if character.isprintable())


def _numbers(uuids: Sequence[str]) -> list[int | bytes]:
    found: list[int | bytes] = []
    for uuid in uuids:
        with contextlib.suppress(WireError):
            found.append(parse_uuid(uuid))
    return found


def _kinds(services: Sequence[int | bytes]) -> tuple[str, ...]:
    return tuple(SERVICES[service].name for service in services if isinstance(service, int) and service in SERVICES)
