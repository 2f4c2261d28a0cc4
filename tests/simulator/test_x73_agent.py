"""Simulated 20601 agents over real TCP: what they report is what the manager reads, and every way to end is bounded."""

import asyncio
import io
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from simulator import cli
from simulator.command import Outcome
from simulator.measured import read
from simulator.values import Other
from simulator.x73.agent import Plan, play
from simulator.x73.devices import QUANTITIES, STORE_HANDLE, configuration_of, metrics
from simulator.x73.options import DEVICES, FAULTS
from wire.measurement import Measurement
from wire.x73.apdu import (
    PROTOCOL_20601,
    SYSTEM_TYPE_MANAGER,
    Aare,
    Aarq,
    Abrt,
    Act,
    Apdu,
    AssociateResult,
    DataProto,
    Error,
    EventReport,
    EventReportResult,
    Get,
    GetResult,
    PhdAssociation,
    Prst,
    Rlre,
    Rlrq,
    Rose,
    decode_apdu,
    encode_apdu,
)
from wire.x73.codes import Attr, Noti
from wire.x73.events import (
    Aborted,
    Associated,
    AttributesRead,
    Configured,
    Happening,
    Released,
    Reported,
    SegmentCleared,
    SegmentData,
    Segments,
    SegmentTransferred,
    StreamLost,
)
from wire.x73.framing import Framer
from wire.x73.manager import Manager
from wire.x73.reports import ConfigReportResult, ConfigResult
from wire.x73.services import SetTime
from wire.x73.session import Waits
from wire.x73.specializations import BY_NAME

MANAGER_ID = bytes.fromhex("1122334455667788")
CLOCK = datetime(2026, 11, 21, 20, 15, 30, 120_000, tzinfo=UTC)
BOTH = [(name, standard) for name, (_, known) in DEVICES.items() for standard in ((True, False) if known else (False,))]
PROGRAM = Path(sys.executable).with_name("stafet-sim")


@dataclass
class Bench:
    """A manager that listens, confirms at once, and keeps what it was told."""

    manager: Manager
    then: Callable[["Bench", Happening, float], None] = lambda bench, event, now: None
    happened: list[Happening] = field(default_factory=list)
    heard: bytearray = field(default_factory=bytearray)
    port: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time
        await self._take(self.manager.connected(now()), writer)
        try:
            while data := await reader.read(4096):
                self.heard += data
                await self._take(self.manager.receive(data, now()), writer)
                if self.manager.lost:
                    break
        except ConnectionError:
            pass
        await self._take(self.manager.disconnected(now()), writer)
        writer.close()
        self.ended.set()

    async def _take(self, events: list[Happening], writer: asyncio.StreamWriter) -> None:
        now = asyncio.get_running_loop().time()
        for event in events:
            self.happened.append(event)
            if isinstance(event, Reported | SegmentData) and event.confirmed:
                events += self.manager.confirm(event, now)
            self.then(self, event, now)
        writer.write(self.manager.to_send())

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.happened if isinstance(event, kind)]

    @property
    def measurements(self) -> list[Measurement]:
        return [m for event in self.happened if isinstance(event, Reported | SegmentData) for m in event.measurements]


@asynccontextmanager
async def listening(bench: Bench) -> AsyncIterator[Bench]:
    server = await asyncio.start_server(bench.talk, "127.0.0.1", 0)
    bench.port = server.sockets[0].getsockname()[1]
    async with server:
        yield bench


def plan(bench: Bench, device: str = "oximeter", *, fault: str = "", **more: Any) -> Plan:
    if fault:
        more["fault"] = FAULTS[fault]
    usual: dict[str, Any] = {"interval_s": 0.0, "patience_s": 0.5, "quiet_s": 0.0, "clock": lambda: CLOCK}
    return Plan(host="127.0.0.1", port=bench.port, specialization=BY_NAME[device], **usual | more)


