"""`stafet-sim demo`: the whole relay, live, and the proof: what is in the FHIR server is what was measured.

Two fictional people with five devices each. Every process is shown as it comes up, readings as they leave a device and
as they arrive; at the end the Observations are read back over HTTP and compared value by value (simulator.compare).
The exit status says the result: 0 only if nothing is wrong, missing or doubled.
"""

import contextlib
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from simulator.ble.devices import PLAIN
from simulator.command import CANNOT_CREATE, OK, UNAVAILABLE, fail
from simulator.compare import Compared, Comparison, Found, Outcome, compare
from simulator.fhir import FhirError
from simulator.stage import MissingPartError, Stage, StageError

UNEQUAL, INTERRUPTED = 1, 130

PEOPLE = ("p1", "p2")
READINGS = 2
"""From each device: 2 people x 5 devices x 2 = 20 readings."""
EVERY_S = 2
HANG_UP_S = 2.5
"""Longer than EVERY_S, so that a device hands over both readings in one session."""
SEED = 2026
SEND_TIMEOUT_S = 60.0
ARRIVE_TIMEOUT_S = 20.0
WATCH_S = 0.3
MS = timedelta(milliseconds=1)

WIDE = 145
"""Columns at which whole URLs fit; narrower terminals get ids that are links, with the rest in the caption."""

PARTS = {
    "bus": "private D-Bus",
    "bluetooth": "Bluetooth stack (BlueZoo)",
    "broker": "MQTT broker",
    "fhir": "FHIR server (sekmet)",
    "bridge": "stafet-bridge",
    "hub": "stafet-hub",
    "sim": "ten devices (stafet-sim)",
}


def scenario_text() -> str:
    """The demonstration's scenario: every kind of device for each person, one adapter each."""
    lines = [f"seed = {SEED}", 'output = "measured.jsonl"', f"hang_up_s = {HANG_UP_S}", ""]
    for person in PEOPLE:
        lines += ["[[person]]", f'id = "{person}"', 'condition = "copd"', ""]
    for number, (person, kind) in enumerate((person, kind) for person in PEOPLE for kind in PLAIN):
        lines += [
            "[[device]]",
            f'kind = "{kind}"',
            f'person = "{person}"',
            f'adapter = "hci{number + 1}"',
            f"readings = {READINGS}",
            f"every_s = {EVERY_S}",
            f"start_s = {number * 0.2:.1f}",
            "",
        ]
    return "\n".join(lines)


def demo(*, keep: bool, as_json: bool, broker: str, directory: Path | None) -> int:
    """Run the demonstration; the exit status."""
    # Where the output is no terminal, nobody's window is too narrow.
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console.width = WIDE
    if directory is not None and directory.exists() and any(directory.iterdir()):
        return fail(CANNOT_CREATE, f"{directory} is not empty: name a new directory")
    place = directory or Path(tempfile.mkdtemp(prefix="stafet-demo-"))
    worth_a_look = True
    try:
        status = _demo(console, place, keep=keep, as_json=as_json, broker=broker)
        worth_a_look = status != OK
    except MissingPartError as error:
        status, worth_a_look = fail(UNAVAILABLE, str(error)), False
    except (StageError, FhirError) as error:
        status = fail(UNAVAILABLE, str(error))
    except KeyboardInterrupt:
        status, worth_a_look = INTERRUPTED, False
    if worth_a_look:
        console.print(f"Configuration, stores and logs are kept in {place}", style="yellow", soft_wrap=True)
    elif directory is None:
        shutil.rmtree(place, ignore_errors=True)
    return status


