"""Validation without a reference: unbiased for the true errors, reproducible, and silent on what it does not know."""

import math

import pytest
import torch

import masked
from small import SIGMA, clean, configure, measure
from unveil.data import MemorySource
from unveil.dataset import Dataset
from unveil.estimators import Preconditioned, UNet
from unveil.evaluation.validation import make_validation
from unveil.noise import Gaussian
from unveil.operators import Identity, inpainting
from unveil.random import make_generator
from unveil.runs import create_run, train_run


def network(views=1):
    """f with random weights: nonlinear."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        f = Preconditioned(UNet(views, (4,), out_channels=1), views=views)
    with torch.no_grad():
        for i, weight in enumerate(f.parameters()):
            weight += 0.2 * torch.randn(weight.shape, generator=make_generator("cpu", 9, i))
    return f


class Nothing(torch.nn.Module):
    """f(m) = 0."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, m):
        return m.operator.image(m.y)


def sources(images):
    return MemorySource({str(i): image for i, image in enumerate(images)})


def holes(seed=1, count=1):
    return inpainting(torch.rand(count, masked.SIDE, masked.SIDE, generator=make_generator("cpu", seed)) < 0.6)


def test_validation_is_logged_and_is_reproducible(tmp_path):
    run = create_run(tmp_path / "run", configure(measure(tmp_path / "data")))
    seen = []

    def stages(name):
        return lambda done, total, metrics: seen.append((done, metrics)) if name == "training" else None

    f = train_run(run, device="cpu", stages=stages)
    assert [done for done, _ in seen] == list(range(1, 7))
    assert [done for done, metrics in seen if "error" in metrics] == [3, 6]
    validate = make_validation(run.measurements()[1], run.config.seed)
    with torch.no_grad():
        first, second = validate(f), validate(f)
    assert first == second
    assert first["error"] == pytest.approx(seen[-1][1]["error"], rel=1e-5)
    assert first["psnr_estimate"] == pytest.approx(-10 * math.log10(first["error"]))


def of_images(draw):
    """The metrics of two images, and the true errors: of f(y), and of the 2 x 2 means of y against those of x."""
    x, f = [clean(s, 1, s) for s in (20, 23)], network()
    y = [a + SIGMA * torch.randn(a.shape, generator=make_generator("cpu", draw, i)) for i, a in enumerate(x)]
    data = Dataset(sources(y), Identity(), Gaussian(SIGMA))
    true = [0.0, 0.0]
    for j, k in enumerate((1, 2)):
        pool = torch.nn.AvgPool2d(k)
        for i, a in enumerate(x):
            true[j] += float((f(data[i].coarser(k)) - pool(a[None])).square().mean()) / 2
    return make_validation(data, draw)(f), true


def of_holes(draw):
    """The metrics of eight of ten images, and the true errors on the measured entries, and on those hidden from f."""
    count, f, calls = 10, network(), []
    x, operator = masked.smooth(count, 3), holes(4, 10)
    y = masked.measure(x, operator.measured, 100 + draw, SIGMA)
    f.register_forward_hook(lambda module, given, x_hat: calls.append((given[0].operator.measured[0, 0], x_hat)))
    metrics = make_validation(Dataset(sources(y), operator, Gaussian(SIGMA)), draw)(f)
    assert len(calls) == 4 * 8, "at most eight images"
    true = [0.0, 0.0]
    for i in range(8):
        whole = operator.measured[i, 0]
        for j, (seen, x_hat) in enumerate([calls[4 * i], calls[4 * i + 3]]):
            judged = whole & ~seen if j else whole
            true[j] += float((x_hat - x[i])[0, 0][judged].square().mean()) / 8
    return metrics, true


