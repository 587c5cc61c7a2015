"""A model file as a container: named arrays beside a JSON header, in safetensors.

The header holds a SHA-256 digest of itself and of every array, which reading
checks. Nothing here knows what the arrays mean, and nothing imports torch.
"""

import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import save_file

from improbable import __version__
from improbable.errors import DataError, FormatError

FORMAT = 9
MAGIC = "improbable"
TOLERANCE = 1e-6
SUMS_OF_FORMAT_1 = (
    "expected_log_prob",
    "log_expected_prob",
    "log_marginal",
    "elbo",
    "conditional_log_prob",
)
Header = dict[str, Any]
Arrays = dict[str, NDArray[Any]]
PathLike = str | os.PathLike[str]


def read_header(path: PathLike) -> Header:
    """What a model file says about itself, its digest checked.

    Returns
    -------
    dict
        Keys format, versions, schema, config, settings, history, calibration.

    Raises
    ------
    FormatError
        As `read_container`.
    """
    return read_container(path)[0]


def read_container(path: PathLike) -> tuple[Header, Arrays]:
    """Header and arrays of a model file, their digest checked; runs no code from the file.

    Raises
    ------
    FormatError
        If the file is missing, damaged, no model file, or written by a newer version.
    """
    if not os.path.isfile(path):
        raise FormatError(f"There is no model file {path}. Check the path, or fit and save one.")
    try:
        with safetensors.safe_open(os.fspath(path), "np") as file:
            header = json.loads((file.metadata() or {})[MAGIC])
            _check_format(path, header)
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        intact = header.get("digest") == digest(header, arrays)
        if header["format"] == 1:
            arrays = _of_format_1(header, arrays)
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(
            f"{path} is not a model file of this library, or it is damaged "
            f"({type(error).__name__}). Copy or save it again."
        ) from error
    if not intact:
        raise FormatError(
            f"{path} is damaged: its contents do not match its digest. Copy or save it again."
        )
    return header, arrays


def write_container(path: PathLike, header: Header, arrays: Arrays) -> None:
    """Write a header, signed with its digest, and arrays; the file appears only when complete.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    signed = {**header, "digest": digest(header, arrays)}
    target = Path(path)
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".partial")
        os.close(handle)
        save_file(arrays, temporary, {MAGIC: json.dumps(signed)})
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        raise DataError(
            f"{target} cannot be written ({error.strerror}). Choose another path."
        ) from error
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                os.unlink(temporary)


def digest(header: Header, arrays: Arrays) -> str:
    """SHA-256 of a header without its own digest, and of every array."""
    kept = {key: value for key, value in header.items() if key != "digest"}
    found = hashlib.sha256(json.dumps(kept, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        found.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        found.update(array.tobytes())
    return found.hexdigest()


@contextmanager
def usable(path: PathLike) -> Iterator[None]:
    """Whatever odd contents provoke in this block, as a FormatError."""
    try:
        yield
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(
            f"{path} is not a usable model file ({type(error).__name__}: {error}). "
            "Save the model again."
        ) from error


def check_golden(
    path: PathLike,
    header: Header,
    found: NDArray[np.float64],
    stored: NDArray[np.float64],
    now: dict[str, str],
) -> None:
    """Refuse a file whose stored rows score differently than when it was saved.

    Parameters
    ----------
    path, header
        The file, and what it says about itself.
    found, stored : ndarray of shape (n,)
        Scores of the stored rows here, and those stored with them.
    now : dict of str to str
        Versions in use here, as `versions`.

    Raises
    ------
    FormatError
        If they differ; it names the versions that changed.
    """
    if found.shape == stored.shape and np.allclose(found, stored, TOLERANCE, TOLERANCE):
        return
    changed = [
        f"{name} {then} then, {now.get(name)} now"
        for name, then in header["versions"].items()
        if now.get(name) != then
    ]
    raise FormatError(
        f"{path} scores its own stored rows differently here "
        f"({'; '.join(changed) or 'same versions'}). "
        "Fit again with these versions, or load it with those it was saved with."
    )


def versions() -> dict[str, str]:
    """Versions that every score depends on; torch's is for its users to add."""
    return {
        "improbable": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _check_format(path: PathLike, header: Any) -> None:
    written = header["format"]
    if not isinstance(written, int) or written < 1:
        raise FormatError(f"{path} has no valid format number. Save the model again.")
    if written > FORMAT:
        raise FormatError(
            f"{path} has format {written}, this version reads up to {FORMAT}. "
            "Upgrade improbable, or save the model with this version."
        )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _of_format_1(header: Header, arrays: Arrays) -> Arrays:
    """Arrays with what format 1 left to its reader: what missing cells stand for."""
    shares = np.asarray(arrays["reference"], dtype=np.float64)
    known = ~np.isnan(shares)
    means = np.where(known, shares, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    per_column = header["settings"]["score_function"] in SUMS_OF_FORMAT_1
    return {**arrays, "typical": means * per_column}
