"""Where items out of a model go: tables to files of tables, images to arrays or pictures."""

import os
import secrets
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from improbable.cli.destinations import check_apart, check_destination, check_output
from improbable.data.codec import Codec
from improbable.data.files import open_writer
from improbable.data.images import ImageCodec
from improbable.errors import DataError, ImprobableError

Write = Callable[[Any], object]
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
MOST_IN_A_ROW = 100


def check_rows_output(path: str, format: str | None, codec: Codec, *others: str | None) -> None:
    """Refuse a path that items of a codec cannot be written to, or one of `others`.

    Raises
    ------
    DataError
        If its format does not suit, or it cannot become a file or a folder.
    ImprobableError
        If Pillow is absent and needed.
    """
    check_apart(path, *others)
    if not isinstance(codec, ImageCodec):
        return check_output(path, format)
    if format is not None:
        raise DataError("--output-format is for tables. Name an .npz, .npy, .png or a folder.")
    kind = _kind(path)
    if kind in ("npz", "npy"):
        return check_destination(path)
    if codec.shape[0] not in MODES:
        raise DataError(f"Images of {codec.shape[0]} channels are no PNG. Name an .npz or .npy.")
    _pillow()
    if kind == "png":
        return check_destination(path)
    return _check_folder(path)


def _kind(path: str) -> str:
    """One of npz, npy, png and "" for a folder."""
    extension = "" if path.endswith(os.sep) else os.path.splitext(path)[1].lower()
    if path == "-" or extension not in ("", ".npz", ".npy", ".png"):
        what = (
            "Standard output takes no images" if path == "-" else f"{path} is no place for images"
        )
        raise DataError(f"{what}. Name an .npz, an .npy, one .png or a folder with -o.")
    return extension.removeprefix(".")


def _check_folder(path: str) -> None:
    if os.path.isdir(path) and os.listdir(path):
        raise DataError(f"{path} is a folder that is not empty. Name a new one.")
    if os.path.isfile(path.rstrip(os.sep)):
        raise DataError(f"{path} is a file. Name a new folder, or an .npz.")
    if not os.path.isdir(path):
        check_destination(path.rstrip(os.sep))


@contextmanager
def open_rows(
    path: str,
    codec: Codec,
    *,
    total: int | None,
    schema: pa.Schema | None = None,
    names: Sequence[str] = (),
    format: str | None = None,
) -> Iterator[Write]:
    """Open a place for items that appears whole when the block ends, or not at all.

    Parameters
    ----------
    path : str
        Checked by `check_rows_output`.
    codec : Codec
    total : int, optional
        How many there will be; images need it.
    schema : pyarrow.Schema, optional
        Of tables.
    names : sequence of str
        Names of images.
    format : str, optional
        Of tables, if the name is silent.
    """
    if isinstance(codec, ImageCodec):
        with _open_images(path, codec, int(total or 0), names) as write:
            yield write
    else:
        with open_writer(path, schema, format=format) as writer:

            def write(table: pa.Table) -> None:
                for batch in table.to_batches():
                    writer.write(batch)

            yield write


def write_whole(path: str, codec: Codec, rows: Any, *, format: str | None) -> None:
    """Write a table or images that are all there."""
    schema = getattr(rows, "schema", None)
    with open_rows(path, codec, total=len(rows), schema=schema, format=format) as write:
        write(rows)


@contextmanager
def _open_images(path: str, codec: ImageCodec, n: int, names: Sequence[str]) -> Iterator[Write]:
    kind = _kind(path)
    if kind == "":
        with _open_folder(path, codec, n, names) as write:
            yield write
    elif kind == "png":
        if n > MOST_IN_A_ROW:
            raise DataError(f"{n:,} images are too many for one .png. Name a folder.")
        kept: list[NDArray[Any]] = []
        yield kept.extend
        with replacing(path) as sink:
            _picture(np.concatenate(kept, axis=1), codec).save(sink, format="PNG")
    else:
        with replacing(path) as sink, ExitStack() as stack:
            if kind == "npz":
                archive = stack.enter_context(open_arrays(sink))
                if names:
                    write_array(archive, "name", np.array(names))
                sink = stack.enter_context(array_entry(archive, "images"))
            yield _stacked(sink, codec, n)


def _stacked(sink: Any, codec: ImageCodec, n: int) -> Write:
    """Function that appends images to an array of `n`, whose header is written now."""
    channels, *sides = codec.shape
    shape = (n, *sides) if codec.flat else (n, *sides, channels)
    dtype = np.dtype(codec.dtype)
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(sink, header)
    return lambda images: sink.write(np.ascontiguousarray(images, dtype=dtype).tobytes())


def open_arrays(sink: IO[bytes]) -> zipfile.ZipFile:
    """Begin an .npz."""
    return zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED)


def array_entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Begin an array of an .npz; one at a time."""
    return archive.open(f"{name}.npy", "w", force_zip64=True)


def write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Write a whole array into an .npz."""
    with array_entry(archive, name) as entry:
        np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)


@contextmanager
def _open_folder(path: str, codec: ImageCodec, n: int, names: Sequence[str]) -> Iterator[Write]:
    target = os.path.realpath(path)
    hidden = _hidden(target)
    places = iter(_file_names(n, names))

    def write(images: NDArray[Any]) -> None:
        for image, name in zip(images, places, strict=False):
            _picture(image, codec).save(os.path.join(hidden, name))

    try:
        os.mkdir(hidden)
        yield write
        os.replace(hidden, target)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}). Name another.") from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _file_names(n: int, names: Sequence[str]) -> list[str]:
    """Names of PNG files: as the images were called, as long as they differ, or numbers."""
    if not names:
        return [f"{i:0{len(str(max(n - 1, 0)))}d}.png" for i in range(n)]
    stems = [os.path.splitext(name)[0] for name in names]
    return [f"{stem}.png" for stem in (stems if len(set(stems)) == len(stems) else names)]


def _picture(image: NDArray[Any], codec: ImageCodec) -> Any:
    """Image for Pillow; levels that no PNG holds go from the training range to 0 to 255."""
    channels = codec.shape[0]
    deepest = 65_535.0 if channels == 1 else 255.0
    if np.dtype(codec.dtype).kind in "ui" and codec.low >= 0.0 and codec.high <= deepest:
        image = image.astype(np.uint8 if codec.high <= 255.0 else np.uint16)
    else:
        scaled = (image - codec.low) / (codec.high - codec.low)
        image = np.round(255.0 * np.clip(np.nan_to_num(scaled), 0.0, 1.0)).astype(np.uint8)
    plain = image.reshape(image.shape[:2]) if channels == 1 else image
    return _pillow().fromarray(np.ascontiguousarray(plain))


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImprobableError(
            "Writing image files needs Pillow. Install it: pip install 'improbable[images]'."
        ) from error
    return Image


@contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """Open a hidden file that takes the place of another, if all goes well."""
    target = os.path.realpath(path)
    hidden = _hidden(target)
    try:
        with open(hidden, "xb") as sink:
            yield sink
        os.replace(hidden, target)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}). Name another.") from error
    finally:
        with suppress(FileNotFoundError):
            os.unlink(hidden)


def _hidden(target: str) -> str:
    folder, name = os.path.split(target)
    return os.path.join(folder, f".{name}.{secrets.token_hex(8)}.partial")
