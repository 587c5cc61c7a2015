"""What changes in the course of training, and what keeps a strong decoder from ignoring z."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def one_cycle(progress: float) -> float:
    """Share of the peak learning rate: up over the first tenth, then down a cosine to 2 %."""
    if progress < 0.1:
        return 0.1 + 9.0 * progress
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * (progress - 0.1) / 0.9))


@dataclass(frozen=True)
class Reliance:
    """What makes a decoder that looks back rely on z all the same; by default nothing.

    Bowman et al., "Generating Sentences from a Continuous Space", 2016, and for
    the free nats Kingma et al., "Improving Variational Inference with Inverse
    Autoregressive Flow", 2016, appendix C.8.

    Attributes
    ----------
    warm_up : float
        Share of the steps over which the weight of the KL term rises to 1.
    unheard : float
        Share of cells hidden from the decoder ("word dropout").
    free_nats : float
        KL divergence of a row that costs nothing.
    """

    warm_up: float = 0.0
    unheard: float = 0.0
    free_nats: float = 0.0

    def kl_weight(self, progress: float) -> float:
        """Weight of the KL term after a share of the steps."""
        return 1.0 if progress >= self.warm_up else progress / self.warm_up

    def heard(self, like: Tensor, n: int, generator: torch.Generator) -> Tensor | None:
        """1 where the decoder may look back in `n` rows like these; None if everywhere."""
        if self.unheard == 0.0:
            return None
        drawn = torch.rand((n, like.shape[1]), generator=generator, device=like.device)
        return (drawn >= self.unheard).to(like.dtype)
