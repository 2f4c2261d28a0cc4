"""hub.toml: what may stand in it, and everything that is wrong with it, all at once.

The tuples are the table: one line per key, with the check that its value must pass and the check that the file it
names must pass. (Tuples, not dataclasses: eight of those would be a tenth of the time in which a hub starts.)

A technician on the phone corrects a file once, so no check stops at the first fault; each fault says where, what is
wrong, and what is right. Unknown keys are faults: a misspelt `idle_timout_s` that silently means 30 is worse than a
hub that says so.
"""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Final, NamedTuple, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

Check: TypeAlias = Callable[[object, Path], object]
"""Value from TOML and the directory of hub.toml -> value for the program; raises `_Wrong`."""
FileCheck: TypeAlias = Callable[[Path, Path], Iterator[tuple[str, str]]]
"""A file that hub.toml names, and hub.toml -> what is wrong with it and what is right, each time."""
T = TypeVar("T")

MAX_DEVICES: Final = 64
"""A household has ten; each costs a task."""
ZONES: Final = Path("/usr/share/zoneinfo")
"""tzdata; the C library takes a name that is not there for UTC, without a word."""
MAX_FILE_BYTES: Final = 1 << 20
"""A file of CA certificates is a quarter of it."""


class Fault(NamedTuple):
    """One thing to correct: the place in the file, what is wrong there, and what is right."""

    path: str
    what: str
    right: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}; {self.right}"


class ConfigError(Exception):
    """hub.toml, or a file that it names, cannot be used. Every fault is in `faults`."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class _Wrong(Exception):  # noqa: N818  it is a verdict on one value, and never leaves this module
    def __init__(self, what: str, right: str) -> None:
        super().__init__(what)
        self.what = what
        self.right = right


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _matching(pattern: str, right: str) -> Check:
    def check(value: object, _: Path) -> str:
        if isinstance(value, str) and re.fullmatch(pattern, value):
            return value
        raise _Wrong(f"{_shown(value)} does not fit", right)

    return check


def _number(low: float, high: float, right: str, *, whole: bool = False) -> Check:
    def check(value: object, _: Path) -> float:
        kinds = int if whole else (int, float)
        if isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise _Wrong(f"{_shown(value)} does not fit", right)

    return check


def _file(right: str) -> Check:
    def check(value: object, directory: Path) -> Path:
        if isinstance(value, str) and value and "\0" not in value:
            return directory / value
        raise _Wrong(f"{_shown(value)} does not fit", right)

    return check


def _address(value: object, _: Path) -> bytes:
    if isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", value):
        return bytes.fromhex(value.replace(":", ""))
    raise _Wrong(f"{_shown(value)} is no Bluetooth address", 'write six bytes, as in "AA:BB:CC:DD:EE:01"')


def _system_id(value: object, _: Path) -> bytes:
    if isinstance(value, str) and re.fullmatch(r"[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){7}", value):
        return bytes.fromhex(value.replace(":", "").replace("-", ""))
    raise _Wrong(f"{_shown(value)} is no system-id", 'write eight bytes, as in "00:09:1F:FE:FF:80:12:34"')


def _loopback_port(value: object, _: Path) -> tuple[str, int]:
    if isinstance(value, str):
        host, _colon, port = value.rpartition(":")
        if is_loopback(host.strip("[]")) and port.isdecimal() and 1 <= int(port) <= 65535:
            return host.strip("[]"), int(port)
    raise _Wrong(f"{_shown(value)} does not fit", 'write a loopback address and a port, as in "127.0.0.1:6024"')


def _timezone(value: object, _: Path) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}", value):
        if (ZONES / value).is_file():
            return value
        raise _Wrong(f"{_shown(value)} is not known here", 'write a time zone that is, as in "Europe/Copenhagen"')
    raise _Wrong(f"{_shown(value)} is no time zone", 'write its name, as in "Europe/Copenhagen"')


def _flag(value: object, _: Path) -> bool:
    if isinstance(value, bool):
        return value
    raise _Wrong(f"{_shown(value)} does not fit", "write true or false, without quotes")


# The files that hub.toml names


def _content(path: Path, missing: str) -> tuple[bytes, int]:
    """What stands in the file, and its mode."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES), stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except FileNotFoundError:
        raise _Wrong(f"{path} is not there", missing) from None
    except OSError as error:
        raise _Wrong(f"{path} cannot be read ({error.strerror})", "name a file that this user can read") from error


def _open_to_others(path: Path, mode: int) -> Iterator[tuple[str, str]]:
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield f"{path} is open to others (mode {mode:04o})", f"chmod 600 {path}"


