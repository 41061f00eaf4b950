"""The commands and their options. Each imports what it runs when it runs: torch and deepinv load late."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from unveil.processes import is_first, started

__all__ = ["app"]

app = typer.Typer(
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,  # plain help: importing rich would double the time that --help takes
    pretty_exceptions_enable=False,
    help="Learn to image from measurements alone: denoise, and draw posterior samples, with no ground truth.\n\n"
    "Any command takes --debug to show where an error came from.",
    epilog="Start with: unveil demo, or: unveil init FOLDER && unveil train unveil.yaml\n\nExit codes: 0 done; 1 a "
    "defect of unveil; 2 something to mend; 3 done, but for some of the input, which is listed; 4 check: cannot be "
    "learned as it is; 5 evaluate: done, but the noise model does not fit; 128 + n stopped by signal n.",
)

RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Run folder that unveil train wrote.")]
Input = Annotated[str, typer.Argument(metavar="INPUT", help="Folder, image, .npy, .h5, .zarr or .tif file.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a configuration key, e.g. training.steps=500."),
]
Seed = Annotated[int | None, typer.Option(min=0, metavar="INT", help="Seed of every draw.")]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, or a torch device such as cuda.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")]
Json = Annotated[bool, typer.Option("--json", help="Print what is found as JSON to stdout, and all else to stderr.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what an earlier call wrote into DIR.")]
Dtype = Annotated[
    Literal["float32", "input"],
    typer.Option("--dtype", help="Numbers in the files: float32, or input, those of INPUT: integers are rounded."),
]
Sigma = Annotated[
    float | None, typer.Option(metavar="UNITS", help="Noise level of INPUT on its [0, 1] scale; default: the run's.")
]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", "-V", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of errors.")] = False,
) -> None:
    if version:
        from unveil import __version__

        print(f"unveil {__version__}")
        raise typer.Exit
    command = context.invoked_subcommand
    if started() > 1 and command not in (None, "train"):
        from unveil.errors import Elsewhere, UnveilError

        text = f"unveil {command} runs in one process: start it without torchrun or accelerate"
        raise UnveilError(text) if is_first() else Elsewhere(text)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write.")] = Path("unveil-demo"),
    microscope: Annotated[
        bool, typer.Option("--microscope", help="Cells in few photons, by a camera that is not known, instead.")
    ] = False,
    sets: Sets = None,
    seed: Seed = 0,
    force: Force = False,
    device: Device = "auto",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Do the main job on real photographs: train on noisy ones alone, denoise, sample, report. Minutes on two cores."""
    from unveil.cli.demo import run_demo
    from unveil.cli.screen import json_to_stdout

    with json_to_stdout(json):
        run_demo(out, sets or [], seed or 0, device, dry_run, force, microscope)


@app.command()
def init(
    what: Annotated[
        str,
        typer.Argument(metavar="DATA|SYSTEM", help="Folder or file of noisy images, or an imaging system (see above)."),
    ],
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help="Measurements by SYSTEM; default: simulate some, beside FILE."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Configuration to write.")] = Path("unveil.yaml"),
    sets: Sets = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE, and the folder of simulated data.")] = False,
    simulate: Annotated[
        Literal["sources"] | None,
        typer.Option("--simulate", help="interferometry DATA.uvfits: simulated sources at its coverage and noise."),
    ] = None,
    json: Json = False,
) -> None:
    """Look at the data, and write a commented configuration for them.

    DATA: noisy images, whose noise is estimated; a warning says where it is not white, of one level and independent.
    SYSTEM DATA: measurements by inpainting, demosaicing, mri, interferometry, cryoem, tomography, blur or
    super_resolution; --set operator.mask=mask.npy and the like describe it. SYSTEM alone: a small simulated example to
    start from, in the folder example-SYSTEM. For a folder that has the name of a system write ./NAME.
    """
    from unveil.cli.init import run_init
    from unveil.cli.screen import json_to_stdout

    with json_to_stdout(json):
        run_init(what, data, out, sets or [], force, simulate is not None)


