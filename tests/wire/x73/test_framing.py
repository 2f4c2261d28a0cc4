"""A stream of APDUs: in any portions the same, bounded, and lost for good at the first wrong outer length."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wire.x73.support import MANAGER_ID, NOW, SESSION, only
from wire.x73.apdu import MAX_APDU
from wire.x73.events import Aborted, StreamLost
from wire.x73.framing import Framer
from wire.x73.manager import Manager
from wire.x73.states import State

STREAM = b"".join(SESSION.values())


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_apdus_come_out_whole_however_the_stream_is_cut(cuts: list[int]) -> None:
    framer = Framer()
    found: list[bytes] = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        apdus, fault = framer.feed(STREAM[start:end])
        assert fault is None
        found += apdus
    assert list(SESSION.values()) == found
    assert framer.pending == 0


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("no choice", b"\x00\x00"),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n"),
        ("too long", b"\xe7\x00\xff\xff"),
        ("data shorter than the APDU", bytes.fromhex("e700000e000b")),
        ("data longer than the APDU", bytes.fromhex("e700000e000d")),
        ("no room for data", bytes.fromhex("e7000000")),
    ],
)
def test_a_stream_that_cannot_be_followed_is_aborted_and_never_resumed(name: str, stream: bytes) -> None:
    for portions in ([stream], [stream[at : at + 1] for at in range(len(stream))]):
        manager = Manager(MANAGER_ID)
        manager.connected(NOW)
        manager.receive(SESSION["aarq"], NOW)
        manager.to_send()
        events = [event for portion in portions for event in manager.receive(portion, NOW)]
        (aborted,) = only(Aborted, events)
        assert aborted.reason == (1 if name == "too long" else 0)
        assert len(only(StreamLost, events)) == 1
        assert (manager.lost, manager.state) == (True, State.UNASSOCIATED)
        assert manager.to_send() == bytes.fromhex(f"e6000002000{aborted.reason}")
        assert manager.receive(SESSION["aarq"], NOW) == []
        assert manager.to_send() == b""


def test_no_more_than_one_unfinished_apdu_is_held() -> None:
    framer = Framer()
    size = MAX_APDU - 4
    head = b"\xe7\x00" + size.to_bytes(2, "big") + (size - 2).to_bytes(2, "big")
    assert framer.feed(head + bytes(size - 3)) == ([], None)
    assert framer.pending == MAX_APDU - 1
    (apdu,), fault = framer.feed(b"\0")
    assert (len(apdu), fault) == (MAX_APDU, None)
    assert framer.pending == 0


def test_what_came_whole_before_the_fault_is_still_handed_out() -> None:
    apdus, fault = Framer().feed(SESSION["aarq"] + SESSION["rlrq"] + b"\xff\xff")
    assert [SESSION["aarq"], SESSION["rlrq"]] == apdus
    assert fault is not None
    assert fault.offset == len(SESSION["aarq"]) + len(SESSION["rlrq"])
