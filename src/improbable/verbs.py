"""What a fitted detector does with rows and their cells, and with points z in latent space."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from improbable import arguments, generation, randomness, results
from improbable.calibration import Drift, drift
from improbable.data.kinds import column_kinds
from improbable.data.parts import Floats
from improbable.errors import DataError, ImprobableError
from improbable.latent import algebra, paths
from improbable.latent.algebra import Direction, LatentSummary
from improbable.latent.clusters import Clusters, cluster
from improbable.latent.gaussians import Posterior
from improbable.latent.index import LatentIndex
from improbable.model import Model
from improbable.scores import SCORES
from improbable.streams.readings import Rule
from improbable.streams.stream import Stream


class RowVerbs:
    """Verbs that give rows, or tell of each row's cells."""

    def _fitted(self) -> Model:
        raise NotImplementedError

    @property
    def kinds_(self) -> dict[Any, str]:
        """Kind of each column of a table or of series, such as "real" or "identifier", by name."""
        return column_kinds(self._fitted().codec)

    def scores(self, X: Any) -> Any:
        """Every definition side by side, each with its Monte-Carlo standard error.

        Returns
        -------
        data frame of the library of `X`, or record array for arrays
            A column for each name in `improbable.scores.SCORES` and one
            ``<name>_se``; nats.
        """
        model = self._fitted()
        return results.all_scores(model, model.codec.read(X), list(SCORES))

    def drift(self, X: Any) -> Drift:
        """Whether rows are, as a whole, still like those held out at fit.

        Single anomalies move the low end of the p-values; drift moves them all.
        Look for it on hundreds of rows at a time, none of them training rows,
        which score higher; `refit` if it is there to stay.

        Parameters
        ----------
        X : data frame, array or list of shape (n_samples, n_features)

        Returns
        -------
        Drift
            A Kolmogorov-Smirnov test of the p-values against the uniform distribution.

        Raises
        ------
        NotCalibratedError
            If no rows were kept out of training.
        """
        model = self._fitted()
        p = model.p_values(model.decision_scores(model.codec.transform(model.codec.read(X))))
        levels, counts = np.unique(p, return_counts=True)
        return drift(levels, counts, model.kept_out, model.independent)

    def stream(
        self,
        alpha: float = results.AUTO_ALPHA,
        *,
        adapt: bool = True,
        depth: int = 200,
        join: int = 5,
    ) -> Stream:
        """Stream that judges points as they come, one or a few at a time.

        Parameters
        ----------
        alpha : float
            False-alarm rate.
        adapt : bool
            Whether the threshold follows slow drift; otherwise points with a
            p-value at or below `alpha` are flagged.
        depth : int
            Latest scores whose mean an adapting threshold is relative to; 0 for none.
        join : int
            Points without alarm that still belong to one event.
        """
        return Stream(self._fitted(), Rule(alpha, adapt, depth, join))

    def explain(self, X: Any) -> Any:
        """Each column's share of `expected_log_prob`, how unusual it is, and what was expected.

        Costs about `n_features` times as much as scoring: each cell's
        expectation is conditional on the other columns of its row.
        """
        model = self._fitted()
        return results.explain(model, model.codec.read(X))

    def reconstruct(self, X: Any) -> Any:
        """Rows as the model decodes them, in the units, types and order of the training table."""
        model = self._fitted()
        return results.reconstruct(model, model.codec.read(X))

    def impute(self, X: Any) -> Any:
        """Rows whose missing cells are importance-weighted means on the model's scale."""
        model = self._fitted()
        return results.impute(model, model.codec.read(X))

    def sample(
        self,
        n_samples: int = 1,
        *,
        prior: str | None = None,
        given: Any = None,
        random_state: Any = None,
    ) -> Any:
        """New rows of the lead member: z from the prior, x from p(x given z).

        Parameters
        ----------
        n_samples : int
            Rows.
        prior : str, optional
            "aggregated", where training rows lie, "mixture" or "normal"; the detector's
            own if None.
        given : mapping of str to value, optional
            Columns held at a value, as in ``{"sex": "F"}``; the others follow by
            importance resampling.
        random_state : int, Generator, RandomState or None

        Warns
        -----
        DataWarning
            If `given` is so rare that few draws count.
        """
        model = self._fitted()
        return results.sample(
            model, n_samples, prior=prior, given=given, random_state=random_state
        )


