"""systemd's notification socket (sd_notify(3)): ready, stopping, still alive."""

import os
import socket
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


def notify(*states: str) -> None:
    """Tell systemd; nothing happens where it did not start us."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)  # a systemd that does not read must not stop us either
        try:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.sendall("\n".join(states).encode())
        except OSError:
            return  # systemd is gone or does not listen: no reason to stop relaying


def watchdog_interval_s() -> float | None:
    """How often systemd wants a sign of life, halved as sd_watchdog_enabled(3) advises; None if it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000
