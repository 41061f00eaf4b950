"""How many processes torchrun or accelerate started with this command line, and which of them speaks.

No heavy imports.
"""

import os

__all__ = ["is_first", "started"]


def started() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Return whether this process prints what all would."""
    return os.environ.get("RANK", "0") == "0"
