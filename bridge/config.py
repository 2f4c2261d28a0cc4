"""bridge.toml: read, checked against one table, and every fault reported at once with its place.

Paths are relative to the file. Unknown keys are faults: a misspelt key that is silently ignored costs a night.
What leaves this host must be encrypted: plain MQTT or HTTP is for loopback only.
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from wire.errors import WireError
from wire.topics import BATCH_FILTER, shared


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong in the file: where, what, and what would be right."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class ConfigError(Exception):
    """All faults of one file."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """PEM files: whom we trust, and who we are."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttConfig:
    """The broker. `client_id` must be this process's own, and stay: its session waits for it."""

    host: str
    port: int
    client_id: str
    group: str
    tls: Tls | None
    session_expiry_s: int = 0
    """How long the broker keeps our session when we are gone; why 0, see bridge/intake.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirConfig:
    """The FHIR server. `ca` is for a server with a certificate of the region's own authority."""

    base_url: str
    timeout_s: float
    ca: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A bridge.toml without a fault. `timezone` is where the hubs stand: devices know local time only."""

    key: Path
    ledger: Path
    identifier_key: Path
    timezone: ZoneInfo
    mqtt: MqttConfig
    fhir: FhirConfig


class _Wrong(Exception):  # noqa: N818 - a verdict on one value; it never leaves this module
    """What is wrong with one value."""


@dataclass(frozen=True, slots=True)
class _Key:
    """One row of the table: how to read a value, and what it is if it is left out (`_REQUIRED`: it may not be)."""

    read: Callable[[object], object]
    default: object


_REQUIRED: Final = object()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong("must be a text in quotes, not empty")
    return value


def _port(value: object) -> int:
    if type(value) is not int or not 1 <= value <= 65_535:
        raise _Wrong("must be a whole number from 1 to 65535")
    return value


def _seconds(value: object) -> float:
    if type(value) not in (int, float) or not 0 < value <= 600:  # type: ignore[operator]
        raise _Wrong("must be a number of seconds above 0, at most 600")
    return float(value)  # type: ignore[arg-type]


def _expiry(value: object) -> int:
    if type(value) is not int or not 0 <= value <= 30 * 86_400:
        raise _Wrong("must be a whole number of seconds, 0 (no session) to 2592000 (30 days)")
    return value


def _timezone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(_text(value))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _Wrong('is no time zone; "Europe/Copenhagen" is one') from None


def _url(value: object) -> str:
    text = _text(value)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise _Wrong('must be the base URL of a FHIR server, such as "https://fhir.example.org/fhir"')
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise _Wrong("patient data may leave this host over https only")
    return text


def _group(value: object) -> str:
    text = _text(value)
    try:
        shared(text, BATCH_FILTER)
    except WireError as error:
        raise _Wrong(str(error)) from None
    return text


_TABLE: Final[Mapping[str, Mapping[str, _Key]]] = {
    "bridge": {
        "key": _Key(_text, "bridge-key.pem"),
        "ledger": _Key(_text, "bridge.db"),
        "identifier_key": _Key(_text, "identifier.key"),
        "timezone": _Key(_timezone, _REQUIRED),
    },
    "mqtt": {
        "host": _Key(_text, "127.0.0.1"),
        "port": _Key(_port, None),
        "client_id": _Key(_text, "bridge-1"),
        "group": _Key(_group, "bridge"),
        "session_expiry_s": _Key(_expiry, 0),
    },
    "mqtt.tls": {
        "ca": _Key(_text, _REQUIRED),
        "certificate": _Key(_text, _REQUIRED),
        "key": _Key(_text, _REQUIRED),
    },
    "fhir": {
        "base_url": _Key(_url, _REQUIRED),
        "timeout_s": _Key(_seconds, 30.0),
        "ca": _Key(_text, None),
    },
}
_OPTIONAL: Final = frozenset({"mqtt.tls"})
_SUBTABLES: Final = {"mqtt": frozenset({"tls"})}


def is_loopback(host: str) -> bool:
    """Whether what is sent to this host stays on this machine."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load(path: Path) -> Config:
    """The configuration at `path`; ConfigError with every fault of it."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError((Fault(path=str(path), what=f"cannot be read: {error.strerror}"),)) from error
    except UnicodeDecodeError as error:
        raise ConfigError((Fault(path=str(path), what="is not UTF-8 text"),)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError((Fault(path=str(path), what=f"is not TOML: {error}"),)) from error
    return check(document, path.parent)


def check(document: Mapping[str, Any], directory: Path) -> Config:
    """The configuration that a TOML document says, with paths relative to `directory`."""
    read: dict[str, dict[str, Any]] = {}
    unknown = document.keys() - {name.partition(".")[0] for name in _TABLE}
    faults = [Fault(path=name, what=f"is no part of it; there are {', '.join(_TABLE)}") for name in unknown]
    for name, keys in _TABLE.items():
        section = _section(document, name, faults)
        if section is not None:
            read[name] = _read_section(section, name, keys, faults)
    tls = _tls(read, directory)
    mqtt = read.get("mqtt", {})
    if tls is None and "mqtt.tls" not in read and "host" in mqtt and not is_loopback(mqtt["host"]):
        faults.append(
            Fault(path="mqtt.tls", what=f"is missing: only a broker on this host may do without ({mqtt['host']})")
        )
    if faults:
        raise ConfigError(tuple(sorted(faults, key=lambda fault: fault.path)))
    bridge, fhir = read["bridge"], read["fhir"]
    return Config(
        key=directory / bridge["key"],
        ledger=directory / bridge["ledger"],
        identifier_key=directory / bridge["identifier_key"],
        timezone=bridge["timezone"],
        mqtt=MqttConfig(
            host=mqtt["host"],
            port=mqtt["port"] or (8883 if tls else 1883),
            client_id=mqtt["client_id"],
            group=mqtt["group"],
            session_expiry_s=mqtt["session_expiry_s"],
            tls=tls,
        ),
        fhir=FhirConfig(
            base_url=fhir["base_url"],
            timeout_s=fhir["timeout_s"],
            ca=directory / fhir["ca"] if fhir["ca"] else None,
        ),
    )


def _section(document: Mapping[str, Any], name: str, faults: list[Fault]) -> Mapping[str, Any] | None:
    section: Any = document
    for part in name.split("."):
        section = section.get(part) if isinstance(section, dict) else None
    if section is None and name in _OPTIONAL:
        return None
    if section is not None and not isinstance(section, dict):
        faults.append(Fault(path=name, what=f"must be a table: [{name}]"))
        return None
    return section or {}


def _read_section(
    section: Mapping[str, Any], name: str, keys: Mapping[str, _Key], faults: list[Fault]
) -> dict[str, Any]:
    read: dict[str, Any] = {}
    unknown = section.keys() - keys.keys() - _SUBTABLES.get(name, frozenset())
    faults += [Fault(path=f"{name}.{key}", what=f"is no key; there are {', '.join(keys)}") for key in unknown]
    for key, row in keys.items():
        if key not in section:
            if row.default is _REQUIRED:
                faults.append(Fault(path=f"{name}.{key}", what="is missing"))
            else:
                read[key] = row.default
            continue
        try:
            read[key] = row.read(section[key])
        except _Wrong as wrong:
            faults.append(Fault(path=f"{name}.{key}", what=str(wrong)))
    return read


def _tls(read: Mapping[str, Mapping[str, Any]], directory: Path) -> Tls | None:
    files = read.get("mqtt.tls", {})
    if len(files) < len(_TABLE["mqtt.tls"]):
        return None
    return Tls(ca=directory / files["ca"], certificate=directory / files["certificate"], key=directory / files["key"])
