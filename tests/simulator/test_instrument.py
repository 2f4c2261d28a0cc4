"""What a simulated device answers and sends: its records, its clock, its habits and its faults. No bus is needed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from simulator.ble.devices import KINDS
from simulator.ble.devices.values import crc, current_time, date_time
from simulator.ble.gatt import AttError, Characteristic, Step
from simulator.ble.instrument import GARBAGE, Instrument
from simulator.ble.racp import RecordAccess
from simulator.people import person

UTC_ZONE = ZoneInfo("UTC")
START = datetime(2026, 3, 2, 12, tzinfo=UTC)
REPORT_ALL, COUNT_ALL, ABORT = b"\x01\x01", b"\x04\x01", b"\x03\x00"
SUCCESS = bytes.fromhex("06000101")


class Hub:
    """A central as the device sees it, with a clock of the test's."""

    def __init__(
        self, kind: str, *, stored: int = 0, faults: dict[str, int] | None = None, paired: bool = True
    ) -> None:
        self.now = START
        self.listening: set[int] = set()
        self.device = Instrument(
            kind=KINDS[kind],
            who=person(1, 0, id_="p1"),
            zone=UTC_ZONE,
            now=lambda: self.now,
            faults=faults,
            stored=stored,
            paired=paired,
        )
        self.device.subscribed = self.listening.__contains__
        self.kind = KINDS[kind]
        self.characteristics: dict[int, Characteristic] = {
            one.uuid: one for service in self.device.services("02:57:AF:E7:00:01") for one in service.characteristics
        }

    def subscribe(self, *uuids: int) -> None:
        self.listening |= set(uuids or (self.kind.characteristic, *self.kind.beside))
        self.device.begin()

    def hang_up(self) -> None:
        self.listening.clear()
        self.device.end(100.0, hub_hung_up=True)

    def write(self, uuid: int, value: bytes) -> None:
        write = self.characteristics[uuid].write
        assert write is not None
        write(value)

    def refused(self, uuid: int, value: bytes) -> int:
        with pytest.raises(AttError) as caught:
            self.write(uuid, value)
        return caught.value.code

    def read(self, uuid: int) -> bytes:
        read = self.characteristics[uuid].read
        assert read is not None
        return read()

    def receive(self, *, most: int = 10_000) -> list[tuple[int, bytes]]:
        """All that the device has to say now, or the first of it."""
        got: list[tuple[int, bytes]] = []
        while len(got) < most and (sending := self.device.next()) is not None:
            got.append((sending.characteristic, sending.data))
            self.device.sent(10.0)
        return got


def numbers(got: list[tuple[int, bytes]]) -> list[int]:
    """The sequence numbers of the glucose records among what was received."""
    return [int.from_bytes(data[1:3], "little") for uuid, data in got if uuid == 0x2A18]


def operand(*record_numbers: int) -> bytes:
    return b"\x01" + b"".join(number.to_bytes(2, "little") for number in record_numbers)


# The Record Access Control Point


