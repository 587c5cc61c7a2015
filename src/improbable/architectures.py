"""Pairs of networks, an encoder and a decoder, that suit a kind of data."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import nn

from improbable.convolution import ConvDecoder, ConvEncoder
from improbable.joint import Joint
from improbable.networks import MemberMLP
from improbable.recurrent import RecurrentDecoder, RecurrentEncoder
from improbable.temporal import (
    ConvReader,
    ConvWriter,
    Points,
    Reader,
    RecurrentReader,
    RecurrentWriter,
    WindowDecoder,
    WindowEncoder,
)

Pair = tuple[nn.Module, nn.Module]


@dataclass(frozen=True)
class Sizes:
    """What networks are built for.

    Attributes
    ----------
    shape : tuple of int
        Layout of an encoded row, as its codec has it.
    likelihood : Joint
        What decoder outputs mean.
    latent_dim : int
        Size of z.
    hidden, decoder_hidden : sequence of int
        Hidden units.
    n_members : int
    """

    shape: tuple[int, ...]
    likelihood: Joint
    latent_dim: int
    hidden: Sequence[int]
    decoder_hidden: Sequence[int]
    n_members: int


def _perceptrons(sizes: Sizes) -> Pair:
    latent_dim, likelihood = sizes.latent_dim, sizes.likelihood
    in_size = likelihood.event_size + likelihood.n_parts
    widths = [latent_dim, *sizes.decoder_hidden, likelihood.param_size]
    encoder = MemberMLP(sizes.n_members, [in_size, *sizes.hidden, 2 * latent_dim])
    return encoder, MemberMLP(sizes.n_members, widths)


def _convolutions(sizes: Sizes) -> Pair:
    shape, latent_dim = sizes.shape, sizes.latent_dim
    out = (sizes.likelihood.param_size // math.prod(shape[1:]), *shape[1:])
    encoder = ConvEncoder(sizes.n_members, shape, sizes.hidden, 2 * latent_dim)
    return encoder, ConvDecoder(sizes.n_members, latent_dim, sizes.decoder_hidden, out)


def _recurrences(sizes: Sizes) -> Pair:
    shape, latent_dim = sizes.shape, sizes.latent_dim
    encoder = RecurrentEncoder(sizes.n_members, shape[1], sizes.hidden, 2 * latent_dim)
    return encoder, RecurrentDecoder(sizes.n_members, latent_dim, sizes.decoder_hidden, *shape)


def _by_points(
    reader: Callable[[int, int, int], Reader],
    writer: Callable[[int, int, int, int], nn.Module],
    sizes: Sizes,
) -> Pair:
    """Networks that go through the points of a window."""
    points, n_members = Points.of(sizes.likelihood.blocks, sizes.shape[0]), sizes.n_members
    encoder = WindowEncoder(n_members, points, reader, sizes.hidden, 2 * sizes.latent_dim)
    widths = sizes.latent_dim, sizes.decoder_hidden
    return encoder, WindowDecoder(n_members, *widths, points, writer)


Build = Callable[[Sizes], Pair]

NETWORKS: dict[str, Build] = {"mlp": _perceptrons, "conv": _convolutions, "gru": _recurrences}
WINDOW_NETWORKS: dict[str, Build] = {
    "mlp": _perceptrons,
    "gru": partial(_by_points, RecurrentReader, RecurrentWriter),
    "conv": partial(_by_points, ConvReader, ConvWriter),
}
