"""`make soak`: every decoder against a million inputs of noise, with the time it will take and a seed to repeat it.

python -m tests.soak [--inputs N] [--seed S] [--workers N] [PATH ...]

First a short run tells how long the long one takes. Then pytest prints a line for each decoder as it is done, how far
the whole has come, and at the end how long each took. A failure prints the bytes; the seed prints them again.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
FUZZ = (
    "tests/wire/test_gatt_faults.py",
    "tests/wire/test_serial_faults.py",
    "tests/wire/test_x73_faults.py",
    "tests/wire/test_envelope_fuzz.py",
    "tests/wire/test_ghs_segments.py",
    "tests/wire/test_measurement_json.py",
    "tests/wire/x73/test_codec.py",
)
"""Where STAFET_FUZZ counts."""
LONG = (
    "tests/edge/test_outbox_damage.py",
    "tests/edge/test_outbox_killed.py",
    "tests/edge/test_cli.py",
    "tests/bridge/test_relay_killed.py",
)
"""Where STAFET_SOAK makes more rounds (`tests.support.rounds`)."""
NOISY = "noise or noisy or fuzz or mutated or damaged or gone_wrong"
"""What of it: tests that count inputs; the others need no second run."""
SAMPLE = 20_000
START_S = 4.0
"""Collecting and starting workers, which does not grow with the inputs."""


def pytest(paths: list[str], inputs: int, seed: str, *options: str, noisy: bool = True) -> int:
    """Run the tests of these files, with `noisy` only those that count inputs; pytest's exit status."""
    environ = os.environ | {"STAFET_FUZZ": str(inputs), "STAFET_SEED": seed, "STAFET_SOAK": "1"}
    chosen = ("-k", NOISY) if noisy else ()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--timeout=0", *chosen, *options, *paths]
    return subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode


def main() -> int:
    """Estimate, run, and say how to repeat it."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*", help="test files (default: all that fuzz, then all that kill and damage)")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="for each decoder (default: 1,000,000)")
    parser.add_argument("--seed", default=None, help="of an earlier run (default: a new one)")
    parser.add_argument("--workers", default="auto", help="processes (default: one for each core)")
    options = parser.parse_args()
    seed = options.seed or f"{time.time_ns():x}"
    paths, workers = list(options.paths or FUZZ), ("-n", options.workers)
    print(f"soak: {options.inputs:,} inputs for each decoder, seed {seed}", flush=True)
    if options.inputs > 5 * SAMPLE:
        began = time.monotonic()
        status = pytest(paths, SAMPLE, seed, "-q", *workers)
        if status:
            print(f"soak: it fails at once; again with: make soak FUZZ={SAMPLE} SEED={seed}")
            return status
        minutes = (time.monotonic() - began) * options.inputs / SAMPLE / 60
        print(f"soak: {options.inputs:,} inputs for each will take about {minutes:.0f} min", flush=True)
    began = time.monotonic()
    status = pytest(paths, options.inputs, seed, "-v", "--durations=0", "--durations-min=1", *workers)
    if not options.paths:
        status = status or pytest([*LONG], options.inputs, seed, "-v", *workers, noisy=False)
    minutes = (time.monotonic() - began) / 60
    outcome = "nothing broke" if status == 0 else f"FAILED; again with: make soak FUZZ={options.inputs} SEED={seed}"
    print(f"soak: {options.inputs:,} inputs for each decoder, seed {seed}, {minutes:.1f} min: {outcome}")
    return status


if __name__ == "__main__":
    sys.exit(main())
