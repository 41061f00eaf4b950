"""MRI against the definition of the Fourier transform, its masks and coils against what they state, and what is
refused."""

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from unveil.data import open_images
from unveil.errors import UnveilError
from unveil.instruments.mri import MRISection
from unveil.instruments.mri.operator import KSpace
from unveil.instruments.registry import OperatorSection
from unveil.noise import Gaussian
from unveil.operators import birdcage_coils, build_operator, cartesian_mask, magnitude, mri, normalize_coils
from unveil.random import make_generator

SIZES = [(8, 10), (7, 9), (6, 11)]


def gaussian(*shape, key=0, dtype=torch.float64, device="cpu"):
    return torch.randn(shape, generator=make_generator("cpu", key), dtype=dtype).to(device)


def full(height, width, device="cpu"):
    return torch.ones(height, width, dtype=torch.bool, device=device)


def as_complex(v):
    """(B, n, H, W) of channels (B, 2 n, H, W), real parts first."""
    return torch.complex(*v.unflatten(1, (2, -1)).unbind(1))


def fourier(x):
    """The centred unitary transform (..., H, W) of x (..., H, W), by its definition."""
    rows, columns = (torch.arange(n, dtype=torch.float64) - n // 2 for n in x.shape[-2:])
    height, width = x.shape[-2:]
    down, across = (torch.exp(-2j * torch.pi * torch.outer(k, k) / len(k)) for k in (rows, columns))
    return down @ x @ across / (height * width) ** 0.5


# --- A


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("columns", [True, False])
@pytest.mark.parametrize("each", [True, False])
def test_the_normal_operator_needs_no_shifts(size, columns, each, device):
    """Also of odd sides, of which a shift is not its own inverse, and of masks of single frequencies."""
    count = 3 if each else 1
    masks = torch.stack([cartesian_mask(*size, 2, 0.2, make_generator("cpu", i)) for i in range(count)])
    if not columns:
        masks = masks & (gaussian(*masks.shape, key=2) > -0.5)
    coils = torch.stack([birdcage_coils(3, *size, torch.complex128).roll(i, -1) for i in range(count)])
    operator, x = mri(masks if each else masks[0], coils if each else coils[0]), gaussian(3, 2, *size)
    for seen in (operator, operator.hide(gaussian(3, 1, 1, size[1], key=3) > 0)):
        there = seen.to(device)
        torch.testing.assert_close(there.normal()(x.to(device)).cpu(), seen.A_adjoint(seen.A(x)), rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_one_coil_is_the_masked_fourier_transform(size):
    mask = cartesian_mask(*size, 2, 0.2, make_generator("cpu", 1))
    operator, x = mri(mask), gaussian(3, 2, *size)
    torch.testing.assert_close(as_complex(operator.A(x)), mask * fourier(as_complex(x)), rtol=0, atol=1e-10)
    assert (operator.image_shape, operator.measurement_shape) == ((2, *size), (2, *size))


@pytest.mark.parametrize("size", SIZES)
def test_coils_lie_along_the_channels_real_parts_first(size):
    mask = cartesian_mask(*size, 2, 0.2, make_generator("cpu", 1))
    coils = birdcage_coils(3, *size, torch.complex128)
    operator, x = mri(mask, coils), gaussian(2, 2, *size)
    y = operator.A(x)
    assert y.shape == (2, 6, *size)
    torch.testing.assert_close(as_complex(y), mask * fourier(coils * as_complex(x)), rtol=0, atol=1e-10)
    assert operator.measurement_shape == (6, *size)


@pytest.mark.parametrize("coils", [None, 4])
def test_with_every_frequency_the_adjoint_is_the_inverse(coils, device):
    maps = None if coils is None else birdcage_coils(coils, 8, 10, torch.complex128).to(device)
    operator, x = mri(full(8, 10, device), maps), gaussian(2, 2, 8, 10, device=device)
    torch.testing.assert_close(operator.A_adjoint(operator.A(x)), x, rtol=0, atol=1e-10)
    torch.testing.assert_close(operator.A_dagger(operator.A(x)), x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", SIZES)
def test_a_point_and_a_constant(size):
    height, width = size
    x = torch.zeros(1, 2, *size, dtype=torch.float64)
    x[0, 0, 2, 5] = 3
    k = magnitude(mri(full(*size)).A(x))
    torch.testing.assert_close(k, torch.full_like(k, 3 / (height * width) ** 0.5), rtol=0, atol=1e-10)
    k = magnitude(mri(full(*size)).A(torch.ones_like(x)))
    expected = torch.zeros_like(k)
    expected[0, 0, height // 2, width // 2] = (2 * height * width) ** 0.5
    torch.testing.assert_close(k, expected, rtol=0, atol=1e-10)


def test_one_constant_coil_is_a_single_coil():
    mask = cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 1))
    one, several = mri(mask), mri(mask, torch.ones(1, 8, 10, dtype=torch.complex128))
    x, y = gaussian(2, 2, 8, 10), gaussian(2, 2, 8, 10, key=1)
    for apply in (KSpace.A, lambda p, _: p.A_adjoint(y), lambda p, _: p.A_dagger(y), KSpace.ones):
        torch.testing.assert_close(apply(several, x), apply(one, x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("coils", [None, torch.complex64, torch.complex128])
def test_precision_is_that_of_the_image(coils, device, dtype):
    maps = None if coils is None else birdcage_coils(2, 8, 10, coils).to(device)
    operator, x = mri(full(8, 10, device).float(), maps), gaussian(2, 2, 8, 10, dtype=dtype, device=device)
    y = operator.A(x)
    assert {v.dtype for v in (y, operator.A_adjoint(y), operator.A_dagger(y))} == {dtype}
    operator.check_adjoint(y, make_generator(device, 1), 1e-4 if dtype == torch.float32 else 1e-12)


def test_the_mask_is_what_is_measured():
    mask = cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 1))
    for operator, channels in [(mri(mask), 2), (mri(mask, birdcage_coils(3, 8, 10)), 6)]:
        y = gaussian(2, channels, 8, 10)
        assert torch.equal(operator.measured.expand_as(y), mask.expand_as(y))
        assert operator.project(torch.ones_like(y)).flatten(1).sum(1).tolist() == [channels * 8 * 5] * 2
        assert torch.equal(operator.A(operator.A_adjoint(y)) == 0, ~mask.expand_as(y))


def test_columns_stand_for_the_mask():
    columns = torch.tensor([0, 1, 1, 0, 1, 0])
    x, coils = gaussian(1, 2, 4, 6), birdcage_coils(2, 4, 6)
    for maps in (None, coils):
        expected = mri(columns.expand(4, 6), maps).A(x)
        assert torch.equal(mri(columns, maps, height=4).A(x), expected)
    assert torch.equal(mri(columns, coils).A(x), expected)


@pytest.mark.parametrize(("masks", "maps"), [(True, None), (True, "one"), (False, "each"), (True, "each")])
def test_one_operator_per_measurement(masks, maps, device):
    draw = [cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 2, i)) for i in range(4)]
    mask = torch.stack(draw) if masks else draw[0]
    sets = [normalize_coils(torch.complex(gaussian(3, 8, 10, key=i), gaussian(3, 8, 10, key=9 + i))) for i in range(4)]
    coils = {None: None, "one": sets[0], "each": torch.stack(sets)}[maps]
    several = mri(mask.to(device), None if coils is None else coils.to(device))
    assert several.count == 4
    which = torch.tensor([3, 0, 3], device=device)
    x = gaussian(3, 2, 8, 10, device=device)
    y = several.select(which).A(x)
    back = several.select(which).A_adjoint(y)
    for b, i in enumerate(which.tolist()):
        one = mri(draw[i if masks else 0], sets[i] if maps == "each" else coils)
        torch.testing.assert_close(y[b : b + 1].cpu(), one.A(x[b : b + 1].cpu()), rtol=0, atol=1e-10)
        torch.testing.assert_close(back[b : b + 1].cpu(), one.A_adjoint(y[b : b + 1].cpu()), rtol=0, atol=1e-10)
    assert several.measurement_shape == (2 if coils is None else 6, 8, 10)


