"""Tensors to tensors. Every network carries a leading members axis.

An ensemble of `n_members` networks of one shape is one network whose weights
have a first axis, so it trains and scores in one batched matrix product.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MemberLinear(nn.Module):
    """Affine map of each member, weights of shape (n_members, in, out).

    The product is laid out with rows running fastest in memory, so that what
    follows can slice outputs without leaving long contiguous runs.
    """

    def __init__(self, n_members: int, in_size: int, out_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_members, in_size, out_size))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, out_size))

    def forward(self, x: Tensor) -> Tensor:
        """Image of `x`, shape (n_members, n, out), for x of shape (n_members, n, in)."""
        return torch.bmm(self.weight.mT, x.mT).add_(self.bias.mT).mT


class MemberMLP(nn.Module):
    r"""Multilayer perceptron of each member, plus a linear path around it.

    .. math:: f(x) = A x + b + W_m \, r(\dots r(W_1 x + b_1))

    The linear path lets a network begin at a closed-form linear model.
    """

    def __init__(self, n_members: int, sizes: Sequence[int]) -> None:
        super().__init__()
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList(MemberLinear(n_members, a, b) for a, b in pairs)
        self.linear = nn.Parameter(torch.zeros(n_members, sizes[0], sizes[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of shape (n_members, n, out), for x of shape (n_members, n, in)."""
        hidden = x
        for layer in list(self.layers)[:-1]:
            hidden = layer(hidden).relu_()
        out: Tensor = self.layers[-1](hidden)
        return out.mT.baddbmm_(self.linear.mT, x.mT).mT


@torch.no_grad()
def initialize(network: MemberMLP, generator: torch.Generator) -> None:
    """Draw He-initialized hidden layers and a nearly silent last one, in place.

    Parameters
    ----------
    network : MemberMLP
    generator : torch.Generator
        Where the initial weights come from.
    """
    for layer in network.layers:
        assert isinstance(layer, MemberLinear)
        spread = 0.1 if layer is network.layers[-1] else math.sqrt(2.0)
        layer.weight.normal_(generator=generator)
        layer.weight.mul_(spread / math.sqrt(layer.weight.shape[1]))
