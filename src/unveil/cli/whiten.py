"""unveil whiten: images whose noise a detector has blurred, made ready for `unveil init`."""

import re
from pathlib import Path

from unveil.cli.init import check_free
from unveil.cli.screen import progress_bar, say
from unveil.data import atomic_write, open_images, save_image
from unveil.noise import fit_noise_spectrum, ring_power
from unveil.report.noise_spectrum import draw_noise_spectrum

__all__ = ["run_whiten"]

FIRST_IMAGES = 32
"""In which the spectrum is found; all are whitened by it."""


def run_whiten(data: str, out: Path, force: bool) -> None:
    """Write each image whitened, a float32 TIFF in the data's own units, and beside the folder a plot of the noise's spectrum."""
    check_free(out, force)
    source = open_images(data, value_range=(0.0, 1.0))  # the values as they are
    first = [source.read(i) for i in range(min(FIRST_IMAGES, len(source)))]
    spectrum = fit_noise_spectrum(first)
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar("whitening") as bar:
        for i in range(len(source)):
            name = re.sub(r"[^\w.-]+", "_", source.name(i))
            save_image(out / f"{name}.tif", spectrum.whiten(source.read(i)))
            bar(i + 1, len(source))
    before, after = ring_power(first), ring_power(spectrum.whiten(image) for image in first)
    picture, path = draw_noise_spectrum(spectrum, before, after), out.with_name(out.name + ".png")
    atomic_write(path, lambda partial: partial.write_bytes(picture))
    say(
        f"{len(source)} images; white noise of level {spectrum.level:.4g} in the data's units; look at {path}: the fit must "
        "follow the power at high frequencies",
    )
    say(f"wrote {out}; next: unveil init {out}")