def test_a_meter_reports_its_records_in_order_each_with_its_context_and_then_ends() -> None:
    hub = Hub("glucose-meter", stored=500)
    hub.subscribe()
    assert hub.receive() == [], "nothing comes unasked"
    hub.write(0x2A52, REPORT_ALL)
    got = hub.receive()
    assert numbers(got) == list(range(1, 501))
    contexts = [index for index, (uuid, _) in enumerate(got) if uuid == 0x2A34]
    assert len(contexts) == 250
    assert all(got[index][1][1:3] == got[index - 1][1][1:3] for index in contexts), "a context follows its record"
    assert got[-1] == (0x2A52, SUCCESS)
    assert len({data for uuid, data in got if uuid == 0x2A18}) == 500
    hub.hang_up()
    assert not hub.device.anything


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (b"\x01\x05", [1]),
        (b"\x01\x06", [9]),
        (b"\x01\x02" + operand(3), [1, 2, 3]),
        (b"\x01\x03" + operand(8), [8, 9]),
        (b"\x01\x04" + operand(4, 6), [4, 5, 6]),
        (b"\x01\x04" + operand(9, 999), [9]),
    ],
    ids=["first", "last", "at most", "at least", "within", "within, beyond the last"],
)
def test_a_meter_reports_which_records_it_is_asked_for(request_: bytes, expected: list[int]) -> None:
    hub = Hub("glucose-meter", stored=9)
    hub.subscribe()
    hub.write(0x2A52, request_)
    got = hub.receive()
    assert numbers(got) == expected
    assert got[-1] == (0x2A52, SUCCESS)


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (COUNT_ALL, "05000900"),
        (b"\x04\x03" + operand(8), "05000200"),
        (b"\x04\x03" + operand(10), "05000000"),
        (b"\x01\x03" + operand(10), "06000106"),
        (ABORT, "06000301"),
        (b"\x03\x01", "06000303"),
        (b"\x07\x01", "06000702"),
        (b"\x01\x00", "06000103"),
        (b"\x01\x07", "06000104"),
        (b"\x01\x01\x01", "06000105"),
        (b"\x01\x03\x01\x05", "06000105"),
        (b"\x01\x04" + operand(6, 4), "06000105"),
        (b"\x01\x03\x02" + date_time(START), "06000109"),
    ],
    ids=[
        "count", "count from", "count of none", "no records", "abort of nothing", "abort with an operator",
        "unknown opcode", "no operator", "unknown operator", "an operand too many", "half an operand",
        "range backwards", "another filter",
    ],
)  # fmt: skip
def test_a_control_point_answers_as_the_glucose_service_says(request_: bytes, answer: str) -> None:
    # GLS 1.0.1, 3.4.2: response codes 1 success, 2 opcode, 3 and 4 operator, 5 and 9 operand, 6 no records
    hub = Hub("glucose-meter", stored=9)
    hub.subscribe()
    hub.write(0x2A52, request_)
    assert hub.receive() == [(0x2A52, bytes.fromhex(answer))]


def test_a_control_point_refuses_a_second_procedure_and_one_without_listeners() -> None:
    hub = Hub("glucose-meter", stored=3)
    assert hub.refused(0x2A52, REPORT_ALL) == 0x81
    hub.subscribe(0x2A18)
    assert hub.refused(0x2A52, REPORT_ALL) == 0x81
    hub.subscribe()
    assert hub.refused(0x2A52, b"\x01") == AttError.INVALID_LENGTH
    hub.write(0x2A52, REPORT_ALL)
    assert hub.refused(0x2A52, COUNT_ALL) == 0x80
    hub.receive()
    hub.write(0x2A52, COUNT_ALL)
    assert hub.receive() == [(0x2A52, bytes.fromhex("05000300"))]


def test_an_abort_ends_a_report_between_two_records() -> None:
    hub = Hub("glucose-meter", stored=9)
    hub.subscribe()
    hub.write(0x2A52, REPORT_ALL)
    got = hub.receive(most=3)
    hub.write(0x2A52, ABORT)
    rest = hub.receive()
    assert numbers(got + rest) == [1, 2]
    assert rest[-1] == (0x2A52, bytes.fromhex("06000301"))
    hub.hang_up()
    assert hub.device.anything, "seven records were never reported"


def test_records_can_be_deleted() -> None:
    access: RecordAccess[str] = RecordAccess()
    for number in range(1, 6):
        access.store(number, f"record {number}")
    assert access.write(b"\x02\x02" + operand(2), configured=True).then.hex() == "06000201"
    access.finished()
    assert list(access.write(REPORT_ALL, configured=True).records) == ["record 3", "record 4", "record 5"]


