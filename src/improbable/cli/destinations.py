"""Where output goes, checked before any time goes into making it."""

import os

from improbable.data.files import format_of
from improbable.errors import DataError


def check_destination(path: str) -> None:
    """Refuse a path that cannot become a file.

    Raises
    ------
    DataError
        If it is a folder, or its own folder is absent or read-only.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise DataError(f"{path} is a folder. Name a file in it.")
    if os.path.exists(path):
        return
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise DataError(f"{folder} is no folder that can be written to. Choose another path.")


def check_apart(path: str, input: str) -> None:
    """Refuse to write a model over what it learns from."""
    if os.path.exists(path) and os.path.exists(input) and os.path.samefile(path, input):
        raise DataError(f"{path} is what to learn from. Name another file for the model.")


def check_output(path: str, format: str | None) -> None:
    """Refuse a path that rows cannot be written to, or of no known format."""
    try:
        format_of(path, format)
    except DataError as error:
        raise DataError(str(error).replace("--format", "--output-format")) from None
    if path != "-":
        check_destination(path)
