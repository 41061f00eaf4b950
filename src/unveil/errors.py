"""What the user can mend: every such error is one line that says what was wrong, where, and what to do."""

__all__ = ["UnveilError"]


class UnveilError(ValueError):
    """An input that cannot be used. The command line prints it as one line and exits with code 2."""