# --- noise


@pytest.mark.parametrize("coils", [None, 4])
def test_white_k_space_noise_is_white_in_the_image(coils, device, dtype):
    """Level sigma on each real channel; no correlation between parts or neighbours."""
    channels = 2 * (coils or 1)
    maps = None if coils is None else birdcage_coils(coils, 16, 16).to(device)
    operator, sigma, count = mri(full(16, 16, device), maps), 0.3, 200
    y = torch.zeros(count, channels, 16, 16, dtype=dtype, device=device)
    n = operator.A_adjoint(Gaussian(sigma).sample(y, make_generator(device, 3))) / sigma
    for part in n.unbind(1):
        assert abs(part.square().mean() - 1) < 4 * (2 / part.numel()) ** 0.5
        assert (part.square().mean(0) - 1).abs().max() < 5 * (2 / count) ** 0.5  # in every pixel
        assert abs((part * part.roll(1, -1)).mean()) < 4 / part.numel() ** 0.5
        assert abs((part * part.roll(1, -2)).mean()) < 4 / part.numel() ** 0.5
    assert abs((n[:, 0] * n[:, 1]).mean()) < 4 / n[:, 0].numel() ** 0.5


# --- A^+


def random_coils(coils, height, width):
    """Sensitivities that are not normalized, and dark on the left."""
    maps = torch.complex(gaussian(coils, height, width, key=1), gaussian(coils, height, width, key=2))
    maps[..., :2] = 0
    return maps


