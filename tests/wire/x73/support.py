"""What the tests of 20601 share: the vectors, sample sessions, and two sides joined by a wire."""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import TypeVar

from tests.wire.vectors import Vector, load
from wire.measurement import Measurement
from wire.x73.agent import Agent, AgentProfile
from wire.x73.apdu import Apdu, Attribute, GetResult, Prst, decode_apdu
from wire.x73.codes import Attr
from wire.x73.dim import Configuration, DimObject
from wire.x73.events import Happening, Reported, SegmentData
from wire.x73.manager import Manager
from wire.x73.mds import mds_attributes
from wire.x73.reports import ObservationFixed, PersonScan
from wire.x73.specializations import OXIMETER_0190, SPECIALIZATIONS

VECTORS = {vector.id: vector for vector in load("x73.json")}
SESSION = {id_.removeprefix("session/"): vector.value for id_, vector in VECTORS.items() if id_.startswith("session/")}
WHOLE = [vector for vector in VECTORS.values() if "invalid" not in vector.expected]

AGENT_ID = bytes.fromhex("1133557799bbddff")
MANAGER_ID = bytes.fromhex("1122334455667788")
NOW = 1000.0
CLOCK = datetime(2026, 11, 21, 19, 33, 46, 500_000)  # noqa: DTZ001 - a device's wall clock
STAMP = bytes.fromhex("2026112119334650")


def vector(id_: str) -> Vector:
    return VECTORS[id_]


def measured_mds() -> tuple[Attribute, ...]:
    """The almost empty MDS of the measured session."""
    answer = decode_apdu(SESSION["mds"])
    assert isinstance(answer, Prst)
    assert isinstance(answer.message, GetResult)
    return answer.message.attributes


def profile(*configurations: Configuration, number: int = 10404, **more: object) -> AgentProfile:
    configurations = configurations or (OXIMETER_0190,)
    mds = mds_attributes(
        SPECIALIZATIONS[number], system_id=AGENT_ID, config_id=configurations[0].config_id, clock=CLOCK
    )
    return AgentProfile(system_id=AGENT_ID, configurations=configurations, mds=mds, **more)  # type: ignore[arg-type]


def oximeter_scan(spo2: str = "f3c5", pulse: str = "f27b") -> tuple[PersonScan, ...]:
    fixed = (
        ObservationFixed(handle=1, data=bytes.fromhex(spo2) + STAMP),
        ObservationFixed(handle=10, data=bytes.fromhex(pulse) + STAMP),
    )
    return (PersonScan(person=None, fixed=fixed),)


def apdus(data: bytes) -> list[Apdu]:
    """All APDUs in some bytes."""
    found = []
    while data:
        size = 4 + int.from_bytes(data[2:4], "big")
        found.append(decode_apdu(data[:size]))
        data = data[size:]
    return found


K = TypeVar("K")


def only(kind: type[K], events: Iterable[object]) -> list[K]:
    return [event for event in events if isinstance(event, kind)]


class Joined:
    """An agent and a manager, joined by a wire; the manager's caller confirms what is durable at once."""

    def __init__(self, agent: Agent, manager: Manager, wire: Callable[[bytes], Iterable[bytes]] | None = None) -> None:
        self.agent, self.manager = agent, manager
        self.wire = wire or (lambda data: (data,))
        self.of_agent: list[Happening] = []
        self.of_manager: list[Happening] = []
        self.said: list[tuple[str, bytes]] = []
        self.now = NOW
        self.durable = True

    def connect(self) -> None:
        self.of_manager += self.manager.connected(self.now)
        self.of_agent += self.agent.connected(self.now)
        self.run()

    def run(self) -> None:
        """Carry bytes until both are silent."""
        for _ in range(1000):
            to_manager, to_agent = self.agent.to_send(), self.manager.to_send()
            if not to_manager and not to_agent:
                return
            self.said += [("A>M", to_manager)] if to_manager else []
            self.said += [("M>A", to_agent)] if to_agent else []
            for portion in self.wire(to_manager) if to_manager else ():
                self._to_manager(portion)
            for portion in self.wire(to_agent) if to_agent else ():
                self.of_agent += self.agent.receive(portion, self.now)
        raise AssertionError("the two sides never fall silent")

    def _to_manager(self, data: bytes) -> None:
        events = self.manager.receive(data, self.now)
        self.of_manager += events
        for event in events:
            if self.durable and isinstance(event, Reported | SegmentData) and event.confirmed:
                self.of_manager += self.manager.confirm(event, self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.of_agent += self.agent.expire(self.now)
        self.of_manager += self.manager.expire(self.now)
        self.run()

    def measurements(self) -> list[Measurement]:
        return [each for event in only(Reported, self.of_manager) for each in event.measurements]


def joined(*configurations: Configuration, number: int = 10404, **more: object) -> Joined:
    pair = Joined(Agent(profile(*configurations, number=number)), Manager(MANAGER_ID, **more))  # type: ignore[arg-type]
    pair.connect()
    return pair


def sample_data(declared: DimObject) -> bytes:
    """An observation of an object as its value map lays it out: zeros, and a time."""
    entries = declared.value_map
    assert entries is not None
    data = b""
    for entry in entries:
        if entry.attribute == Attr.NU_CMPD_VAL_OBS_BASIC:
            data += (3).to_bytes(2, "big") + (6).to_bytes(2, "big") + bytes(6)
        elif entry.attribute == Attr.SIMP_SA_OBS_VAL:
            data += (entry.size - 2).to_bytes(2, "big") + bytes(entry.size - 2)
        elif entry.attribute == Attr.TIME_STAMP_ABS:
            data += STAMP
        else:
            data += bytes(entry.size)
    return data
