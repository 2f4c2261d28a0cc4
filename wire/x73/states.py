"""The association state tables of manager and agent (ISO/IEEE 11073-20601 annex E) as data.

Each line is one row of the standard's table with its number. A line may name a group of events (`rx_aarq`, or all
roiv except one); the more exact line wins, as in the standard. `transition` answers for every (state, event): either
a row, or None for the pairs listed in `IMPOSSIBLE`, with the reason why they cannot come. The rows' numbers, states
and events are facts taken from antidote's comments; what is done (`Do`) is ours.

What is done is a word here and an act in `manager` and `agent`; nothing else there decides on a state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final


class State(StrEnum):
    """The states of both tables; the manager has none of the agent's own and the other way round."""

    DISCONNECTED = "disconnected"
    UNASSOCIATED = "unassociated"
    ASSOCIATING = "associating"
    CONFIG_SENDING = "config_sending"
    WAITING_APPROVAL = "waiting_approval"
    WAITING_FOR_CONFIG = "waiting_for_config"
    CHECKING_CONFIG = "checking_config"
    OPERATING = "operating"
    DISASSOCIATING = "disassociating"


class Event(StrEnum):
    """One event, as exact as either table needs it."""

    TRANSPORT_CONNECTION = "ind_transport_connection"
    TRANSPORT_DISCONNECT = "ind_transport_disconnect"
    TIMEOUT = "ind_timeout"
    REQ_ASSOC = "req_assoc"
    REQ_ASSOC_REL = "req_assoc_rel"
    REQ_ASSOC_ABORT = "req_assoc_abort"
    REQ_SEND_CONFIG = "req_send_config"
    REQ_SEND_EVENT = "req_send_event"
    REQ_KNOWN_CONFIGURATION = "req_agent_supplied_known_configuration"
    REQ_UNKNOWN_CONFIGURATION = "req_agent_supplied_unknown_configuration"
    REQ_BAD_CONFIGURATION = "req_agent_supplied_bad_configuration"
    RX_AARQ_KNOWN = "rx_aarq_acceptable_and_known_configuration"
    RX_AARQ_UNKNOWN = "rx_aarq_acceptable_and_unknown_configuration"
    RX_AARQ_UNACCEPTABLE = "rx_aarq_unacceptable_configuration"
    RX_AARE_KNOWN = "rx_aare_accepted_known"
    RX_AARE_UNKNOWN = "rx_aare_accepted_unknown"
    RX_AARE_REJECTED = "rx_aare_rejected"
    RX_RLRQ = "rx_rlrq"
    RX_RLRE = "rx_rlre"
    RX_ABRT = "rx_abrt"
    RX_EVENT_REPORT = "rx_roiv_event_report"
    RX_CONFIRMED_EVENT_REPORT = "rx_roiv_confirmed_event_report"
    RX_GET = "rx_roiv_get"
    RX_SET = "rx_roiv_set"
    RX_CONFIRMED_SET = "rx_roiv_confirmed_set"
    RX_ACTION = "rx_roiv_action"
    RX_CONFIRMED_ACTION = "rx_roiv_confirmed_action"
    RX_EVENT_RESULT = "rx_rors_confirmed_event_report"
    RX_CONFIG_KNOWN = "rx_rors_confirmed_event_report_known"
    RX_CONFIG_UNKNOWN = "rx_rors_confirmed_event_report_unknown"
    RX_GET_RESULT = "rx_rors_get"
    RX_SET_RESULT = "rx_rors_confirmed_set"
    RX_ACTION_RESULT = "rx_rors_confirmed_action"
    RX_ROER = "rx_roer"
    RX_RORJ = "rx_rorj"


