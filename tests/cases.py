"""One line a thing: the generic tests run over all of them."""

from dataclasses import dataclass

import numpy as np
import scipy.stats as st

from improbable.data.parts import Part
from improbable.likelihoods import LIKELIHOODS, SCALE_CEILING, Likelihood
from improbable.scores import SCORES

FLOOR = 0.05
LINK = (2.0, 1.5, 0.0)


def _sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def _scale(raw):
    return np.exp(np.log(FLOOR) + np.log(SCALE_CEILING / FLOOR) * _sigmoid(raw))


def _one_hot_pmf(raw, x):
    logits = raw.reshape(-1, 3)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return (log_p * x.reshape(-1, 3)).sum(-1)


def _continuous_bernoulli(raw, x):
    grid = np.linspace(0.0, 1.0, 200_001)
    p = _sigmoid(raw)
    norm = [np.trapezoid(q**grid * (1 - q) ** (1 - grid), grid) for q in p]
    return x * np.log(p) + (1 - x) * np.log(1 - p) - np.log(norm)


def _discretized_logistic(raw, x):
    loc, scale, half = raw[:2], _scale(raw[2:]), 0.5 / 255.0
    return np.log(st.logistic.cdf(x + half, loc, scale) - st.logistic.cdf(x - half, loc, scale))


def _token(raw, x):
    logits = raw.reshape(len(x), -1)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return log_p[np.arange(len(x)), np.rint(x * logits.shape[1]).astype(int)]


def _von_mises(raw, x):
    a, b = raw.reshape(-1, 2).T
    angle = np.arctan2(*x.reshape(-1, 2).T[::-1])
    return st.vonmises.logpdf(angle, np.sqrt(a**2 + b**2 + 1e-6), np.arctan2(b, a))


def _counts(x):
    return np.maximum(np.round(x * LINK[1] + LINK[0]), 0.0)


def _negative_binomial(raw, x):
    mean = LINK[0] * np.exp(raw[:2])
    total = np.log1p(np.exp(raw[2:])) + 0.1
    return st.nbinom.logpmf(_counts(x), total, total / (total + mean))


@dataclass(frozen=True)
class LikelihoodCase:
    """A likelihood of two parts, encoded values it can judge, and scipy's word on them."""

    name: str
    x: tuple[float, ...]
    log_prob: object
    width: int = 1
    link: tuple[float, float, float] = LINK

    def build(self) -> Likelihood:
        part = Part(self.name, self.width, FLOOR, -5.0, 5.0, self.link)
        return LIKELIHOODS[self.name]([part, part])


LIKELIHOOD_CASES = [
    LikelihoodCase(
        "normal", (0.3, -2.0), lambda raw, x: st.norm.logpdf(x, raw[:2], _scale(raw[2:]))
    ),
    LikelihoodCase(
        "normal_per_column",
        (0.3, -2.0),
        lambda raw, x: st.norm.logpdf(x, raw[:2], _scale(raw[2:])),
    ),
    LikelihoodCase(
        "normal_shared",
        (0.3, -2.0),
        lambda raw, x: st.norm.logpdf(x, raw[:2], _scale(np.mean(raw[2:]))),
    ),
    LikelihoodCase("normal_fixed", (0.3, -2.0), lambda raw, x: st.norm.logpdf(x, raw)),
    LikelihoodCase(
        "student_t", (0.3, -9.0), lambda raw, x: st.t.logpdf(x, 4.0, raw[:2], _scale(raw[2:]))
    ),
    LikelihoodCase("bernoulli", (0.0, 1.0), lambda raw, x: st.bernoulli.logpmf(x, _sigmoid(raw))),
    LikelihoodCase("continuous_bernoulli", (0.2, 0.9), _continuous_bernoulli),
    LikelihoodCase("discretized_logistic", (3 / 255, 200 / 255), _discretized_logistic),
    LikelihoodCase("categorical", (0, 1, 0, 0, 0, 1), _one_hot_pmf, width=3),
    LikelihoodCase("token", (0.75, 0.0), _token, link=(0.0, 4.0, 0.0)),
    LikelihoodCase(
        "von_mises", (np.cos(1.0), np.sin(1.0), np.cos(-3.0), np.sin(-3.0)), _von_mises, width=2
    ),
    LikelihoodCase(
        "poisson", (0.0, 3.0), lambda raw, x: st.poisson.logpmf(_counts(x), LINK[0] * np.exp(raw))
    ),
    LikelihoodCase("negative_binomial", (0.0, 3.0), _negative_binomial),
]
SCORE_CASES = sorted(SCORES)
