"""pair, devices and forget: the commands as they are, with real dbus-fast on a real bus; bluetoothd is `fake_bluez`."""

import asyncio
import io
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

import pytest
from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

from edge import cli
from edge.ble import device_clock, pairing
from edge.ble.bleak_radio import BleakRadio
from edge.ble.pair_texts import KINDS, TEXTS
from edge.ble.pairing import AGENT_PATH
from edge.ble.radio import Sighting
from edge.bluez import Bluez, BluezError
from edge.listing import file_of, load
from tests.edge.fake_bluez import HCI0, FakeBluez, Peer, serving
from tests.edge.home import HUB_TOML, furnish
from tests.edge.radio_story import Collected, collecting_with_bleak, no_bus_left_open  # noqa: F401  (a fixture)
from tests.system_bus import SystemBus
from wire.services import SERVICES

OXIMETER = "AA:BB:CC:DD:EE:01"
CUFF = "AA:BB:CC:DD:EE:02"
PRIVATE = "5A:BB:CC:DD:EE:03"
"""A resolvable private address: 01 are its highest bits."""
WITHIN_S = 15


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Hub: TypeAlias = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub's directory, on a system bus of its own."""
    furnish(tmp_path)
    bus = SystemBus(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    try:
        bus.start()
        yield tmp_path
    finally:
        bus.stop()


@pytest.fixture
def hub(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Run a command, while BlueZ lives on this thread's loop."""

    async def run(command: str, *arguments: str, stdin: str = "") -> Outcome:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        line = [command, "--config", str(home / "hub.toml"), *arguments]
        async with asyncio.timeout(WITHIN_S):
            status = await asyncio.to_thread(cli.main, line)
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return run


def oximeter(address: str = OXIMETER, **more: object) -> Peer:
    return Peer(address=address, name="Nonin 3230", **more)  # type: ignore[arg-type]


def pairs(address: str, label: str = "oximeter", *more: str) -> tuple[str, ...]:
    return ("pair", "--address", address, "--label", label, "--yes", "--wait", "2", *more)


async def measured(bluez: FakeBluez) -> None:
    """The only device measures as soon as somebody listens."""
    (device,) = bluez.devices.values()
    async with asyncio.timeout(WITHIN_S):
        while not device.characteristics or not device.characteristics[-1].subscribed.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    device.characteristics[-1].notify(bytes.fromhex("0062004800"))


@pytest.mark.parametrize(
    ("method", "more", "stdin", "asked"),
    [
        ("just-works", (), "", []),
        ("type-passkey", ("--passkey-from-stdin",), "012345\n", ["RequestPasskey"]),
        ("show-passkey", (), "", ["DisplayPasskey"] * 7),
        ("compare", (), "", ["RequestConfirmation"]),
    ],
)
async def test_a_device_is_paired_by_whatever_method_it_has_and_is_listed_with_its_identity(  # noqa: PLR0917  a table's columns
    method: str, more: tuple[str, ...], stdin: str, asked: list[str], hub: Hub, home: Path
) -> None:
    peer = oximeter(PRIVATE, random=True, identity=OXIMETER, pairing=method, passkey=12345)
    async with serving(peer) as bluez:
        outcome = await hub(*pairs(PRIVATE, "oximeter", "--json", *more), stdin=stdin)
        assert outcome.status == 0, outcome.err
        (device,) = bluez.devices.values()
        assert (device.is_paired, device.is_trusted, device.is_connected) == (True, True, False)
        assert bluez.asked == asked
        assert bluez.agent is None, "the agent is there for this pairing only"
    assert outcome.err == ("Type this number on the device: 012345\n" if method == "show-passkey" else "")
    assert json.loads(outcome.out) == {
        "address": OXIMETER,
        "label": "oximeter",
        "random": False,
        "name": "Nonin 3230",
        "kind": "pulse oximeter",
        "bonded": True,
        "in_hub_toml": False,
        "information": {
            "Manufacturer Name String": "Nonin",
            "Model Number String": "3230",
            "Serial Number String": "501",
        },
    }
    (listed,) = load(home / "outbox.db")
    assert listed.address == bytes.fromhex(OXIMETER.replace(":", ""))


@pytest.mark.parametrize(
    ("peer", "more", "stdin", "status", "said"),
    [
        (oximeter(pairing="fails"), (), "", 69, "AuthenticationFailed"),
        (oximeter(pairing="slow"), (), "", 69, "timeout"),
        (oximeter(pairing="type-passkey"), ("--passkey-from-stdin",), "111111\n", 69, "AuthenticationFailed"),
        (oximeter(pairing="type-passkey"), ("--passkey-from-stdin",), "1234567\n", 2, "passkey"),
        (oximeter(pairing="type-passkey"), (), "", 77, "ended here"),
        (oximeter(uuids=(0x180F,), measurement=0x2A19), (), "", 69, "no measurement"),
        (oximeter(PRIVATE, random=True), ("--no-bond",), "", 2, "without a bond"),
        (oximeter("AA:BB:CC:DD:EE:77"), ("--wait", "1"), "", 69, "no device fits"),
    ],
)
async def test_what_does_not_come_about_is_said_in_one_line_and_leaves_neither_a_listing_nor_a_bond(  # noqa: PLR0917  a table's columns
    peer: Peer,
    more: tuple[str, ...],
    stdin: str,
    status: int,
    said: str,
    hub: Hub,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pairing, "PAIR_S", 0.5)
    wanted = OXIMETER if peer.address.endswith("77") else peer.address
    async with serving(peer) as bluez:
        outcome = await hub(*pairs(wanted, "oximeter", *more), stdin=stdin)
        assert not any(device.is_paired for device in bluez.devices.values())
    assert outcome.status == status
    assert outcome.err.count("\n") == 1, "one line"
    assert said in outcome.err
    assert not file_of(home / "outbox.db").exists()


async def test_a_bond_is_dropped_if_what_comes_right_after_it_fails(
    hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise BluezError("NoReply")

    monkeypatch.setattr(Bluez, "set", fails)
    async with serving(oximeter()) as bluez:
        outcome = await hub(*pairs(OXIMETER, "oximeter"))
        assert outcome.status == 69
        assert not any(device.is_paired for device in bluez.devices.values())
    assert not file_of(home / "outbox.db").exists()


async def test_a_device_that_cannot_be_listed_keeps_the_bond_that_it_had_and_no_other(hub: Hub, home: Path) -> None:
    async with serving(oximeter()) as bluez:
        for bonded_before in (False, True):
            if bonded_before:
                assert (await hub(*pairs(OXIMETER, "oximeter"))).status == 0
            (home / "hub.toml").write_text(HUB_TOML.replace("outbox.db", "gone/outbox.db"))
            outcome = await hub(*pairs(OXIMETER, "oximeter"))
            assert (outcome.status, outcome.err.count("\n")) == (74, 1)
            assert any(device.is_paired for device in bluez.devices.values()) is bonded_before
            (home / "hub.toml").write_text(HUB_TOML)


async def test_whatever_else_asks_the_agent_is_rejected(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, str | None] = {}

    async def ask_around(bluez: FakeBluez) -> None:
        """bluetoothd, of a stranger's device and of older ways to pair; then a program that is not bluetoothd."""
        assert bluez.agent is not None
        stranger = f"{HCI0}/dev_66_66_66_66_66_66"
        ours = f"{HCI0}/dev_{OXIMETER.replace(':', '_')}"
        program = await MessageBus(bus_type=BusType.SYSTEM).connect()
        questions: list[tuple[MessageBus, str, str, list[object]]] = [
            (bluez.bus, "RequestAuthorization", "o", [stranger]),
            (bluez.bus, "RequestConfirmation", "ou", [stranger, 1]),
            (bluez.bus, "RequestPasskey", "o", [stranger]),
            (bluez.bus, "DisplayPasskey", "ouq", [stranger, 1, 0]),
            (bluez.bus, "RequestPinCode", "o", [ours]),
            (bluez.bus, "AuthorizeService", "os", [ours, "1101"]),
            (bluez.bus, "RequestAuthorization", "o", [ours]),
            (program, "RequestAuthorization", "o", [ours]),
        ]
        for bus, member, signature, body in questions:
            reply = await bus.call(
                Message(
                    destination=bluez.agent[0],
                    path=AGENT_PATH,
                    interface="org.bluez.Agent1",
                    member=member,
                    signature=signature,
                    body=body,
                )
            )
            assert reply is not None
            who = "bluetoothd" if bus is bluez.bus else "a program"
            refused = reply.error_name if reply.message_type is MessageType.ERROR else None
            answers[f"{who}: {member} {'ours' if ours in body else 'a stranger'}"] = refused
        program.disconnect()

    async with serving(oximeter(pairing="compare")) as bluez:
        ask_agent = bluez.ask_agent

        async def ask_around_first(member: str, signature: str, *body: object) -> object:
            await ask_around(bluez)
            return await ask_agent(member, signature, *body)

        monkeypatch.setattr(bluez, "ask_agent", ask_around_first)
        assert (await hub(*pairs(OXIMETER))).status == 0
    rejected = "org.bluez.Error.Rejected"
    assert answers == {
        "bluetoothd: RequestAuthorization a stranger": rejected,
        "bluetoothd: RequestConfirmation a stranger": rejected,
        "bluetoothd: RequestPasskey a stranger": rejected,
        "bluetoothd: DisplayPasskey a stranger": rejected,
        "bluetoothd: RequestPinCode ours": rejected,
        "bluetoothd: AuthorizeService ours": rejected,
        "bluetoothd: RequestAuthorization ours": None,
        "a program: RequestAuthorization ours": "org.freedesktop.DBus.Error.UnknownMethod",
    }


async def test_two_devices_of_one_kind_are_told_apart_by_address_signal_and_label(hub: Hub, home: Path) -> None:
    near, far = oximeter(OXIMETER, rssi=-44), oximeter(CUFF, rssi=-80)
    async with serving(far, near):
        shown = await hub("pair", "--list", "--wait", "1")
        rows = [line.split() for line in shown.out.splitlines()]
        assert [(row[0], row[-1]) for row in rows[1:]] == [("1", OXIMETER), ("2", CUFF)], "the nearest first"
        assert all("pulse oximeter" in line and "dBm" in line for line in shown.out.splitlines()[1:])

        by_name = await hub("pair", "--name", "nonin 3230", "--label", "his", "--yes", "--wait", "1")
        assert by_name.status == 2
        assert OXIMETER in by_name.err
        assert CUFF in by_name.err
        assert load(home / "outbox.db") == ()

        assert (await hub(*pairs("ee:01", "his"))).status == 0
        taken = await hub(*pairs("EE02", "his"))
        assert (taken.status, "label of another device" in taken.err) == (2, True)
        assert (await hub(*pairs("EE02", "hers"))).status == 0
        assert (await hub(*pairs("ee:01", "his"))).status == 0, "pairing again changes nothing"
    assert [(device.address.hex(":").upper(), device.label) for device in load(home / "outbox.db")] == [
        (CUFF, "hers"),
        (OXIMETER, "his"),
    ]


async def test_a_bonded_device_with_a_private_address_is_read_by_its_identity_and_nobody_is_asked(
    hub: Hub, home: Path
) -> None:
    peer = oximeter(PRIVATE, random=True, identity=OXIMETER, pairing="compare")
    async with serving(peer) as bluez:
        assert (await hub(*pairs(PRIVATE))).status == 0
        asked = len(bluez.asked)
        collected = Collected()
        addresses = [device.address.hex(":") for device in load(home / "outbox.db")]
        async with collecting_with_bleak(addresses, collected.put):
            await measured(bluez)
            await collected.until(1)
        assert len(bluez.asked) == asked
    assert collected.readings[0].device.address == bytes.fromhex(OXIMETER.replace(":", ""))


async def test_a_device_with_a_private_address_that_is_paired_beside_a_hub_that_heard_it_is_read_by_that_hub(
    hub: Hub, home: Path
) -> None:
    collected = Collected()
    async with (
        serving(oximeter(PRIVATE, random=True, identity=OXIMETER)) as bluez,
        collecting_with_bleak([OXIMETER], collected.put) as collector,
    ):
        async with asyncio.timeout(WITHIN_S):
            while not collector._radio.heard:  # noqa: ASYNC110  a poll with an end, of real parts
                await asyncio.sleep(0.01)
        assert (await hub(*pairs(PRIVATE))).status == 0
        await measured(bluez)
        await collected.until(1)
    (device,) = {reading.device for reading in collected.readings}
    assert (device.address.hex(":").upper(), device.random) == (OXIMETER, False)


async def test_a_device_that_ends_its_pairing_mode_with_the_time_is_told_the_time_and_none_is_subscribed_to(
    hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_clock, "may_set", lambda _: True)
    monkeypatch.setenv("TZ", "UTC")
    (home / "hub.toml").write_text(HUB_TOML.replace("store =", 'timezone = "Asia/Kathmandu"\nstore ='))
    cuff = Peer(
        address=CUFF,
        name="A&D_UA-651BLE_0001",
        uuids=(0x1810,),
        values={0x2A29: b"A&D Medical", 0x2A24: b"UA-651BLE", 0x2A08: bytes(7)},
        measurement=0x2A35,
    )
    other = oximeter(values={0x2A29: b"Nonin", 0x2A08: bytes(7)})
    async with serving(cuff, other):
        for address in (CUFF, OXIMETER):
            assert (await hub(*pairs(address, address))).status == 0
    (value,) = cuff.written.values()
    shown = datetime(int.from_bytes(value[:2], "little"), *value[2:7])  # noqa: DTZ001  local time, as the device has it
    here = datetime.now(ZoneInfo("Asia/Kathmandu")).replace(tzinfo=None)
    assert abs((here - shown).total_seconds()) < WITHIN_S, "the time is the citizen's"
    monkeypatch.undo()
    time.tzset()
    assert cuff.written.keys() == {0x2A08}
    assert other.written == {}, "its clock is set when it is read, if it is off"


async def test_a_link_makes_and_drops_a_bond_by_itself_where_a_device_wants_that(home: Path) -> None:
    async with serving(oximeter()) as bluez:
        radio = BleakRadio(adapter="hci0", wanted=[bytes.fromhex(OXIMETER.replace(":", ""))])
        sightings: asyncio.Queue[Sighting] = asyncio.Queue()
        async with radio.scan(sightings.put_nowait), asyncio.timeout(WITHIN_S):
            link = await radio.connect(await sightings.get())
            await link.pair()
            await link.pair()
            (device,) = bluez.devices.values()
            assert device.is_paired
            await link.forget()
            assert device not in bluez.devices.values()
            await link.gone.wait()
            await link.close()
        await radio.close()


async def test_a_device_that_needs_no_bond_is_listed_without_one(hub: Hub, home: Path) -> None:
    async with serving(oximeter(pairing="fails")):
        outcome = await hub(*pairs(OXIMETER, "oximeter", "--no-bond", "--lang", "da"))
    assert outcome.status == 0, outcome.err
    assert outcome.out.splitlines()[-1] == (
        f"oximeter: pulsoximeter, {OXIMETER}, uden parring. Hubben læser det fra nu af."
    )
    assert [device.bonded for device in load(home / "outbox.db")] == [False]


async def test_devices_shows_where_each_is_listed_and_forget_removes_listing_and_bond(hub: Hub, home: Path) -> None:
    with (home / "hub.toml").open("a") as file:
        file.write(f'\n[[device]]                 # the cuff\naddress = "{CUFF.lower()}"\nlabel = "cuff"\n\n[ble]\n')
    async with serving(oximeter()) as bluez:
        assert (await hub(*pairs(OXIMETER))).status == 0
        listed = json.loads((await hub("devices", "--json")).out)
        assert listed["running"] is False
        keys = ("label", "kind", "address", "bonded", "listed_in", "seen_s")
        assert [tuple(device[key] for key in keys) for device in listed["devices"]] == [
            ("cuff", "", CUFF, False, "hub.toml", None),
            ("oximeter", "pulse oximeter", OXIMETER, True, "paired", None),
        ]
        table = (await hub("devices", "--lang", "da")).out
        assert re.search(rf"oximeter +pulsoximeter +{OXIMETER} +ja +parret", table)

        forgotten = await hub("forget", "oximeter")
        assert (forgotten.status, forgotten.err) == (0, "")
        assert "bond is removed" in forgotten.out
        assert bluez.devices == {} or not any(device.is_paired for device in bluez.devices.values())
        assert load(home / "outbox.db") == ()

        written = await hub("forget", "EE:02")
        assert written.status == 78
        lines = (home / "hub.toml").read_text().splitlines()
        first = next(number for number, line in enumerate(lines, 1) if line.startswith("[[device]]"))
        assert f"remove lines {first} to {first + 2} of" in written.err
        again = await hub("forget", "oximeter")
        assert (again.status, again.err.count("\n")) == (2, 1)


async def test_without_bluetooth_the_list_is_shown_all_the_same(hub: Hub, home: Path) -> None:
    with (home / "hub.toml").open("a") as file:
        file.write(f'[[device]]\naddress = "{CUFF}"\n')
    shown = await hub("devices", "--json")
    assert (shown.status, json.loads(shown.out)["devices"][0]["bonded"]) == (0, None)
    outcome = await hub(*pairs(OXIMETER))
    assert (outcome.status, outcome.err.count("\n")) == (69, 1)
    assert "systemctl status bluetooth" in outcome.err


async def test_a_list_that_is_damaged_is_told_and_kept(hub: Hub, home: Path) -> None:
    file_of(home / "outbox.db").write_text("{")
    async with serving(oximeter()):
        for command in (pairs(OXIMETER), ("devices",), ("forget", OXIMETER)):
            outcome = await hub(*command)
            assert (outcome.status, outcome.err.count("\n")) == (74, 1), command
            assert "is damaged; move it away" in outcome.err
    assert file_of(home / "outbox.db").read_text() == "{"


async def test_a_technician_at_a_terminal_picks_from_a_live_table_and_compares_the_numbers(home: Path) -> None:
    near, far = oximeter(OXIMETER, rssi=-44, pairing="compare"), oximeter(CUFF, rssi=-80)
    async with serving(near, far):
        master, slave = pty.openpty()
        program = Path(sys.executable).with_name("stafet-hub")
        process = await asyncio.create_subprocess_exec(
            program,
            "pair",
            "--config",
            home / "hub.toml",
            "--lang",
            "da",
            stdin=slave,
            stdout=slave,
            stderr=subprocess.STDOUT,
        )
        os.close(slave)
        said = ""

        async def until(text: str) -> None:
            nonlocal said
            async with asyncio.timeout(WITHIN_S):
                while text not in said:
                    said += (await asyncio.to_thread(os.read, master, 4096)).decode()

        try:
            await until(CUFF)
            os.write(master, b"\n")
            await until("Hvilket")
            os.write(master, b"Nonin 3230\n")
            await until("flere apparater passer")
            said = ""
            os.write(master, b"\n")
            await until("Hvilket")
            os.write(master, b"1\n")
            await until("Hvad skal det hedde")
            os.write(master, b"fingerclip\n")
            await until("også 123456")
            os.write(master, b"j\n")
            await until("Hubben læser det fra nu af")
            assert await process.wait() == 0
        finally:
            os.close(master)
            if process.returncode is None:
                process.kill()
                await process.wait()
    (device,) = load(home / "outbox.db")
    assert (device.label, device.address.hex(":").upper(), device.bonded) == ("fingerclip", OXIMETER, True)


def test_both_languages_say_everything_and_every_failure_has_its_sentence() -> None:
    assert TEXTS["da"].keys() == TEXTS["en"].keys()
    fields = {
        lang: {key: set(re.findall(r"{(\w+)", text)) for key, text in texts.items()} for lang, texts in TEXTS.items()
    }
    assert fields["da"] == fields["en"]
    source = Path(pairing.__file__).read_text()
    reasons = set(re.findall(r'PairingError\((?:"refused" if agent.refused else )?"([a-z-]+)"', source)) | {"refused"}
    assert len(reasons) >= 8
    assert reasons <= TEXTS["en"].keys()
    assert {service.name for service in SERVICES.values()} <= KINDS.keys()
