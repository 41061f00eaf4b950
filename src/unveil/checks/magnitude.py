"""Whether images are magnitudes, by what their files say: their noise is then Rician, and no family fits it.

|u + n| of a complex u and noise n of level sigma deviates by .97 sigma, about a mean .17 sigma too high, at
u = 3 sigma, and by .66 sigma about 1.25 sigma where u = 0 (H. Gudbjartsson and S. Patz 1995,
https://doi.org/10.1002/mrm.1910340618).
"""

from unveil.checks.look import spread
from unveil.data import ImageSource

__all__ = ["magnitude_line"]


def magnitude_line(source: ImageSource) -> str | None:
    """Return a line where files of `source` say that they hold magnitudes of complex numbers, else None."""
    for i in spread(len(source)):
        origin = source.origin(i)
        if origin is not None and origin.magnitude:
            return (
                f"{source.name(i)} holds magnitudes by its header, as MR images do: their noise is Rician, which no "
                "family fits where the signal is below 3 times the noise, and estimates come out too bright there; "
                "take the complex images or k-space (unveil init mri), or trust the bright parts alone"
            )
    return None
