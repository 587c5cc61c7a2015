"""The detector's verbs on a fitted model: decisions, explanations, rows out."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable import arguments, calibration, generation, randomness
from improbable.data.codec import Source
from improbable.data.frames import write_frame
from improbable.data.parts import Bools, Floats
from improbable.data.raw import RawColumn
from improbable.data.rows import Rows
from improbable.data.series import Series
from improbable.data.table import TableCodec
from improbable.data.windows import WindowCodec
from improbable.errors import CalibrationWarning, DataWarning, ImprobableError
from improbable.explanations import Explanation
from improbable.model import Model, as_batch
from improbable.priors import AggregatedPosterior, GaussianMixture, Prior, StandardNormal
from improbable.reasons import explain_rows
from improbable.surprise import SurpriseMap
from improbable.token_surprise import TokenSurprise
from improbable.wording import AS_A_WHOLE

AUTO_ALPHA = 0.01
N_REASONS = 3
FEWEST_EFFECTIVE = 50


@dataclass(frozen=True)
class Detection:
    """Decision, evidence and reasons, row by row.

    Attributes
    ----------
    is_outlier : ndarray of bool
    p_value, q_value : ndarray
        In (0, 1].
    score, mc_se : ndarray
        Nats; the score's Monte-Carlo standard error beside it.
    top_reasons, warnings : ndarray of str
        Joined with "; ". Rows that are not flagged have no reasons; those where no
        column by itself stands out are said to be unusual as a whole.
    """

    is_outlier: Bools
    p_value: Floats
    q_value: Floats
    score: Floats
    mc_se: Floats
    top_reasons: NDArray[np.object_]
    warnings: NDArray[np.object_]

    def columns(self) -> dict[str, RawColumn]:
        """Plain columns."""
        truth = np.where(self.is_outlier, "True", "False").astype(object)
        numbers = {
            name: RawColumn(getattr(self, name), "number", "Float64")
            for name in ("p_value", "q_value", "score", "mc_se")
        }
        texts = {
            name: RawColumn(getattr(self, name), "text", "String")
            for name in ("top_reasons", "warnings")
        }
        return {"is_outlier": RawColumn(truth, "text", "Boolean"), **numbers, **texts}

    def to_native(self, library: str, row_labels: Any = None) -> Any:
        """Data frame of a library, or a record array for "numpy"."""
        if library != "numpy":
            return write_frame(self.columns(), library, row_labels)
        names = list(self.columns())
        return np.rec.fromarrays([getattr(self, n) for n in names], names=names)  # type: ignore[call-overload]


def warn_unsupported(alpha: float, model: Model, *, tail: bool | None) -> None:
    """Say so when no row can reach a p-value of `alpha`; `tail` is None where none is offered."""
    n = len(model.held_out)
    if tail or alpha >= calibration.smallest_p(n):
        return
    rows = "held-out rows" if model.held_out_apart else "rows, none of them kept out of training,"
    warnings.warn(
        f"{n} {rows} support p-values down to {calibration.smallest_p(n):.2g}, so nothing "
        f"can be flagged at alpha={alpha}. "
        + _remedies("Fit on more rows", "raise alpha", n=0 if tail is None else n),
        CalibrationWarning,
        stacklevel=4,
    )


def _remedies(*remedies: str, n: int) -> str:
    """What helps, a tail model among it if there are rows enough for one."""
    offered = calibration.supports_tail(n)
    *first, last = [*remedies, "pass tail=True"] if offered else remedies
    return f"{', '.join(first)}, or {last}." if first else f"{last}."


def warn_undiscovered(levels: Floats, counts: NDArray[np.int64], fdr: float, n: int) -> None:
    """Say so when nothing is flagged though more rows than by chance are beyond those held out."""
    least, total = calibration.smallest_p(n), int(counts.sum())
    odd = int(counts[levels <= least].sum())
    flagged = calibration.q_value_levels(levels, counts) <= fdr
    if flagged.any() or odd <= max(1.0, 2.0 * least * total):
        return
    warnings.warn(
        f"Nothing is flagged at this fdr, though {odd} of {total} rows are beyond all {n} "
        "held-out rows, which cannot tell how far. " + _remedies("Fit on more rows", n=n),
        CalibrationWarning,
        stacklevel=4,
    )


def detect(
    model: Model, source: Source, *, alpha: float, fdr: float | None = None, tail: bool = False
) -> Detection:
    """Decision, evidence and reasons for rows or other items."""
    arguments.level("alpha", alpha)
    if fdr is not None:
        arguments.level("fdr", fdr)
    if fdr is None:
        warn_unsupported(alpha, model, tail=tail)
    rows = model.codec.transform(source)
    score, error = model.decision_with_error(rows)
    p = model.p_values(score, tail=tail)
    q = calibration.q_values(p)
    flagged = p <= alpha if fdr is None else q <= fdr
    if fdr is not None and not tail:
        warn_undiscovered(*np.unique(p, return_counts=True), fdr, len(model.held_out))
    reasons = top_reasons(model, source, rows, np.flatnonzero(flagged))
    return Detection(flagged, p, q, score, error, reasons, model.codec.remarks(rows, source))


def top_reasons(
    model: Model, source: Source, rows: Rows, index: NDArray[np.intp]
) -> NDArray[np.object_]:
    """Reasons of the rows at `index`, empty for all others, shape (n,)."""
    out = np.full(len(rows), "", dtype=object)
    if len(index):
        some = source.take(index), rows.take(index)
        found = explain_rows(model.codec, model, *some, n_best=N_REASONS)
        said = [found.reasons(row, N_REASONS) or [AS_A_WHOLE] for row in range(len(index))]
        out[index] = ["; ".join(reasons) for reasons in said]
    return out


def explain(model: Model, source: Source) -> Any:
    """Shares, p-values and expectations of every cell."""
    rows = model.codec.transform(source)
    found = explain_rows(model.codec, model, source, rows, n_best=len(model.codec.names))
    if not isinstance(found, Explanation | SurpriseMap | TokenSurprise):
        return found
    return replace(found, odd=model.p_values(model.decision_scores(rows)) <= AUTO_ALPHA)


def all_scores(model: Model, source: Source, names: list[str]) -> Any:
    """Scores by name with their standard errors, as a table of the library of `source`."""
    rows = model.codec.transform(source)
    columns: dict[str, Floats] = {}
    for name in names:
        columns[name], columns[f"{name}_se"] = model.score_with_error(rows, name)
    if source.library == "numpy":
        return np.rec.fromarrays(list(columns.values()), names=list(columns))  # type: ignore[call-overload]
    raw = {name: RawColumn(values, "number", "Float64") for name, values in columns.items()}
    return write_frame(raw, source.library, source.row_labels)


def reconstruct(model: Model, source: Source) -> Any:
    """Rows as the model decodes them, as the kind of data that `source` was."""
    rows = model.codec.transform(source)
    return model.codec.inverse_transform(model.decoded(rows), source).to_native()


def impute(model: Model, source: Source) -> Any:
    """Rows with missing and unreadable cells filled in, as the kind of data that `source` was."""
    rows = model.codec.transform(source).surrounding()
    filled = np.zeros((len(rows), model.codec.event_size))
    for place, batch in model.blocks(rows):
        mixture = generation.conditional(
            model.vae, batch, batch.observed, model.noise, model.places
        )
        filled[place] = mixture.expected
    return model.codec.fill(filled, source).to_native()


def sample(
    model: Model, n_samples: int, *, prior: str | None, given: Any, random_state: Any
) -> Any:
    """New rows, as the kind of data the model learned from."""
    n = arguments.whole("n_samples", n_samples)
    rng = randomness.numpy_generator(randomness.seed_sequence(random_state))
    density = _prior_named(model, prior)
    if given is None:
        drawn = generation.sample_prior(model.vae, density, n, model.lead, rng)
        return drawn_items(model, model.codec.inverse_transform(drawn), rng).to_native()
    source = model.codec.partial(given, n)
    rows = model.codec.transform(source.take(np.arange(1)))
    batch = as_batch(rows)
    z, ess = generation.points_given(model.vae, density, batch, n, model.lead, rng, model.places)
    if ess < FEWEST_EFFECTIVE:
        warnings.warn(
            f"What is given is rare: the sample rests on {ess:.0f} effective draws. "
            "Give fewer columns, or values nearer to the training rows.",
            DataWarning,
            stacklevel=4,
        )
    drawn = generation.decode_points(model.vae, z, model.lead, rng)
    kept = [str(name) for name in given]
    return drawn_items(model, model.codec.fill(drawn, source), rng, kept).to_native()


def drawn_items(model: Model, items: Any, rng: np.random.Generator | None, kept: Any = ()) -> Any:
    """Items drawn from a model, what its encoding leaves open drawn too; as is without rng."""
    codec = model.codec
    if rng is None:
        return items
    if isinstance(codec, WindowCodec) and isinstance(items, Series):
        return replace(items, frame=codec.point.scattered(items.frame, rng))
    return codec.scattered(items, rng, kept) if isinstance(codec, TableCodec) else items


def _prior_named(model: Model, name: str | None) -> Prior:
    if name is None:
        return model.prior
    if name == "normal":
        return StandardNormal(model.vae.latent_dim)
    fitted = {"aggregated": AggregatedPosterior, "mixture": GaussianMixture}
    if name in fitted and isinstance(model.prior, fitted[name]):
        return model.prior
    raise ImprobableError(
        "prior must be 'normal', or 'aggregated' or 'mixture' if it was fitted with that, "
        f"got {name!r}."
    )