class Do(Enum):
    """What a transition does besides changing the state."""

    NOTHING = "nothing"
    CONNECT = "note the transport"
    DISCONNECT = "note the loss of the transport"
    REQUEST = "send AARQ"
    REJECT_PERMANENT = "send AARE rejected-permanent"
    ACCEPT = "send AARE accepted"
    ACCEPT_UNKNOWN = "send AARE accepted-unknown-config"
    REJECT = "send AARE with the reason"
    ACCEPTED = "note the association"
    REJECTED = "note the rejection"
    SEND_CONFIG = "send the configuration, if none is under way"
    CONFIG_REFUSED = "note the refusal, offer the next configuration"
    CHECK_CONFIG = "check the configuration"
    REPLY_CONFIG = "send the answer to the configuration"
    ABORT = "send ABRT"
    ABORTED = "note the peer's abort"
    RELEASE = "send RLRQ"
    RELEASED = "note the end"
    ANSWER_RELEASE = "send RLRE, note the end"
    CROSS_RELEASE = "send RLRE"
    ERROR = "send roer no-such-object-instance if the request is confirmed"
    SERVE_GET = "answer the GET"
    SERVE = "answer the request"
    REPORT = "take the report"
    RESPONSE = "match the response to its request"
    SEND = "send the event report"


_AARQ = (Event.RX_AARQ_KNOWN, Event.RX_AARQ_UNKNOWN, Event.RX_AARQ_UNACCEPTABLE)
_AARE = (Event.RX_AARE_KNOWN, Event.RX_AARE_UNKNOWN, Event.RX_AARE_REJECTED)
_ROIV = (
    Event.RX_EVENT_REPORT,
    Event.RX_CONFIRMED_EVENT_REPORT,
    Event.RX_GET,
    Event.RX_SET,
    Event.RX_CONFIRMED_SET,
    Event.RX_ACTION,
    Event.RX_CONFIRMED_ACTION,
)
_EVENT_RESULT = (Event.RX_EVENT_RESULT, Event.RX_CONFIG_KNOWN, Event.RX_CONFIG_UNKNOWN)
_RORS = (*_EVENT_RESULT, Event.RX_GET_RESULT, Event.RX_SET_RESULT, Event.RX_ACTION_RESULT)

GROUPS: Final[Mapping[str, tuple[Event, ...]]] = MappingProxyType(
    {
        "rx_aarq": _AARQ,
        "rx_aare": _AARE,
        "rx_roiv": _ROIV,
        "rx_roiv_all_except_confirmed_event_report": tuple(
            each for each in _ROIV if each is not Event.RX_CONFIRMED_EVENT_REPORT
        ),
        "rx_rors": _RORS,
        "rx_rors_confirmed_event_report": _EVENT_RESULT,
        "rx_prst": (*_ROIV, *_RORS, Event.RX_ROER, Event.RX_RORJ),
    }
)
"""Names in the tables that stand for several events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table."""

    number: str
    state: State
    event: str
    next: State
    do: Do


def _table(text: str) -> tuple[Row, ...]:
    rows: list[Row] = []
    for line in text.strip().splitlines():
        number, state, event, next_, do = (part.strip() for part in line.split("|"))
        rows.append(Row(number=number, state=State(state), event=event, next=State(next_), do=Do[do]))
    return tuple(rows)


