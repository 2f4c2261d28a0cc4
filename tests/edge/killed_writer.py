"""A process that stores readings until it is killed, for tests/edge/test_outbox_killed.py.

For each line on stdin it forks a child, says its pid, and waits for its end; so 300 lives cost one start of Python.
A child prints `put EPOCH SEQ NUMBER` only after `put` has returned, and `gone EPOCH NEXT` after it had confirmed.
"""

import os
import sys
from pathlib import Path

from edge.outbox import Outbox
from tests.edge.readings import HUB, encoded
from wire import batch


def live(path: Path, first_number: int) -> None:
    """Put for ever: mostly one by one, sometimes as a group, sometimes confirming the older half."""
    number = first_number
    with Outbox.open(path, hub=HUB) as outbox:
        while True:
            count = 5 if number % 7 == 0 else 1
            seqs = outbox.put_many([encoded(number + index) for index in range(count)])
            lines = [f"put {outbox.epoch.hex()} {seq} {number + index}\n" for index, seq in enumerate(seqs)]
            os.write(1, "".join(lines).encode())
            number += count
            if number % 11 == 0 and outbox.next - outbox.oldest > 20:
                held = outbox.pending(outbox.oldest)
                assert held is not None
                chain = held.previous
                for each in held.readings[:10]:
                    chain = batch.chain(chain, each)
                upto = outbox.oldest + 10
                os.write(1, f"gone {outbox.epoch.hex()} {upto}\n".encode())
                outbox.confirm(outbox.epoch, upto, chain)


def main() -> None:
    path = Path(sys.argv[1])
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            live(path, int(line))
        os.write(1, f"pid {pid}\n".encode())
        os.waitpid(pid, 0)
        os.write(1, b"dead\n")


if __name__ == "__main__":
    main()
