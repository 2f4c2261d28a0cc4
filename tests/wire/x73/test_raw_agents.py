"""Our manager before agents that share nothing with us: accepted, understood value for value, and their quirks."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

import pytest

from tests.wire.x73 import peer
from tests.wire.x73.peer import (
    ABSOLUTE,
    BASE_OFFSET,
    BASIC,
    BITS16,
    BITS32,
    CODED,
    COMPOUND,
    ENUMERATION,
    NUMERIC,
    SAMPLES,
    SIMPLE,
    TEN_PAST,
    UNIT,
    WAVEFORM,
    attribute,
    listed,
    octets,
    u16,
)  # fmt: skip
from tests.wire.x73.support import NOW, only, vector
from wire.measurement import Measurement, Special
from wire.x73.apdu import AssociateResult, PhdAssociation
from wire.x73.events import (
    Aborted,
    Associated,
    Configured,
    Happening,
    Malformed,
    Rejected,
    Reported,
    SegmentCleared,
    SegmentData,
    SegmentTransferred,
    StreamLost,
    Warned,
)
from wire.x73.manager import Manager
from wire.x73.mder import Tolerance
from wire.x73.services import DataRequest
from wire.x73.states import State

OUR_ID = bytes.fromhex("02000000000000aa")
AT = "2009-06-12T12:10:00"

Specimen = tuple[int, int, int, int, int, str, object, str | None]
"""Handle, class, code, unit term, value attribute, its bytes, what they mean, the UCUM unit."""

PRESSURES = "0003 0006 0078 0050 005d"
SPECIMENS: dict[int, list[Specimen]] = {
    10404: [
        (1, NUMERIC, 150456, 544, BASIC, "f3cf", "97.5", "%"),
        (10, NUMERIC, 149530, 2720, BASIC, "0048", "72", "/min"),
        (12, ENUMERATION, 150604, 0, BITS16, "4001", [1, 15], None),
    ],
    10406: [
        (1, NUMERIC, 147842, 2720, BASIC, "0040", "64", "/min"),
        (2, WAVEFORM, 131329, 4274, SAMPLES, "0008 0000 0190 0320 0064", ["-2.000", "0.000", "2.000", "-1.500"], "mV"),
    ],
    10407: [
        (1, NUMERIC, 150020, 3872, COMPOUND, PRESSURES, ["120", "80", "93"], "mm[Hg]"),
        (2, NUMERIC, 149546, 2720, BASIC, "f2d5", "72.5", "/min"),
    ],
    10408: [(1, NUMERIC, 150364, 6048, SIMPLE, "ff00016d", "36.5", "Cel")],
    10415: [
        (1, NUMERIC, 188736, 1731, SIMPLE, "fe001e6e", "77.90", "kg"),
        (2, NUMERIC, 188740, 1297, SIMPLE, "000000b0", "176", "cm"),
        (3, NUMERIC, 188752, 1952, SIMPLE, "ff0000fb", "25.1", "kg/m2"),
    ],
    10417: [
        (1, NUMERIC, 160184, 2130, BASIC, "0069", "105", "mg/dL"),
        (2, NUMERIC, 160220, 544, BASIC, "f041", "6.5", "%"),
        (3, ENUMERATION, 8417864, 0, CODED, "724c", 8417868, None),
        (4, NUMERIC, 160184, 4722, BASIC, "f03a", "5.8", "mmol/L"),
    ],
    10418: [
        (1, NUMERIC, 160260, 6608, BASIC, "f019", "2.5", "{INR}"),
        (2, NUMERIC, 160264, 2176, BASIC, "f0cd", "20.5", "s"),
        (3, NUMERIC, 160268, 544, BASIC, "0055", "85", "%"),
    ],
    10420: [
        (1, NUMERIC, 188748, 544, BASIC, "f0f5", "24.5", "%"),
        (2, NUMERIC, 188736, 1731, SIMPLE, "ff00030b", "77.9", "kg"),
        (5, NUMERIC, 188756, 1731, SIMPLE, "ff00024c", "58.8", "kg"),
        (6, NUMERIC, 188764, 1731, SIMPLE, "ff0001a9", "42.5", "kg"),
    ],
    10421: [
        (1, NUMERIC, 152584, 3072, BASIC, "01c2", "450", "L/min"),
        (3, NUMERIC, 152586, 1600, BASIC, "e131", "3.05", "L"),
        (4, NUMERIC, 152587, 1600, BASIC, "e17c", "3.80", "L"),
        (5, NUMERIC, 188936, 544, BASIC, "f323", "80.3", "%"),
        (6, NUMERIC, 188928, 1600, BASIC, "e18f", "3.99", "L"),
        (7, NUMERIC, 188948, 544, BASIC, "f2fc", "76.4", "%"),
    ],
    10424: [
        (1, NUMERIC, 8410792, 2560, BASIC, "f02a", "4.2", "/h"),
        (2, NUMERIC, 8410712, 2240, BASIC, "f04b", "7.5", "h"),
    ],
    10425: [
        (1, NUMERIC, 160212, 2130, BASIC, "0078", "120", "mg/dL"),
        (2, ENUMERATION, 8418060, 0, BITS32, "80000001", [0, 31], None),
    ],
    10441: [
        (1, NUMERIC, 8454247, 1280, SIMPLE, "00000514", "1300", "m"),
        (2, NUMERIC, 8454258, 2720, BASIC, "0076", "118", "/min"),
        (3, NUMERIC, 8454263, 3968, SIMPLE, "0003d090", "250000", "J"),
        (4, ENUMERATION, 8454267, 0, CODED, "03e8", 8455144, None),
        (5, NUMERIC, 8454269, 2176, SIMPLE, "00000708", "1800", "s"),
    ],
    10442: [
        (1, NUMERIC, 8454346, 512, BASIC, "000c", "12", "1"),
        (2, NUMERIC, 8454347, 1731, SIMPLE, "ff000037", "5.5", "kg"),
    ],
    10471: [(1, ENUMERATION, 8519681, 0, BITS32, "80000000", [0], None)],
    10472: [
        (1, NUMERIC, 8532992, 512, BASIC, "0002", "2", "1"),
        (2, NUMERIC, 8532993, 1746, BASIC, "00fa", "250", "mg"),
        (3, ENUMERATION, 8532994, 0, BITS16, "8000", [0], None),
    ],
}
"""By specialization. Codes, units, bytes and meanings are by hand."""

STANDARD: dict[int, list[Specimen]] = {
    0x0190: SPECIMENS[10404][:2],
    0x0191: SPECIMENS[10404][:2],
    0x02BC: SPECIMENS[10407],
    0x0320: [(1, NUMERIC, 150364, 6048, BASIC, "f16d", "36.5", "Cel")],
    0x05DC: SPECIMENS[10415][:1],
    0x06A4: SPECIMENS[10417][:1],
}


def raw(hex_: str) -> bytes:
    return bytes.fromhex(hex_)


def more_of(specimen: Specimen) -> tuple[bytes, int]:
    """What compounds and waveforms declare besides."""
    if specimen[4] == COMPOUND:
        parts = listed(u16(each) for each in (0x4A05, 0x4A06, 0x4A07))
        return attribute(peer.STRUCTURE, b"\3\3") + attribute(peer.PARTS, parts), 2
    if specimen[4] == SAMPLES:
        scale = raw("00fffffe 00000002 0000 0320")
        return attribute(0x096F, scale) + attribute(0x098D, raw("00000020")) + attribute(
            0x096D, raw("0004 10 10 2000")
        ), 3
    return b"", 0


def declare(specimens: Iterable[Specimen], config_id: int = 0x4000, *, stamp: int = ABSOLUTE, **more: bytes) -> bytes:
    objects = []
    for each in specimens:
        handle, class_, code, unit, kind, hex_, *_ = each
        besides, n = more_of(each)
        layout = ((kind, len(raw(hex_))), (stamp, 8))
        objects.append(peer.declared(handle, class_, code, layout, unit=unit, more=besides, n=n))
    return peer.configuration(config_id, objects, **more)  # type: ignore[arg-type]


def told(measured: Measurement) -> tuple[int, object, str | None, str | None]:
    """Code, value, unit, time, in the words of the specimens."""
    value: object = str(measured.value)
    unit = measured.unit
    if measured.components:
        value, unit = [str(part.value) for part in measured.components], measured.components[0].unit
    elif measured.samples is not None:
        scale = measured.samples
        absolute = [scale.origin + scale.factor * each for each in scale.data if isinstance(each, Decimal)]
        value, unit = [str(each) for each in absolute], scale.unit
    elif measured.coded is not None:
        value = measured.coded
    elif measured.bits:
        value = list(measured.bits)
    time = measured.device_time
    return measured.code, value, unit, None if time is None else time.isoformat()


def meant(specimens: Iterable[Specimen], time: str | None = AT) -> list[tuple[int, object, str | None, str | None]]:
    return [(code, value, unit, time) for _, _, code, _, _, _, value, unit in specimens]


class Bench:
    """Our manager, and what it said."""

    def __init__(self, config_id: int = 0x4000, **more: object) -> None:
        self.manager = Manager(OUR_ID, **more)  # type: ignore[arg-type]
        self.manager.connected(NOW)
        self.events: list[Happening] = []
        self.out: list[bytes] = []
        self.say(peer.association(config_id))

    def say(self, data: bytes, *, durable: bool = True) -> list[Happening]:
        """Bytes of the agent; what the manager answers is kept."""
        events = self.manager.receive(data, NOW)
        for each in only(Reported, events):
            if durable and each.confirmed:
                self.events += self.manager.confirm(each, NOW)
        self.out = peer.apdus(self.manager.to_send())
        self.events += events
        return events

    def understood(self) -> list[tuple[int, object, str | None, str | None]]:
        return [told(m) for event in only(Reported, self.events) for m in event.measurements]

    def configured(self, data: bytes, config_id: int = 0x4000) -> None:
        """A configuration report, its answer, and GET MDS with its answer."""
        self.say(data)
        assert self.out == [
            peer.prst(2, 0x0201, raw("0000 00000000 0d1c 0004") + u16(config_id) + raw("0000")),
            peer.prst(0, 0x0103, raw("0000 0000 0000")),
        ]
        self.say(peer.get_answer(0, config_id))
        assert self.manager.state is State.OPERATING

    def tolerated(self) -> list[Tolerance]:
        return [each.tolerated.tolerance for each in only(Warned, self.events)]


def aare(result: int) -> bytes:
    info = raw("80000000 8000 80000000 00000000 80000000 0008") + OUR_ID + raw("0000 0000 00 00 0000 0000")
    return peer.apdu(0xE300, u16(result, 20601) + octets(info))


def confirmation(invoke_id: int, event_type: int) -> bytes:
    return peer.prst(invoke_id, 0x0201, raw("0000 00000000") + u16(event_type, 0))


def observed(specimens: Iterable[Specimen], stamp: bytes = TEN_PAST) -> list[tuple[int, bytes]]:
    return [(each[0], raw(each[5]) + stamp) for each in specimens]


@pytest.mark.parametrize("confirmed", [True, False], ids=["confirmed", "unconfirmed"])
@pytest.mark.parametrize("described", [True, False], ids=["variable", "fixed"])
@pytest.mark.parametrize("number", SPECIMENS)
def test_an_extended_configuration_of_each_specialization(number: int, described: bool, confirmed: bool) -> None:
    specimens = SPECIMENS[number]
    bench = Bench()
    assert bench.out == [aare(3)]
    bench.configured(declare(specimens))
    if described:
        report = peer.variable(
            [(each[0], [(each[4], raw(each[5])), (ABSOLUTE, TEN_PAST)]) for each in specimens], confirmed=confirmed
        )
    else:
        report = peer.fixed(observed(specimens), confirmed=confirmed)
    (reported,) = only(Reported, bench.say(report))
    assert (reported.fault, reported.apdu, reported.confirmed) == (None, report, confirmed)
    assert bench.understood() == meant(specimens)
    assert bench.out == ([confirmation(3, 0x0D1E if described else 0x0D1D)] if confirmed else [])
    assert bench.tolerated() == []
    bench.say(raw("e4000002 0000"))
    assert bench.out == [raw("e5000002 0000")]
    assert only(Aborted, bench.events) == []


@pytest.mark.parametrize("known", [True, False], ids=["known", "reported"])
@pytest.mark.parametrize("config_id", STANDARD, ids=lambda each: f"{each:04x}")
def test_a_standard_configuration(config_id: int, known: bool) -> None:
    specimens = STANDARD[config_id]
    bench = Bench(config_id, **({} if known else {"standard": {}}))
    if known:
        assert bench.out == [aare(0), peer.prst(0, 0x0103, raw("0000 0000 0000"))]
        bench.say(peer.get_answer(0, config_id))
    else:
        assert bench.out == [aare(3)]
        bench.configured(declare(specimens, config_id), config_id)
    bench.say(peer.fixed(observed(specimens)))
    assert bench.out == [confirmation(3, 0x0D1D)]
    assert bench.understood() == meant(specimens)
    assert bench.tolerated() == []


# Each in its own way


def oximeter(**more: object) -> Bench:
    bench = Bench(**more)  # type: ignore[arg-type]
    bench.configured(declare(SPECIMENS[10404][:2]))
    return bench


def test_a_configuration_sent_again_is_accepted_again_and_changes_nothing() -> None:
    bench = oximeter()
    bench.say(declare(SPECIMENS[10404][:2], invoke_id=7))  # type: ignore[arg-type]
    assert bench.out == [peer.prst(7, 0x0201, raw("0000 00000000 0d1c 0004 4000 0000"))]
    bench.say(peer.fixed(observed(SPECIMENS[10404][:2])))
    assert bench.understood() == meant(SPECIMENS[10404][:2])
    assert (bench.tolerated(), len(only(Configured, bench.events))) == ([Tolerance.CONFIG_AGAIN], 1)


def test_bytes_after_a_configuration_and_after_a_report_pass_by_name() -> None:
    bench = Bench()
    bench.configured(declare(SPECIMENS[10404][:2], trailing=b"\0\0"))
    bench.say(peer.fixed(observed(SPECIMENS[10404][:2]), trailing=b"\0"))
    assert bench.out == [confirmation(3, 0x0D1D)]
    assert bench.understood() == meant(SPECIMENS[10404][:2])
    assert bench.tolerated() == [Tolerance.TRAILING_EVENT_INFO] * 2


def test_an_undeclared_handle_that_describes_itself_passes_by_name() -> None:
    bench = oximeter()
    told_all = [(peer.TYPE, raw("00024bb0")), (UNIT, u16(544)), (BASIC, raw("f01e")), (ABSOLUTE, TEN_PAST)]
    unknown = [(BASIC, raw("0001"))]
    bench.say(peer.variable([(77, told_all), (78, unknown), (1, [(BASIC, raw("f3cf")), (ABSOLUTE, TEN_PAST)])]))
    assert bench.understood() == [(150448, "3.0", "%", AT), (150456, "97.5", "%", AT)]
    assert bench.tolerated() == [Tolerance.UNDECLARED_HANDLE] * 2


def test_an_undeclared_handle_in_a_fixed_report_is_kept_and_confirmed_and_means_nothing() -> None:
    bench = oximeter()
    report = peer.fixed([(1, raw("f3cf") + TEN_PAST), (77, raw("0001") + TEN_PAST)])
    (reported,) = only(Reported, bench.say(report))
    assert reported.fault is not None
    assert "observation 2, of object 77" in reported.fault.message
    assert (reported.apdu, reported.measurements, bench.out) == (report, (), [confirmation(3, 0x0D1D)])


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0062", "98"), ("f3d4", "98.0"), ("e264", "6.12"), ("1009", "90"), ("ff9c", "-10.0"), ("07ff", "Special.NAN"),
     ("0800", "Special.NRES")],
)  # fmt: skip
def test_each_observation_has_an_exponent_of_its_own(value: str, expected: str) -> None:
    bench = oximeter()
    bench.say(peer.fixed([(1, raw(value) + TEN_PAST)]))
    (measured,) = only(Reported, bench.events)[0].measurements
    found = measured.value if measured.value is not None else None
    assert (f"Special.{found.name}" if hasattr(found, "name") else format(found, "f")) == expected  # type: ignore[union-attr]


def test_a_unit_said_with_an_observation_holds_until_another_is_said() -> None:
    bench = Bench()
    bench.configured(declare(SPECIMENS[10415][:1]))

    def scale(value: str, *unit: tuple[int, bytes]) -> tuple[int, list[tuple[int, bytes]]]:
        return 1, [(SIMPLE, raw(value)), (ABSOLUTE, TEN_PAST), *unit]

    pounds, kilos = (UNIT, u16(1760)), (UNIT, u16(1731))
    bench.say(
        peer.variable([scale("ff00030b"), scale("ff0006b5", pounds), scale("ff0006b5"), scale("ff00030b", kilos)])
    )
    assert [(value, unit) for _, value, unit, _ in bench.understood()] == [
        ("77.9", "kg"), ("171.7", "[lb_av]"), ("171.7", "[lb_av]"), ("77.9", "kg"),
    ]  # fmt: skip
    bench.say(peer.fixed([(1, raw("ff00030b") + TEN_PAST)], invoke_id=4))
    assert bench.understood()[-1] == (188736, "77.9", "kg", AT)


def test_pressure_and_pulse_come_in_reports_of_their_own_stored_out_of_order() -> None:
    """As the A&D UA-767 does it: confirmed, pressures first, the newest not last."""
    bench = Bench(0x02BC)
    bench.say(peer.get_answer(0, 0x02BC))
    stamps = [raw("2013022522343500"), raw("2013022521460100"), raw("2013022522303800")]
    for invoke_id, stamp in enumerate(stamps, 3):
        bench.say(peer.fixed([(1, raw(PRESSURES) + stamp)], invoke_id=invoke_id))
        assert bench.out == [confirmation(invoke_id, 0x0D1D)]
    bench.say(peer.fixed([(2, raw("0048") + stamp) for stamp in stamps], invoke_id=6))
    times = ["2013-02-25T22:34:35", "2013-02-25T21:46:01", "2013-02-25T22:30:38"]
    assert bench.understood() == [
        *((150020, ["120", "80", "93"], "mm[Hg]", time) for time in times),
        *((149546, "72", "/min", time) for time in times),
    ]


def test_reports_may_come_while_the_answer_to_get_is_awaited() -> None:
    bench = Bench(0x0190)
    bench.say(peer.fixed(observed(SPECIMENS[10404][:2])) + peer.get_answer(0, 0x0190), durable=True)
    assert bench.understood() == meant(SPECIMENS[10404][:2])
    assert bench.out == [confirmation(3, 0x0D1D)]


def test_a_base_offset_time_is_a_moment() -> None:
    """HL7/phd's example: 3563536440 s and 4884/65536 s after 1900, five hours behind UTC."""
    bench = Bench()
    bench.configured(declare(SPECIMENS[10404][:1], stamp=BASE_OFFSET))
    bench.say(peer.fixed(observed(SPECIMENS[10404][:1], raw("d4674038 1314 fed4"))))
    bench.say(peer.variable([(1, [(BASIC, raw("0061")), (BASE_OFFSET, raw("d4674038 0000 0000"))])], invoke_id=4))
    assert bench.understood() == [
        (150456, "97.5", "%", "2012-12-03T10:14:00.074523-05:00"),
        (150456, "97", "%", "2012-12-03T15:14:00+00:00"),
    ]


