"""How a training in several stages reports its progress."""

from collections.abc import Callable

from unveil.training.loop import Progress

__all__ = ["Stages", "reading"]

Stages = Callable[[str], Progress]
"""A stage's name -> what is called with (done, all, metrics) as it goes on."""


def reading(stages: Stages | None) -> Callable[[int, int], object] | None:
    """Return progress of reading the data, which begins once some are read."""
    if stages is None:
        return None
    progress: list[Progress] = []

    def show(done: int, total: int) -> None:
        if not progress:
            progress.append(stages("reading the data"))
        progress[0](done, total, {})

    return show
