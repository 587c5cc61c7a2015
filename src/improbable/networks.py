"""Tensors to tensors. Every network carries a leading members axis.

An ensemble of `n_members` networks of one shape is one network whose weights
have a first axis, so it trains and scores in one batched matrix product.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MemberLinear(nn.Module):
    """Affine map of each member, weights of shape (n_members, in, out)."""

    def __init__(self, n_members: int, in_size: int, out_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_members, in_size, out_size))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, out_size))

    def forward(self, columns: Tensor) -> Tensor:
        """Image of shape (n_members, out, n), for columns of shape (n_members, in, n)."""
        return torch.baddbmm(self.bias.mT, self.weight.mT, columns)


class MemberMLP(nn.Module):
    r"""Multilayer perceptron of each member, plus a linear path around it.

    .. math:: f(x) = A x + b + W_m \, r(\dots r(W_1 x + b_1))

    The linear path lets a network begin at a closed-form linear model. Rows run
    fastest in memory all the way through, so that what follows can slice outputs
    without leaving long contiguous runs.
    """

    def __init__(self, n_members: int, sizes: Sequence[int]) -> None:
        super().__init__()
        pairs = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList(MemberLinear(n_members, a, b) for a, b in pairs)
        self.linear = nn.Parameter(torch.zeros(n_members, sizes[0], sizes[-1]))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of shape (n_members, n, out), for x of shape (n_members, n, in)."""
        columns = x.mT
        hidden = columns
        for layer in list(self.layers)[:-1]:
            hidden = layer(hidden).relu_()
        return torch.baddbmm(self.layers[-1](hidden), self.linear.mT, columns).mT


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


def share_storage(network: nn.Module) -> Tensor:
    """Weights of a network as one leaf tensor, of which its parameters become views.

    An optimizer, a norm, a snapshot then cost one operation instead of one for
    each parameter. The gradients share one tensor likewise.

    Returns
    -------
    Tensor of shape (n_weights,)
        With its `grad`; parameters follow each other whole.
    """
    parameters = list(network.parameters())
    sizes = [p.numel() for p in parameters]
    weights = torch.cat([p.detach().flatten() for p in parameters])
    weights.grad = torch.zeros_like(weights)
    pieces = zip(weights.split(sizes), weights.grad.split(sizes), strict=True)
    for parameter, (piece, gradient) in zip(parameters, pieces, strict=True):
        parameter.data = piece.view(parameter.shape)
        parameter.grad = gradient.view(parameter.shape)
    return weights


def owners(network: nn.Module) -> Tensor:
    """Member that each weight of `share_storage` belongs to, shape (n_weights,)."""
    places = [
        torch.arange(len(p), device=p.device).repeat_interleave(p[0].numel())
        for p in network.parameters()
    ]
    return torch.cat(places)
