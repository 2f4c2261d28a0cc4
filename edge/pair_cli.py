"""The commands `pair`, `devices` and `forget`: a technician at a terminal, or a program with --json.

Addresses are shown here, because they are how two devices of one kind are told apart; they are never logged.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

from edge import device_clock, listing, pairing, status
from edge.adapter import Adapter
from edge.bluez import ROOT, Bluez, BluezError
from edge.cli import CONFIGURATION, IO, NOT_PERMITTED, UNAVAILABLE, USAGE
from edge.clock import SystemClock
from edge.config import Config
from edge.listing import Paired, text_of
from edge.log import address_hash
from edge.pair_texts import TEXTS, kind_in
from edge.pairing import Air, Candidate, PairingError
from edge.radio import RadioError

T = TypeVar("T")
Words: TypeAlias = Mapping[str, str]

REDRAWN_S: Final = 1.0
MAX_LABEL: Final = 64
MAX_PASSKEY: Final = 999_999

_STATUSES: Final = {
    "refused": NOT_PERMITTED,
    "ended": NOT_PERMITTED,
    "not-permitted": NOT_PERMITTED,
    "in-hub-toml": CONFIGURATION,
    "label-taken": USAGE,
    "no-label": USAGE,
    "no-terminal": USAGE,
    "no-passkey": USAGE,
    "ambiguous": USAGE,
    "needs-bond": USAGE,
    "several-listed": USAGE,
    "not-listed": USAGE,
}
"""What is not here is 69: it is not there, or does not do it now."""


class Failed(Exception):  # noqa: N818  it is what `edge.cli` says in its own way
    """A line for the user, and an exit status."""

    def __init__(self, status_: int, line: str) -> None:
        super().__init__(line)
        self.status = status_
        self.line = line


def pair(config: Config, options: argparse.Namespace) -> None:
    """`stafet-hub pair`."""
    words = TEXTS[options.lang or status.language(os.environ)]
    if options.label is not None:
        _check_label(config, options.label, words, None)
    _run(_pair(config, options, words), words)


def devices(config: Config, options: argparse.Namespace) -> None:
    """`stafet-hub devices`."""
    words = TEXTS[options.lang or status.language(os.environ)]
    document = _document(config)
    if options.json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    rows = [_row(device, words) for device in document["devices"]]
    print(_columns([tuple(words["headings"].split("|")), *rows]) if rows else words["none"])
    if not document["running"]:
        print(f"\n{words['not_running']}")


def forget(config: Config, options: argparse.Namespace) -> None:
    """`stafet-hub forget`."""
    words = TEXTS[options.lang or status.language(os.environ)]
    address, label = _listed(config, options.device, words)
    written = {device.address for device in config.device}
    if any(device.address == address for device in _load(config)):
        _change(config, lambda paired: (device for device in paired if device.address != address))
    try:
        removed = asyncio.run(_remove_bonds(address))
    except BluezError as error:
        _fail("bond-kept", words, label=label or text_of(address), detail=error.reason, address=text_of(address))
    if options.json:
        document = {
            "address": text_of(address),
            "label": label,
            "bond_removed": removed,
            "in_hub_toml": address in written,
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
    if address in written:
        first, last = _lines_of(options.config, address)
        line = words["remove-lines"].format(first=first, last=last, path=options.config, address=text_of(address))
        _fail("in-hub-toml", words, detail=line)
    if not options.json:
        bond = words["bond_removed" if removed else "no_bond"]
        print(words["forgotten"].format(label=label or text_of(address), address=text_of(address), bond=bond))


# pair


async def _pair(config: Config, options: argparse.Namespace, words: Words) -> None:
    screen = Screen(words, passkey=_passkey_of_stdin(words) if options.passkey_from_stdin else None, yes=options.yes)
    wish = options.address or options.name
    if not screen.terminal and not options.list and not (wish and options.label and options.yes):
        _fail("no-terminal", words)
    async with Bluez() as bluez:
        adapter = f"{ROOT}/{await _adapter(config)}"
        async with pairing.listening(bluez, adapter) as air:
            if options.list:
                await asyncio.sleep(options.wait)
                _print_candidates(air.candidates(), words, options)
                return
            candidate = await (_heard(air, wish, options.wait) if wish else _picked(screen, air, words))
            label = options.label
            if label is None:
                label = await screen.line(words["label"])
            label = label.strip()
            _check_label(config, label, words, None if candidate.private else candidate.address)
            if not options.json:
                name = candidate.name or "?"
                print(words["pairing"].format(name=name, address=text_of(candidate.address)))
            found = await pairing.pair(bluez, candidate, screen, bond=not options.no_bond, clock=_clock())
            if candidate.private and _is_taken(config, label, found.address):
                await pairing.forget(bluez, candidate.path)
                _fail("label-taken", words, detail=label)
    device = Paired(
        address=found.address,
        label=label,
        random=found.random,
        name=found.name,
        kind=found.kind,
        bonded=found.bonded,
    )
    written = any(each.address == found.address for each in config.device)
    if not written:
        _change(config, lambda paired: (*(each for each in paired if each.address != device.address), device))
    _print_found(device, found.information, words, options, written=written)


def _clock() -> Callable[[int], bytes] | None:
    """How to tell a device the time, if this machine knows it."""
    clock = SystemClock()
    if not device_clock.may_set(clock.now()):
        return None
    return lambda characteristic: device_clock.encoded(characteristic, clock.now())


async def _adapter(config: Config) -> str:
    """The adapter that the hub uses now; without a hub, the one that it would use."""
    with contextlib.suppress(OSError, ValueError):
        document = status.ask(config.hub.store)
        if document is not None and document["radio"]:
            return str(document["radio"]["adapter"])
    adapter = Adapter(config.ble.adapter, lost=lambda: None)
    try:
        return await adapter.ready()
    finally:
        await adapter.close()


async def _heard(air: Air, wish: str, wait_s: float) -> Candidate:
    """Wait until somebody fits; then a moment more, for another one that fits too."""
    try:
        async with asyncio.timeout(wait_s):
            while True:
                with contextlib.suppress(PairingError):
                    pairing.choose(air.candidates(), wish)
                    break
                await asyncio.sleep(min(0.1, wait_s / 10))
    except TimeoutError:
        return pairing.choose(air.candidates(), wish)
    await asyncio.sleep(min(REDRAWN_S, wait_s / 10))
    return pairing.choose(air.candidates(), wish)


async def _picked(screen: "Screen", air: Air, words: Words) -> Candidate:
    while True:
        print(words["looking"])
        candidates = await screen.watched(air.candidates)
        answer = (await screen.line(words["which"])).strip()
        if answer == "q":
            _fail("ended", words)
        if not answer:
            continue
        if answer.isdecimal() and 1 <= int(answer) <= len(candidates):
            return candidates[int(answer) - 1]
        try:
            return pairing.choose(candidates, answer)
        except PairingError as error:
            print(words[error.reason].format(detail=error.detail))


class Screen:
    """A person at a terminal, or what was given in a person's place; `edge.pairing.Questions`."""

    def __init__(self, words: Words, *, passkey: int | None, yes: bool) -> None:
        self._words = words
        self._passkey = passkey
        self._yes = yes
        self._typed = b""
        self.terminal = sys.stdin.isatty() and sys.stdout.isatty()

    async def line(self, prompt: str) -> str:
        """What is typed, without the newline."""
        print(prompt, end="", flush=True)
        descriptor = sys.stdin.fileno()
        while b"\n" not in self._typed:
            if not await self._readable(descriptor, None):
                continue
            read = os.read(descriptor, 1024)
            if not read:
                raise EOFError
            self._typed += read
        line, _newline, self._typed = self._typed.partition(b"\n")
        return line.decode(errors="replace")

    async def watched(self, candidates: Callable[[], list[Candidate]]) -> list[Candidate]:
        """Show a table that lives until Enter is typed; what it showed last."""
        lines = 0
        while True:
            shown: list[Candidate] = candidates()
            table = _table(shown, self._words)
            print(f"\x1b[{lines}A\x1b[J{table}" if lines else table, flush=True)
            lines = table.count("\n") + 1
            if await self._readable(sys.stdin.fileno(), REDRAWN_S):
                await self.line("")
                return shown

    async def passkey(self) -> int | None:
        if self._passkey is not None:
            return self._passkey
        answer = (await self.line(self._words["passkey"])).strip() if self.terminal else ""
        return int(answer) if answer.isdecimal() and int(answer) <= MAX_PASSKEY else None

    async def same(self, passkey: int) -> bool:
        if self._yes:
            return True
        answer = await self.line(self._words["same"].format(passkey=f"{passkey:06}")) if self.terminal else ""
        return answer.strip().lower() in {"y", "yes", "j", "ja"}

    async def show(self, passkey: int, entered: int) -> None:
        if entered == 0:
            print(self._words["show"].format(passkey=f"{passkey:06}"), file=sys.stderr, flush=True)

    async def _readable(self, descriptor: int, within_s: float | None) -> bool:
        loop, readable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, readable.set)
        try:
            async with asyncio.timeout(within_s):
                await readable.wait()
                return True
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(descriptor)