@pytest.mark.parametrize("coils", [None, 1, 3])
def test_with_every_frequency_the_pseudo_inverse_is_that_of_the_matrix(coils):
    operator = mri(full(4, 6), None if coils is None else random_coils(coils, 4, 6))
    matrix = operator.A(torch.eye(48, dtype=torch.float64).reshape(48, 2, 4, 6)).flatten(1).T
    y = gaussian(3, *operator.measurement_shape, key=5)
    expected = (torch.linalg.pinv(matrix) @ y.flatten(1).T).T.reshape(3, 2, 4, 6)
    torch.testing.assert_close(operator.A_dagger(y), expected, rtol=0, atol=1e-10)
    (slope,) = torch.autograd.grad(operator.A_dagger(y.requires_grad_()).sum(), y)
    expected = torch.linalg.pinv(matrix).sum(0).reshape(operator.measurement_shape)
    torch.testing.assert_close(slope, expected.expand_as(slope), rtol=0, atol=1e-10)


def test_otherwise_it_is_the_zero_filled_image():
    mask = cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 4))
    for maps in (None, birdcage_coils(3, 8, 10, torch.complex128)):
        operator = mri(mask, maps)
        y = gaussian(2, *operator.measurement_shape)
        filled = mri(full(8, 10), maps).A_adjoint(mask * y)
        torch.testing.assert_close(operator.A_dagger(y), filled, rtol=0, atol=1e-10)
        scaled = mri(mask, None if maps is None else 5 * maps)  # the sensitivities' scale is none of the image
        assert maps is None or torch.allclose(scaled.A_dagger(5 * y), filled, rtol=0, atol=1e-10)


# --- masks


