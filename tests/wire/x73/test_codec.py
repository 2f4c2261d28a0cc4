"""MDER and the APDUs: what is written is read again, and noise is refused with the one declared error."""

import random
from dataclasses import fields
from decimal import Decimal
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.noise import inputs, source_of
from tests.wire.x73.support import MANAGER_ID, NOW, SESSION, VECTORS, WHOLE, Joined, profile
from wire.errors import DecodeError, WireError
from wire.measurement import Special
from wire.x73 import apdu as apdu_module
from wire.x73 import measurements, reports, services, values
from wire.x73.agent import Agent
from wire.x73.apdu import MESSAGES, Aare, Aarq, Abrt, Apdu, Prst, Rlre, Rlrq, Rose, decode_apdu, encode_apdu
from wire.x73.dim import Configuration
from wire.x73.events import Aborted, Happening
from wire.x73.manager import Manager
from wire.x73.mder import Bytes, Fixed, ListOf, Nested, Octets, ReplyInfo, Struct, Tolerated
from wire.x73.reports import REPORT_KINDS, decode_report, encode_report
from wire.x73.specializations import SPECIALIZATIONS

MUTATIONS = inputs()


def wires(type_: type[Struct]) -> dict[str, Any]:
    hints = get_type_hints(type_, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in fields(type_)}  # type: ignore[arg-type]


def of_wire(wire: Any) -> st.SearchStrategy[Any]:
    """Values of a wire type: the strategy is the type, so a new field is tested without a line here."""
    if isinstance(wire, Fixed):
        if wire.load is not None:
            return st.sampled_from([Decimal("96.5"), Decimal("-0.01"), Decimal(0), *Special])
        return st.integers(0, (1 << 8 * wire.packing.size) - 1)
    if isinstance(wire, Bytes):
        return st.binary(min_size=wire.size, max_size=wire.size)
    if isinstance(wire, Octets | ReplyInfo):
        return st.binary(max_size=12)
    if isinstance(wire, Nested):
        return of_type(wire.type)
    if isinstance(wire, ListOf):
        return st.lists(of_wire(wire.item), max_size=3).map(tuple)
    raise AssertionError(f"no strategy for {wire}")


def of_type(type_: type[Struct]) -> st.SearchStrategy[Struct]:
    return st.deferred(lambda: st.builds(type_, **{name: of_wire(wire) for name, wire in wires(type_).items()}))


STRUCTS = sorted(
    {
        each
        for module in (apdu_module, reports, services, values, measurements)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Struct) and each is not Struct
    },
    key=lambda each: each.__name__,
)
MESSAGE = st.sampled_from(list(Rose)).flatmap(
    lambda rose: st.builds(Prst, invoke_id=st.integers(0, 0xFFFF), rose=st.just(rose), message=of_type(MESSAGES[rose]))
)
APDUS = st.one_of(*(of_type(each) for each in (Aarq, Aare, Rlrq, Rlre, Abrt)), MESSAGE)


@pytest.mark.parametrize("type_", STRUCTS, ids=lambda each: each.__name__)
def test_every_structure_reads_what_it_wrote_and_refuses_every_cut(type_: type[Struct]) -> None:
    @settings(max_examples=25)
    @given(of_type(type_))
    def check(value: Struct) -> None:
        encoded = value.encode()
        assert value == type_.decode(encoded)
        for length in range(len(encoded)):
            with pytest.raises(DecodeError) as refused:
                type_.decode(encoded[:length])
            assert refused.value.offset <= length
        with pytest.raises(DecodeError):
            type_.decode(encoded + b"\0")

    check()


@given(APDUS)
def test_every_apdu_reads_what_it_wrote_and_refuses_every_cut(apdu: Any) -> None:
    encoded = encode_apdu(apdu)
    assert apdu == decode_apdu(encoded)
    for length in range(len(encoded)):
        with pytest.raises(DecodeError):
            decode_apdu(encoded[:length])


@given(st.binary(max_size=80))
def test_noise_is_refused_with_the_declared_error_or_encodes_to_itself(noise: bytes) -> None:
    outcome = decoded_or_fault(noise, None)
    if isinstance(outcome, DecodeError):
        assert 0 <= outcome.offset <= len(noise)
    else:
        assert noise == encode_apdu(outcome)


def decoded_or_fault(data: bytes, tolerated: list[Tolerated] | None) -> Apdu | DecodeError:
    try:
        return decode_apdu(data, tolerated)
    except DecodeError as error:
        return error