async def played(
    device: str = "oximeter", bench: Bench | None = None, **more: Any
) -> tuple[Outcome, Bench, list[dict[str, Any]]]:
    """The outcome, the manager's side, and the measured lines."""
    bench = bench or Bench(Manager(MANAGER_ID))
    out = io.StringIO()
    async with listening(bench), asyncio.timeout(20):
        outcome = await play(plan(bench, device, **more), out)
        await bench.ended.wait()
    return outcome, bench, [json.loads(line) for line in out.getvalue().splitlines()]


Said = list[tuple[Any, ...]]


def as_read(measurements: list[Measurement]) -> Said:
    """What the manager read, in the form of the measured file."""
    said: Said = []
    for each in measurements:
        time = each.device_time.isoformat() if each.device_time and each.device_time.known else None
        for part in each.components or (each,):
            if part.bits:
                said.append((part.code, "bits", sorted(part.bits), time))
            elif part.coded is not None:
                said.append((part.code, "coded", part.coded, time))
            elif part.samples is not None:
                scale = part.samples
                values = [str(scale.origin + scale.factor * each) for each in scale.data if isinstance(each, Decimal)]
                said.append((part.code, "samples", values, time))
            else:
                said.append((part.code, str(part.value), part.unit, time))
    return sorted(said, key=str)


def as_measured(lines: list[dict[str, Any]]) -> Said:
    said: Said = []
    for line in lines:
        time = line["device_time"]
        if time and "." in time:
            time = time.rstrip("0")
        said += [(v["code"], v["value"], v["unit"], time) for v in line["values"]]
        for other in line.get("others", ()):
            (kind,) = {"bits", "coded", "samples"} & other.keys()
            said.append((other["code"], kind, other[kind], time))
    return sorted(said, key=str)


def test_every_specialization_can_be_played_and_every_object_shows_something() -> None:
    assert {name: (spec.number, bool(spec.standard)) for name, spec in BY_NAME.items()} == dict(DEVICES)
    shown = {
        metric.code
        for spec in BY_NAME.values()
        for configuration in (spec.extended, *spec.standard)
        for metric in metrics(configuration)
    }
    assert shown - {150020} <= QUANTITIES.keys()


@pytest.mark.parametrize(("device", "standard"), BOTH)
@pytest.mark.parametrize("confirmed", [True, False], ids=["confirmed", "unconfirmed"])
async def test_the_manager_reads_every_value_that_was_measured(device: str, standard: bool, confirmed: bool) -> None:
    outcome, bench, lines = await played(device, standard=standard, confirmed=confirmed)
    assert outcome == Outcome(status=0)
    assert len(lines) == 3
    assert as_read(bench.measurements) == as_measured(lines)
    assert len(bench.of(Reported)) == 3
    assert [event.fault for event in bench.of(Reported)] == [None] * 3
    assert bench.of(Released) == [Released(by_peer=True)]
    assert not any(type(event).__name__ == "Warned" for event in bench.happened)


@pytest.mark.parametrize("device", [name for name, (_, standard) in DEVICES.items() if standard])
async def test_a_manager_that_knows_no_standard_configuration_is_told(device: str) -> None:
    bench = Bench(Manager(MANAGER_ID, standard={}))
    outcome, bench, lines = await played(device, bench)
    assert outcome.status == 0
    (associated,), (configured,) = bench.of(Associated), bench.of(Configured)
    assert (associated.known, configured.reported) == (False, True)
    assert associated.config_id == BY_NAME[device].standard[0].config_id
    assert as_read(bench.measurements) == as_measured(lines)


def fetch_and_clear(bench: Bench, event: Happening, now: float) -> None:
    if isinstance(event, AttributesRead) and event.handle == 0:
        bench.manager.list_segments(STORE_HANDLE, now)
    elif isinstance(event, Segments):
        bench.manager.transfer(STORE_HANDLE, event.segments[0].instance, now)
    elif isinstance(event, SegmentTransferred):
        bench.manager.clear(STORE_HANDLE, event.instance, now)


@pytest.mark.parametrize("device", DEVICES)
async def test_stored_readings_are_served_when_the_manager_asks(device: str) -> None:
    outcome, bench, lines = await played(
        device, Bench(Manager(MANAGER_ID), fetch_and_clear), standard=False, store=True, count=40
    )
    assert outcome == Outcome(status=0)
    assert len(lines) == 40
    assert as_read(bench.measurements) == as_measured(lines)
    assert type(bench.happened[-2]) is Released


