"""Reports that must be asked for: MDC_ACT_DATA_REQUEST of an agent that sends none by itself (20601 7.4.3, A.11.5).

Asked for is the longest that the agent offers: without end, else for a time that is prolonged before it is over, else
one answer per association; of everything, else of all its metrics by handle, else of its numeric ones.
"""

from dataclasses import replace
from typing import Final

from wire.x73.apdu import PhdAssociation
from wire.x73.codes import Attr, DataReqFlags, DataReqMode, MetricSpec, ObjectClass
from wire.x73.dim import METRICS, Configuration
from wire.x73.mder import U16
from wire.x73.services import DataRequest

PERIOD_S: Final = 60
"""How long a timed request lasts if it is not prolonged: an agent whose hub died measures for nobody no longer."""
CONTINUE_S: Final = 40.0
_TICKS: Final = 8000
"""Of a RelativeTime in a second."""
_REQUEST_ID: Final = 1
"""Manager-initiated ones are 0000 to EFFF; an association has one."""


def first_request(peer: PhdAssociation, configuration: Configuration) -> DataRequest | None:
    """What to start; None if the agent reports by itself, or cannot be asked. `time` is 0 if it needs no prolonging."""
    flags = DataReqFlags(peer.data_req_mode_flags)
    if not peer.data_req_init_manager_count or _by_itself(peer, flags, configuration):
        return None
    if flags & DataReqFlags.SUPP_MODE_TIME_NO_LIMIT:
        mode, time = DataReqMode.MODE_TIME_NO_LIMIT, 0
    elif flags & DataReqFlags.SUPP_MODE_TIME_PERIOD:
        mode, time = DataReqMode.MODE_TIME_PERIOD, PERIOD_S * _TICKS
    elif flags & DataReqFlags.SUPP_MODE_SINGLE_RSP:
        mode, time = DataReqMode.MODE_SINGLE_RSP, 0
    else:
        return None
    request = DataRequest(data_req_id=_REQUEST_ID, mode=int(DataReqMode.START_STOP | mode), time=time)
    metrics = configuration.of_class(*METRICS)
    if flags & DataReqFlags.SUPP_SCOPE_ALL:
        return replace(request, mode=request.mode | DataReqMode.SCOPE_ALL)
    if flags & DataReqFlags.SUPP_SCOPE_HANDLE:
        handles = tuple(metric.handle for metric in metrics)
        return replace(request, mode=request.mode | DataReqMode.SCOPE_HANDLE, handles=handles)
    if flags & DataReqFlags.SUPP_SCOPE_CLASS:
        return replace(request, mode=request.mode | DataReqMode.SCOPE_TYPE, object_class=int(ObjectClass.METRIC_NU))
    return None


def continued(request: DataRequest) -> DataRequest:
    """The same for another period. START_STOP stays set: without it a request stops what it names."""
    return replace(request, mode=request.mode | DataReqMode.CONTINUATION)


def _by_itself(peer: PhdAssociation, flags: DataReqFlags, configuration: Configuration) -> bool:
    """Whether reports come unasked: from a scanner, or as the request or the metrics say."""
    if configuration.scanners:
        return True
    access = MetricSpec(0)
    for metric in configuration.of_class(*METRICS):
        access |= MetricSpec(metric.value(Attr.METRIC_SPEC_SMALL, U16, 0))
    if access & (MetricSpec.ACC_AGENT_INITIATED | MetricSpec.ACC_MANAGER_INITIATED) == MetricSpec.ACC_MANAGER_INITIATED:
        return False
    return bool(flags & DataReqFlags.SUPP_INIT_AGENT or peer.data_req_init_agent_count)
