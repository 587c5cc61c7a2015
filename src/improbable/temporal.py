"""Networks that read and write a window point by point, with a members axis.

A window's encoder gathers what belongs to each point, reads the points in
order of time, and goes on as a perceptron; its decoder does the same the other
way round. What reads and writes is a gated recurrent unit or a stack of
dilated convolutions: modules that know no more of a window than steps of shape
(n_members, length, n, size).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from improbable.likelihoods import Likelihood
from improbable.networks import MemberLinear
from improbable.recurrent import UNITS, MemberUnit, affine

CHANNELS = 32
TAPS = 3


@dataclass(frozen=True)
class Points:
    """Where in a window that belongs which is of one point.

    Attributes
    ----------
    inputs : Tensor of int of shape (length, in_size)
        Places of a point's entries and masks among those of the window.
    params : Tensor of int of shape (length, out_size)
        Places of a point's parameters among those of the window's likelihood.
    """

    inputs: Tensor
    params: Tensor

    @classmethod
    def of(cls, blocks: Sequence[Likelihood], length: int) -> "Points":
        """Places in windows of a likelihood's blocks, each with the lags of a part side by side.

        A block lays out its parameters as it does its entries: parts of one
        entry kind by kind (all locations, then all scales), wider ones part by
        part. So lags are next to last in both, and only the width follows them.
        """
        widths = [block.event_size // block.n_parts for block in blocks]
        entries = _by_point([block.event_size for block in blocks], widths, length)
        masks = _by_point([block.n_parts for block in blocks], [1] * len(blocks), length)
        inputs = torch.cat([entries, masks + entries.numel()], dim=1)
        return cls(inputs, _by_point([block.param_size for block in blocks], widths, length))


def _by_point(sizes: Sequence[int], widths: Sequence[int], length: int) -> Tensor:
    """Places of blocks of (..., length, width) side by side, shape (length, sum / length)."""
    places = torch.split(torch.arange(sum(sizes)), list(sizes))
    found = [
        block.view(-1, length, width).transpose(0, 1).reshape(length, -1)
        for block, width in zip(places, widths, strict=True)
    ]
    return torch.cat(found, dim=1)


class Reader(Protocol):
    """What reads points: its `out_size`, and a module on steps (n_members, length, n, in)."""

    out_size: int

    def __call__(self, steps: Tensor) -> Tensor:
        """Features of shape (n_members, n, out_size)."""
        ...


class WindowEncoder(nn.Module):
    """A reader of points, then a perceptron, plus a linear path around them.

    Parameters
    ----------
    n_members : int
    points : Points
        Layout of a window.
    reader : callable
        Builds a reader from (n_members, in_size, length).
    hidden : sequence of int
        Hidden units of the perceptron.
    out_size : int
        Outputs.
    """

    places: Tensor

    def __init__(
        self,
        n_members: int,
        points: Points,
        reader: Callable[[int, int, int], Reader],
        hidden: Sequence[int],
        out_size: int,
    ) -> None:
        super().__init__()
        self.size = length, in_size = points.inputs.shape
        self.register_buffer("places", points.inputs.flatten(), persistent=False)
        self.reader = reader(n_members, in_size, length)
        self.layers = _dense(n_members, [self.reader.out_size, *hidden, out_size])
        self.linear = nn.Parameter(torch.zeros(n_members, points.inputs.numel(), out_size))

    def forward(self, x: Tensor) -> Tensor:
        """Outputs of shape (n_members, n, out_size), for entries and masks of whole windows."""
        steps = x[..., self.places].view(*x.shape[:2], *self.size).transpose(1, 2)
        hidden = self.reader(steps)
        for layer in list(self.layers)[:-1]:
            hidden = affine(cast(MemberLinear, layer), hidden).relu()
        return torch.baddbmm(affine(cast(MemberLinear, self.layers[-1]), hidden), x, self.linear)

    @property
    def bias(self) -> Tensor:
        """Constant part of the outputs, shape (n_members, 1, out_size)."""
        return cast(Tensor, self.layers[-1].bias)


class WindowDecoder(nn.Module):
    """A perceptron, then a writer of points, plus a linear path around them.

    Parameters
    ----------
    n_members, in_size : int
    hidden : sequence of int
        Hidden units of the perceptron.
    points : Points
        Layout of a window.
    writer : callable
        Builds a module from (n_members, in_size, length, out_size), which turns
        (n_members, n, in_size) to steps (n_members, length, n, out_size).
    """

    places: Tensor

    def __init__(
        self,
        n_members: int,
        in_size: int,
        hidden: Sequence[int],
        points: Points,
        writer: Callable[[int, int, int, int], nn.Module],
    ) -> None:
        super().__init__()
        length, out_size = points.params.shape
        self.register_buffer("places", points.params.flatten().argsort(), persistent=False)
        sizes = [in_size, *hidden]
        self.layers = _dense(n_members, sizes)
        self.writer = writer(n_members, sizes[-1], length, out_size)
        self.linear = nn.Parameter(torch.zeros(n_members, in_size, length * out_size))
        self.bias = nn.Parameter(torch.zeros(n_members, 1, length * out_size))

    def forward(self, z: Tensor) -> Tensor:
        """Parameters of whole windows, shape (n_members, n, out), for z (n_members, n, in)."""
        hidden = z
        for layer in self.layers:
            hidden = affine(cast(MemberLinear, layer), hidden).relu()
        written = self.writer(hidden).transpose(1, 2).flatten(2)[..., self.places]
        return torch.baddbmm(written + self.bias, z, self.linear)


def _dense(n_members: int, sizes: Sequence[int]) -> nn.ModuleList:
    pairs = zip(sizes[:-1], sizes[1:], strict=True)
    return nn.ModuleList(MemberLinear(n_members, a, b) for a, b in pairs)


def _at_steps(layer: MemberLinear, steps: Tensor) -> Tensor:
    """Image of shape (n_members, length, n, out) of steps (n_members, length, n, in)."""
    return affine(layer, steps.flatten(1, 2)).view(*steps.shape[:3], layer.bias.shape[-1])


class RecurrentReader(nn.Module):
    """Gated recurrent unit over the points; features are its last state and the mean of all."""

    out_size = 2 * UNITS

    def __init__(self, n_members: int, in_size: int, length: int) -> None:
        super().__init__()
        self.gates = _unrectified(n_members, in_size, 3 * UNITS)
        self.unit = MemberUnit(n_members, UNITS)

    def forward(self, steps: Tensor) -> Tensor:
        """Features of shape (n_members, n, out_size), for steps (n_members, length, n, in)."""
        n_members, length, n, _ = steps.shape
        gates = affine(self.gates, steps.flatten(1, 2))
        states = self.unit(gates, [n] * length).view(n_members, length, n, UNITS)
        return torch.cat([states[:, -1], states.mean(dim=1)], dim=-1)


class RecurrentWriter(nn.Module):
    """Gated recurrent unit that hears the same at every point and says what each is like."""

    def __init__(self, n_members: int, in_size: int, length: int, out_size: int) -> None:
        super().__init__()
        self.length = length
        self.gates = _unrectified(n_members, in_size, 3 * UNITS)
        self.unit = MemberUnit(n_members, UNITS)
        self.out = MemberLinear(n_members, UNITS, out_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Steps of shape (n_members, length, n, out_size), for (n_members, n, in_size)."""
        n = hidden.shape[1]
        gates = affine(self.gates, hidden).repeat(1, self.length, 1)
        states = self.unit(gates, [n] * self.length)
        return _at_steps(self.out, states.view(len(hidden), self.length, n, UNITS))


