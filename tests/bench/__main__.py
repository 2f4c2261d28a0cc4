"""`make bench`: every figure the README quotes, measured now, as a table and as JSON (build/bench.json).

python -m tests.bench [relay] [decoders] [x73] [fhir] [ingest] [size]     all of them by default
python -m tests.bench recovery                                            four minutes of pauses: only when it is asked for
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import micro
from tests.bench.micro import Figure

OUTPUT = Path("build/bench.json")


def relay() -> Iterator[Figure]:
    from tests.bench.relay import relay as measure

    return measure()


def recovery() -> Iterator[Figure]:
    from tests.bench.recovery import recovery as measure

    return measure()


PARTS: dict[str, Callable[[], Iterator[Figure]]] = {
    "relay": relay,
    "decoders": micro.decoders,
    "x73": micro.x73,
    "fhir": micro.fhir,
    "ingest": micro.ingest,
    "size": micro.size,
    "recovery": recovery,
}
SLOW = ("recovery",)


def main() -> int:
    """Measure; 1 if a figure misses its limit."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="what to measure (default: everything)")
    names = parser.parse_args().part or [name for name in PARTS if name not in SLOW]
    figures: list[Figure] = []
    console = Console(stderr=True)
    for name in names:
        with console.status(f"measuring {name}"):
            figures += PARTS[name]()
    table = Table("figure", "value", "limit", "", title="Stafet, measured now", title_justify="left")
    for figure in figures:
        limit = "" if figure.limit is None else f"{figure.better} {figure.limit:g}"
        style = "" if figure.holds else "red"
        table.add_row(figure.name, f"{figure.value:,.2f} {figure.unit}", limit, figure.note, style=style)
    Console(width=150 if not sys.stdout.isatty() else None).print(table)
    OUTPUT.parent.mkdir(exist_ok=True)
    document = {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "figures": [figure._asdict() | {"holds": figure.holds} for figure in figures],
    }
    OUTPUT.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return int(not all(figure.holds for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
