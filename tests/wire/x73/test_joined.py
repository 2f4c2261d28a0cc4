"""One story over four wires: normal, byte by byte, delayed and cut."""

from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.wire.x73.support import (
    AGENT_ID,
    CLOCK,
    MANAGER_ID,
    NOW,
    Joined,
    apdus,
    joined,
    only,
    oximeter_scan,
    profile,
    sample_data,
)
from wire.x73.agent import Agent
from wire.x73.apdu import Aare, Prst, Rose
from wire.x73.codes import Attr, Noti
from wire.x73.dim import Configuration
from wire.x73.events import (
    Aborted,
    Associated,
    AttributesRead,
    ConfigRefused,
    Configured,
    Disconnected,
    Released,
    ReportConfirmed,
    Reported,
    TimeSet,
)
from wire.x73.manager import Manager
from wire.x73.reports import ObservationFixed, PersonScan
from wire.x73.specializations import SPECIALIZATIONS, STANDARD, Specialization
from wire.x73.states import State

EXTENDED = SPECIALIZATIONS[10404].extended


def whole(data: bytes) -> Iterable[bytes]:
    return (data,)


def bytewise(data: bytes) -> Iterator[bytes]:
    for at in range(len(data)):
        yield data[at : at + 1]


def story(pair: Joined) -> None:
    """Associate with an extended configuration, report twice, set the clock, release."""
    pair.connect()
    for _ in range(2):
        pair.of_agent += pair.agent.report(oximeter_scan(), pair.now)
        pair.run()
    pair.of_manager += pair.manager.set_time(CLOCK, pair.now)
    pair.run()
    pair.of_agent += pair.agent.release(pair.now)
    pair.run()


@pytest.mark.parametrize("wire", [whole, bytewise])
def test_an_extended_configuration_is_asked_for_once_and_its_reports_arrive_once(
    wire: Callable[[bytes], Iterable[bytes]],
) -> None:
    pair = Joined(Agent(profile(EXTENDED)), Manager(MANAGER_ID), wire)
    story(pair)
    (associated,) = only(Associated, pair.of_manager)
    assert not associated.known
    (configured,) = only(Configured, pair.of_manager)
    assert (AGENT_ID, EXTENDED.objects, True) == (
        configured.system_id,
        configured.configuration.objects,
        configured.reported,
    )
    assert [(m.code, str(m.value)) for m in pair.measurements()] == [(150456, "96.5"), (149530, "63.5")] * 2
    assert [event.report.number for event in only(Reported, pair.of_manager)] == [0, 1]
    assert len(only(ReportConfirmed, pair.of_agent)) == 2
    assert [e.time.isoformat() for e in only(TimeSet, pair.of_agent) if e.time] == ["2026-11-21T19:33:46.5"]
    assert [Released(by_peer=True)] == only(Released, pair.of_manager)
    assert [Released(by_peer=False)] == only(Released, pair.of_agent)
    assert (pair.agent.state, pair.manager.state) == (State.UNASSOCIATED, State.UNASSOCIATED)
    assert (pair.agent.deadline(), pair.manager.deadline()) == (None, None)


def test_a_delayed_wire_changes_nothing() -> None:
    """Whole APDUs, but each only after the other side has waited for most of its deadline."""
    pair = Joined(Agent(profile(EXTENDED)), Manager(MANAGER_ID))
    plain_run = pair.run

    def slow_run() -> None:
        for _ in range(200):
            to_manager, to_agent = pair.agent.to_send(), pair.manager.to_send()
            if not to_manager and not to_agent:
                return
            pair.now += 1.4
            for side in (pair.agent, pair.manager):
                deadline = side.deadline()
                assert deadline is None or deadline > pair.now
            if to_manager:
                pair._to_manager(to_manager)
            if to_agent:
                pair.of_agent += pair.agent.receive(to_agent, pair.now)

    pair.run = slow_run  # type: ignore[method-assign]
    story(pair)
    assert len(pair.measurements()) == 4
    assert plain_run is not pair.run


def conversation() -> list[tuple[str, bytes]]:
    pair = Joined(Agent(profile(EXTENDED)), Manager(MANAGER_ID))
    story(pair)
    return pair.said


STEPS = len(conversation())


@pytest.mark.parametrize("step", range(STEPS))
def test_a_wire_cut_at_any_step_ends_both_sides_and_the_next_connection_works(step: int) -> None:
    pair = Joined(Agent(profile(EXTENDED)), Manager(MANAGER_ID))
    left = step

    def cut(data: bytes) -> Iterable[bytes]:
        nonlocal left
        left -= 1
        if left < 0:
            raise ConnectionError
        return (data,)

    pair.wire = cut
    with pytest.raises(ConnectionError):
        story(pair)
    for side in (pair.agent, pair.manager):
        events = side.disconnected(pair.now)
        assert len(only(Disconnected, events)) == 1
        assert (side.state, side.deadline(), side.to_send()) == (State.DISCONNECTED, None, b"")
    pair.wire = whole
    pair.of_manager.clear()
    story(pair)
    assert len(pair.measurements()) == 4


