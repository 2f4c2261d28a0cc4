"""Each profile as the hub speaks it, with devices that keep records, and links that break at any step."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.ble import records as procedures
from edge.ble.fake_radio import FakePeripheral, FakeRadio
from edge.ble.fake_records import RACP, FakeRecords, Kept
from edge.ble.flows import ABORT, FLOWS, Opcode, answer_to, asked
from edge.ble.radio import RadioError
from edge.outbox import Outbox
from edge.store import Mark
from tests.edge.collecting import Store, clock_that_is, collecting
from wire.batch import parse_reading
from wire.evidence import ClockState, Reading

pytestmark = pytest.mark.looptime

METER = bytes.fromhex("AABBCCDDEE10")
GLUCOSE, CONTEXT, SPOT, CGM, CUFF, GHS = 0x2A18, 0x2A34, 0x2A5E, 0x2AA7, 0x2A35, 0x2BDD
OLD_CLOCK = bytes.fromhex("e8070101000000010000")
"""1 January 2024, 00:00:00: years behind the hub."""
ALL, COUNT_ALL = b"\x01\x01", b"\x04\x01"


def glucose(number: int, *, mg_dl: int = 100, meal: bool = False) -> Kept:
    """A GLS record of one minute a number, kg/L, perhaps with its context."""
    when = bytes((0xE9, 0x07, 11, 1 + number // 1440 % 28, number // 60 % 24, number % 60, 0))
    value = bytes((0x12 if meal else 0x02, *number.to_bytes(2, "little"))) + when + bytes((mg_dl, 0xB0, 0x11))
    values = [(GLUCOSE, value)]
    if meal:
        values.append((CONTEXT, bytes((0x02, *number.to_bytes(2, "little"), 1))))
    return Kept(number=number, values=values)


def spot(spo2: int, minute: int | None, *, stored: bool = False) -> bytes:
    flags = (0x01 if minute is not None else 0) | 0x02
    time = b"" if minute is None else bytes((0xE9, 0x07, 11, 24, 16, minute, 0))
    return bytes((flags, spo2, 0, 72, 0)) + time + (0x0220 if stored else 0x0020).to_bytes(2, "little")


def observation(number: int) -> Kept:
    """A GHS record in two segments; the counter in the header goes on from record to record."""
    message = number.to_bytes(4, "little") + bytes((1, 8, 0, 1, 0, number, 1, 2, 3, 4, 5))
    counter = 2 * number % 64
    first, second = bytes((0x01 | counter << 2,)) + message[:9], bytes((0x02 | counter + 1 << 2,)) + message[9:]
    return Kept(number=number, values=[(GHS, first), (GHS, second)])


def joined(record: Kept) -> tuple[int, bytes]:
    (uuid, first), (_, second) = record.values
    return uuid, bytes((first[0] | 0x02,)) + first[1:] + second[1:]


def meter(server: FakeRecords, **more: object) -> FakePeripheral:
    """A glucose meter with what it keeps."""
    settings: dict[str, object] = {
        "values": {0x2A29: b"Meter", 0x2A51: b"\0\0"},
        "measurements": (GLUCOSE, CONTEXT, RACP),
        "writable": (RACP,),
    }
    return FakePeripheral(
        address=METER,
        services=dict.fromkeys((GLUCOSE, CONTEXT, RACP), 0x1808),
        when_written=server.written,
        **{**settings, **more},  # type: ignore[arg-type]
    )


def values_of(kept: list[Kept]) -> list[tuple[int, bytes]]:
    return [value for record in kept for value in record.values]


async def session(
    device: FakePeripheral, store: Store, *, name: str = "", clock: ClockState = ClockState.UNSET
) -> None:
    """One visit of the device: it is seen, and everything it wants is done."""
    radio = FakeRadio(device)
    async with collecting(radio, store, listed=(device.address,), now=clock_that_is(clock)):
        radio.advertise(device.address, name)
        await asyncio.sleep(0.1)
        for link in radio.links:
            await link.gone.wait()


# All of it, in order, once


async def test_500_glucose_records_sent_in_one_burst_arrive_in_order_and_once() -> None:
    server = FakeRecords(kept=[glucose(number, meal=number % 3 == 0) for number in range(500)])
    store = Store()
    await session(meter(server), store)
    assert store.values == values_of(server.kept)
    await session(meter(server), store)
    assert len(store.readings) == 500 + 167, "what is there already is not taken again"
    assert server.requests == [COUNT_ALL, ALL, b"\x04\x03\x01\xf3\x01", b"\x01\x03\x01\xf3\x01"]
    server.kept.append(glucose(500))
    await session(meter(server), store)
    assert store.values == values_of(server.kept)


@dataclass(frozen=True)
class Profile:
    """A device of one profile with something to tell, and every value of it."""

    make: Callable[[], tuple[FakePeripheral, list[tuple[int, bytes]]]]
    name: str = ""
    clock: ClockState = ClockState.SYNCHRONISED


def _glucose_meter() -> tuple[FakePeripheral, list[tuple[int, bytes]]]:
    server = FakeRecords(kept=[glucose(number, meal=number % 2 == 0) for number in range(40, 46)], interval_s=0.02)
    clock = {0x2A2B: OLD_CLOCK, 0x2A51: b"\0\0"}
    return meter(server, values=clock, writable=(RACP, 0x2A2B)), values_of(server.kept)


def _sensor() -> tuple[FakePeripheral, list[tuple[int, bytes]]]:
    kept = [
        Kept(
            number=minute + 5,
            values=[(CGM, b"".join(bytes((6, 0, 95, 0, *m.to_bytes(2, "little"))) for m in (minute, minute + 5)))],
        )
        for minute in range(0, 60, 10)
    ]
    server = FakeRecords(kept=kept, interval_s=0.02)
    device = FakePeripheral(
        address=METER,
        values={0x2AA8: bytes.fromhex("001000 59") + b"\0\0", 0x2AAA: bytes(9)},
        measurements=(CGM, RACP),
        writable=(RACP, 0x2AAA),
        services=dict.fromkeys((CGM, RACP, 0x2AA8, 0x2AAA), 0x181F),
        when_written=server.written,
    )
    return device, values_of(kept)


def _oximeter() -> tuple[FakePeripheral, list[tuple[int, bytes]]]:
    server = FakeRecords(
        kept=[Kept(number=0, values=[(SPOT, spot(90 + minute, minute, stored=True))]) for minute in range(5)],
        interval_s=0.02,
        numbered=False,
    )
    device = FakePeripheral(
        address=METER,
        values={0x2A60: b"\x04\0", 0x2A19: b"\x50"},
        measurements=(SPOT, RACP),
        writable=(RACP,),
        services=dict.fromkeys((SPOT, RACP, 0x2A60), 0x1822),
        when_written=server.written,
    )
    return device, values_of(server.kept)


def _health_sensor() -> tuple[FakePeripheral, list[tuple[int, bytes]]]:
    server = FakeRecords(
        kept=[observation(number) for number in range(1, 5)], interval_s=0.02, width=4, opcodes=frozenset({3, 4, 7})
    )
    device = FakePeripheral(
        address=METER,
        values={0x2BF3: b"\0\0"},
        measurements=(0x2B8B, GHS, RACP, 0x2BF4),
        writable=(RACP, 0x2BF4),
        services=dict.fromkeys((0x2B8B, GHS, RACP, 0x2BF3, 0x2BF4), 0x1840),
        when_written=server.written,
    )
    return device, [joined(record) for record in server.kept]


def _enhanced_cuff() -> tuple[FakePeripheral, list[tuple[int, bytes]]]:
    record = bytes.fromhex("352a 007a0050005e00")
    values = [(0x2B36, bytes((0x03 | number << 2, *number.to_bytes(2, "little"))) + record) for number in range(5)]
    server = FakeRecords(
        kept=[Kept(number=number, values=[value]) for number, value in enumerate(values)], interval_s=0.02
    )
    device = FakePeripheral(
        address=METER,
        measurements=(CUFF, 0x2B36, RACP),
        writable=(RACP,),
        services=dict.fromkeys((CUFF, 0x2B36, RACP), 0x1810),
        when_written=server.written,
    )
    return device, list(values)


def _cuff() -> tuple[FakePeripheral, list[tuple[int, bytes]]]:
    """It keeps what was not delivered, sends it to whoever subscribes, and leaves."""
    unsent = [(CUFF, bytes.fromhex("027a0050005e00e907 0b18 10") + bytes((minute, 0))) for minute in range(3)]
    wanted = list(unsent)

    def deliver(device: FakePeripheral) -> None:
        while unsent and device.link is not None:
            before = len(device.done)
            device.notify(*unsent[0])
            if len(device.done) > before:
                unsent.pop(0)
        device.leave()

    device = FakePeripheral(
        address=METER,
        values={0x2A08: OLD_CLOCK[:7], 0x2A24: b"UA-651BLE"},
        measurements=(CUFF,),
        writable=(0x2A08,),
        services=dict.fromkeys((CUFF, 0x2A08), 0x1810),
        when_subscribed=deliver,
    )
    return device, wanted


PROFILES = {
    "a glucose meter whose clock is off": Profile(_glucose_meter),
    "a continuous glucose monitor that has not been told the time": Profile(_sensor),
    "an oximeter that keeps spot-checks": Profile(_oximeter),
    "a generic health sensor": Profile(_health_sensor),
    "a cuff that keeps records, and knows no combined report": Profile(_enhanced_cuff),
    "A&D with Bluetooth LE: clock first": Profile(_cuff, name="A&D_UA-651BLE_123456"),
}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
async def test_a_link_cut_at_any_step_of_a_flow_loses_nothing_and_doubles_nothing(profile: Profile) -> None:
    device, _ = profile.make()
    await session(device, Store(), name=profile.name, clock=profile.clock)
    steps = device.done
    assert {"connect", "subscribe", "notify"} <= set(steps)
    for cut_at in range(len(steps)):
        device, wanted = profile.make()
        store = Store()
        device.cut_at = cut_at
        await session(device, store, name=profile.name, clock=profile.clock)
        device.cut_at = None
        await session(device, store, name=profile.name, clock=profile.clock)
        assert Counter(store.values) == Counter(wanted), f"cut at step {cut_at}, {steps[cut_at]}"


async def test_a_link_that_is_cut_again_and_again_brings_everything_in_the_end() -> None:
    device, wanted = _glucose_meter()
    store = Store()
    for cut_at in range(12, 24):
        device.cut_at = len(device.done) + cut_at
        await session(device, store)
    device.cut_at = None
    await session(device, store)
    assert sorted(store.values, key=lambda value: value[1][1]) == sorted(wanted, key=lambda value: value[1][1])


# Which records are asked for


async def test_a_device_whose_memory_was_cleared_is_asked_for_everything() -> None:
    server = FakeRecords(kept=[glucose(number) for number in range(10, 20)])
    store = Store()
    await session(meter(server), store)
    new = [glucose(number, mg_dl=140) for number in range(4)]
    server.kept[:] = new
    await session(meter(server), store)
    assert store.values[10:] == values_of(new)
    assert server.requests[2:] == [b"\x04\x03\x01\x13\x00", COUNT_ALL, ALL]


async def test_a_device_that_was_replaced_or_reset_is_asked_for_everything_even_if_its_numbers_go_on() -> None:
    server = FakeRecords(kept=[glucose(number) for number in range(10)])
    store = Store()
    await session(meter(server), store)
    new = [glucose(number, mg_dl=140) for number in range(30)]
    server.kept[:] = new
    await session(meter(server), store)
    assert Counter(store.values[10:]) == Counter(values_of(new))


async def test_records_whose_number_begins_again_after_65535_are_not_missed() -> None:
    server = FakeRecords(kept=[glucose(number) for number in range(65_530, 65_536)])
    store = Store()
    await session(meter(server), store)
    server.kept += [glucose(number, mg_dl=120) for number in range(5)]
    await session(meter(server), store)
    assert store.values == values_of(server.kept)


async def test_records_that_come_out_of_order_are_kept_in_the_order_of_the_device() -> None:
    server = FakeRecords(kept=[glucose(number) for number in (5, 3, 4, 9, 1)])
    store = Store()
    await session(meter(server), store)
    server.kept.insert(0, glucose(10))
    await session(meter(server), store)
    assert [value[1][1] for value in store.values] == [5, 3, 4, 9, 1, 10]


async def test_a_meter_that_cannot_report_from_a_number_on_is_asked_for_everything_and_nothing_is_doubled() -> None:
    server = FakeRecords(kept=[glucose(number) for number in range(5)], numbered=False)
    store = Store()
    await session(meter(server), store)
    server.kept.append(glucose(5))
    await session(meter(server), store)
    assert store.values == values_of(server.kept)


async def test_a_new_session_of_a_sensor_is_told_from_the_one_before_although_its_records_look_the_same() -> None:
    device, wanted = _sensor()
    device.values = {**device.values, 0x2AAA: bytes.fromhex("e9070b1800000004 04")}
    store = Store()
    await session(device, store)
    await session(device, store)
    assert store.values == wanted
    device.values = {**device.values, 0x2AAA: bytes.fromhex("e9070b1900000004 04")}
    await session(device, store)
    assert Counter(store.values[len(wanted) :]) == Counter(wanted)


async def test_a_new_session_of_a_sensor_that_nobody_told_the_time_is_taken_whole() -> None:
    device, wanted = _sensor()
    device.writable = (RACP,)
    store = Store()
    await session(device, store)
    await session(device, store)
    assert store.values == wanted
    shorter, _ = _sensor()
    shorter.writable = (RACP,)
    server = shorter.when_written.__self__  # type: ignore[attr-defined]
    del server.kept[3:]
    await session(shorter, store)
    assert store.values[len(wanted) :] == wanted[:3], "the marked record is gone: it is another sensor"


async def test_a_mark_that_no_record_can_have_costs_no_session() -> None:
    device, wanted = _oximeter()
    store = Store()
    store.marks[METER + b"\x18\x22"] = Mark(7, b"12345678")
    await session(device, store)
    assert store.values == wanted


async def test_a_context_after_a_reset_is_not_taken_for_that_of_an_older_record() -> None:
    server = FakeRecords(kept=[glucose(number, meal=True) for number in range(3)])
    store = Store()
    await session(meter(server), store)
    new = [glucose(number, mg_dl=140, meal=True) for number in range(3)]
    server.kept[:] = new
    await session(meter(server), store)
    await session(meter(server), store)
    assert Counter(store.values[6:]) == Counter(values_of(new))


async def test_a_second_persons_record_is_collected_like_the_first_ones() -> None:
    stored = [bytes.fromhex("0a7a0050005e00e9070b181000 00") + bytes((person,)) for person in (1, 2)]
    server = FakeRecords(kept=[Kept(number=0, values=[(CUFF, value)]) for value in stored], numbered=False)
    device = FakePeripheral(
        address=METER,
        measurements=(CUFF, RACP),
        writable=(RACP,),
        services=dict.fromkeys((CUFF, RACP), 0x1810),
        when_written=server.written,
    )
    store = Store()
    await session(device, store)
    await session(device, store)
    assert [value for _, value in store.values] == stored


class OnDisk(Store):
    """The real outbox."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self.put, self.put_noted, self.recall, self.mark = (  # type: ignore[method-assign]
            outbox.put,
            outbox.put_noted,
            outbox.recall,
            outbox.mark,
        )


