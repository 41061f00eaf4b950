"""The draws of a round, shared among the processes of a training: each makes every N-th of them."""

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from unveil.data import DrawStore, ImageSource
from unveil.training import ranks
from unveil.training.interrupt import stop_on_interrupt

__all__ = ["make_draws"]


def make_draws(
    path: Path, like: ImageSource, draw: Callable[[int], Tensor], progress: Callable[[int, int], object] | None = None
) -> DrawStore:
    """Make draw(i) (C, H, W) for each image i of `like`, in the zarr group `path`; draws that it holds are kept.

    draw: from a generator that depends on i alone, so that neither an interruption nor the number of processes matters.
    No two processes write one array. progress: (images done, all), called in the first process.
    Raises UnveilError when the draws cannot be written, and Interrupted after Ctrl-C, the last image saved.
    """
    ranks.from_first(lambda: DrawStore(path, like) and None)  # which makes the group
    with ranks.together():
        store = DrawStore(path, like)
    done = 0
    with stop_on_interrupt() as stop:
        with ranks.together():
            for i in range(ranks.index(), len(store), ranks.count()):
                if not store.has(i):
                    store.write(i, draw(i))
                done = min(i + ranks.count(), len(store))
                if progress is not None and ranks.is_first():
                    progress(done, len(store))
                if stop.requested:
                    break
        asked = ranks.agree(stop)
    if asked:
        raise stop.interrupted(f"stopped after {done} of {len(store)} draws, saved in {path}")
    return store