def _private_key(path: Path, config: Path) -> Iterator[tuple[str, str]]:
    from wire.cose import load_private_key_pem  # noqa: PLC0415  cryptography: not for those who only want the values
    from wire.errors import KeyFileError  # noqa: PLC0415  with it

    content, mode = _content(path, f"run stafet-hub identity --config {config}")
    yield from _open_to_others(path, mode)
    try:
        load_private_key_pem(content)
    except KeyFileError as error:
        yield f"{path} is {error}", f"move it away and run stafet-hub identity --config {config}"


def _public_key(path: Path, _: Path) -> Iterator[tuple[str, str]]:
    from wire.cose import load_public_key_pem  # noqa: PLC0415  as above
    from wire.errors import KeyFileError  # noqa: PLC0415  as above

    right = "put there what stafet-bridge identity prints"
    content, _mode = _content(path, right)
    try:
        load_public_key_pem(content)
    except KeyFileError as error:
        yield f"{path} is {error}", right


def _store(path: Path, _: Path) -> Iterator[tuple[str, str]]:
    if not path.parent.is_dir():
        yield f"the directory {path.parent} is not there", f"mkdir -p {path.parent}"
    elif path.exists() and not path.is_file():
        yield f"{path} is no file", "name another one"
    elif not all(os.access(place, os.R_OK | os.W_OK) for place in (path.parent, path) if place.exists()):
        yield f"{path} cannot be written by this user", "run as the user whose it is, or name another one"


def _ca(path: Path, _: Path) -> Iterator[tuple[str, str]]:
    import ssl  # noqa: PLC0415  asyncio has it already where it is used

    content, _mode = _content(path, "put there the CA certificates behind the broker's")
    try:
        ssl.create_default_context(cadata=content.decode())
    except (ssl.SSLError, ValueError):
        yield f"{path} holds no CA certificates", "put there the CA certificates behind the broker's, in PEM"


def _certificate(path: Path, _: Path) -> Iterator[tuple[str, str]]:
    _content(path, "put there the hub's certificate")
    yield from ()


def _certificate_key(path: Path, _: Path) -> Iterator[tuple[str, str]]:
    _bytes, mode = _content(path, "put there the private key of the hub's certificate")
    yield from _open_to_others(path, mode)


def _pair(tls: "Tls") -> Iterator[tuple[str, str]]:
    import ssl  # noqa: PLC0415  as above

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(tls.certificate, tls.key, password=lambda: b"")
    except (ssl.SSLError, ValueError):
        right = "name a certificate and its own private key, in PEM, without a passphrase"
        yield f"{tls.certificate} and {tls.key} do not belong together", right


# The table


class Hub(NamedTuple):
    """[hub]: who this is, its key and its store."""

    id: Annotated[str, _matching(r"[a-z0-9-]{1,36}", 'write 1 to 36 of a-z, 0-9 and -, as in "hub-0001"')]
    key: Annotated[Path, _file('name the file of the hub\'s private key, as in "hub-key.pem"'), _private_key]
    store: Annotated[Path, _file('name the file of the outbox, as in "outbox.db"'), _store]
    timezone: Annotated[str, _timezone] = ""
    """Where the citizen is: devices show local time, and are set to it. Empty: the system's."""


class Bridge(NamedTuple):
    """[bridge]: whose receipts count."""

    public_key: Annotated[
        Path, _file('name the file of the bridge\'s public key, as in "bridge-public.pem"'), _public_key
    ]


class Tls(NamedTuple):
    """[mqtt.tls]: whom the broker must be, and who we are to it."""

    ca: Annotated[Path, _file('name the file of the CA certificates behind the broker\'s, as in "ca.pem"'), _ca]
    certificate: Annotated[
        Path, _file('name the file of the hub\'s certificate, as in "hub-certificate.pem"'), _certificate
    ]
    key: Annotated[
        Path, _file('name the file of that certificate\'s private key, as in "hub-key.pem"'), _certificate_key
    ]


class Mqtt(NamedTuple):
    """[mqtt]: the broker."""

    host: Annotated[str, _matching(r"[A-Za-z0-9._:-]{1,253}", 'write a name or address, as in "broker.example.org"')]
    port: Annotated[int, _number(1, 65535, "write a number from 1 to 65535, without quotes", whole=True)] = 0
    """0, which cannot be written, is 1883 or with TLS 8883."""
    tls: Tls | None = None


class Ble(NamedTuple):
    """[ble]: the radio."""

    adapter: Annotated[
        str,
        _matching(
            r"hci[0-9]{1,3}|[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}",
            'write the adapter as BlueZ names it, as in "hci0", or its Bluetooth address',
        ),
    ] = "hci0"
    """Followed by its address once that is known: USB adapters come back under other names."""
    idle_timeout_s: Annotated[float, _number(1, 3600, "write seconds from 1 to 3600, without quotes")] = 30.0
    """A connected device that says nothing for so long is disconnected."""
    connections: Annotated[int, _number(1, 8, "write a whole number from 1 to 8, without quotes", whole=True)] = 4
    """Devices read at the same time; common adapters hold 7 to 10 links."""
    time_service: Annotated[bool, _flag] = False
    """Let devices read the time of the hub (Current Time Service)."""