def test_a_report_that_was_cut_short_leaves_the_records_where_they_are() -> None:
    hub = Hub("glucose-meter", stored=9, faults={"disconnect-before-response": 0})
    hub.subscribe()
    hub.write(0x2A52, REPORT_ALL)
    assert numbers(hub.receive()) == list(range(1, 10))
    assert hub.device.hangs_up
    hub.hang_up()
    assert hub.device.anything
    hub.subscribe()
    hub.write(0x2A52, REPORT_ALL)
    assert hub.receive()[-1] == (0x2A52, SUCCESS)
    hub.hang_up()
    assert not hub.device.anything


def test_a_glucose_sensor_is_asked_by_minutes_since_its_start() -> None:
    hub = Hub("cgm", stored=4)
    hub.subscribe()
    hub.write(0x2A52, b"\x01\x03" + operand(10))
    got = hub.receive()
    assert [int.from_bytes(data[4:6], "little") for uuid, data in got if uuid == 0x2AA7] == [10, 15, 20]
    hub.now += timedelta(minutes=5)
    hub.device.take()
    ((uuid, live),) = hub.receive()
    assert (uuid, int.from_bytes(live[4:6], "little")) == (0x2AA7, 30), "it says at once what it measures now"


# Clocks


def test_a_clock_that_is_set_is_right_from_then_on() -> None:
    hub = Hub("cuff", faults={"clock-off": 3600})
    assert hub.read(0x2A2B)[:7] == date_time(START + timedelta(hours=1))
    hub.device.take()
    hub.write(0x2A2B, current_time(START))
    hub.now += timedelta(seconds=90)
    assert hub.read(0x2A2B)[:7] == date_time(hub.now)
    hub.device.take()
    hub.subscribe()
    stamps = [data[7:14] for _, data in hub.receive()]
    assert stamps == [date_time(START + timedelta(hours=1)), date_time(hub.now)], (
        "what was measured before keeps its time"
    )


def test_an_oximeter_whose_clock_nobody_set_says_so_until_somebody_does() -> None:
    hub = Hub("oximeter", faults={"clock-unset": 0})
    hub.device.take()
    hub.write(0x2A2B, current_time(START))
    hub.now += timedelta(seconds=9)
    hub.device.take()
    hub.subscribe()
    before, after = (data for _, data in hub.receive())
    assert before[0] & 0x10
    assert int.from_bytes(before[5:7], "little") == 2000
    assert not after[0] & 0x10
    assert after[5:12] == date_time(hub.now)


@pytest.mark.parametrize(
    ("kind", "uuid", "value", "code"),
    [
        ("cuff", 0x2A2B, date_time(START), AttError.INVALID_LENGTH),
        ("cuff", 0x2A2B, bytes.fromhex("ea07021f0c0000010000"), 0x80),
        ("cuff-aandd", 0x2A08, bytes.fromhex("ea070d010c0000"), 0x80),
        ("cgm", 0x2AAA, date_time(START) + b"\x04\x00", 0x81),
        ("cgm", 0x2AAC, b"\x1a", 0x80),
        ("health-sensor", 0x2BF2, bytes(9), 0x81),
        ("health-sensor", 0x2BF4, b"\x07", 0x81),
    ],
    ids=["too short", "30 February", "month 13", "wrong CRC", "no CRC", "not UTC", "unknown command"],
)
def test_what_a_device_cannot_take_it_refuses(kind: str, uuid: int, value: bytes, code: int) -> None:
    assert Hub(kind).refused(uuid, value) == code


def test_a_glucose_sensor_counts_its_start_back_from_the_time_it_is_told() -> None:
    hub = Hub("cgm", stored=2, faults={"clock-unset": 0})
    unset = hub.read(0x2AAA)
    assert unset[:9] == bytes(7) + b"\x80\xff"
    told = date_time(START + timedelta(hours=2)) + b"\x04\x04"  # UTC+1, and an hour of daylight saving
    hub.write(0x2AAA, told + crc(told))
    began = date_time(START - timedelta(minutes=15)) + b"\x00\x00"
    assert hub.read(0x2AAA) == began + crc(began)