@pytest.mark.parametrize("spare", [b"", b"\0\0"], ids=["short", "long"])
def test_lengths_that_disagree_are_answered_and_never_silent(spare: bytes) -> None:
    bench = oximeter()
    good = peer.fixed(observed(SPECIMENS[10404][:2]))
    broken = good[:-1] + spare
    info = broken[22:]
    bench.say(peer.event(3, 0x0D1D, info))
    if spare:
        assert bench.tolerated() == [Tolerance.TRAILING_EVENT_INFO]
        return
    assert bench.out == [peer.prst(3, 0x0400, u16(2))]
    assert len(only(Malformed, bench.events)) == 1
    bench.say(good)
    assert bench.understood() == meant(SPECIMENS[10404][:2])


def test_an_outer_length_that_disagrees_is_an_abort() -> None:
    bench = oximeter()
    report = bytearray(peer.fixed(observed(SPECIMENS[10404][:2])))
    report[5] -= 2
    bench.say(bytes(report))
    assert bench.out == [raw("e6000002 0000")]
    assert len(only(Aborted, bench.events)) == 1


def test_a_device_of_somebody_else_is_told_that_it_is_not_authorized() -> None:
    def admit(agent: PhdAssociation) -> AssociateResult | None:
        return None if agent.system_id == b"\2" * 8 else AssociateResult.REJECTED_UNAUTHORIZED

    bench = Bench(admit=admit)
    assert [raw("e3000006 0007 0000 0000")] == bench.out
    assert len(only(Rejected, bench.events)) == 1
    bench.say(peer.association(0x4000, system_id=b"\2" * 8))
    assert bench.out == [aare(3)]
    assert len(only(Associated, bench.events)) == 1