@pytest.mark.parametrize("kind", ["random", "equispaced", "gaussian"])
@pytest.mark.parametrize(
    ("width", "acceleration", "center"), [(64, 4, 0.08), (65, 8, 0.04), (100, 3, 0.1), (37, 2.5, 0.2)]
)
def test_rates(kind, width, acceleration, center):
    draws = 400
    mask = torch.stack(
        [cartesian_mask(5, width, acceleration, center, make_generator("cpu", 6, i), kind) for i in range(draws)]
    )
    assert mask.shape == (draws, 5, width)
    assert mask.dtype == torch.bool
    assert torch.equal(mask, mask[:, :1].expand_as(mask))
    columns = mask[:, 0].double()
    want, middle = round(width / acceleration), round(center * width)
    totals = columns.sum(1)
    if kind == "equispaced":
        assert abs(totals.mean() - want) <= 4 * totals.std() / draws**0.5 + 1e-9
        assert totals.std() <= 1.5
    else:
        assert totals.eq(want).all()
    always = columns.mean(0) == 1
    start = width // 2 - middle // 2
    assert always[start : start + middle].all()
    assert always[width // 2]
    outside = columns.mean(0)[~always]
    assert len(outside) == width - middle
    if kind == "gaussian":
        near = (torch.arange(width) - width // 2).abs()[~always] < width / 4
        assert outside[near].mean() > 1.3 * outside[~near].mean()
        return
    share = (want - middle) / (width - middle)
    assert (outside - share).abs().max() < 5 * (share * (1 - share) / draws) ** 0.5


def test_equispaced_columns_are_a_comb():
    for key in range(20):
        columns = cartesian_mask(1, 320, 8, 0.04, make_generator("cpu", 7, key), "equispaced")[0].nonzero()[:, 0]
        spacing = (320 - 13) / (40 - 13)
        left = columns[columns < 160 - 6]
        gaps = left.diff()
        assert len(left) > 10
        assert set(gaps.tolist()) <= {int(spacing), int(spacing) + 1}


def test_masks_are_those_of_their_generator(device):
    state = torch.get_rng_state()
    for kind in ("random", "equispaced", "gaussian"):
        first, again, other = (cartesian_mask(4, 64, 4, 0.1, make_generator(device, key), kind) for key in (1, 1, 2))
        assert first.device.type == device.type
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_masks_at_the_limits():
    assert cartesian_mask(3, 10, 1, 0.1, make_generator("cpu", 1)).all()
    only = cartesian_mask(3, 10, 10, 0.01, make_generator("cpu", 1))
    assert only[0].nonzero().tolist() == [[5]]
    assert cartesian_mask(3, 10, 2, 0.5, make_generator("cpu", 1), "gaussian")[0].nonzero()[:, 0].tolist() == [
        3,
        4,
        5,
        6,
        7,
    ]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"acceleration": 0.5}, "at least 1"),
        ({"acceleration": float("nan")}, "at least 1"),
        ({"center_fraction": 0}, r"\(0, 1\]"),
        ({"center_fraction": 0.5}, "lower center_fraction"),
        ({"acceleration": 300.0}, "lower center_fraction"),
        ({"kind": "radial"}, "'radial'.*equispaced"),
    ],
)
def test_masks_that_cannot_be(change, word):
    arguments = {"height": 8, "width": 32, "acceleration": 4.0, "center_fraction": 0.1} | change
    with pytest.raises(UnveilError, match=word) as caught:
        cartesian_mask(**arguments, generator=make_generator("cpu", 1))
    assert "\n" not in str(caught.value)


# --- coils


@pytest.mark.parametrize("coils", [1, 2, 8])
def test_simulated_coils_are_normalized_smooth_and_apart(coils):
    maps = birdcage_coils(coils, 64, 48, torch.complex128)
    assert maps.shape == (coils, 64, 48)
    torch.testing.assert_close(maps.abs().square().sum(0), torch.ones(64, 48, dtype=torch.float64), rtol=0, atol=1e-10)
    rows, columns = ((2 * torch.arange(n) + 1) / n - 1 for n in (64, 48))
    inside = rows[:, None] ** 2 + columns**2 < 1  # the corners are close to the wires
    for axis in (0, 1):
        both = inside.narrow(axis, 1, inside.shape[axis] - 1) & inside.narrow(axis, 0, inside.shape[axis] - 1)
        step = maps.diff(dim=axis + 1).abs() * both
        assert step.max() < 2 / 48 / 0.5  # of a pixel against the distance to the nearest wire, half a side at least
    for c in range(coils):  # coil c stands at the angle 2 pi c / coils, from the right downwards
        angle = 2 * np.pi * c / coils
        down, across = (int(n * (0.5 + 0.45 * f(angle))) for n, f in ((64, np.sin), (48, np.cos)))
        assert maps[:, down, across].abs().argmax() == c
    centre = maps[:, 31:33, 23:25].mean((1, 2))
    torch.testing.assert_close(centre, torch.full_like(centre, coils**-0.5), rtol=0, atol=0.02)  # all alike, in phase
    assert birdcage_coils(coils, 8, 8).dtype == torch.complex64


def test_normalizing_keeps_what_no_coil_sees_dark():
    maps = torch.complex(gaussian(2, 3, 8, 10), gaussian(2, 3, 8, 10, key=1))
    maps[:, :, :, :2] = 0
    maps = normalize_coils(maps)
    assert not maps[..., :2].any()
    power = maps.abs().square().sum(1)[..., 2:]
    torch.testing.assert_close(power, torch.ones_like(power), rtol=0, atol=1e-10)
    operator, x = mri(full(8, 10), maps[0]), gaussian(1, 2, 8, 10)
    seen = operator.A_adjoint(operator.A(x))
    assert not seen[..., :2].any()
    torch.testing.assert_close(seen[..., 2:], x[..., 2:], rtol=0, atol=1e-10)
    torch.testing.assert_close(operator.A_dagger(operator.A(x)), seen, rtol=0, atol=1e-10)


