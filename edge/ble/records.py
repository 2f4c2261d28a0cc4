"""Stored records: what a device keeps, asked for until the outbox has it, and each taken once.

What is remembered of a device's service lies in the store beside the readings (`Memory`):

- *notes*: a digest of each record that is in the outbox, written in the same transaction as the record. A record that
  is noted is not taken again, whether it comes by itself or because it was asked for, in whatever order and session.
- *a mark*: number and digest of the highest record when the device last reported everything it was asked for.

So the rules are:

1. With a mark, the records from that number on are asked for, the marked one included. If it comes, with its digest,
   the device is the one we knew and what is after it is all that is new. If it does not (memory cleared, device reset or
   replaced, sensor changed, ring buffer gone round), everything is asked for.
2. Without a mark everything is asked for; so it is where numbers begin again soon after the mark (16 bits).
3. The mark moves only when a procedure has ended well, as many records came as the device had counted, and all of them
   are on disk. A cut at any step therefore only means that some records are sent by the device again, and passed over.
4. What comes by itself without a time, or by a clock that nobody has set, is taken whatever it looks like. In a memory
   such records are known by their bytes and by which of several alike each is; one that came by itself before is taken
   from there once more, because nothing tells that it is the same.
5. Nothing is ever deleted in a device.

The store may lose its memory (a new card): then everything is sent again, and the bridge knows each record by its bytes.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from enum import Enum
from hashlib import sha256
from typing import Final, Literal, Protocol

from edge.ble.flows import ABORT, FLOWS, Answer, Entry, Opcode, Reader, Records, Result, answer_to, asked, elsewhere
from edge.ble.radio import Characteristic, RadioError
from edge.store import Mark, Recalled
from wire.reading import MAX_ATTRIBUTE_BYTES
from wire.services import RACP

SILENT_S: Final = 30.0
"""Without a record or an answer for so long a procedure has failed (GLP and PLXP: the ATT transaction time-out)."""
COUNT_S: Final = 5.0
"""Nothing is sent before a count, so it comes at once."""
LATE_S: Final = 1.0
"""Records that have not come so long after the last one and the answer are lost."""
EARLY: Final = 4096
"""So many values wait for the records to which they are attached; no device keeps more."""
WRITE_S: Final = 5.0
ABORT_S: Final = 2.0
LONGEST_S: Final = 600.0
"""A thousand records take a minute; a device that never ends must not keep others waiting."""
ATTEMPTS: Final = 3
AGAIN_S: Final = 1.0
"""Before asking again: a device that is busy measures or stores."""
WRAPS_FROM: Final = 0xF000
"""From this 16-bit number on the next ones may begin at 0, which `from the mark on` would not reach. No device keeps 4,096."""


class Memory(Protocol):
    """What the outbox remembers beside readings; `source` names a service of a device. May raise OutboxError."""

    def put_noted(self, encoded: bytes, *, source: bytes, notes: Sequence[bytes]) -> int:
        """Store a reading and the notes of the records in it, both or neither; its number."""
        ...

    def recall(self, source: bytes) -> Recalled: ...

    def mark(self, source: bytes, mark: Mark | None) -> None:
        """Remember where the next procedure begins; None: at the first record."""
        ...


class Outcome(Enum):
    """How asking a service for its records went."""

    WHOLE = "whole"
    SHORT = "short"
    """Fewer records came than the device had counted."""
    REFUSED = "refused"
    SILENT = "silent"
    GONE = "gone"


class _Ended(Enum):
    """How one procedure ended, beside the results of the device."""

    SILENT = "silent"
    GONE = "gone"
    FAILED = "failed"


class Fetch:
    """The records of one service in one session. `received` and `answered` are called by the radio, in order."""

    def __init__(
        self,
        *,
        records: Records,
        recalled: Recalled,
        relative_to: bytes,
        store: Callable[[int, bytes, tuple[bytes, ...], tuple[tuple[int, bytes], ...]], bool],
        write: Callable[[bytes], Awaitable[None]],
        gone: asyncio.Event,
    ) -> None:
        """`store` takes characteristic, value, notes, and what else belongs to its context; whether it is on disk."""
        self._records = records
        self.recalled = recalled
        self._notes = set(recalled.notes)
        self._reader = Reader(records, relative_to)
        self._store = store
        self._write = write
        self._gone = gone
        self._alike: Counter[bytes] = Counter()
        self._early: dict[bytes, list[tuple[int, bytes]]] = {}
        """What waits for its record, by the record's number."""
        self._waiting = 0
        self._request = b""
        self._opcode = Opcode.REPORT
        self._answer: asyncio.Future[Answer] | None = None
        self._heard = 0.0
        self._news = asyncio.Event()
        self._arrived = 0
        self._highest: Mark | None = None
        self._marked_seen = False
        self.all_on_disk = True
        """Whether the outbox took everything at once."""
        self.taken = 0
        """Records stored that had been asked for."""
        self.passed_over = 0
        """Records that were in the outbox already."""
        self.ignored = 0
        """Indications of the control point that answer nothing."""

    # Called by the radio

    def heard(self) -> None:
        """Something of a record has come, perhaps not all of it."""
        self._heard = asyncio.get_running_loop().time()
        self._news.set()

    def received(self, characteristic: int, value: bytes) -> None:
        """A value of one of the records' characteristics, asked for or not."""
        self.heard()
        number = self._reader.number_of(value)
        if self._request and self._reader.is_early(characteristic, value) and self._waiting < EARLY:
            self._early.setdefault(number, []).append((characteristic, value))
            self._waiting += 1
            return
        self._take(characteristic, value)
        self._take_early(number)

    def _take_early(self, number: bytes) -> None:
        for early in self._early.pop(number, ()):
            self._waiting -= 1
            self._take(*early)

    def _take(self, characteristic: int, value: bytes) -> None:
        entries = [self._told_apart(entry) for entry in self._reader.read(characteristic, value)]
        for entry in entries:
            self._count(characteristic, entry)
        if entries and all(entry.digest in self._notes and (entry.sure or self._request) for entry in entries):
            self.passed_over += len(entries)
            return
        # A value that nothing tells apart and that came by itself does not stand for one in the memory.
        known = [entry for entry in entries if entry.sure or self._request or entry.number is not None]
        notes = tuple(entry.digest for entry in known if entry.digest)
        self.all_on_disk &= self._store(characteristic, value, notes, self._beside(characteristic, value))
        self._notes.update(notes)
        if self._request:
            self.taken += len(entries)

    def _told_apart(self, entry: Entry) -> Entry:
        """One of several that look alike in a memory is known by which one of them it is."""
        if entry.sure or not self._request:
            return entry
        self._alike[entry.digest] += 1
        nth = self._alike[entry.digest]
        return entry if nth == 1 else entry._replace(digest=sha256(entry.digest + nth.to_bytes(4)).digest()[:8])

    def _beside(self, characteristic: int, value: bytes) -> tuple[tuple[int, bytes], ...]:
        """The record to which a value is attached (a glucose context has no time of its own), and the request."""
        beside = []
        record = self._reader.record_of(characteristic, value)
        # Beside a longer one, which no attribute holds, it could not be kept.
        if 0 < len(record) <= MAX_ATTRIBUTE_BYTES:
            beside.append((self._records.values[0], record))
        if self._request:
            beside.append((RACP, self._request))
        return tuple(beside)

    def _count(self, characteristic: int, entry: Entry) -> None:
        if characteristic != self._records.values[0] or not self._request:
            return
        self._arrived += 1
        if entry.number is None:
            return
        found = Mark(entry.number, entry.digest)
        self._marked_seen |= found == self.recalled.mark
        if self._highest is None or found.number >= self._highest.number:
            self._highest = found

    def answered(self, value: bytes) -> None:
        """An indication of the control point."""
        answer = answer_to(self._opcode, value)
        if answer is None or self._answer is None or self._answer.done():
            self.ignored += 1
        else:
            self._answer.set_result(answer)

    # The procedures

    async def run(self) -> tuple[Outcome, Mark | None]:
        """Ask for what is missing; how that went, and if it is whole and on disk, the mark to remember."""
        mark = self.recalled.mark
        if mark is not None and 0 <= mark.number < self._numbers:
            outcome = await self._ask(mark.number)
            if outcome in {Outcome.SILENT, Outcome.GONE} or self._marked_seen:
                return self._concluded(outcome)
            if not self._reader.sure:  # perhaps another sensor: what it has may look like what the first one had
                self._notes -= self.recalled.notes
        return self._concluded(await self._ask(None))

    @property
    def _numbers(self) -> int:
        """From how many on there is nothing to ask from; 0 where records have none, as after an update of the device."""
        size = self._records.number_bytes
        return WRAPS_FROM if size == 2 else (1 << 8 * size) - 1

    def _concluded(self, outcome: Outcome) -> tuple[Outcome, Mark | None]:
        if outcome is Outcome.WHOLE and self.all_on_disk:
            return outcome, self._highest
        return outcome, self.recalled.mark

    async def _ask(self, number: int | None) -> Outcome:
        """Count and report, with as many attempts as make sense."""
        outcome = Outcome.REFUSED
        for opcode in self._records.opcodes:
            for attempt in range(ATTEMPTS):
                if attempt:
                    await self._pause()
                counted = await self._ask_once(Opcode.COUNT, number)
                if counted == Answer(Result.SUCCESS, 0):
                    self._highest = None
                    return Outcome.WHOLE
                ended = counted
                if counted not in {_Ended.GONE, _Ended.FAILED}:  # one that does not count may report all the same
                    expected = counted.records if isinstance(counted, Answer) else None
                    ended = await self._ask_once(opcode, number, expected or 0)
                outcome = self._outcome(ended, counted)
                if outcome is not Outcome.SHORT and not _is_worth_another(ended):
                    break
            if ended != Answer(Result.OPCODE_NOT_SUPPORTED):
                break
        return outcome

    def _outcome(self, ended: Answer | _Ended, counted: Answer | _Ended) -> Outcome:
        if ended is _Ended.SILENT:
            return Outcome.SILENT
        if ended is _Ended.GONE:
            return Outcome.GONE
        if not isinstance(ended, Answer) or ended.result not in {Result.SUCCESS, Result.NO_RECORDS}:
            return Outcome.REFUSED
        said = [each.records for each in (counted, ended) if isinstance(each, Answer) and each.records is not None]
        return Outcome.SHORT if said and self._arrived < max(said) else Outcome.WHOLE

    async def _ask_once(self, opcode: Opcode, number: int | None, expected: int = 0) -> Answer | _Ended:
        """One procedure, from its request to its end, and to the last of `expected` records if they come late."""
        request = asked(opcode, number=number, number_bytes=self._records.number_bytes)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._opcode, self._answer, self._heard = opcode, answer, loop.time()
        if opcode is not Opcode.COUNT:
            self._request, self._arrived, self._highest, self._marked_seen = request, 0, None, False
            self._alike.clear()
        try:
            async with asyncio.timeout(WRITE_S):
                await self._write(request)
            ended = await self._until_answered(answer, COUNT_S if opcode is Opcode.COUNT else SILENT_S)
            await self._last_ones(ended, expected)
            return ended  # noqa: TRY300  what comes until here answers the request
        except (RadioError, TimeoutError):
            return _Ended.GONE if self._gone.is_set() else _Ended.FAILED
        finally:
            for record in tuple(self._early):  # has not come
                self._take_early(record)
            self._request = b""

    async def _last_ones(self, ended: Answer | _Ended, expected: int) -> None:
        """Wait for what comes after the answer: characteristics of a device may be channels of their own."""
        if not self._request or not isinstance(ended, Answer) or ended.result != Result.SUCCESS:
            return
        loop = asyncio.get_running_loop()
        expected = max(expected, ended.records or 0)
        while (self._arrived < expected or self._reader.awaits) and loop.time() < self._heard + LATE_S:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._heard + LATE_S):
                    await self._news.wait()

    async def _until_answered(self, answer: "asyncio.Future[Answer]", silent_s: float) -> Answer | _Ended:
        loop = asyncio.get_running_loop()
        longest = loop.time() + LONGEST_S
        leaving = asyncio.ensure_future(self._gone.wait())
        try:
            while not answer.done():
                until = min(self._heard + silent_s, longest)
                if loop.time() >= until:
                    await self._abort(answer)
                    return _Ended.SILENT
                either: set[asyncio.Future[Answer] | asyncio.Future[Literal[True]]] = {answer, leaving}
                await asyncio.wait(either, timeout=until - loop.time(), return_when=asyncio.FIRST_COMPLETED)
                if leaving.done() and not answer.done():
                    return _Ended.GONE
            return answer.result()
        finally:
            leaving.cancel()

    async def _abort(self, answer: "asyncio.Future[Answer]") -> None:
        """Let the device end what it cannot end by itself, or the next request would be refused."""
        self._opcode = Opcode.ABORT
        with contextlib.suppress(RadioError, TimeoutError):
            async with asyncio.timeout(ABORT_S):
                await self._write(ABORT)
                await answer

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_S):
                await self._gone.wait()


def _is_worth_another(ended: Answer | _Ended) -> bool:
    if isinstance(ended, _Ended):
        return ended is _Ended.FAILED
    return ended.result in {Result.BUSY, Result.NOT_COMPLETED}


def control_points(
    characteristics: Iterable[Characteristic],
) -> Iterator[tuple[Characteristic, Records, list[int]]]:
    """Each control point, what it gives out, and the handles of the characteristics that this comes by."""
    found = tuple(characteristics)
    for racp in found:
        if racp.uuid != RACP or not (racp.writable and racp.notifies):
            continue
        own = FLOWS.get(racp.service) if isinstance(racp.service, int) else None
        among = [each for each in found if each.notifies and (own is None or each.service == racp.service)]
        uuids = {each.uuid for each in among}
        if own is None:
            records = elsewhere(uuids)
        else:
            records = next((one for one in own.records if one.values[0] in uuids), None)
        if records is not None:
            yield racp, records, [each.handle for each in among if each.uuid in records.values]
