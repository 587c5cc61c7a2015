"""Images of a folder, an .npz or an .npy, and what is known of them, read batch by batch."""

import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from improbable.cli.console import counted
from improbable.data import pictures
from improbable.data.files import pattern_of, read_table
from improbable.data.images import FEWEST, ImageCodec
from improbable.data.pictures import EXTENSIONS, Images, read_images
from improbable.errors import DataError

IMAGE = "image"
ARRAYS = (".npz", ".npy")
BATCH_ENTRIES = 4_000_000
Index = NDArray[np.intp]
Shapes = dict[str, tuple[tuple[int, ...], np.dtype[Any]]]


def holds_images(path: str) -> bool:
    """Whether a path is one that images come in."""
    return path.lower().endswith((*ARRAYS, *EXTENSIONS, os.sep)) or os.path.isdir(path)


@dataclass(frozen=True)
class Album:
    """Images that have not been read yet.

    Attributes
    ----------
    about : pyarrow.Table
        A row for each image: its file name or position as `IMAGE`, and what else is known.
    folder : str
        Where the files are; "" for an array.
    array : ndarray, optional
    """

    about: pa.Table
    folder: str = ""
    array: NDArray[Any] | None = None

    def __len__(self) -> int:
        return int(self.about.num_rows)

    @property
    def names(self) -> list[str]:
        """Names of the files."""
        return self.about[IMAGE].to_pylist() if self.folder else []

    def whole(self, size: tuple[int, int] | None) -> Images:
        """All images, to fit on."""
        if len(self) < FEWEST:
            verb = "is" if len(self) == 1 else "are"
            few = f"{counted(len(self), 'image')} {verb} too few to fit."
            raise DataError(f"{few} Pass a folder of more.")
        if self.array is None:
            return read_images(self.folder, size)
        if size is not None:
            raise DataError("--size is for images of a folder. Resize the array itself.")
        return read_images(self.array)

    def read(self, index: Index, codec: ImageCodec) -> Images:
        """Some images, as a codec takes them.

        Raises
        ------
        DataError
            If one cannot be read, or is of another size or depth.
        """
        if self.array is not None:
            return codec.read(self.array[index])
        names = self.about[IMAGE].take(pa.array(index)).to_pylist()
        stack = pictures.stacked([self._picture(name, codec) for name in names], names)
        return codec.read(Images(stack, codec.flat, tuple(names)))

    def _picture(self, name: str, codec: ImageCodec) -> NDArray[Any]:
        picture = pictures.read_file(os.path.join(self.folder, name), codec.size)
        channels, height, width = codec.shape
        if picture.ndim == 2:
            picture = np.repeat(picture[..., None], 3 if channels == 3 else 1, axis=2)
        if picture.shape != (height, width, channels):
            found = f"{picture.shape[0]} x {picture.shape[1]}"
            raise DataError(
                f"{name} is {found} with {counted(picture.shape[2], 'channel')}, the model "
                f"learned from images of {height} x {width} with {channels}. Resize or convert it."
            )
        return picture


