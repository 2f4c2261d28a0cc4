"""What a session tells its caller. Everything that happened is one of these; nothing is logged and nothing is silent."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wire.errors import DecodeError
from wire.measurement import DeviceTime, Measurement
from wire.x73.apdu import Attribute, PhdAssociation
from wire.x73.codes import Attr, MdsTime
from wire.x73.dim import Configuration
from wire.x73.mder import Tolerated
from wire.x73.reports import ScanReport
from wire.x73.services import DataRequest, MdsTimeInfo, SegmentDataDescr, SegmentInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The transport is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnected:
    """The transport is gone. `associated`: in the middle of an association, and so without a release."""

    associated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Associated:
    """The association stands; with `known` False its configuration is still to come."""

    peer: PhdAssociation
    known: bool
    test: bool
    """A test association: nothing in it is patient data."""

    @property
    def system_id(self) -> bytes:
        """The peer's."""
        return self.peer.system_id

    @property
    def config_id(self) -> int:
        """Which configuration the agent announced; 0 from a manager."""
        return self.peer.config_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """No association: our refusal of an agent, or a manager's of us."""

    result: int
    by_peer: bool
    peer: PhdAssociation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """The configuration is agreed. The caller may keep it under (system-id, config-id).

    `configuration.encode()` is the agent's configuration report, byte for byte.
    """

    system_id: bytes
    configuration: Configuration
    reported: bool
    """The agent reported it just now; else it was known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigRefused:
    """A configuration was refused: ours by the manager, or an agent's by us with the fault in it."""

    config_id: int
    result: int
    fault: DecodeError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributesRead:
    """A GET's answer: the attributes of the MDS (handle 0) or of a PM-store, and their list as it stood in the APDU."""

    handle: int
    attributes: Mapping[int, bytes]
    encoded: bytes = b""

    @property
    def wants_time(self) -> bool:
        """The agent asks to have its clock set."""
        return bool(self._time_state & MdsTime.MGR_SET_TIME)

    @property
    def settable(self) -> bool:
        """The agent's clock can be set."""
        return bool(self._time_state & MdsTime.SET_CLOCK)

    @property
    def _time_state(self) -> int:
        try:
            return MdsTimeInfo.decode(self.attributes.get(Attr.MDS_TIME_INFO, b"")).state
        except DecodeError:
            return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A scan report. If it is `confirmed`, the agent waits: call `Manager.confirm` once its bytes are durable.

    `measurements` never holds test or demonstration data; those are in `test_measurements`. `fault` says why the
    report could not be understood; its bytes are evidence all the same.
    """

    apdu: bytes
    report: ScanReport
    confirmed: bool
    invoke_id: int
    measurements: tuple[Measurement, ...] = ()
    test_measurements: tuple[Measurement, ...] = ()
    fault: DecodeError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """A message whose inside does not follow the standard, while its lengths agree; refused if it was confirmed."""

    apdu: bytes
    fault: DecodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """What the segments of a PM-store hold."""

    handle: int
    segments: tuple[SegmentInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStarted:
    """The agent's answer to the request for a segment; 0 means that its data follow."""

    handle: int
    instance: int
    result: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentData:
    """Entries of a segment. Confirm as with `Reported`: only what is durable.

    `segment` is what the listing said of it, without which the entries mean nothing; None if it was not listed.
    """

    apdu: bytes
    handle: int
    descr: SegmentDataDescr
    entries: bytes
    invoke_id: int
    confirmed: bool
    measurements: tuple[Measurement, ...] = ()
    test_measurements: tuple[Measurement, ...] = ()
    fault: DecodeError | None = None
    segment: SegmentInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentTransferred:
    """The last entry of a segment is confirmed: it may be cleared."""

    handle: int
    instance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentCleared:
    """A segment is gone from the agent's store."""

    handle: int
    instance: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerSwitched:
    """A scanner's operational state as the agent returned it, or as the manager set it."""

    handle: int
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSet:
    """The agent's clock was set."""

    time: DeviceTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequested:
    """A manager started or stopped manager-initiated reports (agent), or the agent answered (manager)."""

    request: DataRequest | None = None
    result: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfirmed:
    """The manager has an event report."""

    invoke_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The peer refused a request: roer (`error`) or rorj (`problem`)."""

    request: str
    handle: int
    error: int | None = None
    problem: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned:
    """Something was let pass; see `Tolerance`."""

    tolerated: Tolerated


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The association ended in order."""

    by_peer: bool
    reason: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Aborted:
    """The association ended without order."""

    by_peer: bool
    reason: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLost:
    """The byte stream cannot be followed any more: close the transport."""

    fault: DecodeError = field(compare=False)


Happening = (
    Connected
    | Disconnected
    | Associated
    | Rejected
    | Configured
    | ConfigRefused
    | AttributesRead
    | Reported
    | Malformed
    | Segments
    | TransferStarted
    | SegmentData
    | SegmentTransferred
    | SegmentCleared
    | ScannerSwitched
    | TimeSet
    | DataRequested
    | ReportConfirmed
    | Failed
    | Warned
    | Released
    | Aborted
    | StreamLost
)


def by_id(attributes: tuple[Attribute, ...]) -> dict[int, bytes]:
    """Attributes by id; of a repeated one the last counts."""
    return {attribute.id: attribute.value for attribute in attributes}
