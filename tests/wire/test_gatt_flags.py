"""Every combination of flags, built by a builder that shares nothing with the decoders.

Each field is packed with `struct` from a number chosen here, and the expected measurements are written down as plain
tuples beside it: code, value, unit, supplemental types, status, bits. The codes are the standard's numbers, not ours.
"""

import random
import struct
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from wire.gatt import decode
from wire.measurement import Measurement, Special

Row = tuple[int, str | None, str | None, tuple[int, ...], tuple[str, ...], frozenset[int]]

SPECIALS = {
    0x07FF: "not-a-number",
    0x07FE: "positive-infinity",
    0x0802: "negative-infinity",
    0x0800: "nres",
    0x0801: "reserved",
}
PLX_STATES = {
    5: "ongoing",
    6: "early-estimate",
    7: "validated",
    8: "fully-qualified",
    9: "stored",
    10: "demo-data",
    11: "test-data",
    12: "calibrating",
    13: "not-available",
    14: "questionable",
    15: "invalid",
}
OF_THE_RECORD = ("stored", "demo-data", "test-data")
SITES = {1: 188452, 3: 188428, 4: 188432, 5: 188456, 6: 188424, 7: 188420, 8: 188448, 9: 150392}


class Builder:
    """Packs fields one after the other and remembers what they mean."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  (test data, not keys)
        self.value = b""

    def pack(self, form: str, *numbers: int) -> None:
        self.value += struct.pack(f"<{form}", *numbers)

    def sfloat(self) -> str:
        """An SFLOAT, sometimes a special one, and how its value is written."""
        if self.random.random() < 0.1:
            raw = self.random.choice(list(SPECIALS))
            self.pack("H", raw)
            return SPECIALS[raw]
        mantissa, exponent = self.random.randint(-2045, 2045), self.random.randint(-8, 7)
        self.pack("H", (exponent % 16) * 4096 + mantissa % 4096)
        return str(Decimal(f"{mantissa}E{exponent}"))

    def float32(self) -> str:
        mantissa, exponent = self.random.randint(-8_388_605, 8_388_605), self.random.randint(-128, 127)
        self.pack("I", (exponent % 256) * 0x1000000 + mantissa % 0x1000000)
        return str(Decimal(f"{mantissa}E{exponent}"))

    def integer(self, form: str, low: int, high: int) -> int:
        number = self.random.randint(low, high)
        self.pack(form, number)
        return number

    def time(self) -> str:
        parts = (
            self.random.choice((0, 1582, 2026, 9999)),
            self.random.randint(0, 12),
            self.random.randint(0, 28),
            self.random.randint(0, 23),
            self.random.randint(0, 59),
            self.random.randint(0, 59),
        )
        self.pack("HBBBBB", *parts)
        return "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}".format(*parts)

    def word24(self) -> int:
        word = self.random.getrandbits(24)
        self.value += struct.pack("<I", word)[:3]
        return word


def row(
    code: int,
    value: str | None,
    unit: str | None,
    supplemental: tuple[int, ...] = (),
    status: tuple[str, ...] = (),
    *,
    bits: frozenset[int] = frozenset(),
) -> Row:
    return code, value, None if value in SPECIALS.values() else unit, supplemental, status, bits


def rows(measurements: tuple[Measurement, ...]) -> list[Row]:
    found: list[Row] = []
    for part in measurements:
        value = part.value.value if isinstance(part.value, Special) else None if part.value is None else str(part.value)
        assert all(part.bits.values())
        status = tuple(status.value for status in part.status)
        found.append((int(part.code), value, part.unit, part.supplemental, status, frozenset(part.bits)))
    return found


def times(measurements: tuple[Measurement, ...]) -> set[str | None]:
    return {part.device_time.isoformat() if part.device_time else None for part in measurements}


def every(count: int) -> Iterator[tuple[int, int]]:
    """Every combination of `count` defined flags, twice: with the reserved bits clear and with all of them set."""
    reserved = 0xFF & ~((1 << count) - 1)
    for flags in range(1 << count):
        yield flags, flags
        yield flags, flags | reserved


@pytest.mark.parametrize("seed", range(8))
def test_every_combination_of_spot_check_flags_yields_its_fields(seed: int) -> None:
    for flags, sent in every(5):
        builder = Builder(seed << 8 | sent)
        builder.pack("B", sent)
        spo2, pulse = builder.sfloat(), builder.sfloat()
        time = builder.time() if flags & 1 else None
        states = builder.integer("H", 0, 0xFFFF) if flags & 2 else 0
        sensor = builder.word24() if flags & 4 else 0
        status = tuple(name for bit, name in PLX_STATES.items() if states & 1 << bit)
        expected = [row(150456, spo2, "%", (150588,), status), row(149530, pulse, "/min", (150588,), status)]
        if flags & 8:
            expected.append(row(150320, builder.sfloat(), "%", (), status))
        events = frozenset(15 - bit for bit in range(16) if sensor & 1 << bit)
        if events:
            record = tuple(state for state in status if state in OF_THE_RECORD)
            expected.append(row(150604, None, None, (), record, bits=events))
        measurements = decode(0x2A5E, builder.value)
        assert expected == rows(measurements)
        assert {time} == times(measurements)
        assert {not flags & 16} == {part.clock_set for part in measurements}


@pytest.mark.parametrize("seed", range(8))
def test_every_combination_of_continuous_oximeter_flags_yields_its_fields(seed: int) -> None:
    for flags, sent in every(5):
        builder = Builder(seed << 8 | sent)
        builder.pack("B", sent)
        series = [((), builder.sfloat(), builder.sfloat())]
        for flag, modality in ((1, 150580), (2, 150584)):
            if flags & flag:
                series.append(((modality,), builder.sfloat(), builder.sfloat()))  # type: ignore[arg-type]  # grows from ()
        states = builder.integer("H", 0, 0xFFFF) if flags & 4 else 0
        sensor = builder.word24() if flags & 8 else 0
        status = tuple(name for bit, name in PLX_STATES.items() if states & 1 << bit)
        expected = []
        for modality_types, spo2, pulse in series:
            expected.append(row(150456, spo2, "%", modality_types, status))
            expected.append(row(149530, pulse, "/min", modality_types, status))
        if flags & 16:
            expected.append(row(150320, builder.sfloat(), "%", (), status))
        events = frozenset(15 - bit for bit in range(16) if sensor & 1 << bit)
        if events:
            record = tuple(state for state in status if state in OF_THE_RECORD)
            expected.append(row(150604, None, None, (), record, bits=events))
        assert expected == rows(decode(0x2A5F, builder.value))


def pressure_tail(builder: Builder, flags: int) -> tuple[str | None, str | None, int | None, frozenset[int]]:
    time = builder.time() if flags & 2 else None
    pulse = builder.sfloat() if flags & 4 else None
    user = builder.integer("B", 0, 255) if flags & 8 else 255
    word = builder.integer("H", 0, 0xFFFF) if flags & 16 else 0
    events = {bit for bit in (0, 1, 2, 5) if word & 1 << bit}
    events |= {1: {3}, 2: {4}}.get(word >> 3 & 3, set())
    return time, pulse, None if user == 255 else user, frozenset(events)


@pytest.mark.parametrize("seed", range(8))
def test_every_combination_of_blood_pressure_flags_yields_its_fields(seed: int) -> None:
    for flags, sent in every(5):
        builder = Builder(seed << 8 | sent)
        builder.pack("B", sent)
        unit = "kPa" if flags & 1 else "mm[Hg]"
        pressures = [builder.sfloat() for _ in range(3)]
        time, pulse, user, events = pressure_tail(builder, flags)
        numbers = [Decimal(text) for text in pressures[:2] if text not in SPECIALS.values()]
        questionable = ("questionable",) if len(numbers) == 2 and numbers[0] <= numbers[1] else ()
        expected = [row(150020, None, None, (), questionable)]
        if pulse is not None:
            expected.append(row(149546, pulse, "/min"))
        if events:
            expected.append(row(8410608, None, None, bits=events))
        measurements = decode(0x2A35, builder.value)
        assert expected == rows(measurements)
        codes = (150021, 150022, 150023)
        assert [row(code, text, unit) for code, text in zip(codes, pressures, strict=True)] == rows(
            measurements[0].components
        )
        assert {time} == times(measurements)
        assert {user} == {part.user for part in measurements}


def test_every_combination_of_intermediate_cuff_pressure_flags_yields_its_fields() -> None:
    for flags, sent in every(5):
        builder = Builder(sent)
        builder.pack("B", sent)
        cuff = builder.sfloat()
        builder.pack("HH", 0x07FF, 0x07FF)
        time, pulse, user, events = pressure_tail(builder, flags)
        expected = [row(150300, cuff, "kPa" if flags & 1 else "mm[Hg]", (), ("ongoing",))]
        if pulse is not None:
            expected.append(row(149546, pulse, "/min", (), ("ongoing",)))
        if events:
            expected.append(row(8410608, None, None, (), ("ongoing",), bits=events))
        measurements = decode(0x2A36, builder.value)
        assert expected == rows(measurements)
        assert {time} == times(measurements)
        assert {user} == {part.user for part in measurements}


@pytest.mark.parametrize("seed", range(8))
def test_every_combination_of_weight_flags_yields_its_fields(seed: int) -> None:
    for flags, sent in every(4):
        builder = Builder(seed << 8 | sent)
        builder.pack("B", sent)
        raw = builder.integer("H", 0, 0xFFFE)
        time = builder.time() if flags & 2 else None
        user = builder.integer("B", 0, 255) if flags & 4 else 255
        pounds, kilograms = f"{raw // 100}.{raw % 100:02}", f"{raw * 5 // 1000}.{raw * 5 % 1000:03}"
        expected = [row(188736, pounds, "[lb_av]") if flags & 1 else row(188736, kilograms, "kg")]
        if flags & 8:
            bmi, height = builder.integer("H", 0, 0xFFFF), builder.integer("H", 0, 0xFFFF)
            expected.append(row(188752, f"{bmi // 10}.{bmi % 10}", "kg/m2"))
            inches, metres = f"{height // 10}.{height % 10}", f"{height // 1000}.{height % 1000:03}"
            expected.append(row(188740, inches, "[in_i]") if flags & 1 else row(188740, metres, "m"))
        measurements = decode(0x2A9D, builder.value)
        assert expected == rows(measurements)
        assert {time} == times(measurements)
        assert {None if user == 255 else user} == {part.user for part in measurements}


@pytest.mark.parametrize("intervals", range(10))
def test_every_combination_of_heart_rate_flags_yields_its_fields(intervals: int) -> None:
    for flags, sent in every(5):
        builder = Builder(intervals << 8 | sent)
        builder.pack("B", sent)
        rate = builder.integer("H", 0, 0xFFFF) if flags & 1 else builder.integer("B", 0, 0xFF)
        status = ("questionable",) if flags & 6 == 4 else ()
        expected = [row(147842, str(rate), "/min", (), status)]
        if flags & 8:
            expected.append(row(8454263, str(builder.integer("H", 0, 0xFFFF)), "kJ"))
        if flags & 16:
            for _ in range(intervals):
                ticks = builder.integer("H", 0, 0xFFFF)
                whole, part = divmod(ticks * 10_000_000_000 // 1024, 10_000_000)
                text = f"{whole}.{part:07}".rstrip("0").rstrip(".")
                expected.append(row(147240, text, "ms", (), status))
        assert expected == rows(decode(0x2A37, builder.value))


@pytest.mark.parametrize("seed", range(8))
def test_every_combination_of_temperature_flags_yields_its_fields(seed: int) -> None:
    for flags, sent in every(3):
        builder = Builder(seed << 8 | sent)
        builder.pack("B", sent)
        temperature = builder.float32()
        time = builder.time() if flags & 2 else None
        site = builder.integer("B", 0, 20) if flags & 4 else 0
        measurements = decode(0x2A1C, builder.value)
        types = (SITES[site],) if site in SITES else ()
        assert [row(150364, temperature, "[degF]" if flags & 1 else "Cel", types)] == rows(measurements)
        assert {time} == times(measurements)


GLUCOSE = {
    1: 160184,
    2: 160188,
    3: 160192,
    4: 160196,
    5: 160200,
    6: 160204,
    7: 160364,
    8: 160368,
    9: 160212,
    10: 160208,
}
LOCATIONS = {1: 8417848, 2: 8417852, 3: 8417856, 4: 8417860}


def scaled_sfloat(builder: Builder, places: int) -> str:
    """An SFLOAT times a power of ten, written with the device's own digits."""
    text = builder.sfloat()
    if text in SPECIALS.values():
        return text
    sign, digits, exponent = Decimal(text).as_tuple()
    assert isinstance(exponent, int)
    return str(Decimal((sign, digits, exponent + places)))


