"""Every error this library raises on purpose, and its warnings.

::

    ImprobableError (ValueError)
    ├── SchemaError         a table does not have the columns the detector was fitted on
    ├── DataError           the values cannot be used at all (no rows, no table, unreadable)
    ├── NotCalibratedError  a p-value was asked of a detector without calibration scores
    └── FormatError         a model file is damaged, hostile, or newer than this version

    ImprobableWarning (UserWarning)
    ├── DataWarning         rows were scored, but something about them is unusual
    ├── CalibrationWarning  the decision rests on fewer rows than it needs
    └── TrainingWarning     training ended in a way that deserves a look

Every message says what is wrong in one sentence and what to do next in another.
"""


class ImprobableError(ValueError):
    """Base of every error raised on purpose."""


class SchemaError(ImprobableError):
    """A table that does not match the columns seen at fit."""


class DataError(ImprobableError):
    """Values that cannot be read or modeled at all."""


class NotCalibratedError(ImprobableError):
    """A decision asked of a detector that holds no calibration scores."""


class FormatError(ImprobableError):
    """A model file that is damaged, hostile, or too new."""


class ImprobableWarning(UserWarning):
    """Base of every warning."""


class DataWarning(ImprobableWarning):
    """Rows that were scored although something about them is unusual."""


class CalibrationWarning(ImprobableWarning):
    """A decision that rests on fewer held-out rows than it needs."""


class TrainingWarning(ImprobableWarning):
    """A training run that ended in a way that deserves a look."""