def _demo(console: Console, place: Path, *, keep: bool, as_json: bool, broker: str) -> int:
    began = time.monotonic()
    progress = _Progress()
    with Stage(place, scenario_text(), broker=broker, on_change=progress.changed) as stage:
        progress.expected = sum(device.readings for device in stage.scenario.devices)
        with _shown(progress, console):
            stage.set_up()
            stage.start("sim")
            comparison = _watch(stage, progress)
        took = timedelta(seconds=time.monotonic() - began)
        if as_json:
            json.dump(_document(comparison, stage, took), sys.stdout, indent=2, ensure_ascii=False)
            sys.stdout.write("\n")
            sys.stdout.flush()
        else:
            console.print(_table(comparison, stage, wide=console.width >= WIDE))
        console.print(_verdict(comparison, took))
        if keep:
            _stay(console, stage)
    return OK if comparison.values and comparison.all_equal else UNEQUAL


def _watch(stage: Stage, progress: "_Progress") -> Comparison:
    """Until the devices have handed over everything and it has arrived, or time is up."""
    sim = stage.processes["sim"]
    deadline = time.monotonic() + SEND_TIMEOUT_S
    sending = True
    while True:
        for name in ("bus", "bluetooth", "broker", "fhir", "bridge", "hub"):
            stage.processes[name].check()
        comparison = compare(stage.measured(), stage.observations(), timezone=ZoneInfo(stage.scenario.timezone))
        progress.measured = len({id(one.record) for one in comparison.values})
        progress.arrived = comparison.readings_arrived
        if sending and not sim.running:
            if sim.status:
                sim.check()
            sending = False
            progress.changed("sim", "done")
            deadline = time.monotonic() + ARRIVE_TIMEOUT_S
            continue
        if not sending and comparison.all_equal:
            return comparison
        if time.monotonic() > deadline:
            return comparison
        time.sleep(WATCH_S)


@contextlib.contextmanager
def _shown(progress: "_Progress", console: Console) -> Iterator[None]:
    """Live on a terminal; elsewhere one line for each thing that came up."""
    if console.is_terminal:
        with Live(progress, console=console, refresh_per_second=8):
            yield
    else:
        progress.say = lambda line: console.print(line, highlight=False)
        yield


class _Progress:
    """What is up, and how far the readings are; drawn anew by `Live`."""

    def __init__(self) -> None:
        self.states: dict[str, str] = dict.fromkeys(PARTS, "")
        self.expected = 0
        self.measured = 0
        self.arrived = 0
        self.say: Callable[[str], None] = lambda _: None

    def changed(self, name: str, state: str) -> None:
        self.states[name] = state
        if state in ("up", "done"):
            self.say(f"{PARTS[name]}: {state}")

    def __rich__(self) -> Group:
        parts = Table.grid(padding=(0, 2))
        for name, label in PARTS.items():
            state = self.states[name]
            mark = {"": "·", "starting": "…"}.get(state, "✓")
            parts.add_row(Text(mark, style="green" if mark == "✓" else "dim"), label, Text(state, style="dim"))
        bars = Table.grid(padding=(0, 2))
        for label, count in (("readings measured", self.measured), ("readings in FHIR", self.arrived)):
            bars.add_row("", label, ProgressBar(total=self.expected or 1, completed=count, width=30), str(count))
        return Group(parts, bars)


def _rows(comparison: Comparison) -> Iterator[list[Compared]]:
    """The values of one measurement that stand in one Observation belong in one row of the table."""
    for _, values in groupby(
        comparison.values,
        key=lambda one: (id(one.record), one.found.observation if one.found else "", one.outcome),
    ):
        yield list(values)


