"""What single devices do otherwise than their standard says: one row each, with where the fact is from.

A row says how a device is known and what to do about it, and nothing of what it does like all others. `quirk_for`
merges all rows that match, in the order of the table, so a firmware's row stands after its family's. A new device is
one row and its vectors or flow test (docs/devices.md); no other code knows a device by name.

This is data only: the hub reads it while it collects, so nothing that decodes is imported here.
"""

from collections.abc import Collection
from typing import Final, NamedTuple


class Quirk(NamedTuple):
    """How a device is known, what to do, and how we know it.

    It is known by any of `names` (a part of the advertised name), `models` (the begin of the model number) or
    `services`; where a row gives a `manufacturer` (a part of its name), a device that states another one is not meant.
    `firmwares` (whole strings), where given, must hold too. Capitals do not matter. An action that keeps its default
    asks for nothing.
    """

    name: str = ""
    names: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    services: tuple[int | bytes, ...] = ()
    manufacturer: str = ""
    firmwares: tuple[str, ...] = ()

    # For the hub
    clock: str = ""
    """`write-2a08` or `write-2a2b`: in each session before subscribing; `write-if-off-by:600`: the Current Time, once a
    session and only where it is so many seconds off; `none`: never; empty: as with any other device."""
    settle_ms: int = 0
    """Wait so long before the clock is written, and again before subscribing."""
    quiet_s: float = 0
    """The session ends so long after the last value; 0: after the hub's own time."""
    ignore_after_s: float = 0
    """After a session it goes on advertising and has nothing to say: do not connect for so long."""
    bond: str = "keep"
    """`drop`: it keeps one peer, and its bond is good for one session."""
    measures: tuple[int | bytes, ...] = ()
    """Characteristics of its own with measurements, to subscribe to beside the standard ones."""

    # For the decoders
    big_endian: tuple[str, ...] = ()
    """Fields that come most significant byte first."""
    unflagged: tuple[str, ...] = ()
    """Fields that come although their flag is not set."""
    zero_is_absent: tuple[str, ...] = ()
    """Fields in which 0 means `not measured`."""
    stale_without_sensor: bool = False
    """With the sensor off the user it goes on sending its last numbers: they are questionable."""
    clock_since: int = 0
    """A time before this year is of a clock that runs from the factory's date: nobody has set it."""
    note: str = ""
    """What it does that asks for nothing here, for who meets it."""

    evidence: str = ""
    """Repository and file, or what was measured."""


NONIN_SERVICE: Final = bytes.fromhex("46A970E00D5F11E28B5E0002A5D5C51B")
NONIN_OXIMETRY: Final = bytes.fromhex("0AAD7EA00D6011E28E3C0002A5D5C51B")
"""Nonin's own service, and its characteristic with one value a second."""
AND_SERVICE: Final = bytes.fromhex("233BF0005A341B6D975C000D5690ABE4")
"""A&D's own service, which each of its devices has beside the standard one."""
AND_WEIGHT_SERVICE: Final = bytes.fromhex("234341001FE41EFF80CB00FF78297D8B")
AND_WEIGHT: Final = bytes.fromhex("234341011FE41EFF80CB00FF78297D8B")
"""The service that A&D scales had before there was a Weight Scale Service, and its measurement."""

