"""Diagonal Gaussians in latent space: the posteriors of rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.data.frames import RawColumn, frame_library, write_frame

Floats = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Posterior:
    """q(z given x) of each row: a Gaussian with independent dimensions.

    Attributes
    ----------
    loc, scale : ndarray of shape (n_samples, latent_dim)
        Mean and standard deviation.
    library : str
        What `to_frame` gives unless told otherwise.
    """

    loc: Floats
    scale: Floats
    library: str = "pyarrow"

    def __len__(self) -> int:
        return len(self.loc)

    def kl_to_prior(self) -> Floats:
        r"""KL divergence from a standard Normal, nats, shape (n_samples,).

        .. math:: \tfrac12 \sum_j (\mu_j^2 + s_j^2 - 1 - 2 \log s_j)
        """
        terms = self.loc**2 + self.scale**2 - 1.0 - 2.0 * np.log(self.scale)
        return 0.5 * np.asarray(terms.sum(axis=1), dtype=np.float64)

    def __repr__(self) -> str:
        return f"<Posterior of {len(self)} rows, {self.loc.shape[1]} latent dimensions>"

    def to_frame(self, library: str | None = None) -> Any:
        """Table with columns loc_0.. and scale_0..; `library` is pandas, polars or pyarrow."""
        columns = {
            f"{side}_{j}": RawColumn(values[:, j], "number", "Float64")
            for side, values in (("loc", self.loc), ("scale", self.scale))
            for j in range(values.shape[1])
        }
        return write_frame(columns, frame_library(library or self.library))
