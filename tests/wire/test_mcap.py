"""MCAP: both sides of a control channel, and the packets of others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.mcap import (
    ALL_MDLS,
    CONNECT_S,
    MAX_MDLS,
    RESPONSE_S,
    Channel,
    Ended,
    Event,
    Failed,
    Granted,
    McapError,
    Mcl,
    Mdl,
    Opened,
    Refused,
)

SINK = range(1, 0x0B)
NOW = 100.0


def told(mcl: Mcl, packet: str) -> list[str]:
    mcl.receive(bytes.fromhex(packet), NOW)
    return [each.hex() for each in mcl.to_send()]


# signove/hdpy, src/mcap/test1_client.py and test1_server.py: what is said and what the other side answers. Two things are
# not: its configuration BC is none of HDP's, and it says the configuration in a refusal, too.
SESSION = [
    ("0aff000abc", ["00010000"]),
    ("01ff000a01", ["0205ff00"]),
    ("0100230a01", ["0200002301"]),
    ("050027", ["06050027"]),
    ("data", []),
    ("0100240a00", ["0200002401"]),
    ("data", []),
    ("050027", ["06070027"]),
    ("070030", ["08050030"]),
    ("070023", ["08000023"]),
    ("07ffff", ["0800ffff"]),
]


def test_the_session_of_an_independent_implementation() -> None:
    mcl = Mcl(SINK, initiator=False)
    for packet, answers in SESSION:
        if packet == "data":
            mcl.data_connected()
        else:
            assert told(mcl, packet) == answers, packet
    assert mcl.state_of(0x24) is None


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        ("01000001 01", "02050000"),  # channel 0
        ("01000100 01", "02030001"),  # no such endpoint
        ("01000180 01", "02030001"),
        ("01000101 02", "020b0001"),  # streaming
        ("01000101 03", "020b0001"),
        ("01000101", "02020001"),  # too short
        ("010001010100", "02020001"),  # too long
        ("01", "02020000"),
        ("030001", "04050001"),  # never was
        ("0300", "04020000"),
        ("050001", "06070001"),  # nothing is pending
        ("070001", "08050001"),
        ("09", "00010000"),
        ("ff", "00010000"),
        ("11 0000", "120a" + "00" * 7),  # clock synchronisation is not offered
        ("13 00 00000000 0000000000000000", "140a" + "00" * 14),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_with_its_reason(packet: str, answer: str) -> None:
    mcl = Mcl(SINK, initiator=False)
    assert told(mcl, packet) == [answer]
    assert mcl.pending is None


def test_what_needs_no_answer_gets_none() -> None:
    mcl = Mcl(SINK, initiator=False)
    for packet in ("", "00010000", "0200000101", "15" + "00" * 14):
        assert told(mcl, packet) == []


def test_while_a_channel_is_pending_it_can_only_be_aborted() -> None:
    mcl = Mcl(SINK, initiator=False)
    assert told(mcl, "0100010101") == ["0200000101"]
    assert told(mcl, "0100020101") == ["02070002"]
    assert told(mcl, "070001") == ["08070001"]
    assert told(mcl, "050002") == ["06050002"]
    assert mcl.receive(bytes.fromhex("050001"), NOW) == [Ended(mdl=1)]
    assert mcl.state_of(1) is Mdl.CLOSED
    assert told(mcl, "030001")[-1] == "04000001", "and can be reconnected"


class Both:
    """Two sides and the packets between them."""

    def __init__(self) -> None:
        self.source, self.sink = Mcl((), initiator=True), Mcl(SINK, initiator=False)
        self.events: list[list[Event]] = [[], []]

    def run(self) -> tuple[list[Event], list[Event]]:
        sides = (self.source, self.sink)
        while packets := [(1 - i, packet) for i, side in enumerate(sides) for packet in side.to_send()]:
            for i, packet in packets:
                self.events[i] += sides[i].receive(packet, NOW)
        events, self.events = self.events, [[], []]
        return events[0], events[1]


def test_a_channel_is_created_used_reconnected_and_deleted() -> None:
    both = Both()
    for again in (False, True):
        if again:
            both.source.reconnect(7, NOW)
        else:
            both.source.create(7, 3, NOW, Channel.NO_PREFERENCE)
        assert both.run() == ([Granted(mdl=7, mdep=3, ours=True)], [Granted(mdl=7, mdep=3, ours=False)])
        for side in (both.source, both.sink):
            assert side.data_connected() == [Opened(mdl=7, mdep=3)]
            assert side.state_of(7) is Mdl.OPEN
        for side in (both.source, both.sink):
            side.data_closed(7)
    both.source.delete(ALL_MDLS, NOW)
    assert both.run() == ([], [])
    assert both.sink.state_of(7) is None
    with pytest.raises(McapError):
        both.source.reconnect(7, NOW)


def test_a_channel_that_is_open_ends_when_it_is_asked_for_again_or_deleted() -> None:
    both = Both()
    both.source.create(7, 3, NOW)
    both.run()
    both.source.data_connected()
    both.sink.data_connected()
    both.source.reconnect(7, NOW)
    assert both.run()[1] == [Ended(mdl=7), Granted(mdl=7, mdep=3, ours=False)]
    both.source.abort(NOW)
    assert both.run() == ([Ended(mdl=7)], [Ended(mdl=7)])


def test_a_device_that_takes_a_new_channel_for_each_measurement_is_never_refused() -> None:
    mcl = Mcl({1}, initiator=False)
    for mdl in range(1, 3 * MAX_MDLS):
        assert told(mcl, f"01{mdl:04x}0101") == [f"0200{mdl:04x}01"]
        mcl.data_connected()
        mcl.data_closed(mdl)
    assert mcl.state_of(2 * MAX_MDLS) is Mdl.CLOSED, "the newest may be reconnected"
    assert mcl.state_of(1) is None
    many = Mcl({1}, initiator=False)
    for mdl in range(1, 1 + MAX_MDLS):
        assert told(many, f"01{mdl:04x}0101") == [f"0200{mdl:04x}01"]
        many.data_connected()
    assert told(many, "0100ff0101") == ["020800ff"], "all of them are open"


def test_a_refusal_is_told() -> None:
    both = Both()
    both.source.create(1, 0x70, NOW)
    assert both.run()[0] == [Refused(op=1, mdl=1, code=3)]
    assert both.source.pending is None


def test_if_both_ask_at_once_the_initiator_is_heard() -> None:
    both = Both()
    both.source.create(1, 1, NOW)
    both.sink.delete(ALL_MDLS, NOW)
    assert both.run() == ([Granted(mdl=1, mdep=1, ours=True)], [Granted(mdl=1, mdep=1, ours=False)])


@pytest.mark.parametrize("answer", ["", "02", "020000", "0400000101", "0200000201", "0200000102", "02000001"])
def test_an_answer_that_is_none_ends_the_control_channel(answer: str) -> None:
    source = Mcl((), initiator=True)
    source.create(1, 1, NOW)
    assert [type(each) for each in source.receive(bytes.fromhex(answer), NOW)] == [Failed]


def test_what_is_waited_for_ends() -> None:
    both = Both()
    both.source.create(1, 1, NOW)
    assert both.source.deadline() == NOW + RESPONSE_S
    assert [type(each) for each in both.source.expire(NOW + RESPONSE_S)] == [Failed]
    assert both.source.deadline() is None
    told(both.sink, "0100010101")
    assert both.sink.deadline() == NOW + CONNECT_S
    assert both.sink.expire(NOW + CONNECT_S) == [Ended(mdl=1)]
    assert both.sink.deadline() is None


@given(
    st.lists(st.one_of(st.binary(max_size=8), st.sampled_from([bytes.fromhex(p) for p, _ in SESSION if p != "data"])))
)
def test_whatever_is_received_each_request_has_one_answer(packets: list[bytes]) -> None:
    mcl = Mcl(SINK, initiator=False)
    for packet in packets:
        mcl.receive(packet, NOW)
        wants = (
            bool(packet)
            and packet[0] != 0x15
            and (packet[0] & 1 or (packet[0] > 8 and packet[0] not in (0x12, 0x14, 0x16)))
        )
        assert len(mcl.to_send()) == wants
