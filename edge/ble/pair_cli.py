"""The command `pair`: a technician at a terminal, or a program with --json."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from edge import status
from edge.ble import device_clock, pairing
from edge.ble.adapter import Adapter
from edge.ble.devices_cli import Words, change, columns, fail, labels
from edge.ble.pair_texts import TEXTS, kind_in
from edge.ble.pairing import Air, Candidate, Found, PairingError
from edge.ble.radio import RadioError
from edge.bluez import ROOT, Bluez, BluezError
from edge.clock import SystemClock, use_timezone
from edge.command import Failed
from edge.config import Config
from edge.listing import Paired, text_of

T = TypeVar("T")

REDRAWN_S: Final = 1.0
MAX_LABEL: Final = 64
MAX_PASSKEY: Final = 999_999


def pair(config: Config, options: argparse.Namespace) -> None:
    """`stafet-hub pair`."""
    words = TEXTS[options.lang or status.language(os.environ)]
    if options.label is not None:
        _check_label(config, options.label, words, None)
    _run(_pair(config, options, words), words)


# pair


async def _pair(config: Config, options: argparse.Namespace, words: Words) -> None:
    screen = Screen(words, passkey=_passkey_of_stdin(words) if options.passkey_from_stdin else None, yes=options.yes)
    wish = options.address or options.name
    if not screen.terminal and not options.list and not (wish and options.label and options.yes):
        fail("no-terminal", words)
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
            found = await pairing.pair(bluez, candidate, screen, bond=not options.no_bond, clock=_clock(config))
            try:
                device, written = _list(config, label, found, words)
            except Failed:
                if found.bonded and not candidate.paired:
                    with contextlib.suppress(BluezError):  # why it is not listed matters more
                        await pairing.forget(bluez, candidate.path)
                raise
    _print_found(device, found.information, words, options, written=written)


def _list(config: Config, label: str, found: Found, words: Words) -> tuple[Paired, bool]:
    """Put it on the list, and whether hub.toml had it already; Failed if its label is taken or the list cannot be written."""
    _check_label(config, label, words, found.address)  # a private address had said nothing yet
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
        change(config, lambda paired: (*(each for each in paired if each.address != device.address), device))
    return device, written


def _clock(config: Config) -> Callable[[int], bytes] | None:
    """How to tell a device the time, if this machine knows it."""
    use_timezone(config.hub.timezone)
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
    logging.getLogger("stafet").addHandler(logging.NullHandler())  # events are for the hub's log
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
            fail("ended", words)
        if not answer:
            continue
        if answer.isdecimal() and 1 <= int(answer) <= len(candidates):
            return candidates[int(answer) - 1]
        try:
            return pairing.choose(candidates, answer)
        except PairingError as error:
            print(words[error.reason].format(detail=error.detail))


class Screen:
    """A person at a terminal, or what was given in a person's place; `edge.ble.pairing.Questions`."""

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
        fail("no-passkey", words)
    return int(line)


def _check_label(config: Config, label: str, words: Words, address: bytes | None) -> None:
    """A label is how a person tells two devices apart, so it is one device's only."""
    if not 1 <= len(label) <= MAX_LABEL or not label.isprintable():
        fail("no-label", words)
    if address is not None and _is_taken(config, label, address):
        fail("label-taken", words, detail=label)


def _is_taken(config: Config, label: str, address: bytes) -> bool:
    return any(each == label and other != address for other, each in labels(config).items())


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
    return columns([tuple(words["columns"].split("|")), *rows]) if rows else str(words["nothing_yet"])


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


def _run(work: Coroutine[Any, Any, T], words: Words) -> T:
    try:
        return asyncio.run(work)
    except PairingError as error:
        fail(error.reason, words, detail=error.detail)
    except BluezError as error:
        reason = "not-permitted" if error.reason in {"AccessDenied", "NotPermitted"} else "no-bluetooth"
        fail(reason, words, detail=str(error))
    except RadioError as error:
        fail("no-bluetooth", words, detail=str(error))
    except (KeyboardInterrupt, EOFError):
        fail("ended", words)
