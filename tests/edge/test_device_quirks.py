"""Rows of wire.quirks that change how the hub talks to a device, each over the fake radio."""

import asyncio
from functools import partial

import pytest

from edge.ble.fake_radio import FakePeripheral, FakeRadio
from tests.edge.collecting import Store, clock_that_is, collecting
from tests.edge.test_device_clocks import cuff
from wire.evidence import ClockState
from wire.quirks import QUIRKS

pytestmark = pytest.mark.looptime

ROWS = {row.name: row for row in QUIRKS}
THERMOMETER, SCALE = 0x2A1C, 0x2A9D


@pytest.mark.parametrize(
    ("row", "name", "uuid", "value"),
    [
        ("TaiDoc TD-1241 thermometer", "TAIDOC TD1241", THERMOMETER, "00420e00fe"),
        ("Indie Health scale", "51-102", SCALE, "008c37"),
        ("Philips ear thermometer", "Philips ear thermometer", THERMOMETER, "00420e00fe"),
    ],
)
async def test_a_device_that_goes_on_advertising_is_left_alone_after_its_session(
    row: str, name: str, uuid: int, value: str
) -> None:
    left: list[float] = []

    def leave() -> None:
        left.append(asyncio.get_running_loop().time())
        device.leave()

    def tell_and_leave(device: FakePeripheral) -> None:
        device.notify(uuid, bytes.fromhex(value))
        asyncio.get_running_loop().call_later(1, leave)

    device = FakePeripheral(address=bytes.fromhex("AABBCCDDEE40"), measurements=(uuid,), when_subscribed=tell_and_leave)
    radio = FakeRadio(device)
    async with collecting(radio, Store(), listed=(device.address,)):
        for _ in range(50):
            radio.advertise(device.address, name)
            await asyncio.sleep(1)
    ignored_s = ROWS[row].ignore_after_s
    assert ignored_s <= device.connects[1] - left[0] < ignored_s + 3


def note(moments: list[float], _device: FakePeripheral, _uuid: int | bytes, _value: bytes) -> None:
    moments.append(asyncio.get_running_loop().time())


async def test_an_and_firmware_that_is_quick_to_answer_is_waited_for_less() -> None:
    """`A&D, firmware that is quick to answer`: 40 ms before its clock is written, and 100 ms for all others."""
    waited: dict[bytes, float] = {}
    for firmware in (b"BLP008_d016", b"BLP008_d099"):
        device = cuff(model=b"UA-651BLE")
        device.values = {**device.values, 0x2A26: firmware}
        moments: list[float] = []
        device.when_written = partial(note, moments)
        radio = FakeRadio(device)
        async with collecting(radio, Store(), listed=(device.address,), now=clock_that_is(ClockState.SYNCHRONISED)):
            radio.advertise(device.address, "A&D_UA-651BLE_0A1B2C")
            await asyncio.sleep(5)
        waited[firmware] = moments[0] - device.connects[0]
    assert waited[b"BLP008_d099"] - waited[b"BLP008_d016"] == pytest.approx(0.1 - 0.04)
