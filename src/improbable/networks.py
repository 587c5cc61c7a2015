"""Tensors to tensors. Every network carries a leading members axis.

An ensemble of `n_members` networks of one shape is one network whose weights
have a first axis, so it trains and scores in one batched matrix product.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn


class Network(Protocol):
    """What every encoder and decoder offers: a linear path, and a constant, beside its layers.

    A start in closed form is written into `linear`, shape (n_members, in, out),
    and `bias`, shape (n_members, 1, out).
    """

    linear: nn.Parameter

    @property
    def bias(self) -> Tensor:
        """Constant part of the outputs."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """Layers; those with a `fan_in` are drawn at random, the last one nearly silent."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """Outputs of shape (n_members, n, out)."""
        ...


class MemberLinear(nn.Module):
    """Affine map of each member, weights of shape (n_members, in, out)."""

    def __init__(self, n_members: int, in_size: int, out_size: int) -> None:
        super().__init__()
        self.fan_in = in_size
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

    @property
    def bias(self) -> Tensor:
        """Constant part of the outputs, shape (n_members, 1, out)."""
        return cast(Tensor, self.layers[-1].bias)


@torch.no_grad()
def initialize(network: Network, generator: torch.Generator) -> None:
    """Draw He-initialized hidden layers and a nearly silent last one, in place.

    Parameters
    ----------
    network : Network
    generator : torch.Generator
        Where the initial weights come from.
    """
    layers = [cast(MemberLinear, m) for m in network.modules() if hasattr(m, "fan_in")]
    for layer in layers:
        spread = 0.1 if layer is layers[-1] else math.sqrt(2.0)
        layer.weight.normal_(generator=generator)
        layer.weight.mul_(spread / math.sqrt(layer.fan_in))


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
    pieces = zip(torch.split(weights, sizes), torch.split(weights.grad, sizes), strict=True)
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
