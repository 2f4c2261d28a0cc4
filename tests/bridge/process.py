"""`stafet-bridge` as people run it: a directory with its configuration, and a process that can be killed."""

import contextlib
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from bridge.cli import main
from tests.bridge.hub import Hub
from tests.support import eventually, stop
from wire.cose import PublicKey, load_public_key_pem

CONFIGURATION = """\
[bridge]
timezone = "Europe/Copenhagen"
[mqtt]
port = {broker}
client_id = "{client}"
[fhir]
base_url = "{fhir}"
timeout_s = {timeout_s}
"""


class BridgeProcess:
    """One bridge.toml with everything that belongs to it."""

    def __init__(
        self, directory: Path, *, broker: int, fhir: str, client: str = "bridge-1", timeout_s: float = 10
    ) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.config = directory / f"{client}.toml"
        self.config.write_text(
            CONFIGURATION.format(broker=broker, fhir=fhir, client=client, timeout_s=timeout_s), encoding="utf-8"
        )
        self.log = directory / f"{client}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.public_key: PublicKey = load_public_key_pem(self.command("identity").encode())

    def command(self, *arguments: str, status: int = 0) -> str:
        """Run one command with this configuration, in this process, and hold it to its exit status; what it printed."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            done = main([*arguments, "--config", str(self.config)])
        assert done == status, f"{arguments}: {done}"
        return printed.getvalue()

    def json(self, *arguments: str) -> Any:
        return json.loads(self.command(*arguments, "--json"))

    def enrol(self, hub: Hub, patient: str | None = "Patient/abc") -> None:
        key = self.directory / f"{hub.name}.pem"
        key.write_bytes(hub.public_pem)
        self.command("hub", "add", "--id", hub.name, "--key", str(key), *(["--patient", patient] if patient else []))

    def start(self, *, wait: bool = True) -> None:
        ready_before = self.events("intake_ready")
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).with_name("stafet-bridge")), "run", "--config", str(self.config)],
                stdout=output,
                stderr=output,
            )
        if wait:
            eventually(
                lambda: len(self.events("intake_ready")) > len(ready_before), within_s=30, what="the bridge is ready"
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """What it logged, over all its lives."""
        if not self.log.exists():
            return []
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        found = [json.loads(line) for line in lines]
        return [event for event in found if name in (None, event["event"])]

    def kill(self) -> None:
        if self._process is not None:
            stop(self._process, with_signal=signal.SIGKILL)
            self._process = None

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        assert self._process is not None
        process, self._process = self._process, None
        stop(process, within_s=20)
        return process.returncode

    def restart(self) -> None:
        self.kill()
        self.start()
