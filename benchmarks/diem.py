"""DiEM: a diffusion prior of the images, learned by expectation maximisation from measurements alone.

    D_0 <- the best Gaussian prior of the images, by EM
    lap k:   x_k ~ p(x | y) under D_k-1, by moment matching;     D_k <- the denoiser of x_k, from the weights of D_k-1

(Rozet, Andry, Lanusse and Louppe 2024, https://arxiv.org/abs/2405.13712.) Here in a few laps where they take 16 (MRI);
the Gaussian is stationary where theirs has a low rank; and images are turned by the symmetries in each M step, without
which one mask for all says nothing of what it leaves out (they have a mask for each image, and flip and shift).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmps import samples_under_prior
from published import BySamples, Setting
from unveil.data import ImageSource
from unveil.dataset import Dataset
from unveil.diffusion import HIGHEST, geometric
from unveil.errors import UnveilError
from unveil.estimators import Preconditioned, Stationary, UNet
from unveil.losses import LogUniform, Simulated
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.symmetry import make_symmetry
from unveil.training.draws import make_draws
from unveil.training.em import LOWEST, chosen
from unveil.training.setup import signal_mean
from unveil.training.spectrum import learn_spectrum

__all__ = ["UnderLearned", "learn"]

LAPS = 4


class Shaped(ImageSource):
    """The names of measurements, and the shape (C, H, W) of the images that are drawn from them.

    Nothing can be read.
    """

    def __init__(self, measurements: ImageSource, image_shape: tuple[int, ...]) -> None:
        self._measurements = measurements
        self._shape = image_shape

    @property
    def channels(self) -> int:
        return self._shape[0]

    def __len__(self) -> int:
        return len(self._measurements)

    def shape(self, i: int) -> tuple[int, int, int]:
        channels, height, width = self._shape
        return channels, height, width

    def name(self, i: int) -> str:
        return self._measurements.name(i)

    def _read(self, i: int, window: tuple[int, int, int, int]) -> Tensor:
        raise UnveilError(f"{self.name(i)}: only its shape is known, not the image")


class Linear(nn.Module):
    """E[x | y] under the Gaussian prior."""

    def __init__(self, gaussian: Stationary) -> None:
        super().__init__()
        self.gaussian = gaussian

    def forward(self, m: Measurement) -> Tensor:
        """Return x_hat (B, *image)."""
        return self.gaussian.estimate(m)


class UnderLearned(BySamples):
    """Samples under the prior of the last lap."""

    def __init__(self, prior: Preconditioned, linear: Linear) -> None:
        self.prior, self.linear = prior, linear

    def draw(self, m: Measurement, generator: torch.Generator, samples: int, evaluations: int) -> Tensor:
        with torch.no_grad():
            about = self.linear(m)
        highest = HIGHEST * self.prior.std
        return samples_under_prior(self.prior, m, about, highest, generator, samples=samples, steps=evaluations)


def drawing(
    linear: Linear, prior: nn.Module, data: Dataset, highest: float, steps: int, seed: int
) -> Callable[[int], Tensor]:
    """i -> x (C, H, W) ~ p(x | y_i) under the prior, on its device; each of a generator of its own."""
    device = next(prior.parameters()).device
    linear.to(device)

    def draw(i: int) -> Tensor:
        m, generator = data[i].to(device), make_generator(device, seed, i)
        x = samples_under_prior(
            prior, m, linear(m), highest, generator, samples=1, steps=steps, schedule=geometric, lowest=LOWEST
        )
        return x[0, 0]

    return torch.no_grad()(draw)


def learn(estimator: nn.Module, setting: Setting) -> UnderLearned:
    """Return the sampler; the network is as large as `estimator`, which knows measurements and is not used."""
    config, folder, device = setting.config, setting.folder, setting.device
    data, shape = chosen(setting.data, config.em.images), setting.data.operator.image_shape
    assert shape is not None
    mean, std = signal_mean(config), config.estimator.std
    gaussian = Stationary(shape, mean, std)
    learn_spectrum(gaussian, setting.data, seed=config.seed)
    linear = Linear(gaussian)
    turned = make_symmetry([name for name in config.loss.symmetry if name not in ("amplitude", "shift")])
    of_images = Simulated(LogUniform(0.04 * float(data[0].level), HIGHEST * std), turned)

    def loss(f: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
        return of_images(f, x, Identity(), Gaussian(torch.ones((), device=x.device)), generator)

    def first(i: int) -> Tensor:
        return gaussian.posterior_draw(data[i], make_generator("cpu", config.seed, 40, i))[0]

    like = Shaped(data.source, shape)
    draws: ImageSource = make_draws(folder / "draws-0.zarr", like, first)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        prior: nn.Module = Preconditioned(UNet(shape[0], config.estimator.widths, config.estimator.blocks), mean, std)
    for lap in range(LAPS):
        if lap:
            draw = drawing(
                linear, prior.to(device).eval(), data, HIGHEST * std, 2 * config.em.draw_steps, config.seed + 50 + lap
            )
            draws = make_draws(folder / f"draws-{lap}.zarr", like, draw)

        def batches(generator: torch.Generator, images: ImageSource = draws) -> Tensor:
            which = torch.randint(0, len(images), (config.training.batch,), generator=generator)
            return torch.stack([images.read(i) for i in which.tolist()])

        prior = setting.fit(prior, loss, batches, config.training.steps // LAPS, lap)
    assert isinstance(prior, Preconditioned)
    return UnderLearned(prior.to(device), linear.to(device))
