"""Rates of the pure parts, each as a ratio to a limit or a rival measured in the same run.

Machines are noisy and differ by a factor of two; a ratio within one run does not. Every figure is the median of
several rounds in which ours and theirs take turns.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROUNDS = 7
_Decode = Callable[[bytes], object]


class Figure(NamedTuple):
    """One line of the report; `limit` is what the goal asks of `value`, in the sense of `better`."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    better: str = ">="
    note: str = ""

    @property
    def holds(self) -> bool:
        if self.limit is None:
            return True
        return self.value >= self.limit if self.better == ">=" else self.value <= self.limit


def rates(*functions: Callable[[], object], batch: int = 2000) -> list[float]:
    """Calls per CPU-second of each function: the median over rounds in which they take turns."""
    seen: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for kept, function in zip(seen, functions, strict=True):
            start = time.process_time()
            for _ in range(batch):
                function()
            kept.append(batch / (time.process_time() - start))
    return [statistics.median(kept) for kept in seen]


def decoders() -> Iterator[Figure]:
    """Every GATT and serial decoder against an unchecked struct decode that makes the same measurements."""
    from tests.bench.unchecked import UNCHECKED, UNCHECKED_RECORDS, UNCHECKED_SERIAL
    from wire import gatt, serial

    pairs: list[tuple[str, _Decode, bytes, _Decode]] = [
        (gatt.short_uuid(uuid)[:8], partial(gatt.decode, uuid), *pair) for uuid, pair in UNCHECKED.items()
    ]
    pairs += [(name, *each) for name, each in UNCHECKED_RECORDS.items()]
    pairs += [(kind.value, partial(serial.decode, kind), *pair) for kind, pair in UNCHECKED_SERIAL.items()]
    for name, checked, value, bare in pairs:
        if bare(value) != checked(value):
            raise AssertionError(f"{name}: the unchecked decoder does something else")
        ours, theirs = rates(partial(checked, value), partial(bare, value))
        note = f"{ours:,.0f}/s a core"
        yield Figure(f"decode {name}, checked / unchecked struct", ours / theirs, "x", 0.5, note=note)


def x73() -> Iterator[Figure]:
    """A 20601 report from its APDU to measurements, against an unchecked struct decode through the same layers."""
    from tests.bench.unchecked_x73 import unchecked, unchecked_configuration
    from tests.wire.x73.support import SESSION, vector
    from wire.x73.apdu import EventReport, Prst, decode_apdu
    from wire.x73.measurements import ReportDecoder
    from wire.x73.reports import decode_report
    from wire.x73.specializations import OXIMETER_0190, PRESSURE_02BC, SCALE_05DC

    def checked(raw: bytes, decoder: ReportDecoder) -> object:
        apdu = decode_apdu(raw)
        if not isinstance(apdu, Prst) or not isinstance(apdu.message, EventReport):
            raise TypeError("the sample is no event report")
        message = apdu.message
        return decoder.decode(decode_report(message.event_type, message.handle, message.info))

    for raw, configuration in (
        (SESSION["report"], OXIMETER_0190),
        (vector("opentele/and_ua767_pressure").value, PRESSURE_02BC),
        (vector("opentele/and_uc321_lb").value, SCALE_05DC),
    ):
        known, decoder = unchecked_configuration(configuration), ReportDecoder(configuration)
        if unchecked(raw, known) != checked(raw, decoder):
            raise AssertionError(f"{configuration.config_id:04X}: the unchecked decoder does something else")
        ours, theirs = rates(partial(checked, raw, decoder), partial(unchecked, raw, known))
        note = f"{ours:,.0f}/s a core"
        name = f"decode 20601 {configuration.config_id:04X}, checked / unchecked struct"
        yield Figure(name, ours / theirs, "x", 0.5, note=note)


def fhir() -> Iterator[Figure]:
    """One Observation as plain dictionaries and JSON, against a FHIR library of models doing the same."""
    from fhir.resources.R4B.observation import Observation

    from bridge.fhir import json as fhir_json
    from tests.bench.sample import observation_of, spot_check, translation_of

    build = observation_of(spot_check())
    plain = json.loads(fhir_json.dumps(build()))

    def ours() -> object:
        return fhir_json.dumps(build())

    def rival() -> object:
        return Observation.model_validate(plain).model_dump_json()

    mine, theirs = rates(ours, rival, batch=200)
    yield Figure("Observation to FHIR JSON / fhir.resources", mine / theirs, "x", note=f"{mine:,.0f}/s a core")
    (whole,) = rates(translation_of(spot_check()), batch=200)
    yield Figure("evidence to all its FHIR resources", whole, "readings/s", note="decoded, 2 Observations, devices")


def ingest() -> Iterator[Figure]:
    """Signed durable ingest in groups of 64, against the series limit of bare signing and bare committing."""
    import sqlite3

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    from edge.outbox import Outbox
    from tests.bench.sample import clock, spot_check
    from wire.batch import encode_reading, seal_batch
    from wire.cose import KeySigner

    key = ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    encoded = encode_reading(spot_check())
    count, group = 1280, 64
    limits, got = [], []
    for _ in range(5):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
            directory = Path(name)
            plain = sqlite3.connect(directory / "plain.db", isolation_level=None)
            plain.executescript(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE r (s INTEGER PRIMARY KEY, b BLOB)"
            )
            start = time.perf_counter()
            for _ in range(count // group):
                plain.execute("BEGIN")
                plain.executemany("INSERT INTO r (b) VALUES (?)", [(encoded,)] * group)
                plain.execute("COMMIT")
            bare_commit = time.perf_counter() - start
            plain.close()
            start = time.perf_counter()
            for _ in range(count // group):
                key.sign(encoded * group, algorithm)
            bare_sign = time.perf_counter() - start
            with Outbox.open(directory / "outbox.db", hub="bench") as outbox:
                signer = KeySigner(key)
                start = time.perf_counter()
                for _ in range(count // group):
                    seqs = outbox.put_many([encode_reading(spot_check()) for _ in range(group)])
                    pending = outbox.pending(seqs[0] - 1, group)
                    if pending is None:
                        raise AssertionError("what was put is not pending")
                    seal_batch(
                        hub="bench",
                        epoch=pending.epoch,
                        first=pending.first,
                        previous=pending.previous,
                        oldest=pending.oldest,
                        readings=pending.readings,
                        sealed=clock(),
                        signer=signer,
                    )
                elapsed = time.perf_counter() - start
        limits.append(bare_commit + bare_sign)
        got.append(elapsed)
    ratio = statistics.median(limit / taken for limit, taken in zip(limits, got, strict=True))
    yield Figure(
        "signed durable ingest, groups of 64 / bare sign + commit",
        ratio,
        "x",
        note=f"{count / statistics.median(got):,.0f} readings/s",
    )


def size() -> Iterator[Figure]:
    """Bytes of one reading on the wire."""
    from tests.bench.sample import spot_check
    from wire.batch import encode_reading

    yield Figure("one oximeter reading with its context", len(encode_reading(spot_check())), "bytes")
