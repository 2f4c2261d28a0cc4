"""The commands `devices` and `forget`, and what they share with `pair`: the list, and how they fail.

Addresses are shown here, because they are how two devices of one kind are told apart; they are never logged.
"""

import argparse
import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

from edge import listing, status
from edge.ble import pairing
from edge.ble.pair_texts import TEXTS, kind_in
from edge.bluez import Bluez, BluezError
from edge.command import CONFIGURATION, IO, NOT_PERMITTED, UNAVAILABLE, USAGE, Failed
from edge.config import Config
from edge.listing import Paired, text_of
from edge.log import address_hash

Words: TypeAlias = Mapping[str, str]

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


def devices(config: Config, options: argparse.Namespace) -> None:
    """`stafet-hub devices`."""
    words = TEXTS[options.lang or status.language(os.environ)]
    document = _document(config)
    if options.json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    rows = [_row(device, words) for device in document["devices"]]
    print(columns([tuple(words["headings"].split("|")), *rows]) if rows else words["none"])
    if not document["running"]:
        print(f"\n{words['not_running']}")


def forget(config: Config, options: argparse.Namespace) -> None:
    """`stafet-hub forget`."""
    words = TEXTS[options.lang or status.language(os.environ)]
    address, label = _listed(config, options.device, words)
    written = {device.address for device in config.device}
    if any(device.address == address for device in load(config)):
        change(config, lambda paired: (device for device in paired if device.address != address))
    try:
        removed = asyncio.run(_remove_bonds(address))
    except BluezError as error:
        fail("bond-kept", words, label=label or text_of(address), detail=error.reason, address=text_of(address))
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
        fail("in-hub-toml", words, detail=line)
    if not options.json:
        bond = words["bond_removed" if removed else "no_bond"]
        print(words["forgotten"].format(label=label or text_of(address), address=text_of(address), bond=bond))


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
    for paired in load(config):
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
    listed = labels(config)
    digits = wish.replace(":", "").lower()
    meant = [address for address, label in listed.items() if label and label.casefold() == wish.casefold()]
    if not meant and len(digits) >= pairing.TAIL_DIGITS:
        meant = [address for address in listed if address.hex().endswith(digits)]
    if len(meant) != 1:
        fail("several-listed" if meant else "not-listed", words, detail=wish)
    return meant[0], listed[meant[0]]


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


def labels(config: Config) -> dict[bytes, str]:
    """Address to label of every Bluetooth device that is listed."""
    return listing.labels_of(load(config), config.device)


def load(config: Config) -> tuple[Paired, ...]:
    """The paired devices; Failed if their list cannot be used."""
    try:
        return listing.load(config.hub.store)
    except listing.ListingError as error:
        raise _of_listing(error) from error


def change(config: Config, to: Callable[[tuple[Paired, ...]], Iterable[Paired]]) -> None:
    """Replace the list of paired devices; Failed if that cannot be done."""
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
    if isinstance(error, listing.ListingFullError):
        return Failed(UNAVAILABLE, f"{error}; stafet-hub forget one that is not used any more")
    if isinstance(error.__cause__, PermissionError):
        return Failed(NOT_PERMITTED, f"{error}; run as root or as the user whose hub it is")
    return Failed(IO, f"{error}; move it away, and pair its devices again")


def fail(reason: str, words: Words, **values: object) -> NoReturn:
    """End the command with the sentence of `edge.ble.pair_texts`, and the exit status, for this reason."""
    raise Failed(_STATUSES.get(reason, UNAVAILABLE), words[reason].format(**values))


def columns(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows as a table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
