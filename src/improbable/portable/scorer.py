"""A saved detector of tables that scores without torch.

For machines where torch is too large. The arrays of a model file go in, the
scores that `improbable.load` would give come out, the same to rounding.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from improbable import calibration
from improbable.cells import CellTest, cell_test
from improbable.container import (
    Arrays,
    Header,
    PathLike,
    check_golden,
    read_container,
    usable,
    versions,
)
from improbable.data.parts import Floats, n_places
from improbable.data.rows import Rows
from improbable.data.table import TableCodec
from improbable.errors import FormatError, ImprobableError
from improbable.portable.densities import DENSITIES, blocks_of
from improbable.portable.network import (
    SCORES,
    Draws,
    Mixture,
    Network,
    Perceptron,
    Prior,
    StandardNormal,
)
from improbable.portable.shares import score_with_shares

DECIMALS = 9
SAME = 1.5 * 10.0**-DECIMALS


@dataclass(frozen=True)
class Scorer:
    """A saved detector of tables that scores without PyTorch.

    Its methods are those of `VAEDetector`, with the same values.

    Attributes
    ----------
    score_function : str
        Score that decides: a name in `SCORES`.
    offset_ : float
        ``decision_function = score_samples - offset_``.
    codec : TableCodec
        Columns seen at fit.
    held_out : ndarray of shape (n,)
        Sorted scores of the rows that p-values compare with.
    typical : ndarray of shape (n_columns,)
        Nats that a missing cell stands for.
    network : Network
    cells : CellTest, optional
        What lowers the score of rows with an improbable cell.
    """

    score_function: str
    offset_: float
    codec: TableCodec = field(repr=False)
    held_out: Floats = field(repr=False)
    typical: Floats = field(repr=False)
    network: Network = field(repr=False)
    cells: CellTest | None = field(default=None, repr=False)

    def score_samples(self, X: Any) -> Floats:
        """Score of each row by `score_function`; a missing cell counts as a typical one.

        Parameters
        ----------
        X : data frame, array or list of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Nats, to the ninth decimal. The higher, the more normal.
        """
        rows = self.codec.transform(X)
        if self.cells is None or not len(rows):
            found = self._comparable(self.network.score(rows, self.score_function), rows)
            return settled(found, self.held_out)
        batches = list(self.network.batches(rows))
        found = np.concatenate([self._judged(self.cells, batch) for batch in batches])
        return settled(np.round(found, DECIMALS), self.held_out)

    def _comparable(self, score: Floats, rows: Rows) -> Floats:
        return np.round(score + rows.absent @ self.typical, DECIMALS)

    def _judged(self, cells: CellTest, rows: Rows) -> Floats:
        draws = Draws(self.network, rows)
        score, shares = score_with_shares(draws, self.score_function, self.codec.part_columns)
        return cells(self._comparable(score, rows), np.where(rows.missing, np.nan, shares))

    def decision_function(self, X: Any) -> Floats:
        """Score minus `offset_`, nats, shape (n_samples,); negative where `predict` says -1."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Labels of shape (n_samples,): +1 inlier, -1 outlier, as scikit-learn."""
        return np.where(self.decision_function(X) < 0.0, -1, 1)

    def p_values(self, X: Any, *, tail: bool = False) -> Floats:
        """Share of held-out normal rows that score as low (one more counted on both sides).

        Parameters
        ----------
        X : data frame, array or list of shape (n_samples, n_features)
        tail : bool
            Whether to extrapolate below the lowest held-out score with a
            generalized Pareto tail. No guarantee holds there.

        Returns
        -------
        ndarray of shape (n_samples,)
            In (0, 1]. The lower, the less normal.
        """
        scores = self.score_samples(X)
        if tail:
            fitted = calibration.fit_tail(self.held_out)
            return calibration.tail_p_values(scores, self.held_out, fitted)
        return calibration.p_values(scores, self.held_out)

    def reconstruction_probability(self, X: Any, definition: str = "expected_log_prob") -> Floats:
        """Reconstruction probability of each row, in the meaning you name.

        Parameters
        ----------
        X : data frame, array or list of shape (n_samples, n_features)
        definition : str
            A name in `SCORES`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Nats over the observed cells. The higher, the more normal.

        Raises
        ------
        ImprobableError
            If the score needs PyTorch, or there is none of that name.
        """
        if definition not in SCORES:
            raise ImprobableError(
                f"{definition!r} is not among the scores that do without PyTorch. Use one of "
                f"{', '.join(SCORES)}, or install torch and use improbable.load."
            )
        return self.network.score(self.codec.transform(X), definition)


