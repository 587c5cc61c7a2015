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
        seen = values * visible
        features = np.concatenate([visible, seen, seen * values], axis=-1)
        found: Floats = (softmax(features @ self.forms, axis=-1) @ self.mean).mean(axis=0)
        return found
