"""The configurations that agents have told, kept beside the outbox, so that a hub that was restarted does not ask again.

A configuration decides what a report means, so the file says nothing rather than something wrong: it is whole, by its
SHA-256, or it is not read, and agents are asked again. Only listed agents are kept in it: it names them.
"""

import logging
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path
from typing import Final

from edge import files
from edge.log import event
from wire import cbor
from wire.errors import WireError
from wire.x73.dim import Configuration

MAX_CONFIGURATIONS: Final = 128
"""Two for each agent that can be listed. The oldest goes first."""
MAX_BYTES: Final = 1 << 20
_DIGEST_BYTES: Final = 32

_Key = tuple[bytes, int]


class KnownConfigurations:
    """`edge.x73.association.Configurations` in a file."""

    def __init__(self, path: Path, agents: Collection[bytes]) -> None:
        """Read what the file holds of these agents. A file that cannot be read is replaced by the next `keep`."""
        self._path = path
        self._kept: dict[_Key, Configuration] = {}
        try:
            self._read(agents)
        except FileNotFoundError:
            pass
        except (OSError, WireError) as error:
            self._kept.clear()
            event("configurations_lost", logging.WARNING, error=type(error).__name__, detail=str(error))

    def get(self, key: _Key, /) -> Configuration | None:
        return self._kept.get(key)

    def keep(self, key: _Key, configuration: Configuration, /) -> None:
        known = self._kept.pop(key, None)
        self._kept[key] = configuration
        while len(self._kept) > MAX_CONFIGURATIONS:
            del self._kept[next(iter(self._kept))]
        if known is None or known.objects != configuration.objects:
            try:
                self._write()
            except OSError as error:  # it is asked for again after the next start
                event("configurations_unwritten", logging.WARNING, error=type(error).__name__, detail=str(error))

    def _read(self, agents: Collection[bytes]) -> None:
        with self._path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if sha256(body).digest() != digest:
            raise WireError("the file is not as it was written")
        entries = cbor.decode(body)
        for system_id, encoded in entries if isinstance(entries, list) else ():
            if system_id in agents:
                configuration = Configuration.decode(encoded)
                self._kept[system_id, configuration.config_id] = configuration

    def _write(self) -> None:
        entries = [
            cbor.array(2) + cbor.bstr(system_id) + cbor.bstr(configuration.encode())
            for (system_id, _), configuration in self._kept.items()
        ]
        body = cbor.array(len(entries)) + b"".join(entries)
        files.replace(self._path, sha256(body).digest() + body)