def test_a_glucose_sensors_session_can_be_stopped_and_started_anew() -> None:
    hub = Hub("cgm-plain", stored=2)
    hub.subscribe()
    for request, answer in (
        (b"\x02", "0305"),
        (b"\x01\x01", "1c0101"),
        (b"\x02", "0301"),
        (b"\x1a", "1c1a04"),
        (b"\x1b", "1c1b01"),
        (b"\x04", "1c0402"),
    ):
        hub.write(0x2AAC, request)
        assert hub.receive() == [(0x2AAC, bytes.fromhex(answer))]
    assert hub.read(0x2AA9).hex() == "0f00010000"
    hub.write(0x2AAC, b"\x1a")
    assert hub.receive() == [(0x2AAC, bytes.fromhex("1c1a01"))]
    assert hub.read(0x2AA9).hex() == "0000000000"
    hub.write(0x2A52, COUNT_ALL)
    assert hub.receive() == [(0x2A52, bytes.fromhex("05000000"))]


# Habits


def test_an_aandd_cuff_says_nothing_before_its_clock_was_set_in_this_session() -> None:
    hub = Hub("cuff-aandd")
    hub.device.take()
    hub.subscribe()
    assert hub.receive() == []
    hub.hang_up()
    hub.write(0x2A08, date_time(START))
    hub.subscribe()
    assert len(hub.receive()) == 1


def test_an_aandd_cuffs_first_session_only_pairs() -> None:
    hub = Hub("cuff-aandd", paired=False)
    hub.device.take()
    for expected in (0, 1):
        hub.write(0x2A08, date_time(START))
        hub.subscribe()
        assert len(hub.receive()) == expected
        hub.hang_up()


def test_an_omron_cuff_takes_the_time_only_after_a_value_and_only_if_it_is_ten_minutes_off() -> None:
    hub = Hub("cuff-omron", faults={"clock-off": 3600})
    hub.device.take()
    assert hub.refused(0x2A2B, current_time(START)) == 0x80
    hub.subscribe()
    assert len(hub.receive()) == 1
    hub.write(0x2A2B, current_time(START))
    assert hub.refused(0x2A2B, current_time(START + timedelta(minutes=9))) == 0x80


def test_a_choicemmed_oximeter_has_a_date_of_its_own_and_no_clock_to_set() -> None:
    hub = Hub("oximeter-choicemmed")
    assert not {0x2A2B, 0x2A08} & hub.characteristics.keys()
    hub.device.take()
    hub.subscribe()
    ((_, data),) = hub.receive()
    assert data[0] == 0x11
    assert int.from_bytes(data[5:7], "little") == 2015


def test_a_health_sensor_speaks_once_it_is_told_to() -> None:
    hub = Hub("health-sensor")
    hub.device.take()
    hub.subscribe()
    assert hub.receive() == []
    hub.write(0x2BF4, b"\x01")
    done, *segments = hub.receive()
    assert done == (0x2BF4, b"\x80")
    # GHSS 1.0: b0 first segment, b1 last segment, b2-7 a counter; 20 bytes fit the shortest ATT_MTU
    assert [(uuid, len(data), data[0]) for uuid, data in segments] == [
        (0x2B8B, 20, 0b000_001), (0x2B8B, 20, 0b001_00), (0x2B8B, 13, 0b010_10),
    ]  # fmt: skip
    assert b"".join(data[1:] for _, data in segments)[:3] == b"\xff\x2f\x00"
    hub.write(0x2BF4, b"\x02")
    hub.device.take()
    assert hub.receive() == [(0x2BF4, b"\x80")]


