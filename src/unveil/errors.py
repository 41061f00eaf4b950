"""What the user can mend: every such error or warning is one line: what was wrong, where, and what to do."""

import warnings

__all__ = ["Elsewhere", "UnveilError", "UnveilWarning", "plain", "warn"]


class UnveilError(ValueError):
    """An input that cannot be used. The command line prints it as one line and exits with `code`.

    The names of files and what is in them may contain anything: control characters and line breaks become escapes.
    """

    def __init__(self, message: str, *, code: int = 2) -> None:
        super().__init__(_line(message))
        self.code = code


class Elsewhere(UnveilError):
    """What stopped another process of the same training, which says it: the command line exits without a word."""


class UnveilWarning(UserWarning):
    """Something that does not fit, though the work goes on. The command line prints it as one line on stderr."""


def warn(message: str) -> None:
    """Warn of `message`, one line: what does not fit, where, and what to do."""
    warnings.warn(_line(message), UnveilWarning, stacklevel=3)


def plain(text: str) -> str:
    """Return `text` with its control characters, and what is not Unicode, as escapes: \\x1b, \\udcff.

    Not Unicode are names that are not UTF-8.
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _line(message: str) -> str:
    return plain(message).replace("\n", "\\n")
