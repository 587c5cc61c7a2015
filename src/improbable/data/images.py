"""Images to encoded rows and back: the codec of images."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from improbable.data.parts import Floats, Part
from improbable.data.pictures import Images, read_images
from improbable.data.rows import DenseRows, Rows
from improbable.errors import DataError

NORMALS = ("normal", "normal_shared")
LIKELIHOODS = ("bernoulli", "continuous_bernoulli", "discretized_logistic", *NORMALS)
FLOORS = {
    "bernoulli": 0.0,
    "continuous_bernoulli": 0.0,
    "discretized_logistic": 0.01,
    "normal": 0.05,
    "normal_shared": 0.05,
}
BOUNDED = ("bernoulli", "continuous_bernoulli")
BYTE, DARK, MASK = 255.0, 127.0, 1.0
FEWEST = 2
FARTHEST = 1e6
LOUDEST = 5.0
QUIETEST = 1e-3


@dataclass(frozen=True)
class ImageCodec:
    """Codec of images: pixels scaled to [0, 1], judged one by one given z.

    Whole levels of 0 to 255, the highest of training above 127, are bytes: 0
    becomes 0 and 255 becomes 1. Of all others, such as masks of 0 and 1, 12 or 16
    bits, and floats, the lowest and the highest training level do. Images come
    back in the type of those of training.

    Parameters
    ----------
    likelihood : str
        "continuous_bernoulli" for gray levels, mostly black or white;
        "discretized_logistic" for photographs of 256 levels; "normal" for any
        numbers, with a scale for each pixel and image; "normal_shared" with one
        scale for all. "auto" takes "normal_shared" for equal contrast, otherwise
        "continuous_bernoulli" for bytes and "normal" for all others.
    size : (height, width), optional
        What images of a folder are resized to; arrays are refused if they differ.
    contrast : {"kept", "equal"}
        "equal" scales each image to the root mean square of a typical one, so
        that an image with little ink is not easy for having little.

    Attributes
    ----------
    shape : tuple of int
        Channels, height and width.
    low, high : float
        Levels that become 0 and 1.
    typical : float
        Root mean square of a typical image, its levels scaled to 0 and 1.
    dtype : str
        NumPy's name for the type of pixels.
    flat : bool
        Whether images came without an axis of channels.
    """

    likelihood: str = "auto"
    size: tuple[int, int] | None = None
    contrast: str = "kept"
    shape: tuple[int, ...] = ()
    low: float = 0.0
    high: float = 255.0
    typical: float = 1.0
    dtype: str = "uint8"
    flat: bool = True
    network: str = "conv"
    library: str = "numpy"

    def open(self, data: Any) -> Images:
        """Images of any size, or of the one asked for.

        Raises
        ------
        DataError
            If there are none, or an array is not of that size.
        """
        images = read_images(data, self.size)
        height, width = images.values.shape[1:3]
        if self.size is not None and (height, width) != tuple(self.size):
            raise DataError(
                f"size={self.size} is for images of a folder, those of this array are "
                f"{height} x {width}. Resize the array itself."
            )
        return images

    def fit(self, data: Any, trusted: NDArray[np.intp] | None = None) -> Self:
        """Codec that knows the size and the levels of images, which `trusted` ones do not change.

        Raises
        ------
        DataError
            If there are too few images, or the likelihood does not suit them.
        """
        images = self.open(data)
        if images.n_rows < FEWEST:
            raise DataError(f"{images.n_rows} images are too few to fit. Pass {FEWEST} or more.")
        low, high = _range(images.values)
        bounded = self.likelihood in BOUNDED  # which cannot judge what is brighter
        dark = high <= (MASK if bounded else DARK) and self.likelihood != "discretized_logistic"
        if images.values.dtype.kind in "ui" and low >= 0.0 and high <= BYTE and not dark:
            low, high = 0.0, BYTE
        height, width, channels = images.values.shape[1:]
        fitted = replace(
            self,
            shape=(channels, height, width),
            low=low,
            high=high,
            dtype=images.values.dtype.name,
            flat=images.flat,
        )
        fitted = replace(fitted, likelihood=fitted._suited())
        loudness = _loudness(fitted._scaled(images))
        return replace(fitted, typical=float(np.median(loudness)))

    def _suited(self) -> str:
        """The likelihood that is asked for, or the one that suits the levels."""
        chosen = self.likelihood
        if self.contrast not in ("kept", "equal"):
            raise DataError(f"contrast must be 'kept' or 'equal', got {self.contrast!r}.")
        if chosen == "auto":
            kept = "continuous_bernoulli" if self.of_bytes else "normal"
            chosen = "normal_shared" if self.contrast == "equal" else kept
        if chosen not in LIKELIHOODS:
            raise DataError(f"No likelihood of images is called {chosen!r}. Use {LIKELIHOODS}.")
        if chosen == "discretized_logistic" and not self.of_bytes:
            raise DataError("'discretized_logistic' needs uint8 images. Use likelihood='normal'.")
        if chosen not in NORMALS and self.contrast == "equal":
            raise DataError(f"Images of equal contrast are not {chosen!r}. Use one of {NORMALS}.")
        return chosen

    @property
    def integer(self) -> bool:
        """Whether levels are whole numbers or truth values, none of which can be missing."""
        return np.dtype(self.dtype).kind in "uib"

    @property
    def of_bytes(self) -> bool:
        """Whether levels are whole numbers of 0 to 255, and never lie outside."""
        return self.integer and (self.low, self.high) == (0.0, BYTE)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """One part a pixel and channel; channels vary slowest."""
        high = 1.0 if self.contrast == "kept" else LOUDEST
        part = Part(self.likelihood, floor=FLOORS[self.likelihood], low=0.0, high=high)
        return (part,) * self.event_size

    @property
    def span(self) -> None:
        """A row is judged by itself."""
        return None

    def sizes(self, rows: Rows) -> None:
        """All rows are of one size."""

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
        """Images of the size seen at fit; gray files as colored ones, if those were.

        Raises
        ------
        DataError
            If their size, channels or kind of numbers differ.
        """
        images = read_images(data, self.size)
        if images.names and self.shape[0] == 3:
            images = images.colored()
        height, width, channels = images.values.shape[1:]
        if (channels, height, width) != self.shape:
            raise DataError(
                f"Images are {height} x {width} with {channels} channels, those of the training "
                f"set {self.shape[1]} x {self.shape[2]} with {self.shape[0]}. Resize or convert."
            )
        if self.integer:
            self._check_levels(images)
        return images

    def _check_levels(self, images: Images) -> None:
        values, levels = images.values, f"levels {self.low:g} to {self.high:g}"
        other = values.dtype.kind == "f"
        if self.of_bytes and values.size and values.dtype != np.uint8:
            other = other or values.min() < 0 or values.max() > BYTE
        if other:
            raise DataError(
                f"The detector was fitted on {levels}, these images hold other numbers. "
                "Scale them likewise and pass integers."
            )
        as_deep = (values.dtype.itemsize == 1) == (self.high <= BYTE)
        if images.names and not as_deep and values.dtype.name != self.dtype:
            raise DataError(
                f"{images.names[0]} holds levels of {values.dtype}, the detector was fitted on "
                f"{levels} of {self.dtype}. Convert the files to one depth."
            )

    def transform(self, data: Any) -> DenseRows:
        """Encoded rows of images, shape (n, channels x height x width), float32 precision."""
        images = self.read(data)
        scaled, levels = self._scaled(images), self._flattened(images)
        never = np.broadcast_to(np.zeros((), dtype=bool), scaled.shape)
        missing = never if self.integer else np.isnan(scaled)
        outside = never if self.of_bytes else (levels < self.low) | (levels > self.high)
        if self.likelihood in BOUNDED and outside.any():
            raise DataError(
                f"Pixels lie outside the training range {self.low:g} to {self.high:g}, which "
                f"{self.likelihood!r} cannot judge. Fit with likelihood='normal'."
            )
        observed = (
            np.broadcast_to(np.ones((), dtype=bool), scaled.shape) if self.integer else ~missing
        )
        if self.contrast == "equal":
            scaled *= (self.typical / _loudness(scaled))[:, None]
        scaled[missing] = 0.0
        nothing = np.broadcast_to(np.zeros(()), scaled.shape)
        return DenseRows(scaled, observed, nothing, missing, never, outside)

    def _scaled(self, images: Images) -> NDArray[np.float32]:
        """Levels as fitted, from 0 to 1, shape (n, event_size); NaN where missing."""
        scaled = self._flattened(images).astype(np.float32)
        scaled -= np.float32(self.low)
        scaled *= np.float32(1.0 / (self.high - self.low))
        np.clip(scaled, -FARTHEST, FARTHEST, out=scaled)
        return scaled

    def _flattened(self, images: Images) -> NDArray[Any]:
        """Levels as they are, channels varying slowest, shape (n, event_size)."""
        return np.moveaxis(images.values, -1, 1).reshape(images.n_rows, math.prod(self.shape))

    def inverse_transform(self, values: Floats, carried: Images | None = None) -> Images:
        """Images of encoded rows; whole levels are rounded and stay within those of training.

        Of equal contrast each gets back that of the image in `carried`, or a
        typical one.
        """
        values = np.asarray(values, dtype=np.float64)
        if self.contrast == "equal" and carried is not None:
            values = values * (_loudness(self._scaled(carried)) / self.typical)[:, None]
        stack = values.reshape(len(values), *self.shape)
        levels = self.channels_last(stack) * (self.high - self.low) + self.low
        if self.integer:
            levels = np.clip(np.round(levels), self.low, self.high)
        levels = levels.astype(self.dtype, copy=False)
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
                note = f"{count[i]} pixels are {word}" if count[i] > 1 else f"1 pixel is {word}"
                out[i] = f"{out[i]}; {note}" if out[i] else note
        return out

    def to_json(self) -> dict[str, Any]:
        """Fitted codec as plain values."""
        return {
            "data": "images",
            "likelihood": self.likelihood,
            "size": None if self.size is None else list(self.size),
            "contrast": self.contrast,
            "shape": list(self.shape),
            "range": [self.low, self.high, self.typical],
            "integer": self.integer,
            "dtype": self.dtype,
            "flat": self.flat,
            "network": self.network,
        }

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Self:
        """Codec from plain values."""
        low, high, typical = (float(v) for v in record["range"])
        shape = tuple(int(v) for v in record["shape"])
        return cls(
            likelihood=str(record["likelihood"]),
            size=None if record["size"] is None else _pair(record["size"]),
            contrast=str(record["contrast"]),
            shape=shape,
            low=low,
            high=high,
            typical=typical,
            dtype=str(record.get("dtype", "uint8" if record["integer"] else "float64")),
            flat=bool(record["flat"]),
            network=str(record.get("network", "conv")),
        )


def _loudness(scaled: NDArray[np.float32]) -> NDArray[np.float32]:
    """Root mean square of the known pixels of each image, shape (n,)."""
    known = ~np.isnan(scaled)
    squares = np.where(known, scaled, 0.0).astype(np.float64) ** 2
    mean = squares.sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    found: NDArray[np.float32] = np.maximum(np.sqrt(mean), QUIETEST).astype(np.float32)
    return found


def _pair(values: Sequence[Any]) -> tuple[int, int]:
    height, width = (int(v) for v in values)
    return height, width


def _range(values: NDArray[Any]) -> tuple[float, float]:
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if known.size == 0 or known.min() == known.max():
        raise DataError("All pixels hold one value, so there is nothing to learn.")
    return float(known.min()), float(known.max())
