"""Collecting, with a radio that behaves as ordered and a clock that costs no time."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from edge import intake
from edge.ble import collect, session
from edge.ble.attention import FIRST_PAUSE_S
from edge.ble.collect import Collector
from edge.ble.fake_radio import OPERATION_S, FakePeripheral, FakeRadio
from edge.ble.radio import RadioError
from edge.intake import MAX_HELD, Intake
from edge.outbox import OutboxFull
from tests.edge.collecting import Store, clock_that_is
from tests.edge.collecting import collecting as collecting_from
from wire.evidence import ClockState

pytestmark = pytest.mark.looptime

OXIMETER = bytes.fromhex("AABBCCDDEE01")
CUFF = bytes.fromhex("AABBCCDDEE02")
SPOT_CHECK = 0x2A5E
BLOOD_PRESSURE = 0x2A35
SPO2_98 = bytes.fromhex("0062004800")
BP_122_80 = bytes.fromhex("007a0050005e00")
CONTEXT: dict[int | bytes, bytes] = {
    0x2A29: b"Nonin",
    0x2A60: b"\x00\x00",
    0x2A2B: bytes.fromhex("e9070c1f173b3b07ff06"),
}


def silence(_: FakePeripheral) -> None:
    pass


def measure(device: FakePeripheral) -> None:
    device.notify(SPOT_CHECK, SPO2_98)


def measure_and_leave(device: FakePeripheral) -> None:
    measure(device)
    device.leave()


def oximeter(when_subscribed: Callable[[FakePeripheral], None] = silence) -> FakePeripheral:
    return FakePeripheral(address=OXIMETER, values=CONTEXT, measurements=(SPOT_CHECK,), when_subscribed=when_subscribed)


def cuff() -> FakePeripheral:
    return FakePeripheral(address=CUFF, measurements=(BLOOD_PRESSURE,))


collecting = partial(collecting_from, listed=(OXIMETER, CUFF))


async def test_a_device_that_measures_and_leaves_has_its_reading_stored_with_its_context() -> None:
    store = Store()
    device = oximeter(measure_and_leave)
    radio = FakeRadio(device)
    async with collecting(radio, store) as collector:
        radio.advertise(OXIMETER, name="Nonin 3230")
        await asyncio.sleep(2)
        (state,) = [s for s in collector.states() if s.sessions]
    (reading,) = store.readings
    assert reading.device.address == OXIMETER
    assert reading.device.name == "Nonin 3230"
    assert (reading.characteristic, reading.value) == (SPOT_CHECK, SPO2_98)
    assert [(c.characteristic, c.value) for c in reading.context] == list(CONTEXT.items())
    assert reading.context[-1].mono_us < reading.received.mono_us
    assert (state.readings, state.sessions, state.connected) == (1, 1, False)
    assert store.woken == 1


async def test_the_clock_of_the_device_is_read_last() -> None:
    store = Store()
    device = oximeter(measure)
    device.values = {0x2A08: bytes(7), 0x2A2B: bytes(10), 0x2A24: b"3230", 0x2AFF: b"unknown"}
    radio = FakeRadio(device)
    async with collecting(radio, store):
        radio.advertise(OXIMETER)
        await asyncio.sleep(2)
    assert [c.characteristic for c in store.readings[0].context] == [0x2A24, 0x2A2B]


async def test_a_reading_is_committed_before_it_is_counted_and_before_the_uplink_is_woken() -> None:
    store = Store()
    device = oximeter(measure)
    radio = FakeRadio(device)
    before: list[tuple[int, int]] = []
    async with collecting(radio, store) as collector:
        store.when_put = lambda: before.append((collector.states()[0].readings, store.woken))
        radio.advertise(OXIMETER)
        await asyncio.sleep(1)
        assert collector.states()[0].readings == 1
    assert before == [(0, 0)]
    assert store.woken == 1


async def test_readings_keep_their_order() -> None:
    store = Store()
    values = [bytes((0, n, 0, n, 0)) for n in range(50)]

    def measure_all(device: FakePeripheral) -> None:
        for value in values:
            device.notify(SPOT_CHECK, value)

    device = oximeter(measure_all)
    radio = FakeRadio(device)
    async with collecting(radio, store):
        radio.advertise(OXIMETER)
        await asyncio.sleep(1)
    assert [reading.value for reading in store.readings] == values


async def test_a_device_that_is_not_listed_is_never_connected_to() -> None:
    device = oximeter()
    radio = FakeRadio(device)
    async with collecting(radio, Store(), listed=(CUFF,)):
        for _ in range(20):
            radio.advertise(OXIMETER)
            await asyncio.sleep(1)
    assert device.connects == []


async def test_a_silent_device_is_disconnected_after_the_idle_timeout_and_not_hammered() -> None:
    device = oximeter()
    radio = FakeRadio(device)
    async with collecting(radio, Store()):
        for _ in range(600):
            radio.advertise(OXIMETER)
            await asyncio.sleep(1)
    lengths = [later - earlier for earlier, later in zip(device.connects, device.connects[1:], strict=False)]
    assert len(device.connects) == 7
    assert [round(length - 30) for length in lengths] == [5, 10, 20, 40, 80, 160]


async def test_a_device_that_goes_on_measuring_stays_connected() -> None:
    store = Store()
    device = oximeter()
    radio = FakeRadio(device)
    async with collecting(radio, store) as collector:
        radio.advertise(OXIMETER)
        for _ in range(10):
            await asyncio.sleep(29)
            device.notify(SPOT_CHECK, SPO2_98)
        assert collector.states()[0].connected
    assert len(store.readings) == 10
    assert len(device.connects) == 1


async def test_a_device_that_is_used_again_is_connected_to_at_once() -> None:
    store = Store()
    device = oximeter(measure_and_leave)
    radio = FakeRadio(device)
    async with collecting(radio, store):
        for _ in range(5):
            radio.advertise(OXIMETER)
            await asyncio.sleep(2)
    assert len(store.readings) == 5


@pytest.mark.parametrize("step", ["connect", "read", "subscribe", "close"])
@pytest.mark.parametrize(
    "fault", ["leave", "hang", RadioError("org.bluez.Error.Failed"), RuntimeError("a fault in us")]
)
async def test_whatever_happens_at_any_step_the_session_ends_and_the_next_one_works(
    step: str, fault: Exception | str
) -> None:
    store = Store()
    device = oximeter(measure)
    device.faults = {step: fault}
    radio = FakeRadio(device)
    async with collecting(radio, store):
        radio.advertise(OXIMETER)
        await asyncio.sleep(100)
        first = len(store.readings)
        device.faults = {}
        for link in list(radio.open):
            link.end()
        radio.advertise(OXIMETER)
        await asyncio.sleep(20)
        assert len(store.readings) == first + 1
    assert len(device.connects) == 2


async def test_context_that_cannot_be_read_costs_no_measurement() -> None:
    store = Store()
    device = oximeter(measure)
    device.faults = {"read": RadioError("insufficient-authentication")}
    radio = FakeRadio(device)
    async with collecting(radio, store):
        radio.advertise(OXIMETER)
        await asyncio.sleep(2)
    assert [reading.context for reading in store.readings] == [()]


async def test_context_longer_than_an_attribute_costs_itself_and_no_measurement() -> None:
    store = Store()
    device = oximeter(measure)
    device.values = {**device.values, 0x2A29: bytes(513), 0x2A24: bytes(512)}
    radio = FakeRadio(device)
    async with collecting(radio, store):
        radio.advertise(OXIMETER)
        await asyncio.sleep(2)
    (reading,) = store.readings
    assert {item.characteristic: len(item.value) for item in reading.context}[0x2A24] == 512
    assert 0x2A29 not in {item.characteristic for item in reading.context}


async def test_a_device_that_answers_no_read_is_still_subscribed_to() -> None:
    store = Store()
    device = oximeter(measure)
    device.faults = {"read": "hang"}
    radio = FakeRadio(device)
    async with collecting(radio, store):
        radio.advertise(OXIMETER)
        await asyncio.sleep(session.CONTEXT_S + 1)
        assert len(store.readings) == 1


async def test_a_listed_device_without_measurements_is_left_alone_again() -> None:
    device = FakePeripheral(address=OXIMETER, values={0x2A29: b"Lamp"})
    radio = FakeRadio(device)
    async with collecting(radio, Store()):
        for _ in range(60):
            radio.advertise(OXIMETER)
            await asyncio.sleep(1)
    assert len(device.connects) == 4


async def test_two_devices_are_read_at_the_same_time() -> None:
    store = Store()
    devices = [oximeter(), cuff()]
    radio = FakeRadio(*devices)
    async with collecting(radio, store) as collector:
        radio.advertise(OXIMETER)
        radio.advertise(CUFF)
        await asyncio.sleep(1)
        assert all(state.connected for state in collector.states())
        devices[1].notify(BLOOD_PRESSURE, BP_122_80)
        devices[0].notify(SPOT_CHECK, SPO2_98)
    assert [reading.device.address for reading in store.readings] == [CUFF, OXIMETER]


async def test_no_more_devices_are_connected_at_once_than_configured_and_every_one_has_its_turn() -> None:
    addresses = tuple(bytes((0, 0, 0, 0, 0, number)) for number in range(1, 9))
    store = Store()
    tasks: list[asyncio.Task[None]] = []

    async def measure_later(device: FakePeripheral) -> None:
        await asyncio.sleep(3)
        measure_and_leave(device)

    def begin(device: FakePeripheral) -> None:
        tasks.append(asyncio.create_task(measure_later(device)))

    radio = FakeRadio(
        *(FakePeripheral(address=address, measurements=(SPOT_CHECK,), when_subscribed=begin) for address in addresses)
    )
    async with collecting(radio, store, listed=addresses, connections=3):
        for address in addresses:
            radio.advertise(address)
        await asyncio.sleep(20)
    assert radio.most_open == 3
    assert {reading.device.address for reading in store.readings} == set(addresses)


async def test_a_device_that_has_gone_while_others_were_read_is_not_called() -> None:
    addresses = (OXIMETER, CUFF)
    radio = FakeRadio(oximeter(), cuff())
    async with collecting(radio, Store(), listed=addresses, connections=1):
        radio.advertise(OXIMETER)
        radio.advertise(CUFF)
        await asyncio.sleep(60)
    assert [len(radio.peripherals[address].connects) for address in addresses] == [1, 0]


async def test_a_radio_that_fails_is_tried_again_with_pauses_and_used_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="stafet")
    store = Store()
    device = oximeter(measure)
    radio = FakeRadio(device)
    radio.fault = RadioError("no-bluetooth")
    async with collecting(radio, store) as collector:
        await asyncio.sleep(600)
        assert (collector.scanning, collector.radio_fault) == (False, "no-bluetooth")
        assert caplog.messages == ["scan_failed"], "one fault is one event"
        radio.fault = None
        await asyncio.sleep(collect.LONGEST_RETRY_S + 1)
        assert (collector.scanning, collector.radio_fault) == (True, None)
        radio.advertise(OXIMETER)
        await asyncio.sleep(1)
    assert "scan_recovered" in caplog.messages
    assert len(store.readings) == 1


async def test_a_radio_that_hears_nothing_at_all_for_a_while_is_started_anew() -> None:
    radio = FakeRadio(oximeter())
    async with collecting(radio, Store()):
        await asyncio.sleep(collect.DEAF_TICKS * collect.TICK_S + 1)
        assert radio.scans == 2
        for _ in range(120):
            radio.advertise(CUFF[::-1])
            await asyncio.sleep(1)
        assert radio.scans == 2


async def test_a_scan_that_is_lost_is_left_at_once_and_begun_anew() -> None:
    device = oximeter(measure_and_leave)
    radio = FakeRadio(device)
    store = Store()
    async with collecting(radio, store):
        radio.lost.set()
        await asyncio.sleep(0.1)
        assert radio.scans == 2
        radio.advertise(OXIMETER)
        await asyncio.sleep(2)
    assert len(store.readings) == 1


async def test_a_device_listed_while_the_hub_runs_is_read_and_one_that_is_listed_no_more_is_let_go() -> None:
    store = Store()
    radio = FakeRadio(oximeter(measure), FakePeripheral(address=CUFF, measurements=(BLOOD_PRESSURE,)))
    async with collecting(radio, store, listed=(OXIMETER,)) as collector:
        radio.advertise(OXIMETER)
        await asyncio.sleep(2)
        assert [link.closed for link in radio.links] == [False]
        collector.keep([(CUFF, "cuff")])
        assert radio.wanted == {CUFF}
        radio.advertise(OXIMETER)
        radio.advertise(CUFF)
        await asyncio.sleep(2)
        assert [link.closed for link in radio.links] == [True, False]
        assert [(state.label, state.connected) for state in collector.states()] == [("cuff", True)]
    assert [reading.device.address for reading in store.readings] == [OXIMETER]


async def test_scanning_shows_progress_to_the_watchdog_whether_it_works_or_not() -> None:
    radio = FakeRadio()
    async with collecting(radio, Store()) as collector:
        for fault in (None, RadioError("no-bluetooth")):
            radio.fault = fault
            for _ in range(40):
                before = collector.progress
                await asyncio.sleep(collect.TICK_S + 0.1)
                assert collector.progress > before


async def test_a_full_outbox_loses_nothing_and_changes_no_order() -> None:
    store = Store()
    device = oximeter()
    radio = FakeRadio(device)
    values = [bytes((0, n, 0, n, 0)) for n in range(6)]
    async with collecting(radio, store) as collector:
        radio.advertise(OXIMETER)
        await asyncio.sleep(1)
        device.notify(SPOT_CHECK, values[0])
        store.refuses = True
        for value in values[1:4]:
            device.notify(SPOT_CHECK, value)
        assert (collector.intake.held, collector.states()[0].readings) == (3, 1)
        await asyncio.sleep(5)
        store.refuses = False
        device.notify(SPOT_CHECK, values[4])
        assert collector.intake.held == 0
        store.refuses = True
        device.notify(SPOT_CHECK, values[5])
        store.refuses = False
        await asyncio.sleep(intake.RETRY_S + 0.1)
        assert collector.intake.held == 0
    assert [reading.value for reading in store.readings] == values


async def test_what_is_held_in_memory_is_bounded_and_every_loss_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    store = Store()
    store.refuses = True
    intake = Intake(put=store.put, stored=store.wake)
    for _ in range(MAX_HELD + 3):
        intake.take(b"")
    assert (intake.held, intake.dropped) == (MAX_HELD, 3)
    assert caplog.messages.count("reading_dropped") == 3


async def test_what_is_held_in_memory_is_bounded_by_its_weight_too() -> None:
    full = True

    def put(_: bytes) -> int:
        if full:
            raise OutboxFull("no room")
        return 1

    intake = Intake(put=put, stored=lambda: None)
    for _ in range(40):
        intake.take(bytes(64 << 10))
    assert (intake.held, intake.dropped) == (32, 8)
    full = False
    intake.retry()
    full = True
    for _ in range(40):
        intake.take(bytes(64 << 10))
    assert (intake.held, intake.dropped) == (32, 16)


async def test_what_is_held_is_stored_at_the_end_if_it_can_be() -> None:
    store = Store()
    device = oximeter()
    radio = FakeRadio(device)
    async with collecting(radio, store):
        radio.advertise(OXIMETER)
        await asyncio.sleep(1)
        store.refuses = True
        device.notify(SPOT_CHECK, SPO2_98)
        store.refuses = False
    assert len(store.readings) == 1


async def test_collecting_ends_within_seconds_even_with_a_device_that_does_not_let_go() -> None:
    device = oximeter()
    device.faults = {"close": "hang"}
    radio = FakeRadio(device)
    collector = Collector(
        radio=radio,
        devices=[(OXIMETER, "")],
        intake=Intake(put=Store().put, stored=lambda: None),
        now=clock_that_is(ClockState.UNSYNCHRONISED),
    )
    task = asyncio.create_task(collector.run())
    await asyncio.sleep(0.01)
    radio.advertise(OXIMETER)
    await asyncio.sleep(1)
    began = asyncio.get_running_loop().time()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.get_running_loop().time() - began <= collect.CLOSE_S + 1


async def test_no_event_of_a_session_holds_an_address_or_a_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="stafet")
    device = oximeter(measure)
    radio = FakeRadio(device)
    async with collecting(radio, Store()):
        radio.advertise(OXIMETER)
        await asyncio.sleep(40)
    events = [(record.message, record.fields) for record in caplog.records]  # type: ignore[attr-defined]
    assert [name for name, _ in events] == ["device_connected", "reading_stored", "session_ended"]
    from edge.log import KEYS

    assert all(fields.keys() <= KEYS for _, fields in events)
    text = str(events).lower()
    assert "aabbccddee01" not in text
    assert "aa:bb" not in text
    assert SPO2_98.hex() not in text


def test_the_constants_fit_each_other() -> None:
    assert OPERATION_S * 20 < session.CONTEXT_S
    assert FIRST_PAUSE_S > collect.CLOSE_S, "a session is closed before the next begins"
