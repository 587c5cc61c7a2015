"""Why an image scores as it does: pixel by pixel, as a map of its size."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats
from improbable.wording import in_words, or_as_a_whole

BANDS = ("top", "middle", "bottom")
SIDES = ("left", "center", "right")


@dataclass(frozen=True, repr=False)
class SurpriseMap:
    """What each pixel contributes to `expected_log_prob`, and what was expected there.

    Attributes
    ----------
    images : ndarray of shape (n, height, width[, channels])
        The images themselves.
    shares : ndarray of shape (n, height, width, channels)
        Nats; an image's shares add up to its `expected_log_prob`. The lower,
        the less normal. Zero where missing.
    surprise : ndarray of shape (n, height, width, channels)
        Nats by which a share lies below the pixel's typical one. The higher,
        the less normal.
    p_values : ndarray of shape (n, height, width, channels)
        Share of held-out images whose share of that pixel is as low. NaN where missing.
    expected : ndarray of shape (n, height, width[, channels])
        The images as the model reconstructs them.
    odd : ndarray of bool of shape (n,), optional
        Images that `detect` flags by default; `reasons` says of them that they are
        unusual as a whole where nothing by itself stands out.
    """

    images: NDArray[Any]
    shares: Floats
    surprise: Floats
    p_values: Floats
    expected: NDArray[Any]
    odd: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def map(self) -> Floats:
        """Surprise of each pixel, channels added up: nats, shape (n, height, width)."""
        found: Floats = self.surprise.sum(axis=-1)
        return found

    def regions(self, image: int) -> list[tuple[float, str]]:
        """Ninths of an image with their surprise in nats, the most surprising first."""
        bands = zip(BANDS, np.array_split(self.map[image], 3, axis=0), strict=True)
        found = [
            (float(cell.sum()), f"{band} {side}")
            for band, rows in bands
            for side, cell in zip(SIDES, np.array_split(rows, 3, axis=1), strict=True)
        ]
        return sorted(found, key=lambda region: -region[0])

    def reasons(self, row: int, n: int = 3) -> list[str]:
        """Sentences for the `n` most surprising ninths of an image, those above 1 nat only."""
        said = [
            f"{place}: {nats:.0f} nats below its typical share"
            for nats, place in self.regions(row)[:n]
            if nats > 1.0
        ]
        return or_as_a_whole(said, self.odd, row)

    def __repr__(self) -> str:
        return f"<SurpriseMap of {len(self)} images, {self.map.shape[1]} x {self.map.shape[2]}>"

    def __str__(self) -> str:
        return in_words(self, "image")
