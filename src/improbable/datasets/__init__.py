"""A real table that ships with the library."""

from importlib.resources import as_file, files

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray


def load_thyroid() -> tuple[pa.Table, NDArray[np.int64]]:
    """Thyroid disease records ("sick"), 3,772 patients, 29 columns of mixed types.

    Returns
    -------
    table : pyarrow.Table
        Seven numeric and 22 named columns; 6,064 cells are missing.
    labels : ndarray of shape (3772,)
        1 for the 231 patients with the class "sick", else 0.

    References
    ----------
    .. [1] R. Quinlan, "Thyroid Disease", UCI Machine Learning Repository, 1987,
       CC BY 4.0, https://doi.org/10.24432/C5D010.
    """
    with as_file(files(__name__) / "thyroid_sick.parquet") as path:
        table = pq.read_table(path)
    labels = table.column("is_anomaly").to_numpy().astype(np.int64)
    return table.drop_columns(["is_anomaly"]), labels