def _passkey_of_stdin(words: Words) -> int:
    line = sys.stdin.readline().strip()
    if not line.isdecimal() or int(line) > MAX_PASSKEY:
        _fail("no-passkey", words)
    return int(line)


def _check_label(config: Config, label: str, words: Words, address: bytes | None) -> None:
    """A label is how a person tells two devices apart, so it is one device's only."""
    if not 1 <= len(label) <= MAX_LABEL or not label.isprintable():
        _fail("no-label", words)
    if address is not None and _is_taken(config, label, address):
        _fail("label-taken", words, detail=label)


def _is_taken(config: Config, label: str, address: bytes) -> bool:
    return any(each == label and other != address for other, each in _labels(config).items())


def _print_candidates(candidates: Sequence[Candidate], words: Words, options: argparse.Namespace) -> None:
    if not options.json:
        print(_table(candidates, words))
        return
    found = [
        {
            "address": text_of(each.address),
            "random": each.random,
            "name": each.name,
            "kinds": list(each.kinds),
            "rssi": each.rssi,
            "bonded": each.paired,
        }
        for each in candidates
    ]
    print(json.dumps({"devices": found}, indent=2, ensure_ascii=False))


def _table(candidates: Sequence[Candidate], words: Words) -> str:
    lang = words["lang"]
    rows = [
        (
            str(number),
            each.name or words["unknown"],
            ", ".join(kind_in(kind, lang) for kind in each.kinds) or words["unknown"],
            "" if each.rssi is None else f"{each.rssi} dBm",
            text_of(each.address) + (f" ({words['already']})" if each.paired else ""),
        )
        for number, each in enumerate(candidates, 1)
    ]
    return _columns([tuple(words["columns"].split("|")), *rows]) if rows else str(words["nothing_yet"])