def test_an_agent_that_associates_again_on_the_same_link_is_accepted_from_the_start() -> None:
    bench = oximeter()
    bench.say(raw("e4000002 0000"))
    bench.say(peer.association(0x4000))
    assert bench.out == [aare(3)]
    bench.say(declare(SPECIMENS[10404][:2]))
    assert len(only(Configured, bench.events)) == 2


def stored_bench() -> Bench:
    """An oximeter with a PM-store, handle 30, that says itself how long it takes."""
    told_of_store = [
        attribute(0x0943, u16(0)),
        attribute(0x0A4D, raw("8940")),
        attribute(0x0953, u16(0)),
        attribute(0x0951, u16(1)),
        attribute(0x0A63, raw("00013880")),
    ]
    objects = [
        peer.declared(each[0], each[1], each[2], ((BASIC, 2), (ABSOLUTE, 8)), unit=each[3])
        for each in SPECIMENS[10404][:2]
    ]
    store = u16(peer.STORE, 30) + listed(told_of_store)
    bench = Bench()
    bench.configured(peer.configuration(0x4000, [*objects, store]))
    return bench


def segment_info() -> bytes:
    elements = [
        u16(6) + raw(code) + u16(handle) + listed([u16(BASIC, 2)])
        for code, handle in (("00024bb8", 1), ("0002481a", 10))
    ]
    told_of_segment = [
        attribute(0x0922, u16(5)),
        attribute(0x0A4E, u16(0x8000) + listed(elements)),
        attribute(0x0953, u16(0)),
        attribute(0x0A64, raw("000493e0")),
    ]
    return listed([u16(5) + listed(told_of_segment)])


