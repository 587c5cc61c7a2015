"""Rows out of the model: from the prior, or of some cells given the others."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from improbable.data.parts import FAR, FILL_ROUNDS, ROUNDS_FROM_PLACES, likeliest
from improbable.distributions import DiagonalNormal
from improbable.errors import DataError
from improbable.isolation import isolated
from improbable.places import Places
from improbable.priors import Prior
from improbable.recurrent import RecurrentDecoder
from improbable.scores import Draws, draw
from improbable.vae import VAE, Batch

Floats = NDArray[np.float64]
Surface = Callable[[Floats], tuple[Floats, Callable[[Floats], Floats]]]
BLOCK = 1_000
PROPOSALS = 2_000


@isolated()
def sample_prior(vae: VAE, prior: Prior, n: int, member: int, rng: np.random.Generator) -> Floats:
    """Encoded rows of one member: z from the prior, x from p(x given z) and not only its mean.

    Parameters
    ----------
    vae : VAE
    prior : Prior
        p(z).
    n : int
        Rows.
    member : int
        Which member of the ensemble.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (n, event_size)
    """
    noise = torch.as_tensor(rng.standard_normal((n, vae.latent_dim)), dtype=vae.low.dtype)
    z = prior.sample(member, noise, torch.as_tensor(rng.random(n)))
    return decode_points(vae, z.numpy(), member, rng)


@isolated()
def decode_points(
    vae: VAE, z: Floats, member: int, rng: np.random.Generator | None = None
) -> Floats:
    """Encoded rows of points of one member: means of p(x given z), or draws from it.

    Parameters
    ----------
    vae : VAE
    z : ndarray of shape (n, latent_dim)
    member : int
        Whose latent space it is.
    rng : numpy.random.Generator, optional
        Draws, if given.

    Returns
    -------
    ndarray of shape (n, event_size)
    """
    found = [
        _encoded(vae, torch.as_tensor(z[start : start + BLOCK], dtype=vae.low.dtype), member, rng)
        for start in range(0, len(z), BLOCK)
    ]
    return np.concatenate(found) if found else np.empty((0, len(vae.low)))


def _encoded(vae: VAE, z: Tensor, member: int, rng: np.random.Generator | None) -> Floats:
    if isinstance(vae.decoder, RecurrentDecoder):
        return _generated(vae.decoder, z.expand(vae.n_members, -1, -1), member, rng)
    decoded = vae.decode(z.expand(vae.n_members, -1, -1))
    rows = decoded.mean if rng is None else decoded.sample(rng)
    encoded: Floats = rows[member].cpu().numpy().astype(np.float64)
    return encoded


def _generated(
    decoder: RecurrentDecoder,
    z: Tensor,
    member: int | None = None,
    rng: np.random.Generator | None = None,
) -> Floats:
    """Encoded sequences, token by token, of one member or of all of them together.

    The most probable token at each place, or one drawn from its distribution.
    """

    def choose(log_prob: Tensor) -> Tensor:
        found = log_prob.logsumexp(dim=0) if member is None else log_prob[member]
        if rng is not None:
            found = found + torch.as_tensor(rng.gumbel(size=tuple(found.shape))).to(found)
        return found.argmax(dim=-1)

    encoded: Floats = decoder.generate(z, choose).numpy().astype(np.float64)
    return encoded


def surface(vae: VAE, member: int) -> Surface:
    """Decoded means of one member and the pull-back of their cotangents, for geodesics."""

    @isolated(gradients=True)
    def at(z: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
        points = torch.as_tensor(z, dtype=vae.low.dtype).requires_grad_()
        mean = vae.decode(points.expand(vae.n_members, -1, -1)).mean[member]

        @isolated(gradients=True)
        def pull(cotangents: Floats) -> Floats:
            (found,) = torch.autograd.grad(mean, points, torch.as_tensor(cotangents).to(mean))
            return found.numpy().astype(np.float64)

        return mean.detach().numpy().astype(np.float64), pull

    return at


def points_given(
    vae: VAE,
    prior: Prior,
    batch: Batch,
    n: int,
    member: int,
    rng: np.random.Generator,
    places: Places | None = None,
) -> tuple[Floats, float]:
    r"""Draws of z given some cells, and the effective size of the sample they came from.

    .. math:: z_i \sim \tfrac12 p(z) + \tfrac12 q(z \mid x_v), \qquad
        w_i \propto \frac{p(x_v \mid z_i) \, p(z_i)}{\tfrac12 p(z_i) + \tfrac12 q(z_i \mid x_v)}

    Importance resampling [1]_ with a defensive mixture [2]_: half of the
    proposals come from the prior, so that weights are at most twice the
    likelihood's own.

    Parameters
    ----------
    vae : VAE
    prior : Prior
        p(z).
    batch : Batch
        One row; its observed parts are x_v.
    n : int
        Draws.
    member : int
    rng : numpy.random.Generator
    places : Places, optional
        What rows at places of training rows look like, for hidden cells to start at.

    Returns
    -------
    z : ndarray of shape (n, latent_dim)
    ess : float
        Kish's effective number of proposals, (sum w)^2 / sum w^2.

    References
    ----------
    .. [1] D. Rubin, "Using the SIR algorithm to simulate posterior distributions", 1988.
    .. [2] T. Hesterberg, "Weighted average importance sampling and defensive mixture
       distributions", Technometrics 1995.
    """
    size = max(PROPOSALS, 20 * n)
    with isolated():
        filled = _filled(vae, batch, batch.observed, places)[0]
        posterior = vae.encode(filled, torch.ones_like(batch.observed))
        near = DiagonalNormal(posterior.mean[member], posterior.log_scale[member]).as_torch()
        noise = torch.as_tensor(rng.standard_normal((size, vae.latent_dim)), dtype=vae.low.dtype)
        z = prior.sample(member, noise, torch.as_tensor(rng.random(size)))
        z[: size // 2] = (near.mean + near.stddev * noise)[: size // 2]
        z = z.expand(vae.n_members, -1, -1)
        log_p = prior.log_prob(z)[member]
        log_q: Tensor = near.log_prob(z[member])  # type: ignore[no-untyped-call]
        proposed = torch.logaddexp(log_p, log_q) - np.log(2.0)
        values, observed = batch.values.expand(size, -1), batch.observed.expand(size, -1)
        likelihood = vae.decode(z).log_prob(values, observed)[member]
        weights = torch.softmax(likelihood + log_p - proposed, dim=0).numpy()
    chosen = rng.choice(size, size=n, p=weights / weights.sum())
    points: Floats = z[member].numpy()[chosen]
    return points, float(1.0 / (weights**2).sum())


@dataclass(frozen=True)
class Mixture:
    """p(x given the visible cells) as a weighted mixture over members and draws.

    Attributes
    ----------
    weights : ndarray of shape (n_components, n)
        Importance weights, adding up to 1 for each row.
    mean, variance : ndarray of shape (n_components, n, event_size)
        Of each encoded entry in each component.
    """

    weights: Floats
    mean: Floats
    variance: Floats

    def take(self, index: NDArray[np.intp]) -> "Mixture":
        """The same of some rows."""
        return Mixture(self.weights[:, index], self.mean[:, index], self.variance[:, index])

    @property
    def expected(self) -> Floats:
        """Mean of each encoded entry, shape (n, event_size)."""
        found: Floats = np.einsum("cn,cne->ne", self.weights, self.mean)
        return found


@isolated()
def conditional(
    vae: VAE, batch: Batch, visible: Tensor, noise: Tensor, places: Places | None = None
) -> Mixture:
    r"""Predictive distribution of all cells given the visible ones.

    .. math:: p(x \mid x_v) \approx \sum_l w_l \, p(x \mid z_l), \qquad
        w_l \propto p(x_v \mid z_l) \, p(z_l) / q(z_l \mid x_v)

    Self-normalized importance weights make this the model's own conditional
    and not only the encoder's guess of it (Mattei and Frellsen, "MIWAE", 2019,
    eq. 11). p(z) is the one that training uses.

    Parameters
    ----------
    vae : VAE
    batch : Batch
        n rows.
    visible : Tensor of shape (n, n_parts)
        1 where a part may be looked at.
    noise : Tensor of shape (n_draws, latent_dim)
        Shared standard Normal draws.
    places : Places, optional
        What rows at places of training rows look like, for hidden cells to start at.
    """
    if vae.looks_back:
        raise DataError("Sequences have no missing tokens to fill in. Call reconstruct or sample.")
    drawn = [
        draw(vae, replace(batch, values=filled), noise, torch.ones_like(visible))
        for filled in _filled(vae, batch, visible, places)
    ]
    log_weights = [
        d.decoded.log_prob(batch.values, visible) + d.log_ratio + nats
        for d, nats in zip(drawn, (0.0, FAR), strict=False)
    ]
    weights = torch.softmax(_joined(log_weights), dim=0)
    mean, variance = ([getattr(d.decoded, of) for d in drawn] for of in ("mean", "variance"))
    found = (weights, _joined(mean), _joined(variance))
    return Mixture(*(tensor.cpu().numpy() for tensor in found))


def _joined(pieces: list[Tensor]) -> Tensor:
    """Members and draws of all pieces along one axis."""
    return torch.cat([piece.flatten(0, 1) for piece in pieces])


def _filled(vae: VAE, batch: Batch, visible: Tensor, places: Places | None) -> list[Tensor]:
    """Rows with hidden cells filled in, in one or two ways that draws are proposed from.

    Near a start from places, and after as many rounds as without. The first finds
    the group that a row belongs to, the second follows what is the same everywhere;
    draws of the second count `FAR` nats less, as p(z) of training knows no groups.
    """
    if places is None:
        return [fill_in(vae, batch, visible)[0]]
    expected = places.expected(vae.within(batch.values), vae.entries(visible))
    near, _ = fill_in(vae, batch, visible, start=expected)
    far, _ = fill_in(vae, batch, visible, start=near, rounds=FILL_ROUNDS - ROUNDS_FROM_PLACES)
    return [near, far]


def fill_in(
    vae: VAE,
    batch: Batch,
    visible: Tensor,
    hidden: Tensor | None = None,
    start: Tensor | None = None,
    rounds: int = ROUNDS_FROM_PLACES,
) -> tuple[Tensor, Tensor]:
    """Rows whose hidden entries are what the visible ones let the model expect.

    Encoding and decoding in turn, hidden entries replaced each time, moves
    them toward the conditional mean (Rezende et al., 2014, appendix F), which
    those of a linear model come to. From `start`, the rows at places of training
    rows, a few rounds do; without it the encoder begins at a mask, and seldom knows
    what a group of few rows has in a cell it does not see. Hidden is what is not
    visible unless `hidden` says which parts are. Returns the rows, and a mask of
    the parts that hold a value then.
    """
    hidden = 1.0 - visible if hidden is None else hidden
    gone, everything = vae.entries(hidden) > 0.0, visible + hidden
    if start is None:
        rounds, values, seen = FILL_ROUNDS, batch.values.masked_fill(gone, 0.0), visible
    else:
        values, seen = batch.values.where(~gone, start), everything
    for _ in range(rounds):
        mean = vae.decode(vae.encode(values, seen).mean).mean.mean(dim=0)
        values, seen = torch.where(gone, mean, batch.values), everything
    return values, everything


def filled_where_missing(
    vae: VAE, batch: Batch, places: Places | None = None
) -> tuple[Tensor, Tensor]:
    """`fill_in` of cells without any observed part, for those rows alone that have some."""
    values, visible = batch.values, batch.observed
    gone = (vae.observed_cells(visible) == 0.0)[:, vae.cell_place]
    holed = gone.any(dim=-1)
    if bool(holed.any()):
        hidden = gone[holed].to(visible.dtype)
        values, visible = values.clone(), visible.clone()
        some = batch[holed]
        start = _start(vae, some, places)
        values[holed], visible[holed] = fill_in(vae, some, some.observed, hidden, start)
    return values, visible


def _start(vae: VAE, batch: Batch, places: Places | None) -> Tensor | None:
    if places is None:
        return None
    return places.likeliest(vae.within(batch.values), vae.entries(batch.observed))


def completed(vae: VAE, batch: Batch, places: Places | None = None) -> tuple[Tensor, Tensor]:
    """Rows as the encoder sees them, and what of them is visible.

    A cell without any observed part is what the others let expect, in the form
    that cells come in. A posterior that knows less of a row is wider, and would
    be far from the kernels of p(z), which are those of whole rows.
    """
    if vae.looks_back or bool((batch.observed > 0.0).all()):
        return batch.values, batch.observed
    values, visible = filled_where_missing(vae, batch, places)
    hidden = (visible > batch.observed).cpu().numpy()
    some = np.flatnonzero(hidden.any(axis=1))
    if len(some):
        holed = torch.from_numpy(some)
        filled = values[holed].cpu().numpy()
        found = likeliest(vae.parts, vae.part_cell.tolist(), filled, hidden[some])
        likely, held = (torch.from_numpy(array).to(values) for array in found)
        values, visible = values.clone(), visible.clone()
        values[holed], visible[holed] = likely, visible[holed] * held
    return values, visible


@isolated()
def reconstruction(draws: Draws) -> Floats:
    """Decoded mean over members and draws, from the posterior of the whole row.

    Of sequences the most probable one, token by token, at the mean of the posterior.
    """
    if isinstance(draws.vae.decoder, RecurrentDecoder):
        return _generated(draws.vae.decoder, draws.posterior.mean)
    found: Floats = draws.mean.mean(dim=0).cpu().numpy()
    return found
