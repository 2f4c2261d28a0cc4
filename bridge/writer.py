"""From the ledger's promises to the FHIR server, exactly once in effect.

Every try ends in one of three ways, and each is safe to be killed in:

- stored: the ledger learns the URLs, and the readings are settled;
- unknown (time-out, broken connection, 5xx, or a life before this one that died): wait, then *ask the server* for the
  identifiers that were written ahead; write only what it has not, with conditional create on top;
- refused: the readings of the Bundle are tried one by one, and what is refused alone goes to quarantine with the
  server's words. So one bad reading never holds up the others.

It does not end before every reading that it was given is settled, or it is cancelled.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from logging import WARNING
from typing import Any, Final, Protocol

from bridge.backoff import Backoff
from bridge.fhir.translate import Translated, bundle
from bridge.fhir_target import Answer, Refused, Stored, Unavailable
from bridge.ledger import Entry, Ledger
from bridge.log import event
from bridge.plan import Planned, Planner
from wire.batch import MAX_READINGS, VerifiedBatch, open_batch

REFUSED: Final = "fhir-refused"
NOT_FOUND: Final = "fhir-not-found"
PATIENCE: Final = 5
"""Tries for what may pass by itself but need not: a conflict, or a stored Observation that search does not find."""

MAX_OBSERVATIONS: Final = 500
"""What one transaction holds: seconds of work for a slow server. A single reading goes whole, however much it says."""

_CONFLICTS: Final = frozenset({HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED})


class Target(Protocol):
    """What the writer needs of a FHIR server (bridge/fhir_target.py)."""

    async def write(self, bundle: Mapping[str, Any]) -> Answer: ...

    async def find(self, identifiers: Iterable[str]) -> Answer: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many readings ended how."""

    written: int = 0
    quarantined: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(written=self.written + other.written, quarantined=self.quarantined + other.quarantined)