def test_a_store_is_listed_transferred_confirmed_and_cleared_byte_for_byte() -> None:
    bench = stored_bench()
    manager = bench.manager
    manager.list_segments(30, NOW)
    assert manager.to_send() == peer.prst(1, 0x0107, raw("001e 0c0d 0006 0001 0002 0000"))
    bench.say(peer.prst(1, 0x0207, raw("001e 0c0d") + octets(segment_info())))
    manager.transfer(30, 5, NOW)
    assert manager.to_send() == peer.prst(2, 0x0107, raw("001e 0c1c 0002 0005"))
    bench.say(peer.prst(2, 0x0207, raw("001e 0c1c 0004 0005 0000")))
    assert manager.deadline() == NOW + 37.5, "300,000 eighths of a millisecond"
    entries = [TEN_PAST + raw("0062 0048"), raw("2009061211000000 f3cf 0049"), raw("2009061308000000 07ff 004a")]
    for index, (entry, status) in enumerate(zip(entries, (0x8000, 0x0000, 0x4000), strict=True)):
        place = u16(5) + index.to_bytes(4, "big") + (1).to_bytes(4, "big")
        (data,) = only(
            SegmentData,
            bench.say(peer.event(9 + index, 0x0D21, place + u16(status) + octets(entry), handle=30)),
        )
        assert (data.fault, bench.out) == (None, []), "not before it is durable"
        bench.events += manager.confirm(data, NOW)
        answer = raw("001e 00000000 0d21") + octets(place + u16(status | 0x0080))
        assert manager.to_send() == peer.prst(9 + index, 0x0201, answer)
    read = [told(m) for data in only(SegmentData, bench.events) for m in data.measurements]
    assert read == [
        (150456, "98", "%", AT),
        (149530, "72", "/min", AT),
        (150456, "97.5", "%", "2009-06-12T11:00:00"),
        (149530, "73", "/min", "2009-06-12T11:00:00"),
        (150456, str(Special.NAN), None, "2009-06-13T08:00:00"),
        (149530, "74", "/min", "2009-06-13T08:00:00"),
    ]
    manager.clear(30, 5, NOW)
    assert manager.to_send() == peer.prst(3, 0x0107, raw("001e 0c0c 000a 0002 0006 0001 0002 0005"))
    assert manager.deadline() == NOW + 10, "80,000 eighths of a millisecond"
    bench.say(peer.prst(3, 0x0207, raw("001e 0c0c 0000")))
    assert only(SegmentCleared, bench.events) == [SegmentCleared(handle=30, instance=5)]


