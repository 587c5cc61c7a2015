"""The variational autoencoder: networks in, distributions out."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from improbable.architectures import NETWORKS, WINDOW_NETWORKS, Sizes
from improbable.data.codec import Codec
from improbable.data.parts import Part
from improbable.distributions import DiagonalNormal
from improbable.errors import DataError
from improbable.joint import Joint, JointDistribution
from improbable.priors import LearnedMixture, Prior, StandardNormal
from improbable.recurrent import RecurrentDecoder

LOG_SCALE_BOUND = 7.0
IN_USE = 0.1


@dataclass(frozen=True)
class Batch:
    """Encoded rows as tensors.

    Attributes
    ----------
    values : Tensor of shape (n_rows, event_size)
        Zero where not observed.
    observed : Tensor of shape (n_rows, n_parts)
        1 where the likelihood judges a part.
    offsets : Tensor of shape (n_rows, n_columns)
        Log probabilities that belong to a cell whatever z.
    """

    values: Tensor
    observed: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Tensor | slice | int) -> "Batch":
        return Batch(self.values[index], self.observed[index], self.offsets[index])

    def aligned(self) -> "Batch":
        """The same rows, laid out as networks have them."""
        return Batch(aligned(self.values), aligned(self.observed), self.offsets)

    def to(self, dtype: torch.dtype, device: torch.device | str = "cpu") -> "Batch":
        """The same rows in another precision or place."""
        moved = (t.to(device, dtype) for t in (self.values, self.observed, self.offsets))
        return Batch(*moved)


def aligned(rows: Tensor) -> Tensor:
    """Rows that run fastest in memory, as in the networks: what mixes both is not copied then."""
    return rows.mT.contiguous().mT


class VAE(nn.Module):
    """An ensemble of variational autoencoders that share their shape.

    Parameters
    ----------
    encoder, decoder : nn.Module
        From (n_members, n, event_size + n_parts) to (n_members, n, 2 latent_dim),
        and from (n_members, n, latent_dim) to (n_members, n, likelihood.param_size).
    likelihood : Joint
        What decoder outputs mean.
    latent_dim : int
        Size of z.
    parts : sequence of Part
        Widths and ranges of the parts; the encoder sees values clipped to them.
    part_columns, part_cells : sequence of int
        Column, and cell, that each part belongs to.
    n_columns, n_cells : int
        Columns of the table, those without parts included, and cells of a row.

    Attributes
    ----------
    mixture : LearnedMixture or None
        p(z) that is trained with the networks; the standard Normal if None.
    """

    mixture: LearnedMixture | None
    parts: tuple[Part, ...]
    low: Tensor
    high: Tensor
    entry_part: Tensor
    part_column: Tensor
    part_cell: Tensor
    cell_place: Tensor
    tied: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: Joint,
        latent_dim: int,
        parts: Sequence[Part],
        part_columns: Sequence[int],
        part_cells: Sequence[int],
        n_columns: int,
        n_cells: int,
        n_members: int,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood
        self.latent_dim, self.n_members, self.mixture = latent_dim, n_members, None
        self.n_columns, self.n_cells, self.parts = n_columns, n_cells, tuple(parts)
        widths = torch.tensor([part.width for part in parts], dtype=torch.long)
        entry_part = torch.repeat_interleave(torch.arange(len(parts)), widths)
        self.register_buffer("entry_part", entry_part, persistent=False)
        part_column = torch.tensor(list(part_columns), dtype=torch.long)
        self.register_buffer("part_column", part_column, persistent=False)
        part_cell = torch.tensor(list(part_cells), dtype=torch.long)
        self.register_buffer("part_cell", part_cell, persistent=False)
        ranks = {cell: rank for rank, cell in enumerate(sorted(set(part_cells)))}
        cell_place = torch.tensor([ranks[cell] for cell in part_cells], dtype=torch.long)
        self.register_buffer("cell_place", cell_place, persistent=False)
        self.n_observable = len(ranks)
        self.register_buffer("low", _bounds(parts, "low")[entry_part], persistent=False)
        self.register_buffer("high", _bounds(parts, "high")[entry_part], persistent=False)
        self.register_buffer("tied", torch.tensor(likelihood.constant_params), persistent=False)
        self.tied_params = nn.Parameter(torch.zeros(n_members, 1, likelihood.param_size))

    def encode(self, values: Tensor, observed: Tensor) -> DiagonalNormal:
        """q(z given x) of shape (n_members, n), event (latent_dim,).

        Parameters
        ----------
        values : Tensor of shape (n, event_size)
            Encoded rows.
        observed : Tensor of shape (n, n_parts) or (n_members, n, n_parts)
            1 where the encoder may look.
        """
        seen = self.within(values) * self.entries(observed)
        inputs = torch.cat([seen, observed], dim=-1).expand(self.n_members, -1, -1)
        loc, log_scale = self.encoder(inputs).chunk(2, dim=-1)
        return DiagonalNormal(loc, log_scale.clamp(-LOG_SCALE_BOUND, LOG_SCALE_BOUND))

    def within(self, values: Tensor) -> Tensor:
        """Encoded rows clipped to the range of the training rows."""
        return torch.minimum(torch.maximum(values, self.low), self.high)

    def entries(self, observed: Tensor) -> Tensor:
        """1 where an encoded entry is observed, shape (..., event_size), from that of parts."""
        same = len(self.entry_part) == observed.shape[-1]
        return observed if same else observed[..., self.entry_part]

    @property
    def looks_back(self) -> bool:
        """Whether the decoder judges each part given those before it, not given z alone."""
        return isinstance(self.decoder, RecurrentDecoder)

    def decode(
        self, z: Tensor, values: Tensor | None = None, heard: Tensor | None = None
    ) -> JointDistribution:
        """p(x given z) for z of shape (n_members, ..., latent_dim).

        Parameters
        ----------
        z : Tensor
        values : Tensor of shape (n, event_size), optional
            Encoded rows that a decoder looks back at; others do without.
        heard : Tensor of shape (n, n_parts), optional
            1 where it may look; everywhere if None.
        """
        if self.looks_back:
            if values is None:
                raise DataError(
                    "Sequences are decoded token by token, which has no mean to follow. "
                    "Use path='linear' or 'slerp'."
                )
            draws = z.flatten(1, -3) if z.dim() > 3 else z.unsqueeze(1)
            raw = self.decoder(draws, values, heard)
            return self.likelihood(raw.unflatten(1, z.shape[1:-1]))
        raw = self.decoder(z.flatten(1, -2))
        if bool(self.tied.any()):
            raw = torch.where(self.tied, self.tied_params, raw)
        return self.likelihood(raw.unflatten(1, z.shape[1:-1]))

    def observed_cells(self, observed: Tensor) -> Tensor:
        """1 for each cell with an observed part, shape (n, cells that have parts)."""
        count = observed.new_zeros(len(observed), self.n_observable)
        count = count.index_add(1, self.cell_place, observed)
        return (count > 0.0).to(observed.dtype)

    @property
    def prior(self) -> Prior:
        """p(z) in training: standard Normal, or the learned mixture."""
        return StandardNormal(self.latent_dim) if self.mixture is None else self.mixture()


def assemble_vae(
    codec: Codec,
    latent_dim: int,
    hidden: Sequence[int],
    decoder_hidden: Sequence[int],
    n_members: int,
) -> VAE:
    """VAE of what a codec encodes, with the networks it asks for, all weights zero."""
    likelihood = Joint.of(codec.parts)
    build = (NETWORKS if codec.span is None else WINDOW_NETWORKS)[codec.network]
    sizes = Sizes(codec.shape, likelihood, latent_dim, hidden, decoder_hidden, n_members)
    encoder, decoder = build(sizes)
    n_columns, span = len(codec.names), codec.span
    cells = codec.part_columns if span is None else span.part_cells
    places = (codec.part_columns.tolist(), cells.tolist())
    counts = (n_columns, n_columns * (1 if span is None else span.length), n_members)
    return VAE(encoder, decoder, likelihood, latent_dim, codec.parts, *places, *counts)


@torch.no_grad()
def component_note(vae: VAE, rows: Batch) -> str:
    """How many components of a learned prior rows fall into, in words; empty without one.

    Those with at least a tenth of an equal share of the rows count.
    """
    if vae.mixture is None or not len(rows):
        return ""
    share = vae.mixture().responsibilities(vae.encode(rows.values, rows.observed)).mean(dim=1)
    used = (share * share.shape[1] > IN_USE).sum(dim=-1)
    note = f"; rows fall into {int(used.min())} of {share.shape[1]} components of the prior"
    alone = ", so that it is one Gaussian: prior='aggregated' says more of where rows lie"
    return note + (alone if int(used.min()) <= 1 else "")


def _bounds(parts: Sequence[Part], side: str) -> Tensor:
    return torch.tensor([float(getattr(part, side)) for part in parts])
