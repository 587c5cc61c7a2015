import numpy as np
import pytest
import torch

from improbable.kernels import AT_ONCE, TOGETHER, Kernels, features


def drawn(n_kernels, seed=0, least=0.05, members=2, dim=4):
    rng = np.random.default_rng(seed)
    loc = torch.tensor(rng.normal(size=(members, n_kernels, dim)))
    return loc, torch.tensor(least + 0.3 * rng.random((members, n_kernels, dim)))


def asked(n, seed=5, spread=1.0, members=2, dim=4):
    rng = np.random.default_rng(seed)
    z = torch.tensor(spread * rng.normal(size=(members, n, dim)))
    return z, features(z, z**2)


def by_numpy(z, loc, scale):
    """Log density of each kernel but for its factor of pi, shape (n_members, n, M)."""
    z, loc, scale = (t.numpy() for t in (z, loc, scale))
    ratio = (z[:, :, None] - loc[:, None]) / scale[:, None]
    return (-0.5 * ratio**2 - np.log(scale)[:, None]).sum(-1)


@pytest.mark.parametrize("n_kernels", [1, TOGETHER, TOGETHER + 1, AT_ONCE, 2 * AT_ONCE + 3])
def test_the_nearest_is_that_of_all(n_kernels):
    loc, scale = drawn(n_kernels)
    z, wanted = asked(7)
    found = Kernels.of(loc, scale).nearest(wanted)
    np.testing.assert_allclose(found, by_numpy(z, loc, scale).max(axis=-1), rtol=1e-12)


@pytest.mark.parametrize("n_kernels", [3, AT_ONCE + 5])
def test_densities_against_numpy(n_kernels):
    loc, scale = drawn(n_kernels)
    z, wanted = asked(6)
    found = torch.cat(list(Kernels.of(loc, scale).densities(wanted)), dim=-1)
    np.testing.assert_allclose(found, by_numpy(z, loc, scale), rtol=1e-11)


@pytest.mark.parametrize("spread", [10.0, 1e3, 1e5])
def test_far_rows_are_settled_in_double_precision(spread):
    loc, scale = drawn(300, least=0.02)
    z, wanted = asked(50, spread=spread)
    found = Kernels.of(loc, scale).nearest(wanted)
    np.testing.assert_allclose(found, by_numpy(z, loc, scale).max(axis=-1), rtol=1e-11)


def test_kernels_that_single_precision_cannot_tell_apart():
    rng = np.random.default_rng(0)
    loc = torch.tensor(3.0 + 1e-5 * rng.normal(size=(1, 400, 4)))
    kernels = Kernels.of(loc, torch.full_like(loc, 0.02))
    z = torch.tensor(3.0 + 2.0 * rng.normal(size=(1, 100, 4)))
    wanted = features(z, z**2)
    (everything,) = kernels.densities(wanted)
    (rough,) = Kernels(kernels.forms.float()).densities(wanted.float())
    chosen = everything.gather(-1, rough.argmax(dim=-1, keepdim=True))[..., 0]
    best = everything.amax(dim=-1)
    assert float((best - chosen).max()) > 1e-3
    torch.testing.assert_close(kernels.nearest(wanted), best, rtol=0.0, atol=1e-9)


def test_equal_kernels_are_looked_at_once_and_change_nothing():
    loc, scale = drawn(20)
    loc[1], scale[1] = loc[1, :1], scale[1, :1]  # one place in a member, twenty in the other
    many = Kernels.of(loc.repeat(1, 400, 1), scale.repeat(1, 400, 1))
    z, wanted = asked(3)
    found = many.nearest(wanted)
    assert many._padded.shape[1] == 2 * TOGETHER
    np.testing.assert_allclose(found, by_numpy(z, loc, scale).max(axis=-1), rtol=1e-12)


def test_a_row_finds_the_same_alone():
    loc, scale = drawn(900)
    _, wanted = asked(40)
    kernels = Kernels.of(loc, scale)
    alone = torch.cat([kernels.nearest(wanted[:, i : i + 1]) for i in range(40)], dim=1)
    torch.testing.assert_close(alone, kernels.nearest(wanted), rtol=1e-13, atol=1e-13)


def test_products_that_round_more_are_not_trusted(monkeypatch):
    loc, scale = drawn(40)
    z, wanted = asked(5)
    kernels = Kernels.of(loc, scale)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
    found = kernels.nearest(wanted)
    assert "_single" not in vars(kernels)
    np.testing.assert_allclose(found, by_numpy(z, loc, scale).max(axis=-1), rtol=1e-12)