@pytest.mark.parametrize("together", [True, False])
def test_a_segment_that_came_before_the_answer_to_its_trigger_is_waited_for_no_more(together: bool) -> None:
    bench = stored_bench()
    manager = bench.manager
    manager.list_segments(30, NOW)
    bench.say(peer.prst(1, 0x0207, raw("001e 0c0d") + octets(segment_info())))
    manager.transfer(30, 5, NOW)
    whole = raw("0005 00000000 00000001 c000") + octets(TEN_PAST + raw("0062 0048"))
    event, answer = peer.event(9, 0x0D21, whole, handle=30), peer.prst(2, 0x0207, raw("001e 0c1c 0004 0005 0000"))
    if together:
        (data,) = only(SegmentData, bench.say(event + answer))
    else:
        (data,) = only(SegmentData, bench.say(event))
    assert SegmentTransferred(handle=30, instance=5) in manager.confirm(data, NOW)
    if not together:
        bench.say(answer)
    assert manager.deadline() is None


def texts(events: Iterable[Happening]) -> str:
    """All that these events say in words, which is what a log has of them."""
    said: list[str] = []
    for each in events:
        if isinstance(each, Warned):
            said.append(each.tolerated.detail)
        elif isinstance(each, Aborted):
            said.append(each.why)
        elif isinstance(each, Reported | Malformed | StreamLost) and each.fault is not None:
            said.append(str(each.fault))
    return " ".join(said).lower()


