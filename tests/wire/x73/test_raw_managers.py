"""Our agents before managers that share nothing with us: accepted, read value for value, released."""

from datetime import timedelta
from decimal import Decimal
from functools import cache

import pytest

from simulator.people import person
from simulator.x73.devices import STORE_HANDLE, Now, Shown, absolute, configuration_of, metrics, observe, show, stored
from tests.wire.x73 import peer
from tests.wire.x73.peer import BASIC, COMPOUND, ENUMERATION, NUMERIC, STORE, WAVEFORM, Declared, Manner, RawManager
from tests.wire.x73.support import AGENT_ID, CLOCK, NOW, STAMP, only
from wire.x73.agent import Agent, AgentProfile
from wire.x73.events import (
    Aborted,
    ConfigRefused,
    Released,
    ReportConfirmed,
    SegmentCleared,
    SegmentTransferred,
    TimeSet,
    Warned,
)
from wire.x73.mder import Tolerance
from wire.x73.mds import mds_attributes
from wire.x73.reports import PersonScan
from wire.x73.specializations import SPECIALIZATIONS
from wire.x73.states import State
from wire.x73.store import Store


def number(code: int, unit: int, *kinds: tuple[int, int], parts: tuple[int, ...] = ()) -> Declared:
    return Declared(NUMERIC, code, unit, parts, kinds)


VALUE, TIMED = ((BASIC, 2),), ((BASIC, 2), (peer.ABSOLUTE, 8))
FLOATED = ((peer.SIMPLE, 4), (peer.ABSOLUTE, 8))
ANTIDOTE = Manner(
    name="antidote",
    standard={
        0x0190: {1: number(150456, 544, *VALUE), 10: number(149530, 2720, *VALUE)},
        0x02BC: {
            1: number(150020, 3872, (COMPOUND, 10), (peer.ABSOLUTE, 8), parts=(18949, 18950, 18951)),
            2: number(149546, 2720, *TIMED),
        },
        0x05DC: {1: number(188736, 1731, *FLOATED)},
        0x06A4: {1: number(160184, 2130, *TIMED)},
    },
    reads="before",
)
OPENHEALTH = Manner(name="openhealth", reads="once", refused=frozenset({WAVEFORM}), reply=b"\0\0\0\0", marks=0xC080)
TIDEPOOL = Manner(name="tidepool", version=0x80000002, marks=0x0080)
LATE = Manner(name="late", reads="never", late=True)
MANNERS = (ANTIDOTE, OPENHEALTH, TIDEPOOL, LATE)

CODES: dict[int, list[tuple[int, int]]] = {
    10404: [(150456, 544), (149530, 2720), (150448, 544), (150604, 0)],
    10406: [(147842, 2720), (131329, 4274)],
    10407: [(150020, 3872), (149546, 2720)],
    10408: [(150364, 6048)],
    10415: [(188736, 1731), (188740, 1297), (188752, 1952)],
    10417: [(160184, 2130), (160220, 544), (8417864, 0), (8417752, 0)],
    10418: [(160260, 6608), (160264, 2176), (160268, 544)],
    10420: [(188748, 544), (188736, 1731), (188740, 1297), (188752, 1952), (188756, 1731), (188764, 1731)],
    10421: [(152584, 3072), (152585, 3072), (152586, 1600), (152587, 1600), (188936, 544), (188928, 1600), (188948, 544),
            (8419328, 0)],
    10424: [(8410792, 2560), (8410712, 2240)],
    10425: [(160212, 2130), (8418060, 0)],
    10441: [(8454247, 1280), (8454258, 2720), (8454263, 3968), (8454267, 0), (8454269, 2176)],
    10442: [(8454346, 512), (8454347, 1731)],
    10471: [(8519681, 0), (8519687, 0), (8519690, 0)],
    10472: [(8532992, 512), (8532993, 1746), (8532994, 0)],
}  # fmt: skip
"""The extended configurations, by hand: code and unit term of each object."""
STANDARD = {10404: 0x0190, 10407: 0x02BC, 10408: 0x0320, 10415: 0x05DC, 10417: 0x06A4}
EVERY = [(each, False) for each in CODES] + [(each, True) for each in STANDARD]


SOMEONE = person(1, 0, id_="p1")


def now(index: int) -> Now:
    return Now.of(SOMEONE, CLOCK + index * timedelta(minutes=10), index)


