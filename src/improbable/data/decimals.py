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
EXACT = 2.0**53


def decimal_type(numbers: Floats, precision: int, scale: int) -> str:
    """Name of a type of so many digits, `scale` of them after the point.

    That of floats if these do not hold the numbers to the last digit: decimals would
    look as exact as they came.
    """
    largest = np.max(np.abs(numbers), where=np.isfinite(numbers), initial=0.0)
    return f"{DECIMAL}({precision}, {scale})" if largest * 10.0**scale < EXACT else "Float64"


def type_of_objects(cells: Iterable[Decimal], numbers: Floats) -> str:
    """Name of the type of Python's decimals, which are `numbers` as floats."""
    finite = [cell for cell in cells if cell.is_finite()]
    scale = max((-int(cell.as_tuple().exponent) for cell in finite), default=0)
    if scale > MOST_PLACES:
        return "Float64"
    return decimal_type(numbers, MOST_DIGITS, max(scale, 0))


def is_decimal(dtype: str) -> bool:
    """Whether a type is one of decimals."""
    return dtype.startswith(DECIMAL)


def is_whole(dtype: str) -> bool:
    """Whether all values of a type are whole numbers."""
    return "Int" in dtype or is_decimal(dtype) and _digits(dtype)[1] <= 0


def has_room(numbers: Floats, dtype: str) -> Bools:
    """Whether decimals of a type hold some numbers, and floats all digits of these."""
    precision, scale = _digits(dtype)
    exact: Bools = np.round(numbers, scale) == numbers
    return exact & (np.abs(numbers) < min(10.0**precision, EXACT) * 10.0**-scale)


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