class Writer:
    """Settles readings of the ledger. One call per hub at a time (bridge/locks.py)."""

    def __init__(
        self, *, ledger: Ledger, target: Target, planner: Planner, backoff: Backoff, now_us: Callable[[], int]
    ) -> None:
        self._ledger = ledger
        self._target = target
        self._planner = planner
        self._backoff = backoff
        self._now_us = now_us

    async def settle(self, hub: str, *, fresh: Mapping[int, Translated] | None = None) -> Tally:
        """Settle everything that is pending for a hub.

        `fresh` has the translations, by sequence number, of the batch that was just written ahead; the server cannot
        have heard of these. Without it, what is pending is what an earlier life left behind.
        """
        tally = Tally()
        while entries := self._ledger.pending(hub, limit=MAX_READINGS):
            tally += await self.write(_portion(entries), fresh=fresh)
            fresh = None
        return tally

    async def redrive(self, reading_ids: Iterable[int]) -> Tally:
        """Plan and write quarantined readings again, by today's assignments and translation."""
        tally = Tally()
        for entry in self._ledger.quarantined(reading_ids):
            tally += await self.write([entry], redrive=True)
        return tally

    async def write(
        self, entries: Sequence[Entry], *, fresh: Mapping[int, Translated] | None = None, redrive: bool = False
    ) -> Tally:
        """Settle these readings of one hub."""
        doubtful = fresh is None
        attempt = conflicts = 0
        tally = Tally()
        while True:
            if doubtful:
                found = await self._find(entries)
                if isinstance(found, Unavailable):
                    await self._wait(found, attempt)
                    attempt += 1
                    continue
                done = self._mark(entries, found.urls)
                tally += Tally(written=len(done))
                entries = [entry for entry in entries if entry.id not in done]
            works, unplanned = self._plan(entries, fresh or {}, redrive=redrive)
            fresh = None
            tally += unplanned
            entries = [entry for entry, _ in works]
            if not entries:
                return tally
            answer = await self._target.write(bundle(translated for _, translated in works))
            match answer:
                case Stored():
                    self._backoff.answered()
                    done = self._mark(entries, answer.urls)
                    tally += Tally(written=len(done))
                    entries = [entry for entry in entries if entry.id not in done]
                    conflicts += 1
                    if not entries:
                        return tally
                    if conflicts >= PATIENCE:
                        detail = "the server said that it stored the Observation, but does not find it"
                        return tally + self._quarantine(entries, NOT_FOUND, detail)
                    answer = Unavailable(detail="stored without a location")
                case Refused():
                    self._backoff.answered()
                    if len(entries) > 1:
                        for entry in entries:
                            tally += await self.write([entry], redrive=redrive)
                        return tally
                    conflicts += 1
                    if answer.status not in _CONFLICTS or conflicts >= PATIENCE:
                        detail = f"HTTP {answer.status}: {answer.detail}"
                        return tally + self._quarantine(entries, REFUSED, detail)
                    answer = Unavailable(detail=f"HTTP {answer.status}")
                case Unavailable():
                    pass
            doubtful = True
            await self._wait(answer, attempt)
            attempt += 1

    async def _find(self, entries: Sequence[Entry]) -> Stored | Unavailable:
        """Which of the identifiers written ahead the server has. A server that cannot search leaves it to ifNoneExist."""
        wanted = [identifier for entry in entries for identifier in entry.identifiers if identifier not in entry.found]
        if not wanted:
            return Stored(urls={})
        answer = await self._target.find(dict.fromkeys(wanted))
        if isinstance(answer, Refused):
            event("search_refused", WARNING, status=answer.status)
            return Stored(urls={})
        return answer

    def _mark(self, entries: Sequence[Entry], urls: Mapping[str, str]) -> frozenset[int]:
        """Tell the ledger; which of the readings are settled by it."""
        ours = {identifier for entry in entries for identifier in entry.identifiers}
        now = {identifier: url for identifier, url in urls.items() if identifier in ours}
        done = frozenset(
            entry.id
            for entry in entries
            if entry.identifiers and all(each in now or each in entry.found for each in entry.identifiers)
        )
        if now or done:
            self._ledger.written(done, now, now_us=self._now_us())
        return done

    def _plan(
        self, entries: Sequence[Entry], fresh: Mapping[int, Translated], *, redrive: bool
    ) -> tuple[list[tuple[Entry, Translated]], Tally]:
        """What to write of each; what cannot be planned (any more) is quarantined."""
        works = []
        unplanned = Tally()
        opened: dict[bytes, VerifiedBatch] = {}
        for entry in entries:
            if entry.seq in fresh:
                works.append((entry, fresh[entry.seq]))
                continue
            if entry.batch not in opened:
                opened[entry.batch] = open_batch(
                    self._ledger.envelope(entry.batch), self._ledger.registry.key_of_evidence
                )
            batch = opened[entry.batch]
            plan = self._planner.plan(
                batch.readings[entry.seq - batch.first],
                hub=entry.hub,
                sealed=batch.sealed,
                patient=None if redrive else entry.patient,
            )
            if not isinstance(plan, Planned):
                unplanned += self._quarantine([entry], plan.reason, plan.detail)
                continue
            works.append((self._replanned(entry, plan), plan.translated))
        return works, unplanned

    def _replanned(self, entry: Entry, plan: Planned) -> Entry:
        """Write ahead anew if the plan changed since; what it was before is known not to be in FHIR."""
        if (entry.patient, set(entry.identifiers)) == (plan.patient, set(plan.translated.observations)):
            return entry
        self._ledger.replan(entry.id, plan.patient, plan.translated.observations)
        return self._ledger.entry(entry.id)

    def _quarantine(self, entries: Sequence[Entry], reason: str, detail: str) -> Tally:
        for entry in entries:
            self._ledger.unwritable(entry, reason, detail, now_us=self._now_us())
            event("reading_quarantined", WARNING, hub=entry.hub, epoch=entry.epoch, first=entry.seq, reason=reason)
        return Tally(quarantined=len(entries))

    async def _wait(self, answer: Unavailable, attempt: int) -> None:
        event("fhir_unavailable", WARNING, detail=answer.detail, attempt=attempt + 1)
        await self._backoff.wait(attempt, at_least_s=answer.retry_after_s)


def _portion(entries: Sequence[Entry]) -> Sequence[Entry]:
    """As many readings, from the first, as one transaction holds; at least one."""
    room = MAX_OBSERVATIONS
    for count, entry in enumerate(entries):
        room -= len(entry.identifiers)
        if room < 0:
            return entries[: max(count, 1)]
    return entries
