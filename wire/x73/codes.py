"""The 16-bit terms that the protocol itself is made of (partition 1, object infrastructure), by the standard's names.

Checked against antidote `src/dim/nomenclature.h`, LibreSoft OpenHealth `Nomenclature.java` and the tables of facts
behind docs/wire.md; base-offset time against two further nomenclature files (2689, 2690, action 3101).
"""

from enum import IntEnum, IntFlag
from typing import Final


class Partition(IntEnum):
    """Nomenclature partitions (A.2.5)."""

    UNSPECIFIED = 0
    OBJ = 1
    SCADA = 2
    EVT = 3
    DIM = 4
    INFRA = 8
    PHD_DM = 128
    PHD_HF = 129
    PHD_AI = 130
    RET_CODE = 255


class ObjectClass(IntEnum):
    """Classes of the domain information model (MDC_MOC_*)."""

    METRIC_ENUM = 5
    METRIC_NU = 6
    METRIC_SA_RT = 9
    SCAN = 16
    SCAN_CFG = 17
    SCAN_CFG_EPI = 18
    SCAN_CFG_PERI = 19
    VMS_MDS_SIMP = 37
    PMSTORE = 61
    PM_SEGMENT = 62


class Attr(IntEnum):
    """Attributes (MDC_ATTR_*)."""

    CONFIRM_MODE = 2323
    CONFIRM_TIMEOUT = 2324
    ID_HANDLE = 2337
    ID_INSTNO = 2338
    ID_LABEL_STRING = 2343
    ID_MODEL = 2344
    ID_PHYSIO = 2347
    ID_PROD_SPECN = 2349
    ID_TYPE = 2351
    METRIC_STORE_CAPAC_CNT = 2369
    METRIC_STORE_SAMPLE_ALG = 2371
    METRIC_STORE_USAGE_CNT = 2372
    MSMT_STAT = 2375
    NU_ACCUR_MSMT = 2378
    NU_CMPD_VAL_OBS = 2379
    NU_VAL_OBS = 2384
    NUM_SEG = 2385
    OP_STAT = 2387
    POWER_STAT = 2389
    SA_SPECN = 2413
    SCALE_SPECN_I16 = 2415
    SCALE_SPECN_I32 = 2416
    SCALE_SPECN_I8 = 2417
    SCAN_REP_PD = 2421
    SEG_USAGE_CNT = 2427
    SYS_ID = 2436
    SYS_TYPE = 2438
    TIME_ABS = 2439
    TIME_BATT_REMAIN = 2440
    TIME_END_SEG = 2442
    TIME_PD_SAMP = 2445
    TIME_REL = 2447
    TIME_STAMP_ABS = 2448
    TIME_STAMP_REL = 2449
    TIME_START_SEG = 2450
    TX_WIND = 2453
    UNIT_CODE = 2454
    UNIT_LABEL_STRING = 2457
    VAL_BATT_CHARGE = 2460
    VAL_ENUM_OBS = 2462
    TIME_REL_HI_RES = 2536
    TIME_STAMP_REL_HI_RES = 2537
    DEV_CONFIG_ID = 2628
    MDS_TIME_INFO = 2629
    METRIC_SPEC_SMALL = 2630
    SOURCE_HANDLE_REF = 2631
    SIMP_SA_OBS_VAL = 2632
    ENUM_OBS_VAL_SIMP_OID = 2633
    ENUM_OBS_VAL_SIMP_STR = 2634
    REG_CERT_DATA_LIST = 2635
    NU_VAL_OBS_BASIC = 2636
    PM_STORE_CAPAB = 2637
    PM_SEG_MAP = 2638
    PM_SEG_PERSON_ID = 2639
    SEG_STATS = 2640
    SEG_FIXED_DATA = 2641
    PM_SEG_ELEM_STAT_ATTR = 2642
    SCAN_HANDLE_ATTR_VAL_MAP = 2643
    SCAN_REP_PD_MIN = 2644
    ATTRIBUTE_VAL_MAP = 2645
    NU_VAL_OBS_SIMP = 2646
    PM_STORE_LABEL_STRING = 2647
    PM_SEG_LABEL_STRING = 2648
    TIME_PD_MSMT_ACTIVE = 2649
    SYS_TYPE_SPEC_LIST = 2650
    METRIC_ID_PART = 2655
    ENUM_OBS_VAL_PART = 2656
    SUPPLEMENTAL_TYPES = 2657
    TIME_ABS_ADJUST = 2658
    CLEAR_TIMEOUT = 2659
    TRANSFER_TIMEOUT = 2660
    ENUM_OBS_VAL_SIMP_BIT_STR = 2661
    ENUM_OBS_VAL_BASIC_BIT_STR = 2662
    METRIC_STRUCT_SMALL = 2675
    NU_CMPD_VAL_OBS_SIMP = 2676
    NU_CMPD_VAL_OBS_BASIC = 2677
    ID_PHYSIO_LIST = 2678
    SCAN_HANDLE_LIST = 2679
    TIME_BO = 2689
    TIME_STAMP_BO = 2690
    TIME_START_SEG_BO = 2691
    TIME_END_SEG_BO = 2692


class Action(IntEnum):
    """Actions (MDC_ACT_*)."""

    SEG_CLR = 3084
    SEG_GET_INFO = 3085
    SET_TIME = 3095
    DATA_REQUEST = 3099
    SEG_TRIG_XFER = 3100
    SET_BO_TIME = 3101


