"""Files that are there whole or not at all, whenever the power is cut."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def replace(path: Path, content: bytes, prepare: Callable[[int], None] = lambda _: None) -> None:
    """Put a file that only this user may read at the path, durably. OSError: what was there before is still there.

    `prepare` gets the descriptor of the new file, before that is where it belongs.
    """
    new = path.with_name(f"{path.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), 0o600)
            prepare(file.fileno())
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make durable which files are in it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