@pytest.mark.parametrize(
    ("validated", "other", "psnr"), [(of_images, "half", "psnr_estimate_half"), (of_holes, "hidden", "psnr_hidden")]
)
def test_validation_is_unbiased_for_the_true_errors(validated, other, psnr):
    """Over draws of the noise, for a nonlinear f."""
    differences, sizes = [], []
    with torch.no_grad():
        for draw in range(40):
            metrics, true = validated(draw)
            differences.append([metrics["error"] - true[0], metrics[f"error_{other}"] - true[1]])
            sizes.append(true)
            for name, key in ((psnr, f"error_{other}"), ("psnr_estimate", "error")):
                assert metrics[name] == pytest.approx(-10 * math.log10(metrics[key]))
    d = torch.tensor(differences, dtype=torch.float64)
    error = d.std(0) / len(d) ** 0.5
    assert (d.mean(0).abs() < 4 * error).all()
    assert (error < SIGMA**2 * torch.tensor([1, 0.25 if other == "half" else 1]) / 6).all(), (
        "it sees a forgotten sigma^2"
    )


@pytest.mark.parametrize(("operator", "other"), [(Identity(), "half"), (holes(), "hidden")], ids=["images", "holes"])
def test_validation_says_nothing_it_does_not_know(operator, other):
    """Of f = 0 and y = 0 the estimates are -sigma^2, a quarter of it where there is half the noise: no PSNR."""
    data = Dataset(sources([torch.zeros(1, masked.SIDE, masked.SIDE)]), operator, Gaussian(0.5))
    metrics = make_validation(data, 0)(Nothing())
    at_other = -0.25 / (4 if other == "half" else 1)
    assert metrics.pop("error_se") > 0
    assert metrics == {
        "error": pytest.approx(-0.25), f"error_{other}": pytest.approx(at_other), "held_out/0": metrics["error"]
    }  # fmt: skip


def test_validation_reads_centres_of_large_images_and_few_of_many():
    read = []

    class Spy(MemorySource):
        def _read(self, i, window):
            read.append((i, window))
            return super()._read(i, window)

    source = Spy({str(i): torch.rand(1, 400, 20, generator=make_generator("cpu", i)) for i in range(12)})
    make_validation(Dataset(source, Identity(), Gaussian(0.1)), 0)(network())
    assert read == [(i, (104, 0, 192, 20)) for i in range(8)]


@pytest.mark.parametrize(("share", "shown"), [(0.4, True), (0.6, False)])
def test_an_error_that_found_noise_does_not_resolve_is_not_shown(share, shown, monkeypatch):
    """As `evaluate` shows none: where what is known of the noise's variance is off by half of the error."""
    data = Dataset(sources([clean(20, 1, s) for s in (20, 23, 5)]), Identity(), Gaussian(SIGMA))
    known = make_validation(data, 0)(network())
    monkeypatch.setattr(
        "unveil.evaluation.validation.variance_errors", lambda data, each: [share * known["held_out/0"]] * len(data)
    )
    found = make_validation(data, 0, found="all")(network())
    least = min(known[f"held_out/{k}"] for k in range(3))
    assert ("psnr_estimate" in found) == (share * known["held_out/0"] <= 0.5 * least) == shown
    assert ("error_uncertain" in found) != shown
    assert found["error"] == known["error"], "gains are known all the same"
    assert found["error_se"] == pytest.approx(math.hypot(known["error_se"], share * known["held_out/0"]))


def test_a_few_large_images_are_validated_in_parts_whose_scatter_shows():
    one = Dataset(sources([clean(128, 1, 0)]), Identity(), Gaussian(SIGMA))
    metrics = make_validation(one, 0)(network())
    assert [key for key in metrics if "/" in key] == [f"held_out/{k}" for k in range(4)]
    assert metrics["error"] == pytest.approx(sum(metrics[f"held_out/{k}"] for k in range(4)) / 4)


def test_images_learned_from_are_told_apart():
    held_out, learned = (
        Dataset(MemorySource({f"{name}{i}": clean(20, 1, i) for i in range(9)}), Identity(), Gaussian(SIGMA))
        for name in "ab"
    )
    count = {kind: [0, 0] for kind in ("held_out/", "fitted/")}
    for j, fitted in enumerate((learned, held_out)):
        metrics = make_validation(held_out, 0, fitted)(network())
        for kind, n in count.items():
            n[j] = sum(key.startswith(kind) for key in metrics)
    assert count == {"held_out/": [8, 0], "fitted/": [5, 8]}, "what is learned from is not held out"
