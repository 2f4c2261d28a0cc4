"""The state tables: the same rows as the standard's, every pair answered, and both sessions obeying them."""

from pathlib import Path

import pytest

from tests.wire.x73.support import AGENT_ID, MANAGER_ID, NOW, apdus, profile
from wire.x73.agent import Agent
from wire.x73.apdu import (
    PROTOCOL_20601,
    SYSTEM_TYPE_AGENT,
    SYSTEM_TYPE_MANAGER,
    Aare,
    Aarq,
    Abrt,
    Act,
    ActResult,
    Apdu,
    DataProto,
    Error,
    EventReport,
    EventReportResult,
    Get,
    GetResult,
    PhdAssociation,
    Prst,
    Reject,
    Rlre,
    Rlrq,
    Rose,
    Set,
    SetResult,
    encode_apdu,
)
from wire.x73.codes import Noti
from wire.x73.manager import Manager
from wire.x73.reports import ConfigReport, ConfigReportResult
from wire.x73.session import Request, Session, SessionError
from wire.x73.specializations import OXIMETER_0190
from wire.x73.states import IMPOSSIBLE, ROWS, STATES, Do, Event, Role, State, transition

FACTS = Path(__file__).parents[2] / "vectors" / "ieee11073_20601_states.tsv"
LINES = [line.split("\t") for line in FACTS.read_text("utf-8").splitlines()[2:]]
UNKNOWN = PhdAssociation(system_type=SYSTEM_TYPE_AGENT, system_id=AGENT_ID, config_id=0x4001)


@pytest.mark.parametrize("role", Role)
def test_the_rows_are_the_standard_s_with_its_numbers(role: Role) -> None:
    facts = [tuple(line[1:]) for line in LINES if line[0] == role.value]
    assert facts == [(row.number, row.state.value, row.event, row.next.value) for row in ROWS[role]]


@pytest.mark.parametrize("role", Role)
def test_every_state_answers_every_event_or_says_why_it_cannot_come(role: Role) -> None:
    for state in STATES[role]:
        for event in Event:
            assert (transition(role, state, event) is None) == ((role, state, event) in IMPOSSIBLE)


def aarq(offer: PhdAssociation) -> Aarq:
    return Aarq(protocols=(DataProto(id=PROTOCOL_20601, info=offer.encode()),))


def aare(result: int) -> Aare:
    answer = PhdAssociation(system_type=SYSTEM_TYPE_MANAGER, system_id=MANAGER_ID, config_id=0)
    return Aare(result=result, protocol=DataProto(id=PROTOCOL_20601, info=answer.encode()))


def result_of_config(result: int) -> EventReportResult:
    return EventReportResult(event_type=Noti.CONFIG, info=ConfigReportResult(config_id=0x190, result=result).encode())


CONFIG = EventReport(
    event_type=Noti.CONFIG, info=ConfigReport(config_id=0x4000, objects=OXIMETER_0190.objects).encode()
)
MESSAGES: dict[Event, tuple[Rose, object]] = {
    Event.RX_EVENT_REPORT: (Rose.ROIV_EVENT_REPORT, CONFIG),
    Event.RX_CONFIRMED_EVENT_REPORT: (Rose.ROIV_CONFIRMED_EVENT_REPORT, CONFIG),
    Event.RX_GET: (Rose.ROIV_GET, Get()),
    Event.RX_SET: (Rose.ROIV_SET, Set(handle=9, modifications=())),
    Event.RX_CONFIRMED_SET: (Rose.ROIV_CONFIRMED_SET, Set(handle=9, modifications=())),
    Event.RX_ACTION: (Rose.ROIV_ACTION, Act(action_type=1, args=b"")),
    Event.RX_CONFIRMED_ACTION: (Rose.ROIV_CONFIRMED_ACTION, Act(action_type=1, args=b"")),
    Event.RX_EVENT_RESULT: (Rose.RORS_CONFIRMED_EVENT_REPORT, EventReportResult(event_type=1)),
    Event.RX_CONFIG_KNOWN: (Rose.RORS_CONFIRMED_EVENT_REPORT, result_of_config(0)),
    Event.RX_CONFIG_UNKNOWN: (Rose.RORS_CONFIRMED_EVENT_REPORT, result_of_config(1)),
    Event.RX_GET_RESULT: (Rose.RORS_GET, GetResult(attributes=())),
    Event.RX_SET_RESULT: (Rose.RORS_CONFIRMED_SET, SetResult(handle=9, attributes=())),
    Event.RX_ACTION_RESULT: (Rose.RORS_CONFIRMED_ACTION, ActResult(action_type=1, args=b"")),
    Event.RX_ROER: (Rose.ROER, Error(error=1)),
    Event.RX_RORJ: (Rose.RORJ, Reject(problem=0)),
}
ASSOCIATION: dict[Event, Apdu] = {
    Event.RX_AARQ_KNOWN: aarq(PhdAssociation(system_type=SYSTEM_TYPE_AGENT, system_id=AGENT_ID, config_id=0x0190)),
    Event.RX_AARQ_UNKNOWN: aarq(UNKNOWN),
    Event.RX_AARQ_UNACCEPTABLE: aarq(PhdAssociation(system_type=0, system_id=AGENT_ID, config_id=0x0190)),
    Event.RX_AARE_KNOWN: aare(0),
    Event.RX_AARE_UNKNOWN: aare(3),
    Event.RX_AARE_REJECTED: aare(1),
    Event.RX_RLRQ: Rlrq(),
    Event.RX_RLRE: Rlre(),
    Event.RX_ABRT: Abrt(),
}
SENT_BY: dict[Do, set[str]] = {
    Do.NOTHING: set(),
    Do.CONNECT: set(),
    Do.DISCONNECT: set(),
    Do.REQUEST: {"Aarq"},
    Do.REJECT_PERMANENT: {"Aare"},
    Do.ACCEPT: {"Aare", "ROIV_GET"},
    Do.ACCEPT_UNKNOWN: {"Aare"},
    Do.REJECT: {"Aare"},
    Do.ACCEPTED: set(),
    Do.REJECTED: set(),
    Do.ABORT: {"Abrt"},
    Do.ABORTED: set(),
    Do.RELEASE: {"Rlrq"},
    Do.RELEASED: set(),
    Do.ANSWER_RELEASE: {"Rlre"},
    Do.CROSS_RELEASE: {"Rlre"},
    Do.SEND: set(),
}


