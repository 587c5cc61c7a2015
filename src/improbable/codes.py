"""Codes of tokens: their distribution, and the likelihood that encodes them as numbers."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch import distributions as td


class Codes(td.Distribution):
    """One of several codes 0, 1, ..., as numbers.

    Parameters
    ----------
    logits : Tensor of shape (..., n_codes)
        Up to a constant.
    """

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-1], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log mass of whole numbers, nats."""
        index = value.long().expand(self.logits.shape[:-1]).unsqueeze(-1)
        return self.logits.gather(-1, index).squeeze(-1) - self.logits.logsumexp(-1)

    @property
    def mean(self) -> Tensor:
        return (self.logits.softmax(-1) * self._codes).sum(-1)

    @property
    def variance(self) -> Tensor:
        deviation = self._codes - self.mean.unsqueeze(-1)
        return (self.logits.softmax(-1) * deviation.square()).sum(-1)

    def entropy(self) -> Tensor:
        """Nats of each code."""
        log_prob = self.logits.log_softmax(-1)
        return -(log_prob.exp() * log_prob).sum(-1)

    @property
    def _codes(self) -> Tensor:
        return torch.arange(self.logits.shape[-1]).to(self.logits)


@dataclass(frozen=True)
class Token:
    """One of `n_codes` tokens a part, encoded as its code divided by their number."""

    n_parts: int
    n_codes: int

    @property
    def event_size(self) -> int:
        return self.n_parts

    @property
    def param_size(self) -> int:
        return self.n_parts * self.n_codes

    def __call__(self, raw: Tensor) -> td.Distribution:
        return Codes(raw.reshape(*raw.shape[:-1], self.n_parts, self.n_codes))

    def event(self, flat: Tensor) -> Tensor:
        return (flat * self.n_codes).round()

    def flat(self, event: Tensor) -> Tensor:
        return event / self.n_codes

    def variance(self, distribution: td.Distribution) -> Tensor:
        variance: Tensor = distribution.variance
        return variance / self.n_codes**2

    def draw(self, distribution: td.Distribution, rng: np.random.Generator) -> Tensor:
        assert isinstance(distribution, Codes)
        logits = distribution.logits
        gumbel = torch.as_tensor(rng.gumbel(size=tuple(logits.shape))).to(logits)
        return (logits + gumbel).argmax(-1).to(logits.dtype)
