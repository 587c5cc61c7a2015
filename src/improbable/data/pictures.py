"""Images as they come: arrays, lists of arrays, or a folder of image files."""

import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from improbable.errors import DataError, ImprobableError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")


@dataclass(frozen=True)
class Images:
    """A stack of images of one size.

    Attributes
    ----------
    values : ndarray of shape (n, height, width, channels)
        uint8, or float with NaN where a pixel is missing.
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
        If it holds no images, or images of several sizes.
    """
    if isinstance(data, Images):
        return data
    if isinstance(data, str | os.PathLike):
        return _read_folder(os.fspath(data), size)
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
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind in "ui" and values.size and values.min() >= 0 and values.max() <= 255:
        return values.astype(np.uint8)
    return values.astype(np.float64)


def _read_folder(folder: str, size: tuple[int, int] | None) -> Images:
    if not os.path.isdir(folder):
        raise DataError(f"There is no folder {folder}. Check its spelling.")
    names = sorted(n for n in os.listdir(folder) if n.lower().endswith(EXTENSIONS))
    if not names:
        raise DataError(f"{folder} holds no image files ({', '.join(EXTENSIONS)}).")
    pictures = [read_file(os.path.join(folder, name), size) for name in names]
    gray = all(picture.ndim == 2 for picture in pictures)
    pictures = pictures if gray else [_colored(picture) for picture in pictures]
    for name, picture in zip(names, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise DataError(
                f"{name} is {_sides(picture)}, {names[0]} is {_sides(pictures[0])}. "
                "Resize the images, or pass ImageCodec(size=(height, width))."
            )
    values = np.stack(pictures)
    return Images(values[..., None] if gray else values, gray, tuple(names))


def read_file(path: str, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """Pixels of one image file, gray or of three channels, resized if asked for."""
    try:
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415
    except ImportError as error:
        raise ImprobableError(
            "Reading image files needs Pillow. Install it: pip install 'improbable[images]'."
        ) from error
    try:
        with Image.open(path) as file:
            image = file.convert("L" if file.mode in ("1", "L", "I;16", "I", "F") else "RGB")
            resized = image if size is None else image.resize((size[1], size[0]))
            return np.asarray(resized, dtype=np.uint8)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read as an image. Repair or remove it.") from error


def _colored(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture


def _sides(picture: NDArray[Any]) -> str:
    return f"{picture.shape[0]} x {picture.shape[1]}"
