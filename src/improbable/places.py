"""What rows at the places of training rows look like, to tell which of them a row is like."""

from dataclasses import dataclass

import torch
from torch import Tensor

from improbable.data.parts import LEAST_VARIANCE, n_places
from improbable.priors import AggregatedPosterior, Prior
from improbable.vae import VAE


@dataclass(frozen=True)
class Places:
    r"""Decoded rows at some places z_k of each member, by their means m and variances v.

    Attributes
    ----------
    mean : Tensor of shape (n_members, n_places, event_size)
        Encoded entries expected at each place.
    forms : Tensor of shape (n_members, 3 event_size, n_places)
        Coefficients of (o, o x, o x^2), with o being 1 where an entry is visible,
        whose sum is the log density of the visible entries but for a constant.
    """

    mean: Tensor
    forms: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, vae: VAE, loc: Tensor) -> "Places":
        """Rows at places of shape (n_members, n_places, latent_dim)."""
        decoded = vae.decode(loc)
        mean, precision = decoded.mean, 1.0 / decoded.variance.clamp(min=LEAST_VARIANCE)
        constant = 0.5 * (precision.log() - precision * mean.square())
        return cls(mean, torch.cat([constant, precision * mean, -0.5 * precision], dim=-1).mT)

    def expected(self, values: Tensor, visible: Tensor) -> Tensor:
        r"""What the visible entries let expect of all of them, shape (n, event_size).

        .. math:: \hat x = \sum_k w_k m_k, \qquad
            w_k \propto \prod_{i \in v} N(x_i; m_{ki}, v_{ki})

        the mean over members of E(x given x_v) where each place is as probable as
        any other. Every family of likelihoods counts by its mean and variance.

        Parameters
        ----------
        values : Tensor of shape (n, event_size)
            Encoded rows.
        visible : Tensor of shape (n, event_size)
            1 where an entry may be looked at.
        """
        return (torch.softmax(self._log_prob(values, visible), dim=-1) @ self.mean).mean(dim=0)

    def likeliest(self, values: Tensor, visible: Tensor) -> Tensor:
        """Entries of the one place of all members that the visible ones are most probable at.

        Where they fit several groups of rows the mean lies between these groups, like
        no row at all. Shapes as in `expected`.
        """
        best, place = self._log_prob(values, visible).max(dim=-1)
        member = best.argmax(dim=0)
        return self.mean[member, place.gather(0, member.unsqueeze(0)).squeeze(0)]

    def _log_prob(self, values: Tensor, visible: Tensor) -> Tensor:
        """Log density of the visible entries at each place, (n_members, n, n_places)."""
        seen = values * visible
        return torch.cat([visible, seen, seen * values], dim=-1) @ self.forms


def places_of(vae: VAE, prior: Prior) -> Tensor | None:
    """The first kernels of a prior, (n_members, n_places, latent_dim); None if it has none."""
    if not isinstance(prior, AggregatedPosterior) or vae.looks_back:
        return None
    return prior.loc[:, : n_places(len(vae.low))]
