"""Scoring and fitting on a cluster, with Ray: the same results as one process gives.

Ray is imported when a function is called, not before.
"""

from improbable.distributed.fitting import fit_distributed
from improbable.distributed.scoring import score_dataset

__all__ = ["fit_distributed", "score_dataset"]
