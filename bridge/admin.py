"""What the commands do, apart from their words: identity, registry, quarantine and status, as plain JSON values."""

import asyncio
import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from bridge import identity as keys
from bridge.assignment import Assignment
from bridge.backoff import Backoff
from bridge.config import Config, Fault
from bridge.database import Database, DatabaseError, NewerLedgerError
from bridge.ledger import Ledger, now_us
from bridge.locks import HubLocks
from bridge.quarantine import Item
from bridge.registry import RegistryError
from wire.batch import open_batch
from wire.cose import load_public_key_pem, thumbprint
from wire.errors import KeyFileError
from wire.evidence import AgentReport, Evidence, Reading

OK: Final = 0
USAGE: Final = 2
BAD_INPUT: Final = 65
UNAVAILABLE: Final = 69
INTERNAL: Final = 70
CANNOT_CREATE: Final = 73
IO_FAILED: Final = 74
BAD_CONFIG: Final = 78

JSON: TypeAlias = dict[str, Any]


class CommandError(Exception):
    """A command cannot do what it was asked; one line for stderr, and the exit status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def identity(config: Config, *, make: bool = False) -> keys.Identity:
    """The bridge's keys; made if they are not there and may be made."""
    try:
        return (keys.make if make else keys.load)(config.key, config.identifier_key)
    except keys.IdentityError as error:
        raise CommandError(CANNOT_CREATE if make else BAD_CONFIG, str(error)) from error


@contextlib.contextmanager
def ledger_errors() -> Iterator[None]:
    """Database trouble as the command line says it."""
    try:
        yield
    except NewerLedgerError as error:
        raise CommandError(BAD_CONFIG, str(error)) from error
    except DatabaseError as error:
        raise CommandError(IO_FAILED, str(error)) from error
    except RegistryError as error:
        raise CommandError(CANNOT_CREATE, str(error)) from error


@contextlib.contextmanager
def ledger(config: Config, *, make: bool = False) -> Iterator[Ledger]:
    """The ledger of this configuration."""
    if not make and not config.ledger.exists():
        raise CommandError(IO_FAILED, f"{config.ledger} is not there: `stafet-bridge hub add` or `run` makes it")
    with ledger_errors(), Database.open(config.ledger) as database:
        yield Ledger(database)


def faults_of_files(config: Config) -> tuple[Fault, ...]:
    """What is wrong with the files that a faultless configuration names."""
    faults = []
    try:
        keys.load(config.key, config.identifier_key)
    except keys.IdentityError as error:
        faults.append(Fault(path="bridge", what=str(error)))
    directory = config.ledger.parent
    if not os.access(directory, os.W_OK | os.X_OK):
        faults.append(Fault(path="bridge.ledger", what=f"{directory} is no directory that this user can write in"))
    tls = config.mqtt.tls
    files = {"mqtt.tls.ca": tls.ca, "mqtt.tls.certificate": tls.certificate, "mqtt.tls.key": tls.key} if tls else {}
    if config.fhir.ca is not None:
        files["fhir.ca"] = config.fhir.ca
    faults += [
        Fault(path=path, what=f"{file} cannot be read") for path, file in files.items() if not os.access(file, os.R_OK)
    ]
    if tls is not None and tls.key.exists() and tls.key.stat().st_mode & 0o077:
        faults.append(Fault(path="mqtt.tls.key", what=f"{tls.key} can be read by others: chmod 600 {tls.key}"))
    return tuple(faults)


def add_hub(ledger: Ledger, hub: str, key: Path, patient: str | None) -> JSON:
    """Enrol a hub with the public key in this file."""
    try:
        pem = key.read_bytes()
    except OSError as error:
        raise CommandError(IO_FAILED, f"{key}: {error.strerror}") from error
    try:
        kid = thumbprint(load_public_key_pem(pem))
    except KeyFileError as error:
        raise CommandError(BAD_INPUT, f"{key}: {error}") from error
    changed = ledger.registry.add_hub(hub, pem, patient=patient, now_us=now_us())
    return {"hub": hub, "kid": kid.hex(), "changed": changed}


def revoke(ledger: Ledger, hub: str) -> int:
    return ledger.registry.revoke(hub, now_us=now_us())


def assign(ledger: Ledger, hub: str, assignment: Assignment) -> bool:
    return ledger.registry.assign(hub, assignment, now_us=now_us())


def hubs(ledger: Ledger) -> list[JSON]:
    return [
        {
            "id": hub.name,
            "added": _time(hub.added_us),
            "revoked": hub.revoked,
            "kids": [kid.hex() for kid in hub.kids],
            "assignments": [
                {
                    "device": each.device.hex(":").upper() if each.device else None,
                    "user": each.user,
                    "patient": each.patient,
                    "from": _time(each.from_us),
                    "until": _time(each.until_us),
                }
                for each in hub.assignments
            ],
        }
        for hub in ledger.registry.hubs()
    ]