def coded(measurements: tuple[Measurement, ...]) -> list[tuple[int, int]]:
    return [(int(part.code), int(part.coded)) for part in measurements if part.coded is not None]


def uncoded(measurements: tuple[Measurement, ...]) -> tuple[Measurement, ...]:
    return tuple(part for part in measurements if part.coded is None)


@pytest.mark.parametrize("seed", range(8))
def test_every_combination_of_glucose_flags_yields_its_fields(seed: int) -> None:
    for flags, sent in every(5):
        builder = Builder(seed << 8 | sent)
        builder.pack("B", sent)
        builder.integer("H", 0, 0xFFFF)
        base = datetime(2026, 2, 17, 8, 0, 30)  # noqa: DTZ001  (a device's own clock)
        builder.pack("HBBBBB", 2026, 2, 17, 8, 0, 30)
        offset = builder.integer("h", -32767, 32766) if flags & 1 else 0
        value, octet = None, 0
        if flags & 2:
            value = scaled_sfloat(builder, 3 if flags & 4 else 5)
            octet = builder.integer("B", 0, 0xFF)
        word = builder.integer("H", 0, 0xFFFF) if flags & 8 else 0
        control = octet >> 4 == 4
        code = 160208 if control else GLUCOSE.get(octet & 15, 160020)
        test_data = ("test-data",) if code == 160208 else ()
        unit = ("mmol/L" if flags & 4 else "mg/dL") if value else None
        expected = [row(code, value or None, unit, status=test_data)]
        events = frozenset(bit for bit in range(11) if word & 1 << bit)
        if events:
            expected.append(row(8417752, None, None, bits=events))
        measurements = decode(0x2A18, builder.value)
        assert expected == rows(uncoded(measurements))
        site = LOCATIONS.get(octet >> 4)
        assert coded(measurements) == ([(8417844, site)] if site else [])
        assert {(base + timedelta(minutes=offset)).isoformat()} == times(measurements)
        assert {not word & 0x800} == {part.clock_set for part in measurements}


