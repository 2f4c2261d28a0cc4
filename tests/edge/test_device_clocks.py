"""The clocks of devices: read before anything, set only by a clock that is right, and never between two timelines."""

import asyncio
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.ble import device_clock
from edge.ble.fake_radio import OPERATION_S, FakePeripheral, FakeRadio
from edge.ble.fake_records import RACP, FakeRecords
from edge.ble.radio import RadioError
from edge.config import Bridge, Config, Hub, Mqtt
from edge.hub import run
from tests.edge.collecting import Store, clock_that_is, collecting
from tests.edge.test_flows import OLD_CLOCK, glucose, meter, session
from wire.evidence import Clock, ClockState
from wire.gatt import cgm, decode_current_time, decode_date_time
from wire.gatt.elapsed_time import read_elapsed_time
from wire.gatt.reader import Reader

pytestmark = pytest.mark.looptime

CURRENT_TIME, DATE_TIME, ELAPSED_TIME, SESSION_START, CUFF = 0x2A2B, 0x2A08, 0x2BF2, 0x2AAA, 0x2A35
SYNCHRONISED = ClockState.SYNCHRONISED


def now(wall: datetime, state: ClockState = SYNCHRONISED) -> Clock:
    return Clock(wall_us=int(wall.timestamp() * 1_000_000), mono_us=1, boot=bytes(16), state=state)


def written(device: FakePeripheral) -> list[tuple[int | bytes, bytes]]:
    """What is written to the device from now on, its control point aside."""
    writes: list[tuple[int | bytes, bytes]] = []
    before = device.when_written

    def when_written(device: FakePeripheral, uuid: int | bytes, value: bytes) -> None:
        if uuid != RACP:
            writes.append((uuid, value))
            device.values = {**device.values, uuid: value}
        before(device, uuid, value)

    device.when_written = when_written
    return writes


def clocked_meter(server: FakeRecords, shown: bytes = OLD_CLOCK) -> FakePeripheral:
    return meter(server, values={CURRENT_TIME: shown}, writable=(RACP, CURRENT_TIME))


def cuff(*, shown: bytes = OLD_CLOCK[:7], clock: int = DATE_TIME, **values: bytes) -> FakePeripheral:
    def tell(device: FakePeripheral) -> None:
        device.notify(CUFF, bytes.fromhex("007a0050005e00"))

    return FakePeripheral(
        address=bytes.fromhex("AABBCCDDEE20"),
        values={0x2A24: values.get("model", b"Cuff"), clock: shown},
        measurements=(CUFF,),
        writable=(clock,),
        when_subscribed=tell,
    )


def test_what_is_written_is_the_hubs_local_time_as_the_specifications_have_it() -> None:
    wall = datetime(2026, 11, 22, 13, 45, 59, 500_000).astimezone()
    current = device_clock.encoded(CURRENT_TIME, now(wall))
    assert current == bytes.fromhex("ea07 0b 16 0d 2d 3b 07 80 02"), "22 November 2026 is a Sunday"
    assert decode_current_time(current).isoformat().startswith("2026-11-22T13:45:59.5")
    assert decode_date_time(device_clock.encoded(DATE_TIME, now(wall))).isoformat() == "2026-11-22T13:45:59"


