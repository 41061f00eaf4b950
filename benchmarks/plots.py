"""The pictures of the documentation, from the results of the benchmarks."""

from itertools import product
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

__all__ = ["plot_below_noise", "plot_reconstructions", "plot_samples"]

COLOURS = plt.get_cmap("tab10").colors


def plot_below_noise(result: dict, path: Path) -> None:
    """PSNR against the noise level, and its gap to the oracle, in the manner of Levac et al. 2026; sigma_n marked."""
    methods, levels = dict(result["methods"]), result["levels"]
    oracle = methods.pop("oracle")
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6), constrained_layout=True)
    left.plot(levels, oracle["psnr"], color="black", linewidth=2, label=oracle["label"])
    right.axhline(0, color="black", linewidth=2)
    for i, row in enumerate(methods.values()):
        style = {"color": COLOURS[i % 10], "linestyle": ("-", "--", ":")[i // 10 % 3], "marker": "o", "markersize": 3}
        gap = [a - b for a, b in zip(oracle["psnr"], row["psnr"])]
        left.plot(levels, row["psnr"], label=row["label"], **style)
        right.plot(levels, gap, **style)
    for axes in (left, right):
        axes.axvline(result["sigma_n"], color="grey", linewidth=1)
        axes.set_xscale("log")
        axes.set_xticks(levels, [f"{s:g}" for s in levels])
        axes.minorticks_off()
        axes.set_xlabel("noise level s of the test images; grey: the measured level")
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    left.set_ylabel("PSNR, dB")
    right.set_ylabel("gap to the oracle, dB")
    right.set_yscale("symlog", linthresh=0.1)
    right.set_yticks([0, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10], ["0", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10"])
    right.invert_yaxis()
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def plot_reconstructions(
    truth: Tensor, pictures: dict[str, Tensor], labels: dict[str, str], path: Path, images: int = 3
) -> None:
    """The first test images: each method's reconstruction, and the truth last. Complex images as their modulus."""
    columns = [(labels[name], x) for name, x in pictures.items()] + [("truth", truth)]
    figure = Figure(figsize=(1.7 * len(columns), 1.85 * images), layout="constrained")
    axes = figure.subplots(images, len(columns), squeeze=False)
    for row in range(images):
        top = float(truth[row].abs().max())
        for axis, (label, x) in zip(axes[row], columns):
            image = _flat(x[row])
            low = -top if float(truth.min()) < -0.2 else 0.0
            if image.ndim == 3:
                image = image.clamp(0, 1)
            axis.imshow(image.numpy(), cmap="gray", vmin=low, vmax=top, interpolation="nearest")
            axis.set_axis_off()
            if row == 0:
                axis.set_title(fill(label, 24), fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


def plot_samples(truth: Tensor, rows: dict[str, tuple[Tensor, Tensor]], path: Path, images: int = 2) -> None:
    """The first images of each method: its estimate, three samples, where samples differ, and where the estimate errs.

    rows: label -> (x_hat (N, C, H, W), samples (S, N, C, H, W)). Deviation and error have one scale, the larger's.
    """
    titles = ("estimate", "sample", "sample", "sample", "deviation of samples", "error of the estimate", "truth")
    figure = Figure(figsize=(1.7 * len(titles), 1.8 * images * len(rows)), layout="constrained")
    axes = figure.subplots(images * len(rows), len(titles), squeeze=False)
    for row, (label, i) in zip(axes, product(rows, range(images))):
        x_hat, samples, x = (t.cpu() for t in (rows[label][0][i], rows[label][1][:, i], truth[i]))
        apart = [samples.var(0).sum(0).sqrt(), (x_hat - x).square().sum(0).sqrt()]
        most, top = float(torch.stack(apart).max()), float(x.abs().max())
        low = -top if float(truth.min()) < -0.2 and len(x) == 1 else 0.0
        for axis, image in zip(row, (x_hat, *samples[:3])):
            axis.imshow(_flat(image).clamp(low, top), cmap="gray", vmin=low, vmax=top, interpolation="nearest")
        for axis, image in zip(row[4:], apart):
            axis.imshow(image, cmap="magma", vmin=0, vmax=most, interpolation="nearest")
        row[-1].imshow(_flat(x), cmap="gray", vmin=low, vmax=top, interpolation="nearest")
        row[0].set_ylabel(fill(label, 20), fontsize=7)
    for axis, title in zip(axes[0], titles):
        axis.set_title(title, fontsize=7)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _flat(x: Tensor) -> Tensor:
    """x (C, H, W) as it is shown: (H, W), of a complex image its modulus; (H, W, 3) in colour."""
    return torch.linalg.vector_norm(x, dim=0) if len(x) == 2 else x.movedim(0, -1).squeeze(-1)


def plot_perception(result: dict, path: Path) -> None:
    """The plane of Blau and Michaeli 2018: the root of the Frechet distance against the error, better to the left."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.2), constrained_layout=True)
    for name, point in result["points"].items():
        if name != "noisy":
            left.plot(-point["psnr"], point["distance"] ** 0.5, "s", color="0.45")
            left.annotate(name, (-point["psnr"], point["distance"] ** 0.5), (5, 4), textcoords="offset points")
    left.axhline(result["clean"] ** 0.5, color="0.6", linestyle=":", label="clean images of other scenes")
    for colour, row in zip(COLOURS, result["networks"].values()):
        ks = [int(k) for k in row["means"]]
        points = [*row["means"].values(), row["estimate"]]
        xs, ys = [-p["psnr"] for p in points], [p["distance"] ** 0.5 for p in points]
        left.plot(xs, ys, "o-", color=colour, label=row["label"], markersize=4)
        left.plot(xs[-1], ys[-1], "*", color=colour, markersize=12)
        for k, x, y in zip(ks, xs, ys):
            left.annotate(str(k), (x, y), (3, 4), textcoords="offset points", fontsize=8, color=colour)
        base = row["estimate"]["psnr"]
        costs = [base - p["psnr"] for p in row["means"].values()]
        right.plot(ks, costs, "o", color=colour, label=f"{row['label']}: measured, with the truth")
        without = [row["estimate"]["by_stein"] - p["by_spread"] for p in row["means"].values()]
        right.plot(ks, without, "x", color=colour, label=f"{row['label']}: without it")
    right.plot(ks, [10 * np.log10(1 + 1 / k) for k in ks], color="0.4", label="exact samples: (1 + 1/k) of the least")
    right.set_xscale("log", base=2)
    right.set_xticks(ks, [str(k) for k in ks])
    right.set_xlabel("k samples in the mean")
    right.set_ylabel("what it costs against the estimate, dB")
    left.set_xlabel("mean square error, dB of 1: less is to the left")
    left.set_ylabel("root of the Fréchet distance to clean images")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    left.plot([], [], "*", color="0.4", markersize=10, label="the estimate; numbers: means of so many samples")
    left.legend(frameon=False, fontsize=8, loc="lower left")
    right.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)
    plt.close(figure)
