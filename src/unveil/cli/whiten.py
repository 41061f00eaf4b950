"""unveil whiten: images whose noise a detector has blurred, made ready for `unveil init`."""

import os
from pathlib import Path

import numpy as np

from unveil.cli.batch import Layer, file_names, process
from unveil.cli.failures import Failures
from unveil.cli.outputs import MANIFEST, check_free, input_identity, keep_inputs, open_results
from unveil.cli.screen import figures, progress_bar, say
from unveil.data import atomic_write, open_images
from unveil.data.like import result_files
from unveil.noise import fit_noise_spectrum, ring_power
from unveil.report.noise_spectrum import draw_noise_spectrum

__all__ = ["run_whiten"]

FIRST_IMAGES = 32
"""In which the spectrum is found; all are whitened by it."""


def run_whiten(data: str, out: Path, force: bool) -> None:
    """Write each file whitened, in the data's own units, and beside the folder a plot of the noise's spectrum."""
    source = open_images(data, value_range=(0.0, 1.0))  # the values as they are
    targets, layers = result_files(source, same_grid=True), [Layer()]
    plot = Path(os.path.relpath(f"{os.path.abspath(out)}.png"))  # beside the folder, whose name may be "."
    names = file_names(source, targets, layers, pictures=False)
    keep_inputs(source.files(), [plot])
    if not (out / MANIFEST).is_file():  # images of the user's would be taken for whitened ones
        check_free(out, force)
    results = open_results(
        out,
        {"command": "whiten", "data": input_identity(source, source.files())},
        names,
        source.files(),
        data=Path(data),
        force=force,
    )
    if not results.resumed:
        check_free(plot, force)
    first = [source.read(i) for i in range(min(FIRST_IMAGES, len(source)))]
    spectrum, failures = fit_noise_spectrum(first), Failures()
    with progress_bar("whitening") as bar:
        done, _ = process(
            source,
            targets,
            layers,
            results,
            lambda i: spectrum.whiten(source.read(i))[None],
            failures,
            lambda i: bar(i + 1, len(source)),
            pictures=False,
            dtype=np.dtype(np.float32),
        )
    before, after = ring_power(first), ring_power(spectrum.whiten(image) for image in first)
    picture = draw_noise_spectrum(spectrum, before, after)
    atomic_write(plot, lambda partial: partial.write_bytes(picture))
    say(
        f"{done} images; white noise of level {spectrum.level:.4g} in the data's units; look at {plot}: the fit must "
        "follow the power at high frequencies",
    )
    say(f"wrote {out}; next: unveil init {out}")
    figures({"images": done, "level": spectrum.level, "plot": str(plot), "folder": str(out)})
    failures.end(done)