@pytest.mark.parametrize("event_type", REPORT_KINDS)
def test_every_scan_report_kind_reads_what_it_wrote(event_type: int) -> None:
    kind = REPORT_KINDS[event_type]

    @settings(max_examples=40)
    @given(of_type(kind.type))
    def check(value: Struct) -> None:
        info = value.encode()
        report = decode_report(event_type, 5, info)
        assert (event_type, 5) == (report.event_type, report.handle)
        assert info == encode_report(report)

    check()


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (lambda: Rlrq(reason=0x1_0000), "reason"),
        (lambda: Abrt(reason=-1), "reason"),
        (lambda: Prst(invoke_id=0x1_0000, rose=Rose.ROIV_GET, message=apdu_module.Get()), "invoke_id"),
        (lambda: apdu_module.Attribute(id=1, value=bytes(0x1_0000)), "value"),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_the_caller_s_error(value: Any, field: str) -> None:
    made = value()
    with pytest.raises(WireError):
        _ = encode_apdu(made) if isinstance(made, Prst) else made.encode()


def mutate(rng: random.Random, data: bytes) -> bytes:
    """One to three of: a changed byte, a changed bit, a cut, an insertion, a doubled piece, a piece moved."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out)) if out else 0
        match rng.randrange(6):
            case 0 if out:
                out[at] = rng.randrange(256)
            case 1 if out:
                out[at] ^= 1 << rng.randrange(8)
            case 2:
                del out[at:]
            case 3:
                out[at:at] = rng.randbytes(rng.randint(1, 4))
            case 4:
                out[at:at] = out[at : at + rng.randint(1, 8)]
            case _ if out:
                out[at] = rng.choice((0, 0x7F, 0x80, 0xFF))
    return bytes(out)


def samples() -> list[bytes]:
    """APDUs of every kind, among them configurations and reports of every specialization."""
    found = [vector.value for vector in VECTORS.values()]
    for specialization in SPECIALIZATIONS.values():
        info = specialization.extended.encode()
        report = apdu_module.EventReport(event_type=3356, info=info)
        found.append(encode_apdu(Prst(invoke_id=1, rose=Rose.ROIV_CONFIRMED_EVENT_REPORT, message=report)))
    return found


def test_mutated_apdus_are_refused_with_the_declared_error_or_decode() -> None:
    rng = source_of("20601 APDUs")
    pool = samples()
    refused = 0
    for _ in range(MUTATIONS):
        mutated = mutate(rng, rng.choice(pool))
        tolerated: list[Tolerated] = []
        outcome = decoded_or_fault(mutated, tolerated)
        if isinstance(outcome, DecodeError):
            refused += 1
            assert 0 <= outcome.offset <= len(mutated)
        else:
            assert tolerated or mutated == encode_apdu(outcome)
    assert refused > MUTATIONS // 3


def test_mutated_sessions_end_in_an_abort_or_go_on_and_never_raise() -> None:
    """A manager meets an agent's bytes, and an agent a manager's, each with faults somewhere."""
    rng = source_of("20601 sessions")
    extended = SPECIALIZATIONS[10407].extended
    said = conversation(extended)
    aborted = answered = 0
    for _ in range(MUTATIONS // 10):
        side, direction = (Manager(MANAGER_ID), "A>M") if rng.random() < 0.7 else (Agent(profile(extended)), "M>A")
        side.connected(NOW)
        events: list[Happening] = []
        heard = [raw for said_by, raw in said if said_by == direction]
        victim = rng.randrange(len(heard))
        for index, raw in enumerate(heard):
            data = mutate(rng, raw) if index == victim else raw
            events += side.receive(data, NOW)
            sent = side.to_send()
            answered += bool(sent)
            assert len(sent) < 10_000
        events += side.expire(NOW + 60)
        events += side.disconnected(NOW)
        aborted += any(isinstance(event, Aborted) for event in events)
    assert aborted > MUTATIONS // 50
    assert answered > aborted


def conversation(configuration: Configuration) -> list[tuple[str, bytes]]:
    pair = Joined(Agent(profile(configuration)), Manager(MANAGER_ID))
    pair.connect()
    scan = reports.PersonScan(
        person=None,
        fixed=(reports.ObservationFixed(handle=1, data=bytes.fromhex("00030006007e004700562013022521460100")),),
    )
    for _ in range(2):
        pair.agent.report((scan,), NOW)
        pair.run()
    pair.agent.release(NOW)
    pair.run()
    return pair.said


def test_all_messages_of_the_vectors_are_among_the_samples() -> None:
    assert {vector.value for vector in WHOLE} <= set(samples())
    assert set(SESSION.values()) <= set(samples())
