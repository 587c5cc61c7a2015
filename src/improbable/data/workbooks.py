"""Tables in workbooks of spreadsheets, of which the first sheet with cells is read."""

import datetime as dt
import warnings
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

from improbable.data.delimited import Contents
from improbable.data.frames import arrow_cells
from improbable.data.texts import NULL_WORDS, number_word
from improbable.errors import DataError, DataWarning

LARGEST_EXACT = 2.0**53


def workbook_contents(stream: IO[bytes], called: str, batch_rows: int) -> Contents:
    """Schema and rows of a workbook.

    The names stand in its first row, but for rows above it that fill one cell of
    three or more, such as titles. Empty rows are passed over.

    Parameters
    ----------
    stream : binary file
    called : str
        What the file is called in a warning.
    batch_rows : int
        Rows of a batch.

    Raises
    ------
    DataError
        If python-calamine is absent, or all sheets are empty.

    Warns
    -----
    DataWarning
        If there are further sheets.
    """
    names, *rows = _named(_first_sheet(stream, called))
    columns = [[row[i] for row in rows] for i in range(len(names))]
    told = [i for i, name in enumerate(names) if name or any(c is not None for c in columns[i])]
    table = pa.table(
        [_column(columns[i]) for i in told], [names[i] or f"column {i + 1}" for i in told]
    )
    return table.schema, table.to_batches(batch_rows)


def _first_sheet(stream: IO[bytes], called: str) -> Iterator[list[Any]]:
    try:
        import python_calamine  # noqa: PLC0415
    except ImportError as error:
        raise DataError(
            "Reading workbooks needs python-calamine. Install it: pip install 'improbable[excel]'."
        ) from error
    workbook = python_calamine.CalamineWorkbook.from_object(stream)
    shown = python_calamine.SheetVisibleEnum.Visible
    names = [sheet.name for sheet in workbook.sheets_metadata if sheet.visible == shown]
    sheets = map(workbook.get_sheet_by_name, names)
    filled = [sheet for sheet in sheets if sheet.height]
    if not filled:
        raise DataError("none of its sheets holds a cell. Pass a table with rows.")
    if len(filled) > 1:
        warnings.warn(
            f"{called} has {len(filled)} sheets with cells, and the first, {filled[0].name!r}, is "
            "read. Save another one as a file of its own to have it read.",
            DataWarning,
            stacklevel=2,
        )
    return iter(filled[0].to_python(skip_empty_area=True))


def _named(rows: Iterator[list[Any]]) -> Iterator[list[Any]]:
    """Names of the columns as text, then rows with None where a cell is empty."""
    cells = ([None if cell == "" else cell for cell in row] for row in rows)
    filled = (row for row in cells if any(cell is not None for cell in row))
    enough = (row for row in filled if len(row) < 3 or len(row) - row.count(None) > 1)
    heading = next(enough, None)
    if heading is None:
        raise DataError("there is no row of names in it. Put one above the rows.")
    yield ["" if cell is None else _word(cell).strip() for cell in heading]
    yield from filled


def _column(cells: list[Any]) -> pa.Array:
    """Cells in the type they are of, whole numbers as such; of several types as text."""
    plain = [None if isinstance(cell, str) and cell in NULL_WORDS else cell for cell in cells]
    kinds = {type(cell) for cell in plain} - {type(None)}
    if str in kinds:
        return pa.array([None if cell is None else _word(cell) for cell in cells], pa.string())
    if kinds == {float} and all(c is None or _is_whole(c) for c in plain):
        return pa.array([None if c is None else int(c) for c in plain], pa.int64())
    if kinds == {dt.date, dt.datetime}:  # those of midnight come as dates
        plain = [dt.datetime(*c.timetuple()[:3]) if type(c) is dt.date else c for c in plain]
    return arrow_cells(plain)


def _is_whole(number: float) -> bool:
    return number.is_integer() and abs(number) < LARGEST_EXACT


def _word(cell: Any) -> str:
    return str(number_word(cell)) if type(cell) is float else str(cell)
