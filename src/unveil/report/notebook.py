"""What notebooks show of measurements, models and results: small pictures in one window, and words."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from markupsafe import Markup, escape
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from unveil.evaluation import Evaluation
from unveil.measurement import Measurement
from unveil.noise import Noise, OwnNoise
from unveil.report.figures import COLUMNS
from unveil.report.kept import DEVIATION, pictures_of
from unveil.report.look import coloured, intensities, png, window_of
from unveil.report.panels import data_url

__all__ = ["evaluation_html", "measurement_html", "words_html"]

PICTURED = 4
"""Measurements of a batch, and pictures of a result, that are shown."""
SIDE = 192
"""The longest side of a picture, pixels: notebooks keep them."""


def measurement_html(m: Measurement) -> str:
    """Return the first measurements of a batch as pictures A^+ y, each in its own window, and what is known of them."""
    operator = type(m.operator).__name__
    words = {
        "measurements": f"{len(m)} of shape {tuple(m.y.shape[1:])}",
        "operator": operator,
        "noise": named(m.noise),
    }
    x = m[:PICTURED].operator.A_dagger(m[:PICTURED].y).detach().cpu()
    shown = [(f"{i}", *picture(image, window_of(image))) for i, image in enumerate(x)] if x.ndim == 4 else []
    return words_html("Measurement", words, shown)


def evaluation_html(result: Evaluation) -> str:
    """Return a result as pictures in one window, and its figures."""
    metrics = {key: value for key, value in asdict(result.metrics).items() if isinstance(value, float)}
    words = {COLUMNS.get(key, key): f"{value:.{2 if key.startswith('psnr') else 3}f}" for key, value in metrics.items()}
    window = window_of(result.x_hat)
    kept = ("measured", "estimate", "sample_000", "reference", DEVIATION)
    shown = []
    for name, x in pictures_of(result).items():
        if name == DEVIATION:
            high = max(float(x.max()), 1e-30)
            shown.append((name, data_url(coloured(reduced(x)[0], high)), f"0 to {high:.3g}"))
        elif name in kept:
            shown.append((name, *picture(x, window)))
    note = "PSNR in dB. Figures without a reference hold where the noise model fits: unveil evaluate looks at that."
    return words_html(result.metrics.name, words, shown, note)


def words_html(
    title: str, words: Mapping[str, str], pictures: Sequence[tuple[str, str, str]] = (), note: str = ""
) -> str:
    """Return a title, words by name, and pictures (name, address, window) as HTML; all of it is escaped."""
    figure = Markup(
        '<figure style="display:inline-block;margin:4px;vertical-align:top"><img alt="{name}" src="{url}" '
        'style="height:160px;image-rendering:pixelated"><figcaption style="font-size:85%">{name}<br>{window}'
        "</figcaption></figure>"
    )
    row = Markup('<tr><td style="text-align:left">{}</td><td style="text-align:left">{}</td></tr>')
    parts = [Markup("<div><strong>{}</strong>").format(title)]
    parts += [figure.format(name=name, url=url, window=window) for name, url, window in pictures]
    if pictures:
        parts.insert(1, Markup("<br>"))
    parts += [Markup("<table>"), *(row.format(name, text) for name, text in words.items()), Markup("</table>")]
    return str(Markup("").join([*parts, escape(note), Markup("</div>")]))


def picture(x: Tensor, window: tuple[float, float]) -> tuple[str, str]:
    """Return the address of the small picture of x (C, H, W), and its window in words."""
    return data_url(png(reduced(intensities(x)), window)), f"black {window[0]:.3g}, white {window[1]:.3g}"


def reduced(x: Tensor) -> Tensor:
    """Return means over parts of x (C, H, W), so that no side is longer than SIDE."""
    k = -(-max(x.shape[1:]) // SIDE)
    return adaptive_avg_pool2d(x, (-(-x.shape[1] // k), -(-x.shape[2] // k))) if k > 1 else x


def named(noise: Noise | OwnNoise) -> str:
    """Return the family of the noise and its parameters, in words."""
    return f"{noise.family.__name__.lower()}, {noise}"