MANAGER: Final = _table(
    """
1.1  | disconnected       | ind_transport_connection | unassociated | CONNECT
2.2  | unassociated       | ind_transport_disconnect | disconnected | DISCONNECT
2.6  | unassociated       | req_assoc_rel | unassociated | NOTHING
2.7  | unassociated       | req_assoc_abort | unassociated | NOTHING
2.9  | unassociated       | rx_aarq_acceptable_and_known_configuration | operating | ACCEPT
2.10 | unassociated       | rx_aarq_acceptable_and_unknown_configuration | waiting_for_config | ACCEPT_UNKNOWN
2.11 | unassociated       | rx_aarq_unacceptable_configuration | unassociated | REJECT
2.12 | unassociated       | rx_aare | unassociated | ABORT
2.16 | unassociated       | rx_rlrq | unassociated | ABORT
2.17 | unassociated       | rx_rlre | unassociated | NOTHING
2.18 | unassociated       | rx_abrt | unassociated | NOTHING
2.19 | unassociated       | rx_prst | unassociated | ABORT
6.2  | waiting_for_config | ind_transport_disconnect | disconnected | DISCONNECT
6.4  | waiting_for_config | ind_timeout | unassociated | ABORT
6.6  | waiting_for_config | req_assoc_rel | disassociating | RELEASE
6.7  | waiting_for_config | req_assoc_abort | unassociated | ABORT
6.8  | waiting_for_config | rx_aarq | unassociated | ABORT
6.12 | waiting_for_config | rx_aare | unassociated | ABORT
6.16 | waiting_for_config | rx_rlrq | unassociated | ANSWER_RELEASE
6.17 | waiting_for_config | rx_rlre | unassociated | ABORT
6.18 | waiting_for_config | rx_abrt | unassociated | ABORTED
6.24 | waiting_for_config | rx_roiv_confirmed_event_report | checking_config | CHECK_CONFIG
6.25 | waiting_for_config | rx_roiv_event_report | waiting_for_config | ERROR
6.25 | waiting_for_config | rx_roiv_get | waiting_for_config | ERROR
6.25 | waiting_for_config | rx_roiv_set | waiting_for_config | ERROR
6.25 | waiting_for_config | rx_roiv_confirmed_set | waiting_for_config | ERROR
6.25 | waiting_for_config | rx_roiv_action | waiting_for_config | ERROR
6.25 | waiting_for_config | rx_roiv_confirmed_action | waiting_for_config | ERROR
6.26 | waiting_for_config | rx_rors | waiting_for_config | RESPONSE
6.26 - remark on page 147 | waiting_for_config | rx_roer | waiting_for_config | RESPONSE
6.26 - remark on page 147 | waiting_for_config | rx_rorj | waiting_for_config | RESPONSE
transcoding | waiting_for_config | req_agent_supplied_unknown_configuration | waiting_for_config | NOTHING
transcoding | waiting_for_config | req_agent_supplied_known_configuration | operating | NOTHING
7.2  | checking_config    | ind_transport_disconnect | disconnected | DISCONNECT
7.4  | checking_config    | ind_timeout | unassociated | ABORT
7.6  | checking_config    | req_assoc_rel | disassociating | RELEASE
7.7  | checking_config    | req_assoc_abort | unassociated | ABORT
7.8  | checking_config    | rx_aarq_acceptable_and_known_configuration | unassociated | ABORT
7.8  | checking_config    | rx_aarq_acceptable_and_unknown_configuration | unassociated | ABORT
7.8  | checking_config    | rx_aarq_unacceptable_configuration | unassociated | ABORT
7.12 | checking_config    | rx_aare | unassociated | ABORT
7.16 | checking_config    | rx_rlrq | unassociated | ANSWER_RELEASE
7.17 - remark on page 148 | checking_config | rx_rlre | unassociated | ABORT
7.18 | checking_config    | rx_abrt | unassociated | ABORTED
7.24 | checking_config    | rx_roiv_confirmed_event_report | checking_config | CHECK_CONFIG
7.25 | checking_config    | rx_roiv_all_except_confirmed_event_report | unassociated | ABORT
7.26 | checking_config    | rx_rors_confirmed_event_report | checking_config | RESPONSE
7.26 | checking_config    | rx_rors_get | checking_config | RESPONSE
7.26 | checking_config    | rx_rors_confirmed_set | checking_config | RESPONSE
7.26 | checking_config    | rx_rors_confirmed_action | checking_config | RESPONSE
7.26 | checking_config    | rx_roer | checking_config | RESPONSE
7.26 | checking_config    | rx_rorj | checking_config | RESPONSE
7.31 | checking_config    | req_agent_supplied_unknown_configuration | waiting_for_config | REPLY_CONFIG
7.32 | checking_config    | req_agent_supplied_known_configuration | operating | REPLY_CONFIG
7.32 | checking_config    | req_agent_supplied_bad_configuration | waiting_for_config | REPLY_CONFIG
8.2  | operating          | ind_transport_disconnect | disconnected | DISCONNECT
8.4  | operating          | ind_timeout | unassociated | ABORT
8.6  | operating          | req_assoc_rel | disassociating | RELEASE
8.7  | operating          | req_assoc_abort | unassociated | ABORT
8.8  | operating          | rx_aarq | unassociated | ABORT
8.12 | operating          | rx_aare | unassociated | ABORT
8.16 | operating          | rx_rlrq | unassociated | ANSWER_RELEASE
8.17 | operating          | rx_rlre | unassociated | ABORT
8.18 | operating          | rx_abrt | unassociated | ABORTED
8.21 | operating          | rx_roiv_confirmed_event_report | operating | REPORT
8.21 | operating          | rx_roiv_event_report | operating | REPORT
8.21 | operating          | rx_roiv_all_except_confirmed_event_report | operating | ERROR
8.26 - remark on page 149 | operating | rx_rors_confirmed_event_report | operating | RESPONSE
8.26 - remark on page 149 | operating | rx_rors_get | operating | RESPONSE
8.26 - remark on page 149 | operating | rx_rors_confirmed_set | operating | RESPONSE
8.26 - remark on page 149 | operating | rx_rors_confirmed_action | operating | RESPONSE
8.26 - remark on page 149 | operating | rx_roer | operating | RESPONSE
8.26 - remark on page 149 | operating | rx_rorj | operating | RESPONSE
9.2  | disassociating     | ind_transport_disconnect | disconnected | DISCONNECT
9.4  | disassociating     | ind_timeout | unassociated | ABORT
9.6  | disassociating     | req_assoc_rel | disassociating | NOTHING
9.7  | disassociating     | req_assoc_abort | unassociated | ABORT
9.8  | disassociating     | rx_aarq | unassociated | ABORT
9.12 | disassociating     | rx_aare | unassociated | ABORT
9.16 | disassociating     | rx_rlrq | disassociating | CROSS_RELEASE
9.17 | disassociating     | rx_rlre | unassociated | RELEASED
9.18 | disassociating     | rx_abrt | unassociated | ABORTED
9.21 | disassociating     | rx_roiv | disassociating | NOTHING
9.26 - remark on page 150 | disassociating | rx_rors | unassociated | ABORT
9.26 - remark on page 150 | disassociating | rx_roer | unassociated | ABORT
9.26 - remark on page 150 | disassociating | rx_rorj | unassociated | ABORT
"""
)
"""The manager's table. 2.12, 2.16 and 2.19 abort though nothing is associated: the peer must not be left waiting."""

