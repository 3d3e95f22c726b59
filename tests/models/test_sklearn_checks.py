"""scikit-learn's own checks of the estimator protocol."""

import pytest

from fastkd.models import MLPClassifier, MLPRegressor

pytest.importorskip("sklearn")
from sklearn.utils.estimator_checks import parametrize_with_checks

# One batch a step makes zero weights and repeated rows equal to rows removed and repeated; float64 makes them equal to
# the checks' tolerance of 1e-7. The multi-output check wants float64 too.
ESTIMATORS = [
    MLPClassifier(hidden=(16,), epochs=100, learning_rate=0.01, batch_size=1000, dtype="float64"),
    MLPRegressor(hidden=(16,), epochs=100, learning_rate=0.01, batch_size=1000, dtype="float64"),
    MLPClassifier(),
]


def expected_failures(estimator):
    if estimator.batch_size < 1000:
        reason = "the rows of a minibatch are drawn without regard to their weights, so repeated rows train otherwise"
        return {"check_sample_weight_equivalence_on_dense_data": reason}
    return {}


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures)
def test_protocol(estimator, check):
    check(estimator)