@cache
def history(number: int) -> list[list[Shown]]:
    """What a device has stored: as much as needs two portions."""
    declared = metrics(SPECIALIZATIONS[number].extended)
    first = [show(metric, now(0)) for metric in declared]
    count = 5000 // (8 + sum(len(each.data) for each in first))
    return [first] + [[show(metric, now(index)) for metric in declared] for index in range(1, count)]


class Pair:
    """Our agent and a raw manager."""

    def __init__(self, number: int, manner: Manner, *, standard: bool = False, store: bool = False) -> None:
        specialization = SPECIALIZATIONS[number]
        self.configuration = configuration_of(specialization, standard=standard, store=store)
        self.shown: list[list[Shown]] = []
        mds = mds_attributes(
            specialization, system_id=AGENT_ID, config_id=self.configuration.config_id, model="Sim", clock=CLOCK
        )
        profile = AgentProfile(system_id=AGENT_ID, configurations=(self.configuration,), mds=mds)
        stores: tuple[Store, ...] = ()
        if store:
            self.shown = history(number)
            entries = tuple(absolute(CLOCK) + b"".join(each.data for each in shown) for shown in self.shown)
            stores = (stored(self.configuration, entries),)
        self.agent, self.manager = Agent(profile, stores=stores), RawManager(manner)
        self.events = self.agent.connected(NOW)

    def run(self, more: bytes = b"") -> None:
        """Carry bytes until nobody has more to say; `more` is what the manager's side says first."""
        out = more
        for _ in range(1000):
            if out:
                self.events += self.agent.receive(out, NOW)
            sent = self.agent.to_send()
            if not sent:
                return
            out = self.manager.receive(sent)
        raise AssertionError("the two never fall silent")

    def report(self, index: int) -> None:
        seen = [observe(metric, now(index), CLOCK) for metric in metrics(self.configuration)]
        self.shown.append([shown for _, shown in seen])
        scan = PersonScan(person=None, fixed=tuple(observation for observation, _ in seen))
        self.events += self.agent.report((scan,), NOW)
        self.run()

    def end(self) -> None:
        self.events += self.agent.release(NOW)
        self.run()
        assert self.manager.released
        assert [Released(by_peer=False)] == only(Released, self.events)
        assert (self.agent.state, only(Aborted, self.events)) == (State.UNASSOCIATED, [])


def meant(shown: Shown) -> object:
    """What the simulator says that it shows, in the raw manager's words."""
    if len(shown.values) > 1:
        return tuple(str(each.value) for each in shown.values)
    if shown.values:
        return str(shown.values[0].value)
    if not shown.others:
        return ("bits", 0)
    (other,) = shown.others
    if other.coded is not None:
        return ("code", other.coded)
    if other.bits:
        return ("bits", sum(1 << 8 * len(shown.data) - 1 - bit for bit in other.bits))
    return ("samples", tuple(int((each + 2) / Decimal("0.005")) for each in other.samples))


@pytest.mark.parametrize("manner", MANNERS, ids=lambda each: each.name)
@pytest.mark.parametrize(("number", "standard"), EVERY, ids=str)
def test_every_specialization_is_read_value_for_value(number: int, standard: bool, manner: Manner) -> None:
    pair = Pair(number, manner, standard=standard)
    pair.run()
    manager = pair.manager
    if manner is OPENHEALTH and number == 10406:
        assert [(each.config_id, each.result) for each in only(ConfigRefused, pair.events)] == [(0x4000, 1)]
        assert manager.released, "no more configurations"
        return
    if manner.late:
        assert pair.agent.state is State.WAITING_APPROVAL
        pair.run(manager.accept())
    assert pair.agent.state is State.OPERATING
    for index in range(3):
        pair.report(index)
    expected = CODES[number][: len(pair.configuration.objects)] if standard else CODES[number]
    assert [(code, unit) for code, _, unit, _ in manager.said] == expected * 3
    assert [value for _, value, _, _ in manager.said] == [meant(each) for turn in pair.shown for each in turn]
    timeless = standard and number == 10404 and manner is ANTIDOTE
    assert {time for *_, time in manager.said} == {b"" if timeless else STAMP}
    assert len(only(ReportConfirmed, pair.events)) == 3
    tolerated = [each.tolerated.tolerance for each in only(Warned, pair.events)]
    assert tolerated == [Tolerance.REPLY_LENGTH] * (3 if manner is OPENHEALTH else 0)
    if manner.reads != "never":
        config_id = STANDARD[number] if standard else 0x4000
        assert manager.mds[0x0984] == peer.octets(AGENT_ID)
        assert manager.mds[0x0A44] == peer.u16(config_id)
        assert manager.mds[0x0928] == peer.octets(b"Stafet") + peer.octets(b"Sim ")
        assert manager.mds[0x0987] == STAMP
        assert manager.mds[0x0A5A] == bytes.fromhex("00010004") + peer.u16(number - 10404 + 4100, 1)
    pair.end()


