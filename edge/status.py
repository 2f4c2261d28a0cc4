"""How the hub is: asked over a socket of the running one, or read from its store; as JSON or in words.

The socket lies in Linux's abstract namespace under a name made of the store's path: nothing is written to flash, and
nothing is left behind by a hub that was killed. It answers root and the hub's own user, with one JSON document.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias

from edge.log import event
from edge.outbox import OutboxStats
from wire.clock import Clock

Document: TypeAlias = dict[str, Any]
"""What `status --json` prints (docs/hub.md). Ages are in seconds; null is not known, or never."""

ANSWER_S: Final = 2.0
"""A hub that does not answer by then hangs, which is worth knowing."""
MAX_ANSWER: Final = 1 << 20
CLOCK_OFF_S: Final = 120
"""A device's clock that is further off is worth a word: the hub would have set it if it could."""


def of_store(hub: str, stats: OutboxStats | None, now: Clock) -> Document:
    """The part that the store alone can tell, with or without a running hub."""
    if stats is None:
        return {"hub": hub, "epoch": None, "next": None, "unsent": 0, "oldest_unsent_s": None, "alarms": []}
    return {
        "hub": hub,
        "epoch": stats.epoch.hex(),
        "next": stats.next,
        "unsent": stats.pending,
        "oldest_unsent_s": _waiting_s(stats.oldest_reading, now),
        "alarms": [{"at": moment(a.at_us), "cause": a.cause, "detail": a.detail} for a in stats.alarms],
    }


def _waiting_s(encoded: bytes | None, now: Clock) -> float | None:
    """How long a reading has waited: by the monotonic clock if it came in this boot, else by the wall clock."""
    if encoded is None:
        return None
    from wire.reading import parse_reading  # noqa: PLC0415  not before somebody asks: a hub that starts has else to do

    received = parse_reading(encoded).received
    elapsed_us = now.mono_us - received.mono_us if received.boot == now.boot else now.wall_us - received.wall_us
    return round(max(elapsed_us, 0) / 1_000_000, 1)


def _name(store: Path) -> str:
    return f"\0stafet-hub/{sha256(str(store.resolve()).encode()).hexdigest()[:32]}"


# In the hub


@asynccontextmanager
async def serve(store: Path, snapshot: Callable[[], Document]) -> AsyncIterator[None]:
    """Answer `ask` while entered."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            if _may_ask(writer.get_extra_info("socket")):
                writer.write(json.dumps(snapshot(), ensure_ascii=False).encode())
            writer.close()
            await writer.wait_closed()

    try:
        server = await asyncio.start_unix_server(answer, _name(store))
    except OSError as error:  # somebody sits on our name; that is no reason not to collect
        event("status_unavailable", logging.WARNING, reason=error.strerror)
        yield
        return
    async with server:
        yield


def _may_ask(connection: socket.socket) -> bool:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in {0, os.geteuid()}


# In `stafet-hub status`


def ask(store: Path) -> Document | None:
    """What the running hub says of itself; None if none runs on this store.

    PermissionError if it does not talk to this user, TimeoutError if it hangs.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        try:
            connection.connect(_name(store))
        except ConnectionRefusedError:
            return None
        answer = bytearray()
        while len(answer) < MAX_ANSWER and (part := connection.recv(65536)):
            answer += part
    if not answer:
        raise PermissionError
    document: Document = json.loads(answer)
    return document


# In words

