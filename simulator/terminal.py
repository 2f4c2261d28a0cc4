"""A pseudo terminal that stands for a cable: our end of it, and whether somebody has the other end open."""

import os
import pty
import select
import tty


def open_terminal() -> tuple[int, str]:
    """Our end, raw and not blocking, and the path of the other end, which nobody has open yet. OSError if there is none."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    path = os.ttyname(theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    return ours, path


def is_open(ours: int) -> bool:
    """Whether some program has the other end open; Linux tells that only when it is asked (POLLHUP)."""
    poll = select.poll()
    poll.register(ours, select.POLLIN)
    return not any(flags & select.POLLHUP for _, flags in poll.poll(0))