@pytest.mark.parametrize("configuration", STANDARD.values(), ids=lambda c: f"{c.config_id:04X}")
def test_a_standard_configuration_is_known_and_not_asked_for(configuration: Configuration) -> None:
    pair = joined(configuration)
    (configured,) = only(Configured, pair.of_manager)
    assert (configuration.objects, False) == (configured.configuration.objects, configured.reported)
    assert State.OPERATING is pair.agent.state


@pytest.mark.parametrize("configuration", STANDARD.values(), ids=lambda c: f"{c.config_id:04X}")
def test_our_agent_reports_a_standard_configuration_to_a_manager_that_knows_none(configuration: Configuration) -> None:
    pair = joined(configuration, standard={})
    (configured,) = only(Configured, pair.of_manager)
    assert (configuration.config_id, configuration.objects) == (
        configured.configuration.config_id,
        configured.configuration.objects,
    )
    assert configured.reported
    assert State.OPERATING is pair.agent.state


def test_a_configuration_from_the_caller_s_cache_is_not_asked_for_again() -> None:
    cache: dict[tuple[bytes, int], bytes] = {}
    pair = joined(EXTENDED)
    (configured,) = only(Configured, pair.of_manager)
    cache[configured.system_id, configured.configuration.config_id] = configured.configuration.encode()

    def known(system_id: bytes, config_id: int) -> Configuration | None:
        raw = cache.get((system_id, config_id))
        return None if raw is None else Configuration.decode(raw)

    again = joined(EXTENDED, known=known)
    (configured,) = only(Configured, again.of_manager)
    assert not configured.reported
    again.of_agent += again.agent.report(oximeter_scan(), NOW)
    again.run()
    assert len(again.measurements()) == 2


def test_an_agent_whose_first_configuration_is_refused_offers_the_next() -> None:
    empty = Configuration(config_id=0x4001, objects=())
    pair = joined(empty, EXTENDED)
    assert [event.config_id for event in only(ConfigRefused, pair.of_agent)] == [0x4001]
    assert [event.config_id for event in only(ConfigRefused, pair.of_manager)] == [0x4001]
    assert State.OPERATING is pair.agent.state
    assert [EXTENDED.objects] == [e.configuration.objects for e in only(Configured, pair.of_manager)]
    assert pair.manager.mds[Attr.DEV_CONFIG_ID] == bytes.fromhex("4000")


def test_an_agent_whose_every_configuration_is_refused_releases_and_says_why() -> None:
    pair = joined(Configuration(config_id=0x4001, objects=()))
    assert [Released(by_peer=True, reason=1)] == only(Released, pair.of_manager)
    assert State.UNASSOCIATED is pair.agent.state


def test_an_empty_standard_configuration_is_answered_as_unknown() -> None:
    pair = joined(Configuration(config_id=0x0191, objects=()), standard={})
    assert [event.result for event in only(ConfigRefused, pair.of_agent)] == [2]


@pytest.mark.parametrize("specialization", SPECIALIZATIONS.values(), ids=lambda s: str(s.number))
def test_every_specialization_associates_and_its_mds_is_read(specialization: Specialization) -> None:
    pair = joined(specialization.extended, number=specialization.number)
    (read,) = only(AttributesRead, pair.of_manager)
    (answer,) = [each for said, each in pair.said if said == "A>M" and each[8:10] == b"\x02\x03"]
    assert (answer[14:], pair.manager.mds) == (read.encoded, read.attributes)
    for declared in specialization.extended.by_handle.values():
        scan = (PersonScan(person=None, fixed=(ObservationFixed(handle=declared.handle, data=sample_data(declared)),)),)
        pair.of_agent += pair.agent.report(scan, NOW, event_type=Noti.SCAN_REPORT_FIXED)
        pair.run()
    assert [None] * len(specialization.extended.objects) == [e.fault for e in only(Reported, pair.of_manager)]


def test_two_managers_of_one_agent_do_not_share_a_state() -> None:
    first, second = joined(EXTENDED), joined(EXTENDED)
    assert first.manager.configuration is not second.manager.configuration


def test_the_first_things_said_are_those_of_the_measured_session() -> None:
    pair = joined()
    kinds = [
        apdu.rose if isinstance(apdu, Prst) else type(apdu).__name__ for _, raw in pair.said for apdu in apdus(raw)
    ]
    assert kinds == ["Aarq", "Aare", Rose.ROIV_GET, Rose.RORS_GET]
    assert [apdu.result for _, raw in pair.said for apdu in apdus(raw) if isinstance(apdu, Aare)] == [0]
    assert only(Aborted, pair.of_agent + pair.of_manager) == []
