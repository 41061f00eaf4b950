"""Linear algebra by products with a matrix alone: conjugate gradients, Lanczos, the spectral norm."""

from unveil.linalg.conjugate_gradients import conjugate_gradients, solve
from unveil.linalg.lanczos import lanczos
from unveil.linalg.spectral_norm import spectral_norm

__all__ = ["conjugate_gradients", "lanczos", "solve", "spectral_norm"]
