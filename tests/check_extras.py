"""Each extra alone is enough to start its program.

A Pi that installs `stafet[hub]` must never meet an ImportError for something only a developer has. So each program is
started with a site directory that holds exactly what its extra asks for (links into this environment, followed through
the installed metadata), and every module of its room is imported there.
"""

import os
import subprocess
import sys
import tempfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = {"hub": ("edge", "stafet-hub"), "bridge": ("bridge", "stafet-bridge"), "sim": ("simulator", "stafet-sim")}

START = """
import importlib, pkgutil, sys
sys.path[:0] = {path!r}
room = importlib.import_module({room!r})
modules = [m.name for m in pkgutil.walk_packages(room.__path__, room.__name__ + ".")]
for name in modules:
    importlib.import_module(name)
sys.argv = [{program!r}, "--help"]
from {room}.cli import main
sys.exit(main())
"""


def closure(name: str, extras: frozenset[str], seen: dict[tuple[str, frozenset[str]], Distribution]) -> None:
    """Collect the distributions that `name[extras]` needs here, by the metadata of what is installed."""
    key = (name.lower().replace("_", "-"), extras)
    if key in seen:
        return
    found = distribution(name)
    seen[key] = found
    for line in found.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            closure(requirement.name, frozenset(requirement.extras), seen)


def link_site(site: Path, extra: str) -> list[str]:
    """Fill `site` with links to the files of `stafet[extra]`'s needs; return their names."""
    seen: dict[tuple[str, frozenset[str]], Distribution] = {}
    closure("stafet", frozenset({extra}), seen)
    names = set()
    for found in seen.values():
        names.add(found.name)
        if found.name == "stafet":
            continue
        tops = {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            target = site / top
            if not target.exists():
                target.symlink_to(Path(str(found.locate_file(top))).resolve())
    return sorted(names)


def main() -> int:
    """Start every program alone; 1 if one of them needs more than its extra names."""
    failed = False
    for extra, (room, program) in PROGRAMS.items():
        with tempfile.TemporaryDirectory() as directory:
            site = Path(directory)
            try:
                names = link_site(site, extra)
            except PackageNotFoundError as error:
                print(f"{program}: {error} is not installed: run make setup", file=sys.stderr)
                return 1
            code = START.format(path=[str(ROOT), str(site)], room=room, program=program)
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-W", "ignore", "-c", code],
                capture_output=True,
                text=True,
                check=False,
                env={"PATH": os.environ["PATH"], "HOME": directory},
                timeout=120,
            )
        if done.returncode:
            failed = True
            print(f"FAIL {program} with stafet[{extra}] alone\n{done.stderr}", file=sys.stderr)
        else:
            print(f"ok   {program} starts with stafet[{extra}] alone ({len(names)} distributions)")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