async def test_a_hub_that_is_restarted_asks_for_what_its_store_does_not_have(tmp_path: Path) -> None:
    server = FakeRecords(kept=[glucose(number, meal=number == 4) for number in range(30)], interval_s=0.01)
    device = meter(server)
    device.cut_at = 30
    for left in (1, 0):
        with Outbox.open(tmp_path / "outbox.db", hub="hub-0001") as outbox:
            await session(device, OnDisk(outbox))
            assert (outbox.next - 1 < 31) == left
        device.cut_at = None
    with Outbox.open(tmp_path / "outbox.db", hub="hub-0001") as outbox:
        await session(device, OnDisk(outbox))
        pending = outbox.pending(1)
    assert pending is not None
    readings = [parse_reading(encoded) for encoded in pending.readings]
    assert [reading.value for reading in readings if isinstance(reading, Reading)] == [
        value for _, value in values_of(server.kept)
    ]
    assert server.requests[-1] == b"\x01\x03\x01\x1d\x00"


async def test_a_control_point_in_the_makers_own_service_gives_out_what_the_device_measures() -> None:
    weight, body = 0x2A9D, 0x2A9C
    dated = bytes.fromhex("e9070b181000 00")
    kept = [
        Kept(
            number=number,
            values=[(weight, b"\x02" + bytes((number, 0x36)) + dated), (body, b"\x02\0" + bytes((number, 1)) + dated)],
        )
        for number in range(4)
    ]
    server = FakeRecords(kept=kept, numbered=False)
    device = FakePeripheral(
        address=METER,
        measurements=(weight, body, RACP),
        writable=(RACP,),
        services={weight: 0x181D, body: 0x181B, RACP: bytes.fromhex("5DF5E817A9454F8189C03D4E9759C07C")},
        when_written=server.written,
    )
    store = Store()
    await session(device, store, name="BLESmart_00010112AABBCCDDEE10")
    await session(device, store, name="BLESmart_00010112AABBCCDDEE10")
    assert store.values == values_of(kept)