class LatentVerbs:
    """Verbs that speak of z: always of the lead member's latent space.

    Wherever a row is asked for, a point z of shape (latent_dim,) does as well;
    rows are taken to the means of their posteriors.
    """

    directions_: dict[str, Direction]

    def _fitted(self) -> Model:
        raise NotImplementedError

    def posterior(self, X: Any) -> Posterior:
        """q(z given x) of each row under the lead member."""
        model = self._fitted()
        source = model.codec.read(X)
        rows = model.codec.transform(source)
        return model.posterior(rows, source.library, source.row_labels)

    def decode(self, z: Any, *, draw: bool = False, random_state: Any = None) -> Any:
        """Rows of points in latent space, in the units and types of the training data.

        Parameters
        ----------
        z : array-like of shape (latent_dim,) or (n_samples, latent_dim)
            Any numbers; about -3 to 3 is where training rows lie.
        draw : bool
            Whether to draw from p(x given z) and not only take its mean.
        random_state : int, Generator, RandomState or None
            For `draw`.

        Returns
        -------
        data of the kind the detector was fitted on
            One row a point.

        Raises
        ------
        DataError
            If points have another width, or are not finite.
        """
        model = self._fitted()
        points = self._points(np.atleast_2d(arguments.numbers("z", z)))
        rng = randomness.numpy_generator(randomness.seed_sequence(random_state)) if draw else None
        decoded = generation.decode_points(model.vae, points, model.lead, rng)
        return results.drawn_items(model, model.codec.inverse_transform(decoded), rng).to_native()

    def traverse(self, row: Any, dim: int, values: Any) -> Any:
        """Rows decoded while one latent dimension of a row takes the given values.

        Parameters
        ----------
        row : one row, or a point z
        dim : int
            Latent dimension, from 0; `latent_summary` tells which are active.
        values : array-like of shape (n_samples,)
            Units of z.
        """
        return self.decode(algebra.traverse(self._place(row), dim, values))

    def latent_summary(self, X: Any) -> LatentSummary:
        """Latent dimensions, the most active first, with statistics of their posteriors over X."""
        return algebra.latent_summary(self.posterior(X))

    def sample_like(
        self, row: Any, n_samples: int = 1, *, spread: float = 1.0, random_state: Any = None
    ) -> Any:
        """New rows around a row: z from its posterior, x from p(x given z).

        Parameters
        ----------
        row : one row
        n_samples : int
            Rows.
        spread : float
            Times the posterior's standard deviation; 0 varies by p(x given z) alone.
        random_state : int, Generator, RandomState or None
        """
        wide, n = arguments.number("spread", spread), arguments.whole("n_samples", n_samples)
        found = _one(self.posterior(row), "row")
        rng = randomness.numpy_generator(randomness.seed_sequence(random_state))
        z = found.loc + wide * found.scale * rng.standard_normal((n, found.loc.shape[1]))
        return self.decode(z, draw=True, random_state=rng)

    def interpolate(self, a: Any, b: Any, n_samples: int = 10, *, path: str = "linear") -> Any:
        """Rows decoded on the way from one row to another.

        Parameters
        ----------
        a, b : one row each, or points z
            Rows in tables, as X[:1]; an array of one axis is a point. The first and last
            rows returned are exactly their decoded encodings.
        n_samples : int
            Rows, both ends included.
        path : str
            "linear", "slerp" or "geodesic", which changes the decoded row least; see
            `improbable.latent.paths.interpolate`.
        """
        ends = self._place(a), self._place(b)
        model = self._fitted()
        surface = generation.surface(model.vae, model.lead)
        return self.decode(paths.interpolate(*ends, n_samples, path, surface))

    def mix(self, groups: Sequence[Any], weights: Any = None) -> Any:
        """Row decoded from a weighted sum of rows or groups of rows.

        Parameters
        ----------
        groups : list of tables, rows or points z
            Rows in tables, as X[:1]; an array of one axis is a point.
        weights : array-like of shape (n_groups,), optional
            Any numbers, equal if absent: (0.5, 0.5) is half way, (1, -1, 1) an analogy.
        """
        if not isinstance(groups, list | tuple):
            raise DataError(
                f"Groups come in a list, got {type(groups).__name__}. Pass [X[:1], X[1:2]] for "
                "two rows."
            )
        centers = [
            algebra.center(g) if isinstance(g, Posterior) else g for g in map(self._group, groups)
        ]
        return self.decode(algebra.mix(centers, weights))

    @property
    def directions(self) -> Mapping[str, Direction]:
        """Named directions, kept in the model file."""
        self._fitted()
        return self.directions_

    def add_direction(
        self, name: str, with_: Any, without: Any, *, random_state: Any = 0
    ) -> Direction:
        """Learn and name what sets one group of rows apart from another.

        Parameters
        ----------
        name : str
            For `steer`; an older direction of that name is replaced.
        with_, without : tables of 2 rows or more each, or their posteriors
        random_state : int, Generator, RandomState or None
            Which rows are kept aside to check the direction.

        Returns
        -------
        Direction
            With its strength, and its separation of held-out rows.

        Warns
        -----
        DataWarning
            If held-out rows do not lie apart.
        """
        if not isinstance(name, str) or not name.strip():
            raise ImprobableError(f"A direction's name must be text, got {name!r}.")
        groups = (with_, without)
        ends = [g if isinstance(g, Posterior) else self.posterior(g) for g in groups]
        found = algebra.direction(*ends, random_state=random_state)
        self.directions_[name] = found
        return found

    def steer(self, X: Any, name: str, amount: Any = 1.0) -> Any:
        """Rows with some of a named direction added, or taken away if `amount` is negative.

        Parameters
        ----------
        X : rows, or a point z
        name : str
            A name in `directions`.
        amount : float or array-like of shape (n_samples,)
            1 goes as far as from one group's center to the other's.
        """
        if name not in self.directions:
            known = ", ".join(sorted(self.directions)) or "none"
            raise ImprobableError(
                f"No direction is called {name!r}; there are: {known}. Learn one: add_direction."
            )
        group = self._group(X)
        z = group.loc if isinstance(group, Posterior) else group
        found = self.decode(algebra.steer(z, self.directions[name], amount))
        labels = group.row_labels if isinstance(group, Posterior) else None
        labeled = labels is not None and hasattr(found, "set_axis")
        return found.set_axis(labels) if labeled else found

    def index(self, X: Any, ids: Any = None, columns: Any = None) -> LatentIndex:
        """Index of rows, to search for those nearest to any point z or row.

        Parameters
        ----------
        X : rows
        ids : sequence of str or int, optional
            Their names, 0 to n - 1 if absent.
        columns : data frame, optional
            Columns to filter by.
        """
        return LatentIndex(self.posterior(X), ids, columns)

    def cluster(self, X: Any, n_clusters: Any = None, **options: Any) -> Clusters:
        """Groups of rows whose posteriors are alike, by KL divergence.

        Parameters
        ----------
        X : rows
        n_clusters : int, iterable of int, or None
            A number, or numbers to choose from.
        **options
            As in `improbable.latent.clusters.cluster`.

        Returns
        -------
        Clusters
            ``decode(clusters.loc)`` shows their centers as rows.
        """
        return cluster(self.posterior(X), n_clusters, **options)

    def _group(self, rows: Any) -> Posterior | Floats:
        """Posterior of rows, or a point as it is."""
        if isinstance(rows, Posterior):
            return rows
        if (
            isinstance(rows, np.ndarray | list | tuple)
            and np.ndim(np.asarray(rows, dtype=object)) == 1
        ):
            first = rows[0] if len(rows) else None
            if isinstance(first, int | float | np.number):
                point: Floats = self._points(np.asarray(rows, dtype=np.float64)[None])[0]
                return point
        return self.posterior(rows)

    def _place(self, row: Any) -> Floats:
        """A point, or the mean of the posterior of one row, shape (latent_dim,)."""
        group = self._group(row)
        return _one(group, "row").loc[0] if isinstance(group, Posterior) else group

    def _points(self, z: Floats) -> Floats:
        size = self._fitted().vae.latent_dim
        if z.ndim != 2 or z.shape[1] != size or not np.isfinite(z).all():
            raise DataError(
                f"z must hold {size} finite numbers a point, got shape {z.shape}. "
                f"Pass an array of shape (n_samples, {size})."
            )
        return z


def _one(posterior: Posterior, what: str) -> Posterior:
    if len(posterior) != 1:
        raise DataError(f"One {what} is wanted, got {len(posterior)}. Pass a table of one row.")
    return posterior
