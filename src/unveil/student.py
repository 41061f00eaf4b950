"""Student's t, for means whose standard error is itself found from few values."""

__all__ = ["student"]


def student(level: float, freedom: int) -> float:
    """Return the q that |Student's t| is below with probability `level`."""
    from scipy.special import stdtrit  # scipy comes with scikit-image

    return float(stdtrit(freedom, (1 + level) / 2))