# By itself or by being asked for


async def test_a_spot_check_that_came_by_itself_is_not_taken_from_memory_too() -> None:
    device, wanted = _oximeter()
    live = spot(90, 0)
    device.when_subscribed = lambda device: device.notify(SPOT, live) if SPOT in device.subscribers else None
    store = Store()
    await session(device, store)
    await session(device, store)
    assert [value for _, value in store.values] == [live, *(value for _, value in wanted[1:])]


async def test_two_spot_checks_without_a_time_are_two_however_alike() -> None:
    device, wanted = _oximeter()
    device.when_subscribed = lambda device: None
    store = Store()
    radio = FakeRadio(device)
    async with collecting(radio, store, listed=(METER,)):
        radio.advertise(METER)
        await asyncio.sleep(5)
        device.notify(SPOT, spot(98, None))
        device.notify(SPOT, spot(98, None))
    assert [value for _, value in store.values[len(wanted) :]] == [spot(98, None)] * 2


async def test_records_without_a_time_are_taken_from_memory_each_and_once() -> None:
    device, _ = _oximeter()
    kept = [spot(97, None, stored=True), spot(97, None, stored=True), spot(98, None, stored=True)]
    server = FakeRecords(kept=[Kept(number=0, values=[(SPOT, value)]) for value in kept], numbered=False)
    device.when_written = server.written
    store = Store()
    for _ in range(3):
        await session(device, store)
    assert [value for _, value in store.values] == kept


