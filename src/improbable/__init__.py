"""Calibrated, explained anomaly detection without labels.

Names are loaded when first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from improbable.data.columns import (
        Binary,
        Categorical,
        Constant,
        Count,
        Cyclic,
        Identifier,
        Positive,
        Real,
    )
    from improbable.data.images import ImageCodec
    from improbable.data.moments import Datetime
    from improbable.data.sequences import SequenceCodec
    from improbable.data.windows import WindowCodec
    from improbable.datasets import load_thyroid
    from improbable.detector import VAEDetector
    from improbable.errors import (
        CalibrationWarning,
        DataError,
        DataWarning,
        FormatError,
        ImprobableError,
        ImprobableWarning,
        NotCalibratedError,
        SchemaError,
        TrainingWarning,
    )
    from improbable.latent.index import LatentIndex
    from improbable.latent.neighbors import Neighbors
    from improbable.persistence import load, save
    from improbable.portable.scorer import Scorer, load_scorer
    from improbable.streams.events import Event
    from improbable.streams.readings import Reading
    from improbable.streams.stream import Stream, load_stream

__version__ = "0.1.0"

_HOMES = {
    "improbable.data.columns": (
        "Binary",
        "Categorical",
        "Constant",
        "Count",
        "Cyclic",
        "Identifier",
        "Positive",
        "Real",
    ),
    "improbable.data.images": ("ImageCodec",),
    "improbable.data.moments": ("Datetime",),
    "improbable.data.sequences": ("SequenceCodec",),
    "improbable.data.windows": ("WindowCodec",),
    "improbable.datasets": ("load_thyroid",),
    "improbable.detector": ("VAEDetector",),
    "improbable.errors": (
        "CalibrationWarning",
        "DataError",
        "DataWarning",
        "FormatError",
        "ImprobableError",
        "ImprobableWarning",
        "NotCalibratedError",
        "SchemaError",
        "TrainingWarning",
    ),
    "improbable.streams.events": ("Event",),
    "improbable.latent.index": ("LatentIndex",),
    "improbable.latent.neighbors": ("Neighbors",),
    "improbable.persistence": ("load", "save"),
    "improbable.portable.scorer": ("Scorer", "load_scorer"),
    "improbable.streams.readings": ("Reading",),
    "improbable.streams.stream": ("Stream", "load_stream"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Binary",
    "CalibrationWarning",
    "Categorical",
    "Constant",
    "Count",
    "Cyclic",
    "DataError",
    "DataWarning",
    "Datetime",
    "Event",
    "FormatError",
    "Identifier",
    "ImageCodec",
    "ImprobableError",
    "ImprobableWarning",
    "LatentIndex",
    "Neighbors",
    "NotCalibratedError",
    "Positive",
    "Reading",
    "Real",
    "SchemaError",
    "Scorer",
    "SequenceCodec",
    "Stream",
    "TrainingWarning",
    "VAEDetector",
    "WindowCodec",
    "__version__",
    "load",
    "load_scorer",
    "load_stream",
    "load_thyroid",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'improbable' has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
