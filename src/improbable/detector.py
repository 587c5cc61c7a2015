"""The estimator: fit on normal rows, score new ones, decide, and say why."""

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from improbable import calibration, results
from improbable.data.parts import Floats
from improbable.data.rows import Rows
from improbable.fitting import Settings, fit_model, refit_model, warn_of
from improbable.model import Model
from improbable.progress import say_ending, training_bar, tuning_bar
from improbable.settings import check_settings
from improbable.training import History
from improbable.tuning import Tuning, free, tune
from improbable.verbs import LatentVerbs, RowVerbs


class VAEDetector(RowVerbs, LatentVerbs, OutlierMixin, BaseEstimator):  # type: ignore[misc]
    r"""Anomaly detector that learns what normal rows look like with a variational autoencoder.

    It bounds log p(x) of a row by Monte-Carlo draws from q(z given x),
    averages the bound over an ensemble, and compares it with rows kept out of
    training. Higher scores are more normal throughout.

    Parameters
    ----------
    columns : mapping of str to column kind, optional
        Kinds that override inference, for instance ``{"age": Count()}`` or
        ``{"hour": Cyclic(period=24)}``. Columns of arrays are "x0", "x1", ...
    codec : Codec, optional
        What the data are; ``ImageCodec()`` for images. Tables if None.
    latent_dim : int or "auto"
        Size of z.
    hidden : sequence of int
        Hidden units of the encoder, layer by layer; for images, of the layers
        that follow the convolutions.
    decoder_hidden : sequence of int, optional
        The same of the decoder; the mirror of `hidden` if None.
    likelihood : "auto", str or mapping of str to str
        Likelihood of numeric columns: "normal", "normal_per_column",
        "normal_fixed", "student_t"; of counts also "poisson",
        "negative_binomial".
    prior : "auto", "aggregated", "normal" or "mixture"
        p(z) of the scores and samples: the mean of the posteriors of training
        rows, the standard Normal that training uses, or a mixture of Gaussians
        that is trained with the networks. "auto" is the first, unless
        `contamination` says that anomalies are among the rows.
    n_members : int
        Networks in the ensemble.
    n_draws : int or "auto"
        Draws of z a row when scoring. "auto" takes as many as bring the
        Monte-Carlo standard error to a hundredth of the spread of held-out scores.
    score_function : str
        Score that decides, a name in `improbable.scores.SCORES`.
    cell_share : float in [0, 0.5]
        Share of the false alarms left to rows with an improbable cell, which lowers their
        scores; 0 judges rows as a whole. Only of tables, and without `contamination`.
    contamination : "auto", "unknown" or float in (0, 0.5]
        Share of anomalies among the training rows. "auto": all are normal, and
        `predict` flags p-values up to 0.01, or up to 2 / (n + 1) with few
        held-out rows. Otherwise only the rows most like the others are learned
        from, and `predict` flags that share of the training rows, or if
        "unknown" scores below the outer fence of a box plot of held-out scores.
        p-values take no account of it, so they are valid, and cautious.
    max_steps : int or "auto"
        Optimizer steps at most; training stops early when the held-out ELBO
        does. "auto" is 80 for tables, 1,000 for images, 300 for sequences.
    batch_size : int
        Rows a step.
    learning_rate : float
        Peak of the one-cycle schedule.
    validation_fraction, calibration_fraction : float
        Shares of the rows kept out of training to decide when to stop, and to
        calibrate p-values (at most 20,000 rows each).
    random_state : int, Generator, RandomState or None
        Seed of everything random in `fit`. Scoring is deterministic.
    device : str
        Where to train: "auto", "cpu", "cuda". Scoring is on the CPU in float64.
    tune : bool
        Whether to search `latent_dim`, `hidden`, `max_steps` and
        `learning_rate` for the highest mean score of rows kept out of training;
        those given stay as they are. Needs Optuna.
    budget : int
        Models that `tune` may try.
    verbose : bool
        Whether to show a progress bar and how training ended.

    Attributes
    ----------
    model_ : Model
        Everything that was learned.
    history_ : History
        How training went, and its named stop reason.
    kinds_ : dict of str to str
        Kind of each column by name; an "identifier" takes no part in scores.
    tuning_ : Tuning
        What `tune` tried and chose; only there after ``tune=True``.
    contamination_ : float
        Share of the held-out rows that `predict` flags; with "unknown" a hint
        at the share of anomalies.
    training_outliers_ : ndarray of int
        Positions of the training rows that `predict` flags; only there if
        `contamination` is given.
    offset_ : float
        ``decision_function = score_samples - offset_``.
    n_features_in_ : int
        Columns seen at fit.
    feature_names_in_ : ndarray of str
        Their names, if they came with the data.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Global anomalies, no likelihood.

    References
    ----------
    .. [1] J. An and S. Cho, "Variational Autoencoder based Anomaly Detection
       using Reconstruction Probability", SNU Data Mining Center, 2015.
    .. [2] Y. Burda et al., "Importance Weighted Autoencoders", ICLR 2016.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> train = rng.normal(size=(500, 3))
    >>> detector = VAEDetector(random_state=0, max_steps=50).fit(train)
    >>> detector.predict([[0.0, 0.0, 0.0], [9.0, 9.0, 9.0]])
    array([ 1, -1])
    """

    def __init__(
        self,
        columns: Any = None,
        *,
        codec: Any = None,
        latent_dim: int | str = "auto",
        hidden: Any = (128,),
        decoder_hidden: Any = None,
        likelihood: Any = "auto",
        prior: str = "auto",
        n_members: int = 2,
        n_draws: int | str = 4,
        score_function: str = "elbo",
        cell_share: float = 0.05,
        contamination: float | str = "auto",
        max_steps: int | str = "auto",
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        validation_fraction: float = 0.1,
        calibration_fraction: float = 0.2,
        random_state: Any = None,
        device: str = "auto",
        tune: bool = False,
        budget: int = 20,
        verbose: bool = False,
    ) -> None:
        self.columns, self.codec = columns, codec
        self.hidden, self.decoder_hidden = hidden, decoder_hidden
        self.likelihood, self.prior = likelihood, prior
        self.latent_dim, self.n_members, self.n_draws = latent_dim, n_members, n_draws
        self.score_function, self.cell_share = score_function, cell_share
        self.contamination = contamination
        self.max_steps, self.learning_rate = max_steps, learning_rate
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.calibration_fraction = calibration_fraction
        self.random_state, self.device = random_state, device
        self.tune, self.budget = tune, budget
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from normal rows.

        Parameters
        ----------
        X : data frame, array or list of shape (n_samples, n_features)
            Rows taken as normal. Missing cells may be NaN, None or null.
        y : ignored

        Returns
        -------
        VAEDetector
            Itself.

        Raises
        ------
        ImprobableError
            If an argument is out of range.
        DataError, SchemaError
            If the table cannot be modeled, or `columns` names unknown columns.
        """
        settings = check_settings(self.get_params(deep=False))
        tuning = None
        if self.tune:
            settings, tuning = self._tuned(X, settings)
        with training_bar(shown=bool(self.verbose)) as progress:
            model = fit_model(X, settings, progress)
        self._take(model, X)
        if tuning is not None:
            self.tuning_ = tuning
        return self

    def refit(self, X: Any) -> Self:
        """Go on learning from further rows: same encoding, new weights, prior and calibration.

        What X does not show is forgotten by and by, so pass rows of before along
        with new ones if both are still normal. Directions and tuning of before
        are dropped; `max_steps` and `learning_rate` are those of now. Networks,
        their number and size, and the draws of scoring stay those of `fit`.

        Parameters
        ----------
        X : data frame, array or list of shape (n_samples, n_features)
            Normal rows with the columns seen at fit.

        Returns
        -------
        VAEDetector
            Itself.

        Raises
        ------
        DataError, SchemaError
            If the rows do not have those columns.
        """
        settings = check_settings(self.get_params(deep=False))
        with training_bar(shown=bool(self.verbose)) as progress:
            model = refit_model(self._fitted(), X, settings, progress)
        self._take(model, X)
        return self

    def _take(self, model: Model, X: Any) -> None:
        """Take a model as this detector's own, and set the offset."""
        for name in ("tuning_", "training_outliers_"):
            self.__dict__.pop(name, None)
        alpha = max(results.AUTO_ALPHA, 2.0 * calibration.smallest_p(len(model.held_out)))
        self._adopt(model, calibration.threshold_at(model.held_out, alpha))
        if self.contamination != "auto":
            self._mark_outliers(X)
        if self.verbose:
            say_ending(model.history, self.kinds_)
        warn_of(model)

    def _mark_outliers(self, X: Any) -> None:
        """Set the offset by the anomalies among the training rows, and find them."""
        scores = self.score_samples(X)
        self.offset_ = (
            calibration.outer_fence(self.model_.held_out)
            if isinstance(self.contamination, str)
            else float(np.percentile(scores, 100.0 * self.contamination))
        )
        self.training_outliers_ = np.flatnonzero(scores < self.offset_)

    @property
    def contamination_(self) -> float:
        """Share of the held-out rows that `predict` flags."""
        held_out = self._fitted().held_out
        return float(np.mean(held_out < self.offset_)) if len(held_out) else 0.0

    def _tuned(self, X: Any, settings: Settings) -> tuple[Settings, Tuning]:
        """Settings after the search that `tune` asks for, and the search."""
        varied = free(self.get_params(deep=False), type(self)().get_params(deep=False))
        with tuning_bar(self.budget, shown=bool(self.verbose)) as progress:
            return tune(X, settings, varied, self.budget, progress)

    def _adopt(self, model: Model, offset: float) -> None:
        """Take a fitted model as this detector's own."""
        self.model_ = model
        self.offset_ = offset
        self.directions_ = {}
        names = model.codec.feature_names
        self.n_features_in_ = model.codec.n_features
        self.__dict__.pop("feature_names_in_", None)
        if names is not None:
            self.feature_names_in_ = np.array(names, dtype=object)

    @property
    def history_(self) -> History:
        """How training went."""
        return self._fitted().history

    def score_samples(self, X: Any) -> Floats:
        """Score of each row by `score_function`, lowered by an improbable cell (`cell_share`).

        A missing cell counts as a typical cell of its column, so that rows
        with and without missing cells compare like with like; use
        `reconstruction_probability` for the sum over observed cells alone.

        Parameters
        ----------
        X : data frame, array or list of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), float64
            Nats. The higher, the more normal.
        """
        return self._fitted().decision_scores(self._rows(X))

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
        return self._fitted().p_values(self.score_samples(X), tail=tail)

    def detect(
        self,
        X: Any,
        alpha: float = results.AUTO_ALPHA,
        *,
        fdr: float | None = None,
        tail: bool = False,
    ) -> Any:
        """Decision, evidence and reasons for each row.

        Parameters
        ----------
        X : data frame, array or list of shape (n_samples, n_features)
        alpha : float
            False-alarm rate: rows with a p-value at or below it are flagged.
        fdr : float, optional
            Flag by q-value instead: expected share of false alarms among the flagged.
        tail : bool
            As in `p_values`.

        Returns
        -------
        data frame of the library of `X`, or record array for arrays
            Columns is_outlier, p_value, q_value, score, mc_se, top_reasons, warnings.

        Warns
        -----
        CalibrationWarning
            If `alpha` is below what the held-out rows can support.
        """
        model = self._fitted()
        frame = model.codec.read(X)
        found = results.detect(model, frame, alpha=alpha, fdr=fdr, tail=tail)
        return found.to_native(frame.library, frame.row_labels)

    def reconstruction_probability(self, X: Any, definition: str = "expected_log_prob") -> Floats:
        """Reconstruction probability of each row, in the meaning you name.

        Parameters
        ----------
        X : data frame, array or list of shape (n_samples, n_features)
        definition : str
            "expected_log_prob" (An and Cho, page 8), "log_expected_prob" (page
            9), "log_marginal", or any name in `improbable.scores.SCORES`.

        Returns
        -------
        ndarray of shape (n_samples,)
            Nats over the observed cells; a log density, so it may exceed 0. The
            higher, the more normal.
        """
        return self._fitted().score(self._rows(X), definition)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` has run."""
        return hasattr(self, "model_") and hasattr(self, "offset_")

    def __sklearn_tags__(self) -> Tags:
        """What scikit-learn may feed it."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def _fitted(self) -> Model:
        if not hasattr(self, "model_"):
            check_is_fitted(self)
        return self.model_

    def _rows(self, X: Any) -> Rows:
        return self._fitted().codec.transform(X)