async def test_two_measurements_by_a_clock_that_is_not_set_are_two_however_alike() -> None:
    unset = bytes.fromhex("03 6100 4800 00000000000000 2000")
    server = FakeRecords(kept=[], numbered=False)
    device, _ = _oximeter()
    device.when_written = server.written
    store = Store()
    radio = FakeRadio(device)
    async with collecting(radio, store, listed=(METER,)):
        radio.advertise(METER)
        await asyncio.sleep(5)
        for _ in range(2):
            device.notify(SPOT, unset)
            await asyncio.sleep(1)
    assert [value for _, value in store.values] == [unset] * 2
    server.kept += [Kept(number=0, values=[(SPOT, unset)])] * 3
    for _ in range(2):
        await session(device, store)
    assert [value for _, value in store.values] == [unset] * 5, "two by themselves, three from memory, each once"


async def test_evidence_tells_a_record_that_was_asked_for_from_one_that_came_by_itself() -> None:
    device, _ = _oximeter()
    store = Store()
    radio = FakeRadio(device)
    async with collecting(radio, store, listed=(METER,)):
        radio.advertise(METER)
        await asyncio.sleep(5)
        device.notify(SPOT, spot(97, 30))
    answers = [[c.value for c in reading.context if c.characteristic == RACP] for reading in store.readings]
    assert answers == [[ALL]] * 5 + [[]]
    assert [c.characteristic for c in store.readings[-1].context] == [0x2A60, 0x2A19]


