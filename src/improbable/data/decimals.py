"""Columns of decimal numbers, such as amounts of money: their types, and the way back to Arrow."""

import re
from collections.abc import Iterable
from decimal import Decimal

import numpy as np
import pyarrow as pa

from improbable.data.parts import Bools, Floats

DECIMAL = "Decimal"
NUMERIC = ("Int", "UInt", "Float", DECIMAL)  # types whose values are written as numbers of any are
MOST_DIGITS, MOST_PLACES = 38, 18  # of decimals of 128 bits


def decimal_type(precision: int, scale: int) -> str:
    """Name of a type of so many digits, `scale` of them after the point."""
    return f"{DECIMAL}({precision}, {scale})"


def type_of_objects(numbers: Iterable[Decimal]) -> str:
    """Name of a type that holds Python's decimals; that of floats if they are too fine."""
    finite = [number for number in numbers if number.is_finite()]
    scale = max((-int(number.as_tuple().exponent) for number in finite), default=0)
    return decimal_type(MOST_DIGITS, max(scale, 0)) if scale <= MOST_PLACES else "Float64"


def is_decimal(dtype: str) -> bool:
    """Whether a type is one of decimals."""
    return dtype.startswith(DECIMAL)


def is_whole(dtype: str) -> bool:
    """Whether all values of a type are whole numbers."""
    return "Int" in dtype or is_decimal(dtype) and _digits(dtype)[1] <= 0


def has_room(numbers: Floats, dtype: str) -> Bools:
    """Whether decimals of a type hold some numbers, to all digits of a float."""
    precision, scale = _digits(dtype)
    exact: Bools = np.round(numbers, scale) == numbers
    return exact & (np.abs(numbers) < 10.0 ** (precision - scale))


def arrow_decimals(numbers: Floats, dtype: str) -> pa.Array:
    """Numbers rounded to decimals of a type; NaN is null, and the largest holds what is larger."""
    missing = np.isnan(numbers)
    held = np.clip(np.where(missing, 0.0, numbers), -_largest(dtype), _largest(dtype))
    return pa.array(held, mask=missing).cast(pa.decimal128(*_digits(dtype)))


def _largest(dtype: str) -> float:
    precision, scale = _digits(dtype)
    return float(np.nextafter(10.0 ** (precision - scale), 0.0) - 10.0**-scale)


def _digits(dtype: str) -> tuple[int, int]:
    precision, scale = map(int, re.findall(r"-?\d+", dtype))
    return precision, scale