@pytest.mark.parametrize("seed", range(8))
def test_every_combination_of_glucose_context_flags_yields_its_fields(seed: int) -> None:
    meals = {1: 8417868, 2: 8417872, 3: 8417876, 4: 8417880}
    testers = {1: 8417888, 2: 8417892, 3: 8417896}
    healths = {1: 8417824, 2: 8417828, 3: 8417832, 4: 8417836, 5: 8417840}
    for flags in range(256):
        builder = Builder(seed << 8 | flags)
        builder.pack("B", flags)
        builder.integer("H", 0, 0xFFFF)
        if flags & 0x80:
            builder.integer("B", 0, 0xFF)
        expected, said = [], []
        if flags & 1:
            food = builder.integer("B", 0, 9)
            code = 8417764 + 4 * food if 1 <= food <= 7 else 8417764
            expected.append(row(code, scaled_sfloat(builder, 3), "g"))
        if flags & 2:
            meal = builder.integer("B", 0, 6)
            said += [(8417864, meals[meal])] if meal in meals else []
        if flags & 4:
            people = builder.integer("B", 0, 0xFF)
            said += [(8417884, testers[people & 15])] if people & 15 in testers else []
            said += [(8417820, healths[people >> 4])] if people >> 4 in healths else []
        if flags & 8:
            builder.integer("H", 0, 0xFFFF)
            expected.append(row(8417760, str(builder.integer("B", 0, 0xFF)), "%"))
        if flags & 16:
            drug = builder.integer("B", 0, 7)
            code = 8417796 + 4 * drug if 1 <= drug <= 5 else 8417796
            litres = flags & 32
            expected.append(row(code, scaled_sfloat(builder, 3 if litres else 6), "mL" if litres else "mg"))
        if flags & 64:
            expected.append(row(160220, builder.sfloat(), "%"))
        measurements = decode(0x2A34, builder.value)
        assert expected == rows(uncoded(measurements))
        assert said == coded(measurements)


