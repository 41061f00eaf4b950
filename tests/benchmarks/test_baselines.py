"""What published methods are made of: against counting, exact equivariance and a closed form."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from msm import PartialScores
from reynolds import Averaged
from unveil.losses import LogUniform
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import Turned, cartesian_mask, mri
from unveil.random import make_generator
from unveil.symmetry import make_symmetry
from weighted_ssdu import WeightedSplitting

SIDE = 16


def scans(count, key=0, acceleration=4.0):
    """k-space of images that are zero, of a mask each, and how often a column is measured."""
    masks = torch.stack(
        [cartesian_mask(SIDE, SIDE, acceleration, 0.125, make_generator("cpu", key, i)) for i in range(count)]
    )
    p = torch.full((1, 1, SIDE, SIDE), 2 / 14)  # two of fourteen, beside the two in the middle
    p[..., 7:9] = 1
    return masks, p


def test_in_the_mean_over_masks_every_column_counts_once_however_rarely_it_is_measured():
    """A residual of 1 in one column alone: it costs the same whichever that is."""
    masks, p = scans(1500)
    m = Measurement(torch.zeros(len(masks), 2, SIDE, SIDE), mri(masks), Gaussian(1e-3))
    loss = WeightedSplitting(p)
    loss.ratio = LogUniform(2.0, 2.0)
    scale = 0.75 / (4e-6 + 0.05**2) / 4  # its factor (1 - t) / (s^2 + u^2); four columns are measured each time
    for column in (0, 3, 7, 15):
        kspace = torch.zeros(1, 2, SIDE, SIDE)
        kspace[..., column] = 1
        x = mri(torch.ones(SIDE, SIDE, dtype=torch.bool)).A_adjoint(kspace)
        values = loss(lambda seen, x=x: x.expand(len(seen), -1, -1, -1), m, make_generator("cpu", 1)) / scale
        error = float(values.std()) / len(values) ** 0.5
        assert abs(float(values.mean()) - 1) < 4 * error + 1e-3, column
        assert error < 0.15


def test_the_averaged_network_turns_with_the_operator_exactly():
    torch.manual_seed(0)
    filters = nn.Conv2d(2, 2, 3, padding=1)

    class Plain(nn.Module):
        def forward(self, m):
            return filters(m.operator.A_adjoint(m.y)).tanh()

    symmetry = make_symmetry(["quarter"])
    masks, _ = scans(3)
    y = torch.randn(3, 2, SIDE, SIDE, generator=make_generator("cpu", 2))
    m = Measurement(y, mri(masks), Gaussian(0.1))
    h = torch.tensor([[1.0], [2.0], [3.0]])
    turned = replace(m, operator=Turned(m.operator, symmetry, h))
    with torch.no_grad():
        for f, least, most in ((Averaged(Plain(), symmetry), 0.0, 1e-5), (Plain(), 0.05, 10.0)):
            assert least <= float((symmetry.apply(f(turned), h) - f(m)).abs().max()) <= most


@pytest.mark.parametrize(("evaluations", "least", "most"), [(16, 0.3, 0.7), (120, 0.8, 1.0)])
def test_partial_scores_draw_what_no_column_of_y_says_as_widely_as_images_differ(evaluations, least, most):
    """Of k-space whose entries are independent the posterior is the prior where nothing was measured, in short steps.

    A column that is not shown in a step keeps what it was taken for, so that few steps draw too narrowly.
    """
    deviation, sigma = 0.3, 0.03

    def f(m):
        level = m.level[:, None, None, None]
        return m.operator.A_adjoint(m.y) * deviation**2 / (deviation**2 + level**2)

    masks, p = scans(1)
    m = Measurement(torch.zeros(8, 2, SIDE, SIDE), mri(masks[0]), Gaussian(sigma))
    x = PartialScores(f, p[0, 0], 0.25).draw(m, make_generator("cpu", 3), 4, evaluations)
    drawn = mri(torch.ones(SIDE, SIDE, dtype=torch.bool)).A(x.flatten(0, 1))
    spread = drawn.square().mean((0, 1, 2)) / deviation**2
    assert least < float(spread[~masks[0, 0]].mean()) < most
    assert float(spread[masks[0, 0]].max()) < 2 * sigma**2 / deviation**2
