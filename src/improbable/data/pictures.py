"""Images as they come: arrays, lists of arrays, or a folder of image files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.errors import DataError, ImprobableError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")

GRAY = {"1": "L", "L": "L", "I": "I", "F": "F"}
DEEPEST = 65_535


@dataclass(frozen=True)
class Images:
    """A stack of images of one size.

    Attributes
    ----------
    values : ndarray of shape (n, height, width, channels)
        Integers, truth values, or floats with NaN where a pixel is missing.
    flat : bool
        Whether the images came without an axis of channels.
    names : tuple of str
        File names, if they came from files.
    """

    values: NDArray[Any]
    flat: bool
    names: tuple[str, ...] = ()
    library: str = "numpy"

    @property
    def n_rows(self) -> int:
        """Images."""
        return len(self.values)

    @property
    def row_labels(self) -> None:
        """Images have no index."""
        return None

    @property
    def groups(self) -> None:
        """Images do not overlap."""
        return None

    def take(self, index: NDArray[np.intp]) -> "Images":
        """Images at the given positions."""
        names = tuple(self.names[i] for i in index) if self.names else ()
        return replace(self, values=self.values[index], names=names)

    def colored(self) -> "Images":
        """Images of three channels, gray ones three times the same."""
        if self.values.shape[3] != 1:
            return self
        return replace(self, values=np.repeat(self.values, 3, axis=3), flat=False)

    def to_native(self) -> NDArray[Any]:
        """Array of shape (n, height, width) or (n, height, width, channels)."""
        return self.values[..., 0] if self.flat else self.values


def read_images(data: Any, size: tuple[int, int] | None = None) -> Images:
    """Images of an array, a list of arrays, or a folder.

    Parameters
    ----------
    data : ndarray or list of shape (n, height, width[, channels]), or path of a folder
    size : (height, width), optional
        What images of a folder are resized to.

    Raises
    ------
    DataError
        If it holds no images, or images of several sizes or depths.
    """
    if isinstance(data, Images):
        return data
    if isinstance(data, str | os.PathLike):
        return _read_folder(os.fspath(data), size)
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        if data.dtype.kind != "f":
            raise DataError(
                "Pixels of whole numbers cannot be missing. Fit on images.astype(float), and pass "
                "masked ones like that, too."
            )
        data = data.filled(np.nan)
    try:
        values = np.asarray(data)
    except ValueError as error:
        raise DataError(
            "The images differ in shape. Resize them to one height and width."
        ) from error
    if values.ndim not in (3, 4) or values.dtype.kind not in "uifb" or 0 in values.shape[1:]:
        raise DataError(
            f"Images must be an array of shape (n, height, width[, channels]) of numbers, got "
            f"shape {values.shape} of {values.dtype}. Reshape it, or pass a folder of image files."
        )
    return Images(_as_pixels(values[..., None] if values.ndim == 3 else values), values.ndim == 3)


def _as_pixels(values: NDArray[Any]) -> NDArray[Any]:
    """Pixels in the machine's order of bytes, floats in single or double precision."""
    kind = values.dtype.newbyteorder("=")
    if kind.kind == "f" and kind.itemsize not in (4, 8):
        kind = np.dtype(np.float32 if kind.itemsize < 4 else np.float64)
    return values.astype(kind, copy=False)


def _read_folder(folder: str, size: tuple[int, int] | None) -> Images:
    if not os.path.isdir(folder):
        raise DataError(f"There is no folder {folder}. Check its spelling.")
    names = sorted(n for n in os.listdir(folder) if n.lower().endswith(EXTENSIONS))
    if not names:
        raise DataError(f"{folder} holds no image files ({', '.join(EXTENSIONS)}).")
    pictures = [read_file(os.path.join(folder, name), size) for name in names]
    gray = all(picture.ndim == 2 for picture in pictures)
    pictures = pictures if gray else [_colored(picture) for picture in pictures]
    values = stacked(pictures, names)
    return Images(values[..., None] if gray else values, gray, tuple(names))


def stacked(pictures: Sequence[NDArray[Any]], names: Sequence[str]) -> NDArray[Any]:
    """Pixels of several files, images along the first axis.

    Raises
    ------
    DataError
        If they differ in size or in depth.
    """
    first = pictures[0]
    for name, picture in zip(names, pictures, strict=True):
        if picture.shape != first.shape:
            raise DataError(
                f"{name} is {_sides(picture)}, {names[0]} is {_sides(first)}. "
                "Resize the images, or pass ImageCodec(size=(height, width))."
            )
        if picture.dtype != first.dtype:
            raise DataError(
                f"{name} holds levels of {picture.dtype}, {names[0]} of {first.dtype}. "
                "Convert the images to one depth."
            )
    return np.stack(pictures)


def read_file(path: str, size: tuple[int, int] | None) -> NDArray[Any]:
    """Pixels of one image file, gray or of three channels, resized if asked for.

    Of 8 bits uint8; gray ones of 16 bits uint16, of 32 bits int32, of floats float32.
    """
    try:
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415
    except ImportError as error:
        raise ImprobableError(
            "Reading image files needs Pillow. Install it: pip install 'improbable[images]'."
        ) from error
    try:
        with Image.open(path) as file:
            is_short = file.mode.startswith("I;16")  # which not all of Pillow can resize
            image = file.convert("I" if is_short else GRAY.get(file.mode, "RGB"))
            resized = image if size is None else image.resize((size[1], size[0]))
            pixels = np.asarray(resized)
            return pixels.clip(0, DEEPEST).astype(np.uint16) if is_short else pixels
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image. Repair or remove it.") from error


def _colored(picture: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture


def _sides(picture: NDArray[Any]) -> str:
    return f"{picture.shape[0]} x {picture.shape[1]}"