def in_state(role: Role, state: State) -> Session:
    """A session put into a state, with the timer that runs there."""
    session: Session = Manager(MANAGER_ID) if role is Role.MANAGER else Agent(profile())
    session.state = state
    session._deadline = NOW
    if role is Role.AGENT and state is State.ASSOCIATING:
        session._tries = 99  # type: ignore[attr-defined]
    return session


def cause(session: Session, event: Event) -> None:
    """Bring the event about through the public face."""
    if event in ASSOCIATION:
        session.receive(encode_apdu(ASSOCIATION[event]), NOW)
    elif event in MESSAGES:
        rose, message = MESSAGES[event]
        session.receive(encode_apdu(Prst(invoke_id=77, rose=rose, message=message)), NOW)  # type: ignore[arg-type]
    elif event is Event.TIMEOUT:
        session.expire(NOW)
    elif event is Event.REQ_ASSOC_REL:
        session.release(NOW)
    elif event is Event.REQ_ASSOC_ABORT:
        session.abort(NOW)
    elif event is Event.TRANSPORT_DISCONNECT:
        session.disconnected(NOW)
    else:
        session._fire(event, NOW)


# Where the session goes on by itself to a further row, or where it is the answer that decides.
GOES_ON = {
    (Role.MANAGER, State.WAITING_FOR_CONFIG, Event.RX_CONFIRMED_EVENT_REPORT): State.OPERATING,
    (Role.MANAGER, State.CHECKING_CONFIG, Event.RX_CONFIRMED_EVENT_REPORT): State.OPERATING,
    (Role.AGENT, State.DISCONNECTED, Event.TRANSPORT_CONNECTION): State.UNASSOCIATED,
    (Role.AGENT, State.ASSOCIATING, Event.RX_AARE_UNKNOWN): State.WAITING_APPROVAL,
    (Role.AGENT, State.WAITING_APPROVAL, Event.RX_CONFIG_UNKNOWN): State.DISASSOCIATING,
}
CONFIG_ANSWERS = {Event.RX_CONFIG_KNOWN, Event.RX_CONFIG_UNKNOWN}
PAIRS = [
    (role, state, event)
    for role in Role
    for state in sorted(STATES[role])
    for event in Event
    if transition(role, state, event) is not None
]


@pytest.mark.parametrize(("role", "state", "event"), PAIRS, ids=lambda part: str(getattr(part, "value", part)))
def test_a_session_does_in_every_state_what_the_row_says(role: Role, state: State, event: Event) -> None:
    row = transition(role, state, event)
    assert row is not None
    if event in CONFIG_ANSWERS and (role is Role.MANAGER or state is not State.WAITING_APPROVAL):
        event = Event.RX_EVENT_RESULT
    session = in_state(role, state)
    if event in CONFIG_ANSWERS:
        session._pending = Request(
            name="configuration",
            rose=Rose.ROIV_CONFIRMED_EVENT_REPORT,
            message=CONFIG,
            answered=None,
            wait_s=1.0,
            invoke_id=77,
        )
    cause(session, event)
    expected = GOES_ON.get((role, state, event), row.next)
    sent = {apdu.rose.name if isinstance(apdu, Prst) else type(apdu).__name__ for apdu in apdus(session.to_send())}
    if row.state in (State.CONFIG_SENDING, State.WAITING_APPROVAL) and row.next is State.CONFIG_SENDING:
        # Rows 4.22 to 5.27: the agent goes on sending its configuration.
        assert session.state in (State.WAITING_APPROVAL, State.DISASSOCIATING)
    elif row.do is Do.RESPONSE and event not in (Event.RX_ROER, Event.RX_RORJ):
        # Nothing was asked: an answer is out of place. The manager ignores it, for our agent the association ends.
        ends = role is Role.AGENT
        assert (State.UNASSOCIATED if ends else row.next) is session.state
        assert sent == ({"Abrt"} if ends else set())
    else:
        assert expected == session.state
        if row.do in SENT_BY and (role, state, event) not in GOES_ON:
            assert SENT_BY[row.do] == sent


@pytest.mark.parametrize(
    ("role", "state", "event"),
    [
        pair
        for pair in sorted(IMPOSSIBLE, key=str)
        if pair[2].value.startswith("req_assoc") and pair[1] is not State.DISCONNECTED
    ],
    ids=lambda part: str(getattr(part, "value", part)),
)
def test_what_the_caller_may_not_ask_is_an_error_for_the_caller(role: Role, state: State, event: Event) -> None:
    session = in_state(role, state)
    with pytest.raises(SessionError):
        session._fire(event, NOW)
    assert state is session.state