class Device(NamedTuple):
    """[[device]]: one that may be read. A device that is not listed never is."""

    address: Annotated[bytes, _address]
    label: Annotated[str, _matching(r"[^\x00-\x1f\x7f]{1,64}", "write 1 to 64 characters")] = ""


class Agents(NamedTuple):
    """[agents]: by which ways IEEE 11073-20601 agents reach the hub. None is open unless it stands here."""

    tcp: Annotated[tuple[str, int] | None, _loopback_port] = None
    """Listen there; only this machine, because 20601 has neither encryption nor authentication."""
    usb: Annotated[bool, _flag] = False
    """Read Personal Healthcare Devices (USB class 0F)."""
    hdp: Annotated[bool, _flag] = False
    """Accept Bluetooth HDP."""
    clear_store: Annotated[bool, _flag] = False
    """Clear what an agent has stored once all of it is in the outbox."""


class Agent(NamedTuple):
    """[[agent]]: a 20601 agent that may be read, on whatever transport."""

    system_id: Annotated[bytes, _system_id]
    label: Annotated[str, _matching(r"[^\x00-\x1f\x7f]{1,64}", "write 1 to 64 characters")] = ""


class Serial(NamedTuple):
    """[[serial]]: a device on a serial port (a cable, or Bluetooth SPP as /dev/rfcomm0)."""

    port: Annotated[str, _matching(r"/dev/[!-~]{1,200}", 'write the port, as in "/dev/rfcomm0"')]
    format: Annotated[
        str,
        _matching(
            "nonin-df8|nonin-df13|nonin-memory|vitalograph-lung-monitor|20601",
            'write "nonin-df8", "nonin-df13", "nonin-memory", "vitalograph-lung-monitor" or "20601"',
        ),
    ]
    address: Annotated[bytes, _address]
    """The Bluetooth address; for a cable one of your own, from 02:00:00:00:00:00 on, that no other device of this citizen has."""
    label: Annotated[str, _matching(r"[^\x00-\x1f\x7f]{1,64}", "write 1 to 64 characters")] = ""
    clear_store: Annotated[bool, _flag] = False
    """nonin-memory: clear the recorder's memory once all of it is in the outbox."""


class Config(NamedTuple):
    """All of hub.toml, checked; paths are complete."""

    hub: Hub
    bridge: Bridge
    mqtt: Mqtt
    ble: Ble = Ble()
    device: Annotated[tuple[Device, ...], Device] = ()
    agents: Agents = Agents()
    agent: Annotated[tuple[Agent, ...], Agent] = ()
    serial: Annotated[tuple[Serial, ...], Serial] = ()


def load(path: Path, *, files: bool = False) -> Config:
    """Read and check hub.toml, with `files` also every file that it names; ConfigError with all that is wrong."""
    try:
        document = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise ConfigError([Fault(path=str(path), what="is not there", right="give the path with --config")]) from None
    except OSError as error:
        right = "run as the user whose file it is, or correct its permissions"
        raise ConfigError([Fault(path=str(path), what=f"cannot be read ({error.strerror})", right=right)]) from error
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 at byte {error.start}"
        raise ConfigError([Fault(path=str(path), what=what, right="save the file as UTF-8")]) from error
    except tomllib.TOMLDecodeError as error:
        right = "correct the TOML there (https://toml.io)"
        raise ConfigError([Fault(path=str(path), what=f"is not TOML: {error}", right=right)]) from error
    checker = _Checker(path)
    config = checker.table(Config, document, "")
    checker.together(document)
    if files:
        checker.check_files()
    if config is None or checker.faults:
        raise ConfigError(checker.faults)
    mqtt = config.mqtt
    return config._replace(mqtt=mqtt._replace(port=mqtt.port or (8883 if mqtt.tls else 1883)))