KNOWN_IN_A_STORE = {0x0943, 0x0A4D, 0x0953, 0x0951, 0x0A63}
"""What LibreSoft's manager takes from a PM-store's declaration without asking whether it is there."""


@pytest.mark.parametrize("manner", [ANTIDOTE, OPENHEALTH, TIDEPOOL], ids=lambda each: each.name)
@pytest.mark.parametrize("number", [each for each in CODES if each != 10406])
def test_a_store_is_listed_transferred_and_cleared_by_each_of_them(number: int, manner: Manner) -> None:
    pair = Pair(number, manner, store=True)
    pair.run()
    manager = pair.manager
    assert {each.class_ for each in manager.objects.values()} <= {NUMERIC, ENUMERATION, STORE}
    assert set(manager.objects[STORE_HANDLE].attributes) >= KNOWN_IN_A_STORE
    pair.run(manager.act(0x0C0D, peer.u16(1, 2, 0)))
    assert set(manager.segments[1]) == {0x0922, 0x0A4E, 0x0953, 0x097B, 0x0A64}
    pair.run(manager.act(0x0C1C, peer.u16(1)))
    assert manager.complete
    assert manager.reports > 1, "in portions"
    for read, shown in zip(manager.stored(), history(number), strict=True):
        assert [(code, value, time) for code, value, _, time in read] == [
            (code, meant(each), STAMP) for (code, _), each in zip(CODES[number], shown, strict=True)
        ]
    assert only(SegmentTransferred, pair.events) == [SegmentTransferred(handle=STORE_HANDLE, instance=1)]
    pair.run(manager.act(0x0C0C, peer.u16(2, 6, 1, 2, 1)))
    assert only(SegmentCleared, pair.events) == [SegmentCleared(handle=STORE_HANDLE, instance=1)]
    pair.run(manager.act(0x0C0D, peer.u16(1, 2, 0)))
    assert manager.failed == 0
    pair.end()


def test_a_manager_that_answers_everything_as_if_it_were_a_report_is_served() -> None:
    """signove/hdpy's managers: AARE 0 whatever was offered, one answer for every APDU, no GET."""
    pair = Pair(10404, Manner(name="hdpy", deaf=True), standard=True)
    pair.run()
    for index in range(3):
        pair.report(index)
    assert (pair.manager.reports, len(only(ReportConfirmed, pair.events))) == (3, 3)
    pair.end()


def test_a_configuration_that_is_accepted_too_late_is_given_up() -> None:
    pair = Pair(10404, LATE)
    pair.run()
    pair.events += pair.agent.expire(NOW + 10)
    pair.run()
    (aborted,) = only(Aborted, pair.events)
    assert (aborted.reason, pair.manager.over, pair.agent.state) == (3, True, State.UNASSOCIATED)


def test_a_manager_may_ask_for_the_mds_again_and_again() -> None:
    pair = Pair(10415, OPENHEALTH)
    pair.run()
    for _ in range(3):
        pair.manager.mds = {}
        pair.run(pair.manager.ask(0x0103, peer.u16(0) + peer.u16(0, 0)))
        assert len(pair.manager.mds) == 7
    pair.run(pair.manager.ask(0x0103, peer.u16(0) + peer.u16(1, 2, 0x0987)))
    assert pair.manager.mds == {0x0987: STAMP}


def test_a_raw_manager_sets_our_agent_s_clock() -> None:
    pair = Pair(10415, OPENHEALTH)
    pair.run()
    pair.run(pair.manager.act(0x0C17, bytes.fromhex("2026030209000000 00000000"), 0))
    (was_set,) = only(TimeSet, pair.events)
    assert was_set.time is not None
    assert (was_set.time.isoformat(), pair.manager.failed) == ("2026-03-02T09:00:00", 0)
    pair.run(pair.manager.act(0x0C99, b"", 0))
    assert pair.manager.failed == 1, "no such action: roer, and the association stands"
    pair.report(0)
    pair.end()
