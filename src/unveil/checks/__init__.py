"""Are the measurements what is said of them? What data contradict, one check a file, before an hour is spent."""

from unveil.checks.contradictions import constant_images, contradictions, copied_channels, mixed_types
from unveil.checks.fit import Fit, noise_fit
from unveil.checks.look import look
from unveil.checks.outliers import outliers
from unveil.checks.scale import ScaleCheck, scale_invariance
from unveil.checks.seen import Seen, out_of_range, see

__all__ = [
    "Fit", "ScaleCheck", "Seen", "constant_images", "contradictions", "copied_channels", "look", "mixed_types",
    "noise_fit", "out_of_range", "outliers", "scale_invariance", "see",
]  # fmt: skip
