"""sd_notify(3): tell systemd that the hub is ready, alive, stopping, and what it is doing.

One datagram to the socket that NOTIFY_SOCKET names. Outside systemd there is none, and everything here does nothing.
A notification is never worth an error: systemd finds out by its own time-outs.
"""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

MICROSECONDS: Final = 1_000_000


class Notifier:
    """Where systemd wants to be told, if it does."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        address = environment.get("NOTIFY_SOCKET", "")
        # A path, or "@name" for a socket in Linux's abstract namespace; anything else (vsock) is not for us.
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address
        self._enabled = address.startswith(("/", "@"))
        self.watchdog_s = _watchdog_s(environment)
        """Systemd kills us unless fed within this time; None without WatchdogSec=."""

    def ready(self) -> None:
        self._send("READY=1")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text.replace(chr(10), ' ')}")

    def _send(self, message: str) -> None:
        if not self._enabled:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto(message.encode(), self._address)


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        period = int(environment.get("WATCHDOG_USEC", "0"))
    except ValueError:
        return None
    return period / MICROSECONDS if period > 0 else None
