"""Blocks of likelihoods side by side: the distribution of a whole encoded row.

Its log prob is that of the blocks, added up, so each part's share comes for free.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from torch import distributions as td

from improbable.data.parts import Part
from improbable.errors import DataError
from improbable.likelihoods import LIKELIHOODS, Likelihood, Normal, Rng


@dataclass(frozen=True)
class Joint:
    """Independent blocks given z, side by side in one encoded row.

    Attributes
    ----------
    blocks : tuple of Likelihood
        In the order of the row.
    """

    blocks: tuple[Likelihood, ...]

    @classmethod
    def of(cls, parts: Sequence[Part]) -> "Joint":
        """Joint likelihood of a codec's parts; equal neighbors share a block."""
        unknown = sorted({p.likelihood for p in parts} - set(LIKELIHOODS))
        if unknown:
            raise DataError(f"No likelihood is called {unknown[0]!r}. Use {sorted(LIKELIHOODS)}.")
        runs = groupby(parts, key=lambda part: (part.likelihood, part.width))
        return cls(tuple(LIKELIHOODS[name](list(run)) for (name, _), run in runs))

    @property
    def n_parts(self) -> int:
        """Parts of a row."""
        return sum(block.n_parts for block in self.blocks)

    @property
    def event_size(self) -> int:
        """Width of an encoded row."""
        return sum(block.event_size for block in self.blocks)

    @property
    def param_size(self) -> int:
        """Raw outputs a decoder must give."""
        return sum(block.param_size for block in self.blocks)

    @property
    def constant_params(self) -> tuple[bool, ...]:
        """Raw outputs that must not depend on z: the scales of a column, or of a block."""
        flags: list[bool] = []
        for block in self.blocks:
            tied = isinstance(block, Normal) and block.constant_scale
            half = block.param_size // 2
            flags += [False] * half + [tied] * (block.param_size - half)
        return tuple(flags)

    def __call__(self, raw: Tensor) -> "JointDistribution":
        slices = torch.split(raw, [block.param_size for block in self.blocks], dim=-1)
        pairs = zip(self.blocks, slices, strict=True)
        return JointDistribution(self.blocks, tuple(block(piece) for block, piece in pairs))


@dataclass(frozen=True)
class JointDistribution:
    """p(x given z) of encoded rows: independent blocks.

    Attributes
    ----------
    blocks : tuple of Likelihood
    distributions : tuple of Distribution
        One a block, of batch shape (..., parts of the block).
    """

    blocks: tuple[Likelihood, ...]
    distributions: tuple[td.Distribution, ...]

    def log_prob_blocks(self, x: Tensor) -> Tensor:
        """Log prob of each part, nats, shape (..., n_parts); `x` of shape (..., event_size)."""
        return torch.cat(self._by_block(x), dim=-1)

    def log_prob(self, x: Tensor, observed: Tensor) -> Tensor:
        """Log prob of the observed parts of each row, nats, shape (...,).

        The sum of `log_prob_blocks` where `observed` is 1, without ever
        holding all parts at once.
        """
        found = self._by_block(x)
        seen = torch.split(observed, [block.n_parts for block in self.blocks], dim=-1)
        total = (found[0] * seen[0]).sum(-1)
        for piece, mask in zip(found[1:], seen[1:], strict=True):
            total = total + (piece * mask).sum(-1)
        return total

    def _by_block(self, x: Tensor) -> list[Tensor]:
        pieces = torch.split(x, [block.event_size for block in self.blocks], dim=-1)
        return [
            d.log_prob(block.event(piece))
            for block, d, piece in zip(self.blocks, self.distributions, pieces, strict=True)
        ]

    @property
    def mean(self) -> Tensor:
        """Mean of each encoded entry, shape (..., event_size)."""
        pairs = zip(self.blocks, self.distributions, strict=True)
        return torch.cat([block.flat(d.mean) for block, d in pairs], dim=-1)

    @property
    def variance(self) -> Tensor:
        """Variance of each encoded entry, shape (..., event_size)."""
        pairs = zip(self.blocks, self.distributions, strict=True)
        return torch.cat([block.variance(d) for block, d in pairs], dim=-1)

    def sample(self, rng: Rng) -> Tensor:
        """Draw of each encoded row, shape (..., event_size)."""
        pairs = zip(self.blocks, self.distributions, strict=True)
        return torch.cat([block.flat(block.draw(d, rng)) for block, d in pairs], dim=-1)
