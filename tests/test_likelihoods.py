import numpy as np
import pytest
import torch
from cases import FLOOR, LIKELIHOOD_CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm

from improbable.data.parts import Part
from improbable.errors import DataError
from improbable.joint import Joint, JointDistribution
from improbable.likelihoods import LIKELIHOODS, SCALE_CEILING, Likelihood, bounded_scale


def scale_of(raw, floor=FLOOR):
    return floor * (SCALE_CEILING / floor) ** expit(raw)


all_likelihoods = pytest.mark.parametrize("case", LIKELIHOOD_CASES, ids=lambda c: c.name)


def raw_of(likelihood, seed=0, rows=()):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(*rows, likelihood.param_size)))


def test_every_likelihood_has_a_case():
    assert {case.name for case in LIKELIHOOD_CASES} == set(LIKELIHOODS)


@all_likelihoods
def test_agrees_with_scipy(case):
    likelihood = case.build()
    raw, x = raw_of(likelihood), np.array(case.x, dtype=float)
    found = likelihood(raw).log_prob(likelihood.event(torch.tensor(x)))
    # torch evaluates the Bessel function of the von Mises law to 1e-6.
    np.testing.assert_allclose(found, case.log_prob(raw.numpy(), x), rtol=2e-6, atol=2e-6)


@all_likelihoods
def test_sizes_and_gradients(case):
    likelihood = case.build()
    assert isinstance(likelihood, Likelihood)
    assert likelihood.n_parts == 2
    assert likelihood.event_size == len(case.x)
    raw = raw_of(likelihood, rows=(7,)).requires_grad_()
    x = torch.tensor(case.x, dtype=torch.float64).expand(7, -1)
    log_prob = likelihood(raw).log_prob(likelihood.event(x))
    assert log_prob.shape == (7, 2)
    log_prob.sum().backward()
    assert torch.isfinite(raw.grad).all()


@all_likelihoods
def test_extreme_outputs_stay_finite(case):
    likelihood = case.build()
    x = torch.tensor(case.x, dtype=torch.float64)
    for value in (-1e4, 0.0, 1e4):
        raw = torch.full((likelihood.param_size,), value, dtype=torch.float64)
        assert torch.isfinite(likelihood(raw).log_prob(likelihood.event(x))).all()


@all_likelihoods
def test_samples_have_the_mean_of_the_distribution(case):
    likelihood = case.build()
    n = 40_000
    distribution = likelihood(raw_of(likelihood).expand(n, -1))
    drawn = likelihood.draw(distribution, np.random.default_rng(1))
    if case.name == "von_mises":
        pytest.skip("the mean of an angle is checked in test_von_mises_samples_point_to_the_mean")
    error = drawn.std(dim=0) / np.sqrt(n)
    assert ((drawn.mean(dim=0) - distribution.mean[0]).abs() <= 4.5 * error + 1e-12).all()


def test_von_mises_samples_point_to_the_mean():
    likelihood = LIKELIHOODS["von_mises"]([Part("von_mises", 2)])
    distribution = likelihood(torch.tensor([[0.0, 2.0]]).double().expand(40_000, -1))
    flat = likelihood.flat(likelihood.draw(distribution, np.random.default_rng(0)))
    from scipy.special import i0, i1

    error = flat.std(dim=0) / 200.0
    expected = torch.tensor([0.0, i1(2.0) / i0(2.0)])
    assert ((flat.mean(dim=0) - expected).abs() <= 4.5 * error + 1e-6).all()


@all_likelihoods
def test_event_and_flat_are_inverse(case):
    likelihood = case.build()
    x = torch.tensor(case.x, dtype=torch.float64)
    event = likelihood.event(x)
    np.testing.assert_allclose(likelihood.event(likelihood.flat(event)), event, atol=1e-9)


@all_likelihoods
def test_variance_is_that_of_samples_or_an_encoded_stand_in(case):
    likelihood = case.build()
    distribution = likelihood(raw_of(likelihood).expand(20_000, -1))
    variance = likelihood.variance(distribution)
    assert variance.shape[-1] == likelihood.event_size
    assert (variance > 0).all()
    exact = ("normal", "normal_shared", "normal_fixed", "bernoulli", "categorical")
    if case.name in (*exact, "continuous_bernoulli"):
        drawn = likelihood.flat(likelihood.draw(distribution, np.random.default_rng(0)))
        np.testing.assert_allclose(drawn.var(dim=0), variance[0], rtol=0.08)