def settled(scores: Floats, held_out: Floats) -> Floats:
    """Scores, with one that differs from a held-out score in the last decimal only made that one.

    torch adds up in another order, so a row that equals a held-out row may get
    a score that rounds to the other side; ties must count in p-values.

    Parameters
    ----------
    scores : ndarray of shape (n_samples,)
    held_out : ndarray of shape (n,)
        Sorted.
    """
    if not len(held_out):
        return scores
    middles = (held_out[1:] + held_out[:-1]) / 2.0
    nearest = held_out[np.searchsorted(middles, scores)]
    return np.where(np.abs(scores - nearest) <= SAME, nearest, scores)


def load_scorer(path: PathLike) -> Scorer:
    """Read a detector of tables that `save` wrote, to score with and no more.

    Neither needs PyTorch nor imports it, and runs no code from the file.

    Parameters
    ----------
    path : path

    Returns
    -------
    Scorer
        Scores as the saved detector did.

    Raises
    ------
    FormatError
        As `improbable.load`; also if the model cannot be scored without PyTorch.
    """
    header, arrays = read_container(path)
    with usable(path):
        scorer = _scorer(path, header, arrays)
        golden = scorer.codec.inverse_transform(np.asarray(arrays["golden.values"], dtype=float))
        found = scorer.score_samples(golden)
    check_golden(path, header, found, arrays["golden.scores"], {**versions(), "torch": "none"})
    return scorer


def _scorer(path: PathLike, header: Header, arrays: Arrays) -> Scorer:
    name = header["settings"]["score_function"]
    if header["schema"].get("data", "table") != "table":
        raise _needs_torch(path, "reads no tables")
    if name not in SCORES:
        raise _needs_torch(path, f"decides by {name!r}")
    if "vae.mixture.loc" in arrays:
        raise _needs_torch(path, "learned a mixture as its prior")
    codec = TableCodec.from_json(header["schema"])
    others = sorted({part.likelihood for part in codec.parts} - set(DENSITIES))
    if others:
        raise _needs_torch(path, f"has the likelihood {others[0]!r}")
    return Scorer(
        score_function=name,
        offset_=float(header["offset"]),
        codec=codec,
        held_out=np.sort(_floats(arrays, "held_out", (None,))),
        typical=_floats(arrays, "typical", (len(codec.names),)),
        network=_network(codec, header, arrays),
        cells=cell_test(arrays, len(codec.names)),
    )


def _needs_torch(path: PathLike, why: str) -> FormatError:
    return FormatError(
        f"{path} cannot be scored without PyTorch: its model {why}. "
        "Install torch and use improbable.load."
    )


def _network(codec: TableCodec, header: Header, arrays: Arrays) -> Network:
    settings = header["settings"]
    n_members, latent_dim = int(settings["n_members"]), int(settings["latent_dim"])
    param_size = sum(block.param_size for block in blocks_of(codec.parts))
    inputs = [codec.event_size + len(codec.parts), *settings["hidden"], 2 * latent_dim]
    outputs = [latent_dim, *settings["decoder_hidden"], param_size]
    prior = _prior(arrays, n_members, latent_dim)
    has_places = bool(header.get("has_places", False))
    return Network(
        encoder=_perceptron(arrays, "vae.encoder", n_members, inputs),
        decoder=_perceptron(arrays, "vae.decoder", n_members, outputs),
        parts=codec.parts,
        cells=codec.part_columns,
        tied_params=_floats(arrays, "vae.tied_params", (n_members, 1, param_size)),
        prior=prior,
        noise=_floats(arrays, "noise", (None, latent_dim)),
        completes=bool(header.get("completes", False)),
        known=_places(prior, codec.event_size) if has_places else None,
    )


def _perceptron(arrays: Arrays, name: str, n_members: int, sizes: Sequence[int]) -> Perceptron:
    layers = tuple(
        (
            _floats(arrays, f"{name}.layers.{i}.weight", (n_members, *sizes[i : i + 2])),
            _floats(arrays, f"{name}.layers.{i}.bias", (n_members, 1, sizes[i + 1])),
        )
        for i in range(len(sizes) - 1)
    )
    return Perceptron(layers, _floats(arrays, f"{name}.linear", (n_members, sizes[0], sizes[-1])))


def _prior(arrays: Arrays, n_members: int, latent_dim: int) -> Prior:
    if "prior.loc" not in arrays:
        return StandardNormal()
    loc = _floats(arrays, "prior.loc", (n_members, None, latent_dim))
    return Mixture(loc, _floats(arrays, "prior.scale", loc.shape))


def _places(prior: Prior, event_size: int) -> Floats | None:
    return prior.loc[:, : n_places(event_size)] if isinstance(prior, Mixture) else None


def _floats(arrays: Arrays, name: str, shape: tuple[int | None, ...]) -> Floats:
    """A stored array in float64, of the shape it must have; None stands for any size."""
    found = np.asarray(arrays[name], dtype=np.float64)
    fits = [expected in (None, size) for expected, size in zip(shape, found.shape, strict=True)]
    if not all(fits):
        raise FormatError(
            f"The stored array {name!r} does not fit the model. Save the model again."
        )
    return found