async def test_a_manager_that_looks_at_the_store_again_after_clearing_it_is_answered_before_the_release() -> None:
    def fetch(bench: Bench, event: Happening, now: float) -> None:
        fetch_and_clear(bench, event, now)
        if isinstance(event, SegmentCleared):
            bench.manager.read_store(STORE_HANDLE, now)

    outcome, bench, _ = await played(
        bench=Bench(Manager(MANAGER_ID), fetch), standard=False, store=True, quiet_s=0.2, patience_s=5.0
    )
    assert outcome == Outcome(status=0)
    assert [event.handle for event in bench.of(AttributesRead)] == [0, STORE_HANDLE]
    assert type(bench.happened[-2]) is Released


async def test_a_store_that_nobody_asks_for_is_no_success() -> None:
    outcome, _, lines = await played(standard=False, store=True)
    assert (outcome.status, lines) == (1, [])
    assert outcome.line == "the manager did not fetch the stored readings; 0 of 3 readings reported"


async def test_a_rejected_agent_says_why() -> None:
    bench = Bench(Manager(MANAGER_ID, admit=lambda _: AssociateResult.REJECTED_UNAUTHORIZED))
    outcome, _, lines = await played(bench=bench)
    assert outcome == Outcome(
        status=1,
        line="the manager rejected the association: rejected-unauthorized; 0 of 3 readings reported",
    )
    assert lines == []


async def test_an_aborted_agent_says_so() -> None:
    def abort(bench: Bench, event: Happening, now: float) -> None:
        if isinstance(event, Reported):
            bench.manager.abort(now)

    outcome, _, lines = await played(bench=Bench(Manager(MANAGER_ID), abort))
    assert outcome.status == 1
    assert outcome.line.startswith("the manager aborted: undefined; ")
    assert len(lines) == 1


async def test_a_manager_that_releases_first_is_answered() -> None:
    def release(bench: Bench, event: Happening, now: float) -> None:
        if isinstance(event, Reported):
            bench.manager.release(now)

    outcome, bench, _ = await played(bench=Bench(Manager(MANAGER_ID), release))
    assert outcome.line.startswith("the manager released the association; ")
    assert bench.of(Released) == [Released(by_peer=False)]
    # The last confirmation and the release arrive together.
    outcome, _, _ = await played(bench=Bench(Manager(MANAGER_ID), release), count=1)
    assert outcome == Outcome(status=0)


async def test_nobody_listening_is_unavailable(unused_tcp_port: int) -> None:
    outcome = await play(plan(Bench(Manager(MANAGER_ID), port=unused_tcp_port)))
    assert outcome == Outcome(status=69, line=f"no manager answers at 127.0.0.1:{unused_tcp_port}: Connection refused")


async def test_a_peer_that_hangs_up_unasked_is_unavailable() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server, asyncio.timeout(5):
        bench = Bench(Manager(MANAGER_ID), port=server.sockets[0].getsockname()[1])
        outcome = await play(plan(bench))
    assert outcome.status == 69
    assert outcome.line.startswith("the manager hung up; ")


SHORT = Waits(config_s=0.3, response_s=0.3, association_s=0.2, association_retries=2)


async def against(answers: Callable[[Apdu], list[Apdu]], **more: Any) -> tuple[Outcome, list[Apdu]]:
    """How an agent fares with a manager that answers as a script does."""
    heard: list[Apdu] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer()
        while data := await reader.read(4096):
            for raw in framer.feed(data)[0]:
                heard.append(decode_apdu(raw))
                writer.write(b"".join(encode_apdu(each) for each in answers(heard[-1])))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        bench = Bench(Manager(MANAGER_ID), port=server.sockets[0].getsockname()[1])
        return await play(plan(bench, waits=SHORT, **more)), heard