def test_magnitude():
    x = torch.tensor([[[3.0, 0.0]], [[4.0, 0.0]]], requires_grad=True)
    assert magnitude(x).tolist() == [[[5.0, 0.0]]]
    (slope,) = torch.autograd.grad(magnitude(x).sum(), x)
    assert slope.isfinite().all()


# --- what is refused


MAPS = torch.ones(3, 8, 10, dtype=torch.complex64)


@pytest.mark.parametrize(
    ("mask", "maps", "word"),
    [
        (torch.ones(1, 1, 8, 10), None, r"\(1, 1, 8, 10\).*must be \(H, W\)"),
        (torch.full((8, 10), 0.5), None, "other than 0 and 1"),
        (torch.full((8, 10), float("nan")), None, "other than 0 and 1"),
        (torch.zeros(8, 10), None, "measures nothing"),
        (torch.stack([torch.ones(8, 10), torch.zeros(8, 10)]), None, "measures nothing"),
        (torch.ones(10), None, "pass height"),
        (torch.ones(8, 9), MAPS, r"\(3, 8, 10\) and the mask \(8, 9\)"),
        (torch.ones(9), MAPS, r"\(3, 8, 10\) and the mask \(8, 9\)"),
        (torch.ones(8, 10), MAPS.real, "float32.*must be complex"),
        (torch.ones(8, 10), MAPS[0], r"\(8, 10\): they must be complex, \(coils"),
        (torch.ones(8, 10), MAPS * complex("nan"), "NaN"),
        (torch.ones(8, 10), MAPS * 0, "0 everywhere"),
        (torch.ones(8, 10), MAPS * complex(0, float("inf")), "NaN or infinite"),
        (
            torch.ones(2, 8, 10),
            MAPS.expand(4, 3, 8, 10),
            "2 masks and 4 sets of sensitivities: give one of each per measurement",
        ),
    ],
)
def test_masks_and_coils_that_do_not_fit(mask, maps, word):
    with pytest.raises(UnveilError, match=word) as caught:
        mri(mask, maps)
    assert "\n" not in str(caught.value)


# --- configurations


@pytest.fixture
def save(tmp_path):
    def inner(name, array):
        path = tmp_path / name
        iio.imwrite(path, array) if name.endswith(".png") else np.save(path, array)
        return str(path)

    return inner


MASK = cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 8)).numpy()
SEVERAL = np.stack([cartesian_mask(8, 10, 2, 0.2, make_generator("cpu", 8, i)).numpy() for i in range(5)])


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("m.npy", MASK),
        ("m.npy", MASK.astype(np.float32)),
        ("m.npy", MASK.astype(np.uint8)),
        ("m.npy", MASK[0].astype(np.float64)),
        ("m.png", MASK.astype(np.uint8) * 255),
        ("m.png", MASK.astype(np.uint16) * 65535),
        ("m.png", MASK.astype(np.uint8)),
    ],
)
@pytest.mark.parametrize("coils", [None, 3])
def test_from_a_configuration(save, name, array, coils):
    values = {"kind": "mri", "mask": save(name, array)}
    maps = None
    if coils is not None:
        maps = birdcage_coils(coils, 8, 10)
        values["coils"] = save("coils.npy", maps.numpy().astype(np.complex128))
    system = TypeAdapter(OperatorSection).validate_python(values)
    assert isinstance(system, MRISection)
    operator = build_operator(system, (2 * (coils or 1), 8, 10), 5)
    x = gaussian(2, 2, 8, 10)
    assert torch.equal(operator.A(x), mri(torch.from_numpy(MASK), maps).A(x))


def test_from_a_configuration_one_per_measurement(save):
    maps = torch.stack([birdcage_coils(2, 8, 10).roll(i, -1) for i in range(5)])
    x, which = gaussian(2, 2, 8, 10), torch.tensor([4, 1])
    mask, coils = save("m.npy", SEVERAL), save("c.npy", maps.numpy())
    operator = build_operator(MRISection(mask=mask), (2, 8, 10), 5)
    assert torch.equal(operator.select(which).A(x), mri(torch.from_numpy(SEVERAL)[which]).select(torch.arange(2)).A(x))
    operator = build_operator(MRISection(mask=mask, coils=coils), (4, 8, 10), 5)
    expected = mri(torch.from_numpy(SEVERAL), maps).select(which).A(x)
    assert torch.equal(operator.select(which).A(x), expected)