def _print_found(
    device: Paired, information: Mapping[str, str], words: Words, options: argparse.Namespace, *, written: bool
) -> None:
    if options.json:
        document = {**device._asdict(), "address": text_of(device.address)}
        print(
            json.dumps({**document, "in_hub_toml": written, "information": information}, indent=2, ensure_ascii=False)
        )
        return
    lang = words["lang"]
    for name, value in information.items():
        print(f"  {name}: {value}")
    print(
        words["done_written" if written else "done"].format(
            label=device.label,
            kind=kind_in(device.kind, lang) or words["unknown"],
            address=text_of(device.address),
            bond=words["bonded" if device.bonded else "unbonded"],
        )
    )


# devices


def _document(config: Config) -> dict[str, Any]:
    """What `devices --json` prints (docs/hub.md)."""
    running: dict[str, Any] | None = None
    with contextlib.suppress(OSError, ValueError):
        running = status.ask(config.hub.store)
    states = {state["device"]: state for state in running["devices"]} if running else {}
    bonds = _bonds()
    found: list[dict[str, Any]] = []

    def add(address: bytes, label: str, kind: str, listed_in: str, bonded: bool | None) -> None:
        state = states.get(address_hash(address), {})
        kept = {name: state.get(name) for name in ("connected", "readings", "seen_s", "read_s")}
        found.append(
            {"label": label, "kind": kind, "address": text_of(address), "device": address_hash(address)}
            | {"bonded": bonded, "listed_in": listed_in, **kept}
        )

    written = {device.address for device in config.device}
    for device in config.device:
        kind, bonded = bonds.get(device.address, ("", False)) if bonds is not None else ("", None)
        add(device.address, device.label, kind, "hub.toml", bonded)
    for paired in _load(config):
        bonded = None if bonds is None else bonds.get(paired.address, ("", False))[1]
        if paired.address not in written:
            add(paired.address, paired.label, paired.kind, "paired", bonded)
    for agent in config.agent:
        add(agent.system_id, agent.label, "IEEE 11073-20601", "hub.toml", None)
    for port in config.serial:
        add(port.address, port.label, port.format, "hub.toml", None)
    return {"running": running is not None, "devices": found}


