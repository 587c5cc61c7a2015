"""Where output goes, checked before any time goes into making it."""

import os

from improbable.data.files import format_of
from improbable.data.pictures import EXTENSIONS
from improbable.data.several import files_of
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


def check_apart(path: str, *others: str | None) -> None:
    """Refuse to write over what is read, or what else is written."""
    for other in others:
        if other not in (None, "-") and any(_same(path, one) for one in _files(str(other))):
            raise DataError(f"{path} is named twice. Name another file for the output.")


def _files(path: str) -> list[str]:
    """Files a path stands for, or the one still to be written."""
    try:
        return files_of(path)
    except DataError:
        return [path]


def _same(path: str, other: str) -> bool:
    """Whether two names stand for one file, there or still to be written."""
    if os.path.isdir(other):  # its images are read, and nothing else in it
        inside = os.path.realpath(os.path.dirname(path)) == os.path.realpath(other)
        return inside and os.path.isfile(path) and path.lower().endswith(EXTENSIONS)
    if not os.path.exists(path) or not os.path.exists(other):
        return os.path.realpath(path) == os.path.realpath(other)
    return os.path.isfile(path) and os.path.samefile(path, other)


def check_output(path: str, format: str | None, *others: str | None) -> None:
    """Refuse a path that rows cannot be written to, of no known format, or one of `others`."""
    check_apart(path, *others)
    if os.path.isdir(path):
        check_destination(path)
    try:
        format_of(path, format, written=True)
    except DataError as error:
        raise DataError(str(error).replace("--format", "--output-format")) from None
    if path != "-":
        check_destination(path)
