"""The pictures of the documentation, from the results of the benchmarks."""

from pathlib import Path
from textwrap import fill

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

__all__ = ["plot_below_noise", "plot_reconstructions"]

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
            image = x[row].square().sum(0).sqrt() if x.shape[1] == 2 else x[row].permute(1, 2, 0).squeeze(-1)
            low = -top if float(truth.min()) < -0.2 else 0.0
            if image.ndim == 3:
                image = image.clamp(0, 1)
            axis.imshow(image.numpy(), cmap="gray", vmin=low, vmax=top, interpolation="nearest")
            axis.set_axis_off()
            if row == 0:
                axis.set_title(fill(label, 24), fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
