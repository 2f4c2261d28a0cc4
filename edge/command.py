"""What the commands of `stafet-hub` have in common: exit statuses, how one fails, and how its arguments are read.

Nothing but argparse is imported here: `stafet-hub decode` starts with it.
"""

import argparse
import os
import re
from collections.abc import Callable
from typing import Any, Final, NoReturn

USAGE: Final = 2
MALFORMED: Final = 65
UNAVAILABLE: Final = 69
CANNOT_CREATE: Final = 73
IO: Final = 74
NOT_PERMITTED: Final = 77
CONFIGURATION: Final = 78

_STATUSES: Final = """\
exit statuses:
  0   done                                    73  a file cannot be created
  2   the command line is wrong               74  a disk or file fails
  65  the input is malformed                  77  not permitted
  69  what is needed is not there             78  hub.toml, or a file it names, is wrong
Whatever fails says so in one line on stderr: what, and what to do next."""


class Failed(Exception):  # noqa: N818  what it says is its name
    """A command's end without success: the line that the user gets, and the exit status."""

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status
        self.line = line


class _Help(argparse.RawDescriptionHelpFormatter):
    """argparse asks shutil for the width of the terminal at every option, which costs a running hub half a megabyte."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_terminal_width() - 2)


class Parser(argparse.ArgumentParser):
    """argparse that says what is wrong in one line, and learns what a command takes when that command was chosen."""

    def __init__(self, *, fill: "Callable[[Parser], None] | None" = None, **more: Any) -> None:
        """`fill` adds description, arguments and command."""
        super().__init__(epilog=_STATUSES, formatter_class=_Help, **more)
        self._fill = fill

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def positive(text: str) -> int:
    """An argument that is a number of something."""
    if re.fullmatch("[1-9][0-9]{0,8}", text) is None:
        raise argparse.ArgumentTypeError(f"{text!a} is no number from 1 to 999999999")
    return int(text)


def _terminal_width() -> int:
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns) or 80
    except (OSError, ValueError):
        return 80