class _Checker:
    """Walks the tables and gathers faults."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory = path.resolve().parent
        self.faults: list[Fault] = []
        self._files: list[tuple[str, Path, FileCheck]] = []
        self._tls: Tls | None = None

    def fault(self, path: str, what: str, right: str) -> None:
        self.faults.append(Fault(path=path, what=what, right=right))

    def table(self, kind: type[T], table: object, path: str) -> T | None:
        """The table as a `kind`; None, with the reasons in `faults`, if it cannot be one."""
        if not isinstance(table, dict):
            self.fault(path, f"{_shown(table)} is no table", f"write [{path}] on a line of its own")
            return None
        before = len(self.faults)
        hints = get_type_hints(kind, include_extras=True)
        for name in (name for name in table if name not in hints):
            self.fault(_join(path, name), "unknown key", _meant(name, tuple(hints)))
        values: dict[str, object] = {}
        for name, hint in hints.items():
            if name in table:
                values[name] = self._value(hint, table[name], _join(path, name))
            elif name in _required(kind):
                self.fault(_join(path, name), "missing", self._right(hint, _join(path, name)))
        if len(self.faults) > before:
            return None
        made = kind(**values)
        self._tls = made if isinstance(made, Tls) else self._tls
        return made

    def check_files(self) -> None:
        """Check the files that are named rightly, whatever else is wrong."""
        before = len(self.faults)
        for place, path, check in self._files:
            try:
                for what, right in check(path, self.path):
                    self.fault(place, what, right)
            except _Wrong as wrong:
                self.fault(place, wrong.what, wrong.right)
        if self._tls is not None and not any(f.path.startswith("mqtt.tls") for f in self.faults[before:]):
            for what, right in _pair(self._tls):
                self.fault("mqtt.tls.certificate", what, right)

    def _value(self, hint: Any, value: object, path: str) -> object:
        if get_origin(hint) is not Annotated:
            return self.table(_kind(hint), value, path)
        if isinstance(hint.__metadata__[0], type):
            return self._array(hint.__metadata__[0], value, path)
        try:
            checked = hint.__metadata__[0](value, self.directory)
        except _Wrong as wrong:
            self.fault(path, wrong.what, wrong.right)
            return None
        self._files += [(path, checked, check) for check in hint.__metadata__[1:]]
        return checked

    def _array(self, kind: type, value: object, path: str) -> tuple[object, ...]:
        if not isinstance(value, list):
            self.fault(path, "is no array of tables", f"write [[{path}]], with two brackets, before each one")
            return ()
        if len(value) > MAX_DEVICES:
            self.fault(path, f"is listed {len(value)} times", f"list at most {MAX_DEVICES}")
            return ()
        return tuple(self.table(kind, item, f"{path}[{index}]") for index, item in enumerate(value, 1))

    def _right(self, hint: Any, path: str) -> str:
        """What to write where a value is missing: what its check would ask for."""
        if get_origin(hint) is not Annotated:
            return f"write [{path}] with {', '.join(_required(_kind(hint)))}"
        try:
            hint.__metadata__[0](None, self.directory)
        except _Wrong as wrong:
            return wrong.right
        raise AssertionError(path)

    def together(self, document: dict[str, Any]) -> None:
        """Check what no single key can tell. The tables themselves may be wrong here."""
        mqtt = document.get("mqtt")
        if isinstance(mqtt, dict) and "tls" not in mqtt:
            host = mqtt.get("host")
            if isinstance(host, str) and not is_loopback(host):
                right = "write [mqtt.tls] with ca, certificate, key; only loopback may be without"
                self.fault("mqtt.tls", f"missing, and {_shown(host)} is another machine", right)
        ways, ports = document.get("agents"), document.get("serial")
        asked = isinstance(ways, dict) and any(ways.get(way) for way in ("tcp", "usb", "hdp"))
        for port in ports if isinstance(ports, list) else ():
            asked |= isinstance(port, dict) and port.get("format") == "20601"
        if asked and not document.get("agent"):
            right = "write [[agent]] with the system_id of each that is to be read"
            self.fault("agent", "missing, and no 20601 agent is let in that is not listed", right)
        self._listed_once("device", document.get("device"), "address", "list each device once", same=str.upper)
        self._listed_once("serial", ports, "port", "list each port once")

    def _listed_once(
        self, name: str, tables: object, key: str, right: str, *, same: Callable[[str], str] = str
    ) -> None:
        """Find the tables whose `key` is an earlier one's; `same` makes alike what means the same."""
        seen: dict[str, int] = {}
        for index, table in enumerate(tables if isinstance(tables, list) else (), 1):
            value = table.get(key) if isinstance(table, dict) else None
            first = seen.setdefault(same(value), index) if isinstance(value, str) else index
            if first != index:
                self.fault(f"{name}[{index}].{key}", f"is {name}[{first}]'s too", right)


def _required(kind: type) -> tuple[str, ...]:
    names: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]  # every kind is a NamedTuple
    return tuple(name for name in names if name not in kind._field_defaults)  # type: ignore[attr-defined]  # as above


def _kind(hint: Any) -> type:
    """The table of `Tls` and of `Tls | None`."""
    kind: type = next((k for k in get_args(hint) if k is not NoneType), hint)
    return kind


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _meant(name: str, names: tuple[str, ...]) -> str:
    import difflib  # noqa: PLC0415  only for a file with a fault

    close = difflib.get_close_matches(name, names, n=1)
    return f'did you mean "{close[0]}"?' if close else f"remove it; the keys here are {', '.join(names)}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it; a name other than localhost may be anything."""
    import ipaddress  # noqa: PLC0415  not for a hub with TLS

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