AGENT: Final = _table(
    """
1.1  | disconnected     | ind_transport_connection | unassociated | CONNECT
2.2  | unassociated     | ind_transport_disconnect | disconnected | DISCONNECT
2.5  | unassociated     | req_assoc | associating | REQUEST
2.6  | unassociated     | req_assoc_rel | unassociated | NOTHING
2.7  | unassociated     | req_assoc_abort | unassociated | ABORT
2.8  | unassociated     | rx_aarq | unassociated | REJECT_PERMANENT
2.12 | unassociated     | rx_aare | unassociated | ABORT
2.16 | unassociated     | rx_rlrq | unassociated | ABORT
2.17 | unassociated     | rx_rlre | unassociated | NOTHING
2.18 | unassociated     | rx_abrt | unassociated | NOTHING
2.19 | unassociated     | rx_prst | unassociated | ABORT
3.2  | associating      | ind_transport_disconnect | disconnected | DISCONNECT
3.4  | associating      | ind_timeout | unassociated | ABORT
3.6  | associating      | req_assoc_rel | unassociated | ABORT
3.7  | associating      | req_assoc_abort | unassociated | ABORT
3.8  | associating      | rx_aarq | unassociated | REJECT_PERMANENT
3.13 | associating      | rx_aare_accepted_known | operating | ACCEPTED
3.14 | associating      | rx_aare_accepted_unknown | config_sending | ACCEPTED
3.15 | associating      | rx_aare_rejected | unassociated | REJECTED
3.16 | associating      | rx_rlrq | unassociated | ABORT
3.17 | associating      | rx_rlre | unassociated | ABORT
3.18 | associating      | rx_abrt | unassociated | ABORTED
3.19 | associating      | rx_prst | unassociated | ABORT
4.2  | config_sending   | ind_transport_disconnect | disconnected | DISCONNECT
4.4  | config_sending   | ind_timeout | unassociated | ABORT
4.6  | config_sending   | req_assoc_rel | disassociating | RELEASE
4.7  | config_sending   | req_assoc_abort | unassociated | ABORT
4.8  | config_sending   | rx_aarq | unassociated | ABORT
4.12 | config_sending   | rx_aare | unassociated | ABORT
4.16 | config_sending   | rx_rlrq | unassociated | ANSWER_RELEASE
4.17 | config_sending   | rx_rlre | unassociated | ABORT
4.18 | config_sending   | rx_abrt | unassociated | ABORTED
4.22 | config_sending   | rx_roiv_get | config_sending | SERVE_GET
4.23 | config_sending   | rx_roiv | config_sending | ERROR
4.23 | config_sending   | rx_roiv_event_report | config_sending | ERROR
4.23 | config_sending   | rx_roiv_confirmed_event_report | config_sending | ERROR
4.23 | config_sending   | rx_roiv_set | config_sending | ERROR
4.23 | config_sending   | rx_roiv_confirmed_set | config_sending | ERROR
4.23 | config_sending   | rx_roiv_action | config_sending | ERROR
4.23 | config_sending   | rx_roiv_confirmed_action | config_sending | ERROR
4.26 | config_sending   | rx_rors | unassociated | ABORT
4.26 | config_sending   | rx_rors_confirmed_event_report | unassociated | ABORT
4.26 | config_sending   | rx_rors_confirmed_event_report_unknown | unassociated | ABORT
4.26 | config_sending   | rx_rors_confirmed_event_report_known | unassociated | ABORT
4.26 | config_sending   | rx_rors_get | unassociated | ABORT
4.26 | config_sending   | rx_rors_confirmed_set | unassociated | ABORT
4.26 | config_sending   | rx_rors_confirmed_action | unassociated | ABORT
4.26 | config_sending   | rx_roer | unassociated | ABORT
4.26 | config_sending   | rx_rorj | unassociated | ABORT
4.32 | config_sending   | req_send_config | waiting_approval | SEND_CONFIG
5.2  | waiting_approval | ind_transport_disconnect | disconnected | DISCONNECT
5.4  | waiting_approval | ind_timeout | unassociated | ABORT
5.6  | waiting_approval | req_assoc_rel | disassociating | RELEASE
5.7  | waiting_approval | req_assoc_abort | unassociated | ABORT
5.8  | waiting_approval | rx_aarq | unassociated | ABORT
5.12 | waiting_approval | rx_aare | unassociated | ABORT
5.16 | waiting_approval | rx_rlrq | unassociated | ANSWER_RELEASE
5.17 | waiting_approval | rx_rlre | unassociated | ABORT
5.18 | waiting_approval | rx_abrt | unassociated | ABORTED
5.22 | waiting_approval | rx_roiv_get | config_sending | SERVE_GET
5.23 | waiting_approval | rx_roiv | config_sending | ERROR
5.23 | waiting_approval | rx_roiv_event_report | config_sending | ERROR
5.23 | waiting_approval | rx_roiv_confirmed_event_report | config_sending | ERROR
5.23 | waiting_approval | rx_roiv_set | config_sending | ERROR
5.23 | waiting_approval | rx_roiv_confirmed_set | config_sending | ERROR
5.23 | waiting_approval | rx_roiv_action | config_sending | ERROR
5.23 | waiting_approval | rx_roiv_confirmed_action | config_sending | ERROR
5.27 | waiting_approval | rx_rors_confirmed_event_report_unknown | config_sending | CONFIG_REFUSED
5.29 | waiting_approval | rx_rors_confirmed_event_report_known | operating | ACCEPTED
5.30 | waiting_approval | rx_rors | unassociated | ABORT
5.30 | waiting_approval | rx_rors_confirmed_event_report | unassociated | ABORT
5.30 | waiting_approval | rx_rors_get | unassociated | ABORT
5.30 | waiting_approval | rx_rors_confirmed_set | unassociated | ABORT
5.30 | waiting_approval | rx_rors_confirmed_action | unassociated | ABORT
5.30 | waiting_approval | rx_roer | unassociated | ABORT
5.30 | waiting_approval | rx_rorj | unassociated | ABORT
8.2  | operating        | ind_transport_disconnect | disconnected | DISCONNECT
8.4  | operating        | ind_timeout | unassociated | ABORT
8.6  | operating        | req_assoc_rel | disassociating | RELEASE
8.7  | operating        | req_assoc_abort | unassociated | ABORT
8.7  | operating        | req_send_event | operating | SEND
8.8  | operating        | rx_aarq | unassociated | ABORT
8.12 | operating        | rx_aare | unassociated | ABORT
8.16 | operating        | rx_rlrq | unassociated | ANSWER_RELEASE
8.17 | operating        | rx_rlre | unassociated | ABORT
8.18 | operating        | rx_abrt | unassociated | ABORTED
8.21 | operating        | rx_roiv | operating | ERROR
8.21 | operating        | rx_roiv_confirmed_event_report | operating | ERROR
8.21 | operating        | rx_roiv_get | operating | SERVE_GET
8.21 | operating        | rx_roiv_set | operating | SERVE
8.21 | operating        | rx_roiv_confirmed_set | operating | SERVE
8.21 | operating        | rx_roiv_confirmed_action | operating | SERVE
8.21 | operating        | rx_roiv_action | operating | SERVE
8.26 | operating        | rx_rors | operating | RESPONSE
8.26 | operating        | rx_rors_confirmed_event_report | operating | RESPONSE
8.26 | operating        | rx_rors_confirmed_event_report_unknown | operating | RESPONSE
8.26 | operating        | rx_rors_confirmed_event_report_known | operating | RESPONSE
8.26 | operating        | rx_rors_get | operating | RESPONSE
8.26 | operating        | rx_rors_confirmed_set | operating | RESPONSE
8.26 | operating        | rx_rors_confirmed_action | operating | RESPONSE
8.26 | operating        | rx_roer | operating | RESPONSE
8.26 | operating        | rx_rorj | operating | RESPONSE
9.2  | disassociating   | ind_transport_disconnect | disconnected | DISCONNECT
9.4  | disassociating   | ind_timeout | unassociated | ABORT
9.6  | disassociating   | req_assoc_rel | disassociating | NOTHING
9.7  | disassociating   | req_assoc_abort | unassociated | ABORT
9.8  | disassociating   | rx_aarq | unassociated | ABORT
9.12 | disassociating   | rx_aare | unassociated | ABORT
9.16 | disassociating   | rx_rlrq | disassociating | CROSS_RELEASE
9.17 | disassociating   | rx_rlre | unassociated | RELEASED
9.18 | disassociating   | rx_abrt | unassociated | ABORTED
9.21 | disassociating   | rx_roiv | disassociating | NOTHING
9.26 | disassociating   | rx_rors | unassociated | ABORT
9.26 | disassociating   | rx_rors_confirmed_event_report | unassociated | ABORT
9.26 | disassociating   | rx_rors_confirmed_event_report_unknown | unassociated | ABORT
9.26 | disassociating   | rx_rors_confirmed_event_report_known | unassociated | ABORT
9.26 | disassociating   | rx_rors_get | unassociated | ABORT
9.26 | disassociating   | rx_rors_confirmed_set | unassociated | ABORT
9.26 | disassociating   | rx_rors_confirmed_action | unassociated | ABORT
9.26 | disassociating   | rx_roer | unassociated | ABORT
9.26 | disassociating   | rx_rorj | unassociated | ABORT
"""
)
"""The agent's table. In 5.22 and 5.23 it falls back to sending; a report that is under way is not sent twice."""