class ImageFeed:
    """Batches of images, each beside what is known of them.

    Attributes
    ----------
    schema : pyarrow.Schema
        Of what is known.
    n_rows : int
        Images so far.
    """

    text = False
    key = IMAGE
    blank = None
    never_observed: list[str] = []

    def __init__(self, album: Album, codec: ImageCodec, batch_rows: int) -> None:
        self.schema, self.n_rows = album.about.schema, 0
        self.total, self.names = len(album), album.names
        self._album, self._codec = album, codec
        self._step = max(1, min(batch_rows, BATCH_ENTRIES // codec.event_size))
        self._places = album.about[IMAGE].combine_chunks()

    def __iter__(self) -> Iterator[tuple[pa.RecordBatch, Images]]:
        for start in range(0, self.total, self._step):
            batch = as_batch(self._album.about.slice(start, self._step))
            self.n_rows += batch.num_rows
            yield batch, self._album.read(np.arange(start, self.n_rows), self._codec)

    def frame(self, batch: pa.RecordBatch, places: Sequence[int] = ()) -> Images:
        """Images that rows are about."""
        index = pc.index_in(batch.column(IMAGE), value_set=self._places)
        return self._album.read(index.to_numpy(zero_copy_only=False), self._codec)


def as_batch(table: pa.Table) -> pa.RecordBatch:
    """Table as one batch."""
    batches = table.unify_dictionaries().combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def open_album(path: str, array: str | None, labels: str | None) -> Album:
    """Images of a path, and what is known of them.

    Parameters
    ----------
    path : str
        Folder of files, one file, .npz or .npy. One-dimensional arrays in the .npz, as long as
        that of the images, are known of them.
    array : str, optional
        Name of the images in the .npz.
    labels : str, optional
        File of what is known besides: a table or an .npy.

    Raises
    ------
    DataError
        If there are no images, or more than one array may hold them.
    """
    if array is not None and not path.lower().endswith(".npz"):
        raise DataError("--array names an array of an .npz. Leave it out.")
    if not os.path.exists(path):
        raise DataError(f"there is no file or folder {path}. Check its spelling.")
    if not path.lower().endswith(ARRAYS):
        album = _of_files(path)
    else:
        with _blaming(path):
            album = _of_npz(path, array) if path.lower().endswith(".npz") else _of_npy(path)
    if labels is None:
        return album
    about = album.about
    for name, column in _known(labels, about[IMAGE]).items():
        about = _with_column(about, name, column)
    return replace(album, about=about)


@contextmanager
def _blaming(path: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        if "pickle" in reason:  # NumPy's advice is to run code from the file
            reason = "it is damaged, or holds objects"
        raise DataError(f"{path} cannot be read as arrays: {reason}. Save it again.") from error


def _of_files(path: str) -> Album:
    folder, name = os.path.split(path)
    names = [name]
    if os.path.isdir(path):
        folder, names = path, sorted(n for n in os.listdir(path) if n.lower().endswith(EXTENSIONS))
    if not names:
        tables = pattern_of(folder)
        hint = f" Its tables are read by '{tables}'." if tables else ""
        raise DataError(f"{path} holds no image files ({', '.join(EXTENSIONS)}).{hint}")
    return Album(pa.table({IMAGE: pa.array(names, pa.string())}), folder or ".")


def _of_npy(path: str) -> Album:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    return Album(pa.table({IMAGE: pa.array(np.arange(len(array)))}), array=array)


def _of_npz(path: str, name: str | None) -> Album:
    with np.load(path, allow_pickle=False) as file:
        shapes = _shapes(file.zip)
        array = file[_chosen(path, shapes, name)]
        about = pa.table({IMAGE: pa.array(np.arange(len(array)))})
        for other, (shape, dtype) in shapes.items():
            if shape == array.shape[:1] and dtype.kind in "biufU" and other != IMAGE:
                about = _with_column(about, other, pa.array(file[other].tolist()))
    return Album(about, array=array)


def _shapes(archive: zipfile.ZipFile) -> Shapes:
    """Shape and type of each array, from their headers alone."""
    found: Shapes = {}
    for entry in filter(lambda name: name.endswith(".npy"), archive.namelist()):
        with archive.open(entry) as file:
            shape, _, dtype = _header(file)
            found[entry.removesuffix(".npy")] = shape, dtype
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
    return (read or np.lib.format.read_array_header_2_0)(file)


def _chosen(path: str, shapes: Shapes, name: str | None) -> str:
    if name in shapes:
        return str(name)
    shown = ", ".join(f"{n} {'x'.join(map(str, shape))}" for n, (shape, _) in shapes.items())
    if name is not None:
        raise DataError(f"{path} has no array {name!r}; it has {shown or 'none'}.")
    fitting = [n for n, (shape, _) in shapes.items() if len(shape) in (3, 4)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(
            f"{path} holds several arrays of images: {shown}. "
            f"Name one, as in --array {fitting[0]}."
        )
    raise DataError(
        f"{path} holds no array of shape n x height x width: {shown or 'nothing'}. "
        "Save one, or pass a table as CSV or Parquet."
    )


def _with_column(about: pa.Table, name: str, column: Any) -> pa.Table:
    if name in about.column_names:
        about = about.drop_columns([name])
    return about.append_column(name, column)


def _known(path: str, places: Any) -> dict[str, Any]:
    """Columns of a file about the images, in their order."""
    table = _array_table(path) if path.lower().endswith(".npy") else read_table(path)
    if IMAGE in table.column_names:
        keys = table[IMAGE].cast(pa.string())
        index = pc.index_in(places.cast(pa.string()), value_set=keys)
        if index.null_count == len(index):
            raise DataError(
                f"{path} is about none of the images: its column image must hold their names, "
                f"such as {places[0].as_py()}."
            )
        table = table.drop_columns([IMAGE]).take(index)
    elif table.num_rows != len(places):
        verb = "is" if len(places) == 1 else "are"
        there = f"there {verb} {counted(len(places), 'image')}"
        raise DataError(
            f"{path} has {counted(table.num_rows, 'row')}, {there}. "
            "Give one for each, or a column image with their names."
        )
    return dict(zip(table.column_names, table.itercolumns(), strict=True))


def _array_table(path: str) -> pa.Table:
    with _blaming(path):
        found = np.load(path, allow_pickle=False)
        if found.ndim != 1:
            raise DataError(f"{path} is no list of labels. Save an array of one dimension.")
        return pa.table({"label": pa.array(found.tolist())})
