"""Convolutional networks for images, of any height and width, with a members axis."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from improbable.networks import MemberLinear

CHANNELS = (16, 32)


def halved(size: int) -> int:
    """Length of a side after a convolution of stride 2."""
    return (size + 1) // 2


class MemberConv(nn.Module):
    """Convolution of stride 2 of each member, 3 x 3; upwards, its transpose of 4 x 4."""

    def __init__(self, n_members: int, in_size: int, out_size: int, *, up: bool) -> None:
        super().__init__()
        kernel = (in_size, out_size, 4, 4) if up else (out_size, in_size, 3, 3)
        self.up, self.fan_in = up, in_size * (4 if up else 9)
        self.weight = nn.Parameter(torch.zeros(n_members, *kernel))
        self.bias = nn.Parameter(torch.zeros(n_members, out_size))

    def forward(self, x: Tensor) -> Tensor:
        """Images of shape (n_members, n, out, h', w') for x of shape (n_members, n, in, h, w)."""
        convolve = functional.conv_transpose2d if self.up else functional.conv2d
        members = zip(x, self.weight, self.bias, strict=True)
        return torch.stack([convolve(i, w, b, stride=2, padding=1) for i, w, b in members])


class ConvEncoder(nn.Module):
    """Convolutions, then a perceptron, plus a linear path around them.

    Parameters
    ----------
    n_members : int
    shape : (channels, height, width)
        Of the images; the network reads them and their masks.
    hidden : sequence of int
        Hidden units of the perceptron.
    out_size : int
        Outputs.
    """

    def __init__(
        self, n_members: int, shape: Sequence[int], hidden: Sequence[int], out_size: int
    ) -> None:
        super().__init__()
        self.shape = (2 * shape[0], *shape[1:])
        channels = [self.shape[0], *CHANNELS]
        pairs = zip(channels[:-1], channels[1:], strict=True)
        self.filters = nn.ModuleList(MemberConv(n_members, a, b, up=False) for a, b in pairs)
        inner = halved(halved(shape[1])) * halved(halved(shape[2]))
        sizes = [CHANNELS[-1] * inner, *hidden, out_size]
        dense = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList(MemberLinear(n_members, a, b) for a, b in dense)
        self.linear = nn.Parameter(torch.zeros(n_members, math.prod(self.shape), out_size))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of shape (n_members, n, out_size), for flat images and masks."""
        images = x.reshape(*x.shape[:2], *self.shape)
        for layer in self.filters:
            images = layer(images).relu()
        hidden = images.flatten(2).mT
        for layer in list(self.layers)[:-1]:
            hidden = layer(hidden).relu()
        return torch.baddbmm(self.layers[-1](hidden), self.linear.mT, x.mT).mT

    @property
    def bias(self) -> Tensor:
        """Constant part of the outputs, shape (n_members, 1, out_size)."""
        return cast(Tensor, self.layers[-1].bias)


class ConvDecoder(nn.Module):
    """A perceptron, then transposed convolutions, plus a linear path around them.

    Parameters
    ----------
    n_members, in_size : int
    hidden : sequence of int
        Hidden units of the perceptron.
    shape : (channels, height, width)
        Of the outputs: as many channels as the likelihood has parameters.
    """

    def __init__(
        self, n_members: int, in_size: int, hidden: Sequence[int], shape: Sequence[int]
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        heights = [shape[1], halved(shape[1]), halved(halved(shape[1]))]
        widths = [shape[2], halved(shape[2]), halved(halved(shape[2]))]
        self.sides = list(zip(heights, widths, strict=True))[::-1]
        inner = self.sides[0][0] * self.sides[0][1]
        sizes = [in_size, *hidden, CHANNELS[-1] * inner]
        dense = zip(sizes[:-1], sizes[1:], strict=True)
        self.layers = nn.ModuleList(MemberLinear(n_members, a, b) for a, b in dense)
        channels = [*CHANNELS[::-1], shape[0]]
        pairs = zip(channels[:-1], channels[1:], strict=True)
        self.filters = nn.ModuleList(MemberConv(n_members, a, b, up=True) for a, b in pairs)
        size = math.prod(self.shape)
        self.linear = nn.Parameter(torch.zeros(n_members, in_size, size))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        """Flat outputs of shape (n_members, n, out_size), for z of shape (n_members, n, in)."""
        hidden = x.mT
        for layer in self.layers:
            hidden = layer(hidden).relu()
        images = hidden.mT.reshape(*hidden.shape[:1], -1, CHANNELS[-1], *self.sides[0])
        for layer, (height, width) in zip(self.filters, self.sides[1:], strict=True):
            last = layer is self.filters[-1]
            images = layer(images)[..., :height, :width]
            images = images if last else images.relu()
        return torch.baddbmm(images.flatten(2) + self.bias, x, self.linear)
