"""A reading that was accepted is there after the hub was killed, whatever it was doing at that instant."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from edge.outbox import Outbox
from tests.edge.readings import HUB, number_of
from tests.support import rounds

LIVES = rounds(100, 3000)
LOOK_EVERY = 10
"""Between two looks the next life itself finds what the last one left: a log to recover, a lock to take."""


def stored(path: Path) -> dict[tuple[str, int], int]:
    """Everything in the store, checked against its chain on the way."""
    found: dict[tuple[str, int], int] = {}
    with Outbox.open(path, hub=HUB) as outbox:
        assert outbox.alarms() == ()
        first = outbox.oldest
        while (pending := outbox.pending(first)) is not None:
            for seq, each in enumerate(pending.readings, first):
                found[outbox.epoch.hex(), seq] = number_of(each)
            first += len(pending.readings)
        assert first == outbox.next
    return found


def live_and_die(zygote: subprocess.Popen[str], first_number: int, after_s: float) -> list[list[str]]:
    """One life of the writer; what it had said by the time it was dead."""
    into, out = streams(zygote)
    into.write(f"{first_number}\n")
    into.flush()
    lines: list[list[str]] = []
    pid = 0
    while not pid:
        lines.append(out.readline().split())
        pid = int(lines[-1][1]) if lines[-1][0] == "pid" else 0
    time.sleep(after_s)  # what is tested is the instant of the kill
    os.kill(pid, signal.SIGKILL)
    while lines[-1] != ["dead"]:
        lines.append(out.readline().split())
    return [line for line in lines if line[0] in ("put", "gone")]


def streams(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def test_kills_lose_no_accepted_reading_and_use_no_number_twice(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    chance = random.Random(20261121)  # noqa: S311  (a repeatable test, not a secret)
    accepted: dict[tuple[str, int], int] = {}
    may_be_gone: dict[str, int] = {}
    total = 0
    command = [sys.executable, "-m", "tests.edge.killed_writer", str(path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as zygote:
        for life in range(LIVES):
            for word, epoch, *numbers in live_and_die(zygote, life * 100_000, chance.uniform(0.0, 0.04)):
                if word == "put":
                    seq, number = map(int, numbers)
                    assert (epoch, seq) not in accepted
                    accepted[epoch, seq] = number
                    total += 1
                else:
                    may_be_gone[epoch] = int(numbers[0])
            if life % LOOK_EVERY == LOOK_EVERY - 1:
                found = stored(path)
                expected = {pair: number for pair, number in accepted.items() if pair[1] >= may_be_gone.get(pair[0], 0)}
                assert expected.items() <= found.items(), f"lost after {life + 1} kills"
                assert len({epoch for epoch, _ in found}) <= 1
        streams(zygote)[0].close()
    assert total > 3 * LIVES, f"only {total} readings were accepted: the kills came before anything happened"