@pytest.mark.parametrize("order", ["contexts_first", "contexts_last"])
async def test_glucose_contexts_find_their_records_in_whatever_order_both_come(order: str) -> None:
    server = FakeRecords(kept=[glucose(number, meal=True) for number in range(9)], **{order: True})  # type: ignore[arg-type]
    store = Store()
    for _ in range(2):
        await session(meter(server), store)
    records = {value[1:3]: value for uuid, value in store.values if uuid == GLUCOSE}
    beside = {
        reading.value[1:3]: next(c.value for c in reading.context if c.characteristic == GLUCOSE)
        for reading in store.readings
        if reading.characteristic == CONTEXT
    }
    assert len(store.readings) == 18, "each once"
    assert beside == records


async def test_a_context_whose_record_never_comes_is_kept_without_it() -> None:
    _, context = glucose(1, meal=True).values
    server = FakeRecords(kept=[Kept(number=2, values=[context, *glucose(2).values])])
    store = Store()
    await session(meter(server), store)
    assert store.values == [*glucose(2).values, context]
    assert [c.value for c in store.readings[1].context if c.characteristic in {GLUCOSE, RACP}] == [ALL]


async def test_a_context_of_a_record_that_is_longer_than_an_attribute_is_kept_without_it() -> None:
    """The longest ATT_MTU has room for two bytes more."""
    (_, record), context = glucose(1, meal=True).values
    longer = (GLUCOSE, record + bytes(514 - len(record)))
    store = Store()
    await session(meter(FakeRecords(kept=[Kept(number=1, values=[longer, context])])), store)
    assert store.values == [longer, context]
    assert GLUCOSE not in {c.characteristic for c in store.readings[1].context}