class Noti(IntEnum):
    """Event reports (MDC_NOTI_*)."""

    CONFIG = 3356
    SCAN_REPORT_FIXED = 3357
    SCAN_REPORT_VAR = 3358
    SCAN_REPORT_MP_FIXED = 3359
    SCAN_REPORT_MP_VAR = 3360
    SEGMENT_DATA = 3361
    UNBUF_SCAN_REPORT_VAR = 3362
    UNBUF_SCAN_REPORT_FIXED = 3363
    UNBUF_SCAN_REPORT_GROUPED = 3364
    UNBUF_SCAN_REPORT_MP_VAR = 3365
    UNBUF_SCAN_REPORT_MP_FIXED = 3366
    UNBUF_SCAN_REPORT_MP_GROUPED = 3367
    BUF_SCAN_REPORT_VAR = 3368
    BUF_SCAN_REPORT_FIXED = 3369
    BUF_SCAN_REPORT_GROUPED = 3370
    BUF_SCAN_REPORT_MP_VAR = 3371
    BUF_SCAN_REPORT_MP_FIXED = 3372
    BUF_SCAN_REPORT_MP_GROUPED = 3373


class FunctionalUnits(IntFlag):
    """FunctionalUnits (A.8)."""

    UNIDIRECTIONAL = 0x8000_0000
    HAVE_TEST_CAP = 0x4000_0000
    CREATE_TEST_ASSOC = 0x2000_0000


class MetricSpec(IntFlag):
    """MetricSpecSmall (A.11.3)."""

    AVAIL_INTERMITTENT = 0x8000
    AVAIL_STORED_DATA = 0x4000
    UPD_APERIODIC = 0x2000
    MSMT_APERIODIC = 0x1000
    MSMT_PHYS_EV_ID = 0x0800
    MSMT_BTB_METRIC = 0x0400
    ACC_MANAGER_INITIATED = 0x0080
    ACC_AGENT_INITIATED = 0x0040
    CAT_MANUAL = 0x0008
    CAT_SETTING = 0x0004
    CAT_CALCULATION = 0x0002


class MdsTime(IntFlag):
    """MdsTimeCapState (A.11.2); the base-offset bits as HL7's PHD guide lists them (68219.7)."""

    REAL_TIME_CLOCK = 0x8000
    SET_CLOCK = 0x4000
    RELATIVE_TIME = 0x2000
    HIGH_RES_RELATIVE_TIME = 0x1000
    SYNC_ABS_TIME = 0x0800
    SYNC_REL_TIME = 0x0400
    SYNC_HI_RES_RELATIVE_TIME = 0x0200
    BO_TIME = 0x0100
    ABS_TIME_SYNCED = 0x0080
    REL_TIME_SYNCED = 0x0040
    HI_RES_RELATIVE_TIME_SYNCED = 0x0020
    MGR_SET_TIME = 0x0010


class SegmentStatus(IntFlag):
    """SegmEvtStatus (A.11.7)."""

    FIRST_ENTRY = 0x8000
    LAST_ENTRY = 0x4000
    AGENT_ABORT = 0x0800
    MANAGER_CONFIRM = 0x0080
    MANAGER_ABORT = 0x0008


class DataReqMode(IntFlag):
    """DataReqMode (A.11.5)."""

    START_STOP = 0x8000
    CONTINUATION = 0x4000
    SCOPE_ALL = 0x0800
    SCOPE_TYPE = 0x0400
    SCOPE_HANDLE = 0x0200
    MODE_SINGLE_RSP = 0x0080
    MODE_TIME_PERIOD = 0x0040
    MODE_TIME_NO_LIMIT = 0x0020
    PERSON_ID = 0x0008


class DataReqFlags(IntFlag):
    """DataReqModeFlags (A.8): what an agent says in its association request of manager-initiated reports."""

    SUPP_STOP = 0x8000
    SUPP_SCOPE_ALL = 0x0800
    SUPP_SCOPE_CLASS = 0x0400
    SUPP_SCOPE_HANDLE = 0x0200
    SUPP_MODE_SINGLE_RSP = 0x0080
    SUPP_MODE_TIME_PERIOD = 0x0040
    SUPP_MODE_TIME_NO_LIMIT = 0x0020
    SUPP_PERSON_ID = 0x0010
    SUPP_INIT_AGENT = 0x0001


MDS_HANDLE = 0
NO_RELATIVE_TIME = 0xFFFF_FFFF
AGENT_INITIATED = 0xF000
UNKNOWN_PERSON = 0xFFFF
"""A.11.3: the agent does not know whose value it is."""
LASTING: Final = frozenset(
    {
        Attr.ID_TYPE,
        Attr.ID_PHYSIO,
        Attr.ID_PHYSIO_LIST,
        Attr.METRIC_ID_PART,
        Attr.ENUM_OBS_VAL_PART,
        Attr.UNIT_CODE,
        Attr.SUPPLEMENTAL_TYPES,
        Attr.METRIC_SPEC_SMALL,
        Attr.SA_SPECN,
        Attr.SCALE_SPECN_I8,
        Attr.SCALE_SPECN_I16,
        Attr.SCALE_SPECN_I32,
        Attr.TIME_PD_SAMP,
        Attr.ATTRIBUTE_VAL_MAP,
    }
)
"""What describes an object, as against one observation of it."""


def code32(partition: int, term: int) -> int:
    """The 32-bit code of a term."""
    return partition << 16 | term
