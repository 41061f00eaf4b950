"""Can this be learned from these measurements? Checks on measurements alone, one a file, before an hour is spent."""

from unveil.identify.scale import ScaleCheck, scale_invariance

__all__ = ["ScaleCheck", "scale_invariance"]