async def test_a_context_that_a_record_announces_is_waited_for_after_the_answer() -> None:
    server = FakeRecords(kept=[glucose(1, meal=True)])
    (record, context) = server.kept[0].values
    late = FakeRecords(kept=[Kept(number=1, values=[record])])
    device = meter(late)

    def written(peripheral: FakePeripheral, uuid: int | bytes, value: bytes) -> None:
        late.written(peripheral, uuid, value)
        if value == ALL:
            asyncio.get_running_loop().call_later(0.5, peripheral.notify, *context)

    device.when_written = written
    store = Store()
    radio = FakeRadio(device)
    async with collecting(radio, store, listed=(METER,)):
        radio.advertise(METER)
        await asyncio.sleep(0.7)
        assert (store.values, store.marks) == ([record], {}), "the record is here, its context is not"
        await asyncio.sleep(0.7)
        assert store.marks
    assert store.values == [record, context]
    assert [c.value for c in store.readings[1].context][-2:] == [record[1], ALL]


async def test_a_glucose_context_carries_the_record_that_it_belongs_to() -> None:
    server = FakeRecords(kept=[glucose(number, meal=number % 2 == 0) for number in range(4)])
    store = Store()
    await session(meter(server), store)
    belonging = [
        [c.value for c in reading.context if c.characteristic == GLUCOSE]
        for reading in store.readings
        if reading.characteristic == CONTEXT
    ]
    assert belonging == [[server.kept[0].values[0][1]], [server.kept[2].values[0][1]]]


async def test_a_health_sensor_that_still_sends_is_stopped_before_it_is_asked_for_what_it_keeps() -> None:
    device, wanted = _health_sensor()
    server = device.when_written.__self__  # type: ignore[attr-defined]
    server.busy = 1_000
    orders: list[tuple[int | bytes, bytes]] = []

    def written(device: FakePeripheral, uuid: int | bytes, value: bytes) -> None:
        assert uuid in device.subscribers, "it refuses who does not hear its answer"
        orders.append((uuid, value))
        if uuid == 0x2BF4:
            server.busy = 0 if value == b"\x02" else 1_000
        server.written(device, uuid, value)

    device.when_written = written
    store = Store()
    await session(device, store)
    assert orders == [(0x2BF4, b"\x02"), (RACP, COUNT_ALL), (RACP, b"\x07\x01"), (0x2BF4, b"\x01")]
    assert store.values == wanted
    assert device.done.count("subscribe") == 4, "each characteristic once"