class Role(Enum):
    """The two sides of an association."""

    MANAGER = "manager"
    AGENT = "agent"


ROWS: Final[Mapping[Role, tuple[Row, ...]]] = MappingProxyType({Role.MANAGER: MANAGER, Role.AGENT: AGENT})

STATES: Final[Mapping[Role, frozenset[State]]] = MappingProxyType(
    {role: frozenset(row.state for row in rows) for role, rows in ROWS.items()}
)


class Impossible(Enum):
    """Why a pair of state and event cannot come about."""

    NO_TRANSPORT = "without a transport nothing is received, requested or timed"
    CONNECTED = "a transport is there already"
    NO_TIMER = "no timer runs"
    NOT_OURS = "the other role's event"
    NOT_NOW = "the session itself raises it, and not in this state"


_LOCAL: Final = frozenset(
    {
        Event.REQ_ASSOC,
        Event.REQ_SEND_CONFIG,
        Event.REQ_SEND_EVENT,
        Event.REQ_KNOWN_CONFIGURATION,
        Event.REQ_UNKNOWN_CONFIGURATION,
        Event.REQ_BAD_CONFIGURATION,
    }
)


def events_of(role: Role) -> frozenset[Event]:
    """The events of a role's table."""
    return frozenset(event for row in ROWS[role] for event in _events(row))


