"""What notebooks show: pictures that decode, words that are escaped; and `import unveil` stays quick."""

import base64
import io
import re
import subprocess
import sys

import imageio.v3 as iio
import pytest
import torch

from unveil.config import parse_config
from unveil.estimators import UNet
from unveil.evaluation import Evaluation, Metrics
from unveil.measurement import Measurement
from unveil.model import Model
from unveil.noise import Gaussian, Poisson
from unveil.operators import Identity, cartesian_mask, mri
from unveil.random import make_generator


def shown(html):
    """The pictures in a piece of HTML."""
    addresses = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [iio.imread(io.BytesIO(base64.b64decode(text)), extension=".png") for text in addresses]


@pytest.mark.parametrize(
    ("shape", "pictures"),
    [((2, 1, 20, 30), [(20, 30)] * 2), ((6, 3, 20, 30), [(20, 30, 3)] * 4), ((1, 1, 400, 300), [(134, 100)])],
)
def test_a_measurement(shape, pictures):
    html = Measurement(torch.rand(shape), Identity(), Poisson(0.01))._repr_html_()
    assert [image.shape for image in shown(html)] == pictures
    assert f"{shape[0]} of shape {shape[1:]}" in html
    assert "poisson, gain 0.01" in html
    assert shown(html)[0].std() > 10


def test_a_measurement_of_k_space_is_shown_as_an_image():
    operator = mri(cartesian_mask(32, 32, 2, 0.2, make_generator("cpu", 2)))
    x = torch.zeros(1, 2, 32, 32)
    x[..., 8:24, 8:24] = 1.0
    html = Measurement(operator.A(x), operator, Gaussian(0.1))._repr_html_()
    (image,) = shown(html)
    assert image[12:20, 12:20].mean() > 3 * image[:4, :4].mean()


def test_a_result():
    x = torch.rand(1, 24, 32)
    result = Evaluation(Metrics("<b>", 30.25, psnr_mmse=31.0), x, x, torch.rand(3, 1, 24, 32), x)
    html = result._repr_html_()
    assert len(shown(html)) == 5
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "30.25" in html
    assert "hold where the noise model fits" in html
    assert len(shown(Evaluation(Metrics("a", 30.0), x, x, None, None)._repr_html_())) == 2


def test_a_model():
    config = parse_config({"data": {"path": "given"}, "training": {"steps": 70}}, "test")
    html = Model(UNet(1, (8, 8)), Identity(), Gaussian(0.1), config)._repr_html_()
    assert "gaussian, sigma 0.1" in html
    assert "recipe default, 70 steps" in html


def test_import_unveil_loads_nothing_heavy():
    code = (
        "import sys, unveil; print(sorted({'torch', 'numpy', 'jinja2', 'matplotlib', 'markupsafe'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
