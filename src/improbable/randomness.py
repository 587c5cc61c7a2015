"""Randomness as an argument: local generators and the shared Monte-Carlo noise.

Nothing in this library reads or advances a global random generator.
"""

from typing import Any

import numpy as np
import scipy
import torch
from scipy.special import ndtri
from torch import Tensor

from improbable.errors import ImprobableError

RandomState = int | np.integer[Any] | np.random.Generator | np.random.RandomState | None


def seed_sequence(random_state: RandomState) -> np.random.SeedSequence:
    """Seed from which every generator of one fit is spawned.

    Parameters
    ----------
    random_state : int, Generator, RandomState or None
        An int gives the same seed each time; a generator is advanced by one
        draw; None takes fresh entropy from the operating system.

    Returns
    -------
    numpy.random.SeedSequence

    Raises
    ------
    ImprobableError
        If `random_state` is none of these.
    """
    if random_state is None:
        return np.random.SeedSequence()
    if isinstance(random_state, int | np.integer) and random_state >= 0:
        return np.random.SeedSequence(int(random_state))
    if isinstance(random_state, np.random.Generator):
        return np.random.SeedSequence(int(random_state.integers(2**63)))
    if isinstance(random_state, np.random.RandomState):
        return np.random.SeedSequence(int(random_state.randint(2**31 - 1)))
    raise ImprobableError(
        f"random_state must be None, a non-negative int or a NumPy generator, "
        f"got {random_state!r}. Pass an int, for instance random_state=0."
    )


def whole_seed(random_state: RandomState) -> int:
    """The seed itself if it is a whole number, otherwise one drawn from it."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(seed_sequence(random_state).generate_state(1)[0])


def numpy_generator(seed: np.random.SeedSequence) -> np.random.Generator:
    """Local NumPy generator of a seed."""
    return np.random.default_rng(seed)


def torch_generator(seed: np.random.SeedSequence, device: str = "cpu") -> torch.Generator:
    """Local torch generator of a seed."""
    generator = torch.Generator(device=device)
    generator.manual_seed(int(seed.generate_state(1, np.uint64)[0] >> np.uint64(1)))
    return generator


def draw_noise(n_draws: int, latent_dim: int, seed: np.random.SeedSequence) -> Tensor:
    """Standard-Normal noise table shared by all rows, quasi-random and antithetic.

    Scrambled Sobol points through the Normal quantile function, each followed
    by its mirror image: draws ``2i`` and ``2i + 1`` are ``e`` and ``-e``.

    Parameters
    ----------
    n_draws : int
        Draws of z a row, at least 1. An odd number leaves the last draw
        without its mirror image; one draw alone is the origin.
    latent_dim : int
        Size of z.
    seed : numpy.random.SeedSequence
        Where the scrambling comes from.

    Returns
    -------
    Tensor of shape (n_draws, latent_dim), float64
    """
    if n_draws == 1:
        return torch.zeros(1, latent_dim, dtype=torch.float64)
    half = (n_draws + 1) // 2
    sobol = scipy.stats.qmc.Sobol(latent_dim, rng=numpy_generator(seed))
    uniform = sobol.random_base2(max(half - 1, 1).bit_length())[:half]
    points = ndtri(np.clip(uniform, 1e-9, 1 - 1e-9))
    pairs = np.stack([points, -points], axis=1).reshape(2 * half, latent_dim)
    return torch.from_numpy(pairs[:n_draws].copy())