def accepted() -> Aare:
    info = PhdAssociation(system_type=SYSTEM_TYPE_MANAGER, system_id=MANAGER_ID, config_id=0).encode()
    return Aare(result=0, protocol=DataProto(id=PROTOCOL_20601, info=info))


async def test_a_manager_that_says_nothing_is_unavailable() -> None:
    outcome, heard = await against(lambda _: [])
    assert outcome.status == 69
    assert outcome.line.startswith("aborted, no AARE after 3 requests: response-timeout; ")
    assert [type(each) for each in heard] == [Aarq, Aarq, Aarq, Abrt]


async def test_a_configuration_that_nobody_answers_is_aborted() -> None:
    asked = Aare(result=3, protocol=accepted().protocol)
    outcome, heard = await against(lambda apdu: [asked] if isinstance(apdu, Aarq) else [])
    assert outcome.status == 1
    assert outcome.line.startswith("aborted, no answer to the configuration in time: configuration-timeout; ")
    assert [type(each) for each in heard] == [Aarq, Prst, Abrt]


async def test_a_report_that_nobody_confirms_is_aborted() -> None:
    outcome, heard = await against(lambda apdu: [accepted()] if isinstance(apdu, Aarq) else [])
    assert outcome.status == 1
    assert outcome.line.startswith("aborted, no answer to event-report in time: response-timeout; 0 of 3 ")
    assert [type(each) for each in heard] == [Aarq, Prst, Abrt]


async def test_a_report_that_is_refused_ends_in_a_release() -> None:
    def refuse(apdu: Apdu) -> list[Apdu]:
        if isinstance(apdu, Aarq):
            return [accepted()]
        if isinstance(apdu, Prst):
            return [Prst(invoke_id=apdu.invoke_id, rose=Rose.ROER, message=Error(error=1))]
        return [Rlre()] if isinstance(apdu, Rlrq) else []

    outcome, heard = await against(refuse)
    assert outcome == Outcome(status=1, line="the manager refused event-report; 0 of 3 readings reported")
    assert [type(each) for each in heard] == [Aarq, Prst, Rlrq]


def refusing(*refused: int) -> Callable[[Apdu], list[Apdu]]:
    """A manager that knows no configuration, and takes all but these; it confirms every report."""

    def answers(apdu: Apdu) -> list[Apdu]:
        if isinstance(apdu, Aarq):
            return [Aare(result=3, protocol=accepted().protocol)]
        if isinstance(apdu, Prst) and isinstance(apdu.message, EventReport):
            reply, event_type = b"", apdu.message.event_type
            if event_type == Noti.CONFIG:
                config_id = int.from_bytes(apdu.message.info[:2], "big")
                verdict = ConfigResult.STANDARD_CONFIG_UNKNOWN if config_id < 0x4000 else ConfigResult.UNSUPPORTED
                result = verdict if config_id in refused else ConfigResult.ACCEPTED
                reply = ConfigReportResult(config_id=config_id, result=result).encode()
            message = EventReportResult(handle=0, event_type=event_type, info=reply)
            return [Prst(invoke_id=apdu.invoke_id, rose=Rose.RORS_CONFIRMED_EVENT_REPORT, message=message)]
        return [Rlre()] if isinstance(apdu, Rlrq) else []

    return answers


async def test_refused_configurations_end_in_a_release() -> None:
    outcome, heard = await against(refusing(0x0190, 0x4000))
    assert outcome == Outcome(status=1, line="the manager refused configuration 0x4000; 0 of 3 readings reported")
    assert [type(each) for each in heard] == [Aarq, Prst, Prst, Rlrq]


async def test_a_manager_that_refuses_a_standard_configuration_is_offered_one_that_says_everything() -> None:
    outcome, heard = await against(refusing(0x0190))
    assert outcome == Outcome(status=0)
    told = [each.message for each in heard if isinstance(each, Prst) and isinstance(each.message, EventReport)]
    assert [each.event_type for each in told] == [Noti.CONFIG, Noti.CONFIG] + [Noti.SCAN_REPORT_FIXED] * 3
    assert [each.info[:2].hex() for each in told[:2]] == ["0190", "4000"]
    assert {int.from_bytes(each.info[4:6], "big") for each in told[2:]} == {4}, "the objects of the second one"


