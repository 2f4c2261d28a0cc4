"""What a device remembers until it may believe that the hub has it."""

from datetime import UTC, datetime

from simulator.ble.devices import Measured
from simulator.ble.memory import SETTLE_S, Memory
from tests.simulator.moments import measured


def reading(second: int) -> Measured:
    return measured("scale", at=datetime(2026, 3, 2, 12, 0, second, tzinfo=UTC))[0]


ONE, TWO, THREE = (reading(second) for second in (1, 2, 3))


def send_all(memory: Memory[Measured], now: float = 10.0) -> list[Measured]:
    sent = []
    while (item := memory.next()) is not None:
        sent.append(item)
        memory.sent(now)
    return sent


def test_a_measurement_waits_until_somebody_listens() -> None:
    memory: Memory[Measured] = Memory(resend=False)
    memory.put(ONE)
    memory.put(TWO)
    assert memory.anything
    memory.begin()
    assert send_all(memory) == [ONE, TWO]
    assert not memory.anything


def test_a_forgetful_device_sends_nothing_twice() -> None:
    memory: Memory[Measured] = Memory(resend=False)
    memory.put(ONE)
    memory.begin()
    send_all(memory)
    memory.end(10.0, hub_hung_up=False)
    memory.begin()
    assert send_all(memory) == []


def test_after_a_session_that_did_not_end_in_order_the_same_bytes_go_first() -> None:
    memory: Memory[Measured] = Memory(resend=True)
    memory.put(ONE)
    memory.put(TWO)
    memory.begin()
    send_all(memory)
    memory.end(100.0, hub_hung_up=False)
    memory.put(THREE)
    memory.begin()
    assert send_all(memory, now=200.0) == [ONE, TWO, THREE]
    assert memory.resent == 2


def test_a_hub_that_hung_up_in_peace_has_them() -> None:
    memory: Memory[Measured] = Memory(resend=True)
    memory.put(ONE)
    memory.begin()
    send_all(memory, now=10.0)
    assert memory.anything, "it may have to send it again"
    memory.end(10.0 + SETTLE_S, hub_hung_up=True)
    assert not memory.anything


def test_a_hub_that_hung_up_right_after_a_value_may_not_have_it() -> None:
    memory: Memory[Measured] = Memory(resend=True)
    memory.put(ONE)
    memory.begin()
    send_all(memory, now=10.0)
    memory.end(10.0 + SETTLE_S / 2, hub_hung_up=True)
    memory.begin()
    assert send_all(memory) == [ONE]


def test_only_the_last_unfinished_session_is_sent_again() -> None:
    memory: Memory[Measured] = Memory(resend=True)
    memory.put(ONE)
    memory.begin()
    send_all(memory, now=10.0)
    memory.end(20.0, hub_hung_up=True)
    memory.put(TWO)
    memory.begin()
    send_all(memory, now=30.0)
    memory.end(30.0, hub_hung_up=False)
    memory.begin()
    assert send_all(memory) == [TWO]