@pytest.mark.parametrize("described", [True, False], ids=["variable", "fixed"])
def test_no_words_repeat_what_an_agent_wrote(described: bool) -> None:
    """A report with bytes missing, doubled or changed anywhere: its value never stands where a log would show it."""
    value, stamp = raw("b3e7"), raw("2009061213141599")
    report = peer.fixed([(1, value + stamp)])
    if described:
        report = peer.variable([(1, [(BASIC, value), (ABSOLUTE, stamp)])])
    secret = ("46055", "b3e7", "0xb3", "999", "2009", "13:14", "59", "99", "8201", "4884")
    said = 0
    for at in range(len(report)):
        for broken in (report[:at] + report[at + 1 :], report[:at] + report[at : at + 1] + report[at:],
                       report[:at] + b"\x1b" + report[at + 1 :]):  # fmt: skip
            sizes = (len(broken) - 4).to_bytes(2, "big") + (len(broken) - 6).to_bytes(2, "big")
            for whole in (broken, broken[:2] + sizes + broken[6:]):
                bench = oximeter()
                words = texts(bench.say(whole) + bench.say(report))
                said += bool(words)
                assert not [each for each in secret if each in words.replace("at byte", "")], words
    assert said > len(report)


def test_the_ecg_of_another_agent_is_millivolts_at_its_own_pace() -> None:
    """conqlima's agent: 20 samples in an observation, 0 for -2 mV and 800 for 2 mV, every 200 ms, unconfirmed."""
    bench = Bench()
    bench.say(vector("conqlima/ecg_config").value)
    assert len(only(Configured, bench.events)) == 1
    steps = (0, 400, 800, 401, *(400 for _ in range(16)))
    bench.say(peer.fixed([(1, octets(u16(*steps)) + TEN_PAST)], confirmed=False))
    (measured,) = only(Reported, bench.events)[0].measurements
    code, value, unit, time = told(measured)
    assert (code, unit, time) == (131329, "mV", AT)
    assert value == ["-2.000", "0.000", "2.000", "0.005"] + ["0.000"] * 16
    assert measured.samples is not None
    assert (str(measured.samples.period_ms), measured.samples.lower, measured.samples.upper) == (
        "200",
        Decimal(-2),
        Decimal(2),
    )


