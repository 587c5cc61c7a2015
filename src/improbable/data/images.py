"""Images to encoded rows and back: arrays, lists of arrays, or a folder of image files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats, Part
from improbable.data.rows import Rows
from improbable.errors import DataError, ImprobableError

LIKELIHOODS = ("bernoulli", "continuous_bernoulli", "discretized_logistic", "normal")
EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
FLOORS = {
    "bernoulli": 0.0,
    "continuous_bernoulli": 0.0,
    "discretized_logistic": 0.01,
    "normal": 0.05,
}
FEWEST = 2
FARTHEST = 1e6


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
    pictures = [_read_file(os.path.join(folder, name), size) for name in names]
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


def _read_file(path: str, size: tuple[int, int] | None) -> NDArray[np.uint8]:
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


@dataclass(frozen=True)
class ImageCodec:
    """Codec of images: pixels scaled to [0, 1], judged one by one given z.

    Parameters
    ----------
    likelihood : str
        "continuous_bernoulli" for gray levels, mostly black or white;
        "discretized_logistic" for photographs of 256 levels; "normal" for any
        numbers. "auto" takes the first for integers, the last for floats.
    size : (height, width), optional
        What images of a folder are resized to.

    Attributes
    ----------
    shape : tuple of int
        Channels, height and width.
    low, high : float
        Levels that become 0 and 1.
    integer : bool
        Whether images are uint8.
    flat : bool
        Whether images came without an axis of channels.
    """

    likelihood: str = "auto"
    size: tuple[int, int] | None = None
    shape: tuple[int, ...] = ()
    low: float = 0.0
    high: float = 255.0
    integer: bool = True
    flat: bool = True
    network: str = "conv"
    library: str = "numpy"

    def open(self, data: Any) -> Images:
        """Images of any size."""
        return read_images(data, self.size)

    def fit(self, data: Any) -> Self:
        """Codec that knows the size and the levels of images.

        Raises
        ------
        DataError
            If there are too few images, or the likelihood does not suit them.
        """
        images = self.open(data)
        if images.n_rows < FEWEST:
            raise DataError(f"{images.n_rows} images are too few to fit. Pass {FEWEST} or more.")
        integer = images.values.dtype == np.uint8
        low, high = (0.0, 255.0) if integer else _range(images.values)
        chosen = self.likelihood
        if chosen == "auto":
            chosen = "continuous_bernoulli" if integer else "normal"
        if chosen not in LIKELIHOODS:
            raise DataError(f"No likelihood of images is called {chosen!r}. Use {LIKELIHOODS}.")
        if chosen == "discretized_logistic" and not integer:
            raise DataError("'discretized_logistic' needs uint8 images. Use likelihood='normal'.")
        height, width, channels = images.values.shape[1:]
        return replace(
            self,
            likelihood=chosen,
            shape=(channels, height, width),
            low=low,
            high=high,
            integer=bool(integer),
            flat=images.flat,
        )

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """One part a pixel and channel; channels vary slowest."""
        part = Part(self.likelihood, floor=FLOORS[self.likelihood], low=0.0, high=1.0)
        return (part,) * self.event_size

    @property
    def part_columns(self) -> NDArray[np.int64]:
        """Every pixel is a column of its own."""
        return np.arange(self.event_size)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Places of pixels, as in "row 3, column 14"."""
        channels, height, width = self.shape
        places = [f"row {i}, column {j}" for i in range(height) for j in range(width)]
        return tuple(
            place if channels == 1 else f"{place}, channel {c}"
            for c in range(channels)
            for place in places
        )

    @property
    def event_size(self) -> int:
        """Pixels times channels."""
        return int(np.prod(self.shape))

    @property
    def n_features(self) -> int:
        """Pixels times channels."""
        return self.event_size

    @property
    def feature_names(self) -> None:
        """Pixels have no names of their own."""
        return None

    def read(self, data: Any) -> Images:
        """Images of the size seen at fit.

        Raises
        ------
        DataError
            If their size, channels or kind of numbers differ.
        """
        images = read_images(data, self.size)
        height, width, channels = images.values.shape[1:]
        if (channels, height, width) != self.shape:
            raise DataError(
                f"Images are {height} x {width} with {channels} channels, those of the training "
                f"set {self.shape[1]} x {self.shape[2]} with {self.shape[0]}. Resize or convert."
            )
        if self.integer and images.values.dtype != np.uint8:
            raise DataError(
                "The detector was fitted on levels 0 to 255, these images hold other numbers. "
                "Scale them likewise and pass uint8."
            )
        return images

    def transform(self, data: Any) -> Rows:
        """Encoded rows of images, shape (n, channels x height x width), float32 precision."""
        images = self.read(data)
        moved = np.moveaxis(images.values, -1, 1).reshape(images.n_rows, -1)
        scaled = moved.astype(np.float32)
        scaled -= np.float32(self.low)
        scaled *= np.float32(1.0 / (self.high - self.low))
        np.clip(scaled, -FARTHEST, FARTHEST, out=scaled)
        never = np.broadcast_to(np.zeros((), dtype=bool), scaled.shape)
        missing = never if self.integer else np.isnan(scaled)
        outside = never if self.integer else (scaled < 0.0) | (scaled > 1.0)
        if self.likelihood == "continuous_bernoulli" and outside.any():
            raise DataError(
                f"Pixels lie outside the training range {self.low:g} to {self.high:g}, which "
                "'continuous_bernoulli' cannot judge. Fit with likelihood='normal'."
            )
        observed = (
            np.broadcast_to(np.ones((), dtype=bool), scaled.shape) if self.integer else ~missing
        )
        scaled[missing] = 0.0
        nothing = np.broadcast_to(np.zeros(()), scaled.shape)
        return Rows(scaled, observed, nothing, missing, never, outside)

    def inverse_transform(self, values: Floats, carried: Images | None = None) -> Images:
        """Images of encoded rows; levels of uint8 images are rounded and bounded."""
        stack = np.asarray(values, dtype=np.float64).reshape(len(values), *self.shape)
        levels = self.channels_last(stack) * (self.high - self.low) + self.low
        if self.integer:
            levels = np.clip(np.round(levels), 0.0, 255.0).astype(np.uint8)
        return Images(levels, self.flat, carried.names if carried else ())

    def channels_last(self, stack: Floats) -> Floats:
        """Stack of shape (n, channels, height, width) as (n, height, width, channels)."""
        return np.moveaxis(stack, 1, -1)

    def fill(self, values: Floats, source: Images) -> Images:
        """Images whose missing pixels are taken from encoded rows."""
        decoded = self.inverse_transform(values, source)
        if self.integer:
            return source
        return replace(
            source, values=np.where(np.isnan(source.values), decoded.values, source.values)
        )

    def partial(self, given: Any, n: int) -> Images:
        """`n` copies of one image, NaN where it is to be filled in.

        Raises
        ------
        DataError
            If it is no single image, or of levels that cannot be missing.
        """
        images = self.read(given)
        if images.n_rows != 1:
            raise DataError(f"One image is wanted, got {images.n_rows}. Pass shape (1, h, w).")
        return images.take(np.zeros(n, dtype=np.intp))

    def remarks(self, rows: Rows, source: Images) -> NDArray[np.object_]:
        """What is unusual about each image's pixels, in words; empty where nothing is."""
        out = np.full(len(rows), "", dtype=object)
        for flag, word in ((rows.missing, "missing"), (rows.out_of_range, "out of range")):
            count = flag.sum(axis=1)
            for i in np.flatnonzero(count):
                note = f"{count[i]} pixels are {word}"
                out[i] = f"{out[i]}; {note}" if out[i] else note
        return out

    def to_json(self) -> dict[str, Any]:
        """Fitted codec as plain values."""
        return {
            "data": "images",
            "likelihood": self.likelihood,
            "size": None if self.size is None else list(self.size),
            "shape": list(self.shape),
            "range": [self.low, self.high],
            "integer": self.integer,
            "flat": self.flat,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Codec from plain values."""
        low, high = (float(v) for v in record["range"])
        shape = tuple(int(v) for v in record["shape"])
        return cls(
            likelihood=str(record["likelihood"]),
            size=None if record["size"] is None else _pair(record["size"]),
            shape=shape,
            low=low,
            high=high,
            integer=bool(record["integer"]),
            flat=bool(record["flat"]),
        )


def _pair(values: Sequence[Any]) -> tuple[int, int]:
    height, width = (int(v) for v in values)
    return height, width


def _range(values: NDArray[Any]) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if len(known) == 0 or known.min() == known.max():
        raise DataError("All pixels hold one value, so there is nothing to learn.")
    return float(known.min()), float(known.max())