def _table(comparison: Comparison, stage: Stage, *, wide: bool) -> Table:
    names = {person.id: person.name for person in stage.scenario.people}
    table = Table(
        title="What the devices measured, as it stands in the FHIR server",
        title_justify="left",
        caption=None if wide else f"Observation: under {stage.base_url}/Observation/",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in ("person", "device", "measured"):
        table.add_column(heading, no_wrap=True)
    table.add_column("Observation", overflow="fold")
    table.add_column("to FHIR", justify="right", no_wrap=True)

    def link(found: Found) -> Text:
        url = f"{stage.base_url}/{found.observation}"
        return Text(url if wide else found.observation.removeprefix("Observation/"), style=f"link {url}")

    for row in _rows(comparison):
        first = row[0]
        wrong = first.outcome is not Outcome.EQUAL
        table.add_row(
            names[first.record.person],
            first.record.kind,
            f"{'/'.join(str(one.value.value) for one in row)} {first.value.unit}" + (f" {first.outcome}" * wrong),
            link(first.found) if first.found else "-",
            f"{first.delay / MS:.0f} ms" if first.delay is not None else "-",
            style="red" if wrong else "",
        )
    for what, values in (("doubled", comparison.doubled), ("was never measured", comparison.foreign)):
        for one in values:
            who = names.get(one.patient, one.patient)
            table.add_row(who, "", f"{one.value} {one.unit} {what}", link(one), "", style="red")
    return table


def _delays(comparison: Comparison) -> list[float]:
    """Milliseconds from each device to the FHIR server, in order."""
    return sorted(one.delay / MS for one in comparison.values if one.delay is not None)


def _verdict(comparison: Comparison, took: timedelta) -> Text:
    readings = len({id(one.record) for one in comparison.values})
    kinds = len({one.record.kind for one in comparison.values})
    text = f"{readings} readings of {kinds} device kinds, {len(comparison.values)} values: "
    if comparison.values and comparison.all_equal:
        delays = _delays(comparison)
        text += "every one in the FHIR server equals what was measured; none missing, none doubled. "
        text += f"Device to FHIR: median {median(delays):.0f} ms, slowest {delays[-1]:.0f} ms. "
        text += f"{took.total_seconds():.0f} s in all."
        return Text(text, style="bold green")
    text += (
        f"{comparison.count(Outcome.EQUAL)} equal, {comparison.count(Outcome.WRONG)} wrong, "
        f"{comparison.count(Outcome.MISSING)} missing, {len(comparison.doubled)} doubled, "
        f"{len(comparison.foreign)} never measured."
    )
    return Text(text, style="bold red")


def _document(comparison: Comparison, stage: Stage, took: timedelta) -> Mapping[str, Any]:
    """The same for machines."""
    names = {person.id: person.name for person in stage.scenario.people}
    return {
        "all_equal": bool(comparison.values) and comparison.all_equal,
        "seconds": round(took.total_seconds(), 1),
        "readings": len({id(one.record) for one in comparison.values}),
        "kinds": sorted({one.record.kind for one in comparison.values}),
        "delay_ms": [round(delay, 1) for delay in _delays(comparison)],
        "values": [
            {
                "person": names[one.record.person],
                "device": one.record.kind,
                "code": one.value.code,
                "measured": str(one.value.value),
                "unit": one.value.unit,
                "outcome": str(one.outcome),
                "observation": f"{stage.base_url}/{one.found.observation}" if one.found else None,
                "in_fhir": str(one.found.value) if one.found else None,
                "delay_ms": round(one.delay / MS, 1) if one.delay is not None else None,
            }
            for one in comparison.values
        ],
        "doubled": [f"{stage.base_url}/{one.observation}" for one in comparison.doubled],
        "never_measured": [f"{stage.base_url}/{one.observation}" for one in comparison.foreign],
    }


def _stay(console: Console, stage: Stage) -> None:
    """Say where to look, and stay until Ctrl-C."""
    hub, bridge = stage.directory / "hub.toml", stage.directory / "bridge.toml"
    console.print(
        f"""
It stays up until Ctrl-C. Look at it:
  Observations    {stage.base_url}/Observation?subject=Patient/{PEOPLE[0]}&_count=5
  web console     {stage.base_url.removesuffix("/fhir")}/ui
  the hub         stafet-hub status --config {hub} --json
  the bridge      stafet-bridge hub list --config {bridge}
  files and logs  {stage.directory}""",
        highlight=False,
        soft_wrap=True,
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt):
        signal.pause()
