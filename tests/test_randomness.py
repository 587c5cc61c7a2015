import numpy as np
import pytest
import torch
from scipy import stats

from improbable.errors import ImprobableError
from improbable.randomness import draw_noise, seed_sequence, torch_generator


def test_noise_is_antithetic_and_standard_normal():
    noise = draw_noise(256, 3, seed_sequence(0))
    torch.testing.assert_close(noise[::2], -noise[1::2])
    np.testing.assert_allclose(noise.mean(dim=0), 0, atol=1e-12)
    np.testing.assert_allclose(noise.var(dim=0), 1, atol=0.05)
    for column in noise.T.numpy():
        assert stats.kstest(column, "norm").pvalue > 0.5


@pytest.mark.parametrize(("n_draws", "rows"), [(1, 1), (2, 2), (5, 5), (8, 8)])
def test_any_number_of_draws(n_draws, rows):
    assert draw_noise(n_draws, 2, seed_sequence(0)).shape == (rows, 2)


def test_one_draw_is_the_origin():
    assert (draw_noise(1, 4, seed_sequence(0)) == 0).all()


def test_seeds():
    assert seed_sequence(3).entropy == 3
    assert seed_sequence(np.int64(3)).entropy == 3
    assert seed_sequence(None).entropy != seed_sequence(None).entropy
    generator = np.random.default_rng(0)
    assert seed_sequence(generator).entropy != seed_sequence(generator).entropy
    one, two = (seed_sequence(np.random.RandomState(5)).entropy for _ in range(2))
    assert one == two


@pytest.mark.parametrize("bad", ["a", -1, 1.5])
def test_bad_seeds_are_named(bad):
    with pytest.raises(ImprobableError, match="random_state"):
        seed_sequence(bad)


def test_torch_generators_are_local_and_repeatable():
    one, two = (torch.rand(3, generator=torch_generator(seed_sequence(1))) for _ in range(2))
    assert torch.equal(one, two)