def test_a_clock_is_set_and_read_again_byte_for_byte() -> None:
    bench = oximeter()
    bench.manager.set_time(datetime(2026, 11, 21, 19, 33, 46, 500_000), NOW)  # noqa: DTZ001 - a device's wall clock
    assert bench.manager.to_send() == peer.prst(1, 0x0107, raw("0000 0c17 000c 2026112119334650 00000000"))
    bench.say(peer.prst(1, 0x0207, raw("0000 0c17 0000")))
    assert bench.out == [peer.prst(2, 0x0103, raw("0000 0000 0000"))], "relative times are understood beside the clock"


def test_what_is_asked_at_once_is_answered_with_a_report_in_the_answer() -> None:
    """Data request 1, start, one response, all objects; a fixed report comes in the answer to the action."""
    bench = oximeter()
    request = DataRequest(data_req_id=1, mode=0x8880, person=0xFFFF)
    bench.manager.request_data(request, NOW)
    assert bench.manager.to_send() == peer.prst(1, 0x0107, raw("0000 0c1b 0010 0001 8880 00000000 ffff 0000 0000 0000"))
    report = raw("0001 0000") + peer.listed([u16(1) + octets(raw("0062") + TEN_PAST)])
    answer = raw("0000 0c1b") + octets(raw("00000000 0000 0d1d") + octets(report))
    bench.say(peer.prst(1, 0x0207, answer))
    assert bench.understood() == [(150456, "98", "%", AT)]
    assert bench.out == []