def test_devices_are_set_to_the_time_where_the_citizen_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """[hub] timezone, whatever the system's is; in summer time too."""
    shown: list[bytes] = []

    async def serve(_: Config) -> None:
        for day in (datetime(2026, 1, 22, 12, tzinfo=UTC), datetime(2026, 7, 22, 12, tzinfo=UTC)):
            shown.append(device_clock.encoded(DATE_TIME, now(day)))
            shown.append(device_clock.session_start(now(day), b"")[7:])
            elapsed = device_clock.setting(ELAPSED_TIME, now(day), b"\x12" + bytes(8))
            assert elapsed is not None
            shown.append(elapsed)

    monkeypatch.setattr("edge.hub.serve", serve)
    hub = Hub(id="hub-0001", key=tmp_path, store=tmp_path, timezone="Europe/Copenhagen")
    before = os.environ.get("TZ")
    monkeypatch.setenv("TZ", before or "UTC")
    try:
        run(Config(hub=hub, bridge=Bridge(public_key=tmp_path), mqtt=Mqtt(host="localhost")))
    finally:
        monkeypatch.undo()
        time.tzset()
    winter, winter_zone, winter_elapsed, summer, summer_zone, summer_elapsed = shown
    assert (decode_date_time(winter).hour, winter_zone) == (13, bytes((4, 0)))
    assert (decode_date_time(summer).hour, summer_zone) == (14, bytes((4, 4)))
    for elapsed, offset_min in ((winter_elapsed, 60), (summer_elapsed, 120)):
        read = read_elapsed_time(Reader(elapsed)).time
        assert read is not None
        assert (read.hour, read.offset_min) == (12 + offset_min // 60, offset_min)


@pytest.mark.parametrize("seconds", [0, -3600, 59, 86_400 * 365])
@pytest.mark.parametrize("characteristic", [CURRENT_TIME, DATE_TIME])
def test_how_far_a_clock_is_off_is_told_in_seconds(characteristic: int, seconds: int) -> None:
    wall = datetime(2026, 11, 22, 13, 45, 59).astimezone()
    shown = device_clock.encoded(
        characteristic, now((wall.replace(tzinfo=None) + timedelta(seconds=seconds)).astimezone())
    )
    assert device_clock.off_s(characteristic, shown, now(wall)) == seconds


@pytest.mark.parametrize("shown", ["", "00000000000000", "ea070d16000000", "ea0700000000000000ff", "ea070b161900"])
def test_what_is_no_time_is_off_by_nothing_that_can_be_told(shown: str) -> None:
    assert device_clock.off_s(CURRENT_TIME, bytes.fromhex(shown), now(datetime(2026, 11, 22).astimezone())) is None


@pytest.mark.parametrize("flags", [0x02, 0x12, 0x10, 0x00, 0x06, 0x1A, 0x1E])
def test_an_elapsed_time_is_set_in_the_form_in_which_it_is_shown(flags: int) -> None:
    wall = datetime(2026, 11, 22, 13, 45, 59).astimezone()
    value = device_clock.setting(ELAPSED_TIME, now(wall), bytes((flags | 0x20,)) + bytes(8))
    assert value is not None
    read = read_elapsed_time(Reader(bytes((value[0] | 0x20,)) + value[1:]))
    assert value[0] == flags
    assert read.time is not None
    assert read.time.isoformat().startswith("2026-11-22T")
    assert device_clock.off_s(ELAPSED_TIME, value, now(wall)) == 0
    later = now(wall + timedelta(seconds=70))
    assert device_clock.off_s(ELAPSED_TIME, value, later) == -70
    assert device_clock.off_s(ELAPSED_TIME, value + b"\x01\0", later) is None, "it says that it has to be set"


def test_a_device_that_counts_ticks_of_its_own_is_told_no_time() -> None:
    wall = datetime(2026, 11, 22).astimezone()
    assert device_clock.setting(ELAPSED_TIME, now(wall), b"\x01" + bytes(8)) is None
    assert device_clock.off_s(ELAPSED_TIME, b"\x01" + bytes(8), now(wall)) is None


def test_a_session_start_is_the_time_with_its_zone_and_its_checksum() -> None:
    wall = datetime(2026, 11, 22, 13, 45, 59).astimezone()
    plain = device_clock.session_start(now(wall), bytes.fromhex("000000 59 ffff"))
    checked = device_clock.session_start(now(wall), bytes.fromhex("001000 59 0000"))
    assert (len(plain), checked[:9], checked[9:]) == (9, plain, cgm.crc(plain).to_bytes(2, "little"))
    for value in (plain, checked):
        start = cgm.decode_session_start(value)
        offset = wall.utcoffset()
        assert offset is not None
        assert start.time.isoformat().startswith("2026-11-22T13:45:59")
        assert start.time.offset_min == offset.total_seconds() // 60


async def test_a_clock_that_is_off_is_set_when_all_records_are_safe_and_they_show_it_as_it_was() -> None:
    server = FakeRecords(kept=[glucose(number) for number in range(5)])
    device = clocked_meter(server)
    writes = written(device)
    store = Store()
    radio = FakeRadio(device)
    async with collecting(radio, store, listed=(device.address,), now=clock_that_is(SYNCHRONISED)) as collector:
        radio.advertise(device.address)
        await asyncio.sleep(10)
        (state,) = collector.states()
        assert not state.connected, "what comes next shall come with the new clock"
    assert [uuid for uuid, _ in writes] == [CURRENT_TIME]
    assert device.done.index("write") < len(device.done) - 3, "the records were asked for first"
    assert {c.value for r in store.readings for c in r.context if c.characteristic == CURRENT_TIME} == {OLD_CLOCK}
    assert state.records == 5
    assert state.clock_set_s == pytest.approx(7, abs=3)
    assert state.clock_off_s == pytest.approx(0, abs=1), "read once more"
    await session(device, store, clock=SYNCHRONISED)
    assert len(writes) == 1


@pytest.mark.parametrize("state", [ClockState.UNSET, ClockState.UNSYNCHRONISED])
async def test_a_hub_that_does_not_know_the_time_sets_no_clock(
    state: ClockState, caplog: pytest.LogCaptureFixture
) -> None:
    for device in (clocked_meter(FakeRecords(kept=[glucose(1)])), cuff(model=b"UA-651BLE")):
        writes = written(device)
        await session(device, Store(), clock=state)
        assert writes == []
    assert caplog.messages.count("clock_not_written") == 2


@pytest.mark.parametrize(("off_s", "count"), [(55, 0), (-55, 0), (70, 1), (-70, 1)])
async def test_a_clock_that_is_off_by_less_than_a_minute_is_left_alone(off_s: int, count: int) -> None:
    clock = clock_that_is(SYNCHRONISED)()
    shown = device_clock.encoded(
        CURRENT_TIME, now(datetime.fromtimestamp(clock.wall_us / 1_000_000).astimezone() + timedelta(seconds=off_s))
    )
    device = clocked_meter(FakeRecords(kept=[glucose(1)]), shown)
    writes = written(device)
    await session(device, Store(), clock=SYNCHRONISED)
    assert len(writes) == count


async def test_no_clock_is_set_while_records_of_the_old_one_are_still_in_the_device() -> None:
    faults: tuple[dict[str, Any], ...] = ({"break_off": 9}, {"counts_wrong_by": 1}, {"silent": frozenset({1})})
    for fault in faults:
        device = clocked_meter(FakeRecords(kept=[glucose(1), glucose(2)], **fault))
        writes = written(device)
        await session(device, Store(), clock=SYNCHRONISED)
        assert writes == []


async def test_a_device_that_refuses_the_time_is_collected_from_all_the_same() -> None:
    device = cuff(clock=CURRENT_TIME, shown=OLD_CLOCK)
    device.faults = {"write": RadioError("org.bluez.Error.NotPermitted")}
    store = Store()
    await session(device, store, clock=SYNCHRONISED)
    assert len(store.readings) == 1


async def test_a_device_that_takes_the_time_but_does_not_show_it_again_ends_its_session_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", logger="stafet")
    device = cuff(clock=CURRENT_TIME, shown=OLD_CLOCK)
    writes = written(device)
    before = device.when_written

    def deaf(device: FakePeripheral, uuid: int | bytes, value: bytes) -> None:
        before(device, uuid, value)
        device.faults = {"read": RadioError("org.bluez.Error.Failed")}

    device.when_written = deaf
    await session(device, Store(), clock=SYNCHRONISED)
    assert len(writes) == 1
    assert [record.fields["ended"] for record in caplog.records if record.message == "session_ended"] == ["idle"]  # type: ignore[attr-defined]


async def test_a_cgm_sensor_without_a_start_is_told_the_time_and_its_records_carry_what_it_makes_of_it() -> None:
    from tests.edge.test_flows import _sensor

    device, _ = _sensor()
    writes = written(device)
    store = Store()
    await session(device, store, clock=SYNCHRONISED)
    await session(device, store, clock=SYNCHRONISED)
    ((uuid, value),) = writes
    assert uuid == SESSION_START
    assert cgm.decode_session_start(value).time.year == 2025
    starts = [c.value for r in store.readings for c in r.context if c.characteristic == SESSION_START]
    assert starts == [value] * len(store.readings)


# Devices with a way of their own (wire.quirks)


async def test_a_and_d_with_bluetooth_le_has_its_clock_set_before_it_is_subscribed_to_in_each_session() -> None:
    """`A&D with Bluetooth LE`: settled before and after, done 2 s after the last value, left alone for 40 s."""
    device = cuff(model=b"UA-651BLE")
    writes = written(device)
    store = Store()
    radio = FakeRadio(device)
    async with collecting(radio, store, listed=(device.address,), now=clock_that_is(SYNCHRONISED)):
        for _ in range(50):
            radio.advertise(device.address, "A&D_UA-651BLE_0A1B2C")
            await asyncio.sleep(1)
    assert [uuid for uuid, _ in writes] == [DATE_TIME] * 2
    steps = ["connect", "read", "read", "write", "subscribe", "notify", "close"]
    assert device.done == steps * 2
    first, second = device.connects
    assert 40 + 2 < second - first < 40 + 2 + 3
    assert {c.value for c in store.readings[0].context if c.characteristic == DATE_TIME} == {OLD_CLOCK[:7]}


@pytest.mark.parametrize(
    ("advertised", "pause_s"), [("TAIDOC TD1241", 40), ("51-102", 23), ("Meter", 0)], ids=["TaiDoc", "Indie", "any"]
)
async def test_a_device_that_goes_on_advertising_when_it_has_nothing_to_say_is_left_alone_for_so_long(
    advertised: str, pause_s: float
) -> None:
    """`TaiDoc TD-1241 thermometer`, `Indie Health scale`."""

    def tell_and_leave(device: FakePeripheral) -> None:
        device.notify(CUFF, bytes.fromhex("007a0050005e00"))
        device.leave()

    device = cuff()
    device.when_subscribed = tell_and_leave
    radio = FakeRadio(device)
    async with collecting(radio, Store(), listed=(device.address,)):
        for _ in range(100):
            radio.advertise(device.address, advertised)
            await asyncio.sleep(0.5)
    pauses = [later - earlier for earlier, later in zip(device.connects, device.connects[1:], strict=False)]
    assert pauses[0] == pytest.approx(pause_s, abs=1)


@pytest.mark.parametrize(("firmware", "settle_s"), [(b"BLP008_d016", 0.04), (b"BLP008_d999", 0.1)])
async def test_an_a_and_d_is_given_the_time_to_settle_that_its_firmware_needs(firmware: bytes, settle_s: float) -> None:
    """`A&D, firmware that is quick to answer`."""
    device = cuff(model=b"UA-651BLE")
    device.values = {**device.values, 0x2A26: firmware}
    at: list[float] = []
    device.when_written = lambda device, uuid, value: at.append(asyncio.get_running_loop().time())
    device.when_subscribed = lambda device: at.append(asyncio.get_running_loop().time())
    await session(device, Store(), clock=SYNCHRONISED)
    assert at[1] - at[0] == pytest.approx(OPERATION_S + settle_s, abs=0.02)


async def test_omron_with_bluetooth_le_makes_a_bond_for_each_session_and_is_set_only_if_ten_minutes_off() -> None:
    """`Omron with Bluetooth LE`."""
    clock = clock_that_is(SYNCHRONISED)()
    almost = now(datetime.fromtimestamp(clock.wall_us / 1_000_000 - 500).astimezone())
    for shown, count in ((device_clock.encoded(CURRENT_TIME, almost), 0), (OLD_CLOCK, 1)):
        device = cuff(clock=CURRENT_TIME, shown=shown)
        writes = written(device)
        radio = FakeRadio(device)
        async with collecting(radio, Store(), listed=(device.address,), now=clock_that_is(SYNCHRONISED)):
            radio.advertise(device.address, "BLESmart_00000154AABBCCDDEE20")
            await asyncio.sleep(40)
        assert len(writes) == count
        (link,) = radio.links
        assert (link.paired, link.forgotten) == (True, True)
        assert device.done == [
            *("connect", "pair", "read", "read", "subscribe", "notify"),
            *["write", "read"] * count,
            "forget",
        ]


async def test_a_nonin_3230_is_subscribed_to_at_its_own_characteristic() -> None:
    """`Nonin 3230`."""
    from wire.quirks import NONIN_OXIMETRY

    device = FakePeripheral(
        address=bytes.fromhex("AABBCCDDEE30"),
        measurements=(NONIN_OXIMETRY,),
        when_subscribed=lambda device: device.notify(NONIN_OXIMETRY, b"\x0a" * 10),
    )
    store = Store()
    await session(device, store, name="Nonin3230_501234567")
    assert [reading.characteristic for reading in store.readings] == [NONIN_OXIMETRY]