@pytest.mark.parametrize("records", range(1, 5))
def test_every_combination_of_continuous_glucose_flags_yields_its_fields(records: int) -> None:
    for flags in range(256):
        builder = Builder(records << 8 | flags)
        expected = []
        for _ in range(records):
            # Each flag adds one octet (bits 5 to 7) or two (bits 0 and 1); the others are reserved.
            builder.pack("BB", 6 + 2 * (flags & 1) + (flags & 2) + (flags >> 5).bit_count(), flags)
            expected.append(row(160020, builder.sfloat(), "mg/dL"))
            builder.integer("H", 0, 0xFFFF)
            state = builder.integer("B", 0, 0xFF) if flags & 128 else 0
            calibration = builder.integer("B", 0, 0xFF) if flags & 64 else 0
            warning = builder.integer("B", 0, 0xFF) if flags & 32 else 0
            if flags & 1:
                expected.append(row(8418008, builder.sfloat(), "mg/dL/min"))
            if flags & 2:
                builder.sfloat()
            events = {bit for bit in (0, 2, 3, 4) if state & 1 << bit}
            events |= {6 + bit for bit in range(1, 6) if calibration & 1 << bit}
            events |= {12 + bit for bit in range(8) if warning & 1 << bit}
            if events:
                expected.append(row(8418060, None, None, bits=frozenset(events)))
            device = {25} if state & 2 else set()
            device |= {5} if state & 32 else set()
            device |= {16} if calibration & 1 else set()
            if device:
                expected.append(row(8408608, None, None, bits=frozenset(device)))
        assert expected == rows(decode(0x2AA7, builder.value))


