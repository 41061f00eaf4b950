"""Metrics of a run, as JSON lines and for TensorBoard."""

import json
from pathlib import Path
from types import TracebackType

from unveil.errors import UnveilError

__all__ = ["MetricsLog", "read_metrics"]


class MetricsLog:
    """Appends one JSON object a call to folder/metrics.jsonl, and the same to folder/tensorboard.

    On resume from `step`, lines of later steps are dropped: they are about to be written again.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        from torch.utils.tensorboard import SummaryWriter

        path = folder / "metrics.jsonl"
        kept = [line for line in read_metrics(folder) if line["step"] <= step]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(line) + "\n" for line in kept))
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

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.file.close()
        self.board.close()


def read_metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of folder/metrics.jsonl, oldest first; a last line that was cut off is dropped."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    metrics = []
    for line in lines:
        try:
            metrics.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return metrics
