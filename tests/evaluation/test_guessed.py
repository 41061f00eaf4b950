"""The share of a picture that no measurement can have taught: of one whose unseen part is known."""

import pytest
import torch

from unveil.evaluation.fields import Subject
from unveil.evaluation.fields.guessed import Guessed
from unveil.evaluation.risk import Risk
from unveil.identifiability import Blind
from unveil.measurement import Measurement
from unveil.noise import Gaussian
from unveil.operators import inpainting
from unveil.random import make_generator

SIDE = 16
SEEN = torch.ones(SIDE, SIDE)
SEEN[:, :4] = 0


def looked(x_hat, samples=None, blind=True):
    operator = inpainting(SEEN)
    m = Measurement(operator.A(x_hat), operator, Gaussian(0.1))
    generator = make_generator("cpu", 0)
    P = Blind(operator, None, (1, SIDE, SIDE), generator) if blind else None
    none = Risk(torch.zeros(1), torch.zeros(1))
    return Guessed().look(Subject(lambda m: x_hat, m, x_hat, none, generator, samples=samples, blind=P))


def pictures():
    generator = make_generator("cpu", 1)
    x_hat = torch.rand(1, 1, SIDE, SIDE, generator=generator)
    wide = torch.where(SEEN > 0, 0.1, 0.4)
    return x_hat, x_hat + wide * torch.randn(6, 1, 1, SIDE, SIDE, generator=generator)


def test_shares_are_those_of_the_pixels_that_are_never_seen():
    x_hat, samples = pictures()
    found = Guessed().found({"a": looked(x_hat, samples)})
    contrast = (x_hat - x_hat.mean()).square()[0, 0]
    assert found.values["estimate"] == pytest.approx(float(contrast[:, :4].sum() / contrast.sum()), rel=1e-4)
    variance = (samples - samples.mean(0))[:3].square().sum(0)[0, 0]
    assert found.values["samples"] == pytest.approx(float(variance[:, :4].sum() / variance.sum()), rel=1e-4)
    assert f"{found.values['samples']:.0%} of the samples' variance" in found.said
    assert found.state == "unsure"


def test_the_map_is_one_where_all_is_a_guess():
    kept = looked(*pictures())
    (share,) = Guessed().pictures(kept)["guessed"]
    torch.testing.assert_close(share, 1 - SEEN, rtol=0, atol=1e-3)


def test_shares_of_several_images_are_by_their_sums():
    x_hat, samples = pictures()
    faint = torch.where(SEEN > 0, 0.0, 0.1 * samples)  # all of it a guess, and little
    one, other = looked(x_hat, samples), looked(faint[0], faint)
    values = Guessed().found({"a": one, "b": other}).values
    of_each = [values["images"][name]["samples"] for name in "ab"]
    assert of_each[1] == pytest.approx(1, abs=1e-4)
    assert 0 < values["samples"] - of_each[0] < 0.1 * (1 - of_each[0])


def test_where_all_is_seen_or_nothing_was_sampled_it_has_no_meaning():
    x_hat, samples = pictures()
    assert looked(x_hat, samples, blind=False) is None
    assert looked(x_hat) is looked(x_hat, samples[:1]) is None
    assert Guessed().found({}) is None
