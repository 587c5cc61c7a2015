import warnings

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from improbable import VAEDetector


@parametrize_with_checks([VAEDetector(max_steps=20, hidden=(16,), n_members=2)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(estimator)
