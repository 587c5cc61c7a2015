"""Arguments of calls, checked: each refusal says what to pass instead."""

from contextlib import suppress
from numbers import Integral, Real
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from improbable.errors import ImprobableError

LARGEST = float(np.finfo(np.float64).max)


def refuse(name: str, wanted: str, got: Any) -> NoReturn:
    """Say what an argument must be, and what it is."""
    raise ImprobableError(f"{name} must be {wanted}, got {got!r}.")


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, truth values apart."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a real number, truth values apart."""
    return isinstance(value, Real) and not isinstance(value, bool)


def whole(name: str, value: Any, least: int = 1) -> int:
    """A whole number, `least` or more."""
    if not is_whole(value) or value < least:
        refuse(name, f"a whole number, {least} or more", value)
    return int(value)


def number(name: str, value: Any) -> float:
    """A finite number, 0 or more."""
    if not is_number(value) or not 0.0 <= value <= LARGEST:
        refuse(name, "a number, 0 or more", value)
    return float(value)


def level(name: str, value: Any) -> float:
    """A number between 0 and 1, neither of them."""
    if not is_number(value) or not 0.0 < value < 1.0:
        refuse(name, "a number between 0 and 1", value)
    return float(value)


def numbers(name: str, values: Any) -> NDArray[np.float64]:
    """Finite numbers, in an array of the shape they have."""
    found = np.full(1, np.nan)
    with suppress(ValueError, TypeError, OverflowError, RuntimeError):
        given = np.asarray(values)
        mixed = given.dtype.kind == "O"
        if all(map(is_number, given.flat)) if mixed else given.dtype.kind in "iuf":
            found = given.astype(np.float64)
    if not np.isfinite(found).all():
        refuse(name, "finite numbers", values)
    return found
