"""The whole relay on one machine, for the demonstration, the journey tests and the benchmark (docs/simulator.md)."""

from simulator.stage.processes import MissingPartError, Process, StageError
from simulator.stage.stage import HUB, Stage, address_of

__all__ = ["HUB", "MissingPartError", "Process", "Stage", "StageError", "address_of"]
