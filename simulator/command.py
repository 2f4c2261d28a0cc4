"""What the commands of `stafet-sim` have in common: exit statuses, arguments, and how one device is played to its end."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO, TypeAlias

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNAVAILABLE: Final = 69
CANNOT_CREATE: Final = 73


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How it went: an exit status, and one line why if it is not 0."""

    status: int
    line: str = ""


Play: TypeAlias = Callable[[TextIO | None, asyncio.Event], Awaitable[Outcome]]
"""Plays one device: writes what it measured to the file, if there is one, and ends soon after the event is set."""


def run(play: Play, measured: Path | None) -> int:
    """Play until it ends, or SIGTERM or SIGINT stops it; the exit status, after the line that says why."""

    async def until_stopped(file: TextIO | None) -> Outcome:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        return await play(file, stop)

    if measured is None:
        outcome = asyncio.run(until_stopped(None))
    else:
        try:
            file = measured.open("w", encoding="utf-8")
        except OSError as error:
            return fail(CANNOT_CREATE, f"{measured}: {error.strerror}")
        with file:
            outcome = asyncio.run(until_stopped(file))
    return fail(outcome.status, outcome.line) if outcome.line else outcome.status


def fail(status: int, line: str) -> int:
    """Say why, on stderr; the status."""
    sys.stderr.write(f"stafet-sim: {line}\n")
    return status


def whole(text: str) -> int:
    """An argument: a number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def positive(text: str) -> int:
    """An argument: a number from 1."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return int(text)


def seconds(text: str) -> float:
    """An argument: seconds, up to a day."""
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to a day")
    return found
