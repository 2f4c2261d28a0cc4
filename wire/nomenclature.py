"""IEEE 11073-10101 terms and units: the few that the decoders speak, by name, with their UCUM units.

A code is `partition << 16 | term`. Codes that are not here stay integers all the way through; nothing depends on this
table being complete. Checked against the open tables (HL7 PHD IG, antidote, 10406 and 10408 headers); the bit numbers
of status words are in the decoders that fill them.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class Mdc(IntEnum):
    """32-bit MDC codes; the reference identifier is `MDC_` and the name."""

    # Partition 1, infrastructure of the object model
    ATTR_SUPPLEMENTAL_TYPES = 68193

    # Partition 2, observations
    ECG_TIME_PD_RR_GL = 147240
    ECG_HEART_RATE = 147842
    PULS_OXIM_PULS_RATE = 149530
    PULS_RATE_NON_INV = 149546
    PRESS_BLD_NONINV = 150020
    PRESS_BLD_NONINV_SYS = 150021
    PRESS_BLD_NONINV_DIA = 150022
    PRESS_BLD_NONINV_MEAN = 150023
    PRESS_CUFF = 150300
    SAT_O2_QUAL = 150320
    TEMP_BODY = 150364
    TEMP_TYMP = 150392
    PULS_OXIM_SAT_O2 = 150456
    MODALITY_FAST = 150580
    MODALITY_SLOW = 150584
    MODALITY_SPOT = 150588
    PULS_OXIM_DEV_STATUS = 150604
    CONC_GLU_GEN = 160020
    CONC_GLU_CAPILLARY_WHOLEBLOOD = 160184
    CONC_GLU_CAPILLARY_PLASMA = 160188
    CONC_GLU_VENOUS_WHOLEBLOOD = 160192
    CONC_GLU_VENOUS_PLASMA = 160196
    CONC_GLU_ARTERIAL_WHOLEBLOOD = 160200
    CONC_GLU_ARTERIAL_PLASMA = 160204
    CONC_GLU_CONTROL = 160208
    CONC_GLU_ISF = 160212
    CONC_HBA1C = 160220
    CONC_GLU_UNDETERMINED_WHOLEBLOOD = 160364
    CONC_GLU_UNDETERMINED_PLASMA = 160368
    VOL_AWAY_EXP_FORCED_1S = 152586
    VOL_AWAY_EXP_FORCED_EXP_6S = 152587
    TEMP_RECT = 188420
    TEMP_ORAL = 188424
    TEMP_EAR = 188428
    TEMP_FINGER = 188432
    TEMP_TOE = 188448
    TEMP_AXILLA = 188452
    TEMP_GIT = 188456
    MASS_BODY_ACTUAL = 188736
    LEN_BODY_ACTUAL = 188740
    BODY_FAT = 188748
    RATIO_MASS_BODY_LEN_SQ = 188752
    MASS_BODY_FAT_FREE = 188756
    MASS_BODY_SOFT_LEAN = 188760
    BODY_WATER = 188764

    # Partition 2 by three open uses: the T-CABS FHIR profiles and two German tables of 10101 (terms 57864, 57888).
    RATIO_AWAY_EXP_FORCED_FEV1_FEV6 = 188936
    FLOW_AWAY_EXP_FORCED_25_75_FVC = 188960

    # Partition 4, units
    DIM_DIMLESS = 262656
    DIM_PERCENT = 262688
    DIM_X_M = 263424
    DIM_CENTI_M = 263441
    DIM_INCH = 263520
    DIM_X_L = 263744
    DIM_MILLI_L = 263762
    DIM_X_G = 263872
    DIM_KILO_G = 263875
    DIM_MILLI_G = 263890
    DIM_LB = 263904
    DIM_KG_PER_M_SQ = 264096
    DIM_MILLI_G_PER_DL = 264274
    DIM_X_SEC = 264320
    DIM_MILLI_SEC = 264338
    DIM_MIN = 264352
    DIM_HR = 264384
    DIM_DAY = 264416
    DIM_PER_MIN = 264672
    DIM_BEAT_PER_MIN = 264864
    DIM_RESP_PER_MIN = 264928
    DIM_X_L_PER_SEC = 265184
    DIM_X_L_PER_MIN = 265216
    DIM_KILO_PASCAL = 265987
    DIM_MMHG = 266016
    # 266112 (joule) with the decimal prefix kilo (+3), as in KILO_G and KILO_PASCAL.
    DIM_KILO_JOULES = 266115
    DIM_FAHR = 266560
    DIM_MILLI_MOLE_PER_L = 266866
    DIM_DEGC = 268192
    DIM_KILO_CAL = 270499

    # Partition 8, what a device is
    DEV_SPEC_PROFILE_HYDRA = 528384
    DEV_SPEC_PROFILE_PULS_OXIM = 528388
    DEV_SPEC_PROFILE_BP = 528391
    DEV_SPEC_PROFILE_TEMP = 528392
    DEV_SPEC_PROFILE_SCALE = 528399
    DEV_SPEC_PROFILE_GLUCOSE = 528401
    DEV_SPEC_PROFILE_BCA = 528404
    DEV_SPEC_PROFILE_CGM = 528409
    DEV_SUB_SPEC_PROFILE_HR = 528525

    # Partitions 128 and 129, personal health
    PHD_DM_DEV_STAT = 8408608
    BLOOD_PRESSURE_MEASUREMENT_STATUS = 8410608
    GLU_METER_DEV_STATUS = 8417752
    CTXT_GLU_EXERCISE = 8417760
    CTXT_GLU_CARB = 8417764
    CTXT_GLU_CARB_BREAKFAST = 8417768
    CTXT_GLU_CARB_LUNCH = 8417772
    CTXT_GLU_CARB_DINNER = 8417776
    CTXT_GLU_CARB_SNACK = 8417780
    CTXT_GLU_CARB_DRINK = 8417784
    CTXT_GLU_CARB_SUPPER = 8417788
    CTXT_GLU_CARB_BRUNCH = 8417792
    CTXT_MEDICATION = 8417796
    CTXT_MEDICATION_RAPIDACTING = 8417800
    CTXT_MEDICATION_SHORTACTING = 8417804
    CTXT_MEDICATION_INTERMEDIATEACTING = 8417808
    CTXT_MEDICATION_LONGACTING = 8417812
    CTXT_MEDICATION_PREMIX = 8417816
    CTXT_GLU_HEALTH = 8417820
    CTXT_GLU_HEALTH_MINOR = 8417824
    CTXT_GLU_HEALTH_MAJOR = 8417828
    CTXT_GLU_HEALTH_MENSES = 8417832
    CTXT_GLU_HEALTH_STRESS = 8417836
    CTXT_GLU_HEALTH_NONE = 8417840
    CTXT_GLU_SAMPLELOCATION = 8417844
    CTXT_GLU_SAMPLELOCATION_FINGER = 8417848
    CTXT_GLU_SAMPLELOCATION_AST = 8417852
    CTXT_GLU_SAMPLELOCATION_EARLOBE = 8417856
    CTXT_GLU_SAMPLELOCATION_CTRLSOLUTION = 8417860
    CTXT_GLU_MEAL = 8417864
    CTXT_GLU_MEAL_PREPRANDIAL = 8417868
    CTXT_GLU_MEAL_POSTPRANDIAL = 8417872
    CTXT_GLU_MEAL_FASTING = 8417876
    CTXT_GLU_MEAL_CASUAL = 8417880
    CTXT_GLU_TESTER = 8417884
    CTXT_GLU_TESTER_SELF = 8417888
    CTXT_GLU_TESTER_HCP = 8417892
    CTXT_GLU_TESTER_LAB = 8417896
    # One open table only, uncontradicted; the codes around it stand in several.
    CONC_GLU_TREND = 8418008
    CGM_DEV_STAT = 8418060
    HF_ENERGY = 8454263


_REFIDS: Mapping[int, str] = {int(code): f"MDC_{code.name}" for code in Mdc}
_CODES: Mapping[str, int] = {name: int(code) for code, name in _REFIDS.items()}

UCUM: Mapping[int, str] = MappingProxyType(
    {
        Mdc.DIM_DIMLESS: "1",
        Mdc.DIM_PERCENT: "%",
        Mdc.DIM_X_M: "m",
        Mdc.DIM_CENTI_M: "cm",
        Mdc.DIM_INCH: "[in_i]",
        Mdc.DIM_X_L: "L",
        Mdc.DIM_MILLI_L: "mL",
        Mdc.DIM_X_G: "g",
        Mdc.DIM_KILO_G: "kg",
        Mdc.DIM_MILLI_G: "mg",
        Mdc.DIM_LB: "[lb_av]",
        Mdc.DIM_KG_PER_M_SQ: "kg/m2",
        Mdc.DIM_MILLI_G_PER_DL: "mg/dL",
        Mdc.DIM_X_SEC: "s",
        Mdc.DIM_MILLI_SEC: "ms",
        Mdc.DIM_MIN: "min",
        Mdc.DIM_HR: "h",
        Mdc.DIM_DAY: "d",
        # Three MDC units are UCUM's /min, which the FHIR vital signs fix; the first is the one we say in return.
        Mdc.DIM_BEAT_PER_MIN: "/min",
        Mdc.DIM_PER_MIN: "/min",
        Mdc.DIM_RESP_PER_MIN: "/min",
        Mdc.DIM_X_L_PER_SEC: "L/s",
        Mdc.DIM_X_L_PER_MIN: "L/min",
        Mdc.DIM_KILO_PASCAL: "kPa",
        Mdc.DIM_MMHG: "mm[Hg]",
        Mdc.DIM_KILO_JOULES: "kJ",
        Mdc.DIM_FAHR: "[degF]",
        Mdc.DIM_MILLI_MOLE_PER_L: "mmol/L",
        Mdc.DIM_DEGC: "Cel",
        Mdc.DIM_KILO_CAL: "kcal",
    }
)
"""UCUM unit of each 32-bit MDC unit code."""


def refid(code: int) -> str | None:
    """The reference identifier of a code, `MDC_PULS_OXIM_SAT_O2`; None for codes that we have no name for."""
    return _REFIDS.get(code)


def code_of(name: str) -> int | None:
    """The code of a reference identifier; None for names that are not in the table."""
    return _CODES.get(name)
