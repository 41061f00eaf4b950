"""The commands' work, in the order of the command line: each opens, checks, runs and says where to look."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from unveil.cli.screen import console, figures_table, progress_bar
from unveil.config import Config, load_config, override, parse_config, to_yaml
from unveil.data import ImageSource, atomic_write, open_images, save_image
from unveil.errors import UnveilError
from unveil.estimators import Tiled
from unveil.evaluation import draw_samples, evaluate
from unveil.noise import estimate_common_sigma
from unveil.random import make_generator
from unveil.report import write_report, write_results
from unveil.training import Interrupted, Run, build_estimator, create_run, latest_checkpoint, open_run, train_run
from unveil.training.run import open_source, split

__all__ = ["run_denoise", "run_evaluate", "run_init", "run_report", "run_sample", "run_train", "train_with_bar"]


def run_init(data: str, out: Path, sets: Sequence[str], force: bool) -> None:
    if out.exists() and not force:
        raise UnveilError(f"{out}: exists; pass --force to overwrite it, or --out with another name")
    values = override({"data": {"path": data}}, sets)
    config = parse_config(values, "--set")
    source = open_source(config)
    shapes = [source.shape(i) for i in range(len(source))]
    smallest = min(min(shape[1:]) for shape in shapes)
    if "crop" not in values.get("training", {}) and smallest < config.training.crop:
        config = parse_config(override(values, [f"training.crop={smallest // 4 * 4}"]), data)
    text = to_yaml(config)
    sigma = estimate_common_sigma(source.read(i) for i in range(min(16, len(source))))
    text = text.replace("  sigma: estimate  #", f"  sigma: estimate  # found {sigma:.4g} in the first images;")
    atomic_write(out, lambda path: path.write_text(text, encoding="utf-8"))
    largest = max(max(shape[1:]) for shape in shapes)
    console.print(
        f"{len(source)} images, {source.channels} channel(s), sides from {smallest} to {largest} pixels; "
        f"noise level about {sigma:.4g} on the [0, 1] scale"
    )
    if any(path.suffix.lower() in (".jpg", ".jpeg") for path in [Path(data), *Path(data).glob("*")]):
        console.print(
            "warning: JPEG compression removes noise unevenly: the model of white noise does not hold, and the level is "
            "underestimated; use raw or lossless images if there are any",
            soft_wrap=True,
        )
    console.print(f"wrote {out}; next: unveil train {out}", soft_wrap=True)


def run_train(
    config_or_run: Path, out: Path | None, sets: Sequence[str], seed: int | None, device: str, dry_run: bool
) -> None:
    if config_or_run.is_dir():
        if sets or seed is not None or out is not None:
            raise UnveilError(f"{config_or_run}: a run resumes as it began; for other settings train its config.yaml")
        run = open_run(config_or_run)
        folder, config = run.folder, run.config
    else:
        seeds = [] if seed is None else [f"seed={seed}"]
        config = load_config(config_or_run, [*sets, *seeds])
        folder = out or Path("runs") / config_or_run.stem
    check_device(device)
    if dry_run:
        describe(config, folder)
        return
    run = create_run(folder, config)
    if (folder / "model.safetensors").is_file():
        console.print(f"{folder} is trained already; next: unveil evaluate {folder}", soft_wrap=True)
        return
    train_with_bar(run, device)
    console.print(f"trained; next: unveil evaluate {folder}", soft_wrap=True)


def describe(config: Config, folder: Path) -> None:
    """What a run would do, on the screen."""
    source = open_source(config)
    training, held_out = split(source, config)
    parameters = sum(p.numel() for p in build_estimator(config, source.channels).parameters())
    console.print(to_yaml(config), markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"would train {parameters:,} parameters on {len(training)} images of {source.channels} channel(s), validate on "
        f"{len(held_out)}, and write {folder}; nothing written",
        soft_wrap=True,
    )


def train_with_bar(run: Run, device: str) -> nn.Module:
    """Train or resume with a progress bar; Ctrl-C says how to go on."""
    newest = latest_checkpoint(run.folder / "checkpoints")
    if newest is not None:
        console.print(f"resuming {run.folder} from {newest.name}", soft_wrap=True)
    if run.dilation != run.config.risk.dilation:
        console.print(f"the images are small: block means of sides {list(run.dilation)} only", soft_wrap=True)
    with progress_bar("training") as bar:

        def show(done: int, total: int, metrics: dict[str, float]) -> None:
            note = f"held-out PSNR est. {metrics['psnr_estimate']:.2f} dB" if "psnr_estimate" in metrics else ""
            bar(done, total, note)

        try:
            return train_run(run, device=device, progress=show)
        except Interrupted as stop:
            raise Interrupted(f"{stop}; resume with unveil train {run.folder}") from None


def run_denoise(run_folder: Path, data: str, out: Path, sigma: float | None, device: str, dry_run: bool) -> None:
    _, f, source, level = open_input(run_folder, data, sigma, device)
    if dry_run:
        console.print(f"would denoise {len(source)} images at sigma {level:.4g} into {out}", soft_wrap=True)
        return
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar("denoising") as bar, torch.no_grad():
        for i in range(len(source)):
            x_hat = f(source.read(i)[None].to(torch_device(device)), level)[0].cpu()
            save_both(out / source.name(i), x_hat)
            bar(i + 1, len(source))
    console.print(f"open {out}", soft_wrap=True)


def run_sample(
    run_folder: Path,
    data: str,
    out: Path,
    sets: Sequence[str],
    sigma: float | None,
    seed: int,
    device: str,
    dry_run: bool,
) -> None:
    run, f, source, level = open_input(run_folder, data, sigma, device)
    sampling = with_sets(run, sets).sampling
    if dry_run:
        console.print(
            f"would draw {sampling.samples} samples of each of {len(source)} images at sigma {level:.4g} by "
            f"{sampling.solver} in {sampling.steps} steps into {out}",
            soft_wrap=True,
        )
        return
    with progress_bar("sampling") as bar:
        for i in range(len(source)):
            y = source.read(i)[None].to(torch_device(device))
            generator = make_generator(y.device, seed, i)

            def show(done: int, total: int, i: int = i) -> None:
                bar(i * total + done, len(source) * total, source.name(i))

            samples = draw_samples(f, y, level, sampling, generator, show)[:, 0].cpu()
            folder = out / source.name(i)
            folder.mkdir(parents=True, exist_ok=True)
            for k, x in enumerate(samples):
                save_both(folder / f"sample_{k:03d}", x)
            save_both(folder / "mean", samples.mean(0))
            if len(samples) > 1:
                save_image(folder / "deviation.tif", samples.std(0))
    console.print(f"open {out}", soft_wrap=True)


def run_evaluate(
    run_folder: Path,
    data: str | None,
    reference: str | None,
    sampled: int,
    sets: Sequence[str],
    sigma: float | None,
    seed: int,
    device: str,
    dry_run: bool,
) -> None:
    run, f, source, level = open_input(run_folder, data, sigma, device)
    options = run.config.data
    clean = None if reference is None else open_images(reference, axes=options.axes, value_range=options.value_range)
    if dry_run:
        console.print(f"would evaluate {len(source)} images at sigma {level:.4g} into {run.folder}", soft_wrap=True)
        return
    evaluate_and_report(run, f, source, level, clean, sampled, with_sets(run, sets), seed, device)


def evaluate_and_report(
    run: Run,
    f: nn.Module,
    source: ImageSource,
    level: float,
    clean: ImageSource | None,
    sampled: int,
    config: Config,
    seed: int,
    device: str,
) -> None:
    """Evaluate with a progress bar, write results and report into the run folder, and print the table."""
    with progress_bar("evaluating") as bar:
        results = evaluate(
            f,
            source,
            level,
            config.sampling,
            reference=clean,
            sampled=sampled,
            seed=seed,
            device=torch_device(device),
            progress=bar,
        )
        rows, means = write_results(run.folder, results)
    page = write_report(run)
    console.print(figures_table(rows, means))
    console.print(f"open {page}", soft_wrap=True)


def run_report(run_folder: Path) -> None:
    console.print(f"open {write_report(open_run(run_folder))}", soft_wrap=True)


def open_input(
    run_folder: Path, data: str | None, sigma: float | None, device: str
) -> tuple[Run, nn.Module, ImageSource, float]:
    """The run, its estimator on `device`, the measurements (the run's held-out ones by default), and their level."""
    if sigma is not None and not 0 < sigma < float("inf"):
        raise UnveilError(f"--sigma {sigma}: must be > 0, the noise's standard deviation on the data's [0, 1] scale")
    run = open_run(run_folder)
    f = Tiled(run.estimator().to(torch_device(device)))
    if data is None:
        source = split(open_source(run.config), run.config)[1]
    else:
        options = run.config.data
        source = open_images(data, dataset=options.dataset, axes=options.axes, value_range=options.value_range)
    if source.channels != run.channels:
        raise UnveilError(
            f"{data}: has {source.channels} channel(s), and {run_folder} was trained on {run.channels}; convert the images, "
            "or train on images like these"
        )
    return run, f, source, sigma or run.sigma_n


def with_sets(run: Run, sets: Sequence[str]) -> Config:
    """The run's configuration with overrides of its sampling section."""
    for text in sets:
        if not text.startswith("sampling."):
            raise UnveilError(f"--set {text}: the run is trained; only sampling.* can change, e.g. sampling.steps=50")
    return parse_config(override(json.loads(run.config.model_dump_json()), sets), "--set")


def check_device(device: str) -> None:
    """Raises UnveilError when `device` is not here."""
    torch_device(device)


def torch_device(device: str) -> torch.device:
    """auto is the accelerator, where there is one."""
    if device == "auto":
        found = torch.accelerator.current_accelerator() if hasattr(torch, "accelerator") else None
        return found if found is not None and torch.accelerator.is_available() else torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UnveilError(f"--device {device}: not on this machine; use --device cpu or auto") from None
    return chosen


def save_both(stem: Path, x: Tensor) -> None:
    """x (C, H, W) as float32 TIFF and, for 1 or 3 channels, as PNG."""
    save_image(stem.with_name(stem.name + ".tif"), x)
    if x.shape[0] in (1, 3):
        save_image(stem.with_name(stem.name + ".png"), x)