@given(st.floats(-50, 50))
@settings(max_examples=40, deadline=None)
def test_scale_stays_between_floor_and_ceiling(raw):
    scale = bounded_scale(torch.tensor([raw], dtype=torch.float64), (FLOOR,))
    assert FLOOR * (1 - 1e-9) <= float(scale) <= SCALE_CEILING * (1 + 1e-9)


def mixed_parts():
    return [
        Part("bernoulli"),
        Part("categorical", 3),
        Part("normal", 1, FLOOR),
        Part("normal", 1, FLOOR),
        Part("normal_per_column", 1, FLOOR),
    ]


def test_joint_groups_equal_neighbors_and_adds_up():
    joint = Joint.of(mixed_parts())
    assert len(joint.blocks) == 4
    assert (joint.n_parts, joint.event_size) == (5, 7)
    raw = torch.tensor(np.random.default_rng(0).normal(size=(6, joint.param_size)))
    x = torch.tensor([[1.0, 0, 1, 0, 0.5, -0.5, 2.0]]).double().expand(6, -1)
    distribution = joint(raw)
    assert isinstance(distribution, JointDistribution)
    parts = distribution.log_prob_blocks(x)
    assert parts.shape == (6, 5)
    np.testing.assert_allclose(parts[:, 0], distribution.distributions[0].log_prob(x[:, :1])[:, 0])
    assert distribution.mean.shape == distribution.variance.shape == (6, 7)
    assert distribution.sample(np.random.default_rng(0)).shape == (6, 7)


def test_joint_log_prob_counts_observed_parts_only():
    joint = Joint.of(mixed_parts())
    distribution = joint(torch.tensor(np.random.default_rng(0).normal(size=(6, joint.param_size))))
    x = torch.tensor([[1.0, 0, 1, 0, 0.5, -0.5, 2.0]]).double().expand(6, -1)
    parts = distribution.log_prob_blocks(x)
    for hidden in range(5):
        seen = torch.ones(6, 5).double()
        seen[:, hidden] = 0.0
        expected = parts.sum(-1) - parts[:, hidden]
        torch.testing.assert_close(distribution.log_prob(x, seen), expected)


def test_only_per_column_scales_are_tied():
    joint = Joint.of(mixed_parts())
    tied = np.flatnonzero(joint.constant_params)
    assert list(tied) == [joint.param_size - 1]


def shared_joint(floors):
    return Joint.of([Part("normal_shared", 1, floor) for floor in floors])


def test_a_shared_scale_is_that_of_every_part():
    joint = shared_joint([FLOOR] * 5)
    assert (joint.param_size, joint.event_size, len(joint.blocks)) == (10, 5, 1)
    raw = np.random.default_rng(0).normal(size=(3, 4, 10))
    x = np.random.default_rng(1).normal(size=(3, 4, 5))
    scale = scale_of(raw[..., 5:].mean(-1, keepdims=True))
    found = joint(torch.tensor(raw))
    np.testing.assert_allclose(found.variance, np.broadcast_to(scale**2, x.shape), rtol=1e-12)
    np.testing.assert_allclose(
        found.log_prob(torch.tensor(x), torch.ones(3, 4, 5).double()),
        norm.logpdf(x, raw[..., :5], scale).sum(-1),
        rtol=1e-12,
    )


def test_a_shared_scale_keeps_every_floor():
    joint = shared_joint([0.01, 0.2, 0.05])
    raw = torch.tensor([[0.0, 0.0, 0.0, 0.3, -0.2, 0.8], [0.0, 0.0, 0.0, -99.0, -99.0, -99.0]])
    scales = joint(raw.double()).variance.sqrt()
    wanted = [[scale_of(0.3, floor=0.2)], [0.2]]
    np.testing.assert_allclose(scales, np.broadcast_to(wanted, (2, 3)), rtol=1e-6)


def test_a_shared_scale_learns_from_every_part():
    joint = shared_joint([FLOOR] * 4)
    raw = torch.zeros(1, 8, dtype=torch.float64, requires_grad=True)
    for part in range(4):
        x = torch.zeros(1, 4).double()
        x[0, part] = 5.0
        (gradient,) = torch.autograd.grad(joint(raw).log_prob_blocks(x)[0, part], raw)
        assert (gradient[0, 4:] > 0.0).all()
        assert float(gradient[0, 4:].max() - gradient[0, 4:].min()) == 0.0


def test_a_shared_scale_is_tied():
    assert shared_joint([FLOOR] * 3).constant_params == (False,) * 3 + (True,) * 3


def test_unknown_likelihood_is_named():
    with pytest.raises(DataError, match="'gamma'"):
        Joint.of([Part("gamma")])
