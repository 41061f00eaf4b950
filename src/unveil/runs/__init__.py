"""The run folder: all it takes to repeat a run, to resume it and to use what it learned."""

from unveil.runs.create import create_run
from unveil.runs.resume import train_run
from unveil.runs.run import Run, open_run

__all__ = ["Run", "create_run", "open_run", "train_run"]
