"""Counts and ranges as a sentence has them: 1 image, 3 images, 64 pixels, 64 to 96 pixels."""

__all__ = ["counted", "spanned"]


def counted(n: int, thing: str, several: str | None = None) -> str:
    """Return n and the thing, in the plural unless n is 1: `several`, or the thing with an s."""
    return f"{n:,} {thing if n == 1 else several or thing + 's'}"


def spanned(low: float, high: float) -> str:
    """Return "low to high", and one number where they are the same."""
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