def test_every_combination_of_body_composition_flags_yields_its_fields() -> None:
    for flags in range(1 << 13):
        builder = Builder(flags)
        # Every other value has the reserved bits set.
        builder.pack("H", flags | (0xE000 if flags % 2 else 0))
        fat = builder.integer("H", 0, 1000)
        time = builder.time() if flags & 2 else None
        user = builder.integer("B", 0, 255) if flags & 4 else 255
        expected = [row(188748, f"{fat // 10}.{fat % 10}", "%")]
        for bit, code in ((3, 0), (4, 0), (5, 0), (6, 188756), (7, 188760), (8, 188764), (9, 0), (10, 188736)):
            if not flags & 1 << bit:
                continue
            raw = builder.integer("H", 0, 0xFFFF)
            pounds, kilograms = f"{raw // 100}.{raw % 100:02}", f"{raw * 5 // 1000}.{raw * 5 % 1000:03}"
            if code:
                expected.append(row(code, pounds, "[lb_av]") if flags & 1 else row(code, kilograms, "kg"))
        if flags & 1 << 11:
            height = builder.integer("H", 0, 0xFFFF)
            inches, metres = f"{height // 10}.{height % 10}", f"{height // 1000}.{height % 1000:03}"
            expected.append(row(188740, inches, "[in_i]") if flags & 1 else row(188740, metres, "m"))
        measurements = decode(0x2A9C, builder.value)
        assert expected == rows(measurements)
        assert {time} == times(measurements)
        assert {None if user == 255 else user} == {part.user for part in measurements}
