"""USB devices of bytes: a backend for real pyusb, whose devices are 20601 agents behind a PHDC interface."""

import queue
import threading
from array import array
from collections.abc import Iterator
from types import SimpleNamespace

import usb.backend
import usb.core

from wire.x73.agent import Agent
from wire.x73.reports import PersonScan

# Energy Micro's and Lamprey's glucometer (tests/vectors/phdc.json), whole.
CONFIGURATION = bytes.fromhex(
    "09023200010100c032 0904000002 0f000000 04200200 063000011110 07058102400000 04210108 07050202400000 04210108"
)
IN, OUT = 0x81, 0x02


class Instrument:
    """A device: its descriptors, and an agent that answers what is written to it."""

    def __init__(self, agent: Agent, *, configuration: bytes = CONFIGURATION, address: int = 5) -> None:
        self.agent = agent
        self.configuration = configuration
        self.address = address
        self.plugged = True
        self.claimed = False
        self.reads: queue.Queue[bytes | str] = queue.Queue()
        """Transfers for the host; `stall` is one."""
        self.written: list[bytes] = []
        self._lock = threading.Lock()

    def open(self) -> None:
        """The host has claimed the interface: the agent finds itself connected."""
        with self._lock:
            self.claimed = True
            self.agent.disconnected(0)
            self.agent.connected(0)
            self._say()

    def write(self, data: bytes) -> None:
        with self._lock:
            self.written.append(data)
            if data:
                self.agent.receive(data, 0)
            self._say()

    def report(self, scans: tuple[PersonScan, ...]) -> None:
        with self._lock:
            self.agent.report(scans, 0)
            self._say()

    def _say(self) -> None:
        """Each APDU is a transfer."""
        data = self.agent.to_send()
        while data:
            size = 4 + int.from_bytes(data[2:4], "big")
            self.reads.put(data[:size])
            data = data[size:]


def _fields(raw: bytes, names: str) -> SimpleNamespace:
    """A descriptor's fields: b is a byte, w two, as the names of USB say."""
    described, at = SimpleNamespace(extra_descriptors=[]), 0
    for name in names.split():
        size = 2 if name.startswith("w") else 1
        setattr(described, name, int.from_bytes(raw[at : at + size], "little"))
        at += size
    return described


class Backend(usb.backend.IBackend):  # type: ignore[misc]  # pyusb has no types
    """What is plugged in, as pyusb asks for it."""

    def __init__(self, *instruments: Instrument) -> None:
        self.instruments = list(instruments)

    def enumerate_devices(self) -> Iterator[Instrument]:
        return iter([each for each in self.instruments if each.plugged])

    def get_device_descriptor(self, dev: Instrument) -> SimpleNamespace:
        described = _fields(bytes(18), "bLength bDescriptorType bDeviceClass bDeviceSubClass bDeviceProtocol")
        others = ("bcdUSB", "bMaxPacketSize0", "idVendor", "idProduct", "bcdDevice", "iManufacturer", "iProduct")
        vars(described).update(dict.fromkeys(others, 0), iSerialNumber=0, bNumConfigurations=1)
        vars(described).update(bus=1, address=dev.address, port_number=None, port_numbers=None, speed=None)
        return described

    def get_configuration_descriptor(self, dev: Instrument, config: int) -> SimpleNamespace:
        if config:
            raise IndexError(config)
        names = "bLength bDescriptorType wTotalLength bNumInterfaces bConfigurationValue iConfiguration bmAttributes"
        return _fields(dev.configuration, f"{names} bMaxPower")

    def _run(self, dev: Instrument) -> tuple[SimpleNamespace, list[SimpleNamespace]]:
        interface: SimpleNamespace | None = None
        endpoints: list[SimpleNamespace] = []
        at = 9
        while at < len(dev.configuration):
            raw = dev.configuration[at : at + dev.configuration[at]]
            if raw[1] == 4:
                names = "bInterfaceNumber bAlternateSetting bNumEndpoints bInterfaceClass bInterfaceSubClass"
                interface = _fields(raw, f"bLength bDescriptorType {names} bInterfaceProtocol iInterface")
            elif raw[1] == 5:
                names = "bLength bDescriptorType bEndpointAddress bmAttributes wMaxPacketSize bInterval"
                endpoints.append(_fields(raw, names))
                vars(endpoints[-1]).update(bRefresh=0, bSynchAddress=0)
            else:
                (endpoints[-1] if endpoints else interface).extra_descriptors.extend(raw)  # type: ignore[union-attr]
            at += len(raw)
        assert interface is not None
        return interface, endpoints

    def get_interface_descriptor(self, dev: Instrument, intf: int, alt: int, config: int) -> SimpleNamespace:
        if intf or alt or config:
            raise IndexError(intf)
        return self._run(dev)[0]

    def get_endpoint_descriptor(self, dev: Instrument, ep: int, intf: int, alt: int, config: int) -> SimpleNamespace:
        return self._run(dev)[1][ep]

    def open_device(self, dev: Instrument) -> Instrument:
        return dev

    def close_device(self, dev_handle: Instrument) -> None:
        dev_handle.claimed = False

    def get_configuration(self, dev_handle: Instrument) -> int:
        return 1

    def claim_interface(self, dev_handle: Instrument, intf: int) -> None:
        dev_handle.open()

    def release_interface(self, dev_handle: Instrument, intf: int) -> None:
        dev_handle.claimed = False

    def clear_halt(self, dev_handle: Instrument, ep: int) -> None:
        """Nothing is halted for long."""

    def bulk_write(self, dev_handle: Instrument, ep: int, intf: int, data: "array[int]", timeout: int) -> int:
        assert ep == OUT
        self._there(dev_handle)
        dev_handle.write(data.tobytes())
        return len(data)

    def bulk_read(self, dev_handle: Instrument, ep: int, intf: int, buff: "array[int]", timeout: int) -> int:
        assert ep == IN
        self._there(dev_handle)
        try:
            transfer = dev_handle.reads.get(timeout=min(timeout, 50) / 1000)
        except queue.Empty:
            raise usb.core.USBTimeoutError("timeout", -7, 110) from None
        if isinstance(transfer, str):
            raise usb.core.USBError("Pipe error", -9, 32)
        buff[: len(transfer)] = array("B", transfer)
        return len(transfer)

    @staticmethod
    def _there(instrument: Instrument) -> None:
        if not instrument.plugged:
            raise usb.core.USBError("No such device", -4, 19)
