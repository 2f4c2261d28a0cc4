"""Recorded associations: from APDUs, whoever said them, to what they mean. For evidence, for benches, for people.

A `Transcript` takes no part: it sends nothing, waits for nothing and judges no state. It learns the configuration from
the association request or from the configuration report, as a manager would, and understands the reports after it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wire.errors import DecodeError
from wire.measurement import Measurement
from wire.x73.apdu import (
    EVENT_INFO_AT,
    Aarq,
    ActResult,
    Apdu,
    EventReport,
    GetResult,
    Prst,
    association_of,
    decode_apdu,
)
from wire.x73.codes import MDS_HANDLE, Action, FunctionalUnits, Noti
from wire.x73.dim import Configuration
from wire.x73.events import by_id
from wire.x73.mder import Tolerated
from wire.x73.reports import REPORT_KINDS, ConfigReport, decode_info, decode_report
from wire.x73.services import SegmentDataEvent, SegmentInfoList, decode_response
from wire.x73.specializations import STANDARD
from wire.x73.understanding import Understanding, Understood


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One APDU of a recording."""

    apdu: Apdu | None
    """None: it could not be decoded at all."""
    measurements: tuple[Measurement, ...] = ()
    test_measurements: tuple[Measurement, ...] = ()
    tolerated: tuple[Tolerated, ...] = ()
    fault: DecodeError | None = None


class Transcript:
    """Follows one recording, APDU by APDU."""

    def __init__(
        self,
        *,
        configuration: Configuration | None = None,
        known: Callable[[bytes, int], Configuration | None] | None = None,
        standard: Mapping[int, Configuration] = STANDARD,
    ) -> None:
        self.system_id: bytes | None = None
        self._known = known
        self._standard = standard
        self._test = False
        self._associated = False
        self._reported: dict[tuple[bytes, int], Configuration] = {}
        """By (system-id, config-id): an agent that associates again does not report it again."""
        self._understanding = Understanding()
        if configuration is not None:
            self._understanding.configure(configuration, test=False)

    @property
    def configuration(self) -> Configuration | None:
        """The configuration under which reports are understood now."""
        return self._understanding.configuration

    def hear(self, raw: bytes) -> Heard:
        """The next APDU. A fault is an outcome and not an exception: the recording goes on after it."""
        tolerated: list[Tolerated] = []
        try:
            apdu = decode_apdu(raw, tolerated)
        except DecodeError as error:
            return Heard(apdu=None, tolerated=tuple(tolerated), fault=error)
        try:
            understood = self._follow(apdu, tolerated)
        except DecodeError as error:
            understood = Understood(fault=error)
        return Heard(
            apdu=apdu,
            measurements=understood.measurements,
            test_measurements=understood.test_measurements,
            tolerated=(*tolerated, *self._understanding.warnings()),
            fault=understood.fault,
        )

    def _follow(self, apdu: Apdu, tolerated: list[Tolerated]) -> Understood:
        if isinstance(apdu, Aarq):
            self._associate(apdu)
        elif isinstance(apdu, Prst):
            message = apdu.message
            if isinstance(message, EventReport):
                return self._event(message, tolerated)
            if isinstance(message, GetResult) and message.handle == MDS_HANDLE:
                self._understanding.read_mds(by_id(message.attributes))
            elif isinstance(message, ActResult) and message.action_type == Action.SEG_GET_INFO:
                segments = SegmentInfoList.decode(message.args).segments
                self._understanding.list_segments(message.handle, segments)
            elif isinstance(message, ActResult) and message.action_type == Action.DATA_REQUEST:
                answered = decode_response(message, tolerated)
                if answered is not None:
                    return self._understanding.report(answered)
        return Understood()

    def _associate(self, aarq: Aarq) -> None:
        peer = association_of(aarq)
        if peer is None:
            return
        self.system_id = peer.system_id
        self._test = bool(peer.functional_units & FunctionalUnits.CREATE_TEST_ASSOC)
        configuration = self._standard.get(peer.config_id) or self._reported.get((peer.system_id, peer.config_id))
        if configuration is None and self._known is not None:
            configuration = self._known(peer.system_id, peer.config_id)
        if configuration is not None:
            self._understanding.configure(configuration, test=self._test)
        elif self._associated:
            # Another agent's configuration would give its reports a wrong meaning.
            self._understanding.end()
        else:
            # The caller's configuration, if there is one: the recording may have begun after the agent's report of it.
            self._understanding.test = self._test
        self._associated = True

    def _event(self, message: EventReport, tolerated: list[Tolerated]) -> Understood:
        if message.event_type == Noti.CONFIG:
            report = decode_info(ConfigReport, message.info, tolerated, EVENT_INFO_AT)
            configuration = Configuration.of(report)
            if self.system_id is not None:
                self._reported[self.system_id, configuration.config_id] = configuration
            self._understanding.configure(configuration, test=self._test)
            return Understood()
        if message.event_type == Noti.SEGMENT_DATA:
            data = decode_info(SegmentDataEvent, message.info, tolerated, EVENT_INFO_AT)
            return self._understanding.segment(message.handle, data)
        if message.event_type in REPORT_KINDS:
            scan = decode_report(message.event_type, message.handle, message.info, tolerated, EVENT_INFO_AT)
            return self._understanding.report(scan)
        raise DecodeError(f"no event report has the type {message.event_type}", EVENT_INFO_AT - 4)
