"""Images that could not be used: the others are done first, and these are listed at the end."""

import sys

from unveil.errors import UnveilError, plain

__all__ = ["EXIT_PARTLY", "Failures"]

EXIT_PARTLY = 3
"""The exit code of a command that finished, but for some of its input."""

LISTED = 10


class Failures:
    """What was left out, and why."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def add(self, error: UnveilError) -> None:
        """Note `error`, whose text names the file or image."""
        self.reasons.append(str(error))

    def end(self, done: int, code: int = EXIT_PARTLY) -> None:
        """List them on stderr, and exit with `code`.

        Raises UnveilError with the first one where nothing was `done`.
        """
        if not self.reasons:
            return
        count = len(self.reasons)
        if not done:
            others = f" (and {count - 1} more like it: none could be used)" if count > 1 else ""
            raise UnveilError(self.reasons[0] + others)
        lines = [f"unveil: {count} of the input could not be used; the other {done} are done:"]
        lines += [f"  {reason}" for reason in self.reasons[:LISTED]]
        if count > LISTED:
            lines.append(f"  and {count - LISTED} more")
        print(*map(plain, lines), sep="\n", file=sys.stderr)
        sys.exit(code)
