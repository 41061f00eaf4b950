"""How a training in several stages reports its progress."""

from collections.abc import Callable

from unveil.training.loop import Progress

__all__ = ["Stages"]

Stages = Callable[[str], Progress]
"""A stage's name -> what is called with (done, all, metrics) as it goes on."""
