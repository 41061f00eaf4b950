"""What a file of measurements points to is followed within the data's own folder only.

A link in a file that somebody sent must not show what else is on the disk.
"""

from __future__ import annotations

from pathlib import Path

from unveil.errors import UnveilError

__all__ = ["inside"]


def inside(where: str, target: Path, *folders: Path) -> Path:
    """Return `target`, its links resolved.

    Raises UnveilError where it does not lie in one of `folders`, which are resolved.

    where: what points to it, for the message.
    """
    try:
        real = target.resolve()
    except (OSError, RuntimeError, ValueError):  # links in a circle, a NUL in the name
        raise UnveilError(f"{where} points to {str(target)!r}, where there is nothing: put the file there") from None
    if not any(real.is_relative_to(folder) for folder in folders):
        raise UnveilError(
            f"{where} points to {real}, outside the data's own folder {folders[0]}, which is not followed: copy what "
            "it points to into the folder, in place of the link"
        )
    return real