def _unrectified(n_members: int, in_size: int, out_size: int) -> MemberLinear:
    """A layer whose outputs are drawn as large as its inputs, for no rectifier follows it."""
    layer = MemberLinear(n_members, in_size, out_size)
    layer.fan_in = 2 * in_size
    return layer


class DilatedConvs(nn.Module):
    r"""Residual convolutions over time, each reaching twice as far as the one before.

    .. math:: h_t \leftarrow h_t + r\Big(b + \sum_{k=-1}^1 W_k h_{t + k d}\Big),
        \qquad d = 1, 2, 4, \dots

    So many that every point sees its whole window; zeros lie beyond its ends.
    van den Oord et al., "WaveNet", 2016, looking both ways.
    """

    def __init__(self, n_members: int, length: int) -> None:
        super().__init__()
        self.dilations = [2**i for i in range((length - 1).bit_length())]
        self.layers = nn.ModuleList(
            MemberLinear(n_members, TAPS * CHANNELS, CHANNELS) for _ in self.dilations
        )
        for layer in self.layers:  # so that the sum of all does not grow with their number
            cast(Any, layer).fan_in = 2 * TAPS * CHANNELS * len(self.dilations)

    def forward(self, steps: Tensor) -> Tensor:
        """Steps of the same shape, (n_members, length, n, channels)."""
        length = steps.shape[1]
        for layer, dilation in zip(self.layers, self.dilations, strict=True):
            padded = functional.pad(steps, (0, 0, 0, 0, dilation, dilation))
            taps = [padded[:, k * dilation : k * dilation + length] for k in range(TAPS)]
            near = torch.cat(taps, dim=-1)
            steps = steps + _at_steps(cast(MemberLinear, layer), near).relu()
        return steps


class ConvReader(nn.Module):
    """Dilated convolutions over the points; features are those of all points side by side."""

    def __init__(self, n_members: int, in_size: int, length: int) -> None:
        super().__init__()
        self.out_size = length * CHANNELS
        self.mixed = _unrectified(n_members, in_size, CHANNELS)
        self.convs = DilatedConvs(n_members, length)

    def forward(self, steps: Tensor) -> Tensor:
        """Features of shape (n_members, n, out_size), for steps (n_members, length, n, in)."""
        found: Tensor = self.convs(_at_steps(self.mixed, steps))
        return found.transpose(1, 2).flatten(2)


class ConvWriter(nn.Module):
    """Channels of all points at once, dilated convolutions, and what each point is like."""

    def __init__(self, n_members: int, in_size: int, length: int, out_size: int) -> None:
        super().__init__()
        self.length = length
        self.spread = _unrectified(n_members, in_size, length * CHANNELS)
        self.convs = DilatedConvs(n_members, length)
        self.out = MemberLinear(n_members, CHANNELS, out_size)

    def forward(self, hidden: Tensor) -> Tensor:
        """Steps of shape (n_members, length, n, out_size), for (n_members, n, in_size)."""
        spread = affine(self.spread, hidden).view(*hidden.shape[:2], self.length, CHANNELS)
        return _at_steps(self.out, self.convs(spread.transpose(1, 2)))
