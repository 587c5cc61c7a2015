"""Paths between points of latent space: straight, along the sphere, or shortest once decoded."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import scipy
from numpy.typing import ArrayLike

from improbable import arguments
from improbable.errors import DataError
from improbable.latent.gaussians import Floats

Surface = Callable[[Floats], tuple[Floats, Callable[[Floats], Floats]]]
SEGMENTS, ROUNDS = 48, 500


def interpolate(
    a: ArrayLike,
    b: ArrayLike,
    n_samples: int,
    path: str = "linear",
    surface: Surface | None = None,
) -> Floats:
    r"""Points on the way from `a` to `b`, shape (n_samples, latent_dim).

    .. math:: a + t (b - a), \qquad \frac{\sin((1 - t)\,\omega)\, a + \sin(t\,\omega)\, b}
        {\sin \omega} \quad (\omega = \angle a b)

    The first row is `a` and the last is `b`, bit by bit.

    Parameters
    ----------
    a, b : array-like of shape (latent_dim,)
        Ends, units of z.
    n_samples : int
        Points, both ends included; at least 2.
    path : {"linear", "slerp", "geodesic"}
        "slerp" turns at an even rate (Shoemake, 1985) and so keeps out of the middle, where a
        Normal of many dimensions has no mass; it is linear where both ends lie on one line
        with the origin. "geodesic" changes the decoded row least: see `geodesic`.
    surface : callable, optional
        For "geodesic": from z of shape (m, latent_dim) to decoded f(z) of shape (m, d), and to
        a function that takes cotangents of f(z), times the Jacobian, back to the shape of z.

    Raises
    ------
    DataError
        If the ends are not points of one space, the path has another name or no surface, or
        what is decoded is not finite.
    ImprobableError
        If `n_samples` is below 2, or a number is not finite.
    """
    first, last = as_point(a), as_point(b)
    if first.shape != last.shape:
        raise DataError(f"a has {len(first)} numbers, b {len(last)}. Give points of one space.")
    n = arguments.whole("n_samples", n_samples, least=2)
    if path == "geodesic" and surface is not None:
        points = geodesic(first, last, n, surface)
    elif path in ("linear", "slerp"):
        points = (_slerp if path == "slerp" else _line)(first, last, np.linspace(0.0, 1.0, n))
    else:
        raise DataError(f"path must be linear, slerp, or geodesic with surface=, got {path!r}.")
    points[0], points[-1] = first, last
    return points


def _line(a: Floats, b: Floats, t: Floats) -> Floats:
    return a + np.outer(t, b - a)


def _slerp(a: Floats, b: Floats, t: Floats) -> Floats:
    cosine = float(unit_vector(a) @ unit_vector(b))
    if abs(cosine) > 1.0 - 1e-12 or not (a.any() and b.any()):
        return _line(a, b, t)
    angle = math.acos(cosine)
    near, far = np.sin((1.0 - t) * angle), np.sin(t * angle)
    return np.asarray((np.outer(near, a) + np.outer(far, b)) / math.sin(angle))


def geodesic(a: Floats, b: Floats, n: int, surface: Surface) -> Floats:
    r"""Points at even distances on the shortest decoded path, shape (n, latent_dim).

    .. math:: \min_{z_1 \dots z_{m-1}} \; \tfrac{m}{2} \sum_{t=0}^{m-1}
        \| f(z_{t+1}) - f(z_t) \|^2

    A local minimum [2]_ that starts from the line, and never has more energy. With decoded
    means for f, in encoded units, it is shortest in the metric J^T J that the decoder pulls
    back to z; with standard deviations beside them, in the expected metric [1]_ (theorem 1).
    At least `SEGMENTS` segments are bent, however few points come back: long chords would cut
    through the air. Sine waves scaled by energy are its coordinates, so that a flat surface
    makes a round bowl and L-BFGS takes as few steps for many segments as for few.

    .. [1] G. Arvanitidis et al., "Latent space oddity", ICLR 2018.
    .. [2] H. Shao et al., "The Riemannian geometry of deep generative models", 2018, algorithm 1.
    """
    stride = math.ceil(SEGMENTS / (n - 1))
    line = _line(a, b, np.linspace(0.0, 1.0, stride * (n - 1) + 1))
    if not np.isfinite(surface(line)[0]).all():
        raise DataError("The decoder gives no finite values between a and b. Take other ends.")
    straight = curve_energy(line, surface)[0]
    if straight == 0.0:
        return line[::stride]
    waved = partial(scipy.fft.dst, type=1, norm="ortho", axis=0)
    waves = 2.0 * np.sin(0.5 * np.pi * np.arange(1, len(line) - 1) / (len(line) - 1))[:, None]

    def curve(amplitudes: Floats) -> Floats:
        points = line.copy()
        points[1:-1] += waved(amplitudes.reshape(-1, len(a)) / waves)
        return points

    def bent(amplitudes: Floats) -> tuple[float, Floats]:
        energy, slope = curve_energy(curve(amplitudes), surface)
        back = waved(slope[1:-1]) / waves
        return energy / straight, back.ravel() / straight

    options = {"maxiter": ROUNDS, "ftol": 1e-12, "gtol": 1e-7}
    start = np.zeros((len(line) - 2) * len(a))
    found = scipy.optimize.minimize(bent, start, jac=True, method="L-BFGS-B", options=options)
    return curve(found.x)[::stride]


def curve_energy(points: Floats, surface: Surface) -> tuple[float, Floats]:
    """Half the mean squared speed of a decoded curve, and its gradient at each point."""
    decoded, pull = surface(points)
    steps = np.diff(decoded, axis=0)
    cotangents = -np.diff(steps, axis=0, prepend=0.0, append=0.0)
    return 0.5 * len(steps) * float((steps**2).sum()), len(steps) * pull(cotangents)


def as_point(z: ArrayLike) -> Floats:
    """Finite numbers along one axis."""
    point = arguments.numbers("A point", z)
    if point.ndim != 1:
        raise DataError(f"Numbers in one row are needed, got shape {point.shape}.")
    return point


def unit_vector(z: Floats) -> Floats:
    """Vector of length 1 in the same direction, or zeros as they are."""
    length = np.linalg.norm(z)
    return z / length if length > 0.0 else z
