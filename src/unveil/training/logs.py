"""Metrics of a run, as JSON lines and for TensorBoard."""

import json
import os
from pathlib import Path
from types import TracebackType

from unveil.data.atomic import atomic_write
from unveil.errors import UnveilError

__all__ = ["MetricsLog", "read_metrics"]


class MetricsLog:
    """Appends one JSON object a call to folder/metrics.jsonl, and the same to folder/tensorboard.

    On resume from `step`, lines of later steps are dropped: they are about to be written again.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        path = folder / "metrics.jsonl"
        kept = "".join(json.dumps(line) + "\n" for line in read_metrics(folder) if line["step"] <= step)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            atomic_write(path, lambda partial: partial.write_text(kept))
            self.file = path.open("a", buffering=1)
            self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        except OSError as error:
            raise UnveilError(f"{path}: cannot write ({error.strerror}); free space or permissions") from None

    def write(self, step: int, values: dict[str, float]) -> None:
        try:
            self.file.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise UnveilError(f"{self.file.name}: cannot write ({error.strerror}); free space, then resume") from None
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def sync(self) -> None:
        """Wait until all lines are on the disk: before a checkpoint, which is resumed from after them."""
        try:
            os.fsync(self.file.fileno())
        except OSError as error:
            raise UnveilError(f"{self.file.name}: cannot write ({error.strerror}); free space, then resume") from None

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        self.board.close()


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """Return the lines of folder/metrics.jsonl, oldest first; a last line that was cut off is dropped.

    Raises UnveilError when another line is none of such a file.
    """
    path = folder / "metrics.jsonl"
    if not path.is_file():
        return []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UnveilError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    whole, cut = lines[:-1], lines[-1]  # a line counts once its end is written
    metrics = []
    for number, line in enumerate(whole, start=1):
        values = _values(line)
        if values is None:
            raise UnveilError(
                f"{path}: line {number} is damaged; restore the file, or move it out of the folder: what comes next is "
                "logged anew"
            )
        metrics.append(values)
    last = _values(cut)
    return metrics if last is None else [*metrics, last]


def _values(line: bytes) -> dict[str, float] | None:
    """Return the metrics in `line`, a `step` and numbers; None if it holds anything else."""
    try:
        values = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or type(values.get("step")) is not int:
        return None
    numbers = all(type(v) is float or (type(v) is int and abs(v) < 2**63) for v in values.values())
    return values if numbers else None