async def test_a_clock_that_is_set_is_so_for_a_get_that_came_in_the_same_bytes() -> None:
    to = SetTime(time=bytes.fromhex("2026010203040500")).encode()
    set_and_get = [
        Prst(invoke_id=1, rose=Rose.ROIV_CONFIRMED_ACTION, message=Act(handle=0, action_type=0x0C17, args=to)),
        Prst(invoke_id=2, rose=Rose.ROIV_GET, message=Get(handle=0, attributes=(Attr.TIME_ABS,))),
    ]
    serve = refusing()
    outcome, heard = await against(lambda apdu: [accepted(), *set_and_get] if isinstance(apdu, Aarq) else serve(apdu))
    assert outcome == Outcome(status=0)
    (got,) = [each.message for each in heard if isinstance(each, Prst) and isinstance(each.message, GetResult)]
    assert [each.value.hex() for each in got.attributes] == ["2026010203040500"]


@pytest.mark.parametrize("standard", [True, False])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_ends_soon_and_says_what_it_was(fault: str, standard: bool) -> None:
    outcome, bench, lines = await played(fault=fault, standard=standard, interval_s=0.01)
    ends_early = fault.startswith("disconnect") or fault in ("silence", "garbage")
    assert outcome.status == (1 if ends_early else 0)
    assert bool(outcome.line) is ends_early
    if fault.startswith("disconnect"):
        step = fault.removeprefix("disconnect-after-")
        assert outcome.line.startswith(f"cut the link after the {step}, ")
        assert not bench.of(Released) or step == "release"
        reports = {"report": 1, "confirmation": 1, "release": 3}.get(step, 0)
        assert (len(bench.of(Reported)), len(lines)) == (reports, reports)
    elif fault not in ("test-association", "duplicate"):
        assert as_read(bench.measurements) == as_measured(lines)


async def test_an_unset_clock_is_zero_until_it_is_set() -> None:
    to = datetime(2026, 11, 21, 21, 0, 0, tzinfo=UTC)

    def set_clock(bench: Bench, event: Happening, now: float) -> None:
        if isinstance(event, Reported) and event.report.number == 0:
            bench.manager.set_time(to, now)

    bench = Bench(Manager(MANAGER_ID), set_clock)
    outcome, bench, lines = await played(bench=bench, fault="clock-unset", interval_s=0.05)
    assert outcome.status == 0
    first, second = bench.of(AttributesRead)[:2]
    assert first.wants_time
    assert not second.wants_time
    assert [line["device_time"] for line in lines] == [None, to.isoformat()[:19], to.isoformat()[:19]]
    assert [m.clock_set for m in bench.measurements] == [False] * 2 + [True] * 4


async def test_duplicates_are_sent_twice_and_measured_once() -> None:
    _, bench, lines = await played(fault="duplicate")
    once = as_measured(lines)
    assert as_read(bench.measurements) == sorted(once + once, key=str)
    assert [event.report.number for event in bench.of(Reported)] == list(range(6))


async def test_out_of_order_means_the_latest_first() -> None:
    _, _, lines = await played(fault="out-of-order")
    times = [line["device_time"] for line in lines]
    assert times == sorted(set(times), reverse=True)


async def test_a_second_person_has_a_number_of_its_own() -> None:
    _, bench, lines = await played("scale", fault="second-person", count=4)
    assert [line["person"] for line in lines] == ["p1", "p2", "p1", "p2"]
    assert [m.user for m in bench.measurements] == [1, 2, 1, 2]
    assert [str(m.value) for m in bench.measurements] == [line["values"][0]["value"] for line in lines]


async def test_a_test_association_is_no_patient_data() -> None:
    _, bench, lines = await played(fault="test-association")
    assert bench.of(Associated)[0].test
    assert bench.measurements == []
    assert len([m for event in bench.of(Reported) for m in event.test_measurements]) == 2 * len(lines)


