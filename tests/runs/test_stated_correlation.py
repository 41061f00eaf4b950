"""Correlated noise as a configuration states it, and as a run records it."""

import json

import numpy as np
import pytest
import torch

from unveil.config import parse_config
from unveil.data import MemorySource
from unveil.errors import UnveilError
from unveil.noise import Correlated
from unveil.operators import Identity
from unveil.random import make_generator
from unveil.runs.correlated import coil_covariance, read_covariance
from unveil.runs.noise import find_noise, recorded
from unveil.runs.record import RecordedNoise

KERNEL = [[0.0, 0.5, 0.2], [0.3, 1.0, 0.4]]


def source(channels=1, side=96):
    noise = Correlated(0.1, torch.tensor(KERNEL), 0.2)
    flat = torch.full((1, channels, side, side), 0.5)
    return MemorySource({str(i): noise.sample(flat, make_generator("cpu", 33, i))[0] for i in range(3)})


def found(noise, channels=1, operator="identity"):
    config = parse_config({"data": {"path": "y", "value_range": [0, 1]}, "noise": {"kind": "correlated", **noise}}, "t")
    return find_noise(config, source(channels), Identity())


def test_what_is_stated():
    noise = found({"sigma": 0.2, "kernel": KERNEL, "rows": 0.1, "columns": 0.2})
    own = Correlated(0.2, torch.tensor(KERNEL), 0.1, 0.2)
    torch.testing.assert_close(noise.correlation(3, 4), own.correlation(3, 4))
    assert (float(noise.sigma), float(noise.rows)) == pytest.approx((0.2, 0.1))


def test_files(tmp_path):
    np.save(tmp_path / "g.npy", np.array(KERNEL))
    np.save(tmp_path / "c.npy", np.array([[4.0, 1.0], [1.0, 9.0]]))
    noise = found({"sigma": 0.2, "kernel": str(tmp_path / "g.npy"), "covariance": str(tmp_path / "c.npy")}, 2)
    variance = noise.variance(torch.zeros(1, 2, 3, 3))[0, :, 0, 0]
    torch.testing.assert_close(variance, 0.04 * torch.tensor([4.0, 9.0]) / 6.5)


def test_the_level_is_that_of_the_covariance(tmp_path):
    np.save(tmp_path / "c.npy", np.array([[4.0, 1.0], [1.0, 9.0]]))
    assert float(found({"covariance": str(tmp_path / "c.npy")}, 2).sigma) == pytest.approx(6.5**0.5)


def test_coils_are_two_real_channels_each():
    """Of complex n with E n n^H = C, real parts first: the covariance of draws."""
    r = np.random.default_rng(1)
    factor = r.standard_normal((3, 3)) + 1j * r.standard_normal((3, 3))
    c = factor @ factor.conj().T
    n = factor @ (r.standard_normal((3, 200_000)) + 1j * r.standard_normal((3, 200_000))) / 2**0.5
    expected = np.cov(np.concatenate([n.real, n.imag]))
    np.testing.assert_allclose(coil_covariance(c), expected, atol=0.02 * np.abs(expected).max())


def test_a_noise_scan_is_its_covariance(tmp_path):
    """Samples (n, C), complex or not, and frames (n, C, H, W), about any mean."""
    r = np.random.default_rng(2)
    factor = np.array([[1.0, 0, 0], [0.5, 1, 0], [0, 0, 3]])
    samples = r.standard_normal((20_000, 3)) @ factor.T
    turned = samples + 1j * (r.standard_normal((20_000, 3)) @ factor.T)
    expected = factor @ factor.T
    np.save(tmp_path / "list.npy", samples + 5)
    np.save(tmp_path / "frames.npy", np.moveaxis(samples.reshape(2, 100, 100, 3), -1, 1))
    np.save(tmp_path / "coils.npy", turned)
    for name in ("list", "frames"):
        found = read_covariance(str(tmp_path / f"{name}.npy"), "key")
        np.testing.assert_allclose(found, expected, atol=0.36)
    found = read_covariance(str(tmp_path / "coils.npy"), "key")
    np.testing.assert_allclose(found, np.kron(np.eye(2), expected), atol=0.36)
    np.save(tmp_path / "few.npy", samples[:4])
    with pytest.raises(UnveilError, match="n >= 2 C"):
        read_covariance(str(tmp_path / "few.npy"), "key")


def test_what_is_found_in_images():
    noise = found({"kernel": "estimate"})
    assert float(noise.sigma) == pytest.approx(0.1, rel=0.12)
    assert float(noise.rows) == pytest.approx(0.2, abs=0.1)
    half = found({"kernel": "estimate", "sigma": 0.05})
    assert float(half.sigma) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("noise", "words"),
    [
        ({}, "nothing is correlated"),
        ({"kernel": "estimate", "rows": 0.1}, "found with kernel: estimate"),
        ({"rows": 0.6, "columns": 0.6}, "leave a share"),
        ({"kernel": KERNEL}, "state noise.sigma too"),
        ({"sigma": 1.0, "kernel": "missing.npy"}, "missing.npy does not exist"),
        ({"sigma": 1.0, "kernel": [[1.0, 2.0], [3.0]]}, "differ in length"),
        ({"sigma": 1.0, "covariance": [[1.0, 2.0]]}, "noise.covariance: its rows and columns"),
        ({"sigma": 0.0, "kernel": KERNEL}, "noise.sigma"),
    ],
)
def test_refusals(noise, words):
    with pytest.raises(UnveilError, match=words) as caught:
        found(noise)
    assert "\n" not in str(caught.value)


def test_a_record_is_the_noise():
    noise = Correlated(torch.tensor(0.2), torch.tensor(KERNEL), 0.1, 0.2, torch.tensor([[1.0, 0.3], [0.3, 2.0]]))
    values = json.loads(json.dumps(recorded(noise)))
    again = RecordedNoise.model_validate(values).noise()
    assert str(again) == str(noise)
    torch.testing.assert_close(again.correlation(3, 3), noise.correlation(3, 3))
    torch.testing.assert_close(again.variance(torch.zeros(1, 2, 2, 2)), noise.variance(torch.zeros(1, 2, 2, 2)))
    assert recorded(Correlated(0.2, torch.tensor(KERNEL))).keys() == {"kind", "sigma", "kernel", "rows", "columns"}
    assert parse_config({"data": {"path": "y"}, "noise": values}, "t").noise.kind == "correlated"