def test_a_storing_health_sensor_counts_in_32_bits_and_is_busy_while_it_tells_what_it_measures_now() -> None:
    # stm32-hotspot/STM32WBA-BLE-GenericHealthSensor ghs_racp.c: 07 is answered with 08 and a 32-bit count, 0A is busy
    hub = Hub("health-sensor-storing", stored=3)
    hub.subscribe()
    hub.write(0x2BF4, b"\x01")
    hub.write(0x2A52, b"\x07\x01")
    assert hub.receive() == [(0x2BF4, b"\x80"), (0x2A52, bytes.fromhex("0600070a"))]
    hub.write(0x2BF4, b"\x02")
    hub.write(0x2A52, b"\x07\x03\x01" + (2).to_bytes(4, "little"))
    got = hub.receive()
    first = [data for uuid, data in got if uuid == 0x2BDD and data[0] & 0x01]
    assert [int.from_bytes(data[1:5], "little") for data in first] == [2, 3]
    assert got[-1] == (0x2A52, bytes.fromhex("080002000000"))
    hub.write(0x2A52, COUNT_ALL)
    assert hub.receive() == [(0x2A52, bytes.fromhex("050003000000"))]


def test_what_nobody_subscribed_to_is_not_sent_and_holds_nothing_up() -> None:
    hub = Hub("thermometer-rising")
    hub.device.take()
    hub.subscribe(0x2A1C)
    assert [uuid for uuid, _ in hub.receive()] == [0x2A1C]
    assert not hub.device.anything


# Faults


def test_garbage_comes_once_after_the_first_measurement() -> None:
    hub = Hub("scale", faults={"garbage": 0})
    hub.device.take()
    hub.device.take()
    hub.subscribe()
    got = [data for _, data in hub.receive()]
    assert len(got) == 3
    assert got[1] == GARBAGE


def test_a_duplicate_is_sent_twice_and_measured_once() -> None:
    hub = Hub("glucose-meter", stored=2, faults={"duplicate": 0})
    hub.subscribe()
    hub.write(0x2A52, REPORT_ALL)
    assert numbers(hub.receive()) == [1, 1, 2, 2]


@pytest.mark.parametrize("kind", ["glucose-meter", "scale"])
def test_out_of_order_the_latest_comes_first(kind: str) -> None:
    hub = Hub(kind, stored=3, faults={"out-of-order": 0})
    hub.subscribe()
    if KINDS[kind].stores:
        hub.write(0x2A52, REPORT_ALL)
    # a scale's time stamp is at 3, a meter's at 3 too (after flags and a sequence number, or a weight)
    stamps = [data[3:10] for uuid, data in hub.receive() if uuid == KINDS[kind].characteristic]
    assert stamps == [date_time(START - timedelta(hours=hours)) for hours in (1, 2, 3)]


def test_a_second_person_is_the_devices_user_two_and_nobodys_result_here() -> None:
    hub = Hub("body-composition", faults={"second-person": 0})
    users, guests = [], []
    for _ in range(4):
        hub.device.take()
    hub.subscribe()
    while (sending := hub.device.next()) is not None:
        assert sending.taken is not None
        users.append(sending.data[11])
        guests.append(sending.taken.guest)
        hub.device.sent(1.0)
    assert users == [1, 2, 1, 2]
    assert guests == [False, True, False, True]


def test_a_silent_device_says_nothing_in_its_first_session() -> None:
    hub = Hub("scale", stored=1, faults={"silence": 0})
    hub.subscribe()
    assert hub.receive() == []
    assert hub.device.patient
    hub.hang_up()
    hub.subscribe()
    assert len(hub.receive()) == 1


@pytest.mark.parametrize("step", [Step.CONNECT, Step.READ, Step.WRITE, Step.SUBSCRIBE])
def test_a_device_hangs_up_once_at_the_step_of_its_fault(step: Step) -> None:
    hub = Hub("scale", faults={f"disconnect-after-{step.value}": 0})
    assert [hub.device.step(one) for one in Step] == [one is step for one in Step]
    assert hub.device.hangs_up
    hub.hang_up()
    assert not any(hub.device.step(one) for one in Step)


def test_a_device_hangs_up_after_so_many_records_and_has_the_rest_the_next_time() -> None:
    hub = Hub("scale", stored=5, faults={"disconnect-after-record": 2})
    hub.subscribe()
    assert len(hub.receive()) == 2
    assert hub.device.hangs_up
    hub.hang_up()
    hub.subscribe()
    assert len(hub.receive()) == 3