@app.command()
def estimate(
    data: Input,
    darks: Annotated[str | None, typer.Option(metavar="PATH", help="Frames without light, two or more.")] = None,
    flats: Annotated[
        str | None, typer.Option(metavar="PATH", help="Repeats of one scene, an even field or any other.")
    ] = None,
    noise_scan: Annotated[
        str | None, typer.Option("--noise-scan", metavar="PATH", help="Samples or frames without signal, of all coils.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for estimate.json, a photon-transfer plot, and maps.")
    ] = None,
    sets: Sets = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Find the noise of images: its family and parameters, with standard errors, and whether it fits.

    In the numbers of the files; from the images alone, and from calibration frames where there are any, which also tell
    offset, read noise and gain of single pixels (gain.tif, read.tif, offset.tif in DIR). The last line is what states
    it to init and train, which find it by themselves as well (noise.kind=auto).
    """
    from unveil.cli.estimate import run_estimate
    from unveil.cli.screen import json_to_stdout

    with json_to_stdout(json):
        run_estimate(data, darks, flats, noise_scan, out, sets or [], force)


@app.command()
def calibrate(
    run: RunFolder,
    data: Annotated[str, typer.Argument(metavar="DATA", help="UVFITS file of one source and one frequency band.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="UVFITS file to write.")] = Path("calibrated.uvfits"),
    seed: Seed = 0,
    device: Device = "auto",
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
    json: Json = False,
) -> None:
    """Find the stations' gains of an interferometer, scan by scan, with RUN's estimates; before denoise and sample.

    Visibilities are averaged over scans, and divided by the gains with which they fit the simulated source that is
    nearest in closure phases and log closure amplitudes, which gains leave alone. Their reduced chi^2 is printed, of
    RUN's estimate from the result: about 1 is right.
    """
    from unveil.cli.calibrate import run_calibrate
    from unveil.cli.screen import json_to_stdout

    with json_to_stdout(json):
        run_calibrate(run, data, out, seed or 0, device, force)


@app.command()
def whiten(
    data: Input,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the whitened images.")] = Path("whitened"),
    force: Force = False,
    json: Json = False,
) -> None:
    """Find the spectrum of noise that a detector has blurred (micrographs), and make it white; before init.

    The images must hold little but noise above a fifth of a cycle per pixel. Values stay in the data's units, and each
    file gives one with its axes and pixel size, as denoise's.
    """
    from unveil.cli.screen import json_to_stdout
    from unveil.cli.whiten import run_whiten

    with json_to_stdout(json):
        run_whiten(data, out, force)


@app.command()
def check(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration with a system.")],
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for what it finds.")] = None,
    sets: Sets = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Tell, before training, what the system does not see, and whether the symmetries can teach it.

    Exit code 4: it cannot be learned as it is, or the data contradict the description of the system.
    """
    from unveil.cli.check import CANNOT, run_check
    from unveil.cli.screen import json_to_stdout

    with json_to_stdout(json):
        verdict = run_check(config, sets or [], out, force)
    if not verdict.learnable or verdict.contradictions:
        raise typer.Exit(CANNOT)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG|RUN", help="Configuration, or a run folder to resume.")],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Run folder; default: runs/ and CONFIG's name. Resumed if it exists."),
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Start from this run's weights, at half the rate: fine-tuning."),
    ] = None,
    sets: Sets = None,
    seed: Seed = None,
    device: Device = "auto",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Train an estimator from the measurements alone. Ctrl-C saves; the same command resumes."""
    from unveil.cli.screen import json_to_stdout
    from unveil.cli.train import run_train

    with json_to_stdout(json):
        run_train(config, out, sets or [], seed, device, dry_run, start)


@app.command("denoise")
@app.command("reconstruct")
def reconstruct(
    context: typer.Context,
    run: RunFolder,
    data: Input,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the estimates; default: denoised, or reconstructed.")
    ] = None,
    sets: Sets = None,
    sigma: Sigma = None,
    dtype: Dtype = "float32",
    force: Force = False,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """Estimate E[x | y] of each measurement y.

    denoise and reconstruct are the same, by the names that fit complete and incomplete ones.

    A file for each file of INPUT, in its units, and of 1 or 3 channels a PNG to look at, all of a file in one window
    of intensities; of complex images a TIFF of two channels, real and imaginary part. TIFF, MRC and NPY come back as
    such, with their axes and pixel size; anything else as TIFF. Where each measurement has its own mask or defocus,
    --set operator.mask=... names those of INPUT; --set noise.gain=... its exposure. Interrupted, the same command goes
    on where it stopped. Exit code 3: done, but for the images that are listed at the end.
    """
    from unveil.cli.denoise import run_denoise

    default = Path("denoised" if context.info_name == "denoise" else "reconstructed")
    run_denoise(run, data, out or default, sigma, device, dry_run, sets or [], dtype, force)


@app.command()
def sample(
    run: RunFolder,
    data: Input,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the samples.")] = Path("samples"),
    sets: Sets = None,
    sigma: Sigma = None,
    seed: Seed = 0,
    force: Force = False,
    device: Device = "auto",
    dry_run: DryRun = False,
) -> None:
    """Draw posterior samples x ~ p(x | y) of each image, with their mean and deviation; files and units as denoise's.

    --set sampling.steps=50, sampling.samples=16 and the like change how.
    """
    from unveil.cli.sample import run_sample

    run_sample(run, data, out, sets or [], sigma, seed or 0, device, dry_run, force)


@app.command()
def evaluate(
    run: RunFolder,
    data: Annotated[
        str | None, typer.Argument(metavar="[INPUT]", help="Measurements; default: the run's own held-out ones.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Clean images, if there are any, by the measurements' names or in their order."
        ),
    ] = None,
    repeat: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Second exposures of the same scenes, by the measurements' names or in their order."
        ),
    ] = None,
    sampled: Annotated[int, typer.Option(min=0, metavar="INT", help="Images to draw posterior samples of.")] = 3,
    sets: Sets = None,
    sigma: Sigma = None,
    seed: Seed = 0,
    device: Device = "auto",
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Estimate the error without a reference (and with one, if given), and the calibration of samples.

    What makes figures doubtful is said beside them, in the report and in evaluation.json (warnings). Whether the noise
    model fits is looked at first: figures without a reference hold only if it does. Exit code 5: done, and it does not.
    """
    from unveil.cli.evaluate import run_evaluate
    from unveil.cli.screen import json_to_stdout

    with json_to_stdout(json):
        run_evaluate(run, data, reference, repeat, sampled, sets or [], sigma, seed or 0, device, dry_run)


@app.command()
def view(run: RunFolder) -> None:
    """Open what evaluate found in napari, images and their samples; in the browser where napari is not installed."""
    from unveil.cli.view import run_view

    run_view(run)


@app.command()
def report(run: RunFolder) -> None:
    """Write RUN/report.html from what evaluate found: one self-contained page to look at and to send."""
    from unveil.cli.evaluate import run_report

    run_report(run)


for command in app.registered_commands:  # whole in the list of commands, which cuts what it takes from the text itself
    if command.callback is not None:
        command.short_help = " ".join((command.callback.__doc__ or "").split("\n\n")[0].split())