QUIRKS: Final[tuple[Quirk, ...]] = (
    Quirk(
        name="A&D with Bluetooth LE",
        names=("UA-651BLE", "UA-656BLE", "UC-352BLE", "UT-201BLE", "UT201BLE"),
        models=("UA-651BLE", "UA-656BLE", "UC-352BLE", "UT-201BLE", "UT201BLE"),
        services=(AND_SERVICE, AND_WEIGHT_SERVICE),
        clock="write-2a08",
        settle_ms=100,
        quiet_s=2,
        ignore_after_s=40,
        measures=(AND_WEIGHT,),
        evidence="weliem/blessed-bluez testapp BluetoothHandler.java: end of pairing, 2 s, 40 s, notifications off;"
        " VitalyPerm/KotlinTonometer TonometerService.kt, after A&D's own sample: clock in each session, 100 ms;"
        " jp.co.aandd.bleSimpleApp AndCustomWeightScaleMeasurement.java, ADGattUUID.java: the scale's own service, and that"
        " of all; obniz/obniz parts/Ble/UT201BLE: a name without its dash; bp_bridge.py v15, after A&D's specification of the"
        " UA-656BLE: clock and indications within 5 s, or it keeps its readings",
    ),
    Quirk(
        name="A&D, firmware that is quick to answer",
        firmwares=("BLP008_d016", "BLP008_d017", "HTP008_134", "CWSP008_108", "CWSP008_110", "WSP001_201"),
        settle_ms=40,
        evidence="VitalyPerm/KotlinTonometer TonometerService.kt, after A&D's own sample: firm_revision_group1",
    ),
    Quirk(
        name="Omron with Bluetooth LE",
        names=("BLESmart_",),
        clock="write-if-off-by:600",
        bond="drop",
        evidence="weliem/blessed-android BluetoothHandler.java: the clock; StanfordSpezi/SpeziDevices SpeziOmron: names,"
        " records by sequence number; reference protocol.md 8: one peer, one session a bond",
    ),
    Quirk(
        name="Nonin 3230",
        names=("Nonin3230", "Nonin3150"),
        services=(NONIN_SERVICE,),
        measures=(NONIN_OXIMETRY,),
        evidence="Nonin's own iOS sample NONIN3230 Mini, PulseOximeterClass.m: service, characteristic, one value a second",
    ),
    Quirk(
        name="Beurer BM85",
        names=("BM85", "BM48", "ELITE900"),
        models=("BM85", "BM48"),
        big_endian=("pulse", "status"),
        unflagged=("user",),
        zero_is_absent=("mean",),
        evidence="derdilla/blood-pressure-monitor-fl ble_measurement_data_test.dart: four values of a real BM85;"
        " Zyzto/Janan gatt_blood_pressure_profile.dart: the sister models",
    ),
    Quirk(
        name="ChoiceMMed oximeter",
        names=("MD300C", "e-Oximeter"),
        models=("MD300C",),
        zero_is_absent=("SpO2", "pulse"),
        stale_without_sensor=True,
        evidence="thomast8/breath-synth PM100DeviceTests.swift, frames of a Medisana PM100 (MD300C208S): 0 without a"
        " finger, stale numbers at first; reference protocol.md 8: clock not set, with a stale date",
    ),
    Quirk(
        name="TaiDoc TD-1241 thermometer",
        names=("TAIDOC TD1241",),
        ignore_after_s=40,
        evidence="weliem/pi-health-hub PeripheralExtensions.kt, reconnectionDelay",
    ),
    Quirk(
        name="Indie Health scale",
        names=("51-102",),
        ignore_after_s=23,
        evidence="weliem/pi-health-hub PeripheralExtensions.kt, reconnectionDelay",
    ),
    Quirk(
        name="Philips ear thermometer",
        names=("Philips ear thermometer", "SCH740"),
        ignore_after_s=25,
        evidence="weliem/pi-health-hub PeripheralExtensions.kt, reconnectionDelay",
    ),
    Quirk(
        name="A&D UA-767PBT-C",
        names=("UA-767PBT",),
        models=("UA-767PBT",),
        manufacturer="A&D",
        note="pressure and pulse come in reports of their own, stored and live mixed, in no order: each is evidence by"
        " itself, and the same time stands in both",
        evidence="silverbullet-dk/opentele-client-android device/andbloodpressure: pressure and pulse in reports of their own",
    ),
    Quirk(
        name="A&D UC-321PBT-C",
        names=("UC-321PBT",),
        models=("UC-321PBT",),
        manufacturer="A&D",
        note="variable reports, whose observations say their unit themselves (kg or lb), whatever the configuration says",
        evidence="silverbullet-dk/opentele-client-android device/andweightscale",
    ),
    Quirk(
        name="Nonin 9560",
        names=("Nonin_Medical_Inc.",),
        models=("9560", "Model 9560"),
        manufacturer="Nonin",
        # It counts from 1 October 2007 when the battery is new, and was first sold in 2010.
        clock_since=2010,
        ignore_after_s=15,
        evidence="silverbullet-dk/opentele-client-android@f63520f NoninPacketCollectorTest.java: a reading of 2007-10-01;"
        " device/nonin: no new connection for 15 s",
    ),
)
"""In this order; what a later row says holds."""

_DEFAULT: Final = Quirk()
_FIRST_ACTION: Final = Quirk._fields.index("clock")
_EVIDENCE: Final = Quirk._fields.index("evidence")


def quirk_for(
    *, name: str, manufacturer: str = "", model: str = "", firmware: str = "", services: Collection[int | bytes] = ()
) -> Quirk:
    """All that the table asks for with this device, in one row; the default Quirk where that is nothing.

    Ask with the advertised name before connecting, and again with what the device says of itself once it is read.
    """
    told = _Told(name.casefold(), manufacturer.casefold(), *(text.strip().casefold() for text in (model, firmware)))
    rows = [row for row in QUIRKS if _meant(row, told, services)]
    if len(rows) < 2:
        return rows[0] if rows else _DEFAULT
    merged = list(_DEFAULT)
    for row in rows:
        for index in range(_FIRST_ACTION, _EVIDENCE):
            if row[index] != _DEFAULT[index]:
                merged[index] = row[index]
    merged[0], merged[_EVIDENCE] = (
        "; ".join(texts) for texts in zip(*((r.name, r.evidence) for r in rows), strict=True)
    )
    return Quirk._make(merged)


class _Told(NamedTuple):
    """What a device says of itself, without capitals."""

    name: str
    manufacturer: str
    model: str
    firmware: str


def _meant(row: Quirk, told: _Told, services: Collection[int | bytes]) -> bool:
    if told.manufacturer and row.manufacturer.casefold() not in told.manufacturer:
        return False
    if row.firmwares and told.firmware not in [firmware.casefold() for firmware in row.firmwares]:
        return False
    if not (row.names or row.models or row.services):
        return True
    return (
        any(part.casefold() in told.name for part in row.names)
        or any(told.model.startswith(model.casefold()) for model in row.models)
        or any(service in services for service in row.services)
    )