async def test_garbage_is_aborted_by_the_manager() -> None:
    outcome, bench, lines = await played(fault="garbage")
    assert len(bench.of(StreamLost)) == 1
    assert outcome.line.startswith("the manager aborted: ")
    assert len(lines) == 1


async def test_a_silent_agent_outlives_its_patience_only() -> None:
    began = time.monotonic()
    outcome, bench, _ = await played(fault="silence")
    assert time.monotonic() - began < 2
    assert outcome.line.startswith("said nothing")
    assert not bench.of(AttributesRead)


@pytest.mark.parametrize(("device", "standard"), BOTH)
async def test_the_same_seed_sends_the_same_bytes(device: str, standard: bool) -> None:
    runs = [(await played(device, standard=standard, seed=seed))[1:] for seed in (7, 7, 8)]
    assert runs[0][0].heard == runs[1][0].heard
    assert runs[0][0].heard != runs[2][0].heard


async def test_a_clock_moves_on_between_readings() -> None:
    ticks = iter(range(10_000))
    _, _, lines = await played(clock=lambda: CLOCK + timedelta(seconds=next(ticks)))
    times = [line["device_time"] for line in lines]
    assert times == sorted(set(times))


def test_measured_lines_are_read_back(tmp_path: Path) -> None:
    other = Other(code=8417864, refid="MDC_CTXT_GLU_MEAL", coded=8417868)
    assert Other.of(other.document()) == other
    with pytest.raises(ValueError, match="no public standard configuration"):
        configuration_of(BY_NAME["ecg"], standard=True, store=False)


# The command


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    """Exit status, and what was said on stderr."""
    try:
        status: object = cli.main(["agent", *arguments])
    except SystemExit as ended:
        status = ended.code
    return status, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--device", "ecg", "--connect", "127.0.0.1:1"],
            "has no public standard configuration; use --config extended",
        ),
        (["--device", "oximeter", "--connect", "127.0.0.1:1", "--store"], "no standard configuration has a PM-store"),
        (["--device", "oximeter", "--connect", "nowhere"], "is not HOST:PORT"),
        (["--device", "toaster", "--connect", "127.0.0.1:1"], "invalid choice"),
        (["--device", "oximeter", "--connect", "127.0.0.1:1", "--count", "0"], "is no positive number"),
        (
            [
                "--device",
                "scale",
                "--connect",
                "127.0.0.1:1",
                "--config",
                "extended",
                "--store",
                "--fault",
                "duplicate",
            ],
            "--fault duplicate is for readings that are not stored",
        ),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, error = run(capsys, *arguments)
    assert status == 2
    assert words in error


def test_the_command_without_a_manager_is_unavailable(
    unused_tcp_port: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = f"stafet-sim: no manager answers at 127.0.0.1:{unused_tcp_port}: Connection refused\n"
    assert run(capsys, "--device", "oximeter", "--connect", f"127.0.0.1:{unused_tcp_port}") == (69, refused)
    file = str(tmp_path / "no" / "file")
    status, _ = run(capsys, "--device", "oximeter", "--connect", "127.0.0.1:1", "--measured", file)
    assert status == 73


async def test_the_command_releases_on_sigterm(tmp_path: Path) -> None:
    third = asyncio.Event()

    def count(bench: Bench, event: Happening, now: float) -> None:
        if len(bench.of(Reported)) == 3:
            third.set()

    bench, file = Bench(Manager(MANAGER_ID), count), tmp_path / "measured.jsonl"
    async with listening(bench), asyncio.timeout(30):
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "agent", "--connect", f"127.0.0.1:{bench.port}", "--device", "glucometer", "--config", "extended",
            "--count", "1000", "--interval", "0.05", "--measured", str(file), stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        await third.wait()
        os.kill(process.pid, signal.SIGTERM)
        _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().startswith("stafet-sim: stopped; ")
    assert bench.of(Released) == [Released(by_peer=True)]
    assert bench.of(Aborted) == []
    records = list(read(file))
    assert len(records) == len(bench.of(Reported))
    assert records[0].others[0].refid == "MDC_CTXT_GLU_MEAL"
    assert as_read(bench.measurements) == as_measured([json.loads(each.line()) for each in records])
