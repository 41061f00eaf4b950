"""The Lanczos process against dense eigenvalues."""

import torch

from unveil.linalg import lanczos
from unveil.random import make_generator, normal


def test_lanczos_finds_all_eigenvalues_in_as_many_steps_as_there_are():
    a = normal(torch.empty(12, 12, dtype=torch.float64), make_generator("cpu", 5))
    a = a + a.mT
    z = normal(torch.empty(3, 4, dtype=torch.float64), make_generator("cpu", 6))
    basis, values, vectors = lanczos(lambda v: (a @ v.flatten()).reshape(v.shape), lambda v: v, z, 12)
    torch.testing.assert_close(values, torch.linalg.eigvalsh(a))
    q = basis.flatten(1)
    torch.testing.assert_close(q @ q.mT, torch.eye(12, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(q @ a @ q.mT, vectors @ values.diag() @ vectors.mT)
    fewer, values, _ = lanczos(lambda v: (a @ v.flatten()).reshape(v.shape), lambda v: v, z, 5)
    assert fewer.shape == (5, 3, 4)
    assert torch.linalg.eigvalsh(a)[0] < values[0]
    assert values[-1] < torch.linalg.eigvalsh(a)[-1]


def test_lanczos_stops_where_the_space_is_exhausted():
    z = normal(torch.empty(10, dtype=torch.float64), make_generator("cpu", 6))
    scale = torch.tensor([1.0, 2.0, 3.0]).double()[torch.arange(10) % 3]
    basis, values, _ = lanczos(lambda v: scale * v, lambda v: v, z, 8)
    assert len(basis) == 3
    torch.testing.assert_close(values, torch.tensor([1.0, 2.0, 3.0]).double())
