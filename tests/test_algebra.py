"""Paths, sums and directions in latent space against geometry and statistics that are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm
from sklearn.metrics import roc_auc_score

from improbable.errors import DataError, DataWarning, ImprobableError
from improbable.latent.algebra import (
    center,
    combine,
    direction,
    latent_summary,
    mix,
    steer,
    traverse,
)
from improbable.latent.gaussians import Posterior
from improbable.latent.paths import curve_energy, geodesic, interpolate

FUZZ = settings(max_examples=80, deadline=None)
numbers = st.floats(-1e100, 1e100)
same_sized = st.integers(1, 5).flatmap(
    lambda k: st.tuples(*(st.lists(numbers, min_size=k, max_size=k) for _ in range(2)))
)
moderate = st.lists(st.floats(-10, 10), min_size=3, max_size=3)


def surface(decode, jacobian):
    """Decoder with its derivative; `jacobian` gives shape (m, d, latent_dim)."""
    return lambda z: (decode(z), lambda cot: np.einsum("md,mdk->mk", cot, jacobian(z)))


def on_sphere(z):
    turn, rise = z.T
    return np.stack([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)], 1)


def sphere_slopes(z):
    turn, rise = z.T
    by_turn = [-np.sin(turn) * np.cos(rise), np.cos(turn) * np.cos(rise), 0 * turn]
    by_rise = [-np.cos(turn) * np.sin(rise), -np.sin(turn) * np.sin(rise), np.cos(rise)]
    return np.stack([np.stack(by_turn, 1), np.stack(by_rise, 1)], axis=2)


def in_plane(z):
    return np.stack([z[:, 0] * np.cos(z[:, 1]), z[:, 0] * np.sin(z[:, 1])], axis=1)


def plane_slopes(z):
    radius, angle = z.T
    by_radius = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    by_angle = np.stack([-radius * np.sin(angle), radius * np.cos(angle)], axis=1)
    return np.stack([by_radius, by_angle], axis=2)


SPHERE, POLAR = surface(on_sphere, sphere_slopes), surface(in_plane, plane_slopes)


def lengths(points, decode):
    return np.linalg.norm(np.diff(decode(points), axis=0), axis=1)


def some_rows(n, dim=4, shift=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return Posterior(shift + rng.normal(size=(n, dim)), rng.uniform(0.1, 0.9, (n, dim)))


# -- paths ----------------------------------------------------------------------------------


@FUZZ
@given(same_sized, st.integers(2, 9), st.sampled_from(["linear", "slerp"]))
def test_ends_are_exact(ends, n, path):
    a, b = np.array(ends[0]), np.array(ends[1])
    points = interpolate(a, b, n, path)
    assert points.shape == (n, len(a))
    assert points[0].tobytes() == a.tobytes()
    assert points[-1].tobytes() == b.tobytes()
    assert np.isfinite(points).all()


@FUZZ
@given(same_sized, st.integers(2, 9))
def test_linear_points_are_even_and_between(ends, n):
    a, b = np.array(ends[0]), np.array(ends[1])
    points = interpolate(a, b, n)
    steps = np.diff(points, axis=0)
    size = np.abs([a, b]).max()
    np.testing.assert_allclose(steps, np.tile((b - a) / (n - 1), (n - 1, 1)), atol=1e-14 * size)
    assert (points >= np.minimum(a, b) - 1e-15 * size).all()
    assert (points <= np.maximum(a, b) + 1e-15 * size).all()
    np.testing.assert_allclose(points[::-1], interpolate(b, a, n), atol=1e-15 * size)
    np.testing.assert_array_equal(interpolate(a, a, n), np.tile(a, (n, 1)))


def test_slerp_turns_evenly_and_keeps_its_length():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50))
    a, b = 3.0 * a / np.linalg.norm(a), 3.0 * b / np.linalg.norm(b)
    points = interpolate(a, b, 8, "slerp")
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 3.0)
    turns = np.arccos(np.clip((points[1:] * points[:-1]).sum(axis=1) / 9.0, -1, 1))
    np.testing.assert_allclose(turns, np.arccos(a @ b / 9.0) / 7)
    assert np.linalg.norm(interpolate(a, b, 3)[1]) < 2.5, "a line cuts through the middle"
    np.testing.assert_allclose(interpolate([1, 0], [0, 2], 3, "slerp")[1], np.sqrt([0.5, 2.0]))


@pytest.mark.parametrize(
    ("a", "b"), [([1, 2], [2, 4]), ([1, 2], [-1, -2]), ([0, 0], [1, 2]), ([0, 0], [0, 0])]
)
def test_slerp_is_linear_where_there_is_no_angle(a, b):
    np.testing.assert_array_equal(interpolate(a, b, 5, "slerp"), interpolate(a, b, 5))


@pytest.mark.parametrize("n", [2, 3, 8, 49, 120])
def test_geodesic_on_a_sphere_is_a_great_circle(n):
    a, b = np.array([0.1, 0.8]), np.array([2.2, 0.6])
    points = interpolate(a, b, n, "geodesic", SPHERE)
    assert points[0].tobytes() == a.tobytes()
    assert points[-1].tobytes() == b.tobytes()
    ends = on_sphere(np.array([a, b]))
    arc = np.arccos(ends[0] @ ends[1])
    steps = lengths(points, on_sphere)
    np.testing.assert_allclose(steps, 2 * np.sin(arc / (n - 1) / 2), rtol=1e-5)
    beside = np.cross(*ends)
    np.testing.assert_allclose(on_sphere(points) @ beside, 0.0, atol=1e-4)
    assert lengths(interpolate(a, b, 49), on_sphere).sum() > 1.05 * arc


def test_geodesic_in_polar_coordinates_is_straight_in_the_plane():
    a, b = np.array([1.0, 0.0]), np.array([2.0, 2.0])
    points = interpolate(a, b, 11, "geodesic", POLAR)
    straight = interpolate(*in_plane(np.array([a, b])), 11)
    np.testing.assert_allclose(in_plane(points), straight, atol=1e-5)


def test_geodesic_of_a_linear_decoder_is_linear():
    weights = np.random.default_rng(0).normal(size=(5, 3))
    flat = surface(lambda z: z @ weights.T, lambda z: np.tile(weights, (len(z), 1, 1)))
    a, b = np.random.default_rng(1).normal(size=(2, 3))
    points = interpolate(a, b, 7, "geodesic", flat)
    np.testing.assert_allclose(points, interpolate(a, b, 7), atol=1e-6)
    np.testing.assert_array_equal(interpolate(a, a, 4, "geodesic", flat), np.tile(a, (4, 1)))
    blind = surface(lambda z: np.ones((len(z), 2)), lambda z: np.zeros((len(z), 2, 3)))
    np.testing.assert_array_equal(
        interpolate(a, b, 4, "geodesic", blind)[2], geodesic(a, b, 4, blind)[2]
    )


@settings(max_examples=8, deadline=None)
@given(moderate, moderate, st.integers(0, 99))
def test_geodesic_never_has_more_energy_than_a_line(a, b, seed):
    rng = np.random.default_rng(seed)
    inner, outer = rng.normal(size=(8, 3)), rng.normal(size=(6, 8))

    def slopes(z):
        return np.einsum("dh,mh,hk->mdk", outer, 1 - np.tanh(z @ inner.T) ** 2, inner)

    bent = surface(lambda z: np.tanh(z @ inner.T) @ outer.T, slopes)
    energies = [
        curve_energy(interpolate(a, b, 49, path, bent), bent)[0] for path in ("geodesic", "linear")
    ]
    assert energies[0] <= energies[1] * (1 + 1e-12)


def test_energy_has_the_slope_it_says():
    rng = np.random.default_rng(0)
    points, push = rng.uniform(0.2, 1.0, (6, 2)), rng.normal(size=(6, 2))
    energy, slope = curve_energy(points, SPHERE)
    assert energy == pytest.approx(0.5 * 5 * (lengths(points, on_sphere) ** 2).sum())
    ahead, behind = (curve_energy(points + h * push, SPHERE)[0] for h in (1e-6, -1e-6))
    assert (slope * push).sum() == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)


def test_path_errors():
    with pytest.raises(DataError, match="one space"):
        interpolate([1.0], [1.0, 2.0], 3)
    with pytest.raises(ImprobableError, match="2 or more, got 1"):
        interpolate([1.0], [2.0], 1)
    with pytest.raises(ImprobableError, match="whole number"):
        interpolate([1.0], [2.0], 2.5)
    with pytest.raises(DataError, match="got 'round'"):
        interpolate([1.0], [2.0], 3, "round")
    with pytest.raises(DataError, match="geodesic with surface="):
        interpolate([1.0], [2.0], 3, "geodesic")
    with pytest.raises(ImprobableError, match="A point must be finite numbers"):
        interpolate([np.nan], [2.0], 3)
    with pytest.raises(DataError, match="Numbers in one row"):
        interpolate([[1.0]], [2.0], 3)
    lost = surface(lambda z: np.full((len(z), 1), np.inf), lambda z: np.zeros((len(z), 1, 1)))
    with pytest.raises(DataError, match="no finite values"):
        interpolate([1.0], [2.0], 3, "geodesic", lost)


# -- sums -----------------------------------------------------------------------------------


@FUZZ
@given(same_sized)
def test_what_is_added_and_taken_away_leaves_nothing(ends):
    a, b = np.array(ends[0]), np.array(ends[1])
    np.testing.assert_array_equal(combine([a, b], [a]), b)
    np.testing.assert_array_equal(combine([b], [a, b]), -a)
    np.testing.assert_array_equal(combine([a, a, b], [a, a]), b)


@FUZZ
@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8), st.randoms())
def test_sums_do_not_depend_on_the_order(points, random):
    mixed = list(points)
    random.shuffle(mixed)
    np.testing.assert_array_equal(combine(points), combine(mixed))


def test_sums_of_rows_and_their_errors():
    a, b = np.random.default_rng(0).normal(size=(2, 7, 3))
    np.testing.assert_allclose(combine([a, b]), a + b, rtol=1e-15)
    assert combine([a], [b]).shape == (7, 3)
    assert ((a - b) + b != a).any(), "what floats alone do"
    np.testing.assert_array_equal(combine([a, b], [b]), a)
    with pytest.raises(DataError, match="one shape"):
        combine([a, b[0]])
    with pytest.raises(DataError, match="at least one"):
        combine([])
    for wrong in (np.inf, np.nan, 1.7e308):
        with pytest.raises(DataError, match="Leave them out"):
            combine([[wrong], [wrong]])


def test_half_of_the_difference():
    a, b = np.array([1.0, 2.0, 4.0]), np.array([3.0, -2.0, 4.0])
    np.testing.assert_array_equal(mix([a, b], [0.5, 0.5]), a + 0.5 * (b - a))
    np.testing.assert_array_equal(mix([a, b]), mix([b, a]))
    np.testing.assert_array_equal(mix([a, b], [-1, 1]), b - a)
    np.testing.assert_array_equal(mix([a, b, a], [1, 1, -1]), b)
    np.testing.assert_array_equal(mix([a, b], [2.5, 0]), 2.5 * a)
    jazz, rock = some_rows(30), some_rows(20, shift=3.0, seed=1)
    halfway = center(jazz) + 0.5 * (center(rock) - center(jazz))
    np.testing.assert_allclose(mix([jazz, rock]), halfway, rtol=1e-12)
    with pytest.raises(DataError, match="2 groups came with 1 weights"):
        mix([a, b], [1.0])
    with pytest.raises(DataError, match="at least one"):
        mix([])
    with pytest.raises(DataError, match="no rows"):
        mix([some_rows(0)])


# -- centers and directions -----------------------------------------------------------------


def test_centers_weigh_rows_by_their_precision():
    one = Posterior(np.array([[2.0, -1.0]]), np.array([[0.3, 5.0]]))
    np.testing.assert_allclose(center(one), [2.0, -1.0])
    near = Posterior(np.array([[0.0], [1e-9]]), np.array([[1.0], [0.5]]))
    assert center(near)[0] == pytest.approx(1e-9 * 4 / 5, rel=1e-6), "1 / scale^2 where rows agree"
    wide = Posterior(np.array([[0.0], [1000.0]]), np.array([[1.0], [0.01]]))
    assert center(wide)[0] == pytest.approx(500.0, rel=1e-3), "alike where they differ"
    rows = some_rows(9)
    weights = 1 / (rows.loc.var(axis=0) + rows.scale**2)
    np.testing.assert_allclose(center(rows), np.average(rows.loc, axis=0, weights=weights))


def test_precision_makes_centers_better():
    """Mean squared error over many groups, some of whose rows say next to nothing."""
    rng = np.random.default_rng(0)
    scale = rng.choice([0.1, 3.0], size=(400, 12, 2))
    loc = 0.3 * rng.standard_normal(scale.shape) + scale * rng.standard_normal(scale.shape)
    ours = np.array([center(Posterior(*pair)) for pair in zip(loc, scale, strict=True)])
    assert (ours**2).mean() < 0.8 * (loc.mean(axis=1) ** 2).mean()


def test_a_direction_points_from_one_group_to_the_other():
    without, with_ = some_rows(60), some_rows(40, seed=1)
    with_.loc[:, 2] += 4.0
    found = direction(with_, without, random_state=0)
    np.testing.assert_allclose(found.vector, center(with_) - center(without))
    assert np.abs(found.vector).argmax() == 2
    assert found.vector[2] > 3.0
    assert found.separation > 0.95
    assert found.p_value < 1e-6
    assert found.strength > 2.0
    assert (found.n_with, found.n_without) == (40, 60)
    np.testing.assert_allclose(found.amount([center(without), center(with_)]), [0, 1], atol=1e-12)
    assert (
        roc_auc_score(
            np.repeat([1, 0], [40, 60]), found.amount(np.vstack([with_.loc, without.loc]))
        )
        > 0.95
    )
    turned = direction(without, with_, random_state=0)
    np.testing.assert_allclose(turned.vector, -found.vector)
    assert turned.separation > 0.95, "of those with, whichever group that is"


def test_held_out_rows_are_judged_by_the_others():
    """Leaving one out by hand; rows that judged themselves would separate noise."""
    with_, without = some_rows(6, dim=30), some_rows(7, dim=30, seed=1)
    with pytest.warns(DataWarning, match="do not separate.*Give more rows"):
        found = direction(with_, without, held_out_fraction=0.5, random_state=0)
    assert found.separation < 0.9
    seen = roc_auc_score(
        np.repeat([1, 0], [6, 7]), found.amount(np.vstack([with_.loc, without.loc]))
    )
    assert seen == 1.0

    few = [some_rows(2, dim=3), some_rows(2, dim=3, shift=5.0, seed=1)]
    with pytest.warns(DataWarning):
        pair = direction(few[1], few[0], held_out_fraction=0.5, random_state=0)
    assert pair.separation == 1.0
    exact = mannwhitneyu([1, 2], [0, -1], alternative="greater").pvalue
    assert pair.p_value == pytest.approx(norm.sf(norm.isf(exact) / np.sqrt(2)))


@pytest.mark.filterwarnings("ignore::improbable.errors.DataWarning")
@pytest.mark.parametrize("seed", range(4))
def test_two_rows_a_group_by_hand(seed):
    """Each row's distance beyond the middle of the two rows that are kept; then Cohen's d."""
    with_, without = np.array([7.0, 4.0]), np.array([1.0, 2.5])
    sides = (Posterior(rows[:, None], np.full((2, 1), 0.3)) for rows in (with_, without))
    found = direction(*sides, held_out_fraction=0.5, random_state=seed)

    def strength(order):
        kept_with, kept_without = with_[::-1], without[order]
        ahead = with_ - (kept_with + kept_without) / 2
        behind = without[1 - np.array(order)] - (kept_with + kept_without) / 2
        spread = np.sqrt((ahead.var(ddof=1) + behind.var(ddof=1)) / 2)
        return (ahead.mean() - behind.mean()) / spread

    assert any(found.strength == pytest.approx(strength(order)) for order in ([0, 1], [1, 0]))


def test_where_the_groups_lie_does_not_matter():
    without, with_ = some_rows(15), some_rows(12, shift=1.5, seed=1)
    here = direction(with_, without, random_state=0)
    without.loc[:] += 1000.0
    with_.loc[:] += 1000.0
    there = direction(with_, without, random_state=0)
    np.testing.assert_allclose(there.vector, here.vector, atol=1e-9)
    assert (there.separation, there.p_value) == (here.separation, here.p_value)
    assert there.strength == pytest.approx(here.strength)


@pytest.mark.filterwarnings("ignore::improbable.errors.DataWarning")
@pytest.mark.parametrize("held_out_fraction", [0.1, 0.5])
def test_p_values_of_groups_that_do_not_differ(held_out_fraction):
    """Rejections at 5 %, with four standard errors of slack."""
    tries, found = 250, []
    for seed in range(tries):
        rng = np.random.default_rng(seed)
        sides = (Posterior(rng.normal(size=(n, 6)), rng.uniform(0.1, 1, (n, 6))) for n in (30, 25))
        fraction = {"held_out_fraction": held_out_fraction}
        found.append(direction(*sides, random_state=seed, **fraction).p_value)
    share = np.mean(np.array(found) <= 0.05)
    assert share <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / tries)
    assert 0.3 < np.median(found) < 0.7


def test_strength_is_the_distance_in_standard_deviations():
    rng = np.random.default_rng(0)
    scale = np.full((4000, 3), 0.2)
    without = Posterior(rng.normal(size=(4000, 3)), scale)
    with_ = Posterior(rng.normal(size=(4000, 3)) + [0.0, 1.5, 0.0], scale)
    found = direction(with_, without, random_state=0)
    assert found.strength == pytest.approx(1.5, abs=4 * np.sqrt(2 / 4000 * (1 + 1.5**2 / 4)))
    assert found.separation == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.02)


def test_directions_repeat_print_and_convert():
    without, with_ = some_rows(20), some_rows(30, shift=2.0, seed=1)
    one, two = (direction(with_, without, random_state=5) for _ in range(2))
    assert repr(one) == repr(two)
    assert repr(one).startswith("<Direction of strength ")
    assert "30 with, 20 without" in repr(one)
    frame = one.to_frame("pandas")
    assert frame["dim"].tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(frame["shift"], one.vector)


def test_direction_errors_and_rows_that_repeat():
    rows = some_rows(5)
    for pair in ((rows, some_rows(1)), (some_rows(1), rows)):
        with pytest.raises(DataError, match="2 or more each"):
            direction(*pair)
    with pytest.raises(DataError, match="one center"):
        direction(rows, rows)
    with pytest.raises(DataError, match="not one latent space"):
        direction(rows, some_rows(5, dim=3))
    for fraction in (0.0, 0.6, np.nan):
        with pytest.raises(DataError, match="held_out_fraction"):
            direction(rows, some_rows(5, seed=1), held_out_fraction=fraction)
    low, high = (Posterior(np.full((9, 1), v), np.ones((9, 1))) for v in (0.0, 1.0))
    certain = direction(high, low, random_state=0)
    assert certain.strength == np.inf
    assert certain.separation == 1.0


def test_steering_adds_the_vector():
    found = direction(some_rows(20, shift=2.0), some_rows(20, seed=1), random_state=0)
    z = np.random.default_rng(0).normal(size=(6, 4))
    np.testing.assert_array_equal(steer(z, found, 0.5), z + 0.5 * found.vector)
    np.testing.assert_array_equal(steer(z[0], found), z[0] + found.vector)
    np.testing.assert_array_equal(steer(z, found, 0.0), z)
    amounts = np.linspace(-1, 2, 6)
    np.testing.assert_array_equal(steer(z, found, amounts)[4], z[4] + amounts[4] * found.vector)
    assert steer(z[0], found, amounts).shape == (6, 4)
    moved = found.amount(steer(z, found, amounts)) - found.amount(z)
    np.testing.assert_allclose(moved, amounts, atol=1e-12)
    there = steer(z, found, 0.7)
    np.testing.assert_array_equal(combine([there, z], [there]), z)
    with pytest.raises(DataError, match=r"shape \(3,\) have not 4 numbers"):
        steer([1.0, 2.0, 3.0], found)


# -- dimensions -----------------------------------------------------------------------------


def test_traverse_moves_one_coordinate():
    rows = traverse([1.0, 2.0, 3.0], 1, [-1.0, 0.0, 5.0])
    np.testing.assert_array_equal(rows, [[1, -1, 3], [1, 0, 3], [1, 5, 3]])
    np.testing.assert_array_equal(traverse([1.0, 2.0], 0, 7.0), [[7, 2]])
    for dim in (-1, 2, 0.5):
        with pytest.raises(DataError, match="from 0 to 1"):
            traverse([1.0, 2.0], dim, [0.0])
    with pytest.raises(ImprobableError, match="values must be finite numbers"):
        traverse([1.0, 2.0], 0, [np.nan])


def test_latent_summary_orders_dimensions_by_activity():
    rng = np.random.default_rng(0)
    loc = rng.normal(size=(500, 3)) * [0.01, 1.0, 0.5] + [0.0, 0.0, 2.0]
    rows = Posterior(loc, np.full((500, 3), 1.0) * [1.0, 0.1, 0.4], "pandas")
    found = latent_summary(rows)
    np.testing.assert_array_equal(found.dims, [1, 2, 0])
    np.testing.assert_allclose(found.activity, loc.var(axis=0)[[1, 2, 0]])
    np.testing.assert_allclose(found.scale, [0.1, 0.4, 1.0])
    np.testing.assert_array_equal(found.low, loc.min(axis=0)[[1, 2, 0]])
    np.testing.assert_array_equal(found.high, loc.max(axis=0)[[1, 2, 0]])
    np.testing.assert_allclose(found.loc, loc.mean(axis=0)[[1, 2, 0]])
    assert found.kl.sum() == pytest.approx(rows.kl_to_prior().mean())
    assert found.kl[2] == pytest.approx(0.5 * (loc[:, 0] ** 2).mean())
    assert found.n_active == 2
    assert repr(found).startswith("<LatentSummary: 2 of 3 dimensions active>\n  z[1]: activity ")
    frame = found.to_frame()
    assert frame["dim"].tolist() == [1, 2, 0]
    assert list(frame.columns) == ["dim", "activity", "kl", "scale", "loc", "low", "high"]
    assert found.to_frame("pyarrow").num_rows == 3
    with pytest.raises(DataError, match="no rows"):
        latent_summary(some_rows(0))