async def test_a_health_sensor_that_does_not_begin_says_so_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    device, wanted = _health_sensor()
    server = device.when_written.__self__  # type: ignore[attr-defined]

    def written(device: FakePeripheral, uuid: int | bytes, value: bytes) -> None:
        if uuid == 0x2BF4:
            device.notify(uuid, b"\x80" if value == b"\x02" else b"\x82")
        server.written(device, uuid, value)

    device.when_written = written
    store = Store()
    await session(device, store)
    assert store.values == wanted
    refused = [record.fields for record in caplog.records if record.message == "order_refused"]  # type: ignore[attr-defined]
    assert [(fields["characteristic"], fields["reason"]) for fields in refused] == [("2BF4", "answer-82")]


async def test_a_message_in_segments_is_one_reading_and_what_is_not_whole_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    live = 0x2B8B
    messages = [joined(observation(number))[1] for number in (1, 2)]

    def tell(device: FakePeripheral) -> None:
        for number in (1, 2, 3):
            for _, value in observation(number).values[: 1 if number == 3 else 2]:
                device.notify(live, value)

    device = FakePeripheral(address=METER, measurements=(live,), when_subscribed=tell)
    store = Store()
    await session(device, store)
    device.when_subscribed = lambda device: device.notify(live, observation(4).values[1][1])
    await session(device, store)
    assert store.values == [(live, message) for message in messages]
    dropped = [record.fields for record in caplog.records if record.message == "segments_dropped"]  # type: ignore[attr-defined]
    assert [fields["count"] for fields in dropped] == [1]


def slow(message: bytes) -> list[bytes]:
    """A message in segments of twenty bytes, as with the shortest ATT_MTU."""
    pieces = [message[at : at + 19] for at in range(0, len(message), 19)]
    ends = {0: 0x01, len(pieces) - 1: 0x02}
    return [bytes((ends.get(at, 0) | at % 64 << 2,)) + piece for at, piece in enumerate(pieces)]


async def test_a_message_whose_segments_take_longer_than_a_silence_is_not_hung_up_on_to_set_the_clock() -> None:
    live, clock = 0x2B8B, 0x2A2B
    written: list[int | bytes] = []

    def tell(device: FakePeripheral) -> None:
        device.notify(live, b"\x03" + bytes(9))
        for second, segment in enumerate(slow(bytes(190)), 1):
            asyncio.get_running_loop().call_later(2.0 * second, device.notify, live, segment)

    device = FakePeripheral(
        address=METER,
        values={clock: OLD_CLOCK},
        measurements=(live,),
        writable=(clock,),
        when_subscribed=tell,
        when_written=lambda _, uuid, __: written.append(uuid),
    )
    store = Store()
    await session(device, store, clock=ClockState.SYNCHRONISED)
    assert store.values == [(live, b"\x03" + bytes(9)), (live, b"\x03" + bytes(190))]
    assert written == [clock], "afterwards"


async def test_a_record_whose_segments_take_longer_than_a_silence_is_waited_for() -> None:
    record = Kept(number=1, values=[(GHS, each) for each in slow((1).to_bytes(4, "little") + bytes(756))])
    device, _ = _health_sensor()
    server = FakeRecords(kept=[record], interval_s=1.0, width=4, opcodes=frozenset({3, 4, 7}))
    device.when_written = server.written
    store = Store()
    await session(device, store)
    assert store.values == [(GHS, b"\x03\x01" + bytes(759))]
    assert [c.value for c in store.readings[0].context if c.characteristic == RACP] == [b"\x07\x01"]
    assert [mark and mark.number for mark in store.marks.values()] == [1]


# Devices that misbehave


