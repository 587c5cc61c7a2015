"""What rows at the places of training rows look like, in NumPy; see `improbable.places`."""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from improbable.data.parts import LEAST_VARIANCE, Bools, Floats


@dataclass(frozen=True)
class Places:
    """Decoded rows at some places of each member.

    Attributes
    ----------
    mean : ndarray of shape (n_members, n_places, event_size)
    forms : ndarray of shape (n_members, 3 event_size, n_places)
        Coefficients of (o, o x, o x^2), with o being 1 where an entry is visible.
    """

    mean: Floats
    forms: Floats

    @classmethod
    def of(cls, mean: Floats, variance: Floats) -> "Places":
        """From means and variances of decoded rows, shape (n_members, n_places, event_size)."""
        precision = 1.0 / np.maximum(variance, LEAST_VARIANCE)
        constant = 0.5 * (np.log(precision) - precision * mean**2)
        forms = np.concatenate([constant, precision * mean, -0.5 * precision], axis=-1)
        return cls(mean, np.swapaxes(forms, 1, 2))

    def expected(self, values: Floats, visible: Bools) -> Floats:
        """What the visible entries let expect of all of them, shape (n, event_size)."""
        weights = softmax(self._log_prob(values, visible), axis=-1)
        found: Floats = (weights @ self.mean).mean(axis=0)
        return found

    def likeliest(self, values: Floats, visible: Bools) -> Floats:
        """Entries of the one place of all members that the visible ones are most probable at."""
        log_prob = self._log_prob(values, visible)
        place = log_prob.argmax(axis=-1)
        member = log_prob.max(axis=-1).argmax(axis=0)
        rows: Floats = self.mean[member, place[member, np.arange(len(member))]]
        return rows

    def _log_prob(self, values: Floats, visible: Bools) -> Floats:
        seen = values * visible
        found: Floats = np.concatenate([visible, seen, seen * values], axis=-1) @ self.forms
        return found