_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "running": "running for {age}",
        "stopped": "NOT RUNNING",
        "delivered": "every reading is delivered",
        "waiting": "{count} readings wait to be delivered, the oldest for {age}",
        "waiting_one": "1 reading waits to be delivered, for {age}",
        "held": "{count} readings are only in memory: the store takes none",
        "connected": "connected to the broker for {age}",
        "disconnected": "NOT CONNECTED to the broker ({error})",
        "refused": "REFUSED: {reason}",
        "receipt": "last receipt {age} ago",
        "no_receipt": "no receipt yet",
        "clock": "clock: {state}",
        "synchronised": "right",
        "unsynchronised": "not checked since the start",
        "unset": "not set",
        "scanning": "radio: listens on {adapter}",
        "deaf": "radio: DOES NOT LISTEN on {adapter} ({fault})",
        "device_now": "{label}: connected, {count} readings",
        "device_read": "{label}: last reading {age} ago, {count} readings since the start",
        "device_seen": "{label}: last seen {age} ago, no reading since the start",
        "device_never": "{label}: not seen since the start",
        "records": "  {count} of them had been stored in the device",
        "clock_off": "  its clock is off by {age}",
        "alarm": "alarm of {at}: {cause}. {detail}",
    },
    "da": {
        "running": "kører, i {age}",
        "stopped": "KØRER IKKE",
        "delivered": "alle målinger er leveret",
        "waiting": "{count} målinger venter på at blive leveret, den ældste i {age}",
        "waiting_one": "1 måling venter på at blive leveret, i {age}",
        "held": "{count} målinger findes kun i hukommelsen: lageret tager ikke imod",
        "connected": "forbundet til brokeren i {age}",
        "disconnected": "IKKE FORBUNDET til brokeren ({error})",
        "refused": "AFVIST: {reason}",
        "receipt": "sidste kvittering for {age} siden",
        "no_receipt": "ingen kvittering endnu",
        "clock": "ur: {state}",
        "synchronised": "går rigtigt",
        "unsynchronised": "ikke efterprøvet siden start",
        "unset": "ikke stillet",
        "scanning": "radio: lytter på {adapter}",
        "deaf": "radio: LYTTER IKKE på {adapter} ({fault})",
        "device_now": "{label}: forbundet, {count} målinger",
        "device_read": "{label}: sidste måling for {age} siden, {count} målinger siden start",
        "device_seen": "{label}: sidst set for {age} siden, ingen måling siden start",
        "device_never": "{label}: ikke set siden start",
        "records": "  {count} af dem lå i apparatets hukommelse",
        "clock_off": "  dets ur går {age} forkert",
        "alarm": "alarm fra {at}: {cause}. {detail}",
    },
}


def language(environment: Mapping[str, str]) -> str:
    """Danish where the environment asks for it, else English."""
    wish = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    return "da" if wish.lower().startswith("da") else "en"


def in_words(status: Document, lang: str) -> str:
    """The status for a person, a line per thing."""
    words = _WORDS[lang]
    lines: list[str] = []

    def say(key: str, **values: object) -> None:
        lines.append(words[key].format(**values))

    if status["running"]:
        say("running", age=age(status["up_s"]))
    else:
        say("stopped")
    unsent, oldest_s = status["unsent"], status["oldest_unsent_s"]
    if not unsent:
        say("delivered")
    else:
        say("waiting_one" if unsent == 1 else "waiting", count=unsent, age=age(oldest_s))
    if status["running"]:
        _say_running(status, say, words)
    for alarm in status["alarms"]:
        say("alarm", **alarm)
    return "\n".join([f"{status['hub']}: {lines[0]}", *(f"  {line}" for line in lines[1:])])


def _say_running(status: Document, say: Callable[..., None], words: Mapping[str, str]) -> None:
    if status["held"]:
        say("held", count=status["held"])
    uplink = status["uplink"]
    if uplink["connected"]:
        say("connected", age=age(uplink["connected_for_s"]))
    else:
        say("disconnected", error=uplink["last_error"] or "...")
    if uplink["refused"]:
        say("refused", reason=uplink["refused"])
    if uplink["last_receipt_s"] is None:
        say("no_receipt")
    else:
        say("receipt", age=age(uplink["last_receipt_s"]))
    say("clock", state=words[status["clock"]["state"]])
    if (radio := status["radio"]) is not None:
        say("scanning" if radio["scanning"] else "deaf", adapter=radio["adapter"], fault=radio["fault"] or "...")
    for device in status["devices"]:
        label = f"{device['label']} ({device['device']})" if device["label"] else device["device"]
        if device["connected"]:
            say("device_now", label=label, count=device["readings"])
        elif device["read_s"] is not None:
            say("device_read", label=label, age=age(device["read_s"]), count=device["readings"])
        elif device["seen_s"] is not None:
            say("device_seen", label=label, age=age(device["seen_s"]))
        else:
            say("device_never", label=label)
        if device["records"]:
            say("records", count=device["records"])
        if device["clock_off_s"] is not None and abs(device["clock_off_s"]) >= CLOCK_OFF_S:
            say("clock_off", age=age(abs(device["clock_off_s"])))


def age(seconds: float | None) -> str:
    """The same in both languages: `12 s`, `3 min`, `5 h`, `2 d`."""
    if seconds is None:
        return "?"
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def moment(at_us: int) -> str:
    """A time stamp of the store as people read it."""
    return datetime.fromtimestamp(at_us / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