@pytest.mark.parametrize(
    "fault",
    [
        {"noise": [b"", b"\x06", b"\x06\x00\x04\x01", b"\x06\x00\x02\x01", b"\xff" * 20, b"\x05\x00"]},
        {"busy": 2},
        {"break_off": 2},
        {"refuse_writes": 2},
        {"lose": 2},
        {"silent": frozenset({4})},
        {"answers_early_s": 0.5},
        {"opcodes": frozenset({1, 3})},
    ],
    ids=lambda fault: next(iter(fault)),
)
async def test_a_device_that_gets_it_right_in_the_end_loses_nothing(fault: dict[str, int]) -> None:
    server = FakeRecords(kept=[glucose(number) for number in range(8)], **fault)  # type: ignore[arg-type]
    store = Store()
    await session(meter(server), store)
    assert Counter(store.values) == Counter(values_of(server.kept))
    (mark,) = store.marks.values()
    assert mark is not None
    assert mark.number == 7
    assert all(reading.context[-1].characteristic == RACP for reading in store.readings)


async def test_fewer_records_than_the_device_counts_are_asked_for_again_in_the_next_session() -> None:
    server = FakeRecords(kept=[glucose(number) for number in range(4)], counts_wrong_by=1)
    store = Store()
    await session(meter(server), store)
    assert server.requests.count(ALL) == procedures.ATTEMPTS
    assert not any(store.marks.values())
    server.counts_wrong_by = 0
    await session(meter(server), store)
    assert store.values == values_of(server.kept)
    assert any(store.marks.values())


async def test_a_meter_that_never_answers_is_let_go_and_its_clock_is_left_alone() -> None:
    server = FakeRecords(kept=[glucose(1)], silent=frozenset({1, 3, 4}))
    device = meter(server, values={0x2A2B: OLD_CLOCK}, writable=(RACP, 0x2A2B))
    store = Store()
    began = asyncio.get_running_loop().time()
    await session(device, store, clock=ClockState.SYNCHRONISED)
    assert asyncio.get_running_loop().time() - began < procedures.SILENT_S + procedures.COUNT_S + 20
    assert device.done.count("write") == 4, "two requests, and each ended"
    assert server.requests[1::2] == [ABORT] * 2


async def test_a_full_outbox_in_the_middle_of_a_burst_loses_and_doubles_nothing() -> None:
    server = FakeRecords(kept=[glucose(number) for number in range(20)])
    store = Store()

    def full_after_seven() -> None:
        store.refuses = len(store.readings) == 6

    store.when_put = full_after_seven
    await session(meter(server), store)
    assert not any(store.marks.values()), "not everything was on disk"
    store.when_put = lambda: None
    store.refuses = False
    await session(meter(server), store)
    assert store.values == values_of(server.kept)


async def test_a_control_point_that_cannot_be_subscribed_to_costs_no_live_measurement() -> None:
    device, _ = _oximeter()
    live = spot(97, 30)

    def subscribed(device: FakePeripheral) -> None:
        if RACP not in device.subscribers:
            device.notify(SPOT, live)
            device.faults = {"subscribe": RadioError("insufficient-authentication")}

    device.when_subscribed = subscribed
    store = Store()
    await session(device, store)
    assert [value for _, value in store.values] == [live]


# What the hub says to a control point


def test_requests_and_answers_are_the_bytes_of_the_specification() -> None:
    assert asked(Opcode.REPORT).hex() == "0101"
    assert asked(Opcode.COUNT).hex() == "0401"
    assert asked(Opcode.REPORT, number=500, number_bytes=2).hex() == "010301f401"
    assert ABORT.hex() == "0300"
    assert answer_to(Opcode.REPORT, bytes.fromhex("06000106")) == (6, None)
    assert answer_to(Opcode.COUNT, bytes.fromhex("0500bc02")) == (1, 700)
    assert answer_to(Opcode.REPORT, bytes.fromhex("06000401")) is None


def test_no_flow_asks_for_what_no_service_gives() -> None:
    from wire.services import SERVICES

    assert FLOWS.keys() == SERVICES.keys()
    for service, info in SERVICES.items():
        flow = FLOWS[service]
        told = {*flow.live, *(value for records in flow.records for value in records.values)}
        assert set(info.measurements) <= told