GREY = (MASK * np.linspace(0, 255, 10)).astype(np.uint8)
COILS = birdcage_coils(3, 8, 10).numpy()
REFUSED = {
    "mask of another size": (("m.npy", MASK[:, :9]), None, 2, [r"m.npy has shape \(8, 9\)", "8x10"]),
    "mask turned": (("m.npy", MASK.T.copy()), None, 2, [r"\(10, 8\)", "8x10", r"k-space is \(N, coils, H, W\)"]),
    "masks of another number": (("m.npy", SEVERAL[:4]), None, 2, [r"\(4, 8, 10\)", "5 measurements"]),
    "rows for columns": (("m.npy", MASK[:, 0].copy()), None, 2, [r"\(8,\)", r"columns \(10,\)"]),
    "colour": (("m.png", np.repeat(MASK[..., None].astype(np.uint8) * 255, 3, -1)), None, 2, [r"\(8, 10, 3\)"]),
    "grey": (("m.png", GREY), None, 2, ["other than 0 and 1", "black and white"]),
    "weights": (("m.npy", MASK * 0.5), None, 2, ["other than 0 and 1"]),
    "255 in floating point": (("m.npy", MASK * 255.0), None, 2, ["other than 0 and 1"]),
    "an empty mask": (("m.npy", 0 * MASK), None, 2, ["measures nothing"]),
    "real measurements": (("m.npy", MASK), None, 1, ["1 channel", "odd", "complex k-space"]),
    "an odd number of channels": (("m.npy", MASK), COILS, 7, ["7 channel", "odd", "real parts of all coils"]),
    "coils not given": (("m.npy", MASK), None, 6, ["operator.coils is not set", "3 coils", r"\(3, 8, 10\)"]),
    "too few coils": (("m.npy", MASK), COILS, 4, ["c.npy has the sensitivities of 3 coils", "k-space has 2"]),
    "one slice": (("m.npy", MASK), COILS, 2, ["of 3 coils", "k-space has 1", r"\(1, coils, H, W\)"]),
    "coils of another size": (("m.npy", MASK), COILS[:, :7], 6, [r"\(3, 7, 10\)", "8x10"]),
    "sets of another number": (("m.npy", MASK), COILS[None].repeat(4, 0), 6, [r"\(4, 3, 8, 10\)", "5 measurements"]),
    "real coils": (("m.npy", MASK), COILS.real, 6, ["float32", "complex numbers"]),
    "one coil without its axis": (("m.npy", MASK), COILS[0], 2, [r"complex64 of shape \(8, 10\)", r"\(coils, H, W\)"]),
    "coils with NaN": (("m.npy", MASK), COILS * np.nan, 6, ["NaN"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_configurations_that_do_not_fit_the_measurements(name, save):
    mask, coils, channels, words = REFUSED[name]
    system = MRISection(mask=save(*mask), coils=None if coils is None else save("c.npy", coils))
    for word in words:
        with pytest.raises(UnveilError, match=word) as caught:
            build_operator(system, (channels, 8, 10), 5)
        assert "\n" not in str(caught.value)


def test_files_that_are_missing(save, tmp_path):
    with pytest.raises(UnveilError, match=r"operator\.mask: .*none\.npy does not exist"):
        build_operator(MRISection(mask=str(tmp_path / "none.npy")), (2, 8, 10), 5)
    with pytest.raises(UnveilError, match=r"operator\.coils: .*none\.npy does not exist"):
        build_operator(MRISection(mask=save("m.npy", MASK), coils=str(tmp_path / "none.npy")), (6, 8, 10), 5)


def test_k_space_from_a_file_to_the_image(save):
    """What `open_images` makes of complex (N, coils, H, W) is what the operator of several coils measures."""
    x = torch.complex(gaussian(2, 8, 10), gaussian(2, 8, 10, key=1))
    k_space = MASK * fourier(torch.from_numpy(COILS) * x[:, None]).numpy()
    source = open_images(save("k.npy", (1e-5 * k_space).astype(np.complex64)))
    y = torch.stack([source.read(i) for i in range(2)])
    operator = build_operator(
        MRISection(mask=save("m.npy", MASK), coils=save("c.npy", COILS)), source.shape(0), len(source)
    )
    expected = operator.A(1e-5 * torch.view_as_real(x).movedim(-1, 1).float())
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-10)