def status(ledger: Ledger, config: Config) -> JSON:
    """How the bridge stands, in numbers."""
    found = ledger.summary()
    with contextlib.closing(HubLocks(config.ledger)) as locks:
        running = locks.bridge_runs()
    oldest_us = found.oldest_pending_us
    return {
        "running": running,
        "hubs": found.hubs,
        "batches": found.batches,
        "readings_written": found.written,
        "readings_pending": found.pending,
        "oldest_pending_s": None if oldest_us is None else round((now_us() - oldest_us) / 1e6, 1),
        "readings_quarantined": found.quarantined,
        "readings_missing": found.missing,
        "observations": found.observations,
        "last_written": _time(found.last_written_us),
        "quarantine": ledger.quarantine.counts(),
        "not_kept": ledger.quarantine.not_kept(),
    }


def quarantine_list(ledger: Ledger, reason: str | None, *, with_resolved: bool) -> list[JSON]:
    return [_item(item) for item in ledger.quarantine.items(reason=reason, resolved=with_resolved)]


def quarantine_show(ledger: Ledger, number: int) -> JSON:
    """One item with its evidence: the refused envelope, or the reading as it was sealed and how it was received."""
    item = ledger.quarantine.item(number)
    if item is None:
        raise CommandError(
            BAD_INPUT, f"there is no item {number}: `stafet-bridge quarantine list` shows those there are"
        )
    shown = _item(item) | {"evidence": item.octets.hex() if item.octets is not None else None}
    if item.reading_id is not None:
        entry = ledger.entry(item.reading_id)
        batch = open_batch(ledger.envelope(entry.batch), ledger.registry.key_of_evidence)
        verified = batch.readings[entry.seq - batch.first]
        shown |= {
            "evidence": verified.encoded.hex(),
            "device": verified.reading.device.address.hex(":").upper(),
            **_bytes_of(verified.reading),
            "received": _time(verified.reading.received.wall_us),
            "patient": entry.patient,
            "batch": entry.batch.hex(),
        }
    return shown


def _bytes_of(evidence: Evidence) -> JSON:
    """What the device itself sent, and what says how to read it."""
    if isinstance(evidence, Reading):
        characteristic = evidence.characteristic
        named = f"{characteristic:04X}" if isinstance(characteristic, int) else characteristic.hex()
        return {"characteristic": named, "value": evidence.value.hex()}
    if isinstance(evidence, AgentReport):
        configuration = evidence.configuration
        named = f"{configuration:04X}" if isinstance(configuration, int) else configuration.hex()
        return {"configuration": named, "apdu": evidence.apdu.hex()}
    return {"format": evidence.format, "frame": evidence.frame.hex()}


def redrivable(ledger: Ledger, numbers: Iterable[int], reason: str | None) -> list[int]:
    """Ids of the readings to redrive, oldest first; all of them, if neither numbers nor a reason say which."""
    chosen = list(numbers)
    if not chosen:
        items = ledger.quarantine.items(reason=reason, limit=1_000_000)
        return [item.reading_id for item in reversed(items) if item.reading_id is not None]
    readings = []
    for number in chosen:
        item = ledger.quarantine.item(number)
        if item is None or item.reading_id is None:
            what = "does not exist" if item is None else "is a refused batch, which its hub sends again by itself"
            raise CommandError(BAD_INPUT, f"item {number} {what}")
        readings.append(item.reading_id)
    return readings


async def redrive(config: Config, bridge: keys.Identity, readings: Iterable[int], *, wait_s: float) -> JSON:
    """Translate and write quarantined readings again; TimeoutError if the FHIR server does not take them in time."""
    from bridge.service import writing  # noqa: PLC0415 - httpx: 0.2 s that no other command needs
    from bridge.writer import Tally  # noqa: PLC0415 - the same

    tally = Tally()
    with Database.open(config.ledger) as database, contextlib.closing(HubLocks(config.ledger)) as locks:
        async with asyncio.timeout(wait_s), writing(config, bridge, database, Backoff()) as (ledger, _, writer):
            for reading_id in readings:
                hub_id = ledger.registry.hub_id(ledger.entry(reading_id).hub)
                async with locks.hold(hub_id or 0):
                    tally += await writer.redrive([reading_id])
    return asdict(tally)


def _item(item: Item) -> JSON:
    return {
        "id": item.id,
        "kind": item.kind,
        "reason": item.reason,
        "detail": item.detail,
        "hub": item.hub,
        "epoch": item.epoch.hex() if item.epoch else None,
        "seq": item.seq,
        "digest": item.digest.hex(),
        "size": item.size,
        "count": item.count,
        "first_seen": _time(item.first_us),
        "last_seen": _time(item.last_us),
        "resolved": _time(item.resolved_us),
    }


def _time(us: int | None) -> str | None:
    return None if us is None else datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="seconds")