def _events(row: Row) -> tuple[Event, ...]:
    group = GROUPS.get(row.event)
    return (Event(row.event),) if group is None else group


def _index(rows: tuple[Row, ...]) -> dict[tuple[State, Event], Row]:
    index: dict[tuple[State, Event], Row] = {}
    # Groups first, the widest before the narrower: the exact row wins, whatever the order of the table.
    for row in sorted(rows, key=lambda row: -len(_events(row))):
        for event in _events(row):
            index[row.state, event] = row
    return index


_INDEX: Final = {role: _index(rows) for role, rows in ROWS.items()}


def transition(role: Role, state: State, event: Event) -> Row | None:
    """The row for an event in a state; None if it is impossible."""
    return _INDEX[role].get((state, event))


def why_impossible(role: Role, state: State, event: Event) -> Impossible:
    """Why a pair has no row."""
    if event not in events_of(role):
        return Impossible.NOT_OURS
    if state is State.DISCONNECTED:
        return Impossible.NO_TRANSPORT
    if event is Event.TRANSPORT_CONNECTION:
        return Impossible.CONNECTED
    if event is Event.TIMEOUT:
        return Impossible.NO_TIMER
    if event in _LOCAL:
        return Impossible.NOT_NOW
    raise LookupError(f"{role.value}: {event} in {state} is possible and has no row")


IMPOSSIBLE: Final[Mapping[tuple[Role, State, Event], Impossible]] = MappingProxyType(
    {
        (role, state, event): why_impossible(role, state, event)
        for role in Role
        for state in STATES[role]
        for event in Event
        if transition(role, state, event) is None
    }
)
"""Every pair without a row; building it proves that no other pair is missing."""
