"""Expectation maximisation within one training: posterior draws come and go while the network learns.

    E step   a draw x' ~ p(x | y) of each measurement of every fourth batch, into a queue that forgets the oldest
    M step   images from the queue, turned, measured again by A and by an ideal camera: `unveil.losses.Looks`

beside the loss of the measurements themselves, which is unbiased in what A sees at every step. The first draws are made
by going on with A: right in A x, and in the rest the mean f(y); the symmetries turn what was seen into what was not.
From then on draws are made by going on with the camera, so that what is taught includes the spread of what A does not
see. Where no loss teaches levels below that of y (particles), nothing can go on to begin with: there all draws are
about f(y) (`unveil.diffusion.about`), and f(y) itself is left to the measurements. The queue is part of the checkpoint,
so that a training that is resumed ends as one that was not interrupted.
"""

import torch
from torch import Tensor, nn

from unveil.diffusion import draws_about, posterior_samples, samples_by_camera
from unveil.estimators import Stationary
from unveil.losses import Looks, Loss
from unveil.measurement import Estimator, Measurement
from unveil.training.loop import Kept

__all__ = ["LearningFromDraws", "Queue"]

BEGIN, CAMERA = 0.15, 0.5
"""Shares of the steps: before the first, measurements alone; before the second, draws by going on with A."""
MOST = 256
"""Draws in the queue, at most: those of a quarter of the training, so that none is of a network much worse."""
EVALUATIONS = 16
"""Of the network, a draw."""
EVERY = 4
"""Steps between two draws, of the whole batch then: as many draws as one in four samples, in fewer and larger calls."""


class Queue(Kept):
    """The newest draws (kept, *image), and how many there were: buffers, saved with the network."""

    images: Tensor
    drawn: Tensor
    step: Tensor
    teachers: list[nn.Module]

    def __init__(self, image_shape: tuple[int, ...], kept: int) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(kept, *image_shape))
        self.register_buffer("drawn", torch.zeros((), dtype=torch.long))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    @staticmethod
    def size(steps: int, batch: int) -> int:
        """Return how many draws to keep of a training of so many steps, of batches of so many."""
        return max(batch, min(MOST, steps * batch // (4 * EVERY)))

    def follow(self, averaged: nn.Module) -> None:
        """Keep the estimator that draws: weights in the middle of training are far from their mean, and draw worse."""
        self.teachers = [averaged]  # in a list: it is saved elsewhere

    def push(self, x: Tensor) -> None:
        """Put the draws x (b, *image) in the places of the oldest."""
        places = (int(self.drawn) + torch.arange(len(x), device=x.device)) % len(self.images)
        self.images[places] = x.to(self.images)
        self.drawn += len(x)

    def take(self, count: int, generator: torch.Generator) -> Tensor:
        """Take images (count, *image) at random."""
        filled = min(int(self.drawn), len(self.images))
        which = torch.randint(filled, (count,), generator=generator, device=generator.device)
        return self.images[which.to(self.images.device)]


class LearningFromDraws(Loss):
    """The loss of the measurements (B,), to which that of draws is added, `weight` times: an objective of (f, m, g).

    steps: of the training. nonnegative: whether images cannot be negative, so that max(x', 0) is nearer to one than x'.
    prior: of draws about f(y); None: they go on.
    """

    def __init__(
        self,
        loss: Loss,
        looks: Looks,
        queue: Queue,
        weight: float,
        steps: int,
        nonnegative: bool = False,
        prior: Stationary | None = None,
    ) -> None:
        self.loss, self.looks, self.queue, self.weight = loss, looks, queue, weight
        self.prior = prior
        self.nonnegative = nonnegative
        self.multipliers = loss.multipliers
        self.begin, self.camera = BEGIN * steps, CAMERA * steps

    def __call__(self, f: Estimator, m: Measurement, generator: torch.Generator) -> Tensor:
        values = self.loss(f, m, generator)
        step = int(self.queue.step)
        self.queue.step += 1
        shape = m.operator.image(m.y).shape[1:]
        if step < self.begin or shape != self.queue.images.shape[1:]:  # a coarser measurement is of another shape
            return values
        if step % EVERY == 0 or not int(self.queue.drawn):
            self.queue.push(self.draw(self.queue.teachers[0], m, step, generator))
        x = self.queue.take(len(m), generator).to(m.y)
        return values + self.weight * self.looks(f, x, m.operator, m.noise, generator)

    def draw(self, f: Estimator, m: Measurement, step: int, generator: torch.Generator) -> Tensor:
        """Draw x (b, *image), one for each measurement."""
        if self.prior is not None:
            x = draws_about(f, self.prior, m, generator)
        elif step < self.camera:
            x = posterior_samples(f, m, generator, samples=1, steps=EVALUATIONS)[0]
        else:
            std, scale = self.looks.std, self.looks.scale
            x = samples_by_camera(f, m, std, generator, scale=scale, samples=1, steps=EVALUATIONS)[0]
        return x.clamp(min=0) if self.nonnegative else x
