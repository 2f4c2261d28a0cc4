"""The bridge killed between any two of its steps, and started again on the same ledger: nothing lost, nothing twice.

A step is a call from the relay or the writer to the ledger, to the FHIR server or to the broker. The kill comes before
the call (nothing happened) or after it (it happened, and nobody heard). What was not acknowledged comes again, as it
does from a broker or from the hub.
"""

import asyncio
import inspect
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.database import Database
from bridge.ledger import Ledger
from tests.bridge.fake_fhir import FakeFhir
from tests.bridge.hub import Hub, stored_weight, undecodable
from tests.bridge.rig import bridge, enrol
from tests.support import rounds


class Killed(BaseException):
    """SIGKILL, as far as one process can do it to itself."""


class Fate:
    """Kills at the given crossing; counts them all. A dead process does nothing more."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.crossings = 0
        self.dead = False

    def cross(self) -> None:
        if self.dead:
            raise Killed
        self.crossings += 1
        if self.crossings - 1 == self.at:
            self.dead = True
            raise Killed

    def wrap(self, name: str, part: Any) -> Any:
        return self.around(part) if name == "publish" else Proxy(part, self)

    def around(self, call: Any) -> Any:
        def called(*arguments: Any, **named: Any) -> Any:
            self.cross()
            answer = call(*arguments, **named)
            if inspect.isawaitable(answer):
                return self.awaited(answer)
            self.cross()
            return answer

        return called

    async def awaited(self, answer: Any) -> Any:
        found = await answer
        self.cross()
        return found


class Proxy:
    """A part whose every call is a step; the parts within it too."""

    def __init__(self, part: Any, fate: Fate) -> None:
        self._part = part
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name in ("registry", "quarantine"):
            return Proxy(found, self._fate)
        return self._fate.around(found) if callable(found) else found


class Story:
    """Two batches of a hub with everything that can happen to a reading; and how it must end."""

    def __init__(self, directory: Path, *, conditional: bool) -> None:
        self.directory = directory
        self.fhir = FakeFhir(refuse=self.judge, conditional=conditional)
        self.hub = Hub()
        self.published: list[tuple[str, bytes]] = []
        enrol(directory, self.hub)
        self.hub.weigh(2)
        self.hub.take(undecodable(2_000_000))
        self.hub.take(stored_weight(81_000), stored_weight(81_000, after_us=4_000_000))
        self.hub.weigh(1)
        self.hub.take(stored_weight(81_000, after_us=9_000_000))
        self.batches = [self.hub.batch(1, 5), self.hub.batch(6, 7)]

    @staticmethod
    def judge(resource: dict[str, Any]) -> str | None:
        return "no" if resource.get("valueQuantity", {}).get("value") == 60.005 else None

    async def live(self, fate: Fate) -> bool:
        """One life, until every batch is answered or fate comes; whether it came to the end."""
        try:
            async with bridge(self.directory, self.fhir, wrap=fate.wrap, published=self.published) as rig:
                for envelope in self.batches if not fate.dead else ():
                    rig.deliver(envelope)
                async with asyncio.timeout(20):
                    await rig.relay.drained()
        except BaseExceptionGroup as group:
            fatal, others = group.split(Killed)
            assert fatal is not None, others
            return False
        return not fate.dead

    async def check(self) -> None:
        """Everything arrived, once; the hub was told; what cannot arrive is in quarantine with its reason."""
        assert len(self.fhir.identifiers()) == len(set(self.fhir.identifiers())), "an Observation was written twice"
        values = [each["valueQuantity"]["value"] for each in self.fhir.observations() if "valueQuantity" in each]
        assert sorted(values) == [60.0, 60.025, 81.0]
        self.published.clear()
        async with bridge(self.directory, self.fhir, published=self.published) as rig:
            receipt = await rig.relayed(self.batches[-1])
            assert (receipt.next, receipt.chain) == (8, self.hub.chain_before(8))
            reasons = {(item.seq, item.reason) for item in rig.ledger.quarantine.items() if item.kind == "reading"}
            assert reasons == {(2, "fhir-refused"), (3, "undecodable")}
            summary = rig.ledger.summary()
            assert (summary.written, summary.quarantined, summary.pending) == (5, 2, 0)


conditional_or_not = pytest.mark.parametrize(
    "conditional", [pytest.param(True, id="conditional create"), pytest.param(False, id="no conditional create")]
)


def stories(directory: Path, *, conditional: bool) -> Iterator[Story]:
    """The same story again and again, each on a ledger of its own."""
    for number in itertools.count():
        place = directory / str(number)
        place.mkdir()
        yield Story(place, conditional=conditional)


@conditional_or_not
async def test_a_bridge_killed_between_any_two_steps_loses_nothing_and_writes_nothing_twice(
    memory_path: Path, conditional: bool
) -> None:
    tales = stories(memory_path, conditional=conditional)
    undisturbed = Fate(None)
    assert await next(tales).live(undisturbed)
    assert undisturbed.crossings > 50
    for step in range(undisturbed.crossings):
        story = next(tales)
        assert not await story.live(Fate(step)), "it was killed"
        assert await story.live(Fate(None)), "the next life comes to the end"
        await story.check()


@conditional_or_not
async def test_a_bridge_killed_again_and_again_while_it_recovers_loses_nothing(
    memory_path: Path, conditional: bool
) -> None:
    chance = random.Random(20261121)  # noqa: S311 - a seed, not a secret
    tales = stories(memory_path, conditional=conditional)
    for _ in range(rounds(15, 400)):
        story = next(tales)
        while not await story.live(Fate(chance.randrange(120))):
            pass
        await story.check()


async def test_what_a_killed_bridge_left_pending_is_written_at_start_and_its_hub_is_told_unasked(
    memory_path: Path,
) -> None:
    tales = stories(memory_path, conditional=True)
    recovered = 0
    for step in range(0, 60, 3):
        story = next(tales)
        await story.live(Fate(step))
        with Database.open(story.directory / "bridge.db") as database:
            pending = Ledger(database).summary().pending
        if not pending:
            continue
        recovered += 1
        story.published.clear()
        async with bridge(story.directory, story.fhir, published=story.published) as rig:
            async with asyncio.timeout(20):
                await rig.relay.drained()
            assert rig.ledger.summary().pending == 0
            assert [(each.digest, each.refused) for each in rig.receipts] == [(None, None)]
            standing = rig.ledger.standing(story.hub.name, story.hub.epoch)
            assert (rig.receipts[0].next, rig.receipts[0].chain) == (standing.next, standing.chain)
    assert recovered > 3