def _bonds() -> dict[bytes, tuple[str, bool]] | None:
    """What BlueZ knows, by address: what it measures, and whether there is a bond on any adapter; None without BlueZ."""

    async def ask() -> dict[bytes, tuple[str, bool]]:
        found: dict[bytes, tuple[str, bool]] = {}
        async with Bluez() as bluez:
            for _, address, properties in await pairing.known(bluez):
                kind, bonded = found.get(address, ("", False))
                found[address] = (kind or pairing.kind_of(properties), bonded or pairing.is_bonded(properties))
        return found

    try:
        return asyncio.run(ask())
    except BluezError:
        return None


def _row(device: dict[str, Any], words: Words) -> tuple[str, ...]:
    def since(seconds: float | None) -> str:
        return str(words["never"] if seconds is None else words["ago"].format(age=status.age(seconds)))

    seen = words["now"] if device["connected"] else since(device["seen_s"])
    return (
        device["label"] or device["device"],
        kind_in(device["kind"], words["lang"]) or words["unknown"],
        device["address"],
        words["unknown"] if device["bonded"] is None else words["yes" if device["bonded"] else "no"],
        words.get(device["listed_in"], device["listed_in"]),
        words["unknown"] if device["connected"] is None else seen,
        words["unknown"] if device["connected"] is None else since(device["read_s"]),
    )


# forget


def _listed(config: Config, wish: str, words: Words) -> tuple[bytes, str]:
    """Address and label of the device that is meant by its label, its address or the end of that."""
    labels = _labels(config)
    digits = wish.replace(":", "").lower()
    meant = [address for address, label in labels.items() if label and label.casefold() == wish.casefold()]
    if not meant and len(digits) >= pairing.TAIL_DIGITS:
        meant = [address for address in labels if address.hex().endswith(digits)]
    if len(meant) != 1:
        _fail("several-listed" if meant else "not-listed", words, detail=wish)
    return meant[0], labels[meant[0]]


async def _remove_bonds(address: bytes) -> bool:
    """From every adapter: a bond that stays on a spare one would let the device in again."""
    removed = False
    async with Bluez() as bluez:
        for path, _, properties in await pairing.known(bluez, address):
            removed = removed or pairing.is_bonded(properties)
            await pairing.forget(bluez, path)
    return removed


def _lines_of(config: Path, address: bytes) -> tuple[int, int]:
    """The lines of hub.toml that list the device, from its [[device]] to the last with something in it."""
    lines = config.read_text().splitlines()
    where = next(n for n, line in enumerate(lines) if text_of(address) in line.upper())
    first = next((n for n in range(where, -1, -1) if lines[n].strip().startswith("[[device]]")), where)
    last = where
    while last + 1 < len(lines) and lines[last + 1].strip() and not lines[last + 1].lstrip().startswith("["):
        last += 1
    return first + 1, last + 1


# Together


def _labels(config: Config) -> dict[bytes, str]:
    return listing.labels_of(_load(config), config.device)


def _load(config: Config) -> tuple[Paired, ...]:
    try:
        return listing.load(config.hub.store)
    except listing.ListingError as error:
        raise _of_listing(error) from error


def _change(config: Config, to: Callable[[tuple[Paired, ...]], Iterable[Paired]]) -> None:
    try:
        listing.change(config.hub.store, to)
    except listing.ListingError as error:
        raise _of_listing(error) from error
    except PermissionError as error:
        raise Failed(
            NOT_PERMITTED, f"{error.filename}: {error.strerror}; run as root or as the user whose hub it is"
        ) from error
    except OSError as error:
        raise Failed(IO, f"{error.filename}: {error.strerror}; check the disk") from error


def _of_listing(error: listing.ListingError) -> Failed:
    if isinstance(error.__cause__, PermissionError):
        return Failed(NOT_PERMITTED, f"{error}; run as root or as the user whose hub it is")
    return Failed(IO, f"{error}; move it away, and pair its devices again")


def _run(work: Coroutine[Any, Any, T], words: Words) -> T:
    try:
        return asyncio.run(work)
    except PairingError as error:
        _fail(error.reason, words, detail=error.detail)
    except BluezError as error:
        reason = "not-permitted" if error.reason in {"AccessDenied", "NotPermitted"} else "no-bluetooth"
        _fail(reason, words, detail=str(error))
    except RadioError as error:
        _fail("no-bluetooth", words, detail=str(error))
    except (KeyboardInterrupt, EOFError):
        _fail("ended", words)


def _fail(reason: str, words: Words, **values: object) -> NoReturn:
    raise Failed(_STATUSES.get(reason, UNAVAILABLE), words[reason].format(**values))


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
